/*
 * The exporting of a signal, as a machine that is turned: takes a batch from the queue, has it written
 * as OTLP, sends it, and does with it what export_retry decides. It never waits by itself, so that
 * tests turn it with a clock of their own; io/exporter gives it a thread. It does not know what the
 * items are: the queue's signal does (io/export_item.h). Parts are made by export_part, and become
 * files by export_spooling.
 *
 *     NO BATCH --a batch is due--> PARTS LEFT --the last part is settled--> NO BATCH
 *                                   |  ^  part = as many items as fit a request
 *                                   v  |  taken, dropped: the next part; transient: the same, later
 *                                  a call; too large for the receiver: half of it
 *
 * With a spool, a part that has been tried for spool_after goes there, and so does what comes behind
 * it, as long as the receiver is away. While the spool has files its oldest is what is sent:
 *
 *     files, the receiver is away    waiting -> newest file; the oldest file is tried now and then
 *     files, the receiver is back    oldest file -> receiver, without a pause; what waits stays in the
 *                                    queue, which spills into the spool when it is more than half full
 *     no files                       waiting -> receiver
 *
 * One thread at a time.
 */
#ifndef DWELL_EXPORT_EXPORT_WORKER_H
#define DWELL_EXPORT_EXPORT_WORKER_H

#include "base/log.h"
#include "io/export/export_file.h"
#include "io/export/export_queue.h"
#include "io/export/export_retry.h"

enum { EXPORT_REQUEST_MAX = 64 << 20 }; /* bytes: the ceiling of opentelemetry-proto */

struct export_worker_options {
    const struct transport *transport;
    struct transport_channel *channel; /* borrowed */
    const char *address;               /* of the receiver, for the log; borrowed */
    struct clock clock;
    uint64_t (*random)(void *ctx);
    void *random_ctx;
    uint64_t batch_items;
    uint64_t delay_ns;         /* how long a batch that is not full waits for more */
    uint64_t timeout_ns;       /* of a call */
    uint64_t retry_timeout_ns; /* of a batch with all its calls; 0: none; not with a spool */
    uint64_t spool_after_ns;   /* how long a part is tried before it goes to the spool */
    uint64_t max_request_bytes;
};

struct export_worker {
    struct export_worker_options options;
    struct export_queue *queue;
    struct buf written;        /* memory of the request */
    struct str request;        /* of the part at hand; empty: there is none yet */
    struct export_item *batch; /* what is left of it, the part first */
    uint64_t batch_count;      /* items */
    uint64_t part_count;       /* items */
    uint64_t part_weight;
    struct spool *spool; /* owned; NULL: none */
    struct export_file file;
    uint64_t spool_retry_ns; /* it failed, and is not asked to write before */
    uint64_t to_spool;       /* items that go to the spool before the next call */
    uint64_t call_ns; /* when a file was sent last, 0: never; and what had been accepted then */
    uint64_t call_accepted;
    uint64_t spool_losses; /* its figures of what was lost, as last told */
    uint64_t part_most;    /* items; fewer after a split, until the batch ends */
    uint64_t began_ns;     /* the batch's first call, 0: none yet */
    uint64_t retry_ns;     /* the part is not sent before */
    uint64_t until_ns;     /* see export_worker_set_until */
    unsigned attempt;
    bool is_hurried; /* the shutdown has ended a wait */
    /* What the log was told. */
    struct log_limit failures;
    struct log_limit spooling;
    struct log_limit remarks; /* partial successes and responses that cannot be read */
    uint64_t failed_calls;    /* since the last one that went well */
    uint64_t lost;            /* likewise: weight */
    uint64_t queue_full;      /* the queue's figure then */
};

void export_worker_init(struct export_worker *worker, struct export_queue *queue,
                        const struct export_worker_options *options);

/* Ends what it holds as dropped (shutdown); the queue's account must not be looked at after. Closes
 * the spool. */
void export_worker_fini(struct export_worker *worker);

/* At this time (monotonic) all that is at hand and waits is given up (timeout), and its calls end; with
 * a spool it goes there. Until it is set there is no such time. */
void export_worker_set_until(struct export_worker *worker, uint64_t until_ns);

/* Gives up all that is at hand and waits. Returns its weight. */
uint64_t export_worker_drop(struct export_worker *worker, enum export_drop reason);

/* With a spool: all that is at hand and waits goes there, until it fails. */
void export_worker_spool(struct export_worker *worker);

/* True when what is at hand was tried, and will be again, or when files come before what waits. */
bool export_worker_is_held_up(const struct export_worker *worker);

/* True when nothing is at hand and nothing waits. */
bool export_worker_is_idle(const struct export_worker *worker);

/* Does what is due: at most one call. Returns false when there is nothing left to do for ever, after
 * a stop; else true, with the time before which another turn does nothing unless the queue wakes. */
bool export_worker_turn(struct export_worker *worker, uint64_t *ret_wake_ns);

#endif
