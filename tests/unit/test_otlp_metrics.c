#include "render/otlp_metrics.c" /* for its ceiling */

#include "core_helpers.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/err.h"
#include "core_random.h"
#include "main/families.h"
#include "mem_fault.h"
#include "otlp_samples.h"
#include "render/otlp_resource.h"

enum { BYTES_MAX = 1 << 20 };

/* --- against /metrics -------------------------------------------------------------------------- */

static void move_and_change(struct core *core, struct random *random)
{
    core_random_change(core, random);
    core_move(core, 1); /* so that each snapshot has a time of its own */
    metrics_tick(core->metrics);
}

static void test_otlp_metrics_say_what_metrics_says(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start("otlp");
    core_open(&core, &options);
    core_random_declare(&core);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    for (unsigned round = 0; round < 60; round++) {
        struct snapshot *snapshot = must_take(&core);
        struct samples *told = samples_new();
        struct samples *text = samples_read_text(snapshot);
        struct otlp_got *got = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
        samples_tell(got, told, snapshot->wall_ns, false);
        samples_must_agree(told, text, false);
        otlp_free(got);
        samples_free(told);
        samples_free(text);
        core_drop(&core, snapshot);
        move_and_change(&core, &random);
    }
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* Whatever gets lost on the way: what was delivered adds up to what there is. */
static void test_otlp_metrics_deltas_add_up_to_metrics(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start("otlp deltas");
    core_open(&core, &options);
    core_random_declare(&core);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, OTLP_REQUEST_MIN);
    struct samples *told = samples_new();
    for (unsigned round = 0; round < 60; round++) {
        struct snapshot *snapshot = must_take(&core);
        struct otlp_got *got = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, &random);
        samples_tell(got, told, snapshot->wall_ns, true);
        otlp_free(got);
        if (random_below(&random, 4) == 0) {
            core_drop(&core, snapshot);
            core_move(&core, 1);
            snapshot = must_take(&core);
            struct samples *text = samples_read_text(snapshot);
            got = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
            samples_tell(got, told, snapshot->wall_ns, true);
            samples_must_agree(told, text, true);
            otlp_free(got);
            samples_free(text);
        }
        core_drop(&core, snapshot);
        move_and_change(&core, &random);
    }
    samples_free(told);
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* --- names ------------------------------------------------------------------------------------- */

static void declare_builtin(struct core *core)
{
    struct conf_families families;
    struct buf errors;
    const char *name = NULL;
    buf_init(&errors, BYTES_MAX);
    assert_int_equal(conf_families_load(
                         &families, (struct str){conf_families_builtin, conf_families_builtin_len},
                         NULL, (struct str){0}, &errors),
                     0);
    assert_int_equal(families_declare(core->metrics, &families, &name), 0);
    conf_families_fini(&families);
    buf_fini(&errors);
}

/* A series of a golden family, through the names that it is recorded by. */
static void record_golden(struct core *core, const json_t *family, const char *name,
                          const char *type)
{
    const json_t *labels = json_object_get(family, "labels");
    struct metric metric = {.name = str_of(name),
                            .op = strcmp(type, "counter") == 0     ? METRIC_COUNT
                                  : strcmp(type, "gauge") == 0     ? METRIC_SET
                                  : strcmp(type, "histogram") == 0 ? METRIC_OBSERVE
                                                                   : METRIC_INFO,
                            .value = 1,
                            .weight = 1,
                            .attribute_count = (uint32_t)json_array_size(labels)};
    for (uint32_t i = 0; i < metric.attribute_count; i++) {
        metric.attributes[i] =
            (struct label){str_of(json_string_value(json_array_get(labels, i))), STR_LITERAL("v")};
    }
    must_count(core, &metric, NULL);
}

struct golden {
    char name[COLLECTOR_NAME_MAX];
    const json_t *family;
    enum collector_type type;
    unsigned found;
};

/* The labels of the golden family, and the hash. */
static void must_have_labels(const struct otlp_point *point, const json_t *labels)
{
    for (size_t i = 0; i < json_array_size(labels); i++) {
        const char *wanted = json_string_value(json_array_get(labels, i));
        unsigned found = 0;
        for (size_t at = 0; at < point->attribute_count; at++) {
            found += strcmp(point->attributes[at]->key, wanted) == 0;
        }
        assert_int_equal(found, 1);
    }
}

static void meet_golden(void *ctx, const struct otlp_point *point)
{
    struct golden *golden = ctx;
    char name[COLLECTOR_NAME_MAX];
    samples_name_of(point->metric, name);
    if (strcmp(name, golden->name) == 0) {
        golden->found++;
        assert_int_equal(samples_type_of(point->metric), golden->type);
        must_have_labels(point, json_object_get(golden->family, "labels"));
        const json_t *buckets = json_object_get(golden->family, "buckets");
        for (size_t i = 0; i < json_array_size(buckets); i++) {
            assert_int_equal(point->classic->n_explicit_bounds, json_array_size(buckets));
            assert_true(point->classic->explicit_bounds[i] ==
                        json_number_value(json_array_get(buckets, i)));
        }
    }
}

static void test_otlp_metrics_golden_families_come_back_from_the_collector(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    json_error_t error;
    json_t *golden = json_load_file(TEST_DATA "/golden/families.json", 0, &error);
    const json_t *families = json_object_get(golden, "families");
    size_t i;
    const json_t *family;
    core_open(&core, &options);
    declare_builtin(&core);
    struct sample sample = sample_of("m", 5);
    must_record(&core, &sample);
    json_array_foreach(families, i, family)
    {
        const char *name = json_string_value(json_object_get(family, "family_name"));
        if (strncmp(name, "acgs2_model_", 12) != 0) {
            record_golden(&core, family, name, json_string_value(json_object_get(family, "type")));
        }
    }
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    assert_int_equal(json_array_size(families), 20);
    json_array_foreach(families, i, family)
    {
        const char *name = json_string_value(json_object_get(family, "family_name"));
        const char *type = json_string_value(json_object_get(family, "type"));
        bool counts = strcmp(type, "counter") == 0;
        bool info = strcmp(type, "info") == 0;
        struct golden wanted = {.family = family,
                                .type = counts                           ? COLLECTOR_COUNTER
                                        : strcmp(type, "histogram") == 0 ? COLLECTOR_OTHER
                                                                         : COLLECTOR_GAUGE};
        (void)snprintf(wanted.name, sizeof wanted.name, "%s%s", name,
                       counts ? "_total"
                       : info ? "_info"
                              : "");
        otlp_for_each(got, meet_golden, &wanted);
        if (wanted.found == 0) {
            fail_msg("%s does not come back", wanted.name);
        }
    }
    otlp_free(got);
    otlp_metrics_free(metrics);
    json_decref(golden);
    core_close(&core);
}

