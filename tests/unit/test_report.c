#include "core_helpers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "mem_fault.h"
#include "render/report.h"
#include "render/width.h"

enum { TEXT_BYTES_MAX = 16 << 20, PAGE_COLUMNS = 80 };

static const struct report_options some_options = {
    .display_name = {"ACGS-2", 6},
    .constitutional_hash = {"cdd01ef066bc6cf2", 16},
};

static void open_core(struct core *core)
{
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("region");
    options.label_key_count = 1;
    core_open(core, &options);
}

/* Terminated. */
static void must_report(struct core *core, struct buf *out)
{
    struct snapshot *snapshot = must_take(core);
    buf_init(out, TEXT_BYTES_MAX);
    report_render(snapshot, &some_options, core->scratch, out);
    assert_int_equal(out->err, 0);
    assert_int_equal(out->data[out->len - 1], '\n');
    buf_char(out, '\0');
    core_drop(core, snapshot);
}

static void must_hold(const struct buf *text, const char *part)
{
    if (strstr(text->data, part) == NULL) {
        fail_msg("no \"%s\" in:\n%s", part, text->data);
    }
}

static size_t count_lines(const struct buf *text)
{
    size_t count = 0;
    for (size_t i = 0; i < text->len; i++) {
        count += text->data[i] == '\n' ? 1 : 0;
    }
    return count;
}

/* Columns of the widest line. */
static size_t measure(const struct buf *text)
{
    size_t widest = 0;
    for (const char *at = text->data; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        size_t width = width_count((struct str){at, len});
        widest = width > widest ? width : widest;
        at += len + (at[len] == '\n' ? 1 : 0);
    }
    return widest;
}

static void add_ms(struct core *core, const char *name, double ms)
{
    struct sample sample = sample_of(name, ms);
    must_record(core, &sample);
}

static void add_cpu(struct core *core, const char *name, double ms, double cpu)
{
    struct sample sample = sample_of(name, ms);
    sample.has = 1u << SAMPLE_CPU_DURING;
    sample.cpu_percent_during = cpu;
    must_record(core, &sample);
}

/* One model of each kind. */
static void fill(struct core *core)
{
    for (unsigned i = 1; i <= 1000; i++) {
        struct sample sample = sample_of("impact_scorer", i / 100.0);
        sample.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_MEMORY_AFTER;
        sample.cpu_percent_during = 80 + i % 10;
        sample.memory_mb_after = 900 + i;
        sample.error = i > 998;
        must_record(core, &sample);
    }
    add_cpu(core, "模型分类器", 2500, 7);
    add_ms(core, "tokenizer", 0.0125);
    add_cpu(core, "undecided/with/a/long/path/and-a-version-v2.1.3-int8-quantised", 3, 35);
    struct sample gpu = sample_of("embedder", 4);
    gpu.has = 1u << SAMPLE_DEVICE | 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM;
    gpu.device = STR_LITERAL("cuda:0");
    gpu.user_ms = 1;
    gpu.system_ms = 0.5;
    gpu.label_count = 1;
    gpu.labels[0] = (struct label){STR_LITERAL("region"), STR_LITERAL("eu")};
    must_record(core, &gpu);
}

static void test_report_looks_as_in_the_file(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    char wanted[1 << 14];
    open_core(&core);
    fill(&core);
    must_report(&core, &text);
    FILE *file = fopen(TEST_DATA "/render/report.txt", "rb");
    assert_non_null(file);
    size_t len = fread(wanted, 1, sizeof wanted, file);
    (void)fclose(file); /* it was read only */
    assert_true(len < sizeof wanted);
    wanted[len] = '\0';
    assert_string_equal(text.data, wanted);
    buf_fini(&text);
    core_close(&core);
}

static void add_evidence(struct core *core, const char *name)
{
    for (unsigned i = 0; i < PROFILE_EVIDENCE_MIN; i++) {
        struct sample sample = sample_of(name, 4);
        sample.has = 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM;
        sample.user_ms = 3;
        must_record(core, &sample);
    }
}

