#include "wire_recorder.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/name.h"
#include "base/num.h"
#include "wire_otlp.h"

void wire_require(bool holds, const char *condition, const char *file, int line)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
        abort();
    }
}

static void append(struct recorder *recorder, const char *bytes, size_t len)
{
    if (recorder->cap - recorder->len <= len) {
        recorder->cap = 2 * (recorder->cap + len + 1);
        recorder->text = realloc(recorder->text, recorder->cap);
        WIRE_REQUIRE(recorder->text != NULL);
    }
    memcpy(recorder->text + recorder->len, bytes, len);
    recorder->len += len;
    recorder->text[recorder->len] = '\0';
}

void recorder_print(struct recorder *recorder, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    WIRE_REQUIRE(len >= 0 && (size_t)len < sizeof text);
    append(recorder, text, (size_t)len);
}

void recorder_quote(struct recorder *recorder, struct str text)
{
    append(recorder, "\"", 1);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
            append(recorder, &c, 1);
        } else {
            recorder_print(recorder, "\\x%02x", (unsigned)(uint8_t)c);
        }
    }
    append(recorder, "\"", 1);
}

static void print_text(struct recorder *recorder, const char *name, struct str text)
{
    if (text.len > 0) {
        recorder_print(recorder, " %s=", name);
        recorder_quote(recorder, text);
    }
}

static void print_u64(struct recorder *recorder, const char *name, bool has, uint64_t number)
{
    if (has) {
        recorder_print(recorder, " %s=%llu", name, (unsigned long long)number);
    }
}

static void print_figure(struct recorder *recorder, const char *name, bool has, double figure)
{
    if (has) {
        char digits[NUM_DOUBLE_MAX];
        size_t len = num_write_double(digits, figure);
        recorder_print(recorder, " %s=%.*s", name, (int)len, digits);
    }
}

static void print_id(struct recorder *recorder, const char *name, bool has, const uint8_t *id,
                     size_t len)
{
    if (has) {
        recorder_print(recorder, " %s=", name);
        for (size_t i = 0; i < len; i++) {
            recorder_print(recorder, "%02x", (unsigned)id[i]);
        }
    }
}

static void print_mark(struct recorder *recorder, const struct mark *mark)
{
    print_u64(recorder, "sequence", mark->has_sequence, mark->sequence);
    print_u64(recorder, "dropped", mark->has_dropped, mark->dropped);
}

static void print_labels(struct recorder *recorder, const char *name, const struct label *labels,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        recorder_print(recorder, i == 0 ? " %s={" : " ", name);
        recorder_quote(recorder, labels[i].key);
        recorder_print(recorder, "=");
        recorder_quote(recorder, labels[i].value);
    }
    recorder_print(recorder, count > 0 ? "}" : "");
}

