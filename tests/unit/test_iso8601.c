/* wire/iso8601: single facts, and every day of the range against the C library's calendar. The forms
 * that are refused stand in tests/data/wire/ndjson/invalid/out_of_range.ndjson. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/err.h"
#include "wire/iso8601.h"

static void must_read(const char *text, uint64_t expect)
{
    uint64_t wall_ns = 1;
    assert_int_equal(iso8601_read(str_of(text), &wall_ns), 0);
    assert_true(wall_ns == expect);
}

static void must_refuse(const char *text)
{
    uint64_t wall_ns = 1;
    assert_int_equal(iso8601_read(str_of(text), &wall_ns), ERR_RANGE);
    assert_true(wall_ns == 1);
}

static void test_iso8601_takes_the_ends_of_its_range(void **state)
{
    (void)state;
    must_read("1970-01-01T00:00:00Z", 0);
    must_refuse("1969-12-31T23:59:59.999999999Z");
    must_read("2554-07-21T23:34:33.709551615Z", UINT64_MAX);
    must_refuse("2554-07-21T23:34:33.709551616Z");
    must_refuse("9999-12-31T23:59:59Z");
}

static void test_iso8601_moves_by_the_offset(void **state)
{
    (void)state;
    must_read("1970-01-01T01:00:00+01:00", 0);
    must_read("1969-12-31T00:01:00-23:59", 0);
    must_refuse("1970-01-01T00:59:59+01:00");
    must_read("2554-07-22T01:34:33.709551615+02:00", UINT64_MAX);
    must_refuse("2024-01-01T00:00:00+24:00");
    must_refuse("2024-01-01T00:00:00+00:60");
}

static void test_iso8601_refuses_every_cut_text(void **state)
{
    (void)state;
    static const char text[] = "2024-05-01T12:30:00.5+02:00";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        uint64_t wall_ns = 0;
        int err = iso8601_read((struct str){text, len}, &wall_ns);
        bool whole = len == 19 || len == 21; /* without fraction and zone, or without zone */
        assert_int_equal(err, whole ? 0 : ERR_RANGE);
    }
    uint64_t wall_ns = 0;
    assert_int_equal(iso8601_read((struct str){NULL, 0}, &wall_ns), ERR_RANGE);
}

static void test_iso8601_agrees_with_the_calendar_on_every_day(void **state)
{
    (void)state;
    for (time_t at = 0; at < (time_t)(UINT64_MAX / 1000000000); at += 86400) {
        struct tm tm;
        char text[64];
        assert_non_null(gmtime_r(&at, &tm));
        assert_int_equal(strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm), 20);
        must_read(text, (uint64_t)at * 1000000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iso8601_takes_the_ends_of_its_range),
        cmocka_unit_test(test_iso8601_moves_by_the_offset),
        cmocka_unit_test(test_iso8601_refuses_every_cut_text),
        cmocka_unit_test(test_iso8601_agrees_with_the_calendar_on_every_day),
    };
    return cmocka_run_group_tests_name("iso8601", tests, NULL, NULL);
}
