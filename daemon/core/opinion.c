/*
 * Happy path of a round
 *   1. shares    of what the round says (core/shares)
 *   2. smooth    with the rounds before, by an exponential of 10 s
 *   3. judge     the label of the smoothed shares, at the worst ends of what is not known
 *   4. settle    a label that differs from the one shown must come three times in a row
 *
 * What can fail: nothing. A round that says too little leaves the smoothed shares alone.
 *
 * Why a label must hold at the worst ends: to say compute because nothing was known of memory is how
 * thresholds on CPU came to be right half of the time. Why the one shown stays for longer than it would
 * come: at the edge between two labels, noise alone changed it more than 500 times an hour.
 */
#include "core/opinion.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SMOOTH_MS    10000.0
#define LABEL_SHARE  0.60 /* to get a label, */
#define LABEL_LEAD   0.25
#define STAY_SHARE   0.50 /* and to keep it */
#define STAY_LEAD    0.10
#define LOCK_SHARE   0.40
#define STARVED_PART 0.90 /* of the wall time without a CPU: nothing can be said of the rest */
#define FEWEST       5    /* inferences in a round, */
#define FEW          20   /* and these where they do not fill a quarter of it */
#define FILLED       0.25
#define LOOKS_WANTED 20      /* in a round that waits for something, */
#define LOOKS_MS     30000.0 /* unless it takes so long */
#define WAITING      0.15    /* of the wall time */
#define MEMORY_OPEN  0.2     /* a range of f as wide as that leaves the label open, */
#define FUTEX_OPEN   0.5     /* of the part of waits that are for locks, */
#define BLOCKED_OPEN 0.2     /* and of blocked time, in parts of all */
#define SURE_BASE    0.90    /* confidence that evidence of clients alone can have, */
#define SURE_MORE    0.03    /* looks and probes add, */
#define RULE_ERROR   0.15    /* of a share, by constants that are medians of other machines */
#define SURE_MAX     0.96    /* and no evidence goes above */
#define SURE_TOUCH   0.80 /* half of jumps in memory touches as much as all of going through it */

enum { ROUNDS_TO_CHANGE = 3 };

static double count_looks(const struct evidence *evidence)
{
    return evidence->looks[LOOK_RUNS] + evidence->looks[LOOK_FUTEX] + evidence->looks[LOOK_WAITS];
}

static bool is_enough(const struct evidence *evidence)
{
    return evidence->inferences >= FEW ||
           (evidence->inferences >= FEWEST && evidence->wall_ms >= FILLED * evidence->span_ms);
}

/* Looks come 20 a second, so that a model that is seldom busy has few of them in a short round. */
static bool has_looks(const struct evidence *evidence)
{
    double looks = count_looks(evidence);
    double idle = evidence->wall_ms - evidence->user_ms - evidence->system_ms;
    return looks == 0 || looks >= LOOKS_WANTED || idle < WAITING * evidence->wall_ms ||
           evidence->span_ms >= LOOKS_MS;
}

bool opinion_is_round(const struct evidence *evidence, double window_ms)
{
    return evidence->span_ms >= window_ms || (is_enough(evidence) && has_looks(evidence));
}

/* 2. */
static void smooth(struct opinion_memory *memory, const struct shares *shares, double span_ms)
{
    double weight = memory->rounds == 0 ? 1 : 1 - exp(-span_ms / SMOOTH_MS);
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        memory->smoothed[i] += weight * (shares->share[i] - memory->smoothed[i]);
    }
    memory->rounds++;
}

/* 3. A share as far below its smoothed middle as the round's worst end is below the round's middle. */
struct standing {
    double low, high, lead;
};

static struct standing stand(const double smoothed[SHARE_COUNT], const struct shares *shares,
                             enum share_kind which)
{
    double shift = smoothed[which] - shares->share[which];
    double rival = 0;
    double rival_now = 0;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        if (i != which) {
            rival = fmax(rival, smoothed[i]);
            rival_now = fmax(rival_now, shares->share[i]);
        }
    }
    double lead_shift = shift - (rival - rival_now);
    return (struct standing){.low = shares->bounds[which].low + shift,
                             .high = shares->bounds[which].high + shift,
                             .lead = shares->lead[which] + lead_shift};
}

static const enum bottleneck label_of[] = {[SHARE_COMPUTE] = BOTTLENECK_COMPUTE,
                                           [SHARE_MEMORY] = BOTTLENECK_MEMORY,
                                           [SHARE_IO] = BOTTLENECK_IO,
                                           [SHARE_LOCK] = BOTTLENECK_UNKNOWN};

struct judgement {
    enum bottleneck bottleneck;
    enum rule rule;
    double lead;      /* of the share that decided, */
    double deviation; /* and of that lead */
};

static bool wins(const struct standing *standing, bool shown)
{
    return shown ? standing->low >= STAY_SHARE && standing->lead >= STAY_LEAD
                 : standing->low >= LABEL_SHARE && standing->lead >= LABEL_LEAD;
}

