#include "wire/line_value.h"

#include <math.h>

#include "base/num.h"
#include "wire/iso8601.h"
#include "wire/line_skip.h"

int line_read_text(struct reader *reader, struct str *ret_text, bool *ret_is_text)
{
    *ret_is_text = *reader->in.at == '"';
    if (!*ret_is_text) {
        return line_skip_wrong_type(reader, 0);
    }
    reader->in.at++;
    return reader_read_text(reader, ret_text);
}

static int read_short_text(struct reader *reader, const struct key *key)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (text.len > (size_t)key->max || reader->in.zero) {
        reader_note(reader, ERR_RANGE);
        return 0;
    }
    *(struct str *)reader_place(reader, key) = text;
    return 0;
}

/* Digits are a count; a fraction or an exponent make it another type, a sign leads out of range
 * (but -0 is 0). */
static int read_count_number(struct reader *reader, uint64_t *ret_count)
{
    struct str digits = {reader->in.at, 0};
    double number = 0;
    int err = num_scan_double(&reader->in.at, reader->in.end, &number);
    if (err == ERR_SYNTAX) {
        return reader_fail(reader, err, reader->key);
    }
    digits.len = (size_t)(reader->in.at - digits.ptr);
    if (str_is(digits, "-0")) {
        *ret_count = 0;
        return 0;
    }
    int read = num_read_u64(digits, ret_count);
    if (err == ERR_RANGE || read == ERR_RANGE || digits.ptr[0] == '-') {
        reader_note(reader, ERR_RANGE);
    } else if (read != 0) {
        reader_note(reader, ERR_WRONG_TYPE);
    }
    return 0;
}

int line_read_count(struct reader *reader, uint64_t *ret_count)
{
    if (reader_at_number(reader)) {
        return read_count_number(reader, ret_count);
    }
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    int read = err == 0 && is_text ? num_read_u64(text, ret_count) : 0;
    if (read != 0) {
        reader_note(reader, read == ERR_RANGE ? ERR_RANGE : ERR_WRONG_TYPE);
    }
    return err;
}

static int read_count(struct reader *reader, const struct key *key)
{
    uint64_t count = 0;
    int err = line_read_count(reader, &count);
    if (err == 0) {
        if (key->max > 0 && (count == 0 || (double)count > key->max)) {
            reader_note(reader, ERR_RANGE); /* after what it may have noted itself, which is told */
        }
        /* What was noted rejects the record: a 0 does no harm. */
        *(uint64_t *)reader_place(reader, key) = count;
        reader->has |= key->bit;
    }
    return err;
}

static bool read_hex(struct str text, uint8_t *out, size_t bytes)
{
    if (text.len != 2 * bytes) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        int high = lexer_hex_digit(text.ptr[2 * i]);
        int low = lexer_hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

int line_read_id(struct reader *reader, size_t bytes, uint8_t *ret_id, bool *ret_good)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    *ret_good = err == 0 && is_text && read_hex(text, ret_id, bytes);
    if (err == 0 && is_text && !*ret_good) {
        reader_note(reader, ERR_RANGE);
    }
    return err;
}

static int read_id(struct reader *reader, const struct key *key)
{
    bool good = false;
    int err = line_read_id(reader, (size_t)key->max, reader_place(reader, key), &good);
    reader->has |= good ? key->bit : 0;
    return err;
}

static int read_timestamp(struct reader *reader, const struct key *key)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (iso8601_read(text, reader_place(reader, key)) != 0) {
        reader_note(reader, ERR_RANGE);
        return 0;
    }
    reader->has |= key->bit;
    return 0;
}

static int read_error(struct reader *reader)
{
    if (lexer_take_word(&reader->in, STR_LITERAL("true"))) {
        reader->sample.error = true;
        return 0;
    }
    if (lexer_take_word(&reader->in, STR_LITERAL("false"))) {
        return 0;
    }
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (reader->in.zero) {
        reader_note(reader, ERR_RANGE);
    }
    reader->sample.error = true;
    reader->sample.error_text = text;
    return 0;
}

