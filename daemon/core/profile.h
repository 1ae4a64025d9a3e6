/*
 * What a reader wants to know of one model: quantiles, means, shares and the verdict, computed from
 * a snapshot. It renders nothing. Any thread; one scratch for each thread.
 */
#ifndef DWELL_CORE_PROFILE_H
#define DWELL_CORE_PROFILE_H

#include "core/gpu.h"
#include "core/snapshot.h"

/* Samples of the window with evidence, from which on they are too few only for an opinion that says so:
 * below it the thresholds decide in its place. */
enum { PROFILE_EVIDENCE_MIN = 30 };

enum profile_span {
    PROFILE_WINDOW, /* the last window; when that is empty, everything since the reset */
    PROFILE_ALL,    /* everything since the reset */
};

enum quantile { QUANTILE_50, QUANTILE_90, QUANTILE_95, QUANTILE_99, QUANTILE_999, QUANTILE_COUNT };

/* Per mille: 500, 900, … */
extern const uint32_t quantile_per_mille[QUANTILE_COUNT];

/* Figures that are not known are NaN. */
struct profile {
    const struct model_id *id;
    enum profile_span span; /* what the figures are of, after falling back */
    uint64_t count;         /* samples; 0: nothing since the reset, and no other member is set */
    uint64_t errors;
    double quantile_ms[QUANTILE_COUNT];
    double mean_ms, deviation_ms, min_ms, max_ms;
    double queue_mean_ms;                  /* of samples that tell it */
    double cpu_mean, cpu_peak;             /* percent */
    double memory_mean_mb, memory_peak_mb; /* MiB */
    uint64_t evidence_count;
    double evidence_wall_ms;
    double state_ms[STATE_COUNT];
    double flops, bytes_moved; /* of one inference, as samples hint at */
    struct verdict verdict;
    struct gpu_answer gpu; /* why it says what it says of a GPU */
};

/* Bucket counts added up from several tallies; zero between calls. Large: allocate it. */
struct profile_scratch {
    uint64_t counts[HIST_BUCKETS];
};

/* Returns the number of samples that the figures are of. */
uint64_t profile_compute(const struct snapshot *snapshot, const struct model *model,
                         enum profile_span span, struct profile_scratch *scratch,
                         struct profile *ret_profile);

/* Quantiles, and nothing else, of what the window holds; false, and NaN, when it is empty. */
bool profile_window_quantiles(const struct snapshot *snapshot, const struct model *model,
                              struct profile_scratch *scratch, double ret_ms[QUANTILE_COUNT]);

/* The same of these tallies, at most REGISTRY_PARTS_MAX. */
bool profile_tally_quantiles(const struct tally *const *tallies, uint32_t count,
                             struct profile_scratch *scratch, double ret_ms[QUANTILE_COUNT]);

/* Sums since the start, resets aside: what /metrics counts. */
void profile_totals(const struct model *model, struct sums *ret_sums,
                    struct tally_extra *ret_extra);

/* Latencies since the start, resets aside, added up by position in scratch->counts, from *ret_first to
 * before *ret_end, both multiples of HIST_CHUNK_BUCKETS; profile_clear must follow. Returns how many
 * counted as zero. */
uint64_t profile_total_latencies(const struct model *model, struct profile_scratch *scratch,
                                 int *ret_first, int *ret_end);
void profile_clear(struct profile_scratch *scratch, int first, int end);

/* Quantile q of n is the ceil(q n)-th smallest; the figure of a bucket is the one whose relative
 * distance to both its ends is the same, at most 0.28 %. `counts` are by position. */
void profile_quantiles(const uint64_t counts[HIST_BUCKETS], int first, int end, uint64_t zero,
                       uint64_t total, double ret_seconds[QUANTILE_COUNT]);

#endif
