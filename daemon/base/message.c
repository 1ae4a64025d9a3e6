#include "base/message.h"

#include <assert.h>
#include <endian.h>
#include <math.h>

enum { VARINT_MAX = 10 }; /* bytes: 64 bits, 7 at a time */

enum wire_type { WIRE_VARINT = 0, WIRE_64_BITS = 1, WIRE_BYTES = 2, WIRE_32_BITS = 5 };

#define NORMAL_NAN UINT64_C(0x7FF8000000000001)

static size_t write_varint(char *out, uint64_t number)
{
    size_t len = 0;
    while (number > 0x7F) {
        out[len++] = (char)(number | 0x80);
        number >>= 7;
    }
    out[len++] = (char)number;
    return len;
}

void message_varint(struct buf *out, uint64_t number)
{
    char *at = buf_reserve(out, VARINT_MAX);
    if (at != NULL) {
        out->len += write_varint(at, number);
    }
}

static void write_tag(struct buf *out, unsigned field, enum wire_type type)
{
    message_varint(out, field << 3 | type);
}

void message_u64(struct buf *out, unsigned field, uint64_t number)
{
    write_tag(out, field, WIRE_VARINT);
    message_varint(out, number);
}

/* 0, -1, 1, -2, … become 0, 1, 2, 3, … */
void message_sint(struct buf *out, unsigned field, int64_t number)
{
    uint64_t sign = number < 0 ? UINT64_MAX : 0;
    message_u64(out, field, (uint64_t)number << 1 ^ sign);
}

void message_i64(struct buf *out, unsigned field, int64_t number)
{
    message_u64(out, field, (uint64_t)number);
}

void message_fixed64(struct buf *out, unsigned field, uint64_t number)
{
    uint64_t bits = htole64(number);
    write_tag(out, field, WIRE_64_BITS);
    buf_append(out, &bits, sizeof bits);
}

void message_write_double(char out[MESSAGE_DOUBLE_BYTES], double number)
{
    uint64_t bits = NORMAL_NAN;
    if (!isnan(number)) {
        memcpy(&bits, &number, sizeof bits);
    }
    bits = htole64(bits);
    memcpy(out, &bits, sizeof bits);
}

void message_double(struct buf *out, unsigned field, double number)
{
    write_tag(out, field, WIRE_64_BITS);
    char *at = buf_reserve(out, MESSAGE_DOUBLE_BYTES);
    if (at != NULL) {
        message_write_double(at, number);
        out->len += MESSAGE_DOUBLE_BYTES;
    }
}

void message_fixed32(struct buf *out, unsigned field, uint32_t number)
{
    write_tag(out, field, WIRE_32_BITS);
    number = htole32(number);
    buf_append(out, &number, sizeof number);
}

void message_str(struct buf *out, unsigned field, struct str text)
{
    write_tag(out, field, WIRE_BYTES);
    message_varint(out, text.len);
    buf_str(out, text);
}

size_t message_begin(struct buf *out, unsigned field)
{
    write_tag(out, field, WIRE_BYTES);
    buf_char(out, 0);
    return out->len;
}

void message_end(struct buf *out, size_t begin)
{
    char length[VARINT_MAX];
    if (out->err != 0) {
        return; /* begin may be of what was never written */
    }
    size_t len = out->len - begin;
    size_t extra = write_varint(length, len) - 1;
    if (extra > 0) {
        if (buf_reserve(out, extra) == NULL) {
            return;
        }
        memmove(out->data + begin + extra, out->data + begin, len);
        out->len += extra;
    }
    memcpy(out->data + begin - 1, length, extra + 1);
}

size_t message_begin_long(struct buf *out, unsigned field)
{
    static const char room[MESSAGE_LONG_BYTES] = {0};
    write_tag(out, field, WIRE_BYTES);
    buf_append(out, room, sizeof room);
    return out->len;
}

void message_set_long(struct buf *out, size_t begin, size_t len)
{
    if (out->err != 0) {
        return; /* begin may be of what was never written */
    }
    assert(len <= MESSAGE_LONG_MAX);
    for (unsigned i = 0; i < MESSAGE_LONG_BYTES; i++) {
        bool more = i + 1 < MESSAGE_LONG_BYTES;
        size_t at = begin - MESSAGE_LONG_BYTES + i;
        out->data[at] = (char)((len >> 7 * i & 0x7F) | (more ? 0x80 : 0));
    }
}

void message_end_long(struct buf *out, size_t begin)
{
    message_set_long(out, begin, out->len - begin);
}
