/*
 * What one series of a histogram has observed: count, sum, exact counts at its classic bounds, and,
 * where its family wants them, native buckets: a sparse exponential histogram that begins at schema 3
 * (eight buckets to each doubling, 9 % wide) and halves its resolution rather than grow past
 * BUCKETS_NATIVE_MAX buckets on a side (Prometheus, "Native histograms"; OpenTelemetry data model,
 * "ExponentialHistogram: downscaling").
 * It does not know names, labels or time. The loop thread writes; anyone may read one that belongs to
 * a snapshot.
 *
 *     native bucket i of schema s:  2^((i-1) / 2^s) < value <= 2^(i / 2^s)      Prometheus' numbers
 *
 *     counts   classic 0 … bound_count | positive.room | negative.room
 *              not cumulative; the last  first, first + 1, …
 *              is above all bounds
 */
#ifndef DWELL_CORE_BUCKETS_H
#define DWELL_CORE_BUCKETS_H

#include "core/limbo.h"
#include "core/record.h"

enum {
    BUCKETS_SCHEMA = 3,
    BUCKETS_NATIVE_MAX = 160, /* what Prometheus and OpenTelemetry take for granted */
    BUCKETS_BOUNDS_MAX = 64,
    BUCKETS_ZERO_EXPONENT = -128, /* values up to 2^-128 count as zero: Prometheus' default */
};

#define BUCKETS_ZERO_THRESHOLD 0x1p-128

struct saved_buckets;

/* A gapless stretch of native buckets on one side of zero. */
struct bucket_run {
    int32_t first;
    uint16_t len;
    uint16_t room; /* counters there are */
};

struct buckets {
    struct block block;
    uint64_t stamp; /* epoch of the last change */
    uint64_t count;
    double sum;
    uint64_t zero;
    int8_t schema;
    bool native;
    uint16_t bound_count;
    struct bucket_run positive;
    struct bucket_run negative;
    struct exemplar_set *exemplars; /* of the classic buckets; owned, NULL until there is one */
    uint64_t counts[];
};

/* An observation of which the trace is known. */
struct exemplar_mark {
    bool set;
    bool has_span_id;
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    double value;
    uint64_t wall_ns;
};

struct exemplar_set {
    struct block block;
    struct exemplar_mark marks[];
};

/* An empty one of the current epoch, or NULL. */
struct buckets *buckets_new(const struct limbo *limbo, uint16_t bound_count, bool native);

/* One that goes on from what an earlier life had counted, or NULL. Counts of both kinds of buckets must
 * come to the count, and the schema be at most BUCKETS_SCHEMA. */
struct buckets *buckets_of_saved(const struct limbo *limbo, const struct saved_buckets *saved,
                                 bool native);

/* Gives all of it to limbo. NULL is permitted. */
void buckets_retire(struct buckets *buckets, struct limbo *limbo);

/* Counts a finite value `weight` times. What a snapshot can see is copied first, and *buckets is then
 * another. `bounds` are the classic ones, ascending. Returns 0, or ERR_NOMEM with nothing counted. */
int buckets_add(struct buckets **buckets, const double *bounds, double value, uint64_t weight,
                struct limbo *limbo);

/* The same for buckets that may be written, when that takes no memory: a value of a usual size, whose
 * native bucket is there. `classic` is its classic bucket. False with nothing counted otherwise. */
bool buckets_add_quickly(struct buckets *buckets, unsigned classic, double value, uint64_t weight);

/* Keeps an exemplar of a value just counted. Returns 0 or ERR_NOMEM. */
int buckets_mark(struct buckets *buckets, const double *bounds, const struct exemplar_mark *mark,
                 struct limbo *limbo);

/* Classic bucket of a value: the number of bounds below it. */
unsigned buckets_find(const double *bounds, unsigned count, double value);

/* Counters of a side, `len` of its run, for readers. */
static inline const uint64_t *buckets_positive(const struct buckets *buckets)
{
    return buckets->counts + buckets->bound_count + 1;
}

static inline const uint64_t *buckets_negative(const struct buckets *buckets)
{
    return buckets_positive(buckets) + buckets->positive.room;
}

/* Heap bytes behind it. */
size_t buckets_bytes(const struct buckets *buckets);

#endif
