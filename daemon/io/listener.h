/*
 * Accepts connections to the stream socket, within the ceiling and from those who may send.
 * What they say is io/connection's. Loop thread only.
 */
#ifndef DWELL_IO_LISTENER_H
#define DWELL_IO_LISTENER_H

#include "io/ingest.h"

struct listener {
    uv_poll_t poll;
    uv_timer_t pause; /* after running out of descriptors */
    int fd;           /* owned */
    struct ingest *ingest;
};

/* Takes `fd`, which listens and does not block. Returns 0 or ERR_SYSTEM. */
int listener_start(struct listener *listener, struct ingest *ingest, int fd);

/* Lets in who is waiting, before the end. */
void listener_drain(struct listener *listener);

/* Memory may go when the loop has run the close callbacks. */
void listener_close(struct listener *listener);

#endif
