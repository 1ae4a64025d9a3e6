#include "core_helpers.h"

#include <math.h>

#include "core/gpu_estimate.h"

/* Round figures: 10 TFLOP/s at half of it, 100 GB/s likewise, 1 ms a launch, 0.1 ms an inference. */
static const struct gpu_options simple = {.peak_tflops = 10,
                                          .bandwidth_gb = 100,
                                          .launch_us = 1000,
                                          .transfer_us = 100,
                                          .efficiency_low = 0.5,
                                          .efficiency_high = 0.5,
                                          .price_low = 1,
                                          .price_high = 1,
                                          .cpu_price_low = 0.5,
                                          .cpu_price_high = 0.5,
                                          .cpu_threads = 4,
                                          .host_threads = 4,
                                          .utilization = 1,
                                          .instances = 1,
                                          .min_speedup = 2,
                                          .max_batch = 1};

/* 5 GFLOP take 1 ms at 5 TFLOP/s. */
static const struct gpu_load some = {.mean_ms = 20,
                                     .p99_ms = 40,
                                     .movable = 0.9,
                                     .cpu_ms = 20,
                                     .rate = 100,
                                     .flops = 5e9,
                                     .bytes_moved = 0};

static struct gpu_estimate estimate(const struct gpu_options *options, const struct gpu_load *load)
{
    struct gpu_estimate found;
    gpu_estimate(options, load, &found);
    return found;
}

static void must_be(double got, double wanted)
{
    must_be_near(got, wanted, 1e-9);
}

/* --- time -------------------------------------------------------------------------------------- */

static void test_gpu_estimate_adds_up_the_parts_of_the_time(void **state)
{
    (void)state;
    const struct {
        double flops, bytes, movable, launch_us, transfer_us;
        double time_ms;
    } table[] = {
        {5e9, 0, 1, 0, 0, 1},        /* computing alone */
        {0, 5e7, 1, 0, 0, 1},        /* moving alone */
        {5e9, 1e8, 1, 0, 0, 2},      /* both at once: the longer */
        {1e10, 5e7, 1, 0, 0, 2},     /* the other way round */
        {5e9, 0, 1, 1000, 0, 2},     /* a launch */
        {5e9, 0, 1, 1000, 100, 2.1}, /* and a transfer */
        {5e9, 0, 0.9, 1000, 100, 4.1},
        {5e9, 0, 0.5, 1000, 100, 12.1},
        {5e9, 0, 0, 1000, 100, 22.1}, /* nothing moved: the GPU comes on top */
        {0, 0, 1, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_options options = simple;
        struct gpu_load load = some;
        options.launch_us = table[i].launch_us;
        options.transfer_us = table[i].transfer_us;
        load.flops = table[i].flops;
        load.bytes_moved = table[i].bytes;
        load.movable = table[i].movable;
        struct gpu_estimate found = estimate(&options, &load);
        must_be(found.time_ms.point, table[i].time_ms);
        must_be(found.p99_ms.point, table[i].time_ms + (1 - table[i].movable) * 20);
        if (table[i].time_ms > 0) {
            must_be(found.speedup.point, 20 / table[i].time_ms);
        } else {
            assert_true(isinf(found.speedup.point));
        }
        assert_true(found.batch.point == 1);
    }
}

/* With money as the objective the largest batch that keeps p99 within its limit. */
static void test_gpu_estimate_batches_within_the_latency_objective(void **state)
{
    (void)state;
    struct gpu_options options = simple;
    struct gpu_load load = some;
    options.max_batch = 8;
    options.launch_us = 10000;
    load.movable = 1;
    load.rate = 1000;
    /* A batch of b takes 10 + 1.1 b, the first of it waits b - 1: 11.1, 13.2, 17.4, 25.8 in all. */
    const struct {
        double limit_ms, batch;
        bool fits;
    } table[] = {{11.099, 1, false}, {11.1001, 1, true}, {13.1999, 1, true},
                 {13.2001, 2, true}, {17.3999, 2, true}, {17.4001, 4, true},
                 {25.7999, 4, true}, {25.8001, 8, true}, {1000, 8, true}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        options.max_latency_ms = table[i].limit_ms;
        struct gpu_estimate found = estimate(&options, &load);
        assert_true(found.batch.point == table[i].batch);
        assert_true(found.fits == table[i].fits);
        assert_true(found.fits || found.probability == 0);
        double batch = table[i].batch;
        must_be(found.time_ms.point, 10 + 1.1 * batch + (batch - 1) / 2);
        must_be(found.p99_ms.point, 10 + 1.1 * batch + (batch - 1));
    }
    /* Nothing is said: p99 is to stay as it is. */
    options.max_latency_ms = 0;
    assert_true(estimate(&options, &load).p99_limit_ms == 40);
    /* The ceiling on batches is one, and need not be a power of two. */
    options.max_latency_ms = 1000;
    options.max_batch = 7;
    assert_true(estimate(&options, &load).batch.point == 4);
    /* For speed alone none is waited for. */
    options.objective = GPU_LATENCY;
    assert_true(estimate(&options, &load).batch.point == 1);
    /* One machine is enough for few: the quickest batch then. */
    options.objective = GPU_COST;
    load.rate = 10;
    assert_true(estimate(&options, &load).batch.point == 1);
}

/* --- money ------------------------------------------------------------------------------------- */

static void test_gpu_estimate_counts_machines(void **state)
{
    (void)state;
    assert_true(gpu_machines(0, 10) == 1);
    assert_true(gpu_machines(10, 10) == 1);
    must_be(gpu_machines(10.1, 10), 1.01);
    must_be(gpu_machines(25, 10), 2.5);
    assert_true(gpu_machines(1e9, (double)INFINITY) == 1);
    must_be(gpu_cpu_capacity(&simple, &some), 200); /* 4 threads, 20 ms */
    must_be(gpu_batch_capacity(&simple, &some, 0.5, 1), 1000 / 2.1);
    must_be(gpu_batch_capacity(&simple, &some, 0.5, 4), 4000 / 5.4);
    const struct {
        double cpu_ms, movable;
        double host; /* inferences a second of its 4 threads */
    } table[] = {
        {20, 1, (double)INFINITY}, /* nothing stays */
        {80, 1, (double)INFINITY}, /* nor of several threads */
        {80, 0.5, 100},
        {20, 0.25, 4000.0 / 15},
        {10, 0.5, (double)INFINITY}, /* the rest waits */
        {10, 0.25, 800},
        {10, 0, 400},
        {5, 0.5, (double)INFINITY}, /* more moves than was counted */
    };
    struct gpu_options quick = simple;
    quick.launch_us = quick.transfer_us = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct gpu_load load = some;
        load.flops = 1;
        load.cpu_ms = table[i].cpu_ms;
        load.movable = table[i].movable;
        double got = gpu_batch_capacity(&quick, &load, 0.5, 1);
        must_be(got, fmin(table[i].host, 5e12));
    }
    struct gpu_options half = simple;
    half.utilization = 0.5;
    must_be(gpu_cpu_capacity(&half, &some), 100);
    must_be(gpu_batch_capacity(&half, &some, 0.5, 1), 500 / 2.1);
}

