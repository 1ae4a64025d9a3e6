#include "core_helpers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/clock.h"
#include "mem_fault.h"
#include "render/json.h"

enum { TEXT_BYTES_MAX = 16 << 20 };

static json_t *must_parse(struct buf *text)
{
    json_error_t error;
    assert_int_equal(text->err, 0);
    assert_int_equal(text->data[text->len - 1], '\n');
    json_t *root = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        fail_msg("%s at %d: %.*s", error.text, error.position, (int)text->len, text->data);
    }
    buf_fini(text);
    return root;
}

static json_t *must_list(struct core *core, enum profile_span span, const char *name)
{
    struct buf out;
    struct str wanted = str_of(name == NULL ? "" : name);
    struct snapshot *snapshot = must_take(core);
    buf_init(&out, TEXT_BYTES_MAX);
    json_render_models(snapshot, span, name == NULL ? NULL : &wanted, core->scratch, &out);
    core_drop(core, snapshot);
    return must_parse(&out);
}

/* NULL: there is none. */
static json_t *find_one(struct core *core, enum profile_span span, const char *name)
{
    struct buf out;
    struct snapshot *snapshot = must_take(core);
    buf_init(&out, TEXT_BYTES_MAX);
    struct json_model_query query = {.name = str_of(name)};
    bool found = json_render_model(snapshot, span, &query, core->scratch, &out);
    core_drop(core, snapshot);
    if (!found) {
        assert_int_equal(out.len, 0);
        buf_fini(&out);
        return NULL;
    }
    return must_parse(&out);
}

/* "latency.p50_ms" */
static json_t *must_have(const json_t *root, const char *path)
{
    char key[64];
    const json_t *at = root;
    for (const char *rest = path; rest != NULL;) {
        const char *dot = strchr(rest, '.');
        size_t len = dot == NULL ? strlen(rest) : (size_t)(dot - rest);
        (void)snprintf(key, sizeof key, "%.*s", (int)len, rest);
        json_t *next = json_object_get(at, key);
        if (next == NULL) {
            fail_msg("no %s", path);
        }
        at = next;
        rest = dot == NULL ? NULL : dot + 1;
    }
    return (json_t *)(uintptr_t)at;
}

static void must_be_number(const json_t *root, const char *path, double wanted)
{
    const json_t *value = must_have(root, path);
    assert_true(json_is_number(value));
    if (json_number_value(value) != wanted) {
        fail_msg("%s is %.17g", path, json_number_value(value));
    }
}

static void must_be_text(const json_t *root, const char *path, const char *wanted)
{
    const json_t *value = must_have(root, path);
    assert_true(json_is_string(value));
    assert_string_equal(json_string_value(value), wanted);
}

static void must_be_null(const json_t *root, const char *path)
{
    if (!json_is_null(must_have(root, path))) {
        fail_msg("%s is not null", path);
    }
}

/* Exactly these keys, in this order. */
static void must_have_keys(const json_t *root, const char *path, const char *const keys[])
{
    json_t *object = path == NULL ? (json_t *)(uintptr_t)root : must_have(root, path);
    const char *key;
    json_t *value;
    size_t at = 0;
    json_object_foreach(object, key, value)
    {
        assert_non_null(keys[at]);
        assert_string_equal(key, keys[at]);
        at++;
    }
    assert_null(keys[at]);
}

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void open_core(struct core *core)
{
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("region");
    options.label_keys[1] = STR_LITERAL("device");
    options.label_key_count = 2;
    core_open(core, &options);
}

static void add(struct core *core, const char *name, double ms)
{
    struct sample sample = sample_of(name, ms);
    must_record(core, &sample);
}

static void add_full(struct core *core, double ms)
{
    struct sample sample = sample_of("full", ms);
    sample.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_MEMORY_AFTER | 1u << SAMPLE_USER |
                 1u << SAMPLE_SYSTEM | 1u << SAMPLE_RUNQUEUE | 1u << SAMPLE_BYTES_MOVED |
                 1u << SAMPLE_QUEUE;
    sample.bytes_moved = ms > 3 ? 3e9 : 1e9;
    sample.queue_ms = 2 * ms;
    sample.cpu_percent_during = 80.125;
    sample.memory_mb_after = 100.5;
    sample.user_ms = 1;
    sample.system_ms = 0.5;
    sample.runqueue_ms = 0.25;
    sample.error = ms > 3;
    must_record(core, &sample);
}

