/*
 * Everything that is counted about the samples of one model in one stretch of time: latency, errors,
 * CPU, memory, and, where samples carry them, queue time, batch size and time by state.
 * A model's window is a few of these, and its total is their sum. It does not know models or time.
 * The loop thread writes; anyone may read one that belongs to a snapshot.
 */
#ifndef DWELL_CORE_TALLY_H
#define DWELL_CORE_TALLY_H

#include "core/exact.h"
#include "core/hist.h"
#include "core/record.h"

enum { BOUNDS_MAX = 12 };

/* Upper bounds of classic buckets, ascending, and the way to find one without a search: each
 * exponential bucket holds one bound at most, so its position tells the answer but for one compare. */
struct bounds {
    unsigned count;
    double bound[BOUNDS_MAX + 1];    /* in the unit of the figures; infinite from `count` on */
    double to_hist;                  /* figure times this is what hist_position takes */
    uint8_t first[HIST_BUCKETS + 1]; /* by position + 1: bounds in exponential buckets below it */
};

/* Latency and queue time in ms: .1 .5 1 5 10 50 100 500 1000; batch size: 1 2 4 … 1024. */
extern struct bounds bounds_ms;
extern struct bounds bounds_batch;

/* Number of the classic bucket of a figure; `count` is the one above all bounds. */
static inline unsigned bounds_find(const struct bounds *bounds, double figure, int position)
{
    unsigned at = bounds->first[(size_t)position + 1];
    return at + (figure > bounds->bound[at] ? 1 : 0);
}

/* A figure that some samples have: its exact sum, and the largest. */
struct gauge_sum {
    exact_u128 sum;
    uint64_t count;
    double peak;
};

struct classic {
    uint64_t count;
    exact_u128 sum;
    uint64_t bucket[BOUNDS_MAX + 1]; /* not cumulative */
};

/* Where the time of samples with evidence went, in EXACT_STEPS_PER_MS. */
enum time_state {
    STATE_USER,
    STATE_SYSTEM, /* without faults */
    STATE_FAULT,
    STATE_RUNQUEUE,
    STATE_BLOCKED,
    STATE_COUNT
};

/* The word for a state in /metrics and /api: "user", … */
extern const char *const time_state_names[STATE_COUNT];

/* What only some services send; made on first use. */
struct tally_extra {
    struct block block;
    struct classic queue_ms;
    struct classic batch_size;
    uint64_t evidence_count;
    exact_u128 evidence_wall;
    exact_u128 state[STATE_COUNT];
    struct gauge_sum flops; /* hints, of samples that have them, evidence or not; in ones */
    struct gauge_sum bytes_moved;
};

/* What adds up without memory. */
struct sums {
    exact_u128 latency_sum;
    struct exact_square latency_squares;
    uint64_t count;
    double latency_min_ms; /* meaningless while count is 0 */
    double latency_max_ms; /* up to here one cache line */
    struct gauge_sum cpu_percent;
    struct gauge_sum memory_mb; /* up to here another */
    double last_cpu_percent;    /* the last sample's that had one, NaN before; not summed */
    uint64_t latency_bucket[BOUNDS_MAX + 1]; /* by bounds_ms, not cumulative */
    uint64_t errors;
};

/* Begins at a cache line, like its sums. */
struct tally {
    struct block block;
    uint64_t slot;             /* number of the stretch of time that it covers */
    struct tally_extra *extra; /* owned; NULL until a sample needs it */
    _Alignas(64) struct sums sums;
    struct hist latency; /* of seconds */
};

/* Fills the tables of bounds. Call once, after hist_init_tables. */
void tally_init_tables(void);

/* An empty tally of the current epoch, or NULL. */
struct tally *tally_new(const struct limbo *limbo, uint64_t slot);

/* Gives the tally and all it owns to limbo. NULL is permitted. */
void tally_retire(struct tally *tally, struct limbo *limbo);

/* A copy that may be written, in exchange for the old one, which readers may go on reading. NULL
 * without memory; the old one is then still the live one. */
struct tally *tally_unshare(struct tally *tally, struct limbo *limbo);

/* Parts of a sample that go to `extra`. */
#define TALLY_EXTRA_PARTS                                                                          \
    (1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM | 1u << SAMPLE_QUEUE | 1u << SAMPLE_BATCH_SIZE |      \
     1u << SAMPLE_FLOPS | 1u << SAMPLE_BYTES_MOVED)

/* Extremes and errors change rarely: a branch that is not taken is cheaper than a store. */
#define TALLY_RARELY(condition) __builtin_expect(condition, 0)

