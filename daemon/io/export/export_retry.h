/*
 * What to do after a call: keep what it brought, wait and send it again, cut it in two, or drop it
 * (opentelemetry-specification, protocol/exporter.md and opentelemetry-proto, docs/specification.md).
 * It makes no calls, reads no clock and draws no numbers: pure; any thread.
 */
#ifndef DWELL_EXPORT_EXPORT_RETRY_H
#define DWELL_EXPORT_EXPORT_RETRY_H

#include "io/export/transport.h"
#include "render/export_view.h"

/* Without a word from the server the n-th wait is a random time up to 1 s · 2^n, 30 s at most ("full
 * jitter"): receivers that come back are not met by all of their senders at once, and are found
 * within half a minute. What the server asks for is kept within bounds, too: one that says 0 for
 * ever must not be called in a tight loop, and one that says a year is asked again before. */
#define RETRY_FIRST_NS        UINT64_C(1000000000)
#define RETRY_MOST_NS         UINT64_C(30000000000)
#define RETRY_SERVER_LEAST_NS UINT64_C(100000000)
#define RETRY_SERVER_MOST_NS  UINT64_C(300000000000)

struct retry_input {
    enum transport_status status;
    bool has_retry_delay;
    uint64_t retry_delay_ns;
    unsigned attempt; /* calls of this request that failed before this one */
    uint64_t random;  /* 64 random bits */
    uint64_t left_ns; /* until the batch's time is over; UINT64_MAX: it has no end */
    uint64_t items;   /* in the request, at least 1 */
};

enum retry_action {
    RETRY_KEEP, /* it was taken */
    RETRY_WAIT, /* for wait_ns, then again */
    RETRY_SPLIT,
    RETRY_DROP, /* for `reason` */
};

struct retry_decision {
    enum retry_action action;
    uint64_t wait_ns;
    enum export_drop reason;
};

struct retry_decision export_retry_decide(const struct retry_input *input);

/* "UNAVAILABLE": the code's name as specifications have it. */
const char *export_retry_status_name(enum transport_status status);

#endif
