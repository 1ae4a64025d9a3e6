#include "cli/model.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/mem.h"
#include "base/num.h"
#include "cli/figure.h"

/* --- reading ----------------------------------------------------------------------------------- */

static void put_label(struct buf *out, bool first, const char *key, const char *value, bool utf8)
{
    buf_puts(out, first ? " {" : ", ");
    text_safe(out, str_of(key), utf8);
    buf_puts(out, "=\"");
    text_safe(out, str_of(value), utf8);
    buf_char(out, '"');
}

void model_title(struct buf *out, const json_t *json, bool utf8)
{
    bool first = true;
    const char *key;
    json_t *value;
    text_safe(out, str_of(answer_text(json, "model_name")), utf8);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(json, "labels"), key, value)
    {
        put_label(out, first, key, json_is_string(value) ? json_string_value(value) : "", utf8);
        first = false;
    }
    buf_puts(out, first ? "" : "}");
}

static void read_row(struct model *row, const json_t *json)
{
    *row = (struct model){.json = json,
                          .name = answer_text(json, "model_name"),
                          .samples = answer_number(json, "sample_count"),
                          .errors = answer_number(json, "errors"),
                          .total = NAN,
                          .rate = NAN,
                          .p50_ms = answer_number(json, "latency.p50_ms"),
                          .p99_ms = answer_number(json, "latency.p99_ms"),
                          .cpu_percent = answer_number(json, "cpu.avg_percent"),
                          .queue_ms = answer_number(json, "queue.mean_ms"),
                          .confidence = answer_number(json, "analysis.confidence"),
                          .bottleneck = answer_text(json, "analysis.bottleneck_type"),
                          .rule = answer_text(json, "analysis.rule"),
                          .gpu = answer_text(json, "analysis.gpu_decision")};
}

/* Titles lie in one buffer, whose memory moves while it grows: addresses come last. */
static void place_titles(struct models *models)
{
    size_t at = 0;
    for (size_t i = 0; i < models->count; i++) {
        models->rows[i].title = models->titles.data + at;
        at += models->rows[i].title_len;
    }
}

int models_read(struct models *models, json_t *root, bool utf8, struct buf *problem)
{
    const json_t *list = json_object_get(root, "models");
    size_t count = json_array_size(list);
    *models = (struct models){.root = root, .uptime = NAN};
    buf_init(&models->titles, TABLE_BYTES_MAX);
    if (!json_is_array(list) || count > MODELS_MAX) {
        buf_puts(problem, "the answer has no list of models, as a dwelld's has");
        return EX_PROTOCOL;
    }
    models->rows = mem_zalloc(count + 1, sizeof *models->rows);
    for (size_t i = 0; models->rows != NULL && i < count; i++) {
        const json_t *json = json_array_get(list, i);
        size_t begin = models->titles.len;
        read_row(&models->rows[i], json);
        model_title(&models->titles, json, utf8);
        models->rows[i].title_len = models->titles.len - begin;
        models->count++;
    }
    if (models->rows == NULL || models->titles.err != 0) {
        models->count = 0;
        buf_puts(problem, "no memory for the models");
        return EX_OSERR;
    }
    place_titles(models);
    models->shown = models->count;
    return 0;
}

void models_fini(struct models *models)
{
    mem_free(models->rows);
    buf_fini(&models->titles);
    json_decref(models->root);
    *models = (struct models){0};
}

/* --- rates ------------------------------------------------------------------------------------- */

/* Seconds of "300s"; NaN for "all". */
static double window_of(const json_t *json)
{
    const char *text = answer_text(json, "window");
    const char *end = text + strlen(text);
    double seconds;
    if (num_scan_double(&text, end, &seconds) != 0 || strcmp(text, "s") != 0) {
        return NAN;
    }
    return seconds;
}

void models_rate_by_window(struct models *models)
{
    for (size_t i = 0; i < models->count; i++) {
        struct model *row = &models->rows[i];
        double seconds = window_of(row->json);
        if (isnan(seconds)) {
            /* What it shows is since the start, as the window is empty. */
            row->rate = strcmp(answer_text(row->json, "window"), "all") == 0 ? 0 : (double)NAN;
            continue;
        }
        seconds = models->uptime < seconds ? models->uptime : seconds;
        row->rate = seconds > 0 ? row->samples / seconds : (double)NAN;
    }
}

