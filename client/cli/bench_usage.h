/*
 * What another process has used so far: CPU, waiting for a CPU, faults, switches, memory, as the kernel
 * tells anybody of the same user. It judges nothing. One thread at a time for each struct.
 *
 * The kernel adds up a running thread's CPU time when the thread leaves the CPU, else at every tick, 4 to
 * 10 ms apart. usage_settle waits for the first: a reading then has all that came before.
 */
#ifndef DWELL_CLI_BENCH_USAGE_H
#define DWELL_CLI_BENCH_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/str.h"

/* Sums since the process began; of its first thread unless said otherwise. */
struct usage {
    bool has_process_cpu; /* the clock of the process could be read */
    bool has_schedstat;
    bool has_stat;
    bool has_status;
    bool has_disk;
    uint64_t process_cpu_ns; /* of all threads */
    uint64_t cpu_ns;
    uint64_t runqueue_ns;
    char state;          /* 'R', 'S', … */
    uint64_t user_ticks; /* of 10 ms, and a sampled share of CPU time: good over many */
    uint64_t system_ticks;
    uint64_t minor_faults;
    uint64_t major_faults;
    uint64_t threads; /* of the process, now */
    uint64_t voluntary_switches;
    uint64_t involuntary_switches;
    uint64_t disk_bytes;  /* of the process: read from and written to disks */
    uint64_t resident_kb; /* of the process, now */
    uint64_t peak_kb;     /* and the most that it ever was */
};

struct usage_source {
    clockid_t clock;
    bool has_clock;
    int schedstat, stat, status, io; /* open files of /proc, -1: may not be read */
};

void usage_open(struct usage_source *source, pid_t pid);
void usage_close(struct usage_source *source);

/* Waits until the first thread waits for something, at most `limit_ns`. */
void usage_settle(const struct usage_source *source, uint64_t limit_ns);

void usage_read(const struct usage_source *source, struct usage *ret_usage);

/* The parts of usage_read that read text, of /proc/PID/… . */
void usage_take_schedstat(struct str text, struct usage *usage);
void usage_take_stat(struct str text, struct usage *usage);
void usage_take_status(struct str text, struct usage *usage);
void usage_take_io(struct str text, struct usage *usage);

#endif
