/*
 * The directory of the sockets: which one it is, whether it can be trusted, who holds it, and the
 * sockets in it. It does not read from them. Start and end of the daemon only, on the main thread, but
 * where it says otherwise.
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

enum directory_place { PLACE_STREAM, PLACE_DATAGRAM, PLACE_QUERY, PLACE_ADMIN, PLACE_COUNT };

struct directory_kind {
    const char *name;
    int type;
    bool is_private; /* 0600 whatever the options say */
};

extern const struct directory_kind directory_kinds[PLACE_COUNT];

/* A socket that is open already (io/inherited). */
struct directory_given {
    int fd;       /* -1: there is none */
    bool is_kept; /* of an earlier run: group and mode are ours to set */
};

struct directory_options {
    const char *path;                    /* borrowed */
    uint32_t mode;                       /* of the sockets */
    const char *group;                   /* name or number of theirs; "" leaves it alone */
    const struct directory_given *given; /* for each place, taken; NULL: none */
};

struct directory_socket {
    char *path;  /* owned; NULL: not there */
    int fd;      /* owned until taken */
    bool is_own; /* opened here, and nobody keeps it: its file goes at the end */
    dev_t device;
    ino_t inode;
};

struct directory {
    char *path;   /* owned */
    bool is_made; /* by us, at this start: nobody else has decided who may pass */
    int lock_fd;
    struct directory_socket sockets[PLACE_COUNT];
};

/* `configured`, else the first of the variables of DESIGN.md, section 3, that is set. A text that
 * the caller owns (mem_free), or NULL without memory. */
char *directory_find(const char *configured, char *const *environment);

/* Makes or checks the directory, takes its lock, replaces stale sockets, listens on all four but those
 * that are given.
 * Returns 0, or an enum directory_failure with a sentence in `problem`; then nothing is left behind
 * but the directory and its lock file. */
int directory_open(struct directory *directory, const struct directory_options *options,
                   struct buf *problem);

/* Whether what lies at a socket's path is still what was bound there. Any thread that begins after the
 * opening and ends before the closing. */
bool directory_holds(const struct directory *directory, enum directory_place place);
/* The number of a group, by name or number. Asks whoever knows the groups, which may be a server, and one
 * thread at a time. Returns 0, or an enum directory_failure with a sentence in `problem`. */
int directory_find_group(const char *name, gid_t *ret_gid, struct buf *problem);

/* Removes the sockets that are still ours, and lets go of the lock. Descriptors that were taken are
 * not closed. */
void directory_close(struct directory *directory);

/* The file of this socket stays at the end: somebody keeps it for the next run. */
void directory_leave(struct directory *directory, enum directory_place place);

/* The descriptor of a socket, which the caller closes from now on. */
int directory_steal_fd(struct directory *directory, enum directory_place place);

#endif
