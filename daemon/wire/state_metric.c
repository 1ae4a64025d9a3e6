#include <math.h>

#include "base/err.h"
#include "wire/state_part.h"

/* Of native buckets: 2^13 to each side are past the numbers that there are. */
enum { NATIVE_FIRST_MAX = 1 << 14, SCHEMA_MIN = -8, SCHEMA_MAX = 3 };

/* --- histograms -------------------------------------------------------------------------------- */

int state_read_run(struct piece piece, struct saved_run *ret)
{
    struct state_field field;
    int64_t first = 0;
    int err = 0;
    ret->len = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(RUN_FIRST, KIND_VARINT):
            first = state_sint(field.number);
            break;
        case TAG(RUN_COUNTS, KIND_BYTES):
            err = state_counts(field.bytes, ret->counts, SAVED_NATIVE_MAX, &ret->len);
            break;
        }
    }
    ret->first = (int32_t)first;
    return err != 0 || (first >= -NATIVE_FIRST_MAX && first <= NATIVE_FIRST_MAX) ? err : ERR_FRAME;
}

static bool add_all(uint64_t *total, const uint64_t *counts, uint32_t count)
{
    bool fits = true;
    for (uint32_t i = 0; fits && i < count; i++) {
        fits = state_add(total, counts[i]);
    }
    return fits;
}

/* Both kinds of buckets hold what it counts, if there are native ones. */
static bool is_histogram(const struct saved_buckets *buckets, bool is_native)
{
    uint64_t classic = 0;
    uint64_t native = 0;
    bool fits = add_all(&classic, buckets->classic, buckets->classic_count) &&
                state_add(&native, buckets->zero) &&
                add_all(&native, buckets->positive.counts, buckets->positive.len) &&
                add_all(&native, buckets->negative.counts, buckets->negative.len);
    return fits && classic == buckets->count && native == (is_native ? buckets->count : 0) &&
           isfinite(buckets->sum) && buckets->schema >= SCHEMA_MIN && buckets->schema <= SCHEMA_MAX;
}

static int read_schema(const struct state_field *field, struct saved_buckets *buckets)
{
    int64_t schema = state_sint(field->number);
    buckets->schema = (int32_t)schema;
    return schema >= SCHEMA_MIN && schema <= SCHEMA_MAX ? 0 : ERR_FRAME;
}

static int read_buckets(struct piece piece, struct saved_buckets *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_buckets){.count = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(BUCKETS_COUNT, KIND_VARINT):
            ret->count = field.number;
            break;
        case TAG(BUCKETS_SUM, KIND_FIXED64):
            ret->sum = state_double(&field);
            break;
        case TAG(BUCKETS_ZERO, KIND_VARINT):
            ret->zero = field.number;
            break;
        case TAG(BUCKETS_FIELD_SCHEMA, KIND_VARINT):
            err = read_schema(&field, ret);
            break;
        case TAG(BUCKETS_CLASSIC, KIND_BYTES):
            err = state_counts(field.bytes, ret->classic, SAVED_BOUNDS_MAX, &ret->classic_count);
            break;
        case TAG(BUCKETS_POSITIVE, KIND_BYTES):
            err = state_read_run(field.bytes, &ret->positive);
            break;
        case TAG(BUCKETS_NEGATIVE, KIND_BYTES):
            err = state_read_run(field.bytes, &ret->negative);
            break;
        }
    }
    return err;
}

/* --- series ------------------------------------------------------------------------------------ */

static int read_part(struct state_reading *reading, struct piece piece, struct saved_series *series)
{
    struct saved_part part = {0, 0};
    struct state_field field;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(PART_PROCESS, KIND_VARINT):
            part.process = (uint32_t)field.number;
            err = field.number <= reading->process_count ? 0 : ERR_FRAME;
            break;
        case TAG(PART_VALUE, KIND_FIXED64):
            part.value = state_double(&field);
            break;
        }
    }
    if (err == 0 && series->part_count == SAVED_PARTS_MAX) {
        err = ERR_LIMIT;
    }
    if (err == 0) {
        reading->parts[series->part_count++] = part;
    }
    return err;
}

