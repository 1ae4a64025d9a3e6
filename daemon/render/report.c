/*
 *     ACGS-2 MODEL PROFILING REPORT
 *     2026-01-31 12:00:00 UTC · 1 model · constitutional hash cdd01ef066bc6cf2
 *
 *     ── impact_scorer ────────────────────────────────────────────── compute_bound ──
 *       samples  12,345 in the last 300 s, 2 errors
 *       latency  p50 1.23 ms  p90 …
 *       …
 *
 *     GPU DECISION
 *       MODEL          TYPE           P99      CPU %  GPU?
 *       …
 *
 *     OVERALL: EVALUATE_GPU
 *       …
 *     TO DO
 *       …
 *
 *     TIME BUDGETS
 *       …
 *
 * Only the line of a block begins with a rule, and names stand on no line's beginning, so that no
 * name can pass for another line.
 */
#include "render/report.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "render/decision.h"
#include "render/figure.h"
#include "render/order.h"
#include "render/report_budgets.h"
#include "render/report_gpu.h"
#include "render/report_sentence.h"
#include "render/width.h"

enum {
    TITLE_COLUMNS_MAX = 31,      /* in the table: it then fits the page */
    TITLES_BYTES_MAX = 64 << 20, /* of all models; the ceilings on models and names are lower */
};

struct row {
    size_t title_at; /* in report.titles */
    size_t title_len;
    struct profile profile;
};

struct report {
    const struct snapshot *snapshot;
    const struct report_options *options;
    struct row *rows; /* owned */
    uint32_t count;
    struct decision_counts decisions;
    struct buf titles; /* names with labels, as shown */
    struct buf *out;
};

static struct str title_of(const struct report *report, const struct row *row)
{
    return (struct str){report->titles.data + row->title_at, row->title_len};
}

/* --- what is reported -------------------------------------------------------------------------- */

static void put_label(struct buf *out, bool first, struct str key, struct str value)
{
    buf_puts(out, first ? " {" : ", ");
    log_escape(out, key);
    buf_puts(out, "=\"");
    log_escape(out, value);
    buf_char(out, '"');
}

/* impact_scorer {device="cuda:0", region="eu"} */
static void put_title(struct buf *out, const struct model_id *id)
{
    bool first = true;
    log_escape(out, id->name);
    if (id->device.len > 0) {
        put_label(out, first, STR_LITERAL("device"), id->device);
        first = false;
    }
    for (uint32_t i = 0; i < id->label_count; i++) {
        put_label(out, first, id->labels[i].key, id->labels[i].value);
        first = false;
    }
    if (id->overflow) {
        put_label(out, first, STR_LITERAL("dwell_overflow"), STR_LITERAL("true"));
        first = false;
    }
    buf_puts(out, first ? "" : "}");
}

static int collect(struct report *report, struct profile_scratch *scratch)
{
    struct order order;
    int err = order_init(&order, report->snapshot, NULL);
    if (err != 0) {
        return err;
    }
    report->rows = mem_zalloc(order.count + 1, sizeof *report->rows);
    for (uint32_t i = 0; report->rows != NULL && i < order.count; i++) {
        struct row *row = &report->rows[report->count];
        if (profile_compute(report->snapshot, order.models[i], PROFILE_WINDOW, scratch,
                            &row->profile) > 0) {
            row->title_at = report->titles.len;
            put_title(&report->titles, row->profile.id);
            row->title_len = report->titles.len - row->title_at;
            decision_count(&report->decisions, &row->profile);
            report->count++;
        }
    }
    order_fini(&order);
    return report->rows == NULL ? ERR_NOMEM : report->titles.err;
}

/* --- header ------------------------------------------------------------------------------------ */

static void put_header(const struct report *report)
{
    struct buf *out = report->out;
    char text[64];
    struct tm utc;
    time_t seconds = (time_t)(report->snapshot->wall_ns / NS_PER_SECOND);
    (void)gmtime_r(&seconds, &utc); /* fails for years past 2^31, which nanoseconds do not reach */
    (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc); /* it fits */
    log_escape(out, report->options->display_name);
    buf_puts(out, " MODEL PROFILING REPORT\n");
    buf_puts(out, text);
    if (report->count > 0) {
        buf_puts(out, " · ");
        figure_put_plural(out, report->count, "model", "models");
    }
    buf_puts(out, " · constitutional hash ");
    log_escape(out, report->options->constitutional_hash);
    buf_char(out, '\n');
}

/* --- one block for each model ------------------------------------------------------------------ */

static void put_block_title(const struct report *report, const struct row *row)
{
    struct buf *out = report->out;
    struct str title = title_of(report, row);
    const char *word = bottleneck_names[row->profile.verdict.bottleneck];
    size_t used = 3 + width_count(title) + 1 + 1 + strlen(word) + 3;
    buf_puts(out, "\n── ");
    buf_str(out, title);
    buf_char(out, ' ');
    figure_put_rule(out, used + 2 < REPORT_COLUMNS ? REPORT_COLUMNS - used : 2);
    buf_char(out, ' ');
    buf_puts(out, word);
    buf_puts(out, " ──\n");
}

