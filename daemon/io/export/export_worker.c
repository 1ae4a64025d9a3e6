/*
 * Happy path of a turn
 *   1. no batch at hand: the queue is asked; a full batch, one that has waited long enough, or any
 *      at the shutdown is taken
 *   2. as many of its items as fit otlp.max_request_bytes become a request
 *   3. the transport sends it and waits for the outcome
 *   4. the outcome is settled in the queue's account, the items end; the rest of the batch comes with
 *      the next turn
 * and while the spool has files
 *   1. the oldest file is read, sent and settled as above, and removed
 *   2. while the receiver is away, what is due in the queue is written to the spool: at most one file
 *      a turn, so that the end of the shutdown is noticed
 *
 * What can fail, and where it ends
 *   the receiver is not there, or slow   the part waits and is sent again; the queue fills meanwhile;
 *                                        after otlp.spool_after_ms the part goes to the spool
 *   it refuses for good                  the part is dropped (failed)
 *   it finds the part too large          half of it is sent; one item alone is dropped (too_large)
 *   no memory for the request            the part is dropped (out_of_memory)
 *   otlp.retry_timeout_ms is over        the part is dropped (timeout)
 *   the time that was set is over        all that is left is dropped (timeout)
 *   the shutdown's time is over          all that is left goes to the spool, unsynced; without one it is
 *                                        dropped (shutdown), and the log says so
 *   the spool cannot be written          the part stays in memory, the queue fills; another try after
 *                                        SPOOL_RETRY_S; at the end it is dropped (spool_failed)
 *   a request is larger than the spool   it is dropped (spool_full)
 *   a file is damaged or gone            the spool counts it, and the next one is the oldest
 */
#include "io/export/export_worker.h"

#include "base/err.h"

enum {
    LOG_LINES = 3,
    LOG_PERIOD_S = 60,
    SPOOL_RETRY_S =
        5, /* short against the time in which a queue fills, long against a failed write */
    PATIENCE_LEAST_S = 1, /* a receiver that is there answers within it */
    PROBLEM_MAX_BYTES = 2 * SPOOL_PATH_MAX,
    REQUEST_KEEP_BYTES =
        256 << 10, /* memory of a request that is kept for the next: 512 usual spans */
};

