#include "cli_golden.h"

#include <sysexits.h>

#include "cli/place.h"

static const char *found; /* the one ingest.sock that there is */

static bool exists(void *ctx, const char *path)
{
    (void)ctx;
    return found != NULL && strcmp(path, found) == 0;
}

static const struct place_world nothing_set = {.uid = 1000, .exists = exists};
static const struct place_world all_set = {
    .dwell_dir = "/there", .runtime_dir = "/run/user/1000", .uid = 1000, .exists = exists};
static const struct place_world runtime_set = {
    .runtime_dir = "/run/user/1000", .uid = 1000, .exists = exists};

static void must_find(const struct place_world *world, const char *dir, const char *wanted)
{
    char path[PLACE_BYTES];
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    assert_int_equal(place_find(world, dir, "query.sock", path, &problem), 0);
    assert_string_equal(path, wanted);
    assert_int_equal(problem.len, 0);
}

static void must_miss(const struct place_world *world, const char *dir, int status,
                      const char *said)
{
    char path[PLACE_BYTES];
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    assert_int_equal(place_find(world, dir, "query.sock", path, &problem), status);
    buf_char(&problem, '\0');
    assert_non_null(strstr(problem.data, said));
    buf_fini(&problem);
}

static void test_cli_place_is_looked_for_in_order(void **state)
{
    (void)state;
    found = NULL;
    must_find(&all_set, "/here", "/here/query.sock");
    must_find(&all_set, NULL, "/there/query.sock"); /* whether there is a socket or not */
    must_miss(&nothing_set, NULL, EX_UNAVAILABLE,
              "no ingest.sock in /run/dwell or /tmp/dwell-1000");
    must_miss(&runtime_set, NULL, EX_UNAVAILABLE,
              "no ingest.sock in /run/user/1000/dwell, /run/dwell or /tmp/dwell-1000");
    found = "/tmp/dwell-1000/ingest.sock";
    must_find(&runtime_set, NULL, "/tmp/dwell-1000/query.sock");
    found = "/run/dwell/ingest.sock";
    must_find(&nothing_set, NULL, "/run/dwell/query.sock");
    found = "/run/user/1000/dwell/ingest.sock";
    must_find(&runtime_set, NULL, "/run/user/1000/dwell/query.sock");
    must_miss(&nothing_set, NULL, EX_UNAVAILABLE, "no daemon is found");
}

static void test_cli_place_paths_have_a_length(void **state)
{
    (void)state;
    char dir[PLACE_BYTES + 1];
    char wanted[2 * PLACE_BYTES];
    size_t most = PLACE_BYTES - 1 - strlen("/query.sock");
    memset(dir, 'd', sizeof dir);
    dir[most] = '\0';
    (void)snprintf(wanted, sizeof wanted, "%s/query.sock", dir);
    must_find(&nothing_set, dir, wanted);
    dir[most] = 'd';
    dir[most + 1] = '\0';
    must_miss(&nothing_set, dir, EX_USAGE, "longer than the path of a socket may be, 107 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_place_is_looked_for_in_order),
        cmocka_unit_test(test_cli_place_paths_have_a_length),
    };
    return cmocka_run_group_tests_name("cli_place", tests, NULL, NULL);
}
