/*
 * Happy path, for each file
 *   1. it is still ours: a file that somebody else has put there meanwhile is left alone
 *   2. no permission that only the old group was meant to have: mode & old mode
 *   3. the group
 *   4. the mode: at no moment is it open wider than before or than asked for
 *
 * What can fail: a group that we may not give away (EPERM). What was changed before is changed back.
 */
#include "io/directory_access.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

static int set(const char *path, mode_t before, mode_t mode, gid_t group)
{
    return chmod(path, before & mode) == 0 && chown(path, (uid_t)-1, group) == 0 &&
                   chmod(path, mode) == 0
               ? 0
               : ERR_SYSTEM;
}

static bool find_socket(const struct directory_socket *held, struct directory_access_file *ret_file)
{
    struct stat st;
    if (held->path == NULL || lstat(held->path, &st) != 0 || st.st_ino != held->inode ||
        st.st_dev != held->device) {
        return false;
    }
    *ret_file = (struct directory_access_file){held->path, st.st_mode & 07777, st.st_gid};
    return true;
}

static bool find_directory(const struct directory *directory,
                           struct directory_access_file *ret_file)
{
    struct stat st;
    if (!directory->is_made || lstat(directory->path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return false;
    }
    *ret_file = (struct directory_access_file){directory->path, st.st_mode & 07777, st.st_gid};
    return true;
}

/* The directory first: whoever may open the sockets can then pass. */
static void find_files(const struct directory *directory, struct directory_access_undo *ret)
{
    ret->count = find_directory(directory, &ret->files[0]);
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        ret->count +=
            i != PLACE_ADMIN && find_socket(&directory->sockets[i], &ret->files[ret->count]);
    }
}

void directory_access_undo(const struct directory_access_undo *undo)
{
    for (unsigned i = undo->count; i-- > 0;) {
        const struct directory_access_file *file = &undo->files[i];
        (void)set(file->path, 0, file->mode, file->group); /* it was allowed before */
    }
}

int directory_access_change(const struct directory *directory,
                            const struct directory_access *access,
                            struct directory_access_undo *ret_undo, struct buf *problem)
{
    struct directory_access_undo undo;
    gid_t group = access->has_group ? access->group : getegid();
    mode_t passing = access->has_group ? 0750 : 0700;
    find_files(directory, &undo);
    for (unsigned i = 0; i < undo.count; i++) {
        const struct directory_access_file *file = &undo.files[i];
        mode_t mode = file->path == directory->path ? passing : (mode_t)access->mode;
        if (set(file->path, file->mode, mode, group) != 0) {
            buf_printf(problem, "%s: cannot be given to group %u: %s\n", file->path,
                       (unsigned)group, strerror(errno));
            undo.count = i + 1;
            directory_access_undo(&undo);
            return ERR_SYSTEM;
        }
    }
    *ret_undo = undo;
    return 0;
}
