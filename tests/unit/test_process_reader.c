#include "core_helpers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_proc.h"
#include "io/probe/process_reader.h"
#include "io/system.h"

static struct fake_proc fake;
static struct process_reader reader;

static int open_fake(void **state)
{
    (void)state;
    fake_proc_open(&fake);
    return 0;
}

static int close_fake(void **state)
{
    (void)state;
    process_reader_close(&reader);
    fake_proc_close(&fake);
    return 0;
}

static const char io_text[] = "rchar: 1000\nwchar: 200\nsyscr: 1\nread_bytes: 30\nwrite_bytes: 4\n";
static const char io_later[] =
    "rchar: 1500\nwchar: 300\nsyscr: 9\nread_bytes: 31\nwrite_bytes: 6\n";

/* A process of which everything can be read. */
static void write_all(unsigned faults, unsigned user, unsigned system, unsigned start)
{
    fake_proc_stat(&fake, "proc/12/stat", 'S', faults, user, system, start);
    fake_proc_write(&fake, "proc/12/io", io_text);
    fake_proc_write(&fake, "proc/12/statm", "2048 512 3 1 0 9 0\n");
    fake_proc_write(&fake, "proc/12/cgroup", "0::/a\n");
    fake_proc_write(&fake, "proc/pressure/memory", "some avg10=0.00 total=1000\n");
    fake_proc_write(&fake, "cgroup/a/cgroup.procs", "12\n");
    fake_proc_write(&fake, "cgroup/a/cpu.max", "50000 100000\n");
    fake_proc_write(&fake, "cgroup/a/cpu.stat", "throttled_usec 5000\n");
}

static void must_open(void)
{
    assert_int_equal(process_reader_open(&reader, &fake.roots, 12, NS_PER_SECOND), 0);
}

static struct process_figures must_read(uint64_t now_ns)
{
    struct process_figures figures;
    assert_int_equal(process_reader_take(&reader, &fake.roots, now_ns, &figures), 0);
    return figures;
}

static void must_fail(int reason)
{
    struct process_figures figures;
    assert_int_equal(process_reader_take(&reader, &fake.roots, 2 * NS_PER_SECOND, &figures),
                     reason);
}

enum {
    ALL = 1 << SEEN_CPU | 1 << SEEN_IO | 1 << SEEN_MEMORY | 1 << SEEN_THROTTLE | 1 << SEEN_PRESSURE
};

static void test_process_reader_makes_differences(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    must_open();
    fake_proc_stat(&fake, "proc/12/stat", 'R', 160, 50, 20, 7);
    fake_proc_write(&fake, "proc/12/io", io_later);
    fake_proc_write(&fake, "proc/12/statm", "4096 1024 3\n");
    fake_proc_write(&fake, "proc/pressure/memory", "some avg10=0.00 total=4000\n");
    fake_proc_write(&fake, "cgroup/a/cpu.stat", "throttled_usec 12000\n");
    struct process_figures figures = must_read(2 * NS_PER_SECOND);
    assert_int_equal(figures.sources, ALL);
    assert_true(figures.between_ms == 1000);
    assert_true(figures.user_ms == 300); /* ticks of 10 ms: there is no clock for a fake */
    assert_true(figures.system_ms == 100);
    assert_true(figures.faults == 60);
    assert_true(figures.io_bytes == 600);
    assert_true(figures.disk_bytes == 3);
    assert_true(figures.throttled_ms == 7);
    assert_true(figures.memory_stall_ms == 3);
    assert_true(figures.resident_bytes == 1024.0 * (double)sysconf(_SC_PAGESIZE));
    /* Nothing has changed since. */
    figures = must_read(3 * NS_PER_SECOND);
    assert_true(figures.between_ms == 1000);
    assert_true(figures.user_ms + figures.system_ms + figures.faults + figures.io_bytes == 0);
}

static void test_process_reader_goes_without_what_is_missing(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum seen_source source;
    } facts[] = {
        {"proc/12/io", SEEN_IO},
        {"proc/12/statm", SEEN_MEMORY},
        {"cgroup/a/cpu.stat", SEEN_THROTTLE},
        {"proc/pressure/memory", SEEN_PRESSURE},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        write_all(100, 20, 10, 7);
        must_open();
        assert_int_equal(must_read(2 * NS_PER_SECOND).sources, ALL);
        fake_proc_remove(&fake, facts[i].path);
        assert_int_equal(must_read(3 * NS_PER_SECOND).sources, ALL & ~(1U << facts[i].source));
        process_reader_close(&reader);
    }
    /* A difference needs two readings: one after a while without has none. */
    write_all(100, 20, 10, 7);
    fake_proc_remove(&fake, "proc/12/io");
    must_open();
    fake_proc_write(&fake, "proc/12/io", io_text);
    struct process_figures figures = must_read(2 * NS_PER_SECOND);
    assert_int_equal(figures.sources, ALL & ~(1U << SEEN_IO));
    assert_true(figures.io_bytes == 0);
    assert_int_equal(must_read(3 * NS_PER_SECOND).sources, ALL);
}