static void test_gpu_estimate_cost_of_a_thousand(void **state)
{
    (void)state;
    struct gpu_options options = simple;
    struct gpu_load load = some;
    struct gpu_estimate found = estimate(&options, &load);
    /* 100 a second are 360,000 an hour. */
    must_be(found.cpu_cost.point, 0.5 / 360);
    must_be(found.gpu_cost.point, 1.0 / 360);
    load.rate = 400;
    found = estimate(&options, &load);
    must_be(found.cpu_machines, 2);
    must_be(found.gpu_machines, 1);
    must_be(found.cpu_cost.point, 1.0 / 1440);
    must_be(found.gpu_cost.point, 1.0 / 1440);
    /* Four services like this one, of which each sees a quarter. */
    load.rate = 100;
    options.instances = 4;
    found = estimate(&options, &load);
    assert_true(found.rate == 400);
    must_be(found.cpu_machines, 2);
    /* Nobody knows the rate. */
    load.rate = (double)NAN;
    found = estimate(&options, &load);
    assert_true(isnan(found.cpu_cost.point) && isnan(found.gpu_cost.low));
    assert_true(isnan(found.cpu_machines) && isnan(found.gpu_machines));
    assert_false(found.by_cost);
    assert_true(found.batch.high == 1);
    must_be(found.break_even.point, 400);
}

/* The chance that one random price is below another, as often as not drawn and as computed. */
static void test_gpu_estimate_probability_is_that_of_drawing(void **state)
{
    (void)state;
    struct random random = random_start("prices");
    for (int i = 0; i < 40; i++) {
        struct gpu_options options = simple;
        options.price_low = random_unit(&random);
        options.price_high = options.price_low + (i % 4 == 0 ? 0 : random_unit(&random));
        options.cpu_price_low = random_unit(&random);
        options.cpu_price_high = options.cpu_price_low + (i % 3 == 0 ? 0 : random_unit(&random));
        double cpu = 1 + 2 * random_unit(&random);
        double gpu = 1 + random_unit(&random);
        double got = gpu_saving_probability(&options, cpu, gpu);
        int below = 0;
        enum { DRAWS = 20000 };
        for (int k = 0; k < DRAWS; k++) {
            double price =
                options.price_low + (options.price_high - options.price_low) * random_unit(&random);
            double cpu_price =
                options.cpu_price_low +
                (options.cpu_price_high - options.cpu_price_low) * random_unit(&random);
            below += price * gpu < cpu_price * cpu ? 1 : 0;
        }
        assert_true(fabs(got - (double)below / DRAWS) < 0.02); /* five deviations are 0.018 */
    }
}

