#include "random_span.h"

#include <stdio.h>

#include "base/message.h"

enum { TEXT_MAX = 12, BYTES_MAX = 1 << 12, ATTRIBUTES_FIELD = 9 };

static struct str keep(struct random_span *span, struct str text)
{
    struct str kept = {span->text + span->len, text.len};
    assert_true(text.len <= sizeof span->text - span->len);
    if (text.len > 0) {
        memcpy(span->text + span->len, text.ptr, text.len);
    }
    span->len += text.len;
    return kept;
}

static struct str random_text(struct random *random, struct random_span *span)
{
    char text[TEXT_MAX];
    size_t len = random_below(random, sizeof text);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('a' + random_below(random, 26));
    }
    return keep(span, (struct str){text, len});
}

static void random_bytes(struct random *random, uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)random_next(random);
    }
    bytes[0] |= 1;
}

/* An AnyValue of any type. Returns its text, when it is one. */
static struct str put_value(struct random *random, struct random_span *span, struct buf *out)
{
    struct str text = {NULL, 0};
    switch (random_below(random, 6)) {
    case 0:
        message_u64(out, 2, random_below(random, 2));
        break;
    case 1:
        message_i64(out, 3, (int64_t)random_next(random));
        break;
    case 2:
        message_double(out, 4, random_unit(random));
        break;
    case 3: { /* a list with a text */
        size_t list = message_begin(out, 5);
        size_t value = message_begin(out, 1);
        message_str(out, 1, random_text(random, span));
        message_end(out, value);
        message_end(out, list);
        break;
    }
    default:
        text = random_text(random, span);
        message_str(out, 1, text);
        text.ptr = text.len == 0 ? "" : text.ptr;
        break;
    }
    return text;
}

/* A KeyValue with tag and length. Its key and its text lie in it, as those of decoders do. */
static void put_attribute(struct random *random, struct random_span *span, unsigned number,
                          struct span_attribute *ret)
{
    char key[32];
    struct buf field;
    buf_init(&field, BYTES_MAX);
    (void)snprintf(key, sizeof key, "key.%u", number);
    size_t attribute = message_begin(&field, ATTRIBUTES_FIELD);
    message_str(&field, 1, str_of(key));
    size_t value = message_begin(&field, 2);
    struct str text = put_value(random, span, &field);
    message_end(&field, value);
    message_end(&field, attribute);
    assert_int_equal(field.err, 0);
    struct str kept = keep(span, (struct str){field.data, field.len});
    *ret =
        (struct span_attribute){.key = {memmem(kept.ptr, kept.len, key, strlen(key)), strlen(key)},
                                .field = kept,
                                .is_text = text.ptr != NULL,
                                .text = {kept.ptr + kept.len - text.len, text.len}};
    ret->text.ptr = ret->is_text ? ret->text.ptr : NULL;
    buf_fini(&field);
}

void random_span_add_text(struct random_span *span, const char *key, const char *value)
{
    struct buf field;
    buf_init(&field, BYTES_MAX);
    size_t attribute = message_begin(&field, ATTRIBUTES_FIELD);
    message_str(&field, 1, str_of(key));
    size_t any = message_begin(&field, 2);
    message_str(&field, 1, str_of(value));
    message_end(&field, any);
    message_end(&field, attribute);
    assert_int_equal(field.err, 0);
    struct span_attribute *at = &span->span.attributes[span->span.attribute_count++];
    *at = (struct span_attribute){.key = keep(span, str_of(key)),
                                  .field = keep(span, (struct str){field.data, field.len}),
                                  .is_text = true,
                                  .text = keep(span, str_of(value))};
    buf_fini(&field);
}

static void put_event(struct random *random, struct random_span *span, struct span_child *ret)
{
    struct buf body;
    buf_init(&body, BYTES_MAX);
    message_fixed64(&body, 1, random_next(random));
    message_str(&body, 2, random_text(random, span));
    size_t attribute = message_begin(&body, 3);
    message_str(&body, 1, STR_LITERAL("k"));
    message_end(&body, attribute);
    assert_int_equal(body.err, 0);
    ret->body = keep(span, (struct str){body.data, body.len});
    ret->dropped = random_below(random, 2) == 0 ? 0 : (uint32_t)random_next(random);
    buf_fini(&body);
}

static void put_link(struct random *random, struct random_span *span, struct span_child *ret)
{
    uint8_t id[RECORD_TRACE_ID_BYTES];
    struct buf body;
    buf_init(&body, BYTES_MAX);
    random_bytes(random, id, sizeof id);
    message_str(&body, 1, (struct str){(char *)id, sizeof id});
    message_str(&body, 2, (struct str){(char *)id, RECORD_SPAN_ID_BYTES});
    message_str(&body, 3, random_text(random, span));
    message_fixed32(&body, 6, (uint32_t)random_next(random));
    assert_int_equal(body.err, 0);
    ret->body = keep(span, (struct str){body.data, body.len});
    ret->dropped = random_below(random, 2) == 0 ? 0 : (uint32_t)random_next(random);
    buf_fini(&body);
}

