/*
 * An exemplar at the end of an OpenMetrics line. Pure; any thread.
 */
#ifndef DWELL_RENDER_EXEMPLAR_H
#define DWELL_RENDER_EXEMPLAR_H

#include "base/buf.h"
#include "core/buckets.h"

/* Turns the end of the line just written into ` # {trace_id="…",span_id="…"} value time`. The labels
 * have 63 characters, of 128 permitted. */
void exemplar_append(const struct exemplar_mark *mark, struct buf *out);

/* Seconds since 1970 with milliseconds: 1700000000.123 */
void exemplar_append_time(uint64_t wall_ns, struct buf *out);

#endif
