#include "core_helpers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "core/budget_profile.h"
#include "mem_fault.h"

#define ELAPSED "acgs2_budget_elapsed_seconds"
#define OVER    "acgs2_budget_exceeded"
#define SOFT    "acgs2_budget_soft_limit_exceeded"

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct str name;
    assert_int_equal(budgets_declare(core.budgets, &name), 0);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    return 0;
}

static int record_str(struct str layer, double ms, struct budget_verdict *ret_verdict)
{
    struct budget budget = {.layer = layer, .elapsed_ms = ms};
    return budgets_record(core.budgets, &budget, ret_verdict);
}

static struct budget_verdict must_spend(const char *layer, double ms)
{
    struct budget_verdict verdict = {.exceeded = false};
    assert_int_equal(record_str(str_of(layer), ms, &verdict), 0);
    return verdict;
}

static const struct budget_layer *layer_of(const struct snapshot *snapshot, const char *name)
{
    for (uint32_t i = 0; i < snapshot->budgets.count; i++) {
        if (str_is(snapshot->budgets.layers[i]->limit->layer, name)) {
            return snapshot->budgets.layers[i];
        }
    }
    fail_msg("no layer \"%s\"", name);
    return NULL;
}

static struct budget_profile profile_of(const struct snapshot *snapshot, const char *name)
{
    struct budget_profile profile;
    budget_profile_compute(snapshot, layer_of(snapshot, name), budget_profile_total_ms(snapshot),
                           core.scratch, &profile);
    return profile;
}

/* What counts since the start. */
static void must_have(const char *name, uint64_t count, uint64_t exceeded, uint64_t soft)
{
    char labels[RECORD_NAME_MAX + sizeof "layer="];
    struct snapshot *snapshot = must_take(&core);
    const struct budget_layer *layer = layer_of(snapshot, name);
    assert_int_equal(layer->count, count);
    assert_int_equal(layer->exceeded, exceeded);
    assert_int_equal(layer->soft_exceeded, soft);
    snprintf(labels, sizeof labels, "layer=%s", name);
    if (count > 0) {
        assert_int_equal(core_series(&core, ELAPSED, labels).buckets->count, count);
    }
    if (isfinite(layer->limit->budget_ms)) {
        assert_true(core_series(&core, OVER, labels).number == (double)exceeded);
        assert_true(core_series(&core, SOFT, labels).number == (double)soft);
    }
    core_drop(&core, snapshot);
}

/* --- counts ------------------------------------------------------------------------------------ */

static void test_budgets_configured_layers_are_there_from_the_start(void **state)
{
    (void)state;
    static const char *const names[] = {"total", "layer1_validation", "layer2_deliberation",
                                        "layer3_policy", "layer4_audit"};
    static const double budgets[] = {50, 5, 20, 10, 15};
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->budgets.count, 5);
    assert_int_equal(snapshot->budgets.configured, 5);
    for (size_t i = 0; i < 5; i++) {
        const struct budget_layer *layer = snapshot->budgets.layers[i];
        assert_true(str_is(layer->limit->layer, names[i]));
        assert_true(layer->limit->budget_ms == budgets[i]);
        assert_true(layer->limit->soft_limit_ms == budgets[i] * 0.8);
        assert_true(layer->last_ms == 0);
    }
    core_drop(&core, snapshot);
    for (size_t i = 0; i < 5; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "layer=%s", names[i]);
        assert_true(core_series(&core, OVER, labels).number == 0);
        assert_true(core_series(&core, SOFT, labels).number == 0);
        assert_true(core_has_series(&core, ELAPSED, labels));
    }
}