static void test_report_tells_shares_and_confidence(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    open_core(&core);
    add_evidence(&core, "m");
    add_evidence(&core, "unknown");
    struct opinion opinion = opinion_of(BOTTLENECK_COMPUTE, RULE_EVIDENCE);
    must_set_opinion(&core, 0, &opinion);
    opinion = opinion_of(BOTTLENECK_UNKNOWN, RULE_MIXED);
    memset(opinion.reason, 'x', sizeof opinion.reason - 1);
    for (size_t i = 10; i < sizeof opinion.reason - 1; i += 10) {
        opinion.reason[i] = ' ';
    }
    must_set_opinion(&core, 1, &opinion);
    must_report(&core, &text);
    must_hold(&text, "  verdict  compute_bound: compute takes 50 % of the time, memory 25 %\n"
                     "  shares   compute 50 %, memory 25 %, io 19 %, lock 6 %; confidence 0.88\n");
    must_hold(&text, "  shares   compute 50 %, memory 25 %, io 19 %, lock 6 %\n");
    assert_true(measure(&text) <= PAGE_COLUMNS);
    /* All of a sentence of the longest kind is there, in lines of its own. */
    const char *at = strstr(text.data, "  verdict  unknown: ");
    size_t letters = 0;
    for (const char *end = strstr(at, "  shares"); at < end; at++) {
        letters += *at == 'x' ? 1 : 0;
    }
    assert_int_equal(letters, 144);
    buf_fini(&text);
    core_close(&core);
}

static void spend(struct core *core, const char *layer, double ms)
{
    struct budget budget = {.layer = str_of(layer), .elapsed_ms = ms};
    struct budget_verdict verdict;
    assert_int_equal(budgets_record(core->budgets, &budget, &verdict), 0);
}

static void test_report_tells_of_time_budgets(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    struct str family;
    open_core(&core);
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    spend(&core, "layer1_validation", 4);
    spend(&core, "layer1_validation", 5.5);
    spend(&core, "total", 38);
    spend(&core, "nobody's\n", 1e7);
    must_report(&core, &text);
    static const char wanted[] =
        "\nTIME BUDGETS\n"
        "  LAYER                BUDGET     P50     P99    OVER    BURN   SHORT   SHARE\n"
        "  ───────────────────────────────────────────────────────────────────────────\n"
        "  total               50.0 ms 38.0 ms 38.0 ms   0.0 %    0.00    0.00       -\n"
        "  layer1_validation   5.00 ms 4.00 ms 5.50 ms  50.0 %    2.00    2.00  25.0 %\n"
        "  nobody's\\n                - 10000 s 10000 s       -       -       - > 999 %\n";
    must_hold(&text, wanted);
    buf_fini(&text);
    add_ms(&core, "m", 1);
    must_report(&core, &text);
    assert_true(strstr(text.data, "OVERALL") < strstr(text.data, "TIME BUDGETS"));
    buf_fini(&text);
    core_move(&core, 7 * CORE_SLOT_S); /* nothing is left in the window */
    must_report(&core, &text);
    assert_null(strstr(text.data, "TIME BUDGETS"));
    buf_fini(&text);
    core_close(&core);
}

/* `count` inferences of 25 ms that compute for a part of it, with a hint. */
static void add_load(struct core *core, const char *name, unsigned count, double user_ms,
                     double runqueue_ms, double flops)
{
    struct sample sample = sample_of(name, 25);
    sample.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM |
                 1u << SAMPLE_RUNQUEUE | (flops > 0 ? 1u << SAMPLE_FLOPS : 0);
    sample.cpu_percent_during = 90;
    sample.user_ms = user_ms;
    sample.runqueue_ms = runqueue_ms;
    sample.flops = flops;
    for (unsigned i = 0; i < count; i++) {
        must_record(core, &sample);
    }
}

static void test_report_tells_what_a_gpu_would_do(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    open_core(&core);
    add_load(&core, "busy", 10000, 24, 0, 1e8);
    add_load(&core, "rare", 10, 24, 0, 1e8);
    add_load(&core, "unhinted", 10, 20, 0, 0);
    add_load(&core, "starved", 10, 10, 10, 0);
    must_report(&core, &text);
    must_hold(&text,
              "  GPU      yes: at 1000 inferences/s a GPU costs 0.35 times what CPUs do, and\n"
              "           pays from 350/s; a saving has probability 1.00\n"
              "           1.15 ms (1.14 ms to 1.18 ms) in batches of 1, 21.7 times faster (21.2 to "
              "21.9)\n"
              "           price of 1,000 inferences: 0.000125 (8.33e-05 to 0.000167)\n"
              "           instead of 0.000357 (0.000238 to 0.000476) without a GPU\n"
              "  advice   Evaluate a GPU: the time goes into computing, which it can take over.\n");
    must_hold(&text,
              "  GPU      no: at 1 inferences/s a GPU costs 1.5 times what CPUs do, and pays\n"
              "           from 350/s; a saving has probability 0.08\n");
    must_hold(&text,
              "  GPU      yes: 80 % of its time could move: a GPU can make it 5 times faster at\n"
              "           most\n  advice   Evaluate a GPU");
    must_hold(
        &text,
        "  GPU      insufficient: it had no CPU for 50 % of the time in which it could\n"
        "           run: free the CPU first\n  advice   Free the CPU first, then look again.\n");
    must_hold(&text, "OVERALL: EVALUATE_GPU\n"
                     "  - busy: at 1000 inferences/s");
    must_hold(&text, "\nTO DO\n"
                     "  - Free the CPU, or grant more of it, and look again: 1 model\n"
                     "  - Send hints (flops, bytes_moved) with the samples, for an estimate: 1 "
                     "model\n");
    buf_fini(&text);
    core_close(&core);
}

