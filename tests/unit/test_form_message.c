#include "core_helpers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <prometheus.pb-c.h>

#include "base/err.h"
#include "core_random.h"
#include "mem_fault.h"
#include "render/exposition.h"
#include "render/form.h"
#include "render/label.h"

enum { BYTES_MAX = 64 << 20, FAMILIES_MAX = 1000 };

typedef Prometheus__MetricFamily Family;
typedef Prometheus__Metric Metric;
typedef Prometheus__Histogram Histogram;
typedef Prometheus__Exemplar Exemplar;

static const struct exposition_process process = {
    .resident_bytes = 5 << 20, .scrapes = 3, .http_errors = 1};

static const struct label resource[] = {{{"service_name", 12}, {"acgs2-agent-bus", 15}}};

static struct exposition *must_make(bool hash_label)
{
    struct exposition_options options = {
        .name_space = STR_LITERAL("acgs2"),
        .resource = resource,
        .resource_count = 1,
        .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2"),
        .hash_label = hash_label,
        .created_series = true,
        .dwelld_version = STR_LITERAL("0.1.0"),
    };
    struct exposition *exposition = exposition_new(&options);
    assert_non_null(exposition);
    return exposition;
}

static void must_render(struct exposition *exposition, const struct snapshot *snapshot,
                        enum exposition_format format, struct buf *out)
{
    buf_init(out, BYTES_MAX);
    assert_int_equal(exposition_render(exposition, snapshot, format, &process, out), 0);
    assert_int_equal(out->err, 0);
}

/* --- reading ----------------------------------------------------------------------------------- */

struct families {
    Family *family[FAMILIES_MAX];
    size_t count;
};

/* Length-delimited messages that fill the answer exactly, of fields that are all known. */
static void must_decode(const struct buf *answer, struct families *ret)
{
    const uint8_t *at = (const uint8_t *)answer->data;
    const uint8_t *end = at + answer->len;
    ret->count = 0;
    while (at < end) {
        uint64_t len = 0;
        unsigned shift = 0;
        do {
            assert_true(at < end && shift < 64);
            len |= (uint64_t)(*at & 0x7F) << shift;
            shift += 7;
        } while ((*at++ & 0x80) != 0);
        assert_true(len <= (size_t)(end - at));
        assert_true(ret->count < FAMILIES_MAX);
        Family *family = prometheus__metric_family__unpack(NULL, len, at);
        assert_non_null(family);
        assert_true(family->n_metric > 0);
        assert_int_equal(family->base.n_unknown_fields, 0);
        assert_int_equal(prometheus__metric_family__get_packed_size(family), len);
        ret->family[ret->count++] = family;
        at += len;
    }
}

static void free_families(struct families *families)
{
    for (size_t i = 0; i < families->count; i++) {
        prometheus__metric_family__free_unpacked(families->family[i], NULL);
    }
}

static const Family *must_have(const struct families *families, const char *name)
{
    for (size_t i = 0; i < families->count; i++) {
        if (strcmp(families->family[i]->name, name) == 0) {
            return families->family[i];
        }
    }
    fail_msg("no family %s", name);
    abort(); /* the compiler does not know that it fails */
}

/* --- the same, told as text -------------------------------------------------------------------- */

/* What was decoded, in the lines of one of the text formats. */
struct teller {
    bool open_metrics; /* samples alone, with exemplars and _created */
    struct buf *out;
};

static void tell_labels(Prometheus__LabelPair **labels, size_t count, const char *le,
                        struct buf *out)
{
    struct buf run;
    buf_init(&run, BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        label_render(labels[i]->name, str_of(labels[i]->value), &run);
    }
    if (le != NULL) {
        buf_puts(&run, run.len > 0 ? "," : "");
        buf_puts(&run, le);
    }
    buf_puts(out, run.len > 0 ? "{" : "");
    buf_append(out, run.data, run.len);
    buf_puts(out, run.len > 0 ? "}" : "");
    buf_fini(&run);
}

