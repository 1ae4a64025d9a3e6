/* core/record: what a span must have, and its attributes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/err.h"
#include "core/record.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { NAME = 1, TRACE_ID = 2, SPAN_ID = 4, ALL = NAME | TRACE_ID | SPAN_ID };

static char long_text[RECORD_NAME_MAX + 1];

struct span_case {
    enum span_part part;
    unsigned given; /* parts that came */
    unsigned good;  /* parts that are not empty, not zero */
    size_t name_bytes;
    uint64_t start, end;
    int err;
    const char *key;
};

static const struct span_case span_cases[] = {
    {SPAN_WHOLE, ALL, ALL, 1, 1, 1, 0, ""},
    {SPAN_WHOLE, ALL, ALL, RECORD_NAME_MAX, 1, INT64_MAX, 0, ""},
    {SPAN_WHOLE, ALL, ALL, 1, INT64_MAX, INT64_MAX, 0, ""},
    {SPAN_START, ALL, ALL, 1, 1, 0, 0, ""},
    {SPAN_START, ALL, ALL, 1, INT64_MAX, 0, 0, ""},
    {SPAN_END, ALL, ALL, 1, 0, 1, 0, ""},
    {SPAN_END, ALL, ALL, 1, 0, INT64_MAX, 0, ""},
    {SPAN_END, ALL, ALL, 1, 5, 5, 0, ""},
    {SPAN_WHOLE, ALL, ALL, RECORD_NAME_MAX + 1, 1, 2, ERR_NAME, "name"},
    {SPAN_WHOLE, ALL, ALL, 0, 1, 2, ERR_NAME, "name"},
    {SPAN_WHOLE, ALL & ~NAME, ALL, 1, 1, 2, ERR_MISSING_KEY, "name"},
    {SPAN_WHOLE, ALL & ~TRACE_ID, ALL, 1, 1, 2, ERR_MISSING_KEY, "trace_id"},
    {SPAN_WHOLE, ALL, ALL & ~TRACE_ID, 1, 1, 2, ERR_RANGE, "trace_id"},
    {SPAN_WHOLE, ALL & ~SPAN_ID, ALL, 1, 1, 2, ERR_MISSING_KEY, "span_id"},
    {SPAN_WHOLE, ALL, ALL & ~SPAN_ID, 1, 1, 2, ERR_RANGE, "span_id"},
    {SPAN_WHOLE, 0, 0, 0, 0, 0, ERR_MISSING_KEY, "name"},
    {SPAN_WHOLE, ALL, ALL, 1, 0, 2, ERR_MISSING_KEY, "start_time_unix_nano"},
    {SPAN_START, ALL, ALL, 1, 0, 0, ERR_MISSING_KEY, "start_time_unix_nano"},
    {SPAN_WHOLE, ALL, ALL, 1, 1, 0, ERR_MISSING_KEY, "end_time_unix_nano"},
    {SPAN_END, ALL, ALL, 1, 0, 0, ERR_MISSING_KEY, "end_time_unix_nano"},
    {SPAN_END, ALL, ALL, 1, 1, 0, ERR_MISSING_KEY, "end_time_unix_nano"},
    {SPAN_WHOLE, ALL, ALL, 1, 2, 1, ERR_RANGE, "end_time_unix_nano"},
    {SPAN_END, ALL, ALL, 1, 2, 1, ERR_RANGE, "end_time_unix_nano"},
    {SPAN_WHOLE, ALL, ALL, 1, 1, UINT64_C(1) << 63, ERR_RANGE, "end_time_unix_nano"},
    {SPAN_END, ALL, ALL, 1, 0, UINT64_MAX, ERR_RANGE, "end_time_unix_nano"},
    {SPAN_WHOLE, ALL, ALL, 1, UINT64_C(1) << 63, UINT64_MAX, ERR_RANGE, "start_time_unix_nano"},
    {SPAN_START, ALL, ALL, 1, UINT64_C(1) << 63, 0, ERR_RANGE, "start_time_unix_nano"},
    {SPAN_END, ALL, ALL, 1, UINT64_C(1) << 63, UINT64_MAX, ERR_RANGE, "start_time_unix_nano"},
};

static void test_record_says_what_a_span_lacks(void **state)
{
    (void)state;
    static struct span_room room;
    struct span span;
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < COUNT_OF(span_cases); i++) {
        const struct span_case *row = &span_cases[i];
        struct span_given given = {.name = (row->given & NAME) != 0,
                                   .trace_id = (row->given & TRACE_ID) != 0,
                                   .span_id = (row->given & SPAN_ID) != 0};
        struct str key = {NULL, 0};
        span_init(&span, &room);
        span.part = row->part;
        span.name = (struct str){long_text, row->name_bytes};
        span.trace_id[RECORD_TRACE_ID_BYTES - 1] = (row->good & TRACE_ID) != 0; /* the last byte */
        span.span_id[RECORD_SPAN_ID_BYTES - 1] = (row->good & SPAN_ID) != 0;
        span.start_wall_ns = row->start;
        span.end_wall_ns = row->end;
        int err = span_check(&span, &given, &key);
        if (err != row->err || (err != 0 && !str_is(key, row->key))) {
            fail_msg("row %zu: %d \"%.*s\"", i, err, (int)key.len, key.ptr);
        }
    }
}

static void test_record_new_span_says_nothing(void **state)
{
    (void)state;
    static struct span_room room;
    struct span span;
    struct span nothing = {
        .attributes = room.attributes, .events = room.events, .links = room.links};
    memset(&span, 0xFF, sizeof span);
    memset(&room, 0xFF, sizeof room);
    span_init(&span, &room);
    assert_memory_equal(&span, &nothing, sizeof span);
    assert_null(span_find(&span, STR_LITERAL("k")));
    assert_null(span_find(&span, (struct str){NULL, 0}));
}

static void test_record_finds_an_attribute_by_its_whole_key(void **state)
{
    (void)state;
    static struct span_room room;
    struct span span;
    static char keys[SPAN_ATTRIBUTES_MAX][SPAN_ATTRIBUTES_MAX + 1];
    span_init(&span, &room);
    for (size_t i = 0; i < SPAN_ATTRIBUTES_MAX; i++) { /* each begins as the next one */
        memset(keys[i], 'k', i + 1);
        span.attributes[i].key = (struct str){keys[i], i + 1};
        span.attribute_count++;
    }
    for (size_t i = 0; i < SPAN_ATTRIBUTES_MAX; i++) {
        assert_ptr_equal(span_find(&span, str_of(keys[i])), &span.attributes[i]);
        for (size_t at = 0; at <= i; at++) {
            keys[i][at] = 'x';
            struct str other = str_of(keys[i]);
            span.attributes[i].key = STR_LITERAL("");
            assert_null(span_find(&span, other));
            keys[i][at] = 'k';
            span.attributes[i].key = str_of(keys[i]);
        }
    }
    span.attribute_count--;
    assert_null(span_find(&span, str_of(keys[SPAN_ATTRIBUTES_MAX - 1])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_says_what_a_span_lacks),
        cmocka_unit_test(test_record_new_span_says_nothing),
        cmocka_unit_test(test_record_finds_an_attribute_by_its_whole_key),
    };
    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
