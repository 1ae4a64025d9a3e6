#include "render/otlp_histogram.h"

#include <assert.h>

#include "base/mem.h"

_Static_assert((int)BOUNDS_MAX <= (int)FAMILY_BOUNDS_MAX, "models' buckets fit");

/* --- making ------------------------------------------------------------------------------------ */

/* From the first to behind the last bucket of a run that is not empty. */
struct stretch {
    uint32_t begin, end;
};

static struct stretch find_filled(const struct form_run *run)
{
    struct stretch filled = {0, run->len};
    while (filled.begin < filled.end && run->counts[filled.begin] == 0) {
        filled.begin++;
    }
    while (filled.end > filled.begin && run->counts[filled.end - 1] == 0) {
        filled.end--;
    }
    return filled;
}

/* OTLP's number of a bucket, `lowered` scales below the run's: Prometheus counts from 1 where OTLP
 * counts from 0. The shift goes down for numbers below 0 too, as gcc and clang define it. */
static int32_t index_of(const struct form_run *run, uint32_t at, int lowered)
{
    return (run->first + (int32_t)at - 1) >> lowered;
}

/* How far the scale must fall for the stretch to fit. */
static int lower(const struct form_run *run, struct stretch filled)
{
    int lowered = 0;
    while (filled.end > filled.begin &&
           index_of(run, filled.end - 1, lowered) - index_of(run, filled.begin, lowered) >=
               OTLP_BUCKETS_MAX) {
        lowered++;
    }
    return lowered;
}

static void fill_side(const struct form_run *run, struct stretch filled, int lowered,
                      struct otlp_side *ret)
{
    ret->len = 0;
    ret->offset = 0;
    if (filled.end == filled.begin) {
        return;
    }
    ret->offset = index_of(run, filled.begin, lowered);
    ret->len = (uint32_t)(index_of(run, filled.end - 1, lowered) - ret->offset) + 1;
    memset(ret->counts, 0, ret->len * sizeof *ret->counts);
    for (uint32_t at = filled.begin; at < filled.end; at++) {
        ret->counts[index_of(run, at, lowered) - ret->offset] += run->counts[at];
    }
}

static void fill_exponential(const struct form_native *native, struct otlp_histogram *ret)
{
    struct stretch positive = find_filled(&native->positive);
    struct stretch negative = find_filled(&native->negative);
    int lowered = lower(&native->positive, positive);
    int other = lower(&native->negative, negative);
    lowered = other > lowered ? other : lowered;
    ret->scale = native->schema - lowered;
    ret->zero = native->zero;
    ret->zero_threshold = native->zero_threshold;
    fill_side(&native->positive, positive, lowered, &ret->positive);
    fill_side(&native->negative, negative, lowered, &ret->negative);
}

void otlp_histogram_make(const struct form_histogram *form, bool exponential,
                         struct otlp_histogram *ret)
{
    const struct form_native *native = form->native;
    assert(exponential ? native != NULL : form->bound_count <= FAMILY_BOUNDS_MAX);
    ret->count = form->count;
    ret->sum = form->sum;
    ret->has_sum = !(form->sum < 0) && (native == NULL || native->negative.len == 0);
    ret->exponential = exponential;
    ret->bounds = form->bounds;
    ret->bound_count = form->bound_count;
    if (exponential) {
        fill_exponential(native, ret);
    } else {
        memcpy(ret->classic, form->counts, (form->bound_count + 1) * sizeof *form->counts);
    }
}

/* --- states ------------------------------------------------------------------------------------ */

static void pack(uint64_t *to, const uint64_t *from, uint32_t count)
{
    if (count > 0) {
        memcpy(to, from, count * sizeof *to);
    }
}

struct otlp_state *otlp_histogram_keep(const struct otlp_histogram *histogram)
{
    bool exponential = histogram->exponential;
    uint32_t classic = exponential ? 0 : histogram->bound_count + 1;
    uint32_t positive = exponential ? histogram->positive.len : 0;
    uint32_t negative = exponential ? histogram->negative.len : 0;
    struct otlp_state *state =
        mem_alloc(sizeof *state + (classic + positive + negative) * sizeof *state->counts);
    if (state == NULL) {
        return NULL;
    }
    *state = (struct otlp_state){.count = histogram->count,
                                 .sum = histogram->sum,
                                 .zero = exponential ? histogram->zero : 0,
                                 .scale = exponential ? histogram->scale : 0,
                                 .classic_count = classic,
                                 .positive_offset = exponential ? histogram->positive.offset : 0,
                                 .negative_offset = exponential ? histogram->negative.offset : 0,
                                 .positive_len = positive,
                                 .negative_len = negative};
    pack(state->counts, histogram->classic, classic);
    pack(state->counts, histogram->positive.counts, positive);
    pack(state->counts + positive, histogram->negative.counts, negative);
    return state;
}

/* Empty buckets at the ends go. */
static void trim(struct otlp_side *side)
{
    uint32_t begin = 0;
    while (begin < side->len && side->counts[begin] == 0) {
        begin++;
    }
    while (side->len > begin && side->counts[side->len - 1] == 0) {
        side->len--;
    }
    side->len -= begin;
    side->offset += (int32_t)begin;
    memmove(side->counts, side->counts + begin, side->len * sizeof *side->counts);
}

static void subtract_side(struct otlp_side *side, const uint64_t *counts, int32_t offset,
                          uint32_t len, int lowered)
{
    for (uint32_t i = 0; i < len; i++) {
        int32_t at = ((offset + (int32_t)i) >> lowered) - side->offset;
        assert(at >= 0 && (uint32_t)at < side->len && side->counts[at] >= counts[i]);
        side->counts[at] -= counts[i];
    }
    trim(side);
}

void otlp_histogram_subtract(struct otlp_histogram *histogram, const struct otlp_state *before)
{
    assert(histogram->exponential == (before->classic_count == 0));
    histogram->count -= before->count;
    histogram->sum -= before->sum;
    for (uint32_t i = 0; i < before->classic_count; i++) {
        histogram->classic[i] -= before->counts[i];
    }
    if (histogram->exponential) {
        int lowered = before->scale - histogram->scale;
        histogram->zero -= before->zero;
        subtract_side(&histogram->positive, before->counts, before->positive_offset,
                      before->positive_len, lowered);
        subtract_side(&histogram->negative, before->counts + before->positive_len,
                      before->negative_offset, before->negative_len, lowered);
    }
}
