#include "render/otlp_trace.h"

#include "base/message.h"

/* Field numbers of opentelemetry-proto: trace/v1 and its collector service. All are below 16, so a
 * tag is one byte. */
enum { RESOURCE_SPANS = 1, SCOPE_SPANS = 2, SPANS = 2, WIRE_TYPE_BYTES = 2 };

static size_t scope_spans_len(const struct otlp_spans *spans)
{
    return spans->scope.len + spans->spans_bytes;
}

static size_t resource_spans_len(const struct otlp_spans *spans)
{
    return spans->resource.len + message_text_bytes(scope_spans_len(spans));
}

size_t otlp_trace_span_size(size_t len)
{
    return message_text_bytes(len);
}

size_t otlp_trace_size(const struct otlp_spans *spans)
{
    return message_text_bytes(resource_spans_len(spans));
}

static void begin(struct buf *out, unsigned field, size_t len)
{
    message_varint(out, field << 3 | WIRE_TYPE_BYTES);
    message_varint(out, len);
}

void otlp_trace_begin(const struct otlp_spans *spans, struct buf *out)
{
    begin(out, RESOURCE_SPANS, resource_spans_len(spans));
    buf_str(out, spans->resource);
    begin(out, SCOPE_SPANS, scope_spans_len(spans));
    buf_str(out, spans->scope);
}

void otlp_trace_span(struct str span, struct buf *out)
{
    message_str(out, SPANS, span);
}
