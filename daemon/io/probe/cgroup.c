#include "io/probe/cgroup.h"

#include <fcntl.h>

#include "base/num.h"
#include "io/probe/proc_text.h"

enum {
    LEVELS_MAX = 16
}; /* of cgroups above one another that are looked at; systemd makes 4 or so */

static bool read_at(const char *path, struct proc_text *room, struct str *ret_text)
{
    return proc_read_file(AT_FDCWD, path, room, ret_text) == 0;
}

/* Reads a file of the cgroup at root + path. */
static bool read_of(const char *root, struct str path, const char *name, struct proc_text *room,
                    struct str *ret_text)
{
    char file[PROC_PATH_MAX];
    return proc_join(file, root, path, name) && read_at(file, room, ret_text);
}

/* The path of the cgroup above; false at the root. */
static bool go_up(struct str *path)
{
    while (path->len > 0 && path->ptr[path->len - 1] != '/') {
        path->len--;
    }
    if (path->len == 0) {
        return false;
    }
    path->len--; /* the slash */
    return true;
}

/* The root itself is written "/". */
static struct str without_root(struct str path)
{
    return str_is(path, "/") ? (struct str){path.ptr, 0} : path;
}

/* "max 100000" or "50000 100000"; "-1" or "50000". Both begin with a number only where there is one. */
static bool is_quota(struct str text)
{
    uint64_t quota;
    return proc_text_fields(text, &quota, 1) == 1;
}

/* Looks for the lowest cgroup with a quota, from `path` up. Returns false when not even `path` itself
 * can be seen: `seen` is a file that every cgroup of this kind has. */
static bool find_quota(struct cgroup *cgroup, const char *root, struct str path, const char *seen,
                       const char *quota)
{
    struct proc_text room;
    struct str text;
    if (!read_of(root, path, seen, &room, &text)) {
        return false;
    }
    for (unsigned level = 0; level < LEVELS_MAX; level++) {
        if (read_of(root, path, quota, &room, &text) && is_quota(text)) {
            if (!proc_join(cgroup->throttle, root, path, "/cpu.stat")) {
                cgroup->throttle[0] = '\0';
            }
            return true;
        }
        if (!go_up(&path)) {
            return true;
        }
    }
    return true;
}

/* Where a hierarchy lies: of v2 at the root, or beside those of v1. */
static bool join_root(char ret_root[PROC_PATH_MAX], const struct proc_roots *roots,
                      const char *name)
{
    return proc_join(ret_root, roots->cgroup, (struct str){NULL, 0}, name);
}

static void find_unified(struct cgroup *cgroup, const struct proc_roots *roots, struct str path,
                         bool has_quotas)
{
    static const char *const places[] = {"", "/unified"};
    struct proc_text room;
    struct str text;
    for (unsigned i = 0; i < 2 && path.len > 0; i++) {
        char root[PROC_PATH_MAX];
        struct str below = without_root(path);
        if (!join_root(root, roots, places[i])) {
            return;
        }
        if (has_quotas && !cgroup->knows_quota) {
            cgroup->knows_quota = find_quota(cgroup, root, below, "/cgroup.procs", "/cpu.max");
        }
        if (!read_of(root, below, "/memory.pressure", &room, &text) ||
            !proc_join(cgroup->pressure, root, below, "/memory.pressure")) {
            cgroup->pressure[0] = '\0';
        } else {
            return;
        }
    }
}

void cgroup_find(struct cgroup *cgroup, const struct proc_roots *roots, struct str text)
{
    char root[PROC_PATH_MAX];
    *cgroup = (struct cgroup){.knows_quota = false};
    struct str of_cpu = proc_text_cgroup(text, "cpu");
    if (of_cpu.len > 0 && join_root(root, roots, "/cpu")) {
        cgroup->knows_quota =
            find_quota(cgroup, root, without_root(of_cpu), "/cpu.stat", "/cpu.cfs_quota_us");
    }
    find_unified(cgroup, roots, proc_text_cgroup(text, ""), of_cpu.len == 0);
}

bool cgroup_throttled(const struct cgroup *cgroup, struct proc_text *room, double *ret_ms)
{
    struct str text;
    uint64_t number;
    if (cgroup->throttle[0] == '\0') {
        *ret_ms = 0;
        return cgroup->knows_quota;
    }
    if (!read_at(cgroup->throttle, room, &text)) {
        return false;
    }
    if (proc_text_number(text, "throttled_usec", &number)) {
        *ret_ms = (double)number / 1e3;
        return true;
    }
    if (proc_text_number(text, "throttled_time", &number)) { /* of v1, in ns */
        *ret_ms = (double)number / 1e6;
        return true;
    }
    return false;
}

bool cgroup_memory_stall(const struct cgroup *cgroup, const struct proc_roots *roots,
                         struct proc_text *room, double *ret_ms)
{
    struct str text;
    uint64_t us;
    bool is_read = cgroup->pressure[0] != '\0' ? read_at(cgroup->pressure, room, &text)
                                               : read_of(roots->proc, (struct str){NULL, 0},
                                                         "/pressure/memory", room, &text);
    if (!is_read || !proc_text_pressure(text, &us)) {
        return false;
    }
    *ret_ms = (double)us / 1e3;
    return true;
}

/* What one cgroup leaves; UINT64_MAX without a limit. */
static uint64_t left_in(const char *root, struct str path, const char *limit, const char *usage,
                        struct proc_text *room)
{
    struct str text;
    uint64_t most;
    uint64_t used;
    if (!read_of(root, path, limit, room, &text) || proc_text_fields(text, &most, 1) != 1 ||
        !read_of(root, path, usage, room, &text) || proc_text_fields(text, &used, 1) != 1) {
        return UINT64_MAX;
    }
    return most > used ? most - used : 0;
}

static uint64_t left_from(const char *root, struct str path, const char *limit, const char *usage,
                          struct proc_text *room)
{
    uint64_t least = UINT64_MAX;
    for (unsigned level = 0; level < LEVELS_MAX; level++) {
        uint64_t left = left_in(root, path, limit, usage, room);
        least = left < least ? left : least;
        if (!go_up(&path)) {
            break;
        }
    }
    return least;
}

uint64_t cgroup_memory_left(const struct proc_roots *roots, struct proc_text *room)
{
    struct proc_text own;
    struct str text;
    char root[PROC_PATH_MAX];
    uint64_t least = UINT64_MAX;
    if (!read_of(roots->proc, (struct str){NULL, 0}, "/self/cgroup", &own, &text)) {
        return least;
    }
    struct str path = proc_text_cgroup(text, "memory");
    if (path.len > 0 && join_root(root, roots, "/memory")) {
        least = left_from(root, without_root(path), "/memory.limit_in_bytes",
                          "/memory.usage_in_bytes", room);
    }
    path = proc_text_cgroup(text, "");
    if (path.len > 0) {
        uint64_t left =
            left_from(roots->cgroup, without_root(path), "/memory.max", "/memory.current", room);
        least = left < least ? left : least;
    }
    return least;
}