void export_worker_init(struct export_worker *worker, struct export_queue *queue,
                        const struct export_worker_options *options)
{
    *worker = (struct export_worker){
        .options = *options, .queue = queue, .part_most = UINT64_MAX, .until_ns = UINT64_MAX};
    buf_init(&worker->written, (size_t)options->max_request_bytes);
    export_file_init(&worker->file, NULL, queue->options.signal, queue->options.signal_ctx);
    log_limit_init(&worker->failures, LOG_LEVEL_WARNING, "failures of the export", LOG_LINES,
                   LOG_PERIOD_S * NS_PER_SECOND);
    log_limit_init(&worker->spooling, LOG_LEVEL_INFO, "beginnings and ends of spooling", LOG_LINES,
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
    export_file_fini(&worker->file);
    spool_close(worker->spool);
    worker->spool = NULL;
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

/* What the spool has become, for the account. There must be one. */
static const struct spool_account *spool_now(struct export_worker *worker)
{
    const struct spool_account *account = spool_get_account(worker->spool);
    uint64_t losses = account->given_up + account->damaged + account->vanished;
    worker->lost += losses - worker->spool_losses;
    worker->spool_losses = losses;
    return account;
}

static void tell_account(struct export_worker *worker)
{
    export_queue_settle(worker->queue, &(struct export_settlement){.spool = spool_now(worker)});
}

/* The first items of the batch leave it; the settlement has all but their memory. */
static void leave(struct export_worker *worker, struct export_settlement *settlement,
                  const struct export_end *end)
{
    struct export_item *done = worker->batch;
    struct export_item *last = NULL;
    for (uint64_t i = 0; i < settlement->items; i++) {
        last = i == 0 ? done : last->next;
        settlement->bytes += export_item_size(last);
    }
    clear_request(worker);
    if (last != NULL) {
        worker->batch = last->next;
        last->next = NULL;
        end_items(worker, done, end);
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

/* The first `count` items of the batch, of this weight, are exported but for those dropped. */
static void settle(struct export_worker *worker, uint64_t count, uint64_t weight, uint64_t dropped,
                   const struct export_end *end)
{
    worker->attempt = 0;
    worker->retry_ns = 0;
    leave(worker,
          &(struct export_settlement){.items = count,
                                      .exported = weight - dropped,
                                      .dropped = dropped,
                                      .reason = end->reason},
          end);
}

/* The same for what is in the oldest file. */
static void settle_file(struct export_worker *worker, uint64_t weight, uint64_t dropped,
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

static void drop_part(struct export_worker *worker, enum export_drop reason)
{
    settle(worker, worker->part_count, worker->part_weight, worker->part_weight,
           &(struct export_end){.reason = reason});
}

/* --- a part becomes a file --------------------------------------------------------------------- */

/* The part leaves the batch, but nothing was learned about the receiver. */
static void leave_unsent(struct export_worker *worker, uint64_t spooled, enum export_drop reason)
{
    leave(worker,
          &(struct export_settlement){.items = worker->part_count,
                                      .spooled = spooled,
                                      .dropped = worker->part_weight - spooled,
                                      .reason = reason,
                                      .spool = spool_now(worker)},
          &(struct export_end){.is_delivered = spooled > 0, .reason = reason});
}

/* Returns false when the spool fails, and the part stays. */
static bool spool_part(struct export_worker *worker, bool durable)
{
    int err = worker->request.len > 0 ? 0 : write_part(worker);
    uint64_t count = worker->part_count;
    if (err != 0) {
        leave_unsent(worker, 0,
                     err == ERR_LIMIT ? EXPORT_DROP_TOO_LARGE : EXPORT_DROP_OUT_OF_MEMORY);
    } else {
        bool is_first = !export_file_has_more(&worker->file);
        err = spool_put(worker->spool, worker->request, worker->part_weight, durable);
        if (err != 0 && err != ERR_LIMIT) {
            worker->spool_retry_ns = later(now_ns(worker), SPOOL_RETRY_S * NS_PER_SECOND);
            tell_account(worker);
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

/* All that is at hand and waits, until the spool fails. */
static void spool_rest(struct export_worker *worker, bool durable)
{
    do {
        while (worker->batch != NULL) {
            if (!spool_part(worker, durable)) {
                return;
            }
        }
        worker->batch = export_queue_take(worker->queue, UINT64_MAX, &worker->batch_count);
    } while (worker->batch != NULL);
}

void export_worker_open_spool(struct export_worker *worker, const struct spool_options *options)
{
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    int err = spool_open(options, &problem, &worker->spool);
    if (err != 0) {
        worker->spool = NULL;
        log_error("export to %s: there is no spool: %.*s", worker->options.address,
                  (int)problem.len, problem.len == 0 ? err_sentence(err) : problem.data);
    } else {
        worker->file.spool = worker->spool;
        tell_account(worker);
        worker->lost = 0; /* what was damaged before is no loss of an outage that will be told */
    }
    buf_fini(&problem);
}

/* --- what the log is told ---------------------------------------------------------------------- */

/* What a call sends. */
struct load {
    struct str request;
    uint64_t weight;
    uint64_t items;   /* that it can be divided into */
    uint64_t most_ns; /* how long the call may take, besides otlp.timeout_ms */
    bool is_file;     /* of the spool, else of the batch */
};

static void tell_failure(struct export_worker *worker, const struct load *load,
                         const struct transport_reply *reply, const struct retry_decision *decision,
                         uint64_t queue_full)
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
                (unsigned long long)load->weight, noun, then[decision->action],
                is_full ? "; the queue is full, new " : "", is_full ? noun : "",
                is_full ? " are dropped" : "");
}

static void tell_success(struct export_worker *worker, const struct load *load,
                         const struct transport_reply *reply, uint64_t queue_full)
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
                    (unsigned long long)load->weight, signal_of(worker)->noun, reply->message);
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

static void keep(struct export_worker *worker, const struct load *load,
                 const struct transport_reply *reply)
{
    uint64_t rejected = reply->rejected < load->weight ? reply->rejected : load->weight;
    if (load->is_file) {
        settle_file(worker, load->weight, rejected, EXPORT_DROP_REJECTED);
    } else {
        settle(worker, worker->part_count, load->weight, rejected,
               &(struct export_end){.is_delivered = true, .reason = EXPORT_DROP_REJECTED});
    }
}

static void split(struct export_worker *worker, const struct load *load)
{
    worker->attempt = 0;
    if (load->is_file) {
        export_file_split(&worker->file, load->weight);
    } else {
        worker->part_most = worker->part_count / 2;
        clear_request(worker);
    }
}

static void act(struct export_worker *worker, const struct load *load,
                const struct transport_reply *reply, const struct retry_decision *decision,
                uint64_t now)
{
    switch (decision->action) {
    case RETRY_KEEP:
        keep(worker, load, reply);
        break;
    case RETRY_WAIT:
        worker->attempt++;
        worker->retry_ns = later(now, decision->wait_ns);
        break;
    case RETRY_SPLIT:
        split(worker, load);
        break;
    case RETRY_DROP:
        if (load->is_file) {
            settle_file(worker, load->weight, load->weight, decision->reason);
        } else {
            drop_part(worker, decision->reason);
        }
        break;
    }
}

/* How long the batch may still take. With a spool there is no end: it goes there, and stays. */
static uint64_t left_ns(const struct export_worker *worker, uint64_t now)
{
    if (worker->spool != NULL) {
        return UINT64_MAX;
    }
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

static void send_load(struct export_worker *worker, const struct load *load,
                      const struct export_state *state)
{
    const struct export_worker_options *options = &worker->options;
    struct transport_reply reply;
    uint64_t began = now_ns(worker);
    uint64_t deadline =
        later(began, load->most_ns < options->timeout_ns ? load->most_ns : options->timeout_ns);
    if (!load->is_file && worker->until_ns < deadline) { /* files have no such time */
        deadline = worker->until_ns;
    }
    if (state->is_stopping && state->stop_ns < deadline) {
        deadline = state->stop_ns;
    }
    options->transport->call(options->channel, signal_of(worker)->method, load->request, deadline,
                             &reply);
    uint64_t now = now_ns(worker);
    struct retry_input input = {.status = reply.status,
                                .has_retry_delay = reply.has_retry_delay,
                                .retry_delay_ns = reply.retry_delay_ns,
                                .attempt = worker->attempt,
                                .random = options->random(options->random_ctx),
                                .left_ns = left_ns(worker, now),
                                .items = load->items};
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
        tell_success(worker, load, &reply, state->queue_full);
    } else {
        tell_failure(worker, load, &reply, &decision, state->queue_full);
    }
    act(worker, load, &reply, &decision, now);
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
    enum export_drop reason = EXPORT_DROP_SHUTDOWN;
    if (worker->spool != NULL) {
        spool_rest(worker, false);
        reason = EXPORT_DROP_SPOOL_FAILED;
    }
    uint64_t lost = export_worker_drop(worker, reason);
    log_limit_end(&worker->failures);
    if (lost > 0) {
        log_warning("export to %s: %llu %s could not be sent before the end and are lost",
                    worker->options.address, (unsigned long long)lost, signal_of(worker)->noun);
    }
}

/* Likewise the time that was set. */
static void expire(struct export_worker *worker)
{
    if (worker->spool != NULL) {
        spool_rest(worker, true);
    }
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

void export_worker_spool(struct export_worker *worker)
{
    if (worker->spool != NULL) {
        struct export_state state;
        export_queue_state(worker->queue, &state);
        spool_rest(worker, !state.is_stopping);
    }
}

bool export_worker_is_held_up(const struct export_worker *worker)
{
    return (worker->batch != NULL && worker->attempt > 0) || export_file_has_more(&worker->file);
}

bool export_worker_is_idle(const struct export_worker *worker)
{
    struct export_state state;
    export_queue_state(worker->queue, &state);
    return worker->batch == NULL && state.items == 0;
}

static uint64_t earlier(uint64_t ns, uint64_t other_ns)
{
    return ns < other_ns ? ns : other_ns;
}

/* When the part at hand goes to the spool. */
static uint64_t spool_due_ns(const struct export_worker *worker)
{
    if (worker->spool == NULL || worker->attempt == 0) {
        return UINT64_MAX;
    }
    uint64_t due = later(worker->began_ns, worker->options.spool_after_ns);
    return due > worker->spool_retry_ns ? due : worker->spool_retry_ns;
}

/* While a call waits for a receiver that does not answer at all, nothing is written to the spool: it may
 * take the time in which half of the room fills, by what came since the call before. */
static uint64_t patience_ns(const struct export_worker *worker, const struct export_state *state,
                            uint64_t now)
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

static void send_file(struct export_worker *worker, const struct export_state *state, uint64_t now)
{
    struct load load = {.is_file = true, .most_ns = patience_ns(worker, state, now)};
    struct export_state after;
    int err = export_file_part(&worker->file, &load.request, &load.weight);
    if (err == ERR_LIMIT) {
        settle_file(worker, load.weight, load.weight, EXPORT_DROP_TOO_LARGE);
        return;
    }
    if (err != 0) {
        if (err !=
            ERR_SYNTAX) { /* as if the receiver were away: what is new is spooled meanwhile */
            worker->attempt++;
            worker->retry_ns = later(now, SPOOL_RETRY_S * NS_PER_SECOND);
        }
        tell_account(worker);
        return;
    }
    load.items = export_file_items(&worker->file, load.weight);
    send_load(worker, &load, state);
    export_queue_state(worker->queue, &after);
    worker->call_ns = now_ns(worker);
    worker->call_accepted = after.accepted;
    worker->to_spool = worker->attempt > 0 ? worker->batch_count + after.items
                       : after.is_crowded  ? after.items / 2
                                           : 0;
}

/* Before each call after a failed one all that was waiting then is written, so that a receiver that
 * takes long to fail does not keep the queue from being emptied; and no more than that, so that a
 * slow disk does not keep the receiver from being found again. */
static bool turn_with_files(struct export_worker *worker, const struct export_state *state,
                            uint64_t now, uint64_t *ret_wake_ns)
{
    bool is_away = worker->attempt > 0;
    bool is_due = now >= worker->retry_ns;
    bool writes_first = worker->to_spool > 0 || (is_away && (!is_due || state->is_stopping));
    uint64_t batch_ns = UINT64_MAX;
    if (writes_first && now >= worker->spool_retry_ns) {
        if (worker->batch != NULL || take_batch(worker, state, now, &batch_ns)) {
            (void)spool_part(worker, !state->is_stopping); /* else it stays, and the turn goes on */
            return true;
        }
        worker->to_spool = 0; /* the rest is not due */
    }
    if (is_away && state->is_stopping && worker->batch == NULL && state->items == 0) {
        return false; /* all is in files, and waits for the next start */
    }
    if (is_due) {
        send_file(worker, state, now);
        return true;
    }
    *ret_wake_ns = earlier(worker->retry_ns, batch_ns);
    if (now < worker->spool_retry_ns) {
        *ret_wake_ns = earlier(*ret_wake_ns, worker->spool_retry_ns);
    }
    if (state->is_stopping) {
        *ret_wake_ns = earlier(*ret_wake_ns, state->stop_ns);
    }
    return true;
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
    if (state.is_stopping && !worker->is_hurried) {
        worker->is_hurried = true;
        worker->retry_ns = 0;
        worker->attempt = worker->attempt > 0; /* the next waits are short again */
    }
    if (export_file_has_more(&worker->file)) {
        return turn_with_files(worker, &state, now, ret_wake_ns);
    }
    if (worker->batch == NULL && !take_batch(worker, &state, now, ret_wake_ns)) {
        return !state.is_stopping;
    }
    uint64_t spool_ns = spool_due_ns(worker);
    if (now >= spool_ns) {
        (void)spool_part(worker, !state.is_stopping); /* else it stays, and is due later */
        return true;
    }
    if (now < worker->retry_ns) {
        *ret_wake_ns = earlier(worker->retry_ns, spool_ns);
        if (state.is_stopping) {
            *ret_wake_ns = earlier(*ret_wake_ns, state.stop_ns);
        }
        return true;
    }
    worker->began_ns = worker->began_ns == 0 ? now : worker->began_ns;
    int err = worker->request.len > 0 ? 0 : write_part(worker);
    if (err != 0) {
        drop_part(worker, err == ERR_LIMIT ? EXPORT_DROP_TOO_LARGE : EXPORT_DROP_OUT_OF_MEMORY);
        return true;
    }
    struct load load = {.request = worker->request,
                        .weight = worker->part_weight,
                        .items = worker->part_count,
                        .most_ns = UINT64_MAX};
    send_load(worker, &load, &state);
    return true;
}
