/*
 * Happy path
 *   1. fork: the child closes what it inherited, takes memory in small pages and fills it
 *   2. it streams through it once for the bandwidth, tells that through a pipe, and goes on streaming
 *   3. probes of its memory until PROBES of them are good; the mean is the reference
 *   4. it is killed and waited for
 *
 * What can fail: no process, too little memory, a machine so busy that the child hardly runs: it is given
 * up after WAIT_MS. The child itself ends with us (PR_SET_PDEATHSIG), or after CPU_SECONDS.
 *
 * Between fork and its end the child calls only what is safe after a fork of a process with threads.
 */
#include "io/probe/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    PROBES = 16,
    ATTEMPTS = 64,
    WAIT_MS = 5000, /* for the memory to be filled: 100 ms on an idle machine */
    WAIT_STEP_MS = 10,
    PAUSE_MS = 10, /* between two probes */
    CPU_SECONDS = 10,
    PIPE_FD = 3,
    DESCRIPTORS_MAX = 65536, /* closed one by one where the kernel cannot close a range */
    LINE_BYTES = 64,
};

/* Three times the cache: with 64, 96, 128 and 256 MB beside a cache of 32 MB the probes read 4.8, 4.9,
 * 5.4 and 6.0 GB/s. Less than the least is touched as a whole before the probe's end. */
#define LEAST_BYTES   (64.0 * 1024 * 1024)
#define MOST_BYTES    (256.0 * 1024 * 1024)
#define UNKNOWN_BYTES (128.0 * 1024 * 1024)

uint64_t reference_bytes(double cache_bytes)
{
    double wanted = cache_bytes > 0 ? 3 * cache_bytes : UNKNOWN_BYTES;
    wanted = wanted < LEAST_BYTES ? LEAST_BYTES : wanted;
    return (uint64_t)(wanted > MOST_BYTES ? MOST_BYTES : wanted);
}

/* --- the child --------------------------------------------------------------------------------- */

static void close_inherited(int keep)
{
    (void)dup2(keep, PIPE_FD); /* or the write fails, and the child is given up */
#ifdef SYS_close_range
    if (syscall(SYS_close_range, PIPE_FD + 1, ~0U, 0) == 0) {
        return;
    }
#endif
    for (int fd = PIPE_FD + 1; fd < DESCRIPTORS_MAX; fd++) {
        (void)close(fd); /* most are none */
    }
}

static double thread_seconds(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* this clock is always there */
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void stream(const volatile uint64_t *words, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes / sizeof *words; i += LINE_BYTES / sizeof *words) {
        (void)words[i]; /* volatile: it is read */
    }
}

_Noreturn static void be_reference(pid_t parent, int pipe_fd, uint64_t bytes)
{
    const struct rlimit cpu = {CPU_SECONDS, CPU_SECONDS};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail for a signal */
    (void)prctl(PR_SET_NAME, "dwelld-memory");
    if (getppid() != parent || setrlimit(RLIMIT_CPU, &cpu) != 0) {
        _exit(1);
    }
    close_inherited(pipe_fd);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        _exit(1);
    }
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE); /* fails where there are none */
    volatile uint64_t *words = memory;
    for (uint64_t i = 0; i < bytes / sizeof *words; i++) {
        words[i] = i;
    }
    double from = thread_seconds();
    stream(words, bytes);
    double seconds = thread_seconds() - from;
    double bandwidth = seconds > 0 ? (double)bytes / seconds : 0;
    if (write(PIPE_FD, &bandwidth, sizeof bandwidth) != (ssize_t)sizeof bandwidth) {
        _exit(1);
    }
    for (;;) {
        stream(words, bytes);
    }
}

/* --- the parent -------------------------------------------------------------------------------- */

/* Waits in steps, so that a stop is heard. */
static int wait_until_filled(int pipe_fd, const struct touch_waiter *waiter, double *ret_bandwidth)
{
    for (unsigned waited = 0; waited < WAIT_MS; waited += WAIT_STEP_MS) {
        struct pollfd ready = {.fd = pipe_fd, .events = POLLIN};
        if (poll(&ready, 1, 0) == 1) {
            ssize_t got = read(pipe_fd, ret_bandwidth, sizeof *ret_bandwidth);
            return got == (ssize_t)sizeof *ret_bandwidth ? 0 : ENOMEM; /* the end: it gave up */
        }
        if (!waiter->wait(waiter->ctx, WAIT_STEP_MS * NS_PER_MS)) {
            return ECANCELED;
        }
    }
    return ETIMEDOUT;
}

static int probe_child(const struct proc_roots *roots, pid_t child,
                       const struct touch_waiter *waiter, uint64_t now_ns, double *ret_rate)
{
    struct process_reader reader;
    double sum = 0;
    unsigned good = 0;
    int reason = process_reader_open(&reader, roots, child, now_ns);
    for (unsigned i = 0; i < ATTEMPTS && good < PROBES && reason == 0; i++) {
        struct touch touch;
        reason = touch_take(&reader, waiter, &touch);
        if (reason == 0 && touch.rate > 0) {
            sum += touch.rate;
            good++;
        }
        if (reason == 0 && !waiter->wait(waiter->ctx, PAUSE_MS * NS_PER_MS)) {
            reason = ECANCELED;
        }
    }
    process_reader_close(&reader);
    if (reason == 0 && good < PROBES) {
        reason = ETIMEDOUT;
    }
    if (reason == 0) {
        *ret_rate = sum / good;
    }
    return reason;
}

static void end_child(pid_t child)
{
    (void)kill(child, SIGKILL); /* it is ours, and not waited for yet */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
}

int reference_measure(const struct proc_roots *roots, double cache_bytes,
                      const struct touch_waiter *waiter, uint64_t now_ns,
                      struct reference *ret_reference)
{
    struct proc_text room;
    int ends[2];
    uint64_t bytes = reference_bytes(cache_bytes);
    if (cgroup_memory_left(roots, &room) / 2 < bytes) {
        return ENOMEM; /* whoever shares the cgroup needs some, too */
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        be_reference(parent, ends[1], bytes);
    }
    int reason = child < 0 ? errno : 0;
    proc_close(ends[1]);
    if (reason == 0) {
        reason = wait_until_filled(ends[0], waiter, &ret_reference->bandwidth_bytes);
    }
    if (reason == 0) {
        reason = probe_child(roots, child, waiter, now_ns, &ret_reference->rate);
    }
    if (child > 0) {
        end_child(child);
    }
    proc_close(ends[0]);
    return reason;
}
