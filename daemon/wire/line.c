/*
 * Happy path:
 *   1. read_object goes through the object once: a key is looked up in the key table, its row says
 *      how the value is read and where it goes;
 *
 *          {"model_name": "resnet50", "execution_time_ms": 12.5, "host": "a1"}
 *           ^^^^^^^^^^^^  row NAME     row FIGURE                 no row: noted and skipped
 *
 *   2. unknown keys are told, then the record is handed to the sink.
 *
 * A line is read as a sample until its `type` says otherwise: it is then read once more as that.
 *
 * What can fail, through sink->reject: the text is no JSON object or goes past a ceiling (reading
 * stops there); a value is wrong (the first one is noted, reading goes on, since the rest may show
 * that the text is no JSON); a required key is missing; the sink refuses.
 */
#include "wire/line.h"

#include "base/err.h"
#include "base/num.h"
#include "wire/expects.h"
#include "wire/line_reader.h"
#include "wire/line_skip.h"
#include "wire/line_span.h"
#include "wire/line_value.h"

enum {
    KEEP_BYTES = 4096, /* scratch above it is given back after the line */
    NEAR_DISTANCE = 3, /* edits between a key and what may be meant by it */
    NEAR_KEYS = 16,    /* unknown keys of a line that are tried, so that a bad line stays cheap */
};

static const struct str type_names[] = {
#define X(type, name) {name, sizeof name - 1},
    TYPES(X)
#undef X
};
_Static_assert(sizeof type_names / sizeof type_names[0] == TYPE_COUNT, "a name for each type");

/*
 * The keys: name, kind, types, part, place in struct reader, and a ceiling: the largest figure or
 * integer, the bytes of an id, or the most bytes of a text. The ones that most lines have stand first,
 * since the search begins there.
 */
