#include "main/options.h"

#include "base/clock.h"

static struct gpu_options gpu_options_of(const struct conf *conf)
{
    _Static_assert((int)CONF_GPU_LATENCY == (int)GPU_LATENCY, "in the same order");
    return (struct gpu_options){.peak_tflops = conf->gpu.peak_tflops,
                                .bandwidth_gb = conf->gpu.bandwidth_gb,
                                .launch_us = conf->gpu.launch_us,
                                .transfer_us = conf->gpu.transfer_us,
                                .efficiency_low = conf->gpu.efficiency_low,
                                .efficiency_high = conf->gpu.efficiency_high,
                                .price_low = conf->gpu.price_low,
                                .price_high = conf->gpu.price_high,
                                .cpu_price_low = conf->gpu.cpu_price_low,
                                .cpu_price_high = conf->gpu.cpu_price_high,
                                .cpu_threads = (double)conf->gpu.cpu_threads,
                                .host_threads = (double)conf->gpu.host_threads,
                                .utilization = conf->gpu.utilization,
                                .instances = (double)conf->gpu.instances,
                                .max_latency_ms = conf->gpu.max_latency_ms,
                                .min_speedup = conf->gpu.min_speedup,
                                .max_batch = (uint32_t)conf->gpu.max_batch,
                                .objective = (enum gpu_objective)conf->gpu.objective};
}

struct thresholds options_thresholds(const struct conf *conf)
{
    return (struct thresholds){
        .by_evidence = conf->profiling.classifier == CONF_CLASSIFIER_EVIDENCE,
        .latency_gpu_threshold_ms = conf->profiling.latency_gpu_threshold_ms,
        .cpu_compute_threshold_percent = conf->profiling.cpu_compute_threshold_percent,
        .cpu_io_threshold_percent = conf->profiling.cpu_io_threshold_percent,
        .gpu = gpu_options_of(conf)};
}

struct metrics_limits options_metrics_limits(const struct conf *conf)
{
    return (struct metrics_limits){.max_series = (uint32_t)conf->metrics.max_series,
                                   .max_series_per_family =
                                       (uint32_t)conf->metrics.max_series_per_family,
                                   .max_label_bytes = (uint32_t)conf->metrics.max_label_bytes,
                                   .max_set_values = conf->metrics.max_set_values};
}

struct sampler_options options_sampler(const struct conf *conf)
{
    return (struct sampler_options){.rate = conf->otlp.sample_rate,
                                    .keep_errors = conf->otlp.keep_errors,
                                    .keep_slow_ns = (uint64_t)(conf->otlp.keep_slow_ms * NS_PER_MS),
                                    .keep_wait_ns = conf->otlp.keep_wait_ms * NS_PER_MS,
                                    .max_held = (uint32_t)conf->otlp.max_held_spans,
                                    .max_held_bytes = conf->otlp.max_held_bytes};
}

struct budgets_options options_budgets(const struct conf *conf,
                                       struct budget_option layers[BUDGETS_CONFIGURED_MAX])
{
    _Static_assert((int)CONF_LAYERS_MAX <= (int)BUDGETS_CONFIGURED_MAX, "there is room for all");
    for (size_t i = 0; i < conf->budgets.layers.count; i++) {
        const struct conf_layer *layer = &conf->budgets.layers.layers[i];
        double budget_ms = layer->budget_share > 0 ? layer->budget_share * conf->budgets.total_ms
                                                   : layer->budget_ms;
        layers[i] = (struct budget_option){str_of(layer->layer), budget_ms, layer->soft_limit_pct};
    }
    return (struct budgets_options){.name_space = str_of(conf->metrics.name_space),
                                    .total_ms = conf->budgets.total_ms,
                                    .objective = conf->budgets.objective,
                                    .layers = layers,
                                    .layer_count = (uint32_t)conf->budgets.layers.count};
}
