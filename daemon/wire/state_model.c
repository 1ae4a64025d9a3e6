#include <math.h>

#include "base/err.h"
#include "wire/state_part.h"

/* --- parts of a tally -------------------------------------------------------------------------- */

static int read_sum(struct piece piece, struct saved_sum *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_sum){0, 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(SUM_LOW, KIND_VARINT):
            ret->low = field.number;
            break;
        case TAG(SUM_HIGH, KIND_VARINT):
            ret->high = field.number;
            break;
        }
    }
    return err;
}

static bool is_figure(double number)
{
    return number >= 0 && isfinite(number);
}

static int read_gauge(struct piece piece, struct saved_gauge *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_gauge){.count = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(GAUGE_COUNT, KIND_VARINT):
            ret->count = field.number;
            break;
        case TAG(GAUGE_SUM, KIND_BYTES):
            err = read_sum(field.bytes, &ret->sum);
            break;
        case TAG(GAUGE_PEAK, KIND_FIXED64):
            ret->peak = state_double(&field);
            break;
        }
    }
    bool good = ret->count <= SAVED_COUNT_MAX && is_figure(ret->peak);
    return err != 0 || good ? err : ERR_FRAME;
}

/* Its buckets hold what it counts, where it has any. */
static bool adds_up(const struct saved_classic *classic)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < classic->bucket_count; i++) {
        if (!state_add(&total, classic->buckets[i])) {
            return false;
        }
    }
    return classic->count <= SAVED_COUNT_MAX && total == classic->count;
}

static int read_classic(struct piece piece, struct saved_classic *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_classic){.count = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(CLASSIC_COUNT, KIND_VARINT):
            ret->count = field.number;
            break;
        case TAG(CLASSIC_SUM, KIND_BYTES):
            err = read_sum(field.bytes, &ret->sum);
            break;
        case TAG(CLASSIC_BUCKETS, KIND_BYTES):
            err = state_counts(field.bytes, ret->buckets, SAVED_BOUNDS_MAX, &ret->bucket_count);
            break;
        }
    }
    return err;
}

static int read_full_classic(struct piece piece, struct saved_classic *ret)
{
    int err = read_classic(piece, ret);
    return err != 0 || adds_up(ret) ? err : ERR_FRAME;
}

static int read_state(struct piece piece, struct saved_extra *extra)
{
    return extra->state_count == SAVED_STATES_MAX
               ? ERR_LIMIT
               : read_sum(piece, &extra->states[extra->state_count++]);
}

static int read_extra(struct piece piece, struct saved_extra *ret)
{
    struct state_field field;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(EXTRA_QUEUE, KIND_BYTES):
            err = read_full_classic(field.bytes, &ret->queue_ms);
            break;
        case TAG(EXTRA_BATCH, KIND_BYTES):
            err = read_full_classic(field.bytes, &ret->batch_size);
            break;
        case TAG(EXTRA_EVIDENCE, KIND_VARINT):
            ret->evidence_count = field.number;
            break;
        case TAG(EXTRA_WALL, KIND_BYTES):
            err = read_sum(field.bytes, &ret->evidence_wall);
            break;
        case TAG(EXTRA_STATE, KIND_BYTES):
            err = read_state(field.bytes, ret);
            break;
        case TAG(EXTRA_FLOPS, KIND_BYTES):
            err = read_gauge(field.bytes, &ret->flops);
            break;
        case TAG(EXTRA_BYTES, KIND_BYTES):
            err = read_gauge(field.bytes, &ret->bytes_moved);
            break;
        }
    }
    return err != 0 || ret->evidence_count <= SAVED_COUNT_MAX ? err : ERR_FRAME;
}

/* --- fine histograms --------------------------------------------------------------------------- */

/* Field by field, so that a run may be of any length. */
static int read_fine(struct state_reading *reading, struct piece piece)
{
    struct saved_tally *tally = &reading->tally;
    struct state_field field;
    int64_t position = 0;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        if (field.tag == TAG(RUN_FIRST, KIND_VARINT)) {
            position = state_sint(field.number);
        }
        while (field.tag == TAG(RUN_COUNTS, KIND_BYTES) && field.bytes.at < field.bytes.end) {
            uint64_t count = 0;
            field.bytes.at = field_read_number(field.bytes.at, field.bytes.end, &count);
            if (field.bytes.at == NULL || position < 0 || position >= SAVED_BUCKETS_MAX) {
                return ERR_FRAME;
            }
            if (count > 0 && tally->fine_count == SAVED_BUCKETS_MAX) {
                return ERR_LIMIT;
            }
            if (count > 0) {
                reading->fine[tally->fine_count++] =
                    (struct saved_bucket){(uint32_t)position, count};
            }
            position++;
        }
    }
    return err;
}

