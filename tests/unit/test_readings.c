#include "core_helpers.h"

#include <math.h>

#include "base/clock.h"
#include "base/err.h"
#include "core/readings.h"
#include "mem_fault.h"

static struct readings readings;

static int open_readings(void **state)
{
    (void)note_memory(state);
    readings = (struct readings){.count = 0};
    return 0;
}

static int close_readings(void **state)
{
    readings_fini(&readings);
    return must_be_clean(state);
}

enum { ALL_READ = 1 << SEEN_CPU | 1 << SEEN_IO | 1 << SEEN_MEMORY };

/* A second in which everything is a number that is its own. */
static const struct process_figures busy_second = {.sources = ALL_READ,
                                                   .between_ms = 1000,
                                                   .user_ms = 700,
                                                   .system_ms = 100,
                                                   .faults = 50,
                                                   .io_bytes = 4096,
                                                   .disk_bytes = 512,
                                                   .throttled_ms = 20,
                                                   .memory_stall_ms = 10,
                                                   .runqueue_ms = 1500,
                                                   .resident_bytes = 1 << 20,
                                                   .huge_bytes = 1 << 10};

static void must_add(double second, const struct process_figures *figures)
{
    assert_int_equal(readings_add(&readings, (uint64_t)(second * (double)NS_PER_SECOND), figures),
                     0);
}

static void must_touch(double second, double ratio)
{
    assert_int_equal(
        readings_add_touch(&readings, (uint64_t)(second * (double)NS_PER_SECOND), ratio), 0);
}

static struct evidence must_collect(double since_s, double touched_since_s, unsigned sources)
{
    struct evidence evidence = {0};
    assert_int_equal(readings_collect(&readings, (uint64_t)(since_s * (double)NS_PER_SECOND),
                                      (uint64_t)(touched_since_s * (double)NS_PER_SECOND),
                                      &evidence),
                     sources);
    return evidence;
}

static void test_readings_of_nothing_are_nothing(void **state)
{
    (void)state;
    struct evidence evidence = must_collect(0, 0, 0);
    assert_true(evidence.seen_ms == 0 && evidence.touch_probes == 0);
}

static void test_readings_add_up(void **state)
{
    (void)state;
    must_add(100, &busy_second);
    must_add(101, &busy_second);
    struct evidence evidence = must_collect(0, 0, ALL_READ);
    assert_true(evidence.seen_ms == 2000);
    assert_true(evidence.seen_user_ms == 1400);
    assert_true(evidence.seen_system_ms == 200);
    assert_true(evidence.seen_faults == 100);
    assert_true(evidence.seen_io_bytes == 8192);
    assert_true(evidence.seen_disk_bytes == 1024);
    assert_true(evidence.throttled_ms == 40);
    assert_true(evidence.memory_stall_ms == 20);
    assert_true(evidence.seen_runqueue_ms == 3000);
    assert_true(evidence.resident_bytes == 1 << 20); /* the most */
    assert_true(evidence.huge_bytes == 1 << 10);
}

static void test_readings_are_shared_by_time(void **state)
{
    (void)state;
    must_add(100, &busy_second);
    must_add(101, &busy_second);
    assert_true(must_collect(100, 0, ALL_READ).seen_user_ms == 700);
    assert_true(must_collect(100.5, 0, ALL_READ).seen_user_ms == 350);
    assert_true(must_collect(99.5, 0, ALL_READ).seen_user_ms == 1050);
    assert_true(must_collect(101, 0, 0).seen_ms == 0);
    assert_true(must_collect(200, 0, 0).seen_ms == 0);
}

static void test_readings_keep_which_sources_there_were(void **state)
{
    (void)state;
    struct process_figures poor = {.sources = 1U << SEEN_THROTTLE, .between_ms = 1000};
    must_add(100, &busy_second);
    must_add(101, &poor);
    (void)must_collect(100.5, 0, 1U << SEEN_THROTTLE);
    (void)must_collect(99.5, 0, ALL_READ | 1U << SEEN_THROTTLE);
}

