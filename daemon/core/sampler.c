/*
 * Happy path: most traces are judged by their id alone. With something to look out for, the spans of
 * the others wait in a list of their trace, and traces wait in a queue by age.
 *
 * What can fail: too many are held, or too many bytes: the oldest traces are given up, counted apart, but
 * so many at once that the loop goes on; if that makes no room, the new span is given up instead.
 * No memory: the span is given up. A trace that is kept stays in the queue, empty, so that what comes
 * later is known; its time runs anew from when that was found out.
 */
#include "core/sampler.h"

#include <endian.h>
#include <math.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/mem.h"

struct held_trace {
    struct held_trace *next;             /* in its bucket */
    struct held_trace *younger, **older; /* by age; `older` is what points here */
    uint64_t since_ns;
    struct kept_span *first, **last;
    uint32_t count;
    size_t bytes; /* of its spans */
    bool kept;
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
};

static void set_rate(struct sampler *sampler, double rate)
{
    sampler->options.rate = rate;
    sampler->all = rate >= 1;
    /* As Python's round(): to the nearest whole number, of two the even one. Above 2^53 there is
     * nothing to round. */
    sampler->bound = sampler->all ? 0 : (uint64_t)nearbyint(ldexp(rate, 64));
}

void sampler_change(struct sampler *sampler, const struct sampler_options *options)
{
    set_rate(sampler, options->rate);
    sampler->options.keep_errors = options->keep_errors;
    sampler->options.keep_slow_ns = options->keep_slow_ns;
    sampler->options.keep_wait_ns = options->keep_wait_ns;
}

void sampler_init(struct sampler *sampler, const struct sampler_options *options)
{
    *sampler = (struct sampler){.options = *options};
    set_rate(sampler, options->rate);
    sampler->newest = &sampler->oldest;
    sampler->bucket_mask = 1;
    while (sampler->bucket_mask < options->max_held) {
        sampler->bucket_mask = sampler->bucket_mask << 1 | 1;
    }
}

bool sampler_chooses(const struct sampler *sampler, const uint8_t trace_id[RECORD_TRACE_ID_BYTES])
{
    uint64_t low;
    memcpy(&low, trace_id + RECORD_TRACE_ID_BYTES - sizeof low, sizeof low);
    return sampler->all || be64toh(low) < sampler->bound;
}

static void tell_kept(const struct sampler *sampler, const struct span *span, bool was_held)
{
    sampler->options.sink.keep(sampler->options.sink.ctx, span, was_held);
}

static void tell_dropped(struct sampler *sampler, enum sampler_drop why, uint32_t spans,
                         bool were_held)
{
    sampler->dropped[why] += spans;
    if (spans > 0 && sampler->options.sink.drop != NULL) {
        sampler->options.sink.drop(sampler->options.sink.ctx, why, spans, were_held);
    }
}

/* Held traces */

static struct held_trace **find_link(const struct sampler *sampler, const uint8_t *trace_id)
{
    uint64_t hash =
        XXH3_64bits_withSeed(trace_id, RECORD_TRACE_ID_BYTES, sampler->options.hash_seed);
    struct held_trace **link = &sampler->buckets[hash & sampler->bucket_mask];
    while (*link != NULL && memcmp((*link)->trace_id, trace_id, RECORD_TRACE_ID_BYTES) != 0) {
        link = &(*link)->next;
    }
    return link;
}

static void link_by_age(struct sampler *sampler, struct held_trace *trace)
{
    trace->younger = NULL;
    trace->older = sampler->newest;
    *sampler->newest = trace;
    sampler->newest = &trace->younger;
}

static void unlink_by_age(struct sampler *sampler, struct held_trace *trace)
{
    *trace->older = trace->younger;
    if (trace->younger != NULL) {
        trace->younger->older = trace->older;
    } else {
        sampler->newest = trace->older;
    }
}

