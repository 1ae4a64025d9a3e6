/*
 * wire/batch: what the files of tests/data/wire/frames (test_frames) do not show, and a comparison
 * with protobuf-c on generated and mutated batches: the same records, or both refuse the batch.
 *
 * Where this decoder is stricter than the library on purpose, `is_strict` says so: it walks the
 * fields by itself and finds a field number 0, a tag of more than 32 bits, a number of more than 64,
 * a head field after a record, a client id of the wrong length, too many strings, and a bool of
 * another kind than varint, which the library takes as it comes. Spans must say what they say in a
 * batch of their own; what that is, is compared in test_batch_span.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dwell.pb-c.h>
#include <math.h>

#include "base/err.h"
#include "wire/batch.h"
#include "wire_data.h"
#include "wire_message.h"
#include "wire_speller.h"
#include "wire_random.h"
#include "wire_recorder.h"

enum {
    BATCHES = 20000, /* generated; each is also tried with damage */
    TEXT_MAX = 260,
};

static struct batch_decoder decoder;

static int decode(struct recorder *recorder, struct str bytes)
{
    char *copy = wire_copy(bytes);
    recorder_clear(recorder);
    int err = batch_decode(&decoder, (struct str){copy, bytes.len}, &recorder->sink);
    recorder_check(recorder);
    free(copy);
    return err;
}

static uint8_t batch_bytes[WIRE_BYTES_MAX];
static uint8_t sample_bytes[WIRE_BYTES_MAX];
static uint8_t label_bytes[WIRE_BYTES_MAX];
static uint8_t alone_bytes[WIRE_BYTES_MAX];

/* Single facts. */

static void put_least_sample(struct writer *batch, uint32_t ref)
{
    struct writer sample = {sample_bytes, 0};
    put_number(&sample, 2, ref);
    put_double(&sample, 3, 1.0);
    put_bytes(batch, 8, sample.bytes, sample.len);
}

static void put_least_budget(struct writer *batch)
{
    struct writer budget = {sample_bytes, 0};
    put_text(&budget, 1, "total");
    put_double(&budget, 2, 1.0);
    put_bytes(batch, 15, budget.bytes, budget.len);
}

static void test_batch_may_be_empty(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    assert_int_equal(batch_decode(&decoder, (struct str){NULL, 0}, &recorder.sink), 0);
    assert_string_equal(recorder.text, "batch\n");
    recorder_fini(&recorder);
}

static void test_batch_takes_as_many_strings_as_the_table_holds(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    struct writer batch = {batch_bytes, 0};
    for (size_t i = 0; i < BATCH_STRINGS_MAX; i++) {
        put_text(&batch, 4, i + 1 == BATCH_STRINGS_MAX ? "last" : "m");
    }
    put_least_sample(&batch, BATCH_STRINGS_MAX);
    put_least_sample(&batch, BATCH_STRINGS_MAX + 1);
    assert_int_equal(decode(&recorder, written(&batch)), 0);
    assert_string_equal(recorder.text, "batch\nsample \"last\" ref=4096 execution_time_ms=1\n"
                                       "reject bad_reference key=\"model_ref\"\n");
    recorder_fini(&recorder);
}

static void test_batch_with_one_string_too_many_is_damaged(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    struct writer batch = {batch_bytes, 0};
    for (size_t i = 0; i < BATCH_STRINGS_MAX + 1; i++) {
        put_text(&batch, 4, "m");
    }
    assert_int_equal(decode(&recorder, written(&batch)), ERR_FRAME);
    assert_string_equal(recorder.text, "");
    recorder_fini(&recorder);
}

static void test_batch_passes_on_what_the_sink_refuses(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    recorder.refuse = ERR_NO_HELLO;
    struct writer batch = {batch_bytes, 0};
    put_text(&batch, 4, "m");
    put_least_sample(&batch, 1);
    put_text(&batch, 9, "");
    put_text(&batch, 10, "");
    put_text(&batch, 11, "");
    put_least_budget(&batch);
    assert_int_equal(decode(&recorder, written(&batch)), 0);
    assert_string_equal(recorder.text, "batch\nsample \"m\" ref=1 execution_time_ms=1\n"
                                       "reject no_hello\n"
                                       "hello\nreject no_hello control\n"
                                       "flush\nreject no_hello control\n"
                                       "goodbye\nreject no_hello control\n"
                                       "budget \"total\" elapsed_ms=1\nreject no_hello\n");
    recorder_fini(&recorder);
}

/* A decoder is not initialised, and what one batch leaves in it is not seen by the next. */
static void test_batch_asks_nothing_of_the_decoders_memory(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    memset(&decoder, 0xFF, sizeof decoder);
    struct writer batch = {batch_bytes, 0};
    put_least_sample(&batch, 1);
    assert_int_equal(decode(&recorder, written(&batch)), 0);
    assert_string_equal(recorder.text, "batch\nreject bad_reference key=\"model_ref\"\n");
    recorder_fini(&recorder);
}

/* Spellings. */

struct spelled_case {
    const char *what;
    void (*put)(struct writer *metric);
    bool has_spelling;
};

static void put_least_metric(struct writer *metric)
{
    put_text(metric, 1, "requests");
    put_number(metric, 3, 1);
    put_double(metric, 4, 2.5);
}

static void put_attribute(struct writer *metric, unsigned key_field, unsigned value_field)
{
    struct writer attribute = {label_bytes, 0};
    if (key_field == 1) {
        put_text(&attribute, 1, "code");
    } else {
        put_number(&attribute, key_field, 1);
    }
    if (value_field == 3) {
        put_text(&attribute, 3, "200");
    } else {
        put_number(&attribute, value_field, 1);
    }
    put_bytes(metric, 5, attribute.bytes, attribute.len);
}

static void put_usual(struct writer *metric)
{
    put_least_metric(metric);
    put_attribute(metric, 1, 3);
    put_text(metric, 6, "bytes");
    put_number(metric, 7, 9); /* not of a counter, and not looked at */
    put_attribute(metric, 1, 3);
}

static void put_other_order(struct writer *metric)
{
    put_number(metric, 3, 1);
    put_text(metric, 1, "requests");
    put_double(metric, 4, 2.5);
}

static void put_long_op(struct writer *metric)
{
    put_text(metric, 1, "requests");
    put_tag(metric, 3, 0);
    put_byte(metric, 0x81);
    put_byte(metric, 0x00);
    put_double(metric, 4, 2.5);
}

static void put_info(struct writer *metric)
{
    put_text(metric, 1, "build");
    put_number(metric, 3, 5);
    put_double(metric, 4, 1);
    put_attribute(metric, 1, 3);
}

