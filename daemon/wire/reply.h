/*
 * Writes what the daemon sends back on a connection of frames: one Reply (proto/dwell.proto) after a
 * u32 little-endian length. The answers of NDJSON are wire/ndjson's. Any thread.
 */
#ifndef DWELL_WIRE_REPLY_H
#define DWELL_WIRE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* The answer to a Flush: how many records of the connection were applied. */
void reply_render_flushed(struct buf *out, uint64_t applied);

/* The answer to a hello that asks for acknowledgements: whether there will be any. */
void reply_render_acknowledging(struct buf *out, bool will);

/* All records of the client with a number below this one are kept. */
void reply_render_acknowledged(struct buf *out, uint64_t number);

/* Why the connection ends: `err` is a code of base/err.h. */
void reply_render_error(struct buf *out, int err);

#endif
