/* core/evidence: what a sample adds, what cannot be and what becomes of it, and sums of sums. */
#include <math.h>
#include <string.h>

#include "core/evidence.h"
#include "core_helpers.h"

#define PART(part) (1u << SAMPLE_##part)
#define NO         -1 /* not said */

/* A sample of so many ms with user and system time. */
static struct sample sample_with(double wall, double user, double system)
{
    struct sample sample = sample_of("m", wall);
    sample.has = PART(USER) | PART(SYSTEM);
    sample.user_ms = user;
    sample.system_ms = system;
    return sample;
}

static void say(struct sample *sample, enum sample_part part, double *figure, double value)
{
    if (value >= 0) {
        sample->has |= 1u << part;
        *figure = value;
    }
}

#define SAY(sample, part, member, value) say(&(sample), SAMPLE_##part, &(sample).member, value)

static struct evidence must_add(const struct sample *sample, bool possible)
{
    struct evidence evidence = {.inferences = 0};
    assert_int_equal(evidence_add(&evidence, sample), possible);
    assert_int_equal(evidence.inferences, 1);
    assert_true(evidence.wall_ms == sample->execution_time_ms);
    return evidence;
}

static void test_evidence_needs_user_and_system_time(void **state)
{
    (void)state;
    const uint32_t without[] = {0, PART(USER), PART(SYSTEM), PART(RUNQUEUE),
                                PART(USER) | PART(RUNQUEUE) | PART(PROCESS_CPU) | PART(THREAD_ID)};
    struct sample sample = sample_of("m", 1);
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        sample.has = without[i];
        assert_false(evidence_is_in(&sample));
    }
    sample.has = PART(USER) | PART(SYSTEM);
    assert_true(evidence_is_in(&sample));
}

