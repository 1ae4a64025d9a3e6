#include "core_helpers.h"

#include "core/process.h"
#include "mem_fault.h"

/* A watcher that sees what it is told to. */
static struct watch_log {
    bool can_watch;
    bool gone; /* what the kernel would say of the last one asked about */
    unsigned watched, ended;
    uint64_t last_ended;
} said;

static struct processes processes;

static bool watch(void *ctx, struct process *process)
{
    struct watch_log *log = ctx;
    process->watch = log;
    log->watched += log->can_watch;
    return log->can_watch;
}

static bool is_gone(void *ctx, struct process *process)
{
    const struct watch_log *log = ctx;
    assert_ptr_equal(process->watch, ctx);
    return log->gone;
}

static void ended(void *ctx, struct process *process)
{
    struct watch_log *log = ctx;
    log->ended++;
    log->last_ended = process->said_pid;
}

static int open_processes(void **state)
{
    (void)note_memory(state);
    said = (struct watch_log){.can_watch = true};
    processes =
        (struct processes){.ctx = &said, .watch = watch, .is_gone = is_gone, .ended = ended};
    return 0;
}

static int close_processes(void **state)
{
    processes_fini(&processes);
    assert_int_equal(processes.count, 0);
    return must_be_clean(state);
}

static struct process *must_enter(uint64_t said_pid, int64_t kernel_pid)
{
    struct process *process = process_enter(&processes, said_pid, kernel_pid);
    assert_non_null(process);
    return process;
}

static void must_be(uint32_t alive, unsigned over)
{
    uint32_t listed = 0;
    for (struct process *at = processes.first; at != NULL; at = at->next) {
        listed++;
        assert_ptr_equal(*at->link, at);
    }
    assert_int_equal(listed, alive);
    assert_int_equal(processes.count, alive);
    assert_int_equal(said.ended, over);
}

static void test_process_is_the_same_on_all_its_connections(void **state)
{
    (void)state;
    struct process *one = must_enter(5, 5);
    assert_ptr_equal(must_enter(5, 5), one);
    assert_int_equal(one->entered, 2);
    assert_int_equal(said.watched, 1);
    /* Two containers each have a process 1. */
    assert_ptr_not_equal(must_enter(5, 6), one);
    assert_ptr_not_equal(must_enter(6, 5), one);
    must_be(3, 0);
}

static void test_process_that_is_watched_outlives_its_connections(void **state)
{
    (void)state;
    struct process *one = must_enter(5, 5);
    process_leave(&processes, one);
    must_be(1, 0);
    assert_ptr_equal(must_enter(5, 5), one);
    process_leave(&processes, one);
    process_exit(&processes, one);
    must_be(0, 1);
    assert_int_equal(said.last_ended, 5);
}

/* What it sent before is still to be read. */
static void test_process_that_exited_ends_with_its_last_connection(void **state)
{
    (void)state;
    struct process *one = must_enter(5, 5);
    (void)must_enter(5, 5);
    process_exit(&processes, one);
    must_be(1, 0);
    process_leave(&processes, one);
    must_be(1, 0);
    process_leave(&processes, one);
    must_be(0, 1);
}

static void test_process_that_nobody_watches_ends_with_its_last_connection(void **state)
{
    (void)state;
    said.can_watch = false;
    struct process *one = must_enter(5, 0);
    assert_ptr_equal(must_enter(5, 0), one);
    process_leave(&processes, one);
    must_be(1, 0);
    process_leave(&processes, one);
    must_be(0, 1);
    processes.watch = NULL;
    process_leave(&processes, must_enter(6, 0));
    must_be(0, 2);
}

static void test_process_numbers_are_used_again(void **state)
{
    (void)state;
    struct process *old = must_enter(5, 5);
    said.gone = true; /* but nobody was told */
    struct process *young = must_enter(5, 5);
    assert_ptr_not_equal(young, old);
    said.gone = false;
    process_exit(&processes, old); /* told at last; its connection is not read to the end */
    assert_ptr_equal(must_enter(5, 5), young);
    must_be(2, 0);
    process_leave(&processes, old);
    must_be(1, 1);
    assert_ptr_equal(processes.first, young);
}

static void test_process_numbers_are_used_again_after_an_exit(void **state)
{
    (void)state;
    struct process *old = must_enter(5, 5);
    process_exit(&processes, old);
    processes.is_gone = NULL;
    assert_ptr_not_equal(must_enter(5, 5), old);
    must_be(2, 0);
}

static void test_process_may_end_in_any_order(void **state)
{
    (void)state;
    struct random random = random_start("order");
    struct process *alive[64] = {NULL};
    unsigned over = 0;
    uint32_t count = 0;
    for (int i = 0; i < 5000; i++) {
        struct process **one = &alive[random_below(&random, 64)];
        if (*one == NULL) {
            *one = must_enter((uint64_t)(one - alive) + 1, 1);
            count++;
        } else {
            process_exit(&processes, *one);
            process_leave(&processes, *one);
            *one = NULL;
            count--;
            over++;
        }
        must_be(count, over);
    }
}

static void test_process_has_a_ceiling(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= PROCESSES_MAX; i++) {
        (void)must_enter(i, 1);
    }
    assert_null(process_enter(&processes, PROCESSES_MAX + 1, 1));
    struct process *known = must_enter(7, 1); /* who is known is known */
    process_leave(&processes, known);
    process_leave(&processes, known);
    process_exit(&processes, known);
    (void)must_enter(PROCESSES_MAX + 1, 1);
    must_be(PROCESSES_MAX, 1);
}

static void test_process_without_memory_is_nobody(void **state)
{
    (void)state;
    mem_fail_after(1);
    assert_null(process_enter(&processes, 5, 5));
    mem_fail_after(0);
    must_be(0, 0);
    (void)must_enter(5, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_processes, close_processes)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_process_is_the_same_on_all_its_connections),
        TEST(test_process_that_is_watched_outlives_its_connections),
        TEST(test_process_that_exited_ends_with_its_last_connection),
        TEST(test_process_that_nobody_watches_ends_with_its_last_connection),
        TEST(test_process_numbers_are_used_again),
        TEST(test_process_numbers_are_used_again_after_an_exit),
        TEST(test_process_may_end_in_any_order),
        TEST(test_process_has_a_ceiling),
        TEST(test_process_without_memory_is_nobody),
    };
    return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
