/*
 * What all ingest sockets share: the intake, the decoder's memory, the read buffer, the ceilings and
 * the complaints. io/listener, io/connection and io/datagrams are its parts; it reads nothing itself.
 * Loop thread only.
 */
#ifndef DWELL_IO_INGEST_H
#define DWELL_IO_INGEST_H

#include <sys/socket.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/intake.h"
#include "io/senders.h"
#include "io/turns.h"
#include "wire/batch.h"
#include "wire/statsd_line.h"

enum {
    INGEST_READ_BYTES = 65536, /* a larger buffer gains less than 5 % */
    /* While a snapshot is read a sample may have to copy its model first, and while others wait they
     * are not to wait long: a read stays short. */
    INGEST_READ_BYTES_SHARED = 16384,
    INGEST_REPLIES_MAX_BYTES = 65536, /* answers that wait for a peer to read; more are dropped */
    INGEST_SNIFF_MS = 1000,
    INGEST_DRAIN_MS = 1000, /* how long the last answers wait for a peer that does not read */
};

/* Who may send: when both lists are empty, everybody who can open the socket. Borrowed. */
struct ingest_access {
    const uint32_t *uids;
    size_t uid_count;
    const uint32_t *gids;
    size_t gid_count;
};

struct ingest_options {
    size_t max_frame_bytes;
    size_t max_line_bytes;
    unsigned max_connections;
    uint64_t idle_timeout_ms; /* 0: never */
    struct ingest_access access;
    struct senders_options senders;
    struct statsd_samples statsd_samples;
};

struct connection;
struct journal;

struct ingest {
    uv_loop_t *loop;
    struct clock clock;
    struct intake *intake; /* borrowed */
    struct ingest_options options;
    struct batch_decoder *decoder; /* owned; used within one callback at a time */
    char *read_buffer;             /* owned, INGEST_READ_BYTES; the same */
    struct journal *journal;       /* borrowed; NULL: nothing is acknowledged */
    struct connection *connections;
    unsigned connection_count;
    struct senders senders;
    struct turns turns;
    void (*freed)(void *ctx); /* a descriptor is free again; NULL: nobody waits for one */
    void *freed_ctx;
    struct log_limit rejections, refusals, violations, broken, over_budget, dropped;
};

/* Returns 0 or ERR_NOMEM. `intake` must outlive it. */
int ingest_init(struct ingest *ingest, uv_loop_t *loop, struct intake *intake,
                const struct ingest_options *options, const struct clock *clock);

/* When all connections and the socket of datagrams are closed. Memory may go when the loop has run the
 * close callbacks. */
void ingest_close(struct ingest *ingest);

/* All connections must be gone. */
void ingest_fini(struct ingest *ingest);

/* Tells models and metrics what time it is. Call it at the start of each callback that decodes. */
void ingest_set_time(struct ingest *ingest);

/* Logs, now and then, that a layer of a request took longer than its budget. */
void ingest_tell_over_budget(struct ingest *ingest, pid_t pid, const struct budget *budget,
                             double budget_ms);

/* Bytes to read at once, at most INGEST_READ_BYTES. */
size_t ingest_read_size(const struct ingest *ingest);

/* The most that one read can add to what was kept of the last one, and with it hand over. */
size_t ingest_most_at_once(const struct ingest_options *options);

bool ingest_may_send(const struct ingest *ingest, const struct ucred *who);

#endif
