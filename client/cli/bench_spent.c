#include "cli/bench_spent.h"

#include <math.h>

enum { TICKS_LEAST = 10 }; /* with fewer the division is a matter of chance */

struct spent spent_unknown(void)
{
    return (struct spent){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
}

/* Counters of the kernel only grow; one that does not is of another process. */
static double grown(uint64_t before, uint64_t after)
{
    return after >= before ? (double)(after - before) : (double)NAN;
}

/* fmin would take the other one for NaN. */
static double at_most(double figure, double most)
{
    return figure > most ? most : figure;
}

/* The part of its CPU time that was system time: since `first`, or if that is too short since the
 * process began. */
static double system_share(const struct usage *first, const struct usage *after)
{
    double user = grown(first->user_ticks, after->user_ticks);
    double system = grown(first->system_ticks, after->system_ticks);
    if (!(user + system >= TICKS_LEAST)) {
        user = (double)after->user_ticks;
        system = (double)after->system_ticks;
    }
    return user + system > 0 ? system / (user + system) : 0;
}

static void take_cpu(struct spent *spent, const struct usage *first, const struct usage *before,
                     const struct usage *after, double latency_ms)
{
    double cpu_ms = at_most(grown(before->cpu_ns, after->cpu_ns) / 1e6, latency_ms);
    double share = system_share(first, after);
    spent->user_ms = cpu_ms * (1 - share);
    spent->system_ms = cpu_ms * share;
    spent->runqueue_ms =
        at_most(grown(before->runqueue_ns, after->runqueue_ns) / 1e6, latency_ms - cpu_ms);
}

/* Its threads cannot be on more CPUs than there are. */
static void take_process_cpu(struct spent *spent, const struct usage *before,
                             const struct usage *after, double latency_ms, unsigned cpus)
{
    double at_once = after->has_stat ? fmin((double)after->threads, cpus) : cpus;
    double cpu_ms = grown(before->process_cpu_ns, after->process_cpu_ns) / 1e6;
    spent->process_cpu_ms = at_most(cpu_ms, latency_ms * at_once);
    spent->cpu_percent = latency_ms > 0 ? 100 * spent->process_cpu_ms / latency_ms : (double)NAN;
}

struct spent spent_between(const struct usage *first, const struct usage *before,
                           const struct usage *after, double latency_ms, unsigned cpus)
{
    struct spent spent = spent_unknown();
    if (before->has_process_cpu && after->has_process_cpu) {
        take_process_cpu(&spent, before, after, latency_ms, cpus);
    }
    if (before->has_schedstat && after->has_schedstat && after->has_stat) {
        take_cpu(&spent, first, before, after, latency_ms);
    }
    if (before->has_stat && after->has_stat) {
        spent.minor_faults = grown(before->minor_faults, after->minor_faults);
        spent.major_faults = grown(before->major_faults, after->major_faults);
        spent.threads = (double)after->threads;
    }
    if (before->has_status && after->has_status) {
        spent.voluntary_switches = grown(before->voluntary_switches, after->voluntary_switches);
        spent.involuntary_switches =
            grown(before->involuntary_switches, after->involuntary_switches);
        spent.memory_mb_before = (double)before->resident_kb / 1024;
        spent.memory_mb_after = (double)after->resident_kb / 1024;
    }
    if (before->has_disk && after->has_disk) {
        spent.disk_bytes = grown(before->disk_bytes, after->disk_bytes);
    }
    return spent;
}
