/*
 * The load runner on clocks that requests move: what it counts, its quantiles against every sample that
 * there was, throughput, the verdict at each limit, and how a run ends early.
 */
#include "dwell_bench.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define TOLERANCE 1e-9

/* Each thread's own: a request moves both, and nothing else does. */
static _Thread_local uint64_t wall_ns;
static _Thread_local uint64_t cpu_ns;

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    if (clock != CLOCK_MONOTONIC && clock != CLOCK_THREAD_CPUTIME_ID) {
        return (int)syscall(SYS_clock_gettime, clock, ret_now);
    }
    uint64_t ns = clock == CLOCK_MONOTONIC ? wall_ns : cpu_ns;
    ret_now->tv_sec = (time_t)(ns / 1000000000U);
    ret_now->tv_nsec = (long)(ns % 1000000000U);
    return 0;
}

static int threads_left = -1; /* that may still be started; -1: any number */

int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    if (threads_left == 0) {
        return EAGAIN;
    }
    threads_left -= threads_left > 0;
    return real(ret_thread, attributes, run, arg);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif

enum { WORKERS_SEEN_MAX = DWELL_BENCH_WORKERS_MAX };

/* A model: the n-th request of a stage takes (n % cycle + 1) · step. */
struct model {
    double step_ms;
    uint64_t cycle;
    double cpu_share;
    uint64_t fails_from; /* numbers from here on, below the other, fail */
    uint64_t fails_below;
    enum dwell_bench_stage end_stage; /* where `done` ends the run, after so many; 0: it does not */
    uint64_t end_after;
    double cpu_said_ms; /* that `done` puts in; 0: nothing */

    _Atomic uint64_t calls;
    _Atomic uint64_t done[DWELL_BENCH_STAGES];
    _Atomic uint64_t failed;
    _Atomic uint64_t by_worker[WORKERS_SEEN_MAX];
};

static int run_request(void *user, uint32_t worker, uint64_t number)
{
    struct model *model = user;
    uint64_t step_ns = (uint64_t)(model->step_ms * 1e6 + 0.5);
    uint64_t took_ns = step_ns * (number % model->cycle + 1);
    wall_ns += took_ns;
    cpu_ns += (uint64_t)((double)took_ns * model->cpu_share + 0.5);
    atomic_fetch_add(&model->calls, 1);
    atomic_fetch_add(&model->by_worker[worker], 1);
    return number >= model->fails_from && number < model->fails_below ? 1 : 0;
}

static int note_done(void *user, struct dwell_bench_call *call)
{
    struct model *model = user;
    assert_int_equal(call->size, sizeof *call);
    uint64_t done = atomic_fetch_add(&model->done[call->stage], 1) + 1;
    atomic_fetch_add(&model->failed, call->failed);
    if (model->cpu_said_ms > 0) {
        call->cpu_ms = model->cpu_said_ms;
    }
    return model->end_after > 0 && call->stage == model->end_stage && done >= model->end_after;
}

static struct model a_model(double step_ms, uint64_t cycle, double cpu_share)
{
    return (struct model){.step_ms = step_ms, .cycle = cycle, .cpu_share = cpu_share};
}

static struct dwell_bench_options a_run(struct model *model, uint32_t samples, uint32_t concurrency)
{
    return (struct dwell_bench_options){.size = sizeof(struct dwell_bench_options),
                                        .request = run_request,
                                        .done = note_done,
                                        .user = model,
                                        .samples = samples,
                                        .concurrency = concurrency};
}

static struct dwell_bench_result must_end(const struct dwell_bench_options *options, int err)
{
    struct dwell_bench_result result = {.size = sizeof result};
    assert_int_equal(dwell_bench_run(options, &result), err);
    return result;
}

static struct dwell_bench_result must_run(const struct dwell_bench_options *options)
{
    return must_end(options, 0);
}

static void must_refuse(const struct dwell_bench_options *options)
{
    struct dwell_bench_result result = {.size = sizeof result};
    assert_int_equal(dwell_bench_run(options, &result), -EINVAL);
    assert_null(result.bottleneck);
}

static void must_be(double figure, double expected)
{
    assert_true(fabs(figure - expected) <= TOLERANCE * fmax(1, fabs(expected)));
}

static void test_dwell_bench_stages_have_the_requests_asked_for(void **state)
{
    (void)state;
    struct model model = a_model(1, 1, 1);
    struct dwell_bench_options options = a_run(&model, 30, 3);
    options.warmup = 7;
    must_run(&options);
    assert_int_equal(model.done[DWELL_BENCH_WARMING], 7 * 3);
    assert_int_equal(model.done[DWELL_BENCH_SEQUENTIAL], 30);
    assert_int_equal(model.done[DWELL_BENCH_CONCURRENT], 30);
    assert_int_equal(model.calls, 7 * 3 + 30 + 30);
    assert_true(model.by_worker[0] >= 37);
    assert_true(model.by_worker[2] >= 7);
    assert_int_equal(model.by_worker[3], 0);
}

