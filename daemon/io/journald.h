/*
 * The way to the systemd journal: its socket, and whether a descriptor leads there already. It writes
 * nothing: base/log does. At the start, on the main thread.
 */
#ifndef DWELL_IO_JOURNALD_H
#define DWELL_IO_JOURNALD_H

#include <stdbool.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* A socket for datagrams of the journal's native protocol, which does not block; or -1 when there is no
 * journal at the path, or it may not be opened. */
int journald_open(const char *path);

/* Whether it is `fd` that $JOURNAL_STREAM ("device:inode") speaks of, as systemd sets it for services
 * whose output goes to the journal. NULL or nonsense: no. */
bool journald_has(const char *stream, int fd);

#endif
