/* Profiles: fallbacks and unknowns, and every golden profiling case through intake and registry. */
#include "core_helpers.h"
#include "golden.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define PART(part) (1u << SAMPLE_##part)

static struct core core;

/* --- one profile ------------------------------------------------------------------------------- */

static void test_profile_of_nothing(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 5);
    must_record(&core, &sample);
    must_reset(&core, NULL, 1);
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    assert_int_equal(profile.count, 0);
    assert_int_equal(profile.span, PROFILE_ALL);
    assert_ptr_equal(profile.id, snapshot->models[0]->id);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_profile_unknown_figures_are_nan(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 5);
    must_record(&core, &sample);
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    assert_true(isnan(profile.cpu_mean) && isnan(profile.cpu_peak));
    assert_true(isnan(profile.queue_mean_ms));
    assert_true(isnan(profile.memory_mean_mb) && isnan(profile.memory_peak_mb));
    assert_int_equal(profile.evidence_count, 0);
    assert_int_equal(profile.verdict.rule, RULE_NO_CPU);
    assert_true(profile.deviation_ms == 0);
    assert_true(profile.mean_ms == 5 && profile.min_ms == 5 && profile.max_ms == 5);
    core_drop(&core, snapshot);
    /* A figure of 0 is a figure. */
    sample.has = PART(CPU_DURING) | PART(MEMORY_AFTER);
    must_record(&core, &sample);
    snapshot = must_take(&core);
    profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    assert_true(profile.cpu_mean == 0 && profile.cpu_peak == 0 && profile.memory_mean_mb == 0);
    assert_int_equal(profile.verdict.rule, RULE_IO_LOW_CPU);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* --- opinions ---------------------------------------------------------------------------------- */

static void add_evidence(const char *name, int count)
{
    for (int i = 0; i < count; i++) {
        struct sample sample = sample_of(name, 5);
        sample.has = PART(USER) | PART(SYSTEM) | PART(CPU_DURING);
        sample.user_ms = 4;
        sample.cpu_percent_during = 80;
        must_record(&core, &sample);
    }
}

static void must_follow(const char *name, enum profile_span span, enum rule rule)
{
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, name, span);
    assert_int_equal(profile.verdict.rule, rule);
    core_drop(&core, snapshot);
}

static void test_profile_opinion_needs_evidence_in_the_window(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    struct opinion opinion = opinion_of(BOTTLENECK_UNKNOWN, RULE_INSUFFICIENT);
    core_open(&core, &options);
    /* Too few for a round, and one less than enough to leave it at that; then enough. */
    add_evidence("m", PROFILE_EVIDENCE_MIN - 1);
    for (int i = 0; i < 100; i++) {
        struct sample sample = sample_of("m", 5);
        must_record(&core, &sample);
    }
    must_set_opinion(&core, 0, &opinion);
    must_follow("m", PROFILE_WINDOW, RULE_COMPUTE);
    must_follow("m", PROFILE_ALL, RULE_COMPUTE);
    add_evidence("m", 1);
    must_follow("m", PROFILE_WINDOW, RULE_INSUFFICIENT);
    must_follow("m", PROFILE_ALL, RULE_INSUFFICIENT);
    /* Enough, and nobody has judged. */
    add_evidence("other", PROFILE_EVIDENCE_MIN);
    core.thresholds.by_evidence = false; /* nobody will */
    must_follow("other", PROFILE_WINDOW, RULE_COMPUTE);
    must_follow("m", PROFILE_WINDOW, RULE_COMPUTE); /* and what somebody said is of no use */
    core.thresholds.by_evidence = true;             /* somebody will */
    must_follow("other", PROFILE_WINDOW, RULE_INSUFFICIENT);
    add_evidence("fewer", PROFILE_EVIDENCE_MIN - 1);
    must_follow("fewer", PROFILE_WINDOW, RULE_COMPUTE);
    /* Parts of the window add up, and leave it one by one. */
    core_move(&core, CORE_SLOT_S);
    add_evidence("m", PROFILE_EVIDENCE_MIN - 1);
    core_move(&core, (REGISTRY_SUB_WINDOWS - 2) * CORE_SLOT_S);
    must_follow("m", PROFILE_WINDOW, RULE_INSUFFICIENT);
    core_move(&core, CORE_SLOT_S);
    must_follow("m", PROFILE_WINDOW, RULE_COMPUTE);
    must_follow("m", PROFILE_ALL, RULE_COMPUTE);
    core_close(&core);
}

