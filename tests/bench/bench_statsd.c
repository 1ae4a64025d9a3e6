/*
 * Packed StatsD timer lines of 100 series over a Unix stream, against netdata's StatsD in the same run:
 * CPU time of the whole process for each line, what it does with them afterwards included (netdata's
 * flush of each second, our answer to a scrape). And the memory of 10,000 such series, after a scrape.
 * Without netdata (Debian's package netdata-core) that figure is left out, and the line says so.
 */
#include <math.h>

#include "bench.h"
#include "bench_daemon.h"
#include "rows.h"

enum {
    SERIES = 100,
    LINES = 20000,    /* that differ */
    REPEATS = 50,     /* of them in a round */
    SETTLE_MS = 1500, /* netdata looks at what came once a second */
    MANY_SERIES = 10000,
    VALUES = 100, /* of each of them */
    BYTES_MAX = 1 << 20,
};

static double timer(void)
{
    return 10 * exp(0.5 * rows_normal());
}

static void make_lines(struct buf *out)
{
    buf_init(out, BYTES_MAX);
    for (unsigned i = 0; i < LINES; i++) {
        buf_printf(out, "service.timer.%u:%.3f|ms\n", i % SERIES, timer());
    }
}

static void send_all(int fd, const struct buf *lines)
{
    for (unsigned i = 0; i < REPEATS; i++) {
        rows_write(fd, lines->data, lines->len);
    }
}

/* Sends and waits until the other side has read the end. */
static void send_until_read(const char *path, const struct buf *lines)
{
    char byte;
    int fd = bench_connect_path(path);
    send_all(fd, lines);
    shutdown(fd, SHUT_WR);
    ssize_t got = read(fd, &byte, 1);
    (void)got; /* 0: it closed */
    close(fd);
}

/* --- netdata ----------------------------------------------------------------------------------- */

struct netdata {
    char directory[64];
    char socket[96];
    pid_t process;
};

static void write_netdata_conf(const struct netdata *netdata, const char *path)
{
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        exit(1);
    }
    fprintf(file,
            "[global]\n run as user = root\n"
            "[directories]\n config = %s\n cache = %s\n lib = %s\n log = %s\n"
            "[db]\n mode = ram\n[ml]\n enabled = no\n[health]\n enabled = no\n[web]\n mode = none\n"
            "[cloud]\n enabled = no\n"
            "[plugins]\n timex = no\n checks = no\n idlejitter = no\n tc = no\n diskspace = no\n"
            " proc = no\n cgroups = no\n enable running new plugins = no\n slabinfo = no\n"
            " statsd = yes\n netdata monitoring = no\n profile = no\n"
            "[statsd]\n enabled = yes\n bind to = unix:%s\n",
            netdata->directory, netdata->directory, netdata->directory, netdata->directory,
            netdata->socket);
    fclose(file);
}

/* False when it is not installed. */
static bool start_netdata(struct netdata *netdata)
{
    char conf[128];
    int fd = -1;
    if (access("/usr/sbin/netdata", X_OK) != 0) {
        return false;
    }
    snprintf(netdata->directory, sizeof netdata->directory, "/tmp/dwell-bench-netdata-%d",
             (int)getpid());
    snprintf(netdata->socket, sizeof netdata->socket, "%s/statsd.sock", netdata->directory);
    snprintf(conf, sizeof conf, "%s/netdata.conf", netdata->directory);
    if (mkdir(netdata->directory, 0700) != 0) {
        exit(1);
    }
    write_netdata_conf(netdata, conf);
    const char *const arguments[] = {"/usr/sbin/netdata", "-D", "-c", conf, NULL};
    netdata->process = bench_spawn(arguments);
    for (int i = 0; fd < 0 && i < 10000; i++) {
        fd = bench_connect_path(netdata->socket);
        usleep(1000);
    }
    close(fd);
    return fd >= 0;
}

static void stop_netdata(const struct netdata *netdata)
{
    char command[96];
    kill(netdata->process, SIGTERM);
    waitpid(netdata->process, NULL, 0);
    snprintf(command, sizeof command, "rm -rf %s", netdata->directory);
    int status = system(command);
    (void)status; /* what stays is in /tmp */
}

/* --- figures ----------------------------------------------------------------------------------- */

/* CPU nanoseconds for each line. */
static double cost(pid_t process, const char *path, const struct buf *lines)
{
    uint64_t began = bench_process_cpu_ns(process);
    send_until_read(path, lines);
    usleep(SETTLE_MS * 1000);
    return (double)(bench_process_cpu_ns(process) - began) / ((double)LINES * REPEATS);
}

static double our_cost(pid_t process, const char *path, const struct buf *lines)
{
    uint64_t began = bench_process_cpu_ns(process);
    send_until_read(path, lines);
    if (!bench_get("/metrics")) {
        exit(1);
    }
    usleep(SETTLE_MS * 1000);
    return (double)(bench_process_cpu_ns(process) - began) / ((double)LINES * REPEATS);
}

static double bytes_per_series(void)
{
    char path[sizeof bench_directory + 16];
    struct buf lines;
    buf_init(&lines, BYTES_MAX);
    pid_t process = bench_start_daemon(NULL);
    snprintf(path, sizeof path, "%s/ingest.sock", bench_directory);
    double idle = bench_resident_mb(process);
    int fd = bench_connect_path(path);
    for (unsigned value = 0; value < VALUES; value++) {
        for (unsigned i = 0; i < MANY_SERIES; i++) {
            buf_printf(&lines, "service.timer:%.3f|ms|#number:%u\n", timer(), i);
        }
        rows_write(fd, lines.data, lines.len);
        buf_clear(&lines);
    }
    shutdown(fd, SHUT_WR);
    char byte;
    ssize_t got = read(fd, &byte, 1);
    close(fd);
    if (got != 0 || !bench_get("/metrics")) {
        exit(1);
    }
    double full = bench_resident_mb(process);
    bench_stop_daemon(process);
    buf_fini(&lines);
    return (full - idle) * 1048576 / MANY_SERIES;
}

int main(void)
{
    struct bench bench;
    struct netdata netdata;
    struct buf lines;
    char path[sizeof bench_directory + 16];
    double ours[BENCH_ROUNDS];
    double theirs[BENCH_ROUNDS];
    double ratios[BENCH_ROUNDS];
    signal(SIGPIPE, SIG_IGN);
    make_lines(&lines);
    bool has_netdata = start_netdata(&netdata);
    pid_t process = bench_start_daemon(NULL);
    snprintf(path, sizeof path, "%s/ingest.sock", bench_directory);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        ours[round] = our_cost(process, path, &lines);
        theirs[round] = has_netdata ? cost(netdata.process, netdata.socket, &lines) : 0;
        ratios[round] = has_netdata ? ours[round] / theirs[round] : 0;
    }
    bench_stop_daemon(process);
    bench_begin(&bench, "statsd", BENCH_ROUNDS);
    bench_number(&bench, "line_ns", median(ours, BENCH_ROUNDS));
    if (has_netdata) {
        stop_netdata(&netdata);
        bench_number(&bench, "netdata_line_ns", median(theirs, BENCH_ROUNDS));
        bench_limit(&bench, "ratio_to_netdata", median(ratios, BENCH_ROUNDS), 0.25);
    } else {
        bench_text(&bench, "netdata", "not installed: apt-get install netdata-core");
    }
    bench_limit(&bench, "bytes_per_series", bytes_per_series(), 13000);
    buf_fini(&lines);
    return bench_end(&bench);
}