static void test_dwell_bench_has_the_promised_defaults(void **state)
{
    (void)state;
    struct model model = a_model(1, 1, 1);
    struct dwell_bench_options options = a_run(&model, 0, 0);
    must_run(&options);
    assert_int_equal(model.done[DWELL_BENCH_WARMING], 20 * 4);
    assert_int_equal(model.done[DWELL_BENCH_SEQUENTIAL], 200);
    assert_int_equal(model.done[DWELL_BENCH_CONCURRENT], 200);
}

static void test_dwell_bench_quantiles_are_nearest_ranks(void **state)
{
    (void)state;
    static const struct {
        uint32_t samples;
        double p50, p90, p95, p99, p999, mean, std;
    } facts[] = {
        {1, 1, 1, 1, 1, 1, 1, 0},
        {2, 1, 2, 2, 2, 2, 1.5, 0.70710678118654752},
        {10, 5, 9, 10, 10, 10, 5.5, 3.0276503540974917},
        {19, 10, 18, 19, 19, 19, 10, 5.6273143387113777},
        {20, 10, 18, 19, 20, 20, 10.5, 5.9160797830996161},
        {100, 50, 90, 95, 99, 100, 50.5, 29.011491975882016},
        {1000, 500, 900, 950, 990, 999, 500.5, 288.81943609574938},
        {1001, 501, 901, 951, 991, 1000, 501, 289.10811126635656},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct model model = a_model(1, facts[i].samples, 1);
        struct dwell_bench_options options = a_run(&model, facts[i].samples, 1);
        struct dwell_bench_load load = must_run(&options).sequential;
        assert_int_equal(load.requests, facts[i].samples);
        must_be(load.min_ms, 1);
        must_be(load.max_ms, facts[i].samples);
        must_be(load.p50_ms, facts[i].p50);
        must_be(load.p90_ms, facts[i].p90);
        must_be(load.p95_ms, facts[i].p95);
        must_be(load.p99_ms, facts[i].p99);
        must_be(load.p999_ms, facts[i].p999);
        must_be(load.mean_ms, facts[i].mean);
        must_be(load.std_ms, facts[i].std);
    }
}

static void test_dwell_bench_warmup_is_not_counted(void **state)
{
    (void)state;
    /* The first ten of a stage take 1 to 10 ms: a warm-up of ten that counted would change the mean. */
    struct model model = a_model(1, 10, 1);
    struct dwell_bench_options options = a_run(&model, 5, 1);
    options.warmup = 10;
    struct dwell_bench_load load = must_run(&options).sequential;
    must_be(load.mean_ms, 3);
    must_be(load.max_ms, 5);

    model = a_model(1, 10, 1);
    options.no_warmup = true;
    must_be(must_run(&options).sequential.mean_ms, 3);
    assert_int_equal(model.done[DWELL_BENCH_WARMING], 0);
}

static void test_dwell_bench_throughput_is_requests_by_time(void **state)
{
    (void)state;
    struct model model = a_model(2, 1, 1);
    struct dwell_bench_options options = a_run(&model, 100, 1);
    struct dwell_bench_result result = must_run(&options);
    must_be(result.sequential.requests_per_second, 500);
    must_be(result.sequential.elapsed_ms, 200);
    must_be(result.concurrent.requests_per_second, 500);
    must_be(result.concurrency_scaling, 1);

    /* Threads have clocks of their own here, so that who has most requests decides how long it took. */
    model = a_model(2, 1, 1);
    options = a_run(&model, 100, 4);
    options.no_warmup = true;
    result = must_run(&options);
    double longest = result.concurrent.elapsed_ms / 2;
    assert_true(longest >= 25 && longest <= 100);
    must_be(result.concurrent.requests_per_second, 100 / (longest * 2) * 1000);
    must_be(result.concurrency_scaling, 100 / longest);
}

static void test_dwell_bench_failed_requests_are_errors_and_nothing_else(void **state)
{
    (void)state;
    struct model model = a_model(1, 10, 0.5);
    model.fails_from = 5;
    model.fails_below = 10;
    struct dwell_bench_options options = a_run(&model, 10, 1);
    options.no_warmup = true;
    struct dwell_bench_load load = must_run(&options).sequential;
    assert_int_equal(load.requests, 5);
    assert_int_equal(load.errors, 5);
    must_be(load.mean_ms, 3);
    must_be(load.max_ms, 5);
    must_be(load.cpu_percent, 50);
    assert_int_equal(model.failed, 5);
}