static void put_refs(struct writer *metric)
{
    put_number(metric, 2, 1);
    put_number(metric, 3, 1);
    put_double(metric, 4, 2.5);
}

#define LEAST_AND(name, rest)                                                                      \
    static void name(struct writer *metric)                                                        \
    {                                                                                              \
        put_least_metric(metric);                                                                  \
        rest;                                                                                      \
    }

LEAST_AND(put_second_name, put_text(metric, 1, "again"))
LEAST_AND(put_ref_behind, put_number(metric, 2, 1))
LEAST_AND(put_second_op, put_number(metric, 3, 4))
LEAST_AND(put_second_value, put_double(metric, 4, 7))
LEAST_AND(put_key_ref, put_attribute(metric, 2, 3))
LEAST_AND(put_value_ref, put_attribute(metric, 1, 4))
LEAST_AND(put_trace_id, put_bytes(metric, 8, "0123456789abcdef", 16))
LEAST_AND(put_span_id, put_bytes(metric, 9, "01234567", 8))
LEAST_AND(put_timestamp, put_fixed64(metric, 10, 1))
LEAST_AND(put_weight, put_number(metric, 11, 1))
LEAST_AND(put_unknown_field, put_number(metric, 12, 1))
LEAST_AND(put_unknown_above_31, put_number(metric, 37, 1))

static const struct spelled_case spelled_cases[] = {
    {"least", put_least_metric, true},
    {"usual", put_usual, true},
    {"another order", put_other_order, false},
    {"an op of two bytes", put_long_op, false},
    {"an info", put_info, false},
    {"a reference", put_refs, false},
    {"a second name", put_second_name, false},
    {"a reference behind", put_ref_behind, false},
    {"a second op", put_second_op, false},
    {"a second value", put_second_value, false},
    {"a reference to a key", put_key_ref, false},
    {"a reference to a value", put_value_ref, false},
    {"a trace id", put_trace_id, false},
    {"a span id", put_span_id, false},
    {"a timestamp", put_timestamp, false},
    {"a weight", put_weight, false},
    {"an unknown field", put_unknown_field, false},
    {"an unknown field above 31", put_unknown_above_31, false},
};

/* What is in the bytes around the value is remembered only when it always means the same and is all
 * that the record says. The second record is the same with another value. */
static void test_batch_spells_only_what_says_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spelled_cases / sizeof spelled_cases[0]; i++) {
        struct recorder recorder;
        struct speller speller;
        recorder_init(&recorder);
        speller_init(&speller);
        struct writer metric = {sample_bytes, 0};
        spelled_cases[i].put(&metric);
        struct writer batch = {batch_bytes, 0};
        put_text(&batch, 4, "text");
        put_bytes(&batch, 14, metric.bytes, metric.len);
        put_bytes(&batch, 14, metric.bytes, metric.len);
        assert_int_equal(decode(&recorder, written(&batch)), 0);
        assert_int_equal(decode(&speller.recorder, written(&batch)), 0);
        if (speller.hits != spelled_cases[i].has_spelling) {
            print_error("%s\n", spelled_cases[i].what);
        }
        assert_int_equal(recorder.accepted, 2);
        assert_int_equal(speller.hits, spelled_cases[i].has_spelling);
        assert_int_equal(speller.remembered, spelled_cases[i].has_spelling);
        assert_string_equal(speller.recorder.text, recorder.text);
        speller_fini(&speller);
        recorder_fini(&recorder);
    }
}

/* The sink is asked about sound values only, by the op that the head has. */
static void test_batch_rejects_bad_values_of_what_is_remembered(void **state)
{
    (void)state;
    struct speller speller;
    speller_init(&speller);
    static const double values[] = {1, 2, -1, NAN, 1.1e300, 3};
    struct writer batch = {batch_bytes, 0};
    for (unsigned op = 1; op <= 4; op++) {
        for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
            struct writer metric = {sample_bytes, 0};
            put_text(&metric, 1, "m");
            put_number(&metric, 3, op);
            put_double(&metric, 4, values[i]);
            put_bytes(&batch, 14, metric.bytes, metric.len);
        }
    }
    assert_int_equal(decode(&speller.recorder, written(&batch)), 0);
    static const char bad[] = "reject out_of_range key=\"value\"\n";
    char expect[1024] = "batch\n";
    for (unsigned op = 1; op <= 4; op++) {
        const char *word = (const char *const[]){"count", "set", "add", "observe"}[op - 1];
        size_t len = strlen(expect);
        (void)snprintf(expect + len, sizeof expect - len, /* fits */
                       "%s \"m\" value=1\n%s \"m\" value=2\n", word, word);
        len = strlen(expect);
        char negative[64];
        (void)snprintf(negative, sizeof negative, "%s \"m\" value=-1\n", word); /* fits */
        char large[128];
        (void)snprintf(large, sizeof large, /* fits */
                       "%s \"m\" value=NaN\n%s \"m\" value=1.1e+300\n", word, word);
        char both[128];
        (void)snprintf(both, sizeof both, "%s%s", bad, bad);                        /* fits */
        (void)snprintf(expect + len, sizeof expect - len, "%s%s%s \"m\" value=3\n", /* fits */
                       op == 1 ? bad : negative, op == 2 ? large : both, word);
    }
    assert_string_equal(speller.recorder.text, expect);
    assert_int_equal(speller.remembered, 4);
    speller_fini(&speller);
}

/* What the library says. */

/* The rules of WIRE.md that the library does not know. */
static bool is_strict(struct str bytes)
{
    struct scanner batch = {(const uint8_t *)bytes.ptr, (const uint8_t *)bytes.ptr + bytes.len};
    if (!is_sound(batch, BATCH, 0)) {
        return false;
    }
    bool records = false;
    size_t strings = 0;
    struct field field;
    enum message inner;
    while (batch.at < batch.end && scan_field(&batch, &field)) {
        if (field.number <= 6 && records) {
            return false;
        }
        if (field.number == 1 && field.body.end - field.body.at != RECORD_CLIENT_ID_BYTES) {
            return false;
        }
        records |= is_message(BATCH, field.number, &inner);
        strings += field.number == 4;
    }
    return strings <= BATCH_STRINGS_MAX;
}

static struct str text_of(const char *text)
{
    return text != NULL ? str_of(text) : (struct str){NULL, 0};
}

static void expect_reject(struct recorder *expected, int err, const char *key, bool control)
{
    struct rejection rejection = {.err = err, .key = str_of(key), .control = control};
    expected->sink.reject(expected->sink.ctx, &rejection);
}

/* Copies a figure that is there; returns the key when it is out of range. */
static const char *convert_figure(struct sample *sample, enum sample_part part, bool has,
                                  double value, double max, double *figure, const char *key)
{
    if (!has) {
        return NULL;
    }
    sample->has |= 1U << part;
    *figure = value == 0 ? 0 : value;
    return value >= 0 && value <= max ? NULL : key;
}