/* As the daemon's own: no service in their names, and configured layers from the start. */
static void test_otlp_metrics_tell_of_time_budgets(void **state)
{
    (void)state;
    struct core core;
    struct str family;
    struct registry_options options = core_options();
    struct budget budget = {.layer = STR_LITERAL("layer1_validation"), .elapsed_ms = 6};
    struct budget_verdict verdict;
    core_open(&core, &options);
    uint64_t start = core.wall_ns;
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    assert_int_equal(budgets_record(core.budgets, &budget, &verdict), 0);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    static const char *const names[] = {"acgs2_budget_elapsed", "acgs2_budget_exceeded",
                                        "acgs2_budget_soft_limit_exceeded"};
    for (size_t i = 0; i < 3; i++) {
        otlp_must_be(got, names[i], "layer=layer1_validation", 1, start);
        otlp_must_be(got, names[i], "layer=total", 0, start);
    }
    struct otlp_point elapsed =
        otlp_must_have(got, "acgs2_budget_elapsed", "layer=layer1_validation");
    assert_string_equal(elapsed.metric->unit, "s");
    assert_true(elapsed.classic->sum == 0.006);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void test_otlp_metrics_free_families_bear_the_service(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs.done", 2, "queue=mail");
    struct metric took = metric_of(METRIC_OBSERVE, "job.time", 12.5, "");
    took.unit = STR_LITERAL("ms");
    must_count(&core, &jobs, NULL);
    must_count(&core, &took, NULL);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "acgs2.acgs2-agent-bus.jobs.done", "queue=mail", 2, core.wall_ns);
    otlp_must_be(got, "acgs2.acgs2-agent-bus.job.time", "", 1, core.wall_ns);
    struct otlp_point point = otlp_must_have(got, "acgs2.acgs2-agent-bus.job.time", "");
    assert_string_equal(point.metric->unit, "s");
    assert_true(point.classic->sum == 0.0125);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* --- attributes -------------------------------------------------------------------------------- */

static void test_otlp_metrics_nobody_overrides_the_hash(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 2, "constitutional_hash=forged");
    struct metric other = metric_of(METRIC_INFO, "build", 0, "constitutional_hash=forged,v=1");
    struct metric same =
        metric_of(METRIC_INFO, "build", 0, "constitutional_hash=" OTLP_HASH ",v=1");
    must_count(&core, &jobs, NULL);
    must_count(&core, &other, NULL);
    must_count(&core, &same, NULL);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    (void)otlp_must_have(got, "acgs2.acgs2-agent-bus.jobs", "exported_constitutional_hash=forged");
    otlp_must_be(got, "acgs2.acgs2-agent-bus.build_info", "exported_constitutional_hash=forged,v=1",
                 1, 0);
    otlp_must_be(got, "acgs2.acgs2-agent-bus.build_info", "v=1", 1, 0);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void test_otlp_metrics_overflow_has_its_attribute(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    options.max_models = 1;
    core_open(&core, &options);
    for (unsigned i = 0; i < 102; i++) { /* two past metrics.max_series_per_family */
        char value[16];
        struct metric jobs = metric_of(METRIC_COUNT, "jobs", 1, "");
        (void)snprintf(value, sizeof value, "%u", i);
        jobs.attributes[jobs.attribute_count++] = (struct label){STR_LITERAL("n"), str_of(value)};
        must_count(&core, &jobs, NULL);
    }
    struct sample one = sample_of("m", 5);
    struct sample more = sample_of("more", 5);
    must_record(&core, &one);
    must_record(&core, &more);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "acgs2.acgs2-agent-bus.jobs", "otel.metric.overflow", 2, core.wall_ns);
    otlp_must_be(got, "acgs2_model_inference", "model_name=m", 1, core.wall_ns);
    otlp_must_be(got, "acgs2_model_inference", "model_name=(overflow),otel.metric.overflow", 1,
                 core.wall_ns);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* --- exemplars --------------------------------------------------------------------------------- */

static void trace(struct metric *metric, uint8_t byte, uint64_t wall_ns)
{
    metric->has = METRIC_HAS_TRACE_ID | METRIC_HAS_SPAN_ID | METRIC_HAS_TIMESTAMP;
    memset(metric->trace_id, byte, sizeof metric->trace_id);
    memset(metric->span_id, byte, sizeof metric->span_id);
    metric->timestamp_wall_ns = wall_ns;
}

static void must_be_exemplar(const Otlp__Exemplar *exemplar, uint8_t byte, double value,
                             uint64_t wall_ns)
{
    uint8_t bytes[16];
    memset(bytes, byte, sizeof bytes);
    assert_int_equal(exemplar->trace_id.len, 16);
    assert_memory_equal(exemplar->trace_id.data, bytes, 16);
    assert_int_equal(exemplar->span_id.len, 8);
    assert_memory_equal(exemplar->span_id.data, bytes, 8);
    assert_true(exemplar->as_double == value);
    assert_int_equal(exemplar->time_unix_nano, wall_ns);
}

static void must_show_exemplars(bool exponential)
{
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    uint64_t at = core.wall_ns - 1234567;
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 2, "");
    struct metric size = metric_of(METRIC_OBSERVE, "size", 3, "");
    struct sample sample = sample_of("m", 5);
    trace(&jobs, 1, at);
    must_count(&core, &jobs, NULL);
    for (unsigned i = 0; i < 2; i++) { /* in two buckets */
        trace(&size, (uint8_t)(2 + i), at);
        size.value = 3 + 100 * i;
        must_count(&core, &size, NULL);
    }
    sample.has = 1u << SAMPLE_TRACE_ID | 1u << SAMPLE_TIMESTAMP;
    memset(sample.trace_id, 7, sizeof sample.trace_id);
    sample.timestamp_wall_ns = at;
    must_record(&core, &sample);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, exponential, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    struct otlp_point point = otlp_must_have(got, "acgs2.acgs2-agent-bus.jobs", "");
    assert_int_equal(point.exemplar_count, 1);
    must_be_exemplar(point.exemplars[0], 1, 2, at);
    point = otlp_must_have(got, "acgs2.acgs2-agent-bus.size", "");
    assert_true((point.exponential != NULL) == exponential);
    assert_int_equal(point.exemplar_count, 2);
    must_be_exemplar(point.exemplars[0], 2, 3, at);
    must_be_exemplar(point.exemplars[1], 3, 103, at);
    point = otlp_must_have(got, "acgs2_model_inference_latency", "model_name=m");
    assert_true((point.exponential != NULL) == exponential);
    assert_int_equal(point.exemplar_count, 1);
    assert_int_equal(point.exemplars[0]->trace_id.data[15], 7);
    assert_int_equal(point.exemplars[0]->span_id.len, 0);
    assert_true(point.exemplars[0]->as_double == 0.005);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void test_otlp_metrics_show_exemplars(void **state)
{
    (void)state;
    must_show_exemplars(false);
    must_show_exemplars(true);
}

static void test_otlp_metrics_deltas_show_exemplars_once(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 2, "");
    struct metric plain = jobs;
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
    static const size_t wanted[] = {1, 0, 1};
    for (unsigned i = 0; i < 3; i++) {
        core_move(&core, 10);
        trace(&jobs, (uint8_t)i, core.wall_ns - NS_PER_SECOND);
        must_count(&core, i == 1 ? &plain : &jobs, NULL);
        struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
        struct otlp_point point = otlp_must_have(got, "acgs2.acgs2-agent-bus.jobs", "");
        assert_int_equal(point.exemplar_count, wanted[i]);
        otlp_free(got);
    }
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* --- exponential histograms -------------------------------------------------------------------- */

static void must_be_dense(const Otlp__ExponentialHistogramDataPoint__Buckets *side, uint64_t *total)
{
    if (side != NULL) {
        assert_true(side->n_bucket_counts > 0 && side->n_bucket_counts <= OTLP_BUCKETS_MAX);
        assert_true(side->bucket_counts[0] > 0 &&
                    side->bucket_counts[side->n_bucket_counts - 1] > 0);
        for (size_t i = 0; i < side->n_bucket_counts; i++) {
            *total += side->bucket_counts[i];
        }
    }
}

static void must_be_good_histogram(void *ctx, const struct otlp_point *point)
{
    (void)ctx;
    if (point->exponential != NULL) {
        uint64_t total = point->exponential->zero_count;
        assert_true(point->exponential->has_scale && point->exponential->scale <= 7);
        must_be_dense(point->exponential->positive, &total);
        must_be_dense(point->exponential->negative, &total);
        assert_int_equal(total, point->exponential->count);
    }
}

static void test_otlp_metrics_exponential_where_there_are_native_buckets(void **state)
{
    (void)state;
    static const double bounds[] = {1, 2};
    static const struct {
        const char *family;
        bool native;
        uint32_t bound_count;
        bool exponential[2]; /* unasked for, and asked for */
    } facts[] = {
        {"classic", false, 2, {false, false}},
        {"both", true, 2, {false, true}},
        {"native", true, 0, {true, true}},
    };
    struct core core;
    struct registry_options options = core_options();
    struct sample sample = sample_of("m", 5);
    sample.has = 1u << SAMPLE_QUEUE;
    core_open(&core, &options);
    must_record(&core, &sample);
    for (size_t i = 0; i < 3; i++) {
        struct family_shape shape = {.name = str_of(facts[i].family),
                                     .source = str_of(facts[i].family),
                                     .type = FAMILY_HISTOGRAM,
                                     .declared = true,
                                     .native = facts[i].native,
                                     .bound_count = facts[i].bound_count,
                                     .bounds = bounds};
        struct metric metric = metric_of(METRIC_OBSERVE, facts[i].family, 3, "");
        assert_int_equal(metrics_declare(core.metrics, &shape), 0);
        must_count(&core, &metric, NULL);
    }
    for (unsigned asked = 0; asked < 2; asked++) {
        struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, asked != 0, 0);
        struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
        for (size_t i = 0; i < 3; i++) {
            struct otlp_point point = otlp_must_have(got, facts[i].family, "");
            assert_true((point.exponential != NULL) == facts[i].exponential[asked]);
        }
        struct otlp_point latency =
            otlp_must_have(got, "acgs2_model_inference_latency", "model_name=m");
        assert_true((latency.exponential != NULL) == (asked != 0));
        if (latency.exponential != NULL) {
            assert_true(latency.exponential->zero_threshold == 0x1p-30);
            assert_int_equal(latency.exponential->scale, 7);
            /* 2^(i/128) < 0.005 <= 2^((i+1)/128) */
            assert_int_equal(latency.exponential->positive->offset,
                             (int)ceil(log2(0.005) * 128) - 1);
            assert_int_equal(latency.exponential->positive->n_bucket_counts, 1);
        }
        assert_non_null(otlp_must_have(got, "acgs2_model_queue", "model_name=m").classic);
        assert_non_null(otlp_must_have(got, "dwelld_snapshot", "").classic);
        otlp_free(got);
        otlp_metrics_free(metrics);
    }
    core_close(&core);
}

