/*
 * Where the loop and its readers meet: threads that submit jobs (a snapshot, a reset), which the loop
 * does in one go and hands back, each to its own reader. Snapshots come back the same way when they
 * were read. A mutex guards the lists and the counts of readers, and nothing else; nobody waits while
 * holding it.
 *
 *     HTTP thread   ──submit──┐                          ┌─> [done] + eventfd ──collect──> HTTP thread
 *                             ├─> [pending] ─> on_async ─┤
 *     export thread ──submit──┘   one freeze for all     └─> [done] + eventfd ──collect──> export thread
 *                                 who wait
 *     either ────────return─────> [returned] ─> on_async: releases, sweeps in portions
 *                                 by the last reader of a snapshot
 *     loop   ────────post───────> [done] of one reader + eventfd ──collect──> its thread
 *
 * Functions say which thread may call them.
 */
#ifndef DWELL_IO_HANDOVER_H
#define DWELL_IO_HANDOVER_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "base/clock.h"
#include "core/snapshot.h"

enum job_kind {
    JOB_SNAPSHOT,
    JOB_RESET,    /* of `name`, or of all */
    JOB_PING,     /* nothing: that it comes back tells that the loop turns */
    JOB_SETTINGS, /* not asked for: the loop has something new for the reader's owner */
};

/* A snapshot and how many jobs still read it; under the mutex. */
struct share {
    struct share *next;
    struct snapshot *snapshot;
    unsigned readers;
};

/* One thread that submits and collects. */
struct handover_reader {
    struct handover_reader *next; /* loop thread only, as is_due */
    bool is_due;                  /* something was put into `done`, the thread is yet to be woken */
    struct handover *handover;
    struct job *done; /* under the mutex */
    int wake_fd;      /* eventfd, readable when `done` is not empty */
};

struct job {
    struct job *next;
    struct handover_reader *reader; /* set by handover_submit */
    enum job_kind kind;
    bool has_name;
    struct str name; /* borrowed from the owner of the job until the job is done */
    int err;         /* outcome: 0 or ERR_… */
    int reset_count;
    bool is_stopping;    /* JOB_PING: the daemon ends */
    struct share *share; /* JOB_SNAPSHOT without err: hand back with handover_return */
};

struct handover {
    pthread_mutex_t mutex;
    struct job *pending; /* newest first */
    struct share *returned;

    struct handover_reader *readers; /* from here on: loop thread only */
    struct intake *intake;
    struct thresholds thresholds;
    bool is_stopping; /* told to those who ping */
    struct clock clock;
    uv_async_t async;
    uv_idle_t sweeper; /* active while limbo holds more than one portion to free */
};

/* Loop thread. Returns 0 or ERR_SYSTEM. */
int handover_start(struct handover *handover, uv_loop_t *loop, struct intake *intake,
                   const struct thresholds *thresholds, const struct clock *clock);

/* Loop thread, when no reader is left: takes back what was returned, closes the handles. Memory may go
 * when the loop has run its close callbacks. */
void handover_close(struct handover *handover);

/* Loop thread. A snapshot without a job, for one reader, who hands it back with handover_return. Returns 0,
 * ERR_LIMIT or ERR_NOMEM. */
int handover_take(struct handover *handover, struct share **ret_share);

/* Loop thread, before the reader's thread uses it; the memory is the caller's. Returns 0; or
 * ERR_SYSTEM, and leaves it as it was. */
int handover_reader_start(struct handover *handover, struct handover_reader *reader);

/* Loop thread, when the reader's thread is gone and its jobs were collected or cancelled. */
void handover_reader_close(struct handover_reader *reader);

/* The reader's thread. The job is the loop's until it is collected. */
void handover_submit(struct handover_reader *reader, struct job *job);

/* The reader's thread. All its jobs that are done, as a list. */
struct job *handover_collect(struct handover_reader *reader);

/* Loop thread, when the reader's thread is gone: all jobs that it left behind, done or not. */
struct job *handover_cancel(struct handover_reader *reader);

/* Loop thread. The reader's thread will collect the job, which is its own from then on. */
void handover_post(struct handover_reader *reader, struct job *job);

/* Any reader's thread, or the loop's. One reader of a job's snapshot is done with it. */
void handover_return(struct handover *handover, struct share *share);

#endif