static void tell_time(const Prometheus__Timestamp *time, struct buf *out)
{
    assert_true(time->has_seconds && time->has_nanos);
    assert_int_equal(time->nanos % 1000000, 0);
    buf_i64(out, time->seconds);
    buf_printf(out, ".%03d", (int)time->nanos / 1000000);
}

static void tell_exemplar(const struct teller *teller, const Exemplar *exemplar)
{
    if (teller->open_metrics && exemplar != NULL) {
        buf_puts(teller->out, " # ");
        tell_labels(exemplar->label, exemplar->n_label, NULL, teller->out);
        buf_char(teller->out, ' ');
        buf_double(teller->out, exemplar->value);
        buf_char(teller->out, ' ');
        tell_time(exemplar->timestamp, teller->out);
    }
}

static void begin_sample(const struct teller *teller, const Family *family, size_t cut,
                         const char *end, const Metric *metric, const char *le)
{
    buf_append(teller->out, family->name, strlen(family->name) - cut);
    buf_puts(teller->out, end);
    tell_labels(metric->label, metric->n_label, le, teller->out);
    buf_char(teller->out, ' ');
}

static void tell_created(const struct teller *teller, const Family *family, size_t cut,
                         const Metric *metric, const Prometheus__Timestamp *created)
{
    if (teller->open_metrics && created != NULL) {
        begin_sample(teller, family, cut, "_created", metric, NULL);
        tell_time(created, teller->out);
        buf_char(teller->out, '\n');
    }
}

static void tell_histogram(const struct teller *teller, const Family *family, const Metric *metric)
{
    const Histogram *histogram = metric->histogram;
    for (size_t i = 0; i < histogram->n_bucket; i++) {
        const Prometheus__Bucket *bucket = histogram->bucket[i];
        char le[FORM_BOUND_MAX + 1];
        le[form_write_bound(bucket->upper_bound, le)] = '\0';
        begin_sample(teller, family, 0, "_bucket", metric, le);
        buf_u64(teller->out, bucket->cumulative_count);
        tell_exemplar(teller, bucket->exemplar);
        buf_char(teller->out, '\n');
    }
    begin_sample(teller, family, 0, "_sum", metric, NULL);
    buf_double(teller->out, histogram->sample_sum);
    buf_char(teller->out, '\n');
    begin_sample(teller, family, 0, "_count", metric, NULL);
    buf_u64(teller->out, histogram->sample_count);
    buf_char(teller->out, '\n');
    tell_created(teller, family, 0, metric, histogram->created_timestamp);
}

static void tell_metric(const struct teller *teller, const Family *family, const Metric *metric)
{
    if (family->type == PROMETHEUS__METRIC_TYPE__HISTOGRAM) {
        assert_true(metric->histogram != NULL && metric->gauge == NULL && metric->counter == NULL);
        tell_histogram(teller, family, metric);
        return;
    }
    const Prometheus__Counter *counter = metric->counter;
    bool counts = family->type == PROMETHEUS__METRIC_TYPE__COUNTER;
    assert_true(counts || family->type == PROMETHEUS__METRIC_TYPE__GAUGE);
    assert_true(metric->histogram == NULL && (metric->gauge == NULL) == counts &&
                (counter != NULL) == counts);
    begin_sample(teller, family, 0, "", metric, NULL);
    buf_double(teller->out, counts ? counter->value : metric->gauge->value);
    tell_exemplar(teller, counts ? counter->exemplar : NULL);
    buf_char(teller->out, '\n');
    tell_created(teller, family, strlen("_total"), metric,
                 counts ? counter->created_timestamp : NULL);
}

static void tell_help(const char *help, struct buf *out)
{
    for (; *help != '\0'; help++) {
        buf_puts(out, *help == '\\' || *help == '\n' ? "\\" : "");
        buf_char(out, *help == '\n' ? 'n' : *help);
    }
}

