/*
 * Happy path
 *   1. /proc/PID is opened: all that is read later is of this very process
 *   2. once a second: stat (or the number is another's), the CPU clock, io, statm, cgroup, pressure;
 *      and where that is asked for, schedstat of each thread
 *   3. differences; the exact CPU time is shared between user and system as the ticks have it
 *
 * What can fail: stat, which means that the process is gone. Anything else (another user's process, a
 * kernel without it, a cgroup that cannot be seen) only leaves its source out.
 */
#include "io/probe/process_reader.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/clock.h"

bool process_reader_cpu_ms(const struct process_reader *reader, double *ret_ms)
{
    struct timespec time;
    if (!reader->has_clock || clock_gettime(reader->clock, &time) != 0) {
        return false;
    }
    *ret_ms = (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
    return true;
}

static double tick_ms(void)
{
    return 1000.0 / (double)sysconf(_SC_CLK_TCK); /* 10 on Linux, whatever its own ticks are */
}

static void read_io(const struct process_reader *reader, struct process_state *state,
                    struct proc_text *room)
{
    struct str text;
    uint64_t calls_read;
    uint64_t calls_written;
    uint64_t disk_read;
    uint64_t disk_written;
    if (proc_read_file(reader->directory, "io", room, &text) == 0 &&
        proc_text_number(text, "rchar:", &calls_read) &&
        proc_text_number(text, "wchar:", &calls_written) &&
        proc_text_number(text, "read_bytes:", &disk_read) &&
        proc_text_number(text, "write_bytes:", &disk_written)) {
        state->sources |= 1U << SEEN_IO;
        state->io_bytes = (double)calls_read + (double)calls_written;
        state->disk_bytes = (double)disk_read + (double)disk_written;
    }
}

static void read_memory(struct process_reader *reader, struct process_state *state,
                        struct proc_text *room)
{
    enum { RESIDENT = 1, WANTED };
    struct str text;
    uint64_t pages[WANTED];
    if (proc_read_file(reader->directory, "statm", room, &text) == 0 &&
        proc_text_fields(text, pages, WANTED) == WANTED) {
        state->sources |= 1U << SEEN_MEMORY;
        reader->resident_bytes = (double)pages[RESIDENT] * (double)sysconf(_SC_PAGESIZE);
    }
    state->sources |= reader->knows_huge ? 1U << SEEN_HUGE : 0;
}

/* All figures of this moment. Returns 0 or an errno value. */
static int read_state(struct process_reader *reader, const struct proc_roots *roots,
                      uint64_t now_ns, struct process_state *ret_state)
{
    struct proc_text room;
    struct str text;
    *ret_state = (struct process_state){.at_ns = now_ns, .sources = 1U << SEEN_CPU};
    int reason = proc_read_file(reader->directory, "stat", &room, &text);
    if (reason != 0) {
        return reason;
    }
    if (!proc_text_stat(text, &ret_state->stat)) {
        return EINVAL;
    }
    if (!process_reader_cpu_ms(reader, &ret_state->cpu_ms)) {
        ret_state->cpu_ms = -1;
    }
    read_io(reader, ret_state, &room);
    read_memory(reader, ret_state, &room);
    if (cgroup_throttled(&reader->cgroup, &room, &ret_state->throttled_ms)) {
        ret_state->sources |= 1U << SEEN_THROTTLE;
    }
    if (cgroup_memory_stall(&reader->cgroup, roots, &room, &ret_state->memory_stall_ms)) {
        ret_state->sources |= 1U << SEEN_PRESSURE;
    }
    return 0;
}

int process_reader_open(struct process_reader *reader, const struct proc_roots *roots, int64_t pid,
                        uint64_t now_ns)
{
    struct proc_text room;
    struct str text;
    *reader = (struct process_reader){.directory = proc_open_directory(roots, pid, 0)};
    if (reader->directory < 0) {
        int reason = -reader->directory;
        reader->directory = -1;
        return reason;
    }
    reader->has_clock = roots->is_real && clock_getcpuclockid((pid_t)pid, &reader->clock) == 0;
    if (proc_read_file(reader->directory, "cgroup", &room, &text) == 0) {
        cgroup_find(&reader->cgroup, roots, text);
    }
    int reason = read_state(reader, roots, now_ns, &reader->last);
    reader->start_ticks = reader->last.stat.start_ticks;
    double none;
    (void)thread_waits_take(&reader->waits, reader->directory, &room, &none); /* the first */
    if (reason != 0) {
        process_reader_close(reader);
    }
    return reason;
}

void process_reader_close(struct process_reader *reader)
{
    proc_close(reader->directory);
    reader->directory = -1;
}

/* Of a counter; one that went backwards has been something else in between. */
static double since(double now, double before)
{
    return now > before ? now - before : 0;
}

static double ticks_since(uint64_t now, uint64_t before)
{
    return now > before ? (double)(now - before) : 0;
}

/* The share of system time: of what ticked just now, or else of all so far. */
static double system_share(const struct proc_stat *now, const struct proc_stat *before)
{
    double user = ticks_since(now->user_ticks, before->user_ticks);
    double system = ticks_since(now->system_ticks, before->system_ticks);
    if (user + system <= 0) {
        user = (double)now->user_ticks;
        system = (double)now->system_ticks;
    }
    return user + system <= 0 ? 0 : system / (user + system);
}

static void subtract(const struct process_reader *reader, const struct process_state *now,
                     struct process_figures *ret_figures)
{
    const struct process_state *before = &reader->last;
    double ticks = ticks_since(now->stat.user_ticks, before->stat.user_ticks) +
                   ticks_since(now->stat.system_ticks, before->stat.system_ticks);
    bool is_exact = now->cpu_ms >= 0 && before->cpu_ms >= 0;
    double cpu_ms = is_exact ? since(now->cpu_ms, before->cpu_ms) : ticks * tick_ms();
    double system_ms = cpu_ms * system_share(&now->stat, &before->stat);
    double faults = ticks_since(now->stat.minor_faults, before->stat.minor_faults) +
                    ticks_since(now->stat.major_faults, before->stat.major_faults);
    unsigned both = now->sources & before->sources; /* a difference needs both */
    unsigned levels = 1U << SEEN_MEMORY | 1U << SEEN_HUGE;
    *ret_figures = (struct process_figures){
        .sources = both | (now->sources & levels),
        .between_ms = ticks_since(now->at_ns, before->at_ns) / (double)NS_PER_MS,
        .user_ms = cpu_ms - system_ms,
        .system_ms = system_ms,
        .faults = faults,
        .io_bytes = both & 1U << SEEN_IO ? since(now->io_bytes, before->io_bytes) : 0,
        .disk_bytes = both & 1U << SEEN_IO ? since(now->disk_bytes, before->disk_bytes) : 0,
        .throttled_ms =
            both & 1U << SEEN_THROTTLE ? since(now->throttled_ms, before->throttled_ms) : 0,
        .memory_stall_ms =
            both & 1U << SEEN_PRESSURE ? since(now->memory_stall_ms, before->memory_stall_ms) : 0,
        .resident_bytes = reader->resident_bytes,
        .huge_bytes = reader->huge_bytes};
}

int process_reader_take(struct process_reader *reader, const struct proc_roots *roots,
                        uint64_t now_ns, struct process_figures *ret_figures)
{
    struct process_state now;
    int reason = read_state(reader, roots, now_ns, &now);
    if (reason != 0) {
        return reason;
    }
    if (now.stat.start_ticks != reader->start_ticks) {
        return ESRCH;
    }
    subtract(reader, &now, ret_figures);
    reader->last = now;
    return 0;
}

bool process_reader_take_waits(struct process_reader *reader, struct process_figures *figures)
{
    struct proc_text room;
    if (!thread_waits_take(&reader->waits, reader->directory, &room, &figures->runqueue_ms)) {
        return false;
    }
    figures->sources |= 1U << SEEN_RUNQUEUE;
    return true;
}
