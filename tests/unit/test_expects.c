/* What the sender of a wrong value is told to send. */
#include "wire/ndjson.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/err.h"
#include "wire_recorder.h"

enum { MAX_LINE_BYTES = 1024 };

static char told[128];

static void take(void *ctx, const struct rejection *rejection)
{
    (void)ctx;
    assert_true(rejection->expects.len < sizeof told);
    memset(told, 0, sizeof told);
    if (rejection->expects.len > 0) {
        memcpy(told, rejection->expects.ptr, rejection->expects.len);
    }
}

/* What is told of one line. */
static const char *expected_of(const char *line)
{
    struct recorder recorder;
    struct ndjson ndjson;
    recorder_init(&recorder);
    recorder.sink.reject = take;
    memcpy(told, "no rejection", sizeof "no rejection");
    ndjson_init(&ndjson, MAX_LINE_BYTES);
    assert_int_equal(ndjson_feed(&ndjson, str_of(line), &recorder.sink), 0);
    ndjson_fini(&ndjson);
    recorder_fini(&recorder);
    return told;
}

#define SAMPLE(rest) "{\"model_name\":\"m\",\"execution_time_ms\":1," rest "}\n"
#define GAUGE(rest)  "{\"type\":\"gauge\",\"name\":\"g\",\"value\":1," rest "}\n"
#define SPAN(rest)                                                                                 \
    "{\"type\":\"span_start\",\"name\":\"s\",\"trace_id\":\"0123456789abcdef0123456789abcdef\","   \
    "\"span_id\":\"0123456789abcdef\",\"start_time_unix_nano\":1," rest "}\n"

static void test_expects_of_each_kind_of_value(void **state)
{
    (void)state;
    static const struct {
        const char *line, *expected;
    } table[] = {
        {"{\"model_name\":\"m\",\"execution_time_ms\":\"1\"}\n", "a number from 0 to 1e+12"},
        {"{\"model_name\":\"m\",\"execution_time_ms\":-1}\n", "a number from 0 to 1e+12"},
        {"{\"model_name\":3,\"execution_time_ms\":1}\n", "a text of 1 to 256 bytes"},
        {SAMPLE("\"cpu_percent_during\":\"98%\""), "a number from 0 to 1000000000"},
        {SAMPLE("\"thread_id\":0"), "a whole number from 1 to 2147483647"},
        {SAMPLE("\"timestamp\":\"foo\""), "a time such as 2026-01-31T12:00:00Z"},
        {SAMPLE("\"trace_id\":\"00\""), "a text of 32 hex digits"},
        {SAMPLE("\"error\":1"), "true, false or a text"},
        {SAMPLE("\"labels\":[]"), "an object of texts"},
        {GAUGE("\"attributes\":1"), "an object of texts, booleans and numbers"},
        {GAUGE("\"aggregation\":\"mean\""), "last, sum, max, min or per_pid"},
        {GAUGE("\"unit\":7"), "a text of at most 32 bytes"},
        {"{\"type\":\"gauge\",\"name\":\"g\",\"value\":true}\n", "a number"},
        {"{\"type\":\"gauge\",\"name\":\"g\",\"delta\":true}\n", "a number"},
        {"{\"type\":\"hello\",\"pid\":\"x\"}\n", "a whole number, 0 or more"},
        {"{\"type\":\"hello\",\"acknowledge\":1}\n", "true or false"},
        {SPAN("\"kind\":\"other\""), "internal, server, client, producer or consumer"},
        {SPAN("\"sampled\":1"), "true or false"},
        {SPAN("\"events\":1"), "a list of objects with name, time_unix_nano and attributes"},
        {SPAN("\"links\":1"), "a list of objects with trace_id, span_id and attributes"},
        {SPAN("\"status\":1"), "an object with code and message"},
        {SPAN("\"events\":[{\"name\":\"e\",\"attributes\":1}]"),
         "a list of objects with name, time_unix_nano and attributes"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        assert_string_equal(expected_of(table[i].line), table[i].expected);
    }
}

static void test_expects_is_not_told_where_it_would_mislead(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"model_name\":\"m\"}\n",                        /* a key is missing */
        "{\"model_name\":\"m\",\"execution_time_ms\":}\n", /* no JSON */
        SAMPLE("\"model_name\":\"m\""),                    /* twice */
    };
    assert_string_equal(expected_of(SAMPLE("\"threads\":-1")), "a number from 0 to 1e+15");
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_string_equal(expected_of(lines[i]), "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expects_of_each_kind_of_value),
        cmocka_unit_test(test_expects_is_not_told_where_it_would_mislead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
