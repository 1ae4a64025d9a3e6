/*
 * Where the daemon's sockets are, found as every client finds them: --dir, else $DWELL_DIR, else the
 * first of $XDG_RUNTIME_DIR/dwell, /run/dwell and /tmp/dwell-UID that has an ingest.sock.
 */
#ifndef DWELL_CLI_PLACE_H
#define DWELL_CLI_PLACE_H

#include "base/buf.h"

enum {
    PLACE_BYTES = 108,    /* of a socket's path, with its end (sun_path) */
    PLACE_CANDIDATES = 3, /* directories that are looked into when nobody says which */
};

/* What is asked of the system, so that tests need not make directories in /run. */
struct place_world {
    const char *dwell_dir;   /* $DWELL_DIR; NULL: not set */
    const char *runtime_dir; /* $XDG_RUNTIME_DIR; NULL: not set */
    unsigned uid;
    bool (*exists)(void *ctx, const char *path);
    void *ctx;
};

void place_system(struct place_world *ret_world);

/* The path of `socket` ("query.sock"). 0, or EX_UNAVAILABLE, EX_USAGE (a path that no socket can have)
 * with what was tried in `problem`. */
int place_find(const struct place_world *world, const char *dir, const char *socket,
               char ret_path[PLACE_BYTES], struct buf *problem);

/* One of these directories, the first that is looked into first. False when there is none of this number,
 * or no socket can lie in it. */
bool place_candidate(const struct place_world *world, unsigned number, char ret_dir[PLACE_BYTES]);

/* All of them, for people. */
void place_list(const struct place_world *world, struct buf *out);

#endif
