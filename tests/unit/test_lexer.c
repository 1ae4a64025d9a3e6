/* wire/lexer: every byte at every place of a text, every code point as an escape. What whole lines do
 * is in test_ndjson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/err.h"
#include "mem_fault.h"
#include "wire/lexer.h"

enum { LINE_MAX = 64 };

/* Reads the text whose first quote is left out; `line` ends with a newline. */
static int read_line(struct buf *scratch, const char *line, size_t len, struct str *ret_text,
                     bool *ret_zero)
{
    struct lexer lexer;
    lexer_start(&lexer, line, line + len - 1, scratch);
    int err = lexer_read_text(&lexer, ret_text);
    *ret_zero = lexer.zero;
    assert_true(err != 0 || lexer.at <= lexer.end);
    return err;
}

static void test_lexer_sees_every_byte_at_every_place(void **state)
{
    (void)state;
    struct buf scratch;
    buf_init(&scratch, LINE_MAX);
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char line[24] = "xxxxxxxxxxxxxxxxxxxxx\"\n"; /* no escape ends in x */
            line[at] = (char)byte;
            struct str text = {NULL, 0};
            bool zero = false;
            int err = read_line(&scratch, line, 23, &text, &zero);
            bool plain = byte >= 0x20 && byte < 0x80 && byte != '\\';
            assert_int_equal(err, plain ? 0 : ERR_SYNTAX);
            if (plain) {
                assert_ptr_equal(text.ptr, line);
                assert_int_equal(text.len, byte == '"' ? at : 21);
            }
        }
    }
    assert_int_equal(scratch.len, 0);
    buf_fini(&scratch);
}

/* UTF-8 by the definition, for comparison. */
static size_t encode(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (char)(0xF00 >> len | code);
    return len;
}

static void test_lexer_decodes_every_code_point(void **state)
{
    (void)state;
    struct buf scratch;
    buf_init(&scratch, LINE_MAX);
    for (uint32_t code = 0; code < 0x110000; code++) {
        char line[LINE_MAX];
        char expect[4];
        int len = code < 0x10000 ? snprintf(line, sizeof line, "\\u%04x\"\n", code)
                                 : snprintf(line, sizeof line, "\\u%04x\\u%04x\"\n",
                                            0xD800 + ((code - 0x10000) >> 10),
                                            0xDC00 + ((code - 0x10000) & 0x3FF));
        struct str text = {NULL, 0};
        bool zero = false;
        int err = read_line(&scratch, line, (size_t)len, &text, &zero);
        bool half = code >= 0xD800 && code < 0xE000;
        assert_int_equal(err, half ? ERR_SYNTAX : 0);
        if (!half) {
            assert_int_equal(text.len, encode(code, expect));
            assert_memory_equal(text.ptr, expect, text.len);
            assert_int_equal(zero, code == 0);
        }
    }
    buf_fini(&scratch);
}

static void test_lexer_without_memory_says_so(void **state)
{
    (void)state;
    struct buf scratch;
    struct str text;
    bool zero = false;
    buf_init(&scratch, LINE_MAX);
    mem_fail_after(1);
    assert_int_equal(read_line(&scratch, "\\n\"\n", 4, &text, &zero), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(read_line(&scratch, "\\n\"\n", 4, &text, &zero), 0);
    assert_int_equal(text.len, 1);
    buf_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lexer_sees_every_byte_at_every_place),
        cmocka_unit_test(test_lexer_decodes_every_code_point),
        cmocka_unit_test(test_lexer_without_memory_says_so),
    };
    return cmocka_run_group_tests_name("lexer", tests, NULL, NULL);
}
