/*
 * A growing run of bytes with a ceiling, for building answers. Append freely: the first failure
 * sticks, later appends do nothing, and the caller looks once at `err`.
 * It does not know any format but numbers. One thread at a time.
 */
#ifndef DWELL_BASE_BUF_H
#define DWELL_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
    char *data; /* owned; not terminated */
    size_t len;
    size_t cap;
    size_t max; /* bytes; growing past it sets ERR_LIMIT */
    int err;    /* 0, ERR_LIMIT or ERR_NOMEM */
};

void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);

/* Forgets content and error, keeps the memory. */
void buf_clear(struct buf *buf);

/* Room for `len` more bytes: where to write them, or NULL with `err` set. Add to buf->len after. */
char *buf_reserve(struct buf *buf, size_t len);

void buf_append(struct buf *buf, const void *bytes, size_t len);
void buf_str(struct buf *buf, struct str text);
void buf_puts(struct buf *buf, const char *text);
void buf_char(struct buf *buf, char c);
void buf_u64(struct buf *buf, uint64_t number);
void buf_i64(struct buf *buf, int64_t number);

/* The shortest decimal that reads back as the same double; "NaN", "+Inf", "-Inf". See base/num.h. */
void buf_double(struct buf *buf, double number);

void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The content as a terminated string that the caller owns, or NULL; the buffer is empty after. */
char *buf_steal(struct buf *buf);

#endif
