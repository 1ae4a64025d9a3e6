/*
 * dwelld: connects the parts.
 *
 * Happy path
 *   1. command line, configuration and declared families (all problems at once), log; the state of an
 *      earlier life is read and checked
 *   2. directory and its sockets, the HTTP address, as far as the service manager has not handed them
 *      over: whatever cannot be had ends the start
 *   3. registry, ledger, intake, which go on from that state; the loop with its sockets; the sandbox,
 *      which all threads but the probe's start in (io/sandbox); exports; the HTTP thread
 *   4. one line says where everything is; the loop runs
 *   5. SIGTERM or SIGINT: no new connections, what has come is read and answered, connections end,
 *      then what waits for export goes out, all within shutdown.timeout_ms, or at once on a second
 *      signal; meanwhile the state is saved; until then /readyz says that the daemon ends; HTTP ends;
 *      exit 0
 *
 * Exit status (sysexits.h): 0, 64 usage, 69 something needed is in use, 73 a socket cannot be made,
 * 78 configuration.
 */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf.h"
#include "conf_families.h"
#include "core/intake.h"
#include "io/configuration.h"
#include "io/connection.h"
#include "io/datagrams.h"
#include "io/directory.h"
#include "io/handover.h"
#include "io/http.h"
#include "io/journald.h"
#include "io/inherited.h"
#include "io/kept.h"
#include "io/lag.h"
#include "io/listener.h"
#include "io/log_output.h"
#include "io/notify.h"
#include "io/probe/probe.h"
#include "io/sandbox.h"
#include "io/export/span_export.h"
#include "io/pulse.h"
#include "io/system.h"
#include "io/watcher.h"
#include "main_apply.h"
#include "main_exporter.h"
#include "main_families.h"
#include "main_journal.h"
#include "main_sandbox.h"
#include "main_state.h"
#include "main_options.h"

enum {
    TEXT_MAX_BYTES = 1 << 20,
    SIGNALS = 3,
    TRIM_BYTES = 8 << 20,
    DRAIN_CHECK_MS = 10,
    CLOSE_SHARE =
        20, /* of the shutdown's time, one part is kept for closing after the last export */
    HTTP_DOORS = 3,
    RESOURCE_MAX = 4 + CONF_PAIRS_MAX,
    /* Of the daemon itself: 21, with both exports and a journal 30, what is open for a moment, and who is
     * refused. */
    OWN_DESCRIPTORS = 32 + HTTP_DOORS * HTTP_REFUSALS_MAX,
    THREAD_DESCRIPTORS = 2, /* of the probe, for each thread that it watches */
};

