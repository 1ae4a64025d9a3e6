/*
 * A snapshot of 1,000 models, and then of 100,000 counter series of 4 labels too, as requests of OTLP:
 * what one costs, against copying the same bytes, with cumulative points and with deltas of which all, or
 * 1 %, changed. Nothing is remembered from one request to the next but what deltas need: every point
 * has a new time.
 */
#include "bench.h"
#include "bench_core.h"
#include "render/otlp_metrics.h"
#include "render/otlp_resource.h"
#include "rows.h"

enum { SERIES = 100000, MODELS = 1000, SAMPLES = 1000, LABELS = 4, BYTES_MAX = 1 << 28 };

/* --- the core ---------------------------------------------------------------------------------- */

static void count_in(unsigned number, double value)
{
    static const char *const keys[LABELS] = {"region", "service", "endpoint", "status"};
    static const unsigned statuses[] = {200, 201, 400, 404, 500};
    char text[LABELS][32];
    struct metric metric = {.name = STR_LITERAL("http_requests"),
                            .op = METRIC_COUNT,
                            .value = value,
                            .weight = 1,
                            .attribute_count = LABELS};
    snprintf(text[0], sizeof text[0], "eu-west-%u", number % 4);
    snprintf(text[1], sizeof text[1], "checkout-%03u", number / 20 % 50);
    snprintf(text[2], sizeof text[2], "/api/v1/items/%u", number / 1000);
    snprintf(text[3], sizeof text[3], "%u", statuses[number / 4 % 5]);
    for (unsigned i = 0; i < LABELS; i++) {
        metric.attributes[i] = (struct label){str_of(keys[i]), str_of(text[i])};
    }
    if (metrics_record(&metrics, &metric, NULL) != 0) {
        abort();
    }
}

static void record(unsigned model)
{
    char name[ROWS_NAME_BYTES];
    struct sample sample = {.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_MEMORY_AFTER};
    sample.model_name = (struct str){name, rows_name(name, model)};
    sample.execution_time_ms = 10 * exp(0.5 * rows_normal());
    sample.cpu_percent_during = 100 * rows_uniform();
    sample.memory_mb_after = 512;
    if (registry_record(&registry, &sample) != 0) {
        abort();
    }
}

/* --- requests ---------------------------------------------------------------------------------- */

static struct otlp_metrics *make(enum otlp_temporality temporality, bool exponential)
{
    struct otlp_resource_options who = {.service_name = STR_LITERAL("acgs2-agent-bus"),
                                        .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2")};
    struct buf resource;
    buf_init(&resource, BYTES_MAX);
    otlp_resource_render(&who, (struct str){NULL, 0}, &resource);
    struct otlp_metrics_options how = {.name_space = STR_LITERAL("acgs2"),
                                       .service_name = who.service_name,
                                       .constitutional_hash = who.constitutional_hash,
                                       .resource = {resource.data, resource.len},
                                       .dwelld_version = STR_LITERAL("1"),
                                       .start_wall_ns = 1,
                                       .temporality = temporality,
                                       .exponential = exponential};
    struct otlp_metrics *made = otlp_metrics_new(&how);
    if (made == NULL) {
        abort();
    }
    buf_fini(&resource);
    return made;
}

/* Where pieces go: copied, and counted. */
struct sink {
    struct otlp_metrics *metrics;
    char *copied;
    double copy_ns;
    size_t bytes;
    size_t points;
    size_t pieces;
    size_t longest;
};

static int take(void *ctx, struct otlp_piece *piece)
{
    struct sink *sink = ctx;
    uint64_t began = cpu_ns();
    memcpy(sink->copied, piece->bytes, piece->len);
    bench_keep(sink->copied);
    sink->copy_ns += (double)(cpu_ns() - began);
    sink->bytes += piece->len;
    sink->points += piece->points;
    sink->pieces++;
    sink->longest = piece->len > sink->longest ? piece->len : sink->longest;
    otlp_metrics_commit(sink->metrics, piece);
    return 0;
}

/* Nanoseconds of a request, the copies of the sink aside. */
static double request(struct otlp_metrics *made, struct sink *ret_sink)
{
    static const struct thresholds thresholds = {.latency_gpu_threshold_ms = 1,
                                                 .cpu_compute_threshold_percent = 50,
                                                 .cpu_io_threshold_percent = 20};
    static uint64_t wall_ns = UINT64_C(1700000000123456789);
    static char copied[OTLP_REQUEST_DEFAULT];
    struct exposition_process process = {0};
    struct snapshot *snapshot;
    wall_ns += 1000;
    if (snapshot_take(&intake, &thresholds, 1, wall_ns, &snapshot) != 0) {
        abort();
    }
    *ret_sink = (struct sink){.metrics = made, .copied = copied};
    uint64_t began = cpu_ns();
    int err = otlp_metrics_render(made, snapshot, &process, take, ret_sink);
    double took = (double)(cpu_ns() - began) - ret_sink->copy_ns;
    snapshot_release(snapshot, &registry);
    while (limbo_sweep(&registry.limbo, 1000000)) {
    }
    if (err != 0) {
        abort();
    }
    return took;
}

/* What a request costs, and relative to the copies of its pieces. */
struct cost {
    double us[BENCH_ROUNDS];
    double ratio[BENCH_ROUNDS];
    struct sink last;
};

static void measure(struct otlp_metrics *made, unsigned round, struct cost *ret)
{
    double took = request(made, &ret->last);
    ret->us[round] = took / 1e3;
    ret->ratio[round] = took / ret->last.copy_ns;
}

static double ns_per(struct cost *cost, double count)
{
    return median(cost->us, BENCH_ROUNDS) * 1e3 / count;
}

static void change(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        count_in(count == SERIES ? i : (unsigned)(rows_random() % SERIES), 1);
    }
}

