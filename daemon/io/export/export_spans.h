/*
 * Spans as items of an export: as many as fit a request, grouped by the service that they are of.
 * It does not queue or send. One thread at a time; `end` on any.
 */
#ifndef DWELL_EXPORT_EXPORT_SPANS_H
#define DWELL_EXPORT_EXPORT_SPANS_H

#include "io/export/export_item.h"
#include "render/otlp_trace.h"

enum { EXPORT_SERVICES_MAX = 64 }; /* services besides the daemon's own that have a resource */

/* An owner of items: a service and what is sent of it. */
struct export_service {
    unsigned index;      /* from 0, below EXPORT_SERVICES_MAX + 1 */
    struct str name;     /* owned; empty for the daemon's own */
    struct str resource; /* owned; the encoded field */
};

/* What the functions are called with. */
struct export_spans {
    struct str scope; /* borrowed; the encoded field */
    uint64_t max_request_bytes;
    struct otlp_spans groups[EXPORT_SERVICES_MAX + 1]; /* of the request that was chosen */
};

/* An item is an encoded Span, its owner a struct export_service. */
extern const struct export_signal export_spans_signal;

#endif
