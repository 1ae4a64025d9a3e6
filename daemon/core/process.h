/*
 * The processes that said who they are: what belongs to one, such as its part of a gauge, ends with it.
 * It does not watch processes (io/watcher does) nor know what belongs to them. Loop thread only.
 *
 *     enter      a hello with a pid on a connection, or in a datagram
 *     leave      that connection is over
 *     exit       the kernel said that the process is gone
 *     it ends    when it has exited and all its connections are read to their end, or, where nobody can
 *                watch it, with the last of them
 */
#ifndef DWELL_CORE_PROCESS_H
#define DWELL_CORE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/open_spans.h"

enum { PROCESSES_MAX = 4096 }; /* past it a process is taken for nobody: what it tells stays */

struct part;

struct process {
    struct process *next, **link;
    uint64_t said_pid;  /* what its hello says: its own view, and the label of per_pid */
    int64_t kernel_pid; /* what the kernel says: the daemon's view; 0: not known */
    uint32_t entered;   /* connections */
    uint32_t number;    /* in the copy that core/beside makes */
    bool exited;
    bool watched;
    struct part *parts;      /* core/part */
    struct span_owner spans; /* core/open_spans */
    void *watch;             /* the watcher's */
};

struct processes {
    struct process *first;
    uint32_t count;
    void *ctx;
    /* Begins to watch a new process; false when it cannot be watched. May be NULL. */
    bool (*watch)(void *ctx, struct process *process);
    /* A watched process may be gone without the watcher having been told yet: ask. May be NULL. */
    bool (*is_gone)(void *ctx, struct process *process);
    /* The process has ended, and is freed after. */
    void (*ended)(void *ctx, struct process *process);
};

/* The process of a hello, which is entered; NULL without memory, or past the ceiling. */
struct process *process_enter(struct processes *processes, uint64_t said_pid, int64_t kernel_pid);

/* A process of an earlier life of the daemon, of which no connection is entered yet: to be watched before
 * anything else happens, or to be ended. NULL as above. */
struct process *process_adopt(struct processes *processes, uint64_t said_pid, int64_t kernel_pid);
void process_leave(struct processes *processes, struct process *process);
void process_exit(struct processes *processes, struct process *process);

/* Frees all of them without a word, once nothing is left that belongs to them: after metrics_fini. */
void processes_fini(struct processes *processes);

#endif