static void test_report_says_so_when_there_is_nothing(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    open_core(&core);
    must_report(&core, &text);
    must_hold(&text, "ACGS-2 MODEL PROFILING REPORT\n");
    must_hold(&text, "No profiling data collected");
    buf_fini(&text);
    add_ms(&core, "m", 1);
    must_reset(&core, "m", 1);
    must_report(&core, &text);
    must_hold(&text, "No profiling data collected");
    assert_null(strstr(text.data, "OVERALL"));
    buf_fini(&text);
    core_close(&core);
}

static void test_report_keeps_the_cpu_unless_a_model_wants_a_gpu(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    open_core(&core);
    add_ms(&core, "quick", 0.5);
    add_cpu(&core, "unclear", 5, 30);
    must_report(&core, &text);
    must_hold(&text, "OVERALL: KEEP_CPU\n");
    must_hold(&text, "1 model is better off on the CPU\n");
    must_hold(&text, "1 model has shown too little to decide\n");
    buf_fini(&text);
    add_cpu(&core, "busy", 5, 99);
    must_report(&core, &text);
    must_hold(&text, "OVERALL: EVALUATE_GPU\n  - busy: mean CPU 99 % is above 50 %\n");
    buf_fini(&text);
    core_close(&core);
}

static void test_report_names_a_few_of_many_reasons(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    open_core(&core);
    for (unsigned i = 0; i < 7; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "busy_%u", i);
        add_cpu(&core, name, 5, 99);
        must_report(&core, &text);
        const char *more = strstr(text.data, "more model");
        assert_true((more != NULL) == (i >= 5));
        buf_fini(&text);
    }
    must_report(&core, &text);
    must_hold(&text, "  - and 2 more models\n");
    buf_fini(&text);
    core_close(&core);
}

static void test_report_says_when_the_window_is_empty(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    open_core(&core);
    add_ms(&core, "m", 1);
    core_move(&core, 7 * CORE_SLOT_S);
    must_report(&core, &text);
    must_hold(&text, "  samples  1 in all, none of them in the last 300 s, no errors\n");
    buf_fini(&text);
    core_close(&core);
}

static void must_show_time(double ms, const char *wanted)
{
    struct core core;
    struct buf text;
    char part[64];
    open_core(&core);
    add_ms(&core, "m", ms);
    must_report(&core, &text);
    (void)snprintf(part, sizeof part, "\n           mean %s, deviation", wanted);
    must_hold(&text, part);
    buf_fini(&text);
    core_close(&core);
}

static void test_report_uses_units_for_people(void **state)
{
    (void)state;
    must_show_time(0, "0 ms");
    must_show_time(0.000001, "1.00 ns");
    must_show_time(0.0009994, "999 ns");
    must_show_time(0.0009996, "1.00 µs");
    must_show_time(0.012345, "12.3 µs");
    must_show_time(0.9994, "999 µs");
    must_show_time(0.9996, "1.00 ms");
    must_show_time(9.994, "9.99 ms");
    must_show_time(9.996, "10.0 ms");
    must_show_time(99.96, "100 ms");
    must_show_time(1234, "1.23 s");
    must_show_time(99999400, "99999 s");
    must_show_time(172800000, "2.00 d");
    must_show_time(RECORD_MS_MAX, "11574 d");
}

