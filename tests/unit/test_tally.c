#include "core_helpers.h"

#include <math.h>

#include "base/err.h"
#include "mem_fault.h"

/* --- classic buckets --------------------------------------------------------------------------- */

static unsigned find(const struct bounds *bounds, double figure)
{
    return bounds_find(bounds, figure, hist_position(figure * bounds->to_hist));
}

static unsigned find_by_search(const struct bounds *bounds, double figure)
{
    unsigned at = 0;
    while (at < bounds->count && figure > bounds->bound[at]) {
        at++;
    }
    return at;
}

static void must_be_inclusive(const struct bounds *bounds)
{
    for (unsigned i = 0; i < bounds->count; i++) {
        double bound = bounds->bound[i];
        assert_int_equal(find(bounds, bound), i);
        assert_int_equal(find(bounds, nextafter(bound, 0)), i);
        assert_int_equal(find(bounds, nextafter(bound, INFINITY)), i + 1);
    }
    assert_int_equal(find(bounds, 0), 0);
    assert_int_equal(find(bounds, -0.0), 0);
    assert_int_equal(find(bounds, 5e-324), 0);
    assert_int_equal(find(bounds, 1e15), bounds->count);
}

static void test_tally_bounds_are_inclusive(void **state)
{
    (void)state;
    assert_int_equal(bounds_ms.count, 9);
    assert_int_equal(bounds_batch.count, 11);
    must_be_inclusive(&bounds_ms);
    must_be_inclusive(&bounds_batch);
}

static void must_agree_with_search(const struct bounds *bounds, struct random *random)
{
    for (int i = 0; i < 200000; i++) {
        double figure = exp2(random_unit(random) * 80 - 40);
        assert_int_equal(find(bounds, figure), find_by_search(bounds, figure));
    }
    for (unsigned i = 0; i < bounds->count; i++) {
        double figure = bounds->bound[i] * (1 - 1e-13);
        for (int k = 0; k < 1000; k++) {
            figure = nextafter(figure, INFINITY);
            assert_int_equal(find(bounds, figure), find_by_search(bounds, figure));
        }
    }
}

static void test_tally_bounds_are_those_of_a_search(void **state)
{
    (void)state;
    struct random random = random_start("bounds");
    must_agree_with_search(&bounds_ms, &random);
    must_agree_with_search(&bounds_batch, &random);
}

/* --- one tally --------------------------------------------------------------------------------- */

struct shelf {
    struct limbo limbo;
    struct tally *tally;
};

static void shelf_open(struct shelf *shelf)
{
    limbo_init(&shelf->limbo);
    shelf->tally = tally_new(&shelf->limbo, 7);
    assert_non_null(shelf->tally);
    assert_int_equal(shelf->tally->slot, 7);
    assert_int_equal(shelf->tally->block.epoch, 1);
}

static void shelf_close(struct shelf *shelf)
{
    tally_retire(shelf->tally, &shelf->limbo);
    limbo_fini(&shelf->limbo);
}

static void must_add(struct shelf *shelf, const struct sample *sample)
{
    assert_int_equal(tally_add(shelf->tally, sample, &shelf->limbo), 0);
}

#define PART(part) (1u << SAMPLE_##part)

static void test_tally_counts_latency_and_errors(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    struct sample sample = sample_of("m", 3);
    must_add(&shelf, &sample);
    sample.execution_time_ms = 0;
    sample.error = true;
    must_add(&shelf, &sample);
    sample.execution_time_ms = RECORD_MS_MAX;
    sample.error = false;
    must_add(&shelf, &sample);
    const struct sums *sums = &shelf.tally->sums;
    assert_int_equal(sums->count, 3);
    assert_int_equal(sums->errors, 1);
    assert_true(sums->latency_min_ms == 0 && sums->latency_max_ms == RECORD_MS_MAX);
    assert_true(sums->latency_sum == (exact_u128)1000000000003 * 1000000000);
    assert_int_equal(sums->latency_bucket[0], 1);
    assert_int_equal(sums->latency_bucket[3], 1);
    assert_int_equal(sums->latency_bucket[bounds_ms.count], 1);
    assert_int_equal(hist_total(&shelf.tally->latency), 3);
    assert_int_equal(shelf.tally->latency.zero, 1);
    assert_int_equal(sums->cpu_percent.count, 0);
    assert_int_equal(sums->memory_mb.count, 0);
    assert_null(shelf.tally->extra);
    shelf_close(&shelf);
}

