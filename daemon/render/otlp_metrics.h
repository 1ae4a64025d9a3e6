/*
 * A snapshot as requests of OTLP: ExportMetricsServiceRequest (proto/otlp.proto) with the families of
 * models, of clients and of the daemon, in pieces that are complete requests each.
 * It does not send, retry, or read clocks: the time of all points is the snapshot's wall time. One
 * thread owns it; the snapshot may be any thread's.
 *
 *     families   otlp_name.h says what they are called, otlp_form.h what they become
 *     attributes the labels of /metrics, and constitutional_hash on every point, whoever else says one:
 *                an info's own that differs becomes exported_constitutional_hash
 *     overflow   otel.metric.overflow = true, in place of dwell_overflow="true"
 *     start      of a cumulative point: when its series was first counted in, of models over resets
 *                too; of the daemon's own: start_wall_ns. A series that ended and came back is another.
 *
 *     temporality    counters, histograms    the daemon's own counters    gauges, infos
 *     cumulative     cumulative              cumulative                   none: as they are
 *     delta          delta                   delta                        likewise
 *     lowmemory      delta                   cumulative                   likewise
 *
 * The daemon's own counters are read when asked, so for the specification they are asynchronous.
 * A delta begins at the time of the last point of its series, the first one when the series began. A
 * series that did not change gives no point. One that has ended still tells what it had not told yet,
 * as long as its place is not given back.
 *
 *     render ──piece──> sink ──> … sent ──> commit     what it told is told
 *                                  given up ─> abort    what it told comes with the next request
 */
#ifndef DWELL_RENDER_OTLP_METRICS_H
#define DWELL_RENDER_OTLP_METRICS_H

#include "core/snapshot.h"
#include "render/exposition.h"
#include "render/otlp_delta.h"

#define OTLP_REQUEST_DEFAULT ((size_t)4 << 20)   /* what servers of gRPC take */
#define OTLP_REQUEST_MIN     ((size_t)256 << 10) /* half of it holds what must stay together */
#define OTLP_REQUEST_MAX     ((size_t)64 << 20)  /* the ceiling of the specification */

enum otlp_temporality { OTLP_CUMULATIVE, OTLP_DELTA, OTLP_LOWMEMORY, OTLP_TEMPORALITY_COUNT };

/* Borrowed during otlp_metrics_new only. */
struct otlp_metrics_options {
    struct str name_space;   /* metrics.namespace */
    struct str service_name; /* in the names of free families */
    struct str constitutional_hash;
    struct str resource; /* what otlp_resource_render has appended */
    struct str dwelld_version;
    struct str label_keys[REGISTRY_LABEL_KEYS_MAX]; /* the registry's, in the same order */
    uint32_t label_key_count;
    uint64_t start_wall_ns; /* when the daemon began */
    enum otlp_temporality temporality;
    bool exponential;   /* exponential histograms wherever there are native buckets */
    size_t max_request; /* bytes, OTLP_REQUEST_MIN to _MAX; 0: OTLP_REQUEST_DEFAULT */
};

struct otlp_piece {
    char *bytes; /* owned; of mem_alloc */
    size_t len;
    uint32_t points;             /* always some */
    struct otlp_changes changes; /* owned; empty unless something in it is a delta */
};

/* Takes the piece, sends it or keeps it for later. Returns 0, or an error that ends the rendering: the
 * piece is then not taken. */
typedef int otlp_sink_fn(void *ctx, struct otlp_piece *piece);

struct otlp_metrics;

/* NULL without memory, or when the resource takes more than half of a request. */
struct otlp_metrics *otlp_metrics_new(const struct otlp_metrics_options *options);
void otlp_metrics_free(struct otlp_metrics *metrics); /* once all pieces are settled */

/* Hands the whole snapshot to the sink, piece by piece. `process` may be NULL, in each call or in
 * none: then the families that only the HTTP side knows are left out. Unless all is cumulative the
 * pieces of earlier calls must have been committed or aborted. Returns 0, ERR_NOMEM or the sink's error;
 * pieces that were taken before are good nevertheless. Snapshots of one registry only, none older than
 * the last. */
int otlp_metrics_render(struct otlp_metrics *metrics, const struct snapshot *snapshot,
                        const struct exposition_process *process, otlp_sink_fn *sink, void *ctx);

/* The end of a piece: it was delivered, or it was given up. Its memory is freed. Pieces of one call may
 * be settled in any order, from within the sink too. */
void otlp_metrics_commit(struct otlp_metrics *metrics, struct otlp_piece *piece);
void otlp_metrics_abort(struct otlp_metrics *metrics, struct otlp_piece *piece);

/* From the next call on requests are of at most so many bytes: no less than OTLP_REQUEST_MIN and twice
 * what stands in front of all metrics, no more than it was made with. Returns how many it will be. */
size_t otlp_metrics_limit(struct otlp_metrics *metrics, size_t max_request);

/* Points so far that were left out because no request could hold them. */
uint64_t otlp_metrics_left_out(const struct otlp_metrics *metrics);

#endif
