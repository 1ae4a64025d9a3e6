#include "render/series.h"

#include <math.h>

#include "base/num.h"
#include "render/exemplar.h"

const struct series_row series_rows[] = {
#define X(code, type, name, help) [SERIES_##code] = {FAMILY_##type, name, help},
    SERIES_TABLE(X)
#undef X
};

#define SECONDS       (EXACT_STEPS_PER_MS * 1e3) /* steps */
#define BYTES_PER_MIB 1048576.0

static void fill_bounds(struct series_bound *ret, const struct bounds *bounds, double unit)
{
    for (unsigned i = 0; i <= bounds->count; i++) {
        double bound = i < bounds->count ? bounds->bound[i] / unit : (double)INFINITY;
        char *at = ret[i].text;
        *at++ = ',';
        at += family_write_bound(bound, at);
        *at++ = '}';
        *at++ = ' ';
        ret[i].len = (size_t)(at - ret[i].text);
    }
}

void series_style_init(struct series_style *style, struct str prefix)
{
    *style = (struct series_style){.prefix = prefix};
    fill_bounds(style->bounds_ms, &bounds_ms, 1e3);
    fill_bounds(style->bounds_batch, &bounds_batch, 1);
}

/* --- one line ---------------------------------------------------------------------------------- */

/* What is being written: everything a line needs but its name, closing and value. */
struct pen {
    const struct series_style *style;
    struct str labels;
    struct buf *out;
};

static char *put(char *at, struct str text)
{
    memcpy(at, text.ptr, text.len);
    return at + text.len;
}

/* acgs2_ name{ labels ,le="0.1"}_   and where the value goes, or NULL. There is room for the value
 * and a line end, which end_line adds. */
static char *begin_line(const struct pen *pen, struct str name, struct str closing)
{
    struct str prefix = pen->style->prefix;
    size_t len = prefix.len + name.len + pen->labels.len + closing.len;
    char *at = buf_reserve(pen->out, len + NUM_DOUBLE_MAX + 1);
    if (at != NULL) {
        at = prefix.len > 0 ? put(at, prefix) : at;
        at = put(put(put(at, name), pen->labels), closing);
    }
    return at;
}

static void end_line(const struct pen *pen, char *at)
{
    *at++ = '\n';
    pen->out->len = (size_t)(at - pen->out->data);
}

static void line_u64(const struct pen *pen, struct str name, struct str closing, uint64_t value)
{
    char *at = begin_line(pen, name, closing);
    if (at != NULL) {
        end_line(pen, at + num_write_u64(at, value));
    }
}

static void line_double(const struct pen *pen, struct str name, struct str closing, double value)
{
    char *at = begin_line(pen, name, closing);
    if (at != NULL) {
        end_line(pen, at + num_write_double(at, value));
    }
}

#define PLAIN STR_LITERAL("} ")

/* --- histograms -------------------------------------------------------------------------------- */

struct histogram_names {
    struct str bucket, sum, count;
};

#define HISTOGRAM_NAMES(name)                                                                      \
    (&(const struct histogram_names){STR_LITERAL(name "_bucket{"), STR_LITERAL(name "_sum{"),      \
                                     STR_LITERAL(name "_count{")})

struct histogram {
    const struct series_bound *bounds;
    unsigned bound_count;
    const uint64_t *bucket; /* not cumulative, one more than there are bounds */
    double sum;
};

/* The value lies in the bucket even when it does so in milliseconds by less than the rounding of
 * seconds. */
static void append_exemplar(struct buf *out, const struct exemplar *exemplar, double above_seconds)
{
    double seconds = exemplar->value_ms / 1e3;
    exemplar_append(
        &(const struct exemplar_text){
            .trace_id = exemplar->trace_id,
            .span_id = exemplar->has_span_id ? exemplar->span_id : NULL,
            .value = seconds > above_seconds ? seconds : nextafter(above_seconds, INFINITY),
            .wall_ns = exemplar->wall_ns},
        out);
}

static void histogram(const struct pen *pen, const struct histogram_names *names,
                      const struct histogram *histogram, const struct exemplars *exemplars)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i <= histogram->bound_count; i++) {
        const struct series_bound *bound = &histogram->bounds[i];
        seen += histogram->bucket[i];
        line_u64(pen, names->bucket, (struct str){bound->text, bound->len}, seen);
        if (exemplars != NULL && exemplars->bucket[i].set) {
            append_exemplar(pen->out, &exemplars->bucket[i],
                            i == 0 ? -1 : bounds_ms.bound[i - 1] / 1e3);
        }
    }
    line_double(pen, names->sum, PLAIN, histogram->sum);
    line_u64(pen, names->count, PLAIN, seen);
}