static void test_tally_gauges_count_only_samples_that_have_them(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    struct sample sample = sample_of("m", 3);
    sample.cpu_percent_during = 80; /* without its bit: no value */
    sample.memory_mb_after = 80;
    must_add(&shelf, &sample);
    sample.has = PART(CPU_DURING);
    sample.cpu_percent_during = 0;
    must_add(&shelf, &sample);
    sample.cpu_percent_during = 250.5;
    must_add(&shelf, &sample);
    sample.has = PART(MEMORY_AFTER) | PART(CPU_BEFORE) | PART(MEMORY_BEFORE);
    sample.memory_mb_after = 0.5;
    must_add(&shelf, &sample);
    const struct sums *sums = &shelf.tally->sums;
    assert_int_equal(sums->count, 4);
    assert_int_equal(sums->cpu_percent.count, 2);
    assert_true(sums->cpu_percent.peak == 250.5);
    assert_true(sums->cpu_percent.sum == 250500000);
    assert_int_equal(sums->memory_mb.count, 1);
    assert_true(sums->memory_mb.sum == 524288);
    shelf_close(&shelf);
}

static void test_tally_queue_and_batch_have_buckets(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    const double queue[] = {0, 0.1, 0.10000000000000002, 1000, 1000.0000000000001, RECORD_MS_MAX};
    const double batch[] = {0, 1, 2, 3, 1024, 1025};
    for (size_t i = 0; i < 6; i++) {
        struct sample sample = sample_of("m", 1);
        sample.has = PART(QUEUE) | PART(BATCH_SIZE);
        sample.queue_ms = queue[i];
        sample.batch_size = batch[i];
        must_add(&shelf, &sample);
    }
    struct sample last = sample_of("m", 1);
    last.has = PART(BATCH_SIZE);
    last.batch_size = RECORD_COUNT_MAX;
    must_add(&shelf, &last);
    const struct tally_extra *extra = shelf.tally->extra;
    assert_non_null(extra);
    assert_int_equal(extra->queue_ms.count, 6);
    assert_int_equal(extra->queue_ms.bucket[0], 2);
    assert_int_equal(extra->queue_ms.bucket[1], 1);
    assert_int_equal(extra->queue_ms.bucket[8], 1);
    assert_int_equal(extra->queue_ms.bucket[9], 2);
    assert_int_equal(extra->batch_size.count, 7);
    assert_int_equal(extra->batch_size.bucket[0], 2);
    assert_int_equal(extra->batch_size.bucket[1], 1);
    assert_int_equal(extra->batch_size.bucket[2], 1);
    assert_int_equal(extra->batch_size.bucket[10], 1);
    assert_int_equal(extra->batch_size.bucket[11], 2);
    assert_true(extra->batch_size.sum == (exact_u128)1000000000002055);
    assert_int_equal(extra->evidence_count, 0);
    shelf_close(&shelf);
}

static void must_be_same_extra(const struct tally_extra *a, const struct tally_extra *b)
{
    const size_t head = offsetof(struct tally_extra, queue_ms);
    assert_memory_equal((const char *)a + head, (const char *)b + head, sizeof *a - head);
}

/* --- time by state ----------------------------------------------------------------------------- */

#define NO (-1.0) /* the sample does not have it */

