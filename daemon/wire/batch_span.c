/*
 * A span as it comes, which is also how it goes on to a collector:
 *
 *      6a 3b  0a 10 … 12 08 … 2a 04 … 39 … 41 …  4a 0d 0a 04 6b 69 6e 64 12 05 0a 03 67 70 75
 *      |      |                                  |     |  k  i  n  d  |     |  g  p  u
 *      span   ids, name, times                   |     key            value: a text
 *                                                attribute: kept as these 15 bytes
 *
 * Happy path:
 *   1. single fields go to struct span; attributes, events and links are looked through and noted;
 *   2. the span is judged, then handed over.
 *
 * What can fail: damage, at any depth, ends the batch with ERR_FRAME. Values that are merely wrong
 * reject the span: the first one is told. What is above a limit, or holds fields that are not known, is
 * left out and counted.
 *
 * A text that is no UTF-8 must not pass: receivers of OTLP refuse the whole request it is in.
 */
#include "wire/batch_span.h"

#include "base/err.h"
#include "base/name.h"

/* Ours, beside those of OTLP. */
enum {
    PART = 100,
    SERVICE_NAME,
};

#define SPAN_FIELDS      FIELDS(SPAN_FIELD_TRACE_ID, SPAN_FIELD_FLAGS)
#define KEY_VALUE_FIELDS FIELDS(1, 2)
#define ANY_VALUE_FIELDS FIELDS(1, 7)
#define LIST_FIELDS      FIELD(1)
#define EVENT_FIELDS     FIELDS(1, 4)
#define LINK_FIELDS      FIELDS(1, 6)
#define STATUS_FIELDS    FIELDS(2, 3)

/* What is found while a span is read. */
struct findings {
    struct span *span;
    struct span_given given;
    int err;        /* the first wrong value */
    struct str key; /* and its key */
    uint32_t kind, part, status;
    uint32_t left_attributes, left_events, left_links; /* of the span, beside what it says itself */
    bool strange; /* the attribute that is read holds a field that is not known */
    const struct record_sink *sink;
};

static void note(struct findings *findings, int err, struct str key)
{
    if (findings->err == 0) {
        findings->err = err;
        findings->key = key;
    }
}

static const uint8_t *read_text(const uint8_t *at, const uint8_t *end, size_t max, struct str key,
                                struct findings *findings, struct str *ret_text)
{
    at = field_read_text(at, end, ret_text);
    if (at != NULL && (ret_text->len > max || !name_is_text(*ret_text))) {
        note(findings, ret_text->len > max ? ERR_RANGE : ERR_NAME, key);
    }
    return at;
}

static const uint8_t *read_id(const uint8_t *at, const uint8_t *end, size_t len, struct str key,
                              struct findings *findings, uint8_t *ret_id)
{
    bool good = false;
    at = field_read_id(at, end, len, &good, ret_id);
    if (at != NULL && !good) {
        note(findings, ERR_RANGE, key);
    }
    return at;
}

static const uint8_t *read_u32(const uint8_t *at, const uint8_t *end, uint32_t *ret_number)
{
    uint64_t number = 0;
    at = field_read_number(at, end, &number);
    *ret_number = (uint32_t)number; /* what does not fit is cut, as everywhere in this format */
    return at;
}

/* Attributes */

/* What is strange goes no further: one that knows the field may not take what is in it. */
static const uint8_t *skip_strange(const uint8_t *at, const uint8_t *end, uint32_t tag,
                                   const char *message, uint32_t known, struct findings *findings)
{
    findings->strange = true;
    return field_skip_unknown(at, end, tag, message, known, findings->sink);
}

static const uint8_t *check_value(const uint8_t *at, const uint8_t *end, unsigned depth,
                                  struct str key, struct findings *findings,
                                  struct span_attribute *attribute);

struct key_value {
    struct str key;
    struct span_attribute *attribute; /* NULL: nobody asks for its text */
};

