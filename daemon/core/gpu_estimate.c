/*
 * Happy path
 *   1. for each of a row of efficiencies: the batch that suits the objective best, among those that keep
 *      p99 within its limit
 *   2. what it takes there, and how likely it saves money at all the prices
 *   3. ranges over the row, and the mean of the probabilities
 *
 * What can fail: nothing. Figures that cannot be had are NaN, and a time without end is infinite.
 */
#include "core/gpu_estimate.h"

#include <math.h>
#include <stddef.h>

#define MS_PER_S       1e3
#define US_PER_MS      1e3
#define S_PER_HOUR     3600.0
#define FLOPS_PER_TERA 1e12
#define BYTES_PER_GB   1e9

/* Of efficiencies, evenly from the lowest to the highest. Odd: one is the middle. A coarser row would
 * let the probability jump by more than the tenth that decides. */
enum { NODES = 33, MIDDLE = NODES / 2 };

const char *const gpu_objective_names[] = {"cost", "latency"};
_Static_assert(sizeof gpu_objective_names / sizeof gpu_objective_names[0] == GPU_OBJECTIVE_COUNT,
               "one each");
_Static_assert(sizeof(struct gpu_options) ==
                   offsetof(struct gpu_options, objective) + sizeof(enum gpu_objective),
               "no padding");

struct task {
    const struct gpu_options *options;
    const struct gpu_load *load;
    double rate;
    double p99_limit_ms;
    bool by_cost;
};

/* A batch size, and what comes of it. */
struct plan {
    double batch;
    double time_ms, p99_ms;
    double machines; /* NaN without a rate */
    bool fits;
};

/* --- one batch --------------------------------------------------------------------------------- */

static double seconds_for(double amount, double per_second)
{
    return amount > 0 ? amount / per_second : 0;
}

/* Of a whole batch, from its launch to its results. */
static double batch_ms(const struct gpu_options *options, const struct gpu_load *load,
                       double efficiency, double batch)
{
    double compute =
        seconds_for(batch * load->flops, efficiency * options->peak_tflops * FLOPS_PER_TERA);
    double move =
        seconds_for(batch * load->bytes_moved, efficiency * options->bandwidth_gb * BYTES_PER_GB);
    double overhead_us = options->launch_us + batch * options->transfer_us;
    return fmax(compute, move) * MS_PER_S + overhead_us / US_PER_MS;
}

/* CPU time that an inference goes on to take. One thread's is part of the latency; of more threads, each
 * gives up as much of its time. */
static double staying_cpu_ms(const struct gpu_load *load)
{
    double in_latency_ms = fmin(load->cpu_ms, load->mean_ms);
    double stays = 1 - load->movable * load->mean_ms / in_latency_ms;
    return stays > 0 ? stays * load->cpu_ms : 0;
}

double gpu_cpu_capacity(const struct gpu_options *options, const struct gpu_load *load)
{
    return options->utilization * options->cpu_threads * MS_PER_S / load->cpu_ms;
}

double gpu_batch_capacity(const struct gpu_options *options, const struct gpu_load *load,
                          double efficiency, double batch)
{
    double gpu = batch / batch_ms(options, load, efficiency, batch);
    double host = options->host_threads / staying_cpu_ms(load);
    return options->utilization * fmin(gpu, host) * MS_PER_S;
}

double gpu_machines(double rate, double capacity)
{
    return rate > capacity ? rate / capacity : 1;
}

/* The mean inference waits for half of a batch to come, the first of a batch for all of it. */
static struct plan plan_of(const struct task *task, double efficiency, double batch)
{
    const struct gpu_load *load = task->load;
    double stays = 1 - load->movable;
    double took = batch_ms(task->options, load, efficiency, batch);
    double fill_ms = batch > 1 ? (batch - 1) / task->rate * MS_PER_S : 0;
    struct plan plan = {.batch = batch,
                        .time_ms = stays * load->mean_ms + took + fill_ms / 2,
                        .p99_ms = stays * load->p99_ms + took + fill_ms,
                        .machines = NAN};
    plan.fits = plan.p99_ms <= task->p99_limit_ms;
    if (!isnan(task->rate)) {
        plan.machines =
            gpu_machines(task->rate, gpu_batch_capacity(task->options, load, efficiency, batch));
    }
    return plan;
}

