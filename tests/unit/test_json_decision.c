#include "core_helpers.h"

#include <math.h>
#include <stdio.h>

#include <jansson.h>

#include "base/err.h"
#include "mem_fault.h"
#include "render/json_decision.h"

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("region");
    options.label_key_count = 1;
    core_open(&core, &options);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    return 0;
}

static void add_cpu(const char *name, double ms, double cpu)
{
    struct sample sample = sample_of(name, ms);
    sample.has = 1u << SAMPLE_CPU_DURING;
    sample.cpu_percent_during = cpu;
    must_record(&core, &sample);
}

/* 25 ms of which 24 compute, 100 MFLOP. */
static void add_hinted(const char *name, unsigned count)
{
    struct sample sample = sample_of(name, 25);
    sample.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM |
                 1u << SAMPLE_RUNQUEUE | 1u << SAMPLE_FLOPS;
    sample.cpu_percent_during = 96;
    sample.user_ms = 24;
    sample.flops = 1e8;
    for (unsigned i = 0; i < count; i++) {
        must_record(&core, &sample);
    }
}

static json_t *must_render(void)
{
    struct buf out;
    struct snapshot *snapshot = must_take(&core);
    buf_init(&out, 16 << 20);
    json_render_decision(snapshot, core.scratch, &out);
    core_drop(&core, snapshot);
    assert_int_equal(out.err, 0);
    assert_int_equal(out.data[out.len - 1], '\n');
    json_t *root = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    buf_fini(&out);
    return root;
}

static const json_t *model_at(const json_t *root, size_t at)
{
    const json_t *model = json_array_get(json_object_get(root, "models"), at);
    assert_non_null(model);
    return model;
}

static void must_be_text(const json_t *from, const char *key, const char *wanted)
{
    const json_t *value = json_object_get(from, key);
    assert_non_null(value);
    if (wanted == NULL) {
        assert_true(json_is_null(value));
    } else {
        assert_string_equal(json_string_value(value), wanted);
    }
}

static void must_be_number(const json_t *from, const char *key, double wanted)
{
    const json_t *value = json_object_get(from, key);
    assert_non_null(value);
    if (isnan(wanted)) {
        assert_true(json_is_null(value));
    } else {
        assert_true(json_is_number(value));
        must_be_near(json_number_value(value), wanted, 1e-12);
    }
}