/* Deltas of buckets add up to what is cumulative, at the scale of the last. */
struct adding {
    uint64_t counts[4096]; /* of one series, by OTLP's number at scale 0, from -2048 on */
    uint64_t zero;
    bool delta;
};

static void add_model(void *ctx, const struct otlp_point *point)
{
    struct adding *adding = ctx;
    char attributes[1024];
    otlp_tell_attributes(point, attributes, sizeof attributes);
    if (strcmp(point->metric->name, "acgs2_model_inference_latency") != 0 ||
        strcmp(attributes, "model_name=model_1") != 0) {
        return;
    }
    const Otlp__ExponentialHistogramDataPoint *exponential = point->exponential;
    assert_true(exponential->scale >= 0);
    adding->zero += exponential->zero_count;
    for (size_t i = 0; exponential->positive != NULL && i < exponential->positive->n_bucket_counts;
         i++) {
        int32_t index = (exponential->positive->offset + (int32_t)i) >> exponential->scale;
        adding->counts[index + 2048] += exponential->positive->bucket_counts[i];
    }
}

static void test_otlp_metrics_exponential_deltas_add_up(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start("otlp exponential");
    static struct adding sum;
    static struct adding whole;
    core_open(&core, &options);
    core_random_declare(&core);
    struct otlp_metrics *deltas = otlp_must_make(OTLP_LOWMEMORY, true, 0);
    struct otlp_metrics *cumulative = otlp_must_make(OTLP_CUMULATIVE, true, 0);
    for (unsigned round = 0; round < 40; round++) {
        struct snapshot *snapshot = must_take(&core);
        struct otlp_got *got = otlp_must_get(deltas, snapshot, OTLP_FATE_COMMIT, NULL);
        otlp_for_each(got, must_be_good_histogram, NULL);
        otlp_for_each(got, add_model, &sum);
        otlp_free(got);
        got = otlp_must_get(cumulative, snapshot, OTLP_FATE_COMMIT, NULL);
        memset(&whole, 0, sizeof whole);
        otlp_for_each(got, must_be_good_histogram, NULL);
        otlp_for_each(got, add_model, &whole);
        assert_memory_equal(sum.counts, whole.counts, sizeof sum.counts);
        assert_int_equal(sum.zero, whole.zero);
        otlp_free(got);
        core_drop(&core, snapshot);
        move_and_change(&core, &random);
    }
    otlp_metrics_free(deltas);
    otlp_metrics_free(cumulative);
    core_close(&core);
}

