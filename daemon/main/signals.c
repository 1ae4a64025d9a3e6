/*
 * The end
 *   1. SIGTERM or SIGINT: no new connections; what has come is read and answered
 *   2. connections end, each within INGEST_DRAIN_MS
 *   3. the last save and the last exports go on at the same time
 *   4. all handles are closed, and the loop ends by itself
 *
 * What can fail: nobody takes what goes out; then the end comes at shutdown.timeout_ms, or at once on a
 * second signal.
 */
#include "main/main.h"

#include <signal.h>

#include "base/err.h"
#include "base/log.h"

enum {
    DRAIN_CHECK_MS = 10,
    CLOSE_SHARE =
        20, /* of the shutdown's time, one part is kept for closing after the last export */
};

static const int handled_signals[MAIN_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

/* After it the loop ends by itself: no handle is left. One more signal changes nothing then; without
 * the loop's handlers it would end the process as if it had failed. */
static void close_handles(struct dwelld *dwelld)
{
    sigset_t handled;
    (void)sigemptyset(&handled);
    for (int i = 0; i < MAIN_SIGNALS; i++) {
        (void)sigaddset(&handled, handled_signals[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &handled, NULL); /* fails only for a wrong first argument */
    connection_close_all(&dwelld->ingest);
    main_state_close(&dwelld->state); /* its last save tells the journal what it may forget */
    if (dwelld->ingest.journal != NULL) {
        journal_close(dwelld->ingest.journal);
    }
    ingest_close(&dwelld->ingest);
    watcher_close(&dwelld->watcher);
    reload_close(&dwelld->reload);
    for (int i = 0; i < MAIN_SIGNALS; i++) {
        uv_close((uv_handle_t *)&dwelld->signals[i], NULL);
    }
    uv_close((uv_handle_t *)&dwelld->drain_timer, NULL);
    http_close(dwelld->http);
    metric_exporter_close(dwelld->metric_exporter);
    handover_close(&dwelld->handover);
    probe_close(&dwelld->probe);
    sandbox_close(&dwelld->sandbox);
    lag_close(&dwelld->lag);
    pulse_close(&dwelld->pulse);
}

/* When everything must have gone out: a little before the deadline, as closing takes time too. */
static uint64_t export_deadline_ns(const struct dwelld *dwelld)
{
    uint64_t closing_ns = dwelld->conf.shutdown.timeout_ms * NS_PER_MS / CLOSE_SHARE;
    return dwelld->deadline_ns > closing_ns ? dwelld->deadline_ns - closing_ns : 0;
}

/* Both signals go on at the same time, and so does the last save. */
static bool has_exported(struct dwelld *dwelld)
{
    spans_stop(&dwelld->spans);
    bool is_late = dwelld->clock.mono_ns(NULL) >= export_deadline_ns(dwelld);
    bool saved = main_state_stop(&dwelld->state, is_late);
    exporter_stop(dwelld->exporter, export_deadline_ns(dwelld));
    metric_exporter_stop(dwelld->metric_exporter, export_deadline_ns(dwelld));
    bool traces = exporter_is_done(dwelld->exporter);
    bool metrics = metric_exporter_is_done(dwelld->metric_exporter);
    return traces && metrics && saved;
}

/* Looks for the end of the last connection, each of which ends by itself within INGEST_DRAIN_MS, and
 * then for the end of the last export, for which the loop gives one more snapshot. */
static void on_drain_check(uv_timer_t *timer)
{
    struct dwelld *dwelld = timer->data;
    unsigned left = dwelld->ingest.connection_count;
    if (left > 0 && dwelld->clock.mono_ns(NULL) < dwelld->deadline_ns) {
        return;
    }
    if (!has_exported(dwelld)) {
        return;
    }
    if (left > 0) {
        log_warning("%u connections did not take their last answers in time", left);
    }
    close_handles(dwelld);
}

static void stop(struct dwelld *dwelld, const char *signal_name)
{
    if (dwelld->stopping) {
        dwelld->deadline_ns = 0; /* asked twice: at once */
        return;
    }
    dwelld->stopping = true;
    dwelld->deadline_ns =
        dwelld->clock.mono_ns(NULL) + dwelld->conf.shutdown.timeout_ms * NS_PER_MS;
    log_info("%s: stopping, within %llu ms", signal_name,
             (unsigned long long)dwelld->conf.shutdown.timeout_ms);
    notify_stopping(&dwelld->notify, dwelld->conf.shutdown.timeout_ms);
    listener_drain(&dwelld->listener);
    listener_close(&dwelld->listener);
    datagrams_drain(&dwelld->datagrams);
    datagrams_close(&dwelld->datagrams);
    connection_drain_all(&dwelld->ingest);
    dwelld->handover.is_stopping = true;
    (void)uv_timer_start(&dwelld->drain_timer, on_drain_check, 0, DRAIN_CHECK_MS);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct dwelld *dwelld = handle->data;
    if (number != SIGHUP) {
        stop(dwelld, number == SIGTERM ? "SIGTERM" : "SIGINT");
    } else if (!dwelld->stopping) {
        notify_reloading(&dwelld->notify, dwelld->clock.mono_ns(NULL));
        main_reload_ask(dwelld);
    }
}

int main_signals_start(struct dwelld *dwelld)
{
    for (int i = 0; i < MAIN_SIGNALS; i++) {
        if (uv_signal_init(&dwelld->loop, &dwelld->signals[i]) != 0 ||
            uv_signal_start(&dwelld->signals[i], on_signal, handled_signals[i]) != 0) {
            return ERR_SYSTEM;
        }
        dwelld->signals[i].data = dwelld;
    }
    (void)uv_timer_init(&dwelld->loop, &dwelld->drain_timer); /* cannot fail */
    dwelld->drain_timer.data = dwelld;
    return reload_start(&dwelld->reload, &dwelld->loop, &dwelld->command, main_reload_done, dwelld);
}