static void print_sample(struct recorder *recorder, const struct sample *sample)
{
    recorder_print(recorder, "sample ");
    recorder_quote(recorder, sample->model_name);
    print_u64(recorder, "ref", sample->model_ref != 0, sample->model_ref);
    print_figure(recorder, "execution_time_ms", true, sample->execution_time_ms);
#define FIGURE(part, member)                                                                       \
    print_figure(recorder, #member, SAMPLE_HAS(sample, part), sample->member)
    FIGURE(CPU_BEFORE, cpu_percent_before);
    FIGURE(CPU_DURING, cpu_percent_during);
    FIGURE(MEMORY_BEFORE, memory_mb_before);
    FIGURE(MEMORY_AFTER, memory_mb_after);
    FIGURE(BATCH_SIZE, batch_size);
    FIGURE(QUEUE, queue_ms);
    FIGURE(USER, user_ms);
    FIGURE(SYSTEM, system_ms);
    FIGURE(RUNQUEUE, runqueue_ms);
    FIGURE(MINOR_FAULTS, minor_faults);
    FIGURE(MAJOR_FAULTS, major_faults);
    FIGURE(SWITCHES, voluntary_switches);
    FIGURE(BYTES_MOVED, bytes_moved);
    FIGURE(FLOPS, flops);
    FIGURE(THREADS, threads);
    FIGURE(PROCESS_CPU, process_cpu_ms);
    FIGURE(INVOLUNTARY_SWITCHES, involuntary_switches);
    FIGURE(DISK_BYTES, disk_bytes);
#undef FIGURE
    print_u64(recorder, "thread_id", SAMPLE_HAS(sample, THREAD_ID), sample->thread_id);
    print_u64(recorder, "weight", SAMPLE_HAS(sample, WEIGHT), sample->weight);
    print_u64(recorder, "timestamp", SAMPLE_HAS(sample, TIMESTAMP), sample->timestamp_wall_ns);
    recorder_print(recorder, sample->error ? " error" : "");
    print_text(recorder, "error_text", sample->error_text);
    if (SAMPLE_HAS(sample, DEVICE)) {
        recorder_print(recorder, " device=");
        recorder_quote(recorder, sample->device);
    }
    print_id(recorder, "trace_id", SAMPLE_HAS(sample, TRACE_ID), sample->trace_id,
             sizeof sample->trace_id);
    print_id(recorder, "span_id", SAMPLE_HAS(sample, SPAN_ID), sample->span_id,
             sizeof sample->span_id);
    print_labels(recorder, "labels", sample->labels, sample->label_count);
    recorder_print(recorder, "\n");
}

/* Answers as `refuse` says, and remembers what has to come next. */
static int answer(struct recorder *recorder, size_t *count)
{
    if (recorder->refuse == 0) {
        ++*count;
    }
    recorder->owed = recorder->refuse != 0;
    return recorder->refuse;
}

static void on_batch(void *ctx, const struct batch *batch)
{
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    recorder->batches++;
    recorder_print(recorder, "batch");
    print_id(recorder, "client_id", batch->has_client_id, batch->client_id,
             sizeof batch->client_id);
    print_mark(recorder, &batch->mark);
    print_text(recorder, "constitutional_hash", batch->constitutional_hash);
    recorder_print(recorder, "\n");
}

static int on_sample(void *ctx, const struct sample *sample)
{
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    WIRE_REQUIRE(sample->label_count <= RECORD_LABELS_MAX);
    WIRE_REQUIRE(sample->has < 1U << SAMPLE_PART_COUNT);
    WIRE_REQUIRE(sample->execution_time_ms >= 0 && sample->execution_time_ms <= RECORD_MS_MAX);
    print_sample(recorder, sample);
    return answer(recorder, &recorder->accepted);
}

static bool is_amount(double value)
{
    return value >= -RECORD_AMOUNT_MAX && value <= RECORD_AMOUNT_MAX;
}

static void require_metric(const struct metric *metric)
{
    WIRE_REQUIRE(metric->name.len >= 1 && metric->name.len <= RECORD_NAME_MAX);
    WIRE_REQUIRE(metric->op < METRIC_OP_COUNT && metric->aggregation < AGGREGATION_COUNT);
    WIRE_REQUIRE(metric->attribute_count <= RECORD_ATTRIBUTES_MAX);
    WIRE_REQUIRE(metric->weight >= 1 && metric->weight <= RECORD_WEIGHT_MAX);
    WIRE_REQUIRE(metric->op == METRIC_OBSERVE || metric->weight == 1);
    WIRE_REQUIRE(metric->op == METRIC_SET || metric->op == METRIC_INFO || is_amount(metric->value));
    WIRE_REQUIRE(metric->op != METRIC_COUNT || metric->value >= 0);
    WIRE_REQUIRE(metric->unit.len <= RECORD_UNIT_MAX);
    if (metric->op == METRIC_MEMBER) {
        WIRE_REQUIRE(metric->member.len >= 1 && metric->member.len <= RECORD_NAME_MAX);
        WIRE_REQUIRE(name_is_text(metric->member));
        WIRE_REQUIRE(metric->spelling.format == SPELLING_NONE);
    }
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        const struct label *attribute = &metric->attributes[i];
        WIRE_REQUIRE(attribute->key.len >= 1 && attribute->key.len <= RECORD_NAME_MAX);
        WIRE_REQUIRE(attribute->value.len <= RECORD_VALUE_MAX);
    }
}