#define KEY_TABLE(X)                                                                               \
    X(model_name, NAME, OF_SAMPLE, PART_MODEL_NAME, sample.model_name, 0)                          \
    X(execution_time_ms, FIGURE, OF_SAMPLE, PART_EXECUTION_TIME, sample.execution_time_ms,         \
      RECORD_MS_MAX)                                                                               \
    X(cpu_percent_during, FIGURE, OF_SAMPLE, SAMPLE_CPU_DURING, sample.cpu_percent_during,         \
      RECORD_PERCENT_MAX)                                                                          \
    X(memory_mb_after, FIGURE, OF_SAMPLE, SAMPLE_MEMORY_AFTER, sample.memory_mb_after,             \
      RECORD_MB_MAX)                                                                               \
    X(type, TYPE, OF_ALL, PART_ANY, type, 0)                                                       \
    X(error, ERROR, OF_SAMPLE, PART_ANY, sample.error, 0)                                          \
    X(labels, LABELS, OF_SAMPLE, PART_ANY, sample.labels, 0)                                       \
    X(device, NAME, OF_SAMPLE, SAMPLE_DEVICE, sample.device, 0)                                    \
    X(timestamp, TIMESTAMP, OF_SAMPLE | OF_AMOUNT | OF_BUDGET, SAMPLE_TIMESTAMP,                   \
      sample.timestamp_wall_ns, 0)                                                                 \
    X(trace_id, ID, OF_TRACED, SAMPLE_TRACE_ID, sample.trace_id, RECORD_TRACE_ID_BYTES)            \
    X(span_id, ID, OF_TRACED, SAMPLE_SPAN_ID, sample.span_id, RECORD_SPAN_ID_BYTES)                \
    X(cpu_percent_before, FIGURE, OF_SAMPLE, SAMPLE_CPU_BEFORE, sample.cpu_percent_before,         \
      RECORD_PERCENT_MAX)                                                                          \
    X(memory_mb_before, FIGURE, OF_SAMPLE, SAMPLE_MEMORY_BEFORE, sample.memory_mb_before,          \
      RECORD_MB_MAX)                                                                               \
    X(queue_ms, FIGURE, OF_SAMPLE, SAMPLE_QUEUE, sample.queue_ms, RECORD_MS_MAX)                   \
    X(batch_size, FIGURE, OF_SAMPLE, SAMPLE_BATCH_SIZE, sample.batch_size, RECORD_COUNT_MAX)       \
    X(user_ms, FIGURE, OF_SAMPLE, SAMPLE_USER, sample.user_ms, RECORD_MS_MAX)                      \
    X(system_ms, FIGURE, OF_SAMPLE, SAMPLE_SYSTEM, sample.system_ms, RECORD_MS_MAX)                \
    X(runqueue_ms, FIGURE, OF_SAMPLE, SAMPLE_RUNQUEUE, sample.runqueue_ms, RECORD_MS_MAX)          \
    X(minor_faults, FIGURE, OF_SAMPLE, SAMPLE_MINOR_FAULTS, sample.minor_faults, RECORD_COUNT_MAX) \
    X(major_faults, FIGURE, OF_SAMPLE, SAMPLE_MAJOR_FAULTS, sample.major_faults, RECORD_COUNT_MAX) \
    X(voluntary_switches, FIGURE, OF_SAMPLE, SAMPLE_SWITCHES, sample.voluntary_switches,           \
      RECORD_COUNT_MAX)                                                                            \
    X(bytes_moved, FIGURE, OF_SAMPLE, SAMPLE_BYTES_MOVED, sample.bytes_moved, RECORD_COUNT_MAX)    \
    X(flops, FIGURE, OF_SAMPLE, SAMPLE_FLOPS, sample.flops, RECORD_COUNT_MAX)                      \
    X(threads, FIGURE, OF_SAMPLE, SAMPLE_THREADS, sample.threads, RECORD_COUNT_MAX)                \
    X(process_cpu_ms, FIGURE, OF_SAMPLE, SAMPLE_PROCESS_CPU, sample.process_cpu_ms, RECORD_MS_MAX) \
    X(involuntary_switches, FIGURE, OF_SAMPLE, SAMPLE_INVOLUNTARY_SWITCHES,                        \
      sample.involuntary_switches, RECORD_COUNT_MAX)                                               \
    X(disk_bytes, FIGURE, OF_SAMPLE, SAMPLE_DISK_BYTES, sample.disk_bytes, RECORD_COUNT_MAX)       \
    X(thread_id, INTEGER, OF_SAMPLE, SAMPLE_THREAD_ID, sample.thread_id, RECORD_THREAD_ID_MAX)     \
    X(name, NAME, OF_METRIC | OF_SPAN, PART_NAME, metric.name, 0)                                  \
    X(value, VALUE, OF_AMOUNT, PART_VALUE, metric.value, RECORD_AMOUNT_MAX)                        \
    X(delta, DELTA, OF_GAUGE, PART_DELTA, metric.value, RECORD_AMOUNT_MAX)                         \
    X(attributes, ATTRIBUTES, OF_METRIC | OF_SPAN, PART_ANY, metric.attributes, 0)                 \
    X(unit, TEXT, OF_AMOUNT, PART_ANY, metric.unit, RECORD_UNIT_MAX)                               \
    X(aggregation, AGGREGATION, OF_GAUGE, PART_ANY, metric.aggregation, 0)                         \
    X(start_time_unix_nano, INTEGER, OF_SPAN, PART_START_TIME, span.start_wall_ns, 0)              \
    X(end_time_unix_nano, INTEGER, OF_ENDED, PART_END_TIME, span.end_wall_ns, 0)                   \
    X(parent_span_id, ID, OF_SPAN, PART_ANY, span.parent_id, RECORD_SPAN_ID_BYTES)                 \
    X(kind, SPAN_KIND, OF_SPAN, PART_ANY, span.kind, 0)                                            \
    X(status, STATUS, OF_SPAN, PART_ANY, span.status, 0)                                           \
    X(events, EVENTS, OF_SPAN, PART_ANY, span.events, 0)                                           \
    X(links, LINKS, OF_SPAN, PART_ANY, span.links, 0)                                              \
    X(trace_state, TEXT, OF_SPAN, PART_ANY, span.trace_state, SPAN_STATE_MAX)                      \
    X(sampled, SAMPLED, OF_SPAN | OF_BUDGET, PART_ANY, span.flags, 0)                              \
    X(service_name, TEXT, OF_HELLO | OF_SPAN, PART_ANY, hello.service_name, RECORD_NAME_MAX)       \
    X(service_version, TEXT, OF_HELLO, PART_ANY, hello.service_version, RECORD_NAME_MAX)           \
    X(pid, INTEGER, OF_HELLO, PART_ANY, hello.pid, 0)                                              \
    X(constitutional_hash, TEXT, OF_HELLO, PART_ANY, hello.constitutional_hash, RECORD_NAME_MAX)   \
    X(client, TEXT, OF_HELLO, PART_ANY, hello.client, RECORD_NAME_MAX)                             \
    X(client_id, ID, OF_HELLO, PART_CLIENT_ID, hello.client_id, RECORD_CLIENT_ID_BYTES)            \
    X(acknowledge, FLAG, OF_HELLO, PART_ANY, hello.acknowledge, 0)                                 \
    X(sequence, INTEGER, OF_CONTROL, PART_SEQUENCE, mark.sequence, 0)                              \
    X(dropped, INTEGER, OF_CONTROL, PART_DROPPED, mark.dropped, 0)                                 \
    X(layer, NAME, OF_BUDGET, PART_LAYER, budget.layer, 0)                                         \
    X(elapsed_ms, FIGURE, OF_BUDGET, PART_ELAPSED, budget.elapsed_ms, RECORD_MS_MAX)               \
    X(before_ms, FIGURE, OF_BUDGET, PART_BEFORE, budget.before_ms, RECORD_MS_MAX)                  \
    X(operation, TEXT, OF_BUDGET, PART_ANY, budget.operation, RECORD_NAME_MAX)                     \
    X(request_id, TEXT, OF_BUDGET, PART_ANY, budget.request_id, RECORD_NAME_MAX)

