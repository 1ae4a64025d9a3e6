/*
 * Every allocation of the daemon goes through here, so that tests can make the n-th one fail and
 * benches can count them (both link another mem.c). It keeps no pools and no statistics.
 * Any thread may call it.
 */
#ifndef DWELL_BASE_MEM_H
#define DWELL_BASE_MEM_H

#include <stddef.h>

/* Memory for `size` > 0 bytes, or NULL. The caller owns it. */
void *mem_alloc(size_t size);

/* The same, beginning at a cache line (64 bytes). */
void *mem_alloc_lines(size_t size);

/* Zeroed memory for `count` elements, or NULL; also when the product overflows. */
void *mem_zalloc(size_t count, size_t size);

/* As realloc: on NULL the old block is still the caller's. */
void *mem_realloc(void *old, size_t size);

/* NULL is permitted. */
void mem_free(void *ptr);

#endif