static const uint8_t *check_key_value(const uint8_t *at, const uint8_t *end, unsigned depth,
                                      struct findings *findings, struct key_value *ret)
{
    struct piece piece = {NULL, NULL};
    at = field_read_bytes(at, end, &piece);
    ret->key = (struct str){NULL, 0};
    while (at != NULL && piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return NULL;
        }
        if (tag == TAG(1, KIND_BYTES)) {
            piece.at = read_text(piece.at, piece.end, RECORD_NAME_MAX, STR_LITERAL("attributes"),
                                 findings, &ret->key);
        } else if (tag == TAG(2, KIND_BYTES)) {
            piece.at = check_value(piece.at, piece.end, depth, ret->key, findings, ret->attribute);
        } else {
            piece.at =
                skip_strange(piece.at, piece.end, tag, "KeyValue", KEY_VALUE_FIELDS, findings);
        }
        if (piece.at == NULL) {
            return NULL;
        }
    }
    if (at != NULL && ret->key.len == 0) {
        note(findings, ERR_RANGE, STR_LITERAL("attributes"));
    }
    return at;
}

/* A list of values, or of keys and values. */
static const uint8_t *check_list(const uint8_t *at, const uint8_t *end, bool of_keys,
                                 unsigned depth, struct str key, struct findings *findings)
{
    struct piece piece = {NULL, NULL};
    at = field_read_bytes(at, end, &piece);
    if (at == NULL) {
        return NULL;
    }
    if (depth == SPAN_DEPTH_MAX) {
        note(findings, ERR_TOO_DEEP, key);
        return at;
    }
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return NULL;
        }
        struct key_value inner = {.attribute = NULL};
        if (tag != TAG(1, KIND_BYTES)) {
            piece.at = skip_strange(piece.at, piece.end, tag, "ArrayValue", LIST_FIELDS, findings);
        } else if (of_keys) {
            piece.at = check_key_value(piece.at, piece.end, depth + 1, findings, &inner);
        } else {
            piece.at = check_value(piece.at, piece.end, depth + 1, key, findings, NULL);
        }
        if (piece.at == NULL) {
            return NULL;
        }
    }
    return at;
}

/* Recursion ends at SPAN_DEPTH_MAX. */
static const uint8_t *check_value(const uint8_t *at, const uint8_t *end, unsigned depth,
                                  struct str key, struct findings *findings,
                                  struct span_attribute *attribute)
{
    struct piece piece = {NULL, NULL};
    at = field_read_bytes(at, end, &piece);
    while (at != NULL && piece.at < piece.end) {
        uint32_t tag = 0;
        uint64_t number = 0;
        struct str text = {NULL, 0};
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return NULL;
        }
        switch (tag) {
        case TAG(1, KIND_BYTES):
            piece.at = read_text(piece.at, piece.end, SIZE_MAX, key, findings, &text);
            break;
        case TAG(2, KIND_VARINT):
        case TAG(3, KIND_VARINT):
            piece.at = field_read_number(piece.at, piece.end, &number);
            break;
        case TAG(4, KIND_FIXED64):
            piece.at = field_read_fixed64(piece.at, piece.end, &number);
            break;
        case TAG(5, KIND_BYTES):
        case TAG(6, KIND_BYTES):
            piece.at =
                check_list(piece.at, piece.end, tag == TAG(6, KIND_BYTES), depth, key, findings);
            break;
        case TAG(7, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &text);
            break;
        default:
            piece.at =
                skip_strange(piece.at, piece.end, tag, "AnyValue", ANY_VALUE_FIELDS, findings);
        }
        if (piece.at == NULL) {
            return NULL;
        }
        if (attribute != NULL && tag >> 3 <= 7) { /* of several values the last one counts */
            attribute->is_text = tag == TAG(1, KIND_BYTES);
            attribute->text = text;
        }
    }
    return at;
}

