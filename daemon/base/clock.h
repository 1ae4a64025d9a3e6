/*
 * Time is handed in: whoever needs it gets a `struct clock`, real in the daemon, moved by hand in
 * tests. It does not sleep and sets no timers. The functions may be called from any thread.
 */
#ifndef DWELL_BASE_CLOCK_H
#define DWELL_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_SECOND 1000000000ULL
#define NS_PER_MS     1000000ULL

struct clock {
    uint64_t (*mono_ns)(void *ctx); /* never goes back */
    uint64_t (*wall_ns)(void *ctx); /* since 1970, may jump */
    void *ctx;
};

#endif
