#include "core_helpers.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "mem_fault.h"
#include "render/otlp_histogram.h"

enum { LEN_MAX = 1 << 13 };

static struct otlp_histogram made; /* large */
static struct otlp_histogram later;

static void make(int schema, struct form_run positive, struct form_run negative,
                 struct otlp_histogram *ret)
{
    struct form_native native = {.schema = schema,
                                 .zero_threshold = 0x1p-128,
                                 .zero = 5,
                                 .positive = positive,
                                 .negative = negative};
    struct form_histogram form = {.count = 5, .sum = 1.5, .native = &native};
    for (uint32_t i = 0; i < positive.len; i++) {
        form.count += positive.counts[i];
    }
    for (uint32_t i = 0; i < negative.len; i++) {
        form.count += negative.counts[i];
    }
    otlp_histogram_make(&form, true, ret);
}

/* The upper edge of Prometheus' bucket i of a schema is 2^(i / 2^schema), of OTLP's 2^((i+1) / 2^scale):
 * where the one lies, by the edges alone. */
static int32_t wanted_index(int32_t index, int schema, int scale)
{
    return (int32_t)ceil(ldexp(index, scale - schema)) - 1;
}

static void must_hold(const struct otlp_side *side, const struct form_run *run, int schema,
                      int scale)
{
    static uint64_t counts[LEN_MAX];
    uint64_t total = 0;
    memset(counts, 0, sizeof counts);
    assert_true(side->len <= OTLP_BUCKETS_MAX);
    for (uint32_t i = 0; i < run->len; i++) {
        total += run->counts[i];
        if (run->counts[i] > 0) {
            int32_t at = wanted_index(run->first + (int32_t)i, schema, scale) - side->offset;
            assert_true(at >= 0 && (uint32_t)at < side->len);
            counts[at] += run->counts[i];
        }
    }
    assert_true((side->len == 0) == (total == 0));
    for (uint32_t i = 0; i < side->len; i++) {
        assert_int_equal(side->counts[i], counts[i]);
    }
    if (side->len > 0) {
        assert_true(side->counts[0] > 0 && side->counts[side->len - 1] > 0);
    }
}

/* Buckets from the first to the last that is not empty, at a scale. */
static int32_t spread(const struct form_run *run, int schema, int scale)
{
    int32_t first = INT32_MAX;
    int32_t last = INT32_MIN;
    for (uint32_t i = 0; i < run->len; i++) {
        int32_t index = wanted_index(run->first + (int32_t)i, schema, scale);
        first = run->counts[i] > 0 && index < first ? index : first;
        last = run->counts[i] > 0 && index > last ? index : last;
    }
    return last < first ? 0 : last - first + 1;
}

/* Nothing is lost, in as fine a scale as the ceiling permits. */
static void must_make(int schema, struct form_run positive, struct form_run negative)
{
    make(schema, positive, negative, &made);
    assert_true(made.exponential && made.scale <= schema);
    must_hold(&made.positive, &positive, schema, made.scale);
    must_hold(&made.negative, &negative, schema, made.scale);
    assert_int_equal(made.zero, 5);
    assert_true(made.zero_threshold == 0x1p-128);
    assert_true(made.scale == schema ||
                spread(&positive, schema, made.scale + 1) > OTLP_BUCKETS_MAX ||
                spread(&negative, schema, made.scale + 1) > OTLP_BUCKETS_MAX);
}

static void test_otlp_histogram_scale_falls_where_buckets_are_too_many(void **state)
{
    (void)state;
    static uint64_t counts[LEN_MAX];
    static const struct {
        uint32_t from, to; /* filled buckets at the ends of a run */
        int32_t first;     /* number of the run's first bucket */
        int scale;         /* of schema 7 */
    } facts[] = {
        {0, 0, 1, 7},        {0, 159, 1, 7},      {0, 160, 1, 6}, {10, 169, 1, 7},
        {10, 170, 1, 6},     {0, 159, -80, 7},    {0, 318, 1, 6}, {0, 319, 1, 6},
        {0, 320, 1, 5},      {0, 319, 2, 5},      {0, 318, 2, 6}, {0, 319, -159, 6},
        {0, 7679, -3840, 1}, {0, 8191, -4095, 1},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        memset(counts, 0, sizeof counts);
        counts[facts[i].from] = 3;
        counts[facts[i].to] = 4;
        struct form_run run = {facts[i].first, LEN_MAX, counts};
        must_make(7, run, (struct form_run){0});
        assert_int_equal(made.scale, facts[i].scale);
        must_make(7, (struct form_run){0}, run);
        assert_int_equal(made.scale, facts[i].scale);
    }
    must_make(7, (struct form_run){0}, (struct form_run){0});
    assert_int_equal(made.scale, 7);
}

static void fill_randomly(struct random *random, uint64_t *counts, uint32_t len)
{
    uint64_t rarity = 1 + random_below(random, 200);
    for (uint32_t i = 0; i < len; i++) {
        counts[i] += random_below(random, rarity) == 0 ? random_below(random, 1000) : 0;
    }
}

static struct form_run random_run(struct random *random, uint64_t *counts)
{
    uint32_t len = (uint32_t)random_below(random, random_below(random, 2) == 0 ? 200 : LEN_MAX);
    memset(counts, 0, LEN_MAX * sizeof *counts);
    fill_randomly(random, counts, len);
    return (struct form_run){(int32_t)random_below(random, 2000) - 1000, len, counts};
}

