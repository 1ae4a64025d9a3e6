#include "render/native.h"

#include <math.h>

/* Halving keeps the edges of the range, whatever it is: it begins and ends with a chunk. */
_Static_assert(HIST_CHUNK_BUCKETS % (1 << HIST_SCALE) == 0, "whole buckets after each halving");

/* So one bucket a doubling is reached before the range cannot be halved, and that is few enough. */
_Static_assert((int)HIST_CHUNKS <= (int)NATIVE_BUCKETS_MAX, "they can always be few enough");

static int count_filled(const uint64_t *counts, int len)
{
    int filled = 0;
    for (int i = 0; i < len; i++) {
        filled += counts[i] > 0;
    }
    return filled;
}

static void halve(uint64_t *counts, int len)
{
    for (int i = 0; i < len / 2; i++) {
        counts[i] = counts[2 * i] + counts[2 * i + 1];
    }
}

void native_begin(const struct model *model, struct profile_scratch *scratch, struct native *ret)
{
    int schema = HIST_SCALE;
    uint64_t zero = profile_total_latencies(model, scratch, &ret->first, &ret->end);
    uint64_t *counts = scratch->counts + ret->first;
    int len = ret->end - ret->first;
    while (count_filled(counts, len) > NATIVE_BUCKETS_MAX) {
        halve(counts, len);
        len /= 2;
        schema--;
    }
    /* Both ends of the range are multiples of a chunk, so this is exact. Prometheus counts from 1 where
     * core/hist counts from 0. */
    int first = (ret->first + HIST_INDEX_MIN) / (1 << (HIST_SCALE - schema));
    ret->form = (struct form_native){
        .schema = schema,
        .zero_threshold = ldexp(1, HIST_EXPONENT_MIN),
        .zero = zero,
        .positive = {.first = first + 1, .len = (uint32_t)len, .counts = counts}};
}

void native_end(const struct native *native, struct profile_scratch *scratch)
{
    profile_clear(scratch, native->first, native->end);
}

struct form_native native_of_buckets(const struct buckets *buckets)
{
    const struct bucket_run *positive = &buckets->positive;
    const struct bucket_run *negative = &buckets->negative;
    return (struct form_native){
        .schema = buckets->schema,
        .zero_threshold = BUCKETS_ZERO_THRESHOLD,
        .zero = buckets->zero,
        .positive = {positive->first, positive->len, buckets_positive(buckets)},
        .negative = {negative->first, negative->len, buckets_negative(buckets)}};
}
