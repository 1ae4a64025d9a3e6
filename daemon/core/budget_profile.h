/*
 * What a reader wants to know of one layer's time budget: quantiles and shares over the window, computed
 * from a snapshot. It renders nothing. Any thread; one scratch for each thread.
 */
#ifndef DWELL_CORE_BUDGET_PROFILE_H
#define DWELL_CORE_BUDGET_PROFILE_H

#include "core/budget_burn.h"
#include "core/profile.h"

/* Of the window; figures that are not known are NaN. */
struct budget_profile {
    uint64_t count;
    uint64_t exceeded;
    double spent_ms; /* 0 when it is empty */
    double quantile_ms[QUANTILE_COUNT];
    struct budget_burn burn;
    double
        share_of_total; /* above 1 where layers run beside each other, or the total is not told */
};

/* What shares are of: the time of the whole requests, and where none is told, of all layers together.
 * 0 when the window is empty. */
double budget_profile_total_ms(const struct snapshot *snapshot);

void budget_profile_compute(const struct snapshot *snapshot, const struct budget_layer *layer,
                            double total_ms, struct profile_scratch *scratch,
                            struct budget_profile *ret);

/* What is left of a layer's budget after so long: never negative, infinite without a budget. */
double budget_remaining_ms(const struct budget_limit *limit, double elapsed_ms);

#endif
