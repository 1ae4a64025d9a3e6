#include "render/json_write.h"

#include <math.h>

static void begin(struct json_writer *writer)
{
    if (writer->comma) {
        buf_char(writer->out, ',');
    }
    writer->comma = true;
}

void json_open(struct json_writer *writer, char bracket)
{
    begin(writer);
    buf_char(writer->out, bracket);
    writer->comma = false;
}

void json_close(struct json_writer *writer, char bracket)
{
    buf_char(writer->out, bracket);
    writer->comma = true;
}

static size_t utf8_length(unsigned char lead)
{
    return lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
}

/* Characters of `text` that stand for themselves, from the front. */
static size_t count_plain(struct str text)
{
    size_t at = 0;
    while (at < text.len) {
        unsigned char c = (unsigned char)text.ptr[at];
        if (c < 0x20 || c == '"' || c == '\\' || c >= 0x7F) {
            break;
        }
        at++;
    }
    return at;
}

static void escape_ascii(struct buf *out, unsigned char c)
{
    switch (c) {
    case '"':
        buf_puts(out, "\\\"");
        break;
    case '\\':
        buf_puts(out, "\\\\");
        break;
    case '\n':
        buf_puts(out, "\\n");
        break;
    case '\r':
        buf_puts(out, "\\r");
        break;
    case '\t':
        buf_puts(out, "\\t");
        break;
    default:
        buf_printf(out, "\\u%04x", c);
        break;
    }
}

/* Writes one character that needs a look; returns how many bytes of text it was. */
static size_t write_special(struct buf *out, struct str text)
{
    unsigned char lead = (unsigned char)text.ptr[0];
    if (lead < 0x80) {
        escape_ascii(out, lead);
        return 1;
    }
    size_t len = utf8_length(lead);
    if (len > text.len || !str_is_utf8((struct str){text.ptr, len})) {
        buf_puts(out, "\xEF\xBF\xBD");
        return 1;
    }
    buf_append(out, text.ptr, len);
    return len;
}

static void write_quoted(struct buf *out, struct str text)
{
    buf_char(out, '"');
    while (text.len > 0) {
        size_t plain = count_plain(text);
        buf_append(out, text.ptr, plain);
        text.ptr += plain;
        text.len -= plain;
        if (text.len > 0) {
            size_t used = write_special(out, text);
            text.ptr += used;
            text.len -= used;
        }
    }
    buf_char(out, '"');
}

void json_text(struct json_writer *writer, struct str text)
{
    begin(writer);
    write_quoted(writer->out, text);
}

void json_u64(struct json_writer *writer, uint64_t number)
{
    begin(writer);
    buf_u64(writer->out, number);
}

void json_double(struct json_writer *writer, double number)
{
    begin(writer);
    if (isfinite(number)) {
        buf_double(writer->out, number);
    } else {
        buf_puts(writer->out, "null");
    }
}

void json_bool(struct json_writer *writer, bool value)
{
    begin(writer);
    buf_puts(writer->out, value ? "true" : "false");
}

void json_null(struct json_writer *writer)
{
    begin(writer);
    buf_puts(writer->out, "null");
}

void json_key(struct json_writer *writer, struct str key)
{
    begin(writer);
    write_quoted(writer->out, key);
    buf_char(writer->out, ':');
    writer->comma = false;
}

void json_put_open(struct json_writer *writer, const char *key, char bracket)
{
    json_key(writer, str_of(key));
    json_open(writer, bracket);
}

void json_put_text(struct json_writer *writer, const char *key, struct str text)
{
    json_key(writer, str_of(key));
    json_text(writer, text);
}

void json_put_u64(struct json_writer *writer, const char *key, uint64_t number)
{
    json_key(writer, str_of(key));
    json_u64(writer, number);
}

void json_put_double(struct json_writer *writer, const char *key, double number)
{
    json_key(writer, str_of(key));
    json_double(writer, number);
}

void json_put_null(struct json_writer *writer, const char *key)
{
    json_key(writer, str_of(key));
    json_null(writer);
}
