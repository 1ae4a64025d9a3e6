/*
 * Happy path
 *   1. $LISTEN_PID is ours: descriptors 3 to 2 + $LISTEN_FDS are, and $LISTEN_FDNAMES has their names
 *
 *        LISTEN_FDS=3  LISTEN_FDNAMES=dwelld.socket:dwelld.socket:http@0-0
 *                                     └─────── a socket unit's ─┘ └ kept, of the run before
 *
 *   2. a socket unit has one name for all that it opens, so unless FileDescriptorName= says which it is,
 *      the last part of its path does, and a TCP socket is for HTTP
 *   3. each must be what its place needs: family, type, listening, bound to a path
 *   4. what was kept must besides be where a new one would be: the same path, the same file at it, the
 *      address of http.listen
 *
 * What can fail: a socket unit gives what is not known, does not fit, or comes twice. That is a mistake in
 * a configuration, each is logged, and the daemon does not start. What was kept and does not fit any more
 * is shut down and forgotten, and a new one is opened: a start that fails over it would fail for ever.
 */
#include "io/inherited.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "io/kept.h"
#include "io/system.h"

enum {
    FIRST_FD = 3,
    NAME_MAX_BYTES = 256, /* a name has at most 255 */
};

/* What a descriptor is. */
struct look {
    int family;
    int type;
    int listens;
    char path[sizeof((struct sockaddr_un *)0)->sun_path + 1]; /* "": none, or an abstract one */
};

/* What is passed around while descriptors are sorted. */
struct sorting {
    struct inherited *inherited;
    struct notify *notify;
    const char *directory;
    bool refused;
};

static const char *name_of(unsigned place)
{
    return place == INHERITED_HTTP ? "http" : directory_kinds[place].name;
}

static const char *expects(unsigned place)
{
    if (place == INHERITED_HTTP) {
        return "a TCP socket that listens";
    }
    return directory_kinds[place].type == SOCK_DGRAM
               ? "a Unix datagram socket that has a path"
               : "a Unix stream socket that has a path and listens (Accept=no)";
}

/* INHERITED_COUNT: none is called that. */
static unsigned find_place(struct str name)
{
    unsigned place = 0;
    while (place < INHERITED_COUNT && !str_is(name, name_of(place))) {
        place++;
    }
    return place;
}

static bool get_option(int fd, int option, int *ret_value)
{
    socklen_t len = sizeof *ret_value;
    return getsockopt(fd, SOL_SOCKET, option, ret_value, &len) == 0;
}

/* Returns 0 or an errno value. */
static int look_at(int fd, struct look *ret_look)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_un address = {0};
    struct look look = {0};
    socklen_t len = sizeof storage;
    if (!get_option(fd, SO_DOMAIN, &look.family) || !get_option(fd, SO_TYPE, &look.type) ||
        !get_option(fd, SO_ACCEPTCONN, &look.listens) ||
        getsockname(fd, (struct sockaddr *)&storage, &len) != 0) {
        return errno;
    }
    if (look.family == AF_UNIX && len <= sizeof address) {
        memcpy(&address, &storage, len);
        memcpy(look.path, address.sun_path, sizeof address.sun_path);
    }
    *ret_look = look;
    return 0;
}

static bool fits(const struct look *look, unsigned place)
{
    bool internet = look->family == AF_INET || look->family == AF_INET6;
    if (place == INHERITED_HTTP) {
        return internet && look->type == SOCK_STREAM && look->listens;
    }
    return look->family == AF_UNIX && look->type == directory_kinds[place].type &&
           look->path[0] != '\0' && (look->type == SOCK_DGRAM || look->listens);
}

/* --- of a socket unit -------------------------------------------------------------------------- */

static void refuse(struct sorting *sorting, int fd, const char *name, const char *expected,
                   const char *got)
{
    log_error("LISTEN_FDS: descriptor %d, \"%s\": expects %s, got %s", fd, name, expected, got);
    sorting->refused = true;
}

