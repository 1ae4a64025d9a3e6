/*
 * The part of /api/v1/status by which others see how the daemon itself is: which process it is, whether its
 * loop keeps up, what its clock did, who speaks to it. Pure; any thread.
 *
 *     "process": {"pid", "uid", "instance", "descriptors": {"open", "limit", "wanted"}},
 *     "loop":    {"turns", "late_turns", "max_seconds"},
 *     "clock":   {"wall_seconds", "steps", "step_seconds"},
 *     "evidence": {"missing": [SOURCE]},
 *     "clients": [{"client", "sent", "accepted", "rejected", "dropped", "lost"}]
 */
#ifndef DWELL_RENDER_JSON_SELF_H
#define DWELL_RENDER_JSON_SELF_H

#include "core/snapshot.h"

/* What the system knows of it; 0: not known. */
struct json_process {
    uint64_t pid;
    uint64_t uid;
    uint64_t instance; /* random for each start: by it one daemon is told from another */
    uint64_t descriptors_open;
    uint64_t descriptors_limit;
    uint64_t descriptors_wanted; /* for all connections that may come */
};

struct json_writer;

/* Appends these members. */
void json_put_self(struct json_writer *writer, const struct snapshot *snapshot,
                   const struct json_process *process);

#endif
