#include "random_span.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "core/kept_span.h"
#include "mem_fault.h"

enum { ROUNDS = 200 };

static struct random_span one, two;
static struct span_room room;

/* --- copies ------------------------------------------------------------------------------------ */

/* Everything that the copy must bear: struct, arrays, texts. */
static size_t sum_bytes(const struct span *span)
{
    size_t bytes = sizeof(struct kept_span) + span->name.len + span->trace_state.len +
                   span->status_message.len + span->service_name.len;
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        const struct span_attribute *attribute = &span->attributes[i];
        bytes += sizeof *attribute + attribute->key.len + attribute->field.len;
        bytes += attribute->is_text ? attribute->text.len : 0;
    }
    for (uint32_t i = 0; i < span->event_count; i++) {
        bytes += sizeof *span->events + span->events[i].body.len;
    }
    for (uint32_t i = 0; i < span->link_count; i++) {
        bytes += sizeof *span->links + span->links[i].body.len;
    }
    return bytes;
}

static void test_kept_span_stays_when_the_original_is_gone(void **state)
{
    (void)state;
    struct random random = random_start("kept_span");
    struct random_span *same = malloc(sizeof *same);
    assert_non_null(same);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t most = i % 20 == 0 ? SPAN_ATTRIBUTES_MAX : 8;
        struct random again = random;
        random_span_make(&random, most, &one);
        random_span_make(&again, most, same); /* the same in other memory */
        size_t before = mem_count_allocations();
        struct kept_span *kept = kept_span_new(&one.span);
        assert_non_null(kept);
        assert_int_equal(mem_count_allocations() - before, 1);
        assert_int_equal(kept->bytes, sum_bytes(&same->span));
        assert_null(kept->next);
        random_span_scribble(&one);
        must_equal_span(&kept->span, &same->span);
        mem_free(kept);
    }
    free(same);
}

static void test_kept_span_may_be_empty(void **state)
{
    (void)state;
    struct span span = {.part = SPAN_START};
    struct kept_span *kept = kept_span_new(&span);
    assert_non_null(kept);
    assert_int_equal(kept->bytes, sizeof *kept);
    must_equal_span(&kept->span, &span);
    mem_free(kept);
}

static void test_kept_span_does_not_read_a_text_that_is_none(void **state)
{
    (void)state;
    struct span_attribute attribute = {
        .key = STR_LITERAL("k"), .field = STR_LITERAL("f"), .text = {(const char *)8, 99}};
    struct span span = {.attribute_count = 1, .attributes = &attribute};
    struct kept_span *kept = kept_span_new(&span);
    assert_non_null(kept);
    assert_null(kept->span.attributes[0].text.ptr);
    assert_int_equal(kept->span.attributes[0].text.len, 0);
    mem_free(kept);
}

static void test_kept_span_needs_memory(void **state)
{
    (void)state;
    struct span span = {.part = SPAN_START};
    mem_fail_after(1);
    assert_null(kept_span_new(&span));
    assert_true(mem_has_failed());
}

/* --- merging ----------------------------------------------------------------------------------- */

#define TEXT(text)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define ID(...)                                                                                    \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

