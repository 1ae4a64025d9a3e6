/*
 * From evidence to shares: how much of the time in which a model could have run went into computing,
 * into waiting for memory, for input and output, and for locks. What the evidence leaves open (a missing
 * source) is carried as a range. Every step keeps its figure, so that the way can be shown.
 * It gives no label: core/opinion does. Pure; any thread.
 */
#ifndef DWELL_CORE_SHARES_H
#define DWELL_CORE_SHARES_H

#include "core/evidence.h"
#include "core/verdict.h"

/* What is known of the machine. 0: not known. */
struct machine {
    double cache_bytes;     /* of the last level */
    double page_fault_us;   /* that one costs */
    double bandwidth_bytes; /* a second, of memory, as one CPU reads it */
    double touch_bytes;     /* a second: the touch rate that counts as 1 */
    uint32_t cpus;
};

/* Machine of which nothing was measured: 2.6 µs a page fault. */
extern const struct machine machine_unknown;

struct range {
    double low, high;
};

/* Figures of the way from evidence to shares, in ms of the stretch's inferences unless said otherwise;
 * NaN: the evidence has no source for it. */
struct shares {
    double wall, user, system; /* of the thread, or with `workers` of all that worked on it */
    bool workers;              /* threads of the process's own did the work */
    double others_ready;       /* waits for a CPU, as estimated, of threads other than its own */
    struct range runqueue;     /* waited for a CPU, throttling included */
    double throttled;          /* of it, by the quota of a cgroup */
    struct range blocked;      /* wall - CPU - runqueue */
    struct range futex;        /* part of blocked that is for locks, 0 to 1 */
    double fault;              /* part of system time that is page faults */
    double system_io;          /* and that is input and output */
    struct range memory;       /* part of user time that is waiting for memory, 0 to 1 */
    double hinted;             /* its part that hints of bytes prove */
    double touch;              /* rate, as a multiple of the reference's */
    double touch_deviation;    /* of its mean */
    double streamed;      /* bytes of huge pages that are touched, as a multiple of the bandwidth */
    struct range starved; /* runqueue / (CPU + runqueue), 0 to 1; with workers theirs if more */
    double total;         /* user + system + blocked at the middle of the ranges */
    double share[SHARE_COUNT]; /* at the middle of the ranges; of sum 1. NaN: it hardly ran */
    struct range bounds[SHARE_COUNT]; /* that the ranges leave */
    double lead[SHARE_COUNT]; /* over the largest of the others, at the worst ends of the ranges */
    double deviation[SHARE_COUNT]; /* by the number of inferences, looks and probes */
};

void shares_compute(const struct evidence *evidence, const struct machine *machine,
                    struct shares *ret_shares);

#endif
