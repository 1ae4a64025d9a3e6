#include "core/profile.h"

#include <assert.h>
#include <math.h>

#include "base/clock.h"

const uint32_t quantile_per_mille[] = {500, 900, 950, 990, 999};
_Static_assert(sizeof quantile_per_mille / sizeof quantile_per_mille[0] == QUANTILE_COUNT, "each");

/* The tallies that a span is made of. */
struct parts {
    const struct tally *tally[REGISTRY_PARTS_MAX];
    uint32_t count;
};

static void add_part(struct parts *parts, const struct tally *tally)
{
    if (tally != NULL && tally->sums.count > 0) {
        parts->tally[parts->count++] = tally;
    }
}

static struct parts window_parts(const struct snapshot *snapshot, const struct model *model)
{
    struct parts parts = {.count = 0};
    for (uint32_t i = 0; i < model->closed_count; i++) {
        if (registry_in_window(model->closed[i], snapshot->slot)) {
            add_part(&parts, model->closed[i]);
        }
    }
    if (registry_in_window(model->current, snapshot->slot)) {
        add_part(&parts, model->current);
    }
    return parts;
}

static struct parts all_parts(const struct model *model)
{
    struct parts parts = {.count = 0};
    add_part(&parts, model->base);
    for (uint32_t i = 0; i < model->closed_count; i++) {
        add_part(&parts, model->closed[i]);
    }
    add_part(&parts, model->current);
    return parts;
}

/* Middle of a bucket in relative terms: the harmonic mean of its ends. */
static double bucket_figure(int position)
{
    double low = hist_lower_bound(position);
    double high = hist_lower_bound(position + 1);
    return 2 * low * high / (low + high);
}

void profile_quantiles(const uint64_t counts[HIST_BUCKETS], int first, int end, uint64_t zero,
                       uint64_t total, double ret_seconds[QUANTILE_COUNT])
{
    unsigned q = 0;
    uint64_t seen = zero;
    int position = first - 1; /* the zero bucket comes before the first */
    while (q < QUANTILE_COUNT) {
        exact_u128 scaled = (exact_u128)total * quantile_per_mille[q];
        uint64_t rank = (uint64_t)((scaled + 999) / 1000);
        while (seen < rank && position + 1 < end) {
            seen += counts[++position];
        }
        ret_seconds[q++] = position < first ? 0 : bucket_figure(position);
    }
}

static void part_range(const struct parts *parts, int *ret_first, int *ret_end)
{
    int first = HIST_BUCKETS;
    int end = 0;
    for (uint32_t i = 0; i < parts->count; i++) {
        int part_end;
        int part_first = hist_range(&parts->tally[i]->latency, &part_end);
        first = part_first < first ? part_first : first;
        end = part_end > end ? part_end : end;
    }
    *ret_first = first < end ? first : 0;
    *ret_end = end;
}

static double within(double figure, double low, double high)
{
    return figure < low ? low : figure > high ? high : figure;
}

/* Adds up the histograms. Returns how many values counted as zero. */
static uint64_t add_up(const struct parts *parts, struct profile_scratch *scratch, int *ret_first,
                       int *ret_end)
{
    uint64_t zero = 0;
    part_range(parts, ret_first, ret_end);
    for (uint32_t i = 0; i < parts->count; i++) {
        hist_sum_into(&parts->tally[i]->latency, scratch->counts);
        zero += parts->tally[i]->latency.zero;
    }
    return zero;
}

void profile_clear(struct profile_scratch *scratch, int first, int end)
{
    memset(scratch->counts + first, 0, (size_t)(end - first) * sizeof scratch->counts[0]);
}

static void quantiles_of(const struct parts *parts, struct profile_scratch *scratch, double min_ms,
                         double max_ms, uint64_t total, double ret_ms[QUANTILE_COUNT])
{
    int first;
    int end;
    uint64_t zero = add_up(parts, scratch, &first, &end);
    profile_quantiles(scratch->counts, first, end, zero, total, ret_ms);
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        ret_ms[q] = within(ret_ms[q] * 1e3, min_ms, max_ms);
    }
    profile_clear(scratch, first, end);
}

static double mean_or_nan(const struct gauge_sum *gauge, double steps_per_unit)
{
    return gauge->count == 0 ? NAN : exact_mean(gauge->sum, gauge->count, steps_per_unit);
}