static void tell_family(const struct teller *teller, const Family *family)
{
    static const char *const types[] = {"counter", "gauge", "summary", "untyped", "histogram"};
    if (!teller->open_metrics) {
        buf_printf(teller->out, "# HELP %s ", family->name);
        tell_help(family->help, teller->out);
        buf_printf(teller->out, "\n# TYPE %s %s\n", family->name, types[family->type]);
    }
    for (size_t i = 0; i < family->n_metric; i++) {
        tell_metric(teller, family, family->metric[i]);
    }
}

static void tell(const struct families *families, bool open_metrics, struct buf *out)
{
    struct teller teller = {open_metrics, out};
    buf_init(out, BYTES_MAX);
    for (size_t i = 0; i < families->count; i++) {
        if (open_metrics || strcmp(families->family[i]->name, "target_info") != 0) {
            tell_family(&teller, families->family[i]);
        }
    }
}

/* Keeps the lines of a text answer that protobuf has too: no comments in OpenMetrics, and no heads of
 * families without samples in the other. */
static void filter(const struct buf *text, bool open_metrics, struct buf *out)
{
    const char *help = NULL; /* the head that waits for a sample */
    const char *end = text->data + text->len;
    const char *next;
    buf_init(out, BYTES_MAX);
    for (const char *line = text->data; line < end; line = next) {
        next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        if (line[0] == '#') {
            help = strncmp(line, "# HELP", 6) == 0 ? line : help;
        } else {
            const char *from = help != NULL && !open_metrics ? help : line;
            buf_append(out, from, (size_t)(next - from));
            help = NULL;
        }
    }
}

static void must_be_same(struct buf *got, struct buf *wanted)
{
    size_t at = 0;
    while (at < got->len && at < wanted->len && got->data[at] == wanted->data[at]) {
        at++;
    }
    if (got->len != wanted->len || at < got->len) {
        size_t from = at < 100 ? 0 : at - 100;
        buf_char(got, '\0');
        buf_char(wanted, '\0');
        fail_msg("they part at byte %zu:\n%.200s\n--- wanted ---\n%.200s", at, got->data + from,
                 wanted->data + from);
    }
    buf_fini(got);
    buf_fini(wanted);
}

static void must_say_the_same(const struct families *families, const struct buf *text,
                              bool open_metrics)
{
    struct buf got;
    struct buf wanted;
    tell(families, open_metrics, &got);
    filter(text, open_metrics, &wanted);
    must_be_same(&got, &wanted);
}

/* --- native buckets ---------------------------------------------------------------------------- */

enum { NATIVE_MAX = 8192 };

/* The buckets of one side of zero that are not empty. */
struct side {
    size_t count;
    uint64_t total;
    struct {
        int32_t index;
        uint64_t count;
    } bucket[NATIVE_MAX];
};

static void read_side(Prometheus__BucketSpan **spans, size_t span_count, const int64_t *deltas,
                      size_t delta_count, struct side *ret)
{
    int64_t index = 0;
    int64_t count = 0;
    size_t used = 0;
    ret->count = 0;
    ret->total = 0;
    for (size_t i = 0; i < span_count; i++) {
        assert_true(i == 0 || spans[i]->offset > 2); /* else no span of its own */
        index += spans[i]->offset;
        for (uint32_t in = 0; in < spans[i]->length; in++, index++) {
            assert_true(used < delta_count);
            count += deltas[used++];
            assert_true(count >= 0);
            assert_true(count > 0 || (in > 0 && in + 1 < spans[i]->length));
            if (count > 0) {
                assert_true(ret->count < NATIVE_MAX);
                ret->bucket[ret->count].index = (int32_t)index;
                ret->bucket[ret->count++].count = (uint64_t)count;
                ret->total += (uint64_t)count;
            }
        }
    }
    assert_int_equal(used, delta_count);
}

static struct side read_positive(const Histogram *histogram)
{
    struct side side;
    read_side(histogram->positive_span, histogram->n_positive_span, histogram->positive_delta,
              histogram->n_positive_delta, &side);
    return side;
}

static struct side read_negative(const Histogram *histogram)
{
    struct side side;
    read_side(histogram->negative_span, histogram->n_negative_span, histogram->negative_delta,
              histogram->n_negative_delta, &side);
    return side;
}

