/*
 * Reads one Budget of a batch (proto/dwell.proto) and hands it over. It does not find it: wire/batch
 * does. Any thread.
 */
#ifndef DWELL_WIRE_BATCH_BUDGET_H
#define DWELL_WIRE_BATCH_BUDGET_H

#include "wire/batch.h"
#include "wire/field.h"

/* Hands over the budget in these bytes, or its rejection. Returns 0, or ERR_FRAME when they are no
 * message. */
int batch_budget_decode(struct piece piece, const struct record_sink *sink);

/* Hands over budgets as nearly all are, one after the other in a batch: with layer, time, and perhaps
 * operation and request_id, in this order and nothing else, texts below 128 bytes. Returns where the
 * first field is that is anything else. */
const uint8_t *batch_budget_take_usual(struct batch_decoder *decoder, const uint8_t *at,
                                       const uint8_t *end, const struct record_sink *sink);

#endif