/* --- order ------------------------------------------------------------------------------------- */

static int by_name(const struct model *a, const struct model *b)
{
    return str_compare((struct str){a->title, a->title_len}, (struct str){b->title, b->title_len});
}

/* The higher one first; what is not known last. */
static int by_figure(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return (isnan(a) ? 1 : 0) - (isnan(b) ? 1 : 0);
    }
    return (a < b) - (a > b);
}

static int verdict_place(const char *bottleneck)
{
    static const char *const order[] = {"compute_bound", "memory_bound", "io_bound", "unknown"};
    int place = 0;
    while (place < (int)(sizeof order / sizeof order[0]) && strcmp(order[place], bottleneck) != 0) {
        place++;
    }
    return place;
}

static int compare(const struct model *a, const struct model *b, enum sort sort)
{
    switch (sort) {
    case SORT_RATE:
        return by_figure(a->rate, b->rate);
    case SORT_P99:
        return by_figure(a->p99_ms, b->p99_ms);
    case SORT_CPU:
        return by_figure(a->cpu_percent, b->cpu_percent);
    case SORT_VERDICT:
        return verdict_place(a->bottleneck) - verdict_place(b->bottleneck);
    case SORT_NAME:
    case SORT_COUNT:
        break;
    }
    return by_name(a, b);
}

struct order {
    enum sort sort;
    bool reverse;
};

static int compare_rows(const void *a, const void *b, void *arg)
{
    const struct order *order = arg;
    const struct model *first = a;
    const struct model *second = b;
    if (first->hidden != second->hidden) {
        return first->hidden ? 1 : -1;
    }
    int found = compare(a, b, order->sort);
    found = order->reverse ? -found : found;
    return found != 0 ? found : by_name(a, b);
}

void models_sort(struct models *models, enum sort sort, bool reverse)
{
    struct order order = {sort, reverse};
    if (models->count > 0) {
        qsort_r(models->rows, models->count, sizeof *models->rows, compare_rows, &order);
    }
}

static bool occurs(const char *text, const char *part)
{
    for (;; text++) {
        size_t len = 0;
        while (part[len] != '\0' &&
               tolower((unsigned char)text[len]) == tolower((unsigned char)part[len])) {
            len++;
        }
        if (part[len] == '\0' || *text == '\0') {
            return part[len] == '\0';
        }
    }
}

void models_filter(struct models *models, const char *text)
{
    models->shown = 0;
    for (size_t i = 0; i < models->count; i++) {
        models->rows[i].hidden = text != NULL && !occurs(models->rows[i].name, text);
        models->shown += models->rows[i].hidden ? 0 : 1;
    }
}

/* --- the same models in two answers ------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    return by_name(a, b);
}

const struct model *models_find(const struct models *by_name, const struct model *model)
{
    return by_name->count == 0 ? NULL
                               : bsearch(model, by_name->rows, by_name->count,
                                         sizeof *by_name->rows, compare_names);
}

static void order_by_name(struct models *models)
{
    models_filter(models, NULL);
    models_sort(models, SORT_NAME, false);
}

void models_add_totals(struct models *models, struct models *all)
{
    order_by_name(all);
    for (size_t i = 0; i < models->count; i++) {
        const struct model *same = models_find(all, &models->rows[i]);
        models->rows[i].total = same != NULL ? same->samples : (double)NAN;
    }
}

void models_rate_since(struct models *models, struct models *before)
{
    double seconds = models->uptime - before->uptime;
    order_by_name(before);
    for (size_t i = 0; i < models->count; i++) {
        struct model *row = &models->rows[i];
        const struct model *old = models_find(before, row);
        double first = old != NULL ? old->total : 0;
        bool known = seconds > 0 && row->total >= first;
        row->rate = known ? (row->total - first) / seconds : (double)NAN;
    }
}

/* --- table ------------------------------------------------------------------------------------- */

