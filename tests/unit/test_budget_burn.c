#include "core_helpers.h"

#include <math.h>

#include "base/err.h"
#include "core/budget_burn.h"
#include "mem_fault.h"

#define BURN "acgs2_budget_burn_rate"

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    struct str family;
    core_open(&core, &options);
    assert_int_equal(budgets_declare(core.budgets, &family), 0);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    return 0;
}

/* So many records of layer1_validation, whose budget is 5 ms, and of these so many over it. */
static void must_spend(unsigned count, unsigned over)
{
    struct budget_verdict verdict;
    for (unsigned i = 0; i < count; i++) {
        struct budget budget = {.layer = STR_LITERAL("layer1_validation"),
                                .elapsed_ms = i < over ? 5.5 : 5};
        assert_int_equal(budgets_record(core.budgets, &budget, &verdict), 0);
    }
}

static void must_be(double rate, double wanted)
{
    assert_true(isnan(wanted) ? isnan(rate) : rate == wanted);
}

/* What is computed, and what /metrics has of it. */
static void must_burn(double wanted_long, double wanted_short)
{
    struct budget_burn burn;
    struct snapshot *snapshot = must_take(&core);
    budget_burn_compute(snapshot->budgets.layers[1], snapshot->slot, CORE_OBJECTIVE, &burn);
    core_drop(&core, snapshot);
    must_be(burn.rate[BURN_LONG], wanted_long);
    must_be(burn.rate[BURN_SHORT], wanted_short);
    must_be(core_series(&core, BURN, "layer=layer1_validation,window=long").number, wanted_long);
    must_be(core_series(&core, BURN, "layer=layer1_validation,window=short").number, wanted_short);
}

static void test_budget_burn_is_the_share_over_the_share_that_may_be(void **state)
{
    (void)state;
    must_burn((double)NAN, (double)NAN);
    must_spend(1, 0);
    must_burn(0, 0);
    must_spend(3, 1);
    must_burn(1, 1); /* a quarter of them, as the objective has it */
    must_spend(4, 3);
    must_burn(2, 2);
    must_spend(8, 8);
    must_burn(3, 3);
}

static void test_budget_burn_of_the_short_stretch_leaves_it_first(void **state)
{
    (void)state;
    must_spend(4, 4);
    core_move(&core, CORE_SLOT_S);
    must_spend(4, 0);
    must_burn(2, 2);
    core_move(&core, CORE_SLOT_S);
    must_burn(2, 0);
    core_move(&core, CORE_SLOT_S);
    must_burn(2, (double)NAN);
    core_move(&core, (WINDOW_SLOTS - 3) * CORE_SLOT_S);
    must_burn(0, (double)NAN);
    core_move(&core, CORE_SLOT_S);
    must_burn((double)NAN, (double)NAN);
    must_spend(4, 2);
    must_burn(2, 2);
}

static void test_budget_burn_objectives(void **state)
{
    (void)state;
    static const struct {
        double objective, rate;
    } facts[] = {{0, 0.5}, {0.5, 1}, {0.75, 2}, {0.875, 4}, {0.99, 50}, {0.999999, 500000}};
    must_spend(4, 2);
    struct snapshot *snapshot = must_take(&core);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct budget_burn burn;
        budget_burn_compute(snapshot->budgets.layers[1], snapshot->slot, facts[i].objective, &burn);
        must_be(burn.rate[BURN_LONG], facts[i].rate);
    }
    core_drop(&core, snapshot);
}

static void test_budget_burn_without_a_budget_is_unknown(void **state)
{
    (void)state;
    struct budget budget = {.layer = STR_LITERAL("cache"), .elapsed_ms = 1e9};
    struct budget_verdict verdict;
    struct budget_burn burn;
    assert_int_equal(budgets_record(core.budgets, &budget, &verdict), 0);
    struct snapshot *snapshot = must_take(&core);
    budget_burn_compute(snapshot->budgets.layers[5], snapshot->slot, CORE_OBJECTIVE, &burn);
    core_drop(&core, snapshot);
    must_be(burn.rate[BURN_LONG], (double)NAN);
    must_be(burn.rate[BURN_SHORT], (double)NAN);
    assert_false(core_has_series(&core, BURN, "layer=cache,window=long"));
}

static void test_budget_burn_shows_from_the_start(void **state)
{
    (void)state;
    assert_true(core_series(&core, "acgs2_budget_objective_ratio", "").number == CORE_OBJECTIVE);
    must_be(core_series(&core, BURN, "layer=total,window=long").number, (double)NAN);
    must_be(core_series(&core, BURN, "layer=total,window=short").number, (double)NAN);
}

/* A gauge that stays as it is costs no copy of its page, though a snapshot is read. */
static void test_budget_burn_that_stays_is_not_written(void **state)
{
    (void)state;
    must_spend(4, 2);
    struct snapshot *first = must_take(&core);
    struct snapshot *second = must_take(&core);
    size_t before = mem_count_allocations();
    assert_int_equal(budgets_age(core.budgets), 0);
    assert_int_equal(mem_count_allocations(), before);
    must_spend(4, 0);
    before = mem_count_allocations();
    assert_int_equal(budgets_age(core.budgets), 0);
    assert_true(mem_count_allocations() > before);
    core_drop(&core, second);
    core_drop(&core, first);
}

static void test_budget_burn_without_memory_is_told_later(void **state)
{
    (void)state;
    struct snapshot *held = must_take(&core);
    must_spend(4, 1);
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        mem_fail_after(n);
        int err = budgets_age(core.budgets);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_true(err == 0 || (err == ERR_NOMEM && failed)); /* some of it is tried twice */
    }
    core_drop(&core, held);
    must_burn(1, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_budget_burn_is_the_share_over_the_share_that_may_be),
        TEST(test_budget_burn_of_the_short_stretch_leaves_it_first),
        TEST(test_budget_burn_objectives),
        TEST(test_budget_burn_without_a_budget_is_unknown),
        TEST(test_budget_burn_shows_from_the_start),
        TEST(test_budget_burn_that_stays_is_not_written),
        TEST(test_budget_burn_without_memory_is_told_later),
    };
    return cmocka_run_group_tests_name("budget_burn", tests, core_tables, NULL);
}