static void test_budgets_compare_strictly(void **state)
{
    (void)state;
    static const struct {
        double ms;
        bool soft, over;
    } facts[] = {{0, false, false},       {3.999, false, false}, {4, false, false},
                 {4.000001, true, false}, {4.999, true, false},  {5, true, false},
                 {5.000001, true, true},  {1e12, true, true}};
    uint64_t over = 0;
    uint64_t soft = 0;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct budget_verdict verdict = must_spend("layer1_validation", facts[i].ms);
        assert_int_equal(verdict.exceeded, facts[i].over);
        assert_true(verdict.budget_ms == 5);
        over += facts[i].over;
        soft += facts[i].soft;
        must_have("layer1_validation", i + 1, over, soft);
    }
    struct snapshot *snapshot = must_take(&core);
    assert_true(layer_of(snapshot, "layer1_validation")->last_ms == 1e12);
    core_drop(&core, snapshot);
    must_have("layer2_deliberation", 0, 0, 0);
}

/* Of layer1_validation, whose budget is 5 and soft limit 4 ms. */
static void test_budgets_of_a_layer_that_is_entered_again(void **state)
{
    (void)state;
    static const struct {
        double before_ms, ms;
        bool exceeded;              /* now */
        uint64_t count, over, soft; /* then */
    } facts[] = {{0, 3, false, 1, 0, 0},     {3, 1, false, 1, 0, 0},  {4, 0.5, false, 1, 0, 1},
                 {4.5, 0.5, false, 1, 0, 1}, {5, 0.5, true, 1, 1, 1}, {5.5, 9, false, 1, 1, 1},
                 {0, 6, true, 2, 2, 2},      {6, 0, false, 2, 2, 2},  {0, 0, false, 3, 2, 2}};
    const size_t count = sizeof facts / sizeof facts[0];
    for (size_t i = 0; i < count; i++) {
        struct budget_verdict verdict;
        struct budget budget = {.layer = STR_LITERAL("layer1_validation"),
                                .elapsed_ms = facts[i].ms,
                                .before_ms = facts[i].before_ms,
                                .has = BUDGET_HAS_BEFORE};
        assert_int_equal(budgets_record(core.budgets, &budget, &verdict), 0);
        assert_int_equal(verdict.exceeded, facts[i].exceeded);
        struct snapshot *snapshot = must_take(&core);
        const struct budget_layer *layer = layer_of(snapshot, "layer1_validation");
        assert_int_equal(layer->count, facts[i].count);
        assert_int_equal(layer->exceeded, facts[i].over);
        assert_int_equal(layer->soft_exceeded, facts[i].soft);
        assert_true(layer->last_ms == facts[i].before_ms + facts[i].ms);
        core_drop(&core, snapshot);
    }
    struct snapshot *snapshot = must_take(&core);
    struct budget_profile profile = profile_of(snapshot, "layer1_validation");
    assert_int_equal(profile.count, 3);
    assert_int_equal(profile.exceeded, 2);
    must_be_near(profile.spent_ms, 20.5, 1e-12);
    must_be_near(profile.burn.rate[BURN_LONG], 2 / 3.0 / (1 - CORE_OBJECTIVE), 1e-12);
    core_drop(&core, snapshot);
    const char *labels = "layer=layer1_validation";
    assert_int_equal(core_series(&core, ELAPSED, labels).buckets->count, count); /* runs */
    assert_true(core_series(&core, "acgs2_budget_requests", labels).number == 3);
    assert_true(core_series(&core, OVER, labels).number == 2);
    assert_true(core_series(&core, SOFT, labels).number == 2);
}

static void test_budgets_time_is_shown_in_seconds(void **state)
{
    (void)state;
    (void)must_spend("total", 50);
    (void)must_spend("total", 50.001);
    (void)must_spend("total", 0);
    const struct buckets *buckets = core_series(&core, ELAPSED, "layer=total").buckets;
    assert_int_equal(buckets->count, 3);
    must_be_near(buckets->sum, 0.100001, 1e-12);
    assert_int_equal(buckets->counts[0], 1);
    assert_int_equal(buckets->counts[13], 1); /* at most 0.05 */
    assert_int_equal(buckets->counts[14], 1); /* at most 0.1 */
}

