/*
 * What one point of a histogram says towards OTLP, at work: classic buckets, or exponential ones of
 * which at most OTLP_BUCKETS_MAX a side remain, without gaps; and what is left of it when an earlier
 * state of the same histogram is taken away.
 * It renders nothing and keeps nothing. Any thread.
 *
 *     exponential bucket i of scale s:  2^(i / 2^s) < value <= 2^((i+1) / 2^s)       OTLP's numbers
 *
 * The scale is lowered where more buckets would lie between the lowest and the highest that is not
 * empty: each step makes one bucket of two. Buckets once filled stay filled, so the scale of a series
 * only ever falls, and an earlier state can be brought to the scale of a later one.
 */
#ifndef DWELL_RENDER_OTLP_HISTOGRAM_H
#define DWELL_RENDER_OTLP_HISTOGRAM_H

#include "render/form.h"

enum { OTLP_BUCKETS_MAX = 160 }; /* what the specification recommends, and SDKs keep */

/* Buckets on one side of zero, from `offset` on; the first and the last are not empty. */
struct otlp_side {
    int32_t offset;
    uint32_t len;
    uint64_t counts[OTLP_BUCKETS_MAX];
};

struct otlp_histogram {
    uint64_t count;
    double sum;
    bool has_sum; /* OTLP: no sum where values below 0 were observed */
    bool exponential;
    uint32_t bound_count;
    const struct form_bound *bounds;         /* borrowed */
    uint64_t classic[FAMILY_BOUNDS_MAX + 1]; /* bound_count + 1; unless exponential */
    int scale;                               /* from here on if exponential */
    uint64_t zero;
    double zero_threshold;
    struct otlp_side positive, negative;
};

/* What was there at some time: its sums, and its buckets packed. */
struct otlp_state {
    uint64_t count;
    double sum;
    uint64_t zero;
    int scale;
    uint32_t classic_count; /* 0: exponential */
    int32_t positive_offset, negative_offset;
    uint32_t positive_len, negative_len;
    uint64_t counts[]; /* classic, or positive and negative ones */
};

/* Takes over what a form is told. `exponential` asks for native->… to be what is shown. */
void otlp_histogram_make(const struct form_histogram *form, bool exponential,
                         struct otlp_histogram *ret);

/* The state, which the caller owns (mem_free), or NULL without memory. */
struct otlp_state *otlp_histogram_keep(const struct otlp_histogram *histogram);

/* Leaves what came since an earlier state of the same histogram. */
void otlp_histogram_subtract(struct otlp_histogram *histogram, const struct otlp_state *before);

#endif
