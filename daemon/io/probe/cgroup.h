/*
 * What the cgroup of a process, or one above it, keeps it from: how long a CPU quota held it, and how
 * long tasks waited for memory. Both versions of cgroups. It keeps no differences. One thread at a time.
 */
#ifndef DWELL_PROBE_CGROUP_H
#define DWELL_PROBE_CGROUP_H

#include "io/probe/proc_file.h"

/* Where to read; "" : nowhere. */
struct cgroup {
    char throttle[PROC_PATH_MAX]; /* cpu.stat of the lowest cgroup that has a quota */
    char pressure[PROC_PATH_MAX]; /* memory.pressure of its own */
    bool knows_quota;             /* its cgroup can be seen: nothing to read means no quota */
};

/* From the text of /proc/PID/cgroup. */
void cgroup_find(struct cgroup *cgroup, const struct proc_roots *roots, struct str text);

/* Time in all that a quota kept its tasks from running, summed over CPUs. 0 without a quota; false when
 * it cannot be known. */
bool cgroup_throttled(const struct cgroup *cgroup, struct proc_text *room, double *ret_ms);

/* Time in all in which some task of it (or, where only that is known, of the machine) waited for memory. */
bool cgroup_memory_stall(const struct cgroup *cgroup, const struct proc_roots *roots,
                         struct proc_text *room, double *ret_ms);

/* Bytes that the cgroup of this process may still take, or UINT64_MAX without a limit. */
uint64_t cgroup_memory_left(const struct proc_roots *roots, struct proc_text *room);

#endif
