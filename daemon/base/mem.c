#include "base/mem.h"

#include <stdlib.h>

enum { LINE_BYTES = 64 };

void *mem_alloc(size_t size)
{
    return malloc(size);
}

void *mem_alloc_lines(size_t size)
{
    size_t lines = size / LINE_BYTES + (size % LINE_BYTES != 0);
    return aligned_alloc(LINE_BYTES, lines * LINE_BYTES);
}

void *mem_zalloc(size_t count, size_t size)
{
    return calloc(count, size);
}

void *mem_realloc(void *old, size_t size)
{
    return realloc(old, size);
}

void mem_free(void *ptr)
{
    free(ptr);
}
