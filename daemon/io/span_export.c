#include "io/span_export.h"

#include "render/otlp_span.h"

enum { KEEP_BYTES = 1 << 16 }; /* a scratch that one large span made is given back */

void span_export_init(struct span_export *spans, struct exporter *exporter,
                      struct str constitutional_hash)
{
    *spans = (struct span_export){.exporter = exporter, .constitutional_hash = constitutional_hash};
    buf_init(&spans->scratch, EXPORTER_SPAN_MAX);
}

void span_export_fini(struct span_export *spans)
{
    buf_fini(&spans->scratch);
}

/* Without memory to write it, a span is counted as dropped. */
static void take(void *ctx, const struct span *span, bool was_held)
{
    (void)was_held;
    struct span_export *spans = ctx;
    struct buf *out = &spans->scratch;
    buf_clear(out);
    otlp_span_render(span, spans->constitutional_hash, out);
    if (out->err == 0) {
        exporter_add_span(spans->exporter, span->service_name, (struct str){out->data, out->len});
    } else {
        exporter_refuse_span(spans->exporter, out->err);
    }
    if (out->cap > KEEP_BYTES) {
        buf_fini(out);
    }
}

struct sampler_sink span_export_sink(struct span_export *spans)
{
    return (struct sampler_sink){.ctx = spans, .keep = take};
}