/* A record of a trace leaves an exemplar; the next one without a trace does not. */
static void test_budgets_keep_exemplars(void **state)
{
    (void)state;
    struct budget_verdict verdict;
    struct budget budget = {.layer = STR_LITERAL("total"),
                            .elapsed_ms = 50,
                            .has = BUDGET_HAS_TIMESTAMP | BUDGET_HAS_TRACE_ID | BUDGET_HAS_SPAN_ID |
                                   BUDGET_HAS_FLAGS,
                            .timestamp_wall_ns = 77,
                            .trace_id = {1, 2},
                            .span_id = {3}};
    assert_int_equal(budgets_record(core.budgets, &budget, &verdict), 0);
    (void)must_spend("total", 49);
    (void)must_spend("total", 500);
    const struct buckets *buckets = core_series(&core, ELAPSED, "layer=total").buckets;
    assert_non_null(buckets->exemplars);
    const struct exemplar_mark *mark = &buckets->exemplars->marks[13];
    assert_true(mark->set && mark->has_span_id);
    assert_true(mark->value == 0.05);
    assert_int_equal(mark->wall_ns, 77);
    assert_memory_equal(mark->trace_id, budget.trace_id, sizeof mark->trace_id);
    assert_memory_equal(mark->span_id, budget.span_id, sizeof mark->span_id);
    assert_false(buckets->exemplars->marks[16].set);
    assert_int_equal(buckets->count, 3);
}

static void test_budgets_what_is_left(void **state)
{
    (void)state;
    struct budget_limit limit = {.budget_ms = 5};
    assert_true(budget_remaining_ms(&limit, 0) == 5);
    assert_true(budget_remaining_ms(&limit, 3.5) == 1.5);
    assert_true(budget_remaining_ms(&limit, 5) == 0);
    assert_true(budget_remaining_ms(&limit, 7) == 0);
    limit.budget_ms = (double)INFINITY;
    assert_true(isinf(budget_remaining_ms(&limit, 7)));
}

/* --- layers that nobody configured ------------------------------------------------------------- */

static void test_budgets_a_layer_without_a_budget_is_never_over_it(void **state)
{
    (void)state;
    assert_false(must_spend("cache", 1e12).exceeded);
    assert_false(must_spend("cache", 1).exceeded);
    must_have("cache", 2, 0, 0);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->budgets.count, 6);
    assert_int_equal(snapshot->budgets.configured, 5);
    core_drop(&core, snapshot);
}

static void test_budgets_layers_past_the_ceiling_are_one(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < BUDGETS_FREE_MAX; i++) {
        snprintf(name, sizeof name, "free%d", i);
        (void)must_spend(name, 1);
    }
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->budgets.count, 5 + BUDGETS_FREE_MAX);
    assert_int_equal(snapshot->counters.value[COUNTER_OVERFLOW_RECORDS], 0);
    core_drop(&core, snapshot);
    (void)must_spend("one more", 2);
    (void)must_spend("and more", 3);
    (void)must_spend(BUDGETS_OVERFLOW, 4); /* whoever calls itself so is there */
    (void)must_spend("free0", 1);
    must_have(BUDGETS_OVERFLOW, 3, 0, 0);
    must_have("free0", 2, 0, 0);
    snapshot = must_take(&core);
    assert_int_equal(snapshot->budgets.count, 5 + BUDGETS_FREE_MAX + 1);
    assert_int_equal(snapshot->counters.value[COUNTER_OVERFLOW_RECORDS], 2);
    core_drop(&core, snapshot);
}

static void test_budgets_names_of_layers(void **state)
{
    (void)state;
    char longest[RECORD_NAME_MAX + 1];
    struct budget_verdict verdict;
    memset(longest, 'x', sizeof longest);
    assert_int_equal(record_str((struct str){longest, RECORD_NAME_MAX}, 1, &verdict), 0);
    assert_int_equal(record_str((struct str){longest, sizeof longest}, 1, &verdict), ERR_NAME);
    assert_int_equal(record_str((struct str){"", 0}, 1, &verdict), ERR_NAME);
    assert_int_equal(record_str((struct str){"a\0b", 3}, 1, &verdict), ERR_NAME);
    assert_int_equal(record_str(STR_LITERAL("\xff"), 1, &verdict), ERR_NAME);
    assert_int_equal(record_str(STR_LITERAL("\xc3\xa9"), 1, &verdict), 0);
    assert_int_equal(core.budgets->count, 5 + 2);
}

