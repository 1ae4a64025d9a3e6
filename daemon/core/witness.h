/*
 * What the daemon sees by itself of the processes that send samples, and what of it belongs to an
 * inference, or to a stretch of time: looks at threads, readings of processes, probes of their memory.
 * It also says which threads and processes are worth watching: those that sent evidence lately. It reads
 * nothing itself (io/probe does) and judges nothing. Loop thread only.
 *
 *     sample ──> witness_sample ──> who is watched ──> io/probe
 *                     ^                                   │
 *                     └─ looks  <── witness_look    <─────┤
 *     a round <── witness_collect <── witness_process <───┘
 *
 * Processes go by the number that the kernel gives them as the daemon sees it, threads by the one that
 * their client says: in another PID namespace it is not the daemon's, and io/probe finds whose it is.
 */
#ifndef DWELL_CORE_WITNESS_H
#define DWELL_CORE_WITNESS_H

#include "core/looks.h"
#include "core/readings.h"

enum {
    WITNESS_THREADS = 64,       /* unless it is told otherwise */
    WITNESS_THREADS_MAX = 1024, /* 2.4 kB of looks each */
    WITNESS_PROCESSES_MAX = 64, /* 3 kB of readings each */
    WITNESS_WATCH_SECONDS = 10, /* after the last evidence, */
    WITNESS_TOUCH_SECONDS = 60, /* in which a process's memory is probed eight times */
};

/* CPU time that inferences used, as a sum in which what is older counts less. */
struct decayed {
    double cpu_ms;
    uint64_t at_ns; /* when it was brought up to date */
};

/* A place that threads or processes are given, and may have to give to others. */
struct witness_place {
    int64_t kernel_pid; /* of the process; 0: the place is free */
    uint64_t began_ns;  /* when it was given */
    uint64_t until_ns;  /* who has it is watched */
    struct decayed burned;
};

struct witness_thread {
    struct witness_place place;
    uint64_t thread_id; /* as its client says it */
    struct looks looks;
};

struct witness_process {
    struct witness_place place;
    uint64_t looked_ns; /* when one of its threads was last looked at; 0: never */
    bool wants_touch;
    struct readings readings;
};

struct witness {
    struct witness_thread *threads; /* max_threads of them; owned */
    uint32_t max_threads;
    uint32_t last; /* thread of the last sample: often that of the next */
    struct witness_process processes[WITNESS_PROCESSES_MAX];
    uint64_t now_ns;
    uint64_t replaced; /* threads and processes that gave way to others */
    uint64_t refused;  /* samples whose thread or process found no place */
    uint64_t lost;     /* looks and readings for which there was no memory */
};

/* `max_threads` is 1 to WITNESS_THREADS_MAX. Returns 0 or ERR_NOMEM. */
int witness_init(struct witness *witness, uint32_t max_threads);
void witness_fini(struct witness *witness);

/* Monotonic time of what follows. Set before each batch of calls; one before the last is taken as the
 * last, for who sets it may have read the clock a turn ago. */
void witness_set_time(struct witness *witness, uint64_t mono_ns);

/* A sample that is evidence (evidence_is_in). Adds to the evidence the looks at its thread from its
 * beginning to its end, and what other inferences of its process used of process_cpu_ms meanwhile. From
 * now on its thread and process are watched. `kernel_pid` 0: nobody knows, and nothing is added. */
void witness_sample(struct witness *witness, int64_t kernel_pid, const struct sample *sample,
                    struct evidence *evidence);

/* What io/probe saw. Of whom is not watched any more nothing is kept. */
void witness_look(struct witness *witness, int64_t kernel_pid, uint64_t thread_id, uint64_t wall_ns,
                  enum look_at look_at);
void witness_process(struct witness *witness, int64_t kernel_pid,
                     const struct process_figures *figures);
/* How fast the process touches memory, as a multiple of the reference. */
void witness_touch(struct witness *witness, int64_t kernel_pid, double ratio);
/* The process is gone, or its number is another process's now. */
void witness_forget(struct witness *witness, int64_t kernel_pid);

/* Whether a model of the process cannot be judged without knowing how fast it touches memory. Holds
 * until it is said otherwise or the process is not watched any more. */
void witness_wants_touch(struct witness *witness, int64_t kernel_pid, bool wants);

/* Adds what was seen of a process since a monotonic time (probes of memory: in the last minute at least,
 * as there are few of them). Returns the set of 1 << SEEN_… of which something was seen. */
unsigned witness_collect(const struct witness *witness, int64_t kernel_pid, uint64_t since_ns,
                         struct evidence *evidence);

/* Who is to be watched now. */
struct watched_process {
    int64_t kernel_pid;
    bool wants_touch;
};

struct watched_thread {
    int64_t kernel_pid;
    uint64_t thread_id;
};

/* Write at most WITNESS_PROCESSES_MAX, and as many as max_threads; return how many. */
uint32_t witness_list_processes(const struct witness *witness, struct watched_process *ret);
uint32_t witness_list_threads(const struct witness *witness, struct watched_thread *ret);

#endif
