#include "io/export/export_spooling.h"

#include "base/err.h"
#include "io/export/export_part.h"

enum {
    PATIENCE_LEAST_S = 1, /* a receiver that is there answers within it */
    PROBLEM_MAX_BYTES = 2 * SPOOL_PATH_MAX,
};

static const struct export_signal *signal_of(const struct export_worker *worker)
{
    return worker->queue->options.signal;
}

static uint64_t now_ns(const struct export_worker *worker)
{
    return worker->options.clock.mono_ns(worker->options.clock.ctx);
}

static uint64_t later(uint64_t ns, uint64_t by_ns)
{
    return by_ns > UINT64_MAX - ns ? UINT64_MAX : ns + by_ns;
}

/* --- the account ------------------------------------------------------------------------------- */

/* What the spool has become, for the account. There must be one. */
static const struct spool_account *spool_now(struct export_worker *worker)
{
    const struct spool_account *account = spool_get_account(worker->spool);
    uint64_t losses = account->given_up + account->damaged + account->vanished;
    worker->lost += losses - worker->spool_losses;
    worker->spool_losses = losses;
    return account;
}

void export_spooling_tell(struct export_worker *worker)
{
    export_queue_settle(worker->queue, &(struct export_settlement){.spool = spool_now(worker)});
}

void export_spooling_settle(struct export_worker *worker, uint64_t weight, uint64_t dropped,
                            enum export_drop reason)
{
    worker->attempt = 0;
    worker->retry_ns = 0;
    worker->lost += dropped;
    export_file_settle(&worker->file, weight);
    export_queue_settle(worker->queue, &(struct export_settlement){.exported = weight - dropped,
                                                                   .dropped = dropped,
                                                                   .reason = reason,
                                                                   .was_spooled = true,
                                                                   .spool = spool_now(worker)});
    if (!export_file_has_more(&worker->file)) {
        log_limited(&worker->spooling, "export to %s: the spool is empty", worker->options.address);
    }
}

void export_spooling_open(struct export_worker *worker, const struct spool_options *options)
{
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    int err = spool_open(options, &problem, &worker->spool);
    if (err != 0) {
        struct spool_account broken = {.max_bytes = options->max_bytes, .failures = 1};
        worker->spool = NULL;
        export_queue_settle(worker->queue, &(struct export_settlement){.spool = &broken});
        log_error("export to %s: there is no spool: %.*s", worker->options.address,
                  (int)problem.len, problem.len == 0 ? err_sentence(err) : problem.data);
    } else {
        worker->file.spool = worker->spool;
        export_spooling_tell(worker);
        worker->lost = 0; /* what was damaged before is no loss of an outage that will be told */
    }
    buf_fini(&problem);
}

/* --- a part becomes a file --------------------------------------------------------------------- */

/* The part leaves the batch, but nothing was learned about the receiver. */
static void leave_unsent(struct export_worker *worker, uint64_t spooled, enum export_drop reason)
{
    export_part_leave(worker,
                      &(struct export_settlement){.items = worker->part_count,
                                                  .spooled = spooled,
                                                  .dropped = worker->part_weight - spooled,
                                                  .reason = reason,
                                                  .spool = spool_now(worker)},
                      &(struct export_end){.is_delivered = spooled > 0, .reason = reason});
}

bool export_spooling_part(struct export_worker *worker, bool durable)
{
    int err = worker->request.len > 0 ? 0 : export_part_write(worker);
    uint64_t count = worker->part_count;
    if (err != 0) {
        leave_unsent(worker, 0,
                     err == ERR_LIMIT ? EXPORT_DROP_TOO_LARGE : EXPORT_DROP_OUT_OF_MEMORY);
    } else {
        bool is_first = !export_file_has_more(&worker->file);
        err = spool_put(worker->spool, worker->request, worker->part_weight, durable);
        if (err != 0 && err != ERR_LIMIT) {
            worker->spool_retry_ns = later(now_ns(worker), SPOOL_RETRY_S * NS_PER_SECOND);
            export_spooling_tell(worker);
            return false;
        }
        if (err == 0 && is_first) {
            log_limited(&worker->spooling, "export to %s: %s go to the spool",
                        worker->options.address, signal_of(worker)->noun);
        }
        leave_unsent(worker, err == 0 ? worker->part_weight : 0, EXPORT_DROP_SPOOL_FULL);
    }
    worker->to_spool -= count < worker->to_spool ? count : worker->to_spool;
    return true;
}

void export_spooling_rest(struct export_worker *worker, bool durable)
{
    do {
        while (worker->batch != NULL) {
            if (!export_spooling_part(worker, durable)) {
                return;
            }
        }
        worker->batch = export_queue_take(worker->queue, UINT64_MAX, &worker->batch_count);
    } while (worker->batch != NULL);
}

/* --- what goes when ---------------------------------------------------------------------------- */

uint64_t export_spooling_due_ns(const struct export_worker *worker)
{
    if (worker->spool == NULL || worker->attempt == 0 || worker->began_ns == 0) {
        return UINT64_MAX; /* nothing of this batch was tried */
    }
    uint64_t due = later(worker->began_ns, worker->options.spool_after_ns);
    return due > worker->spool_retry_ns ? due : worker->spool_retry_ns;
}

uint64_t export_spooling_patience_ns(const struct export_worker *worker,
                                     const struct export_state *state, uint64_t now)
{
    uint64_t came = state->accepted - worker->call_accepted;
    if (worker->attempt == 0 || worker->call_ns == 0 || came == 0) {
        return UINT64_MAX;
    }
    double least = (double)PATIENCE_LEAST_S * NS_PER_SECOND;
    double in_ns = (double)(now - worker->call_ns);
    in_ns = in_ns < least ? least : in_ns; /* a burst is no rate */
    double ns = in_ns / (double)came * ((double)state->room / 2);
    double most = (double)worker->options.timeout_ns;
    return (uint64_t)(ns < least ? least : ns < most ? ns : most);
}

void export_spooling_plan(struct export_worker *worker)
{
    struct export_state after;
    export_queue_state(worker->queue, &after);
    worker->call_ns = now_ns(worker);
    worker->call_accepted = after.accepted;
    worker->to_spool = worker->attempt > 0 ? worker->batch_count + after.items
                       : after.is_crowded  ? after.items / 2
                                           : 0;
}
