#include "random_span.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "mem_fault.h"

#define FAMILY "acgs2_span_duration_seconds"
#define NOBODY (&(struct str){NULL, 0})

enum { EXPORTED_MAX = 4096 };

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)
#define T0 (UINT64_C(1600000000) * S) /* long before the core's present */

static struct core core;

/* --- what is sent on --------------------------------------------------------------------------- */

static struct kept_span *exported[EXPORTED_MAX];
static unsigned exported_count;

static void note_export(void *ctx, const struct span *span, bool was_held)
{
    (void)was_held;
    assert_ptr_equal(ctx, &exported_count);
    assert_true(exported_count < EXPORTED_MAX);
    exported[exported_count] = kept_span_new(span);
    assert_non_null(exported[exported_count++]);
}

static void forget_exported(void)
{
    while (exported_count > 0) {
        mem_free(exported[--exported_count]);
    }
}

static struct spans_options options_of(void)
{
    return (struct spans_options){
        .name_space = STR_LITERAL("acgs2"),
        .max_open = CORE_OPEN_SPANS_MAX,
        .max_open_bytes = CORE_OPEN_BYTES_MAX,
        .sampler = {
            .rate = 1, .hash_seed = 42, .sink = {.ctx = &exported_count, .keep = note_export}}};
}

static void open_with(const struct spans_options *options)
{
    struct registry_options registry = core_options();
    core_open(&core, &registry);
    memset(core.spans, 0, sizeof *core.spans);
    spans_init(core.spans, options, core.registry, core.metrics);
    core_move(&core, 0);
}

static int open_core(void **state)
{
    (void)state;
    struct spans_options options = options_of();
    open_with(&options);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    forget_exported();
    core_close(&core);
    return 0;
}

/* --- spans ------------------------------------------------------------------------------------- */

static struct span whole(uint64_t number, uint64_t ns)
{
    return plain_span(7, number, T0, T0 + ns);
}

static struct span begun(uint64_t number)
{
    struct span span = plain_span(7, number, T0, 0);
    span.part = SPAN_START;
    return span;
}

static struct span ended(uint64_t number, uint64_t end_wall_ns)
{
    struct span span = plain_span(7, number, 0, end_wall_ns);
    span.part = SPAN_END;
    return span;
}

static int take(struct span span, struct span_owner *owner)
{
    return spans_take(core.spans, &span, owner, STR_LITERAL("given"));
}

static void must_take_span(struct span span, struct span_owner *owner)
{
    assert_int_equal(take(span, owner), 0);
}

static const struct span *last_exported(void)
{
    assert_true(exported_count > 0);
    return &exported[exported_count - 1]->span;
}

static const struct buckets *durations_of(const char *labels)
{
    return core_series(&core, FAMILY, labels).buckets;
}

static void must_have_observed(const char *labels, uint64_t count, double sum)
{
    const struct buckets *buckets = durations_of(labels);
    assert_int_equal(buckets->count, count);
    must_be_near(buckets->sum, sum, 1e-12);
}

/* --- durations --------------------------------------------------------------------------------- */

static void test_spans_durations_by_name_and_status(void **state)
{
    (void)state;
    static const struct {
        enum span_status status;
        uint64_t ns;
        const char *labels;
        double sum;
    } facts[] = {
        {SPAN_UNSET, 0, "span_name=s,status_code=unset", 0},
        {SPAN_UNSET, 250 * MS, "span_name=s,status_code=unset", 0.25},
        {SPAN_OK, 1, "span_name=s,status_code=ok", 1e-9},
        {SPAN_ERROR, 3 * S, "span_name=s,status_code=error", 3},
        {SPAN_ERROR, INT64_MAX - T0, "span_name=s,status_code=error", 3 + 7623372036.854775807},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct span span = whole(i + 1, facts[i].ns);
        span.status = facts[i].status;
        must_take_span(span, NULL);
        must_be_near(durations_of(facts[i].labels)->sum, facts[i].sum, 1e-12);
    }
    assert_int_equal(durations_of("span_name=s,status_code=unset")->count, 2);
    assert_int_equal(durations_of("span_name=s,status_code=ok")->count, 1);
    assert_int_equal(durations_of("span_name=s,status_code=error")->count, 2);
    assert_int_equal(core.spans->completed, 5);
    assert_int_equal(core.registry->count, 0); /* none of them is an inference */
}

static void test_spans_durations_have_exemplars(void **state)
{
    (void)state;
    must_take_span(whole(5, 300 * MS), NULL);
    const struct buckets *buckets = durations_of("span_name=s,status_code=unset");
    const struct family_bounds *bounds = family_usual_bounds(STR_LITERAL("seconds"));
    unsigned at = buckets_find(bounds->bound, bounds->count, 0.3);
    assert_non_null(buckets->exemplars);
    const struct exemplar_mark *mark = &buckets->exemplars->marks[at];
    struct span span = whole(5, 300 * MS);
    assert_true(mark->set && mark->has_span_id);
    assert_memory_equal(mark->trace_id, span.trace_id, sizeof mark->trace_id);
    assert_memory_equal(mark->span_id, span.span_id, sizeof mark->span_id);
    must_be_near(mark->value, 0.3, 1e-12);
    assert_int_equal(mark->wall_ns, T0 + 300 * MS);
    must_take_span(whole(6, 300 * MS), NULL); /* of a name and status that were there */
    span = whole(6, 300 * MS);
    mark = &durations_of("span_name=s,status_code=unset")->exemplars->marks[at];
    assert_memory_equal(mark->span_id, span.span_id, sizeof mark->span_id);
}

