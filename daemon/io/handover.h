/*
 * Where the loop and the HTTP thread meet: the HTTP thread submits jobs (a snapshot, a reset), the
 * loop does them in one go and hands them back. Snapshots come back the same way when they were
 * read. A mutex guards three lists and nothing else; nobody waits while holding it.
 *
 *     HTTP thread                          loop thread
 *     handover_submit  -> [pending] ->     on_async: takes all, freezes once for all of them
 *     handover_collect <- [done]    <-     wakes the HTTP thread through its eventfd
 *     handover_return  -> [returned] ->    releases, sweeps in portions
 *
 * Functions say which thread may call them.
 */
#ifndef DWELL_IO_HANDOVER_H
#define DWELL_IO_HANDOVER_H

#include <pthread.h>
#include <uv.h>

#include "base/clock.h"
#include "core/snapshot.h"

enum job_kind {
    JOB_SNAPSHOT,
    JOB_RESET, /* of `name`, or of all */
};

/* A snapshot and how many jobs still read it; the HTTP thread counts. */
struct share {
    struct share *next;
    struct snapshot *snapshot;
    unsigned readers;
};

struct job {
    struct job *next;
    enum job_kind kind;
    bool has_name;
    struct str name; /* borrowed from the owner of the job until the job is done */
    int err;         /* outcome: 0 or ERR_… */
    int reset_count;
    struct share *share; /* JOB_SNAPSHOT without err: hand back with handover_return */
};

struct handover {
    pthread_mutex_t mutex;
    struct job *pending; /* newest first */
    struct job *done;
    struct share *returned;
    int wake_fd; /* eventfd, readable when `done` is not empty */

    struct intake *intake; /* from here on: loop thread only */
    struct thresholds thresholds;
    struct clock clock;
    uv_async_t async;
    uv_idle_t sweeper; /* active while limbo holds more than one portion to free */
};

/* Loop thread. Returns 0 or ERR_SYSTEM. */
int handover_start(struct handover *handover, uv_loop_t *loop, struct intake *intake,
                   const struct thresholds *thresholds, const struct clock *clock);

/* Loop thread, when the HTTP thread is gone: takes back what is left, closes the handles. Memory may
 * go when the loop has run its close callbacks. */
void handover_close(struct handover *handover);

/* HTTP thread. The job is the loop's until it is collected. */
void handover_submit(struct handover *handover, struct job *job);

/* HTTP thread. All jobs that are done, as a list. */
struct job *handover_collect(struct handover *handover);

/* When the HTTP thread is gone: all jobs that it left behind, done or not. */
struct job *handover_cancel(struct handover *handover);

/* HTTP thread. One reader of a job's snapshot is done with it. */
void handover_return(struct handover *handover, struct share *share);

#endif
