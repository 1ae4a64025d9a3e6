#include "core/tally.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"

/* Microseconds of system time that a page fault stands for: the median of fault and unmap together
 * measured over twelve kernels' worth of workloads; the minimum, 1.6, undercounts. */
#define FAULT_MS 0.0026

struct bounds bounds_ms;
struct bounds bounds_batch;

const char *const time_state_names[] = {"user", "system", "fault", "runqueue", "blocked"};
_Static_assert(sizeof time_state_names / sizeof time_state_names[0] == STATE_COUNT, "one each");

static void fill_bounds(struct bounds *bounds, double to_hist)
{
    bounds->to_hist = to_hist;
    for (unsigned i = bounds->count; i <= BOUNDS_MAX; i++) {
        bounds->bound[i] = INFINITY;
    }
    unsigned below = 0;
    for (int position = HIST_ZERO; position < HIST_BUCKETS; position++) {
        while (below < bounds->count && hist_position(bounds->bound[below] * to_hist) < position) {
            below++;
        }
        bounds->first[position + 1] = (uint8_t)below;
    }
}

void tally_init_tables(void)
{
    bounds_ms = (struct bounds){.count = 9, .bound = {.1, .5, 1, 5, 10, 50, 100, 500, 1000}};
    fill_bounds(&bounds_ms, 1e-3);
    bounds_batch =
        (struct bounds){.count = 11, .bound = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}};
    fill_bounds(&bounds_batch, 1);
}

struct tally *tally_new(const struct limbo *limbo, uint64_t slot)
{
    struct tally *tally = mem_alloc_lines(sizeof *tally);
    if (tally != NULL) {
        *tally = (struct tally){.block.epoch = limbo->epoch};
        tally->slot = slot;
        tally->sums.latency_min_ms = INFINITY;
        tally->sums.last_cpu_percent = NAN;
    }
    return tally;
}

void tally_retire(struct tally *tally, struct limbo *limbo)
{
    if (tally != NULL) {
        hist_retire(&tally->latency, limbo);
        limbo_retire(limbo, tally->extra == NULL ? NULL : &tally->extra->block);
        limbo_retire(limbo, &tally->block);
    }
}

struct tally *tally_unshare(struct tally *tally, struct limbo *limbo)
{
    struct tally *copy = mem_alloc_lines(sizeof *copy);
    struct tally_extra *extra = NULL;
    if (tally->extra != NULL) {
        extra = mem_alloc(sizeof *extra);
    }
    if (copy == NULL || (tally->extra != NULL && extra == NULL)) {
        mem_free(extra);
        mem_free(copy);
        return NULL;
    }
    copy->block.epoch = limbo->epoch;
    copy->slot = tally->slot;
    copy->sums = tally->sums;
    hist_unshare(&tally->latency, &copy->latency);
    copy->extra = extra;
    if (extra != NULL) {
        *extra = *tally->extra;
        extra->block.epoch = limbo->epoch;
        limbo_retire(limbo, &tally->extra->block);
    }
    limbo_retire(limbo, &tally->block);
    return copy;
}

static void gauge_merge(struct gauge_sum *into, const struct gauge_sum *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->peak = from->peak > into->peak ? from->peak : into->peak;
}

static void classic_add(struct classic *classic, const struct bounds *bounds, double figure,
                        double steps_per_unit, uint64_t weight)
{
    unsigned bucket = bounds_find(bounds, figure, hist_position(figure * bounds->to_hist));
    classic->count += weight;
    classic->sum += exact_steps(figure, steps_per_unit) * weight;
    classic->bucket[bucket] += weight;
}

static void classic_merge(struct classic *into, const struct classic *from)
{
    into->count += from->count;
    into->sum += from->sum;
    for (unsigned i = 0; i <= BOUNDS_MAX; i++) {
        into->bucket[i] += from->bucket[i];
    }
}

static double at_most(double figure, double ceiling)
{
    return figure < ceiling ? figure : ceiling;
}

/*
 *   wall |--user--|--system--|--fault--|--runqueue--|------blocked------|
 *
 * CPU time of several threads can exceed wall time; then nothing is left for the other states.
 */
static void evidence_add(struct tally_extra *extra, const struct sample *sample)
{
    double wall = sample->execution_time_ms;
    double faults = (SAMPLE_HAS(sample, MINOR_FAULTS) ? sample->minor_faults : 0) +
                    (SAMPLE_HAS(sample, MAJOR_FAULTS) ? sample->major_faults : 0);
    double fault = at_most(sample->system_ms, faults * FAULT_MS);
    double idle = wall - sample->user_ms - sample->system_ms;
    idle = idle > 0 ? idle : 0;
    double runqueue = SAMPLE_HAS(sample, RUNQUEUE) ? at_most(sample->runqueue_ms, idle) : 0;
    extra->evidence_count++;
    extra->evidence_wall += exact_steps(wall, EXACT_STEPS_PER_MS);
    extra->state[STATE_USER] += exact_steps(sample->user_ms, EXACT_STEPS_PER_MS);
    extra->state[STATE_SYSTEM] += exact_steps(sample->system_ms - fault, EXACT_STEPS_PER_MS);
    extra->state[STATE_FAULT] += exact_steps(fault, EXACT_STEPS_PER_MS);
    extra->state[STATE_RUNQUEUE] += exact_steps(runqueue, EXACT_STEPS_PER_MS);
    extra->state[STATE_BLOCKED] += exact_steps(idle - runqueue, EXACT_STEPS_PER_MS);
}

