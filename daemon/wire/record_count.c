#include "wire/record_count.h"

#include "wire/field.h"
#include "wire/sniff.h"

/* Fields of a Batch that are records: samples, spans, metrics, time budgets. */
#define RECORD_FIELDS (FIELD(8) | FIELD(13) | FIELD(14) | FIELD(15))

/* Fields of other kinds than bytes are of the batch's head, and short. */
static const uint8_t *skip(const uint8_t *at, const uint8_t *end, uint32_t tag)
{
    uint64_t number;
    uint32_t half;
    struct piece piece;
    switch (tag & 7) {
    case KIND_VARINT:
        return field_read_number(at, end, &number);
    case KIND_FIXED64:
        return field_read_fixed64(at, end, &number);
    case KIND_BYTES:
        return field_read_bytes(at, end, &piece);
    case KIND_FIXED32:
        return field_read_fixed32(at, end, &half);
    default:
        return NULL;
    }
}

static size_t count_fields(struct str batch)
{
    const uint8_t *at = (const uint8_t *)batch.ptr;
    const uint8_t *end = at + batch.len;
    size_t count = 0;
    while (at != NULL && at < end) {
        uint32_t tag;
        at = field_read_tag(at, end, &tag);
        at = at == NULL ? NULL : skip(at, end, tag);
        count += at != NULL && tag >> 3 < 32 && (RECORD_FIELDS & FIELD(tag >> 3)) != 0;
    }
    return count;
}

static size_t count_lines(struct str text)
{
    size_t count = 0;
    while (text.len > 0) {
        const char *newline = memchr(text.ptr, '\n', text.len);
        size_t len = newline == NULL ? text.len : (size_t)(newline - text.ptr);
        size_t past = len + (newline != NULL);
        count += len > 0;
        text = (struct str){text.ptr + past, text.len - past};
    }
    return count;
}

size_t record_count(struct str datagram)
{
    if (sniff_datagram(datagram) == WIRE_FRAMES) {
        return count_fields(
            (struct str){datagram.ptr + WIRE_MAGIC_BYTES, datagram.len - WIRE_MAGIC_BYTES});
    }
    return count_lines(datagram);
}
