#include "io/probe/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/num.h"
#include "io/probe/proc_text.h"

/* Threads of a process that are asked for their numbers in its namespace; one that has more is not
 * looked at. Each takes some 30 µs, once. */
enum { NAMESPACE_THREADS_MAX = 512 };

/* Whether the number in our namespace is that of the process's own, as for nearly all. */
static int count_namespaces(const struct proc_roots *roots, int64_t pid, unsigned *ret_count)
{
    struct proc_text room;
    struct str text;
    uint64_t own;
    int directory = proc_open_directory(roots, pid, 0);
    if (directory < 0) {
        return -directory;
    }
    int reason = proc_read_file(directory, "status", &room, &text);
    proc_close(directory);
    if (reason == 0) {
        *ret_count = proc_text_own_pid(text, &own);
    }
    return reason;
}

/* Whether a directory of task/ is of the thread with this number in its own namespace. */
static bool is_called(int tasks, const char *name, uint64_t said_tid)
{
    char path[NAME_MAX + sizeof "/status"];
    struct proc_text room;
    struct str text;
    uint64_t own = 0;
    (void)snprintf(path, sizeof path, "%s/status", name); /* there is room for any name */
    return proc_read_file(tasks, path, &room, &text) == 0 && proc_text_own_pid(text, &own) > 0 &&
           own == said_tid;
}

static int find_tid(const struct proc_roots *roots, int64_t pid, uint64_t said_tid,
                    uint64_t *ret_tid)
{
    char path[PROC_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%" PRIi64 "/task", roots->proc, pid); /* or it is cut */
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return errno;
    }
    int reason = ESRCH;
    const struct dirent *entry = readdir(directory);
    for (unsigned i = 0; entry != NULL && i < NAMESPACE_THREADS_MAX + 2; i++) { /* "." and ".." */
        uint64_t tid;
        if (num_read_u64(str_of(entry->d_name), &tid) == 0 &&
            is_called(dirfd(directory), entry->d_name, said_tid)) {
            *ret_tid = tid;
            reason = 0;
            break;
        }
        entry = readdir(directory);
    }
    (void)closedir(directory); /* was only read */
    return reason;
}

int look_open(struct look *look, const struct proc_roots *roots, int64_t pid, uint64_t said_tid)
{
    unsigned namespaces = 0;
    uint64_t tid = said_tid;
    *look = (struct look){-1, -1};
    int reason = count_namespaces(roots, pid, &namespaces);
    if (reason == 0 && namespaces > 1) {
        reason = find_tid(roots, pid, said_tid, &tid);
    }
    if (reason != 0) {
        return reason;
    }
    if (tid == 0 || tid > INT32_MAX) {
        return ESRCH;
    }
    int directory = proc_open_directory(roots, pid, (int64_t)tid);
    if (directory < 0) {
        return -directory;
    }
    look->wchan = proc_open(directory, "wchan");
    look->stat = proc_open(directory, "stat");
    proc_close(directory);
    reason = look->wchan < 0 ? -look->wchan : look->stat < 0 ? -look->stat : 0;
    if (reason != 0) {
        look_close(look);
    }
    return reason;
}

void look_close(struct look *look)
{
    proc_close(look->wchan);
    proc_close(look->stat);
    *look = (struct look){-1, -1};
}

static int read_wchan(const struct look *look, struct proc_text *room, enum wchan *ret_wchan)
{
    struct str text;
    int reason = proc_read(look->wchan, room, &text);
    if (reason == 0) {
        *ret_wchan = proc_text_wchan(text);
    }
    return reason;
}

int look_take(const struct look *look, struct proc_text *room, enum look_at *ret_look_at)
{
    struct proc_stat stat;
    struct str text;
    enum wchan wchan;
    int reason = read_wchan(look, room, &wchan);
    if (reason == 0 && wchan == WCHAN_NONE) {
        reason = proc_read(look->stat, room, &text);
        if (reason == 0 && !proc_text_stat(text, &stat)) {
            return LOOK_UNTOLD;
        }
        if (reason == 0 && stat.state == 'R') {
            *ret_look_at = LOOK_RUNS;
            return 0;
        }
        if (reason == 0) { /* it may have gone to sleep between the two */
            reason = read_wchan(look, room, &wchan);
        }
    }
    if (reason == 0 && wchan == WCHAN_NONE) {
        return LOOK_UNTOLD;
    }
    if (reason == 0) {
        *ret_look_at = wchan == WCHAN_FUTEX ? LOOK_FUTEX : LOOK_WAITS;
    }
    return reason;
}