static void put_samples(const struct report *report, const struct profile *profile)
{
    struct buf *out = report->out;
    double window_seconds = (double)report->snapshot->window_ns / (double)NS_PER_SECOND;
    buf_puts(out, "  samples  ");
    figure_put_count(out, profile->count);
    buf_puts(out,
             profile->span == PROFILE_ALL ? " in all, none of them in the last " : " in the last ");
    buf_double(out, window_seconds);
    buf_puts(out, " s, ");
    if (profile->errors == 0) {
        buf_puts(out, "no errors\n");
    } else {
        figure_put_plural(out, profile->errors, "error\n", "errors\n");
    }
}

static void put_latency(struct buf *out, const struct profile *profile)
{
    static const char *const names[] = {"p50 ", "  p90 ", "  p95 ", "  p99 ", "  p99.9 "};
    _Static_assert(sizeof names / sizeof names[0] == QUANTILE_COUNT, "one each");
    buf_puts(out, "  latency  ");
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        char text[FIGURE_BYTES];
        figure_time(text, profile->quantile_ms[q]);
        buf_puts(out, names[q]);
        figure_put_right(out, text, 7);
    }
    buf_puts(out, "\n           mean ");
    figure_put_time(out, profile->mean_ms);
    buf_puts(out, ", deviation ");
    figure_put_time(out, profile->deviation_ms);
    buf_puts(out, ", from ");
    figure_put_time(out, profile->min_ms);
    buf_puts(out, " to ");
    figure_put_time(out, profile->max_ms);
    buf_char(out, '\n');
}

static void put_use(struct buf *out, const char *name, double mean, double peak,
                    void (*put)(struct buf *out, double figure))
{
    buf_puts(out, name);
    put(out, mean);
    buf_puts(out, " on average, ");
    put(out, peak);
    buf_puts(out, " at most\n");
}

/* CPU decides the verdict, so its absence is told; that of memory is not. */
static void put_uses(struct buf *out, const struct profile *profile)
{
    static const char cpu[] = "  CPU      ";
    if (isnan(profile->cpu_mean)) {
        buf_puts(out, cpu);
        buf_puts(out, "not measured\n");
    } else {
        put_use(out, cpu, profile->cpu_mean, profile->cpu_peak, figure_put_percent);
    }
    if (!isnan(profile->memory_mean_mb)) {
        put_use(out, "  memory   ", profile->memory_mean_mb, profile->memory_peak_mb,
                figure_put_memory);
    }
}

/* Where an inference's time goes, on average over those that tell. */
static void put_states(struct buf *out, const struct profile *profile)
{
    static const char *const names[] = {"user ", ", system ", ", faults ", ", run queue ",
                                        ",\n           blocked "};
    _Static_assert(sizeof names / sizeof names[0] == STATE_COUNT, "one each");
    if (profile->evidence_count == 0) {
        return;
    }
    buf_puts(out, "  time     ");
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        buf_puts(out, names[i]);
        figure_put_time(out, profile->state_ms[i] / (double)profile->evidence_count);
    }
    buf_puts(out, ", on average over ");
    figure_put_plural(out, profile->evidence_count, "inference", "inferences");
    buf_puts(out, " with evidence\n");
}

/* What the time that the model could have run went into, and how sure the verdict is. */
static void put_shares(struct buf *out, const struct verdict *verdict)
{
    if (isnan(verdict->share[0])) {
        return;
    }
    buf_puts(out, "  shares   ");
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        buf_printf(out, "%s%s %.0f %%", i == 0 ? "" : ", ", share_names[i],
                   verdict->share[i] * 100);
    }
    if (!isnan(verdict->confidence)) {
        buf_printf(out, "; confidence %.2f", verdict->confidence);
    }
    buf_char(out, '\n');
}

static void put_verdict(struct buf *out, const struct profile *profile)
{
    const struct verdict *verdict = &profile->verdict;
    char word[REPORT_INDENT + 32];
    (void)snprintf(word, sizeof word, "  verdict  %s: ", bottleneck_names[verdict->bottleneck]);
    report_put_sentence(out, word, verdict->reason);
    put_shares(out, verdict);
    report_put_gpu(profile, out);
    report_put_sentence(out, "  advice   ", verdict->recommendation);
}

static void put_block(const struct report *report, const struct row *row)
{
    struct buf *out = report->out;
    const struct profile *profile = &row->profile;
    put_block_title(report, row);
    put_samples(report, profile);
    put_latency(out, profile);
    put_uses(out, profile);
    put_states(out, profile);
    put_verdict(out, profile);
}

/* --- the table --------------------------------------------------------------------------------- */