static void test_tally_time_by_state_is_clamped(void **state)
{
    (void)state;
    const struct {
        double wall, user, system, runqueue, minor, major;
        double wanted[STATE_COUNT]; /* user, system, fault, runqueue, blocked */
    } table[] = {
        /* nothing but waiting */
        {10, 0, 0, NO, NO, NO, {0, 0, 0, 0, 10}},
        {10, 4, 1, NO, NO, NO, {4, 1, 0, 0, 5}},
        {10, 4, 1, 2, NO, NO, {4, 1, 0, 2, 3}},
        /* faults take their share of system time, at most all of it */
        {10, 4, 1, 2, 100, NO, {4, 0.74, 0.26, 2, 3}},
        {10, 4, 1, 2, 50, 50, {4, 0.74, 0.26, 2, 3}},
        {10, 4, 1, 2, NO, 100, {4, 0.74, 0.26, 2, 3}},
        {10, 4, 1, 2, 1e15, NO, {4, 0, 1, 2, 3}},
        {10, 4, 0, 2, 100, NO, {4, 0, 0, 2, 4}},
        /* the run queue gets what CPU time left, at most */
        {10, 4, 1, 5, NO, NO, {4, 1, 0, 5, 0}},
        {10, 4, 1, 50, NO, NO, {4, 1, 0, 5, 0}},
        /* more CPU time than wall time: threads */
        {10, 12, 1, 5, NO, NO, {12, 1, 0, 0, 0}},
        {10, 10, 0, 5, NO, NO, {10, 0, 0, 0, 0}},
        {0, 0, 0, 0, 0, 0, {0, 0, 0, 0, 0}},
        {0, 1, 1, 1, 0, 0, {1, 1, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct shelf shelf;
        shelf_open(&shelf);
        struct sample sample = sample_of("m", table[i].wall);
        sample.has = PART(USER) | PART(SYSTEM) | (table[i].runqueue >= 0 ? PART(RUNQUEUE) : 0) |
                     (table[i].minor >= 0 ? PART(MINOR_FAULTS) : 0) |
                     (table[i].major >= 0 ? PART(MAJOR_FAULTS) : 0);
        sample.user_ms = table[i].user;
        sample.system_ms = table[i].system;
        sample.runqueue_ms = table[i].runqueue;
        sample.minor_faults = table[i].minor;
        sample.major_faults = table[i].major;
        must_add(&shelf, &sample);
        const struct tally_extra *extra = shelf.tally->extra;
        assert_int_equal(extra->evidence_count, 1);
        assert_true(extra->evidence_wall == exact_steps(table[i].wall, EXACT_STEPS_PER_MS));
        for (unsigned k = 0; k < STATE_COUNT; k++) {
            assert_true(extra->state[k] == exact_steps(table[i].wanted[k], EXACT_STEPS_PER_MS));
        }
        shelf_close(&shelf);
    }
}

static void test_tally_sample_of_weight_counts_as_so_many(void **state)
{
    (void)state;
    const uint64_t weights[] = {1, 2, 10, 1000};
    const double latencies[] = {0, 0.1, 12.5, 9.2e9, 1e10, RECORD_MS_MAX};
    for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++) {
        for (size_t k = 0; k < sizeof latencies / sizeof latencies[0]; k++) {
            struct shelf by_weight;
            struct shelf by_one;
            shelf_open(&by_weight);
            shelf_open(&by_one);
            struct sample sample = sample_of("m", latencies[k]);
            sample.has = PART(QUEUE) | PART(BATCH_SIZE);
            sample.error = true;
            sample.queue_ms = latencies[k];
            sample.batch_size = 8;
            for (uint64_t n = 0; n < weights[i]; n++) {
                must_add(&by_one, &sample);
            }
            sample.has |= PART(WEIGHT);
            sample.weight = weights[i];
            must_add(&by_weight, &sample);
            assert_memory_equal(&by_weight.tally->sums, &by_one.tally->sums, sizeof(struct sums));
            must_be_same_extra(by_weight.tally->extra, by_one.tally->extra);
            int position = tally_position(latencies[k]);
            assert_int_equal(hist_total(&by_weight.tally->latency), weights[i]);
            assert_int_equal(position < 0 ? by_weight.tally->latency.zero
                                          : hist_count_at(&by_weight.tally->latency, position),
                             weights[i]);
            shelf_close(&by_one);
            shelf_close(&by_weight);
        }
    }
}

/* Nobody saw what those inferences used. */
static void test_tally_weight_is_not_that_of_gauges_and_evidence(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    struct sample sample = sample_of("m", 10);
    sample.has = PART(WEIGHT) | PART(CPU_DURING) | PART(MEMORY_AFTER) | PART(USER) | PART(SYSTEM);
    sample.weight = RECORD_WEIGHT_MAX;
    sample.cpu_percent_during = 80;
    sample.memory_mb_after = 1;
    sample.user_ms = 4;
    must_add(&shelf, &sample);
    const struct sums *sums = &shelf.tally->sums;
    assert_int_equal(sums->count, RECORD_WEIGHT_MAX);
    assert_int_equal(sums->cpu_percent.count, 1);
    assert_true(sums->cpu_percent.sum == 80 * (exact_u128)EXACT_STEPS_PER_PERCENT);
    assert_int_equal(sums->memory_mb.count, 1);
    assert_int_equal(shelf.tally->extra->evidence_count, 1);
    assert_true(shelf.tally->extra->state[STATE_USER] == exact_steps(4, EXACT_STEPS_PER_MS));
    shelf_close(&shelf);
}

static void test_tally_evidence_needs_user_and_system(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    struct sample sample = sample_of("m", 10);
    sample.user_ms = sample.system_ms = sample.runqueue_ms = 1;
    const uint32_t without[] = {0, PART(USER), PART(SYSTEM), PART(RUNQUEUE),
                                PART(USER) | PART(RUNQUEUE) | PART(MINOR_FAULTS)};
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        sample.has = without[i];
        must_add(&shelf, &sample);
        assert_true(shelf.tally->extra == NULL || shelf.tally->extra->evidence_count == 0);
    }
    sample.has = PART(USER) | PART(SYSTEM);
    must_add(&shelf, &sample);
    assert_int_equal(shelf.tally->extra->evidence_count, 1);
    shelf_close(&shelf);
}

