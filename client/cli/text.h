/*
 * Text on its way to a terminal: what it is wide, where it is cut, which parts stand out, and what of
 * foreign names may be shown. It does not print and does not know the terminal but for one thing: whether
 * it can show more than ASCII.
 *
 * A style is one byte in the text, STYLE_FIRST and above; it holds until the next one or the line's end.
 * No text from outside holds such a byte, as text_safe and text_foreign leave none.
 */
#ifndef DWELL_CLI_TEXT_H
#define DWELL_CLI_TEXT_H

#include "base/buf.h"

enum style {
    STYLE_PLAIN,
    STYLE_STRONG,
    STYLE_DIM,
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_BAD,
    STYLE_COMPUTE,
    STYLE_MEMORY,
    STYLE_IO,
    STYLE_LOCK,
    STYLE_SELECTED,
    STYLE_COUNT
};

enum { STYLE_FIRST = 0x0E }; /* from here to 0x18: nothing that a terminal acts on in our lines */

enum { TEXT_COLUMNS_MAX = 4096 }; /* wider than any terminal: what a pipe counts as */

void text_style(struct buf *out, enum style style);

/* The style that a byte is, or STYLE_COUNT. */
enum style text_style_of(char byte);

/* Columns that it takes. Of UTF-8, as wcwidth has it in the locale; in others all that is shown is
 * one column wide. */
size_t text_width(struct str text);

/* Appends the text in at most `columns` > 0, its middle left out when it is longer: names differ at both
 * ends. Returns the columns taken. */
size_t text_cut(struct buf *out, struct str text, size_t columns);

/* Likewise, with its end left out. */
size_t text_cut_end(struct buf *out, struct str text, size_t columns);

void text_pad(struct buf *out, size_t columns);

/* `piece`, which is one column wide, again and again. */
void text_repeat(struct buf *out, const char *piece, size_t columns);

/* A name from outside: control characters, backslashes, what reorders text and what is not UTF-8 become
 * escapes; without `utf8` also all that is not ASCII and has no stand-in there (text_plain). */
void text_safe(struct buf *out, struct str name, bool utf8);

/* Lines from outside that have gone through this once already: the same, but newlines and backslashes
 * stay. */
void text_foreign(struct buf *out, struct str text, bool utf8);

/* The character at the front: its code point, and its bytes. Damaged text is cut short, never overread. */
uint32_t text_decode(struct str text, size_t *ret_len);

/* What stands for one of our own signs where there is no UTF-8, of the same width; NULL: it is none. */
const char *text_plain(uint32_t point);

/* Words, broken into lines of at most `columns`: the first goes on where `used` columns are taken, the
 * others begin with `indent` spaces. A word that is too long has a line of its own. No newline last. */
void text_wrap(struct buf *out, struct str text, size_t used, size_t indent, size_t columns);

#endif
