/*
 * The daemon as a process: how soon after exec it is ready, and its resident memory idle, with 1,000
 * models of 10,000 lognormal samples spread over all sub-windows, after two scrapes, and while it
 * exports by OTLP without TLS.
 *
 * A daemon without an endpoint must be as small as one that cannot export at all: what is its own (not
 * mapped from files) was 0.85 MB before there was any export, and no library of gRPC may be mapped.
 */
#include "bench.h"
#include "bench_daemon.h"
#include "rows.h"
#include "sender.h"
#include "sink.h"

enum {
    MODELS = 1000,
    SAMPLES = 10000, /* of each model */
    SUB_WINDOWS = 6,
    SUB_WINDOW_MS = 2000,
    OTLP_RATE = 20000, /* spans a second */
    OTLP_SECONDS = 5,
};

#define OWN_BEFORE_EXPORT_MB 0.85
#define OWN_GROWTH_MB        0.2

/* Sends `samples` lognormal samples to each model, and waits until they are applied. */
static void send_samples(int samples)
{
    int fd = bench_connect("ingest.sock");
    char reply[64];
    struct buf batch;
    struct buf frame;
    buf_init(&batch, ROWS_BUFFER_MAX);
    buf_init(&frame, ROWS_BUFFER_MAX);
    rows_write(fd, "DWL1", 4);
    for (int i = 0; i < samples; i++) {
        for (unsigned model = 0; model < MODELS; model++) {
            rows_sample(&batch, false, model, 10 * exp(0.5 * rows_normal()), 50, 512);
        }
        rows_frame(&frame, &batch);
        rows_write(fd, frame.data, frame.len);
        buf_clear(&batch);
        buf_clear(&frame);
    }
    rows_bytes(&batch, 10, "", 0); /* flush */
    rows_frame(&frame, &batch);
    rows_write(fd, frame.data, frame.len);
    if (read(fd, reply, sizeof reply) <= 0) {
        exit(1);
    }
    close(fd);
    buf_fini(&batch);
    buf_fini(&frame);
}

static uint64_t slot_now(void)
{
    return now_ns() / (SUB_WINDOW_MS * 1000000ULL);
}

/* The daemon's sub-windows are those of the monotonic clock: each gets its share. */
static void fill_window(void)
{
    uint64_t slot = slot_now();
    for (int i = 0; i < SUB_WINDOWS; i++) {
        while (slot_now() == slot) {
            usleep(1000);
        }
        slot = slot_now();
        send_samples((SAMPLES + SUB_WINDOWS - 1) / SUB_WINDOWS);
    }
}

static bool maps(pid_t child, const char *part_of_name)
{
    char path[64];
    char line[1024];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)child);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        exit(1);
    }
    while (fgets(line, sizeof line, file) != NULL) {
        found = found || strstr(line, part_of_name) != NULL;
    }
    fclose(file);
    return found;
}

/* The most that is resident while spans and metrics go out. */
static double measure_export(void)
{
    struct sink sink;
    struct sender sender;
    struct sender_report report;
    char endpoint[64];
    double most = 0;
    sink_start(&sink, 0);
    snprintf(endpoint, sizeof endpoint, "otlp.endpoint=http://127.0.0.1:%d", sink.port);
    const char *const settings[] = {endpoint, "otlp.schedule_delay_ms=100",
                                    "otlp.metric_interval_ms=500", NULL};
    pid_t child = bench_start_daemon_with(settings);
    sender_start(&sender, bench_directory, OTLP_RATE);
    for (int i = 0; i < OTLP_SECONDS * 10; i++) {
        usleep(100000);
        most = fmax(most, bench_resident_mb(child));
    }
    sender_stop(&sender, &report);
    bool mapped = maps(child, "grpc");
    bench_stop_daemon(child); /* exports what is left */
    if (sink_stop(&sink) != report.recorded || !mapped) {
        fprintf(stderr, "bench_memory: not all spans came to the receiver\n");
        exit(1);
    }
    return most;
}

int main(void)
{
    struct bench bench;
    double ready[BENCH_ROUNDS];
    signal(SIGPIPE, SIG_IGN);
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        uint64_t began = now_ns();
        pid_t child = bench_start_daemon(NULL);
        ready[round] = (double)(now_ns() - began) / 1e6;
        bench_stop_daemon(child);
    }
    pid_t child = bench_start_daemon("profiling.window_seconds=12");
    double idle = bench_resident_mb(child);
    double own = bench_status_mb(child, "RssAnon:");
    bool has_grpc = maps(child, "grpc") || maps(child, "dwell_otlp");
    fill_window();
    bool scraped = bench_get("/metrics") && bench_get("/metrics");
    double full = bench_resident_mb(child);
    bench_stop_daemon(child);
    if (!scraped) {
        return 1;
    }
    bool can_export = access(sink_path(), X_OK) == 0;
    double exporting = can_export ? measure_export() : 0;
    bench_begin(&bench, "memory", BENCH_ROUNDS);
    bench_limit(&bench, "ready_ms", median(ready, BENCH_ROUNDS), 15);
    bench_limit(&bench, "idle_mb", idle, 6);
    bench_limit(&bench, "idle_own_mb", own, OWN_BEFORE_EXPORT_MB + OWN_GROWTH_MB);
    bench_limit(&bench, "idle_with_grpc", has_grpc, 0);
    bench_limit(&bench, "thousand_models_mb", full, 60);
    bench_number(&bench, "bytes_per_model", (full - idle) * 1048576 / MODELS);
    if (can_export) {
        bench_limit(&bench, "otlp_mb", exporting, 16);
    } else {
        bench_text(&bench, "otlp_mb", "skipped: there is no otlp_sink, as gRPC is missing");
    }
    return bench_end(&bench);
}
