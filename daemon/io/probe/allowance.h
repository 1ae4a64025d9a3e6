/*
 * What the probe may cost: one part in a hundred of one CPU, measured by its thread's own clock. What is
 * earned with time pays for probes of memory; looks come first, and become rarer when they alone cost
 * more. It measures nothing itself. One thread at a time.
 */
#ifndef DWELL_PROBE_ALLOWANCE_H
#define DWELL_PROBE_ALLOWANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/looks.h"

#define ALLOWANCE_SHARE 0.01

enum {
    ALLOWANCE_SAVED_MS = 600,    /* what a minute earns: probes of one can come at once */
    ALLOWANCE_CALM_SECONDS = 10, /* with looks that cost little, before they are made more often */
};

struct allowance {
    double saved_ms;      /* of CPU time; negative: owed */
    uint64_t settled_ns;  /* when it was earned until */
    double second_ms;     /* what looks cost since the second began */
    uint64_t second_ns;   /* when it began */
    unsigned looks_hertz; /* LOOKS_A_SECOND, or less */
    unsigned calm_seconds;
};

void allowance_init(struct allowance *allowance, uint64_t now_ns);

/* Earns until now; nothing is saved past the ceiling. */
void allowance_earn(struct allowance *allowance, uint64_t now_ns);

/* Something else than looks was done, and cost so much. */
void allowance_spend(struct allowance *allowance, double cpu_ms);

/* All threads were looked at once, and that cost so much. Every second it is seen whether that is too
 * much, or little enough for twice as many looks. */
void allowance_spend_on_looks(struct allowance *allowance, double cpu_ms, uint64_t now_ns);

/* Whether something of this price may be done now. */
bool allowance_affords(const struct allowance *allowance, double cpu_ms);

#endif