/* --- families ---------------------------------------------------------------------------------- */

/* What clients call so is not counted in them. */
static void test_budgets_families_are_nobody_elses(void **state)
{
    (void)state;
    static const struct {
        enum metric_op op;
        const char *name;
    } facts[] = {{METRIC_OBSERVE, ELAPSED},
                 {METRIC_COUNT, OVER},
                 {METRIC_COUNT, "acgs2_budget_exceeded_total"},
                 {METRIC_COUNT, "acgs2.budget.soft.limit.exceeded"},
                 {METRIC_SET, OVER}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct metric metric = metric_of(facts[i].op, facts[i].name, 1, "layer=total");
        assert_int_equal(metrics_record(core.metrics, &metric, NULL), ERR_CONFLICT);
        metric.spelling = (struct spelling){SPELLING_BATCH, STR_LITERAL("a"), STR_LITERAL("b")};
        assert_int_equal(metrics_record(core.metrics, &metric, NULL), ERR_CONFLICT);
    }
    must_have("total", 0, 0, 0);
}

static void test_budgets_families_without_a_namespace(void **state)
{
    (void)state;
    struct budgets *budgets = calloc(1, sizeof *budgets);
    assert_non_null(budgets);
    struct budgets_options options = {.total_ms = 1};
    assert_int_equal(budgets_init(budgets, &options, core.registry, core.metrics), 0);
    struct str name;
    assert_int_equal(budgets_declare(budgets, &name), 0);
    assert_true(core_has_series(&core, "budget_elapsed_seconds", "layer=total"));
    assert_int_equal(budgets_declare(budgets, &name), ERR_CONFLICT);
    assert_true(str_is(name, "budget_elapsed_seconds"));
    budgets_fini(budgets);
    free(budgets);
}

/* --- the window -------------------------------------------------------------------------------- */

static void test_budgets_quantiles_are_those_of_the_window(void **state)
{
    (void)state;
    for (int ms = 1; ms <= 100; ms++) {
        (void)must_spend("layer3_policy", ms);
        if (ms % 25 == 0) {
            core_move(&core, CORE_SLOT_S);
        }
    }
    struct snapshot *snapshot = must_take(&core);
    struct budget_profile profile = profile_of(snapshot, "layer3_policy");
    assert_int_equal(profile.count, 100);
    assert_int_equal(profile.exceeded, 90);
    must_be_near(profile.quantile_ms[QUANTILE_50], 50, QUANTILE_TOLERANCE);
    must_be_near(profile.quantile_ms[QUANTILE_95], 95, QUANTILE_TOLERANCE);
    must_be_near(profile.quantile_ms[QUANTILE_99], 99, QUANTILE_TOLERANCE);
    must_be_near(profile.spent_ms, 5050, 1e-12);
    core_drop(&core, snapshot);

    core_move(&core, (WINDOW_SLOTS - 4) * CORE_SLOT_S); /* the first 25 are over */
    snapshot = must_take(&core);
    profile = profile_of(snapshot, "layer3_policy");
    assert_int_equal(profile.count, 75);
    assert_int_equal(profile.exceeded, 75);
    must_be_near(profile.quantile_ms[QUANTILE_50], 63, QUANTILE_TOLERANCE);
    core_drop(&core, snapshot);

    core_move(&core, WINDOW_SLOTS * CORE_SLOT_S);
    snapshot = must_take(&core);
    profile = profile_of(snapshot, "layer3_policy");
    assert_int_equal(profile.count, 0);
    assert_true(isnan(profile.quantile_ms[QUANTILE_99]));
    assert_true(isnan(profile.share_of_total));
    core_drop(&core, snapshot);

    (void)must_spend("layer3_policy", 7); /* into the place of a stretch that is over */
    snapshot = must_take(&core);
    profile = profile_of(snapshot, "layer3_policy");
    assert_int_equal(profile.count, 1);
    assert_true(profile.quantile_ms[QUANTILE_50] == 7);
    core_drop(&core, snapshot);
    must_have("layer3_policy", 101, 90, 92);
}

