/*
 * A span that outlives its record, such as one half that waits for the other: a copy of all of it in
 * one piece of memory. It does not know why it is kept. Loop thread only.
 */
#ifndef DWELL_CORE_KEPT_SPAN_H
#define DWELL_CORE_KEPT_SPAN_H

#include <stddef.h>

#include "core/record.h"

struct kept_span {
    struct kept_span *next; /* the owner's */
    size_t bytes;           /* of heap behind it */
    struct span span;       /* borrows from the same piece of memory */
};

/* Bytes of heap that a copy takes. */
size_t kept_span_bytes(const struct span *span);

/* A copy that the caller owns and gives to mem_free, or NULL without memory. */
struct kept_span *kept_span_new(const struct span *span);

/* Puts the second half of a span to its first: single values of the second count where it has them,
 * attributes too; what repeats is put together, up to the limits, and counted above. `ret` and `room`
 * borrow from both. */
void span_merge(const struct span *first, const struct span *second, struct span_room *room,
                struct span *ret);

#endif
