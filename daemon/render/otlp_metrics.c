/*
 * A request
 *   1. begin    resource and scope, then a metric, up to its first point
 *   2. put      one series of a client's family, one family of a model, or all of the daemon's own
 *   3. end      of the metric, when the family ends
 *   4. flush    the piece goes to the sink
 *
 * What does not fit is taken out again, the piece is flushed, and it is the first of the next one, which
 * begins with the same family's metric. Lengths of what is nested have a fixed size, so the length of
 * the buffer is at any time that of the request.
 *
 * What can fail: memory, or the sink; the piece at hand is then dropped, and what it told counts as not
 * told. What no request could hold is left out, and counted.
 */
#include "render/otlp_metrics.h"

#include <assert.h>

#include "base/err.h"
#include "base/mem.h"
#include "render/label.h"
#include "base/message.h"
#include "render/native.h"
#include "render/otlp_attribute.h"
#include "render/otlp_form.h"
#include "render/otlp_name.h"
#include "render/own.h"
#include "render/series.h"

/* Field numbers of proto/otlp.proto. */
enum { REQUEST_RESOURCE_METRICS = 1 };
enum { RESOURCE_METRICS_SCOPE_METRICS = 2 };
enum { SCOPE_METRICS_SCOPE = 1, SCOPE_NAME = 1, SCOPE_VERSION = 2 };

enum {
    BLOCK_MODELS = 32, /* of which all is computed before the first is written; a few kB each */
    OWN_MAX = 1 << 20, /* bytes of the daemon's own families */
    PUT_MAX = 1 << 20, /* bytes that are written before they are found not to fit */
    LABELS_MAX = 1 << 17,
    TEXTS_MAX = 1 << 20,
};

_Static_assert(OTLP_REQUEST_MAX <= MESSAGE_LONG_MAX, "lengths can be written");

/* Sets of series, for deltas: one for each family of models, of the daemon, of clients. */
enum {
    SET_MODELS = 0,
    SET_OWN = SET_MODELS + SERIES_COUNT,
    SETS_OWN = 128,
    SET_CLIENTS = SET_OWN + SETS_OWN,
};

struct otlp_metrics {
    enum otlp_temporality temporality;
    size_t max_request;
    uint64_t start_wall_ns;
    struct buf prologue; /* resource and scope, with two long messages begun */
    size_t resource_metrics, scope_metrics;
    struct buf prefix;
    struct buf hash;       /* rendered */
    struct str hash_value; /* in it */
    struct label_names names;
    struct series_style style;
    struct own *own;
    struct profile_scratch *scratch;
    struct otlp_form form;
    struct buf own_out;
    struct buf labels; /* of the series, or of the models, at hand */

    struct series_pen pens[BLOCK_MODELS]; /* of the models at hand, as below */
    struct series_subject subjects[BLOCK_MODELS];

    const struct snapshot *snapshot; /* of the call at hand, as below */
    const struct exposition_process *process;
    otlp_sink_fn *sink;
    void *ctx;
    struct buf out;                   /* the piece; empty: none is begun */
    const struct family_shape *shape; /* of the open metric, NULL: none */

    uint32_t unsettled; /* pieces with changes */
    uint64_t left_out;
};

/* --- life -------------------------------------------------------------------------------------- */

static void render_prologue(struct otlp_metrics *metrics,
                            const struct otlp_metrics_options *options)
{
    struct buf *out = &metrics->prologue;
    metrics->resource_metrics = message_begin_long(out, REQUEST_RESOURCE_METRICS);
    buf_str(out, options->resource);
    metrics->scope_metrics = message_begin_long(out, RESOURCE_METRICS_SCOPE_METRICS);
    size_t scope = message_begin(out, SCOPE_METRICS_SCOPE);
    message_str(out, SCOPE_NAME, STR_LITERAL("dwelld"));
    message_str(out, SCOPE_VERSION, options->dwelld_version);
    message_end(out, scope);
}

static void render_hash(struct otlp_metrics *metrics, struct str hash)
{
    otlp_attribute_text(&metrics->hash, OTLP_LABEL, STR_LITERAL("constitutional_hash"), hash);
    if (metrics->hash.err == 0) { /* it ends with the value */
        metrics->hash_value =
            (struct str){metrics->hash.data + metrics->hash.len - hash.len, hash.len};
    }
}

