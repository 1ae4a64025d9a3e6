#include "core_helpers.h"

#include "fake_proc.h"
#include "io/probe/cgroup.h"

static struct fake_proc fake;
static struct proc_text room;

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

static struct cgroup find(const char *text)
{
    struct cgroup cgroup;
    cgroup_find(&cgroup, &fake.roots, str_of(text));
    return cgroup;
}

static void must_be_throttled(const struct cgroup *cgroup, double wanted_ms)
{
    double ms = -1;
    assert_true(cgroup_throttled(cgroup, &room, &ms));
    assert_true(ms == wanted_ms);
}

static void must_not_know_throttling(const struct cgroup *cgroup)
{
    double ms;
    assert_false(cgroup_throttled(cgroup, &room, &ms));
}

/* --- version 2 --------------------------------------------------------------------------------- */

static void test_cgroup_reads_the_quota_of_v2(void **state)
{
    (void)state;
    fake_proc_write(&fake, "cgroup/a/b/cgroup.procs", "1\n");
    fake_proc_write(&fake, "cgroup/a/b/cpu.max", "50000 100000\n");
    fake_proc_write(&fake, "cgroup/a/b/cpu.stat", "usage_usec 9\nthrottled_usec 2500\n");
    struct cgroup cgroup = find("0::/a/b\n");
    must_be_throttled(&cgroup, 2.5);
}

static void test_cgroup_finds_the_quota_above(void **state)
{
    (void)state;
    fake_proc_write(&fake, "cgroup/a/b/cgroup.procs", "1\n");
    fake_proc_write(&fake, "cgroup/a/b/cpu.max", "max 100000\n");
    fake_proc_write(&fake, "cgroup/a/b/cpu.stat", "throttled_usec 0\n");
    fake_proc_write(&fake, "cgroup/a/cpu.max", "50000 100000\n");
    fake_proc_write(&fake, "cgroup/a/cpu.stat", "throttled_usec 7000\n");
    struct cgroup cgroup = find("0::/a/b\n");
    must_be_throttled(&cgroup, 7);
}

static void test_cgroup_in_a_container_is_the_root(void **state)
{
    (void)state;
    fake_proc_write(&fake, "cgroup/cgroup.procs", "1\n");
    fake_proc_write(&fake, "cgroup/cpu.max", "50000 100000\n");
    fake_proc_write(&fake, "cgroup/cpu.stat", "throttled_usec 1000\n");
    struct cgroup cgroup = find("0::/\n");
    must_be_throttled(&cgroup, 1);
}

static void test_cgroup_without_a_quota_throttles_nothing(void **state)
{
    (void)state;
    fake_proc_write(&fake, "cgroup/a/cgroup.procs", "1\n");
    struct cgroup cgroup = find("0::/a\n");
    must_be_throttled(&cgroup, 0);
}

static void test_cgroup_that_cannot_be_seen_is_not_known(void **state)
{
    (void)state;
    struct cgroup cgroup = find("0::/../other\n");
    must_not_know_throttling(&cgroup);
    cgroup = find("0::/a\n");
    must_not_know_throttling(&cgroup);
    cgroup = find("");
    must_not_know_throttling(&cgroup);
    char text[PROC_PATH_MAX + 8] = "0::/";
    memset(text + 4, 'a', PROC_PATH_MAX);
    cgroup = find(text);
    must_not_know_throttling(&cgroup);
}

static void test_cgroup_that_goes_away_is_not_known(void **state)
{
    (void)state;
    fake_proc_write(&fake, "cgroup/a/cgroup.procs", "1\n");
    fake_proc_write(&fake, "cgroup/a/cpu.max", "50000 100000\n");
    struct cgroup cgroup = find("0::/a\n");
    must_not_know_throttling(&cgroup);
    fake_proc_write(&fake, "cgroup/a/cpu.stat", "usage_usec 9\n");
    must_not_know_throttling(&cgroup);
    fake_proc_write(&fake, "cgroup/a/cpu.stat", "throttled_usec 1000\n");
    must_be_throttled(&cgroup, 1);
}

