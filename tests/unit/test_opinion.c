/*
 * core/opinion: when a round is one, which label and which reason it gets, and how both change from
 * round to round, on a clock that is the rounds' own length.
 */
#include "core/opinion.h"

#include <math.h>

#include "core_helpers.h"

enum { MB = 1 << 20, ROUND_MS = 5000 };

static const struct machine machine = {
    .cache_bytes = 32.0 * MB, .page_fault_us = 2.6, .bandwidth_bytes = 10e9, .cpus = 2};

#define NO_LOOKS  (-1.0)
#define NO_PROBES (-1.0)

/* A round of 100 inferences of 10 ms: the parts of their time, of which looks see a part in futexes, and
 * a touch rate. */
struct round {
    double cpu, runqueue, futex, touch;
};

static struct evidence evidence_of(struct round round)
{
    struct evidence evidence = {.inferences = 100,
                                .wall_ms = 1000,
                                .user_ms = 1000 * round.cpu,
                                .runqueue_low_ms = 1000 * round.runqueue,
                                .runqueue_high_ms = 1000 * round.runqueue,
                                .runqueue_said = 100,
                                .resident_bytes = 400.0 * MB,
                                .span_ms = ROUND_MS};
    double blocked = 1 - round.cpu - round.runqueue;
    if (round.futex >= 0) {
        evidence.looks[LOOK_RUNS] = 100 * (1 - blocked);
        evidence.looks[LOOK_FUTEX] = 100 * blocked * round.futex;
        evidence.looks[LOOK_WAITS] = 100 * blocked * (1 - round.futex);
    }
    if (round.touch >= 0) {
        evidence.touch_probes = 8;
        evidence.touch_sum = 8 * round.touch;
        evidence.touch_squares = 8 * round.touch * round.touch;
    }
    return evidence;
}

static struct opinion take(struct opinion_memory *memory, struct round round)
{
    struct evidence evidence = evidence_of(round);
    struct opinion opinion;
    opinion_take(memory, &evidence, &machine, &opinion);
    assert_true(strlen(opinion.reason) > 20 && strlen(opinion.reason) < OPINION_REASON_BYTES - 1);
    assert_int_equal(isnan(opinion.confidence), opinion.bottleneck == BOTTLENECK_UNKNOWN);
    assert_true(isnan(opinion.confidence) ||
                (opinion.confidence > 0 && opinion.confidence <= 0.96));
    return opinion;
}

static const struct round computes = {1, 0, 0, 0.1};
static const struct round remembers = {1, 0, 0, 1};
static const struct round waits = {0.1, 0, 0, 0.1};
static const struct round locked = {0.1, 0, 1, 0.1};
static const struct round starved = {0.05, 0.95, 0, 0.1};
static const struct round half = {0.5, 0, 0, 0.1};

/* --- rounds ------------------------------------------------------------------------------------ */

