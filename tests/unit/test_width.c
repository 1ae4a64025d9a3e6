#include "core_helpers.h"

#include "render/width.h"

static void must_measure(const char *text, size_t columns)
{
    assert_int_equal(width_count(str_of(text)), columns);
}

static void must_cut(const char *text, size_t columns, const char *wanted)
{
    struct buf out;
    buf_init(&out, 1024);
    size_t used = width_cut(str_of(text), columns, &out);
    assert_int_equal(out.len, strlen(wanted));
    assert_memory_equal(out.data == NULL ? "" : out.data, wanted, out.len);
    assert_int_equal(used, width_count((struct str){out.data, out.len}));
    assert_true(used <= columns);
    buf_fini(&out);
}

static void test_width_count_follows_east_asian_width(void **state)
{
    (void)state;
    must_measure("", 0);
    must_measure("abc", 3);
    must_measure("Übergröße", 9);
    must_measure("µs", 2);
    must_measure("模型", 4);
    must_measure("モデル", 6);
    must_measure("ﾓﾃﾞﾙ", 4); /* half width */
    must_measure("모델", 4);
    must_measure("модель", 6);
    must_measure("🚀", 2);
    must_measure("…", 1);
    must_measure("─", 1);
}

static void test_width_count_gives_marks_nothing(void **state)
{
    (void)state;
    must_measure("e\u0301", 1);
    must_measure("मॉडल", 4); /* one of its vowels takes a column */
    must_measure("نَموذج", 5);
    must_measure("\u200b", 0);
    must_measure("❤\ufe0f", 1);
}

static void test_width_count_reads_no_further_than_damaged_text(void **state)
{
    (void)state;
    assert_int_equal(width_count((struct str){"\xE6\xA8", 2}), 1);
    assert_int_equal(width_count((struct str){"\xF0", 1}), 1);
}

static void test_width_cut_keeps_both_ends(void **state)
{
    (void)state;
    must_cut("", 5, "");
    must_cut("abcde", 5, "abcde");
    must_cut("abcdef", 5, "abc…f");
    must_cut("abcdefghijkl", 11, "abcdef…ijkl");
    must_cut("abcdef", 1, "…");
    must_cut("abcdef", 2, "a…");
}

static void test_width_cut_never_splits_a_character(void **state)
{
    (void)state;
    must_cut("模型分类器", 10, "模型分类器");
    must_cut("模型分类器", 9, "模型分…器");
    must_cut("模型分类器", 8, "模型…器");
    must_cut("模型分类器", 4, "模…");
    must_cut("模型", 1, "…");
    must_cut("e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301…");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_width_count_follows_east_asian_width),
        cmocka_unit_test(test_width_count_gives_marks_nothing),
        cmocka_unit_test(test_width_count_reads_no_further_than_damaged_text),
        cmocka_unit_test(test_width_cut_keeps_both_ends),
        cmocka_unit_test(test_width_cut_never_splits_a_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
