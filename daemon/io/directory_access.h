/*
 * Another mode and another group for sockets that are open. It opens none, and leaves admin.sock alone,
 * which is the owner's. Main thread: a few system calls on what the kernel has in memory for as long as we
 * listen, so that none waits for a disk.
 */
#ifndef DWELL_IO_DIRECTORY_ACCESS_H
#define DWELL_IO_DIRECTORY_ACCESS_H

#include "io/directory.h"

struct directory_access {
    uint32_t mode;
    bool has_group; /* else the group is the daemon's own */
    gid_t group;
};

/* What files were before; paths point into the directory. All zero: nothing has been changed. */
struct directory_access_undo {
    unsigned count;
    struct directory_access_file {
        const char *path;
        mode_t mode;
        gid_t group;
    } files[PLACE_COUNT + 1]; /* with the directory */
};

/* All sockets or none; with them the directory, when we made it: who has decided about it otherwise is
 * not overruled. Returns 0; ERR_SYSTEM with a line in `problem`, and then everything is as it was. */
int directory_access_change(const struct directory *directory,
                            const struct directory_access *access,
                            struct directory_access_undo *ret_undo, struct buf *problem);

/* Makes it as it was before. */
void directory_access_undo(const struct directory_access_undo *undo);

#endif
