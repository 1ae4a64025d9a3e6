#include "io/probe/proc_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

const struct proc_roots proc_roots_real = {
    .proc = "/proc",
    .cgroup = "/sys/fs/cgroup",
    .cpu = "/sys/devices/system/cpu",
    .is_real = true,
};

int proc_open_directory(const struct proc_roots *roots, int64_t pid, int64_t tid)
{
    char path[PROC_PATH_MAX];
    int len = tid == 0 ? snprintf(path, sizeof path, "%s/%" PRIi64, roots->proc, pid)
                       : snprintf(path, sizeof path, "%s/%" PRIi64 "/task/%" PRIi64, roots->proc,
                                  pid, tid);
    if (len < 0 || (size_t)len >= sizeof path) {
        return -ENAMETOOLONG;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int proc_open(int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

/* One call gives all of it: the kernel makes the text of such a file at once. */
int proc_read(int file, struct proc_text *text, struct str *ret_text)
{
    ssize_t len = pread(file, text->bytes, sizeof text->bytes, 0);
    if (len < 0) {
        return errno;
    }
    *ret_text = (struct str){text->bytes, (size_t)len};
    return 0;
}

int proc_read_file(int directory, const char *name, struct proc_text *text, struct str *ret_text)
{
    int fd = proc_open(directory, name);
    if (fd < 0) {
        return -fd;
    }
    int reason = proc_read(fd, text, ret_text);
    proc_close(fd);
    return reason;
}

void proc_close(int descriptor)
{
    if (descriptor >= 0) {
        (void)close(descriptor); /* was only read */
    }
}

bool proc_join(char ret_path[PROC_PATH_MAX], const char *root, struct str path, const char *name)
{
    if (path.len >= PROC_PATH_MAX || memchr(path.ptr == NULL ? "" : path.ptr, '\0', path.len)) {
        return false;
    }
    int len = snprintf(ret_path, PROC_PATH_MAX, "%s%.*s%s", root, (int)path.len,
                       path.len == 0 ? "" : path.ptr, name);
    return len >= 0 && len < PROC_PATH_MAX;
}

bool proc_is_gone(int reason)
{
    return reason == ENOENT || reason == ESRCH || reason == ENOTDIR;
}
