/*
 * Happy path
 *   1. a reader's thread submits a job; uv_async wakes the loop
 *   2. the loop takes all pending jobs, does the resets, freezes once, gives each job the share
 *   3. the reader's eventfd wakes its thread, which collects, renders and returns
 *   4. the loop releases the snapshot and frees what only it held, SWEEP_PORTION blocks a turn
 *
 * What can fail: too many live snapshots, or memory: the jobs get the error.
 */
#include "io/handover.h"

#include <assert.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    SWEEP_PORTION = 2048,    /* blocks; some 60 µs */
    TOGETHER_NS = 100000000, /* a fifth of the least step of a clock */
};

/* Locking a plain mutex cannot fail. */
static void lock(struct handover *handover)
{
    (void)pthread_mutex_lock(&handover->mutex);
}

static void unlock(struct handover *handover)
{
    (void)pthread_mutex_unlock(&handover->mutex);
}

static void sweep(struct handover *handover)
{
    if (!limbo_sweep(&handover->intake->registry->limbo, SWEEP_PORTION)) {
        (void)uv_idle_stop(&handover->sweeper); /* cannot fail */
    }
}

static void on_idle(uv_idle_t *idle)
{
    sweep(idle->data);
}

static void release_returned(struct handover *handover, struct share *share)
{
    while (share != NULL) {
        struct share *next = share->next;
        snapshot_release(share->snapshot, handover->intake->registry);
        mem_free(share);
        share = next;
    }
    (void)uv_idle_start(&handover->sweeper, on_idle); /* cannot fail */
    sweep(handover);
}

static struct share *freeze(struct handover *handover, unsigned readers, int *ret_err)
{
    struct counters *counters = handover->intake->counters;
    const struct clock *clock = &handover->clock;
    struct share *share = mem_alloc(sizeof *share);
    if (share == NULL) {
        *ret_err = ERR_NOMEM;
        return NULL;
    }
    uint64_t began = clock->mono_ns(clock->ctx);
    uint64_t wall_ns = clock->wall_ns(clock->ctx);
    /* Whoever is stopped between the two readings has seen no step. */
    bool together = clock->mono_ns(clock->ctx) - began < TOGETHER_NS;
    if (together && clock_watch_look(&counters->clock, began, wall_ns)) {
        log_warning("the wall clock was set by %+.1f s, or the machine slept: windows go on by "
                    "another clock, timestamps do not",
                    counters->clock.step_seconds);
    }
    *ret_err =
        snapshot_take(handover->intake, &handover->thresholds, began, wall_ns, &share->snapshot);
    if (*ret_err != 0) {
        counters->value[COUNTER_SNAPSHOTS_REFUSED]++;
        mem_free(share);
        return NULL;
    }
    share->readers = readers;
    timing_add(&counters->snapshot, clock->mono_ns(clock->ctx) - began);
    return share;
}

int handover_take(struct handover *handover, struct share **ret_share)
{
    int err = 0;
    struct share *share = freeze(handover, 1, &err);
    if (err == 0) {
        *ret_share = share;
    }
    return err;
}

static void reset(struct handover *handover, struct job *job)
{
    int outcome = registry_reset(handover->intake->registry, job->has_name ? &job->name : NULL);
    job->err = outcome < 0 ? outcome : 0;
    job->reset_count = outcome < 0 ? 0 : outcome;
}

static void do_jobs(struct handover *handover, struct job *jobs)
{
    unsigned readers = 0;
    for (struct job *job = jobs; job != NULL; job = job->next) {
        switch (job->kind) {
        case JOB_RESET:
            reset(handover, job);
            break;
        case JOB_PING:
            job->is_stopping = handover->is_stopping;
            break;
        case JOB_SNAPSHOT:
            readers++;
            break;
        case JOB_SETTINGS:
            break; /* goes the other way */
        }
    }
    int err = 0;
    struct share *share = readers == 0 ? NULL : freeze(handover, readers, &err);
    for (struct job *job = jobs; job != NULL; job = job->next) {
        if (job->kind == JOB_SNAPSHOT) {
            job->err = err;
            job->share = share;
        }
    }
}

