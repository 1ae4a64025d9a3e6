#include "core/exact.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>

enum { WORDS = 1 + EXACT_SQUARE_WORDS }; /* count * squares */

struct wide {
    uint64_t word[WORDS];
};

/* into += a * b << (64 * shift), dropping what leaves the top: sizes are bounded by the caller. */
static void add_product(struct wide *into, uint64_t a, uint64_t b, size_t shift)
{
    exact_u128 product = (exact_u128)a * b;
    uint64_t parts[2] = {(uint64_t)product, (uint64_t)(product >> 64)};
    uint64_t carry = 0;
    for (size_t i = 0; shift + i < WORDS; i++) {
        uint64_t part = i < 2 ? parts[i] : 0;
        exact_u128 sum = (exact_u128)into->word[shift + i] + part + carry;
        into->word[shift + i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
}

static void add_square(struct wide *into, exact_u128 value)
{
    uint64_t low = (uint64_t)value;
    uint64_t high = (uint64_t)(value >> 64);
    add_product(into, low, low, 0);
    add_product(into, low, high, 1);
    add_product(into, high, low, 1);
    add_product(into, high, high, 2);
}

void exact_square_add_wide(struct exact_square *sum, exact_u128 steps)
{
    struct wide wide = {{sum->word[0], sum->word[1], sum->word[2], 0}};
    add_square(&wide, steps);
    for (size_t i = 0; i < EXACT_SQUARE_WORDS; i++) {
        sum->word[i] = wide.word[i];
    }
}

void exact_square_add_weighted(struct exact_square *sum, exact_u128 steps, uint64_t weight)
{
    struct wide square = {{0}};
    struct wide wide = {{sum->word[0], sum->word[1], sum->word[2], 0}};
    add_square(&square, steps);
    for (size_t i = 0; i < EXACT_SQUARE_WORDS; i++) {
        add_product(&wide, square.word[i], weight, i);
    }
    for (size_t i = 0; i < EXACT_SQUARE_WORDS; i++) {
        sum->word[i] = wide.word[i];
    }
}

void exact_square_merge(struct exact_square *into, const struct exact_square *from)
{
    uint64_t carry = 0;
    for (size_t i = 0; i < EXACT_SQUARE_WORDS; i++) {
        exact_u128 sum = (exact_u128)into->word[i] + from->word[i] + carry;
        into->word[i] = (uint64_t)sum;
        carry = (uint64_t)(sum >> 64);
    }
}

double exact_sum(exact_u128 sum, double steps_per_unit)
{
    return (double)((long double)sum / (long double)steps_per_unit);
}

double exact_mean(exact_u128 sum, uint64_t count, double steps_per_unit)
{
    if (count == 0) {
        return 0.0;
    }
    return (double)((long double)sum / ((long double)count * (long double)steps_per_unit));
}

double exact_deviation(exact_u128 sum, const struct exact_square *squares, uint64_t count,
                       double steps_per_unit)
{
    if (count < 2) {
        return 0.0;
    }
    struct wide scaled = {{0}};
    struct wide square = {{0}};
    for (size_t i = 0; i < EXACT_SQUARE_WORDS; i++) {
        add_product(&scaled, squares->word[i], count, i);
    }
    add_square(&square, sum);
    long double numerator = 0;
    uint64_t borrow = 0;
    for (size_t i = 0; i < WORDS; i++) {
        exact_u128 taken = (exact_u128)square.word[i] + borrow;
        uint64_t word = (uint64_t)((exact_u128)scaled.word[i] - taken);
        borrow = (exact_u128)scaled.word[i] < taken;
        numerator += ldexpl((long double)word, (int)(64 * i));
    }
    long double divisor = (long double)count * (long double)(count - 1);
    return (double)(sqrtl(numerator / divisor) / (long double)steps_per_unit);
}