static void latency(const struct pen *pen, const struct sums *sums,
                    const struct exemplars *exemplars)
{
    histogram(pen, HISTOGRAM_NAMES("model_inference_latency_seconds"),
              &(struct histogram){.bounds = pen->style->bounds_ms,
                                  .bound_count = bounds_ms.count,
                                  .bucket = sums->latency_bucket,
                                  .sum = exact_sum(sums->latency_sum, SECONDS)},
              exemplars);
}

/* --- families ---------------------------------------------------------------------------------- */

/* What all families of a model are made from. */
struct figures {
    const struct model *model;
    const struct exemplars *exemplars; /* to be shown, or NULL */
    struct sums totals;                /* since the start */
    struct tally_extra extra;
    struct profile profile; /* of the window; of what was before when that is empty */
    bool has_window;
};

static void quantiles(const struct pen *pen, const struct figures *figures)
{
    static const struct str closings[] = {
        {",q=\"0.5\"} ", 10},  {",q=\"0.9\"} ", 10},   {",q=\"0.95\"} ", 11},
        {",q=\"0.99\"} ", 11}, {",q=\"0.999\"} ", 12},
    };
    _Static_assert(sizeof closings / sizeof closings[0] == QUANTILE_COUNT, "one each");
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        double seconds = figures->has_window ? figures->profile.quantile_ms[q] / 1e3 : (double)NAN;
        line_double(pen, STR_LITERAL("model_latency_quantile_seconds{"), closings[q], seconds);
    }
}

static void queue(const struct pen *pen, const struct classic *queue_ms)
{
    if (queue_ms->count > 0) {
        histogram(pen, HISTOGRAM_NAMES("model_queue_seconds"),
                  &(struct histogram){.bounds = pen->style->bounds_ms,
                                      .bound_count = bounds_ms.count,
                                      .bucket = queue_ms->bucket,
                                      .sum = exact_sum(queue_ms->sum, SECONDS)},
                  NULL);
    }
}

static void batch(const struct pen *pen, const struct classic *batch_size)
{
    if (batch_size->count > 0) {
        histogram(pen, HISTOGRAM_NAMES("model_batch_size"),
                  &(struct histogram){.bounds = pen->style->bounds_batch,
                                      .bound_count = bounds_batch.count,
                                      .bucket = batch_size->bucket,
                                      .sum = exact_sum(batch_size->sum, 1)},
                  NULL);
    }
}

/* Once a model has told its memory, the lines stay. */
static void memory(const struct pen *pen, const struct figures *figures)
{
    if (figures->totals.memory_mb.count > 0) {
        const struct profile *profile = &figures->profile;
        double mean = figures->has_window ? profile->memory_mean_mb : (double)NAN;
        double peak = figures->has_window ? profile->memory_peak_mb : (double)NAN;
        struct str name = STR_LITERAL("model_memory_bytes{");
        line_double(pen, name, STR_LITERAL(",stat=\"avg\"} "), mean * BYTES_PER_MIB);
        line_double(pen, name, STR_LITERAL(",stat=\"peak\"} "), peak * BYTES_PER_MIB);
    }
}

/* A line with a label whose value is one of a list of words. */
static struct str word_closing(char out[FAMILY_BOUND_MAX], const char *label, const char *word)
{
    size_t label_len = strlen(label);
    size_t word_len = strlen(word);
    char *at = out;
    *at++ = ',';
    at = put(at, (struct str){label, label_len});
    at = put(at, STR_LITERAL("=\""));
    at = put(at, (struct str){word, word_len});
    at = put(at, STR_LITERAL("\"} "));
    return (struct str){out, (size_t)(at - out)};
}

static void time_by_state(const struct pen *pen, const struct tally_extra *extra)
{
    for (unsigned i = 0; extra->evidence_count > 0 && i < STATE_COUNT; i++) {
        char closing[FAMILY_BOUND_MAX];
        line_double(pen, STR_LITERAL("model_time_seconds_total{"),
                    word_closing(closing, "state", time_state_names[i]),
                    exact_sum(extra->state[i], SECONDS));
    }
}