static const int handled_signals[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

struct dwelld {
    struct conf conf;
    struct conf_families families;
    struct conf_command command;
    struct clock clock;
    struct inherited inherited;
    struct directory directory;
    int http_fd; /* until the HTTP server takes it */
    char *http_address;
    struct registry registry;
    struct metrics metrics;
    struct spans spans;
    struct budgets budgets;
    struct judge judge;
    struct processes processes;
    struct ledger ledger;
    struct counters counters;
    struct intake intake;
    uv_loop_t loop;
    struct ingest ingest;
    struct journal journal; /* in use where ingest.journal says so */
    struct listener listener;
    struct datagrams datagrams;
    struct handover handover;
    struct watcher watcher;
    struct witness witness;
    struct probe probe;
    struct sandbox sandbox;
    struct lag lag;
    struct notify notify;
    struct pulse pulse;
    struct http *http;
    struct exporter *exporter;               /* NULL: no traces are exported */
    struct metric_exporter *metric_exporter; /* NULL: no metrics are exported */
    struct span_export span_export;
    struct main_state state;
    struct process own; /* this one, which is not watched: what it says of itself ends with it */
    uint64_t hash_seed; /* random for each process, against flooding of tables */
    struct otlp_resource_options resource;
    struct label attributes[CONF_PAIRS_MAX]; /* service.attributes, as the exporter has them */
    struct self self;
    struct route_context context;
    struct json_process process; /* as others see it */
    /* Ceilings; that of HTTP is for each door. */
    unsigned ingest_connections, http_connections, watched_processes;
    bool has_room_to_probe;
    struct json_path sockets[PLACE_COUNT];
    struct json_path confinement[SANDBOX_FACT_COUNT];
    uv_signal_t signals[SIGNALS];
    struct reload reload;
    uv_timer_t drain_timer;
    uint64_t deadline_ns; /* of the shutdown */
    bool stopping;
};

/* --- configuration ----------------------------------------------------------------------------- */

static void print(FILE *stream, struct buf *text)
{
    if (text->len > 0) {
        (void)fwrite(text->data, 1, text->len, stream); /* nowhere to tell that it failed */
        (void)fflush(stream);
    }
    buf_clear(text);
}

/* What can be said without starting. Returns an exit status, or -1: go on. */
static int act(struct dwelld *dwelld)
{
    struct buf text;
    buf_init(&text, TEXT_MAX_BYTES);
    int status = 0;
    switch (dwelld->command.action) {
    case CONF_ACTION_HELP:
        conf_render_help(&text);
        break;
    case CONF_ACTION_VERSION:
        buf_puts(&text, "dwelld " DWELL_VERSION "\n");
        break;
    case CONF_ACTION_TABLE:
        conf_render_table(&text);
        break;
    case CONF_ACTION_PRINT:
        conf_render_json(&text, &dwelld->conf);
        break;
    case CONF_ACTION_CHECK:
        buf_puts(&text, "The configuration is good.\n");
        break;
    case CONF_ACTION_RUN:
        status = -1;
        break;
    }
    print(stdout, &text);
    buf_fini(&text);
    return status;
}

static bool needs_conf(enum conf_action action)
{
    return action == CONF_ACTION_RUN || action == CONF_ACTION_CHECK || action == CONF_ACTION_PRINT;
}

static int read_conf(struct dwelld *dwelld, int argc, char **argv)
{
    struct buf errors;
    struct buf warnings;
    int status = 0;
    buf_init(&errors, CONF_ERRORS_MAX_BYTES);
    buf_init(&warnings, CONF_ERRORS_MAX_BYTES);
    if (conf_parse_command(&dwelld->command, argc, argv, &errors) != 0) {
        buf_puts(&errors, "Try: dwelld --help\n");
        status = EX_USAGE;
    } else if (needs_conf(dwelld->command.action) &&
               configuration_read(&dwelld->command, &dwelld->conf, &dwelld->families, &errors,
                                  &warnings) != 0) {
        status = EX_CONFIG;
    }
    print(stderr, &errors);
    if (status == 0 && needs_conf(dwelld->command.action)) {
        log_init(&(struct log_options){.fd = STDERR_FILENO,
                                       .output = log_output,
                                       .has_journal = true,
                                       .journal_fd = journald_open(JOURNAL_SOCKET),
                                       .is_journal =
                                           journald_has(getenv("JOURNAL_STREAM"), STDERR_FILENO),
                                       .level = (enum log_level)dwelld->conf.log.level,
                                       .format = (enum log_format)dwelld->conf.log.format,
                                       .hash = dwelld->conf.service.constitutional_hash,
                                       .clock = dwelld->clock});
        main_log_lines(LOG_LEVEL_WARNING, &warnings);
    }
    buf_fini(&errors);
    buf_fini(&warnings);
    return status;
}

/* --- start ------------------------------------------------------------------------------------- */

static int open_directory(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct buf problem;
    buf_init(&problem, TEXT_MAX_BYTES);
    char *path = directory_find(conf->ingest.directory, environ);
    int status = EX_CANTCREAT;
    if (path != NULL) {
        struct directory_options options = {path, conf->ingest.mode, conf->ingest.group,
                                            dwelld->inherited.sockets};
        status = directory_open(&dwelld->directory, &options, &problem);
    }
    if (status != 0) {
        log_error("%.*s", (int)problem.len, problem.len == 0 ? "" : problem.data);
    }
    buf_fini(&problem);
    mem_free(path);
    return status;
}

static int open_http(struct dwelld *dwelld)
{
    const struct conf_address *address = &dwelld->conf.http.listen;
    dwelld->http_fd = inherited_take_http(&dwelld->inherited, address->host, address->port,
                                          address->is_ipv6, &dwelld->notify);
    if (dwelld->http_fd < 0) {
        dwelld->http_fd = http_listen(address->host, address->port, address->is_ipv6);
    }
    if (dwelld->http_fd < 0) {
        log_error("http.listen: cannot listen on %s port %u: %s%s", address->host,
                  (unsigned)address->port, strerror(errno),
                  errno == EADDRINUSE ? "; choose another, or port 0 for any" : "");
        return EX_UNAVAILABLE;
    }
    dwelld->http_address = http_address(dwelld->http_fd);
    return dwelld->http_address == NULL ? EX_UNAVAILABLE : 0;
}

/* The service says who it is by a record as any other: <namespace>_service_info. */
static int say_service(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    char start[sizeof "2026-01-01T00:00:00+00:00"];
    struct tm utc;
    time_t seconds = (time_t)(dwelld->clock.wall_ns(NULL) / NS_PER_SECOND);
    (void)gmtime_r(&seconds, &utc); /* fails for years past 2^31, which nanoseconds do not reach */
    (void)strftime(start, sizeof start, "%Y-%m-%dT%H:%M:%S+00:00", &utc);
    struct buf name;
    buf_init(&name, RECORD_NAME_MAX);
    buf_puts(&name, conf->metrics.name_space);
    buf_puts(&name, conf->metrics.name_space[0] == '\0' ? "service" : "_service");
    struct metric info = {.op = METRIC_INFO,
                          .weight = 1,
                          .attribute_count = 4,
                          .attributes = {{STR_LITERAL("service_name"), str_of(conf->service.name)},
                                         {STR_LITERAL("version"), str_of(conf->service.version)},
                                         {STR_LITERAL("constitutional_hash"),
                                          str_of(conf->service.constitutional_hash)},
                                         {STR_LITERAL("start_time"), str_of(start)}}};
    info.name = (struct str){name.data, name.len};
    int err = name.err != 0 ? name.err : metrics_record(&dwelld->metrics, &info, &dwelld->own);
    buf_fini(&name);
    return err;
}

/* Our own first: whoever declares one of such a name, or says something else by it, is told. */
static int declare_families(struct dwelld *dwelld)
{
    struct str own = {NULL, 0};
    const char *name = "";
    int err = spans_declare(&dwelld->spans, &own);
    if (err == 0) {
        err = budgets_declare(&dwelld->budgets, &own);
    }
    if (err == 0) {
        err = families_declare(&dwelld->metrics, &dwelld->families, &name);
        own.len = 0;
    }
    if (err != 0) {
        log_error("the metric family %.*s%s cannot be declared: %s", (int)own.len,
                  own.len > 0 ? own.ptr : "", name, err_sentence(err));
    }
    return err;
}

static void init_spans(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct spans_options options = {.name_space = str_of(conf->metrics.name_space),
                                    .max_open = (uint32_t)conf->ingest.max_open_spans,
                                    .max_open_bytes = conf->ingest.max_open_span_bytes,
                                    .sampler = options_sampler(conf)};
    options.sampler.hash_seed = dwelld->hash_seed;
    spans_init(&dwelld->spans, &options, &dwelld->registry, &dwelld->metrics);
}

static int init_budgets(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct budget_option layers[BUDGETS_CONFIGURED_MAX];
    struct budgets_options options = options_budgets(conf, layers);
    options.hash_seed = dwelld->hash_seed;
    return budgets_init(&dwelld->budgets, &options, &dwelld->registry, &dwelld->metrics);
}

static int make_state(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    if (system_random(&dwelld->hash_seed) != 0 || system_random(&dwelld->process.instance) != 0) {
        return ERR_SYSTEM;
    }
    uint64_t seed = dwelld->hash_seed;
    struct registry_options options = {.window_ns = conf->profiling.window_seconds * NS_PER_SECOND,
                                       .max_samples = conf->profiling.max_samples,
                                       .max_models = (uint32_t)conf->profiling.max_models,
                                       .hash_seed = seed};
    for (size_t i = 0; i < conf->profiling.label_keys.count; i++) {
        options.label_keys[options.label_key_count++] = str_of(conf->profiling.label_keys.texts[i]);
    }
    struct metrics_options metrics = {.max_series = (uint32_t)conf->metrics.max_series,
                                      .max_series_per_family =
                                          (uint32_t)conf->metrics.max_series_per_family,
                                      .max_label_bytes = (uint32_t)conf->metrics.max_label_bytes,
                                      .name_space = str_of(conf->metrics.name_space),
                                      .window_ns = options.window_ns,
                                      .max_set_values = conf->metrics.max_set_values,
                                      .hash_seed = seed};
    options.max_models_per_maker = (uint32_t)conf->profiling.max_models_per_peer;
    metrics.max_series_per_maker = (uint32_t)conf->metrics.max_series_per_peer;
    int err = registry_init(&dwelld->registry, &options);
    if (err == 0) {
        err = metrics_init(&dwelld->metrics, &metrics, &dwelld->registry.limbo);
    }
    if (err == 0) {
        err = ledger_init(&dwelld->ledger, seed);
    }
    if (err == 0) {
        err = witness_init(&dwelld->witness, (uint32_t)conf->profiling.max_watched_threads);
    }
    init_spans(dwelld);
    if (err == 0) {
        err = init_budgets(dwelld);
    }
    bool judges = conf->profiling.classifier == CONF_CLASSIFIER_EVIDENCE;
    bool probes = conf->profiling.probe != CONF_OFF;
    judge_init(&dwelld->judge, &dwelld->registry, &dwelld->witness,
               probes ? &dwelld->probe.machine : &machine_unknown,
               conf->profiling.round_ms * NS_PER_MS);
    dwelld->intake =
        (struct intake){.registry = &dwelld->registry,
                        .metrics = &dwelld->metrics,
                        .spans = &dwelld->spans,
                        .budgets = &dwelld->budgets,
                        .judge = judges ? &dwelld->judge : NULL,
                        .processes = &dwelld->processes,
                        .ledger = &dwelld->ledger,
                        .counters = &dwelld->counters,
                        .constitutional_hash = str_of(conf->service.constitutional_hash),
                        .enforce_hash = conf->service.enforce_hash};
    if (err == 0) {
        metrics_set_time(&dwelld->metrics, dwelld->clock.mono_ns(NULL),
                         dwelld->clock.wall_ns(NULL));
        registry_set_time(&dwelld->registry, dwelld->clock.mono_ns(NULL),
                          dwelld->clock.wall_ns(NULL));
        err = declare_families(dwelld);
    }
    if (err == 0) {
        err = main_state_apply(&dwelld->state, &dwelld->intake, &dwelld->self);
    }
    return err == 0 ? say_service(dwelld) : err;
}

/* Of the probe: a directory of each process, the files of each thread. */
static uint64_t probe_descriptors(const struct conf *conf)
{
    return conf->profiling.probe == CONF_OFF
               ? 0
               : WITNESS_PROCESSES_MAX + THREAD_DESCRIPTORS * conf->profiling.max_watched_threads;
}

static uint64_t clamp(uint64_t number, uint64_t most)
{
    return number == 0 ? 1 : number < most ? number : most;
}

/* Finds descriptors for all connections that there may be. Where the system grants fewer, each side
 * gets a share of what there is, and who comes past it is refused as at any ceiling. Running out
 * instead would leave the HTTP server spinning on a socket that it cannot accept from. */
static void fit_connections(struct dwelld *dwelld)
{
    uint64_t ingest = dwelld->conf.ingest.max_connections;
    uint64_t http = dwelld->conf.http.max_connections;
    uint64_t own = OWN_DESCRIPTORS;
    uint64_t needed = own + probe_descriptors(&dwelld->conf) + ingest + HTTP_DOORS * http;
    uint64_t granted = system_raise_descriptors(needed + ingest); /* and a process for each */
    if (granted < needed) {
        uint64_t rest = granted > own ? granted - own : 0;
        http = clamp(rest / 4 / HTTP_DOORS, http);
        uint64_t of_http = HTTP_DOORS * http;
        ingest = clamp(rest > of_http ? rest - of_http : 0, ingest);
        log_warning("only %llu descriptors may be open: ingest.max_connections is taken as %llu, "
                    "http.max_connections as %llu; allow %llu (ulimit -n, LimitNOFILE=)",
                    (unsigned long long)granted, (unsigned long long)ingest,
                    (unsigned long long)http, (unsigned long long)needed);
    }
    dwelld->process.descriptors_limit = granted;
    dwelld->process.descriptors_wanted = needed;
    dwelld->ingest_connections = (unsigned)ingest;
    dwelld->http_connections = (unsigned)http;
    dwelld->has_room_to_probe = granted >= needed; /* connections come first */
    dwelld->watched_processes = granted < needed ? 0 : (unsigned)(granted - needed);
}

static struct ingest_options ingest_options(const struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct ingest_options options = {
        .max_frame_bytes = conf->ingest.max_frame_bytes,
        .max_line_bytes = conf->ingest.max_line_bytes,
        .max_connections = dwelld->ingest_connections,
        .idle_timeout_ms = conf->ingest.idle_timeout_ms,
        .senders = {.max_connections = conf->ingest.max_peer_connections,
                    .max_bytes = conf->ingest.max_peer_bytes,
                    .max_records_a_second = conf->ingest.max_peer_records_per_second},
        .access = {conf->ingest.allowed_uids.ids, conf->ingest.allowed_uids.count,
                   conf->ingest.allowed_gids.ids, conf->ingest.allowed_gids.count}};
    _Static_assert((int)CONF_ANSWERS_BYTES == (int)INGEST_REPLIES_MAX_BYTES, "one and the same");
    _Static_assert((int)CONF_STATSD_SAMPLES_MAX <= (int)STATSD_SAMPLES_MAX,
                   "there is room for the names");
    for (size_t i = 0; i < conf->ingest.statsd_samples.count; i++) {
        statsd_samples_add(&options.statsd_samples, str_of(conf->ingest.statsd_samples.texts[i]));
    }
    return options;
}

static int start_ingest(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct ingest_options options = ingest_options(dwelld);
    struct thresholds thresholds = options_thresholds(conf);
    lag_start(&dwelld->lag, &dwelld->loop, &dwelld->counters.loop_lag);
    watcher_start(&dwelld->watcher, &dwelld->loop, &dwelld->intake, dwelld->watched_processes,
                  &dwelld->clock);
    struct journal *journal;
    int err =
        main_journal_start(conf, main_state_journal_position(&dwelld->state), &dwelld->intake,
                           &options, &dwelld->loop, &dwelld->clock, &dwelld->journal, &journal);
    if (err == 0) {
        err =
            ingest_init(&dwelld->ingest, &dwelld->loop, &dwelld->intake, &options, &dwelld->clock);
        dwelld->ingest.journal = journal;
    }
    if (err == 0) {
        err = listener_start(&dwelld->listener, &dwelld->ingest,
                             directory_steal_fd(&dwelld->directory, PLACE_STREAM));
    }
    if (err == 0) {
        err = datagrams_start(&dwelld->datagrams, &dwelld->ingest,
                              directory_steal_fd(&dwelld->directory, PLACE_DATAGRAM));
    }
    if (err == 0) {
        err = handover_start(&dwelld->handover, &dwelld->loop, &dwelld->intake, &thresholds,
                             &dwelld->clock);
    }
    return err;
}

/* Nothing but a timer, and perhaps a thread that waits, until a process sends evidence. */
static int start_probe(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct probe_options options = {.roots = proc_roots_real,
                                    .clock = dwelld->clock,
                                    .max_threads = (uint32_t)conf->profiling.max_watched_threads,
                                    .touches = conf->profiling.touch_probe != CONF_OFF,
                                    .touch_max_bytes =
                                        (double)conf->profiling.touch_probe_max_mb * 1024 * 1024,
                                    .enter = sandbox_enter_probe,
                                    .enter_ctx = &dwelld->sandbox,
                                    .starts_first = sandbox_wants_probe_first(&dwelld->sandbox)};
    return probe_start(&dwelld->probe, &dwelld->loop, &dwelld->witness, &dwelld->counters,
                       &options);
}

/* The sandbox, and the probe, whose thread is to begin in the middle of it. */
static int confine(struct dwelld *dwelld)
{
    bool probes = dwelld->conf.profiling.probe != CONF_OFF && dwelld->has_room_to_probe;
    int err = main_sandbox_begin(&dwelld->sandbox, &dwelld->conf, probes);
    if (err == 0 && probes) {
        err = start_probe(dwelld);
    }
    if (err == 0) {
        err = main_sandbox_finish(&dwelld->sandbox, &dwelld->conf, dwelld->command.file_name,
                                  dwelld->directory.path, environ);
    }
    sandbox_watch(&dwelld->sandbox, &dwelld->loop, &dwelld->counters);
    return err;
}

static void fill_status(struct dwelld *dwelld)
{
    const char *names[PLACE_COUNT] = {
        [PLACE_STREAM] = "ingest",
        [PLACE_DATAGRAM] = "datagram",
        [PLACE_QUERY] = "query",
        [PLACE_ADMIN] = "admin",
    };
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        dwelld->sockets[i] = (struct json_path){names[i], dwelld->directory.sockets[i].path};
    }
    for (unsigned i = 0; i < SANDBOX_FACT_COUNT; i++) {
        enum sandbox_fact fact = (enum sandbox_fact)i;
        dwelld->confinement[i] =
            (struct json_path){sandbox_fact_name(fact), sandbox_fact(&dwelld->sandbox, fact)};
    }
    dwelld->process.pid = (uint64_t)getpid();
    dwelld->process.uid = geteuid();
    dwelld->context.status = (struct json_status){.version = DWELL_VERSION,
                                                  .http_address = dwelld->http_address,
                                                  .sockets = dwelld->sockets,
                                                  .socket_count = PLACE_COUNT,
                                                  .process = dwelld->process,
                                                  .sandbox = dwelld->confinement,
                                                  .sandbox_count = SANDBOX_FACT_COUNT};
}