/* --- start times ------------------------------------------------------------------------------- */

static void test_otlp_metrics_begin_when_their_series_did(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    uint64_t began = core.wall_ns;
    struct sample sample = sample_of("m", 5);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 2, "");
    struct metric depth = metric_of(METRIC_SET, "depth", 7, "");
    must_record(&core, &sample);
    must_count(&core, &jobs, NULL);
    must_count(&core, &depth, NULL);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    for (unsigned i = 0; i < 3; i++) {
        core_move(&core, 100);
        struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
        otlp_must_be(got, "acgs2_model_inference", "model_name=m", 1 + i, began);
        otlp_must_be(got, "acgs2_model_inference_latency", "model_name=m", 1 + i, began);
        otlp_must_be(got, "acgs2.acgs2-agent-bus.jobs", "", 2, began);
        otlp_must_be(got, "acgs2.acgs2-agent-bus.depth", "", 7, 0);
        otlp_must_be(got, "dwelld_scrapes", "", 3, UINT64_C(1600000000) * NS_PER_SECOND);
        otlp_free(got);
        must_reset(&core, NULL, 1); /* changes nothing of it */
        must_record(&core, &sample);
    }
    /* A clock that was set back makes no point that ends before it begins. */
    core.wall_ns = began - 5 * NS_PER_SECOND;
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "acgs2.acgs2-agent-bus.jobs", "", 2, began - 5 * NS_PER_SECOND);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void declare_expiring(struct core *core)
{
    struct family_shape shape = {.name = STR_LITERAL("leases"),
                                 .source = STR_LITERAL("leases"),
                                 .type = FAMILY_COUNTER,
                                 .declared = true,
                                 .expire_seconds = 20};
    assert_int_equal(metrics_declare(core->metrics, &shape), 0);
}

static void wait_and_tick(struct core *core, int64_t seconds)
{
    core_move(core, seconds);
    metrics_tick(core->metrics);
}

static void must_come_back_anew(enum otlp_temporality temporality)
{
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    declare_expiring(&core);
    uint64_t began = core.wall_ns;
    struct metric leases = metric_of(METRIC_COUNT, "leases", 2, "");
    must_count(&core, &leases, NULL);
    struct otlp_metrics *metrics = otlp_must_make(temporality, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "leases", "", 2, began);
    otlp_free(got);
    wait_and_tick(&core, 30);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_not_have(got, "leases", "");
    otlp_free(got);
    wait_and_tick(&core, 120);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_not_have(got, "leases", "");
    otlp_free(got);
    uint64_t again = core.wall_ns;
    must_count(&core, &leases, NULL);
    core_move(&core, 5);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "leases", "", 2, again);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void test_otlp_metrics_a_series_that_came_back_is_another(void **state)
{
    (void)state;
    must_come_back_anew(OTLP_CUMULATIVE);
    must_come_back_anew(OTLP_DELTA);
}

/* --- deltas ------------------------------------------------------------------------------------ */

static void test_otlp_metrics_deltas_follow_each_other(void **state)
{
    (void)state;
    static const char jobs_name[] = "acgs2.acgs2-agent-bus.jobs";
    static const char size_name[] = "acgs2.acgs2-agent-bus.size";
    static const char depth_name[] = "acgs2.acgs2-agent-bus.depth";
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    uint64_t began = core.wall_ns;
    struct sample sample = sample_of("m", 5);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 2, "");
    struct metric size = metric_of(METRIC_OBSERVE, "size", 3, "");
    struct metric depth = metric_of(METRIC_SET, "depth", 7, "");
    must_record(&core, &sample);
    must_count(&core, &jobs, NULL);
    must_count(&core, &size, NULL);
    must_count(&core, &depth, NULL);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);

    /* New: from when it began. */
    core_move(&core, 10);
    uint64_t first = core.wall_ns;
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, jobs_name, "", 2, began);
    otlp_must_be(got, size_name, "", 1, began);
    otlp_must_be(got, depth_name, "", 7, 0);
    otlp_must_be(got, "acgs2_model_inference", "model_name=m", 1, began);
    otlp_must_be(got, "acgs2_model_inference_latency", "model_name=m", 1, began);
    otlp_must_be(got, "dwelld_scrapes", "", 3, UINT64_C(1600000000) * NS_PER_SECOND);
    otlp_must_not_have(got, "acgs2_model_inference_errors", "model_name=m"); /* 0 so far */
    otlp_free(got);

    /* Unchanged: no point, but gauges are what they are. */
    core_move(&core, 10);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_not_have(got, jobs_name, "");
    otlp_must_not_have(got, size_name, "");
    otlp_must_not_have(got, "acgs2_model_inference", "model_name=m");
    otlp_must_not_have(got, "acgs2_model_inference_latency", "model_name=m");
    otlp_must_not_have(got, "dwelld_scrapes", "");
    otlp_must_be(got, depth_name, "", 7, 0);
    otlp_free(got);

    /* Changed, but given up: it comes with the next one. */
    core_move(&core, 10);
    must_count(&core, &jobs, NULL);
    size.value = 4;
    must_count(&core, &size, NULL);
    must_reset(&core, NULL, 1);
    must_record(&core, &sample);
    got = otlp_must_export(metrics, &core, OTLP_FATE_ABORT);
    otlp_must_be(got, jobs_name, "", 2, first);
    otlp_must_be(got, size_name, "", 1, first);
    otlp_must_be(got, "acgs2_model_inference", "model_name=m", 1, first);
    otlp_free(got);
    core_move(&core, 10);
    must_count(&core, &jobs, NULL);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, jobs_name, "", 4, first);
    otlp_must_be(got, size_name, "", 1, first);
    assert_true(otlp_must_have(got, size_name, "").classic->sum == 4);
    otlp_must_be(got, "acgs2_model_inference", "model_name=m", 1, first);
    otlp_must_be(got, "acgs2_model_inference_latency", "model_name=m", 1, first);
    otlp_free(got);

    /* A daemon that starts anew begins anew. */
    otlp_metrics_free(metrics);
    metrics = otlp_must_make(OTLP_DELTA, false, 0);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, jobs_name, "", 6, began);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* What was counted between the last export and the end of a series is not lost. */
