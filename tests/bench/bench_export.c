/*
 * The export of spans, from exporter_add_span to the answers of a receiver that is a process of its
 * own: CPU time of a span of six attributes in batches of 512 without packing, gRPC's threads
 * included; how many go out in a second; resident memory of a process that does nothing else.
 */
#include "bench.h"
#include "bench_daemon.h"
#include "io/exporter.h"
#include "io/system.h"
#include "io/transport_load.h"
#include "base/message.h"
#include "render/otlp_attribute.h"

enum {
    BATCH = 512,
    BATCHES = 40, /* a round */
    SPANS = BATCH * BATCHES,
    ATTRIBUTES = 6,
};

/* The receiver: its input ends it, its output tells the port. */
static struct {
    pid_t child;
    int input;
    int port;
} sink;

static void start_sink(const char *build)
{
    int to[2];
    int from[2];
    char text[64] = "";
    char path[512];
    (void)snprintf(path, sizeof path, "%s/tests/bench/otlp_sink", build);
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        exit(1);
    }
    sink.child = fork(); /* before gRPC is here */
    if (sink.child == 0) {
        (void)dup2(to[0], 0);
        (void)dup2(from[1], 1);
        (void)execl(path, path, "127.0.0.1:0", (char *)NULL);
        _exit(127);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    sink.input = to[1];
    if (read(from[0], text, sizeof text - 1) <= 5) {
        (void)fprintf(stderr, "bench_export: %s does not start\n", path);
        exit(1);
    }
    sink.port = (int)strtol(text + 5, NULL, 10);
    (void)close(from[0]);
}

static void stop_sink(void)
{
    (void)close(sink.input);
    (void)waitpid(sink.child, NULL, 0);
}

/* A span as the intake hands it over: ids, name, kind, times, six attributes. */
static void make_span(struct buf *out)
{
    static const char *const keys[ATTRIBUTES] = {"http.request.method",       "url.path",
                                                 "http.response.status_code", "constitutional.hash",
                                                 "gen_ai.request.model",      "timestamp"};
    static const char *const values[ATTRIBUTES] = {
        "POST", "/v1/infer", "200", "cdd01ef066bc6cf2", "model-7", "2026-01-31T12:00:00.123Z"};
    message_str(out, 1, STR_LITERAL("0123456789abcdef"));
    message_str(out, 2, STR_LITERAL("01234567"));
    message_str(out, 5, STR_LITERAL("inference"));
    message_u64(out, 6, 2);
    message_double(out, 7, 1.5e18); /* as wide as a fixed64 */
    message_double(out, 8, 1.6e18);
    for (size_t i = 0; i < ATTRIBUTES; i++) {
        otlp_attribute_text(out, 9, str_of(keys[i]), str_of(values[i]));
    }
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
    struct buf span;
    struct buf problem;
    struct exporter *exporter;
    char address[64];
    double cpu[BENCH_ROUNDS];
    double add[BENCH_ROUNDS];
    double rate[BENCH_ROUNDS];
    const char *build = getenv("DWELL_BUILD") == NULL ? "build" : getenv("DWELL_BUILD");
    char *directory = realpath(build, NULL);
    start_sink(build);
    buf_init(&span, 1 << 16);
    buf_init(&problem, 1 << 16);
    make_span(&span);
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
    uint64_t sent = 0;
    for (int round = -1; round < BENCH_ROUNDS; round++) { /* the first one connects */
        uint64_t cpu_began = cpu_ns();
        uint64_t began = now_ns();
        for (int i = 0; i < SPANS; i++) {
            exporter_add_span(exporter, (struct str){NULL, 0}, (struct str){span.data, span.len});
        }
        uint64_t added = now_ns();
        sent += SPANS;
        drain(exporter, sent);
        if (round >= 0) {
            add[round] = (double)(added - began) / SPANS;
            cpu[round] = (double)(cpu_ns() - cpu_began) / SPANS / 1000;
            rate[round] = SPANS / ((double)(now_ns() - began) / 1e9);
        }
    }
    double resident = bench_resident_mb(getpid());
    exporter_stop(exporter, now_ns());
    exporter_close(exporter);
    stop_sink();
    bench_begin(&bench, "export", BENCH_ROUNDS);
    bench_number(&bench, "span_bytes", (double)span.len);
    bench_number(&bench, "add_ns", median(add, BENCH_ROUNDS));
    bench_limit(&bench, "cpu_us_a_span", median(cpu, BENCH_ROUNDS), 2.5);
    bench_number(&bench, "spans_a_second", median(rate, BENCH_ROUNDS));
    bench_number(&bench, "resident_before_mb", before);
    bench_number(&bench, "resident_mb", resident);
    buf_fini(&span);
    buf_fini(&problem);
    free(directory);
    return bench_end(&bench);
}
