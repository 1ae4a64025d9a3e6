#include "render/otlp_span.h"

#include "base/date.h"
#include "base/message.h"
#include "render/otlp_attribute.h"

/* Fields of Span. */
enum {
    TRACE_ID = 1,
    SPAN_ID,
    TRACE_STATE,
    PARENT_SPAN_ID,
    NAME,
    KIND,
    START_TIME,
    END_TIME,
    ATTRIBUTES,
    DROPPED_ATTRIBUTES,
    EVENTS,
    DROPPED_EVENTS,
    LINKS,
    DROPPED_LINKS,
    STATUS,
    FLAGS,
};

enum { KIND_INTERNAL = 1 }; /* what nobody said something else of: OTLP wants no unspecified ones */

enum { EVENT_DROPPED = 4, LINK_DROPPED = 5 }; /* attributes of an event, of a link */

enum { TIMESTAMP_BYTES = sizeof "2262-04-11T23:47:16.854775+00:00" - 1 };

#define HASH_KEY      STR_LITERAL("constitutional.hash")
#define TIMESTAMP_KEY STR_LITERAL("timestamp")

static void write_id(struct buf *out, unsigned field, const uint8_t *id, size_t len)
{
    message_str(out, field, (struct str){(const char *)id, len});
}

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

static char *write_digits(char *at, unsigned number, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        at[i - 1] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + digits;
}

/* ISO 8601 in UTC, to the microsecond, as Python's isoformat() has it. */
static void write_timestamp(struct buf *out, uint64_t wall_ns)
{
    struct date date = date_of(wall_ns);
    const struct {
        unsigned number, digits;
        char after;
    } parts[] = {{date.year, 4, '-'},
                 {date.month, 2, '-'},
                 {date.day, 2, 'T'},
                 {date.hour, 2, ':'},
                 {date.minute, 2, ':'},
                 {date.second, 2, '.'},
                 {(unsigned)(wall_ns / 1000 % 1000000), 6, '+'}};
    char text[TIMESTAMP_BYTES];
    char *at = text;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        at = write_digits(at, parts[i].number, parts[i].digits);
        *at++ = parts[i].after;
    }
    memcpy(at, "00:00", 5);
    otlp_attribute_text(out, ATTRIBUTES, TIMESTAMP_KEY, (struct str){text, sizeof text});
}

static void write_attributes(struct buf *out, const struct span *span, struct str hash)
{
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        if (!str_equal(span->attributes[i].key, HASH_KEY)) {
            buf_str(out, span->attributes[i].field);
        }
    }
    otlp_attribute_text(out, ATTRIBUTES, HASH_KEY, hash);
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
        size_t status = message_begin(out, STATUS);
        write_text(out, 2, span->status_message);
        write_count(out, 3, span->status);
        message_end(out, status);
    }
}

void otlp_span_render(const struct span *span, struct str constitutional_hash, struct buf *out)
{
    static const uint8_t root[RECORD_SPAN_ID_BYTES];
    write_id(out, TRACE_ID, span->trace_id, sizeof span->trace_id);
    write_id(out, SPAN_ID, span->span_id, sizeof span->span_id);
    write_text(out, TRACE_STATE, span->trace_state);
    if (memcmp(span->parent_id, root, sizeof root) != 0) {
        write_id(out, PARENT_SPAN_ID, span->parent_id, sizeof span->parent_id);
    }
    message_str(out, NAME, span->name);
    message_u64(out, KIND, span->kind != 0 ? span->kind : KIND_INTERNAL);
    message_fixed64(out, START_TIME, span->start_wall_ns);
    message_fixed64(out, END_TIME, span->end_wall_ns);
    write_attributes(out, span, constitutional_hash);
    write_count(out, DROPPED_ATTRIBUTES, span->dropped_attributes);
    write_children(out, EVENTS, EVENT_DROPPED, span->events, span->event_count);
    write_count(out, DROPPED_EVENTS, span->dropped_events);
    write_children(out, LINKS, LINK_DROPPED, span->links, span->link_count);
    write_count(out, DROPPED_LINKS, span->dropped_links);
    write_status(out, span);
    if (span->has_flags) {
        message_fixed32(out, FLAGS, span->flags);
    }
}
