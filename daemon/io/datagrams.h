/*
 * Reads the datagram socket, several at a time; each datagram is complete in itself and decoded on
 * its own. Nobody is answered: a refused datagram or record is counted and logged. Loop thread only.
 */
#ifndef DWELL_IO_DATAGRAMS_H
#define DWELL_IO_DATAGRAMS_H

#include "io/shed.h"
#include "wire/statsd.h"

struct datagrams {
    uv_poll_t poll;
    int fd; /* owned */
    struct ingest *ingest;
    /* One for all who send datagrams: what waits in their socket is read as that of one sender. */
    struct sender sender;
    struct turn turn;
    struct shed shed;
    unsigned at_once; /* datagrams of the next read */
    size_t max_bytes; /* of one datagram */
    char *memory;     /* owned; room for a batch of the longest, touched as far as they need */
    struct statsd
        statsd; /* stays, so that what sampled lines carry over is not lost between datagrams */
    bool told_unknown_key;
};

/* Takes `fd`, also when it fails. Returns 0, ERR_SYSTEM or ERR_NOMEM. */
int datagrams_start(struct datagrams *datagrams, struct ingest *ingest, int fd);

/* After a change of the ingest's options. */
void datagrams_obey(struct datagrams *datagrams);

/* Reads what has come, without waiting. */
void datagrams_drain(struct datagrams *datagrams);

/* Memory may go when the loop has run the close callbacks. */
void datagrams_close(struct datagrams *datagrams);

#endif