/* Names and values in turn, each with a zero byte behind it. */
static bool read_pairs(struct saved_series *series)
{
    struct str rest = series->pairs;
    uint32_t texts = 0;
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\0', rest.len);
        size_t len = end == NULL ? rest.len : (size_t)(end - rest.ptr);
        bool is_name = texts++ % 2 == 0;
        if (end == NULL || !state_is_text((struct str){rest.ptr, len}, is_name ? 1 : 0,
                                          is_name ? RECORD_NAME_MAX * 2 : RECORD_VALUE_MAX)) {
            return false;
        }
        rest = (struct str){end + 1, rest.len - len - 1};
    }
    series->pair_count = texts / 2;
    return texts % 2 == 0 && series->pairs.len <= SAVED_PAIRS_MAX;
}

/* All but values and exemplars. */
static int read_series_field(struct state_reading *reading, const struct state_field *field,
                             struct saved_series *series)
{
    switch (field->tag) {
    case TAG(SERIES_PAIRS, KIND_BYTES):
        series->pairs = state_text(field);
        return 0;
    case TAG(SERIES_CREATED, KIND_FIXED64):
        series->created_wall_ns = field->number;
        return 0;
    case TAG(SERIES_OVERFLOW, KIND_VARINT):
        series->overflow = field->number != 0;
        return 0;
    case TAG(SERIES_NUMBER, KIND_FIXED64):
        series->number = state_double(field);
        return 0;
    case TAG(SERIES_IDLE, KIND_VARINT):
        series->idle_seconds = field->number;
        return field->number <= UINT32_MAX ? 0 : ERR_FRAME;
    case TAG(SERIES_BUCKETS, KIND_BYTES):
        series->has_buckets = true;
        return read_buckets(field->bytes, &reading->buckets);
    case TAG(SERIES_PART, KIND_BYTES):
        return read_part(reading, field->bytes, series);
    default:
        return 0;
    }
}

static bool is_series(const struct state_reading *reading, struct saved_series *series)
{
    const struct saved_family *family = &reading->family;
    bool is_counter = family->type == 0;
    bool is_histogram_family = family->type == 2;
    return read_pairs(series) && series->has_buckets == is_histogram_family &&
           (!is_counter || (series->number >= 0 && isfinite(series->number))) &&
           (!series->has_buckets || (reading->buckets.classic_count == family->bound_count + 1 &&
                                     is_histogram(&reading->buckets, family->native)));
}

static int read_values(struct piece piece, const struct saved_sink *sink)
{
    struct state_field field;
    uint64_t age = 0;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        if (field.tag == TAG(VALUES_AGE, KIND_VARINT)) {
            age = field.number;
        }
        while (err == 0 && field.tag == TAG(VALUES_HASHES, KIND_BYTES) &&
               field.bytes.at < field.bytes.end) {
            uint64_t hash = 0;
            field.bytes.at = field_read_fixed64(field.bytes.at, field.bytes.end, &hash);
            if (field.bytes.at == NULL) {
                return ERR_FRAME;
            }
            err = sink->value == NULL ? 0 : sink->value(sink->ctx, age, hash);
        }
    }
    return err;
}

static int read_series(struct state_reading *reading, struct piece piece)
{
    const struct saved_sink *sink = reading->sink;
    struct saved_series series = {.buckets = &reading->buckets, .parts = reading->parts};
    struct piece again = piece;
    struct state_field field;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        err = read_series_field(reading, &field, &series);
    }
    if (err == 0 && !is_series(reading, &series)) {
        err = ERR_FRAME;
    }
    if (err == 0 && sink->series != NULL) {
        err = sink->series(sink->ctx, &series);
    }
    while (err == 0 && state_next(&again, &field, &err)) {
        if (field.tag == TAG(SERIES_VALUES, KIND_BYTES)) {
            err = read_values(field.bytes, sink);
        } else if (field.tag == TAG(SERIES_EXEMPLAR, KIND_BYTES)) {
            err = state_read_exemplar(field.bytes, sink);
        }
    }
    return err;
}

