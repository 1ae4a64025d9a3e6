/*
 * How long the threads of a process waited for a CPU, all together, from one reading to the next. The
 * kernel keeps that figure for each thread only, and it goes with the thread: so differences are made
 * thread by thread. It keeps no history. One thread at a time.
 *
 *     thread   before   now
 *     12         100    130   + 30
 *     13          70          ended: what it waited since is lost
 *     14                 20   + 20, it began meanwhile
 */
#ifndef DWELL_PROBE_THREAD_WAITS_H
#define DWELL_PROBE_THREAD_WAITS_H

#include "io/probe/proc_file.h"

/* A process with more threads is not read: each takes some 10 µs, every second. A pool has as many as
 * there are CPUs, and a server with hundreds of threads is no one model's pool. */
enum { THREAD_WAITS_MAX = 256 };

struct thread_wait {
    uint64_t tid;
    uint64_t waited_ns; /* since the thread began */
};

/* All zero: nothing was read yet. */
struct thread_waits {
    bool is_known;
    unsigned count;
    struct thread_wait list[THREAD_WAITS_MAX];
};

/* Reads all threads of /proc/PID, an open directory, and compares with the reading before, which this
 * one replaces. False, with nothing written, when there is no reading before or none now. */
bool thread_waits_take(struct thread_waits *waits, int process, struct proc_text *room,
                       double *ret_ms);

#endif
