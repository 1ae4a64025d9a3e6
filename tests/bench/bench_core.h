/*
 * A core for the benches: everything behind the sink, with room for many models and series.
 * One in each bench; it is never freed.
 */
#ifndef DWELL_TESTS_BENCH_CORE_H
#define DWELL_TESTS_BENCH_CORE_H

#include <stdlib.h>

#include "base/clock.h"
#include "core/intake.h"

enum { BENCH_MODELS_MAX = 1000, BENCH_SERIES_MAX = 200000, BENCH_OPEN_SPANS_MAX = 16384 };

static struct registry registry;
static struct metrics metrics;
static struct spans spans;
static struct budgets budgets;
static struct processes processes;
static struct ledger ledger;
static struct counters counters;
static struct intake intake = {.registry = &registry,
                               .metrics = &metrics,
                               .spans = &spans,
                               .budgets = &budgets,
                               .processes = &processes,
                               .ledger = &ledger,
                               .counters = &counters};

static inline void bench_core_init(void)
{
    struct registry_options options = {
        .window_ns = 300 * NS_PER_SECOND, .max_models = BENCH_MODELS_MAX, .hash_seed = 1};
    struct metrics_options clients = {.max_series = BENCH_SERIES_MAX,
                                      .max_series_per_family = BENCH_SERIES_MAX,
                                      .max_label_bytes = 256,
                                      .name_space = STR_LITERAL("acgs2"),
                                      .window_ns = options.window_ns,
                                      .max_set_values = 1000000,
                                      .hash_seed = 1};
    hist_init_tables();
    tally_init_tables();
    if (registry_init(&registry, &options) != 0 ||
        metrics_init(&metrics, &clients, &registry.limbo) != 0 || ledger_init(&ledger, 1) != 0) {
        abort();
    }
    struct spans_options halves = {.name_space = clients.name_space,
                                   .max_open = BENCH_OPEN_SPANS_MAX,
                                   .max_open_bytes = SIZE_MAX,
                                   .sampler = {.rate = 1, .hash_seed = 1}};
    spans_init(&spans, &halves, &registry, &metrics);
    struct budgets_options layers = {
        .name_space = clients.name_space, .total_ms = 50, .hash_seed = 1};
    if (budgets_init(&budgets, &layers, &registry, &metrics) != 0) {
        abort();
    }
}

#endif