/* What differs from a pair of halves that say nothing but their ids. */
static const struct merge_fact {
    const char *what;
    struct span first, second, merged;
} merge_facts[] = {
    {"nothing is said", {.name = {0}}, {.name = {0}}, {.name = {0}}},
    {"the second names it", {.name = TEXT("a")}, {.name = TEXT("b")}, {.name = TEXT("b")}},
    {"only the first names it", {.name = TEXT("a")}, {.name = {0}}, {.name = TEXT("a")}},
    {"only the first has a parent",
     {.parent_id = ID(1)},
     {.parent_id = ID(0)},
     {.parent_id = ID(1)}},
    {"both have a parent",
     {.parent_id = ID(1)},
     {.parent_id = ID(0, 0, 0, 0, 0, 0, 0, 2)},
     {.parent_id = ID(0, 0, 0, 0, 0, 0, 0, 2)}},
    {"the second has a state",
     {.trace_state = TEXT("a=1")},
     {.trace_state = TEXT("b=2")},
     {.trace_state = TEXT("b=2")}},
    {"only the first has a state",
     {.trace_state = TEXT("a=1")},
     {.trace_state = {0}},
     {.trace_state = TEXT("a=1")}},
    {"kinds", {.kind = 2}, {.kind = 3}, {.kind = 3}},
    {"only the first has a kind", {.kind = 2}, {.kind = 0}, {.kind = 2}},
    {"flags of both, of which the second says no",
     {.has_flags = true, .flags = 1},
     {.has_flags = true, .flags = 0},
     {.has_flags = true, .flags = 0}},
    {"only the first has flags",
     {.has_flags = true, .flags = 0x101},
     {.flags = 0},
     {.has_flags = true, .flags = 0x101}},
    {"only the second has flags",
     {.flags = 0},
     {.has_flags = true, .flags = 1},
     {.has_flags = true, .flags = 1}},
    {"times of both halves",
     {.start_wall_ns = 5},
     {.end_wall_ns = 9},
     {.start_wall_ns = 5, .end_wall_ns = 9}},
    {"the second corrects when it began",
     {.start_wall_ns = 5},
     {.start_wall_ns = 6, .end_wall_ns = 9},
     {.start_wall_ns = 6, .end_wall_ns = 9}},
    {"an end that the first half has no business to say",
     {.start_wall_ns = 5, .end_wall_ns = 7},
     {.end_wall_ns = 9},
     {.start_wall_ns = 5, .end_wall_ns = 9}},
    {"the second judges",
     {.status = SPAN_ERROR, .status_message = TEXT("early")},
     {.status = SPAN_OK},
     {.status = SPAN_OK}},
    {"the second judges with a message",
     {.status = SPAN_OK, .status_message = TEXT("early")},
     {.status = SPAN_ERROR, .status_message = TEXT("late")},
     {.status = SPAN_ERROR, .status_message = TEXT("late")}},
    {"only the first judges",
     {.status = SPAN_ERROR, .status_message = TEXT("early")},
     {.status = SPAN_UNSET},
     {.status = SPAN_ERROR, .status_message = TEXT("early")}},
    {"only the first judges, and the second has a message",
     {.status = SPAN_ERROR, .status_message = TEXT("early")},
     {.status_message = TEXT("late")},
     {.status = SPAN_ERROR, .status_message = TEXT("late")}},
    {"services",
     {.service_name = TEXT("a")},
     {.service_name = TEXT("b")},
     {.service_name = TEXT("b")}},
    {"only the first has a service",
     {.service_name = TEXT("a")},
     {.service_name = {0}},
     {.service_name = TEXT("a")}},
    {"counts are added",
     {.dropped_attributes = 1, .dropped_events = 2, .dropped_links = 3},
     {.dropped_attributes = 10, .dropped_events = 20, .dropped_links = 30},
     {.dropped_attributes = 11, .dropped_events = 22, .dropped_links = 33}},
    {"counts reach their end",
     {.dropped_attributes = UINT32_MAX, .dropped_events = 1, .dropped_links = UINT32_MAX - 1},
     {.dropped_attributes = 0, .dropped_events = UINT32_MAX - 1, .dropped_links = 1},
     {.dropped_attributes = UINT32_MAX, .dropped_events = UINT32_MAX, .dropped_links = UINT32_MAX}},
    {"counts stay at their end",
     {.dropped_attributes = UINT32_MAX, .dropped_events = 2, .dropped_links = UINT32_MAX},
     {.dropped_attributes = 1, .dropped_events = UINT32_MAX - 1, .dropped_links = UINT32_MAX},
     {.dropped_attributes = UINT32_MAX, .dropped_events = UINT32_MAX, .dropped_links = UINT32_MAX}},
};

static void test_kept_span_merges_single_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof merge_facts / sizeof merge_facts[0]; i++) {
        const struct merge_fact *fact = &merge_facts[i];
        struct span merged;
        print_message("%s\n", fact->what);
        memset(&room, 0xA5, sizeof room);
        span_merge(&fact->first, &fact->second, &room, &merged);
        must_equal_span(&merged, &fact->merged);
    }
}

static void test_kept_span_merges_to_a_whole_of_the_first_ids(void **state)
{
    (void)state;
    struct span merged;
    struct span first = {.part = SPAN_START, .trace_id = ID(1), .span_id = ID(2)};
    struct span second = {.part = SPAN_END, .trace_id = ID(1), .span_id = ID(2)};
    span_merge(&first, &second, &room, &merged);
    assert_int_equal(merged.part, SPAN_WHOLE);
    assert_memory_equal(merged.trace_id, first.trace_id, sizeof first.trace_id);
    assert_memory_equal(merged.span_id, first.span_id, sizeof first.span_id);
}

/* Attributes as a text, "a=1 b=2": keys and values of a letter. */
static void make_attributes(struct random_span *span, const char *text)
{
    span->len = 0;
    span_init(&span->span, &span->room);
    for (; *text != '\0'; text += text[3] == '\0' ? 3 : 4) {
        random_span_add_text(span, (char[]){text[0], '\0'}, (char[]){text[2], '\0'});
    }
}