static void must_share(const char *name, double share)
{
    struct snapshot *snapshot = must_take(&core);
    struct budget_profile profile = profile_of(snapshot, name);
    if (isnan(share)) {
        assert_true(isnan(profile.share_of_total));
    } else {
        must_be_near(profile.share_of_total, share, 1e-12);
    }
    core_drop(&core, snapshot);
}

static void test_budgets_shares_of_the_total(void **state)
{
    (void)state;
    must_share("layer1_validation", (double)NAN);
    (void)must_spend("layer1_validation", 0); /* of nothing there is no share */
    must_share("layer1_validation", (double)NAN);
    (void)must_spend("layer1_validation", 2);
    (void)must_spend("layer2_deliberation", 6);
    must_share("layer1_validation", 0.25); /* of all layers, as no total is told */
    must_share("layer2_deliberation", 0.75);
    must_share("layer3_policy", (double)NAN);
    (void)must_spend("total", 16);
    must_share("layer1_validation", 0.125);
    must_share("layer2_deliberation", 0.375);
    (void)must_spend("layer2_deliberation", 26); /* beside others, or of a request that goes on */
    must_share("layer2_deliberation", 2);
}

/* --- snapshots and memory ---------------------------------------------------------------------- */

static const char *const some_layers[] = {"total", "layer1_validation", "free", "more"};

/* Any records, any snapshots: what was seen of one at first is seen of it at last. */
static void test_budgets_of_a_snapshot_never_change(void **state)
{
    (void)state;
    enum { HELD = 5 };
    struct random random = random_start("budgets");
    struct snapshot *held[HELD] = {NULL};
    char *seen[HELD] = {NULL};
    for (int step = 0; step < 6000; step++) {
        size_t which = random_below(&random, HELD);
        uint64_t what = random_below(&random, 60);
        if (what == 0 && held[which] == NULL) {
            held[which] = must_take(&core);
            seen[which] = describe_snapshot(held[which], core.scratch);
        } else if (what == 1 && held[which] != NULL) {
            char *now = describe_snapshot(held[which], core.scratch);
            assert_string_equal(now, seen[which]);
            core_drop(&core, held[which]);
            held[which] = NULL;
            free(now);
            free(seen[which]);
        } else if (what == 2) {
            core_move(&core, 20);
        } else {
            (void)must_spend(some_layers[random_below(&random, 4)], 100 * random_unit(&random));
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        if (held[i] != NULL) {
            core_drop(&core, held[i]);
            free(seen[i]);
        }
    }
}

/* With a snapshot held, everything is copied, and each copy may fail: nothing is counted then. */
static void test_budgets_without_memory_count_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) { /* known, configured and unused, new */
        (void)must_spend("layer1_validation", 9);
        struct snapshot *held = must_take(&core);
        uint64_t over = 0;
        for (size_t n = 1;; n++) {
            struct budget_verdict verdict = {.exceeded = false};
            mem_fail_after(n);
            int err = record_str(str_of(some_layers[i]), 77, &verdict);
            bool failed = mem_has_failed();
            mem_fail_after(0);
            if (err == 0) {
                over += verdict.exceeded;
                if (!failed) {
                    break;
                }
                continue; /* it could do without */
            }
            assert_int_equal(err, ERR_NOMEM);
            assert_true(failed);
            assert_false(verdict.exceeded);
        }
        core_drop(&core, held);
        (void)must_spend(some_layers[i], 77); /* tells what found no memory */
        struct snapshot *snapshot = must_take(&core);
        const struct budget_layer *layer = layer_of(snapshot, some_layers[i]);
        assert_int_equal(profile_of(snapshot, some_layers[i]).count, layer->count);
        assert_true(layer->exceeded >= over);
        uint64_t count = layer->count;
        uint64_t exceeded = layer->exceeded;
        uint64_t soft = layer->soft_exceeded;
        core_drop(&core, snapshot);
        must_have(some_layers[i], count, exceeded, soft);
    }
}

