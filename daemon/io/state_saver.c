/*
 * Happy path
 *   1. begin    on the loop: the journal's position, a snapshot, what lies beside it; a thread begins
 *   2. render   the thread: bytes; the snapshot goes back before anything is written, so that a slow disk
 *               holds memory of its own, and no snapshot that a scrape may need
 *   3. check    the thread: it reads what it is to write, as the next start will
 *   4. write    the thread: state_file_write, unless nothing has come since the last one and nobody waits
 *   5. on_async the loop: counts, tells who asked, begins again if somebody asked meanwhile
 *
 * What can fail, and where it ends
 *   snapshot, memory, thread   the save; whoever asked is told, the next one is tried at its time
 *   state.max_bytes            likewise
 *   the check                  likewise; the file that was there stays, and the journal goes on from it
 *   the disk                   likewise; the file that was there stays
 * Each is counted; the log tells when saving begins to fail, and when it works again.
 */
#include "io/state_saver.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/state_head.h"
#include "io/state_machine.h"
#include "render/state.h"
#include "wire/state.h"

enum {
    PROBLEM_MAX_BYTES = 8192,
    GRACE_MS = 250, /* at the end, for a disk that works: a few MB take some tens of ms */
};

/* The thread's, until it says that it is done. */
struct save {
    struct state_file *file;
    struct handover *handover;
    uv_async_t *async;
    struct share *share; /* until it is rendered, as the next */
    struct beside *beside;
    struct state_source source;
    char journal[SAVED_JOURNAL_MAX];
    struct buf body;
    struct buf problem;
    bool must_write;
    bool has_old; /* of which the hash is: */
    uint64_t lasting_hash;
    bool has_written;
    int err;
    pthread_t thread;
    sem_t steps; /* rendered, done */
    atomic_bool is_done;
};

/* --- the thread -------------------------------------------------------------------------------- */

/* What the next start would set aside as damaged must not take the place of what it can read. */
static int check(struct str body, struct buf *problem)
{
    static const struct saved_sink nobody;
    int err = state_read(body, &nobody);
    if (err != 0 && err != ERR_NOMEM) {
        buf_puts(problem,
                 "what is counted could not be read again, which is a bug: please report it. "
                 "The file that was there stays");
    }
    return err;
}

static void render(struct save *save)
{
    size_t lasting = 0;
    save->err = state_render(&save->source, &save->body, &lasting);
    if (save->err == 0) {
        uint64_t hash =
            state_hash((struct str){save->body.data + lasting, save->body.len - lasting});
        save->must_write = save->must_write || !save->has_old || hash != save->lasting_hash;
        save->lasting_hash = hash;
    } else if (save->err == ERR_LIMIT) {
        buf_puts(&save->problem, "the state is larger than state.max_bytes");
    }
    handover_return(save->handover, save->share);
    beside_free(save->beside);
    save->share = NULL;
    save->beside = NULL;
    if (save->err == 0 && save->must_write) {
        save->err = check((struct str){save->body.data, save->body.len}, &save->problem);
    }
    (void)sem_post(&save->steps); /* fails only past a count that is not reached */
}

static void *run(void *ctx)
{
    struct save *save = ctx;
    char head[STATE_HEAD_BYTES];
    render(save);
    if (save->err == 0 && save->must_write) {
        struct str body = {save->body.data, save->body.len};
        state_head_write(body, head);
        save->err =
            state_file_write(save->file, (struct str){head, sizeof head}, body, &save->problem);
        save->has_written = save->err == 0;
    }
    uv_async_t *async = save->async;
    (void)sem_post(&save->steps);
    atomic_store(&save->is_done, true);
    (void)uv_async_send(async); /* fails only on a closed handle */
    return NULL;
}

/* Signals are the loop's. */
static int start_thread(struct save *save)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* fails only for a wrong first argument */
    int reason = pthread_create(&save->thread, NULL, run, save);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return reason == 0 ? 0 : ERR_SYSTEM;
}

/* --- the loop ---------------------------------------------------------------------------------- */

static void free_save(struct save *save)
{
    buf_fini(&save->body);
    buf_fini(&save->problem);
    (void)sem_destroy(&save->steps); /* nobody waits for it */
    mem_free(save);
}

