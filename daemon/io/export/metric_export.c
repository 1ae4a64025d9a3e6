/*
 * Happy path
 *   1. metric_export_turn   the interval is over: a snapshot is wanted
 *   2. metric_export_take   renders it: each piece is a whole request, and an item of the queue
 *   3. metric_export_turn   the worker sends one after another
 *   4. end_piece            it was delivered: what it told is told
 *
 * What can fail, and where it ends
 *   no snapshot, no memory               a line in the log; the next interval
 *   the queue is full                    the rest is dropped (queue_full), and told by the next one
 *   the receiver is gone or refuses      export_worker; the piece is given up: end_piece; with a spool
 *                                        one for which it is gone becomes a file, and is told then, too
 *   the spool fails                      as without one: what waits gives way to the next snapshot
 *   it finds a piece too large           the next snapshot's are half as long, OTLP_REQUEST_MIN at least;
 *                                        of a file half of its points are sent, as it is told already
 *   a series that no request can hold    dropped (too_large)
 */
#include "io/export/metric_export.h"

#include "base/err.h"
#include "base/mem.h"
#include "io/export/export_spooling.h"
#include "render/otlp_slice.h"

enum {
    LOG_LINES = 3,
    LOG_PERIOD_S = 60,
    PROLOGUE_ROOM = 4096, /* bytes of a request in front of its metrics, besides the resource */
};

/* --- items ------------------------------------------------------------------------------------- */

/* What an item's bytes are. */
static struct otlp_piece piece_of(const struct export_item *item)
{
    struct otlp_piece piece;
    memcpy(&piece, item->bytes, sizeof piece);
    return piece;
}

static uint64_t choose_piece(void *ctx, const struct export_item *first, uint64_t most)
{
    (void)ctx;
    (void)first;
    (void)most;
    return 1;
}

static int write_piece(void *ctx, const struct export_item *first, uint64_t count, struct buf *out,
                       struct str *ret_request)
{
    struct otlp_piece piece = piece_of(first);
    (void)ctx;
    (void)count;
    (void)out;
    *ret_request = (struct str){piece.bytes, piece.len};
    return 0;
}

static int slice_piece(void *ctx, struct str request, uint64_t skip, uint64_t count,
                       struct buf *out)
{
    (void)ctx;
    return otlp_slice(OTLP_SLICE_POINTS, request, skip, count, out);
}

static void end_piece(void *ctx, struct export_item *item, const struct export_end *end)
{
    struct metric_export *export = ctx;
    struct otlp_piece piece = piece_of(item);
    if (end->is_delivered) {
        otlp_metrics_commit(export->metrics, &piece);
    } else {
        otlp_metrics_abort(export->metrics, &piece);
        export->is_too_large = export->is_too_large || end->reason == EXPORT_DROP_TOO_LARGE;
    }
    mem_free(item);
}

static const struct export_signal metrics_signal = {
    .name = "metrics",
    .noun = "data points",
    .gone = "were given up",
    .method = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    .choose = choose_piece,
    .write = write_piece,
    .slice = slice_piece,
    .end = end_piece,
};

/* The sink of a rendering. */
static int add_piece(void *ctx, struct otlp_piece *piece)
{
    struct metric_export *export = ctx;
    struct export_item *item = export_item_new(NULL, sizeof *piece);
    if (item == NULL) {
        export_queue_refuse(&export->queue, piece->points, EXPORT_DROP_OUT_OF_MEMORY);
        return ERR_NOMEM;
    }
    memcpy(item->bytes, piece, sizeof *piece);
    item->weight = piece->points;
    item->outside = (uint32_t)(piece->len + piece->changes.room * sizeof piece->changes.list[0]);
    export_queue_add(&export->queue, item);
    return 0;
}

/* --- life -------------------------------------------------------------------------------------- */

static uint64_t now_ns(const struct metric_export *export)
{
    return export->options.clock.mono_ns(export->options.clock.ctx);
}