static void test_report_names_cannot_forge_lines(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a\n\nOVERALL: EVALUATE_GPU\n",      "b\r\x1b[2J\x1b[31m",
        "c\xC2\x85\xE2\x80\xA8\xE2\x80\xAE", "OVERALL: EVALUATE_GPU",
        "── x ── compute_bound ──",
    };
    struct core core;
    struct buf plain;
    struct buf forged;
    open_core(&core);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "m%u", i);
        add_ms(&core, name, 1);
    }
    must_report(&core, &plain);
    size_t lines = count_lines(&plain);
    buf_fini(&plain);
    core_close(&core);
    open_core(&core);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        add_ms(&core, names[i], 1);
    }
    must_report(&core, &forged);
    assert_int_equal(count_lines(&forged), lines);
    assert_null(strchr(forged.data, '\r'));
    assert_null(strchr(forged.data, '\x1b'));
    assert_null(strstr(forged.data, "\nOVERALL: EVALUATE_GPU"));
    assert_null(strstr(forged.data, "\xC2\x85"));
    assert_null(strstr(forged.data, "\xE2\x80\xA8"));
    assert_null(strstr(forged.data, "\xE2\x80\xAE"));
    buf_fini(&forged);
    core_close(&core);
}

static void test_report_holds_200_models_within_a_page(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    struct random random = random_start("report");
    open_core(&core);
    for (unsigned i = 0; i < 200; i++) {
        char name[48];
        (void)snprintf(name, sizeof name, "a model with a name of some length %03u", i);
        for (unsigned n = 0; n < 50; n++) {
            add_cpu(&core, name, random_shape(&random, SHAPE_PARETO), 100 * random_unit(&random));
        }
    }
    must_report(&core, &text);
    assert_true(measure(&text) <= PAGE_COLUMNS);
    assert_true(count_lines(&text) < 200 * 10);
    must_hold(&text, "· 200 models ·");
    buf_fini(&text);
    core_close(&core);
}

static void test_report_shows_long_names_whole_once(void **state)
{
    (void)state;
    struct core core;
    struct buf text;
    char name[RECORD_NAME_MAX + 1];
    memset(name, 'x', RECORD_NAME_MAX);
    memcpy(name, "begin", 5);
    memcpy(name + RECORD_NAME_MAX - 3, "end", 3);
    name[RECORD_NAME_MAX] = '\0';
    open_core(&core);
    add_ms(&core, name, 1);
    must_report(&core, &text);
    must_hold(&text, name);
    must_hold(&text, "\n  beginxxxxxxxxxxxxx…xxxxxxxxxend  ");
    buf_fini(&text);
    core_close(&core);
}

static void test_report_fails_cleanly_without_memory(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    fill(&core);
    struct str family;
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    spend(&core, "layer1_validation", 4);
    struct snapshot *snapshot = must_take(&core);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf out;
        buf_init(&out, TEXT_BYTES_MAX);
        mem_fail_after(n);
        report_render(snapshot, &some_options, core.scratch, &out);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(out.err, failed ? ERR_NOMEM : 0);
        buf_fini(&out);
        assert_int_equal(mem_count_live(), live);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_report_stops_at_the_ceiling(void **state)
{
    (void)state;
    struct core core;
    struct buf whole;
    open_core(&core);
    fill(&core);
    must_report(&core, &whole);
    struct snapshot *snapshot = must_take(&core);
    for (size_t max = 0; max < whole.len - 1; max += 101) {
        struct buf out;
        buf_init(&out, max);
        report_render(snapshot, &some_options, core.scratch, &out);
        assert_int_equal(out.err, ERR_LIMIT);
        buf_fini(&out);
    }
    buf_fini(&whole);
    core_drop(&core, snapshot);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_looks_as_in_the_file),
        cmocka_unit_test(test_report_tells_shares_and_confidence),
        cmocka_unit_test(test_report_tells_of_time_budgets),
        cmocka_unit_test(test_report_tells_what_a_gpu_would_do),
        cmocka_unit_test(test_report_says_so_when_there_is_nothing),
        cmocka_unit_test(test_report_keeps_the_cpu_unless_a_model_wants_a_gpu),
        cmocka_unit_test(test_report_names_a_few_of_many_reasons),
        cmocka_unit_test(test_report_says_when_the_window_is_empty),
        cmocka_unit_test(test_report_uses_units_for_people),
        cmocka_unit_test(test_report_names_cannot_forge_lines),
        cmocka_unit_test(test_report_holds_200_models_within_a_page),
        cmocka_unit_test(test_report_shows_long_names_whole_once),
        cmocka_unit_test(test_report_fails_cleanly_without_memory),
        cmocka_unit_test(test_report_stops_at_the_ceiling),
    };
    return cmocka_run_group_tests(tests, core_tables, NULL);
}