/* Where the members of an object of labels or attributes go, and what they may be. */
struct members {
    struct label *labels;
    uint32_t *count;
    uint32_t count_max;
    size_t value_max;
    bool only_texts;
    size_t first; /* place of their keys among the unknown ones, for the time they are read */
};

/* A whole number as its digits: -9223372036854775808 to 18446744073709551615. */
static int read_whole_number(struct reader *reader, struct str *ret_digits)
{
    struct str digits = {reader->in.at, 0};
    double number = 0;
    if (num_scan_double(&reader->in.at, reader->in.end, &number) == ERR_SYNTAX) {
        return reader_fail(reader, ERR_SYNTAX, reader->key);
    }
    digits.len = (size_t)(reader->in.at - digits.ptr);
    bool negative = digits.ptr[0] == '-';
    uint64_t size = 0;
    int err = num_read_u64((struct str){digits.ptr + negative, digits.len - negative}, &size);
    if (err == ERR_RANGE || (err == 0 && negative && size > UINT64_C(1) << 63)) {
        reader_note(reader, ERR_RANGE);
    } else if (err != 0) {
        reader_note(reader, ERR_WRONG_TYPE);
    }
    *ret_digits = negative && size == 0 ? STR_LITERAL("0") : digits;
    return 0;
}

/* The value of a member as text. Another type is noted and skipped. */
static int read_member_value(struct reader *reader, bool only_texts, struct str *ret_text)
{
    if (*reader->in.at == '"') {
        reader->in.at++;
        return reader_read_text(reader, ret_text);
    }
    if (!only_texts && reader_at_number(reader)) {
        return read_whole_number(reader, ret_text);
    }
    static const struct str words[] = {{"true", 4}, {"false", 5}};
    for (size_t i = 0; i < 2 && !only_texts; i++) {
        if (lexer_take_word(&reader->in, words[i])) {
            *ret_text = words[i];
            return 0;
        }
    }
    return line_skip_wrong_type(reader, 1);
}

