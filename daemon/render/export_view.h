/*
 * What the daemon tells of one signal's export (traces, metrics) on /metrics and in the status: a
 * copy that its owner took at one moment, so that the sum holds:
 *
 *     accepted = exported + waiting + in flight + dropped, over all reasons
 *
 * It knows neither queues nor gRPC. Plain data; any thread.
 */
#ifndef DWELL_RENDER_EXPORT_VIEW_H
#define DWELL_RENDER_EXPORT_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/counters.h"

/* code, word on /metrics and in logs: why something will never be exported */
#define EXPORT_DROP_TABLE(X)                                                                       \
    X(QUEUE_FULL, "queue_full")       /* a ceiling of the queue was reached */                     \
    X(TOO_LARGE, "too_large")         /* does not fit a request, alone */                          \
    X(OUT_OF_MEMORY, "out_of_memory") /* no memory to keep or to send it */                        \
    X(NO_EXPORTER, "no_exporter")     /* the module is not there, or the target cannot be used */  \
    X(REJECTED, "rejected")           /* the receiver took the request but not this */             \
    X(FAILED, "failed")               /* the receiver refused the request for good */              \
    X(TIMEOUT, "timeout")             /* otlp.retry_timeout_ms was over */                         \
    X(SHUTDOWN, "shutdown")           /* shutdown.timeout_ms was over */

enum export_drop {
#define X(code, word) EXPORT_DROP_##code,
    EXPORT_DROP_TABLE(X)
#undef X
        EXPORT_DROP_COUNT
};

struct export_view {
    const char *signal; /* "traces"; constant */
    bool is_loaded;     /* the module was found and takes the target */
    uint64_t accepted;  /* spans or data points, as all below that say nothing else */
    uint64_t exported;
    uint64_t waiting;
    uint64_t in_flight; /* of the request at hand, between its retries too */
    uint64_t dropped[EXPORT_DROP_COUNT];
    uint64_t capacity; /* of waiting and in flight together */
    uint64_t bytes;    /* what waits and is in flight takes */
    uint64_t capacity_bytes;
    uint64_t retries;       /* calls that repeat one that failed */
    uint64_t splits;        /* requests cut in two because they were too large for the receiver */
    uint64_t failures;      /* calls that ended with another status than OK */
    uint64_t garbled;       /* responses that could not be read */
    struct timing duration; /* of all calls */
};

#endif
