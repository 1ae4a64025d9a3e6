/*
 * Happy path
 *   1. the settings and what stays the same for all answers are made of the configuration
 *   2. the server takes the sockets, and its thread starts
 *   3. a reload makes other settings; the server takes them between two answers
 *
 * What can fail: memory, a thread.
 */
#include "main/main.h"

#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

enum { RESOURCE_MAX = 4 + CONF_PAIRS_MAX };

/* Returns how many there are. */
static size_t list_files(struct dwelld *dwelld)
{
    const struct json_path all[MAIN_FILES] = {{"state", dwelld->conf.state.file},
                                              {"journal", dwelld->conf.journal.directory}};
    size_t count = 0;
    for (size_t i = 0; i < MAIN_FILES; i++) {
        if (all[i].path[0] != '\0') {
            dwelld->files[count++] = all[i];
        }
    }
    return count;
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
                                                  .files = dwelld->files,
                                                  .file_count = list_files(dwelld),
                                                  .process = dwelld->process,
                                                  .sandbox = dwelld->confinement,
                                                  .sandbox_count = SANDBOX_FACT_COUNT};
}

void main_http_limits(const struct dwelld *dwelld, struct http_settings *settings)
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

struct http_settings *main_http_settings(const struct dwelld *dwelld, const struct conf *conf)
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

int main_http_start(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct http_settings *settings = main_http_settings(dwelld, conf);
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
    main_http_limits(dwelld, settings);
    struct http_options options = {
        .doors = {{.fd = dwelld->http_fd, .is_network = true},
                  {.fd = directory_steal_fd(&dwelld->directory, PLACE_QUERY)},
                  {.fd = directory_steal_fd(&dwelld->directory, PLACE_ADMIN), .is_admin = true}},
        .door_count = MAIN_HTTP_DOORS,
        .settings = settings};
    dwelld->http_fd = -1;
    return http_start(&options, &dwelld->handover, context, &dwelld->http);
}
