#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "base/err.h"
#include "base/message.h"
#include "mem_fault.h"
#include "render/otlp_resource.h"
#include "render/otlp_slice.h"
#include "render/otlp_trace.h"

enum { SPAN_NAME = 5, NAMES_BYTES = 256 };

static void add_span(struct buf *out, const char *name)
{
    message_str(out, SPAN_NAME, str_of(name));
}

/* Groups of spans, "own:a,b one:c", as a request. */
static void write_request(const char *groups, struct buf *out)
{
    struct buf scope;
    buf_init(&scope, 4096);
    otlp_scope_render(STR_LITERAL("1"), &scope);
    while (*groups != '\0') {
        struct buf resource;
        struct buf spans[16];
        unsigned count = 0;
        size_t name_len = strcspn(groups, ":");
        struct otlp_resource_options options = {.service_name = {groups, name_len},
                                                .dwelld_version = STR_LITERAL("1")};
        buf_init(&resource, 4096);
        otlp_resource_render(&options, (struct str){NULL, 0}, &resource);
        struct otlp_spans group = {.resource = {resource.data, resource.len},
                                   .scope = {scope.data, scope.len}};
        for (groups += name_len; *groups == ':' || *groups == ','; count++) {
            char name[16];
            size_t len = strcspn(++groups, ", ");
            (void)snprintf(name, sizeof name, "%.*s", (int)len, groups);
            buf_init(&spans[count], 4096);
            add_span(&spans[count], name);
            group.spans_bytes += otlp_trace_span_size(spans[count].len);
            groups += len;
        }
        groups += *groups == ' ';
        otlp_trace_begin(&group, out);
        for (unsigned i = 0; i < count; i++) {
            otlp_trace_span((struct str){spans[i].data, spans[i].len}, out);
            buf_fini(&spans[i]);
        }
        buf_fini(&resource);
    }
    buf_fini(&scope);
}

/* The reverse, by protobuf-c. */
static void read_request(const struct buf *request, char names[NAMES_BYTES])
{
    Otlp__ExportTraceServiceRequest *read = otlp__export_trace_service_request__unpack(
        NULL, request->len, (const uint8_t *)request->data);
    assert_non_null(read);
    size_t len = 0;
    names[0] = '\0';
    for (size_t i = 0; i < read->n_resource_spans; i++) {
        const Otlp__ResourceSpans *group = read->resource_spans[i];
        assert_int_equal(group->n_scope_spans, 1);
        assert_string_equal(group->scope_spans[0]->scope->name, "dwell");
        len += (size_t)snprintf(names + len, NAMES_BYTES - len, "%s%s", i == 0 ? "" : " ",
                                group->resource->attributes[0]->value->string_value);
        for (size_t j = 0; j < group->scope_spans[0]->n_spans; j++) {
            len += (size_t)snprintf(names + len, NAMES_BYTES - len, "%c%s", j == 0 ? ':' : ',',
                                    group->scope_spans[0]->spans[j]->name);
        }
    }
    otlp__export_trace_service_request__free_unpacked(read, NULL);
}

static void must_slice(const char *groups, uint64_t skip, uint64_t count, const char *wanted)
{
    struct buf request;
    struct buf out;
    char names[NAMES_BYTES];
    buf_init(&request, 1 << 16);
    buf_init(&out, 1 << 16);
    write_request(groups, &request);
    assert_int_equal(
        otlp_slice(OTLP_SLICE_SPANS, (struct str){request.data, request.len}, skip, count, &out),
        0);
    read_request(&out, names);
    assert_string_equal(names, wanted);
    assert_true(out.len <= request.len);
    buf_fini(&request);
    buf_fini(&out);
}

static void test_otlp_slice_of_one_group(void **state)
{
    (void)state;
    must_slice("own:a,b,c,d", 0, 2, "own:a,b");
    must_slice("own:a,b,c,d", 2, 2, "own:c,d");
    must_slice("own:a,b,c,d", 1, 1, "own:b");
    must_slice("own:a,b,c,d", 3, 5, "own:d");
    must_slice("own:a", 0, 0, "");
    must_slice("own:a", 1, 1, "");
    must_slice("", 0, 1, "");
}

