#include "core_helpers.h"

#include <dirent.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "fake_proc.h"
#include "io/probe/look.h"
#include "io/probe/probe.h"
#include "io/system.h"
#include "mem_fault.h"

enum {
    PLACES = 4,
    LATE_LOOKS = 4096, /* of one thread, half a minute's: the loop of a busy machine comes late */
};

/* A loop with a witness and a probe, as the daemon has them. */
static struct world {
    uv_loop_t loop;
    struct witness witness;
    struct counters counters;
    struct probe probe;
    struct probe_options options;
    unsigned descriptors;
    int log_pipe[2];
} world;

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    assert_int_equal(closedir(directory), 0);
    return count;
}

static int open_world(void **state)
{
    world = (struct world){.descriptors = count_descriptors()};
    (void)note_memory(state);
    assert_int_equal(pipe(world.log_pipe), 0);
    log_init(&(struct log_options){
        .fd = world.log_pipe[1], .level = LOG_LEVEL_INFO, .hash = "", .clock = system_clock()});
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(witness_init(&world.witness, PLACES), 0);
    world.options = (struct probe_options){.roots = proc_roots_real,
                                           .clock = system_clock(),
                                           .max_threads = LATE_LOOKS,
                                           .touches = true,
                                           .touch_max_bytes = 1e12};
    return 0;
}

/* The first loop of a process opens descriptors for signals that are never closed. */
static int open_first_loop(void **state)
{
    (void)state;
    uv_loop_t loop;
    return uv_loop_init(&loop) == 0 ? uv_loop_close(&loop) : -1;
}

static void must_start(void)
{
    assert_int_equal(
        probe_start(&world.probe, &world.loop, &world.witness, &world.counters, &world.options), 0);
}

static int close_world(void **state)
{
    probe_close(&world.probe);
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    witness_fini(&world.witness);
    assert_int_equal(close(world.log_pipe[0]) + close(world.log_pipe[1]), 0);
    assert_int_equal(count_descriptors(), world.descriptors);
    return must_be_clean(state);
}

static uint64_t wall_ns(void)
{
    return system_clock().wall_ns(NULL);
}

/* An inference of this length that is over now. */
static struct evidence report(int64_t pid, uint64_t thread_id, double ms)
{
    struct evidence evidence = {0};
    struct sample sample = sample_of("model", ms);
    sample.has |= EVIDENCE_PARTS | 1U << SAMPLE_THREAD_ID | 1U << SAMPLE_TIMESTAMP;
    sample.thread_id = thread_id;
    sample.timestamp_wall_ns = wall_ns();
    witness_set_time(&world.witness, system_clock().mono_ns(NULL));
    witness_sample(&world.witness, pid, &sample, &evidence);
    return evidence;
}

/* Runs the loop until this holds; every turn something is reported, so that it goes on being watched. */
static void run_until(bool (*holds)(pid_t child), pid_t child)
{
    while (!holds(child)) {
        (void)report(child, (uint64_t)child, 0);
        (void)uv_run(&world.loop, UV_RUN_ONCE);
        assert_true(!world.probe.knows_machine || world.probe.machine.page_fault_us > 0);
    }
}

static unsigned sources_of(pid_t child, struct evidence *ret_evidence)
{
    *ret_evidence = (struct evidence){0};
    return witness_collect(&world.witness, child, 0, ret_evidence);
}

/* --- children ---------------------------------------------------------------------------------- */

static void wait_for_futex(void *arg)
{
    (void)syscall(SYS_futex, arg, FUTEX_WAIT, 0, NULL, NULL, 0);
}

/* It may not have been there yet. */
static void must_come_to_wait(pid_t child)
{
    struct look look;
    struct proc_text room;
    enum look_at at = LOOK_RUNS;
    assert_int_equal(look_open(&look, &proc_roots_real, child, (uint64_t)child), 0);
    while (at != LOOK_FUTEX) {
        assert_true(look_take(&look, &room, &at) <= 0);
    }
    look_close(&look);
}

static void spin(void *arg)
{
    (void)arg;
    for (volatile unsigned i = 0; i < 1000000; i++) {
    }
}

