/*
 * Whether a GPU would help a model: yes, no, or that this is not known, with the figures that decided and
 * what to do to know more. It finds no bottleneck and no figures of its own. Pure; any thread.
 *
 *     verdict, time by state, hints -> p, starved -> decision, ceiling 1 / (1 - p) [, estimate]
 */
#ifndef DWELL_CORE_GPU_H
#define DWELL_CORE_GPU_H

#include "base/str.h"
#include "core/gpu_estimate.h"
#include "core/verdict.h"

/* What the reader of a decision can do to get another one, or to be surer. */
#define GPU_ACTION_TABLE(X)                                                                        \
    X(NONE, "")                                                                                    \
    X(FREE_CPU, "Free the CPU, or grant more of it, and look again")                               \
    X(SHORTEN_LOCK, "Hold locks for less time, or serve by several processes")                     \
    X(SEND_CPU, "Send cpu_percent_during, or better evidence, with the samples")                   \
    X(SEND_EVIDENCE, "Send evidence (user_ms, system_ms, runqueue_ms) with the samples")           \
    X(SEND_HINTS, "Send hints (flops, bytes_moved) with the samples, for an estimate")             \
    X(SEND_SAMPLES, "Let more inferences run within the window")                                   \
    X(SHOW_WAITS, "Run dwelld as the user of the models, to see what they wait for")               \
    X(STATE_CONSTANTS, "Narrow the options gpu.* to the machines that are to be had")

enum gpu_action {
#define X(code, sentence) GPU_ACTION_##code,
    GPU_ACTION_TABLE(X)
#undef X
        GPU_ACTION_COUNT
};

/* Sentences for people, without a full stop; of GPU_ACTION_NONE it is empty. */
extern const char *const gpu_action_sentences[GPU_ACTION_COUNT];

/* What is known of a model. NaN: not known. */
struct gpu_facts {
    struct str device;    /* as the samples said it: empty and "cpu" mean CPU */
    struct gpu_load load; /* movable: from time by state; the verdict's shares go before it */
    double starved;       /* part of the time in which it could run that it had no CPU, 0 to 1 */
};

struct gpu_answer {
    enum gpu_action action;
    double movable;   /* that the ceiling is from; NaN: not known */
    double starved;   /* likewise */
    double rate;      /* inferences a second; NaN: not known */
    char reason[200]; /* the figures that decided, in words */
    bool estimated;
    struct gpu_estimate estimate;
};

/* Above it a model is starved, and what it would do with a CPU of its own is not known well enough. */
#define GPU_STARVED_MAX 0.2

/* How likely the objective must be reached for a yes; the same far from the other end is a no. */
#define GPU_SURE 0.9

/* Sets gpu, recommendation and max_speedup of a verdict that has everything else, and says why. */
void gpu_decide(const struct gpu_options *options, const struct gpu_facts *facts,
                struct verdict *verdict, struct gpu_answer *ret_answer);

/* By Amdahl's law: how much faster anything gets when a part of its time is done away with. Infinite for
 * all of it; NaN for NaN. */
double gpu_max_speedup(double movable);

#endif
