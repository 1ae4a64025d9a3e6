/*
 * What the daemon takes away from itself once its sockets are bound, so that whoever takes it over by its
 * input has little: capabilities, ways to more of them, system calls, files, TCP ports. It does not choose
 * files and ports (main/sandbox does) and undoes nothing.
 * Loop thread, before there are other threads, but for what is said to be the probe's.
 *
 *     thread                capabilities      system calls              files and ports
 *     loop, HTTP, exports   none              the list                  Landlock
 *     probe                 to look, if any   the list, and narrower    not Landlock
 *
 * The probe's thread is an exception as Landlock lets a thread look only into processes that are confined
 * with it, and the kernel shows a process only to who may do as much. It makes up for that by fewer calls.
 */
#ifndef DWELL_IO_SANDBOX_H
#define DWELL_IO_SANDBOX_H

#include <uv.h>

#include "base/buf.h"
#include "core/counters.h"
#include "io/sandbox_landlock.h"

enum sandbox_choice {
    SANDBOX_AUTO, /* where the kernel has it, and no sanitizer is in the way */
    SANDBOX_ON,   /* or the start fails */
    SANDBOX_OFF,
};

struct sandbox_options {
    enum sandbox_choice seccomp;
    enum sandbox_choice landlock;
    bool probes;             /* there is a thread that looks into processes */
    bool probe_capabilities; /* it may keep some */
};

struct sandbox {
    struct sandbox_options options;
    uint64_t had;          /* capabilities at the start, as in sandbox_capabilities.h */
    uint64_t kept;         /* of these the probe's */
    int landlock_version;  /* 0: it is not in force */
    const char *no_filter; /* why not; NULL: it is on */
    const char *no_landlock;
    struct counters *counters;
    uv_prepare_t prepare;
    bool is_open; /* has a handle */
};

/* What concerns the whole process: no new privileges, the filter of system calls. Returns 0, or
 * ERR_SYSTEM with a sentence in `problem`. */
int sandbox_begin(struct sandbox *sandbox, const struct sandbox_options *options,
                  struct buf *problem);

/* Whether the probe's thread is to be started between begin and finish, as it could not look afterwards. */
bool sandbox_wants_probe_first(const struct sandbox *sandbox);

/* On the probe's thread, before it looks at anything. `ctx` is the sandbox. What cannot be taken away
 * is said in the log. */
void sandbox_enter_probe(void *ctx);

/* What concerns this thread and those that it starts from now on: capabilities, Landlock. As
 * sandbox_begin. */
int sandbox_finish(struct sandbox *sandbox, const struct sandbox_place *places, size_t place_count,
                   const struct sandbox_ports *ports, struct buf *problem);

/* From now on the loop says which calls were forbidden, and counts them. */
void sandbox_watch(struct sandbox *sandbox, uv_loop_t *loop, struct counters *counters);

/* All zero is one that was never watched, which may be closed. */
void sandbox_close(struct sandbox *sandbox);

/* What is in force, for the log and /api/v1/status. */
enum sandbox_fact {
    SANDBOX_PRIVILEGES,
    SANDBOX_CAPABILITIES,
    SANDBOX_CALLS,
    SANDBOX_FILES,
    SANDBOX_FACT_COUNT
};

/* "system_calls" */
const char *sandbox_fact_name(enum sandbox_fact fact);

/* "filtered", or "off: …" with the reason. A constant. */
const char *sandbox_fact(const struct sandbox *sandbox, enum sandbox_fact fact);

#endif
