/*
 * An exemplar at the end of an OpenMetrics line. Pure; any thread.
 */
#ifndef DWELL_RENDER_EXEMPLAR_H
#define DWELL_RENDER_EXEMPLAR_H

#include <stdint.h>

#include "base/buf.h"

struct exemplar_text {
    const uint8_t *trace_id; /* RECORD_TRACE_ID_BYTES */
    const uint8_t *span_id;  /* RECORD_SPAN_ID_BYTES, or NULL */
    double value;
    uint64_t wall_ns;
};

/* Turns the end of the line just written into ` # {trace_id="…",span_id="…"} value time`. The labels
 * have 63 characters, of 128 permitted. */
void exemplar_append(const struct exemplar_text *exemplar, struct buf *out);

/* Seconds since 1970 with milliseconds: 1700000000.123 */
void exemplar_append_time(uint64_t wall_ns, struct buf *out);

#endif
