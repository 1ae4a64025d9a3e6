#include "core_helpers.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef TEST_WITH_GSL
#include <gsl/gsl_histogram.h>
#endif

#include "base/err.h"
#include "mem_fault.h"

/* --- where a value belongs --------------------------------------------------------------------- */

/* An oracle without floating point: whether mantissa / 2^52 <= 2^(step / 128), by raising both to the
 * 128th power, mantissa^128 <= 2^(52 * 128 + step). Numbers are in words of 32 bits, lowest first. */
enum { WORDS = 256 };

struct big {
    uint32_t word[WORDS];
    size_t len;
};

static void square(struct big *number)
{
    uint32_t out[WORDS] = {0};
    for (size_t i = 0; i < number->len; i++) {
        uint64_t carry = 0;
        for (size_t k = 0; k < number->len || carry != 0; k++) {
            assert_true(i + k < WORDS);
            uint64_t factor = k < number->len ? number->word[k] : 0;
            uint64_t sum = number->word[i] * factor + out[i + k] + carry;
            out[i + k] = (uint32_t)sum;
            carry = sum >> 32;
        }
    }
    memcpy(number->word, out, sizeof out);
    number->len *= 2;
    while (number->len > 0 && number->word[number->len - 1] == 0) {
        number->len--;
    }
}

static bool is_at_most_step(uint64_t mantissa, unsigned step)
{
    struct big power = {{(uint32_t)mantissa, (uint32_t)(mantissa >> 32)}, 2};
    for (int i = 0; i < 7; i++) {
        square(&power);
    }
    unsigned bit = 52 * 128 + step;
    size_t top = bit / 32;
    if (power.len != top + 1) {
        return power.len < top + 1;
    }
    if (power.word[top] != UINT32_C(1) << bit % 32) {
        return power.word[top] < UINT32_C(1) << bit % 32;
    }
    for (size_t i = 0; i < top; i++) {
        if (power.word[i] != 0) {
            return false;
        }
    }
    return true;
}

