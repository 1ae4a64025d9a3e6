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

#include "base/buf.h"

enum {
    MESSAGE_DOUBLE_BYTES = 8,
    MESSAGE_LONG_BYTES = 4,
    MESSAGE_LONG_MAX = (1 << 28) - 1, /* bytes: 7 bits in each of the four */
};

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

#endif
