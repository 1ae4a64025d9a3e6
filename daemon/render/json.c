#include "render/json.h"

#include "base/clock.h"
#include "render/json_explain.h"
#include "render/json_labels.h"
#include "render/json_write.h"
#include "render/order.h"

static const char *const quantile_keys[] = {"p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms"};
_Static_assert(sizeof quantile_keys / sizeof quantile_keys[0] == QUANTILE_COUNT, "one each");

static const char *const state_keys[] = {"user_ms", "system_ms", "fault_ms", "runqueue_ms",
                                         "blocked_ms"};
_Static_assert(sizeof state_keys / sizeof state_keys[0] == STATE_COUNT, "one each");

/* Ends the answer, with a line end for those who read it on a terminal. */
static void finish(struct json_writer *writer)
{
    json_close(writer, '}');
    buf_char(writer->out, '\n');
}

/* --- MODEL ------------------------------------------------------------------------------------- */

static void put_window(struct json_writer *writer, const struct snapshot *snapshot,
                       enum profile_span span)
{
    json_key(writer, STR_LITERAL("window"));
    if (span == PROFILE_ALL) {
        json_text(writer, STR_LITERAL("all"));
        return;
    }
    struct buf *out = writer->out;
    buf_char(out, '"');
    buf_double(out, (double)snapshot->window_ns / (double)NS_PER_SECOND);
    buf_puts(out, "s\"");
    writer->comma = true;
}

static void put_latency(struct json_writer *writer, const struct profile *profile)
{
    json_put_open(writer, "latency", '{');
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        json_put_double(writer, quantile_keys[q], profile->quantile_ms[q]);
    }
    json_put_double(writer, "mean_ms", profile->mean_ms);
    json_put_double(writer, "std_ms", profile->deviation_ms);
    json_put_double(writer, "min_ms", profile->min_ms);
    json_put_double(writer, "max_ms", profile->max_ms);
    json_close(writer, '}');
}

static void put_queue(struct json_writer *writer, const struct profile *profile)
{
    json_put_open(writer, "queue", '{');
    json_put_double(writer, "mean_ms", profile->queue_mean_ms);
    json_close(writer, '}');
}

static void put_pair(struct json_writer *writer, const char *key, const char *mean_key, double mean,
                     const char *peak_key, double peak)
{
    json_put_open(writer, key, '{');
    json_put_double(writer, mean_key, mean);
    json_put_double(writer, peak_key, peak);
    json_close(writer, '}');
}

static void put_time(struct json_writer *writer, const struct profile *profile)
{
    bool known = profile->evidence_count > 0;
    json_put_open(writer, "time", '{');
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        if (known) {
            json_put_double(writer, state_keys[i], profile->state_ms[i]);
        } else {
            json_put_null(writer, state_keys[i]);
        }
    }
    json_put_u64(writer, "inferences", profile->evidence_count);
    if (known) {
        json_put_double(writer, "wall_ms", profile->evidence_wall_ms);
    } else {
        json_put_null(writer, "wall_ms");
    }
    json_close(writer, '}');
}

static void put_hints(struct json_writer *writer, const struct profile *profile)
{
    json_put_open(writer, "hints", '{');
    json_put_double(writer, "flops", profile->flops);
    json_put_double(writer, "bytes_moved", profile->bytes_moved);
    json_close(writer, '}');
}

static void put_shares(struct json_writer *writer, const struct verdict *verdict)
{
    json_put_open(writer, "shares", '{');
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        json_put_double(writer, share_names[i], verdict->share[i]);
    }
    json_close(writer, '}');
}

static void put_analysis(struct json_writer *writer, const struct verdict *verdict)
{
    const char *decision = gpu_decision_names[verdict->gpu];
    json_put_open(writer, "analysis", '{');
    json_put_text(writer, "bottleneck_type", str_of(bottleneck_names[verdict->bottleneck]));
    json_put_text(writer, "rule", str_of(rule_names[verdict->rule]));
    json_put_text(writer, "reason", str_of(verdict->reason));
    json_put_double(writer, "confidence", verdict->confidence);
    put_shares(writer, verdict);
    if (decision == NULL) {
        json_put_null(writer, "gpu_decision");
    } else {
        json_put_text(writer, "gpu_decision", str_of(decision));
    }
    json_put_text(writer, "gpu_recommendation", str_of(verdict->recommendation));
    json_put_double(writer, "max_speedup", verdict->max_speedup);
    json_close(writer, '}');
}

