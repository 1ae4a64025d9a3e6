/*
 * What a model would take and cost on a GPU, from what its inferences compute and move: a roofline with
 * overheads, and machines by the hour.
 *
 *     latency   |- stays on the CPU -|- waits for the batch -|- launch -|- transfer -|- computes -|
 *                   (1-p) T             (b-1) / 2 rate                     b each       max(…)
 *
 * How much of its peak a GPU reaches (the efficiency) and what machines cost are known as ranges only, and
 * so is all that follows. It decides nothing: core/gpu does. Pure; any thread.
 */
#ifndef DWELL_CORE_GPU_ESTIMATE_H
#define DWELL_CORE_GPU_ESTIMATE_H

#include <stdbool.h>
#include <stdint.h>

/* What a GPU would have to do better to be worth it. */
enum gpu_objective { GPU_COST, GPU_LATENCY, GPU_OBJECTIVE_COUNT };

/* "cost", "latency" */
extern const char *const gpu_objective_names[GPU_OBJECTIVE_COUNT];

/* The constants, as the group `gpu` of the configuration has them. Without padding: compared by bytes. */
struct gpu_options {
    double peak_tflops; /* 10^12 operations a second */
    double bandwidth_gb;
    double launch_us;   /* a batch */
    double transfer_us; /* an inference */
    double efficiency_low, efficiency_high;
    double price_low, price_high; /* of a machine with a GPU, an hour */
    double cpu_price_low, cpu_price_high;
    double cpu_threads;    /* of a machine without, */
    double host_threads;   /* and of one with */
    double utilization;    /* of either, at most */
    double instances;      /* services like this one */
    double max_latency_ms; /* 0: the p99 on the CPU */
    double min_speedup;
    uint32_t max_batch;
    enum gpu_objective objective;
};

/* A model as it runs on the CPU. */
struct gpu_load {
    double mean_ms, p99_ms;
    double movable;            /* p: the part of its time that a GPU could take over, 0 to 1 */
    double cpu_ms;             /* CPU time of an inference */
    double rate;               /* inferences a second, of one service; NaN: not known */
    double flops, bytes_moved; /* of an inference; 0: not said */
};

/* Over all that is not known, and in the middle of it. */
struct gpu_range {
    double low, point, high;
};

struct gpu_estimate {
    double rate; /* of all services */
    double p99_limit_ms;
    struct gpu_range batch; /* the best */
    struct gpu_range time_ms, p99_ms;
    struct gpu_range speedup;            /* of the mean latency */
    struct gpu_range cpu_cost, gpu_cost; /* of 1,000 inferences; NaN without a rate, */
    double cpu_machines, gpu_machines;   /* as these, of the middle */
    struct gpu_range
        break_even;     /* rate of all services from which on a GPU is cheaper; or infinite */
    bool fits;          /* p99 stays within its limit at the middle */
    bool by_cost;       /* the objective is a saving; else a speed-up of gpu.min_speedup */
    double probability; /* that it is reached, p99 within its limit */
};

void gpu_estimate(const struct gpu_options *options, const struct gpu_load *load,
                  struct gpu_estimate *ret_estimate);

/* How likely `cpu` is above `gpu`, when both are machines times an unknown price. */
double gpu_saving_probability(const struct gpu_options *options, double cpu_machines,
                              double gpu_machines);

/* Machines that a rate takes, one at least; beyond it parts of one, as they are shared. */
double gpu_machines(double rate, double capacity);

/* Inferences a second that a machine takes: without a GPU, and with one that works on them by so many,
 * while its host does what stays on the CPU. */
double gpu_cpu_capacity(const struct gpu_options *options, const struct gpu_load *load);
double gpu_batch_capacity(const struct gpu_options *options, const struct gpu_load *load,
                          double efficiency, double batch);

#endif
