/*
 * Happy path
 *   1. the directory is made with 0700 (0750 when the sockets have a group), or found
 *   2. it is a real directory, ours, and nobody else can write to it
 *   3. dwelld.lock in it is locked: we are the only daemon here
 *   4. for each socket: nothing lies at its path, or a socket that nobody answers on, which goes
 *   5. bind with no permissions at all, then group, then mode: never open wider than asked for
 *   6. of sockets that are given, by the service manager, 4 and 5 are done already; what it kept for us
 *      gets group and mode again, as these may have changed
 *
 * What can fail: somebody else prepared the directory (73), another daemon holds the lock or answers
 * on a socket (69), something that is no socket lies in the way (73, and it stays).
 * What somebody else opened, or keeps, is not removed at the end.
 * The lock file stays at the end: removing it would let two daemons lock two different files.
 */
#include "io/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "io/system.h"

enum {
    BACKLOG =
        4096, /* the kernel takes at most somaxconn. When it is full a client that connects with a
                       timeout of its own, as many do, is turned away instead of waiting. */
    PATH_TEXT_MAX = 4096,
};

const struct directory_kind directory_kinds[PLACE_COUNT] = {
    [PLACE_STREAM] = {"ingest.sock", SOCK_STREAM, false},
    [PLACE_DATAGRAM] = {"ingest.dgram", SOCK_DGRAM, false},
    [PLACE_QUERY] = {"query.sock", SOCK_STREAM, false},
    [PLACE_ADMIN] = {"admin.sock", SOCK_STREAM, true},
};

/* Who may open the sockets. */
struct access {
    uint32_t mode;
    bool has_group;
    gid_t gid;
};

char *directory_find(const char *configured, char *const *environment)
{
    const char *found =
        configured[0] != '\0' ? configured : system_variable(environment, "DWELL_DIR");
    struct buf path;
    buf_init(&path, PATH_TEXT_MAX);
    if (found != NULL) {
        buf_puts(&path, found);
    } else if ((found = system_variable(environment, "RUNTIME_DIRECTORY")) != NULL) {
        buf_append(&path, found, strcspn(found, ":")); /* systemd may list several */
    } else if ((found = system_variable(environment, "XDG_RUNTIME_DIR")) != NULL) {
        buf_printf(&path, "%s/dwell", found);
    } else {
        buf_printf(&path, "/tmp/dwell-%u", (unsigned)geteuid());
    }
    return buf_steal(&path);
}

static int fail(struct buf *problem, enum directory_failure failure, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct buf *problem, enum directory_failure failure, const char *format, ...)
{
    char text[PATH_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* a cut message is still a message */
    va_end(args);
    buf_puts(problem, text);
    return (int)failure;
}

static int check_directory(const char *path, struct buf *problem)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path,
                    errno == ELOOP || errno == ENOTDIR
                        ? "is not a directory (links are not followed)"
                        : strerror(errno));
    }
    struct stat st;
    int err = fstat(fd, &st);
    (void)close(fd); /* was only looked at */
    if (err != 0) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    if (st.st_uid != geteuid()) {
        return fail(problem, DIRECTORY_CANNOT_CREATE,
                    "%s: belongs to user %u, not to %u who runs the daemon; remove it or choose "
                    "another with ingest.directory",
                    path, (unsigned)st.st_uid, (unsigned)geteuid());
    }
    unsigned mode = st.st_mode & 07777;
    if ((mode & ~0750u) != 0 || (mode & 0700) != 0700) {
        return fail(problem, DIRECTORY_CANNOT_CREATE,
                    "%s: has mode %04o, expected 0700 to 0750; run: chmod 0700 %s", path, mode,
                    path);
    }
    return 0;
}

int directory_find_group(const char *name, gid_t *ret_gid, struct buf *problem)
{
    uint64_t number;
    if (num_read_u64(str_of(name), &number) == 0 && number < UINT32_MAX) {
        *ret_gid = (gid_t)number;
        return 0;
    }
    const struct group *group = getgrnam(name);
    if (group == NULL) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "ingest.group: no group \"%s\"", name);
    }
    *ret_gid = group->gr_gid;
    return 0;
}

