/*
 * Happy path
 *   1. journal_open, journal_read   what an earlier process left is handed over
 *   2. journal_start                the writer's thread waits
 *   3. stage, gather, append        an entry is in the front buffer, the writer is woken
 *   4. the writer                   takes the buffer, writes it, says so; uv_async
 *   5. on_async                     every client is told: it acknowledges what it has waiting
 *   6. journal_forget_before        the writer removes what a checkpoint covers
 *
 * What can fail, and where it ends
 *   the disk is full or broken     the writer keeps its buffer, and tries again every RETRY_S. The front
 *                                  buffer fills, and who asks is not read until there is room
 *   journal.max_bytes is reached   likewise, until a checkpoint makes room, which is asked for
 *   the disk hangs                 likewise; at the end the writer is left behind, with all that it uses
 *   memory                         all of it is had at the start
 */
#include "io/journal.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"

enum {
    RETRY_S = 1,
    GRACE_MS = 250,    /* at the end, as a save has it */
    QUEUE_ENTRIES = 3, /* of the longest kind, so that one is gathered while others are written */
    QUEUE_MORE_BYTES = 1 << 20,
    LEAST_QUEUES = 2, /* that journal.max_bytes has to hold */
    STACK_BYTES = 256 * 1024,
};

/* Locking a plain mutex cannot fail. */
static void lock(struct journal *journal)
{
    (void)pthread_mutex_lock(&journal->mutex);
}

static void unlock(struct journal *journal)
{
    (void)pthread_mutex_unlock(&journal->mutex);
}

/* --- the writer's thread ----------------------------------------------------------------------- */

/* Waits until there is something to do, with the mutex. False: it is to end, and all is written. */
static bool wait_for_work(struct journal *journal, uint64_t forgotten)
{
    while (!journal->stopping && journal->back.len == 0 && journal->front.len == 0 &&
           journal->forget <= forgotten) {
        (void)pthread_cond_wait(&journal->changed, &journal->mutex);
    }
    return !journal->stopping || journal->back.len > 0 || journal->front.len > 0 ||
           journal->forget > forgotten;
}

static void exchange(struct journal *journal)
{
    if (journal->back.len == 0) {
        struct buf filled = journal->front;
        journal->front = journal->back;
        journal->back = filled;
    }
}

static struct timespec after(uint64_t ns)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until); /* this clock is always there */
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / NS_PER_SECOND);
    until.tv_nsec = (long)(ns % NS_PER_SECOND);
    return until;
}

/* A disk that failed is given time, unless something is to be removed from it. */
static void wait_to_retry(struct journal *journal, uint64_t forgotten)
{
    struct timespec until = after(RETRY_S * NS_PER_SECOND);
    int over = 0;
    while (over == 0 && !journal->stopping && journal->forget <= forgotten) {
        over = pthread_cond_timedwait(&journal->changed, &journal->mutex, &until);
    }
}

/* With the mutex. */
static void report(struct journal *journal, int err)
{
    journal->begin = journal_disk_begin(&journal->disk);
    journal->written = journal_disk_end(&journal->disk);
    journal->works = err == 0;
    journal->failures += err != 0;
    (void)uv_async_send(&journal->async); /* fails only for what is no such handle */
}

static void *run(void *ctx)
{
    struct journal *journal = ctx;
    uint64_t forgotten = 0;
    lock(journal);
    while (wait_for_work(journal, forgotten)) {
        exchange(journal);
        uint64_t forget = journal->forget;
        unlock(journal);
        if (forget > forgotten) {
            journal_disk_forget(&journal->disk, forget);
            forgotten = forget;
        }
        int err = 0;
        if (journal->back.len > 0) {
            struct str entries = {journal->back.data, journal->back.len};
            err = journal_disk_write(&journal->disk, entries);
        }
        lock(journal);
        report(journal, err);
        if (err == 0) {
            buf_clear(&journal->back);
        } else if (journal->stopping) {
            break; /* it was tried */
        } else {
            wait_to_retry(journal, forgotten);
        }
    }
    journal->ended = true;
    (void)pthread_cond_signal(&journal->changed); /* for the loop, which waits alone now */
    unlock(journal);
    return NULL;
}

static int start_thread(struct journal *journal)
{
    sigset_t all;
    sigset_t before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return ERR_SYSTEM;
    }
    /* A size that is refused leaves the usual one. */
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)sigfillset(&all); /* signals are the loop's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    journal->has_thread = pthread_create(&journal->thread, &attributes, run, journal) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes); /* was initialised */
    return journal->has_thread ? 0 : ERR_SYSTEM;
}

/* --- what the loop is told --------------------------------------------------------------------- */

