#include "core_helpers.h"

#include <math.h>

#include "core/record.h"

/* --- steps ------------------------------------------------------------------------------------- */

static void must_step(double figure, double steps_per_unit, exact_u128 wanted)
{
    assert_true(exact_steps(figure, steps_per_unit) == wanted);
}

static void test_exact_steps_are_the_nearest(void **state)
{
    (void)state;
    must_step(0, 1e9, 0);
    must_step(-0.0, 1e9, 0);
    must_step(1, 1, 1);
    must_step(0.5, 1, 1);
    must_step(0.49999999999999994, 1, 0); /* plus a half is 1 in doubles */
    must_step(1.5, 1, 2);
    must_step(2.4999999999999996, 1, 2);
    must_step(12.345, EXACT_STEPS_PER_MS, 12345000000);
    must_step(0.1, EXACT_STEPS_PER_PERCENT, 100000);
    must_step(49.9, EXACT_STEPS_PER_PERCENT, 49900000);
    must_step(1, EXACT_STEPS_PER_MB, 1048576);
    must_step(1.0 / 256, EXACT_STEPS_PER_MB, 4096);
    must_step(5e-324, EXACT_STEPS_PER_MS, 0);
}

static void test_exact_few_steps_are_the_nearest_too(void **state)
{
    (void)state;
    assert_int_equal(exact_few_steps(0.49999999999999994, 1), 0);
    assert_int_equal(exact_few_steps(0.5, 1), 1);
    assert_int_equal(exact_few_steps(0x1p52 + 1, 1), (UINT64_C(1) << 52) + 1);
    assert_int_equal(exact_few_steps(49.9, EXACT_STEPS_PER_PERCENT), 49900000);
    assert_int_equal(exact_few_steps(RECORD_PERCENT_MAX, EXACT_STEPS_PER_PERCENT),
                     1000000000000000);
    assert_int_equal(exact_few_steps(RECORD_MB_MAX, EXACT_STEPS_PER_MB), 1048576000000000000);
}

static void test_exact_steps_keep_whole_numbers(void **state)
{
    (void)state;
    const uint64_t whole[] = {1,
                              3,
                              (UINT64_C(1) << 51) + 1,
                              (UINT64_C(1) << 52) - 1,
                              (UINT64_C(1) << 52) + 1, /* no half lies between it and the next */
                              (UINT64_C(1) << 53) - 1,
                              (UINT64_C(1) << 53) + 2,
                              9199999999999998976,  /* below EXACT_FAST_MAX */
                              9200000000000000000,  /* EXACT_FAST_MAX */
                              9223372036854775808u, /* 2^63 */
                              18446744073709549568u};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        must_step((double)whole[i], 1, whole[i]);
    }
    must_step(0x1p64, 1, (exact_u128)1 << 64);
    must_step(0x1p70, 1, (exact_u128)1 << 70);
    must_step(RECORD_MS_MAX, EXACT_STEPS_PER_MS, (exact_u128)1000000000000 * 1000000000);
    assert_true(exact_steps(RECORD_MS_MAX, EXACT_STEPS_PER_MS) < (exact_u128)1 << 70);
    assert_true(exact_steps(RECORD_MB_MAX, EXACT_STEPS_PER_MB) < (exact_u128)1 << 70);
    assert_true(exact_steps(RECORD_PERCENT_MAX, EXACT_STEPS_PER_PERCENT) < (exact_u128)1 << 70);
    assert_true(exact_steps(RECORD_COUNT_MAX, 1) < (exact_u128)1 << 70);
}

/* --- sums -------------------------------------------------------------------------------------- */

struct total {
    uint64_t count;
    exact_u128 sum;
    struct exact_square squares;
};

static void add(struct total *total, double figure, double steps_per_unit)
{
    exact_u128 steps = exact_steps(figure, steps_per_unit);
    total->count++;
    if (steps >> 64 == 0) { /* as the hot path does, and as the rest does */
        exact_add(&total->sum, (uint64_t)steps);
        exact_square_add(&total->squares, (uint64_t)steps);
    } else {
        total->sum += steps;
        exact_square_add_wide(&total->squares, steps);
    }
}

