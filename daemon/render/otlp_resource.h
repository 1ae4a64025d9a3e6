/*
 * A Resource of OTLP: who is being told of. It does not know spans or metrics. Pure; any thread.
 */
#ifndef DWELL_RENDER_OTLP_RESOURCE_H
#define DWELL_RENDER_OTLP_RESOURCE_H

#include "base/buf.h"
#include "core/record.h"

/* Borrowed during a call. */
struct otlp_resource_options {
    struct str service_name; /* the daemon's own service */
    struct str service_version;
    struct str environment;
    struct str constitutional_hash;
    const struct label *attributes; /* service.attributes; a key from above does not count twice */
    size_t attribute_count;
    struct str dwelld_version;
};

/* Appends a field `resource` (number 1, as all messages have it) for the daemon's own service, or
 * for another one when `other` is not empty: the same but for the name, and without what belongs to
 * one service alone (service.version and every other attribute of service.*). */
void otlp_resource_render(const struct otlp_resource_options *options, struct str other,
                          struct buf *out);

/* Appends a field `scope` (number 1): who made the telemetry. */
void otlp_scope_render(struct str version, struct buf *out);

#endif
