/*
 * Workloads of several parts, one after the other, and ones that hardly get a CPU.
 *
 * Halves and thirds are of no class: taking away any one part makes the inference at most twice as
 * fast. With 70 % the larger part is what to look at first, but to say `mixed` is no mistake; with
 * 90 % it would be one.
 */
#include <stddef.h>

#include "workload.h"

#define MIXED(name_, argument_, ...)                                                               \
    {                                                                                              \
        .name = name_, .truth = "unknown", .reason = "mixed", .argument = argument_,               \
        .size = SIZE_DRAM, .parts = {__VA_ARGS__},                                                 \
    }

#define MOSTLY(name_, truth_, also_, argument_, ...)                                               \
    {                                                                                              \
        .name = name_, .truth = truth_, .also = also_, .argument = argument_, .size = SIZE_DRAM,   \
        .parts = {__VA_ARGS__},                                                                    \
    }

#define SETTING(name_, setting_, truth_, reason_, argument_, size_, run_, ms_)                     \
    {                                                                                              \
        .name = name_, .setting = setting_, .truth = truth_, .reason = reason_,                    \
        .argument = argument_, .size = size_, .parts = {{run_, ms_}},                              \
    }

static void socket_once(size_t units)
{
    (void)units;
    wait_socket(1);
}

const struct workload mixed_workloads[] = {
    MIXED("half-compute-sleep", "computes 3 ms, sleeps 3 ms", {compute_spin, 3}, {wait_sleep, 3}),
    MIXED("half-memory-sleep", "reads memory 3 ms, sleeps 3 ms", {memory_sum, 3}, {wait_sleep, 3}),
    MIXED("half-compute-memory", "computes 3 ms, reads memory 3 ms", {compute_spin, 3},
          {memory_sum, 3}),
    {.name = "half-compute-chase",
     .truth = "unknown",
     .reason = "mixed",
     .argument = "computes 3 ms, follows pointers through memory 3 ms",
     .size = SIZE_DRAM,
     .prepare = memory_prepare_chase,
     .parts = {{compute_spin, 3}, {memory_chase, 3}}},
    {.name = "half-compute-socket",
     .truth = "unknown",
     .reason = "mixed",
     .argument = "computes 5 ms, waits for a server 5 ms",
     .prepare = wait_prepare_socket,
     .parts = {{compute_spin, 5}, {socket_once, 0}}},
    MIXED("third-each", "computes, reads memory and sleeps, 2 ms each", {compute_spin, 2},
          {memory_sum, 2}, {wait_sleep, 2}),
    MOSTLY("compute-70-sleep-30", "compute_bound", "mixed", "computes 7 ms, sleeps 3 ms",
           {compute_spin, 7}, {wait_sleep, 3}),
    MOSTLY("compute-30-sleep-70", "io_bound", "mixed", "computes 3 ms, sleeps 7 ms",
           {compute_spin, 3}, {wait_sleep, 7}),
    MOSTLY("compute-70-memory-30", "compute_bound", "mixed", "computes 7 ms, reads memory 3 ms",
           {compute_spin, 7}, {memory_sum, 3}),
    MOSTLY("compute-30-memory-70", "memory_bound", "mixed", "computes 3 ms, reads memory 7 ms",
           {compute_spin, 3}, {memory_sum, 7}),
    MOSTLY("memory-70-sleep-30", "memory_bound", "mixed", "reads memory 7 ms, sleeps 3 ms",
           {memory_sum, 7}, {wait_sleep, 3}),
    MOSTLY("memory-30-sleep-70", "io_bound", "mixed", "reads memory 3 ms, sleeps 7 ms",
           {memory_sum, 3}, {wait_sleep, 7}),
    MOSTLY("compute-90-sleep-10", "compute_bound", NULL, "computes 9 ms, sleeps 1 ms",
           {compute_spin, 9}, {wait_sleep, 1}),
    MOSTLY("compute-10-sleep-90", "io_bound", NULL, "computes 1 ms, sleeps 9 ms", {compute_spin, 1},
           {wait_sleep, 9}),
    MOSTLY("compute-10-memory-90", "memory_bound", NULL, "computes 1 ms, reads memory 9 ms",
           {compute_spin, 1}, {memory_sum, 9}),
    SETTING("nice-compute", "nice", "unknown", "starved",
            "gets 3 % of a CPU beside as many hogs as there are CPUs", SIZE_NONE, compute_spin,
            1.5),
    SETTING("nice-memory", "nice", "unknown", "starved",
            "gets 3 % of a CPU beside as many hogs as there are CPUs", SIZE_DRAM, memory_sum, 1.5),
    SETTING("idle-policy", "idle", "unknown", "starved",
            "runs when nobody else wants to, and somebody does", SIZE_NONE, compute_spin, 1),
    SETTING("quota-5", "quota:5", "unknown", "starved", "may run 5 ms of each 100", SIZE_NONE,
            compute_spin, 4),
    SETTING("quota-50", "quota:50", "compute_bound", NULL,
            "computes whenever it may, and it may for half of the time", SIZE_NONE, compute_spin,
            10),
    {.name = NULL},
};