static void test_json_model_has_the_keys_of_the_design(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add(&core, "m", 1);
    json_t *model = find_one(&core, PROFILE_WINDOW, "m");
    must_have_keys(model, NULL,
                   KEYS("model_name", "labels", "window", "sample_count", "errors", "latency",
                        "queue", "cpu", "memory", "time", "hints", "analysis", "explanation"));
    must_be_null(model, "explanation");
    must_have_keys(model, "latency",
                   KEYS("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "mean_ms", "std_ms",
                        "min_ms", "max_ms"));
    must_have_keys(model, "queue", KEYS("mean_ms"));
    must_have_keys(model, "cpu", KEYS("avg_percent", "peak_percent"));
    must_have_keys(model, "memory", KEYS("avg_mb", "peak_mb"));
    must_have_keys(model, "time",
                   KEYS("user_ms", "system_ms", "fault_ms", "runqueue_ms", "blocked_ms",
                        "inferences", "wall_ms"));
    must_have_keys(model, "hints", KEYS("flops", "bytes_moved"));
    must_have_keys(model, "analysis",
                   KEYS("bottleneck_type", "rule", "reason", "confidence", "shares", "gpu_decision",
                        "gpu_recommendation", "max_speedup"));
    must_have_keys(model, "analysis.shares", KEYS("compute", "memory", "io", "lock"));
    json_decref(model);
    core_close(&core);
}

static void test_json_model_tells_what_is_known_in_full_precision(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add_full(&core, 2.1);
    add_full(&core, 3.3);
    json_t *model = find_one(&core, PROFILE_WINDOW, "full");
    must_be_text(model, "model_name", "full");
    must_be_text(model, "window", "300s");
    must_be_number(model, "sample_count", 2);
    must_be_number(model, "errors", 1);
    must_be_number(model, "latency.min_ms", 2.1);
    must_be_number(model, "latency.max_ms", 3.3);
    must_be_number(model, "latency.mean_ms", 2.7);
    must_be_number(model, "queue.mean_ms", 5.4);
    must_be_number(model, "cpu.avg_percent", 80.125);
    must_be_number(model, "cpu.peak_percent", 80.125);
    must_be_number(model, "memory.avg_mb", 100.5);
    must_be_number(model, "memory.peak_mb", 100.5);
    must_be_number(model, "time.user_ms", 2);
    must_be_number(model, "time.system_ms", 1);
    must_be_number(model, "time.fault_ms", 0);
    must_be_number(model, "time.runqueue_ms", 0.5);
    must_be_number(model, "time.blocked_ms", 1.9);
    must_be_number(model, "time.inferences", 2);
    must_be_number(model, "time.wall_ms", 5.4);
    must_be_number(model, "hints.bytes_moved", 2e9);
    must_be_null(model, "hints.flops");
    must_be_text(model, "analysis.bottleneck_type", "compute_bound");
    must_be_text(model, "analysis.rule", "compute");
    must_be_text(model, "analysis.reason", "mean CPU 80.12 % is above 50 %");
    must_be_text(model, "analysis.gpu_decision", "yes");
    must_be_number(model, "analysis.max_speedup", 1 / (1 - 3 / 4.9)); /* 3 ms of CPU, 1.9 blocked */
    json_decref(model);
    core_close(&core);
}

static void test_json_model_says_null_for_what_is_not_known(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add(&core, "m", 1);
    json_t *model = find_one(&core, PROFILE_WINDOW, "m");
    must_be_null(model, "queue.mean_ms");
    must_be_null(model, "cpu.avg_percent");
    must_be_null(model, "cpu.peak_percent");
    must_be_null(model, "memory.avg_mb");
    must_be_null(model, "memory.peak_mb");
    must_be_null(model, "time.user_ms");
    must_be_null(model, "time.blocked_ms");
    must_be_null(model, "time.wall_ms");
    must_be_number(model, "time.inferences", 0);
    must_be_number(model, "latency.std_ms", 0);
    must_be_null(model, "analysis.confidence");
    must_be_null(model, "analysis.shares.lock");
    must_be_null(model, "analysis.max_speedup");
    must_be_text(model, "analysis.gpu_decision", "insufficient");
    json_decref(model);
    core_close(&core);
}

