/* The table of errors: complete, with words that are safe as labels. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"

static void test_err_codes_are_negative_and_have_rows(void **state)
{
    (void)state;
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        assert_int_equal(err_row(-1 - row), row);
    }
    assert_int_equal(ERR_SYNTAX, -1);
    assert_int_equal(err_row(ERR_SYSTEM), ERR_ROW_COUNT - 1);
}

static void test_err_labels_are_words_of_their_own(void **state)
{
    (void)state;
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        const char *label = err_label(-1 - row);
        assert_int_equal(strspn(label, "abcdefghijklmnopqrstuvwxyz_"), strlen(label));
        assert_true(strlen(label) > 0);
        for (int other = 0; other < row; other++) {
            assert_string_not_equal(label, err_label(-1 - other));
        }
    }
}

static void test_err_sentences_have_no_capital_and_no_full_stop(void **state)
{
    (void)state;
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        const char *sentence = err_sentence(-1 - row);
        assert_true(strlen(sentence) > 10);
        assert_in_range(sentence[0], 'a', 'z');
        assert_int_not_equal(sentence[strlen(sentence) - 1], '.');
    }
}

static void test_err_words_that_clients_rely_on(void **state)
{
    (void)state;
    assert_string_equal(err_label(ERR_MISSING_KEY), "missing_key");
    assert_string_equal(err_label(ERR_NO_HELLO), "no_hello");
    assert_string_equal(err_label(ERR_HASH), "hash_mismatch");
    assert_string_equal(err_label(ERR_RANGE), "out_of_range");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_codes_are_negative_and_have_rows),
        cmocka_unit_test(test_err_labels_are_words_of_their_own),
        cmocka_unit_test(test_err_sentences_have_no_capital_and_no_full_stop),
        cmocka_unit_test(test_err_words_that_clients_rely_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