/* --- version 1 --------------------------------------------------------------------------------- */

static void test_cgroup_reads_the_quota_of_v1(void **state)
{
    (void)state;
    fake_proc_write(&fake, "cgroup/cpu/a/cpu.stat", "nr_throttled 3\nthrottled_time 4000000\n");
    fake_proc_write(&fake, "cgroup/cpu/a/cpu.cfs_quota_us", "50000\n");
    struct cgroup cgroup = find("2:cpu:/a\n0::/\n");
    must_be_throttled(&cgroup, 4);
    fake_proc_write(&fake, "cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
    cgroup = find("2:cpu,cpuacct:/a\n0::/\n");
    must_be_throttled(&cgroup, 0);
    /* With quotas in v1, v2 beside it does not know of them. */
    fake_proc_write(&fake, "cgroup/unified/b/cgroup.procs", "1\n");
    cgroup = find("2:cpu:/gone\n0::/b\n");
    must_not_know_throttling(&cgroup);
}

/* --- memory ------------------------------------------------------------------------------------ */

static void must_be_stalled(const struct cgroup *cgroup, double wanted_ms)
{
    double ms = -1;
    assert_true(cgroup_memory_stall(cgroup, &fake.roots, &room, &ms));
    assert_true(ms == wanted_ms);
}

static void test_cgroup_reads_pressure_of_its_own_or_the_machine(void **state)
{
    (void)state;
    double ms;
    struct cgroup cgroup = find("0::/a\n");
    assert_false(cgroup_memory_stall(&cgroup, &fake.roots, &room, &ms));
    fake_proc_write(&fake, "proc/pressure/memory", "some avg10=0.00 total=9000\n");
    must_be_stalled(&cgroup, 9);
    fake_proc_write(&fake, "cgroup/unified/a/memory.pressure", "some avg10=0.00 total=2000\n");
    cgroup = find("0::/a\n");
    must_be_stalled(&cgroup, 2);
    fake_proc_write(&fake, "cgroup/a/memory.pressure", "some avg10=0.00 total=1000\n");
    cgroup = find("0::/a\n");
    must_be_stalled(&cgroup, 1);
}

static void must_leave(uint64_t wanted)
{
    assert_true(cgroup_memory_left(&fake.roots, &room) == wanted);
}

static void test_cgroup_knows_how_much_memory_is_left(void **state)
{
    (void)state;
    must_leave(UINT64_MAX);
    fake_proc_write(&fake, "proc/self/cgroup", "4:memory:/m\n0::/a/b\n");
    must_leave(UINT64_MAX);
    fake_proc_write(&fake, "cgroup/a/b/memory.max", "max\n");
    fake_proc_write(&fake, "cgroup/a/b/memory.current", "400\n");
    must_leave(UINT64_MAX);
    fake_proc_write(&fake, "cgroup/a/memory.max", "1000\n");
    fake_proc_write(&fake, "cgroup/a/memory.current", "300\n");
    must_leave(700);
    fake_proc_write(&fake, "cgroup/memory/m/memory.limit_in_bytes", "500\n");
    fake_proc_write(&fake, "cgroup/memory/m/memory.usage_in_bytes", "100\n");
    must_leave(400);
    fake_proc_write(&fake, "cgroup/a/memory.current", "1001\n"); /* more than there may be */
    must_leave(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cgroup_reads_the_quota_of_v2),
        TEST(test_cgroup_finds_the_quota_above),
        TEST(test_cgroup_in_a_container_is_the_root),
        TEST(test_cgroup_without_a_quota_throttles_nothing),
        TEST(test_cgroup_that_cannot_be_seen_is_not_known),
        TEST(test_cgroup_that_goes_away_is_not_known),
        TEST(test_cgroup_reads_the_quota_of_v1),
        TEST(test_cgroup_reads_pressure_of_its_own_or_the_machine),
        TEST(test_cgroup_knows_how_much_memory_is_left),
    };
    return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
