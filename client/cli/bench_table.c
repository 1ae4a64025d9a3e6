/*
 *     digits.py: 200 requests one after the other, then 200 by 4 workers, each warmed up by 20
 *
 *     LOAD        REQUESTS  ERRORS  RATE    MEAN     P50      P95      P99      MAX
 *     sequential  200       0       312/s   3.2 ms   …
 *     concurrent  200       0       598/s   6.6 ms   …
 *
 *     4 workers do 1.92 times the work of one, on 2 CPUs. …
 *
 *     MODEL      BOTTLENECK     P99      CPU    MEMORY  GPU?
 *     digits.py  compute_bound  4.31 ms  99 %   120 MB  yes
 *
 *     EVALUATE_GPU
 *       digits.py is compute_bound: …
 *
 *     WHAT TO DO
 *       …
 */
#include <math.h>

#include "cli/answer.h"
#include "cli/bench_result.h"
#include "cli/figure.h"
#include "cli/table.h"

enum { INDENT = 2, READABLE_COLUMNS = 100, LINE_BYTES_MAX = 64 << 10 };

struct page {
    const json_t *result;
    bool utf8;
    size_t columns;
    struct buf *out;
};

/* A paragraph of words from outside or ours. */
static void put_paragraph(const struct page *page, const char *text, size_t indent, bool foreign)
{
    struct buf line;
    size_t columns = page->columns < READABLE_COLUMNS ? page->columns : READABLE_COLUMNS;
    buf_init(&line, LINE_BYTES_MAX);
    if (foreign) {
        text_safe(&line, str_of(text), page->utf8);
    } else {
        buf_puts(&line, text);
    }
    text_pad(page->out, indent);
    if (line.len > 0) {
        text_wrap(page->out, (struct str){line.data, line.len}, indent, indent, columns);
    }
    buf_char(page->out, '\n');
    buf_fini(&line);
}

static void put_head(const struct page *page)
{
    const json_t *info = json_object_get(page->result, "benchmark_info");
    double concurrency = answer_number(info, "concurrency");
    double warmup = answer_number(info, "warmup");
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    text_safe(&line, str_of(answer_text(info, "model_name")), page->utf8);
    buf_puts(&line, ": ");
    figure_plural(&line, answer_number(info, "samples"), "request", "requests");
    buf_puts(&line, " one after the other");
    if (concurrency > 1) {
        buf_puts(&line, ", then as many by ");
        figure_plural(&line, concurrency, "worker", "workers");
    }
    if (warmup > 0) {
        buf_puts(&line, "; before them ");
        figure_count(&line, warmup);
        buf_puts(&line, concurrency > 1 ? " of each worker to warm up" : " to warm up");
    }
    buf_char(&line, '\0');
    put_paragraph(page, line.err == 0 ? line.data : "", 0, false);
    buf_fini(&line);
    const char *problem = answer_text(info, "problem");
    if (problem[0] != '\0') {
        text_style(page->out, STYLE_BAD);
        put_paragraph(page, "The run was not completed; this is what was measured until then.", 0,
                      false);
    }
}

static void put_load(const struct page *page, struct table *table, const char *name,
                     const json_t *load, double rate)
{
    static const char *const times[] = {"mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"};
    struct buf *cell = table_cell(table);
    double errors = answer_number(load, "errors");
    (void)page;
    buf_puts(cell, name);
    table_next(table);
    figure_count(cell, answer_number(load, "requests"));
    table_next(table);
    text_style(cell, errors > 0 ? STYLE_BAD : STYLE_PLAIN);
    figure_count(cell, errors);
    table_next(table);
    figure_rate(cell, rate);
    table_next(table);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        figure_time(cell, answer_number(load, times[i]));
        table_next(table);
    }
}

static void render(const struct page *page, struct table *table)
{
    const struct table_view view = {
        .columns = page->columns, .rows = TABLE_ALL, .selected = TABLE_NONE};
    buf_char(page->out, '\n');
    table_render(table, &view, page->out);
    table_fini(table);
}

static void put_loads(const struct page *page)
{
    static const struct column columns[] = {
        {"LOAD", false, 0, 0}, {"REQUESTS", true, 0, 3}, {"ERRORS", true, 0, 4},
        {"RATE", true, 0, 0},  {"MEAN", true, 0, 5},     {"P50", true, 0, 1},
        {"P95", true, 0, 2},   {"P99", true, 0, 0},      {"MAX", true, 0, 6},
    };
    struct table table;
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    put_load(page, &table, "sequential", answer_at(page->result, "latency.sequential"),
             answer_number(page->result, "throughput.sequential_rps"));
    if (answer_number(page->result, "benchmark_info.concurrency") > 1) {
        put_load(page, &table, "concurrent", answer_at(page->result, "latency.concurrent"),
                 answer_number(page->result, "throughput.concurrent_rps"));
    }
    render(page, &table);
}