static void test_opinion_a_round_has_enough_inferences_for_its_length(void **state)
{
    (void)state;
    const struct {
        uint64_t inferences;
        double wall_ms, span_ms;
        bool is_round;
    } table[] = {
        {0, 0, 5000, false},     {4, 4999, 5000, false},  {5, 1249, 5000, false},
        {5, 1250, 5000, true},   {19, 1249, 5000, false}, {20, 1, 5000, true},
        {19, 1249, 5001, false}, {0, 0, 299999, false},   {0, 0, 300000, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct evidence evidence = {.inferences = table[i].inferences,
                                    .wall_ms = table[i].wall_ms,
                                    .user_ms = table[i].wall_ms,
                                    .span_ms = table[i].span_ms};
        assert_int_equal(opinion_is_round(&evidence, 300000), table[i].is_round);
    }
}

static void test_opinion_a_round_waits_for_looks_at_what_waits(void **state)
{
    (void)state;
    const struct {
        double cpu_ms, looks, span_ms;
        bool is_round;
    } table[] = {
        {100, 0, 5000, true}, /* nobody looks */
        {100, 19, 5000, false}, {100, 20, 5000, true}, {100, 19, 30000, true},
        {850, 19, 5000, false}, {851, 19, 5000, true}, /* little to look at */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct evidence evidence = {.inferences = 100,
                                    .wall_ms = 1000,
                                    .user_ms = table[i].cpu_ms,
                                    .looks = {[LOOK_WAITS] = table[i].looks},
                                    .span_ms = table[i].span_ms};
        assert_int_equal(opinion_is_round(&evidence, 300000), table[i].is_round);
    }
}

/* --- labels ------------------------------------------------------------------------------------ */

static void test_opinion_labels_and_reasons(void **state)
{
    (void)state;
    const struct {
        struct round round;
        enum bottleneck bottleneck;
        enum rule rule;
    } table[] = {
        {{1, 0, 0, 0.1}, BOTTLENECK_COMPUTE, RULE_EVIDENCE},
        {{1, 0, 0, 1}, BOTTLENECK_MEMORY, RULE_EVIDENCE},
        {{0.1, 0, 0, 0.1}, BOTTLENECK_IO, RULE_EVIDENCE},
        {{0.1, 0, 1, 0.1}, BOTTLENECK_UNKNOWN, RULE_LOCK},
        {{0.55, 0, 1, 0.1}, BOTTLENECK_UNKNOWN, RULE_LOCK}, /* 45 %, with the error of looks */
        {{0.7, 0, 1, 0.1}, BOTTLENECK_COMPUTE, RULE_EVIDENCE},
        {{0.5, 0, 0, 0.1}, BOTTLENECK_UNKNOWN, RULE_MIXED},
        {{0.62, 0, 0, 0.1}, BOTTLENECK_UNKNOWN, RULE_MIXED}, /* leads by 24 points */
        {{0.64, 0, 0, 0.1}, BOTTLENECK_COMPUTE, RULE_EVIDENCE},
        {{1, 0, 0, 0.5}, BOTTLENECK_UNKNOWN, RULE_MIXED},
        {{0.3, 0.7, 0, 0.1}, BOTTLENECK_COMPUTE, RULE_EVIDENCE}, /* beside others */
        {{0.11, 0.89, 0, 0.1}, BOTTLENECK_COMPUTE, RULE_EVIDENCE},
        {{0.1, 0.9, 0, 0.1}, BOTTLENECK_UNKNOWN, RULE_STARVED},
        {{1, 0, 0, NO_PROBES}, BOTTLENECK_UNKNOWN, RULE_CPU},
        {{0.1, 0, NO_LOOKS, 0.1}, BOTTLENECK_UNKNOWN, RULE_WAIT},
        {{0.1, 0, 0, NO_PROBES}, BOTTLENECK_IO, RULE_EVIDENCE},
        {{0.5, 0, 0, NO_PROBES}, BOTTLENECK_UNKNOWN, RULE_MIXED},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct opinion_memory memory = {0};
        struct opinion opinion = take(&memory, table[i].round);
        if (opinion.rule != table[i].rule || opinion.bottleneck != table[i].bottleneck) {
            fail_msg("row %zu: %s by %s: %s", i, bottleneck_names[opinion.bottleneck],
                     rule_names[opinion.rule], opinion.reason);
        }
    }
}

/* Probes that scatter leave a range: it is open only if either end could have a label. */
static void test_opinion_tells_both_from_either(void **state)
{
    (void)state;
    static const struct {
        double touch, deviation; /* of one of 8 probes */
        enum rule rule;
    } table[] = {
        {0.60, 0.14, RULE_MIXED}, /* f from 0.46 to 0.71: surely more than a third of each */
        {0.67, 0.25, RULE_MIXED}, /* to 0.92: memory may lead, computing may not */
        {0.45, 0.20, RULE_MIXED}, /* from 0.16: the other way round */
        {0.50, 0.50, RULE_CPU},   /* from 0 to 0.86: it may be either */
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct evidence evidence = evidence_of((struct round){1, 0, 0, table[i].touch});
        double square = table[i].touch * table[i].touch + table[i].deviation * table[i].deviation;
        evidence.touch_probes = 8;
        evidence.touch_sum = 8 * table[i].touch;
        evidence.touch_squares = 8 * square;
        struct opinion_memory memory = {0};
        struct opinion opinion;
        opinion_take(&memory, &evidence, &machine, &opinion);
        if (opinion.rule != table[i].rule) {
            fail_msg("row %zu: %s: %s", i, rule_names[opinion.rule], opinion.reason);
        }
    }
}

static void test_opinion_of_too_few_is_insufficient(void **state)
{
    (void)state;
    struct opinion_memory memory = {0};
    struct evidence evidence = evidence_of(computes);
    struct opinion opinion;
    evidence.inferences = 19;
    evidence.wall_ms = 74999; /* of 300 s: less than a quarter */
    evidence.user_ms = 74999;
    evidence.span_ms = 300000;
    opinion_take(&memory, &evidence, &machine, &opinion);
    assert_int_equal(opinion.rule, RULE_INSUFFICIENT);
    assert_true(isnan(opinion.share[SHARE_COMPUTE]));
    assert_string_equal(opinion.reason,
                        "19 inferences in 300 s are too few: it takes 20, or 5 that "
                        "fill a quarter of the time");
    evidence.inferences = 20;
    opinion_take(&memory, &evidence, &machine, &opinion);
    assert_int_equal(opinion.bottleneck, BOTTLENECK_COMPUTE);
}

static void must_say(struct round round, const char *reason)
{
    struct opinion_memory memory = {0};
    assert_string_equal(take(&memory, round).reason, reason);
}

static void test_opinion_reasons_have_the_figures_that_decided(void **state)
{
    (void)state;
    must_say(computes,
             "compute 100 %, memory 0 %, io 0 %, lock 0 % of the time in which it could run");
    must_say(half,
             "no share is large enough and ahead by enough: compute 50 %, memory 0 %, io 49 %, "
             "lock 1 %");
    must_say(starved, "it waits for a CPU 95 % of its time, since others have them");
    must_say(
        (struct round){1, 0, 0, NO_PROBES},
        "the CPU has 100 % of the time, and 0 probes of memory do not tell whether it computes "
        "or waits for memory");
    must_say(
        (struct round){0.1, 0, NO_LOOKS, 0.1},
        "it does not run for up to 90 % of the time, and 0 looks at its thread do not tell what "
        "it waits for");
}

static void must_be_sure_of_memory(const struct evidence *evidence, double confidence)
{
    struct opinion_memory memory = {0};
    struct opinion opinion;
    opinion_take(&memory, evidence, &machine, &opinion);
    assert_int_equal(opinion.bottleneck, BOTTLENECK_MEMORY);
    assert_true(opinion.confidence == confidence);
}

static void test_opinion_is_surer_with_more_evidence(void **state)
{
    (void)state;
    struct opinion_memory memory = {0};
    struct evidence evidence = evidence_of(waits);
    struct opinion opinion;
    opinion_take(&memory, &evidence, &machine, &opinion);
    assert_true(opinion.confidence == 0.96);
    memory = (struct opinion_memory){0};
    evidence.touch_probes = 0;
    opinion_take(&memory, &evidence, &machine, &opinion);
    assert_true(opinion.confidence == 0.93);
    memory = (struct opinion_memory){0};
    for (int i = 0; i < LOOK_COUNT; i++) {
        evidence.looks[i] = 0;
    }
    evidence.disk_bytes = 1;
    opinion_take(&memory, &evidence, &machine, &opinion);
    assert_true(opinion.confidence == 0.90);
    /* Half of jumps touches as much as all of going through; page faults and hints leave no doubt. */
    evidence = evidence_of(remembers);
    must_be_sure_of_memory(&evidence, 0.80);
    evidence.bytes_said = evidence.inferences;
    evidence.bytes_wall_ms = evidence.wall_ms;
    evidence.bytes_moved = machine.bandwidth_bytes * evidence.user_ms * 1e-3;
    must_be_sure_of_memory(&evidence, 0.96);
    evidence = evidence_of(remembers);
    evidence.user_ms = 200;
    evidence.system_ms = 800;
    evidence.minor_faults = 1e6;
    must_be_sure_of_memory(&evidence, 0.96);
    /* A narrow lead of few inferences is worth less. */
    memory = (struct opinion_memory){0};
    evidence = evidence_of((struct round){0.64, 0, 0, 0.1});
    evidence.inferences = 20;
    opinion_take(&memory, &evidence, &machine, &opinion);
    assert_int_equal(opinion.bottleneck, BOTTLENECK_COMPUTE);
    assert_true(opinion.confidence < 0.96 && opinion.confidence > 0.8);
}

/* --- from round to round ----------------------------------------------------------------------- */

static void test_opinion_changes_after_three_rounds_that_agree(void **state)
{
    (void)state;
    struct opinion_memory memory = {0};
    for (int i = 0; i < 20; i++) {
        assert_int_equal(take(&memory, computes).bottleneck, BOTTLENECK_COMPUTE);
    }
    int unknown_after = 0;
    int changed_after = 0;
    for (int i = 1; i <= 20 && changed_after == 0; i++) {
        struct opinion opinion = take(&memory, waits);
        unknown_after =
            unknown_after == 0 && opinion.bottleneck == BOTTLENECK_UNKNOWN ? i : unknown_after;
        changed_after = opinion.bottleneck == BOTTLENECK_IO ? i : 0;
        assert_true(changed_after > 0 || opinion.bottleneck != BOTTLENECK_MEMORY);
    }
    assert_in_range(changed_after, 3, 6);
    assert_true(unknown_after == 0 || unknown_after < changed_after);
}

static void test_opinion_does_not_change_by_one_odd_round(void **state)
{
    (void)state;
    struct opinion_memory memory = {0};
    (void)take(&memory, computes);
    for (int i = 0; i < 30; i++) {
        struct round odd = i % 3 == 0 ? starved : computes;
        struct opinion opinion = take(&memory, odd);
        assert_int_equal(opinion.bottleneck, BOTTLENECK_COMPUTE);
    }
}

static void test_opinion_is_less_sure_while_rounds_disagree(void **state)
{
    (void)state;
    struct opinion_memory memory = {0};
    double before = take(&memory, computes).confidence;
    struct opinion opinion = take(&memory, starved);
    assert_int_equal(opinion.round_rule, RULE_STARVED);
    assert_true(opinion.confidence == before / 2);
}

static void test_opinion_comes_at_once_when_evidence_was_missing(void **state)
{
    (void)state;
    struct opinion_memory memory = {0};
    assert_int_equal(take(&memory, (struct round){1, 0, 0, NO_PROBES}).rule, RULE_CPU);
    assert_int_equal(take(&memory, remembers).bottleneck, BOTTLENECK_MEMORY);
    memory = (struct opinion_memory){0};
    assert_int_equal(take(&memory, (struct round){0.1, 0, NO_LOOKS, 0.1}).rule, RULE_WAIT);
    (void)take(&memory, locked);
    assert_int_equal(take(&memory, locked).rule, RULE_LOCK);
}

/* At the edge between two labels: noise around a share of 0.6 that leads by a quarter. */
static void test_opinion_is_calm_at_the_edge(void **state)
{
    (void)state;
    struct random dice = random_start("test_opinion");
    struct opinion_memory memory = {0};
    enum bottleneck shown = take(&memory, computes).bottleneck;
    unsigned changes = 0;
    unsigned would_change = 0;
    enum bottleneck last = shown;
    for (int i = 0; i < 3600 * 1000 / ROUND_MS; i++) {
        double cpu = 0.625 + 0.05 * random_normal(&dice);
        struct round round = {cpu < 0 ? 0 : cpu > 1 ? 1 : cpu, 0, 0, 0.1};
        struct opinion opinion = take(&memory, round);
        changes += opinion.bottleneck != shown;
        struct opinion_memory none = {0};
        enum bottleneck alone = take(&none, round).bottleneck;
        would_change += alone != last;
        shown = opinion.bottleneck;
        last = alone;
    }
    assert_true(changes <= 1);
    assert_true(would_change > 100);
}

/* --- properties -------------------------------------------------------------------------------- */

static double part_of(struct random *dice, double whole)
{
    return whole * random_unit(dice);
}

static bool is_labelled(const struct evidence *evidence)
{
    struct opinion_memory memory = {0};
    struct opinion opinion;
    opinion_take(&memory, evidence, &machine, &opinion);
    return opinion.bottleneck != BOTTLENECK_UNKNOWN;
}

/* What one source less says as a class, all sources do not take for unknown, if they fit together. */
static void test_opinion_more_evidence_never_lowers_coverage(void **state)
{
    (void)state;
    struct random dice = random_start("test_opinion");
    unsigned labelled = 0;
    for (int i = 0; i < 20000; i++) {
        double cpu = random_unit(&dice);
        struct round round = {cpu, part_of(&dice, 1 - cpu), part_of(&dice, 1), part_of(&dice, 1.5)};
        struct evidence all = evidence_of(round);
        struct evidence less = all;
        switch (random_below(&dice, 4)) {
        case 0:
            less.touch_probes = 0;
            break;
        case 1:
            memset(less.looks, 0, sizeof less.looks);
            break;
        case 2:
            memset(less.looks, 0, sizeof less.looks);
            less.runqueue_said = 0;
            less.runqueue_low_ms = 0;
            less.runqueue_high_ms = less.wall_ms - less.user_ms;
            break;
        default:
            less.resident_bytes = 0;
            break;
        }
        if (is_labelled(&less)) {
            labelled++;
            assert_true(is_labelled(&all));
        }
    }
    assert_true(labelled > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opinion_a_round_has_enough_inferences_for_its_length),
        cmocka_unit_test(test_opinion_tells_both_from_either),
        cmocka_unit_test(test_opinion_a_round_waits_for_looks_at_what_waits),
        cmocka_unit_test(test_opinion_labels_and_reasons),
        cmocka_unit_test(test_opinion_of_too_few_is_insufficient),
        cmocka_unit_test(test_opinion_reasons_have_the_figures_that_decided),
        cmocka_unit_test(test_opinion_is_surer_with_more_evidence),
        cmocka_unit_test(test_opinion_changes_after_three_rounds_that_agree),
        cmocka_unit_test(test_opinion_does_not_change_by_one_odd_round),
        cmocka_unit_test(test_opinion_is_less_sure_while_rounds_disagree),
        cmocka_unit_test(test_opinion_comes_at_once_when_evidence_was_missing),
        cmocka_unit_test(test_opinion_is_calm_at_the_edge),
        cmocka_unit_test(test_opinion_more_evidence_never_lowers_coverage),
    };
    return cmocka_run_group_tests_name("opinion", tests, NULL, NULL);
}
