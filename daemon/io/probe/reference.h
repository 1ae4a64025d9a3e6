/*
 * What touching memory as fast as possible reads on this machine, by the same instrument: a child that
 * streams through memory, for as long as it is measured. Its memory is bounded, it holds none of our
 * descriptors, and it dies with us. It compares nothing. The thread that starts it must live on until it
 * has ended.
 */
#ifndef DWELL_PROBE_REFERENCE_H
#define DWELL_PROBE_REFERENCE_H

#include "io/probe/touch.h"

struct reference {
    double rate;            /* bytes per ms of CPU time, by touch_take */
    double bandwidth_bytes; /* a second of CPU time, as the child read them undisturbed */
};

/* How much memory the child takes on a machine with this last-level cache (0: not known). */
uint64_t reference_bytes(double cache_bytes);

/* Takes a fraction of a second. Returns 0; an errno value, ENOMEM also where the cgroup leaves too little;
 * or ECANCELED when it was time to stop. */
int reference_measure(const struct proc_roots *roots, double cache_bytes,
                      const struct touch_waiter *waiter, uint64_t now_ns,
                      struct reference *ret_reference);

#endif