static void must_be_native(const Histogram *histogram, double zero_threshold)
{
    struct side positive = read_positive(histogram);
    struct side negative = read_negative(histogram);
    assert_true(histogram->has_schema && histogram->has_zero_count);
    assert_true(histogram->zero_threshold == zero_threshold);
    assert_int_equal(positive.total + negative.total + histogram->zero_count,
                     histogram->sample_count);
    assert_true(positive.count <= 160 && negative.count <= 160);
    if (positive.count + negative.count == 0) {
        assert_int_equal(histogram->n_positive_span, 1);
        assert_int_equal(histogram->positive_span[0]->offset, 0);
        assert_int_equal(histogram->positive_span[0]->length, 0);
    }
}

static void must_not_be_native(const Histogram *histogram)
{
    assert_false(histogram->has_schema || histogram->has_zero_count ||
                 histogram->has_zero_threshold);
    assert_int_equal(histogram->n_positive_span + histogram->n_negative_span, 0);
    assert_int_equal(histogram->n_exemplars, 0);
}

/* A run of buckets is what was decoded of it. */
static void must_be_run(const struct side *side, const struct bucket_run *run,
                        const uint64_t *counts)
{
    size_t at = 0;
    for (uint16_t i = 0; i < run->len; i++) {
        if (counts[i] > 0) {
            assert_true(at < side->count);
            assert_int_equal(side->bucket[at].index, run->first + i);
            assert_int_equal(side->bucket[at++].count, counts[i]);
        }
    }
    assert_int_equal(at, side->count);
}

static void must_be_buckets(const Histogram *histogram, const struct buckets *buckets)
{
    struct side positive = read_positive(histogram);
    struct side negative = read_negative(histogram);
    must_be_native(histogram, 0x1p-128);
    assert_int_equal(histogram->schema, buckets->schema);
    assert_int_equal(histogram->zero_count, buckets->zero);
    must_be_run(&positive, &buckets->positive, buckets_positive(buckets));
    must_be_run(&negative, &buckets->negative, buckets_negative(buckets));
}

/* The newest ones of those on the classic buckets, oldest first. */
static void must_have_newest_exemplars(const Histogram *histogram)
{
    size_t marked = 0;
    size_t newer = 0;
    int64_t last = 0;
    for (size_t i = 0; i < histogram->n_exemplars; i++) {
        const Prometheus__Timestamp *time = histogram->exemplars[i]->timestamp;
        int64_t at = time->seconds * 1000 + time->nanos / 1000000;
        assert_true(at >= last);
        last = at;
    }
    for (size_t i = 0; i < histogram->n_bucket; i++) {
        const Exemplar *exemplar = histogram->bucket[i]->exemplar;
        if (exemplar != NULL) {
            const Prometheus__Timestamp *first = histogram->exemplars[0]->timestamp;
            marked++;
            newer += exemplar->timestamp->seconds > first->seconds ||
                     (exemplar->timestamp->seconds == first->seconds &&
                      exemplar->timestamp->nanos > first->nanos);
        }
    }
    assert_int_equal(histogram->n_exemplars, marked > 10 ? 10 : marked);
    assert_true(newer < 10);
}

/* Clients' histograms, series by series. */
static void must_match_metrics(const struct families *families, const struct metrics_view *view)
{
    for (uint32_t i = 0; i < view->family_count; i++) {
        const struct family_shape *shape = &view->families[i].family->shape;
        char name[RECORD_NAME_MAX + 1];
        (void)snprintf(name, sizeof name, "%.*s", (int)shape->name.len, shape->name.ptr);
        size_t at = 0;
        for (uint32_t page = 0;
             shape->type == FAMILY_HISTOGRAM && page < view->families[i].page_count; page++) {
            const struct series_page *series = view->families[i].pages[page];
            for (uint32_t slot = 0; slot < SERIES_PER_PAGE; slot++) {
                if (series_is_shown(series, slot)) {
                    const Family *family = must_have(families, name);
                    assert_true(at < family->n_metric);
                    const Histogram *histogram = family->metric[at++]->histogram;
                    if (shape->native) {
                        must_be_buckets(histogram, series->value[slot].buckets);
                        must_have_newest_exemplars(histogram);
                    } else {
                        must_not_be_native(histogram);
                    }
                }
            }
        }
    }
}