static void test_otlp_metrics_a_series_that_ended_tells_the_rest(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    declare_expiring(&core);
    uint64_t began = core.wall_ns;
    struct metric leases = metric_of(METRIC_COUNT, "leases", 2, "");
    must_count(&core, &leases, NULL);
    wait_and_tick(&core, 30);
    assert_false(core_has_series(&core, "leases", ""));
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "leases", "", 2, began);
    otlp_free(got);
    core_move(&core, 1);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_not_have(got, "leases", "");
    otlp_free(got);
    /* It comes back in time: it goes on. */
    must_count(&core, &leases, NULL);
    core_move(&core, 1);
    got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "leases", "", 2, began + 30 * NS_PER_SECOND);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void must_be_temporality(const struct otlp_got *got, const char *name,
                                const char *attributes, int wanted)
{
    const Otlp__Metric *metric = otlp_must_have(got, name, attributes).metric;
    assert_int_equal(metric->data_case == OTLP__METRIC__DATA_SUM
                         ? metric->sum->aggregation_temporality
                         : metric->histogram->aggregation_temporality,
                     wanted);
}

static void test_otlp_metrics_temporality_is_as_asked_for(void **state)
{
    (void)state;
    enum { DELTA = OTLP__AGGREGATION_TEMPORALITY__DELTA };
    enum { WHOLE = OTLP__AGGREGATION_TEMPORALITY__CUMULATIVE };
    static const struct {
        enum otlp_temporality temporality;
        int counters, histograms, own_counters, own_histograms;
    } facts[] = {
        {OTLP_CUMULATIVE, WHOLE, WHOLE, WHOLE, WHOLE},
        {OTLP_DELTA, DELTA, DELTA, DELTA, DELTA},
        {OTLP_LOWMEMORY, DELTA, DELTA, WHOLE, DELTA},
    };
    _Static_assert(sizeof facts / sizeof facts[0] == OTLP_TEMPORALITY_COUNT, "one each");
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct sample sample = sample_of("m", 5);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 2, "");
    must_record(&core, &sample);
    must_count(&core, &jobs, NULL);
    timing_add(&core.counters.loop_lag, 400000);
    for (size_t i = 0; i < OTLP_TEMPORALITY_COUNT; i++) {
        struct otlp_metrics *metrics = otlp_must_make(facts[i].temporality, false, 0);
        struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
        must_be_temporality(got, "acgs2.acgs2-agent-bus.jobs", "", facts[i].counters);
        must_be_temporality(got, "acgs2_model_inference", "model_name=m", facts[i].counters);
        must_be_temporality(got, "acgs2_model_inference_latency", "model_name=m",
                            facts[i].histograms);
        must_be_temporality(got, "dwelld_scrapes", "", facts[i].own_counters);
        must_be_temporality(got, "dwelld_loop_lag", "", facts[i].own_histograms);
        otlp_free(got);
        /* What is cumulative comes again. */
        got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
        struct otlp_point point;
        assert_true(otlp_find_point(got, "dwelld_scrapes", "", &point) ==
                    (facts[i].own_counters == WHOLE));
        otlp_free(got);
        otlp_metrics_free(metrics);
    }
    core_close(&core);
}

static void test_otlp_metrics_leave_out_what_the_http_side_knows(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    otlp_must_be(got, "dwelld_resident_memory", "", 5 << 20, 0);
    otlp_free(got);
    struct snapshot *snapshot = must_take(&core);
    got = calloc(1, sizeof *got);
    assert_non_null(got);
    got->metrics = metrics;
    assert_int_equal(otlp_metrics_render(metrics, snapshot, NULL, otlp_receive, got), 0);
    otlp_must_not_have(got, "dwelld_scrapes", "");
    otlp_must_not_have(got, "dwelld_http_errors", "");
    otlp_must_not_have(got, "dwelld_resident_memory", "");
    (void)otlp_must_have(got, "dwelld_datagrams", "");
    (void)otlp_must_have(got, "dwelld_build_info", "version=0.1.0");
    otlp_free(got);
    core_drop(&core, snapshot);
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* The unit of a metric is no part of who it is: two that differ in it alone would be one for the
 * Collector. */
static void test_otlp_metrics_name_none_of_the_own_twice(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct export_view exports[] = {{.signal = "traces"}, {.signal = "metrics"}};
    struct exposition_process process = otlp_process;
    process.exports = exports;
    process.export_count = 2;
    core_open(&core, &options);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 0);
    struct snapshot *snapshot = must_take(&core);
    struct otlp_got *got = calloc(1, sizeof *got);
    assert_non_null(got);
    got->metrics = metrics;
    assert_int_equal(otlp_metrics_render(metrics, snapshot, &process, otlp_receive, got), 0);
    assert_int_equal(got->count, 1);
    const Otlp__ScopeMetrics *all = got->request[0]->resource_metrics[0]->scope_metrics[0];
    for (size_t i = 0; i < all->n_metrics; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(all->metrics[i]->name, all->metrics[k]->name);
        }
    }
    (void)otlp_must_have(got, "dwelld_export_queue_limit", "signal=metrics");
    otlp_free(got);
    core_drop(&core, snapshot);
    otlp_metrics_free(metrics);
    core_close(&core);
}

/* --- pieces ------------------------------------------------------------------------------------ */

/* Some series with long labels, some models. */
static void fill(struct core *core)
{
    static char value[RECORD_NAME_MAX + 1];
    memset(value, 'x', RECORD_NAME_MAX);
    for (unsigned i = 0; i < 300; i++) {
        char name[16];
        char number[16];
        (void)snprintf(name, sizeof name, "jobs_%u", i % 3);
        (void)snprintf(number, sizeof number, "%u", i);
        struct metric jobs = metric_of(METRIC_COUNT, name, 1 + i, "");
        jobs.attributes[jobs.attribute_count++] = (struct label){STR_LITERAL("n"), str_of(number)};
        jobs.attributes[jobs.attribute_count++] = (struct label){STR_LITERAL("x"), str_of(value)};
        must_count(core, &jobs, NULL);
    }
    for (unsigned i = 0; i < 70; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m%u", i);
        struct sample sample = sample_of(name, i);
        must_record(core, &sample);
    }
}

