/*
 * gRPC's threads inherit the signals that are blocked while it starts: all of them, as signals are
 * the loop's.
 */
#include "io/export/export_thread.h"

#include <signal.h>

#include "base/err.h"
#include "base/log.h"
#include "io/sandbox_denied.h"

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators): good enough to
 * spread retries, and needs no more than a seed. */
uint64_t export_thread_draw(void *ctx)
{
    struct export_thread *thread = ctx;
    uint64_t number = thread->random += UINT64_C(0x9E3779B97F4A7C15);
    number = (number ^ number >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    number = (number ^ number >> 27) * UINT64_C(0x94D049BB133111EB);
    return number ^ number >> 31;
}

static void block_signals(sigset_t *ret_before)
{
    sigset_t all;
    sandbox_denied_fill(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all,
                          ret_before); /* fails only for a wrong first argument */
}

void export_thread_open(struct export_thread *thread, const struct transport_target *target,
                        const char *address, const char *noun)
{
    sigset_t before;
    if (thread->transport == NULL) {
        return;
    }
    block_signals(&before);
    int err = thread->transport->open(target, &thread->channel);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        thread->channel = NULL;
        log_error("export to %s: cannot be opened: %s; %s are dropped", address,
                  err == ERR_RANGE         ? "otlp.headers hold what gRPC does not take"
                  : err == ERR_UNSUPPORTED ? "the module has no TLS"
                  : err == ERR_SYSTEM      ? "the certificates cannot be used"
                                           : err_sentence(err),
                  noun);
    }
}

int export_thread_start(struct export_thread *thread, void *(*run)(void *ctx), void *ctx)
{
    sigset_t before;
    thread->queue->view.loaded = thread->channel != NULL;
    if (thread->channel == NULL) {
        return 0;
    }
    block_signals(&before);
    thread->has_thread = pthread_create(&thread->thread, NULL, run, ctx) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return thread->has_thread ? 0 : ERR_SYSTEM;
}

void export_thread_stop(struct export_thread *thread, uint64_t deadline_ns)
{
    thread->stop_ns = deadline_ns;
    export_queue_stop(thread->queue, deadline_ns);
}

static void cancel(struct export_thread *thread)
{
    if (!thread->is_cancelled) {
        thread->is_cancelled = true;
        thread->transport->cancel(thread->channel);
    }
}

bool export_thread_is_done(struct export_thread *thread)
{
    if (!thread->has_thread || export_queue_is_done(thread->queue)) {
        return true;
    }
    if (thread->clock.mono_ns(thread->clock.ctx) >= thread->stop_ns) {
        cancel(thread);
    }
    return false;
}

void export_thread_finish(struct export_thread *thread)
{
    if (thread->has_thread) {
        (void)pthread_join(thread->thread, NULL); /* is joined once, by nobody else */
        thread->has_thread = false;
    }
}

void export_thread_close(struct export_thread *thread)
{
    if (thread->has_thread && !export_queue_is_done(thread->queue)) {
        export_thread_stop(thread, 0);
        cancel(thread);
    }
    export_thread_finish(thread);
    if (thread->channel != NULL) {
        thread->transport->close(thread->channel);
        thread->channel = NULL;
    }
}