static void init_buffers(struct otlp_metrics *metrics)
{
    buf_init(&metrics->prologue, metrics->max_request / 2);
    buf_init(&metrics->prefix, TEXTS_MAX);
    buf_init(&metrics->hash, TEXTS_MAX);
    buf_init(&metrics->own_out, OWN_MAX);
    buf_init(&metrics->labels, BLOCK_MODELS * LABELS_MAX);
    buf_init(&metrics->out, metrics->max_request + PUT_MAX);
}

static int init(struct otlp_metrics *metrics, const struct otlp_metrics_options *options)
{
    metrics->temporality = options->temporality;
    metrics->start_wall_ns = options->start_wall_ns;
    metrics->max_request = options->max_request == 0 ? OTLP_REQUEST_DEFAULT : options->max_request;
    assert(metrics->max_request >= OTLP_REQUEST_MIN && metrics->max_request <= OTLP_REQUEST_MAX);
    init_buffers(metrics);
    otlp_form_init(&metrics->form);
    render_prologue(metrics, options);
    otlp_name_prefix(options->name_space, options->service_name, &metrics->prefix);
    render_hash(metrics, options->constitutional_hash);
    metrics->form.form.native = options->exponential;
    metrics->form.exponential = options->exponential;
    metrics->form.prefix = (struct str){metrics->prefix.data, metrics->prefix.len};
    metrics->form.hash = (struct str){metrics->hash.data, metrics->hash.len};
    metrics->scratch = mem_zalloc(1, sizeof *metrics->scratch);
    metrics->own = own_new(&(const struct own_options){.form = &metrics->form.form,
                                                       .version = options->dwelld_version});
    int err = label_names_init(&metrics->names, options->label_keys, options->label_key_count);
    if (err == 0) {
        err = series_style_init(&metrics->style, options->name_space);
    }
    bool good = metrics->prologue.err == 0 && metrics->prefix.err == 0 && metrics->hash.err == 0 &&
                metrics->scratch != NULL && metrics->own != NULL;
    return good ? err : ERR_NOMEM;
}

struct otlp_metrics *otlp_metrics_new(const struct otlp_metrics_options *options)
{
    struct otlp_metrics *metrics = mem_zalloc(1, sizeof *metrics);
    if (metrics != NULL && init(metrics, options) != 0) {
        otlp_metrics_free(metrics);
        return NULL;
    }
    return metrics;
}

void otlp_metrics_free(struct otlp_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    otlp_form_fini(&metrics->form);
    own_free(metrics->own);
    series_style_fini(&metrics->style);
    label_names_fini(&metrics->names);
    mem_free(metrics->scratch);
    buf_fini(&metrics->prologue);
    buf_fini(&metrics->prefix);
    buf_fini(&metrics->hash);
    buf_fini(&metrics->own_out);
    buf_fini(&metrics->labels);
    buf_fini(&metrics->out);
    mem_free(metrics);
}

size_t otlp_metrics_limit(struct otlp_metrics *metrics, size_t max_request)
{
    size_t least = 2 * metrics->prologue.len;
    least = least < OTLP_REQUEST_MIN ? OTLP_REQUEST_MIN : least;
    size_t limit = max_request < least ? least : max_request;
    metrics->max_request = limit < metrics->max_request ? limit : metrics->max_request;
    return metrics->max_request;
}

uint64_t otlp_metrics_left_out(const struct otlp_metrics *metrics)
{
    return metrics->left_out;
}

/* --- pieces ------------------------------------------------------------------------------------ */

static void settle(struct otlp_metrics *metrics, struct otlp_piece *piece)
{
    mem_free(piece->bytes);
    *piece = (struct otlp_piece){0};
    assert(metrics->unsettled > 0);
    metrics->unsettled--;
}

void otlp_metrics_commit(struct otlp_metrics *metrics, struct otlp_piece *piece)
{
    otlp_delta_commit(&metrics->form.delta, &piece->changes);
    settle(metrics, piece);
}

void otlp_metrics_abort(struct otlp_metrics *metrics, struct otlp_piece *piece)
{
    otlp_delta_abort(&piece->changes);
    settle(metrics, piece);
}

static void end_metric(struct otlp_metrics *metrics)
{
    if (metrics->shape != NULL) {
        otlp_form_close(&metrics->form, &metrics->out);
        metrics->shape = NULL;
    }
}

