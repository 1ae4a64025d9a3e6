/* The option table, every source of values, every complaint, and what is printed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "conf/conf.h"
#include "conf/table.h"
#include "mem_fault.h"

static struct conf conf;
static struct buf errors;
static struct buf warnings;
static struct buf output;

static int set_up(void **state)
{
    (void)state;
    buf_init(&errors, CONF_ERRORS_MAX_BYTES);
    buf_init(&warnings, CONF_ERRORS_MAX_BYTES);
    buf_init(&output, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conf_fini(&conf);
    buf_fini(&errors);
    buf_fini(&warnings);
    buf_fini(&output);
    return 0;
}

static const char *text_of(struct buf *buf)
{
    buf_char(buf, '\0');
    assert_int_equal(buf->err, 0);
    buf->len--;
    return buf->data;
}

/* --- helpers that assert --- */

static int load(const char *file, const char *const *environment, const char *const *sets)
{
    size_t set_count = 0;
    while (sets != NULL && sets[set_count] != NULL) {
        set_count++;
    }
    buf_clear(&errors);
    buf_clear(&warnings);
    conf_fini(&conf);
    struct conf_sources sources = {
        .file_name = file == NULL ? NULL : "f.json",
        .file_text = file == NULL ? (struct str){NULL, 0} : str_of(file),
        .environment = (char *const *)(uintptr_t)environment,
        .sets = sets,
        .set_count = set_count,
    };
    return conf_load(&conf, &sources, &errors, &warnings);
}

static void must_load(const char *file, const char *const *environment, const char *const *sets)
{
    int err = load(file, environment, sets);
    if (err != 0) {
        fail_msg("%s", text_of(&errors));
    }
    assert_int_equal(errors.len, 0);
}

static void must_take(const char *assignment)
{
    must_load(NULL, NULL, (const char *[]){assignment, NULL});
}

static void must_complain(const char *file, const char *const *environment, const char *const *sets,
                          const char *complaint)
{
    assert_int_equal(load(file, environment, sets), ERR_SYNTAX);
    assert_string_equal(text_of(&errors), complaint);
}

static void must_refuse_file(const char *file, const char *complaint)
{
    must_complain(file, NULL, NULL, complaint);
}

static void must_refuse(const char *assignment, const char *complaint)
{
    must_complain(NULL, NULL, (const char *[]){assignment, NULL}, complaint);
}

static void must_warn(const char *variable, const char *warning)
{
    assert_int_equal(load(NULL, (const char *[]){variable, NULL}, NULL), 0);
    assert_string_equal(text_of(&warnings), warning);
}

/* --- the table --- */

static void test_conf_rows_are_complete_and_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        assert_non_null(strchr(option->path, '.'));
        assert_int_equal(strspn(option->path, "abcdefghijklmnopqrstuvwxyz_."),
                         strlen(option->path));
        assert_true(strlen(option->path) + strlen("DWELL_") <= 63);
        assert_non_null(option->initial);
        size_t len = strlen(option->sentence);
        assert_true(len > 0 && option->sentence[len - 1] == '.');
        assert_null(strpbrk(option->sentence, "|\n"));
        assert_true(option->min <= option->max);
        assert_ptr_equal(conf_find(str_of(option->path)), option);
        for (size_t j = 0; j < i; j++) {
            assert_true(option->offset != conf_options[j].offset);
        }
    }
    assert_null(conf_find(STR_LITERAL("service")));
    assert_null(conf_find(STR_LITERAL("")));
}

static void test_conf_groups_stand_together(void **state)
{
    (void)state;
    for (size_t i = 1; i < conf_option_count; i++) {
        const char *path = conf_options[i].path;
        size_t len = strcspn(path, ".") + 1;
        bool known = false;
        for (size_t j = 0; j < i; j++) {
            known |= strncmp(conf_options[j].path, path, len) == 0;
        }
        assert_true(!known || strncmp(conf_options[i - 1].path, path, len) == 0);
    }
}

static void test_conf_defaults_are_the_documented_ones(void **state)
{
    (void)state;
    must_load(NULL, NULL, NULL);
    assert_string_equal(conf.service.name, "acgs2-agent-bus");
    assert_string_equal(conf.service.display_name, "ACGS-2");
    assert_string_equal(conf.service.version, "2.0.0");
    assert_string_equal(conf.service.environment, "development");
    assert_string_equal(conf.service.constitutional_hash, "cdd01ef066bc6cf2");
    assert_false(conf.service.enforce_hash);
    assert_int_equal(conf.service.attributes.count, 0);
    assert_string_equal(conf.ingest.directory, "");
    assert_int_equal(conf.ingest.mode, 0660);
    assert_string_equal(conf.ingest.group, "");
    assert_int_equal(conf.ingest.allowed_uids.count, 0);
    assert_int_equal(conf.ingest.max_frame_bytes, 1048576);
    assert_int_equal(conf.ingest.max_line_bytes, 65536);
    assert_int_equal(conf.ingest.max_connections, 1024);
    assert_int_equal(conf.ingest.max_peer_connections, 1008);
    assert_int_equal(conf.ingest.max_peer_bytes, 67108864);
    assert_int_equal(conf.ingest.max_peer_records_per_second, 0);
    assert_int_equal(conf.ingest.idle_timeout_ms, 0);
    assert_int_equal(conf.ingest.statsd_samples.count, 2);
    assert_string_equal(conf.ingest.statsd_samples.texts[0], "inference");
    assert_string_equal(conf.ingest.statsd_samples.texts[1], "model.inference");
    assert_string_equal(conf.http.listen.host, "127.0.0.1");
    assert_int_equal(conf.http.listen.port, 9847);
    assert_int_equal(conf.http.max_connections, 64);
    assert_int_equal(conf.http.timeout_ms, 10000);
    assert_int_equal(conf.profiling.window_seconds, 300);
    assert_int_equal(conf.profiling.max_samples, 0);
    assert_int_equal(conf.profiling.max_models, 1000);
    assert_int_equal(conf.profiling.classifier, CONF_CLASSIFIER_EVIDENCE);
    assert_int_equal(conf.profiling.round_ms, 5000);
    assert_true(conf.profiling.cpu_compute_threshold_percent == 50);
    assert_true(conf.profiling.cpu_io_threshold_percent == 20);
    assert_true(conf.profiling.latency_gpu_threshold_ms == 1);
    assert_string_equal(conf.metrics.name_space, "acgs2");
    assert_int_equal(conf.metrics.max_series, 100000);
    assert_int_equal(conf.metrics.max_series_per_family, 10000);
    assert_int_equal(conf.metrics.max_label_bytes, 256);
    assert_int_equal(conf.metrics.max_set_values, 1000000);
    assert_true(conf.budgets.total_ms == 50);
    assert_true(conf.budgets.objective == 0.99);
    assert_int_equal(conf.budgets.layers.count, 4);
    assert_string_equal(conf.budgets.layers.layers[0].layer, "layer1_validation");
    assert_true(conf.budgets.layers.layers[1].budget_ms == 20);
    assert_true(conf.budgets.layers.layers[2].soft_limit_pct == 0.8);
    assert_true(conf.budgets.layers.layers[2].strict_enforcement);
    assert_false(conf.budgets.layers.layers[3].strict_enforcement);
    assert_string_equal(conf.otlp.endpoint, "");
    assert_true(conf.otlp.traces && conf.otlp.metrics && conf.otlp.batch);
    assert_true(conf.otlp.sample_rate == 1);
    assert_int_equal(conf.log.level, LOG_LEVEL_INFO);
    assert_int_equal(conf.log.format, LOG_FORMAT_TEXT);
    assert_int_equal(conf.shutdown.timeout_ms, 10000);
    assert_string_equal(conf.state.file, "");
}

/* --- precedence --- */

static void test_conf_later_sources_win(void **state)
{
    (void)state;
    const char *file = "{\"http\": {\"max_connections\": 1, \"timeout_ms\": 1001}, "
                       "\"ingest\": {\"max_connections\": 1}}";
    const char *const environment[] = {"DWELL_HTTP_MAX_CONNECTIONS=2",
                                       "DWELL_INGEST_MAX_CONNECTIONS=2", NULL};
    must_load(file, environment, (const char *[]){"http.max_connections=3", NULL});
    assert_int_equal(conf.http.max_connections, 3);
    assert_int_equal(conf.ingest.max_connections, 2);
    assert_int_equal(conf.http.timeout_ms, 1001);
    must_load(file, NULL,
              (const char *[]){"http.max_connections=3", "http.max_connections=4", NULL});
    assert_int_equal(conf.http.max_connections, 4);
}

