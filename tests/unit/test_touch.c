#include "core_helpers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_proc.h"
#include "io/probe/machine_reader.h"
#include "io/probe/reference.h"

enum { CHILD_MB = 96 };

static bool sleep_for(void *ctx, uint64_t ns)
{
    const struct timespec time = {.tv_nsec = (long)ns};
    (void)ctx;
    (void)nanosleep(&time, NULL);
    return true;
}

/* Goes on `*ctx` more times. */
static bool stop_soon(void *ctx, uint64_t ns)
{
    unsigned *left = ctx;
    (void)sleep_for(NULL, ns);
    return (*left)-- > 0;
}

static const struct touch_waiter waiter = {.wait = sleep_for};

/* --- children that use memory ------------------------------------------------------------------ */

static volatile uint64_t *memory;
static const size_t words = (size_t)CHILD_MB * 1024 * 1024 / sizeof *memory;

static void stream(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < words; i += 8) {
        (void)memory[i];
    }
}

/* As much memory, of which a page is used. */
static void compute(void *arg)
{
    uint64_t sum = 1;
    (void)arg;
    for (unsigned i = 0; i < 1000000; i++) {
        sum = sum * UINT64_C(6364136223846793005) + memory[sum >> 55];
    }
    memory[0] = sum;
}

static void idle(void *arg)
{
    (void)arg;
    (void)pause();
}

