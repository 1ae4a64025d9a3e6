/*
 * Happy path
 *   1. the HTTP thread submits a job; uv_async wakes the loop
 *   2. the loop takes all pending jobs, does the resets, freezes once, gives each job the share
 *   3. the eventfd wakes the HTTP thread, which collects, renders and returns
 *   4. the loop releases the snapshot and frees what only it held, SWEEP_PORTION blocks a turn
 *
 * What can fail: too many live snapshots, or memory: the jobs get the error.
 */
#include "io/handover.h"

#include <assert.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

enum { SWEEP_PORTION = 2048 }; /* blocks; some 60 µs */

static void wake_reader(struct handover *handover)
{
    uint64_t one = 1;
    ssize_t wrote = write(handover->wake_fd, &one, sizeof one);
    (void)wrote; /* a full counter is still readable */
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
    *ret_err = snapshot_take(handover->intake, &handover->thresholds, began,
                             clock->wall_ns(clock->ctx), &share->snapshot);
    if (*ret_err != 0) {
        counters->value[COUNTER_SNAPSHOTS_REFUSED]++;
        mem_free(share);
        return NULL;
    }
    share->readers = readers;
    timing_add(&counters->snapshot, clock->mono_ns(clock->ctx) - began);
    return share;
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
        if (job->kind == JOB_RESET) {
            reset(handover, job);
        } else {
            readers++;
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

static void on_async(uv_async_t *async)
{
    struct handover *handover = async->data;
    pthread_mutex_lock(&handover->mutex);
    struct job *jobs = handover->pending;
    struct share *returned = handover->returned;
    handover->pending = NULL;
    handover->returned = NULL;
    pthread_mutex_unlock(&handover->mutex);

    if (returned != NULL) {
        release_returned(handover, returned);
    }
    if (jobs == NULL) {
        return;
    }
    do_jobs(handover, jobs);
    struct job *last = jobs;
    while (last->next != NULL) {
        last = last->next;
    }
    pthread_mutex_lock(&handover->mutex);
    last->next = handover->done;
    handover->done = jobs;
    pthread_mutex_unlock(&handover->mutex);
    wake_reader(handover);
}

int handover_start(struct handover *handover, uv_loop_t *loop, struct intake *intake,
                   const struct thresholds *thresholds, const struct clock *clock)
{
    *handover = (struct handover){.intake = intake, .thresholds = *thresholds, .clock = *clock};
    handover->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (handover->wake_fd < 0) {
        return ERR_SYSTEM;
    }
    if (uv_async_init(loop, &handover->async, on_async) != 0) {
        (void)close(handover->wake_fd);
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
    assert(handover->pending == NULL && handover->done == NULL);
    release_returned(handover, handover->returned);
    handover->returned = NULL;
    (void)close(handover->wake_fd);
    pthread_mutex_destroy(&handover->mutex);
    uv_close((uv_handle_t *)&handover->async, NULL);
    uv_close((uv_handle_t *)&handover->sweeper, NULL);
}

void handover_submit(struct handover *handover, struct job *job)
{
    pthread_mutex_lock(&handover->mutex);
    job->next = handover->pending;
    handover->pending = job;
    pthread_mutex_unlock(&handover->mutex);
    (void)uv_async_send(&handover->async); /* fails only on a closed handle */
}

struct job *handover_collect(struct handover *handover)
{
    uint64_t count;
    ssize_t got = read(handover->wake_fd, &count, sizeof count);
    (void)got; /* nothing to read: somebody collected already */
    pthread_mutex_lock(&handover->mutex);
    struct job *jobs = handover->done;
    handover->done = NULL;
    pthread_mutex_unlock(&handover->mutex);
    return jobs;
}

struct job *handover_cancel(struct handover *handover)
{
    struct job *jobs = handover_collect(handover);
    pthread_mutex_lock(&handover->mutex);
    while (handover->pending != NULL) {
        struct job *job = handover->pending;
        handover->pending = job->next;
        job->next = jobs;
        jobs = job;
    }
    pthread_mutex_unlock(&handover->mutex);
    return jobs;
}

void handover_return(struct handover *handover, struct share *share)
{
    if (--share->readers > 0) {
        return;
    }
    pthread_mutex_lock(&handover->mutex);
    share->next = handover->returned;
    handover->returned = share;
    pthread_mutex_unlock(&handover->mutex);
    (void)uv_async_send(&handover->async);
}