static int make_directory(const char *path, bool has_group, gid_t gid, bool *ret_made,
                          struct buf *problem)
{
    if (mkdir(path, 0700) == 0) {
        *ret_made = true;
        if (has_group && chown(path, (uid_t)-1, gid) != 0) {
            return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: cannot give it to group %u: %s",
                        path, (unsigned)gid, strerror(errno));
        }
        /* Also without a group: where the one above hands on its group, so would this one. */
        if (chmod(path, has_group ? 0750 : 0700) != 0) {
            return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
        }
    } else if (errno != EEXIST) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: cannot make the directory: %s", path,
                    strerror(errno));
    }
    return check_directory(path, problem);
}

static int take_lock(struct directory *directory, struct buf *problem)
{
    char path[PATH_TEXT_MAX];
    (void)snprintf(path, sizeof path, "%s/dwelld.lock", directory->path);
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    char pid[32] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t len = pread(fd, pid, sizeof pid - 1, 0);
        pid[len > 0 ? strcspn(pid, "\n") : 0] = '\0';
        (void)close(fd);
        return fail(problem, DIRECTORY_UNAVAILABLE,
                    "%s: another dwelld%s%s holds this directory; stop it or choose another with "
                    "ingest.directory",
                    directory->path, pid[0] == '\0' ? "" : ", process ", pid);
    }
    int len = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        (void)close(fd);
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    directory->lock_fd = fd;
    return 0;
}

static int set_address(struct sockaddr_un *address, const char *path, struct buf *problem)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address->sun_path) {
        return fail(problem, DIRECTORY_CANNOT_CREATE,
                    "%s: longer than the %zu bytes that a socket's path may have", path,
                    sizeof address->sun_path - 1);
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

/* True when somebody answers, or might: only a refusal proves a socket dead. */
static bool is_in_use(const struct sockaddr_un *address, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return true;
    }
    int err = connect(fd, (const struct sockaddr *)address, sizeof *address);
    bool refused = err != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return !refused;
}

static int clear_path(const struct sockaddr_un *address, int type, struct buf *problem)
{
    const char *path = address->sun_path;
    struct stat st;
    if (lstat(path, &st) != 0) {
        return errno == ENOENT
                   ? 0
                   : fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return fail(problem, DIRECTORY_CANNOT_CREATE,
                    "%s: is in the way and is no socket; it was left as it is", path);
    }
    if (is_in_use(address, type)) {
        return fail(problem, DIRECTORY_UNAVAILABLE, "%s: somebody is listening on it", path);
    }
    return unlink(path) == 0
               ? 0
               : fail(problem, DIRECTORY_CANNOT_CREATE, "%s: cannot replace the stale socket: %s",
                      path, strerror(errno));
}

static int set_access(const char *path, const struct directory_kind *kind,
                      const struct access *access, struct buf *problem)
{
    if ((access->has_group && !kind->is_private && chown(path, (uid_t)-1, access->gid) != 0) ||
        chmod(path, kind->is_private ? 0600 : access->mode) != 0) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    return 0;
}

