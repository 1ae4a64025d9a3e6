/*
 * What only the operating system can tell or grant: the time, random bits, the content of a file,
 * descriptors, the environment.
 * Blocking; at start and reload, but for the clock. Any thread.
 */
#ifndef DWELL_IO_SYSTEM_H
#define DWELL_IO_SYSTEM_H

#include "base/buf.h"
#include "base/clock.h"

/* CLOCK_MONOTONIC and CLOCK_REALTIME. */
struct clock system_clock(void);

/* 64 random bits of the kernel; returns 0 or ERR_SYSTEM. */
int system_random(uint64_t *ret_bits);

/* Appends the content of a regular file, within the buffer's ceiling. Returns 0 or an errno value;
 * EFBIG past the ceiling. */
int system_read_file(const char *path, struct buf *out);

/* Asks for so many descriptors in all, where fewer are allowed. Returns how many there may be. */
uint64_t system_raise_descriptors(uint64_t wanted);

/* The value of a variable that is set and not empty, or NULL. Borrowed. */
const char *system_variable(char *const *environment, const char *name);

#endif
