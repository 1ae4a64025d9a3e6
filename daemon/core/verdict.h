/*
 * The verdict on a model: what it is bound by, by which rule, how sure that is, and whether a GPU would
 * help. Only its form and its words: core/classify and core/opinion find what it is bound by, core/gpu
 * what that means. Pure; any thread.
 */
#ifndef DWELL_CORE_VERDICT_H
#define DWELL_CORE_VERDICT_H

enum bottleneck {
    BOTTLENECK_COMPUTE,
    BOTTLENECK_IO,
    BOTTLENECK_MEMORY,
    BOTTLENECK_UNKNOWN,
    BOTTLENECK_COUNT
};

enum rule {
    /* of `thresholds`, on means of the window */
    RULE_LATENCY_FLOOR, /* mean latency below latency_gpu_threshold_ms */
    RULE_NO_CPU,        /* no sample has a CPU figure */
    RULE_COMPUTE,       /* mean CPU above cpu_compute_threshold_percent */
    RULE_IO_LOW_CPU,    /* mean CPU below cpu_io_threshold_percent */
    RULE_MODERATE,      /* between the two */
    /* of `evidence`, on shares of time; all but the first mean unknown */
    RULE_EVIDENCE,     /* one share is large enough and leads by enough */
    RULE_MIXED,        /* none does */
    RULE_STARVED,      /* the model hardly ran: others had the CPU, or a quota did */
    RULE_INSUFFICIENT, /* too few inferences */
    RULE_LOCK,         /* it waits for locks, or for the interpreter's */
    RULE_CPU,          /* it computes or waits for memory, and nothing tells which */
    RULE_WAIT,         /* it waits, and nothing tells for what */
    RULE_COUNT
};

/* What a share of a model's time goes into; shares are of the time in which it could have run. */
enum share_kind { SHARE_COMPUTE, SHARE_MEMORY, SHARE_IO, SHARE_LOCK, SHARE_COUNT };

enum gpu_decision {
    GPU_YES,
    GPU_NO,
    GPU_INSUFFICIENT,
    GPU_NOT_ASKED, /* the model does not run on a CPU */
    GPU_COUNT
};

struct verdict {
    enum bottleneck bottleneck;
    enum rule rule;
    enum gpu_decision gpu;
    double confidence;          /* 0 to 0.96; NaN: the rule has none */
    double share[SHARE_COUNT];  /* 0 to 1, of sum 1; NaN: the rule knows none */
    double max_speedup;         /* 1 or more: no GPU can make it faster than that; NaN: not known */
    char reason[160];           /* one sentence with the figures that decided */
    const char *recommendation; /* one sentence, constant */
};

/* The words of /metrics and /api. GPU_NOT_ASKED has none: NULL. */
extern const char *const bottleneck_names[BOTTLENECK_COUNT];
extern const char *const rule_names[RULE_COUNT];
extern const char *const share_names[SHARE_COUNT];
extern const char *const gpu_decision_names[GPU_COUNT];

/* A verdict that says nothing yet. */
void verdict_init(struct verdict *verdict);

#endif
