#include "render/family_text.h"

#include <math.h>

#include "base/num.h"
#include "render/exemplar.h"
#include "render/label.h"

#define EXACT_WHOLE 9007199254740992.0 /* 2^53: whole numbers below are exact */

void family_text_bounds(const struct family_shape *shape, struct family_bound *ret)
{
    for (uint32_t i = 0; i <= shape->bound_count; i++) {
        double bound = i < shape->bound_count ? shape->bounds[i] : (double)INFINITY;
        char *at = ret[i].text;
        *at++ = ',';
        at += family_write_bound(bound, at);
        *at++ = '}';
        *at++ = ' ';
        ret[i].len = (uint32_t)(at - ret[i].text);
    }
}

/* Counts are whole, and quicker written as what they are. */
size_t family_text_number(double number, char *out)
{
    bool whole = number >= 0 && number < EXACT_WHOLE && number == floor(number);
    size_t len = whole && !signbit(number) ? num_write_u64(out, (uint64_t)number)
                                           : num_write_double(out, number);
    out[len++] = '\n';
    return len;
}

static void append_number(double number, struct buf *out)
{
    char *at = buf_reserve(out, NUM_DOUBLE_MAX + 1);
    if (at != NULL) {
        out->len += family_text_number(number, at);
    }
}

/* name="value",name="value", with the hash's label where all series have it. */
static void render_labels(const struct family_style *style, const struct series_id *id,
                          struct buf *out)
{
    struct str name;
    struct str value;
    bool has_hash = false;
    buf_clear(out);
    for (const char *at = series_next_pair(id, NULL, &name, &value); at != NULL;
         at = series_next_pair(id, at, &name, &value)) {
        buf_puts(out, out->len > 0 ? "," : "");
        buf_str(out, name);
        buf_puts(out, "=\"");
        label_render_value(value, out);
        buf_char(out, '"');
        has_hash = has_hash || str_is(name, "constitutional_hash"); /* an info may say it itself */
    }
    if (style->hash_label.len > 0 && !has_hash) {
        buf_puts(out, out->len > 0 ? "," : "");
        buf_str(out, style->hash_label);
    }
}

/* name_end{labels}_   and the value is next. */
static void begin_line(const struct family_style *style, const char *end, const struct buf *labels,
                       struct buf *out)
{
    buf_str(out, style->shape->name);
    buf_puts(out, end);
    if (labels->len > 0) {
        buf_char(out, '{');
        buf_append(out, labels->data, labels->len);
        buf_char(out, '}');
    }
    buf_char(out, ' ');
}

static void append_exemplar(const struct exemplar_mark *mark, struct buf *out)
{
    exemplar_append(
        &(const struct exemplar_text){.trace_id = mark->trace_id,
                                      .span_id = mark->has_span_id ? mark->span_id : NULL,
                                      .value = mark->value,
                                      .wall_ns = mark->wall_ns},
        out);
}

static void render_created(const struct family_style *style, const struct series_id *id,
                           const struct buf *labels, struct buf *out)
{
    if (style->created) {
        begin_line(style, "_created", labels, out);
        exemplar_append_time(id->created_wall_ns, out);
        buf_char(out, '\n');
    }
}

/* name_bucket{labels,le="0.005"}_ */
static void begin_bucket(const struct family_style *style, const struct family_bound *bound,
                         const struct buf *labels, struct buf *out)
{
    struct str closing = {bound->text, bound->len};
    buf_str(out, style->shape->name);
    buf_puts(out, "_bucket{");
    if (labels->len > 0) {
        buf_append(out, labels->data, labels->len);
    } else {
        closing.ptr++; /* no comma after nothing */
        closing.len--;
    }
    buf_str(out, closing);
}

static void render_histogram(const struct family_style *style, const struct family_subject *subject,
                             const struct buf *labels, struct buf *out)
{
    const struct buckets *buckets = subject->value.buckets;
    const struct exemplar_set *exemplars = style->open_metrics ? buckets->exemplars : NULL;
    uint64_t seen = 0;
    for (uint32_t i = 0; i <= style->shape->bound_count; i++) {
        seen += buckets->counts[i];
        begin_bucket(style, &style->bounds[i], labels, out);
        buf_u64(out, seen);
        buf_char(out, '\n');
        if (exemplars != NULL && exemplars->marks[i].set) {
            append_exemplar(&exemplars->marks[i], out);
        }
    }
    begin_line(style, "_sum", labels, out);
    append_number(buckets->sum, out);
    begin_line(style, "_count", labels, out);
    buf_u64(out, buckets->count);
    buf_char(out, '\n');
    render_created(style, subject->id, labels, out);
}

static void render_scalar(const struct family_style *style, const struct family_subject *subject,
                          const struct buf *labels, struct buf *out, uint32_t *ret_value)
{
    static const char *const ends[] = {"_total", "", "", "_info"};
    size_t begin = out->len;
    begin_line(style, ends[style->shape->type], labels, out);
    *ret_value = (uint32_t)(out->len - begin);
    append_number(subject->value.number, out);
    if (subject->mark != NULL && subject->mark->set && style->open_metrics) {
        append_exemplar(subject->mark, out);
    }
    if (style->shape->type == FAMILY_COUNTER) {
        render_created(style, subject->id, labels, out);
    }
}

void family_text_render(const struct family_style *style, const struct family_subject *subject,
                        struct buf *scratch, struct buf *out, uint32_t *ret_value)
{
    *ret_value = 0;
    render_labels(style, subject->id, scratch);
    if (scratch->err != 0) {
        out->err = out->err == 0 ? scratch->err : out->err;
        return;
    }
    if (style->shape->type == FAMILY_HISTOGRAM) {
        render_histogram(style, subject, scratch, out);
    } else {
        render_scalar(style, subject, scratch, out, ret_value);
    }
}
