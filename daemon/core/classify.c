#include "core/classify.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static const struct outcome {
    enum bottleneck bottleneck;
    enum gpu_decision gpu;
    const char *recommendation;
} outcomes[] = {
    [RULE_LATENCY_FLOOR] =
        {BOTTLENECK_IO, GPU_NO,
         "Stay on the CPU: an inference is over before a GPU would have started."},
    [RULE_NO_CPU] =
        {BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT,
         "Send cpu_percent_during with the samples; without it no verdict is possible."},
    [RULE_COMPUTE] = {BOTTLENECK_COMPUTE, GPU_YES,
                      "Evaluate a GPU: the time goes into computing, which it can take over."},
    [RULE_IO_LOW_CPU] = {BOTTLENECK_IO, GPU_NO,
                         "Stay on the CPU and look at what the inference waits for."},
    [RULE_MODERATE] = {BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT,
                       "Profile further: neither computing nor waiting stands out."},
};

_Static_assert(sizeof outcomes / sizeof outcomes[0] == RULE_MODERATE + 1, "one for each rule");

/* By what an opinion says; of its rules only that of a label needs more than the reason. */
static const struct outcome opinion_outcomes[] = {
    [BOTTLENECK_COMPUTE] = {BOTTLENECK_COMPUTE, GPU_YES,
                            "Evaluate a GPU: the time goes into computing, which it can take "
                            "over."},
    [BOTTLENECK_IO] = {BOTTLENECK_IO, GPU_NO,
                       "Stay on the CPU and look at what the inference waits for."},
    [BOTTLENECK_MEMORY] = {BOTTLENECK_MEMORY, GPU_YES,
                           "Evaluate a GPU: the time goes into waiting for memory, and its own is "
                           "many times faster."},
    [BOTTLENECK_UNKNOWN] = {BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT,
                            "Profile further: the evidence does not show one bottleneck."},
};

_Static_assert(sizeof opinion_outcomes / sizeof opinion_outcomes[0] == BOTTLENECK_COUNT,
               "one for each bottleneck");

/* sum / count compared with a threshold, without dividing: -1, 0 or 1. */
static int compare_mean(exact_u128 sum, uint64_t count, double threshold, double steps_per_unit)
{
    exact_u128 limit = exact_steps(threshold, steps_per_unit) * count;
    return (sum > limit) - (sum < limit);
}

static enum rule find_rule(const struct thresholds *thresholds, const struct sums *sums)
{
    const struct gauge_sum *cpu = &sums->cpu_percent;
    if (compare_mean(sums->latency_sum, sums->count, thresholds->latency_gpu_threshold_ms,
                     EXACT_STEPS_PER_MS) < 0) {
        return RULE_LATENCY_FLOOR;
    }
    if (cpu->count == 0) {
        return RULE_NO_CPU;
    }
    if (compare_mean(cpu->sum, cpu->count, thresholds->cpu_compute_threshold_percent,
                     EXACT_STEPS_PER_PERCENT) > 0) {
        return RULE_COMPUTE;
    }
    if (compare_mean(cpu->sum, cpu->count, thresholds->cpu_io_threshold_percent,
                     EXACT_STEPS_PER_PERCENT) < 0) {
        return RULE_IO_LOW_CPU;
    }
    return RULE_MODERATE;
}

/* Digits, 4 or more, that tell a figure from a limit in print: the two are further apart than a unit
 * of the last digit. With 17 any two doubles differ. */
static int telling_digits(double figure, double limit)
{
    enum { FEWEST = 4, ALWAYS_ENOUGH = 17 };
    int digits = FEWEST;
    double unit = fmax(figure, limit) * 1e-3; /* 10^(1 - digits) */
    while (digits < ALWAYS_ENOUGH && fabs(figure - limit) <= unit) {
        digits++;
        unit /= 10;
    }
    return digits;
}

/* A mean that lies strictly below or above a limit, in words that never contradict the comparison:
 * with enough digits, and moved off the limit when it is nearer to it than a double can tell. */
