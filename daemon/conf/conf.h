/*
 * The daemon's configuration and command line: one table of options, from which come the parser,
 * --check-config, --print-config, the README's table and config/dwelld.json.
 *
 *     built-in < file < environment < --set
 *
 * It reads no file and no variable by itself: text, environment and arguments are handed in, and
 * every problem is told as a line of text, all at once: `path.to.key: expects X, got Y`.
 * It resolves no names and opens nothing. Made at start and at reload by one thread, constant and
 * readable by any thread after.
 */
#ifndef DWELL_CONF_CONF_H
#define DWELL_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"

enum {
    CONF_ERRORS_MAX_BYTES = 1 << 16, /* a good ceiling for the buffers of errors and warnings */
    CONF_LABEL_KEYS_MAX = 16,
    CONF_STATSD_SAMPLES_MAX = 64,
    CONF_HOSTS_MAX = 64,
    CONF_LAYERS_MAX = 64,
    CONF_IDS_MAX = 256,
    CONF_PAIRS_MAX = 64,
    CONF_ANSWERS_BYTES = 65536, /* that wait for a peer to read: INGEST_REPLIES_MAX_BYTES */
};

/* What is done where it helps, or not at all. */
enum conf_auto { CONF_AUTO, CONF_OFF };

/* Where the system has it; or the start fails; or not. */
enum conf_sandbox { CONF_SANDBOX_AUTO, CONF_SANDBOX_ON, CONF_SANDBOX_OFF };

enum conf_classifier { CONF_CLASSIFIER_THRESHOLDS, CONF_CLASSIFIER_EVIDENCE };
enum conf_gpu_objective { CONF_GPU_COST, CONF_GPU_LATENCY };

/* Where to listen: a numeric address, so nothing has to be resolved. */
struct conf_address {
    char *host;    /* owned; "127.0.0.1" or "::1", without brackets */
    uint16_t port; /* 0: the kernel chooses */
    bool is_ipv6;
};

struct conf_ids {
    uint32_t *ids; /* owned; NULL when count is 0 */
    size_t count;
};

struct conf_texts {
    char **texts; /* owned, each of them too */
    size_t count;
};

struct conf_pair {
    char *key;
    char *value;
};

struct conf_pairs {
    struct conf_pair *pairs; /* owned, each of them too; in the order given */
    size_t count;
};

struct conf_layer {
    char *layer;           /* owned */
    double budget_ms;      /* 0: it is a share of the total */
    double budget_share;   /* of budgets.total_ms, 0 to 1; 0: it is in milliseconds */
    double soft_limit_pct; /* share of the budget, 0 to 1 */
    bool strict_enforcement;
};

struct conf_layers {
    struct conf_layer *layers; /* owned */
    size_t count;
};

enum conf_compression { CONF_COMPRESSION_NONE, CONF_COMPRESSION_GZIP };
enum conf_temporality { CONF_CUMULATIVE, CONF_DELTA, CONF_LOWMEMORY };
enum conf_buckets { CONF_EXPLICIT_BUCKETS, CONF_EXPONENTIAL_BUCKETS };

/* What one signal has of its own, in place of what both share. */
struct conf_signal {
    char *endpoint;            /* "": the shared one */
    struct conf_pairs headers; /* secret; empty: the shared ones */
    char *certificate;         /* as all texts below: "" is the shared one */
    char *client_certificate;
    char *client_key;
    int insecure;        /* 0: the shared one, 1: false, 2: true */
    int compression;     /* 0: the shared one; else 1 + enum conf_compression */
    uint64_t timeout_ms; /* 0: the shared one */
};

