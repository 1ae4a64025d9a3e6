/*
 * Happy path
 *   1. journal_disk_open    the directory is ours alone, the lock is taken, segments are sorted
 *   2. journal_disk_read    each segment is read as a whole, entry by entry
 *   3. journal_disk_write   behind the last entry; past segment_bytes a new segment is begun
 *   4. journal_disk_forget  the oldest segments are removed
 *
 * What can fail, and where it ends
 *   the directory is not ours, or locked    journal_disk_open fails; there is no journal
 *   kill -9 while an entry is written       its beginning is cut off by the next journal_disk_read
 *   an entry was changed, a segment is      told in the log; what is in the others is taken. What is
 *   missing or foreign                      no segment becomes NAME.damaged
 *   the disk is full, read-only, broken     journal_disk_write fails, and what was written is cut off
 *                                           again; when that fails, too, a new segment is begun, and
 *                                           the old one ends where its entries do
 *   a segment cannot be removed             told in the log; it is read again by the next start, where
 *                                           what is in it has come before
 */
#include "io/journal_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    DIGITS = 20, /* of UINT64_MAX */
    NAME_BYTES = DIGITS + sizeof ".journal",
    SEGMENT_LEAST = 65536,
    FIRST_SEGMENTS = 16,
    LOG_LINES = 3,
};
#define LOG_PERIOD_NS (60 * NS_PER_SECOND)

static const struct journal_calls system_calls = {write, ftruncate};

struct name {
    char text[NAME_BYTES];
};

static struct name name_of(uint64_t position)
{
    struct name name;
    (void)snprintf(name.text, sizeof name.text, "%020llu.journal", (unsigned long long)position);
    return name; /* 20 digits are all there can be */
}

/* Whether it is the name of a segment, and of which. */
static bool read_name(const char *text, uint64_t *ret_position)
{
    if (strlen(text) != NAME_BYTES - 1 || strcmp(text + DIGITS, ".journal") != 0 ||
        strspn(text, "0123456789") != DIGITS) {
        return false;
    }
    errno = 0;
    *ret_position = strtoull(text, NULL, 10);
    return errno == 0;
}

static int tell_failure(struct journal_disk *disk, const char *what, const char *name, int error)
{
    disk->failed++;
    log_limited(&disk->failures, "journal %s: cannot %s %s: %s", disk->path, what, name,
                strerror(error));
    return ERR_SYSTEM;
}

static void tell_success(struct journal_disk *disk)
{
    if (disk->failed > 0) {
        log_limit_end(&disk->failures);
        log_info("journal %s: works again after %llu failures", disk->path,
                 (unsigned long long)disk->failed);
        disk->failed = 0;
    }
}

/* --- the directory ----------------------------------------------------------------------------- */

static int check(int fd, const char *path, struct buf *problem)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        buf_printf(problem, "%s: %s", path, strerror(errno));
    } else if (st.st_uid != geteuid()) {
        buf_printf(problem, "%s: belongs to user %u, not to %u who runs the daemon", path,
                   (unsigned)st.st_uid, (unsigned)geteuid());
    } else if ((st.st_mode & 07777) != 0700) {
        buf_printf(problem, "%s: has mode %04o, expected 0700; run: chmod 0700 %s", path,
                   (unsigned)st.st_mode & 07777, path);
    } else {
        return 0;
    }
    return ERR_SYSTEM;
}

