/*
 * How fast a layer uses up what its objective allows it: the share of requests that were over the
 * layer's budget, divided by the share that may be ("The Site Reliability Workbook", ch. 5, "burn rate").
 * At 1 the objective is just met, at 10 a month's allowance is gone in three days. It is told of two
 * stretches of time: the long one says that it matters, the short one that it still goes on.
 * It raises no alert and renders nothing. Pure; any thread that may read the layer.
 *
 *     slot      …  7    8    9    10   11   12        the present one is 12
 *                |<--------- window --------->|       long
 *                                    |<------>|       short: a sixth of the window, and what is past of
 *                                                     the next one
 */
#ifndef DWELL_CORE_BUDGET_BURN_H
#define DWELL_CORE_BUDGET_BURN_H

#include <stdint.h>

struct budget_layer;

enum budget_stretch { BURN_LONG, BURN_SHORT, BURN_STRETCHES };

struct budget_burn {
    double rate[BURN_STRETCHES]; /* NaN without a record in it, or without a budget */
};

/* `present` is the slot that it is now; the objective is 0 to 0.999999. */
void budget_burn_compute(const struct budget_layer *layer, uint64_t present, double objective,
                         struct budget_burn *ret);

#endif
