#include "render/otlp_form.h"

#include <endian.h>
#include <math.h>

#include "base/err.h"
#include "base/message.h"
#include "render/otlp_attribute.h"
#include "render/otlp_name.h"

/* Field numbers of proto/otlp.proto. */
enum { SCOPE_METRIC = 2 };
enum { METRIC_NAME = 1, METRIC_DESCRIPTION = 2, METRIC_UNIT = 3 };
enum kind { KIND_GAUGE = 5, KIND_SUM = 7, KIND_HISTOGRAM = 9, KIND_EXPONENTIAL = 10 };
enum { DATA_POINT = 1, DATA_TEMPORALITY = 2, SUM_MONOTONIC = 3 };
enum { TEMPORALITY_DELTA = 1, TEMPORALITY_CUMULATIVE = 2 };
enum {
    POINT_START = 2,
    POINT_TIME = 3,
    POINT_COUNT = 4,
    POINT_SUM = 5
}; /* the last two of histograms */
enum { NUMBER_DOUBLE = 4, NUMBER_EXEMPLAR = 5, NUMBER_FLAGS = 8 };
enum { FLAG_NO_VALUE = 1 };
enum {
    HISTOGRAM_COUNTS = 6,
    HISTOGRAM_BOUNDS = 7,
    HISTOGRAM_EXEMPLAR = 8,
    HISTOGRAM_ATTRIBUTE = 9,
};
enum {
    EXPONENTIAL_ATTRIBUTE = 1,
    EXPONENTIAL_SCALE = 6,
    EXPONENTIAL_ZERO = 7,
    EXPONENTIAL_POSITIVE = 8,
    EXPONENTIAL_NEGATIVE = 9,
    EXPONENTIAL_EXEMPLAR = 11,
    EXPONENTIAL_ZERO_THRESHOLD = 14,
};
enum { SIDE_OFFSET = 1, SIDE_COUNTS = 2 };
enum { EXEMPLAR_TIME = 2, EXEMPLAR_DOUBLE = 3, EXEMPLAR_SPAN = 4, EXEMPLAR_TRACE = 5 };

/* --- metrics ----------------------------------------------------------------------------------- */

static struct otlp_form *self(const struct form *form)
{
    return (struct otlp_form *)(uintptr_t)form; /* ours, and not constant */
}

static bool is_exponential(const struct otlp_form *form, const struct family_shape *shape)
{
    return shape->type == FAMILY_HISTOGRAM && shape->native &&
           (form->exponential || shape->bound_count == 0);
}

static enum kind kind_of(const struct otlp_form *form, const struct family_shape *shape)
{
    static const enum kind kinds[] = {KIND_SUM, KIND_GAUGE, KIND_HISTOGRAM, KIND_GAUGE, KIND_GAUGE};
    _Static_assert(sizeof kinds / sizeof kinds[0] == FAMILY_TYPE_COUNT, "one each");
    return is_exponential(form, shape) ? KIND_EXPONENTIAL : kinds[shape->type];
}

static bool is_delta(const struct otlp_form *form, enum family_type type)
{
    return (type == FAMILY_COUNTER && form->delta_counters) ||
           (type == FAMILY_HISTOGRAM && form->delta_histograms);
}

static void append_head(const struct otlp_form *form, const struct family_shape *shape,
                        struct buf *out)
{
    struct str unit = otlp_name_unit(shape);
    size_t name = message_begin(out, METRIC_NAME);
    otlp_name_render(shape, form->prefix, out);
    message_end(out, name);
    message_str(out, METRIC_DESCRIPTION, form_help(shape));
    if (unit.len > 0) {
        message_str(out, METRIC_UNIT, unit);
    }
}

/* What stands in front of the points; they come last so that they can be added to. */
static void append_data_head(const struct otlp_form *form, const struct family_shape *shape,
                             struct buf *out)
{
    bool counts = shape->type == FAMILY_COUNTER;
    if (counts || shape->type == FAMILY_HISTOGRAM) {
        message_u64(out, DATA_TEMPORALITY,
                    is_delta(form, shape->type) ? TEMPORALITY_DELTA : TEMPORALITY_CUMULATIVE);
    }
    if (counts) {
        message_u64(out, SUM_MONOTONIC, true);
    }
}

void otlp_form_open(struct otlp_form *form, const struct family_shape *shape, struct buf *out)
{
    form->metric_at = out->len;
    form->metric_points = form->points;
    form->metric = message_begin_long(out, SCOPE_METRIC);
    append_head(form, shape, out);
    form->data = message_begin_long(out, (unsigned)kind_of(form, shape));
    append_data_head(form, shape, out);
}

void otlp_form_close(struct otlp_form *form, struct buf *out)
{
    if (form->points == form->metric_points && out->err == 0) {
        out->len = form->metric_at;
    } else {
        message_end_long(out, form->data);
        message_end_long(out, form->metric);
    }
}

/* Of the daemon's own families, which come one after the other: each is a set of its own. */
static void render_head(const struct form *form, const struct family_shape *shape, struct buf *out)
{
    struct otlp_form *own = self(form);
    own->series.set++;
    own->series.place = 0;
    append_head(own, shape, out);
}