/* One member. Its key is remembered as an unknown one is, until all are read. */
static int read_member(struct reader *reader, const struct members *members)
{
    struct label label = {{NULL, 0}, {NULL, 0}};
    if (*reader->in.at != '"') {
        return reader_fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    int err = reader_read_text(reader, &label.key);
    bool zero = reader->in.zero;
    if (err == 0) {
        err = line_add_unknown(reader, members->first, label.key);
    }
    if (err == 0) {
        err = reader_skip_colon(reader);
    }
    if (err != 0 || lexer_take_word(&reader->in, STR_LITERAL("null"))) {
        return err;
    }
    err = read_member_value(reader, members->only_texts, &label.value);
    if (err != 0) {
        return err;
    }
    if (zero || reader->in.zero) {
        reader_note(reader, ERR_NAME);
    } else if (label.key.len == 0 || label.key.len > RECORD_NAME_MAX ||
               label.value.len > members->value_max || *members->count == members->count_max) {
        reader_note(reader, ERR_RANGE);
    } else {
        members->labels[(*members->count)++] = label;
    }
    return 0;
}

static int read_members(struct reader *reader, const struct members *members)
{
    if (*reader->in.at != '{') {
        return line_skip_wrong_type(reader, 0);
    }
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == '}';
    if (closed) {
        reader->in.at++;
    }
    while (!closed) {
        int err = read_member(reader, members);
        if (err == 0) {
            err = reader_skip_separator(reader, '}', &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    reader->unknown_count = members->first;
    return 0;
}

static int read_labels(struct reader *reader)
{
    struct sample *sample = &reader->sample;
    struct members members = {.labels = sample->labels,
                              .count = &sample->label_count,
                              .count_max = RECORD_LABELS_MAX,
                              .value_max = RECORD_NAME_MAX,
                              .only_texts = true,
                              .first = reader->unknown_count};
    return read_members(reader, &members);
}

static int read_attributes(struct reader *reader)
{
    struct metric *metric = &reader->metric;
    struct members members = {.labels = metric->attributes,
                              .count = &metric->attribute_count,
                              .count_max = RECORD_ATTRIBUTES_MAX,
                              .value_max = RECORD_VALUE_MAX,
                              .only_texts = false,
                              .first = reader->unknown_count};
    return read_members(reader, &members);
}

/* A number of either sign up to key->max, or any at all. */
static int read_amount(struct reader *reader, const struct key *key, bool any)
{
    double amount = 0;
    int err = num_scan_double(&reader->in.at, reader->in.end, &amount);
    if (err == ERR_SYNTAX) {
        return reader_fail(reader, err, reader->key);
    }
    double lowest = reader->type == TYPE_COUNTER ? 0 : -key->max;
    if (err != 0 || !(any || (amount >= lowest && amount <= key->max))) {
        reader_note(reader, ERR_RANGE);
        return 0;
    }
    *(double *)reader_place(reader, key) = amount + 0.0; /* makes -0 a 0 */
    reader->has |= key->bit;
    return 0;
}

/* What JSON has no numbers for, and a gauge may be set to. */
static int read_odd_value(struct reader *reader, const struct key *key)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    double *value = reader_place(reader, key);
    if (str_is(text, "NaN")) {
        *value = NAN;
    } else if (str_is(text, "+Inf")) {
        *value = INFINITY;
    } else if (str_is(text, "-Inf")) {
        *value = -INFINITY;
    } else {
        reader_note(reader, ERR_RANGE);
        return 0;
    }
    reader->has |= key->bit;
    return 0;
}

static int read_value(struct reader *reader, const struct key *key)
{
    bool is_set = key->kind == KIND_VALUE && reader->type == TYPE_GAUGE;
    if (reader_at_number(reader)) {
        return read_amount(reader, key, is_set);
    }
    return is_set ? read_odd_value(reader, key) : line_skip_wrong_type(reader, 0);
}

static int read_aggregation(struct reader *reader)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = line_read_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    for (unsigned i = AGGREGATION_UNSAID + 1; i < AGGREGATION_COUNT; i++) {
        if (str_is(text, aggregation_names[i])) {
            reader->metric.aggregation = (enum aggregation)i;
            return 0;
        }
    }
    reader_note(reader, ERR_RANGE);
    return 0;
}

static int read_flag(struct reader *reader, const struct key *key)
{
    bool *flag = reader_place(reader, key);
    *flag = lexer_take_word(&reader->in, STR_LITERAL("true"));
    bool is_read = *flag || lexer_take_word(&reader->in, STR_LITERAL("false"));
    return is_read ? 0 : line_skip_wrong_type(reader, 0);
}

int line_read_value(struct reader *reader, const struct key *key)
{
    switch (key->kind) {
    case KIND_TEXT:
        return read_short_text(reader, key);
    case KIND_INTEGER:
        return read_count(reader, key);
    case KIND_ID:
        return read_id(reader, key);
    case KIND_TIMESTAMP:
        return read_timestamp(reader, key);
    case KIND_ERROR:
        return read_error(reader);
    case KIND_LABELS:
        return read_labels(reader);
    case KIND_ATTRIBUTES:
        return read_attributes(reader);
    case KIND_VALUE:
    case KIND_DELTA:
        return read_value(reader, key);
    case KIND_AGGREGATION:
        return read_aggregation(reader);
    case KIND_FLAG:
        return read_flag(reader, key);
    case KIND_SPAN_KIND:
    case KIND_SAMPLED:
    case KIND_EVENTS:
    case KIND_LINKS:
    case KIND_STATUS:
    case KIND_FIGURE:
    case KIND_NAME:
    case KIND_TYPE:
        break;
    }
    return line_skip_wrong_type(reader, 0);
}
