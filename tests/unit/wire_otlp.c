#include "wire_otlp.h"

#include "base/num.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

static struct reader reader_of(struct str bytes)
{
    const uint8_t *at = (const uint8_t *)bytes.ptr;
    return (struct reader){at, at + bytes.len};
}

static uint64_t read_varint(struct reader *reader)
{
    uint64_t number = 0;
    for (unsigned shift = 0;; shift += 7) {
        WIRE_REQUIRE(reader->at < reader->end && shift < 70);
        uint8_t byte = *reader->at++;
        number |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return number;
        }
    }
}

static uint64_t read_fixed(struct reader *reader, unsigned bytes)
{
    uint64_t number = 0;
    WIRE_REQUIRE(reader->end - reader->at >= (ptrdiff_t)bytes);
    for (unsigned i = 0; i < bytes; i++) {
        number |= (uint64_t)*reader->at++ << 8 * i;
    }
    return number;
}

struct field {
    unsigned number, kind;
    uint64_t value; /* of a number */
    struct str bytes;
};

static struct field read_field(struct reader *reader)
{
    uint64_t tag = read_varint(reader);
    struct field field = {.number = (unsigned)(tag >> 3), .kind = tag & 7};
    switch (field.kind) {
    case 0:
        field.value = read_varint(reader);
        break;
    case 1:
        field.value = read_fixed(reader, 8);
        break;
    case 5:
        field.value = read_fixed(reader, 4);
        break;
    default:
        WIRE_REQUIRE(field.kind == 2);
        field.bytes.len = read_varint(reader);
        field.bytes.ptr = (const char *)reader->at;
        WIRE_REQUIRE(field.bytes.len <= (size_t)(reader->end - reader->at));
        reader->at += field.bytes.len;
    }
    return field;
}

static void print_value(struct recorder *recorder, struct str value);

static void print_key_value(struct recorder *recorder, struct str pair)
{
    struct reader reader = reader_of(pair);
    struct field key = {0};
    struct field value = {0};
    while (reader.at < reader.end) {
        struct field field = read_field(&reader);
        key = field.number == 1 ? field : key;
        value = field.number == 2 ? field : value;
    }
    recorder_quote(recorder, key.bytes);
    recorder_print(recorder, "=");
    print_value(recorder, value.bytes);
}

static void print_list(struct recorder *recorder, struct str list, bool of_keys)
{
    struct reader reader = reader_of(list);
    const char *space = "";
    recorder_print(recorder, of_keys ? "{" : "[");
    while (reader.at < reader.end) {
        struct field field = read_field(&reader);
        recorder_print(recorder, "%s", space);
        space = " ";
        if (of_keys) {
            print_key_value(recorder, field.bytes);
        } else {
            print_value(recorder, field.bytes);
        }
    }
    recorder_print(recorder, of_keys ? "}" : "]");
}

static void print_hex(struct recorder *recorder, struct str bytes)
{
    recorder_print(recorder, "0x");
    for (size_t i = 0; i < bytes.len; i++) {
        recorder_print(recorder, "%02x", (unsigned)(uint8_t)bytes.ptr[i]);
    }
}

static void print_double(struct recorder *recorder, uint64_t bits)
{
    double number;
    char digits[NUM_DOUBLE_MAX];
    memcpy(&number, &bits, sizeof number);
    size_t len = num_write_double(digits, number);
    recorder_print(recorder, "%.*s", (int)len, digits);
}

/* The last field of a value is what it is. */
static void print_value(struct recorder *recorder, struct str value)
{
    struct reader reader = reader_of(value);
    struct field field = {0};
    while (reader.at < reader.end) {
        field = read_field(&reader);
    }
    switch (field.number) {
    case 1:
        recorder_quote(recorder, field.bytes);
        break;
    case 2:
        recorder_print(recorder, field.value != 0 ? "true" : "false");
        break;
    case 3:
        recorder_print(recorder, "%lld", (long long)field.value);
        break;
    case 4:
        print_double(recorder, field.value);
        break;
    case 5:
    case 6:
        print_list(recorder, field.bytes, field.number == 6);
        break;
    case 7:
        print_hex(recorder, field.bytes);
        break;
    default:
        break;
    }
}

void wire_print_attribute(struct recorder *recorder, struct str field, unsigned number)
{
    struct reader reader = reader_of(field);
    struct field found = read_field(&reader);
    WIRE_REQUIRE(found.number == number && found.kind == 2 && reader.at == reader.end);
    print_key_value(recorder, found.bytes);
}

enum { CHILD_FIELDS = 6 }; /* of a link; an event has fewer */

static void print_child_field(struct recorder *recorder, const struct field *field, bool is_link)
{
    unsigned attributes = is_link ? 4 : 3;
    recorder_print(recorder, "%u=", field->number);
    if (field->number == attributes) {
        recorder_print(recorder, "{");
        print_key_value(recorder, field->bytes);
        recorder_print(recorder, "}");
    } else if (is_link && field->number < 3) {
        print_hex(recorder, field->bytes);
    } else if (field->kind == 2) {
        recorder_quote(recorder, field->bytes);
    } else {
        recorder_print(recorder, "%llu", (unsigned long long)field->value);
    }
}

/* By number, and not the count: `dropped` is the one that counts. */
void wire_print_child(struct recorder *recorder, const struct span_child *child, bool is_link)
{
    const char *space = "";
    recorder_print(recorder, "{");
    for (unsigned number = 1; number <= CHILD_FIELDS; number++) {
        struct reader reader = reader_of(child->body);
        while (reader.at < reader.end) {
            struct field field = read_field(&reader);
            WIRE_REQUIRE(field.number >= 1 && field.number <= (is_link ? 6U : 4U));
            if (field.number == number && number != (is_link ? 5U : 4U)) {
                recorder_print(recorder, "%s", space);
                space = " ";
                print_child_field(recorder, &field, is_link);
            }
        }
    }
    if (child->dropped > 0) {
        recorder_print(recorder, "%sdropped=%u", space, child->dropped);
    }
    recorder_print(recorder, "}");
}
