/*
 * Happy path: begin puts a copy into the table; find and take get it out when its end comes.
 *
 * What can fail: the span is there already, or there is no memory: the caller is told. There are as
 * many as there may be, or as many bytes: the oldest are cut off. An end is lost, or never sent: its
 * span ends with its owner; without one it becomes the oldest some day. Whoever ends many at once, such
 * as a process that dies, does not keep the loop: those past OPEN_SPANS_CUT_MAX wait in a ring of ours.
 *
 * Buckets are as many as spans may be, so that chains stay short; they are made zero, so that the
 * system gives memory only for those that are used.
 */
#include "core/open_spans.h"

#include <assert.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"

enum { KEY_BYTES = RECORD_TRACE_ID_BYTES + RECORD_SPAN_ID_BYTES };

struct open_span {
    struct span_owner ring; /* of the same owner; first, so that it can be told from it */
    struct kept_span *kept; /* owned */
    struct open_span *next; /* in its bucket */
    struct open_span *younger, **older; /* by age; `older` is what points here */
};
_Static_assert(offsetof(struct open_span, ring) == 0, "a place in a ring is an open span");

/* Rings */

static void ring_init(struct span_owner *ring)
{
    ring->next = ring->previous = ring;
}

static bool ring_is_empty(const struct span_owner *ring)
{
    return ring->next == NULL || ring->next == ring;
}

/* Puts what is in one ring behind what is in another, and leaves the first empty. */
static void ring_append(struct span_owner *to, struct span_owner *from)
{
    if (!ring_is_empty(from)) {
        from->next->previous = to->previous;
        to->previous->next = from->next;
        from->previous->next = to;
        to->previous = from->previous;
        ring_init(from);
    }
}

/* Spans */

void open_spans_init(struct open_spans *spans, const struct open_spans_options *options)
{
    assert(options->max_count > 0);
    *spans = (struct open_spans){.options = *options};
    ring_init(&spans->due);
    spans->newest = &spans->oldest;
    spans->bucket_mask = 1;
    while (spans->bucket_mask < options->max_count - 1) {
        spans->bucket_mask = spans->bucket_mask << 1 | 1;
    }
}

static struct open_span **bucket_of(const struct open_spans *spans, const struct span *span)
{
    uint8_t key[KEY_BYTES];
    memcpy(key, span->trace_id, RECORD_TRACE_ID_BYTES);
    memcpy(key + RECORD_TRACE_ID_BYTES, span->span_id, RECORD_SPAN_ID_BYTES);
    uint64_t hash = XXH3_64bits_withSeed(key, sizeof key, spans->options.hash_seed);
    return &spans->buckets[hash & spans->bucket_mask];
}

static bool is_same(const struct span *a, const struct span *b)
{
    return memcmp(a->span_id, b->span_id, sizeof a->span_id) == 0 &&
           memcmp(a->trace_id, b->trace_id, sizeof a->trace_id) == 0;
}

/* What points to the open span, or to the NULL where it would be. */
static struct open_span **find_link(const struct open_spans *spans, const struct span *span)
{
    struct open_span **link = bucket_of(spans, span);
    while (*link != NULL && !is_same(&(*link)->kept->span, span)) {
        link = &(*link)->next;
    }
    return link;
}

/* Takes it out of all lists; the kept span is the caller's. */
static struct kept_span *unlink_span(struct open_spans *spans, struct open_span **link)
{
    struct open_span *open = *link;
    *link = open->next;
    *open->older = open->younger;
    if (open->younger != NULL) {
        open->younger->older = open->older;
    } else {
        spans->newest = open->older;
    }
    open->ring.previous->next = open->ring.next;
    open->ring.next->previous = open->ring.previous;
    struct kept_span *kept = open->kept;
    spans->count--;
    spans->bytes -= kept->bytes + sizeof *open;
    mem_free(open);
    return kept;
}

static void cut_off(struct open_spans *spans, const struct open_span *open, enum span_cut why)
{
    struct kept_span *kept = unlink_span(spans, find_link(spans, &open->kept->span));
    spans->options.cut_off(spans->options.ctx, &kept->span, why);
    mem_free(kept);
}

