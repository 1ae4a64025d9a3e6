/*
 * A span as OTLP has it (proto/otlp.proto, Span): the bytes that a request is made of. It does not write
 * the request around them. Pure; any thread.
 */
#ifndef DWELL_RENDER_OTLP_SPAN_H
#define DWELL_RENDER_OTLP_SPAN_H

#include "base/buf.h"
#include "core/record.h"

/* Appends the span, without tag and length. Beside its own attributes it bears constitutional.hash, which
 * no client overrides, and timestamp, when it began, unless it says one itself. */
void otlp_span_render(const struct span *span, struct str constitutional_hash, struct buf *out);

#endif
