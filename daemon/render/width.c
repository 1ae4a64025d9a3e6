#include "render/width.h"

#include <stdint.h>

#include "render/width_table.h"

static bool is_in(uint32_t point, const struct width_range *ranges, size_t count)
{
    size_t low = 0;
    while (count > 0) {
        size_t half = count / 2;
        if (point > ranges[low + half].last) {
            low += half + 1;
            count -= half + 1;
        } else if (point < ranges[low + half].first) {
            count = half;
        } else {
            return true;
        }
    }
    return false;
}

static size_t width_of(uint32_t point)
{
    if (point < 0x300) {
        return 1;
    }
    if (is_in(point, width_zero, sizeof width_zero / sizeof width_zero[0])) {
        return 0;
    }
    return is_in(point, width_wide, sizeof width_wide / sizeof width_wide[0]) ? 2 : 1;
}

/* The character at the front of text, and its bytes. Damaged text is cut short, never overread. */
static uint32_t decode(struct str text, size_t *ret_len)
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

size_t width_count(struct str text)
{
    size_t columns = 0;
    while (text.len > 0) {
        size_t len;
        columns += width_of(decode(text, &len));
        text.ptr += len;
        text.len -= len;
    }
    return columns;
}

/* The longest front of text that fits, with the marks that belong to its last character. */
static struct str front(struct str text, size_t columns)
{
    size_t used = 0;
    while (used < text.len) {
        size_t len;
        size_t width = width_of(decode((struct str){text.ptr + used, text.len - used}, &len));
        if (width > columns) {
            break;
        }
        columns -= width;
        used += len;
    }
    return (struct str){text.ptr, used};
}

/* The longest back of text that fits and begins with a character that stands for itself. */
static struct str back(struct str text, size_t columns)
{
    size_t total = width_count(text);
    size_t skipped = 0;
    while (text.len > 0) {
        size_t len;
        size_t width = width_of(decode(text, &len));
        if (width > 0 && total - skipped <= columns) {
            break;
        }
        skipped += width;
        text.ptr += len;
        text.len -= len;
    }
    return text;
}

size_t width_cut(struct str text, size_t columns, struct buf *out)
{
    size_t width = width_count(text);
    if (width <= columns) {
        buf_str(out, text);
        return width;
    }
    struct str end = back(text, (columns - 1) * 2 / 5);
    size_t end_width = width_count(end);
    struct str begin = front(text, columns - 1 - end_width);
    buf_str(out, begin);
    buf_puts(out, "…");
    buf_str(out, end);
    return width_count(begin) + 1 + end_width;
}

void width_pad(size_t columns, struct buf *out)
{
    for (; columns > 0; columns--) {
        buf_char(out, ' ');
    }
}
