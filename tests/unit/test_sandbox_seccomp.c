/* The filter as calls meet it, each in a child of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "in_child.h"
#include "io/sandbox_denied.h"
#include "io/sandbox_seccomp.h"

enum {
    PAGE = 4096,
    UNKNOWN_CALL = 1000, /* no kernel has so many */
    CANNOT_APPLY = 254,
    NAME_BYTES = 64,
};

/* Pointers to nothing: a call that gets past the filter says EFAULT, and does no harm. */
struct call {
    const char *what;
    long number;
    long arguments[4];
    int answer; /* an errno value; 0: it is done; minus a signal */
};

#define READ_WRITE (PROT_READ | PROT_WRITE)
#define ANONYMOUS  (MAP_PRIVATE | MAP_ANONYMOUS)

static int apply(void)
{
    int reason = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? 0 : errno;
    return reason == 0 ? sandbox_seccomp_apply() : reason;
}

static int call(const struct call *call)
{
    const long *arguments = call->arguments;
    return syscall(call->number, arguments[0], arguments[1], arguments[2], arguments[3], -1L, 0L) <
                   0
               ? errno
               : 0;
}

static int call_filtered(const void *arg)
{
    return apply() == 0 ? call(arg) : CANNOT_APPLY;
}

static int call_narrowed(const void *arg)
{
    return apply() == 0 && sandbox_seccomp_narrow() == 0 ? call(arg) : CANNOT_APPLY;
}

static void must_answer(int (*act)(const void *arg), const struct call *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int answer = in_child(act, &calls[i]);
        if (answer != calls[i].answer) {
            fail_msg("%s: %d, expected %d", calls[i].what, answer, calls[i].answer);
        }
    }
}

#define MUST_ANSWER(act, calls) must_answer(act, calls, sizeof(calls) / sizeof(calls)[0])

static void test_sandbox_seccomp_lets_through_what_the_daemon_does(void **state)
{
    (void)state;
    static const struct call calls[] = {
        {"getpid", SYS_getpid, {0}, 0},
        {"read", SYS_read, {-1}, EBADF},
        {"openat", SYS_openat, {AT_FDCWD, (long)"/proc/self/stat", O_RDONLY}, 0},
        {"mmap", SYS_mmap, {0, PAGE, READ_WRITE, ANONYMOUS}, 0},
        {"mmap of code", SYS_mmap, {0, PAGE, PROT_READ | PROT_EXEC, ANONYMOUS}, 0},
        {"mprotect", SYS_mprotect, {0, 0, READ_WRITE}, 0},
        {"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}, 0},
        {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, 0}, EFAULT},
        {"accept4", SYS_accept4, {-1}, EBADF},
        {"recvmsg", SYS_recvmsg, {-1}, EBADF},
        {"kill", SYS_kill, {1 << 30, SIGKILL}, ESRCH},
        {"prctl", SYS_prctl, {PR_SET_NAME, (long)"name"}, 0},
        {"ioctl", SYS_ioctl, {-1, FIONBIO}, EBADF},
        {"pidfd_open", SYS_pidfd_open, {1 << 30, 0}, ESRCH},
        {"unlinkat", SYS_unlinkat, {-1, (long)"x", 0}, EBADF},
        {"fchmodat", SYS_fchmodat, {-1, (long)"x", 0}, EBADF},
        {"fchownat",
         SYS_fchownat,
         {-1, (long)"x", -1, -1},
         EINVAL}, /* of flags, the last argument */
        {"capset", SYS_capset, {0, 0}, EFAULT},
    };
    MUST_ANSWER(call_filtered, calls);
}