static void test_readings_take_no_nonsense(void **state)
{
    (void)state;
    struct process_figures wild = busy_second;
    wild.between_ms = 5000; /* more than the time since the last */
    wild.user_ms = -1;
    wild.system_ms = (double)NAN;
    wild.faults = (double)INFINITY;
    must_add(100, &busy_second);
    must_add(101, &wild);
    struct evidence evidence = must_collect(100, 0, ALL_READ);
    assert_true(evidence.seen_ms == 1000);
    assert_true(evidence.seen_user_ms == 0);
    assert_true(evidence.seen_system_ms == 0);
    assert_true(evidence.seen_faults == 0);
    static const double no_times[] = {0, -1, (double)NAN};
    for (size_t i = 0; i < sizeof no_times / sizeof no_times[0]; i++) {
        wild.between_ms = no_times[i];
        must_add(102, &wild);
    }
    wild.between_ms = 1000;
    must_add(101, &wild); /* no time has passed */
    assert_int_equal(readings.count, 2);
}

static void test_readings_of_long_ago_are_coarse_and_all_there(void **state)
{
    (void)state;
    enum { SECONDS = 4000 };
    for (unsigned i = 1; i <= SECONDS; i++) {
        must_add(i, &busy_second);
    }
    assert_int_equal(readings.count, READINGS_MAX);
    must_be_near(must_collect(0, 0, ALL_READ).seen_user_ms, 700.0 * SECONDS, 1e-5);
    for (unsigned age = 1; age <= SECONDS; age = age * 3 / 2 + 1) {
        /* Every second is the same, so that the share of one that is cut is right. */
        must_be_near(must_collect(SECONDS - age, 0, ALL_READ).seen_ms, 1000.0 * age, 1e-5);
    }
    /* One second that is different is known to be where it was, to a fifth of its age. */
    struct process_figures stall = busy_second;
    stall.throttled_ms = 1000;
    must_add(SECONDS + 1, &stall);
    for (unsigned i = 2; i <= 200; i++) {
        must_add(SECONDS + i, &busy_second);
    }
    double before = must_collect(SECONDS - 50, 0, ALL_READ).throttled_ms;
    double after = must_collect(SECONDS + 50, 0, ALL_READ).throttled_ms;
    must_be_near(before, 1000 + 20.0 * 249, 0.01);
    must_be_near(after, 20.0 * 150, 0.01);
    assert_int_equal(readings.count, READINGS_MAX);
}

static void test_readings_keep_probes_apart(void **state)
{
    (void)state;
    must_add(100, &busy_second);
    must_touch(100.5, 0.25);
    must_add(101, &busy_second);
    must_touch(101, 0.75);
    struct evidence evidence = must_collect(100, 100, ALL_READ | 1U << SEEN_TOUCH);
    assert_true(evidence.touch_probes == 2);
    assert_true(evidence.touch_sum == 1);
    assert_true(evidence.touch_squares == 0.0625 + 0.5625);
    assert_true(evidence.seen_ms == 1000);
    /* Later than the one, and the round is shorter than the probes are apart. */
    assert_true(must_collect(102, 100.75, 1U << SEEN_TOUCH).touch_probes == 1);
    assert_true(must_collect(102, 102, 0).touch_probes == 0);
}

static void test_readings_without_memory_are_lost(void **state)
{
    (void)state;
    mem_fail_after(1);
    assert_int_equal(readings_add(&readings, NS_PER_SECOND, &busy_second), ERR_NOMEM);
    mem_fail_after(1);
    assert_int_equal(readings_add_touch(&readings, NS_PER_SECOND, 1), ERR_NOMEM);
    mem_fail_after(0);
    must_add(2, &busy_second);
    assert_true(must_collect(0, 0, ALL_READ).seen_ms == 1000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_readings, close_readings)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readings_of_nothing_are_nothing),
        TEST(test_readings_add_up),
        TEST(test_readings_are_shared_by_time),
        TEST(test_readings_keep_which_sources_there_were),
        TEST(test_readings_take_no_nonsense),
        TEST(test_readings_of_long_ago_are_coarse_and_all_there),
        TEST(test_readings_keep_probes_apart),
        TEST(test_readings_without_memory_are_lost),
    };
    return cmocka_run_group_tests_name("readings", tests, NULL, NULL);
}
