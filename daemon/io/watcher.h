/*
 * Watches the processes that said who they are, and does what has to be done now and then: what
 * belongs to a process ends when it does, idle series end, rounds of evidence are closed. It does not
 * know what that is.
 * Loop thread only.
 */
#ifndef DWELL_IO_WATCHER_H
#define DWELL_IO_WATCHER_H

#include <uv.h>

#include "base/clock.h"
#include "core/intake.h"

struct watcher {
    uv_loop_t *loop;
    struct intake *intake;
    struct clock clock;
    uv_timer_t tick;
    uint64_t given_back;  /* series, of metrics.given_back, whose memory the system has back */
    uint64_t most_values; /* of sets that were kept at a time, since the same */
    unsigned watched;
    unsigned max_watched; /* each takes a descriptor */
};

/* `intake` with its metrics and processes must outlive it. */
void watcher_start(struct watcher *watcher, uv_loop_t *loop, struct intake *intake,
                   unsigned max_watched, const struct clock *clock);

/* Memory may go when the loop has run its close callbacks. */
void watcher_close(struct watcher *watcher);

#endif
