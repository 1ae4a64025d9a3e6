#include "io/probe/touch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"

/* It is watched until it used so much CPU time: of 64 MB that are streamed through, 4 ms touch a third.
 * Longer, and a small model has touched all of its memory before the end. */
#define ENOUGH_CPU_MS 4.0

/* And less than so much is worth nothing. */
#define LEAST_CPU_MS 2.0

enum {
    STEP_MS = 2,
    STEPS_MAX = 20, /* 40 ms */
};

static int clear(const struct process_reader *reader)
{
    int fd = openat(reader->directory, "clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    ssize_t wrote = write(fd, "1", 1);
    int reason = wrote == 1 ? 0 : errno;
    proc_close(fd);
    return reason;
}

static bool cpu_ms(const struct process_reader *reader, double *ret_ms)
{
    return process_reader_cpu_ms(reader, ret_ms);
}

/* Until it has run for long enough, or will not. Returns the CPU time then, or an errno value. */
static int wait_for_cpu(const struct process_reader *reader, const struct touch_waiter *waiter,
                        double from_ms, double *ret_ms)
{
    for (unsigned step = 0; step < STEPS_MAX; step++) {
        if (!waiter->wait(waiter->ctx, STEP_MS * NS_PER_MS)) {
            return ECANCELED;
        }
        if (!cpu_ms(reader, ret_ms)) {
            return ESRCH;
        }
        if (*ret_ms - from_ms >= ENOUGH_CPU_MS) {
            break;
        }
    }
    return 0;
}

static int read_back(const struct process_reader *reader, double used_ms, double read_from_ms,
                     struct touch *ret_touch)
{
    struct proc_text room;
    struct str text;
    uint64_t referenced_kb;
    uint64_t resident_kb;
    uint64_t huge_kb;
    double read_to_ms;
    int reason = proc_read_file(reader->directory, "smaps_rollup", &room, &text);
    if (reason != 0) {
        return reason;
    }
    if (!proc_text_number(text, "Referenced:", &referenced_kb) ||
        !proc_text_number(text, "Rss:", &resident_kb) ||
        !proc_text_number(text, "AnonHugePages:", &huge_kb) || !cpu_ms(reader, &read_to_ms)) {
        return ENOTSUP;
    }
    used_ms += (read_to_ms - read_from_ms) / 2;
    *ret_touch =
        (struct touch){.rate = used_ms < LEAST_CPU_MS ? -1 : (double)referenced_kb * 1024 / used_ms,
                       .resident_bytes = (double)resident_kb * 1024,
                       .huge_bytes = (double)huge_kb * 1024};
    return 0;
}

int touch_take(const struct process_reader *reader, const struct touch_waiter *waiter,
               struct touch *ret_touch)
{
    double clear_from_ms;
    double clear_to_ms;
    double read_from_ms;
    if (!cpu_ms(reader, &clear_from_ms)) {
        return ENOTSUP;
    }
    int reason = clear(reader);
    if (reason == 0 && !cpu_ms(reader, &clear_to_ms)) {
        reason = ESRCH;
    }
    if (reason == 0) {
        reason = wait_for_cpu(reader, waiter, clear_to_ms, &read_from_ms);
    }
    if (reason != 0) {
        return reason;
    }
    return read_back(reader, read_from_ms - (clear_from_ms + clear_to_ms) / 2, read_from_ms,
                     ret_touch);
}
