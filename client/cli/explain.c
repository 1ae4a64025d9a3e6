/*
 *     matrix-product                                         compute_bound
 *     Bound by computing, confidence 0.93. 93 % of the time goes into …
 *     1,275 samples in the last 300 s: p50 3.22 ms, p99 3.73 ms, CPU 99.8 %.
 *
 *     SHARES of the time in which it could run
 *       compute  █████████████████████████████████░░░   93 %
 *       memory   ██░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    5 %
 *       …
 *
 *     STEPS from the evidence to the label
 *       wall     3.12 ms         mean of 1,272 inferences
 *       …
 *
 *     EVIDENCE
 *       …
 *
 *     WHAT WOULD CHANGE IT
 *       …
 *
 *     GPU: yes. …
 */
#include "cli/explain.h"

#include <math.h>
#include <sysexits.h>

#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/model.h"
#include "cli/named.h"
#include "cli/tool.h"

enum {
    INDENT = 2,
    BAR_COLUMNS_MAX = 50,
    BAR_SIDES = INDENT + 7 + 2 + 2 + 6, /* left and right of a bar: its name and its figure */
    LINE_MAX_BYTES = 1 << 20,           /* of one paragraph; texts of the daemon are short */
};

struct page {
    const json_t *model;
    const json_t *analysis;
    const json_t *explanation; /* NULL: the daemon gives none */
    bool utf8;
    size_t columns;
    struct buf *out;
};

/* --- words ------------------------------------------------------------------------------------- */

/* A paragraph that was put together in `line`, which is given up. */
static void put_paragraph(const struct page *page, size_t indent, struct buf *line)
{
    size_t columns = page->columns < 100 ? page->columns : 100; /* longer lines are hard to read */
    text_pad(page->out, indent);
    if (line->len > 0) {
        text_wrap(page->out, (struct str){line->data, line->len}, indent, indent, columns);
    }
    buf_char(page->out, '\n');
    page->out->err = page->out->err == 0 ? line->err : page->out->err;
    buf_fini(line);
}

static void put_sentence(const struct page *page, size_t indent, const char *text)
{
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    text_safe(&line, str_of(text), page->utf8);
    put_paragraph(page, indent, &line);
}

static void put_heading(const struct page *page, const char *heading, const char *rest)
{
    buf_char(page->out, '\n');
    text_style(page->out, STYLE_STRONG);
    buf_puts(page->out, heading);
    text_style(page->out, STYLE_PLAIN);
    buf_puts(page->out, rest);
    buf_char(page->out, '\n');
}

static const char *says(const char *bottleneck)
{
    static const char *const words[][2] = {{"compute_bound", "Bound by computing"},
                                           {"memory_bound", "Bound by memory"},
                                           {"io_bound", "Bound by input and output"}};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i][0], bottleneck) == 0) {
            return words[i][1];
        }
    }
    return "Not known what it is bound by";
}

/* --- head -------------------------------------------------------------------------------------- */

static void put_title(const struct page *page)
{
    struct buf title;
    buf_init(&title, LINE_MAX_BYTES);
    const char *word = answer_text(page->analysis, "bottleneck_type");
    size_t columns = page->columns < 80 ? page->columns : 80;
    size_t room = columns > strlen(word) + 2 ? columns - strlen(word) - 2 : 1;
    model_title(&title, page->model, page->utf8);
    struct str name = {title.data, title.len};
    size_t width = title.len > 0 ? text_width(name) : 0;
    text_style(page->out, STYLE_STRONG);
    if (width > room) { /* the word has a line of its own */
        (void)text_cut(page->out, name, columns);
        buf_char(page->out, '\n');
    } else {
        buf_str(page->out, name);
        text_pad(page->out, room - width + 2);
    }
    text_style(page->out, model_style(word));
    text_safe(page->out, str_of(word), false);
    buf_char(page->out, '\n');
    buf_fini(&title);
}

