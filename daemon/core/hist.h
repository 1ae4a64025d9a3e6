/*
 * Base-2 exponential histogram of scale 7: 128 buckets to each doubling, so that the middle of a
 * bucket is within 0.28 % of every value in it (OpenTelemetry data model, "ExponentialHistogram").
 * It keeps counts only: sums, extremes and exact bounds are core/tally's.
 * The loop thread writes; anyone may read one that belongs to a snapshot.
 *
 * Bucket i holds 2^(i/128) < value <= 2^((i+1)/128), i from HIST_INDEX_MIN to HIST_INDEX_MAX.
 * Values at or below 2^HIST_EXPONENT_MIN (one nanosecond, when values are seconds) go to `zero`,
 * values above 2^HIST_EXPONENT_MAX into the highest bucket.
 *
 * Counts live in chunks of 128 buckets, one doubling, which are made on first use:
 *
 *      chunks   [0]  [1]  …  [30]   …  [59]      one word for each doubling, from 2^-30 to 2^30
 *                0    0       |          0       no chunk yet
 *                        128 counters
 *
 * The lowest bit of a word says "ours to write"; it is 0 where the chunk is missing or a snapshot
 * sees it too. The hot path tests that one bit, and everything else is the long way's. The rest of
 * a word is an address as far below its chunk as the counters of all doublings below would take, so
 * that a position leads from there to its counter without being cut into chunk and rest.
 */
#ifndef DWELL_CORE_HIST_H
#define DWELL_CORE_HIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/limbo.h"

enum {
    HIST_SCALE = 7,
    HIST_PER_OCTAVE = 1 << HIST_SCALE,
    HIST_EXPONENT_MIN = -30,
    HIST_EXPONENT_MAX = 30,
    HIST_INDEX_MIN = HIST_EXPONENT_MIN * HIST_PER_OCTAVE,
    HIST_INDEX_MAX = HIST_EXPONENT_MAX * HIST_PER_OCTAVE - 1,
    HIST_BUCKETS = (HIST_EXPONENT_MAX - HIST_EXPONENT_MIN) * HIST_PER_OCTAVE,
    HIST_CHUNK_BUCKETS = HIST_PER_OCTAVE,
    HIST_CHUNKS = HIST_BUCKETS / HIST_CHUNK_BUCKETS,
    HIST_ZERO = -1, /* in place of a position: the value counts as zero */
};

/* A position is an index counted from 0: index - HIST_INDEX_MIN. */

struct hist_carry {
    struct block block;
    uint32_t high[HIST_CHUNK_BUCKETS]; /* upper halves of the counters */
};

struct hist_chunk {
    struct block block;
    struct hist_carry *carry; /* owned; NULL until a counter passes 2^32 - 1 */
    uint32_t low[HIST_CHUNK_BUCKETS];
};

#define HIST_WRITABLE ((uintptr_t)1)

/* All zero is an empty histogram. */
struct hist {
    uint64_t zero;
    uintptr_t chunks[HIST_CHUNKS]; /* owned; the words drawn above */
};

/* Where a word without HIST_WRITABLE has the counter of a position: no counter when it is 0. */
static inline uintptr_t hist_counter(uintptr_t word, size_t position)
{
    return word + offsetof(struct hist_chunk, low) + position * sizeof(uint32_t);
}

/*
 * From the bits of a double to its position with one table, one addition and one shift.
 *
 *     bits    sign 0 | exponent 11 | mantissa 52          bits >> 45: exponent and 7 bits of mantissa,
 *                            `- cell: its upper 8 bits    128 equal steps to each doubling
 *
 * The steps that are wanted are equal on a logarithmic scale instead. A cell is narrower than any of
 * them, so at most one boundary lies in it, and adding hist_shifts[cell] moves that boundary to where
 * the shift by 45 bits makes its step; exponent bias and lowest position are part of the addend.
 */
extern uint64_t hist_shifts[256];

