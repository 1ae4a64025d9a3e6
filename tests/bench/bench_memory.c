/*
 * The daemon as a process: how soon after exec it is ready, and its resident memory idle and with
 * 1,000 models of 10,000 lognormal samples spread over all sub-windows, after two scrapes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bench.h"
#include "rows.h"

enum {
    MODELS = 1000,
    SAMPLES = 10000, /* of each model */
    SUB_WINDOWS = 6,
    SUB_WINDOW_MS = 2000,
};

static char directory[64];

static int connect_to(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/%s", directory, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static pid_t start_daemon(void)
{
    const char *build = getenv("DWELL_BUILD");
    char path[256];
    char where[128];
    snprintf(path, sizeof path, "%s/dwelld", build == NULL ? "build" : build);
    snprintf(where, sizeof where, "ingest.directory=%s", directory);
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        execl(path, path, "--set", where, "--set", "http.listen=127.0.0.1:0", "--set",
              "profiling.window_seconds=12", (char *)NULL);
        _exit(127);
    }
    return child;
}

static void stop_daemon(pid_t child)
{
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
}

/* One request over query.sock; true when it was answered with 200. */
static bool get(const char *path)
{
    char text[1 << 16];
    int fd = connect_to("query.sock");
    if (fd < 0) {
        return false;
    }
    int len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
                       path);
    rows_write(fd, text, (size_t)len);
    ssize_t got = read(fd, text, sizeof text - 1);
    bool good = got > 12 && memcmp(text + 9, "200", 3) == 0;
    while (got > 0) {
        got = read(fd, text, sizeof text);
    }
    close(fd);
    return good;
}

static double resident_mb(pid_t child)
{
    char path[64];
    char line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)child);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kb = strtod(line + 6, NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb / 1024;
}

/* Sends `samples` lognormal samples to each model, and waits until they are applied. */
static void send_samples(int samples)
{
    int fd = connect_to("ingest.sock");
    char reply[64];
    struct buf batch;
    struct buf frame;
    buf_init(&batch, ROWS_BUFFER_MAX);
    buf_init(&frame, ROWS_BUFFER_MAX);
    rows_write(fd, "DWL1", 4);
    for (int i = 0; i < samples; i++) {
        for (unsigned model = 0; model < MODELS; model++) {
            rows_sample(&batch, false, model, 10 * exp(0.5 * rows_normal()), 50, 512);
        }
        rows_frame(&frame, &batch);
        rows_write(fd, frame.data, frame.len);
        buf_clear(&batch);
        buf_clear(&frame);
    }
    rows_bytes(&batch, 10, "", 0); /* flush */
    rows_frame(&frame, &batch);
    rows_write(fd, frame.data, frame.len);
    if (read(fd, reply, sizeof reply) <= 0) {
        exit(1);
    }
    close(fd);
    buf_fini(&batch);
    buf_fini(&frame);
}

static uint64_t slot_now(void)
{
    return now_ns() / (SUB_WINDOW_MS * 1000000ULL);
}

/* The daemon's sub-windows are those of the monotonic clock: each gets its share. */
static void fill_window(void)
{
    uint64_t slot = slot_now();
    for (int i = 0; i < SUB_WINDOWS; i++) {
        while (slot_now() == slot) {
            usleep(1000);
        }
        slot = slot_now();
        send_samples((SAMPLES + SUB_WINDOWS - 1) / SUB_WINDOWS);
    }
}

int main(void)
{
    struct bench bench;
    double ready[BENCH_ROUNDS];
    snprintf(directory, sizeof directory, "/tmp/dwell-bench-%d", (int)getpid());
    signal(SIGPIPE, SIG_IGN);
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        uint64_t began = now_ns();
        pid_t child = start_daemon();
        while (!get("/readyz")) {
            usleep(200);
        }
        ready[round] = (double)(now_ns() - began) / 1e6;
        stop_daemon(child);
    }
    pid_t child = start_daemon();
    while (!get("/readyz")) {
        usleep(200);
    }
    double idle = resident_mb(child);
    fill_window();
    bool scraped = get("/metrics") && get("/metrics");
    double full = resident_mb(child);
    stop_daemon(child);
    char lock[128];
    snprintf(lock, sizeof lock, "%s/dwelld.lock", directory);
    unlink(lock);
    rmdir(directory);
    if (!scraped) {
        return 1;
    }
    bench_begin(&bench, "memory", BENCH_ROUNDS);
    bench_limit(&bench, "ready_ms", median(ready, BENCH_ROUNDS), 15);
    bench_limit(&bench, "idle_mb", idle, 6);
    bench_limit(&bench, "thousand_models_mb", full, 60);
    bench_number(&bench, "bytes_per_model", (full - idle) * 1048576 / MODELS);
    return bench_end(&bench);
}
