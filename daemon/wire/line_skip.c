#include "wire/line_skip.h"

#include "base/num.h"

int line_add_unknown(struct reader *reader, size_t first, struct str key)
{
    if (reader->unknown_count == LINE_UNKNOWN_MAX) {
        if (reader->rejection.err == 0) { /* noted: a type may follow that has use for the keys */
            (void)reader_fail(reader, ERR_LIMIT, key);
        }
        return 0;
    }
    for (size_t i = first; i < reader->unknown_count; i++) {
        if (str_equal(reader->unknown[i], key)) {
            return reader_fail(reader, ERR_DUPLICATE_KEY, key);
        }
    }
    reader->unknown[reader->unknown_count++] = key;
    return 0;
}

/* A text where only its being one matters. */
static int skip_text(struct reader *reader, struct str *ret_text)
{
    if (*reader->in.at != '"') {
        return reader_fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    int err = reader_read_text(reader, ret_text);
    if (err == 0 && reader->in.zero) {
        reader_note(reader, ERR_RANGE);
    }
    return err;
}

static int skip_member(struct reader *reader, size_t first, unsigned depth)
{
    struct str key;
    int err = skip_text(reader, &key);
    if (err == 0) {
        err = line_add_unknown(reader, first, key);
    }
    if (err == 0) {
        err = reader_skip_colon(reader);
    }
    return err != 0 ? err : line_skip_value(reader, depth);
}

/* An array or object; reader->in.at is past its bracket. */
static int skip_nested(struct reader *reader, char close, unsigned depth)
{
    if (depth == LINE_DEPTH_MAX) {
        return reader_fail(reader, ERR_TOO_DEEP, reader->key);
    }
    size_t first = reader->unknown_count;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == close;
    if (closed) {
        reader->in.at++;
    }
    while (!closed) {
        int err = close == '}' ? skip_member(reader, first, depth + 1)
                               : line_skip_value(reader, depth + 1);
        if (err == 0) {
            err = reader_skip_separator(reader, close, &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    reader->unknown_count = first;
    return 0;
}

static int skip_number(struct reader *reader)
{
    double number;
    int err = num_scan_double(&reader->in.at, reader->in.end, &number);
    if (err == ERR_RANGE) {
        reader_note(reader, err);
        return 0;
    }
    return err == 0 ? 0 : reader_fail(reader, ERR_SYNTAX, reader->key);
}

/* Recursion ends at LINE_DEPTH_MAX. */
int line_skip_value(struct reader *reader, unsigned depth)
{
    struct str text;
    switch (*reader->in.at) {
    case '"':
        return skip_text(reader, &text);
    case '{':
        reader->in.at++;
        return skip_nested(reader, '}', depth);
    case '[':
        reader->in.at++;
        return skip_nested(reader, ']', depth);
    case 't':
    case 'f':
    case 'n':
        return lexer_take_word(&reader->in, STR_LITERAL("true")) ||
                       lexer_take_word(&reader->in, STR_LITERAL("false")) ||
                       lexer_take_word(&reader->in, STR_LITERAL("null"))
                   ? 0
                   : reader_fail(reader, ERR_SYNTAX, reader->key);
    default:
        return skip_number(reader);
    }
}

int line_skip_wrong_type(struct reader *reader, unsigned depth)
{
    reader_note(reader, ERR_WRONG_TYPE);
    return line_skip_value(reader, depth);
}
