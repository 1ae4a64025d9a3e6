/*
 * wire/line_span against jansson, on generated and mutated lines: the same span, put together from what
 * the library read, or both refuse the line. And what becomes of a span without memory. test_ndjson has
 * the files.
 */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/message.h"
#include "mem_fault.h"
#include "wire/line.h"
#include "wire/ndjson.h"
#include "wire_data.h"
#include "wire_json.h"
#include "wire_otlp.h"

enum {
    LINES = 20000, /* generated; each is also tried with damage */
    OTLP_MAX = 1 << 20,
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* What jansson says */

static struct buf otlp;     /* what is in the expected span */
static struct str told[64]; /* unknown keys inside */
static size_t told_count;

static bool is_one_of(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static struct str since(size_t start)
{
    return (struct str){otlp.data + start, otlp.len - start};
}

static bool write_value(const json_t *value, bool is_element)
{
    if (json_is_string(value)) {
        message_str(&otlp, 1, wire_json_text_of(value));
    } else if (json_is_boolean(value)) {
        message_u64(&otlp, 2, json_is_true(value));
    } else if (json_is_integer(value)) {
        message_i64(&otlp, 3, json_integer_value(value));
    } else if (json_is_real(value)) {
        message_double(&otlp, 4, json_real_value(value));
    } else {
        return is_element && json_is_null(value);
    }
    return true;
}

static bool write_list(const json_t *list)
{
    size_t index;
    json_t *value;
    size_t start = message_begin(&otlp, 5);
    bool good = true;
    json_array_foreach(list, index, value)
    {
        size_t element = message_begin(&otlp, 1);
        good = good && write_value(value, true);
        message_end(&otlp, element);
    }
    message_end(&otlp, start);
    return good;
}

/* One attribute after the other, into `span` or only into the bytes. False when one is bad. */
static bool write_attributes(const json_t *object, unsigned field, struct span *span,
                             uint32_t *ret_dropped)
{
    uint32_t count = 0;
    const char *key;
    size_t key_len;
    json_t *value;
    if (object != NULL && !json_is_object(object)) {
        return false;
    }
    json_object_keylen_foreach((json_t *)(uintptr_t)object, key, key_len, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        size_t start = otlp.len;
        size_t pair = message_begin(&otlp, field);
        message_str(&otlp, 1, (struct str){key, key_len});
        size_t body = message_begin(&otlp, 2);
        bool good = json_is_array(value) ? write_list(value) : write_value(value, false);
        message_end(&otlp, body);
        message_end(&otlp, pair);
        if (!good || key_len == 0 || key_len > RECORD_NAME_MAX) {
            return false;
        }
        if (count == 128) {
            otlp.len = start;
            ++*ret_dropped;
        } else if (++count, span != NULL) {
            span->attributes[span->attribute_count++] =
                (struct span_attribute){.key = {key, key_len},
                                        .field = since(start),
                                        .is_text = json_is_string(value),
                                        .text = wire_json_text_of(value)};
        }
    }
    return true;
}

/* Tells a key that an object inside may not have; false when its value is too deep. */
static bool tell_inner(const json_t *object, const char *const *keys, size_t count)
{
    const char *key;
    size_t key_len;
    json_t *value;
    if (!json_is_object(object)) {
        return false;
    }
    json_object_keylen_foreach((json_t *)(uintptr_t)object, key, key_len, value)
    {
        if (is_one_of(key, keys, count)) {
            continue;
        }
        bool known = told_count == LINE_INNER_UNKNOWN_MAX;
        for (size_t i = 0; i < told_count; i++) {
            known |= str_equal(told[i], (struct str){key, key_len});
        }
        if (!known) {
            told[told_count++] = (struct str){key, key_len};
        }
        if (wire_json_depth_of(value) + 2 > LINE_DEPTH_MAX) {
            return false;
        }
    }
    return true;
}

static void write_nanos(uint64_t nanos)
{
    nanos = htole64(nanos);
    buf_char(&otlp, 1 << 3 | 1);
    buf_append(&otlp, &nanos, sizeof nanos);
}

static bool write_event(const json_t *event, uint32_t *ret_dropped)
{
    static const char *const keys[] = {"name", "time_unix_nano", "attributes"};
    struct str name = {NULL, 0};
    uint64_t nanos = 0;
    bool has = false;
    if (!tell_inner(event, keys, COUNT_OF(keys)) || wire_json_get(event, "name") == NULL ||
        !wire_json_take_text(event, "name", 0, SIZE_MAX, &name) ||
        !wire_json_take_count(event, "time_unix_nano", &nanos, &has) || !has) {
        return false;
    }
    write_nanos(nanos);
    message_str(&otlp, 2, name);
    return write_attributes(wire_json_get(event, "attributes"), 3, NULL, ret_dropped);
}

static bool write_link(const json_t *link, uint32_t *ret_dropped)
{
    static const char *const keys[] = {"trace_id", "span_id", "trace_state", "attributes"};
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    struct str state = {NULL, 0};
    bool has_trace_id = false;
    bool has_span_id = false;
    if (!tell_inner(link, keys, COUNT_OF(keys)) ||
        !wire_json_take_id(link, "trace_id", trace_id, sizeof trace_id, &has_trace_id) ||
        !wire_json_take_id(link, "span_id", span_id, sizeof span_id, &has_span_id) ||
        !has_trace_id || !has_span_id ||
        !wire_json_take_text(link, "trace_state", 0, SIZE_MAX, &state)) {
        return false;
    }
    message_str(&otlp, 1, (struct str){(const char *)trace_id, sizeof trace_id});
    message_str(&otlp, 2, (struct str){(const char *)span_id, sizeof span_id});
    if (wire_json_get(link, "trace_state") != NULL) {
        message_str(&otlp, 3, state);
    }
    return write_attributes(wire_json_get(link, "attributes"), 4, NULL, ret_dropped);
}

static bool take_children(const json_t *list,
                          bool (*write)(const json_t *child, uint32_t *ret_dropped),
                          struct span_child *children, uint32_t *count, uint32_t *dropped)
{
    size_t index;
    json_t *value;
    if (list != NULL && !json_is_array(list)) {
        return false;
    }
    json_array_foreach(list, index, value)
    {
        struct span_child child = {.dropped = 0};
        size_t start = otlp.len;
        if (!write(value, &child.dropped)) {
            return false;
        }
        child.body = since(start);
        if (*count < 128) {
            children[(*count)++] = child;
        } else {
            ++*dropped;
        }
    }
    return true;
}

/* True when there is no such text, or one of the words. */
static bool take_word(const json_t *object, const char *key, const char *const *words, size_t count,
                      unsigned *ret_place)
{
    const json_t *value = wire_json_get(object, key);
    for (unsigned i = 0; i < count && json_is_string(value); i++) {
        if (str_is(wire_json_text_of(value), words[i])) {
            *ret_place = i;
            return true;
        }
    }
    return value == NULL;
}

static bool take_status(const json_t *object, struct span *span)
{
    static const char *const keys[] = {"code", "message"};
    static const char *const words[] = {"unset", "ok", "error"};
    const json_t *status = wire_json_get(object, "status");
    unsigned code = 0;
    if (status == NULL) {
        return true;
    }
    bool good = tell_inner(status, keys, COUNT_OF(keys)) &&
                take_word(status, "code", words, COUNT_OF(words), &code) &&
                wire_json_take_text(status, "message", 0, SIZE_MAX, &span->status_message);
    span->status = (enum span_status)code;
    return good;
}

static bool take_words(const json_t *object, struct span *span)
{
    static const char *const kinds[] = {"unspecified", "internal", "server",
                                        "client",      "producer", "consumer"};
    const json_t *sampled = wire_json_get(object, "sampled");
    unsigned kind = 0;
    bool good = take_word(object, "kind", kinds, COUNT_OF(kinds), &kind);
    span->kind = (uint8_t)kind;
    span->has_flags = sampled != NULL;
    span->flags = json_is_true(sampled);
    return good && (sampled == NULL || json_is_boolean(sampled));
}

static bool take_times(const json_t *object, struct span *span)
{
    bool has_start = false;
    bool has_end = false;
    uint64_t end = 0;
    if (!wire_json_take_count(object, "start_time_unix_nano", &span->start_wall_ns, &has_start)) {
        return false;
    }
    if (span->part != SPAN_START &&
        (!wire_json_take_count(object, "end_time_unix_nano", &end, &has_end) || end == 0 ||
         end > INT64_MAX || end < span->start_wall_ns)) {
        return false;
    }
    span->end_wall_ns = end;
    return span->start_wall_ns <= INT64_MAX && (span->start_wall_ns > 0 || span->part == SPAN_END);
}

static bool take_ids(const json_t *object, struct span *span)
{
    static const uint8_t zeros[RECORD_TRACE_ID_BYTES];
    bool has[3];
    return wire_json_take_id(object, "trace_id", span->trace_id, sizeof span->trace_id, &has[0]) &&
           wire_json_take_id(object, "span_id", span->span_id, sizeof span->span_id, &has[1]) &&
           wire_json_take_id(object, "parent_span_id", span->parent_id, sizeof span->parent_id,
                             &has[2]) &&
           has[0] && has[1] && memcmp(span->trace_id, zeros, sizeof span->trace_id) != 0 &&
           memcmp(span->span_id, zeros, sizeof span->span_id) != 0;
}

static bool tell_unknown(struct recorder *expected, const json_t *object, enum span_part part)
{
    static const char *const keys[] = {
        "type",       "name",        "trace_id",       "span_id",     "start_time_unix_nano",
        "attributes", "events",      "parent_span_id", "links",       "kind",
        "status",     "trace_state", "sampled",        "service_name"};
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)object, key, key_len, value)
    {
        if (is_one_of(key, keys, COUNT_OF(keys)) ||
            (part != SPAN_START && strcmp(key, "end_time_unix_nano") == 0)) {
            continue;
        }
        if (wire_json_depth_of(value) > LINE_DEPTH_MAX) {
            return false;
        }
        expected->sink.unknown_key(expected, (struct str){key, key_len});
    }
    return true;
}

