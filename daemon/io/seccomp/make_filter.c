/*
 * A program of the build: writes the filters of io/sandbox_seccomp as C.
 *
 * Happy path
 *   1. names become numbers of this processor; a name that the library does not know yet is left out
 *   2. calls whose arguments matter get a rule for each argument that is right
 *   3. all of it becomes a program of the kernel's, as a tree, and is printed as numbers
 *   4. the names of all calls are printed, in the order of their numbers, each ended by a zero byte
 *
 * What can fail: the library refuses something, or memory is out. Then there is no build.
 *
 * Two designs were weighed. The daemon links libseccomp and makes its filters at each start: the usual
 * way, and it would fit a newer kernel's names without a new build. But then the library, 0.2 MB, and
 * what it allocates stay in a daemon that is small, for something that is always the same; this wins.
 * To build for another processor than that of the build takes what runs its programs (qemu-user).
 *
 * The list was found by running the tests under `strace -f -c`, and reading what glibc, libuv,
 * libmicrohttpd, gRPC with c-ares, and OpenSSL may call besides. What only takes rights away (capset,
 * landlock_restrict_self, another filter) is in it: the start is not over when it is put on.
 *
 * A rule without arguments costs nothing: the kernel keeps a bitmap of calls that are always allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "io/sandbox_denied.h"
#include "io/sandbox_filter.h"

static const char *const allowed[] = {
    /* memory; mmap and mprotect have rules of their own */
    "brk",
    "madvise",
    "mincore",
    "mlock",
    "mremap",
    "munlock",
    "munmap",
    "membarrier",
    /* files: read and written, and what a spool, a state and a journal take */
    "access",
    "chmod", /* a reload may give the sockets another mode */
    "chown", /* and another group */
    "close",
    "close_range",
    "copy_file_range",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fallocate",
    "fchmodat",
    "fchownat",
    "fcntl",
    "fdatasync",
    "flock",
    "fstat",
    "fstatfs",
    "fsync",
    "ftruncate",
    "getcwd",
    "getdents64",
    "lseek",
    "lstat",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "pread64",
    "preadv",
    "pwrite64",
    "pwritev",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "rename",
    "renameat",
    "renameat2",
    "sendfile",
    "stat",
    "statfs",
    "statx",
    "sync_file_range",
    "umask",
    "unlink",
    "unlinkat",
    "write",
    "writev",
    /* waiting */
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    "pidfd_open",
    "pipe2",
    "poll",
    "ppoll",
    "pselect6",
    "select",
    "signalfd4",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    /* sockets, but not new ones to listen on */
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    /* threads, and the end of the probe's child; clone, kill and prctl have rules of their own */
    "exit",
    "exit_group",
    "futex",
    "get_robust_list",
    "rseq",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "tgkill",
    "wait4",
    "waitid",
    /* signals */
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sigaltstack",
    /* time */
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "gettimeofday",
    "nanosleep",
    "time",
    /* who and where we are */
    "capget",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getgroups",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "gettid",
    "getuid",
    "sysinfo",
    "times",
    "uname",
    /* taking rights and room away from oneself */
    "capset",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "prlimit64",
    "seccomp",
    "setrlimit",
};

/* What no library of ours has a reason to call, and whoever has taken over a thread tries first. */
static const char *const fatal[] = {
    "acct",
    "add_key",
    "bpf",
    "chroot",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "execve",
    "execveat",
    "finit_module",
    "fsmount",
    "fsopen",
    "init_module",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "mount",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "umount2",
    "unshare",
    "userfaultfd",
};

/* What libraries try first and do without: clone3 and openat2 hide their flags in memory, where no filter
 * can look; io_uring does all that is forbidden here behind the filter's back. */
static const char *const absent[] = {
    "clone3", "io_uring_enter", "io_uring_register", "io_uring_setup", "openat2",
};

/* Of the probe's thread, on top. It reads; the one byte for clear_refs goes by write. */
static const char *const not_for_probe[] = {
    "accept",          "accept4",   "bind",     "chmod",     "chown",     "connect",
    "copy_file_range", "fallocate", "fchmodat", "fchownat",  "ftruncate", "lseek",
    "mkdir",           "mkdirat",   "pwrite64", "pwritev",   "recvfrom",  "recvmmsg",
    "recvmsg",         "rename",    "renameat", "renameat2", "sendfile",  "sendmmsg",
    "sendmsg",         "sendto",    "socket",   "unlink",    "unlinkat",
};

#define NAMES(list) (list), sizeof(list) / sizeof(list)[0]

#define CLONE_NEW_ANYTHING                                                                         \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* A call that is allowed when `mask` of its argument is `value`; further rows of it are further cases. */
static const struct rule {
    int number;
    unsigned argument;
    uint64_t mask;
    uint64_t value;
} rules[] = {
    /* Memory is written to or executed, not both. */
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},
    {SCMP_SYS(mmap), 2, PROT_EXEC | PROT_WRITE, PROT_EXEC},
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
/* Threads and a child; no namespaces. s390 has the first two arguments the other way round. */
#if defined __s390__
    {SCMP_SYS(clone), 1, CLONE_NEW_ANYTHING, 0},
#else
    {SCMP_SYS(clone), 0, CLONE_NEW_ANYTHING, 0},
