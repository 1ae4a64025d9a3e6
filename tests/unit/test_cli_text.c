#include "cli_golden.h"

#include "cli/text.h"

static void must_be(struct buf *got, const char *wanted)
{
    buf_char(got, '\0');
    assert_int_equal(got->err, 0);
    assert_string_equal(got->data, wanted);
    buf_fini(got);
}

static void must_take(const char *text, size_t columns)
{
    assert_int_equal(text_width(str_of(text)), columns);
}

static void must_cut(const char *text, size_t columns, const char *wanted)
{
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    size_t width = text_cut(&out, str_of(text), columns);
    assert_true(width <= columns);
    assert_int_equal(width, text_width((struct str){out.data, out.len}));
    must_be(&out, wanted);
}

static void must_cut_end(const char *text, size_t columns, const char *wanted)
{
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    assert_true(text_cut_end(&out, str_of(text), columns) <= columns);
    must_be(&out, wanted);
}

static void must_be_safe(const char *name, bool utf8, const char *wanted)
{
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    text_safe(&out, str_of(name), utf8);
    must_be(&out, wanted);
}

static void must_pass(const char *text, bool utf8, const char *wanted)
{
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    text_foreign(&out, str_of(text), utf8);
    must_be(&out, wanted);
}

static void must_wrap(const char *text, size_t used, size_t indent, size_t columns,
                      const char *wanted)
{
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    text_wrap(&out, str_of(text), used, indent, columns);
    must_be(&out, wanted);
}

static void test_cli_text_width_is_in_columns(void **state)
{
    (void)state;
    must_take("", 0);
    must_take("model", 5);
    must_take("größe", 5);
    must_take("日本語", 6);
    must_take("e\xCC\x81", 1); /* with a combining accent */
    must_take("\x0E"
              "a\x18",
              1);
    must_take("\xE6\x97", 1); /* cut off: something of one column */
}

static void test_cli_text_cut_keeps_both_ends(void **state)
{
    (void)state;
    must_cut("", 1, "");
    must_cut("abcdefghij", 10, "abcdefghij");
    must_cut("abcdefghij", 9, "abcde…hij");
    must_cut("abcdefghij", 2, "a…");
    must_cut("abcdefghij", 1, "…");
    must_cut("日本語日本語", 8, "日本…語"); /* half a character is none */
    must_cut("日本語", 2, "…");
    must_cut_end("abcdefghij", 5, "abcd…");
    must_cut_end("abcdefghij", 1, "…");
    must_cut_end("abc", 3, "abc");
}

static void test_cli_text_names_cannot_act(void **state)
{
    (void)state;
    must_be_safe("", true, "");
    must_be_safe("a b", true, "a b");
    must_be_safe("a\n\t\x1b[31m\x7f\\", true, "a\\n\\t\\x1b[31m\\x7f\\\\");
    must_be_safe("\xE2\x80\xAE"
                 "x",
                 true, "\\u202ex"); /* turns the direction of text round */
    must_be_safe("\xFF", true, "\\xff");
    must_be_safe("日本", true, "日本");
    must_be_safe("日本", false, "\\u65e5\\u672c");
    must_be_safe("😀", false, "\\U0001f600");
    must_be_safe("\x0E", true, "\\x0e"); /* would be a style */
}

static void test_cli_text_foreign_lines_stay_lines(void **state)
{
    (void)state;
    must_pass("── a\\n ──\n  p50 3 µs\n", true, "── a\\n ──\n  p50 3 µs\n");
    must_pass("── a\\n ──\n", false, "── a\\n ──\n"); /* becomes ASCII when it is shown */
    must_pass("日\n", false, "\\u65e5\n");
    must_pass("\x1b[2J\r\n\xE2\x80\xAE", true, "\\x1b[2J\\r\n\\u202e");
    must_pass("\xFF\xC3", true, "\\xff\\xc3");
}

static void test_cli_text_wraps_between_words(void **state)
{
    (void)state;
    must_wrap("", 0, 0, 10, "");
    must_wrap("one two three", 0, 0, 13, "one two three");
    must_wrap("one two three", 0, 0, 12, "one two\nthree");
    must_wrap("one two three", 6, 2, 10, "one\n  two\n  three");
    must_wrap("unbreakable word", 0, 0, 4, "unbreakable\nword");
    must_wrap("  one   two  ", 0, 0, 10, "one two");
}

static void test_cli_text_keeps_figures_and_units_together(void **state)
{
    (void)state;
    must_wrap("above 98 %.", 0, 0, 10, "above\n98 %.");
    must_wrap("above 98 %.", 0, 0, 11, "above 98 %.");
    must_wrap("p99 12.5 ms, p50", 0, 0, 9, "p99\n12.5 ms,\np50");
    must_wrap("of 2 CPUs", 0, 0, 5, "of 2\nCPUs");
    must_wrap("a few ms", 0, 0, 5, "a few\nms");
    must_wrap("98 %", 0, 0, 2, "98 %");
}

static void test_cli_text_without_utf8_counts_one_column_each(void **state)
{
    (void)state;
    must_use_locale("C");
    must_take("a…b", 3);
    must_take("──", 2);
    must_use_locale("C.UTF-8");
}

/* Whatever is left out of UTF-8 is one column of ASCII. */
static void test_cli_text_signs_have_stand_ins(void **state)
{
    (void)state;
    static const char signs[] = "µ·×–…↑↓−≈≤≥─█░▒";
    struct str left = {signs, sizeof signs - 1};
    while (left.len > 0) {
        size_t len;
        const char *ascii = text_plain(text_decode(left, &len));
        assert_non_null(ascii);
        assert_int_equal(strlen(ascii), 1);
        left.ptr += len;
        left.len -= len;
    }
    assert_null(text_plain('a'));
    assert_null(text_plain(0x65E5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_text_width_is_in_columns),
        cmocka_unit_test(test_cli_text_cut_keeps_both_ends),
        cmocka_unit_test(test_cli_text_names_cannot_act),
        cmocka_unit_test(test_cli_text_foreign_lines_stay_lines),
        cmocka_unit_test(test_cli_text_wraps_between_words),
        cmocka_unit_test(test_cli_text_keeps_figures_and_units_together),
        cmocka_unit_test(test_cli_text_without_utf8_counts_one_column_each),
        cmocka_unit_test(test_cli_text_signs_have_stand_ins),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_text", tests, NULL, NULL);
}
