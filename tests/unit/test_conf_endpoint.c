#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "conf/endpoint.h"

static void must_be(const char *text, enum conf_scheme scheme, const char *address)
{
    struct conf_endpoint endpoint;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(conf_endpoint_parse(str_of(text), &endpoint), 0);
    assert_int_equal(endpoint.scheme, scheme);
    conf_endpoint_render(&endpoint, &out);
    buf_char(&out, '\0');
    assert_int_equal(out.err, 0);
    assert_string_equal(out.data, address);
    buf_fini(&out);
}

static void must_refuse(const char *text)
{
    struct conf_endpoint endpoint;
    if (conf_endpoint_parse(str_of(text), &endpoint) != ERR_SYNTAX) {
        fail_msg("\"%s\" is taken", text);
    }
}

static void test_conf_endpoint_takes_every_form(void **state)
{
    (void)state;
    must_be("http://localhost:4317", CONF_SCHEME_HTTP, "localhost:4317");
    must_be("https://a.b-c:65535", CONF_SCHEME_HTTPS, "a.b-c:65535");
    must_be("http://localhost:1/", CONF_SCHEME_HTTP, "localhost:1");
    must_be("https://host/v1/traces", CONF_SCHEME_HTTPS, "host:4317");
    must_be("http://127.0.0.1", CONF_SCHEME_HTTP, "127.0.0.1:4317");
    must_be("host:4317", CONF_SCHEME_NONE, "host:4317");
    must_be("host", CONF_SCHEME_NONE, "host:4317");
    must_be("http://[::1]:5", CONF_SCHEME_HTTP, "[::1]:5");
    must_be("[fe80::1%25eth0]", CONF_SCHEME_NONE, "[fe80::1%25eth0]:4317");
    must_be("unix:/run/otel.sock", CONF_SCHEME_UNIX, "unix:/run/otel.sock");
    must_be("unix:///run/otel.sock", CONF_SCHEME_UNIX, "unix:///run/otel.sock");
    must_be("unix:otel.sock", CONF_SCHEME_UNIX, "unix:otel.sock");
}

static void test_conf_endpoint_refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",       "http://",    "https://",   "http:///x",  "http://:4317", "host:",
        "host:0", "host:65536", "host:x",     "host:-1",    "host: 1",      "host:1:2",
        "::1",    "ftp://h",    "grpc://h:1", "http://u@h", "http://h:1?x", "h?x",
        "a b",    "unix:",      "unix://",    "unix:///",   "[::1",         "[]:1",
        "[::1]x", "[::1]:",     "http://[",   "h/path",     "http://h:1\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        must_refuse(wrong[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conf_endpoint_takes_every_form),
        cmocka_unit_test(test_conf_endpoint_refuses_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
