/*
 * What the machine is like: its last-level cache, its CPUs, what a page fault costs. One thread at a time.
 */
#ifndef DWELL_PROBE_MACHINE_READER_H
#define DWELL_PROBE_MACHINE_READER_H

#include "core/shares.h"
#include "io/probe/proc_file.h"

/* The largest cache of the highest level that the first CPU has; 0: not told. */
double machine_cache_bytes(const struct proc_roots *roots);

/* What a page fault of this process costs in CPU time, with giving the page back: the median of some.
 * 0: it could not be measured. */
double machine_page_fault_us(void);

/* All but the bandwidth. */
void machine_read(const struct proc_roots *roots, struct machine *ret_machine);

#endif
