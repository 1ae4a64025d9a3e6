/*
 *       GPU      yes: at 1000 inferences a second a GPU costs 0.336 times as much as …
 *                2.10 ms (1.60 ms to 4.00 ms) in batches of 8, 11.9 times faster (6.2 to 15)
 *                price of 1,000 inferences: 0.0021 (0.0015 to 0.0034)
 *                instead of 0.0122 (0.0081 to 0.0163) without a GPU
 *
 *     TO DO
 *       - Free the CPU, or grant more of it, and look again: 2 models
 */
#include "render/report_gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "render/figure.h"
#include "render/report_sentence.h"

static void put_times(struct buf *out, const struct gpu_range *range)
{
    figure_put_time(out, range->point);
    buf_puts(out, " (");
    figure_put_time(out, range->low);
    buf_puts(out, " to ");
    figure_put_time(out, range->high);
    buf_char(out, ')');
}

static void put_figures(struct buf *out, const struct gpu_range *range, const char *unit)
{
    buf_printf(out, "%.3g%s (%.3g to %.3g)", range->point, unit, range->low, range->high);
}

static void put_estimate(struct buf *out, const struct gpu_estimate *estimate)
{
    buf_puts(out, "           ");
    put_times(out, &estimate->time_ms);
    buf_printf(out, " in batches of %.0f, ", estimate->batch.point);
    put_figures(out, &estimate->speedup, " times faster");
    if (!isnan(estimate->gpu_cost.point)) {
        buf_puts(out, "\n           price of 1,000 inferences: ");
        put_figures(out, &estimate->gpu_cost, "");
        buf_puts(out, "\n           instead of ");
        put_figures(out, &estimate->cpu_cost, "");
        buf_puts(out, " without a GPU");
    }
    buf_char(out, '\n');
}

void report_put_gpu(const struct profile *profile, struct buf *out)
{
    const char *decision = gpu_decision_names[profile->verdict.gpu];
    if (decision == NULL || strcmp(profile->gpu.reason, profile->verdict.reason) == 0) {
        return;
    }
    char word[REPORT_INDENT + 32];
    (void)snprintf(word, sizeof word, "  GPU      %s: ", decision); /* our words fit */
    report_put_sentence(out, word, profile->gpu.reason);
    if (profile->gpu.estimated) {
        put_estimate(out, &profile->gpu.estimate);
    }
}

void report_put_actions(const struct decision_counts *counts, struct buf *out)
{
    const char *head = "\nTO DO\n";
    for (unsigned i = GPU_ACTION_NONE + 1; i < GPU_ACTION_COUNT; i++) {
        if (counts->to_do[i] > 0) {
            buf_puts(out, head);
            buf_puts(out, "  - ");
            buf_puts(out, gpu_action_sentences[i]);
            buf_puts(out, ": ");
            figure_put_plural(out, counts->to_do[i], "model\n", "models\n");
            head = "";
        }
    }
}
