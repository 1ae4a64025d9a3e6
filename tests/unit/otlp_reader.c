#include "otlp_reader.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "render/otlp_resource.h"

enum { BYTES_MAX = 1 << 20 };

const struct exposition_process otlp_process = {
    .resident_bytes = 5 << 20, .scrapes = 3, .http_errors = 1};

struct otlp_metrics_options otlp_options(struct buf *resource)
{
    static const struct otlp_resource_options who = {.service_name = {"acgs2-agent-bus", 15},
                                                     .constitutional_hash = {OTLP_HASH, 16}};
    buf_init(resource, BYTES_MAX);
    otlp_resource_render(&who, (struct str){NULL, 0}, resource);
    return (struct otlp_metrics_options){.name_space = STR_LITERAL("acgs2"),
                                         .service_name = STR_LITERAL("acgs2-agent-bus"),
                                         .constitutional_hash = STR_LITERAL(OTLP_HASH),
                                         .resource = {resource->data, resource->len},
                                         .dwelld_version = STR_LITERAL("0.1.0"),
                                         .start_wall_ns = UINT64_C(1600000000) * NS_PER_SECOND};
}

struct otlp_metrics *otlp_must_make(enum otlp_temporality temporality, bool exponential,
                                    size_t max_request)
{
    struct buf resource;
    struct otlp_metrics_options options = otlp_options(&resource);
    options.temporality = temporality;
    options.exponential = exponential;
    options.max_request = max_request;
    struct otlp_metrics *metrics = otlp_metrics_new(&options);
    assert_non_null(metrics);
    buf_fini(&resource);
    return metrics;
}

/* --- receiving --------------------------------------------------------------------------------- */

static size_t count_points(const Otlp__Metric *metric)
{
    switch (metric->data_case) {
    case OTLP__METRIC__DATA_GAUGE:
        return metric->gauge->n_data_points;
    case OTLP__METRIC__DATA_SUM:
        return metric->sum->n_data_points;
    case OTLP__METRIC__DATA_HISTOGRAM:
        return metric->histogram->n_data_points;
    case OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM:
        return metric->exponential_histogram->n_data_points;
    case OTLP__METRIC__DATA__NOT_SET:
    default:
        fail_msg("%s has no data", metric->name);
        return 0;
    }
}

/* A complete request of its own: resource, scope, and no metric without points. */
static void must_be_complete(const Otlp__ExportMetricsServiceRequest *request,
                             const struct otlp_piece *piece)
{
    size_t points = 0;
    assert_int_equal(request->base.n_unknown_fields, 0);
    assert_int_equal(request->n_resource_metrics, 1);
    const Otlp__ResourceMetrics *resource = request->resource_metrics[0];
    assert_int_equal(resource->resource->n_attributes, 4);
    assert_string_equal(resource->resource->attributes[1]->key, "constitutional.hash");
    assert_string_equal(resource->resource->attributes[1]->value->string_value, OTLP_HASH);
    assert_int_equal(resource->n_scope_metrics, 1);
    const Otlp__ScopeMetrics *scope = resource->scope_metrics[0];
    assert_string_equal(scope->scope->name, "dwelld");
    assert_string_equal(scope->scope->version, "0.1.0");
    for (size_t i = 0; i < scope->n_metrics; i++) {
        assert_int_equal(scope->metrics[i]->base.n_unknown_fields, 0);
        assert_true(count_points(scope->metrics[i]) > 0);
        points += count_points(scope->metrics[i]);
    }
    assert_int_equal(points, piece->points);
    assert_true(points > 0);
}

int otlp_receive(void *ctx, struct otlp_piece *piece)
{
    struct otlp_got *got = ctx;
    if (got->refuse_at == got->count + 1) {
        return ERR_LIMIT;
    }
    bool lost = got->fates != NULL && random_below(got->fates, 3) == 0;
    assert_true(got->count < OTLP_PIECES_MAX);
    if (!lost) {
        Otlp__ExportMetricsServiceRequest *request = otlp__export_metrics_service_request__unpack(
            NULL, piece->len, (const uint8_t *)piece->bytes);
        assert_non_null(request);
        must_be_complete(request, piece);
        got->len[got->count] = piece->len;
        got->points += piece->points;
        got->request[got->count++] = request;
    }
    if (got->fate == OTLP_FATE_KEEP) {
        got->piece[got->count - 1] = *piece;
    } else if (got->fate == OTLP_FATE_ABORT || lost) {
        otlp_metrics_abort(got->metrics, piece);
    } else {
        otlp_metrics_commit(got->metrics, piece);
    }
    return 0;
}

void otlp_free(struct otlp_got *got)
{
    for (size_t i = 0; i < got->count; i++) {
        otlp__export_metrics_service_request__free_unpacked(got->request[i], NULL);
    }
    free(got);
}

struct otlp_got *otlp_must_get(struct otlp_metrics *metrics, const struct snapshot *snapshot,
                               enum otlp_fate fate, struct random *fates)
{
    struct otlp_got *got = calloc(1, sizeof *got);
    assert_non_null(got);
    got->metrics = metrics;
    got->fate = fate;
    got->fates = fates;
    assert_int_equal(otlp_metrics_render(metrics, snapshot, &otlp_process, otlp_receive, got), 0);
    assert_int_equal(otlp_metrics_left_out(metrics), 0);
    return got;
}

