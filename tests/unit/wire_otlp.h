/*
 * Tests: OTLP's attributes, events and links as text, read by a reader of its own, and spans put together
 * from them. Aborts on bytes that are no such thing. An attribute of each type, and an event:
 *
 *     "text"="a" "whole"=8 "fraction"=0.5 "flag"=true "list"=["a" 1] "map"={"k"=1} "bytes"=0xff "none"=
 *     {1=1700000000000000000 2="exception" 3={"exception.type"="E"}}
 */
#ifndef DWELL_TESTS_WIRE_OTLP_H
#define DWELL_TESTS_WIRE_OTLP_H

#include "base/buf.h"
#include "wire_recorder.h"

/* `field` is a whole field, with tag and length, and `number` what its tag must say. */
void wire_print_attribute(struct recorder *recorder, struct str field, unsigned number);

/* The body of an event or of a link. */
void wire_print_child(struct recorder *recorder, const struct span_child *child, bool is_link);

/* Key and text are those of the bytes. */
void wire_require_attribute(const struct span_attribute *attribute);

/* The span as a record of a Batch. */
void wire_write_span(struct buf *out, const struct span *span);

#endif
