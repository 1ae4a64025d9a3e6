/*
 * Happy path
 *   1. a hello brings a pid: pidfd_open on the process that the kernel saw at the other end
 *   2. the descriptor becomes readable when the process is gone; what it sent before is still in its
 *      connections, so it ends when those are read (core/process)
 *   3. its parts of gauges end (core/metrics), and the spans that it left open (core/spans)
 *
 * What can fail: no pidfd_open (before Linux 5.3, or forbidden), no descriptor left, a process that the
 * daemon cannot see (another PID namespace) or that is gone already. The process is then not watched,
 * and ends with its last connection.
 *
 * Why not look into /proc for the pid now and then: numbers are used again, and a gauge would be wrong
 * for the time between two looks. Why not the connection's end alone: a client may close one and open
 * another, or send datagrams, and is still there.
 */
#include "io/watcher.h"

#include <malloc.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/snapshot.h"

enum {
    TICK_MS = 250, /* 0.02 % of a CPU; a tick gives back METRICS_TICK_ENDS series at most */
    TRIM_SERIES = 1000,
    TRIM_VALUES = 100000, /* of sets: some 2 MB */
};

struct watch {
    uv_poll_t poll;
    struct watcher *watcher;
    struct process *process;
    int fd;
};

static void on_closed(uv_handle_t *handle)
{
    struct watch *watch = handle->data;
    (void)close(watch->fd);
    mem_free(watch);
}

static void stop_watching(struct process *process)
{
    struct watch *watch = process->watch;
    if (watch != NULL) {
        process->watch = NULL;
        watch->watcher->watched--;
        uv_close((uv_handle_t *)&watch->poll, on_closed);
    }
}

static void on_exit_of(uv_poll_t *poll, int status, int events)
{
    const struct watch *watch = poll->data;
    struct process *process = watch->process;
    (void)status; /* an error on a pidfd: nothing more will be told, so it is over too */
    (void)events;
    stop_watching(process);
    process_exit(watch->watcher->intake->processes, process);
}

static int open_pidfd(int64_t pid)
{
#ifdef SYS_pidfd_open
    return pid <= 0 ? -1
                    : (int)syscall(SYS_pidfd_open, (pid_t)pid, 0U); /* close-on-exec by itself */
#else
    (void)pid;
    return -1;
#endif
}

static bool watch_process(void *ctx, struct process *process)
{
    struct watcher *watcher = ctx;
    int fd = watcher->watched < watcher->max_watched ? open_pidfd(process->kernel_pid) : -1;
    struct watch *watch = fd < 0 ? NULL : mem_zalloc(1, sizeof *watch);
    if (watch == NULL || uv_poll_init(watcher->loop, &watch->poll, fd) != 0) {
        mem_free(watch);
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    *watch = (struct watch){.poll = watch->poll, .watcher = watcher, .process = process, .fd = fd};
    watch->poll.data = watch;
    process->watch = watch;
    watcher->watched++;
    (void)uv_poll_start(&watch->poll, UV_READABLE,
                        on_exit_of); /* a descriptor that can be polled */
    return true;
}

/* The loop may not have come to the descriptor yet. */
static bool is_gone(void *ctx, struct process *process)
{
    const struct watch *watch = process->watch;
    (void)ctx;
    if (watch == NULL) {
        return false;
    }
    struct pollfd look = {.fd = watch->fd, .events = POLLIN};
    return poll(&look, 1, 0) == 1;
}

static void set_time(const struct watcher *watcher)
{
    uint64_t mono_ns = watcher->clock.mono_ns(watcher->clock.ctx);
    uint64_t wall_ns = watcher->clock.wall_ns(watcher->clock.ctx);
    metrics_set_time(watcher->intake->metrics, mono_ns, wall_ns);
    spans_set_time(watcher->intake->spans, mono_ns, wall_ns);
}

/* Nothing need have been read for a while: the spans end now, not at the last tick. */
static void on_ended(void *ctx, struct process *process)
{
    const struct watcher *watcher = ctx;
    stop_watching(process);
    set_time(watcher);
    spans_end_owner(watcher->intake->spans, &process->spans);
    metrics_end_process(watcher->intake->metrics, process);
}

/* Whether many values of sets have gone, and most of them, since memory was last given back. */
static bool values_have_gone(struct watcher *watcher)
{
    uint64_t kept = watcher->intake->metrics->members.pool.kept;
    watcher->most_values = kept > watcher->most_values ? kept : watcher->most_values;
    bool gone = watcher->most_values - kept >= TRIM_VALUES && kept < watcher->most_values / 2;
    watcher->most_values = gone ? kept : watcher->most_values;
    return gone;
}

/* Gives memory back to the system when a wave of series has gone and no more are about to go. Done by
 * itself the allocator would keep it: see TRIM_BYTES in main.c. */
static void trim(struct watcher *watcher)
{
    const struct metrics *metrics = watcher->intake->metrics;
    bool quiet = metrics->idle.first == NULL && metrics->orphaned.first == NULL;
    bool series_have_gone = metrics->given_back - watcher->given_back >= TRIM_SERIES;
    if (values_have_gone(watcher) || (quiet && series_have_gone)) {
        watcher->given_back = metrics->given_back;
        (void)malloc_trim(0); /* says whether it found any */
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct watcher *watcher = tick->data;
    set_time(watcher);
    metrics_tick(watcher->intake->metrics);
    if (watcher->intake->judge != NULL) {
        judge_tick(watcher->intake->judge, watcher->clock.mono_ns(watcher->clock.ctx));
    }
    snapshot_look(watcher->intake, watcher->clock.mono_ns(watcher->clock.ctx));
    trim(watcher);
}

/* Those of an earlier life of the daemon. One that cannot be watched has no connection that could tell its
 * end, and ends now. */
static void adopt(struct processes *processes)
{
    struct process *next;
    for (struct process *process = processes->first; process != NULL; process = next) {
        next = process->next;
        process->watched = watch_process(processes->ctx, process);
        if (!process->watched) {
            process_exit(processes, process);
        }
    }
}

void watcher_start(struct watcher *watcher, uv_loop_t *loop, struct intake *intake,
                   unsigned max_watched, const struct clock *clock)
{
    *watcher = (struct watcher){
        .loop = loop, .intake = intake, .clock = *clock, .max_watched = max_watched};
    struct processes *processes = intake->processes;
    processes->ctx = watcher;
    processes->watch = watch_process;
    processes->is_gone = is_gone;
    processes->ended = on_ended;
    adopt(processes);
    (void)uv_timer_init(loop, &watcher->tick); /* cannot fail */
    watcher->tick.data = watcher;
    (void)uv_timer_start(&watcher->tick, on_tick, TICK_MS, TICK_MS); /* a callback is given */
}

void watcher_close(struct watcher *watcher)
{
    for (struct process *process = watcher->intake->processes->first; process != NULL;
         process = process->next) {
        stop_watching(process);
    }
    uv_close((uv_handle_t *)&watcher->tick, NULL);
}