/* A model called "judged", as number 0, with enough evidence for this opinion to count. */
static void add_judged(struct core *core, const struct opinion *opinion)
{
    for (unsigned i = 0; i < PROFILE_EVIDENCE_MIN; i++) {
        struct sample sample = sample_of("judged", 4);
        sample.has = 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM;
        sample.user_ms = 3;
        must_record(core, &sample);
    }
    must_set_opinion(core, 0, opinion);
}

static void test_json_model_tells_what_evidence_says(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    struct opinion opinion = opinion_of(BOTTLENECK_MEMORY, RULE_EVIDENCE);
    add_judged(&core, &opinion);
    json_t *model = find_one(&core, PROFILE_ALL, "judged");
    must_be_text(model, "analysis.bottleneck_type", "memory_bound");
    must_be_text(model, "analysis.rule", "evidence");
    must_be_text(model, "analysis.reason", opinion.reason);
    must_be_number(model, "analysis.confidence", 0.875);
    must_be_number(model, "analysis.shares.compute", 0.5);
    must_be_number(model, "analysis.shares.memory", 0.25);
    must_be_number(model, "analysis.shares.io", 0.1875);
    must_be_number(model, "analysis.shares.lock", 0.0625);
    json_decref(model);
    opinion = opinion_of(BOTTLENECK_UNKNOWN, RULE_STARVED);
    opinion.share[0] = opinion.share[1] = opinion.share[2] = opinion.share[3] = NAN;
    must_set_opinion(&core, 0, &opinion);
    model = find_one(&core, PROFILE_WINDOW, "judged");
    must_be_text(model, "analysis.bottleneck_type", "unknown");
    must_be_text(model, "analysis.rule", "starved");
    must_be_null(model, "analysis.confidence");
    must_be_null(model, "analysis.shares.compute");
    json_decref(model);
    core_close(&core);
}

static void test_json_model_tells_labels_and_device_apart(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    struct sample sample = sample_of("m", 1);
    sample.has = 1u << SAMPLE_DEVICE;
    sample.device = STR_LITERAL("cuda:0");
    sample.label_count = 2;
    sample.labels[0] = (struct label){STR_LITERAL("device"), STR_LITERAL("mine")};
    sample.labels[1] = (struct label){STR_LITERAL("region"), STR_LITERAL("e\"u\n")};
    must_record(&core, &sample);
    json_t *model = find_one(&core, PROFILE_WINDOW, "m");
    must_have_keys(model, "labels", KEYS("device", "region", "exported_device"));
    must_be_text(model, "labels.device", "cuda:0");
    must_be_text(model, "labels.exported_device", "mine");
    must_be_text(model, "labels.region", "e\"u\n");
    must_be_null(model, "analysis.gpu_decision");
    json_decref(model);
    core_close(&core);
}

static void test_json_model_marks_the_overflow(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    options.max_models = 1;
    core_open(&core, &options);
    add(&core, "a", 1);
    add(&core, "b", 1);
    json_t *model = find_one(&core, PROFILE_WINDOW, "(overflow)");
    must_be_text(model, "labels.dwell_overflow", "true");
    json_decref(model);
    core_close(&core);
}

static void test_json_window_falls_back_to_all_and_says_so(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add(&core, "m", 1);
    core_move(&core, 4 * CORE_SLOT_S);
    add(&core, "m", 3);
    core_move(&core, 3 * CORE_SLOT_S);
    json_t *model = find_one(&core, PROFILE_WINDOW, "m");
    must_be_text(model, "window", "300s");
    must_be_number(model, "sample_count", 1);
    json_decref(model);
    model = find_one(&core, PROFILE_ALL, "m");
    must_be_text(model, "window", "all");
    must_be_number(model, "sample_count", 2);
    json_decref(model);
    core_move(&core, 6 * CORE_SLOT_S);
    model = find_one(&core, PROFILE_WINDOW, "m");
    must_be_text(model, "window", "all");
    must_be_number(model, "sample_count", 2);
    json_decref(model);
    core_close(&core);
}