static void bottleneck(const struct pen *pen, enum bottleneck bottleneck)
{
    for (unsigned i = 0; i < BOTTLENECK_COUNT; i++) {
        char closing[FAMILY_BOUND_MAX];
        line_u64(pen, STR_LITERAL("model_bottleneck{"),
                 word_closing(closing, "bottleneck", bottleneck_names[i]), i == bottleneck);
    }
}

static void gpu_decision(const struct pen *pen, enum gpu_decision decision)
{
    for (unsigned i = 0; i < GPU_COUNT; i++) {
        char closing[FAMILY_BOUND_MAX];
        if (gpu_decision_names[i] != NULL) {
            line_u64(pen, STR_LITERAL("model_gpu_decision{"),
                     word_closing(closing, "decision", gpu_decision_names[i]), i == decision);
        }
    }
}

static void render_family(const struct pen *pen, const struct figures *figures, enum series series)
{
    const struct model *model = figures->model;
    const struct tally_extra *extra = &figures->extra;
    switch (series) {
    case SERIES_LATENCY:
        latency(pen, &figures->totals, figures->exemplars);
        break;
    case SERIES_INFERENCES:
        line_u64(pen, STR_LITERAL("model_inference_total{"), PLAIN, figures->totals.count);
        break;
    case SERIES_ERRORS:
        line_u64(pen, STR_LITERAL("model_inference_errors_total{"), PLAIN, figures->totals.errors);
        break;
    case SERIES_CPU:
        line_double(pen, STR_LITERAL("model_cpu_percent{"), PLAIN, model_last_cpu_percent(model));
        break;
    case SERIES_QUANTILE:
        quantiles(pen, figures);
        break;
    case SERIES_QUEUE:
        queue(pen, &extra->queue_ms);
        break;
    case SERIES_BATCH:
        batch(pen, &extra->batch_size);
        break;
    case SERIES_MEMORY:
        memory(pen, figures);
        break;
    case SERIES_TIME:
        time_by_state(pen, extra);
        break;
    case SERIES_EVIDENCE_INFERENCES:
        if (extra->evidence_count > 0) {
            line_u64(pen, STR_LITERAL("model_evidence_inferences_total{"), PLAIN,
                     extra->evidence_count);
        }
        break;
    case SERIES_EVIDENCE_SECONDS:
        if (extra->evidence_count > 0) {
            line_double(pen, STR_LITERAL("model_evidence_seconds_total{"), PLAIN,
                        exact_sum(extra->evidence_wall, SECONDS));
        }
        break;
    case SERIES_BOTTLENECK:
        bottleneck(pen, figures->profile.verdict.bottleneck);
        break;
    case SERIES_CONFIDENCE:
        line_double(pen, STR_LITERAL("model_bottleneck_confidence_ratio{"), PLAIN, (double)NAN);
        break;
    case SERIES_GPU:
        gpu_decision(pen, figures->profile.verdict.gpu);
        break;
    case SERIES_COUNT:
        break;
    }
}

/* Before the first sample, and after a reset, nothing is known; a verdict there is nevertheless. */
static void fill_empty_verdict(const struct model *model, struct verdict *verdict)
{
    struct str device = model->id->device;
    verdict->bottleneck = BOTTLENECK_UNKNOWN;
    verdict->gpu = device.len == 0 || str_is(device, "cpu") ? GPU_INSUFFICIENT : GPU_NOT_ASKED;
}

void series_render(const struct series_style *style, const struct series_subject *subject,
                   struct profile_scratch *scratch, struct buf *out, size_t ret_ends[SERIES_COUNT])
{
    struct pen pen = {.style = style, .labels = subject->labels, .out = out};
    struct figures figures = {.model = subject->model,
                              .exemplars = subject->exemplars ? subject->model->exemplars : NULL};
    profile_totals(subject->model, &figures.totals, &figures.extra);
    uint64_t count = profile_compute(subject->snapshot, subject->model, PROFILE_WINDOW, scratch,
                                     &figures.profile);
    figures.has_window = count > 0 && figures.profile.span == PROFILE_WINDOW;
    if (count == 0) {
        fill_empty_verdict(subject->model, &figures.profile.verdict);
    }
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        render_family(&pen, &figures, (enum series)i);
        ret_ends[i] = out->len;
    }
}
