#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/export/spool_name.h"

static void must_be(const char *text, enum spool_kind kind, uint64_t sequence)
{
    uint64_t read = 99;
    assert_int_equal(spool_name_read(text, SPOOL_TRACES, &read), kind);
    assert_int_equal(read, sequence);
}

static void test_spool_name_reads_what_it_writes(void **state)
{
    (void)state;
    static const uint64_t sequences[] = {1, 42, SPOOL_SEQUENCE_MAX};
    for (size_t i = 0; i < sizeof sequences / sizeof sequences[0]; i++) {
        uint64_t sequence = sequences[i];
        must_be(spool_name_of(sequence, SPOOL_TRACES, "").text, SPOOL_KIND_FILE, sequence);
        must_be(spool_name_of(sequence, SPOOL_TRACES, ".tmp").text, SPOOL_KIND_UNFINISHED,
                sequence);
        must_be(spool_name_of(sequence, SPOOL_TRACES, ".damaged").text, SPOOL_KIND_DAMAGED,
                sequence);
        must_be(spool_name_of(sequence, SPOOL_METRICS, "").text, SPOOL_KIND_OF_OTHERS, 0);
    }
    must_be(spool_name_of_lock(SPOOL_TRACES).text, SPOOL_KIND_LOCK, 0);
    must_be(spool_name_of_lock(SPOOL_METRICS).text, SPOOL_KIND_OF_OTHERS, 0);
    assert_string_equal(spool_name_of(7, SPOOL_METRICS, ".tmp").text,
                        "000000000000000007.metrics.tmp");
}

static void test_spool_name_order_is_that_of_the_numbers(void **state)
{
    (void)state;
    struct spool_name before = spool_name_of(1, SPOOL_TRACES, "");
    for (uint64_t sequence = 9; sequence <= SPOOL_SEQUENCE_MAX; sequence = sequence * 10 + 9) {
        struct spool_name name = spool_name_of(sequence, SPOOL_TRACES, "");
        assert_true(strcmp(before.text, name.text) < 0);
        assert_int_equal(strlen(before.text), strlen(name.text));
        before = name;
    }
}

static void test_spool_name_knows_what_is_foreign(void **state)
{
    (void)state;
    static const char *const names[] = {"",
                                        ".",
                                        "..",
                                        "README",
                                        "traces",
                                        "traces.lock2",
                                        "000000000000000000.traces",
                                        "00000000000000001.traces",
                                        "0000000000000000001.traces",
                                        "000000000000000001",
                                        "000000000000000001.",
                                        "000000000000000001traces",
                                        "000000000000000001.trace",
                                        "000000000000000001.traces2",
                                        "000000000000000001.traces.old",
                                        "000000000000000001.traces.tmp.tmp",
                                        "00000000000000000x.traces",
                                        "-00000000000000001.traces"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        must_be(names[i], SPOOL_KIND_FOREIGN, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spool_name_reads_what_it_writes),
        cmocka_unit_test(test_spool_name_order_is_that_of_the_numbers),
        cmocka_unit_test(test_spool_name_knows_what_is_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
