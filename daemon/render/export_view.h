/*
 * What the daemon tells of one signal's export (traces, metrics) on /metrics and in the status: a
 * copy that its owner took at one moment, so that the sum holds:
 *
 *     accepted = exported + held + waiting + in flight + spooled + dropped, over all reasons
 *
 * What a daemon finds in its spool at the start it has accepted, too: `recovered` of `accepted`. Over
 * restarts, the sum of accepted without recovered is the sum of exported and dropped, and what waits,
 * is in flight or spooled in the end, and what a kill -9 took that was not spooled.
 *
 * It knows neither queues nor gRPC. Plain data; any thread.
 */
#ifndef DWELL_RENDER_EXPORT_VIEW_H
#define DWELL_RENDER_EXPORT_VIEW_H

#include <stdint.h>

#include "core/counters.h"

/* code, word on /metrics and in logs: why something will never be exported */
#define EXPORT_DROP_TABLE(X)                                                                       \
    X(NOT_SAMPLED,                                                                                 \
      "not_sampled") /* by rate or by whoever decided, and nothing in its trace kept it */         \
    X(HOLD_FULL, "hold_full")         /* a ceiling of what is held was reached */                  \
    X(QUEUE_FULL, "queue_full")       /* a ceiling of the queue was reached */                     \
    X(TOO_LARGE, "too_large")         /* does not fit a request, alone */                          \
    X(OUT_OF_MEMORY, "out_of_memory") /* no memory to keep or to send it */                        \
    X(NO_EXPORTER, "no_exporter")     /* the module is not there, or the target cannot be used */  \
    X(REJECTED, "rejected")           /* the receiver took the request but not this */             \
    X(FAILED, "failed")               /* the receiver refused the request for good */              \
    X(TIMEOUT, "timeout")             /* otlp.retry_timeout_ms or metric_timeout_ms was over */    \
    X(REPLACED, "replaced")           /* a newer snapshot told the same series */                  \
    X(SHUTDOWN, "shutdown")           /* shutdown.timeout_ms was over */                           \
    X(SPOOL_FULL, "spool_full")       /* given up for the ceilings of the spool */                 \
    X(SPOOL_FAILED, "spool_failed")   /* could not be spooled at the end; or its file vanished */  \
    X(DAMAGED, "damaged")             /* its file of the spool is damaged */

enum export_drop {
#define X(code, word) EXPORT_DROP_##code,
    EXPORT_DROP_TABLE(X)
#undef X
        EXPORT_DROP_COUNT
};

/* member of struct export_view, name in the status, metric without the prefix dwelld_export_, kind,
 * help. Named as OpenTelemetry names the metrics of an SDK (otel.sdk.processor.span.queue.size, …),
 * as far as it has them. */
#define EXPORT_FIGURE_TABLE(X)                                                                     \
    X(loaded, "loaded", "module_loaded", GAUGE,                                                    \
      "1 when the module that exports was found and takes its target.")                            \
    X(accepted, "accepted", "accepted_total", COUNTER, "Spans or points given to the export.")     \
    X(exported, "exported", "exported_total", COUNTER, "Of these, what the receiver took.")        \
    X(held, "held", "held", GAUGE,                                                                 \
      "Of these, what is held until it is known whether its trace is worth keeping.")              \
    X(waiting, "waiting", "queue_size", GAUGE, "Of these, what waits to be sent.")                 \
    X(in_flight, "in_flight", "inflight", GAUGE,                                                   \
      "Of these, what is being sent, or will be sent again.")                                      \
    X(spooled, "spooled", "spooled", GAUGE, "Of these, what is in files of the spool.")            \
    X(recovered, "recovered", "recovered_total", COUNTER,                                          \
      "Of these, what was found in the spool at the start.")                                       \
    X(capacity, "capacity", "queue_capacity", GAUGE, "Most that may wait and be in flight.")       \
    X(bytes, "bytes", "queue_bytes", GAUGE, "Memory of what waits and is in flight.")              \
    X(capacity_bytes, "capacity_bytes", "queue_limit_bytes", GAUGE, "Most that it may take.")      \
    X(spool_works, "spool_works", "spool_works", GAUGE,                                            \
      "1 when the spool works, 0 when its last operation failed; there with a spool only.")        \
    X(spool_files, "spool_files", "spool_files", GAUGE, "Files of the spool.")                     \
    X(spool_bytes, "spool_bytes", "spool_bytes", GAUGE, "Bytes of these files.")                   \
    X(spool_limit_bytes, "spool_limit_bytes", "spool_limit_bytes", GAUGE,                          \
      "Most that they may be.")                                                                    \
    X(spool_damaged_files, "spool_damaged_files", "spool_damaged_files_total", COUNTER,            \
      "Files of the spool that were set aside because they are damaged.")                          \
    X(spool_failures, "spool_failures", "spool_failures_total", COUNTER,                           \
      "Operations of the spool that failed.")                                                      \
    X(failures, "failures", "failures_total", COUNTER,                                             \
      "Calls that ended with another status than OK.")                                             \
    X(retries, "retries", "retries_total", COUNTER, "Calls that repeat one that failed.")          \
    X(splits, "splits", "splits_total", COUNTER,                                                   \
      "Requests cut in two because the receiver found them too large.")                            \
    X(failing_seconds, "failing_seconds", "failing_seconds", GAUGE,                                \
      "How long every call has failed, at least 1; 0: the last one did not.")                      \
    X(garbled, "garbled_responses", "garbled_responses_total", COUNTER,                            \
      "Responses with status OK that could not be read.")

struct export_view {
    const char *signal;   /* "traces"; constant */
    const char *endpoint; /* where it goes; NULL: not told; lives as long as the daemon */
    /* Spans or data points, waiting and in flight within `capacity`, calls. */
#define X(member, name, metric, kind, help) uint64_t member;
    EXPORT_FIGURE_TABLE(X)
#undef X
    uint64_t dropped[EXPORT_DROP_COUNT];
    struct timing duration; /* of all calls */
};

#endif
