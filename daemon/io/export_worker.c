/*
 * Happy path of a turn
 *   1. no batch at hand: the queue is asked; a full batch, one that has waited long enough, or any
 *      at the shutdown is taken
 *   2. as many of its items as fit otlp.max_request_bytes become a request
 *   3. the transport sends it and waits for the outcome
 *   4. the outcome is settled in the queue's account, the items end; the rest of the batch comes with
 *      the next turn
 *
 * What can fail, and where it ends
 *   the receiver is not there, or slow   the part waits and is sent again; the queue fills meanwhile
 *   it refuses for good                  the part is dropped (failed)
 *   it finds the part too large          half of it is sent; one item alone is dropped (too_large)
 *   no memory for the request            the part is dropped (out_of_memory)
 *   otlp.retry_timeout_ms is over        the part is dropped (timeout)
 *   the time that was set is over        all that is left is dropped (timeout)
 *   the shutdown's time is over          all that is left is dropped (shutdown), and the log says so
 */
#include "io/export_worker.h"

#include "base/err.h"

enum {
    LOG_LINES = 3,
    LOG_PERIOD_S = 60,
    REQUEST_KEEP_BYTES =
        256 << 10, /* memory of a request that is kept for the next: 512 usual spans */
};

void export_worker_init(struct export_worker *worker, struct export_queue *queue,
                        const struct export_worker_options *options)
{
    *worker = (struct export_worker){
        .options = *options, .queue = queue, .part_most = UINT64_MAX, .until_ns = UINT64_MAX};
    buf_init(&worker->written, (size_t)options->max_request_bytes);
    log_limit_init(&worker->failures, LOG_LEVEL_WARNING, "failures of the export", LOG_LINES,
                   LOG_PERIOD_S * NS_PER_SECOND);
    log_limit_init(&worker->remarks, LOG_LEVEL_WARNING, "remarks of the receiver", LOG_LINES,
                   LOG_PERIOD_S * NS_PER_SECOND);
}

static const struct export_signal *signal_of(const struct export_worker *worker)
{
    return worker->queue->options.signal;
}

static void end_items(struct export_worker *worker, struct export_item *item,
                      const struct export_end *end)
{
    while (item != NULL) {
        struct export_item *next = item->next;
        signal_of(worker)->end(worker->queue->options.signal_ctx, item, end);
        item = next;
    }
}

void export_worker_fini(struct export_worker *worker)
{
    end_items(worker, worker->batch, &(struct export_end){.reason = EXPORT_DROP_SHUTDOWN});
    worker->batch = NULL;
    buf_fini(&worker->written);
}

static uint64_t now_ns(const struct export_worker *worker)
{
    return worker->options.clock.mono_ns(worker->options.clock.ctx);
}

static uint64_t later(uint64_t ns, uint64_t by_ns)
{
    return by_ns > UINT64_MAX - ns ? UINT64_MAX : ns + by_ns;
}

/* --- a part becomes a request ------------------------------------------------------------------ */

static uint64_t weigh(const struct export_item *item, uint64_t count)
{
    uint64_t weight = 0;
    for (uint64_t i = 0; i < count; i++, item = item->next) {
        weight += item->weight;
    }
    return weight;
}

/* Returns 0, ERR_LIMIT for an item that does not fit alone, or ERR_NOMEM. */
static int write_part(struct export_worker *worker)
{
    const struct export_signal *signal = signal_of(worker);
    void *ctx = worker->queue->options.signal_ctx;
    buf_clear(&worker->written);
    worker->part_count = signal->choose(ctx, worker->batch, worker->part_most);
    worker->part_weight = weigh(worker->batch, worker->part_count);
    return signal->write(ctx, worker->batch, worker->part_count, &worker->written,
                         &worker->request);
}

static void clear_request(struct export_worker *worker)
{
    worker->request = (struct str){NULL, 0};
    buf_clear(&worker->written);
}

/* --- the end of a part ------------------------------------------------------------------------- */

/* The first `count` items of the batch, of this weight, leave it. */
static void settle(struct export_worker *worker, uint64_t count, uint64_t weight, uint64_t dropped,
                   const struct export_end *end)
{
    struct export_settlement settlement = {
        .items = count, .exported = weight - dropped, .dropped = dropped, .reason = end->reason};
    struct export_item *done = worker->batch;
    struct export_item *last = NULL;
    for (uint64_t i = 0; i < count; i++) {
        last = i == 0 ? done : last->next;
        settlement.bytes += export_item_size(last);
    }
    worker->attempt = 0;
    worker->retry_ns = 0;
    clear_request(worker);
    if (last != NULL) {
        worker->batch = last->next;
        last->next = NULL;
        end_items(worker, done, end);
    }
    worker->batch_count -= count;
    worker->lost += dropped;
    if (worker->written.cap > REQUEST_KEEP_BYTES) {
        buf_fini(&worker->written);
    }
    if (worker->batch == NULL) {
        worker->part_most = UINT64_MAX;
        worker->began_ns = 0;
    }
    export_queue_settle(worker->queue, &settlement);
}

