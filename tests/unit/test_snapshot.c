#include "core_helpers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "exchange.h"
#include "mem_fault.h"

#define PART(part) (1u << SAMPLE_##part)

static struct core core;

/* --- what it carries --------------------------------------------------------------------------- */

static void test_snapshot_carries_everything_of_its_moment(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 1;
    core_open(&core, &options);
    struct sample sample = sample_of("m", 5);
    must_record(&core, &sample);
    sample = sample_of("too many", 5);
    must_record(&core, &sample);
    core.intake.accepted = 2;
    core.intake.rejected[err_row(ERR_RANGE)] = 3;
    struct metric metric = metric_of(METRIC_COUNT, "c", 4, "a=1");
    must_count(&core, &metric, NULL);
    core.ledger.view.unledgered = 5;
    core.ledger.view.all.sent = 6;
    core.counters.value[COUNTER_SCRAPES] = 7;
    core_move(&core, 2);
    snapshot_look(&core.intake, core.mono_ns);
    core.ledger.view.all.lost = 8;
    uint64_t looked_ns = core.mono_ns;
    core_move(&core, 1);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->grown_ns.rejected[err_row(ERR_RANGE)], looked_ns);
    assert_int_equal(snapshot->grown_ns.lost, core.mono_ns);
    assert_int_equal(snapshot->grown_ns.dropped, 0);
    assert_int_equal(snapshot->grown_ns.counters[COUNTER_OVERFLOW_SAMPLES], looked_ns);
    assert_int_equal(snapshot->mono_ns, core.mono_ns);
    assert_int_equal(snapshot->wall_ns, core.wall_ns);
    assert_int_equal(snapshot->window_ns, options.window_ns);
    assert_int_equal(snapshot->slot, core.registry->slot);
    assert_int_equal(snapshot->model_count, 2);
    assert_true(snapshot->thresholds.cpu_compute_threshold_percent == 50);
    assert_int_equal(snapshot->accepted, 2);
    assert_int_equal(snapshot->rejected[err_row(ERR_RANGE)], 3);
    assert_int_equal(snapshot->metrics.family_count, 1);
    assert_true(snapshot->metrics.families[0].pages[0]->value[0].number == 4);
    assert_int_equal(snapshot->ledger.all.sent, 6);
    assert_int_equal(snapshot->counters.value[COUNTER_SCRAPES], 7);
    assert_int_equal(snapshot->counters.value[COUNTER_MODELS], 2);
    assert_int_equal(snapshot->counters.value[COUNTER_OVERFLOW_SAMPLES], 1);
    assert_int_equal(snapshot->counters.value[COUNTER_UNLEDGERED_RECORDS], 5);
    /* And nothing of what comes after. */
    must_count(&core, &metric, NULL);
    assert_true(snapshot->metrics.families[0].pages[0]->value[0].number == 4);
    core.intake.accepted = 100;
    core.counters.value[COUNTER_SCRAPES] = 100;
    core.ledger.view.all.sent = 100;
    core.thresholds.cpu_compute_threshold_percent = 1;
    sample = sample_of("m", 5);
    must_record(&core, &sample);
    assert_int_equal(snapshot->accepted, 2);
    assert_int_equal(snapshot->counters.value[COUNTER_SCRAPES], 7);
    assert_int_equal(snapshot->ledger.all.sent, 6);
    assert_true(snapshot->thresholds.cpu_compute_threshold_percent == 50);
    assert_int_equal(count_everything(snapshot), 2);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_snapshot_of_an_empty_registry(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->model_count, 0);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* A snapshot brings the window to its own moment, so that an idle model's window ends too. */
static void test_snapshot_moves_the_window(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 5);
    must_record(&core, &sample);
    struct snapshot *snapshot = NULL;
    uint64_t later = core.mono_ns + options.window_ns;
    assert_int_equal(snapshot_take(&core.intake, &core.thresholds, later, core.wall_ns, &snapshot),
                     0);
    struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    assert_int_equal(profile.span, PROFILE_ALL);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_snapshot_sees_what_was_applied_before_it(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    for (uint64_t i = 1; i <= 100; i++) {
        struct sample sample = sample_of("m", 5);
        must_record(&core, &sample);
        struct snapshot *snapshot = must_take(&core);
        assert_int_equal(count_everything(snapshot), i);
        core_drop(&core, snapshot);
    }
    core_close(&core);
}

