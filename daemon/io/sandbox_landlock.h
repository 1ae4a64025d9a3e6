/*
 * Which files and TCP ports there are for the daemon, by Landlock: a list of directories and files
 * below which it may read, or read and write; nothing else of the file system can be opened by path.
 * What is open stays open. It does not choose them.
 *
 * It holds for the calling thread and those that it starts, not for others of the process. Nor may such a
 * thread look into processes outside (/proc/PID/io and its like), which is why the probe's thread begins
 * before: see io/sandbox.
 */
#ifndef DWELL_IO_SANDBOX_LANDLOCK_H
#define DWELL_IO_SANDBOX_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sandbox_place {
    const char *path; /* followed where it is a link; what is not there is left out */
    bool may_write;   /* files below it are made, written, renamed within it, and removed, too */
};

struct sandbox_ports {
    const uint16_t *ports; /* that may be connected to */
    size_t count;
    bool all; /* they cannot be told */
};

enum { SANDBOX_LANDLOCK_WITH_PORTS = 4 }; /* the version; before it files alone */

/* The version of Landlock's interface in this kernel; 0: none, or it is not switched on. */
int sandbox_landlock_version(void);

/* Confines the calling thread to these places and ports; no TCP port can be bound any more.
 * no_new_privs must be set. What the version does not know stays free. Returns 0 or an errno value:
 * nothing is confined then. */
int sandbox_landlock_apply(int version, const struct sandbox_place *places, size_t place_count,
                           const struct sandbox_ports *ports);

#endif