static int on_metric(void *ctx, const struct metric *metric)
{
    static const char *const ops[] = {"count", "set", "add", "observe", "info", "member"};
    _Static_assert(sizeof ops / sizeof ops[0] == METRIC_OP_COUNT, "a word each");
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    require_metric(metric);
    recorder_print(recorder, "%s ", ops[metric->op]);
    recorder_quote(recorder, metric->name);
    print_figure(recorder, "value", metric->op != METRIC_INFO && metric->op != METRIC_MEMBER,
                 metric->value);
    print_text(recorder, "member", metric->op == METRIC_MEMBER ? metric->member : (struct str){0});
    print_u64(recorder, "weight", metric->weight != 1, metric->weight);
    print_text(recorder, "unit", metric->unit);
    if (metric->aggregation != AGGREGATION_UNSAID) {
        recorder_print(recorder, " aggregation=%s", aggregation_names[metric->aggregation]);
    }
    print_u64(recorder, "timestamp", (metric->has & METRIC_HAS_TIMESTAMP) != 0,
              metric->timestamp_wall_ns);
    print_id(recorder, "trace_id", (metric->has & METRIC_HAS_TRACE_ID) != 0, metric->trace_id,
             sizeof metric->trace_id);
    print_id(recorder, "span_id", (metric->has & METRIC_HAS_SPAN_ID) != 0, metric->span_id,
             sizeof metric->span_id);
    print_labels(recorder, "attributes", metric->attributes, metric->attribute_count);
    recorder_print(recorder, "\n");
    return answer(recorder, &recorder->accepted);
}

static void require_span(const struct span *span)
{
    WIRE_REQUIRE(span->name.len >= 1 && span->name.len <= RECORD_NAME_MAX);
    WIRE_REQUIRE(span->part < SPAN_PART_COUNT && span->status < SPAN_STATUS_COUNT);
    WIRE_REQUIRE(span->kind <= SPAN_KIND_MAX);
    WIRE_REQUIRE(span->attribute_count <= SPAN_ATTRIBUTES_MAX);
    WIRE_REQUIRE(span->event_count <= SPAN_EVENTS_MAX && span->link_count <= SPAN_LINKS_MAX);
    WIRE_REQUIRE(span->start_wall_ns <= INT64_MAX && span->end_wall_ns <= INT64_MAX);
    WIRE_REQUIRE(span->part == SPAN_END || span->start_wall_ns > 0);
    WIRE_REQUIRE(span->part == SPAN_START || span->end_wall_ns >= span->start_wall_ns);
}

static void print_attributes(struct recorder *recorder, const struct span *span)
{
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        const struct span_attribute *attribute = &span->attributes[i];
        recorder_print(recorder, i == 0 ? " attributes={" : " ");
        wire_print_attribute(recorder, attribute->field, 9);
        WIRE_REQUIRE(attribute->key.len > 0);
        wire_require_attribute(attribute);
    }
    recorder_print(recorder, span->attribute_count > 0 ? "}" : "");
}

static void print_children(struct recorder *recorder, const char *name,
                           const struct span_child *children, uint32_t count, bool are_links)
{
    for (uint32_t i = 0; i < count; i++) {
        recorder_print(recorder, i == 0 ? " %s=[" : " ", name);
        wire_print_child(recorder, &children[i], are_links);
    }
    recorder_print(recorder, count > 0 ? "]" : "");
}

