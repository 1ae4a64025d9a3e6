/*
 * The thread of one signal's export and the channel that it sends through: how both begin and end. It
 * does not know what the thread does. Loop thread only.
 */
#ifndef DWELL_EXPORT_EXPORT_THREAD_H
#define DWELL_EXPORT_EXPORT_THREAD_H

#include "io/export/export_queue.h"
#include "io/export/transport.h"

/* Zero with its first three members is one that was not started. */
struct export_thread {
    const struct transport *transport; /* NULL: there is none */
    struct export_queue *queue; /* borrowed: through it the thread is stopped, and says its end */
    struct clock clock;
    struct transport_channel *channel; /* NULL: there is nothing to send through */
    pthread_t thread;
    bool has_thread;
    bool is_cancelled;
    uint64_t stop_ns;
    uint64_t random; /* state of export_thread_draw; to be seeded */
};

/* Opens the channel, if there is a transport. A target that it does not take is told in the log, and
 * leaves no channel. `address` and `noun` are for the log. */
void export_thread_open(struct export_thread *thread, const struct transport_target *target,
                        const char *address, const char *noun);

/* With a channel: starts the thread, with all signals blocked. Returns 0 or ERR_SYSTEM. */
int export_thread_start(struct export_thread *thread, void *(*run)(void *ctx), void *ctx);

/* The thread shall finish until `deadline_ns` (monotonic); may be called again. */
void export_thread_stop(struct export_thread *thread, uint64_t deadline_ns);

/* After a stop: true when joining will not wait. Past the deadline it ends the call in progress. */
bool export_thread_is_done(struct export_thread *thread);

/* After a stop: waits until it is done. */
void export_thread_finish(struct export_thread *thread);

/* Ends the thread, at once if it was not done, then closes the channel: what holds items of the
 * thread's may be ended after. */
void export_thread_close(struct export_thread *thread);

/* The thread's own: 64 random bits; `ctx` is the struct. */
uint64_t export_thread_draw(void *ctx);

#endif
