/*
 * For tests of the tool: reads answers, and compares what becomes of them with files. A text that
 * differs is left beside the build, to be looked at.
 */
#ifndef DWELL_TESTS_CLI_GOLDEN_H
#define DWELL_TESTS_CLI_GOLDEN_H

#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "cli/terminal.h"

enum { CLI_BYTES_MAX = 1 << 20 };

/* The tests run in both kinds of locale, whatever the caller's is. */
static inline void must_use_locale(const char *name)
{
    assert_non_null(setlocale(LC_CTYPE, name));
}

/* The text of a file; one that is not there has none. */
static inline void must_read(const char *path, struct buf *text)
{
    FILE *file = fopen(path, "rb");
    buf_init(text, CLI_BYTES_MAX);
    if (file != NULL) {
        for (int c = getc(file); c != EOF; c = getc(file)) {
            buf_char(text, (char)c);
        }
        assert_int_equal(fclose(file), 0);
    }
    assert_int_equal(text->err, 0);
}

/* tests/data/cli/NAME.json */
static inline json_t *must_load(const char *name)
{
    char path[256];
    json_error_t error;
    (void)snprintf(path, sizeof path, TEST_DATA "/cli/%s.json", name);
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) {
        fail_msg("%s: %s", path, error.text);
    }
    return root;
}

/* What a terminal without colours would show is tests/data/cli/NAME.txt. */
static inline void must_show(struct buf *styled, bool utf8, const char *name)
{
    char path[256];
    struct buf shown;
    struct buf wanted;
    struct terminal terminal = {.utf8 = utf8};
    assert_int_equal(styled->err, 0);
    buf_init(&shown, CLI_BYTES_MAX);
    terminal_render(&terminal, (struct str){styled->data, styled->len}, &shown);
    (void)snprintf(path, sizeof path, TEST_DATA "/cli/%s.txt", name);
    must_read(path, &wanted);
    if (!str_equal((struct str){shown.data, shown.len}, (struct str){wanted.data, wanted.len})) {
        (void)snprintf(path, sizeof path, TEST_BUILD "/%s.txt", name);
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(shown.data, 1, shown.len, file), shown.len);
        assert_int_equal(fclose(file), 0);
        fail_msg("differs from " TEST_DATA "/cli/%s.txt: see %s", name, path);
    }
    buf_fini(&shown);
    buf_fini(&wanted);
    buf_fini(styled);
}

/* No line is wider, and none holds what a terminal would act on. */
static inline void must_fit(const struct buf *styled, size_t columns)
{
    size_t at = 0;
    while (at < styled->len) {
        size_t len = 0;
        while (at + len < styled->len && styled->data[at + len] != '\n') {
            unsigned char c = (unsigned char)styled->data[at + len];
            assert_true(c >= ' ' || text_style_of((char)c) != STYLE_COUNT);
            len++;
        }
        size_t width = text_width((struct str){styled->data + at, len});
        if (width > columns) {
            fail_msg("%zu columns, more than %zu: %.*s", width, columns, (int)len,
                     styled->data + at);
        }
        at += len + 1;
    }
}

#endif
