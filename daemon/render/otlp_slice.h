/*
 * Some of the spans or data points of an encoded request of OTLP as a request of their own, for a
 * receiver that finds the whole too large. What stands around them stays as it is: resources, scopes,
 * names, temporality; what has none of them left goes. It decodes neither spans nor points. Pure; any
 * thread.
 */
#ifndef DWELL_RENDER_OTLP_SLICE_H
#define DWELL_RENDER_OTLP_SLICE_H

#include "base/buf.h"

enum otlp_slice_kind {
    OTLP_SLICE_SPANS,  /* of an ExportTraceServiceRequest */
    OTLP_SLICE_POINTS, /* of an ExportMetricsServiceRequest */
    OTLP_SLICE_COUNT
};

/* Appends at most `count` of them, in their order, without the first `skip`. Returns 0, also when there
 * are fewer; ERR_SYNTAX for what is no such request; ERR_LIMIT or ERR_NOMEM of the buffer. */
int otlp_slice(enum otlp_slice_kind kind, struct str request, uint64_t skip, uint64_t count,
               struct buf *out);

#endif