#endif
    {SCMP_SYS(kill), 1, UINT32_MAX, SIGKILL}, /* of the probe's child */
    {SCMP_SYS(socket), 0, UINT32_MAX, AF_UNIX},
    {SCMP_SYS(socket), 0, UINT32_MAX, AF_INET},
    {SCMP_SYS(socket), 0, UINT32_MAX, AF_INET6},
    {SCMP_SYS(socket), 0, UINT32_MAX, AF_NETLINK}, /* of addresses, for resolvers */
    {SCMP_SYS(socketpair), 0, UINT32_MAX, AF_UNIX},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONBIO},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, FIONREAD},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, FIOCLEX},
    {SCMP_SYS(ioctl), 1, UINT32_MAX, TCGETS}, /* isatty */
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_NAME},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_GET_NAME},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_PDEATHSIG},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_NO_NEW_PRIVS},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_GET_NO_NEW_PRIVS},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_GET_DUMPABLE},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_CAPBSET_DROP},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_CAPBSET_READ},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_CAP_AMBIENT},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_SECCOMP},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_GET_SECCOMP},
    {SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_VMA},
};

/* How the probe may not open files: made, cut, or read and written in one. */
static const struct {
    uint64_t mask;
    uint64_t value;
} not_for_probe_to_open[] = {{O_CREAT, O_CREAT}, {O_TRUNC, O_TRUNC}, {O_ACCMODE, O_RDWR}};

/* Of a call that is not in the list. */
static const uint32_t refuse = SANDBOX_DENIED_CAN_ANSWER ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(EPERM);

/* Returns 0 or an errno value. */
static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t count)
{
    int err = 0;
    for (size_t i = 0; i < count && err == 0; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number != __NR_SCMP_ERROR) {
            err = -seccomp_rule_add(filter, action, number, 0);
        }
    }
    return err;
}

static int add_rules(scmp_filter_ctx filter)
{
    int err = 0;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0] && err == 0; i++) {
        const struct rule *rule = &rules[i];
        const struct scmp_arg_cmp compare = {rule->argument, SCMP_CMP_MASKED_EQ, rule->mask,
                                             rule->value};
        err = -seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->number, 1, &compare);
    }
    return err;
}

static int forbid_opening(scmp_filter_ctx filter)
{
    int err = 0;
    for (size_t i = 0; i < sizeof not_for_probe_to_open / sizeof not_for_probe_to_open[0]; i++) {
        struct scmp_arg_cmp compare = {1, SCMP_CMP_MASKED_EQ, not_for_probe_to_open[i].mask,
                                       not_for_probe_to_open[i].value};
        if (err == 0) {
            err = -seccomp_rule_add_array(filter, refuse, SCMP_SYS(open), 1, &compare);
        }
        compare.arg = 2;
        if (err == 0) {
            err = -seccomp_rule_add_array(filter, refuse, SCMP_SYS(openat), 1, &compare);
        }
    }
    return err;
}

/* A tree instead of a list; with an older library it stays a list. */
static void make_tree(scmp_filter_ctx filter)
{
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

static int fill_for_all(scmp_filter_ctx filter)
{
    int err = add_names(filter, SCMP_ACT_ALLOW, NAMES(allowed));
    if (err == 0) {
        err = add_names(filter, SCMP_ACT_KILL_PROCESS, NAMES(fatal));
    }
    if (err == 0) {
        err = add_names(filter, SCMP_ACT_ERRNO(ENOSYS), NAMES(absent));
    }
    return err == 0 ? add_rules(filter) : err;
}

static int fill_for_probe(scmp_filter_ctx filter)
{
    int err = add_names(filter, refuse, NAMES(not_for_probe));
    return err == 0 ? forbid_opening(filter) : err;
}

/* --- as C -------------------------------------------------------------------------------------- */

static int print_program(const char *name, FILE *program)
{
    struct sock_filter step;
    unsigned count = 0;
    rewind(program);
    printf("static const struct sock_filter %s_steps[] = {\n", name);
    while (fread(&step, sizeof step, 1, program) == 1) {
        printf("    {0x%04x, %u, %u, 0x%08x},\n", step.code, step.jt, step.jf, step.k);
        count++;
    }
    printf("};\n\nconst struct sock_fprog %s = {%u, (struct sock_filter *)%s_steps};\n\n", name,
           count, name);
    return ferror(program) != 0 || count == 0 ? EIO : 0;
}

static int print_filter(const char *name, uint32_t otherwise, int (*fill)(scmp_filter_ctx filter))
{
    scmp_filter_ctx filter = seccomp_init(otherwise);
    FILE *program = tmpfile();
    int err = filter == NULL || program == NULL ? ENOMEM : 0;
    if (err == 0) {
        make_tree(filter);
        err = fill(filter);
    }
    if (err == 0) {
        err = -seccomp_export_bpf(filter, fileno(program));
    }
    if (err == 0) {
        err = print_program(name, program);
    }
    if (program != NULL) {
        (void)fclose(program); /* was read to its end */
    }
    seccomp_release(filter);
    return err;
}

static void print_names(void)
{
    printf("const char sandbox_call_names[] =\n");
    for (int number = 0; number <= SANDBOX_NEWEST_CALL; number++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        printf("    \"%s\\0\"\n", name == NULL ? "" : name);
        free(name); /* the library's, of malloc */
    }
    printf("    ;\n");
}

int main(void)
{
    printf("/* Made by daemon/io/seccomp/make_filter.c. */\n#include \"io/sandbox_filter.h\"\n\n");
    printf("#pragma GCC diagnostic ignored \"-Wcast-qual\"\n");
    printf("#pragma GCC diagnostic ignored \"-Woverlength-strings\"\n\n");
    int err = print_filter("sandbox_filter_for_all", refuse, fill_for_all);
    if (err == 0) {
        err = print_filter("sandbox_filter_for_probe", SCMP_ACT_ALLOW, fill_for_probe);
    }
    print_names();
    if (err != 0) {
        (void)fprintf(stderr, "make_filter: error %d\n", err); /* nowhere else to tell it */
    }
    return err == 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
