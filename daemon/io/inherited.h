/*
 * Sockets that the service manager hands to the daemon at its start (sd_listen_fds(3)): those that a
 * socket unit opened, and those that an earlier run of the daemon gave it to keep (io/kept). It says what
 * each is for, and refuses what the daemon has no use for. Start only, main thread.
 */
#ifndef DWELL_IO_INHERITED_H
#define DWELL_IO_INHERITED_H

#include "io/directory.h"
#include "io/notify.h"

enum {
    INHERITED_HTTP = PLACE_COUNT, /* after the places of the directory */
    INHERITED_COUNT,
    INHERITED_MAX = 64, /* descriptors that may come: a number that is larger is a mistake */
};

struct inherited {
    struct directory_given sockets[INHERITED_COUNT];
};

/* Takes what there is. `directory` is ingest.directory as configured. Returns false when a socket unit
 * gives what the daemon has no use for; all of that has been logged. */
bool inherited_take(struct inherited *inherited, char *const *environment, const char *directory,
                    struct notify *notify);

/* The socket for HTTP, which the caller closes from now on; -1 when there is none, or when one that was
 * kept is not at this address. A socket unit's is taken wherever it is. */
int inherited_take_http(struct inherited *inherited, const char *host, uint16_t port, bool is_ipv6,
                        struct notify *notify);

#endif
