/*
 * A message on the way down holds some fields that lead further and others that are copied. Each is
 * walked twice, for its new length and for its bytes, once for every level above it: five at most.
 */
#include "render/otlp_slice.h"

#include <stdbool.h>

#include "base/err.h"
#include "base/message.h"

enum { LEVELS_MAX = 5, FIELDS_MAX = 32 };

#define FIELD(number) (UINT32_C(1) << (number))

/* The fields of each level that lead to what is counted, which the last one holds (proto/otlp.proto). */
static const uint32_t levels_of[][LEVELS_MAX + 1] = {
    /* resource_spans, scope_spans, spans */
    [OTLP_SLICE_SPANS] = {FIELD(1), FIELD(2), FIELD(2), 0},
    /* resource_metrics, scope_metrics, metrics; gauge, sum, histogram, exponential_histogram;
     * data_points */
    [OTLP_SLICE_POINTS] = {FIELD(1), FIELD(2), FIELD(2), FIELD(5) | FIELD(7) | FIELD(9) | FIELD(10),
                           FIELD(1), 0},
};
_Static_assert(sizeof levels_of / sizeof levels_of[0] == OTLP_SLICE_COUNT, "one each");

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

/* Which spans or points: counted over the whole request. */
struct range {
    uint64_t first, end;
    uint64_t seen;
};

/* What a message becomes. */
struct cut {
    size_t len;
    uint64_t count; /* of spans or points in it */
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

static bool leads_on(const struct field *field, uint32_t level)
{
    return field->number > 0 && field->number < FIELDS_MAX && (level & FIELD(field->number)) != 0;
}

static void copy(struct str bytes, struct cut *cut, struct buf *out)
{
    cut->len += bytes.len;
    if (out != NULL) {
        buf_append(out, bytes.ptr, bytes.len);
    }
}

static int walk(struct str message, const uint32_t *levels, struct range *range,
                struct cut *ret_cut, struct buf *out);

/* A field that leads on. Returns 0 or ERR_SYNTAX. */
static int walk_inner(const struct field *field, const uint32_t *levels, struct range *range,
                      struct cut *cut, struct buf *out)
{
    struct range again = *range;
    struct cut inner;
    int err = walk(field->bytes, levels + 1, range, &inner, NULL);
    if (err != 0 || inner.count == 0) {
        return err;
    }
    uint64_t tag = field->number << 3 | TYPE_BYTES;
    cut->len += message_varint_bytes(tag) + message_varint_bytes(inner.len) + inner.len;
    cut->count += inner.count;
    if (out != NULL) {
        message_varint(out, tag);
        message_varint(out, inner.len);
        err = walk(field->bytes, levels + 1, &again, &inner, out);
    }
    return err;
}

/* What is in the range of a message: measured when `out` is NULL, else written, too. As
 * deep as there are levels. Returns 0 or ERR_SYNTAX. */
static int walk(struct str message, const uint32_t *levels, struct range *range,
                struct cut *ret_cut, struct buf *out)
{
    struct reader reader = reader_of(message);
    struct cut cut = {0};
    int err = 0;
    while (err == 0 && reader.at < reader.end) {
        struct field field;
        err = read_field(&reader, &field);
        if (err != 0 || !leads_on(&field, levels[0])) {
            copy(err == 0 ? field.whole : (struct str){NULL, 0}, &cut, out);
        } else if (levels[1] != 0) {
            err = walk_inner(&field, levels, range, &cut, out);
        } else {
            bool is_wanted = range->seen >= range->first && range->seen < range->end;
            range->seen++;
            cut.count += is_wanted;
            copy(is_wanted ? field.whole : (struct str){NULL, 0}, &cut, out);
        }
    }
    *ret_cut = cut;
    return err;
}

int otlp_slice(enum otlp_slice_kind kind, struct str request, uint64_t skip, uint64_t count,
               struct buf *out)
{
    struct range range = {.first = skip,
                          .end = count > UINT64_MAX - skip ? UINT64_MAX : skip + count};
    struct cut cut;
    int err = walk(request, levels_of[kind], &range, &cut, out);
    return err != 0 ? err : out->err;
}