static void put_summary(const struct page *page)
{
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    double confidence = answer_number(page->analysis, "confidence");
    bool is_floor = strcmp(answer_text(page->analysis, "rule"), "latency_floor") == 0;
    buf_puts(&line, is_floor ? "Too short to tell apart, and counted as input and output"
                             : says(answer_text(page->analysis, "bottleneck_type")));
    if (isfinite(confidence)) {
        buf_printf(&line, ", confidence %.2f", confidence);
    }
    buf_puts(&line, " (rule ");
    text_safe(&line, str_of(answer_text(page->analysis, "rule")), false);
    buf_puts(&line, "): ");
    text_safe(&line, str_of(answer_text(page->analysis, "reason")), page->utf8);
    buf_char(&line, '.');
    put_paragraph(page, 0, &line);
}

static void put_figures(const struct page *page)
{
    struct buf line;
    const json_t *model = page->model;
    const char *window = answer_text(model, "window");
    buf_init(&line, LINE_MAX_BYTES);
    figure_plural(&line, answer_number(model, "sample_count"), "sample", "samples");
    if (strcmp(window, "all") == 0) {
        buf_puts(&line, " since the start: p50 ");
    } else {
        buf_puts(&line, " in the last ");
        text_safe(&line, (struct str){window, strcspn(window, "s")}, false);
        buf_puts(&line, " s: p50 ");
    }
    figure_time(&line, answer_number(model, "latency.p50_ms"));
    buf_puts(&line, ", p99 ");
    figure_time(&line, answer_number(model, "latency.p99_ms"));
    buf_puts(&line, ", mean ");
    figure_time(&line, answer_number(model, "latency.mean_ms"));
    double cpu = answer_number(model, "cpu.avg_percent");
    buf_puts(&line, isfinite(cpu) ? ", CPU " : ", CPU not told");
    if (isfinite(cpu)) {
        figure_percent(&line, cpu);
    }
    double errors = answer_number(model, "errors");
    if (errors > 0) {
        buf_puts(&line, ", ");
        figure_plural(&line, errors, "error", "errors");
    }
    buf_char(&line, '.');
    put_paragraph(page, 0, &line);
}

/* --- shares ------------------------------------------------------------------------------------ */

static const struct {
    const char *key;
    enum style style;
} shares[] = {
    {"compute", STYLE_COMPUTE}, {"memory", STYLE_MEMORY}, {"io", STYLE_IO}, {"lock", STYLE_LOCK}};

static double share_of(const struct page *page, const char *key)
{
    return answer_number(answer_at(page->analysis, "shares"), key);
}

static void put_bar(const struct page *page, const char *name, enum style style, double share,
                    size_t columns)
{
    struct buf *out = page->out;
    double clamped = share < 0 ? 0 : share > 1 ? 1 : share;
    size_t filled = (size_t)lround(clamped * (double)columns);
    filled = filled == 0 && share > 0.005 && columns > 0 ? 1 : filled; /* what is there is seen */
    text_pad(out, INDENT);
    buf_puts(out, name);
    text_pad(out, 9 - strlen(name));
    text_style(out, style);
    text_repeat(out, "█", filled);
    text_style(out, STYLE_DIM);
    text_repeat(out, "░", columns - filled);
    text_style(out, STYLE_PLAIN);
    struct buf figure;
    buf_init(&figure, 64); /* a percentage */
    figure_share(&figure, share);
    size_t width = figure.len > 0 ? text_width((struct str){figure.data, figure.len}) : 0;
    text_pad(out, width < 8 ? 8 - width : 1);
    buf_append(out, figure.data, figure.len);
    buf_char(out, '\n');
    buf_fini(&figure);
}

static bool has_shares(const struct page *page)
{
    return isfinite(share_of(page, "compute"));
}

