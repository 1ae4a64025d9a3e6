/*
 * Happy path of a span:
 *   1. line_span_reset makes room for all that the line can become, so that nothing moves after;
 *   2. an attribute is written when it is read, in the form in which it goes on:
 *
 *          "attributes":{"batch":8}     4a 0b  0a 05 b a t c h  12 02 18 08
 *                        ^^^^^^^^^                                     8
 *
 *      events and links likewise, each with its own attributes;
 *   3. line_span_deliver puts together what other rows have read, and judges the whole.
 *
 * What can fail: the text is no JSON (reading stops); a value is wrong (noted); a limit is passed:
 * what is above it is read, unwritten, and counted.
 */
#include "wire/line_span.h"

#include "base/message.h"
#include "base/num.h"
#include "wire/line_skip.h"
#include "wire/line_value.h"

enum { VALUE = 2 }; /* of KeyValue; its key is field 1 */

void line_span_reset(struct reader *reader)
{
    struct buf *out = &reader->memory->otlp;
    span_init(&reader->span, &reader->span_room);
    reader->hello.service_name = (struct str){NULL, 0};
    reader->inner_unknown_count = 0;
    buf_clear(out);
    /* Without memory the error stays in the buffer, and ends the line when something is written. */
    (void)buf_reserve(out, line_span_room((size_t)(reader->in.end - reader->in.at)));
}

static struct buf *output(struct reader *reader)
{
    return &reader->memory->otlp;
}

static struct str written_since(struct reader *reader, size_t begin)
{
    const struct buf *out = output(reader);
    return (struct str){out->data + begin, out->len - begin};
}