static void test_json_window_may_be_no_whole_seconds(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    options.window_ns = 1500 * NS_PER_MS;
    core_open(&core, &options);
    add(&core, "m", 1);
    json_t *model = find_one(&core, PROFILE_WINDOW, "m");
    must_be_text(model, "window", "1.5s");
    json_decref(model);
    core_close(&core);
}

static void must_list_names(const json_t *root, const char *const names[])
{
    const json_t *models = must_have(root, "models");
    size_t count = 0;
    for (; names[count] != NULL; count++) {
        must_be_text(json_array_get(models, count), "model_name", names[count]);
    }
    assert_int_equal(json_array_size(models), count);
}

static void test_json_models_are_in_order_of_names_then_labels(void **state)
{
    (void)state;
    static const char *const regions[] = {"us", "eu"};
    struct core core;
    open_core(&core);
    add(&core, "b", 1);
    add(&core, "ä", 1);
    add(&core, "aa", 1);
    for (unsigned i = 0; i < 2; i++) {
        struct sample sample = sample_of("a", 1);
        sample.label_count = 1;
        sample.labels[0] = (struct label){STR_LITERAL("region"), str_of(regions[i])};
        must_record(&core, &sample);
    }
    add(&core, "a", 1);
    json_t *root = must_list(&core, PROFILE_WINDOW, NULL);
    must_list_names(root, KEYS("a", "a", "a", "aa", "b", "ä"));
    json_t *models = must_have(root, "models");
    must_have_keys(json_array_get(models, 0), "labels", (const char *const[]){NULL});
    must_be_text(json_array_get(models, 1), "labels.region", "eu");
    must_be_text(json_array_get(models, 2), "labels.region", "us");
    json_decref(root);
    core_close(&core);
}

static void test_json_models_are_filtered_by_the_exact_name(void **state)
{
    (void)state;
    static const char awkward[] = "a/b?c&d=\"\\%\n\x01\x7f模型\xF0\x9F\x9A\x80";
    struct core core;
    open_core(&core);
    add(&core, "a", 1);
    add(&core, "aa", 1);
    add(&core, awkward, 1);
    json_t *root = must_list(&core, PROFILE_WINDOW, "a");
    must_list_names(root, KEYS("a"));
    json_decref(root);
    root = must_list(&core, PROFILE_WINDOW, awkward);
    must_list_names(root, KEYS(awkward));
    json_decref(root);
    root = must_list(&core, PROFILE_WINDOW, "A");
    must_list_names(root, (const char *const[]){NULL});
    json_decref(root);
    core_close(&core);
}

static void test_json_leaves_out_models_without_samples_since_their_reset(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add(&core, "a", 1);
    add(&core, "b", 1);
    must_reset(&core, "a", 1);
    json_t *root = must_list(&core, PROFILE_ALL, NULL);
    must_list_names(root, KEYS("b"));
    json_decref(root);
    assert_null(find_one(&core, PROFILE_WINDOW, "a"));
    assert_null(find_one(&core, PROFILE_WINDOW, "never"));
    assert_null(find_one(&core, PROFILE_WINDOW, ""));
    add(&core, "a", 7);
    json_t *model = find_one(&core, PROFILE_ALL, "a");
    must_be_number(model, "sample_count", 1);
    json_decref(model);
    core_close(&core);
}

static void test_json_model_is_the_first_label_set_that_has_samples(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    struct sample sample = sample_of("a", 1);
    sample.label_count = 1;
    sample.labels[0] = (struct label){STR_LITERAL("region"), STR_LITERAL("us")};
    must_record(&core, &sample);
    sample.labels[0].value = STR_LITERAL("eu");
    must_record(&core, &sample);
    json_t *model = find_one(&core, PROFILE_WINDOW, "a");
    must_be_text(model, "labels.region", "eu");
    json_decref(model);
    core_close(&core);
}

