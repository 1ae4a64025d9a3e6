/* Calls dwell_bench_run as an application would, and prints what came of it as JSON.
 *
 *     bench_driver DIRECTORY    of the daemon's sockets
 */
#include "dwell_bench.h"

#include <pthread.h>
#include <stdio.h>

enum { SAMPLES = 50, WARMUP = 4, CONCURRENCY = 3 };

struct state {
    pthread_mutex_t lock;
    unsigned calls;
    unsigned workers; /* that were seen, as bits */
    double sum;
};

static int multiply(void *user, uint32_t worker, uint64_t number)
{
    struct state *state = user;
    double sum = (double)number;
    int i;
    for (i = 0; i < 200000; i++) {
        sum = sum * 1.0000001 + 1;
    }
    pthread_mutex_lock(&state->lock);
    state->calls++;
    state->workers |= 1u << worker;
    state->sum += sum;
    pthread_mutex_unlock(&state->lock);
    return 0;
}

int main(int argc, char **argv)
{
    struct state state = {PTHREAD_MUTEX_INITIALIZER, 0, 0, 0};
    struct dwell_options daemon = {.size = sizeof daemon};
    struct dwell_bench_options options = {.size = sizeof options};
    struct dwell_bench_result result = {.size = sizeof result};
    dwell_t *dwell;
    int err;
    daemon.directory = argc > 1 ? argv[1] : NULL;
    dwell = dwell_open(&daemon);
    options.request = multiply;
    options.user = &state;
    options.samples = SAMPLES;
    options.concurrency = CONCURRENCY;
    options.warmup = WARMUP;
    options.model = dwell_model(dwell, "driver");
    err = dwell_bench_run(&options, &result);
    if (dwell_close(dwell) != DWELL_OK || err != 0) {
        fprintf(stderr, "bench_driver: %d\n", err);
        return 1;
    }
    printf("{\"calls\": %u, \"workers\": %u, \"requests\": %u, \"cpu_percent\": %f, "
           "\"gpu_decision\": \"%s\"}\n",
           state.calls, (state.workers & 1) + (state.workers >> 1 & 1) + (state.workers >> 2 & 1),
           (unsigned)result.sequential.requests, result.sequential.cpu_percent,
           result.gpu_decision);
    return 0;
}
