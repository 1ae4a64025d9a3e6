/*
 *     TIME BUDGETS
 *       LAYER                BUDGET     P50     P99    OVER    BURN   SHORT   SHARE
 *       ───────────────────────────────────────────────────────────────────────────
 *       total               50.0 ms 31.2 ms 64.0 ms   2.0 %    2.00    4.00       -
 *       layer1_validation   5.00 ms …
 *
 * BURN and SHORT are burn rates (core/budget_burn), of the window and of the last part of it.
 */
#include "render/report_budgets.h"

#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "render/figure.h"
#include "render/width.h"

enum {
    LAYER_COLUMNS = 19, /* the table then fits the page */
    COLUMN = 8,
    COLUMNS = 7,
    SHARE_MAX_PERCENT = 999,
    BURN_MAX = 9999,
    NAME_BYTES_MAX = 4 * RECORD_NAME_MAX, /* with every byte as \x1b */
};

static void put_cell(struct buf *out, const char *text)
{
    figure_put_right(out, text, COLUMN);
}

static void put_time_cell(struct buf *out, double ms)
{
    char text[FIGURE_BYTES] = "-";
    if (isfinite(ms)) {
        figure_time(text, ms);
    }
    put_cell(out, text);
}

/* A share can be above all measure: of layers that run beside each other, or without their request. */
static void put_share_cell(struct buf *out, double share)
{
    char text[FIGURE_BYTES] = "-";
    if (share * 100 < SHARE_MAX_PERCENT) {
        (void)snprintf(text, sizeof text, "%.1f %%", share * 100); /* it fits */
    } else if (isfinite(share)) {
        (void)snprintf(text, sizeof text, "> %d %%", SHARE_MAX_PERCENT);
    }
    put_cell(out, text);
}

/* Three digits: two burn rates that differ in the fourth are the same. */
static void put_burn_cell(struct buf *out, double rate)
{
    char text[FIGURE_BYTES] = "-";
    if (rate > BURN_MAX) {
        (void)snprintf(text, sizeof text, "> %d", BURN_MAX); /* it fits */
    } else if (isfinite(rate)) {
        (void)snprintf(text, sizeof text, "%.*f", rate < 10 ? 2 : rate < 100 ? 1 : 0, rate);
    }
    put_cell(out, text);
}

static void put_head(struct buf *out)
{
    static const char *const heads[COLUMNS] = {"BUDGET", "P50",   "P99",  "OVER",
                                               "BURN",   "SHORT", "SHARE"};
    buf_puts(out, "\nTIME BUDGETS\n  ");
    figure_put_left(out, "LAYER", LAYER_COLUMNS);
    for (unsigned i = 0; i < COLUMNS; i++) {
        put_cell(out, heads[i]);
    }
    buf_puts(out, "\n  ");
    figure_put_rule(out, LAYER_COLUMNS + COLUMNS * COLUMN);
    buf_char(out, '\n');
}

/* The whole request's share of itself says nothing. */
static void put_row(const struct budget_layer *layer, const struct budget_profile *profile,
                    bool is_total, struct buf *name, struct buf *out)
{
    double budget_ms = layer->limit->budget_ms;
    double over = (double)profile->exceeded / (double)profile->count;
    buf_clear(name);
    log_escape(name, layer->limit->layer);
    out->err = out->err == 0 ? name->err : out->err;
    buf_puts(out, "  ");
    width_pad(LAYER_COLUMNS - width_cut((struct str){name->data, name->len}, LAYER_COLUMNS, out),
              out);
    put_time_cell(out, budget_ms);
    put_time_cell(out, profile->quantile_ms[QUANTILE_50]);
    put_time_cell(out, profile->quantile_ms[QUANTILE_99]);
    put_share_cell(out, isfinite(budget_ms) ? over : (double)NAN);
    put_burn_cell(out, profile->burn.rate[BURN_LONG]);
    put_burn_cell(out, profile->burn.rate[BURN_SHORT]);
    put_share_cell(out, is_total ? (double)NAN : profile->share_of_total);
    buf_char(out, '\n');
}

void report_put_budgets(const struct snapshot *snapshot, struct profile_scratch *scratch,
                        struct buf *out)
{
    double total_ms = budget_profile_total_ms(snapshot);
    bool begun = false;
    struct buf name;
    buf_init(&name, NAME_BYTES_MAX);
    for (uint32_t i = 0; i < snapshot->budgets.count && out->err == 0; i++) {
        const struct budget_layer *layer = snapshot->budgets.layers[i];
        struct budget_profile profile;
        budget_profile_compute(snapshot, layer, total_ms, scratch, &profile);
        if (profile.count == 0) {
            continue;
        }
        if (!begun) {
            put_head(out);
            begun = true;
        }
        put_row(layer, &profile, i == BUDGETS_TOTAL_NUMBER, &name, out);
    }
    buf_fini(&name);
}
