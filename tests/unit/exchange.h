/*
 * Snapshots on their way from the thread that takes them, the loop's part, to readers and back. It takes
 * and releases none itself but those that came back. For unit tests; any thread.
 *
 *      loop --- todo ---> reader --- done ---> loop
 */
#ifndef DWELL_TESTS_EXCHANGE_H
#define DWELL_TESTS_EXCHANGE_H

#include <pthread.h>

#include "core/snapshot.h"

struct exchange_shelf {
    struct snapshot *held[LIMBO_SNAPSHOTS_MAX]; /* there never are more */
    size_t count;
};

struct exchange {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct exchange_shelf todo;
    struct exchange_shelf done;
    bool over;
};

#define EXCHANGE_INIT                                                                              \
    {                                                                                              \
        .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                    \
    }

/* The loop's: hands a snapshot over, releases those that are done with, says that no more will come. */
void exchange_put(struct exchange *exchange, struct snapshot *snapshot);
void exchange_release_done(struct exchange *exchange, struct registry *registry);
void exchange_end(struct exchange *exchange);

/* A reader's: waits for the next snapshot, NULL when all is over; gives it back. */
struct snapshot *exchange_take(struct exchange *exchange);
void exchange_give_back(struct exchange *exchange, struct snapshot *snapshot);

#endif