/* Absolute waits of threads in ms, from thread 12 on; negative: it is not there. */
static void write_waits(const int *waits_ms, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char path[64];
        char text[64];
        (void)snprintf(path, sizeof path, "proc/12/task/%u/schedstat", 12 + i);
        (void)snprintf(text, sizeof text, "7000000 %d000000 3\n", waits_ms[i]);
        if (waits_ms[i] >= 0) {
            fake_proc_write(&fake, path, text);
        }
    }
}

static void must_have_waited(uint64_t second, double ms)
{
    struct process_figures figures = must_read(second * NS_PER_SECOND);
    assert_true(process_reader_take_waits(&reader, &figures));
    assert_int_equal(figures.sources, ALL | 1U << SEEN_RUNQUEUE);
    assert_true(figures.runqueue_ms == ms);
}

static void must_not_know_waits(uint64_t second)
{
    struct process_figures figures = must_read(second * NS_PER_SECOND);
    assert_false(process_reader_take_waits(&reader, &figures));
    assert_int_equal(figures.sources, ALL);
    assert_true(figures.runqueue_ms == 0);
}

static void remove_thread(unsigned tid)
{
    char path[128];
    (void)snprintf(path, sizeof path, "proc/12/task/%u/schedstat", tid);
    fake_proc_remove(&fake, path);
    (void)snprintf(path, sizeof path, "%s/proc/12/task/%u", fake.directory, tid);
    assert_int_equal(rmdir(path), 0);
}

static void test_process_reader_adds_up_the_waits_of_threads(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    write_waits((int[]){100, 2000, 30}, 3);
    must_open();
    must_have_waited(2, 0);
    write_waits((int[]){150, 2500, 31}, 3);
    must_have_waited(3, 551);
    /* One has ended, which takes nothing away, and one has begun, which counts from 0. */
    remove_thread(13);
    write_waits((int[]){160, -1, 31, 9}, 4);
    must_have_waited(4, 19);
    /* One that counts backwards is another of that number. */
    write_waits((int[]){160, -1, 5, 9}, 4);
    must_have_waited(5, 5);
    /* When nobody asks, the next answer has both. */
    write_waits((int[]){161, -1, 5, 9}, 4);
    assert_int_equal(must_read(6 * NS_PER_SECOND).sources, ALL);
    write_waits((int[]){163, -1, 5, 9}, 4);
    must_have_waited(7, 3);
}

static void test_process_reader_goes_without_waits_that_cannot_be_read(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    must_open();
    must_not_know_waits(2); /* there is no list of threads */
    write_waits((int[]){10, 20}, 2);
    must_not_know_waits(3); /* the first to compare with */
    must_have_waited(4, 0);
    static const char *const texts[] = {"", "1\n", "1 x 3\n", "1 -5 3\n"};
    for (uint64_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fake_proc_write(&fake, "proc/12/task/13/schedstat", texts[i]);
        must_not_know_waits(5 + i);
    }
    fake_proc_remove(&fake, "proc/12/task/13/schedstat"); /* of a thread that is there */
    must_not_know_waits(20);
    write_waits((int[]){50, 60}, 2);
    must_not_know_waits(21);
    write_waits((int[]){51, 60}, 2);
    must_have_waited(22, 1);
}

static void test_process_reader_reads_so_many_threads_and_no_more(void **state)
{
    (void)state;
    static int waits_ms[THREAD_WAITS_MAX + 1];
    write_all(100, 20, 10, 7);
    write_waits(waits_ms, THREAD_WAITS_MAX);
    must_open();
    for (unsigned i = 0; i < THREAD_WAITS_MAX; i++) {
        waits_ms[i] = 2;
    }
    write_waits(waits_ms, THREAD_WAITS_MAX);
    must_have_waited(2, 2.0 * THREAD_WAITS_MAX);
    write_waits(waits_ms, THREAD_WAITS_MAX + 1);
    must_not_know_waits(3);
    remove_thread(12 + THREAD_WAITS_MAX);
    must_not_know_waits(4);
    must_have_waited(5, 0);
}