static struct otlp_got *must_split(const struct snapshot *snapshot, size_t max_request)
{
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
    metrics->max_request = max_request;
    struct otlp_got *got = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
    for (size_t i = 0; i < got->count; i++) {
        assert_true(got->len[i] <= max_request);
    }
    otlp_metrics_free(metrics);
    return got;
}

static void test_otlp_metrics_requests_keep_their_ceiling(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    struct otlp_got *whole = must_split(snapshot, OTLP_REQUEST_DEFAULT);
    struct otlp_got *split;
    struct samples *wanted = samples_new();
    samples_tell(whole, wanted, snapshot->wall_ns, true);
    assert_int_equal(whole->count, 1);
    /* At the limit, and one over. */
    split = must_split(snapshot, whole->len[0]);
    assert_int_equal(split->count, 1);
    otlp_free(split);
    split = must_split(snapshot, whole->len[0] - 1);
    assert_int_equal(split->count, 2);
    otlp_free(split);
    /* Wherever it is split, the points are the same. */
    for (size_t max = 30000; max < whole->len[0]; max += 1777) {
        struct samples *told = samples_new();
        split = must_split(snapshot, max);
        assert_true(split->count > 1);
        assert_int_equal(split->points, whole->points);
        samples_tell(split, told, snapshot->wall_ns, true);
        assert_int_equal(told->count, wanted->count);
        for (size_t i = 0; i < SAMPLES_MAX; i++) {
            const struct sample_row *row = &wanted->row[i];
            double got = row->key == NULL ? 0 : samples_find(told, row->key)->value;
            assert_true(row->key == NULL || got == row->value || (isnan(got) && isnan(row->value)));
        }
        otlp_free(split);
        samples_free(told);
    }
    otlp_free(whole);
    samples_free(wanted);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_otlp_metrics_requests_can_be_made_shorter(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    for (unsigned i = 0; i < 300; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "model %u", i);
        struct sample sample = sample_of(name, i);
        must_record(&core, &sample);
    }
    struct otlp_metrics *metrics = otlp_must_make(OTLP_CUMULATIVE, false, 4 * OTLP_REQUEST_MIN);
    struct otlp_got *whole = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    size_t all = whole->points;
    assert_true(whole->count == 1 && whole->len[0] > OTLP_REQUEST_MIN);
    otlp_free(whole);
    assert_int_equal(otlp_metrics_limit(metrics, 5 * OTLP_REQUEST_MIN), 4 * OTLP_REQUEST_MIN);
    assert_int_equal(otlp_metrics_limit(metrics, OTLP_REQUEST_MIN + 1), OTLP_REQUEST_MIN + 1);
    assert_int_equal(otlp_metrics_limit(metrics, OTLP_REQUEST_MIN - 1), OTLP_REQUEST_MIN);
    struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
    assert_true(got->count > 1);
    for (size_t i = 0; i < got->count; i++) {
        assert_true(got->len[i] <= OTLP_REQUEST_MIN);
    }
    assert_int_equal(got->points, all);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_close(&core);
}

