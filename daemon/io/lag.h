/*
 * How long each turn of the loop kept everything else waiting: the time between two polls that was
 * not spent in the poll. Loop thread only.
 */
#ifndef DWELL_IO_LAG_H
#define DWELL_IO_LAG_H

#include <uv.h>

#include "core/counters.h"

struct lag {
    uv_prepare_t prepare;
    uint64_t last_ns;
    uint64_t last_idle_ns;
    struct timing *timing; /* borrowed */
};

/* Before the loop runs for the first time. */
void lag_start(struct lag *lag, uv_loop_t *loop, struct timing *timing);
void lag_close(struct lag *lag);

#endif