static void test_process_reader_takes_nonsense_for_missing(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    fake_proc_write(&fake, "proc/12/io", "rchar: x\n");
    fake_proc_write(&fake, "proc/12/statm", "\n");
    fake_proc_write(&fake, "proc/12/cgroup", "::::\n");
    fake_proc_write(&fake, "proc/pressure/memory", "full total=1\n");
    must_open();
    assert_int_equal(must_read(2 * NS_PER_SECOND).sources, 1U << SEEN_CPU);
}

static void test_process_reader_counts_nothing_backwards(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    must_open();
    fake_proc_stat(&fake, "proc/12/stat", 'R', 50, 10, 5, 7);
    fake_proc_write(&fake, "proc/12/io", "rchar: 1\nwchar: 1\nread_bytes: 1\nwrite_bytes: 1\n");
    fake_proc_write(&fake, "cgroup/a/cpu.stat", "throttled_usec 0\n");
    struct process_figures figures = must_read(NS_PER_SECOND);
    assert_true(figures.between_ms == 0 && figures.user_ms == 0 && figures.system_ms == 0);
    assert_true(figures.faults == 0 && figures.io_bytes == 0 && figures.throttled_ms == 0);
}

static void test_process_reader_notices_another_process(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    must_open();
    fake_proc_stat(&fake, "proc/12/stat", 'R', 100, 20, 10, 8);
    must_fail(ESRCH);
}

static void test_process_reader_notices_the_end(void **state)
{
    (void)state;
    write_all(100, 20, 10, 7);
    must_open();
    fake_proc_write(&fake, "proc/12/stat", "12 (x");
    must_fail(EINVAL);
    fake_proc_remove(&fake, "proc/12/stat");
    must_fail(ENOENT);
    process_reader_close(&reader);
    assert_int_equal(process_reader_open(&reader, &fake.roots, 12, 1), ENOENT);
    assert_int_equal(process_reader_open(&reader, &fake.roots, 99, 1), ENOENT);
    assert_int_equal(reader.directory, -1);
}

static void spin(void *arg)
{
    (void)arg;
    for (volatile unsigned i = 0; i < 1000000; i++) {
    }
}

static void test_process_reader_reads_real_children(void **state)
{
    (void)state;
    struct clock clock = system_clock();
    struct process_figures figures;
    pid_t child = child_start(spin, NULL);
    uint64_t from_ns = clock.mono_ns(NULL);
    double cpu_from_ms;
    double cpu_ms;
    assert_int_equal(process_reader_open(&reader, &proc_roots_real, child, from_ns), 0);
    assert_true(process_reader_cpu_ms(&reader, &cpu_from_ms));
    do {
        assert_true(process_reader_cpu_ms(&reader, &cpu_ms));
    } while (cpu_ms < cpu_from_ms + 50);
    uint64_t to_ns = clock.mono_ns(NULL);
    assert_int_equal(process_reader_take(&reader, &proc_roots_real, to_ns, &figures), 0);
    assert_true(figures.sources & 1U << SEEN_CPU);
    assert_true(process_reader_take_waits(&reader, &figures));
    assert_true(figures.sources & 1U << SEEN_RUNQUEUE && figures.runqueue_ms >= 0);
    assert_true(figures.user_ms + figures.system_ms >= 49);
    assert_true(figures.user_ms > figures.system_ms);
    assert_true(figures.resident_bytes > 0);
    child_end(child);
    assert_int_equal(process_reader_take(&reader, &proc_roots_real, to_ns, &figures), ESRCH);
    assert_false(process_reader_cpu_ms(&reader, &cpu_ms));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_process_reader_makes_differences),
        TEST(test_process_reader_goes_without_what_is_missing),
        TEST(test_process_reader_adds_up_the_waits_of_threads),
        TEST(test_process_reader_goes_without_waits_that_cannot_be_read),
        TEST(test_process_reader_reads_so_many_threads_and_no_more),
        TEST(test_process_reader_takes_nonsense_for_missing),
        TEST(test_process_reader_counts_nothing_backwards),
        TEST(test_process_reader_notices_another_process),
        TEST(test_process_reader_notices_the_end),
        TEST(test_process_reader_reads_real_children),
    };
    return cmocka_run_group_tests_name("process_reader", tests, NULL, NULL);
}
