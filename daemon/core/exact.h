/*
 * Exact sums of decimal figures. A double is rounded once, to a fixed step (a picosecond, a
 * millionth of a percent, a byte), and from then on everything is integer: nothing is lost by the
 * order of additions, sums of parts can be merged, and a mean of 50.0 is 50.0.
 *
 * Why not Welford's recurrence or shifted sums: they cost the same, drift, and cannot decide a
 * comparison at the threshold; the square of a 64-bit integer is one instruction.
 * It keeps no extremes. Pure; any thread.
 */
#ifndef DWELL_CORE_EXACT_H
#define DWELL_CORE_EXACT_H

#include <stdint.h>
#include <string.h>

__extension__ typedef unsigned __int128 exact_u128;

/* Steps to a unit. */
#define EXACT_STEPS_PER_MS      1e9 /* picoseconds */
#define EXACT_STEPS_PER_PERCENT 1e6
#define EXACT_STEPS_PER_MB      1048576.0 /* bytes */

#define EXACT_FAST_MAX 9.2e18 /* steps that a signed 64-bit conversion takes */

/* The largest double below a half. A half itself, added to 0.49999999999999994 or to an odd number
 * above 2^52, is rounded up to the next whole number, which is not the nearest. */
#define EXACT_HALF 0.49999999999999994

/* A figure >= 0 in steps, rounded to the nearest. At most 2^70 for every figure of a record. */
static inline exact_u128 exact_steps(double figure, double steps_per_unit)
{
    double steps = figure * steps_per_unit;
    if (steps < EXACT_FAST_MAX) {
        return (uint64_t)(int64_t)(steps + EXACT_HALF);
    }
    return (exact_u128)steps;
}

/* As exact_steps, for figures that never reach EXACT_FAST_MAX. */
static inline uint64_t exact_few_steps(double figure, double steps_per_unit)
{
    return (uint64_t)(int64_t)(figure * steps_per_unit + EXACT_HALF);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lower half comes first");

/* sum += steps. The upper half is touched once in 2^64 steps: a store less for each figure. */
static inline void exact_add(exact_u128 *sum, uint64_t steps)
{
    uint64_t low;
    memcpy(&low, sum, sizeof low);
    low += steps;
    memcpy(sum, &low, sizeof low);
    if (__builtin_expect(low < steps, 0)) {
        *sum += (exact_u128)1 << 64;
    }
}

enum { EXACT_SQUARE_WORDS = 3 };

/* Sum of squares, least significant word first. 192 bits: the longest inference, 2^70 steps, can be
 * squared and added 2^52 times. */
struct exact_square {
    uint64_t word[EXACT_SQUARE_WORDS];
};

/* Adds steps * steps. */
void exact_square_add_wide(struct exact_square *sum, exact_u128 steps);

/* By words: gcc sends sums of 128 bits through the stack where registers are short. */
static inline void exact_square_add(struct exact_square *sum, uint64_t steps)
{
    exact_u128 square = (exact_u128)steps * steps;
    uint64_t low = sum->word[0] + (uint64_t)square;
    /* The upper half of a square is at most 2^64 - 2: a carry does not overflow it. */
    uint64_t middle = (uint64_t)(square >> 64) + (low < (uint64_t)square);
    sum->word[0] = low;
    sum->word[1] += middle;
    if (__builtin_expect(sum->word[1] < middle, 0)) {
        sum->word[2]++;
    }
}

/* Adds weight times steps * steps. */
void exact_square_add_weighted(struct exact_square *sum, exact_u128 steps, uint64_t weight);

void exact_square_merge(struct exact_square *into, const struct exact_square *from);

/* sum / count in units, correctly rounded to within one unit in the last place; 0 when count is 0. */
double exact_mean(exact_u128 sum, uint64_t count, double steps_per_unit);

/* sum in units. */
double exact_sum(exact_u128 sum, double steps_per_unit);

/* Standard deviation in units with divisor count - 1, without cancellation:
 * sqrt((count * squares - sum^2) / (count * (count - 1))), the numerator exact. 0 when count < 2. */
double exact_deviation(exact_u128 sum, const struct exact_square *squares, uint64_t count,
                       double steps_per_unit);

#endif