static const char *convert_id(struct sample *sample, enum sample_part part, bool has,
                              ProtobufCBinaryData value, uint8_t *id, size_t len, const char *key)
{
    if (!has) {
        return NULL;
    }
    sample->has |= 1U << part;
    if (value.len != len) {
        return key;
    }
    memcpy(id, value.data, len);
    return NULL;
}

/* The optional figures and ids; returns the key of the first bad one in the order of the parts. */
static const char *convert_parts(const Dwell__Sample *from, struct sample *sample)
{
    const char *bad[SAMPLE_PART_COUNT] = {NULL};
#define FIGURE(part, member, max)                                                                  \
    bad[SAMPLE_##part] = convert_figure(sample, SAMPLE_##part, from->has_##member, from->member,   \
                                        max, &sample->member, #member)
    FIGURE(CPU_BEFORE, cpu_percent_before, RECORD_PERCENT_MAX);
    FIGURE(CPU_DURING, cpu_percent_during, RECORD_PERCENT_MAX);
    FIGURE(MEMORY_BEFORE, memory_mb_before, RECORD_MB_MAX);
    FIGURE(MEMORY_AFTER, memory_mb_after, RECORD_MB_MAX);
    FIGURE(BATCH_SIZE, batch_size, RECORD_COUNT_MAX);
    FIGURE(QUEUE, queue_ms, RECORD_MS_MAX);
    FIGURE(USER, user_ms, RECORD_MS_MAX);
    FIGURE(SYSTEM, system_ms, RECORD_MS_MAX);
    FIGURE(RUNQUEUE, runqueue_ms, RECORD_MS_MAX);
    FIGURE(MINOR_FAULTS, minor_faults, RECORD_COUNT_MAX);
    FIGURE(MAJOR_FAULTS, major_faults, RECORD_COUNT_MAX);
    FIGURE(SWITCHES, voluntary_switches, RECORD_COUNT_MAX);
    FIGURE(BYTES_MOVED, bytes_moved, RECORD_COUNT_MAX);
    FIGURE(FLOPS, flops, RECORD_COUNT_MAX);
    FIGURE(THREADS, threads, RECORD_COUNT_MAX);
    FIGURE(PROCESS_CPU, process_cpu_ms, RECORD_MS_MAX);
    FIGURE(INVOLUNTARY_SWITCHES, involuntary_switches, RECORD_COUNT_MAX);
    FIGURE(DISK_BYTES, disk_bytes, RECORD_COUNT_MAX);
#undef FIGURE
    if (from->has_thread_id) {
        sample->has |= 1U << SAMPLE_THREAD_ID;
        sample->thread_id = from->thread_id;
        bool good = from->thread_id >= 1 && from->thread_id <= RECORD_THREAD_ID_MAX;
        bad[SAMPLE_THREAD_ID] = good ? NULL : "thread_id";
    }
    bad[SAMPLE_TRACE_ID] = convert_id(sample, SAMPLE_TRACE_ID, from->has_trace_id, from->trace_id,
                                      sample->trace_id, RECORD_TRACE_ID_BYTES, "trace_id");
    bad[SAMPLE_SPAN_ID] = convert_id(sample, SAMPLE_SPAN_ID, from->has_span_id, from->span_id,
                                     sample->span_id, RECORD_SPAN_ID_BYTES, "span_id");
    for (size_t i = 0; i < SAMPLE_PART_COUNT; i++) {
        if (bad[i] != NULL) {
            return bad[i];
        }
    }
    return NULL;
}

/* Returns 0, or why the first bad label is one. */
static int convert_labels(const Dwell__Sample *from, struct sample *sample, const char **ret_key)
{
    for (size_t i = 0; i < from->n_label; i++) {
        const Dwell__Label *label = from->label[i];
        if (label->key == NULL || label->value == NULL) {
            *ret_key = label->key == NULL ? "label.key" : "label.value";
            return ERR_MISSING_KEY;
        }
        struct label converted = {str_of(label->key), str_of(label->value)};
        if (converted.key.len == 0 || converted.key.len > RECORD_NAME_MAX ||
            converted.value.len > RECORD_NAME_MAX || i == RECORD_LABELS_MAX) {
            *ret_key = "label";
            return ERR_RANGE;
        }
        sample->labels[sample->label_count++] = converted;
    }
    return 0;
}

static void expect_sample(struct recorder *expected, const Dwell__Batch *batch,
                          const Dwell__Sample *from)
{
    struct sample sample = {.model_name = text_of(from->model_name)};
    if (from->has_model_ref) {
        if (from->model_ref == 0 || from->model_ref > batch->n_strings) {
            expect_reject(expected, ERR_REFERENCE, "model_ref", false);
            return;
        }
        sample.model_ref = from->model_ref;
        sample.model_name = str_of(batch->strings[from->model_ref - 1]);
    } else if (from->model_name == NULL) {
        expect_reject(expected, ERR_MISSING_KEY, "model_name", false);
        return;
    }
    if (!from->has_execution_time_ms) {
        expect_reject(expected, ERR_MISSING_KEY, "execution_time_ms", false);
        return;
    }
    const char *key = convert_parts(from, &sample);
    if (key == NULL &&
        !(from->execution_time_ms >= 0 && from->execution_time_ms <= RECORD_MS_MAX)) {
        key = "execution_time_ms";
    }
    if (key != NULL) {
        expect_reject(expected, ERR_RANGE, key, false);
        return;
    }
    int err = convert_labels(from, &sample, &key);
    if (err != 0) {
        expect_reject(expected, err, key, false);
        return;
    }
    sample.execution_time_ms = from->execution_time_ms == 0 ? 0 : from->execution_time_ms;
    sample.error = (from->has_error && from->error) || from->error_text != NULL;
    sample.error_text = text_of(from->error_text);
    if (from->device != NULL) {
        sample.has |= 1U << SAMPLE_DEVICE;
        sample.device = str_of(from->device);
    }
    if (from->has_timestamp_unix_nano) {
        sample.has |= 1U << SAMPLE_TIMESTAMP;
        sample.timestamp_wall_ns = from->timestamp_unix_nano;
    }
    (void)expected->sink.sample(expected, &sample); /* it refuses nothing */
}

/* A text that may come as a reference; returns 0, or why there is none. */
static int resolve(const Dwell__Batch *batch, bool has_ref, uint32_t ref, const char *text,
                   struct str *ret_text)
{
    if (has_ref) {
        if (ref == 0 || ref > batch->n_strings) {
            return ERR_REFERENCE;
        }
        text = batch->strings[ref - 1];
    }
    *ret_text = text_of(text);
    return text != NULL ? 0 : ERR_MISSING_KEY;
}

/* Returns 0, or why the first bad attribute is one. */
static int convert_attributes(const Dwell__Batch *batch, const Dwell__Metric *from,
                              struct metric *metric, const char **ret_key)
{
    for (size_t i = 0; i < from->n_attribute; i++) {
        const Dwell__Attribute *attribute = from->attribute[i];
        struct label converted = {{NULL, 0}, {NULL, 0}};
        *ret_key = attribute->has_key_ref ? "attribute.key_ref" : "attribute.key";
        int err = resolve(batch, attribute->has_key_ref, attribute->key_ref, attribute->key,
                          &converted.key);
        if (err == 0) {
            *ret_key = attribute->has_value_ref ? "attribute.value_ref" : "attribute.value";
            err = resolve(batch, attribute->has_value_ref, attribute->value_ref, attribute->value,
                          &converted.value);
        }
        if (err != 0) {
            return err;
        }
        *ret_key = "attribute";
        if (converted.key.len == 0 || converted.key.len > RECORD_NAME_MAX ||
            converted.value.len > RECORD_VALUE_MAX || i == RECORD_ATTRIBUTES_MAX) {
            return ERR_RANGE;
        }
        metric->attributes[metric->attribute_count++] = converted;
    }
    *ret_key = "attribute";
    return metric->op == METRIC_INFO && from->n_attribute == 0 ? ERR_MISSING_KEY : 0;
}

/* What counters, gauges and histograms have, each some of it. Returns the key of a bad one. */
static const char *convert_amount(const Dwell__Metric *from, struct metric *metric)
{
    bool is_gauge = metric->op == METRIC_SET || metric->op == METRIC_ADD;
    double value = from->value;
    double lowest = metric->op == METRIC_COUNT ? 0 : -RECORD_AMOUNT_MAX;
    if (metric->op != METRIC_SET && !(value >= lowest && value <= RECORD_AMOUNT_MAX)) {
        return "value";
    }
    metric->value = value == 0 ? 0 : value;
    metric->unit = text_of(from->unit);
    if (metric->unit.len > RECORD_UNIT_MAX) {
        return "unit";
    }
    if (is_gauge && from->has_aggregation) {
        metric->aggregation = (enum aggregation)from->aggregation;
        if ((int)from->aggregation < 1 || (int)from->aggregation > 5) {
            return "aggregation";
        }
    }
    if (!is_gauge && from->has_trace_id) {
        metric->has |= METRIC_HAS_TRACE_ID;
        if (from->trace_id.len != sizeof metric->trace_id) {
            return "trace_id";
        }
        memcpy(metric->trace_id, from->trace_id.data, sizeof metric->trace_id);
    }
    if (!is_gauge && from->has_span_id) {
        metric->has |= METRIC_HAS_SPAN_ID;
        if (from->span_id.len != sizeof metric->span_id) {
            return "span_id";
        }
        memcpy(metric->span_id, from->span_id.data, sizeof metric->span_id);
    }
    if (from->has_timestamp_unix_nano) {
        metric->has |= METRIC_HAS_TIMESTAMP;
        metric->timestamp_wall_ns = from->timestamp_unix_nano;
    }
    return NULL;
}

static void expect_metric(struct recorder *expected, const Dwell__Batch *batch,
                          const Dwell__Metric *from)
{
    struct metric metric = {.weight = from->has_weight ? from->weight : 1};
    const char *key = from->has_name_ref ? "name_ref" : "name";
    int err = resolve(batch, from->has_name_ref, from->name_ref, from->name, &metric.name);
    if (err == 0 && (metric.name.len == 0 || metric.name.len > RECORD_NAME_MAX)) {
        err = ERR_NAME;
    }
    if (err == 0) {
        key = "op";
        err = !from->has_op                            ? ERR_MISSING_KEY
              : (int)from->op < 1 || (int)from->op > 5 ? ERR_RANGE
                                                       : 0;
        metric.op = (enum metric_op)((int)from->op - 1);
    }
    if (err == 0 && metric.op != METRIC_INFO) {
        key = from->has_value ? convert_amount(from, &metric) : "value";
        err = !from->has_value ? ERR_MISSING_KEY : key != NULL ? ERR_RANGE : 0;
    }
    if (err == 0) {
        key = "weight";
        uint64_t max = metric.op == METRIC_OBSERVE ? RECORD_WEIGHT_MAX : 1;
        err = metric.weight < 1 || metric.weight > max ? ERR_RANGE : 0;
    }
    if (err == 0) {
        err = convert_attributes(batch, from, &metric, &key);
    }
    if (err != 0) {
        expect_reject(expected, err, key, false);
        return;
    }
    (void)expected->sink.metric(expected, &metric); /* it refuses nothing */
}

static void expect_hello(struct recorder *expected, const Dwell__Hello *from)
{
    struct hello hello = {
        .service_name = text_of(from->service_name),
        .service_version = text_of(from->service_version),
        .constitutional_hash = text_of(from->constitutional_hash),
        .client = text_of(from->client),
        .pid = from->has_pid ? from->pid : 0,
        .acknowledge = from->acknowledge,
    };
    const char *key = hello.service_name.len > RECORD_NAME_MAX          ? "service_name"
                      : hello.service_version.len > RECORD_NAME_MAX     ? "service_version"
                      : hello.constitutional_hash.len > RECORD_NAME_MAX ? "constitutional_hash"
                      : hello.client.len > RECORD_NAME_MAX              ? "client"
                                                                        : NULL;
    if (key != NULL) {
        expect_reject(expected, ERR_RANGE, key, true);
        return;
    }
    (void)expected->sink.hello(expected, &hello, &(struct mark){0}); /* it refuses nothing */
}

/* Whether a budget's id is one, or is not there. */
static bool convert_budget_id(bool has, ProtobufCBinaryData from, uint8_t *to, size_t len)
{
    bool good = !has || from.len == len;
    if (has && good) {
        memcpy(to, from.data, len);
    }
    return good;
}

static void expect_budget(struct recorder *expected, const Dwell__Budget *from)
{
    struct budget budget = {.layer = text_of(from->layer),
                            .elapsed_ms = from->elapsed_ms == 0 ? 0 : from->elapsed_ms,
                            .operation = text_of(from->operation),
                            .request_id = text_of(from->request_id),
                            .flags = from->flags,
                            .timestamp_wall_ns = from->timestamp_unix_nano};
    budget.has = (from->has_timestamp_unix_nano ? BUDGET_HAS_TIMESTAMP : 0U) |
                 (from->has_trace_id ? BUDGET_HAS_TRACE_ID : 0U) |
                 (from->has_span_id ? BUDGET_HAS_SPAN_ID : 0U) |
                 (from->has_flags ? BUDGET_HAS_FLAGS : 0U) |
                 (from->has_before_ms ? BUDGET_HAS_BEFORE : 0U);
    budget.before_ms = from->before_ms == 0 ? 0 : from->before_ms;
    bool good_before = budget.before_ms >= 0 && budget.before_ms <= RECORD_MS_MAX;
    bool good_trace = convert_budget_id(from->has_trace_id, from->trace_id, budget.trace_id,
                                        sizeof budget.trace_id);
    bool good_span =
        convert_budget_id(from->has_span_id, from->span_id, budget.span_id, sizeof budget.span_id);
    bool good_time = budget.elapsed_ms >= 0 && budget.elapsed_ms <= RECORD_MS_MAX;
    const char *missing = from->layer == NULL     ? "layer"
                          : !from->has_elapsed_ms ? "elapsed_ms"
                                                  : NULL;
    const char *wrong = !good_time                                ? "elapsed_ms"
                        : !good_before                            ? "before_ms"
                        : budget.operation.len > RECORD_NAME_MAX  ? "operation"
                        : budget.request_id.len > RECORD_NAME_MAX ? "request_id"
                        : !good_trace                             ? "trace_id"
                        : !good_span                              ? "span_id"
                                                                  : NULL;
    if (missing != NULL) {
        expect_reject(expected, ERR_MISSING_KEY, missing, false);
    } else if (wrong != NULL) {
        expect_reject(expected, ERR_RANGE, wrong, false);
    } else {
        (void)expected->sink.budget(expected, &budget); /* it refuses nothing */
    }
}

/* What the sink should see of a batch, ordered by kind: the library does not keep the order. */
static void expect_batch(struct recorder *expected, const Dwell__Batch *from)
{
    struct batch batch = {
        .has_client_id = from->has_client_id,
        .mark = {from->has_first_sequence, from->first_sequence, from->has_dropped, from->dropped},
        .constitutional_hash = text_of(from->constitutional_hash),
    };
    if (from->has_client_id) {
        memcpy(batch.client_id, from->client_id.data, sizeof batch.client_id);
    }
    recorder_clear(expected);
    expected->sink.batch(expected, &batch);
    for (size_t i = 0; i < from->n_sample; i++) {
        expect_sample(expected, from, from->sample[i]);
    }
    for (size_t i = 0; i < from->n_hello; i++) {
        expect_hello(expected, from->hello[i]);
    }
    for (size_t i = 0; i < from->n_flush; i++) {
        (void)expected->sink.flush(expected, &(struct mark){0}); /* it refuses nothing */
    }
    for (size_t i = 0; i < from->n_goodbye; i++) {
        struct mark mark = {.has_sequence = from->goodbye[i]->has_sequence,
                            .sequence = from->goodbye[i]->sequence};
        (void)expected->sink.goodbye(expected, &mark); /* it refuses nothing */
    }
    for (size_t i = 0; i < from->n_metric; i++) {
        expect_metric(expected, from, from->metric[i]);
    }
    for (size_t i = 0; i < from->n_budget; i++) {
        expect_budget(expected, from->budget[i]);
    }
}

static size_t count_unknown(const ProtobufCMessage *message)
{
    return message->n_unknown_fields;
}

static size_t count_unknown_fields(const Dwell__Batch *batch)
{
    size_t count = count_unknown(&batch->base);
    for (size_t i = 0; i < batch->n_sample; i++) {
        count += count_unknown(&batch->sample[i]->base);
        for (size_t j = 0; j < batch->sample[i]->n_label; j++) {
            count += count_unknown(&batch->sample[i]->label[j]->base);
        }
    }
    for (size_t i = 0; i < batch->n_metric; i++) {
        count += count_unknown(&batch->metric[i]->base);
        for (size_t j = 0; j < batch->metric[i]->n_attribute; j++) {
            count += count_unknown(&batch->metric[i]->attribute[j]->base);
        }
    }
    for (size_t i = 0; i < batch->n_budget; i++) {
        count += count_unknown(&batch->budget[i]->base);
    }
    for (size_t i = 0; i < batch->n_hello; i++) {
        count += count_unknown(&batch->hello[i]->base);
    }
    for (size_t i = 0; i < batch->n_flush; i++) {
        count += count_unknown(&batch->flush[i]->base);
    }
    for (size_t i = 0; i < batch->n_goodbye; i++) {
        count += count_unknown(&batch->goodbye[i]->base);
    }
    return count;
}

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/* 0 batch, 1 sample, 2 hello, 3 flush, 4 goodbye, 5 metric, 6 budget, 7 rejected record, 8
 * span; -1: not compared. */
static int rank(const char *line, const char *end)
{
    static const char control[] = " control";
    if (begins(line, "reject")) {
        size_t len = sizeof control - 1;
        bool is_control = (size_t)(end - line) > len && memcmp(end - len, control, len) == 0;
        return is_control ? 2 : 7;
    }
    static const struct {
        const char *word;
        int rank;
    } words[] = {{"batch", 0},   {"sample", 1}, {"hello", 2},  {"flush", 3},
                 {"goodbye", 4}, {"count", 5},  {"set", 5},    {"add", 5},
                 {"observe", 5}, {"info", 5},   {"budget", 6}, {"span", 8}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (begins(line, words[i].word)) {
            return words[i].rank;
        }
    }
    return -1;
}

struct line {
    int rank;
    const char *start;
    const char *end;
};

/* Lines of one rank stay in their order; rejected records are not told apart, and go by
 * what was said. */
static int compare_lines(const void *left, const void *right)
{
    const struct line *a = left;
    const struct line *b = right;
    if (a->rank != b->rank) {
        return a->rank < b->rank ? -1 : 1;
    }
    int order = a->rank != 7 ? 0
                             : str_compare((struct str){a->start, (size_t)(a->end - a->start)},
                                           (struct str){b->start, (size_t)(b->end - b->start)});
    return order != 0 ? order : a->start < b->start ? -1 : a->start > b->start;
}

/* Orders what a decoder said by kind, since the library does not keep the order of kinds. */
static void sort_text(struct recorder *recorder)
{
    struct line *lines = calloc(recorder->len + 1, sizeof *lines);
    size_t count = 0;
    for (const char *at = recorder->text; *at != '\0'; count++) {
        const char *end = strchr(at, '\n');
        lines[count] = (struct line){rank(at, end), at, end + 1};
        at = end + 1;
    }
    qsort(lines, count, sizeof *lines, compare_lines);
    char *sorted = malloc(recorder->len + 1);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (lines[i].rank >= 0) {
            memcpy(sorted + len, lines[i].start, (size_t)(lines[i].end - lines[i].start));
            len += (size_t)(lines[i].end - lines[i].start);
        }
    }
    memcpy(recorder->text, sorted, len);
    recorder->text[len] = '\0';
    recorder->len = len;
    free(sorted);
    free(lines);
}