/* One of the span's attributes; `field` is where its tag stands. */
static const uint8_t *take_attribute(const uint8_t *field, const uint8_t *at, const uint8_t *end,
                                     struct findings *findings)
{
    struct span *span = findings->span;
    struct span_attribute attribute = {.is_text = false, .text = {NULL, 0}};
    struct key_value found = {.attribute = &attribute};
    findings->strange = false;
    at = check_key_value(at, end, 0, findings, &found);
    if (at == NULL) {
        return NULL;
    }
    if (findings->strange || span->attribute_count == SPAN_ATTRIBUTES_MAX) {
        findings->left_attributes++;
    } else if (span_find(span, found.key) != NULL) {
        note(findings, ERR_DUPLICATE_KEY, found.key);
    } else {
        attribute.key = found.key;
        attribute.field = (struct str){(const char *)field, (size_t)(at - field)};
        span->attributes[span->attribute_count++] = attribute;
    }
    return at;
}

/* Events and links */

struct child_shape {
    const char *message;
    struct str key; /* of rejections */
    uint32_t fields;
    uint32_t attributes, dropped; /* field numbers */
    uint32_t id_fields;           /* bytes of trace_id (1) and span_id (2) are checked */
    uint32_t text_field;          /* name, trace_state */
    bool has_flags;
};

static const struct child_shape event_shape = {.message = "Event",
                                               .key = {"events", 6},
                                               .fields = EVENT_FIELDS,
                                               .attributes = 3,
                                               .dropped = 4,
                                               .text_field = 2};
static const struct child_shape link_shape = {.message = "Link",
                                              .key = {"links", 5},
                                              .fields = LINK_FIELDS,
                                              .attributes = 4,
                                              .dropped = 5,
                                              .id_fields = FIELDS(1, 2),
                                              .text_field = 3,
                                              .has_flags = true};

/* A field of an event or a link that is no attribute and no count. */
static const uint8_t *check_child_field(const struct child_shape *shape, uint32_t tag,
                                        const uint8_t *at, const uint8_t *end,
                                        struct findings *findings)
{
    uint32_t number = tag >> 3;
    uint8_t id[RECORD_TRACE_ID_BYTES];
    uint64_t time = 0;
    struct str text;
    if ((tag & 7) == KIND_BYTES && number == shape->text_field) {
        return read_text(at, end, SIZE_MAX, shape->key, findings, &text);
    }
    if ((tag & 7) == KIND_BYTES && number < 32 && (shape->id_fields & FIELD(number)) != 0) {
        size_t len = number == 1 ? RECORD_TRACE_ID_BYTES : RECORD_SPAN_ID_BYTES;
        return read_id(at, end, len, shape->key, findings, id);
    }
    if (tag == TAG(1, KIND_FIXED64) && shape->id_fields == 0) {
        return field_read_fixed64(at, end, &time);
    }
    if (tag == TAG(6, KIND_FIXED32) && shape->has_flags) {
        return end - at < 4 ? NULL : at + 4;
    }
    return skip_strange(at, end, tag, shape->message, shape->fields, findings);
}

/* Looks through an event or a link. Its body ends before what cannot go on: an attribute that is one
 * too many, a field that is not known. Both stand behind the rest in what anybody writes, but for the
 * flags of a link behind its 129th attribute. */
static const uint8_t *read_child(const struct child_shape *shape, const uint8_t *at,
                                 const uint8_t *end, struct findings *findings,
                                 struct span_child *ret)
{
    struct piece piece;
    uint32_t attributes = 0; /* in the body */
    uint32_t left = 0;       /* and not in it */
    uint32_t said = 0;
    at = field_read_bytes(at, end, &piece);
    if (at == NULL) {
        return NULL;
    }
    const uint8_t *start = piece.at;
    const uint8_t *stop = NULL;
    while (piece.at < piece.end) {
        const uint8_t *field = piece.at;
        uint32_t tag = 0;
        struct key_value found = {.attribute = NULL};
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return NULL;
        }
        bool is_attribute = tag == TAG(shape->attributes, KIND_BYTES);
        findings->strange = is_attribute && attributes == SPAN_CHILD_ATTRIBUTES_MAX;
        if (is_attribute) {
            piece.at = check_key_value(piece.at, piece.end, 0, findings, &found);
        } else if (tag == TAG(shape->dropped, KIND_VARINT)) {
            piece.at = read_u32(piece.at, piece.end, &said);
        } else {
            piece.at = check_child_field(shape, tag, piece.at, piece.end, findings);
        }
        if (piece.at == NULL) {
            return NULL;
        }
        stop = stop == NULL && findings->strange ? field : stop;
        attributes += is_attribute && stop == NULL;
        left += is_attribute && stop != NULL;
    }
    stop = stop == NULL ? piece.end : stop;
    ret->body = (struct str){(const char *)start, (size_t)(stop - start)};
    ret->dropped = span_add_count(said, left);
    return at;
}