static void test_conf_every_option_has_its_variable(void **state)
{
    (void)state;
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        char variable[128];
        int len = snprintf(variable, sizeof variable, "DWELL_%s=", option->path);
        for (int j = 0; j < len; j++) {
            variable[j] = (char)(variable[j] == '.' ? '_' : toupper((unsigned char)variable[j]));
        }
        /* No kind takes this: the complaint shows that the variable was read. */
        (void)snprintf(variable + len, sizeof variable - (size_t)len, "%s", "\x01");
        assert_int_equal(load(NULL, (const char *[]){variable, NULL}, NULL), ERR_SYNTAX);
        assert_memory_equal(text_of(&errors), option->path, strlen(option->path));
        variable[len - 1] = '\0';
        assert_non_null(strstr(text_of(&errors), variable));
    }
}

static void test_conf_empty_variables_are_unset(void **state)
{
    (void)state;
    must_load(NULL,
              (const char *[]){"DWELL_SERVICE_NAME=", "DWELL_HTTP_LISTEN=", "ENVIRONMENT=", NULL},
              NULL);
    assert_string_equal(conf.service.name, "acgs2-agent-bus");
    assert_string_equal(conf.service.environment, "development");
}

static void test_conf_reads_shared_variables_before_its_own(void **state)
{
    (void)state;
    must_load("{\"service\": {\"environment\": \"file\"}}",
              (const char *[]){"ENVIRONMENT=staging", "CONSTITUTIONAL_HASH=abc", NULL}, NULL);
    assert_string_equal(conf.service.environment, "staging");
    assert_string_equal(conf.service.constitutional_hash, "abc");
    must_load(NULL,
              (const char *[]){"DWELL_SERVICE_ENVIRONMENT=own", "ENVIRONMENT=staging",
                               "OTEL_SERVICE_NAME=otel", "DWELL_SERVICE_NAME=own", NULL},
              NULL);
    assert_string_equal(conf.service.environment, "own");
    assert_string_equal(conf.service.name, "own");
    must_complain(NULL, (const char *[]){"CONSTITUTIONAL_HASH=a b", NULL}, NULL,
                  "service.constitutional_hash: expects 1 to 64 letters, digits, \"-\", \"_\" or "
                  "\".\", got \"a b\" (CONSTITUTIONAL_HASH)\n");
}

static void test_conf_reads_opentelemetry_variables(void **state)
{
    (void)state;
    must_load(NULL,
              (const char *[]){"OTEL_SERVICE_NAME=svc", "OTEL_EXPORTER_OTLP_ENDPOINT=http://h:4317",
                               "OTEL_EXPORTER_OTLP_HEADERS= authorization=Bearer%20x , k = v ,",
                               "OTEL_RESOURCE_ATTRIBUTES=service.name=weaker,team=a%2Cb,"
                               "service.version=3,deployment.environment=prod",
                               "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
                               "OTEL_TRACES_SAMPLER_ARG=0.25", NULL},
              NULL);
    assert_int_equal(warnings.len, 0);
    assert_string_equal(conf.service.name, "svc");
    assert_string_equal(conf.service.version, "3");
    assert_string_equal(conf.service.environment, "prod");
    assert_int_equal(conf.service.attributes.count, 1);
    assert_string_equal(conf.service.attributes.pairs[0].key, "team");
    assert_string_equal(conf.service.attributes.pairs[0].value, "a,b");
    assert_string_equal(conf.otlp.endpoint, "http://h:4317");
    assert_int_equal(conf.otlp.headers.count, 2);
    assert_string_equal(conf.otlp.headers.pairs[0].value, "Bearer x");
    assert_string_equal(conf.otlp.headers.pairs[1].key, "k");
    assert_string_equal(conf.otlp.headers.pairs[1].value, "v");
    assert_true(conf.otlp.sample_rate == 0.25);
    must_load(NULL, (const char *[]){"OTEL_TRACES_SAMPLER=always_off", NULL}, NULL);
    assert_true(conf.otlp.sample_rate == 0);
    must_load(NULL, (const char *[]){"OTEL_TRACES_SAMPLER=traceidratio", NULL}, NULL);
    assert_true(conf.otlp.sample_rate == 1);
}

static void test_conf_reads_every_opentelemetry_variable_of_exporters(void **state)
{
    (void)state;
    must_load("{\"otlp\": {\"traces_timeout_ms\": 3, \"timeout_ms\": 4}}",
              (const char *[]){"OTEL_EXPORTER_OTLP_ENDPOINT=all:1",
                               "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://t:2",
                               "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=unix:///m",
                               "OTEL_EXPORTER_OTLP_INSECURE=TRUE",
                               "OTEL_EXPORTER_OTLP_TRACES_INSECURE=False",
                               "OTEL_EXPORTER_OTLP_METRICS_INSECURE=true",
                               "OTEL_EXPORTER_OTLP_CERTIFICATE=/ca",
                               "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE=/t.ca",
                               "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE=/m.ca",
                               "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/c",
                               "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE=/t.c",
                               "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE=/m.c",
                               "OTEL_EXPORTER_OTLP_CLIENT_KEY=/k",
                               "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY=/t.k",
                               "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY=/m.k",
                               "OTEL_EXPORTER_OTLP_HEADERS=a=1",
                               "OTEL_EXPORTER_OTLP_TRACES_HEADERS=t=1,u=2",
                               "OTEL_EXPORTER_OTLP_METRICS_HEADERS=m=%31",
                               "OTEL_EXPORTER_OTLP_COMPRESSION=GZIP",
                               "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=none",
                               "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION=gzip",
                               "OTEL_EXPORTER_OTLP_TIMEOUT=11",
                               "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=13",
                               "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
                               "OTEL_BSP_SCHEDULE_DELAY=21",
                               "OTEL_BSP_EXPORT_TIMEOUT=22",
                               "OTEL_BSP_MAX_QUEUE_SIZE=23",
                               "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=24",
                               "OTEL_METRIC_EXPORT_INTERVAL=31",
                               "OTEL_METRIC_EXPORT_TIMEOUT=32",
                               "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=Delta",
                               "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="
                               "base2_exponential_bucket_histogram",
                               "OTEL_TRACES_EXPORTER=otlp",
                               "OTEL_METRICS_EXPORTER=none",
                               "OTEL_SDK_DISABLED=false",
                               NULL},
              NULL);
    assert_int_equal(warnings.len, 0);
    assert_string_equal(conf.otlp.endpoint, "all:1");
    assert_string_equal(conf.otlp.of_traces.endpoint, "https://t:2");
    assert_string_equal(conf.otlp.of_metrics.endpoint, "unix:///m");
    assert_true(conf.otlp.insecure);
    assert_int_equal(conf.otlp.of_traces.insecure, 1);
    assert_int_equal(conf.otlp.of_metrics.insecure, 2);
    assert_string_equal(conf.otlp.certificate, "/ca");
    assert_string_equal(conf.otlp.of_traces.certificate, "/t.ca");
    assert_string_equal(conf.otlp.of_metrics.certificate, "/m.ca");
    assert_string_equal(conf.otlp.client_certificate, "/c");
    assert_string_equal(conf.otlp.of_traces.client_certificate, "/t.c");
    assert_string_equal(conf.otlp.of_metrics.client_certificate, "/m.c");
    assert_string_equal(conf.otlp.client_key, "/k");
    assert_string_equal(conf.otlp.of_traces.client_key, "/t.k");
    assert_string_equal(conf.otlp.of_metrics.client_key, "/m.k");
    assert_string_equal(conf.otlp.headers.pairs[0].key, "a");
    assert_int_equal(conf.otlp.of_traces.headers.count, 2);
    assert_string_equal(conf.otlp.of_metrics.headers.pairs[0].value, "1");
    assert_int_equal(conf.otlp.compression, CONF_COMPRESSION_GZIP);
    assert_int_equal(conf.otlp.of_traces.compression, 1 + CONF_COMPRESSION_NONE);
    assert_int_equal(conf.otlp.of_metrics.compression, 1 + CONF_COMPRESSION_GZIP);
    assert_int_equal(conf.otlp.timeout_ms, 11);
    assert_int_equal(conf.otlp.of_traces.timeout_ms, 3); /* the file's, as there is no variable */
    assert_int_equal(conf.otlp.of_metrics.timeout_ms, 13);
    assert_int_equal(conf.otlp.schedule_delay_ms, 21);
    assert_int_equal(conf.otlp.retry_timeout_ms, 22);
    assert_int_equal(conf.otlp.max_queue_spans, 23);
    assert_int_equal(conf.otlp.max_batch, 24);
    assert_int_equal(conf.otlp.metric_interval_ms, 31);
    assert_int_equal(conf.otlp.metric_timeout_ms, 32);
    assert_int_equal(conf.otlp.temporality, CONF_DELTA);
    assert_int_equal(conf.otlp.histogram_aggregation, CONF_EXPONENTIAL_BUCKETS);
    assert_true(conf.otlp.traces);
    assert_false(conf.otlp.metrics);
    must_load(NULL, (const char *[]){"OTEL_SDK_DISABLED=True", NULL}, NULL);
    assert_false(conf.otlp.traces || conf.otlp.metrics);
}

