/*
 * Handles of the C client under measurement, each with a daemon of its own: a thread that throws away
 * what it reads. Clients of a directory are served one after the other. One thread at a time.
 */
#ifndef DWELL_TESTS_SUBJECT_H
#define DWELL_TESTS_SUBJECT_H

#include "bench.h"
#include "dwell.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SUBJECT_TEMPLATE "/tmp/dwell-bench-XXXXXX"

static inline void *throw_away(void *arg)
{
    static char bytes[65536];
    int listener = *(int *)arg;
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        while (peer >= 0 && read(peer, bytes, sizeof bytes) > 0) {
        }
        close(peer);
    }
    return NULL;
}

static inline void sink_start(const char *directory, int *listener)
{
    pthread_t thread;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/ingest.sock", directory);
    *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*listener < 0 || bind(*listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(*listener, 8) != 0 || pthread_create(&thread, NULL, throw_away, listener) != 0) {
        perror("bench");
        exit(1);
    }
    pthread_detach(thread);
}

struct subject {
    enum dwell_evidence evidence;
    double percent; /* 0: the default */
    int listener;
    char directory[32]; /* SUBJECT_TEMPLATE */
    dwell_t *dwell;
    const struct dwell_model *model;
};

static inline void subject_open(struct subject *subject)
{
    if (mkdtemp(subject->directory) == NULL) {
        perror("bench");
        exit(1);
    }
    sink_start(subject->directory, &subject->listener);
    struct dwell_options options = {
        .size = sizeof options,
        .directory = subject->directory,
        .evidence = subject->evidence,
        .evidence_percent = subject->percent,
    };
    subject->dwell = dwell_open(&options);
    subject->model = dwell_model(subject->dwell, "resnet50");
}

static inline void subject_close(struct subject *subject)
{
    char path[64];
    dwell_close(subject->dwell);
    snprintf(path, sizeof path, "%s/ingest.sock", subject->directory);
    unlink(path);
    rmdir(subject->directory);
}

static inline void wait_until_sent(dwell_t *dwell)
{
    struct dwell_stats stats = {.size = sizeof stats};
    do {
        usleep(1000);
        dwell_stats(dwell, &stats);
    } while (stats.sent + stats.dropped != stats.recorded);
    if (stats.dropped != 0) {
        fprintf(stderr, "bench: records were dropped, the figures mean nothing\n");
        exit(1);
    }
}

#endif
