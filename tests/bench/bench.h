/*
 * What every bench shares: a clock, a median, and the one JSON line that a bench prints.
 * It runs nothing and decides nothing but whether a figure keeps its limit. One thread at a time.
 *
 *     struct bench bench;
 *     bench_begin(&bench, "hist", rounds);
 *     bench_number(&bench, "record_ns", median(record_ns, rounds));
 *     bench_limit(&bench, "ratio", ratio, 2.5);
 *     return bench_end(&bench);
 *
 * prints {"bench":"hist","machine":{…},"rounds":9,"record_ns":1.7,"ratio":2.1,"ratio_limit":2.5,
 * "ok":true} and gives the exit status: 0, or 1 when a limit is broken.
 */
#ifndef DWELL_TESTS_BENCH_H
#define DWELL_TESTS_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_ROUNDS = 9 }; /* fewest interleaved rounds of which a median is printed */

struct bench {
    bool ok;
};

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* CPU time of the whole process. */
static inline uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Keeps the compiler from dropping what computed the value. */
#define bench_keep(value) __asm__ volatile("" : : "r,m"(value) : "memory")

static inline int bench_compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Of count > 0 values; sorts them in place. */
static inline double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, bench_compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* A text without the characters that JSON would want escaped. */
static inline void bench_print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        putchar(*text == '"' || *text == '\\' || (unsigned char)*text < ' ' ? '_' : *text);
    }
    putchar('"');
}

static inline void bench_print_cpu(void)
{
    char line[256];
    const char *model = "unknown";
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = '\0';
            model = colon + (colon[1] == ' ' ? 2 : 1);
            break;
        }
    }
    bench_print_text(model);
    if (file != NULL) {
        fclose(file);
    }
}

static inline void bench_begin(struct bench *bench, const char *name, int rounds)
{
    struct utsname system;
    bench->ok = true;
    printf("{\"bench\":");
    bench_print_text(name);
    printf(",\"machine\":{\"cpu\":");
    bench_print_cpu();
    printf(",\"cpus\":%ld,\"kernel\":", sysconf(_SC_NPROCESSORS_ONLN));
    bench_print_text(uname(&system) == 0 ? system.release : "unknown");
    printf("},\"rounds\":%d", rounds);
}

static inline void bench_number(struct bench *bench, const char *key, double value)
{
    (void)bench;
    printf(",\"%s\":%.6g", key, value);
}

static inline void bench_text(struct bench *bench, const char *key, const char *text)
{
    (void)bench;
    printf(",\"%s\":", key);
    bench_print_text(text);
}

/* A figure that must not be above its limit. */
static inline void bench_limit(struct bench *bench, const char *key, double value, double limit)
{
    printf(",\"%s\":%.6g,\"%s_limit\":%.6g", key, value, key, limit);
    bench->ok = bench->ok && value <= limit;
}

/* A figure that must not be below its limit. */
static inline void bench_least(struct bench *bench, const char *key, double value, double least)
{
    printf(",\"%s\":%.6g,\"%s_least\":%.6g", key, value, key, least);
    bench->ok = bench->ok && value >= least;
}

static inline int bench_end(struct bench *bench)
{
    printf(",\"ok\":%s}\n", bench->ok ? "true" : "false");
    return bench->ok ? 0 : 1;
}

#endif