static void put_shares(const struct page *page)
{
    size_t columns = page->columns > BAR_SIDES ? page->columns - BAR_SIDES : 0;
    columns = columns < BAR_COLUMNS_MAX ? columns : BAR_COLUMNS_MAX;
    if (!has_shares(page)) {
        return;
    }
    put_heading(page, "SHARES", page->columns < 50 ? "" : " of the time in which it could run");
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        put_bar(page, shares[i].key, shares[i].style, share_of(page, shares[i].key), columns);
    }
}

/* Where the time of inferences with evidence went, when that is all there is. */
static void put_time(const struct page *page)
{
    static const char *const states[][2] = {{"user", "user_ms"},
                                            {"system", "system_ms"},
                                            {"faults", "fault_ms"},
                                            {"queue", "runqueue_ms"},
                                            {"blocked", "blocked_ms"}};
    const json_t *time = json_object_get(page->model, "time");
    double inferences = answer_number(time, "inferences");
    double wall = answer_number(time, "wall_ms");
    size_t columns = page->columns > BAR_SIDES ? page->columns - BAR_SIDES : 0;
    columns = columns < BAR_COLUMNS_MAX ? columns : BAR_COLUMNS_MAX;
    if (!(inferences > 0 && wall > 0)) {
        return;
    }
    put_heading(page, "TIME",
                page->columns < 50 ? "" : " by state, of the inferences with evidence");
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        put_bar(page, states[i][0], STYLE_PLAIN, answer_number(time, states[i][1]) / wall, columns);
    }
}

/* --- steps ------------------------------------------------------------------------------------- */

static void put_number(struct buf *out, double number, const char *unit)
{
    if (strcmp(unit, "ms") == 0) {
        figure_time(out, number);
    } else if (strcmp(unit, "bytes") == 0) {
        figure_bytes(out, number);
    } else if (strcmp(unit, "share") == 0 || strcmp(unit, "ratio") == 0) {
        figure_share(out, number);
    } else if (number == floor(number)) {
        figure_count(out, number);
    } else {
        figure_number(out, number);
        buf_puts(out, unit[0] != '\0' && isfinite(number) ? " " : "");
        text_safe(out, str_of(isfinite(number) ? unit : ""), false);
    }
}

static void put_range(struct buf *out, double low, double high, const char *unit)
{
    put_number(out, low, unit);
    buf_puts(out, " – ");
    put_number(out, high, unit);
}

/* One figure, a range where the evidence leaves one, or both; or a word. */
static void put_step_figure(struct buf *out, const json_t *step)
{
    const char *unit = answer_text(step, "unit");
    const json_t *said = json_object_get(step, "value");
    double low = answer_number(step, "low");
    double high = answer_number(step, "high");
    bool wide = isfinite(low) && isfinite(high) && low != high;
    if (json_is_string(said)) {
        text_safe(out, str_of(json_string_value(said)), false);
    } else if (json_is_boolean(said)) {
        buf_puts(out, json_is_true(said) ? "yes" : "no");
    } else if (json_is_number(said)) {
        put_number(out, json_number_value(said), unit);
        if (wide) {
            buf_puts(out, ", ");
            put_range(out, low, high, unit);
        }
    } else if (wide) {
        put_range(out, low, high, unit);
    } else {
        put_number(out, low, unit);
    }
}

/* The widest of what one function writes for the steps, in columns. */
static size_t widest(const json_t *steps, void (*put)(struct buf *out, const json_t *step))
{
    size_t most = 0;
    size_t i;
    json_t *step;
    json_array_foreach((json_t *)(uintptr_t)steps, i, step)
    {
        struct buf text;
        buf_init(&text, LINE_MAX_BYTES);
        put(&text, step);
        size_t width = text.len > 0 ? text_width((struct str){text.data, text.len}) : 0;
        most = width > most ? width : most;
        buf_fini(&text);
    }
    return most;
}

static void put_step_name(struct buf *out, const json_t *step)
{
    text_safe(out, str_of(answer_text(step, "name")), false);
}

