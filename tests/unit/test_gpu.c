#include "core_helpers.h"

#include <math.h>
#include <stdio.h>

#include "core/gpu.h"

#define UNKNOWN ((double)NAN)

/* A model of 25 ms of which nothing else is said. */
static struct gpu_facts facts_of_25_ms(void)
{
    return (struct gpu_facts){.load = {.mean_ms = 25,
                                       .p99_ms = 60,
                                       .movable = UNKNOWN,
                                       .cpu_ms = UNKNOWN,
                                       .rate = 100,
                                       .flops = 0,
                                       .bytes_moved = 0},
                              .starved = UNKNOWN};
}

static struct verdict verdict_of(enum rule rule, enum bottleneck bottleneck)
{
    struct verdict verdict;
    verdict_init(&verdict);
    verdict.rule = rule;
    verdict.bottleneck = bottleneck;
    (void)snprintf(verdict.reason, sizeof verdict.reason, "as the rule has it");
    return verdict;
}

static void share(struct verdict *verdict, double compute, double memory, double io, double lock)
{
    verdict->share[SHARE_COMPUTE] = compute;
    verdict->share[SHARE_MEMORY] = memory;
    verdict->share[SHARE_IO] = io;
    verdict->share[SHARE_LOCK] = lock;
}

static struct gpu_answer must_decide_by(const struct gpu_options *options,
                                        const struct gpu_facts *facts, struct verdict *verdict,
                                        enum gpu_decision decision)
{
    struct gpu_answer answer;
    gpu_decide(options, facts, verdict, &answer);
    if (verdict->gpu != decision) {
        fail_msg("%d is not %d: %s", verdict->gpu, decision, answer.reason);
    }
    assert_true(strlen(answer.reason) > 0);
    assert_true(strlen(answer.reason) < sizeof answer.reason - 1);
    assert_true(strlen(verdict->recommendation) > 0);
    assert_true(answer.action < GPU_ACTION_COUNT);
    assert_true(decision != GPU_INSUFFICIENT || answer.action != GPU_ACTION_NONE);
    return answer;
}

static struct gpu_answer must_decide(const struct gpu_facts *facts, struct verdict *verdict,
                                     enum gpu_decision decision)
{
    return must_decide_by(&core_gpu, facts, verdict, decision);
}

/* --- the ceiling ------------------------------------------------------------------------------- */

static void test_gpu_ceiling_is_amdahls(void **state)
{
    (void)state;
    assert_true(gpu_max_speedup(0) == 1);
    assert_true(gpu_max_speedup(0.5) == 2);
    assert_true(gpu_max_speedup(0.75) == 4);
    assert_true(isinf(gpu_max_speedup(1)) && gpu_max_speedup(1) > 0);
    assert_true(isnan(gpu_max_speedup(UNKNOWN)));
}

static void test_gpu_ceiling_is_of_what_can_move(void **state)
{
    (void)state;
    const struct {
        double compute, memory, io, lock, by_state;
        double ceiling;
    } table[] = {
        {1, 0, 0, 0, UNKNOWN, (double)INFINITY},
        {0, 1, 0, 0, UNKNOWN, (double)INFINITY},
        {0.5, 0.25, 0.25, 0, UNKNOWN, 4},
        {0.5, 0, 0, 0.5, UNKNOWN, 2}, /* what waits for a lock goes on to */
        {0, 0, 1, 0, UNKNOWN, 1},
        {0.5, 0, 0.5, 0, 1, 2}, /* shares go before time by state */
        {UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, 0.75, 4},
        {UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN},
        {0.6, 0.4000000000000001, 0, 0, UNKNOWN, (double)INFINITY}, /* the sum is rounded */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_facts facts = facts_of_25_ms();
        struct verdict verdict = verdict_of(RULE_WAIT, BOTTLENECK_UNKNOWN);
        share(&verdict, table[i].compute, table[i].memory, table[i].io, table[i].lock);
        facts.load.movable = table[i].by_state;
        (void)must_decide(&facts, &verdict, GPU_INSUFFICIENT);
        assert_true(isnan(table[i].ceiling) ? isnan(verdict.max_speedup)
                                            : verdict.max_speedup == table[i].ceiling);
    }
}

