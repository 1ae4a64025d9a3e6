#include "core_helpers.h"

#include "base/clock.h"
#include "base/err.h"
#include "core/looks.h"
#include "mem_fault.h"

#define START_NS (1700000000 * NS_PER_SECOND)
#define GRAIN_NS (1 << 14) /* to which times are kept */

static struct looks looks;

static int open_looks(void **state)
{
    (void)note_memory(state);
    looks = (struct looks){.count = 0};
    return 0;
}

static int close_looks(void **state)
{
    looks_fini(&looks);
    return must_be_clean(state);
}

/* A look at so many ms after the start. */
static void must_look(double ms, enum look_at look_at)
{
    assert_int_equal(looks_add(&looks, START_NS + (uint64_t)(ms * (double)NS_PER_MS), look_at), 0);
}

static void must_count_between(uint64_t from_ns, uint64_t to_ns, double runs, double futex,
                               double waits)
{
    double counts[LOOK_COUNT] = {0};
    looks_count(&looks, from_ns, to_ns, counts);
    assert_true(counts[LOOK_RUNS] == runs);
    assert_true(counts[LOOK_FUTEX] == futex);
    assert_true(counts[LOOK_WAITS] == waits);
}

static void test_looks_are_counted_by_kind_and_time(void **state)
{
    (void)state;
    must_count_between(0, UINT64_MAX, 0, 0, 0);
    must_look(0, LOOK_RUNS);
    must_look(50, LOOK_FUTEX);
    must_look(100, LOOK_WAITS);
    must_look(150, LOOK_WAITS);
    must_count_between(0, UINT64_MAX, 1, 1, 2);
    must_count_between(START_NS, START_NS + 150 * NS_PER_MS, 1, 1, 2);
    must_count_between(START_NS, START_NS + 149 * NS_PER_MS, 1, 1, 1);
    must_count_between(START_NS + 1 * NS_PER_MS, START_NS + 150 * NS_PER_MS, 0, 1, 2);
    must_count_between(START_NS + 50 * NS_PER_MS, START_NS + 50 * NS_PER_MS, 0, 1, 0);
    must_count_between(START_NS + 51 * NS_PER_MS, START_NS + 99 * NS_PER_MS, 0, 0, 0);
    must_count_between(0, START_NS - 1, 0, 0, 0);
    must_count_between(START_NS + NS_PER_SECOND, UINT64_MAX, 0, 0, 0);
    /* From later to earlier is no time. */
    must_count_between(START_NS + 100 * NS_PER_MS, START_NS, 0, 0, 0);
}

static void test_looks_add_to_what_was_counted(void **state)
{
    (void)state;
    double counts[LOOK_COUNT] = {[LOOK_RUNS] = 5};
    must_look(0, LOOK_RUNS);
    looks_count(&looks, 0, UINT64_MAX, counts);
    looks_count(&looks, 0, UINT64_MAX, counts);
    assert_true(counts[LOOK_RUNS] == 7);
}

static void test_looks_of_the_same_moment_are_all_kept(void **state)
{
    (void)state;
    must_look(1, LOOK_RUNS);
    must_look(1, LOOK_WAITS);
    must_look(1, LOOK_FUTEX);
    must_count_between(START_NS + NS_PER_MS, START_NS + NS_PER_MS, 1, 1, 1);
}

static void test_looks_keep_the_newest_of_half_a_minute(void **state)
{
    (void)state;
    for (unsigned i = 0; i < LOOKS_MAX; i++) {
        must_look(50.0 * i, LOOK_RUNS);
    }
    must_count_between(0, UINT64_MAX, LOOKS_MAX, 0, 0);
    must_look(50.0 * LOOKS_MAX, LOOK_FUTEX); /* one over */
    must_count_between(0, UINT64_MAX, LOOKS_MAX - 1, 1, 0);
    must_count_between(0, START_NS + 50 * NS_PER_MS - GRAIN_NS, 0, 0, 0);
    must_count_between(0, START_NS + 50 * NS_PER_MS, 1, 0, 0);
    /* Round and round. */
    for (unsigned i = LOOKS_MAX + 1; i < 3 * LOOKS_MAX + 7; i++) {
        must_look(50.0 * i, LOOK_WAITS);
    }
    must_count_between(0, UINT64_MAX, 0, 0, LOOKS_MAX);
    must_count_between(START_NS + 50 * (3 * LOOKS_MAX + 6) * NS_PER_MS, UINT64_MAX, 0, 0, 1);
}

static void test_looks_begin_anew_when_the_clock_is_set(void **state)
{
    (void)state;
    must_look(1000, LOOK_RUNS);
    must_look(2000, LOOK_RUNS);
    must_look(1500, LOOK_WAITS); /* set back, after the first */
    must_count_between(0, UINT64_MAX, 0, 0, 1);
    must_look(500, LOOK_FUTEX); /* and before it */
    must_count_between(0, UINT64_MAX, 0, 1, 0);
    must_look(600, LOOK_FUTEX);
    must_count_between(0, UINT64_MAX, 0, 2, 0);
    /* Further than a cell can say. */
    uint64_t far_ns = START_NS + 500 * NS_PER_MS + ((uint64_t)1 << 30) * GRAIN_NS;
    assert_int_equal(looks_add(&looks, far_ns - GRAIN_NS, LOOK_RUNS), 0);
    must_count_between(0, UINT64_MAX, 1, 2, 0);
    assert_int_equal(looks_add(&looks, far_ns, LOOK_RUNS), 0);
    must_count_between(0, UINT64_MAX, 1, 0, 0);
    assert_int_equal(looks_add(&looks, UINT64_MAX, LOOK_RUNS), 0);
    assert_int_equal(looks_add(&looks, 0, LOOK_RUNS), 0);
    must_count_between(0, 0, 1, 0, 0);
}

static void test_looks_without_memory_are_lost(void **state)
{
    (void)state;
    mem_fail_after(1);
    assert_int_equal(looks_add(&looks, START_NS, LOOK_RUNS), ERR_NOMEM);
    mem_fail_after(0);
    must_count_between(0, UINT64_MAX, 0, 0, 0);
    must_look(0, LOOK_RUNS);
    must_count_between(0, UINT64_MAX, 1, 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_looks, close_looks)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_looks_are_counted_by_kind_and_time),
        TEST(test_looks_add_to_what_was_counted),
        TEST(test_looks_of_the_same_moment_are_all_kept),
        TEST(test_looks_keep_the_newest_of_half_a_minute),
        TEST(test_looks_begin_anew_when_the_clock_is_set),
        TEST(test_looks_without_memory_are_lost),
    };
    return cmocka_run_group_tests_name("looks", tests, NULL, NULL);
}
