/*
 * A scrape of the bench's core in this process, and a copy of what it answered to compare it with.
 * Dies without memory. One thread.
 */
#ifndef DWELL_TESTS_SCRAPE_H
#define DWELL_TESTS_SCRAPE_H

#include "bench.h"
#include "bench_core.h"
#include "render/exposition.h"

/* Nanoseconds of rendering what is there now, into `out`. */
static inline double scrape(struct exposition *exposition, enum exposition_format format,
                            struct buf *out)
{
    static const struct thresholds thresholds = {.latency_gpu_threshold_ms = 1,
                                                 .cpu_compute_threshold_percent = 50,
                                                 .cpu_io_threshold_percent = 20};
    struct exposition_process process = {0};
    struct snapshot *snapshot;
    if (snapshot_take(&intake, &thresholds, 1, 1, &snapshot) != 0) {
        abort();
    }
    buf_clear(out);
    uint64_t began = cpu_ns();
    int err = exposition_render(exposition, snapshot, format, &process, out);
    double took = (double)(cpu_ns() - began);
    snapshot_release(snapshot, &registry);
    while (limbo_sweep(&registry.limbo, 1000000)) {
    }
    if (err != 0) {
        abort();
    }
    return took;
}

/* Nanoseconds of copying the answer. */
static inline double scrape_copy(const struct buf *from, char *to)
{
    uint64_t began = cpu_ns();
    memcpy(to, from->data, from->len);
    bench_keep(to);
    return (double)(cpu_ns() - began);
}

#endif
