/*
 * The export of traces by OTLP/gRPC: takes spans on the loop thread and sees to it that they go out,
 * on a thread of its own. It does not decode spans, sample them or know where they come from, and
 * it does not look for its module: the functions of a transport are handed in.
 *
 * Loop thread only, but for exporter_view.
 */
#ifndef DWELL_EXPORT_EXPORTER_H
#define DWELL_EXPORT_EXPORTER_H

#include "base/clock.h"
#include "io/export/transport.h"
#include "render/export_view.h"
#include "render/otlp_resource.h"

enum {
    EXPORTER_SPAN_MAX = 1 << 20, /* bytes of an encoded span */
    EXPORTER_NAME_MAX = 256,     /* bytes of a service's name that gets a resource of its own */
};

struct exporter_options {
    const struct transport *transport;     /* NULL: there is none, spans are counted and dropped */
    const struct transport_target *target; /* borrowed during exporter_start */
    const char *address;                   /* for the log; borrowed for the exporter's life */
    const struct otlp_resource_options *resource; /* likewise, with all it points at */
    struct clock clock;
    uint64_t seed;              /* of the random waits */
    uint64_t max_queue_spans;   /* waiting and in flight, at least 1 */
    uint64_t max_queue_bytes;   /* likewise */
    uint64_t batch_spans;       /* spans of a request, at least 1; 1: each is sent at once */
    uint64_t delay_ms;          /* how long a batch that is not full waits for more */
    uint64_t timeout_ms;        /* of a call */
    uint64_t retry_timeout_ms;  /* of a batch with all its calls; 0: it is kept until it is taken */
    uint64_t max_request_bytes; /* at most EXPORT_REQUEST_MAX */
    uint64_t spool_after_ms;    /* how long a request is tried before it goes to the spool */
    const char *spool_path;     /* NULL or empty: none; borrowed for the exporter's life */
    uint64_t spool_max_bytes;
    uint64_t spool_max_files; /* at most SPOOL_FILES_MAX */
};

struct exporter;
struct export_queue;

/* Opens the transport's channel and starts the thread. A target that the transport does not take is
 * told in the log, and leaves an exporter that drops all spans. Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int exporter_start(const struct exporter_options *options, struct exporter **ret_exporter);

/* Takes a copy of one span: an encoded opentelemetry.proto.trace.v1.Span of at most
 * EXPORTER_SPAN_MAX bytes. `service_name`: whose it is; empty: the daemon's own service. The first
 * EXPORT_SERVICES_MAX other services get a resource each; the spans of more, and those of services
 * with a longer name than EXPORTER_NAME_MAX, go under the daemon's own resource with an attribute
 * service.name on each of them. Never waits; what cannot be kept is dropped and counted. NULL is
 * permitted: nothing is exported then. */
void exporter_add_span(struct exporter *exporter, struct str service_name, struct str span);

/* The same for a span that exporter_hold_span has counted. */
void exporter_add_held_span(struct exporter *exporter, struct str service_name, struct str span);

/* Counts spans that never come here: one that is held by the sampler; some that end for a reason, and
 * `were_held` or not. NULL is permitted. */
void exporter_hold_span(struct exporter *exporter);
void exporter_drop_spans(struct exporter *exporter, enum export_drop reason, uint32_t spans,
                         bool were_held);

/* The account at this moment. Any thread, between exporter_start and exporter_close. */
void exporter_view(struct exporter *exporter, struct export_view *ret_view);

/* Where that account is, for whoever shows it. */
struct export_queue *exporter_queue(struct exporter *exporter);

/* From now on what waits is sent without delay, until `deadline_ns` (monotonic); later calls may
 * move it. Returns at once. NULL is permitted. */
void exporter_stop(struct exporter *exporter, uint64_t deadline_ns);

/* After exporter_stop: true when exporter_close will not wait. Past the deadline it ends the call in
 * progress. NULL counts as done. */
bool exporter_is_done(struct exporter *exporter);

/* After exporter_stop: waits until it is done, in place of asking. NULL is permitted. */
void exporter_finish(struct exporter *exporter);

/* Ends the thread, at once if it was not done, and frees everything. NULL is permitted. */
void exporter_close(struct exporter *exporter);

#endif