static void fill_figures(struct profile *profile, const struct sums *sums,
                         const struct tally_extra *extra)
{
    profile->count = sums->count;
    profile->errors = sums->errors;
    profile->min_ms = sums->latency_min_ms;
    profile->max_ms = sums->latency_max_ms;
    /* Steps are picoseconds: a mean of shorter figures would otherwise fall below the smallest. */
    profile->mean_ms = within(exact_mean(sums->latency_sum, sums->count, EXACT_STEPS_PER_MS),
                              profile->min_ms, profile->max_ms);
    profile->deviation_ms =
        exact_deviation(sums->latency_sum, &sums->latency_squares, sums->count, EXACT_STEPS_PER_MS);
    profile->queue_mean_ms =
        extra->queue_ms.count == 0
            ? NAN
            : exact_mean(extra->queue_ms.sum, extra->queue_ms.count, EXACT_STEPS_PER_MS);
    profile->cpu_mean = mean_or_nan(&sums->cpu_percent, EXACT_STEPS_PER_PERCENT);
    profile->cpu_peak = sums->cpu_percent.count == 0 ? NAN : sums->cpu_percent.peak;
    profile->memory_mean_mb = mean_or_nan(&sums->memory_mb, EXACT_STEPS_PER_MB);
    profile->memory_peak_mb = sums->memory_mb.count == 0 ? NAN : sums->memory_mb.peak;
    profile->evidence_count = extra->evidence_count;
    profile->evidence_wall_ms = exact_sum(extra->evidence_wall, EXACT_STEPS_PER_MS);
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        profile->state_ms[i] = exact_sum(extra->state[i], EXACT_STEPS_PER_MS);
    }
    profile->flops = mean_or_nan(&extra->flops, 1);
    profile->bytes_moved = mean_or_nan(&extra->bytes_moved, 1);
}

/* Samples of the window with evidence. */
static uint64_t window_evidence(const struct snapshot *snapshot, const struct model *model)
{
    uint64_t count = 0;
    struct parts parts = window_parts(snapshot, model);
    for (uint32_t i = 0; i < parts.count; i++) {
        const struct tally_extra *extra = parts.tally[i]->extra;
        count += extra == NULL ? 0 : extra->evidence_count;
    }
    return count;
}

/* What evidence says; whatever the span, the verdict is one. A round that was one had enough inferences,
 * few as they may be that last long; one that had not leaves the word to the window. */
static const struct opinion *find_opinion(const struct model *model, uint64_t count)
{
    if (model->opinion == NULL) {
        return NULL;
    }
    const struct opinion *opinion = &model->opinion->opinion;
    bool is_enough = opinion->rule == RULE_INSUFFICIENT ? count >= PROFILE_EVIDENCE_MIN : count > 0;
    return is_enough ? opinion : NULL;
}

/* --- of a GPU ---------------------------------------------------------------------------------- */

/* A burst just after the start is no rate yet. */
#define RATE_STRETCH_MIN_NS (10 * NS_PER_SECOND)

/* Whether the model ran before the window began. */
static bool is_older(const struct snapshot *snapshot, const struct model *model)
{
    return model->base != NULL ||
           (model->closed_count > 0 && !registry_in_window(model->closed[0], snapshot->slot));
}

/* How long the window is as far as it has come; of a younger model since its first sample, and after a
 * reset since the beginning of the part that the first one is in. */
static uint64_t covered_ns(const struct snapshot *snapshot, const struct model *model,
                           const struct parts *window)
{
    uint64_t slot_ns = snapshot->window_ns / WINDOW_SLOTS;
    uint64_t in_slot_ns = snapshot->mono_ns % slot_ns;
    if (is_older(snapshot, model)) {
        return (WINDOW_SLOTS - 1) * slot_ns + in_slot_ns;
    }
    uint64_t slots = snapshot->slot - window->tally[0]->slot; /* in order of time */
    uint64_t covered = slots * slot_ns + in_slot_ns;
    uint64_t created_ns = model->id->created_wall_ns;
    bool is_known = model->past == NULL && snapshot->wall_ns >= created_ns;
    uint64_t age_ns = is_known ? snapshot->wall_ns - created_ns : covered;
    return age_ns < covered ? age_ns : covered;
}

/* Inferences a second. NaN: there were none, or only the newest are kept and nobody knows since when. */
static double rate_of(const struct snapshot *snapshot, const struct model *model)
{
    struct parts window = window_parts(snapshot, model);
    uint64_t count = 0;
    for (uint32_t i = 0; i < window.count; i++) {
        count += window.tally[i]->sums.count;
    }
    if (count == 0 || snapshot->max_samples > 0) {
        return NAN;
    }
    uint64_t covered = covered_ns(snapshot, model, &window);
    uint64_t least =
        RATE_STRETCH_MIN_NS < snapshot->window_ns ? RATE_STRETCH_MIN_NS : snapshot->window_ns;
    covered = covered > least ? covered : least;
    return (double)count * (double)NS_PER_SECOND / (double)covered;
}

