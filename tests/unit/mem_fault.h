/*
 * The allocator of unit tests: as base/mem.c, but the n-th allocation can be made to fail, and what
 * is still allocated can be counted. Any thread may allocate; where several do, which of them fails is
 * not said.
 */
#ifndef DWELL_TESTS_MEM_FAULT_H
#define DWELL_TESTS_MEM_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th allocation or reallocation from now fails, once; 0: none does. */
void mem_fail_after(size_t n);

/* True when the failure asked for has happened. */
bool mem_has_failed(void);

/* From now on every reallocation moves, so that whoever keeps the old address is found out. */
void mem_always_move(bool always);

/* Allocations so far, and blocks that are not freed yet. */
size_t mem_count_allocations(void);
size_t mem_count_live(void);

#endif
