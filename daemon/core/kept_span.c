/*
 *      | struct kept_span | attributes | events | links | bytes of all texts |
 *
 * Pointers of the copy lead into the parts behind it. A text of the original may lie in another one, as
 * an attribute's key in its field: it is copied for itself, which costs some bytes and no rules.
 */
#include "core/kept_span.h"

#include "base/mem.h"

/* The single texts of a span. */
#define SPAN_TEXTS(X) X(name) X(trace_state) X(status_message) X(service_name)

static size_t child_bytes(const struct span_child *children, uint32_t count)
{
    size_t bytes = count * sizeof *children;
    for (uint32_t i = 0; i < count; i++) {
        bytes += children[i].body.len;
    }
    return bytes;
}

size_t kept_span_bytes(const struct span *span)
{
    size_t bytes = sizeof(struct kept_span);
#define X(text) bytes += span->text.len;
    SPAN_TEXTS(X)
#undef X
    bytes += span->attribute_count * sizeof *span->attributes;
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        const struct span_attribute *attribute = &span->attributes[i];
        bytes += attribute->key.len + attribute->field.len;
        bytes += attribute->is_text ? attribute->text.len : 0;
    }
    return bytes + child_bytes(span->events, span->event_count) +
           child_bytes(span->links, span->link_count);
}

static struct str move_text(char **at, struct str text)
{
    struct str moved = {*at, text.len};
    if (text.len > 0) {
        memcpy(*at, text.ptr, text.len);
    }
    *at += text.len;
    return moved;
}

static void move_children(char **at, struct span_child *to, const struct span_child *from,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        to[i].body = move_text(at, from[i].body);
        to[i].dropped = from[i].dropped;
    }
}

struct kept_span *kept_span_new(const struct span *span)
{
    size_t bytes = kept_span_bytes(span);
    struct kept_span *kept = mem_alloc(bytes);
    if (kept == NULL) {
        return NULL;
    }
    kept->next = NULL;
    kept->bytes = bytes;
    kept->span = *span;
    struct span *copy = &kept->span;
    copy->attributes = (struct span_attribute *)(kept + 1);
    copy->events = (struct span_child *)(copy->attributes + span->attribute_count);
    copy->links = copy->events + span->event_count;
    char *at = (char *)(copy->links + span->link_count);
#define X(text) copy->text = move_text(&at, span->text);
    SPAN_TEXTS(X)
#undef X
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        struct span_attribute *attribute = &copy->attributes[i];
        *attribute = span->attributes[i];
        attribute->key = move_text(&at, attribute->key);
        attribute->field = move_text(&at, attribute->field);
        attribute->text =
            attribute->is_text ? move_text(&at, attribute->text) : (struct str){NULL, 0};
    }
    move_children(&at, copy->events, span->events, span->event_count);
    move_children(&at, copy->links, span->links, span->link_count);
    return kept;
}

static void merge_attributes(const struct span *first, const struct span *second, struct span *ret)
{
    uint32_t left_out = 0;
    for (uint32_t i = 0; i < first->attribute_count; i++) {
        if (span_find(second, first->attributes[i].key) == NULL) {
            ret->attributes[ret->attribute_count++] = first->attributes[i];
        }
    }
    for (uint32_t i = 0; i < second->attribute_count; i++) {
        if (ret->attribute_count < SPAN_ATTRIBUTES_MAX) {
            ret->attributes[ret->attribute_count++] = second->attributes[i];
        } else {
            left_out++;
        }
    }
    ret->dropped_attributes = span_add_count(
        span_add_count(first->dropped_attributes, second->dropped_attributes), left_out);
}

/* Appends what there is room for; returns how many there is none for. */
static uint32_t append_children(struct span_child *to, uint32_t *count, uint32_t max,
                                const struct span_child *from, uint32_t from_count)
{
    uint32_t fit = from_count < max - *count ? from_count : max - *count;
    for (uint32_t i = 0; i < fit; i++) {
        to[(*count)++] = from[i];
    }
    return from_count - fit;
}

static void merge_children(const struct span *first, const struct span *second, struct span *ret)
{
    (void)append_children(ret->events, &ret->event_count, SPAN_EVENTS_MAX, first->events,
                          first->event_count); /* each half is within the limits */
    uint32_t events = append_children(ret->events, &ret->event_count, SPAN_EVENTS_MAX,
                                      second->events, second->event_count);
    (void)append_children(ret->links, &ret->link_count, SPAN_LINKS_MAX, first->links,
                          first->link_count);
    uint32_t links = append_children(ret->links, &ret->link_count, SPAN_LINKS_MAX, second->links,
                                     second->link_count);
    ret->dropped_events =
        span_add_count(span_add_count(first->dropped_events, second->dropped_events), events);
    ret->dropped_links =
        span_add_count(span_add_count(first->dropped_links, second->dropped_links), links);
}

static struct str said_last(struct str first, struct str second)
{
    return second.len > 0 ? second : first;
}

void span_merge(const struct span *first, const struct span *second, struct span_room *room,
                struct span *ret)
{
    span_init(ret, room);
    ret->part = SPAN_WHOLE;
    ret->name = said_last(first->name, second->name);
    memcpy(ret->trace_id, first->trace_id, sizeof ret->trace_id);
    memcpy(ret->span_id, first->span_id, sizeof ret->span_id);
    memcpy(ret->parent_id, span_is_root(second) ? first->parent_id : second->parent_id,
           sizeof ret->parent_id);
    ret->trace_state = said_last(first->trace_state, second->trace_state);
    ret->kind = second->kind != 0 ? second->kind : first->kind;
    ret->has_flags = first->has_flags || second->has_flags;
    ret->flags = second->has_flags ? second->flags : first->flags;
    ret->start_wall_ns = second->start_wall_ns != 0 ? second->start_wall_ns : first->start_wall_ns;
    ret->end_wall_ns = second->end_wall_ns;
    bool judged = second->status != SPAN_UNSET;
    ret->status = judged ? second->status : first->status;
    ret->status_message =
        judged ? second->status_message : said_last(first->status_message, second->status_message);
    ret->service_name = said_last(first->service_name, second->service_name);
    merge_attributes(first, second, ret);
    merge_children(first, second, ret);
}