static int bind_socket(struct directory_socket *held, const struct directory_kind *kind,
                       const struct sockaddr_un *address, const struct access *access,
                       struct buf *problem)
{
    const char *path = address->sun_path;
    int fd = socket(AF_UNIX, kind->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    mode_t old = umask(0777);
    int err = bind(fd, (const struct sockaddr *)address, sizeof *address);
    (void)umask(old);
    if (err != 0) {
        (void)close(fd);
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: cannot bind: %s", path, strerror(errno));
    }
    held->fd = fd;
    int failure = set_access(path, kind, access, problem);
    struct stat st;
    if (failure == 0 &&
        ((kind->type == SOCK_STREAM && listen(fd, BACKLOG) != 0) || lstat(path, &st) != 0)) {
        failure = fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", path, strerror(errno));
    }
    if (failure == 0) {
        held->is_own = true;
        held->device = st.st_dev;
        held->inode = st.st_ino;
    }
    return failure;
}

static int set_path(struct directory_socket *held, struct buf *path, struct buf *problem)
{
    held->path = buf_steal(path);
    return held->path != NULL ? 0 : fail(problem, DIRECTORY_CANNOT_CREATE, "out of memory");
}

static int open_socket(struct directory *directory, enum directory_place place,
                       const struct access *access, struct buf *problem)
{
    const struct directory_kind *kind = &directory_kinds[place];
    struct directory_socket *held = &directory->sockets[place];
    struct sockaddr_un address;
    struct buf path;
    buf_init(&path, PATH_TEXT_MAX);
    buf_printf(&path, "%s/%s", directory->path, kind->name);
    int failure = set_path(held, &path, problem);
    if (failure == 0) {
        failure = set_address(&address, held->path, problem);
    }
    if (failure == 0) {
        failure = clear_path(&address, kind->type, problem);
    }
    if (failure == 0) {
        failure = bind_socket(held, kind, &address, access, problem);
    }
    return failure;
}

/* It is called what it is bound to, wherever that is. */
static int adopt_socket(struct directory *directory, enum directory_place place,
                        const struct directory_given *given, const struct access *access,
                        struct buf *problem)
{
    struct directory_socket *held = &directory->sockets[place];
    struct sockaddr_un address = {0};
    socklen_t len = sizeof address;
    struct buf path;
    held->fd = given->fd;
    if (getsockname(given->fd, (struct sockaddr *)&address, &len) != 0) {
        return fail(problem, DIRECTORY_CANNOT_CREATE, "%s: %s", directory_kinds[place].name,
                    strerror(errno));
    }
    buf_init(&path, PATH_TEXT_MAX);
    buf_append(&path, address.sun_path, strnlen(address.sun_path, sizeof address.sun_path));
    int failure = set_path(held, &path, problem);
    struct stat st;
    if (failure == 0 && lstat(held->path, &st) == 0) {
        held->device = st.st_dev;
        held->inode = st.st_ino;
    }
    return failure == 0 && given->is_kept
               ? set_access(held->path, &directory_kinds[place], access, problem)
               : failure;
}

int directory_open(struct directory *directory, const struct directory_options *options,
                   struct buf *problem)
{
    struct access access = {.mode = options->mode, .has_group = options->group[0] != '\0'};
    struct buf path;
    *directory = (struct directory){.lock_fd = -1};
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        directory->sockets[i].fd = -1;
    }
    buf_init(&path, PATH_TEXT_MAX);
    buf_puts(&path, options->path);
    directory->path = buf_steal(&path);
    int failure =
        directory->path == NULL ? fail(problem, DIRECTORY_CANNOT_CREATE, "out of memory") : 0;
    if (failure == 0 && access.has_group) {
        failure = directory_find_group(options->group, &access.gid, problem);
    }
    if (failure == 0) {
        failure = make_directory(directory->path, access.has_group, access.gid, &directory->is_made,
                                 problem);
    }
    if (failure == 0) {
        failure = take_lock(directory, problem);
    }
    for (unsigned i = 0; i < PLACE_COUNT && failure == 0; i++) {
        const struct directory_given *given = options->given == NULL ? NULL : &options->given[i];
        failure = given == NULL || given->fd < 0
                      ? open_socket(directory, (enum directory_place)i, &access, problem)
                      : adopt_socket(directory, (enum directory_place)i, given, &access, problem);
    }
    if (failure != 0) {
        directory_close(directory);
    }
    return failure;
}

static bool is_held(const struct directory_socket *held)
{
    struct stat st;
    return held->path != NULL && held->inode != 0 && lstat(held->path, &st) == 0 &&
           st.st_dev == held->device && st.st_ino == held->inode;
}

bool directory_holds(const struct directory *directory, enum directory_place place)
{
    return is_held(&directory->sockets[place]);
}

static void remove_socket(struct directory_socket *held)
{
    if (held->is_own && is_held(held)) {
        (void)unlink(held->path); /* best effort: the next start replaces it */
    }
    if (held->fd >= 0) {
        (void)close(held->fd);
    }
    mem_free(held->path);
    *held = (struct directory_socket){.fd = -1};
}

void directory_close(struct directory *directory)
{
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        remove_socket(&directory->sockets[i]);
    }
    if (directory->lock_fd >= 0) {
        (void)close(directory->lock_fd); /* lets go of the lock */
    }
    mem_free(directory->path);
    *directory = (struct directory){.lock_fd = -1};
}

void directory_leave(struct directory *directory, enum directory_place place)
{
    directory->sockets[place].is_own = false;
}

int directory_steal_fd(struct directory *directory, enum directory_place place)
{
    int fd = directory->sockets[place].fd;
    directory->sockets[place].fd = -1;
    return fd;
}