/* Goes through an object or a list: reads one member or element after the other. */
static int read_each(struct reader *reader, char open, char close,
                     int (*read)(struct reader *reader, void *ctx), void *ctx)
{
    if (*reader->in.at != open) {
        return line_skip_wrong_type(reader, 1);
    }
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == close;
    if (closed) {
        reader->in.at++;
    }
    while (!closed) {
        int err = read(reader, ctx);
        if (err == 0) {
            err = reader_skip_separator(reader, close, &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    return output(reader)->err == 0 ? 0 : reader_fail(reader, output(reader)->err, reader->key);
}

static int read_key(struct reader *reader, struct str *ret_key)
{
    if (*reader->in.at != '"') {
        return reader_fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    int err = reader_read_text(reader, ret_key);
    if (err == 0 && reader->in.zero) {
        reader_note(reader, ERR_NAME);
    }
    return err == 0 ? reader_skip_colon(reader) : err;
}

/* Values */

/* A whole number that fits is one; any other is a double. */
static int write_number(struct reader *reader)
{
    struct str digits = {reader->in.at, 0};
    double number = 0;
    int err = num_scan_double(&reader->in.at, reader->in.end, &number);
    if (err == ERR_SYNTAX) {
        return reader_fail(reader, err, reader->key);
    }
    if (err != 0) {
        reader_note(reader, err);
        return 0;
    }
    digits.len = (size_t)(reader->in.at - digits.ptr);
    bool negative = digits.ptr[0] == '-';
    uint64_t size = 0;
    err = num_read_u64((struct str){digits.ptr + negative, digits.len - negative}, &size);
    if (err == 0 && size <= (uint64_t)INT64_MAX + negative) {
        message_u64(output(reader), 3, negative ? -size : size);
    } else {
        message_double(output(reader), 4, number);
    }
    return 0;
}

static int write_text(struct reader *reader, struct str *ret_text)
{
    reader->in.at++;
    int err = reader_read_text(reader, ret_text);
    if (err != 0) {
        return err;
    }
    if (reader->in.zero) {
        reader_note(reader, ERR_NAME);
    }
    message_str(output(reader), 1, *ret_text);
    return 0;
}

static int write_scalar(struct reader *reader, struct str *ret_text)
{
    if (*reader->in.at == '"') {
        return write_text(reader, ret_text);
    }
    if (reader_at_number(reader)) {
        return write_number(reader);
    }
    if (lexer_take_word(&reader->in, STR_LITERAL("true"))) {
        message_u64(output(reader), 2, 1);
        return 0;
    }
    if (lexer_take_word(&reader->in, STR_LITERAL("false"))) {
        message_u64(output(reader), 2, 0);
        return 0;
    }
    return line_skip_wrong_type(reader, 2);
}

/* null is a value without anything in it, so that the others keep their places. */
static int write_element(struct reader *reader, void *ctx)
{
    (void)ctx;
    struct str text;
    size_t element = message_begin(output(reader), 1);
    int err = lexer_take_word(&reader->in, STR_LITERAL("null")) ? 0 : write_scalar(reader, &text);
    message_end(output(reader), element);
    return err;
}

static int write_value(struct reader *reader, struct str *ret_text)
{
    if (*reader->in.at != '[') {
        return write_scalar(reader, ret_text);
    }
    size_t list = message_begin(output(reader), 5);
    int err = read_each(reader, '[', ']', write_element, NULL);
    message_end(output(reader), list);
    return err;
}

/* Attributes */

struct attributes {
    unsigned field;
    uint32_t count, max;
    uint32_t dropped;
    struct span *span; /* takes them one by one; NULL: of an event or a link */
};

static int write_attribute(struct reader *reader, struct attributes *attributes, struct str key)
{
    struct buf *out = output(reader);
    size_t begin = out->len;
    size_t field = message_begin(out, attributes->field);
    message_str(out, 1, key);
    struct span_attribute attribute = {.key = key, .is_text = *reader->in.at == '"'};
    size_t value = message_begin(out, VALUE);
    int err = write_value(reader, &attribute.text);
    message_end(out, value);
    message_end(out, field);
    if (err != 0 || out->err != 0) {
        return err;
    }
    if (attributes->count == attributes->max) {
        out->len = begin;
        attributes->dropped++;
        return 0;
    }
    reader->span_keys[attributes->count++] = key;
    if (attributes->span != NULL) {
        attribute.field = written_since(reader, begin);
        attributes->span->attributes[attributes->span->attribute_count++] = attribute;
    }
    return 0;
}

static bool holds_key(const struct str *keys, uint32_t count, struct str key)
{
    for (uint32_t i = 0; i < count; i++) {
        if (keys[i].len == key.len && str_same(keys[i].ptr, key.ptr, key.len)) {
            return true;
        }
    }
    return false;
}

static int read_attribute(struct reader *reader, void *ctx)
{
    struct attributes *attributes = ctx;
    struct str key;
    int err = read_key(reader, &key);
    if (err != 0 || lexer_take_word(&reader->in, STR_LITERAL("null"))) {
        return err;
    }
    if (key.len == 0 || key.len > RECORD_NAME_MAX) {
        reader_note(reader, ERR_RANGE);
    }
    /* What is above the limit is not looked for: it would be most of a long line's work. */
    if (attributes->count < attributes->max &&
        holds_key(reader->span_keys, attributes->count, key)) {
        return reader_fail(reader, ERR_DUPLICATE_KEY, key);
    }
    return write_attribute(reader, attributes, key);
}

static int read_attributes(struct reader *reader, struct attributes *attributes)
{
    return read_each(reader, '{', '}', read_attribute, attributes);
}

/* Events, links and status */

enum inner_kind { INNER_TEXT, INNER_NANOS, INNER_ID, INNER_ATTRIBUTES, INNER_CODE };

struct inner_key {
    struct str name;
    enum inner_kind kind;
    unsigned field;
    size_t max; /* bytes of an id */
    bool required;
};

static const struct inner_key event_keys[] = {
    {{"name", 4}, INNER_TEXT, 2, 0, true},
    {{"time_unix_nano", 14}, INNER_NANOS, 1, 0, true},
    {{"attributes", 10}, INNER_ATTRIBUTES, 3, 0, false},
};
static const struct inner_key link_keys[] = {
    {{"trace_id", 8}, INNER_ID, 1, RECORD_TRACE_ID_BYTES, true},
    {{"span_id", 7}, INNER_ID, 2, RECORD_SPAN_ID_BYTES, true},
    {{"trace_state", 11}, INNER_TEXT, 3, 0, false},
    {{"attributes", 10}, INNER_ATTRIBUTES, 4, 0, false},
};
static const struct inner_key status_keys[] = {
    {{"code", 4}, INNER_CODE, 0, 0, false},
    {{"message", 7}, INNER_TEXT, 0, 0, false},
};

/* An object inside a span, while it is read. */
struct inner {
    const struct inner_key *keys;
    size_t key_count;
    uint32_t seen;
    uint32_t dropped; /* attributes */
    struct str text;  /* the last one */
};

static const struct str kind_words[] = {{"unspecified", 11}, {"internal", 8}, {"server", 6},
                                        {"client", 6},       {"producer", 8}, {"consumer", 8}};
_Static_assert(sizeof kind_words / sizeof kind_words[0] == SPAN_KIND_MAX + 1, "a word each");

/* One of some words, as its place among them. */
static int read_word(struct reader *reader, const struct str *words, size_t count,
                     unsigned *ret_place)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    for (unsigned i = 0; i < count; i++) {
        if (str_equal(text, words[i])) {
            *ret_place = i;
            return 0;
        }
    }
    reader_note(reader, ERR_RANGE);
    return 0;
}

static int read_inner_attributes(struct reader *reader, unsigned field, struct inner *inner)
{
    struct attributes attributes = {.field = field, .max = SPAN_CHILD_ATTRIBUTES_MAX};
    int err = read_attributes(reader, &attributes);
    inner->dropped = attributes.dropped;
    return err;
}

static int read_inner_text(struct reader *reader, unsigned field, struct inner *inner)
{
    bool is_text = false;
    int err = line_read_text(reader, &inner->text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (reader->in.zero) {
        reader_note(reader, ERR_NAME);
    }
    if (field != 0) {
        message_str(output(reader), field, inner->text);
    }
    return 0;
}

static int read_inner_value(struct reader *reader, const struct inner_key *key, struct inner *inner)
{
    uint8_t id[RECORD_TRACE_ID_BYTES];
    uint64_t nanos = 0;
    unsigned code = SPAN_UNSET;
    bool good = false;
    int err = 0;
    switch (key->kind) {
    case INNER_TEXT:
        return read_inner_text(reader, key->field, inner);
    case INNER_NANOS:
        err = line_read_count(reader, &nanos);
        message_fixed64(output(reader), key->field, nanos);
        return err;
    case INNER_ID:
        err = line_read_id(reader, key->max, id, &good);
        message_str(output(reader), key->field,
                    (struct str){(const char *)id, good ? key->max : 0});
        return err;
    case INNER_ATTRIBUTES:
        return read_inner_attributes(reader, key->field, inner);
    case INNER_CODE:
        err = read_word(reader, span_status_names, SPAN_STATUS_COUNT, &code);
        reader->span.status = (enum span_status)code;
        return err;
    }
    return line_skip_wrong_type(reader, 2);
}

/* Unknown keys inside are read over, and told once each. */
static int read_inner_unknown(struct reader *reader, struct str key)
{
    bool told = reader->inner_unknown_count == LINE_INNER_UNKNOWN_MAX;
    for (uint32_t i = 0; i < reader->inner_unknown_count; i++) {
        told |= str_equal(reader->inner_unknown[i], key);
    }
    if (!told) {
        reader->inner_unknown[reader->inner_unknown_count++] = key;
    }
    return line_skip_value(reader, 2);
}

static int read_inner_member(struct reader *reader, void *ctx)
{
    struct inner *inner = ctx;
    struct str key;
    int err = read_key(reader, &key);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < inner->key_count; i++) {
        if (!str_equal(key, inner->keys[i].name)) {
            continue;
        }
        if ((inner->seen & 1U << i) != 0) {
            return reader_fail(reader, ERR_DUPLICATE_KEY, key);
        }
        if (lexer_take_word(&reader->in, STR_LITERAL("null"))) {
            return 0;
        }
        inner->seen |= 1U << i;
        return read_inner_value(reader, &inner->keys[i], inner);
    }
    return read_inner_unknown(reader, key);
}

static int read_inner(struct reader *reader, struct inner *inner)
{
    int err = read_each(reader, '{', '}', read_inner_member, inner);
    for (size_t i = 0; err == 0 && i < inner->key_count; i++) {
        if (inner->keys[i].required && (inner->seen & 1U << i) == 0) {
            reader_note(reader, ERR_MISSING_KEY);
        }
    }
    return err;
}

/* The list of events, or of links. */
struct children {
    const struct inner_key *keys;
    size_t key_count;
    struct span_child *children;
    uint32_t max;
    uint32_t *count, *dropped;
};

static int read_child(struct reader *reader, void *ctx)
{
    const struct children *children = ctx;
    struct inner inner = {.keys = children->keys, .key_count = children->key_count};
    size_t begin = output(reader)->len;
    int err = read_inner(reader, &inner);
    if (err != 0 || output(reader)->err != 0) {
        return err;
    }
    if (*children->count == children->max) {
        output(reader)->len = begin;
        ++*children->dropped;
        return 0;
    }
    children->children[(*children->count)++] =
        (struct span_child){.body = written_since(reader, begin), .dropped = inner.dropped};
    return 0;
}

static int read_events(struct reader *reader)
{
    struct span *span = &reader->span;
    struct children events = {.keys = event_keys,
                              .key_count = sizeof event_keys / sizeof event_keys[0],
                              .children = span->events,
                              .max = SPAN_EVENTS_MAX,
                              .count = &span->event_count,
                              .dropped = &span->dropped_events};
    return read_each(reader, '[', ']', read_child, &events);
}

static int read_links(struct reader *reader)
{
    struct span *span = &reader->span;
    struct children links = {.keys = link_keys,
                             .key_count = sizeof link_keys / sizeof link_keys[0],
                             .children = span->links,
                             .max = SPAN_LINKS_MAX,
                             .count = &span->link_count,
                             .dropped = &span->dropped_links};
    return read_each(reader, '[', ']', read_child, &links);
}

static int read_status(struct reader *reader)
{
    struct inner inner = {.keys = status_keys,
                          .key_count = sizeof status_keys / sizeof status_keys[0]};
    int err = read_inner(reader, &inner);
    reader->span.status_message = inner.text;
    return err;
}

/* The span */

static int read_span_attributes(struct reader *reader)
{
    struct span *span = &reader->span;
    struct attributes attributes = {
        .field = SPAN_FIELD_ATTRIBUTES, .max = SPAN_ATTRIBUTES_MAX, .span = span};
    int err = read_attributes(reader, &attributes);
    span->dropped_attributes = attributes.dropped;
    return err;
}

static int read_kind(struct reader *reader)
{
    unsigned kind = 0;
    int err = read_word(reader, kind_words, SPAN_KIND_MAX + 1, &kind);
    reader->span.kind = (uint8_t)kind;
    return err;
}

static int read_sampled(struct reader *reader)
{
    struct span *span = &reader->span;
    span->has_flags = true;
    if (lexer_take_word(&reader->in, STR_LITERAL("true"))) {
        span->flags = 1;
        return 0;
    }
    return lexer_take_word(&reader->in, STR_LITERAL("false")) ? 0 : line_skip_wrong_type(reader, 0);
}

int line_span_read(struct reader *reader, const struct key *key)
{
    switch (key->kind) {
    case KIND_ATTRIBUTES:
        return read_span_attributes(reader);
    case KIND_EVENTS:
        return read_events(reader);
    case KIND_LINKS:
        return read_links(reader);
    case KIND_STATUS:
        return read_status(reader);
    case KIND_SPAN_KIND:
        return read_kind(reader);
    case KIND_SAMPLED:
        return read_sampled(reader);
    default:
        return line_read_value(reader, key);
    }
}

static enum span_part part_of(enum type type)
{
    return type == TYPE_SPAN_START ? SPAN_START : type == TYPE_SPAN_END ? SPAN_END : SPAN_WHOLE;
}

int line_span_deliver(struct reader *reader, const struct record_sink *sink)
{
    struct span *span = &reader->span;
    struct span_given given = {.name = (reader->has & BIT(PART_NAME)) != 0,
                               .trace_id = (reader->has & BIT(SAMPLE_TRACE_ID)) != 0,
                               .span_id = (reader->has & BIT(SAMPLE_SPAN_ID)) != 0};
    struct str key = {NULL, 0};
    for (uint32_t i = 0; i < reader->inner_unknown_count; i++) {
        sink->unknown_key(sink->ctx, reader->inner_unknown[i]);
    }
    span->part = part_of(reader->type);
    span->name = given.name ? reader->metric.name : (struct str){NULL, 0};
    span->service_name = reader->hello.service_name;
    if (given.trace_id) {
        memcpy(span->trace_id, reader->sample.trace_id, sizeof span->trace_id);
    }
    if (given.span_id) {
        memcpy(span->span_id, reader->sample.span_id, sizeof span->span_id);
    }
    int err = span_check(span, &given, &key);
    if (err != 0) {
        return reader_fail(reader, err, key);
    }
    err = sink->span(sink->ctx, span);
    return err == 0 ? 0 : reader_fail(reader, err, span->name);
}