enum {
#define X(name, kind, types, part, place, max) KEY_##name,
    KEY_TABLE(X) KEY_COUNT
#undef X
};
_Static_assert(KEY_COUNT <= 64, "rows are bits of a uint64_t");
_Static_assert((int)KEY_COUNT < (int)LINE_KEYS_MAX,
               "a guess for each row and one for the beginning");

static const struct key keys[] = {
#define X(name, kind, types, part, place, max)                                                     \
    {{#name, sizeof #name - 1}, KIND_##kind, types, BIT(part), offsetof(struct reader, place), max},
    KEY_TABLE(X)
#undef X
};

/* The row of a key, or KEY_COUNT. */
static unsigned find_key(struct str text)
{
#define X(name, kind, types, part, place, max)                                                     \
    if (text.len == sizeof #name - 1 && memcmp(text.ptr, #name, sizeof #name - 1) == 0) {          \
        return KEY_##name;                                                                         \
    }
    KEY_TABLE(X)
#undef X
    return KEY_COUNT;
}

/* Values of known keys */

static inline int read_figure(struct reader *reader, const struct key *key)
{
    if (!reader_at_number(reader)) {
        return line_skip_wrong_type(reader, 0);
    }
    double figure = 0;
    int err = 0;
    const char *after = num_scan_usual(reader->in.at, reader->in.end, &figure);
    if (after != NULL) {
        reader->in.at = after;
    } else {
        err = num_scan_double(&reader->in.at, reader->in.end, &figure);
    }
    if (err == ERR_SYNTAX) {
        return reader_fail(reader, err, reader->key);
    }
    if (err != 0 || !(figure >= 0 && figure <= key->max)) {
        reader_note(reader, ERR_RANGE);
        return 0;
    }
    /* Adding 0 makes -0 a 0: its sign bit would mislead the histogram. */
    *(double *)reader_place(reader, key) = figure + 0.0;
    reader->has |= key->bit;
    return 0;
}

/* Not by line_read_text: a text that a call returns through memory, in halves, is slow to read back as
 * a whole. */
static int read_name(struct reader *reader, const struct key *key)
{
    if (*reader->in.at != '"') {
        return line_skip_wrong_type(reader, 0);
    }
    struct str text = {NULL, 0};
    reader->in.at++;
    int err = reader_read_text(reader, &text);
    if (err != 0) {
        return err;
    }
    if (text.len == 0 || text.len > RECORD_NAME_MAX || reader->in.zero) {
        reader_note(reader, ERR_NAME);
        return 0;
    }
    *(struct str *)reader_place(reader, key) = text;
    reader->has |= key->bit;
    return 0;
}

/* The word of a list that is nearest to a text and near enough, or an empty one. */
static struct str find_near(struct str text, const struct str *words, size_t count)
{
    struct str near = {NULL, 0};
    size_t best = NEAR_DISTANCE + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = str_distance(text, words[i], NEAR_DISTANCE);
        if (distance < best && distance < text.len) {
            best = distance;
            near = words[i];
        }
    }
    return near;
}

enum { READ_AGAIN = 1 }; /* the line is of another type than thought */

static int read_type(struct reader *reader)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text || str_equal(text, type_names[reader->type])) {
        return err;
    }
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (str_equal(text, type_names[i])) {
            reader->type = (enum type)i;
            return READ_AGAIN;
        }
    }
    (void)reader_fail(reader, ERR_UNKNOWN_TYPE, text); /* the code is known here */
    reader->rejection.near = find_near(text, type_names, TYPE_COUNT);
    return ERR_UNKNOWN_TYPE;
}

