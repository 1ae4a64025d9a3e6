/*
 * Small files of /proc, of cgroups and of /sys: opened below a directory, read whole. Where these lie
 * is handed in, so that tests have their own. It knows no formats. Any thread.
 */
#ifndef DWELL_PROBE_PROC_FILE_H
#define DWELL_PROBE_PROC_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct proc_roots {
    const char *proc;   /* "/proc" */
    const char *cgroup; /* "/sys/fs/cgroup" */
    const char *cpu;    /* "/sys/devices/system/cpu" */
    bool is_real;       /* the numbers in `proc` are processes, with CPU clocks */
};

extern const struct proc_roots proc_roots_real;

enum {
    PROC_TEXT_MAX = 4096, /* a page is what the kernel gives at once; what is longer is cut */
    PROC_PATH_MAX = 512,  /* below a root; a cgroup deeper than that is taken for none */
};

struct proc_text {
    char bytes[PROC_TEXT_MAX];
};

/* /proc/PID, or with a thread /proc/PID/task/TID. Returns a descriptor, or a negative errno. */
int proc_open_directory(const struct proc_roots *roots, int64_t pid, int64_t tid);

/* Opens a file of a directory; negative errno. */
int proc_open(int directory, const char *name);

/* Reads an open file from its beginning. Returns 0 or an errno value. */
int proc_read(int file, struct proc_text *text, struct str *ret_text);

/* Opens, reads and closes. `directory` may be AT_FDCWD. */
int proc_read_file(int directory, const char *name, struct proc_text *text, struct str *ret_text);

void proc_close(int descriptor); /* of -1: nothing */

/* Joins a root, a path below it and a name, as in "/sys/fs/cgroup" "/a/b" "/cpu.stat"; false when it is
 * too long. */
bool proc_join(char ret_path[PROC_PATH_MAX], const char *root, struct str path, const char *name);

/* Of an errno value: what was there is gone. Anything else means that it cannot be had. */
bool proc_is_gone(int reason);

#endif