/* Children are taken as they come, since the order of their unknown keys is that of the line. */
static bool take_objects(const json_t *object, struct span *span)
{
    const char *key;
    json_t *value;
    bool good = true;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        if (strcmp(key, "events") == 0) {
            good = good && take_children(value, write_event, span->events, &span->event_count,
                                         &span->dropped_events);
        } else if (strcmp(key, "links") == 0) {
            good = good && take_children(value, write_link, span->links, &span->link_count,
                                         &span->dropped_links);
        } else if (strcmp(key, "status") == 0) {
            good = good && take_status(object, span);
        }
    }
    return good && write_attributes(wire_json_get(object, "attributes"), 9, span,
                                    &span->dropped_attributes);
}

/* Writes what the sink should see of an object that is accepted. */
static bool expect_span(struct recorder *expected, const json_t *object)
{
    static const char *const types[] = {"span", "span_start", "span_end"};
    static struct span_room room;
    struct span span;
    unsigned part = COUNT_OF(types);
    recorder_clear(expected);
    buf_clear(&otlp);
    assert_non_null(buf_reserve(&otlp, OTLP_MAX));
    span_init(&span, &room);
    told_count = 0;
    if (!take_word(object, "type", types, COUNT_OF(types), &part) || part == COUNT_OF(types)) {
        return false;
    }
    span.part = (enum span_part)part;
    if (!tell_unknown(expected, object, span.part) ||
        !wire_json_take_text(object, "name", 1, RECORD_NAME_MAX, &span.name) ||
        span.name.len == 0 || !take_ids(object, &span) || !take_times(object, &span) ||
        !take_words(object, &span) ||
        !wire_json_take_text(object, "trace_state", 0, SPAN_STATE_MAX, &span.trace_state) ||
        !wire_json_take_text(object, "service_name", 0, RECORD_NAME_MAX, &span.service_name) ||
        !take_objects(object, &span)) {
        return false;
    }
    for (size_t i = 0; i < told_count; i++) {
        expected->sink.unknown_key(expected, told[i]);
    }
    return expected->sink.span(expected, &span) == 0;
}