/* A series is found by a short way up to some length of the name, which nothing may show. */
static void test_spans_durations_of_names_of_every_length(void **state)
{
    (void)state;
    char name[RECORD_NAME_MAX];
    memset(name, 'n', sizeof name);
    core.metrics->options.max_series = sizeof name;
    core.metrics->options.max_series_per_family = sizeof name;
    for (size_t len = 1; len <= sizeof name; len++) {
        char labels[RECORD_NAME_MAX + 64];
        struct span span = whole(len, S);
        span.name = (struct str){name, len};
        must_take_span(span, NULL);
        must_take_span(span, NULL);
        snprintf(labels, sizeof labels, "span_name=%.*s,status_code=unset", (int)len, name);
        must_have_observed(labels, 2, 2);
    }
}

static void test_spans_durations_need_no_place(void **state)
{
    (void)state;
    core.metrics->options.max_series_per_family = 1;
    core.metrics->options.max_label_bytes = 16;
    struct span span = whole(1, S);
    must_take_span(span, NULL);
    span.name = STR_LITERAL("another");
    must_take_span(span, NULL);
    span.name = STR_LITERAL("longer than labels may be");
    must_take_span(span, NULL);
    must_have_observed("span_name=s,status_code=unset", 1, 1);
    must_have_observed("dwell_overflow=true", 2, 2);
    assert_int_equal(core.metrics->overflowed, 2);
    assert_int_equal(exported_count, 3);
}

static void test_spans_are_taken_without_memory_for_their_duration(void **state)
{
    (void)state;
    mem_fail_after(1);
    must_take_span(whole(1, S), NULL);
    assert_true(mem_has_failed());
    assert_int_equal(core.spans->completed, 1);
    assert_int_equal(exported_count, 1);
}

/* --- the family -------------------------------------------------------------------------------- */

static void test_spans_declare_their_histogram(void **state)
{
    (void)state;
    struct str name;
    assert_int_equal(spans_declare(core.spans, &name), 0);
    assert_true(str_is(name, FAMILY));
    assert_int_equal(core.metrics->family_count, 1);
    const struct family_shape *shape = &core.metrics->sets[0].family->shape;
    const struct family_bounds *bounds = family_usual_bounds(STR_LITERAL("seconds"));
    assert_true(str_is(shape->name, FAMILY) && str_is(shape->unit, "seconds"));
    assert_true(shape->help.len > 20);
    assert_true(shape->declared && shape->native && shape->type == FAMILY_HISTOGRAM);
    assert_int_equal(shape->bound_count, bounds->count);
    assert_memory_equal(shape->bounds, bounds->bound, bounds->count * sizeof *bounds->bound);
    must_take_span(whole(1, 2 * S), NULL);
    must_have_observed("span_name=s,status_code=unset", 1, 2);
    assert_int_equal(core.metrics->family_count, 1);
    /* Nobody else may mean something else by it. */
    struct metric metric = metric_of(METRIC_COUNT, FAMILY, 1, "");
    assert_int_equal(metrics_record(core.metrics, &metric, NULL), ERR_CONFLICT);
    metric = metric_of(METRIC_OBSERVE, FAMILY, 1, "span_name=s");
    assert_int_equal(metrics_record(core.metrics, &metric, NULL), ERR_LABELS);
}

static void test_spans_declare_once(void **state)
{
    (void)state;
    struct str name = {NULL, 0};
    assert_int_equal(spans_declare(core.spans, &name), 0);
    name = (struct str){NULL, 0};
    assert_int_equal(spans_declare(core.spans, &name), ERR_CONFLICT);
    assert_true(str_is(name, FAMILY));
}

static void test_spans_namespaces(void **state)
{
    (void)state;
#define SIXTY_FOUR "n234567890123456789012345678901234567890123456789012345678901234"
    static const struct {
        const char *name_space, *family;
    } facts[] = {
        {"a", "a_span_duration_seconds"},
        {"", "span_duration_seconds"},
        {SIXTY_FOUR, SIXTY_FOUR "_span_duration_seconds"},
    };
    _Static_assert(sizeof SIXTY_FOUR - 1 == SPANS_NAME_SPACE_MAX, "the longest");
    close_core(NULL);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        for (int declared = 0; declared <= 1; declared++) {
            struct spans_options options = options_of();
            options.name_space = str_of(facts[i].name_space);
            open_with(&options);
            struct str name;
            if (declared != 0) {
                assert_int_equal(spans_declare(core.spans, &name), 0);
                assert_true(str_is(name, facts[i].family));
            }
            must_take_span(whole(1, S), NULL);
            assert_int_equal(core.metrics->family_count, 1);
            assert_true(core_has_series(&core, facts[i].family, "span_name=s,status_code=unset"));
            close_core(NULL);
        }
    }
    open_core(NULL);
}

/* --- inferences -------------------------------------------------------------------------------- */

static struct random_span with; /* a span with attributes */

