#include "core_helpers.h"

#include "base/clock.h"
#include "io/probe/allowance.h"

static struct allowance allowance;
static uint64_t now_ns;

static int open_allowance(void **state)
{
    (void)state;
    now_ns = 7 * NS_PER_SECOND;
    allowance_init(&allowance, now_ns);
    return 0;
}

static void pass(double ms)
{
    now_ns += (uint64_t)(ms * (double)NS_PER_MS);
    allowance_earn(&allowance, now_ns);
}

static void test_allowance_is_one_in_a_hundred(void **state)
{
    (void)state;
    allowance_spend(&allowance, ALLOWANCE_SAVED_MS);
    assert_false(allowance_affords(&allowance, 0.001));
    pass(1000);
    must_be_near(allowance.saved_ms, 10, 1e-9);
    assert_true(allowance_affords(&allowance, 9.999));
    assert_false(allowance_affords(&allowance, 10.001));
    allowance_spend(&allowance, 30); /* it took longer than was thought: it is owed */
    assert_false(allowance_affords(&allowance, 0));
    pass(2001);
    assert_true(allowance_affords(&allowance, 0));
}

static void test_allowance_saves_up_to_a_ceiling(void **state)
{
    (void)state;
    pass(3600e3);
    assert_true(allowance_affords(&allowance, ALLOWANCE_SAVED_MS));
    assert_false(allowance_affords(&allowance, ALLOWANCE_SAVED_MS + 0.001));
}

/* A second of looks, each of which costs so much. */
static void look_for_a_second(double cost_ms)
{
    unsigned looks = allowance.looks_hertz;
    for (unsigned i = 0; i < looks; i++) {
        pass(1000.0 / looks);
        allowance_spend_on_looks(&allowance, cost_ms, now_ns);
    }
}

static void test_allowance_makes_dear_looks_rarer(void **state)
{
    (void)state;
    static const unsigned steps[] = {20, 10, 5, 2, 1, 1};
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(allowance.looks_hertz, steps[i]);
        look_for_a_second(11);
    }
}

static void test_allowance_keeps_looks_at_the_limit(void **state)
{
    (void)state;
    look_for_a_second(0.5); /* 10 ms a second */
    assert_int_equal(allowance.looks_hertz, LOOKS_A_SECOND);
    look_for_a_second(0.501);
    assert_int_equal(allowance.looks_hertz, LOOKS_A_SECOND / 2);
}

static void test_allowance_makes_cheap_looks_more_often_again(void **state)
{
    (void)state;
    static const unsigned steps[] = {1, 2, 5, 10, 20, 20};
    for (unsigned i = 0; i < 5; i++) {
        look_for_a_second(11);
    }
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(allowance.looks_hertz, steps[i]);
        for (unsigned second = 0; second < ALLOWANCE_CALM_SECONDS; second++) {
            assert_int_equal(allowance.looks_hertz, steps[i]);
            look_for_a_second(0.01);
        }
    }
}

static void test_allowance_does_not_swing(void **state)
{
    (void)state;
    /* 0.7 ms each are too much at 20 a second, and would be again. */
    look_for_a_second(0.7);
    for (unsigned i = 0; i < 10 * ALLOWANCE_CALM_SECONDS; i++) {
        assert_int_equal(allowance.looks_hertz, LOOKS_A_SECOND / 2);
        look_for_a_second(0.7);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, open_allowance)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_allowance_is_one_in_a_hundred),
        TEST(test_allowance_saves_up_to_a_ceiling),
        TEST(test_allowance_makes_dear_looks_rarer),
        TEST(test_allowance_keeps_looks_at_the_limit),
        TEST(test_allowance_makes_cheap_looks_more_often_again),
        TEST(test_allowance_does_not_swing),
    };
    return cmocka_run_group_tests_name("allowance", tests, NULL, NULL);
}
