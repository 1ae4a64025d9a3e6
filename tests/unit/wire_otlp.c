#include "wire_otlp.h"

#include <endian.h>

#include "base/message.h"
#include "base/num.h"

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

static struct reader reader_of(struct str bytes)
{
    const uint8_t *at = (const uint8_t *)(bytes.len > 0 ? bytes.ptr : "");
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

void wire_require_attribute(const struct span_attribute *attribute)
{
    struct reader outer = reader_of(attribute->field);
    struct reader pair = reader_of(read_field(&outer).bytes);
    struct str key = {NULL, 0};
    struct field last = {0};
    while (pair.at < pair.end) {
        struct field field = read_field(&pair);
        key = field.number == 1 ? field.bytes : key;
        struct reader value = reader_of(field.number == 2 ? field.bytes : (struct str){NULL, 0});
        while (value.at < value.end) {
            last = read_field(&value);
        }
    }
    WIRE_REQUIRE(str_equal(attribute->key, key));
    WIRE_REQUIRE(attribute->is_text == (last.number == 1));
    WIRE_REQUIRE(!attribute->is_text || str_equal(attribute->text, last.bytes));
}

static void write_fixed(struct buf *out, unsigned field, uint64_t bits, size_t bytes)
{
    bits = htole64(bits);
    message_varint(out, field << 3 | (bytes == 8 ? 1 : 5));
    buf_append(out, &bits, bytes);
}

static void write_children(struct buf *out, unsigned field, const struct span_child *children,
                           uint32_t count, unsigned dropped_field)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t child = message_begin(out, field);
        buf_append(out, children[i].body.ptr, children[i].body.len);
        message_u64(out, dropped_field, children[i].dropped);
        message_end(out, child);
    }
}

void wire_write_span(struct buf *out, const struct span *span)
{
    size_t whole = message_begin(out, 13);
    message_str(out, 1, (struct str){(const char *)span->trace_id, sizeof span->trace_id});
    message_str(out, 2, (struct str){(const char *)span->span_id, sizeof span->span_id});
    message_str(out, 3, span->trace_state);
    message_str(out, 4, (struct str){(const char *)span->parent_id, sizeof span->parent_id});
    message_str(out, 5, span->name);
    message_u64(out, 6, span->kind);
    write_fixed(out, 7, span->start_wall_ns, 8);
    write_fixed(out, 8, span->end_wall_ns, 8);
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        buf_append(out, span->attributes[i].field.ptr, span->attributes[i].field.len);
    }
    message_u64(out, 10, span->dropped_attributes);
    write_children(out, 11, span->events, span->event_count, 4);
    message_u64(out, 12, span->dropped_events);
    write_children(out, 13, span->links, span->link_count, 5);
    message_u64(out, 14, span->dropped_links);
    size_t status = message_begin(out, 15);
    message_str(out, 2, span->status_message);
    message_u64(out, 3, span->status);
    message_end(out, status);
    if (span->has_flags) {
        write_fixed(out, 16, span->flags, 4);
    }
    message_u64(out, 100, span->part);
    message_str(out, 101, span->service_name);
    message_end(out, whole);
    WIRE_REQUIRE(out->err == 0);
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
