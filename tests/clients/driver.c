/*
 * libdwell under the conformance runner: records the NDJSON of standard input through the public
 * calls, and sends it to the daemon of $DWELL_DIR. Exit status 1 when that did not take all.
 *
 *     1. each line becomes a struct dwell_sample or a struct dwell_metric, by the tables below
 *     2. flush, close
 *
 * What can fail: a line that the library has no call for. Spans and budgets are measured by it, not
 * given to it as they are, so that a line of these ends the program with status 2.
 */
#define _POSIX_C_SOURCE 200809L

#include "dwell.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LABELS_MAX = 32, NUMBER_BYTES = 32, FLUSH_MS = 20000 };

#define NUMBER(field, flag)                                                                        \
    {                                                                                              \
#field, offsetof(struct dwell_sample, field), DWELL_HAS_##flag                             \
    }

static const struct {
    const char *key;
    size_t offset;
    unsigned has;
} numbers[] = {
    NUMBER(cpu_percent_before, CPU_PERCENT_BEFORE),
    NUMBER(cpu_percent_during, CPU_PERCENT_DURING),
    NUMBER(memory_mb_before, MEMORY_MB_BEFORE),
    NUMBER(memory_mb_after, MEMORY_MB_AFTER),
    NUMBER(queue_ms, QUEUE_MS),
    NUMBER(batch_size, BATCH_SIZE),
    NUMBER(user_ms, USER_MS),
    NUMBER(system_ms, SYSTEM_MS),
    NUMBER(runqueue_ms, RUNQUEUE_MS),
    NUMBER(minor_faults, MINOR_FAULTS),
    NUMBER(major_faults, MAJOR_FAULTS),
    NUMBER(voluntary_switches, VOLUNTARY_SWITCHES),
    NUMBER(bytes_moved, BYTES_MOVED),
    NUMBER(flops, FLOPS),
    NUMBER(threads, THREADS),
    NUMBER(process_cpu_ms, PROCESS_CPU_MS),
    NUMBER(involuntary_switches, INVOLUNTARY_SWITCHES),
    NUMBER(disk_bytes, DISK_BYTES),
};

/* What a record points to while it is being recorded. */
struct parts {
    struct dwell_label labels[LABELS_MAX];
    char values[LABELS_MAX][NUMBER_BYTES];
    uint8_t trace_id[16];
    uint8_t span_id[8];
};

static bool given(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return value != NULL && !json_is_null(value);
}

static const char *text(const json_t *line, const char *key)
{
    return json_string_value(json_object_get(line, key));
}

static double number(const json_t *line, const char *key)
{
    const char *word = text(line, key);
    if (word != NULL) {
        return strcmp(word, "-Inf") == 0 ? -INFINITY : INFINITY;
    }
    return json_number_value(json_object_get(line, key));
}

