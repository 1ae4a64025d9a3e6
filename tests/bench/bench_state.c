/*
 * What a restart takes with 10,000 series of state: until the daemon is ready, and of that the reading and
 * checking; what saving takes the loop and the writer; against a start without a state, and against copying
 * as many bytes.
 */
#include "bench.h"
#include "bench_core.h"
#include "bench_daemon.h"
#include "core/restore.h"
#include "render/state.h"
#include "wire/state.h"

enum {
    VALUES = 100000,
    SERIES = 10000,
    MODELS = 100,
    FAMILIES = 100,
    BODY_MAX = 1 << 28,
    READY_LIMIT_MS = 50
};

static char state_path[64];
static char state_setting[96];

/* --- in this process, by CPU time --------------------------------------------------------------- */

static void count_series(unsigned number)
{
    static const enum metric_op ops[] = {METRIC_COUNT, METRIC_OBSERVE, METRIC_SET};
    char name[64];
    char value[64];
    snprintf(name, sizeof name, "family_%u", number % FAMILIES);
    snprintf(value, sizeof value, "/v1/of/a/usual/length/%u", number);
    struct metric metric = {.name = str_of(name),
                            .op = ops[number % FAMILIES % 3],
                            .value = 1.5 * number,
                            .weight = 1,
                            .attribute_count = 2,
                            .attributes = {{STR_LITERAL("path"), str_of(value)},
                                           {STR_LITERAL("code"), STR_LITERAL("200")}}};
    for (unsigned i = 0; i < 20; i++) {
        metric.value *= 1.1;
        if (metrics_record(&metrics, &metric, NULL) != 0) {
            abort();
        }
    }
}

static void fill(void)
{
    for (unsigned i = 0; i < SERIES; i++) {
        count_series(i);
    }
    for (unsigned i = 0; i < MODELS * 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "model-%u", i % MODELS);
        struct sample sample = {.model_name = str_of(name),
                                .execution_time_ms = 0.5 + (double)(i * 7919 % 10000) / 100};
        if (registry_record(&registry, &sample) != 0) {
            abort();
        }
    }
}

static void fill_values(void)
{
    for (unsigned i = 0; i < VALUES; i++) {
        char value[32];
        snprintf(value, sizeof value, "user-%u", i);
        struct metric metric = {.name = STR_LITERAL("users"),
                                .op = METRIC_MEMBER,
                                .weight = 1,
                                .member = str_of(value)};
        if (metrics_record(&metrics, &metric, NULL) != 0) {
            abort();
        }
    }
}

struct figures {
    double freeze_us, render_ms, read_ms, bytes_per_series, copies;
};

static struct thresholds thresholds;

static void save_once(struct buf *body, struct figures *figures)
{
    struct snapshot *snapshot;
    struct beside *beside;
    size_t lasting;
    uint64_t began = cpu_ns();
    if (snapshot_take(&intake, &thresholds, began, began, &snapshot) != 0 ||
        beside_take(&intake, &beside) != 0) {
        abort();
    }
    figures->freeze_us = (double)(cpu_ns() - began) / 1e3;
    struct state_source source = {.snapshot = snapshot, .beside = beside};
    buf_clear(body);
    began = cpu_ns();
    if (state_render(&source, body, &lasting) != 0) {
        abort();
    }
    figures->render_ms = (double)(cpu_ns() - began) / 1e6;
    beside_free(beside);
    snapshot_release(snapshot, &registry);
    (void)limbo_sweep(&registry.limbo, SIZE_MAX);
}

/* Checking is reading for nobody. */
static void read_once(const struct buf *body, struct figures *figures)
{
    static const struct saved_sink nobody;
    static char *copy;
    uint64_t began = cpu_ns();
    if (state_read((struct str){body->data, body->len}, &nobody) != 0) {
        abort();
    }
    uint64_t read_ns = cpu_ns() - began;
    copy = copy == NULL ? malloc(body->len + 1) : copy;
    began = cpu_ns();
    memcpy(copy, body->data, body->len);
    bench_keep(copy);
    figures->read_ms = (double)read_ns / 1e6;
    figures->copies = (double)read_ns / (double)(cpu_ns() - began + 1);
    figures->bytes_per_series = (double)body->len / SERIES;
}

/* --- the daemon -------------------------------------------------------------------------------- */

static void send_all(void)
{
    static char line[1 << 16];
    int fd = bench_connect("ingest.sock");
    for (unsigned i = 0; i < SERIES; i++) {
        static const char *const types[] = {"counter", "histogram", "gauge"};
        int len = snprintf(line, sizeof line,
                           "{\"type\":\"%s\",\"name\":\"family_%u\",\"value\":%u.5,\"attributes\":"
                           "{\"path\":\"/v1/of/a/usual/length/%u\",\"code\":\"200\"}}\n",
                           types[i % FAMILIES % 3], i % FAMILIES, i, i);
        if (write(fd, line, (size_t)len) != len) {
            exit(1);
        }
    }
    shutdown(fd, SHUT_WR);
    while (read(fd, line, sizeof line) > 0) {
    }
    close(fd);
}

