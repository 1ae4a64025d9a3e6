/*
 * The signs of life that the service manager gets while the loop runs: its watchdog is fed, and a line
 * says what the daemon does. That it is ready, reloads or stops is told where that happens.
 * Loop thread only.
 */
#ifndef DWELL_IO_PULSE_H
#define DWELL_IO_PULSE_H

#include "io/ingest.h"
#include "io/notify.h"

struct pulse {
    uv_timer_t watchdog;
    uv_timer_t status;
    struct notify *notify;
    const struct ingest *ingest;
    uint64_t looked_ns; /* when the status was last looked at, 0: not yet */
    uint64_t accepted;  /* records until then */
    struct buf told;    /* the line that the manager has */
};

/* Both are borrowed. Where there is nobody to be told nothing runs. */
void pulse_start(struct pulse *pulse, uv_loop_t *loop, struct notify *notify,
                 const struct ingest *ingest);

/* Memory may go when the loop has run the close callbacks. */
void pulse_close(struct pulse *pulse);

#endif