/* The lock file stays at the end: removing it would let two daemons lock two different files. */
static int take_lock(struct journal_disk *disk, struct buf *problem)
{
    disk->lock_fd = openat(disk->directory_fd, "journal.lock",
                           O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (disk->lock_fd < 0) {
        buf_printf(problem, "%s/journal.lock: %s", disk->path, strerror(errno));
        return ERR_SYSTEM;
    }
    if (flock(disk->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        buf_printf(problem, "%s/journal.lock: %s", disk->path,
                   errno == EWOULDBLOCK ? "another dwelld has this journal" : strerror(errno));
        return ERR_SYSTEM;
    }
    return 0;
}

static int open_directory(struct journal_disk *disk, struct buf *problem)
{
    if (mkdir(disk->path, 0700) != 0 && errno != EEXIST) {
        buf_printf(problem, "%s: cannot make the directory: %s", disk->path, strerror(errno));
        return ERR_SYSTEM;
    }
    disk->directory_fd = open(disk->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (disk->directory_fd < 0) {
        buf_printf(problem, "%s: %s", disk->path,
                   errno == ELOOP || errno == ENOTDIR
                       ? "is not a directory (links are not followed)"
                       : strerror(errno));
        return ERR_SYSTEM;
    }
    int err = check(disk->directory_fd, disk->path, problem);
    return err == 0 ? take_lock(disk, problem) : err;
}

/* Room for one more segment. */
static int grow(struct journal_disk *disk)
{
    if (disk->count < disk->cap) {
        return 0;
    }
    size_t cap = disk->cap == 0 ? FIRST_SEGMENTS : 2 * disk->cap;
    struct journal_segment *segments = mem_realloc(disk->segments, cap * sizeof *disk->segments);
    if (segments == NULL) {
        return ERR_NOMEM;
    }
    disk->segments = segments;
    disk->cap = cap;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct journal_segment *first = a;
    const struct journal_segment *second = b;
    return (first->start > second->start) - (first->start < second->start);
}

static int list_segments(struct journal_disk *disk, struct buf *problem)
{
    int fd = openat(disk->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        buf_printf(problem, "%s: %s", disk->path, strerror(errno));
        if (fd >= 0) {
            (void)close(fd); /* was not read */
        }
        return ERR_SYSTEM;
    }
    int err = 0;
    struct dirent *found;
    while (err == 0 && (found = readdir(directory)) != NULL) {
        uint64_t position;
        if (read_name(found->d_name, &position)) {
            err = grow(disk);
            if (err == 0) {
                disk->segments[disk->count++] =
                    (struct journal_segment){.start = position, .end = position};
            }
        }
    }
    (void)closedir(directory); /* was only read */
    if (err == 0 && disk->count > 0) {
        qsort(disk->segments, disk->count, sizeof *disk->segments, compare);
    }
    return err;
}

int journal_disk_open(struct journal_disk *disk, const char *path, uint64_t max_bytes,
                      const struct journal_calls *calls, struct buf *problem)
{
    uint64_t share = max_bytes / JOURNAL_SEGMENTS;
    *disk =
        (struct journal_disk){.path = path,
                              .calls = calls == NULL ? system_calls : *calls,
                              .segment_bytes = share < SEGMENT_LEAST          ? SEGMENT_LEAST
                                               : share > JOURNAL_SEGMENT_MOST ? JOURNAL_SEGMENT_MOST
                                                                              : share,
                              .directory_fd = -1,
                              .lock_fd = -1,
                              .fd = -1};
    log_limit_init(&disk->failures, LOG_LEVEL_ERROR, "failures of the journal", LOG_LINES,
                   LOG_PERIOD_NS);
    int err = open_directory(disk, problem);
    if (err == 0) {
        err = list_segments(disk, problem);
    }
    if (err != 0) {
        journal_disk_close(disk);
    }
    return err;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* nothing of it is buffered here */
        *fd = -1;
    }
}

void journal_disk_close(struct journal_disk *disk)
{
    close_fd(&disk->fd);
    close_fd(&disk->lock_fd); /* lets go of the lock */
    close_fd(&disk->directory_fd);
    mem_free(disk->segments);
    disk->segments = NULL;
    disk->count = 0;
    disk->cap = 0;
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Fills `out` with the file, however large files are under the present options. Returns 0 or an errno
 * value; EFBIG when none of ours is as long. */
static int read_whole(int fd, struct buf *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return errno;
    }
    if (st.st_size > JOURNAL_READ_MOST) {
        return EFBIG;
    }
    out->max = (size_t)st.st_size + 1; /* nobody writes to it: its end is seen within that */
    for (;;) {
        size_t room = out->max - out->len < SEGMENT_LEAST ? out->max - out->len : SEGMENT_LEAST;
        if (room == 0) {
            return EFBIG;
        }
        char *at = buf_reserve(out, room);
        if (at == NULL) {
            return ENOMEM;
        }
        ssize_t got = read(fd, at, room);
        if (got == 0) {
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        out->len += got > 0 ? (size_t)got : 0;
    }
}

/* What reading hands on. */
struct pass {
    uint64_t from;
    void (*take)(void *ctx, const struct journal_entry *entry);
    void *ctx;
    struct buf bytes;
};

/* What cannot be read, is no segment of ours, or of a later version, is left for people to look at. */
static void set_aside(struct journal_disk *disk, struct journal_segment *segment, const char *why)
{
    struct name name = name_of(segment->start);
    char aside[NAME_BYTES + sizeof ".damaged"];
    (void)snprintf(aside, sizeof aside, "%s.damaged", name.text);
    int failed = renameat(disk->directory_fd, name.text, disk->directory_fd, aside);
    segment->is_lost = true;
    disk->set_aside++;
    log_error("journal %s: %s %s, and %s %s", disk->path, name.text, why,
              failed == 0 ? "is set aside as" : "cannot become", aside);
}

/* Takes the entries of the segment that lies in `bytes`, and finds its end. */
static void take_entries(struct journal_disk *disk, struct journal_segment *segment,
                         const struct pass *pass)
{
    struct str rest = {pass->bytes.data, pass->bytes.len};
    uint64_t position = 0;
    if (rest.len < JOURNAL_HEADER_BYTES) {
        return; /* it was just being made */
    }
    if (journal_header_read(rest, &position) != 0 || position != segment->start) {
        set_aside(disk, segment, "is no segment of this version");
        return;
    }
    rest.ptr += JOURNAL_HEADER_BYTES;
    rest.len -= JOURNAL_HEADER_BYTES;
    struct journal_entry entry;
    size_t len = 0;
    while (journal_entry_read(rest, &entry, &len) == 0) {
        if (segment->end >= pass->from) {
            pass->take(pass->ctx, &entry);
        }
        segment->end += len;
        rest.ptr += len;
        rest.len -= len;
    }
    if (rest.len > 0) {
        log_warning("journal %s: %s ends with %zu bytes that are no whole entry", disk->path,
                    name_of(segment->start).text, rest.len);
    }
}

static int read_segment(struct journal_disk *disk, struct journal_segment *segment,
                        struct pass *pass)
{
    struct name name = name_of(segment->start);
    int fd = openat(disk->directory_fd, name.text, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    buf_clear(&pass->bytes);
    int reason = fd < 0 ? errno : read_whole(fd, &pass->bytes);
    if (fd >= 0) {
        (void)close(fd); /* was only read */
    }
    if (reason == ENOMEM) {
        return ERR_NOMEM;
    }
    if (reason != 0) {
        set_aside(disk, segment, "cannot be read"); /* others may be readable */
        return 0;
    }
    take_entries(disk, segment, pass);
    return 0;
}

/* Goes on behind the last whole entry of the newest segment. Where that cannot be, a new one is begun, and
 * the old one ends where its entries do. */
static void reopen(struct journal_disk *disk)
{
    const struct journal_segment *last = &disk->segments[disk->count - 1];
    struct name name = name_of(last->start);
    int fd = openat(disk->directory_fd, name.text, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    off_t len = (off_t)(JOURNAL_HEADER_BYTES + (last->end - last->start));
    if (fd < 0 || disk->calls.cut(fd, len) != 0) {
        int error = errno;
        close_fd(&fd);
        (void)tell_failure(disk, "go on with", name.text, error);
    }
    disk->fd = fd;
}

/* A last segment without entries is begun anew. */
static void settle_end(struct journal_disk *disk, uint64_t from)
{
    while (disk->count > 0 &&
           disk->segments[disk->count - 1].start == disk->segments[disk->count - 1].end) {
        const struct journal_segment *last = &disk->segments[--disk->count];
        if (!last->is_lost) {
            (void)unlinkat(disk->directory_fd, name_of(last->start).text,
                           0); /* else making it again fails, and tells */
        }
    }
    disk->end = disk->count > 0 ? disk->segments[disk->count - 1].end : 0;
    if (disk->end < from) {
        disk->end = from;
    } else if (disk->count > 0) {
        reopen(disk);
    }
}

int journal_disk_read(struct journal_disk *disk, uint64_t from,
                      void (*take)(void *ctx, const struct journal_entry *entry), void *ctx)
{
    struct pass pass = {.from = from, .take = take, .ctx = ctx};
    int err = 0;
    buf_init(&pass.bytes, JOURNAL_READ_MOST);
    for (size_t i = 0; i < disk->count && err == 0; i++) {
        struct journal_segment *segment = &disk->segments[i];
        if (i > 0 && disk->segments[i - 1].end != segment->start) {
            log_warning("journal %s: what was between the positions %llu and %llu is missing",
                        disk->path, (unsigned long long)disk->segments[i - 1].end,
                        (unsigned long long)segment->start);
        }
        err = read_segment(disk, segment, &pass);
    }
    buf_fini(&pass.bytes);
    if (err == 0) {
        settle_end(disk, from);
    }
    return err;
}

/* --- writing ----------------------------------------------------------------------------------- */

static int write_whole(struct journal_disk *disk, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t written = disk->calls.write(disk->fd, bytes.ptr, bytes.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written == 0 ? ENOSPC : errno;
        }
        bytes.ptr += written;
        bytes.len -= (size_t)written;
    }
    return 0;
}

static int begin_segment(struct journal_disk *disk)
{
    char header[JOURNAL_HEADER_BYTES];
    struct name name = name_of(disk->end);
    int err = grow(disk);
    if (err != 0) {
        return err;
    }
    disk->fd = openat(disk->directory_fd, name.text,
                      O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (disk->fd < 0) {
        return tell_failure(disk, "make", name.text, errno);
    }
    journal_header_write(disk->end, header);
    int reason = write_whole(disk, (struct str){header, sizeof header});
    if (reason != 0) {
        close_fd(&disk->fd);
        (void)unlinkat(disk->directory_fd, name.text,
                       0); /* else making it again fails, and tells */
        return tell_failure(disk, "write", name.text, reason);
    }
    disk->segments[disk->count++] = (struct journal_segment){.start = disk->end, .end = disk->end};
    return 0;
}

/* Takes a write back that went wrong. Where that cannot be, the segment ends here: what is torn lies
 * behind its entries. One without any goes, since the next would have its name. */
static void take_back(struct journal_disk *disk)
{
    const struct journal_segment *segment = &disk->segments[disk->count - 1];
    off_t len = (off_t)(JOURNAL_HEADER_BYTES + (segment->end - segment->start));
    if (disk->calls.cut(disk->fd, len) == 0) {
        return;
    }
    close_fd(&disk->fd);
    if (segment->end == segment->start) {
        (void)unlinkat(disk->directory_fd, name_of(segment->start).text,
                       0); /* else making it again fails, and tells */
        disk->count--;
    }
}

int journal_disk_write(struct journal_disk *disk, struct str entries)
{
    if (disk->fd >= 0 && disk->end - disk->segments[disk->count - 1].start >= disk->segment_bytes) {
        close_fd(&disk->fd);
    }
    int err = disk->fd < 0 ? begin_segment(disk) : 0;
    if (err != 0) {
        return err;
    }
    struct journal_segment *segment = &disk->segments[disk->count - 1];
    struct name name = name_of(segment->start);
    int reason = write_whole(disk, entries);
    if (reason != 0) {
        take_back(disk);
        return tell_failure(disk, "write", name.text, reason);
    }
    disk->end += entries.len;
    segment->end = disk->end;
    tell_success(disk);
    return 0;
}

void journal_disk_forget(struct journal_disk *disk, uint64_t before)
{
    size_t gone = 0;
    while (gone < disk->count && disk->segments[gone].end <= before &&
           (gone + 1 < disk->count || disk->segments[gone].end > disk->segments[gone].start)) {
        struct name name = name_of(disk->segments[gone].start);
        if (gone == disk->count - 1) {
            close_fd(&disk->fd);
        }
        if (!disk->segments[gone].is_lost && unlinkat(disk->directory_fd, name.text, 0) != 0 &&
            errno != ENOENT) {
            (void)tell_failure(disk, "remove", name.text, errno); /* the rest may be removable */
        }
        gone++;
    }
    if (gone > 0) {
        disk->count -= gone;
        memmove(disk->segments, disk->segments + gone, disk->count * sizeof *disk->segments);
    }
}

uint64_t journal_disk_begin(const struct journal_disk *disk)
{
    return disk->count > 0 ? disk->segments[0].start : disk->end;
}

uint64_t journal_disk_end(const struct journal_disk *disk)
{
    return disk->end;
}