static bool has_looks(pid_t child)
{
    struct evidence evidence = report(child, (uint64_t)child, 1e6);
    double seen =
        evidence.looks[LOOK_RUNS] + evidence.looks[LOOK_FUTEX] + evidence.looks[LOOK_WAITS];
    return seen >= 20 && world.counters.value[COUNTER_PROBE_LOOKS] >= 20; /* which is told later */
}

static bool has_figures(pid_t child)
{
    struct evidence evidence;
    return (sources_of(child, &evidence) & 1U << SEEN_CPU) != 0;
}

static bool has_user_time(pid_t child)
{
    struct evidence evidence;
    return (sources_of(child, &evidence) & 1U << SEEN_CPU) != 0 && evidence.seen_user_ms > 0;
}

static bool has_touches(pid_t child)
{
    struct evidence evidence;
    witness_wants_touch(&world.witness, child, true);
    return (sources_of(child, &evidence) & 1U << SEEN_TOUCH) != 0;
}

static bool is_forgotten(pid_t child)
{
    struct evidence evidence;
    return sources_of(child, &evidence) == 0;
}

static void test_probe_does_nothing_until_there_is_a_sample(void **state)
{
    (void)state;
    must_start();
    for (unsigned i = 0; i < 3; i++) { /* ticks */
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    assert_false(world.probe.has_thread);
}

static void test_probe_sees_what_a_thread_waits_for(void **state)
{
    (void)state;
    int word = 0;
    must_start();
    pid_t child = child_start(wait_for_futex, &word);
    must_come_to_wait(child);
    run_until(has_looks, child);
    struct evidence evidence = report(child, (uint64_t)child, 1e6);
    assert_true(evidence.looks[LOOK_FUTEX] >= 20);
    assert_int_equal(evidence.looks[LOOK_RUNS] + evidence.looks[LOOK_WAITS], 0);
    assert_in_range(world.counters.value[COUNTER_PROBE_HERTZ], 1, LOOKS_A_SECOND);
    assert_int_equal(world.counters.value[COUNTER_PROBE_LOST], 0);
    child_end(child);
}

static void test_probe_reads_figures_and_the_machine(void **state)
{
    (void)state;
    struct evidence evidence;
    must_start();
    pid_t child = child_start(spin, NULL);
    run_until(has_user_time, child); /* beside busy neighbours it may have had none for a while */
    (void)sources_of(child, &evidence);
    assert_true(evidence.seen_ms > 0);
    assert_true(evidence.resident_bytes > 0);
    assert_true(world.probe.knows_machine);
    assert_true(world.probe.machine.page_fault_us > 0);
    child_end(child);
    (void)report(child, (uint64_t)child, 0);
    while (!is_forgotten(child)) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
}

enum { MEMORY_BYTES = 96 << 20 };

static void stream(void *arg)
{
    const volatile uint64_t *words = arg;
    for (size_t i = 0; i < MEMORY_BYTES / sizeof *words; i += 8) {
        (void)words[i];
    }
}

static struct fake_proc fake;

/* Where the cache is small, the memory is as well to which others are compared. */
static void have_small_cache(void)
{
    fake_proc_open(&fake);
    fake_proc_write(&fake, "cpu/cpu0/cache/index0/level", "3\n");
    fake_proc_write(&fake, "cpu/cpu0/cache/index0/size", "1024K\n");
    world.options.roots.cpu = fake.roots.cpu;
}

/* A probe that could not measure in time, or that it cost too much, waits for minutes; another begins. */
static bool comes_to_touch(pid_t child)
{
    enum { PATIENCE_S = 60 };
    uint64_t until_ns = system_clock().mono_ns(NULL) + PATIENCE_S * NS_PER_SECOND;
    while (!has_touches(child) && system_clock().mono_ns(NULL) < until_ns) {
        (void)report(child, (uint64_t)child, 0);
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    return has_touches(child);
}

static void start_anew(void)
{
    probe_close(&world.probe);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT); /* until its handles are closed */
    must_start();
}

static void test_probe_touches_memory_of_who_wants_it(void **state)
{
    (void)state;
    struct evidence evidence;
    have_small_cache();
    void *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    must_start();
    pid_t child = child_start(stream, memory);
    run_until(has_figures, child);
    assert_int_equal(world.counters.value[COUNTER_PROBE_TOUCHES], 0);
    for (unsigned i = 0; i < 10 && !comes_to_touch(child); i++) {
        start_anew();
    }
    (void)sources_of(child, &evidence);
    assert_true(evidence.touch_sum > 0);
    assert_true(world.probe.machine.bandwidth_bytes > 0);
    child_end(child);
    assert_int_equal(munmap(memory, MEMORY_BYTES), 0);
    fake_proc_close(&fake);
}

/* --- a /proc of files -------------------------------------------------------------------------- */

static bool has_fake_figures(pid_t pid)
{
    return has_figures(pid);
}

static unsigned count_lines(void)
{
    char text[8192];
    unsigned lines = 0;
    log_error("the last line");
    ssize_t len = read(world.log_pipe[0], text, sizeof text);
    for (ssize_t i = 0; i < len; i++) {
        lines += text[i] == '\n';
    }
    return lines - 1;
}

static void test_probe_notices_that_a_number_is_used_again(void **state)
{
    (void)state;
    fake_proc_open(&fake);
    world.options.roots = fake.roots;
    fake_proc_write(&fake, "proc/12/status", "NSpid:\t12\n");
    fake_proc_stat(&fake, "proc/12/stat", 'R', 0, 0, 0, 5);
    fake_proc_stat(&fake, "proc/12/task/12/stat", 'R', 0, 0, 0, 5);
    fake_proc_write(&fake, "proc/12/task/12/wchan", "0");
    must_start();
    run_until(has_fake_figures, 12);
    fake_proc_stat(&fake, "proc/12/stat", 'R', 0, 0, 0, 6);
    while (!is_forgotten(12)) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    run_until(has_fake_figures, 12); /* the new one is watched as any other */
    /* io, memory, throttling, pressure, runqueue: each is missed once, however often it is not there. */
    assert_int_equal(count_lines(), 5);
    fake_proc_close(&fake);
}

static uv_sem_t entered;
static pthread_t entered_by;

static void enter(void *ctx)
{
    assert_ptr_equal(ctx, &world);
    entered_by = pthread_self();
    uv_sem_post(&entered);
}

static void test_probe_starts_first_where_it_is_told(void **state)
{
    (void)state;
    assert_int_equal(uv_sem_init(&entered, 0), 0);
    world.options.starts_first = true;
    world.options.enter = enter;
    world.options.enter_ctx = &world;
    must_start();
    assert_true(world.probe.has_thread);
    uv_sem_wait(&entered);
    assert_true(pthread_equal(entered_by, world.probe.thread));
    uv_sem_destroy(&entered);
}

/* Without memory for its thread there is a daemon all the same, which says so. */
static void test_probe_that_cannot_start_first_says_so(void **state)
{
    (void)state;
    world.options.starts_first = true;
    mem_fail_after(3);
    must_start();
    assert_true(mem_has_failed());
    mem_fail_after(0);
    assert_true(world.probe.has_failed && !world.probe.has_thread);
    assert_int_equal(count_lines(), 1);
}

static void test_probe_needs_memory_to_start(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        mem_fail_after(n);
        assert_int_equal(
            probe_start(&world.probe, &world.loop, &world.witness, &world.counters, &world.options),
            ERR_NOMEM);
    }
    mem_fail_after(0);
    must_start();
    (void)report(getpid(), (uint64_t)getpid(), 0);
    mem_fail_after(1); /* and when the thread is to begin: it is said, and not tried again */
    while (!world.probe.has_failed) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    mem_fail_after(0);
    (void)uv_run(&world.loop, UV_RUN_ONCE);
    assert_false(world.probe.has_thread);
    assert_int_equal(count_lines(), 1);
}

static void test_probe_that_was_not_started_may_be_closed(void **state)
{
    (void)state;
    probe_close(&world.probe);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_probe_does_nothing_until_there_is_a_sample),
        TEST(test_probe_sees_what_a_thread_waits_for),
        TEST(test_probe_reads_figures_and_the_machine),
        TEST(test_probe_touches_memory_of_who_wants_it),
        TEST(test_probe_notices_that_a_number_is_used_again),
        TEST(test_probe_starts_first_where_it_is_told),
        TEST(test_probe_that_cannot_start_first_says_so),
        TEST(test_probe_needs_memory_to_start),
        TEST(test_probe_that_was_not_started_may_be_closed),
    };
    return cmocka_run_group_tests_name("probe", tests, open_first_loop, NULL);
}