static void test_snapshot_without_memory(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 5);
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "");
    must_record(&core, &sample);
    must_count(&core, &metric, NULL);
    size_t live = mem_count_live();
    for (size_t n = 1; n <= 3; n++) { /* itself, the models, the families */
        struct snapshot *snapshot = NULL;
        mem_fail_after(n);
        assert_int_equal(
            snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns, &snapshot),
            ERR_NOMEM);
        mem_fail_after(0);
        assert_null(snapshot);
        assert_int_equal(mem_count_live(), live);
        assert_int_equal(core.registry->limbo.shared_epoch, 0); /* nobody is waited for */
    }
    core_close(&core);
}

static void record_metric(struct random *random, struct process *const *process)
{
    static const enum metric_op ops[] = {METRIC_COUNT,   METRIC_SET,  METRIC_ADD,
                                         METRIC_OBSERVE, METRIC_INFO, METRIC_MEMBER};
    static const char *const names[] = {"c", "g", "s", "h", "i", "set"};
    static const enum aggregation aggregations[] = {AGGREGATION_UNSAID, AGGREGATION_MAX,
                                                    AGGREGATION_SUM,    AGGREGATION_UNSAID,
                                                    AGGREGATION_UNSAID, AGGREGATION_UNSAID};
    size_t kind = random_below(random, sizeof ops / sizeof ops[0]);
    char attributes[16];
    (void)snprintf(attributes, sizeof attributes, "l=%u", (unsigned)random_below(random, 100));
    struct metric metric =
        metric_of(ops[kind], names[kind], (double)random_below(random, 5000), attributes);
    char member[16];
    (void)snprintf(member, sizeof member, "%u", (unsigned)random_below(random, 40));
    metric.member = str_of(member);
    metric.aggregation = aggregations[kind];
    metric.has = random_below(random, 4) == 0 ? METRIC_HAS_TRACE_ID : 0;
    metric.trace_id[0] = (uint8_t)random_next(random);
    must_count(&core, &metric, *process);
}

/* Any records and ends, any snapshots: what was seen of one at first is seen of it at last. */
static void test_snapshot_of_metrics_never_changes(void **state)
{
    (void)state;
    enum { HELD = 5 };
    struct registry_options options = core_options();
    struct random random = random_start("metrics");
    struct process *process = NULL;
    struct snapshot *held[HELD] = {NULL};
    char *seen[HELD] = {NULL};
    core_open(&core, &options);
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
            metrics_tick(core.metrics);
        } else if (what == 3 && process == NULL) {
            process = process_enter(&core.processes, 1, 1);
        } else if (what == 3) {
            process_leave(&core.processes, process);
            process = NULL;
        } else {
            record_metric(&random, &process);
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        if (held[i] != NULL) {
            core_drop(&core, held[i]);
            free(seen[i]);
        }
    }
    core_close(&core);
}

static void test_snapshot_counts_families_series_and_processes(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    core.metrics->options.max_series = 2;
    static const char *const attributes[] = {"l=1", "l=2", "l=3", "l=4"};
    for (size_t i = 0; i < 4; i++) {
        struct metric metric = metric_of(METRIC_COUNT, "c", 1, attributes[i]);
        must_count(&core, &metric, NULL);
    }
    core.metrics->lost_exemplars = 3;
    core.registry->lost_exemplars = 4;
    (void)process_enter(&core.processes, 1, 1);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->counters.value[COUNTER_FAMILIES], 1);
    assert_int_equal(snapshot->counters.value[COUNTER_SERIES], 2);
    assert_int_equal(snapshot->counters.value[COUNTER_OVERFLOW_RECORDS], 2);
    assert_int_equal(snapshot->counters.value[COUNTER_LOST_EXEMPLARS], 7);
    assert_int_equal(snapshot->counters.value[COUNTER_PROCESSES], 1);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* Freezing copies nothing but the array; the first write to a model copies little, once. */
static void test_snapshot_costs_a_model_one_copy(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct random random = random_start("copies");
    for (int i = 0; i < 5000; i++) {
        struct sample sample = sample_of("a model", random_shape(&random, SHAPE_LOGNORMAL));
        must_record(&core, &sample);
    }
    struct snapshot *snapshot = must_take(&core);
    struct sample sample = sample_of("a model", 4);
    size_t before = mem_count_allocations();
    must_record(&core, &sample);
    assert_in_range(mem_count_allocations() - before, 1, 3); /* model, tally, one chunk */
    before = mem_count_allocations();
    must_record(&core, &sample);
    assert_int_equal(mem_count_allocations(), before);
    core_drop(&core, snapshot);
    before = mem_count_allocations();
    must_record(&core, &sample); /* nor does its end cost anything */
    assert_int_equal(mem_count_allocations(), before);
    core_close(&core);
}

