#include "wire/reply.h"

#include "base/err.h"

/*
 * 4 bytes       the length of what follows, little-endian
 * 08 varint     flushed
 * or
 * 10 varint     acknowledged
 * or
 * 28 00 or 01   acknowledging
 * or
 * 1a len text   error, a sentence
 * 22 len text   reason, a word
 */
enum {
    TAG_FLUSHED = 1 << 3 | 0,
    TAG_ACKNOWLEDGED = 2 << 3 | 0,
    TAG_ERROR = 3 << 3 | 2,
    TAG_REASON = 4 << 3 | 2,
    TAG_ACKNOWLEDGING = 5 << 3 | 0,
    VARINT_MAX = 10, /* bytes of a 64-bit number, 7 bits to each */
};

static size_t write_varint(uint8_t *out, uint64_t number)
{
    size_t len = 0;
    while (number >= 0x80) {
        out[len++] = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    out[len++] = (uint8_t)number;
    return len;
}

static void append_varint(struct buf *out, uint64_t number)
{
    uint8_t bytes[VARINT_MAX];
    buf_append(out, bytes, write_varint(bytes, number));
}

static size_t count_varint(uint64_t number)
{
    uint8_t bytes[VARINT_MAX];
    return write_varint(bytes, number);
}

static void append_length(struct buf *out, size_t len)
{
    uint8_t bytes[4] = {(uint8_t)len, (uint8_t)(len >> 8), (uint8_t)(len >> 16),
                        (uint8_t)(len >> 24)};
    buf_append(out, bytes, sizeof bytes);
}

static void append_text(struct buf *out, char tag, struct str text)
{
    buf_char(out, tag);
    append_varint(out, text.len);
    buf_str(out, text);
}

static void render_number(struct buf *out, char tag, uint64_t number)
{
    append_length(out, 1 + count_varint(number));
    buf_char(out, tag);
    append_varint(out, number);
}

void reply_render_flushed(struct buf *out, uint64_t applied)
{
    render_number(out, TAG_FLUSHED, applied);
}

void reply_render_acknowledging(struct buf *out, bool will)
{
    render_number(out, TAG_ACKNOWLEDGING, will);
}

void reply_render_acknowledged(struct buf *out, uint64_t number)
{
    render_number(out, TAG_ACKNOWLEDGED, number);
}

void reply_render_error(struct buf *out, int err)
{
    struct str error = str_of(err_sentence(err));
    struct str reason = str_of(err_label(err));
    append_length(out, 1 + count_varint(error.len) + error.len + 1 + count_varint(reason.len) +
                           reason.len);
    append_text(out, TAG_ERROR, error);
    append_text(out, TAG_REASON, reason);
}