static void test_conf_warns_of_wrong_opentelemetry_variables_and_goes_on(void **state)
{
    (void)state;
    must_warn("OTEL_EXPORTER_OTLP_ENDPOINT=ftp://h:4317",
              "otlp.endpoint: expects an address such as \"http://host:4317\", "
              "\"https://host:4317\", \"host:4317\" or \"unix:/path\", or \"\", got "
              "\"ftp://h:4317\" (OTEL_EXPORTER_OTLP_ENDPOINT)\n");
    static const char *const broken[] = {"a",     "=a",    "a=%",   "a=%4",
                                         "a=%4g", "a=%ff", "a=b,c", "\xff=a"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        char variable[64];
        (void)snprintf(variable, sizeof variable, "OTEL_EXPORTER_OTLP_HEADERS=%s", broken[i]);
        must_warn(variable, "OTEL_EXPORTER_OTLP_HEADERS: expects key=value, … with values "
                            "percent-encoded; ignored\n");
        assert_int_equal(conf.otlp.headers.count, 0);
    }
    must_warn(
        "OTEL_EXPORTER_OTLP_HEADERS=a=%0asecret",
        "otlp.headers.a: expects text of at most 4096 bytes without control characters, got a "
        "text (OTEL_EXPORTER_OTLP_HEADERS)\n");
    must_warn(
        "OTEL_TRACES_SAMPLER=sometimes",
        "OTEL_TRACES_SAMPLER: expects always_on, always_off, traceidratio or one of them after "
        "\"parentbased_\"; ignored\n");
    must_warn("OTEL_SERVICE_NAME=a\nb",
              "service.name: expects text of 1 to 256 bytes without control characters, got "
              "\"a\\nb\" (OTEL_SERVICE_NAME)\n");
    must_warn("OTEL_SERVICE_NAME=", "");
    must_warn("OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
              "OTEL_EXPORTER_OTLP_PROTOCOL: expects grpc, which is what dwelld speaks; ignored\n");
    must_warn("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json",
              "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: expects grpc, which is what dwelld speaks; "
              "ignored\n");
    must_warn(
        "OTEL_EXPORTER_OTLP_INSECURE=maybe",
        "otlp.insecure: expects true or false, got \"maybe\" (OTEL_EXPORTER_OTLP_INSECURE)\n");
    must_warn("OTEL_EXPORTER_OTLP_COMPRESSION=zstd",
              "otlp.compression: expects \"none\" or \"gzip\", got \"zstd\" "
              "(OTEL_EXPORTER_OTLP_COMPRESSION)\n");
    must_warn("OTEL_EXPORTER_OTLP_TIMEOUT=soon",
              "otlp.timeout_ms: expects a whole number from 1 to 86400000, got \"soon\" "
              "(OTEL_EXPORTER_OTLP_TIMEOUT)\n");
    must_warn("OTEL_BSP_MAX_QUEUE_SIZE=-1",
              "otlp.max_queue_spans: expects a whole number from 1 to 10000000, got -1 "
              "(OTEL_BSP_MAX_QUEUE_SIZE)\n");
    must_warn("OTEL_SDK_DISABLED=1", "OTEL_SDK_DISABLED: expects true or false; ignored\n");
    must_warn("OTEL_TRACES_EXPORTER=zipkin",
              "OTEL_TRACES_EXPORTER: expects otlp or none; ignored\n");
    must_warn("OTEL_EXPORTER_OTLP_ENDPOINT=", "");
}

static void test_conf_tells_misspelt_variables_from_those_of_others(void **state)
{
    (void)state;
    must_load(NULL,
              (const char *[]){"DWELL_DIR=/x", "DWELL_DISABLED=1", "DWELL_SERVICE_HOST=10.0.0.1",
                               "DWELL_SERVICE_PORT=80", "DWELL_PORT=tcp://10.0.0.1:80",
                               "DWELL_PORT_80_TCP_ADDR=10.0.0.1", "DWELL_", "DWELL", "PATH=/bin",
                               "=", "", "no equals sign", NULL},
              NULL);
    must_complain(NULL, (const char *[]){"DWELL_HTTP_LISTN=x", NULL}, NULL,
                  "DWELL_HTTP_LISTN: is not an option; the nearest is DWELL_HTTP_LISTEN "
                  "(environment)\n");
}

/* --- kinds of values --- */

static void test_conf_takes_values_at_their_limits(void **state)
{
    (void)state;
    must_take("ingest.max_peer_connections=1");
    must_take("ingest.max_peer_connections=65536");
    must_take("ingest.max_peer_bytes=4294967296");
    must_take("ingest.max_peer_records_per_second=1");
    must_take("ingest.max_peer_records_per_second=1000000000");
    must_take("http.max_connections=1");
    must_take("http.max_connections=4096");
    must_take("ingest.max_frame_bytes=16777215");
    must_take("otlp.sample_rate=0");
    must_take("otlp.sample_rate=1");
    must_take("otlp.sample_rate=0.5");
    must_take("service.enforce_hash=true");
    assert_true(conf.service.enforce_hash);
    must_take("ingest.directory=");
    must_take("service.name=a=b");
    assert_string_equal(conf.service.name, "a=b");
    must_take("metrics.namespace=");
    must_take("metrics.namespace=_a1");
    must_take("log.level=debug");
    assert_int_equal(conf.log.level, LOG_LEVEL_DEBUG);
    must_take("log.format=json");
    assert_int_equal(conf.log.format, LOG_FORMAT_JSON);
    must_take("log.format=logfmt");
    assert_int_equal(conf.log.format, LOG_FORMAT_LOGFMT);
    must_take("log.format=journald");
    assert_int_equal(conf.log.format, LOG_FORMAT_JOURNALD);
    must_take("log.format=auto");
    assert_int_equal(conf.log.format, LOG_FORMAT_AUTO);
    must_take("otlp.endpoint=unix:///run/x");
    must_take("otlp.endpoint=https://x");
    must_take("otlp.endpoint=h:4317");
    must_take("otlp.max_request_bytes=67108864");
    must_take("otlp.max_queue_bytes=65536");
    must_take("otlp.spool_max_bytes=1099511627776");
    assert_int_equal(conf.otlp.spool_max_bytes, UINT64_C(1) << 40);
    must_take("otlp.spool_max_files=100000");
    must_take("otlp.spool_after_ms=0");
    must_take("otlp.spool_directory=/var/spool/dwell");
    assert_string_equal(conf.otlp.spool_directory, "/var/spool/dwell");
    must_take("service.name=\"quotes\" and ünïcode");
    assert_string_equal(conf.service.name, "\"quotes\" and ünïcode");

    char directory[128] = "ingest.directory=";
    memset(directory + 17, 'd', 94);
    must_take(directory);
    memset(directory + 17, 'd', 95);
    assert_int_equal(load(NULL, NULL, (const char *[]){directory, NULL}), ERR_SYNTAX);
}

