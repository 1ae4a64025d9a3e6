#include "render/own.h"

#include <math.h>

#include "base/clock.h"
#include "render/family.h"
#include "render/label.h"

#define DWELLD STR_LITERAL("dwelld_")

/* --- one line ---------------------------------------------------------------------------------- */

struct pen {
    const struct own *own;
    struct buf *out;
};

static void head(const struct pen *pen, enum family_type type, const char *name, const char *help)
{
    family_render_head(pen->own->format, type, DWELLD, name, help, pen->out);
}

/* dwelld_ name end {labels,hash}_   and the value is next. `labels` are rendered, or empty. */
static void begin_line(const struct pen *pen, const char *name, const char *end, struct str labels)
{
    const char *hash = pen->own->hash_label;
    struct buf *out = pen->out;
    buf_str(out, DWELLD);
    buf_puts(out, name);
    buf_puts(out, end);
    if (labels.len > 0 || hash[0] != '\0') {
        buf_char(out, '{');
        buf_str(out, labels);
        buf_puts(out, labels.len > 0 && hash[0] != '\0' ? "," : "");
        buf_puts(out, hash);
        buf_char(out, '}');
    }
    buf_char(out, ' ');
}

static void line_u64(const struct pen *pen, const char *name, const char *end, uint64_t value)
{
    begin_line(pen, name, end, STR_LITERAL(""));
    buf_u64(pen->out, value);
    buf_char(pen->out, '\n');
}

static void line_double(const struct pen *pen, const char *name, const char *end, double value)
{
    begin_line(pen, name, end, STR_LITERAL(""));
    buf_double(pen->out, value);
    buf_char(pen->out, '\n');
}

/* --- service ----------------------------------------------------------------------------------- */

/* What Prometheus' users join everything with; OpenMetrics only, which has a rule for it. */
static void render_target(const struct pen *pen)
{
    struct buf *out = pen->out;
    if (pen->own->format == EXPOSITION_OPENMETRICS) {
        family_render_head(EXPOSITION_OPENMETRICS, FAMILY_INFO, STR_LITERAL(""), "target_info",
                           "The service that dwelld runs beside.", out);
        buf_puts(out, "target_info{");
        buf_puts(out, pen->own->target_labels);
        buf_puts(out, "} 1\n");
    }
}

/* --- records and the ledger -------------------------------------------------------------------- */

static void record_line(const struct pen *pen, struct str labels, uint64_t value)
{
    begin_line(pen, "records_total", "", labels);
    buf_u64(pen->out, value);
    buf_char(pen->out, '\n');
}

static void render_records(const struct pen *pen)
{
    static const struct str rejected[ERR_ROW_COUNT] = {
#define X(code, label, sentence)                                                                   \
    {"outcome=\"rejected\",reason=\"" label "\"",                                                  \
     sizeof "outcome=\"rejected\",reason=\"" label "\"" - 1},
        ERR_TABLE(X)
#undef X
    };
    const struct snapshot *snapshot = pen->own->snapshot;
    head(pen, FAMILY_COUNTER, "records_total",
         "Records that arrived, by what became of them and why.");
    record_line(pen, STR_LITERAL("outcome=\"accepted\",reason=\"\""), snapshot->accepted);
    for (unsigned row = 0; row < ERR_ROW_COUNT; row++) {
        record_line(pen, rejected[row], snapshot->rejected[row]);
    }
}

enum term { TERM_SENT, TERM_ACCEPTED, TERM_REJECTED, TERM_DROPPED, TERM_LOST, TERM_COUNT };

static const struct term_row {
    const char *name;
    const char *help;
} term_rows[] = {
    {"client_sent_total", "Records that clients say they sent, of clients that number them."},
    {"client_accepted_total", "Records of numbering clients that were accepted."},
    {"client_rejected_total", "Records of numbering clients that were rejected."},
    {"client_dropped_total", "Records that clients say they dropped themselves."},
    {"client_lost_total", "Records that are missing in the numbers of clients."},
};

_Static_assert(sizeof term_rows / sizeof term_rows[0] == TERM_COUNT, "one each");

static uint64_t term_value(const struct ledger_terms *terms, enum term term)
{
    uint64_t rejected = 0;
    switch (term) {
    case TERM_SENT:
        return terms->sent;
    case TERM_ACCEPTED:
        return terms->accepted;
    case TERM_DROPPED:
        return terms->dropped;
    case TERM_LOST:
        return terms->lost;
    case TERM_REJECTED:
    case TERM_COUNT:
        break;
    }
    for (unsigned row = 0; row < ERR_ROW_COUNT; row++) {
        rejected += terms->rejected[row];
    }
    return rejected;
}