static struct save *new_save(const struct state_saver *saver)
{
    const struct state_saver_options *options = &saver->options;
    struct save *save = mem_zalloc(1, sizeof *save);
    if (save != NULL) {
        save->file = options->file;
        save->handover = options->handover;
        save->has_old = saver->has_saved;
        save->lasting_hash = saver->lasting_hash;
        save->must_write = saver->saving != NULL;
        buf_init(&save->body, options->max_bytes);
        buf_init(&save->problem, PROBLEM_MAX_BYTES);
        (void)sem_init(&save->steps, 0, 0); /* fails only for a count that is too large */
    }
    return save;
}

/* What all of the save is of. Returns 0, ERR_LIMIT or ERR_NOMEM. */
static int freeze(const struct state_saver *saver, struct save *save)
{
    const struct state_saver_options *options = &saver->options;
    struct intake *intake = options->handover->intake;
    size_t journal_len =
        saver->journal == NULL ? 0 : saver->journal(saver->journal_ctx, save->journal);
    int err = handover_take(options->handover, &save->share);
    if (err != 0) {
        return err;
    }
    err = beside_take(intake, &save->beside);
    if (err != 0) {
        handover_return(options->handover, save->share);
        return err;
    }
    save->source = (struct state_source){.snapshot = save->share->snapshot,
                                         .beside = save->beside,
                                         .moment = options->machine,
                                         .scrapes = atomic_load(&options->self->scrapes),
                                         .http_errors = atomic_load(&options->self->http_errors),
                                         .journal = {save->journal, journal_len}};
    state_machine_now(&save->source.moment);
    return 0;
}

static void tell(struct checkpoint *checkpoint, int err)
{
    while (checkpoint != NULL) {
        struct checkpoint *next = checkpoint->next;
        checkpoint->done(checkpoint->ctx, err); /* it may be gone after */
        checkpoint = next;
    }
}

static void count(struct state_saver *saver, const struct save *save, int err)
{
    struct counters *counters = saver->options.handover->intake->counters;
    if (err != 0) {
        counters->value[COUNTER_STATE_FAILURES]++;
    } else if (save->has_written) {
        counters->value[COUNTER_STATE_SAVES]++;
        counters->value[COUNTER_STATE_BYTES] = save->body.len + STATE_HEAD_BYTES;
    }
}

/* The end of a save, or of an attempt at one. */
static void settle(struct state_saver *saver, struct save *save, int err)
{
    struct checkpoint *saving = saver->saving;
    struct str problem = {NULL, 0};
    if (save != NULL) {
        problem = (struct str){save->problem.data, save->problem.len};
    }
    if (err != 0 && !saver->is_failing) {
        log_error("state.file: cannot save: %.*s%s", (int)problem.len,
                  problem.len > 0 ? problem.ptr : "", problem.len > 0 ? "" : err_sentence(err));
    } else if (err == 0 && saver->is_failing) {
        log_info("state.file: saves again to %s", saver->options.file->path);
    }
    count(saver, save, err);
    saver->is_failing = err != 0;
    if (err == 0 && save->has_written) {
        saver->has_saved = true;
        saver->lasting_hash = save->lasting_hash;
        if (saver->covered != NULL) {
            saver->covered(saver->journal_ctx, save->source.journal);
        }
    } else if (err == 0) {
        log_debug("state.file: nothing has come since it was saved");
    }
    saver->saving = NULL;
    tell(saving, err);
}

static void begin(struct state_saver *saver)
{
    saver->saving = saver->waiting;
    saver->waiting = NULL;
    struct save *save = new_save(saver);
    int err = save == NULL ? ERR_NOMEM : freeze(saver, save);
    if (err == 0) {
        save->async = &saver->async;
        err = start_thread(save);
        if (err == 0) {
            saver->save = save;
            return;
        }
        handover_return(saver->options.handover, save->share);
        beside_free(save->beside);
    }
    settle(saver, save, err);
    if (save != NULL) {
        free_save(save);
    }
}

