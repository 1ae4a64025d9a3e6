/*
 * The export of spans, from the sampler's verdict to the answers of a receiver that is a process of its
 * own: CPU time of a span of six attributes in batches of 512 without packing, over all threads: written
 * as OTLP, with the hash and the timestamp that are put to it, queued, sent by gRPC. How much of that is
 * the loop's thread; how many go out in a second; resident memory of a process that does nothing else.
 */
#include "bench.h"
#include "bench_daemon.h"
#include "io/export/exporter.h"
#include "io/export/span_export.h"
#include "io/system.h"
#include "io/export/transport_load.h"
#include "render/otlp_attribute.h"
#include "sink.h"

enum {
    BATCH = 512,
    BATCHES = 40, /* a round */
    SPANS = BATCH * BATCHES,
    ATTRIBUTES = 6,
    ATTRIBUTES_FIELD = 9,
};

static struct span_attribute attributes[ATTRIBUTES];

/* A span as it was decoded: attributes are as they stood in the record. */
static struct span make_span(struct buf *fields)
{
    static const char *const texts[ATTRIBUTES][2] = {
        {"http.request.method", "POST"}, {"url.path", "/v1/infer"},
        {"server.address", "10.1.2.3"},  {"http.response.status_code", "200"},
        {"http.route", "/v1/infer"},     {"gen_ai.request.model", "model-7"}};
    size_t ends[ATTRIBUTES];
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        otlp_attribute_text(fields, ATTRIBUTES_FIELD, str_of(texts[i][0]), str_of(texts[i][1]));
        ends[i] = fields->len;
    }
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        size_t begin = i == 0 ? 0 : ends[i - 1];
        attributes[i] = (struct span_attribute){.key = str_of(texts[i][0]),
                                                .field = {fields->data + begin, ends[i] - begin},
                                                .is_text = true,
                                                .text = str_of(texts[i][1])};
    }
    return (struct span){.name = STR_LITERAL("POST /v1/infer"),
                         .trace_id = "0123456789abcde",
                         .span_id = "0123456",
                         .parent_id = "6543210",
                         .kind = 2,
                         .start_wall_ns = UINT64_C(1790000000123456789),
                         .end_wall_ns = UINT64_C(1790000000153456789),
                         .attribute_count = ATTRIBUTES,
                         .attributes = attributes};
}

static uint64_t thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void drain(struct exporter *exporter, uint64_t exported)
{
    struct export_view view;
    do {
        usleep(200);
        exporter_view(exporter, &view);
    } while (view.waiting + view.in_flight > 0);
    if (view.exported != exported) {
        (void)fprintf(stderr, "bench_export: %llu spans of %llu went out\n",
                      (unsigned long long)view.exported, (unsigned long long)exported);
        exit(1);
    }
}

int main(void)
{
    struct bench bench;
    struct buf fields;
    struct buf problem;
    struct sink sink;
    struct exporter *exporter;
    char address[64];
    double cpu[BENCH_ROUNDS];
    double loop[BENCH_ROUNDS];
    double rate[BENCH_ROUNDS];
    const char *build = getenv("DWELL_BUILD") == NULL ? "build" : getenv("DWELL_BUILD");
    char *directory = realpath(build, NULL);
    sink_start(&sink, 0); /* before gRPC is here */
    buf_init(&fields, 1 << 16);
    buf_init(&problem, 1 << 16);
    struct span span = make_span(&fields);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", sink.port);
    struct transport_target target = {.address = address, .user_agent = "bench"};
    struct otlp_resource_options resource = {.service_name = STR_LITERAL("bench"),
                                             .dwelld_version = STR_LITERAL("0")};
    struct exporter_options options = {.transport = transport_load(directory, false, &problem),
                                       .target = &target,
                                       .address = address,
                                       .resource = &resource,
                                       .clock = system_clock(),
                                       .max_queue_spans = 4 * SPANS,
                                       .max_queue_bytes = 1 << 30,
                                       .batch_spans = BATCH,
                                       .delay_ms = 1,
                                       .timeout_ms = 10000,
                                       .max_request_bytes = 4 << 20};
    double before = bench_resident_mb(getpid());
    if (options.transport == NULL || exporter_start(&options, &exporter) != 0) {
        (void)fprintf(stderr, "bench_export: no exporter: %.*s\n", (int)problem.len, problem.data);
        return 1;
    }
    struct span_export spans;
    span_export_init(&spans, exporter, STR_LITERAL("cdd01ef066bc6cf2"));
    struct sampler_sink keeper = span_export_sink(&spans);
    uint64_t sent = 0;
    for (int round = -1; round < BENCH_ROUNDS; round++) { /* the first one connects */
        uint64_t cpu_began = cpu_ns();
        uint64_t loop_began = thread_ns();
        uint64_t began = now_ns();
        for (int i = 0; i < SPANS; i++) {
            span.start_wall_ns += 1000;
            keeper.keep(keeper.ctx, &span, false);
        }
        uint64_t looped = thread_ns() - loop_began;
        sent += SPANS;
        drain(exporter, sent);
        if (round >= 0) {
            loop[round] = (double)looped / SPANS / 1000;
            cpu[round] = (double)(cpu_ns() - cpu_began) / SPANS / 1000;
            rate[round] = SPANS / ((double)(now_ns() - began) / 1e9);
        }
    }
    size_t span_bytes = spans.scratch.len;
    double resident = bench_resident_mb(getpid());
    struct export_view view;
    exporter_view(exporter, &view);
    exporter_stop(exporter, now_ns());
    exporter_close(exporter);
    uint64_t taken = sink_stop(&sink);
    bench_begin(&bench, "export", BENCH_ROUNDS);
    bench_number(&bench, "span_bytes", (double)span_bytes);
    bench_number(&bench, "spans_a_request", (double)view.exported / (double)view.duration.count);
    bench_limit(&bench, "cpu_us_a_span", median(cpu, BENCH_ROUNDS), 2.5);
    bench_number(&bench, "of_these_loop_us", median(loop, BENCH_ROUNDS));
    bench_limit(&bench, "lost", (double)sent - (double)taken, 0);
    bench_number(&bench, "spans_a_second", median(rate, BENCH_ROUNDS));
    bench_number(&bench, "resident_before_mb", before);
    bench_number(&bench, "resident_mb", resident);
    span_export_fini(&spans);
    buf_fini(&fields);
    buf_fini(&problem);
    free(directory);
    return bench_end(&bench);
}
