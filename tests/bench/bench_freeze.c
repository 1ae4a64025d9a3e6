/*
 * How long a scrape keeps the loop: 1,000 models, all of which change all the time, through the real
 * socket, loop and HTTP thread, with no scraper, one and two, and then with an export of metrics every
 * millisecond besides. The figure is the CPU time of the longest turn of the loop in 300 ms, so that
 * what other processes take does not count as ours.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uv.h>

#include "bench.h"
#include "bench_core.h"
#include "io/connection.h"
#include "io/handover.h"
#include "io/http.h"
#include "io/export/metric_exporter.h"
#include "io/system.h"
#include "render/otlp_resource.h"
#include "rows.h"

enum {
    MODELS = 1000,
    MS_A_PHASE = 300,
    SCRAPERS = 2,
    PHASES = SCRAPERS + 2,
    RESOURCE_MAX = 1 << 16
};

static const char *const names[PHASES] = {"with_0_scrapers", "with_1_scrapers", "with_2_scrapers",
                                          "with_2_scrapers_and_export"};

static struct self self;
static struct self of_export; /* which is gone before the HTTP thread is */
static struct route_context context = {.self = &self};

static uint64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* A child that sends samples of all models without end. */
static pid_t start_sender(int fd)
{
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    struct buf batch;
    struct buf frame;
    buf_init(&batch, ROWS_BUFFER_MAX);
    buf_init(&frame, ROWS_BUFFER_MAX);
    for (unsigned i = 0; i < MODELS; i++) {
        rows_sample(&batch, false, i, 10 * exp(0.5 * rows_normal()), 50, 512);
    }
    rows_frame(&frame, &batch);
    rows_write(fd, "DWL1", 4);
    for (;;) {
        rows_write(fd, frame.data, frame.len);
    }
}

/* A child that scrapes without end. */
static pid_t start_scraper(uint16_t port)
{
    static const char request[] =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static char answer[1 << 16];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    pid_t child = fork();
    if (child != 0) {
        return child;
    }
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
            _exit(1);
        }
        rows_write(fd, request, sizeof request - 1);
        while (read(fd, answer, sizeof answer) > 0) {
        }
        close(fd);
    }
}

struct longest {
    uv_prepare_t prepare;
    uint64_t last_ns;
    uint64_t worst_ns;
};

/* Before each poll: what the turn took. The poll itself costs little and is counted with it. */
static void on_prepare(uv_prepare_t *prepare)
{
    struct longest *turn = prepare->data;
    uint64_t now = thread_cpu_ns();
    uint64_t took = now - turn->last_ns;
    turn->worst_ns = took > turn->worst_ns ? took : turn->worst_ns;
    turn->last_ns = now;
}

