#include "core_helpers.h"

#include <stdlib.h>

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_family_keeps_a_copy_of_everything),
        TEST(test_family_may_have_nothing_but_a_name),
        TEST(test_family_without_memory),
        TEST(test_family_types_follow_operations),
        TEST(test_family_usual_bounds_ascend),
    };
    return cmocka_run_group_tests_name("family", tests, NULL, NULL);
}
