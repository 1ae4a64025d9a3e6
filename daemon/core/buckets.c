/*
 * Happy path of a value
 *   1. index     of the native bucket at schema 3, from the bits of the double and seven constants
 *   2. own       what a snapshot can see is copied, with its counters, in one piece
 *   3. fit       the run is stretched to the index: into its room, into more room, or, where that would
 *                be more than BUCKETS_NATIVE_MAX, into half as many buckets, as often as needed
 *   4. count
 *
 * What can fail: memory, for a copy. Nothing is then counted, though buckets may have become wider.
 */
#include "core/buckets.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "core/saved.h"

enum {
    FIRST_ROOM = 16,
    PER_OCTAVE = 1 << BUCKETS_SCHEMA,
    MANTISSA_BITS = 52,
    EXPONENT_BIAS = 1023,
};

#define MANTISSA_MASK ((UINT64_C(1) << MANTISSA_BITS) - 1)

/*
 * Mantissas of 2^(k/8), k from 0: the nearest doubles. Two are more than a sixteenth of an octave's
 * mantissas apart, so that at most one lies in each sixteenth: where none does, the next one stands.
 *
 *     sixteenth  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f
 *     boundary   0  1     2  3     4     5     6           7
 */
static const struct {
    uint64_t boundary; /* the first one not below the sixteenth */
    int32_t below;     /* boundaries below the sixteenth */
} sixteenths[] = {
    {0x0000000000000, 0}, {0x172B83C7D517B, 1}, {0x306FE0A31B715, 2}, {0x306FE0A31B715, 2},
    {0x4BFDAD5362A27, 3}, {0x6A09E667F3BCD, 4}, {0x6A09E667F3BCD, 4}, {0x8ACE5422AA0DB, 5},
    {0x8ACE5422AA0DB, 5}, {0xAE89F995AD3AD, 6}, {0xAE89F995AD3AD, 6}, {0xD5818DCFBA487, 7},
    {0xD5818DCFBA487, 7}, {0xD5818DCFBA487, 7}, {MANTISSA_MASK, 8},   {MANTISSA_MASK, 8},
};

/* Number of the native bucket of a value above the zero threshold, at schema 3. */
static int32_t index_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t mantissa = bits & MANTISSA_MASK;
    int32_t exponent = (int32_t)(bits >> MANTISSA_BITS) - EXPONENT_BIAS;
    unsigned sixteenth = (unsigned)(mantissa >> (MANTISSA_BITS - 4));
    int32_t step = sixteenths[sixteenth].below + (mantissa > sixteenths[sixteenth].boundary);
    return exponent * PER_OCTAVE + step;
}

/* The bucket that holds bucket `index` when `halvings` times two of them became one. */
static int32_t coarser(int32_t index, int halvings)
{
    return ((index - 1) >> halvings) + 1;
}

static size_t counters(const struct buckets *buckets)
{
    return (size_t)buckets->bound_count + 1 + buckets->positive.room + buckets->negative.room;
}

static size_t size_of(const struct buckets *buckets)
{
    return sizeof *buckets + counters(buckets) * sizeof buckets->counts[0];
}

size_t buckets_bytes(const struct buckets *buckets)
{
    size_t marks = buckets->exemplars == NULL
                       ? 0
                       : sizeof *buckets->exemplars + (size_t)(buckets->bound_count + 1) *
                                                          sizeof buckets->exemplars->marks[0];
    return size_of(buckets) + marks;
}

struct buckets *buckets_new(const struct limbo *limbo, uint16_t bound_count, bool native)
{
    struct buckets shape = {.bound_count = bound_count};
    struct buckets *buckets = mem_zalloc(1, size_of(&shape));
    if (buckets != NULL) {
        buckets->block.epoch = limbo->epoch;
        buckets->stamp = limbo->epoch;
        buckets->schema = BUCKETS_SCHEMA;
        buckets->native = native;
        buckets->bound_count = bound_count;
    }
    return buckets;
}

static void fill_run(struct bucket_run *run, const struct saved_run *saved, uint64_t *counts)
{
    run->first = saved->first;
    run->len = (uint16_t)saved->len;
    memcpy(counts, saved->counts, saved->len * sizeof *counts);
}

