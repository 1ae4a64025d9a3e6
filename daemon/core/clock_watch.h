/*
 * Notices when somebody sets the wall clock: the two clocks are compared now and then, and where one has
 * gone much further than the other, it was set. (A machine that slept does the same to it.) It reads no
 * clock.
 *
 *     monotonic   ──────────●───────────●──────>   10 s
 *     wall        ──────────●─────────────────────────────●──>   3610 s: it was set by an hour
 *
 * NTP makes a clock go faster or slower by 500 ppm at most; twice that, and half a second, is let pass.
 */
#ifndef DWELL_CORE_CLOCK_WATCH_H
#define DWELL_CORE_CLOCK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct clock_watch {
    uint64_t mono_ns, wall_ns; /* as last seen; both 0: not yet */
    uint64_t steps;
    double step_seconds; /* the last one; backwards is negative */
};

/* What the clocks show now. True when the wall clock was set since the last call. */
bool clock_watch_look(struct clock_watch *watch, uint64_t mono_ns, uint64_t wall_ns);

#endif