static inline void gauge_add(struct gauge_sum *gauge, double figure, double steps_per_unit)
{
    gauge->count++;
    exact_add(&gauge->sum, exact_few_steps(figure, steps_per_unit));
    if (TALLY_RARELY(figure > gauge->peak)) {
        gauge->peak = figure;
    }
}

/* Everything but latency's exact sums, errors, the histogram and `extra`. `bucket` is the classic one
 * of the latency. The sample is a copy, so that nothing of it is read again after each store. */
static inline void sums_add(struct sums *sums, struct brief brief, unsigned bucket, uint64_t weight)
{
    double ms = brief.execution_time_ms;
    sums->count += weight;
    sums->latency_bucket[bucket] += weight;
    if (TALLY_RARELY(ms < sums->latency_min_ms)) {
        sums->latency_min_ms = ms;
    }
    if (TALLY_RARELY(ms > sums->latency_max_ms)) {
        sums->latency_max_ms = ms;
    }
    if (SAMPLE_HAS(&brief, CPU_DURING)) {
        gauge_add(&sums->cpu_percent, brief.cpu_percent_during, EXACT_STEPS_PER_PERCENT);
        sums->last_cpu_percent = brief.cpu_percent_during;
    }
    if (SAMPLE_HAS(&brief, MEMORY_AFTER)) {
        gauge_add(&sums->memory_mb, brief.memory_mb_after, EXACT_STEPS_PER_MB);
    }
}

/* Position of a latency in the histogram. */
static inline int tally_position(double ms)
{
    return hist_position(ms * 1e-3);
}

/* Latencies up to 2^23 seconds, which are 8.4e18 steps: below EXACT_FAST_MAX. */
enum { TALLY_QUICK_POSITIONS = (23 - HIST_EXPONENT_MIN) * HIST_PER_OCTAVE };

/* The counter of a latency's position, or NULL when the sample must be counted by tally_add. */
static inline uint32_t *tally_find_counter(const struct tally *tally, int position)
{
    uint32_t *counter;
    return (unsigned)position < TALLY_QUICK_POSITIONS &&
                   hist_find_counter(&tally->latency, position, &counter)
               ? counter
               : NULL;
}

/* Counts a sample whose latency has this classic bucket and this counter, which may be NULL, if that
 * takes no memory and no carry: in one straight run without a call. Returns false with nothing
 * changed otherwise. */
__attribute__((always_inline)) static inline bool tally_add_at(struct tally *tally,
                                                               const struct brief *brief,
                                                               unsigned bucket, uint32_t *counter)
{
    if (__builtin_expect(counter == NULL || !hist_count(counter), 0)) {
        return false;
    }
    uint64_t steps = exact_few_steps(brief->execution_time_ms, EXACT_STEPS_PER_MS);
    exact_add(&tally->sums.latency_sum, steps);
    exact_square_add(&tally->sums.latency_squares, steps);
    sums_add(&tally->sums, *brief, bucket, 1);
    return true;
}

/* The same for one that was not looked up ahead. */
static inline bool tally_add_quickly(struct tally *tally, const struct brief *brief, int position)
{
    unsigned bucket = bounds_find(&bounds_ms, brief->execution_time_ms, position);
    return tally_add_at(tally, brief, bucket, tally_find_counter(tally, position));
}

/* Asks for the memory that counting will touch but for the counter. Inlined always: gcc takes a
 * function that does nothing but prefetch for one without effect, and drops its calls. */
__attribute__((always_inline)) static inline void tally_prefetch(const struct tally *tally,
                                                                 int position)
{
    __builtin_prefetch(&tally->sums, 1);
    __builtin_prefetch(&tally->sums.cpu_percent, 1);
    __builtin_prefetch(&tally->sums.latency_bucket, 1);
    hist_prefetch_chunk(&tally->latency, position);
}

/* Counts one sample whose figures are in range. Returns 0, or ERR_NOMEM with nothing counted.
 * `tally` must be one that may be written. A sample of weight w counts as w equal ones, in the same
 * time; but its gauges and its evidence count once, since nobody saw those of the others. */
int tally_add(struct tally *tally, const struct sample *sample, struct limbo *limbo);

/* The extra parts of a tally that may be written, made if need be; NULL without memory. */
struct tally_extra *tally_own_extra(struct tally *tally, const struct limbo *limbo);

/* Adds all of `from` to `into`, which must be one that may be written. ERR_NOMEM: nothing added. */
int tally_merge(struct tally *into, const struct tally *from, struct limbo *limbo);

/* For readers: adds the sums and the extra parts of a tally, but not its histogram. */
void tally_sum_into(const struct tally *tally, struct sums *sums, struct tally_extra *extra);

size_t tally_bytes(const struct tally *tally);

#endif
