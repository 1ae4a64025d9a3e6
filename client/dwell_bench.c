/*
 * The load runner of libdwell. dwell_bench.h has what it promises.
 *
 * Happy path
 *  1. Options are checked; one array of latencies is allocated, as long as the samples.
 *  2. For each stage as many threads as it has workers are started. They wait at a gate until all are
 *     there, so that none has a head start.
 *  3. A worker takes the next number, reads the clocks, calls, reads the clocks, stores the latency at
 *     its number, and tells `done`.
 *  4. When all have ended, what went well is moved to the front, sorted, and summed up.
 *  5. After the last stage the means are compared with the limits.
 *
 * What can fail, and where it ends
 *  - A thread cannot be started: those that wait at the gate are sent home, -EAGAIN.
 *  - A request fails: its place holds NaN, and it is counted.
 *  - `done` ends the run: nobody takes another number, and no other stage begins.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "dwell_bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1e6

enum gate { GATE_SHUT, GATE_OPEN, GATE_CALLED_OFF };

/* One stage while it runs. */
struct stage {
    const struct dwell_bench_options *options;
    enum dwell_bench_stage kind;
    uint32_t workers;
    uint64_t each;         /* requests of each worker; 0: they share `samples` */
    double *latencies;     /* by number, NaN where the request failed; NULL: not kept */
    _Atomic uint64_t next; /* number to be taken */
    _Atomic bool ended;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t moved;
    enum gate gate;
    uint64_t begin_ns, end_ns; /* of the first and the last request */
    uint64_t errors;
    uint64_t with_cpu; /* requests that have a CPU figure, and sums over them */
    double cpu_ms, cpu_percent;
};

struct worker {
    struct stage *stage;
    uint32_t number;
    pthread_t thread;
    uint64_t with_cpu, errors;
    double cpu_ms, cpu_percent;
};

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        return 0; /* neither of the two clocks used here can fail */
    }
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- A worker ---- */

/* Waits until all are there; false: go home. */
static bool gate_pass(struct stage *stage)
{
    pthread_mutex_lock(&stage->lock);
    while (stage->gate == GATE_SHUT) {
        pthread_cond_wait(&stage->moved, &stage->lock);
    }
    bool open = stage->gate == GATE_OPEN;
    pthread_mutex_unlock(&stage->lock);
    return open;
}

static void gate_move(struct stage *stage, enum gate gate)
{
    pthread_mutex_lock(&stage->lock);
    stage->gate = gate;
    pthread_cond_broadcast(&stage->moved);
    pthread_mutex_unlock(&stage->lock);
}

/* The number of the next request of a worker that has had `had`, or false when there is none. */
static bool number_take(struct stage *stage, uint64_t had, uint64_t *ret_number)
{
    if (atomic_load(&stage->ended)) {
        return false;
    }
    if (stage->each > 0) {
        *ret_number = atomic_fetch_add(&stage->next, 1);
        return had < stage->each;
    }
    *ret_number = atomic_fetch_add(&stage->next, 1);
    return *ret_number < stage->options->samples;
}

/* Makes one request; what it took is in the call. Returns when it was over. */
static uint64_t call_make(const struct dwell_bench_options *options, struct dwell_bench_call *call,
                          uint64_t *ret_begin_ns)
{
    struct dwell_track track;
    const struct dwell_model *model = call->stage == DWELL_BENCH_SEQUENTIAL ? options->model : NULL;
    dwell_track_begin(&track, model);
    uint64_t cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);
    call->failed = options->request(options->user, call->worker, call->number) != 0;
    uint64_t end_ns = clock_ns(CLOCK_MONOTONIC);
    cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
    dwell_track_end(&track, call->failed);
    call->latency_ms = (double)(end_ns - begin_ns) / NS_PER_MS;
    call->cpu_ms = options->elsewhere ? NAN : (double)cpu_ns / NS_PER_MS;
    *ret_begin_ns = begin_ns;
    return end_ns;
}

