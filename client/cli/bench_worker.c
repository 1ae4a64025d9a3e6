/*
 * Happy path
 *  1. worker_start forks. The child becomes a process group of its own, connects to the daemon, and
 *     becomes the command; that the close-on-exec pipe ends without a word says that it did.
 *  2. worker_ask writes the line and waits for input until there is a newline.
 *  3. workers_stop closes their input; they end by themselves.
 *
 * What can fail
 *  - The command cannot be run: its errno comes through the pipe.
 *  - It ends, hangs, answers without end or with several lines: ASK_FAILED, with a sentence.
 *  - It does not end, or its children do not: the process group is killed; what has left the group comes
 *    to us as its subreaper, and is killed as our child.
 *  - The tool itself is killed: the kernel kills the workers (PR_SET_PDEATHSIG), and their children meet
 *    the end of their input.
 */
#include "cli/bench_worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "cli/text.h"

#define NS_PER_SECOND UINT64_C(1000000000)

enum {
    PIECE_BYTES = 64 << 10, /* as much as a pipe holds */
    DEATH_MS = 200,         /* between the end of a worker's output and its own */
    SWEEPS_MAX = 100,       /* generations of processes, each of which ends with its parent */
    CONNECT_S = 2,
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there is such a clock */
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* a pipe or a socket: nothing is held back */
        *fd = -1;
    }
}

void worker_init(struct worker *worker, uint32_t number, int stop_fd)
{
    *worker =
        (struct worker){.number = number, .to = -1, .from = -1, .stop_fd = stop_fd, .samples = -1};
    buf_init(&worker->problem, WORKER_PROBLEM_MAX);
}

/* --- starting ---------------------------------------------------------------------------------- */

/* Descriptors of a start, each -1 or open. */
struct plumbing {
    int input[2], output[2], word[2];
};

static int plumbing_open(struct plumbing *plumbing)
{
    *plumbing = (struct plumbing){{-1, -1}, {-1, -1}, {-1, -1}};
    return pipe2(plumbing->input, O_CLOEXEC) == 0 && pipe2(plumbing->output, O_CLOEXEC) == 0 &&
                   pipe2(plumbing->word, O_CLOEXEC) == 0
               ? 0
               : -1;
}

static void plumbing_close(struct plumbing *plumbing)
{
    int *const all[] = {&plumbing->input[0],  &plumbing->input[1], &plumbing->output[0],
                        &plumbing->output[1], &plumbing->word[0],  &plumbing->word[1]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        close_fd(all[i]);
    }
}

/* A socket on which the child can connect; -1: then there are no samples. */
static int socket_open(void)
{
    struct timeval wait = {.tv_sec = CONNECT_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait,
                         sizeof wait); /* else it waits longer */
    }
    return fd;
}

/* The child's part; it does not return. Only what a child of fork may do is done. */
static void become(const struct plumbing *plumbing, char *const *argv, pid_t parent, int samples,
                   const struct sockaddr_un *daemon)
{
    sigset_t none;
    int reason = 0;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none,
                      NULL); /* none of these five can fail with what they get */
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EX_OSERR); /* it died before it could be told */
    }
    if (samples >= 0 && daemon != NULL) {
        (void)connect(samples, (const struct sockaddr *)daemon,
                      sizeof *daemon); /* the parent sees */
    }
    if (dup2(plumbing->input[0], STDIN_FILENO) >= 0 &&
        dup2(plumbing->output[1], STDOUT_FILENO) >= 0) {
        (void)execvp(argv[0], argv); /* comes back only when it fails */
    }
    reason = errno;
    if (write(plumbing->word[1], &reason, sizeof reason) < 0) {
        _exit(EX_OSERR); /* the parent sees that it ended */
    }
    _exit(EX_UNAVAILABLE);
}

static int refuse(struct worker *worker, const char *what, int reason, int status)
{
    buf_puts(&worker->problem, "cannot run ");
    text_safe(&worker->problem, str_of(what), true);
    buf_printf(&worker->problem, ": %s", strerror(reason));
    worker->status = status;
    return status;
}

