#include "wire/lexer.h"

#include "base/err.h"

/* Four hex digits; false leaves nothing said about *at. */
static bool read_hex4(const char **at, uint32_t *ret_unit)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int value = lexer_hex_digit(**at);
        if (value < 0) {
            return false;
        }
        unit = unit << 4 | (uint32_t)value;
        ++*at;
    }
    *ret_unit = unit;
    return true;
}

/* What follows \u: one unit of UTF-16, or two that make a pair (RFC 8259, section 7). */
static bool read_code_point(const char **at, uint32_t *ret_code)
{
    uint32_t unit = 0;
    if (!read_hex4(at, &unit)) {
        return false;
    }
    if (unit < 0xD800 || unit > 0xDFFF) {
        *ret_code = unit;
        return true;
    }
    if (unit > 0xDBFF || (*at)[0] != '\\' || (*at)[1] != 'u') {
        return false;
    }
    *at += 2;
    uint32_t low = 0;
    if (!read_hex4(at, &low) || low < 0xDC00 || low > 0xDFFF) {
        return false;
    }
    *ret_code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static char *write_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (char)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xE0 | code >> 12);
        } else {
            *out++ = (char)(0xF0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (code >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (code & 0x3F));
    return out;
}

/* Decodes the escape whose backslash is at *at. False when it is none. */
static bool read_escape(struct lexer *lexer, const char **at)
{
    static const char plain[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    char c = (*at)[1];
    *at += 2;
    if (c == 'u') {
        uint32_t code = 0;
        if (!read_code_point(at, &code)) {
            return false;
        }
        lexer->zero |= code == 0;
        lexer->out = write_utf8(lexer->out, code);
        return true;
    }
    const char *found = memchr(plain, c, sizeof plain - 1);
    if (found == NULL) {
        return false;
    }
    *lexer->out++ = meant[found - plain];
    return true;
}

/* Room in scratch for all decoded texts of the rest of the line: decoding never lengthens. */
static int open_scratch(struct lexer *lexer)
{
    if (lexer->out != NULL) {
        return 0;
    }
    buf_clear(lexer->scratch);
    lexer->out = buf_reserve(lexer->scratch, (size_t)(lexer->end - lexer->at));
    return lexer->out == NULL ? ERR_NOMEM : 0;
}

static void copy_out(struct lexer *lexer, const char *from, const char *to)
{
    memcpy(lexer->out, from, (size_t)(to - from));
    lexer->out += to - from;
}

/* The rest of a text with escapes; `at` is at the first of them. */
static int read_escaped_text(struct lexer *lexer, const char *at, struct str *ret_text)
{
    int err = open_scratch(lexer);
    if (err != 0) {
        return err;
    }
    char *start = lexer->out;
    const char *copied = lexer->at;
    while (*at != '"') {
        if (*at == '\\') {
            copy_out(lexer, copied, at);
            if (!read_escape(lexer, &at)) {
                return ERR_SYNTAX;
            }
            copied = at;
        } else if ((uint8_t)*at < 0x20) {
            return ERR_SYNTAX;
        } else {
            at++;
        }
    }
    copy_out(lexer, copied, at);
    lexer->at = at + 1;
    *ret_text = (struct str){start, (size_t)(lexer->out - start)};
    return 0;
}

int lexer_read_odd_text(struct lexer *lexer, const char *odd, struct str *ret_text)
{
    struct str text;
    const char *at = odd;
    while ((uint8_t)*at >= 0x80) {
        at = lexer_skip_plain(at + 1, lexer->end);
    }
    if (*at == '"') {
        text = (struct str){lexer->at, (size_t)(at - lexer->at)};
        lexer->at = at + 1;
    } else if (*at == '\\') {
        int err = read_escaped_text(lexer, at, &text);
        if (err != 0) {
            return err;
        }
    } else {
        return ERR_SYNTAX;
    }
    /* An escape decodes to whole characters, so it hides no broken one beside it. */
    if (!str_is_utf8(text)) {
        return ERR_SYNTAX;
    }
    *ret_text = text;
    return 0;
}