/* The region of the model "a" with these labels, or "none". */
static void must_find_labelled(struct core *core, const struct label *labels, uint32_t count,
                               const char *region)
{
    struct buf out;
    struct json_model_query query = {STR_LITERAL("a"), labels, count};
    struct snapshot *snapshot = must_take(core);
    buf_init(&out, TEXT_BYTES_MAX);
    bool found = json_render_model(snapshot, PROFILE_WINDOW, &query, core->scratch, &out);
    core_drop(core, snapshot);
    assert_int_equal(found, strcmp(region, "none") != 0);
    if (found) {
        json_t *model = must_parse(&out);
        must_be_text(model, "labels.region", region);
        json_decref(model);
    } else {
        buf_fini(&out);
    }
}

static void test_json_model_is_the_one_with_all_of_the_labels(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    struct sample sample = sample_of("a", 1);
    sample.label_count = 1;
    sample.labels[0] = (struct label){STR_LITERAL("region"), STR_LITERAL("us")};
    must_record(&core, &sample);
    sample.labels[0].value = STR_LITERAL("eu");
    sample.has = 1u << SAMPLE_DEVICE;
    sample.device = STR_LITERAL("cuda:0");
    must_record(&core, &sample);
    const struct label us = {STR_LITERAL("region"), STR_LITERAL("us")};
    const struct label eu = {STR_LITERAL("region"), STR_LITERAL("eu")};
    const struct label device = {STR_LITERAL("device"), STR_LITERAL("cuda:0")};
    must_find_labelled(&core, &us, 1, "us");
    must_find_labelled(&core, &eu, 1, "none"); /* it has a device, too */
    must_find_labelled(&core, (const struct label[]){eu, device}, 2, "eu");
    must_find_labelled(&core, (const struct label[]){device, eu}, 2, "eu");
    must_find_labelled(&core, (const struct label[]){us, us}, 2, "none");
    must_find_labelled(&core, (const struct label[]){us, device}, 2, "none");
    core_close(&core);
}

static void test_json_models_of_nothing_are_an_empty_list(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    json_t *root = must_list(&core, PROFILE_WINDOW, NULL);
    must_list_names(root, (const char *const[]){NULL});
    json_decref(root);
    core_close(&core);
}

/* --- the rest ---------------------------------------------------------------------------------- */

