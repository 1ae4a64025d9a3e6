/*
 * A worker: a process of the command under test, that is asked one line and answers one. It measures
 * nothing and keeps no answer; lines are counted, not read.
 *
 * A worker is started and stopped by the thread that the tool began in, as it dies with that thread;
 * in between each belongs to one thread at a time.
 */
#ifndef DWELL_CLI_BENCH_WORKER_H
#define DWELL_CLI_BENCH_WORKER_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "base/buf.h"

enum {
    ANSWER_BYTES_MAX = 1 << 20, /* of a line, without its newline; more is a flood */
    WORKER_GRACE_MS = 1000,     /* to end by itself once its input has ended */
    WORKER_PROBLEM_MAX = 4096,
};

/* How a request ended. */
enum ask {
    ASK_ANSWERED,
    ASK_STOPPED, /* the run was ended: stop_fd became readable */
    ASK_FAILED   /* the worker is of no more use; `problem` and `status` say why */
};

struct worker {
    uint32_t number;
    pid_t pid;    /* 0: not started, or reaped */
    int to, from; /* its standard input and output */
    int stop_fd;  /* borrowed */
    int samples;  /* a socket that the process itself connected to the daemon; -1: none */
    uint64_t asked;
    int status; /* exit status of the tool, when it failed */
    struct buf problem;
};

/* Before anything else. */
void worker_init(struct worker *worker, uint32_t number, int stop_fd);

/* Starts argv[0], looked for in PATH. With `daemon` the process connects to it before it becomes the
 * command, so that by SO_PEERCRED the samples are its own. 0; or EX_… with `problem` filled in. */
int worker_start(struct worker *worker, char *const *argv, const struct sockaddr_un *daemon);

/* Sends the line, which ends with a newline, and waits for one in return. */
enum ask worker_ask(struct worker *worker, struct str line, uint64_t timeout_ns);

/* After an answer: nothing more may have come. False: `problem` says so. */
bool worker_is_silent(struct worker *worker);

/* Ends all: closes their input, waits WORKER_GRACE_MS at most, kills what is left of them and of what
 * they have started, and takes their exit statuses. Gives up all memory. */
void workers_stop(struct worker *workers, uint32_t count);

/* From now on what workers leave behind becomes a child of ours; workers_sweep kills all of these but
 * `spared` (0: none). */
void workers_adopt(void);
void workers_sweep(pid_t spared);

#endif
