#include "io/export/export_spans.h"

#include "base/mem.h"
#include "render/otlp_slice.h"

static const struct export_service *service_of(const struct export_item *item)
{
    return item->owner;
}

/* Measures the groups, too. A first span that does not fit makes a request of its own, which is then
 * found too large. */
static uint64_t choose(void *ctx, const struct export_item *first, uint64_t most)
{
    struct export_spans *spans = ctx;
    uint64_t total = 0;
    uint64_t count = 0;
    memset(spans->groups, 0, sizeof spans->groups);
    for (const struct export_item *item = first; item != NULL; item = item->next) {
        const struct export_service *service = service_of(item);
        struct otlp_spans *group = &spans->groups[service->index];
        struct otlp_spans grown = *group;
        grown.resource = service->resource;
        grown.scope = spans->scope;
        grown.spans_bytes += otlp_trace_span_size(item->len);
        uint64_t before = group->spans_bytes == 0 ? 0 : otlp_trace_size(group);
        uint64_t size = total - before + otlp_trace_size(&grown);
        bool fits = size <= spans->max_request_bytes;
        if (count > 0 && (!fits || count == most)) {
            break;
        }
        *group = grown;
        total = size;
        count++;
    }
    return count;
}

static void write_group(const struct otlp_spans *group, unsigned index,
                        const struct export_item *item, uint64_t count, struct buf *out)
{
    otlp_trace_begin(group, out);
    for (uint64_t i = 0; i < count; i++, item = item->next) {
        if (service_of(item)->index == index) {
            otlp_trace_span((struct str){item->bytes, item->len}, out);
        }
    }
}

static int write_spans(void *ctx, const struct export_item *first, uint64_t count, struct buf *out,
                       struct str *ret_request)
{
    const struct export_spans *spans = ctx;
    for (unsigned i = 0; i <= EXPORT_SERVICES_MAX && out->err == 0; i++) {
        if (spans->groups[i].spans_bytes > 0) {
            write_group(&spans->groups[i], i, first, count, out);
        }
    }
    if (out->err == 0) {
        *ret_request = (struct str){out->data, out->len};
    }
    return out->err;
}

static int slice(void *ctx, struct str request, uint64_t skip, uint64_t count, struct buf *out)
{
    (void)ctx;
    return otlp_slice(OTLP_SLICE_SPANS, request, skip, count, out);
}

static void end(void *ctx, struct export_item *item, const struct export_end *end)
{
    (void)ctx;
    (void)end;
    mem_free(item);
}

const struct export_signal export_spans_signal = {
    .name = "traces",
    .noun = "spans",
    .gone = "were lost",
    .method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    .choose = choose,
    .write = write_spans,
    .slice = slice,
    .end = end,
};