static void test_budgets_begin_without_memory(void **state)
{
    (void)state;
    static const struct budget_option layers[] = {{{"a", 1}, 1, 0.5}, {{"b", 1}, 2, 1}};
    struct budgets *budgets = calloc(1, sizeof *budgets);
    assert_non_null(budgets);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct budgets_options options = {.total_ms = 1, .layers = layers, .layer_count = 2};
        mem_fail_after(n);
        int err = budgets_init(budgets, &options, core.registry, core.metrics);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        budgets_fini(budgets);
        assert_int_equal(mem_count_live(), live);
    }
    free(budgets);
}

static struct budget random_budget(struct random *random)
{
    static const struct str names[] = {{"total", 5}, {"layer1_validation", 17},
                                       {"cache", 5}, {"", 0},
                                       {"\xff", 1},  {"layer3_policy", 13}};
    uint64_t what = random_below(random, 40);
    return (struct budget){.layer = names[random_below(random, 6)],
                           .elapsed_ms = what == 0   ? 0
                                         : what == 1 ? RECORD_MS_MAX
                                                     : 30 * random_unit(random),
                           .before_ms = 20 * random_unit(random),
                           .has = what == 2   ? BUDGET_HAS_TRACE_ID
                                  : what == 3 ? BUDGET_HAS_BEFORE
                                              : 0U};
}

/* Any records, new layers, traces, bad names and zeros among them, and what became of them; to be
 * freed. */
static char *tell_story(bool together)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct random random = random_start("together");
    assert_int_equal(open_core(NULL), 0);
    for (unsigned lot = 0; lot < 1000; lot++) {
        struct budget list[RECORD_BUDGETS_MAX];
        struct budget_verdict verdicts[RECORD_BUDGETS_MAX];
        int errs[RECORD_BUDGETS_MAX];
        unsigned count = (unsigned)random_below(&random, RECORD_BUDGETS_MAX + 1);
        for (unsigned i = 0; i < count; i++) {
            list[i] = random_budget(&random);
            errs[i] = together ? 0 : budgets_record(core.budgets, &list[i], &verdicts[i]);
        }
        if (together) {
            budgets_record_some(core.budgets, list, count, errs, verdicts);
        }
        for (unsigned i = 0; i < count; i++) {
            (void)fprintf(out, "%d %d ", errs[i], errs[i] == 0 && verdicts[i].exceeded);
        }
        if (random_below(&random, 8) == 0) {
            struct snapshot *snapshot = must_take(&core);
            char *seen = describe_snapshot(snapshot, core.scratch);
            (void)fprintf(out, "%s", seen);
            free(seen);
            core_drop(&core, snapshot);
        }
        if (random_below(&random, 20) == 0) {
            core_move(&core, CORE_SLOT_S);
        }
    }
    core_close(&core);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_budgets_together_are_budgets_one_after_the_other(void **state)
{
    (void)state;
    char *together = tell_story(true);
    char *singly = tell_story(false);
    assert_string_equal(together, singly);
    free(together);
    free(singly);
}

static void test_budgets_steady_state_allocates_nothing(void **state)
{
    (void)state;
    (void)must_spend("layer1_validation", 9);
    (void)must_spend("layer1_validation", 9);
    size_t before = mem_count_allocations();
    for (int i = 0; i < 100; i++) {
        (void)must_spend("layer1_validation", 9);
    }
    assert_int_equal(mem_count_allocations(), before);
}

/* --- other budgets ----------------------------------------------------------------------------- */