/* `explained`: the model, when it is to be explained; else NULL. */
static void put_model(struct json_writer *writer, const struct snapshot *snapshot,
                      const struct profile *profile, const struct model *explained)
{
    json_open(writer, '{');
    json_put_text(writer, "model_name", profile->id->name);
    json_put_labels(writer, profile->id);
    put_window(writer, snapshot, profile->span);
    json_put_u64(writer, "sample_count", profile->count);
    json_put_u64(writer, "errors", profile->errors);
    put_latency(writer, profile);
    put_queue(writer, profile);
    put_pair(writer, "cpu", "avg_percent", profile->cpu_mean, "peak_percent", profile->cpu_peak);
    put_pair(writer, "memory", "avg_mb", profile->memory_mean_mb, "peak_mb",
             profile->memory_peak_mb);
    put_time(writer, profile);
    put_hints(writer, profile);
    put_analysis(writer, &profile->verdict);
    if (explained != NULL) {
        json_explain(writer, snapshot, explained);
    }
    json_close(writer, '}');
}

void json_render_models(const struct snapshot *snapshot, enum profile_span span,
                        const struct str *name, struct profile_scratch *scratch, struct buf *out)
{
    struct json_writer writer = {.out = out};
    struct order order;
    int err = order_init(&order, snapshot, name);
    if (err != 0) {
        out->err = out->err == 0 ? err : out->err;
        return;
    }
    json_open(&writer, '{');
    json_put_open(&writer, "models", '[');
    for (uint32_t i = 0; i < order.count && out->err == 0; i++) {
        struct profile profile;
        if (profile_compute(snapshot, order.models[i], span, scratch, &profile) > 0) {
            put_model(&writer, snapshot, &profile, NULL);
        }
    }
    json_close(&writer, ']');
    finish(&writer);
    order_fini(&order);
}

static bool is_wanted(const struct model *model, const struct json_model_query *query)
{
    return query->label_count == 0 || json_labels_are(model->id, query->labels, query->label_count);
}

bool json_render_model(const struct snapshot *snapshot, enum profile_span span,
                       const struct json_model_query *query, struct profile_scratch *scratch,
                       struct buf *out)
{
    struct json_writer writer = {.out = out};
    struct order order;
    bool found = false;
    int err = order_init(&order, snapshot, &query->name);
    if (err != 0) {
        out->err = out->err == 0 ? err : out->err;
        return true; /* whether there is one is not known; the answer is the error */
    }
    for (uint32_t i = 0; i < order.count && !found; i++) {
        struct profile profile;
        if (is_wanted(order.models[i], query) &&
            profile_compute(snapshot, order.models[i], span, scratch, &profile) > 0) {
            put_model(&writer, snapshot, &profile, order.models[i]);
            buf_char(out, '\n');
            found = true;
        }
    }
    order_fini(&order);
    return found;
}

/* --- the rest ---------------------------------------------------------------------------------- */

static void put_ledger(struct json_writer *writer, const struct ledger_view *ledger)
{
    const struct ledger_terms *all = &ledger->all;
    json_put_open(writer, "ledger", '{');
    json_put_u64(writer, "sent", all->sent);
    json_put_u64(writer, "accepted", all->accepted);
    json_put_open(writer, "rejected", '{');
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        json_put_u64(writer, err_label(-1 - row), all->rejected[row]);
    }
    json_close(writer, '}');
    json_put_u64(writer, "dropped", all->dropped);
    json_put_u64(writer, "lost", all->lost);
    json_put_u64(writer, "unledgered", ledger->unledgered);
    json_close(writer, '}');
}