static void put_right(struct buf *out, struct buf *text, size_t columns, bool right)
{
    size_t width = text->len > 0 ? text_width((struct str){text->data, text->len}) : 0;
    text_pad(out, right && width < columns ? columns - width : 0);
    buf_append(out, text->data, text->len);
    text_pad(out, !right && width < columns ? columns - width : 0);
    buf_clear(text);
}

static void put_step(const struct page *page, const json_t *step, size_t name_columns,
                     size_t figure_columns)
{
    struct buf *out = page->out;
    struct buf text;
    buf_init(&text, LINE_MAX_BYTES);
    text_pad(out, INDENT);
    put_step_name(&text, step);
    put_right(out, &text, name_columns, false);
    text_pad(out, TABLE_GAP);
    put_step_figure(&text, step);
    put_right(out, &text, figure_columns, true);
    text_safe(&text, str_of(answer_text(step, "how")), page->utf8);
    size_t at = INDENT + name_columns + TABLE_GAP + figure_columns + TABLE_GAP;
    size_t columns = page->columns < 120 ? page->columns : 120;
    if (text.len > 0 && at + 20 > columns) { /* no room beside it: below */
        buf_char(out, '\n');
        at = (size_t)2 * INDENT;
        text_pad(out, at);
    } else if (text.len > 0) {
        text_pad(out, TABLE_GAP);
    }
    text_style(out, STYLE_DIM);
    struct str how = {text.data, text.len};
    for (size_t used = at; how.len > 0; how.len = 0) {
        struct buf wrapped;
        buf_init(&wrapped, LINE_MAX_BYTES);
        text_wrap(&wrapped, how, used, at, columns);
        /* A style ends with its line. */
        for (size_t i = 0; i < wrapped.len; i++) {
            buf_char(out, wrapped.data[i]);
            if (wrapped.data[i] == '\n') {
                text_style(out, STYLE_DIM);
            }
        }
        buf_fini(&wrapped);
    }
    buf_char(out, '\n');
    buf_fini(&text);
}

static void put_steps(const struct page *page)
{
    const json_t *steps = json_object_get(page->explanation, "steps");
    size_t i;
    json_t *step;
    if (json_array_size(steps) == 0) {
        return;
    }
    size_t names = widest(steps, put_step_name);
    size_t figures = widest(steps, put_step_figure);
    put_heading(page, "STEPS", page->columns < 50 ? "" : " from the evidence to the label");
    json_array_foreach((json_t *)(uintptr_t)steps, i, step)
    {
        put_step(page, step, names, figures);
    }
}

/* --- evidence ---------------------------------------------------------------------------------- */

/* What each source is, and what it costs not to have it. Sources that are not here go by their name. */
static const struct source {
    const char *name;
    const char *unit;
    const char *is;
    const char *without; /* NULL: that there is none of it is no lack */
} sources[] = {
    {"inferences", "", "inferences whose samples say user_ms and system_ms",
     "nothing tells where the time went, and the thresholds on CPU decide"},
    {"runqueue", "", "inferences whose samples say runqueue_ms, the wait for a CPU",
     "that wait is only bounded by the switches, and a label must hold at both ends"},
    {"process_cpu", "",
     "inferences whose samples say process_cpu_ms, the CPU time of the whole process",
     "threads of its process that work for it are not seen"},
    {"bytes_hints", "", "inferences whose samples say bytes_moved",
     "only the touch rate can prove that it is bound by memory"},
    {"flops_hints", "", "inferences whose samples say flops", "no time on a GPU can be estimated"},
    {"looks", "", "looks at what its thread did within inferences",
     "locks, input and throttling cannot be told apart. dwelld must run as the process's user, and "
     "the process must still be there"},
    {"touch_probes", "", "probes of how fast it touches memory",
     "computing and waiting for memory cannot be told apart: profiling.touch_probe, and dwelld as "
     "the "
     "process's user"},
    {"process_ms", "ms", "over which its processes were watched in /proc",
     "faults, files and throttling are not seen: dwelld must be in its pid namespace, and the "
     "process must still be there"},
    {"throttled_ms", "ms", "in which a quota of its control group kept it from running", NULL},
};