static void count(struct journal *journal, bool works, uint64_t failures)
{
    uint64_t *value = journal->counters->value;
    value[COUNTER_JOURNAL_BYTES] = journal->seen_written - journal->seen_begin;
    value[COUNTER_JOURNAL_FAILURES] = failures;
    value[COUNTER_JOURNAL_STOPPED] = !works || journal->told_full;
}

static void tell_room(struct journal *journal)
{
    size_t entry = journal->options.max_entry_bytes + JOURNAL_ENTRY_OVERHEAD;
    if (journal->told_full && journal->position - journal->seen_begin + QUEUE_ENTRIES * entry <=
                                  journal->options.max_bytes) {
        journal->told_full = false;
        log_info("journal %s: there is room again, acknowledgements go on", journal->options.path);
    }
}

/* Not where it was found out: what is being decoded is not in the journal yet. */
static void ask_for_checkpoint(struct journal *journal)
{
    if (journal->wants_checkpoint && journal->full != NULL) {
        journal->wants_checkpoint = false;
        journal->full(journal->full_ctx);
    }
}

static void on_async(uv_async_t *async)
{
    struct journal *journal = async->data;
    lock(journal);
    journal->seen_written = journal->written;
    journal->seen_begin = journal->begin;
    bool works = journal->works;
    uint64_t failures = journal->failures;
    unlock(journal);
    tell_room(journal);
    count(journal, works, failures);
    ask_for_checkpoint(journal);
    struct journal_client *next;
    for (struct journal_client *client = journal->clients; client != NULL; client = next) {
        next = client->next; /* it may leave, and no other does */
        client->progress(client->ctx);
    }
}

/* --- open and close ---------------------------------------------------------------------------- */

static int init_waiting(struct journal *journal)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&journal->mutex, NULL) != 0) {
        return ERR_SYSTEM;
    }
    (void)pthread_condattr_init(&attributes); /* these three cannot fail with glibc and musl */
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&journal->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return 0;
}

/* Buffers of their full size, which take memory as they are first filled. */
static int init_buffers(struct journal *journal)
{
    buf_init(&journal->front, journal->queue_bytes);
    buf_init(&journal->back, journal->queue_bytes);
    buf_init(&journal->bytes, journal->options.max_entry_bytes);
    bool good = buf_reserve(&journal->front, journal->queue_bytes) != NULL &&
                buf_reserve(&journal->back, journal->queue_bytes) != NULL &&
                buf_reserve(&journal->bytes, journal->options.max_entry_bytes) != NULL;
    return good ? 0 : ERR_NOMEM;
}

static void free_buffers(struct journal *journal)
{
    buf_fini(&journal->front);
    buf_fini(&journal->back);
    buf_fini(&journal->bytes);
}

int journal_open(struct journal *journal, const struct journal_options *options,
                 struct buf *problem)
{
    *journal = (struct journal){.options = *options, .works = true};
    journal->queue_bytes =
        QUEUE_ENTRIES * (options->max_entry_bytes + JOURNAL_ENTRY_OVERHEAD) + QUEUE_MORE_BYTES;
    if (options->max_bytes < LEAST_QUEUES * journal->queue_bytes) {
        buf_printf(problem,
                   "journal.max_bytes: expects at least %zu with this ingest.max_frame_bytes, got "
                   "%" PRIu64,
                   LEAST_QUEUES * journal->queue_bytes, options->max_bytes);
        return ERR_RANGE;
    }
    int err = init_buffers(journal);
    if (err == 0) {
        err = init_waiting(journal);
    }
    if (err == 0) {
        err = journal_disk_open(&journal->disk, options->path, options->max_bytes, options->calls,
                                problem);
    }
    if (err != 0) {
        free_buffers(journal);
    }
    return err; /* a mutex and a condition that nobody used hold nothing */
}

int journal_read(struct journal *journal, uint64_t from,
                 void (*take)(void *ctx, const struct journal_entry *entry), void *ctx)
{
    int err = journal_disk_read(&journal->disk, from, take, ctx);
    journal->position = journal_disk_end(&journal->disk);
    journal->written = journal->position;
    journal->begin = journal_disk_begin(&journal->disk);
    journal->seen_written = journal->written;
    journal->seen_begin = journal->begin;
    return err;
}

int journal_start(struct journal *journal, uv_loop_t *loop, struct counters *counters)
{
    journal->counters = counters;
    if (uv_async_init(loop, &journal->async, on_async) != 0) {
        return ERR_SYSTEM;
    }
    journal->async.data = journal;
    journal->is_open = true;
    count(journal, true, 0);
    return start_thread(journal);
}