static void render_ledger(const struct pen *pen)
{
    const struct ledger_view *ledger = &pen->own->snapshot->ledger;
    const char *hash = pen->own->hash_label;
    struct buf *out = pen->out;
    for (unsigned term = 0; term < TERM_COUNT; term++) {
        head(pen, FAMILY_COUNTER, term_rows[term].name, term_rows[term].help);
        for (uint32_t i = 0; i < ledger->library_count; i++) {
            buf_str(out, DWELLD);
            buf_puts(out, term_rows[term].name);
            buf_puts(out, "{client=\"");
            label_render_value(str_of(ledger->libraries[i].name), out);
            buf_puts(out, hash[0] != '\0' ? "\"," : "\"");
            buf_puts(out, hash);
            buf_puts(out, "} ");
            buf_u64(out, term_value(&ledger->libraries[i].terms, (enum term)term));
            buf_char(out, '\n');
        }
    }
}

/* --- counters and timings ---------------------------------------------------------------------- */

static const struct counter_row {
    enum family_type type;
    const char *name;
    const char *help;
} counter_rows[] = {
#define X(code, name, kind, help) {FAMILY_##kind, name, help},
    COUNTER_TABLE(X)
#undef X
};

_Static_assert(sizeof counter_rows / sizeof counter_rows[0] == COUNTER_COUNT, "one each");

/* Two rows count on the reader's side, where the loop does not see it. */
static uint64_t counter_value(const struct own *own, enum counter counter)
{
    return counter == COUNTER_SCRAPES       ? own->process->scrapes
           : counter == COUNTER_HTTP_ERRORS ? own->process->http_errors
                                            : own->snapshot->counters.value[counter];
}

static void render_counters(const struct pen *pen)
{
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        const struct counter_row *row = &counter_rows[i];
        head(pen, row->type, row->name, row->help);
        line_u64(pen, row->name, "", counter_value(pen->own, (enum counter)i));
    }
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)NS_PER_SECOND;
}

static void timing_bucket(const struct pen *pen, const char *name, double bound, uint64_t count)
{
    char text[FAMILY_BOUND_MAX];
    begin_line(pen, name, "_bucket", (struct str){text, family_write_bound(bound, text)});
    buf_u64(pen->out, count);
    buf_char(pen->out, '\n');
}

static void render_timing(const struct pen *pen, const char *name, const char *help,
                          const struct timing *timing)
{
    uint64_t seen = 0;
    head(pen, FAMILY_HISTOGRAM, name, help);
    for (unsigned i = 0; i < TIMING_BOUNDS; i++) {
        seen += timing->bucket[i];
        timing_bucket(pen, name, seconds(timing_bounds_ns[i]), seen);
    }
    timing_bucket(pen, name, (double)INFINITY, timing->count);
    line_double(pen, name, "_sum", seconds(timing->sum_ns));
    line_u64(pen, name, "_count", timing->count);
}

static void render_largest(const struct pen *pen, const char *name, const char *help,
                           const struct timing *timing)
{
    head(pen, FAMILY_GAUGE, name, help);
    line_double(pen, name, "", seconds(timing->max_ns));
}

static void render_timings(const struct pen *pen)
{
    const struct counters *counters = &pen->own->snapshot->counters;
    render_timing(pen, "loop_lag_seconds",
                  "How long one turn of the loop kept everything else waiting.",
                  &counters->loop_lag);
    render_largest(pen, "loop_lag_max_seconds", "The longest turn of the loop since the start.",
                   &counters->loop_lag);
    render_timing(pen, "snapshot_seconds", "Time to freeze a snapshot, on the loop.",
                  &counters->snapshot);
    render_largest(pen, "snapshot_max_seconds", "The longest freeze since the start.",
                   &counters->snapshot);
}

/* --- the process ------------------------------------------------------------------------------- */

static void render_process(const struct pen *pen)
{
    static const char memory[] = "resident_memory_bytes";
    uint64_t resident = pen->own->process->resident_bytes;
    head(pen, FAMILY_GAUGE, memory, "Resident memory of the daemon.");
    if (resident > 0) {
        line_u64(pen, memory, "", resident);
    }
    head(pen, FAMILY_INFO, "build_info", "The daemon's version.");
    begin_line(pen, "build_info", "", str_of(pen->own->build_labels));
    buf_puts(pen->out, "1\n");
}

void own_render(const struct own *own, struct buf *out)
{
    const struct pen pen = {.own = own, .out = out};
    render_target(&pen);
    render_records(&pen);
    render_ledger(&pen);
    render_counters(&pen);
    render_timings(&pen);
    render_process(&pen);
}
