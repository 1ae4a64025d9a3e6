/*
 * Happy path of an export
 *   1. run               opens the spool, if there is to be one; turns the machine, which wants a
 *                        snapshot; or waits until it will
 *   2. take_snapshot     a job goes to the loop; the eventfd says that it is done
 *   3. metric_export     renders; the snapshot goes back before anything is sent, so that a slow
 *                        receiver holds memory of its own, and no snapshot that a scrape may need
 *   4. run               turns the machine, which sends
 *
 * What can fail, and where it ends
 *   no module, a bad target   a line in the log; there is no thread
 *   no spool                  a line in the log; what cannot be sent gives way to the next snapshot
 *   no snapshot               a line in the log; the next interval
 *   whatever else             metric_export
 *
 * The thread waits for the loop without a deadline: a turn of the loop is short, and the loop runs until
 * this thread has ended.
 */
#include "io/export/metric_exporter.h"

#include <errno.h>
#include <poll.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/export/export_thread.h"
#include "io/export/metric_export.h"

struct metric_exporter {
    struct clock clock;
    struct self *self;
    struct handover_reader reader; /* without a handover: not started */
    struct export_thread thread;
    struct metric_export export;
    struct spool_options spool; /* its path is NULL or empty: none */
    struct job job;             /* the thread's */
};

/* --- the thread -------------------------------------------------------------------------------- */

static void await_job(struct metric_exporter *exporter)
{
    struct pollfd wake = {.fd = exporter->reader.wake_fd, .events = POLLIN};
    while (handover_collect(&exporter->reader) == NULL) { /* there is one */
        (void)poll(&wake, 1, -1); /* one that is interrupted is done again */
    }
}

static void take_snapshot(struct metric_exporter *exporter)
{
    struct self_view view;
    exporter->job = (struct job){.kind = JOB_SNAPSHOT};
    handover_submit(&exporter->reader, &exporter->job);
    await_job(exporter);
    if (exporter->job.err != 0) {
        metric_export_miss(&exporter->export, exporter->job.err);
        return;
    }
    self_view(exporter->self, &view);
    metric_export_take(&exporter->export, exporter->job.share->snapshot, &view.process);
    handover_return(exporter->reader.handover, exporter->job.share);
}

static void *run(void *ctx)
{
    struct metric_exporter *exporter = ctx;
    enum metric_turn turn;
    if (exporter->spool.path != NULL && exporter->spool.path[0] != '\0') {
        metric_export_open_spool(&exporter->export, &exporter->spool);
    }
    do {
        uint64_t wake_ns;
        turn = metric_export_turn(&exporter->export, &wake_ns);
        if (turn == METRIC_TURN_SNAPSHOT) {
            take_snapshot(exporter);
        } else if (turn == METRIC_TURN_WAIT &&
                   wake_ns > exporter->clock.mono_ns(exporter->clock.ctx)) {
            export_queue_wait(&exporter->export.queue, wake_ns);
        }
    } while (turn != METRIC_TURN_END);
    export_queue_end(&exporter->export.queue);
    return NULL;
}

/* --- start and end ----------------------------------------------------------------------------- */

static int init_export(struct metric_exporter *exporter,
                       const struct metric_exporter_options *options)
{
    struct metric_export_options how = {.render = options->render,
                                        .transport = options->transport,
                                        .channel = exporter->thread.channel,
                                        .address = options->address,
                                        .clock = options->clock,
                                        .random = export_thread_draw,
                                        .random_ctx = &exporter->thread,
                                        .interval_ns = options->interval_ms * NS_PER_MS,
                                        .timeout_ns = options->export_timeout_ms * NS_PER_MS,
                                        .call_ns = options->timeout_ms * NS_PER_MS,
                                        .max_bytes = options->max_queue_bytes,
                                        .spool_after_ns = options->spool_after_ms * NS_PER_MS};
    return metric_export_init(&exporter->export, &how);
}

static void free_exporter(struct metric_exporter *exporter)
{
    if (exporter->reader.handover != NULL) {
        handover_reader_close(&exporter->reader);
    }
    mem_free(exporter);
}

/* On the loop: the thread has not begun. */
static int go_on(struct metric_exporter *exporter, struct handover *handover)
{
    struct self_view view;
    struct share *share;
    int err = handover_take(handover, &share);
    if (err == 0) {
        self_view(exporter->self, &view);
        err = metric_export_go_on(&exporter->export, share->snapshot, &view.process);
        handover_return(handover, share);
    }
    return err;
}

int metric_exporter_start(const struct metric_exporter_options *options, struct handover *handover,
                          struct metric_exporter **ret_exporter)
{
    struct metric_exporter *exporter = mem_zalloc(1, sizeof *exporter);
    if (exporter == NULL) {
        return ERR_NOMEM;
    }
    exporter->clock = options->clock;
    exporter->self = options->self;
    exporter->spool = (struct spool_options){.path = options->spool_path,
                                             .signal = SPOOL_METRICS,
                                             .max_bytes = options->spool_max_bytes,
                                             .max_files = options->spool_max_files};
    exporter->thread = (struct export_thread){.transport = options->transport,
                                              .queue = &exporter->export.queue,
                                              .clock = options->clock,
                                              .random = options->seed};
    export_thread_open(&exporter->thread, options->target, options->address, "metrics");
    int err = init_export(exporter, options);
    if (err != 0) {
        export_thread_close(&exporter->thread);
        free_exporter(exporter);
        return err;
    }
    err = handover_reader_start(handover, &exporter->reader);
    if (err == 0) {
        self_add_export(options->self, &exporter->export.queue); /* it tells of itself, too */
        bool has_deltas = options->render->temporality != OTLP_CUMULATIVE;
        err = options->goes_on && has_deltas ? go_on(exporter, handover) : 0;
    }
    if (err == 0) {
        err = export_thread_start(&exporter->thread, run, exporter);
    }
    if (err != 0) {
        metric_exporter_close(exporter);
        return err;
    }
    if (exporter->thread.has_thread) {
        log_info("metrics to %s, every %llu ms", options->address,
                 (unsigned long long)options->interval_ms);
    }
    *ret_exporter = exporter;
    return 0;
}

void metric_exporter_stop(struct metric_exporter *exporter, uint64_t deadline_ns)
{
    if (exporter != NULL) {
        export_thread_stop(&exporter->thread, deadline_ns);
    }
}

bool metric_exporter_is_done(struct metric_exporter *exporter)
{
    return exporter == NULL || export_thread_is_done(&exporter->thread);
}

void metric_exporter_close(struct metric_exporter *exporter)
{
    if (exporter != NULL) {
        export_thread_close(&exporter->thread);
        metric_export_fini(&exporter->export);
        free_exporter(exporter);
    }
}