static const uint8_t *take_child(const struct child_shape *shape, const uint8_t *at,
                                 const uint8_t *end, struct findings *findings,
                                 struct span_child *children, uint32_t max, uint32_t *count,
                                 uint32_t *left)
{
    struct span_child child;
    at = read_child(shape, at, end, findings, &child);
    if (at != NULL && *count < max) {
        children[(*count)++] = child;
    } else if (at != NULL) {
        ++*left;
    }
    return at;
}

/* The rest */

static const uint8_t *read_status(const uint8_t *at, const uint8_t *end, struct findings *findings)
{
    struct piece piece = {NULL, NULL};
    at = field_read_bytes(at, end, &piece);
    while (at != NULL && piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return NULL;
        }
        if (tag == TAG(2, KIND_BYTES)) {
            piece.at = read_text(piece.at, piece.end, SIZE_MAX, STR_LITERAL("status.message"),
                                 findings, &findings->span->status_message);
        } else if (tag == TAG(3, KIND_VARINT)) {
            piece.at = read_u32(piece.at, piece.end, &findings->status);
        } else {
            piece.at = field_skip_unknown(piece.at, piece.end, tag, "Status", STATUS_FIELDS,
                                          findings->sink);
        }
        if (piece.at == NULL) {
            return NULL;
        }
    }
    return at;
}

/* An empty one is none, as OTLP has it for roots. */
static const uint8_t *read_parent(const uint8_t *at, const uint8_t *end, struct findings *findings)
{
    if (at < end && *at == 0) {
        memset(findings->span->parent_id, 0, sizeof findings->span->parent_id);
        return at + 1;
    }
    return read_id(at, end, sizeof findings->span->parent_id, STR_LITERAL("parent_span_id"),
                   findings, findings->span->parent_id);
}

static const uint8_t *read_repeated(const uint8_t *field, const uint8_t *at, const uint8_t *end,
                                    uint32_t tag, struct findings *findings)
{
    struct span *span = findings->span;
    switch (tag) {
    case TAG(SPAN_FIELD_ATTRIBUTES, KIND_BYTES):
        return take_attribute(field, at, end, findings);
    case TAG(SPAN_FIELD_EVENTS, KIND_BYTES):
        return take_child(&event_shape, at, end, findings, span->events, SPAN_EVENTS_MAX,
                          &span->event_count, &findings->left_events);
    default:
        return take_child(&link_shape, at, end, findings, span->links, SPAN_LINKS_MAX,
                          &span->link_count, &findings->left_links);
    }
}