static void begin_with(uint64_t number, uint64_t ns)
{
    with.len = 0;
    struct span plain = whole(number, ns);
    span_init(&with.span, &with.room);
    plain.attributes = with.span.attributes;
    plain.events = with.span.events;
    plain.links = with.span.links;
    with.span = plain;
}

static void test_spans_with_a_model_are_inferences(void **state)
{
    (void)state;
    begin_with(9, 4 * MS);
    random_span_add_text(&with, "model_name", "resnet50");
    random_span_add_text(&with, "device", "cuda:0");
    must_take_span(with.span, NULL);
    with.span.status = SPAN_ERROR;
    with.span.end_wall_ns += 4 * MS;
    must_take_span(with.span, NULL);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->model_count, 1);
    const struct model *model = must_find(snapshot, "resnet50");
    assert_true(str_is(model->id->device, "cuda:0"));
    struct sums sums = totals_of(model);
    assert_int_equal(sums.count, 2);
    assert_int_equal(sums.errors, 1);
    assert_true(sums.latency_min_ms == 4 && sums.latency_max_ms == 8);
    unsigned marks = 0;
    for (unsigned i = 0; i <= BOUNDS_MAX; i++) {
        const struct exemplar *exemplar = &model->exemplars->bucket[i];
        if (exemplar->set) {
            marks++;
            assert_true(exemplar->has_span_id);
            assert_memory_equal(exemplar->trace_id, with.span.trace_id, sizeof exemplar->trace_id);
            assert_memory_equal(exemplar->span_id, with.span.span_id, sizeof exemplar->span_id);
            assert_int_equal(exemplar->wall_ns, T0 + (exemplar->value_ms == 4 ? 4 : 8) * MS);
        }
    }
    assert_int_equal(marks, 2);
    assert_int_equal(core.spans->refused_samples, 0);
    core_drop(&core, snapshot);
}

/* One inference leaves nothing to the next. */
static void test_spans_inferences_are_told_apart(void **state)
{
    (void)state;
    begin_with(1, MS);
    random_span_add_text(&with, "model_name", "a");
    random_span_add_text(&with, "device", "cpu");
    with.span.status = SPAN_ERROR;
    must_take_span(with.span, NULL);
    begin_with(2, MS);
    random_span_add_text(&with, "model_name", "b");
    must_take_span(with.span, NULL);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(must_find(snapshot, "b")->id->device.len, 0);
    assert_int_equal(totals_of(must_find(snapshot, "b")).errors, 0);
    assert_int_equal(totals_of(must_find(snapshot, "a")).errors, 1);
    core_drop(&core, snapshot);
}

static void test_spans_names_that_are_no_models(void **state)
{
    (void)state;
    static char text[RECORD_NAME_MAX + 2];
    memset(text, 'm', sizeof text - 1);
    static const struct {
        size_t len;
        uint64_t ns;
        bool good;
    } facts[] = {
        {1, MS, true},
        {0, MS, false},
        {RECORD_NAME_MAX, MS, true},
        {RECORD_NAME_MAX + 1, MS, false},
        {1, UINT64_C(1000000000000) * MS, true}, /* RECORD_MS_MAX */
        {1, UINT64_C(1000000000001) * MS, false},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        uint64_t before = core.spans->refused_samples;
        begin_with(1, facts[i].ns);
        text[facts[i].len] = '\0';
        random_span_add_text(&with, "model_name", text);
        text[facts[i].len] = 'm';
        must_take_span(with.span, NULL); /* the span itself is none the worse */
        assert_int_equal(core.spans->refused_samples - before, !facts[i].good);
    }
    assert_int_equal(core.registry->count, 2);
    assert_int_equal(exported_count, sizeof facts / sizeof facts[0]);
}

static void test_spans_with_a_model_that_is_no_text(void **state)
{
    (void)state;
    begin_with(1, MS);
    random_span_add_text(&with, "model_name", "m");
    with.span.attributes[0].is_text = false;
    must_take_span(with.span, NULL);
    assert_int_equal(core.registry->count, 0);
    assert_int_equal(core.spans->refused_samples, 0);
}

static void test_spans_with_a_device_that_is_none(void **state)
{
    (void)state;
    static char text[RECORD_NAME_MAX + 2];
    memset(text, 'd', sizeof text - 1);
    for (unsigned i = 0; i < 3; i++) { /* too long, empty, no text */
        begin_with(1, MS);
        random_span_add_text(&with, "model_name", "m");
        random_span_add_text(&with, "device", i == 0 ? text : i == 1 ? "" : "d");
        with.span.attributes[1].is_text = i != 2;
        must_take_span(with.span, NULL);
    }
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->model_count, 1);
    assert_int_equal(must_find(snapshot, "m")->id->device.len, 0);
    assert_int_equal(totals_of(must_find(snapshot, "m")).count, 3);
    core_drop(&core, snapshot);
}

static void test_spans_refused_samples_for_want_of_memory(void **state)
{
    (void)state;
    must_take_span(whole(1, MS), NULL); /* the histogram is there */
    begin_with(2, MS);
    random_span_add_text(&with, "model_name", "m");
    mem_fail_after(1);
    must_take_span(with.span, NULL);
    assert_true(mem_has_failed());
    assert_int_equal(core.spans->refused_samples, 1);
    assert_int_equal(core.registry->count, 0);
    assert_int_equal(exported_count, 2);
}

