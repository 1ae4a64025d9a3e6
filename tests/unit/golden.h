/*
 * Reads the golden profiling cases (tests/data/golden) and compares what was computed with what they
 * expect, by the rules of their README. Whoever drives the rows, in process or through a socket,
 * fills a `golden_figures` for each model. One thread at a time.
 */
#ifndef DWELL_TESTS_GOLDEN_H
#define DWELL_TESTS_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GOLDEN_BUCKETS = 10 }; /* nine bounds and +Inf */

struct golden_row {
    const char *model;
    double ms;
    double cpu_before, cpu_during;
    double memory_before, memory_after;
};

struct golden_reset {
    size_t after_row;
    const char *model; /* NULL: all */
};

struct golden_case {
    const char *name;
    uint64_t max_samples;
    size_t row_count;
    struct golden_row *rows;
    size_t reset_count;
    struct golden_reset *resets;
    void *json; /* what the texts above lie in */
};

/* Fails the test when the file cannot be read. */
void golden_load(const char *path, struct golden_case *ret_golden);
void golden_free(struct golden_case *golden);

/* What was computed for a model. `known` false: it has no samples since the last reset. */
struct golden_figures {
    bool known;
    uint64_t count;
    double p50, p95, p99;
    double mean, deviation, min, max; /* ms */
    double cpu_mean, cpu_peak, memory_mean, memory_peak;
    const char *bottleneck;
    const char *rule;
    /* of /metrics */
    uint64_t bucket[GOLDEN_BUCKETS]; /* cumulative */
    uint64_t total;
    double sum_seconds;
    double cpu_gauge;
};

/* Fills the figures of one model; `ctx` is that of golden_compare. Returns false when nothing at all is
 * known of such a model. */
typedef bool (*golden_figures_fn)(void *ctx, const char *model, struct golden_figures *ret_figures);

/* Compares all models of a case, each rule asserted with the model's name on failure. Returns how many
 * were compared. */
size_t golden_compare(const struct golden_case *golden, golden_figures_fn figures, void *ctx);

#endif