/* Objects */

static inline int read_value(struct reader *reader, const struct key *key)
{
    if (key->kind == KIND_FIGURE && reader_at_number(reader)) {
        return read_figure(reader, key);
    }
    if (lexer_take_word(&reader->in, STR_LITERAL("null"))) {
        return 0;
    }
    if (key->kind == KIND_NAME) {
        return read_name(reader, key);
    }
    if (key->kind == KIND_TYPE) {
        return read_type(reader);
    }
    return ((OF_SPAN | OF_BUDGET) & 1U << reader->type) != 0 ? line_span_read(reader, key)
                                                             : line_read_value(reader, key);
}

static int read_unknown(struct reader *reader)
{
    if (reader->in.zero) {
        reader_note(reader, ERR_RANGE);
    }
    int err = line_add_unknown(reader, 0, reader->key);
    if (err == 0) {
        err = reader_skip_colon(reader);
    }
    return err != 0 ? err : line_skip_value(reader, 0);
}

/* Peers write the keys of their lines in the same order, so the key that last came after this one is
 * tried before a search. Returns its row, or KEY_COUNT. */
static inline unsigned guess_key(struct reader *reader)
{
    unsigned row = reader->memory->follows[reader->last];
    const struct key *key = &keys[row];
    size_t len = key->name.len;
    if ((size_t)(reader->in.end - reader->in.at) <= len ||
        !str_same(reader->in.at, key->name.ptr, len) || reader->in.at[len] != '"') {
        return KEY_COUNT;
    }
    reader->in.at += len + 1;
    reader->key = key->name;
    reader->in.zero = false;
    return row;
}

static inline int read_member(struct reader *reader)
{
    if (*reader->in.at != '"') {
        return reader_fail(reader, ERR_SYNTAX, (struct str){NULL, 0});
    }
    reader->in.at++;
    int err = 0;
    unsigned row = guess_key(reader);
    if (row == KEY_COUNT) {
        err = reader_read_text(reader, &reader->key);
        if (err != 0) {
            return err;
        }
        row = find_key(reader->key);
        if (row != KEY_COUNT) {
            reader->memory->follows[reader->last] = (uint8_t)row;
        }
    }
    if (row == KEY_COUNT || (keys[row].types & 1U << reader->type) == 0) {
        return read_unknown(reader);
    }
    reader->last = (uint8_t)(row + 1);
    if ((reader->seen & UINT64_C(1) << row) != 0) {
        return reader_fail(reader, ERR_DUPLICATE_KEY, reader->key);
    }
    reader->seen |= UINT64_C(1) << row;
    err = reader_skip_colon(reader);
    return err != 0 ? err : read_value(reader, &keys[row]);
}