/* The ceilings that are in force, for /api/v1/status. */
static void list_limits(const struct dwelld *dwelld, struct http_settings *settings)
{
    const struct conf *conf = &dwelld->conf;
    const struct json_limit limits[] = {
        {"ingest.max_frame_bytes", conf->ingest.max_frame_bytes},
        {"ingest.max_line_bytes", conf->ingest.max_line_bytes},
        {"ingest.max_connections", dwelld->ingest_connections},
        {"ingest.max_peer_connections", conf->ingest.max_peer_connections},
        {"ingest.max_peer_bytes", conf->ingest.max_peer_bytes},
        {"ingest.max_peer_records_per_second", conf->ingest.max_peer_records_per_second},
        {"ingest.max_open_spans", conf->ingest.max_open_spans},
        {"ingest.max_open_span_bytes", conf->ingest.max_open_span_bytes},
        {"ingest.idle_timeout_ms", conf->ingest.idle_timeout_ms},
        {"http.max_connections", dwelld->http_connections},
        {"http.timeout_ms", conf->http.timeout_ms},
        {"journal.max_bytes", conf->journal.max_bytes},
        {"http.request_timeout_ms", conf->http.request_timeout_ms},
        {"profiling.window_seconds", conf->profiling.window_seconds},
        {"profiling.max_samples", conf->profiling.max_samples},
        {"profiling.max_models", conf->profiling.max_models},
        {"profiling.max_models_per_peer", conf->profiling.max_models_per_peer},
        {"profiling.max_watched_threads", conf->profiling.max_watched_threads},
        {"profiling.touch_probe_max_mb", conf->profiling.touch_probe_max_mb},
        {"metrics.max_series", conf->metrics.max_series},
        {"metrics.max_series_per_family", conf->metrics.max_series_per_family},
        {"metrics.max_series_per_peer", conf->metrics.max_series_per_peer},
        {"metrics.max_label_bytes", conf->metrics.max_label_bytes},
        {"metrics.max_set_values", conf->metrics.max_set_values},
        {"otlp.max_queue_spans", conf->otlp.max_queue_spans},
        {"otlp.max_queue_bytes", conf->otlp.max_queue_bytes},
        {"otlp.max_request_bytes", conf->otlp.max_request_bytes},
        {"otlp.spool_max_bytes", conf->otlp.spool_max_bytes},
        {"otlp.spool_max_files", conf->otlp.spool_max_files},
        {"otlp.max_metric_bytes", conf->otlp.max_metric_bytes},
        {"shutdown.timeout_ms", conf->shutdown.timeout_ms},
        {"state.max_bytes", conf->state.max_bytes},
    };
    _Static_assert(sizeof limits <= sizeof settings->limits, "there is room for all");
    memcpy(settings->limits, limits, sizeof limits);
    settings->limit_count = sizeof limits / sizeof limits[0];
    settings->max_connections = dwelld->http_connections;
}