/* Its spans go, each told to `keep` when there is one. */
static void empty_trace(struct sampler *sampler, struct held_trace *trace, bool keep)
{
    struct kept_span *kept = trace->first;
    while (kept != NULL) {
        struct kept_span *next = kept->next;
        if (keep) {
            tell_kept(sampler, &kept->span, true);
        }
        mem_free(kept);
        kept = next;
    }
    sampler->held -= trace->count;
    sampler->bytes -= trace->bytes;
    trace->first = NULL;
    trace->last = &trace->first;
    trace->count = 0;
    trace->bytes = 0;
}

static void drop_trace(struct sampler *sampler, struct held_trace *trace, enum sampler_drop why)
{
    struct held_trace **link = find_link(sampler, trace->trace_id);
    *link = trace->next;
    unlink_by_age(sampler, trace);
    tell_dropped(sampler, why, trace->count, true);
    empty_trace(sampler, trace, false);
    sampler->trace_count--;
    sampler->bytes -= sizeof *trace;
    mem_free(trace);
}

/* What somebody wants to add. */
struct room {
    uint32_t spans, traces;
    size_t bytes;
};

static bool has_room(const struct sampler *sampler, const struct room *wanted)
{
    const struct sampler_options *options = &sampler->options;
    return wanted->spans <= options->max_held - sampler->held &&
           wanted->traces <= options->max_held - sampler->trace_count &&
           wanted->bytes <= options->max_held_bytes - sampler->bytes;
}

/* False when it alone is too much, or when there is no room after as many as may go at once. */
static bool make_room(struct sampler *sampler, const struct room *wanted)
{
    const struct sampler_options *options = &sampler->options;
    if (options->max_held == 0 || wanted->bytes > options->max_held_bytes) {
        return false;
    }
    for (uint32_t gone = 0; gone < SAMPLER_GIVE_UP_MAX && !has_room(sampler, wanted);) {
        gone += sampler->oldest->count + 1;
        drop_trace(sampler, sampler->oldest, SAMPLER_HOLD_FULL);
    }
    return has_room(sampler, wanted);
}

/* The trace of a span, made when there is none. NULL without memory or room. */
static struct held_trace *get_trace(struct sampler *sampler, const struct span *span,
                                    uint64_t mono_ns)
{
    if (sampler->buckets == NULL) {
        sampler->buckets =
            mem_zalloc((size_t)sampler->bucket_mask + 1, sizeof(struct held_trace *));
        if (sampler->buckets == NULL) {
            return NULL;
        }
    }
    struct held_trace *trace = *find_link(sampler, span->trace_id);
    struct room room = {.traces = 1, .bytes = sizeof *trace};
    if (trace != NULL || !make_room(sampler, &room)) {
        return trace;
    }
    trace = mem_zalloc(1, sizeof *trace);
    if (trace != NULL) {
        struct held_trace **link = find_link(sampler, span->trace_id);
        memcpy(trace->trace_id, span->trace_id, sizeof trace->trace_id);
        trace->since_ns = mono_ns;
        trace->last = &trace->first;
        *link = trace;
        link_by_age(sampler, trace);
        sampler->trace_count++;
        sampler->bytes += sizeof *trace;
    }
    return trace;
}

static void keep_trace(struct sampler *sampler, struct held_trace *trace, uint64_t mono_ns)
{
    empty_trace(sampler, trace, true);
    trace->kept = true;
    trace->since_ns = mono_ns;
    unlink_by_age(sampler, trace);
    link_by_age(sampler, trace);
}

static struct held_trace *find_trace(const struct sampler *sampler, const struct span *span)
{
    return sampler->buckets == NULL ? NULL : *find_link(sampler, span->trace_id);
}

static void drop_first(struct sampler *sampler, struct held_trace *trace)
{
    struct kept_span *first = trace->first;
    trace->first = first->next;
    if (trace->first == NULL) {
        trace->last = &trace->first;
    }
    trace->count--;
    trace->bytes -= first->bytes;
    sampler->held--;
    sampler->bytes -= first->bytes;
    tell_dropped(sampler, SAMPLER_HOLD_FULL, 1, true);
    mem_free(first);
}

static void append(struct sampler *sampler, struct held_trace *trace, struct kept_span *kept)
{
    if (trace->count == SAMPLER_TRACE_MAX) {
        drop_first(sampler, trace);
    }
    *trace->last = kept;
    trace->last = &kept->next;
    trace->count++;
    trace->bytes += kept->bytes;
    sampler->held++;
    sampler->bytes += kept->bytes;
    if (sampler->options.sink.hold != NULL) {
        sampler->options.sink.hold(sampler->options.sink.ctx);
    }
}