static uint64_t later(uint64_t ns, uint64_t by_ns)
{
    return by_ns > UINT64_MAX - ns ? UINT64_MAX : ns + by_ns;
}

size_t metric_export_max_request(const struct otlp_metrics_options *render)
{
    size_t least = 2 * (render->resource.len + PROLOGUE_ROOM);
    least = least < OTLP_REQUEST_MIN ? OTLP_REQUEST_MIN : least;
    return render->max_request < least ? least : render->max_request;
}

static void init_worker(struct metric_export *export)
{
    const struct metric_export_options *options = &export->options;
    struct export_worker_options worker = {.transport = options->transport,
                                           .channel = options->channel,
                                           .address = options->address,
                                           .clock = options->clock,
                                           .random = options->random,
                                           .random_ctx = options->random_ctx,
                                           .batch_items = 1, /* each is a request */
                                           .timeout_ns = options->call_ns,
                                           .spool_after_ns = options->spool_after_ns,
                                           .max_request_bytes = EXPORT_REQUEST_MAX};
    export_worker_init(&export->worker, &export->queue, &worker);
}

int metric_export_init(struct metric_export *export, const struct metric_export_options *options)
{
    *export = (struct metric_export){.options = *options, .had_turn = true};
    struct otlp_metrics_options render = *options->render;
    render.max_request = metric_export_max_request(&render);
    export->max_request = render.max_request;
    export->options.render = NULL;
    struct export_queue_options queue = {.signal = &metrics_signal,
                                         .signal_ctx = export,
                                         .address = options->address,
                                         .max_items = METRIC_EXPORT_PIECES_MAX,
                                         .max_weight = options->max_bytes / METRIC_EXPORT_POINT_MIN,
                                         .max_bytes = options->max_bytes,
                                         .batch_items = 1,
                                         .clock = options->clock};
    int err = export_queue_init(&export->queue, &queue);
    if (err != 0) {
        return err;
    }
    init_worker(export);
    log_limit_init(&export->complaints, LOG_LEVEL_WARNING, "troubles of the export of metrics",
                   LOG_LINES, LOG_PERIOD_S * NS_PER_SECOND);
    export->next_ns = later(now_ns(export), options->interval_ns);
    export->metrics = otlp_metrics_new(&render);
    if (export->metrics == NULL) {
        metric_export_fini(export);
        return ERR_NOMEM;
    }
    return 0;
}

void metric_export_open_spool(struct metric_export *export, const struct spool_options *options)
{
    export_spooling_open(&export->worker, options);
}

void metric_export_fini(struct metric_export *export)
{
    export_worker_fini(&export->worker);
    export_queue_fini(&export->queue);
    otlp_metrics_free(export->metrics);
}

/* --- a snapshot -------------------------------------------------------------------------------- */

static void tell_left_out(struct metric_export *export)
{
    uint64_t left_out = otlp_metrics_left_out(export->metrics);
    uint64_t more = left_out - export->left_out;
    export->left_out = left_out;
    if (more > 0) {
        export_queue_refuse(&export->queue, more, EXPORT_DROP_TOO_LARGE);
        log_limited(&export->complaints,
                    "export to %s: %llu data points fit no request of %zu bytes",
                    export->options.address, (unsigned long long)more, export->max_request);
    }
}

/* Tells of what the queue had no room for. */
static void tell_full(struct metric_export *export, uint64_t before)
{
    struct export_state state;
    export_queue_state(&export->queue, &state);
    if (state.queue_full > before) {
        log_limited(&export->complaints,
                    "export to %s: %llu data points of a snapshot are more than "
                    "otlp.max_metric_bytes hold, and are dropped",
                    export->options.address, (unsigned long long)(state.queue_full - before));
    }
}

