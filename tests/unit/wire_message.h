/*
 * Tests: writes messages of Protocol Buffers field by field, and walks them again: by itself, so that it
 * may be compared with decoders and libraries. Knows which messages of dwell.proto hold which.
 */
#ifndef DWELL_TESTS_WIRE_MESSAGE_H
#define DWELL_TESTS_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire_recorder.h"

enum { WIRE_BYTES_MAX = 1 << 20 }; /* what each writer must have room for */

struct writer {
    uint8_t *bytes;
    size_t len;
};

void put_byte(struct writer *writer, unsigned byte);
void put_varint(struct writer *writer, uint64_t number);
void put_tag(struct writer *writer, unsigned number, unsigned kind);
void put_bytes(struct writer *writer, unsigned number, const void *bytes, size_t len);
void put_text(struct writer *writer, unsigned number, const char *text);
void put_fixed64(struct writer *writer, unsigned number, uint64_t bits);
void put_fixed32(struct writer *writer, unsigned number, uint32_t bits);
void put_double(struct writer *writer, unsigned number, double value);
void put_number(struct writer *writer, unsigned number, uint64_t value);

/* Makes what was written since the writer had `start` bytes a message in this field. */
void close_message(struct writer *writer, size_t start, unsigned number);

struct str written(const struct writer *writer);

struct scanner {
    const uint8_t *at;
    const uint8_t *end;
};

struct field {
    uint64_t number;
    unsigned kind;
    struct scanner body; /* of kind 2 */
};

/* Takes the next field; false when there is none that is sound. */
bool scan_field(struct scanner *scanner, struct field *ret_field);

enum message {
    BATCH,
    SAMPLE,
    LABEL,
    METRIC,
    ATTRIBUTE,
    SPAN,
    KEY_VALUE,
    ANY_VALUE,
    ARRAY,
    PAIRS,
    EVENT,
    LINK,
    STATUS,
    HELLO,
    OTHER, /* holds no message, and is not told apart */
};

/* Whether a field of a message holds one, and which. */
bool is_message(enum message outer, uint64_t field, enum message *ret_inner);

/* True when every field of a message can be walked, and of the messages in it. `lists` counts those
 * around it in an attribute: into the ones that are too deep nobody looks. */
bool is_sound(struct scanner bytes, enum message message, int lists);

#endif
