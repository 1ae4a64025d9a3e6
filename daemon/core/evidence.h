/*
 * What is known of where the time of a model's inferences went, over some stretch of time. Samples say
 * one part of it, each of its own inference; the daemon sees the other by itself, in /proc and in the
 * kernel's clocks. Sums only, no judgement: core/shares is next. Pure; one thread at a time.
 *
 *     wall |-- user --|-- system --|-- ready, without a CPU --|-------- blocked --------|
 *          |<------ thread CPU --->|<------ run queue ------->|  <- looks say for what
 *
 * Every source can be missing. A figure without its source is 0 and its count says so.
 */
#ifndef DWELL_CORE_EVIDENCE_H
#define DWELL_CORE_EVIDENCE_H

#include "core/record.h"

/* What a thread was seen doing when it was looked at. */
enum look_at {
    LOOK_RUNS,  /* on a CPU, or ready for one */
    LOOK_FUTEX, /* waits for a lock, a condition, or for other threads to be done */
    LOOK_WAITS, /* waits for anything else: a socket, a pipe, a disk, a timer */
    LOOK_COUNT
};

struct evidence {
    /* Said by the samples that have user_ms and system_ms, and summed over these. */
    uint64_t inferences;
    double wall_ms;
    double user_ms;
    double system_ms;
    double runqueue_low_ms;  /* the least and the most that was waited for a CPU: the same where */
    double runqueue_high_ms; /* samples say it, else what the switches leave open */
    uint64_t runqueue_said;  /* inferences that said it */
    double minor_faults, major_faults;
    double voluntary_switches, involuntary_switches;
    double disk_bytes; /* read and written */
    double threads;    /* the most that was said */

    /* Of those that also have process_cpu_ms. */
    uint64_t process_said;
    double process_wall_ms;
    double process_cpu_ms;    /* of the whole process */
    double process_thread_ms; /* of the thread that ran the inference */
    double process_beside_ms; /* of other inferences in the process meanwhile, as far as known */

    /* Hints of the application. */
    uint64_t bytes_said;
    double bytes_moved, bytes_wall_ms;
    uint64_t flops_said;
    double flops, flops_wall_ms;

    /* Seen by the daemon. */
    double looks[LOOK_COUNT]; /* at the thread, inside inferences */
    double touch_probes;      /* of the process's memory, in the last minute at least: */
    double touch_sum;         /* of rates, as a multiple of the reference's */
    double touch_squares;
    double seen_ms;      /* time over which processes were watched, and their figures therein: */
    double seen_user_ms; /* CPU, */
    double seen_system_ms;
    double seen_faults;     /* page faults, */
    double seen_io_bytes;   /* read and written by system calls, */
    double seen_disk_bytes; /* by disks, */
    /* waits of all their threads for a CPU, together, */
    double seen_runqueue_ms;
    double throttled_ms;    /* and time that the cgroup's quota kept them from running */
    double memory_stall_ms; /* in which some task waited for memory (pressure stall information) */
    double resident_bytes;  /* the most of any of the processes; 0: not known */
    double huge_bytes;      /* of it, in huge pages */

    double span_ms; /* from the first to the last: the stretch of time itself */
};

/* Parts that a sample must have to be evidence. */
#define EVIDENCE_PARTS (1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM)

static inline bool evidence_is_in(const struct sample *sample)
{
    return (sample->has & EVIDENCE_PARTS) == EVIDENCE_PARTS;
}

/* Adds a sample that is evidence. What cannot be is cut to what can: threads have no more CPU time than
 * wall time each, and nothing is waited for twice. Without a number of threads more than one thread's
 * CPU time is that of a process. Returns false when something had to be cut by more than the clocks' own
 * error: the caller counts it. */
bool evidence_add(struct evidence *evidence, const struct sample *sample);

#endif
