#include "cli/text.h"

#include <wchar.h>

#include "base/log.h"

enum { ASCII_LAST = 0x7E };

void text_style(struct buf *out, enum style style)
{
    buf_char(out, (char)(STYLE_FIRST + (int)style));
}

enum style text_style_of(char byte)
{
    int style = (unsigned char)byte - STYLE_FIRST;
    return style >= 0 && style < STYLE_COUNT ? (enum style)style : STYLE_COUNT;
}

uint32_t text_decode(struct str text, size_t *ret_len)
{
    unsigned char lead = (unsigned char)text.ptr[0];
    size_t len = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    len = len < text.len ? len : text.len;
    uint32_t point = len == 1 ? lead : lead & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        point = point << 6 | ((unsigned char)text.ptr[i] & 0x3F);
    }
    *ret_len = len;
    return point;
}

/* --- width ------------------------------------------------------------------------------------- */

static size_t width_of(uint32_t point)
{
    if (point < 0x80) {
        return point >= ' ' && point <= ASCII_LAST ? 1 : 0; /* 0: a style */
    }
    int width = wcwidth((wchar_t)point);
    return width >= 0 ? (size_t)width : 1;
}

size_t text_width(struct str text)
{
    size_t columns = 0;
    while (text.len > 0) {
        size_t len;
        columns += width_of(text_decode(text, &len));
        text.ptr += len;
        text.len -= len;
    }
    return columns;
}

/* The longest front that fits, with the marks that belong to its last character. */
static struct str front(struct str text, size_t columns)
{
    size_t used = 0;
    while (used < text.len) {
        size_t len;
        size_t width = width_of(text_decode((struct str){text.ptr + used, text.len - used}, &len));
        if (width > columns) {
            break;
        }
        columns -= width;
        used += len;
    }
    return (struct str){text.ptr, used};
}

/* The longest back that fits and begins with a character that stands for itself. */
static struct str back(struct str text, size_t columns)
{
    size_t total = text_width(text);
    size_t skipped = 0;
    while (text.len > 0) {
        size_t len;
        size_t width = width_of(text_decode(text, &len));
        if (width > 0 && total - skipped <= columns) {
            break;
        }
        skipped += width;
        text.ptr += len;
        text.len -= len;
    }
    return text;
}

/* The front and the back that fit around the sign for what is left out. */
static size_t cut(struct buf *out, struct str text, size_t columns, size_t back_columns)
{
    size_t width = text_width(text);
    if (width <= columns) {
        buf_str(out, text);
        return width;
    }
    struct str end = back(text, back_columns);
    size_t end_width = text_width(end);
    struct str begin = front(text, columns - 1 - end_width);
    buf_str(out, begin);
    buf_puts(out, "…");
    buf_str(out, end);
    return text_width(begin) + 1 + end_width;
}

size_t text_cut(struct buf *out, struct str text, size_t columns)
{
    return cut(out, text, columns, (columns - 1) * 2 / 5);
}

size_t text_cut_end(struct buf *out, struct str text, size_t columns)
{
    return cut(out, text, columns, 0);
}

void text_pad(struct buf *out, size_t columns)
{
    text_repeat(out, " ", columns);
}

void text_repeat(struct buf *out, const char *piece, size_t columns)
{
    for (; columns > 0; columns--) {
        buf_puts(out, piece);
    }
}

/* --- foreign text ------------------------------------------------------------------------------ */

/* What text_plain knows stays: it is replaced when it is shown. */
static void put_ascii(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t len;
        uint32_t point = text_decode(text, &len);
        if (point < 0x80 || text_plain(point) != NULL) {
            buf_append(out, text.ptr, len);
        } else if (point <= 0xFFFF) {
            buf_printf(out, "\\u%04x", (unsigned)point);
        } else {
            buf_printf(out, "\\U%08x", (unsigned)point);
        }
        text.ptr += len;
        text.len -= len;
    }
}