static void test_dwell_bench_without_a_good_request_says_so(void **state)
{
    (void)state;
    struct model model = a_model(1, 1, 1);
    model.fails_below = UINT64_MAX;
    struct dwell_bench_options options = a_run(&model, 10, 2);
    struct dwell_bench_result result = must_end(&options, -EIO);
    assert_int_equal(result.sequential.requests, 0);
    assert_int_equal(result.sequential.errors, 10);
    assert_true(isnan(result.sequential.p99_ms));
    assert_true(isnan(result.sequential.requests_per_second));
    assert_string_equal(result.bottleneck, "unknown");
    assert_string_equal(result.rule, "insufficient");
    assert_string_equal(result.gpu_decision, "insufficient");
    assert_int_equal(model.done[DWELL_BENCH_CONCURRENT], 0);
}

static void test_dwell_bench_verdict_is_strict_at_each_limit(void **state)
{
    (void)state;
    static const struct {
        double latency_ms, cpu_ms; /* 0: none known */
        const char *bottleneck, *rule, *decision;
    } facts[] = {
        {0.999999, 0.9, "io_bound", "latency_floor", "no"},
        {1, 1, "compute_bound", "compute", "yes"},
        {2, 1, "unknown", "moderate", "insufficient"},
        {2, 1.0002, "compute_bound", "compute", "yes"},
        {2, 0.4, "unknown", "moderate", "insufficient"},
        {2, 0.3998, "io_bound", "io_low_cpu", "no"},
        {2, 0, "unknown", "no_cpu", "insufficient"},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct model model = a_model(facts[i].latency_ms, 1, 0);
        model.cpu_said_ms = facts[i].cpu_ms;
        struct dwell_bench_options options = a_run(&model, 16, 1);
        options.elsewhere = true;
        struct dwell_bench_result result = must_run(&options);
        assert_string_equal(result.bottleneck, facts[i].bottleneck);
        assert_string_equal(result.rule, facts[i].rule);
        assert_string_equal(result.gpu_decision, facts[i].decision);
    }
}

static void test_dwell_bench_limits_can_be_given(void **state)
{
    (void)state;
    struct model model = a_model(2, 1, 0.5);
    struct dwell_bench_options options = a_run(&model, 4, 1);
    assert_string_equal(must_run(&options).rule, "moderate");
    options.cpu_compute_threshold_percent = 49;
    assert_string_equal(must_run(&options).rule, "compute");
    options.cpu_compute_threshold_percent = 90;
    options.cpu_io_threshold_percent = 60;
    assert_string_equal(must_run(&options).rule, "io_low_cpu");
    options.latency_gpu_threshold_ms = 3;
    assert_string_equal(must_run(&options).rule, "latency_floor");
}

static void test_dwell_bench_cpu_of_elsewhere_is_not_the_threads(void **state)
{
    (void)state;
    struct model model = a_model(2, 1, 1);
    struct dwell_bench_options options = a_run(&model, 4, 1);
    must_be(must_run(&options).sequential.cpu_percent, 100);
    must_be(must_run(&options).sequential.cpu_ms, 2);
    options.elsewhere = true;
    struct dwell_bench_result result = must_run(&options);
    assert_true(isnan(result.sequential.cpu_percent));
    assert_true(isnan(result.sequential.cpu_ms));
    model.cpu_said_ms = 6; /* several threads worked on it */
    must_be(must_run(&options).sequential.cpu_percent, 300);
}

static void test_dwell_bench_can_be_ended(void **state)
{
    (void)state;
    struct model model = a_model(1, 1, 1);
    model.end_stage = DWELL_BENCH_SEQUENTIAL;
    model.end_after = 5;
    struct dwell_bench_options options = a_run(&model, 100, 2);
    struct dwell_bench_result result = must_end(&options, -ECANCELED);
    assert_int_equal(result.sequential.requests, 5);
    assert_int_equal(result.sequential.errors, 0);
    must_be(result.sequential.p99_ms, 1);
    assert_int_equal(result.concurrent.requests, 0);
    assert_true(isnan(result.concurrency_scaling));

    model = a_model(1, 1, 1);
    model.end_stage = DWELL_BENCH_WARMING;
    model.end_after = 1;
    result = must_end(&options, -ECANCELED);
    assert_int_equal(result.sequential.requests, 0);
    assert_int_equal(model.done[DWELL_BENCH_SEQUENTIAL], 0);
    assert_true(isnan(result.sequential.mean_ms));
}

