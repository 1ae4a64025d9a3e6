#include "core_helpers.h"

#include <math.h>

#include <jansson.h>

#include "mem_fault.h"
#include "render/json_budgets.h"

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    struct str name;
    core_open(&core, &options);
    assert_int_equal(budgets_declare(core.budgets, &name), 0);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    return 0;
}

static void must_spend(const char *layer, double ms)
{
    struct budget budget = {.layer = str_of(layer), .elapsed_ms = ms};
    struct budget_verdict verdict;
    assert_int_equal(budgets_record(core.budgets, &budget, &verdict), 0);
}

static json_t *must_render(void)
{
    struct buf out;
    struct snapshot *snapshot = must_take(&core);
    buf_init(&out, 1 << 20);
    json_render_budgets(snapshot, STR_LITERAL("cdd01ef066bc6cf2"), core.scratch, &out);
    core_drop(&core, snapshot);
    assert_int_equal(out.err, 0);
    assert_int_equal(out.data[out.len - 1], '\n');
    json_t *root = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buf_fini(&out);
    return root;
}

/* A number of a layer, of the whole without one; NaN means null. */
static void must_say(const json_t *root, const char *layer, const char *key, double wanted)
{
    const json_t *from =
        layer == NULL ? root : json_object_get(json_object_get(root, "layers"), layer);
    const json_t *value = json_object_get(from, key);
    assert_non_null(value);
    if (isnan(wanted)) {
        assert_true(json_is_null(value));
    } else {
        assert_true(json_is_number(value));
        assert_true(json_number_value(value) == wanted);
    }
}

static void must_judge(const json_t *root, const char *layer, bool exceeded, bool soft)
{
    const json_t *from = json_object_get(json_object_get(root, "layers"), layer);
    const json_t *over = json_object_get(from, "is_exceeded");
    const json_t *over_soft = json_object_get(from, "is_soft_limit_exceeded");
    assert_true(exceeded ? json_is_true(over) : json_is_false(over));
    assert_true(soft ? json_is_true(over_soft) : json_is_false(over_soft));
}

static void test_json_budgets_before_the_first_record(void **state)
{
    (void)state;
    static const char *const keys[] = {"budget_ms",
                                       "elapsed_ms",
                                       "remaining_ms",
                                       "is_exceeded",
                                       "is_soft_limit_exceeded",
                                       "count",
                                       "exceeded_count",
                                       "soft_limit_exceeded_count",
                                       "p50_ms",
                                       "p95_ms",
                                       "p99_ms",
                                       "share_of_total",
                                       "burn_rate",
                                       "burn_rate_short"};
    json_t *root = must_render();
    assert_int_equal(json_object_size(root), 8);
    must_say(root, NULL, "total_budget_ms", 50);
    must_say(root, NULL, "total_elapsed_ms", 0);
    must_say(root, NULL, "total_remaining_ms", 50);
    must_say(root, NULL, "total_burn_rate", (double)NAN);
    must_say(root, NULL, "total_burn_rate_short", (double)NAN);
    must_say(root, NULL, "objective", CORE_OBJECTIVE);
    assert_string_equal(json_string_value(json_object_get(root, "constitutional_hash")),
                        "cdd01ef066bc6cf2");
    const json_t *layers = json_object_get(root, "layers");
    assert_int_equal(json_object_size(layers), 4);
    const json_t *layer = json_object_get(layers, "layer2_deliberation");
    assert_int_equal(json_object_size(layer), sizeof keys / sizeof keys[0]);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_non_null(json_object_get(layer, keys[i]));
    }
    must_say(root, "layer2_deliberation", "budget_ms", 20);
    must_say(root, "layer2_deliberation", "elapsed_ms", 0);
    must_say(root, "layer2_deliberation", "remaining_ms", 20);
    must_say(root, "layer2_deliberation", "count", 0);
    must_say(root, "layer2_deliberation", "p50_ms", (double)NAN);
    must_say(root, "layer2_deliberation", "share_of_total", (double)NAN);
    must_say(root, "layer2_deliberation", "burn_rate", (double)NAN);
    must_say(root, "layer2_deliberation", "burn_rate_short", (double)NAN);
    must_judge(root, "layer2_deliberation", false, false);
    json_decref(root);
}

static void test_json_budgets_say_what_was_spent(void **state)
{
    (void)state;
    must_spend("layer1_validation", 7);
    must_spend("layer1_validation", 4.5);
    must_spend("layer4_audit", 15);
    must_spend("total", 64);
    json_t *root = must_render();
    const json_t *layer = json_object_get(json_object_get(root, "layers"), "layer1_validation");
    must_say(root, NULL, "total_elapsed_ms", 64);
    must_say(root, NULL, "total_remaining_ms", 0);
    must_say(root, "layer1_validation", "elapsed_ms", 4.5);
    must_say(root, "layer1_validation", "remaining_ms", 0.5);
    must_judge(root, "layer1_validation", false, true);
    must_say(root, "layer1_validation", "count", 2);
    must_say(root, "layer1_validation", "exceeded_count", 1);
    must_say(root, "layer1_validation", "soft_limit_exceeded_count", 2);
    must_be_near(json_number_value(json_object_get(layer, "p99_ms")), 7, QUANTILE_TOLERANCE);
    must_say(root, "layer1_validation", "share_of_total", 11.5 / 64);
    must_judge(root, "layer4_audit", false, true);
    must_say(root, "layer4_audit", "remaining_ms", 0);
    must_say(root, "layer4_audit", "exceeded_count", 0);
    must_say(root, "layer4_audit", "p50_ms", 15);
    must_say(root, "layer1_validation", "burn_rate", 2); /* half of them, where a quarter may be */
    must_say(root, "layer4_audit", "burn_rate", 0);
    must_say(root, NULL, "total_burn_rate", 4);
    must_say(root, NULL, "total_burn_rate_short", 4);
    json_decref(root);
    core_move(&core, 2 * CORE_SLOT_S);
    root = must_render();
    must_say(root, "layer1_validation", "burn_rate", 2);
    must_say(root, "layer1_validation", "burn_rate_short", (double)NAN);
    must_say(root, NULL, "total_burn_rate_short", (double)NAN);
    json_decref(root);
}

static void test_json_budgets_of_a_layer_without_one(void **state)
{
    (void)state;
    must_spend("\"\\\n", 3);
    json_t *root = must_render();
    assert_int_equal(json_object_size(json_object_get(root, "layers")), 5);
    must_say(root, "\"\\\n", "budget_ms", (double)NAN);
    must_say(root, "\"\\\n", "remaining_ms", (double)NAN);
    must_say(root, "\"\\\n", "elapsed_ms", 3);
    must_say(root, "\"\\\n", "share_of_total", 1);
    must_say(root, "\"\\\n", "burn_rate", (double)NAN);
    must_judge(root, "\"\\\n", false, false);
    json_decref(root);
}

static void test_json_budgets_without_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf out;
        struct snapshot *snapshot = must_take(&core);
        buf_init(&out, 1 << 20);
        mem_fail_after(n);
        json_render_budgets(snapshot, STR_LITERAL("h"), core.scratch, &out);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(out.err != 0, failed);
        core_drop(&core, snapshot);
        buf_fini(&out);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_json_budgets_before_the_first_record),
        TEST(test_json_budgets_say_what_was_spent),
        TEST(test_json_budgets_of_a_layer_without_one),
        TEST(test_json_budgets_without_memory),
    };
    return cmocka_run_group_tests_name("json_budgets", tests, core_tables, NULL);
}
