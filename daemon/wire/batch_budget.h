/*
 * Reads one Budget of a batch (proto/dwell.proto) and hands it over. It does not find it: wire/batch
 * does. Any thread.
 */
#ifndef DWELL_WIRE_BATCH_BUDGET_H
#define DWELL_WIRE_BATCH_BUDGET_H

#include "wire/field.h"

/* Hands over the budget in these bytes, or its rejection. Returns 0, or ERR_FRAME when they are no
 * message. */
int batch_budget_decode(struct piece piece, const struct record_sink *sink);

#endif