static void test_json_status_tells_the_ledger_and_what_it_was_given(void **state)
{
    (void)state;
    static const struct json_path sockets[] = {{"ingest", "/run/\"dwell\"/ingest.sock"}};
    static const struct json_limit limits[] = {{"profiling.max_models", UINT64_MAX}};
    static const struct json_path sandbox[] = {{"system_calls", "filtered"}};
    struct core core;
    struct buf out;
    open_core(&core);
    struct snapshot *snapshot = must_take(&core);
    snapshot->ledger.all = (struct ledger_terms){.sent = 10, .accepted = 6, .dropped = 1};
    snapshot->ledger.all.rejected[ERR_ROW_RANGE] = 3;
    snapshot->ledger.unledgered = 4;
    snapshot->ledger.library_count = 1;
    snapshot->ledger.libraries[0] = (struct ledger_library){.name = "libdwell/\"1\""};
    snapshot->ledger.libraries[0].terms = snapshot->ledger.all;
    snapshot->wall_ns = 1500000000;
    snapshot->counters.clock = (struct clock_watch){.steps = 2, .step_seconds = -3600.5};
    snapshot->counters.missing_sources = 1u << SEEN_IO | 1u << SEEN_TOUCH;
    snapshot->counters.loop_lag =
        (struct timing){.count = 9, .bucket = {[TIMING_BOUNDS] = 2}, .max_ns = 250000000};
    snapshot->accepted = 9;
    snapshot->rejected[ERR_ROW_RANGE] = 5;
    snapshot->mono_ns = 10000000000;
    snapshot->grown_ns =
        (struct growth_counts){.rejected = {[ERR_ROW_RANGE] = 10000000000},
                               .lost = 2500000000,
                               .counters = {[COUNTER_UNKNOWN_KEYS] = 1, [COUNTER_MODELS] = 1}};
    struct reloads *reloads = &snapshot->counters.reloads;
    struct limbo *limbo = &core.registry->limbo;
    reloads_add(reloads, RELOAD_REFUSED, STR_LITERAL("before"), limbo, 1);
    reloads_add(reloads, RELOAD_REFUSED, STR_LITERAL("a: \"b\"\nc\n"), limbo, 1500000000);
    struct export_view traces = {
        .signal = "traces", .endpoint = "h:4317", .accepted = 9, .in_flight = 2};
    traces.dropped[EXPORT_DROP_QUEUE_FULL] = 7;
    buf_init(&out, TEXT_BYTES_MAX);
    json_render_status(snapshot,
                       &(struct json_status){.version = "0.1.0",
                                             .uptime_ns = 1500000000,
                                             .http_address = "127.0.0.1:9847",
                                             .sockets = sockets,
                                             .socket_count = 1,
                                             .limits = limits,
                                             .limit_count = 1,
                                             .sandbox = sandbox,
                                             .sandbox_count = 1,
                                             .rss_bytes = 4096,
                                             .process = {.pid = 4711,
                                                         .uid = 1000,
                                                         .instance = 0xAB,
                                                         .descriptors_open = 20,
                                                         .descriptors_limit = 1024,
                                                         .descriptors_wanted = 1300},
                                             .scrapes = 17,
                                             .exports = &traces,
                                             .export_count = 1},
                       &out);
    reloads_fini(reloads, limbo);
    core_drop(&core, snapshot);
    json_t *root = json_loadb(out.data, out.len, JSON_DECODE_INT_AS_REAL, NULL);
    assert_non_null(root);
    must_have_keys(root, NULL,
                   KEYS("version", "uptime_seconds", "http_address", "sockets", "files", "sandbox",
                        "process", "loop", "clock", "evidence", "clients", "records", "ledger",
                        "seconds_since", "counters", "limits", "reloads", "export", "rss_bytes"));
    must_have_keys(root, "process", KEYS("pid", "uid", "instance", "descriptors"));
    must_be_number(root, "process.pid", 4711);
    must_be_number(root, "process.uid", 1000);
    must_be_text(root, "process.instance", "00000000000000ab");
    must_be_number(root, "process.descriptors.open", 20);
    must_be_number(root, "process.descriptors.limit", 1024);
    must_be_number(root, "process.descriptors.wanted", 1300);
    must_be_number(root, "loop.turns", 9);
    must_be_number(root, "loop.late_turns", 2);
    must_be_number(root, "loop.max_seconds", 0.25);
    must_be_number(root, "clock.wall_seconds", 1.5);
    must_be_number(root, "clock.steps", 2);
    must_be_number(root, "clock.step_seconds", -3600.5);
    must_be_number(root, "counters.clock_steps_total", 0); /* copied when it is taken */
    const json_t *missing = must_have(root, "evidence.missing");
    assert_int_equal(json_array_size(missing), 2);
    assert_string_equal(json_string_value(json_array_get(missing, 0)), "io");
    assert_string_equal(json_string_value(json_array_get(missing, 1)), "touch");
    const json_t *client = json_array_get(must_have(root, "clients"), 0);
    must_have_keys(client, NULL, KEYS("client", "sent", "accepted", "rejected", "dropped", "lost"));
    must_be_text(client, "client", "libdwell/\"1\"");
    must_be_number(client, "sent", 10);
    must_be_number(client, "rejected", 3);
    must_have_keys(root, "records", KEYS("accepted", "rejected"));
    must_be_number(root, "records.accepted", 9);
    must_be_number(root, "records.rejected.out_of_range", 5);
    must_be_number(root, "records.rejected.too_deep", 0);
    must_have_keys(root, "seconds_since", KEYS("rejected", "lost", "counters"));
    must_have_keys(root, "seconds_since.rejected", KEYS("out_of_range"));
    must_be_number(root, "seconds_since.rejected.out_of_range", 0);
    must_be_number(root, "seconds_since.lost", 7.5);
    must_have_keys(root, "seconds_since.counters", KEYS("unknown_keys_total")); /* no gauge */
    must_have_keys(root, "ledger",
                   KEYS("sent", "accepted", "rejected", "dropped", "lost", "unledgered"));
    must_be_text(root, "version", "0.1.0");
    must_be_number(root, "uptime_seconds", 1.5);
    must_be_text(root, "http_address", "127.0.0.1:9847");
    must_be_text(root, "sockets.ingest", "/run/\"dwell\"/ingest.sock");
    must_be_text(root, "sandbox.system_calls", "filtered");
    must_be_number(root, "ledger.sent", 10);
    must_be_number(root, "ledger.rejected.out_of_range", 3);
    must_be_number(root, "ledger.rejected.too_deep", 0);
    must_be_number(root, "ledger.unledgered", 4);
    must_be_number(root, "counters.scrapes_total", 17);
    must_have_keys(root, "reloads", KEYS("applied", "needs_restart", "refused", "last"));
    must_be_number(root, "reloads.refused", 2);
    must_be_text(root, "reloads.last.outcome", "refused");
    must_be_number(root, "reloads.last.unix_seconds", 1.5);
    const json_t *messages = must_have(root, "reloads.last.messages");
    assert_int_equal(json_array_size(messages), 2);
    assert_string_equal(json_string_value(json_array_get(messages, 0)), "a: \"b\"");
    assert_string_equal(json_string_value(json_array_get(messages, 1)), "c");
    must_have_keys(root, "export.traces",
                   KEYS("endpoint", "loaded", "accepted", "exported", "held", "waiting",
                        "in_flight", "spooled", "recovered", "capacity", "bytes", "capacity_bytes",
                        "spool_works", "spool_files", "spool_bytes", "spool_limit_bytes",
                        "spool_damaged_files", "spool_failures", "failures", "retries", "splits",
                        "failing_seconds", "garbled_responses", "dropped"));
    must_be_number(root, "export.traces.accepted", 9);
    must_be_text(root, "export.traces.endpoint", "h:4317");
    must_be_number(root, "export.traces.in_flight", 2);
    must_be_number(root, "export.traces.dropped.queue_full", 7);
    must_be_number(root, "export.traces.dropped.shutdown", 0);
    must_be_number(root, "rss_bytes", 4096);
    assert_int_equal(json_object_size(must_have(root, "limits")), 1);
    json_decref(root);
    buf_fini(&out);
    core_close(&core);
}