/* Gives each job to its reader, and wakes those who got one. */
static void deliver(struct handover *handover, struct job *jobs)
{
    struct job *next;
    lock(handover);
    for (struct job *job = jobs; job != NULL; job = next) {
        struct handover_reader *reader = job->reader;
        next = job->next;
        job->next = reader->done;
        reader->done = job;
        reader->is_due = true;
    }
    unlock(handover);
    for (struct handover_reader *reader = handover->readers; reader != NULL;
         reader = reader->next) {
        uint64_t one = 1;
        ssize_t wrote = reader->is_due ? write(reader->wake_fd, &one, sizeof one) : 0;
        (void)wrote; /* a full counter is still readable */
        reader->is_due = false;
    }
}

void handover_post(struct handover_reader *reader, struct job *job)
{
    job->reader = reader;
    job->next = NULL;
    deliver(reader->handover, job);
}

static void on_async(uv_async_t *async)
{
    struct handover *handover = async->data;
    lock(handover);
    struct job *jobs = handover->pending;
    struct share *returned = handover->returned;
    handover->pending = NULL;
    handover->returned = NULL;
    unlock(handover);

    if (returned != NULL) {
        release_returned(handover, returned);
    }
    if (jobs != NULL) {
        do_jobs(handover, jobs);
        deliver(handover, jobs);
    }
}

int handover_start(struct handover *handover, uv_loop_t *loop, struct intake *intake,
                   const struct thresholds *thresholds, const struct clock *clock)
{
    *handover = (struct handover){.intake = intake, .thresholds = *thresholds, .clock = *clock};
    if (uv_async_init(loop, &handover->async, on_async) != 0) {
        return ERR_SYSTEM;
    }
    handover->async.data = handover;
    (void)uv_idle_init(loop, &handover->sweeper); /* cannot fail */
    handover->sweeper.data = handover;
    pthread_mutex_init(&handover->mutex, NULL);
    return 0;
}

void handover_close(struct handover *handover)
{
    assert(handover->pending == NULL && handover->readers == NULL);
    release_returned(handover, handover->returned);
    handover->returned = NULL;
    pthread_mutex_destroy(&handover->mutex);
    uv_close((uv_handle_t *)&handover->async, NULL);
    uv_close((uv_handle_t *)&handover->sweeper, NULL);
}

/* --- readers ----------------------------------------------------------------------------------- */

int handover_reader_start(struct handover *handover, struct handover_reader *reader)
{
    int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd < 0) {
        return ERR_SYSTEM;
    }
    *reader = (struct handover_reader){
        .next = handover->readers, .handover = handover, .wake_fd = wake_fd};
    handover->readers = reader;
    return 0;
}

void handover_reader_close(struct handover_reader *reader)
{
    struct handover_reader **link = &reader->handover->readers;
    assert(reader->done == NULL);
    while (*link != reader) {
        link = &(*link)->next;
    }
    *link = reader->next;
    (void)close(reader->wake_fd);
}

void handover_submit(struct handover_reader *reader, struct job *job)
{
    struct handover *handover = reader->handover;
    job->reader = reader;
    lock(handover);
    job->next = handover->pending;
    handover->pending = job;
    unlock(handover);
    (void)uv_async_send(&handover->async); /* fails only on a closed handle */
}

struct job *handover_collect(struct handover_reader *reader)
{
    uint64_t count;
    ssize_t got = read(reader->wake_fd, &count, sizeof count);
    (void)got; /* nothing to read: somebody collected already */
    lock(reader->handover);
    struct job *jobs = reader->done;
    reader->done = NULL;
    unlock(reader->handover);
    return jobs;
}

struct job *handover_cancel(struct handover_reader *reader)
{
    struct job *jobs = handover_collect(reader);
    lock(reader->handover);
    struct job **link = &reader->handover->pending;
    while (*link != NULL) {
        struct job *job = *link;
        if (job->reader != reader) {
            link = &job->next;
            continue;
        }
        *link = job->next;
        job->next = jobs;
        jobs = job;
    }
    unlock(reader->handover);
    return jobs;
}

void handover_return(struct handover *handover, struct share *share)
{
    lock(handover);
    bool is_last = --share->readers == 0;
    if (is_last) {
        share->next = handover->returned;
        handover->returned = share;
    }
    unlock(handover);
    if (is_last) {
        (void)uv_async_send(&handover->async);
    }
}