/* --- halves ------------------------------------------------------------------------------------ */

static void test_spans_halves_are_put_together(void **state)
{
    (void)state;
    begin_with(3, 0);
    random_span_add_text(&with, "model_name", "m");
    random_span_add_text(&with, "a", "1");
    with.span.part = SPAN_START;
    with.span.end_wall_ns = 0;
    with.span.kind = 2;
    must_take_span(with.span, NULL);
    assert_int_equal(exported_count, 0);
    assert_int_equal(core.spans->completed, 0);
    random_span_scribble(&with);
    begin_with(3, 0);
    random_span_add_text(&with, "a", "2");
    with.span.part = SPAN_END;
    with.span.start_wall_ns = 0;
    with.span.end_wall_ns = T0 + 6 * MS;
    with.span.name = STR_LITERAL("better");
    with.span.status = SPAN_OK;
    must_take_span(with.span, NULL);
    const struct span *got = last_exported();
    assert_int_equal(got->part, SPAN_WHOLE);
    assert_true(str_is(got->name, "better"));
    assert_int_equal(got->kind, 2);
    assert_int_equal(got->start_wall_ns, T0);
    assert_int_equal(got->attribute_count, 2);
    assert_true(str_is(got->attributes[0].text, "m") && str_is(got->attributes[1].text, "2"));
    must_have_observed("span_name=better,status_code=ok", 1, 0.006);
    assert_int_equal(core.registry->count, 1);
    assert_int_equal(core.spans->completed, 1);
    assert_int_equal(core.spans->open.count, 0);
    assert_int_equal(take(with.span, NULL), ERR_MISSING_KEY); /* it has ended */
}

static void test_spans_ends_without_beginnings(void **state)
{
    (void)state;
    assert_int_equal(take(ended(1, T0), NULL), ERR_MISSING_KEY);
    must_take_span(begun(2), NULL);
    assert_int_equal(take(ended(1, T0), NULL), ERR_MISSING_KEY);
    assert_int_equal(exported_count, 0);
    struct span span = ended(1, T0 + S);
    span.start_wall_ns = T0; /* it says itself when it began */
    must_take_span(span, NULL);
    must_have_observed("span_name=s,status_code=unset", 1, 1);
    assert_true(str_is(last_exported()->service_name, "given"));
}

static void test_spans_whole_ones_stand_for_their_halves(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    must_take_span(begun(1), &owner);
    must_take_span(whole(1, S), &owner);
    assert_int_equal(core.spans->open.count, 0);
    spans_end_owner(core.spans, &owner);
    assert_int_equal(exported_count, 1);
    assert_int_equal(core.spans->cut_off, 0);
}

static void test_spans_that_end_before_they_begin(void **state)
{
    (void)state;
    static const struct {
        uint64_t corrected, end;
        int err;
    } facts[] = {
        {0, T0 - 1, ERR_RANGE},
        {0, T0, 0},
        {T0 + 1, T0, ERR_RANGE}, /* the second half corrects when it began */
        {T0 - 5, T0 - 5, 0},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        must_take_span(begun(1), NULL);
        struct span span = ended(1, facts[i].end);
        span.start_wall_ns = facts[i].corrected;
        assert_int_equal(take(span, NULL), facts[i].err);
        if (facts[i].err != 0) { /* it is open still, and may end better */
            must_take_span(ended(1, T0), NULL);
        }
        assert_int_equal(exported_count, i + 1);
        assert_int_equal(core.spans->open.count, 0);
    }
    must_have_observed("span_name=s,status_code=unset", 4, 0);
}

static void test_spans_refused_halves(void **state)
{
    (void)state;
    static char text[CORE_OPEN_BYTES_MAX];
    must_take_span(begun(1), NULL);
    assert_int_equal(take(begun(1), NULL), ERR_DUPLICATE_KEY);
    struct span span = begun(2);
    span.status_message = (struct str){text, sizeof text};
    assert_int_equal(take(span, NULL), ERR_LIMIT);
    mem_fail_after(1);
    assert_int_equal(take(begun(3), NULL), ERR_NOMEM);
    assert_int_equal(core.spans->open.count, 1);
    assert_int_equal(exported_count, 0);
}

/* --- service names ----------------------------------------------------------------------------- */

static void test_spans_services(void **state)
{
    (void)state;
    struct span span = whole(1, S);
    must_take_span(span, NULL);
    assert_true(str_is(last_exported()->service_name, "given"));
    span.service_name = STR_LITERAL("own");
    must_take_span(span, NULL);
    assert_true(str_is(last_exported()->service_name, "own"));
    static const struct {
        const char *first, *second, *merged;
    } facts[] = {
        {"", "", "given"},
        {"a", "", "a"},
        {"", "b", "b"},
        {"a", "b", "b"},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct span first = begun(1);
        struct span second = ended(1, T0);
        first.service_name = str_of(facts[i].first);
        second.service_name = str_of(facts[i].second);
        must_take_span(first, NULL);
        must_take_span(second, NULL);
        assert_true(str_is(last_exported()->service_name, facts[i].merged));
    }
    struct span nobodys = whole(1, S);
    assert_int_equal(spans_take(core.spans, &nobodys, NULL, *NOBODY), 0);
    assert_int_equal(last_exported()->service_name.len, 0);
}