static void test_dwell_bench_refuses_what_makes_no_sense(void **state)
{
    (void)state;
    struct model model = a_model(1, 1, 1);
    struct dwell_bench_options good = a_run(&model, 1, 1);
    good.no_warmup = true;
    must_refuse(NULL);
    struct dwell_bench_options options = good;
    options.size--;
    must_refuse(&options);
    options = good;
    options.request = NULL;
    must_refuse(&options);
    options = good;
    options.samples = DWELL_BENCH_SAMPLES_MAX + 1;
    must_refuse(&options);
    options = good;
    options.concurrency = DWELL_BENCH_WORKERS_MAX + 1;
    must_refuse(&options);
    options = good;
    options.warmup = DWELL_BENCH_SAMPLES_MAX + 1;
    must_refuse(&options);
    assert_int_equal(dwell_bench_run(&good, NULL), -EINVAL);
    struct dwell_bench_result result = {.size = sizeof result - 1};
    assert_int_equal(dwell_bench_run(&good, &result), -EINVAL);
    assert_int_equal(model.calls, 0);
}

static void test_dwell_bench_goes_up_to_its_ceilings(void **state)
{
    (void)state;
    struct model model = a_model(0.001, 1000, 1);
    struct dwell_bench_options options = a_run(&model, DWELL_BENCH_SAMPLES_MAX, 1);
    options.done = NULL;
    assert_int_equal(must_run(&options).sequential.requests, DWELL_BENCH_SAMPLES_MAX);

    model = a_model(1, 1, 1);
    options = a_run(&model, 1, DWELL_BENCH_WORKERS_MAX);
    options.warmup = 1;
    must_run(&options);
    for (uint32_t i = 0; i < DWELL_BENCH_WORKERS_MAX; i++) {
        assert_true(model.by_worker[i] >= 1);
    }
}

static void test_dwell_bench_without_threads_leaves_none_and_no_result(void **state)
{
    (void)state;
    enum { CONCURRENCY = 3, STAGES_THREADS = CONCURRENCY + 1 + CONCURRENCY };
    for (int left = 0; left < STAGES_THREADS; left++) {
        struct model model = a_model(1, 1, 1);
        struct dwell_bench_options options = a_run(&model, 10, CONCURRENCY);
        struct dwell_bench_result result = {.size = sizeof result};
        threads_left = left;
        int err = dwell_bench_run(&options, &result);
        threads_left = -1;
        assert_int_equal(err, -EAGAIN);
        assert_null(result.bottleneck);
        assert_int_equal(model.done[DWELL_BENCH_CONCURRENT], 0);
    }
    struct model model = a_model(1, 1, 1);
    struct dwell_bench_options options = a_run(&model, 10, CONCURRENCY);
    threads_left = STAGES_THREADS;
    must_run(&options);
    assert_int_equal(threads_left, 0);
    threads_left = -1;
}

static void test_dwell_bench_without_memory_has_no_result(void **state)
{
    (void)state;
#ifdef UNDER_SANITIZER
    skip(); /* its own memory counts, too */
#else
    struct model model = a_model(1, 1, 1);
    struct dwell_bench_options options = a_run(&model, DWELL_BENCH_SAMPLES_MAX, 1);
    struct dwell_bench_result result = {.size = sizeof result};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    struct rlimit none = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &none), 0);
    int err = dwell_bench_run(&options, &result);
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(err, -ENOMEM);
    assert_null(result.bottleneck);
    assert_int_equal(model.calls, 0);
#endif
}

static void test_dwell_bench_memory_is_said(void **state)
{
    (void)state;
    struct model model = a_model(1, 1, 1);
    struct dwell_bench_options options = a_run(&model, 1, 1);
    struct dwell_bench_result result = must_run(&options);
    assert_true(result.memory_mb_before > 0);
    assert_true(result.memory_mb_after > 0);
    assert_true(result.memory_mb_peak > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_bench_stages_have_the_requests_asked_for),
        cmocka_unit_test(test_dwell_bench_has_the_promised_defaults),
        cmocka_unit_test(test_dwell_bench_quantiles_are_nearest_ranks),
        cmocka_unit_test(test_dwell_bench_warmup_is_not_counted),
        cmocka_unit_test(test_dwell_bench_throughput_is_requests_by_time),
        cmocka_unit_test(test_dwell_bench_failed_requests_are_errors_and_nothing_else),
        cmocka_unit_test(test_dwell_bench_without_a_good_request_says_so),
        cmocka_unit_test(test_dwell_bench_verdict_is_strict_at_each_limit),
        cmocka_unit_test(test_dwell_bench_limits_can_be_given),
        cmocka_unit_test(test_dwell_bench_cpu_of_elsewhere_is_not_the_threads),
        cmocka_unit_test(test_dwell_bench_can_be_ended),
        cmocka_unit_test(test_dwell_bench_refuses_what_makes_no_sense),
        cmocka_unit_test(test_dwell_bench_goes_up_to_its_ceilings),
        cmocka_unit_test(test_dwell_bench_without_threads_leaves_none_and_no_result),
        cmocka_unit_test(test_dwell_bench_without_memory_has_no_result),
        cmocka_unit_test(test_dwell_bench_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
