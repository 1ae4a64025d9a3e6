/* The result of a run as JSON and as a table, compared with files; what each verdict leads to; and how
 * far a run is. */
#include "cli_golden.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/bench_progress.h"
#include "cli/bench_result.h"

static char python[] = "python3";
static char script[] = "tests/demo/digits.py";
static char *const command[] = {python, script};

static struct dwell_bench_load a_load(double ms, double rate)
{
    return (struct dwell_bench_load){.requests = 200,
                                     .requests_per_second = rate,
                                     .elapsed_ms = 200 * ms,
                                     .min_ms = ms / 2,
                                     .max_ms = 4 * ms,
                                     .mean_ms = ms,
                                     .std_ms = ms / 4,
                                     .p50_ms = ms,
                                     .p90_ms = 1.5 * ms,
                                     .p95_ms = 1.75 * ms,
                                     .p99_ms = 3 * ms,
                                     .p999_ms = 4 * ms,
                                     .cpu_percent = 97.5,
                                     .cpu_ms = ms};
}

/* A run that was judged by thresholds. */
static struct bench_run a_run(void)
{
    return (struct bench_run){.model_name = "digits.py",
                              .command = command,
                              .words = 2,
                              .samples = 200,
                              .concurrency = 4,
                              .warmup = 20,
                              .timeout_seconds = 10,
                              .cpus = 4,
                              .started_unix = 1769860800,
                              .elapsed_seconds = 12.5,
                              .complete = true,
                              .daemon = "none",
                              .result = {.size = sizeof(struct dwell_bench_result),
                                         .sequential = a_load(4, 250),
                                         .concurrent = a_load(8, 500),
                                         .concurrency_scaling = 2,
                                         .bottleneck = "compute_bound",
                                         .rule = "compute",
                                         .gpu_decision = "yes"},
                              .runqueue_percent = 20,
                              .concurrent_cpu_percent = 195,
                              .memory_mb = 120,
                              .memory_mb_peak = 128};
}

static json_t *a_verdict(const char *bottleneck, const char *rule, const char *decision)
{
    json_t *model =
        json_pack("{s:s, s:{s:s, s:s, s:s?, s:s, s:s, s:f, s:f, s:{s:f, s:f, s:f, s:f}}}",
                  "model_name", "digits.py", "analysis", "bottleneck_type", bottleneck, "rule",
                  rule, "gpu_decision", decision, "reason", "its time goes there",
                  "gpu_recommendation", "Do as it says.", "confidence", 0.9, "max_speedup", 14.0,
                  "shares", "compute", 0.93, "memory", 0.02, "io", 0.05, "lock", 0.0);
    assert_non_null(model);
    return model;
}

static json_t *must_result(const struct bench_run *run)
{
    json_t *result = bench_result(run);
    assert_non_null(result);
    return result;
}

static void must_equal(json_t *result, const char *name)
{
    json_t *wanted = must_load(name);
    assert_string_equal(answer_text(result, "benchmark_info.version"), DWELL_VERSION);
    assert_int_equal(json_object_set_new(json_object_get(result, "benchmark_info"), "version",
                                         json_string("VERSION")),
                     0);
    if (!json_equal(result, wanted)) {
        char path[256];
        (void)snprintf(path, sizeof path, TEST_BUILD "/%s.json", name);
        assert_int_equal(json_dump_file(result, path, JSON_INDENT(2)), 0);
        fail_msg("differs from " TEST_DATA "/cli/%s.json: see %s", name, path);
    }
    json_decref(wanted);
}

static void must_tabulate(const json_t *result, bool utf8, size_t columns, const char *name)
{
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    bench_table(result, utf8, columns, &out);
    must_show(&out, utf8, name);
}

static void test_cli_bench_result_is_the_promised_json(void **state)
{
    (void)state;
    must_use_locale("C.UTF-8");
    struct bench_run run = a_run();
    json_t *result = must_result(&run);
    must_tabulate(result, true, 80, "bench_80");
    must_tabulate(result, true, 200, "bench_200");
    must_tabulate(result, true, 20, "bench_20");
    must_tabulate(result, false, 80, "bench_80_ascii");
    must_equal(result, "bench");
    json_decref(result);
}

