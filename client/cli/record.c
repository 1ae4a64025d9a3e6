#include "cli/record.h"

#include <jansson.h>
#include <sysexits.h>

#include "base/near.h"
#include "base/num.h"
#include "cli/text.h"

/* The keys of a sample, as proto/WIRE.md has them, but for labels, which go one by one. */
static const struct {
    const char *name;
    bool is_text; /* although it may look like a number */
} keys[] = {
    {"model_name", true},
    {"execution_time_ms", false},
    {"cpu_percent_before", false},
    {"cpu_percent_during", false},
    {"memory_mb_before", false},
    {"memory_mb_after", false},
    {"timestamp", true},
    {"error", false},
    {"batch_size", false},
    {"queue_ms", false},
    {"device", true},
    {"trace_id", true},
    {"span_id", true},
    {"user_ms", false},
    {"system_ms", false},
    {"runqueue_ms", false},
    {"minor_faults", false},
    {"major_faults", false},
    {"voluntary_switches", false},
    {"bytes_moved", false},
    {"flops", false},
    {"threads", false},
    {"process_cpu_ms", false},
    {"involuntary_switches", false},
    {"disk_bytes", false},
    {"thread_id", false},
    {"type", true},
};
enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

/* The row of a key, or KEY_COUNT. */
static size_t find_key(struct str name)
{
    size_t row = 0;
    while (row < KEY_COUNT && !str_is(name, keys[row].name)) {
        row++;
    }
    return row;
}

static json_t *text_json(struct str text)
{
    return json_stringn(text.ptr, text.len);
}

/* A number as it was written, true, false, or else a text. NULL: it is not UTF-8. */
static json_t *value_json(bool is_text, struct str value)
{
    double number;
    if (!is_text && num_read_double(value, &number) == 0) {
        json_error_t error;
        return json_loadb(value.ptr, value.len, JSON_DECODE_ANY, &error);
    }
    if (str_is(value, "true") || str_is(value, "false")) {
        return json_boolean(str_is(value, "true"));
    }
    return text_json(value);
}

static int refuse(struct buf *problem, const char *what, const char *operand)
{
    buf_puts(problem, what);
    text_safe(problem, str_of(operand), true);
    return EX_USAGE;
}

/* The daemon would take the sample and leave the key, and nobody would know. */
static int refuse_key(struct buf *problem, struct str key)
{
    struct near near;
    near_init(&near, key);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        near_try(&near, keys[i].name);
    }
    buf_puts(problem, "send: there is no key ");
    text_safe(problem, key, true);
    if (near.best != NULL) {
        buf_printf(problem, " (did you mean %s?)", near.best);
    } else {
        buf_puts(problem, ". What is free goes as labels.KEY=VALUE");
    }
    return EX_USAGE;
}

/* KEY=VALUE, labels.KEY=VALUE */
static int add_key(json_t *sample, const char *operand, struct buf *problem)
{
    static const char prefix[] = "labels.";
    struct str key = {operand, strcspn(operand, "=")};
    struct str value = str_of(operand + key.len + 1);
    json_t *into = sample;
    if (key.len > sizeof prefix - 1 && memcmp(key.ptr, prefix, sizeof prefix - 1) == 0) {
        into = json_object_get(sample, "labels");
        if (into == NULL) {
            into = json_object();
            if (json_object_set_new(sample, "labels", into) != 0) {
                return EX_OSERR;
            }
        }
        key = (struct str){key.ptr + sizeof prefix - 1, key.len - (sizeof prefix - 1)};
    }
    if (key.len == 0) {
        return refuse(problem, "send: expects KEY=VALUE, got ", operand);
    }
    size_t row = into == sample ? find_key(key) : 0;
    if (row == KEY_COUNT) {
        return refuse_key(problem, key);
    }
    if (into == sample && str_is(key, "execution_time_ms")) {
        return refuse(problem, "send: expects times without a key, got ", operand);
    }
    struct buf name;
    buf_init(&name, key.len + 1);
    buf_str(&name, key);
    buf_char(&name, '\0');
    int status = name.err != 0 ? EX_OSERR : 0;
    if (status == 0 && json_object_get(into, name.data) != NULL) {
        status = refuse(problem, "send: the key is given twice: ", operand);
    }
    json_t *json = into == sample ? value_json(keys[row].is_text, value) : text_json(value);
    if (status == 0 && (json == NULL || json_object_set(into, name.data, json) != 0)) {
        status = refuse(problem, "send: is no UTF-8: ", operand);
    }
    json_decref(json);
    buf_fini(&name);
    return status;
}

static int put_sample(json_t *sample, const char *time, struct buf *out, struct buf *problem)
{
    double ms;
    if (num_read_double(str_of(time), &ms) != 0) {
        return refuse(problem, "send: expects a time in ms or KEY=VALUE, got ", time);
    }
    if (json_object_set_new(sample, "execution_time_ms", json_real(ms)) != 0) {
        return EX_OSERR;
    }
    char *line = json_dumps(sample, JSON_COMPACT);
    if (line == NULL) {
        return EX_OSERR;
    }
    buf_puts(out, line);
    buf_char(out, '\n');
    free(line);
    return out->err != 0 ? EX_OSERR : 0;
}

int record_samples(int count, char *const *operands, struct buf *out, struct buf *problem)
{
    json_t *sample = json_object();
    json_t *name = json_string(operands[0]);
    int status = 0;
    int times = 0;
    if (name == NULL || json_object_set(sample, "model_name", name) != 0) {
        status = refuse(problem, "send: is no UTF-8: ", operands[0]);
    }
    json_decref(name);
    for (int i = 1; status == 0 && i < count; i++) {
        if (strchr(operands[i], '=') != NULL) {
            status = add_key(sample, operands[i], problem);
        }
    }
    for (int i = 1; status == 0 && i < count; i++) {
        if (strchr(operands[i], '=') == NULL) {
            status = put_sample(sample, operands[i], out, problem);
            times++;
        }
    }
    if (status == 0 && times == 0) {
        buf_puts(problem, "send: expects MODEL and a time in ms, got no time");
        status = EX_USAGE;
    }
    if (status == EX_OSERR) {
        buf_puts(problem, "no memory for the samples");
    }
    json_decref(sample);
    return status;
}

void record_hello(const char *hash, struct buf *out)
{
    json_t *hello = json_pack("{s:s, s:s, s:s}", "type", "hello", "client", "dwell/" DWELL_VERSION,
                              "constitutional_hash", hash);
    char *line = hello == NULL ? NULL : json_dumps(hello, JSON_COMPACT);
    if (line == NULL) {
        out->err = out->err == 0 ? -1 : out->err; /* out of memory, or the hash is no UTF-8 */
    } else {
        buf_puts(out, line);
        buf_char(out, '\n');
    }
    free(line);
    json_decref(hello);
}
