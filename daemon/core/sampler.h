/*
 * Which spans are worth sending: a share of all traces, by trace id, the same in every process; and of
 * the others those that ended badly or took long, found out by holding them for a while.
 * It does not send. Loop thread only.
 *
 *     somebody decided before (flags)   ->  that holds
 *     low 64 bits of the trace id below rate × 2^64  ->  kept        the rule of the OpenTelemetry
 *                                                                    SDKs (TraceIdRatioBased)
 *     else, with keep_errors or keep_slow:
 *         held ->  a span of the trace is an error or slow: all of it is kept, what is still to come too
 *              ->  nothing of that within keep_wait: given up
 *     else given up
 *
 * A trace is waited for from the first of its spans that comes here. Past a ceiling the oldest trace goes;
 * past SAMPLER_TRACE_MAX, its own oldest span. Spans are held by one daemon, which knows only what its own
 * services tell it.
 */
#ifndef DWELL_CORE_SAMPLER_H
#define DWELL_CORE_SAMPLER_H

#include "core/kept_span.h"

enum {
    SAMPLER_TRACE_MAX =
        1024, /* spans held of one trace: all of them may have to be kept in one call */
    SAMPLER_GIVE_UP_MAX = 1024, /* spans given up in one call, and the rest of a trace */
};

enum sampler_drop {
    SAMPLER_NOT_SAMPLED,
    SAMPLER_HOLD_FULL, /* pushed out by others, or never held: they might have been worth keeping */
    SAMPLER_NO_MEMORY,
    SAMPLER_DROP_COUNT
};

/* Who is told what becomes of spans. */
struct sampler_sink {
    void *ctx;
    /* Takes a span that is to be sent; `was_held`: it has been told as held before. */
    void (*keep)(void *ctx, const struct span *span, bool was_held);
    /* For whoever keeps an account; NULL: nobody. One more is held; some will never be sent. */
    void (*hold)(void *ctx);
    void (*drop)(void *ctx, enum sampler_drop why, uint32_t spans, bool were_held);
};

struct sampler_options {
    double rate; /* 0 … 1 */
    bool keep_errors;
    uint64_t keep_slow_ns; /* 0: slow ones are nothing special */
    uint64_t keep_wait_ns;
    uint32_t max_held;     /* spans */
    size_t max_held_bytes; /* of heap */
    uint64_t hash_seed;
    struct sampler_sink sink;
};

struct held_trace;

struct sampler {
    struct sampler_options options;
    bool all;                    /* the rate is 1 */
    uint64_t bound;              /* rate × 2^64 */
    struct held_trace **buckets; /* owned; made with the first */
    uint32_t bucket_mask;
    struct held_trace *oldest, **newest;
    uint32_t trace_count;
    uint32_t held; /* spans */
    size_t bytes;
    uint64_t dropped[SAMPLER_DROP_COUNT];
};

void sampler_init(struct sampler *sampler, const struct sampler_options *options);

/* Another rate, and others to keep; of `options` nothing else counts. Traces that are held wait on. */
void sampler_change(struct sampler *sampler, const struct sampler_options *options);

/* What is held is gone without a word. */
void sampler_fini(struct sampler *sampler);

/* Whether the rate alone keeps a trace. */
bool sampler_chooses(const struct sampler *sampler, const uint8_t trace_id[RECORD_TRACE_ID_BYTES]);

/* Whether a span would not be given up at once: of what only the daemon knows, none need be made then. */
bool sampler_wants(const struct sampler *sampler, const struct span *span);

/* Keeps the span, holds it, or gives it up. */
void sampler_take(struct sampler *sampler, const struct span *span, uint64_t mono_ns);

/* Gives up what has been held long enough. True when there is more of it. */
bool sampler_expire(struct sampler *sampler, uint64_t mono_ns);

/* Gives up all that is held. */
void sampler_give_up(struct sampler *sampler);

#endif
