#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/kept.h"

static void must_read(const char *text, const char *socket, uint64_t device, uint64_t inode)
{
    struct kept_name name;
    char again[KEPT_NAME_MAX];
    assert_true(kept_read_name(text, &name));
    assert_true(str_is(name.socket, socket));
    assert_int_equal(name.device, device);
    assert_int_equal(name.inode, inode);
    kept_write_name(&name, again);
    assert_string_equal(again, text);
}

static void must_not_read(const char *text)
{
    struct kept_name name;
    assert_false(kept_read_name(text, &name));
}

static void test_kept_names_are_read_as_they_were_written(void **state)
{
    (void)state;
    must_read("ingest.sock@26-695", "ingest.sock", 26, 695);
    must_read("http@0-0", "http", 0, 0);
    must_read("ingest.dgram@18446744073709551615-18446744073709551615", "ingest.dgram", UINT64_MAX,
              UINT64_MAX);
    must_read("@1-2", "", 1, 2);
    must_read("a@b@1-2", "a@b", 1, 2);
}

/* Among them those that socket units have. */
static void test_kept_names_of_others(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "ingest.sock",
        "dwelld.socket",
        "stored",
        "connection",
        "x@",
        "x@1",
        "x@1-",
        "x@-1",
        "x@1-2-3",
        "x@1-2 ",
        "x@ 1-2",
        "x@+1-2",
        "x@1a-2",
        "x@1-2b",
        "x-1@2",
        "x@18446744073709551616-1",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        must_not_read(names[i]);
    }
}

static void test_kept_the_longest_name_fits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        char text[KEPT_NAME_MAX];
        struct kept_name again;
        struct kept_name name = {str_of(directory_kinds[i].name), UINT64_MAX, UINT64_MAX};
        kept_write_name(&name, text);
        assert_true(kept_read_name(text, &again));
        assert_int_equal(again.inode, UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_names_are_read_as_they_were_written),
        cmocka_unit_test(test_kept_names_of_others),
        cmocka_unit_test(test_kept_the_longest_name_fits),
    };
    return cmocka_run_group_tests_name("kept", tests, NULL, NULL);
}
