#include "state_core.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "render/exposition.h"
#include "render/state.h"
#include "wire/state.h"

enum { BODY_MAX = 1 << 24 };

static const int64_t *alive;
static unsigned alive_count;

void set_alive(const int64_t *pids, unsigned count)
{
    alive = pids;
    alive_count = count;
}

static bool is_alive(void *ctx, int64_t kernel_pid, uint64_t boot_ns)
{
    bool found = false;
    (void)ctx;
    assert_true(boot_ns > 0);
    for (unsigned i = 0; i < alive_count; i++) {
        found = found || alive[i] == kernel_pid;
    }
    return found;
}

struct saved_moment moment_of(const struct core *core, uint8_t boot)
{
    return (struct saved_moment){.wall_ns = core->wall_ns,
                                 .mono_ns = core->mono_ns,
                                 .boot_ns = core->mono_ns,
                                 .has_boot_id = boot != 0,
                                 .boot_id = {boot}};
}

struct buf must_save(struct core *core, uint8_t boot)
{
    struct buf body;
    struct beside *beside = NULL;
    size_t lasting = 0;
    buf_init(&body, BODY_MAX);
    struct snapshot *snapshot = must_take(core);
    assert_int_equal(beside_take(&core->intake, &beside), 0);
    struct state_source source = {.snapshot = snapshot,
                                  .beside = beside,
                                  .moment = moment_of(core, boot),
                                  .scrapes = 11,
                                  .http_errors = 12,
                                  .journal = STR_LITERAL("position 7")};
    assert_int_equal(state_render(&source, &body, &lasting), 0);
    assert_true(lasting > 0 && lasting < body.len);
    beside_free(beside);
    core_drop(core, snapshot);
    return body;
}

struct restore_report must_go_on(struct core *core, uint8_t boot, const struct buf *body)
{
    static const struct saved_sink nobody;
    struct str bytes = {body->data, body->len};
    struct restore_options options = {
        .intake = &core->intake, .now = moment_of(core, boot), .is_alive = is_alive};
    struct restore *restore = restore_new(&options);
    assert_non_null(restore);
    struct saved_sink sink = restore_sink(restore);
    assert_int_equal(state_read(bytes, &nobody), 0);
    assert_int_equal(state_read(bytes, &sink), 0);
    struct restore_report report = restore->report;
    restore_free(restore);
    return report;
}

struct buf must_show(struct core *core)
{
    struct buf out;
    struct exposition_options options = {.name_space = STR_LITERAL("acgs2"),
                                         .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2"),
                                         .created_series = true,
                                         .dwelld_version = STR_LITERAL("1"),
                                         .label_key_count =
                                             core->registry->options.label_key_count};
    memcpy(options.label_keys, core->registry->options.label_keys, sizeof options.label_keys);
    struct exposition *exposition = exposition_new(&options);
    assert_non_null(exposition);
    buf_init(&out, BODY_MAX);
    core->counters.snapshot = (struct timing){.count = 0}; /* of looking */
    core->counters.value[COUNTER_CONNECTIONS] = 0;
    core->counters.loop_lag.max_ns = 0;
    struct snapshot *snapshot = must_take(core);
    assert_int_equal(exposition_render(exposition, snapshot, EXPOSITION_OPENMETRICS, NULL, &out),
                     0);
    core_drop(core, snapshot);
    exposition_free(exposition);
    buf_char(&out, '\0');
    return out;
}

void must_be_same(const struct buf *got, const struct buf *wanted)
{
    size_t line = 0;
    size_t at = 0;
    for (; at < got->len && at < wanted->len && got->data[at] == wanted->data[at]; at++) {
        line = got->data[at] == '\n' ? at + 1 : line;
    }
    if (at < got->len || at < wanted->len) {
        fail_msg("got    %.*s\nwanted %.*s", (int)strcspn(got->data + line, "\n"), got->data + line,
                 (int)strcspn(wanted->data + line, "\n"), wanted->data + line);
    }
}

/* --- some of everything ------------------------------------------------------------------------ */

#define PART(part) (1u << SAMPLE_##part)

static void fill_models(struct core *core)
{
    struct sample sample = sample_of("plain", 1);
    for (unsigned i = 0; i < 300; i++) {
        sample.execution_time_ms = 0.01 * i * i;
        sample.has = PART(CPU_DURING);
        sample.cpu_percent_during = 33.3 + i;
        must_record(core, &sample);
        if (i % 50 == 49) {
            core_move(core, CORE_SLOT_S);
        }
    }
    sample = sample_of("full", 12.5);
    sample.has = PART(MEMORY_AFTER) | PART(QUEUE) | PART(BATCH_SIZE) | PART(DEVICE) |
                 PART(TRACE_ID) | PART(SPAN_ID) | PART(USER) | PART(SYSTEM) | PART(RUNQUEUE) |
                 PART(MINOR_FAULTS) | PART(FLOPS) | PART(BYTES_MOVED) | PART(WEIGHT);
    sample.memory_mb_after = 64;
    sample.queue_ms = 3;
    sample.batch_size = 8;
    sample.device = STR_LITERAL("cuda:0");
    sample.trace_id[0] = 1;
    sample.span_id[0] = 2;
    sample.user_ms = 4;
    sample.system_ms = 2;
    sample.runqueue_ms = 1;
    sample.minor_faults = 100;
    sample.flops = 1e9;
    sample.bytes_moved = 1e6;
    sample.weight = 1000000000;
    sample.error = true;
    for (unsigned i = 0; i < 9; i++) { /* past what a counter of 32 bits holds */
        must_record(core, &sample);
    }
    must_reset(core, "full", 1);
    sample.weight = 3;
    must_record(core, &sample);
    sample = sample_of("labelled", 1e12);
    sample.labels[sample.label_count++] =
        (struct label){STR_LITERAL("tier"), STR_LITERAL("\xC3\xA9\\\"")};
    must_record(core, &sample);
    sample = sample_of("zero", 0);
    must_record(core, &sample);
}

