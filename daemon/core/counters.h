/*
 * The daemon's own counters: a row is a name, a kind and a help text, and from the rows come
 * /metrics and /api/v1/status. What has labels of its own (reasons, client libraries) is not here.
 * The loop thread writes; a snapshot carries a copy.
 */
#ifndef DWELL_CORE_COUNTERS_H
#define DWELL_CORE_COUNTERS_H

#include <stdint.h>

#include "core/clock_watch.h"
#include "core/reloads.h"

/* code, metric name without the prefix dwelld_, kind, help */
#define COUNTER_TABLE(X)                                                                           \
    X(RECEIVED_BYTES, "received_bytes_total", COUNTER, "Bytes read from the ingest sockets.")      \
    X(DATAGRAMS, "datagrams_total", COUNTER, "Datagrams received.")                                \
    X(SHED_DATAGRAMS, "shed_datagrams_total", COUNTER,                                             \
      "Datagrams dropped unread, of peers past their rate or their share.")                        \
    X(SHED_RECORDS, "shed_records_total", COUNTER, "Records in them.")                             \
    X(CONNECTIONS, "connections", GAUGE, "Open connections to the stream socket.")                 \
    X(CONNECTIONS_ACCEPTED, "connections_accepted_total", COUNTER, "Connections accepted.")        \
    X(CONNECTIONS_REFUSED, "connections_refused_total", COUNTER,                                   \
      "Connections refused, by a ceiling or by the peer's user or group.")                         \
    X(PEER_CONNECTIONS_REFUSED, "peer_connections_refused_total", COUNTER,                         \
      "Of them, by ingest.max_peer_connections.")                                                  \
    X(PEER_BYTES_EXCEEDED, "peer_bytes_exceeded_total", COUNTER,                                   \
      "Connections ended by ingest.max_peer_bytes.")                                               \
    X(PEER_PAUSES, "peer_pauses_total", COUNTER,                                                   \
      "Times that a peer went past ingest.max_peer_records_per_second.")                           \
    X(WAITING, "waiting_connections", GAUGE,                                                       \
      "Connections with input whose turn to be read has not come yet.")                            \
    X(OVERLOADS, "overloads_total", COUNTER,                                                       \
      "Times that for a second more came in than could be read.")                                  \
    X(UNLEDGERED_RECORDS, "unledgered_records_total", COUNTER,                                     \
      "Records of clients that do not number them.")                                               \
    X(DUPLICATE_RECORDS, "duplicate_records_total", COUNTER,                                       \
      "Records of clients that ask for acknowledgements, sent again and passed over.")             \
    X(UNKNOWN_KEYS, "unknown_keys_total", COUNTER, "Keys and fields ignored as unknown.")          \
    X(IMPOSSIBLE_EVIDENCE, "impossible_evidence_total", COUNTER,                                   \
      "Samples with evidence that cannot be, cut to what can: more CPU time than threads have.")   \
    X(STATSD_EVENTS, "statsd_events_total", COUNTER, "Events of DogStatsD, which are ignored.")    \
    X(STATSD_CHECKS, "statsd_checks_total", COUNTER,                                               \
      "Service checks of DogStatsD, which are ignored.")                                           \
    X(LOST_REPLIES, "lost_replies_total", COUNTER,                                                 \
      "Replies not sent because the peer did not read.")                                           \
    X(OVERFLOW_SAMPLES, "overflow_samples_total", COUNTER,                                         \
      "Samples of models past profiling.max_models, counted in the overflow model.")               \
    X(OVERFLOW_RECORDS, "overflow_records_total", COUNTER,                                         \
      "Records of metrics and budgets past a ceiling, counted in an overflow series or layer.")    \
    X(LOST_EXEMPLARS, "lost_exemplars_total", COUNTER, "Exemplars not kept for want of memory.")   \
    X(LOST_EVIDENCE, "lost_evidence_total", COUNTER,                                               \
      "Samples whose evidence was not used, and verdicts from it not shown, for want of memory.")  \
    X(JOURNAL_BYTES, "journal_bytes", GAUGE,                                                       \
      "Records of clients that ask for acknowledgements, on disk.")                                \
    X(JOURNAL_REPLAYED, "journal_replayed_records_total", COUNTER,                                 \
      "Records that the journal brought back at the start.")                                       \
    X(JOURNAL_DAMAGED, "journal_damaged_total", COUNTER,                                           \
      "Files of the journal that were set aside, and entries that did not come back as a whole.")  \
    X(JOURNAL_FAILURES, "journal_failures_total", COUNTER, "Writes of the journal that failed.")   \
    X(JOURNAL_STOPPED, "journal_stopped", GAUGE,                                                   \
      "1 while nothing is acknowledged: the journal is full, or cannot be written.")               \
    X(MODELS, "models", GAUGE, "Models known, the overflow model included.")                       \
    X(FAMILIES, "metric_families", GAUGE, "Families of clients' metrics.")                         \
    X(SERIES, "metric_series", GAUGE, "Series of clients' metrics, without the overflow series.")  \
    X(SET_VALUES, "set_values", GAUGE,                                                             \
      "Values of clients' sets that are kept: those of the window, and what is not dropped yet.")  \
    X(OPEN_SPANS, "open_spans", GAUGE, "Spans of which only the beginning is known.")              \
    X(CUT_OFF_SPANS, "cut_off_spans_total", COUNTER,                                               \
      "Spans ended by dwelld, as nobody else would: by process, ceiling or stop.")                 \
    X(HELD_SPANS, "held_spans", GAUGE,                                                             \
      "Spans held until it is known whether their trace is worth keeping.")                        \
    X(REFUSED_SPAN_SAMPLES, "refused_span_samples_total", COUNTER,                                 \
      "Spans with a model_name that could not be counted as an inference.")                        \
    X(BUDGET_EVENTS, "budget_events_total", COUNTER,                                               \
      "Span events of layers over their time budget, in traces that may be exported.")             \
    X(BUDGET_EVENTS_SUPPRESSED, "budget_events_suppressed_total", COUNTER,                         \
      "Likewise, but not made: there were too many in one second, or no memory.")                  \
    X(PROCESSES, "processes", GAUGE, "Processes that said their pid and have not ended.")          \
    X(PROBE_LOOKS, "probe_looks_total", COUNTER,                                                   \
      "Looks at threads that send evidence: whether they run, wait, or wait for a lock.")          \
    X(PROBE_TOUCHES, "probe_touches_total", COUNTER,                                               \
      "Probes of how fast a process touches memory.")                                              \
    X(PROBE_HERTZ, "probe_look_hertz", GAUGE,                                                      \
      "Looks a second at each thread: 20, or fewer where they would cost more than 1% of a CPU.")  \
    X(PROBE_REFUSED, "probe_refused_samples_total", COUNTER,                                       \
      "Samples with evidence whose thread or process found no place among those watched.")         \
    X(PROBE_LOST, "probe_lost_total", COUNTER,                                                     \
      "Looks and readings of processes lost for want of room or memory.")                          \
    X(CLOCK_STEPS, "clock_steps_total", COUNTER,                                                   \
      "Times that the wall clock was set, or the machine slept, as seen at snapshots.")            \
    X(DENIED_CALLS, "denied_calls_total", COUNTER,                                                 \
      "System calls that dwelld does not make, and that were refused.")                            \
    X(SNAPSHOTS_REFUSED, "snapshots_refused_total", COUNTER,                                       \
      "Snapshots not taken because too many were alive, or for want of memory.")                   \
    X(LOG_LINES_LOST, "log_lines_lost_total", COUNTER,                                             \
      "Lines of the log that were not written: nobody read it, or there was no room.")             \
    X(STATE_SAVES, "state_saves_total", COUNTER, "States written to state.file.")                  \
    X(STATE_FAILURES, "state_save_failures_total", COUNTER,                                        \
      "States that could not be written to state.file.")                                           \
    X(STATE_BYTES, "state_bytes", GAUGE, "Size of the state written last; 0: none was.")           \
    X(STATE_DAMAGED, "state_damaged_files_total", COUNTER,                                         \
      "State files set aside: damaged, foreign, of another version or user.")                      \
    X(STATE_LEFT_OUT, "state_left_out_total", COUNTER,                                             \
      "Pieces of state that did not fit the configuration or the processes at a start.")           \
    X(SCRAPES, "scrapes_total", COUNTER, "Answers to /metrics.")                                   \
    X(HTTP_ERRORS, "http_errors_total", COUNTER, "HTTP answers with a status of 400 or above.")    \
    X(HTTP_FOREIGN_HOSTS, "http_foreign_hosts_total", COUNTER,                                     \
      "HTTP requests refused because the host that they name is none of http.allowed_hosts.")      \
    X(HTTP_REFUSED, "http_connections_refused_total", COUNTER,                                     \
      "HTTP connections refused by http.max_connections.")                                         \
    X(HTTP_SLOW, "http_slow_connections_total", COUNTER,                                           \
      "HTTP connections cut off by http.request_timeout_ms.")

enum counter {
#define X(code, name, kind, help) COUNTER_##code,
    COUNTER_TABLE(X)
#undef X
        COUNTER_COUNT
};

/* How long something took, each time: counts by bound, sum and largest. */
enum { TIMING_BOUNDS = 6 };

struct timing {
    uint64_t bucket[TIMING_BOUNDS + 1]; /* not cumulative */
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
};

/* 100 µs, 500 µs, 1 ms, 2 ms, 10 ms, 100 ms */
extern const uint64_t timing_bounds_ns[TIMING_BOUNDS];

void timing_add(struct timing *timing, uint64_t ns);

struct counters {
    uint64_t value[COUNTER_COUNT];
    struct timing loop_lag; /* how long one turn of the loop kept everything else waiting */
    struct timing snapshot; /* freezing, on the loop */
    struct clock_watch clock;
    unsigned missing_sources; /* set of 1 << SEEN_…: of some process they cannot be had */
    struct reloads reloads;
};

#endif
