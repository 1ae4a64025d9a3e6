#include "render/otlp_span.h"

#include "base/date.h"
#include "base/message.h"
#include "render/otlp_attribute.h"

enum { KIND_INTERNAL = 1 }; /* what nobody said something else of: OTLP wants no unspecified ones */

enum { KIND_BYTES = 2 }; /* a tag, and a number below SPAN_KIND_MAX + 1 */

enum { EVENT_DROPPED = 4, LINK_DROPPED = 5 }; /* attributes of an event, of a link */

enum { TIMESTAMP_BYTES = sizeof "2262-04-11T23:47:16.854775+00:00" - 1 };

#define HASH_KEY      STR_LITERAL("constitutional.hash")
#define TIMESTAMP_KEY STR_LITERAL("timestamp")

static void write_text(struct buf *out, unsigned field, struct str text)
{
    if (text.len > 0) {
        message_str(out, field, text);
    }
}

static void write_count(struct buf *out, unsigned field, uint32_t count)
{
    if (count > 0) {
        message_u64(out, field, count);
    }
}

static char *put_pair(char *at, unsigned number)
{
    *at++ = (char)('0' + number / 10);
    *at++ = (char)('0' + number % 10);
    return at;
}

static char *put_pair_and(char *at, unsigned number, char after)
{
    at = put_pair(at, number);
    *at++ = after;
    return at;
}

/* ISO 8601 in UTC, to the microsecond, as Python's isoformat() has it. */
static void write_timestamp(struct buf *out, uint64_t wall_ns)
{
    struct date date = date_of(wall_ns);
    unsigned micros = (unsigned)(wall_ns / 1000 % 1000000);
    char text[TIMESTAMP_BYTES];
    char *at = put_pair(text, date.year / 100);
    at = put_pair_and(at, date.year % 100, '-');
    at = put_pair_and(at, date.month, '-');
    at = put_pair_and(at, date.day, 'T');
    at = put_pair_and(at, date.hour, ':');
    at = put_pair_and(at, date.minute, ':');
    at = put_pair_and(at, date.second, '.');
    at = put_pair(put_pair(at, micros / 10000), micros / 100 % 100);
    at = put_pair_and(at, micros % 100, '+');
    memcpy(at, "00:00", 5);
    otlp_attribute_text(out, SPAN_FIELD_ATTRIBUTES, TIMESTAMP_KEY, (struct str){text, sizeof text});
}

static void write_attributes(struct buf *out, const struct span *span, struct str hash)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        bytes += span->attributes[i].field.len;
    }
    char *at = buf_reserve(out, bytes);
    for (uint32_t i = 0; at != NULL && i < span->attribute_count; i++) {
        const struct span_attribute *attribute = &span->attributes[i];
        if (!str_equal(attribute->key, HASH_KEY)) {
            memcpy(at, attribute->field.ptr, attribute->field.len);
            at += attribute->field.len;
        }
    }
    if (at != NULL) {
        out->len = (size_t)(at - out->data);
    }
    otlp_attribute_text(out, SPAN_FIELD_ATTRIBUTES, HASH_KEY, hash);
    if (span_find(span, TIMESTAMP_KEY) == NULL) {
        write_timestamp(out, span->start_wall_ns);
    }
}

static void write_children(struct buf *out, unsigned field, unsigned dropped_field,
                           const struct span_child *children, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t child = message_begin(out, field);
        buf_str(out, children[i].body);
        write_count(out, dropped_field, children[i].dropped);
        message_end(out, child);
    }
}

static void write_status(struct buf *out, const struct span *span)
{
    if (span->status != SPAN_UNSET || span->status_message.len > 0) {
        size_t status = message_begin(out, SPAN_FIELD_STATUS);
        write_text(out, 2, span->status_message);
        write_count(out, 3, span->status);
        message_end(out, status);
    }
}

static struct str str_of_id(const uint8_t *id, size_t len)
{
    return (struct str){(const char *)id, len};
}

/* What every span has, in one go: with the attributes it is most of most spans. */
static void write_head(struct buf *out, const struct span *span)
{
    enum { IDS = 3 };
    size_t room = IDS * message_text_bytes(RECORD_TRACE_ID_BYTES) +
                  message_text_bytes(span->trace_state.len) + message_text_bytes(span->name.len) +
                  KIND_BYTES + 2 * MESSAGE_FIXED64_BYTES;
    char *at = buf_reserve(out, room);
    if (at == NULL) {
        return;
    }
    at =
        message_put_text(at, SPAN_FIELD_TRACE_ID, str_of_id(span->trace_id, sizeof span->trace_id));
    at = message_put_text(at, SPAN_FIELD_SPAN_ID, str_of_id(span->span_id, sizeof span->span_id));
    if (span->trace_state.len > 0) {
        at = message_put_text(at, SPAN_FIELD_TRACE_STATE, span->trace_state);
    }
    if (!span_is_root(span)) {
        at = message_put_text(at, SPAN_FIELD_PARENT_SPAN_ID,
                              str_of_id(span->parent_id, sizeof span->parent_id));
    }
    at = message_put_text(at, SPAN_FIELD_NAME, span->name);
    *at++ = SPAN_FIELD_KIND << 3; /* a varint */
    *at++ = (char)(span->kind != 0 ? span->kind : KIND_INTERNAL);
    at = message_put_fixed64(at, SPAN_FIELD_START_TIME, span->start_wall_ns);
    at = message_put_fixed64(at, SPAN_FIELD_END_TIME, span->end_wall_ns);
    out->len = (size_t)(at - out->data);
}

void otlp_span_render(const struct span *span, struct str constitutional_hash, struct buf *out)
{
    write_head(out, span);
    write_attributes(out, span, constitutional_hash);
    write_count(out, SPAN_FIELD_DROPPED_ATTRIBUTES, span->dropped_attributes);
    write_children(out, SPAN_FIELD_EVENTS, EVENT_DROPPED, span->events, span->event_count);
    write_count(out, SPAN_FIELD_DROPPED_EVENTS, span->dropped_events);
    write_children(out, SPAN_FIELD_LINKS, LINK_DROPPED, span->links, span->link_count);
    write_count(out, SPAN_FIELD_DROPPED_LINKS, span->dropped_links);
    write_status(out, span);
    if (span->has_flags) {
        message_fixed32(out, SPAN_FIELD_FLAGS, span->flags);
    }
}
