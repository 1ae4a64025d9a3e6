#include "main/exporter.h"

#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "conf/endpoint.h"
#include "io/system.h"
#include "io/export/transport_load.h"

enum { FILE_MAX_BYTES = 1 << 20, ADDRESS_MAX_BYTES = 2048, PROBLEM_MAX_BYTES = 1 << 14 };

/* The text of a signal, or the shared one. */
static const char *either(const char *own, const char *shared)
{
    return own[0] != '\0' ? own : shared;
}

bool main_exporter_wants(const struct conf *conf, bool signal, const struct conf_signal *own)
{
    return signal && either(own->endpoint, conf->otlp.endpoint)[0] != '\0';
}

/* --- files ------------------------------------------------------------------------------------- */

/* Reads what `path` names, if it names something. */
static int read_file(const char *option, const char *path, struct buf *out, struct buf *problem)
{
    int reason = path[0] == '\0' ? 0 : system_read_file(path, out);
    if (reason != 0) {
        buf_printf(problem, "%s: %s: %s", option, path, strerror(reason));
    }
    return reason == 0 ? 0 : ERR_SYSTEM;
}

static struct str trimmed(char *text, size_t len)
{
    while (len > 0 && (*text == ' ' || *text == '\t' || *text == '\r')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t' || text[len - 1] == '\r')) {
        len--;
    }
    return (struct str){text, len};
}

static int add_header(struct export_target *target, const char *name, const char *value)
{
    if (target->transport.header_count == TRANSPORT_HEADERS_MAX) {
        return ERR_LIMIT;
    }
    target->headers[target->transport.header_count++] = (struct transport_header){name, value};
    return 0;
}

/* One line "key = value" of the file, which ends where a zero byte may be put. Blank lines and those
 * that begin with # say nothing. */
static int add_line(struct export_target *target, char *line, size_t len)
{
    struct str all = trimmed(line, len);
    if (all.len == 0 || all.ptr[0] == '#') {
        return 0;
    }
    char *start = line + (all.ptr - line);
    char *equals = memchr(start, '=', all.len);
    if (equals == NULL || memchr(start, '\0', all.len) != NULL) {
        return ERR_SYNTAX;
    }
    struct str name = trimmed(start, (size_t)(equals - start));
    struct str value = trimmed(equals + 1, all.len - (size_t)(equals + 1 - start));
    line[name.ptr + name.len - line] = '\0';
    line[value.ptr + value.len - line] = '\0';
    return name.len == 0 ? ERR_SYNTAX : add_header(target, name.ptr, value.ptr);
}

/* The file is secret: complaints tell the number of a line and nothing of it. */
static int add_file(struct export_target *target, const char *path, struct buf *problem)
{
    struct buf *file = &target->headers_file;
    int err = read_file("otlp.headers_file", path, file, problem);
    buf_char(file, '\n'); /* the last line ends, too */
    err = err == 0 ? file->err : err;
    unsigned number = 1;
    for (size_t at = 0; err == 0 && at < file->len; number++) {
        char *line = file->data + at;
        size_t len = (size_t)((char *)memchr(line, '\n', file->len - at) - line);
        err = add_line(target, line, len);
        at += len + 1;
    }
    if (err == ERR_SYNTAX || err == ERR_LIMIT) {
        buf_printf(problem, "otlp.headers_file: %s: line %u: expects key=value, %u of them at most",
                   path, number - 1, (unsigned)TRANSPORT_HEADERS_MAX);
        return ERR_SYNTAX;
    }
    return err;
}

/* --- a target ---------------------------------------------------------------------------------- */

static int fill_headers(struct export_target *target, const struct conf *conf,
                        const struct conf_signal *own, struct buf *problem)
{
    _Static_assert((int)CONF_PAIRS_MAX <= (int)TRANSPORT_HEADERS_MAX, "all of them fit");
    const struct conf_pairs *pairs = own->headers.count > 0 ? &own->headers : &conf->otlp.headers;
    for (size_t i = 0; i < pairs->count; i++) {
        (void)add_header(target, pairs->pairs[i].key, pairs->pairs[i].value); /* all of them fit */
    }
    const char *path = conf->otlp.headers_file;
    return path[0] == '\0' ? 0 : add_file(target, path, problem);
}

