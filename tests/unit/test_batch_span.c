/*
 * wire/batch_span against protobuf-c, on generated and mutated spans: the same span, or refused for one
 * of the reasons that what the library read gives; and both find the same damage. What the rules add to
 * the library's is in wire_message and below; test_frames has the files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dwell.pb-c.h>
#include <jansson.h>

#include "base/err.h"
#include "wire/batch.h"
#include "wire_data.h"
#include "wire_message.h"
#include "wire_random.h"
#include "wire_recorder.h"

enum {
    SPANS = 20000,    /* generated; each is also tried with damage */
    DEPTH_TRIED = 11, /* of lists in lists */
};

static struct batch_decoder decoder;
static uint8_t batch_bytes[WIRE_BYTES_MAX];
static uint8_t span_bytes[WIRE_BYTES_MAX];

static int decode(struct recorder *recorder, struct str bytes)
{
    char *copy = wire_copy(bytes);
    recorder_clear(recorder);
    int err = batch_decode(&decoder, (struct str){copy, bytes.len}, &recorder->sink);
    recorder_check(recorder);
    free(copy);
    return err;
}

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

static struct str text_of(const char *text)
{
    return text != NULL ? str_of(text) : (struct str){NULL, 0};
}

static size_t count_unknown(const ProtobufCMessage *message)
{
    return message->n_unknown_fields;
}

/* What the library says: a span, or reasons against it. Which of several is told depends on the order
 * of the bytes, and the library does not keep that. */

static struct recorder ours;
static struct recorder theirs;
static struct recorder reasons;

static void give_reason(int err, struct str key)
{
    struct rejection rejection = {.err = err, .key = key};
    reasons.sink.reject(&reasons, &rejection);
}

static void judge_text(const char *text, size_t max, struct str key)
{
    struct str given = text_of(text);
    json_t *read = given.len == 0 ? NULL : json_stringn(given.ptr, given.len);
    if (given.len > max) {
        give_reason(ERR_RANGE, key);
    } else if (given.len > 0 && read == NULL) { /* jansson takes UTF-8 only */
        give_reason(ERR_NAME, key);
    }
    json_decref(read);
}

static void judge_id(bool has, ProtobufCBinaryData id, size_t len, struct str key)
{
    if (has && id.len != len) {
        give_reason(ERR_RANGE, key);
    }
}

/* What is too deep is not looked at, by nobody. */
static unsigned lists_in(unsigned depth, const Dwell__AnyValue *value)
{
    bool is_list = value->value_case == DWELL__ANY_VALUE__VALUE_ARRAY_VALUE ||
                   value->value_case == DWELL__ANY_VALUE__VALUE_KVLIST_VALUE;
    return depth + is_list;
}

static void judge_pair(const Dwell__KeyValue *pair, unsigned depth);

static void judge_value(const Dwell__AnyValue *value, struct str key, unsigned depth)
{
    depth = lists_in(depth, value);
    if (depth > SPAN_DEPTH_MAX) {
        give_reason(ERR_TOO_DEEP, key);
    } else if (value->value_case == DWELL__ANY_VALUE__VALUE_STRING_VALUE) {
        judge_text(value->string_value, SIZE_MAX, key);
    } else if (value->value_case == DWELL__ANY_VALUE__VALUE_ARRAY_VALUE) {
        for (size_t i = 0; i < value->array_value->n_values; i++) {
            judge_value(value->array_value->values[i], key, depth);
        }
    } else if (value->value_case == DWELL__ANY_VALUE__VALUE_KVLIST_VALUE) {
        for (size_t i = 0; i < value->kvlist_value->n_values; i++) {
            judge_pair(value->kvlist_value->values[i], depth);
        }
    }
}

static void judge_pair(const Dwell__KeyValue *pair, unsigned depth)
{
    if (text_of(pair->key).len == 0) {
        give_reason(ERR_RANGE, STR_LITERAL("attributes"));
    }
    judge_text(pair->key, RECORD_NAME_MAX, STR_LITERAL("attributes"));
    if (pair->value != NULL) {
        judge_value(pair->value, text_of(pair->key), depth);
    }
}

static size_t count_unknown_of_pair(const Dwell__KeyValue *pair, unsigned depth);

