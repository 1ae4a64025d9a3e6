/*
 * Models and layers: their tallies are made anew from counts and sums, and put to where they were. They lie
 * beside no snapshot yet, so all of it may be written.
 */
#include <math.h>

#include "base/err.h"
#include "core/restore.h"

static exact_u128 sum_of(struct saved_sum sum)
{
    return (exact_u128)sum.high << 64 | sum.low;
}

static struct gauge_sum gauge_of(const struct saved_gauge *saved)
{
    return (struct gauge_sum){
        .sum = sum_of(saved->sum), .count = saved->count, .peak = saved->peak};
}

/* --- tallies ----------------------------------------------------------------------------------- */

/* Buckets of another number belong to other bounds: what was counted in them cannot be shown. */
static bool fits_bounds(const struct saved_classic *classic, const struct bounds *bounds)
{
    return classic->bucket_count == 0 || classic->bucket_count == bounds->count + 1;
}

static bool fits(const struct saved_tally *saved)
{
    bool fits_extra = !saved->has_extra ||
                      (fits_bounds(&saved->extra.queue_ms, &bounds_ms) &&
                       fits_bounds(&saved->extra.batch_size, &bounds_batch) &&
                       (saved->extra.state_count == 0 || saved->extra.state_count == STATE_COUNT));
    bool fits_fine = true;
    for (uint32_t i = 0; fits_fine && i < saved->fine_count; i++) {
        fits_fine = saved->fine[i].position < HIST_BUCKETS;
    }
    return fits_extra && fits_fine && fits_bounds(&saved->latency, &bounds_ms);
}

static void fill_classic(struct classic *classic, const struct saved_classic *saved)
{
    classic->count = saved->count;
    classic->sum = sum_of(saved->sum);
    memcpy(classic->bucket, saved->buckets, saved->bucket_count * sizeof *saved->buckets);
}

static int fill_extra(struct tally *tally, const struct saved_extra *saved,
                      const struct limbo *limbo)
{
    struct tally_extra *extra = tally_own_extra(tally, limbo);
    if (extra == NULL) {
        return ERR_NOMEM;
    }
    fill_classic(&extra->queue_ms, &saved->queue_ms);
    fill_classic(&extra->batch_size, &saved->batch_size);
    extra->evidence_count = saved->evidence_count;
    extra->evidence_wall = sum_of(saved->evidence_wall);
    for (uint32_t i = 0; i < saved->state_count; i++) {
        extra->state[i] = sum_of(saved->states[i]);
    }
    extra->flops = gauge_of(&saved->flops);
    extra->bytes_moved = gauge_of(&saved->bytes_moved);
    return 0;
}

static void fill_sums(struct sums *sums, const struct saved_tally *saved)
{
    _Static_assert((int)SAVED_SQUARE_WORDS == (int)EXACT_SQUARE_WORDS, "as many words");
    struct classic latency = {.count = 0};
    fill_classic(&latency, &saved->latency);
    memcpy(sums->latency_bucket, latency.bucket, sizeof sums->latency_bucket);
    memcpy(sums->latency_squares.word, saved->squares, sizeof saved->squares);
    sums->count = latency.count;
    sums->latency_sum = latency.sum;
    sums->latency_min_ms = latency.count > 0 ? saved->min_ms : (double)INFINITY;
    sums->latency_max_ms = saved->max_ms;
    sums->cpu_percent = gauge_of(&saved->cpu_percent);
    sums->memory_mb = gauge_of(&saved->memory_mb);
    sums->last_cpu_percent = saved->last_cpu_percent;
    sums->errors = saved->errors;
}

static int fill_fine(struct hist *hist, const struct saved_tally *saved, struct limbo *limbo)
{
    int err = 0;
    hist->zero = saved->zero;
    for (uint32_t i = 0; err == 0 && i < saved->fine_count; i++) {
        err = hist_add_weighted(hist, limbo, (int)saved->fine[i].position, saved->fine[i].count);
    }
    return err;
}

struct tally *restore_tally(struct restore *restore, const struct saved_tally *saved,
                            bool *ret_fits)
{
    struct limbo *limbo = &restore->options.intake->registry->limbo;
    *ret_fits = fits(saved);
    struct tally *tally = *ret_fits ? tally_new(limbo, restore_slot(restore, saved->age)) : NULL;
    if (tally == NULL) {
        return NULL;
    }
    fill_sums(&tally->sums, saved);
    int err = fill_fine(&tally->latency, saved, limbo);
    if (err == 0 && saved->has_extra) {
        err = fill_extra(tally, &saved->extra, limbo);
    }
    if (err != 0) {
        tally_retire(tally, limbo);
        return NULL;
    }
    return tally;
}

/* --- models ------------------------------------------------------------------------------------ */

static bool is_kept(const struct registry_options *options, struct str key)
{
    for (uint32_t i = 0; i < options->label_key_count; i++) {
        if (str_equal(options->label_keys[i], key)) {
            return true;
        }
    }
    return false;
}

