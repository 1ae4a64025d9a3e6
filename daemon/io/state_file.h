/*
 * The state file on disk: who may write it, how it is read, and how it is replaced so that at every moment
 * a whole one is there. It does not know what is in a body. Blocking; one thread at a time.
 *
 *     FILE            the last whole one
 *     FILE.new        one that is being written
 *     FILE.damaged    the last one that was set aside: damaged, foreign, of another version or user
 *     FILE.lock       locked by the daemon that writes FILE; stays at the end, for removing it would let
 *                     two daemons lock two different files
 */
#ifndef DWELL_IO_STATE_FILE_H
#define DWELL_IO_STATE_FILE_H

#include "base/buf.h"

struct state_file {
    const char *path; /* borrowed; "": there is none */
    int lock_fd;      /* -1: not locked */
};

/* Locks it. Returns 0; ERR_CONFLICT when another daemon has it; ERR_SYSTEM with a sentence in `problem`, as
 * when there is no such directory: then it can be tried again. */
int state_file_lock(struct state_file *file, struct buf *problem);
void state_file_unlock(struct state_file *file);

/* Reads all of it into `out`, within that one's ceiling. Returns 0; ERR_MISSING_KEY when there is none;
 * ERR_SYSTEM with a sentence in `problem` for what is no file that this daemon has written. */
int state_file_read(const struct state_file *file, struct buf *out, struct buf *problem);

/* Renames it to FILE.damaged, in place of what is there. Returns 0 or an errno value. */
int state_file_set_aside(const struct state_file *file);

/* Writes another one in its place: durable when it returns 0. Otherwise the old one is as it was, and a
 * sentence in `problem`. Locks it first if that was not possible before. */
int state_file_write(struct state_file *file, struct str head, struct str body,
                     struct buf *problem);

#endif
