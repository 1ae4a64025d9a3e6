/*
 * Workers that come and go: 16 processes, each with a connection, a gauge of its own and parts in shared
 * ones, start and end 1,000 times. Resident memory before and after; and the time of a scrape beside
 * that of a second daemon which has seen only the first of them. The two are scraped in turns, so that
 * whatever else the machine does meanwhile slows both.
 */
#include <sched.h>

#include "bench.h"
#include "bench_daemon.h"
#include "rows.h"

enum {
    WORKERS = 16,
    WARM_UP = 50, /* generations that both have seen */
    GENERATIONS = 1000,
    SCRAPES = 1001,
};

/* What a worker says in its life. */
static void work(void)
{
    char text[1024];
    char answers[256];
    int fd = bench_connect("ingest.sock");
    int len = snprintf(
        text, sizeof text,
        "{\"type\":\"hello\",\"pid\":%d,\"client\":\"bench/1\"}\n"
        "{\"type\":\"gauge\",\"name\":\"bench.up\",\"value\":1,\"aggregation\":\"per_pid\"}\n"
        "{\"type\":\"gauge\",\"name\":\"bench.workers\",\"value\":1,\"aggregation\":\"sum\"}\n"
        "{\"type\":\"gauge\",\"name\":\"bench.peak\",\"value\":%d,\"aggregation\":\"max\"}\n"
        "{\"type\":\"info\",\"name\":\"bench\",\"attributes\":{\"worker\":\"%d\"}}\n"
        "{\"type\":\"counter\",\"name\":\"bench.jobs\",\"value\":1,\"attributes\":{\"a\":\"b\"}}\n"
        "{\"model_name\":\"m\",\"execution_time_ms\":5}\n",
        (int)getpid(), (int)getpid(), (int)getpid());
    if (fd < 0) {
        _exit(1);
    }
    rows_write(fd, text, (size_t)len);
    shutdown(fd, SHUT_WR);
    _exit(read(fd, answers, sizeof answers) == 0 ? 0 : 1); /* no complaint, and all applied */
}

static bool run_generation(void)
{
    bool good = true;
    for (unsigned i = 0; i < WORKERS; i++) {
        pid_t child = fork();
        if (child == 0) {
            work();
        }
        good = good && child > 0;
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = 0;
        good = wait(&status) > 0 && status == 0 && good;
    }
    return good;
}

/* All that is started later inherits it. On several CPUs a scrape takes half as long again where the
 * scheduler has put a daemon away from who asks it, and it may leave it there. */
static void stay_on_one_cpu(void)
{
    cpu_set_t all;
    cpu_set_t one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) == 0) {
        size_t cpu = 0;
        while (!CPU_ISSET(cpu, &all)) {
            cpu++;
        }
        CPU_SET(cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one); /* fails: the figures scatter more */
    }
}

/* A daemon, and what it has seen. */
struct daemon {
    pid_t process;
    char directory[sizeof bench_directory];
};

static struct daemon start(void)
{
    struct daemon daemon = {.process = bench_start_daemon(NULL)};
    memcpy(daemon.directory, bench_directory, sizeof daemon.directory);
    return daemon;
}

static void turn_to(const struct daemon *daemon)
{
    memcpy(bench_directory, daemon->directory, sizeof bench_directory);
}

static void stop(const struct daemon *daemon)
{
    turn_to(daemon);
    bench_stop_daemon(daemon->process);
}

static bool run_generations(const struct daemon *daemon, unsigned count)
{
    bool good = true;
    turn_to(daemon);
    for (unsigned i = 0; i < count; i++) {
        good = run_generation() && good;
    }
    return good;
}

static double scrape_us(const struct daemon *daemon)
{
    turn_to(daemon);
    uint64_t began = now_ns();
    if (!bench_get("/metrics")) {
        exit(1);
    }
    return (double)(now_ns() - began) / 1e3;
}

struct costs {
    double young_us[SCRAPES], old_us[SCRAPES];
};

static void scrape_in_turns(const struct daemon *young, const struct daemon *old, struct costs *ret)
{
    for (unsigned i = 0; i < SCRAPES; i++) {
        ret->young_us[i] = scrape_us(young);
        ret->old_us[i] = scrape_us(old);
    }
}

/* The lower quartile: what else the machine does can only add to it. */
static double quick(double *values)
{
    (void)median(values, SCRAPES); /* sorts them */
    return values[SCRAPES / 4];
}

int main(void)
{
    static struct costs costs;
    struct bench bench;
    signal(SIGPIPE, SIG_IGN);
    stay_on_one_cpu();
    struct daemon young = start();
    struct daemon old = start();
    bool good = run_generations(&young, WARM_UP) && run_generations(&old, WARM_UP);
    scrape_in_turns(&young, &old, &costs); /* takes memory, which is no generation's */
    double before_mb = bench_resident_mb(old.process);
    good = run_generations(&old, GENERATIONS) && good;
    sleep(3); /* places are given back once a second */
    scrape_in_turns(&young, &old, &costs);
    double after_mb = bench_resident_mb(old.process);
    stop(&old);
    stop(&young);
    if (!good) {
        fprintf(stderr, "a worker failed, or was refused\n");
        return 1;
    }
    bench_begin(&bench, "workers", GENERATIONS);
    bench_number(&bench, "before_mb", before_mb);
    bench_number(&bench, "after_mb", after_mb);
    bench_limit(&bench, "memory_ratio", after_mb / before_mb, 1.1);
    double young_us = quick(costs.young_us);
    double old_us = quick(costs.old_us);
    bench_number(&bench, "scrape_young_us", young_us);
    bench_number(&bench, "scrape_old_us", old_us);
    bench_limit(&bench, "scrape_ratio", old_us / young_us, 1.5);
    return bench_end(&bench);
}
