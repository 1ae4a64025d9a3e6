/*
 * What workloads stand on: memory of a size that goes by the machine's caches, processes and threads
 * beside them, numbers, time.
 *
 *   1. size_bytes   the sizes of the caches, as the kernel has them in /sys
 *   2. room_take    memory of that size, every page touched
 *
 * What can fail: too little memory, no huge pages, no process. The workload is then skipped, visibly.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

#define MB ((size_t)1 << 20)

enum {
    SKIPPED = 77,    /* the status by which automake knows a test that was skipped */
    CACHES_MAX = 16, /* directories index0 … of a CPU */
    /* Above: the machine's memory is for others, too. Below: a last level of which a guest is told
     * too little would not be missed. */
    DRAM_MB_MAX = 512,
    DRAM_MB_MIN = 256,
};

uint8_t *room;
size_t room_bytes;
volatile uint64_t workload_sink;
_Thread_local uint64_t random_state;

_Noreturn void workload_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)printf("skipped: ");
    (void)vprintf(format, arguments);
    (void)printf("\n");
    va_end(arguments);
    (void)fflush(stdout);
    _exit(SKIPPED);
}

/* One line of /sys; false when there is none. */
static bool read_cache(int index, const char *name, char *line, size_t size)
{
    char path[96];
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool good = fgets(line, (int)size, file) != NULL;
    (void)fclose(file);
    return good;
}

/* Bytes of the data cache of a level; of the last one with level 0. */
static size_t cache_bytes(long level, size_t otherwise)
{
    long found_level = 0;
    size_t found = otherwise;
    for (int index = 0; index < CACHES_MAX; index++) {
        char type[32], level_text[32], size_text[32];
        if (!read_cache(index, "type", type, sizeof type) ||
            !read_cache(index, "level", level_text, sizeof level_text) ||
            !read_cache(index, "size", size_text, sizeof size_text)) {
            continue;
        }
        long this_level = strtol(level_text, NULL, 10);
        if (strncmp(type, "Instruction", 11) == 0 || (level != 0 && this_level != level) ||
            this_level < found_level) {
            continue;
        }
        char *unit = NULL;
        unsigned long long size = strtoull(size_text, &unit, 10);
        size *= *unit == 'M' ? MB : *unit == 'K' ? 1024u : 1u;
        if (size > 0 && size <= SIZE_MAX / 16) {
            found = (size_t)size;
            found_level = this_level;
        }
    }
    return found;
}

size_t size_bytes(enum size size)
{
    size_t dram = 8 * cache_bytes(0, 32 * MB);
    switch (size) {
    case SIZE_L1:
        return cache_bytes(1, 32 * 1024) / 2;
    case SIZE_L2:
        return cache_bytes(2, MB) / 2;
    case SIZE_L3:
        return cache_bytes(0, 32 * MB) / 2;
    case SIZE_DRAM:
        dram = dram < DRAM_MB_MIN * MB ? DRAM_MB_MIN * MB : dram;
        return dram > DRAM_MB_MAX * MB ? DRAM_MB_MAX * MB : dram;
    case SIZE_NONE:
    case SIZE_COUNT:
        break;
    }
    return 0;
}

/* Kilobytes of this process that lie in huge pages. */
static unsigned long huge_kb(void)
{
    unsigned long kb = 0;
    char line[128];
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "AnonHugePages:", 14) == 0) {
            kb = strtoul(line + 14, NULL, 10);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return kb;
}

void *room_take(size_t bytes, bool huge)
{
    const size_t step = 2 * MB; /* of a huge page, for the alignment */
    void *mapped =
        mmap(NULL, bytes + step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        workload_skip("no %zu bytes of memory: %s", bytes, strerror(errno));
    }
    uint8_t *start = (uint8_t *)(((uintptr_t)mapped + step - 1) & ~(uintptr_t)(step - 1));
    /* Said in both directions: the machine's own setting may be `always`. */
    (void)madvise(start, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    memset(start, 1, bytes);
    memset(start, 0, bytes);
    if (huge && bytes >= step && huge_kb() < bytes / 1024 / 2) {
        workload_skip("the kernel gives no huge pages");
    }
    return start;
}

static double thread_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* cannot fail */
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

void busy_us(double cpu_us)
{
    double end_us = thread_us() + cpu_us;
    while (thread_us() < end_us) {
        compute_spin(1);
    }
}

void child_start(void (*serve)(int descriptor), int descriptor)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        workload_skip("no process: %s", strerror(errno));
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent) { /* else it ended before it could be told */
            serve(descriptor);
        }
        _exit(0);
    }
}

void thread_start(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, run, arg);
    if (err != 0) {
        workload_skip("no thread: %s", strerror(err));
    }
    (void)pthread_detach(thread);
}