static struct total total_of(const double *figures, size_t count, double steps_per_unit)
{
    struct total total = {0};
    for (size_t i = 0; i < count; i++) {
        add(&total, figures[i], steps_per_unit);
    }
    return total;
}

static double mean_of(const double *figures, size_t count, double steps_per_unit)
{
    struct total total = total_of(figures, count, steps_per_unit);
    return exact_mean(total.sum, total.count, steps_per_unit);
}

static void test_exact_mean_is_that_of_the_fractions(void **state)
{
    (void)state;
    /* Sums that doubles get wrong: mean as the nearest double of the fraction. */
    const struct {
        double figures[8];
        size_t count;
        double mean;
    } table[] = {
        {{0.1, 0.2}, 2, 0.15},
        {{0.1, 0.2, 0.3}, 3, 0.2},
        {{0.7, 1.3}, 2, 1.0},
        {{0.1, 0.7, 2.2}, 3, 1.0},
        {{49.9, 50.1}, 2, 50},
        {{49.7, 50.1, 50.2}, 3, 50},
        {{19.9, 20.1, 20.0}, 3, 20},
        {{1e9, 0.000001}, 2, 500000000.0000005},
        {{1e12, 1e-9}, 2, 5e11},
        {{0, 0, 0, 1}, 4, 0.25},
        {{1, 1, 1, 1, 1, 1, 2}, 7, 8.0 / 7},
        {{3.3}, 1, 3.3},
        {{0}, 1, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_true(mean_of(table[i].figures, table[i].count, 1e9) == table[i].mean);
    }
    assert_true(exact_mean(0, 0, 1e9) == 0);
    assert_true(exact_sum(0, 1e9) == 0);
    assert_true(exact_sum(1, 1e9) == 1e-9);
    assert_true(exact_sum((exact_u128)1 << 127, 1) == 0x1p127);
}

static void test_exact_mean_does_not_drift(void **state)
{
    (void)state;
    const double figures[] = {0.1, 0.7, 1.3, 49.9, 0.000001, 123.456, 1e9};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        exact_u128 steps = exact_steps(figures[i], 1e9);
        for (uint64_t count = 1; count < UINT64_C(1) << 56; count *= 7) {
            assert_true(exact_mean(steps * count, count, 1e9) == figures[i]);
        }
    }
}

/* --- deviation --------------------------------------------------------------------------------- */

static void must_deviate(const double *figures, size_t count, double tolerance)
{
    struct total total = total_of(figures, count, EXACT_STEPS_PER_MS);
    double got = exact_deviation(total.sum, &total.squares, count, EXACT_STEPS_PER_MS);
    /* Two passes over the steps, which long double holds exactly. */
    long double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (long double)exact_steps(figures[i], EXACT_STEPS_PER_MS);
    }
    long double mean = sum / (long double)count;
    long double squares = 0;
    for (size_t i = 0; i < count; i++) {
        long double distance = (long double)exact_steps(figures[i], EXACT_STEPS_PER_MS) - mean;
        squares += distance * distance;
    }
    long double wanted = sqrtl(squares / (long double)(count - 1)) / EXACT_STEPS_PER_MS;
    must_be_near(got, (double)wanted, tolerance);
}

enum { SET = 1000 };

static void test_exact_deviation_does_not_cancel(void **state)
{
    (void)state;
    struct random random = random_start("deviation");
    const struct {
        double base;
        double spread;
        double tolerance; /* what the long double reference can say */
    } table[] = {
        {0, 1, 1e-13},           {10, 5, 1e-13},        {1e3, 1e-3, 1e-13}, {1e9, 1e-3, 1e-7},
        {1e9, 1, 1e-10},         {1e6, 1e-6, 1e-7},     {9e9, 1e9, 1e-13}, /* around 2^63 steps */
        {1.8446744e10, 1, 1e-9},                                           /* 2^64 steps */
        {5e11, 5e11, 1e-13},     {1e12 - 10, 10, 1e-7},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        double figures[SET];
        for (size_t k = 0; k < SET; k++) {
            figures[k] = table[i].base + table[i].spread * random_unit(&random);
        }
        must_deviate(figures, SET, table[i].tolerance);
        must_deviate(figures, 2, table[i].tolerance * 10);
    }
}

