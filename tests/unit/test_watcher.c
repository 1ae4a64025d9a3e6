#include "core_helpers.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/watcher.h"

static struct core core;
static uv_loop_t loop;
static struct watcher watcher;

static uint64_t now(void *ctx)
{
    (void)ctx;
    return core.mono_ns;
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory); /* it was read only */
    return count;
}

static unsigned descriptors_before;

static void open_watcher(unsigned max_watched)
{
    struct registry_options options = core_options();
    struct clock clock = {.mono_ns = now, .wall_ns = now};
    descriptors_before = count_descriptors();
    core_open(&core, &options);
    assert_int_equal(uv_loop_init(&loop), 0);
    watcher_start(&watcher, &loop, &core.intake, max_watched, &clock);
}

static void close_watcher(void)
{
    watcher_close(&watcher);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* returns when no handle is left */
    assert_int_equal(uv_loop_close(&loop), 0);
    core_close(&core);
    assert_int_equal(count_descriptors(), descriptors_before);
}

/* A process that does nothing until it is killed. */
static pid_t start_child(void)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    while (pid == 0) {
        (void)pause();
    }
    return pid;
}

static void end_child(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static struct process *must_enter(pid_t pid)
{
    struct process *process = process_enter(&core.processes, (uint64_t)pid, pid);
    assert_non_null(process);
    return process;
}

static void add(struct process *process, double amount)
{
    struct metric metric = metric_of(METRIC_ADD, "g", amount, "");
    must_count(&core, &metric, process);
}

static void run_until_left(uint32_t processes)
{
    while (core.processes.count > processes) {
        (void)uv_run(&loop, UV_RUN_ONCE); /* handles are left */
    }
    assert_int_equal(core.processes.count, processes);
}

static void test_watcher_sees_processes_end(void **state)
{
    (void)state;
    open_watcher(2);
    pid_t one = start_child();
    pid_t two = start_child();
    struct process *first = must_enter(one);
    add(first, 1);
    process_leave(&core.processes, first); /* sends datagrams, or comes back */
    struct process *second = must_enter(two);
    add(second, 10);
    assert_int_equal(watcher.watched, 2);
    end_child(one);
    run_until_left(1);
    assert_true(core_series(&core, "g", "").number == 10);
    end_child(two);
    while (!second->exited) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    assert_true(core_series(&core, "g", "").number == 10); /* its connection is not read yet */
    process_leave(&core.processes, second);
    assert_true(core_series(&core, "g", "").number == 0);
    assert_int_equal(watcher.watched, 0);
    close_watcher();
}

static void test_watcher_has_a_ceiling(void **state)
{
    (void)state;
    open_watcher(1);
    pid_t one = start_child();
    pid_t two = start_child();
    struct process *first = must_enter(one);
    struct process *second = must_enter(two);
    assert_true(first->watched);
    assert_false(second->watched);
    process_leave(&core.processes, second);
    process_leave(&core.processes, first);
    assert_int_equal(core.processes.count, 1);
    end_child(one);
    run_until_left(0);
    end_child(two);
    close_watcher();
}

/* The number is used again before the loop has looked. */
static void test_watcher_tells_who_is_gone_before_it_was_told(void **state)
{
    (void)state;
    open_watcher(4);
    pid_t pid = start_child();
    struct process *old = must_enter(pid);
    assert_ptr_equal(must_enter(pid), old);
    end_child(pid);
    struct process *young = must_enter(pid);
    assert_ptr_not_equal(young, old);
    assert_false(young->watched); /* there is no such process */
    process_leave(&core.processes, young);
    process_leave(&core.processes, old);
    process_leave(&core.processes, old);
    run_until_left(0);
    close_watcher();
}

static void test_watcher_cannot_watch_who_is_not_there(void **state)
{
    (void)state;
    open_watcher(4);
    struct process *unknown = must_enter(0);
    assert_false(unknown->watched);
    process_leave(&core.processes, unknown);
    assert_int_equal(core.processes.count, 0);
    close_watcher();
}

static void test_watcher_closes_while_processes_live(void **state)
{
    (void)state;
    open_watcher(4);
    pid_t pid = start_child();
    add(must_enter(pid), 1);
    close_watcher();
    end_child(pid);
}

/* Whenever the last tick was. */
static void test_watcher_ends_spans_at_the_present_time(void **state)
{
    (void)state;
    open_watcher(4);
    pid_t pid = start_child();
    struct process *process = must_enter(pid);
    spans_set_time(core.spans, core.mono_ns, core.mono_ns);
    struct span begun = {.part = SPAN_START,
                         .name = STR_LITERAL("s"),
                         .trace_id = {1},
                         .span_id = {1},
                         .start_wall_ns = core.mono_ns};
    assert_int_equal(spans_take(core.spans, &begun, &process->spans, (struct str){NULL, 0}), 0);
    process_leave(&core.processes, process);
    end_child(pid);
    core.mono_ns += 3 * NS_PER_SECOND;
    run_until_left(0);
    union series_value value =
        core_series(&core, "acgs2_span_duration_seconds", "span_name=s,status_code=error");
    assert_true(value.buckets->sum == 3);
    close_watcher();
}

static void test_watcher_ticks(void **state)
{
    (void)state;
    open_watcher(0);
    struct family_shape shape = {
        .name = STR_LITERAL("c"), .type = FAMILY_COUNTER, .declared = true, .expire_seconds = 5};
    assert_int_equal(metrics_declare(core.metrics, &shape), 0);
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "");
    must_count(&core, &metric, NULL);
    core.mono_ns += 5 * NS_PER_SECOND;
    (void)uv_run(&loop, UV_RUN_ONCE); /* the tick is the only one to wait for */
    assert_false(core_has_series(&core, "c", ""));
    close_watcher();
}

/* libuv's first loop opens descriptors that stay for the process's life. */
static int open_first_loop(void **state)
{
    uv_loop_t first;
    assert_int_equal(uv_loop_init(&first), 0);
    assert_int_equal(uv_loop_close(&first), 0);
    return core_tables(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watcher_sees_processes_end),
        cmocka_unit_test(test_watcher_has_a_ceiling),
        cmocka_unit_test(test_watcher_tells_who_is_gone_before_it_was_told),
        cmocka_unit_test(test_watcher_cannot_watch_who_is_not_there),
        cmocka_unit_test(test_watcher_closes_while_processes_live),
        cmocka_unit_test(test_watcher_ends_spans_at_the_present_time),
        cmocka_unit_test(test_watcher_ticks),
    };
    return cmocka_run_group_tests_name("watcher", tests, open_first_loop, NULL);
}