/* Not compared: what the library has no whole numbers for, and a key that stands twice, which it refuses
 * and we do only where keys are remembered: not when null, above the limit, or unknown and inside. */
static bool is_compared(struct str line)
{
    json_error_t error;
    json_t *object = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    bool compared = object != NULL || (json_error_code(&error) != json_error_numeric_overflow &&
                                       json_error_code(&error) != json_error_duplicate_key);
    json_decref(object);
    return compared && memchr(line.ptr, '\0', line.len) == NULL;
}

static void feed(struct ndjson *ndjson, struct recorder *recorder, struct str bytes)
{
    char *copy = wire_copy(bytes);
    assert_int_equal(ndjson_feed(ndjson, (struct str){copy, bytes.len}, &recorder->sink), 0);
    recorder_check(recorder);
    free(copy);
}

/* A ceiling that jansson has not: keys of objects that are skipped, as one whose own key was damaged is. */
static bool is_past_unknown_keys(const struct recorder *ours, struct str line)
{
    size_t keys = 0;
    for (size_t i = 0; i < line.len; i++) {
        keys += line.ptr[i] == ':';
    }
    return strstr(ours->text, "reject limit_reached") != NULL && keys > LINE_UNKNOWN_MAX;
}

/* Returns whether the line was accepted. */
static bool must_agree(struct ndjson *ndjson, struct recorder *ours, struct recorder *theirs,
                       struct str line)
{
    recorder_clear(ours);
    feed(ndjson, ours, line);
    feed(ndjson, ours, STR_LITERAL("\n"));
    assert_int_equal(ours->accepted + ours->controls + ours->rejected <= 1, 1);
    if (!is_compared(line) || is_past_unknown_keys(ours, line)) {
        return false;
    }
    json_error_t error;
    json_t *object = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    const json_t *type = wire_json_get(object, "type");
    bool is_span = json_is_string(type) && strncmp(json_string_value(type), "span", 4) == 0;
    if (json_is_object(object) && !is_span) {
        json_decref(object); /* for test_ndjson */
        return false;
    }
    bool accepted = json_is_object(object) && expect_span(theirs, object);
    if ((ours->accepted == 1) != accepted || (accepted && strcmp(ours->text, theirs->text) != 0)) {
        print_error("%.*s\n", (int)line.len, line.ptr);
        fail_msg("ours: %stheirs: %s", ours->text, theirs->text);
    }
    json_decref(object);
    return accepted;
}

