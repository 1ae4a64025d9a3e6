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
#include "io/export/export_part.h"
#include "io/export/export_spooling.h"

enum {
    LOG_LINES = 3,
    LOG_PERIOD_S = 60,
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

void export_worker_fini(struct export_worker *worker)
{
    export_part_end_all(worker, worker->batch,
                        &(struct export_end){.reason = EXPORT_DROP_SHUTDOWN});
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
        export_spooling_settle(worker, load->weight, rejected, EXPORT_DROP_REJECTED);
    } else {
        export_part_settle(
            worker, worker->part_count, load->weight, rejected,
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
        export_part_clear(worker);
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
            export_spooling_settle(worker, load->weight, load->weight, decision->reason);
        } else {
            export_part_drop(worker, decision->reason);
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

uint64_t export_worker_drop(struct export_worker *worker, enum export_drop reason)
{
    uint64_t lost = 0;
    if (worker->batch == NULL) {
        worker->batch = export_queue_take(worker->queue, UINT64_MAX, &worker->batch_count);
    }
    while (worker->batch != NULL) { /* else nothing changes, the wait for the receiver neither */
        uint64_t weight = export_part_weigh(worker->batch, worker->batch_count);
        lost += weight;
        export_part_settle(worker, worker->batch_count, weight, weight,
                           &(struct export_end){.reason = reason});
        worker->batch = export_queue_take(worker->queue, UINT64_MAX, &worker->batch_count);
    }
    return lost;
}

/* All that is left goes: the shutdown's time is over. */
static void drop_rest(struct export_worker *worker)
{
    enum export_drop reason = EXPORT_DROP_SHUTDOWN;
    if (worker->spool != NULL) {
        export_spooling_rest(worker, false);
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
        export_spooling_rest(worker, true);
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
        export_spooling_rest(worker, !state.is_stopping);
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

static void send_file(struct export_worker *worker, const struct export_state *state, uint64_t now)
{
    struct load load = {.is_file = true,
                        .most_ns = export_spooling_patience_ns(worker, state, now)};
    int err = export_file_part(&worker->file, &load.request, &load.weight);
    if (err == ERR_LIMIT) {
        export_spooling_settle(worker, load.weight, load.weight, EXPORT_DROP_TOO_LARGE);
        return;
    }
    if (err != 0) {
        if (err !=
            ERR_SYNTAX) { /* as if the receiver were away: what is new is spooled meanwhile */
            worker->attempt++;
            worker->retry_ns = later(now, SPOOL_RETRY_S * NS_PER_SECOND);
        }
        export_spooling_tell(worker);
        return;
    }
    load.items = export_file_items(&worker->file, load.weight);
    send_load(worker, &load, state);
    export_spooling_plan(worker);
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
        if (worker->batch != NULL || export_part_take(worker, state, now, &batch_ns)) {
            /* One that fails stays, and the turn goes on. */
            (void)export_spooling_part(worker, !state->is_stopping);
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
    if (worker->batch == NULL && !export_part_take(worker, &state, now, ret_wake_ns)) {
        return !state.is_stopping;
    }
    uint64_t spool_ns = export_spooling_due_ns(worker);
    if (now >= spool_ns) {
        (void)export_spooling_part(worker, !state.is_stopping); /* else it is due later */
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
    int err = worker->request.len > 0 ? 0 : export_part_write(worker);
    if (err != 0) {
        export_part_drop(worker,
                         err == ERR_LIMIT ? EXPORT_DROP_TOO_LARGE : EXPORT_DROP_OUT_OF_MEMORY);
        return true;
    }
    struct load load = {.request = worker->request,
                        .weight = worker->part_weight,
                        .items = worker->part_count,
                        .most_ns = UINT64_MAX};
    send_load(worker, &load, &state);
    return true;
}
