/*
 * Happy path
 *   1. what the service is called becomes the resource of both signals
 *   2. the exporters start, as far as the configuration wants them
 *
 * What can fail: memory, a thread. What is wrong with files and module leaves an exporter that drops.
 */
#include "main/main.h"

int main_exports_start(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    for (size_t i = 0; i < conf->service.attributes.count; i++) {
        const struct conf_pair *pair = &conf->service.attributes.pairs[i];
        dwelld->attributes[i] = (struct label){str_of(pair->key), str_of(pair->value)};
    }
    dwelld->resource = (struct otlp_resource_options){
        .service_name = str_of(conf->service.name),
        .service_version = str_of(conf->service.version),
        .environment = str_of(conf->service.environment),
        .constitutional_hash = str_of(conf->service.constitutional_hash),
        .attributes = dwelld->attributes,
        .attribute_count = conf->service.attributes.count,
        .dwelld_version = STR_LITERAL(DWELL_VERSION)};
    int err = main_exporter_start(conf, &dwelld->resource, &dwelld->clock, &dwelld->exporter);
    if (err == 0 && dwelld->exporter != NULL) {
        span_export_init(&dwelld->span_export, dwelld->exporter,
                         str_of(conf->service.constitutional_hash));
        struct sampler_sink sink = span_export_sink(&dwelld->span_export);
        spans_export_to(&dwelld->spans, &sink);
        self_add_export(&dwelld->self, exporter_queue(dwelld->exporter));
    }
    struct main_metrics metrics = {.resource = &dwelld->resource,
                                   .registry = &dwelld->registry,
                                   .handover = &dwelld->handover,
                                   .self = &dwelld->self,
                                   .start_wall_ns =
                                       main_state_since(&dwelld->state, &dwelld->clock),
                                   .goes_on = dwelld->state.goes_on};
    return err != 0 ? err
                    : main_metric_exporter_start(conf, &metrics, &dwelld->clock,
                                                 &dwelld->metric_exporter);
}