static void test_sandbox_seccomp_refuses_the_rest(void **state)
{
    (void)state;
    static const struct call calls[] = {
        {"listen", SYS_listen, {-1}, EPERM},
        {"linkat", SYS_linkat, {AT_FDCWD, 0, AT_FDCWD, 0}, EPERM},
        {"symlinkat", SYS_symlinkat, {0, AT_FDCWD, 0}, EPERM},
        {"mknodat", SYS_mknodat, {AT_FDCWD, 0, 0}, EPERM},
        {"setuid", SYS_setuid, {0}, EPERM},
        {"chdir", SYS_chdir, {0}, EPERM},
        {"personality", SYS_personality, {0xffffffff}, EPERM},
        {"perf_event_open", SYS_perf_event_open, {0}, EPERM},
        {"mmap of what is written and executed",
         SYS_mmap,
         {0, PAGE, READ_WRITE | PROT_EXEC, ANONYMOUS},
         EPERM},
        {"mprotect to code", SYS_mprotect, {0, 0, PROT_READ | PROT_EXEC}, EPERM},
        {"socket of packets", SYS_socket, {AF_PACKET, SOCK_RAW, 0}, EPERM},
        {"socket of the kernel's cryptography", SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}, EPERM},
        {"socket of virtual machines", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}, EPERM},
        {"socketpair of another kind", SYS_socketpair, {AF_TIPC, SOCK_STREAM, 0, 0}, EPERM},
        {"kill by another signal", SYS_kill, {1 << 30, SIGTERM}, EPERM},
        {"prctl of another kind", SYS_prctl, {PR_SET_DUMPABLE, 1}, EPERM},
        {"ioctl that types", SYS_ioctl, {-1, TIOCSTI}, EPERM},
        {"clone of a namespace", SYS_clone, {CLONE_NEWUSER | SIGCHLD}, EPERM},
        {"a call that is newer than the filter", UNKNOWN_CALL, {0}, ENOSYS},
    };
    MUST_ANSWER(call_filtered, calls);
}

static void test_sandbox_seccomp_has_not_got_what_hides_its_arguments(void **state)
{
    (void)state;
    static const struct call calls[] = {
        {"clone3", SYS_clone3, {0, 0}, ENOSYS},
        {"openat2", SYS_openat2, {AT_FDCWD, 0, 0, 0}, ENOSYS},
        {"io_uring_setup", SYS_io_uring_setup, {1, 0}, ENOSYS},
    };
    MUST_ANSWER(call_filtered, calls);
}

static void test_sandbox_seccomp_kills_intruders(void **state)
{
    (void)state;
    static const struct call calls[] = {
        {"execve", SYS_execve, {0, 0, 0}, -SIGSYS},
        {"execveat", SYS_execveat, {-1, 0, 0, 0}, -SIGSYS},
        {"ptrace", SYS_ptrace, {PTRACE_TRACEME, 0, 0, 0}, -SIGSYS},
        {"process_vm_writev", SYS_process_vm_writev, {1, 0, 0, 0}, -SIGSYS},
        {"mount", SYS_mount, {0, 0, 0, 0}, -SIGSYS},
        {"unshare", SYS_unshare, {0}, -SIGSYS},
        {"bpf", SYS_bpf, {0, 0, 0}, -SIGSYS},
        {"init_module", SYS_init_module, {0, 0, 0}, -SIGSYS},
    };
    MUST_ANSWER(call_filtered, calls);
}