static void test_conf_refuses_values_beyond_their_limits(void **state)
{
    (void)state;
    must_refuse("ingest.max_peer_connections=0",
                "ingest.max_peer_connections: expects a whole number from 1 to 65536, got 0 "
                "(--set)\n");
    must_refuse("ingest.max_peer_records_per_second=-1",
                "ingest.max_peer_records_per_second: expects a whole number from 0 to 1000000000, "
                "got -1 (--set)\n");
    must_refuse("http.max_connections=0",
                "http.max_connections: expects a whole number from 1 to 4096, got 0 (--set)\n");
    must_refuse("http.max_connections=4097",
                "http.max_connections: expects a whole number from 1 to 4096, got 4097 (--set)\n");
    must_refuse("http.max_connections=-1",
                "http.max_connections: expects a whole number from 1 to 4096, got -1 (--set)\n");
    must_refuse("http.max_connections=1.5",
                "http.max_connections: expects a whole number from 1 to 4096, got 1.5 (--set)\n");
    must_refuse(
        "http.max_connections=many",
        "http.max_connections: expects a whole number from 1 to 4096, got \"many\" (--set)\n");
    must_refuse("http.max_connections=",
                "http.max_connections: expects a whole number from 1 to 4096, got \"\" (--set)\n");
    must_refuse("http.max_connections=99999999999999999999",
                "http.max_connections: expects a whole number from 1 to 4096, got "
                "\"99999999999999999999\" (--set)\n");
    must_refuse("http.max_connections=null",
                "http.max_connections: expects a whole number from 1 to 4096, got null (--set)\n");
    must_refuse("otlp.max_request_bytes=67108865",
                "otlp.max_request_bytes: expects a whole number from 4096 to 67108864, got "
                "67108865 (--set)\n");
    must_refuse("otlp.spool_max_bytes=1099511627777",
                "otlp.spool_max_bytes: expects a whole number from 65536 to 1099511627776, got "
                "1099511627777 (--set)\n");
    must_refuse("otlp.spool_max_bytes=65535",
                "otlp.spool_max_bytes: expects a whole number from 65536 to 1099511627776, got "
                "65535 (--set)\n");
    must_refuse("otlp.spool_max_files=100001",
                "otlp.spool_max_files: expects a whole number from 1 to 100000, got 100001 "
                "(--set)\n");
    must_refuse("otlp.spool_max_files=0",
                "otlp.spool_max_files: expects a whole number from 1 to 100000, got 0 (--set)\n");
    must_refuse("otlp.max_queue_spans=0",
                "otlp.max_queue_spans: expects a whole number from 1 to 10000000, got 0 (--set)\n");
    must_refuse(
        "otlp.temporality=none",
        "otlp.temporality: expects \"cumulative\", \"delta\" or \"lowmemory\", got \"none\" "
        "(--set)\n");
    must_refuse("otlp.sample_rate=1.0001",
                "otlp.sample_rate: expects a number from 0 to 1, got 1.0001 (--set)\n");
    must_refuse("otlp.sample_rate=NaN",
                "otlp.sample_rate: expects a number from 0 to 1, got \"NaN\" (--set)\n");
    must_refuse("otlp.sample_rate=1e999",
                "otlp.sample_rate: expects a number from 0 to 1, got \"1e999\" (--set)\n");
    must_refuse("service.enforce_hash=yes",
                "service.enforce_hash: expects true or false, got \"yes\" (--set)\n");
    must_refuse("service.name=", "service.name: expects text of 1 to 256 bytes without control "
                                 "characters, got \"\" (--set)\n");
    must_refuse("service.name=a\x1b[2J", "service.name: expects text of 1 to 256 bytes without "
                                         "control characters, got \"a\\x1b[2J\" (--set)\n");
    must_refuse("service.name=\xff", "service.name: expects UTF-8, got other bytes (--set)\n");
    must_refuse("metrics.namespace=1a",
                "metrics.namespace: expects at most 64 letters, digits and \"_\" that do not begin "
                "with a digit, got \"1a\" (--set)\n");
    must_refuse("log.level=loud", "log.level: expects \"error\", \"warning\", \"info\" or "
                                  "\"debug\", got \"loud\" (--set)\n");
    must_refuse("profiling.classifier=means", "profiling.classifier: expects \"thresholds\" or "
                                              "\"evidence\", got \"means\" (--set)\n");
    must_refuse("profiling.round_ms=249", "profiling.round_ms: expects a whole number from 250 to "
                                          "86400000, got 249 (--set)\n");
}

static void test_conf_cuts_long_wrong_values(void **state)
{
    (void)state;
    char assignment[200] = "log.level=";
    for (size_t i = 0; i < 80; i++) {
        memcpy(assignment + 10 + 2 * i, "é", 2);
    }
    assignment[170] = '\0';
    assert_int_equal(load(NULL, NULL, (const char *[]){assignment, NULL}), ERR_SYNTAX);
    assert_non_null(strstr(text_of(&errors), "éé…\" (--set)\n"));
    assert_true(errors.len < 160);
    assert_true(str_is_utf8((struct str){errors.data, errors.len}));
}

static void test_conf_reads_permissions(void **state)
{
    (void)state;
    must_take("ingest.mode=0660");
    assert_int_equal(conf.ingest.mode, 0660);
    must_take("ingest.mode=600");
    assert_int_equal(conf.ingest.mode, 0600);
    must_take("ingest.mode=0777");
    must_take("ingest.mode=0000");
    static const char *const wrong[] = {"1000", "0780", "77", "00777", "", "rw-", "0x1f", "-777"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char assignment[64];
        char complaint[128];
        (void)snprintf(assignment, sizeof assignment, "ingest.mode=%s", wrong[i]);
        (void)snprintf(
            complaint, sizeof complaint,
            "ingest.mode: expects permissions as octal text from \"0000\" to \"0777\", got "
            "\"%s\" (--set)\n",
            wrong[i]);
        must_refuse(assignment, complaint);
    }
    must_refuse_file(
        "{\"ingest\": {\"mode\": 432}}",
        "ingest.mode: expects permissions as octal text from \"0000\" to \"0777\", got "
        "432 (f.json)\n");
}

static void must_listen(const char *assignment, const char *host, uint16_t port, bool is_ipv6)
{
    must_take(assignment);
    assert_string_equal(conf.http.listen.host, host);
    assert_int_equal(conf.http.listen.port, port);
    assert_int_equal(conf.http.listen.is_ipv6, is_ipv6);
}