/* Random lines */

static void put_key(struct wire_line *line, const char *key)
{
    char last = line->len > 0 ? line->bytes[line->len - 1] : '{';
    wire_put(line, last == '{' || last == '[' ? "" : ",");
    wire_put_blanks(line);
    wire_put(line, "\"");
    wire_put(line, key);
    wire_put(line, "\"");
    wire_put_blanks(line);
    wire_put(line, ":");
    wire_put_blanks(line);
}

static void put_id(struct wire_line *line, size_t digits)
{
    wire_put(line, "\"");
    bool zeros = once_in(60);
    for (size_t i = once_in(60) ? digits - 1 : digits; i > 0; i--) {
        wire_put(line, zeros ? "0" : PICK("0", "1", "9", "a", "F", "c"));
    }
    wire_put(line, "\"");
}

static void put_scalar(struct wire_line *line)
{
    switch (wire_random_below(&wire_json_dice, 4)) {
    case 0:
        wire_put(line, PICK("true", "false", "null", "0", "-0", "-1", "-0.0", "1.5", "1e3",
                            "9223372036854775807", "-9223372036854775808"));
        break;
    case 1:
        if (once_in(20)) {
            wire_put_number(line);
        } else {
            wire_put(line, "200");
        }
        break;
    default:
        wire_put(line, PICK("\"\"", "\"a\"", "\"\\u00e9\"", "\"模\"", "\"a\\n\""));
    }
}

static void put_attribute_value(struct wire_line *line)
{
    if (once_in(100)) {
        wire_put_value(line, 0);
    } else if (once_in(5)) {
        wire_put(line, "[");
        for (size_t i = wire_random_below(&wire_json_dice, 4); i > 0; i--) {
            put_scalar(line);
            wire_put(line, i > 1 ? "," : "");
        }
        wire_put(line, "]");
    } else {
        put_scalar(line);
    }
}

static void put_attributes(struct wire_line *line)
{
    char key[300];
    bool many = once_in(60);
    wire_put(line, "{");
    for (size_t i = many ? 126 + wire_random_below(&wire_json_dice, 6)
                         : wire_random_below(&wire_json_dice, 4);
         i > 0; i--) {
        (void)snprintf(key, sizeof key, "%s%zu", PICK("k", "é", "\\u0061", "a.b"), i); /* fits */
        if (once_in(300)) {
            size_t len = 255 + wire_random_below(&wire_json_dice, 3);
            memset(key, 'k', len);
            key[len] = '\0';
        } else if (once_in(200)) {
            key[0] = '\0';
        }
        put_key(line, key);
        put_attribute_value(line);
    }
    wire_put(line, "}");
}

static void put_words(struct wire_line *line, const char *first, const char *second,
                      const char *third)
{
    wire_put(line, "\"");
    wire_put(line, once_in(60) ? PICK("", "Error", "5") : PICK(first, second, third));
    wire_put(line, "\"");
}

