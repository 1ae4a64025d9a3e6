#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"

enum { FIRST_CAPACITY = 256 };

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_fini(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->err = 0;
}

static int grow(struct buf *buf, size_t needed)
{
    if (needed > buf->max) {
        return ERR_LIMIT;
    }
    size_t cap = buf->cap == 0 ? FIRST_CAPACITY : buf->cap;
    while (cap < needed) {
        cap = cap > buf->max / 2 ? buf->max : cap * 2;
    }
    char *data = mem_realloc(buf->data, cap);
    if (data == NULL) {
        return ERR_NOMEM;
    }
    buf->data = data;
    buf->cap = cap;
    return 0;
}

char *buf_reserve(struct buf *buf, size_t len)
{
    if (buf->err != 0) {
        return NULL;
    }
    if (len > buf->max - buf->len) {
        buf->err = ERR_LIMIT;
        return NULL;
    }
    if (len > buf->cap - buf->len) {
        buf->err = grow(buf, buf->len + len);
        if (buf->err != 0) {
            return NULL;
        }
    }
    return buf->data + buf->len;
}

void buf_append(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0) {
        return;
    }
    char *room = buf_reserve(buf, len);
    if (room != NULL) {
        memcpy(room, bytes, len);
        buf->len += len;
    }
}

void buf_str(struct buf *buf, struct str text)
{
    buf_append(buf, text.ptr, text.len);
}

void buf_puts(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_char(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}

void buf_u64(struct buf *buf, uint64_t number)
{
    char *room = buf_reserve(buf, NUM_U64_MAX);
    if (room != NULL) {
        buf->len += num_write_u64(room, number);
    }
}

void buf_i64(struct buf *buf, int64_t number)
{
    if (number < 0) {
        buf_char(buf, '-');
        buf_u64(buf, 0 - (uint64_t)number);
        return;
    }
    buf_u64(buf, (uint64_t)number);
}

void buf_double(struct buf *buf, double number)
{
    char *room = buf_reserve(buf, NUM_DOUBLE_MAX);
    if (room != NULL) {
        buf->len += num_write_double(room, number);
    }
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *room = len < 0 ? NULL : buf_reserve(buf, (size_t)len + 1);
    if (room == NULL) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(room, (size_t)len + 1, format, args); /* the length is known */
    va_end(args);
    buf->len += (size_t)len;
}

char *buf_steal(struct buf *buf)
{
    buf_char(buf, '\0');
    if (buf->err != 0) {
        buf_fini(buf);
        return NULL;
    }
    char *text = buf->data;
    *buf = (struct buf){.max = buf->max};
    return text;
}
