#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/err.h"
#include "io/url.h"

/* In memory of exactly its size, so that a sanitizer sees a step too far. */
static char *own(const char *target)
{
    size_t size = strlen(target) + 1;
    char *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, target, size);
    return copy;
}

static void must_be_path(const char *target, const char *path)
{
    struct url url;
    char *copy = own(target);
    assert_int_equal(url_parse(copy, &url), 0);
    assert_true(str_is(url.path, path));
    free(copy);
}

/* NULL: the parameter is not there. */
static void must_have(const char *target, const char *name, const char *value)
{
    struct url url;
    char *copy = own(target);
    assert_int_equal(url_parse(copy, &url), 0);
    const struct str *found = url_parameter(&url, name);
    if (value == NULL) {
        assert_null(found);
    } else {
        assert_non_null(found);
        assert_true(str_is(*found, value));
    }
    free(copy);
}

static void must_refuse(const char *target)
{
    struct url url;
    char *copy = own(target);
    assert_int_equal(url_parse(copy, &url), ERR_SYNTAX);
    free(copy);
}

static void test_url_paths(void **state)
{
    (void)state;
    must_be_path("", "");
    must_be_path("/", "/");
    must_be_path("/metrics", "/metrics");
    must_be_path("/metrics?x=1", "/metrics");
    must_be_path("/metrics#part", "/metrics");
    must_be_path("/api/v1/models/a%20b%2Fc", "/api/v1/models/a b/c");
    must_be_path("/a+b", "/a+b"); /* a plus is a plus but in a query */
    must_be_path("/%E6%A8%A1", "/\xE6\xA8\xA1");
    must_be_path("/%7e%7E", "/~~");
}

static void test_url_parameters(void **state)
{
    (void)state;
    must_have("/m", "name", NULL);
    must_have("/m?", "name", NULL);
    must_have("/m?name", "name", "");
    must_have("/m?name=", "name", "");
    must_have("/m?name=a", "name", "a");
    must_have("/m?name=a#name=b", "name", "a");
    must_have("/m?x=1&name=a%26b&y=2", "name", "a&b");
    must_have("/m?name=a+b%2B", "name", "a b+");
    must_have("/m?name=a=b", "name", "a=b");
    must_have("/m?na%6De=x", "name", "x");
    must_have("/m?name=first&name=second", "name", "first");
    must_have("/m?&&name=x&&", "name", "x");
    must_have("/m?name=quote%22d%0A", "name", "quote\"d\n");
}

static void test_url_bad_escapes_are_refused(void **state)
{
    (void)state;
    must_refuse("/%");
    must_refuse("/%2");
    must_refuse("/%2x");
    must_refuse("/%x2");
    must_refuse("/a%00b");
    must_refuse("/m?name=%00");
    must_refuse("/m?%00=a");
    must_refuse("/m?name=%");
    must_refuse("/m?name=%4");
    must_refuse("/%ff");        /* not UTF-8 */
    must_refuse("/m?n=%C3");    /* cut off */
    must_refuse("/m?n=%C0%80"); /* overlong */
}

static void test_url_parameters_have_a_ceiling(void **state)
{
    (void)state;
    must_have("/m?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=0&k=1&l=2&m=3&n=4&o=5&p=6&q=7&r=8&s=9&t=20",
              "t", "20");
    must_refuse("/m?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=0&k=1&l=2&m=3&n=4&o=5&p=6&q=7&r=8&s=9&"
                "t=20&u=21");
    assert_int_equal(URL_PARAMETERS_MAX, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_paths),
        cmocka_unit_test(test_url_parameters),
        cmocka_unit_test(test_url_bad_escapes_are_refused),
        cmocka_unit_test(test_url_parameters_have_a_ceiling),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