/* What target_info says of the service. */
static uint32_t list_resource(const struct conf *conf, struct label ret[RESOURCE_MAX])
{
    uint32_t count = 0;
    ret[count++] = (struct label){STR_LITERAL("service_name"), str_of(conf->service.name)};
    ret[count++] = (struct label){STR_LITERAL("service_version"), str_of(conf->service.version)};
    ret[count++] =
        (struct label){STR_LITERAL("deployment_environment"), str_of(conf->service.environment)};
    ret[count++] = (struct label){STR_LITERAL("constitutional_hash"),
                                  str_of(conf->service.constitutional_hash)};
    for (size_t i = 0; i < conf->service.attributes.count; i++) {
        const struct conf_pair *pair = &conf->service.attributes.pairs[i];
        ret[count++] = (struct label){str_of(pair->key), str_of(pair->value)};
    }
    return count;
}

static int start_exporters(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    for (size_t i = 0; i < conf->service.attributes.count; i++) {
        const struct conf_pair *pair = &conf->service.attributes.pairs[i];
        dwelld->attributes[i] = (struct label){str_of(pair->key), str_of(pair->value)};
    }
    dwelld->resource = (struct otlp_resource_options){
        .service_name = str_of(conf->service.name),
        .service_version = str_of(conf->service.version),
        .environment = str_of(conf->service.environment),
        .constitutional_hash = str_of(conf->service.constitutional_hash),
        .attributes = dwelld->attributes,
        .attribute_count = conf->service.attributes.count,
        .dwelld_version = STR_LITERAL(DWELL_VERSION)};
    int err = main_exporter_start(conf, &dwelld->resource, &dwelld->clock, &dwelld->exporter);
    if (err == 0 && dwelld->exporter != NULL) {
        span_export_init(&dwelld->span_export, dwelld->exporter,
                         str_of(conf->service.constitutional_hash));
        struct sampler_sink sink = span_export_sink(&dwelld->span_export);
        spans_export_to(&dwelld->spans, &sink);
        self_add_export(&dwelld->self, exporter_queue(dwelld->exporter));
    }
    struct main_metrics metrics = {.resource = &dwelld->resource,
                                   .registry = &dwelld->registry,
                                   .handover = &dwelld->handover,
                                   .self = &dwelld->self,
                                   .start_wall_ns =
                                       main_state_since(&dwelld->state, &dwelld->clock),
                                   .goes_on = dwelld->state.goes_on};
    return err != 0 ? err
                    : main_metric_exporter_start(conf, &metrics, &dwelld->clock,
                                                 &dwelld->metric_exporter);
}

