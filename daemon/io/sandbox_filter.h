/*
 * The filters of system calls, as the build makes them of the lists in io/seccomp/make_filter.c, and
 * the names of the calls. Constant; for io/sandbox_seccomp alone.
 */
#ifndef DWELL_IO_SANDBOX_FILTER_H
#define DWELL_IO_SANDBOX_FILTER_H

#include <linux/filter.h>

enum {
    SANDBOX_NEWEST_CALL =
        462, /* mseal, of Linux 6.10; from 424 on numbers are the same everywhere */
};

extern const struct sock_fprog sandbox_filter_for_all;
extern const struct sock_fprog sandbox_filter_for_probe;

/* Of 0 to SANDBOX_NEWEST_CALL, each ended by a zero byte; empty where there is no such call. */
extern const char sandbox_call_names[];

#endif