/* --- cut off ----------------------------------------------------------------------------------- */

static void must_be_cut_off(const struct span *span, const char *reason, const char *message)
{
    const struct span_attribute *attribute = span_find(span, STR_LITERAL("dwell.cut_off"));
    assert_non_null(attribute);
    assert_true(attribute->is_text);
    assert_true(str_is(attribute->text, reason));
    /* KeyValue {1: key, 2: AnyValue {1: text}} in field 9, lengths below 128. */
    char field[128];
    int len = snprintf(field, sizeof field,
                       "\x4a%c\x0a\x0d"
                       "dwell.cut_off\x12%c\x0a%c%s",
                       (int)(2 + 13 + 2 + 2 + strlen(reason)), (int)(2 + strlen(reason)),
                       (int)strlen(reason), reason);
    assert_int_equal(attribute->field.len, len);
    assert_memory_equal(attribute->field.ptr, field, (size_t)len);
    assert_int_equal(span->part, SPAN_WHOLE);
    assert_int_equal(span->status, SPAN_ERROR);
    assert_true(str_is(span->status_message, message));
}

#define ENDED_MESSAGE   "the process ended before the span did"
#define CEILING_MESSAGE "too many spans were open, and this one was the oldest"
#define STOP_MESSAGE    "dwelld was stopped before the span ended"

static void test_spans_are_cut_off_with_their_owner(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    must_take_span(begun(1), &owner);
    must_take_span(begun(2), NULL);
    core_move(&core, 5);
    spans_end_owner(core.spans, &owner);
    assert_int_equal(exported_count, 1);
    must_be_cut_off(last_exported(), "process_ended", ENDED_MESSAGE);
    assert_int_equal(last_exported()->start_wall_ns, T0);
    assert_int_equal(last_exported()->end_wall_ns, core.wall_ns);
    must_have_observed("span_name=s,status_code=error", 1, (double)(core.wall_ns - T0) / 1e9);
    assert_int_equal(core.spans->cut_off, 1);
    assert_int_equal(core.spans->completed, 1);
    assert_int_equal(core.spans->open.count, 1);
}

static void test_spans_are_cut_off_at_the_ceiling(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= CORE_OPEN_SPANS_MAX; i++) {
        must_take_span(begun(i), NULL);
    }
    assert_int_equal(exported_count, 0);
    must_take_span(begun(99), NULL);
    assert_int_equal(exported_count, 1);
    must_be_cut_off(last_exported(), "ceiling_reached", CEILING_MESSAGE);
    assert_int_equal(last_exported()->span_id[0], 1);
    assert_int_equal(core.spans->open.count, CORE_OPEN_SPANS_MAX);
}

static void test_spans_are_cut_off_when_the_daemon_stops(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    begin_with(1, 0);
    random_span_add_text(&with, "model_name", "m");
    with.span.part = SPAN_START;
    must_take_span(with.span, &owner);
    must_take_span(begun(2), NULL);
    spans_stop(core.spans);
    assert_int_equal(exported_count, 2);
    must_be_cut_off(&exported[0]->span, "daemon_stopped", STOP_MESSAGE);
    must_be_cut_off(&exported[1]->span, "daemon_stopped", STOP_MESSAGE);
    assert_int_equal(exported[0]->span.span_id[0], 1);
    assert_int_equal(core.registry->count, 1); /* an inference that failed */
    assert_int_equal(totals_of(core.registry->models[0]).errors, 1);
    spans_end_owner(core.spans, &owner);
    assert_int_equal(exported_count, 2);
}

static void test_spans_cut_off_keep_what_they_said(void **state)
{
    (void)state;
    static const struct {
        enum span_status status;
        const char *message, *wanted;
    } facts[] = {
        {SPAN_UNSET, "", ENDED_MESSAGE},
        {SPAN_OK, "fine", ENDED_MESSAGE},
        {SPAN_ERROR, "out of memory", "out of memory"},
        {SPAN_ERROR, "", ENDED_MESSAGE},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct span_owner owner = {0};
        struct span span = begun(1);
        span.status = facts[i].status;
        span.status_message = str_of(facts[i].message);
        span.kind = 3;
        must_take_span(span, &owner);
        spans_end_owner(core.spans, &owner);
        must_be_cut_off(last_exported(), "process_ended", facts[i].wanted);
        assert_int_equal(last_exported()->kind, 3);
        assert_true(str_is(last_exported()->service_name, "given"));
    }
}

/* A client's clock may be ahead of ours. */
static void test_spans_cut_off_do_not_end_before_they_begin(void **state)
{
    (void)state;
    struct span_owner owner = {0};
    struct span span = begun(1);
    span.start_wall_ns = core.wall_ns + 1;
    must_take_span(span, &owner);
    spans_end_owner(core.spans, &owner);
    assert_int_equal(last_exported()->end_wall_ns, core.wall_ns + 1);
    must_have_observed("span_name=s,status_code=error", 1, 0);
}

