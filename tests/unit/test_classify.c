#include "core_helpers.h"

#include <math.h>
#include <stdlib.h>

static const struct thresholds defaults = {
    .latency_gpu_threshold_ms = 1.0,
    .cpu_compute_threshold_percent = 50,
    .cpu_io_threshold_percent = 20,
};

#define NO_CPU (-1.0)

/* `count` samples of one latency and one CPU figure. */
static struct sums sums_of(double ms, double cpu, uint64_t count)
{
    struct sums sums = {.count = count,
                        .latency_sum = exact_steps(ms, EXACT_STEPS_PER_MS) * count,
                        .latency_min_ms = ms,
                        .latency_max_ms = ms};
    if (cpu >= 0) {
        sums.cpu_percent.count = count;
        sums.cpu_percent.sum = exact_steps(cpu, EXACT_STEPS_PER_PERCENT) * count;
    }
    return sums;
}

static struct verdict judge(const struct sums *sums, const char *device)
{
    struct verdict verdict;
    classify(&defaults, sums, str_of(device), &verdict);
    assert_true(strlen(verdict.reason) > 0);
    assert_true(strlen(verdict.reason) < sizeof verdict.reason - 1);
    assert_non_null(verdict.recommendation);
    return verdict;
}

static void must_judge(const struct sums *sums, enum rule rule, enum bottleneck bottleneck,
                       enum gpu_decision gpu)
{
    struct verdict verdict = judge(sums, "");
    assert_string_equal(rule_names[verdict.rule], rule_names[rule]);
    assert_string_equal(bottleneck_names[verdict.bottleneck], bottleneck_names[bottleneck]);
    assert_int_equal(verdict.gpu, gpu);
}

/* --- the rules --------------------------------------------------------------------------------- */

static void test_classify_every_comparison_is_strict(void **state)
{
    (void)state;
    const struct {
        double ms, cpu;
        enum rule rule;
        enum bottleneck bottleneck;
        enum gpu_decision gpu;
    } table[] = {
        {0, 80, RULE_LATENCY_FLOOR, BOTTLENECK_IO, GPU_NO},
        {0.999999, 80, RULE_LATENCY_FLOOR, BOTTLENECK_IO, GPU_NO},
        {0.999999999, 80, RULE_LATENCY_FLOOR, BOTTLENECK_IO, GPU_NO}, /* one step */
        {1, 80, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES},
        {1.000000001, 80, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES},
        {0.999999999, NO_CPU, RULE_LATENCY_FLOOR, BOTTLENECK_IO, GPU_NO},
        {1, NO_CPU, RULE_NO_CPU, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT},
        {5, 50.000001, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES}, /* one step */
        {5, 50, RULE_MODERATE, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT},
        {5, 49.999999, RULE_MODERATE, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT},
        {5, 20.000001, RULE_MODERATE, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT},
        {5, 20, RULE_MODERATE, BOTTLENECK_UNKNOWN, GPU_INSUFFICIENT},
        {5, 19.999999, RULE_IO_LOW_CPU, BOTTLENECK_IO, GPU_NO}, /* one step */
        {5, 0, RULE_IO_LOW_CPU, BOTTLENECK_IO, GPU_NO},
        {RECORD_MS_MAX, RECORD_PERCENT_MAX, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES},
    };
    const uint64_t counts[] = {1, 3, 1000000007, UINT64_C(1) << 56};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
            struct sums sums = sums_of(table[i].ms, table[i].cpu, counts[k]);
            must_judge(&sums, table[i].rule, table[i].bottleneck, table[i].gpu);
        }
    }
}

/* A single step more or less in the whole sum decides: no mean is rounded before it is compared. */
static void test_classify_one_step_in_the_sum_decides(void **state)
{
    (void)state;
    struct sums sums = sums_of(1, 80, 1000000007);
    must_judge(&sums, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES);
    sums.latency_sum--;
    must_judge(&sums, RULE_LATENCY_FLOOR, BOTTLENECK_IO, GPU_NO);
    sums = sums_of(5, 50, 1000000007);
    sums.cpu_percent.sum++;
    must_judge(&sums, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES);
    sums = sums_of(5, 20, 1000000007);
    sums.cpu_percent.sum--;
    must_judge(&sums, RULE_IO_LOW_CPU, BOTTLENECK_IO, GPU_NO);
}

static void test_classify_cpu_is_over_samples_that_have_it(void **state)
{
    (void)state;
    struct sums sums = sums_of(5, NO_CPU, 1000);
    sums.cpu_percent.count = 1;
    sums.cpu_percent.sum = exact_steps(80, EXACT_STEPS_PER_PERCENT);
    must_judge(&sums, RULE_COMPUTE, BOTTLENECK_COMPUTE, GPU_YES);
}

