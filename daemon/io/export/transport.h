/*
 * What the exporter asks of whatever carries its requests: a table of functions, which the daemon
 * finds in a module (io/transport_load) and tests make themselves. It knows channels, calls and
 * outcomes; it does not know spans, queues or retries.
 *
 * No memory passes from one side to the other: requests are borrowed during a call and replies are
 * written into the caller's struct.
 */
#ifndef DWELL_EXPORT_TRANSPORT_H
#define DWELL_EXPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
    TRANSPORT_VERSION = 1, /* of this header: a module of another one is refused */
    TRANSPORT_TEXT_MAX = 512,
    TRANSPORT_HEADERS_MAX = 128,
};

/* Codes of gRPC ("Status codes and their use in gRPC"), in its order. */
enum transport_status {
    TRANSPORT_OK,
    TRANSPORT_CANCELLED,
    TRANSPORT_UNKNOWN,
    TRANSPORT_INVALID_ARGUMENT,
    TRANSPORT_DEADLINE_EXCEEDED,
    TRANSPORT_NOT_FOUND,
    TRANSPORT_ALREADY_EXISTS,
    TRANSPORT_PERMISSION_DENIED,
    TRANSPORT_RESOURCE_EXHAUSTED,
    TRANSPORT_FAILED_PRECONDITION,
    TRANSPORT_ABORTED,
    TRANSPORT_OUT_OF_RANGE,
    TRANSPORT_UNIMPLEMENTED,
    TRANSPORT_INTERNAL,
    TRANSPORT_UNAVAILABLE,
    TRANSPORT_DATA_LOSS,
    TRANSPORT_UNAUTHENTICATED,
    TRANSPORT_STATUS_COUNT
};

struct transport_header {
    const char *name; /* lower or upper case */
    const char *value;
};

/* Borrowed during open only. */
struct transport_target {
    const char *address; /* "host:4317" or "unix:/path" */
    bool tls;
    struct str authorities;        /* PEM; empty: the system's */
    struct str client_certificate; /* PEM; empty: none */
    struct str client_key;         /* PEM; empty: none */
    bool gzip;
    const char *user_agent;
    const struct transport_header *headers;
    size_t header_count;
};

struct transport_reply {
    enum transport_status status;
    bool has_retry_delay; /* the server said when to come back */
    uint64_t retry_delay_ns;
    uint64_t rejected; /* of a partial success */
    bool is_garbled;   /* TRANSPORT_OK, but its message could not be read */
    char message
        [TRANSPORT_TEXT_MAX]; /* the error's or the partial success's; ends with a zero byte */
};

struct transport_channel;

struct transport {
    uint32_t version;

    /* Makes a channel; connects at the first call. Returns 0; ERR_NOMEM; ERR_RANGE for headers that
     * gRPC does not take; ERR_UNSUPPORTED for TLS where there is none; ERR_SYSTEM for certificates
     * that cannot be used. */
    int (*open)(const struct transport_target *target, struct transport_channel **ret_channel);

    /* Sends one request and waits for its outcome, until the deadline (monotonic) at most. One call
     * at a time on a channel. */
    void (*call)(struct transport_channel *channel, const char *method, struct str request,
                 uint64_t deadline_ns, struct transport_reply *ret_reply);

    /* From another thread: ends the call in progress, and every later one at once. */
    void (*cancel)(struct transport_channel *channel);

    /* When no call is in progress. NULL is permitted. */
    void (*close)(struct transport_channel *channel);
};

/* The one symbol of a module: `const struct transport *dwell_transport(void)`. */
#define TRANSPORT_SYMBOL "dwell_transport"
typedef const struct transport *(*transport_entry_fn)(void);

#endif