/* A request was found too large: the next ones are half as long. */
static void shrink(struct metric_export *export)
{
    size_t before = export->max_request;
    export->is_too_large = false;
    export->max_request = otlp_metrics_limit(export->metrics, before / 2);
    if (export->max_request < before) {
        log_limited(&export->complaints,
                    "export to %s: a request is too large; the next ones are of at most %zu bytes",
                    export->options.address, export->max_request);
    } else {
        log_limited(
            &export->complaints,
            "export to %s: a request is too large, and %zu bytes are the least there may be",
            export->options.address, before);
    }
}

static void make_way(struct metric_export *export)
{
    export_worker_spool(&export->worker);
    uint64_t replaced = export_worker_drop(&export->worker, EXPORT_DROP_REPLACED);
    if (replaced > 0) {
        log_limited(&export->complaints, "export to %s: %llu data points give way to newer ones",
                    export->options.address, (unsigned long long)replaced);
    }
}

/* The sink of a rendering for nobody. */
static int settle_piece(void *ctx, struct otlp_piece *piece)
{
    struct metric_export *export = ctx;
    otlp_metrics_commit(export->metrics, piece);
    return 0;
}

int metric_export_go_on(struct metric_export *export, const struct snapshot *snapshot,
                        const struct exposition_process *process)
{
    return otlp_metrics_render(export->metrics, snapshot, process, settle_piece, export);
}

void metric_export_take(struct metric_export *export, const struct snapshot *snapshot,
                        const struct exposition_process *process)
{
    struct export_state state;
    make_way(export);
    if (export->is_too_large) {
        shrink(export);
    }
    export_queue_state(&export->queue, &state);
    export_worker_set_until(&export->worker, later(now_ns(export), export->options.timeout_ns));
    int err = otlp_metrics_render(export->metrics, snapshot, process, add_piece, export);
    if (err != 0) {
        metric_export_miss(export, err);
    }
    tell_left_out(export);
    tell_full(export, state.queue_full);
    log_limit_tick(&export->complaints);
}

void metric_export_miss(struct metric_export *export, int err)
{
    log_limited(&export->complaints, "export to %s: no whole snapshot of the metrics: %s",
                export->options.address, err_sentence(err));
}

/* --- turns ------------------------------------------------------------------------------------- */

/* The last snapshot is taken late, too, when a spool can keep it; but not when all must end at once, as
 * then the loop may not run. */
static bool is_due(const struct metric_export *export, const struct export_state *state,
                   uint64_t now)
{
    if (state->is_stopping) {
        bool has_spool = export->worker.spool != NULL && state->stop_ns > 0;
        return !export->has_last && (now < state->stop_ns || has_spool);
    }
    return now >= export->next_ns && export->had_turn && /* else short intervals leave no call */
           (export_worker_is_idle(&export->worker) || export_worker_is_held_up(&export->worker));
}

/* Intervals that were missed are not made up for. */
static void plan_next(struct metric_export *export, uint64_t now)
{
    export->next_ns = later(export->next_ns, export->options.interval_ns);
    if (export->next_ns <= now) {
        export->next_ns = later(now, export->options.interval_ns);
    }
}

enum metric_turn metric_export_turn(struct metric_export *export, uint64_t *ret_wake_ns)
{
    struct export_state state;
    uint64_t now = now_ns(export);
    export_queue_state(&export->queue, &state);
    *ret_wake_ns = now;
    if (is_due(export, &state, now)) {
        plan_next(export, now);
        export->had_turn = false;
        export->has_last = state.is_stopping;
        return METRIC_TURN_SNAPSHOT;
    }
    bool goes_on = export_worker_turn(&export->worker, ret_wake_ns);
    export->had_turn = true;
    if (!goes_on && state.is_stopping) { /* a stop that came meanwhile has its snapshot first */
        return METRIC_TURN_END;
    }
    if (!state.is_stopping && export->next_ns < *ret_wake_ns) {
        *ret_wake_ns = export->next_ns;
    }
    return METRIC_TURN_WAIT;
}
