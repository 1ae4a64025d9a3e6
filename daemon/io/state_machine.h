/*
 * What a state file must know of the machine: which start of it this is, what its clocks say, and whether
 * a process of then is still there. It reads /proc and no state file. Blocking, but for the clocks; any
 * thread.
 */
#ifndef DWELL_IO_STATE_MACHINE_H
#define DWELL_IO_STATE_MACHINE_H

#include "core/saved.h"

/* Which start of the machine this is, if the kernel tells it; once, at the start. */
void state_machine_init(struct saved_moment *moment);

/* The present by the clocks that are in `moment`. */
void state_machine_now(struct saved_moment *moment);

/* Whether the process that had this number when CLOCK_BOOTTIME was `boot_ns` still has it: one that has it
 * now and began before is the same, for two cannot have it at a time. The kernel tells beginnings in ticks
 * of a hundredth of a second; who began in the last one is taken for another. */
bool state_machine_has(void *ctx, int64_t kernel_pid, uint64_t boot_ns);

#endif