/* Returns the microseconds of a request of nothing but models. */
static double measure_models(struct bench *bench)
{
    static struct cost classic;
    static struct cost exponential;
    struct otlp_metrics *plain = make(OTLP_CUMULATIVE, false);
    struct otlp_metrics *fine = make(OTLP_CUMULATIVE, true);
    for (unsigned i = 0; i < MODELS * SAMPLES; i++) {
        record(i % MODELS);
    }
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        measure(plain, round, &classic);
        measure(fine, round, &exponential);
    }
    bench_number(bench, "models", MODELS);
    bench_number(bench, "models_bytes", (double)classic.last.bytes);
    bench_number(bench, "ns_per_model", ns_per(&classic, MODELS));
    bench_number(bench, "models_ratio_to_memcpy", median(classic.ratio, BENCH_ROUNDS));
    bench_number(bench, "models_exponential_bytes", (double)exponential.last.bytes);
    bench_number(bench, "ns_per_model_exponential", ns_per(&exponential, MODELS));
    otlp_metrics_free(plain);
    otlp_metrics_free(fine);
    return median(classic.us, BENCH_ROUNDS);
}

static void measure_series(struct bench *bench, double models_us)
{
    static struct cost whole;
    static struct cost all;
    static struct cost few;
    struct otlp_metrics *cumulative = make(OTLP_CUMULATIVE, false);
    struct otlp_metrics *delta = make(OTLP_DELTA, false);
    change(SERIES);
    (void)request(delta, &all.last);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        measure(cumulative, round, &whole);
        change(SERIES);
        measure(delta, round, &all);
        change(SERIES / 100);
        measure(delta, round, &few);
    }
    bench_number(bench, "series", SERIES);
    bench_number(bench, "bytes", (double)whole.last.bytes);
    bench_number(bench, "requests", (double)whole.last.pieces);
    bench_limit(bench, "longest_request", (double)whole.last.longest, OTLP_REQUEST_DEFAULT);
    bench_number(bench, "ns_per_series", ns_per(&whole, SERIES) - models_us * 1e3 / SERIES);
    bench_limit(bench, "ratio_to_memcpy", median(whole.ratio, BENCH_ROUNDS), 30);
    bench_number(bench, "delta_ns_per_series", ns_per(&all, SERIES) - models_us * 1e3 / SERIES);
    bench_number(bench, "delta_one_percent_changed_us", median(few.us, BENCH_ROUNDS));
    bench_number(bench, "delta_one_percent_points", (double)few.last.points);
    otlp_metrics_free(cumulative);
    otlp_metrics_free(delta);
}

int main(void)
{
    struct bench bench;
    bench_core_init();
    registry_set_time(&registry, 1, 1);
    metrics_set_time(&metrics, 1, UINT64_C(1700000000123456789));
    bench_begin(&bench, "otlp_metrics", BENCH_ROUNDS);
    double models_us = measure_models(&bench);
    measure_series(&bench, models_us);
    return bench_end(&bench);
}
