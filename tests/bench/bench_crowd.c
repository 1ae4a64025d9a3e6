/*
 * How long a good client's record takes until a scrape shows it, alone and in a crowd of connections of
 * which some are slow (a byte now and then of a line that never ends) and some flood.
 *
 *     bench_crowd [CONNECTIONS [SLOW [FLOODS [PROBES]]]]         5000 1000 100 2000
 *
 *     before    the good client alone                 p99 of its delays
 *     crowd     everybody, on a daemon of their own    p99, and what was read of the floods meanwhile
 *     after     the good client alone again            the p99 of before and after is what is compared with
 *
 * A delay goes from before the record is written to the end of the answer that shows it: a connection to
 * query.sock, a snapshot, /metrics as a whole. Floods come from FLOOD_PROCESSES processes, which send as
 * fast as they are read and take no CPU that anybody else wants. All the same daemon, crowd and client
 * share the machine: where the CPUs are few, a part of the difference is theirs and not the daemon's.
 */
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>

#include "bench.h"
#include "bench_daemon.h"

enum {
    CONNECTIONS = 5000,
    SLOW = 1000,
    FLOODS = 100,
    PROBES = 2000,
    PROBES_MAX = 100000,
    FLOOD_PROCESSES = 4,
    PROBE_GAP_US = 3000,
    SLOW_ROUND_US = 50000, /* a byte for each slow one: 20 bytes a second, */
    SLOW_STEPS = 50,       /* and as many of them at once as those who know nothing of each other */
    FLOOD_BYTES = 65536,
    OWN_DESCRIPTORS = 600, /* of the daemon beside connections; the bench needs fewer */
};

/* Of p99, crowd to alone. */
#define RATIO_LIMIT 3

static const char good_line[] = "{\"model_name\":\"good\",\"execution_time_ms\":1}\n";

static void must_write(int fd, const char *bytes, size_t len)
{
    if (write(fd, bytes, len) != (ssize_t)len) {
        perror("bench_crowd: write");
        exit(1);
    }
}

/* --- the crowd --------------------------------------------------------------------------------- */

static int *open_connections(unsigned count)
{
    int *fds = calloc(count + 1, sizeof *fds);
    for (unsigned i = 0; i < count; i++) {
        fds[i] = bench_connect("ingest.sock");
        if (fds[i] < 0) {
            _exit(1);
        }
    }
    return fds;
}

/* A child that ends with the bench; the parent gets its pid. */
static pid_t start_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return child;
}

static pid_t start_idle(unsigned count)
{
    pid_t child = start_child();
    if (child == 0) {
        int *fds = open_connections(count);
        for (unsigned i = 0; i < count; i++) {
            must_write(fds[i], good_line, 5);
        }
        for (;;) {
            pause();
        }
    }
    return child;
}

static pid_t start_slow(unsigned count)
{
    pid_t child = start_child();
    if (child == 0) {
        int *fds = open_connections(count);
        for (size_t at = 0;; at++) {
            for (unsigned i = 0; i < count; i++) {
                must_write(fds[i], at == 0 ? "{" : " ", 1);
                if (i % (count / SLOW_STEPS + 1) == 0) {
                    usleep(SLOW_ROUND_US / SLOW_STEPS);
                }
            }
        }
    }
    return child;
}

static size_t make_flood(char *bytes, size_t room)
{
    size_t len = 0;
    int wrote = 0;
    for (unsigned i = 0; len + (size_t)wrote < room; i++) {
        len += (size_t)wrote;
        wrote = snprintf(bytes + len, room - len,
                         "{\"model_name\":\"flood-%u\",\"execution_time_ms\":%u.5}\n", i % 8, i);
    }
    return len;
}

/* Writes wherever there is room, a piece at a time. It does so when nobody else wants its CPU: it is to
 * take the daemon's time, as much of it as it is given, and not that of who looks at the daemon. */
static pid_t start_floods(unsigned count)
{
    static char bytes[FLOOD_BYTES];
    pid_t child = start_child();
    if (child != 0) {
        return child;
    }
    const struct sched_param none = {0};
    if (sched_setscheduler(0, SCHED_IDLE, &none) != 0) {
        _exit(1);
    }
    size_t len = make_flood(bytes, sizeof bytes);
    int *fds = open_connections(count);
    struct pollfd *polls = calloc(count + 1, sizeof *polls);
    size_t *sent = calloc(count + 1, sizeof *sent);
    for (unsigned i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLOUT};
    }
    while (poll(polls, count, -1) >= 0) {
        for (unsigned i = 0; i < count; i++) {
            ssize_t wrote = polls[i].revents == 0 ? 0
                                                  : send(fds[i], bytes + sent[i], len - sent[i],
                                                         MSG_DONTWAIT | MSG_NOSIGNAL);
            sent[i] = (sent[i] + (wrote > 0 ? (size_t)wrote : 0)) % len;
        }
    }
    _exit(1);
}

/* --- the good client --------------------------------------------------------------------------- */

static unsigned good_records;

/* Nanoseconds until a scrape shows one more record. */
static double probe(int fd)
{
    uint64_t began = now_ns();
    must_write(fd, good_line, sizeof good_line - 1);
    good_records++;
    double seen = 0;
    while (seen < good_records) {
        const char *metrics = bench_metrics();
        static const char series[] = "acgs2_model_inference_total{model_name=\"good\"}";
        seen = strstr(metrics, series) == NULL ? 0 : bench_sum(metrics, series);
    }
    return (double)(now_ns() - began);
}

