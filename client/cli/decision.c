/*
 *     KEEP_CPU
 *       2 of 2 models wait, and …
 *
 *     MODEL           GPU?  CEILING  ESTIMATE
 *     matrix-product  yes     14.2×  3.1 – 8.4×
 *
 *       matrix-product: 0.93 of the time is computing.
 *
 *     WHAT TO DO
 *       …
 */
#include "cli/decision.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/model.h"
#include "cli/table.h"
#include "cli/tool.h"

enum { INDENT = 2, READABLE_COLUMNS = 100, LINE_MAX_BYTES = 1 << 20 };

struct page {
    bool utf8;
    size_t columns;
    struct buf *out;
};

static void put_sentence(const struct page *page, const char *text)
{
    struct buf line;
    size_t columns = page->columns < READABLE_COLUMNS ? page->columns : READABLE_COLUMNS;
    buf_init(&line, LINE_MAX_BYTES);
    text_safe(&line, str_of(text), page->utf8);
    text_pad(page->out, INDENT);
    if (line.len > 0) {
        text_wrap(page->out, (struct str){line.data, line.len}, INDENT, INDENT, columns);
    }
    buf_char(page->out, '\n');
    buf_fini(&line);
}

/* A list of texts, or of objects that have one by the key `text_key`. */
static void put_list(const struct page *page, const char *heading, const json_t *list)
{
    size_t i;
    json_t *item;
    if (json_array_size(list) == 0) {
        return;
    }
    if (heading[0] != '\0') {
        buf_char(page->out, '\n');
        text_style(page->out, STYLE_STRONG);
        buf_puts(page->out, heading);
        text_style(page->out, STYLE_PLAIN);
        buf_char(page->out, '\n');
    }
    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        if (json_is_string(item)) {
            put_sentence(page, json_string_value(item));
        }
    }
}

/* FLOP/s and the like have many zeros. */
static void put_short(struct buf *out, double number)
{
    if (fabs(number) >= 1e6) {
        buf_printf(out, "%.3g", number);
    } else if (number == floor(number)) {
        figure_count(out, number);
    } else {
        figure_number(out, number);
    }
}

static void put_interval(struct buf *out, const json_t *value, const char *after)
{
    double low = answer_number(value, "low");
    double high = answer_number(value, "high");
    if (json_is_number(value)) {
        put_short(out, json_number_value(value));
        buf_puts(out, after);
    } else if (isfinite(low) && isfinite(high)) {
        put_short(out, low);
        if (low != high) {
            buf_puts(out, " – ");
            put_short(out, high);
        }
        buf_puts(out, after);
    } else if (isfinite(low)) { /* it has no upper end */
        buf_puts(out, "≥ ");
        put_short(out, low);
        buf_puts(out, after);
    } else {
        buf_puts(out, "–");
    }
}

static enum style style_of(const char *decision)
{
    return strcmp(decision, "yes") == 0  ? STYLE_GOOD
           : strcmp(decision, "no") == 0 ? STYLE_PLAIN
                                         : STYLE_DIM;
}

static void put_model(struct table *table, const json_t *model, bool utf8)
{
    const char *decision = answer_text(model, "decision");
    struct buf *cell = table_cell(table);
    model_title(cell, model, utf8);
    table_next(table);
    text_style(cell, style_of(decision));
    text_safe(cell, str_of(decision[0] != '\0' ? decision : "-"), false);
    table_next(table);
    put_interval(cell, json_object_get(model, "max_speedup"), "×");
    table_next(table);
    put_interval(cell, answer_at(model, "estimate.speedup"), "×");
    table_next(table);
}

/* One part of an estimate, where it is known: ", cost per 1,000 0.01 – 0.02". */
static void put_part(struct buf *out, const char *head, const json_t *value, const char *after)
{
    if (json_is_number(value) || isfinite(answer_number(value, "low"))) {
        buf_puts(out, head);
        put_interval(out, value, after);
    }
}

/* What a GPU would do, as far as its constants and the hints tell. */
static void put_estimate(struct buf *out, const json_t *estimate)
{
    if (!json_is_object(estimate)) {
        return;
    }
    buf_puts(out, " With a GPU, by the constants below");
    put_part(out, ": ", json_object_get(estimate, "speedup"), " times faster");
    put_part(out, ", p99 ", json_object_get(estimate, "p99_ms"), " ms");
    put_part(out, ", cost per 1,000 ", json_object_get(estimate, "gpu_cost_per_1000"), "");
    put_part(out, " against ", json_object_get(estimate, "cpu_cost_per_1000"), "");
    put_part(out, ", costs the same at ", json_object_get(estimate, "break_even_per_second"), "/s");
    buf_char(out, '.');
}

