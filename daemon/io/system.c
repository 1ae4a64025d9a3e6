#include "io/system.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

enum { READ_BYTES = 16384 };

static uint64_t read_clock(clockid_t which)
{
    struct timespec now;
    (void)clock_gettime(which, &now); /* both clocks always exist */
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t mono_ns(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_MONOTONIC);
}

static uint64_t wall_ns(void *ctx)
{
    (void)ctx;
    return read_clock(CLOCK_REALTIME);
}

struct clock system_clock(void)
{
    return (struct clock){.mono_ns = mono_ns, .wall_ns = wall_ns};
}

int system_random(uint64_t *ret_bits)
{
    return getrandom(ret_bits, sizeof *ret_bits, 0) == sizeof *ret_bits ? 0 : ERR_SYSTEM;
}

int system_read_file(const char *path, struct buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno;
    }
    int reason = fstat(fd, &st) != 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    while (reason == 0) {
        char *room = buf_reserve(out, READ_BYTES);
        if (room == NULL) {
            reason = out->err == ERR_NOMEM ? ENOMEM : EFBIG;
            break;
        }
        ssize_t got = read(fd, room, READ_BYTES);
        if (got <= 0) {
            reason = got < 0 ? errno : 0;
            break;
        }
        out->len += (size_t)got;
    }
    (void)close(fd); /* was only read */
    return reason;
}

uint64_t system_raise_descriptors(uint64_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return wanted; /* cannot happen, and then there is no limit that is known */
    }
    if (limit.rlim_cur < wanted) {
        rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            limit.rlim_cur = before;
        }
    }
    return limit.rlim_cur;
}

const char *system_variable(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=' &&
            (*environment)[len + 1] != '\0') {
            return *environment + len + 1;
        }
    }
    return NULL;
}