static void test_snapshot_steady_state_allocates_nothing(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct random random = random_start("steady");
    struct sample sample = sample_of("a model", 4);
    sample.has = PART(CPU_DURING) | PART(MEMORY_AFTER) | PART(QUEUE) | PART(TRACE_ID);
    size_t before = 0;
    for (int i = 0; i < 20000; i++) {
        before = i == 10000 ? mem_count_allocations() : before;
        sample.execution_time_ms = 1 + 9 * random_unit(&random);
        must_record(&core, &sample);
    }
    assert_int_equal(mem_count_allocations(), before);
    core_close(&core);
}

/* --- threads ----------------------------------------------------------------------------------- */

/*
 * The writer is the loop: it records, moves time, resets, takes snapshots and releases those that
 * come back. Readers compute every profile of a snapshot.
 */
enum { READERS = 2, STEPS = 400, MODELS = 20 };

static struct exchange exchange = EXCHANGE_INIT;

/* cmocka's assertions belong to the main thread. */
static atomic_uint wrong;
static atomic_uint read_by_all;

static void *read_snapshots(void *arg)
{
    (void)arg;
    struct profile_scratch *scratch = calloc(1, sizeof *scratch);
    for (struct snapshot *snapshot; (snapshot = exchange_take(&exchange)) != NULL;) {
        char *first = describe_snapshot(snapshot, scratch);
        char *second = describe_snapshot(snapshot, scratch);
        wrong += first == NULL || second == NULL || strcmp(first, second) != 0;
        wrong += count_everything(snapshot) != snapshot->accepted;
        free(first);
        free(second);
        read_by_all++;
        exchange_give_back(&exchange, snapshot);
    }
    free(scratch);
    return NULL;
}

static void write_some(struct random *random)
{
    static const char *const names[] = {"m", "a model with a longer name"};
    for (int i = 0; i < 300; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s %u", names[i % 2],
                       (unsigned)random_below(random, MODELS / 2));
        struct sample sample = sample_of(name, random_shape(random, SHAPE_PARETO));
        sample.has =
            (uint32_t)random_next(random) & (PART(CPU_DURING) | PART(TRACE_ID) | PART(QUEUE));
        sample.cpu_percent_during = 50;
        sample.queue_ms = 1;
        core.intake.accepted += registry_record(core.registry, &sample) == 0;
        struct budget budget = {.layer = str_of(i % 4 == 0 ? "total" : name),
                                .elapsed_ms = sample.execution_time_ms};
        struct budget_verdict verdict;
        wrong += budgets_record(core.budgets, &budget, &verdict) != 0;
    }
    core_move(&core, (int64_t)random_below(random, CORE_SLOT_S));
    if (random_below(random, 40) == 0) {
        wrong += registry_reset(core.registry, NULL) < 0;
    }
    (void)limbo_sweep(&core.registry->limbo, 100); /* what is left is left */
}

static void test_snapshot_readers_run_beside_the_writer(void **state)
{
    (void)state;
    struct random random = random_start("threads");
    struct registry_options options = core_options();
    options.max_samples = 100;
    struct str family;
    core_open(&core, &options);
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    pthread_t readers[READERS];
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_snapshots, NULL), 0);
    }
    unsigned taken = 0;
    for (int step = 0; step < STEPS; step++) {
        write_some(&random);
        exchange_release_done(&exchange, core.registry);
        struct snapshot *snapshot;
        int err =
            snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns, &snapshot);
        if (err == 0) {
            taken++;
            exchange_put(&exchange, snapshot);
        } else {
            assert_int_equal(err, ERR_LIMIT); /* readers are behind: an ordinary event */
        }
    }
    exchange_end(&exchange);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    }
    exchange_release_done(&exchange, core.registry);
    assert_int_equal(wrong, 0);
    assert_int_equal(read_by_all, taken);
    assert_true(taken > 0);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_carries_everything_of_its_moment),
        cmocka_unit_test(test_snapshot_of_an_empty_registry),
        cmocka_unit_test(test_snapshot_moves_the_window),
        cmocka_unit_test(test_snapshot_sees_what_was_applied_before_it),
        cmocka_unit_test(test_snapshot_without_memory),
        cmocka_unit_test(test_snapshot_of_metrics_never_changes),
        cmocka_unit_test(test_snapshot_counts_families_series_and_processes),
        cmocka_unit_test(test_snapshot_costs_a_model_one_copy),
        cmocka_unit_test(test_snapshot_steady_state_allocates_nothing),
        cmocka_unit_test(test_snapshot_readers_run_beside_the_writer),
    };
    return cmocka_run_group_tests_name("snapshot", tests, core_tables, NULL);
}