/* matrix-product: 0.93 of the time is computing. */
static void put_reason(const struct page *page, const json_t *model)
{
    struct buf line;
    size_t columns = page->columns < READABLE_COLUMNS ? page->columns : READABLE_COLUMNS;
    buf_init(&line, LINE_MAX_BYTES);
    model_title(&line, model, page->utf8);
    buf_puts(&line, ": ");
    text_safe(&line, str_of(answer_text(model, "reason")), page->utf8);
    buf_char(&line, '.');
    put_estimate(&line, json_object_get(model, "estimate"));
    text_pad(page->out, INDENT);
    if (line.len > 0) {
        text_wrap(page->out, (struct str){line.data, line.len}, INDENT, (size_t)2 * INDENT,
                  columns);
    }
    buf_char(page->out, '\n');
    buf_fini(&line);
}

static void put_models(const struct page *page, const json_t *list)
{
    static const struct column columns[] = {{"MODEL", false, 8, 0},
                                            {"GPU?", false, 0, 0},
                                            {"CEILING", true, 0, 2},
                                            {"ESTIMATE", true, 0, 3}};
    struct table table;
    size_t i;
    json_t *model;
    if (json_array_size(list) == 0) {
        return;
    }
    table_init(&table, columns, sizeof columns / sizeof columns[0]);
    json_array_foreach((json_t *)(uintptr_t)list, i, model)
    {
        put_model(&table, model, page->utf8);
    }
    buf_char(page->out, '\n');
    table_render(
        &table,
        &(struct table_view){.columns = page->columns, .rows = TABLE_ALL, .selected = TABLE_NONE},
        page->out);
    table_fini(&table);
    buf_char(page->out, '\n');
    json_array_foreach((json_t *)(uintptr_t)list, i, model)
    {
        put_reason(page, model);
    }
}

/* What the estimates rest on, so that whoever reads them can argue. */
static void put_constants(const struct page *page, const json_t *constants)
{
    const char *name;
    json_t *value;
    struct buf line;
    bool first = true;
    if (json_object_size(constants) == 0) {
        return;
    }
    buf_init(&line, LINE_MAX_BYTES);
    buf_puts(&line, "With ");
    json_object_foreach((json_t *)(uintptr_t)constants, name, value)
    {
        buf_puts(&line, first ? "" : ", ");
        first = false;
        text_safe(&line, str_of(name), page->utf8);
        buf_char(&line, ' ');
        if (json_is_string(value)) {
            text_safe(&line, str_of(json_string_value(value)), page->utf8);
        } else {
            put_interval(&line, value, "");
        }
    }
    buf_char(&line, '.');
    buf_char(page->out, '\n');
    if (line.len > 0) {
        size_t columns = page->columns < READABLE_COLUMNS ? page->columns : READABLE_COLUMNS;
        text_wrap(page->out, (struct str){line.data, line.len}, 0, INDENT, columns);
    }
    buf_char(page->out, '\n');
    buf_fini(&line);
}

void decision_render(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    struct page page = {utf8, columns, out};
    const char *overall = answer_text(root, "overall_recommendation");
    text_style(out, strcmp(overall, "EVALUATE_GPU") == 0 ? STYLE_GOOD : STYLE_STRONG);
    text_safe(out, str_of(overall), false);
    text_style(out, STYLE_PLAIN);
    buf_char(out, '\n');
    put_list(&page, "", json_object_get(root, "reasons"));
    put_models(&page, json_object_get(root, "models"));
    put_constants(&page, json_object_get(root, "constants"));
    put_list(&page, "WHAT TO DO", json_object_get(root, "action_items"));
}

/* The status says the decision, with and without --json. */
static int put_outcome(const struct tool *tool, const struct buf *body, const json_t *root)
{
    bool evaluate = strcmp(answer_text(root, "overall_recommendation"), "EVALUATE_GPU") == 0;
    int status = evaluate ? EXIT_NO : 0;
    if (tool->arguments.json) {
        int failed = terminal_write(body);
        return failed != 0 ? failed : status;
    }
    struct buf out;
    buf_init(&out, TOOL_TEXT_MAX);
    decision_render(root, tool->terminal.utf8, tool->terminal.columns, &out);
    return tool_print(tool, &out, status);
}

int decision_run(struct tool *tool)
{
    struct buf body;
    struct buf problem;
    json_t *root = NULL;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    int status = tool_ask(tool, "GET", "/api/v1/decision", &body);
    if (status == 0) {
        status = answer_read((struct str){body.data, body.len}, &root, &problem);
        if (status != 0) {
            tool_say(&problem);
        } else {
            status = put_outcome(tool, &body, root);
        }
    }
    json_decref(root);
    buf_fini(&problem);
    buf_fini(&body);
    return status;
}
