#include "core_helpers.h"

#include <stdio.h>

#include "base/err.h"
#include "core/names.h"
#include "mem_fault.h"

static void must_add(struct names *names, const char *name, uint32_t number)
{
    assert_int_equal(names_add(names, str_of(name), number), 0);
}

static void must_find_name(const struct names *names, const char *name, uint32_t number)
{
    assert_int_equal(names_find(names, str_of(name)), number);
}

static void must_start(struct names *names, uint32_t max)
{
    assert_int_equal(names_init(names, max, 7), 0);
}

static void test_names_finds_what_was_added(void **state)
{
    (void)state;
    struct names names;
    must_start(&names, 4);
    must_find_name(&names, "a", NAMES_NONE);
    must_find_name(&names, "", NAMES_NONE);
    must_add(&names, "a", 3);
    must_add(&names, "ab", 0);
    must_add(&names, "", 9);
    must_find_name(&names, "a", 3);
    must_find_name(&names, "ab", 0);
    must_find_name(&names, "", 9);
    must_find_name(&names, "b", NAMES_NONE);
    names_fini(&names);
}

static void test_names_keeps_a_text_of_its_own(void **state)
{
    (void)state;
    struct names names;
    char text[] = "abc";
    must_start(&names, 1);
    must_add(&names, text, 1);
    text[0] = 'x';
    must_find_name(&names, "abc", 1);
    must_find_name(&names, text, NAMES_NONE);
    names_fini(&names);
}

static void test_names_are_all_their_bytes(void **state)
{
    (void)state;
    struct names names;
    must_start(&names, 2);
    assert_int_equal(names_add(&names, (struct str){"a\0b", 3}, 1), 0);
    must_find_name(&names, "a", NAMES_NONE);
    assert_int_equal(names_find(&names, (struct str){"a\0c", 3}), NAMES_NONE);
    assert_int_equal(names_find(&names, (struct str){"a\0b", 3}), 1);
    names_fini(&names);
}

/* To the ceiling and one over, at sizes around powers of two; nothing is lost on the way. */
static void must_take_to_the_ceiling(uint32_t max)
{
    struct names names;
    char name[16];
    must_start(&names, max);
    for (uint32_t i = 0; i < max; i++) {
        (void)snprintf(name, sizeof name, "name %u", i);
        must_add(&names, name, i);
    }
    assert_int_equal(names_add(&names, STR_LITERAL("one more"), 0), ERR_LIMIT);
    must_find_name(&names, "one more", NAMES_NONE);
    for (uint32_t i = 0; i < max; i++) {
        (void)snprintf(name, sizeof name, "name %u", i);
        must_find_name(&names, name, i);
    }
    names_fini(&names);
}

static void test_names_has_a_ceiling(void **state)
{
    (void)state;
    static const uint32_t ceilings[] = {0, 1, 15, 16, 17, 31, 32, 33, 4096, 4097};
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        must_take_to_the_ceiling(ceilings[i]);
    }
}

static void test_names_takes_back_the_last(void **state)
{
    (void)state;
    struct names names;
    char name[16];
    must_start(&names, 100);
    for (uint32_t i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof name, "name %u", i);
        must_add(&names, name, i);
    }
    for (uint32_t i = 100; i-- > 50;) {
        (void)snprintf(name, sizeof name, "name %u", i);
        names_take_back(&names, str_of(name));
        must_find_name(&names, name, NAMES_NONE);
    }
    for (uint32_t i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof name, "name %u", i);
        must_find_name(&names, name, i);
    }
    assert_int_equal(names.count, 50);
    must_add(&names, "name 99", 1);
    must_find_name(&names, "name 99", 1);
    names_fini(&names);
}

static void test_names_without_memory(void **state)
{
    (void)state;
    struct names names;
    mem_fail_after(1);
    assert_int_equal(names_init(&names, 4, 7), ERR_NOMEM);
    mem_fail_after(0);
    names_fini(&names); /* as its owner does, who does not look which one failed */
    must_start(&names, 1);
    mem_fail_after(1);
    assert_int_equal(names_add(&names, STR_LITERAL("a"), 1), ERR_NOMEM);
    mem_fail_after(0);
    must_find_name(&names, "a", NAMES_NONE);
    must_add(&names, "a", 1);
    names_fini(&names);
    names_fini(&names);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names_finds_what_was_added), TEST(test_names_keeps_a_text_of_its_own),
        TEST(test_names_are_all_their_bytes),  TEST(test_names_has_a_ceiling),
        TEST(test_names_takes_back_the_last),  TEST(test_names_without_memory),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
