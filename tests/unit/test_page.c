#include "core_helpers.h"

#include <stdlib.h>

#include "base/err.h"
#include "mem_fault.h"
#include "render/page.h"

enum { ROWS = 3, COLUMNS = 60, PIECE_MAX = 40, BYTES_MAX = 1 << 20 };

/* What a page should hold: the pieces themselves. */
struct table {
    size_t len[COLUMNS][ROWS];
    char piece[COLUMNS][ROWS][PIECE_MAX];
};

static void change_piece(struct random *random, struct table *table, uint32_t column, uint32_t row)
{
    char fill = (char)('a' + random_below(random, 26));
    if (random_below(random, 3) == 0 || table->len[column][row] == 0) {
        table->len[column][row] = random_below(random, PIECE_MAX);
    }
    memset(table->piece[column][row], fill, table->len[column][row]);
}

/* New pieces of a column, taken over into `table` when the page did. */
static int write_column(struct page *page, struct random *random, struct table *table,
                        uint32_t column)
{
    struct table *changed = malloc(sizeof *changed);
    size_t ends[ROWS];
    assert_non_null(changed);
    *changed = *table;
    struct buf *out = page_open(page);
    for (uint32_t row = 0; row < ROWS; row++) {
        change_piece(random, changed, column, row);
        buf_append(out, changed->piece[column][row], changed->len[column][row]);
        ends[row] = out->len;
    }
    int err = page_close(page, column, ends);
    if (err == 0) {
        *table = *changed;
    }
    free(changed);
    return err;
}

/* Puts the rows together, checks them, and settles them. */
static void must_hold(struct page *page, const struct table *table, uint32_t columns, bool settle)
{
    struct buf out;
    struct str rows[ROWS];
    size_t begins[ROWS];
    buf_init(&out, BYTES_MAX);
    page_list(page, columns);
    for (uint32_t row = 0; row < ROWS; row++) {
        begins[row] = out.len;
        page_append_row(page, row, &out);
        rows[row].len = out.len - begins[row];
        assert_int_equal(rows[row].len, page_row_len(page, row));
    }
    assert_int_equal(out.err, 0);
    for (uint32_t row = 0; row < ROWS; row++) {
        size_t at = begins[row];
        rows[row].ptr = out.data + begins[row];
        for (uint32_t column = 0; column < columns; column++) {
            size_t len = table->len[column][row];
            assert_true(at + len <= out.len);
            assert_true(len == 0 || memcmp(out.data + at, table->piece[column][row], len) == 0);
            at += len;
        }
        assert_int_equal(at, begins[row] + rows[row].len);
    }
    if (settle) {
        page_settle(page, columns, rows);
    }
    buf_fini(&out);
}

static void test_page_holds_what_was_written(void **state)
{
    (void)state;
    struct random random = random_start("page");
    struct table *table = calloc(1, sizeof *table);
    struct page page;
    uint32_t columns = 0;
    assert_non_null(table);
    page_init(&page, ROWS);
    must_hold(&page, table, 0, true);
    for (unsigned round = 0; round < 2000; round++) {
        if (columns < COLUMNS && random_below(&random, 20) == 0) {
            assert_int_equal(page_reserve(&page, columns + 1), 0);
            assert_false(page_has(&page, columns));
            assert_int_equal(write_column(&page, &random, table, columns), 0);
            assert_true(page_has(&page, columns));
            columns++;
        }
        for (uint64_t i = random_below(&random, 4); columns > 0 && i > 0; i--) {
            uint32_t column = (uint32_t)random_below(&random, columns);
            assert_int_equal(write_column(&page, &random, table, column), 0);
        }
        must_hold(&page, table, columns, random_below(&random, 4) > 0);
    }
    page_fini(&page);
    free(table);
}

/* An answer of fewer columns, settled, forgets the others but keeps room for them. */
static void test_page_forgets_columns_that_were_not_settled(void **state)
{
    (void)state;
    struct random random = random_start("page, fewer");
    struct table *table = calloc(1, sizeof *table);
    struct page page;
    assert_non_null(table);
    page_init(&page, ROWS);
    assert_int_equal(page_reserve(&page, 5), 0);
    for (uint32_t column = 0; column < 5; column++) {
        assert_int_equal(write_column(&page, &random, table, column), 0);
    }
    must_hold(&page, table, 3, true);
    assert_true(page_has(&page, 2));
    assert_false(page_has(&page, 3));
    for (uint32_t column = 3; column < 5; column++) {
        assert_int_equal(write_column(&page, &random, table, column), 0);
    }
    must_hold(&page, table, 5, true);
    page_fini(&page);
    free(table);
}

static void test_page_stays_as_it_was_without_memory(void **state)
{
    (void)state;
    struct random random = random_start("page, memory");
    for (size_t n = 1; n < 40; n++) {
        struct table *table = calloc(1, sizeof *table);
        struct page page;
        assert_non_null(table);
        page_init(&page, ROWS);
        assert_int_equal(page_reserve(&page, 10), 0);
        mem_fail_after(n);
        uint32_t columns = 0;
        for (unsigned round = 0; round < 40; round++) {
            uint32_t column = (uint32_t)random_below(&random, 10);
            column = column < columns ? column : columns;
            int err = write_column(&page, &random, table, column);
            assert_true(err == 0 || err == ERR_NOMEM);
            columns += err == 0 && column == columns;
            columns = columns > 9 ? 9 : columns;
        }
        mem_fail_after(0);
        for (uint32_t column = 0; column < 10; column++) {
            if (!page_has(&page, column)) {
                assert_int_equal(write_column(&page, &random, table, column), 0);
            }
        }
        must_hold(&page, table, 10, true);
        must_hold(&page, table, 10, true);
        page_fini(&page);
        free(table);
    }
}

static void test_page_reserves_all_or_nothing(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct page page;
        page_init(&page, ROWS);
        mem_fail_after(n);
        int err = page_reserve(&page, 100);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        assert_true(page.capacity == (failed ? 0u : 128u));
        assert_int_equal(page_reserve(&page, 100), 0);
        page_fini(&page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_holds_what_was_written),
        cmocka_unit_test(test_page_forgets_columns_that_were_not_settled),
        cmocka_unit_test(test_page_stays_as_it_was_without_memory),
        cmocka_unit_test(test_page_reserves_all_or_nothing),
    };
    return cmocka_run_group_tests_name("page", tests, note_memory, must_be_clean);
}