static int on_span(void *ctx, const struct span *span)
{
    static const char *const parts[] = {"span", "span_start", "span_end"};
    static const char *const statuses[] = {"", " status=ok", " status=error"};
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    require_span(span);
    recorder_print(recorder, "%s ", parts[span->part]);
    recorder_quote(recorder, span->name);
    print_id(recorder, "trace_id", true, span->trace_id, sizeof span->trace_id);
    print_id(recorder, "span_id", true, span->span_id, sizeof span->span_id);
    print_id(recorder, "parent", !span_is_root(span), span->parent_id, sizeof span->parent_id);
    print_text(recorder, "trace_state", span->trace_state);
    print_u64(recorder, "kind", span->kind != 0, span->kind);
    print_u64(recorder, "flags", span->has_flags, span->flags);
    print_u64(recorder, "start", span->start_wall_ns != 0, span->start_wall_ns);
    print_u64(recorder, "end", span->end_wall_ns != 0, span->end_wall_ns);
    recorder_print(recorder, "%s", statuses[span->status]);
    print_text(recorder, "message", span->status_message);
    print_text(recorder, "service_name", span->service_name);
    print_attributes(recorder, span);
    print_children(recorder, "events", span->events, span->event_count, false);
    print_children(recorder, "links", span->links, span->link_count, true);
    print_u64(recorder, "dropped_attributes", span->dropped_attributes > 0,
              span->dropped_attributes);
    print_u64(recorder, "dropped_events", span->dropped_events > 0, span->dropped_events);
    print_u64(recorder, "dropped_links", span->dropped_links > 0, span->dropped_links);
    recorder_print(recorder, "\n");
    return answer(recorder, &recorder->accepted);
}

static int on_budget(void *ctx, const struct budget *budget)
{
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    WIRE_REQUIRE(budget->elapsed_ms >= 0 && budget->elapsed_ms <= RECORD_MS_MAX);
    WIRE_REQUIRE(budget->operation.len <= RECORD_NAME_MAX);
    WIRE_REQUIRE(budget->request_id.len <= RECORD_NAME_MAX);
    recorder_print(recorder, "budget ");
    recorder_quote(recorder, budget->layer);
    print_figure(recorder, "elapsed_ms", true, budget->elapsed_ms);
    print_figure(recorder, "before_ms", (budget->has & BUDGET_HAS_BEFORE) != 0, budget->before_ms);
    print_text(recorder, "operation", budget->operation);
    print_text(recorder, "request_id", budget->request_id);
    print_u64(recorder, "timestamp", (budget->has & BUDGET_HAS_TIMESTAMP) != 0,
              budget->timestamp_wall_ns);
    print_id(recorder, "trace_id", (budget->has & BUDGET_HAS_TRACE_ID) != 0, budget->trace_id,
             sizeof budget->trace_id);
    print_id(recorder, "span_id", (budget->has & BUDGET_HAS_SPAN_ID) != 0, budget->span_id,
             sizeof budget->span_id);
    print_u64(recorder, "flags", (budget->has & BUDGET_HAS_FLAGS) != 0, budget->flags);
    recorder_print(recorder, "\n");
    return answer(recorder, &recorder->accepted);
}

static int on_hello(void *ctx, const struct hello *hello, const struct mark *mark)
{
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    recorder_print(recorder, "hello");
    print_text(recorder, "service_name", hello->service_name);
    print_text(recorder, "service_version", hello->service_version);
    print_text(recorder, "constitutional_hash", hello->constitutional_hash);
    print_text(recorder, "client", hello->client);
    print_u64(recorder, "pid", hello->pid != 0, hello->pid);
    print_id(recorder, "client_id", hello->has_client_id, hello->client_id,
             sizeof hello->client_id);
    if (hello->acknowledge) {
        recorder_print(recorder, " acknowledge");
    }
    print_mark(recorder, mark);
    recorder_print(recorder, "\n");
    return answer(recorder, &recorder->controls);
}

