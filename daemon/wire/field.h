/*
 * Reads the fields that a message of Protocol Buffers is made of (their "Encoding" page), in place: a
 * tag, which is the varint number << 3 | kind, and a value. It knows no message.
 *
 * Readers take a place and the end of the message, and return where to go on, or NULL for damage:
 * they never look at or past the end. One thread at a time for each message.
 */
#ifndef DWELL_WIRE_FIELD_H
#define DWELL_WIRE_FIELD_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/record.h"

enum field_kind { KIND_VARINT = 0, KIND_FIXED64 = 1, KIND_BYTES = 2, KIND_FIXED32 = 5 };

enum {
    FIELD_SHORT_VARINT_MAX = 5, /* bytes of a tag or a length */
    FIELD_VARINT_MAX = 10,      /* bytes of any other number */
};

#define TAG(number, kind) ((uint32_t)(number) << 3 | (uint32_t)(kind))

/* Sets of field numbers below 32. */
#define FIELD(number)       (UINT32_C(1) << (number))
#define FIELDS(first, last) ((UINT32_C(2) << (last)) - FIELD(first))

/* What is left of a message. */
struct piece {
    const uint8_t *at;
    const uint8_t *end;
};

static inline const uint8_t *field_read_varint(const uint8_t *at, const uint8_t *end,
                                               unsigned max_bytes, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < max_bytes && at < end; i++) {
        uint8_t byte = *at++;
        number |= (uint64_t)(byte & 0x7F) << 7 * i;
        if (byte < 0x80) {
            bool fits =
                i + 1 < FIELD_VARINT_MAX || byte < 2; /* into 64 bits: others insist on it */
            *ret_number = number;
            return fits ? at : NULL;
        }
    }
    return NULL;
}

static inline const uint8_t *field_read_number(const uint8_t *at, const uint8_t *end,
                                               uint64_t *ret_number)
{
    if (at < end && *at < 0x80) {
        *ret_number = *at;
        return at + 1;
    }
    return field_read_varint(at, end, FIELD_VARINT_MAX, ret_number);
}

/* A tag: 32 bits at most. The caller has seen that there is a byte. */
static inline const uint8_t *field_read_tag(const uint8_t *at, const uint8_t *end,
                                            uint32_t *ret_tag)
{
    if (*at < 0x80) {
        *ret_tag = *at;
        return at + 1;
    }
    uint64_t number = 0;
    at = field_read_varint(at, end, FIELD_SHORT_VARINT_MAX, &number);
    if (at == NULL || number > UINT32_MAX) {
        return NULL;
    }
    *ret_tag = (uint32_t)number;
    return at;
}

/* A length and the bytes it speaks of. */
static inline const uint8_t *field_read_bytes(const uint8_t *at, const uint8_t *end,
                                              struct piece *ret_piece)
{
    uint64_t len = 0;
    if (at < end && *at < 0x80) {
        len = *at++;
    } else {
        at = field_read_varint(at, end, FIELD_SHORT_VARINT_MAX, &len);
        if (at == NULL) {
            return NULL;
        }
    }
    if (len > (uint64_t)(end - at)) {
        return NULL;
    }
    *ret_piece = (struct piece){at, at + len};
    return at + len;
}

static inline const uint8_t *field_read_text(const uint8_t *at, const uint8_t *end,
                                             struct str *ret_text)
{
    struct piece piece;
    at = field_read_bytes(at, end, &piece);
    if (at != NULL) {
        *ret_text = (struct str){(const char *)piece.at, (size_t)(piece.end - piece.at)};
    }
    return at;
}

static inline const uint8_t *field_read_fixed64(const uint8_t *at, const uint8_t *end,
                                                uint64_t *ret_number)
{
    if (end - at < 8) {
        return NULL;
    }
    memcpy(ret_number, at, 8);
    *ret_number = le64toh(*ret_number);
    return at + 8;
}

static inline const uint8_t *field_read_fixed32(const uint8_t *at, const uint8_t *end,
                                                uint32_t *ret_number)
{
    if (end - at < 4) {
        return NULL;
    }
    memcpy(ret_number, at, 4);
    *ret_number = le32toh(*ret_number);
    return at + 4;
}

static inline const uint8_t *field_read_double(const uint8_t *at, const uint8_t *end,
                                               double *ret_number)
{
    uint64_t bits = 0;
    at = field_read_fixed64(at, end, &bits);
    if (at != NULL) {
        memcpy(ret_number, &bits, sizeof bits);
    }
    return at;
}

/* Bytes of a fixed length; of another one they are no damage, but not good, and not stored. */
const uint8_t *field_read_id(const uint8_t *at, const uint8_t *end, size_t len, bool *ret_good,
                             uint8_t *ret_id);

/* Skips a field that no case of the message's reader took, and tells the sink "Message.number". NULL
 * when it is damage: a known number with another kind, number 0, a group, a value past the end. */
const uint8_t *field_skip_unknown(const uint8_t *at, const uint8_t *end, uint32_t tag,
                                  const char *message, uint32_t known,
                                  const struct record_sink *sink);

#endif
