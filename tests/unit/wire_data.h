/*
 * The cases of tests/data/wire (see its README.md): a file of input and beside it a file of what a
 * decoder must say. For unit tests.
 */
#ifndef DWELL_TESTS_WIRE_DATA_H
#define DWELL_TESTS_WIRE_DATA_H

#include "base/str.h"

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