static const uint8_t *read_field(const uint8_t *field, const uint8_t *at, const uint8_t *end,
                                 uint32_t tag, struct findings *findings)
{
    struct span *span = findings->span;
    switch (tag) {
    case TAG(SPAN_FIELD_TRACE_ID, KIND_BYTES):
        findings->given.trace_id = true;
        return read_id(at, end, sizeof span->trace_id, STR_LITERAL("trace_id"), findings,
                       span->trace_id);
    case TAG(SPAN_FIELD_SPAN_ID, KIND_BYTES):
        findings->given.span_id = true;
        return read_id(at, end, sizeof span->span_id, STR_LITERAL("span_id"), findings,
                       span->span_id);
    case TAG(SPAN_FIELD_TRACE_STATE, KIND_BYTES):
        return read_text(at, end, SPAN_STATE_MAX, STR_LITERAL("trace_state"), findings,
                         &span->trace_state);
    case TAG(SPAN_FIELD_PARENT_SPAN_ID, KIND_BYTES):
        return read_parent(at, end, findings);
    case TAG(SPAN_FIELD_NAME, KIND_BYTES):
        findings->given.name = true;
        return read_text(at, end, SIZE_MAX, STR_LITERAL("name"), findings, &span->name);
    case TAG(SPAN_FIELD_KIND, KIND_VARINT):
        return read_u32(at, end, &findings->kind);
    case TAG(SPAN_FIELD_START_TIME, KIND_FIXED64):
        return field_read_fixed64(at, end, &span->start_wall_ns);
    case TAG(SPAN_FIELD_END_TIME, KIND_FIXED64):
        return field_read_fixed64(at, end, &span->end_wall_ns);
    case TAG(SPAN_FIELD_ATTRIBUTES, KIND_BYTES):
    case TAG(SPAN_FIELD_EVENTS, KIND_BYTES):
    case TAG(SPAN_FIELD_LINKS, KIND_BYTES):
        return read_repeated(field, at, end, tag, findings);
    case TAG(SPAN_FIELD_DROPPED_ATTRIBUTES, KIND_VARINT):
        return read_u32(at, end, &span->dropped_attributes);
    case TAG(SPAN_FIELD_DROPPED_EVENTS, KIND_VARINT):
        return read_u32(at, end, &span->dropped_events);
    case TAG(SPAN_FIELD_DROPPED_LINKS, KIND_VARINT):
        return read_u32(at, end, &span->dropped_links);
    case TAG(SPAN_FIELD_STATUS, KIND_BYTES):
        return read_status(at, end, findings);
    case TAG(SPAN_FIELD_FLAGS, KIND_FIXED32):
        span->has_flags = true;
        return field_read_fixed32(at, end, &span->flags);
    case TAG(PART, KIND_VARINT):
        return read_u32(at, end, &findings->part);
    case TAG(SERVICE_NAME, KIND_BYTES):
        return read_text(at, end, RECORD_NAME_MAX, STR_LITERAL("service_name"), findings,
                         &span->service_name);
    default:
        return tag >> 3 == PART || tag >> 3 == SERVICE_NAME
                   ? NULL
                   : field_skip_unknown(at, end, tag, "Span", SPAN_FIELDS, findings->sink);
    }
}

/* The fields that are one of a list. */
static int judge_words(struct span *span, const struct findings *findings, struct str *ret_key)
{
    *ret_key = STR_LITERAL("part");
    if (findings->part >= SPAN_PART_COUNT) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("kind");
    if (findings->kind > SPAN_KIND_MAX) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("status.code");
    if (findings->status >= SPAN_STATUS_COUNT) {
        return ERR_RANGE;
    }
    span->part = (enum span_part)findings->part;
    span->end_wall_ns = span->part == SPAN_START ? 0 : span->end_wall_ns; /* whatever it is */
    span->kind = (uint8_t)findings->kind;
    span->status = (enum span_status)findings->status;
    return 0;
}

static int judge(struct span *span, const struct findings *findings, struct str *ret_key)
{
    if (findings->err != 0) {
        *ret_key = findings->key;
        return findings->err;
    }
    int err = judge_words(span, findings, ret_key);
    return err != 0 ? err : span_check(span, &findings->given, ret_key);
}

int batch_span_decode(struct batch_decoder *decoder, struct piece piece,
                      const struct record_sink *sink)
{
    struct span span;
    struct findings findings = {.span = &span, .sink = sink};
    span_init(&span, &decoder->span_room);
    while (piece.at < piece.end) {
        const uint8_t *field = piece.at;
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at != NULL) {
            piece.at = read_field(field, piece.at, piece.end, tag, &findings);
        }
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
    }
    span.dropped_attributes = span_add_count(span.dropped_attributes, findings.left_attributes);
    span.dropped_events = span_add_count(span.dropped_events, findings.left_events);
    span.dropped_links = span_add_count(span.dropped_links, findings.left_links);
    struct rejection rejection = {.err = 0};
    rejection.err = judge(&span, &findings, &rejection.key);
    if (rejection.err == 0) {
        rejection.err = sink->span(sink->ctx, &span);
        rejection.key = span.name;
    }
    if (rejection.err != 0) {
        sink->reject(sink->ctx, &rejection);
    }
    return 0;
}