/* Fields with texts whose length decides something. */
static bool is_measured_text(enum message message, uint64_t field)
{
    return (message == BATCH && field == 4) || (message == METRIC && (field == 1 || field == 6)) ||
           (message == ATTRIBUTE && (field == 1 || field == 3)) ||
           (message == LABEL && (field == 1 || field == 2));
}

static bool holds_zero(struct scanner bytes, enum message message)
{
    struct field field;
    enum message inner;
    while (bytes.at < bytes.end && scan_field(&bytes, &field)) {
        size_t len = (size_t)(field.body.end - field.body.at);
        if (field.kind == 2 && is_measured_text(message, field.number) &&
            memchr(field.body.at, 0, len) != NULL) {
            return true;
        }
        if (field.kind == 2 && is_message(message, field.number, &inner) &&
            holds_zero(field.body, inner)) {
            return true;
        }
    }
    return false;
}

/* The library's strings end at a zero byte, ours do not: such batches are left out. */
static bool holds_zero_in_text(const struct recorder *recorder, struct str bytes)
{
    const uint8_t *start = (const uint8_t *)bytes.ptr;
    return strstr(recorder->text, "\\x00") != NULL ||
           holds_zero((struct scanner){start, start + bytes.len}, BATCH);
}

/* Each span in a batch of its own. Returns how many unknown fields are in them. */
static size_t expect_spans(struct recorder *expected, struct str bytes)
{
    struct scanner batch = {(const uint8_t *)bytes.ptr, (const uint8_t *)bytes.ptr + bytes.len};
    struct recorder alone;
    struct field field;
    size_t unknown = 0;
    recorder_init(&alone);
    while (batch.at < batch.end && scan_field(&batch, &field)) {
        if (field.number != 13) {
            continue;
        }
        struct writer writer = {alone_bytes, 0};
        put_bytes(&writer, 13, field.body.at, (size_t)(field.body.end - field.body.at));
        assert_int_equal(decode(&alone, written(&writer)), 0);
        assert_int_equal(alone.accepted + alone.rejected, 1);
        unknown += alone.unknown;
        const char *at = alone.text;
        while (begins(at, "batch") || begins(at, "unknown")) {
            at = strchr(at, '\n') + 1;
        }
        for (; *at != '\0'; at++) {
            recorder_print(expected, "%c", *at);
        }
    }
    recorder_fini(&alone);
    return unknown;
}

