/*
 * Reads the figures of one process now and then, and makes differences of them. What cannot be read is
 * not among the sources of the figures; what counts backwards or belongs to another process of the same
 * number is noticed. It keeps no history. One thread at a time.
 */
#ifndef DWELL_PROBE_PROCESS_READER_H
#define DWELL_PROBE_PROCESS_READER_H

#include <time.h>

#include "core/readings.h"
#include "io/probe/cgroup.h"
#include "io/probe/proc_text.h"
#include "io/probe/thread_waits.h"

/* Absolute figures, of one moment. Those without their source are 0. */
struct process_state {
    unsigned sources; /* set of 1 << SEEN_… */
    uint64_t at_ns;   /* monotonic */
    struct proc_stat stat;
    double cpu_ms; /* exact; negative: there is no clock */
    double io_bytes, disk_bytes;
    double throttled_ms, memory_stall_ms;
};

struct process_reader {
    int directory; /* /proc/PID; -1: closed */
    bool has_clock;
    clockid_t clock; /* its CPU time */
    uint64_t start_ticks;
    double resident_bytes, huge_bytes; /* as last read */
    bool knows_huge;
    struct cgroup cgroup;
    struct process_state last;
    struct thread_waits waits;
};

/* Returns 0 or an errno value. */
int process_reader_open(struct process_reader *reader, const struct proc_roots *roots, int64_t pid,
                        uint64_t now_ns);
void process_reader_close(struct process_reader *reader);

/* What has changed since the last call, or since it was opened. Returns 0; or an errno value when the
 * process is gone, ESRCH also when its number is another's now. */
int process_reader_take(struct process_reader *reader, const struct proc_roots *roots,
                        uint64_t now_ns, struct process_figures *ret_figures);

/* How long its threads waited for a CPU since the last such call that went well, or since it was opened:
 * added to the figures with its source. False, with nothing written, when that cannot be had. It costs
 * more than the rest, and may be left out: the next call has it then. */
bool process_reader_take_waits(struct process_reader *reader, struct process_figures *figures);

/* CPU time of the process so far; false when there is no clock. */
bool process_reader_cpu_ms(const struct process_reader *reader, double *ret_ms);

#endif
