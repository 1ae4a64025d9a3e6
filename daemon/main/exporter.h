/*
 * From the configuration to the exporters: chooses what holds for a signal, reads the files that it
 * names, opens the module, says in the log what it cannot have. Loop thread, at start.
 */
#ifndef DWELL_MAIN_EXPORTER_H
#define DWELL_MAIN_EXPORTER_H

#include "conf/conf.h"
#include "io/export/exporter.h"
#include "io/export/metric_exporter.h"

/* A target, and what it points at. */
struct export_target {
    struct transport_target transport;
    struct buf address; /* a terminated text */
    struct buf headers_file;
    struct buf certificate;
    struct buf client_certificate;
    struct buf client_key;
    struct transport_header headers[TRANSPORT_HEADERS_MAX]; /* into the configuration or the file */
    uint64_t timeout_ms;
};

/* True when the configuration wants this signal exported; `own`: conf->otlp.of_…. */
bool main_exporter_wants(const struct conf *conf, bool signal, const struct conf_signal *own);

/* Fills a target for a signal that is wanted. Returns 0; ERR_SYSTEM or ERR_SYNTAX with a sentence in
 * `problem`, ERR_NOMEM. To be ended in any case. The configuration must outlive it. */
int export_target_init(struct export_target *target, const struct conf *conf,
                       const struct conf_signal *own, struct buf *problem);
void export_target_fini(struct export_target *target);

/* Opens the module, if one is wanted, so that it is there however little the daemon may open later. What is
 * wrong with it is told by the start. */
void main_exporter_open_module(const struct conf *conf);

/* Starts the export of traces, when it is wanted; else *ret_exporter is NULL. What is wrong with
 * files and module is told in the log, and leaves an exporter that drops. `resource` must outlive
 * it. Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int main_exporter_start(const struct conf *conf, const struct otlp_resource_options *resource,
                        const struct clock *clock, struct exporter **ret_exporter);

/* What the export of metrics needs of the daemon. */
struct main_metrics {
    const struct otlp_resource_options *resource; /* borrowed during the start, as what follows */
    const struct registry *registry;
    struct handover *handover; /* must outlive the exporter, as `self` */
    struct self *self;
    uint64_t start_wall_ns; /* when the daemon's own counters began */
    bool goes_on;           /* there is a state of an earlier life */
};

/* Likewise for metrics. */
int main_metric_exporter_start(const struct conf *conf, const struct main_metrics *daemon,
                               const struct clock *clock, struct metric_exporter **ret_exporter);

#endif