static void print_bytes(struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        print_error("%02x%s", (unsigned)(uint8_t)bytes.ptr[i], i + 1 < bytes.len ? " " : "\n");
    }
}

/* Once more to a sink that remembers spellings: it says the same. */
static void must_agree_in_short(struct speller *speller, const struct recorder *ours, int err,
                                struct str bytes)
{
    assert_int_equal(decode(&speller->recorder, bytes), err);
    assert_string_equal(speller->recorder.text, ours->text);
}

/* Returns whether the batch was sound. */
static bool must_agree(struct recorder *ours, struct recorder *theirs, struct speller *speller,
                       struct str bytes)
{
    int err = decode(ours, bytes);
    must_agree_in_short(speller, ours, err, bytes);
    Dwell__Batch *batch = dwell__batch__unpack(NULL, bytes.len, (const uint8_t *)bytes.ptr);
    bool sound = batch != NULL && is_strict(bytes);
    if (err != (sound ? 0 : ERR_FRAME)) {
        print_bytes(bytes);
    }
    assert_int_equal(err, sound ? 0 : ERR_FRAME);
    if (sound && !holds_zero_in_text(ours, bytes)) {
        expect_batch(theirs, batch);
        size_t unknown = count_unknown_fields(batch) + expect_spans(theirs, bytes);
        assert_int_equal(ours->unknown, unknown);
        assert_int_equal(ours->accepted + ours->controls + ours->rejected,
                         batch->n_sample + batch->n_hello + batch->n_flush + batch->n_goodbye +
                             batch->n_metric + batch->n_span + batch->n_budget);
        sort_text(ours);
        sort_text(theirs);
        assert_string_equal(ours->text, theirs->text);
    }
    if (batch != NULL) {
        dwell__batch__free_unpacked(batch, NULL);
    }
    return sound;
}