static unsigned find_place_of(const char *name, const struct look *look)
{
    unsigned place = find_place(str_of(name));
    if (place == INHERITED_COUNT && look->family != AF_UNIX) {
        return look->type == SOCK_STREAM ? INHERITED_HTTP : INHERITED_COUNT;
    }
    const char *slash = strrchr(look->path, '/');
    return place == INHERITED_COUNT && slash != NULL ? find_place(str_of(slash + 1)) : place;
}

static void describe(const struct look *look, char out[NAME_MAX_BYTES])
{
    (void)snprintf(out, NAME_MAX_BYTES, "a %s%s socket%s%s%s",
                   look->family == AF_UNIX ? "Unix" : "network",
                   look->type == SOCK_STREAM  ? " stream"
                   : look->type == SOCK_DGRAM ? " datagram"
                                              : "",
                   look->path[0] == '\0' ? " without a path" : " at ", look->path,
                   look->type == SOCK_STREAM && !look->listens ? " that does not listen" : "");
}

/* Datagrams that came while nobody asked who sends them are from nobody. */
static void check_credentials(int fd, unsigned place)
{
    int on = 0;
    if (place == PLACE_DATAGRAM && get_option(fd, SO_PASSCRED, &on) && on == 0) {
        log_warning("ingest.dgram: who sent what waits in it is not known; its socket unit should "
                    "have PassCredentials=yes");
    }
}

static void take_given(struct sorting *sorting, int fd, const char *name)
{
    struct look look;
    char got[NAME_MAX_BYTES];
    int reason = look_at(fd, &look);
    if (reason != 0) {
        refuse(sorting, fd, name, "a socket", strerror(reason));
        return;
    }
    unsigned place = find_place_of(name, &look);
    describe(&look, got);
    if (place == INHERITED_COUNT) {
        refuse(sorting, fd, name,
               "a name or a path that ends in ingest.sock, ingest.dgram, query.sock, admin.sock, "
               "or a TCP socket for http",
               got);
    } else if (!fits(&look, place)) {
        refuse(sorting, fd, name, expects(place), got);
    } else if (sorting->inherited->sockets[place].fd >= 0) {
        refuse(sorting, fd, name, "one socket for each place", "a second one");
    } else {
        check_credentials(fd, place);
        sorting->inherited->sockets[place] = (struct directory_given){.fd = fd};
        log_info("%s comes from the service manager", name_of(place));
    }
}

/* --- kept -------------------------------------------------------------------------------------- */

/* Shut down, as the manager may hold its copy for a while: nobody is to wait in it for an answer. */
static void discard(struct notify *notify, int fd, const char *name, const char *why)
{
    log_info("%s, which the service manager kept, is opened anew: %s", name, why);
    (void)shutdown(fd, SHUT_RDWR); /* fails where nothing can wait */
    (void)close(fd);
    notify_forget(notify, name);
}

/* Whether clients that open the socket's path reach it. */
static bool is_in_place(const struct sorting *sorting, unsigned place, const struct look *look,
                        const struct kept_name *kept)
{
    struct stat st;
    size_t len = sorting->directory == NULL ? 0 : strlen(sorting->directory);
    return len > 0 && strncmp(look->path, sorting->directory, len) == 0 && look->path[len] == '/' &&
           strcmp(look->path + len + 1, name_of(place)) == 0 && lstat(look->path, &st) == 0 &&
           st.st_dev == kept->device && st.st_ino == kept->inode;
}

static void take_kept(struct sorting *sorting, int fd, const char *name,
                      const struct kept_name *kept)
{
    struct look look;
    unsigned place = find_place(kept->socket);
    if (place == INHERITED_COUNT || look_at(fd, &look) != 0 || !fits(&look, place)) {
        discard(sorting->notify, fd, name, "it is of no use any more");
    } else if (sorting->inherited->sockets[place].fd >= 0) {
        discard(sorting->notify, fd, name, "a socket unit has one"); /* these come first */
    } else if (place != INHERITED_HTTP && !is_in_place(sorting, place, &look, kept)) {
        discard(sorting->notify, fd, name, "it is not where the directory has it");
    } else {
        sorting->inherited->sockets[place] = (struct directory_given){.fd = fd, .is_kept = true};
        log_info("%s was kept by the service manager", name_of(place));
    }
}

