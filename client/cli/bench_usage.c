#include "cli/bench_usage.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

enum {
    FILE_BYTES = 4096, /* the longest, status, has some 1500 */
    PID_MAX = 1 << 22, /* of Linux; of larger numbers the number of a clock is another's */
};

/* --- text of /proc ----------------------------------------------------------------------------- */

/* The next number at the front, which is moved behind it; false when there is none. */
static bool take_number(struct str *text, uint64_t *ret_number)
{
    size_t at = 0;
    uint64_t number = 0;
    while (at < text->len && (text->ptr[at] == ' ' || text->ptr[at] == '\t')) {
        at++;
    }
    size_t first = at;
    for (; at < text->len && text->ptr[at] >= '0' && text->ptr[at] <= '9'; at++) {
        number = number * 10 + (uint64_t)(text->ptr[at] - '0');
    }
    text->ptr += at;
    text->len -= at;
    *ret_number = number;
    return at > first;
}

/* "352124 17893 12": ns on a CPU, ns waiting for one, slices */
void usage_take_schedstat(struct str text, struct usage *usage)
{
    uint64_t cpu_ns;
    uint64_t runqueue_ns;
    if (take_number(&text, &cpu_ns) && take_number(&text, &runqueue_ns)) {
        usage->cpu_ns = cpu_ns;
        usage->runqueue_ns = runqueue_ns;
        usage->has_schedstat = true;
    }
}

/* "4711 (a name) R) S 1 …": what follows the last parenthesis is counted from field 3 on. */
void usage_take_stat(struct str text, struct usage *usage)
{
    enum {
        STATE = 3,
        MINOR = 10,
        MAJOR = 12,
        USER = 14,
        SYSTEM = 15,
        THREADS = 20,
        LAST = THREADS
    };
    uint64_t fields[LAST + 1] = {0};
    const char *name_end = text.len > 0 ? memrchr(text.ptr, ')', text.len) : NULL;
    if (name_end == NULL || text.ptr + text.len - name_end < 4) {
        return;
    }
    char state = name_end[2];
    struct str rest = {name_end + 3, (size_t)(text.ptr + text.len - name_end) - 3};
    for (int field = STATE + 1; field <= LAST; field++) {
        if (rest.len > 1 && rest.ptr[0] == ' ' && rest.ptr[1] == '-') { /* none that we want */
            rest.ptr += 2;
            rest.len -= 2;
        }
        if (!take_number(&rest, &fields[field])) {
            return;
        }
    }
    usage->state = state;
    usage->minor_faults = fields[MINOR];
    usage->major_faults = fields[MAJOR];
    usage->user_ticks = fields[USER];
    usage->system_ticks = fields[SYSTEM];
    usage->threads = fields[THREADS];
    usage->has_stat = true;
}

/* The number behind "key:" at the beginning of a line. */
static bool find_number(struct str text, const char *key, uint64_t *ret_number)
{
    size_t len = strlen(key);
    while (text.len > len) {
        if (memcmp(text.ptr, key, len) == 0 && text.ptr[len] == ':') {
            text.ptr += len + 1;
            text.len -= len + 1;
            return take_number(&text, ret_number);
        }
        const char *end = memchr(text.ptr, '\n', text.len);
        if (end == NULL) {
            return false;
        }
        text.len -= (size_t)(end + 1 - text.ptr);
        text.ptr = end + 1;
    }
    return false;
}

void usage_take_status(struct str text, struct usage *usage)
{
    (void)find_number(text, "VmRSS", &usage->resident_kb); /* a process that ends has none: 0 */
    (void)find_number(text, "VmHWM", &usage->peak_kb);     /* likewise */
    usage->has_status =
        find_number(text, "voluntary_ctxt_switches", &usage->voluntary_switches) &&
        find_number(text, "nonvoluntary_ctxt_switches", &usage->involuntary_switches);
}

void usage_take_io(struct str text, struct usage *usage)
{
    uint64_t read_bytes;
    uint64_t written_bytes;
    if (find_number(text, "read_bytes", &read_bytes) &&
        find_number(text, "write_bytes", &written_bytes)) {
        usage->disk_bytes = read_bytes + written_bytes;
        usage->has_disk = true;
    }
}

/* --- a process --------------------------------------------------------------------------------- */

static int open_of(pid_t pid, const char *name)
{
    char path[64]; /* the longest has 38 */
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void usage_open(struct usage_source *source, pid_t pid)
{
    char name[48];
    *source = (struct usage_source){0};
    source->has_clock = pid <= PID_MAX && clock_getcpuclockid(pid, &source->clock) == 0;
    source->schedstat = open_of(pid, "schedstat");
    (void)snprintf(name, sizeof name, "task/%d/stat", (int)pid); /* its thread; "stat" is of all */
    source->stat = open_of(pid, name);
    source->status = open_of(pid, "status");
    source->io = open_of(pid, "io");
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* it was only read */
        *fd = -1;
    }
}

void usage_close(struct usage_source *source)
{
    close_one(&source->schedstat);
    close_one(&source->stat);
    close_one(&source->status);
    close_one(&source->io);
    source->has_clock = false;
}

static void read_file(int fd, void (*take)(struct str text, struct usage *usage),
                      struct usage *usage)
{
    char text[FILE_BYTES];
    ssize_t len = fd >= 0 ? pread(fd, text, sizeof text, 0) : -1;
    if (len > 0) {
        take((struct str){text, (size_t)len}, usage);
    }
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    return clock_gettime(clock, &now) == 0
               ? (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec
               : 0;
}

void usage_read(const struct usage_source *source, struct usage *ret_usage)
{
    struct usage usage = {0};
    usage.process_cpu_ns = source->has_clock ? clock_ns(source->clock) : 0;
    usage.has_process_cpu = usage.process_cpu_ns > 0;
    read_file(source->schedstat, usage_take_schedstat, &usage);
    read_file(source->stat, usage_take_stat, &usage);
    read_file(source->status, usage_take_status, &usage);
    read_file(source->io, usage_take_io, &usage);
    *ret_usage = usage;
}

void usage_settle(const struct usage_source *source, uint64_t limit_ns)
{
    uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + limit_ns;
    struct usage usage = {0};
    do {
        read_file(source->stat, usage_take_stat, &usage);
        if (!usage.has_stat || usage.state != 'R') {
            return;
        }
        (void)sched_yield(); /* never fails on Linux; it may want this very CPU */
    } while (clock_ns(CLOCK_MONOTONIC) < end_ns);
}
