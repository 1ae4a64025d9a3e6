/*
 * Happy path of a write
 *   1. FILE.new is made anew, for the owner alone: what lies there is of a daemon that was killed
 *   2. head and body are written, then fsync: the bytes are on the disk before the name leads to them
 *   3. rename: whoever reads FILE sees the old one or the new one
 *   4. fsync of the directory: the name, too, survives a loss of power
 *
 * What can fail: any of it, by a full disk, a quota, a limit on the size of files, a directory that is
 * gone. FILE.new goes, FILE stays as it was, the next write begins anew.
 */
#include "io/state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

enum { PATH_MAX_BYTES = 4096 + 16, READ_BYTES = 1 << 16 };

/* The path with something behind it. */
static const char *name_beside(const struct state_file *file, const char *suffix,
                               char path[PATH_MAX_BYTES])
{
    (void)snprintf(path, PATH_MAX_BYTES, "%s%s", file->path, suffix); /* the option has a ceiling */
    return path;
}

/* Why a file could not be made. */
static void explain(const char *path, int reason, struct buf *problem)
{
    const char *slash = strrchr(path, '/');
    if (reason != ENOENT || slash == NULL) {
        buf_printf(problem, "%s: %s", path, strerror(reason));
    } else {
        buf_printf(problem, "the directory %.*s is missing", (int)(slash - path), path);
    }
}

/* --- the lock ---------------------------------------------------------------------------------- */

int state_file_lock(struct state_file *file, struct buf *problem)
{
    char path[PATH_MAX_BYTES];
    if (file->lock_fd >= 0) {
        return 0;
    }
    int fd = open(name_beside(file, ".lock", path),
                  O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0) {
        explain(path, errno, problem);
        return ERR_SYSTEM;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int reason = errno;
        (void)close(fd); /* nothing was written */
        buf_printf(problem, "%s: %s", path,
                   reason == EWOULDBLOCK ? "another dwelld has this state file" : strerror(reason));
        return reason == EWOULDBLOCK ? ERR_CONFLICT : ERR_SYSTEM;
    }
    file->lock_fd = fd;
    return 0;
}

void state_file_unlock(struct state_file *file)
{
    if (file->lock_fd >= 0) {
        (void)close(file->lock_fd); /* lets go of the lock */
        file->lock_fd = -1;
    }
}

/* --- reading ----------------------------------------------------------------------------------- */

/* Whether it is a file that only we can have written. */
static int check(int fd, const char *path, size_t max, struct buf *problem)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        buf_printf(problem, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        buf_printf(problem, "%s: is not a regular file", path);
    } else if (st.st_uid != geteuid()) {
        buf_printf(problem, "%s: belongs to user %u, not to %u who runs the daemon", path,
                   (unsigned)st.st_uid, (unsigned)geteuid());
    } else if ((st.st_mode & 022) != 0) {
        buf_printf(problem, "%s: has mode %04o: others can write to it", path,
                   (unsigned)st.st_mode & 07777);
    } else if ((uint64_t)st.st_size > max) {
        buf_printf(problem, "%s: has %llu bytes, more than state.max_bytes", path,
                   (unsigned long long)st.st_size);
    } else {
        return 0;
    }
    return ERR_SYSTEM;
}

static int read_all(int fd, const char *path, struct buf *out, struct buf *problem)
{
    for (;;) {
        char *room = buf_reserve(out, READ_BYTES);
        ssize_t got = room == NULL ? -1 : read(fd, room, READ_BYTES);
        if (got < 0 && room != NULL && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            buf_printf(problem, "%s: %s", path,
                       room == NULL ? err_sentence(out->err) : strerror(errno));
            return room == NULL ? out->err : ERR_SYSTEM;
        }
        if (got == 0) {
            return 0;
        }
        out->len += (size_t)got;
    }
}

int state_file_read(const struct state_file *file, struct buf *out, struct buf *problem)
{
    int fd = open(file->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        return ERR_MISSING_KEY;
    }
    if (fd < 0) {
        buf_printf(problem, "%s: %s", file->path,
                   errno == ELOOP ? "is a link; links are not followed" : strerror(errno));
        return ERR_SYSTEM;
    }
    size_t max = out->max > READ_BYTES ? out->max - READ_BYTES : 0;
    int err = check(fd, file->path, max, problem);
    if (err == 0) {
        err = read_all(fd, file->path, out, problem);
    }
    (void)close(fd); /* was only read */
    return err;
}

int state_file_set_aside(const struct state_file *file)
{
    char aside[PATH_MAX_BYTES];
    return rename(file->path, name_beside(file, ".damaged", aside)) == 0 ? 0 : errno;
}

/* --- writing ----------------------------------------------------------------------------------- */

/* All of it, or an errno value. */
static int write_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t wrote = write(fd, bytes.ptr, bytes.len);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return wrote < 0 ? errno : EIO;
        }
        bytes.ptr += wrote;
        bytes.len -= (size_t)wrote;
    }
    return 0;
}

/* Makes FILE.new. Returns 0 or an errno value. */
static int write_new(const char *path, struct str head, struct str body)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        return errno;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    int reason = write_all(fd, head);
    reason = reason != 0 ? reason : write_all(fd, body);
    if (reason == 0 && fsync(fd) != 0) {
        reason = errno;
    }
    if (close(fd) != 0 && reason == 0) {
        reason = errno;
    }
    return reason;
}

/* What a file system cannot do (EINVAL), it does not need. */
static int sync_directory(const struct state_file *file)
{
    char path[PATH_MAX_BYTES];
    const char *slash = strrchr(file->path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - file->path);
    if (len > 0) {
        memcpy(path, file->path, len);
    } else {
        path[len++] = slash == NULL ? '.' : '/';
    }
    path[len] = '\0';
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int reason = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    (void)close(fd); /* was only synced */
    return reason;
}

int state_file_write(struct state_file *file, struct str head, struct str body, struct buf *problem)
{
    char path[PATH_MAX_BYTES];
    int err = state_file_lock(file, problem);
    if (err != 0) {
        return err;
    }
    int reason = write_new(name_beside(file, ".new", path), head, body);
    if (reason == 0 && rename(path, file->path) != 0) {
        reason = errno;
    }
    if (reason != 0) {
        (void)unlink(path); /* there may be none */
        buf_printf(problem, "%s: %s", path, strerror(reason));
        return ERR_SYSTEM;
    }
    reason = sync_directory(file);
    if (reason != 0) {
        buf_printf(problem, "%s: its directory: %s", file->path, strerror(reason));
        return ERR_SYSTEM;
    }
    return 0;
}
