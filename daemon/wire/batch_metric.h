/*
 * Reads one Metric of a batch (proto/dwell.proto) and hands it over. It does not find it: wire/batch
 * does. One thread at a time for each decoder.
 */
#ifndef DWELL_WIRE_BATCH_METRIC_H
#define DWELL_WIRE_BATCH_METRIC_H

#include "wire/batch.h"
#include "wire/field.h"

/* Hands over the metric in these bytes, or its rejection. Returns 0, or ERR_FRAME when they are no
 * message. References are into decoder->strings. */
int batch_metric_decode(struct batch_decoder *decoder, struct piece piece,
                        const struct record_sink *sink);

#endif
