/*
 * Requests on disk: what could not be sent, one file each, until it can be. It keeps the directory
 * within its ceilings, the files in their order, and tells damaged ones from whole ones. It knows
 * neither what is in a request nor who sends it.
 *
 *     000000000000000007.traces            18 digits: their order is the order of the names
 *     000000000000000008.traces.tmp        being written; removed by the next start
 *     000000000000000003.traces.damaged    set aside, for people to look at
 *     traces.lock                          one daemon at a time; stays
 *
 *     put ->  .tmp written, synced, renamed, directory synced  -> the newest file
 *     read    the oldest file; remove when it was sent
 *     full:   the oldest file is given up for the new one. What happens now is worth more than what
 *             happened at the beginning of a long outage, and an outage has no known end.
 *
 * A put that returned 0 survives the end of the process, however it ends; a durable one also the end
 * of the machine. A removal is not synced: after a power failure a file that was sent may be there
 * again, and is sent twice.
 *
 * Each signal has a spool of its own; several may share a directory. Blocks on the disk: not for the
 * loop. One thread at a time.
 */
#ifndef DWELL_EXPORT_SPOOL_H
#define DWELL_EXPORT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "io/export/spool_file.h"

enum {
    SPOOL_FILES_MAX = 100000, /* 24 bytes of memory each */
    SPOOL_DAMAGED_MAX = 16,   /* files set aside and kept, of a signal; more are removed */
    SPOOL_PATH_MAX = 4096,
};

/* What writes; tests put failures in their place. */
struct spool_calls {
    ssize_t (*write)(int fd, const void *bytes, size_t len);
    int (*sync)(int fd);
    int (*rename)(int from_directory, const char *from, int to_directory, const char *to);
};

struct spool_options {
    const char *path;
    enum spool_signal signal;
    uint64_t max_bytes;              /* of all files, headers included */
    uint64_t max_files;              /* from 1 to SPOOL_FILES_MAX */
    const struct spool_calls *calls; /* NULL: the system's */
};

/* Items are spans or points. Numbers from `found` on only grow. */
struct spool_account {
    uint64_t items; /* in files now */
    uint64_t files;
    uint64_t bytes;
    uint64_t max_bytes;
    uint64_t found;    /* items that were there at the start, also in damaged files */
    uint64_t given_up; /* items of the oldest files, for want of room */
    uint64_t damaged;  /* items of damaged files, as far as their header could be read */
    uint64_t vanished; /* items of files that somebody else has removed */
    uint64_t damaged_files;
    uint64_t failures; /* of writing, reading, removing */
    bool works;        /* the last operation did not fail */
};

struct spool;

/* Checks the directory, which must be ours with mode 0700, no link, and is made when it is missing
 * but its parent is not; takes the lock; looks at every file there. Returns 0; ERR_SYSTEM with a
 * sentence in `problem`; ERR_NOMEM. */
int spool_open(const struct spool_options *options, struct buf *problem, struct spool **ret_spool);

/* The files stay. NULL is permitted. */
void spool_close(struct spool *spool);

/* Borrowed until the spool is closed. */
const struct spool_account *spool_get_account(const struct spool *spool);

/* Keeps a request of at most SPOOL_REQUEST_MAX bytes with `count` items, at most its length, giving
 * up as many of the oldest files as it needs. Returns 0; ERR_LIMIT: it is larger than all that may
 * be; ERR_SYSTEM or ERR_NOMEM: it was not kept, which the log was told, and nothing of it is left. */
int spool_put(struct spool *spool, struct str request, uint64_t count, bool durable);

/* Which file is the oldest: never 0, and never the same again. 0: there is none. */
uint64_t spool_oldest(const struct spool *spool);

/* Its items that are not taken off yet; 0 when there is none. */
uint64_t spool_oldest_items(const struct spool *spool);

/* Reads the oldest file, of which there must be one. `bytes`: its memory; ceiling at least
 * SPOOL_HEADER_BYTES + SPOOL_REQUEST_MAX. Returns 0 with the request, which lies in `bytes`;
 * ERR_SYNTAX when it was damaged or had vanished: it is no longer in the spool, another one is the
 * oldest; ERR_SYSTEM (no descriptors) or ERR_NOMEM: later, perhaps. */
int spool_read(struct spool *spool, struct buf *bytes, struct str *ret_request);

/* So many items of the oldest file are done with, though its others are not. Until it is removed
 * the file itself is as it was. */
void spool_take_off(struct spool *spool, uint64_t count);

/* Removes the oldest file. When it cannot be removed it leaves the account all the same, and will be
 * found by the next start. */
void spool_remove(struct spool *spool);

#endif