static void test_sandbox_seccomp_narrowed_reads_only(void **state)
{
    (void)state;
    static const struct call calls[] = {
        {"openat", SYS_openat, {AT_FDCWD, (long)"/proc/self/stat", O_RDONLY | O_CLOEXEC}, 0},
        {"openat to write",
         SYS_openat,
         {AT_FDCWD, (long)"/proc/self/clear_refs", O_WRONLY | O_CLOEXEC},
         0},
        {"openat to make",
         SYS_openat,
         {AT_FDCWD, (long)"/dev/null", O_WRONLY | O_CREAT, 0600},
         EPERM},
        {"openat to cut", SYS_openat, {AT_FDCWD, (long)"/dev/null", O_WRONLY | O_TRUNC}, EPERM},
        {"openat to read and write", SYS_openat, {AT_FDCWD, (long)"/dev/null", O_RDWR}, EPERM},
        {"pread64", SYS_pread64, {-1, 0, 0, 0}, EBADF},
        {"write", SYS_write, {-1, 0, 0}, EBADF},
        {"pwrite64", SYS_pwrite64, {-1, 0, 0, 0}, EPERM},
        {"lseek", SYS_lseek, {-1, 0, 0}, EPERM},
        {"unlinkat", SYS_unlinkat, {-1, 0, 0}, EPERM},
        {"renameat2", SYS_renameat2, {-1, 0, -1, 0}, EPERM},
        {"socket", SYS_socket, {AF_UNIX, SOCK_STREAM, 0}, EPERM},
        {"sendto", SYS_sendto, {-1, 0, 0, 0}, EPERM},
        {"execve", SYS_execve, {0, 0, 0}, -SIGSYS},
        {"kill", SYS_kill, {1 << 30, SIGKILL}, ESRCH},
    };
    MUST_ANSWER(call_narrowed, calls);
}

/* As the probe's reference does. */
static int have_child(const void *arg)
{
    (void)arg;
    int status = 0;
    CHILD_EXPECTS(apply() == 0 && sandbox_seccomp_narrow() == 0);
    pid_t child = fork();
    while (child == 0) {
        (void)pause(); /* refused on some processors, which is as good */
    }
    CHILD_EXPECTS(child > 0);
    CHILD_EXPECTS(kill(child, SIGKILL) == 0);
    CHILD_EXPECTS(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    return 0;
}

static void test_sandbox_seccomp_narrowed_may_have_a_child(void **state)
{
    (void)state;
    assert_int_equal(in_child(have_child, NULL), 0);
}

/* --- threads ----------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;

static void *wait_and_listen(void *answer)
{
    (void)pthread_barrier_wait(&barrier); /* the last of them is told apart, which says nothing */
    *(int *)answer = listen(-1, 1) < 0 ? errno : 0;
    return NULL;
}

static int have_threads(const void *arg)
{
    (void)arg;
    pthread_t before;
    pthread_t after;
    int answers[2] = {0, 0};
    CHILD_EXPECTS(pthread_barrier_init(&barrier, NULL, 3) == 0);
    CHILD_EXPECTS(pthread_create(&before, NULL, wait_and_listen, &answers[0]) == 0);
    CHILD_EXPECTS(apply() == 0);
    CHILD_EXPECTS(pthread_create(&after, NULL, wait_and_listen, &answers[1]) == 0);
    (void)pthread_barrier_wait(&barrier);
    CHILD_EXPECTS(pthread_join(before, NULL) == 0 && pthread_join(after, NULL) == 0);
    CHILD_EXPECTS(answers[0] == EPERM);
    CHILD_EXPECTS(answers[1] == EPERM);
    return 0;
}

static void test_sandbox_seccomp_holds_for_every_thread(void **state)
{
    (void)state;
    assert_int_equal(in_child(have_threads, NULL), 0);
}

/* --- what was refused -------------------------------------------------------------------------- */

static bool must_be_named(int number, const char *wanted)
{
    struct buf name;
    buf_init(&name, NAME_BYTES);
    sandbox_seccomp_name(&name, number);
    bool is_named = name.len == strlen(wanted) && memcmp(name.data, wanted, name.len) == 0;
    buf_fini(&name);
    return is_named;
}

