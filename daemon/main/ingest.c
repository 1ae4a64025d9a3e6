/*
 * Happy path
 *   1. the ceilings of connections are fitted to the descriptors that there may be
 *   2. watcher, journal, stream and datagram sockets, handover: on the loop
 *   3. the sandbox closes, with the probe's thread begun in the middle of it
 *   4. when exports have begun, too: what the journal brings back, before anything is read
 *
 * What can fail: memory, a thread, the journal's files; the start ends.
 */
#include "main/main.h"

#include <unistd.h>

#include "base/log.h"
#include "io/system.h"
#include "main/journal.h"
#include "main/options.h"
#include "main/sandbox.h"

enum {
    /* Of the daemon itself: 21, with both exports and a journal 30, what is open for a moment, and who is
     * refused. */
    OWN_DESCRIPTORS = 32 + MAIN_HTTP_DOORS * HTTP_REFUSALS_MAX,
    THREAD_DESCRIPTORS = 2, /* of the probe, for each thread that it watches */
};

/* Of the probe: a directory of each process, the files of each thread. */
static uint64_t probe_descriptors(const struct conf *conf)
{
    return conf->profiling.probe == CONF_OFF
               ? 0
               : WITNESS_PROCESSES_MAX + THREAD_DESCRIPTORS * conf->profiling.max_watched_threads;
}

static uint64_t clamp(uint64_t number, uint64_t most)
{
    return number == 0 ? 1 : number < most ? number : most;
}

void main_ingest_fit(struct dwelld *dwelld)
{
    uint64_t ingest = dwelld->conf.ingest.max_connections;
    uint64_t http = dwelld->conf.http.max_connections;
    uint64_t own = OWN_DESCRIPTORS;
    uint64_t needed = own + probe_descriptors(&dwelld->conf) + ingest + MAIN_HTTP_DOORS * http;
    uint64_t granted = system_raise_descriptors(needed + ingest); /* and a process for each */
    if (granted < needed) {
        uint64_t rest = granted > own ? granted - own : 0;
        http = clamp(rest / 4 / MAIN_HTTP_DOORS, http);
        uint64_t of_http = MAIN_HTTP_DOORS * http;
        ingest = clamp(rest > of_http ? rest - of_http : 0, ingest);
        log_warning("only %llu descriptors may be open: ingest.max_connections is taken as %llu, "
                    "http.max_connections as %llu; allow %llu (ulimit -n, LimitNOFILE=)",
                    (unsigned long long)granted, (unsigned long long)ingest,
                    (unsigned long long)http, (unsigned long long)needed);
    }
    dwelld->process.descriptors_limit = granted;
    dwelld->process.descriptors_wanted = needed;
    dwelld->ingest_connections = (unsigned)ingest;
    dwelld->http_connections = (unsigned)http;
    dwelld->has_room_to_probe = granted >= needed; /* connections come first */
    dwelld->watched_processes = granted < needed ? 0 : (unsigned)(granted - needed);
}

struct ingest_options main_ingest_options(const struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct ingest_options options = {
        .max_frame_bytes = conf->ingest.max_frame_bytes,
        .max_line_bytes = conf->ingest.max_line_bytes,
        .max_connections = dwelld->ingest_connections,
        .idle_timeout_ms = conf->ingest.idle_timeout_ms,
        .senders = {.max_connections = conf->ingest.max_peer_connections,
                    .max_bytes = conf->ingest.max_peer_bytes,
                    .max_records_a_second = conf->ingest.max_peer_records_per_second},
        .access = {conf->ingest.allowed_uids.ids, conf->ingest.allowed_uids.count,
                   conf->ingest.allowed_gids.ids, conf->ingest.allowed_gids.count}};
    _Static_assert((int)CONF_ANSWERS_BYTES == (int)INGEST_REPLIES_MAX_BYTES, "one and the same");
    _Static_assert((int)CONF_STATSD_SAMPLES_MAX <= (int)STATSD_SAMPLES_MAX,
                   "there is room for the names");
    for (size_t i = 0; i < conf->ingest.statsd_samples.count; i++) {
        statsd_samples_add(&options.statsd_samples, str_of(conf->ingest.statsd_samples.texts[i]));
    }
    return options;
}

int main_ingest_start(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct ingest_options options = main_ingest_options(dwelld);
    struct thresholds thresholds = options_thresholds(conf);
    lag_start(&dwelld->lag, &dwelld->loop, &dwelld->counters.loop_lag);
    watcher_start(&dwelld->watcher, &dwelld->loop, &dwelld->intake, dwelld->watched_processes,
                  &dwelld->clock);
    struct journal *journal;
    int err = main_journal_open(conf, &options, &dwelld->journal, &journal);
    dwelld->lacks_journal = err != 0;
    if (err == 0) {
        err =
            ingest_init(&dwelld->ingest, &dwelld->loop, &dwelld->intake, &options, &dwelld->clock);
        dwelld->ingest.journal = journal;
    }
    if (err == 0) {
        err = listener_start(&dwelld->listener, &dwelld->ingest,
                             directory_steal_fd(&dwelld->directory, PLACE_STREAM));
    }
    if (err == 0) {
        err = datagrams_start(&dwelld->datagrams, &dwelld->ingest,
                              directory_steal_fd(&dwelld->directory, PLACE_DATAGRAM));
    }
    if (err == 0) {
        err = handover_start(&dwelld->handover, &dwelld->loop, &dwelld->intake, &thresholds,
                             &dwelld->clock);
    }
    return err;
}

int main_ingest_bring_back(struct dwelld *dwelld)
{
    struct journal *journal = dwelld->ingest.journal;
    if (journal == NULL) {
        return 0;
    }
    int err =
        main_journal_start(journal, main_state_journal_position(&dwelld->state), &dwelld->intake,
                           &dwelld->loop, &dwelld->clock, &dwelld->has_brought_back);
    dwelld->lacks_journal = err != 0;
    return err;
}

/* Nothing but a timer, and perhaps a thread that waits, until a process sends evidence. */
static int start_probe(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct probe_options options = {.roots = proc_roots_real,
                                    .clock = dwelld->clock,
                                    .max_threads = (uint32_t)conf->profiling.max_watched_threads,
                                    .touches = conf->profiling.touch_probe != CONF_OFF,
                                    .touch_max_bytes =
                                        (double)conf->profiling.touch_probe_max_mb * 1024 * 1024,
                                    .enter = sandbox_enter_probe,
                                    .enter_ctx = &dwelld->sandbox,
                                    .starts_first = sandbox_wants_probe_first(&dwelld->sandbox)};
    return probe_start(&dwelld->probe, &dwelld->loop, &dwelld->witness, &dwelld->counters,
                       &options);
}

int main_confine(struct dwelld *dwelld)
{
    bool probes = dwelld->conf.profiling.probe != CONF_OFF && dwelld->has_room_to_probe;
    int err = main_sandbox_begin(&dwelld->sandbox, &dwelld->conf, probes);
    if (err == 0 && probes) {
        err = start_probe(dwelld);
    }
    if (err == 0) {
        err = main_sandbox_finish(&dwelld->sandbox, &dwelld->conf, dwelld->command.file_name,
                                  dwelld->directory.path, environ);
    }
    sandbox_watch(&dwelld->sandbox, &dwelld->loop, &dwelld->counters);
    return err;
}