static size_t count_unknown_of_value(const Dwell__AnyValue *value, unsigned depth)
{
    size_t count = count_unknown(&value->base);
    depth = lists_in(depth, value);
    if (depth > SPAN_DEPTH_MAX) {
        return count;
    }
    if (value->value_case == DWELL__ANY_VALUE__VALUE_ARRAY_VALUE) {
        count += count_unknown(&value->array_value->base);
        for (size_t i = 0; i < value->array_value->n_values; i++) {
            count += count_unknown_of_value(value->array_value->values[i], depth);
        }
    } else if (value->value_case == DWELL__ANY_VALUE__VALUE_KVLIST_VALUE) {
        count += count_unknown(&value->kvlist_value->base);
        for (size_t i = 0; i < value->kvlist_value->n_values; i++) {
            count += count_unknown_of_pair(value->kvlist_value->values[i], depth);
        }
    }
    return count;
}

static size_t count_unknown_of_pair(const Dwell__KeyValue *pair, unsigned depth)
{
    return count_unknown(&pair->base) +
           (pair->value != NULL ? count_unknown_of_value(pair->value, depth) : 0);
}

static size_t count_unknown_of_span(const Dwell__Span *span)
{
    size_t count = count_unknown(&span->base);
    count += span->status != NULL ? count_unknown(&span->status->base) : 0;
    for (size_t i = 0; i < span->n_attributes; i++) {
        count += count_unknown_of_pair(span->attributes[i], 0);
    }
    for (size_t i = 0; i < span->n_events; i++) {
        count += count_unknown(&span->events[i]->base);
        for (size_t j = 0; j < span->events[i]->n_attributes; j++) {
            count += count_unknown_of_pair(span->events[i]->attributes[j], 0);
        }
    }
    for (size_t i = 0; i < span->n_links; i++) {
        count += count_unknown(&span->links[i]->base);
        for (size_t j = 0; j < span->links[i]->n_attributes; j++) {
            count += count_unknown_of_pair(span->links[i]->attributes[j], 0);
        }
    }
    return count;
}

/* Where what the library writes of a span's parts lies. */
static uint8_t packed_bytes[4 * WIRE_BYTES_MAX];
static size_t packed_len;

static struct str pack(const ProtobufCMessage *message)
{
    uint8_t *start = packed_bytes + packed_len;
    assert_true(protobuf_c_message_get_packed_size(message) <= sizeof packed_bytes - packed_len);
    size_t len = protobuf_c_message_pack(message, start);
    packed_len += len;
    return (struct str){(const char *)start, len};
}

static struct str pack_attribute(const Dwell__KeyValue *pair)
{
    Dwell__Span span = DWELL__SPAN__INIT;
    Dwell__KeyValue *pairs[] = {(Dwell__KeyValue *)(uintptr_t)pair};
    span.attributes = pairs;
    span.n_attributes = 1;
    return pack(&span.base); /* a field of Span, with tag and length */
}

static uint32_t sum_of(uint32_t a, uint64_t b)
{
    return a + b > UINT32_MAX ? UINT32_MAX : (uint32_t)(a + b);
}

static void convert_attributes(const Dwell__Span *from, struct span *span)
{
    uint32_t left = 0;
    for (size_t i = 0; i < from->n_attributes; i++) {
        const Dwell__KeyValue *pair = from->attributes[i];
        judge_pair(pair, 0);
        bool has_value = pair->value != NULL;
        if (count_unknown_of_pair(pair, 0) > 0 || span->attribute_count == SPAN_ATTRIBUTES_MAX) {
            left++;
            continue;
        }
        struct span_attribute attribute = {.key = text_of(pair->key)};
        for (uint32_t j = 0; j < span->attribute_count; j++) {
            if (str_equal(span->attributes[j].key, attribute.key)) {
                give_reason(ERR_DUPLICATE_KEY, attribute.key);
            }
        }
        attribute.is_text =
            has_value && pair->value->value_case == DWELL__ANY_VALUE__VALUE_STRING_VALUE;
        attribute.text = text_of(attribute.is_text ? pair->value->string_value : NULL);
        attribute.field = pack_attribute(pair);
        span->attributes[span->attribute_count++] = attribute;
    }
    span->dropped_attributes = sum_of(from->dropped_attributes_count, left);
}

