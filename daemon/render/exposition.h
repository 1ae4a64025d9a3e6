/*
 * A snapshot as an answer to /metrics, in one of the formats.
 * It remembers what it rendered, so that an answer in which little changed is mostly copying. It does
 * not negotiate, compress or read clocks and files: figures that only the reader's side knows are
 * handed in. One thread owns an exposition; the snapshot may be any thread's.
 */
#ifndef DWELL_RENDER_EXPOSITION_H
#define DWELL_RENDER_EXPOSITION_H

#include "base/buf.h"
#include "core/snapshot.h"
#include "render/export_view.h"

enum exposition_format {
    EXPOSITION_TEXT,        /* text/plain; version=0.0.4 */
    EXPOSITION_OPENMETRICS, /* application/openmetrics-text; version=1.0.0 */
    EXPOSITION_PROTOBUF,    /* application/vnd.google.protobuf; proto=…MetricFamily; … */
    EXPOSITION_FORMAT_COUNT
};

/* The whole value of Content-Type. */
extern const char *const exposition_content_types[EXPOSITION_FORMAT_COUNT];

/* Borrowed during exposition_new only. */
struct exposition_options {
    struct str name_space; /* metrics.namespace: empty, or what a metric name may begin with */
    const struct label *resource; /* what target_info says; names are sanitised */
    uint32_t resource_count;
    struct str constitutional_hash;
    bool hash_label;           /* metrics.constitutional_hash_label: on every series */
    bool created_series;       /* metrics.created_series: in OpenMetrics; protobuf has a field */
    struct str dwelld_version; /* the daemon's own */
    struct str label_keys[REGISTRY_LABEL_KEYS_MAX]; /* the registry's, in the same order */
    uint32_t label_key_count;
};

/* Figures of the HTTP side, which are not in the snapshot. */
struct exposition_process {
    uint64_t resident_bytes; /* 0: not known */
    uint64_t scrapes;        /* this one included, as the caller sees it */
    uint64_t http_errors;
    uint64_t http_foreign_hosts;
    uint64_t http_refused;
    uint64_t http_slow;
    const struct export_view *exports; /* one a signal */
    unsigned export_count;
};

struct exposition;

/* NULL without memory. */
struct exposition *exposition_new(const struct exposition_options *options);
void exposition_free(struct exposition *exposition);

/* Appends the whole answer. Returns 0, or the error that is also in out->err: ERR_LIMIT past the
 * buffer's ceiling, ERR_NOMEM; what was appended is then of no use, the exposition is as good as
 * before. Snapshots of one registry only; one that is older than the last shows the models that came
 * since too, with their later figures. */
int exposition_render(struct exposition *exposition, const struct snapshot *snapshot,
                      enum exposition_format format, const struct exposition_process *process,
                      struct buf *out);

#endif
