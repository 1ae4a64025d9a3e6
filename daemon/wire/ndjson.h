/*
 * Cuts newline-delimited JSON objects into lines and has each read as a record (proto/WIRE.md,
 * "NDJSON"). It does not answer: rejections go to the sink, and ndjson_render_error makes the line
 * that a peer is told.
 * Bytes may come in any split. It never sees a socket. One thread at a time.
 */
#ifndef DWELL_WIRE_NDJSON_H
#define DWELL_WIRE_NDJSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/record.h"
#include "wire/line.h"

struct ndjson {
    size_t max_line_bytes; /* without the newline */
    size_t
        begun_max_bytes; /* the ceiling of the line in `partial`, if it began under a higher one */
    struct buf partial;  /* a line of which only a part has come */
    struct line_memory memory;
    bool discarding; /* an over-long line is being skipped up to its newline */
    uint64_t line;   /* of the line being read, from 1 */
};

void ndjson_init(struct ndjson *ndjson, size_t max_line_bytes);
void ndjson_fini(struct ndjson *ndjson);

/* The ceiling from the next line on. */
void ndjson_limit(struct ndjson *ndjson, size_t max_line_bytes);

/* Takes all of `bytes`, hands over the records of every whole line, keeps the rest. A bad line is
 * rejected through the sink and the next one goes on. Returns 0 or ERR_NOMEM. */
int ndjson_feed(struct ndjson *ndjson, struct str bytes, const struct record_sink *sink);

/* End of input: an unterminated line is a line. */
void ndjson_end(struct ndjson *ndjson, const struct record_sink *sink);

/* One line of JSON, newline included: {"error": "…", "reason": "…", "line": N}. */
void ndjson_render_error(struct buf *out, const struct rejection *rejection);

/* {"flushed": N} and a newline. */
void ndjson_render_flushed(struct buf *out, uint64_t applied);

/* {"acknowledging": true} and a newline, or false. */
void ndjson_render_acknowledging(struct buf *out, bool will);

/* {"acknowledged": N} and a newline. */
void ndjson_render_acknowledged(struct buf *out, uint64_t number);

#endif