/* Fills the table. Call once before anything else, from one thread. */
void hist_init_tables(void);

/* Position of a value >= 0, or HIST_ZERO. NaN and negative values are the caller's to refuse. */
static inline int hist_position(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t position = (bits + hist_shifts[(bits >> 44) & 0xFF]) >> 45;
    if (__builtin_expect(position < HIST_BUCKETS, 1)) {
        return (int)position;
    }
    /* Small values have wrapped around. Compared with their sign, the bits tell them, and -0, from
     * the large ones. */
    return (int64_t)bits < INT64_C(1023) << 52 ? HIST_ZERO : HIST_BUCKETS - 1;
}

/* Lower end (exclusive) of the bucket at a position; its upper end is the lower end of the next. */
double hist_lower_bound(int position);

/* Gives the chunks to limbo. The histogram itself is not touched, because readers may see it; nobody
 * else may use it after. */
void hist_retire(const struct hist *hist, struct limbo *limbo);

/* Asks for the memory that hist_find_counter will read. Inlined always: gcc takes a function that does
 * nothing but prefetch for one without effect. */
__attribute__((always_inline)) static inline void hist_prefetch_chunk(const struct hist *hist,
                                                                      int position)
{
    if (position >= 0) {
        __builtin_prefetch(&hist->chunks[(size_t)position / HIST_CHUNK_BUCKETS]);
    }
}

/* Counts `weight` values at a position; what hist_add does when its short cut does not apply. */
int hist_add_weighted(struct hist *hist, struct limbo *limbo, int position, uint64_t weight);

/* Finds the counter of a position >= 0; false where the chunk is not ours to write. It is good for
 * hist_count as long as nobody unshares or retires the histogram. */
static inline bool hist_find_counter(const struct hist *hist, int position, uint32_t **ret_counter)
{
    uintptr_t word = hist->chunks[(size_t)position / HIST_CHUNK_BUCKETS];
    if (__builtin_expect((word & HIST_WRITABLE) == 0, 0)) {
        return false;
    }
    *ret_counter = (uint32_t *)hist_counter(word - HIST_WRITABLE, (size_t)position);
    return true;
}

/* Counts one value, unless the counter would carry: false, and hist_add_weighted must do it. */
static inline bool hist_count(uint32_t *counter)
{
    if (__builtin_expect(++*counter == 0, 0)) {
        *counter = UINT32_MAX;
        return false;
    }
    return true;
}

/* Counts one value at a position. The histogram must be one that may be written: an empty one or the
 * outcome of hist_unshare. Returns 0, or ERR_NOMEM with nothing counted. */
static inline int hist_add(struct hist *hist, struct limbo *limbo, int position)
{
    uint32_t *counter;
    return position >= 0 && hist_find_counter(hist, position, &counter) && hist_count(counter)
               ? 0
               : hist_add_weighted(hist, limbo, position, 1);
}

/* A histogram that may be written while readers keep the old one: all its chunks are marked as
 * shared, and will be copied one by one. The old one must not be written any more, nor retired. */
void hist_unshare(const struct hist *hist, struct hist *ret_copy);

/* Adds all counts of `from` to `into`, which must be one that may be written. Returns 0, or
 * ERR_NOMEM with nothing added. */
int hist_merge(struct hist *into, const struct hist *from, struct limbo *limbo);

/* Count at a position; 0 where there is no chunk. */
uint64_t hist_count_at(const struct hist *hist, int position);

/* Adds the count of every position but zero to counts[position]. */
void hist_sum_into(const struct hist *hist, uint64_t counts[HIST_BUCKETS]);

/* All counts, `zero` included. */
uint64_t hist_total(const struct hist *hist);

/* The first position that has a chunk and, in ret_end, the one after the last; HIST_BUCKETS and 0
 * for a histogram without chunks. */
int hist_range(const struct hist *hist, int *ret_end);

/* Bytes of heap behind it. */
size_t hist_bytes(const struct hist *hist);

#endif