/* Whether a peer is at the other end. */
static bool is_connected(int fd)
{
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    return fd >= 0 && getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

int worker_start(struct worker *worker, char *const *argv, const struct sockaddr_un *daemon)
{
    struct plumbing plumbing;
    pid_t parent = getpid();
    int reason = 0;
    if (plumbing_open(&plumbing) != 0) {
        reason = errno;
        plumbing_close(&plumbing);
        return refuse(worker, argv[0], reason, EX_OSERR);
    }
    worker->samples = daemon != NULL ? socket_open() : -1;
    worker->pid = fork();
    if (worker->pid == 0) {
        become(&plumbing, argv, parent, worker->samples, daemon);
    }
    reason = worker->pid < 0 ? errno : 0;
    close_fd(&plumbing.input[0]);
    close_fd(&plumbing.output[1]);
    close_fd(&plumbing.word[1]);
    if (worker->pid < 0) {
        worker->pid = 0;
        plumbing_close(&plumbing);
        return refuse(worker, argv[0], reason, EX_OSERR);
    }
    (void)setpgid(worker->pid, worker->pid); /* whoever is first; later it is refused */
    ssize_t len = read(plumbing.word[0], &reason, sizeof reason);
    worker->to = plumbing.input[1];
    worker->from = plumbing.output[0];
    plumbing.input[1] = plumbing.output[0] = -1;
    plumbing_close(&plumbing);
    if (len == (ssize_t)sizeof reason) {
        return refuse(worker, argv[0], reason, EX_UNAVAILABLE);
    }
    if (fcntl(worker->to, F_SETFL, O_NONBLOCK) != 0 ||
        fcntl(worker->from, F_SETFL, O_NONBLOCK) != 0) {
        return refuse(worker, argv[0], errno, EX_OSERR);
    }
    if (!is_connected(worker->samples)) {
        close_fd(&worker->samples);
    }
    return 0;
}

/* --- asking ------------------------------------------------------------------------------------ */

static void put_worker(struct worker *worker)
{
    buf_printf(&worker->problem, "worker %u ", (unsigned)worker->number);
}

static enum ask fail(struct worker *worker, int status)
{
    worker->status = status;
    return ASK_FAILED;
}

/* Takes the exit status of a worker that has ended, after having killed what is left of its group: as
 * long as it is not taken, the group's number is nobody else's. False: it goes on. */
static bool reap(struct worker *worker, int *ret_status)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)worker->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0) {
        return false;
    }
    (void)kill(-worker->pid, SIGKILL); /* its zombie at least is there */
    (void)waitpid(worker->pid, ret_status, 0);
    worker->pid = 0;
    return true;
}

/* The same of one that is about to end, or has. */
static bool reap_soon(struct worker *worker, int *ret_status)
{
    uint64_t end_ns = now_ns() + DEATH_MS * UINT64_C(1000000);
    struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        if (reap(worker, ret_status)) {
            return true;
        }
        if (now_ns() >= end_ns) {
            return false;
        }
        (void)nanosleep(&pause, NULL); /* shorter is fine */
    }
}

static enum ask fail_ended(struct worker *worker)
{
    int how;
    put_worker(worker);
    if (!reap_soon(worker, &how)) {
        buf_puts(&worker->problem, "has closed its standard input or output");
    } else if (WIFSIGNALED(how)) {
        buf_printf(&worker->problem, "was killed by signal %d (%s)", WTERMSIG(how),
                   strsignal(WTERMSIG(how)));
    } else {
        buf_printf(&worker->problem, "ended with status %d", WEXITSTATUS(how));
    }
    if (worker->asked <= 1) {
        buf_puts(&worker->problem, " before it had answered anything");
    } else {
        buf_printf(&worker->problem, " in request %llu", (unsigned long long)worker->asked);
    }
    return fail(worker, EX_UNAVAILABLE);
}

static enum ask fail_several(struct worker *worker)
{
    put_worker(worker);
    if (worker->asked == 0) {
        buf_puts(&worker->problem, "wrote to its standard output before it was asked");
    } else {
        buf_printf(&worker->problem, "answered request %llu with more than one line",
                   (unsigned long long)worker->asked);
    }
    buf_puts(&worker->problem, ". One line answers one line; all else belongs on standard error");
    return fail(worker, EX_PROTOCOL);
}

static enum ask fail_late(struct worker *worker, uint64_t timeout_ns, size_t had)
{
    put_worker(worker);
    buf_printf(&worker->problem, "did not answer request %llu in %g s",
               (unsigned long long)worker->asked, (double)timeout_ns / 1e9);
    if (had > 0) {
        buf_printf(&worker->problem, ": %zu bytes came, but no newline", had);
    } else if (worker->asked <= 1) {
        buf_puts(&worker->problem,
                 ". Does it write its answers out at once (flush)? --start-timeout "
                 "waits longer");
    }
    return fail(worker, EX_UNAVAILABLE);
}

/* What has come so far of an answer. */
struct answer {
    size_t bytes;
    bool done;
};

/* Reads what there is. ASK_ANSWERED also when the answer is not complete. */
static enum ask take_some(struct worker *worker, struct answer *answer)
{
    char piece[PIECE_BYTES];
    ssize_t len = read(worker->from, piece, sizeof piece);
    if (len < 0) {
        return errno == EAGAIN || errno == EINTR ? ASK_ANSWERED : fail_ended(worker);
    }
    if (len == 0) {
        return fail_ended(worker);
    }
    const char *newline = memchr(piece, '\n', (size_t)len);
    size_t taken = newline != NULL ? (size_t)(newline - piece) : (size_t)len;
    answer->bytes += taken;
    answer->done = newline != NULL;
    if (answer->bytes > ANSWER_BYTES_MAX) {
        put_worker(worker);
        buf_printf(&worker->problem, "answered request %llu with a line of more than %d bytes",
                   (unsigned long long)worker->asked, ANSWER_BYTES_MAX);
        return fail(worker, EX_PROTOCOL);
    }
    return answer->done && taken + 1 < (size_t)len ? fail_several(worker) : ASK_ANSWERED;
}

