#include "io/journald.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/num.h"

int journald_open(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len >= sizeof address.sun_path) {
        return -1;
    }
    memcpy(address.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd); /* it holds nothing */
        fd = -1;
    }
    return fd;
}

bool journald_has(const char *stream, int fd)
{
    uint64_t device;
    uint64_t inode;
    struct stat st;
    if (stream == NULL) {
        return false;
    }
    size_t len = strcspn(stream, ":");
    return num_read_u64((struct str){stream, len}, &device) == 0 && stream[len] == ':' &&
           num_read_u64(str_of(stream + len + 1), &inode) == 0 && fstat(fd, &st) == 0 &&
           st.st_dev == device && st.st_ino == inode;
}
