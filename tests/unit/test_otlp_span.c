#include "random_span.h"

#include <otlp.pb-c.h>
#include <stdlib.h>

#include "render/otlp_span.h"

enum { ROUNDS = 300, BYTES_MAX = 1 << 20 };

#define HASH "cdd01ef066bc6cf2"

static struct random_span random_one;

/* What protobuf-c reads of the rendered span; to be freed with otlp__span__free_unpacked. */
static Otlp__Span *must_render(const struct span *span)
{
    struct buf out;
    buf_init(&out, BYTES_MAX);
    otlp_span_render(span, STR_LITERAL(HASH), &out);
    assert_int_equal(out.err, 0);
    Otlp__Span *got = otlp__span__unpack(NULL, out.len, (const uint8_t *)out.data);
    assert_non_null(got);
    assert_int_equal(got->base.n_unknown_fields, 0);
    buf_fini(&out);
    return got;
}

static void free_span(Otlp__Span *span)
{
    otlp__span__free_unpacked(span, NULL);
}

/* --- comparing --------------------------------------------------------------------------------- */

static void must_be_id(ProtobufCBinaryData got, const uint8_t *wanted, size_t len)
{
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, wanted, len);
}

/* A text that is not there is empty. */
static void must_be_text(const char *got, struct str wanted)
{
    assert_int_equal(got != NULL, wanted.len > 0);
    if (got != NULL) {
        assert_int_equal(strlen(got), wanted.len);
        assert_memory_equal(got, wanted.ptr, wanted.len);
    }
}

/* Zero is not said. */
static void must_be_count(bool has, uint32_t got, uint32_t wanted)
{
    assert_int_equal(has, wanted > 0);
    assert_int_equal(got, wanted);
}

/* Written again, the part is the bytes that were given. */
static void must_be_bytes(const ProtobufCMessage *part, struct str wanted)
{
    size_t len = protobuf_c_message_get_packed_size(part);
    uint8_t *bytes = malloc(len + 1);
    assert_non_null(bytes);
    assert_int_equal(protobuf_c_message_pack(part, bytes), len);
    assert_int_equal(len, wanted.len);
    assert_memory_equal(bytes, wanted.ptr, len);
    free(bytes);
}

/* A field of a length below 128 without tag and length. */
static struct str inside(struct str field)
{
    assert_true(field.len >= 2 && (size_t)(unsigned char)field.ptr[1] == field.len - 2);
    return (struct str){field.ptr + 2, field.len - 2};
}

static void must_be_event(Otlp__Event *got, const struct span_child *wanted)
{
    must_be_count(got->has_dropped_attributes_count, got->dropped_attributes_count,
                  wanted->dropped);
    got->has_dropped_attributes_count = 0;
    must_be_bytes(&got->base, wanted->body);
}

static void must_be_link(Otlp__Link *got, const struct span_child *wanted)
{
    must_be_count(got->has_dropped_attributes_count, got->dropped_attributes_count,
                  wanted->dropped);
    got->has_dropped_attributes_count = 0;
    must_be_bytes(&got->base, wanted->body);
}

static const Otlp__KeyValue *find(const Otlp__Span *span, const char *key)
{
    const Otlp__KeyValue *found = NULL;
    for (size_t i = 0; i < span->n_attributes; i++) {
        if (strcmp(span->attributes[i]->key, key) == 0) {
            assert_null(found); /* each key once */
            found = span->attributes[i];
        }
    }
    return found;
}

static void must_have_text(const Otlp__Span *span, const char *key, const char *text)
{
    const Otlp__KeyValue *found = find(span, key);
    assert_non_null(found);
    assert_int_equal(found->value->value_case, OTLP__ANY_VALUE__VALUE_STRING_VALUE);
    assert_string_equal(found->value->string_value, text);
}

static void must_be_status(const Otlp__Span *got, const struct span *wanted)
{
    bool said = wanted->status != SPAN_UNSET || wanted->status_message.len > 0;
    assert_int_equal(got->status != NULL, said);
    if (said) {
        must_be_text(got->status->message, wanted->status_message);
        must_be_count(got->status->has_code, got->status->code, wanted->status);
    }
}