/* The largest mantissa, with its leading bit, that is at most 2^(step / 128). */
static uint64_t boundary_of(unsigned step)
{
    uint64_t low = UINT64_C(1) << 52;
    uint64_t high = UINT64_C(1) << 53;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (is_at_most_step(middle, step)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void must_lie(double value, int position)
{
    int got = hist_position(value);
    if (got != position) {
        fail_msg("%a lies at %d, not %d", value, got, position);
    }
}

static int clamp(int position)
{
    return position < 0 ? HIST_ZERO : position < HIST_BUCKETS ? position : HIST_BUCKETS - 1;
}

static void test_hist_position_is_right_at_every_boundary(void **state)
{
    (void)state;
    for (unsigned step = 0; step < HIST_PER_OCTAVE; step++) {
        uint64_t mantissa = boundary_of(step);
        for (int exponent = HIST_EXPONENT_MIN - 2; exponent <= HIST_EXPONENT_MAX + 1; exponent++) {
            double closes = ldexp((double)mantissa, exponent - 52);
            double opens = nextafter(closes, INFINITY);
            int position = (exponent - HIST_EXPONENT_MIN) * HIST_PER_OCTAVE + (int)step - 1;
            must_lie(nextafter(closes, 0), clamp(position));
            must_lie(closes, clamp(position));
            must_lie(opens, clamp(position + 1));
            must_lie(nextafter(opens, INFINITY), clamp(position + 1));
        }
    }
}

static int position_by_log2(double value)
{
    int exponent;
    long double mantissa = frexpl((long double)value, &exponent) * 2; /* 1 to 2 */
    long double step = log2l(mantissa) * HIST_PER_OCTAVE;
    return clamp((exponent - 1 - HIST_EXPONENT_MIN) * HIST_PER_OCTAVE + (int)ceill(step) - 1);
}

static void test_hist_position_is_that_of_the_logarithm(void **state)
{
    (void)state;
    struct random random = random_start("position");
    for (int i = 0; i < 3000000; i++) {
        /* Every exponent there is a bucket for, and some beyond. */
        uint64_t exponent = 1023 - 34 + random_below(&random, 68);
        uint64_t bits = exponent << 52 | random_next(&random) >> 12;
        double value;
        memcpy(&value, &bits, sizeof value);
        must_lie(value, position_by_log2(value));
    }
}

static void test_hist_position_clamps_what_no_bucket_holds(void **state)
{
    (void)state;
    must_lie(0, HIST_ZERO);
    must_lie(-0.0, HIST_ZERO);
    must_lie(5e-324, HIST_ZERO);
    must_lie(DBL_MIN, HIST_ZERO);
    must_lie(nextafter(DBL_MIN, 0), HIST_ZERO);
    must_lie(0x1p-30, HIST_ZERO);
    must_lie(nextafter(0x1p-30, 1), 0);
    must_lie(1e-9, position_by_log2(1e-9));
    must_lie(1, 30 * HIST_PER_OCTAVE - 1);
    must_lie(nextafter(1, 2), 30 * HIST_PER_OCTAVE);
    must_lie(0x1p30, HIST_BUCKETS - 1);
    must_lie(nextafter(0x1p30, INFINITY), HIST_BUCKETS - 1);
    must_lie(1e15, HIST_BUCKETS - 1);
    must_lie(DBL_MAX, HIST_BUCKETS - 1);
    must_lie(INFINITY, HIST_BUCKETS - 1);
    assert_true(RECORD_MS_MAX * 1e-3 < 0x1p30); /* no latency needs clamping */
}

static void test_hist_lower_bound_is_a_power_of_two(void **state)
{
    (void)state;
    assert_true(hist_lower_bound(0) == 0x1p-30);
    assert_true(hist_lower_bound(HIST_BUCKETS) == 0x1p30);
    for (int position = 0; position <= HIST_BUCKETS; position++) {
        double wanted = (double)exp2l((long double)(position + HIST_INDEX_MIN) / HIST_PER_OCTAVE);
        must_be_near(hist_lower_bound(position), wanted, 2 * DBL_EPSILON);
    }
}

/* --- counting ---------------------------------------------------------------------------------- */

struct shelf {
    struct hist hist;
    struct limbo limbo;
};

static void shelf_open(struct shelf *shelf)
{
    shelf->hist = (struct hist){0};
    limbo_init(&shelf->limbo);
}

static void shelf_close(struct shelf *shelf)
{
    hist_retire(&shelf->hist, &shelf->limbo);
    limbo_fini(&shelf->limbo);
}

static void must_add(struct shelf *shelf, int position, uint64_t weight)
{
    if (weight == 1) {
        assert_int_equal(hist_add(&shelf->hist, &shelf->limbo, position), 0);
    } else {
        assert_int_equal(hist_add_weighted(&shelf->hist, &shelf->limbo, position, weight), 0);
    }
}

static void test_hist_empty_holds_nothing(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    assert_int_equal(hist_total(&shelf.hist), 0);
    assert_int_equal(hist_bytes(&shelf.hist), 0);
    assert_int_equal(hist_count_at(&shelf.hist, 0), 0);
    assert_int_equal(hist_count_at(&shelf.hist, HIST_BUCKETS - 1), 0);
    int end;
    assert_int_equal(hist_range(&shelf.hist, &end), HIST_BUCKETS);
    assert_int_equal(end, 0);
    struct hist copy;
    hist_unshare(&shelf.hist, &copy);
    assert_int_equal(hist_total(&copy), 0);
    assert_int_equal(mem_count_live(), live_before);
    shelf_close(&shelf);
}

static void test_hist_counts_like_a_flat_array(void **state)
{
    (void)state;
    struct random random = random_start("flat");
    static uint64_t flat[HIST_BUCKETS];
    static uint64_t summed[HIST_BUCKETS];
    for (int round = 0; round < 20; round++) {
        struct shelf shelf;
        shelf_open(&shelf);
        memset(flat, 0, sizeof flat);
        memset(summed, 0, sizeof summed);
        uint64_t zero = 0;
        uint64_t total = 0;
        /* Wide and narrow, growing to both sides. */
        uint64_t spread = 1 + random_below(&random, HIST_BUCKETS);
        uint64_t low = random_below(&random, HIST_BUCKETS - spread + 1);
        for (int i = 0; i < 5000; i++) {
            int position = (int)(low + random_below(&random, spread));
            uint64_t weight = random_below(&random, 8) == 0 ? random_next(&random) >> 20 : 1;
            position = random_below(&random, 100) == 0 ? HIST_ZERO : position;
            must_add(&shelf, position, weight);
            *(position == HIST_ZERO ? &zero : &flat[position]) += weight;
            total += weight;
        }
        for (int position = 0; position < HIST_BUCKETS; position++) {
            assert_true(hist_count_at(&shelf.hist, position) == flat[position]);
        }
        hist_sum_into(&shelf.hist, summed);
        assert_memory_equal(summed, flat, sizeof flat);
        int end;
        int first = hist_range(&shelf.hist, &end);
        for (int position = 0; position < HIST_BUCKETS; position++) {
            assert_true(flat[position] == 0 || (position >= first && position < end));
        }
        assert_true(shelf.hist.zero == zero);
        assert_true(hist_total(&shelf.hist) == total);
        shelf_close(&shelf);
    }
}

static void test_hist_counts_beyond_32_bits(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    must_add(&shelf, 100, UINT32_MAX);
    assert_true(hist_count_at(&shelf.hist, 100) == UINT32_MAX);
    size_t bytes = hist_bytes(&shelf.hist);
    must_add(&shelf, 100, 1); /* the short cut gives way */
    assert_true(hist_count_at(&shelf.hist, 100) == UINT64_C(1) << 32);
    assert_true(hist_bytes(&shelf.hist) > bytes);
    must_add(&shelf, 100, 1);
    assert_true(hist_count_at(&shelf.hist, 100) == (UINT64_C(1) << 32) + 1);
    must_add(&shelf, 100, (UINT64_C(1) << 40) + UINT32_MAX - 1);
    must_add(&shelf, 100, 1);
    assert_true(hist_count_at(&shelf.hist, 100) == (UINT64_C(1) << 40) + (UINT64_C(2) << 32));
    must_add(&shelf, 101, 7); /* a neighbour is not touched */
    assert_true(hist_count_at(&shelf.hist, 101) == 7);
    must_add(&shelf, HIST_ZERO, UINT64_C(1) << 40);
    assert_true(hist_total(&shelf.hist) == (UINT64_C(2) << 40) + (UINT64_C(2) << 32) + 7);
    shelf_close(&shelf);
}

static void test_hist_memory_is_small_and_has_a_ceiling(void **state)
{
    (void)state;
    struct random random = random_start("memory");
    struct shelf shelf;
    shelf_open(&shelf);
    for (int i = 0; i < 10000; i++) {
        double ms = 4 * exp(0.5 * random_normal(&random));
        must_add(&shelf, hist_position(ms * 1e-3), 1);
    }
    assert_in_range(hist_bytes(&shelf.hist), 1, 5000); /* a normal spread: a few kB */
    for (int position = 0; position < HIST_BUCKETS; position++) {
        must_add(&shelf, position, UINT64_C(1) << 33);
    }
    assert_in_range(hist_bytes(&shelf.hist), 1, 100000); /* the worst there is */
    size_t bytes = hist_bytes(&shelf.hist);
    for (int position = 0; position < HIST_BUCKETS; position++) {
        must_add(&shelf, position, 1);
    }
    assert_int_equal(hist_bytes(&shelf.hist), bytes);
    shelf_close(&shelf);
}

/* --- sharing ----------------------------------------------------------------------------------- */

static void fill(struct shelf *shelf, struct random *random, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t weight = random_below(random, 16) == 0 ? random_next(random) >> 24 : 1;
        must_add(shelf, (int)random_below(random, HIST_BUCKETS), weight);
    }
    must_add(shelf, HIST_ZERO, 3);
}

static void test_hist_merge_is_the_sum(void **state)
{
    (void)state;
    struct random random = random_start("merge");
    for (int round = 0; round < 50; round++) {
        struct shelf a;
        struct shelf b;
        shelf_open(&a);
        fill(&a, &random, (int)random_below(&random, 60));
        shelf_open(&b);
        fill(&b, &random, (int)random_below(&random, 60));
        static uint64_t wanted[HIST_BUCKETS];
        static uint64_t got[HIST_BUCKETS];
        memset(wanted, 0, sizeof wanted);
        memset(got, 0, sizeof got);
        hist_sum_into(&a.hist, wanted);
        hist_sum_into(&b.hist, wanted);
        uint64_t total = hist_total(&a.hist) + hist_total(&b.hist);
        assert_int_equal(hist_merge(&a.hist, &b.hist, &a.limbo), 0);
        hist_sum_into(&a.hist, got);
        assert_memory_equal(got, wanted, sizeof got);
        assert_true(a.hist.zero == 6);
        assert_true(hist_total(&a.hist) == total);
        shelf_close(&b);
        shelf_close(&a);
    }
}

static void test_hist_unshared_copy_leaves_the_old_one_alone(void **state)
{
    (void)state;
    struct random random = random_start("unshare");
    struct shelf shelf;
    shelf_open(&shelf);
    fill(&shelf, &random, 40);
    uint64_t epoch;
    assert_int_equal(limbo_freeze(&shelf.limbo, &epoch), 0);
    static uint64_t before[HIST_BUCKETS];
    static uint64_t after[HIST_BUCKETS];
    memset(before, 0, sizeof before);
    memset(after, 0, sizeof after);
    struct hist old = shelf.hist;
    hist_sum_into(&old, before);
    hist_unshare(&old, &shelf.hist);
    fill(&shelf, &random, 4000); /* every chunk, and wider */
    hist_sum_into(&old, after);
    assert_memory_equal(before, after, sizeof before);
    assert_true(old.zero == 3);
    assert_true(shelf.hist.zero == 6);
    /* Also when the live one goes before the reader does. */
    hist_retire(&shelf.hist, &shelf.limbo);
    memset(after, 0, sizeof after);
    hist_sum_into(&old, after);
    assert_memory_equal(before, after, sizeof before);
    limbo_release(&shelf.limbo, epoch);
    assert_false(limbo_sweep(&shelf.limbo, SIZE_MAX));
    assert_int_equal(mem_count_live(), live_before);
}

static void test_hist_retiring_leaves_what_readers_see(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    must_add(&shelf, 5, 5);
    uint64_t epoch;
    assert_int_equal(limbo_freeze(&shelf.limbo, &epoch), 0);
    hist_retire(&shelf.hist, &shelf.limbo);
    assert_int_equal(hist_total(&shelf.hist),
                     5); /* a reader of the snapshot holds this very struct */
    limbo_release(&shelf.limbo, epoch);
    assert_false(limbo_sweep(&shelf.limbo, SIZE_MAX));
    assert_int_equal(mem_count_live(), live_before);
}

static void test_hist_without_memory_counts_nothing(void **state)
{
    (void)state;
    struct random random = random_start("no memory");
    for (size_t n = 1; n <= 2; n++) { /* chunk, carry */
        struct shelf shelf;
        shelf_open(&shelf);
        mem_fail_after(n);
        int err = hist_add_weighted(&shelf.hist, &shelf.limbo, 77, UINT64_C(1) << 40);
        mem_fail_after(0);
        assert_int_equal(err, ERR_NOMEM);
        assert_int_equal(hist_total(&shelf.hist), 0);
        must_add(&shelf, 77, 1);
        assert_int_equal(hist_total(&shelf.hist), 1);
        shelf_close(&shelf);
    }
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct shelf a;
        struct shelf b;
        shelf_open(&a);
        must_add(&a, 300, 1);
        shelf_open(&b);
        fill(&b, &random, 5);
        uint64_t total = hist_total(&b.hist);
        mem_fail_after(n);
        int err = hist_merge(&a.hist, &b.hist, &a.limbo);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        assert_true(hist_total(&a.hist) == (failed ? 1 : 1 + total));
        shelf_close(&b);
        shelf_close(&a);
    }
}

