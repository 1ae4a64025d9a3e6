/*
 * Writes what the daemon sends back on a connection of frames: one Reply (proto/dwell.proto) after a
 * u32 little-endian length. The answers of NDJSON are wire/ndjson's. Any thread.
 */
#ifndef DWELL_WIRE_REPLY_H
#define DWELL_WIRE_REPLY_H

#include <stdint.h>

#include "base/buf.h"

/* The answer to a Flush: how many records of the connection were applied. */
void reply_render_flushed(struct buf *out, uint64_t applied);

/* Why the connection ends: `err` is a code of base/err.h. */
void reply_render_error(struct buf *out, int err);

#endif
