#include "io/lag.h"

static void on_prepare(uv_prepare_t *prepare)
{
    struct lag *lag = prepare->data;
    uint64_t now = uv_hrtime();
    uint64_t idle = uv_metrics_idle_time(prepare->loop);
    uint64_t passed = now - lag->last_ns;
    uint64_t waited = idle - lag->last_idle_ns;
    timing_add(lag->timing, passed > waited ? passed - waited : 0);
    lag->last_ns = now;
    lag->last_idle_ns = idle;
}

void lag_start(struct lag *lag, uv_loop_t *loop, struct timing *timing)
{
    *lag = (struct lag){.timing = timing, .last_ns = uv_hrtime()};
    /* None of these can fail on a loop that has not run yet. */
    (void)uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    (void)uv_prepare_init(loop, &lag->prepare);
    lag->prepare.data = lag;
    (void)uv_prepare_start(&lag->prepare, on_prepare);
    uv_unref((uv_handle_t *)&lag->prepare);
}

void lag_close(struct lag *lag)
{
    uv_close((uv_handle_t *)&lag->prepare, NULL);
}
