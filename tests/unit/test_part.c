#include "core_helpers.h"

#include <math.h>

#include "base/err.h"
#include "core/part.h"
#include "mem_fault.h"

enum { PROCESSES = 4 };

static struct part_pool parts;
static struct process processes[PROCESSES];
static struct part *first;  /* of the series in most tests */
static struct part *second; /* of another */

static int open_parts(void **state)
{
    (void)note_memory(state);
    parts = (struct part_pool){0};
    memset(processes, 0, sizeof processes);
    return 0;
}

static int close_parts(void **state)
{
    part_drop_all(&parts, &first);
    part_drop_all(&parts, &second);
    assert_int_equal(parts.count, 0);
    for (unsigned i = 0; i < PROCESSES; i++) {
        assert_null(processes[i].parts);
    }
    return must_be_clean(state);
}

static struct part_owner owner_of(struct part **series, int process)
{
    return (struct part_owner){series, 1, series == &first ? 2 : 3,
                               process < 0 ? NULL : &processes[process]};
}

static struct part *must_take_part(struct part **series, int process)
{
    struct part_owner owner = owner_of(series, process);
    struct part *part;
    assert_int_equal(part_take(&parts, &owner, &part), 0);
    return part;
}

static double total; /* of the first series */

static void apply(enum aggregation aggregation, enum metric_op op, int process, double value,
                  double wanted)
{
    struct part_owner owner = owner_of(&first, process);
    assert_int_equal(part_apply(&parts, &owner, aggregation, op, value, total, &total), 0);
    if (!(total == wanted || (isnan(total) && isnan(wanted)))) {
        fail_msg("%g, not %g", total, wanted);
    }
}

static void drop_of(int process)
{
    part_drop(&parts, processes[process].parts);
}

static unsigned length(const struct part *part)
{
    unsigned len = 0;
    for (; part != NULL; part = part->next) {
        len++;
    }
    return len;
}

static void test_part_is_one_a_series_and_process(void **state)
{
    (void)state;
    struct part *one = must_take_part(&first, 0);
    assert_true(one->value == 0);
    assert_ptr_not_equal(must_take_part(&first, 1), one);
    assert_ptr_not_equal(must_take_part(&second, 0), one);
    assert_ptr_not_equal(must_take_part(&first, -1), one);
    assert_ptr_equal(must_take_part(&first, 0), one);
    assert_int_equal(one->family, 1);
    assert_int_equal(one->place, 2);
    assert_int_equal(parts.count, 4);
    assert_int_equal(length(first), 3);
}

/* Both lists are whole after any part was taken out of the middle, front or end. */
static void test_part_lists_survive_any_order(void **state)
{
    (void)state;
    struct random random = random_start("order");
    for (int round = 0; round < 300; round++) {
        struct part **series[] = {&first, &second};
        for (int i = 0; i < 30; i++) {
            struct part **at = series[random_below(&random, 2)];
            int process = (int)random_below(&random, PROCESSES + 1) - 1;
            struct part *part = must_take_part(at, process);
            assert_ptr_equal(*at, part); /* who was asked for is in front */
            if (random_below(&random, 3) == 0) {
                part_drop(&parts, part);
            } else if (process >= 0 && random_below(&random, 9) == 0) {
                part_give(part, &processes[process]);
            }
        }
        unsigned owned = 0;
        for (int i = 0; i < PROCESSES; i++) {
            for (struct part *at = processes[i].parts; at != NULL; at = at->next_own) {
                assert_ptr_equal(*at->link_own, at);
                assert_ptr_equal(at->process, &processes[i]);
                owned++;
            }
        }
        unsigned nobodys = 0;
        for (int i = 0; i < 2; i++) {
            for (struct part *at = *series[i]; at != NULL; at = at->next) {
                assert_ptr_equal(*at->link, at);
                nobodys += at->process == NULL;
            }
        }
        assert_int_equal(owned + nobodys, parts.count);
        assert_int_equal(length(first) + length(second), parts.count);
    }
}

static void test_part_sum_is_of_all_parts(void **state)
{
    (void)state;
    total = 0;
    apply(AGGREGATION_SUM, METRIC_SET, 0, 5, 5);
    apply(AGGREGATION_SUM, METRIC_SET, 1, 7, 12);
    apply(AGGREGATION_SUM, METRIC_ADD, 0, -2, 10);
    apply(AGGREGATION_SUM, METRIC_SET, -1, 1, 11);
    apply(AGGREGATION_SUM, METRIC_SET, 0, 0, 8);
    apply(AGGREGATION_SUM, METRIC_SET, 0, INFINITY, INFINITY);
    apply(AGGREGATION_SUM, METRIC_SET, 1, -INFINITY, NAN);
    apply(AGGREGATION_SUM, METRIC_SET, 0, 2, -INFINITY);
    apply(AGGREGATION_SUM, METRIC_SET, 1, 3, 6);
    drop_of(0);
    assert_true(part_fold(first, AGGREGATION_SUM) == 4);
}