/* NULL without memory. */
static struct exposition *new_exposition(const struct dwelld *dwelld, const struct conf *conf)
{
    struct label resource[RESOURCE_MAX];
    struct exposition_options exposition = {
        .name_space = str_of(conf->metrics.name_space),
        .resource = resource,
        .resource_count = list_resource(conf, resource),
        .constitutional_hash = str_of(conf->service.constitutional_hash),
        .hash_label = conf->metrics.constitutional_hash_label,
        .created_series = conf->metrics.created_series,
        .dwelld_version = STR_LITERAL(DWELL_VERSION),
        .label_key_count = dwelld->registry.options.label_key_count};
    memcpy(exposition.label_keys, dwelld->registry.options.label_keys,
           sizeof exposition.label_keys);
    return exposition_new(&exposition);
}

/* Of a configuration that is not in force yet: the ceilings are listed when it is. NULL without memory. */
static struct http_settings *new_settings(const struct dwelld *dwelld, const struct conf *conf)
{
    const struct conf *before = &dwelld->conf;
    bool looks_other =
        conf->metrics.created_series != before->metrics.created_series ||
        conf->metrics.constitutional_hash_label != before->metrics.constitutional_hash_label;
    struct http_settings *settings = http_settings_new(
        conf->http.allowed_hosts.texts, conf->http.allowed_hosts.count, conf->service.display_name);
    if (settings == NULL) {
        return NULL;
    }
    settings->timeout_ms = conf->http.timeout_ms;
    settings->request_timeout_ms = conf->http.request_timeout_ms;
    settings->exposition = looks_other ? new_exposition(dwelld, conf) : NULL;
    if (looks_other && settings->exposition == NULL) {
        http_settings_free(settings);
        return NULL;
    }
    return settings;
}

