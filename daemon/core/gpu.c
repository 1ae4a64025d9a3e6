/*
 * Happy path
 *   1. what no figure can change: not on a CPU, over too soon, starved
 *   2. by the rule of the verdict: waiting is no, what is not known is insufficient
 *   3. what computes or waits for memory: by the estimate where hints allow one, else by the ceiling and
 *      what a launch takes
 *
 * What can fail: nothing.
 */
#include "core/gpu.h"

#include <math.h>
#include <stdio.h>

const char *const gpu_action_sentences[] = {
#define X(code, sentence) sentence,
    GPU_ACTION_TABLE(X)
#undef X
};

/* What is being decided. */
struct trial {
    const struct gpu_options *options;
    const struct gpu_facts *facts;
    struct verdict *verdict;
    struct gpu_answer *answer;
};

double gpu_max_speedup(double movable)
{
    return 1 / (1 - movable);
}

/* --- words ------------------------------------------------------------------------------------- */

enum { FIGURE_BYTES_MAX = 32 };

/* Three digits, and no exponent where people want none. */
static const char *say(char out[FIGURE_BYTES_MAX], double figure)
{
    bool is_plain = figure >= 999.5 && figure < 1e15;
    (void)snprintf(out, FIGURE_BYTES_MAX, is_plain ? "%.0f" : "%.3g", figure);
    return out;
}

#define SAY(figure) say((char[FIGURE_BYTES_MAX]){0}, figure)
#define REASON(trial, ...)                                                                         \
    (void)snprintf((trial)->answer->reason, sizeof(trial)->answer->reason, __VA_ARGS__)

/* By thresholds nothing else decides than what decided on the bottleneck. */
static void repeat_reason(struct trial *trial)
{
    REASON(trial, "%s", trial->verdict->reason);
}

static void settle(struct trial *trial, enum gpu_decision decision, const char *recommendation)
{
    trial->verdict->gpu = decision;
    trial->verdict->recommendation = recommendation;
}

static void ask_for_more(struct trial *trial, enum gpu_action action, const char *recommendation)
{
    settle(trial, GPU_INSUFFICIENT, recommendation);
    trial->answer->action = action;
}

/* --- what computes or waits for memory --------------------------------------------------------- */

static const char stay[] = "Stay on the CPU: a GPU would not be worth it.";

static const char *const what_moves[BOTTLENECK_COUNT] = {
    [BOTTLENECK_COMPUTE] = "Evaluate a GPU: the time goes into computing, which it can take over.",
    [BOTTLENECK_MEMORY] =
        "Evaluate a GPU: the time goes into waiting for memory, and its own is faster.",
    [BOTTLENECK_UNKNOWN] =
        "Evaluate a GPU: the time goes into computing or waiting for memory, and "
        "it can take over both.",
};

/* Who waits for input and output gets none. */
static void give_yes(struct trial *trial)
{
    settle(trial, GPU_YES, what_moves[trial->verdict->bottleneck]);
}

/* The estimate is of what the model is bound by; where that is open, of both. */
static bool can_estimate(const struct trial *trial)
{
    const struct gpu_load *load = &trial->facts->load;
    bool needs_flops = trial->verdict->bottleneck != BOTTLENECK_MEMORY;
    bool needs_bytes = trial->verdict->bottleneck != BOTTLENECK_COMPUTE;
    return !isnan(trial->answer->movable) && load->cpu_ms > 0 &&
           (!needs_flops || load->flops > 0) && (!needs_bytes || load->bytes_moved > 0);
}

static void reason_of_p99(struct trial *trial, const struct gpu_estimate *estimate)
{
    REASON(trial, "with a GPU p99 would be %s ms, and %s ms is the most that it may",
           SAY(estimate->p99_ms.point), SAY(estimate->p99_limit_ms));
}

