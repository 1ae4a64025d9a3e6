/*
 * Happy path:
 *   1. a sample with user and system time is brought to what can be, part by part: CPU time first,
 *      since what is left of the wall time beside it bounds the rest;
 *   2. it is added to the sums; a range where nobody said the wait for a CPU.
 *
 * What can fail: nothing. Figures that cannot be (a clock that jumped, a counter that wrapped, a unit
 * mistaken) are cut to the most that can be, and the caller is told. The decoders have refused what is
 * negative or no number.
 */
#include "core/evidence.h"

#include <assert.h>

/* Two clocks that are read one after the other differ by so much without anybody being wrong: they run
 * at speeds that are adjusted, and between the readings there are some microseconds. */
#define CLOCK_ERROR_SHARE 0.02
#define CLOCK_ERROR_MS    0.01

/* The kernel brings run-queue time up to date once in a tick, of 10 ms at most. */
#define RUNQUEUE_ERROR_MS 10

/* Who is put off a CPU waits for one slice of somebody else, usually. */
#define SLICE_MS 4

/* CPU time of a process whose threads nobody counted: more CPUs than this are not believed. */
#define CPUS_MAX 1024

/* Quicker than any machine was seen to fault (1.6 µs) or to switch (1 µs). A 32-bit counter that wrapped
 * shows 2^32 less something: that would take 7 minutes even so. */
#define EVENT_MS_MIN 0.0001
#define EVENTS_ERROR 64 /* what the reading itself may cause */

/* To and from disks: what memory does not do. */
#define BYTES_PER_MS 1e9
#define BYTES_ERROR  1048576

static double clock_error(double ms)
{
    return ms * CLOCK_ERROR_SHARE + CLOCK_ERROR_MS;
}

/* Cuts a figure. Returns whether it was below the ceiling but for the error. */
static bool cut(double *figure, double ceiling, double error)
{
    bool good = *figure <= ceiling + error;
    *figure = *figure < ceiling ? *figure : ceiling;
    return good;
}

static double part_or_0(const struct sample *sample, enum sample_part part, double figure)
{
    return (sample->has & 1u << part) != 0 ? figure : 0;
}

/* The most CPU time there can be in an inference. Without a number of threads it is that of one when
 * it looks so, else of a process with any number. */
static double cpu_ceiling(const struct sample *sample, double cpu)
{
    double wall = sample->execution_time_ms;
    if (SAMPLE_HAS(sample, THREADS)) {
        return wall * (sample->threads > 1 ? sample->threads : 1);
    }
    return cpu <= wall + clock_error(wall) ? wall : wall * CPUS_MAX;
}

/* Adds user and system time, and returns their sum. */
static bool add_cpu(struct evidence *evidence, const struct sample *sample, double *ret_cpu)
{
    double said = sample->user_ms + sample->system_ms;
    double ceiling = cpu_ceiling(sample, said);
    double cpu = said;
    bool good = cut(&cpu, ceiling, clock_error(ceiling));
    double scale = said > 0 ? cpu / said : 0;
    evidence->user_ms += sample->user_ms * scale;
    evidence->system_ms += sample->system_ms * scale;
    *ret_cpu = cpu;
    return good;
}

/*
 *     wall |------- CPU -------|------ idle ------|      several threads: idle of all of them is more,
 *                              |-- ready --|             but only the inference's own wall counts
 */
static bool add_runqueue(struct evidence *evidence, const struct sample *sample, double cpu)
{
    double wall = sample->execution_time_ms;
    double idle = wall > cpu ? wall - cpu : 0;
    if (SAMPLE_HAS(sample, RUNQUEUE)) {
        double ready = sample->runqueue_ms;
        bool good = ready <= cpu_ceiling(sample, cpu) - cpu + RUNQUEUE_ERROR_MS;
        ready = ready < idle ? ready : idle;
        evidence->runqueue_low_ms += ready;
        evidence->runqueue_high_ms += ready;
        evidence->runqueue_said++;
        return good;
    }
    double high = idle;
    if (SAMPLE_HAS(sample, INVOLUNTARY_SWITCHES)) {
        double slices = SLICE_MS * sample->involuntary_switches;
        high = slices < idle ? slices : idle;
    }
    evidence->runqueue_high_ms += high;
    return true;
}

static bool add_counts(struct evidence *evidence, const struct sample *sample, double cpu)
{
    double wall = sample->execution_time_ms;
    double minor = part_or_0(sample, SAMPLE_MINOR_FAULTS, sample->minor_faults);
    double major = part_or_0(sample, SAMPLE_MAJOR_FAULTS, sample->major_faults);
    double voluntary = part_or_0(sample, SAMPLE_SWITCHES, sample->voluntary_switches);
    double involuntary =
        part_or_0(sample, SAMPLE_INVOLUNTARY_SWITCHES, sample->involuntary_switches);
    double bytes = part_or_0(sample, SAMPLE_DISK_BYTES, sample->disk_bytes);
    double threads = SAMPLE_HAS(sample, THREADS) && sample->threads > 1 ? sample->threads : 1;
    double time = cpu > wall * threads ? cpu : wall * threads;
    double events_max = time / EVENT_MS_MIN + EVENTS_ERROR;
    bool good = cut(&minor, events_max, 0);
    good &= cut(&major, events_max, 0);
    good &= cut(&voluntary, events_max, 0);
    good &= cut(&involuntary, events_max, 0);
    good &= cut(&bytes, wall * BYTES_PER_MS + BYTES_ERROR, 0);
    evidence->minor_faults += minor;
    evidence->major_faults += major;
    evidence->voluntary_switches += voluntary;
    evidence->involuntary_switches += involuntary;
    evidence->disk_bytes += bytes;
    return good;
}

static bool add_process(struct evidence *evidence, const struct sample *sample, double cpu)
{
    if (!SAMPLE_HAS(sample, PROCESS_CPU)) {
        return true;
    }
    double wall = sample->execution_time_ms;
    double process = sample->process_cpu_ms;
    bool good = cut(&process, wall * CPUS_MAX, clock_error(wall * CPUS_MAX));
    good &= process >= cpu - clock_error(cpu);
    evidence->process_said++;
    evidence->process_wall_ms += wall;
    evidence->process_cpu_ms += process > cpu ? process : cpu;
    evidence->process_thread_ms += cpu;
    return good;
}

static void add_hints(struct evidence *evidence, const struct sample *sample)
{
    if (SAMPLE_HAS(sample, BYTES_MOVED)) {
        evidence->bytes_said++;
        evidence->bytes_moved += sample->bytes_moved;
        evidence->bytes_wall_ms += sample->execution_time_ms;
    }
    if (SAMPLE_HAS(sample, FLOPS)) {
        evidence->flops_said++;
        evidence->flops += sample->flops;
        evidence->flops_wall_ms += sample->execution_time_ms;
    }
}

bool evidence_add(struct evidence *evidence, const struct sample *sample)
{
    assert(evidence_is_in(sample));
    double cpu = 0;
    evidence->inferences++; /* nobody saw what the others used that it may stand for */
    evidence->wall_ms += sample->execution_time_ms;
    bool good = add_cpu(evidence, sample, &cpu);
    good &= add_runqueue(evidence, sample, cpu);
    good &= add_counts(evidence, sample, cpu);
    good &= add_process(evidence, sample, cpu);
    add_hints(evidence, sample);
    if (SAMPLE_HAS(sample, THREADS) && sample->threads > evidence->threads) {
        evidence->threads = sample->threads;
    }
    return good;
}