/* A list of exactly these texts. */
static void must_list(const json_t *root, const char *key, const char *const *wanted)
{
    const json_t *list = json_object_get(root, key);
    size_t count = 0;
    assert_true(json_is_array(list));
    for (; wanted[count] != NULL; count++) {
        const char *text = json_string_value(json_array_get(list, count));
        assert_non_null(text);
        assert_string_equal(text, wanted[count]);
    }
    assert_int_equal(json_array_size(list), count);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING   ((const char *const[]){NULL})

/* --- what it says ------------------------------------------------------------------------------ */

static void test_json_decision_before_the_first_sample(void **state)
{
    (void)state;
    json_t *root = must_render();
    must_be_text(root, "overall_recommendation", "KEEP_CPU");
    must_list(root, "reasons", LIST("no model has sent a sample, so nothing is known yet"));
    must_list(root, "action_items", NOTHING);
    assert_int_equal(json_array_size(json_object_get(root, "models")), 0);
    assert_int_equal(json_object_size(root), 5);
    json_decref(root);
}

static void test_json_decision_prints_every_constant(void **state)
{
    (void)state;
    json_t *root = must_render();
    const json_t *constants = json_object_get(root, "constants");
    assert_int_equal(json_object_size(constants), 18);
    must_be_text(constants, "objective", "cost");
    must_be_number(constants, "min_speedup", 2);
    must_be_number(constants, "max_latency_ms", 0);
    must_be_number(constants, "peak_tflops", 8.1);
    must_be_number(constants, "bandwidth_gb", 320);
    must_be_number(constants, "efficiency_low", 0.2);
    must_be_number(constants, "efficiency_high", 0.6);
    must_be_number(constants, "launch_us", 100);
    must_be_number(constants, "transfer_us", 20);
    must_be_number(constants, "max_batch", 64);
    must_be_number(constants, "price_low", 0.3);
    must_be_number(constants, "price_high", 0.6);
    must_be_number(constants, "cpu_price_low", 0.2);
    must_be_number(constants, "cpu_price_high", 0.4);
    must_be_number(constants, "cpu_threads", 8);
    must_be_number(constants, "host_threads", 4);
    must_be_number(constants, "utilization", 0.7);
    must_be_number(constants, "instances", 1);
    json_decref(root);
}

static void test_json_decision_says_why_and_what_to_do(void **state)
{
    (void)state;
    add_cpu("quick", 0.5, 90);
    add_cpu("slow \"io\"\n", 5, 3);
    add_cpu("unclear", 5, 30);
    struct sample off = sample_of("away", 5);
    off.has = 1u << SAMPLE_DEVICE;
    off.device = STR_LITERAL("cuda:0");
    must_record(&core, &off);
    json_t *root = must_render();
    must_be_text(root, "overall_recommendation", "KEEP_CPU");
    must_list(root, "reasons",
              LIST("2 models are better off on the CPU", "1 model has shown too little to decide",
                   "1 model does not run on the CPU"));
    must_list(root, "action_items",
              LIST("Send evidence (user_ms, system_ms, runqueue_ms) with the samples: unclear"));
    must_be_text(model_at(root, 0), "decision", NULL);
    must_be_text(model_at(root, 2), "model_name", "slow \"io\"\n");
    must_be_text(model_at(root, 2), "reason", "mean CPU 3 % is below 20 %");
    json_decref(root);
    add_cpu("busy", 5, 99);
    root = must_render();
    must_be_text(root, "overall_recommendation", "EVALUATE_GPU");
    must_list(root, "reasons",
              LIST("busy: mean CPU 99 % is above 50 %", "2 models are better off on the CPU",
                   "1 model has shown too little to decide", "1 model does not run on the CPU"));
    must_list(
        root, "action_items",
        LIST("Send evidence (user_ms, system_ms, runqueue_ms) with the samples: busy, unclear"));
    json_decref(root);
}

static void test_json_decision_names_a_few_of_many(void **state)
{
    (void)state;
    static const char five[] =
        "Send evidence (user_ms, system_ms, runqueue_ms) with the samples: m0, m1, m2, m3, m4";
    for (unsigned i = 0; i < 7; i++) {
        char name[8];
        char items[200];
        (void)snprintf(name, sizeof name, "m%u", i);
        add_cpu(name, 5, 99);
        json_t *root = must_render();
        const json_t *reasons = json_object_get(root, "reasons");
        assert_int_equal(json_array_size(reasons), i < 5 ? i + 1 : 6);
        if (i >= 4) {
            (void)snprintf(items, sizeof items, "%s%s", five,
                           i == 4   ? ""
                           : i == 5 ? " and 1 more model"
                                    : " and 2 more models");
            must_list(root, "action_items", LIST(items));
        }
        assert_int_equal(json_array_size(json_object_get(root, "models")), i + 1);
        json_decref(root);
    }
    json_t *root = must_render();
    assert_string_equal(json_string_value(json_array_get(json_object_get(root, "reasons"), 5)),
                        "and 2 more models");
    json_decref(root);
}

/* --- models ------------------------------------------------------------------------------------ */

static void test_json_decision_of_a_model_without_an_estimate(void **state)
{
    (void)state;
    add_cpu("m", 5, 99);
    json_t *root = must_render();
    const json_t *model = model_at(root, 0);
    assert_int_equal(json_object_size(model), 14);
    must_be_text(model, "bottleneck_type", "compute_bound");
    must_be_number(model, "confidence", (double)NAN);
    must_be_number(model, "p99_ms", 5);
    must_be_number(model, "cpu_avg_percent", 99);
    must_be_text(model, "decision", "yes");
    must_be_number(model, "max_speedup", (double)NAN);
    must_be_number(model, "movable_share", (double)NAN);
    must_be_number(model, "starved_share", (double)NAN);
    must_be_number(model, "rate_per_second", 0.1);
    must_be_text(model, "estimate", NULL);
    json_decref(root);
}

static void test_json_decision_of_a_model_with_an_estimate(void **state)
{
    (void)state;
    static const char *const ranges[] = {"batch_size",
                                         "time_ms",
                                         "p99_ms",
                                         "speedup",
                                         "cpu_cost_per_1000",
                                         "gpu_cost_per_1000",
                                         "break_even_per_second"};
    add_hinted("m", 10000);
    json_t *root = must_render();
    const json_t *model = model_at(root, 0);
    must_be_text(model, "decision", "yes");
    must_be_text(model, "action_item", NULL);
    must_be_number(model, "max_speedup", 25);
    must_be_number(model, "movable_share", 0.96);
    must_be_number(model, "starved_share", 0);
    must_be_number(model, "rate_per_second", 1000);
    const json_t *estimate = json_object_get(model, "estimate");
    must_be_text(estimate, "objective", "cost");
    must_be_number(estimate, "probability", 1);
    must_be_number(estimate, "rate_per_second", 1000);
    must_be_number(estimate, "p99_limit_ms", 25);
    must_be_number(estimate, "cpu_machines", 1000 / (0.7 * 8 * 1000 / 24));
    must_be_number(estimate, "gpu_machines", 1);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const json_t *range = json_object_get(estimate, ranges[i]);
        assert_int_equal(json_object_size(range), 3);
        double low = json_number_value(json_object_get(range, "low"));
        double point = json_number_value(json_object_get(range, "point"));
        double high = json_number_value(json_object_get(range, "high"));
        assert_true(0 <= low && low <= point && point <= high);
    }
    must_be_number(json_object_get(estimate, "time_ms"), "point", 1 + 0.12 + 1e8 / 0.4 / 8.1e9);
    json_decref(root);
    core.thresholds.gpu.objective = GPU_LATENCY;
    root = must_render();
    must_be_text(json_object_get(model_at(root, 0), "estimate"), "objective", "latency");
    json_decref(root);
}

