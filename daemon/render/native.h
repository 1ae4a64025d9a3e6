/*
 * The latencies of a model since the start as native buckets. The daemon keeps 128 buckets to each
 * doubling (core/hist); here two become one, as often as needed, until at most NATIVE_BUCKETS_MAX are
 * not empty. Buckets once filled stay filled, so the resolution of a model only ever falls.
 * Those of clients' histograms are as they should be (core/buckets).
 * It renders nothing. Any thread; one scratch for each thread.
 */
#ifndef DWELL_RENDER_NATIVE_H
#define DWELL_RENDER_NATIVE_H

#include "core/profile.h"
#include "render/form.h"

enum { NATIVE_BUCKETS_MAX = 160 }; /* what Prometheus and OpenTelemetry take for granted */

struct native {
    struct form_native form; /* its counts are in the scratch */
    int first, end;          /* positions used there */
};

/* The native buckets of a client's histogram, where it has some: its runs themselves, borrowed. */
struct form_native native_of_buckets(const struct buckets *buckets);

/* native_end must follow before the scratch is used again. */
void native_begin(const struct model *model, struct profile_scratch *scratch, struct native *ret);
void native_end(const struct native *native, struct profile_scratch *scratch);

#endif
