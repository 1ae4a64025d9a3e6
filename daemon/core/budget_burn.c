#include "core/budget_burn.h"

#include <math.h>

#include "core/budgets.h"

/* With one slot, the short stretch would be of nothing each time that a slot begins. */
static const uint64_t stretch_slots[] = {[BURN_LONG] = WINDOW_SLOTS, [BURN_SHORT] = 2};
_Static_assert(sizeof stretch_slots / sizeof stretch_slots[0] == BURN_STRETCHES, "one each");

/* What an objective leaves: of 0.99 this is 0.01, while 1 - 0.99 is 0.010000000000000009. */
static double share_left(double objective)
{
    const double steps = 1e9;
    return round((1 - objective) * steps) / steps;
}

static double rate_over(const struct budget_layer *layer, uint64_t present, uint64_t slots,
                        double objective)
{
    uint64_t count = 0;
    uint64_t exceeded = 0;
    for (unsigned i = 0; i < WINDOW_SLOTS; i++) {
        const struct budget_slot *slot = &layer->slots[i];
        if (slot->tally != NULL && slot->tally->slot + slots > present) {
            count += slot->tally->sums.count - slot->again;
            exceeded += slot->exceeded;
        }
    }
    return count == 0 ? (double)NAN : (double)exceeded / (double)count / share_left(objective);
}

void budget_burn_compute(const struct budget_layer *layer, uint64_t present, double objective,
                         struct budget_burn *ret)
{
    bool has_budget = isfinite(layer->limit->budget_ms);
    for (unsigned i = 0; i < BURN_STRETCHES; i++) {
        ret->rate[i] =
            has_budget ? rate_over(layer, present, stretch_slots[i], objective) : (double)NAN;
    }
}