/* The same metric as otlp_form_open begins, of points whose length is known. */
static void begin_family(const struct form *form, const struct family_shape *shape, struct str head,
                         size_t len, struct buf *out)
{
    const struct otlp_form *own = self(form);
    if (len == 0) {
        return;
    }
    size_t metric = message_begin_long(out, SCOPE_METRIC);
    buf_str(out, head);
    size_t data = message_begin_long(out, (unsigned)kind_of(own, shape));
    append_data_head(own, shape, out);
    message_set_long(out, data, out->len - data + len);
    message_set_long(out, metric, out->len - metric + len);
}

static void append_label(const char *name, struct str value, struct buf *labels)
{
    otlp_attribute_text(labels, OTLP_LABEL, str_of(name), value);
}

/* --- what all points have ---------------------------------------------------------------------- */

/* A clock that was set back makes no point that ends before it begins. */
static void append_times(const struct otlp_form *form, uint64_t start_ns, struct buf *out)
{
    if (start_ns != 0) {
        message_fixed64(out, POINT_START, start_ns < form->wall_ns ? start_ns : form->wall_ns);
    }
    message_fixed64(out, POINT_TIME, form->wall_ns);
}

/* An exemplar, unless it was told before. */
static void append_exemplar(unsigned field, const struct exemplar_mark *mark, uint64_t told_ns,
                            struct buf *out)
{
    if (!mark->set || mark->wall_ns <= told_ns) {
        return;
    }
    size_t exemplar = message_begin(out, field);
    message_fixed64(out, EXEMPLAR_TIME, mark->wall_ns);
    message_double(out, EXEMPLAR_DOUBLE, mark->value);
    if (mark->has_span_id) {
        message_str(out, EXEMPLAR_SPAN,
                    (struct str){(const char *)mark->span_id, sizeof mark->span_id});
    }
    message_str(out, EXEMPLAR_TRACE,
                (struct str){(const char *)mark->trace_id, sizeof mark->trace_id});
    message_end(out, exemplar);
}

/* What was told of the series at hand, or NULL; the next point is of the next place. */
static const struct otlp_cell *find_told(struct otlp_form *form, struct otlp_series *ret_series)
{
    *ret_series = form->series;
    form->series.place++;
    return otlp_delta_find(&form->delta, ret_series);
}

bool otlp_form_is_told(const struct otlp_form *form, enum family_type type, double number,
                       uint64_t count)
{
    if (!is_delta(form, type)) {
        return false;
    }
    const struct otlp_cell *cell = otlp_delta_find(&form->delta, &form->series);
    if (type == FAMILY_COUNTER) {
        return number == (cell == NULL ? 0 : cell->number);
    }
    return count == (cell == NULL ? 0 : cell->state->count);
}

static void change(struct otlp_form *form, const struct otlp_series *series, double number,
                   struct otlp_state *state, struct buf *out)
{
    struct otlp_cell cell = {
        .serial = series->serial, .wall_ns = form->wall_ns, .number = number, .state = state};
    int err = otlp_delta_change(&form->delta, series, &cell, &form->changes);
    out->err = out->err == 0 ? err : out->err;
}

/* --- scalars ----------------------------------------------------------------------------------- */

struct number {
    double value;
    uint64_t start_ns;
    uint64_t told_ns; /* exemplars up to then were told */
};

static void append_number(const struct otlp_form *form, const struct number *number,
                          struct str labels, const struct form_scalar *scalar, struct buf *out)
{
    size_t point = message_begin(out, DATA_POINT);
    append_times(form, number->start_ns, out);
    if (isnan(number->value)) {
        message_u64(out, NUMBER_FLAGS, FLAG_NO_VALUE);
    } else {
        message_double(out, NUMBER_DOUBLE, number->value);
    }
    if (scalar->mark != NULL) {
        append_exemplar(NUMBER_EXEMPLAR, scalar->mark, number->told_ns, out);
    }
    buf_str(out, labels);
    if (scalar->more != NULL) {
        otlp_attribute_text(out, OTLP_LABEL, scalar->more->key, scalar->more->value);
    }
    buf_str(out, form->hash);
    message_end(out, point);
}

static uint32_t render_scalar(const struct form *form, const struct family_shape *shape,
                              struct str labels, const struct form_scalar *scalar, struct buf *out)
{
    struct otlp_form *own = self(form);
    struct otlp_series series;
    bool counts = shape->type == FAMILY_COUNTER;
    const struct otlp_cell *told = find_told(own, &series);
    struct number number = {.value = scalar->number, .start_ns = counts ? own->created_wall_ns : 0};
    if (is_delta(own, shape->type)) {
        double before = told == NULL ? 0 : told->number;
        if (scalar->number == before) {
            return 0;
        }
        number.value -= before;
        number.told_ns = told == NULL ? 0 : told->wall_ns;
        number.start_ns = told == NULL ? number.start_ns : told->wall_ns;
        change(own, &series, scalar->number, NULL, out);
    }
    append_number(own, &number, labels, scalar, out);
    own->points++;
    return 0; /* nobody exchanges numbers here */
}

