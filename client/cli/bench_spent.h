/*
 * What one request cost a process: from two readings of what it has used (bench_usage.h) and the time that
 * the request took, to the figures of a sample. Pure.
 *
 * The kernel tells CPU time in ns but how it divides into user and system only in ticks of 10 ms. So the
 * sum is that of the request, and the division that of all requests so far.
 */
#ifndef DWELL_CLI_BENCH_SPENT_H
#define DWELL_CLI_BENCH_SPENT_H

#include "cli/bench_usage.h"

/* In ms, MiB and counts; NaN: not known. */
struct spent {
    double cpu_percent;    /* of the whole process; 100 = one CPU */
    double process_cpu_ms; /* likewise */
    double user_ms;        /* of its first thread, from here on */
    double system_ms;
    double runqueue_ms;
    double minor_faults, major_faults;
    double voluntary_switches, involuntary_switches;
    double disk_bytes; /* of the process, from here on */
    double memory_mb_before, memory_mb_after;
    double threads;
};

/* `first`: where the division into user and system counts from. What cannot be is cut to what can: one
 * thread has no more CPU time than there was time, and waits for a CPU only while it has none. */
struct spent spent_between(const struct usage *first, const struct usage *before,
                           const struct usage *after, double latency_ms, unsigned cpus);

/* Of requests that cannot be watched. */
struct spent spent_unknown(void);

#endif
