/*
 * The HTTP server: one thread, one or more doors (listening sockets), answers made from snapshots.
 * What is answered is io/routes'; how the loop freezes is io/handover's. This is the one home of
 * libmicrohttpd.
 */
#ifndef DWELL_IO_HTTP_H
#define DWELL_IO_HTTP_H

#include "io/handover.h"
#include "io/http_settings.h"
#include "io/routes.h"

enum {
    HTTP_DOORS_MAX = 4,
    HTTP_REFUSALS_MAX = 1, /* past the ceiling of a door, open for the moment of being told so */
};

struct http_door_options {
    int fd; /* listens and does not block; taken */
    bool is_admin;
    bool is_network; /* browsers come here, too: the host that they name is looked at */
};

struct http_options {
    struct http_door_options doors[HTTP_DOORS_MAX];
    size_t door_count;
    struct http_settings *settings; /* taken */
};

struct http;

/* Starts the thread. `handover` must outlive it; the context is used by the thread alone from here
 * on. Returns 0, ERR_NOMEM or ERR_SYSTEM; descriptors and settings are taken in any case. */
int http_start(const struct http_options *options, struct handover *handover,
               struct route_context *context, struct http **ret_http);

/* Loop thread. The settings, which are taken, are used soon, by open connections, too. */
void http_change(struct http *http, struct http_settings *settings);

/* Ends the thread, cutting off what is being answered, and frees everything. Loop thread, before
 * handover_close. */
void http_close(struct http *http);

/* A listening TCP socket on a numeric address. Returns the descriptor, or -1 with errno. */
int http_listen(const char *host, uint16_t port, bool is_ipv6);

/* "127.0.0.1:9847" or "[::1]:9847" as the kernel has bound it, to be freed with mem_free. */
char *http_address(int fd);

#endif
