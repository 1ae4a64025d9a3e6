/* What the kernel says of a process, as text and of a real one; and what becomes of two readings. */
#include "cli/bench_spent.h"
#include "cli/bench_usage.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOLERANCE 1e-9

static void must_be(double figure, double expected)
{
    if (isnan(expected)) {
        assert_true(isnan(figure));
    } else {
        assert_true(fabs(figure - expected) <= TOLERANCE * fmax(1, fabs(expected)));
    }
}

/* --- text -------------------------------------------------------------------------------------- */

static void test_cli_bench_usage_schedstat_has_two_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t cpu_ns, runqueue_ns;
    } facts[] = {
        {"352124 17893 12\n", true, 352124, 17893},
        {"0 0 0\n", true, 0, 0},
        {"18446744073709551615 1 1\n", true, UINT64_MAX, 1},
        {"352124\n", false, 0, 0},
        {"a b c\n", false, 0, 0},
        {"", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct usage usage = {0};
        usage_take_schedstat(str_of(facts[i].text), &usage);
        assert_int_equal(usage.has_schedstat, facts[i].good);
        assert_int_equal(usage.cpu_ns, facts[i].cpu_ns);
        assert_int_equal(usage.runqueue_ns, facts[i].runqueue_ns);
    }
}

static void test_cli_bench_usage_stat_is_read_behind_any_name(void **state)
{
    (void)state;
    static const char *const names[] = {"python3", "a b", "x) R 1 (y", ")", "("};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[256];
        int len = snprintf(text, sizeof text,
                           "4711 (%s) S 1 4711 4711 0 -1 4194304 815 0 3 0 77 21 0 0 20 0 5 0 99\n",
                           names[i]);
        struct usage usage = {0};
        usage_take_stat((struct str){text, (size_t)len}, &usage);
        assert_true(usage.has_stat);
        assert_int_equal(usage.state, 'S');
        assert_int_equal(usage.minor_faults, 815);
        assert_int_equal(usage.major_faults, 3);
        assert_int_equal(usage.user_ticks, 77);
        assert_int_equal(usage.system_ticks, 21);
        assert_int_equal(usage.threads, 5);
    }
}

static void test_cli_bench_usage_stat_that_is_cut_says_nothing(void **state)
{
    (void)state;
    static const char whole[] = "1 (a) S 1 1 1 0 -1 0 815 0 3 0 77 21 0 0 20 0 5 0 99\n";
    static const char least[] = "1 (a) S 1 1 1 0 -1 0 815 0 3 0 77 21 0 0 20 0 ";
    for (size_t len = 0; len < sizeof whole - 1; len++) {
        struct usage usage = {0};
        usage_take_stat((struct str){whole, len}, &usage);
        assert_int_equal(usage.has_stat, len > sizeof least - 1);
    }
}

static void test_cli_bench_usage_status_is_found_by_whole_keys(void **state)
{
    (void)state;
    struct usage usage = {0};
    usage_take_status(str_of("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n"
                             "voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t9\n"),
                      &usage);
    assert_true(usage.has_status);
    assert_int_equal(usage.resident_kb, 1024);
    assert_int_equal(usage.peak_kb, 2048);
    assert_int_equal(usage.voluntary_switches, 7);
    assert_int_equal(usage.involuntary_switches, 9);

    usage = (struct usage){0};
    usage_take_status(str_of("nonvoluntary_ctxt_switches:\t9\n"), &usage);
    assert_false(usage.has_status);
    usage_take_status(str_of(""), &usage);
    assert_false(usage.has_status);
}

static void test_cli_bench_usage_io_is_of_disks(void **state)
{
    (void)state;
    struct usage usage = {0};
    usage_take_io(
        str_of("rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\n"
               "cancelled_write_bytes: 5\n"),
        &usage);
    assert_true(usage.has_disk);
    assert_int_equal(usage.disk_bytes, 12288);
    usage = (struct usage){0};
    usage_take_io(str_of("rchar: 1\nread_bytes: 4096\n"), &usage);
    assert_false(usage.has_disk);
}

/* --- a process --------------------------------------------------------------------------------- */

