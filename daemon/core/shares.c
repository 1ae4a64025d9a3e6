/*
 * Happy path, with W the wall time, C the CPU time and R the wait for a CPU
 *   1. runqueue   R as samples say it, else by the looks: a thread that did not wait ran or was ready
 *   2. workers    where several threads of the process ran or were ready at once, they did the work
 *   3. blocked    B = W - C - R; by the looks a part of it is for locks
 *   4. system     S is page faults, input and output, and the rest
 *   5. memory     f, the part of user time that waits for memory, by the touch rate
 *   6. shares     compute ((1-f)U + rest)/T, memory (fU + faults)/T, io (B_io + S_io)/T, lock B_lock/T,
 *                 with T = U + S + B, at the middle and at all ends of the ranges
 *
 * What can fail: nothing. What is not known is a range from nothing to all, and the shares then have
 * wide bounds.
 *
 * Two ways were weighed for what is not known. A guess with a likelihood needs a prior for each source,
 * that is, an opinion of what models usually do. A range needs none, and more evidence can only make it
 * narrower: so what it leads to never goes away by knowing more. Ranges it is; only counts of looks
 * and probes are statistics.
 *
 * The constants are medians of measurements on Linux 6 virtual machines; those of page faults and the
 * touch rate's reference are measured by the daemon itself.
 */
#include "core/shares.h"

#include <math.h>
#include <stddef.h>

#define PAGE_FAULT_US 2.6 /* with its part of munmap */
#define DISK_NS_BYTE  0.6 /* system time */
#define DISK_WORK_NS_BYTE                                                                          \
    2.4 /* of system time for each byte, at most, where all of it is for the disk: virtual ones cost more */
#define CALL_NS_BYTE  0.12 /* of read and write, by copying */
#define PAGE_WORK_US  25 /* of system time for each fault, at most, where all of it is for pages */
#define SLEEP_US      30 /* of system time to fall asleep and wake up */
#define WORKERS_RATIO 1.25 /* more than one thread's worth of CPU, */
#define WORKERS_SHARE 0.25 /* and that not by a clock's error */
#define WORKERS_ASKED                                                                              \
    1.5                 /* half way from a lock, 1, to a pool of two, 2: who lets go is ready too */
#define HAND_ON_US  25  /* of CPU time at least, of both threads, to hand on to another one */
#define WORKERS_CPU 0.1 /* of it something was done, and not only asked for */
#define TOUCH_NONE                                                                                 \
    0.25 /* of the reference: computing touches up to 0.26, half of each 0.63 to 0.74, */
#define TOUCH_ALL   0.85 /* waiting for memory 0.81 and more */
#define TOUCH_NOISE 0.03 /* deviation of a probe at least */
#define STREAM_LOW                                                                                 \
    0.6 /* of the bandwidth: who goes through huge pages in turn does so at 0.7 to 1.4 */
#define STREAM_HIGH 1.6 /* with what it writes; who jumps about in them seems to at 1.7 to 2.8 */
#define STREAM_PART                                                                                \
    0.6 /* of its memory at most, in a probe: touching soon ends where all is touched */
#define PROBE_S      5e-3 /* of CPU time, about */
#define THROTTLED    0.15 /* of the wall time that nobody has seen waiting */
#define LOOKS_MIN    10   /* below, they say nothing of how long it waited */
#define PROBES_MIN   4    /* fewer are wrong in one of ten cases */
#define PROBE_SIGMAS 1.5
#define LOOK_SIGMAS  1.28 /* 80 % of cases */
#define CACHE_PART   4    /* a working set below a quarter of the cache stays in it */

const struct machine machine_unknown = {.page_fault_us = PAGE_FAULT_US, .cpus = 1};

static double clip(double figure, double low, double high)
{
    return figure < low ? low : figure > high ? high : figure;
}

