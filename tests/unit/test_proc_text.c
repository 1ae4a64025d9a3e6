#include "core_helpers.h"

#include "io/probe/proc_text.h"

/* --- numbers behind words ---------------------------------------------------------------------- */

static void test_proc_text_finds_numbers_by_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
        bool found;
        uint64_t number;
    } facts[] = {
        {"Rss:                1672 kB\nReferenced:         34 kB\n", "Referenced:", true, 34},
        {"Rss:                1672 kB\nReferenced:         34 kB\n", "Rss:", true, 1672},
        {"rchar: 6976\nwchar: 0\n", "wchar:", true, 0},
        {"rchar: 6976\nwchar: 0\n", "char:", false, 0},
        {"nr_throttled 3\nthrottled_usec 17\n", "throttled_usec", true, 17},
        {"nr_throttled 3\nthrottled_usec 17", "throttled_usec", true, 17},
        {"throttled_usec_more 4\nthrottled_usec 17\n", "throttled_usec", true, 17},
        {"throttled_usec\n", "throttled_usec", false, 0},
        {"throttled_usec x\n", "throttled_usec", false, 0},
        {"throttled_usec -1\n", "throttled_usec", false, 0},
        {"throttled_usec 18446744073709551615\n", "throttled_usec", true, UINT64_MAX},
        {"throttled_usec 18446744073709551616\n", "throttled_usec", false, 0},
        {"", "Rss:", false, 0},
        {"\n\n\n", "Rss:", false, 0},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        uint64_t number = 0;
        assert_int_equal(proc_text_number(str_of(facts[i].text), facts[i].word, &number),
                         facts[i].found);
        assert_int_equal(number, facts[i].number);
    }
    uint64_t number;
    assert_false(proc_text_number((struct str){NULL, 0}, "Rss:", &number));
}

static void test_proc_text_reads_fields(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned count;
        uint64_t first, second;
    } facts[] = {
        {"2048 512 3 1 0 9 0\n", 2, 2048, 512},
        {"7", 1, 7, 0},
        {"50000 100000\n", 2, 50000, 100000},
        {"max 100000\n", 0, 0, 0},
        {"-1\n", 0, 0, 0},
        {"", 0, 0, 0},
        {"\n7\n", 0, 0, 0},
        {"5 x\n", 1, 5, 0},
        {"5\t6\n", 2, 5, 6},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        uint64_t fields[2] = {0};
        assert_int_equal(proc_text_fields(str_of(facts[i].text), fields, 2), facts[i].count);
        assert_int_equal(fields[0], facts[i].first);
        assert_int_equal(fields[1], facts[i].second);
    }
}

/* --- stat -------------------------------------------------------------------------------------- */

#define NUMBERS " 1 2 3 4 -1 6 70 8 90 10 140 150 16 17 20 0 1 0 220 23 24\n"

static void must_be_stat(const char *text, char wanted)
{
    struct proc_stat stat;
    assert_true(proc_text_stat(str_of(text), &stat));
    assert_int_equal(stat.state, wanted);
    assert_int_equal(stat.minor_faults, 70);
    assert_int_equal(stat.major_faults, 90);
    assert_int_equal(stat.user_ticks, 140);
    assert_int_equal(stat.system_ticks, 150);
    assert_int_equal(stat.start_ticks, 220);
}

static void test_proc_text_reads_stat_whatever_its_name(void **state)
{
    (void)state;
    must_be_stat("12 (python3) S" NUMBERS, 'S');
    must_be_stat("12 () R" NUMBERS, 'R');
    must_be_stat("12 (a b) D" NUMBERS, 'D');
    must_be_stat("12 (R) 1 (x) S" NUMBERS, 'S');
    must_be_stat("12 (a\n9 (b) S 1) S" NUMBERS, 'S');
    must_be_stat("12 (\xff\xfe)) Z" NUMBERS, 'Z');
}

static void test_proc_text_refuses_what_is_no_stat(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "12",
        "12 (name",
        "12 (name)",
        "12 (name) ",
        "12 (name) S",
        "12 (name) SS" NUMBERS,
        "12 (name) S 1 2 3 4 -1 6 70 8 90 10 140 150 16 17 20 0 1 0", /* one field short */
        "12 (name) S 1 2 3 4 -1 6 x 8 90 10 140 150 16 17 20 0 1 0 220\n",
        "12 (name) S 1 2 3 4 -1 6 70 8 90 10 99999999999999999999 150 16 17 20 0 1 0 220\n",
    };
    struct proc_stat stat;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_false(proc_text_stat(str_of(texts[i]), &stat));
    }
    /* Cut anywhere it is none, or one that says the same. */
    const char *whole = "12 (name) S" NUMBERS;
    for (size_t len = 0; len < strlen(whole); len++) {
        if (proc_text_stat((struct str){whole, len}, &stat)) {
            assert_true(len >=
                        strlen("12 (name) S 1 2 3 4 -1 6 70 8 90 10 140 150 16 17 20 0 1 0 2"));
        }
    }
}