/* Whether the endpoint of a signal wants TLS: its scheme says so, or without one the option. */
static bool wants_tls(const struct conf *conf, const struct conf_signal *own,
                      const struct conf_endpoint *endpoint)
{
    bool insecure = own->insecure > 0 ? own->insecure == 2 : conf->otlp.insecure;
    return endpoint->scheme == CONF_SCHEME_HTTPS ||
           (endpoint->scheme == CONF_SCHEME_NONE && !insecure);
}

static int fill_address(struct export_target *target, const struct conf *conf,
                        const struct conf_signal *own)
{
    struct conf_endpoint endpoint;
    int err = conf_endpoint_parse(str_of(either(own->endpoint, conf->otlp.endpoint)), &endpoint);
    if (err != 0) {
        return err; /* the option was checked: this is for whoever calls with another text */
    }
    conf_endpoint_render(&endpoint, &target->address);
    buf_char(&target->address, '\0');
    target->transport.address = target->address.data;
    target->transport.tls = wants_tls(conf, own, &endpoint);
    return target->address.err;
}

static struct str str_of_buf(const struct buf *buf)
{
    return (struct str){buf->data, buf->len};
}

static int fill_certificates(struct export_target *target, const struct conf *conf,
                             const struct conf_signal *own, struct buf *problem)
{
    const struct {
        const char *option;
        const char *path;
        struct buf *file;
    } files[] = {
        {"otlp.certificate", either(own->certificate, conf->otlp.certificate),
         &target->certificate},
        {"otlp.client_certificate", either(own->client_certificate, conf->otlp.client_certificate),
         &target->client_certificate},
        {"otlp.client_key", either(own->client_key, conf->otlp.client_key), &target->client_key},
    };
    int err = 0;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && err == 0; i++) {
        err = read_file(files[i].option, files[i].path, files[i].file, problem);
    }
    target->transport.authorities = str_of_buf(&target->certificate);
    target->transport.client_certificate = str_of_buf(&target->client_certificate);
    target->transport.client_key = str_of_buf(&target->client_key);
    if (err == 0 && (target->client_certificate.len == 0) != (target->client_key.len == 0)) {
        buf_puts(problem, "otlp.client_certificate and otlp.client_key: one is of no use without "
                          "the other");
        err = ERR_SYNTAX;
    }
    return err;
}

int export_target_init(struct export_target *target, const struct conf *conf,
                       const struct conf_signal *own, struct buf *problem)
{
    int compression = own->compression > 0 ? own->compression - 1 : conf->otlp.compression;
    *target = (struct export_target){.timeout_ms = own->timeout_ms > 0 ? own->timeout_ms
                                                                       : conf->otlp.timeout_ms};
    target->transport.gzip = compression == CONF_COMPRESSION_GZIP;
    target->transport.user_agent = "dwelld/" DWELL_VERSION;
    target->transport.headers = target->headers;
    buf_init(&target->address, ADDRESS_MAX_BYTES);
    buf_init(&target->headers_file, FILE_MAX_BYTES);
    buf_init(&target->certificate, FILE_MAX_BYTES);
    buf_init(&target->client_certificate, FILE_MAX_BYTES);
    buf_init(&target->client_key, FILE_MAX_BYTES);
    int err = fill_address(target, conf, own);
    if (err == 0) {
        err = fill_headers(target, conf, own, problem);
    }
    if (err == 0 && target->transport.tls) {
        err = fill_certificates(target, conf, own, problem);
    }
    return err;
}

/* Secrets do not stay behind in memory that is given back. */
static void wipe(struct buf *secret)
{
    if (secret->data != NULL) {
        explicit_bzero(secret->data, secret->cap);
    }
    buf_fini(secret);
}

