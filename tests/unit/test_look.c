#include "core_helpers.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fake_proc.h"
#include "io/probe/look.h"

static struct fake_proc fake;

static int open_fake(void **state)
{
    (void)state;
    fake_proc_open(&fake);
    return 0;
}

static int close_fake(void **state)
{
    (void)state;
    fake_proc_close(&fake);
    return 0;
}

static int take(const struct look *look, enum look_at *ret_look_at)
{
    struct proc_text room;
    return look_take(look, &room, ret_look_at);
}

static void must_see(const char *wchan, char letter, int outcome, enum look_at wanted)
{
    struct look look;
    enum look_at seen = LOOK_COUNT;
    fake_proc_write(&fake, "proc/12/status", "Name:\tx\nNSpid:\t12\n");
    fake_proc_write(&fake, "proc/12/task/13/wchan", wchan);
    fake_proc_stat(&fake, "proc/12/task/13/stat", letter, 0, 0, 0, 0);
    assert_int_equal(look_open(&look, &fake.roots, 12, 13), 0);
    assert_int_equal(take(&look, &seen), outcome);
    if (outcome == 0) {
        assert_int_equal(seen, wanted);
    }
    look_close(&look);
}

static void test_look_tells_running_from_waiting(void **state)
{
    (void)state;
    must_see("futex_do_wait", 'S', 0, LOOK_FUTEX);
    must_see("do_epoll_wait", 'S', 0, LOOK_WAITS);
    must_see("io_schedule", 'D', 0, LOOK_WAITS);
    must_see("0", 'R', 0, LOOK_RUNS);
    must_see("", 'R', 0, LOOK_RUNS);
    /* The kernel does not say where it sleeps. */
    must_see("0", 'S', LOOK_UNTOLD, LOOK_COUNT);
    must_see("", 'D', LOOK_UNTOLD, LOOK_COUNT);
    must_see("0", 'T', LOOK_UNTOLD, LOOK_COUNT);
}

static void test_look_does_not_guess_what_it_cannot_read(void **state)
{
    (void)state;
    struct look look;
    enum look_at seen;
    fake_proc_write(&fake, "proc/12/status", "NSpid:\t12\n");
    fake_proc_write(&fake, "proc/12/task/13/wchan", "0");
    fake_proc_write(&fake, "proc/12/task/13/stat", "13 (x");
    assert_int_equal(look_open(&look, &fake.roots, 12, 13), 0);
    assert_int_equal(take(&look, &seen), LOOK_UNTOLD);
    look_close(&look);
    assert_int_equal(look_open(&look, &fake.roots, 12, 14), ENOENT);
    assert_int_equal(look_open(&look, &fake.roots, 99, 13), ENOENT);
    assert_int_equal(look_open(&look, &fake.roots, 12, 0), ESRCH);
    assert_int_equal(look_open(&look, &fake.roots, 12, UINT64_MAX), ESRCH);
    fake_proc_remove(&fake, "proc/12/task/13/stat");
    assert_int_equal(look_open(&look, &fake.roots, 12, 13), ENOENT);
    look_close(&look); /* once more does no harm */
}

static void test_look_finds_threads_of_other_namespaces(void **state)
{
    (void)state;
    struct look look;
    enum look_at seen;
    fake_proc_write(&fake, "proc/12/status", "NSpid:\t12\t1\n");
    fake_proc_write(&fake, "proc/12/task/12/status", "NSpid:\t12\t1\n");
    fake_proc_write(&fake, "proc/12/task/40/status", "NSpid:\t40\t7\n");
    fake_proc_write(&fake, "proc/12/task/40/wchan", "futex_do_wait");
    fake_proc_stat(&fake, "proc/12/task/40/stat", 'S', 0, 0, 0, 0);
    /* A thread whose number here is that of another one there. */
    fake_proc_write(&fake, "proc/12/task/7/status", "NSpid:\t7\t9\n");
    fake_proc_write(&fake, "proc/12/task/7/wchan", "do_epoll_wait");
    fake_proc_stat(&fake, "proc/12/task/7/stat", 'S', 0, 0, 0, 0);
    fake_proc_write(&fake, "proc/12/task/x/status", "NSpid:\t7\t7\n");
    assert_int_equal(look_open(&look, &fake.roots, 12, 7), 0);
    assert_int_equal(take(&look, &seen), 0);
    assert_int_equal(seen, LOOK_FUTEX);
    look_close(&look);
    assert_int_equal(look_open(&look, &fake.roots, 12, 40), ESRCH);
}

/* --- real children ----------------------------------------------------------------------------- */

static void wait_for_futex(void *arg)
{
    (void)syscall(SYS_futex, arg, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static void wait_for_pipe(void *arg)
{
    char byte;
    (void)!read(*(const int *)arg, &byte, 1);
}

static void spin(void *arg)
{
    (void)arg;
    for (volatile unsigned i = 0; i < 1000000; i++) {
    }
}

/* How often of a hundred looks it does what it is to do, from when it was seen to do so. */
static unsigned count_looks(const struct look *look, enum look_at wanted)
{
    enum look_at seen = LOOK_COUNT;
    unsigned same = 0;
    while (take(look, &seen) != 0 || seen != wanted) {
    }
    for (unsigned i = 0; i < 100; i++) {
        same += take(look, &seen) == 0 && seen == wanted;
    }
    return same;
}

/* It may just have begun, and wait on its way for what a busy machine makes it wait for. */
static void must_be_seen(void (*act)(void *arg), void *arg, enum look_at wanted)
{
    struct look look;
    enum look_at seen = LOOK_COUNT;
    pid_t child = child_start(act, arg);
    assert_int_equal(look_open(&look, &proc_roots_real, child, (uint64_t)child), 0);
    unsigned same = 0;
    for (unsigned i = 0; i < 10 && same < 95; i++) {
        same = count_looks(&look, wanted);
    }
    assert_in_range(same, 95, 100);
    child_end(child);
    assert_int_equal(take(&look, &seen), ESRCH);
    look_close(&look);
    assert_int_equal(look_open(&look, &proc_roots_real, child, (uint64_t)child), ENOENT);
}

static void test_look_sees_a_child_wait_for_a_lock(void **state)
{
    (void)state;
    int word = 0;
    must_be_seen(wait_for_futex, &word, LOOK_FUTEX);
}

static void test_look_sees_a_child_wait_for_a_pipe(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    must_be_seen(wait_for_pipe, &ends[0], LOOK_WAITS);
    assert_int_equal(close(ends[0]) + close(ends[1]), 0);
}

static void test_look_sees_a_child_run(void **state)
{
    (void)state;
    must_be_seen(spin, NULL, LOOK_RUNS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_look_tells_running_from_waiting),
        TEST(test_look_does_not_guess_what_it_cannot_read),
        TEST(test_look_finds_threads_of_other_namespaces),
        cmocka_unit_test(test_look_sees_a_child_wait_for_a_lock),
        cmocka_unit_test(test_look_sees_a_child_wait_for_a_pipe),
        cmocka_unit_test(test_look_sees_a_child_run),
    };
    return cmocka_run_group_tests_name("look", tests, NULL, NULL);
}
