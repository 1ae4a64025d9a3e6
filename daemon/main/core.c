/*
 * Happy path
 *   1. each part takes its options, and the intake joins them
 *   2. families are declared: the daemon's own, then the configuration's
 *   3. the state of an earlier life is applied; the service says who it is
 *
 * What can fail: memory; families that contradict each other, which the log says.
 */
#include "main/main.h"

#include <time.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/system.h"
#include "main/families.h"
#include "main/options.h"

/* The service says who it is by a record as any other: <namespace>_service_info. */
static int say_service(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    char start[sizeof "2026-01-01T00:00:00+00:00"];
    struct tm utc;
    time_t seconds = (time_t)(dwelld->clock.wall_ns(NULL) / NS_PER_SECOND);
    (void)gmtime_r(&seconds, &utc); /* fails for years past 2^31, which nanoseconds do not reach */
    (void)strftime(start, sizeof start, "%Y-%m-%dT%H:%M:%S+00:00", &utc);
    struct buf name;
    buf_init(&name, RECORD_NAME_MAX);
    buf_puts(&name, conf->metrics.name_space);
    buf_puts(&name, conf->metrics.name_space[0] == '\0' ? "service" : "_service");
    struct metric info = {.op = METRIC_INFO,
                          .weight = 1,
                          .attribute_count = 4,
                          .attributes = {{STR_LITERAL("service_name"), str_of(conf->service.name)},
                                         {STR_LITERAL("version"), str_of(conf->service.version)},
                                         {STR_LITERAL("constitutional_hash"),
                                          str_of(conf->service.constitutional_hash)},
                                         {STR_LITERAL("start_time"), str_of(start)}}};
    info.name = (struct str){name.data, name.len};
    int err = name.err != 0 ? name.err : metrics_record(&dwelld->metrics, &info, &dwelld->own);
    buf_fini(&name);
    return err;
}

/* Our own first: whoever declares one of such a name, or says something else by it, is told. */
static int declare_families(struct dwelld *dwelld)
{
    struct str own = {NULL, 0};
    const char *name = "";
    int err = spans_declare(&dwelld->spans, &own);
    if (err == 0) {
        err = budgets_declare(&dwelld->budgets, &own);
    }
    if (err == 0) {
        err = families_declare(&dwelld->metrics, &dwelld->families, &name);
        own.len = 0;
    }
    if (err != 0) {
        log_error("the metric family %.*s%s cannot be declared: %s", (int)own.len,
                  own.len > 0 ? own.ptr : "", name, err_sentence(err));
    }
    return err;
}

static void init_spans(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct spans_options options = {.name_space = str_of(conf->metrics.name_space),
                                    .max_open = (uint32_t)conf->ingest.max_open_spans,
                                    .max_open_bytes = conf->ingest.max_open_span_bytes,
                                    .sampler = options_sampler(conf)};
    options.sampler.hash_seed = dwelld->hash_seed;
    spans_init(&dwelld->spans, &options, &dwelld->registry, &dwelld->metrics);
}

static int init_budgets(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct budget_option layers[BUDGETS_CONFIGURED_MAX];
    struct budgets_options options = options_budgets(conf, layers);
    options.hash_seed = dwelld->hash_seed;
    return budgets_init(&dwelld->budgets, &options, &dwelld->registry, &dwelld->metrics);
}

int main_core_start(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    if (system_random(&dwelld->hash_seed) != 0 || system_random(&dwelld->process.instance) != 0) {
        return ERR_SYSTEM;
    }
    uint64_t seed = dwelld->hash_seed;
    struct registry_options options = {.window_ns = conf->profiling.window_seconds * NS_PER_SECOND,
                                       .max_samples = conf->profiling.max_samples,
                                       .max_models = (uint32_t)conf->profiling.max_models,
                                       .hash_seed = seed};
    for (size_t i = 0; i < conf->profiling.label_keys.count; i++) {
        options.label_keys[options.label_key_count++] = str_of(conf->profiling.label_keys.texts[i]);
    }
    struct metrics_options metrics = {.max_series = (uint32_t)conf->metrics.max_series,
                                      .max_series_per_family =
                                          (uint32_t)conf->metrics.max_series_per_family,
                                      .max_label_bytes = (uint32_t)conf->metrics.max_label_bytes,
                                      .name_space = str_of(conf->metrics.name_space),
                                      .window_ns = options.window_ns,
                                      .max_set_values = conf->metrics.max_set_values,
                                      .hash_seed = seed};
    options.max_models_per_maker = (uint32_t)conf->profiling.max_models_per_peer;
    metrics.max_series_per_maker = (uint32_t)conf->metrics.max_series_per_peer;
    int err = registry_init(&dwelld->registry, &options);
    if (err == 0) {
        err = metrics_init(&dwelld->metrics, &metrics, &dwelld->registry.limbo);
    }
    if (err == 0) {
        err = ledger_init(&dwelld->ledger, seed);
    }
    if (err == 0) {
        err = witness_init(&dwelld->witness, (uint32_t)conf->profiling.max_watched_threads);
    }
    init_spans(dwelld);
    if (err == 0) {
        err = init_budgets(dwelld);
    }
    bool judges = conf->profiling.classifier == CONF_CLASSIFIER_EVIDENCE;
    bool probes = conf->profiling.probe != CONF_OFF;
    judge_init(&dwelld->judge, &dwelld->registry, &dwelld->witness,
               probes ? &dwelld->probe.machine : &machine_unknown,
               conf->profiling.round_ms * NS_PER_MS);
    dwelld->intake =
        (struct intake){.registry = &dwelld->registry,
                        .metrics = &dwelld->metrics,
                        .spans = &dwelld->spans,
                        .budgets = &dwelld->budgets,
                        .judge = judges ? &dwelld->judge : NULL,
                        .processes = &dwelld->processes,
                        .ledger = &dwelld->ledger,
                        .counters = &dwelld->counters,
                        .constitutional_hash = str_of(conf->service.constitutional_hash),
                        .enforce_hash = conf->service.enforce_hash};
    if (err == 0) {
        metrics_set_time(&dwelld->metrics, dwelld->clock.mono_ns(NULL),
                         dwelld->clock.wall_ns(NULL));
        registry_set_time(&dwelld->registry, dwelld->clock.mono_ns(NULL),
                          dwelld->clock.wall_ns(NULL));
        err = declare_families(dwelld);
    }
    if (err == 0) {
        err = main_state_apply(&dwelld->state, &dwelld->intake, &dwelld->self);
        snapshot_begin_growth(&dwelld->intake);
    }
    return err == 0 ? say_service(dwelld) : err;
}

void main_core_fini(struct dwelld *dwelld)
{
    exporter_close(dwelld->exporter);
    exposition_free(dwelld->context.exposition);
    mem_free(dwelld->context.scratch);
    ingest_fini(&dwelld->ingest);
    spans_fini(&dwelld->spans);
    span_export_fini(&dwelld->span_export);
    budgets_fini(&dwelld->budgets);
    judge_fini(&dwelld->judge);
    metrics_fini(&dwelld->metrics);
    processes_fini(&dwelld->processes);
    witness_fini(&dwelld->witness);
    reloads_fini(&dwelld->counters.reloads, &dwelld->registry.limbo);
    registry_fini(&dwelld->registry);
    ledger_fini(&dwelld->ledger);
    main_state_fini(&dwelld->state);
    mem_free(dwelld->http_address);
}
