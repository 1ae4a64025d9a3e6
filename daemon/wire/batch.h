/*
 * Decodes one binary batch (proto/dwell.proto) in place: no allocation, no copy, one pass.
 * It does not find frame boundaries (wire/frames does) and keeps nothing between batches but the
 * string table's memory. One thread at a time for each decoder.
 */
#ifndef DWELL_WIRE_BATCH_H
#define DWELL_WIRE_BATCH_H

#include <stdint.h>

#include "core/record.h"

enum { BATCH_STRINGS_MAX = 4096 }; /* entries of a batch's string table; one more is damage */

struct batch_decoder {
    struct str strings[BATCH_STRINGS_MAX];
    uint32_t string_count;
    struct sample sample;
    struct metric metric;
    struct span_room span_room;
    struct brief briefs[RECORD_BRIEFS_MAX];
    struct budget budgets[RECORD_BUDGETS_MAX];
};

/* Hands every record of the batch to the sink, in order. Returns 0, or ERR_FRAME when the bytes are
 * no valid Batch: records before the damage have been handed over. `bytes` may be empty. */
int batch_decode(struct batch_decoder *decoder, struct str bytes, const struct record_sink *sink);

#endif