static void test_otlp_metrics_what_no_request_holds_is_left_out(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    fill(&core);
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", 1, "short=1");
    must_count(&core, &jobs, NULL);
    struct snapshot *snapshot = must_take(&core);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
    metrics->max_request = 400;
    struct otlp_got *got = calloc(1, sizeof *got);
    assert_non_null(got);
    got->metrics = metrics;
    assert_int_equal(otlp_metrics_render(metrics, snapshot, &otlp_process, otlp_receive, got), 0);
    otlp_must_be(got, "acgs2.acgs2-agent-bus.jobs", "short=1", 1, core.wall_ns);
    assert_true(otlp_metrics_left_out(metrics) >= 300);
    uint64_t left_out = otlp_metrics_left_out(metrics);
    otlp_free(got);
    /* They are not told, and come once they may. */
    metrics->max_request = OTLP_REQUEST_MIN;
    core_move(&core, 1);
    got = calloc(1, sizeof *got);
    assert_non_null(got);
    got->metrics = metrics;
    struct snapshot *after = must_take(&core);
    assert_int_equal(otlp_metrics_render(metrics, after, &otlp_process, otlp_receive, got), 0);
    otlp_must_not_have(got, "acgs2.acgs2-agent-bus.jobs", "short=1");
    assert_true(got->points >= 300);
    assert_int_equal(otlp_metrics_left_out(metrics), left_out);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_drop(&core, after);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* Pieces may wait, and be settled in any order. */
static void test_otlp_metrics_pieces_are_settled_one_by_one(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
    metrics->max_request = 50000;
    struct otlp_got *got = otlp_must_get(metrics, snapshot, OTLP_FATE_KEEP, NULL);
    size_t lost = 0;
    size_t gauges = 0;
    assert_true(got->count >= 4);
    for (size_t i = got->count; i-- > 0;) {
        size_t deltas = got->piece[i].changes.count;
        gauges += got->piece[i].points - deltas;
        if (i % 2 == 0) {
            otlp_metrics_commit(metrics, &got->piece[i]);
        } else {
            lost += deltas;
            otlp_metrics_abort(metrics, &got->piece[i]);
        }
        assert_null(got->piece[i].bytes);
    }
    assert_true(lost > 0);
    otlp_free(got);
    got = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
    assert_int_equal(got->points, lost + gauges);
    otlp_free(got);
    got = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
    assert_int_equal(got->points, gauges);
    otlp_free(got);
    otlp_metrics_free(metrics);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_otlp_metrics_the_sink_may_refuse(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
    metrics->max_request = 50000;
    struct otlp_got *whole = must_split(snapshot, 50000);
    struct otlp_got *got = calloc(1, sizeof *got);
    assert_non_null(got);
    got->metrics = metrics;
    got->refuse_at = 3;
    assert_int_equal(otlp_metrics_render(metrics, snapshot, &otlp_process, otlp_receive, got),
                     ERR_LIMIT);
    assert_int_equal(got->count, 2);
    struct otlp_got *rest = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
    /* Gauges of the first two come again, nothing else does. */
    struct otlp_point point;
    unsigned twice = 0;
    for (unsigned i = 0; i < 70; i++) {
        char attributes[32];
        (void)snprintf(attributes, sizeof attributes, "model_name=m%u", i);
        bool before = otlp_find_point(got, "acgs2_model_inference", attributes, &point);
        bool after = otlp_find_point(rest, "acgs2_model_inference", attributes, &point);
        assert_true(before != after);
        twice += before;
    }
    assert_true(twice > 0);
    otlp_free(whole);
    otlp_free(got);
    otlp_free(rest);
    otlp_metrics_free(metrics);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_otlp_metrics_resource_leaves_room(void **state)
{
    (void)state;
    static const struct {
        size_t len; /* of an attribute */
        bool good;
    } facts[] = {{1000, true}, {OTLP_REQUEST_MIN / 2 - 1000, true}, {OTLP_REQUEST_MIN / 2, false}};
    char *text = calloc(1, OTLP_REQUEST_MIN);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct otlp_resource_options who = {.service_name = {text, facts[i].len}};
        struct buf resource;
        struct buf none;
        buf_init(&resource, BYTES_MAX);
        otlp_resource_render(&who, (struct str){NULL, 0}, &resource);
        struct otlp_metrics_options options = otlp_options(&none);
        options.resource = (struct str){resource.data, resource.len};
        options.max_request = OTLP_REQUEST_MIN;
        struct otlp_metrics *metrics = otlp_metrics_new(&options);
        assert_true((metrics != NULL) == facts[i].good);
        otlp_metrics_free(metrics);
        buf_fini(&resource);
        buf_fini(&none);
    }
    free(text);
}

/* A model of the longest labels there may be, with all families. */
static void record_longest(struct core *core, char keys[REGISTRY_LABEL_KEYS_MAX][RECORD_NAME_MAX],
                           struct str value)
{
    struct sample sample = {.model_name = value, .execution_time_ms = 5};
    sample.has = 1u << SAMPLE_DEVICE | 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM |
                 1u << SAMPLE_QUEUE | 1u << SAMPLE_BATCH_SIZE | 1u << SAMPLE_MEMORY_AFTER;
    sample.device = value;
    sample.label_count = REGISTRY_LABEL_KEYS_MAX;
    for (unsigned i = 0; i < REGISTRY_LABEL_KEYS_MAX; i++) {
        sample.labels[i] = (struct label){{keys[i], RECORD_NAME_MAX}, value};
    }
    must_record(core, &sample);
}

/* A histogram of as many bounds as there may be, an exemplar in each, and the longest labels. */
static void observe_longest(struct core *core, char keys[RECORD_ATTRIBUTES_MAX][RECORD_NAME_MAX],
                            struct str value)
{
    double bounds[FAMILY_BOUNDS_MAX];
    struct family_shape shape = {.name = STR_LITERAL("longest"),
                                 .source = STR_LITERAL("longest"),
                                 .type = FAMILY_HISTOGRAM,
                                 .native = true,
                                 .bound_count = FAMILY_BOUNDS_MAX,
                                 .bounds = bounds};
    struct metric metric = metric_of(METRIC_OBSERVE, "longest", 0, "");
    for (unsigned i = 0; i < FAMILY_BOUNDS_MAX; i++) {
        bounds[i] = i;
    }
    assert_int_equal(metrics_declare(core->metrics, &shape), 0);
    metric.attribute_count = RECORD_ATTRIBUTES_MAX - 1; /* one more is past METRIC_KEY_MAX */
    for (unsigned i = 0; i < metric.attribute_count; i++) {
        metric.attributes[i] = (struct label){{keys[i], RECORD_NAME_MAX}, value};
    }
    for (unsigned i = 0; i <= FAMILY_BOUNDS_MAX; i++) {
        metric.value = i;
        trace(&metric, (uint8_t)i, core->wall_ns);
        must_count(core, &metric, NULL);
    }
}

static void fill_ledger(struct core *core)
{
    for (unsigned i = 0; i < LEDGER_LIBRARIES_MAX; i++) {
        char name[LEDGER_LIBRARY_BYTES];
        (void)snprintf(name, sizeof name, "%063u", i);
        (void)ledger_library(&core->ledger, str_of(name));
    }
}

static void test_otlp_metrics_least_request_holds_the_longest(void **state)
{
    (void)state;
    static char keys[RECORD_ATTRIBUTES_MAX][RECORD_NAME_MAX];
    static char value[RECORD_NAME_MAX];
    struct core core;
    struct registry_options options = core_options();
    struct buf resource;
    struct otlp_metrics_options how = otlp_options(&resource);
    memset(keys, 'k', sizeof keys);
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < RECORD_ATTRIBUTES_MAX; i++) {
        keys[i][0] = (char)('A' + i % 26);
        keys[i][1] = (char)('A' + i / 26);
    }
    for (unsigned i = 0; i < REGISTRY_LABEL_KEYS_MAX; i++) {
        options.label_keys[i] = how.label_keys[i] = (struct str){keys[i], RECORD_NAME_MAX};
    }
    options.label_key_count = how.label_key_count = REGISTRY_LABEL_KEYS_MAX;
    core_open(&core, &options);
    record_longest(&core, keys, (struct str){value, sizeof value});
    observe_longest(&core, keys, (struct str){value, sizeof value});
    fill_ledger(&core);
    assert_int_equal(core.metrics->overflowed + core.registry->overflowed, 0);
    how.max_request = OTLP_REQUEST_MIN;
    for (unsigned exponential = 0; exponential < 2; exponential++) {
        how.exponential = exponential != 0;
        struct otlp_metrics *metrics = otlp_metrics_new(&how);
        if (metrics == NULL) {
            fail_msg("no memory");
            return;
        }
        metrics->max_request = OTLP_REQUEST_MIN / 2; /* the resource may take the other half */
        struct otlp_got *got = otlp_must_export(metrics, &core, OTLP_FATE_COMMIT);
        size_t len = 0;
        for (size_t i = 0; i < got->count; i++) {
            len += got->len[i];
        }
        assert_true(len > OTLP_REQUEST_MIN / 2 && got->count > 1); /* long they are */
        otlp_free(got);
        otlp_metrics_free(metrics);
    }
    core_close(&core);
    buf_fini(&resource);
}

/* --- memory, threads --------------------------------------------------------------------------- */

static void test_otlp_metrics_init_without_memory(void **state)
{
    (void)state;
    struct buf resource;
    struct otlp_metrics_options options = otlp_options(&resource);
    bool failed = true;
    options.label_keys[0] = STR_LITERAL("region");
    options.label_key_count = 1;
    for (size_t n = 1; failed; n++) {
        mem_fail_after(n);
        struct otlp_metrics *metrics = otlp_metrics_new(&options);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_true((metrics == NULL) == failed);
        otlp_metrics_free(metrics);
    }
    buf_fini(&resource);
}

/* Whichever allocation fails: what was delivered before and what comes after is the whole. */
static void test_otlp_metrics_without_memory_lose_nothing(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    core_open(&core, &options);
    core_random_declare(&core);
    struct random random = random_start("otlp memory");
    for (unsigned i = 0; i < 300; i++) {
        core_random_record(&core, &random);
        core_random_count(&core, &random);
    }
    core_move(&core, 1);
    struct snapshot *snapshot = must_take(&core);
    struct otlp_got *whole = must_split(snapshot, OTLP_REQUEST_DEFAULT);
    struct samples *wanted = samples_new();
    samples_tell(whole, wanted, snapshot->wall_ns, true);
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct otlp_metrics *metrics = otlp_must_make(OTLP_DELTA, false, 0);
        struct otlp_got *got = calloc(1, sizeof *got);
        struct samples *told = samples_new();
        assert_non_null(got);
        got->metrics = metrics;
        metrics->max_request = 20000;
        mem_fail_after(n);
        int err = otlp_metrics_render(metrics, snapshot, &otlp_process, otlp_receive, got);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        struct otlp_got *rest = otlp_must_get(metrics, snapshot, OTLP_FATE_COMMIT, NULL);
        size_t deltas = 0;
        for (size_t i = 0; i < SAMPLES_MAX; i++) {
            deltas += wanted->row[i].key != NULL;
        }
        /* Gauges are told again. */
        samples_tell(got, told, snapshot->wall_ns, true);
        for (size_t i = 0; i < SAMPLES_MAX; i++) {
            told->row[i].time = 0;
        }
        samples_tell(rest, told, snapshot->wall_ns, true);
        assert_int_equal(told->count, deltas);
        otlp_free(rest);
        otlp_free(got);
        samples_free(told);
        otlp_metrics_free(metrics);
    }
    otlp_free(whole);
    samples_free(wanted);
    core_drop(&core, snapshot);
    core_close(&core);
}