static void call_count(struct worker *worker, const struct dwell_bench_call *call)
{
    if (call->failed) {
        worker->errors++;
    } else if (isfinite(call->cpu_ms) && call->latency_ms > 0) {
        worker->with_cpu++;
        worker->cpu_ms += call->cpu_ms;
        worker->cpu_percent += 100 * call->cpu_ms / call->latency_ms;
    }
}

static void worker_hand_in(const struct worker *worker, uint64_t begin_ns, uint64_t end_ns)
{
    struct stage *stage = worker->stage;
    pthread_mutex_lock(&stage->lock);
    stage->begin_ns = begin_ns < stage->begin_ns ? begin_ns : stage->begin_ns;
    stage->end_ns = end_ns > stage->end_ns ? end_ns : stage->end_ns;
    stage->errors += worker->errors;
    stage->with_cpu += worker->with_cpu;
    stage->cpu_ms += worker->cpu_ms;
    stage->cpu_percent += worker->cpu_percent;
    pthread_mutex_unlock(&stage->lock);
}

static void *worker_run(void *arg)
{
    struct worker *worker = arg;
    struct stage *stage = worker->stage;
    const struct dwell_bench_options *options = stage->options;
    uint64_t first_ns = UINT64_MAX;
    uint64_t last_ns = 0;
    if (!gate_pass(stage)) {
        return NULL;
    }
    struct dwell_bench_call call = {
        .size = sizeof call, .stage = stage->kind, .worker = worker->number};
    for (uint64_t had = 0; number_take(stage, had, &call.number); had++) {
        uint64_t begin_ns;
        last_ns = call_make(options, &call, &begin_ns);
        first_ns = first_ns == UINT64_MAX ? begin_ns : first_ns;
        if (stage->latencies != NULL) {
            stage->latencies[call.number] = call.failed ? NAN : call.latency_ms;
        }
        if (options->done != NULL && options->done(options->user, &call) != 0) {
            atomic_store(&stage->ended, true);
        }
        call_count(worker, &call);
    }
    worker_hand_in(worker, first_ns, last_ns);
    return NULL;
}

/* ---- A stage ---- */

/* Starts the worker's thread with all signals masked. */
static int worker_start(struct worker *worker)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&worker->thread, NULL, worker_run, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err == 0 ? 0 : -EAGAIN;
}

static int stage_run(struct stage *stage, struct worker *workers)
{
    int err = 0;
    uint32_t started = 0;
    while (err == 0 && started < stage->workers) {
        workers[started] = (struct worker){.stage = stage, .number = started};
        err = worker_start(&workers[started]);
        started += err == 0;
    }
    gate_move(stage, err == 0 ? GATE_OPEN : GATE_CALLED_OFF);
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
    }
    return err;
}

/* ---- What a stage came to ---- */

static int compare_doubles(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Moves what went well to the front. Returns how many these are. */
static uint64_t latencies_gather(double *latencies, uint64_t count)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!isnan(latencies[i])) {
            latencies[kept++] = latencies[i];
        }
    }
    return kept;
}

/* The ⌈q·n⌉-th smallest, q in thousandths. */
static double nearest_rank(const double *sorted, uint64_t count, unsigned thousandths)
{
    uint64_t rank = (count * thousandths + 999) / 1000;
    return sorted[rank - 1];
}

/* By Newton's method, as libdwell does without libm; of 0 it is 0. */
static double square_root(double square)
{
    double root = square > 1 ? square : 1;
    for (double next = 0; square > 0; root = next) {
        next = (root + square / root) / 2;
        if (next >= root) {
            return root; /* from above it falls until it is as near as a double can be */
        }
    }
    return 0;
}