static void must_be_span(const Otlp__Span *got, const struct span *wanted)
{
    static const uint8_t zeros[RECORD_SPAN_ID_BYTES];
    bool root = memcmp(wanted->parent_id, zeros, sizeof zeros) == 0;
    must_be_id(got->trace_id, wanted->trace_id, sizeof wanted->trace_id);
    must_be_id(got->span_id, wanted->span_id, sizeof wanted->span_id);
    assert_int_equal(got->has_parent_span_id, !root);
    if (!root) {
        must_be_id(got->parent_span_id, wanted->parent_id, sizeof wanted->parent_id);
    }
    must_be_text(got->trace_state, wanted->trace_state);
    must_be_text(got->name, wanted->name);
    must_be_count(got->has_kind, got->kind, wanted->kind == 0 ? 1 : wanted->kind); /* internal */
    assert_int_equal(got->start_time_unix_nano, wanted->start_wall_ns);
    assert_int_equal(got->end_time_unix_nano, wanted->end_wall_ns);
    must_be_count(got->has_dropped_attributes_count, got->dropped_attributes_count,
                  wanted->dropped_attributes);
    must_be_count(got->has_dropped_events_count, got->dropped_events_count, wanted->dropped_events);
    must_be_count(got->has_dropped_links_count, got->dropped_links_count, wanted->dropped_links);
    must_be_status(got, wanted);
    assert_int_equal(got->has_flags, wanted->has_flags);
    assert_int_equal(got->flags, wanted->flags);
    assert_int_equal(got->n_events, wanted->event_count);
    for (size_t i = 0; i < got->n_events; i++) {
        must_be_event(got->events[i], &wanted->events[i]);
    }
    assert_int_equal(got->n_links, wanted->link_count);
    for (size_t i = 0; i < got->n_links; i++) {
        must_be_link(got->links[i], &wanted->links[i]);
    }
}

/* --- spans ------------------------------------------------------------------------------------- */

static void test_otlp_span_says_what_the_span_says(void **state)
{
    (void)state;
    struct random random = random_start("otlp_span");
    for (unsigned i = 0; i < ROUNDS; i++) {
        random_span_make(&random, i % 50 == 0 ? SPAN_ATTRIBUTES_MAX : 6, &random_one);
        const struct span *span = &random_one.span;
        Otlp__Span *got = must_render(span);
        must_be_span(got, span);
        assert_int_equal(got->n_attributes, span->attribute_count + 2);
        for (size_t at = 0; at < span->attribute_count; at++) {
            must_be_bytes(&got->attributes[at]->base, inside(span->attributes[at].field));
        }
        must_have_text(got, "constitutional.hash", HASH);
        assert_non_null(find(got, "timestamp"));
        free_span(got);
    }
}

static void test_otlp_span_of_nothing_but_the_necessary(void **state)
{
    (void)state;
    struct span span = plain_span(1, 2, 3, 4);
    Otlp__Span *got = must_render(&span);
    must_be_span(got, &span);
    assert_int_equal(got->n_attributes, 2);
    free_span(got);
}

/* Flags of 0 say that somebody decided not to keep it; without flags nobody decided. */
static void test_otlp_span_flags_of_zero_are_said(void **state)
{
    (void)state;
    struct span span = plain_span(1, 2, 3, 4);
    span.has_flags = true;
    Otlp__Span *got = must_render(&span);
    assert_true(got->has_flags);
    free_span(got);
}

static void test_otlp_span_is_appended(void **state)
{
    (void)state;
    struct span span = plain_span(1, 2, 3, 4);
    struct buf out;
    struct buf alone;
    buf_init(&out, BYTES_MAX);
    buf_init(&alone, BYTES_MAX);
    otlp_span_render(&span, STR_LITERAL(HASH), &alone);
    buf_puts(&out, "before");
    otlp_span_render(&span, STR_LITERAL(HASH), &out);
    assert_int_equal(out.len, 6 + alone.len);
    assert_memory_equal(out.data, "before", 6);
    assert_memory_equal(out.data + 6, alone.data, alone.len);
    buf_fini(&alone);
    buf_fini(&out);
}

/* --- attributes of the daemon ------------------------------------------------------------------ */

static void begin(void)
{
    random_one.len = 0;
    struct span plain = plain_span(1, 2, 3, 4);
    span_init(&random_one.span, &random_one.room);
    plain.attributes = random_one.span.attributes;
    random_one.span = plain;
}

