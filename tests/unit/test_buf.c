/* Growing buffers: their ceiling, their sticky error, and what they print. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "mem_fault.h"

static void must_hold(const struct buf *buf, const char *expected)
{
    assert_int_equal(buf->err, 0);
    assert_int_equal(buf->len, strlen(expected));
    if (buf->len > 0) {
        assert_memory_equal(buf->data, expected, buf->len);
    }
}

static void test_buf_collects_what_is_appended(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    must_hold(&buf, "");
    buf_puts(&buf, "a");
    buf_char(&buf, 'b');
    buf_str(&buf, STR_LITERAL("cd"));
    buf_append(&buf, NULL, 0);
    buf_str(&buf, (struct str){NULL, 0});
    buf_printf(&buf, "%s-%d", "e", 7);
    must_hold(&buf, "abcde-7");
    buf_clear(&buf);
    must_hold(&buf, "");
    buf_printf(&buf, "%s", "");
    must_hold(&buf, "");
    buf_fini(&buf);
}

static void test_buf_prints_numbers(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    buf_u64(&buf, UINT64_MAX);
    buf_char(&buf, ' ');
    buf_i64(&buf, INT64_MIN);
    buf_char(&buf, ' ');
    buf_i64(&buf, 12);
    buf_char(&buf, ' ');
    buf_double(&buf, 0.1);
    must_hold(&buf, "18446744073709551615 -9223372036854775808 12 0.1");
    buf_fini(&buf);
}

static void test_buf_fills_to_its_ceiling_and_not_past_it(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    buf_puts(&buf, "12345");
    must_hold(&buf, "12345");
    buf_append(&buf, "", 0);
    must_hold(&buf, "12345");
    buf_char(&buf, '6');
    assert_int_equal(buf.err, ERR_LIMIT);
    assert_int_equal(buf.len, 5);
    buf_fini(&buf);

    buf_init(&buf, 0);
    must_hold(&buf, "");
    buf_char(&buf, 'x');
    assert_int_equal(buf.err, ERR_LIMIT);
    buf_fini(&buf);

    buf_init(&buf, 1000);
    assert_null(buf_reserve(&buf, SIZE_MAX));
    assert_int_equal(buf.err, ERR_LIMIT);
    buf_fini(&buf);
}

static void test_buf_keeps_its_first_error(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    buf_puts(&buf, "too long");
    buf_char(&buf, 'x');
    buf_u64(&buf, 1);
    buf_double(&buf, 1);
    buf_printf(&buf, "y");
    assert_int_equal(buf.err, ERR_LIMIT);
    assert_int_equal(buf.len, 0);
    assert_null(buf_steal(&buf));
    assert_int_equal(buf.len, 0);

    buf_init(&buf, 5);
    buf_puts(&buf, "too long");
    buf_clear(&buf);
    buf_puts(&buf, "ok");
    must_hold(&buf, "ok");
    buf_fini(&buf);
}

static void test_buf_grows_through_many_sizes(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 100000);
    for (size_t i = 0; i < 100000; i++) {
        buf_char(&buf, (char)('a' + i % 26));
    }
    assert_int_equal(buf.err, 0);
    assert_int_equal(buf.len, 100000);
    for (size_t i = 0; i < buf.len; i++) {
        assert_int_equal(buf.data[i], 'a' + i % 26);
    }
    buf_fini(&buf);
}

static void test_buf_steals_a_terminated_text(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 6);
    buf_puts(&buf, "12345");
    char *text = buf_steal(&buf);
    assert_string_equal(text, "12345");
    mem_free(text);
    must_hold(&buf, "");

    text = buf_steal(&buf);
    assert_string_equal(text, "");
    mem_free(text);

    buf_puts(&buf, "123456"); /* no room for its end */
    assert_null(buf_steal(&buf));
    assert_null(buf.data);
}

static void test_buf_survives_running_out_of_memory(void **state)
{
    (void)state;
    size_t live = mem_count_live();
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        struct buf buf;
        buf_init(&buf, 100000);
        for (size_t i = 0; i < 5000; i++) {
            buf_u64(&buf, i);
        }
        int err = buf.err;
        buf_fini(&buf);
        assert_int_equal(mem_count_live(), live);
        if (!mem_has_failed()) {
            assert_int_equal(err, 0);
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
    }
    mem_fail_after(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_collects_what_is_appended),
        cmocka_unit_test(test_buf_prints_numbers),
        cmocka_unit_test(test_buf_fills_to_its_ceiling_and_not_past_it),
        cmocka_unit_test(test_buf_keeps_its_first_error),
        cmocka_unit_test(test_buf_grows_through_many_sizes),
        cmocka_unit_test(test_buf_steals_a_terminated_text),
        cmocka_unit_test(test_buf_survives_running_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