/* All records, in the account or not: what /metrics counts. */
static void put_records(struct json_writer *writer, const struct snapshot *snapshot)
{
    json_put_open(writer, "records", '{');
    json_put_u64(writer, "accepted", snapshot->accepted);
    json_put_open(writer, "rejected", '{');
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        json_put_u64(writer, err_label(-1 - row), snapshot->rejected[row]);
    }
    json_close(writer, '}');
    json_close(writer, '}');
}

static void put_since(struct json_writer *writer, const struct snapshot *snapshot, const char *key,
                      uint64_t grown_ns)
{
    if (grown_ns > 0) {
        json_put_double(writer, key,
                        (double)(snapshot->mono_ns - grown_ns) / (double)NS_PER_SECOND);
    }
}

/* How long ago counts grew the last time; those that have not since the start are not there.
 *
 *     {"rejected": {REASON: s, …}, "dropped": s, "lost": s, "counters": {NAME: s, …}}
 */
static void put_growth(struct json_writer *writer, const struct snapshot *snapshot)
{
    static const struct {
        const char *name;
        enum { GAUGE, COUNTER } kind;
    } rows[] = {
#define X(code, name, kind, help) {name, kind},
        COUNTER_TABLE(X)
#undef X
    };
    const struct growth_counts *grown_ns = &snapshot->grown_ns;
    json_put_open(writer, "seconds_since", '{');
    json_put_open(writer, "rejected", '{');
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        put_since(writer, snapshot, err_label(-1 - row), grown_ns->rejected[row]);
    }
    json_close(writer, '}');
    put_since(writer, snapshot, "dropped", grown_ns->dropped);
    put_since(writer, snapshot, "lost", grown_ns->lost);
    json_put_open(writer, "counters", '{');
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        put_since(writer, snapshot, rows[i].name,
                  rows[i].kind == COUNTER ? grown_ns->counters[i] : 0);
    }
    json_close(writer, '}');
    json_close(writer, '}');
}

static void put_texts(struct json_writer *writer, const char *name, const struct json_path *texts,
                      size_t count)
{
    json_put_open(writer, name, '{');
    for (size_t i = 0; i < count; i++) {
        json_put_text(writer, texts[i].name, str_of(texts[i].path));
    }
    json_close(writer, '}');
}

static void put_limits(struct json_writer *writer, const struct json_status *status)
{
    json_put_open(writer, "limits", '{');
    for (size_t i = 0; i < status->limit_count; i++) {
        json_put_u64(writer, status->limits[i].name, status->limits[i].value);
    }
    json_close(writer, '}');
}

static void put_counters(struct json_writer *writer, const struct snapshot *snapshot,
                         const struct json_status *status)
{
    static const char *const names[] = {
#define X(code, name, kind, help) name,
        COUNTER_TABLE(X)
#undef X
    };
    json_put_open(writer, "counters", '{');
    uint64_t values[COUNTER_COUNT];
    memcpy(values, snapshot->counters.value, sizeof values);
    values[COUNTER_SCRAPES] = status->scrapes; /* these count on the HTTP side */
    values[COUNTER_HTTP_ERRORS] = status->http_errors;
    values[COUNTER_HTTP_FOREIGN_HOSTS] = status->http_foreign_hosts;
    values[COUNTER_HTTP_REFUSED] = status->http_refused;
    values[COUNTER_HTTP_SLOW] = status->http_slow;
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        json_put_u64(writer, names[i], values[i]);
    }
    json_close(writer, '}');
}

/* Each line of a text as a text of its own. */
static void put_lines(struct json_writer *writer, const char *key, struct str text)
{
    json_put_open(writer, key, '[');
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
        size_t taken = end == NULL ? len : len + 1;
        json_text(writer, (struct str){text.ptr, len});
        text = (struct str){text.ptr + taken, text.len - taken};
    }
    json_close(writer, ']');
}