static void test_part_extremes_are_of_all_parts(void **state)
{
    (void)state;
    total = 0;
    apply(AGGREGATION_MAX, METRIC_SET, 0, -5, -5); /* no 0 that nobody said */
    apply(AGGREGATION_MAX, METRIC_SET, 1, -7, -5);
    apply(AGGREGATION_MAX, METRIC_ADD, 1, 3, -4);
    apply(AGGREGATION_MIN, METRIC_SET, 2, 9, -5);
    apply(AGGREGATION_MIN, METRIC_SET, 0, 4, -4);
    apply(AGGREGATION_MAX, METRIC_SET, 2, NAN, 4); /* neither larger nor smaller */
    apply(AGGREGATION_MAX, METRIC_SET, 0, NAN, -4);
    apply(AGGREGATION_MIN, METRIC_SET, 1, NAN, NAN);
    apply(AGGREGATION_MIN, METRIC_SET, 1, INFINITY, INFINITY);
}

static void test_part_last_is_nobodys(void **state)
{
    (void)state;
    total = 0;
    apply(AGGREGATION_LAST, METRIC_SET, 0, 5, 5);
    apply(AGGREGATION_LAST, METRIC_SET, 1, 7, 7);
    apply(AGGREGATION_LAST, METRIC_ADD, 0, 1, 8);
    assert_int_equal(parts.count, 0);
}

/* Setting sets the whole, adding adds a part. */
static void test_part_unsaid_mixes_set_and_add(void **state)
{
    (void)state;
    total = 0;
    apply(AGGREGATION_UNSAID, METRIC_ADD, -1, 2, 2);
    assert_int_equal(parts.count, 0);
    apply(AGGREGATION_UNSAID, METRIC_ADD, 0, 3, 5);
    apply(AGGREGATION_UNSAID, METRIC_ADD, 1, 4, 9);
    apply(AGGREGATION_UNSAID, METRIC_ADD, -1, 1, 10);
    drop_of(0);
    total = part_fold(first, AGGREGATION_UNSAID);
    assert_true(total == 7);
    apply(AGGREGATION_UNSAID, METRIC_SET, 1, 100, 100);
    assert_int_equal(parts.count, 0); /* who ends now takes nothing away */
    apply(AGGREGATION_UNSAID, METRIC_ADD, 1, 1, 101);
    drop_of(1);
    assert_true(part_fold(first, AGGREGATION_UNSAID) == 100);
}

static void test_part_fold_of_none_is_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < AGGREGATION_COUNT; i++) {
        assert_true(part_fold(NULL, (enum aggregation)i) == 0);
    }
}

static void test_part_has_a_ceiling(void **state)
{
    (void)state;
    struct part *known = must_take_part(&first, 0);
    struct part_owner other = owner_of(&first, 1);
    struct part *part = NULL;
    parts.count = PARTS_MAX - 1;
    known = must_take_part(&second, 0);
    assert_int_equal(parts.count, PARTS_MAX);
    assert_int_equal(part_take(&parts, &other, &part), ERR_LIMIT);
    assert_null(part);
    assert_ptr_equal(must_take_part(&second, 0), known);
    parts.count = 2;
}

static void test_part_without_memory_changes_nothing(void **state)
{
    (void)state;
    static const enum aggregation all[] = {AGGREGATION_UNSAID, AGGREGATION_SUM, AGGREGATION_MAX,
                                           AGGREGATION_MIN, AGGREGATION_PER_PID};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct part_owner owner = owner_of(&first, 0);
        bool failed = true;
        total = all[i] == AGGREGATION_UNSAID ? 9 : 0;
        for (size_t n = 1; failed; n++) {
            double before = total;
            mem_fail_after(n);
            int err = part_apply(&parts, &owner, all[i], METRIC_ADD, 4, total, &total);
            failed = mem_has_failed();
            mem_fail_after(0);
            assert_int_equal(err, failed ? ERR_NOMEM : 0);
            assert_true(total == before + (failed ? 0 : 4));
        }
        part_drop_all(&parts, &first);
    }
}

static void test_part_follows_a_list_that_moves(void **state)
{
    (void)state;
    (void)must_take_part(&second, 0);
    (void)must_take_part(&second, 1);
    first = second;
    second = NULL;
    part_follow(&first);
    drop_of(1);
    drop_of(0);
    assert_null(first);
    part_follow(&first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_parts, close_parts)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_part_is_one_a_series_and_process),
        TEST(test_part_lists_survive_any_order),
        TEST(test_part_sum_is_of_all_parts),
        TEST(test_part_extremes_are_of_all_parts),
        TEST(test_part_last_is_nobodys),
        TEST(test_part_unsaid_mixes_set_and_add),
        TEST(test_part_fold_of_none_is_nothing),
        TEST(test_part_has_a_ceiling),
        TEST(test_part_without_memory_changes_nothing),
        TEST(test_part_follows_a_list_that_moves),
    };
    return cmocka_run_group_tests_name("part", tests, NULL, NULL);
}
