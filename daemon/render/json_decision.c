/*
 * Happy path
 *   1. one walk over the models in the order of names writes the list of them, the reasons of those that a
 *      GPU would help, and the names for each thing to do, into buffers of their own
 *   2. the answer begins with what the walk has counted, and takes the buffers over
 *
 * What can fail: memory, or the ceiling of a buffer; both end in out->err.
 */
#include "render/json_decision.h"

#include <stddef.h>

#include "base/err.h"
#include "render/decision.h"
#include "render/figure.h"
#include "render/json_labels.h"
#include "render/json_write.h"
#include "render/order.h"

enum {
    PIECE_BYTES_MAX = 256 << 20, /* as an answer's; the ceilings on models and names are lower */
    ITEM_BYTES_MAX = 1 << 16,    /* a sentence and DECISION_REASONS_MAX names */
};

struct answer {
    const struct snapshot *snapshot;
    struct decision_counts counts;
    struct buf models, reasons;
    struct json_writer models_writer, reasons_writer;
    struct buf items[GPU_ACTION_COUNT];
    struct buf line; /* a sentence being made */
};

static void answer_init(struct answer *answer, const struct snapshot *snapshot)
{
    *answer = (struct answer){.snapshot = snapshot};
    buf_init(&answer->models, PIECE_BYTES_MAX);
    buf_init(&answer->reasons, PIECE_BYTES_MAX);
    buf_init(&answer->line, ITEM_BYTES_MAX);
    answer->models_writer.out = &answer->models;
    answer->reasons_writer.out = &answer->reasons;
    for (unsigned i = 0; i < GPU_ACTION_COUNT; i++) {
        buf_init(&answer->items[i], ITEM_BYTES_MAX);
    }
}

static void answer_fini(struct answer *answer)
{
    buf_fini(&answer->models);
    buf_fini(&answer->reasons);
    buf_fini(&answer->line);
    for (unsigned i = 0; i < GPU_ACTION_COUNT; i++) {
        buf_fini(&answer->items[i]);
    }
}

static int answer_err(const struct answer *answer)
{
    int err = answer->models.err != 0    ? answer->models.err
              : answer->reasons.err != 0 ? answer->reasons.err
                                         : answer->line.err;
    for (unsigned i = 0; i < GPU_ACTION_COUNT && err == 0; i++) {
        err = answer->items[i].err;
    }
    return err;
}

/* --- a model ----------------------------------------------------------------------------------- */

static void put_range(struct json_writer *writer, const char *key, const struct gpu_range *range)
{
    json_put_open(writer, key, '{');
    json_put_double(writer, "low", range->low);
    json_put_double(writer, "point", range->point);
    json_put_double(writer, "high", range->high);
    json_close(writer, '}');
}

static void put_estimate(struct json_writer *writer, const struct gpu_answer *gpu)
{
    const struct gpu_estimate *estimate = &gpu->estimate;
    if (!gpu->estimated) {
        json_put_null(writer, "estimate");
        return;
    }
    json_put_open(writer, "estimate", '{');
    json_put_text(writer, "objective",
                  str_of(gpu_objective_names[estimate->by_cost ? GPU_COST : GPU_LATENCY]));
    json_put_double(writer, "probability", estimate->probability);
    json_put_double(writer, "rate_per_second", estimate->rate);
    json_put_double(writer, "p99_limit_ms", estimate->p99_limit_ms);
    put_range(writer, "batch_size", &estimate->batch);
    put_range(writer, "time_ms", &estimate->time_ms);
    put_range(writer, "p99_ms", &estimate->p99_ms);
    put_range(writer, "speedup", &estimate->speedup);
    put_range(writer, "cpu_cost_per_1000", &estimate->cpu_cost);
    put_range(writer, "gpu_cost_per_1000", &estimate->gpu_cost);
    put_range(writer, "break_even_per_second", &estimate->break_even);
    json_put_double(writer, "cpu_machines", estimate->cpu_machines);
    json_put_double(writer, "gpu_machines", estimate->gpu_machines);
    json_close(writer, '}');
}

static void put_text_or_null(struct json_writer *writer, const char *key, const char *text)
{
    if (text == NULL || text[0] == '\0') {
        json_put_null(writer, key);
    } else {
        json_put_text(writer, key, str_of(text));
    }
}

static void put_model(struct json_writer *writer, const struct profile *profile)
{
    const struct verdict *verdict = &profile->verdict;
    json_open(writer, '{');
    json_put_text(writer, "model_name", profile->id->name);
    json_put_labels(writer, profile->id);
    json_put_text(writer, "bottleneck_type", str_of(bottleneck_names[verdict->bottleneck]));
    json_put_double(writer, "confidence", verdict->confidence);
    json_put_double(writer, "p99_ms", profile->quantile_ms[QUANTILE_99]);
    json_put_double(writer, "cpu_avg_percent", profile->cpu_mean);
    put_text_or_null(writer, "decision", gpu_decision_names[verdict->gpu]);
    json_put_text(writer, "reason", str_of(profile->gpu.reason));
    put_text_or_null(writer, "action_item", gpu_action_sentences[profile->gpu.action]);
    json_put_double(writer, "max_speedup", verdict->max_speedup);
    json_put_double(writer, "movable_share", profile->gpu.movable);
    json_put_double(writer, "starved_share", profile->gpu.starved);
    json_put_double(writer, "rate_per_second", profile->gpu.rate);
    put_estimate(writer, &profile->gpu);
    json_close(writer, '}');
}

/* --- in words ---------------------------------------------------------------------------------- */

