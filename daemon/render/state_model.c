#include <math.h>

#include "render/state_part.h"

enum { GAP_MAX = 4 }; /* empty buckets that are cheaper, as counts of 0, than a new run */

static void append_sum(struct buf *out, unsigned field, exact_u128 sum)
{
    if (sum != 0) {
        size_t message = message_begin(out, field);
        state_u64(out, SUM_LOW, (uint64_t)sum);
        state_u64(out, SUM_HIGH, (uint64_t)(sum >> 64));
        message_end(out, message);
    }
}

static void append_gauge(struct buf *out, unsigned field, const struct gauge_sum *gauge)
{
    if (gauge->count > 0) {
        size_t message = message_begin(out, field);
        message_u64(out, GAUGE_COUNT, gauge->count);
        append_sum(out, GAUGE_SUM, gauge->sum);
        message_double(out, GAUGE_PEAK, gauge->peak);
        message_end(out, message);
    }
}

static void append_classic(struct buf *out, unsigned field, const struct classic *classic,
                           unsigned bounds)
{
    if (classic->count > 0) {
        size_t message = message_begin(out, field);
        message_u64(out, CLASSIC_COUNT, classic->count);
        append_sum(out, CLASSIC_SUM, classic->sum);
        state_packed(out, CLASSIC_BUCKETS, classic->bucket, bounds + 1);
        message_end(out, message);
    }
}

/* --- fine histograms --------------------------------------------------------------------------- */

void state_run(struct buf *out, unsigned field, int64_t first, const uint64_t *counts, size_t count)
{
    if (count > 0) {
        size_t message = message_begin(out, field);
        message_sint(out, RUN_FIRST, first);
        state_packed(out, RUN_COUNTS, counts, count);
        message_end(out, message);
    }
}

/* The next run of counts from `at`: it ends before a gap. Returns where to go on; `end` when there is no
 * more. */
static int find_run(const uint64_t *counts, int at, int end, int *ret_first, int *ret_end)
{
    while (at < end && counts[at] == 0) {
        at++;
    }
    *ret_first = at;
    *ret_end = at;
    for (; at < end && at - *ret_end <= GAP_MAX; at++) {
        *ret_end = counts[at] != 0 ? at + 1 : *ret_end;
    }
    return at;
}

static void append_fine(struct buf *out, const struct hist *hist)
{
    int end;
    int at = hist_range(hist, &end);
    uint64_t counts[HIST_CHUNK_BUCKETS];
    state_u64(out, TALLY_ZERO, hist->zero);
    for (; at < end; at += HIST_CHUNK_BUCKETS) {
        int run_first;
        int run_end;
        int within = 0;
        for (int i = 0; i < HIST_CHUNK_BUCKETS; i++) {
            counts[i] = hist_count_at(hist, at + i);
        }
        while (within < HIST_CHUNK_BUCKETS) {
            within = find_run(counts, within, HIST_CHUNK_BUCKETS, &run_first, &run_end);
            state_run(out, TALLY_FINE, at + run_first, counts + run_first,
                      (size_t)(run_end - run_first));
        }
    }
}

/* --- tallies ----------------------------------------------------------------------------------- */

static void append_latency(struct buf *out, const struct sums *sums)
{
    struct classic latency = {.count = sums->count, .sum = sums->latency_sum};
    memcpy(latency.bucket, sums->latency_bucket, sizeof latency.bucket);
    append_classic(out, TALLY_LATENCY, &latency, bounds_ms.count);
    if (sums->count > 0) {
        size_t squares = message_begin(out, TALLY_SQUARES);
        for (unsigned i = 0; i < EXACT_SQUARE_WORDS; i++) {
            uint64_t word = htole64(sums->latency_squares.word[i]);
            buf_append(out, &word, sizeof word);
        }
        message_end(out, squares);
        message_double(out, TALLY_MIN, sums->latency_min_ms);
        message_double(out, TALLY_MAX, sums->latency_max_ms);
    }
}

static void append_extra(struct buf *out, const struct tally_extra *extra)
{
    size_t message = message_begin(out, TALLY_EXTRA);
    append_classic(out, EXTRA_QUEUE, &extra->queue_ms, bounds_ms.count);
    append_classic(out, EXTRA_BATCH, &extra->batch_size, bounds_batch.count);
    state_u64(out, EXTRA_EVIDENCE, extra->evidence_count);
    append_sum(out, EXTRA_WALL, extra->evidence_wall);
    for (unsigned i = 0; i < STATE_COUNT && extra->evidence_count > 0; i++) {
        size_t state = message_begin(out, EXTRA_STATE); /* each has its place, 0 or not */
        state_u64(out, SUM_LOW, (uint64_t)extra->state[i]);
        state_u64(out, SUM_HIGH, (uint64_t)(extra->state[i] >> 64));
        message_end(out, state);
    }
    append_gauge(out, EXTRA_FLOPS, &extra->flops);
    append_gauge(out, EXTRA_BYTES, &extra->bytes_moved);
    message_end(out, message);
}