/* How far the bytes of an event or a link go on, and how many attributes stand behind. */
static size_t cut_child(struct scanner child, bool is_link, uint32_t *ret_left)
{
    const uint8_t *start = child.at;
    const uint8_t *stop = NULL;
    uint32_t attributes = 0;
    struct field field;
    *ret_left = 0;
    while (child.at < child.end) {
        const uint8_t *at = child.at;
        assert_true(scan_field(&child, &field));
        bool is_attribute = field.number == (is_link ? 4 : 3);
        bool strange = field.number > (is_link ? 6 : 4);
        if (is_attribute) {
            Dwell__KeyValue *pair = dwell__key_value__unpack(
                NULL, (size_t)(field.body.end - field.body.at), field.body.at);
            assert_non_null(pair);
            strange =
                ++attributes > SPAN_CHILD_ATTRIBUTES_MAX || count_unknown_of_pair(pair, 0) > 0;
            dwell__key_value__free_unpacked(pair, NULL);
        }
        stop = stop == NULL && strange ? at : stop;
        *ret_left += is_attribute && stop != NULL;
    }
    return (size_t)((stop != NULL ? stop : child.end) - start);
}

static void convert_event(const Dwell__Event *from, struct scanner raw, struct span_child *ret)
{
    uint32_t left = 0;
    judge_text(from->name, SIZE_MAX, STR_LITERAL("events"));
    for (size_t i = 0; i < from->n_attributes; i++) {
        judge_pair(from->attributes[i], 0);
    }
    Dwell__Event *kept = dwell__event__unpack(NULL, cut_child(raw, false, &left), raw.at);
    assert_non_null(kept);
    kept->has_dropped_attributes_count = false;
    *ret = (struct span_child){pack(&kept->base), sum_of(from->dropped_attributes_count, left)};
    dwell__event__free_unpacked(kept, NULL);
}

static void convert_link(const Dwell__Link *from, struct scanner raw, struct span_child *ret)
{
    struct str key = STR_LITERAL("links");
    uint32_t left = 0;
    judge_id(from->has_trace_id, from->trace_id, RECORD_TRACE_ID_BYTES, key);
    judge_id(from->has_span_id, from->span_id, RECORD_SPAN_ID_BYTES, key);
    judge_text(from->trace_state, SIZE_MAX, key);
    for (size_t i = 0; i < from->n_attributes; i++) {
        judge_pair(from->attributes[i], 0);
    }
    Dwell__Link *kept = dwell__link__unpack(NULL, cut_child(raw, true, &left), raw.at);
    assert_non_null(kept);
    kept->has_dropped_attributes_count = false;
    *ret = (struct span_child){pack(&kept->base), sum_of(from->dropped_attributes_count, left)};
    dwell__link__free_unpacked(kept, NULL);
}

static void convert_children(const Dwell__Span *from, struct scanner raw, struct span *span)
{
    size_t events = 0;
    size_t links = 0;
    struct field field;
    struct span_child child;
    while (raw.at < raw.end) {
        assert_true(scan_field(&raw, &field));
        if (field.number == 11) {
            convert_event(from->events[events++], field.body, &child);
            if (events <= SPAN_EVENTS_MAX) {
                span->events[span->event_count++] = child;
            }
        } else if (field.number == 13) {
            convert_link(from->links[links++], field.body, &child);
            if (links <= SPAN_LINKS_MAX) {
                span->links[span->link_count++] = child;
            }
        }
    }
    span->dropped_events = sum_of(from->dropped_events_count, events - span->event_count);
    span->dropped_links = sum_of(from->dropped_links_count, links - span->link_count);
}

static void copy_id(bool has, ProtobufCBinaryData from, uint8_t *id, size_t len)
{
    memset(id, 0, len);
    if (has && from.len == len) {
        memcpy(id, from.data, len);
    }
}

