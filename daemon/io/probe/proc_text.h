/*
 * Reads the texts of /proc and of cgroups. They come from the kernel, but names in them come from
 * whoever gave them: a thread may be called "R) 1 (x". It opens nothing. Any thread.
 */
#ifndef DWELL_PROBE_PROC_TEXT_H
#define DWELL_PROBE_PROC_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* The number behind a word at the beginning of a line: "Referenced:   1672 kB", "throttled_usec 17".
 * False when there is none. */
bool proc_text_number(struct str text, const char *word, uint64_t *ret_number);

/* The first line's whole-number fields, from the first on: "2048 512 3 …". Returns how many, at most
 * `max`; fields end at the first that is no number. */
unsigned proc_text_fields(struct str text, uint64_t *ret_fields, unsigned max);

/* /proc/PID/stat, of a process or thread:
 *     1234 (name) S 1 … minflt cminflt majflt … utime stime … starttime …
 *           ^^^^ anything, so that the last ")" of the text ends it */
struct proc_stat {
    char state;
    uint64_t minor_faults, major_faults;
    uint64_t user_ticks, system_ticks;
    uint64_t start_ticks; /* since boot: tells two processes of the same number apart */
};

bool proc_text_stat(struct str text, struct proc_stat *ret_stat);

/* /proc/PID/wchan: the function of the kernel in which it sleeps; "0" or nothing: none, or not told. */
enum wchan { WCHAN_NONE, WCHAN_FUTEX, WCHAN_OTHER };

enum wchan proc_text_wchan(struct str text);

/* /proc/PID/status, "NSpid: 1234 12 1": its number in each PID namespace from ours to its own. Writes
 * the last; returns how many, 0 when there is no such line (before Linux 4.1). */
unsigned proc_text_own_pid(struct str text, uint64_t *ret_own);

/* /proc/PID/cgroup: the path in the hierarchy of this controller (v1), or with "" in the only one (v2):
 *     4:cpu,cpuacct:/user.slice
 *     0::/user.slice            Empty when there is none, or one that leads out of the root. */
struct str proc_text_cgroup(struct str text, const char *controller);

/* Pressure stall information, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234": µs in all. */
bool proc_text_pressure(struct str text, uint64_t *ret_some_us);

/* "32768K", "8M" or "4096": bytes; 0 when it is none of these. */
uint64_t proc_text_size(struct str text);

#endif
