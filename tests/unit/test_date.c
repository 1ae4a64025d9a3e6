/* base/date against known days, and against gmtime_r on random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/date.h"
#include "wire_random.h"

#define NS UINT64_C(1000000000)

static void test_date_knows_odd_days(void **state)
{
    (void)state;
    static const struct {
        uint64_t wall_ns;
        struct date date;
    } facts[] = {
        {0, {1970, 1, 1, 0, 0, 0}},
        {NS - 1, {1970, 1, 1, 0, 0, 0}},
        {NS, {1970, 1, 1, 0, 0, 1}},
        {951782400 * NS - 1, {2000, 2, 28, 23, 59, 59}},
        {951782400 * NS, {2000, 2, 29, 0, 0, 0}},
        {951868800 * NS, {2000, 3, 1, 0, 0, 0}},
        {1709164800 * NS, {2024, 2, 29, 0, 0, 0}},
        {4107542400 * NS, {2100, 3, 1, 0, 0, 0}}, /* no leap year */
        {UINT64_MAX, {2554, 7, 21, 23, 34, 33}},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct date date = date_of(facts[i].wall_ns);
        assert_memory_equal(&date, &facts[i].date, sizeof date);
    }
}

static void test_date_agrees_with_the_library(void **state)
{
    (void)state;
    struct wire_random random = wire_random_start("test_date");
    for (int i = 0; i < 100000; i++) {
        uint64_t wall_ns = wire_random_next(&random);
        time_t seconds = (time_t)(wall_ns / NS);
        struct tm utc;
        assert_non_null(gmtime_r(&seconds, &utc));
        struct date date = date_of(wall_ns);
        assert_int_equal(date.year, utc.tm_year + 1900);
        assert_int_equal(date.month, utc.tm_mon + 1);
        assert_int_equal(date.day, utc.tm_mday);
        assert_int_equal(date.hour, utc.tm_hour);
        assert_int_equal(date.minute, utc.tm_min);
        assert_int_equal(date.second, utc.tm_sec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date_knows_odd_days),
        cmocka_unit_test(test_date_agrees_with_the_library),
    };
    return cmocka_run_group_tests_name("date", tests, NULL, NULL);
}