static int be_refused(const void *arg)
{
    (void)arg;
    CHILD_EXPECTS(apply() == 0);
    CHILD_EXPECTS(sandbox_denied_count() == 0 && sandbox_denied_next() < 0);
    CHILD_EXPECTS(chdir("/") < 0 && errno == EPERM);
    CHILD_EXPECTS(listen(-1, 1) < 0 && errno == EPERM);
    CHILD_EXPECTS(chdir("/") < 0 && errno == EPERM);
    CHILD_EXPECTS(syscall(UNKNOWN_CALL + 100) < 0 && errno == ENOSYS);
    CHILD_EXPECTS(sandbox_denied_count() == 4);
    int first = sandbox_denied_next();
    int second = sandbox_denied_next();
    CHILD_EXPECTS((first == SYS_chdir && second == SYS_listen) ||
                  (first == SYS_listen && second == SYS_chdir));
    CHILD_EXPECTS(must_be_named(SYS_chdir, "chdir") && must_be_named(SYS_listen, "listen"));
    CHILD_EXPECTS(sandbox_denied_next() == 1023); /* stands for all that are higher */
    CHILD_EXPECTS(must_be_named(1023, "number 1023"));
    CHILD_EXPECTS(sandbox_denied_next() < 0);
    CHILD_EXPECTS(chdir("/") < 0 && sandbox_denied_count() == 5 && sandbox_denied_next() < 0);
    return 0;
}

static void test_sandbox_denied_calls_are_counted_and_named_once(void **state)
{
    (void)state;
    if (!SANDBOX_DENIED_CAN_ANSWER) {
        print_message("skipped: on this processor the kernel refuses by itself\n");
        skip();
    }
    assert_int_equal(in_child(be_refused, NULL), 0);
}

static int block_all_but_that(const void *arg)
{
    sigset_t signals;
    (void)arg;
    sandbox_denied_fill(&signals);
    CHILD_EXPECTS(sigismember(&signals, SIGTERM) == 1 && sigismember(&signals, SIGSYS) == 0);
    CHILD_EXPECTS(pthread_sigmask(SIG_SETMASK, &signals, NULL) == 0);
    CHILD_EXPECTS(apply() == 0);
    CHILD_EXPECTS(listen(-1, 1) < 0 && errno == EPERM);
    return 0;
}

static int block_that_too(const void *arg)
{
    sigset_t signals;
    (void)arg;
    (void)sigfillset(&signals);
    CHILD_EXPECTS(pthread_sigmask(SIG_SETMASK, &signals, NULL) == 0);
    CHILD_EXPECTS(apply() == 0);
    return listen(-1, 1);
}

static void test_sandbox_denied_signal_must_not_be_blocked(void **state)
{
    (void)state;
    assert_int_equal(in_child(block_all_but_that, NULL), 0);
    assert_int_equal(in_child(block_that_too, NULL), -SIGSYS);
}

static int be_sent_one(const void *arg)
{
    (void)arg;
    CHILD_EXPECTS(sandbox_denied_catch() == 0);
    CHILD_EXPECTS(raise(SIGSYS) == 0);
    CHILD_EXPECTS(sandbox_denied_count() == 0);
    return 0;
}

static void test_sandbox_denied_ignores_a_signal_that_was_sent(void **state)
{
    (void)state;
    assert_int_equal(in_child(be_sent_one, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox_seccomp_lets_through_what_the_daemon_does),
        cmocka_unit_test(test_sandbox_seccomp_refuses_the_rest),
        cmocka_unit_test(test_sandbox_seccomp_has_not_got_what_hides_its_arguments),
        cmocka_unit_test(test_sandbox_seccomp_kills_intruders),
        cmocka_unit_test(test_sandbox_seccomp_narrowed_reads_only),
        cmocka_unit_test(test_sandbox_seccomp_narrowed_may_have_a_child),
        cmocka_unit_test(test_sandbox_seccomp_holds_for_every_thread),
        cmocka_unit_test(test_sandbox_denied_calls_are_counted_and_named_once),
        cmocka_unit_test(test_sandbox_denied_signal_must_not_be_blocked),
        cmocka_unit_test(test_sandbox_denied_ignores_a_signal_that_was_sent),
    };
    return cmocka_run_group_tests_name("sandbox_seccomp", tests, NULL, NULL);
}