static void test_exact_deviation_of_known_sets(void **state)
{
    (void)state;
    const struct {
        double figures[4];
        size_t count;
        double deviation;
    } table[] = {
        {{5}, 1, 0},
        {{5, 5, 5, 5}, 4, 0},
        {{1e12, 1e12, 1e12}, 3, 0},
        {{1, 3}, 2, 1.4142135623730951},
        {{0, 0, 0, 4}, 4, 2},
        {{1e9, 1e9 + 1, 1e9 + 2}, 3, 1},
        {{9e9, 9e9 + 2, 9e9 + 4}, 3, 2},
        {{1e11, 1e11 + 512, 1e11 + 1024}, 3, 512},
        {{0, 1e12}, 2, 707106781186.5475},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct total total = total_of(table[i].figures, table[i].count, EXACT_STEPS_PER_MS);
        double got = exact_deviation(total.sum, &total.squares, table[i].count, EXACT_STEPS_PER_MS);
        must_be_near(got, table[i].deviation, 0);
    }
    assert_true(exact_deviation(0, &(struct exact_square){{0}}, 0, 1) == 0);
}

/* 2^52 figures of almost 2^70 steps, two steps apart: what sums can hold at most. */
static void test_exact_deviation_at_the_ceiling(void **state)
{
    (void)state;
    struct total total = {0};
    exact_u128 large = ((exact_u128)1 << 70) - 1;
    struct exact_square pair = {{0}};
    exact_square_add_wide(&pair, large);
    exact_square_add_wide(&pair, large - 2);
    total.sum = large * 2 - 2;
    total.squares = pair;
    total.count = 2;
    while (total.count < UINT64_C(1) << 52) { /* doubling */
        struct exact_square twin = total.squares;
        exact_square_merge(&total.squares, &twin);
        total.sum *= 2;
        total.count *= 2;
    }
    assert_true(exact_deviation(total.sum, &total.squares, total.count, 1) == 1.0);
}

/* --- merging ----------------------------------------------------------------------------------- */

static void must_equal(const struct total *a, const struct total *b)
{
    assert_int_equal(a->count, b->count);
    assert_true(a->sum == b->sum);
    assert_memory_equal(a->squares.word, b->squares.word, sizeof a->squares.word);
}

static void test_exact_parts_merge_to_the_whole(void **state)
{
    (void)state;
    struct random random = random_start("merge");
    struct total whole = {0};
    struct total parts[5] = {{0}};
    for (size_t i = 0; i < 100000; i++) {
        /* From a picosecond to the ceiling, so that every width is met. */
        double figure = exp2(random_unit(&random) * 69.8 - 30);
        add(&whole, figure, EXACT_STEPS_PER_MS);
        add(&parts[random_below(&random, 5)], figure, EXACT_STEPS_PER_MS);
    }
    struct total merged = {0};
    for (size_t i = 0; i < 5; i++) {
        merged.count += parts[i].count;
        merged.sum += parts[i].sum;
        exact_square_merge(&merged.squares, &parts[i].squares);
    }
    must_equal(&merged, &whole);
}