static void test_conf_reads_addresses(void **state)
{
    (void)state;
    must_listen("http.listen=127.0.0.1:0", "127.0.0.1", 0, false);
    must_listen("http.listen=0.0.0.0:65535", "0.0.0.0", 65535, false);
    must_listen("http.listen=[::1]:9847", "::1", 9847, true);
    must_listen("http.listen=[::]:1", "::", 1, true);
    must_listen("http.listen=[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1, true);
    static const char *const wrong[] = {
        "",
        "9847",
        ":9847",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "1.2.3:80",
        "localhost:1",
        "[::1]",
        "[::1]:",
        "::1:9847",
        "[127.0.0.1]:1",
        "[]:1",
        "[:1",
        "1.2.3.4:x",
        "1.2.3.4:-1",
        " 1.2.3.4:1",
        "1.2.3.4:1 ",
        "]:1",
        "[::1:80",
        "256.1.1.1:1",
        "1.2.3.4:99999999999999999999",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char assignment[64];
        char complaint[200];
        (void)snprintf(assignment, sizeof assignment, "http.listen=%s", wrong[i]);
        (void)snprintf(complaint, sizeof complaint,
                       "http.listen: expects a numeric address and port such as "
                       "\"127.0.0.1:9847\" or \"[::1]:9847\", got \"%s\" (--set)\n",
                       wrong[i]);
        must_refuse(assignment, complaint);
    }
}

static void test_conf_reads_lists_of_ids(void **state)
{
    (void)state;
    must_take("ingest.allowed_uids=[0, 1000, 4294967294]");
    assert_int_equal(conf.ingest.allowed_uids.count, 3);
    assert_int_equal(conf.ingest.allowed_uids.ids[1], 1000);
    assert_true(conf.ingest.allowed_uids.ids[2] == 4294967294);
    must_take("ingest.allowed_gids=[]");
    must_refuse(
        "ingest.allowed_uids=[1, -1, \"x\", 4294967295, 5]",
        "ingest.allowed_uids[1]: expects a whole number from 0 to 4294967294, got -1 (--set)\n"
        "ingest.allowed_uids[2]: expects a whole number from 0 to 4294967294, got \"x\" "
        "(--set)\n"
        "ingest.allowed_uids[3]: expects a whole number from 0 to 4294967294, got 4294967295 "
        "(--set)\n");
    must_refuse("ingest.allowed_uids=1000",
                "ingest.allowed_uids: expects a list of at most 256 numbers, got 1000 (--set)\n");
    must_refuse("ingest.allowed_uids=[1",
                "ingest.allowed_uids: expects a list of at most 256 numbers, got \"[1\" (--set)\n");

    char assignment[2000] = "ingest.allowed_gids=[1";
    size_t len = strlen(assignment);
    for (size_t i = 1; i < CONF_IDS_MAX; i++) {
        memcpy(assignment + len, ",1", 2);
        len += 2;
    }
    memcpy(assignment + len, "]", 2);
    must_take(assignment);
    memcpy(assignment + len, ",1]", 4);
    must_refuse(assignment,
                "ingest.allowed_gids: expects a list of at most 256 numbers, got a list (--set)\n");
}

static void test_conf_reads_names_of_statsd(void **state)
{
    (void)state;
    must_take("ingest.statsd_samples=[]");
    assert_int_equal(conf.ingest.statsd_samples.count, 0);
    must_take("ingest.statsd_samples=[\"api.predict\", \"größe\"]");
    assert_int_equal(conf.ingest.statsd_samples.count, 2);
    assert_string_equal(conf.ingest.statsd_samples.texts[1], "größe");
    static const char *const wrong[] = {"", "a:b", "a|b", "a\\nb"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char assignment[64];
        (void)snprintf(assignment, sizeof assignment, "ingest.statsd_samples=[\"%s\"]", wrong[i]);
        assert_int_equal(load(NULL, NULL, (const char *[]){assignment, NULL}), ERR_SYNTAX);
        assert_memory_equal(text_of(&errors), "ingest.statsd_samples[0]: expects a name", 40);
    }
    must_refuse("ingest.statsd_samples=[\"a\", \"b\", \"a\"]",
                "ingest.statsd_samples[2]: expects a name that is not in the list yet, got \"a\" "
                "(--set)\n");
    must_refuse("ingest.statsd_samples=a",
                "ingest.statsd_samples: expects a list of at most 64 names, got \"a\" (--set)\n");
}

static void test_conf_reads_label_keys(void **state)
{
    (void)state;
    must_take("profiling.label_keys=[\"tenant\", \"region_1\"]");
    assert_int_equal(conf.profiling.label_keys.count, 2);
    assert_string_equal(conf.profiling.label_keys.texts[1], "region_1");
    static const char *const wrong[] = {"",    "le", "model_name", "device", "__x",   "a-b", "1a",
                                        "a.b", "q",  "état",       "a b",    "state", "stat"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char assignment[64];
        (void)snprintf(assignment, sizeof assignment, "profiling.label_keys=[\"%s\"]", wrong[i]);
        assert_int_equal(load(NULL, NULL, (const char *[]){assignment, NULL}), ERR_SYNTAX);
        assert_memory_equal(text_of(&errors), "profiling.label_keys[0]: expects a label", 40);
    }
    must_refuse(
        "profiling.label_keys=[\"a\", 5, \"a\"]",
        "profiling.label_keys[1]: expects a label of at most 64 letters, digits and \"_\" that "
        "the daemon does not use itself, got 5 (--set)\n"
        "profiling.label_keys[2]: expects a label that is not in the list yet, got \"a\" "
        "(--set)\n");
}

static void test_conf_reads_pairs(void **state)
{
    (void)state;
    must_take("service.attributes={\"team\": \"a\", \"zone.name\": \"\"}");
    assert_int_equal(conf.service.attributes.count, 2);
    assert_string_equal(conf.service.attributes.pairs[0].key, "team");
    assert_string_equal(conf.service.attributes.pairs[1].value, "");
    must_refuse("service.attributes={\"a\": 1, \"\": \"x\", \"b\": \"c\\n\"}",
                "service.attributes.a: expects text of at most 4096 bytes without control "
                "characters, got 1 (--set)\n"
                "service.attributes.: expects a key of 1 to 256 bytes without control characters, "
                "got \"x\" (--set)\n"
                "service.attributes.b: expects text of at most 4096 bytes without control "
                "characters, got \"c\\n\" (--set)\n");
    must_refuse("service.attributes=[]",
                "service.attributes: expects an object of at most 64 texts, got a list (--set)\n");
}

static void test_conf_reads_layers(void **state)
{
    (void)state;
    must_take("budgets.total_ms=0.001");
    must_refuse("budgets.total_ms=0",
                "budgets.total_ms: expects a number from 0.001 to 1000000000, got 0 (--set)\n");
    must_take("budgets.layers=[{\"layer\": \"a\", \"budget_ms\": 0.001}]");
    must_refuse("budgets.layers=[{\"layer\": \"a\", \"budget_ms\": 0}]",
                "budgets.layers[0].budget_ms: expects a number from 0.001 to 1000000000, got 0 "
                "(--set)\n");
    must_take("budgets.layers=[{\"layer\": \"a\", \"budget_share\": 1}]");
    assert_true(conf.budgets.layers.layers[0].budget_share == 1);
    must_take("budgets.layers=[{\"layer\": \"a\", \"budget_share\": 1e-9}]");
    must_refuse("budgets.layers=[{\"layer\": \"a\", \"budget_share\": 0}]",
                "budgets.layers[0].budget_share: expects a number above 0, at most 1, got 0 "
                "(--set)\n");
    must_refuse("budgets.layers=[{\"layer\": \"a\", \"budget_share\": 1.001}]",
                "budgets.layers[0].budget_share: expects a number above 0, at most 1, got 1.001 "
                "(--set)\n");
    must_refuse("budgets.layers=[{\"layer\": \"a\", \"budget_share\": 1, \"budget_ms\": 5}]",
                "budgets.layers[0].budget_ms: expects to be missing beside budget_share, got 5 "
                "(--set)\n");
    must_take("budgets.objective=0");
    must_take("budgets.objective=0.999999");
    must_refuse("budgets.objective=1",
                "budgets.objective: expects a number from 0 to 0.999999, got 1 (--set)\n");
    must_refuse("budgets.objective=-0.1",
                "budgets.objective: expects a number from 0 to 0.999999, got -0.1 (--set)\n");
    must_take("budgets.layers=[{\"layer\": \"a\", \"budget_ms\": 1.5, \"soft_limit_pct\": 0.5, "
              "\"strict_enforcement\": false}, {\"layer\": \"b\", \"budget_ms\": 2}]");
    assert_int_equal(conf.budgets.layers.count, 2);
    assert_true(conf.budgets.layers.layers[0].budget_ms == 1.5);
    assert_true(conf.budgets.layers.layers[0].soft_limit_pct == 0.5);
    assert_false(conf.budgets.layers.layers[0].strict_enforcement);
    assert_true(conf.budgets.layers.layers[1].soft_limit_pct == 0.8);
    assert_true(conf.budgets.layers.layers[1].strict_enforcement);
    must_take("budgets.layers=[]");
    must_refuse(
        "budgets.layers=[7, {\"layer\": \"total\", \"budget_ms\": 1}, "
        "{\"layer\": \"a\", \"budget_ms\": 0, \"soft_limit_pct\": 1.5, "
        "\"strict_enforcement\": 1, \"soft_limit\": 1, \"\": 1, \"other\": 1}, {\"layer\": \"a\", "
        "\"budget_ms\": 1}, "
        "{}]",
        "budgets.layers[0]: expects an object {layer, budget_ms, …}, got 7 (--set)\n"
        "budgets.layers[1].layer: expects text of 1 to 64 bytes without control characters, "
        "not \"total\", got \"total\" (--set)\n"
        "budgets.layers[2].soft_limit: is not a key of a layer; the nearest is "
        "soft_limit_pct (--set)\n"
        "budgets.layers[2].: is not a key of a layer (--set)\n"
        "budgets.layers[2].other: is not a key of a layer (--set)\n"
        "budgets.layers[2].budget_ms: expects a number from 0.001 to 1000000000, got 0 "
        "(--set)\n"
        "budgets.layers[2].soft_limit_pct: expects a number from 0 to 1, got 1.5 (--set)\n"
        "budgets.layers[2].strict_enforcement: expects true or false, got 1 (--set)\n"
        "budgets.layers[3].layer: expects a name that no other layer has, got \"a\" (--set)\n"
        "budgets.layers[4].budget_ms: expects a number from 0.001 to 1000000000, got nothing "
        "(--set)\n"
        "budgets.layers[4].layer: expects text of 1 to 64 bytes without control characters, "
        "not \"total\", got nothing (--set)\n");
}

static void test_conf_checks_options_against_each_other(void **state)
{
    (void)state;
    must_load(NULL, NULL, (const char *[]){"profiling.cpu_io_threshold_percent=50", NULL});
    must_refuse("profiling.cpu_io_threshold_percent=50.5",
                "profiling.cpu_io_threshold_percent: expects at most "
                "profiling.cpu_compute_threshold_percent, which is 50, got 50.5\n");
    must_load(NULL, NULL, (const char *[]){"ingest.max_peer_bytes=1114112", NULL});
    must_refuse("ingest.max_peer_bytes=1114111",
                "ingest.max_peer_bytes: expects room for ingest.max_frame_bytes and answers, "
                "1114112 or more, got 1114111\n");
    must_refuse(
        "metrics.max_series=9999",
        "metrics.max_series_per_family: expects at most metrics.max_series, which is 9999, got "
        "10000\n");
}

/* The ends of each range, and a little past them. `other` is the other end of a pair. */
static void test_conf_takes_constants_of_a_gpu_to_their_ends(void **state)
{
    (void)state;
    const struct {
        const char *path, *below, *least, *most, *above, *other;
    } table[] = {
        {"gpu.min_speedup", "0.99", "1", "1e6", "1000001", NULL},
        {"gpu.max_latency_ms", "-1", "0", "1e9", "1.1e9", NULL},
        {"gpu.peak_tflops", "0.0009", "0.001", "1e6", "1000001", NULL},
        {"gpu.bandwidth_gb", "0.09", "0.1", "1e6", "1000001", NULL},
        {"gpu.efficiency_low", "0", "0.001", "1", "1.01", "gpu.efficiency_high=1"},
        {"gpu.efficiency_high", "0", "0.001", "1", "1.01", "gpu.efficiency_low=0.001"},
        {"gpu.launch_us", "-1", "0", "1e9", "1.1e9", NULL},
        {"gpu.transfer_us", "-1", "0", "1e9", "1.1e9", NULL},
        {"gpu.max_batch", "0", "1", "4096", "4097", NULL},
        {"gpu.price_low", "-1", "0", "1e6", "1000001", "gpu.price_high=1e6"},
        {"gpu.price_high", "-1", "0", "1e6", "1000001", "gpu.price_low=0"},
        {"gpu.cpu_price_low", "-1", "0", "1e6", "1000001", "gpu.cpu_price_high=1e6"},
        {"gpu.cpu_price_high", "-1", "0", "1e6", "1000001", "gpu.cpu_price_low=0"},
        {"gpu.cpu_threads", "0", "1", "4096", "4097", NULL},
        {"gpu.host_threads", "0", "1", "4096", "4097", NULL},
        {"gpu.utilization", "0.049", "0.05", "1", "1.01", NULL},
        {"gpu.instances", "0", "1", "1000000", "1000001", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *const values[] = {table[i].least, table[i].most, table[i].below,
                                      table[i].above};
        for (size_t k = 0; k < 4; k++) {
            char set[64];
            (void)snprintf(set, sizeof set, "%s=%s", table[i].path, values[k]);
            const char *const sets[] = {set, table[i].other, NULL};
            assert_int_equal(load(NULL, NULL, sets), k < 2 ? 0 : ERR_SYNTAX);
            assert_true(k < 2 || strstr(text_of(&errors), table[i].path) != NULL);
        }
    }
    must_take("gpu.objective=latency");
    assert_int_equal(conf.gpu.objective, CONF_GPU_LATENCY);
    must_refuse("gpu.objective=speed",
                "gpu.objective: expects \"cost\" or \"latency\", got \"speed\" (--set)\n");
    must_take("gpu.price_low=0.6");
    must_refuse("gpu.price_low=0.7",
                "gpu.price_low: expects at most gpu.price_high, which is 0.6, got 0.7\n");
    must_take("gpu.cpu_price_high=0.2");
    must_refuse("gpu.cpu_price_high=0.1",
                "gpu.cpu_price_low: expects at most gpu.cpu_price_high, which is 0.1, got 0.2\n");
    must_take("gpu.efficiency_low=0.6");
    must_refuse("gpu.efficiency_low=0.61", "gpu.efficiency_low: expects at most "
                                           "gpu.efficiency_high, which is 0.6, got 0.61\n");
}

/* --- files --- */

static void test_conf_says_where_a_file_is_not_json(void **state)
{
    (void)state;
    must_refuse_file("", "f.json:1:0: is not JSON: '[' or '{' expected\n");
    must_refuse_file("{\n  \"http\": {\n    \"listen\": }\n}",
                     "f.json:3:15: is not JSON: unexpected token\n");
    must_refuse_file("{\"log\": {}, \"log\": {}}",
                     "f.json:1:17: is not JSON: duplicate object key\n");
    must_refuse_file("{} x", "f.json:1:4: is not JSON: end of file expected\n");
    must_refuse_file("[]", "f.json: expects an object, got a list\n");
    must_refuse_file("5", "f.json:1:1: is not JSON: '[' or '{' expected\n");
    assert_int_equal(load("{\"service\": {\"name\": \"\xff\"}}", NULL, NULL), ERR_SYNTAX);
    assert_int_equal(load("{\"service\": {\"name\": \"a\\u0000b\"}}", NULL, NULL), ERR_SYNTAX);
}

static void test_conf_tells_everything_at_once(void **state)
{
    (void)state;
    must_complain("{\"htp\": {}, \"listen\": \"x\", \"http.listen\": \"x\", \"metrics\": 5, "
                  "\"log\": {\"level\": \"loud\", \"levle\": \"info\"}}",
                  (const char *[]){"DWELL_LOG_FORMAT=xml", NULL},
                  (const char *[]){"http.timeout_ms=1", "nothing", "log=5", "a.b=c", NULL},
                  "htp: is not an option; the nearest is http (f.json)\n"
                  "listen: is not an option; the nearest is http.listen (f.json)\n"
                  "http.listen: expects an object for each part of the path, got a dot (f.json)\n"
                  "metrics: expects an object, got a number (f.json)\n"
                  "log.level: expects \"error\", \"warning\", \"info\" or \"debug\", got \"loud\" "
                  "(f.json)\n"
                  "log.levle: is not an option; the nearest is log.level (f.json)\n"
                  "log.format: expects \"text\", \"json\", \"logfmt\", \"journald\" or \"auto\", "
                  "got \"xml\" (DWELL_LOG_FORMAT)\n"
                  "http.timeout_ms: expects a whole number from 1000 to 600000, got 1 (--set)\n"
                  "--set: expects path=value, got \"nothing\"\n"
                  "log: is a group of options and not one of them (--set)\n"
                  "a.b: is not an option (--set)\n");
}

static void test_conf_names_the_nearest_option(void **state)
{
    (void)state;
    must_refuse("http.lisen=1",
                "http.lisen: is not an option; the nearest is http.listen (--set)\n");
    must_refuse("profiling.window=1", "profiling.window: is not an option; the nearest is "
                                      "profiling.window_seconds (--set)\n");
    must_refuse("ingest.timeout_ms=1",
                "ingest.timeout_ms: is not an option; the nearest is http.timeout_ms (--set)\n");
    must_refuse("max_models=1",
                "max_models: is not an option; the nearest is profiling.max_models (--set)\n");
    must_refuse("=1", ": is not an option (--set)\n");
    must_refuse("completely.wrong=1", "completely.wrong: is not an option (--set)\n");
}

static void test_conf_complaints_cannot_be_forged(void **state)
{
    (void)state;
    must_refuse_file("{\"a\\nservice.name: fine\": 1}",
                     "a\\nservice.name: fine: is not an option; the nearest is service.name "
                     "(f.json)\n");
    char file[400] = "{\"";
    memset(file + 2, 'k', 300);
    memcpy(file + 302, "\": 1}", 6);
    assert_int_equal(load(file, NULL, NULL), ERR_SYNTAX);
    assert_true(errors.len < 120);
}

static void test_conf_never_shows_secrets(void **state)
{
    (void)state;
    static const char *const files[] = {
        "{\"otlp\": {\"headers\": {\"authorization\": \"s3cr3t\\n\"}}}",
        "{\"otlp\": {\"headers\": {\"authorization\": [\"s3cr3t\"]}}}",
        "{\"otlp\": {\"headers\": \"s3cr3t\"}}",
        "{\"otlp\": {\"headers\": {\"authorization\": s3cr3t}}}",
        "{\"otlp\": {\"headers\": {\"authorization\": \"s3cr3t",
        "{\"otlp\": {\"headers\": {\"authorization\": \"s3cr3t\" 5",
        "{\"otlp\": {\"headers\": {\"authorization\": \"s3cr3t\"}}, \"log\": 1}",
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(load(files[i], NULL, NULL), ERR_SYNTAX);
        assert_null(strstr(text_of(&errors), "s3cr3t"));
    }
    static const char *const values[] = {"s3cr3t", "{\"a\": \"s3cr3t\"", "\"s3cr3t\"",
                                         "[\"s3cr3t\"]"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char text[100];
        (void)snprintf(text, sizeof text, "otlp.headers=%s", values[i]);
        assert_int_equal(load(NULL, NULL, (const char *[]){text, NULL}), ERR_SYNTAX);
        assert_null(strstr(text_of(&errors), "s3cr3t"));
    }
    must_take("otlp.headers={\"authorization\": \"s3cr3t\"}");
    assert_string_equal(conf.otlp.headers.pairs[0].value, "s3cr3t");
    conf_render_json(&output, &conf);
    assert_null(strstr(text_of(&output), "s3cr3t"));
}

static void test_conf_copes_with_any_bytes(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    must_load(NULL, NULL, NULL);
    conf_render_json(&output, &conf);
    char *text = malloc(output.len + 1);
    assert_non_null(text);
    for (int i = 0; i < 3000; i++) {
        memcpy(text, output.data, output.len);
        size_t len = i % 4 == 0 ? (size_t)random() % output.len : output.len;
        for (long flips = random() % 4; flips >= 0 && len > 0; flips--) {
            text[(size_t)random() % len] = (char)random();
        }
        buf_clear(&errors);
        struct conf other;
        int err =
            conf_load(&other, &(struct conf_sources){.file_name = "f", .file_text = {text, len}},
                      &errors, &warnings);
        assert_int_equal(errors.err, 0);
        assert_true(str_is_utf8((struct str){errors.data, errors.len}));
        assert_true(err == 0 ? errors.len == 0 : err == ERR_SYNTAX && errors.len > 0);
        conf_fini(&other);
    }
    free(text);
}

/* --- what is printed --- */

static char *read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    static char text[1 << 16];
    size_t len = fread(text, 1, sizeof text - 1, file);
    assert_int_equal(fclose(file), 0);
    text[len] = '\0';
    return text;
}

static void test_conf_file_of_defaults_is_what_is_printed(void **state)
{
    (void)state;
    must_load(NULL, NULL, NULL);
    conf_render_json(&output, &conf);
    assert_string_equal(text_of(&output), read_file("config/dwelld.json"));
}

static void test_conf_prints_what_it_reads(void **state)
{
    (void)state;
    const char *const sets[] = {
        "service.name=a \"quoted\" \\ name with ünïcode",
        "service.attributes={\"a\\\"\": \"b\", \"c\": \"d\"}",
        "ingest.mode=0600",
        "ingest.allowed_uids=[1, 2]",
        "http.listen=[::1]:0",
        "profiling.label_keys=[\"tenant\", \"zone\"]",
        "profiling.latency_gpu_threshold_ms=0.1",
        "budgets.layers=[{\"layer\": \"x\\\"\", \"budget_ms\": 0.3}]",
        "log.format=json",
        NULL,
    };
    must_load(NULL, NULL, sets);
    conf_render_json(&output, &conf);
    char *first = strdup(text_of(&output));
    must_load(first, NULL, NULL);
    buf_clear(&output);
    conf_render_json(&output, &conf);
    assert_string_equal(text_of(&output), first);
    assert_string_equal(conf.service.attributes.pairs[0].key, "a\"");
    assert_true(conf.budgets.layers.layers[0].budget_ms == 0.3);
    free(first);
}

static void test_conf_table_has_a_row_for_each_option(void **state)
{
    (void)state;
    conf_render_table(&output);
    const char *at = text_of(&output);
    for (size_t i = 0; i < conf_option_count; i++) {
        char cell[80];
        (void)snprintf(cell, sizeof cell, "\n| `%s`", conf_options[i].path);
        at = strstr(at, cell);
        assert_non_null(at);
        size_t bars = 0;
        for (const char *c = at + 1; *c != '\n'; c++) {
            bars += *c == '|';
        }
        assert_int_equal(bars, 5);
    }
}

static void test_conf_says_which_changes_need_a_restart(void **state)
{
    (void)state;
    struct conf old;
    assert_int_equal(conf_load(&old, &(struct conf_sources){0}, &errors, &warnings), 0);
    must_load(NULL, NULL,
              (const char *[]){"log.level=debug", "profiling.latency_gpu_threshold_ms=2",
                               "gpu.price_high=2", "gpu.objective=latency", NULL});
    assert_int_equal(conf_render_fixed_changes(&output, &old, &conf), 0);
    assert_string_equal(text_of(&output), "");
    must_load(NULL, NULL,
              (const char *[]){"log.level=debug", "http.listen=[::1]:1", "service.name=x",
                               "otlp.headers={\"a\": \"s3cr3t\"}", NULL});
    assert_int_equal(conf_render_fixed_changes(&output, &old, &conf), 3);
    assert_string_equal(
        text_of(&output),
        "service.name: needs a restart, as the service is known by it to whoever got data already "
        "(still \"acgs2-agent-bus\")\n"
        "http.listen: needs a restart, as its socket is open (still \"127.0.0.1:9847\")\n"
        "otlp.headers: needs a restart, as the exporters run with it\n");
    conf_fini(&old);
}

static void test_conf_adopts_what_a_reload_may_change(void **state)
{
    (void)state;
    struct conf in_force;
    must_load(NULL, NULL,
              (const char *[]){"http.listen=[::1]:1", "ingest.allowed_uids=[1, 2]", NULL});
    in_force = conf;
    conf = (struct conf){0};
    must_load(NULL, NULL,
              (const char *[]){"http.listen=[::1]:2", "ingest.allowed_uids=[3]", "log.level=debug",
                               "http.allowed_hosts=[\"a\", \"b\"]", "service.name=x",
                               "budgets.total_ms=7", NULL});
    assert_int_equal(conf_render_changes(&output, &in_force, &conf), 4);
    assert_string_equal(text_of(&output),
                        "ingest.allowed_uids, http.allowed_hosts, budgets.total_ms, log.level");
    conf_adopt(&in_force, &conf);
    assert_int_equal(in_force.http.listen.port, 1);
    assert_string_equal(in_force.service.name, "acgs2-agent-bus");
    assert_int_equal(in_force.ingest.allowed_uids.count, 1);
    assert_int_equal(in_force.ingest.allowed_uids.ids[0], 3);
    assert_string_equal(in_force.http.allowed_hosts.texts[1], "b");
    assert_int_equal(in_force.log.level, LOG_LEVEL_DEBUG);
    assert_true(in_force.budgets.total_ms == 7);
    assert_int_equal(conf.ingest.allowed_uids.count, 2); /* the old ones, to be freed */
    assert_int_equal(conf.http.allowed_hosts.count, 0);
    conf_fini(&in_force);
}

/* --- command line --- */

static struct conf_command command;

static int parse(const char *const *arguments)
{
    int argc = 1;
    const char *argv[16] = {"dwelld"};
    for (; arguments[argc - 1] != NULL; argc++) {
        argv[argc] = arguments[argc - 1];
    }
    buf_clear(&errors);
    return conf_parse_command(&command, argc, (char *const *)(uintptr_t)argv, &errors);
}

static void must_parse(const char *const *arguments, enum conf_action action, const char *file_name,
                       size_t set_count)
{
    assert_int_equal(parse(arguments), 0);
    assert_int_equal(errors.len, 0);
    assert_int_equal(command.action, action);
    assert_int_equal(command.set_count, set_count);
    if (file_name == NULL) {
        assert_null(command.file_name);
    } else {
        assert_string_equal(command.file_name, file_name);
    }
}

static void must_misuse(const char *const *arguments, const char *complaint)
{
    assert_int_equal(parse(arguments), ERR_SYNTAX);
    assert_memory_equal(text_of(&errors), complaint, strlen(complaint));
    assert_memory_equal(errors.data + strlen(complaint), "usage: dwelld ", 14);
    assert_null(command.sets);
}

static void test_conf_command_reads_every_argument(void **state)
{
    (void)state;
    must_parse((const char *[]){NULL}, CONF_ACTION_RUN, NULL, 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"--config", "f", "--set", "a=b", "--set=c=d", NULL},
               CONF_ACTION_RUN, "f", 2);
    assert_string_equal(command.sets[0], "a=b");
    assert_string_equal(command.sets[1], "c=d");
    conf_command_fini(&command);
    must_parse((const char *[]){"--config=f", "--check-config", NULL}, CONF_ACTION_CHECK, "f", 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"--print-config", "--print-config", NULL}, CONF_ACTION_PRINT, NULL,
               0);
    conf_command_fini(&command);
    must_parse((const char *[]){"--print-options-table", NULL}, CONF_ACTION_TABLE, NULL, 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"--version", NULL}, CONF_ACTION_VERSION, NULL, 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"-V", NULL}, CONF_ACTION_VERSION, NULL, 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"-h", NULL}, CONF_ACTION_HELP, NULL, 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"--help", NULL}, CONF_ACTION_HELP, NULL, 0);
    conf_command_fini(&command);
    must_parse((const char *[]){"--bad", "--check-config", "--help", "--version", NULL},
               CONF_ACTION_HELP, NULL, 0);
    conf_command_fini(&command);
}