/* The thread has nothing left to do but to end. */
static void finish(struct state_saver *saver)
{
    struct save *save = saver->save;
    (void)pthread_join(save->thread, NULL); /* is joined once, by nobody else */
    saver->save = NULL;
    settle(saver, save, save->err);
    free_save(save);
}

static void on_async(uv_async_t *async)
{
    struct state_saver *saver = async->data;
    if (saver->is_left || saver->save == NULL || !atomic_load(&saver->save->is_done)) {
        return;
    }
    finish(saver);
    if (saver->waiting != NULL && saver->save == NULL) {
        begin(saver);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct state_saver *saver = timer->data;
    if (saver->save == NULL) { /* else a disk is slow: not more often than it can */
        begin(saver);
    }
}

int state_saver_start(struct state_saver *saver, uv_loop_t *loop,
                      const struct state_saver_options *options)
{
    *saver = (struct state_saver){.options = *options};
    if (uv_async_init(loop, &saver->async, on_async) != 0) {
        return ERR_SYSTEM;
    }
    saver->async.data = saver;
    (void)uv_timer_init(loop, &saver->timer); /* cannot fail */
    saver->timer.data = saver;
    (void)uv_timer_start(&saver->timer, on_timer, options->interval_ms, options->interval_ms);
    saver->is_started = true;
    return 0;
}

void state_saver_set_journal(struct state_saver *saver, state_journal_fn *journal,
                             state_covered_fn *covered, void *ctx)
{
    saver->journal = journal;
    saver->covered = covered;
    saver->journal_ctx = ctx;
}

void state_saver_checkpoint(struct state_saver *saver, struct checkpoint *checkpoint)
{
    checkpoint->next = saver->waiting;
    saver->waiting = checkpoint;
    if (saver->save == NULL) {
        begin(saver);
    }
}

/* --- the end ----------------------------------------------------------------------------------- */

static void on_last(void *ctx, int err)
{
    struct state_saver *saver = ctx;
    (void)err; /* counted, and told in the log */
    saver->is_last_done = true;
}

void state_saver_stop(struct state_saver *saver)
{
    if (saver->is_started && !saver->is_stopping) {
        saver->is_stopping = true;
        (void)uv_timer_stop(&saver->timer); /* cannot fail */
        saver->last = (struct checkpoint){.done = on_last, .ctx = saver};
        state_saver_checkpoint(saver, &saver->last);
    }
}

bool state_saver_is_done(const struct state_saver *saver)
{
    return !saver->is_started || saver->is_last_done;
}

static struct timespec grace_end(void)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end); /* as sem_timedwait has it; always exists */
    end.tv_nsec += GRACE_MS * (long)NS_PER_MS;
    end.tv_sec += end.tv_nsec / (long)NS_PER_SECOND;
    end.tv_nsec %= (long)NS_PER_SECOND;
    return end;
}

/* Waits for a step of the thread; false when the time is over. */
static bool await_step(struct save *save, const struct timespec *end)
{
    int outcome;
    do {
        outcome = end == NULL ? sem_wait(&save->steps) : sem_timedwait(&save->steps, end);
    } while (outcome != 0 && errno == EINTR);
    return outcome == 0;
}

/* Rendering ends by itself, however large the state; writing does where a disk works. */
static bool ends_soon(struct save *save)
{
    if (!await_step(save, NULL)) {
        return false;
    }
    struct timespec end = grace_end();
    return await_step(save, &end);
}

/* The thread hangs in the disk. What it has is left to it; the loop does not wait for its handle. */
static void leave_behind(struct state_saver *saver)
{
    struct save *save = saver->save;
    log_error("state.file: %s is not written: the disk did not answer in time",
              saver->options.file->path);
    (void)pthread_detach(save->thread);
    saver->is_left = true;
    uv_unref((uv_handle_t *)&saver->async);
}

void state_saver_close(struct state_saver *saver)
{
    if (!saver->is_started) {
        return;
    }
    uv_close((uv_handle_t *)&saver->timer, NULL);
    if (saver->save != NULL && !ends_soon(saver->save)) {
        leave_behind(saver);
        return;
    }
    if (saver->save != NULL) {
        finish(saver);
    }
    uv_close((uv_handle_t *)&saver->async, NULL);
}