static void test_json_status_says_null_for_what_is_not_known(void **state)
{
    (void)state;
    struct core core;
    struct buf out;
    open_core(&core);
    struct snapshot *snapshot = must_take(&core);
    buf_init(&out, TEXT_BYTES_MAX);
    json_render_status(snapshot, &(struct json_status){.version = ""}, &out);
    core_drop(&core, snapshot);
    json_t *root = must_parse(&out);
    must_be_null(root, "http_address");
    must_be_null(root, "rss_bytes");
    must_be_null(root, "process.pid");
    must_be_null(root, "process.instance");
    must_be_null(root, "process.descriptors.open");
    must_be_null(root, "reloads.last");
    must_have_keys(root, "sockets", (const char *const[]){NULL});
    must_have_keys(root, "export", (const char *const[]){NULL});
    json_decref(root);
    core_close(&core);
}

static void must_say(struct str message, const char *wanted)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES_MAX);
    json_render_error(message, &out);
    assert_int_equal(out.len, strlen(wanted));
    assert_memory_equal(out.data, wanted, out.len);
    buf_fini(&out);
}

static void test_json_error_copes_with_any_bytes(void **state)
{
    (void)state;
    must_say(STR_LITERAL(""), "{\"error\":\"\"}\n");
    must_say(STR_LITERAL("no such model"), "{\"error\":\"no such model\"}\n");
    must_say(STR_LITERAL("\"\\\n\r\t\x00\x1f\x7f"),
             "{\"error\":\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007f\"}\n");
    must_say(STR_LITERAL("模型"), "{\"error\":\"模型\"}\n");
    must_say(STR_LITERAL("a\xFF\xE6\xA8"
                         "b\xC0\x80"),
             "{\"error\":\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
             "b\xEF\xBF\xBD\xEF\xBF\xBD\"}\n");
}

