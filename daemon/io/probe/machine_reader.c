#include "io/probe/machine_reader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "io/probe/proc_text.h"

enum {
    CACHES_MAX = 8, /* of one CPU: 4 on what is built today */
    ROUNDS = 31,    /* odd, so that there is one in the middle */
    PAGES = 64,     /* a round; all take 5 ms */
};

static bool read_cache(const struct proc_roots *roots, unsigned at, const char *name,
                       struct proc_text *room, struct str *ret_text)
{
    char path[PROC_PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/cpu0/cache/index%u/%s", roots->cpu, at, name);
    return len > 0 && (size_t)len < sizeof path &&
           proc_read_file(AT_FDCWD, path, room, ret_text) == 0;
}

double machine_cache_bytes(const struct proc_roots *roots)
{
    struct proc_text room;
    struct str text;
    uint64_t highest = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < CACHES_MAX; i++) {
        uint64_t level;
        if (!read_cache(roots, i, "level", &room, &text) ||
            proc_text_fields(text, &level, 1) != 1 || level < highest ||
            !read_cache(roots, i, "size", &room, &text)) {
            continue;
        }
        uint64_t size = proc_text_size(text);
        bytes = level > highest || size > bytes ? size : bytes;
        highest = level;
    }
    return (double)bytes;
}

static double thread_us(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* this clock is always there */
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* Touches fresh pages and gives them back. Returns what one costs; negative: there was no memory. */
static double round_us(size_t page_bytes)
{
    double from = thread_us();
    void *memory =
        mmap(NULL, PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -1;
    }
    (void)madvise(memory, PAGES * page_bytes, MADV_NOHUGEPAGE); /* fails where there are none */
    volatile char *pages = memory;
    for (unsigned i = 0; i < PAGES; i++) {
        pages[i * page_bytes] = 1;
    }
    (void)munmap(memory, PAGES * page_bytes); /* what was mapped, as a whole */
    return (thread_us() - from) / PAGES;
}

static int compare(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

double machine_page_fault_us(void)
{
    double rounds[ROUNDS];
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        rounds[i] = round_us(page_bytes);
        if (rounds[i] < 0) {
            return 0;
        }
    }
    qsort(rounds, ROUNDS, sizeof rounds[0], compare);
    return rounds[ROUNDS / 2];
}

void machine_read(const struct proc_roots *roots, struct machine *ret_machine)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *ret_machine = (struct machine){.cache_bytes = machine_cache_bytes(roots),
                                    .page_fault_us = machine_page_fault_us(),
                                    .cpus = cpus > 0 ? (uint32_t)cpus : 0};
}