static uint32_t random_count(struct random *random)
{
    return random_below(random, 2) == 0 ? 0 : (uint32_t)random_next(random);
}

void random_span_make(struct random *random, uint32_t parts_max, struct random_span *ret)
{
    struct span *span = &ret->span;
    ret->len = 0;
    span_init(span, &ret->room);
    span->name = keep(ret, STR_LITERAL("n"));
    span->name.len += random_text(random, ret).len;
    random_bytes(random, span->trace_id, sizeof span->trace_id);
    random_bytes(random, span->span_id, sizeof span->span_id);
    if (random_below(random, 2) == 0) {
        random_bytes(random, span->parent_id, sizeof span->parent_id);
    }
    span->trace_state = random_text(random, ret);
    span->kind = (uint8_t)random_below(random, SPAN_KIND_MAX + 1);
    span->has_flags = random_below(random, 2) == 0;
    span->flags = span->has_flags ? (uint32_t)random_next(random) : 0;
    span->start_wall_ns = 1 + random_below(random, INT64_MAX / 2);
    span->end_wall_ns = span->start_wall_ns + random_below(random, INT64_MAX / 2);
    span->status = (enum span_status)random_below(random, SPAN_STATUS_COUNT);
    span->status_message = random_text(random, ret);
    span->service_name = random_text(random, ret);
    span->dropped_attributes = random_count(random);
    span->dropped_events = random_count(random);
    span->dropped_links = random_count(random);
    span->attribute_count = (uint32_t)random_below(random, parts_max + 1);
    span->event_count = (uint32_t)random_below(random, parts_max + 1);
    span->link_count = (uint32_t)random_below(random, parts_max + 1);
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        put_attribute(random, ret, i, &span->attributes[i]);
    }
    for (uint32_t i = 0; i < span->event_count; i++) {
        put_event(random, ret, &span->events[i]);
    }
    for (uint32_t i = 0; i < span->link_count; i++) {
        put_link(random, ret, &span->links[i]);
    }
}

void random_span_scribble(struct random_span *span)
{
    memset(&span->room, 0xA5, sizeof span->room);
    memset(span->text, '#', sizeof span->text);
}

static void must_equal_text(struct str got, struct str wanted)
{
    assert_int_equal(got.len, wanted.len);
    if (wanted.len > 0) {
        assert_memory_equal(got.ptr, wanted.ptr, wanted.len);
    }
}

static void must_equal_children(const struct span_child *got, const struct span_child *wanted,
                                uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        must_equal_text(got[i].body, wanted[i].body);
        assert_int_equal(got[i].dropped, wanted[i].dropped);
    }
}

void must_equal_span(const struct span *got, const struct span *wanted)
{
    assert_int_equal(got->part, wanted->part);
    must_equal_text(got->name, wanted->name);
    assert_memory_equal(got->trace_id, wanted->trace_id, sizeof wanted->trace_id);
    assert_memory_equal(got->span_id, wanted->span_id, sizeof wanted->span_id);
    assert_memory_equal(got->parent_id, wanted->parent_id, sizeof wanted->parent_id);
    must_equal_text(got->trace_state, wanted->trace_state);
    assert_int_equal(got->kind, wanted->kind);
    assert_int_equal(got->has_flags, wanted->has_flags);
    assert_int_equal(got->flags, wanted->flags);
    assert_int_equal(got->start_wall_ns, wanted->start_wall_ns);
    assert_int_equal(got->end_wall_ns, wanted->end_wall_ns);
    assert_int_equal(got->status, wanted->status);
    must_equal_text(got->status_message, wanted->status_message);
    must_equal_text(got->service_name, wanted->service_name);
    assert_int_equal(got->dropped_attributes, wanted->dropped_attributes);
    assert_int_equal(got->dropped_events, wanted->dropped_events);
    assert_int_equal(got->dropped_links, wanted->dropped_links);
    assert_int_equal(got->attribute_count, wanted->attribute_count);
    assert_int_equal(got->event_count, wanted->event_count);
    assert_int_equal(got->link_count, wanted->link_count);
    for (uint32_t i = 0; i < wanted->attribute_count; i++) {
        const struct span_attribute *attribute = &wanted->attributes[i];
        must_equal_text(got->attributes[i].key, attribute->key);
        must_equal_text(got->attributes[i].field, attribute->field);
        assert_int_equal(got->attributes[i].is_text, attribute->is_text);
        must_equal_text(got->attributes[i].text, attribute->text);
    }
    must_equal_children(got->events, wanted->events, wanted->event_count);
    must_equal_children(got->links, wanted->links, wanted->link_count);
}

struct span plain_span(uint64_t trace, uint64_t number, uint64_t start_wall_ns,
                       uint64_t end_wall_ns)
{
    struct span span = {
        .name = STR_LITERAL("s"), .start_wall_ns = start_wall_ns, .end_wall_ns = end_wall_ns};
    memcpy(span.trace_id, &trace, sizeof trace);
    memcpy(span.span_id, &number, sizeof number);
    return span;
}
