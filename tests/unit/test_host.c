/* Hosts that a request may name: each decided on purpose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "io/host.h"

static char one[] = "dwell.example";
static char two[] = "Metrics.Example.";
static char *const names[] = {one, two};

/* In memory of exactly its size, so that a sanitizer sees a step too far. */
static enum host_verdict judge(struct str host)
{
    char *copy = malloc(host.len + 1);
    assert_non_null(copy);
    memcpy(copy, host.ptr, host.len);
    char *exact = realloc(copy, host.len == 0 ? 1 : host.len);
    assert_non_null(exact);
    enum host_verdict verdict = host_judge((struct str){exact, host.len}, names, 2);
    free(exact);
    return verdict;
}

static void must_all_be(enum host_verdict verdict, const char *const *hosts)
{
    for (; *hosts != NULL; hosts++) {
        if (judge(str_of(*hosts)) != verdict) {
            fail_msg("%s is not taken for what it is", *hosts);
        }
    }
}

#define MUST_ALL_BE(verdict, ...) must_all_be(verdict, (const char *const[]){__VA_ARGS__, NULL})

static void test_host_addresses_are_ours(void **state)
{
    (void)state;
    MUST_ALL_BE(HOST_OURS, "127.0.0.1", "127.0.0.1:9847", "10.244.3.7:80",
                "192.168.1.2:", "127.0.0.1.", "127.0.0.1.:9847", "0.0.0.0", "[::1]", "[::1]:9847",
                "[::]:1", "[fe80::1:2]", "[2001:DB8::A]:65535", "[::ffff:127.0.0.1]");
}

static void test_host_localhost_is_ours(void **state)
{
    (void)state;
    MUST_ALL_BE(HOST_OURS, "localhost", "LOCALHOST:1", "LocalHost.", "localhost.:9847");
    MUST_ALL_BE(HOST_FOREIGN, "localhost.example", "xlocalhost", "a.localhost",
                "localhost.localdomain");
}

static void test_host_configured_names_are_ours(void **state)
{
    (void)state;
    MUST_ALL_BE(HOST_OURS, "dwell.example", "DWELL.EXAMPLE:8080", "dwell.example.",
                "metrics.example", "metrics.example.:1");
    MUST_ALL_BE(HOST_FOREIGN, "a.dwell.example", "dwell.example.org", "dwell", "well.example",
                "dwell.exampl", "metrics.examples");
}

static void test_host_other_names_are_foreign(void **state)
{
    (void)state;
    MUST_ALL_BE(HOST_FOREIGN, "evil.example", "evil.example:9847", "x", "127.0.0.1.evil.example",
                "127.0.0.1.nip.io", "1.2.3", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1",
                "256.1.1.1", "127.0.0.1%2f", "*", "%6c%6f", "xn--nxasmq6b");
    assert_int_equal(host_judge(str_of("dwell.example"), NULL, 0), HOST_FOREIGN);
}

static void test_host_what_is_no_host_is_bad(void **state)
{
    (void)state;
    MUST_ALL_BE(HOST_BAD, "", ":", ":80", ".", "::1", "::1:80", "[", "[]", "[::1", "::1]",
                "[::1]80", "[::1]:x", "[::1]:65536", "[127.0.0.1]", "[localhost]", "[::1%25eth0]",
                "[::1%eth0]", "[dwell.example]", "localhost:65536", "localhost:-1", "localhost:+1",
                "localhost: 1", "localhost:80:80", "localhost:x", "a b", " localhost", "localhost ",
                "user@localhost", "localhost/", "local\thost", "localhost,evil.example ", "\x80",
                "l\xc3\xb6wel.example", "\"localhost\"", "<localhost>", "[::1]]", "localhost\\",
                "[[::1]]");
    assert_int_equal(judge((struct str){"local\0host", 10}), HOST_BAD);
    assert_int_equal(judge((struct str){"localhost\0", 10}), HOST_BAD);
    assert_int_equal(judge((struct str){"127.0.0.1\0x", 11}), HOST_BAD);
    assert_int_equal(judge((struct str){"[::1\0]", 6}), HOST_BAD);
}

/* NULL: it names no host. */
static void must_split(const char *target, const char *host, const char *rest)
{
    struct str got;
    char *copy = strdup(target);
    assert_non_null(copy);
    assert_string_equal(host_of_target(copy, &got), rest);
    assert_int_equal(got.ptr == NULL, host == NULL);
    assert_true(host == NULL || str_is(got, host));
    free(copy);
}

static void test_host_of_a_target(void **state)
{
    (void)state;
    must_split("/metrics", NULL, "/metrics");
    must_split("", NULL, "");
    must_split("*", NULL, "*");
    must_split("http", NULL, "http");
    must_split("http:/x/metrics", NULL, "http:/x/metrics");
    must_split("https://x/metrics", NULL, "https://x/metrics");
    must_split("/http://x/metrics", NULL, "/http://x/metrics");
    must_split("http://x/metrics?a=1", "x", "/metrics?a=1");
    must_split("HTTP://[::1]:80/metrics", "[::1]:80", "/metrics");
    must_split("http://user@x/", "user@x", "/");
    must_split("http://x", "x", "");
    must_split("http://x?a", "x", "?a");
    must_split("http://", "", "");
    must_split("http:///metrics", "", "/metrics");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_addresses_are_ours),
        cmocka_unit_test(test_host_localhost_is_ours),
        cmocka_unit_test(test_host_configured_names_are_ours),
        cmocka_unit_test(test_host_other_names_are_foreign),
        cmocka_unit_test(test_host_what_is_no_host_is_bad),
        cmocka_unit_test(test_host_of_a_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