static void test_profile_opinion_of_a_round_takes_no_more(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    struct opinion opinion = opinion_of(BOTTLENECK_MEMORY, RULE_EVIDENCE);
    core_open(&core, &options);
    struct sample plain = sample_of("m", 5);
    must_record(&core, &plain);
    must_set_opinion(&core, 0, &opinion);
    must_follow("m", PROFILE_WINDOW, RULE_NO_CPU);
    add_evidence("m", 1);
    must_follow("m", PROFILE_WINDOW, RULE_EVIDENCE);
    must_follow("m", PROFILE_ALL, RULE_EVIDENCE);
    /* An empty window falls back to all there was: to its figures, not to its evidence. */
    core_move(&core, REGISTRY_SUB_WINDOWS * CORE_SLOT_S);
    must_follow("m", PROFILE_WINDOW, RULE_COMPUTE);
    core_close(&core);
}

static void test_profile_opinion_is_the_whole_verdict(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    struct opinion opinion = opinion_of(BOTTLENECK_MEMORY, RULE_EVIDENCE);
    core_open(&core, &options);
    add_evidence("m", PROFILE_EVIDENCE_MIN);
    struct snapshot *before = must_take(&core);
    must_set_opinion(&core, 0, &opinion);
    struct snapshot *after = must_take(&core);
    must_set_opinion(&core, 0, NULL);
    struct profile profile = must_profile(&core, before, "m", PROFILE_WINDOW);
    assert_int_equal(profile.verdict.bottleneck, BOTTLENECK_COMPUTE);
    assert_true(isnan(profile.verdict.confidence));
    assert_true(isnan(profile.verdict.share[SHARE_MEMORY]));
    profile = must_profile(&core, after, "m", PROFILE_WINDOW);
    assert_int_equal(profile.verdict.bottleneck, BOTTLENECK_MEMORY);
    assert_true(profile.verdict.confidence == 0.875);
    assert_true(profile.verdict.share[SHARE_MEMORY] == 0.25);
    assert_string_equal(profile.verdict.reason, opinion.reason);
    core_drop(&core, before);
    core_drop(&core, after);
    core_close(&core);
}

/* --- of a GPU ---------------------------------------------------------------------------------- */

static void must_have_rate(double wanted)
{
    struct snapshot *snapshot = must_take(&core);
    for (unsigned span = PROFILE_WINDOW; span <= PROFILE_ALL; span++) {
        struct profile profile = must_profile(&core, snapshot, "m", (enum profile_span)span);
        if (isnan(wanted)) {
            assert_true(isnan(profile.gpu.rate));
        } else {
            must_be_near(profile.gpu.rate, wanted, 1e-12);
        }
    }
    core_drop(&core, snapshot);
}

static void record_many(unsigned count)
{
    struct sample sample = sample_of("m", 5);
    for (unsigned i = 0; i < count; i++) {
        must_record(&core, &sample);
    }
}

/* The core begins 10 s after the beginning of a slot of 50 s, of which six are the window. */
static void test_profile_rate_is_over_what_the_window_covers(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    record_many(100);
    must_have_rate(10); /* too short a time to tell */
    core_move(&core, 10);
    must_have_rate(10);
    core_move(&core, 1);
    must_have_rate(100.0 / 11);
    core_move(&core, 30); /* a second slot */
    must_have_rate(100.0 / 41);
    record_many(23);
    must_have_rate(3);
    core_move(&core, 258); /* the first has left; the last is 9 s old */
    must_have_rate(23.0 / 259);
    record_many(236);
    must_have_rate(1);
    must_reset(&core, "m", 1);
    record_many(20);
    must_have_rate(2);
    core_move(&core, 11);
    must_have_rate(1);
    core_move(&core, 300);
    must_have_rate((double)NAN);
    core_close(&core);
}

