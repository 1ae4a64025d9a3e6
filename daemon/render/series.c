#include "render/series.h"

#include <math.h>

#include "render/native.h"

enum { NAMES_MAX = 1 << 16 };

#define SECONDS       (EXACT_STEPS_PER_MS * 1e3) /* steps */
#define BYTES_PER_MIB 1048576.0

static const struct series_row {
    enum family_type type;
    const char *name;
    const char *help;
} rows[SERIES_COUNT] = {
#define X(code, type, name, help) [SERIES_##code] = {FAMILY_##type, name, help},
    SERIES_TABLE(X)
#undef X
};

int series_style_init(struct series_style *style, struct str name_space)
{
    size_t ends[SERIES_COUNT];
    buf_init(&style->names, NAMES_MAX);
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        buf_str(&style->names, name_space);
        buf_puts(&style->names, name_space.len > 0 ? "_" : "");
        buf_puts(&style->names, rows[i].name);
        ends[i] = style->names.len;
    }
    if (style->names.err != 0) {
        return style->names.err;
    }
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        size_t begin = i == 0 ? 0 : ends[i - 1];
        struct str name = {style->names.data + begin, ends[i] - begin};
        style->shapes[i] = form_shape(rows[i].type, name, rows[i].help);
    }
    style->shapes[SERIES_LATENCY].native = true;
    style->shapes[SERIES_LATENCY].bound_count = bounds_ms.count;
    form_bounds(bounds_ms.bound, bounds_ms.count, 1e3, style->bounds_ms);
    form_bounds(bounds_batch.bound, bounds_batch.count, 1, style->bounds_batch);
    return 0;
}

void series_style_fini(struct series_style *style)
{
    buf_fini(&style->names);
}

/* --- one sample -------------------------------------------------------------------------------- */

/* A sample with one label more, whose value is a word. */
static void worded(const struct series_pen *pen, enum series series, const char *label,
                   const char *word, double value)
{
    const struct form *form = pen->subject->form;
    struct label more = {str_of(label), str_of(word)};
    struct form_scalar scalar = {.number = value, .more = &more};
    (void)form->scalar(form, &pen->style->shapes[series], pen->subject->labels, &scalar, pen->out);
}

static void plain(const struct series_pen *pen, enum series series, double value)
{
    const struct form *form = pen->subject->form;
    struct form_scalar scalar = {.number = value};
    (void)form->scalar(form, &pen->style->shapes[series], pen->subject->labels, &scalar, pen->out);
}

static void histogram(const struct series_pen *pen, enum series series,
                      const struct form_histogram *histogram)
{
    const struct form *form = pen->subject->form;
    form->histogram(form, &pen->style->shapes[series], pen->subject->labels, histogram, pen->out);
}

/* --- families ---------------------------------------------------------------------------------- */

/* The value lies in the bucket even when it does so in milliseconds by less than the rounding of
 * seconds. */
static void copy_mark(const struct exemplar *exemplar, double above_seconds,
                      struct exemplar_mark *ret)
{
    double seconds = exemplar->value_ms / 1e3;
    *ret = (struct exemplar_mark){
        .set = exemplar->set,
        .has_span_id = exemplar->has_span_id,
        .value = seconds > above_seconds ? seconds : nextafter(above_seconds, (double)INFINITY),
        .wall_ns = exemplar->wall_ns};
    memcpy(ret->trace_id, exemplar->trace_id, sizeof ret->trace_id);
    memcpy(ret->span_id, exemplar->span_id, sizeof ret->span_id);
}

static void latency(const struct series_pen *pen)
{
    const struct form *form = pen->subject->form;
    const struct sums *totals = &pen->totals;
    const struct exemplars *exemplars = pen->subject->model->exemplars;
    struct exemplar_mark marks[BOUNDS_MAX + 1];
    bool marked = form->exemplars && exemplars != NULL;
    for (unsigned i = 0; marked && i <= bounds_ms.count; i++) {
        copy_mark(&exemplars->bucket[i], i == 0 ? -1 : bounds_ms.bound[i - 1] / 1e3, &marks[i]);
    }
    struct native native;
    struct form_histogram shown = {.bounds = pen->style->bounds_ms,
                                   .bound_count = bounds_ms.count,
                                   .counts = totals->latency_bucket,
                                   .marks = marked ? marks : NULL,
                                   .count = totals->count,
                                   .sum = exact_sum(totals->latency_sum, SECONDS)};
    if (form->native) {
        native_begin(pen->subject->model, pen->scratch, &native);
        shown.native = &native.form;
    }
    histogram(pen, SERIES_LATENCY, &shown);
    if (form->native) {
        native_end(&native, pen->scratch);
    }
}

static void quantiles(const struct series_pen *pen)
{
    static const char *const words[] = {"0.5", "0.9", "0.95", "0.99", "0.999"};
    _Static_assert(sizeof words / sizeof words[0] == QUANTILE_COUNT, "one each");
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        double seconds = pen->has_window ? pen->profile.quantile_ms[q] / 1e3 : (double)NAN;
        worded(pen, SERIES_QUANTILE, "q", words[q], seconds);
    }
}

/* Histograms that are there once a sample carried what they are of. */
static void classic(const struct series_pen *pen, enum series series, const struct bounds *bounds,
                    const struct form_bound *form_bounds, const struct classic *classic,
                    double steps_per_unit)
{
    if (classic->count > 0) {
        histogram(pen, series,
                  &(struct form_histogram){.bounds = form_bounds,
                                           .bound_count = bounds->count,
                                           .counts = classic->bucket,
                                           .count = classic->count,
                                           .sum = exact_sum(classic->sum, steps_per_unit)});
    }
}