/* Begins what is missing of a piece and of a family's metric; without a shape no metric. */
static int begin(struct otlp_metrics *metrics, const struct family_shape *shape)
{
    if (metrics->shape != shape) {
        end_metric(metrics);
    }
    if (metrics->out.len == 0) {
        buf_append(&metrics->out, metrics->prologue.data, metrics->prologue.len);
    }
    if (shape != NULL && metrics->shape == NULL) {
        otlp_form_open(&metrics->form, shape, &metrics->out);
        metrics->shape = shape;
    }
    return metrics->out.err;
}

static void drop(struct otlp_metrics *metrics)
{
    buf_clear(&metrics->out);
    otlp_delta_abort(&metrics->form.changes);
    metrics->form.points = 0;
    metrics->shape = NULL;
}

static int hand_over(struct otlp_metrics *metrics)
{
    struct buf *out = &metrics->out;
    struct otlp_form *form = &metrics->form;
    struct otlp_piece piece = {.len = out->len, .points = form->points, .changes = form->changes};
    message_end_long(out, metrics->scope_metrics);
    message_end_long(out, metrics->resource_metrics);
    piece.bytes = buf_steal(out);
    if (piece.bytes == NULL) {
        drop(metrics);
        return ERR_NOMEM;
    }
    form->changes = (struct otlp_changes){0};
    form->points = 0;
    metrics->unsettled++;
    int err = metrics->sink(metrics->ctx, &piece);
    if (err != 0) {
        otlp_metrics_abort(metrics, &piece);
    }
    return err;
}

static int flush(struct otlp_metrics *metrics)
{
    end_metric(metrics);
    if (metrics->out.err == 0 && metrics->form.points > 0) {
        return hand_over(metrics);
    }
    drop(metrics);
    return 0;
}

/* Writes something that must stay together, at the end of the piece. */
typedef void put_fn(struct otlp_metrics *metrics, const void *what);

/* Where the piece stood before. */
struct standing {
    size_t len;
    uint32_t points;
    uint32_t changes;
    struct otlp_series series;
};

static void take_back(struct otlp_metrics *metrics, const struct standing *mark)
{
    struct otlp_form *form = &metrics->form;
    metrics->out.len = mark->len;
    metrics->out.err = 0;
    form->points = mark->points;
    form->series = mark->series;
    otlp_changes_cut(&form->changes, mark->changes);
}

static int put(struct otlp_metrics *metrics, const struct family_shape *shape, put_fn *write,
               const void *what)
{
    struct otlp_form *form = &metrics->form;
    int err = begin(metrics, shape);
    while (err == 0) {
        struct standing mark = {metrics->out.len, form->points, form->changes.count, form->series};
        write(metrics, what);
        bool full = metrics->out.err == ERR_LIMIT || metrics->out.len > metrics->max_request;
        if (!full || metrics->out.err == ERR_NOMEM) {
            return metrics->out.err;
        }
        uint32_t tried = form->points - mark.points;
        take_back(metrics, &mark);
        if (mark.points == 0) { /* it had the piece for itself */
            metrics->left_out += tried;
            return 0;
        }
        err = flush(metrics);
        err = err == 0 ? begin(metrics, shape) : err;
    }
    return err;
}

/* --- models ------------------------------------------------------------------------------------ */

static const struct str overflow_key = {"otel.metric.overflow", 20};

static void render_model_labels(struct otlp_metrics *metrics, const struct model_id *id)
{
    struct buf *out = &metrics->labels;
    otlp_attribute_text(out, OTLP_LABEL, STR_LITERAL("model_name"), id->name);
    if (id->device.len > 0) {
        otlp_attribute_text(out, OTLP_LABEL, STR_LITERAL("device"), id->device);
    }
    for (uint32_t i = 0; i < id->label_count; i++) {
        const struct label *label = &id->labels[i];
        const char *name = label_names_get(&metrics->names, label->key);
        otlp_attribute_text(out, OTLP_LABEL, str_of(name), label->value);
    }
    if (id->overflow) {
        otlp_attribute_bool(out, OTLP_LABEL, overflow_key, true);
    }
}

static void put_model(struct otlp_metrics *metrics, const void *what)
{
    enum series series = (enum series)(metrics->form.series.set - SET_MODELS);
    series_render_family(what, series);
}

/* Series of one family of a model that may be told as deltas. */
static uint32_t places_of(enum series series)
{
    return series == SERIES_TIME ? STATE_COUNT : 1;
}

