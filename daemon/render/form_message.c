/*
 *     answer   length | MetricFamily | length | MetricFamily | …
 *     family   name | help | type | unit |  metric | metric | …
 *              head                         rendered, and remembered, on their own
 *     metric   tag, length | labels | counter: … | tag, 8 bytes of its value
 *
 * Fields may stand in any order; the value of a scalar is the last, so that it can be exchanged where
 * it stands (render/form).
 */
#include "render/form_message.h"

#include <math.h>

#include "base/clock.h"
#include "base/message.h"

/* Field numbers of proto/prometheus.proto. */
enum { FAMILY_NAME = 1, FAMILY_HELP = 2, FAMILY_TYPE = 3, FAMILY_METRIC = 4, FAMILY_UNIT = 5 };
enum { METRIC_LABEL = 1, METRIC_GAUGE = 2, METRIC_COUNTER = 3, METRIC_HISTOGRAM = 7 };
enum { PAIR_NAME = 1, PAIR_VALUE = 2 };
enum { SCALAR_VALUE = 1, COUNTER_EXEMPLAR = 2, COUNTER_CREATED = 3 };
enum {
    HISTOGRAM_COUNT = 1,
    HISTOGRAM_SUM = 2,
    HISTOGRAM_BUCKET = 3,
    HISTOGRAM_SCHEMA = 5,
    HISTOGRAM_ZERO_THRESHOLD = 6,
    HISTOGRAM_ZERO = 7,
    HISTOGRAM_NEGATIVE_SPAN = 9,
    HISTOGRAM_NEGATIVE_DELTA = 10,
    HISTOGRAM_POSITIVE_SPAN = 12,
    HISTOGRAM_POSITIVE_DELTA = 13,
    HISTOGRAM_CREATED = 15,
    HISTOGRAM_EXEMPLAR = 16,
};
enum { BUCKET_COUNT = 1, BUCKET_BOUND = 2, BUCKET_EXEMPLAR = 3 };
enum { SPAN_OFFSET = 1, SPAN_LENGTH = 2 };
enum { EXEMPLAR_LABEL = 1, EXEMPLAR_VALUE = 2, EXEMPLAR_TIME = 3 };
enum { TIME_SECONDS = 1, TIME_NANOS = 2 };

enum {
    GAP_MAX = 2,               /* empty buckets that are cheaper, as counts of 0, than a new span */
    NATIVE_EXEMPLARS_MAX = 10, /* of a series: what Prometheus keeps of one scrape */
};

static void append_label(const char *name, struct str value, struct buf *labels)
{
    size_t pair = message_begin(labels, METRIC_LABEL);
    message_str(labels, PAIR_NAME, str_of(name));
    message_str(labels, PAIR_VALUE, value);
    message_end(labels, pair);
}

/* --- families ---------------------------------------------------------------------------------- */

static void render_head(const struct form *form, const struct family_shape *shape, struct buf *out)
{
    enum { COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM };
    static const uint64_t types[] = {COUNTER, GAUGE, HISTOGRAM, GAUGE, GAUGE};
    _Static_assert(sizeof types / sizeof types[0] == FAMILY_TYPE_COUNT, "one each");
    (void)form;
    size_t name = message_begin(out, FAMILY_NAME);
    buf_str(out, shape->name);
    buf_str(out, form_suffix(shape->type));
    message_end(out, name);
    message_str(out, FAMILY_HELP, form_help(shape));
    message_u64(out, FAMILY_TYPE, types[shape->type]);
    if (shape->unit.len > 0) {
        message_str(out, FAMILY_UNIT, shape->unit);
    }
}

static void begin_family(const struct form *form, const struct family_shape *shape, struct str head,
                         size_t len, struct buf *out)
{
    (void)form;
    (void)shape;
    if (len > 0) {
        message_varint(out, head.len + len);
        buf_str(out, head);
    }
}

/* --- times and exemplars ----------------------------------------------------------------------- */

/* To the millisecond, as in text. */
static void append_time(unsigned field, uint64_t wall_ns, struct buf *out)
{
    size_t time = message_begin(out, field);
    message_i64(out, TIME_SECONDS, (int64_t)(wall_ns / NS_PER_SECOND));
    message_i64(out, TIME_NANOS, (int64_t)(wall_ns % NS_PER_SECOND / NS_PER_MS * NS_PER_MS));
    message_end(out, time);
}