static void test_otlp_span_nobody_overrides_the_hash(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t attributes;
    } facts[] = {
        {"constitutional.hash", 3}, /* a, ours, the timestamp */
        {"constitutional.hash2", 4},
        {"constitutional", 4},
        {"Constitutional.hash", 4},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        begin();
        random_span_add_text(&random_one, facts[i].key, "0000");
        random_span_add_text(&random_one, "a", "b");
        Otlp__Span *got = must_render(&random_one.span);
        assert_int_equal(got->n_attributes, facts[i].attributes);
        must_have_text(got, "constitutional.hash", HASH);
        must_have_text(got, "a", "b");
        free_span(got);
    }
}

static void test_otlp_span_timestamps(void **state)
{
    (void)state;
    static const struct {
        uint64_t start_wall_ns;
        const char *text;
    } facts[] = {
        {1, "1970-01-01T00:00:00.000000+00:00"},
        {999, "1970-01-01T00:00:00.000000+00:00"},
        {1000, "1970-01-01T00:00:00.000001+00:00"},
        {UINT64_C(951782399999999999), "2000-02-28T23:59:59.999999+00:00"},
        {UINT64_C(951782400000000000), "2000-02-29T00:00:00.000000+00:00"},
        {UINT64_C(1700000000123456789), "2023-11-14T22:13:20.123456+00:00"},
        {INT64_MAX, "2262-04-11T23:47:16.854775+00:00"},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct span span = plain_span(1, 2, facts[i].start_wall_ns, facts[i].start_wall_ns);
        Otlp__Span *got = must_render(&span);
        must_have_text(got, "timestamp", facts[i].text);
        free_span(got);
    }
}

static void test_otlp_span_keeps_a_timestamp_of_its_own(void **state)
{
    (void)state;
    begin();
    random_span_add_text(&random_one, "timestamp", "yesterday");
    Otlp__Span *got = must_render(&random_one.span);
    assert_int_equal(got->n_attributes, 2);
    must_have_text(got, "timestamp", "yesterday");
    free_span(got);
}

/* --- what core/spans adds ---------------------------------------------------------------------- */

static Otlp__Span *cut;

static void note_cut(void *ctx, const struct span *span, bool was_held)
{
    (void)was_held;
    (void)ctx;
    assert_null(cut);
    cut = must_render(span);
}

static void must_cut(struct core *core, uint64_t number, const char *reason)
{
    assert_non_null(cut);
    assert_int_equal(cut->span_id.data[0], number);
    must_have_text(cut, "dwell.cut_off", reason);
    assert_int_equal(cut->n_attributes, 3);
    assert_int_equal(cut->status->code, SPAN_ERROR);
    assert_int_equal(cut->end_time_unix_nano, core->wall_ns);
    free_span(cut);
    cut = NULL;
}

static void test_otlp_span_that_was_cut_off(void **state)
{
    (void)state;
    struct core core;
    struct registry_options registry = core_options();
    struct span_owner owner = {0};
    struct spans_options options = {
        .max_open = 1, .max_open_bytes = SIZE_MAX, .sampler = {.rate = 1, .sink.keep = note_cut}};
    core_open(&core, &registry);
    memset(core.spans, 0, sizeof *core.spans);
    spans_init(core.spans, &options, core.registry, core.metrics);
    core_move(&core, 1);
    for (uint64_t number = 1; number <= 3; number++) {
        struct span span = plain_span(1, number, 1, 0);
        span.part = SPAN_START;
        assert_int_equal(spans_take(core.spans, &span, &owner, STR_LITERAL("s")), 0);
        if (number == 2) {
            must_cut(&core, 1, "ceiling_reached");
            spans_end_owner(core.spans, &owner);
            must_cut(&core, 2, "process_ended");
        }
    }
    spans_stop(core.spans);
    must_cut(&core, 3, "daemon_stopped");
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_span_says_what_the_span_says),
        cmocka_unit_test(test_otlp_span_of_nothing_but_the_necessary),
        cmocka_unit_test(test_otlp_span_flags_of_zero_are_said),
        cmocka_unit_test(test_otlp_span_is_appended),
        cmocka_unit_test(test_otlp_span_nobody_overrides_the_hash),
        cmocka_unit_test(test_otlp_span_timestamps),
        cmocka_unit_test(test_otlp_span_keeps_a_timestamp_of_its_own),
        cmocka_unit_test(test_otlp_span_that_was_cut_off),
    };
    return cmocka_run_group_tests_name("otlp_span", tests, core_tables, NULL);
}