static void test_gpu_estimate_probability_at_its_ends(void **state)
{
    (void)state;
    struct gpu_options options = simple;
    assert_true(gpu_saving_probability(&options, 2, 1) == 0); /* the same is no saving */
    assert_true(gpu_saving_probability(&options, 2.000001, 1) == 1);
    options.price_high = 3;
    assert_true(gpu_saving_probability(&options, 2, 1) == 0);
    assert_true(gpu_saving_probability(&options, 4, 1) == 0.5);
    assert_true(gpu_saving_probability(&options, 6, 1) == 1);
    options.cpu_price_low = 0;
    options.cpu_price_high = 0;
    assert_true(gpu_saving_probability(&options, 100, 1) == 0); /* CPUs for nothing */
    options.price_low = options.price_high = 0;
    options.cpu_price_high = 1;
    assert_true(gpu_saving_probability(&options, 1, 100) == 1); /* GPUs for nothing */
}

/* At the break-even both sides cost the same, below it the GPU costs more, above it less. */
static void test_gpu_estimate_breaks_even_where_costs_are_equal(void **state)
{
    (void)state;
    struct random random = random_start("break-even");
    int finite = 0;
    for (int i = 0; i < 2000; i++) {
        struct gpu_options options = simple;
        struct gpu_load load = some;
        options.price_low = options.price_high = 0.5 + 2 * random_unit(&random);
        load.flops = 2e10 * random_unit(&random);
        load.cpu_ms = 1 + 40 * random_unit(&random);
        options.max_batch = 1 + (uint32_t)random_below(&random, 64);
        double rate = estimate(&options, &load).break_even.point;
        if (!isfinite(rate)) {
            load.rate = 1e9; /* of which no machine has any to spare */
            struct gpu_estimate busy = estimate(&options, &load);
            assert_true(!busy.fits || busy.gpu_cost.point >= busy.cpu_cost.point * (1 - 1e-9));
            continue;
        }
        finite++;
        load.rate = rate * 1.001;
        struct gpu_estimate above = estimate(&options, &load);
        assert_true(above.fits && above.gpu_cost.point < above.cpu_cost.point);
        load.rate = rate * 0.999;
        struct gpu_estimate below = estimate(&options, &load);
        assert_true(!below.fits || below.gpu_cost.point > below.cpu_cost.point);
        if (options.max_batch == 1) { /* nothing has to fill: the costs meet */
            load.rate = rate;
            struct gpu_estimate there = estimate(&options, &load);
            must_be(there.gpu_cost.point, there.cpu_cost.point);
        }
    }
    assert_true(finite > 100);
    /* Cheaper than a machine without: always. */
    struct gpu_options cheap = simple;
    cheap.price_low = cheap.price_high = 0.25;
    assert_true(estimate(&cheap, &some).break_even.point == 0);
}

/* --- what is not known ------------------------------------------------------------------------- */

static double between(struct random *random, double low, double high)
{
    return low + (high - low) * random_unit(random);
}

static struct gpu_options random_options(struct random *random)
{
    struct gpu_options options = simple;
    options.peak_tflops = exp(between(random, -4, 6));
    options.bandwidth_gb = exp(between(random, 0, 8));
    options.launch_us = exp(between(random, 0, 8));
    options.transfer_us = exp(between(random, 0, 6));
    options.efficiency_low = between(random, 0.05, 0.5);
    options.efficiency_high = between(random, 0.5, 1);
    options.price_low = between(random, 0.1, 1);
    options.price_high = options.price_low * between(random, 1, 3);
    options.cpu_price_low = between(random, 0.1, 1);
    options.cpu_price_high = options.cpu_price_low * between(random, 1, 3);
    options.host_threads = between(random, 1, 16);
    options.utilization = between(random, 0.3, 1);
    options.max_latency_ms = random_below(random, 2) == 0 ? 0 : exp(between(random, 0, 6));
    options.max_batch = 1u << random_below(random, 9);
    options.objective = random_below(random, 2) == 0 ? GPU_COST : GPU_LATENCY;
    return options;
}

static struct gpu_load random_load(struct random *random)
{
    struct gpu_load load = {.mean_ms = exp(between(random, -1, 7)), .movable = random_unit(random)};
    load.p99_ms = load.mean_ms * between(random, 1, 4);
    load.cpu_ms = load.mean_ms * between(random, 0.2, 4);
    load.rate = exp(between(random, -3, 10));
    load.flops = exp(between(random, 12, 28));
    load.bytes_moved = exp(between(random, 8, 22));
    return load;
}