static void test_spans_cut_off_a_turn_at_a_time(void **state)
{
    (void)state;
    enum { MANY = OPEN_SPANS_CUT_MAX + 5 };
    struct spans_options options = options_of();
    struct span_owner owner = {0};
    close_core(NULL);
    options.max_open = 2 * MANY;
    options.max_open_bytes = SIZE_MAX;
    open_with(&options);
    for (uint64_t i = 1; i <= MANY; i++) {
        must_take_span(begun(i), &owner);
    }
    spans_end_owner(core.spans, &owner);
    assert_int_equal(exported_count, OPEN_SPANS_CUT_MAX);
    core_move(&core, 0);
    assert_int_equal(exported_count, MANY);
    assert_int_equal(core.spans->cut_off, MANY);
}

/* --- sampling ---------------------------------------------------------------------------------- */

static void test_spans_that_nobody_wants(void **state)
{
    (void)state;
    struct spans_options options = options_of();
    struct span_owner owner = {0};
    close_core(NULL);
    options.sampler.sink.keep = NULL;
    options.sampler.rate = 0;
    options.sampler.keep_errors = true;
    options.sampler.max_held = 10;
    options.sampler.max_held_bytes = SIZE_MAX;
    open_with(&options);
    struct span span = whole(1, S);
    must_take_span(span, NULL);
    must_take_span(begun(2), &owner);
    spans_end_owner(core.spans, &owner);
    must_have_observed("span_name=s,status_code=unset", 1, 1);
    assert_int_equal(core.spans->completed, 2);
    assert_int_equal(core.spans->cut_off, 1);
    assert_int_equal(core.spans->sampler.held, 0);
    assert_int_equal(core.spans->sampler.dropped[SAMPLER_NOT_SAMPLED], 0);
    spans_stop(core.spans);
}

static void test_spans_are_held_and_given_up(void **state)
{
    (void)state;
    struct spans_options options = options_of();
    close_core(NULL);
    options.sampler.rate = 0;
    options.sampler.keep_errors = true;
    options.sampler.keep_wait_ns = 10 * S;
    options.sampler.max_held = 10;
    options.sampler.max_held_bytes = SIZE_MAX;
    open_with(&options);
    must_take_span(whole(1, S), NULL);
    core_move(&core, 9);
    assert_int_equal(core.spans->sampler.held, 1);
    core_move(&core, 1);
    assert_int_equal(core.spans->sampler.held, 0);
    must_take_span(whole(2, S), NULL);
    must_take_span(begun(3), NULL); /* of the same trace; cut off, it is an error */
    spans_stop(core.spans);
    assert_int_equal(exported_count, 2);
    assert_int_equal(exported[0]->span.span_id[0], 2);
    must_take_span(plain_span(8, 4, T0, T0 + S), NULL);
    spans_stop(core.spans);
    assert_int_equal(core.spans->sampler.held, 0);
    assert_int_equal(core.spans->sampler.dropped[SAMPLER_NOT_SAMPLED], 2);
    must_have_observed("span_name=s,status_code=unset", 3, 3); /* of all, sent or not */
}

static void test_spans_counters_of_a_snapshot(void **state)
{
    (void)state;
    struct spans_options options = options_of();
    struct span_owner owner = {0};
    close_core(NULL);
    options.sampler.rate = 0;
    options.sampler.keep_slow_ns = UINT64_MAX;
    options.sampler.keep_wait_ns = S;
    options.sampler.max_held = 10;
    options.sampler.max_held_bytes = SIZE_MAX;
    open_with(&options);
    must_take_span(begun(1), &owner);
    must_take_span(begun(2), NULL);
    must_take_span(begun(3), NULL);
    must_take_span(begun(4), NULL);
    spans_end_owner(core.spans, &owner);
    begin_with(5, S);
    random_span_add_text(&with, "model_name", "");
    must_take_span(with.span, NULL);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->counters.value[COUNTER_OPEN_SPANS], 3);
    assert_int_equal(snapshot->counters.value[COUNTER_CUT_OFF_SPANS], 1);
    assert_int_equal(snapshot->counters.value[COUNTER_HELD_SPANS], 2);
    assert_int_equal(snapshot->counters.value[COUNTER_REFUSED_SPAN_SAMPLES], 1);
    core_drop(&core, snapshot);
}

/* --- through a peer ---------------------------------------------------------------------------- */

static const struct peer_events no_events = {.ctx = NULL};

struct talk {
    struct peer peer;
    struct record_sink sink;
};

static void talk_open(struct talk *talk, int64_t kernel_pid)
{
    peer_init(&talk->peer, &core.intake, &no_events, kernel_pid);
    talk->sink = peer_sink(&talk->peer);
}

static int say(struct talk *talk, struct span span)
{
    return talk->sink.span(talk->sink.ctx, &span);
}

static void say_hello(struct talk *talk, struct str service, uint64_t pid, struct str hash)
{
    struct hello hello = {.service_name = service, .pid = pid, .constitutional_hash = hash};
    struct mark nowhere = {.has_sequence = false};
    assert_int_equal(talk->sink.hello(talk->sink.ctx, &hello, &nowhere), 0);
}

static void test_spans_of_a_peer_count_as_records(void **state)
{
    (void)state;
    struct talk talk;
    talk_open(&talk, 0);
    peer_begin(&talk.peer);
    assert_int_equal(say(&talk, whole(1, S)), 0);
    assert_int_equal(say(&talk, begun(2)), 0);
    assert_int_equal(say(&talk, begun(2)), ERR_DUPLICATE_KEY);
    assert_int_equal(say(&talk, ended(2, T0)), 0);
    peer_settle(&talk.peer);
    assert_int_equal(core.intake.accepted, 3);
    assert_int_equal(exported_count, 2);
    peer_fini(&talk.peer);
}