/* States of a sample whose CPU time fits add up to its wall time, whatever it brings. */
static void test_tally_states_add_up(void **state)
{
    (void)state;
    struct random random = random_start("states");
    for (int i = 0; i < 2000; i++) {
        struct shelf shelf;
        shelf_open(&shelf);
        struct sample sample = sample_of("m", 100 * random_unit(&random));
        sample.has = PART(USER) | PART(SYSTEM) | PART(RUNQUEUE) | PART(MINOR_FAULTS);
        sample.user_ms = sample.execution_time_ms * random_unit(&random) / 2;
        sample.system_ms = sample.execution_time_ms * random_unit(&random) / 2;
        sample.runqueue_ms = sample.execution_time_ms * random_unit(&random) * 2;
        sample.minor_faults = (double)random_below(&random, 100000);
        must_add(&shelf, &sample);
        exact_u128 sum = 0;
        for (unsigned k = 0; k < STATE_COUNT; k++) {
            sum += shelf.tally->extra->state[k];
        }
        exact_u128 wall = shelf.tally->extra->evidence_wall;
        assert_true(sum <= wall + STATE_COUNT && wall <= sum + STATE_COUNT); /* roundings */
        shelf_close(&shelf);
    }
}

/* --- hints ------------------------------------------------------------------------------------- */

static void test_tally_hints_count_only_samples_that_have_them(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    struct sample sample = sample_of("m", 10);
    sample.flops = sample.bytes_moved = RECORD_COUNT_MAX; /* not said yet */
    must_add(&shelf, &sample);
    assert_null(shelf.tally->extra);
    sample.has = PART(FLOPS) | PART(WEIGHT);
    sample.weight = 1000; /* of the others nobody knows */
    must_add(&shelf, &sample);
    sample.flops = 0;
    must_add(&shelf, &sample);
    sample.has = PART(BYTES_MOVED);
    sample.bytes_moved = 4096.4;
    must_add(&shelf, &sample);
    const struct tally_extra *extra = shelf.tally->extra;
    assert_int_equal(extra->flops.count, 2);
    assert_true(extra->flops.sum == (exact_u128)RECORD_COUNT_MAX);
    assert_int_equal(extra->bytes_moved.count, 1);
    assert_true(extra->bytes_moved.sum == 4096);
    assert_int_equal(extra->evidence_count, 0);
    shelf_close(&shelf);
}

/* --- sharing, merging, memory ------------------------------------------------------------------ */

static struct sample random_sample(struct random *random)
{
    struct sample sample = sample_of("m", random_shape(random, SHAPE_PARETO));
    sample.has = (uint32_t)random_next(random) & ((1u << SAMPLE_PART_COUNT) - 1);
    sample.error = random_below(random, 10) == 0;
    sample.cpu_percent_during = 100 * random_unit(random);
    sample.memory_mb_after = 1000 * random_unit(random);
    sample.queue_ms = 10 * random_unit(random);
    sample.batch_size = (double)random_below(random, 2000);
    sample.user_ms = sample.execution_time_ms * random_unit(random);
    sample.system_ms = random_unit(random);
    sample.runqueue_ms = random_unit(random);
    sample.weight = 1 + random_below(random, 1000);
    sample.minor_faults = (double)random_below(random, 100);
    sample.major_faults = (double)random_below(random, 3);
    sample.flops = (double)random_below(random, 1000000000);
    sample.bytes_moved = (double)random_below(random, 1000000000);
    return sample;
}

struct seen {
    struct sums sums;
    struct tally_extra extra;
    uint64_t counts[HIST_BUCKETS];
};

static void look(const struct tally *tally, struct seen *seen)
{
    memset(seen, 0, sizeof *seen);
    tally_sum_into(tally, &seen->sums, &seen->extra);
    hist_sum_into(&tally->latency, seen->counts);
}

static struct seen seen_a;
static struct seen seen_b;