/* --- quantiles --------------------------------------------------------------------------------- */

enum { BIG_SET = 1000000 };

static int compare_figures(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

/* Every per mille from p50 to p99.9: the bucket that holds the rank is that of the exact figure, and
 * the middle of it is near enough. */
static void must_have_quantiles(struct random *random, enum shape shape, size_t count)
{
    double *figures = malloc(count * sizeof *figures);
    uint64_t *counts = calloc(HIST_BUCKETS, sizeof *counts);
    assert_true(figures != NULL && counts != NULL);
    struct shelf shelf;
    shelf_open(&shelf);
    for (size_t i = 0; i < count; i++) {
        figures[i] = random_shape(random, shape) * 1e-3;
        must_add(&shelf, hist_position(figures[i]), 1);
    }
    qsort(figures, count, sizeof *figures, compare_figures);
    hist_sum_into(&shelf.hist, counts);
    double got[QUANTILE_COUNT];
    profile_quantiles(counts, 0, HIST_BUCKETS, shelf.hist.zero, count, got);
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        double wanted = figures[(count * quantile_per_mille[q] + 999) / 1000 - 1];
        must_be_near(got[q], wanted, QUANTILE_TOLERANCE);
    }
    uint64_t seen = shelf.hist.zero;
    int position = -1;
    for (uint64_t per_mille = 500; per_mille <= 999; per_mille++) {
        uint64_t rank = (count * per_mille + 999) / 1000;
        while (seen < rank) {
            seen += counts[++position];
        }
        double wanted = figures[rank - 1];
        double low = hist_lower_bound(position);
        double high = hist_lower_bound(position + 1);
        assert_int_equal(position, hist_position(wanted));
        must_be_near(2 * low * high / (low + high), wanted, QUANTILE_TOLERANCE);
    }
    shelf_close(&shelf);
    free(counts);
    free(figures);
}

