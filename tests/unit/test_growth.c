#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/growth.h"

static void test_growth_is_of_the_look_that_finds_it(void **state)
{
    (void)state;
    struct growth growth = {0};
    struct growth_counts now = {.rejected = {[ERR_ROW_RANGE] = 3}, .lost = 2};
    growth_begin(&growth, &now);
    growth_look(&growth, &now, 10);
    assert_int_equal(growth.grown_ns.rejected[ERR_ROW_RANGE], 0); /* of an earlier life */
    assert_int_equal(growth.grown_ns.lost, 0);
    now.rejected[ERR_ROW_RANGE]++;
    now.counters[COUNTER_UNKNOWN_KEYS] = 1;
    growth_look(&growth, &now, 20);
    now.dropped = 1;
    growth_look(&growth, &now, 30);
    assert_int_equal(growth.grown_ns.rejected[ERR_ROW_RANGE], 20);
    assert_int_equal(growth.grown_ns.rejected[ERR_ROW_SYSTEM], 0);
    assert_int_equal(growth.grown_ns.counters[COUNTER_UNKNOWN_KEYS], 20);
    assert_int_equal(growth.grown_ns.dropped, 30);
    assert_int_equal(growth.grown_ns.lost, 0);
    now.lost = 1; /* less is no growth, and more than that is */
    growth_look(&growth, &now, 40);
    assert_int_equal(growth.grown_ns.lost, 0);
    now.lost = 2;
    growth_look(&growth, &now, 50);
    assert_int_equal(growth.grown_ns.lost, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth_is_of_the_look_that_finds_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
