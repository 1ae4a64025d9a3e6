/*
 * dwell budgets: the time budgets and what became of them.
 *
 *     LAYER              BUDGET  LAST     P50      P99      SHARE  BURN  OVER  SOFT  COUNT
 *     layer1_validation  5 ms    4.5 ms   4.48 ms  4.48 ms   18 %     0     0     1      1
 *     …
 *     The whole request: 25 ms of 50 ms, 25 ms left.
 */
#include "cli/budgets.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/table.h"
#include "cli/tool.h"

static void put(struct table *table, enum style style, void (*figure)(struct buf *out, double),
                double number)
{
    if (style != STYLE_PLAIN) {
        text_style(table_cell(table), style);
    }
    figure(table_cell(table), number);
    table_next(table);
}

static void put_layer(struct table *table, const char *name, const json_t *layer, bool utf8)
{
    bool recorded = answer_number(layer, "count") > 0;
    double over = answer_number(layer, "exceeded_count");
    double soft = answer_number(layer, "soft_limit_exceeded_count");
    enum style last = json_is_true(json_object_get(layer, "is_exceeded")) ? STYLE_BAD
                      : json_is_true(json_object_get(layer, "is_soft_limit_exceeded"))
                          ? STYLE_WARN
                          : STYLE_PLAIN;
    text_safe(table_cell(table), str_of(name), utf8);
    table_next(table);
    put(table, STYLE_PLAIN, figure_time, answer_number(layer, "budget_ms"));
    put(table, last, figure_time, recorded ? answer_number(layer, "elapsed_ms") : (double)NAN);
    put(table, STYLE_PLAIN, figure_time, answer_number(layer, "p50_ms"));
    put(table, STYLE_PLAIN, figure_time, answer_number(layer, "p99_ms"));
    put(table, STYLE_PLAIN, figure_share, answer_number(layer, "share_of_total"));
    put(table, STYLE_PLAIN, figure_number, answer_number(layer, "burn_rate"));
    put(table, over > 0 ? STYLE_BAD : STYLE_PLAIN, figure_count, over);
    put(table, soft > 0 ? STYLE_WARN : STYLE_PLAIN, figure_count, soft);
    put(table, STYLE_PLAIN, figure_count, answer_number(layer, "count"));
}

static void put_total(const json_t *root, size_t columns, struct buf *out)
{
    struct buf line;
    buf_init(&line, TOOL_PROBLEM_MAX); /* a sentence of figures */
    double elapsed = answer_number(root, "total_elapsed_ms");
    double budget = answer_number(root, "total_budget_ms");
    buf_puts(&line, "The whole request: ");
    if (elapsed > 0) {
        figure_time(&line, elapsed);
        buf_puts(&line, " of ");
        figure_time(&line, budget);
        buf_puts(&line, elapsed > budget ? ", exceeded." : ", ");
        if (elapsed <= budget) {
            figure_time(&line, answer_number(root, "total_remaining_ms"));
            buf_puts(&line, " left.");
        }
    } else {
        figure_time(&line, budget);
        buf_puts(&line, ", and none has been recorded.");
    }
    if (line.len > 0) {
        text_wrap(out, (struct str){line.data, line.len}, 0, 0, columns);
    }
    buf_char(out, '\n');
    buf_fini(&line);
}

void budgets_render(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    static const struct column columns_of[] = {
        {"LAYER", false, 8, 0}, {"BUDGET", true, 0, 3}, {"LAST", true, 0, 7}, {"P50", true, 0, 9},
        {"P99", true, 0, 1},    {"SHARE", true, 0, 2},  {"BURN", true, 0, 5}, {"OVER", true, 0, 4},
        {"SOFT", true, 0, 8},   {"COUNT", true, 0, 6},
    };
    struct table table;
    const char *name;
    json_t *layer;
    table_init(&table, columns_of, sizeof columns_of / sizeof columns_of[0]);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(root, "layers"), name, layer)
    {
        put_layer(&table, name, layer, utf8);
    }
    table_render(
        &table, &(struct table_view){.columns = columns, .rows = TABLE_ALL, .selected = TABLE_NONE},
        out);
    table_fini(&table);
    put_total(root, columns, out);
}

int budgets_run(struct tool *tool)
{
    json_t *root = NULL;
    int status = tool_get(tool, "/api/v1/budgets", &root);
    if (status != 0 || root == NULL) {
        return status;
    }
    struct buf out;
    buf_init(&out, TOOL_TEXT_MAX);
    budgets_render(root, tool->terminal.utf8, tool->terminal.columns, &out);
    json_decref(root);
    return tool_print(tool, &out, 0);
}
