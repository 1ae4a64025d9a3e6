/*
 * What a scraper can read: the Accept and Accept-Encoding headers of a request to /metrics
 * (RFC 9110, sections 12.5.1 and 12.5.3). It renders and compresses nothing. Pure; any thread.
 */
#ifndef DWELL_RENDER_NEGOTIATE_H
#define DWELL_RENDER_NEGOTIATE_H

#include <stdbool.h>

#include "render/exposition.h"

struct negotiated {
    enum exposition_format format;
    bool gzip;
};

/* NULL: the header is missing. There is always an answer: text 0.0.4 where nothing matches. */
struct negotiated negotiate(const char *accept, const char *accept_encoding);

/* Whether an answer of this one type, "application/json" with "application/" and a star, may be sent
 * (else 406). A missing or empty header takes everything. */
bool negotiate_accepts(const char *accept, const char *type, const char *any_subtype);

#endif
