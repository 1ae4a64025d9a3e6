/*
 * Looks at one thread of another process: is it on a CPU, does it wait for a lock, does it wait for
 * something else. It keeps no history. One thread at a time.
 *
 *     wchan     stat       look
 *     futex…    –          LOOK_FUTEX
 *     other     –          LOOK_WAITS
 *     0         R          LOOK_RUNS
 *     0         S, D, …    cannot tell: the kernel does not name where it waits
 */
#ifndef DWELL_PROBE_LOOK_H
#define DWELL_PROBE_LOOK_H

#include "core/evidence.h"
#include "io/probe/proc_file.h"

/* A thread with its files open: what is read is of this thread and no later one of its number. */
struct look {
    int wchan, stat; /* descriptors; -1: none */
};

/* Finds the thread by the number that its process gives it, which is another than ours in another PID
 * namespace. Returns 0 or an errno value. */
int look_open(struct look *look, const struct proc_roots *roots, int64_t pid, uint64_t said_tid);
void look_close(struct look *look);

/* Returns 0; an errno value, after which the thread is to be closed; or LOOK_UNTOLD. */
enum { LOOK_UNTOLD = -1 };

int look_take(const struct look *look, struct proc_text *room, enum look_at *ret_look_at);

#endif
