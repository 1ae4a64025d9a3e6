/*
 * The journal's directory: segments that are written one after the other, read in their order at the
 * start, and removed from the oldest on. It knows neither who sends what is in them nor when they are
 * no longer needed.
 *
 *     00000000000000000000.journal    20 digits: the position of its first entry
 *     00000000000008390112.journal    the newest, which is written to
 *     journal.lock                    one daemon at a time; stays
 *
 *     begin                                end
 *       v                                   v
 *       [ segment ][ segment ][ segment     |     a write goes to the end, whole or not at all
 *
 * What was written survives the end of the process, however it ends: it is in the page cache. It does
 * not survive the end of the machine, since nothing is synced.
 *
 * Blocks on the disk: not for the loop but at its start. One thread at a time.
 */
#ifndef DWELL_IO_JOURNAL_DISK_H
#define DWELL_IO_JOURNAL_DISK_H

#include <sys/types.h>

#include "base/log.h"
#include "io/journal_file.h"

enum {
    JOURNAL_SEGMENTS = 8, /* that a full journal is cut into: the oldest goes while others fill */
    JOURNAL_SEGMENT_MOST = 16 << 20, /* bytes, after which the next is begun; read as a whole */
    JOURNAL_PATH_MAX = 4096,
    /* Under the highest ceilings one write is 52 MB; behind it a torn one may lie. */
    JOURNAL_READ_MOST = 128 << 20,
};

/* What writes; tests put failures in their place. */
struct journal_calls {
    ssize_t (*write)(int fd, const void *bytes, size_t len);
    int (*cut)(int fd, off_t len);
};

struct journal_segment {
    uint64_t start, end; /* positions */
    bool is_lost;        /* its file is not ours to remove */
};

struct journal_disk {
    const char *path; /* borrowed */
    struct journal_calls calls;
    uint64_t segment_bytes;
    int directory_fd, lock_fd, fd;    /* -1: closed; `fd` is the newest segment's */
    struct journal_segment *segments; /* owned; the oldest first */
    size_t count, cap;
    uint64_t end;
    struct log_limit failures;
    uint64_t failed;    /* writes since the last one that went well */
    uint64_t set_aside; /* files that were no good */
};

/* Checks the directory, which must be ours with mode 0700 and no link, and is made when it is missing
 * but its parent is not; takes the lock; lists the segments. `max_bytes`: of all of them. `calls`
 * NULL: the system's. Returns 0; ERR_SYSTEM with a sentence in `problem`; ERR_NOMEM. It is closed when
 * that fails. */
int journal_disk_open(struct journal_disk *disk, const char *path, uint64_t max_bytes,
                      const struct journal_calls *calls, struct buf *problem);

/* The files stay. What is closed may be closed again. */
void journal_disk_close(struct journal_disk *disk);

/* Once, before anything is written: hands over the entries from the position `from` on, cuts off what
 * the last segment has behind its last whole entry, and goes on there; or at `from`, where that is
 * further. Damage in a segment ends that segment, and is told in the log. Returns 0 or ERR_NOMEM. */
int journal_disk_read(struct journal_disk *disk, uint64_t from,
                      void (*take)(void *ctx, const struct journal_entry *entry), void *ctx);

/* Writes whole entries at once. Returns 0; ERR_SYSTEM: nothing of it is there, and the
 * log was told. */
int journal_disk_write(struct journal_disk *disk, struct str entries);

/* Removes every segment that ends before the position or at it. */
void journal_disk_forget(struct journal_disk *disk, uint64_t before);

/* Positions of the oldest entry that is there, and of the next one. */
uint64_t journal_disk_begin(const struct journal_disk *disk);
uint64_t journal_disk_end(const struct journal_disk *disk);

#endif
