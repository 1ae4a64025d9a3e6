/*
 * What a reload may change of the HTTP side. The loop makes one and hands it over (http_change); the HTTP
 * thread uses it until the next one comes, and frees it. It is never written to after it was handed over.
 */
#ifndef DWELL_IO_HTTP_SETTINGS_H
#define DWELL_IO_HTTP_SETTINGS_H

#include "io/handover.h"
#include "render/exposition.h"
#include "render/json.h"

enum { HTTP_SETTINGS_LIMITS_MAX = 64 };

struct http_settings {
    struct job job;              /* first: how it travels */
    unsigned max_connections;    /* through each door */
    uint64_t timeout_ms;         /* of silence on a connection */
    uint64_t request_timeout_ms; /* of one step, however talkative: see io/http_clients */
    char **allowed_hosts;        /* owned, each of them too */
    size_t allowed_host_count;
    char *display_name;            /* owned */
    struct exposition *exposition; /* owned; NULL: the one before is as good */
    size_t limit_count;
    struct json_limit limits[HTTP_SETTINGS_LIMITS_MAX];
};

/* Copies the texts. NULL without memory; the rest is the caller's to fill. */
struct http_settings *http_settings_new(char *const *allowed_hosts, size_t allowed_host_count,
                                        const char *display_name);
void http_settings_free(struct http_settings *settings); /* may be NULL */

#endif