static void test_spans_of_a_peer_bear_its_service(void **state)
{
    (void)state;
    static char text[RECORD_NAME_MAX + 2];
    memset(text, 'n', sizeof text - 1);
    struct talk talk;
    talk_open(&talk, 0);
    struct {
        struct str said, wanted;
    } facts[] = {
        {{NULL, 0}, {NULL, 0}},
        {STR_LITERAL("api"), STR_LITERAL("api")},
        {{NULL, 0}, STR_LITERAL("api")}, /* a hello without a name leaves things as they are */
        {STR_LITERAL("bad\xff"), STR_LITERAL("api")},
        {{"a\0b", 3}, STR_LITERAL("api")},
        {{text, RECORD_NAME_MAX + 1}, STR_LITERAL("api")},
        {{text, RECORD_NAME_MAX}, {text, RECORD_NAME_MAX}},
        {STR_LITERAL("web"), STR_LITERAL("web")},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        say_hello(&talk, facts[i].said, 0, *NOBODY);
        assert_int_equal(say(&talk, whole(1, S)), 0);
        assert_true(str_equal(last_exported()->service_name, facts[i].wanted));
    }
    struct span own = whole(1, S);
    own.service_name = STR_LITERAL("own");
    assert_int_equal(say(&talk, own), 0);
    assert_true(str_is(last_exported()->service_name, "own"));
    peer_fini(&talk.peer);
}

static void test_spans_end_with_the_connection_of_nobody(void **state)
{
    (void)state;
    struct talk one;
    struct talk two;
    talk_open(&one, 0);
    talk_open(&two, 0);
    assert_int_equal(say(&one, begun(1)), 0);
    assert_int_equal(say(&two, begun(2)), 0);
    peer_fini(&one.peer);
    assert_int_equal(exported_count, 1);
    must_be_cut_off(last_exported(), "process_ended", ENDED_MESSAGE);
    assert_int_equal(say(&two, ended(2, T0)), 0);
    peer_fini(&two.peer);
    assert_int_equal(exported_count, 2);
    assert_int_equal(last_exported()->status, SPAN_UNSET);
}

static bool watch_all(void *ctx, struct process *process)
{
    (void)ctx;
    (void)process;
    return true;
}

static void test_spans_outlive_the_connections_of_their_process(void **state)
{
    (void)state;
    struct talk one;
    struct talk two;
    core.processes.watch = watch_all;
    talk_open(&one, 100);
    assert_int_equal(say(&one, begun(1)), 0); /* before it says who it is */
    say_hello(&one, *NOBODY, 100, *NOBODY);
    assert_int_equal(say(&one, begun(2)), 0);
    struct process *process = one.peer.process;
    peer_fini(&one.peer);
    assert_int_equal(exported_count, 1);
    assert_int_equal(last_exported()->span_id[0], 1);
    talk_open(&two, 100);
    say_hello(&two, *NOBODY, 100, *NOBODY);
    assert_ptr_equal(two.peer.process, process);
    assert_int_equal(say(&two, begun(3)), 0);
    assert_int_equal(say(&two, ended(2, T0)), 0);
    process_exit(&core.processes, process);
    assert_int_equal(exported_count, 2); /* its connection may not be read to the end yet */
    peer_fini(&two.peer);
    assert_int_equal(exported_count, 3);
    must_be_cut_off(last_exported(), "process_ended", ENDED_MESSAGE);
    assert_int_equal(last_exported()->span_id[0], 3);
    assert_int_equal(core.processes.count, 0);
}

/* A datagram is over at once: what it leaves open does not end with it. */
static void test_spans_of_datagrams(void **state)
{
    (void)state;
    static const struct {
        uint64_t said_pid;
        bool watched;
        bool ends_with_process;
    } facts[] = {
        {0, false, false}, /* nobody knows whose it is */
        {100, true, true},
        {100, false, false}, /* nobody would know when the process ends */
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct talk talk;
        unsigned before = exported_count;
        core.processes.watch = facts[i].watched ? watch_all : NULL;
        for (uint64_t part = 0; part < 2; part++) { /* each half in one of its own */
            talk_open(&talk, 100);
            talk.peer.is_datagram = true;
            say_hello(&talk, *NOBODY, facts[i].said_pid, *NOBODY);
            assert_int_equal(say(&talk, part == 0 ? begun(1) : ended(1, T0)), 0);
            assert_int_equal(say(&talk, begun(10 + part)), 0);
            peer_fini(&talk.peer);
        }
        assert_int_equal(exported_count, before + 1);
        assert_int_equal(last_exported()->status, SPAN_UNSET);
        if (core.processes.first != NULL) {
            process_exit(&core.processes, core.processes.first);
        }
        assert_int_equal(core.processes.count, 0);
        assert_int_equal(exported_count, before + (facts[i].ends_with_process ? 3 : 1));
        spans_stop(core.spans);
    }
}