/* What the fine histogram holds is what was counted: quantiles rely on it. */
static bool is_tally(const struct state_reading *reading)
{
    const struct saved_tally *tally = &reading->tally;
    uint64_t total = 0;
    bool fits = state_add(&total, tally->zero);
    for (uint32_t i = 0; fits && i < tally->fine_count; i++) {
        fits = state_add(&total, reading->fine[i].count);
    }
    return fits && total == tally->latency.count && is_figure(tally->min_ms) &&
           is_figure(tally->max_ms) && tally->min_ms <= tally->max_ms &&
           (isnan(tally->last_cpu_percent) || is_figure(tally->last_cpu_percent)) &&
           tally->errors <= SAVED_COUNT_MAX;
}

static int read_squares(struct piece bytes, struct saved_tally *tally)
{
    for (unsigned i = 0; i < SAVED_SQUARE_WORDS && bytes.at != NULL; i++) {
        bytes.at = field_read_fixed64(bytes.at, bytes.end, &tally->squares[i]);
    }
    return bytes.at == bytes.end ? 0 : ERR_FRAME;
}

static int read_tally_field(struct state_reading *reading, const struct state_field *field)
{
    struct saved_tally *tally = &reading->tally;
    switch (field->tag) {
    case TAG(TALLY_KIND, KIND_VARINT):
        tally->kind = (enum saved_kind)field->number;
        return field->number < SAVED_KIND_COUNT ? 0 : ERR_FRAME;
    case TAG(TALLY_AGE, KIND_VARINT):
        tally->age = field->number;
        return 0;
    case TAG(TALLY_ERRORS, KIND_VARINT):
        tally->errors = field->number;
        return 0;
    case TAG(TALLY_LATENCY, KIND_BYTES):
        return read_classic(field->bytes, &tally->latency);
    case TAG(TALLY_SQUARES, KIND_BYTES):
        return read_squares(field->bytes, tally);
    case TAG(TALLY_MIN, KIND_FIXED64):
        tally->min_ms = state_double(field);
        return 0;
    case TAG(TALLY_MAX, KIND_FIXED64):
        tally->max_ms = state_double(field);
        return 0;
    case TAG(TALLY_CPU, KIND_BYTES):
        return read_gauge(field->bytes, &tally->cpu_percent);
    case TAG(TALLY_MEMORY, KIND_BYTES):
        return read_gauge(field->bytes, &tally->memory_mb);
    case TAG(TALLY_LAST_CPU, KIND_FIXED64):
        tally->last_cpu_percent = state_double(field);
        return 0;
    case TAG(TALLY_ZERO, KIND_VARINT):
        tally->zero = field->number;
        return 0;
    case TAG(TALLY_FINE, KIND_BYTES):
        return read_fine(reading, field->bytes);
    case TAG(TALLY_EXTRA, KIND_BYTES):
        tally->has_extra = true;
        return read_extra(field->bytes, &tally->extra);
    default:
        return 0;
    }
}

int state_read_tally(struct state_reading *reading, struct piece piece)
{
    struct state_field field;
    int err = 0;
    reading->tally = (struct saved_tally){.last_cpu_percent = (double)NAN, .fine = reading->fine};
    while (err == 0 && state_next(&piece, &field, &err)) {
        err = read_tally_field(reading, &field);
    }
    return err != 0 || is_tally(reading) ? err : ERR_FRAME;
}

/* --- models ------------------------------------------------------------------------------------ */

int state_read_exemplar(struct piece piece, const struct saved_sink *sink)
{
    struct saved_exemplar exemplar = {.bucket = 0};
    struct state_field field;
    bool has_trace_id = false;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(MARK_BUCKET, KIND_VARINT):
            exemplar.bucket = (uint32_t)field.number;
            err = field.number < SAVED_BOUNDS_MAX ? 0 : ERR_FRAME;
            break;
        case TAG(MARK_TRACE_ID, KIND_BYTES):
            err = state_id(&field, sizeof exemplar.trace_id, exemplar.trace_id);
            has_trace_id = true;
            break;
        case TAG(MARK_SPAN_ID, KIND_BYTES):
            err = state_id(&field, sizeof exemplar.span_id, exemplar.span_id);
            exemplar.has_span_id = true;
            break;
        case TAG(MARK_VALUE, KIND_FIXED64):
            exemplar.value = state_double(&field);
            break;
        case TAG(MARK_WALL, KIND_FIXED64):
            exemplar.wall_ns = field.number;
            break;
        }
    }
    if (err == 0 && !(has_trace_id && isfinite(exemplar.value))) {
        err = ERR_FRAME;
    }
    return err != 0 || sink->exemplar == NULL ? err : sink->exemplar(sink->ctx, &exemplar);
}