static void test_kept_span_merges_attributes_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *merged;
    } facts[] = {
        {"", "", ""},
        {"a=1", "", "a=1"},
        {"", "a=1", "a=1"},
        {"a=1 b=2", "c=3", "a=1 b=2 c=3"},
        {"a=1 b=2", "a=3", "b=2 a=3"}, /* one that is said anew comes where it was said last */
        {"a=1 b=2 c=3", "c=4 d=5 a=6", "b=2 c=4 d=5 a=6"},
        {"a=1", "a=1", "a=1"},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        static struct random_span wanted;
        struct span merged;
        make_attributes(&one, facts[i].first);
        make_attributes(&two, facts[i].second);
        make_attributes(&wanted, facts[i].merged);
        span_merge(&one.span, &two.span, &room, &merged);
        must_equal_span(&merged, &wanted.span);
    }
}

/* Attributes k<from> … k<from + count - 1>, as many events and links. */
static void make_many(struct random_span *span, uint32_t from, uint32_t count)
{
    span->len = 0;
    span_init(&span->span, &span->room);
    for (uint32_t i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%u", from + i);
        random_span_add_text(span, key, "v");
        struct str body = span->span.attributes[i].key; /* any bytes that tell them apart */
        span->span.events[span->span.event_count++] = (struct span_child){body, i};
        span->span.links[span->span.link_count++] = (struct span_child){body, i};
    }
}

static void test_kept_span_merges_up_to_the_limits(void **state)
{
    (void)state;
    static const struct {
        uint32_t first, second_from, second, attributes, children, attributes_out, children_out;
    } facts[] = {
        {64, 64, 64, 128, 128, 0, 0},    {64, 64, 65, 128, 128, 1, 1},
        {128, 128, 0, 128, 128, 0, 0},   {128, 128, 1, 128, 128, 1, 1},
        {0, 0, 128, 128, 128, 0, 0},     {128, 128, 128, 128, 128, 128, 128},
        {128, 0, 128, 128, 128, 0, 128}, /* each attribute is said anew */
        {128, 127, 1, 128, 128, 0, 1},   {128, 127, 2, 128, 128, 1, 2},
    };
    _Static_assert(SPAN_ATTRIBUTES_MAX == 128 && SPAN_EVENTS_MAX == 128 && SPAN_LINKS_MAX == 128,
                   "the facts are about these");
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct span merged;
        make_many(&one, 0, facts[i].first);
        make_many(&two, facts[i].second_from, facts[i].second);
        span_merge(&one.span, &two.span, &room, &merged);
        assert_int_equal(merged.attribute_count, facts[i].attributes);
        assert_int_equal(merged.event_count, facts[i].children);
        assert_int_equal(merged.link_count, facts[i].children);
        assert_int_equal(merged.dropped_attributes, facts[i].attributes_out);
        assert_int_equal(merged.dropped_events, facts[i].children_out);
        assert_int_equal(merged.dropped_links, facts[i].children_out);
        for (uint32_t at = 0; at < facts[i].first; at++) {
            assert_true(str_equal(merged.events[at].body, one.span.events[at].body));
            assert_int_equal(merged.links[at].dropped, at);
        }
        for (uint32_t at = facts[i].first; at < merged.event_count; at++) {
            uint32_t from = at - facts[i].first;
            assert_true(str_equal(merged.events[at].body, two.span.events[from].body));
            assert_true(str_equal(merged.links[at].body, two.span.links[from].body));
        }
    }
}

static void test_kept_span_what_is_left_out_does_not_wrap(void **state)
{
    (void)state;
    struct span merged;
    make_many(&one, 0, 128);
    make_many(&two, 128, 2);
    one.span.dropped_attributes = UINT32_MAX - 1;
    two.span.dropped_events = UINT32_MAX - 1;
    one.span.dropped_links = UINT32_MAX - 2;
    span_merge(&one.span, &two.span, &room, &merged);
    assert_int_equal(merged.dropped_attributes, UINT32_MAX);
    assert_int_equal(merged.dropped_events, UINT32_MAX);
    assert_int_equal(merged.dropped_links, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_span_stays_when_the_original_is_gone),
        cmocka_unit_test(test_kept_span_may_be_empty),
        cmocka_unit_test(test_kept_span_does_not_read_a_text_that_is_none),
        cmocka_unit_test(test_kept_span_needs_memory),
        cmocka_unit_test(test_kept_span_merges_single_values),
        cmocka_unit_test(test_kept_span_merges_to_a_whole_of_the_first_ids),
        cmocka_unit_test(test_kept_span_merges_attributes_in_order),
        cmocka_unit_test(test_kept_span_merges_up_to_the_limits),
        cmocka_unit_test(test_kept_span_what_is_left_out_does_not_wrap),
    };
    return cmocka_run_group_tests_name("kept_span", tests, note_memory, must_be_clean);
}
