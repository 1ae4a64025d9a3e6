#include "core_helpers.h"

#include <math.h>
#include <stdio.h>

#include "mem_fault.h"

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    mem_always_move(true);
    core_open(&core, &options);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    mem_always_move(false);
    return 0;
}

static struct process *must_enter(uint64_t pid)
{
    struct process *process = process_enter(&core.processes, pid, (int64_t)pid);
    assert_non_null(process);
    return process;
}

/* Without a watcher a process ends when its last connection does. */
static void leave(struct process *process)
{
    process_leave(&core.processes, process);
}

static void count(enum metric_op op, const char *name, double value, const char *attributes,
                  struct process *process)
{
    struct metric metric = metric_of(op, name, value, attributes);
    must_count(&core, &metric, process);
}

static void must_be_value(const char *family, const char *labels, double wanted)
{
    double got = core_series(&core, family, labels).number;
    if (!(got == wanted || (isnan(got) && isnan(wanted)))) {
        fail_msg("%s{%s} is %.17g, not %.17g", family, labels, got, wanted);
    }
}

/* --- parts of processes ------------------------------------------------------------------------ */

/* The heads of lists of parts lie in one piece of memory for all series of a family. */
static void test_metrics_parts_survive_the_growth_of_their_family(void **state)
{
    (void)state;
    enum { MANY = 99 };
    char labels[MANY][16];
    struct process *one = must_enter(1);
    struct process *two = must_enter(2);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(labels[i], sizeof labels[i], "i=%d", i);
        count(METRIC_ADD, "g", 1, labels[i], one);
        count(METRIC_ADD, "g", 2, labels[i], two);
    }
    leave(one);
    for (int i = 0; i < MANY; i++) {
        must_be_value("g", labels[i], 2);
    }
    leave(two);
    for (int i = 0; i < MANY; i++) {
        must_be_value("g", labels[i], 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metrics_parts_survive_the_growth_of_their_family),
    };
    return cmocka_run_group_tests_name("metrics", tests, core_tables, NULL);
}
