/*
 * Workloads of several threads: pools that work for the thread that waits for them, threads beside it
 * that have nothing to do with it, and locks.
 *
 *     caller      publishes work, waits ....................... goes on
 *     worker 1            |------ its part -----|
 *     worker 2            |------ its part ---------|  the last one wakes the caller
 */
#include <pthread.h>
#include <stddef.h>

#include "workload.h"

enum {
    WORKERS_MAX = 4,
    HOLD_US = 500, /* how long one holds the lock */
    BRIEF_US = 50, /* the same, of a lock that is held briefly */
    RIVALS = 5,    /* for it */
    CROWD = 7,
    PLACES = 16, /* in line: more than there are threads */
};

/* ---- a pool ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t begin, done;
    void (*work)(size_t worker, size_t units);
    size_t workers;
    size_t units; /* of each worker */
    uint64_t job; /* number of the one that is to be done */
    size_t busy;  /* workers that are not done with it */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER,
          .begin = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void *pool_worker(void *arg)
{
    size_t worker = (size_t)(uintptr_t)arg;
    uint64_t last = 0;
    for (;;) {
        (void)pthread_mutex_lock(&pool.mutex);
        while (pool.job == last) {
            (void)pthread_cond_wait(&pool.begin, &pool.mutex);
        }
        last = pool.job;
        size_t units = pool.units;
        (void)pthread_mutex_unlock(&pool.mutex);
        pool.work(worker, units);
        (void)pthread_mutex_lock(&pool.mutex);
        pool.busy--;
        (void)pthread_cond_signal(&pool.done);
        (void)pthread_mutex_unlock(&pool.mutex);
    }
    return NULL;
}

static void pool_start(size_t workers, void (*work)(size_t worker, size_t units))
{
    pool.work = work;
    pool.workers = workers;
    for (size_t i = 0; i < workers; i++) {
        thread_start(pool_worker, (void *)(uintptr_t)i); /* a number, not a place */
    }
}

static void pool_begin(size_t units)
{
    (void)pthread_mutex_lock(&pool.mutex);
    pool.units = units;
    pool.busy = pool.workers;
    pool.job++;
    (void)pthread_cond_broadcast(&pool.begin);
    (void)pthread_mutex_unlock(&pool.mutex);
}

static void pool_wait(void)
{
    (void)pthread_mutex_lock(&pool.mutex);
    while (pool.busy > 0) {
        (void)pthread_cond_wait(&pool.done, &pool.mutex);
    }
    (void)pthread_mutex_unlock(&pool.mutex);
}

static void pool_run(size_t units)
{
    pool_begin(units);
    pool_wait();
}

/* As OpenMP does it: the caller is one of the workers. */
static void pool_run_with(size_t units)
{
    pool_begin(units);
    pool.work(pool.workers, units);
    pool_wait();
}

static void work_compute(size_t worker, size_t units)
{
    (void)worker;
    uint64_t value = units | 1;
    for (size_t i = 0; i < units * 256; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    workload_sink = value;
}

/* Each through a part of its own, of WORKERS_MAX. */
static void work_sum(size_t worker, size_t units)
{
    static _Thread_local size_t at;
    size_t part = room_bytes / WORKERS_MAX;
    const uint64_t *numbers = (const uint64_t *)(const void *)(room + worker % WORKERS_MAX * part);
    uint64_t sum = 0;
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < 4096; k++) {
            sum += numbers[at + k];
        }
        at = at + 2 * 4096 > part / sizeof *numbers ? 0 : at + 4096;
    }
    workload_sink = sum;
}

static void work_sleep(size_t worker, size_t units)
{
    (void)worker;
    wait_sleep(units);
}

static void prepare_pool_1(void)
{
    pool_start(1, work_compute);
}

static void prepare_pool_2(void)
{
    pool_start(2, work_compute);
}

static void prepare_pool_3(void)
{
    pool_start(3, work_compute);
}

static void prepare_pool_1_memory(void)
{
    pool_start(1, work_sum);
}

