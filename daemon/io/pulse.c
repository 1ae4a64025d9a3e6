/*
 * Happy path
 *   1. a timer of the loop feeds the watchdog at half its time: a loop that hangs feeds nobody
 *   2. another looks every STATUS_MS at what the daemon does, and tells when the line is another one
 *
 *        3 models, 1,204 records a second, 2 clients
 *
 * What can fail: no memory for a line, and there is none this time.
 */
#include "io/pulse.h"

#include "render/figure.h"

enum {
    STATUS_MS = 5000, /* for people; each costs the manager a wakeup */
    LINE_MAX_BYTES = 128,
};

static void render_line(struct buf *out, uint64_t models, uint64_t records_a_second,
                        uint64_t clients)
{
    figure_put_plural(out, models, "model", "models");
    buf_puts(out, ", ");
    figure_put_plural(out, records_a_second, "record", "records");
    buf_puts(out, " a second, ");
    figure_put_plural(out, clients, "client", "clients");
}

/* Records a second since the last look. */
static uint64_t measure_rate(struct pulse *pulse)
{
    const struct clock *clock = &pulse->ingest->clock;
    uint64_t now_ns = clock->mono_ns(clock->ctx);
    uint64_t accepted = pulse->ingest->intake->accepted;
    uint64_t passed_ns = pulse->looked_ns == 0 ? 0 : now_ns - pulse->looked_ns;
    double rate = passed_ns == 0 ? 0
                                 : (double)(accepted - pulse->accepted) * (double)NS_PER_SECOND /
                                       (double)passed_ns;
    pulse->looked_ns = now_ns;
    pulse->accepted = accepted;
    return (uint64_t)(rate + 0.5);
}

static void on_status(uv_timer_t *timer)
{
    struct pulse *pulse = timer->data;
    const struct ingest *ingest = pulse->ingest;
    struct buf line;
    notify_repeat(pulse->notify);
    buf_init(&line, LINE_MAX_BYTES);
    render_line(&line, ingest->intake->registry->count, measure_rate(pulse),
                ingest->connection_count);
    struct str fresh = {line.data, line.len};
    if (line.err != 0 || str_equal(fresh, (struct str){pulse->told.data, pulse->told.len})) {
        buf_fini(&line);
        return;
    }
    notify_status(pulse->notify, fresh);
    buf_fini(&pulse->told);
    pulse->told = line;
}

static void on_watchdog(uv_timer_t *timer)
{
    struct pulse *pulse = timer->data;
    notify_repeat(pulse->notify);
    notify_alive(pulse->notify);
}

void pulse_start(struct pulse *pulse, uv_loop_t *loop, struct notify *notify,
                 const struct ingest *ingest)
{
    *pulse = (struct pulse){.notify = notify, .ingest = ingest};
    buf_init(&pulse->told, LINE_MAX_BYTES);
    (void)uv_timer_init(loop, &pulse->watchdog); /* neither can fail */
    (void)uv_timer_init(loop, &pulse->status);
    pulse->watchdog.data = pulse;
    pulse->status.data = pulse;
    if (notify->fd < 0) {
        return;
    }
    /* Starting fails for handles that are closing only. */
    (void)uv_timer_start(&pulse->status, on_status, 0, STATUS_MS);
    if (notify->watchdog_ms > 0) {
        uint64_t period_ms = notify->watchdog_ms / 2 > 0 ? notify->watchdog_ms / 2 : 1;
        (void)uv_timer_start(&pulse->watchdog, on_watchdog, 0, period_ms);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct pulse *pulse = handle->data;
    buf_fini(&pulse->told);
}

void pulse_close(struct pulse *pulse)
{
    uv_close((uv_handle_t *)&pulse->watchdog, NULL);
    uv_close((uv_handle_t *)&pulse->status, on_closed);
}