static void on_time(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* The longest turn of a while, in ms of CPU. */
static double run_phase(uv_loop_t *loop, uv_timer_t *timer, struct longest *turn)
{
    turn->worst_ns = 0;
    uv_timer_start(timer, on_time, MS_A_PHASE, 0);
    turn->last_ns = thread_cpu_ns();
    uv_run(loop, UV_RUN_DEFAULT);
    return (double)turn->worst_ns / 1e6;
}

/* --- an export that costs nobody but us -------------------------------------------------------- */

static int open_nothing(const struct transport_target *target, struct transport_channel **ret)
{
    (void)target;
    *ret = (struct transport_channel *)(void *)&self; /* any address that is one */
    return 0;
}

static void take_all(struct transport_channel *channel, const char *method, struct str request,
                     uint64_t deadline_ns, struct transport_reply *ret_reply)
{
    (void)channel;
    (void)method;
    (void)request;
    (void)deadline_ns;
    *ret_reply = (struct transport_reply){.status = TRANSPORT_OK};
}

static void end_nothing(struct transport_channel *channel)
{
    (void)channel;
}

static const struct transport nowhere = {TRANSPORT_VERSION, open_nothing, take_all, end_nothing,
                                         end_nothing};

static struct metric_exporter *start_export(struct handover *handover)
{
    static const struct otlp_resource_options who = {.service_name = {"bench", 5}};
    static const struct transport_target target = {.address = ""};
    struct metric_exporter *exporter;
    struct buf resource;
    buf_init(&resource, RESOURCE_MAX);
    otlp_resource_render(&who, (struct str){NULL, 0}, &resource);
    struct otlp_metrics_options render = {.name_space = STR_LITERAL("acgs2"),
                                          .service_name = STR_LITERAL("bench"),
                                          .resource = {resource.data, resource.len},
                                          .dwelld_version = STR_LITERAL("1"),
                                          .max_request = OTLP_REQUEST_DEFAULT};
    struct metric_exporter_options options = {.transport = &nowhere,
                                              .target = &target,
                                              .address = "nowhere",
                                              .render = &render,
                                              .self = &of_export,
                                              .clock = system_clock(),
                                              .interval_ms = 1,
                                              .export_timeout_ms = 1000,
                                              .timeout_ms = 1000,
                                              .max_queue_bytes = 16 << 20};
    of_export = (struct self){0};
    if (metric_exporter_start(&options, handover, &exporter) != 0) {
        exit(1);
    }
    buf_fini(&resource);
    return exporter;
}

static void end_export(uv_loop_t *loop, struct metric_exporter *exporter)
{
    if (exporter != NULL) {
        metric_exporter_stop(exporter, 0);
        while (!metric_exporter_is_done(exporter)) {
            (void)uv_run(loop, UV_RUN_NOWAIT);
        }
        metric_exporter_close(exporter);
    }
}

int main(void)
{
    static const struct thresholds thresholds = {.latency_gpu_threshold_ms = 1,
                                                 .cpu_compute_threshold_percent = 50,
                                                 .cpu_io_threshold_percent = 20};
    struct bench bench;
    struct clock clock = system_clock();
    struct exposition_options how = {.name_space = STR_LITERAL("acgs2")};
    struct ingest_options limits = {.max_frame_bytes = 1 << 20,
                                    .max_line_bytes = 65536,
                                    .max_connections = 4,
                                    .senders = {.max_connections = 4, .max_bytes = 1 << 24}};
    uv_loop_t loop;
    uv_timer_t timer;
    struct longest turn = {.worst_ns = 0};
    struct ingest ingest;
    struct handover handover;
    struct http *http;
    struct ucred nobody = {0};
    int ends[2];
    double worst[PHASES][BENCH_ROUNDS];
    double most[PHASES] = {0};
    uint64_t scrapes[PHASES] = {0};
    pid_t scrapers[SCRAPERS] = {0, 0};
    bench_core_init();
    int listening = http_listen("127.0.0.1", 0, false);
    char *address = http_address(listening);
    uint16_t port = (uint16_t)strtoul(strrchr(address, ':') + 1, NULL, 10);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || uv_loop_init(&loop) != 0 ||
        ingest_init(&ingest, &loop, &intake, &limits, &clock) != 0 ||
        handover_start(&handover, &loop, &intake, &thresholds, &clock) != 0) {
        return 1;
    }
    pid_t sender = start_sender(ends[1]);
    context.exposition = exposition_new(&how);
    context.scratch = calloc(1, sizeof *context.scratch);
    context.clock = clock;
    struct http_options http_options = {
        .doors = {{.fd = listening}}, .door_count = 1, .max_connections = 16, .timeout_ms = 10000};
    if (connection_start(&ingest, ends[0], &nobody) != 0 ||
        http_start(&http_options, &handover, &context, &http) != 0) {
        return 1;
    }
    uv_timer_init(&loop, &timer);
    uv_prepare_init(&loop, &turn.prepare);
    turn.prepare.data = &turn;
    uv_prepare_start(&turn.prepare, on_prepare);
    for (int i = 0; i < SCRAPERS; i++) {
        scrapers[i] = start_scraper(port);
        kill(scrapers[i], SIGSTOP);
    }
    (void)run_phase(&loop, &timer, &turn); /* makes the models */
    for (int round = 0; round < BENCH_ROUNDS; round++) {
        for (int phase = 0; phase < PHASES; phase++) {
            bool exports = phase == PHASES - 1;
            struct metric_exporter *exporter = exports ? start_export(&handover) : NULL;
            if (phase > 0 && !exports) {
                kill(scrapers[phase - 1], SIGCONT);
            }
            uint64_t before = counters.snapshot.count;
            worst[phase][round] = run_phase(&loop, &timer, &turn);
            most[phase] = fmax(most[phase], worst[phase][round]);
            scrapes[phase] += counters.snapshot.count - before;
            end_export(&loop, exporter);
        }
        kill(scrapers[0], SIGSTOP);
        kill(scrapers[1], SIGSTOP);
    }
    kill(sender, SIGKILL);
    kill(scrapers[0], SIGKILL);
    kill(scrapers[1], SIGKILL);
    bench_begin(&bench, "freeze", BENCH_ROUNDS);
    bench_number(&bench, "models", MODELS);
    bench_number(&bench, "samples", (double)intake.accepted);
    for (int phase = 0; phase < PHASES; phase++) {
        char key[64];
        snprintf(key, sizeof key, "snapshots_%s", names[phase]);
        bench_number(&bench, key, (double)scrapes[phase]);
        snprintf(key, sizeof key, "worst_turn_%s_ms", names[phase]);
        bench_limit(&bench, key, median(worst[phase], BENCH_ROUNDS), 2);
        snprintf(key, sizeof key, "worst_of_all_%s_ms", names[phase]);
        bench_number(&bench, key, most[phase]);
    }
    return bench_end(&bench);
}
