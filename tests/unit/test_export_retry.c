#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "io/export/export_retry.h"

#define SECOND UINT64_C(1000000000)
#define YEAR   (SECOND * 365 * 86400)

static struct retry_input input_of(enum transport_status status)
{
    return (struct retry_input){.status = status, .left_ns = UINT64_MAX, .items = 512};
}

static void must_keep(struct retry_input input)
{
    assert_int_equal(export_retry_decide(&input).action, RETRY_KEEP);
}

static void must_wait(struct retry_input input, uint64_t wait_ns)
{
    struct retry_decision decision = export_retry_decide(&input);
    assert_int_equal(decision.action, RETRY_WAIT);
    assert_int_equal(decision.wait_ns, wait_ns);
}

static void must_split(struct retry_input input)
{
    assert_int_equal(export_retry_decide(&input).action, RETRY_SPLIT);
}

static void must_drop(struct retry_input input, enum export_drop reason)
{
    struct retry_decision decision = export_retry_decide(&input);
    assert_int_equal(decision.action, RETRY_DROP);
    assert_int_equal(decision.reason, reason);
}

static void test_export_retry_knows_every_status(void **state)
{
    (void)state;
    static const enum transport_status transient[] = {
        TRANSPORT_CANCELLED,    TRANSPORT_DEADLINE_EXCEEDED, TRANSPORT_ABORTED,
        TRANSPORT_OUT_OF_RANGE, TRANSPORT_UNAVAILABLE,       TRANSPORT_DATA_LOSS};
    static const enum transport_status final[] = {
        TRANSPORT_UNKNOWN,        TRANSPORT_INVALID_ARGUMENT,  TRANSPORT_NOT_FOUND,
        TRANSPORT_ALREADY_EXISTS, TRANSPORT_PERMISSION_DENIED, TRANSPORT_FAILED_PRECONDITION,
        TRANSPORT_UNIMPLEMENTED,  TRANSPORT_INTERNAL,          TRANSPORT_UNAUTHENTICATED};
    enum {
        TRANSIENT = sizeof transient / sizeof transient[0],
        FINAL = sizeof final / sizeof *final
    };
    /* With OK and RESOURCE_EXHAUSTED these are all. */
    assert_int_equal(TRANSIENT + FINAL + 2, TRANSPORT_STATUS_COUNT);
    must_keep(input_of(TRANSPORT_OK));
    for (size_t i = 0; i < TRANSIENT; i++) {
        must_wait(input_of(transient[i]), 0);
    }
    for (size_t i = 0; i < FINAL; i++) {
        must_drop(input_of(final[i]), EXPORT_DROP_FAILED);
        struct retry_input told = input_of(final[i]);
        told.has_retry_delay = true;
        must_drop(told, EXPORT_DROP_FAILED);
    }
}

static void test_export_retry_jitters_below_a_doubling_ceiling(void **state)
{
    (void)state;
    static const struct {
        unsigned attempt;
        uint64_t ceiling;
    } rows[] = {{0, SECOND},       {1, 2 * SECOND},   {2, 4 * SECOND},          {3, 8 * SECOND},
                {4, 16 * SECOND},  {5, 30 * SECOND},  {6, 30 * SECOND},         {62, 30 * SECOND},
                {63, 30 * SECOND}, {64, 30 * SECOND}, {UINT32_MAX, 30 * SECOND}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct retry_input input = input_of(TRANSPORT_UNAVAILABLE);
        input.attempt = rows[i].attempt;
        must_wait(input, 0);
        input.random = 1;
        must_wait(input, 1);
        input.random = rows[i].ceiling;
        must_wait(input, rows[i].ceiling);
        input.random = rows[i].ceiling + 1; /* comes round */
        must_wait(input, 0);
    }
}

static void test_export_retry_comes_back_when_it_is_told(void **state)
{
    (void)state;
    static const struct {
        uint64_t told, waited;
    } rows[] = {
        {0, SECOND / 10},
        {SECOND / 10 - 1, SECOND / 10},
        {SECOND / 10, SECOND / 10},
        {SECOND / 10 + 1, SECOND / 10 + 1},
        {7 * SECOND, 7 * SECOND},
        {300 * SECOND, 300 * SECOND},
        {300 * SECOND + 1, 300 * SECOND},
        {YEAR, 300 * SECOND},
        {UINT64_MAX, 300 * SECOND},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct retry_input input = input_of(TRANSPORT_UNAVAILABLE);
        input.has_retry_delay = true;
        input.retry_delay_ns = rows[i].told;
        input.attempt = 9;
        input.random = 12345;
        must_wait(input, rows[i].waited);
        input.status = TRANSPORT_RESOURCE_EXHAUSTED;
        must_wait(input, rows[i].waited);
    }
}

static void test_export_retry_halves_what_is_too_large(void **state)
{
    (void)state;
    struct retry_input input = input_of(TRANSPORT_RESOURCE_EXHAUSTED);
    must_split(input);
    input.items = 2;
    must_split(input);
    input.left_ns = 0; /* a half may be sent at once */
    must_split(input);
    input.items = 1;
    must_drop(input, EXPORT_DROP_TOO_LARGE);
}

static void test_export_retry_does_not_wait_past_the_end(void **state)
{
    (void)state;
    struct retry_input input = input_of(TRANSPORT_UNAVAILABLE);
    input.random = SECOND;
    input.left_ns = SECOND + 1;
    must_wait(input, SECOND);
    input.left_ns = SECOND;
    must_drop(input, EXPORT_DROP_TIMEOUT);
    input.left_ns = 0;
    input.random = 0;
    must_drop(input, EXPORT_DROP_TIMEOUT);
    input.status = TRANSPORT_OK;
    must_keep(input);
}

static void test_export_retry_names_every_status(void **state)
{
    (void)state;
    for (int i = 0; i < TRANSPORT_STATUS_COUNT; i++) {
        assert_true(strlen(export_retry_status_name((enum transport_status)i)) >= 2);
    }
    assert_string_equal(export_retry_status_name(TRANSPORT_UNAVAILABLE), "UNAVAILABLE");
    assert_string_equal(export_retry_status_name(TRANSPORT_UNAUTHENTICATED), "UNAUTHENTICATED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_retry_knows_every_status),
        cmocka_unit_test(test_export_retry_jitters_below_a_doubling_ceiling),
        cmocka_unit_test(test_export_retry_comes_back_when_it_is_told),
        cmocka_unit_test(test_export_retry_halves_what_is_too_large),
        cmocka_unit_test(test_export_retry_does_not_wait_past_the_end),
        cmocka_unit_test(test_export_retry_names_every_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