static int start_http(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct http_settings *settings = new_settings(dwelld, conf);
    struct route_context *context = &dwelld->context;
    context->exposition = new_exposition(dwelld, conf);
    context->scratch = mem_zalloc(1, sizeof *context->scratch);
    context->constitutional_hash = str_of(conf->service.constitutional_hash);
    context->self = &dwelld->self;
    context->directory = &dwelld->directory;
    context->clock = dwelld->clock;
    context->started_ns = dwelld->clock.mono_ns(NULL);
    fill_status(dwelld);
    if (settings == NULL || context->exposition == NULL || context->scratch == NULL) {
        http_settings_free(settings);
        return ERR_NOMEM;
    }
    list_limits(dwelld, settings);
    struct http_options options = {
        .doors = {{.fd = dwelld->http_fd, .is_network = true},
                  {.fd = directory_steal_fd(&dwelld->directory, PLACE_QUERY)},
                  {.fd = directory_steal_fd(&dwelld->directory, PLACE_ADMIN), .is_admin = true}},
        .door_count = HTTP_DOORS,
        .settings = settings};
    dwelld->http_fd = -1;
    return http_start(&options, &dwelld->handover, context, &dwelld->http);
}

/* --- signals and end --------------------------------------------------------------------------- */

/* After it the loop ends by itself: no handle is left. One more signal changes nothing then; without
 * the loop's handlers it would end the process as if it had failed. */
