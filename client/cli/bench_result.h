/*
 * What a run came to: from its figures and the daemon's verdict to one tree of JSON, from which the
 * table is printed, too. Pure; all texts are borrowed while it is called.
 */
#ifndef DWELL_CLI_BENCH_RESULT_H
#define DWELL_CLI_BENCH_RESULT_H

#include <jansson.h>

#include "base/buf.h"
#include "dwell_bench.h"

struct bench_run {
    const char *model_name;
    const char *url;      /* NULL: a command */
    char *const *command; /* its words */
    int words;
    uint32_t samples, concurrency, warmup;
    double timeout_seconds;
    unsigned cpus;
    double started_unix; /* seconds */
    double elapsed_seconds;
    bool complete;
    const char *problem;        /* why it is not; NULL: it is */
    const char *daemon;         /* "found", "started" or "none" */
    const char *daemon_problem; /* why it has no verdict; NULL: it has, or was not asked */
    uint64_t samples_sent;

    struct dwell_bench_result result;
    double runqueue_percent; /* of the time of the one alone: waited for a CPU; NaN: not known */
    double concurrent_cpu_percent; /* of all workers, of one CPU; NaN: not known */
    double memory_mb;              /* of the largest worker at the end; NaN: not known */
    double memory_mb_peak;
    const json_t *model; /* the daemon's MODEL; NULL: it has none */
};

/* {"benchmark_info", "throughput", "latency", "gpu_decision_matrix", "summary"}; NULL: no memory. */
json_t *bench_result(const struct bench_run *run);

/* Whether the result recommends a GPU. */
bool bench_recommends_gpu(const json_t *result);

/* The result for people, styled. */
void bench_table(const json_t *result, bool utf8, size_t columns, struct buf *out);

#endif