static int change(double total_ms, double objective, const struct budget_option *layers,
                  uint32_t count)
{
    struct budgets_options options = {
        .total_ms = total_ms, .objective = objective, .layers = layers, .layer_count = count};
    return budgets_change(core.budgets, &options);
}

static void must_be_limited(const char *name, double budget_ms, double soft_limit_ms)
{
    struct snapshot *snapshot = must_take(&core);
    const struct budget_limit *limit = layer_of(snapshot, name)->limit;
    assert_true(limit->budget_ms == budget_ms);
    assert_true(limit->soft_limit_ms == soft_limit_ms);
    core_drop(&core, snapshot);
}

static void test_budgets_change_for_the_next_record(void **state)
{
    (void)state;
    const struct budget_option layers[] = {{STR_LITERAL("layer1_validation"), 10, 0.5},
                                           {STR_LITERAL("cache"), 2, 0.5},
                                           {STR_LITERAL("fresh"), 1, 1}};
    assert_true(must_spend("layer1_validation", 9).exceeded); /* of 5 */
    assert_false(must_spend("cache", 9).exceeded);
    assert_true(must_spend("layer3_policy", 11).exceeded);
    struct snapshot *held = must_take(&core);
    assert_int_equal(change(20, 0.5, layers, 3), 0);
    assert_true(layer_of(held, "layer1_validation")->limit->budget_ms == 5);
    core_drop(&core, held);

    assert_false(must_spend("layer1_validation", 9).exceeded);
    struct budget_verdict verdict = must_spend("layer1_validation", 11);
    assert_true(verdict.exceeded && verdict.budget_ms == 10);
    must_have("layer1_validation", 3, 2, 3);
    must_be_limited("total", 20, 16);
    must_be_limited("fresh", 1, 1);
    must_have("fresh", 0, 0, 0);

    /* What was counted against no budget is not told as if it had been. */
    must_be_limited("cache", 2, 1);
    assert_true(must_spend("cache", 3).exceeded);
    must_have("cache", 2, 1, 1);
    struct snapshot *snapshot = must_take(&core);
    assert_true(core_series(&core, "acgs2_budget_requests", "layer=cache").number == 1);
    assert_true(core_series(&core, "acgs2_budget_objective_ratio", "").number == 0.5);
    assert_int_equal(snapshot->budgets.configured, 4);
    core_drop(&core, snapshot);

    /* Who has no budget any more is never over one, and what it was is still told. */
    assert_false(must_spend("layer3_policy", 1e9).exceeded);
    must_be_limited("layer3_policy", (double)INFINITY, (double)INFINITY);
    snapshot = must_take(&core);
    assert_true(core_series(&core, OVER, "layer=layer3_policy").number == 1);
    assert_true(isnan(
        core_series(&core, "acgs2_budget_burn_rate", "layer=layer3_policy,window=long").number));
    core_drop(&core, snapshot);
}

static void test_budgets_change_back_and_forth_goes_on_counting(void **state)
{
    (void)state;
    const struct budget_option one[] = {{STR_LITERAL("cache"), 2, 0.5}};
    for (unsigned i = 1; i <= 10; i++) {
        assert_int_equal(change(50, 0.9, one, 1), 0);
        assert_true(must_spend("cache", 3).exceeded);
        must_have("cache", 2 * i - 1, i, i);
        assert_int_equal(change(50, 0.9, NULL, 0), 0);
        assert_false(must_spend("cache", 3).exceeded);
    }
    struct snapshot *snapshot = must_take(&core);
    assert_true(core_series(&core, "acgs2_budget_requests", "layer=cache").number == 10);
    assert_int_equal(snapshot->budgets.configured, 1);
    core_drop(&core, snapshot);
}

