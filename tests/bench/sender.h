/*
 * A process that makes spans of six attributes by libdwell, so many a second, until it is told to stop.
 * Where the library cannot send as fast, it falls behind rather than have spans dropped there. To be
 * started before this process has threads.
 */
#ifndef DWELL_TESTS_SENDER_H
#define DWELL_TESTS_SENDER_H

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include "bench.h"
#include "dwell.h"

enum {
    SENDER_STEP_MS = 1,
    SENDER_FLUSH_MS = 30000,
    SENDER_FILES = 64, /* a bench has no more */
    SENDER_BUFFER_BYTES = 16 << 20,
    SENDER_WAITING_MAX = 20000, /* spans not sent yet: half of that buffer */
    SENDER_BURST = 1000,        /* spans between two looks at how many wait */
};

struct sender {
    pid_t child;
    int input;  /* its end stops the sender */
    int output; /* its report */
};

struct sender_report {
    uint64_t recorded, sent, dropped, unconfirmed;
    uint64_t cpu_ns; /* of all its threads, from first to last span */
    bool confirmed;  /* the daemon has applied all that was sent */
};

static inline void sender_make_span(dwell_t *dwell, uint64_t number)
{
    static const struct dwell_span_options options = {.size = sizeof options,
                                                      .kind = DWELL_KIND_SERVER};
    struct dwell_span span;
    dwell_span_start(dwell, &span, "POST /v1/infer", &options);
    dwell_span_text(&span, "http.request.method", "POST");
    dwell_span_text(&span, "http.route", "/v1/infer");
    dwell_span_text(&span, "server.address", "10.1.2.3");
    dwell_span_int(&span, "http.response.status_code", 200);
    dwell_span_int(&span, "request.number", (int64_t)number);
    dwell_span_double(&span, "batch.fill", 0.75);
    dwell_span_end(&span);
}

static inline bool sender_has_room(dwell_t *dwell)
{
    struct dwell_stats stats = {.size = sizeof stats};
    dwell_stats(dwell, &stats);
    return stats.recorded - stats.sent - stats.dropped < SENDER_WAITING_MAX;
}

static inline void sender_run(const char *directory, double rate, int input, int output)
{
    struct dwell_options options = {.size = sizeof options,
                                    .directory = directory,
                                    .service_name = "sender",
                                    .buffer_bytes = SENDER_BUFFER_BYTES};
    struct dwell_stats stats = {.size = sizeof stats};
    struct pollfd stop = {.fd = input, .events = POLLIN};
    dwell_t *dwell = dwell_open(&options);
    uint64_t count = 0;
    uint64_t began = now_ns();
    while (poll(&stop, 1, SENDER_STEP_MS) == 0) {
        uint64_t due = (uint64_t)((double)(now_ns() - began) / 1e9 * rate);
        while (count < due && sender_has_room(dwell)) {
            for (int i = 0; i < SENDER_BURST && count < due; i++) {
                sender_make_span(dwell, count++);
            }
        }
    }
    struct sender_report report = {.confirmed = dwell_flush(dwell, SENDER_FLUSH_MS) == DWELL_OK,
                                   .cpu_ns = cpu_ns()};
    dwell_stats(dwell, &stats);
    report.recorded = stats.recorded;
    report.sent = stats.sent;
    report.dropped = stats.dropped;
    report.unconfirmed = stats.unconfirmed;
    bool wrote = write(output, &report, sizeof report) == sizeof report;
    (void)dwell_close(dwell); /* the flush has told */
    _exit(wrote ? 0 : 1);
}

static inline void sender_start(struct sender *sender, const char *directory, double rate)
{
    int to[2];
    int from[2];
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) {
        exit(1);
    }
    sender->child = fork();
    if (sender->child == 0) {
        for (int fd = STDERR_FILENO + 1; fd < SENDER_FILES; fd++) { /* those of other children */
            if (fd != to[0] && fd != from[1]) {
                close(fd);
            }
        }
        sender_run(directory, rate, to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    sender->input = to[1];
    sender->output = from[0];
}

static inline void sender_stop(struct sender *sender, struct sender_report *ret_report)
{
    close(sender->input);
    if (read(sender->output, ret_report, sizeof *ret_report) != sizeof *ret_report) {
        fprintf(stderr, "bench: the sender says nothing\n");
        exit(1);
    }
    close(sender->output);
    waitpid(sender->child, NULL, 0);
}

#endif