static void link_span(struct open_spans *spans, struct open_span *open, struct span_owner *owner)
{
    struct open_span **bucket = bucket_of(spans, &open->kept->span);
    open->next = *bucket;
    *bucket = open;
    open->younger = NULL;
    open->older = spans->newest;
    *spans->newest = open;
    spans->newest = &open->younger;
    ring_init(&open->ring);
    if (owner != NULL) {
        if (owner->next == NULL) {
            ring_init(owner);
        }
        open->ring.previous = owner->previous;
        open->ring.next = owner;
        owner->previous->next = &open->ring;
        owner->previous = &open->ring;
    }
    spans->count++;
    spans->bytes += open->kept->bytes + sizeof *open;
}

static int make_buckets(struct open_spans *spans)
{
    if (spans->buckets == NULL) {
        spans->buckets = mem_zalloc((size_t)spans->bucket_mask + 1, sizeof(struct open_span *));
    }
    return spans->buckets != NULL ? 0 : ERR_NOMEM;
}

static bool is_full(const struct open_spans *spans, size_t bytes)
{
    return spans->count >= spans->options.max_count ||
           bytes > spans->options.max_bytes - spans->bytes;
}

/* False when there is still no room after as many as may go at once. */
static bool make_room(struct open_spans *spans, size_t bytes)
{
    for (unsigned i = 0; i < OPEN_SPANS_CUT_MAX && is_full(spans, bytes); i++) {
        cut_off(spans, spans->oldest, SPAN_CUT_CEILING);
    }
    return !is_full(spans, bytes);
}

int open_spans_begin(struct open_spans *spans, const struct span *span, struct span_owner *owner)
{
    size_t bytes = kept_span_bytes(span) + sizeof(struct open_span);
    int err = make_buckets(spans);
    if (err != 0) {
        return err;
    }
    if (*find_link(spans, span) != NULL) {
        return ERR_DUPLICATE_KEY;
    }
    if (bytes > spans->options.max_bytes) {
        return ERR_LIMIT;
    }
    struct kept_span *kept = kept_span_new(span);
    struct open_span *open = mem_alloc(sizeof *open);
    err = kept == NULL || open == NULL ? ERR_NOMEM : make_room(spans, bytes) ? 0 : ERR_LIMIT;
    if (err != 0) {
        mem_free(kept);
        mem_free(open);
        return err;
    }
    open->kept = kept;
    link_span(spans, open, owner);
    return 0;
}

const struct span *open_spans_find(const struct open_spans *spans, const struct span *span)
{
    if (spans->buckets == NULL) {
        return NULL;
    }
    const struct open_span *open = *find_link(spans, span);
    return open == NULL ? NULL : &open->kept->span;
}

void open_spans_take(struct open_spans *spans, const struct span *span)
{
    mem_free(unlink_span(spans, find_link(spans, span)));
}

static void cut_off_some(struct open_spans *spans, const struct span_owner *ring)
{
    for (unsigned i = 0; i < OPEN_SPANS_CUT_MAX && !ring_is_empty(ring); i++) {
        cut_off(spans, (const struct open_span *)(const void *)ring->next, SPAN_CUT_OWNER);
    }
}

void open_spans_end_owner(struct open_spans *spans, struct span_owner *owner)
{
    cut_off_some(spans, owner);
    ring_append(&spans->due, owner);
}

void open_spans_tick(struct open_spans *spans)
{
    cut_off_some(spans, &spans->due);
}

void open_spans_end_all(struct open_spans *spans)
{
    while (spans->oldest != NULL) {
        cut_off(spans, spans->oldest, SPAN_CUT_STOP);
    }
}

void open_spans_fini(struct open_spans *spans)
{
    while (spans->oldest != NULL) {
        mem_free(unlink_span(spans, find_link(spans, &spans->oldest->kept->span)));
    }
    mem_free(spans->buckets);
    spans->buckets = NULL;
}