/* Random batches. */

static struct wire_random dice;

static bool once_in(size_t n)
{
    return wire_random_below(&dice, n) == 0;
}

static uint64_t random_number(void)
{
    return wire_random_next(&dice) >> wire_random_below(&dice, 64);
}

static double random_figure(void)
{
    static const double odd[] = {0.0, -0.0, -1.0, 1e9, 1e12, 1e15, 1e16, 5e-324};
    if (once_in(20)) {
        return odd[wire_random_below(&dice, sizeof odd / sizeof odd[0])];
    }
    if (once_in(40)) {
        uint64_t bits = wire_random_next(&dice); /* now and then infinite or not a number */
        double figure;
        memcpy(&figure, &bits, sizeof figure);
        return figure;
    }
    return (double)wire_random_below(&dice, 1000000) / 1000;
}

static void put_random_text(struct writer *writer, unsigned number)
{
    char text[TEXT_MAX];
    size_t len = once_in(50) ? wire_random_below(&dice, TEXT_MAX) : wire_random_below(&dice, 12);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)(once_in(10) ? 1 + wire_random_below(&dice, 255)
                                     : 'a' + wire_random_below(&dice, 26));
    }
    put_bytes(writer, number, text, len);
}

static void put_random_id(struct writer *writer, unsigned number, size_t len)
{
    uint8_t id[RECORD_TRACE_ID_BYTES + 1];
    for (size_t i = 0; i < sizeof id; i++) {
        id[i] = (uint8_t)wire_random_next(&dice);
    }
    put_bytes(writer, number, id, once_in(20) ? wire_random_below(&dice, len + 1) : len);
}

static void put_unknown(struct writer *writer)
{
    static const unsigned numbers[] = {12, 26, 30, 31, 32, 33, 102, 536870911};
    unsigned number = numbers[wire_random_below(&dice, sizeof numbers / sizeof numbers[0])];
    switch (wire_random_below(&dice, 5)) {
    case 0:
        put_number(writer, number, random_number());
        break;
    case 1:
        put_double(writer, number, 1.0);
        break;
    case 2:
        put_tag(writer, number, 5);
        for (unsigned i = 0; i < 4; i++) {
            put_byte(writer, i);
        }
        break;
    default:
        put_random_text(writer, number);
    }
}

