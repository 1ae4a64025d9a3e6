#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "io/routes.h"

static struct route_request request_of(const char *path)
{
    return (struct route_request){.url = {.path = str_of(path)}};
}

static void must_find(const char *method, const char *path, bool is_admin, enum route_need need,
                      const char *rest)
{
    struct route_request request = request_of(path);
    const struct route *route = NULL;
    assert_int_equal(routes_find(method, is_admin, &request, &route), ROUTE_FOUND);
    assert_int_equal(route_need(route), need);
    assert_true(str_is(request.rest, rest));
}

static void must_match(enum route_match wanted, const char *method, const char *path)
{
    struct route_request request = request_of(path);
    const struct route *route = NULL;
    assert_int_equal(routes_find(method, false, &request, &route), wanted);
}

static void must_allow(const char *method, const char *path, bool is_admin, const char *allow)
{
    struct route_request request = request_of(path);
    const struct route *route = NULL;
    assert_int_equal(routes_find(method, is_admin, &request, &route), ROUTE_OTHER_METHOD);
    assert_string_equal(route_allow(route), allow);
}

static void test_routes_there_are(void **state)
{
    (void)state;
    must_find("GET", "/metrics", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("HEAD", "/metrics", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("GET", "/healthz", false, ROUTE_NEEDS_NOTHING, ""); /* never waits for the loop */
    must_find("GET", "/readyz", false, ROUTE_NEEDS_LOOP, "");
    must_find("GET", "/report", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("GET", "/api/v1/status", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("GET", "/api/v1/decision", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("GET", "/api/v1/budgets", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("GET", "/api/v1/models", false, ROUTE_NEEDS_SNAPSHOT, "");
    must_find("GET", "/api/v1/models/a/b", false, ROUTE_NEEDS_SNAPSHOT, "a/b");
    must_find("POST", "/api/v1/reset", true, ROUTE_NEEDS_RESET, "");
}

static void test_routes_there_are_not(void **state)
{
    (void)state;
    must_match(ROUTE_UNKNOWN, "GET", "");
    must_match(ROUTE_UNKNOWN, "GET", "/");
    must_match(ROUTE_UNKNOWN, "GET", "/metrics/");
    must_match(ROUTE_UNKNOWN, "GET", "/Metrics");
    must_match(ROUTE_UNKNOWN, "GET", "/api/v1/models/"); /* of no name */
    must_match(ROUTE_UNKNOWN, "GET", "/api/v1/decision/m");
    must_match(ROUTE_ADMIN_ONLY, "GET", "/api/v1/reset");
    must_match(ROUTE_ADMIN_ONLY, "POST", "/api/v1/reset"); /* not through this door */
}

static void test_routes_say_which_there_are(void **state)
{
    (void)state;
    char path[64];
    unsigned count = 0;
    for (const char *at = routes_unknown; (at = strchr(at, '/')) != NULL; at += strlen(path)) {
        (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(at, ","), at);
        must_find("GET", path, false, ROUTE_NEEDS_SNAPSHOT, "");
        count++;
    }
    assert_int_equal(count, 6);
}

static void test_routes_take_their_method_only(void **state)
{
    (void)state;
    must_allow("POST", "/metrics", false, "GET, HEAD");
    must_allow("get", "/metrics", false, "GET, HEAD"); /* methods have case */
    must_allow("DELETE", "/api/v1/models/m", true, "GET, HEAD");
    must_allow("POST", "/api/v1/decision", false, "GET, HEAD");
    must_allow("GET", "/api/v1/reset", true, "POST");
    must_allow("HEAD", "/api/v1/reset", true, "POST");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes_there_are),
        cmocka_unit_test(test_routes_there_are_not),
        cmocka_unit_test(test_routes_say_which_there_are),
        cmocka_unit_test(test_routes_take_their_method_only),
    };
    return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