static void reason_of_cost(struct trial *trial, const struct gpu_estimate *estimate)
{
    double ratio = estimate->gpu_cost.point / estimate->cpu_cost.point;
    char pays[64] = "never pays";
    if (isfinite(estimate->break_even.point)) {
        (void)snprintf(pays, sizeof pays, "pays from %s/s", SAY(estimate->break_even.point));
    }
    REASON(trial,
           "at %s inferences/s a GPU costs %s times what CPUs do, and %s; a saving has "
           "probability %.2f",
           SAY(estimate->rate), SAY(ratio), pays, estimate->probability);
}

static void reason_of_speed(struct trial *trial, const struct gpu_estimate *estimate)
{
    REASON(trial,
           "a GPU makes it %s times faster, from %s to %s; %s times or more has probability "
           "%.2f",
           SAY(estimate->speedup.point), SAY(estimate->speedup.low), SAY(estimate->speedup.high),
           SAY(trial->options->min_speedup), estimate->probability);
}

static void decide_by_estimate(struct trial *trial)
{
    struct gpu_estimate *estimate = &trial->answer->estimate;
    struct gpu_load load = trial->facts->load;
    load.movable = trial->answer->movable;
    /* What moves is CPU time of one thread at least. */
    load.cpu_ms = fmax(load.cpu_ms, load.movable * load.mean_ms);
    gpu_estimate(trial->options, &load, estimate);
    trial->answer->estimated = true;
    if (!estimate->fits) {
        reason_of_p99(trial, estimate);
    } else if (estimate->by_cost) {
        reason_of_cost(trial, estimate);
    } else {
        reason_of_speed(trial, estimate);
    }
    if (estimate->probability >= GPU_SURE) {
        give_yes(trial);
    } else if (estimate->probability <= 1 - GPU_SURE) {
        settle(trial, GPU_NO, stay);
    } else {
        ask_for_more(
            trial, GPU_ACTION_STATE_CONSTANTS,
            "Say more exactly what a GPU reaches and costs: the estimate can go either way.");
    }
}

/* Without hints: whether there is enough to gain, and a launch takes less than the whole. */
static void decide_by_ceiling(struct trial *trial)
{
    const struct gpu_options *options = trial->options;
    double mean_ms = trial->facts->load.mean_ms;
    double overhead_ms = (options->launch_us + options->transfer_us) / 1e3;
    double most = trial->verdict->max_speedup;
    trial->answer->action = GPU_ACTION_SEND_HINTS;
    if (mean_ms <= overhead_ms) {
        settle(trial, GPU_NO, stay);
        trial->answer->action = GPU_ACTION_NONE;
        REASON(trial, "an inference takes %s ms, and launch and transfer alone take %s ms",
               SAY(mean_ms), SAY(overhead_ms));
    } else if (most < options->min_speedup) {
        settle(trial, GPU_NO, stay);
        trial->answer->action = GPU_ACTION_NONE;
        REASON(trial,
               "no GPU can make it more than %s times faster, and %s times is the least that is "
               "worth one",
               SAY(most), SAY(options->min_speedup));
    } else if (isnan(most)) {
        give_yes(trial);
        trial->answer->action = GPU_ACTION_SEND_EVIDENCE;
        repeat_reason(trial);
    } else if (trial->verdict->rule == RULE_MIXED) {
        settle(trial, GPU_INSUFFICIENT, "Send hints: what a GPU would take over is mixed.");
        REASON(trial, "%.0f %% of its time could move, but nothing in it stands out",
               100 * trial->answer->movable);
    } else {
        give_yes(trial);
        REASON(trial, "%.0f %% of its time could move: a GPU can make it %s times faster at most",
               100 * trial->answer->movable, isfinite(most) ? SAY(most) : "any number of");
    }
}

static void decide_by_work(struct trial *trial)
{
    if (can_estimate(trial)) {
        decide_by_estimate(trial);
    } else {
        decide_by_ceiling(trial);
    }
}

/* --- by the rule ------------------------------------------------------------------------------- */