static void prepare_pool_4(void)
{
    pool_start(4, work_compute);
}

static void prepare_pool_memory(void)
{
    pool_start(2, work_sum);
}

static void prepare_pool_sleep(void)
{
    pool_start(1, work_sleep);
}

/* ---- threads that have nothing to do with it ---- */

static void *busy_thread(void *arg)
{
    for (;;) {
        work_compute(0, 1000);
    }
    return arg;
}

static void prepare_busy_1(void)
{
    thread_start(busy_thread, NULL);
}

static void prepare_busy_2(void)
{
    thread_start(busy_thread, NULL);
    thread_start(busy_thread, NULL);
}

static void prepare_busy_socket(void)
{
    wait_prepare_socket(); /* first: a process is made of one thread */
    prepare_busy_1();
}

/* ---- a lock in order of arrival: without it, the last holder would mostly be the next ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t turned[PLACES]; /* of the numbers that leave this remainder: one waits at each */
    uint64_t next, serving;
} line = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void line_init(void)
{
    for (int i = 0; i < PLACES; i++) {
        (void)pthread_cond_init(&line.turned[i], NULL);
    }
}

static void line_enter(void)
{
    (void)pthread_mutex_lock(&line.mutex);
    uint64_t mine = line.next++;
    while (line.serving != mine) {
        (void)pthread_cond_wait(&line.turned[mine % PLACES], &line.mutex);
    }
    (void)pthread_mutex_unlock(&line.mutex);
}

static void line_leave(void)
{
    (void)pthread_mutex_lock(&line.mutex);
    line.serving++;
    (void)pthread_cond_signal(&line.turned[line.serving % PLACES]);
    (void)pthread_mutex_unlock(&line.mutex);
}

static void hold_for(double us)
{
    line_enter();
    busy_us(us);
    line_leave();
}

static void hold_computing(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        hold_for(HOLD_US);
    }
}

static void hold_briefly(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        hold_for(BRIEF_US);
    }
}

static void *rival_brief(void *arg)
{
    for (;;) {
        hold_briefly(1);
    }
    return arg;
}

static void *rival_computing(void *arg)
{
    for (;;) {
        hold_computing(1);
    }
    return arg;
}

static void *rival_sleeping(void *arg)
{
    for (;;) {
        line_enter();
        wait_sleep(200);
        line_leave();
    }
    return arg;
}

static void prepare_convoy(void)
{
    line_init();
    for (int i = 0; i < RIVALS; i++) {
        thread_start(rival_computing, NULL);
    }
}

static void prepare_crowd(void)
{
    line_init();
    for (int i = 0; i < CROWD; i++) {
        thread_start(rival_computing, NULL);
    }
}

static void prepare_brief(void)
{
    line_init();
    for (int i = 0; i < RIVALS; i++) {
        thread_start(rival_brief, NULL);
    }
}

static void prepare_sleepers(void)
{
    line_init();
    for (int i = 0; i < 2; i++) {
        thread_start(rival_sleeping, NULL);
    }
}

/* ---- two threads in turn ---- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t turned;
    bool is_mine;
} turn = {.mutex = PTHREAD_MUTEX_INITIALIZER, .turned = PTHREAD_COND_INITIALIZER, .is_mine = true};

/* Gives the turn to the other one, and waits until it comes back. */
static void take_turns(bool mine)
{
    (void)pthread_mutex_lock(&turn.mutex);
    turn.is_mine = !mine;
    (void)pthread_cond_signal(&turn.turned);
    while (turn.is_mine != mine) {
        (void)pthread_cond_wait(&turn.turned, &turn.mutex);
    }
    (void)pthread_mutex_unlock(&turn.mutex);
}

static void *partner(void *arg)
{
    for (;;) {
        take_turns(false);
    }
    return arg;
}

static void prepare_handoff(void)
{
    thread_start(partner, NULL);
}

static void handoff(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        take_turns(true);
    }
}