/* Writes what it takes. */
static enum ask give_some(struct worker *worker, struct str *line)
{
    ssize_t len = write(worker->to, line->ptr, line->len);
    if (len < 0) {
        return errno == EAGAIN || errno == EINTR ? ASK_ANSWERED : fail_ended(worker);
    }
    line->ptr += len;
    line->len -= (size_t)len;
    return ASK_ANSWERED;
}

enum ask worker_ask(struct worker *worker, struct str line, uint64_t timeout_ns)
{
    struct answer answer = {0};
    uint64_t end_ns = now_ns() + timeout_ns;
    worker->asked++;
    enum ask ask = give_some(worker, &line);
    while (ask == ASK_ANSWERED && !answer.done) {
        uint64_t now = now_ns();
        if (now >= end_ns) {
            return fail_late(worker, timeout_ns, answer.bytes);
        }
        struct timespec wait = {.tv_sec = (time_t)((end_ns - now) / NS_PER_SECOND),
                                .tv_nsec = (long)((end_ns - now) % NS_PER_SECOND)};
        struct pollfd fds[] = {{.fd = worker->from, .events = POLLIN},
                               {.fd = worker->stop_fd, .events = POLLIN},
                               {.fd = line.len > 0 ? worker->to : -1, .events = POLLOUT}};
        if (ppoll(fds, sizeof fds / sizeof fds[0], &wait, NULL) < 0) {
            continue; /* EINTR; there is a limit to it */
        }
        if (fds[1].revents != 0) {
            return ASK_STOPPED;
        }
        if (fds[2].revents != 0) {
            ask = give_some(worker, &line);
        }
        if (ask == ASK_ANSWERED && fds[0].revents != 0) {
            ask = take_some(worker, &answer);
        }
    }
    if (ask == ASK_ANSWERED && line.len > 0) {
        put_worker(worker);
        buf_printf(&worker->problem, "answered request %llu before it had read it",
                   (unsigned long long)worker->asked);
        return fail(worker, EX_PROTOCOL);
    }
    return ask;
}

bool worker_is_silent(struct worker *worker)
{
    struct pollfd fd = {.fd = worker->from, .events = POLLIN};
    if (poll(&fd, 1, 0) <= 0 || (fd.revents & POLLIN) == 0) {
        return true; /* an end of its output is told at the next request */
    }
    (void)fail_several(worker);
    return false;
}

/* --- stopping ---------------------------------------------------------------------------------- */

/* Waits until none of them is left, or the time is over. */
static void reap_until(struct worker *workers, uint32_t count, uint64_t end_ns)
{
    struct timespec pause = {.tv_nsec = 1000000};
    for (;;) {
        uint32_t left = 0;
        for (uint32_t i = 0; i < count; i++) {
            int how;
            left += workers[i].pid > 0 && !reap(&workers[i], &how);
        }
        if (left == 0 || now_ns() >= end_ns) {
            return;
        }
        (void)nanosleep(&pause, NULL); /* shorter is fine */
    }
}

void workers_stop(struct worker *workers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        close_fd(&workers[i].to);
        close_fd(&workers[i].from);
        close_fd(&workers[i].samples);
    }
    reap_until(workers, count, now_ns() + WORKER_GRACE_MS * UINT64_C(1000000));
    for (uint32_t i = 0; i < count; i++) {
        if (workers[i].pid > 0) {
            (void)kill(-workers[i].pid, SIGKILL); /* it is there: not reaped */
            (void)waitpid(workers[i].pid, NULL, 0);
            workers[i].pid = 0;
        }
        buf_fini(&workers[i].problem);
    }
}

/* --- what workers have started, and what has left their groups ---------------------------------- */

void workers_adopt(void)
{
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1); /* since Linux 3.4 */
}

/* The parent of a process, 0: it is gone. */
static pid_t parent_of(const char *pid)
{
    char path[64];
    char text[512]; /* up to field 4: a name has 16 bytes */
    (void)snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t len = read(fd, text, sizeof text - 1);
    (void)close(fd); /* it was only read */
    text[len > 0 ? len : 0] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0;
}

/* Kills every child of ours but one. Returns how many there were. */
static unsigned kill_children(pid_t spared)
{
    unsigned killed = 0;
    DIR *processes = opendir("/proc");
    if (processes == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(processes); entry != NULL;
         entry = readdir(processes)) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && pid != spared && parent_of(entry->d_name) == getpid()) {
            (void)kill(pid, SIGKILL); /* it is ours, so it is there until we take its status */
            (void)waitpid(pid, NULL, 0);
            killed++;
        }
    }
    (void)closedir(processes); /* it was only read */
    return killed;
}

void workers_sweep(pid_t spared)
{
    for (unsigned round = 0; round < SWEEPS_MAX && kill_children(spared) > 0; round++) {
    }
}
