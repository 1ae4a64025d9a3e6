/*
 * The directory of the sockets: which one it is, whether it can be trusted, who holds it, and the
 * sockets in it. It does not read from them. Start and end of the daemon only, on the main thread.
 */
#ifndef DWELL_IO_DIRECTORY_H
#define DWELL_IO_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* What keeps the daemon from starting, by exit status (sysexits.h). */
enum directory_failure {
    DIRECTORY_UNAVAILABLE = 69, /* another daemon holds it */
    DIRECTORY_CANNOT_CREATE = 73,
};

struct directory_options {
    const char *path;  /* borrowed */
    uint32_t mode;     /* of the sockets */
    const char *group; /* name or number of the sockets' group; "" leaves it alone */
};

struct directory_socket {
    char *path; /* owned; NULL: not there */
    int fd;     /* owned until taken */
    dev_t device;
    ino_t inode;
};

enum directory_place { PLACE_STREAM, PLACE_DATAGRAM, PLACE_QUERY, PLACE_ADMIN, PLACE_COUNT };

struct directory {
    char *path; /* owned */
    int lock_fd;
    struct directory_socket sockets[PLACE_COUNT];
};

/* `configured`, else the first of the variables of DESIGN.md, section 3, that is set. A text that
 * the caller owns (mem_free), or NULL without memory. */
char *directory_find(const char *configured, char *const *environment);

/* Makes or checks the directory, takes its lock, replaces stale sockets, listens on all four.
 * Returns 0, or an enum directory_failure with a sentence in `problem`; then nothing is left behind
 * but the directory and its lock file. */
int directory_open(struct directory *directory, const struct directory_options *options,
                   struct buf *problem);

/* Whether what lies at a socket's path is still what was bound there. Any thread that begins after the
 * opening and ends before the closing. */
bool directory_holds(const struct directory *directory, enum directory_place place);

/* Removes the sockets that are still ours, and lets go of the lock. Descriptors that were taken are
 * not closed. */
void directory_close(struct directory *directory);

/* The descriptor of a socket, which the caller closes from now on. */
int directory_steal_fd(struct directory *directory, enum directory_place place);

#endif