#define POOL(name_, prepare_, run_, ms_, argument_)                                                \
    {                                                                                              \
        .name = name_, .truth = "compute_bound", .argument = argument_, .prepare = prepare_,       \
        .parts = {{run_, ms_}},                                                                    \
    }

#define LOCK(name_, prepare_, run_, ms_, argument_)                                                \
    {                                                                                              \
        .name = name_, .truth = "unknown", .reason = "lock", .argument = argument_,                \
        .prepare = prepare_, .parts = {{run_, ms_}},                                               \
    }

/* pool-three, pool-sum-and-caller, half-pool-sleep, lock-crowd and lock-brief were written after the limits
 * for pools and locks had been chosen with all others in sight. */
const struct workload thread_workloads[] = {
    POOL("pool-1", prepare_pool_1, pool_run, 5,
         "one thread of its own computes for it all the while"),
    POOL("pool-2", prepare_pool_2, pool_run, 5,
         "two threads of its own compute for it all the while"),
    POOL("pool-4", prepare_pool_4, pool_run, 8,
         "four threads of its own compute for it all the while"),
    POOL("pool-2-and-caller", prepare_pool_1, pool_run_with, 5,
         "computes, and so does a thread of its own"),
    {.name = "pool-2-memory",
     .truth = "memory_bound",
     .argument = "two threads of its own read memory for it, one addition for each 8 bytes",
     .size = SIZE_DRAM,
     .prepare = prepare_pool_memory,
     .parts = {{pool_run, 6}}},
    POOL("pool-three", prepare_pool_3, pool_run, 6,
         "three threads of its own compute for it all the while"),
    {.name = "pool-sum-and-caller",
     .truth = "memory_bound",
     .argument = "reads memory, and so does a thread of its own, one addition for each 8 bytes",
     .size = SIZE_DRAM,
     .prepare = prepare_pool_1_memory,
     .parts = {{pool_run_with, 6}}},
    {.name = "half-pool-sleep",
     .truth = "unknown",
     .reason = "mixed",
     .argument = "two threads of its own compute for it 5 ms, then it waits for a timer 5 ms",
     .prepare = prepare_pool_2,
     .parts = {{pool_run, 5}, {wait_sleep, 5}}},
    {.name = "pool-sleeps",
     .truth = "io_bound",
     .argument =
         "a thread of its own waits for a timer, and it for that: nothing runs, no lock is held",
     .prepare = prepare_pool_sleep,
     .parts = {{pool_run, 5}}},
    POOL("compute-beside-busy", prepare_busy_1, compute_spin, 5,
         "computes; that another thread of the process does so, too, changes nothing"),
    {.name = "sleep-beside-busy",
     .truth = "io_bound",
     .argument = "waits for a timer; a thread that computes beside it does so for others",
     .prepare = prepare_busy_1,
     .parts = {{wait_sleep, 5}}},
    {.name = "sleep-beside-two",
     .truth = "io_bound",
     .argument = "waits for a timer; two threads that compute beside it do so for others",
     .prepare = prepare_busy_2,
     .parts = {{wait_sleep, 5}}},
    {.name = "socket-beside-busy",
     .truth = "io_bound",
     .argument = "a server answers after 5 ms; a thread that computes beside it does so for others",
     .prepare = prepare_busy_socket,
     .parts = {{wait_socket, 0}}},
    LOCK("lock-convoy", prepare_convoy, hold_computing, 4,
         "five sixths of the time others hold the lock, and compute meanwhile"),
    LOCK("lock-sleepers", prepare_sleepers, hold_computing, 4,
         "eight ninths of the time others hold the lock, and sleep meanwhile"),
    LOCK("lock-crowd", prepare_crowd, hold_computing, 5,
         "seven eighths of the time others hold the lock, and compute meanwhile"),
    LOCK("lock-brief", prepare_brief, hold_briefly, 4,
         "five sixths of the time others hold the lock, for 50 us each, and compute meanwhile"),
    LOCK("handoff", prepare_handoff, handoff, 4,
         "two threads wait for each other in turn, and do nothing else"),
    {.name = NULL},
};