/* --- the best batch ---------------------------------------------------------------------------- */

/* Powers of two, for which kernels are made. A larger batch takes every inference longer, so it is good for
 * fewer machines alone: none is looked at for speed, beyond the one machine that there must be, or past the
 * limit on p99. */
static struct plan best_plan(const struct task *task, double efficiency)
{
    struct plan best = plan_of(task, efficiency, 1);
    uint64_t batch = 2;
    while (task->by_cost && best.fits && best.machines > 1 && batch <= task->options->max_batch) {
        struct plan plan = plan_of(task, efficiency, (double)batch);
        if (!plan.fits) {
            break;
        }
        best = plan.machines < best.machines ? plan : best;
        batch *= 2;
    }
    return best;
}

/* --- money ------------------------------------------------------------------------------------- */

/* The integral from 0 to x of how likely a price that lies anywhere from low to high is below. */
static double ramp_integral(double x, double low, double high)
{
    if (x <= low) {
        return 0;
    }
    return x < high ? (x - low) * (x - low) / (2 * (high - low)) : x - (low + high) / 2;
}

double gpu_saving_probability(const struct gpu_options *options, double cpu_machines,
                              double gpu_machines)
{
    double low = options->price_low;
    double high = options->price_high;
    /* A GPU saves where its machine costs less than `ratio` times the other. */
    double ratio = cpu_machines / gpu_machines;
    double from = ratio * options->cpu_price_low;
    double to = ratio * options->cpu_price_high;
    if (to > from) {
        double below = ramp_integral(to, low, high) - ramp_integral(from, low, high);
        return fmin(below / (to - from), 1);
    }
    return high > low ? fmin(fmax((from - low) / (high - low), 0), 1) : low < from ? 1 : 0;
}

static double cost_of_1000(double price, double machines, double rate)
{
    return price * machines / (S_PER_HOUR * rate) * 1000;
}

static double middle_of(double low, double high)
{
    return low + (high - low) / 2;
}

/* The rate from which on a GPU is the cheaper one, by batches of this size, which must fill in time for
 * p99: where CPUs have become so many machines that they cost what one with a GPU does. Infinite: never, as
 * a GPU costs more for each inference even when it is busy. */
static double break_even_of(const struct task *task, double efficiency, double batch, double price,
                            double cpu_price)
{
    double cpu_capacity = gpu_cpu_capacity(task->options, task->load);
    double capacity = gpu_batch_capacity(task->options, task->load, efficiency, batch);
    double slack_ms = task->p99_limit_ms - (1 - task->load->movable) * task->load->p99_ms -
                      batch_ms(task->options, task->load, efficiency, batch);
    if (price / capacity >= cpu_price / cpu_capacity || slack_ms < 0) {
        return INFINITY;
    }
    double cheaper = price < cpu_price ? 0 : cpu_capacity * price / cpu_price;
    double fills = batch > 1 ? (batch - 1) * MS_PER_S / slack_ms : 0;
    return fmax(cheaper, fills);
}

static double break_even(const struct task *task, double efficiency, double price, double cpu_price)
{
    double least = INFINITY;
    for (uint64_t batch = 1; batch <= task->options->max_batch; batch *= 2) {
        least = fmin(least, break_even_of(task, efficiency, (double)batch, price, cpu_price));
    }
    return least;
}

/* --- all together ------------------------------------------------------------------------------ */

static struct gpu_range range_start(void)
{
    return (struct gpu_range){INFINITY, NAN, -INFINITY};
}

static void range_take(struct gpu_range *range, double figure, bool is_middle)
{
    range->low = fmin(range->low, figure);
    range->high = fmax(range->high, figure);
    range->point = is_middle ? figure : range->point;
}