static double middle(struct range range)
{
    return (range.low + range.high) / 2;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static double count_looks(const struct evidence *evidence)
{
    return evidence->looks[LOOK_RUNS] + evidence->looks[LOOK_FUTEX] + evidence->looks[LOOK_WAITS];
}

static double count_waits(const struct evidence *evidence)
{
    return evidence->looks[LOOK_FUTEX] + evidence->looks[LOOK_WAITS];
}

/* Where the share of a whole lies of which `hits` of `tries` were seen.
 * E. B. Wilson, Probable Inference, JASA 22 (1927). */
static struct range wilson(double hits, double tries)
{
    double z2 = LOOK_SIGMAS * LOOK_SIGMAS;
    double p = hits / tries;
    double centre = (p + z2 / (2 * tries)) / (1 + z2 / tries);
    double half =
        LOOK_SIGMAS / (1 + z2 / tries) * sqrt(p * (1 - p) / tries + z2 / (4 * tries * tries));
    return (struct range){fmax(0, centre - half), fmin(1, centre + half)};
}

/* 1. What the looks leave of a wait for a CPU that nobody said. */
static void narrow_runqueue(const struct evidence *evidence, struct shares *shares)
{
    double idle = shares->wall - evidence->user_ms - evidence->system_ms;
    struct range waits = wilson(count_waits(evidence), count_looks(evidence));
    double low =
        clip(idle - waits.high * shares->wall, shares->runqueue.low, shares->runqueue.high);
    double high =
        clip(idle - waits.low * shares->wall, shares->runqueue.low, shares->runqueue.high);
    shares->runqueue = (struct range){low, high};
}

/* A thread that is neither on a CPU nor in the run queue nor seen waiting was kept from running by a
 * quota: its run queue is taken from the CPU as a whole, and schedstat does not count that. */
static void find_throttling(const struct evidence *evidence, struct shares *shares)
{
    double cpu = evidence->user_ms + evidence->system_ms;
    double blocked = fmax(0, shares->wall - cpu - shares->runqueue.high);
    double seen = shares->wall * count_waits(evidence) / count_looks(evidence);
    if (blocked > THROTTLED * shares->wall && seen < blocked / 2) {
        shares->throttled = blocked - seen;
        shares->runqueue.low += shares->throttled;
        shares->runqueue.high += shares->throttled;
    }
}

static void find_runqueue(const struct evidence *evidence, struct shares *shares)
{
    double idle = fmax(0, shares->wall - evidence->user_ms - evidence->system_ms);
    shares->runqueue = (struct range){clip(evidence->runqueue_low_ms, 0, idle),
                                      clip(evidence->runqueue_high_ms, 0, idle)};
    if (count_looks(evidence) >= LOOKS_MIN) {
        if (evidence->runqueue_said < evidence->inferences) {
            narrow_runqueue(evidence, shares);
        } else {
            find_throttling(evidence, shares);
        }
    }
}

/* 2. CPU of the process's other threads while the thread was in an inference, without what other
 * inferences burned; as much of it as the inferences that say so stand for. */
static double workers_cpu(const struct evidence *evidence)
{
    double others =
        evidence->process_cpu_ms - evidence->process_thread_ms - evidence->process_beside_ms;
    return fmax(0, others) * ratio(evidence->wall_ms, evidence->process_wall_ms);
}

/* What the others waited for a CPU meanwhile. Nobody says it of single inferences, but it was seen beside
 * the CPU time of the process, all the time: what is not the thread's own has the same ratio then. CPU
 * is never less than what the inferences say, so that no more is waited than was seen. Throttling is in
 * no thread's run queue. */
static double others_ready(const struct evidence *evidence, const struct shares *shares,
                           double others)
{
    double part = fmin(1, ratio(evidence->seen_ms, evidence->span_ms));
    double cpu = evidence->user_ms + evidence->system_ms;
    double seen_cpu = evidence->seen_user_ms + evidence->seen_system_ms;
    double own_ready = middle(shares->runqueue) - shares->throttled;
    double ready = fmax(0, evidence->seen_runqueue_ms - part * own_ready);
    return others * ratio(ready, fmax(seen_cpu - part * cpu, part * others));
}

/* Whether several threads ran at once. */
static bool ran_at_once(const struct shares *shares, double cpu, double others)
{
    double could_run = shares->wall - middle(shares->runqueue);
    return cpu + others > WORKERS_RATIO * could_run && others > WORKERS_SHARE * shares->wall;
}

/* A pool asks for several CPUs at once and, where somebody else wants them too, waits in their run
 * queues. Behind a lock one thread asks at a time, all together for the wall time; and who has just let
 * go of it, or was just woken, is ready for a moment. In a convoy that is much; but there the thread has
 * its turn as the others have, while of a pool it is one all the time, or only waits.
 *
 *     pool   |-- runs --|- ready -|-- runs --|     lock   |-- runs --|- ready -|-- futex ------------|
 *            |- ready -|-- runs --|- ready -|             |-- futex -----------|-- runs --|- ready --|
 */
static bool asked_at_once(const struct shares *shares, double cpu, double others)
{
    double asked = cpu + middle(shares->runqueue) + others + shares->others_ready;
    bool only_waits = cpu < WORKERS_CPU * others;
    bool is_one_of_them = cpu + middle(shares->runqueue) > shares->wall / 2;
    return asked > WORKERS_ASKED * shares->wall && others > WORKERS_CPU * shares->wall &&
           (only_waits || is_one_of_them);
}

/* Threads that wake each other up do little else, and at once for a moment each time. */
static bool only_hands_on(const struct evidence *evidence, double cpu, double others)
{
    return evidence->voluntary_switches * HAND_ON_US * 1e-3 > (cpu + others) / 2;
}

/* Threads that work for this one while it works too, or waits in a futex. One that sleeps or reads
 * meanwhile does not wait for them. */
static bool has_workers(const struct evidence *evidence, const struct shares *shares, double others)
{
    double cpu = evidence->user_ms + evidence->system_ms;
    double could_run = shares->wall - middle(shares->runqueue);
    double waits = count_waits(evidence);
    bool waits_for_them = waits == 0 || evidence->looks[LOOK_FUTEX] >= waits / 2;
    bool several = ran_at_once(shares, cpu, others) ||
                   (shares->others_ready > 0 && asked_at_once(shares, cpu, others));
    return evidence->process_said > 0 && several && (waits_for_them || cpu > could_run / 2) &&
           !only_hands_on(evidence, cpu, others);
}

static void find_workers(const struct evidence *evidence, struct shares *shares)
{
    double others = workers_cpu(evidence);
    shares->user = evidence->user_ms;
    shares->system = evidence->system_ms;
    shares->others_ready = others_ready(evidence, shares, others);
    shares->workers = has_workers(evidence, shares, others);
    if (shares->workers) {
        double seen = evidence->seen_user_ms + evidence->seen_system_ms;
        double thread = evidence->user_ms + evidence->system_ms;
        double system_part =
            seen > 0 ? evidence->seen_system_ms / seen : ratio(evidence->system_ms, thread);
        shares->user = (thread + others) * (1 - system_part);
        shares->system = (thread + others) * system_part;
    }
}

/* 3. Without looks a wait is for the disk if there was any, and else for nobody knows what. */
static struct range find_futex(const struct evidence *evidence)
{
    double waits = count_waits(evidence);
    if (waits > 0) {
        return wilson(evidence->looks[LOOK_FUTEX], waits);
    }
    if (evidence->disk_bytes > 0) {
        return (struct range){0, 0};
    }
    return (struct range){0, 1};
}

/* Of a thread with workers the wait in a futex is theirs, and no wait. */
static void find_blocked(const struct evidence *evidence, struct shares *shares)
{
    double idle = fmax(0, shares->wall - evidence->user_ms - evidence->system_ms);
    shares->futex = find_futex(evidence);
    shares->blocked =
        (struct range){fmax(0, idle - shares->runqueue.high), fmax(0, idle - shares->runqueue.low)};
    if (shares->workers) {
        double other = count_waits(evidence) > 0 ? 1 - middle(shares->futex) : 0;
        shares->blocked.low *= other;
        shares->blocked.high *= other;
        shares->futex = (struct range){0, 0};
    }
}

/* 4. */
static void find_system(const struct evidence *evidence, const struct machine *machine,
                        struct shares *shares)
{
    double cpu = shares->user + shares->system;
    double seen = evidence->seen_user_ms + evidence->seen_system_ms;
    double of_seen = seen > 0 ? fmin(1, cpu / seen) : 0; /* of what the process did, our part */
    double faults = evidence->minor_faults + evidence->major_faults;
    if (shares->workers) {
        faults = fmax(faults, evidence->seen_faults * of_seen);
    }
    double fault_us = machine->page_fault_us > 0 ? machine->page_fault_us : PAGE_FAULT_US;
    shares->fault = fmin(shares->system, faults * fault_us * 1e-3);
    double idle = shares->wall - evidence->user_ms - evidence->system_ms;
    double not_futex = shares->workers
                           ? ratio(middle(shares->blocked), idle - middle(shares->runqueue))
                           : 1 - middle(shares->futex);
    double sleeps = evidence->voluntary_switches * not_futex;
    double calls = evidence->disk_bytes * DISK_NS_BYTE * 1e-6 +
                   evidence->seen_io_bytes * of_seen * CALL_NS_BYTE * 1e-6 +
                   sleeps * SLEEP_US * 1e-3;
    shares->system_io = fmin(shares->system - shares->fault, calls);
    /* Who faults that much clears, maps and unmaps pages in the rest of its system time, too; of huge pages
     * one fault clears 2 MB. Likewise for who reads and writes at the disk that much. */
    double not_io = shares->system - shares->system_io;
    double not_fault = shares->system - shares->fault;
    if (not_io < faults * PAGE_WORK_US * 1e-3 && shares->system_io < shares->fault) {
        shares->fault = not_io;
    } else if (not_fault < evidence->disk_bytes * DISK_WORK_NS_BYTE * 1e-6 &&
               shares->fault < shares->system_io) {
        shares->system_io = not_fault;
    }
}

/* 5. */
static double memory_part(double touch)
{
    return clip((touch - TOUCH_NONE) / (TOUCH_ALL - TOUCH_NONE), 0, 1);
}

/* A hint of bytes can prove that memory is the limit, but never that it is not. */
static double hinted_part(const struct evidence *evidence, const struct machine *machine,
                          const struct shares *shares)
{
    double user = shares->user * ratio(evidence->bytes_wall_ms, shares->wall);
    if (evidence->bytes_said == 0 || machine->bandwidth_bytes <= 0 || user <= 0) {
        return 0;
    }
    return memory_part(evidence->bytes_moved / (machine->bandwidth_bytes * user * 1e-3));
}

/* A huge page counts as a whole when one byte of it was touched, so that what is touched says how much can
 * have been read and not how much was. But who touches as many bytes as memory can give, all the time,
 * goes through them one by one: jumps would touch more, or all there is. */
static bool streams(const struct evidence *evidence, const struct machine *machine,
                    const struct shares *shares)
{
    double deviation = PROBE_SIGMAS * ratio(shares->touch_deviation, shares->touch);
    return shares->streamed * (1 - deviation) >= STREAM_LOW &&
           shares->streamed * (1 + deviation) <= STREAM_HIGH &&
           shares->touch * machine->touch_bytes * PROBE_S <= STREAM_PART * evidence->resident_bytes;
}

static void find_touch(const struct evidence *evidence, const struct machine *machine,
                       struct shares *shares)
{
    double probes = evidence->touch_probes;
    double mean = evidence->touch_sum / probes;
    double variance = fmax(0, evidence->touch_squares / probes - mean * mean);
    double deviation = fmax(sqrt(variance), TOUCH_NOISE) / sqrt(probes);
    shares->touch = mean;
    shares->touch_deviation = deviation;
    shares->memory = (struct range){memory_part(mean - PROBE_SIGMAS * deviation),
                                    memory_part(mean + PROBE_SIGMAS * deviation)};
    if (evidence->huge_bytes > evidence->resident_bytes / 2) {
        shares->streamed = ratio(mean * machine->touch_bytes, machine->bandwidth_bytes);
        if (!streams(evidence, machine, shares)) {
            shares->memory.low = 0;
        }
    }
}

static void find_memory(const struct evidence *evidence, const struct machine *machine,
                        struct shares *shares)
{
    bool is_small = evidence->resident_bytes > 0 && machine->cache_bytes > 0 &&
                    evidence->resident_bytes * CACHE_PART < machine->cache_bytes;
    shares->memory = (struct range){0, 1};
    if (is_small) {
        shares->memory.high = 0;
    } else if (evidence->touch_probes >= PROBES_MIN) {
        find_touch(evidence, machine, shares);
    }
    shares->hinted = hinted_part(evidence, machine, shares);
    shares->memory.low = fmax(shares->memory.low, shares->hinted);
    shares->memory.high = fmax(shares->memory.high, shares->hinted);
}

/* 6. One way to fill the ranges. False, with nothing written, when there was no time to run. */
struct choice {
    double blocked, futex, memory;
};

static bool split(const struct shares *shares, struct choice choice, double ret_share[SHARE_COUNT])
{
    double total = shares->user + shares->system + choice.blocked;
    if (!(total > 0)) {
        return false;
    }
    double rest = shares->system - shares->fault - shares->system_io;
    ret_share[SHARE_COMPUTE] = ((1 - choice.memory) * shares->user + rest) / total;
    ret_share[SHARE_MEMORY] = (choice.memory * shares->user + shares->fault) / total;
    ret_share[SHARE_IO] = ((1 - choice.futex) * choice.blocked + shares->system_io) / total;
    ret_share[SHARE_LOCK] = choice.futex * choice.blocked / total;
    return true;
}

static double lead_of(const double share[SHARE_COUNT], unsigned which)
{
    double rival = 0;
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        rival = i != which && share[i] > rival ? share[i] : rival;
    }
    return share[which] - rival;
}

