/* base/near: which word was meant. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/near.h"

static const char *const known[] = {"bert", "beta", "resnet50", "ab", "a", ""};

static void must_mean(const char *word, const char *meant)
{
    struct near near;
    near_init(&near, str_of(word));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        near_try(&near, known[i]);
    }
    if (meant == NULL) {
        assert_null(near.best);
    } else {
        assert_string_equal(near.best, meant);
    }
}

static void test_near_is_within_two_edits(void **state)
{
    (void)state;
    must_mean("bert", "bert");
    must_mean("bret", "bert");
    must_mean("bet", "bert"); /* the first of two */
    must_mean("resnet", "resnet50");
    must_mean("resne", NULL);
    must_mean("resnet5000", "resnet50");
    must_mean("resnet50000", NULL);
}

/* Two edits make any word of two letters of any other. */
static void test_near_is_more_than_as_short(void **state)
{
    (void)state;
    must_mean("xb", "ab");
    must_mean("xy", NULL);
    must_mean("x", NULL);
    must_mean("", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near_is_within_two_edits),
        cmocka_unit_test(test_near_is_more_than_as_short),
    };
    return cmocka_run_group_tests_name("near", tests, NULL, NULL);
}