static void test_spans_are_governed(void **state)
{
    (void)state;
    struct talk talk;
    core.intake.constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2");
    core.intake.enforce_hash = true;
    talk_open(&talk, 0);
    peer_begin(&talk.peer);
    static const enum span_part parts[] = {SPAN_WHOLE, SPAN_START, SPAN_END};
    for (size_t i = 0; i < 3; i++) {
        struct span span = whole(1, S);
        span.part = parts[i];
        assert_int_equal(say(&talk, span), ERR_NO_HELLO);
    }
    say_hello(&talk, *NOBODY, 0, STR_LITERAL("0000"));
    for (size_t i = 0; i < 3; i++) {
        struct span span = whole(1, S);
        span.part = parts[i];
        assert_int_equal(say(&talk, span), ERR_HASH);
    }
    assert_int_equal(core.spans->open.count, 0);
    assert_int_equal(core.spans->completed, 0);
    say_hello(&talk, *NOBODY, 0, STR_LITERAL("cdd01ef066bc6cf2"));
    assert_int_equal(say(&talk, whole(1, S)), 0);
    peer_settle(&talk.peer);
    assert_int_equal(core.intake.accepted, 1);
    peer_fini(&talk.peer);
}

/* --- all together ------------------------------------------------------------------------------ */

/* Whatever comes, what was completed is what was taken and what was cut off, and all of it is seen. */
static void test_spans_balance(void **state)
{
    (void)state;
    enum { STEPS = 3000 };
    struct random random = random_start("spans");
    struct span_owner owners[2] = {{0}};
    uint64_t taken = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        random_span_make(&random, 4, &with);
        struct span *span = &with.span;
        span->part = (enum span_part)random_below(&random, SPAN_PART_COUNT);
        span->name = STR_LITERAL("s");
        uint64_t number = 1 + random_below(&random, 6);
        memset(span->trace_id, 1, sizeof span->trace_id);
        memcpy(span->span_id, &number, sizeof number);
        if (span->part == SPAN_END && random_below(&random, 2) == 0) {
            span->start_wall_ns = 0;
        }
        size_t owner = random_below(&random, 3);
        bool first = span->part == SPAN_START;
        int err = take(*span, owner == 2 ? NULL : &owners[owner]);
        taken += err == 0 && !first;
        assert_true(err == 0 || (first && err == ERR_DUPLICATE_KEY) ||
                    (!first && (err == ERR_MISSING_KEY || err == ERR_RANGE)));
        if (random_below(&random, 10) == 0) {
            spans_end_owner(core.spans, &owners[random_below(&random, 2)]);
        }
        assert_int_equal(core.spans->completed, taken + core.spans->cut_off);
        assert_true(core.spans->open.count <= CORE_OPEN_SPANS_MAX);
        for (unsigned i = 0; i < exported_count; i++) {
            assert_true(exported[i]->span.end_wall_ns >= exported[i]->span.start_wall_ns);
        }
        forget_exported();
    }
    spans_stop(core.spans);
    uint64_t observed = durations_of("span_name=s,status_code=unset")->count +
                        durations_of("span_name=s,status_code=ok")->count +
                        durations_of("span_name=s,status_code=error")->count;
    assert_int_equal(observed, core.spans->completed);
    assert_true(core.spans->cut_off > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spans_durations_by_name_and_status),
        TEST(test_spans_durations_have_exemplars),
        TEST(test_spans_durations_of_names_of_every_length),
        TEST(test_spans_durations_need_no_place),
        TEST(test_spans_are_taken_without_memory_for_their_duration),
        TEST(test_spans_declare_their_histogram),
        TEST(test_spans_declare_once),
        TEST(test_spans_namespaces),
        TEST(test_spans_with_a_model_are_inferences),
        TEST(test_spans_inferences_are_told_apart),
        TEST(test_spans_names_that_are_no_models),
        TEST(test_spans_with_a_model_that_is_no_text),
        TEST(test_spans_with_a_device_that_is_none),
        TEST(test_spans_refused_samples_for_want_of_memory),
        TEST(test_spans_halves_are_put_together),
        TEST(test_spans_ends_without_beginnings),
        TEST(test_spans_whole_ones_stand_for_their_halves),
        TEST(test_spans_that_end_before_they_begin),
        TEST(test_spans_refused_halves),
        TEST(test_spans_services),
        TEST(test_spans_are_cut_off_with_their_owner),
        TEST(test_spans_are_cut_off_at_the_ceiling),
        TEST(test_spans_are_cut_off_when_the_daemon_stops),
        TEST(test_spans_cut_off_keep_what_they_said),
        TEST(test_spans_cut_off_do_not_end_before_they_begin),
        TEST(test_spans_cut_off_a_turn_at_a_time),
        TEST(test_spans_that_nobody_wants),
        TEST(test_spans_are_held_and_given_up),
        TEST(test_spans_counters_of_a_snapshot),
        TEST(test_spans_of_a_peer_count_as_records),
        TEST(test_spans_of_a_peer_bear_its_service),
        TEST(test_spans_end_with_the_connection_of_nobody),
        TEST(test_spans_outlive_the_connections_of_their_process),
        TEST(test_spans_of_datagrams),
        TEST(test_spans_are_governed),
        TEST(test_spans_balance),
    };
    return cmocka_run_group_tests_name("spans", tests, core_tables, NULL);
}