static void test_cli_bench_result_of_the_daemon_wins(void **state)
{
    (void)state;
    must_use_locale("C.UTF-8");
    struct bench_run run = a_run();
    json_t *model = a_verdict("memory_bound", "evidence", "yes");
    run.model = model;
    run.daemon = "found";
    run.samples_sent = 200;
    json_t *result = must_result(&run);
    must_tabulate(result, true, 80, "bench_daemon_80");
    must_equal(result, "bench_daemon");
    json_decref(result);
    json_decref(model);
}

/* A run that ended in its first stage, of a name that means harm. */
static void test_cli_bench_result_is_there_for_what_was_not_completed(void **state)
{
    (void)state;
    must_use_locale("C.UTF-8");
    struct bench_run run = a_run();
    const struct dwell_bench_load nothing = {.requests_per_second = NAN,
                                             .elapsed_ms = NAN,
                                             .min_ms = NAN,
                                             .max_ms = NAN,
                                             .mean_ms = NAN,
                                             .std_ms = NAN,
                                             .p50_ms = NAN,
                                             .p90_ms = NAN,
                                             .p95_ms = NAN,
                                             .p99_ms = NAN,
                                             .p999_ms = NAN,
                                             .cpu_percent = NAN,
                                             .cpu_ms = NAN};
    run.model_name = "a\nb\033[31m";
    run.complete = false;
    run.problem = "worker 0 was killed by signal 9 (Killed) in request 21";
    run.daemon_problem = "cannot start dwelld: no such file";
    run.result.concurrent = nothing;
    run.result.concurrency_scaling = NAN;
    run.result.sequential.errors = 3;
    run.memory_mb = run.memory_mb_peak = run.concurrent_cpu_percent = run.runqueue_percent = NAN;
    json_t *result = must_result(&run);
    must_tabulate(result, true, 80, "bench_partial_80");
    must_equal(result, "bench_partial");
    json_decref(result);
}

static bool has_item(const json_t *result, const char *part)
{
    const json_t *items = answer_at(result, "summary.action_items");
    for (size_t i = 0; i < json_array_size(items); i++) {
        if (strstr(json_string_value(json_array_get(items, i)), part) != NULL) {
            return true;
        }
    }
    return false;
}

static void test_cli_bench_result_recommends_by_the_decision(void **state)
{
    (void)state;
    static const struct {
        const char *bottleneck, *rule, *decision;
        bool evaluate;
        const char *item;
    } facts[] = {
        {"compute_bound", "evidence", "yes", true, "Run the same requests on a GPU"},
        {"memory_bound", "evidence", "yes", true, "at most 14.0 times"},
        {"io_bound", "evidence", "no", false, "Do as it says."},
        {"unknown", "starved", "insufficient", false, "nothing else needs the CPUs"},
        {"unknown", "insufficient", "insufficient", false, "more --samples"},
        {"unknown", "lock", "insufficient", false, "Find the lock"},
        {"unknown", "mixed", "insufficient", false, "more --samples"},
        {"compute_bound", "evidence", NULL, false, "Do as it says."},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct bench_run run = a_run();
        json_t *model = a_verdict(facts[i].bottleneck, facts[i].rule, facts[i].decision);
        run.model = model;
        json_t *result = must_result(&run);
        assert_int_equal(bench_recommends_gpu(result), facts[i].evaluate);
        assert_true(has_item(result, facts[i].item));
        json_decref(result);
        json_decref(model);
    }
}

static void test_cli_bench_result_recommends_by_thresholds_without_a_daemon(void **state)
{
    (void)state;
    static const struct {
        const char *bottleneck, *rule, *decision;
        bool evaluate;
        const char *item;
    } facts[] = {
        {"compute_bound", "compute", "yes", true, "Run the same requests on a GPU"},
        {"io_bound", "latency_floor", "no", false, "over before a GPU"},
        {"io_bound", "io_low_cpu", "no", false, "what requests wait for"},
        {"unknown", "moderate", "insufficient", false, "more --samples"},
        {"unknown", "no_cpu", "insufficient", false, "user whose processes"},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct bench_run run = a_run();
        run.result.bottleneck = facts[i].bottleneck;
        run.result.rule = facts[i].rule;
        run.result.gpu_decision = facts[i].decision;
        json_t *result = must_result(&run);
        assert_int_equal(bench_recommends_gpu(result), facts[i].evaluate);
        assert_true(has_item(result, facts[i].item));
        json_decref(result);
    }
    struct bench_run run = a_run();
    run.url = "http://h/";
    run.result.rule = "no_cpu";
    run.result.gpu_decision = "insufficient";
    json_t *result = must_result(&run);
    assert_true(has_item(result, "--pid"));
    json_decref(result);
}

