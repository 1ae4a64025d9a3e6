#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "io/state_head.h"

static const struct str usual = {"the body", 8};

enum { FILE_BYTES = STATE_HEAD_BYTES + 8 };

static void write_file(char bytes[FILE_BYTES])
{
    state_head_write(usual, bytes);
    memcpy(bytes + STATE_HEAD_BYTES, usual.ptr, usual.len);
}

static int read_bytes(const char *bytes, size_t len, struct str *ret_body)
{
    return state_head_read((struct str){bytes, len}, ret_body);
}

static void seal(char bytes[FILE_BYTES])
{
    uint64_t hash = state_hash((struct str){bytes, 32});
    for (unsigned i = 0; i < 8; i++) {
        bytes[32 + i] = (char)(hash >> 8 * i);
    }
}

static void test_state_head_layout_is_as_drawn(void **state)
{
    (void)state;
    char bytes[FILE_BYTES];
    static const char drawn[24] = "dwstate\n"
                                  "\1\0\0\0"
                                  "\0\0\0\0"
                                  "\10\0\0\0\0\0\0";
    write_file(bytes);
    assert_memory_equal(bytes, drawn, sizeof drawn);
    uint64_t hash = state_hash(usual);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal((uint8_t)bytes[24 + i], (uint8_t)(hash >> 8 * i));
    }
    /* XXH3_64bits of nothing, from xxHash's own tests. */
    assert_int_equal(state_hash((struct str){"", 0}), UINT64_C(0x2D06800538D394C2));
}

static void test_state_head_reads_back(void **state)
{
    (void)state;
    char bytes[FILE_BYTES];
    struct str body;
    write_file(bytes);
    assert_int_equal(read_bytes(bytes, sizeof bytes, &body), 0);
    assert_true(str_equal(body, usual));
    state_head_write((struct str){NULL, 0}, bytes);
    assert_int_equal(read_bytes(bytes, STATE_HEAD_BYTES, &body), 0);
    assert_int_equal(body.len, 0);
}

static void test_state_head_finds_every_flipped_bit(void **state)
{
    (void)state;
    char bytes[FILE_BYTES];
    for (unsigned bit = 0; bit < 8 * FILE_BYTES; bit++) {
        struct str body = {NULL, 99};
        write_file(bytes);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(read_bytes(bytes, sizeof bytes, &body), bit < 64 ? ERR_SYNTAX : ERR_FRAME);
        assert_int_equal(body.len, 99);
    }
}

static void test_state_head_finds_every_truncation(void **state)
{
    (void)state;
    char bytes[FILE_BYTES + 1] = {0};
    struct str body;
    write_file(bytes);
    for (size_t len = 0; len < FILE_BYTES; len++) {
        assert_int_equal(read_bytes(bytes, len, &body), len < 8 ? ERR_SYNTAX : ERR_FRAME);
    }
    assert_int_equal(read_bytes(bytes, sizeof bytes, &body), ERR_FRAME);
}

static void test_state_head_knows_another_version(void **state)
{
    (void)state;
    char bytes[FILE_BYTES];
    struct str body;
    write_file(bytes);
    bytes[8] = STATE_VERSION + 1;
    seal(bytes);
    assert_int_equal(read_bytes(bytes, sizeof bytes, &body), ERR_UNSUPPORTED);
    write_file(bytes);
    bytes[12] = 1;
    seal(bytes);
    assert_int_equal(read_bytes(bytes, sizeof bytes, &body), ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_head_layout_is_as_drawn),
        cmocka_unit_test(test_state_head_reads_back),
        cmocka_unit_test(test_state_head_finds_every_flipped_bit),
        cmocka_unit_test(test_state_head_finds_every_truncation),
        cmocka_unit_test(test_state_head_knows_another_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