struct buckets *buckets_of_saved(const struct limbo *limbo, const struct saved_buckets *saved,
                                 bool native)
{
    _Static_assert((int)SAVED_NATIVE_MAX <= (int)BUCKETS_NATIVE_MAX, "a run fits");
    struct buckets shape = {.bound_count = (uint16_t)(saved->classic_count - 1),
                            .positive.room = (uint16_t)saved->positive.len,
                            .negative.room = (uint16_t)saved->negative.len};
    struct buckets *buckets = mem_alloc(size_of(&shape));
    if (buckets == NULL) {
        return NULL;
    }
    *buckets = shape;
    buckets->block.epoch = limbo->epoch;
    buckets->stamp = limbo->epoch;
    buckets->count = saved->count;
    buckets->sum = saved->sum;
    buckets->zero = saved->zero;
    buckets->schema = (int8_t)(native ? saved->schema : BUCKETS_SCHEMA);
    buckets->native = native;
    uint64_t *counts = buckets->counts;
    memcpy(counts, saved->classic, saved->classic_count * sizeof *counts);
    counts += saved->classic_count;
    fill_run(&buckets->positive, &saved->positive, counts);
    fill_run(&buckets->negative, &saved->negative, counts + saved->positive.len);
    return buckets;
}

void buckets_retire(struct buckets *buckets, struct limbo *limbo)
{
    if (buckets != NULL) {
        limbo_retire(limbo, buckets->exemplars == NULL ? NULL : &buckets->exemplars->block);
        limbo_retire(limbo, &buckets->block);
    }
}

/* A copy with other rooms in exchange for the old one. */
static int exchange(struct buckets **buckets, uint16_t positive, uint16_t negative,
                    struct limbo *limbo)
{
    struct buckets *old = *buckets;
    struct buckets shape = *old;
    shape.positive.room = positive;
    shape.negative.room = negative;
    struct buckets *fresh = mem_alloc(size_of(&shape));
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    *fresh = shape;
    fresh->block.epoch = limbo->epoch;
    size_t classic = (size_t)old->bound_count + 1;
    uint64_t *at = fresh->counts;
    memset(at, 0, counters(fresh) * sizeof *at);
    memcpy(at, old->counts, classic * sizeof *at);
    memcpy(at + classic, buckets_positive(old), old->positive.len * sizeof *at);
    memcpy(at + classic + positive, buckets_negative(old), old->negative.len * sizeof *at);
    limbo_retire(limbo, &old->block);
    *buckets = fresh;
    return 0;
}

/* The run after taking in a bucket. */
static struct bucket_run stretched(const struct bucket_run *run, int32_t index)
{
    int32_t first = run->len == 0 || index < run->first ? index : run->first;
    int32_t end =
        run->len == 0 || index >= run->first + run->len ? index + 1 : run->first + run->len;
    int32_t len = end - first;
    return (struct bucket_run){first, (uint16_t)(len > UINT16_MAX ? UINT16_MAX : len), run->room};
}

/* Makes one bucket of two, in place. */
static void halve_run(struct bucket_run *run, uint64_t *counts)
{
    if (run->len == 0) {
        return;
    }
    int32_t first = coarser(run->first, 1);
    int32_t last = coarser(run->first + run->len - 1, 1);
    uint64_t merged[BUCKETS_NATIVE_MAX] = {0};
    for (int32_t i = 0; i < run->len; i++) {
        merged[coarser(run->first + i, 1) - first] += counts[i];
    }
    memset(counts, 0, run->len * sizeof *counts);
    run->first = first;
    run->len = (uint16_t)(last - first + 1);
    memcpy(counts, merged, run->len * sizeof *counts);
}

static void halve(struct buckets *buckets)
{
    uint64_t *counts = buckets->counts + buckets->bound_count + 1;
    halve_run(&buckets->positive, counts);
    halve_run(&buckets->negative, counts + buckets->positive.room);
    buckets->schema--;
}

static uint16_t enough(const struct bucket_run *run)
{
    unsigned room = run->room == 0 ? FIRST_ROOM : run->room;
    while (room < run->len) {
        room *= 2;
    }
    return (uint16_t)(room > BUCKETS_NATIVE_MAX ? BUCKETS_NATIVE_MAX : room);
}

/* Moves the counters of a run to where the stretched run has them. */
static void place(struct bucket_run *run, const struct bucket_run *wanted, uint64_t *counts)
{
    if (run->len > 0 && wanted->first < run->first) {
        size_t shift = (size_t)(run->first - wanted->first);
        memmove(counts + shift, counts, run->len * sizeof *counts);
        memset(counts, 0, shift * sizeof *counts);
    }
    *run = *wanted;
}

