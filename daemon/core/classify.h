/*
 * The classifier `thresholds`: rules on the means of a window, for models that send no evidence. Every
 * comparison is made in exact integers and is strict. It does not see models, snapshots or time.
 * Pure; any thread.
 */
#ifndef DWELL_CORE_CLASSIFY_H
#define DWELL_CORE_CLASSIFY_H

#include "core/tally.h"
#include "core/verdict.h"

struct thresholds {
    double latency_gpu_threshold_ms;
    double cpu_compute_threshold_percent;
    double cpu_io_threshold_percent;
};

/* `device` as the samples said it: empty and "cpu" mean CPU. `sums` must hold a sample. */
void classify(const struct thresholds *thresholds, const struct sums *sums, struct str device,
              struct verdict *ret_verdict);

#endif