/* Why there is no label: a source is missing that could have given one, or none could. */
static enum rule why_not(const double smoothed[SHARE_COUNT], const struct shares *shares)
{
    double computing = smoothed[SHARE_COMPUTE] + smoothed[SHARE_MEMORY];
    double others = fmax(smoothed[SHARE_IO], smoothed[SHARE_LOCK]);
    /* It may be either; not so where each of the two has a part for sure, as probes have told. */
    bool wide = shares->memory.high - shares->memory.low > MEMORY_OPEN;
    bool memory_open = wide && (isnan(shares->touch) ||
                                (stand(smoothed, shares, SHARE_COMPUTE).high >= LABEL_SHARE &&
                                 stand(smoothed, shares, SHARE_MEMORY).high >= LABEL_SHARE));
    bool futex_open = shares->futex.high - shares->futex.low > FUTEX_OPEN;
    bool blocked_open = shares->blocked.high - shares->blocked.low > BLOCKED_OPEN * shares->total;
    if (memory_open && computing >= LABEL_SHARE && computing - others >= LABEL_LEAD) {
        return RULE_CPU;
    }
    return (futex_open || blocked_open) && stand(smoothed, shares, SHARE_IO).high >= LABEL_SHARE
               ? RULE_WAIT
               : RULE_MIXED;
}

static double deviation_of(const struct shares *shares, enum share_kind which)
{
    return hypot(shares->deviation[which], RULE_ERROR) * sqrt(2); /* of two shares */
}

static struct judgement judge(const struct shares *shares, const double smoothed[SHARE_COUNT],
                              const struct opinion_memory *memory)
{
    if (stand(smoothed, shares, SHARE_LOCK).low >= LOCK_SHARE) {
        return (struct judgement){.bottleneck = BOTTLENECK_UNKNOWN, .rule = RULE_LOCK};
    }
    for (unsigned i = SHARE_COMPUTE; i <= SHARE_IO; i++) {
        struct standing standing = stand(smoothed, shares, (enum share_kind)i);
        bool shown = memory->settled && memory->label == label_of[i];
        if (wins(&standing, shown)) {
            return (struct judgement){.bottleneck = label_of[i],
                                      .rule = RULE_EVIDENCE,
                                      .lead = standing.lead,
                                      .deviation = deviation_of(shares, (enum share_kind)i)};
        }
    }
    return (struct judgement){.bottleneck = BOTTLENECK_UNKNOWN, .rule = why_not(smoothed, shares)};
}

/* Rounds that say nothing of shares. */
static bool is_blank(const struct evidence *evidence, const struct shares *shares,
                     struct judgement *ret_judgement)
{
    *ret_judgement =
        (struct judgement){.bottleneck = BOTTLENECK_UNKNOWN, .rule = RULE_INSUFFICIENT};
    if (!is_enough(evidence)) {
        return true;
    }
    ret_judgement->rule = RULE_STARVED;
    return isnan(shares->share[0]) || shares->runqueue.low >= STARVED_PART * shares->wall;
}

/* 4. A label may come at once where only evidence was missing: that is no change of mind. */
static bool was_waiting(const struct opinion_memory *memory)
{
    return memory->rule == RULE_INSUFFICIENT || memory->rule == RULE_CPU ||
           memory->rule == RULE_WAIT;
}

static void adopt(struct opinion_memory *memory, const struct judgement *now)
{
    memory->settled = true;
    memory->label = now->bottleneck;
    memory->rule = now->rule;
    memory->rival_rounds = 0;
}

static void settle(struct opinion_memory *memory, const struct judgement *now)
{
    if (!memory->settled || now->bottleneck == memory->label || was_waiting(memory)) {
        adopt(memory, now);
        return;
    }
    bool again = memory->rival_rounds > 0 && now->bottleneck == memory->rival;
    memory->rival = now->bottleneck;
    memory->rival_rounds = again ? memory->rival_rounds + 1 : 1;
    if (memory->rival_rounds >= ROUNDS_TO_CHANGE) {
        adopt(memory, now);
    }
}

/* Of the standard normal distribution. */
static double normal_below(double x)
{
    return 0.5 * erfc(-x / sqrt(2));
}

/* Without what is concluded from touches: page faults, and what hints of bytes prove. */
static bool is_memory_proved(const struct shares *shares)
{
    return shares->hinted * shares->user + shares->fault >= LABEL_SHARE * shares->total;
}

static double confidence_in(const struct judgement *now, const struct evidence *evidence,
                            const struct shares *shares)
{
    bool waits_known = evidence->runqueue_said > 0 && count_looks(evidence) > 0;
    bool memory_known = shares->memory.high - shares->memory.low <= MEMORY_OPEN;
    double most = SURE_BASE + (waits_known ? SURE_MORE : 0) + (memory_known ? SURE_MORE : 0);
    bool by_touch = now->bottleneck == BOTTLENECK_MEMORY && !is_memory_proved(shares);
    most = fmin(most, by_touch ? SURE_TOUCH : SURE_MAX);
    double sure = most * normal_below(now->lead / now->deviation);
    return round(sure * 100) / 100;
}