static void test_exact_squares_carry_through_every_word(void **state)
{
    (void)state;
    const uint64_t max = UINT64_MAX;
    const struct {
        struct exact_square before, after;
        exact_u128 steps;
    } table[] = {
        {{{0, 0, 0}}, {{4, 0, 0}}, 2},
        {{{max, 0, 0}}, {{0, 1, 0}}, 1},
        {{{max, max, 0}}, {{0, 0, 1}}, 1},
        {{{max, max, 6}}, {{0, 0, 7}}, 1},
        {{{0, 0, 0}}, {{1, max - 1, 0}}, max},
        {{{max, max, 7}}, {{0, max - 1, 8}}, max},
        {{{0, 0, 0}}, {{0, 0, 1}}, (exact_u128)1 << 64},
        {{{max, max, 9}}, {{max, max, 10}}, (exact_u128)1 << 64},
        {{{0, 0, 0}}, {{0, 0, 4096}}, (exact_u128)1 << 70},
        {{{0, 0, 0}}, {{1, 2, 1}}, ((exact_u128)1 << 64) + 1},
        {{{max, max, 0}}, {{0, 2, 2}}, ((exact_u128)1 << 64) + 1},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct exact_square sum = table[i].before;
        exact_square_add_wide(&sum, table[i].steps);
        assert_memory_equal(sum.word, table[i].after.word, sizeof sum.word);
        /* The short way and merging give the same. */
        if (table[i].steps >> 64 == 0) {
            sum = table[i].before;
            exact_square_add(&sum, (uint64_t)table[i].steps);
            assert_memory_equal(sum.word, table[i].after.word, sizeof sum.word);
        }
        struct exact_square one = {{0}};
        exact_square_add_wide(&one, table[i].steps);
        sum = table[i].before;
        exact_square_merge(&sum, &one);
        assert_memory_equal(sum.word, table[i].after.word, sizeof sum.word);
        sum = table[i].before;
        exact_square_add_weighted(&sum, table[i].steps, 1);
        assert_memory_equal(sum.word, table[i].after.word, sizeof sum.word);
    }
}

static void test_exact_squares_of_weight_are_so_many(void **state)
{
    (void)state;
    const exact_u128 steps[] = {0, 1, 12500000000, UINT64_MAX, (exact_u128)1 << 70};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct exact_square weighted = {{UINT64_MAX, 7, 0}};
        struct exact_square single = weighted;
        exact_square_add_weighted(&weighted, steps[i], 777);
        for (int n = 0; n < 777; n++) {
            exact_square_add_wide(&single, steps[i]);
        }
        assert_memory_equal(weighted.word, single.word, sizeof single.word);
    }
    struct exact_square most = {{0}};
    exact_square_add_weighted(&most, (exact_u128)1 << 70, 1000000000);
    assert_true(most.word[2] == UINT64_C(4096) * 1000000000 && most.word[1] == 0);
}

static void test_exact_sum_carries(void **state)
{
    (void)state;
    const uint64_t max = UINT64_MAX;
    const exact_u128 one = (exact_u128)1 << 64;
    const struct {
        exact_u128 before, after;
        uint64_t steps;
    } table[] = {
        {0, 0, 0},
        {0, max, max},
        {max, one, 1},
        {max, one * 2 - 2, max},
        {one * 7 + max, one * 8, 1},
        {one * 7, one * 7 + max, max},
        {one * 7 + 1, one * 8, max},
        {one * 7 + max, one * 7 + max, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        exact_u128 sum = table[i].before;
        exact_add(&sum, table[i].steps);
        assert_true(sum == table[i].after);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_steps_are_the_nearest),
        cmocka_unit_test(test_exact_few_steps_are_the_nearest_too),
        cmocka_unit_test(test_exact_steps_keep_whole_numbers),
        cmocka_unit_test(test_exact_mean_is_that_of_the_fractions),
        cmocka_unit_test(test_exact_mean_does_not_drift),
        cmocka_unit_test(test_exact_deviation_does_not_cancel),
        cmocka_unit_test(test_exact_deviation_of_known_sets),
        cmocka_unit_test(test_exact_deviation_at_the_ceiling),
        cmocka_unit_test(test_exact_parts_merge_to_the_whole),
        cmocka_unit_test(test_exact_squares_carry_through_every_word),
        cmocka_unit_test(test_exact_squares_of_weight_are_so_many),
        cmocka_unit_test(test_exact_sum_carries),
    };
    return cmocka_run_group_tests_name("exact", tests, core_tables, NULL);
}
