/*
 * CPU of the daemon's side for each sample that comes through the stream socket and the loop: real
 * sockets, connection, decoder, registry; a child process writes. Compared with the same loop on the
 * same samples (as rows of 55 bytes) when it only counts the bytes. 100 models.
 */
#include <sys/socket.h>
#include <sys/wait.h>
#include <uv.h>

#include "bench.h"
#include "bench_core.h"
#include "core/hist.h"
#include "core/intake.h"
#include "io/connection.h"
#include "io/system.h"
#include "mem_fault.h"
#include "rows.h"

enum {
    MODELS = 100,
    FRAME_BYTES = 65000, /* clients send 64 kB at a time */
    SAMPLES = 2000000,
};

/* --- what is sent: one batch of samples, repeated ---------------------------------------------- */

enum kind { ROWS, TABLE, NDJSON, KINDS };

struct payload {
    struct buf bytes;
    unsigned samples;
};

/* One frame, or as many lines. */
static struct payload make_payload(enum kind kind)
{
    struct payload payload = {.samples = 0};
    struct buf body;
    char name[ROWS_NAME_BYTES];
    buf_init(&body, ROWS_BUFFER_MAX);
    buf_init(&payload.bytes, ROWS_BUFFER_MAX);
    for (unsigned model = 0; kind == TABLE && model < MODELS; model++) {
        rows_bytes(&body, 4, name, rows_name(name, model));
    }
    while (body.len < FRAME_BYTES) {
        unsigned model = (unsigned)(rows_random() % MODELS);
        double ms = 1 + (double)(rows_random() % 1000000) / 20000;
        double cpu = (double)(rows_random() % 1000) / 10;
        double mb = 512 + (double)(rows_random() % 1024) / 4;
        if (kind == NDJSON) {
            (void)rows_name(name, model);
            buf_printf(&body,
                       "{\"model_name\":\"%s\",\"execution_time_ms\":%.6f,"
                       "\"cpu_percent_during\":%.1f,\"memory_mb_after\":%.2f}\n",
                       name, ms, cpu, mb);
        } else {
            rows_sample(&body, kind == TABLE, model, ms, cpu, mb);
        }
        payload.samples++;
    }
    if (kind == NDJSON) {
        buf_append(&payload.bytes, body.data, body.len);
    } else {
        rows_frame(&payload.bytes, &body);
    }
    buf_fini(&body);
    return payload;
}

/* --- the two consumers ------------------------------------------------------------------------- */

/* A child that sends the payload again and again; returns our end. */
static int start_sender(const struct payload *payload, enum kind kind, unsigned repeats,
                        pid_t *child)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        abort();
    }
    *child = fork();
    if (*child == 0) {
        close(ends[0]);
        if (kind != NDJSON) {
            rows_write(ends[1], "DWL1", 4);
        }
        for (unsigned i = 0; i < repeats; i++) {
            rows_write(ends[1], payload->bytes.data, payload->bytes.len);
        }
        _exit(0);
    }
    close(ends[1]);
    return ends[0];
}

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static char read_buffer[INGEST_READ_BYTES];
static uint64_t bytes_counted;

static void on_countable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    ssize_t got = recv(*(int *)poll->data, read_buffer, sizeof read_buffer, MSG_DONTWAIT);
    if (got > 0) {
        bytes_counted += (uint64_t)got;
    } else if (got == 0) {
        uv_close((uv_handle_t *)poll, NULL);
    }
}

/* CPU nanoseconds of a loop that reads everything and counts it. */
static uint64_t count_bytes(const struct payload *payload, enum kind kind, unsigned repeats)
{
    uv_loop_t loop;
    uv_poll_t poll;
    pid_t child;
    int fd = start_sender(payload, kind, repeats, &child);
    uv_loop_init(&loop);
    uv_poll_init(&loop, &poll, fd);
    poll.data = &fd;
    uint64_t began = thread_cpu_ns();
    uv_poll_start(&poll, UV_READABLE, on_countable);
    uv_run(&loop, UV_RUN_DEFAULT);
    uint64_t took = thread_cpu_ns() - began;
    uv_loop_close(&loop);
    close(fd);
    waitpid(child, NULL, 0);
    return took;
}

static uint64_t ingest_samples(const struct payload *payload, enum kind kind, unsigned repeats)
{
    uv_loop_t loop;
    struct ingest ingest;
    struct ingest_options options = {
        .max_frame_bytes = 1 << 20, .max_line_bytes = 65536, .max_connections = 4};
    struct clock clock = system_clock();
    struct ucred nobody = {0};
    pid_t child;
    uv_loop_init(&loop);
    if (ingest_init(&ingest, &loop, &intake, &options, &clock) != 0) {
        abort();
    }
    int fd = start_sender(payload, kind, repeats, &child);
    uint64_t began = thread_cpu_ns();
    if (connection_start(&ingest, fd, &nobody) != 0) {
        abort();
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uint64_t took = thread_cpu_ns() - began;
    uv_loop_close(&loop);
    ingest_fini(&ingest);
    waitpid(child, NULL, 0);
    return took;
}

/* --- figures ----------------------------------------------------------------------------------- */

int main(void)
{
    static const char *const names[KINDS] = {"rows", "table", "ndjson"};
    static const double limits[KINDS] = {4, 3, 15};
    struct bench bench;
    struct payload payloads[KINDS];
    double counted[BENCH_ROUNDS];
    double taken[KINDS][BENCH_ROUNDS];
    double ratios[KINDS][BENCH_ROUNDS];
    double allocations[KINDS];
    bench_core_init();
    for (unsigned kind = 0; kind < KINDS; kind++) {
        payloads[kind] = make_payload((enum kind)kind);
        (void)ingest_samples(&payloads[kind], (enum kind)kind,
                             1); /* all models exist from here on */
    }
    bench_begin(&bench, "ingest", BENCH_ROUNDS);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        unsigned repeats = SAMPLES / payloads[ROWS].samples;
        counted[round] = (double)count_bytes(&payloads[ROWS], ROWS, repeats) /
                         ((double)repeats * payloads[ROWS].samples);
        for (unsigned kind = 0; kind < KINDS; kind++) {
            const struct payload *payload = &payloads[kind];
            repeats = SAMPLES / payload->samples;
            size_t before = mem_count_allocations();
            uint64_t accepted = intake.accepted;
            double samples = (double)repeats * payload->samples;
            taken[kind][round] =
                (double)ingest_samples(payload, (enum kind)kind, repeats) / samples;
            ratios[kind][round] = taken[kind][round] / counted[round];
            allocations[kind] = (double)(mem_count_allocations() - before) / samples;
            if (intake.accepted - accepted != (uint64_t)samples) {
                return 1;
            }
        }
    }
    bench_number(&bench, "bytes_per_row",
                 (double)payloads[ROWS].bytes.len / payloads[ROWS].samples);
    bench_number(&bench, "count_ns", median(counted, BENCH_ROUNDS));
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char key[64];
        snprintf(key, sizeof key, "%s_ns", names[kind]);
        bench_number(&bench, key, median(taken[kind], BENCH_ROUNDS));
        snprintf(key, sizeof key, "%s_ratio", names[kind]);
        bench_limit(&bench, key, median(ratios[kind], BENCH_ROUNDS), limits[kind]);
        snprintf(key, sizeof key, "%s_allocations_per_sample", names[kind]);
        bench_limit(&bench, key, allocations[kind], 0.001);
    }
    return bench_end(&bench);
}
