/*
 * From a span that the core wants sent to the exporter: writes it as OTLP. It decides nothing.
 * Loop thread only.
 */
#ifndef DWELL_EXPORT_SPAN_EXPORT_H
#define DWELL_EXPORT_SPAN_EXPORT_H

#include "base/buf.h"
#include "core/sampler.h"
#include "io/export/exporter.h"

struct span_export {
    struct exporter *exporter;      /* borrowed; NULL: nothing is sent */
    struct str constitutional_hash; /* borrowed */
    struct buf scratch;
};

void span_export_init(struct span_export *spans, struct exporter *exporter,
                      struct str constitutional_hash);
void span_export_fini(struct span_export *spans);

/* Where the sampler is to tell what becomes of spans; borrows the struct. */
struct sampler_sink span_export_sink(struct span_export *spans);

#endif