static void test_otlp_histogram_loses_nothing(void **state)
{
    (void)state;
    static uint64_t positive[LEN_MAX];
    static uint64_t negative[LEN_MAX];
    struct random random = random_start("otlp histogram");
    for (unsigned round = 0; round < 500; round++) {
        int schema = (int)random_below(&random, 13) - 4;
        must_make(schema, random_run(&random, positive), random_run(&random, negative));
    }
}

static void test_otlp_histogram_has_no_sum_of_negative_values(void **state)
{
    (void)state;
    static const uint64_t counts[] = {2, 1};
    struct form_run run = {1, 1, counts};
    make(3, run, (struct form_run){0}, &made);
    assert_true(made.has_sum && made.sum == 1.5);
    make(3, run, run, &made);
    assert_false(made.has_sum);
    struct form_bound bounds[] = {{.bound = 1}};
    struct form_histogram classic = {
        .bounds = bounds, .bound_count = 1, .counts = counts, .sum = -1};
    otlp_histogram_make(&classic, false, &made);
    assert_false(made.has_sum || made.exponential);
    classic.sum = 0;
    otlp_histogram_make(&classic, false, &made);
    assert_true(made.has_sum);
    assert_int_equal(made.classic[0], 2);
    assert_int_equal(made.classic[1], 1);
}

/* --- states ------------------------------------------------------------------------------------ */

/* What was kept, and what is left when it is taken away again, is the whole. */
static void must_add_up(const struct otlp_side *left, const struct form_run *before,
                        const struct form_run *now, int schema, int scale)
{
    static uint64_t difference[LEN_MAX];
    for (uint32_t i = 0; i < now->len; i++) {
        difference[i] = now->counts[i] - (i < before->len ? before->counts[i] : 0);
    }
    struct form_run run = {now->first, now->len, difference};
    must_hold(left, &run, schema, scale);
}

static void test_otlp_histogram_subtracts_what_was_there(void **state)
{
    (void)state;
    static uint64_t before[2][LEN_MAX];
    static uint64_t now[2][LEN_MAX];
    struct random random = random_start("otlp difference");
    for (unsigned round = 0; round < 300; round++) {
        int schema = (int)random_below(&random, 8);
        struct form_run was[2] = {random_run(&random, before[0]), random_run(&random, before[1])};
        struct form_run is[2];
        for (unsigned side = 0; side < 2; side++) {
            uint32_t more = (uint32_t)random_below(&random, LEN_MAX - was[side].len + 1);
            memcpy(now[side], before[side], sizeof now[side]);
            is[side] = (struct form_run){was[side].first, was[side].len + more, now[side]};
            fill_randomly(&random, now[side], is[side].len);
        }
        make(schema, was[0], was[1], &made);
        make(schema, is[0], is[1], &later);
        struct otlp_state *kept = otlp_histogram_keep(&made);
        assert_non_null(kept);
        assert_true(later.scale <= made.scale);
        uint64_t count = later.count - made.count;
        otlp_histogram_subtract(&later, kept);
        assert_int_equal(later.count, count);
        assert_int_equal(later.zero, 0);
        must_add_up(&later.positive, &was[0], &is[0], schema, later.scale);
        must_add_up(&later.negative, &was[1], &is[1], schema, later.scale);
        mem_free(kept);
    }
}

static void test_otlp_histogram_subtracts_classic_buckets(void **state)
{
    (void)state;
    uint64_t counts[FAMILY_BOUNDS_MAX + 1] = {0};
    struct form_bound bounds[FAMILY_BOUNDS_MAX + 1];
    for (unsigned i = 0; i < FAMILY_BOUNDS_MAX; i++) {
        bounds[i].bound = i;
    }
    struct form_histogram form = {.bounds = bounds,
                                  .bound_count = FAMILY_BOUNDS_MAX,
                                  .counts = counts,
                                  .count = 7,
                                  .sum = 2.5};
    counts[0] = 3;
    counts[FAMILY_BOUNDS_MAX] = 4;
    otlp_histogram_make(&form, false, &made);
    struct otlp_state *kept = otlp_histogram_keep(&made);
    assert_non_null(kept);
    counts[FAMILY_BOUNDS_MAX] = 6;
    form.count = 9;
    form.sum = 10;
    otlp_histogram_make(&form, false, &later);
    otlp_histogram_subtract(&later, kept);
    assert_int_equal(later.count, 2);
    assert_true(later.sum == 7.5);
    assert_int_equal(later.classic[0], 0);
    assert_int_equal(later.classic[FAMILY_BOUNDS_MAX], 2);
    mem_free(kept);
    mem_fail_after(1);
    assert_null(otlp_histogram_keep(&made));
    mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_histogram_scale_falls_where_buckets_are_too_many),
        cmocka_unit_test(test_otlp_histogram_loses_nothing),
        cmocka_unit_test(test_otlp_histogram_has_no_sum_of_negative_values),
        cmocka_unit_test(test_otlp_histogram_subtracts_what_was_there),
        cmocka_unit_test(test_otlp_histogram_subtracts_classic_buckets),
    };
    return cmocka_run_group_tests_name("otlp_histogram", tests, note_memory, must_be_clean);
}
