#include <stdlib.h>

#include "base/err.h"
#include "core/distinct.h"
#include "core_helpers.h"
#include "mem_fault.h"

enum { NOW = 100, LEAF_FULL = DISTINCT_LEAF_MAX / 4 * 3 };

static struct distinct_pool pool;

/* Hashes as different as those of texts. */
static uint64_t hash_of(uint64_t value)
{
    struct random random = {value};
    return random_next(&random);
}

static void must_see(struct distinct *distinct, uint64_t hash, uint64_t slot)
{
    assert_int_equal(distinct_add(distinct, &pool, hash, slot), 0);
}

static void must_see_many(struct distinct *distinct, uint64_t first, uint64_t count, uint64_t slot)
{
    for (uint64_t i = 0; i < count; i++) {
        must_see(distinct, hash_of(first + i), slot);
    }
}

static void must_end(struct distinct *distinct)
{
    distinct_fini(distinct, &pool);
    assert_int_equal(distinct_count(distinct), 0);
    assert_int_equal(pool.kept, 0);
}

static int start(void **state)
{
    pool = (struct distinct_pool){.max = 1000000};
    return note_memory(state);
}

static void test_distinct_counts_each_value_once(void **state)
{
    (void)state;
    struct distinct distinct = {0};
    assert_int_equal(distinct_count(&distinct), 0);
    assert_true(distinct_is_clean(&distinct));
    must_see(&distinct, 0, NOW); /* no hash is special */
    must_see(&distinct, UINT64_MAX, NOW);
    must_see(&distinct, 0, NOW);
    must_see(&distinct, 8, NOW); /* the same home as 0 */
    assert_int_equal(distinct_count(&distinct), 3);
    assert_int_equal(pool.kept, 3);
    must_end(&distinct);
}

static void test_distinct_values_leave_with_the_window(void **state)
{
    (void)state;
    struct distinct distinct = {0};
    must_see(&distinct, 1, NOW);
    must_see(&distinct, 2, NOW);
    must_see(&distinct, 2, NOW + 2);
    for (uint64_t slot = NOW; slot < NOW + WINDOW_SLOTS; slot++) {
        distinct_move(&distinct, slot > NOW + 2 ? slot : NOW + 2);
        assert_int_equal(distinct_count(&distinct), 2);
    }
    distinct_move(&distinct, NOW + WINDOW_SLOTS);
    assert_int_equal(distinct_count(&distinct), 1);
    assert_false(distinct_is_clean(&distinct));
    distinct_move(&distinct, NOW + WINDOW_SLOTS + 1);
    assert_int_equal(distinct_count(&distinct), 1);
    distinct_move(&distinct, NOW + WINDOW_SLOTS + 2);
    assert_int_equal(distinct_count(&distinct), 0);
    (void)distinct_sweep(&distinct, &pool);
    assert_null(distinct.root);
    assert_int_equal(pool.kept, 0);
}

/* A mark is a slot modulo 8: one that comes round again is another. */
static void test_distinct_values_of_long_ago_are_new(void **state)
{
    (void)state;
    for (uint64_t later = 1; later < 40; later++) {
        struct distinct distinct = {0};
        must_see(&distinct, 1, NOW);
        must_see(&distinct, 1, NOW + later);
        assert_int_equal(distinct_count(&distinct), 1);
        must_see(&distinct, 2, NOW + later);
        must_see(&distinct, 1, NOW + later);
        assert_int_equal(distinct_count(&distinct), 2);
        must_end(&distinct);
    }
    struct distinct distinct = {0};
    must_see(&distinct, 1, NOW);
    for (uint64_t later = 1; later < 40;
         later++) { /* the leaf is touched again and again, 1 is not */
        must_see(&distinct, 2, NOW + later);
        assert_int_equal(distinct_count(&distinct), later < WINDOW_SLOTS ? 2 : 1);
    }
    must_end(&distinct);
}

