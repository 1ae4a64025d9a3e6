/*
 * What a model is bound by, as evidence has it: the label of a round, and how it changes from round to
 * round only when several agree. A round is a stretch of time with enough inferences in it.
 *
 *     evidence of a round -> shares -> smoothed -> label -> three rounds in a row -> opinion
 *
 * It does not know models and has no clock. Pure; one thread at a time.
 */
#ifndef DWELL_CORE_OPINION_H
#define DWELL_CORE_OPINION_H

#include "core/shares.h"

/* The memory from round to round. All zero: none yet. */
struct opinion_memory {
    uint64_t rounds;
    double smoothed[SHARE_COUNT];
    enum bottleneck label; /* that is shown */
    enum rule rule;        /* and why */
    enum bottleneck rival; /* what the last rounds say instead */
    enum rule rival_rule;
    uint32_t rival_rounds;
};

/* What is published of a round. */
struct opinion {
    enum bottleneck bottleneck;
    enum rule rule;
    double confidence;         /* 0 to 0.96; NaN when unknown */
    double share[SHARE_COUNT]; /* smoothed; NaN when there are none */
    char reason[160];
    uint64_t rounds;
    struct evidence evidence;         /* of the last round, */
    struct shares shares;             /* and what came of it alone */
    enum bottleneck round_bottleneck; /* that the last round says by itself */
    enum rule round_rule;
};

/* Whether a stretch is a round: enough inferences, by its length. `window_ms` is the longest. */
bool opinion_is_round(const struct evidence *evidence, double window_ms);

/* Takes a round. */
void opinion_take(struct opinion_memory *memory, const struct evidence *evidence,
                  const struct machine *machine, struct opinion *ret_opinion);

#endif
