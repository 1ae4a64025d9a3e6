/*
 * A load runner for one question: would a GPU help this model? It calls a function of the caller's, one
 * call after another and then from several threads, and says how long it took and how much CPU.
 * It does not know what a request is, starts no process and prints nothing: `dwell bench` does these.
 *
 *     static int infer(void *user, uint32_t worker, uint64_t number)
 *     {
 *         struct model *model = user;
 *         return model_run(model[worker], number) ? 0 : 1;
 *     }
 *
 *     struct dwell_bench_options options = {
 *         .size = sizeof options, .request = infer, .user = models, .concurrency = 4};
 *     struct dwell_bench_result result = {.size = sizeof result};
 *     if (dwell_bench_run(&options, &result) == 0) {
 *         printf("p99 %.3f ms, GPU: %s\n", result.sequential.p99_ms, result.gpu_decision);
 *     }
 *
 * A run has three stages, each on threads of its own:
 *
 *     warm-up     `warmup` requests of each worker, all workers at once; not counted
 *     sequential  `samples` requests, one after the other, all by worker 0
 *     concurrent  `samples` requests, by `concurrency` workers, each taking the next when it is free
 *
 * Latency is the time of the call and nothing else. Each is kept until the end, so that quantiles are
 * exact: quantile q of n is the ⌈q·n⌉-th smallest. They are those of a closed loop: a worker asks again
 * when it has its answer. When one request takes long the next ones begin later, and the time that
 * users would have waited meanwhile is in no figure ("coordinated omission").
 *
 * Threads. dwell_bench_run may run several times at once. It calls `request` and `done` from threads of
 * its own, with one worker's number from one thread at a time, and returns when all of them have ended.
 * It takes no signals: those threads have all masked.
 *
 * Errors. 0, or a negative errno. -EINVAL: options make no sense. -ENOMEM, -EAGAIN: memory or threads
 * are missing; the result is untouched. -ECANCELED: `done` ended it; -EIO: a stage had no request that
 * went well. With these two the result holds what was measured, and NaN where nothing was.
 *
 * Ownership. Nothing is kept: options need to live until the return, texts in the result are constant.
 * Numbers in ms, MiB (2^20 bytes) and percent of one CPU. Structs begin with `size`, as in dwell.h.
 *
 * Part of libdwell. Compiles as C99 and as C++.
 */
#ifndef DWELL_CLIENT_DWELL_BENCH_H
#define DWELL_CLIENT_DWELL_BENCH_H

#include "dwell.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DWELL_BENCH_SAMPLES = 200,
    DWELL_BENCH_CONCURRENCY = 4,
    DWELL_BENCH_WARMUP = 20,
    DWELL_BENCH_SAMPLES_MAX = 1000000, /* 8 MB of latencies a stage, and enough for a p99.999 */
    DWELL_BENCH_WORKERS_MAX = 256      /* threads; above it a load generator measures itself */
};

enum dwell_bench_stage {
    DWELL_BENCH_WARMING,
    DWELL_BENCH_SEQUENTIAL,
    DWELL_BENCH_CONCURRENT,
    DWELL_BENCH_STAGES
};

/* One request that is over. */
struct dwell_bench_call {
    size_t size;
    enum dwell_bench_stage stage;
    uint32_t worker;
    uint64_t number; /* within the stage, from 0 */
    double latency_ms;
    bool failed; /* `request` did not return 0 */

    /* CPU time that it took: of the thread, or NaN with options.elsewhere. `done` may put in what it
     * knows better. */
    double cpu_ms;
};

struct dwell_bench_options {
    size_t size; /* sizeof(struct dwell_bench_options) */

    /* One request. Returns 0 when it went well; one that did not is counted as an error and its time
     * left out. Required. */
    int (*request)(void *user, uint32_t worker, uint64_t number);
    /* After each, outside of what is measured; anything but 0 ends the run. May be NULL. */
    int (*done)(void *user, struct dwell_bench_call *call);
    void *user;

    uint32_t samples; /* 1 to DWELL_BENCH_SAMPLES_MAX; 0: 200 */
    uint32_t
        concurrency; /* 1 to DWELL_BENCH_WORKERS_MAX; 0: 4. Of 1 there is no concurrent stage. */
    uint32_t warmup; /* of each worker, at most DWELL_BENCH_SAMPLES_MAX; 0: 20 */
    bool no_warmup;
    bool elsewhere; /* requests are worked on outside of the calling thread: its CPU says nothing */

    /* Limits of the verdict, each by strict comparison; 0: 50 %, 20 %, 1 ms. */
    double cpu_compute_threshold_percent;
    double cpu_io_threshold_percent;
    double latency_gpu_threshold_ms;

    /* Where each sequential request is recorded as an inference as well, by dwell_track_begin and
     * dwell_track_end, so that the daemon judges too. May be NULL. */
    const struct dwell_model *model;
};

/* What one stage came to. */
struct dwell_bench_load {
    uint64_t requests; /* that went well: all of the following is about these */
    uint64_t errors;
    /* Requests a second: of the sequential stage over the sum of latencies, as time between requests is
     * the runner's; of the concurrent one from the first begin to the last end. */
    double requests_per_second;
    double elapsed_ms; /* from the first begin to the last end */
    double min_ms, max_ms, mean_ms, std_ms;
    double p50_ms, p90_ms, p95_ms, p99_ms, p999_ms;
    double cpu_percent; /* mean of each request's cpu_ms / latency_ms; NaN where there is none */
    double cpu_ms;      /* mean */
};

struct dwell_bench_result {
    size_t size; /* sizeof(struct dwell_bench_result) */
    struct dwell_bench_load sequential;
    struct dwell_bench_load concurrent; /* of 1 worker: as `sequential` */
    double concurrency_scaling;         /* concurrent / sequential requests a second */

    double memory_mb_before; /* resident, of this process: before the warm-up, */
    double memory_mb_after;  /* at the end, */
    double memory_mb_peak;   /* and the most that it ever had */

    /* What the sequential stage says, by the limits of the options: mean latency below 1 ms is io_bound
     * (latency_floor); no CPU figure unknown (no_cpu); mean CPU above 50 % compute_bound (compute), below
     * 20 % io_bound (io_low_cpu), else unknown (moderate). compute_bound is a yes, io_bound a no. */
    const char *bottleneck;   /* "compute_bound", "io_bound", "unknown" */
    const char *rule;         /* the word in parentheses */
    const char *gpu_decision; /* "yes", "no", "insufficient" */
};

/* Runs all three stages. */
DWELL_API int dwell_bench_run(const struct dwell_bench_options *options,
                              struct dwell_bench_result *ret_result);

#ifdef __cplusplus
}
#endif

#endif