static void probe_all(double *delays, unsigned count)
{
    int fd = bench_connect("ingest.sock");
    good_records = 0;
    (void)probe(fd); /* makes the model */
    for (unsigned i = 0; i < count; i++) {
        usleep(PROBE_GAP_US);
        delays[i] = probe(fd);
    }
    close(fd);
}

static double quantile_ms(double *delays, unsigned count, double q)
{
    qsort(delays, count, sizeof *delays, bench_compare);
    return delays[(size_t)(q * (count - 1))] / 1e6;
}

/* --- phases ------------------------------------------------------------------------------------ */

static void probe_alone(double *delays, unsigned count)
{
    pid_t daemon = bench_start_daemon(NULL);
    probe_all(delays, count);
    bench_stop_daemon(daemon);
}

struct crowd {
    unsigned connections, slow, floods;
    double flood_mb_a_second;
    double connected; /* as the daemon counts them */
    double lag_max_ms;
};

static void wait_for_connections(unsigned count)
{
    uint64_t until = now_ns() + 60 * UINT64_C(1000000000);
    while (bench_sum(bench_metrics(), "dwelld_connections ") < count) {
        if (now_ns() > until) {
            fprintf(stderr, "bench_crowd: not all connections came to be\n");
            exit(1);
        }
        usleep(10000);
    }
}

static void probe_in_crowd(struct crowd *crowd, double *delays, unsigned count)
{
    char all[64];
    char each[64];
    pid_t children[FLOOD_PROCESSES + 2];
    unsigned child_count = 0;
    snprintf(all, sizeof all, "ingest.max_connections=%u", crowd->connections + 1);
    snprintf(each, sizeof each, "ingest.max_peer_connections=%u", crowd->connections + 1);
    const char *const settings[] = {all, each, NULL};
    pid_t daemon = bench_start_daemon_with(settings);
    children[child_count++] = start_idle(crowd->connections - crowd->slow - crowd->floods);
    children[child_count++] = start_slow(crowd->slow);
    for (unsigned i = 0; i < FLOOD_PROCESSES; i++) {
        unsigned share = crowd->floods / FLOOD_PROCESSES;
        unsigned rest = crowd->floods % FLOOD_PROCESSES;
        children[child_count++] = start_floods(share + (i < rest));
    }
    wait_for_connections(crowd->connections);
    double before = bench_sum(bench_metrics(), "dwelld_received_bytes_total ");
    uint64_t began = now_ns();
    probe_all(delays, count);
    double seconds = (double)(now_ns() - began) / 1e9;
    const char *metrics = bench_metrics();
    crowd->flood_mb_a_second =
        (bench_sum(metrics, "dwelld_received_bytes_total ") - before) / seconds / 1e6;
    crowd->connected = bench_sum(metrics, "dwelld_connections ");
    crowd->lag_max_ms = bench_sum(metrics, "dwelld_loop_lag_max_seconds ") * 1e3;
    for (unsigned i = 0; i < child_count; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    bench_stop_daemon(daemon);
}

static unsigned number(char **argv, int argc, int at, unsigned otherwise)
{
    return argc > at ? (unsigned)strtoul(argv[at], NULL, 10) : otherwise;
}

/* As many as may be open. */
static unsigned fit(unsigned connections)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_max < connections + OWN_DESCRIPTORS) {
            return (unsigned)limit.rlim_max - OWN_DESCRIPTORS;
        }
    }
    return connections;
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct crowd crowd = {.connections = fit(number(argv, argc, 1, CONNECTIONS)),
                          .slow = number(argv, argc, 2, SLOW),
                          .floods = number(argv, argc, 3, FLOODS)};
    unsigned probes = number(argv, argc, 4, PROBES);
    static double alone[PROBES_MAX];
    static double crowded[PROBES_MAX];
    if (crowd.connections < crowd.slow + crowd.floods || probes < 2 || probes > PROBES_MAX) {
        fprintf(stderr, "bench_crowd [CONNECTIONS [SLOW [FLOODS [PROBES]]]]\n");
        return 64;
    }
    probe_alone(alone, probes / 2);
    probe_in_crowd(&crowd, crowded, probes);
    probe_alone(alone + probes / 2, probes - probes / 2);
    bench_begin(&bench, "crowd", 1);
    bench_number(&bench, "connections", crowd.connected);
    bench_number(&bench, "slow", crowd.slow);
    bench_number(&bench, "floods", crowd.floods);
    bench_number(&bench, "probes", probes);
    bench_number(&bench, "flood_mb_a_second", crowd.flood_mb_a_second);
    bench_number(&bench, "lag_max_ms", crowd.lag_max_ms);
    bench_number(&bench, "alone_p50_ms", quantile_ms(alone, probes, 0.5));
    bench_number(&bench, "alone_p99_ms", quantile_ms(alone, probes, 0.99));
    bench_number(&bench, "crowd_p50_ms", quantile_ms(crowded, probes, 0.5));
    bench_number(&bench, "crowd_p99_ms", quantile_ms(crowded, probes, 0.99));
    bench_least(&bench, "connections_kept", crowd.connected, crowd.connections);
    bench_limit(&bench, "p99_ratio",
                quantile_ms(crowded, probes, 0.99) / quantile_ms(alone, probes, 0.99), RATIO_LIMIT);
    return bench_end(&bench);
}