static void widen(struct shares *shares, const double share[SHARE_COUNT])
{
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        shares->bounds[i].low = fmin(shares->bounds[i].low, share[i]);
        shares->bounds[i].high = fmax(shares->bounds[i].high, share[i]);
        shares->lead[i] = fmin(shares->lead[i], lead_of(share, i));
    }
}

/* Shares are monotone in each of the three, so their extremes are at the ends. */
static void find_bounds(struct shares *shares)
{
    for (unsigned end = 0; end < 8; end++) {
        double share[SHARE_COUNT];
        struct choice choice = {
            .blocked = (end & 1) != 0 ? shares->blocked.high : shares->blocked.low,
            .futex = (end & 2) != 0 ? shares->futex.high : shares->futex.low,
            .memory = (end & 4) != 0 ? shares->memory.high : shares->memory.low};
        if (split(shares, choice, share)) {
            widen(shares, share);
        }
    }
}

/* Of the mean: inferences differ, and looks and probes are few. */
static void find_deviations(const struct evidence *evidence, struct shares *shares)
{
    double between = 0.25 / sqrt((double)evidence->inferences);
    double waits = count_waits(evidence);
    double blocked = ratio(middle(shares->blocked), shares->total);
    double futex = middle(shares->futex);
    double look = waits > 0 ? blocked * sqrt(futex * (1 - futex) / waits) : 0;
    double probe = isnan(shares->touch) ? 0
                                        : ratio(shares->user, shares->total) *
                                              shares->touch_deviation / (TOUCH_ALL - TOUCH_NONE);
    const double own[SHARE_COUNT] = {
        [SHARE_COMPUTE] = probe, [SHARE_MEMORY] = probe, [SHARE_IO] = look, [SHARE_LOCK] = look};
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        shares->deviation[i] = sqrt(between * between + own[i] * own[i]);
    }
}