/* One family of the models from `first` on. */
static int put_models(struct otlp_metrics *metrics, uint32_t first, uint32_t count,
                      enum series series)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < count; i++) {
        uint32_t number = first + i;
        metrics->form.created_wall_ns = metrics->pens[i].subject->model->id->created_wall_ns;
        metrics->form.series = (struct otlp_series){.set = SET_MODELS + (uint32_t)series,
                                                    .place = number * places_of(series),
                                                    .serial = 1 + (uint64_t)number};
        err = put(metrics, &metrics->style.shapes[series], put_model, &metrics->pens[i]);
    }
    return err;
}

/* Computes all that the families of a few models need. */
static int prepare_models(struct otlp_metrics *metrics, uint32_t first, uint32_t count)
{
    size_t ends[BLOCK_MODELS];
    buf_clear(&metrics->labels);
    for (uint32_t i = 0; i < count; i++) {
        render_model_labels(metrics, metrics->snapshot->models[first + i]->id);
        ends[i] = metrics->labels.len;
    }
    for (uint32_t i = 0; metrics->labels.err == 0 && i < count; i++) {
        size_t begins = i == 0 ? 0 : ends[i - 1];
        metrics->subjects[i] =
            (struct series_subject){.form = &metrics->form.form,
                                    .snapshot = metrics->snapshot,
                                    .model = metrics->snapshot->models[first + i],
                                    .labels = {metrics->labels.data + begins, ends[i] - begins}};
        series_prepare(&metrics->style, &metrics->subjects[i], metrics->scratch, &metrics->out,
                       &metrics->pens[i]);
    }
    return metrics->labels.err;
}

static int render_models(struct otlp_metrics *metrics)
{
    uint32_t all = metrics->snapshot->model_count;
    int err = 0;
    for (uint32_t first = 0; err == 0 && first < all; first += BLOCK_MODELS) {
        uint32_t count = all - first < BLOCK_MODELS ? all - first : BLOCK_MODELS;
        err = prepare_models(metrics, first, count);
        for (unsigned series = 0; err == 0 && series < SERIES_COUNT; series++) {
            err = put_models(metrics, first, count, (enum series)series);
        }
    }
    return err;
}

/* --- clients' families ------------------------------------------------------------------------- */

struct place {
    const struct family_shape *shape;
    const struct series_page *page;
    uint32_t slot;
};

/* Ours stands for a label of the same name, which only infos have; a value that differs is kept. */
static void render_label(struct otlp_metrics *metrics, struct str name, struct str value)
{
    struct buf *out = &metrics->labels;
    if (str_is(name, "dwell_overflow")) {
        otlp_attribute_bool(out, OTLP_LABEL, overflow_key, true);
    } else if (!str_is(name, "constitutional_hash")) {
        otlp_attribute_text(out, OTLP_LABEL, name, value);
    } else if (!str_equal(value, metrics->hash_value)) {
        otlp_attribute_text(out, OTLP_LABEL, STR_LITERAL("exported_constitutional_hash"), value);
    }
}

static struct str render_labels(struct otlp_metrics *metrics, const struct series_id *id)
{
    struct str name;
    struct str value;
    buf_clear(&metrics->labels);
    for (const char *at = series_next_pair(id, NULL, &name, &value); at != NULL;
         at = series_next_pair(id, at, &name, &value)) {
        render_label(metrics, name, value);
    }
    metrics->out.err = metrics->out.err == 0 ? metrics->labels.err : metrics->out.err;
    return (struct str){metrics->labels.data, metrics->labels.len};
}

/* Buckets as they are counted; bounds are those of the family, without their texts. */
static void put_histogram(struct otlp_metrics *metrics, const struct family_shape *shape,
                          struct str labels, const struct buckets *buckets)
{
    struct form_bound bounds[FAMILY_BOUNDS_MAX + 1];
    struct form_native native = native_of_buckets(buckets);
    for (uint32_t i = 0; i < shape->bound_count; i++) {
        bounds[i].bound = shape->bounds[i];
    }
    struct form_histogram histogram = {
        .bounds = bounds,
        .bound_count = shape->bound_count,
        .counts = buckets->counts,
        .marks = buckets->exemplars == NULL ? NULL : buckets->exemplars->marks,
        .count = buckets->count,
        .sum = buckets->sum,
        .native = buckets->native ? &native : NULL};
    const struct form *form = &metrics->form.form;
    form->histogram(form, shape, labels, &histogram, &metrics->out);
}