static void put_scaling(const struct page *page)
{
    double scaling = answer_number(page->result, "throughput.concurrency_scaling");
    double concurrency = answer_number(page->result, "benchmark_info.concurrency");
    struct buf line;
    buf_init(&line, LINE_BYTES_MAX);
    if (isfinite(scaling) && concurrency > 1) {
        figure_plural(&line, concurrency, "worker does ", "workers do ");
        figure_number(&line, scaling);
        buf_puts(&line, " times the work of one, on ");
        figure_plural(&line, answer_number(page->result, "benchmark_info.cpus"), "CPU. ", "CPUs. ");
    }
    buf_puts(&line, answer_text(page->result, "benchmark_info.coordinated_omission"));
    buf_char(&line, '\0');
    buf_char(page->out, '\n');
    put_paragraph(page, line.err == 0 ? line.data : "", 0, false);
    buf_fini(&line);
}

static enum style style_of(const char *bottleneck)
{
    return strcmp(bottleneck, "compute_bound") == 0  ? STYLE_COMPUTE
           : strcmp(bottleneck, "memory_bound") == 0 ? STYLE_MEMORY
           : strcmp(bottleneck, "io_bound") == 0     ? STYLE_IO
                                                     : STYLE_DIM;
}

static void put_model(const struct page *page, struct table *table, const json_t *row)
{
    struct buf *cell = table_cell(table);
    const char *bottleneck = answer_text(row, "bottleneck_type");
    const char *decision = answer_text(row, "gpu_decision");
    text_safe(cell, str_of(answer_text(row, "model_name")), page->utf8);
    table_next(table);
    text_style(cell, style_of(bottleneck));
    text_safe(cell, str_of(bottleneck), false);
    table_next(table);
    figure_time(cell, answer_number(row, "p99_ms"));
    table_next(table);
    figure_percent(cell, answer_number(row, "cpu_percent"));
    table_next(table);
    figure_bytes(cell, answer_number(row, "memory_mb") * 0x1p20);
    table_next(table);
    text_style(cell, strcmp(decision, "yes") == 0 ? STYLE_GOOD : STYLE_PLAIN);
    text_safe(cell, str_of(decision[0] != '\0' ? decision : "-"), false);
    table_next(table);
}

static void put_matrix(const struct page *page)
{
    static const struct column columns[] = {
        {"MODEL", false, 8, 0}, {"BOTTLENECK", false, 0, 0}, {"P99", true, 0, 2},
        {"CPU", true, 0, 1},    {"MEMORY", true, 0, 3},      {"GPU?", false, 0, 0},
    };
    struct table table;
    size_t i;
    json_t *row;
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    json_array_foreach(json_object_get(page->result, "gpu_decision_matrix"), i, row)
    {
        put_model(page, &table, row);
    }
    render(page, &table);
}

static void put_list(const struct page *page, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        put_paragraph(page, text != NULL ? text : "", INDENT, true);
    }
}

/* A heading of its own line. */
static void put_heading(const struct page *page, const char *heading, enum style style)
{
    buf_char(page->out, '\n');
    text_style(page->out, style);
    text_safe(page->out, str_of(heading), false);
    text_style(page->out, STYLE_PLAIN);
    buf_char(page->out, '\n');
}

static void put_judge(const struct page *page)
{
    const json_t *row = json_array_get(json_object_get(page->result, "gpu_decision_matrix"), 0);
    const char *problem = answer_text(page->result, "benchmark_info.daemon_problem");
    struct buf line;
    if (strcmp(answer_text(row, "decided_by"), "daemon") == 0) {
        return;
    }
    buf_init(&line, LINE_BYTES_MAX);
    buf_puts(&line, "Decided by CPU thresholds alone, without a daemon");
    if (problem[0] != '\0') {
        buf_puts(&line, ": ");
        text_safe(&line, str_of(problem), page->utf8);
    }
    buf_puts(&line, ".");
    buf_char(&line, '\0');
    put_paragraph(page, line.err == 0 ? line.data : "", INDENT, false);
    buf_fini(&line);
}

void bench_table(const json_t *result, bool utf8, size_t columns, struct buf *out)
{
    struct page page = {result, utf8, columns, out};
    const char *overall = answer_text(result, "summary.overall_recommendation");
    put_head(&page);
    put_loads(&page);
    put_scaling(&page);
    put_matrix(&page);
    put_heading(&page, overall, strcmp(overall, "EVALUATE_GPU") == 0 ? STYLE_GOOD : STYLE_STRONG);
    put_list(&page, answer_at(result, "summary.reasons"));
    put_judge(&page);
    put_heading(&page, "WHAT TO DO", STYLE_STRONG);
    put_list(&page, answer_at(result, "summary.action_items"));
}