static void put_random_label(struct writer *sample)
{
    struct writer label = {label_bytes, 0};
    if (!once_in(20)) {
        put_random_text(&label, 1);
    }
    if (!once_in(20)) {
        put_random_text(&label, 2);
    }
    if (once_in(20)) {
        put_unknown(&label);
    }
    put_bytes(sample, 15, label.bytes, label.len);
}

static void put_random_sample_field(struct writer *sample)
{
    unsigned number = 1 + (unsigned)wire_random_below(&dice, 29);
    switch (number) {
    case 1:
    case 11:
    case 16:
        put_random_text(sample, number);
        break;
    case 2:
        if (once_in(4)) {
            put_number(sample, number, once_in(9) ? random_number() : once_in(2));
        }
        break;
    case 8:
        put_number(sample, number, once_in(2) ? wire_random_below(&dice, 2) : random_number());
        break;
    case 12:
        put_random_id(sample, number, RECORD_TRACE_ID_BYTES);
        break;
    case 13:
        put_random_id(sample, number, RECORD_SPAN_ID_BYTES);
        break;
    case 14:
        put_fixed64(sample, number, random_number());
        break;
    case 15:
        for (size_t i = wire_random_below(&dice, once_in(9) ? 19 : 3); i > 0; i--) {
            put_random_label(sample);
        }
        break;
    case 29:
        put_number(sample, number, once_in(2) ? 1 + wire_random_below(&dice, 9) : random_number());
        break;
    default:
        put_double(sample, number, random_figure());
    }
}

static void put_random_sample(struct writer *batch)
{
    struct writer sample = {sample_bytes, 0};
    if (!once_in(30)) {
        put_random_text(&sample, 1);
    }
    if (!once_in(30)) {
        put_double(&sample, 3, random_figure());
    }
    for (size_t i = wire_random_below(&dice, 8); i > 0; i--) {
        put_random_sample_field(&sample);
    }
    if (once_in(20)) {
        put_unknown(&sample);
    }
    put_bytes(batch, 8, sample.bytes, sample.len);
}

/* The shapes that the decoder has a short cut for, and near misses of them. */
static void put_usual_sample(struct writer *batch)
{
    struct writer sample = {sample_bytes, 0};
    if (once_in(2)) {
        put_number(&sample, 2, wire_random_below(&dice, 5));
    } else {
        put_random_text(&sample, 1);
    }
    size_t figures = wire_random_below(&dice, 5);
    for (unsigned i = 0; i < figures; i++) {
        put_double(&sample, 3 + i, random_figure());
    }
    put_bytes(batch, 8, sample.bytes, sample.len);
}

static double random_amount(void)
{
    static const double odd[] = {-1, -12.5, 1e300, -1e300, 1.1e300, NAN, INFINITY, -INFINITY};
    return once_in(10) ? odd[wire_random_below(&dice, sizeof odd / sizeof odd[0])]
                       : random_figure();
}

/* A text or, more seldom, a reference; `number` is that of the text's field, the other is the next. */
static void put_text_or_ref(struct writer *writer, unsigned number)
{
    if (!once_in(20)) {
        put_random_text(writer, number);
    }
    if (once_in(8)) {
        put_number(writer, number + 1,
                   once_in(9) ? random_number() : 1 + wire_random_below(&dice, 3));
    }
}

static void put_random_attribute(struct writer *metric)
{
    struct writer attribute = {label_bytes, 0};
    put_text_or_ref(&attribute, 1);
    put_text_or_ref(&attribute, 3);
    if (once_in(20)) {
        put_unknown(&attribute);
    }
    put_bytes(metric, 5, attribute.bytes, attribute.len);
}

static void put_random_metric_field(struct writer *metric)
{
    unsigned number = 1 + (unsigned)wire_random_below(&dice, 11);
    switch (number) {
    case 1:
        put_random_text(metric, number);
        break;
    case 2:
        put_number(metric, number, once_in(9) ? random_number() : 1 + wire_random_below(&dice, 3));
        break;
    case 3:
    case 7:
        put_number(metric, number, once_in(9) ? random_number() : wire_random_below(&dice, 7));
        break;
    case 4:
        put_double(metric, number, random_amount());
        break;
    case 5:
        for (size_t i = wire_random_below(&dice, once_in(30) ? 36 : 3); i > 0; i--) {
            put_random_attribute(metric);
        }
        break;
    case 6:
        put_text(metric, number, once_in(9) ? "a unit with its thirty-three bytes" : "ms");
        break;
    case 8:
        put_random_id(metric, number, RECORD_TRACE_ID_BYTES);
        break;
    case 9:
        put_random_id(metric, number, RECORD_SPAN_ID_BYTES);
        break;
    case 10:
        put_fixed64(metric, number, random_number());
        break;
    default:
        put_number(metric, number, once_in(3) ? random_number() : 1 + wire_random_below(&dice, 3));
    }
}

static void put_random_metric(struct writer *batch)
{
    struct writer metric = {sample_bytes, 0};
    if (!once_in(20)) {
        put_random_text(&metric, 1);
    }
    if (!once_in(20)) {
        put_number(&metric, 3, 1 + wire_random_below(&dice, 5));
    }
    if (!once_in(20)) {
        put_double(&metric, 4, random_amount());
    }
    for (size_t i = wire_random_below(&dice, 6); i > 0; i--) {
        put_random_metric_field(&metric);
    }
    if (once_in(20)) {
        put_unknown(&metric);
    }
    put_bytes(batch, 14, metric.bytes, metric.len);
}

/* Ids of any length, and the numbers beside them. */
static void put_random_budget_rest(struct writer *budget)
{
    static const uint8_t id[RECORD_TRACE_ID_BYTES + 1] = {1, 2, 3};
    for (unsigned number = 5; number <= 6; number++) {
        size_t good = number == 5 ? RECORD_TRACE_ID_BYTES : RECORD_SPAN_ID_BYTES;
        for (size_t i = wire_random_below(&dice, 3); i > 0; i--) {
            put_bytes(budget, number, id, once_in(10) ? wire_random_below(&dice, sizeof id) : good);
        }
    }
    if (once_in(3)) {
        put_fixed64(budget, 7, random_number());
    }
    if (once_in(3)) {
        put_fixed32(budget, 8, (uint32_t)random_number());
    }
    if (once_in(3)) {
        put_double(budget, 9, random_figure());
    }
}

