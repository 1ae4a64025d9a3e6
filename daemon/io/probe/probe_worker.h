/*
 * What the probe's thread does: looks at threads some twenty times a second, reads of processes once a
 * second, probes the memory of those whose models need it, and hands all of it to the loop. It decides
 * only when; what is watched is ordered. Its own thread, but for init and fini.
 */
#ifndef DWELL_PROBE_PROBE_WORKER_H
#define DWELL_PROBE_PROBE_WORKER_H

#include "base/clock.h"
#include "io/probe/allowance.h"
#include "io/probe/look.h"
#include "io/probe/probe_mailbox.h"
#include "io/probe/reference.h"

struct probe_options {
    struct proc_roots roots;
    struct clock clock;             /* the system's own: its monotonic times are waited for */
    uint32_t max_threads;           /* watched at a time */
    bool touches;                   /* memory may be probed */
    double touch_max_bytes;         /* resident size of a process, past which its memory is not */
    void (*enter)(void *enter_ctx); /* called first on the thread; NULL: nothing */
    void *enter_ctx;
    bool starts_first; /* the thread is started at once, and not with the first process */
};

struct worker_thread {
    struct watched_thread who;
    struct look look;
    bool is_open;
    uint64_t retry_ns; /* when it is tried again, if it could not be opened */
};

struct worker_process {
    struct watched_process who;
    struct process_reader reader;
    bool is_open;
    bool cannot_touch;
    unsigned touches; /* probes so far that were worth something */
    uint64_t retry_ns;
    uint64_t read_ns;     /* when it is read next */
    uint64_t touch_ns;    /* when its memory may be probed next */
    double touch_cost_ms; /* of the last probe; 0: none yet */
    double waits_cost_ms; /* of its threads' waits, read the last time; likewise */
};

struct probe_worker {
    struct probe_options options;
    struct probe_mailbox *mailbox; /* borrowed */
    struct allowance allowance;
    struct probe_orders orders;
    struct worker_thread *threads; /* owned; options.max_threads of them */
    uint32_t thread_count;
    struct worker_process *processes; /* owned; WITNESS_PROCESSES_MAX of them */
    uint32_t process_count;
    struct probe_look *looks; /* owned; of one time; options.max_threads of them */
    struct probe_view view;
    struct reference reference;
    bool has_reference;
    uint64_t reference_ns; /* when it is measured next */
    uint64_t look_ns;      /* when threads are looked at next */
    uint64_t random;       /* state of a generator */
    unsigned told;         /* set of 1 << SEEN_… that were said to be missing */
};

/* Returns 0 or ERR_NOMEM. */
int probe_worker_init(struct probe_worker *worker, const struct probe_options *options,
                      struct probe_mailbox *mailbox);
void probe_worker_fini(struct probe_worker *worker);

/* The thread's function; `ctx` is the worker. Returns NULL when the mailbox stops. */
void *probe_worker_run(void *ctx);

#endif
