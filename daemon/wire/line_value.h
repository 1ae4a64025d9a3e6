/*
 * Reads the values of known keys, each kind in its way; a wrong one is noted. Figures and names, which
 * usual samples are made of, are read by wire/line itself. One thread at a time for each reader.
 */
#ifndef DWELL_WIRE_LINE_VALUE_H
#define DWELL_WIRE_LINE_VALUE_H

#include "wire/line_reader.h"

/* The value of a row that is no figure, no name, no type, and not null. */
int line_read_value(struct reader *reader, const struct key *key);

/* A text for a known key. Not one: noted and skipped, and `ret_is_text` is false. */
int line_read_text(struct reader *reader, struct str *ret_text, bool *ret_is_text);

/* An id as two hex digits for each byte, or a 64-bit number or its digits as text. Anything else is
 * noted: then ret_good is false, and ret_count as it was. */
int line_read_id(struct reader *reader, size_t bytes, uint8_t *ret_id, bool *ret_good);
int line_read_count(struct reader *reader, uint64_t *ret_count);

#endif
