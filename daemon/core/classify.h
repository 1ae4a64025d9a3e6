/*
 * From what is known of a model to its verdict. The classifier `thresholds`: rules on the means of a
 * window, for models that send no evidence. Every comparison is made in exact integers and is strict.
 * The classifier `evidence`: what core/opinion found. It does not see models, snapshots or time.
 * Pure; any thread.
 */
#ifndef DWELL_CORE_CLASSIFY_H
#define DWELL_CORE_CLASSIFY_H

#include "core/gpu_estimate.h"
#include "core/opinion.h"
#include "core/tally.h"

/* All that is configured of verdicts; a snapshot carries it. */
struct thresholds {
    bool by_evidence; /* the classifier is `evidence`: these only until there is enough of it */
    double latency_gpu_threshold_ms;
    double cpu_compute_threshold_percent;
    double cpu_io_threshold_percent;
    struct gpu_options gpu; /* for core/gpu alone */
};

/* `device` as the samples said it: empty and "cpu" mean CPU. `sums` must hold a sample. */
void classify(const struct thresholds *thresholds, const struct sums *sums, struct str device,
              struct verdict *ret_verdict);

/* The verdict that says what an opinion does. */
void classify_by_opinion(const struct opinion *opinion, struct str device,
                         struct verdict *ret_verdict);

/* The verdict while enough inferences with evidence are there, and no round of them has ended yet. */
void classify_unjudged(uint64_t evidence_count, struct str device, struct verdict *ret_verdict);

#endif
