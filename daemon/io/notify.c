/*
 * Happy path
 *   1. $NOTIFY_SOCKET names a datagram socket, which is connected to once: later nothing of the file
 *      system or of other processes need be in reach
 *   2. a message is one datagram of lines; a descriptor to be kept comes along with its own
 *
 *        RELOADING=1                FDSTORE=1
 *        MONOTONIC_USEC=5123456     FDNAME=ingest.sock@1a-2b7   + SCM_RIGHTS: the descriptor
 *
 *   3. nobody answers
 *
 * What can fail: the socket cannot be had, which is logged once, and the manager draws its conclusions.
 * Its queue is full: a change of state is owed until it went, a sign of life or a status is not. It was
 * started anew: the address is connected to again, once for a message.
 *
 * Two designs were weighed. libsystemd's sd_notify does the same in a call, and brings liblzma, libzstd,
 * liblz4, libcap and libgcrypt into a process that uses none of them; it opens a socket for each message
 * and may wait. The protocol is a datagram that is documented as stable, so it is spoken here.
 */
#include "io/notify.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "io/system.h"

enum {
    START_WAIT_MS = 1000, /* for room in the manager's queue; making it takes microseconds */
    EXIT_MS = 1000,       /* what the end may take after its deadline: giving memory back */
};

#define US_PER_MS UINT64_C(1000)

/* --- start ------------------------------------------------------------------------------------- */

/* "/path", or "@name" of the abstract namespace. */
static int set_address(struct notify *notify, const char *path)
{
    size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len >= sizeof notify->address.sun_path) {
        return EAFNOSUPPORT;
    }
    notify->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(notify->address.sun_path, path, len);
    if (path[0] == '@') {
        notify->address.sun_path[0] = '\0';
    }
    notify->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return 0;
}

static int connect_again(const struct notify *notify)
{
    return connect(notify->fd, (const struct sockaddr *)&notify->address, notify->address_len);
}

static int open_socket(struct notify *notify, const char *path)
{
    int reason = set_address(notify, path);
    if (reason != 0) {
        return reason;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0 || connect_again(notify) != 0) {
        reason = errno;
        notify_close(notify);
    }
    return reason;
}

/* 0 where the variable is missing, or is no number. */
static uint64_t number(char *const *environment, const char *name)
{
    const char *text = system_variable(environment, name);
    uint64_t value = 0;
    if (text != NULL && num_read_u64(str_of(text), &value) != 0) {
        log_warning("%s: expects a whole number, got \"%s\"", name, text);
    }
    return value;
}

/* The variables may be those of a parent that was to be watched itself. */
static bool watches_us(char *const *environment)
{
    return system_variable(environment, "WATCHDOG_PID") == NULL ||
           number(environment, "WATCHDOG_PID") == (uint64_t)getpid();
}

void notify_open(struct notify *notify, char *const *environment)
{
    const char *path = system_variable(environment, "NOTIFY_SOCKET");
    *notify = (struct notify){.fd = -1};
    if (path == NULL) {
        return;
    }
    int reason = open_socket(notify, path);
    if (reason != 0) {
        log_warning("NOTIFY_SOCKET: cannot reach the service manager at %s: %s", path,
                    strerror(reason));
        return;
    }
    notify->keeps = number(environment, "FDSTORE");
    uint64_t watchdog_us = number(environment, "WATCHDOG_USEC");
    if (watchdog_us > 0 && watches_us(environment)) {
        notify->watchdog_ms = watchdog_us < US_PER_MS ? 1 : watchdog_us / US_PER_MS;
    }
}

void notify_close(struct notify *notify)
{
    if (notify->fd >= 0) {
        (void)close(notify->fd); /* nothing is buffered */
    }
    notify->fd = -1;
}

/* --- messages ---------------------------------------------------------------------------------- */

static ssize_t send_once(const struct notify *notify, char *text, size_t len, int kept_fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct iovec part = {text, len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (kept_fd >= 0) {
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof kept_fd),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &kept_fd, sizeof kept_fd);
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
    }
    return sendmsg(notify->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool send_text(const struct notify *notify, char *text, size_t len, int kept_fd)
{
    if (send_once(notify, text, len, kept_fd) >= 0) {
        return true;
    }
    bool refused = errno == ECONNREFUSED || errno == ENOTCONN;
    return refused && connect_again(notify) == 0 && send_once(notify, text, len, kept_fd) >= 0;
}

void notify_repeat(struct notify *notify)
{
    if (notify->owed_len > 0 && send_text(notify, notify->owed, notify->owed_len, -1)) {
        notify->owed_len = 0;
    }
}

__attribute__((format(printf, 2, 3))) static void change_state(struct notify *notify,
                                                               const char *format, ...)
{
    va_list args;
    if (notify->fd < 0) {
        return;
    }
    va_start(args, format);
    int len = vsnprintf(notify->owed, sizeof notify->owed, format, args); /* fits: numbers only */
    va_end(args);
    notify->owed_len = len > 0 ? (size_t)len : 0;
    notify_repeat(notify);
}

void notify_ready(struct notify *notify)
{
    change_state(notify, "READY=1");
}

void notify_reloading(struct notify *notify, uint64_t mono_ns)
{
    change_state(notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
                 (unsigned long long)(mono_ns / (NS_PER_MS / US_PER_MS)));
}

void notify_stopping(struct notify *notify, uint64_t within_ms)
{
    uint64_t within_us = (within_ms + EXIT_MS) * US_PER_MS;
    change_state(notify, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu", (unsigned long long)within_us);
}

void notify_alive(struct notify *notify)
{
    char text[] = "WATCHDOG=1";
    if (notify->fd >= 0) {
        (void)send_text(notify, text, sizeof text - 1, -1); /* the next one may find room */
    }
}

void notify_status(struct notify *notify, struct str line)
{
    char text[NOTIFY_TEXT_MAX];
    if (notify->fd < 0) {
        return;
    }
    int len = snprintf(text, sizeof text, "STATUS=%.*s", (int)line.len, line.ptr);
    size_t sent_len = len < 0 ? 0 : (size_t)len < sizeof text ? (size_t)len : sizeof text - 1;
    (void)send_text(notify, text, sent_len, -1); /* the next one says more */
}

static void wait_for_room(const struct notify *notify)
{
    struct pollfd look = {.fd = notify->fd, .events = POLLOUT};
    (void)poll(&look, 1, START_WAIT_MS); /* sending says whether there was any */
}

bool notify_keep(struct notify *notify, int fd, const char *name)
{
    char text[NOTIFY_TEXT_MAX];
    if (notify->fd < 0) {
        return false;
    }
    int len = snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s", name);
    if (len < 0 || (size_t)len >= sizeof text) {
        return false;
    }
    wait_for_room(notify);
    return send_text(notify, text, (size_t)len, fd);
}

void notify_forget(struct notify *notify, const char *name)
{
    char text[NOTIFY_TEXT_MAX];
    int len = snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    if (notify->fd >= 0 && len > 0 && (size_t)len < sizeof text) {
        wait_for_room(notify);
        (void)send_text(notify, text, (size_t)len,
                        -1); /* else it comes back, and is looked at again */
    }
}
