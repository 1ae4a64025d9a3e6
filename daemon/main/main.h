/*
 * The daemon as a whole, and what the files main_*.c do with it: each takes one part from the configuration
 * to where it runs. Loop thread; what returns an int returns 0 or a code of base/err.h, and leaves what is
 * open to its caller, who ends the process.
 */
#ifndef DWELL_MAIN_MAIN_H
#define DWELL_MAIN_MAIN_H

#include "conf/conf.h"
#include "conf/families.h"
#include "core/intake.h"
#include "io/connection.h"
#include "io/datagrams.h"
#include "io/directory.h"
#include "io/export/span_export.h"
#include "io/handover.h"
#include "io/http.h"
#include "io/inherited.h"
#include "io/lag.h"
#include "io/listener.h"
#include "io/notify.h"
#include "io/probe/probe.h"
#include "io/pulse.h"
#include "io/reload.h"
#include "io/sandbox.h"
#include "io/watcher.h"
#include "main/exporter.h"
#include "main/state.h"

enum {
    MAIN_SIGNALS = 3,
    MAIN_HTTP_DOORS = 3,
    MAIN_FILES = 2, /* that outlive the daemon: state and journal */
};

struct dwelld {
    struct conf conf;
    struct conf_families families;
    struct conf_command command;
    struct clock clock;
    struct inherited inherited;
    struct directory directory;
    int http_fd; /* until the HTTP server takes it */
    char *http_address;
    struct registry registry;
    struct metrics metrics;
    struct spans spans;
    struct budgets budgets;
    struct judge judge;
    struct processes processes;
    struct ledger ledger;
    struct counters counters;
    struct intake intake;
    uv_loop_t loop;
    struct ingest ingest;
    struct journal journal; /* in use where ingest.journal says so */
    bool lacks_journal;     /* it is configured and cannot be had, as the log says */
    bool has_brought_back;  /* something that the state does not have */
    struct listener listener;
    struct datagrams datagrams;
    struct handover handover;
    struct watcher watcher;
    struct witness witness;
    struct probe probe;
    struct sandbox sandbox;
    struct lag lag;
    struct notify notify;
    struct pulse pulse;
    struct http *http;
    struct exporter *exporter;               /* NULL: no traces are exported */
    struct metric_exporter *metric_exporter; /* NULL: no metrics are exported */
    struct span_export span_export;
    struct main_state state;
    struct process own; /* this one, which is not watched: what it says of itself ends with it */
    uint64_t hash_seed; /* random for each process, against flooding of tables */
    struct otlp_resource_options resource;
    struct label attributes[CONF_PAIRS_MAX]; /* service.attributes, as the exporter has them */
    struct self self;
    struct route_context context;
    struct json_process process; /* as others see it */
    /* Ceilings; that of HTTP is for each door. */
    unsigned ingest_connections, http_connections, watched_processes;
    bool has_room_to_probe;
    struct json_path sockets[PLACE_COUNT];
    struct json_path files[MAIN_FILES];
    struct json_path confinement[SANDBOX_FACT_COUNT];
    uv_signal_t signals[MAIN_SIGNALS];
    struct reload reload;
    uv_timer_t drain_timer;
    uint64_t deadline_ns; /* of the shutdown */
    bool stopping;
};

/* sockets.c: the HTTP address, the directory and its sockets, as far as they have not been handed over.
 * Returns an exit status; what is wrong is told in the log. */
int main_sockets_open(struct dwelld *dwelld);
void main_sockets_say(const struct dwelld *dwelld);

/* core.c: registry, metrics, spans, budgets, ledger and intake, which go on from the state of an earlier
 * life; ended with all else that holds memory. */
int main_core_start(struct dwelld *dwelld);
void main_core_fini(struct dwelld *dwelld);

/* ingest.c: who sends, and who looks at them. */

/* Finds descriptors for all connections that there may be. Where the system grants fewer, each side
 * gets a share of what there is, and who comes past it is refused as at any ceiling. Running out
 * instead would leave the HTTP server spinning on a socket that it cannot accept from. */
void main_ingest_fit(struct dwelld *dwelld);
struct ingest_options main_ingest_options(const struct dwelld *dwelld);
int main_ingest_start(struct dwelld *dwelld);

/* What the journal has of an earlier life, when spans can be exported. Nothing is read before. */
int main_ingest_bring_back(struct dwelld *dwelld);

/* The sandbox, and the probe, whose thread is to begin in the middle of it. */
int main_confine(struct dwelld *dwelld);

/* exports.c: traces and metrics, each where it is wanted. */
int main_exports_start(struct dwelld *dwelld);

/* http.c: what the server serves, and its thread. */

/* Of a configuration that is not in force yet: the ceilings are listed when it is. NULL without memory. */
struct http_settings *main_http_settings(const struct dwelld *dwelld, const struct conf *conf);

/* The ceilings that are in force, for /api/v1/status. */
void main_http_limits(const struct dwelld *dwelld, struct http_settings *settings);
int main_http_start(struct dwelld *dwelld);

/* reload.c: has the configuration read again, and put into force or refused. */
void main_reload_ask(struct dwelld *dwelld);

/* When it was read; here for main_signals, which starts the reader. */
void main_reload_done(void *ctx, struct reload_news *news);

/* signals.c: SIGHUP reloads, SIGTERM and SIGINT end. */
int main_signals_start(struct dwelld *dwelld);

#endif
