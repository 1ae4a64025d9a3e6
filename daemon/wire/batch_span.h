/*
 * Reads one Span of a batch, which has the form of OTLP's (proto/dwell.proto), in place: what repeats
 * in it is looked through and kept as the bytes that it is. It belongs to wire/batch.
 * One thread at a time for each decoder.
 */
#ifndef DWELL_WIRE_BATCH_SPAN_H
#define DWELL_WIRE_BATCH_SPAN_H

#include "wire/batch.h"
#include "wire/field.h"

/* Hands the span to the sink, or rejects it. Returns 0, or ERR_FRAME for damage. */
int batch_span_decode(struct batch_decoder *decoder, struct piece piece,
                      const struct record_sink *sink);

#endif