/* False: the writer hangs. */
static bool stop_writer(struct journal *journal)
{
    struct timespec until = after(GRACE_MS * NS_PER_MS);
    int over = 0;
    lock(journal);
    journal->stopping = true;
    (void)pthread_cond_signal(&journal->changed);
    while (!journal->ended && over == 0) {
        over = pthread_cond_timedwait(&journal->changed, &journal->mutex, &until);
    }
    bool ended = journal->ended;
    unlock(journal);
    return ended;
}

void journal_close(struct journal *journal)
{
    if (journal->has_thread) {
        if (!stop_writer(journal)) {
            log_error(
                "journal %s: the disk did not answer in time; what is not acknowledged may be "
                "missing in it",
                journal->options.path);
            uv_unref((uv_handle_t *)&journal->async);
            return;
        }
        (void)pthread_join(journal->thread, NULL); /* is joined once, by nobody else */
        journal->has_thread = false;
    }
    if (journal->is_open) {
        journal->is_open = false;
        uv_close((uv_handle_t *)&journal->async, NULL);
    }
    journal_disk_close(&journal->disk);
    free_buffers(journal);
    (void)pthread_cond_destroy(&journal->changed); /* nobody waits */
    (void)pthread_mutex_destroy(&journal->mutex);
}

/* --- checkpoints ------------------------------------------------------------------------------- */

uint64_t journal_position(const struct journal *journal)
{
    return journal->position;
}

void journal_forget_before(struct journal *journal, uint64_t position)
{
    lock(journal);
    journal->forget = position > journal->forget ? position : journal->forget;
    (void)pthread_cond_signal(&journal->changed);
    unlock(journal);
}

void journal_on_full(struct journal *journal, void (*full)(void *ctx), void *ctx)
{
    journal->full = full;
    journal->full_ctx = ctx;
}

/* --- clients ----------------------------------------------------------------------------------- */

void journal_enter(struct journal *journal, struct journal_client *client)
{
    client->next = journal->clients;
    client->link = &journal->clients;
    if (client->next != NULL) {
        client->next->link = &client->next;
    }
    journal->clients = client;
}

void journal_leave(struct journal_client *client)
{
    if (client->link == NULL) {
        return;
    }
    *client->link = client->next;
    if (client->next != NULL) {
        client->next->link = client->link;
    }
    client->link = NULL;
}

/* Both limits count what is on its way as not written. */
bool journal_has_room(struct journal *journal, size_t bytes)
{
    uint64_t need = (uint64_t)bytes + JOURNAL_ENTRY_OVERHEAD;
    if (journal->position - journal->seen_begin + need > journal->options.max_bytes) {
        if (!journal->told_full || journal->seen_begin != journal->asked_begin) {
            journal->asked_begin = journal->seen_begin; /* the last one has not made room enough */
            journal->wants_checkpoint = true;
            (void)uv_async_send(&journal->async); /* fails only for what is no such handle */
        }
        if (!journal->told_full) {
            journal->told_full = true;
            journal->counters->value[COUNTER_JOURNAL_STOPPED] = 1;
            log_error("journal %s: is full with %" PRIu64 " bytes; acknowledgements wait for a "
                      "checkpoint of the state (state.file), and who asks for them is not read",
                      journal->options.path, journal->position - journal->seen_begin);
        }
        return false;
    }
    return journal->position - journal->seen_written + need <= journal->queue_bytes;
}

void journal_stage(struct journal *journal, enum journal_kind kind, const struct peer_identity *who,
                   uint64_t wall_ns)
{
    struct peer_identity *copy = &journal->staged.who;
    journal->staged = (struct journal_entry){.kind = kind, .who = *who, .wall_ns = wall_ns};
    memcpy(journal->library, who->library.ptr, who->library.len);
    copy->library.ptr = journal->library;
    if (who->service.len > 0) {
        memcpy(journal->service, who->service.ptr, who->service.len);
    }
    copy->service.ptr = journal->service;
    buf_clear(&journal->bytes);
}

void journal_gather(struct journal *journal, struct str bytes)
{
    buf_str(&journal->bytes, bytes);
}

uint64_t journal_append(struct journal *journal)
{
    assert(journal->bytes.err == 0); /* its ceiling is that of what comes at once */
    if (journal->bytes.len == 0) {
        return journal->position;
    }
    journal->staged.bytes = (struct str){journal->bytes.data, journal->bytes.len};
    lock(journal);
    size_t before = journal->front.len;
    journal_entry_write(&journal->staged, &journal->front);
    assert(journal->front.err == 0); /* there was room, or it would not have been read */
    journal->position += journal->front.len - before;
    (void)pthread_cond_signal(&journal->changed);
    unlock(journal);
    buf_clear(&journal->bytes);
    return journal->position;
}

uint64_t journal_written(const struct journal *journal)
{
    return journal->seen_written;
}