static void forget_all(struct shares *shares)
{
    *shares = (struct shares){.touch = NAN, .touch_deviation = NAN, .streamed = NAN};
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        shares->share[i] = NAN;
        shares->bounds[i] = (struct range){NAN, NAN};
        shares->lead[i] = NAN;
        shares->deviation[i] = NAN;
    }
}

/* A thread that waits for its workers is as starved as they are. */
static struct range starved_of(const struct shares *shares, double cpu)
{
    double all = shares->user + shares->system;
    double theirs = shares->workers ? ratio(shares->others_ready, all + shares->others_ready) : 0;
    double low = ratio(shares->runqueue.low, cpu + shares->runqueue.low);
    double high = ratio(shares->runqueue.high, cpu + shares->runqueue.high);
    return (struct range){fmax(low, theirs), fmax(high, theirs)};
}

void shares_compute(const struct evidence *evidence, const struct machine *machine,
                    struct shares *ret_shares)
{
    struct shares *shares = ret_shares;
    forget_all(shares);
    if (evidence->inferences == 0) {
        return;
    }
    shares->wall = evidence->wall_ms;
    find_runqueue(evidence, shares);
    find_workers(evidence, shares);
    find_blocked(evidence, shares);
    find_system(evidence, machine, shares);
    find_memory(evidence, machine, shares);
    shares->starved = starved_of(shares, evidence->user_ms + evidence->system_ms);
    struct choice choice = {middle(shares->blocked), middle(shares->futex), middle(shares->memory)};
    shares->total = shares->user + shares->system + choice.blocked;
    if (split(shares, choice, shares->share)) {
        /* fmin and fmax pass over the NaN that the bounds begin with. */
        find_bounds(shares);
        find_deviations(evidence, shares);
    }
}
