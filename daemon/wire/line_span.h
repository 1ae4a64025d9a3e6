/*
 * The values of a span that are objects and lists, which it writes as OTLP on the way, and the span
 * itself. It belongs to wire/line. One thread at a time for each reader.
 */
#ifndef DWELL_WIRE_LINE_SPAN_H
#define DWELL_WIRE_LINE_SPAN_H

#include "wire/line_reader.h"

/* Bytes of OTLP that a line may make. What grows most is a list of negative numbers: "-1," becomes
 * 13 bytes. */
static inline size_t line_span_room(size_t line_bytes)
{
    return 5 * line_bytes + 64;
}

/* Makes ready for a span. */
void line_span_reset(struct reader *reader);

/* The value of a span's row that is no figure, no name, no type, and not null. */
int line_span_read(struct reader *reader, const struct key *key);

/* Hands over the span that was read; 0 or why it was refused. */
int line_span_deliver(struct reader *reader, const struct record_sink *sink);

#endif
