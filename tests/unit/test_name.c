#include "core_helpers.h"

#include "base/name.h"

static void must_become(const char *text, const char *wanted)
{
    char out[64];
    size_t len = name_sanitise(str_of(text), out);
    assert_true(len <= strlen(text) + 1);
    assert_int_equal(len, strlen(wanted));
    assert_memory_equal(out, wanted, len);
}

static void test_name_takes_letters_digits_and_underscores(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool wanted =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        assert_int_equal(name_takes((char)c), wanted);
    }
}

static void test_name_sanitises_each_character_to_one_underscore(void **state)
{
    (void)state;
    must_become("", "");
    must_become("a", "a");
    must_become("http.method", "http_method");
    must_become("a-b c/d:e", "a_b_c_d_e");
    must_become("größe", "gr__e");
    must_become("模型", "__");
    must_become("a\xF0\x9F\x98\x80z", "a_z");
    must_become("\x01\x7f", "__");
}

static void test_name_begins_with_no_digit(void **state)
{
    (void)state;
    must_become("2xx", "_2xx");
    must_become("0", "_0");
    must_become("_2", "_2");
    must_become(".2", "_2");
}

static void test_name_that_is_one_stays(void **state)
{
    (void)state;
    must_become("abcXYZ_019", "abcXYZ_019");
    must_become("__name__", "__name__");
}

static void test_name_comes_from_text(void **state)
{
    (void)state;
    assert_true(name_is_text((struct str){NULL, 0}));
    assert_true(name_is_text(STR_LITERAL("")));
    assert_true(name_is_text(STR_LITERAL("模型\n")));
    assert_false(name_is_text((struct str){"\0", 1}));
    assert_false(name_is_text((struct str){"ab\0", 3}));
    assert_false(name_is_text(STR_LITERAL("\xff")));
    assert_false(name_is_text(STR_LITERAL("a\xc3")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_takes_letters_digits_and_underscores),
        cmocka_unit_test(test_name_sanitises_each_character_to_one_underscore),
        cmocka_unit_test(test_name_begins_with_no_digit),
        cmocka_unit_test(test_name_that_is_one_stays),
        cmocka_unit_test(test_name_comes_from_text),
    };
    return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
