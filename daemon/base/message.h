/*
 * Protocol Buffers messages, written field by field behind each other into a struct buf ("Encoding",
 * protobuf.dev). It does not know which messages there are and reads none. Pure; any thread.
 *
 *     field     tag | value             tag: field number << 3 | wire type, a varint
 *     value     varint                  7 bits a byte, the lowest first, the highest bit: more come
 *               8 bytes                 a double, the lowest byte first
 *               length varint | bytes   text, or a message of its own
 *
 *               8 bytes                 of any kind, for fixed64
 *
 * A nested message is written in place, behind room for a length of one byte. Few need more, and
 * only those are moved:
 *
 *     size_t inner = message_begin(out, 3);
 *     message_double(out, 1, 0.5);
 *     message_end(out, inner);
 */
#ifndef DWELL_BASE_MESSAGE_H
#define DWELL_BASE_MESSAGE_H

#include <endian.h>

#include "base/buf.h"

enum {
    MESSAGE_DOUBLE_BYTES = 8,
    MESSAGE_FIXED64_BYTES = 9, /* with the tag */
    MESSAGE_LONG_BYTES = 4,
    MESSAGE_LONG_MAX = (1 << 28) - 1, /* bytes: 7 bits in each of the four */
};

/* Wire types. */
enum { MESSAGE_TYPE_FIXED64 = 1, MESSAGE_TYPE_TEXT = 2 };

/* A number alone, such as the length in front of a delimited message. */
void message_varint(struct buf *out, uint64_t number);

/* uint32, uint64 and enum */
void message_u64(struct buf *out, unsigned field, uint64_t number);

/* sint32 and sint64: small of either sign, small on the wire */
void message_sint(struct buf *out, unsigned field, int64_t number);

/* int64 */
void message_i64(struct buf *out, unsigned field, int64_t number);

/* double. A NaN is written as the one that every parser of text makes, as some of the others mean
 * something: Prometheus takes one for the end of a series. */
void message_double(struct buf *out, unsigned field, double number);

/* The bytes of a double without a tag. */
void message_write_double(char out[MESSAGE_DOUBLE_BYTES], double number);

/* fixed64 and fixed32 */
void message_fixed64(struct buf *out, unsigned field, uint64_t number);
void message_fixed32(struct buf *out, unsigned field, uint32_t number);

/* string and bytes */
void message_str(struct buf *out, unsigned field, struct str text);

/* A nested message. Returns what message_end wants; may itself be nested. */
size_t message_begin(struct buf *out, unsigned field);
void message_end(struct buf *out, size_t begin);

/* The same for one that will be long: its length takes MESSAGE_LONG_BYTES however long it is (varints
 * need not be short), so that nothing is moved and what it takes is known from the start. */
size_t message_begin_long(struct buf *out, unsigned field);
void message_end_long(struct buf *out, size_t begin);

/* The same for one whose bytes, so many, are yet to follow. */
void message_set_long(struct buf *out, size_t begin, size_t len);

/* For messages whose lengths are known before they are written, by who writes many: room is reserved once
 * (buf_reserve), and each of these writes there and returns what follows. Fields below 16, whose tag is
 * one byte. */

static inline size_t message_varint_bytes(uint64_t number)
{
    size_t bytes = 1;
    for (; number > 0x7F; number >>= 7) {
        bytes++;
    }
    return bytes;
}

/* Of a field with so much text. */
static inline size_t message_text_bytes(size_t len)
{
    return 1 + message_varint_bytes(len) + len;
}

/* The tag and the length of what follows. */
static inline char *message_put_head(char *at, unsigned field, size_t len)
{
    *at++ = (char)(field << 3 | MESSAGE_TYPE_TEXT);
    for (; len > 0x7F; len >>= 7) {
        *at++ = (char)(len | 0x80);
    }
    *at++ = (char)len;
    return at;
}

static inline char *message_put_text(char *at, unsigned field, struct str text)
{
    at = message_put_head(at, field, text.len);
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

/* MESSAGE_FIXED64_BYTES of them. */
static inline char *message_put_fixed64(char *at, unsigned field, uint64_t number)
{
    number = htole64(number);
    *at++ = (char)(field << 3 | MESSAGE_TYPE_FIXED64);
    memcpy(at, &number, sizeof number);
    return at + sizeof number;
}

#endif
