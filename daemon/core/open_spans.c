/*
 * Happy path: begin puts a copy into the table; find and take get it out when its end comes.
 *
 * What can fail: the span is there already, or there is no memory: the caller is told. There are as
 * many as there may be, or as many bytes: the oldest are cut off. An end is lost, or never sent: its
 * span ends with its owner; without one it becomes the oldest some day.
 *
 * Buckets are as many as spans may be, so that chains stay short; they are made zero, so that the
 * system gives memory only for those that are used.
 */
#include "core/open_spans.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"

enum { KEY_BYTES = RECORD_TRACE_ID_BYTES + RECORD_SPAN_ID_BYTES };

struct open_span {
    struct kept_span *kept;                 /* owned */
    struct open_span *next;                 /* in its bucket */
    struct open_span *younger, **older;     /* by age; `older` is what points here */
    struct open_span *next_own, **link_own; /* of the same owner; link_own is NULL without one */
};

void open_spans_init(struct open_spans *spans, const struct open_spans_options *options)
{
    *spans = (struct open_spans){.options = *options};
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
    if (open->link_own != NULL) {
        *open->link_own = open->next_own;
        if (open->next_own != NULL) {
            open->next_own->link_own = open->link_own;
        }
    }
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
    open->link_own = owner == NULL ? NULL : &owner->first;
    if (owner != NULL) {
        open->next_own = owner->first;
        if (owner->first != NULL) {
            owner->first->link_own = &open->next_own;
        }
        owner->first = open;
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

int open_spans_begin(struct open_spans *spans, const struct span *span, struct span_owner *owner)
{
    int err = make_buckets(spans);
    if (err != 0) {
        return err;
    }
    if (*find_link(spans, span) != NULL) {
        return ERR_DUPLICATE_KEY;
    }
    struct kept_span *kept = kept_span_new(span);
    struct open_span *open = mem_alloc(sizeof *open);
    if (kept == NULL || open == NULL) {
        err = ERR_NOMEM;
        goto refused;
    }
    size_t bytes = kept->bytes + sizeof *open;
    if (bytes > spans->options.max_bytes) {
        err = ERR_LIMIT;
        goto refused;
    }
    while (spans->count >= spans->options.max_count ||
           bytes > spans->options.max_bytes - spans->bytes) {
        cut_off(spans, spans->oldest, SPAN_CUT_CEILING);
    }
    open->kept = kept;
    link_span(spans, open, owner);
    return 0;
refused:
    mem_free(kept);
    mem_free(open);
    return err;
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

void open_spans_end_owner(struct open_spans *spans, struct span_owner *owner)
{
    while (owner->first != NULL) {
        cut_off(spans, owner->first, SPAN_CUT_OWNER);
    }
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
