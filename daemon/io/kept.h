/*
 * The daemon's own sockets in the keeping of the service manager: the names under which they lie there,
 * and handing them over. What comes back at the next start is io/inherited's. Start only, main thread.
 *
 *     ingest.sock@26-695
 *     │           └────── device and inode of its file, by which it is known to be the same; 0-0: no file
 *     └────────────────── its name in the directory, or "http"
 */
#ifndef DWELL_IO_KEPT_H
#define DWELL_IO_KEPT_H

#include "io/directory.h"
#include "io/notify.h"

enum { KEPT_NAME_MAX = 64 }; /* the longest has 54 bytes, and a zero */

struct kept_name {
    struct str socket; /* borrowed */
    uint64_t device;
    uint64_t inode;
};

void kept_write_name(const struct kept_name *name, char out[KEPT_NAME_MAX]);

/* Returns false for a name that is not of this kind. */
bool kept_read_name(const char *text, struct kept_name *ret_name);

/* Hands over what the directory has opened itself, and the HTTP socket unless it is -1. From then on
 * files stay at the end, for the next run. Where the manager keeps nothing, nothing happens. */
void kept_hand_over(struct notify *notify, struct directory *directory, int http_fd);

#endif
