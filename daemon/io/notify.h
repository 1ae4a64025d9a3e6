/*
 * What the service manager is told (sd_notify(3)): ready, reloading, stopping, alive, a line of status,
 * and which sockets it is to keep for the next run. It knows no loop and no timer: io/pulse calls it.
 * Without a manager nothing is told, which is no error. Main thread at the start, then the loop thread.
 */
#ifndef DWELL_IO_NOTIFY_H
#define DWELL_IO_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

enum { NOTIFY_TEXT_MAX = 256 }; /* of a message: ours have some 60 bytes, the manager reads 4096 */

struct notify {
    int fd; /* connected; -1: nobody wants to be told */
    struct sockaddr_un address;
    socklen_t address_len;
    uint64_t watchdog_ms; /* silence that the manager takes for death; 0: it does not look */
    uint64_t keeps;       /* descriptors that it would keep */
    size_t owed_len;      /* 0: the last change of state was told */
    char owed[NOTIFY_TEXT_MAX];
};

/* Connects to $NOTIFY_SOCKET, when there is one. What is wrong with it is logged. */
void notify_open(struct notify *notify, char *const *environment);

/* Changes of state. One that the manager has no room for is owed; of several only the last, which is
 * all that counts then. */
void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify, uint64_t mono_ns); /* until it is ready again */
void notify_stopping(struct notify *notify, uint64_t within_ms);

/* Tells what is owed; call it now and then. */
void notify_repeat(struct notify *notify);

/* That it lives, and a line for people: either goes missing when there is no room for it. */
void notify_alive(struct notify *notify);
void notify_status(struct notify *notify, struct str line);

/* Gives a copy of the descriptor to the manager, for the next run under this name, which is the caller's
 * choice: printable, without colons. Waits for room, so at the start only. Returns whether it went. */
bool notify_keep(struct notify *notify, int fd, const char *name);

/* What is kept under this name is not wanted any more. */
void notify_forget(struct notify *notify, const char *name);

void notify_close(struct notify *notify);

#endif