/* Once a model has told its memory, the samples stay. */
static void memory(const struct series_pen *pen)
{
    if (pen->totals.memory_mb.count > 0) {
        const struct profile *profile = &pen->profile;
        double mean = pen->has_window ? profile->memory_mean_mb : (double)NAN;
        double peak = pen->has_window ? profile->memory_peak_mb : (double)NAN;
        worded(pen, SERIES_MEMORY, "stat", "avg", mean * BYTES_PER_MIB);
        worded(pen, SERIES_MEMORY, "stat", "peak", peak * BYTES_PER_MIB);
    }
}

static void time_by_state(const struct series_pen *pen)
{
    for (unsigned i = 0; pen->extra.evidence_count > 0 && i < STATE_COUNT; i++) {
        worded(pen, SERIES_TIME, "state", time_state_names[i],
               exact_sum(pen->extra.state[i], SECONDS));
    }
}

static void bottleneck(const struct series_pen *pen)
{
    for (unsigned i = 0; i < BOTTLENECK_COUNT; i++) {
        worded(pen, SERIES_BOTTLENECK, "bottleneck", bottleneck_names[i],
               i == pen->profile.verdict.bottleneck);
    }
}

/* Once a model has sent evidence, the samples stay. */
static void shares(const struct series_pen *pen)
{
    for (unsigned i = 0; pen->extra.evidence_count > 0 && i < SHARE_COUNT; i++) {
        worded(pen, SERIES_SHARE, "share", share_names[i], pen->profile.verdict.share[i]);
    }
}

static void gpu_decision(const struct series_pen *pen)
{
    for (unsigned i = 0; i < GPU_COUNT; i++) {
        if (gpu_decision_names[i] != NULL) {
            worded(pen, SERIES_GPU, "decision", gpu_decision_names[i],
                   i == pen->profile.verdict.gpu);
        }
    }
}

void series_render_family(const struct series_pen *pen, enum series series)
{
    const struct tally_extra *extra = &pen->extra;
    switch (series) {
    case SERIES_LATENCY:
        latency(pen);
        break;
    case SERIES_INFERENCES:
        plain(pen, series, (double)pen->totals.count);
        break;
    case SERIES_ERRORS:
        plain(pen, series, (double)pen->totals.errors);
        break;
    case SERIES_CPU:
        plain(pen, series, model_last_cpu_percent(pen->subject->model));
        break;
    case SERIES_QUANTILE:
        quantiles(pen);
        break;
    case SERIES_QUEUE:
        classic(pen, series, &bounds_ms, pen->style->bounds_ms, &extra->queue_ms, SECONDS);
        break;
    case SERIES_BATCH:
        classic(pen, series, &bounds_batch, pen->style->bounds_batch, &extra->batch_size, 1);
        break;
    case SERIES_MEMORY:
        memory(pen);
        break;
    case SERIES_TIME:
        time_by_state(pen);
        break;
    case SERIES_EVIDENCE_INFERENCES:
        if (extra->evidence_count > 0) {
            plain(pen, series, (double)extra->evidence_count);
        }
        break;
    case SERIES_EVIDENCE_SECONDS:
        if (extra->evidence_count > 0) {
            plain(pen, series, exact_sum(extra->evidence_wall, SECONDS));
        }
        break;
    case SERIES_BOTTLENECK:
        bottleneck(pen);
        break;
    case SERIES_CONFIDENCE:
        plain(pen, series, pen->profile.verdict.confidence);
        break;
    case SERIES_SHARE:
        shares(pen);
        break;
    case SERIES_GPU:
        gpu_decision(pen);
        break;
    case SERIES_SPEEDUP:
        plain(pen, series, pen->profile.verdict.max_speedup);
        break;
    case SERIES_COUNT:
        break;
    }
}

/* Before the first sample, and after a reset, nothing is known; a verdict there is nevertheless. */
static void fill_empty_verdict(const struct model *model, struct verdict *verdict)
{
    struct str device = model->id->device;
    verdict_init(verdict);
    verdict->gpu = device.len == 0 || str_is(device, "cpu") ? GPU_INSUFFICIENT : GPU_NOT_ASKED;
    verdict->max_speedup = NAN;
}

void series_prepare(const struct series_style *style, const struct series_subject *subject,
                    struct profile_scratch *scratch, struct buf *out, struct series_pen *ret)
{
    *ret = (struct series_pen){.style = style, .subject = subject, .scratch = scratch, .out = out};
    profile_totals(subject->model, &ret->totals, &ret->extra);
    uint64_t count =
        profile_compute(subject->snapshot, subject->model, PROFILE_WINDOW, scratch, &ret->profile);
    ret->has_window = count > 0 && ret->profile.span == PROFILE_WINDOW;
    if (count == 0) {
        fill_empty_verdict(subject->model, &ret->profile.verdict);
    }
}

void series_render(const struct series_style *style, const struct series_subject *subject,
                   struct profile_scratch *scratch, struct buf *out, size_t ret_ends[SERIES_COUNT])
{
    struct series_pen pen;
    series_prepare(style, subject, scratch, out, &pen);
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        series_render_family(&pen, (enum series)i);
        ret_ends[i] = out->len;
    }
}