static const struct source *find_source(const char *name)
{
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        if (strcmp(sources[i].name, name) == 0) {
            return &sources[i];
        }
    }
    return NULL;
}

/* How much of it there is, or true and false. */
static void put_source(const struct page *page, const char *name, const json_t *value)
{
    const struct source *source = find_source(name);
    bool had = json_is_true(value) || json_number_value(value) > 0;
    struct buf line;
    if (!had && source != NULL && source->without == NULL) {
        return;
    }
    buf_init(&line, LINE_MAX_BYTES);
    text_style(&line, had ? STYLE_GOOD : STYLE_WARN);
    text_safe(&line, str_of(name), page->utf8);
    buf_puts(&line, had ? "" : " is missing");
    text_style(&line, STYLE_PLAIN);
    buf_puts(&line, ": ");
    if (had && json_is_number(value)) {
        put_number(&line, json_number_value(value), source != NULL ? source->unit : "");
        buf_char(&line, ' ');
    }
    if (source != NULL) {
        buf_puts(&line, had ? source->is : "without it ");
        buf_puts(&line, had ? "" : source->without);
    }
    buf_char(&line, '.');
    put_paragraph(page, INDENT, &line);
}

static void put_sources(const struct page *page, const json_t *list)
{
    json_t *value;
    const char *name;
    json_object_foreach((json_t *)(uintptr_t)list, name, value)
    {
        put_source(page, name, value);
    }
}

static void put_evidence(const struct page *page)
{
    const json_t *list = json_object_get(page->explanation, "sources");
    double inferences = answer_number(page->model, "time.inferences");
    if (json_object_size(list) > 0) {
        put_heading(page, "EVIDENCE", page->columns < 50 ? "" : " of the last round");
        put_sources(page, list);
        return;
    }
    if (!model_rule_is_of_means(answer_text(page->analysis, "rule"))) {
        return;
    }
    put_heading(page, "EVIDENCE", "");
    put_sentence(page, INDENT,
                 inferences > 0 ? "The verdict is by thresholds on the window's means, not by "
                                  "evidence: too few samples had "
                                  "user_ms and system_ms, or profiling.classifier is thresholds."
                                : "The verdict is by thresholds on the window's means. No sample "
                                  "had evidence: with user_ms, "
                                  "system_ms and runqueue_ms it could be by where the time goes.");
}

/* --- what would change it ---------------------------------------------------------------------- */

static const struct {
    const char *rule;
    const char *change;
} changes[] = {
    {"latency_floor",
     "A mean latency that is not below profiling.latency_gpu_threshold_ms: then the CPU decides."},
    {"no_cpu", "Samples with cpu_percent_during, or with user_ms and system_ms, from which the "
               "verdict could be "
               "made."},
    {"compute", "A mean CPU that is not above profiling.cpu_compute_threshold_percent."},
    {"io_low_cpu", "A mean CPU that is not below profiling.cpu_io_threshold_percent."},
    {"moderate", "A mean CPU above profiling.cpu_compute_threshold_percent, or below "
                 "profiling.cpu_io_threshold_percent; or evidence of where the time goes."},
    {"starved",
     "CPU for it: others had the processors, or a quota held it back. Then its own time shows."},
    {"insufficient", "More inferences in the window."},
    {"lock",
     "Shorter waits for locks, or for the interpreter's: what lies behind them shows only then."},
    {"cpu",
     "Evidence that tells computing from waiting for memory: a touch rate, or hardware counters."},
    {"wait", "Evidence that tells what it waits for: dwelld as the process's user, or disk_bytes."},
};

/* The largest share and the one behind it. */
static void find_leaders(const struct page *page, size_t *ret_first, size_t *ret_second)
{
    size_t first = 0;
    size_t second = 1;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        double share = share_of(page, shares[i].key);
        if (i > 0 && share > share_of(page, shares[first].key)) {
            second = first;
            first = i;
        } else if (i > 1 && share > share_of(page, shares[second].key)) {
            second = i;
        } else if (i == 1) {
            second = i;
        }
    }
    *ret_first = first;
    *ret_second = second;
}

