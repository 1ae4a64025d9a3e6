#include "conf/table.h"

/* Words stand in the order of the enumerations that conf/conf.h names. */
static const char *const level_words[] = {"error", "warning", "info", "debug", NULL};
_Static_assert(sizeof level_words / sizeof level_words[0] == LOG_LEVEL_COUNT + 1, "a word a level");

static const char *const format_words[] = {"text", "json", "logfmt", "journald", "auto", NULL};
_Static_assert(sizeof format_words / sizeof format_words[0] == LOG_FORMAT_COUNT + 1,
               "a word a format");

static const char *const classifier_words[] = {"thresholds", "evidence", NULL};

static const char *const objective_words[] = {"cost", "latency", NULL};

static const char *const auto_words[] = {"auto", "off", NULL};

static const char *const sandbox_words[] = {"auto", "on", "off", NULL};

static const char *const compression_words[] = {"none", "gzip", NULL};
static const char *const signal_compression_words[] = {"inherit", "none", "gzip", NULL};
static const char *const signal_insecure_words[] = {"inherit", "false", "true", NULL};
static const char *const temporality_words[] = {"cumulative", "delta", "lowmemory", NULL};
static const char *const aggregation_words[] = {"explicit_bucket_histogram",
                                                "base2_exponential_bucket_histogram", NULL};

/* The first layers, as the services that dwell watches have them. */
static const char initial_layers[] =
    "[{\"layer\": \"layer1_validation\", \"budget_ms\": 5},"
    " {\"layer\": \"layer2_deliberation\", \"budget_ms\": 20},"
    " {\"layer\": \"layer3_policy\", \"budget_ms\": 10},"
    " {\"layer\": \"layer4_audit\", \"budget_ms\": 15, \"strict_enforcement\": false}]";

/* A path of a socket must fit sun_path (108 bytes with its end) together with "/ingest.dgram". */
#define DIRECTORY_MAX  94
#define PATH_MAX_BYTES 4095
#define DAY_MS         86400000.0

#define AT(member)         .offset = offsetof(struct conf, member)
#define BYTES(least, most) .min = (least), .max = (most)
#define RANGE(least, most) .min = (least), .max = (most)