#define EVIDENCE_PARTS (1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM)
static int extra_own(struct tally *tally, const struct limbo *limbo)
{
    if (tally->extra == NULL) {
        tally->extra = mem_zalloc(1, sizeof *tally->extra);
        if (tally->extra == NULL) {
            return ERR_NOMEM;
        }
        tally->extra->block.epoch = limbo->epoch;
    }
    return 0;
}

static void extra_add(struct tally_extra *extra, const struct sample *sample, uint64_t weight)
{
    if (SAMPLE_HAS(sample, QUEUE)) {
        classic_add(&extra->queue_ms, &bounds_ms, sample->queue_ms, EXACT_STEPS_PER_MS, weight);
    }
    if (SAMPLE_HAS(sample, BATCH_SIZE)) {
        classic_add(&extra->batch_size, &bounds_batch, sample->batch_size, 1, weight);
    }
    if ((sample->has & EVIDENCE_PARTS) == EVIDENCE_PARTS) {
        evidence_add(extra, sample);
    }
    if (SAMPLE_HAS(sample, FLOPS)) {
        gauge_add(&extra->flops, sample->flops, 1);
    }
    if (SAMPLE_HAS(sample, BYTES_MOVED)) {
        gauge_add(&extra->bytes_moved, sample->bytes_moved, 1);
    }
}

struct tally_extra *tally_own_extra(struct tally *tally, const struct limbo *limbo)
{
    return extra_own(tally, limbo) == 0 ? tally->extra : NULL;
}

/* Nearly all samples stand for themselves alone, and take the short ways. */
static int latency_add(struct tally *tally, struct limbo *limbo, double ms, int position,
                       uint64_t weight)
{
    int err = weight == 1 ? hist_add(&tally->latency, limbo, position)
                          : hist_add_weighted(&tally->latency, limbo, position, weight);
    if (err != 0) {
        return err;
    }
    exact_u128 steps = exact_steps(ms, EXACT_STEPS_PER_MS);
    tally->sums.latency_sum += steps * weight;
    if (weight == 1) {
        exact_square_add_wide(&tally->sums.latency_squares, steps);
    } else {
        exact_square_add_weighted(&tally->sums.latency_squares, steps, weight);
    }
    return 0;
}

int tally_add(struct tally *tally, const struct sample *sample, struct limbo *limbo)
{
    int position = tally_position(sample->execution_time_ms);
    uint64_t weight = record_weight(sample);
    bool wants_extra = (sample->has & TALLY_EXTRA_PARTS) != 0;
    if ((wants_extra && extra_own(tally, limbo) != 0) ||
        latency_add(tally, limbo, sample->execution_time_ms, position, weight) != 0) {
        return ERR_NOMEM;
    }
    struct brief brief = record_brief(sample);
    sums_add(&tally->sums, brief, bounds_find(&bounds_ms, brief.execution_time_ms, position),
             weight);
    tally->sums.errors += sample->error ? weight : 0;
    if (wants_extra) {
        extra_add(tally->extra, sample, weight);
    }
    return 0;
}

static void extra_merge(struct tally_extra *into, const struct tally_extra *from)
{
    classic_merge(&into->queue_ms, &from->queue_ms);
    classic_merge(&into->batch_size, &from->batch_size);
    into->evidence_count += from->evidence_count;
    into->evidence_wall += from->evidence_wall;
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        into->state[i] += from->state[i];
    }
    gauge_merge(&into->flops, &from->flops);
    gauge_merge(&into->bytes_moved, &from->bytes_moved);
}

static void sums_merge(struct sums *into, const struct sums *from)
{
    if (from->count > 0) {
        bool first = into->count == 0;
        if (first || from->latency_min_ms < into->latency_min_ms) {
            into->latency_min_ms = from->latency_min_ms;
        }
        if (first || from->latency_max_ms > into->latency_max_ms) {
            into->latency_max_ms = from->latency_max_ms;
        }
    }
    into->count += from->count;
    into->errors += from->errors;
    into->latency_sum += from->latency_sum;
    exact_square_merge(&into->latency_squares, &from->latency_squares);
    for (unsigned i = 0; i <= BOUNDS_MAX; i++) {
        into->latency_bucket[i] += from->latency_bucket[i];
    }
    gauge_merge(&into->cpu_percent, &from->cpu_percent);
    gauge_merge(&into->memory_mb, &from->memory_mb);
}

int tally_merge(struct tally *into, const struct tally *from, struct limbo *limbo)
{
    if ((from->extra != NULL && extra_own(into, limbo) != 0) ||
        hist_merge(&into->latency, &from->latency, limbo) != 0) {
        return ERR_NOMEM;
    }
    sums_merge(&into->sums, &from->sums);
    if (from->extra != NULL) {
        extra_merge(into->extra, from->extra);
    }
    return 0;
}

void tally_sum_into(const struct tally *tally, struct sums *sums, struct tally_extra *extra)
{
    sums_merge(sums, &tally->sums);
    if (tally->extra != NULL) {
        extra_merge(extra, tally->extra);
    }
}

size_t tally_bytes(const struct tally *tally)
{
    return sizeof *tally + (tally->extra == NULL ? 0 : sizeof *tally->extra) +
           hist_bytes(&tally->latency);
}
