/*
 * The cases of tests/data/wire (see its README.md): a file of input and beside it a file of what a
 * decoder must say. For unit tests.
 */
#ifndef DWELL_TESTS_WIRE_DATA_H
#define DWELL_TESTS_WIRE_DATA_H

#include "base/str.h"

/* Cases of some thousand bytes are split everywhere; larger ones, whose cost grows by the square, are
 * sampled. Under a sanitizer everything takes five times as long, and finds what it does by the kind of
 * input: fewer do there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WIRE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WIRE_SANITIZED 1
#endif
#endif
#ifndef WIRE_SANITIZED
#define WIRE_SANITIZED 0
#endif

enum {
    WIRE_SPLITS = WIRE_SANITIZED ? 1000 : 8000, /* of one case, at most about */
};

/* How often a case is damaged at random, for so many times without a sanitizer. */
#define WIRE_DAMAGES(times) (WIRE_SANITIZED ? (times) / 10 : (times))

/* From one split to the next. */
static inline size_t wire_split_step(size_t len)
{
    return 1 + len / WIRE_SPLITS;
}

struct wire_case {
    const char *name;   /* of the file, to be told when the case fails */
    struct str input;   /* bytes; those of a .hex file are translated */
    const char *expect; /* terminated */
};

/* Calls `check` for every case of TEST_DATA/wire/<dir>; returns how many there were. */
size_t wire_for_each_case(const char *dir, void (*check)(const struct wire_case *wire_case));

/* The bytes alone in a block of their own, so that a sanitizer sees a step outside; free() it. */
char *wire_copy(struct str bytes);

#endif