/* Texts are owned and never NULL after conf_load; "" stands for "not set". */
struct conf {
    struct {
        char *name;
        char *display_name;
        char *version;
        char *environment;
        char *constitutional_hash;
        bool enforce_hash;
        struct conf_pairs attributes;
    } service;
    struct {
        char *directory;
        uint32_t mode; /* permission bits */
        char *group;   /* name or number */
        struct conf_ids allowed_uids;
        struct conf_ids allowed_gids;
        uint64_t max_frame_bytes;
        uint64_t max_line_bytes;
        uint64_t max_connections;
        uint64_t max_peer_connections;
        uint64_t max_peer_bytes;
        uint64_t max_peer_records_per_second; /* 0: no limit */
        uint64_t max_open_spans;
        uint64_t max_open_span_bytes;
        uint64_t idle_timeout_ms; /* 0: never */
        struct conf_texts statsd_samples;
    } ingest;
    struct {
        struct conf_address listen;
        struct conf_texts allowed_hosts;
        uint64_t max_connections;
        uint64_t timeout_ms;
        uint64_t request_timeout_ms;
    } http;
    struct {
        uint64_t window_seconds;
        uint64_t max_samples; /* 0: no cap */
        uint64_t max_models;
        uint64_t max_models_per_peer;
        struct conf_texts label_keys;
        int classifier; /* enum conf_classifier */
        uint64_t round_ms;
        double cpu_compute_threshold_percent;
        double cpu_io_threshold_percent;
        double latency_gpu_threshold_ms;
        int probe; /* enum conf_auto */
        uint64_t max_watched_threads;
        int touch_probe; /* enum conf_auto */
        uint64_t touch_probe_max_mb;
    } profiling;
    struct { /* for estimates of what a GPU would do */
        double peak_tflops;
        double bandwidth_gb;
        double launch_us;
        double transfer_us;
        double efficiency_low, efficiency_high;
        double price_low, price_high;
        double cpu_price_low, cpu_price_high;
        uint64_t cpu_threads;
        uint64_t host_threads;
        double utilization;
        uint64_t instances;
        int objective;         /* enum conf_gpu_objective */
        double max_latency_ms; /* 0: today's */
        double min_speedup;
        uint64_t max_batch;
    } gpu;
    struct {
        char *name_space; /* metrics.namespace */
        char *families_file;
        uint64_t max_series;
        uint64_t max_series_per_family;
        uint64_t max_series_per_peer;
        uint64_t max_label_bytes;
        uint64_t max_set_values;
        bool created_series;
        bool constitutional_hash_label;
    } metrics;
    struct {
        double total_ms;
        double objective;
        struct conf_layers layers;
    } budgets;
    struct {
        char *endpoint;
        bool traces;
        bool metrics;
        double sample_rate;
        bool keep_errors;
        double keep_slow_ms; /* 0: slow ones are nothing special */
        uint64_t keep_wait_ms;
        uint64_t max_held_spans;
        uint64_t max_held_bytes;
        bool batch;
        struct conf_pairs headers; /* secret: never printed, never logged */
        char *headers_file;
        bool insecure; /* of an endpoint that does not say */
        char *certificate;
        char *client_certificate;
        char *client_key;
        int compression; /* enum conf_compression */
        uint64_t timeout_ms;
        uint64_t retry_timeout_ms; /* 0: none */
        uint64_t max_queue_spans;
        uint64_t max_queue_bytes;
        uint64_t max_batch;
        uint64_t schedule_delay_ms;
        uint64_t max_request_bytes;
        char *spool_directory; /* "": none */
        uint64_t spool_max_bytes;
        uint64_t spool_max_files;
        uint64_t spool_after_ms;
        uint64_t metric_interval_ms;
        uint64_t metric_timeout_ms;
        uint64_t max_metric_bytes;
        int temporality;           /* enum conf_temporality */
        int histogram_aggregation; /* enum conf_buckets */
        struct conf_signal of_traces, of_metrics;
        char *module_directory;
    } otlp;
    struct {
        char *directory; /* "": none */
        uint64_t max_bytes;
    } journal;
    struct {
        int level;  /* enum log_level */
        int format; /* enum log_format */
    } log;
    struct {
        int seccomp; /* enum conf_sandbox, as landlock */
        int landlock;
        bool probe_capabilities;
    } sandbox;
    struct {
        uint64_t timeout_ms;
    } shutdown;
    struct {
        char *file; /* "": none */
        uint64_t interval_ms;
        uint64_t max_bytes;
    } state;
};

/* Everything that may say something, handed in. Members may be NULL or empty. */
struct conf_sources {
    const char *file_name; /* as shown in errors; NULL: no file was given */
    struct str file_text;
    char *const *environment; /* "NAME=value", ends with NULL */
    const char *const *sets;  /* "path=value" */
    size_t set_count;
};

/* Built-in values first, then every source in order of precedence, then what options must satisfy
 * together. Appends a line to `errors` for each problem, and to `warnings` for OpenTelemetry
 * variables that are ignored (their specification forbids to stop for them). Returns 0; ERR_SYNTAX
 * when there were errors, ERR_NOMEM. `conf` then holds nothing. */
int conf_load(struct conf *conf, const struct conf_sources *sources, struct buf *errors,
              struct buf *warnings);

void conf_fini(struct conf *conf);

/* Appends a line for each option that differs and cannot change without a restart: its path, why that
 * is so, and the value that stays. Returns how many there are. */
size_t conf_render_fixed_changes(struct buf *out, const struct conf *in_force,
                                 const struct conf *fresh);

/* Appends the paths, separated by ", ", of options that differ and can. Returns how many there are. */
size_t conf_render_changes(struct buf *out, const struct conf *in_force, const struct conf *fresh);

/* Takes over what a reload may change. `fresh` has the old values then: free it when nobody uses them
 * any more. */
void conf_adopt(struct conf *in_force, struct conf *fresh);

/* A file that stands for this configuration, secrets left out. */
void conf_render_json(struct buf *out, const struct conf *conf);

/* The README's table of options, in Markdown. */
void conf_render_table(struct buf *out);

/* --- command line --- */

enum conf_action {
    CONF_ACTION_RUN,
    CONF_ACTION_CHECK,   /* --check-config */
    CONF_ACTION_PRINT,   /* --print-config */
    CONF_ACTION_TABLE,   /* --print-options-table, for the README */
    CONF_ACTION_VERSION, /* --version */
    CONF_ACTION_HELP,    /* --help */
};

struct conf_command {
    enum conf_action action;
    const char *file_name; /* borrowed from argv; NULL: none */
    const char **sets;     /* owned array of texts borrowed from argv; NULL when there are none */
    size_t set_count;
};

/* Returns 0; ERR_SYNTAX with a line in `errors` for each thing that is wrong (exit 64); ERR_NOMEM. */
int conf_parse_command(struct conf_command *command, int argc, char *const *argv,
                       struct buf *errors);

void conf_command_fini(struct conf_command *command);

void conf_render_help(struct buf *out);

#endif