static int open_memory(void **state)
{
    (void)state;
    void *pages = mmap(NULL, words * sizeof *memory, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    (void)madvise(pages, words * sizeof *memory,
                  MADV_NOHUGEPAGE); /* of one, 2 MB would be touched */
    memory = pages;
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    return munmap((void *)(uintptr_t)memory, words * sizeof *memory);
}

/* The mean of some good probes, in bytes a ms. */
static double must_touch(pid_t child)
{
    struct process_reader reader;
    struct touch touch;
    double sum = 0;
    unsigned good = 0;
    assert_int_equal(process_reader_open(&reader, &proc_roots_real, child, 1), 0);
    while (good < 8) {
        assert_int_equal(touch_take(&reader, &waiter, &touch), 0);
        sum += touch.rate > 0 ? touch.rate : 0;
        good += touch.rate > 0;
    }
    process_reader_close(&reader);
    return sum / good;
}

/* Every page is there, so that what is measured is no page fault. */
static void must_be_resident(pid_t child)
{
    struct process_reader reader;
    struct process_figures figures;
    assert_int_equal(process_reader_open(&reader, &proc_roots_real, child, 1), 0);
    do {
        assert_int_equal(process_reader_take(&reader, &proc_roots_real, 1, &figures), 0);
    } while (figures.resident_bytes < CHILD_MB * 1024.0 * 1024);
    process_reader_close(&reader);
}

/* Beside busy neighbours its child may not have come to run in time; the daemon tries again, too. */
static struct reference must_measure(void)
{
    struct reference reference = {0};
    double cache_bytes = machine_cache_bytes(&proc_roots_real);
    int reason = ETIMEDOUT;
    for (unsigned i = 0; i < 10 && reason == ETIMEDOUT; i++) {
        reason = reference_measure(&proc_roots_real, cache_bytes, &waiter, 1, &reference);
    }
    assert_int_equal(reason, 0);
    return reference;
}

static void test_touch_tells_streaming_from_computing(void **state)
{
    (void)state;
    struct reference reference = must_measure();
    pid_t streamer = child_start(stream, NULL);
    must_be_resident(streamer);
    double streamed = must_touch(streamer) / reference.rate;
    child_end(streamer);
    pid_t computer = child_start(compute, NULL);
    double computed = must_touch(computer) / reference.rate;
    child_end(computer);
    printf("reference %.2f GB/s of %.1f, streaming %.2f, computing %.3f of it\n",
           reference.rate / 1e6, reference.bandwidth_bytes / 1e9, streamed, computed);
    /* How far from the reference is for whoever measures on a quiet machine. */
    assert_true(reference.bandwidth_bytes > 0);
    assert_true(streamed > 5 * computed);
}

static void test_touch_of_who_does_not_run_is_worth_nothing(void **state)
{
    (void)state;
    struct process_reader reader;
    struct touch touch = {0};
    pid_t child = child_start(idle, NULL);
    assert_int_equal(process_reader_open(&reader, &proc_roots_real, child, 1), 0);
    assert_int_equal(touch_take(&reader, &waiter, &touch), 0);
    assert_true(touch.rate < 0);
    assert_true(touch.resident_bytes > 0);
    child_end(child);
    int reason = touch_take(&reader, &waiter, &touch);
    assert_true(reason == ESRCH || reason == ENOTSUP);
    process_reader_close(&reader);
}

static void test_touch_ends_when_it_is_told(void **state)
{
    (void)state;
    struct process_reader reader;
    struct touch touch;
    unsigned left = 0;
    struct touch_waiter brief = {.wait = stop_soon, .ctx = &left};
    pid_t child = child_start(idle, NULL);
    assert_int_equal(process_reader_open(&reader, &proc_roots_real, child, 1), 0);
    assert_int_equal(touch_take(&reader, &brief, &touch), ECANCELED);
    process_reader_close(&reader);
    child_end(child);
}

static void test_touch_needs_a_clock(void **state)
{
    (void)state;
    struct fake_proc fake;
    struct process_reader reader;
    struct touch touch;
    fake_proc_open(&fake);
    fake_proc_stat(&fake, "proc/12/stat", 'R', 0, 0, 0, 0);
    assert_int_equal(process_reader_open(&reader, &fake.roots, 12, 1), 0);
    assert_int_equal(touch_take(&reader, &waiter, &touch), ENOTSUP);
    process_reader_close(&reader);
    fake_proc_close(&fake);
}

/* --- the reference ----------------------------------------------------------------------------- */

static void test_reference_is_bounded(void **state)
{
    (void)state;
    const double mb = 1024 * 1024;
    assert_int_equal(reference_bytes(32 * mb), 96 << 20);
    assert_int_equal(reference_bytes(1 * mb), 64 << 20);
    assert_int_equal(reference_bytes(22 * mb), 66 << 20);
    assert_int_equal(reference_bytes(86 * mb), 256 << 20);
    assert_int_equal(reference_bytes(1e12), 256 << 20);
    assert_int_equal(reference_bytes(0), 128 << 20);
}

static void must_have_no_child(void)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void test_reference_leaves_no_child_behind(void **state)
{
    (void)state;
    struct reference reference;
    for (unsigned turns = 0; turns < 30; turns += 7) {
        unsigned left = turns;
        struct touch_waiter brief = {.wait = stop_soon, .ctx = &left};
        int reason = reference_measure(&proc_roots_real, 0, &brief, 1, &reference);
        assert_true(reason == 0 || reason == ECANCELED);
        must_have_no_child();
    }
}

static void test_reference_is_not_measured_where_memory_is_short(void **state)
{
    (void)state;
    struct fake_proc fake;
    struct reference reference;
    fake_proc_open(&fake);
    fake_proc_write(&fake, "proc/self/cgroup", "0::/a\n");
    fake_proc_write(&fake, "cgroup/a/memory.max", "134217727\n"); /* twice the least, less one */
    fake_proc_write(&fake, "cgroup/a/memory.current", "0\n");
    assert_int_equal(reference_measure(&fake.roots, 1, &waiter, 1, &reference), ENOMEM);
    must_have_no_child();
    fake_proc_close(&fake);
}

/* --- the machine ------------------------------------------------------------------------------- */

static void test_machine_cache_is_the_last_level(void **state)
{
    (void)state;
    struct fake_proc fake;
    fake_proc_open(&fake);
    assert_true(machine_cache_bytes(&fake.roots) == 0);
    fake_proc_write(&fake, "cpu/cpu0/cache/index0/level", "1\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index0/size", "32K\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index1/level", "3\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index1/size", "8M\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index2/level", "2\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index2/size", "1024K\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index3/level", "x\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index3/size", "99M\n");
    assert_true(machine_cache_bytes(&fake.roots) == 8 << 20);
    fake_proc_close(&fake);
}

static void test_machine_page_faults_cost_something(void **state)
{
    (void)state;
    struct machine machine;
    machine_read(&proc_roots_real, &machine);
    printf("a page fault costs %.2f us, the last cache has %.0f bytes\n", machine.page_fault_us,
           machine.cache_bytes);
    assert_true(machine.page_fault_us > 0.05 && machine.page_fault_us < 1000);
    assert_true(machine.cpus >= 1);
    assert_true(machine.bandwidth_bytes == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_touch_tells_streaming_from_computing),
        cmocka_unit_test(test_touch_of_who_does_not_run_is_worth_nothing),
        cmocka_unit_test(test_touch_ends_when_it_is_told),
        cmocka_unit_test(test_touch_needs_a_clock),
        cmocka_unit_test(test_reference_is_bounded),
        cmocka_unit_test(test_reference_leaves_no_child_behind),
        cmocka_unit_test(test_reference_is_not_measured_where_memory_is_short),
        cmocka_unit_test(test_machine_cache_is_the_last_level),
        cmocka_unit_test(test_machine_page_faults_cost_something),
    };
    return cmocka_run_group_tests_name("touch", tests, NULL, NULL);
}
