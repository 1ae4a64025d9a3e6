#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "io/export/spool_file.h"

static const struct spool_header usual = {
    .signal = SPOOL_METRICS, .count = 3, .length = 0x1234, .hash = UINT64_C(0x0123456789ABCDEF)};

/* Seals a header whose bytes were changed on purpose. */
static void seal(char bytes[SPOOL_HEADER_BYTES])
{
    uint64_t hash = spool_file_hash((struct str){bytes, 40});
    for (unsigned i = 0; i < 8; i++) {
        bytes[40 + i] = (char)(hash >> 8 * i);
    }
}

static void test_spool_file_layout_is_as_drawn(void **state)
{
    (void)state;
    static const char drawn[40] = "dwspool\n"
                                  "\1\0\0\0"
                                  "\2\0\0\0"
                                  "\3\0\0\0\0\0\0\0"
                                  "\x34\x12\0\0\0\0\0\0"
                                  "\xEF\xCD\xAB\x89\x67\x45\x23\x01";
    char bytes[SPOOL_HEADER_BYTES];
    char sealed[SPOOL_HEADER_BYTES];
    spool_file_write(&usual, bytes);
    assert_memory_equal(bytes, drawn, sizeof drawn);
    memcpy(sealed, drawn, sizeof drawn);
    seal(sealed);
    assert_memory_equal(bytes, sealed, sizeof bytes);
    /* XXH3_64bits of nothing, from xxHash's own tests. */
    assert_int_equal(spool_file_hash((struct str){"", 0}), UINT64_C(0x2D06800538D394C2));
}

static void test_spool_file_reads_back(void **state)
{
    (void)state;
    char bytes[SPOOL_HEADER_BYTES];
    struct spool_header header;
    spool_file_write(&usual, bytes);
    assert_int_equal(spool_file_read(bytes, &header), 0);
    assert_int_equal(header.signal, usual.signal);
    assert_int_equal(header.count, usual.count);
    assert_int_equal(header.length, usual.length);
    assert_int_equal(header.hash, usual.hash);
}

static void test_spool_file_finds_every_flipped_bit(void **state)
{
    (void)state;
    char bytes[SPOOL_HEADER_BYTES];
    for (unsigned bit = 0; bit < 8 * SPOOL_HEADER_BYTES; bit++) {
        struct spool_header header = {.count = 99};
        spool_file_write(&usual, bytes);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(spool_file_read(bytes, &header), ERR_SYNTAX);
        assert_int_equal(header.count, 99);
    }
}

static void test_spool_file_knows_a_later_version(void **state)
{
    (void)state;
    char bytes[SPOOL_HEADER_BYTES];
    struct spool_header header;
    spool_file_write(&usual, bytes);
    bytes[8] = SPOOL_FILE_VERSION + 1;
    seal(bytes);
    assert_int_equal(spool_file_read(bytes, &header), ERR_UNSUPPORTED);
}

static int read_of(uint64_t count, uint64_t length)
{
    char bytes[SPOOL_HEADER_BYTES];
    struct spool_header header;
    spool_file_write(&(struct spool_header){.signal = 1, .count = count, .length = length}, bytes);
    return spool_file_read(bytes, &header);
}

static void test_spool_file_says_only_what_can_be(void **state)
{
    (void)state;
    assert_int_equal(read_of(0, 0), 0);
    assert_int_equal(read_of(7, 7), 0);
    assert_int_equal(read_of(8, 7), ERR_SYNTAX);
    assert_int_equal(read_of(1, SPOOL_REQUEST_MAX), 0);
    assert_int_equal(read_of(1, (uint64_t)SPOOL_REQUEST_MAX + 1), ERR_SYNTAX);
    assert_int_equal(read_of(1, UINT64_MAX), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spool_file_layout_is_as_drawn),
        cmocka_unit_test(test_spool_file_reads_back),
        cmocka_unit_test(test_spool_file_finds_every_flipped_bit),
        cmocka_unit_test(test_spool_file_knows_a_later_version),
        cmocka_unit_test(test_spool_file_says_only_what_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
