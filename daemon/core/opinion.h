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

#include <stdbool.h>

#include "core/shares.h"

enum { OPINION_REASON_BYTES = 160 };

/* The memory from round to round. All zero: none yet. */
struct opinion_memory {
    uint64_t rounds; /* that had shares */
    bool settled;    /* a label is shown: */
    enum bottleneck label;
    enum rule rule;        /* and why */
    enum bottleneck rival; /* what the last rounds say instead */
    uint32_t rival_rounds;
    double confidence; /* of the label, when the last round agreed with it */
    double smoothed[SHARE_COUNT];
};

/* What is published of a round. */
struct opinion {
    enum bottleneck bottleneck;
    enum rule rule;
    double confidence;         /* 0 to 0.96; NaN when unknown */
    double share[SHARE_COUNT]; /* smoothed; NaN when there are none */
    double
        starved; /* part of the time in which it could have run that it waited for a CPU, 0 to 1 */
    char reason[OPINION_REASON_BYTES]; /* one sentence with the figures that decided */
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
