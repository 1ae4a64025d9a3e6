/*
 * The probe: a thread that sees for the witness what processes do, so that the loop never waits for
 * /proc. It is started with the first process that there is to watch, or before, and told whom to
 * watch whenever that changes. It does not judge. Loop thread only.
 */
#ifndef DWELL_PROBE_PROBE_H
#define DWELL_PROBE_PROBE_H

#include <uv.h>

#include "core/counters.h"
#include "io/probe/probe_worker.h"

struct probe {
    struct probe_options options;
    struct witness *witness;   /* borrowed */
    struct counters *counters; /* borrowed */
    uv_timer_t tick;
    uv_async_t async;
    struct probe_orders orders; /* as last given */
    struct probe_orders fresh;  /* as they are now */
    struct probe_mailbox mailbox;
    struct probe_worker worker;
    pthread_t thread;
    bool is_open; /* has handles */
    bool has_thread;
    bool has_failed; /* to start: it is not tried again */
    bool knows_machine;
    struct machine machine; /* once it is known: what could be measured of it */
};

/* All zero is one that was not started, which may be closed. `witness` and `counters` must outlive it.
 * Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int probe_start(struct probe *probe, uv_loop_t *loop, struct witness *witness,
                struct counters *counters, const struct probe_options *options);

/* Ends the thread, which takes as long as what it is just reading. Memory may go when the loop has run
 * its close callbacks. */
void probe_close(struct probe *probe);

#endif
