#include "io/export/export_part.h"

enum {
    REQUEST_KEEP_BYTES =
        256 << 10, /* memory of a request that is kept for the next: 512 usual spans */
};

static const struct export_signal *signal_of(const struct export_worker *worker)
{
    return worker->queue->options.signal;
}

static uint64_t later(uint64_t ns, uint64_t by_ns)
{
    return by_ns > UINT64_MAX - ns ? UINT64_MAX : ns + by_ns;
}

bool export_part_take(struct export_worker *worker, const struct export_state *state, uint64_t now,
                      uint64_t *ret_wake_ns)
{
    uint64_t due = state->items == 0 ? UINT64_MAX
                   : state->is_stopping || state->items >= worker->options.batch_items
                       ? now
                       : later(state->since_ns, worker->options.delay_ns);
    if (due > now) {
        *ret_wake_ns = due;
        return false;
    }
    worker->batch =
        export_queue_take(worker->queue, worker->options.batch_items, &worker->batch_count);
    return worker->batch != NULL;
}

/* --- a part becomes a request ------------------------------------------------------------------ */

uint64_t export_part_weigh(const struct export_item *item, uint64_t count)
{
    uint64_t weight = 0;
    for (uint64_t i = 0; i < count; i++, item = item->next) {
        weight += item->weight;
    }
    return weight;
}

int export_part_write(struct export_worker *worker)
{
    const struct export_signal *signal = signal_of(worker);
    void *ctx = worker->queue->options.signal_ctx;
    buf_clear(&worker->written);
    worker->part_count = signal->choose(ctx, worker->batch, worker->part_most);
    worker->part_weight = export_part_weigh(worker->batch, worker->part_count);
    return signal->write(ctx, worker->batch, worker->part_count, &worker->written,
                         &worker->request);
}

void export_part_clear(struct export_worker *worker)
{
    worker->request = (struct str){NULL, 0};
    buf_clear(&worker->written);
}

/* --- the end of a part ------------------------------------------------------------------------- */

void export_part_end_all(struct export_worker *worker, struct export_item *item,
                         const struct export_end *end)
{
    while (item != NULL) {
        struct export_item *next = item->next;
        signal_of(worker)->end(worker->queue->options.signal_ctx, item, end);
        item = next;
    }
}

void export_part_leave(struct export_worker *worker, struct export_settlement *settlement,
                       const struct export_end *end)
{
    struct export_item *done = worker->batch;
    struct export_item *last = NULL;
    for (uint64_t i = 0; i < settlement->items; i++) {
        last = i == 0 ? done : last->next;
        settlement->bytes += export_item_size(last);
    }
    export_part_clear(worker);
    if (last != NULL) {
        worker->batch = last->next;
        last->next = NULL;
        export_part_end_all(worker, done, end);
    }
    worker->batch_count -= settlement->items;
    worker->lost += settlement->dropped;
    if (worker->written.cap > REQUEST_KEEP_BYTES) {
        buf_fini(&worker->written);
    }
    if (worker->batch == NULL) {
        worker->part_most = UINT64_MAX;
        worker->began_ns = 0;
    }
    export_queue_settle(worker->queue, settlement);
}

void export_part_settle(struct export_worker *worker, uint64_t count, uint64_t weight,
                        uint64_t dropped, const struct export_end *end)
{
    worker->attempt = 0;
    worker->retry_ns = 0;
    export_part_leave(worker,
                      &(struct export_settlement){.items = count,
                                                  .exported = weight - dropped,
                                                  .dropped = dropped,
                                                  .reason = end->reason},
                      end);
}

void export_part_drop(struct export_worker *worker, enum export_drop reason)
{
    export_part_settle(worker, worker->part_count, worker->part_weight, worker->part_weight,
                       &(struct export_end){.reason = reason});
}
