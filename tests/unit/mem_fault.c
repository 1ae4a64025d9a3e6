#include "mem_fault.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static atomic_size_t until_failure; /* threads of what is tested allocate, too */
static atomic_bool failed;
static atomic_bool moves;
static atomic_size_t allocations;
static atomic_size_t live;

void mem_fail_after(size_t n)
{
    failed = false;
    until_failure = n;
}

bool mem_has_failed(void)
{
    return failed;
}

void mem_always_move(bool always)
{
    moves = always;
}

size_t mem_count_allocations(void)
{
    return allocations;
}

size_t mem_count_live(void)
{
    return live;
}

static bool must_fail(void)
{
    allocations++;
    size_t left = until_failure;
    while (left > 0 && !atomic_compare_exchange_weak(&until_failure, &left, left - 1)) {
    }
    if (left == 1) {
        failed = true;
    }
    return left == 1;
}

static void *track(void *ptr)
{
    live += ptr != NULL;
    return ptr;
}

void *mem_alloc(size_t size)
{
    return must_fail() ? NULL : track(malloc(size));
}

void *mem_alloc_lines(size_t size)
{
    return must_fail() ? NULL : track(aligned_alloc(64, (size + 63) / 64 * 64));
}

void *mem_zalloc(size_t count, size_t size)
{
    return must_fail() ? NULL : track(calloc(count, size));
}

static void *move(void *old, size_t size)
{
    size_t had = malloc_usable_size(old);
    void *fresh = malloc(size);
    if (fresh != NULL) {
        memcpy(fresh, old, had < size ? had : size);
        memset(old, 0xA5, had);
        free(old);
    }
    return fresh;
}

void *mem_realloc(void *old, size_t size)
{
    if (must_fail()) {
        return NULL;
    }
    if (old != NULL && moves) {
        return move(old, size);
    }
    return old == NULL ? track(malloc(size)) : realloc(old, size);
}

void mem_free(void *ptr)
{
    live -= ptr != NULL;
    free(ptr);
}
