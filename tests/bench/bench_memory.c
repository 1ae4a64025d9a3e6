/*
 * The daemon as a process: how soon after exec it is ready, and its resident memory idle and with
 * 1,000 models of 10,000 lognormal samples spread over all sub-windows, after two scrapes.
 */
#include "bench.h"
#include "bench_daemon.h"
#include "rows.h"

enum {
    MODELS = 1000,
    SAMPLES = 10000, /* of each model */
    SUB_WINDOWS = 6,
    SUB_WINDOW_MS = 2000,
};

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
    fill_window();
    bool scraped = bench_get("/metrics") && bench_get("/metrics");
    double full = bench_resident_mb(child);
    bench_stop_daemon(child);
    if (!scraped) {
        return 1;
    }
    bench_begin(&bench, "memory", BENCH_ROUNDS);
    bench_limit(&bench, "ready_ms", median(ready, BENCH_ROUNDS), 15);
    bench_limit(&bench, "idle_mb", idle, 6);
    bench_limit(&bench, "thousand_models_mb", full, 60);
    bench_number(&bench, "bytes_per_model", (full - idle) * 1048576 / MODELS);
    return bench_end(&bench);
}