static void hold(struct sampler *sampler, const struct span *span, uint64_t mono_ns)
{
    struct room room = {.spans = 1,
                        .traces = find_trace(sampler, span) == NULL,
                        .bytes = kept_span_bytes(span) + sizeof(struct held_trace)};
    if (!make_room(sampler, &room)) {
        tell_dropped(sampler, SAMPLER_HOLD_FULL, 1, false);
        return;
    }
    struct kept_span *kept = kept_span_new(span);
    /* Making room may have ended it: there is room for it to begin anew. */
    struct held_trace *trace = kept == NULL ? NULL : get_trace(sampler, span, mono_ns);
    if (trace == NULL) {
        tell_dropped(sampler, SAMPLER_NO_MEMORY, 1, false);
        mem_free(kept);
        return;
    }
    append(sampler, trace, kept);
}

/* Spans */

static bool is_worth_keeping(const struct sampler_options *options, const struct span *span)
{
    return (options->keep_errors && span->status == SPAN_ERROR) ||
           (options->keep_slow_ns > 0 &&
            span->end_wall_ns - span->start_wall_ns >= options->keep_slow_ns);
}

/* A span that the rate does not choose. */
static void look_out(struct sampler *sampler, const struct span *span, uint64_t mono_ns)
{
    const struct sampler_options *options = &sampler->options;
    struct held_trace *trace = find_trace(sampler, span);
    bool worth = is_worth_keeping(options, span);
    if (worth && (trace == NULL || !trace->kept)) {
        trace = get_trace(sampler, span, mono_ns);
        if (trace != NULL) {
            keep_trace(sampler, trace, mono_ns);
        }
    }
    if (worth || (trace != NULL && trace->kept)) {
        tell_kept(sampler, span, false);
    } else {
        hold(sampler, span, mono_ns);
    }
}

static bool is_chosen(const struct sampler *sampler, const struct span *span)
{
    return span->has_flags ? (span->flags & 1) != 0 : sampler_chooses(sampler, span->trace_id);
}

/* Of one that is not chosen: whether the rest of its trace may still decide otherwise. */
static bool may_be_kept(const struct sampler *sampler, const struct span *span)
{
    const struct sampler_options *options = &sampler->options;
    return !span->has_flags && (options->keep_errors || options->keep_slow_ns > 0);
}

bool sampler_wants(const struct sampler *sampler, const struct span *span)
{
    return sampler->options.sink.keep != NULL &&
           (is_chosen(sampler, span) || may_be_kept(sampler, span));
}

void sampler_take(struct sampler *sampler, const struct span *span, uint64_t mono_ns)
{
    if (is_chosen(sampler, span)) {
        tell_kept(sampler, span, false);
    } else if (may_be_kept(sampler, span)) {
        look_out(sampler, span, mono_ns);
    } else {
        tell_dropped(sampler, SAMPLER_NOT_SAMPLED, 1, false);
    }
}

bool sampler_expire(struct sampler *sampler, uint64_t mono_ns)
{
    uint32_t spans = 0;
    /* Time goes back while a journal is replayed. */
    while (sampler->oldest != NULL && mono_ns >= sampler->oldest->since_ns &&
           mono_ns - sampler->oldest->since_ns >= sampler->options.keep_wait_ns) {
        if (spans >= SAMPLER_GIVE_UP_MAX) {
            return true;
        }
        spans += sampler->oldest->count + 1;
        drop_trace(sampler, sampler->oldest, SAMPLER_NOT_SAMPLED);
    }
    return false;
}

void sampler_give_up(struct sampler *sampler)
{
    while (sampler->oldest != NULL) {
        drop_trace(sampler, sampler->oldest, SAMPLER_NOT_SAMPLED);
    }
}

void sampler_fini(struct sampler *sampler)
{
    sampler_give_up(sampler);
    mem_free(sampler->buckets);
    sampler->buckets = NULL;
}
