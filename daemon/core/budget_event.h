/*
 * What is said in a trace of a layer that was over its time budget: a span without length below the one
 * that the layer was part of, with the event budget.exceeded. It does not judge budgets and does not
 * send. Loop thread only.
 *
 * Two designs were weighed.
 *
 *   A  The event is added to the span itself while the daemon holds its first half, and only else to a
 *      span of its own. It then stands where people look first, and is sampled as its span by itself.
 *   B  It always has a span of its own.
 *
 * B it is. Clients mostly send spans as a whole when they end, which is after their layers: the daemon
 * seldom holds a span when it learns of its layer, so most events would be on spans of their own with A,
 * too, and where an event is would depend on how a client sends and on what was pushed out. Whoever
 * looks for it would have to know both places. And what is held would have to grow, under ceilings for
 * which other spans are cut off. What A has for free costs B a field: the flags of the span, without
 * which a trace that somebody decided on would be judged anew.
 *
 *     layer1     |=====|                    budget 5 ms, took 7
 *     span    |---------------------|
 *     child            ^ budget.exceeded {layer, budget_ms, elapsed_ms, operation, request_id}
 */
#ifndef DWELL_CORE_BUDGET_EVENT_H
#define DWELL_CORE_BUDGET_EVENT_H

#include "base/buf.h"
#include "core/sampler.h"

#define BUDGET_EVENT_NAME "budget.exceeded"

/* In a second. A service of which every request is over its budgets would else send a span more for each
 * of its layers, when one in a hundred says it all. */
enum { BUDGET_EVENTS_PER_SECOND = 100 };

struct budget_events {
    struct sampler *sampler; /* borrowed; takes them */
    struct buf event;        /* of the last one; the span borrows it */
    struct span_child child;
    uint64_t second; /* monotonic, that the last one was in */
    unsigned in_second;
    uint64_t made;       /* the sampler has taken them */
    uint64_t suppressed; /* by the limit, or for want of memory */
};

/* A record that is over its budget. */
struct budget_excess {
    const struct budget *budget;
    double budget_ms;
    struct str service; /* of who sent it; empty: not said */
    uint64_t mono_ns, wall_ns;
};

void budget_events_init(struct budget_events *events, struct sampler *sampler);
void budget_events_fini(struct budget_events *events);

/* Gives the sampler a span for it, if the record has a trace and the sampler does not give that up. */
void budget_events_tell(struct budget_events *events, const struct budget_excess *excess);

#endif