enum { TYPE_COLUMNS = 13, P99_COLUMNS = 7, CPU_COLUMNS = 6, GPU_COLUMNS = 12 };

static size_t title_columns(const struct report *report)
{
    size_t columns = sizeof "MODEL" - 1;
    for (uint32_t i = 0; i < report->count; i++) {
        size_t width = width_count(title_of(report, &report->rows[i]));
        columns = width > columns ? width : columns;
    }
    return columns < TITLE_COLUMNS_MAX ? columns : TITLE_COLUMNS_MAX;
}

static void put_cells(struct buf *out, const char *type, const char *p99, const char *cpu,
                      const char *gpu)
{
    buf_puts(out, "  ");
    figure_put_left(out, type, TYPE_COLUMNS);
    buf_puts(out, "  ");
    figure_put_right(out, p99, P99_COLUMNS);
    buf_puts(out, "  ");
    figure_put_right(out, cpu, CPU_COLUMNS);
    buf_puts(out, "  ");
    buf_puts(out, gpu);
    buf_char(out, '\n');
}

static void put_table_row(const struct report *report, const struct row *row, size_t columns)
{
    const struct profile *profile = &row->profile;
    const char *gpu = gpu_decision_names[profile->verdict.gpu];
    char p99[FIGURE_BYTES];
    char cpu[FIGURE_BYTES] = "-";
    figure_time(p99, profile->quantile_ms[QUANTILE_99]);
    if (!isnan(profile->cpu_mean)) {
        (void)snprintf(cpu, sizeof cpu, "%.1f", profile->cpu_mean);
    }
    buf_puts(report->out, "  ");
    width_pad(columns - width_cut(title_of(report, row), columns, report->out), report->out);
    put_cells(report->out, bottleneck_names[profile->verdict.bottleneck], p99, cpu,
              gpu == NULL ? "not asked" : gpu);
}

static void put_table(const struct report *report)
{
    struct buf *out = report->out;
    size_t columns = title_columns(report);
    buf_puts(out, "\nGPU DECISION\n  ");
    figure_put_left(out, "MODEL", columns);
    put_cells(out, "TYPE", "P99", "CPU %", "GPU?");
    buf_puts(out, "  ");
    figure_put_rule(out, columns + 2 + TYPE_COLUMNS + 2 + P99_COLUMNS + 2 + CPU_COLUMNS + 2 +
                             GPU_COLUMNS);
    buf_char(out, '\n');
    for (uint32_t i = 0; i < report->count; i++) {
        put_table_row(report, &report->rows[i], columns);
    }
}

/* --- the whole service ------------------------------------------------------------------------- */

static void put_candidates(const struct report *report)
{
    struct buf *out = report->out;
    uint32_t count = 0;
    for (uint32_t i = 0; i < report->count; i++) {
        const struct row *row = &report->rows[i];
        if (row->profile.verdict.gpu == GPU_YES && count++ < DECISION_REASONS_MAX) {
            buf_puts(out, "  - ");
            (void)width_cut(title_of(report, row), TITLE_COLUMNS_MAX, out); /* nothing is aligned */
            buf_puts(out, ": ");
            buf_puts(out, row->profile.gpu.reason);
            buf_char(out, '\n');
        }
    }
    if (count > DECISION_REASONS_MAX) {
        buf_puts(out, "  - and ");
        figure_put_plural(out, count - DECISION_REASONS_MAX, "more model\n", "more models\n");
    }
}

static void put_overall(const struct report *report)
{
    struct buf *out = report->out;
    buf_puts(out, "\nOVERALL: ");
    buf_puts(out, decision_overall(&report->decisions));
    buf_char(out, '\n');
    put_candidates(report);
    for (unsigned i = GPU_YES + 1; i < GPU_COUNT; i++) {
        if (report->decisions.of[i] > 0) {
            buf_puts(out, "  - ");
            decision_put_group(&report->decisions, (enum gpu_decision)i, out);
            buf_char(out, '\n');
        }
    }
    report_put_actions(&report->decisions, out);
}

void report_render(const struct snapshot *snapshot, const struct report_options *options,
                   struct profile_scratch *scratch, struct buf *out)
{
    struct report report = {.snapshot = snapshot, .options = options, .out = out};
    buf_init(&report.titles, TITLES_BYTES_MAX);
    int err = collect(&report, scratch);
    if (err != 0) {
        out->err = out->err == 0 ? err : out->err;
        goto out;
    }
    put_header(&report);
    if (report.count == 0) {
        buf_puts(out, "\nNo profiling data collected.\n");
        report_put_budgets(snapshot, scratch, out);
        goto out;
    }
    for (uint32_t i = 0; i < report.count; i++) {
        put_block(&report, &report.rows[i]);
    }
    put_table(&report);
    put_overall(&report);
    report_put_budgets(snapshot, scratch, out);
out:
    mem_free(report.rows);
    buf_fini(&report.titles);
}