static void put_stray(struct wire_line *line)
{
    if (once_in(30)) {
        put_key(line, PICK("x", "y", "flags", "value", "é", "links"));
        wire_put_value(line, (int)wire_random_below(&wire_json_dice, 9));
    }
}

static void put_time(struct wire_line *line)
{
    if (once_in(60)) {
        wire_put_count(line);
    } else {
        wire_put(line, PICK("1", "\"17\"", "1700000000000000000", "\"1700000000000000001\""));
    }
}

static void put_event(struct wire_line *line)
{
    wire_put(line, "{");
    if (!once_in(60)) {
        put_key(line, "name");
        wire_put(line, once_in(60) ? "1" : PICK("\"e\"", "\"\"", "\"\\u00e9\""));
    }
    put_stray(line);
    if (!once_in(60)) {
        put_key(line, "time_unix_nano");
        put_time(line);
    }
    if (once_in(2)) {
        put_key(line, "attributes");
        put_attributes(line);
    }
    wire_put(line, "}");
}

static void put_link(struct wire_line *line)
{
    wire_put(line, "{");
    if (once_in(3)) {
        put_key(line, "trace_state");
        wire_put(line, PICK("\"a=1\"", "\"\"", "null"));
    }
    if (!once_in(60)) {
        put_key(line, "trace_id");
        put_id(line, 32);
    }
    if (!once_in(60)) {
        put_key(line, "span_id");
        put_id(line, 16);
    }
    put_stray(line);
    if (once_in(2)) {
        put_key(line, "attributes");
        put_attributes(line);
    }
    wire_put(line, "}");
}

static void put_children(struct wire_line *line, void (*put)(struct wire_line *line))
{
    size_t many = once_in(60) ? 126 + wire_random_below(&wire_json_dice, 6) : 0;
    wire_put(line, "[");
    for (size_t i = many > 0 ? many : wire_random_below(&wire_json_dice, 3); i > 0; i--) {
        if (many > 0) {
            wire_put(line, put == put_event ? "{\"name\":\"\",\"time_unix_nano\":0}"
                                            : "{\"trace_id\":\"00000000000000000000000000000000\","
                                              "\"span_id\":\"0000000000000000\"}");
        } else {
            put(line);
        }
        wire_put(line, i > 1 ? "," : "");
    }
    wire_put(line, "]");
}

static void put_status(struct wire_line *line)
{
    wire_put(line, "{");
    if (once_in(2)) {
        put_key(line, "code");
        put_words(line, "unset", "ok", "error");
    }
    put_stray(line);
    if (once_in(2)) {
        put_key(line, "message");
        wire_put_text(line);
    }
    wire_put(line, "}");
}

/* What a span need not have, by number. */
static void put_part(struct wire_line *line, unsigned number)
{
    static const char *const keys[] = {
        "parent_span_id", "kind",    "status",       "events",     "links",
        "trace_state",    "sampled", "service_name", "attributes", "x"};
    put_key(line, keys[number]);
    if (once_in(30)) {
        wire_put(line, "null");
        return;
    }
    if (once_in(60)) {
        wire_put_value(line, 0);
        return;
    }
    switch (number) {
    case 0:
        put_id(line, 16);
        break;
    case 1:
        put_words(line, PICK("unspecified", "internal"), PICK("server", "client"),
                  PICK("producer", "consumer"));
        break;
    case 2:
        put_status(line);
        break;
    case 3:
        put_children(line, put_event);
        break;
    case 4:
        put_children(line, put_link);
        break;
    case 5:
    case 7:
        wire_put(line, PICK("\"a=1\"", "\"\"", "\"\\u00e9\""));
        break;
    case 6:
        wire_put(line, PICK("true", "false"));
        break;
    case 8:
        put_attributes(line);
        break;
    default:
        wire_put_value(line, 0);
    }
}

