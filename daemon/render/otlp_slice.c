#include "render/otlp_slice.h"

#include <stdbool.h>

#include "base/err.h"
#include "render/otlp_trace.h"

/* As in otlp_trace.h. */
enum { RESOURCE_SPANS = 1, RESOURCE = 1, SCOPE_SPANS = 2, SCOPE = 1, SPANS = 2 };

enum { TYPE_VARINT, TYPE_FIXED64, TYPE_BYTES, TYPE_FIXED32 = 5 };

/* What is left to read. */
struct reader {
    const char *at, *end;
};

struct field {
    uint64_t number;  /* 0: of a type without bytes, to be skipped */
    struct str whole; /* with tag and length */
    struct str bytes;
};

/* Which spans: counted over the whole request. */
struct range {
    uint64_t first, end;
    uint64_t seen;
};

static struct reader reader_of(struct str bytes)
{
    return (struct reader){bytes.ptr, bytes.ptr + bytes.len};
}

static int read_varint(struct reader *reader, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        unsigned char byte = (unsigned char)*reader->at++;
        number |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret_number = number;
            return 0;
        }
    }
    return ERR_SYNTAX;
}

/* There must be a byte left. Returns 0 or ERR_SYNTAX. */
static int read_field(struct reader *reader, struct field *ret_field)
{
    const char *begin = reader->at;
    uint64_t tag;
    uint64_t len = 0;
    int err = read_varint(reader, &tag);
    if (err != 0) {
        return err;
    }
    switch (tag & 7) {
    case TYPE_VARINT: {
        uint64_t ignored;
        err = read_varint(reader, &ignored);
        break;
    }
    case TYPE_FIXED64:
        len = 8;
        break;
    case TYPE_FIXED32:
        len = 4;
        break;
    case TYPE_BYTES:
        err = read_varint(reader, &len);
        break;
    default:
        err = ERR_SYNTAX;
    }
    if (err != 0 || len > (uint64_t)(reader->end - reader->at)) {
        return ERR_SYNTAX;
    }
    *ret_field = (struct field){.number = (tag & 7) == TYPE_BYTES ? tag >> 3 : 0,
                                .bytes = {reader->at, (size_t)len}};
    reader->at += len;
    ret_field->whole = (struct str){begin, (size_t)(reader->at - begin)};
    return 0;
}

/* The first field of this number; empty when there is none. Returns 0 or ERR_SYNTAX. */
static int find_field(struct str message, uint64_t number, struct str *ret_whole)
{
    struct reader reader = reader_of(message);
    struct field field;
    *ret_whole = (struct str){NULL, 0};
    while (reader.at < reader.end) {
        int err = read_field(&reader, &field);
        if (err != 0) {
            return err;
        }
        if (field.number == number && ret_whole->len == 0) {
            *ret_whole = field.whole;
        }
    }
    return 0;
}

/* Spans of one scope in the range: measured when `out` is NULL, else written. */
static int walk_spans(struct str scope_spans, struct range *range, struct otlp_spans *group,
                      struct buf *out)
{
    struct reader reader = reader_of(scope_spans);
    struct field field;
    while (reader.at < reader.end) {
        int err = read_field(&reader, &field);
        if (err != 0) {
            return err;
        }
        if (field.number != SPANS) {
            continue;
        }
        bool is_wanted = range->seen >= range->first && range->seen < range->end;
        range->seen++;
        if (is_wanted && out == NULL) {
            group->spans_bytes += otlp_trace_span_size(field.bytes.len);
        } else if (is_wanted) {
            otlp_trace_span(field.bytes, out);
        }
    }
    return 0;
}

static int slice_scope(struct str resource, struct str scope_spans, struct range *range,
                       struct buf *out)
{
    struct range again = *range;
    struct otlp_spans group = {.resource = resource};
    int err = find_field(scope_spans, SCOPE, &group.scope);
    if (err == 0) {
        err = walk_spans(scope_spans, range, &group, NULL);
    }
    if (err == 0 && group.spans_bytes > 0) {
        otlp_trace_begin(&group, out);
        err = walk_spans(scope_spans, &again, &group, out);
    }
    return err;
}

static int slice_resource(struct str resource_spans, struct range *range, struct buf *out)
{
    struct reader reader = reader_of(resource_spans);
    struct field field;
    struct str resource;
    int err = find_field(resource_spans, RESOURCE, &resource);
    while (err == 0 && reader.at < reader.end) {
        err = read_field(&reader, &field);
        if (err == 0 && field.number == SCOPE_SPANS) {
            err = slice_scope(resource, field.bytes, range, out);
        }
    }
    return err;
}

int otlp_slice(struct str request, uint64_t skip, uint64_t count, struct buf *out)
{
    struct reader reader = reader_of(request);
    struct range range = {.first = skip,
                          .end = count > UINT64_MAX - skip ? UINT64_MAX : skip + count};
    struct field field;
    int err = 0;
    while (err == 0 && reader.at < reader.end) {
        err = read_field(&reader, &field);
        if (err == 0 && field.number == RESOURCE_SPANS) {
            err = slice_resource(field.bytes, &range, out);
        }
    }
    return err != 0 ? err : out->err;
}
