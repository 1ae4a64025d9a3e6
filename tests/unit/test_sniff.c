/* wire/sniff: the table of first bytes, and that the answer does not hang on how they were split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/sniff.h"

/* Byte by byte: undecided up to some byte, then the answer, which does not change any more. */
static void must_choose_bytes(struct str bytes, enum wire_format expect)
{
    bool decided = false;
    for (size_t len = 0; len <= bytes.len; len++) {
        enum wire_format format = sniff_stream((struct str){bytes.ptr, len}, false);
        if (decided || format != WIRE_UNDECIDED) {
            assert_int_equal(format, expect);
            decided = true;
        }
    }
    assert_true(decided || bytes.len < WIRE_MAGIC_BYTES);
    assert_int_equal(sniff_stream(bytes, true), expect);
}

#define must_choose(text, expect) must_choose_bytes(STR_LITERAL(text), expect)

static void test_sniff_knows_frames(void **state)
{
    (void)state;
    must_choose("DWL1", WIRE_FRAMES);
    must_choose("DWL1\0\0\0\0", WIRE_FRAMES);
    must_choose("DWL1\n", WIRE_FRAMES);
}

static void test_sniff_knows_ndjson(void **state)
{
    (void)state;
    must_choose("", WIRE_NDJSON);
    must_choose("{", WIRE_NDJSON);
    must_choose("{}\n", WIRE_NDJSON);
    must_choose("{\n{}", WIRE_NDJSON);
    must_choose("{\"model_name\":1}", WIRE_NDJSON);
    must_choose(" {}\n", WIRE_NDJSON);
    must_choose("\n\r\n{}", WIRE_NDJSON);
    must_choose("  \t{", WIRE_NDJSON);
    must_choose("     x", WIRE_NDJSON); /* four blanks decide: what follows is a bad line */
    must_choose("\n", WIRE_NDJSON);
    must_choose("   ", WIRE_NDJSON);
}

static void test_sniff_knows_lines_of_statsd(void **state)
{
    (void)state;
    must_choose("a:1|c\n", WIRE_STATSD);
    must_choose("a:1|c", WIRE_STATSD);
    must_choose("\n\na:1|c", WIRE_STATSD);
    must_choose(" a:1|c", WIRE_STATSD);
    must_choose("_e{1,1}:a|b", WIRE_STATSD);
    must_choose("_sc|a|0", WIRE_STATSD);
    must_choose("GETS:1|c", WIRE_STATSD);
    must_choose("DWLS:1|c", WIRE_STATSD);
    must_choose("a\xc3\xbc:1|c", WIRE_STATSD);
    /* bad lines are lines */
    must_choose("x", WIRE_STATSD);
    must_choose("x\n", WIRE_STATSD);
    must_choose("D\nL1", WIRE_STATSD);
    must_choose("DWL", WIRE_STATSD);
    must_choose("dwl1", WIRE_STATSD);
    must_choose(" DWL1", WIRE_STATSD);
    must_choose("null", WIRE_STATSD);
    must_choose("\0", WIRE_STATSD);
    must_choose("\0\0\0x", WIRE_STATSD);
}

static void test_sniff_knows_payloads_of_statsd(void **state)
{
    (void)state;
    must_choose("\x0c\0\0\0", WIRE_STATSD_FRAMES);
    must_choose("\0\0\0\0", WIRE_STATSD_FRAMES);
    must_choose("\n\0\0\0", WIRE_STATSD_FRAMES);   /* a length of 10, not a blank line */
    must_choose("{\0\0\0", WIRE_STATSD_FRAMES);    /* of 123 */
    must_choose("A\n\0\0", WIRE_STATSD_FRAMES);    /* of 2625 */
    must_choose("{\n\0\0", WIRE_STATSD_FRAMES);    /* of 2683 */
    must_choose("\x80\0\0\0", WIRE_STATSD_FRAMES); /* of 128 */
    must_choose("[\0\0\0a:1|c", WIRE_STATSD_FRAMES);
}

static void test_sniff_refuses_the_rest(void **state)
{
    (void)state;
    must_choose("DWL2", WIRE_UNKNOWN);
    must_choose("DWL0\n", WIRE_UNKNOWN);
    must_choose("GET / HTTP/1.1", WIRE_UNKNOWN);
    must_choose("POST", WIRE_UNKNOWN);
    must_choose("[{}]", WIRE_UNKNOWN);
    must_choose(" \n[{}]", WIRE_UNKNOWN);
    must_choose("\xef\xbb\xbf{", WIRE_UNKNOWN);
    must_choose("\x80{}\n", WIRE_UNKNOWN);
    must_choose("\xff", WIRE_UNKNOWN);
}

static void test_sniff_waits_for_four_bytes(void **state)
{
    (void)state;
    assert_int_equal(sniff_stream(STR_LITERAL("DWL"), false), WIRE_UNDECIDED);
    assert_int_equal(sniff_stream(STR_LITERAL("{}"), false), WIRE_UNDECIDED);
    assert_int_equal(sniff_stream(STR_LITERAL("\n\n"), false), WIRE_UNDECIDED);
    assert_int_equal(sniff_stream(STR_LITERAL("{\n"), false), WIRE_UNDECIDED);
    assert_int_equal(sniff_stream(STR_LITERAL("x\n\n"), false), WIRE_UNDECIDED);
}

static void test_sniff_chooses_for_a_datagram_at_once(void **state)
{
    (void)state;
    assert_int_equal(sniff_datagram(STR_LITERAL("DWL1")), WIRE_FRAMES);
    assert_int_equal(sniff_datagram(STR_LITERAL("DWL1\x0a")), WIRE_FRAMES);
    assert_int_equal(sniff_datagram(STR_LITERAL("{")), WIRE_NDJSON);
    assert_int_equal(sniff_datagram(STR_LITERAL(" \r\n\n\n\n {}")), WIRE_NDJSON);
    assert_int_equal(sniff_datagram(STR_LITERAL("")), WIRE_NDJSON);
    assert_int_equal(sniff_datagram(STR_LITERAL("x:1|c")), WIRE_STATSD);
    assert_int_equal(sniff_datagram(STR_LITERAL("DWL")), WIRE_STATSD);
    assert_int_equal(sniff_datagram(STR_LITERAL("\x05\0\0\0a:1|c")), WIRE_STATSD); /* no lengths */
    assert_int_equal(sniff_datagram(STR_LITERAL("DWL2xxxx")), WIRE_UNKNOWN);
    assert_int_equal(sniff_datagram(STR_LITERAL("GET / HTTP/1.1")), WIRE_UNKNOWN);
    assert_int_equal(sniff_datagram(STR_LITERAL("[{}]")), WIRE_UNKNOWN);
    assert_int_equal(sniff_datagram(STR_LITERAL("\x1f\x8b")), WIRE_STATSD);
    assert_int_equal(sniff_datagram(STR_LITERAL("\x8b")), WIRE_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sniff_knows_frames),
        cmocka_unit_test(test_sniff_knows_ndjson),
        cmocka_unit_test(test_sniff_knows_lines_of_statsd),
        cmocka_unit_test(test_sniff_knows_payloads_of_statsd),
        cmocka_unit_test(test_sniff_refuses_the_rest),
        cmocka_unit_test(test_sniff_waits_for_four_bytes),
        cmocka_unit_test(test_sniff_chooses_for_a_datagram_at_once),
    };
    return cmocka_run_group_tests_name("sniff", tests, NULL, NULL);
}
