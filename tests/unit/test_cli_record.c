#include "cli_golden.h"

#include <sysexits.h>

#include "cli/record.h"

enum { OPERANDS_MAX = 8 };

/* `operands` ends with NULL. */
static int make(const char *const *operands, struct buf *out, struct buf *problem)
{
    char *copies[OPERANDS_MAX];
    int count = 0;
    for (; operands[count] != NULL; count++) {
        assert_true(count < OPERANDS_MAX);
        copies[count] = (char *)(uintptr_t)operands[count]; /* they are only read */
    }
    buf_init(out, CLI_BYTES_MAX);
    buf_init(problem, CLI_BYTES_MAX);
    int status = record_samples(count, copies, out, problem);
    buf_char(out, '\0');
    buf_char(problem, '\0');
    return status;
}

static void must_become(const char *const *operands, const char *lines)
{
    struct buf out;
    struct buf problem;
    assert_int_equal(make(operands, &out, &problem), 0);
    assert_string_equal(out.data, lines);
    buf_fini(&out);
    buf_fini(&problem);
}

static void must_refuse(const char *const *operands, const char *said)
{
    struct buf out;
    struct buf problem;
    assert_int_equal(make(operands, &out, &problem), EX_USAGE);
    assert_string_equal(problem.data, said);
    buf_fini(&out);
    buf_fini(&problem);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_cli_record_is_a_line_for_each_time(void **state)
{
    (void)state;
    must_become(WORDS("m", "12.5"), "{\"model_name\":\"m\",\"execution_time_ms\":12.5}\n");
    must_become(WORDS("m", "1", "cpu_percent_during=80", "2"),
                "{\"model_name\":\"m\",\"cpu_percent_during\":80,\"execution_time_ms\":1.0}\n"
                "{\"model_name\":\"m\",\"cpu_percent_during\":80,\"execution_time_ms\":2.0}\n");
    must_become(WORDS("a=b \"c\"\n", "0"),
                "{\"model_name\":\"a=b \\\"c\\\"\\n\",\"execution_time_ms\":0.0}\n");
    must_become(WORDS("m", "-3"),
                "{\"model_name\":\"m\",\"execution_time_ms\":-3.0}\n"); /* the daemon judges */
}

static void test_cli_record_values_have_the_type_that_they_look_like(void **state)
{
    (void)state;
    must_become(WORDS("m", "1", "error=true"),
                "{\"model_name\":\"m\",\"error\":true,\"execution_time_ms\":1.0}\n");
    must_become(WORDS("m", "1", "error=out of patience"),
                "{\"model_name\":\"m\",\"error\":\"out of patience\",\"execution_time_ms\":1.0}\n");
    must_become(WORDS("m", "1", "trace_id=00000000000000000000000000000001"),
                "{\"model_name\":\"m\",\"trace_id\":\"00000000000000000000000000000001\","
                "\"execution_time_ms\":1.0}\n");
    must_become(
        WORDS("m", "1", "span_id=1234567890123456"),
        "{\"model_name\":\"m\",\"span_id\":\"1234567890123456\",\"execution_time_ms\":1.0}\n");
    must_become(WORDS("m", "1", "labels.tier=1", "labels.x=a=b"),
                "{\"model_name\":\"m\",\"labels\":{\"tier\":\"1\",\"x\":\"a=b\"},\"execution_time_"
                "ms\":1.0}\n");
    must_become(WORDS("m", "1", "device="),
                "{\"model_name\":\"m\",\"device\":\"\",\"execution_time_ms\":1.0}\n");
}

static void test_cli_record_says_what_is_wrong(void **state)
{
    (void)state;
    must_refuse(WORDS("m"), "send: expects MODEL and a time in ms, got no time");
    must_refuse(WORDS("m", "cpu_percent_during=8"),
                "send: expects MODEL and a time in ms, got no time");
    must_refuse(WORDS("m", "fast"), "send: expects a time in ms or KEY=VALUE, got fast");
    must_refuse(WORDS("m", "1ms"), "send: expects a time in ms or KEY=VALUE, got 1ms");
    must_refuse(WORDS("m", "1", "=x"), "send: expects KEY=VALUE, got =x");
    must_refuse(WORDS("m", "1", "flops=1", "flops=2"), "send: the key is given twice: flops=2");
    must_refuse(WORDS("m", "1", "labels.a=1", "labels.a=2"),
                "send: the key is given twice: labels.a=2");
    must_refuse(WORDS("m", "1", "model_name=n"), "send: the key is given twice: model_name=n");
    must_refuse(WORDS("\xFF", "1"), "send: is no UTF-8: \\xff");
    must_refuse(WORDS("m", "1", "device=\xFF"), "send: is no UTF-8: device=\\xff");
    must_refuse(WORDS("m", "1", "execution_time_ms=2"),
                "send: expects times without a key, got execution_time_ms=2");
}

static void test_cli_record_knows_the_keys_of_a_sample(void **state)
{
    (void)state;
    must_refuse(WORDS("m", "1", "cpu_percent_durin=3"),
                "send: there is no key cpu_percent_durin (did you mean cpu_percent_during?)");
    must_refuse(WORDS("m", "1", "region=eu"),
                "send: there is no key region. What is free goes as labels.KEY=VALUE");
    must_refuse(WORDS("m", "1", "labels=eu"),
                "send: there is no key labels. What is free goes as labels.KEY=VALUE");
    must_refuse(WORDS("m", "1", "\x1b=1"),
                "send: there is no key \\x1b. What is free goes as labels.KEY=VALUE");
    must_become(WORDS("m", "1", "labels.cpu_percent_durin=3"),
                "{\"model_name\":\"m\",\"labels\":{\"cpu_percent_durin\":\"3\"},"
                "\"execution_time_ms\":1.0}\n");
}

/* The row of the page that lists the keys of a sample: each in backquotes. */
static void test_cli_record_takes_every_key_of_the_page(void **state)
{
    (void)state;
    struct buf page;
    must_read("proto/WIRE.md", &page);
    buf_char(&page, '\0');
    const char *at = strstr(page.data, "\n| `sample` | ");
    assert_non_null(at);
    at += strlen("\n| `sample` | ");
    int taken = 0;
    for (const char *end = strchr(at, '\n'); (at = strchr(at, '`')) != NULL && at < end;) {
        char operand[64];
        size_t len = strcspn(++at, "`");
        struct str key = {at, len};
        bool own_place = str_is(key, "model_name") || str_is(key, "execution_time_ms");
        (void)snprintf(operand, sizeof operand, "%.*s%s=1", (int)len, at,
                       str_is(key, "labels") ? ".x" : "");
        if (!own_place) {
            struct buf out;
            struct buf problem;
            assert_int_equal(make(WORDS("m", "1", operand), &out, &problem), 0);
            buf_fini(&out);
            buf_fini(&problem);
            taken++;
        }
        at += len + 1;
    }
    assert_true(taken > 20);
    buf_fini(&page);
}

static void test_cli_record_hello_names_the_hash(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    record_hello("abc", &out);
    buf_char(&out, '\0');
    assert_string_equal(out.data, "{\"type\":\"hello\",\"client\":\"dwell/" DWELL_VERSION
                                  "\",\"constitutional_hash\":\"abc\"}\n");
    buf_clear(&out);
    record_hello("\xFF", &out);
    assert_int_not_equal(out.err, 0);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_record_is_a_line_for_each_time),
        cmocka_unit_test(test_cli_record_values_have_the_type_that_they_look_like),
        cmocka_unit_test(test_cli_record_says_what_is_wrong),
        cmocka_unit_test(test_cli_record_knows_the_keys_of_a_sample),
        cmocka_unit_test(test_cli_record_takes_every_key_of_the_page),
        cmocka_unit_test(test_cli_record_hello_names_the_hash),
    };
    return cmocka_run_group_tests_name("cli_record", tests, NULL, NULL);
}
