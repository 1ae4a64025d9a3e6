#include "core/verdict.h"

#include <math.h>
#include <stddef.h>

const char *const bottleneck_names[] = {"compute_bound", "io_bound", "memory_bound", "unknown"};
const char *const rule_names[] = {"latency_floor", "no_cpu",   "compute", "io_low_cpu",
                                  "moderate",      "evidence", "mixed",   "starved",
                                  "insufficient",  "lock",     "cpu",     "wait"};
const char *const share_names[] = {"compute", "memory", "io", "lock"};
const char *const gpu_decision_names[] = {"yes", "no", "insufficient", NULL};

_Static_assert(sizeof bottleneck_names / sizeof bottleneck_names[0] == BOTTLENECK_COUNT, "");
_Static_assert(sizeof rule_names / sizeof rule_names[0] == RULE_COUNT, "one each");
_Static_assert(sizeof share_names / sizeof share_names[0] == SHARE_COUNT, "one each");
_Static_assert(sizeof gpu_decision_names / sizeof gpu_decision_names[0] == GPU_COUNT, "one each");

void verdict_init(struct verdict *verdict)
{
    *verdict = (struct verdict){.bottleneck = BOTTLENECK_UNKNOWN,
                                .rule = RULE_INSUFFICIENT,
                                .gpu = GPU_INSUFFICIENT,
                                .confidence = NAN,
                                .max_speedup = NAN,
                                .recommendation = ""};
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        verdict->share[i] = NAN;
    }
}
