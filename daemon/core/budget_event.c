/*
 * Happy path
 *   1. the record names a trace and a span, and the sampler wants spans of that trace
 *   2. there have been fewer than BUDGET_EVENTS_PER_SECOND in this second
 *   3. the event is written in the bytes of OTLP, and its span is given to the sampler
 *
 * What can fail: the limit of 2, or memory in 3: the record still counts, the event is counted as
 * suppressed. Texts that are no UTF-8 are left out, since a receiver would refuse the whole request.
 */
#include "core/budget_event.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/clock.h"
#include "base/message.h"
#include "base/name.h"

enum {
    EVENT_BYTES_MAX = 1024 + 4 * RECORD_NAME_MAX, /* three texts and what is around them */
    KIND_INTERNAL = 1,                            /* of OTLP's Span */
    EVENT_TIME = 1,                               /* fields of its Event, KeyValue and AnyValue */
    EVENT_NAME = 2,
    EVENT_ATTRIBUTES = 3,
    KEY = 1,
    VALUE = 2,
    STRING_VALUE = 1,
    DOUBLE_VALUE = 4,
};

void budget_events_init(struct budget_events *events, struct sampler *sampler)
{
    events->sampler = sampler;
    buf_init(&events->event, EVENT_BYTES_MAX);
}

void budget_events_fini(struct budget_events *events)
{
    buf_fini(&events->event);
}

static bool is_zero(const uint8_t *id, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (id[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool is_traced(const struct budget *budget)
{
    const unsigned ids = BUDGET_HAS_TRACE_ID | BUDGET_HAS_SPAN_ID;
    return (budget->has & ids) == ids && !is_zero(budget->trace_id, sizeof budget->trace_id) &&
           !is_zero(budget->span_id, sizeof budget->span_id);
}

static bool is_limited(struct budget_events *events, uint64_t mono_ns)
{
    uint64_t second = mono_ns / NS_PER_SECOND;
    if (second != events->second) {
        events->second = second;
        events->in_second = 0;
    }
    if (events->in_second == BUDGET_EVENTS_PER_SECOND) {
        return true;
    }
    events->in_second++;
    return false;
}

static void put_text(struct buf *out, const char *key, struct str text)
{
    if (text.len > 0 && name_is_text(text)) {
        size_t attribute = message_begin(out, EVENT_ATTRIBUTES);
        message_str(out, KEY, str_of(key));
        size_t value = message_begin(out, VALUE);
        message_str(out, STRING_VALUE, text);
        message_end(out, value);
        message_end(out, attribute);
    }
}

static void put_double(struct buf *out, const char *key, double number)
{
    size_t attribute = message_begin(out, EVENT_ATTRIBUTES);
    message_str(out, KEY, str_of(key));
    size_t value = message_begin(out, VALUE);
    message_double(out, DOUBLE_VALUE, number);
    message_end(out, value);
    message_end(out, attribute);
}

static void put_event(struct buf *out, const struct budget_excess *excess, uint64_t at_ns)
{
    const struct budget *budget = excess->budget;
    buf_clear(out);
    message_fixed64(out, EVENT_TIME, at_ns);
    message_str(out, EVENT_NAME, STR_LITERAL(BUDGET_EVENT_NAME));
    put_text(out, "layer", budget->layer);
    put_double(out, "budget_ms", excess->budget_ms);
    put_double(out, "elapsed_ms", record_spent_ms(budget));
    put_text(out, "operation", budget->operation);
    put_text(out, "request_id", budget->request_id);
}

/* Of what nobody outside can foresee, and of how many came before it: no two are the same. */
static void make_span_id(const struct budget_events *events, const struct budget *budget,
                         uint8_t ret_id[RECORD_SPAN_ID_BYTES])
{
    struct {
        uint8_t trace_id[RECORD_TRACE_ID_BYTES];
        uint8_t span_id[RECORD_SPAN_ID_BYTES];
        uint64_t serial;
    } from = {.serial = events->made};
    memcpy(from.trace_id, budget->trace_id, sizeof from.trace_id);
    memcpy(from.span_id, budget->span_id, sizeof from.span_id);
    uint64_t hash = XXH3_64bits_withSeed(&from, sizeof from, events->sampler->options.hash_seed);
    hash = hash == 0 ? 1 : hash;
    _Static_assert(sizeof hash == RECORD_SPAN_ID_BYTES, "all of it");
    memcpy(ret_id, &hash, sizeof hash);
}

/* What its event says is still to come. */
static void begin_span(struct budget_events *events, const struct budget_excess *excess,
                       struct span *ret)
{
    const struct budget *budget = excess->budget;
    bool has_time = (budget->has & BUDGET_HAS_TIMESTAMP) != 0;
    uint64_t at_ns = has_time ? budget->timestamp_wall_ns : excess->wall_ns;
    *ret = (struct span){.part = SPAN_WHOLE,
                         .name = STR_LITERAL(BUDGET_EVENT_NAME),
                         .kind = KIND_INTERNAL,
                         .has_flags = (budget->has & BUDGET_HAS_FLAGS) != 0,
                         .flags = (budget->has & BUDGET_HAS_FLAGS) != 0 ? budget->flags : 0,
                         .start_wall_ns = at_ns,
                         .end_wall_ns = at_ns,
                         .service_name = excess->service,
                         .event_count = 1,
                         .events = &events->child};
    memcpy(ret->trace_id, budget->trace_id, sizeof ret->trace_id);
    memcpy(ret->parent_id, budget->span_id, sizeof ret->parent_id);
    make_span_id(events, budget, ret->span_id);
}

void budget_events_tell(struct budget_events *events, const struct budget_excess *excess)
{
    struct span span;
    if (!is_traced(excess->budget)) {
        return;
    }
    begin_span(events, excess, &span);
    if (!sampler_wants(events->sampler, &span)) {
        return;
    }
    put_event(&events->event, excess, span.start_wall_ns);
    if (events->event.err != 0 || is_limited(events, excess->mono_ns)) {
        events->suppressed++;
        return;
    }
    events->child = (struct span_child){.body = {events->event.data, events->event.len}};
    events->made++;
    sampler_take(events->sampler, &span, excess->mono_ns);
}
