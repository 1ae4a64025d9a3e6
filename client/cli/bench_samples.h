/*
 * Tells the daemon of each request, as an inference of the model. It waits for the daemon only at the end,
 * and then not for ever; a run goes on without it. One thread at a time.
 */
#ifndef DWELL_CLI_BENCH_SAMPLES_H
#define DWELL_CLI_BENCH_SAMPLES_H

#include <sys/types.h>
#include <sys/un.h>

#include "cli/bench_spent.h"
#include "base/buf.h"

struct samples {
    int fd; /* connected to ingest.sock; -1: nothing is sent, or no more */
    const char *model_name;
    pid_t pid; /* that worked on the requests; 0: not known */
    struct buf line;
    uint64_t sent;
};

/* A socket connected by this process, or -1. */
int samples_connect(const struct sockaddr_un *daemon);

/* Says hello. The socket stays the caller's; -1 makes all of it a no-op. */
void samples_open(struct samples *samples, int fd, const char *model_name, pid_t pid);
void samples_close(struct samples *samples);

void samples_send(struct samples *samples, double latency_ms, bool failed,
                  const struct spent *spent);

/* The line of one sample, on its own. */
void samples_put(const struct samples *samples, double latency_ms, bool failed,
                 const struct spent *spent, struct buf *out);

/* Waits until the daemon has applied all that was sent. False: it has not, or rejected some; `problem`
 * says so. */
bool samples_confirm(struct samples *samples, int timeout_ms, struct buf *problem);

#endif