/* How likely a plan reaches the objective. */
static double chance_of(const struct task *task, const struct plan *plan, double cpu_machines)
{
    if (!plan->fits) {
        return 0;
    }
    if (task->by_cost) {
        return gpu_saving_probability(task->options, cpu_machines, plan->machines);
    }
    return plan->time_ms * task->options->min_speedup <= task->load->mean_ms ? 1 : 0;
}

static void walk(const struct task *task, struct gpu_estimate *ret, struct gpu_range *ret_machines)
{
    const struct gpu_options *options = task->options;
    double chances = 0;
    for (int i = 0; i < NODES; i++) {
        double step = (options->efficiency_high - options->efficiency_low) / (NODES - 1);
        struct plan plan = best_plan(task, options->efficiency_low + i * step);
        bool is_middle = i == MIDDLE;
        range_take(&ret->batch, plan.batch, is_middle);
        range_take(&ret->time_ms, plan.time_ms, is_middle);
        range_take(&ret->p99_ms, plan.p99_ms, is_middle);
        range_take(&ret->speedup, task->load->mean_ms / plan.time_ms, is_middle);
        range_take(ret_machines, plan.machines, is_middle);
        ret->fits = is_middle ? plan.fits : ret->fits;
        /* The ends stand for half as much as the others. */
        chances += chance_of(task, &plan, ret->cpu_machines) * (i == 0 || i == NODES - 1 ? 0.5 : 1);
    }
    ret->probability = chances / (NODES - 1);
}

static void put_costs(const struct task *task, const struct gpu_range *machines,
                      struct gpu_estimate *ret)
{
    const struct gpu_options *options = task->options;
    double price = middle_of(options->price_low, options->price_high);
    double cpu_price = middle_of(options->cpu_price_low, options->cpu_price_high);
    double middle = middle_of(options->efficiency_low, options->efficiency_high);
    ret->gpu_machines = machines->point;
    ret->cpu_cost =
        (struct gpu_range){cost_of_1000(options->cpu_price_low, ret->cpu_machines, task->rate),
                           cost_of_1000(cpu_price, ret->cpu_machines, task->rate),
                           cost_of_1000(options->cpu_price_high, ret->cpu_machines, task->rate)};
    ret->gpu_cost =
        (struct gpu_range){cost_of_1000(options->price_low, machines->low, task->rate),
                           cost_of_1000(price, machines->point, task->rate),
                           cost_of_1000(options->price_high, machines->high, task->rate)};
    ret->break_even = (struct gpu_range){
        break_even(task, options->efficiency_high, options->price_low, options->cpu_price_high),
        break_even(task, middle, price, cpu_price),
        break_even(task, options->efficiency_low, options->price_high, options->cpu_price_low)};
}

void gpu_estimate(const struct gpu_options *options, const struct gpu_load *load,
                  struct gpu_estimate *ret_estimate)
{
    struct task task = {.options = options,
                        .load = load,
                        .rate = load->rate * options->instances,
                        .p99_limit_ms =
                            options->max_latency_ms > 0 ? options->max_latency_ms : load->p99_ms,
                        .by_cost = options->objective == GPU_COST && !isnan(load->rate)};
    struct gpu_range machines = range_start();
    *ret_estimate = (struct gpu_estimate){.rate = task.rate,
                                          .p99_limit_ms = task.p99_limit_ms,
                                          .batch = range_start(),
                                          .time_ms = range_start(),
                                          .p99_ms = range_start(),
                                          .speedup = range_start(),
                                          .cpu_machines = NAN,
                                          .by_cost = task.by_cost};
    if (!isnan(task.rate)) {
        ret_estimate->cpu_machines = gpu_machines(task.rate, gpu_cpu_capacity(options, load));
    }
    walk(&task, ret_estimate, &machines);
    put_costs(&task, &machines, ret_estimate);
}