static void test_tally_parts_merge_to_the_whole(void **state)
{
    (void)state;
    struct random random = random_start("parts");
    struct shelf whole;
    struct shelf parts;
    shelf_open(&whole);
    limbo_init(&parts.limbo);
    struct tally *part[4];
    for (size_t i = 0; i < 4; i++) {
        part[i] = tally_new(&parts.limbo, i);
    }
    for (int i = 0; i < 5000; i++) {
        struct sample sample = random_sample(&random);
        must_add(&whole, &sample);
        size_t at = random_below(&random, 3); /* the last stays empty */
        assert_int_equal(tally_add(part[at], &sample, &parts.limbo), 0);
    }
    for (size_t i = 1; i < 4; i++) {
        assert_int_equal(tally_merge(part[3], part[3 - i], &parts.limbo), 0);
    }
    look(whole.tally, &seen_a);
    look(part[3], &seen_b);
    assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
    for (size_t i = 0; i < 4; i++) {
        tally_retire(part[i], &parts.limbo);
    }
    limbo_fini(&parts.limbo);
    look(whole.tally, &seen_b);
    assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
    shelf_close(&whole);
}

/* The short way to count a sample counts the same as the long one, or nothing. */
static void test_tally_short_way_is_the_long_way(void **state)
{
    (void)state;
    struct random random = random_start("short way");
    const double odd[] = {0,
                          0.49999999999999994e-9,
                          0.5e-9,
                          1e-6,
                          0.1,
                          1,
                          1000,
                          4503599.627370497, /* an odd number of steps above 2^52 */
                          6062473.262246793,
                          9.2e9, /* EXACT_FAST_MAX steps */
                          1e10,
                          RECORD_MS_MAX};
    struct shelf by_short;
    struct shelf by_long;
    shelf_open(&by_short);
    shelf_open(&by_long);
    unsigned short_ways = 0;
    for (size_t i = 0; i < 20000; i++) {
        struct sample sample = random_sample(&random);
        sample.has &= ~(TALLY_EXTRA_PARTS | PART(WEIGHT));
        if (i < 10 * sizeof odd / sizeof odd[0]) {
            sample.execution_time_ms = odd[i % (sizeof odd / sizeof odd[0])];
        }
        look(by_short.tally, &seen_a);
        sample.error = false;
        struct brief brief = record_brief(&sample);
        int position = tally_position(sample.execution_time_ms);
        if (tally_add_quickly(by_short.tally, &brief, position)) {
            short_ways++;
        } else {
            look(by_short.tally, &seen_b);
            assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
            must_add(&by_short, &sample);
        }
        must_add(&by_long, &sample);
        if (i % 64 == 0 || i < 200) {
            look(by_short.tally, &seen_a);
            look(by_long.tally, &seen_b);
            assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
        }
    }
    assert_true(short_ways > 15000); /* the usual one */
    shelf_close(&by_short);
    shelf_close(&by_long);
}

static void test_tally_unshared_copy_leaves_the_old_one_alone(void **state)
{
    (void)state;
    struct random random = random_start("unshare");
    struct shelf shelf;
    shelf_open(&shelf);
    for (int i = 0; i < 100; i++) {
        struct sample sample = random_sample(&random);
        must_add(&shelf, &sample);
    }
    uint64_t epoch;
    assert_int_equal(limbo_freeze(&shelf.limbo, &epoch), 0);
    const struct tally *old = shelf.tally;
    look(old, &seen_a);
    shelf.tally = tally_unshare(shelf.tally, &shelf.limbo);
    assert_non_null(shelf.tally);
    assert_ptr_not_equal(shelf.tally, old);
    assert_int_equal(shelf.tally->block.epoch, 2);
    for (int i = 0; i < 1000; i++) {
        struct sample sample = random_sample(&random);
        must_add(&shelf, &sample);
    }
    look(old, &seen_b);
    assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
    /* Nor does the end of the live one show. */
    tally_retire(shelf.tally, &shelf.limbo);
    shelf.tally = NULL;
    look(old, &seen_b);
    assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
    limbo_release(&shelf.limbo, epoch);
    assert_false(limbo_sweep(&shelf.limbo, SIZE_MAX));
    shelf_close(&shelf);
}

