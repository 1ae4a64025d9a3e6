/*
 * The short way from a spelling to a series: remembers where spellings that came lately led, so that
 * names and attributes need not be read again. It owns no series and decides nothing: a way that is not
 * remembered, or was true of an earlier generation, is found by core/metrics. Loop thread only.
 *
 * A spelling has one of a few places side by side, and pushes another out when there is none free: with
 * only one, two of a hundred spellings would more often than not push each other out, every time they
 * come. Longer ones than fit a place are not remembered. Nothing is allocated, and a place that is
 * never used is never touched.
 */
#ifndef DWELL_CORE_WAYS_H
#define DWELL_CORE_WAYS_H

#include "core/buckets.h"

enum {
    WAYS = 8192,
    WAY_PLACES = 4,  /* that a spelling may have; with the first free one a search ends */
    WAY_BYTES = 198, /* of a spelling: with the rest a place is four cache lines */
};

struct way {
    uint64_t generation;
    uint32_t family;
    uint32_t place;
    uint16_t head_len;
    uint16_t tail_len;
    double scale; /* values times this */
    uint64_t hash;
    /* A shorter way still, which is good while `ready` is the registry's: what to write to. */
    uint64_t ready;
    union {
        double *number;
        struct buckets *buckets;
    } at;
    uint8_t format;
    uint8_t op;
    char bytes[WAY_BYTES]; /* head, tail */
};

_Static_assert(sizeof(struct way) == 256, "four cache lines");

struct ways {
    uint64_t seed;
    uint64_t generation; /* changes when a series ends, and never comes again; begins at 1 */
    struct way *places;
};

/* Returns 0 or ERR_NOMEM. */
int ways_init(struct ways *ways, uint64_t seed);
void ways_fini(struct ways *ways);

/* Nothing that was remembered is true any more. */
static inline void ways_forget(struct ways *ways)
{
    ways->generation++;
}

/* The way of a spelling, or NULL; `ready` and `at` may be written. */
struct way *ways_find(const struct ways *ways, const struct spelling *spelling);

/* Remembers one; `way` says where it leads, its spelling part is filled here. */
void ways_keep(struct ways *ways, const struct spelling *spelling, const struct way *way);

#endif