static void append_created(unsigned field, uint64_t wall_ns, struct buf *out)
{
    if (wall_ns != 0) {
        append_time(field, wall_ns, out);
    }
}

static void append_id(const char *name, const uint8_t *bytes, size_t count, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * RECORD_TRACE_ID_BYTES];
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    size_t pair = message_begin(out, EXEMPLAR_LABEL);
    message_str(out, PAIR_NAME, str_of(name));
    message_str(out, PAIR_VALUE, (struct str){text, 2 * count});
    message_end(out, pair);
}

static void append_exemplar(unsigned field, const struct exemplar_mark *mark, struct buf *out)
{
    size_t exemplar = message_begin(out, field);
    append_id("trace_id", mark->trace_id, RECORD_TRACE_ID_BYTES, out);
    if (mark->has_span_id) {
        append_id("span_id", mark->span_id, RECORD_SPAN_ID_BYTES, out);
    }
    message_double(out, EXEMPLAR_VALUE, mark->value);
    append_time(EXEMPLAR_TIME, mark->wall_ns, out);
    message_end(out, exemplar);
}

/* The newest of `count` marks, oldest first. Returns how many. */
static unsigned find_newest(const struct exemplar_mark *marks, uint32_t count,
                            const struct exemplar_mark *ret[NATIVE_EXEMPLARS_MAX])
{
    unsigned found = 0;
    for (const struct exemplar_mark *mark = marks; mark < marks + count; mark++) {
        bool full = found == NATIVE_EXEMPLARS_MAX;
        if (!mark->set || (full && mark->wall_ns <= ret[0]->wall_ns)) {
            continue;
        }
        if (full) {
            memmove(ret, ret + 1, --found * sizeof *ret);
        }
        unsigned at = found++;
        for (; at > 0 && ret[at - 1]->wall_ns > mark->wall_ns; at--) {
            ret[at] = ret[at - 1];
        }
        ret[at] = mark;
    }
    return found;
}

/* --- samples ----------------------------------------------------------------------------------- */

static size_t begin_metric(struct str labels, const struct label *more, struct buf *out)
{
    size_t metric = message_begin(out, FAMILY_METRIC);
    buf_str(out, labels);
    if (more != NULL) {
        size_t pair = message_begin(out, METRIC_LABEL);
        message_str(out, PAIR_NAME, more->key);
        message_str(out, PAIR_VALUE, more->value);
        message_end(out, pair);
    }
    return metric;
}

static size_t write_number(double number, char out[FORM_NUMBER_MAX])
{
    message_write_double(out, number);
    return MESSAGE_DOUBLE_BYTES;
}

static uint32_t render_scalar(const struct form *form, const struct family_shape *shape,
                              struct str labels, const struct form_scalar *scalar, struct buf *out)
{
    bool counts = shape->type == FAMILY_COUNTER;
    size_t begin = out->len;
    size_t metric = begin_metric(labels, scalar->more, out);
    size_t inner = message_begin(out, counts ? METRIC_COUNTER : METRIC_GAUGE);
    (void)form;
    if (counts && scalar->mark != NULL && scalar->mark->set) {
        append_exemplar(COUNTER_EXEMPLAR, scalar->mark, out);
    }
    if (counts) {
        append_created(COUNTER_CREATED, scalar->created_wall_ns, out);
    }
    message_double(out, SCALAR_VALUE, scalar->number);
    message_end(out, inner);
    message_end(out, metric);
    return out->err != 0 ? 0 : (uint32_t)(out->len - begin - MESSAGE_DOUBLE_BYTES);
}

/* --- histograms -------------------------------------------------------------------------------- */

static void append_classic(const struct form_histogram *histogram, struct buf *out)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i <= histogram->bound_count; i++) {
        size_t bucket = message_begin(out, HISTOGRAM_BUCKET);
        seen += histogram->counts[i];
        message_u64(out, BUCKET_COUNT, seen);
        message_double(out, BUCKET_BOUND, histogram->bounds[i].bound);
        if (histogram->marks != NULL && histogram->marks[i].set) {
            append_exemplar(BUCKET_EXEMPLAR, &histogram->marks[i], out);
        }
        message_end(out, bucket);
    }
}

