/*
 * Workers that come and go: 16 processes, each with a connection, a gauge of its own and parts in shared
 * ones, start and end 1,000 times. Resident memory and the time of a scrape before and after.
 */
#include "bench.h"
#include "bench_daemon.h"
#include "rows.h"

enum {
    WORKERS = 16,
    WARM_UP = 50, /* generations before the first look */
    GENERATIONS = 1000,
    SCRAPES = 31,
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

static double scrape_us(void)
{
    double took[SCRAPES];
    for (unsigned i = 0; i < SCRAPES; i++) {
        uint64_t began = now_ns();
        if (!bench_get("/metrics")) {
            exit(1);
        }
        took[i] = (double)(now_ns() - began) / 1e3;
    }
    return median(took, SCRAPES);
}

int main(void)
{
    struct bench bench;
    bool good = true;
    signal(SIGPIPE, SIG_IGN);
    pid_t process = bench_start_daemon(NULL);
    for (unsigned i = 0; i < WARM_UP; i++) {
        good = run_generation() && good;
    }
    (void)scrape_us();
    double before_mb = bench_resident_mb(process);
    double before_us = scrape_us();
    for (unsigned i = 0; i < GENERATIONS; i++) {
        good = run_generation() && good;
    }
    sleep(3); /* places are given back once a second */
    double after_us = scrape_us();
    double after_mb = bench_resident_mb(process);
    bench_stop_daemon(process);
    if (!good) {
        fprintf(stderr, "a worker failed, or was refused\n");
        return 1;
    }
    bench_begin(&bench, "workers", GENERATIONS);
    bench_number(&bench, "before_mb", before_mb);
    bench_number(&bench, "after_mb", after_mb);
    bench_limit(&bench, "memory_ratio", after_mb / before_mb, 1.1);
    bench_number(&bench, "scrape_before_us", before_us);
    bench_number(&bench, "scrape_after_us", after_us);
    bench_limit(&bench, "scrape_ratio", after_us / before_us, 1.5);
    return bench_end(&bench);
}