static void test_hist_quantiles_are_within_the_bound(void **state)
{
    (void)state;
    struct random random = random_start("quantiles");
    for (enum shape shape = 0; shape < SHAPE_COUNT; shape++) {
        const size_t counts[] = {1, 2, 19, 20, 21, 999, 1000, 1001, BIG_SET};
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            must_have_quantiles(&random, shape, counts[i]);
        }
    }
}

#ifdef TEST_WITH_GSL
/* The buckets and quantiles of another library (GNU Scientific Library) given the same bounds. */
static void must_agree_with_gsl(struct random *random, enum shape shape)
{
    enum { COUNT = 200000 };
    gsl_histogram *theirs = gsl_histogram_alloc(HIST_BUCKETS);
    gsl_histogram_pdf *inverse = gsl_histogram_pdf_alloc(HIST_BUCKETS);
    double *bounds = malloc((HIST_BUCKETS + 1) * sizeof *bounds);
    uint64_t *counts = calloc(HIST_BUCKETS, sizeof *counts);
    assert_true(theirs != NULL && inverse != NULL && bounds != NULL && counts != NULL);
    for (int position = 0; position <= HIST_BUCKETS; position++) {
        bounds[position] = hist_lower_bound(position);
    }
    assert_int_equal(gsl_histogram_set_ranges(theirs, bounds, HIST_BUCKETS + 1), 0);
    struct shelf shelf;
    shelf_open(&shelf);
    for (size_t i = 0; i < COUNT; i++) {
        double seconds = random_shape(random, shape) * 1e-3;
        must_add(&shelf, hist_position(seconds), 1);
        assert_int_equal(gsl_histogram_increment(theirs, seconds), 0);
    }
    hist_sum_into(&shelf.hist, counts);
    for (size_t position = 0; position < HIST_BUCKETS; position++) {
        assert_true((double)counts[position] == gsl_histogram_get(theirs, position));
    }
    double got[QUANTILE_COUNT];
    profile_quantiles(counts, 0, HIST_BUCKETS, 0, COUNT, got);
    assert_int_equal(gsl_histogram_pdf_init(inverse, theirs), 0);
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        /* Theirs lies anywhere in the bucket, ours in the middle. */
        double wanted = gsl_histogram_pdf_sample(inverse, quantile_per_mille[q] / 1000.0);
        must_be_near(got[q], wanted, QUANTILE_TOLERANCE);
    }
    shelf_close(&shelf);
    free(counts);
    free(bounds);
    gsl_histogram_pdf_free(inverse);
    gsl_histogram_free(theirs);
}

