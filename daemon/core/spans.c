/*
 * Happy path
 *   1. a whole span is complete; of halves, the first is kept, and the second completes it
 *   2. its duration is observed, and with model_name a sample recorded: records of our own, that
 *      pass no ledger
 *   3. it is offered to the sampler, which hands it to export now, later or never
 *
 * What can fail: a half without its counterpart (see open_spans); a model's name that is none, or no
 * memory for the sample: counted. That a duration finds no place shows as any metric's overflow does.
 */
#include "core/spans.h"

#include <assert.h>

#include "base/err.h"

#define NS_PER_S  1e9
#define NS_PER_MS 1e6

/* Why a span was cut off: its message, and the attribute as Span.attributes has it. */
#define CUT_ATTRIBUTE(field_len, value_len, text_len, text)                                        \
    "\x4a" field_len "\x0a\x0d"                                                                    \
    "dwell.cut_off"                                                                                \
    "\x12" value_len "\x0a" text_len text

#define LITERAL(text)                                                                              \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct {
    struct str message;
    struct str reason;
    struct str field;
} cuts[] = {
    [SPAN_CUT_OWNER] = {LITERAL("the process ended before the span did"), LITERAL("process_ended"),
                        LITERAL(CUT_ATTRIBUTE("\x20", "\x0f", "\x0d", "process_ended"))},
    [SPAN_CUT_CEILING] = {LITERAL("too many spans were open, and this one was the oldest"),
                          LITERAL("ceiling_reached"),
                          LITERAL(CUT_ATTRIBUTE("\x22", "\x11", "\x0f", "ceiling_reached"))},
    [SPAN_CUT_STOP] = {LITERAL("dwelld was stopped before the span ended"),
                       LITERAL("daemon_stopped"),
                       LITERAL(CUT_ATTRIBUTE("\x21", "\x10", "\x0e", "daemon_stopped"))},
};
_Static_assert(sizeof cuts / sizeof cuts[0] == SPAN_CUT_COUNT, "one each");

static void observe_duration(struct spans *spans, const struct span *span)
{
    struct metric *duration = &spans->duration;
    duration->value = (double)(span->end_wall_ns - span->start_wall_ns) / NS_PER_S;
    duration->attributes[0].value = span->name;
    duration->attributes[1].value = span_status_names[span->status];
    duration->spelling =
        (struct spelling){SPELLING_SPAN, span->name, span_status_names[span->status]};
    duration->timestamp_wall_ns = span->end_wall_ns;
    memcpy(duration->trace_id, span->trace_id, sizeof duration->trace_id);
    memcpy(duration->span_id, span->span_id, sizeof duration->span_id);
    (void)metrics_record_again(spans->metrics, duration,
                               NULL); /* past a ceiling it is counted there */
}

static bool is_name(struct str text)
{
    return text.len > 0 && text.len <= RECORD_NAME_MAX;
}

static void record_sample_of(struct spans *spans, const struct span *span)
{
    const struct span_attribute *model = span_find(span, STR_LITERAL(SPANS_MODEL_KEY));
    if (model == NULL || !model->is_text) {
        return;
    }
    struct sample *sample = &spans->sample;
    const struct span_attribute *device = span_find(span, STR_LITERAL(SPANS_DEVICE_KEY));
    sample->model_name = model->text;
    sample->execution_time_ms = (double)(span->end_wall_ns - span->start_wall_ns) / NS_PER_MS;
    sample->has = 1U << SAMPLE_TRACE_ID | 1U << SAMPLE_SPAN_ID | 1U << SAMPLE_TIMESTAMP;
    memcpy(sample->trace_id, span->trace_id, sizeof sample->trace_id);
    memcpy(sample->span_id, span->span_id, sizeof sample->span_id);
    sample->timestamp_wall_ns = span->end_wall_ns;
    sample->error = span->status == SPAN_ERROR;
    sample->error_text = sample->error ? span->status_message : (struct str){NULL, 0};
    if (device != NULL && device->is_text && is_name(device->text)) {
        sample->has |= 1U << SAMPLE_DEVICE;
        sample->device = device->text;
    }
    bool good = is_name(sample->model_name) && sample->execution_time_ms <= RECORD_MS_MAX &&
                registry_record(spans->registry, sample) == 0;
    spans->refused_samples += !good;
}

static void complete(struct spans *spans, const struct span *span)
{
    spans->completed++;
    observe_duration(spans, span);
    record_sample_of(spans, span);
    if (spans->sampler.options.sink.keep != NULL) {
        sampler_take(&spans->sampler, span, spans->mono_ns);
    }
}

/* The end of a span that will not be told. An error that it told of explains more than that it was cut
 * off, which the attribute says. */
static void end_cut_off(void *ctx, const struct span *first, enum span_cut why)
{
    struct spans *spans = ctx;
    struct span_attribute attribute = {.key = STR_LITERAL("dwell.cut_off"),
                                       .field = cuts[why].field,
                                       .is_text = true,
                                       .text = cuts[why].reason};
    bool later = spans->wall_ns > first->start_wall_ns;
    bool explained = first->status == SPAN_ERROR && first->status_message.len > 0;
    struct span end = {.part = SPAN_END,
                       .end_wall_ns = later ? spans->wall_ns : first->start_wall_ns,
                       .status = SPAN_ERROR,
                       .status_message = explained ? first->status_message : cuts[why].message,
                       .attribute_count = 1,
                       .attributes = &attribute};
    struct span whole;
    span_merge(first, &end, &spans->room, &whole);
    spans->cut_off++;
    complete(spans, &whole);
}

static struct span name_service(const struct span *span, struct str service)
{
    struct span named = *span; /* shares the parts */
    if (named.service_name.len == 0) {
        named.service_name = service;
    }
    return named;
}