static void drop_part(struct export_worker *worker, enum export_drop reason)
{
    settle(worker, worker->part_count, worker->part_weight, worker->part_weight,
           &(struct export_end){.reason = reason});
}

/* --- what the log is told ---------------------------------------------------------------------- */

static void tell_failure(struct export_worker *worker, const struct transport_reply *reply,
                         const struct retry_decision *decision, uint64_t queue_full)
{
    static const char *const then[] = {[RETRY_KEEP] = "",
                                       [RETRY_WAIT] = "will be sent again",
                                       [RETRY_SPLIT] = "will be sent in two halves",
                                       [RETRY_DROP] = "are dropped"};
    worker->failed_calls++;
    const char *noun = signal_of(worker)->noun;
    bool is_full = queue_full > worker->queue_full;
    log_limited(&worker->failures, "export to %s: %s: %s; %llu %s %s%s%s%s",
                worker->options.address, export_retry_status_name(reply->status), reply->message,
                (unsigned long long)worker->part_weight, noun, then[decision->action],
                is_full ? "; the queue is full, new " : "", is_full ? noun : "",
                is_full ? " are dropped" : "");
}

static void tell_success(struct export_worker *worker, const struct transport_reply *reply,
                         uint64_t queue_full)
{
    if (worker->failed_calls > 0) {
        log_limit_end(&worker->failures);
        log_info("export to %s: works again after %llu failed calls; %llu %s %s",
                 worker->options.address, (unsigned long long)worker->failed_calls,
                 (unsigned long long)(worker->lost + queue_full - worker->queue_full),
                 signal_of(worker)->noun, signal_of(worker)->gone);
    }
    worker->failed_calls = 0;
    worker->lost = 0;
    worker->queue_full = queue_full;
    if (reply->rejected > 0) {
        log_limited(&worker->remarks, "export to %s: %llu of %llu %s were rejected: %s",
                    worker->options.address, (unsigned long long)reply->rejected,
                    (unsigned long long)worker->part_weight, signal_of(worker)->noun,
                    reply->message);
    } else if (reply->message[0] != '\0') {
        log_limited(&worker->remarks, "export to %s: the receiver remarks: %s",
                    worker->options.address, reply->message);
    } else if (reply->is_garbled) {
        log_limited(&worker->remarks,
                    "export to %s: the response is no OTLP, though its status is OK",
                    worker->options.address);
    }
}

/* --- a call ------------------------------------------------------------------------------------ */

static void keep_part(struct export_worker *worker, const struct transport_reply *reply)
{
    uint64_t weight = worker->part_weight;
    uint64_t rejected = reply->rejected < weight ? reply->rejected : weight;
    settle(worker, worker->part_count, weight, rejected,
           &(struct export_end){.is_delivered = true, .reason = EXPORT_DROP_REJECTED});
}

static void act(struct export_worker *worker, const struct transport_reply *reply,
                const struct retry_decision *decision, uint64_t now)
{
    switch (decision->action) {
    case RETRY_KEEP:
        keep_part(worker, reply);
        break;
    case RETRY_WAIT:
        worker->attempt++;
        worker->retry_ns = later(now, decision->wait_ns);
        break;
    case RETRY_SPLIT:
        worker->part_most = worker->part_count / 2;
        worker->attempt = 0;
        clear_request(worker);
        break;
    case RETRY_DROP:
        drop_part(worker, decision->reason);
        break;
    }
}

/* How long the batch may still take. */
static uint64_t left_ns(const struct export_worker *worker, uint64_t now)
{
    uint64_t whole = worker->options.retry_timeout_ns;
    uint64_t end = whole == 0 ? UINT64_MAX : later(worker->began_ns, whole);
    end = worker->until_ns < end ? worker->until_ns : end;
    return end == UINT64_MAX ? UINT64_MAX : end > now ? end - now : 0;
}

/* True when the shutdown's time is over, whatever it was when the call began. */
static bool is_over(struct export_worker *worker, uint64_t now)
{
    struct export_state state;
    export_queue_state(worker->queue, &state);
    return state.is_stopping && now >= state.stop_ns;
}