/* --- the others -------------------------------------------------------------------------------- */

static void test_proc_text_tells_waits_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum wchan wchan;
    } facts[] = {
        {"futex_do_wait", WCHAN_FUTEX},
        {"futex_wait_queue_me", WCHAN_FUTEX},
        {"__futex_wait", WCHAN_FUTEX},
        {"anon_pipe_read", WCHAN_OTHER},
        {"hrtimer_nanosleep", WCHAN_OTHER},
        {"00", WCHAN_OTHER},
        {"0", WCHAN_NONE},
        {"0\n", WCHAN_NONE},
        {"", WCHAN_NONE},
        {"\n", WCHAN_NONE},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        assert_int_equal(proc_text_wchan(str_of(facts[i].text)), facts[i].wchan);
    }
}

static void test_proc_text_knows_numbers_of_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned count;
        uint64_t own;
    } facts[] = {
        {"Name:\tx\nNSpid:\t1234\nNSpgid:\t1\n", 1, 1234},
        {"Name:\tx\nNSpid:\t1234\t12\t1\n", 3, 1},
        {"Name:\tNSpid: 7\nNSpid:\t1234\t12\n", 2, 12},
        {"Name:\tx\nPid:\t1234\n", 0, 0},
        {"NSpid:\n", 0, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        uint64_t own = 0;
        assert_int_equal(proc_text_own_pid(str_of(facts[i].text), &own), facts[i].count);
        assert_int_equal(own, facts[i].own);
    }
}

static void test_proc_text_finds_cgroups(void **state)
{
    (void)state;
    static const char both[] =
        "9:name=systemd:/\n4:memory:/api/b\n2:cpu,cpuacct:/q\n0::/user.slice/a:b\n";
    static const struct {
        const char *text, *controller, *path;
    } facts[] = {
        {both, "cpu", "/q"},        {both, "cpuacct", "/q"},
        {both, "memory", "/api/b"}, {both, "", "/user.slice/a:b"},
        {both, "cp", ""},           {both, "pids", ""},
        {"0::/\n", "", "/"},        {"0::/../../outside\n", "", ""},
        {"0::relative\n", "", ""},  {"0::\n", "", ""},
        {"0:\n\n:::\n", "", ""},    {"", "", ""},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct str path = proc_text_cgroup(str_of(facts[i].text), facts[i].controller);
        assert_true(str_is(path, facts[i].path));
    }
}

static void test_proc_text_reads_pressure_and_sizes(void **state)
{
    (void)state;
    static const char text[] = "some avg10=0.00 avg60=1.50 avg300=0.00 total=1234\n"
                               "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
    uint64_t us = 0;
    assert_true(proc_text_pressure(str_of(text), &us));
    assert_int_equal(us, 1234);
    assert_false(proc_text_pressure(str_of("full avg10=0.00 total=7\n"), &us));
    assert_false(proc_text_pressure(str_of("some avg10=0.00\n"), &us));
    assert_false(proc_text_pressure(str_of("some total=x\n"), &us));
    assert_false(proc_text_pressure(str_of(""), &us));
    assert_int_equal(proc_text_size(str_of("32768K\n")), 32768 << 10);
    assert_int_equal(proc_text_size(str_of("8M\n")), 8 << 20);
    assert_int_equal(proc_text_size(str_of("4096\n")), 4096);
    assert_int_equal(proc_text_size(str_of("K\n")), 0);
    assert_int_equal(proc_text_size(str_of("")), 0);
    assert_int_equal(proc_text_size(str_of("18014398509481983K\n")), UINT64_MAX - 1023);
    assert_int_equal(proc_text_size(str_of("18014398509481984K\n")), 0); /* one over */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proc_text_finds_numbers_by_words),
        cmocka_unit_test(test_proc_text_reads_fields),
        cmocka_unit_test(test_proc_text_reads_stat_whatever_its_name),
        cmocka_unit_test(test_proc_text_refuses_what_is_no_stat),
        cmocka_unit_test(test_proc_text_tells_waits_apart),
        cmocka_unit_test(test_proc_text_knows_numbers_of_namespaces),
        cmocka_unit_test(test_proc_text_finds_cgroups),
        cmocka_unit_test(test_proc_text_reads_pressure_and_sizes),
    };
    return cmocka_run_group_tests_name("proc_text", tests, NULL, NULL);
}