static void test_budgets_change_finds_no_room_at_last(void **state)
{
    (void)state;
    static char names[BUDGETS_CONFIGURED_MAX][16];
    struct budget_option layers[BUDGETS_CONFIGURED_MAX];
    uint32_t room = BUDGETS_LAYERS_MAX - 1 - core.budgets->count; /* one is the overflow layer's */
    for (unsigned run = 0; room > 0; run++) {
        uint32_t count = room < BUDGETS_CONFIGURED_MAX ? room : BUDGETS_CONFIGURED_MAX;
        for (uint32_t i = 0; i < count; i++) {
            int len = snprintf(names[i], sizeof names[i], "%u-%u", run, (unsigned)i);
            layers[i] = (struct budget_option){{names[i], (size_t)len}, 1, 0.5};
        }
        assert_int_equal(change(50, 0.9, layers, count), 0);
        room -= count;
    }
    uint32_t count = core.budgets->count;
    layers[0].layer = STR_LITERAL("one more");
    assert_int_equal(change(7, 0.5, layers, 1), ERR_LIMIT);
    assert_int_equal(core.budgets->count, count);
    must_be_limited("total", 50, 40);
    (void)must_spend("one more", 2); /* goes to the overflow layer, which has the last place */
    must_have(BUDGETS_OVERFLOW, 1, 0, 0);
    assert_int_equal(change(50, 0.9, NULL, 0), 0);
    (void)must_spend("and more", 2);
    must_have(BUDGETS_OVERFLOW, 2, 0, 0);
}

static void test_budgets_change_without_memory_changes_nothing(void **state)
{
    (void)state;
    const struct budget_option layers[] = {{STR_LITERAL("layer1_validation"), 10, 0.5},
                                           {STR_LITERAL("fresh"), 1, 1},
                                           {STR_LITERAL("fresher"), 1, 1}};
    for (size_t n = 1;; n++) {
        (void)close_core(NULL);
        (void)open_core(NULL);
        (void)must_spend("layer1_validation", 9);
        struct snapshot *held = must_take(&core);
        mem_fail_after(n);
        int err = change(20, 0.5, layers, 3);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        core_drop(&core, held);
        if (!failed) {
            assert_int_equal(err, 0);
            assert_true(n > 5);
            break;
        }
        if (err == 0) {
            must_be_limited("total", 20, 16); /* it could do without */
            continue;
        }
        assert_int_equal(err, ERR_NOMEM);
        must_be_limited("total", 50, 40);
        must_be_limited("layer1_validation", 5, 4);
        assert_int_equal(core.budgets->count, 5);
    }
    must_be_limited("total", 20, 16);
    must_be_limited("fresher", 1, 1);
    assert_true(must_spend("fresh", 2).exceeded);
    must_have("fresh", 1, 1, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_budgets_configured_layers_are_there_from_the_start),
        TEST(test_budgets_compare_strictly),
        TEST(test_budgets_of_a_layer_that_is_entered_again),
        TEST(test_budgets_time_is_shown_in_seconds),
        TEST(test_budgets_keep_exemplars),
        TEST(test_budgets_what_is_left),
        TEST(test_budgets_a_layer_without_a_budget_is_never_over_it),
        TEST(test_budgets_layers_past_the_ceiling_are_one),
        TEST(test_budgets_names_of_layers),
        TEST(test_budgets_families_are_nobody_elses),
        TEST(test_budgets_families_without_a_namespace),
        TEST(test_budgets_quantiles_are_those_of_the_window),
        TEST(test_budgets_shares_of_the_total),
        TEST(test_budgets_of_a_snapshot_never_change),
        TEST(test_budgets_without_memory_count_nothing),
        TEST(test_budgets_begin_without_memory),
        cmocka_unit_test(test_budgets_together_are_budgets_one_after_the_other),
        TEST(test_budgets_steady_state_allocates_nothing),
        TEST(test_budgets_change_for_the_next_record),
        TEST(test_budgets_change_back_and_forth_goes_on_counting),
        TEST(test_budgets_change_finds_no_room_at_last),
        TEST(test_budgets_change_without_memory_changes_nothing),
    };
    return cmocka_run_group_tests_name("budgets", tests, core_tables, NULL);
}