static void test_otlp_slice_over_groups(void **state)
{
    (void)state;
    static const char groups[] = "own:a,b one:c two:d,e";
    must_slice(groups, 0, UINT64_MAX, groups);
    must_slice(groups, 5, UINT64_MAX, "");
    must_slice(groups, UINT64_MAX, UINT64_MAX, "");
    must_slice(groups, 0, 1, "own:a");
    must_slice(groups, 0, 3, "own:a,b one:c");
    must_slice(groups, 1, 3, "own:b one:c two:d");
    must_slice(groups, 2, 1, "one:c");
    must_slice(groups, 3, 2, "two:d,e");
}

static void test_otlp_slice_of_all_is_the_same_bytes(void **state)
{
    (void)state;
    struct buf request;
    struct buf out;
    buf_init(&request, 1 << 16);
    buf_init(&out, 1 << 16);
    write_request("own:a,b one:c", &request);
    assert_int_equal(
        otlp_slice(OTLP_SLICE_SPANS, (struct str){request.data, request.len}, 0, 3, &out), 0);
    assert_int_equal(out.len, request.len);
    assert_memory_equal(out.data, request.data, out.len);
    buf_fini(&request);
    buf_fini(&out);
}

static void test_otlp_slice_says_when_there_is_no_room(void **state)
{
    (void)state;
    struct buf request;
    struct buf out;
    buf_init(&request, 1 << 16);
    write_request("own:a", &request);
    buf_init(&out, request.len - 1);
    assert_int_equal(
        otlp_slice(OTLP_SLICE_SPANS, (struct str){request.data, request.len}, 0, 1, &out),
        ERR_LIMIT);
    buf_fini(&out);
    buf_init(&out, 2 * request.len);
    mem_fail_after(1);
    assert_int_equal(
        otlp_slice(OTLP_SLICE_SPANS, (struct str){request.data, request.len}, 0, 1, &out),
        ERR_NOMEM);
    buf_clear(&out);
    assert_int_equal(
        otlp_slice(OTLP_SLICE_SPANS, (struct str){request.data, request.len}, 0, 1, &out), 0);
    buf_fini(&request);
    buf_fini(&out);
    assert_int_equal(mem_count_live(), 0);
}

/* --- metrics ----------------------------------------------------------------------------------- */

static Otlp__NumberDataPoint *number_of(unsigned value)
{
    Otlp__NumberDataPoint *point = test_malloc(sizeof *point);
    otlp__number_data_point__init(point);
    point->value_case = OTLP__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
    point->as_double = value;
    return point;
}