/* The sample that such a model would have come from. False when it has labels that are not kept. */
static bool make_sample(const struct registry_options *options, const struct saved_model *saved,
                        struct sample *ret)
{
    *ret = (struct sample){.model_name = saved->name, .device = saved->device};
    ret->has = saved->device.len > 0 ? 1u << SAMPLE_DEVICE : 0;
    for (uint32_t i = 0; i < saved->label_count; i++) {
        if (ret->label_count == RECORD_LABELS_MAX || !is_kept(options, saved->labels[i].key)) {
            return false;
        }
        ret->labels[ret->label_count++] = saved->labels[i];
    }
    return true;
}

int restore_take_model(void *ctx, const struct saved_model *saved)
{
    struct restore *restore = ctx;
    struct registry *registry = restore->options.intake->registry;
    struct sample sample;
    uint32_t number;
    restore->model = NULL;
    restore->has_series = false;
    int err = make_sample(&registry->options, saved, &sample)
                  ? registry_adopt(registry, &sample, saved->overflow, &number)
                  : ERR_LABELS;
    if (err != 0) {
        restore->report.left_out++;
        return err == ERR_NOMEM ? err : 0;
    }
    restore->model = registry->models[number];
    restore->model->resets = saved->resets;
    /* The registry made it for this model; nobody else has seen it. */
    ((struct model_id *)(uintptr_t)restore->model->id)->created_wall_ns = saved->created_wall_ns;
    restore->report.models++;
    return 0;
}

static void replace(struct tally **place, struct tally *tally, struct limbo *limbo)
{
    tally_retire(*place, limbo);
    *place = tally;
}

/* A tally more than a model has room for now: the oldest leaves the window. */
static int close_tally(struct restore *restore, struct tally *tally)
{
    struct registry *registry = restore->options.intake->registry;
    struct model *model = restore->model;
    if (model->closed_count == registry->closed_max) {
        struct tally *oldest = model->closed[0];
        uint64_t samples = oldest->sums.count;
        if (model->base == NULL) {
            model->base = oldest;
        } else {
            if (tally_merge(model->base, oldest, &registry->limbo) != 0) {
                tally_retire(tally, &registry->limbo);
                return ERR_NOMEM;
            }
            tally_retire(oldest, &registry->limbo);
        }
        model->closed_samples -= samples;
        model->closed_count--;
        memmove(model->closed, model->closed + 1, model->closed_count * sizeof *model->closed);
    }
    model->closed[model->closed_count++] = tally;
    model->closed_samples += tally->sums.count;
    return 0;
}

int restore_take_tally(void *ctx, const struct saved_tally *saved)
{
    struct restore *restore = ctx;
    struct limbo *limbo = &restore->options.intake->registry->limbo;
    bool is_fit;
    if (restore->model == NULL) {
        return 0;
    }
    struct tally *tally = restore_tally(restore, saved, &is_fit);
    if (tally == NULL) {
        restore->report.left_out += !is_fit;
        return is_fit ? ERR_NOMEM : 0;
    }
    switch (saved->kind) {
    case SAVED_PAST:
        replace(&restore->model->past, tally, limbo);
        return 0;
    case SAVED_BASE:
        replace(&restore->model->base, tally, limbo);
        return 0;
    case SAVED_CURRENT:
        replace(&restore->model->current, tally, limbo);
        return 0;
    case SAVED_CLOSED:
    case SAVED_KIND_COUNT:
        break;
    }
    return close_tally(restore, tally);
}

/* --- time budgets ------------------------------------------------------------------------------ */

int restore_take_layer(void *ctx, const struct saved_layer *saved)
{
    struct restore *restore = ctx;
    struct budgets *budgets = restore->options.intake->budgets;
    uint32_t number;
    restore->layer = NULL;
    int err = budgets_adopt(budgets, saved->name, &number);
    if (err != 0 || !str_equal(budgets->layers[number]->limit->layer, saved->name)) {
        restore->report.left_out++;
        return err == ERR_NOMEM ? err : 0;
    }
    struct budget_layer *layer = budgets->layers[number];
    layer->count = saved->count;
    layer->exceeded = saved->exceeded;
    layer->soft_exceeded = saved->soft_exceeded;
    layer->last_ms = saved->last_ms;
    if (number < budgets->configured) { /* the counters on /metrics are told the same */
        budgets->told[number].count = saved->count;
        budgets->told[number].exceeded = saved->exceeded;
        budgets->told[number].soft_exceeded = saved->soft_exceeded;
    }
    restore->layer = layer;
    restore->report.layers++;
    return 0;
}

int restore_take_slot(void *ctx, const struct saved_slot *saved, const struct saved_tally *counted)
{
    struct restore *restore = ctx;
    struct registry *registry = restore->options.intake->registry;
    uint64_t number = restore_slot(restore, counted->age);
    bool is_fit;
    if (restore->layer == NULL || !window_holds(number, registry->slot)) {
        return 0;
    }
    struct tally *tally = restore_tally(restore, counted, &is_fit);
    if (tally == NULL) {
        restore->report.left_out += !is_fit;
        return is_fit ? ERR_NOMEM : 0;
    }
    uint64_t count = tally->sums.count;
    struct budget_slot *slot = &restore->layer->slots[number % WINDOW_SLOTS];
    tally_retire(slot->tally, &registry->limbo);
    *slot = (struct budget_slot){.tally = tally,
                                 .exceeded = saved->exceeded < count ? saved->exceeded : count,
                                 .again = saved->again < count ? saved->again : count};
    return 0;
}
