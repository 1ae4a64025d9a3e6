/*
 * When counts last grew: what was lost an hour ago and what is being lost now are two things to whoever
 * looks. It is looked at now and then, and a time is that of the look which found the count grown. It
 * counts nothing and reads no clock. Loop thread; a snapshot carries a copy of the times.
 */
#ifndef DWELL_CORE_GROWTH_H
#define DWELL_CORE_GROWTH_H

#include "base/err.h"
#include "core/counters.h"

struct growth_counts {
    uint64_t rejected[ERR_ROW_COUNT];
    uint64_t dropped;
    uint64_t lost;
    uint64_t counters[COUNTER_COUNT]; /* gauges too, which mean nothing here */
};

struct growth {
    struct growth_counts last;     /* as of the last look */
    struct growth_counts grown_ns; /* monotonic; 0: not since growth_begin */
};

/* Nothing has grown yet: what an earlier life counted is where this one begins. */
void growth_begin(struct growth *growth, const struct growth_counts *now);

/* `mono_ns` is not 0. */
void growth_look(struct growth *growth, const struct growth_counts *now, uint64_t mono_ns);

#endif
