/*
 * Happy path
 *   1. a set of rules is made that takes in all that the kernel's version can forbid
 *   2. each place becomes a rule: what may be done below it
 *   3. likewise each port; bind has no rule
 *   4. the thread is confined
 *
 * What can fail: no memory, more rules than the kernel takes. A place that is not there has no rule: it
 * cannot be opened later, either.
 *
 * Numbers of the kernel's interface stand here, as its headers are older than it on the systems that
 * we build on (linux/landlock.h of Debian 12 knows version 2, kernels version 8).
 */
#include "io/sandbox_landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum access_fs {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_REMOVE_DIR = 1 << 4,
    FS_REMOVE_FILE = 1 << 5,
    FS_MAKE_REG = 1 << 8,
    FS_REFER = 1 << 13,
    FS_TRUNCATE = 1 << 14,
    FS_IOCTL_DEV = 1 << 15,
};

enum access_net { NET_BIND_TCP = 1 << 0, NET_CONNECT_TCP = 1 << 1 };

enum {
    FS_VERSION_1 = (1 << 13) - 1, /* from EXECUTE to MAKE_SYM */
    FS_OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV,
    FS_READ = FS_READ_FILE | FS_READ_DIR,
    FS_WRITE = FS_READ | FS_WRITE_FILE | FS_MAKE_REG | FS_REMOVE_FILE | FS_TRUNCATE,
};

enum { GET_VERSION = 1 }; /* flag of landlock_create_ruleset */
enum rule_type { RULE_BELOW = 1, RULE_PORT = 2 };

struct ruleset {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped; /* abstract sockets and signals: of neither do we use what it forbids */
};

struct rule_below {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

struct rule_port {
    uint64_t allowed;
    uint64_t port;
};

static long create_ruleset(const struct ruleset *ruleset, size_t size, unsigned flags)
{
    return syscall(SYS_landlock_create_ruleset, ruleset, size, flags);
}

int sandbox_landlock_version(void)
{
    long version = create_ruleset(NULL, 0, GET_VERSION);
    return version > 0 ? (int)version : 0;
}

/* What a version can forbid. Signals are not in it: the probe's thread is outside and ends its child. */
static struct ruleset handled_by(int version)
{
    struct ruleset handled = {.handled_fs = FS_VERSION_1};
    handled.handled_fs |= version >= 2 ? FS_REFER : 0;
    handled.handled_fs |= version >= 3 ? FS_TRUNCATE : 0;
    handled.handled_fs |= version >= 5 ? FS_IOCTL_DEV : 0;
    handled.handled_net =
        version >= SANDBOX_LANDLOCK_WITH_PORTS ? NET_BIND_TCP | NET_CONNECT_TCP : 0;
    return handled;
}

static int add_place(int ruleset, uint64_t handled, const struct sandbox_place *place)
{
    struct stat st = {0};
    struct rule_below rule = {.allowed = place->may_write ? FS_WRITE : FS_READ};
    rule.parent = open(place->path, O_PATH | O_CLOEXEC);
    if (rule.parent < 0) {
        return 0;
    }
    int reason = fstat(rule.parent, &st) == 0 ? 0 : errno;
    rule.allowed &= S_ISDIR(st.st_mode) ? handled : handled & FS_OF_FILES;
    if (reason == 0 && syscall(SYS_landlock_add_rule, ruleset, RULE_BELOW, &rule, 0) != 0) {
        reason = errno;
    }
    (void)close(rule.parent); /* was only named */
    return reason;
}

static int add_ports(int ruleset, const struct sandbox_ports *ports)
{
    for (size_t i = 0; i < ports->count; i++) {
        const struct rule_port rule = {NET_CONNECT_TCP, ports->ports[i]};
        if (syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) != 0) {
            return errno;
        }
    }
    return 0;
}

int sandbox_landlock_apply(int version, const struct sandbox_place *places, size_t place_count,
                           const struct sandbox_ports *ports)
{
    struct ruleset handled = handled_by(version);
    if (ports->all) {
        handled.handled_net &= ~(uint64_t)NET_CONNECT_TCP;
    }
    int ruleset = (int)create_ruleset(&handled, sizeof handled, 0);
    if (ruleset < 0) {
        return errno;
    }
    int reason = 0;
    for (size_t i = 0; i < place_count && reason == 0; i++) {
        reason = add_place(ruleset, handled.handled_fs, &places[i]);
    }
    if (reason == 0 && (handled.handled_net & NET_CONNECT_TCP) != 0) {
        reason = add_ports(ruleset, ports);
    }
    if (reason == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) {
        reason = errno;
    }
    (void)close(ruleset); /* holds nothing that could be lost */
    return reason;
}