static void test_evidence_cpu_time_fits_wall_time(void **state)
{
    (void)state;
    const struct {
        double wall, user, system, threads;
        bool possible;
        double wanted_user, wanted_system;
    } table[] = {
        {10, 0, 0, NO, true, 0, 0},
        {10, 6, 3, NO, true, 6, 3},
        {10, 8, 2, NO, true, 8, 2},
        /* one thread and a little more: two clocks, of which none is wrong */
        {10, 8.16, 2.04, NO, true, 8, 2},
        {1, 1.03, 0, NO, true, 1, 0}, /* 0.02 of it and 0.01 ms: the limit */
        {0.001, 0.0110, 0, NO, true, 0.001, 0},
        /* one over: then it is of several threads, which nobody counted */
        {1, 1.031, 0, NO, true, 1.031, 0},
        {0.001, 0.0111, 0, NO, true, 0.0111, 0},
        {10, 30, 10, NO, true, 30, 10},
        {1, 1024, 0, NO, true, 1024, 0},
        {1, 1044, 0, NO, true, 1024, 0},
        /* more CPUs than there are */
        {1, 1045, 0, NO, false, 1024, 0},
        {1, 3072, 1024, NO, false, 768, 256},
        {10, 4294967, 0, NO, false, 10240, 0}, /* µs that wrapped at 32 bits */
        {0, 0.01, 0, NO, true, 0, 0},
        {0, 0.011, 0, NO, false, 0, 0},
        {0, 0, 0, NO, true, 0, 0},
        {RECORD_MS_MAX, RECORD_MS_MAX, RECORD_MS_MAX, NO, true, RECORD_MS_MAX, RECORD_MS_MAX},
        {0, RECORD_MS_MAX, RECORD_MS_MAX, NO, false, 0, 0},
        /* who counted them is held to it */
        {10, 8.16, 2.04, 1, true, 8, 2},
        {10, 12, 8, 1, false, 6, 4},
        {10, 30, 10, 4, true, 30, 10},
        {10, 30.6, 10.2, 4, true, 30, 10},
        {10, 60, 20, 4, false, 30, 10},
        {10, 12, 8, 0, false, 6, 4}, /* 0 threads is 1: something ran */
        {1, 2000, 0, 2000, true, 2000, 0},
        {1, 1, 0, RECORD_COUNT_MAX, true, 1, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sample sample = sample_with(table[i].wall, table[i].user, table[i].system);
        SAY(sample, THREADS, threads, table[i].threads);
        struct evidence evidence = must_add(&sample, table[i].possible);
        must_be_near(evidence.user_ms, table[i].wanted_user, 1e-12);
        must_be_near(evidence.system_ms, table[i].wanted_system, 1e-12);
        assert_true(evidence.threads == (table[i].threads > 0 ? table[i].threads : 0));
    }
}

static void test_evidence_wait_for_a_cpu_is_said_or_a_range(void **state)
{
    (void)state;
    const struct {
        double wall, cpu, threads, runqueue, involuntary;
        bool possible;
        double low, high;
    } table[] = {
        /* said */
        {10, 4, NO, 0, NO, true, 0, 0},
        {10, 4, NO, 2, NO, true, 2, 2},
        {10, 4, NO, 6, NO, true, 6, 6},
        {10, 4, NO, 2, 100, true, 2, 2}, /* what is read is better than what is counted */
        /* read late by a tick: the limit, and one over */
        {10, 4, NO, 16, NO, true, 6, 6},
        {10, 4, NO, 16.1, NO, false, 6, 6},
        {10, 10, NO, 10, NO, true, 0, 0},
        /* of several threads each may have waited, and the inference did not */
        {10, 40, NO, 50, NO, true, 0, 0},
        {10, 15, 4, 25, NO, true, 0, 0},
        {10, 5, 4, 45, NO, true, 5, 5},
        {10, 5, 4, 46, NO, false, 5, 5},
        /* not said: between nothing and what the switches leave open */
        {10, 4, NO, NO, 0, true, 0, 0},
        {10, 4, NO, NO, 1, true, 0, 4},
        {10, 4, NO, NO, 2, true, 0, 6},
        {10, 4, NO, NO, 1e9, false, 0, 6},
        /* nobody counted */
        {10, 4, NO, NO, NO, true, 0, 6},
        {10, 10, NO, NO, NO, true, 0, 0},
        {10, 40, NO, NO, 3, true, 0, 0},
        {0, 0, NO, NO, NO, true, 0, 0},
        {0, 0, NO, 0, NO, true, 0, 0},
        {0, 0, NO, 11, NO, false, 0, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sample sample = sample_with(table[i].wall, table[i].cpu, 0);
        SAY(sample, THREADS, threads, table[i].threads);
        SAY(sample, RUNQUEUE, runqueue_ms, table[i].runqueue);
        SAY(sample, INVOLUNTARY_SWITCHES, involuntary_switches, table[i].involuntary);
        struct evidence evidence = must_add(&sample, table[i].possible);
        assert_true(evidence.runqueue_low_ms == table[i].low);
        assert_true(evidence.runqueue_high_ms == table[i].high);
        assert_int_equal(evidence.runqueue_said, table[i].runqueue >= 0);
    }
}

static void test_evidence_process_has_the_time_of_its_thread(void **state)
{
    (void)state;
    const struct {
        double wall, cpu, process;
        bool possible;
        double wanted;
    } table[] = {
        {10, 4, 4, true, 4},
        {10, 4, 9, true, 9},
        {10, 4, 40, true, 40},
        {10, 4, 3.91, true, 4}, /* 0.02 of it and 0.01 ms: the limit */
        {10, 4, 3.90, false, 4},
        {10, 4, 0, false, 4},
        {10, 0, 0, true, 0},
        {1, 1, 1024, true, 1024},
        {1, 1, 1044, true, 1024},
        {1, 1, 1045, false, 1024},
        {0, 0, RECORD_MS_MAX, false, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sample sample = sample_with(table[i].wall, table[i].cpu, 0);
        SAY(sample, PROCESS_CPU, process_cpu_ms, table[i].process);
        struct evidence evidence = must_add(&sample, table[i].possible);
        assert_int_equal(evidence.process_said, 1);
        assert_true(evidence.process_wall_ms == table[i].wall);
        assert_true(evidence.process_cpu_ms == table[i].wanted);
        assert_true(evidence.process_thread_ms == table[i].cpu);
        assert_true(evidence.process_beside_ms == 0);
    }
}

/* A counter goes as high as there was time for, and some more that the readings cause. */
static void test_evidence_counters_do_not_outrun_time(void **state)
{
    (void)state;
    const struct {
        double wall, cpu, threads, count;
        bool possible;
        double wanted;
    } table[] = {
        {1, 0, NO, 0, true, 0},
        {1, 0.5, NO, 12, true, 12},
        {1, 0, NO, 10064, true, 10064}, /* 0.1 µs each, and 64 */
        {1, 0, NO, 10065, false, 10064},
        {1, 0, 4, 40064, true, 40064},
        {1, 0, 4, 40065, false, 40064},
        {1, 4, NO, 40064, true, 40064}, /* of several threads */
        {1, 4, NO, 40065, false, 40064},
        {0, 0, NO, 64, true, 64},
        {0, 0, NO, 65, false, 64},
        {60000, 60000, NO, 4294967290, false, 600000064}, /* it wrapped at 32 bits */
        {10, 0, NO, RECORD_COUNT_MAX, false, 100064},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (unsigned which = 0; which < 4; which++) {
            struct sample sample = sample_with(table[i].wall, table[i].cpu, 0);
            SAY(sample, THREADS, threads, table[i].threads);
            SAY(sample, MINOR_FAULTS, minor_faults, which == 0 ? table[i].count : NO);
            SAY(sample, MAJOR_FAULTS, major_faults, which == 1 ? table[i].count : NO);
            SAY(sample, SWITCHES, voluntary_switches, which == 2 ? table[i].count : NO);
            SAY(sample, INVOLUNTARY_SWITCHES, involuntary_switches,
                which == 3 ? table[i].count : NO);
            struct evidence evidence = must_add(&sample, table[i].possible);
            const double got[] = {evidence.minor_faults, evidence.major_faults,
                                  evidence.voluntary_switches, evidence.involuntary_switches};
            for (unsigned k = 0; k < 4; k++) {
                must_be_near(got[k], k == which ? table[i].wanted : 0, 1e-12);
            }
        }
    }
}

static void test_evidence_disks_are_not_quicker_than_memory(void **state)
{
    (void)state;
    const struct {
        double wall, bytes;
        bool possible;
        double wanted;
    } table[] = {
        {1, 0, true, 0},
        {1, 1001048576, true, 1001048576},
        {1, 1001048577, false, 1001048576},
        {0, 1048576, true, 1048576},
        {0, 1048577, false, 1048576},
        {1, RECORD_COUNT_MAX, false, 1001048576},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sample sample = sample_with(table[i].wall, 0, 0);
        SAY(sample, DISK_BYTES, disk_bytes, table[i].bytes);
        struct evidence evidence = must_add(&sample, table[i].possible);
        assert_true(evidence.disk_bytes == table[i].wanted);
    }
}

static void test_evidence_hints_have_a_wall_time_of_their_own(void **state)
{
    (void)state;
    struct evidence evidence = {.inferences = 0};
    struct sample sample = sample_with(10, 5, 0);
    assert_true(evidence_add(&evidence, &sample));
    assert_int_equal(evidence.bytes_said + evidence.flops_said, 0);
    SAY(sample, BYTES_MOVED, bytes_moved, 1e6);
    assert_true(evidence_add(&evidence, &sample));
    SAY(sample, FLOPS, flops, 1e9);
    assert_true(evidence_add(&evidence, &sample));
    assert_int_equal(evidence.inferences, 3);
    assert_int_equal(evidence.bytes_said, 2);
    assert_true(evidence.bytes_moved == 2e6 && evidence.bytes_wall_ms == 20);
    assert_int_equal(evidence.flops_said, 1);
    assert_true(evidence.flops == 1e9 && evidence.flops_wall_ms == 10);
    assert_true(evidence.wall_ms == 30);
}

static void test_evidence_of_a_weighted_sample_counts_once(void **state)
{
    (void)state;
    struct sample sample = sample_with(10, 5, 1);
    SAY(sample, PROCESS_CPU, process_cpu_ms, 7);
    SAY(sample, MINOR_FAULTS, minor_faults, 3);
    struct evidence alone = must_add(&sample, true);
    sample.has |= PART(WEIGHT);
    sample.weight = RECORD_WEIGHT_MAX;
    struct evidence weighted = must_add(&sample, true);
    assert_memory_equal(&weighted, &alone, sizeof alone);
}

static void test_evidence_threads_are_the_most_that_was_said(void **state)
{
    (void)state;
    struct evidence evidence = {.inferences = 0};
    const double said[] = {NO, 2, 8, NO, 4};
    const double most[] = {0, 2, 8, 8, 8};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        struct sample sample = sample_with(10, 5, 0);
        SAY(sample, THREADS, threads, said[i]);
        assert_true(evidence_add(&evidence, &sample));
        assert_true(evidence.threads == most[i]);
    }
}

static double figure_of(struct random *random, double most)
{
    return random_below(random, 8) == 0 ? 0 : most * random_unit(random);
}

/* Whatever decoders let through: no sum is negative, no number, or more than there was room for. */
static void test_evidence_holds_together_whatever_comes(void **state)
{
    (void)state;
    struct random random = random_start("evidence");
    for (int i = 0; i < 20000; i++) {
        double wall = figure_of(&random, random_below(&random, 2) == 0 ? 10 : RECORD_MS_MAX);
        double most = random_below(&random, 2) == 0 ? 2 * wall : RECORD_MS_MAX;
        struct sample sample =
            sample_with(wall, figure_of(&random, most), figure_of(&random, most));
        sample.has |= (uint32_t)random_next(&random) & ((1u << SAMPLE_PART_COUNT) - 1);
        sample.weight = 1;
        sample.runqueue_ms = figure_of(&random, most);
        sample.process_cpu_ms = figure_of(&random, most);
        sample.threads = (double)random_below(&random, 9);
        sample.minor_faults = figure_of(&random, RECORD_COUNT_MAX);
        sample.major_faults = sample.disk_bytes = figure_of(&random, RECORD_COUNT_MAX);
        sample.involuntary_switches = (double)random_below(&random, 4);
        sample.voluntary_switches = figure_of(&random, 100);
        struct evidence evidence = {.inferences = 0};
        (void)evidence_add(&evidence, &sample); /* either is possible */
        double cpu = evidence.user_ms + evidence.system_ms;
        double idle = wall > cpu ? wall - cpu : 0;
        double little = 1e-9 * (wall + cpu);
        double threads = SAMPLE_HAS(&sample, THREADS) ? fmax(sample.threads, 1) : 1024;
        assert_true(evidence.user_ms >= 0 && evidence.system_ms >= 0);
        assert_true(cpu <= wall * threads + little);
        assert_true(evidence.runqueue_low_ms >= 0);
        assert_true(evidence.runqueue_low_ms <= evidence.runqueue_high_ms);
        assert_true(evidence.runqueue_high_ms <= idle + little);
        assert_true(evidence.process_said == 0 || evidence.process_cpu_ms >= cpu - little);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_evidence_needs_user_and_system_time),
        cmocka_unit_test(test_evidence_cpu_time_fits_wall_time),
        cmocka_unit_test(test_evidence_wait_for_a_cpu_is_said_or_a_range),
        cmocka_unit_test(test_evidence_process_has_the_time_of_its_thread),
        cmocka_unit_test(test_evidence_counters_do_not_outrun_time),
        cmocka_unit_test(test_evidence_disks_are_not_quicker_than_memory),
        cmocka_unit_test(test_evidence_hints_have_a_wall_time_of_their_own),
        cmocka_unit_test(test_evidence_of_a_weighted_sample_counts_once),
        cmocka_unit_test(test_evidence_threads_are_the_most_that_was_said),
        cmocka_unit_test(test_evidence_holds_together_whatever_comes),
    };
    return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