/* Two points of a sum, one of a histogram, one of an exponential histogram, three of a gauge. */
static void write_metrics(struct buf *out)
{
    Otlp__NumberDataPoint *numbers[5];
    for (unsigned i = 0; i < 5; i++) {
        numbers[i] = number_of(i);
    }
    Otlp__HistogramDataPoint classic = OTLP__HISTOGRAM_DATA_POINT__INIT;
    Otlp__HistogramDataPoint *classics[] = {&classic};
    Otlp__ExponentialHistogramDataPoint exponential = OTLP__EXPONENTIAL_HISTOGRAM_DATA_POINT__INIT;
    Otlp__ExponentialHistogramDataPoint *exponentials[] = {&exponential};
    classic.has_count = 1;
    classic.count = 7;
    exponential.has_count = 1;
    exponential.count = 8;
    Otlp__Sum sum = OTLP__SUM__INIT;
    Otlp__Gauge gauge = OTLP__GAUGE__INIT;
    Otlp__Histogram histogram = OTLP__HISTOGRAM__INIT;
    Otlp__ExponentialHistogram native = OTLP__EXPONENTIAL_HISTOGRAM__INIT;
    sum.n_data_points = 2;
    sum.data_points = numbers;
    sum.has_aggregation_temporality = 1;
    sum.aggregation_temporality = OTLP__AGGREGATION_TEMPORALITY__DELTA;
    sum.has_is_monotonic = 1;
    sum.is_monotonic = 1;
    histogram.n_data_points = 1;
    histogram.data_points = classics;
    histogram.has_aggregation_temporality = 1;
    histogram.aggregation_temporality = OTLP__AGGREGATION_TEMPORALITY__DELTA;
    native.n_data_points = 1;
    native.data_points = exponentials;
    gauge.n_data_points = 3;
    gauge.data_points = numbers + 2;
    Otlp__Metric metrics[4];
    Otlp__Metric *list[4];
    static char names[][10] = {"sum", "histogram", "native", "gauge"};
    for (unsigned i = 0; i < 4; i++) {
        otlp__metric__init(&metrics[i]);
        metrics[i].name = names[i];
        list[i] = &metrics[i];
    }
    metrics[0].data_case = OTLP__METRIC__DATA_SUM;
    metrics[0].sum = &sum;
    metrics[1].data_case = OTLP__METRIC__DATA_HISTOGRAM;
    metrics[1].histogram = &histogram;
    metrics[2].data_case = OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM;
    metrics[2].exponential_histogram = &native;
    metrics[3].data_case = OTLP__METRIC__DATA_GAUGE;
    metrics[3].gauge = &gauge;
    Otlp__InstrumentationScope scope = OTLP__INSTRUMENTATION_SCOPE__INIT;
    static char scope_name[] = "dwell";
    scope.name = scope_name;
    Otlp__ScopeMetrics scopes = OTLP__SCOPE_METRICS__INIT;
    Otlp__ScopeMetrics *scope_list[] = {&scopes};
    scopes.scope = &scope;
    scopes.n_metrics = 4;
    scopes.metrics = list;
    Otlp__Resource resource = OTLP__RESOURCE__INIT;
    Otlp__ResourceMetrics group = OTLP__RESOURCE_METRICS__INIT;
    Otlp__ResourceMetrics *groups[] = {&group};
    group.resource = &resource;
    group.n_scope_metrics = 1;
    group.scope_metrics = scope_list;
    Otlp__ExportMetricsServiceRequest request = OTLP__EXPORT_METRICS_SERVICE_REQUEST__INIT;
    request.n_resource_metrics = 1;
    request.resource_metrics = groups;
    size_t len = otlp__export_metrics_service_request__get_packed_size(&request);
    char *room = buf_reserve(out, len);
    assert_non_null(room);
    out->len = otlp__export_metrics_service_request__pack(&request, (uint8_t *)room);
    for (unsigned i = 0; i < 5; i++) {
        test_free(numbers[i]);
    }
}

/* "sum:0,1 histogram:7 native:8 gauge:2,3,4", with what belongs to them. */
static void read_metrics(const struct buf *bytes, char text[NAMES_BYTES])
{
    Otlp__ExportMetricsServiceRequest *request = otlp__export_metrics_service_request__unpack(
        NULL, bytes->len, (const uint8_t *)bytes->data);
    size_t len = 0;
    text[0] = '\0';
    assert_non_null(request);
    assert_true(request->n_resource_metrics <= 1);
    const Otlp__ScopeMetrics *all =
        request->n_resource_metrics == 0 ? NULL : request->resource_metrics[0]->scope_metrics[0];
    for (size_t i = 0; all != NULL && i < all->n_metrics; i++) {
        const Otlp__Metric *metric = all->metrics[i];
        assert_string_equal(all->scope->name, "dwell");
        assert_non_null(request->resource_metrics[0]->resource);
        len += (size_t)snprintf(text + len, NAMES_BYTES - len, "%s%s:", i == 0 ? "" : " ",
                                metric->name);
        if (metric->data_case == OTLP__METRIC__DATA_HISTOGRAM) {
            assert_int_equal(metric->histogram->aggregation_temporality,
                             OTLP__AGGREGATION_TEMPORALITY__DELTA);
            len += (size_t)snprintf(text + len, NAMES_BYTES - len, "%u",
                                    (unsigned)metric->histogram->data_points[0]->count);
            continue;
        }
        if (metric->data_case == OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM) {
            len += (size_t)snprintf(text + len, NAMES_BYTES - len, "%u",
                                    (unsigned)metric->exponential_histogram->data_points[0]->count);
            continue;
        }
        bool is_sum = metric->data_case == OTLP__METRIC__DATA_SUM;
        if (is_sum) {
            assert_int_equal(metric->sum->aggregation_temporality,
                             OTLP__AGGREGATION_TEMPORALITY__DELTA);
            assert_true(metric->sum->is_monotonic);
        }
        size_t count = is_sum ? metric->sum->n_data_points : metric->gauge->n_data_points;
        Otlp__NumberDataPoint **points =
            is_sum ? metric->sum->data_points : metric->gauge->data_points;
        for (size_t j = 0; j < count; j++) {
            len += (size_t)snprintf(text + len, NAMES_BYTES - len, "%s%.0f", j == 0 ? "" : ",",
                                    points[j]->as_double);
        }
    }
    otlp__export_metrics_service_request__free_unpacked(request, NULL);
}

