/*
 * The export of metrics, as a machine that is turned: says when it wants a snapshot, makes requests of
 * it, has them sent. It never waits and takes no snapshots by itself, so that tests turn it with a
 * clock of their own; io/metric_exporter gives it a thread.
 *
 *     IDLE --otlp.metric_interval_ms is over--> a snapshot --rendered, given back--> REQUESTS WAIT
 *      ^                                                                              |   |
 *      '------------- all are delivered, refused, or otlp.metric_timeout_ms is over --'   |
 *                     the receiver is gone and the interval is over: they give way to ----'
 *                     those of a newer snapshot
 *
 * Requests in memory are of one snapshot at a time. A receiver that is slow is not interrupted: the
 * next snapshot waits until it has all. What is given up is told again by the next snapshot: cumulative
 * points tell all from the start anyway, deltas are of what was delivered last.
 *
 * With a spool nothing is given up while it can be written: what would give way, or be late, goes to
 * files, and the receiver gets them later, in their order. Points carry their own times, so that late
 * is right:
 *
 *     cumulative, gauges   each file fills a gap; one that is lost costs its moment only
 *     deltas               what a file tells counts as told from then on, so that no later request
 *                          tells it again; one that is lost (the spool is full, damaged, refused for
 *                          good) is missing, and counted
 *     a restart            files are of series that began in the process before, and are sent first;
 *                          what is new begins anew, with deltas from zero and later start times
 *
 * One thread at a time, but for the queue's account and its stop.
 */
#ifndef DWELL_EXPORT_METRIC_EXPORT_H
#define DWELL_EXPORT_METRIC_EXPORT_H

#include "io/export/export_worker.h"
#include "render/otlp_metrics.h"

enum {
    METRIC_EXPORT_PIECES_MAX = 1024, /* requests of a snapshot */
    METRIC_EXPORT_POINT_MIN = 32,    /* bytes: no point with its times and its hash is shorter */
};

struct metric_export_options {
    const struct otlp_metrics_options
        *render; /* borrowed during init; its max_request is clamped */
    const struct transport *transport;
    struct transport_channel *channel; /* borrowed; NULL: it is never turned */
    const char *address;               /* of the receiver, for the log; borrowed */
    struct clock clock;
    uint64_t (*random)(void *ctx);
    void *random_ctx;
    uint64_t interval_ns;    /* between two snapshots, the first one after it too */
    uint64_t timeout_ns;     /* of an export with all its calls */
    uint64_t call_ns;        /* of a call */
    uint64_t max_bytes;      /* of requests that wait or are being sent */
    uint64_t spool_after_ns; /* how long a request is tried before it goes to the spool */
};

struct metric_export {
    struct metric_export_options options;
    struct otlp_metrics *metrics; /* owned */
    struct export_queue queue;
    struct export_worker worker;
    uint64_t next_ns;   /* when the next snapshot is due */
    bool has_last;      /* the one of the end was taken */
    bool had_turn;      /* the worker, since the last one */
    bool is_too_large;  /* the receiver said so of a request */
    size_t max_request; /* bytes */
    uint64_t left_out;  /* points; the renderer's figure */
    struct log_limit complaints;
};

/* The longest request: what was asked for, or as much as leaves room for points behind the resource. */
size_t metric_export_max_request(const struct otlp_metrics_options *render);

/* Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int metric_export_init(struct metric_export *export, const struct metric_export_options *options);

/* From now on what cannot be sent goes to a spool (export_spooling_open). Exporting thread, before
 * the first turn. */
void metric_export_open_spool(struct metric_export *export, const struct spool_options *options);

/* Gives up what waits. */
void metric_export_fini(struct metric_export *export);

enum metric_turn {
    METRIC_TURN_WAIT,     /* until *ret_wake_ns, or until the queue wakes */
    METRIC_TURN_SNAPSHOT, /* then metric_export_take, or _miss without one */
    METRIC_TURN_END,      /* nothing is left to do for ever, after a stop */
};

/* Does what is due: at most one call. */
enum metric_turn metric_export_turn(struct metric_export *export, uint64_t *ret_wake_ns);

/* What a snapshot tells was told by an earlier life of the daemon: deltas begin there. Before the first
 * turn. Returns 0 or ERR_NOMEM. */
int metric_export_go_on(struct metric_export *export, const struct snapshot *snapshot,
                        const struct exposition_process *process);

/* Makes requests of a snapshot, which is not needed any more after; what waits of an older one goes to
 * the spool, or gives way. `process` as in otlp_metrics_render. */
void metric_export_take(struct metric_export *export, const struct snapshot *snapshot,
                        const struct exposition_process *process);

/* There is none this time, for `err`. */
void metric_export_miss(struct metric_export *export, int err);

#endif