static void load_describe(struct dwell_bench_load *load, const double *sorted)
{
    double sum = 0;
    double squares = 0;
    for (uint64_t i = 0; i < load->requests; i++) {
        sum += sorted[i];
    }
    load->mean_ms = sum / (double)load->requests;
    for (uint64_t i = 0; i < load->requests; i++) {
        squares += (sorted[i] - load->mean_ms) * (sorted[i] - load->mean_ms);
    }
    load->std_ms = load->requests > 1 ? square_root(squares / (double)(load->requests - 1)) : 0;
    load->min_ms = sorted[0];
    load->max_ms = sorted[load->requests - 1];
    load->p50_ms = nearest_rank(sorted, load->requests, 500);
    load->p90_ms = nearest_rank(sorted, load->requests, 900);
    load->p95_ms = nearest_rank(sorted, load->requests, 950);
    load->p99_ms = nearest_rank(sorted, load->requests, 990);
    load->p999_ms = nearest_rank(sorted, load->requests, 999);
}

static struct dwell_bench_load load_nothing(void)
{
    return (struct dwell_bench_load){
        .requests_per_second = NAN,
        .elapsed_ms = NAN,
        .min_ms = NAN,
        .max_ms = NAN,
        .mean_ms = NAN,
        .std_ms = NAN,
        .p50_ms = NAN,
        .p90_ms = NAN,
        .p95_ms = NAN,
        .p99_ms = NAN,
        .p999_ms = NAN,
        .cpu_percent = NAN,
        .cpu_ms = NAN,
    };
}

static void stage_sum_up(const struct stage *stage, struct dwell_bench_load *ret_load)
{
    struct dwell_bench_load load = load_nothing();
    load.errors = stage->errors;
    load.requests = latencies_gather(stage->latencies, stage->options->samples);
    if (load.requests > 0) {
        qsort(stage->latencies, load.requests, sizeof stage->latencies[0], compare_doubles);
        load_describe(&load, stage->latencies);
        load.elapsed_ms = (double)(stage->end_ns - stage->begin_ns) / NS_PER_MS;
        double busy_ms = stage->kind == DWELL_BENCH_SEQUENTIAL
                             ? load.mean_ms * (double)load.requests
                             : load.elapsed_ms;
        load.requests_per_second = busy_ms > 0 ? 1e3 * (double)load.requests / busy_ms : NAN;
    }
    if (stage->with_cpu > 0) {
        load.cpu_ms = stage->cpu_ms / (double)stage->with_cpu;
        load.cpu_percent = stage->cpu_percent / (double)stage->with_cpu;
    }
    *ret_load = load;
}

/* ---- The verdict ---- */

static void verdict_say(struct dwell_bench_result *result, const char *bottleneck, const char *rule,
                        const char *decision)
{
    result->bottleneck = bottleneck;
    result->rule = rule;
    result->gpu_decision = decision;
}

static double given_or(double value, double standard)
{
    return value > 0 ? value : standard;
}

static void verdict_find(const struct dwell_bench_options *options,
                         struct dwell_bench_result *result)
{
    const struct dwell_bench_load *load = &result->sequential;
    if (load->requests == 0) {
        verdict_say(result, "unknown", "insufficient", "insufficient");
    } else if (load->mean_ms < given_or(options->latency_gpu_threshold_ms, 1)) {
        verdict_say(result, "io_bound", "latency_floor", "no");
    } else if (isnan(load->cpu_percent)) {
        verdict_say(result, "unknown", "no_cpu", "insufficient");
    } else if (load->cpu_percent > given_or(options->cpu_compute_threshold_percent, 50)) {
        verdict_say(result, "compute_bound", "compute", "yes");
    } else if (load->cpu_percent < given_or(options->cpu_io_threshold_percent, 20)) {
        verdict_say(result, "io_bound", "io_low_cpu", "no");
    } else {
        verdict_say(result, "unknown", "moderate", "insufficient");
    }
}

/* ---- Memory ---- */

/* Resident memory of this process, or NaN. */
static double resident_mb(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NAN;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0) {
        return NAN;
    }
    text[len] = '\0';
    const char *second = strchr(text, ' ');
    long page = sysconf(_SC_PAGESIZE);
    return second != NULL ? (double)strtoull(second, NULL, 10) * (double)page / 1048576 : NAN;
}

static double peak_mb(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024 : NAN;
}

/* ---- A run ---- */

