/*
 * Makes what a bench sends: batches of samples in frames. One thread at a time; dies without memory.
 */
#ifndef DWELL_TESTS_ROWS_H
#define DWELL_TESTS_ROWS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

enum { ROWS_BUFFER_MAX = 1 << 24, ROWS_NAME_BYTES = 32 };

static inline uint64_t rows_random(void)
{
    static uint64_t state = 88172645463325252ULL; /* xorshift64, Marsaglia 2003 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* In (0, 1). */
static inline double rows_uniform(void)
{
    return ((double)(rows_random() >> 11) + 0.5) * 0x1p-53;
}

/* Box and Muller's. */
static inline double rows_normal(void)
{
    return sqrt(-2 * log(rows_uniform())) * cos(2 * 3.14159265358979323846 * rows_uniform());
}

static inline void rows_varint(struct buf *out, uint64_t value)
{
    while (value >= 0x80) {
        buf_char(out, (char)(value | 0x80));
        value >>= 7;
    }
    buf_char(out, (char)value);
}

static inline void rows_double(struct buf *out, unsigned field, double value)
{
    rows_varint(out, field << 3 | 1);
    buf_append(out, &value, sizeof value);
}

static inline void rows_bytes(struct buf *out, unsigned field, const void *bytes, size_t len)
{
    rows_varint(out, field << 3 | 2);
    rows_varint(out, len);
    buf_append(out, bytes, len);
}

static inline size_t rows_name(char name[ROWS_NAME_BYTES], unsigned model)
{
    return (size_t)snprintf(name, ROWS_NAME_BYTES, "resnet50-classifier-%03u", model);
}

/* One sample of the usual kind, with its name, or with reference model + 1 to a string table. */
static inline void rows_sample(struct buf *out, bool by_table, unsigned model, double ms,
                               double cpu, double mb)
{
    char name[ROWS_NAME_BYTES];
    struct buf row;
    buf_init(&row, ROWS_BUFFER_MAX);
    size_t len = rows_name(name, model);
    if (by_table) {
        rows_varint(&row, 2 << 3);
        rows_varint(&row, model + 1);
    } else {
        rows_bytes(&row, 1, name, len);
    }
    rows_double(&row, 3, ms);
    rows_double(&row, 4, cpu);
    rows_double(&row, 5, mb);
    rows_bytes(out, 8, row.data, row.len);
    buf_fini(&row);
}

/* Appends a batch as a frame. */
static inline void rows_frame(struct buf *out, const struct buf *batch)
{
    uint32_t len = (uint32_t)batch->len;
    buf_append(out, &len, sizeof len);
    buf_append(out, batch->data, batch->len);
}

static inline void rows_write(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, bytes, len);
        if (wrote <= 0) {
            _exit(1);
        }
        bytes += wrote;
        len -= (size_t)wrote;
    }
}

#endif
