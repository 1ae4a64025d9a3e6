/*
 *     attribute   tag, length | key | value: tag, length | string_value or bool_value
 */
#include "render/otlp_attribute.h"

#include <assert.h>

#include "base/message.h"

/* Field numbers of proto/otlp.proto. */
enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };
enum { ANY_STRING = 1, ANY_BOOL = 2 };
enum { TYPE_BYTES = 2 };

/* Bytes of a number, and of text with tag and length. */
static size_t varint_len(size_t number)
{
    size_t len = 1;
    for (; number > 0x7F; number >>= 7) {
        len++;
    }
    return len;
}

static size_t text_len(size_t len)
{
    return 1 + varint_len(len) + len;
}

/* A tag of one byte, and a length. */
static char *put_head(char *at, unsigned field, size_t len)
{
    *at++ = (char)(field << 3 | TYPE_BYTES);
    for (; len > 0x7F; len >>= 7) {
        *at++ = (char)(len | 0x80);
    }
    *at++ = (char)len;
    return at;
}

static char *put_text(char *at, unsigned field, struct str text)
{
    at = put_head(at, field, text.len);
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    return at + text.len;
}

/* All lengths are known, so it is written in one go: a request is labels above all. */
void otlp_attribute_text(struct buf *out, unsigned field, struct str key, struct str value)
{
    size_t any = text_len(value.len);
    size_t pair = text_len(key.len) + text_len(any);
    char *at = buf_reserve(out, text_len(pair));
    assert(field < 16);
    if (at != NULL) {
        at = put_text(put_head(at, field, pair), KEY_VALUE_KEY, key);
        at = put_text(put_head(at, KEY_VALUE_VALUE, any), ANY_STRING, value);
        out->len = (size_t)(at - out->data);
    }
}

void otlp_attribute_bool(struct buf *out, unsigned field, struct str key, bool value)
{
    size_t pair = message_begin(out, field);
    message_str(out, KEY_VALUE_KEY, key);
    size_t any = message_begin(out, KEY_VALUE_VALUE);
    message_u64(out, ANY_BOOL, value);
    message_end(out, any);
    message_end(out, pair);
}

/* A varint that message_varint wrote. */
static size_t read_varint(const char **at)
{
    size_t number = 0;
    unsigned shift = 0;
    while ((**at & 0x80) != 0) {
        number |= (size_t)(**at & 0x7F) << shift;
        shift += 7;
        ++*at;
    }
    number |= (size_t)(unsigned char)**at << shift;
    ++*at;
    return number;
}

void otlp_attribute_copy(struct buf *out, unsigned field, struct str rendered)
{
    const char *at = rendered.ptr;
    while (at != NULL && at < rendered.ptr + rendered.len) {
        (void)read_varint(&at); /* the tag */
        size_t len = read_varint(&at);
        assert(len <= rendered.len - (size_t)(at - rendered.ptr));
        message_str(out, field, (struct str){at, len});
        at += len;
    }
}