static void test_json_small_answers(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, TEXT_BYTES_MAX);
    json_render_ok(&out);
    json_render_reset(3, &out);
    json_render_unready("loop_late", "the \"loop\"", &out);
    static const char wanted[] = "{\"status\":\"ok\"}\n{\"reset\":3}\n{\"status\":\"unready\","
                                 "\"reason\":\"loop_late\",\"error\":\"the \\\"loop\\\"\"}\n";
    assert_int_equal(out.len, sizeof wanted - 1);
    assert_memory_equal(out.data, wanted, out.len);
    buf_fini(&out);
}

static void test_json_fails_cleanly_without_memory(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add(&core, "a", 1);
    add(&core, "b", 1);
    struct snapshot *snapshot = must_take(&core);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf list;
        struct buf one;
        buf_init(&list, TEXT_BYTES_MAX);
        buf_init(&one, TEXT_BYTES_MAX);
        mem_fail_after(n);
        json_render_models(snapshot, PROFILE_ALL, NULL, core.scratch, &list);
        assert_true(json_render_model(snapshot, PROFILE_ALL,
                                      &(struct json_model_query){.name = STR_LITERAL("a")},
                                      core.scratch, &one));
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(list.err == ERR_NOMEM || one.err == ERR_NOMEM, failed);
        buf_fini(&list);
        buf_fini(&one);
        assert_int_equal(mem_count_live(), live);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_json_stops_at_the_ceiling(void **state)
{
    (void)state;
    struct core core;
    open_core(&core);
    add(&core, "a", 1);
    struct snapshot *snapshot = must_take(&core);
    struct buf whole;
    buf_init(&whole, TEXT_BYTES_MAX);
    json_render_models(snapshot, PROFILE_ALL, NULL, core.scratch, &whole);
    for (size_t max = 0; max < whole.len; max += 7) {
        struct buf out;
        buf_init(&out, max);
        json_render_models(snapshot, PROFILE_ALL, NULL, core.scratch, &out);
        assert_int_equal(out.err, ERR_LIMIT);
        assert_true(out.len <= max);
        buf_fini(&out);
    }
    buf_fini(&whole);
    core_drop(&core, snapshot);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_model_has_the_keys_of_the_design),
        cmocka_unit_test(test_json_model_tells_what_is_known_in_full_precision),
        cmocka_unit_test(test_json_model_says_null_for_what_is_not_known),
        cmocka_unit_test(test_json_model_tells_what_evidence_says),
        cmocka_unit_test(test_json_model_tells_labels_and_device_apart),
        cmocka_unit_test(test_json_model_is_the_one_with_all_of_the_labels),
        cmocka_unit_test(test_json_model_marks_the_overflow),
        cmocka_unit_test(test_json_window_falls_back_to_all_and_says_so),
        cmocka_unit_test(test_json_window_may_be_no_whole_seconds),
        cmocka_unit_test(test_json_models_are_in_order_of_names_then_labels),
        cmocka_unit_test(test_json_models_are_filtered_by_the_exact_name),
        cmocka_unit_test(test_json_leaves_out_models_without_samples_since_their_reset),
        cmocka_unit_test(test_json_model_is_the_first_label_set_that_has_samples),
        cmocka_unit_test(test_json_models_of_nothing_are_an_empty_list),
        cmocka_unit_test(test_json_status_tells_the_ledger_and_what_it_was_given),
        cmocka_unit_test(test_json_status_says_null_for_what_is_not_known),
        cmocka_unit_test(test_json_error_copes_with_any_bytes),
        cmocka_unit_test(test_json_small_answers),
        cmocka_unit_test(test_json_fails_cleanly_without_memory),
        cmocka_unit_test(test_json_stops_at_the_ceiling),
    };
    return cmocka_run_group_tests(tests, core_tables, NULL);
}
