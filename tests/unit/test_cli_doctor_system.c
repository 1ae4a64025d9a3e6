/* What doctor reads of a system, from files that the test makes in the place of /proc and of cgroups. */
#include "cli_golden.h"

#include <ftw.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/doctor_system.h"

static char place[] = "/tmp/dwell-doctor-XXXXXX";
static char proc[64], cgroup[64];
static const struct doctor_roots roots = {proc, cgroup};
static struct doctor_system found;
static struct findings findings;

static void must_write(const char *root, const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + sizeof place, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700); /* it may be there */
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static int close_place(void **state)
{
    (void)state;
    findings_fini(&findings);
    return nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int open_place(void **state)
{
    (void)state;
    memcpy(place + sizeof place - sizeof "XXXXXX", "XXXXXX", sizeof "XXXXXX");
    if (mkdtemp(place) == NULL) {
        return -1;
    }
    (void)snprintf(proc, sizeof proc, "%s/proc", place);
    (void)snprintf(cgroup, sizeof cgroup, "%s/cgroup", place);
    findings_init(&findings, true);
    must_write(proc, "sys/net/core/somaxconn", "4096\n");
    must_write(proc, "sys/net/unix/max_dgram_qlen", "512\n");
    must_write(proc, "4711/comm", "dwelld\n");
    must_write(proc, "4711/cgroup", "0::/system.slice/dwelld.service\n");
    must_write(cgroup, "system.slice/dwelld.service/cgroup.procs", "4711\n");
    return 0;
}

/* Looks, and judges with what the daemon says. */
static void look(const char *status)
{
    json_t *root = json_loads(status, 0, NULL);
    assert_non_null(root);
    findings_fini(&findings);
    findings_init(&findings, true);
    doctor_system_look(&found, &roots, 4711);
    doctor_system_judge(&found, root, &findings);
    json_decref(root);
}

static void must_find(const char *name, enum finding_state state, const char *text,
                      const char *mend)
{
    for (size_t i = 0; i < findings.count; i++) {
        const struct finding *row = &findings.rows[i];
        if (strcmp(row->name, name) == 0) {
            struct str said = {row->found.data, row->found.len};
            struct str told = {row->mend.data, row->mend.len};
            if (row->state != state || !str_is(said, text) || !str_is(told, mend)) {
                fail_msg("%s %d: %.*s | %.*s", name, (int)row->state, (int)said.len, said.ptr,
                         (int)told.len, told.len > 0 ? told.ptr : "");
            }
            return;
        }
    }
    fail_msg("no row %s", name);
}

static const char good[] = "{\"limits\":{\"ingest.max_connections\":1024},\"rss_bytes\":6291456,"
                           "\"counters\":{\"datagrams_total\":0}}";

static void test_cli_doctor_system_without_limits(void **state)
{
    (void)state;
    char cpus[64];
    look(good);
    assert_true(findings_are_well(&findings));
    must_find("backlog", FINDING_OK, "4,096 connections may wait to be taken (net.core.somaxconn)",
              "");
    must_find("datagrams", FINDING_OK,
              "512 may wait to be read (net.unix.max_dgram_qlen), none came", "");
    must_find("memory", FINDING_OK, "6.00 MB, without a limit of its cgroup's", "");
    (void)snprintf(cpus, sizeof cpus, "no quota, %.0f CPUs", found.cpus);
    must_find("cpu", FINDING_OK, cpus, "");
}

static void test_cli_doctor_system_limits_of_version_2(void **state)
{
    (void)state;
    must_write(cgroup, "system.slice/memory.max", "7864320\n");
    must_write(cgroup, "system.slice/dwelld.service/memory.max", "8388608\n");
    must_write(cgroup, "system.slice/dwelld.service/memory.events", "low 0\noom 3\noom_kill 2\n");
    must_write(cgroup, "system.slice/cpu.max", "max 100000\n");
    must_write(cgroup, "system.slice/dwelld.service/cpu.max", "50000 100000\n");
    must_write(cgroup, "system.slice/dwelld.service/cpu.stat",
               "usage_usec 5\nnr_periods 1000\nnr_throttled 50\n");
    look(good);
    must_find("memory", FINDING_OK,
              "6.00 MB of at most 7.50 MB; the kernel ended 2 of its cgroup for it", "");
    must_find("cpu", FINDING_OK, "a quota of 0.5 CPUs, which held it in 50 of 1,000 periods", "");
    must_write(cgroup, "system.slice/memory.max", "7864319\n");
    must_write(cgroup, "system.slice/dwelld.service/cpu.stat",
               "nr_periods 1000\nnr_throttled 51\n");
    look(good);
    must_find("memory", FINDING_WARN,
              "6.00 MB of at most 7.50 MB; the kernel ended 2 of its cgroup for it",
              "Raise MemoryMax=, or the container's limit; or lower metrics.max_series and "
              "profiling.max_models");
    must_find("cpu", FINDING_WARN, "a quota of 0.5 CPUs, which held it in 51 of 1,000 periods",
              "Raise CPUQuota=, or the container's limit of CPU");
    must_write(cgroup, "system.slice/dwelld.service/cpu.stat", "nr_periods 10\nnr_throttled 9\n");
    look(good);
    must_find("cpu", FINDING_OK, "a quota of 0.5 CPUs, which held it in 9 of 10 periods", "");
}

static void test_cli_doctor_system_limits_of_version_1(void **state)
{
    (void)state;
    must_write(proc, "4711/cgroup",
               "4:memory:/pod/a\n2:cpuacct,cpu:/pod/a\n1:name=systemd:/\n0::/\n");
    must_write(cgroup, "memory/pod/a/memory.limit_in_bytes", "9223372036854771712\n");
    must_write(cgroup, "memory/pod/memory.limit_in_bytes", "12582912\n");
    must_write(cgroup, "memory/pod/a/memory.oom_control", "oom_kill_disable 0\noom_kill 1\n");
    must_write(cgroup, "cpu/pod/a/cpu.cfs_quota_us", "-1\n");
    must_write(cgroup, "cpu/pod/a/cpu.cfs_period_us", "100000\n");
    must_write(cgroup, "cpu/pod/cpu.cfs_quota_us", "150000\n");
    must_write(cgroup, "cpu/pod/cpu.cfs_period_us", "100000\n");
    must_write(cgroup, "cpu/pod/cpu.stat", "nr_periods 7\nnr_throttled 0\n");
    look(good);
    must_find("memory", FINDING_OK,
              "6.00 MB of at most 12.0 MB; the kernel ended 1 of its cgroup for it", "");
    must_find("cpu", FINDING_OK, "a quota of 1.5 CPUs, which held it in 0 of 7 periods", "");
}

/* In a namespace the path is the host's, and what can be seen is the root. */
static void test_cli_doctor_system_of_a_namespace(void **state)
{
    (void)state;
    must_write(proc, "4711/cgroup", "0::/kubepods/pod1/c2\n");
    must_write(cgroup, "memory.max", "16777216\n");
    look(good);
    must_find("memory", FINDING_OK, "6.00 MB of at most 16.0 MB", "");
}

/* Not this machine's, or not dwelld's. */
static void test_cli_doctor_system_of_a_process_that_cannot_be_seen(void **state)
{
    (void)state;
    static const char unseen[] = "6.00 MB; its cgroup cannot be seen from here";
    must_write(proc, "4711/comm", "nginx\n");
    look(good);
    must_find("memory", FINDING_UNKNOWN, unseen, "");
    must_write(proc, "4711/comm", "dwelld\n");
    must_write(proc, "4711/cgroup", "nonsense\n\n::\n");
    look(good);
    must_find("memory", FINDING_UNKNOWN, unseen, "");
    doctor_system_look(&found, &roots, 0);
    assert_false(found.has_cgroup);
    doctor_system_look(&found, &(struct doctor_roots){"/nowhere", "/nowhere"}, 4711);
    assert_true(isnan(found.somaxconn) && isnan(found.dgram_qlen) && !found.has_cgroup);
}

static void test_cli_doctor_system_queues(void **state)
{
    (void)state;
    must_write(proc, "sys/net/core/somaxconn", "1023\n");
    must_write(proc, "sys/net/unix/max_dgram_qlen", "63\n");
    look("{\"limits\":{\"ingest.max_connections\":1024},\"counters\":{\"datagrams_total\":5}}");
    must_find("backlog", FINDING_WARN,
              "1,023 connections may wait to be taken (net.core.somaxconn), fewer than may come at "
              "once",
              "sysctl -w net.core.somaxconn=4096");
    must_find(
        "datagrams", FINDING_WARN, "63 may wait to be read (net.unix.max_dgram_qlen), 5 came",
        "sysctl -w net.unix.max_dgram_qlen=512, and restart dwelld: a sender in a burst finds "
        "no room");
    must_write(proc, "sys/net/core/somaxconn", "1024\n");
    must_write(proc, "sys/net/unix/max_dgram_qlen", "64\n");
    look("{\"limits\":{\"ingest.max_connections\":1024},\"counters\":{\"datagrams_total\":5}}");
    assert_true(findings_are_well(&findings));
    must_write(proc, "sys/net/unix/max_dgram_qlen", "10\n"); /* and nobody sends datagrams */
    look(good);
    assert_true(findings_are_well(&findings));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_place, close_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cli_doctor_system_without_limits),
        TEST(test_cli_doctor_system_limits_of_version_2),
        TEST(test_cli_doctor_system_limits_of_version_1),
        TEST(test_cli_doctor_system_of_a_namespace),
        TEST(test_cli_doctor_system_of_a_process_that_cannot_be_seen),
        TEST(test_cli_doctor_system_queues),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_doctor_system", tests, NULL, NULL);
}