static void test_cli_bench_result_says_when_workers_do_not_scale(void **state)
{
    (void)state;
    static const struct {
        uint32_t concurrency;
        unsigned cpus;
        double scaling;
        bool said;
    } facts[] = {{4, 4, 1.99, true}, {4, 4, 2, false}, {4, 2, 0.99, true}, {4, 2, 1, false},
                 {4, 1, 0.1, false}, {1, 4, 1, false}, {4, 4, NAN, false}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct bench_run run = a_run();
        run.concurrency = facts[i].concurrency;
        run.cpus = facts[i].cpus;
        run.result.concurrency_scaling = facts[i].scaling;
        json_t *result = must_result(&run);
        assert_int_equal(has_item(result, "Find out what the workers share"), facts[i].said);
        json_decref(result);
    }
}

static void test_cli_bench_result_says_when_the_machine_was_busy(void **state)
{
    (void)state;
    static const struct {
        double percent;
        const char *rule;
        bool said;
    } facts[] = {{20, "evidence", false},
                 {20.1, "evidence", true},
                 {90, "starved", true},
                 {NAN, "mixed", false}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct bench_run run = a_run();
        json_t *model = a_verdict("unknown", facts[i].rule, "insufficient");
        run.model = model;
        run.runqueue_percent = facts[i].percent;
        json_t *result = must_result(&run);
        assert_int_equal(has_item(result, "when nothing else needs the CPUs"), facts[i].said);
        json_decref(result);
        json_decref(model);
    }
}

static void test_cli_bench_result_has_words_that_are_no_text(void **state)
{
    (void)state;
    char damaged[] = "\xff";
    char *const words[] = {python, damaged};
    struct bench_run run = a_run();
    run.command = words;
    json_t *result = must_result(&run);
    const json_t *list = answer_at(result, "benchmark_info.command");
    assert_int_equal(json_array_size(list), 2);
    assert_true(json_is_null(json_array_get(list, 1)));
    json_decref(result);
}

/* --- how far it is ----------------------------------------------------------------------------- */

static void must_draw(enum dwell_bench_stage stage, uint64_t done, uint64_t total, double seconds,
                      unsigned columns, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1024);
    progress_draw(stage, done, total, seconds, columns, &out);
    buf_char(&out, '\0');
    assert_string_equal(out.data, wanted);
    buf_fini(&out);
}

static void test_cli_bench_progress_has_percent_rate_and_time_left(void **state)
{
    (void)state;
    must_draw(DWELL_BENCH_SEQUENTIAL, 50, 200, 0.5, 10,
              "sequential  [##--------]   25 %  100/s  2 s left");
    must_draw(DWELL_BENCH_WARMING, 1, 80, 30, 0, "warm-up       1 %  0.03/s  39 min left");
    must_draw(DWELL_BENCH_CONCURRENT, 200, 200, 2, 4, "concurrent  [####]  100 %  100/s");
    must_draw(DWELL_BENCH_CONCURRENT, 201, 200, 2, 4, "concurrent  [####]  100 %  100/s");
    must_draw(DWELL_BENCH_CONCURRENT, 0, 200, 2, 4, "concurrent  [----]    0 %  0/s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_bench_result_is_the_promised_json),
        cmocka_unit_test(test_cli_bench_result_of_the_daemon_wins),
        cmocka_unit_test(test_cli_bench_result_is_there_for_what_was_not_completed),
        cmocka_unit_test(test_cli_bench_result_recommends_by_the_decision),
        cmocka_unit_test(test_cli_bench_result_recommends_by_thresholds_without_a_daemon),
        cmocka_unit_test(test_cli_bench_result_says_when_workers_do_not_scale),
        cmocka_unit_test(test_cli_bench_result_says_when_the_machine_was_busy),
        cmocka_unit_test(test_cli_bench_result_has_words_that_are_no_text),
        cmocka_unit_test(test_cli_bench_progress_has_percent_rate_and_time_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