static void close_handles(struct dwelld *dwelld)
{
    sigset_t handled;
    (void)sigemptyset(&handled);
    for (int i = 0; i < SIGNALS; i++) {
        (void)sigaddset(&handled, handled_signals[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &handled, NULL); /* fails only for a wrong first argument */
    connection_close_all(&dwelld->ingest);
    if (dwelld->ingest.journal != NULL) {
        journal_close(dwelld->ingest.journal);
    }
    ingest_close(&dwelld->ingest);
    watcher_close(&dwelld->watcher);
    reload_close(&dwelld->reload);
    for (int i = 0; i < SIGNALS; i++) {
        uv_close((uv_handle_t *)&dwelld->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&dwelld->drain_timer, NULL);
    http_close(dwelld->http);
    metric_exporter_close(dwelld->metric_exporter);
    main_state_close(&dwelld->state);
    handover_close(&dwelld->handover);
    probe_close(&dwelld->probe);
    sandbox_close(&dwelld->sandbox);
    lag_close(&dwelld->lag);
    pulse_close(&dwelld->pulse);
}

/* When everything must have gone out: a little before the deadline, as closing takes time too. */
static uint64_t export_deadline_ns(const struct dwelld *dwelld)
{
    uint64_t closing_ns = dwelld->conf.shutdown.timeout_ms * NS_PER_MS / CLOSE_SHARE;
    return dwelld->deadline_ns > closing_ns ? dwelld->deadline_ns - closing_ns : 0;
}

/* Both signals go on at the same time, and so does the last save. */
static bool has_exported(struct dwelld *dwelld)
{
    spans_stop(&dwelld->spans);
    bool is_late = dwelld->clock.mono_ns(NULL) >= export_deadline_ns(dwelld);
    bool saved = main_state_stop(&dwelld->state, is_late);
    exporter_stop(dwelld->exporter, export_deadline_ns(dwelld));
    metric_exporter_stop(dwelld->metric_exporter, export_deadline_ns(dwelld));
    bool traces = exporter_is_done(dwelld->exporter);
    bool metrics = metric_exporter_is_done(dwelld->metric_exporter);
    return traces && metrics && saved;
}

/* Looks for the end of the last connection, each of which ends by itself within INGEST_DRAIN_MS, and
 * then for the end of the last export, for which the loop gives one more snapshot. */
static void on_drain_check(uv_timer_t *timer)
{
    struct dwelld *dwelld = timer->data;
    unsigned left = dwelld->ingest.connection_count;
    if (left > 0 && dwelld->clock.mono_ns(NULL) < dwelld->deadline_ns) {
        return;
    }
    if (!has_exported(dwelld)) {
        return;
    }
    if (left > 0) {
        log_warning("%u connections did not take their last answers in time", left);
    }
    close_handles(dwelld);
}

static void stop(struct dwelld *dwelld, const char *signal_name)
{
    if (dwelld->stopping) {
        dwelld->deadline_ns = 0; /* asked twice: at once */
        return;
    }
    dwelld->stopping = true;
    dwelld->deadline_ns =
        dwelld->clock.mono_ns(NULL) + dwelld->conf.shutdown.timeout_ms * NS_PER_MS;
    log_info("%s: stopping, within %llu ms", signal_name,
             (unsigned long long)dwelld->conf.shutdown.timeout_ms);
    notify_stopping(&dwelld->notify, dwelld->conf.shutdown.timeout_ms);
    listener_drain(&dwelld->listener);
    listener_close(&dwelld->listener);
    datagrams_drain(&dwelld->datagrams);
    datagrams_close(&dwelld->datagrams);
    connection_drain_all(&dwelld->ingest);
    dwelld->handover.is_stopping = true;
    (void)uv_timer_start(&dwelld->drain_timer, on_drain_check, 0, DRAIN_CHECK_MS);
}

/* The queue of the journal has room for what may come at once by the ceilings of the start. */
static struct ingest_options keep_to_journal(const struct dwelld *dwelld,
                                             struct ingest_options fresh)
{
    const struct journal *journal = dwelld->ingest.journal;
    if (journal != NULL && ingest_most_at_once(&fresh) > journal->options.max_entry_bytes) {
        fresh.max_frame_bytes = dwelld->ingest.options.max_frame_bytes;
        fresh.max_line_bytes = dwelld->ingest.options.max_line_bytes;
        log_warning("ingest.max_frame_bytes, ingest.max_line_bytes: grow with a restart only, as "
                    "the journal has room for what they were (still %zu and %zu)",
                    (size_t)fresh.max_frame_bytes, (size_t)fresh.max_line_bytes);
    }
    return fresh;
}

/* Puts a configuration that was adopted into force where it is used; nothing of it can fail. */
static void obey(struct dwelld *dwelld, struct http_settings *settings)
{
    fit_connections(dwelld);
    dwelld->watcher.max_watched = dwelld->watched_processes;
    dwelld->ingest.options = keep_to_journal(dwelld, ingest_options(dwelld));
    connection_obey_all(&dwelld->ingest);
    datagrams_obey(&dwelld->datagrams);
    list_limits(dwelld, settings);
    http_change(dwelld->http, settings);
}

static void on_reloaded(void *ctx, struct reload_news *news)
{
    struct dwelld *dwelld = ctx;
    if (dwelld->stopping) {
        return;
    }
    struct http_settings *settings = news->err == 0 ? new_settings(dwelld, &news->conf) : NULL;
    news->err = news->err == 0 && settings == NULL ? ERR_NOMEM : news->err;
    struct apply apply = {.conf = &dwelld->conf,
                          .families = &dwelld->families,
                          .directory = &dwelld->directory,
                          .intake = &dwelld->intake,
                          .judge = &dwelld->judge,
                          .handover = &dwelld->handover,
                          .wall_ns = dwelld->clock.wall_ns(NULL)};
    if (main_apply(&apply, news) == RELOAD_REFUSED) {
        http_settings_free(settings);
    } else {
        obey(dwelld, settings);
    }
    notify_ready(&dwelld->notify);
}

static void ask_for_reload(struct dwelld *dwelld)
{
    struct reload_news failed = {.err = reload_ask(&dwelld->reload)};
    if (failed.err != 0) {
        on_reloaded(dwelld, &failed);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct dwelld *dwelld = handle->data;
    if (number != SIGHUP) {
        stop(dwelld, number == SIGTERM ? "SIGTERM" : "SIGINT");
    } else if (!dwelld->stopping) {
        notify_reloading(&dwelld->notify, dwelld->clock.mono_ns(NULL));
        ask_for_reload(dwelld);
    }
}

static int start_signals(struct dwelld *dwelld)
{
    for (int i = 0; i < SIGNALS; i++) {
        if (uv_signal_init(&dwelld->loop, &dwelld->signals[i]) != 0 ||
            uv_signal_start(&dwelld->signals[i], on_signal, handled_signals[i]) != 0) {
            return ERR_SYSTEM;
        }
        dwelld->signals[i].data = dwelld;
    }
    (void)uv_timer_init(&dwelld->loop, &dwelld->drain_timer); /* cannot fail */
    dwelld->drain_timer.data = dwelld;
    return reload_start(&dwelld->reload, &dwelld->loop, &dwelld->command, on_reloaded, dwelld);
}

static void say_where(const struct dwelld *dwelld)
{
    log_info("dwelld " DWELL_VERSION " is ready");
    log_info("samples to %s and %s", dwelld->directory.sockets[PLACE_STREAM].path,
             dwelld->directory.sockets[PLACE_DATAGRAM].path);
    log_info("metrics at http://%s/metrics, report at http://%s/report", dwelld->http_address,
             dwelld->http_address);
}

static void free_state(struct dwelld *dwelld)
{
    exporter_close(dwelld->exporter);
    exposition_free(dwelld->context.exposition);
    mem_free(dwelld->context.scratch);
    ingest_fini(&dwelld->ingest);
    spans_fini(&dwelld->spans);
    span_export_fini(&dwelld->span_export);
    budgets_fini(&dwelld->budgets);
    judge_fini(&dwelld->judge);
    metrics_fini(&dwelld->metrics);
    processes_fini(&dwelld->processes);
    witness_fini(&dwelld->witness);
    reloads_fini(&dwelld->counters.reloads, &dwelld->registry.limbo);
    registry_fini(&dwelld->registry);
    ledger_fini(&dwelld->ledger);
    main_state_fini(&dwelld->state);
    mem_free(dwelld->http_address);
}

/* From a good configuration to the exit status. What is still open at a failed start goes with the
 * process; the sockets' files do not, and are removed. */
static int run(struct dwelld *dwelld)
{
    hist_init_tables();
    tally_init_tables();
    fit_connections(dwelld);
    notify_open(&dwelld->notify, environ);
    if (!inherited_take(&dwelld->inherited, environ, dwelld->conf.ingest.directory,
                        &dwelld->notify)) {
        return EX_CONFIG;
    }
    int status = main_state_load(&dwelld->state, &dwelld->conf, &dwelld->counters);
    if (status == 0) {
        status = open_http(dwelld);
    }
    if (status == 0) {
        status = open_directory(dwelld);
    }
    if (status != 0) {
        return status;
    }
    bool http_is_own = dwelld->inherited.sockets[INHERITED_HTTP].fd < 0;
    kept_hand_over(&dwelld->notify, &dwelld->directory, http_is_own ? dwelld->http_fd : -1);
    int err = uv_loop_init(&dwelld->loop) == 0 ? make_state(dwelld) : ERR_SYSTEM;
    if (err == 0) {
        err = start_ingest(dwelld);
    }
    if (err == 0) {
        err = start_signals(dwelld);
    }
    if (err == 0) {
        err = confine(dwelld);
    }
    if (err == 0) {
        err = start_exporters(dwelld);
    }
    if (err == 0) {
        err = start_http(dwelld);
    }
    if (err == 0) {
        err = main_state_start(&dwelld->state, &dwelld->conf, &dwelld->loop, &dwelld->handover,
                               &dwelld->self);
        main_state_set_journal(&dwelld->state, dwelld->ingest.journal);
    }
    if (err != 0) {
        log_error("cannot start: %s", err_sentence(err));
        directory_close(&dwelld->directory);
        bool is_conf = err == ERR_CONFLICT || err == ERR_RANGE; /* of families; of the journal */
        return is_conf ? EX_CONFIG : EX_UNAVAILABLE;
    }
    say_where(dwelld);
    pulse_start(&dwelld->pulse, &dwelld->loop, &dwelld->notify, &dwelld->ingest);
    notify_ready(&dwelld->notify);
    (void)malloc_trim(0); /* what reading the configuration took; says whether it found any */
    (void)uv_run(&dwelld->loop, UV_RUN_DEFAULT); /* returns when no handle is left */
    (void)uv_loop_close(&dwelld->loop);
    free_state(dwelld);
    directory_close(&dwelld->directory);
    notify_close(&dwelld->notify);
    log_info("stopped");
    return EX_OK;
}

int main(int argc, char **argv)
{
    /* All zero: with a value of its own it would be 0.4 MB of the binary, and of memory with it. */
    static struct dwelld dwelld;
    dwelld.http_fd = -1;
    dwelld.clock = system_clock();
    /* One heap for both threads: a second arena would be touched for every answer. */
    (void)mallopt(M_ARENA_MAX, 1);
    /* What a scrape made copies of is needed again at the next: giving it back costs the loop time. */
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of its write */
    int status = read_conf(&dwelld, argc, argv);
    if (status == 0) {
        status = act(&dwelld);
        if (status < 0) {
            status = run(&dwelld);
        }
    }
    conf_families_fini(&dwelld.families);
    conf_fini(&dwelld.conf);
    conf_command_fini(&dwelld.command);
    return status;
}