/* --- by the rule ------------------------------------------------------------------------------- */

static void test_gpu_decides_by_thresholds_as_they_do(void **state)
{
    (void)state;
    const struct {
        enum rule rule;
        enum bottleneck bottleneck;
        enum gpu_decision decision;
        enum gpu_action action;
    } table[] = {
        {RULE_LATENCY_FLOOR, BOTTLENECK_IO, GPU_NO, GPU_ACTION_NONE},
        {RULE_NO_CPU, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT, GPU_ACTION_SEND_CPU},
        {RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES, GPU_ACTION_SEND_EVIDENCE},
        {RULE_IO_LOW_CPU, BOTTLENECK_IO, GPU_NO, GPU_ACTION_NONE},
        {RULE_MODERATE, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT, GPU_ACTION_SEND_EVIDENCE},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_facts facts = facts_of_25_ms();
        struct verdict verdict = verdict_of(table[i].rule, table[i].bottleneck);
        verdict.recommendation = "some";
        struct gpu_answer answer = must_decide(&facts, &verdict, table[i].decision);
        assert_int_equal(answer.action, table[i].action);
        assert_string_equal(answer.reason, "as the rule has it");
        assert_false(answer.estimated);
    }
}

/* Half of the time could move, at most: a GPU makes it twice as fast, or a little less. */
static void test_gpu_decides_by_evidence_without_hints(void **state)
{
    (void)state;
    const struct {
        enum rule rule;
        enum bottleneck bottleneck;
        double compute, memory, io, lock;
        enum gpu_decision decision;
        enum gpu_action action;
    } table[] = {
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE, 0.9, 0, 0.1, 0, GPU_YES, GPU_ACTION_SEND_HINTS},
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE, 1, 0, 0, 0, GPU_YES, GPU_ACTION_SEND_HINTS},
        {RULE_EVIDENCE, BOTTLENECK_MEMORY, 0, 0.9, 0.1, 0, GPU_YES, GPU_ACTION_SEND_HINTS},
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE, 0.5, 0, 0.5, 0, GPU_YES, GPU_ACTION_SEND_HINTS},
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE, 0.4999, 0, 0.5001, 0, GPU_NO, GPU_ACTION_NONE},
        {RULE_EVIDENCE, BOTTLENECK_IO, 0.1, 0, 0.9, 0, GPU_NO, GPU_ACTION_NONE},
        {RULE_CPU, BOTTLENECK_UNKNOWN, 0.5, 0.4, 0.1, 0, GPU_YES, GPU_ACTION_SEND_HINTS},
        {RULE_CPU, BOTTLENECK_UNKNOWN, 0.3, 0.1, 0.6, 0, GPU_NO, GPU_ACTION_NONE},
        {RULE_MIXED, BOTTLENECK_UNKNOWN, 0.5, 0.1, 0.4, 0, GPU_INSUFFICIENT, GPU_ACTION_SEND_HINTS},
        {RULE_MIXED, BOTTLENECK_UNKNOWN, 0.4, 0, 0.3, 0.3, GPU_NO, GPU_ACTION_NONE},
        {RULE_LOCK, BOTTLENECK_UNKNOWN, 0.4, 0, 0, 0.6, GPU_INSUFFICIENT, GPU_ACTION_SHORTEN_LOCK},
        {RULE_WAIT, BOTTLENECK_UNKNOWN, 0.1, 0, 0.9, 0, GPU_INSUFFICIENT, GPU_ACTION_SHOW_WAITS},
        {RULE_STARVED, BOTTLENECK_UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, GPU_INSUFFICIENT,
         GPU_ACTION_FREE_CPU},
        {RULE_INSUFFICIENT, BOTTLENECK_UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN,
         GPU_INSUFFICIENT, GPU_ACTION_SEND_SAMPLES},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_facts facts = facts_of_25_ms();
        struct verdict verdict = verdict_of(table[i].rule, table[i].bottleneck);
        share(&verdict, table[i].compute, table[i].memory, table[i].io, table[i].lock);
        struct gpu_answer answer = must_decide(&facts, &verdict, table[i].decision);
        assert_int_equal(answer.action, table[i].action);
        assert_false(answer.estimated);
    }
}