enum style model_style(const char *bottleneck)
{
    static const enum style styles[] = {STYLE_COMPUTE, STYLE_MEMORY, STYLE_IO, STYLE_DIM,
                                        STYLE_DIM};
    return styles[verdict_place(bottleneck)];
}

static void put_figure(struct table *table, void (*put)(struct buf *out, double figure),
                       double figure)
{
    put(table_cell(table), figure);
    table_next(table);
}

/* compute 0.93, unknown (mixed) */
static void put_verdict(struct table *table, const struct model *row, bool brief)
{
    struct buf *cell = table_cell(table);
    struct str word = str_of(row->bottleneck);
    size_t end = brief && word.len > 6 && strcmp(word.ptr + word.len - 6, "_bound") == 0 ? 6 : 0;
    text_style(cell, model_style(row->bottleneck));
    text_safe(cell, (struct str){word.ptr, word.len - end}, false);
    table_next(table);
    text_style(cell, model_style(row->bottleneck));
    if (isfinite(row->confidence)) {
        buf_printf(cell, "%.2f", row->confidence);
    } else {
        text_safe(cell, str_of(row->rule), false);
    }
    table_next(table);
}

static void put_gpu(struct table *table, const struct model *row)
{
    bool none = row->gpu[0] == '\0';
    bool few = strcmp(row->gpu, "insufficient") == 0;
    struct buf *cell = table_cell(table);
    text_style(cell, strcmp(row->gpu, "yes") == 0 ? STYLE_GOOD : STYLE_DIM);
    text_safe(cell, str_of(none ? "-" : few ? "?" : row->gpu), false);
    table_next(table);
}

enum {
    COLUMN_MODEL,
    COLUMN_RATE,
    COLUMN_P50,
    COLUMN_P99,
    COLUMN_CPU,
    COLUMN_QUEUE,
    COLUMN_ERRORS,
    COLUMN_VERDICT,
    COLUMN_WHY,
    COLUMN_GPU,
    COLUMN_COUNT
};

static const struct column columns[] = {
    [COLUMN_MODEL] = {"MODEL", false, 16, 0}, [COLUMN_RATE] = {"RATE", true, 0, 3},
    [COLUMN_P50] = {"P50", true, 0, 6},       [COLUMN_P99] = {"P99", true, 0, 1},
    [COLUMN_CPU] = {"CPU", true, 0, 2},       [COLUMN_QUEUE] = {"QUEUE", true, 0, 8},
    [COLUMN_ERRORS] = {"ERRORS", true, 0, 7}, [COLUMN_VERDICT] = {"VERDICT", false, 0, 0},
    [COLUMN_WHY] = {"WHY", false, 0, 5},      [COLUMN_GPU] = {"GPU", false, 0, 4},
};
_Static_assert(sizeof columns / sizeof columns[0] == COLUMN_COUNT, "one each");

static void put_row(struct table *table, const struct model *row, bool brief)
{
    buf_append(table_cell(table), row->title, row->title_len);
    table_next(table);
    put_figure(table, figure_rate, row->rate);
    put_figure(table, figure_time, row->p50_ms);
    put_figure(table, figure_time, row->p99_ms);
    put_figure(table, figure_percent, row->cpu_percent);
    put_figure(table, figure_time, row->queue_ms);
    if (row->errors > 0) {
        text_style(table_cell(table), STYLE_BAD);
    }
    put_figure(table, figure_count, row->errors);
    put_verdict(table, row, brief);
    put_gpu(table, row);
}

void models_tabulate(const struct models *models, bool brief, struct table *table)
{
    bool queues = false;
    table_init(table, columns, COLUMN_COUNT);
    for (size_t i = 0; i < models->shown; i++) {
        put_row(table, &models->rows[i], brief);
        queues = queues || isfinite(models->rows[i].queue_ms);
    }
    table->hidden = queues ? 0 : 1u << COLUMN_QUEUE; /* few services tell it */
}

bool model_rule_is_of_means(const char *rule)
{
    static const char *const rules[] = {"latency_floor", "no_cpu", "compute", "io_low_cpu",
                                        "moderate"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (strcmp(rules[i], rule) == 0) {
            return true;
        }
    }
    return false;
}