/* What a signal may have of its own. */
#define SIGNAL_ROWS(signal)                                                                        \
    {"otlp." #signal "_endpoint",                                                                  \
     CONF_ENDPOINT,                                                                                \
     BYTES(0, 1024),                                                                               \
     "\"\"",                                                                                       \
     AT(otlp.of_##signal.endpoint),                                                                \
     .sentence = "For " #signal " alone: in place of otlp.endpoint."},                             \
        {"otlp." #signal "_insecure",                                                              \
         CONF_CHOICE,                                                                              \
         .initial = "\"inherit\"",                                                                 \
         AT(otlp.of_##signal.insecure),                                                            \
         .words = signal_insecure_words,                                                           \
         .sentence = "For " #signal " alone: in place of otlp.insecure."},                         \
        {"otlp." #signal "_headers",                                                               \
         CONF_PAIRS,                                                                               \
         RANGE(0, CONF_PAIRS_MAX),                                                                 \
         "{}",                                                                                     \
         .secret = true,                                                                           \
         AT(otlp.of_##signal.headers),                                                             \
         .sentence = "For " #signal " alone: in place of otlp.headers. Never printed."},           \
        {"otlp." #signal "_certificate",                                                           \
         CONF_TEXT,                                                                                \
         BYTES(0, PATH_MAX_BYTES),                                                                 \
         "\"\"",                                                                                   \
         AT(otlp.of_##signal.certificate),                                                         \
         .sentence = "For " #signal " alone: in place of otlp.certificate."},                      \
        {"otlp." #signal "_client_certificate",                                                    \
         CONF_TEXT,                                                                                \
         BYTES(0, PATH_MAX_BYTES),                                                                 \
         "\"\"",                                                                                   \
         AT(otlp.of_##signal.client_certificate),                                                  \
         .sentence = "For " #signal " alone: in place of otlp.client_certificate."},               \
        {"otlp." #signal "_client_key",                                                            \
         CONF_TEXT,                                                                                \
         BYTES(0, PATH_MAX_BYTES),                                                                 \
         "\"\"",                                                                                   \
         AT(otlp.of_##signal.client_key),                                                          \
         .sentence = "For " #signal " alone: in place of otlp.client_key."},                       \
        {"otlp." #signal "_compression",                                                           \
         CONF_CHOICE,                                                                              \
         .initial = "\"inherit\"",                                                                 \
         AT(otlp.of_##signal.compression),                                                         \
         .words = signal_compression_words,                                                        \
         .sentence = "For " #signal " alone: in place of otlp.compression."},                      \
    {                                                                                              \
        "otlp." #signal "_timeout_ms", CONF_WHOLE, RANGE(0, DAY_MS), "0", "ms",                    \
            AT(otlp.of_##signal.timeout_ms),                                                       \
            .sentence = "For " #signal " alone: in place of otlp.timeout_ms. 0: as that."          \
    }

/* Rows of one group stand together; groups and rows are printed in this order. */
/* clang-format off */
const struct conf_option conf_options[] = {
    {"service.name", CONF_TEXT, BYTES(1, 256), "\"acgs2-agent-bus\"", AT(service.name),
     .sentence = "The service that the daemon speaks for."},
    {"service.display_name", CONF_TEXT, BYTES(1, 256), "\"ACGS-2\"", .reloadable = true,
     AT(service.display_name),
     .sentence = "The service's name in the title of reports."},
    {"service.version", CONF_TEXT, BYTES(0, 256), "\"2.0.0\"", AT(service.version),
     .sentence = "The service's version."},
    {"service.environment", CONF_TEXT, BYTES(0, 256), "\"development\"", AT(service.environment),
     .sentence = "Where the service runs; also set by ENVIRONMENT."},
    {"service.constitutional_hash", CONF_TOKEN, BYTES(1, LOG_HASH_MAX), "\"cdd01ef066bc6cf2\"",
     AT(service.constitutional_hash),
     .sentence = "The hash that every client should name; it begins each line of the log. Also set by "
                 "CONSTITUTIONAL_HASH."},
    {"service.enforce_hash", CONF_BOOL, .initial = "false", .reloadable = true,
     AT(service.enforce_hash),
     .sentence = "Reject the records of clients that name another hash or none."},
    {"service.attributes", CONF_PAIRS, RANGE(0, CONF_PAIRS_MAX), "{}", AT(service.attributes),
     .sentence = "More resource attributes for OTLP."},

    {"ingest.directory", CONF_TEXT, BYTES(0, DIRECTORY_MAX), "\"\"", AT(ingest.directory),
     .sentence = "Directory of the sockets. Empty: $DWELL_DIR, $RUNTIME_DIRECTORY, "
                 "$XDG_RUNTIME_DIR/dwell or /tmp/dwell-UID, the first that there is."},
    {"ingest.mode", CONF_MODE, RANGE(0, 0777), "\"0660\"", .reloadable = true, AT(ingest.mode),
     .sentence = "Permissions of the sockets, but for admin.sock, which is the owner's alone."},
    {"ingest.group", CONF_TEXT, BYTES(0, 64), "\"\"", .reloadable = true, AT(ingest.group),
     .sentence = "Group of the sockets, by name or number. Empty: the daemon's own."},
    {"ingest.allowed_uids", CONF_IDS, RANGE(0, CONF_IDS_MAX), "[]", .reloadable = true,
     AT(ingest.allowed_uids),
     .sentence = "Users who may send. Empty: all who can open the socket."},
    {"ingest.allowed_gids", CONF_IDS, RANGE(0, CONF_IDS_MAX), "[]", .reloadable = true,
     AT(ingest.allowed_gids),
     .sentence = "Groups whose members may send. Empty: all who can open the socket."},
    {"ingest.max_frame_bytes", CONF_WHOLE, RANGE(1024, 16777215), "1048576", "bytes",
     .reloadable = true, AT(ingest.max_frame_bytes),
     .sentence = "Longest binary batch; a longer one ends its connection."},
    {"ingest.max_line_bytes", CONF_WHOLE, RANGE(256, 16777215), "65536", "bytes",
     .reloadable = true, AT(ingest.max_line_bytes),
     .sentence = "Longest line of text; a longer one is rejected."},
    {"ingest.max_connections", CONF_WHOLE, RANGE(1, 65536), "1024", .reloadable = true,
     AT(ingest.max_connections),
     .sentence = "Clients at a time; more are turned away."},
    /* A peer is a process: io/senders.h. None is to take all of the connections that there are. */
    {"ingest.max_peer_connections", CONF_WHOLE, RANGE(1, 65536), "1008",
     AT(ingest.max_peer_connections),
     .sentence = "Clients at a time of one process, or of one user where the kernel tells no "
                 "process; more are turned away."},
    {"ingest.max_peer_bytes", CONF_WHOLE, RANGE(1024 + CONF_ANSWERS_BYTES, 4294967296.0),
     "67108864", "bytes", AT(ingest.max_peer_bytes),
     .sentence = "Memory kept for one process, or for one user where the kernel tells no process: "
                 "frames and lines of which only a part has come, answers that it does not read. "
                 "Past it the connection that asks for more ends."},
    {"ingest.max_peer_records_per_second", CONF_WHOLE, RANGE(0, 1000000000), "0", "records/s",
     AT(ingest.max_peer_records_per_second),
     .sentence = "Records that are read of one process, or of one user where the kernel tells no "
                 "process, on average, and in one go. Past it its connections wait, and its "
                 "datagrams are dropped. 0: no limit."},
    {"ingest.max_open_spans", CONF_WHOLE, RANGE(1, 1048576), "16384", "spans",
     AT(ingest.max_open_spans),
     .sentence = "Spans of which only the beginning is known; past it the oldest is cut off."},
    {"ingest.max_open_span_bytes", CONF_WHOLE, RANGE(65536, 1073741824), "16777216", "bytes",
     AT(ingest.max_open_span_bytes),
     .sentence = "Memory of spans of which only the beginning is known; past it the oldest is cut "
                 "off."},
    {"ingest.idle_timeout_ms", CONF_WHOLE, RANGE(0, DAY_MS), "0", "ms", .reloadable = true,
     AT(ingest.idle_timeout_ms),
     .sentence = "Close a client that has been silent for so long. 0: never."},
    {"ingest.statsd_samples", CONF_NAMES, RANGE(0, CONF_STATSD_SAMPLES_MAX),
     "[\"inference\", \"model.inference\"]", .reloadable = true, AT(ingest.statsd_samples),
     .sentence = "StatsD timings of these names that have a tag model or model_name are samples, in "
                 "milliseconds."},

    {"http.listen", CONF_ADDRESS, .initial = "\"127.0.0.1:9847\"", AT(http.listen),
     .sentence = "Where Prometheus and people come; read-only. Port 0: the kernel chooses."},
    {"http.allowed_hosts", CONF_HOSTS, RANGE(0, CONF_HOSTS_MAX), "[]", .reloadable = true,
     AT(http.allowed_hosts),
     .sentence = "Names under which http.listen may be asked, besides localhost; by IP address it "
                 "always may. Other names are a web page's that would read along."},
    {"http.max_connections", CONF_WHOLE, RANGE(1, 4096), "64", .reloadable = true,
     AT(http.max_connections),
     .sentence = "HTTP clients at a time, on each address and socket; more are turned away."},
    {"http.timeout_ms", CONF_WHOLE, RANGE(1000, 600000), "10000", "ms", .reloadable = true,
     AT(http.timeout_ms), .sentence = "Close an HTTP client that makes no progress for so long."},
    {"http.request_timeout_ms", CONF_WHOLE, RANGE(1000, 3600000), "60000", "ms",
     .reloadable = true, AT(http.request_timeout_ms),
     .sentence = "Time for a request to come whole, and the same again for its answer to be taken, "
                 "however steadily that goes on."},

    {"profiling.window_seconds", CONF_WHOLE, RANGE(6, 86400), "300", "s",
     AT(profiling.window_seconds),
     .sentence = "The stretch of time that quantiles and verdicts look back on, in 6 parts."},
    {"profiling.max_samples", CONF_WHOLE, RANGE(0, 1000000), "0", AT(profiling.max_samples),
     .sentence = "The most samples of a model that quantiles and verdicts look back on, in the "
                 "window. 0: no cap."},
    {"profiling.max_models", CONF_WHOLE, RANGE(1, 1000000), "1000", .reloadable = true,
     AT(profiling.max_models),
     .sentence = "Models kept apart; samples of more go to one overflow model."},
    {"profiling.max_models_per_peer", CONF_WHOLE, RANGE(1, 1000000), "1000",
     AT(profiling.max_models_per_peer),
     .sentence = "Models that one process made, or one user where the kernel tells no process; "
                 "samples of more go to the overflow model."},
    {"profiling.label_keys", CONF_KEYS, RANGE(0, CONF_LABEL_KEYS_MAX), "[]",
     AT(profiling.label_keys),
     .sentence = "Labels of samples that are kept, each combination a model of its own."},
    {"profiling.classifier", CONF_CHOICE, .initial = "\"evidence\"", .reloadable = true,
     AT(profiling.classifier),
     .words = classifier_words,
     .sentence = "How a model's bottleneck is found: by means alone, or by where time went, if samples "
                 "tell it."},
    {"profiling.round_ms", CONF_WHOLE, RANGE(250, DAY_MS), "5000", "ms", .reloadable = true,
     AT(profiling.round_ms),
     .sentence = "Evidence is judged after so long, or longer when there is too little. More than "
                 "the window counts as the window."},
    {"profiling.cpu_compute_threshold_percent", CONF_NUMBER, RANGE(0, 1e6), "50", "%",
     .reloadable = true, AT(profiling.cpu_compute_threshold_percent),
     .sentence = "A model is bound by computing when its mean CPU share is above this; 100 is one "
                 "core."},
    {"profiling.cpu_io_threshold_percent", CONF_NUMBER, RANGE(0, 1e6), "20", "%",
     .reloadable = true, AT(profiling.cpu_io_threshold_percent),
     .sentence = "A model is bound by input and output when its mean CPU share is below this; 100 "
                 "is one core."},
    {"profiling.latency_gpu_threshold_ms", CONF_NUMBER, RANGE(0, 1e12), "1", "ms",
     .reloadable = true, AT(profiling.latency_gpu_threshold_ms),
     .sentence = "A model whose mean latency is below this is too quick for a GPU to help."},
    {"profiling.probe", CONF_CHOICE, .initial = "\"auto\"", AT(profiling.probe),
     .words = auto_words,
     .sentence = "Whether dwelld looks into /proc for what processes that send evidence do, for at most "
                 "1 % of a CPU; auto: with the first of them."},
    {"profiling.max_watched_threads", CONF_WHOLE, RANGE(1, 1024), "64", "threads",
     AT(profiling.max_watched_threads),
     .sentence = "Threads that dwelld looks at in /proc, of those that send evidence; past it "
                 "they take turns."},
    {"profiling.touch_probe", CONF_CHOICE, .initial = "\"auto\"", AT(profiling.touch_probe),
     .words = auto_words,
     .sentence = "Whether dwelld measures how fast a process touches its memory; auto: where a "
                 "verdict needs it."},
    {"profiling.touch_probe_max_mb", CONF_WHOLE, RANGE(1, 1048576), "2048", "MiB",
     AT(profiling.touch_probe_max_mb),
     .sentence = "Largest process whose touches of memory are measured: that may keep its page "
                 "faults waiting for 40 ms a GiB."},

    /* A machine that is easily had for inference, and one without a GPU of like size: an NVIDIA T4 (its
     * datasheet: 8.1 TFLOP/s in single precision, 320 GB/s) in an AWS g4dn.xlarge (4 threads), beside a
     * c6i.2xlarge (8 threads); prices as they are from reserved to on demand, rounded outwards. A launch
     * is of some twenty kernels, which take 5 µs or more each; a transfer of 150 kB, a picture of
     * 224 x 224, over PCIe 3 at 12 GB/s, and a few µs for asking. What real kernels reach of a peak is
     * seldom under a fifth or over three fifths of it; above 0.7 of a machine queues grow faster than
     * latencies allow. */
    {"gpu.objective", CONF_CHOICE, .initial = "\"cost\"", .reloadable = true, AT(gpu.objective),
     .words = objective_words,
     .sentence = "What a GPU is to do better: save money at the present rate, or answer faster."},
    {"gpu.min_speedup", CONF_NUMBER, RANGE(1, 1e6), "2", .reloadable = true, AT(gpu.min_speedup),
     .sentence = "The least speed-up that is worth a GPU, where speed decides: without hints, or by "
                 "the objective."},
    {"gpu.max_latency_ms", CONF_NUMBER, RANGE(0, 1e9), "0", "ms", .reloadable = true,
     AT(gpu.max_latency_ms),
     .sentence = "The most that p99 may be with a GPU. 0: what it is on the CPU."},
    {"gpu.peak_tflops", CONF_NUMBER, RANGE(0.001, 1e6), "8.1", "TFLOP/s", .reloadable = true,
     AT(gpu.peak_tflops), .sentence = "The most that the GPU computes, in the precision in use."},
    {"gpu.bandwidth_gb", CONF_NUMBER, RANGE(0.1, 1e6), "320", "GB/s", .reloadable = true,
     AT(gpu.bandwidth_gb),
     .sentence = "The most that the GPU's memory moves."},
    {"gpu.efficiency_low", CONF_NUMBER, RANGE(0.001, 1), "0.2", .reloadable = true,
     AT(gpu.efficiency_low),
     .sentence = "The least part of gpu.peak_tflops and gpu.bandwidth_gb that a model reaches."},
    {"gpu.efficiency_high", CONF_NUMBER, RANGE(0.001, 1), "0.6", .reloadable = true,
     AT(gpu.efficiency_high),
     .sentence = "The largest part of gpu.peak_tflops and gpu.bandwidth_gb that a model reaches."},
    {"gpu.launch_us", CONF_NUMBER, RANGE(0, 1e9), "100", "µs", .reloadable = true,
     AT(gpu.launch_us),
     .sentence = "What each batch takes before the GPU computes: launches of kernels."},
    {"gpu.transfer_us", CONF_NUMBER, RANGE(0, 1e9), "20", "µs", .reloadable = true,
     AT(gpu.transfer_us),
     .sentence = "What each inference takes to bring to the GPU and back."},
    {"gpu.max_batch", CONF_WHOLE, RANGE(1, 4096), "64", .reloadable = true, AT(gpu.max_batch),
     .sentence = "Inferences that one batch may hold on a GPU."},
    {"gpu.price_low", CONF_NUMBER, RANGE(0, 1e6), "0.3", .reloadable = true, AT(gpu.price_low),
     .sentence = "Price of a machine with a GPU for an hour, at the least; in any currency."},
    {"gpu.price_high", CONF_NUMBER, RANGE(0, 1e6), "0.6", .reloadable = true, AT(gpu.price_high),
     .sentence = "Price of a machine with a GPU for an hour, at the most; in the same currency as "
                 "all prices."},
    {"gpu.cpu_price_low", CONF_NUMBER, RANGE(0, 1e6), "0.2", .reloadable = true,
     AT(gpu.cpu_price_low),
     .sentence = "Price of a machine without a GPU for an hour, at the least; in the same "
                 "currency as all prices."},
    {"gpu.cpu_price_high", CONF_NUMBER, RANGE(0, 1e6), "0.4", .reloadable = true,
     AT(gpu.cpu_price_high),
     .sentence = "Price of a machine without a GPU for an hour, at the most; in the same currency "
                 "as all prices."},
    {"gpu.cpu_threads", CONF_WHOLE, RANGE(1, 4096), "8", .reloadable = true, AT(gpu.cpu_threads),
     .sentence = "Hardware threads of a machine without a GPU."},
    {"gpu.host_threads", CONF_WHOLE, RANGE(1, 4096), "4", .reloadable = true,
     AT(gpu.host_threads),
     .sentence = "Hardware threads of a machine with a GPU."},
    {"gpu.utilization", CONF_NUMBER, RANGE(0.05, 1), "0.7", .reloadable = true,
     AT(gpu.utilization), .sentence = "The part of a machine that may be in use."},
    {"gpu.instances", CONF_WHOLE, RANGE(1, 1000000), "1", .reloadable = true, AT(gpu.instances),
     .sentence = "Services like this one, at the same rate, that a GPU would serve together."},

    {"metrics.namespace", CONF_NAMESPACE, BYTES(0, 64), "\"acgs2\"", AT(metrics.name_space),
     .sentence = "What the names of the models' metrics begin with. Empty: nothing."},
    {"metrics.families_file", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"",
     .reloadable = true, AT(metrics.families_file),
     .sentence = "File that declares metric families, besides the built-in ones or in their place. "
                 "Empty: the built-in ones."},
    {"metrics.max_series", CONF_WHOLE, RANGE(1, 10000000), "100000", .reloadable = true,
     AT(metrics.max_series),
     .sentence = "Series of clients' metrics in all; more go to one overflow series in each "
                 "family."},
    {"metrics.max_series_per_family", CONF_WHOLE, RANGE(1, 10000000), "10000",
     .reloadable = true, AT(metrics.max_series_per_family),
     .sentence = "Series of one metric family; more go to its overflow series."},
    {"metrics.max_series_per_peer", CONF_WHOLE, RANGE(1, 10000000), "90000",
     AT(metrics.max_series_per_peer),
     .sentence = "Series that one process made, or one user where the kernel tells no process; "
                 "more go to overflow series."},
    {"metrics.max_label_bytes", CONF_WHOLE, RANGE(16, 4096), "256", "bytes",
     .reloadable = true, AT(metrics.max_label_bytes),
     .sentence = "Longest value of a label of clients' metrics."},
    {"metrics.max_set_values", CONF_WHOLE, RANGE(1, 100000000), "1000000",
     .reloadable = true, AT(metrics.max_set_values),
     .sentence = "Distinct values of all sets together, of 12 to 26 bytes; more are rejected."},
    {"metrics.created_series", CONF_BOOL, .initial = "false", .reloadable = true,
     AT(metrics.created_series),
     .sentence = "Expose _created series in OpenMetrics, too."},
    {"metrics.constitutional_hash_label", CONF_BOOL, .initial = "false",
     .reloadable = true, AT(metrics.constitutional_hash_label),
     .sentence = "Give every series on /metrics a label constitutional_hash."},

    {"budgets.total_ms", CONF_NUMBER, RANGE(0.001, 1e9), "50", "ms", .reloadable = true,
     AT(budgets.total_ms),
     .sentence = "Time budget of a whole request."},
    {"budgets.objective", CONF_NUMBER, RANGE(0, 0.999999), "0.99", .reloadable = true,
     AT(budgets.objective),
     .sentence = "Share of requests that should keep to a budget: burn rates tell how much faster than "
                 "that the rest is used up."},
    {"budgets.layers", CONF_LAYERS, RANGE(0, CONF_LAYERS_MAX), initial_layers, .reloadable = true,
     AT(budgets.layers),
     .sentence = "Time budgets of a request's layers, in milliseconds or as a share of "
                 "budgets.total_ms; soft_limit_pct is 0.8 and strict_enforcement true unless given."},

    {"otlp.endpoint", CONF_ENDPOINT, BYTES(0, 1024), "\"\"", AT(otlp.endpoint),
     .sentence = "Where traces and metrics go by OTLP/gRPC. Empty: nowhere. Also set by "
                 "OTEL_EXPORTER_OTLP_ENDPOINT."},
    {"otlp.traces", CONF_BOOL, .initial = "true", AT(otlp.traces), .sentence = "Export traces."},
    {"otlp.metrics", CONF_BOOL, .initial = "true", AT(otlp.metrics),
     .sentence = "Export metrics."},
    {"otlp.sample_rate", CONF_NUMBER, RANGE(0, 1), "1", .reloadable = true, AT(otlp.sample_rate),
     .sentence = "Share of traces that are exported, chosen by their ids: the same in every process."},
    {"otlp.keep_errors", CONF_BOOL, .initial = "false", .reloadable = true, AT(otlp.keep_errors),
     .sentence = "Keep a trace that has a span with an error, although otlp.sample_rate would "
                 "drop it."},
    {"otlp.keep_slow_ms", CONF_NUMBER, RANGE(0, DAY_MS), "0", "ms", .reloadable = true,
     AT(otlp.keep_slow_ms),
     .sentence = "Keep a trace that has a span of this length or longer, although "
                 "otlp.sample_rate would drop it. 0: none."},
    {"otlp.keep_wait_ms", CONF_WHOLE, RANGE(1, DAY_MS), "10000", "ms", .reloadable = true,
     AT(otlp.keep_wait_ms),
     .sentence = "How long a trace is held to see whether otlp.keep_errors or otlp.keep_slow_ms "
                 "keeps it, from its first span to come."},
    {"otlp.max_held_spans", CONF_WHOLE, RANGE(1, 1048576), "16384", "spans",
     AT(otlp.max_held_spans),
     .sentence = "Spans of held traces (otlp.keep_wait_ms); past it the oldest trace is given up."},
    {"otlp.max_held_bytes", CONF_WHOLE, RANGE(65536, 1073741824), "16777216", "bytes",
     AT(otlp.max_held_bytes),
     .sentence = "Memory of held traces (otlp.keep_wait_ms); past it the oldest trace is given "
                 "up."},
    {"otlp.batch", CONF_BOOL, .initial = "true", AT(otlp.batch),
     .sentence = "Export spans in batches rather than one by one."},
    {"otlp.headers", CONF_PAIRS, RANGE(0, CONF_PAIRS_MAX), "{}", .secret = true, AT(otlp.headers),
     .sentence = "Metadata of every export, such as keys. Never printed. Also set by "
                 "OTEL_EXPORTER_OTLP_HEADERS."},
    {"otlp.headers_file", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"", AT(otlp.headers_file),
     .sentence = "File with more metadata of every export, a line key=value each, so that keys "
                 "need not stand in the configuration."},
    {"otlp.insecure", CONF_BOOL, .initial = "false", AT(otlp.insecure),
     .sentence = "No TLS for an endpoint that has no scheme; a scheme decides by itself."},
    {"otlp.certificate", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"", AT(otlp.certificate),
     .sentence = "File with the authorities (PEM) that may vouch for the receiver. Empty: the "
                 "system's."},
    {"otlp.client_certificate", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"",
     AT(otlp.client_certificate),
     .sentence = "File with the certificate (PEM) that the receiver is shown."},
    {"otlp.client_key", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"", AT(otlp.client_key),
     .sentence = "File with the key (PEM) of otlp.client_certificate."},
    {"otlp.compression", CONF_CHOICE, .initial = "\"none\"", AT(otlp.compression),
     .words = compression_words,
     .sentence = "How requests to the receiver are packed."},
    {"otlp.timeout_ms", CONF_WHOLE, RANGE(1, DAY_MS), "10000", "ms", AT(otlp.timeout_ms),
     .sentence = "Time for one call of the receiver."},
    {"otlp.retry_timeout_ms", CONF_WHOLE, RANGE(0, DAY_MS), "0", "ms", AT(otlp.retry_timeout_ms),
     .sentence = "Time for all calls of one batch of spans. 0: no end; it is kept until it is "
                 "taken, and the queue drops what no longer fits."},
    {"otlp.max_queue_spans", CONF_WHOLE, RANGE(1, 10000000), "16384", AT(otlp.max_queue_spans),
     .sentence = "Spans that wait or are being sent; more are dropped."},
    {"otlp.max_queue_bytes", CONF_WHOLE, RANGE(65536, 4294967296.0), "16777216", "bytes",
     AT(otlp.max_queue_bytes),
     .sentence = "Memory of spans that wait or are being sent; more are dropped."},
    {"otlp.max_batch", CONF_WHOLE, RANGE(1, 65536), "512", AT(otlp.max_batch),
     .sentence = "The most spans of one request."},
    {"otlp.schedule_delay_ms", CONF_WHOLE, RANGE(0, DAY_MS), "5000", "ms",
     AT(otlp.schedule_delay_ms),
     .sentence = "How long a span waits for others to fill a request."},
    {"otlp.max_request_bytes", CONF_WHOLE, RANGE(4096, 67108864), "4194304", "bytes",
     AT(otlp.max_request_bytes),
     .sentence = "Longest request, of metrics 262144 at least; receivers take 4 MiB unless they are "
                 "told otherwise."},
    {"otlp.spool_directory", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"",
     AT(otlp.spool_directory),
     .sentence = "Where traces and metrics that cannot be sent are kept as files, over restarts, too. "
                 "Made with mode 0700 when it is missing. Empty: nowhere."},
    {"otlp.spool_max_bytes", CONF_WHOLE, RANGE(65536, 1099511627776.0), "268435456", "bytes",
     AT(otlp.spool_max_bytes),
     .sentence = "All files of the spool, of each signal; the oldest are given up for new ones."},
    {"otlp.spool_max_files", CONF_WHOLE, RANGE(1, 100000), "10000", AT(otlp.spool_max_files),
     .sentence = "Number of files in the spool, of each signal; the oldest are given up for new "
                 "ones."},
    {"otlp.spool_after_ms", CONF_WHOLE, RANGE(0, DAY_MS), "5000", "ms", AT(otlp.spool_after_ms),
     .sentence = "How long a batch is tried from memory before it becomes a file of the spool."},
    {"otlp.metric_interval_ms", CONF_WHOLE, RANGE(1, DAY_MS), "60000", "ms",
     AT(otlp.metric_interval_ms), .sentence = "Time between two exports of metrics."},
    {"otlp.metric_timeout_ms", CONF_WHOLE, RANGE(1, DAY_MS), "30000", "ms",
     AT(otlp.metric_timeout_ms), .sentence = "Time for one export of metrics with all its calls."},
    {"otlp.max_metric_bytes", CONF_WHOLE, RANGE(65536, 4294967296.0), "67108864", "bytes",
     AT(otlp.max_metric_bytes),
     .sentence = "Memory of the requests of one snapshot of metrics; more are dropped. 100000 series "
                 "take 20000000 or more."},
    {"otlp.temporality", CONF_CHOICE, .initial = "\"cumulative\"", AT(otlp.temporality),
     .words = temporality_words,
     .sentence = "Whether metrics count from the start or from the export before."},
    {"otlp.histogram_aggregation", CONF_CHOICE, .initial = "\"explicit_bucket_histogram\"",
     AT(otlp.histogram_aggregation), .words = aggregation_words,
     .sentence = "How histograms are exported."},
    SIGNAL_ROWS(traces),
    SIGNAL_ROWS(metrics),
    {"otlp.module_directory", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"",
     AT(otlp.module_directory),
     .sentence = "Where dwell_otlp.so is. Empty: beside dwelld, in ../lib/dwell from there, or where "
                 "it was installed."},

    {"journal.directory", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"", AT(journal.directory),
     .sentence = "Where records of clients that ask for acknowledgements are kept until the state has "
                 "them. Made with mode 0700 when it is missing. Empty: nothing is acknowledged."},
    {"journal.max_bytes", CONF_WHOLE, RANGE(1048576, 1099511627776.0), "67108864", "bytes",
     AT(journal.max_bytes),
     .sentence = "All files of the journal; past it clients that ask for acknowledgements are not "
                 "read until there is room."},

    {"log.level", CONF_CHOICE, .initial = "\"info\"", .reloadable = true, AT(log.level),
     .words = level_words, .sentence = "Least important lines that are written."},
    {"log.format", CONF_CHOICE, .initial = "\"text\"", .reloadable = true, AT(log.format),
     .words = format_words,
     .sentence = "Lines for people, one JSON object or logfmt a line, or fields for the journal; auto: "
                 "journald where standard error leads there, else text."},

    {"sandbox.seccomp", CONF_CHOICE, .initial = "\"auto\"", AT(sandbox.seccomp),
     .words = sandbox_words,
     .sentence = "Whether system calls that dwelld does not make are refused; auto: where the "
                 "kernel can; on: without that there is no start."},
    {"sandbox.landlock", CONF_CHOICE, .initial = "\"auto\"", AT(sandbox.landlock),
     .words = sandbox_words,
     .sentence = "Whether files and TCP ports that dwelld does not need are out of reach; auto: "
                 "where the kernel can; on: without that there is no start."},
    {"sandbox.probe_capabilities", CONF_BOOL, .initial = "true", AT(sandbox.probe_capabilities),
     .sentence = "Whether the thread that looks into processes may keep the capabilities that it "
                 "needs, if dwelld was started with some; no other thread has any."},

    {"shutdown.timeout_ms", CONF_WHOLE, RANGE(100, 600000), "10000", "ms",
     .reloadable = true, AT(shutdown.timeout_ms),
     .sentence = "Time that the end may take: for draining and the last export."},

    {"state.file", CONF_TEXT, BYTES(0, PATH_MAX_BYTES), "\"\"", AT(state.file),
     .sentence = "Where all that was counted survives a restart. Empty: nowhere."},
    {"state.interval_ms", CONF_WHOLE, RANGE(100, DAY_MS), "5000", "ms", AT(state.interval_ms),
     .sentence = "Time between two saves: what kill -9 or a loss of power can take. At the end it is saved "
                 "in any case."},
    {"state.max_bytes", CONF_WHOLE, RANGE(65536, 4294967296.0), "268435456", "bytes",
     AT(state.max_bytes),
     .sentence = "Largest state that is saved or read; it takes as much memory while it is."},
};
/* clang-format on */

const size_t conf_option_count = sizeof conf_options / sizeof conf_options[0];

const struct conf_option *conf_find(struct str path)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        if (str_is(path, conf_options[i].path)) {
            return &conf_options[i];
        }
    }
    return NULL;
}