static void put_random_budget(struct writer *batch)
{
    struct writer budget = {sample_bytes, 0};
    for (unsigned number = 1; number <= 4; number++) {
        for (size_t i = once_in(15) ? wire_random_below(&dice, 3) : 1; i > 0; i--) {
            if (number == 2) {
                put_double(&budget, number, random_figure());
            } else {
                put_random_text(&budget, number);
            }
        }
    }
    if (once_in(2)) {
        put_random_budget_rest(&budget);
    }
    if (once_in(20)) {
        put_unknown(&budget);
    }
    put_bytes(batch, 15, budget.bytes, budget.len);
}

/* One of a few series, so that spellings come again. */
static void put_usual_metric(struct writer *batch)
{
    struct writer metric = {sample_bytes, 0};
    struct writer attribute = {label_bytes, 0};
    put_text(&metric, 1, once_in(2) ? "requests" : "errors");
    put_number(&metric, 3, 1 + wire_random_below(&dice, 5));
    put_double(&metric, 4, random_amount());
    for (size_t i = wire_random_below(&dice, 3); i > 0; i--) {
        attribute.len = 0;
        put_text(&attribute, 1, "code");
        put_text(&attribute, 3, once_in(2) ? "200" : "500");
        put_bytes(&metric, 5, attribute.bytes, attribute.len);
    }
    if (once_in(4)) {
        put_random_metric_field(&metric);
    }
    put_bytes(batch, 14, metric.bytes, metric.len);
}

static void put_random_span(struct writer *batch)
{
    struct writer span = {sample_bytes, 0};
    put_random_id(&span, 1, RECORD_TRACE_ID_BYTES);
    put_random_id(&span, 2, RECORD_SPAN_ID_BYTES);
    if (!once_in(20)) {
        put_text(&span, 5, "GET /");
    }
    put_fixed64(&span, 7, 1);
    put_fixed64(&span, 8, once_in(20) ? 0 : 2);
    for (size_t i = wire_random_below(&dice, 3); i > 0; i--) {
        size_t start = span.len;
        put_random_text(&span, 1);
        size_t value = span.len;
        put_number(&span, 3, random_number());
        close_message(&span, value, 2);
        close_message(&span, start, 9);
    }
    if (once_in(20)) {
        put_unknown(&span);
    }
    put_bytes(batch, 13, span.bytes, span.len);
}

static void put_random_control(struct writer *batch)
{
    struct writer record = {sample_bytes, 0};
    unsigned number = 9 + (unsigned)wire_random_below(&dice, 3);
    for (unsigned i = 1; i <= 5 && number == 9; i++) {
        if (i == 3) {
            put_number(&record, 3, random_number());
        } else if (once_in(2)) {
            put_random_text(&record, i);
        }
    }
    if (number == 9 && once_in(2)) {
        put_number(&record, 6, once_in(2) ? random_number() : 0);
    }
    if (number == 11 && once_in(2)) {
        put_number(&record, 1, random_number());
    }
    if (once_in(10)) {
        put_tag(&record, 40, 0);
        put_varint(&record, 1);
    }
    put_bytes(batch, number, record.bytes, record.len);
}

static void put_random_head(struct writer *batch)
{
    if (once_in(3)) {
        put_random_id(batch, 1, RECORD_CLIENT_ID_BYTES);
    }
    if (once_in(3)) {
        put_number(batch, 2, random_number());
    }
    if (once_in(3)) {
        put_number(batch, 3, random_number());
    }
    if (once_in(5)) {
        put_random_text(batch, 5);
    }
    for (size_t i = wire_random_below(&dice, 4); i > 0; i--) {
        put_random_text(batch, 4);
    }
}

static void put_random_batch(struct writer *batch)
{
    put_random_head(batch);
    for (size_t i = wire_random_below(&dice, 6); i > 0; i--) {
        if (once_in(6)) {
            put_random_control(batch);
        } else if (once_in(6)) {
            put_random_span(batch);
        } else if (once_in(6)) {
            put_random_budget(batch);
        } else if (once_in(3)) {
            put_usual_metric(batch);
        } else if (once_in(3)) {
            put_random_metric(batch);
        } else if (once_in(2)) {
            put_usual_sample(batch);
        } else {
            put_random_sample(batch);
        }
        if (once_in(30)) {
            put_unknown(batch);
        }
    }
    if (once_in(50)) {
        put_random_head(batch); /* damage, if it puts anything */
    }
}

/* Flips bits, cuts, doubles or removes a stretch. */
static void damage(struct writer *batch)
{
    if (batch->len == 0) {
        return;
    }
    size_t at = wire_random_below(&dice, batch->len);
    size_t len = wire_random_below(&dice, batch->len - at);
    switch (wire_random_below(&dice, 4)) {
    case 0:
        memmove(batch->bytes + at + len, batch->bytes + at, batch->len - at);
        batch->len += len;
        break;
    case 1:
        memmove(batch->bytes + at, batch->bytes + at + len, batch->len - at - len);
        batch->len -= len;
        break;
    default:
        for (size_t i = wire_random_below(&dice, 3) + 1; i > 0; i--) {
            at = wire_random_below(&dice, batch->len);
            batch->bytes[at] ^= (uint8_t)(1U << wire_random_below(&dice, 8));
        }
    }
}

static void test_batch_agrees_with_protobuf_c(void **state)
{
    (void)state;
    struct recorder ours;
    struct recorder theirs;
    struct speller speller;
    recorder_init(&ours);
    recorder_init(&theirs);
    speller_init(&speller);
    dice = wire_random_start("test_batch");
    size_t sound = 0;
    size_t damaged = 0;
    for (size_t i = 0; i < BATCHES; i++) {
        struct writer batch = {batch_bytes, 0};
        put_random_batch(&batch);
        sound += must_agree(&ours, &theirs, &speller, written(&batch));
        damage(&batch);
        damaged += must_agree(&ours, &theirs, &speller, written(&batch));
    }
    print_message("         sound: %zu of %d, after damage %zu; metrics by spelling: %zu\n", sound,
                  BATCHES, damaged, speller.hits);
    assert_true(speller.hits > BATCHES / 10);
    assert_true(sound > BATCHES / 2);
    assert_in_range(damaged, BATCHES / 20, BATCHES);
    speller_fini(&speller);
    recorder_fini(&theirs);
    recorder_fini(&ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_may_be_empty),
        cmocka_unit_test(test_batch_takes_as_many_strings_as_the_table_holds),
        cmocka_unit_test(test_batch_with_one_string_too_many_is_damaged),
        cmocka_unit_test(test_batch_passes_on_what_the_sink_refuses),
        cmocka_unit_test(test_batch_asks_nothing_of_the_decoders_memory),
        cmocka_unit_test(test_batch_spells_only_what_says_all),
        cmocka_unit_test(test_batch_rejects_bad_values_of_what_is_remembered),
        cmocka_unit_test(test_batch_agrees_with_protobuf_c),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
