#include "io/state_machine.h"

#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "io/probe/proc_file.h"
#include "io/probe/proc_text.h"
#include "io/system.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

enum { BOOT_ID_TEXT_MAX = 64 };

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "2f6c0b1e-…": 32 digits, dashes wherever they are. */
static bool read_boot_id(struct str text, uint8_t *ret_id)
{
    unsigned digits = 0;
    for (size_t i = 0; i < text.len && digits < 2 * SAVED_BOOT_ID_BYTES; i++) {
        int digit = digit_of(text.ptr[i]);
        if (digit >= 0) {
            ret_id[digits / 2] = (uint8_t)(ret_id[digits / 2] << 4 | digit);
            digits++;
        }
    }
    return digits == 2 * SAVED_BOOT_ID_BYTES;
}

void state_machine_init(struct saved_moment *moment)
{
    struct buf text;
    buf_init(&text, BOOT_ID_TEXT_MAX + (1 << 16)); /* reading wants more room than there is text */
    *moment = (struct saved_moment){.wall_ns = 0};
    if (system_read_file(BOOT_ID_FILE, &text) == 0) {
        moment->has_boot_id = read_boot_id((struct str){text.data, text.len}, moment->boot_id);
    }
    buf_fini(&text);
}

static uint64_t read_clock(clockid_t which)
{
    struct timespec now;
    (void)clock_gettime(which, &now); /* all of them always exist */
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

void state_machine_now(struct saved_moment *moment)
{
    moment->boot_ns = read_clock(CLOCK_BOOTTIME);
    moment->mono_ns = read_clock(CLOCK_MONOTONIC);
    moment->wall_ns = read_clock(CLOCK_REALTIME);
}

/* What is left of a process that nobody has waited for is no process any more. */
static bool is_running(const struct proc_stat *stat)
{
    return stat->state != 'Z' && stat->state != 'X';
}

bool state_machine_has(void *ctx, int64_t kernel_pid, uint64_t boot_ns)
{
    struct proc_text text;
    struct proc_stat stat;
    struct str read;
    (void)ctx;
    int directory = proc_open_directory(&proc_roots_real, kernel_pid, 0);
    bool found = directory >= 0 && proc_read_file(directory, "stat", &text, &read) == 0 &&
                 proc_text_stat(read, &stat) && is_running(&stat);
    proc_close(directory);
    uint64_t tick_ns = NS_PER_SECOND / (uint64_t)sysconf(_SC_CLK_TCK);
    return found && (stat.start_ticks + 1) * tick_ns <= boot_ns;
}