static void test_conf_command_tells_every_misuse(void **state)
{
    (void)state;
    must_misuse((const char *[]){"--bad", NULL}, "--bad: is not known\n");
    must_misuse((const char *[]){"file", NULL}, "file: is not known\n");
    must_misuse((const char *[]){"", NULL}, ": is not known\n");
    must_misuse((const char *[]){"--configx", NULL},
                "--configx: is not known; the nearest is --config\n");
    must_misuse((const char *[]){"--check-cofig", NULL},
                "--check-cofig: is not known; the nearest is --check-config\n");
    must_misuse((const char *[]){"--confg=f", NULL},
                "--confg=f: is not known; the nearest is --config\n");
    must_misuse((const char *[]){"--config", NULL}, "--config: expects a file's name\n");
    must_misuse((const char *[]){"--config=", NULL}, "--config=: expects a file's name\n");
    must_misuse((const char *[]){"--config=a", "--config=b", NULL},
                "--config=b: expects to be given once\n");
    must_misuse((const char *[]){"--set", NULL}, "--set: expects path=value\n");
    must_misuse((const char *[]){"--set", "a", NULL}, "--set: expects path=value\n");
    must_misuse((const char *[]){"--check-config", "--version", NULL},
                "--version: cannot be combined with what came before\n");
    must_misuse((const char *[]){"-x", "\x1b", "--config", NULL},
                "-x: is not known\n\\x1b: is not known\n--config: expects a file's name\n");
}