static void put_series(struct otlp_metrics *metrics, const void *what)
{
    const struct place *place = what;
    const struct series_page *page = place->page;
    const struct form *form = &metrics->form.form;
    struct str labels = render_labels(metrics, page->who[place->slot]);
    if (place->shape->type == FAMILY_HISTOGRAM) {
        put_histogram(metrics, place->shape, labels, page->value[place->slot].buckets);
        return;
    }
    struct form_scalar scalar = {
        .number = page->value[place->slot].number,
        .mark = page->exemplars == NULL ? NULL : &page->exemplars->marks[place->slot]};
    (void)form->scalar(form, place->shape, labels, &scalar, &metrics->out);
}

/* What is shown, and what a series that ended has yet to tell. */
static bool has_something(const struct otlp_metrics *metrics, const struct place *place)
{
    enum family_type type = place->shape->type;
    bool delta = metrics->temporality != OTLP_CUMULATIVE &&
                 (type == FAMILY_COUNTER || type == FAMILY_HISTOGRAM);
    if (!delta) {
        return series_is_shown(place->page, place->slot);
    }
    union series_value value = place->page->value[place->slot];
    double number = type == FAMILY_COUNTER ? value.number : 0;
    uint64_t count = type == FAMILY_HISTOGRAM ? value.buckets->count : 0;
    return !otlp_form_is_told(&metrics->form, type, number, count);
}

static int render_page(struct otlp_metrics *metrics, const struct family *family,
                       const struct series_page *page, uint32_t page_number)
{
    int err = 0;
    for (uint32_t slot = 0; err == 0 && slot < SERIES_PER_PAGE; slot++) {
        const struct series_id *who = page->who[slot];
        struct place place = {&family->shape, page, slot};
        if (who == NULL) {
            continue;
        }
        metrics->form.created_wall_ns = who->created_wall_ns;
        metrics->form.series = (struct otlp_series){.set = SET_CLIENTS + family->number,
                                                    .place = page_number * SERIES_PER_PAGE + slot,
                                                    .serial = who->serial};
        if (has_something(metrics, &place)) {
            err = put(metrics, &family->shape, put_series, &place);
        }
    }
    return err;
}

static int render_clients(struct otlp_metrics *metrics)
{
    const struct metrics_view *view = &metrics->snapshot->metrics;
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < view->family_count; i++) {
        const struct family_view *family = &view->families[i];
        otlp_delta_trim(&metrics->form.delta, SET_CLIENTS + family->family->number,
                        family->page_count * SERIES_PER_PAGE);
        for (uint32_t page = 0; err == 0 && page < family->page_count; page++) {
            err = render_page(metrics, family->family, family->pages[page], page);
        }
    }
    return err;
}

/* --- the daemon's own -------------------------------------------------------------------------- */

/* All of them, which are not many, stay together. */
static void put_own(struct otlp_metrics *metrics, const void *what)
{
    struct buf *out = &metrics->own_out;
    (void)what;
    buf_clear(out);
    metrics->form.series = (struct otlp_series){.set = SET_OWN, .serial = 1};
    int err = own_render(metrics->own, metrics->snapshot, metrics->process, out);
    assert(metrics->form.series.set < SET_OWN + SETS_OWN);
    buf_append(&metrics->out, out->data, err == 0 ? out->len : 0);
    metrics->out.err = metrics->out.err == 0 ? err : metrics->out.err;
}

static int render_own(struct otlp_metrics *metrics)
{
    metrics->form.delta_counters = metrics->temporality == OTLP_DELTA;
    metrics->form.created_wall_ns = metrics->start_wall_ns;
    return put(metrics, NULL, put_own, NULL);
}

/* --- the whole --------------------------------------------------------------------------------- */

int otlp_metrics_render(struct otlp_metrics *metrics, const struct snapshot *snapshot,
                        const struct exposition_process *process, otlp_sink_fn *sink, void *ctx)
{
    bool delta = metrics->temporality != OTLP_CUMULATIVE;
    assert(!delta || metrics->unsettled == 0);
    metrics->snapshot = snapshot;
    metrics->process = process;
    metrics->sink = sink;
    metrics->ctx = ctx;
    metrics->form.wall_ns = snapshot->wall_ns;
    metrics->form.delta_counters = delta;
    metrics->form.delta_histograms = delta;
    int err = render_models(metrics);
    if (err == 0) {
        err = render_clients(metrics);
    }
    if (err == 0) {
        err = render_own(metrics);
    }
    if (err == 0) {
        err = flush(metrics);
    }
    drop(metrics);
    return err;
}