static void decide_waiting(struct trial *trial)
{
    settle(trial, GPU_NO, "Stay on the CPU and look at what the inference waits for.");
    if (isnan(trial->answer->movable)) {
        repeat_reason(trial);
    } else {
        REASON(trial, "it waits for input and output; no GPU can make it more than %s times faster",
               SAY(trial->verdict->max_speedup));
    }
}

static void decide_by_rule(struct trial *trial)
{
    switch (trial->verdict->rule) {
    case RULE_NO_CPU:
        ask_for_more(trial, GPU_ACTION_SEND_CPU, trial->verdict->recommendation);
        repeat_reason(trial);
        break;
    case RULE_MODERATE:
        ask_for_more(trial, GPU_ACTION_SEND_EVIDENCE, trial->verdict->recommendation);
        repeat_reason(trial);
        break;
    case RULE_IO_LOW_CPU:
        decide_waiting(trial);
        break;
    case RULE_EVIDENCE:
        if (trial->verdict->bottleneck == BOTTLENECK_IO) {
            decide_waiting(trial);
        } else {
            decide_by_work(trial);
        }
        break;
    case RULE_INSUFFICIENT:
        ask_for_more(trial, GPU_ACTION_SEND_SAMPLES,
                     "Wait: too few inferences have succeeded to tell.");
        repeat_reason(trial);
        break;
    case RULE_LOCK:
        ask_for_more(trial, GPU_ACTION_SHORTEN_LOCK,
                     "Shorten the time for which locks are held, then look again.");
        REASON(trial, "it waits for locks %.0f %% of its time, which a GPU would not change",
               100 * trial->verdict->share[SHARE_LOCK]);
        break;
    case RULE_WAIT:
        ask_for_more(trial, GPU_ACTION_SHOW_WAITS, "Find out what the inference waits for.");
        REASON(trial, "it waits, and nothing tells for what");
        break;
    default: /* it computes or waits for memory: one of them, both, or not known which */
        decide_by_work(trial);
        break;
    }
}

/* --- what no figure can change ----------------------------------------------------------------- */

static double movable_of(const struct verdict *verdict, const struct gpu_facts *facts)
{
    double shared = verdict->share[SHARE_COMPUTE] + verdict->share[SHARE_MEMORY];
    double movable = isnan(shared) ? facts->load.movable : shared;
    /* Sums of shares may pass their ends by a rounding. */
    return isnan(movable) ? NAN : fmin(fmax(movable, 0), 1);
}

static bool is_starved(const struct trial *trial)
{
    return trial->verdict->rule == RULE_STARVED || trial->facts->starved > GPU_STARVED_MAX;
}

void gpu_decide(const struct gpu_options *options, const struct gpu_facts *facts,
                struct verdict *verdict, struct gpu_answer *ret_answer)
{
    struct trial trial = {options, facts, verdict, ret_answer};
    *ret_answer = (struct gpu_answer){
        .movable = movable_of(verdict, facts), .starved = facts->starved, .rate = facts->load.rate};
    verdict->max_speedup = gpu_max_speedup(ret_answer->movable);
    if (facts->device.len > 0 && !str_is(facts->device, "cpu")) {
        verdict->max_speedup = NAN;
        settle(&trial, GPU_NOT_ASKED, "None: the model does not run on the CPU.");
        REASON(&trial, "the model does not run on the CPU");
    } else if (verdict->rule == RULE_LATENCY_FLOOR) {
        /* Waiting for a CPU only makes it longer. */
        settle(&trial, GPU_NO,
               "Stay on the CPU: an inference is over before a GPU would have started.");
        repeat_reason(&trial);
    } else if (is_starved(&trial)) {
        ask_for_more(&trial, GPU_ACTION_FREE_CPU, "Free the CPU first, then look again.");
        bool is_counted = facts->starved > GPU_STARVED_MAX;
        REASON(&trial,
               "it had no CPU for %s%.0f %% of the time in which it could run: free the CPU first",
               is_counted ? "" : "more than ",
               100 * (is_counted ? facts->starved : GPU_STARVED_MAX));
    } else {
        decide_by_rule(&trial);
    }
}
