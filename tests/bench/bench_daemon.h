/*
 * The daemon as a process of its own, for benches: start, ask, stop, and what it costs. DWELL_BUILD says
 * where it was built. One thread; of several daemons bench_directory says which one is asked and stopped.
 * Dies when something cannot be had.
 */
#ifndef DWELL_TESTS_BENCH_DAEMON_H
#define DWELL_TESTS_BENCH_DAEMON_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of the sockets of the daemon that began last, until it is set to another's. */
static char bench_directory[64];

static inline int bench_connect_path(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* To a socket of the daemon's directory; -1 while it is not there. */
static inline int bench_connect(const char *name)
{
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    snprintf(path, sizeof path, "%s/%s", bench_directory, name);
    return bench_connect_path(path);
}

/* One request over query.sock, read to its end; true when it was answered with 200. */
static inline bool bench_get(const char *target)
{
    static char text[1 << 16];
    int fd = bench_connect("query.sock");
    if (fd < 0) {
        return false;
    }
    int len = snprintf(text, sizeof text,
                       "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target);
    ssize_t wrote = write(fd, text, (size_t)len);
    ssize_t got = wrote == len ? read(fd, text, sizeof text - 1) : -1;
    bool good = got > 12 && memcmp(text + 9, "200", 3) == 0;
    while (got > 0) {
        got = read(fd, text, sizeof text);
    }
    close(fd);
    return good;
}

/* /metrics as text, valid until the next call. */
static inline const char *bench_metrics(void)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    static char text[1 << 20];
    size_t len = 0;
    ssize_t got = 1;
    int fd = bench_connect("query.sock");
    if (fd < 0 || write(fd, request, sizeof request - 1) != sizeof request - 1) {
        exit(1);
    }
    while (got > 0 && len < sizeof text - 1) {
        got = read(fd, text + len, sizeof text - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (got != 0 || len < 12 || memcmp(text + 9, "200", 3) != 0) {
        exit(1);
    }
    text[len] = '\0';
    return text;
}

/* The sum of all samples whose line begins so; there must be one. */
static inline double bench_sum(const char *text, const char *begin)
{
    double sum = 0;
    bool found = false;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, begin, strlen(begin)) == 0) {
            const char *value = strstr(line, "} ");
            const char *end = strchr(line, '\n');
            bool labelled = value != NULL && end != NULL && value < end;
            sum += strtod(labelled ? value + 2 : line + strcspn(line, " "), NULL);
            found = true;
        }
    }
    if (!found) {
        fprintf(stderr, "bench: there is no %s\n", begin);
        exit(1);
    }
    return sum;
}

/* Runs a program with its output thrown away, which ends with the bench at the latest. */
static inline pid_t bench_spawn(const char *const *arguments)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    return child;
}

enum { BENCH_SETTINGS_MAX = 16 };

/* Starts the daemon with more settings, NULL behind the last, and waits until it is ready. */
static inline pid_t bench_start_daemon_with(const char *const *settings)
{
    const char *build = getenv("DWELL_BUILD");
    char path[256];
    char where[128];
    static unsigned begun;
    const char *arguments[2 * (BENCH_SETTINGS_MAX + 2) + 2] = {path};
    size_t count = 1;
    snprintf(bench_directory, sizeof bench_directory, "/tmp/dwell-bench-%d-%u", (int)getpid(),
             begun++);
    snprintf(path, sizeof path, "%s/dwelld", build == NULL ? "build" : build);
    snprintf(where, sizeof where, "ingest.directory=%s", bench_directory);
    const char *const own[] = {where, "http.listen=127.0.0.1:0"};
    for (size_t i = 0; i < 2 || settings[i - 2] != NULL; i++) {
        if (i == BENCH_SETTINGS_MAX + 2) {
            exit(1);
        }
        arguments[count++] = "--set";
        arguments[count++] = i < 2 ? own[i] : settings[i - 2];
    }
    pid_t child = bench_spawn(arguments);
    while (!bench_get("/readyz")) {
        usleep(200);
    }
    return child;
}

/* The same with one, or NULL. */
static inline pid_t bench_start_daemon(const char *setting)
{
    const char *const settings[] = {setting, NULL};
    return bench_start_daemon_with(settings);
}

static inline void bench_stop_daemon(pid_t child)
{
    char lock[128];
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    snprintf(lock, sizeof lock, "%s/dwelld.lock", bench_directory);
    unlink(lock);
    rmdir(bench_directory);
}

/* A row of /proc/PID/status that is in kB, such as "VmRSS:". */
static inline double bench_status_mb(pid_t child, const char *row)
{
    char path[64];
    char line[256];
    double kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)child);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, row, strlen(row)) == 0) {
            kb = strtod(line + strlen(row), NULL);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kb / 1024;
}

static inline double bench_resident_mb(pid_t child)
{
    return bench_status_mb(child, "VmRSS:");
}

/* CPU time of all threads that are alive, to the nanosecond. */
static inline uint64_t bench_process_cpu_ns(pid_t child)
{
    char path[320];
    uint64_t total = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)child);
    DIR *tasks = opendir(path);
    for (struct dirent *task = tasks == NULL ? NULL : readdir(tasks); task != NULL;
         task = readdir(tasks)) {
        if (task->d_name[0] == '.') { /* ".." has figures too: the first thread's once more */
            continue;
        }
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", (int)child, task->d_name);
        FILE *file = fopen(path, "re");
        char line[128];
        if (file != NULL && fgets(line, sizeof line, file) != NULL) {
            total += strtoull(line, NULL, 10);
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return total;
}

#endif