static void put_line(struct wire_line *line)
{
    const char *type = PICK("span", "span_start", "span_end");
    bool first = once_in(2);
    wire_put(line, "{");
    if (first) {
        put_key(line, "type");
        wire_put(line, "\"");
        wire_put(line, type);
        wire_put(line, "\"");
    }
    for (unsigned i = 0; i < 10; i++) {
        if (i == 5 && !once_in(60)) {
            put_key(line, "name");
            wire_put(line, once_in(60) ? PICK("\"\"", "1", "\"\\u0000\"") : "\"n\"");
        }
        if (once_in(4)) {
            put_part(line, i);
        }
    }
    if (!once_in(60)) {
        put_key(line, "trace_id");
        put_id(line, 32);
    }
    if (!once_in(60)) {
        put_key(line, "span_id");
        put_id(line, 16);
    }
    if (!once_in(9)) {
        put_key(line, "start_time_unix_nano");
        wire_put(line, once_in(9) ? PICK("0", "-1", "9223372036854775807", "5000") : "5");
    }
    if (!once_in(9)) {
        put_key(line, "end_time_unix_nano");
        wire_put(line, once_in(9) ? PICK("0", "4", "\"9223372036854775808\"", "5") : "6");
    }
    if (!first) {
        put_key(line, "type");
        wire_put(line, "\"");
        wire_put(line, type);
        wire_put(line, "\"");
    }
    wire_put(line, "}");
}

static void test_line_span_agrees_with_jansson(void **state)
{
    (void)state;
    static char bytes[WIRE_LINE_MAX];
    struct recorder ours;
    struct recorder theirs;
    struct ndjson ndjson;
    size_t accepted = 0;
    size_t damaged = 0;
    recorder_init(&ours);
    recorder_init(&theirs);
    buf_init(&otlp, OTLP_MAX);
    ndjson_init(&ndjson, WIRE_LINE_MAX);
    wire_json_dice = wire_random_start("test_line_span");
    for (size_t i = 0; i < LINES; i++) {
        struct wire_line line = {bytes, 0};
        put_line(&line);
        accepted += must_agree(&ndjson, &ours, &theirs, (struct str){bytes, line.len});
        wire_json_damage(&line);
        damaged += must_agree(&ndjson, &ours, &theirs, (struct str){bytes, line.len});
    }
    print_message("         accepted: %zu of %d, after damage %zu\n", accepted, LINES, damaged);
    assert_in_range(accepted, LINES / 4, LINES * 9 / 10);
    assert_in_range(damaged, LINES / 20, LINES);
    ndjson_fini(&ndjson);
    buf_fini(&otlp);
    recorder_fini(&theirs);
    recorder_fini(&ours);
}

/* Memory */

#define IDS                                                                                        \
    "\"name\":\"n\",\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\","                            \
    "\"span_id\":\"b7ad6b7169203331\",\"start_time_unix_nano\":1,\"end_time_unix_nano\":2"

#define LINK_IDS                                                                                   \
    "\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\",\"span_id\":\"b7ad6b7169203331\""

/* Each piece that asks for memory; the next line is read when there is some. */
static void test_line_span_without_memory_is_rejected_alone(void **state)
{
    (void)state;
    static const char *const values[] = {
        "\"attributes\":{\"k\":1}",
        "\"attributes\":{\"k\":[-1,\"\\n\"]}",
        "\"events\":[{\"name\":\"e\",\"time_unix_nano\":1,\"attributes\":{\"k\":true}}]",
        "\"links\":[{" LINK_IDS "}]",
        "\"status\":{\"message\":\"\\n\"}",
    };
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char line[1024];
        (void)snprintf(line, sizeof line, /* fits */
                       "{\"type\":\"span\"," IDS ",%s}\n{\"type\":\"flush\"}\n", values[i]);
        struct recorder recorder;
        recorder_init(&recorder);
        size_t live = mem_count_live();
        size_t failures = 0;
        bool failed = true;
        for (size_t n = 1; failed; n++) {
            struct ndjson ndjson;
            ndjson_init(&ndjson, 4096);
            recorder_clear(&recorder);
            mem_fail_after(n);
            assert_int_equal(ndjson_feed(&ndjson, str_of(line), &recorder.sink), 0);
            recorder_check(&recorder);
            failed = mem_has_failed();
            mem_fail_after(0);
            failures += failed;
            assert_int_equal(recorder.controls, 1);
            if (failed && recorder.rejected > 0) {
                assert_non_null(strstr(recorder.text, "reject out_of_memory key=\""));
            } else {
                assert_int_equal(recorder.accepted, 1);
            }
            assert_int_equal(recorder.accepted + recorder.rejected, 1);
            ndjson_fini(&ndjson);
            assert_int_equal(mem_count_live(), live);
        }
        assert_true(failures > 0);
        recorder_fini(&recorder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_span_without_memory_is_rejected_alone),
        cmocka_unit_test(test_line_span_agrees_with_jansson),
    };
    return cmocka_run_group_tests_name("line_span", tests, NULL, NULL);
}