static size_t write_number(double number, char out[FORM_NUMBER_MAX])
{
    message_write_double(out, number);
    return MESSAGE_DOUBLE_BYTES;
}

/* --- histograms -------------------------------------------------------------------------------- */

static void append_u64s(unsigned field, const uint64_t *numbers, uint32_t count, struct buf *out)
{
    size_t packed = message_begin(out, field);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bits = htole64(numbers[i]);
        buf_append(out, &bits, sizeof bits);
    }
    message_end(out, packed);
}

static void append_bounds(const struct form_bound *bounds, uint32_t count, struct buf *out)
{
    size_t packed = message_begin(out, HISTOGRAM_BOUNDS);
    for (uint32_t i = 0; i < count; i++) {
        char bytes[MESSAGE_DOUBLE_BYTES];
        message_write_double(bytes, bounds[i].bound);
        buf_append(out, bytes, sizeof bytes);
    }
    message_end(out, packed);
}

static void append_side(unsigned field, const struct otlp_side *side, struct buf *out)
{
    if (side->len == 0) {
        return;
    }
    size_t buckets = message_begin(out, field);
    message_sint(out, SIDE_OFFSET, side->offset);
    size_t packed = message_begin(out, SIDE_COUNTS);
    for (uint32_t i = 0; i < side->len; i++) {
        message_varint(out, side->counts[i]);
    }
    message_end(out, packed);
    message_end(out, buckets);
}

static void append_buckets(const struct otlp_histogram *work, struct buf *out)
{
    if (!work->exponential) {
        append_u64s(HISTOGRAM_COUNTS, work->classic, work->bound_count + 1, out);
        append_bounds(work->bounds, work->bound_count, out);
        return;
    }
    message_sint(out, EXPONENTIAL_SCALE, work->scale);
    message_fixed64(out, EXPONENTIAL_ZERO, work->zero);
    message_double(out, EXPONENTIAL_ZERO_THRESHOLD, work->zero_threshold);
    append_side(EXPONENTIAL_POSITIVE, &work->positive, out);
    append_side(EXPONENTIAL_NEGATIVE, &work->negative, out);
}

static void append_histogram(const struct otlp_form *form, const struct number *number,
                             struct str labels, const struct form_histogram *histogram,
                             struct buf *out)
{
    const struct otlp_histogram *work = &form->work;
    unsigned exemplar = work->exponential ? EXPONENTIAL_EXEMPLAR : HISTOGRAM_EXEMPLAR;
    unsigned attribute = work->exponential ? EXPONENTIAL_ATTRIBUTE : HISTOGRAM_ATTRIBUTE;
    size_t point = message_begin(out, DATA_POINT);
    append_times(form, number->start_ns, out);
    message_fixed64(out, POINT_COUNT, work->count);
    if (work->has_sum) {
        message_double(out, POINT_SUM, work->sum);
    }
    append_buckets(work, out);
    for (uint32_t i = 0; histogram->marks != NULL && i <= histogram->bound_count; i++) {
        append_exemplar(exemplar, &histogram->marks[i], number->told_ns, out);
    }
    otlp_attribute_copy(out, attribute, labels);
    otlp_attribute_copy(out, attribute, form->hash);
    message_end(out, point);
}

static void render_histogram(const struct form *form, const struct family_shape *shape,
                             struct str labels, const struct form_histogram *histogram,
                             struct buf *out)
{
    struct otlp_form *own = self(form);
    struct otlp_series series;
    const struct otlp_cell *told = find_told(own, &series);
    struct number number = {.start_ns = own->created_wall_ns};
    bool delta = is_delta(own, FAMILY_HISTOGRAM);
    if (delta && histogram->count == (told == NULL ? 0 : told->state->count)) {
        return;
    }
    otlp_histogram_make(histogram, is_exponential(own, shape), &own->work);
    if (delta) {
        struct otlp_state *state = otlp_histogram_keep(&own->work);
        if (state == NULL) {
            out->err = out->err == 0 ? ERR_NOMEM : out->err;
            return;
        }
        if (told != NULL) {
            number.told_ns = told->wall_ns;
            number.start_ns = told->wall_ns;
            otlp_histogram_subtract(&own->work, told->state);
        }
        change(own, &series, 0, state, out);
    }
    append_histogram(own, &number, labels, histogram, out);
    own->points++;
}

void otlp_form_init(struct otlp_form *form)
{
    *form = (struct otlp_form){.form = {.exemplars = true,
                                        .created = FORM_CREATED_NEVER,
                                        .end = "",
                                        .head = render_head,
                                        .begin = begin_family,
                                        .label = append_label,
                                        .scalar = render_scalar,
                                        .number = write_number,
                                        .histogram = render_histogram}};
}

void otlp_form_fini(struct otlp_form *form)
{
    otlp_delta_abort(&form->changes);
    otlp_delta_fini(&form->delta);
}
