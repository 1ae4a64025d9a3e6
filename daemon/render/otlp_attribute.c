/*
 *     attribute   tag, length | key | value: tag, length | string_value or bool_value
 */
#include "render/otlp_attribute.h"

#include <assert.h>

#include "base/message.h"

/* Field numbers of proto/otlp.proto. */
enum { KEY_VALUE_KEY = 1, KEY_VALUE_VALUE = 2 };
enum { ANY_STRING = 1, ANY_BOOL = 2 };

/* All lengths are known, so it is written in one go: a request is labels above all. */
void otlp_attribute_text(struct buf *out, unsigned field, struct str key, struct str value)
{
    size_t any = message_text_bytes(value.len);
    size_t pair = message_text_bytes(key.len) + message_text_bytes(any);
    char *at = buf_reserve(out, message_text_bytes(pair));
    assert(field < 16);
    if (at != NULL) {
        at = message_put_text(message_put_head(at, field, pair), KEY_VALUE_KEY, key);
        at = message_put_text(message_put_head(at, KEY_VALUE_VALUE, any), ANY_STRING, value);
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