/* A child that works until a byte comes, then waits for the end of the pipe. */
static pid_t start_child(int pipe_fds[2])
{
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char byte;
        (void)close(pipe_fds[1]);
        while (read(pipe_fds[0], &byte, 1) > 0) {
            volatile double sum = 0;
            for (int i = 0; i < 5000000; i++) {
                sum += i;
            }
        }
        _exit(0);
    }
    (void)close(pipe_fds[0]);
    return pid;
}

static void test_cli_bench_usage_of_a_process_grows_and_ends(void **state)
{
    (void)state;
    enum { SETTLE_NS = 2000000000 };
    int fds[2];
    struct usage_source source;
    struct usage before;
    struct usage after;
    pid_t pid = start_child(fds);
    usage_open(&source, pid);
    usage_settle(&source, SETTLE_NS);
    usage_read(&source, &before);
    assert_true(before.has_process_cpu && before.has_schedstat && before.has_stat);
    assert_true(before.has_status);
    assert_true(before.resident_kb > 0 && before.peak_kb >= before.resident_kb);
    assert_int_equal(before.threads, 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    do { /* it has taken the byte once its clock moves */
        usage_settle(&source, SETTLE_NS);
        usage_read(&source, &after);
    } while (after.voluntary_switches == before.voluntary_switches || after.state != 'S');
    assert_true(after.process_cpu_ns > before.process_cpu_ns + 1000000);
    assert_true(after.cpu_ns > before.cpu_ns + 1000000);
    (void)close(fds[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    usage_settle(&source, SETTLE_NS); /* of nobody: at once */
    usage_read(&source, &after);
    assert_false(after.has_process_cpu || after.has_schedstat || after.has_stat ||
                 after.has_status);
    usage_close(&source);
}

static void test_cli_bench_usage_of_nobody_is_nothing(void **state)
{
    (void)state;
    struct usage_source source;
    struct usage usage;
    usage_open(&source, 0x7FFFFFFF);
    usage_read(&source, &usage);
    assert_false(usage.has_process_cpu || usage.has_schedstat || usage.has_stat ||
                 usage.has_status);
    assert_false(usage.has_disk);
    usage_close(&source);
    usage_close(&source);
}

/* --- what a request cost ----------------------------------------------------------------------- */

/* A process that has everything. */
static struct usage a_usage(double cpu_ms, double runqueue_ms)
{
    return (struct usage){.has_process_cpu = true,
                          .has_schedstat = true,
                          .has_stat = true,
                          .has_status = true,
                          .has_disk = true,
                          .process_cpu_ns = (uint64_t)(cpu_ms * 1e6),
                          .cpu_ns = (uint64_t)(cpu_ms * 1e6),
                          .runqueue_ns = (uint64_t)(runqueue_ms * 1e6),
                          .threads = 1,
                          .user_ticks = 90,
                          .system_ticks = 30,
                          .resident_kb = 2048,
                          .minor_faults = 10,
                          .voluntary_switches = 5};
}

static void test_cli_bench_spent_is_the_difference(void **state)
{
    (void)state;
    struct usage before = a_usage(100, 1);
    struct usage after = a_usage(104, 1.5);
    after.minor_faults = 17;
    after.major_faults = 1;
    after.voluntary_switches = 6;
    after.involuntary_switches = 2;
    after.disk_bytes = 4096;
    after.resident_kb = 3072;
    struct usage first = before;
    struct spent spent = spent_between(&first, &before, &after, 5, 2);
    must_be(spent.process_cpu_ms, 4);
    must_be(spent.cpu_percent, 80);
    must_be(spent.user_ms, 3); /* no ticks since the first: as of the whole process, 3 of 4 */
    must_be(spent.system_ms, 1);
    must_be(spent.runqueue_ms, 0.5);
    must_be(spent.minor_faults, 7);
    must_be(spent.major_faults, 1);
    must_be(spent.voluntary_switches, 1);
    must_be(spent.involuntary_switches, 2);
    must_be(spent.disk_bytes, 4096);
    must_be(spent.memory_mb_before, 2);
    must_be(spent.memory_mb_after, 3);
    must_be(spent.threads, 1);
}

static void test_cli_bench_spent_divides_by_ticks_once_there_are_enough(void **state)
{
    (void)state;
    static const struct {
        uint64_t user, system; /* ticks since the first */
        double system_share;
    } facts[] = {
        {9, 0, 30.0 / 129 /* still of the whole process */}, {10, 0, 0}, {0, 10, 1}, {5, 5, 0.5}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct usage first = a_usage(100, 0);
        struct usage before = a_usage(200, 0);
        struct usage after = a_usage(204, 0);
        after.user_ticks += facts[i].user;
        after.system_ticks += facts[i].system;
        struct spent spent = spent_between(&first, &before, &after, 5, 2);
        double share = facts[i].system_share;
        must_be(spent.system_ms, 4 * share);
        must_be(spent.user_ms, 4 * (1 - share));
    }
    struct usage none = a_usage(0, 0);
    none.user_ticks = none.system_ticks = 0;
    struct spent spent = spent_between(&none, &none, &none, 1, 1);
    must_be(spent.user_ms, 0);
    must_be(spent.system_ms, 0);
}

static void test_cli_bench_spent_is_cut_to_what_can_be(void **state)
{
    (void)state;
    struct usage before = a_usage(100, 0);
    struct usage after = a_usage(110, 10);
    struct spent spent =
        spent_between(&before, &before, &after, 4, 8); /* one thread: 4 ms at most */
    must_be(spent.process_cpu_ms, 4);
    must_be(spent.cpu_percent, 100);
    must_be(spent.user_ms + spent.system_ms, 4);
    must_be(spent.runqueue_ms, 0);

    after.threads = 16; /* two CPUs: 8 ms at most */
    spent = spent_between(&before, &before, &after, 4, 2);
    must_be(spent.process_cpu_ms, 8);
    must_be(spent.cpu_percent, 200);
    must_be(spent.user_ms + spent.system_ms, 4);

    after.threads = 16;
    spent = spent_between(&before, &before, &after, 4, 8);
    must_be(spent.process_cpu_ms, 10);

    spent = spent_between(&before, &before, &after, 0, 8); /* no time has no share */
    must_be(spent.cpu_percent, NAN);
    must_be(spent.process_cpu_ms, 0);

    spent = spent_between(&after, &after, &before, 4, 2); /* another process has its number now */
    must_be(spent.process_cpu_ms, NAN);
    must_be(spent.user_ms, NAN);
    must_be(spent.runqueue_ms, NAN);
}

static void test_cli_bench_spent_knows_only_what_was_read(void **state)
{
    (void)state;
    struct usage whole = a_usage(1, 1);
    struct usage nothing = {0};
    const struct {
        const struct usage *before, *after;
    } facts[] = {{&whole, &nothing}, {&nothing, &whole}, {&nothing, &nothing}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct spent spent = spent_between(&whole, facts[i].before, facts[i].after, 1, 1);
        struct spent unknown = spent_unknown();
        assert_true(isnan(spent.cpu_percent) && isnan(spent.user_ms) && isnan(spent.threads));
        assert_true(isnan(spent.minor_faults) && isnan(spent.memory_mb_after));
        assert_true(isnan(unknown.cpu_percent) && isnan(unknown.threads));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_bench_usage_schedstat_has_two_times),
        cmocka_unit_test(test_cli_bench_usage_stat_is_read_behind_any_name),
        cmocka_unit_test(test_cli_bench_usage_stat_that_is_cut_says_nothing),
        cmocka_unit_test(test_cli_bench_usage_status_is_found_by_whole_keys),
        cmocka_unit_test(test_cli_bench_usage_io_is_of_disks),
        cmocka_unit_test(test_cli_bench_usage_of_a_process_grows_and_ends),
        cmocka_unit_test(test_cli_bench_usage_of_nobody_is_nothing),
        cmocka_unit_test(test_cli_bench_spent_is_the_difference),
        cmocka_unit_test(test_cli_bench_spent_divides_by_ticks_once_there_are_enough),
        cmocka_unit_test(test_cli_bench_spent_is_cut_to_what_can_be),
        cmocka_unit_test(test_cli_bench_spent_knows_only_what_was_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
