/*
 * What the system allows the daemon: waiting connections and datagrams, memory and CPU of its cgroup (both
 * versions). Looking and judging are apart. For a daemon of this machine whose process can be seen.
 */
#ifndef DWELL_CLI_DOCTOR_SYSTEM_H
#define DWELL_CLI_DOCTOR_SYSTEM_H

#include <jansson.h>

#include "cli/finding.h"

/* Where it is read; tests have directories of their own. */
struct doctor_roots {
    const char *proc;   /* "/proc" */
    const char *cgroup; /* "/sys/fs/cgroup" */
};

extern const struct doctor_roots doctor_roots_real;

/* NaN: not known, or no limit. */
struct doctor_system {
    double somaxconn;
    double dgram_qlen;
    double cpus;         /* of the machine */
    bool has_cgroup;     /* the daemon's could be read */
    double memory_limit; /* bytes; the least of its cgroup and those above */
    double memory_kills; /* processes that the kernel ended for it */
    double cpu_quota;    /* CPUs; likewise the least */
    double periods, throttled_periods;
};

/* `pid`: the daemon's, as it says; 0 when it cannot be this machine's. */
void doctor_system_look(struct doctor_system *system, const struct doctor_roots *roots,
                        int64_t pid);

/* `root`: the daemon's status. */
void doctor_system_judge(const struct doctor_system *system, const json_t *root,
                         struct findings *findings);

#endif
