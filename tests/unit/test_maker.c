#include "core_helpers.h"

#include "core/maker.h"
#include "mem_fault.h"

static void test_maker_lives_as_long_as_its_series(void **state)
{
    (void)state;
    struct maker *maker = maker_new();
    assert_non_null(maker);
    maker_add(maker);
    maker_add(maker);
    maker_add_model(maker);
    assert_int_equal(maker->series, 2);
    assert_int_equal(maker->models, 1);
    assert_false(maker_is_full(maker, 3));
    assert_true(maker_is_full(maker, 2));
    assert_false(maker_is_full_of_models(maker, 2));
    assert_true(maker_is_full_of_models(maker, 1));
    assert_false(maker_is_full(maker, 0));
    assert_false(maker_is_full_of_models(maker, 0));
    maker_end(maker);
    maker_remove(maker);
    assert_int_equal(maker->series, 1);
    maker_remove(maker);
}

static void test_maker_without_series_ends_at_once(void **state)
{
    (void)state;
    struct maker *maker = maker_new();
    assert_non_null(maker);
    maker_add(maker);
    maker_remove(maker); /* it may make others */
    assert_int_equal(maker->series, 0);
    maker_end(maker);
}

static void test_maker_may_be_nobody(void **state)
{
    (void)state;
    maker_add(NULL);
    maker_remove(NULL);
    maker_add_model(NULL);
    maker_end(NULL);
    assert_false(maker_is_full(NULL, 1));
    assert_false(maker_is_full_of_models(NULL, 1));
    mem_fail_after(1);
    assert_null(maker_new());
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_maker_lives_as_long_as_its_series),
        TEST(test_maker_without_series_ends_at_once),
        TEST(test_maker_may_be_nobody),
    };
    return cmocka_run_group_tests_name("maker", tests, NULL, NULL);
}
