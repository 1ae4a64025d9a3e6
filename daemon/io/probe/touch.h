/*
 * How fast a process touches memory: the kernel is told to forget which of its pages were used, and a
 * little later says how many were again. Only a comparison with the same of a process that is known to
 * wait for memory means anything: the instrument itself makes the process slower, and a page that is
 * used twice counts once. It compares nothing. One thread at a time.
 *
 *     clear_refs     wait            smaps_rollup
 *     |------|-------------------------|------|        page by page, so that each is watched from the
 *         ^                                ^           middle of the one to the middle of the other
 *         CPU time of the process      and again
 */
#ifndef DWELL_PROBE_TOUCH_H
#define DWELL_PROBE_TOUCH_H

#include "io/probe/process_reader.h"

/* Sleeps; false when it is time to stop. */
struct touch_waiter {
    bool (*wait)(void *ctx, uint64_t ns);
    void *ctx;
};

struct touch {
    double rate; /* bytes per ms of CPU time; negative: it ran too little to tell */
    double resident_bytes, huge_bytes;
};

/* Returns 0; an errno value; or ECANCELED when it was time to stop. */
int touch_take(const struct process_reader *reader, const struct touch_waiter *waiter,
               struct touch *ret_touch);

#endif
