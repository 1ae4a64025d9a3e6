/*
 * An ExportTraceServiceRequest around spans that are encoded already. Lengths are computed before
 * anything is written, so that nothing has to be moved and the ceiling of a request is exact.
 * It does not look into spans. Pure; any thread.
 *
 *     resource_spans 1 | length                          one such group for each service
 *         resource     1 | length | attributes           handed in
 *         scope_spans  2 | length
 *             scope    1 | length | name, version        handed in
 *             spans    2 | length | the bytes of a span  handed in, each
 */
#ifndef DWELL_RENDER_OTLP_TRACE_H
#define DWELL_RENDER_OTLP_TRACE_H

#include "base/buf.h"

struct otlp_spans {
    struct str resource; /* the whole field (otlp_resource_render) */
    struct str scope;    /* likewise (otlp_scope_render) */
    size_t spans_bytes;  /* sum of otlp_trace_span_size over the spans that will follow */
};

/* Bytes that a span of `len` bytes takes inside its group. */
size_t otlp_trace_span_size(size_t len);

/* Bytes that the whole group takes in the request. */
size_t otlp_trace_size(const struct otlp_spans *spans);

/* Appends everything of a group that stands before its first span. */
void otlp_trace_begin(const struct otlp_spans *spans, struct buf *out);

/* Appends one span of the group. */
void otlp_trace_span(struct str span, struct buf *out);

#endif
