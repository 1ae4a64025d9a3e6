#include "wire_message.h"

void put_byte(struct writer *writer, unsigned byte)
{
    WIRE_REQUIRE(writer->len < WIRE_BYTES_MAX);
    writer->bytes[writer->len++] = (uint8_t)byte;
}

void put_varint(struct writer *writer, uint64_t number)
{
    while (number >= 0x80) {
        put_byte(writer, (unsigned)(number & 0x7F) | 0x80);
        number >>= 7;
    }
    put_byte(writer, (unsigned)number);
}

void put_tag(struct writer *writer, unsigned number, unsigned kind)
{
    put_varint(writer, number << 3 | kind);
}

void put_bytes(struct writer *writer, unsigned number, const void *bytes, size_t len)
{
    put_tag(writer, number, 2);
    put_varint(writer, len);
    for (size_t i = 0; i < len; i++) {
        put_byte(writer, ((const uint8_t *)bytes)[i]);
    }
}

void put_text(struct writer *writer, unsigned number, const char *text)
{
    put_bytes(writer, number, text, strlen(text));
}

void put_fixed64(struct writer *writer, unsigned number, uint64_t bits)
{
    put_tag(writer, number, 1);
    for (unsigned i = 0; i < 8; i++) {
        put_byte(writer, bits >> 8 * i & 0xFF);
    }
}

void put_fixed32(struct writer *writer, unsigned number, uint32_t bits)
{
    put_tag(writer, number, 5);
    for (unsigned i = 0; i < 4; i++) {
        put_byte(writer, bits >> 8 * i & 0xFF);
    }
}

void put_double(struct writer *writer, unsigned number, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_fixed64(writer, number, bits);
}

void put_number(struct writer *writer, unsigned number, uint64_t value)
{
    put_tag(writer, number, 0);
    put_varint(writer, value);
}

struct str written(const struct writer *writer)
{
    return (struct str){(const char *)writer->bytes, writer->len};
}

void close_message(struct writer *writer, size_t start, unsigned number)
{
    uint8_t bytes[16];
    struct writer head = {bytes, 0};
    size_t len = writer->len - start;
    put_tag(&head, number, 2);
    put_varint(&head, len);
    WIRE_REQUIRE(writer->len + head.len <= WIRE_BYTES_MAX);
    memmove(writer->bytes + start + head.len, writer->bytes + start, len);
    memcpy(writer->bytes + start, bytes, head.len);
    writer->len += head.len;
}

static bool scan_varint(struct scanner *scanner, int max_bytes, uint64_t *ret_number)
{
    *ret_number = 0;
    for (int i = 0; i < max_bytes && scanner->at < scanner->end; i++) {
        uint8_t byte = *scanner->at++;
        *ret_number |= (uint64_t)(byte & 0x7F) << 7 * i;
        if ((byte & 0x80) == 0) {
            return i < 9 || byte < 2; /* the library cuts what is more than 64 bits */
        }
    }
    return false;
}

bool scan_field(struct scanner *scanner, struct field *ret_field)
{
    uint64_t tag = 0;
    uint64_t value = 8;
    if (!scan_varint(scanner, 5, &tag) || tag > UINT32_MAX || tag >> 3 == 0) {
        return false;
    }
    *ret_field = (struct field){tag >> 3, tag & 7, *scanner};
    if (ret_field->kind == 0) {
        return scan_varint(scanner, 10, &value);
    }
    if (ret_field->kind == 5) {
        value = 4;
    } else if (ret_field->kind == 2 && !scan_varint(scanner, 5, &value)) {
        return false;
    }
    if (ret_field->kind > 5 || ret_field->kind == 3 || ret_field->kind == 4 ||
        value > (uint64_t)(scanner->end - scanner->at)) {
        return false;
    }
    ret_field->body = (struct scanner){scanner->at, scanner->at + value};
    scanner->at += value;
    return true;
}

/* The messages that a message holds, by field. */
static const struct {
    enum message outer;
    unsigned field;
    enum message inner;
} nestings[] = {
    {BATCH, 8, SAMPLE},     {BATCH, 9, HELLO},         {BATCH, 10, OTHER},    {BATCH, 11, OTHER},
    {BATCH, 13, SPAN},      {BATCH, 14, METRIC},       {BATCH, 15, OTHER},    {SAMPLE, 15, LABEL},
    {METRIC, 5, ATTRIBUTE}, {SPAN, 9, KEY_VALUE},      {SPAN, 11, EVENT},     {SPAN, 13, LINK},
    {SPAN, 15, STATUS},     {EVENT, 3, KEY_VALUE},     {LINK, 4, KEY_VALUE},  {ARRAY, 1, ANY_VALUE},
    {PAIRS, 1, KEY_VALUE},  {KEY_VALUE, 2, ANY_VALUE}, {ANY_VALUE, 5, ARRAY}, {ANY_VALUE, 6, PAIRS},
};

bool is_message(enum message outer, uint64_t field, enum message *ret_inner)
{
    for (size_t i = 0; i < sizeof nestings / sizeof nestings[0]; i++) {
        if (nestings[i].outer == outer && nestings[i].field == field) {
            *ret_inner = nestings[i].inner;
            return true;
        }
    }
    return false;
}

static bool is_bool(enum message message, uint64_t field)
{
    return (message == SAMPLE && field == 8) || (message == ANY_VALUE && field == 2) ||
           (message == HELLO && field == 6);
}

bool is_sound(struct scanner bytes, enum message message, int lists)
{
    struct field field;
    enum message inner = OTHER;
    lists += message == ARRAY || message == PAIRS;
    if (lists > SPAN_DEPTH_MAX) {
        return true;
    }
    while (bytes.at < bytes.end) {
        if (!scan_field(&bytes, &field)) {
            return false;
        }
        if (is_bool(message, field.number) && field.kind != 0) {
            return false;
        }
        if (field.kind == 2 && is_message(message, field.number, &inner) &&
            !is_sound(field.body, inner, lists)) {
            return false;
        }
    }
    return true;
}