/* Nothing, of an empty line. */
static void put_line(struct json_writer *writer, struct buf *line)
{
    if (line->len > 0) {
        json_text(writer, (struct str){line->data, line->len});
        buf_clear(line);
    }
}

/* "impact_scorer: 92 % of its time could move …" */
static void add_reason(struct answer *answer, const struct profile *profile)
{
    if (profile->verdict.gpu == GPU_YES && answer->counts.of[GPU_YES] <= DECISION_REASONS_MAX) {
        buf_str(&answer->line, profile->id->name);
        buf_puts(&answer->line, ": ");
        buf_puts(&answer->line, profile->gpu.reason);
        put_line(&answer->reasons_writer, &answer->line);
    }
}

/* "Free the CPU, …: a, b and 3 more models" */
static void add_item(struct answer *answer, const struct profile *profile)
{
    enum gpu_action action = profile->gpu.action;
    uint32_t count = answer->counts.to_do[action];
    if (action != GPU_ACTION_NONE && count <= DECISION_REASONS_MAX) {
        struct buf *item = &answer->items[action];
        buf_puts(item, count == 1 ? gpu_action_sentences[action] : "");
        buf_puts(item, count == 1 ? ": " : ", ");
        buf_str(item, profile->id->name);
    }
}

static void put_more(struct buf *line, const char *head, uint32_t count)
{
    if (count > DECISION_REASONS_MAX) {
        buf_puts(line, head);
        figure_put_plural(line, count - DECISION_REASONS_MAX, "more model", "more models");
    }
}

static void put_reasons(struct json_writer *writer, struct answer *answer)
{
    json_put_open(writer, "reasons", '[');
    buf_str(writer->out, (struct str){answer->reasons.data, answer->reasons.len});
    writer->comma = answer->reasons.len > 0;
    if (decision_models(&answer->counts) == 0) {
        buf_puts(&answer->line, "no model has sent a sample, so nothing is known yet");
        put_line(writer, &answer->line);
    }
    put_more(&answer->line, "and ", answer->counts.of[GPU_YES]);
    put_line(writer, &answer->line);
    for (unsigned i = GPU_YES + 1; i < GPU_COUNT; i++) {
        decision_put_group(&answer->counts, (enum gpu_decision)i, &answer->line);
        put_line(writer, &answer->line);
    }
    json_close(writer, ']');
}

static void put_items(struct json_writer *writer, struct answer *answer)
{
    json_put_open(writer, "action_items", '[');
    for (unsigned i = GPU_ACTION_NONE + 1; i < GPU_ACTION_COUNT; i++) {
        if (answer->counts.to_do[i] > 0) {
            put_more(&answer->items[i], " and ", answer->counts.to_do[i]);
            put_line(writer, &answer->items[i]);
        }
    }
    json_close(writer, ']');
}

/* --- the constants ----------------------------------------------------------------------------- */

/* Named as the options are. */
static const struct {
    const char *name;
    size_t offset;
} numbers[] = {
#define X(name)                                                                                    \
    {                                                                                              \
#name, offsetof(struct gpu_options, name)                                                  \
    }
    X(min_speedup),    X(max_latency_ms),  X(peak_tflops),   X(bandwidth_gb),
    X(efficiency_low), X(efficiency_high), X(launch_us),     X(transfer_us),
    X(price_low),      X(price_high),      X(cpu_price_low), X(cpu_price_high),
    X(cpu_threads),    X(host_threads),    X(utilization),   X(instances),
#undef X
};

static void put_constants(struct json_writer *writer, const struct gpu_options *options)
{
    json_put_open(writer, "constants", '{');
    json_put_text(writer, "objective", str_of(gpu_objective_names[options->objective]));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        double number;
        memcpy(&number, (const char *)options + numbers[i].offset, sizeof number);
        json_put_double(writer, numbers[i].name, number);
    }
    json_put_u64(writer, "max_batch", options->max_batch);
    json_close(writer, '}');
}

/* --- all of it --------------------------------------------------------------------------------- */

static void walk(struct answer *answer, const struct order *order, struct profile_scratch *scratch)
{
    json_open(&answer->models_writer, '[');
    for (uint32_t i = 0; i < order->count && answer_err(answer) == 0; i++) {
        struct profile profile;
        if (profile_compute(answer->snapshot, order->models[i], PROFILE_WINDOW, scratch, &profile) >
            0) {
            decision_count(&answer->counts, &profile);
            put_model(&answer->models_writer, &profile);
            add_reason(answer, &profile);
            add_item(answer, &profile);
        }
    }
    json_close(&answer->models_writer, ']');
}

static void put_answer(struct json_writer *writer, struct answer *answer)
{
    json_open(writer, '{');
    json_put_text(writer, "overall_recommendation", str_of(decision_overall(&answer->counts)));
    put_reasons(writer, answer);
    put_items(writer, answer);
    json_key(writer, STR_LITERAL("models"));
    buf_str(writer->out, (struct str){answer->models.data, answer->models.len});
    writer->comma = true;
    put_constants(writer, &answer->snapshot->thresholds.gpu);
    json_close(writer, '}');
    buf_char(writer->out, '\n');
}

void json_render_decision(const struct snapshot *snapshot, struct profile_scratch *scratch,
                          struct buf *out)
{
    struct answer answer;
    struct json_writer writer = {.out = out};
    struct order order;
    answer_init(&answer, snapshot);
    int err = order_init(&order, snapshot, NULL);
    if (err == 0) {
        walk(&answer, &order, scratch);
        order_fini(&order);
        put_answer(&writer, &answer);
        err = answer_err(&answer);
    }
    if (err != 0) {
        out->err = out->err == 0 ? err : out->err;
    }
    answer_fini(&answer);
}