static void test_otlp_slice_of_metrics(void **state)
{
    (void)state;
    static const struct {
        uint64_t skip, count;
        const char *wanted;
    } rows[] = {
        {0, UINT64_MAX, "sum:0,1 histogram:7 native:8 gauge:2,3,4"},
        {0, 7, "sum:0,1 histogram:7 native:8 gauge:2,3,4"},
        {0, 3, "sum:0,1 histogram:7"},
        {3, 3, "native:8 gauge:2,3"},
        {6, 3, "gauge:4"},
        {1, 1, "sum:1"},
        {2, 1, "histogram:7"},
        {3, 1, "native:8"},
        {7, 1, ""},
        {0, 0, ""},
    };
    struct buf request;
    buf_init(&request, 1 << 16);
    write_metrics(&request);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out;
        char text[NAMES_BYTES];
        buf_init(&out, 1 << 16);
        assert_int_equal(otlp_slice(OTLP_SLICE_POINTS, (struct str){request.data, request.len},
                                    rows[i].skip, rows[i].count, &out),
                         0);
        read_metrics(&out, text);
        assert_string_equal(text, rows[i].wanted);
        assert_true(i > 1 ||
                    (out.len == request.len && memcmp(out.data, request.data, out.len) == 0));
        buf_fini(&out);
    }
    buf_fini(&request);
}

/* Whatever the bytes: no more than an error, and never more bytes than there were. */
static void must_survive(enum otlp_slice_kind kind, struct buf request)
{
    struct buf out;
    buf_init(&out, 1 << 16);
    unsigned errors = 0;
    for (size_t len = 0; len < request.len; len++) {
        char *cut = test_malloc(len + 1); /* so that a read past the end is found */
        memcpy(cut, request.data, len);
        buf_clear(&out);
        errors += otlp_slice(kind, (struct str){cut, len}, 0, 9, &out) == ERR_SYNTAX;
        test_free(cut);
    }
    assert_true(errors > request.len / 2);
    for (size_t bit = 0; bit < 8 * request.len; bit++) {
        request.data[bit / 8] = (char)(request.data[bit / 8] ^ 1 << bit % 8);
        buf_clear(&out);
        int err = otlp_slice(kind, (struct str){request.data, request.len}, 1, 1, &out);
        assert_true(err == 0 || err == ERR_SYNTAX);
        assert_true(out.len <= request.len);
        request.data[bit / 8] = (char)(request.data[bit / 8] ^ 1 << bit % 8);
    }
    buf_fini(&request);
    buf_fini(&out);
}

static void test_otlp_slice_survives_any_bytes(void **state)
{
    (void)state;
    struct buf request;
    buf_init(&request, 1 << 16);
    write_request("own:a,b one:c", &request);
    must_survive(OTLP_SLICE_SPANS, request);
    buf_init(&request, 1 << 16);
    write_metrics(&request);
    must_survive(OTLP_SLICE_POINTS, request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_slice_of_one_group),
        cmocka_unit_test(test_otlp_slice_over_groups),
        cmocka_unit_test(test_otlp_slice_of_all_is_the_same_bytes),
        cmocka_unit_test(test_otlp_slice_of_metrics),
        cmocka_unit_test(test_otlp_slice_survives_any_bytes),
        cmocka_unit_test(test_otlp_slice_says_when_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
