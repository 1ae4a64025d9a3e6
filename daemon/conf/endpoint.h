/*
 * Where OTLP goes, taken apart. It resolves nothing. Pure; any thread.
 *
 *     http://host:4317    without TLS
 *     https://host:4317   with TLS
 *     host:4317           with TLS unless otlp.insecure
 *     unix:///path        without TLS, also unix:/path
 *
 * A port that is left out is 4317; a path behind it means nothing to gRPC and is left out.
 */
#ifndef DWELL_CONF_ENDPOINT_H
#define DWELL_CONF_ENDPOINT_H

#include "base/buf.h"

enum conf_scheme { CONF_SCHEME_NONE, CONF_SCHEME_HTTP, CONF_SCHEME_HTTPS, CONF_SCHEME_UNIX };

struct conf_endpoint {
    enum conf_scheme scheme;
    struct str host; /* borrowed from the text, brackets of IPv6 kept; of unix: the whole address */
    struct str port; /* digits; empty: not given */
};

/* Returns 0 or ERR_SYNTAX. */
int conf_endpoint_parse(struct str text, struct conf_endpoint *ret_endpoint);

/* Appends the address as gRPC takes it: "host:4317", "[::1]:4317", "unix:/path". */
void conf_endpoint_render(const struct conf_endpoint *endpoint, struct buf *out);

#endif
