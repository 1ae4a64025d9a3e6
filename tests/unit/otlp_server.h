/*
 * A receiver of OTLP in the process of a test, by gRPC core's server API: one call at a time, each
 * answered as the test says. It decodes nothing. The thread that started it stops it; answers are
 * made on its own thread.
 */
#ifndef DWELL_TESTS_OTLP_SERVER_H
#define DWELL_TESTS_OTLP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct otlp_server_tls {
    const char *authorities; /* PEM; not NULL: clients must show a certificate of one of them */
    const char *certificate; /* PEM */
    const char *key;         /* PEM */
};

/* What came. Valid during the answer. */
struct otlp_server_request {
    struct str method;
    struct str body;      /* as it came: packed, if it is */
    bool packed;          /* by gzip */
    const void *metadata; /* see otlp_server_header */
};

/* What goes back; all zero is an empty response with status OK. */
struct otlp_server_answer {
    int status;
    const char *message;
    struct str details; /* grpc-status-details-bin; empty: none */
    struct str body;    /* of the response, when the status is 0 */
    bool never;         /* wait until the client gives up */
};

/* On the server's thread. What the answer points at must live until the next one. */
typedef void (*otlp_server_fn)(void *ctx, const struct otlp_server_request *request,
                               struct otlp_server_answer *answer);

struct otlp_server;

/* `address`: "127.0.0.1:0" or "unix:/path". NULL when it cannot listen. */
struct otlp_server *otlp_server_start(const char *address, const struct otlp_server_tls *tls,
                                      otlp_server_fn answer, void *ctx);

/* The port that it has; 1 for a Unix socket. */
int otlp_server_port(const struct otlp_server *server);

void otlp_server_stop(struct otlp_server *server);

/* A header of the request; a NULL pointer when it is not there. */
struct str otlp_server_header(const struct otlp_server_request *request, const char *name);

#endif