static void reset(struct reader *reader, const char *at, const char *newline)
{
    lexer_start(&reader->in, at, newline, &reader->memory->scratch);
    reader->last = 0;
    reader->seen = 0;
    reader->has = 0;
    reader->key = (struct str){NULL, 0};
    reader->rejection = (struct rejection){.err = 0};
    reader->noted = 0;
    reader->unknown_count = 0;
    reader->sample.error = false;
    reader->sample.error_text = (struct str){NULL, 0};
    reader->sample.label_count = 0;
    if ((OF_METRIC & 1U << reader->type) != 0) {
        reader->metric.unit = (struct str){NULL, 0};
        reader->metric.aggregation = AGGREGATION_UNSAID;
        reader->metric.attribute_count = 0;
    } else if ((OF_SPAN & 1U << reader->type) != 0) {
        line_span_reset(reader);
    } else if (reader->type == TYPE_BUDGET) {
        reader->budget = (struct budget){.elapsed_ms = 0};
        reader->span.has_flags = false;
        reader->span.flags = 0;
    } else if (reader->type != TYPE_SAMPLE) {
        reader->hello = (struct hello){.pid = 0};
        reader->mark = (struct mark){.sequence = 0};
    }
}

/* The object at reader->in.at, and nothing but blanks after it. Returns 0, a code, or READ_AGAIN. */
static int read_object(struct reader *reader)
{
    if (*reader->in.at != '{') {
        return reader_fail(reader, ERR_SYNTAX, (struct str){NULL, 0});
    }
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == '}';
    if (closed) {
        reader->in.at++;
        lexer_skip_blanks(&reader->in);
    }
    while (!closed) {
        int err = read_member(reader);
        if (err == 0) {
            err = reader_skip_separator(reader, '}', &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    return reader->in.at == reader->in.end ? 0
                                           : reader_fail(reader, ERR_SYNTAX, (struct str){NULL, 0});
}

/* Records */

static int miss(struct reader *reader, int row)
{
    struct str name = keys[row].name;
    (void)reader_fail(reader, ERR_MISSING_KEY, name); /* the code is known here */
    size_t count = reader->unknown_count < NEAR_KEYS ? reader->unknown_count : NEAR_KEYS;
    reader->rejection.near = find_near(name, reader->unknown, count);
    return ERR_MISSING_KEY;
}

/* The key that a sample must have and has not; 0 when it has both. */
static int check_sample(struct reader *reader)
{
    if ((reader->has & BIT(PART_MODEL_NAME)) == 0) {
        return miss(reader, KEY_model_name);
    }
    if ((reader->has & BIT(PART_EXECUTION_TIME)) == 0) {
        return miss(reader, KEY_execution_time_ms);
    }
    return 0;
}

static int deliver_sample(struct reader *reader, const struct record_sink *sink)
{
    int err = check_sample(reader);
    if (err != 0) {
        return err;
    }
    reader->sample.has = reader->has & SAMPLE_PARTS;
    reader->sample.model_ref = 0;
    return sink->sample(sink->ctx, &reader->sample);
}

/* The key that a metric must have and has not, or the one that stands for the other; 0 when it has
 * all. */
static int check_metric(struct reader *reader)
{
    if ((reader->has & BIT(PART_NAME)) == 0) {
        return miss(reader, KEY_name);
    }
    if (reader->type == TYPE_INFO) {
        return reader->metric.attribute_count > 0 ? 0 : miss(reader, KEY_attributes);
    }
    uint32_t amounts = reader->has & (BIT(PART_VALUE) | BIT(PART_DELTA));
    if (amounts == (BIT(PART_VALUE) | BIT(PART_DELTA))) {
        return reader_fail(reader, ERR_DUPLICATE_KEY, keys[KEY_delta].name);
    }
    return amounts != 0 ? 0 : miss(reader, KEY_value);
}

static enum metric_op op_of(const struct reader *reader)
{
    switch (reader->type) {
    case TYPE_COUNTER:
        return METRIC_COUNT;
    case TYPE_HISTOGRAM:
        return METRIC_OBSERVE;
    case TYPE_INFO:
        return METRIC_INFO;
    default:
        return (reader->has & BIT(PART_DELTA)) != 0 ? METRIC_ADD : METRIC_SET;
    }
}

/* Timestamp and ids, which were read as those of a sample. */
static void take_shared_parts(struct reader *reader)
{
    struct metric *metric = &reader->metric;
    const struct sample *sample = &reader->sample;
    metric->has = 0;
    if ((reader->has & BIT(SAMPLE_TIMESTAMP)) != 0) {
        metric->has |= METRIC_HAS_TIMESTAMP;
        metric->timestamp_wall_ns = sample->timestamp_wall_ns;
    }
    if ((reader->has & BIT(SAMPLE_TRACE_ID)) != 0) {
        metric->has |= METRIC_HAS_TRACE_ID;
        memcpy(metric->trace_id, sample->trace_id, sizeof metric->trace_id);
    }
    if ((reader->has & BIT(SAMPLE_SPAN_ID)) != 0) {
        metric->has |= METRIC_HAS_SPAN_ID;
        memcpy(metric->span_id, sample->span_id, sizeof metric->span_id);
    }
}

static int deliver_metric(struct reader *reader, const struct record_sink *sink)
{
    int err = check_metric(reader);
    if (err != 0) {
        return err;
    }
    struct metric *metric = &reader->metric;
    metric->op = op_of(reader);
    metric->weight = 1;
    metric->spelling = (struct spelling){.format = SPELLING_NONE};
    take_shared_parts(reader);
    err = sink->metric(sink->ctx, metric);
    return err == 0 ? 0 : reader_fail(reader, err, metric->name); /* the name is what to look at */
}

/* What was read as that of a sample or a span. */
static void take_budget_parts(struct reader *reader)
{
    struct budget *budget = &reader->budget;
    const struct sample *sample = &reader->sample;
    if ((reader->has & BIT(SAMPLE_TIMESTAMP)) != 0) {
        budget->has |= BUDGET_HAS_TIMESTAMP;
        budget->timestamp_wall_ns = sample->timestamp_wall_ns;
    }
    if ((reader->has & BIT(SAMPLE_TRACE_ID)) != 0) {
        budget->has |= BUDGET_HAS_TRACE_ID;
        memcpy(budget->trace_id, sample->trace_id, sizeof budget->trace_id);
    }
    if ((reader->has & BIT(SAMPLE_SPAN_ID)) != 0) {
        budget->has |= BUDGET_HAS_SPAN_ID;
        memcpy(budget->span_id, sample->span_id, sizeof budget->span_id);
    }
    if ((reader->has & BIT(PART_BEFORE)) != 0) {
        budget->has |= BUDGET_HAS_BEFORE;
    }
    if (reader->span.has_flags) {
        budget->has |= BUDGET_HAS_FLAGS;
        budget->flags = reader->span.flags;
    }
}

static int deliver_budget(struct reader *reader, const struct record_sink *sink)
{
    if ((reader->has & BIT(PART_LAYER)) == 0) {
        return miss(reader, KEY_layer);
    }
    if ((reader->has & BIT(PART_ELAPSED)) == 0) {
        return miss(reader, KEY_elapsed_ms);
    }
    take_budget_parts(reader);
    return sink->budget(sink->ctx, &reader->budget);
}

/* Hands over what was read; 0 or why it was refused. */
static int deliver(struct reader *reader, const struct record_sink *sink)
{
    if (reader->type == TYPE_SAMPLE) {
        return deliver_sample(reader, sink);
    }
    if ((OF_METRIC & 1U << reader->type) != 0) {
        return deliver_metric(reader, sink);
    }
    if ((OF_SPAN & 1U << reader->type) != 0) {
        return line_span_deliver(reader, sink);
    }
    if (reader->type == TYPE_BUDGET) {
        return deliver_budget(reader, sink);
    }
    reader->mark.has_sequence = (reader->has & BIT(PART_SEQUENCE)) != 0;
    reader->mark.has_dropped = (reader->has & BIT(PART_DROPPED)) != 0;
    if (reader->type == TYPE_FLUSH) {
        return sink->flush(sink->ctx, &reader->mark);
    }
    if (reader->type == TYPE_GOODBYE) {
        return sink->goodbye(sink->ctx, &reader->mark);
    }
    reader->hello.has_client_id = (reader->has & BIT(PART_CLIENT_ID)) != 0;
    return sink->hello(sink->ctx, &reader->hello, &reader->mark);
}

/* --- usual samples ----------------------------------------------------------------------------- */

/* What the key of a wrong value takes; of a key within that value nothing. */
static struct str say_expected(const struct reader *reader, char words[EXPECTS_BYTES])
{
    const struct rejection *rejection = &reader->rejection;
    bool is_value = rejection->err == ERR_WRONG_TYPE || rejection->err == ERR_RANGE;
    if (!is_value || reader->noted == 0) {
        return (struct str){NULL, 0};
    }
    const struct key *key = &keys[reader->noted - 1];
    return str_equal(rejection->key, key->name) ? expects_say(key->kind, key->max, words)
                                                : (struct str){NULL, 0};
}

static void reject_line(struct rejection rejection, uint64_t line, const struct record_sink *sink)
{
    rejection.line = line;
    sink->reject(sink->ctx, &rejection);
}

static void flush_budgets(struct line_batch *batch, const struct record_sink *sink)
{
    int errs[RECORD_BUDGETS_MAX];
    unsigned refused = sink->budgets(sink->ctx, batch->budgets, batch->budget_count, errs);
    for (unsigned i = 0; refused > 0 && i < batch->budget_count; i++) {
        if (errs[i] != 0) {
            reject_line((struct rejection){.err = errs[i]}, batch->lines[i], sink);
        }
    }
    batch->budget_count = 0;
}

static void flush_briefs(struct line_batch *batch, const struct record_sink *sink)
{
    int errs[RECORD_BRIEFS_MAX];
    unsigned refused = sink->briefs(sink->ctx, batch->briefs, batch->count, errs);
    for (unsigned i = 0; refused > 0 && i < batch->count; i++) {
        if (errs[i] != 0) {
            reject_line((struct rejection){.err = errs[i]}, batch->lines[i], sink);
        }
    }
    batch->count = 0;
}

void line_flush(struct line_batch *batch, const struct record_sink *sink)
{
    if (batch != NULL && batch->count > 0) {
        flush_briefs(batch, sink);
    }
    if (batch != NULL && batch->budget_count > 0) {
        flush_budgets(batch, sink);
    }
}

#define BRIEF_PARTS                                                                                \
    (BIT(PART_MODEL_NAME) | BIT(PART_EXECUTION_TIME) | BIT(SAMPLE_CPU_DURING) |                    \
     BIT(SAMPLE_MEMORY_AFTER))

/* A sound sample of name and figures whose name stands in the line as it is. */
static inline bool is_usual(const struct reader *reader)
{
    const struct sample *sample = &reader->sample;
    uint32_t needed = BIT(PART_MODEL_NAME) | BIT(PART_EXECUTION_TIME);
    return reader->type == TYPE_SAMPLE && reader->rejection.err == 0 &&
           reader->unknown_count == 0 && reader->in.out == NULL &&
           (reader->has & ~BRIEF_PARTS) == 0 && (reader->has & needed) == needed &&
           !sample->error && sample->label_count == 0;
}

/* The sample in the batch's next place, which is filled, is one of it. */
static inline void count_into_batch(struct line_batch *batch, uint64_t line,
                                    const struct record_sink *sink)
{
    if (__builtin_expect(batch->budget_count > 0, 0)) {
        flush_budgets(batch, sink);
    }
    batch->lines[batch->count++] = line;
    if (batch->count == RECORD_BRIEFS_MAX) {
        flush_briefs(batch, sink);
    }
}

/* Likewise the budget. */
static inline void count_budget(struct line_batch *batch, uint64_t line,
                                const struct record_sink *sink)
{
    if (__builtin_expect(batch->count > 0, 0)) {
        flush_briefs(batch, sink);
    }
    batch->lines[batch->budget_count++] = line;
    if (batch->budget_count == RECORD_BUDGETS_MAX) {
        flush_budgets(batch, sink);
    }
}

/* A sound budget that says nothing of a trace, and whose texts stand in the line as they are. */
static inline bool is_usual_budget(const struct reader *reader)
{
    return reader->type == TYPE_BUDGET && reader->rejection.err == 0 &&
           reader->unknown_count == 0 && reader->in.out == NULL && reader->budget.has == 0;
}

static void read_record(struct line_memory *memory, const char *start, const char *newline,
                        uint64_t line, struct line_batch *batch, const struct record_sink *sink)
{
    const char *at = start;
    while (*at == ' ' || *at == '\t' || *at == '\r') {
        at++;
    }
    if (at == newline) {
        return;
    }
    struct reader reader;
    reader.memory = memory;
    reader.type = TYPE_SAMPLE;
    int err = READ_AGAIN;
    while (err == READ_AGAIN) {
        reset(&reader, at, newline);
        err = read_object(&reader);
    }
    if (err == 0 &&
        reader.rejection.err == ERR_LIMIT) { /* not all of its keys could be looked at */
        err = ERR_LIMIT;
    }
    if (err == 0 && batch != NULL && sink->briefs != NULL && is_usual(&reader)) {
        struct brief *brief = &batch->briefs[batch->count];
        *brief = record_brief(&reader.sample);
        brief->has = reader.has & SAMPLE_PARTS;
        brief->model_ref = 0;
        count_into_batch(batch, line, sink);
        line_shape_learn(&memory->shape, start, newline);
        return;
    }
    line_flush(batch, sink);
    if (err == 0) {
        for (size_t i = 0; i < reader.unknown_count; i++) {
            sink->unknown_key(sink->ctx, reader.unknown[i]);
        }
        err = reader.rejection.err != 0 ? reader.rejection.err : deliver(&reader, sink);
        if (is_usual_budget(&reader)) { /* also of a layer that the sink refuses */
            budget_shape_learn(&memory->budget_shape, start, newline, &reader.budget);
        }
    }
    if (err != 0) {
        char words[EXPECTS_BYTES];
        reader.rejection.err = err;
        reader.rejection.expects = say_expected(&reader, words);
        reader.rejection.control = ((1U << reader.type) & OF_CONTROL) != 0;
        reject_line(reader.rejection, line, sink);
    }
}

static void give_back(struct buf *buf)
{
    if (buf->cap > KEEP_BYTES) {
        buf_fini(buf);
    }
}

void line_read(struct line_memory *memory, const char *start, const char *newline, uint64_t line,
               struct line_batch *batch, const struct record_sink *sink)
{
    if (batch != NULL && sink->briefs != NULL &&
        line_shape_read(&memory->shape, start, newline, &batch->briefs[batch->count])) {
        count_into_batch(batch, line, sink);
        return;
    }
    if (batch != NULL && sink->budgets != NULL &&
        budget_shape_read(&memory->budget_shape, start, newline,
                          &batch->budgets[batch->budget_count])) {
        count_budget(batch, line, sink);
        return;
    }
    read_record(memory, start, newline, line, batch, sink);
    give_back(&memory->scratch);
    give_back(&memory->otlp);
}

void line_init(struct line_memory *memory, size_t max_line_bytes)
{
    *memory = (struct line_memory){.follows = {0}};
    buf_init(&memory->scratch, max_line_bytes);
    buf_init(&memory->otlp, line_span_room(max_line_bytes));
}

void line_limit(struct line_memory *memory, size_t max_line_bytes)
{
    memory->scratch.max = max_line_bytes;
    memory->otlp.max = line_span_room(max_line_bytes);
}

void line_fini(struct line_memory *memory)
{
    buf_fini(&memory->scratch);
    buf_fini(&memory->otlp);
}