static void must_hold_its_point(struct gpu_range range)
{
    assert_true(range.low <= range.point && range.point <= range.high);
}

static void test_gpu_estimate_ranges_hold_their_points(void **state)
{
    (void)state;
    struct random random = random_start("ranges");
    for (int i = 0; i < 3000; i++) {
        struct gpu_options options = random_options(&random);
        struct gpu_load load = random_load(&random);
        struct gpu_estimate found = estimate(&options, &load);
        must_hold_its_point(found.batch);
        must_hold_its_point(found.time_ms);
        must_hold_its_point(found.p99_ms);
        must_hold_its_point(found.speedup);
        must_hold_its_point(found.cpu_cost);
        must_hold_its_point(found.gpu_cost);
        must_hold_its_point(found.break_even);
        assert_true(found.probability >= 0 && found.probability <= 1);
        assert_true(found.speedup.high <= 1 / (1 - load.movable)); /* Amdahl's ceiling */
    }
}

/* Nothing that makes a GPU better makes it less likely to pay, and nothing that makes it dearer more. */
static void test_gpu_estimate_moves_with_what_it_is_made_of(void **state)
{
    (void)state;
    struct random random = random_start("monotone");
    const double slack = 1e-9; /* of sums */
    for (int i = 0; i < 3000; i++) {
        struct gpu_options options = random_options(&random);
        struct gpu_load load = random_load(&random);
        double chance = estimate(&options, &load).probability;
        double factor = between(&random, 1, 10);
        struct gpu_options other = options;
        other.peak_tflops *= factor;
        assert_true(estimate(&other, &load).probability >= chance - slack);
        other = options;
        other.bandwidth_gb *= factor;
        assert_true(estimate(&other, &load).probability >= chance - slack);
        other = options;
        other.launch_us /= factor;
        other.transfer_us /= factor;
        assert_true(estimate(&other, &load).probability >= chance - slack);
        other = options;
        other.price_low *= factor;
        other.price_high *= factor;
        assert_true(estimate(&other, &load).probability <= chance + slack);
        other = options;
        other.cpu_price_low *= factor;
        other.cpu_price_high *= factor;
        assert_true(estimate(&other, &load).probability >= chance - slack);
        other = options;
        other.min_speedup *= factor;
        assert_true(estimate(&other, &load).probability <= chance + slack);
    }
}

/* --- the worst that options and records can be ------------------------------------------------- */

static void test_gpu_estimate_takes_the_extremes(void **state)
{
    (void)state;
    const double ends[] = {1e-3, 1e6};
    const double figures[] = {0, RECORD_COUNT_MAX};
    const double times[] = {1e-9, RECORD_MS_MAX};
    for (unsigned i = 0; i < 64; i++) {
        struct gpu_options options = simple;
        options.peak_tflops = ends[i & 1];
        options.bandwidth_gb = ends[i & 1];
        options.launch_us = i & 2 ? 1e9 : 0;
        options.transfer_us = options.launch_us;
        options.max_batch = 4096;
        options.objective = i & 32 ? GPU_LATENCY : GPU_COST;
        struct gpu_load load = {.mean_ms = times[i >> 2 & 1],
                                .p99_ms = times[i >> 2 & 1],
                                .movable = i >> 3 & 1 ? 1 : 0,
                                .cpu_ms = times[i >> 2 & 1],
                                .rate = i >> 4 & 1 ? 1e18 : 1e-9,
                                .flops = figures[i >> 4 & 1],
                                .bytes_moved = figures[i >> 4 & 1]};
        struct gpu_estimate found = estimate(&options, &load);
        assert_true(found.probability >= 0 && found.probability <= 1);
        assert_false(isnan(found.time_ms.point) || isnan(found.p99_ms.point));
        assert_false(isnan(found.speedup.point) || isnan(found.gpu_cost.point));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpu_estimate_adds_up_the_parts_of_the_time),
        cmocka_unit_test(test_gpu_estimate_batches_within_the_latency_objective),
        cmocka_unit_test(test_gpu_estimate_counts_machines),
        cmocka_unit_test(test_gpu_estimate_cost_of_a_thousand),
        cmocka_unit_test(test_gpu_estimate_probability_is_that_of_drawing),
        cmocka_unit_test(test_gpu_estimate_probability_at_its_ends),
        cmocka_unit_test(test_gpu_estimate_breaks_even_where_costs_are_equal),
        cmocka_unit_test(test_gpu_estimate_ranges_hold_their_points),
        cmocka_unit_test(test_gpu_estimate_moves_with_what_it_is_made_of),
        cmocka_unit_test(test_gpu_estimate_takes_the_extremes),
    };
    return cmocka_run_group_tests_name("gpu_estimate", tests, NULL, NULL);
}
