#include "core_helpers.h"

#include <otlp.pb-c.h>

#include "base/clock.h"
#include "core/budget_event.h"
#include "mem_fault.h"

#define TRACE "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c"
#define SPAN  "\xb7\xad\x6b\x71\x69\x20\x33\x31"

enum { KEPT_MAX = BUDGET_EVENTS_PER_SECOND + 1 };

static struct sampler sampler;
static struct budget_events events;

/* What the sampler has kept. */
static unsigned kept;
static uint8_t span_ids[KEPT_MAX][RECORD_SPAN_ID_BYTES];
static struct span last; /* but for what it borrows */
static Otlp__Event *last_event;

static void take_kept(void *ctx, const struct span *span, bool was_held)
{
    (void)ctx;
    assert_false(was_held);
    assert_true(kept < KEPT_MAX);
    memcpy(span_ids[kept++], span->span_id, sizeof span->span_id);
    last = *span;
    assert_int_equal(span->event_count, 1);
    struct str body = span->events[0].body;
    if (last_event != NULL) {
        otlp__event__free_unpacked(last_event, NULL);
    }
    last_event = otlp__event__unpack(NULL, body.len, (const uint8_t *)body.ptr);
    assert_non_null(last_event);
    assert_null(last_event->base.unknown_fields);
}

static void open_events(double rate, bool keep_errors)
{
    struct sampler_options options = {.rate = rate,
                                      .keep_errors = keep_errors,
                                      .keep_wait_ns = NS_PER_SECOND,
                                      .max_held = 8,
                                      .max_held_bytes = 65536,
                                      .hash_seed = 7,
                                      .sink = {.keep = take_kept}};
    kept = 0;
    sampler_init(&sampler, &options);
    events = (struct budget_events){0};
    budget_events_init(&events, &sampler);
}

static void close_events(void)
{
    budget_events_fini(&events);
    sampler_fini(&sampler);
    if (last_event != NULL) {
        otlp__event__free_unpacked(last_event, NULL);
        last_event = NULL;
    }
}

/* A record with a trace. */
static struct budget traced(void)
{
    struct budget budget = {.layer = STR_LITERAL("layer3_policy"),
                            .elapsed_ms = 12.5,
                            .has = BUDGET_HAS_TRACE_ID | BUDGET_HAS_SPAN_ID};
    memcpy(budget.trace_id, TRACE, sizeof budget.trace_id);
    memcpy(budget.span_id, SPAN, sizeof budget.span_id);
    return budget;
}

static void tell(const struct budget *budget, uint64_t mono_ns)
{
    struct budget_excess excess = {.budget = budget,
                                   .budget_ms = 10,
                                   .service = STR_LITERAL("bus"),
                                   .mono_ns = mono_ns,
                                   .wall_ns = 1000};
    budget_events_tell(&events, &excess);
}

static void must_make(const struct budget *budget, uint64_t mono_ns)
{
    unsigned before = kept;
    uint64_t made = events.made;
    tell(budget, mono_ns);
    assert_int_equal(kept, before + 1);
    assert_int_equal(events.made, made + 1);
}

static void must_make_none(const struct budget *budget, uint64_t mono_ns, uint64_t suppressed)
{
    unsigned before = kept;
    uint64_t made = events.made;
    uint64_t was = events.suppressed;
    tell(budget, mono_ns);
    assert_int_equal(kept, before);
    assert_int_equal(events.made, made);
    assert_int_equal(events.suppressed - was, suppressed);
}

static void must_have_text(size_t at, const char *key, const char *value)
{
    assert_true(at < last_event->n_attributes);
    assert_string_equal(last_event->attributes[at]->key, key);
    assert_string_equal(last_event->attributes[at]->value->string_value, value);
}

static void must_have_number(size_t at, const char *key, double value)
{
    assert_true(at < last_event->n_attributes);
    assert_string_equal(last_event->attributes[at]->key, key);
    assert_true(last_event->attributes[at]->value->double_value == value);
}

static void test_budget_event_is_a_span_below_the_one_of_the_layer(void **state)
{
    (void)state;
    struct budget budget = traced();
    open_events(1, false);
    budget.operation = STR_LITERAL("evaluate");
    budget.request_id = STR_LITERAL("r-17");
    must_make(&budget, 0);
    assert_true(str_is(last.name, "budget.exceeded"));
    assert_int_equal(last.part, SPAN_WHOLE);
    assert_memory_equal(last.trace_id, TRACE, sizeof last.trace_id);
    assert_memory_equal(last.parent_id, SPAN, sizeof last.parent_id);
    assert_true(str_is(last.service_name, "bus"));
    assert_int_equal(last.start_wall_ns, 1000);
    assert_int_equal(last.end_wall_ns, 1000);
    assert_int_equal(last.status, SPAN_UNSET);
    assert_false(last.has_flags);
    assert_string_equal(last_event->name, "budget.exceeded");
    assert_int_equal(last_event->time_unix_nano, 1000);
    assert_int_equal(last_event->n_attributes, 5);
    must_have_text(0, "layer", "layer3_policy");
    must_have_number(1, "budget_ms", 10);
    must_have_number(2, "elapsed_ms", 12.5);
    must_have_text(3, "operation", "evaluate");
    must_have_text(4, "request_id", "r-17");
    close_events();
}

static void test_budget_event_is_when_the_layer_was_left(void **state)
{
    (void)state;
    struct budget budget = traced();
    open_events(1, false);
    budget.has |= BUDGET_HAS_TIMESTAMP;
    budget.timestamp_wall_ns = 77;
    must_make(&budget, 0);
    assert_int_equal(last.start_wall_ns, 77);
    assert_int_equal(last.end_wall_ns, 77);
    assert_int_equal(last_event->time_unix_nano, 77);
    close_events();
}

