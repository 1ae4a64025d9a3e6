/*
 * A workload: something small that a service might do for an inference, of which it can be argued
 * from what it does, and from nothing else, what it is bound by.
 * It does not know the daemon and the library: run.c measures it. One process runs one workload.
 */
#ifndef DWELL_TESTS_WORKLOAD_H
#define DWELL_TESTS_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a working set has its place. */
enum size {
    SIZE_NONE,
    SIZE_L1,   /* half of the first level */
    SIZE_L2,   /* half of the second level: no access leaves what the core has for itself */
    SIZE_L3,   /* half of the last level, which is shared with the neighbours */
    SIZE_DRAM, /* eight times the last level: of random accesses seven of eight miss it, of accesses
                  in turn all do */
    SIZE_COUNT
};

/* A part of an inference: one after the other makes it. */
struct part {
    void (*run)(size_t units);
    double ms; /* how long it is to last on an idle machine, by the number of units; 0: one unit */
};

enum { WORKLOAD_PARTS = 3 };

struct workload {
    const char *name;
    const char *truth;     /* compute_bound, memory_bound, io_bound, unknown */
    const char *reason;    /* of unknown: the rule that is to say so; else NULL */
    const char *also;      /* other answers that are as good, with commas between; or NULL */
    const char *argument;  /* why it is so, in one sentence */
    const char *setting;   /* what the driver does to the process (see driver.py), or NULL */
    enum size size;        /* of `room` */
    bool huge;             /* it lies in huge pages */
    void (*prepare)(void); /* may be NULL; may call workload_skip */
    struct part parts[WORKLOAD_PARTS];
};

/* Each ends with a row without a name. */
extern const struct workload compute_workloads[];
extern const struct workload memory_workloads[];
extern const struct workload mixed_workloads[];
extern const struct workload thread_workloads[];
extern const struct workload wait_workloads[];

/* The memory of the workload that runs, zeroed and touched before prepare. */
extern uint8_t *room;
extern size_t room_bytes;

/* Results go here, so that the compiler cannot leave out what nobody asks for. */
extern volatile uint64_t workload_sink;

/* Bytes of a size on this machine. */
size_t size_bytes(enum size size);

/* Memory of that size, touched. Skips the workload when there is none, or no huge pages. */
void *room_take(size_t bytes, bool huge);

/* The next of a fixed sequence of numbers, one for each thread: splitmix64, by Steele, Lea and Flood.
 * Here, so that it costs less than the access that it chooses. */
extern _Thread_local uint64_t random_state;

static inline uint64_t random_next(void)
{
    uint64_t mixed = random_state += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

/* That number brought below `count`, at most 2^32, without a division. */
static inline size_t random_below(uint64_t number, size_t count)
{
    return (size_t)((number >> 32) * count >> 32);
}

/* Works for about that long; about as well beside others: by the thread's own clock. */
void busy_us(double cpu_us);

/* The machine cannot run it: says why, and ends the process with status 77. */
_Noreturn void workload_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A process of its own that serves until the workload ends. */
void child_start(void (*serve)(int descriptor), int descriptor);

/* A thread of its own, to the end of the process. */
void thread_start(void *(*run)(void *arg), void *arg);

/* Parts that mixtures are made of. */
void compute_spin(size_t units);
void memory_prepare_chase(void);
void memory_chase(size_t units);
void memory_sum(size_t units);
void wait_prepare_socket(void);
void wait_socket(size_t units);
void wait_sleep(size_t units);

#endif