static void put_reloads(struct json_writer *writer, const struct reloads *reloads)
{
    const struct reload_report *report = reloads->report;
    json_put_open(writer, "reloads", '{');
    for (unsigned i = 0; i < RELOAD_OUTCOME_COUNT; i++) {
        json_put_u64(writer, reload_outcome_words[i], reloads->count[i]);
    }
    if (reloads->last_wall_ns == 0) {
        json_put_null(writer, "last");
    } else {
        json_put_open(writer, "last", '{');
        json_put_text(writer, "outcome", str_of(reload_outcome_words[reloads->last]));
        json_put_double(writer, "unix_seconds",
                        (double)reloads->last_wall_ns / (double)NS_PER_SECOND);
        put_lines(writer, "messages",
                  report == NULL ? (struct str){0} : (struct str){report->text, report->len});
        json_close(writer, '}');
    }
    json_close(writer, '}');
}

static void put_export(struct json_writer *writer, const struct export_view *view)
{
    static const char *const reasons[] = {
#define X(code, word) word,
        EXPORT_DROP_TABLE(X)
#undef X
    };
    json_put_open(writer, view->signal, '{');
    if (view->endpoint != NULL) {
        json_put_text(writer, "endpoint", str_of(view->endpoint));
    } else {
        json_put_null(writer, "endpoint");
    }
#define X(member, name, metric, kind, help) json_put_u64(writer, name, view->member);
    EXPORT_FIGURE_TABLE(X)
#undef X
    json_put_open(writer, "dropped", '{');
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        json_put_u64(writer, reasons[i], view->dropped[i]);
    }
    json_close(writer, '}');
    json_close(writer, '}');
}

void json_render_status(const struct snapshot *snapshot, const struct json_status *status,
                        struct buf *out)
{
    struct json_writer writer = {.out = out};
    json_open(&writer, '{');
    json_put_text(&writer, "version", str_of(status->version));
    json_put_double(&writer, "uptime_seconds", (double)status->uptime_ns / (double)NS_PER_SECOND);
    if (status->http_address == NULL) {
        json_put_null(&writer, "http_address");
    } else {
        json_put_text(&writer, "http_address", str_of(status->http_address));
    }
    put_texts(&writer, "sockets", status->sockets, status->socket_count);
    put_texts(&writer, "files", status->files, status->file_count);
    put_texts(&writer, "sandbox", status->sandbox, status->sandbox_count);
    json_put_self(&writer, snapshot, &status->process);
    put_records(&writer, snapshot);
    put_ledger(&writer, &snapshot->ledger);
    put_growth(&writer, snapshot);
    put_counters(&writer, snapshot, status);
    put_limits(&writer, status);
    put_reloads(&writer, &snapshot->counters.reloads);
    json_put_open(&writer, "export", '{');
    for (unsigned i = 0; i < status->export_count; i++) {
        put_export(&writer, &status->exports[i]);
    }
    json_close(&writer, '}');
    if (status->rss_bytes > 0) {
        json_put_u64(&writer, "rss_bytes", status->rss_bytes);
    } else {
        json_put_null(&writer, "rss_bytes");
    }
    finish(&writer);
}

void json_render_error(struct str message, struct buf *out)
{
    struct json_writer writer = {.out = out};
    json_open(&writer, '{');
    json_put_text(&writer, "error", message);
    finish(&writer);
}

void json_render_ok(struct buf *out)
{
    struct json_writer writer = {.out = out};
    json_open(&writer, '{');
    json_put_text(&writer, "status", STR_LITERAL("ok"));
    finish(&writer);
}

void json_render_unready(const char *reason, const char *sentence, struct buf *out)
{
    struct json_writer writer = {.out = out};
    json_open(&writer, '{');
    json_put_text(&writer, "status", STR_LITERAL("unready"));
    json_put_text(&writer, "reason", str_of(reason));
    json_put_text(&writer, "error", str_of(sentence));
    finish(&writer);
}

void json_render_reset(uint64_t models, struct buf *out)
{
    struct json_writer writer = {.out = out};
    json_open(&writer, '{');
    json_put_u64(&writer, "reset", models);
    finish(&writer);
}