/* --- the sentence ------------------------------------------------------------------------------ */

static double percent(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

static void write_shares(const struct opinion *opinion, const char *before, const char *after,
                         char *text)
{
    const double *share = opinion->share;
    (void)snprintf(text, OPINION_REASON_BYTES,
                   "%scompute %.0f %%, memory %.0f %%, io %.0f %%, lock %.0f %%%s", before,
                   100 * share[SHARE_COMPUTE], 100 * share[SHARE_MEMORY], 100 * share[SHARE_IO],
                   100 * share[SHARE_LOCK], after);
}

static void write_starved(const struct opinion *opinion, char *text)
{
    const struct shares *shares = &opinion->shares;
    double waited = percent(shares->runqueue.low, shares->wall);
    double quota = percent(shares->throttled, shares->wall);
    if (quota >= 1) {
        (void)snprintf(text, OPINION_REASON_BYTES,
                       "it waits for a CPU %.0f %% of its time, %.0f %% by a quota of its cgroup",
                       waited, quota);
    } else {
        (void)snprintf(text, OPINION_REASON_BYTES,
                       "it waits for a CPU %.0f %% of its time, since others have them", waited);
    }
}

static void write_insufficient(const struct opinion *opinion, char *text)
{
    (void)snprintf(text, OPINION_REASON_BYTES,
                   "%llu inferences in %.0f s are too few: it takes %d, or %d that fill a quarter "
                   "of the time",
                   (unsigned long long)opinion->evidence.inferences,
                   opinion->evidence.span_ms / 1e3, FEW, FEWEST);
}

static void write_cpu(const struct opinion *opinion, char *text)
{
    const double *share = opinion->share;
    (void)snprintf(text, OPINION_REASON_BYTES,
                   "the CPU has %.0f %% of the time, and %.0f probes of memory do not tell whether "
                   "it computes or waits for memory",
                   100 * (share[SHARE_COMPUTE] + share[SHARE_MEMORY]),
                   opinion->evidence.touch_probes);
}

static void write_wait(const struct opinion *opinion, char *text)
{
    const struct shares *shares = &opinion->shares;
    (void)snprintf(text, OPINION_REASON_BYTES,
                   "it does not run for up to %.0f %% of the time, and %.0f looks at its thread do "
                   "not tell what it waits for",
                   percent(shares->wall - opinion->evidence.user_ms - opinion->evidence.system_ms,
                           shares->wall),
                   count_looks(&opinion->evidence));
}

static void write_reason(struct opinion *opinion)
{
    char *text = opinion->reason;
    switch (opinion->rule) {
    case RULE_STARVED:
        write_starved(opinion, text);
        break;
    case RULE_INSUFFICIENT:
        write_insufficient(opinion, text);
        break;
    case RULE_CPU:
        write_cpu(opinion, text);
        break;
    case RULE_WAIT:
        write_wait(opinion, text);
        break;
    case RULE_LOCK:
        write_shares(opinion, "locks have too much of the time it could run: ", "", text);
        break;
    case RULE_MIXED:
        write_shares(opinion, "no share is large enough and ahead by enough: ", "", text);
        break;
    default:
        write_shares(opinion, "", " of the time in which it could run", text);
        break;
    }
}

void opinion_take(struct opinion_memory *memory, const struct evidence *evidence,
                  const struct machine *machine, struct opinion *ret_opinion)
{
    struct opinion *opinion = ret_opinion;
    struct judgement now;
    *opinion = (struct opinion){.evidence = *evidence, .confidence = NAN};
    shares_compute(evidence, machine, &opinion->shares);
    if (!is_blank(&opinion->evidence, &opinion->shares, &now)) {
        smooth(memory, &opinion->shares, evidence->span_ms);
        now = judge(&opinion->shares, memory->smoothed, memory);
    }
    settle(memory, &now);
    opinion->bottleneck = memory->label;
    opinion->rule = memory->rule;
    opinion->round_bottleneck = now.bottleneck;
    opinion->round_rule = now.rule;
    opinion->rounds = memory->rounds;
    opinion->starved = (opinion->shares.starved.low + opinion->shares.starved.high) / 2;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        opinion->share[i] = memory->rounds > 0 ? memory->smoothed[i] : NAN;
    }
    if (memory->label != BOTTLENECK_UNKNOWN && now.bottleneck == memory->label) {
        opinion->confidence = memory->confidence =
            confidence_in(&now, &opinion->evidence, &opinion->shares);
    } else if (memory->label != BOTTLENECK_UNKNOWN) {
        opinion->confidence = memory->confidence / 2; /* the last rounds say something else */
    }
    write_reason(opinion);
}