/* What is there now, delivered or not. */
struct otlp_got *otlp_must_export(struct otlp_metrics *metrics, struct core *core,
                                  enum otlp_fate fate)
{
    struct snapshot *snapshot = must_take(core);
    struct otlp_got *got = otlp_must_get(metrics, snapshot, fate, NULL);
    core_drop(core, snapshot);
    return got;
}

/* --- points ------------------------------------------------------------------------------------ */

#define FILL(ret, kind, from)                                                                      \
    ((ret)->kind = (from), (ret)->attribute_count = (from)->n_attributes,                          \
     (ret)->attributes = (from)->attributes, (ret)->start = (from)->start_time_unix_nano,          \
     (ret)->time = (from)->time_unix_nano, (ret)->exemplar_count = (from)->n_exemplars,            \
     (ret)->exemplars = (from)->exemplars)

static struct otlp_point point_at(const Otlp__Metric *metric, size_t i)
{
    struct otlp_point point = {.metric = metric};
    switch (metric->data_case) {
    case OTLP__METRIC__DATA_GAUGE:
        FILL(&point, number, metric->gauge->data_points[i]);
        break;
    case OTLP__METRIC__DATA_SUM:
        FILL(&point, number, metric->sum->data_points[i]);
        break;
    case OTLP__METRIC__DATA_HISTOGRAM:
        FILL(&point, classic, metric->histogram->data_points[i]);
        break;
    default:
        FILL(&point, exponential, metric->exponential_histogram->data_points[i]);
        break;
    }
    return point;
}

void otlp_for_each(const struct otlp_got *got, otlp_each_fn *each, void *ctx)
{
    for (size_t i = 0; i < got->count; i++) {
        const Otlp__ScopeMetrics *scope = got->request[i]->resource_metrics[0]->scope_metrics[0];
        for (size_t m = 0; m < scope->n_metrics; m++) {
            for (size_t p = 0; p < count_points(scope->metrics[m]); p++) {
                struct otlp_point point = point_at(scope->metrics[m], p);
                each(ctx, &point);
            }
        }
    }
}

void otlp_tell_attributes(const struct otlp_point *point, char *out, size_t room)
{
    size_t len = 0;
    unsigned hashes = 0;
    out[0] = '\0';
    for (size_t i = 0; i < point->attribute_count; i++) {
        const Otlp__KeyValue *pair = point->attributes[i];
        const Otlp__AnyValue *value = pair->value;
        bool is_text = value->value_case == OTLP__ANY_VALUE__VALUE_STRING_VALUE;
        if (strcmp(pair->key, "constitutional_hash") == 0) {
            hashes++;
            assert_string_equal(value->string_value, OTLP_HASH);
            continue;
        }
        assert_true(is_text || value->bool_value);
        len += (size_t)snprintf(out + len, room - len, "%s%s%s%s", len > 0 ? "," : "", pair->key,
                                is_text ? "=" : "", is_text ? value->string_value : "");
        assert_true(len < room);
    }
    assert_int_equal(hashes, 1);
}

struct search {
    const char *name;
    const char *attributes;
    unsigned found;
    struct otlp_point point;
};

static void compare(void *ctx, const struct otlp_point *point)
{
    struct search *search = ctx;
    if (strcmp(point->metric->name, search->name) == 0) {
        char attributes[1024];
        otlp_tell_attributes(point, attributes, sizeof attributes);
        if (strcmp(attributes, search->attributes) == 0) {
            search->found++;
            search->point = *point;
        }
    }
}

bool otlp_find_point(const struct otlp_got *got, const char *name, const char *attributes,
                     struct otlp_point *ret)
{
    struct search search = {.name = name, .attributes = attributes};
    otlp_for_each(got, compare, &search);
    assert_true(search.found <= 1);
    *ret = search.point;
    return search.found == 1;
}

struct otlp_point otlp_must_have(const struct otlp_got *got, const char *name,
                                 const char *attributes)
{
    struct otlp_point point;
    if (!otlp_find_point(got, name, attributes, &point)) {
        fail_msg("no %s{%s}", name, attributes);
    }
    return point;
}

void otlp_must_not_have(const struct otlp_got *got, const char *name, const char *attributes)
{
    struct otlp_point point;
    if (otlp_find_point(got, name, attributes, &point)) {
        fail_msg("there is %s{%s}", name, attributes);
    }
}

/* Value, or count. */
static double value_of(const struct otlp_point *point)
{
    return point->number != NULL    ? point->number->as_double
           : point->classic != NULL ? (double)point->classic->count
                                    : (double)point->exponential->count;
}

void otlp_must_be(const struct otlp_got *got, const char *name, const char *attributes,
                  double value, uint64_t start)
{
    struct otlp_point point = otlp_must_have(got, name, attributes);
    if (value_of(&point) != value || point.start != start) {
        fail_msg("%s{%s} is %g from %llu", name, attributes, value_of(&point),
                 (unsigned long long)point.start);
    }
}