static int read_label(struct piece piece, struct saved_model *model)
{
    struct state_field field;
    int err = 0;
    if (model->label_count == SAVED_LABELS_MAX) {
        return ERR_LIMIT;
    }
    struct label *label = &model->labels[model->label_count++];
    *label = (struct label){.key = {NULL, 0}};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(LABEL_KEY, KIND_BYTES):
            label->key = state_text(&field);
            break;
        case TAG(LABEL_VALUE, KIND_BYTES):
            label->value = state_text(&field);
            break;
        }
    }
    bool good = state_is_text(label->key, 1, RECORD_NAME_MAX) &&
                state_is_text(label->value, 1, RECORD_NAME_MAX);
    return err != 0 || good ? err : ERR_FRAME;
}

/* Who it is; its tallies and exemplars are passed over. */
static int read_identity(struct piece piece, struct saved_model *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_model){.resets = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(MODEL_NAME, KIND_BYTES):
            ret->name = state_text(&field);
            break;
        case TAG(MODEL_DEVICE, KIND_BYTES):
            ret->device = state_text(&field);
            break;
        case TAG(MODEL_LABEL, KIND_BYTES):
            err = read_label(field.bytes, ret);
            break;
        case TAG(MODEL_OVERFLOW, KIND_VARINT):
            ret->overflow = field.number != 0;
            break;
        case TAG(MODEL_CREATED, KIND_FIXED64):
            ret->created_wall_ns = field.number;
            break;
        case TAG(MODEL_RESETS, KIND_VARINT):
            ret->resets = (uint32_t)field.number;
            break;
        }
    }
    bool good = state_is_text(ret->name, 1, RECORD_NAME_MAX) &&
                state_is_text(ret->device, 0, RECORD_NAME_MAX);
    return err != 0 || good ? err : ERR_FRAME;
}

int state_read_model(struct state_reading *reading, struct piece piece)
{
    const struct saved_sink *sink = reading->sink;
    struct state_field field;
    int err = read_identity(piece, &reading->model);
    if (err == 0 && sink->model != NULL) {
        err = sink->model(sink->ctx, &reading->model);
    }
    while (err == 0 && state_next(&piece, &field, &err)) {
        if (field.tag == TAG(MODEL_TALLY, KIND_BYTES)) {
            err = state_read_tally(reading, field.bytes);
            err = err == 0 && !adds_up(&reading->tally.latency) ? ERR_FRAME : err;
            if (err == 0 && sink->tally != NULL) {
                err = sink->tally(sink->ctx, &reading->tally);
            }
        } else if (field.tag == TAG(MODEL_EXEMPLAR, KIND_BYTES)) {
            err = state_read_exemplar(field.bytes, sink);
        }
    }
    return err;
}

/* --- time budgets ------------------------------------------------------------------------------ */

static int read_slot(struct state_reading *reading, struct piece piece)
{
    const struct saved_sink *sink = reading->sink;
    struct saved_slot slot = {0, 0};
    struct state_field field;
    bool has_tally = false;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(SLOT_EXCEEDED, KIND_VARINT):
            slot.exceeded = field.number;
            break;
        case TAG(SLOT_AGAIN, KIND_VARINT):
            slot.again = field.number;
            break;
        case TAG(SLOT_TALLY, KIND_BYTES):
            err = state_read_tally(reading, field.bytes);
            has_tally = true;
            break;
        }
    }
    if (err == 0 && !(has_tally && slot.exceeded <= SAVED_COUNT_MAX)) {
        err = ERR_FRAME;
    }
    return err != 0 || sink->slot == NULL ? err : sink->slot(sink->ctx, &slot, &reading->tally);
}

static int read_layer_identity(struct piece piece, struct saved_layer *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_layer){.count = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(LAYER_NAME, KIND_BYTES):
            ret->name = state_text(&field);
            break;
        case TAG(LAYER_COUNT, KIND_VARINT):
            ret->count = field.number;
            break;
        case TAG(LAYER_EXCEEDED, KIND_VARINT):
            ret->exceeded = field.number;
            break;
        case TAG(LAYER_SOFT, KIND_VARINT):
            ret->soft_exceeded = field.number;
            break;
        case TAG(LAYER_LAST, KIND_FIXED64):
            ret->last_ms = state_double(&field);
            break;
        }
    }
    bool good = state_is_text(ret->name, 1, RECORD_NAME_MAX) && ret->count <= SAVED_COUNT_MAX &&
                ret->exceeded <= SAVED_COUNT_MAX && ret->soft_exceeded <= SAVED_COUNT_MAX &&
                is_figure(ret->last_ms);
    return err != 0 || good ? err : ERR_FRAME;
}

int state_read_layer(struct state_reading *reading, struct piece piece)
{
    const struct saved_sink *sink = reading->sink;
    struct saved_layer layer;
    struct state_field field;
    int err = read_layer_identity(piece, &layer);
    if (err == 0 && sink->layer != NULL) {
        err = sink->layer(sink->ctx, &layer);
    }
    while (err == 0 && state_next(&piece, &field, &err)) {
        if (field.tag == TAG(LAYER_SLOT, KIND_BYTES)) {
            err = read_slot(reading, field.bytes);
        }
    }
    return err;
}
