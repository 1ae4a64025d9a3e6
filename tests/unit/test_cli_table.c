#include "cli_golden.h"

#include "base/err.h"
#include "cli/table.h"
#include "mem_fault.h"

static const struct column columns[] = {
    {"NAME", false, 4, 0}, {"RATE", true, 0, 2}, {"WORD", false, 0, 1}};

static void fill(struct table *table)
{
    static const char *const cells[] = {"matrix-product", "1/s", "compute", "b", "1,234/s", "io"};
    table_init(table, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        table_text(table, i == 2 ? STYLE_COMPUTE : STYLE_PLAIN, cells[i]);
    }
}

static void must_render(struct table *table, struct table_view view, const char *wanted)
{
    struct buf out;
    struct buf shown;
    buf_init(&out, CLI_BYTES_MAX);
    buf_init(&shown, CLI_BYTES_MAX);
    table_render(table, &view, &out);
    assert_int_equal(out.err, 0);
    must_fit(&out, view.columns);
    terminal_render(&(struct terminal){.utf8 = true}, (struct str){out.data, out.len}, &shown);
    buf_char(&shown, '\0');
    assert_string_equal(shown.data, wanted);
    buf_fini(&out);
    buf_fini(&shown);
}

static struct table_view within(size_t width)
{
    return (struct table_view){.columns = width, .rows = TABLE_ALL, .selected = TABLE_NONE};
}

static void test_cli_table_fits_any_width(void **state)
{
    (void)state;
    struct table table;
    fill(&table);
    must_render(&table, within(80),
                "NAME               RATE  WORD\n"
                "matrix-product      1/s  compute\n"
                "b               1,234/s  io\n");
    must_render(&table, within(32),
                "NAME               RATE  WORD\n"
                "matrix-product      1/s  compute\n"
                "b               1,234/s  io\n");
    must_render(&table, within(31), /* one less: the name is cut */
                "NAME              RATE  WORD\n"
                "matrix-p…duct      1/s  compute\n"
                "b              1,234/s  io\n");
    must_render(&table, within(22), /* it may be cut no further */
                "NAME     RATE  WORD\n"
                "ma…t      1/s  compute\n"
                "b     1,234/s  io\n");
    must_render(&table, within(21), /* so the least important column goes */
                "NAME          WORD\n"
                "matrix-…duct  compute\n"
                "b             io\n");
    must_render(&table, within(12),
                "NAME\n"
                "matrix-…duct\n"
                "b\n");
    must_render(&table, within(2), "N…\nm…\nb\n"); /* and at last all may be cut */
    must_render(&table, within(1), "…\n…\nb\n");
    table_fini(&table);
}

static void test_cli_table_shows_a_part(void **state)
{
    (void)state;
    struct table table;
    fill(&table);
    assert_int_equal(table_rows(&table), 2);
    struct table_view view = within(40);
    view.first = 1;
    view.indent = 2;
    must_render(&table, view, "  NAME               RATE  WORD\n  b               1,234/s  io\n");
    view.first = 0;
    view.rows = 0;
    must_render(&table, view, "  NAME               RATE  WORD\n");
    view.first = 2;
    view.rows = TABLE_ALL;
    must_render(&table, view, "  NAME               RATE  WORD\n");
    table.hidden = 1u << 1;
    view.first = 1;
    must_render(&table, view, "  NAME            WORD\n  b               io\n");
    table_fini(&table);
}

static void test_cli_table_selected_row_fills_the_width(void **state)
{
    (void)state;
    struct table table;
    struct buf out;
    fill(&table);
    struct table_view view = within(40);
    view.first = 1;
    view.selected = 1;
    buf_init(&out, CLI_BYTES_MAX);
    table_render(&table, &view, &out);
    char *line = memchr(out.data, '\n', out.len);
    assert_non_null(line);
    assert_int_equal(text_style_of(line[1]), STYLE_SELECTED);
    assert_int_equal(text_width((struct str){line + 1, out.len - (size_t)(line + 1 - out.data)}),
                     40);
    buf_fini(&out);
    table_fini(&table);
}

static void test_cli_table_without_rows_is_its_titles(void **state)
{
    (void)state;
    struct table table;
    table_init(&table, columns, 2);
    must_render(&table, within(80), "NAME  RATE\n");
    table_fini(&table);
}

/* With the n-th allocation failing, for every n: the error shows, and nothing leaks. */
static void test_cli_table_without_memory_says_so(void **state)
{
    (void)state;
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct table table;
        struct buf out;
        buf_init(&out, CLI_BYTES_MAX);
        mem_fail_after(n);
        fill(&table);
        struct table_view view = within(20);
        view.selected = 0;
        table_render(&table, &view, &out);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(out.err, failed ? ERR_NOMEM : 0);
        table_fini(&table);
        buf_fini(&out);
        assert_int_equal(mem_count_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_table_fits_any_width),
        cmocka_unit_test(test_cli_table_shows_a_part),
        cmocka_unit_test(test_cli_table_selected_row_fills_the_width),
        cmocka_unit_test(test_cli_table_without_rows_is_its_titles),
        cmocka_unit_test(test_cli_table_without_memory_says_so),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_table", tests, NULL, NULL);
}