void state_tally(struct buf *out, unsigned field, enum saved_kind kind, const struct tally *tally,
                 uint64_t present)
{
    const struct sums *sums = &tally->sums;
    size_t message = message_begin(out, field);
    state_u64(out, TALLY_KIND, kind);
    uint64_t age = tally->slot < present ? present - tally->slot : 0;
    state_u64(out, TALLY_AGE, age < WINDOW_SLOTS ? age : WINDOW_SLOTS); /* it is over */
    state_u64(out, TALLY_ERRORS, sums->errors);
    append_latency(out, sums);
    append_gauge(out, TALLY_CPU, &sums->cpu_percent);
    append_gauge(out, TALLY_MEMORY, &sums->memory_mb);
    if (!isnan(sums->last_cpu_percent)) {
        message_double(out, TALLY_LAST_CPU, sums->last_cpu_percent);
    }
    append_fine(out, &tally->latency);
    if (tally->extra != NULL) {
        append_extra(out, tally->extra);
    }
    message_end(out, message);
}

/* --- models ------------------------------------------------------------------------------------ */

void state_exemplar(struct buf *out, unsigned field, uint32_t bucket,
                    const struct exemplar_mark *mark)
{
    if (mark->set) {
        size_t message = message_begin(out, field);
        state_u64(out, MARK_BUCKET, bucket);
        message_str(out, MARK_TRACE_ID,
                    (struct str){(const char *)mark->trace_id, sizeof mark->trace_id});
        if (mark->has_span_id) {
            message_str(out, MARK_SPAN_ID,
                        (struct str){(const char *)mark->span_id, sizeof mark->span_id});
        }
        message_double(out, MARK_VALUE, mark->value);
        message_fixed64(out, MARK_WALL, mark->wall_ns);
        message_end(out, message);
    }
}

static void append_exemplars(struct buf *out, const struct exemplars *exemplars)
{
    for (uint32_t i = 0; exemplars != NULL && i <= BOUNDS_MAX; i++) {
        const struct exemplar *exemplar = &exemplars->bucket[i];
        struct exemplar_mark mark = {.set = exemplar->set,
                                     .has_span_id = exemplar->has_span_id,
                                     .value = exemplar->value_ms,
                                     .wall_ns = exemplar->wall_ns};
        memcpy(mark.trace_id, exemplar->trace_id, sizeof mark.trace_id);
        memcpy(mark.span_id, exemplar->span_id, sizeof mark.span_id);
        state_exemplar(out, MODEL_EXEMPLAR, i, &mark);
    }
}

static void append_id(struct buf *out, const struct model_id *id)
{
    message_str(out, MODEL_NAME, id->name);
    state_str(out, MODEL_DEVICE, id->device);
    for (uint32_t i = 0; i < id->label_count; i++) {
        size_t label = message_begin(out, MODEL_LABEL);
        message_str(out, LABEL_KEY, id->labels[i].key);
        message_str(out, LABEL_VALUE, id->labels[i].value);
        message_end(out, label);
    }
    state_u64(out, MODEL_OVERFLOW, id->overflow);
    message_fixed64(out, MODEL_CREATED, id->created_wall_ns);
}

static void append_model(struct buf *out, const struct model *model, uint64_t present)
{
    size_t message = message_begin(out, STATE_MODEL);
    append_id(out, model->id);
    state_u64(out, MODEL_RESETS, model->resets);
    if (model->past != NULL) {
        state_tally(out, MODEL_TALLY, SAVED_PAST, model->past, present);
    }
    if (model->base != NULL) {
        state_tally(out, MODEL_TALLY, SAVED_BASE, model->base, present);
    }
    for (uint32_t i = 0; i < model->closed_count; i++) {
        state_tally(out, MODEL_TALLY, SAVED_CLOSED, model->closed[i], present);
    }
    state_tally(out, MODEL_TALLY, SAVED_CURRENT, model->current, present);
    append_exemplars(out, model->exemplars);
    message_end(out, message);
}

void state_models(struct buf *out, const struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->model_count; i++) {
        append_model(out, snapshot->models[i], snapshot->slot);
    }
}

/* --- time budgets ------------------------------------------------------------------------------ */

void state_layers(struct buf *out, const struct snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->budgets.count; i++) {
        const struct budget_layer *layer = snapshot->budgets.layers[i];
        size_t message = message_begin(out, STATE_LAYER);
        message_str(out, LAYER_NAME, layer->limit->layer);
        state_u64(out, LAYER_COUNT, layer->count);
        state_u64(out, LAYER_EXCEEDED, layer->exceeded);
        state_u64(out, LAYER_SOFT, layer->soft_exceeded);
        message_double(out, LAYER_LAST, layer->last_ms);
        for (unsigned at = 0; at < WINDOW_SLOTS; at++) {
            const struct budget_slot *slot = &layer->slots[at];
            if (slot->tally != NULL && window_holds(slot->tally->slot, snapshot->slot)) {
                size_t inner = message_begin(out, LAYER_SLOT);
                state_u64(out, SLOT_EXCEEDED, slot->exceeded);
                state_u64(out, SLOT_AGAIN, slot->again);
                state_tally(out, SLOT_TALLY, SAVED_CLOSED, slot->tally, snapshot->slot);
                message_end(out, inner);
            }
        }
        message_end(out, message);
    }
}