void text_safe(struct buf *out, struct str name, bool utf8)
{
    if (utf8) {
        log_escape(out, name);
        return;
    }
    struct buf escaped;
    buf_init(&escaped, out->max);
    log_escape(&escaped, name);
    put_ascii(out, (struct str){escaped.data, escaped.len});
    if (escaped.err != 0 && out->err == 0) {
        out->err = escaped.err;
    }
    buf_fini(&escaped);
}

static const struct {
    uint32_t point;
    char ascii[2];
} plain[] = {
    {0xB5, "u"},   /* µ */
    {0xB7, "-"},   /* · */
    {0xD7, "x"},   /* × */
    {0x2013, "-"}, /* – */
    {0x2026, "~"}, /* … */
    {0x2191, "^"}, /* ↑ */
    {0x2192, ">"}, /* → */
    {0x2193, "v"}, /* ↓ */
    {0x2212, "-"}, /* − */
    {0x2248, "~"}, /* ≈ */
    {0x2264, "<"}, /* ≤ */
    {0x2265, ">"}, /* ≥ */
    {0x2500, "-"}, /* ─ */
    {0x2588, "#"}, /* █ */
    {0x2591, "."}, /* ░ */
    {0x2592, ":"}, /* ▒ */
};

const char *text_plain(uint32_t point)
{
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (plain[i].point == point) {
            return plain[i].ascii;
        }
    }
    return NULL;
}

/* One character of it, or a run of what is harmless. */
static size_t foreign_piece(struct buf *out, struct str text, bool utf8)
{
    size_t len;
    uint32_t point = text_decode(text, &len);
    if (text.ptr[0] == '\n' || text.ptr[0] == '\\' || (point >= ' ' && point <= ASCII_LAST)) {
        buf_char(out, text.ptr[0]);
        return 1;
    }
    struct str one = {text.ptr, len};
    if (!str_is_utf8(one)) {
        one.len = 1;
    }
    text_safe(out, one, utf8);
    return one.len;
}

void text_foreign(struct buf *out, struct str text, bool utf8)
{
    while (text.len > 0) {
        size_t len = foreign_piece(out, text, utf8);
        text.ptr += len;
        text.len -= len;
    }
}

/* --- lines ------------------------------------------------------------------------------------- */

static struct str next_word(struct str *text)
{
    while (text->len > 0 && text->ptr[0] == ' ') {
        text->ptr++;
        text->len--;
    }
    struct str word = {text->ptr, 0};
    while (text->len > 0 && text->ptr[0] != ' ') {
        text->ptr++;
        text->len--;
        word.len++;
    }
    return word;
}

/* Figures stay with what they count: "98 %", "12.5 ms,". */
static bool is_unit(struct str word)
{
    static const char *const units[] = {"%", "ns", "µs", "ms", "s",  "min", "h",
                                        "d", "B",  "kB", "MB", "GB", "TB",  "MiB"};
    while (word.len > 0 && memchr(".,;:)", word.ptr[word.len - 1], 5) != NULL) {
        word.len--;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (str_is(word, units[i])) {
            return true;
        }
    }
    return false;
}

/* The next word, with its unit when it is a figure. */
static struct str next_piece(struct str *text)
{
    struct str word = next_word(text);
    struct str rest = *text;
    struct str unit = next_word(&rest);
    char last = word.len > 0 ? word.ptr[word.len - 1] : ' ';
    if (last >= '0' && last <= '9' && is_unit(unit) && unit.ptr == word.ptr + word.len + 1) {
        word.len += 1 + unit.len;
        *text = rest;
    }
    return word;
}

void text_wrap(struct buf *out, struct str text, size_t used, size_t indent, size_t columns)
{
    bool first = true;
    for (struct str word = next_piece(&text); word.len > 0; word = next_piece(&text)) {
        size_t width = text_width(word);
        if (!first && used + 1 + width > columns) {
            buf_char(out, '\n');
            text_pad(out, indent);
            used = indent;
        } else if (!first) {
            buf_char(out, ' ');
            used++;
        }
        buf_str(out, word);
        used += width;
        first = false;
    }
}