static void put_leaders(const struct page *page)
{
    struct buf line;
    size_t first;
    size_t second;
    bool labelled = strcmp(answer_text(page->analysis, "rule"), "evidence") == 0;
    find_leaders(page, &first, &second);
    double lead = share_of(page, shares[first].key) - share_of(page, shares[second].key);
    buf_init(&line, LINE_MAX_BYTES);
    buf_printf(&line, "%s has ", shares[first].key);
    figure_share(&line, share_of(page, shares[first].key));
    buf_puts(&line, " and leads ");
    buf_puts(&line, shares[second].key);
    buf_printf(&line, " by %.0f points. ", 100 * lead);
    buf_puts(&line,
             labelled ? "The label changes when, for three rounds in a row, another share is large "
                        "enough and leads by enough."
                      : "A label takes a share that is large enough and leads by enough, for three "
                        "rounds in a row.");
    put_paragraph(page, INDENT, &line);
}

static void put_changes(const struct page *page)
{
    const char *rule = answer_text(page->analysis, "rule");
    put_heading(page, "WHAT WOULD CHANGE IT", "");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        if (strcmp(changes[i].rule, rule) == 0) {
            put_sentence(page, INDENT, changes[i].change);
            return;
        }
    }
    if (has_shares(page)) {
        put_leaders(page);
    } else {
        put_sentence(page, INDENT, "Other figures: this tool does not know the rule.");
    }
}

/* --- GPU --------------------------------------------------------------------------------------- */

static void put_gpu(const struct page *page)
{
    struct buf line;
    const char *decision = answer_text(page->analysis, "gpu_decision");
    double speedup = answer_number(page->analysis, "max_speedup");
    buf_init(&line, LINE_MAX_BYTES);
    text_safe(&line, str_of(decision[0] != '\0' ? decision : "not asked"), false);
    buf_puts(&line, ". ");
    text_safe(&line, str_of(answer_text(page->analysis, "gpu_recommendation")), page->utf8);
    if (isfinite(speedup)) {
        buf_puts(&line, " No GPU can make it more than ");
        figure_number(&line, speedup);
        buf_puts(&line, " times faster.");
    }
    put_heading(page, "GPU", "");
    put_paragraph(page, INDENT, &line);
}

void explain_render(const json_t *model, bool utf8, size_t columns, struct buf *out)
{
    struct page page = {.model = model,
                        .analysis = json_object_get(model, "analysis"),
                        .explanation = json_object_get(model, "explanation"),
                        .utf8 = utf8,
                        .columns = columns,
                        .out = out};
    put_title(&page);
    put_summary(&page);
    put_figures(&page);
    put_shares(&page);
    if (!has_shares(&page)) {
        put_time(&page);
    }
    put_steps(&page);
    put_evidence(&page);
    put_changes(&page);
    put_gpu(&page);
}

int explain_run(struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    struct named named;
    struct buf path;
    json_t *root = NULL;
    int status = named_find(tool, arguments->operands[0], &named);
    if (status != 0) {
        return status;
    }
    buf_init(&path, TOOL_PROBLEM_MAX);
    named_path(named.model, arguments->all, &path);
    status = EX_OSERR;
    if (path.err != 0) {
        tool_complain("no memory for a request");
    } else {
        status = tool_get(tool, path.data, &root);
    }
    buf_fini(&path);
    if (status == 0 && root != NULL) {
        struct buf out;
        buf_init(&out, TOOL_TEXT_MAX);
        explain_render(root, tool->terminal.utf8, tool->terminal.columns, &out);
        named_put_others(&named, tool->terminal.utf8, &out);
        status = tool_print(tool, &out, 0);
    }
    json_decref(root);
    named_fini(&named);
    return status;
}
