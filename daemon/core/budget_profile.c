#include "core/budget_profile.h"

#include <math.h>

static bool is_in_window(const struct snapshot *snapshot, const struct budget_slot *slot)
{
    return slot->tally != NULL && window_holds(slot->tally->slot, snapshot->slot);
}

static double spent_ms(const struct snapshot *snapshot, const struct budget_layer *layer)
{
    exact_u128 sum = 0;
    for (unsigned i = 0; i < WINDOW_SLOTS; i++) {
        const struct budget_slot *slot = &layer->slots[i];
        sum += is_in_window(snapshot, slot) ? slot->tally->sums.latency_sum : 0;
    }
    return exact_sum(sum, EXACT_STEPS_PER_MS);
}

double budget_profile_total_ms(const struct snapshot *snapshot)
{
    const struct budgets_view *view = &snapshot->budgets;
    double all = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        double spent = spent_ms(snapshot, view->layers[i]);
        if (i == BUDGETS_TOTAL_NUMBER && spent > 0) {
            return spent;
        }
        all += spent;
    }
    return all;
}

void budget_profile_compute(const struct snapshot *snapshot, const struct budget_layer *layer,
                            double total_ms, struct profile_scratch *scratch,
                            struct budget_profile *ret)
{
    const struct tally *tallies[WINDOW_SLOTS];
    uint32_t count = 0;
    *ret = (struct budget_profile){.spent_ms = spent_ms(snapshot, layer)};
    for (unsigned i = 0; i < WINDOW_SLOTS; i++) {
        const struct budget_slot *slot = &layer->slots[i];
        if (is_in_window(snapshot, slot)) {
            tallies[count++] = slot->tally;
            ret->count += slot->tally->sums.count - slot->again;
            ret->exceeded += slot->exceeded;
        }
    }
    budget_burn_compute(layer, snapshot->slot, snapshot->budgets.objective, &ret->burn);
    (void)profile_tally_quantiles(tallies, count, scratch, ret->quantile_ms); /* NaN says it too */
    ret->share_of_total = ret->count > 0 && total_ms > 0 ? ret->spent_ms / total_ms : (double)NAN;
}

double budget_remaining_ms(const struct budget_limit *limit, double elapsed_ms)
{
    return elapsed_ms < limit->budget_ms ? limit->budget_ms - elapsed_ms : 0;
}
