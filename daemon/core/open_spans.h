/*
 * Spans of which only the beginning is known: keeps each until its end comes, and gives it back when
 * its owner is gone, or when there are too many. It does not know what a span is for.
 *
 *     begin  ->  [ kept by trace id and span id; of its owner; oldest first ]  ->  take     the end came
 *                                                                              ->  cut_off  it will not
 * Loop thread only.
 */
#ifndef DWELL_CORE_OPEN_SPANS_H
#define DWELL_CORE_OPEN_SPANS_H

#include "core/kept_span.h"

enum { OPEN_SPANS_CUT_MAX = 1024 }; /* cut off in one call: one or two milliseconds */

struct open_span;

/* A process or a connection: the ring of the spans that end with it, in the order that they began.
 * All zero: none yet. It must stay where it is for as long as it has any. */
struct span_owner {
    struct span_owner *next, *previous;
};

/* Why a span is given back without its end. */
enum span_cut {
    SPAN_CUT_OWNER,   /* its process or connection is gone */
    SPAN_CUT_CEILING, /* it was the oldest, and there were too many */
    SPAN_CUT_STOP,    /* the daemon stops */
    SPAN_CUT_COUNT
};

struct open_spans_options {
    uint32_t max_count; /* 1 at least */
    size_t max_bytes;   /* of heap */
    uint64_t hash_seed;
    void *ctx;
    void (*cut_off)(void *ctx, const struct span *first, enum span_cut why);
};

struct open_spans {
    struct open_spans_options options;
    struct open_span **buckets; /* owned; made with the first span */
    uint32_t bucket_mask;
    struct open_span *oldest, **newest;
    struct span_owner due; /* left by owners that are gone: open_spans_tick cuts them off */
    uint32_t count;
    size_t bytes;
};

/* The struct must stay where it is. */
void open_spans_init(struct open_spans *spans, const struct open_spans_options *options);

/* Without a word to anybody, while owners are still there. */
void open_spans_fini(struct open_spans *spans);

/* Keeps the first half. `owner` may be NULL: then only its end or the ceiling ends it. Returns 0;
 * ERR_DUPLICATE_KEY when it has begun already, ERR_NOMEM; ERR_LIMIT when it alone is above the ceiling,
 * or when cutting off OPEN_SPANS_CUT_MAX did not make room for its bytes. */
int open_spans_begin(struct open_spans *spans, const struct span *span, struct span_owner *owner);

/* The first half of a span that has begun, or NULL. Borrowed, until open_spans_take. */
const struct span *open_spans_find(const struct open_spans *spans, const struct span *span);

/* Forgets it. */
void open_spans_take(struct open_spans *spans, const struct span *span);

/* Cuts off what an owner has: OPEN_SPANS_CUT_MAX of them now, the rest by open_spans_tick, whether the
 * owner is still there or not. */
void open_spans_end_owner(struct open_spans *spans, struct span_owner *owner);

/* To be called now and then: cuts off up to OPEN_SPANS_CUT_MAX whose owner is gone. */
void open_spans_tick(struct open_spans *spans);

/* Cuts off all there is. */
void open_spans_end_all(struct open_spans *spans);

#endif