static void test_distinct_ceiling_is_exact(void **state)
{
    (void)state;
    struct distinct one = {0};
    struct distinct other = {0};
    pool.max = 1000;
    must_see_many(&one, 0, 999, NOW);
    must_see(&other, hash_of(0), NOW); /* the same value elsewhere is another one */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(distinct_add(&one, &pool, hash_of(999), NOW), ERR_LIMIT);
        assert_int_equal(distinct_add(&other, &pool, hash_of(999), NOW), ERR_LIMIT);
    }
    must_see_many(&one, 0, 999, NOW + 1); /* those that are known go on */
    assert_int_equal(distinct_count(&one), 999);
    assert_int_equal(distinct_count(&other), 1);
    distinct_move(&other, NOW + WINDOW_SLOTS);
    (void)distinct_sweep(&other, &pool);
    must_see(&one, hash_of(999), NOW + 1); /* a value that left makes room */
    assert_int_equal(distinct_add(&one, &pool, hash_of(1000), NOW + 1), ERR_LIMIT);
    must_end(&one);
    pool.max = 0;
    assert_int_equal(distinct_add(&one, &pool, 1, NOW), ERR_LIMIT);
    assert_null(one.root);
}

/* Hashes that are the same but for a few bits, wherever these are. */
static void test_distinct_copes_with_hashes_alike(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift <= 52; shift += 4) {
        struct distinct distinct = {0};
        for (uint64_t i = 0; i < 4096; i++) {
            must_see(&distinct, i << shift, NOW);
            must_see(&distinct, (i / 2) << shift, NOW);
            assert_int_equal(distinct_count(&distinct), i + 1);
        }
        must_end(&distinct);
    }
}

static uint32_t sweep_round(struct distinct *distinct)
{
    uint32_t calls = 0;
    do {
        uint32_t cells = distinct_sweep(distinct, &pool);
        assert_in_range(cells, 1, DISTINCT_LEAF_MAX);
        calls++;
    } while (distinct->next != 0);
    return calls;
}

static void test_distinct_sweeping_gives_everything_back(void **state)
{
    (void)state;
    struct distinct distinct = {0};
    must_see_many(&distinct, 0, 100000, NOW);
    size_t full = distinct_bytes(&distinct);
    assert_in_range(full / 100000, 12, 26);
    must_see_many(&distinct, 0, 3, NOW + 1);
    distinct_move(&distinct, NOW + WINDOW_SLOTS);
    assert_int_equal(distinct_count(&distinct), 3);
    assert_int_equal(pool.kept, 100000);
    assert_in_range(sweep_round(&distinct), 100000 / LEAF_FULL, 4096);
    assert_true(distinct_is_clean(&distinct));
    assert_int_equal(pool.kept, 3);
    assert_int_equal(distinct_count(&distinct), 3);
    assert_in_range(distinct_bytes(&distinct), 1, 128); /* one leaf again, the smallest */
    must_see_many(&distinct, 0, 3, NOW + WINDOW_SLOTS);
    assert_int_equal(distinct_count(&distinct), 3);
    must_end(&distinct);
}

static void test_distinct_sweeping_changes_nothing_that_counts(void **state)
{
    (void)state;
    struct distinct distinct = {0};
    (void)distinct_sweep(&distinct, &pool); /* of nothing */
    must_see_many(&distinct, 0, 5000, NOW);
    size_t bytes = distinct_bytes(&distinct);
    (void)sweep_round(&distinct);
    assert_int_equal(distinct_bytes(&distinct), bytes);
    assert_int_equal(distinct_count(&distinct), 5000);
    must_see_many(&distinct, 0, 5000, NOW);
    assert_int_equal(distinct_count(&distinct), 5000);
    must_end(&distinct);
}

/* --- against a list ---------------------------------------------------------------------------- */

enum { VALUES = 2000 };

static uint64_t last_seen[VALUES]; /* 0: never */

static uint32_t count_in_list(uint64_t present)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < VALUES; i++) {
        count += window_holds(last_seen[i], present);
    }
    return count;
}

static void see_some(struct random *random, struct distinct *distinct, uint64_t slot)
{
    uint64_t range = 1 + random_below(random, VALUES);
    for (uint64_t times = random_below(random, VALUES); times > 0; times--) {
        uint64_t value = random_below(random, range);
        uint64_t hash = value % 2 == 0 ? hash_of(value) : value << 8; /* some crowd together */
        int err = distinct_add(distinct, &pool, hash, slot);
        if (err == 0) {
            last_seen[value] = slot;
        } else {
            assert_int_equal(err, ERR_NOMEM);
            assert_true(mem_has_failed());
        }
    }
}

