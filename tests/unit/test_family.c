#include "core_helpers.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core/buckets.h"
#include "core/family.h"
#include "mem_fault.h"

static void test_family_keeps_a_copy_of_everything(void **state)
{
    (void)state;
    char name[] = "name";
    char source[] = "na.me";
    char help[] = "Helps.";
    char unit[] = "seconds";
    char label[] = "label";
    struct str labels[] = {{label, 5}, {"other", 5}};
    double bounds[] = {1, 2, 3};
    struct family_shape shape = {.name = str_of(name),
                                 .source = str_of(source),
                                 .help = str_of(help),
                                 .unit = str_of(unit),
                                 .type = FAMILY_HISTOGRAM,
                                 .aggregation = AGGREGATION_MAX,
                                 .declared = true,
                                 .native = true,
                                 .label_count = 2,
                                 .labels = labels,
                                 .bound_count = 3,
                                 .bounds = bounds,
                                 .expire_seconds = 9};
    struct family *family = family_new(&shape, 4);
    assert_non_null(family);
    memset(name, 'x', 4);
    memset(source, 'x', 5);
    memset(help, 'x', 6);
    memset(unit, 'x', 7);
    memset(label, 'x', 5);
    memset(labels, 0, sizeof labels);
    memset(bounds, 0, sizeof bounds);
    const struct family_shape *kept = &family->shape;
    assert_int_equal(family->number, 4);
    assert_true(str_is(kept->name, "name") && str_is(kept->source, "na.me"));
    assert_true(str_is(kept->help, "Helps.") && str_is(kept->unit, "seconds"));
    assert_true(str_is(kept->labels[0], "label") && str_is(kept->labels[1], "other"));
    assert_true(kept->bounds[0] == 1 && kept->bounds[2] == 3);
    assert_true(kept->declared && kept->native && kept->aggregation == AGGREGATION_MAX);
    assert_int_equal(kept->expire_seconds, 9);
    family_free(family);
}

static void test_family_may_have_nothing_but_a_name(void **state)
{
    (void)state;
    struct family_shape shape = {.name = STR_LITERAL("n")};
    struct family *family = family_new(&shape, 0);
    assert_non_null(family);
    assert_true(str_is(family->shape.name, "n"));
    assert_int_equal(family->shape.help.len + family->shape.unit.len + family->shape.source.len, 0);
    family_free(family);
    family_free(NULL);
}

static void test_family_without_memory(void **state)
{
    (void)state;
    struct family_shape shape = {.name = STR_LITERAL("n")};
    mem_fail_after(1);
    assert_null(family_new(&shape, 0));
    mem_fail_after(0);
}

static void test_family_types_follow_operations(void **state)
{
    (void)state;
    assert_int_equal(family_type_of(METRIC_COUNT), FAMILY_COUNTER);
    assert_int_equal(family_type_of(METRIC_SET), FAMILY_GAUGE);
    assert_int_equal(family_type_of(METRIC_ADD), FAMILY_GAUGE);
    assert_int_equal(family_type_of(METRIC_OBSERVE), FAMILY_HISTOGRAM);
    assert_int_equal(family_type_of(METRIC_INFO), FAMILY_INFO);
    assert_int_equal(family_type_of(METRIC_MEMBER), FAMILY_SET);
}

static void test_family_usual_bounds_ascend(void **state)
{
    (void)state;
    static const char *const units[] = {"", "seconds", "bytes", "celsius"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const struct family_bounds *bounds = family_usual_bounds(str_of(units[i]));
        assert_in_range(bounds->count, 1, FAMILY_BOUNDS_MAX);
        for (uint32_t at = 1; at < bounds->count; at++) {
            assert_true(bounds->bound[at - 1] < bounds->bound[at]);
        }
    }
    assert_true(family_usual_bounds(STR_LITERAL("seconds"))->bound[0] == .0005);
    assert_true(family_usual_bounds(STR_LITERAL("bytes"))->bound[11] == 1073741824);
}

/* --- the classic bucket of a value ------------------------------------------------------------- */

static void must_agree(const struct family *family, double value)
{
    const struct family_shape *shape = &family->shape;
    unsigned expect = buckets_find(shape->bounds, shape->bound_count, value);
    unsigned bucket = family_bucket(family, value);
    if (bucket != expect) {
        fail_msg("%a is in bucket %u, not in %u", value, expect, bucket);
    }
}

/* At each bound, beside it, and at each power of two. */
static void check_bounds(const double *bounds, uint32_t count, struct random *random)
{
    struct family_shape shape = {
        .name = STR_LITERAL("h"), .type = FAMILY_HISTOGRAM, .bounds = bounds, .bound_count = count};
    struct family *family = family_new(&shape, 0);
    assert_non_null(family);
    for (uint32_t i = 0; i < count; i++) {
        assert_true(family->shape.bounds[i] == bounds[i]);
        must_agree(family, bounds[i]);
        must_agree(family, nextafter(bounds[i], -DBL_MAX));
        must_agree(family, nextafter(bounds[i], DBL_MAX));
    }
    for (int exponent = -1074; exponent < DBL_MAX_EXP; exponent++) {
        must_agree(family, ldexp(1, exponent));
        must_agree(family, -ldexp(1, exponent));
        must_agree(family, ldexp(1 + random_unit(random), exponent));
    }
    must_agree(family, 0.0);
    must_agree(family, -0.0);
    must_agree(family, DBL_MAX);
    must_agree(family, -DBL_MAX);
    family_free(family);
}

static void test_family_usual_bounds_find_their_buckets(void **state)
{
    (void)state;
    struct random random = random_start("usual");
    static const char *const units[] = {"seconds", "bytes", ""};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        const struct family_bounds *bounds = family_usual_bounds(str_of(units[i]));
        check_bounds(bounds->bound, bounds->count, &random);
    }
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void test_family_any_bounds_find_their_buckets(void **state)
{
    (void)state;
    struct random random = random_start("any");
    double bounds[FAMILY_BOUNDS_MAX];
    check_bounds(bounds, 0, &random);
    for (int i = 0; i < 100; i++) {
        uint32_t count = 1 + (uint32_t)random_below(&random, FAMILY_BOUNDS_MAX);
        double spread = random_unit(&random) * 200; /* from many to an octave to few at all */
        for (uint32_t k = 0; k < count; k++) {
            double size = exp2((random_unit(&random) - 0.5) * spread);
            bounds[k] = random_below(&random, 4) == 0 ? -size : size;
        }
        qsort(bounds, count, sizeof *bounds, compare);
        check_bounds(bounds, count, &random);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_family_keeps_a_copy_of_everything),
        TEST(test_family_may_have_nothing_but_a_name),
        TEST(test_family_without_memory),
        TEST(test_family_types_follow_operations),
        TEST(test_family_usual_bounds_ascend),
        TEST(test_family_usual_bounds_find_their_buckets),
        TEST(test_family_any_bounds_find_their_buckets),
    };
    return cmocka_run_group_tests_name("family", tests, NULL, NULL);
}
