/*
 * The directory of a spool: whether it can be trusted, and who holds it. It does not look at the files in
 * it. Blocks on the disk. One thread at a time.
 */
#ifndef DWELL_EXPORT_SPOOL_DIRECTORY_H
#define DWELL_EXPORT_SPOOL_DIRECTORY_H

#include "base/buf.h"
#include "io/export/spool_file.h"

struct spool_directory {
    int fd; /* -1: closed */
    int lock_fd;
};

#define SPOOL_DIRECTORY_CLOSED ((struct spool_directory){-1, -1})

/* Makes the last component when it is missing; else it must be ours, with mode 0700, and no link. Takes
 * the lock of the signal. Returns 0, or ERR_SYSTEM with a sentence in `problem`; it is closed then. */
int spool_directory_open(struct spool_directory *directory, const char *path,
                         enum spool_signal signal, struct buf *problem);

/* Lets go of the lock; what is closed may be closed again. */
void spool_directory_close(struct spool_directory *directory);

/* True when somebody has removed it since, or it is closed. */
bool spool_directory_is_gone(const struct spool_directory *directory);

#endif
