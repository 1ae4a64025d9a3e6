/*
 * The lock file stays at the end: removing it would let two daemons lock two different files.
 */
#include "io/export/spool_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "io/export/spool_name.h"

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

static int take_lock(struct spool_directory *directory, const char *path, enum spool_signal signal,
                     struct buf *problem)
{
    struct spool_name name = spool_name_of_lock(signal);
    directory->lock_fd = openat(directory->fd, name.text,
                                O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (directory->lock_fd < 0) {
        buf_printf(problem, "%s/%s: %s", path, name.text, strerror(errno));
        return ERR_SYSTEM;
    }
    if (flock(directory->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        buf_printf(problem, "%s/%s: %s", path, name.text,
                   errno == EWOULDBLOCK ? "another dwelld has this spool" : strerror(errno));
        return ERR_SYSTEM;
    }
    return 0;
}

int spool_directory_open(struct spool_directory *directory, const char *path,
                         enum spool_signal signal, struct buf *problem)
{
    *directory = SPOOL_DIRECTORY_CLOSED;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        buf_printf(problem, "%s: cannot make the directory: %s", path, strerror(errno));
        return ERR_SYSTEM;
    }
    directory->fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory->fd < 0) {
        buf_printf(problem, "%s: %s", path,
                   errno == ELOOP || errno == ENOTDIR
                       ? "is not a directory (links are not followed)"
                       : strerror(errno));
        return ERR_SYSTEM;
    }
    int err = check(directory->fd, path, problem);
    if (err == 0) {
        err = take_lock(directory, path, signal, problem);
    }
    if (err != 0) {
        spool_directory_close(directory);
    }
    return err;
}

void spool_directory_close(struct spool_directory *directory)
{
    if (directory->lock_fd >= 0) {
        (void)close(directory->lock_fd); /* lets go of the lock */
    }
    if (directory->fd >= 0) {
        (void)close(directory->fd); /* was only looked at */
    }
    *directory = SPOOL_DIRECTORY_CLOSED;
}

bool spool_directory_is_gone(const struct spool_directory *directory)
{
    struct stat st;
    return directory->fd < 0 || fstat(directory->fd, &st) != 0 || st.st_nlink == 0;
}
