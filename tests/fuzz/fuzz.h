/*
 * What the fuzz targets share. A target takes any bytes and must return; it aborts when an invariant
 * does not hold. The bytes alone decide what is done with them, so that an input can be replayed.
 */
#ifndef DWELL_TESTS_FUZZ_H
#define DWELL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* FNV-1a of the input: where to split it. */
static inline size_t fuzz_hash(const uint8_t *bytes, size_t len)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
    }
    return (size_t)(hash >> 16);
}

#endif