/* Finds the counter of a native bucket of one side, which is there after. */
static int fit(struct buckets **buckets, bool is_negative, int32_t index3, struct limbo *limbo,
               uint64_t **ret_counter)
{
    for (;;) {
        struct buckets *at = *buckets;
        struct bucket_run *run = is_negative ? &at->negative : &at->positive;
        int32_t index = coarser(index3, BUCKETS_SCHEMA - at->schema);
        struct bucket_run wanted = stretched(run, index);
        if (wanted.len > BUCKETS_NATIVE_MAX) {
            halve(at);
            continue;
        }
        if (wanted.len > run->room) {
            uint16_t room = enough(&wanted);
            int err = exchange(buckets, is_negative ? at->positive.room : room,
                               is_negative ? room : at->negative.room, limbo);
            if (err != 0) {
                return err;
            }
            continue;
        }
        uint64_t *counts = at->counts + at->bound_count + 1 + (is_negative ? at->positive.room : 0);
        place(run, &wanted, counts);
        *ret_counter = &counts[index - run->first];
        return 0;
    }
}

unsigned buckets_find(const double *bounds, unsigned count, double value)
{
    unsigned low = 0;
    while (count > 0) {
        unsigned half = count / 2;
        bool above = value > bounds[low + half];
        low = above ? low + half + 1 : low;
        count = above ? count - half - 1 : half;
    }
    return low;
}

/* The one that may be written. */
static int own(struct buckets **buckets, struct limbo *limbo)
{
    struct buckets *at = *buckets;
    return at->block.epoch > limbo->shared_epoch
               ? 0
               : exchange(buckets, at->positive.room, at->negative.room, limbo);
}

static int add_native(struct buckets **buckets, double value, uint64_t weight, struct limbo *limbo)
{
    double size = fabs(value);
    if (size <= BUCKETS_ZERO_THRESHOLD) {
        (*buckets)->zero += weight;
        return 0;
    }
    uint64_t *counter;
    int err = fit(buckets, value < 0, index_of(size), limbo, &counter);
    if (err == 0) {
        *counter += weight;
    }
    return err;
}

/* Stays finite, whatever comes: what went past all bounds cannot come back as NaN. */
static inline double add_finite(double sum, double amount)
{
    sum += amount;
    return __builtin_expect(fabs(sum) <= DBL_MAX, 1) ? sum : copysign(DBL_MAX, sum);
}

static inline uint64_t fitting(const struct buckets *buckets, uint64_t weight)
{
    return __builtin_expect(buckets->count > SAVED_LEAPS_MAX, 0) ? 1 : weight;
}

bool buckets_add_quickly(struct buckets *buckets, unsigned classic, double value, uint64_t weight)
{
    weight = fitting(buckets, weight);
    double amount = value * (double)(int64_t)weight; /* far below what is negative then */
    if (buckets->native) {
        const struct bucket_run *run = &buckets->positive;
        if (!(value > BUCKETS_ZERO_THRESHOLD)) {
            return false;
        }
        int32_t index = coarser(index_of(value), BUCKETS_SCHEMA - buckets->schema) - run->first;
        if ((uint32_t)index >= run->len) {
            return false;
        }
        buckets->counts[buckets->bound_count + 1 + (unsigned)index] += weight;
    }
    buckets->counts[classic] += weight;
    buckets->count += weight;
    buckets->sum = add_finite(buckets->sum, amount);
    return true;
}

int buckets_add(struct buckets **buckets, const double *bounds, double value, uint64_t weight,
                struct limbo *limbo)
{
    int err = own(buckets, limbo);
    weight = fitting(*buckets, weight);
    if (err == 0 && (*buckets)->native) {
        err = add_native(buckets, value, weight, limbo);
    }
    if (err != 0) {
        return err;
    }
    struct buckets *at = *buckets;
    at->counts[buckets_find(bounds, at->bound_count, value)] += weight;
    at->count += weight;
    at->sum = add_finite(at->sum, value * (double)weight);
    at->stamp = limbo->epoch;
    return 0;
}

int buckets_mark(struct buckets *buckets, const double *bounds, const struct exemplar_mark *mark,
                 struct limbo *limbo)
{
    struct exemplar_set *old = buckets->exemplars;
    size_t size = sizeof *old + (size_t)(buckets->bound_count + 1) * sizeof old->marks[0];
    assert(buckets->stamp == limbo->epoch); /* ours to write: a value was just counted */
    if (old == NULL || old->block.epoch <= limbo->shared_epoch) {
        struct exemplar_set *fresh = mem_zalloc(1, size);
        if (fresh == NULL) {
            return ERR_NOMEM;
        }
        if (old != NULL) {
            memcpy(fresh, old, size);
            limbo_retire(limbo, &old->block);
        }
        fresh->block.epoch = limbo->epoch;
        buckets->exemplars = fresh;
    }
    buckets->exemplars->marks[buckets_find(bounds, buckets->bound_count, mark->value)] = *mark;
    return 0;
}
