/*
 * The export of metrics by OTLP/gRPC: a thread that asks the loop for a snapshot now and then, and sends
 * what render/otlp_metrics makes of it. When it asks and what becomes of requests is
 * io/metric_export's. It does not look for its module: the functions of a transport are handed in.
 *
 * Loop thread only.
 */
#ifndef DWELL_EXPORT_METRIC_EXPORTER_H
#define DWELL_EXPORT_METRIC_EXPORTER_H

#include "io/handover.h"
#include "io/self.h"
#include "io/export/transport.h"
#include "render/otlp_metrics.h"

struct metric_exporter_options {
    const struct transport *transport;         /* NULL: there is none, and nothing is exported */
    const struct transport_target *target;     /* borrowed during the start */
    const char *address;                       /* for the log; borrowed for the exporter's life */
    const struct otlp_metrics_options *render; /* borrowed during the start */
    struct self *self;                         /* which its account is added to; must outlive it */
    struct clock clock;
    uint64_t seed; /* of the random waits */
    uint64_t interval_ms;
    uint64_t export_timeout_ms; /* of an export with all its calls */
    uint64_t timeout_ms;        /* of a call */
    uint64_t max_queue_bytes;
    uint64_t spool_after_ms; /* how long a request is tried before it goes to the spool */
    const char *spool_path;  /* NULL or empty: none; borrowed for the exporter's life */
    uint64_t spool_max_bytes;
    uint64_t spool_max_files; /* at most SPOOL_FILES_MAX */
    bool goes_on; /* what is there at the start an earlier life has told: deltas begin there */
};

struct metric_exporter;

/* Opens the transport's channel and starts the thread. A target that the transport does not take is told
 * in the log, and leaves an exporter that exports nothing. The hand-over must outlive it, and the loop
 * must run until it is done. Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int metric_exporter_start(const struct metric_exporter_options *options, struct handover *handover,
                          struct metric_exporter **ret_exporter);

/* One more snapshot is taken, and sent until `deadline_ns` (monotonic); later calls may move it. Returns
 * at once. NULL is permitted. */
void metric_exporter_stop(struct metric_exporter *exporter, uint64_t deadline_ns);

/* After metric_exporter_stop: true when it needs the loop no more and metric_exporter_close will not wait.
 * Past the deadline it ends the call in progress. NULL counts as done. */
bool metric_exporter_is_done(struct metric_exporter *exporter);

/* When it is done, or before the loop runs: ends the thread and frees everything; before handover_close.
 * NULL is permitted. */
void metric_exporter_close(struct metric_exporter *exporter);

#endif
