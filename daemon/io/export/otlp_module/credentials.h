/*
 * How a channel is secured. One of two files is linked: credentials_tls.c, or
 * credentials_insecure.c where the library has no TLS. Loop thread, at start.
 */
#ifndef DWELL_OTLP_MODULE_CREDENTIALS_H
#define DWELL_OTLP_MODULE_CREDENTIALS_H

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "io/export/transport.h"

/* Returns 0 with credentials that the caller releases; ERR_UNSUPPORTED or ERR_SYSTEM. */
int credentials_make(const struct transport_target *target,
                     grpc_channel_credentials **ret_credentials);

#endif