static void test_classify_thresholds_are_those_given(void **state)
{
    (void)state;
    const struct thresholds none = {0};
    const struct thresholds high = {.latency_gpu_threshold_ms = 1e12,
                                    .cpu_compute_threshold_percent = 1e6,
                                    .cpu_io_threshold_percent = 1e6};
    struct verdict verdict;
    struct sums sums = sums_of(0, 0, 3);
    classify(&none, &sums, str_of(""), &verdict);
    assert_int_equal(verdict.rule, RULE_MODERATE); /* nothing is below 0 or above it */
    sums = sums_of(1e11, 1e6, 3);
    classify(&high, &sums, str_of(""), &verdict);
    assert_int_equal(verdict.rule, RULE_LATENCY_FLOOR);
    sums = sums_of(1e12, 1e6, 3);
    classify(&high, &sums, str_of(""), &verdict);
    assert_int_equal(verdict.rule, RULE_MODERATE);
    /* Crossed thresholds: compute is asked first. */
    const struct thresholds crossed = {.latency_gpu_threshold_ms = 1,
                                       .cpu_compute_threshold_percent = 20,
                                       .cpu_io_threshold_percent = 50};
    sums = sums_of(5, 30, 3);
    classify(&crossed, &sums, str_of(""), &verdict);
    assert_int_equal(verdict.rule, RULE_COMPUTE);
}

static void test_classify_no_gpu_decision_off_the_cpu(void **state)
{
    (void)state;
    const struct {
        const char *device;
        bool asked;
    } table[] = {{"", true},        {"cpu", true},  {"cuda:0", false}, {"cuda", false},
                 {"cpu:0x", false}, {"mps", false}, {"CPUs", false}};
    struct sums sums = sums_of(5, 80, 10);
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct verdict verdict = judge(&sums, table[i].device);
        assert_int_equal(verdict.bottleneck, BOTTLENECK_COMPUTE);
        assert_int_equal(verdict.gpu, table[i].asked ? GPU_YES : GPU_NOT_ASKED);
    }
    assert_null(gpu_decision_names[GPU_NOT_ASKED]);
}

/* --- reasons ----------------------------------------------------------------------------------- */

static void must_read(const struct sums *sums, const char *reason)
{
    struct verdict verdict = judge(sums, "");
    assert_string_equal(verdict.reason, reason);
}

static void test_classify_reasons_name_the_figures(void **state)
{
    (void)state;
    struct sums sums = sums_of(0.25, 80, 4);
    must_read(
        &sums,
        "mean latency 0.25 ms is below 1 ms: over too soon for a GPU, whatever it is bound by");
    sums = sums_of(0.999999, 80, 4);
    must_read(
        &sums,
        "mean latency 0.999999 ms is below 1 ms: over too soon for a GPU, whatever it is bound by");
    sums = sums_of(0.9999995, 80, 4);
    must_read(&sums, "mean latency 0.9999995 ms is below 1 ms: over too soon for a GPU, whatever "
                     "it is bound by");
    sums = sums_of(5, NO_CPU, 4);
    must_read(&sums, "no sample has a CPU figure");
    sums = sums_of(5, 73.5, 4);
    must_read(&sums, "mean CPU 73.5 % is above 50 %");
    sums = sums_of(5, 79.3115134, 4);
    must_read(&sums, "mean CPU 79.31 % is above 50 %");
    sums = sums_of(5, 50.0001, 4);
    must_read(&sums, "mean CPU 50.0001 % is above 50 %");
    sums = sums_of(5, 33.333333, 3);
    must_read(&sums, "mean CPU 33.33 % lies between 20 % and 50 %");
    sums = sums_of(5, 1.25, 4);
    must_read(&sums, "mean CPU 1.25 % is below 20 %");
    sums = sums_of(5, 50, 4);
    must_read(&sums, "mean CPU 50 % lies between 20 % and 50 %");
}