static const uint8_t *bytes(const json_t *line, const char *key, uint8_t *out, size_t count)
{
    const char *digits = text(line, key);
    for (size_t i = 0; digits != NULL && i < count; i++) {
        char pair[] = {digits[2 * i], digits[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return digits == NULL ? NULL : out;
}

/* Of ISO 8601 in UTC; 0 when it is not given. */
static uint64_t nanoseconds(const json_t *line)
{
    const char *from = text(line, "timestamp");
    if (from == NULL) {
        return 0;
    }
    struct tm when;
    memset(&when, 0, sizeof when);
    const char *at = strptime(from, "%Y-%m-%dT%H:%M:%S", &when);
    uint64_t fraction = 0;
    uint64_t unit = 100000000;
    if (at != NULL && *at == '.') {
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10) {
            fraction += (uint64_t)(*at - '0') * unit;
        }
    }
    return (uint64_t)timegm(&when) * 1000000000u + fraction;
}

/* Labels or attributes; numbers and truths become texts, as in NDJSON. */
static size_t labels(json_t *line, const char *name, struct parts *parts)
{
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(line, name), key, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        const char *shown = json_string_value(value);
        if (json_is_boolean(value)) {
            shown = json_is_true(value) ? "true" : "false";
        } else if (json_is_integer(value)) {
            (void)snprintf(parts->values[count], NUMBER_BYTES, "%" JSON_INTEGER_FORMAT,
                           json_integer_value(value));
            shown = parts->values[count];
        }
        parts->labels[count].key = key;
        parts->labels[count].value = shown;
        count++;
    }
    return count;
}

static void record_sample(dwell_t *dwell, json_t *line, struct parts *parts)
{
    struct dwell_sample sample;
    memset(&sample, 0, sizeof sample);
    sample.size = sizeof sample;
    sample.model_name = text(line, "model_name");
    sample.execution_time_ms = number(line, "execution_time_ms");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (given(line, numbers[i].key)) {
            double value = number(line, numbers[i].key);
            memcpy((char *)&sample + numbers[i].offset, &value, sizeof value);
            sample.has |= numbers[i].has;
        }
    }
    if (given(line, "thread_id")) {
        sample.thread_id = (uint64_t)json_integer_value(json_object_get(line, "thread_id"));
        sample.has |= DWELL_HAS_THREAD_ID;
    }
    sample.error = json_is_true(json_object_get(line, "error"));
    sample.error_text = text(line, "error");
    sample.device = text(line, "device");
    sample.timestamp_unix_nano = nanoseconds(line);
    sample.trace_id = bytes(line, "trace_id", parts->trace_id, sizeof parts->trace_id);
    sample.span_id = bytes(line, "span_id", parts->span_id, sizeof parts->span_id);
    sample.labels = parts->labels;
    sample.label_count = labels(line, "labels", parts);
    dwell_sample(dwell, &sample);
}

static enum dwell_aggregation aggregation(const json_t *line)
{
    static const char *const words[] = {"", "last", "sum", "max", "min", "per_pid"};
    const char *word = text(line, "aggregation");
    for (size_t i = 1; word != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0) {
            return (enum dwell_aggregation)i;
        }
    }
    return DWELL_AGGREGATION_UNSAID;
}

/* False: it is no metric. */
static bool record_metric(dwell_t *dwell, json_t *line, struct parts *parts)
{
    struct dwell_metric metric;
    memset(&metric, 0, sizeof metric);
    metric.size = sizeof metric;
    const char *type = text(line, "type");
    if (strcmp(type, "counter") == 0) {
        metric.op = DWELL_COUNT;
    } else if (strcmp(type, "gauge") == 0) {
        metric.op = given(line, "delta") ? DWELL_ADD : DWELL_SET;
    } else if (strcmp(type, "histogram") == 0) {
        metric.op = DWELL_OBSERVE;
    } else if (strcmp(type, "info") == 0) {
        metric.op = DWELL_INFO;
    } else {
        return false;
    }
    metric.name = text(line, "name");
    metric.value = number(line, given(line, "delta") ? "delta" : "value");
    metric.unit = text(line, "unit");
    metric.aggregation = aggregation(line);
    metric.timestamp_unix_nano = nanoseconds(line);
    metric.trace_id = bytes(line, "trace_id", parts->trace_id, sizeof parts->trace_id);
    metric.span_id = bytes(line, "span_id", parts->span_id, sizeof parts->span_id);
    metric.attributes = parts->labels;
    metric.attribute_count = labels(line, "attributes", parts);
    dwell_metric(dwell, &metric);
    return true;
}

static bool record(dwell_t *dwell, json_t *line)
{
    struct parts parts;
    const char *type = text(line, "type");
    if (type == NULL || strcmp(type, "sample") == 0) {
        record_sample(dwell, line, &parts);
        return true;
    }
    return record_metric(dwell, line, &parts);
}

int main(void)
{
    dwell_t *dwell = dwell_open(NULL);
    char *text_of_line = NULL;
    size_t size = 0;
    ssize_t length;
    bool known = true;
    while (known && (length = getline(&text_of_line, &size, stdin)) >= 0) {
        json_t *line = json_loadb(text_of_line, (size_t)length, 0, NULL);
        known = line != NULL && record(dwell, line);
        json_decref(line);
    }
    free(text_of_line);
    bool sent = dwell_flush(dwell, FLUSH_MS) == DWELL_OK;
    sent = dwell_close(dwell) == DWELL_OK && sent;
    return !known ? 2 : sent ? 0 : 1;
}