/* Allocations fail now and then: what is not counted then must not be half counted. */
static void test_distinct_is_as_a_list_of_values(void **state)
{
    (void)state;
    struct random random = random_start("distinct");
    struct distinct distinct = {0};
    uint64_t slot = NOW;
    memset(last_seen, 0, sizeof last_seen);
    for (int round = 0; round < 600; round++) {
        mem_fail_after(random_below(&random, 3) == 0 ? 1 + random_below(&random, 20) : 0);
        slot +=
            random_below(&random, 10) == 0 ? random_below(&random, 12) : random_below(&random, 2);
        distinct_move(&distinct, slot);
        assert_int_equal(distinct_count(&distinct), count_in_list(slot));
        if (random_below(&random, 4) != 0) {
            see_some(&random, &distinct, slot);
        }
        for (uint64_t sweeps = random_below(&random, 50); sweeps > 0; sweeps--) {
            (void)distinct_sweep(&distinct, &pool);
        }
        assert_int_equal(distinct_count(&distinct), count_in_list(slot));
        assert_true(pool.kept >= distinct_count(&distinct));
        mem_fail_after(0);
        if (random_below(&random, 8) == 0) {
            (void)sweep_round(&distinct); /* the rest of one */
            (void)sweep_round(&distinct);
            assert_true(distinct_is_clean(&distinct));
        }
    }
    must_end(&distinct);
}

/* --- memory ------------------------------------------------------------------------------------ */

/* The n-th allocation of all that a value needs fails, from the first leaf to the first fork. */
static void test_distinct_survives_no_memory(void **state)
{
    (void)state;
    struct distinct distinct = {0};
    unsigned failures = 0;
    for (uint64_t i = 0; i <= LEAF_FULL; i++) {
        for (size_t n = 1;; n++) {
            size_t live = mem_count_live();
            mem_fail_after(n);
            int err = distinct_add(&distinct, &pool, hash_of(i), NOW);
            bool failed = mem_has_failed();
            mem_fail_after(0);
            if (!failed) {
                assert_int_equal(err, 0);
                break;
            }
            failures++;
            assert_int_equal(err, ERR_NOMEM);
            assert_int_equal(mem_count_live(), live);
            assert_int_equal(distinct_count(&distinct), i);
            assert_int_equal(pool.kept, i);
        }
        assert_int_equal(distinct_count(&distinct), i + 1);
    }
    assert_true(failures > 7 + 16); /* 8 … 512 cells, a fork and its leaves */
    must_end(&distinct);
}

static void test_distinct_sweeps_without_memory(void **state)
{
    (void)state;
    struct distinct distinct = {0};
    must_see_many(&distinct, 0, 3000, NOW);
    must_see_many(&distinct, 0, 20, NOW + 1);
    distinct_move(&distinct, NOW + WINDOW_SLOTS);
    do {
        mem_fail_after(1);
        (void)distinct_sweep(&distinct, &pool);
    } while (distinct.next != 0);
    mem_fail_after(0);
    assert_int_equal(pool.kept, 20); /* dropped; only their room stays */
    assert_int_equal(distinct_count(&distinct), 20);
    must_see_many(&distinct, 0, 20, NOW + WINDOW_SLOTS);
    assert_int_equal(distinct_count(&distinct), 20);
    must_end(&distinct);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, start, must_be_clean)
    const struct CMUnitTest tests[] = {
        TEST(test_distinct_counts_each_value_once),
        TEST(test_distinct_values_leave_with_the_window),
        TEST(test_distinct_values_of_long_ago_are_new),
        TEST(test_distinct_ceiling_is_exact),
        TEST(test_distinct_copes_with_hashes_alike),
        TEST(test_distinct_sweeping_gives_everything_back),
        TEST(test_distinct_sweeping_changes_nothing_that_counts),
        TEST(test_distinct_is_as_a_list_of_values),
        TEST(test_distinct_survives_no_memory),
        TEST(test_distinct_sweeps_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