static void test_gpu_says_what_it_would_take_over(void **state)
{
    (void)state;
    const struct {
        enum rule rule;
        enum bottleneck bottleneck;
        const char *recommendation;
    } table[] = {
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE,
         "Evaluate a GPU: the time goes into computing, which it can take over."},
        {RULE_EVIDENCE, BOTTLENECK_MEMORY,
         "Evaluate a GPU: the time goes into waiting for memory, and its own is faster."},
        {RULE_CPU, BOTTLENECK_UNKNOWN,
         "Evaluate a GPU: the time goes into computing or waiting for memory, and it can take over "
         "both."},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_facts facts = facts_of_25_ms();
        struct verdict verdict = verdict_of(table[i].rule, table[i].bottleneck);
        share(&verdict, 0.5, 0.4, 0.1, 0);
        (void)must_decide(&facts, &verdict, GPU_YES);
        assert_string_equal(verdict.recommendation, table[i].recommendation);
    }
}

static void test_gpu_is_no_where_a_launch_takes_longer(void **state)
{
    (void)state;
    const struct {
        double mean_ms;
        enum gpu_decision decision;
    } table[] = {{0, GPU_NO}, {0.1199, GPU_NO}, {0.12, GPU_NO}, {0.1201, GPU_YES}, {1e12, GPU_YES}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_facts facts = facts_of_25_ms();
        struct verdict verdict = verdict_of(RULE_EVIDENCE, BOTTLENECK_COMPUTE);
        share(&verdict, 1, 0, 0, 0);
        facts.load.mean_ms = table[i].mean_ms;
        (void)must_decide(&facts, &verdict, table[i].decision);
    }
}

static void test_gpu_is_not_asked_off_the_cpu(void **state)
{
    (void)state;
    const struct {
        const char *device;
        bool asked;
    } table[] = {{"", true}, {"cpu", true}, {"cuda:0", false}, {"cpu:0", false}, {"CPU", false}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (unsigned rule = 0; rule < RULE_COUNT; rule++) {
            struct gpu_facts facts = facts_of_25_ms();
            struct verdict verdict = verdict_of((enum rule)rule, BOTTLENECK_COMPUTE);
            share(&verdict, 0.5, 0, 0.5, 0);
            facts.device = str_of(table[i].device);
            struct gpu_answer answer;
            gpu_decide(&core_gpu, &facts, &verdict, &answer);
            assert_true((verdict.gpu != GPU_NOT_ASKED) == table[i].asked);
            assert_true(isnan(verdict.max_speedup) != table[i].asked);
        }
    }
}

/* --- starved ----------------------------------------------------------------------------------- */

static void test_gpu_is_never_yes_while_starved(void **state)
{
    (void)state;
    const struct {
        double starved;
        bool is_starved;
    } table[] = {{UNKNOWN, false}, {0, false}, {0.2, false}, {0.2001, true}, {1, true}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (unsigned rule = 0; rule < RULE_COUNT; rule++) {
            for (unsigned hints = 0; hints < 2; hints++) {
                struct gpu_facts facts = facts_of_25_ms();
                struct verdict verdict = verdict_of((enum rule)rule, BOTTLENECK_COMPUTE);
                share(&verdict, 1, 0, 0, 0);
                facts.starved = table[i].starved;
                facts.load.cpu_ms = 25;
                facts.load.flops = hints * 1e8;
                struct gpu_answer answer;
                gpu_decide(&core_gpu, &facts, &verdict, &answer);
                bool frees = answer.action == GPU_ACTION_FREE_CPU;
                bool expected =
                    rule == RULE_STARVED || (table[i].is_starved && rule != RULE_LATENCY_FLOOR);
                assert_true(frees == expected);
                assert_true(!frees || verdict.gpu == GPU_INSUFFICIENT);
                assert_true(!frees || strstr(answer.reason, "free the CPU first") != NULL);
            }
        }
    }
}

