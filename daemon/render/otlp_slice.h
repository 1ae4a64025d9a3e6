/*
 * Some of the spans of an encoded ExportTraceServiceRequest as a request of their own, for a receiver
 * that finds the whole too large. The request is one that otlp_trace.h has written; of others, fields
 * that it never writes are left out. It decodes no spans. Pure; any thread.
 */
#ifndef DWELL_RENDER_OTLP_SLICE_H
#define DWELL_RENDER_OTLP_SLICE_H

#include "base/buf.h"

/* Appends at most `count` spans, in their order, without the first `skip` of them, under the same
 * resources and scopes. Returns 0, also when there are fewer; ERR_SYNTAX for what is no such request;
 * ERR_LIMIT or ERR_NOMEM of the buffer. */
int otlp_slice(struct str request, uint64_t skip, uint64_t count, struct buf *out);

#endif
