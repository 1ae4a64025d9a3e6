/*
 * A connection that is given up goes by steps that gRPC's own threads take, and for so long gRPC does
 * not end: grpc_shutdown_blocking() waits for the end only where it is the last to let go. A process
 * that does not wait ends with these threads at work, beside the destructors of what they use.
 */
#include "io/export/otlp_module/library.h"

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"

enum {
    END_STEP_MS = 1,
    END_MOST_MS = 1000, /* it takes some; with a machine that is busy, some ten */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards what is below */
static unsigned users;
static bool is_ours; /* nobody else in the process had begun it */

static void await_end(void)
{
    const struct timespec step = {.tv_nsec = END_STEP_MS * (long)NS_PER_MS};
    for (unsigned ms = 0; ms < END_MOST_MS && grpc_is_initialized() != 0; ms += END_STEP_MS) {
        (void)nanosleep(&step, NULL); /* cut short it is looked sooner */
    }
}

void library_begin(void)
{
    (void)pthread_mutex_lock(&mutex); /* cannot fail: it is a plain one */
    if (users++ == 0) {
        is_ours = grpc_is_initialized() == 0;
    }
    grpc_init();
    (void)pthread_mutex_unlock(&mutex);
}

void library_end(void)
{
    grpc_shutdown_blocking();
    (void)pthread_mutex_lock(&mutex);
    bool is_last = --users == 0 && is_ours;
    (void)pthread_mutex_unlock(&mutex);
    if (is_last) {
        await_end();
    }
}