/* The clock on the wall may be set: what it says is believed where it makes sense. */
static void test_profile_rate_when_the_clock_is_set(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    record_many(100);
    core_move(&core, 30);
    must_have_rate(100.0 / 30);
    core.wall_ns -= 3600 * NS_PER_SECOND;
    must_have_rate(100.0 / 40); /* since the slot began */
    core.wall_ns += 7200 * NS_PER_SECOND;
    must_have_rate(100.0 / 40);
    core_close(&core);
}

static void test_profile_rate_of_the_newest_samples_is_not_known(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_samples = 1000;
    core_open(&core, &options);
    record_many(3);
    must_have_rate((double)NAN);
    core_close(&core);
}

static void test_profile_tells_a_gpu_what_is_known(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 10);
    sample.has = PART(CPU_DURING) | PART(USER) | PART(SYSTEM) | PART(RUNQUEUE) | PART(FLOPS);
    sample.cpu_percent_during = 90;
    sample.user_ms = 5;
    sample.system_ms = 1;
    sample.runqueue_ms = 1;
    sample.flops = 1e8;
    for (unsigned i = 0; i < 20000; i++) {
        must_record(&core, &sample);
    }
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    must_be_near(profile.gpu.movable, 6.0 / 9, 1e-12);
    must_be_near(profile.gpu.starved, 1.0 / 7, 1e-12);
    must_be_near(profile.verdict.max_speedup, 3, 1e-12);
    assert_true(profile.flops == 1e8 && isnan(profile.bytes_moved));
    assert_true(profile.gpu.estimated && profile.gpu.rate == 2000);
    /* 6 2/3 ms of CPU time, of 8 threads 0.7 each. */
    must_be_near(profile.gpu.estimate.cpu_machines, 2000 / (0.7 * 8 * 1000 / (20.0 / 3)), 1e-12);
    assert_int_equal(profile.verdict.gpu, GPU_YES);
    core_drop(&core, snapshot);
    /* Waits for a CPU: nothing is known of a GPU then. */
    sample.runqueue_ms = 4;
    for (unsigned i = 0; i < 20000; i++) {
        must_record(&core, &sample);
    }
    snapshot = must_take(&core);
    profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    must_be_near(profile.gpu.starved, 2.5 / 8.5, 1e-12);
    assert_int_equal(profile.verdict.gpu, GPU_INSUFFICIENT);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* Whatever the figures, none of a profile leaves the range from the smallest to the largest. */
static void test_profile_stays_between_the_extremes(void **state)
{
    (void)state;
    const double sets[][3] = {
        {0, 0, 0},    {5e-324, 5e-324, 5e-324}, {1e-10, 2e-10, 3e-10}, {1e-6, 1e-6, 1e-6},
        {0, 0, 1e12}, {1e12, 1e12, 1e12},       {12.5, 12.5, 12.5},    {1, 1.0000000000000002, 1}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        struct registry_options options = core_options();
        core_open(&core, &options);
        for (size_t k = 0; k < 3; k++) {
            struct sample sample = sample_of("m", sets[i][k]);
            must_record(&core, &sample);
        }
        struct snapshot *snapshot = must_take(&core);
        struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
        double figures[QUANTILE_COUNT + 1] = {profile.mean_ms};
        memcpy(figures + 1, profile.quantile_ms, sizeof profile.quantile_ms);
        for (size_t k = 0; k <= QUANTILE_COUNT; k++) {
            assert_true(figures[k] >= profile.min_ms && figures[k] <= profile.max_ms);
        }
        assert_true(profile.deviation_ms >= 0);
        core_drop(&core, snapshot);
        core_close(&core);
    }
}