void export_target_fini(struct export_target *target)
{
    buf_fini(&target->address);
    buf_fini(&target->certificate);
    buf_fini(&target->client_certificate);
    wipe(&target->headers_file);
    wipe(&target->client_key);
}

/* --- the exporter ------------------------------------------------------------------------------ */

static bool is_tls_signal(const struct conf *conf, bool signal, const struct conf_signal *own)
{
    struct conf_endpoint endpoint;
    return main_exporter_wants(conf, signal, own) &&
           conf_endpoint_parse(str_of(either(own->endpoint, conf->otlp.endpoint)), &endpoint) ==
               0 &&
           wants_tls(conf, own, &endpoint);
}

/* One module for both signals: that with TLS as soon as one of them has it, if it is there. The
 * libraries behind the two modules end the process when they meet in it. */
static const struct transport *load(const struct conf *conf, const struct export_target *target,
                                    const char *endpoint)
{
    bool tls = is_tls_signal(conf, conf->otlp.traces, &conf->otlp.of_traces) ||
               is_tls_signal(conf, conf->otlp.metrics, &conf->otlp.of_metrics);
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    const struct transport *transport = transport_load(conf->otlp.module_directory, tls, &problem);
    if (transport == NULL && tls && !target->transport.tls) {
        buf_clear(&problem);
        transport = transport_load(conf->otlp.module_directory, false, &problem);
    }
    if (transport == NULL) {
        log_error("export to %s: nothing can be exported: %.*s", endpoint, (int)problem.len,
                  problem.len == 0 ? "" : problem.data);
    }
    buf_fini(&problem);
    return transport;
}

void main_exporter_open_module(const struct conf *conf)
{
    bool tls = is_tls_signal(conf, conf->otlp.traces, &conf->otlp.of_traces) ||
               is_tls_signal(conf, conf->otlp.metrics, &conf->otlp.of_metrics);
    struct buf problem;
    if (!main_exporter_wants(conf, conf->otlp.traces, &conf->otlp.of_traces) &&
        !main_exporter_wants(conf, conf->otlp.metrics, &conf->otlp.of_metrics)) {
        return;
    }
    buf_init(&problem, PROBLEM_MAX_BYTES);
    if (transport_load(conf->otlp.module_directory, tls, &problem) == NULL && tls) {
        (void)transport_load(conf->otlp.module_directory, false,
                             &problem); /* for the other signal */
    }
    buf_fini(&problem);
}

/* A target and what sends to it; what is wrong is told in the log. */
struct way_out {
    const char *endpoint;
    struct export_target target;
    const struct transport *transport; /* NULL: there is none */
    uint64_t seed;
};

/* Returns 0, also when there is no transport, or ERR_SYSTEM. To be ended when it returned 0. */
static int way_out_init(struct way_out *way, const struct conf *conf, const struct conf_signal *own)
{
    struct buf problem;
    *way = (struct way_out){.endpoint = either(own->endpoint, conf->otlp.endpoint)};
    int err = system_random(&way->seed);
    if (err != 0) {
        return err;
    }
    buf_init(&problem, PROBLEM_MAX_BYTES);
    if (export_target_init(&way->target, conf, own, &problem) == 0) {
        way->transport = load(conf, &way->target, way->endpoint);
    } else {
        log_error("export to %s: nothing can be exported: %.*s", way->endpoint, (int)problem.len,
                  problem.len == 0 ? "" : problem.data);
    }
    buf_fini(&problem);
    return 0;
}

static void way_out_fini(struct way_out *way)
{
    export_target_fini(&way->target);
}