static void test_tally_retired_one_stays_readable(void **state)
{
    (void)state;
    struct random random = random_start("retire");
    struct shelf shelf;
    shelf_open(&shelf);
    for (int i = 0; i < 100; i++) {
        struct sample sample = random_sample(&random);
        must_add(&shelf, &sample);
    }
    uint64_t epoch;
    assert_int_equal(limbo_freeze(&shelf.limbo, &epoch), 0);
    const struct tally *old = shelf.tally;
    look(old, &seen_a);
    tally_retire(shelf.tally, &shelf.limbo);
    shelf.tally = NULL;
    look(old, &seen_b);
    assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
    limbo_release(&shelf.limbo, epoch);
    shelf_close(&shelf);
}

static struct sample full_sample(void)
{
    struct random random = {1};
    struct sample sample = random_sample(&random);
    sample.has = (1u << SAMPLE_PART_COUNT) - 1;
    sample.weight = 1;
    return sample;
}

static void test_tally_without_memory_counts_nothing(void **state)
{
    (void)state;
    struct sample sample = full_sample();
    for (size_t n = 1; n <= 2; n++) { /* extra, chunk */
        struct shelf shelf;
        shelf_open(&shelf);
        mem_fail_after(n);
        int err = tally_add(shelf.tally, &sample, &shelf.limbo);
        mem_fail_after(0);
        assert_int_equal(err, ERR_NOMEM);
        look(shelf.tally, &seen_a);
        memset(&seen_b, 0, sizeof seen_b);
        assert_memory_equal(&seen_a, &seen_b, sizeof seen_a);
        must_add(&shelf, &sample);
        assert_int_equal(shelf.tally->sums.count, 1);
        shelf_close(&shelf);
    }
    mem_fail_after(1);
    struct limbo limbo;
    limbo_init(&limbo);
    assert_null(tally_new(&limbo, 1));
    mem_fail_after(0);
}

static void test_tally_without_memory_stays_as_it_is(void **state)
{
    (void)state;
    struct sample sample = full_sample();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct shelf shelf;
        shelf_open(&shelf);
        must_add(&shelf, &sample);
        uint64_t epoch;
        assert_int_equal(limbo_freeze(&shelf.limbo, &epoch), 0);
        mem_fail_after(n);
        struct tally *copy = tally_unshare(shelf.tally, &shelf.limbo);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_true((copy == NULL) == failed);
        shelf.tally = failed ? shelf.tally : copy;
        assert_int_equal(shelf.tally->sums.count, 1);
        limbo_release(&shelf.limbo, epoch);
        shelf_close(&shelf);
    }
    failed = true;
    for (size_t n = 1; failed; n++) {
        struct shelf shelf;
        shelf_open(&shelf);
        must_add(&shelf, &sample);
        struct tally *into = tally_new(&shelf.limbo, 0);
        mem_fail_after(n);
        int err = tally_merge(into, shelf.tally, &shelf.limbo);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        assert_int_equal(into->sums.count, failed ? 0 : 1);
        assert_int_equal(hist_total(&into->latency), failed ? 0 : 1);
        tally_retire(into, &shelf.limbo);
        shelf_close(&shelf);
    }
}

static void test_tally_names_its_bytes(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_open(&shelf);
    size_t empty = tally_bytes(shelf.tally);
    assert_int_equal(empty, sizeof(struct tally));
    struct sample sample = full_sample();
    must_add(&shelf, &sample);
    assert_true(tally_bytes(shelf.tally) > empty + sizeof(struct tally_extra));
    shelf_close(&shelf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tally_bounds_are_inclusive),
        TEST(test_tally_bounds_are_those_of_a_search),
        TEST(test_tally_counts_latency_and_errors),
        TEST(test_tally_gauges_count_only_samples_that_have_them),
        TEST(test_tally_queue_and_batch_have_buckets),
        TEST(test_tally_time_by_state_is_clamped),
        TEST(test_tally_sample_of_weight_counts_as_so_many),
        TEST(test_tally_weight_is_not_that_of_gauges_and_evidence),
        TEST(test_tally_evidence_needs_user_and_system),
        TEST(test_tally_states_add_up),
        TEST(test_tally_hints_count_only_samples_that_have_them),
        TEST(test_tally_parts_merge_to_the_whole),
        TEST(test_tally_short_way_is_the_long_way),
        TEST(test_tally_unshared_copy_leaves_the_old_one_alone),
        TEST(test_tally_retired_one_stays_readable),
        TEST(test_tally_without_memory_counts_nothing),
        TEST(test_tally_without_memory_stays_as_it_is),
        TEST(test_tally_names_its_bytes),
    };
    return cmocka_run_group_tests_name("tally", tests, core_tables, NULL);
}
