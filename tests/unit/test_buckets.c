#include "core_helpers.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "core/buckets.h"
#include "mem_fault.h"

static const double bounds[] = {-1, 0, 0.5, 1, 10};
enum { BOUNDS = sizeof bounds / sizeof bounds[0] };

static struct limbo limbo;

static int open_limbo(void **state)
{
    (void)note_memory(state);
    limbo_init(&limbo);
    return 0;
}

static int close_limbo(void **state)
{
    limbo_fini(&limbo);
    return must_be_clean(state);
}

static struct buckets *must_make(bool native)
{
    struct buckets *buckets = buckets_new(&limbo, BOUNDS, native);
    assert_non_null(buckets);
    return buckets;
}

static void must_add(struct buckets **buckets, double value, uint64_t weight)
{
    assert_int_equal(buckets_add(buckets, bounds, value, weight, &limbo), 0);
}

static uint64_t must_freeze(void)
{
    uint64_t epoch;
    assert_int_equal(limbo_freeze(&limbo, &epoch), 0);
    return epoch;
}

static void release(uint64_t epoch)
{
    limbo_release(&limbo, epoch);
    while (limbo_sweep(&limbo, 8)) {
    }
}

/* --- classic ----------------------------------------------------------------------------------- */

static void test_buckets_classic_bounds_are_inclusive(void **state)
{
    (void)state;
    for (unsigned i = 0; i < BOUNDS; i++) {
        assert_int_equal(buckets_find(bounds, BOUNDS, bounds[i]), i);
        assert_int_equal(buckets_find(bounds, BOUNDS, nextafter(bounds[i], -INFINITY)), i);
        assert_int_equal(buckets_find(bounds, BOUNDS, nextafter(bounds[i], INFINITY)), i + 1);
    }
    assert_int_equal(buckets_find(bounds, BOUNDS, -DBL_MAX), 0);
    assert_int_equal(buckets_find(bounds, BOUNDS, DBL_MAX), BOUNDS);
    assert_int_equal(buckets_find(bounds, 0, 1), 0);
    for (unsigned count = 0; count <= BOUNDS; count++) { /* every shape of the search */
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal(buckets_find(bounds, count, bounds[i]), i);
        }
        assert_int_equal(buckets_find(bounds, count, DBL_MAX), count);
    }
}

