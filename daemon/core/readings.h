/*
 * What was read of one process, second after second, so that the sum since any time can be had: the
 * older it is, the coarser. When there is no room, the two neighbours that are shortest for their age
 * become one (after the exponential histogram of Datar, Gionis, Indyk and Motwani, 2002), so that a
 * time in the past is known to about a fifth of its age. It reads nothing itself. Loop thread only.
 *
 *     | 16 s | 8 s | 8 s | 4 s | 4 s | 2 s | 1 s | 1 s | 1 s |
 *                                                            now
 */
#ifndef DWELL_CORE_READINGS_H
#define DWELL_CORE_READINGS_H

#include <stdbool.h>

#include "core/evidence.h"

/* Where figures come from; sets of them are of 1 << SEEN_... */
enum seen_source {
    SEEN_CPU,      /* /proc/PID/stat and the process's CPU clock: user, system, faults */
    SEEN_IO,       /* /proc/PID/io: bytes of calls, and of disks */
    SEEN_MEMORY,   /* /proc/PID/statm: resident bytes */
    SEEN_HUGE,     /* /proc/PID/smaps_rollup: of these, in huge pages */
    SEEN_THROTTLE, /* cpu.stat of its cgroup */
    SEEN_PRESSURE, /* stalls for memory, of its cgroup or of the machine */
    SEEN_RUNQUEUE, /* schedstat of all its threads: their wait for a CPU */
    SEEN_LOOKS,    /* wchan of its threads */
    SEEN_TOUCH,    /* clear_refs and smaps_rollup */
    SEEN_COUNT
};

/* "cpu", "io", "memory", "huge_pages", "throttling", "pressure", "runqueue", "looks", "touch" */
extern const char *const seen_source_names[SEEN_COUNT];

/* Differences since the reading before. A figure without its source is 0. */
struct process_figures {
    unsigned sources; /* set of 1 << SEEN_..., of the first seven */
    double between_ms;
    double user_ms, system_ms;
    double faults;
    double io_bytes;
    double disk_bytes;
    double throttled_ms;
    double memory_stall_ms;
    double runqueue_ms;
    double resident_bytes, huge_bytes; /* as they are now */
};

enum { READINGS_MAX = 48 };

/* What was seen over one stretch of time. */
struct reading {
    uint64_t end_ns;
    uint32_t sources;
    float between_ms;
    float user_ms, system_ms, faults, io_bytes, disk_bytes, throttled_ms, memory_stall_ms,
        runqueue_ms;
    float resident_bytes, huge_bytes; /* the most */
    float touch_probes, touch_sum, touch_squares;
};

/* All zero: none. */
struct readings {
    struct reading *list; /* READINGS_MAX of them, oldest first; owned; NULL until the first */
    uint32_t count;
};

void readings_fini(struct readings *readings);

/* A reading that ends now; it is cut to the time since the one before. What is negative or no number is
 * taken as 0. Returns 0 or ERR_NOMEM. */
int readings_add(struct readings *readings, uint64_t now_ns, const struct process_figures *figures);

/* A probe of the process's memory that ended now. */
int readings_add_touch(struct readings *readings, uint64_t now_ns, double ratio);

/* Adds what was seen since a time to the evidence; of a reading that began before, its share. Probes are
 * taken since `touched_since_ns`. Returns the sources that there were. */
unsigned readings_collect(const struct readings *readings, uint64_t since_ns,
                          uint64_t touched_since_ns, struct evidence *evidence);

#endif
