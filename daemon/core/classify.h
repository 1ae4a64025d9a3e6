/*
 * The verdict on a model: what it is bound by, by which rule, and whether a GPU would help.
 * The `thresholds` rules of DESIGN.md, section 8, on the means of a window; every comparison is made
 * in exact integers and is strict. It does not see models, snapshots or time. Pure; any thread.
 */
#ifndef DWELL_CORE_CLASSIFY_H
#define DWELL_CORE_CLASSIFY_H

#include "core/tally.h"

enum bottleneck {
    BOTTLENECK_COMPUTE,
    BOTTLENECK_IO,
    BOTTLENECK_MEMORY,
    BOTTLENECK_UNKNOWN,
    BOTTLENECK_COUNT
};

enum rule {
    RULE_LATENCY_FLOOR, /* mean latency below latency_gpu_threshold_ms */
    RULE_NO_CPU,        /* no sample has a CPU figure */
    RULE_COMPUTE,       /* mean CPU above cpu_compute_threshold_percent */
    RULE_IO_LOW_CPU,    /* mean CPU below cpu_io_threshold_percent */
    RULE_MODERATE,      /* between the two */
    RULE_COUNT
};

enum gpu_decision {
    GPU_YES,
    GPU_NO,
    GPU_INSUFFICIENT,
    GPU_NOT_ASKED, /* the model does not run on a CPU */
    GPU_COUNT
};

struct thresholds {
    double latency_gpu_threshold_ms;
    double cpu_compute_threshold_percent;
    double cpu_io_threshold_percent;
};

struct verdict {
    enum bottleneck bottleneck;
    enum rule rule;
    enum gpu_decision gpu;
    char reason[160];           /* one sentence with the figures that decided */
    const char *recommendation; /* one sentence, constant */
};

/* The words of /metrics and /api. GPU_NOT_ASKED has none: NULL. */
extern const char *const bottleneck_names[BOTTLENECK_COUNT];
extern const char *const rule_names[RULE_COUNT];
extern const char *const gpu_decision_names[GPU_COUNT];

/* `device` as the samples said it: empty and "cpu" mean CPU. `sums` must hold a sample. */
void classify(const struct thresholds *thresholds, const struct sums *sums, struct str device,
              struct verdict *ret_verdict);

#endif