static void test_hist_agrees_with_another_library(void **state)
{
    (void)state;
    struct random random = random_start("another library");
    for (enum shape shape = 0; shape < SHAPE_COUNT; shape++) {
        must_agree_with_gsl(&random, shape);
    }
}
#else
static void test_hist_agrees_with_another_library(void **state)
{
    (void)state;
    skip(); /* built without gsl */
}
#endif

static void test_hist_quantiles_take_the_right_rank(void **state)
{
    (void)state;
    static uint64_t counts[HIST_BUCKETS];
    memset(counts, 0, sizeof counts);
    double got[QUANTILE_COUNT];
    double middle[4];
    for (int i = 0; i < 4; i++) {
        int position = 1000 + 10 * i;
        double low = hist_lower_bound(position);
        double high = hist_lower_bound(position + 1);
        middle[i] = 2 * low * high / (low + high);
    }
    /* Two samples: p50 is the first, all others the second. */
    counts[1000] = counts[1010] = 1;
    profile_quantiles(counts, 0, HIST_BUCKETS, 0, 2, got);
    assert_true(got[QUANTILE_50] == middle[0] && got[QUANTILE_90] == middle[1]);
    /* A thousand: p50 is the 500th, p999 the 999th. */
    counts[1000] = 500;
    counts[1010] = 400;
    counts[1020] = 99;
    counts[1030] = 1;
    profile_quantiles(counts, 0, HIST_BUCKETS, 0, 1000, got);
    assert_true(got[QUANTILE_50] == middle[0] && got[QUANTILE_90] == middle[1] &&
                got[QUANTILE_95] == middle[2] && got[QUANTILE_99] == middle[2] &&
                got[QUANTILE_999] == middle[2]);
    /* One more, and p50 is the 501st. */
    counts[1030] = 2;
    profile_quantiles(counts, 0, HIST_BUCKETS, 0, 1001, got);
    assert_true(got[QUANTILE_50] == middle[1] && got[QUANTILE_999] == middle[3]);
    /* Zeros come first. */
    profile_quantiles(counts, 1000, 1040, 1001, 2002, got);
    assert_true(got[QUANTILE_50] == 0 && got[QUANTILE_90] == middle[1]);
    memset(counts, 0, sizeof counts);
    profile_quantiles(counts, 0, 0, 10, 10, got);
    assert_true(got[QUANTILE_50] == 0 && got[QUANTILE_999] == 0);
    /* No product overflows. */
    counts[1000] = counts[1010] = UINT64_C(1) << 62;
    profile_quantiles(counts, 0, HIST_BUCKETS, 0, UINT64_C(1) << 63, got);
    assert_true(got[QUANTILE_50] == middle[0] && got[QUANTILE_999] == middle[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hist_position_is_right_at_every_boundary),
        TEST(test_hist_position_is_that_of_the_logarithm),
        TEST(test_hist_position_clamps_what_no_bucket_holds),
        TEST(test_hist_lower_bound_is_a_power_of_two),
        TEST(test_hist_empty_holds_nothing),
        TEST(test_hist_counts_like_a_flat_array),
        TEST(test_hist_counts_beyond_32_bits),
        TEST(test_hist_memory_is_small_and_has_a_ceiling),
        TEST(test_hist_merge_is_the_sum),
        TEST(test_hist_unshared_copy_leaves_the_old_one_alone),
        TEST(test_hist_retiring_leaves_what_readers_see),
        TEST(test_hist_without_memory_counts_nothing),
        TEST(test_hist_quantiles_are_within_the_bound),
        TEST(test_hist_agrees_with_another_library),
        TEST(test_hist_quantiles_take_the_right_rank),
    };
    return cmocka_run_group_tests_name("hist", tests, core_tables, NULL);
}
