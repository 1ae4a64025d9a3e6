#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "core/clock_watch.h"

#define SECOND UINT64_C(1000000000)
#define MS     UINT64_C(1000000)
#define START  (UINT64_C(1769860800) * SECOND)

static void test_clock_watch_lets_drift_pass_and_counts_steps(void **state)
{
    (void)state;
    static const struct {
        uint64_t passed_ns; /* since the start and the first look */
        int64_t drift_ns;   /* what the wall clock gained */
        double step;        /* 0: none */
    } rows[] = {
        {0, 0, 0},
        {10 * SECOND, 0, 0},
        {10 * SECOND, 510 * (int64_t)MS, 0},
        {10 * SECOND, 511 * (int64_t)MS, 0.511},
        {10 * SECOND, -510 * (int64_t)MS, 0},
        {10 * SECOND, -511 * (int64_t)MS, -0.511},
        {1000 * SECOND, 1500 * (int64_t)MS, 0},
        {1000 * SECOND, 1501 * (int64_t)MS, 1.501},
        {SECOND, 86400 * (int64_t)SECOND, 86400},
        {SECOND, -86400 * (int64_t)SECOND, -86400},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct clock_watch watch = {0};
        assert_false(clock_watch_look(&watch, SECOND, START));
        bool stepped = clock_watch_look(&watch, SECOND + rows[i].passed_ns,
                                        START + rows[i].passed_ns + (uint64_t)rows[i].drift_ns);
        assert_int_equal(stepped, rows[i].step != 0);
        assert_int_equal(watch.steps, rows[i].step != 0 ? 1 : 0);
        assert_true(watch.step_seconds == rows[i].step);
    }
}

/* Each step is one, whatever was before it; and what was set stays set. */
static void test_clock_watch_goes_on_from_what_it_saw(void **state)
{
    (void)state;
    struct clock_watch watch = {0};
    uint64_t mono = SECOND;
    uint64_t wall = START;
    assert_false(clock_watch_look(&watch, mono, wall));
    for (uint64_t i = 1; i <= 5; i++) {
        wall += 3600 * SECOND;
        assert_true(clock_watch_look(&watch, mono, wall));
        assert_int_equal(watch.steps, i);
        for (int k = 0; k < 10; k++) {
            mono += SECOND;
            wall += SECOND;
            assert_false(clock_watch_look(&watch, mono, wall));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_watch_lets_drift_pass_and_counts_steps),
        cmocka_unit_test(test_clock_watch_goes_on_from_what_it_saw),
    };
    return cmocka_run_group_tests_name("clock_watch", tests, NULL, NULL);
}