static void test_conf_help_names_every_option_and_flag(void **state)
{
    (void)state;
    conf_render_help(&output);
    const char *help = text_of(&output);
    for (size_t i = 0; i < conf_option_count; i++) {
        char line[80];
        (void)snprintf(line, sizeof line, "\n  %s\n", conf_options[i].path);
        assert_non_null(strstr(help, line));
    }
    static const char *const known[] = {"--config FILE",  "--set path=value", "--check-config",
                                        "--print-config", "--version",        "--help"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_non_null(strstr(help, known[i]));
    }
}

static void test_conf_help_tells_defaults_and_ranges_in_short_lines(void **state)
{
    (void)state;
    conf_render_help(&output);
    const char *help = text_of(&output);
    assert_non_null(
        strstr(help, "\n  http.max_connections\n"
                     "      HTTP clients at a time, on each address and socket; more are "
                     "turned away.\n"
                     "      Default: 64; takes a whole number from 1 to 4096; reloadable.\n"));
    assert_non_null(
        strstr(help, "      Default: 300; takes a whole number from 6 to 86400 (s).\n"));
    assert_non_null(strstr(help, "      Default: see --print-config; takes a list of at most 64 "));
    for (const char *line = help; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        assert_true(len <= 90);
        line += len + 1;
    }
}