/* Adds the counts of a tally at a schema to the buckets that follow from its positions. */
static void add_tally(const struct tally *tally, int schema, uint64_t *counts, uint64_t *zero)
{
    if (tally == NULL) {
        return;
    }
    for (int position = 0; position < HIST_BUCKETS; position++) {
        /* The bucket's upper edge is 2^(edge/128); it is in the bucket that ends at or above it. */
        int edge = position + HIST_INDEX_MIN + 1;
        double index = ceil((double)edge / (double)(1 << (HIST_SCALE - schema)));
        counts[(int)index + NATIVE_MAX / 2] += hist_count_at(&tally->latency, position);
    }
    *zero += tally->latency.zero;
}

static size_t must_be_tallies(const Histogram *histogram, const struct model *model, int schema)
{
    uint64_t *counts = calloc(NATIVE_MAX, sizeof *counts);
    uint64_t zero = 0;
    size_t filled = 0;
    struct side side = read_positive(histogram);
    assert_non_null(counts);
    add_tally(model->past, schema, counts, &zero);
    add_tally(model->base, schema, counts, &zero);
    add_tally(model->current, schema, counts, &zero);
    for (uint32_t i = 0; i < model->closed_count; i++) {
        add_tally(model->closed[i], schema, counts, &zero);
    }
    for (int i = 0; i < NATIVE_MAX; i++) {
        if (counts[i] > 0 && schema == histogram->schema) {
            assert_true(filled < side.count);
            assert_int_equal(side.bucket[filled].index, i - NATIVE_MAX / 2);
            assert_int_equal(side.bucket[filled].count, counts[i]);
        }
        filled += counts[i] > 0 ? 1 : 0;
    }
    assert_int_equal(histogram->zero_count, zero);
    free(counts);
    return filled;
}

/* Models' latencies: all counts in the right buckets, in as fine a schema as 160 buckets permit. */
static void must_match_models(const struct families *families, const struct snapshot *snapshot)
{
    if (snapshot->model_count == 0) {
        return;
    }
    const Family *family = must_have(families, "acgs2_model_inference_latency_seconds");
    assert_int_equal(family->n_metric, snapshot->model_count);
    for (uint32_t i = 0; i < snapshot->model_count; i++) {
        const Histogram *histogram = family->metric[i]->histogram;
        const struct model *model = snapshot->models[i];
        must_be_native(histogram, 0x1p-30);
        must_have_newest_exemplars(histogram);
        assert_true(must_be_tallies(histogram, model, histogram->schema) <= 160);
        assert_true(histogram->schema == 7 ||
                    must_be_tallies(histogram, model, histogram->schema + 1) > 160);
    }
}

static void must_not_match_other_models(const struct families *families)
{
    static const char *const names[] = {"acgs2_model_queue_seconds", "acgs2_model_batch_size",
                                        "dwelld_loop_lag_seconds", "dwelld_snapshot_seconds"};
    for (size_t i = 0; i < families->count; i++) {
        const Family *family = families->family[i];
        for (size_t name = 0; name < sizeof names / sizeof names[0]; name++) {
            if (strcmp(family->name, names[name]) == 0) {
                must_not_be_native(family->metric[0]->histogram);
            }
        }
    }
}

/* --- the tests --------------------------------------------------------------------------------- */

static void must_agree(const struct snapshot *snapshot, struct exposition *exposition)
{
    struct buf answers[EXPOSITION_FORMAT_COUNT];
    struct families families;
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        must_render(exposition, snapshot, (enum exposition_format)format, &answers[format]);
    }
    must_decode(&answers[EXPOSITION_PROTOBUF], &families);
    must_say_the_same(&families, &answers[EXPOSITION_TEXT], false);
    must_say_the_same(&families, &answers[EXPOSITION_OPENMETRICS], true);
    must_match_metrics(&families, &snapshot->metrics);
    must_match_models(&families, snapshot);
    must_not_match_other_models(&families);
    free_families(&families);
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        buf_fini(&answers[format]);
    }
}

