#include "io/export/span_export.h"

#include "base/err.h"
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
    struct span_export *spans = ctx;
    struct buf *out = &spans->scratch;
    buf_clear(out);
    otlp_span_render(span, spans->constitutional_hash, out);
    if (out->err != 0) {
        exporter_drop_spans(
            spans->exporter,
            out->err == ERR_LIMIT ? EXPORT_DROP_TOO_LARGE : EXPORT_DROP_OUT_OF_MEMORY, 1, was_held);
    } else if (was_held) {
        exporter_add_held_span(spans->exporter, span->service_name,
                               (struct str){out->data, out->len});
    } else {
        exporter_add_span(spans->exporter, span->service_name, (struct str){out->data, out->len});
    }
    if (out->cap > KEEP_BYTES) {
        buf_fini(out);
    }
}

static void hold(void *ctx)
{
    const struct span_export *spans = ctx;
    exporter_hold_span(spans->exporter);
}

static void drop(void *ctx, enum sampler_drop why, uint32_t count, bool were_held)
{
    static const enum export_drop reasons[] = {[SAMPLER_NOT_SAMPLED] = EXPORT_DROP_NOT_SAMPLED,
                                               [SAMPLER_HOLD_FULL] = EXPORT_DROP_HOLD_FULL,
                                               [SAMPLER_NO_MEMORY] = EXPORT_DROP_OUT_OF_MEMORY};
    _Static_assert(sizeof reasons / sizeof reasons[0] == SAMPLER_DROP_COUNT, "one each");
    const struct span_export *spans = ctx;
    exporter_drop_spans(spans->exporter, reasons[why], count, were_held);
}

struct sampler_sink span_export_sink(struct span_export *spans)
{
    return (struct sampler_sink){.ctx = spans, .keep = take, .hold = hold, .drop = drop};
}
