/*
 * Reads the words of a JSON text where they lie: blanks, literals and texts, whose escapes are decoded
 * aside. It knows no objects, no keys and no numbers (base/num has those).
 *
 * The text is one line and a newline stands at `end`. No blank, literal or text of JSON holds one as
 * it is, so single bytes are read without asking where the line ends: reading stops at the newline.
 * One thread at a time for each reader.
 */
#ifndef DWELL_WIRE_LEXER_H
#define DWELL_WIRE_LEXER_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct lexer {
    const char *at;
    const char *end;     /* the newline */
    struct buf *scratch; /* of the caller; as long as a line may be */
    char *out;           /* in scratch: where the next decoded text goes; NULL while none did */
    bool zero;           /* the last text held \u0000 */
};

/* Begins a line. Texts of the one before are gone. */
static inline void lexer_start(struct lexer *lexer, const char *at, const char *end,
                               struct buf *scratch)
{
    *lexer = (struct lexer){at, end, scratch, NULL, false};
}

/* One comparison where there is none, as nearly everywhere. */
static inline void lexer_skip_blanks(struct lexer *lexer)
{
    const char *at = lexer->at;
    while (__builtin_expect((uint8_t)*at <= ' ', 0) && (*at == ' ' || *at == '\t' || *at == '\r')) {
        at++;
    }
    lexer->at = at;
}

/* Skips a literal such as `null`; false when something else is there. */
static inline bool lexer_take_word(struct lexer *lexer, struct str word)
{
    if ((size_t)(lexer->end - lexer->at) < word.len || memcmp(lexer->at, word.ptr, word.len) != 0) {
        return false;
    }
    lexer->at += word.len;
    return true;
}

/* 0 to 15, or -1. */
static inline int lexer_hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline bool lexer_is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* The first byte that a plain text cannot hold: a quote, a backslash, a control byte, or one that
 * begins no ASCII character. Eight at a time; in each the highest bit is set for such a byte (and
 * perhaps for ones after it, by the borrow, but the first is right). */
static inline const char *lexer_skip_plain(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    while (end - at >= 8) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof bytes);
        bytes = le64toh(bytes);
        uint64_t quote = bytes ^ ones * '"';
        uint64_t backslash = bytes ^ ones * '\\';
        uint64_t found =
            (((bytes - ones * 0x20) | (quote - ones) | (backslash - ones)) & ~bytes) | bytes;
        found &= ones * 0x80;
        if (found != 0) {
            return at + __builtin_ctzll(found) / 8;
        }
        at += 8;
    }
    while (lexer_is_plain((uint8_t)*at)) {
        at++;
    }
    return at;
}

/* A text that holds something else than plain bytes; the first such is at `odd`. */
int lexer_read_odd_text(struct lexer *lexer, const char *odd, struct str *ret_text);

/* A text; lexer->at is past its first quote, and past its last one after. It is borrowed from the
 * line, or from scratch where it had escapes. Returns 0; ERR_SYNTAX, also for what is not UTF-8 and
 * for halves of surrogate pairs; or ERR_NOMEM. */
static inline int lexer_read_text(struct lexer *lexer, struct str *ret_text)
{
    lexer->zero = false;
    const char *at = lexer_skip_plain(lexer->at, lexer->end);
    if (*at != '"') {
        return lexer_read_odd_text(lexer, at, ret_text);
    }
    *ret_text = (struct str){lexer->at, (size_t)(at - lexer->at)};
    lexer->at = at + 1;
    return 0;
}

#endif