/* `opinion` may be NULL: then only what samples say of the run queue is known. */
static void ask_gpu(const struct snapshot *snapshot, const struct model *model,
                    const struct opinion *opinion, struct profile *profile)
{
    const double *state = profile->state_ms;
    double cpu_ms = state[STATE_USER] + state[STATE_SYSTEM] + state[STATE_FAULT];
    double starved = opinion != NULL ? opinion->starved
                                     : state[STATE_RUNQUEUE] / (cpu_ms + state[STATE_RUNQUEUE]);
    /* Without evidence all is 0, and the quotients are NaN. */
    struct gpu_facts facts = {.device = model->id->device,
                              .load = {.mean_ms = profile->mean_ms,
                                       .p99_ms = profile->quantile_ms[QUANTILE_99],
                                       .movable = cpu_ms / (cpu_ms + state[STATE_BLOCKED]),
                                       .cpu_ms = cpu_ms / (double)profile->evidence_count,
                                       .rate = rate_of(snapshot, model),
                                       .flops = profile->flops,
                                       .bytes_moved = profile->bytes_moved},
                              .starved = starved};
    gpu_decide(&snapshot->thresholds.gpu, &facts, &profile->verdict, &profile->gpu);
}

/* --- all of it --------------------------------------------------------------------------------- */

uint64_t profile_compute(const struct snapshot *snapshot, const struct model *model,
                         enum profile_span span, struct profile_scratch *scratch,
                         struct profile *ret_profile)
{
    struct parts parts = span == PROFILE_WINDOW ? window_parts(snapshot, model) : all_parts(model);
    if (parts.count == 0) {
        span = PROFILE_ALL;
        parts = all_parts(model);
    }
    *ret_profile = (struct profile){.id = model->id, .span = span};
    if (parts.count == 0) {
        return 0;
    }
    struct sums sums = {0};
    struct tally_extra extra = {0};
    for (uint32_t i = 0; i < parts.count; i++) {
        tally_sum_into(parts.tally[i], &sums, &extra);
    }
    fill_figures(ret_profile, &sums, &extra);
    quantiles_of(&parts, scratch, sums.latency_min_ms, sums.latency_max_ms, sums.count,
                 ret_profile->quantile_ms);
    uint64_t evidence_count = window_evidence(snapshot, model);
    const struct opinion *opinion =
        snapshot->thresholds.by_evidence ? find_opinion(model, evidence_count) : NULL;
    if (opinion != NULL) {
        classify_by_opinion(opinion, model->id->device, &ret_profile->verdict);
    } else if (snapshot->thresholds.by_evidence && evidence_count >= PROFILE_EVIDENCE_MIN) {
        classify_unjudged(evidence_count, model->id->device, &ret_profile->verdict);
    } else {
        classify(&snapshot->thresholds, &sums, model->id->device, &ret_profile->verdict);
    }
    ask_gpu(snapshot, model, opinion, ret_profile);
    return sums.count;
}

/* NaN, and false, when there is nothing in the parts. */
static bool known_quantiles(const struct parts *parts, struct profile_scratch *scratch,
                            double ret_ms[QUANTILE_COUNT])
{
    if (parts->count == 0) {
        for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
            ret_ms[q] = NAN;
        }
        return false;
    }
    uint64_t total = 0;
    double min_ms = INFINITY;
    double max_ms = 0;
    for (uint32_t i = 0; i < parts->count; i++) {
        const struct sums *sums = &parts->tally[i]->sums;
        total += sums->count;
        min_ms = fmin(min_ms, sums->latency_min_ms);
        max_ms = fmax(max_ms, sums->latency_max_ms);
    }
    quantiles_of(parts, scratch, min_ms, max_ms, total, ret_ms);
    return true;
}

bool profile_window_quantiles(const struct snapshot *snapshot, const struct model *model,
                              struct profile_scratch *scratch, double ret_ms[QUANTILE_COUNT])
{
    struct parts parts = window_parts(snapshot, model);
    return known_quantiles(&parts, scratch, ret_ms);
}

bool profile_tally_quantiles(const struct tally *const *tallies, uint32_t count,
                             struct profile_scratch *scratch, double ret_ms[QUANTILE_COUNT])
{
    struct parts parts = {.count = 0};
    assert(count <= REGISTRY_PARTS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        add_part(&parts, tallies[i]);
    }
    return known_quantiles(&parts, scratch, ret_ms);
}

static struct parts total_parts(const struct model *model)
{
    struct parts parts = all_parts(model);
    add_part(&parts, model->past);
    return parts;
}

uint64_t profile_total_latencies(const struct model *model, struct profile_scratch *scratch,
                                 int *ret_first, int *ret_end)
{
    struct parts parts = total_parts(model);
    return add_up(&parts, scratch, ret_first, ret_end);
}

void profile_totals(const struct model *model, struct sums *ret_sums, struct tally_extra *ret_extra)
{
    struct parts parts = total_parts(model);
    *ret_sums = (struct sums){0};
    *ret_extra = (struct tally_extra){0};
    for (uint32_t i = 0; i < parts.count; i++) {
        tally_sum_into(parts.tally[i], ret_sums, ret_extra);
    }
}