static void convert_single_fields(const Dwell__Span *from, struct span *span)
{
    judge_id(from->has_trace_id, from->trace_id, RECORD_TRACE_ID_BYTES, STR_LITERAL("trace_id"));
    judge_id(from->has_span_id, from->span_id, RECORD_SPAN_ID_BYTES, STR_LITERAL("span_id"));
    judge_id(from->has_parent_span_id && from->parent_span_id.len > 0, from->parent_span_id,
             RECORD_SPAN_ID_BYTES, STR_LITERAL("parent_span_id"));
    judge_text(from->trace_state, SPAN_STATE_MAX, STR_LITERAL("trace_state"));
    judge_text(from->name, SIZE_MAX, STR_LITERAL("name"));
    judge_text(from->service_name, RECORD_NAME_MAX, STR_LITERAL("service_name"));
    copy_id(from->has_trace_id, from->trace_id, span->trace_id, sizeof span->trace_id);
    copy_id(from->has_span_id, from->span_id, span->span_id, sizeof span->span_id);
    copy_id(from->has_parent_span_id, from->parent_span_id, span->parent_id,
            sizeof span->parent_id);
    span->trace_state = text_of(from->trace_state);
    span->name = text_of(from->name);
    span->service_name = text_of(from->service_name);
    span->start_wall_ns = from->start_time_unix_nano;
    span->end_wall_ns = from->end_time_unix_nano;
    span->has_flags = from->has_flags;
    span->flags = from->flags;
    span->kind = (uint8_t)from->kind;
    span->part = (enum span_part)from->part;
    span->end_wall_ns = span->part == SPAN_START ? 0 : span->end_wall_ns;
    if (from->status != NULL) {
        judge_text(from->status->message, SIZE_MAX, STR_LITERAL("status.message"));
        span->status = (enum span_status)from->status->code;
        span->status_message = text_of(from->status->message);
    }
}

static bool is_zeros(const uint8_t *bytes, size_t len)
{
    static const uint8_t zeros[RECORD_TRACE_ID_BYTES];
    return memcmp(bytes, zeros, len) == 0;
}

/* What is wrong with a span whose values are good one by one: the first row that holds. */
static int judge_span(const Dwell__Span *from, const struct span *span, struct str *ret_key)
{
    uint64_t start = span->start_wall_ns;
    uint64_t end = span->end_wall_ns;
    bool starts = span->part == SPAN_START;
    bool ends = span->part == SPAN_END;
    const struct {
        bool wrong;
        int err;
        const char *key;
    } rows[] = {
        {(unsigned)from->part > 2, ERR_RANGE, "part"},
        {(unsigned)from->kind > 5, ERR_RANGE, "kind"},
        {from->status != NULL && (unsigned)from->status->code > 2, ERR_RANGE, "status.code"},
        {from->name == NULL, ERR_MISSING_KEY, "name"},
        {span->name.len == 0 || span->name.len > RECORD_NAME_MAX, ERR_NAME, "name"},
        {!from->has_trace_id, ERR_MISSING_KEY, "trace_id"},
        {is_zeros(span->trace_id, sizeof span->trace_id), ERR_RANGE, "trace_id"},
        {!from->has_span_id, ERR_MISSING_KEY, "span_id"},
        {is_zeros(span->span_id, sizeof span->span_id), ERR_RANGE, "span_id"},
        {start == 0 && !ends, ERR_MISSING_KEY, "start_time_unix_nano"},
        {start >> 63 != 0, ERR_RANGE, "start_time_unix_nano"},
        {end == 0 && !starts, ERR_MISSING_KEY, "end_time_unix_nano"},
        {!starts && (end >> 63 != 0 || end < start), ERR_RANGE, "end_time_unix_nano"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].wrong) {
            *ret_key = str_of(rows[i].key);
            return rows[i].err;
        }
    }
    return 0;
}

/* Says the span to `theirs`, or all that there is against it to `reasons`. */
static void expect_span(const Dwell__Span *from, struct scanner raw)
{
    static struct span_room room;
    struct span span;
    struct str key;
    recorder_clear(&theirs);
    recorder_clear(&reasons);
    packed_len = 0;
    span_init(&span, &room);
    convert_single_fields(from, &span);
    convert_attributes(from, &span);
    convert_children(from, raw, &span);
    if (reasons.rejected > 0) {
        return;
    }
    int err = judge_span(from, &span, &key);
    if (err != 0) {
        give_reason(err, key);
    } else {
        (void)theirs.sink.span(&theirs, &span); /* it refuses nothing */
    }
}

/* The line in which a decoder says what became of the only record. */
static const char *outcome(const struct recorder *recorder)
{
    const char *at = recorder->text;
    while (begins(at, "batch") || begins(at, "unknown")) {
        at = strchr(at, '\n') + 1;
    }
    return at;
}

static bool is_single(enum message message, uint64_t field)
{
    switch (message) {
    case SPAN:
        return field != 9 && field != 11 && field != 13;
    case EVENT:
        return field != 3;
    case LINK:
        return field != 4;
    default:
        return message == STATUS || message == KEY_VALUE || message == ANY_VALUE;
    }
}