static void test_budget_event_needs_a_trace_and_a_span(void **state)
{
    (void)state;
    static const unsigned has[] = {0, BUDGET_HAS_TRACE_ID, BUDGET_HAS_SPAN_ID,
                                   BUDGET_HAS_TIMESTAMP | BUDGET_HAS_FLAGS};
    struct budget budget = traced();
    open_events(1, false);
    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++) {
        budget.has = has[i];
        must_make_none(&budget, 0, 0);
    }
    budget = traced();
    memset(budget.trace_id, 0, sizeof budget.trace_id);
    must_make_none(&budget, 0, 0);
    budget = traced();
    memset(budget.span_id, 0, sizeof budget.span_id);
    must_make_none(&budget, 0, 0);
    close_events();
}

/* Of a trace that will not be sent nothing is made, and nothing is taken from the limit. */
static void test_budget_event_goes_the_way_of_its_trace(void **state)
{
    (void)state;
    static const struct {
        double rate;
        bool has_flags;
        uint32_t flags;
        bool made;
    } facts[] = {{1, false, 0, true}, {0, false, 0, false}, {0, true, 1, true},
                 {1, true, 0, false}, {0, true, 3, true},   {1, true, 2, false}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct budget budget = traced();
        open_events(facts[i].rate, false);
        budget.has |= facts[i].has_flags ? BUDGET_HAS_FLAGS : 0U;
        budget.flags = facts[i].flags;
        if (facts[i].made) {
            must_make(&budget, 0);
        } else {
            must_make_none(&budget, 0, 0);
        }
        assert_int_equal(events.in_second, facts[i].made);
        close_events();
    }
}

/* Held with the spans of its trace, until that is known to be worth keeping. */
static void test_budget_event_is_held_with_its_trace(void **state)
{
    (void)state;
    struct budget budget = traced();
    open_events(0, true);
    tell(&budget, 0);
    assert_int_equal(events.made, 1);
    assert_int_equal(kept, 0);
    assert_int_equal(sampler.held, 1);
    close_events();
}

static void test_budget_event_without_anybody_who_wants_spans(void **state)
{
    (void)state;
    struct budget budget = traced();
    open_events(1, false);
    sampler.options.sink.keep = NULL;
    must_make_none(&budget, 0, 0);
    close_events();
}

static void test_budget_event_limit_is_of_a_second(void **state)
{
    (void)state;
    struct budget budget = traced();
    open_events(1, false);
    for (unsigned i = 0; i < BUDGET_EVENTS_PER_SECOND; i++) {
        must_make(&budget, 5 * NS_PER_SECOND + i);
    }
    must_make_none(&budget, 5 * NS_PER_SECOND, 1);
    must_make_none(&budget, 6 * NS_PER_SECOND - 1, 1);
    must_make(&budget, 6 * NS_PER_SECOND);
    for (unsigned i = 0; i < kept; i++) { /* no id comes twice */
        for (unsigned other = 0; other < i; other++) {
            assert_memory_not_equal(span_ids[i], span_ids[other], sizeof span_ids[i]);
        }
    }
    close_events();
}

static void test_budget_event_leaves_out_what_no_receiver_takes(void **state)
{
    (void)state;
    static const struct str bad[] = {{"", 0}, {"\xff", 1}, {"a\0b", 3}, {"\xc3", 1}};
    open_events(1, false);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct budget budget = traced();
        budget.operation = bad[i];
        budget.request_id = STR_LITERAL("\xc3\xa9");
        must_make(&budget, 0);
        assert_int_equal(last_event->n_attributes, 4);
        must_have_text(3, "request_id", "\xc3\xa9");
    }
    close_events();
}

static void test_budget_event_has_room_for_the_longest_texts(void **state)
{
    (void)state;
    char longest[RECORD_NAME_MAX];
    struct budget budget = traced();
    memset(longest, 'x', sizeof longest);
    budget.layer = budget.operation = budget.request_id = (struct str){longest, sizeof longest};
    open_events(1, false);
    must_make(&budget, 0);
    assert_int_equal(last_event->n_attributes, 5);
    assert_int_equal(strlen(last_event->attributes[4]->value->string_value), RECORD_NAME_MAX);
    close_events();
}

static void test_budget_event_without_memory_is_suppressed(void **state)
{
    (void)state;
    struct budget budget = traced();
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        open_events(1, false);
        mem_fail_after(n);
        tell(&budget, 0);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(events.suppressed, failed);
        assert_int_equal(events.made, !failed);
        must_make(&budget, 0); /* the next one finds memory again */
        close_events();
    }
    assert_int_equal(mem_count_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_event_is_a_span_below_the_one_of_the_layer),
        cmocka_unit_test(test_budget_event_is_when_the_layer_was_left),
        cmocka_unit_test(test_budget_event_needs_a_trace_and_a_span),
        cmocka_unit_test(test_budget_event_goes_the_way_of_its_trace),
        cmocka_unit_test(test_budget_event_is_held_with_its_trace),
        cmocka_unit_test(test_budget_event_without_anybody_who_wants_spans),
        cmocka_unit_test(test_budget_event_limit_is_of_a_second),
        cmocka_unit_test(test_budget_event_leaves_out_what_no_receiver_takes),
        cmocka_unit_test(test_budget_event_has_room_for_the_longest_texts),
        cmocka_unit_test(test_budget_event_without_memory_is_suppressed),
    };
    return cmocka_run_group_tests_name("budget_event", tests, core_tables, NULL);
}
