#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/counters.h"

static void must_fall_into(uint64_t ns, unsigned bucket)
{
    struct timing timing = {.count = 0};
    timing_add(&timing, ns);
    for (unsigned i = 0; i <= TIMING_BOUNDS; i++) {
        assert_int_equal(timing.bucket[i], i == bucket);
    }
}

static void test_counters_timing_bounds_belong_to_their_bucket(void **state)
{
    (void)state;
    must_fall_into(0, 0);
    for (unsigned i = 0; i < TIMING_BOUNDS; i++) {
        must_fall_into(timing_bounds_ns[i], i);
        must_fall_into(timing_bounds_ns[i] + 1, i + 1);
    }
    must_fall_into(UINT64_MAX, TIMING_BOUNDS);
}

static void test_counters_timing_adds_up(void **state)
{
    (void)state;
    struct timing timing = {.count = 0};
    timing_add(&timing, 5);
    timing_add(&timing, 700000);
    timing_add(&timing, 3);
    assert_int_equal(timing.count, 3);
    assert_int_equal(timing.sum_ns, 700008);
    assert_int_equal(timing.max_ns, 700000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters_timing_bounds_belong_to_their_bucket),
        cmocka_unit_test(test_counters_timing_adds_up),
    };
    return cmocka_run_group_tests_name("counters", tests, NULL, NULL);
}