/* --- families ---------------------------------------------------------------------------------- */

static int read_bounds(struct piece bytes, struct saved_family *family)
{
    while (bytes.at < bytes.end) {
        if (family->bound_count == SAVED_BOUNDS_MAX - 1) {
            return ERR_LIMIT;
        }
        double *bound = &family->bounds[family->bound_count];
        bytes.at = field_read_double(bytes.at, bytes.end, bound);
        bool ascends = family->bound_count == 0 || *bound > bound[-1];
        if (bytes.at == NULL || !isfinite(*bound) || !ascends) {
            return ERR_FRAME;
        }
        family->bound_count++;
    }
    return 0;
}

static int read_label(const struct state_field *field, struct saved_family *family)
{
    if (family->label_count == SAVED_LABELS_MAX) {
        return ERR_LIMIT;
    }
    family->labels[family->label_count++] = state_text(field);
    return state_is_text(state_text(field), 1, RECORD_NAME_MAX) ? 0 : ERR_FRAME;
}

static int read_flag(const struct state_field *field, bool *ret)
{
    *ret = field->number != 0;
    return 0;
}

static int read_small(const struct state_field *field, uint32_t *ret)
{
    *ret = (uint32_t)field->number;
    return field->number <= UINT8_MAX ? 0 : ERR_FRAME;
}

static int read_text(const struct state_field *field, size_t most, struct str *ret)
{
    *ret = state_text(field);
    return state_is_text(*ret, 0, most) ? 0 : ERR_FRAME;
}

/* All but its series. */
static int read_shape_field(const struct state_field *field, struct saved_family *family)
{
    switch (field->tag) {
    case TAG(FAMILY_FIELD_NAME, KIND_BYTES):
        return read_text(field, RECORD_NAME_MAX * 2, &family->name);
    case TAG(FAMILY_FIELD_SOURCE, KIND_BYTES):
        return read_text(field, RECORD_NAME_MAX * 2, &family->source);
    case TAG(FAMILY_FIELD_HELP, KIND_BYTES):
        return read_text(field, SAVED_HELP_MAX, &family->help);
    case TAG(FAMILY_FIELD_UNIT, KIND_BYTES):
        return read_text(field, RECORD_NAME_MAX, &family->unit);
    case TAG(FAMILY_FIELD_TYPE, KIND_VARINT):
        return read_small(field, &family->type);
    case TAG(FAMILY_FIELD_AGGREGATION, KIND_VARINT):
        return read_small(field, &family->aggregation);
    case TAG(FAMILY_FIELD_ONLY, KIND_VARINT):
        return read_small(field, &family->only);
    case TAG(FAMILY_FIELD_DECLARED, KIND_VARINT):
        return read_flag(field, &family->declared);
    case TAG(FAMILY_FIELD_NATIVE, KIND_VARINT):
        return read_flag(field, &family->native);
    case TAG(FAMILY_FIELD_EXPIRE, KIND_VARINT):
        family->expire_seconds = field->number;
        return 0;
    case TAG(FAMILY_FIELD_LABEL, KIND_BYTES):
        return read_label(field, family);
    case TAG(FAMILY_FIELD_BOUNDS, KIND_BYTES):
        return read_bounds(field->bytes, family);
    default:
        return 0;
    }
}

int state_read_family(struct state_reading *reading, struct piece piece)
{
    const struct saved_sink *sink = reading->sink;
    struct piece again = piece;
    struct state_field field;
    int err = 0;
    reading->family = (struct saved_family){.type = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        err = read_shape_field(&field, &reading->family);
    }
    if (err == 0 && (reading->family.name.len == 0 || reading->family.type > 4 ||
                     reading->family.aggregation >= AGGREGATION_COUNT)) {
        err = ERR_FRAME;
    }
    if (err == 0 && sink->family != NULL) {
        err = sink->family(sink->ctx, &reading->family);
    }
    while (err == 0 && state_next(&again, &field, &err)) {
        if (field.tag == TAG(FAMILY_FIELD_SERIES, KIND_BYTES)) {
            err = read_series(reading, field.bytes);
        }
    }
    return err;
}