static void test_buckets_count_what_they_are_told(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(false);
    must_add(&buckets, 0.25, 1);
    must_add(&buckets, 0.5, 3);
    must_add(&buckets, 1000, 2);
    must_add(&buckets, -7, 1);
    static const uint64_t wanted[] = {1, 0, 4, 0, 0, 2};
    assert_memory_equal(buckets->counts, wanted, sizeof wanted);
    assert_int_equal(buckets->count, 7);
    assert_true(buckets->sum == 0.25 + 1.5 + 2000 - 7);
    assert_int_equal(buckets->positive.room + buckets->negative.room, 0);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_without_bounds(void **state)
{
    (void)state;
    struct buckets *buckets = buckets_new(&limbo, 0, true);
    assert_non_null(buckets);
    assert_int_equal(buckets_add(&buckets, NULL, 2, 5, &limbo), 0);
    assert_int_equal(buckets->counts[0], 5);
    assert_int_equal(buckets_positive(buckets)[0], 5);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_sums_stay_finite(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(true);
    for (int i = 0; i < 3; i++) {
        must_add(&buckets, DBL_MAX, RECORD_WEIGHT_MAX);
        assert_true(buckets->sum == DBL_MAX);
    }
    must_add(&buckets, -DBL_MAX, RECORD_WEIGHT_MAX);
    assert_true(isfinite(buckets->sum));
    buckets_retire(buckets, &limbo);
}

/* --- native ------------------------------------------------------------------------------------ */

/* In long double; the bounds themselves are the doubles next to them. */
static bool lies_in(double size, int index, int schema)
{
    long double width = exp2l(-(long double)schema);
    double below = (double)exp2l((long double)(index - 1) * width);
    double upto =
        index * width >= DBL_MAX_EXP ? DBL_MAX : (double)exp2l((long double)index * width);
    return size > below && size <= upto;
}

static uint64_t sum_of(const uint64_t *counts, const struct bucket_run *run)
{
    uint64_t sum = 0;
    for (int i = 0; i < run->len; i++) {
        sum += counts[i];
    }
    return sum;
}

static void must_be_whole(const struct buckets *buckets)
{
    uint64_t classic = 0;
    for (unsigned i = 0; i <= BOUNDS; i++) {
        classic += buckets->counts[i];
    }
    assert_int_equal(classic, buckets->count);
    assert_true(buckets->positive.len <= BUCKETS_NATIVE_MAX);
    assert_true(buckets->negative.len <= BUCKETS_NATIVE_MAX);
    assert_true(buckets->positive.len <= buckets->positive.room);
    assert_true(buckets->negative.len <= buckets->negative.room);
    assert_int_equal(sum_of(buckets_positive(buckets), &buckets->positive) +
                         sum_of(buckets_negative(buckets), &buckets->negative) + buckets->zero,
                     buckets->count);
}

static void must_land(double value)
{
    struct buckets *buckets = must_make(true);
    must_add(&buckets, value, 1);
    const struct bucket_run *run = value < 0 ? &buckets->negative : &buckets->positive;
    assert_int_equal(run->len, 1);
    assert_int_equal(buckets->schema, BUCKETS_SCHEMA);
    if (!lies_in(fabs(value), run->first, BUCKETS_SCHEMA)) {
        fail_msg("%a is not in bucket %d", value, run->first);
    }
    must_be_whole(buckets);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_native_values_are_in_their_buckets(void **state)
{
    (void)state;
    struct random random = random_start("native");
    for (int exponent = BUCKETS_ZERO_EXPONENT + 1; exponent < DBL_MAX_EXP; exponent += 7) {
        for (int k = 0; k < 8; k++) {
            double bound = (double)exp2l(exponent + (long double)k / 8);
            must_land(bound);
            must_land(nextafter(bound, 0));
            must_land(-bound);
            if (nextafter(bound, INFINITY) < DBL_MAX) {
                must_land(nextafter(bound, INFINITY));
            }
        }
    }
    for (int i = 0; i < 20000; i++) {
        must_land(
            exp2(random_unit(&random) * 1100 - 120 > 1023 ? 1 : random_unit(&random) * 1100 - 120));
    }
    must_land(DBL_MAX);
    must_land(-DBL_MAX);
    must_land(nextafter(BUCKETS_ZERO_THRESHOLD, 1));
}

static void test_buckets_small_values_are_zero(void **state)
{
    (void)state;
    static const double zeros[] = {0,       -0.0,      BUCKETS_ZERO_THRESHOLD,
                                   DBL_MIN, 0x1p-1074, -BUCKETS_ZERO_THRESHOLD};
    struct buckets *buckets = must_make(true);
    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
        must_add(&buckets, zeros[i], 1);
        assert_int_equal(buckets->zero, i + 1);
    }
    assert_int_equal(buckets->positive.room + buckets->negative.room, 0);
    must_be_whole(buckets);
    buckets_retire(buckets, &limbo);
}

/* At the ceiling, one over it, and back in the middle; on both sides. */
static void must_halve_at_the_ceiling(double sign)
{
    struct buckets *buckets = must_make(true);
    for (int i = 0; i < BUCKETS_NATIVE_MAX; i++) {
        must_add(&buckets, sign * exp2((i + 0.5) / 8), 1);
    }
    const struct bucket_run *run = sign < 0 ? &buckets->negative : &buckets->positive;
    assert_int_equal(run->len, BUCKETS_NATIVE_MAX);
    assert_int_equal(buckets->schema, BUCKETS_SCHEMA);
    must_add(&buckets, sign * exp2((BUCKETS_NATIVE_MAX + 0.5) / 8), 1);
    run = sign < 0 ? &buckets->negative : &buckets->positive;
    assert_int_equal(buckets->schema, BUCKETS_SCHEMA - 1);
    assert_int_equal(run->len, BUCKETS_NATIVE_MAX / 2 + 1);
    const uint64_t *counts = sign < 0 ? buckets_negative(buckets) : buckets_positive(buckets);
    for (int i = 0; i < run->len; i++) {
        assert_int_equal(counts[i], i < BUCKETS_NATIVE_MAX / 2 ? 2 : 1);
    }
    must_be_whole(buckets);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_halve_their_resolution_past_the_ceiling(void **state)
{
    (void)state;
    must_halve_at_the_ceiling(1);
    must_halve_at_the_ceiling(-1);
}

/* The whole range that doubles have, in any order: all values of both sides are found again. */
static void must_match_a_recount(struct random *random, double spread)
{
    enum { VALUES = 600 };
    static double values[VALUES];
    struct buckets *buckets = must_make(true);
    uint64_t epoch = 0;
    for (int i = 0; i < VALUES; i++) {
        double exponent = (random_unit(random) - 0.5) * spread;
        exponent = exponent > 1023 ? 1023 : exponent < -127 ? -127 : exponent;
        values[i] = (random_below(random, 2) == 0 ? 1 : -1) * exp2(exponent);
        if (random_below(random, 40) == 0) { /* some of them onto a copy */
            epoch = epoch == 0 ? must_freeze() : (release(epoch), UINT64_C(0));
        }
        must_add(&buckets, values[i], 1);
        must_be_whole(buckets);
    }
    uint64_t seen = 0;
    for (int side = 0; side < 2; side++) {
        const struct bucket_run *run = side == 0 ? &buckets->positive : &buckets->negative;
        const uint64_t *counts = side == 0 ? buckets_positive(buckets) : buckets_negative(buckets);
        for (int at = 0; at < run->len; at++) {
            uint64_t wanted = 0;
            for (int i = 0; i < VALUES; i++) {
                bool mine = (values[i] < 0) == (side == 1);
                wanted += mine && lies_in(fabs(values[i]), run->first + at, buckets->schema);
            }
            assert_int_equal(counts[at], wanted);
            seen += wanted;
        }
    }
    assert_int_equal(seen, VALUES);
    buckets_retire(buckets, &limbo);
    if (epoch != 0) {
        release(epoch);
    }
}

static void test_buckets_any_values_are_found_again(void **state)
{
    (void)state;
    struct random random = random_start("recount");
    static const double spreads[] = {0.1, 1, 10, 19, 21, 40, 80, 160, 320, 640, 2100};
    for (size_t i = 0; i < sizeof spreads / sizeof spreads[0]; i++) {
        must_match_a_recount(&random, spreads[i]);
    }
}

static void test_buckets_the_coarsest_holds_all_doubles(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(true);
    must_add(&buckets, nextafter(BUCKETS_ZERO_THRESHOLD, 1), 1);
    must_add(&buckets, DBL_MAX, 1);
    must_add(&buckets, -DBL_MAX, 1);
    must_add(&buckets, -nextafter(BUCKETS_ZERO_THRESHOLD, 1), 1);
    assert_true(buckets->schema >= -4);
    must_be_whole(buckets);
    const uint64_t *counts = buckets_positive(buckets);
    assert_int_equal(counts[0], 1);
    assert_int_equal(counts[buckets->positive.len - 1], 1);
    buckets_retire(buckets, &limbo);
}

/* --- copy on write ----------------------------------------------------------------------------- */

static struct exemplar_mark mark_of(double value, uint8_t trace)
{
    struct exemplar_mark mark = {.set = true, .value = value, .wall_ns = trace};
    memset(mark.trace_id, trace, sizeof mark.trace_id);
    return mark;
}

static void must_mark(struct buckets **buckets, double value, uint8_t trace)
{
    struct exemplar_mark mark = mark_of(value, trace);
    must_add(buckets, value, 1);
    assert_int_equal(buckets_mark(*buckets, bounds, &mark, &limbo), 0);
}

static void test_buckets_that_are_shared_do_not_change(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(true);
    must_mark(&buckets, 0.7, 1);
    must_add(&buckets, -3, 1);
    const struct buckets *shared = buckets;
    size_t size =
        sizeof *shared + ((size_t)BOUNDS + 1 + shared->positive.room + shared->negative.room) *
                             sizeof shared->counts[0];
    size_t marks = sizeof *shared->exemplars + (BOUNDS + 1) * sizeof shared->exemplars->marks[0];
    struct buckets *before = malloc(size);
    struct exemplar_set *marks_before = malloc(marks);
    assert_non_null(before);
    assert_non_null(marks_before);
    memcpy(before, shared, size);
    memcpy(marks_before, shared->exemplars, marks);
    uint64_t epoch = must_freeze();
    for (int i = 0; i < 400; i++) {
        must_mark(&buckets, exp2(i - 120), 2);
        must_mark(&buckets, -exp2(i - 120), 2);
        must_mark(&buckets, 0, 3);
    }
    assert_ptr_not_equal(buckets, shared);
    /* The block's own words are the loop's. */
    enum { HEAD = sizeof(struct block) };
    assert_memory_equal((const char *)shared + HEAD, (const char *)before + HEAD, size - HEAD);
    assert_memory_equal((const char *)shared->exemplars + HEAD, (const char *)marks_before + HEAD,
                        marks - HEAD);
    assert_int_equal(buckets->exemplars->marks[3].trace_id[0], 2);
    must_be_whole(buckets);
    release(epoch);
    free(before);
    free(marks_before);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_are_copied_once_an_epoch(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(true);
    must_mark(&buckets, 1, 1);
    uint64_t epoch = must_freeze();
    size_t before = mem_count_allocations();
    must_mark(&buckets, 1, 2);
    assert_int_equal(mem_count_allocations() - before, 2); /* the buckets, their exemplars */
    must_mark(&buckets, 1, 3);
    must_add(&buckets, 1, 1);
    assert_int_equal(mem_count_allocations() - before, 2);
    release(epoch);
    must_mark(&buckets, 1, 4);
    assert_int_equal(mem_count_allocations() - before, 2);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_stamp_says_when_they_changed(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(false);
    uint64_t epoch = must_freeze();
    uint64_t stamp = buckets->stamp;
    must_add(&buckets, 1, 1);
    assert_true(buckets->stamp > stamp);
    release(epoch);
    buckets_retire(buckets, &limbo);
}

static void test_buckets_retire_takes_none(void **state)
{
    (void)state;
    buckets_retire(NULL, &limbo);
    assert_int_equal(limbo.waiting, 0);
}

static void test_buckets_bytes_grow_with_what_they_hold(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(true);
    size_t empty = buckets_bytes(buckets);
    must_add(&buckets, 1, 1);
    size_t native = buckets_bytes(buckets);
    must_mark(&buckets, 1, 1);
    assert_true(empty < native && native < buckets_bytes(buckets));
    buckets_retire(buckets, &limbo);
}

/* --- want of memory ---------------------------------------------------------------------------- */

static void test_buckets_without_memory_count_nothing(void **state)
{
    (void)state;
    struct random random = random_start("memory");
    struct buckets *buckets = must_make(true);
    uint64_t count = 0;
    uint64_t epoch = 0;
    for (int i = 0; i < 3000; i++) {
        double value =
            (random_below(&random, 2) == 0 ? 1 : -1) * exp2(random_unit(&random) * i / 9);
        if (i % 5 == 0) {
            epoch = epoch == 0 ? must_freeze() : (release(epoch), UINT64_C(0));
        }
        double sum = buckets->sum;
        mem_fail_after(1);
        int err = buckets_add(&buckets, bounds, value, 1, &limbo);
        assert_int_equal(err, mem_has_failed() ? ERR_NOMEM : 0);
        mem_fail_after(0);
        assert_true(err == 0 || buckets->sum == sum);
        count += err == 0;
        assert_int_equal(buckets->count, count);
        must_be_whole(buckets);
        if (err != 0) { /* and the next time it is counted */
            must_add(&buckets, value, 1);
            must_be_whole(buckets);
            count++;
        }
    }
    if (epoch != 0) {
        release(epoch);
    }
    buckets_retire(buckets, &limbo);
}

static void test_buckets_without_memory_have_no_exemplar(void **state)
{
    (void)state;
    struct buckets *buckets = must_make(false);
    struct exemplar_mark mark = mark_of(0.7, 9);
    must_mark(&buckets, 0.6, 1);
    uint64_t epoch = must_freeze();
    must_add(&buckets, 0.7, 1);
    mem_fail_after(1);
    assert_int_equal(buckets_mark(buckets, bounds, &mark, &limbo), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(buckets->exemplars->marks[3].trace_id[0], 1);
    assert_int_equal(buckets_mark(buckets, bounds, &mark, &limbo), 0);
    assert_int_equal(buckets->exemplars->marks[3].trace_id[0], 9);
    release(epoch);
    mem_fail_after(1);
    assert_null(buckets_new(&limbo, 1, true));
    mem_fail_after(0);
    buckets_retire(buckets, &limbo);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_limbo, close_limbo)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_buckets_classic_bounds_are_inclusive),
        TEST(test_buckets_count_what_they_are_told),
        TEST(test_buckets_without_bounds),
        TEST(test_buckets_sums_stay_finite),
        TEST(test_buckets_native_values_are_in_their_buckets),
        TEST(test_buckets_small_values_are_zero),
        TEST(test_buckets_halve_their_resolution_past_the_ceiling),
        TEST(test_buckets_any_values_are_found_again),
        TEST(test_buckets_the_coarsest_holds_all_doubles),
        TEST(test_buckets_that_are_shared_do_not_change),
        TEST(test_buckets_are_copied_once_an_epoch),
        TEST(test_buckets_stamp_says_when_they_changed),
        TEST(test_buckets_retire_takes_none),
        TEST(test_buckets_bytes_grow_with_what_they_hold),
        TEST(test_buckets_without_memory_count_nothing),
        TEST(test_buckets_without_memory_have_no_exemplar),
    };
    return cmocka_run_group_tests_name("buckets", tests, NULL, NULL);
}