/* Asserts belong to the main thread: here pieces are only kept. */
struct elsewhere {
    struct otlp_metrics *metrics;
    const struct snapshot *snapshot;
    size_t count;
    struct otlp_piece piece[OTLP_PIECES_MAX];
    int err;
};

static int keep_piece(void *ctx, struct otlp_piece *piece)
{
    struct elsewhere *elsewhere = ctx;
    if (elsewhere->count == OTLP_PIECES_MAX) {
        return ERR_LIMIT;
    }
    elsewhere->piece[elsewhere->count++] = *piece;
    return 0;
}

static void *render_elsewhere(void *ctx)
{
    struct elsewhere *elsewhere = ctx;
    elsewhere->err = otlp_metrics_render(elsewhere->metrics, elsewhere->snapshot, &otlp_process,
                                         keep_piece, elsewhere);
    return NULL;
}

static void test_otlp_metrics_render_on_a_thread_of_their_own(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = core_options();
    struct random random = random_start("otlp thread");
    core_open(&core, &options);
    core_random_declare(&core);
    struct otlp_metrics *metrics = otlp_must_make(OTLP_LOWMEMORY, true, 0);
    for (unsigned round = 0; round < 10; round++) {
        pthread_t thread;
        static struct elsewhere elsewhere;
        struct snapshot *snapshot = must_take(&core);
        struct otlp_got *got = calloc(1, sizeof *got);
        assert_non_null(got);
        got->metrics = metrics;
        elsewhere = (struct elsewhere){.metrics = metrics, .snapshot = snapshot};
        assert_int_equal(pthread_create(&thread, NULL, render_elsewhere, &elsewhere), 0);
        move_and_change(&core, &random);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(elsewhere.err, 0);
        for (size_t i = 0; i < elsewhere.count; i++) {
            assert_int_equal(otlp_receive(got, &elsewhere.piece[i]), 0);
        }
        otlp_free(got);
        core_drop(&core, snapshot);
    }
    otlp_metrics_free(metrics);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_metrics_say_what_metrics_says),
        cmocka_unit_test(test_otlp_metrics_deltas_add_up_to_metrics),
        cmocka_unit_test(test_otlp_metrics_golden_families_come_back_from_the_collector),
        cmocka_unit_test(test_otlp_metrics_tell_of_time_budgets),
        cmocka_unit_test(test_otlp_metrics_free_families_bear_the_service),
        cmocka_unit_test(test_otlp_metrics_nobody_overrides_the_hash),
        cmocka_unit_test(test_otlp_metrics_overflow_has_its_attribute),
        cmocka_unit_test(test_otlp_metrics_show_exemplars),
        cmocka_unit_test(test_otlp_metrics_deltas_show_exemplars_once),
        cmocka_unit_test(test_otlp_metrics_exponential_where_there_are_native_buckets),
        cmocka_unit_test(test_otlp_metrics_exponential_deltas_add_up),
        cmocka_unit_test(test_otlp_metrics_begin_when_their_series_did),
        cmocka_unit_test(test_otlp_metrics_a_series_that_came_back_is_another),
        cmocka_unit_test(test_otlp_metrics_deltas_follow_each_other),
        cmocka_unit_test(test_otlp_metrics_a_series_that_ended_tells_the_rest),
        cmocka_unit_test(test_otlp_metrics_temporality_is_as_asked_for),
        cmocka_unit_test(test_otlp_metrics_leave_out_what_the_http_side_knows),
        cmocka_unit_test(test_otlp_metrics_name_none_of_the_own_twice),
        cmocka_unit_test(test_otlp_metrics_requests_can_be_made_shorter),
        cmocka_unit_test(test_otlp_metrics_requests_keep_their_ceiling),
        cmocka_unit_test(test_otlp_metrics_what_no_request_holds_is_left_out),
        cmocka_unit_test(test_otlp_metrics_pieces_are_settled_one_by_one),
        cmocka_unit_test(test_otlp_metrics_the_sink_may_refuse),
        cmocka_unit_test(test_otlp_metrics_least_request_holds_the_longest),
        cmocka_unit_test_setup_teardown(test_otlp_metrics_resource_leaves_room, note_memory,
                                        must_be_clean),
        cmocka_unit_test_setup_teardown(test_otlp_metrics_init_without_memory, note_memory,
                                        must_be_clean),
        cmocka_unit_test(test_otlp_metrics_without_memory_lose_nothing),
        cmocka_unit_test(test_otlp_metrics_render_on_a_thread_of_their_own),
    };
    return cmocka_run_group_tests_name("otlp_metrics", tests, core_tables, NULL);
}
