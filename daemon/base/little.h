/*
 * Numbers in files: bytes of a fixed count, the lowest first. It knows no sign and no ceiling. Any thread.
 */
#ifndef DWELL_BASE_LITTLE_H
#define DWELL_BASE_LITTLE_H

#include <stdint.h>

/* Writes the lowest `bytes` of a number, at most 8. */
static inline void little_put(char *out, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (char)(number >> 8 * i);
    }
}

/* Reads so many bytes, at most 8. */
static inline uint64_t little_get(const char *bytes, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++) {
        number |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    }
    return number;
}

#endif