static void write_strict(struct verdict *verdict, const char *what, double mean, bool below,
                         double limit, const char *unit, const char *hence)
{
    if (below ? mean >= limit : mean <= limit) {
        mean = nextafter(limit, below ? -INFINITY : INFINITY);
    }
    int digits = telling_digits(mean, limit);
    (void)snprintf(verdict->reason, sizeof verdict->reason, "mean %s %.*g %s is %s %.*g %s%s", what,
                   digits, mean, unit, below ? "below" : "above", digits > 9 ? digits : 9, limit,
                   unit, hence);
}

static void write_reason(const struct thresholds *thresholds, const struct sums *sums,
                         struct verdict *verdict)
{
    double ms = exact_mean(sums->latency_sum, sums->count, EXACT_STEPS_PER_MS);
    double cpu =
        exact_mean(sums->cpu_percent.sum, sums->cpu_percent.count, EXACT_STEPS_PER_PERCENT);
    switch (verdict->rule) {
    case RULE_LATENCY_FLOOR:
        write_strict(verdict, "latency", ms, true, thresholds->latency_gpu_threshold_ms, "ms",
                     ": over too soon for a GPU, whatever it is bound by");
        break;
    case RULE_NO_CPU:
        (void)snprintf(verdict->reason, sizeof verdict->reason, "no sample has a CPU figure");
        break;
    case RULE_COMPUTE:
        write_strict(verdict, "CPU", cpu, false, thresholds->cpu_compute_threshold_percent, "%",
                     "");
        break;
    case RULE_IO_LOW_CPU:
        write_strict(verdict, "CPU", cpu, true, thresholds->cpu_io_threshold_percent, "%", "");
        break;
    default:
        (void)snprintf(verdict->reason, sizeof verdict->reason,
                       "mean CPU %.4g %% lies between %.9g %% and %.9g %%", cpu,
                       thresholds->cpu_io_threshold_percent,
                       thresholds->cpu_compute_threshold_percent);
        break;
    }
}

static void take_outcome(const struct outcome *outcome, enum rule rule, struct str device,
                         struct verdict *ret_verdict)
{
    verdict_init(ret_verdict);
    ret_verdict->bottleneck = outcome->bottleneck;
    ret_verdict->rule = rule;
    ret_verdict->gpu = outcome->gpu;
    ret_verdict->recommendation = outcome->recommendation;
    if (device.len > 0 && !str_is(device, "cpu")) {
        ret_verdict->gpu = GPU_NOT_ASKED;
        ret_verdict->recommendation = "None: the model does not run on the CPU.";
    }
}

/* How soon an inference fails says nothing about one that succeeds. */
static void classify_failed(uint64_t errors, struct str device, struct verdict *ret_verdict)
{
    take_outcome(&opinion_outcomes[BOTTLENECK_UNKNOWN], RULE_INSUFFICIENT, device, ret_verdict);
    (void)snprintf(
        ret_verdict->reason, sizeof ret_verdict->reason,
        errors == 1 ? "the only sample is an error" : "all %" PRIu64 " samples are errors", errors);
}

void classify(const struct thresholds *thresholds, const struct sums *sums, struct str device,
              struct verdict *ret_verdict)
{
    if (sums->errors > 0 && sums->errors == sums->count) {
        classify_failed(sums->errors, device, ret_verdict);
        return;
    }
    enum rule rule = find_rule(thresholds, sums);
    take_outcome(&outcomes[rule], rule, device, ret_verdict);
    write_reason(thresholds, sums, ret_verdict);
}

void classify_by_opinion(const struct opinion *opinion, struct str device,
                         struct verdict *ret_verdict)
{
    take_outcome(&opinion_outcomes[opinion->bottleneck], opinion->rule, device, ret_verdict);
    ret_verdict->confidence = opinion->confidence;
    memcpy(ret_verdict->share, opinion->share, sizeof ret_verdict->share);
    memcpy(ret_verdict->reason, opinion->reason, sizeof ret_verdict->reason);
    _Static_assert(sizeof ret_verdict->reason == sizeof opinion->reason, "the sentence fits");
}

void classify_unjudged(uint64_t evidence_count, struct str device, struct verdict *ret_verdict)
{
    take_outcome(&opinion_outcomes[BOTTLENECK_UNKNOWN], RULE_INSUFFICIENT, device, ret_verdict);
    (void)snprintf(ret_verdict->reason, sizeof ret_verdict->reason,
                   "%" PRIu64
                   " inferences with evidence have come, and no round of them has ended yet",
                   evidence_count);
}
