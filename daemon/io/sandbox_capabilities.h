/*
 * Capabilities of Linux: a thread's rights beyond its user's. They are a thread's own; those that it starts
 * inherit them. It does not decide who keeps which. The calling thread is concerned, and no other.
 *
 * The kernel's two calls are made here, as libcap would be one more library in memory for them.
 */
#ifndef DWELL_IO_SANDBOX_CAPABILITIES_H
#define DWELL_IO_SANDBOX_CAPABILITIES_H

#include <stdint.h>

/* Sets are 1 << CAP_…. What the calling thread may do now; 0 when the kernel does not say. */
uint64_t sandbox_capabilities_get(void);

/* Of `has`, what a thread needs to look into other processes as now: CAP_SYS_PTRACE, and what opens
 * the files of other users. Without CAP_SYS_PTRACE all of it: a process shows itself to nobody who may
 * do less. */
uint64_t sandbox_capabilities_to_look(uint64_t has);

/* Leaves the calling thread no more than `keep`, and no way to get more by another program. Returns 0 or an
 * errno value. */
int sandbox_capabilities_drop(uint64_t keep);

#endif
