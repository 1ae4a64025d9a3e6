/*
 * Sends a payload again and again through a stream socket to a loop in this process, and says what CPU
 * the loop took: the daemon's side of a connection, or one that only counts the bytes.
 * It makes no payloads. One thread at a time; dies when the system refuses anything.
 */
#ifndef DWELL_TESTS_STREAM_H
#define DWELL_TESTS_STREAM_H

#include <sys/socket.h>
#include <sys/wait.h>
#include <uv.h>

#include "bench.h"
#include "bench_core.h"
#include "io/connection.h"
#include "io/system.h"
#include "rows.h"

enum { STREAM_BYTES = 65000 }; /* of a payload: clients send 64 kB at a time */

struct payload {
    struct buf bytes;
    unsigned records;
    bool is_frames; /* begins with the magic of our frames */
};

/* A child that sends the payload again and again; returns our end. */
static inline int stream_start_sender(const struct payload *payload, unsigned repeats, pid_t *child)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        abort();
    }
    *child = fork();
    if (*child == 0) {
        close(ends[0]);
        if (payload->is_frames) {
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

static inline uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static char stream_buffer[INGEST_READ_BYTES];
static uint64_t stream_counted;

static inline void stream_on_countable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    ssize_t got = recv(*(int *)poll->data, stream_buffer, sizeof stream_buffer, MSG_DONTWAIT);
    if (got > 0) {
        stream_counted += (uint64_t)got;
    } else if (got == 0) {
        uv_close((uv_handle_t *)poll, NULL);
    }
}

/* CPU nanoseconds of a loop that reads everything and counts it. */
static inline uint64_t stream_count_bytes(const struct payload *payload, unsigned repeats)
{
    uv_loop_t loop;
    uv_poll_t poll;
    pid_t child;
    int fd = stream_start_sender(payload, repeats, &child);
    uv_loop_init(&loop);
    uv_poll_init(&loop, &poll, fd);
    poll.data = &fd;
    uint64_t began = thread_cpu_ns();
    uv_poll_start(&poll, UV_READABLE, stream_on_countable);
    uv_run(&loop, UV_RUN_DEFAULT);
    uint64_t took = thread_cpu_ns() - began;
    uv_loop_close(&loop);
    close(fd);
    waitpid(child, NULL, 0);
    return took;
}

/* The same of a loop that takes it as records. */
static inline uint64_t stream_ingest(const struct payload *payload, unsigned repeats)
{
    uv_loop_t loop;
    struct ingest ingest;
    struct ingest_options options = {.max_frame_bytes = 1 << 20,
                                     .max_line_bytes = 65536,
                                     .max_connections = 4,
                                     .senders = {.max_connections = 4, .max_bytes = 1 << 24}};
    struct clock clock = system_clock();
    struct ucred nobody = {0};
    pid_t child;
    statsd_samples_add(&options.statsd_samples, STR_LITERAL("inference"));
    statsd_samples_add(&options.statsd_samples, STR_LITERAL("model.inference"));
    uv_loop_init(&loop);
    if (ingest_init(&ingest, &loop, &intake, &options, &clock) != 0) {
        abort();
    }
    int fd = stream_start_sender(payload, repeats, &child);
    uint64_t began = thread_cpu_ns();
    if (connection_start(&ingest, fd, &nobody) != 0) {
        abort();
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uint64_t took = thread_cpu_ns() - began;
    ingest_close(&ingest);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    ingest_fini(&ingest);
    waitpid(child, NULL, 0);
    return took;
}

#endif