int main_exporter_start(const struct conf *conf, const struct otlp_resource_options *resource,
                        const struct clock *clock, struct exporter **ret_exporter)
{
    struct way_out way;
    const struct conf_signal *own = &conf->otlp.of_traces;
    *ret_exporter = NULL;
    if (!main_exporter_wants(conf, conf->otlp.traces, own)) {
        return 0;
    }
    int err = way_out_init(&way, conf, own);
    if (err != 0) {
        return err;
    }
    struct exporter_options options = {
        .transport = way.transport,
        .target = &way.target.transport,
        .address = way.endpoint,
        .resource = resource,
        .clock = *clock,
        .seed = way.seed,
        .max_queue_spans = conf->otlp.max_queue_spans,
        .max_queue_bytes = conf->otlp.max_queue_bytes,
        .batch_spans = conf->otlp.batch ? conf->otlp.max_batch : 1,
        .delay_ms = conf->otlp.schedule_delay_ms,
        .timeout_ms = way.target.timeout_ms,
        .retry_timeout_ms = conf->otlp.retry_timeout_ms,
        .max_request_bytes = conf->otlp.max_request_bytes,
        .spool_after_ms = conf->otlp.spool_after_ms,
        .spool_path = conf->otlp.spool_directory,
        .spool_max_bytes = conf->otlp.spool_max_bytes,
        .spool_max_files = conf->otlp.spool_max_files,
    };
    err = exporter_start(&options, ret_exporter);
    way_out_fini(&way);
    return err;
}

static struct otlp_metrics_options render_options(const struct conf *conf,
                                                  const struct main_metrics *daemon,
                                                  const struct buf *resource)
{
    static const enum otlp_temporality temporality[] = {[CONF_CUMULATIVE] = OTLP_CUMULATIVE,
                                                        [CONF_DELTA] = OTLP_DELTA,
                                                        [CONF_LOWMEMORY] = OTLP_LOWMEMORY};
    const struct registry_options *registry = &daemon->registry->options;
    struct otlp_metrics_options options = {
        .name_space = str_of(conf->metrics.name_space),
        .service_name = daemon->resource->service_name,
        .constitutional_hash = daemon->resource->constitutional_hash,
        .resource = str_of_buf(resource),
        .dwelld_version = daemon->resource->dwelld_version,
        .label_key_count = registry->label_key_count,
        .start_wall_ns = daemon->start_wall_ns,
        .temporality = temporality[conf->otlp.temporality],
        .exponential = conf->otlp.histogram_aggregation == CONF_EXPONENTIAL_BUCKETS,
        .max_request = (size_t)conf->otlp.max_request_bytes};
    memcpy(options.label_keys, registry->label_keys, sizeof options.label_keys);
    return options;
}

int main_metric_exporter_start(const struct conf *conf, const struct main_metrics *daemon,
                               const struct clock *clock, struct metric_exporter **ret_exporter)
{
    struct way_out way;
    struct buf resource;
    const struct conf_signal *own = &conf->otlp.of_metrics;
    *ret_exporter = NULL;
    if (!main_exporter_wants(conf, conf->otlp.metrics, own)) {
        return 0;
    }
    int err = way_out_init(&way, conf, own);
    if (err != 0) {
        return err;
    }
    buf_init(&resource, FILE_MAX_BYTES);
    otlp_resource_render(daemon->resource, (struct str){NULL, 0}, &resource);
    struct otlp_metrics_options render = render_options(conf, daemon, &resource);
    struct metric_exporter_options options = {
        .transport = way.transport,
        .target = &way.target.transport,
        .address = way.endpoint,
        .render = &render,
        .self = daemon->self,
        .clock = *clock,
        .seed = way.seed,
        .interval_ms = conf->otlp.metric_interval_ms,
        .export_timeout_ms = conf->otlp.metric_timeout_ms,
        .timeout_ms = way.target.timeout_ms,
        .max_queue_bytes = conf->otlp.max_metric_bytes,
        .spool_after_ms = conf->otlp.spool_after_ms,
        .spool_path = conf->otlp.spool_directory,
        .spool_max_bytes = conf->otlp.spool_max_bytes,
        .spool_max_files = conf->otlp.spool_max_files,
        .goes_on = daemon->goes_on,
    };
    err = resource.err != 0 ? resource.err
                            : metric_exporter_start(&options, daemon->handover, ret_exporter);
    buf_fini(&resource);
    way_out_fini(&way);
    return err;
}
