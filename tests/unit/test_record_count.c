/* wire/record_count: as many as a decoder would hand over, damage and all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/record_count.h"

#define must_count(text, count) assert_int_equal(record_count(STR_LITERAL(text)), count)

static void test_record_count_of_lines(void **state)
{
    (void)state;
    must_count("", 0);
    must_count("\n", 0);
    must_count("\n\n\n", 0);
    must_count("a:1|c", 1);
    must_count("a:1|c\n", 1);
    must_count("a:1|c\nb:1|c", 2);
    must_count("\na:1|c\n\nb:1|c\n", 2);
    must_count("{}\n{}\n{}", 3);
    must_count("no record at all", 1);
}

/* Samples are field 8, hellos 9, flushes 10, goodbyes 11, spans 13, metrics 14, time budgets 15. */
static void test_record_count_of_batches(void **state)
{
    (void)state;
    must_count("DWL1", 0);
    must_count("DWL1\x42\x00", 1);
    must_count("DWL1\x42\x01\x08\x42\x00\x42\x00", 3);
    must_count("DWL1\x6a\x00\x72\x00\x7a\x00", 3);
    must_count("DWL1\x4a\x00\x52\x00\x5a\x00", 0);
    must_count("DWL1\x0a\x02\x42\x00\x10\x07\x22\x01m\x42\x00", 1); /* the head is none */
    must_count("DWL1\x09\0\0\0\0\0\0\0\0\x0d\0\0\0\0\x42\x00", 1);  /* other kinds */
    must_count("DWL1\xa2\x06\x00\x42\x00", 1);                      /* field 100 */
    must_count("DWL1\xc2\x80\x80\x80\x80\x00\x42\x00", 0);          /* a tag that is too long */
}

static void test_record_count_ends_at_damage(void **state)
{
    (void)state;
    must_count("DWL1\x42", 0);
    must_count("DWL1\x42\x00\x42", 1);
    must_count("DWL1\x42\x00\x42\x05"
               "abcd",
               1);
    must_count("DWL1\x42\x00\x43\x42\x00", 1); /* a group */
    must_count("DWL1\x42\x00\x09\0\0\0", 1);
    must_count("DWL1\x42\x00\x0d\0\0\0", 1);
    must_count("DWL1\x42\x00\x10\x80\x80", 1);
    must_count("DWL1\x42\x00\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x42\x00", 1);
    must_count("DWL1\x42\xff\xff\xff\xff\x0f", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_count_of_lines),
        cmocka_unit_test(test_record_count_of_batches),
        cmocka_unit_test(test_record_count_ends_at_damage),
    };
    return cmocka_run_group_tests_name("record_count", tests, NULL, NULL);
}
