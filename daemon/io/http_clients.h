/*
 * Who is connected to a door of the HTTP server, and for how long each has been at one step: sending a
 * request, or taking its answer. Silence is the server's to notice; this is against those who send or read
 * a byte now and then, so that they are never silent and never done.
 *
 *     connected ----> request whole ----> answer taken ----> next request whole ----> …
 *               limit               limit              limit
 *
 * It knows no HTTP library. HTTP thread only.
 */
#ifndef DWELL_IO_HTTP_CLIENTS_H
#define DWELL_IO_HTTP_CLIENTS_H

#include <stdbool.h>
#include <stdint.h>

struct MHD_Connection;

struct http_client {
    struct http_client *next, **link;
    struct MHD_Connection *connection; /* borrowed */
    int fd;                            /* likewise */
    uint64_t since_ns;                 /* when the present step began */
    bool is_cut;
    bool is_refused; /* it came past the ceiling, and is cut for that */
};

struct http_clients {
    struct http_client *first;
    unsigned count;
    unsigned refused; /* of them */
};

/* NULL without memory. */
struct http_client *http_client_new(struct http_clients *clients, struct MHD_Connection *connection,
                                    int fd, uint64_t now_ns);
void http_client_free(struct http_clients *clients, struct http_client *client);

/* Cuts one off that came past the ceiling. */
void http_client_refuse(struct http_clients *clients, struct http_client *client);

/* Cuts those off that have been at one step for longer than that: their sockets are shut, and the server
 * finds them ended. Returns how many. */
unsigned http_clients_cut(struct http_clients *clients, uint64_t limit_ns, uint64_t now_ns);

#endif
