#include "render/json_budgets.h"

#include "render/json_write.h"

static void put_bool(struct json_writer *writer, const char *key, bool value)
{
    json_key(writer, str_of(key));
    json_bool(writer, value);
}

static void put_layer(struct json_writer *writer, const struct budget_layer *layer,
                      const struct budget_profile *profile)
{
    const struct budget_limit *limit = layer->limit;
    json_key(writer, limit->layer);
    json_open(writer, '{');
    json_put_double(writer, "budget_ms", limit->budget_ms);
    json_put_double(writer, "elapsed_ms", layer->last_ms);
    json_put_double(writer, "remaining_ms", budget_remaining_ms(limit, layer->last_ms));
    put_bool(writer, "is_exceeded", layer->last_ms > limit->budget_ms);
    put_bool(writer, "is_soft_limit_exceeded", layer->last_ms > limit->soft_limit_ms);
    json_put_u64(writer, "count", layer->count);
    json_put_u64(writer, "exceeded_count", layer->exceeded);
    json_put_u64(writer, "soft_limit_exceeded_count", layer->soft_exceeded);
    json_put_double(writer, "p50_ms", profile->quantile_ms[QUANTILE_50]);
    json_put_double(writer, "p95_ms", profile->quantile_ms[QUANTILE_95]);
    json_put_double(writer, "p99_ms", profile->quantile_ms[QUANTILE_99]);
    json_put_double(writer, "share_of_total", profile->share_of_total);
    json_put_double(writer, "burn_rate", profile->burn.rate[BURN_LONG]);
    json_put_double(writer, "burn_rate_short", profile->burn.rate[BURN_SHORT]);
    json_close(writer, '}');
}

void json_render_budgets(const struct snapshot *snapshot, struct str constitutional_hash,
                         struct profile_scratch *scratch, struct buf *out)
{
    struct json_writer writer = {.out = out};
    const struct budgets_view *view = &snapshot->budgets;
    const struct budget_layer *total = view->layers[BUDGETS_TOTAL_NUMBER];
    double total_ms = budget_profile_total_ms(snapshot);
    struct budget_burn burn;
    budget_burn_compute(total, snapshot->slot, view->objective, &burn);
    json_open(&writer, '{');
    json_put_double(&writer, "total_budget_ms", total->limit->budget_ms);
    json_put_double(&writer, "total_elapsed_ms", total->last_ms);
    json_put_double(&writer, "total_remaining_ms",
                    budget_remaining_ms(total->limit, total->last_ms));
    json_put_double(&writer, "total_burn_rate", burn.rate[BURN_LONG]);
    json_put_double(&writer, "total_burn_rate_short", burn.rate[BURN_SHORT]);
    json_put_double(&writer, "objective", view->objective);
    json_put_open(&writer, "layers", '{');
    for (uint32_t i = BUDGETS_TOTAL_NUMBER + 1; i < view->count; i++) {
        struct budget_profile profile;
        budget_profile_compute(snapshot, view->layers[i], total_ms, scratch, &profile);
        put_layer(&writer, view->layers[i], &profile);
    }
    json_close(&writer, '}');
    json_put_text(&writer, "constitutional_hash", constitutional_hash);
    json_close(&writer, '}');
    buf_char(out, '\n');
}