static void test_profile_scratch_is_left_empty(void **state)
{
    (void)state;
    struct random random = random_start("scratch");
    struct registry_options options = core_options();
    core_open(&core, &options);
    for (int i = 0; i < 1000; i++) {
        struct sample sample = sample_of("m", exp2(random_unit(&random) * 60 - 25));
        must_record(&core, &sample);
        core_move(&core, 1);
    }
    struct snapshot *snapshot = must_take(&core);
    (void)must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    (void)must_profile(&core, snapshot, "m", PROFILE_ALL);
    double quantiles[QUANTILE_COUNT];
    (void)profile_window_quantiles(snapshot, snapshot->models[0], core.scratch, quantiles);
    for (int position = 0; position < HIST_BUCKETS; position++) {
        assert_int_equal(core.scratch->counts[position], 0);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_profile_queue_is_the_mean_of_those_who_tell(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 10);
    must_record(&core, &sample);
    sample.has = PART(QUEUE);
    for (int i = 0; i < 3; i++) {
        sample.queue_ms = i;
        must_record(&core, &sample);
        core_move(&core, CORE_SLOT_S);
    }
    struct snapshot *snapshot = must_take(&core);
    assert_true(must_profile(&core, snapshot, "m", PROFILE_WINDOW).queue_mean_ms == 1);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_profile_names_the_time_by_state(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 10);
    sample.has = PART(USER) | PART(SYSTEM) | PART(RUNQUEUE);
    sample.user_ms = 4;
    sample.system_ms = 1;
    sample.runqueue_ms = 2;
    for (int i = 0; i < 3; i++) {
        must_record(&core, &sample);
        core_move(&core, CORE_SLOT_S);
    }
    sample.has = 0; /* without evidence: it stands for nothing here */
    must_record(&core, &sample);
    struct snapshot *snapshot = must_take(&core);
    struct profile profile = must_profile(&core, snapshot, "m", PROFILE_WINDOW);
    assert_int_equal(profile.count, 4);
    assert_int_equal(profile.evidence_count, 3);
    assert_true(profile.evidence_wall_ms == 30);
    const double wanted[STATE_COUNT] = {12, 3, 0, 6, 9};
    assert_memory_equal(profile.state_ms, wanted, sizeof wanted);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* --- golden cases ------------------------------------------------------------------------------ */

static void refuse(void *ctx, const struct rejection *rejection)
{
    unsigned *refused = ctx;
    assert_int_equal(rejection->err, ERR_NAME);
    ++*refused;
}

static void reset_after(const struct golden_case *golden, size_t row)
{
    for (size_t i = 0; i < golden->reset_count; i++) {
        const char *model = golden->resets[i].model;
        struct str name = str_of(model == NULL ? "" : model);
        if (golden->resets[i].after_row == row) {
            assert_true(registry_reset(core.registry, model == NULL ? NULL : &name) > 0);
        }
    }
}

static void drive(const struct golden_case *golden)
{
    unsigned refused = 0;
    unsigned unnamed = 0;
    struct peer peer;
    struct peer_events events = {.ctx = &refused, .rejected = refuse};
    peer_init(&peer, &core.intake, &events, 0);
    struct record_sink sink = peer_sink(&peer);
    peer_begin(&peer);
    for (size_t i = 0; i < golden->row_count; i++) {
        const struct golden_row *row = &golden->rows[i];
        struct sample sample = sample_of(row->model, row->ms);
        sample.has = PART(CPU_BEFORE) | PART(CPU_DURING) | PART(MEMORY_BEFORE) | PART(MEMORY_AFTER);
        sample.cpu_percent_before = row->cpu_before;
        sample.cpu_percent_during = row->cpu_during;
        sample.memory_mb_before = row->memory_before;
        sample.memory_mb_after = row->memory_after;
        int err = sink.sample(sink.ctx, &sample);
        if (err != 0) {
            struct rejection rejection = {.err = err};
            sink.reject(sink.ctx, &rejection);
        }
        unnamed += row->model[0] == '\0';
        reset_after(golden, i + 1);
    }
    peer_settle(&peer);
    assert_int_equal(refused, unnamed);
    assert_int_equal(core.intake.accepted, golden->row_count - unnamed);
}

static bool figures_of(void *ctx, const char *name, struct golden_figures *ret_figures)
{
    const struct snapshot *snapshot = ctx;
    const struct model *model = NULL;
    for (uint32_t i = 0; i < snapshot->model_count && model == NULL; i++) {
        model = str_is(snapshot->models[i]->id->name, name) ? snapshot->models[i] : NULL;
    }
    if (model == NULL) {
        return false;
    }
    struct profile profile;
    struct sums sums = totals_of(model);
    uint64_t count = profile_compute(snapshot, model, PROFILE_WINDOW, core.scratch, &profile);
    *ret_figures = (struct golden_figures){
        .known = count > 0,
        .count = count,
        .p50 = profile.quantile_ms[QUANTILE_50],
        .p95 = profile.quantile_ms[QUANTILE_95],
        .p99 = profile.quantile_ms[QUANTILE_99],
        .mean = profile.mean_ms,
        .deviation = profile.deviation_ms,
        .min = profile.min_ms,
        .max = profile.max_ms,
        .cpu_mean = profile.cpu_mean,
        .cpu_peak = profile.cpu_peak,
        .memory_mean = profile.memory_mean_mb,
        .memory_peak = profile.memory_peak_mb,
        .bottleneck = bottleneck_names[profile.verdict.bottleneck],
        .rule = rule_names[profile.verdict.rule],
        .total = sums.count,
        .sum_seconds = exact_sum(sums.latency_sum, EXACT_STEPS_PER_MS * 1e3),
        .cpu_gauge = model_last_cpu_percent(model),
    };
    uint64_t below = 0;
    for (unsigned i = 0; i < GOLDEN_BUCKETS; i++) {
        below += sums.latency_bucket[i];
        ret_figures->bucket[i] = below;
    }
    return true;
}

static int is_case(const struct dirent *entry)
{
    return strstr(entry->d_name, ".json") != NULL;
}

static void test_profile_golden_cases(void **state)
{
    (void)state;
    enum { CASES = 40 };
    struct dirent **entries;
    int count = scandir(TEST_DATA "/golden/profiling", &entries, is_case, alphasort);
    assert_int_equal(count, CASES);
    for (int i = 0; i < count; i++) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/golden/profiling/%s", TEST_DATA, entries[i]->d_name);
        struct golden_case golden;
        golden_load(path, &golden);
        print_message("%s\n", golden.name); /* says which one failed */
        struct registry_options options = core_options();
        options.max_samples = golden.max_samples;
        core_open(&core, &options);
        drive(&golden);
        struct snapshot *snapshot = must_take(&core);
        assert_true(golden_compare(&golden, figures_of, snapshot) > 0);
        core_drop(&core, snapshot);
        core_close(&core);
        golden_free(&golden);
        free(entries[i]);
    }
    free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profile_of_nothing),
        cmocka_unit_test(test_profile_unknown_figures_are_nan),
        cmocka_unit_test(test_profile_rate_is_over_what_the_window_covers),
        cmocka_unit_test(test_profile_rate_when_the_clock_is_set),
        cmocka_unit_test(test_profile_rate_of_the_newest_samples_is_not_known),
        cmocka_unit_test(test_profile_tells_a_gpu_what_is_known),
        cmocka_unit_test(test_profile_stays_between_the_extremes),
        cmocka_unit_test(test_profile_scratch_is_left_empty),
        cmocka_unit_test(test_profile_queue_is_the_mean_of_those_who_tell),
        cmocka_unit_test(test_profile_names_the_time_by_state),
        cmocka_unit_test(test_profile_opinion_needs_evidence_in_the_window),
        cmocka_unit_test(test_profile_opinion_of_a_round_takes_no_more),
        cmocka_unit_test(test_profile_opinion_is_the_whole_verdict),
        cmocka_unit_test(test_profile_golden_cases),
    };
    return cmocka_run_group_tests_name("profile", tests, core_tables, NULL);
}