static void send_part(struct export_worker *worker, const struct export_state *state)
{
    const struct export_worker_options *options = &worker->options;
    struct transport_reply reply;
    uint64_t began = now_ns(worker);
    uint64_t deadline = later(began, options->timeout_ns);
    deadline = worker->until_ns < deadline ? worker->until_ns : deadline;
    if (state->is_stopping && state->stop_ns < deadline) {
        deadline = state->stop_ns;
    }
    options->transport->call(options->channel, signal_of(worker)->method, worker->request, deadline,
                             &reply);
    uint64_t now = now_ns(worker);
    struct retry_input input = {.status = reply.status,
                                .has_retry_delay = reply.has_retry_delay,
                                .retry_delay_ns = reply.retry_delay_ns,
                                .attempt = worker->attempt,
                                .random = options->random(options->random_ctx),
                                .left_ns = left_ns(worker, now),
                                .items = worker->part_count};
    struct retry_decision decision = export_retry_decide(&input);
    struct export_call call = {.duration_ns = now - began,
                               .is_retry = worker->attempt > 0,
                               .is_failure = reply.status != TRANSPORT_OK,
                               .is_garbled = reply.is_garbled,
                               .is_split = decision.action == RETRY_SPLIT};
    export_queue_count_call(worker->queue, &call);
    if (decision.action == RETRY_WAIT && is_over(worker, now)) {
        return; /* the end has cut it off, and the next turn says so */
    }
    if (decision.action == RETRY_KEEP) {
        tell_success(worker, &reply, state->queue_full);
    } else {
        tell_failure(worker, &reply, &decision, state->queue_full);
    }
    act(worker, &reply, &decision, now);
    log_limit_tick(&worker->remarks);
}

/* --- turns ------------------------------------------------------------------------------------- */

/* Takes a batch when there is one to take; else says when there may be. */
static bool take_batch(struct export_worker *worker, const struct export_state *state, uint64_t now,
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

uint64_t export_worker_drop(struct export_worker *worker, enum export_drop reason)
{
    uint64_t lost = 0;
    do {
        uint64_t weight = weigh(worker->batch, worker->batch_count);
        lost += weight;
        settle(worker, worker->batch_count, weight, weight, &(struct export_end){.reason = reason});
        worker->batch = export_queue_take(worker->queue, UINT64_MAX, &worker->batch_count);
    } while (worker->batch != NULL);
    return lost;
}

/* All that is left goes: the shutdown's time is over. */
static void drop_rest(struct export_worker *worker)
{
    uint64_t lost = export_worker_drop(worker, EXPORT_DROP_SHUTDOWN);
    log_limit_end(&worker->failures);
    if (lost > 0) {
        log_warning("export to %s: %llu %s could not be sent before the end and are lost",
                    worker->options.address, (unsigned long long)lost, signal_of(worker)->noun);
    }
}

/* Likewise the time that was set. */
static void expire(struct export_worker *worker)
{
    uint64_t given_up = export_worker_drop(worker, EXPORT_DROP_TIMEOUT);
    worker->until_ns = UINT64_MAX;
    if (given_up > 0) {
        log_limited(&worker->failures, "export to %s: its time is over; %llu %s are dropped",
                    worker->options.address, (unsigned long long)given_up, signal_of(worker)->noun);
    }
}

void export_worker_set_until(struct export_worker *worker, uint64_t until_ns)
{
    worker->until_ns = until_ns;
}

bool export_worker_is_failing(const struct export_worker *worker)
{
    return worker->batch != NULL && worker->attempt > 0;
}

bool export_worker_is_idle(const struct export_worker *worker)
{
    struct export_state state;
    export_queue_state(worker->queue, &state);
    return worker->batch == NULL && state.items == 0;
}

bool export_worker_turn(struct export_worker *worker, uint64_t *ret_wake_ns)
{
    struct export_state state;
    uint64_t now = now_ns(worker);
    export_queue_state(worker->queue, &state);
    *ret_wake_ns = now;
    if (state.is_stopping && now >= state.stop_ns) {
        drop_rest(worker);
        return false;
    }
    if (now >= worker->until_ns) {
        expire(worker);
        export_queue_state(worker->queue, &state);
    }
    if (worker->batch == NULL && !take_batch(worker, &state, now, ret_wake_ns)) {
        return !state.is_stopping;
    }
    if (state.is_stopping && !worker->is_hurried) {
        worker->is_hurried = true;
        worker->retry_ns = 0;
        worker->attempt = worker->attempt > 0; /* the next waits are short again */
    }
    if (now < worker->retry_ns) {
        *ret_wake_ns = worker->retry_ns;
        if (state.is_stopping && state.stop_ns < *ret_wake_ns) {
            *ret_wake_ns = state.stop_ns;
        }
        return true;
    }
    worker->began_ns = worker->began_ns == 0 ? now : worker->began_ns;
    int err = worker->request.len > 0 ? 0 : write_part(worker);
    if (err != 0) {
        drop_part(worker, err == ERR_LIMIT ? EXPORT_DROP_TOO_LARGE : EXPORT_DROP_OUT_OF_MEMORY);
        return true;
    }
    send_part(worker, &state);
    return true;
}