static int take_whole(struct spans *spans, const struct span *span, struct str service)
{
    struct span named = name_service(span, service);
    complete(spans, &named);
    if (open_spans_find(&spans->open, span) !=
        NULL) { /* told once, as a whole: there is no end to come */
        open_spans_take(&spans->open, span);
    }
    return 0;
}

static int take_first(struct spans *spans, const struct span *first, struct span_owner *owner,
                      struct str service)
{
    struct span named = name_service(first, service);
    return open_spans_begin(&spans->open, &named, owner);
}

static int take_second(struct spans *spans, const struct span *second, struct str service)
{
    const struct span *first = open_spans_find(&spans->open, second);
    if (first == NULL) {
        return second->start_wall_ns == 0 ? ERR_MISSING_KEY : take_whole(spans, second, service);
    }
    struct span whole;
    span_merge(first, second, &spans->room, &whole);
    if (whole.end_wall_ns < whole.start_wall_ns) {
        return ERR_RANGE;
    }
    complete(spans, &whole);
    open_spans_take(&spans->open, second);
    return 0;
}

int spans_take(struct spans *spans, const struct span *span, struct span_owner *owner,
               struct str service)
{
    switch (span->part) {
    case SPAN_START:
        return take_first(spans, span, owner, service);
    case SPAN_END:
        return take_second(spans, span, service);
    default:
        return take_whole(spans, span, service);
    }
}

/* Without a part in the durations by name, or in what is counted as completed: it is the daemon's own. */
void spans_over_budget(struct spans *spans, const struct budget *budget, double budget_ms,
                       struct str service)
{
    struct budget_excess excess = {.budget = budget,
                                   .budget_ms = budget_ms,
                                   .service = service,
                                   .mono_ns = spans->mono_ns,
                                   .wall_ns = spans->wall_ns};
    budget_events_tell(&spans->budget_events, &excess);
}

void spans_end_owner(struct spans *spans, struct span_owner *owner)
{
    open_spans_end_owner(&spans->open, owner);
}

void spans_set_time(struct spans *spans, uint64_t mono_ns, uint64_t wall_ns)
{
    spans->mono_ns = mono_ns;
    spans->wall_ns = wall_ns;
    open_spans_tick(&spans->open);
    (void)sampler_expire(&spans->sampler, mono_ns); /* the rest next time */
}

void spans_stop(struct spans *spans)
{
    open_spans_end_all(&spans->open);
    sampler_give_up(&spans->sampler);
}

/* The name as clients would spell it: the unit, seconds, is put behind it as to any name. */
static void init_duration(struct spans *spans)
{
    static const char ending[] = "_span_duration";
    _Static_assert(sizeof spans->duration_name >=
                       SPANS_NAME_SPACE_MAX + sizeof ending + sizeof "_seconds",
                   "there is room for the name with its unit");
    struct str name_space = spans->options.name_space;
    assert(name_space.len <= SPANS_NAME_SPACE_MAX);
    const char *end = name_space.len > 0 ? ending : ending + 1;
    if (name_space.len > 0) {
        memcpy(spans->duration_name, name_space.ptr, name_space.len);
    }
    memcpy(spans->duration_name + name_space.len, end, strlen(end));
    spans->duration =
        (struct metric){.name = {spans->duration_name, name_space.len + strlen(end)},
                        .op = METRIC_OBSERVE,
                        .weight = 1,
                        .unit = STR_LITERAL("s"),
                        .has = METRIC_HAS_TRACE_ID | METRIC_HAS_SPAN_ID | METRIC_HAS_TIMESTAMP,
                        .attribute_count = 2};
    spans->duration.attributes[0].key = STR_LITERAL("span_name");
    spans->duration.attributes[1].key = STR_LITERAL("status_code");
}

int spans_declare(struct spans *spans, struct str *ret_name)
{
    static const char unit[] = "_seconds";
    struct str name = {spans->duration_name, spans->duration.name.len + sizeof unit - 1};
    memcpy(spans->duration_name + spans->duration.name.len, unit, sizeof unit - 1);
    struct str labels[] = {spans->duration.attributes[0].key, spans->duration.attributes[1].key};
    const struct family_bounds *bounds = family_usual_bounds(STR_LITERAL("seconds"));
    struct family_shape shape = {
        .name = name,
        .source = name,
        .help = STR_LITERAL("Duration of spans, of those that are not sent on too."),
        .unit = STR_LITERAL("seconds"),
        .type = FAMILY_HISTOGRAM,
        .declared = true,
        .native = true,
        .label_count = sizeof labels / sizeof labels[0],
        .labels = labels,
        .bound_count = bounds->count,
        .bounds = bounds->bound};
    *ret_name = name;
    return metrics_declare(spans->metrics, &shape);
}

void spans_export_to(struct spans *spans, const struct sampler_sink *sink)
{
    spans->sampler.options.sink = *sink;
}

void spans_init(struct spans *spans, const struct spans_options *options, struct registry *registry,
                struct metrics *metrics)
{
    spans->options = *options;
    spans->registry = registry;
    spans->metrics = metrics;
    struct open_spans_options open = {.max_count = options->max_open,
                                      .max_bytes = options->max_open_bytes,
                                      .hash_seed = options->sampler.hash_seed,
                                      .ctx = spans,
                                      .cut_off = end_cut_off};
    open_spans_init(&spans->open, &open);
    sampler_init(&spans->sampler, &options->sampler);
    budget_events_init(&spans->budget_events, &spans->sampler);
    init_duration(spans);
}

void spans_fini(struct spans *spans)
{
    open_spans_fini(&spans->open);
    sampler_fini(&spans->sampler);
    budget_events_fini(&spans->budget_events);
}