/* --- with an estimate -------------------------------------------------------------------------- */

/* 25 ms of computing, all of which could move. */
static struct gpu_facts facts_with_hints(double flops)
{
    struct gpu_facts facts = facts_of_25_ms();
    facts.load.cpu_ms = 25;
    facts.load.movable = 1;
    facts.load.flops = flops;
    return facts;
}

static void test_gpu_estimates_only_from_the_hints_that_matter(void **state)
{
    (void)state;
    const struct {
        enum rule rule;
        enum bottleneck bottleneck;
        double movable, flops, bytes, cpu_ms;
        bool estimated;
    } table[] = {
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE, 1, 1e9, 0, 25, true},
        {RULE_EVIDENCE, BOTTLENECK_COMPUTE, 1, 0, 1e9, 25, false},
        {RULE_EVIDENCE, BOTTLENECK_MEMORY, 1, 0, 1e7, 25, true},
        {RULE_EVIDENCE, BOTTLENECK_MEMORY, 1, 1e9, 0, 25, false},
        {RULE_CPU, BOTTLENECK_UNKNOWN, 1, 1e9, 0, 25, false},
        {RULE_CPU, BOTTLENECK_UNKNOWN, 1, 1e9, 1e7, 25, true},
        {RULE_MIXED, BOTTLENECK_UNKNOWN, 1, 1e9, 1e7, 25, true},
        {RULE_COMPUTE, BOTTLENECK_COMPUTE, 1, 1e9, 0, 25, true},
        {RULE_COMPUTE, BOTTLENECK_COMPUTE, UNKNOWN, 1e9, 0, 25, false},
        {RULE_COMPUTE, BOTTLENECK_COMPUTE, 1, 1e9, 0, UNKNOWN, false},
        {RULE_COMPUTE, BOTTLENECK_COMPUTE, 1, UNKNOWN, UNKNOWN, 25, false},
        {RULE_IO_LOW_CPU, BOTTLENECK_IO, 1, 1e9, 1e9, 25, false},
        {RULE_LOCK, BOTTLENECK_UNKNOWN, 1, 1e9, 1e9, 25, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_facts facts = facts_with_hints(table[i].flops);
        struct verdict verdict = verdict_of(table[i].rule, table[i].bottleneck);
        struct gpu_answer answer;
        facts.load.movable = table[i].movable;
        facts.load.bytes_moved = table[i].bytes;
        facts.load.cpu_ms = table[i].cpu_ms;
        gpu_decide(&core_gpu, &facts, &verdict, &answer);
        assert_true(answer.estimated == table[i].estimated);
    }
}

