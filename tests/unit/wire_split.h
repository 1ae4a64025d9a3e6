/*
 * Whether a decoder of lines says the same however its input is cut. For unit tests.
 */
#ifndef DWELL_TESTS_WIRE_SPLIT_H
#define DWELL_TESTS_WIRE_SPLIT_H

#include "wire_recorder.h"

/* Decodes an input in pieces, whose first one ends at `split` and the others are `step` long, into a
 * recorder that it clears first. */
typedef void wire_split_fn(size_t max_line_bytes, struct recorder *recorder, struct str input,
                           size_t split, size_t step);

/* Byte by byte, in one piece, and in every split into two. */
void wire_must_say_in_every_split(wire_split_fn *run, size_t max_line_bytes, const char *input,
                                  const char *expect);

#endif