/* The next stretch of a run from *at on whose gaps are small; *at is then its first bucket. Returns the
 * bucket after its last, or 0 when there is no more. */
static uint32_t find_span(const struct form_run *run, uint32_t *at)
{
    while (*at < run->len && run->counts[*at] == 0) {
        ++*at;
    }
    uint32_t end = *at < run->len ? *at + 1 : 0;
    for (uint32_t i = end; end > 0 && i < run->len && i - end <= GAP_MAX; i++) {
        end = run->counts[i] > 0 ? i + 1 : end;
    }
    return end;
}

static void append_span(unsigned field, int64_t offset, uint64_t length, struct buf *out)
{
    size_t span = message_begin(out, field);
    message_sint(out, SPAN_OFFSET, offset);
    message_u64(out, SPAN_LENGTH, length);
    message_end(out, span);
}

/* Returns whether there was one. */
static bool append_spans(unsigned field, const struct form_run *run, struct buf *out)
{
    int64_t before = 0; /* where the span before ended */
    uint32_t end;
    bool any = false;
    for (uint32_t at = 0; (end = find_span(run, &at)) > 0; at = end) {
        append_span(field, run->first + (int64_t)at - before, end - at, out);
        before = run->first + (int64_t)end;
        any = true;
    }
    return any;
}

static void append_deltas(unsigned field, const struct form_run *run, struct buf *out)
{
    uint64_t before = 0;
    uint32_t end;
    for (uint32_t at = 0; (end = find_span(run, &at)) > 0; at = end) {
        for (uint32_t i = at; i < end; i++) {
            message_sint(out, field, (int64_t)(run->counts[i] - before));
            before = run->counts[i];
        }
    }
}

static void append_native(const struct form_native *native, struct buf *out)
{
    message_sint(out, HISTOGRAM_SCHEMA, native->schema);
    message_double(out, HISTOGRAM_ZERO_THRESHOLD, native->zero_threshold);
    message_u64(out, HISTOGRAM_ZERO, native->zero);
    bool negative = append_spans(HISTOGRAM_NEGATIVE_SPAN, &native->negative, out);
    append_deltas(HISTOGRAM_NEGATIVE_DELTA, &native->negative, out);
    bool positive = append_spans(HISTOGRAM_POSITIVE_SPAN, &native->positive, out);
    append_deltas(HISTOGRAM_POSITIVE_DELTA, &native->positive, out);
    if (!negative && !positive) {
        append_span(HISTOGRAM_POSITIVE_SPAN, 0, 0, out); /* says that it is native all the same */
    }
}

static void append_native_exemplars(const struct form_histogram *histogram, struct buf *out)
{
    const struct exemplar_mark *newest[NATIVE_EXEMPLARS_MAX];
    unsigned count = histogram->marks == NULL
                         ? 0
                         : find_newest(histogram->marks, histogram->bound_count + 1, newest);
    for (unsigned i = 0; i < count; i++) {
        append_exemplar(HISTOGRAM_EXEMPLAR, newest[i], out);
    }
}

static void render_histogram(const struct form *form, const struct family_shape *shape,
                             struct str labels, const struct form_histogram *histogram,
                             struct buf *out)
{
    size_t metric = begin_metric(labels, NULL, out);
    size_t inner = message_begin(out, METRIC_HISTOGRAM);
    (void)form;
    (void)shape;
    message_u64(out, HISTOGRAM_COUNT, histogram->count);
    message_double(out, HISTOGRAM_SUM, histogram->sum);
    append_classic(histogram, out);
    if (histogram->native != NULL) {
        append_native(histogram->native, out);
        append_native_exemplars(histogram, out);
    }
    append_created(HISTOGRAM_CREATED, histogram->created_wall_ns, out);
    message_end(out, inner);
    message_end(out, metric);
}

const struct form form_message = {
    .exemplars = true,
    .target = true,
    .native = true,
    .created = FORM_CREATED_FIELD,
    .end = "",
    .head = render_head,
    .begin = begin_family,
    .label = append_label,
    .scalar = render_scalar,
    .number = write_number,
    .histogram = render_histogram,
};
