/*
 * Happy path
 *   1. a thread reads the configuration again (io/reload)
 *   2. main/apply adopts it; each part that has options of its own takes them
 *   3. the service manager hears that it is done
 *
 * What can fail: the new configuration is refused as a whole, and the old one stays in force.
 */
#include "main/main.h"

#include "base/err.h"
#include "base/log.h"
#include "main/apply.h"

/* The queue of the journal has room for what may come at once by the ceilings of the start. */
static struct ingest_options keep_to_journal(const struct dwelld *dwelld,
                                             struct ingest_options fresh)
{
    const struct journal *journal = dwelld->ingest.journal;
    if (journal != NULL && ingest_most_at_once(&fresh) > journal->options.max_entry_bytes) {
        fresh.max_frame_bytes = dwelld->ingest.options.max_frame_bytes;
        fresh.max_line_bytes = dwelld->ingest.options.max_line_bytes;
        log_warning("ingest.max_frame_bytes, ingest.max_line_bytes: grow with a restart only, as "
                    "the journal has room for what they were (still %zu and %zu)",
                    (size_t)fresh.max_frame_bytes, (size_t)fresh.max_line_bytes);
    }
    return fresh;
}

/* Puts a configuration that was adopted into force where it is used; nothing of it can fail. */
static void obey(struct dwelld *dwelld, struct http_settings *settings)
{
    main_ingest_fit(dwelld);
    dwelld->watcher.max_watched = dwelld->watched_processes;
    dwelld->ingest.options = keep_to_journal(dwelld, main_ingest_options(dwelld));
    connection_obey_all(&dwelld->ingest);
    datagrams_obey(&dwelld->datagrams);
    main_http_limits(dwelld, settings);
    http_change(dwelld->http, settings);
}

void main_reload_done(void *ctx, struct reload_news *news)
{
    struct dwelld *dwelld = ctx;
    if (dwelld->stopping) {
        return;
    }
    struct http_settings *settings =
        news->err == 0 ? main_http_settings(dwelld, &news->conf) : NULL;
    news->err = news->err == 0 && settings == NULL ? ERR_NOMEM : news->err;
    struct apply apply = {.conf = &dwelld->conf,
                          .families = &dwelld->families,
                          .directory = &dwelld->directory,
                          .intake = &dwelld->intake,
                          .judge = &dwelld->judge,
                          .handover = &dwelld->handover,
                          .wall_ns = dwelld->clock.wall_ns(NULL)};
    if (main_apply(&apply, news) == RELOAD_REFUSED) {
        http_settings_free(settings);
    } else {
        obey(dwelld, settings);
    }
    notify_ready(&dwelld->notify);
}

void main_reload_ask(struct dwelld *dwelld)
{
    struct reload_news failed = {.err = reload_ask(&dwelld->reload)};
    if (failed.err != 0) {
        main_reload_done(dwelld, &failed);
    }
}
