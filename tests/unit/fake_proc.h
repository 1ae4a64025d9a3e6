/*
 * A /proc, a /sys/fs/cgroup and a /sys/devices/system/cpu of files that a test writes, in a directory of
 * its own; and children that do one thing. It tests nothing. One thread at a time.
 */
#ifndef DWELL_TESTS_FAKE_PROC_H
#define DWELL_TESTS_FAKE_PROC_H

#include <sys/types.h>

#include "io/probe/proc_file.h"

struct fake_proc {
    char directory[64];
    char proc[96], cgroup[96], cpu[96];
    struct proc_roots roots; /* of the three above */
};

void fake_proc_open(struct fake_proc *fake);
void fake_proc_close(struct fake_proc *fake); /* removes all of it */

/* Writes a file below the directory, "proc/12/stat", and the directories that lead to it. */
void fake_proc_write(const struct fake_proc *fake, const char *path, const char *text);
void fake_proc_remove(const struct fake_proc *fake, const char *path);

/* The text of /proc/PID/stat. */
void fake_proc_stat(const struct fake_proc *fake, const char *path, char state, unsigned faults,
                    unsigned user_ticks, unsigned system_ticks, unsigned start_ticks);

/* A child that calls `act`, again and again; it dies with the test. */
pid_t child_start(void (*act)(void *arg), void *arg);
void child_end(pid_t child);

#endif