static void test_gpu_decides_by_the_estimate(void **state)
{
    (void)state;
    const struct {
        double rate, flops, movable, max_latency_ms;
        enum gpu_objective objective;
        enum gpu_decision decision;
        const char *part; /* of the reason */
    } table[] = {
        /* 224 a second keep a machine of 8 threads busy */
        {1000, 1e8, 1, 0, GPU_COST, GPU_YES, "a saving has probability 1.00"},
        {10, 1e8, 1, 0, GPU_COST, GPU_NO, "and pays from 336/s"},
        {300, 1e8, 1, 0, GPU_COST, GPU_INSUFFICIENT, "and pays from 336/s"},
        {1000, 1e12, 1, 0, GPU_COST, GPU_NO, "with a GPU p99 would be"},
        {1000, 5e10, 1, 1000, GPU_COST, GPU_NO, "and never pays"},
        {1000, 1e8, 0.02, 0, GPU_COST, GPU_NO, "a saving has"},
        {1000, 1e8, 1, 1, GPU_COST, GPU_YES, "a saving has"},
        {1000, 1e8, 1, 0.05, GPU_COST, GPU_NO, "0.05 ms is the most"},
        {10, 1e8, 1, 0, GPU_LATENCY, GPU_YES, "times faster, from"},
        {10, 1e8, 0.5, 0, GPU_LATENCY, GPU_NO, "2 times or more has probability 0.00"},
        {10, 5.3e10, 1, 0, GPU_LATENCY, GPU_INSUFFICIENT, "times or more"},
        {UNKNOWN, 1e8, 1, 0, GPU_COST, GPU_YES, "times faster, from"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_options options = core_gpu;
        struct gpu_facts facts = facts_with_hints(table[i].flops);
        struct verdict verdict = verdict_of(RULE_EVIDENCE, BOTTLENECK_COMPUTE);
        options.objective = table[i].objective;
        options.max_latency_ms = table[i].max_latency_ms;
        facts.load.rate = table[i].rate;
        share(&verdict, table[i].movable, 0, 1 - table[i].movable, 0);
        struct gpu_answer answer = must_decide_by(&options, &facts, &verdict, table[i].decision);
        assert_true(answer.estimated);
        if (strstr(answer.reason, table[i].part) == NULL) {
            fail_msg("row %zu: no \"%s\" in: %s", i, table[i].part, answer.reason);
        }
        assert_true(
            answer.action ==
            (table[i].decision == GPU_INSUFFICIENT ? GPU_ACTION_STATE_CONSTANTS : GPU_ACTION_NONE));
    }
}

/* Whatever the thread clock missed, what moves is CPU time. */
static void test_gpu_takes_what_moves_for_cpu_time(void **state)
{
    (void)state;
    struct gpu_facts facts = facts_with_hints(1e8);
    struct verdict verdict = verdict_of(RULE_EVIDENCE, BOTTLENECK_COMPUTE);
    facts.load.cpu_ms = 1;
    facts.load.rate = 1000;
    struct gpu_answer answer = must_decide(&facts, &verdict, GPU_YES);
    must_be_near(answer.estimate.cpu_machines, 1000 / (0.7 * 8 * 1000 / 25), 1e-12);
}

/* --- properties -------------------------------------------------------------------------------- */

static double between(struct random *random, double low, double high)
{
    return low + (high - low) * random_unit(random);
}

static enum gpu_decision decide(const struct gpu_options *options, const struct gpu_facts *facts,
                                const struct verdict *from)
{
    struct verdict verdict = *from;
    struct gpu_answer answer;
    gpu_decide(options, facts, &verdict, &answer);
    return verdict.gpu;
}

static void test_gpu_decisions_move_with_speed_and_price(void **state)
{
    (void)state;
    struct random random = random_start("decisions");
    unsigned seen[GPU_COUNT] = {0};
    for (int i = 0; i < 5000; i++) {
        struct gpu_options options = core_gpu;
        struct gpu_facts facts = facts_with_hints(exp(between(&random, 16, 26)));
        struct verdict verdict = verdict_of(i % 2 == 0 ? RULE_CPU : RULE_EVIDENCE,
                                            i % 2 == 0 ? BOTTLENECK_UNKNOWN : BOTTLENECK_COMPUTE);
        double movable = sqrt(random_unit(&random));
        share(&verdict, movable, 0, 1 - movable, 0);
        facts.load.mean_ms = exp(between(&random, -3, 6));
        facts.load.p99_ms = facts.load.mean_ms * between(&random, 1, 4);
        facts.load.cpu_ms = facts.load.mean_ms;
        facts.load.rate = exp(between(&random, 0, 9));
        facts.load.bytes_moved = i % 4 == 0 ? 0 : exp(between(&random, 10, 20));
        options.objective = i % 3 == 0 ? GPU_LATENCY : GPU_COST;
        enum gpu_decision decision = decide(&options, &facts, &verdict);
        seen[decision]++;
        double factor = between(&random, 1, 8);
        struct gpu_options faster = options;
        faster.peak_tflops *= factor;
        faster.bandwidth_gb *= factor;
        faster.launch_us /= factor;
        struct gpu_options dearer = options;
        dearer.price_low *= factor;
        dearer.price_high *= factor;
        if (decision == GPU_YES) {
            assert_int_equal(decide(&faster, &facts, &verdict), GPU_YES);
        } else {
            assert_true(decide(&dearer, &facts, &verdict) != GPU_YES);
        }
        if (decision == GPU_NO) {
            assert_int_equal(decide(&dearer, &facts, &verdict), GPU_NO);
        }
        facts.starved = between(&random, 0.21, 1);
        assert_int_equal(decide(&options, &facts, &verdict), GPU_INSUFFICIENT);
    }
    assert_true(seen[GPU_YES] > 500 && seen[GPU_NO] > 500 && seen[GPU_INSUFFICIENT] > 50);
}

/* The longest sentences are whole. */
static void test_gpu_reasons_fit(void **state)
{
    (void)state;
    const double figures[] = {1e-9, 1.2345e-5, 999.4999, 123456789.123, RECORD_MS_MAX};
    enum { FIGURES = sizeof figures / sizeof figures[0] };
    for (unsigned i = 0; i < FIGURES * FIGURES * FIGURES * 2; i++) {
        struct gpu_options options = core_gpu;
        struct gpu_facts facts = facts_with_hints(RECORD_COUNT_MAX);
        struct verdict verdict = verdict_of(RULE_EVIDENCE, BOTTLENECK_COMPUTE);
        facts.load.mean_ms = figures[i % FIGURES];
        facts.load.p99_ms = facts.load.mean_ms;
        facts.load.rate = figures[i / FIGURES % FIGURES];
        facts.load.cpu_ms = figures[i / FIGURES / FIGURES % FIGURES];
        options.objective = i % 2 == 0 ? GPU_COST : GPU_LATENCY;
        options.max_latency_ms = i % 4 < 2 ? 1e12 : 0;
        options.min_speedup = figures[i % FIGURES];
        struct gpu_answer answer;
        gpu_decide(&options, &facts, &verdict, &answer);
        assert_true(strlen(answer.reason) < sizeof answer.reason - 1);
        facts.load.flops = 0;
        gpu_decide(&options, &facts, &verdict, &answer);
        assert_true(strlen(answer.reason) < sizeof answer.reason - 1);
    }
}

static void test_gpu_has_a_sentence_for_each_action(void **state)
{
    (void)state;
    assert_string_equal(gpu_action_sentences[GPU_ACTION_NONE], "");
    for (unsigned i = 1; i < GPU_ACTION_COUNT; i++) {
        const char *sentence = gpu_action_sentences[i];
        assert_true(strlen(sentence) > 0);
        assert_true(sentence[strlen(sentence) - 1] != '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpu_ceiling_is_amdahls),
        cmocka_unit_test(test_gpu_ceiling_is_of_what_can_move),
        cmocka_unit_test(test_gpu_decides_by_thresholds_as_they_do),
        cmocka_unit_test(test_gpu_decides_by_evidence_without_hints),
        cmocka_unit_test(test_gpu_says_what_it_would_take_over),
        cmocka_unit_test(test_gpu_is_no_where_a_launch_takes_longer),
        cmocka_unit_test(test_gpu_is_not_asked_off_the_cpu),
        cmocka_unit_test(test_gpu_is_never_yes_while_starved),
        cmocka_unit_test(test_gpu_estimates_only_from_the_hints_that_matter),
        cmocka_unit_test(test_gpu_decides_by_the_estimate),
        cmocka_unit_test(test_gpu_takes_what_moves_for_cpu_time),
        cmocka_unit_test(test_gpu_decisions_move_with_speed_and_price),
        cmocka_unit_test(test_gpu_reasons_fit),
        cmocka_unit_test(test_gpu_has_a_sentence_for_each_action),
    };
    return cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
}
