/*
 * A snapshot as the JSON of /api/v1 (DESIGN.md, section 7): models, one model, status, errors.
 * Numbers in full precision, what is not known is null. It does not choose status codes and does
 * not parse requests. Pure; any thread, one scratch for each thread.
 *
 * All functions append to `out`, a line end last; memory and ceiling are told by out->err.
 */
#ifndef DWELL_RENDER_JSON_H
#define DWELL_RENDER_JSON_H

#include "base/buf.h"
#include "core/profile.h"
#include "render/export_view.h"
#include "render/json_self.h"

/* {"models":[MODEL, …]}, by name, then labels. `name`: only models of exactly this name; NULL: all.
 * Models without a sample since their reset are left out. */
void json_render_models(const struct snapshot *snapshot, enum profile_span span,
                        const struct str *name, struct profile_scratch *scratch, struct buf *out);

struct json_model_query {
    struct str name;
    const struct label *labels; /* by the keys of "labels" in MODEL; all of them */
    uint32_t label_count;       /* 0: of several label sets the first */
};

/* MODEL with its explanation. Returns false, with nothing appended, when
 * there is none (404). True with out->err set when memory is lacking. */
bool json_render_model(const struct snapshot *snapshot, enum profile_span span,
                       const struct json_model_query *query, struct profile_scratch *scratch,
                       struct buf *out);

struct json_path {
    const char *name; /* "ingest" */
    const char *path;
};

struct json_limit {
    const char *name; /* "profiling.max_models" */
    uint64_t value;
};

/* What only the daemon's outer side knows. */
struct json_status {
    const char *version;
    uint64_t uptime_ns;
    const char *http_address; /* NULL: none */
    const struct json_path *sockets;
    size_t socket_count;
    const struct json_path
        *files; /* "state", "journal": what outlives the daemon, where it is wanted */
    size_t file_count;
    const struct json_limit *limits;
    size_t limit_count;
    const struct json_path *sandbox; /* what was taken away from the daemon, and how much of it */
    size_t sandbox_count;
    uint64_t rss_bytes;   /* 0: not known */
    uint64_t scrapes;     /* as in struct exposition_process */
    uint64_t http_errors; /* likewise, as the next ones */
    uint64_t http_foreign_hosts;
    uint64_t http_refused;
    uint64_t http_slow;
    const struct export_view *exports; /* one a signal */
    unsigned export_count;
    struct json_process process;
};

void json_render_status(const struct snapshot *snapshot, const struct json_status *status,
                        struct buf *out);

/* {"error": "…"}; any bytes: what is not UTF-8 becomes U+FFFD. */
void json_render_error(struct str message, struct buf *out);

/* {"status":"ok"} */
void json_render_ok(struct buf *out);

/* {"status":"unready","reason": …,"error": …} */
void json_render_unready(const char *reason, const char *sentence, struct buf *out);

/* {"reset": n} */
void json_render_reset(uint64_t models, struct buf *out);

#endif