/* A field given twice, of which the last counts: a wrong one before it is not forgiven in a span, and
 * the library puts messages together: two values with nothing set are refused or not by what stood in
 * the memory it was given. Nobody writes such, and the library does not get it. */
static bool repeats(struct scanner bytes, enum message message)
{
    uint64_t seen = 0;
    struct field field;
    enum message inner;
    while (bytes.at < bytes.end && scan_field(&bytes, &field)) {
        unsigned place = message == ANY_VALUE ? 1 : (unsigned)(field.number % 63);
        if (is_single(message, field.number) && (field.number < 17 || message == SPAN)) {
            if ((seen >> place & 1) != 0) {
                return true;
            }
            seen |= UINT64_C(1) << place;
        }
        if (field.kind == 2 && is_message(message, field.number, &inner) &&
            repeats(field.body, inner)) {
            return true;
        }
    }
    return false;
}

static bool is_text(enum message message, uint64_t field)
{
    return (message == SPAN && (field == 3 || field == 5 || field == 101)) ||
           (message == STATUS && field == 2) || (message == EVENT && field == 2) ||
           (message == LINK && field == 3) ||
           ((message == KEY_VALUE || message == ANY_VALUE) && field == 1);
}

/* The library's texts end at a zero byte, ours do not: such spans are left to the files. */
static bool holds_zero(struct scanner bytes, enum message message)
{
    struct field field;
    enum message inner;
    while (bytes.at < bytes.end && scan_field(&bytes, &field)) {
        size_t len = (size_t)(field.body.end - field.body.at);
        if (field.kind == 2 && is_text(message, field.number) &&
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

/* Whether there are lists that nobody looks into: damage in them is only found by the library. */
static bool is_too_deep(struct scanner bytes, enum message message, int lists)
{
    struct field field;
    enum message inner;
    lists += message == ARRAY || message == PAIRS;
    while (lists <= SPAN_DEPTH_MAX && bytes.at < bytes.end && scan_field(&bytes, &field)) {
        if (field.kind == 2 && is_message(message, field.number, &inner) &&
            is_too_deep(field.body, inner, lists)) {
            return true;
        }
    }
    return lists > SPAN_DEPTH_MAX;
}

enum outcome { TAKEN, REFUSED, DAMAGED, NOT_COMPARED, OUTCOME_COUNT };

static void fail_with(struct str bytes, const char *said)
{
    for (size_t i = 0; i < bytes.len; i++) {
        print_error("%02x%s", (unsigned)(uint8_t)bytes.ptr[i], i + 1 < bytes.len ? " " : "\n");
    }
    fail_msg("ours: %stheirs: %s%s", said, theirs.text, reasons.text);
}

/* Of a span that is sound. */
static enum outcome compare(const Dwell__Span *span, struct scanner raw, struct str bytes)
{
    const char *said = outcome(&ours);
    assert_int_equal(ours.accepted + ours.rejected, 1);
    if (holds_zero(raw, SPAN)) {
        return NOT_COMPARED;
    }
    assert_int_equal(ours.unknown, count_unknown_of_span(span));
    expect_span(span, raw);
    bool taken = ours.accepted == 1;
    if (taken ? strcmp(said, theirs.text) != 0 : strstr(reasons.text, said) == NULL) {
        fail_with(bytes, said);
    }
    return taken ? TAKEN : REFUSED;
}

static enum outcome must_agree(struct str span_body)
{
    struct writer batch = {batch_bytes, 0};
    put_bytes(&batch, 13, span_body.ptr, span_body.len);
    int err = decode(&ours, written(&batch));
    struct scanner raw = {(const uint8_t *)span_body.ptr,
                          (const uint8_t *)span_body.ptr + span_body.len};
    if (repeats(raw, SPAN)) {
        return NOT_COMPARED;
    }
    Dwell__Span *span = dwell__span__unpack(NULL, span_body.len, raw.at);
    if (span == NULL && is_too_deep(raw, SPAN, 0)) {
        return NOT_COMPARED;
    }
    bool sound = span != NULL && is_sound(raw, SPAN, 0);
    if ((err == 0) != sound) {
        fail_with(written(&batch), ours.text);
    }
    enum outcome result = sound ? compare(span, raw, written(&batch)) : DAMAGED;
    if (span != NULL) {
        dwell__span__free_unpacked(span, NULL);
    }
    return result;
}

/* Random spans. */

static struct wire_random dice;

static bool once_in(size_t n)
{
    return wire_random_below(&dice, n) == 0;
}

static uint64_t random_number(void)
{
    return wire_random_next(&dice) >> wire_random_below(&dice, 64);
}

static void put_random_pieces(struct writer *writer)
{
    static const char *const pieces[] = {
        "a", "b", "key", "\xc3\xa9", "\xe6\xa8\xa1", "\xf0\x9f\xa4\x96", "service.name", " "};
    static const char *const bad[] = {"\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf",
                                      "\xf4\x90\x80\x80"};
    if (once_in(300)) {
        for (size_t i = 254 + wire_random_below(&dice, 5); i > 0; i--) {
            put_byte(writer, 'x');
        }
    }
    for (size_t i = wire_random_below(&dice, 4); i > 0; i--) {
        const char *piece =
            once_in(150) ? bad[wire_random_below(&dice, 5)] : pieces[wire_random_below(&dice, 8)];
        for (; *piece != '\0'; piece++) {
            put_byte(writer, (uint8_t)*piece);
        }
    }
}

static void put_random_text(struct writer *writer, unsigned number)
{
    size_t start = writer->len;
    put_random_pieces(writer);
    close_message(writer, start, number);
}

/* One that others seldom have. */
static void put_random_key(struct writer *writer)
{
    size_t start = writer->len;
    put_random_pieces(writer);
    if (!once_in(100)) {
        put_byte(writer, 'a' + (unsigned)wire_random_below(&dice, 26));
        put_byte(writer, 'a' + (unsigned)wire_random_below(&dice, 26));
    }
    close_message(writer, start, 1);
}

static void put_random_id(struct writer *writer, unsigned number, size_t len)
{
    size_t start = writer->len;
    len = once_in(60) ? wire_random_below(&dice, len + 2) : len;
    bool zeros = once_in(60);
    for (size_t i = 0; i < len; i++) {
        put_byte(writer, zeros ? 0 : (unsigned)wire_random_below(&dice, 256));
    }
    close_message(writer, start, number);
}

static void put_unknown(struct writer *writer)
{
    static const unsigned numbers[] = {17, 26, 30, 31, 32, 99, 102, 536870911};
    unsigned number = numbers[wire_random_below(&dice, sizeof numbers / sizeof numbers[0])];
    switch (wire_random_below(&dice, 4)) {
    case 0:
        put_number(writer, number, random_number());
        break;
    case 1:
        put_fixed64(writer, number, random_number());
        break;
    case 2:
        put_fixed32(writer, number, (uint32_t)random_number());
        break;
    default:
        put_bytes(writer, number, "\xff\0", once_in(2) ? 2 : 0);
    }
}

static void put_random_pair(struct writer *writer, unsigned number, unsigned depth);

static void put_random_list(struct writer *writer, unsigned number, unsigned depth);

/* The body of an AnyValue. */
static void put_random_value(struct writer *writer, unsigned depth)
{
    if (once_in(200)) {
        put_unknown(writer);
    }
    switch (wire_random_below(&dice, depth < DEPTH_TRIED ? 8 : 6)) {
    case 0:
        put_number(writer, 2, once_in(9) ? random_number() : wire_random_below(&dice, 2));
        break;
    case 1:
        put_number(writer, 3, once_in(2) ? random_number() : -random_number());
        break;
    case 2:
        put_fixed64(writer, 4, random_number());
        break;
    case 3:
        put_bytes(writer, 7, "\xff\0", wire_random_below(&dice, 3));
        break;
    case 4:
        break; /* none */
    case 5:
        put_random_text(writer, 1);
        break;
    case 6:
        put_random_list(writer, 6, depth);
        break;
    default:
        put_random_list(writer, 5, depth);
    }
}

static void put_random_list(struct writer *writer, unsigned number, unsigned depth)
{
    size_t list = writer->len;
    for (size_t i = wire_random_below(&dice, 3); i > 0; i--) {
        size_t element = writer->len;
        if (number == 6) {
            put_random_pair(writer, 1, depth + 1);
        } else {
            put_random_value(writer, depth + 1);
            close_message(writer, element, 1);
        }
    }
    if (once_in(200)) {
        put_unknown(writer);
    }
    close_message(writer, list, number);
}

/* A chain of lists, so that the deepest one that may be is met. */
static void put_deep_value(struct writer *writer, unsigned depth)
{
    if (depth == 0) {
        put_random_value(writer, DEPTH_TRIED);
        return;
    }
    size_t list = writer->len;
    size_t element = writer->len;
    put_deep_value(writer, depth - 1);
    close_message(writer, element, 1);
    close_message(writer, list, 5);
}

static void put_random_pair(struct writer *writer, unsigned number, unsigned depth)
{
    size_t start = writer->len;
    if (!once_in(300)) {
        put_random_key(writer);
    }
    size_t value = writer->len;
    if (depth == 0 && once_in(100)) {
        put_deep_value(writer, 7 + (unsigned)wire_random_below(&dice, 3));
    } else {
        put_random_value(writer, depth);
    }
    if (!once_in(20)) {
        close_message(writer, value, 2);
    } else {
        writer->len = value;
    }
    if (once_in(200)) {
        put_unknown(writer);
    }
    close_message(writer, start, number);
}

/* Few, or about as many as there may be, with keys that differ. */
static void put_random_attributes(struct writer *writer, unsigned number)
{
    if (!once_in(60)) {
        for (size_t i = wire_random_below(&dice, 4); i > 0; i--) {
            put_random_pair(writer, number, 0);
        }
        return;
    }
    for (size_t i = 126 + wire_random_below(&dice, 6); i > 0; i--) {
        char key[24];
        size_t start = writer->len;
        (void)snprintf(key, sizeof key, "%zu", once_in(1000) ? 7 : i); /* fits */
        put_text(writer, 1, key);
        close_message(writer, start, number);
    }
}

static void put_random_count(struct writer *writer, unsigned number)
{
    put_number(writer, number, once_in(4) ? UINT32_MAX - random_number() % 3 : random_number());
}

static void put_event_field(struct writer *event, unsigned number)
{
    switch (number) {
    case 1:
        put_fixed64(event, 1, random_number());
        break;
    case 2:
        put_random_text(event, 2);
        break;
    case 3:
        put_random_attributes(event, 3);
        break;
    default:
        put_random_count(event, 4);
    }
}

static void put_link_field(struct writer *link, unsigned number)
{
    switch (number) {
    case 1:
        put_random_id(link, 1, RECORD_TRACE_ID_BYTES);
        break;
    case 2:
        put_random_id(link, 2, RECORD_SPAN_ID_BYTES);
        break;
    case 3:
        put_random_text(link, 3);
        break;
    case 4:
        put_random_attributes(link, 4);
        break;
    case 5:
        put_random_count(link, 5);
        break;
    default:
        put_fixed32(link, 6, (uint32_t)random_number());
    }
}

/* Of `count` fields some, in order or not. */
static void put_some_fields(struct writer *writer, unsigned count,
                            void (*put)(struct writer *writer, unsigned number))
{
    unsigned numbers[16];
    for (unsigned i = 0; i < count; i++) {
        numbers[i] = i + 1;
    }
    for (size_t i = count; i > 1 && once_in(2); i--) {
        size_t other = wire_random_below(&dice, i);
        unsigned number = numbers[i - 1];
        numbers[i - 1] = numbers[other];
        numbers[other] = number;
    }
    for (unsigned i = 0; i < count; i++) {
        if (!once_in(4)) {
            put(writer, numbers[i]);
        }
        if (once_in(200)) {
            put_unknown(writer);
        }
    }
}

static void put_random_children(struct writer *span, unsigned number)
{
    bool many = once_in(60);
    for (size_t i = many ? 126 + wire_random_below(&dice, 6) : wire_random_below(&dice, 3); i > 0;
         i--) {
        size_t start = span->len;
        if (!many && number == 11) {
            put_some_fields(span, 4, put_event_field);
        } else if (!many) {
            put_some_fields(span, 6, put_link_field);
        }
        close_message(span, start, number);
    }
}

static void put_random_status(struct writer *span)
{
    size_t start = span->len;
    if (once_in(2)) {
        put_random_text(span, 2);
    }
    if (!once_in(3)) {
        put_number(span, 3, once_in(40) ? random_number() : wire_random_below(&dice, 3));
    }
    if (once_in(50)) {
        put_unknown(span);
    }
    close_message(span, start, 15);
}

/* What a span need not have. */
static void put_span_field(struct writer *span, unsigned number)
{
    switch (number) {
    case 1:
    case 2:
        put_random_attributes(span, 9);
        break;
    case 3:
        put_random_text(span, 3);
        break;
    case 4:
        put_random_id(span, 4, once_in(9) ? 0 : RECORD_SPAN_ID_BYTES);
        break;
    case 5:
        put_random_text(span, 101);
        break;
    case 6:
        put_number(span, 6, once_in(60) ? random_number() : wire_random_below(&dice, 6));
        break;
    case 7:
        put_random_status(span);
        break;
    case 8:
        put_fixed32(span, 16, (uint32_t)random_number());
        break;
    case 9:
        put_random_children(span, 11);
        break;
    case 10:
        put_random_children(span, 13);
        break;
    default:
        put_random_count(span, 2 * number - 12); /* 10, 12, 14 */
    }
}

static void put_random_span(struct writer *span)
{
    uint64_t start = once_in(60) ? random_number() : 1 + random_number() / 4;
    uint64_t end = once_in(60) ? random_number() : start + random_number() / 4;
    if (!once_in(60)) {
        put_random_id(span, 1, RECORD_TRACE_ID_BYTES);
    }
    if (!once_in(60)) {
        put_random_id(span, 2, RECORD_SPAN_ID_BYTES);
    }
    if (once_in(9)) {
        put_random_text(span, 5);
    } else {
        put_text(span, 5, "GET /");
    }
    put_some_fields(span, 13, put_span_field);
    if (!once_in(9)) {
        put_fixed64(span, 7, start);
    }
    if (!once_in(9)) {
        put_fixed64(span, 8, end);
    }
    if (once_in(2)) {
        put_number(span, 100, once_in(60) ? random_number() : wire_random_below(&dice, 3));
    }
}

/* Flips bits, doubles or removes a stretch. */
static void damage(struct writer *span)
{
    size_t at = wire_random_below(&dice, span->len);
    size_t len = wire_random_below(&dice, once_in(2) ? span->len - at : 4);
    len = len < span->len - at ? len : span->len - at;
    switch (wire_random_below(&dice, 4)) {
    case 0:
        memmove(span->bytes + at + len, span->bytes + at, span->len - at);
        span->len += len;
        break;
    case 1:
        memmove(span->bytes + at, span->bytes + at + len, span->len - at - len);
        span->len -= len;
        break;
    default:
        for (size_t i = wire_random_below(&dice, 3) + 1; i > 0; i--) {
            at = wire_random_below(&dice, span->len);
            span->bytes[at] ^= (uint8_t)(1U << wire_random_below(&dice, 8));
        }
    }
}

static void test_batch_span_agrees_with_protobuf_c(void **state)
{
    (void)state;
    size_t counts[2][OUTCOME_COUNT] = {{0}};
    recorder_init(&ours);
    recorder_init(&theirs);
    recorder_init(&reasons);
    dice = wire_random_start("test_batch_span");
    for (size_t i = 0; i < SPANS; i++) {
        struct writer span = {span_bytes, 0};
        put_random_span(&span);
        counts[0][must_agree(written(&span))]++;
        damage(&span);
        counts[1][must_agree(written(&span))]++;
    }
    for (unsigned i = 0; i < 2; i++) {
        print_message("         %s: taken %zu, refused %zu, damaged %zu, not compared %zu\n",
                      i == 0 ? "whole" : "after damage", counts[i][TAKEN], counts[i][REFUSED],
                      counts[i][DAMAGED], counts[i][NOT_COMPARED]);
    }
    assert_true(counts[0][TAKEN] > SPANS / 4);
    assert_true(counts[0][REFUSED] > SPANS / 10);
    assert_int_equal(counts[0][DAMAGED], 0);
    assert_true(counts[0][NOT_COMPARED] < SPANS / 10);
    assert_true(counts[1][TAKEN] + counts[1][REFUSED] > SPANS / 10);
    recorder_fini(&reasons);
    recorder_fini(&theirs);
    recorder_fini(&ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_span_agrees_with_protobuf_c),
    };
    return cmocka_run_group_tests_name("batch_span", tests, NULL, NULL);
}