static void fill_histograms(struct core *core)
{
    struct metric metric = metric_of(METRIC_OBSERVE, "size", 0, "a=1");
    metric.unit = STR_LITERAL("bytes");
    for (int i = -40; i < 40; i++) {
        metric.value = (i % 2 == 0 ? 1 : -1) * (double)(1ULL << (i + 40) % 50) / 1024;
        metric.has = i % 3 == 0 ? METRIC_HAS_TRACE_ID : 0;
        metric.trace_id[0] = (uint8_t)(i + 41);
        must_count(core, &metric, NULL);
    }
}

static void fill_gauges(struct core *core)
{
    struct process *one = process_enter(&core->processes, 1100, 100);
    struct process *two = process_enter(&core->processes, 1200, 200);
    static const enum aggregation aggregations[] = {AGGREGATION_UNSAID, AGGREGATION_LAST,
                                                    AGGREGATION_SUM,    AGGREGATION_MAX,
                                                    AGGREGATION_MIN,    AGGREGATION_PER_PID};
    for (unsigned i = 0; i < sizeof aggregations / sizeof aggregations[0]; i++) {
        struct metric metric =
            metric_of(METRIC_SET, aggregation_names[aggregations[i]], 0.1 + i, "a=1");
        metric.aggregation = aggregations[i];
        must_count(core, &metric, one);
        metric.op = METRIC_ADD;
        metric.value = 5;
        must_count(core, &metric, two);
        must_count(core, &metric, NULL);
    }
    struct metric info = metric_of(METRIC_INFO, "release", 0, "version=1");
    must_count(core, &info, one);
    info = metric_of(METRIC_INFO, "release", 0, "version=2");
    must_count(core, &info, two);
}

static void fill_metrics(struct core *core)
{
    struct metric metric = metric_of(METRIC_COUNT, "jobs", 2.5, "queue=a,path=/v1");
    metric.has = METRIC_HAS_TRACE_ID | METRIC_HAS_SPAN_ID;
    metric.trace_id[0] = 3;
    must_count(core, &metric, NULL);
    for (unsigned i = 0; i < 200;
         i++) { /* twice as many as a family may have: an overflow series */
        char text[32];
        (void)snprintf(text, sizeof text, "n=%u", i);
        metric = metric_of(METRIC_COUNT, "many", i, text);
        must_count(core, &metric, NULL);
    }
    for (unsigned i = 0; i < 1000; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "user %u", i);
        metric = metric_of(METRIC_MEMBER, "users", 0, "a=1");
        metric.member = str_of(text);
        must_count(core, &metric, NULL);
        if (i % 300 == 299) {
            core_move(core, CORE_SLOT_S);
        }
    }
    fill_histograms(core);
    fill_gauges(core);
}

static void fill_budgets(struct core *core)
{
    static const char *const layers[] = {"total", "layer3_policy", "unheard of"};
    for (unsigned i = 0; i < 90; i++) {
        struct budget budget = {.layer = str_of(layers[i % 3]), .elapsed_ms = i};
        struct budget_verdict verdict;
        assert_int_equal(budgets_record(core->budgets, &budget, &verdict), 0);
    }
}

static void fill_ledger(struct core *core)
{
    static const uint8_t ids[2][RECORD_CLIENT_ID_BYTES] = {{1}, {2}};
    struct mark mark = {.has_sequence = true, .sequence = 0};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t library = ledger_library(&core->ledger, str_of(i == 0 ? "libdwell/1" : "other/2"));
        int client = ledger_client(&core->ledger, ids[i], library, &mark);
        if (i == 0) {
            ledger_ask(&core->ledger, client);
        }
        ledger_count(&core->ledger, client, 10);
        ledger_reject(&core->ledger, client, ERR_RANGE);
        struct mark later = {true, 20, true, 4};
        assert_true(ledger_advance(&core->ledger, client, &later));
    }
    ledger_count(&core->ledger, LEDGER_NOBODY, 5);
    core->intake.accepted = 1234;
    core->intake.rejected[err_row(ERR_RANGE)] = 5;
    core->counters.value[COUNTER_RECEIVED_BYTES] = 99;
    core->counters.value[COUNTER_CONNECTIONS] = 3; /* a gauge: of this life alone */
    timing_add(&core->counters.loop_lag, 5000000);
}

void fill_core(struct core *core)
{
    struct str name;
    assert_int_equal(budgets_declare(core->budgets, &name), 0);
    fill_models(core);
    fill_metrics(core);
    fill_budgets(core);
    fill_ledger(core);
}