static void test_classify_errors_alone_tell_nothing(void **state)
{
    (void)state;
    const struct {
        uint64_t errors, count;
        enum rule rule;
        const char *reason;
    } table[] = {
        {1, 1, RULE_INSUFFICIENT, "the only sample is an error"},
        {10, 10, RULE_INSUFFICIENT, "all 10 samples are errors"},
        {9, 10, RULE_COMPUTE, "mean CPU 73.5 % is above 50 %"},
        {0, 1, RULE_COMPUTE, "mean CPU 73.5 % is above 50 %"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct sums sums = sums_of(5, 73.5, table[i].count);
        sums.errors = table[i].errors;
        must_judge(&sums, table[i].rule,
                   table[i].rule == RULE_COMPUTE ? BOTTLENECK_COMPUTE : BOTTLENECK_UNKNOWN,
                   table[i].rule == RULE_COMPUTE ? GPU_YES : GPU_INSUFFICIENT);
        must_read(&sums, table[i].reason);
    }
}

static void test_classify_says_that_nobody_has_judged_yet(void **state)
{
    (void)state;
    struct verdict verdict;
    classify_unjudged(31, str_of("cpu"), &verdict);
    assert_int_equal(verdict.bottleneck, BOTTLENECK_UNKNOWN);
    assert_int_equal(verdict.rule, RULE_INSUFFICIENT);
    assert_int_equal(verdict.gpu, GPU_INSUFFICIENT);
    assert_string_equal(verdict.reason,
                        "31 inferences with evidence have come, and no round of them "
                        "has ended yet");
    classify_unjudged(31, str_of("cuda:0"), &verdict);
    assert_int_equal(verdict.gpu, GPU_NOT_ASKED);
}

/* The first figure of a sentence. */
static double figure_in(const char *sentence)
{
    return strtod(strpbrk(sentence, "0123456789"), NULL);
}

/* However near a mean is, the sentence does not say that 1 is below 1. */
static void test_classify_reasons_never_contradict_the_verdict(void **state)
{
    (void)state;
    const uint64_t counts[] = {1, 10, 1000, 100000, 1000000007, UINT64_C(1) << 56};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct sums sums = sums_of(1, 80, counts[i]);
        sums.latency_sum--;
        assert_true(figure_in(judge(&sums, "").reason) < 1);
        sums = sums_of(5, 50, counts[i]);
        sums.cpu_percent.sum++;
        assert_true(figure_in(judge(&sums, "").reason) > 50);
        sums = sums_of(5, 20, counts[i]);
        sums.cpu_percent.sum--;
        assert_true(figure_in(judge(&sums, "").reason) < 20);
    }
}

static void test_classify_by_opinion_says_what_it_does(void **state)
{
    (void)state;
    static const struct {
        enum bottleneck bottleneck;
        enum rule rule;
        enum gpu_decision gpu;
    } rows[] = {{BOTTLENECK_COMPUTE, RULE_EVIDENCE, GPU_YES},
                {BOTTLENECK_MEMORY, RULE_EVIDENCE, GPU_YES},
                {BOTTLENECK_IO, RULE_EVIDENCE, GPU_NO},
                {BOTTLENECK_UNKNOWN, RULE_STARVED, GPU_INSUFFICIENT},
                {BOTTLENECK_UNKNOWN, RULE_WAIT, GPU_INSUFFICIENT}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct opinion opinion = opinion_of(rows[i].bottleneck, rows[i].rule);
        struct verdict verdict;
        classify_by_opinion(&opinion, STR_LITERAL("cpu"), &verdict);
        assert_int_equal(verdict.bottleneck, rows[i].bottleneck);
        assert_int_equal(verdict.rule, rows[i].rule);
        assert_int_equal(verdict.gpu, rows[i].gpu);
        assert_string_equal(verdict.reason, opinion.reason);
        assert_memory_equal(verdict.share, opinion.share, sizeof verdict.share);
        assert_true(rows[i].bottleneck == BOTTLENECK_UNKNOWN ? isnan(verdict.confidence)
                                                             : verdict.confidence == 0.875);
        classify_by_opinion(&opinion, STR_LITERAL("cuda:0"), &verdict);
        assert_int_equal(verdict.bottleneck, rows[i].bottleneck);
        assert_int_equal(verdict.gpu, GPU_NOT_ASKED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify_by_opinion_says_what_it_does),
        cmocka_unit_test(test_classify_every_comparison_is_strict),
        cmocka_unit_test(test_classify_one_step_in_the_sum_decides),
        cmocka_unit_test(test_classify_cpu_is_over_samples_that_have_it),
        cmocka_unit_test(test_classify_thresholds_are_those_given),
        cmocka_unit_test(test_classify_no_gpu_decision_off_the_cpu),
        cmocka_unit_test(test_classify_reasons_name_the_figures),
        cmocka_unit_test(test_classify_errors_alone_tell_nothing),
        cmocka_unit_test(test_classify_says_that_nobody_has_judged_yet),
        cmocka_unit_test(test_classify_reasons_never_contradict_the_verdict),
    };
    return cmocka_run_group_tests_name("classify", tests, core_tables, NULL);
}