/* --- all --------------------------------------------------------------------------------------- */

/* The next of names with colons between them; "" when there is none left. */
static void next_name(const char **names, char out[NAME_MAX_BYTES])
{
    size_t len = strcspn(*names, ":");
    (void)snprintf(out, NAME_MAX_BYTES, "%.*s", (int)len, *names);
    *names += len + ((*names)[len] == ':');
}

static void sort_one(struct sorting *sorting, int fd, const char *name)
{
    struct kept_name kept;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
        refuse(sorting, fd, name, "a socket", strerror(errno));
    } else if (kept_read_name(name, &kept)) {
        take_kept(sorting, fd, name, &kept);
    } else {
        take_given(sorting, fd, name);
    }
}

static uint64_t number(char *const *environment, const char *name, bool *ret_wrong)
{
    const char *text = system_variable(environment, name);
    uint64_t value = 0;
    *ret_wrong = text != NULL && num_read_u64(str_of(text), &value) != 0;
    return value;
}

bool inherited_take(struct inherited *inherited, char *const *environment, const char *directory,
                    struct notify *notify)
{
    struct sorting sorting = {.inherited = inherited, .notify = notify};
    bool wrong;
    for (unsigned i = 0; i < INHERITED_COUNT; i++) {
        inherited->sockets[i] = (struct directory_given){.fd = -1};
    }
    /* Else they were for a parent, and are none of our business. */
    if (number(environment, "LISTEN_PID", &wrong) != (uint64_t)getpid()) {
        return true;
    }
    uint64_t count = number(environment, "LISTEN_FDS", &wrong);
    if (wrong || count > INHERITED_MAX) {
        log_error("LISTEN_FDS: expects a whole number from 0 to %u, got \"%s\"",
                  (unsigned)INHERITED_MAX, system_variable(environment, "LISTEN_FDS"));
        return false;
    }
    const char *names = system_variable(environment, "LISTEN_FDNAMES");
    char *path = directory_find(directory, environment);
    names = names == NULL ? "" : names;
    sorting.directory = path;
    for (int i = 0; i < (int)count; i++) {
        char name[NAME_MAX_BYTES];
        next_name(&names, name);
        sort_one(&sorting, FIRST_FD + i, name);
    }
    mem_free(path);
    return !sorting.refused;
}

static bool is_at(int fd, const char *host, uint16_t port, bool is_ipv6)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } bound = {.any = {0}};
    struct in6_addr wanted = {0};
    socklen_t len = sizeof bound;
    if (getsockname(fd, &bound.any, &len) != 0 ||
        bound.any.sa_family != (is_ipv6 ? AF_INET6 : AF_INET) ||
        inet_pton(bound.any.sa_family, host, &wanted) != 1) {
        return false;
    }
    uint16_t bound_port = ntohs(is_ipv6 ? bound.v6.sin6_port : bound.v4.sin_port);
    bool same_host = is_ipv6 ? memcmp(&bound.v6.sin6_addr, &wanted, sizeof wanted) == 0
                             : memcmp(&bound.v4.sin_addr, &wanted, sizeof bound.v4.sin_addr) == 0;
    return same_host && (port == 0 || port == bound_port);
}

int inherited_take_http(struct inherited *inherited, const char *host, uint16_t port, bool is_ipv6,
                        struct notify *notify)
{
    struct directory_given *given = &inherited->sockets[INHERITED_HTTP];
    int fd = given->fd;
    if (given->is_kept && !is_at(fd, host, port, is_ipv6)) {
        char name[KEPT_NAME_MAX];
        kept_write_name(&(struct kept_name){.socket = STR_LITERAL("http")}, name);
        discard(notify, fd, name, "http.listen is another address");
        given->fd = -1;
        fd = -1;
    }
    return fd;
}