static void test_json_decision_tells_models_of_a_name_apart(void **state)
{
    (void)state;
    struct sample sample = sample_of("m", 5);
    sample.label_count = 1;
    sample.labels[0] = (struct label){STR_LITERAL("region"), STR_LITERAL("eu")};
    must_record(&core, &sample);
    sample.labels[0].value = STR_LITERAL("us");
    must_record(&core, &sample);
    json_t *root = must_render();
    must_be_text(json_object_get(model_at(root, 0), "labels"), "region", "eu");
    must_be_text(json_object_get(model_at(root, 1), "labels"), "region", "us");
    json_decref(root);
}

static void test_json_decision_leaves_out_what_was_reset(void **state)
{
    (void)state;
    add_cpu("m", 5, 99);
    must_reset(&core, "m", 1);
    json_t *root = must_render();
    must_be_text(root, "overall_recommendation", "KEEP_CPU");
    assert_int_equal(json_array_size(json_object_get(root, "models")), 0);
    json_decref(root);
}

/* --- memory ------------------------------------------------------------------------------------ */

static void test_json_decision_without_memory_fails_whole(void **state)
{
    (void)state;
    add_cpu("busy", 5, 99);
    add_hinted("hinted", 10);
    struct snapshot *snapshot = must_take(&core);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        mem_fail_after(n);
        json_render_decision(snapshot, core.scratch, &out);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(out.err, failed ? ERR_NOMEM : 0);
        buf_fini(&out);
        assert_int_equal(mem_count_live(), live);
    }
    core_drop(&core, snapshot);
}

static void test_json_decision_keeps_to_the_ceiling(void **state)
{
    (void)state;
    add_hinted("hinted", 10);
    struct snapshot *snapshot = must_take(&core);
    struct buf out;
    buf_init(&out, 16 << 20);
    json_render_decision(snapshot, core.scratch, &out);
    size_t len = out.len;
    buf_fini(&out);
    enum { ROOM = 64 }; /* that a number asks for before it is printed */
    const size_t ceilings[] = {0, len / 2, len - 1, len + ROOM};
    for (size_t i = 0; i < 4; i++) {
        buf_init(&out, ceilings[i]);
        json_render_decision(snapshot, core.scratch, &out);
        assert_int_equal(out.err, i < 3 ? ERR_LIMIT : 0);
        buf_fini(&out);
    }
    core_drop(&core, snapshot);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_json_decision_before_the_first_sample),
        TEST(test_json_decision_prints_every_constant),
        TEST(test_json_decision_says_why_and_what_to_do),
        TEST(test_json_decision_names_a_few_of_many),
        TEST(test_json_decision_of_a_model_without_an_estimate),
        TEST(test_json_decision_of_a_model_with_an_estimate),
        TEST(test_json_decision_tells_models_of_a_name_apart),
        TEST(test_json_decision_leaves_out_what_was_reset),
        TEST(test_json_decision_without_memory_fails_whole),
        TEST(test_json_decision_keeps_to_the_ceiling),
    };
    return cmocka_run_group_tests_name("json_decision", tests, core_tables, NULL);
}