static void must_be_as_fresh(const struct snapshot *snapshot, struct exposition *exposition,
                             bool hash_label)
{
    struct exposition *fresh = must_make(hash_label);
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        struct buf got;
        struct buf wanted;
        must_render(exposition, snapshot, (enum exposition_format)format, &got);
        must_render(fresh, snapshot, (enum exposition_format)format, &wanted);
        must_be_same(&got, &wanted);
    }
    exposition_free(fresh);
}

static void must_hold_for_random_registries(bool hash_label, unsigned rounds)
{
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start(hash_label ? "formats, with hash" : "formats");
    core_open(&core, &options);
    core_random_declare(&core);
    struct exposition *exposition = must_make(hash_label);
    for (unsigned round = 0; round < rounds; round++) {
        struct snapshot *snapshot = must_take(&core);
        must_agree(snapshot, exposition);
        must_be_as_fresh(snapshot, exposition, hash_label);
        core_drop(&core, snapshot);
        core_random_change(&core, &random);
    }
    exposition_free(exposition);
    core_close(&core);
}

static void test_form_message_says_what_text_says(void **state)
{
    (void)state;
    must_hold_for_random_registries(false, 150);
}

static void test_form_message_says_what_text_says_with_the_hash(void **state)
{
    (void)state;
    must_hold_for_random_registries(true, 50);
}

/* The index of the only bucket of a model whose only latency this is. */
static int32_t index_of(double seconds)
{
    struct core core;
    struct registry_options options = core_options();
    struct families families;
    struct buf answer;
    core_open(&core, &options);
    struct sample sample = sample_of("m", seconds * 1e3);
    must_record(&core, &sample);
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(false);
    must_render(exposition, snapshot, EXPOSITION_PROTOBUF, &answer);
    must_decode(&answer, &families);
    const Family *family = must_have(&families, "acgs2_model_inference_latency_seconds");
    struct side side = read_positive(family->metric[0]->histogram);
    assert_int_equal(family->metric[0]->histogram->schema, 7);
    assert_int_equal(side.count, 1);
    int32_t index = side.bucket[0].index;
    free_families(&families);
    buf_fini(&answer);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
    return index;
}

/* Bucket i of schema 7 holds 2^((i-1)/128) < value <= 2^(i/128). */
static void test_form_message_buckets_have_prometheus_numbers(void **state)
{
    (void)state;
    assert_int_equal(index_of(1), 0);
    assert_int_equal(index_of(1.0000001), 1);
    assert_int_equal(index_of(2), 128);
    assert_int_equal(index_of(0.5), -128);
    assert_int_equal(index_of(0.51), (int)ceil(log2(0.51) * 128));
    assert_int_equal(index_of(0.004), (int)ceil(log2(0.004) * 128));
    assert_int_equal(index_of(0x1p-29), -29 * 128);
}

/* The schema of a model with latencies in the middles of so many of the finest buckets. */
static int32_t schema_of(int count, int step)
{
    struct core core;
    struct registry_options options = core_options();
    struct families families;
    struct buf answer;
    core_open(&core, &options);
    for (int i = 0; i < count; i++) {
        struct sample sample = sample_of("m", exp2(-29 + (i * step + 0.5) / 128) * 1e3);
        must_record(&core, &sample);
    }
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(false);
    must_render(exposition, snapshot, EXPOSITION_PROTOBUF, &answer);
    must_decode(&answer, &families);
    must_match_models(&families, snapshot);
    int32_t schema =
        must_have(&families, "acgs2_model_inference_latency_seconds")->metric[0]->histogram->schema;
    free_families(&families);
    buf_fini(&answer);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
    return schema;
}

