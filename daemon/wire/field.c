#include "wire/field.h"

#include "base/num.h"

const uint8_t *field_read_id(const uint8_t *at, const uint8_t *end, size_t len, bool *ret_good,
                             uint8_t *ret_id)
{
    struct piece piece;
    at = field_read_bytes(at, end, &piece);
    if (at != NULL) {
        *ret_good = (size_t)(piece.end - piece.at) == len;
        if (*ret_good) {
            memcpy(ret_id, piece.at, len);
        }
    }
    return at;
}

static void tell_unknown(const struct record_sink *sink, const char *message, uint32_t number)
{
    char key[sizeof "Attribute." + NUM_U64_MAX];
    size_t len = strlen(message);
    memcpy(key, message, len);
    key[len++] = '.';
    len += num_write_u64(key + len, number);
    sink->unknown_key(sink->ctx, (struct str){key, len});
}

const uint8_t *field_skip_unknown(const uint8_t *at, const uint8_t *end, uint32_t tag,
                                  const char *message, uint32_t known,
                                  const struct record_sink *sink)
{
    uint32_t number = tag >> 3;
    if (number == 0 || (number < 32 && (known & FIELD(number)) != 0)) {
        return NULL;
    }
    uint64_t skipped = 0;
    struct piece piece;
    switch (tag & 7) {
    case KIND_VARINT:
        at = field_read_number(at, end, &skipped);
        break;
    case KIND_FIXED64:
        at = field_read_fixed64(at, end, &skipped);
        break;
    case KIND_BYTES:
        at = field_read_bytes(at, end, &piece);
        break;
    case KIND_FIXED32:
        at = end - at < 4 ? NULL : at + 4;
        break;
    default:
        return NULL;
    }
    if (at != NULL) {
        tell_unknown(sink, message, number);
    }
    return at;
}