static int on_mark(struct recorder *recorder, const char *name, const struct mark *mark)
{
    recorder_check(recorder);
    recorder_print(recorder, "%s", name);
    print_mark(recorder, mark);
    recorder_print(recorder, "\n");
    return answer(recorder, &recorder->controls);
}

static int on_flush(void *ctx, const struct mark *mark)
{
    return on_mark(ctx, "flush", mark);
}

static int on_goodbye(void *ctx, const struct mark *mark)
{
    return on_mark(ctx, "goodbye", mark);
}

static void on_reject(void *ctx, const struct rejection *rejection)
{
    struct recorder *recorder = ctx;
    WIRE_REQUIRE(recorder->owed == 0 || recorder->refuse == rejection->err);
    recorder->owed -= recorder->owed > 0;
    recorder->rejected++;
    recorder_print(recorder, "reject %s", err_label(rejection->err));
    print_text(recorder, "key", rejection->key);
    print_text(recorder, "near", rejection->near);
    print_u64(recorder, "line", rejection->line != 0, rejection->line);
    recorder_print(recorder, rejection->control ? " control\n" : "\n");
}

static void on_unknown_key(void *ctx, struct str key)
{
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    recorder->unknown++;
    recorder_print(recorder, "unknown ");
    recorder_quote(recorder, key);
    recorder_print(recorder, "\n");
}

static void on_ignored(void *ctx, enum ignored what)
{
    static const char *const words[] = {"event", "check"};
    _Static_assert(sizeof words / sizeof words[0] == IGNORED_COUNT, "a word each");
    struct recorder *recorder = ctx;
    recorder_check(recorder);
    recorder->ignored++;
    recorder_print(recorder, "ignored %s\n", words[what]);
}

static unsigned on_briefs(void *ctx, const struct brief *briefs, unsigned count, int *ret_errs)
{
    struct recorder *recorder = ctx;
    unsigned owed = 0;
    unsigned refused = 0;
    for (unsigned i = 0; i < count; i++) {
        struct sample sample = record_sample(&briefs[i]);
        ret_errs[i] = on_sample(ctx, &sample);
        refused += ret_errs[i] != 0;
        owed += recorder->owed;
        recorder->owed = 0;
    }
    recorder->owed = owed;
    return refused;
}

static unsigned on_budgets(void *ctx, const struct budget *budgets, unsigned count, int *ret_errs)
{
    struct recorder *recorder = ctx;
    unsigned owed = 0;
    unsigned refused = 0;
    WIRE_REQUIRE(count > 0 && count <= RECORD_BUDGETS_MAX);
    for (unsigned i = 0; i < count; i++) {
        ret_errs[i] = on_budget(ctx, &budgets[i]);
        refused += ret_errs[i] != 0;
        owed += recorder->owed;
        recorder->owed = 0;
    }
    recorder->owed = owed;
    return refused;
}

void recorder_init(struct recorder *recorder)
{
    *recorder = (struct recorder){
        .sink = {.ctx = recorder,
                 .batch = on_batch,
                 .sample = on_sample,
                 .briefs = on_briefs,
                 .metric = on_metric,
                 .span = on_span,
                 .budget = on_budget,
                 .budgets = on_budgets,
                 .hello = on_hello,
                 .flush = on_flush,
                 .goodbye = on_goodbye,
                 .reject = on_reject,
                 .unknown_key = on_unknown_key,
                 .ignored = on_ignored},
    };
    append(recorder, "", 0);
}

void recorder_fini(struct recorder *recorder)
{
    free(recorder->text);
    recorder->text = NULL;
}

void recorder_clear(struct recorder *recorder)
{
    recorder->len = 0;
    recorder->text[0] = '\0';
    recorder->batches = 0;
    recorder->accepted = 0;
    recorder->controls = 0;
    recorder->rejected = 0;
    recorder->unknown = 0;
    recorder->ignored = 0;
    recorder->owed = 0;
}

void recorder_check(const struct recorder *recorder)
{
    WIRE_REQUIRE(recorder->owed == 0);
}