/* Series of clients' metrics that the daemon has; its answer is too long for bench_metrics. */
static double count_series_there(void)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\n\r\n";
    static char text[1 << 25];
    size_t len = 0;
    ssize_t got = 1;
    int fd = bench_connect("query.sock");
    if (write(fd, request, sizeof request - 1) != sizeof request - 1) {
        exit(1);
    }
    while (got > 0 && len < sizeof text - 1) {
        got = read(fd, text + len, sizeof text - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    text[len] = '\0';
    return bench_sum(text, "dwelld_metric_series ");
}

/* From exec until it answers, and the CPU time of it. */
static double start_ms(const char *const *settings, pid_t *ret_child, double *ret_cpu_ms)
{
    uint64_t began = now_ns();
    *ret_child = bench_start_daemon_with(settings);
    double ms = (double)(now_ns() - began) / 1e6;
    *ret_cpu_ms = (double)bench_process_cpu_ns(*ret_child) / 1e6;
    return ms;
}

struct starts {
    double with[BENCH_ROUNDS], without[BENCH_ROUNDS];
    double cpu_with[BENCH_ROUNDS], cpu_without[BENCH_ROUNDS];
};

static void time_starts(struct starts *starts)
{
    const char *const stateful[] = {state_setting, NULL};
    const char *const plain[] = {NULL};
    pid_t child;
    double cpu_ms;
    (void)start_ms(stateful, &child, &cpu_ms);
    send_all();
    bench_stop_daemon(child);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        starts->without[round] = start_ms(plain, &child, &starts->cpu_without[round]);
        bench_stop_daemon(child);
        starts->with[round] = start_ms(stateful, &child, &starts->cpu_with[round]);
        if (round == 0 && count_series_there() < SERIES) {
            fprintf(stderr, "bench_state: the series did not come back\n");
            exit(1);
        }
        bench_stop_daemon(child);
    }
}

int main(void)
{
    struct bench bench;
    struct buf body;
    static struct starts starts;
    double freeze[BENCH_ROUNDS], render[BENCH_ROUNDS], reading[BENCH_ROUNDS], copies[BENCH_ROUNDS];
    struct figures figures = {0};
    snprintf(state_path, sizeof state_path, "/tmp/dwell-bench-%d-state", (int)getpid());
    snprintf(state_setting, sizeof state_setting, "state.file=%s", state_path);
    bench_core_init();
    fill();
    buf_init(&body, BODY_MAX);
    bench_begin(&bench, "state", BENCH_ROUNDS);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        save_once(&body, &figures);
        read_once(&body, &figures);
        freeze[round] = figures.freeze_us;
        render[round] = figures.render_ms;
        reading[round] = figures.read_ms;
        copies[round] = figures.copies;
    }
    double bytes_per_series = figures.bytes_per_series;
    double freeze_values[BENCH_ROUNDS];
    fill_values();
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        save_once(&body, &figures);
        freeze_values[round] = figures.freeze_us;
    }
    time_starts(&starts);
    bench_number(&bench, "series", SERIES);
    bench_number(&bench, "models", MODELS);
    bench_number(&bench, "bytes_per_series", bytes_per_series);
    bench_number(&bench, "freeze_us", median(freeze, BENCH_ROUNDS));
    bench_number(&bench, "set_values", VALUES);
    bench_number(&bench, "freeze_with_values_us", median(freeze_values, BENCH_ROUNDS));
    bench_number(&bench, "render_ms", median(render, BENCH_ROUNDS));
    bench_number(&bench, "check_ms", median(reading, BENCH_ROUNDS));
    bench_number(&bench, "check_to_copy_ratio", median(copies, BENCH_ROUNDS));
    double with = median(starts.with, BENCH_ROUNDS);
    double without = median(starts.without, BENCH_ROUNDS);
    bench_number(&bench, "ready_without_state_ms", without);
    bench_number(&bench, "ready_with_state_ms", with);
    bench_number(&bench, "ready_ratio", with / without);
    bench_number(&bench, "ready_without_state_cpu_ms", median(starts.cpu_without, BENCH_ROUNDS));
    bench_number(&bench, "ready_with_state_cpu_ms", median(starts.cpu_with, BENCH_ROUNDS));
    /* Sorted by median: the least, to which others on the machine have added the least. */
    bench_limit(&bench, "ready_ms", starts.with[0], READY_LIMIT_MS);
    char path[80];
    unlink(state_path);
    snprintf(path, sizeof path, "%s.lock", state_path);
    unlink(path);
    buf_fini(&body);
    return bench_end(&bench);
}