static bool options_are_sound(const struct dwell_bench_options *options)
{
    return options != NULL && options->size == sizeof *options && options->request != NULL &&
           options->samples <= DWELL_BENCH_SAMPLES_MAX &&
           options->concurrency <= DWELL_BENCH_WORKERS_MAX &&
           options->warmup <= DWELL_BENCH_SAMPLES_MAX;
}

static struct dwell_bench_options options_complete(const struct dwell_bench_options *given)
{
    struct dwell_bench_options options = *given;
    options.samples = options.samples > 0 ? options.samples : DWELL_BENCH_SAMPLES;
    options.concurrency = options.concurrency > 0 ? options.concurrency : DWELL_BENCH_CONCURRENCY;
    options.warmup = options.warmup > 0 ? options.warmup : DWELL_BENCH_WARMUP;
    options.warmup = options.no_warmup ? 0 : options.warmup;
    return options;
}

/* Runs one stage and sums it up, unless it is the warm-up. `room` is for latencies. */
static int run_stage(const struct dwell_bench_options *options, enum dwell_bench_stage kind,
                     struct worker *workers, double *room, struct dwell_bench_load *ret_load)
{
    struct stage stage = {
        .options = options,
        .kind = kind,
        .workers = kind == DWELL_BENCH_SEQUENTIAL ? 1 : options->concurrency,
        .each = kind == DWELL_BENCH_WARMING ? options->warmup : 0,
        .latencies = kind == DWELL_BENCH_WARMING ? NULL : room,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .moved = PTHREAD_COND_INITIALIZER,
        .begin_ns = UINT64_MAX,
    };
    for (uint32_t i = 0; stage.latencies != NULL && i < options->samples; i++) {
        stage.latencies[i] = NAN; /* until somebody has taken this number */
    }
    int err = stage_run(&stage, workers);
    bool failed = false;
    if (err == 0 && stage.latencies != NULL) {
        stage_sum_up(&stage, ret_load);
        failed = ret_load->requests == 0;
    }
    pthread_cond_destroy(&stage.moved);
    pthread_mutex_destroy(&stage.lock);
    if (err == 0) {
        err = atomic_load(&stage.ended) ? -ECANCELED : failed ? -EIO : 0;
    }
    return err;
}

static int run_stages(const struct dwell_bench_options *options, struct worker *workers,
                      double *room, struct dwell_bench_result *result)
{
    int err = 0;
    if (options->warmup > 0) {
        err = run_stage(options, DWELL_BENCH_WARMING, workers, room, NULL);
    }
    if (err == 0) {
        err = run_stage(options, DWELL_BENCH_SEQUENTIAL, workers, room, &result->sequential);
    }
    if (err == 0 && options->concurrency > 1) {
        err = run_stage(options, DWELL_BENCH_CONCURRENT, workers, room, &result->concurrent);
    } else if (options->concurrency == 1) {
        result->concurrent = result->sequential;
    }
    return err;
}

int dwell_bench_run(const struct dwell_bench_options *options,
                    struct dwell_bench_result *ret_result)
{
    if (!options_are_sound(options) || ret_result == NULL ||
        ret_result->size != sizeof *ret_result) {
        return -EINVAL;
    }
    struct dwell_bench_options complete = options_complete(options);
    struct dwell_bench_result result = {.size = sizeof result,
                                        .sequential = load_nothing(),
                                        .concurrent = load_nothing(),
                                        .memory_mb_before = resident_mb()};
    double *room = calloc(complete.samples, sizeof *room);
    struct worker *workers = calloc(complete.concurrency, sizeof *workers);
    int err = -ENOMEM;
    if (room != NULL && workers != NULL) {
        err = run_stages(&complete, workers, room, &result);
    }
    if (err == 0 || err == -ECANCELED || err == -EIO) {
        result.concurrency_scaling =
            result.concurrent.requests_per_second / result.sequential.requests_per_second;
        result.memory_mb_after = resident_mb();
        result.memory_mb_peak = peak_mb();
        verdict_find(&complete, &result);
        *ret_result = result;
    }
    free(workers);
    free(room);
    return err;
}