static void test_form_message_lowers_resolution_as_little_as_it_must(void **state)
{
    (void)state;
    assert_int_equal(schema_of(1, 1), 7);
    assert_int_equal(schema_of(160, 1), 7);
    assert_int_equal(schema_of(161, 1), 6);
    assert_int_equal(schema_of(320, 1), 6);
    assert_int_equal(schema_of(321, 1), 5);
    assert_int_equal(schema_of(160, 40), 7); /* 50 doublings with gaps */
    assert_int_equal(schema_of(161, 40), 1); /* none of them meet before that */
    assert_int_equal(schema_of(59 * 128, 1), 1);
}

static void test_form_message_leaves_out_families_without_series(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct families families;
    struct buf answer;
    core_open(&core, &options);
    core_random_declare(&core);
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(false);
    must_render(exposition, snapshot, EXPOSITION_PROTOBUF, &answer);
    must_decode(&answer, &families);
    for (size_t i = 0; i < families.count; i++) {
        const char *name = families.family[i]->name;
        assert_true(strncmp(name, "dwelld_", 7) == 0 || strcmp(name, "target_info") == 0 ||
                    strcmp(name, "both_seconds") == 0);
    }
    const Family *both = must_have(&families, "both_seconds");
    assert_string_equal(both->unit, "seconds");
    must_be_native(both->metric[0]->histogram, 0x1p-128);
    assert_int_equal(both->metric[0]->histogram->n_positive_span, 1);
    free_families(&families);
    buf_fini(&answer);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* Fails the n-th allocation of an answer for n = 1, 2, …, each time after a change, until one passes
 * without; the answer after a failure is right. */
static void must_survive_failures(struct core *core, struct exposition *exposition,
                                  enum exposition_format format, struct random *random)
{
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf got;
        for (unsigned i = 0; i < 20; i++) {
            core_random_record(core, random);
            core_random_count(core, random);
        }
        struct snapshot *snapshot = must_take(core);
        buf_init(&got, BYTES_MAX);
        mem_fail_after(n);
        int err = exposition_render(exposition, snapshot, format, &process, &got);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, got.err);
        assert_true(err == 0 || (failed && err == ERR_NOMEM));
        buf_fini(&got);
        must_be_as_fresh(snapshot, exposition, false);
        core_drop(core, snapshot);
    }
}

static void test_form_message_is_right_again_after_want_of_memory(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start("formats, memory");
    core_open(&core, &options);
    core_random_declare(&core);
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        struct exposition *exposition = must_make(false);
        must_survive_failures(&core, exposition, (enum exposition_format)format, &random);
        exposition_free(exposition);
    }
    core_close(&core);
}

static void test_form_message_stops_at_the_ceiling_of_the_answer(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start("formats, ceiling");
    struct buf whole;
    core_open(&core, &options);
    core_random_declare(&core);
    for (unsigned i = 0; i < 100; i++) {
        core_random_record(&core, &random);
        core_random_count(&core, &random);
    }
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(false);
    must_render(exposition, snapshot, EXPOSITION_PROTOBUF, &whole);
    for (size_t max = 0; max < whole.len; max += 1 + max / 100) {
        struct buf got;
        buf_init(&got, max);
        assert_int_equal(
            exposition_render(exposition, snapshot, EXPOSITION_PROTOBUF, &process, &got),
            ERR_LIMIT);
        assert_true(got.len <= max);
        buf_fini(&got);
    }
    buf_fini(&whole);
    must_be_as_fresh(snapshot, exposition, false);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form_message_says_what_text_says),
        cmocka_unit_test(test_form_message_says_what_text_says_with_the_hash),
        cmocka_unit_test(test_form_message_buckets_have_prometheus_numbers),
        cmocka_unit_test(test_form_message_lowers_resolution_as_little_as_it_must),
        cmocka_unit_test(test_form_message_leaves_out_families_without_series),
        cmocka_unit_test(test_form_message_is_right_again_after_want_of_memory),
        cmocka_unit_test(test_form_message_stops_at_the_ceiling_of_the_answer),
    };
    return cmocka_run_group_tests_name("form_message", tests, core_tables, NULL);
}
