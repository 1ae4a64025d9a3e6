/*
 * Steps over a value that nobody wants, and still says what is wrong with it: a line is one JSON object
 * or it is none, and no key in it stands twice. One thread at a time for each reader.
 */
#ifndef DWELL_WIRE_LINE_SKIP_H
#define DWELL_WIRE_LINE_SKIP_H

#include "wire/line_reader.h"

/* Remembers an unknown key of the object whose keys begin at `first`, and refuses one that is there.
 * Above the limit it is noted and forgotten. */
int line_add_unknown(struct reader *reader, size_t first, struct str key);

/* Any value; `depth` arrays and objects are open around it. */
int line_skip_value(struct reader *reader, unsigned depth);

/* The same where another type was expected, which is noted. */
int line_skip_wrong_type(struct reader *reader, unsigned depth);

#endif