/* The README and the man page show rows alone, and rows are sorted out of their order: none leans on
 * the one above it. */
static void test_conf_sentences_stand_alone(void **state)
{
    (void)state;
    static const char *const begins[] = {"And ",    "Its ",         "Their ",      "Likewise",
                                         "Of them", "All of these", "The same as", "Also "};
    static const char *const holds[] = {"one of these", " likewise", " of both", "that machine",
                                        "that certificate"};
    for (size_t i = 0; i < conf_option_count; i++) {
        const char *sentence = conf_options[i].sentence;
        for (size_t j = 0; j < sizeof begins / sizeof begins[0]; j++) {
            assert_int_not_equal(strncmp(sentence, begins[j], strlen(begins[j])), 0);
        }
        for (size_t j = 0; j < sizeof holds / sizeof holds[0]; j++) {
            assert_null(strstr(sentence, holds[j]));
        }
    }
}

/* --- running out of memory --- */

static void test_conf_survives_running_out_of_memory(void **state)
{
    (void)state;
    /* jansson keeps its own allocator: its reader takes a lost byte for the end of a word. */
    const char *const environment[] = {"DWELL_SERVICE_NAME=x", "OTEL_RESOURCE_ATTRIBUTES=a=b,c=%41",
                                       "OTEL_EXPORTER_OTLP_HEADERS=a=b", NULL};
    const char *const sets[] = {"profiling.label_keys=[\"tenant\", \"zone\"]", NULL};
    struct conf_sources sources = {
        .file_name = "f",
        .file_text =
            STR_LITERAL("{\"http\": {\"listen\": \"[::1]:5\"}, \"ingest\": {\"allowed_uids\": "
                        "[1]}, \"service\": {\"attributes\": {\"a\": \"b\"}}}"),
        .environment = (char *const *)(uintptr_t)environment,
        .sets = sets,
        .set_count = 1,
    };
    buf_fini(&errors);
    buf_fini(&warnings);
    for (size_t n = 1;; n++) {
        size_t live = mem_count_live();
        mem_fail_after(n);
        struct conf other;
        int err = conf_load(&other, &sources, &errors, &warnings);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        conf_fini(&other);
        buf_fini(&errors);
        buf_fini(&warnings);
        assert_int_equal(mem_count_live(), live);
        if (!failed) {
            assert_int_equal(err, 0);
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
    }
    mem_fail_after(1);
    assert_int_equal(parse((const char *[]){"--set", "a=b", NULL}), ERR_NOMEM);
    mem_fail_after(0);
}

static void test_conf_stays_inside_the_ceiling_of_errors(void **state)
{
    (void)state;
    struct buf small;
    buf_init(&small, 100);
    struct conf other;
    assert_int_equal(
        conf_load(&other,
                  &(struct conf_sources){.file_name = "f",
                                         .file_text =
                                             STR_LITERAL("{\"a\": 1, \"b\": 1, \"c\": 1, \"d\": 1, "
                                                         "\"log\": {\"level\": 1}}")},
                  &small, &warnings),
        ERR_SYNTAX);
    assert_int_equal(small.err, ERR_LIMIT);
    assert_in_range(small.len, 1, 100);
    buf_fini(&small);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_conf_rows_are_complete_and_differ),
        TEST(test_conf_groups_stand_together),
        TEST(test_conf_defaults_are_the_documented_ones),
        TEST(test_conf_later_sources_win),
        TEST(test_conf_every_option_has_its_variable),
        TEST(test_conf_empty_variables_are_unset),
        TEST(test_conf_reads_shared_variables_before_its_own),
        TEST(test_conf_reads_opentelemetry_variables),
        TEST(test_conf_reads_every_opentelemetry_variable_of_exporters),
        TEST(test_conf_warns_of_wrong_opentelemetry_variables_and_goes_on),
        TEST(test_conf_tells_misspelt_variables_from_those_of_others),
        TEST(test_conf_takes_values_at_their_limits),
        TEST(test_conf_refuses_values_beyond_their_limits),
        TEST(test_conf_cuts_long_wrong_values),
        TEST(test_conf_reads_permissions),
        TEST(test_conf_reads_addresses),
        TEST(test_conf_reads_lists_of_ids),
        TEST(test_conf_reads_names_of_statsd),
        TEST(test_conf_reads_label_keys),
        TEST(test_conf_reads_pairs),
        TEST(test_conf_reads_layers),
        TEST(test_conf_checks_options_against_each_other),
        TEST(test_conf_takes_constants_of_a_gpu_to_their_ends),
        TEST(test_conf_says_where_a_file_is_not_json),
        TEST(test_conf_tells_everything_at_once),
        TEST(test_conf_names_the_nearest_option),
        TEST(test_conf_complaints_cannot_be_forged),
        TEST(test_conf_never_shows_secrets),
        TEST(test_conf_copes_with_any_bytes),
        TEST(test_conf_file_of_defaults_is_what_is_printed),
        TEST(test_conf_prints_what_it_reads),
        TEST(test_conf_table_has_a_row_for_each_option),
        TEST(test_conf_says_which_changes_need_a_restart),
        TEST(test_conf_adopts_what_a_reload_may_change),
        TEST(test_conf_command_reads_every_argument),
        TEST(test_conf_command_tells_every_misuse),
        TEST(test_conf_help_names_every_option_and_flag),
        TEST(test_conf_help_tells_defaults_and_ranges_in_short_lines),
        TEST(test_conf_sentences_stand_alone),
        TEST(test_conf_survives_running_out_of_memory),
        TEST(test_conf_stays_inside_the_ceiling_of_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
