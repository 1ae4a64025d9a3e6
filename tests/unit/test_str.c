/* Borrowed text: order, UTF-8 against a decoder written from the definition, distance. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "base/str.h"

static void must_order(struct str a, struct str b)
{
    assert_true(str_compare(a, b) < 0);
    assert_true(str_compare(b, a) > 0);
    assert_int_equal(str_compare(a, a), 0);
    assert_false(str_equal(a, b));
}

static void must_be_utf8(const char *bytes, size_t len)
{
    assert_true(str_is_utf8((struct str){bytes, len}));
}

static void must_not_be_utf8(const char *bytes, size_t len)
{
    assert_false(str_is_utf8((struct str){bytes, len}));
}

static void must_be_apart(const char *a, const char *b, size_t distance)
{
    assert_int_equal(str_distance(str_of(a), str_of(b), 60), distance);
    assert_int_equal(str_distance(str_of(b), str_of(a), 60), distance);
}

static void test_str_compares_by_bytes_then_length(void **state)
{
    (void)state;
    must_order(STR_LITERAL(""), STR_LITERAL("a"));
    must_order((struct str){NULL, 0}, STR_LITERAL("a"));
    must_order(STR_LITERAL("a"), STR_LITERAL("b"));
    must_order(STR_LITERAL("a"), STR_LITERAL("aa"));
    must_order(STR_LITERAL("B"), STR_LITERAL("a"));
    must_order(STR_LITERAL("z"), STR_LITERAL("é"));
    must_order(STR_LITERAL("a\0a"), STR_LITERAL("a\0b"));
    assert_true(str_equal((struct str){NULL, 0}, STR_LITERAL("")));
    assert_true(str_is(STR_LITERAL("abc"), "abc"));
    assert_false(str_is(STR_LITERAL("abc\0"), "abc"));
}

static void test_str_takes_utf8_up_to_its_limits(void **state)
{
    (void)state;
    must_be_utf8(NULL, 0);
    must_be_utf8("plain", 5);
    must_be_utf8("\0", 1);
    must_be_utf8("\xC2\x80", 2);
    must_be_utf8("\xDF\xBF", 2);
    must_be_utf8("\xE0\xA0\x80", 3);
    must_be_utf8("\xED\x9F\xBF", 3);
    must_be_utf8("\xEE\x80\x80", 3);
    must_be_utf8("\xEF\xBF\xBF", 3);
    must_be_utf8("\xF0\x90\x80\x80", 4);
    must_be_utf8("\xF4\x8F\xBF\xBF", 4);
}

static void test_str_refuses_what_is_not_utf8(void **state)
{
    (void)state;
    must_not_be_utf8("\x80", 1);
    must_not_be_utf8("a\xBF", 2);
    must_not_be_utf8("\xC0\x80", 2);     /* overlong */
    must_not_be_utf8("\xC1\xBF", 2);     /* overlong */
    must_not_be_utf8("\xE0\x9F\xBF", 3); /* overlong */
    must_not_be_utf8("\xED\xA0\x80", 3); /* surrogate */
    must_not_be_utf8("\xED\xBF\xBF", 3); /* surrogate */
    must_not_be_utf8("\xF0\x8F\xBF\xBF", 4);
    must_not_be_utf8("\xF4\x90\x80\x80", 4); /* above U+10FFFF */
    must_not_be_utf8("\xF5\x80\x80\x80", 4);
    must_not_be_utf8("\xFF", 1);
    must_not_be_utf8("\xC2", 1);
    must_not_be_utf8("\xE2\x82", 2);
    must_not_be_utf8("\xF0\x9F\x98", 3);
    must_not_be_utf8("\xE2\x82x", 3);
    must_not_be_utf8("\xC2\x80\x80", 3);
}

/* By the definition alone: decode, and ask whether encoding gives the same bytes. */
static bool is_utf8_by_definition(const unsigned char *bytes, size_t len)
{
    for (size_t at = 0; at < len;) {
        unsigned lead = bytes[at];
        size_t count = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : 4;
        if ((lead >= 0x80 && lead < 0xC0) || lead >= 0xF8 || count > len - at) {
            return false;
        }
        uint32_t point = count == 1 ? lead : lead & (0x7Fu >> count);
        for (size_t i = 1; i < count; i++) {
            if (bytes[at + i] >> 6 != 2) {
                return false;
            }
            point = point << 6 | (bytes[at + i] & 0x3Fu);
        }
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < least[count] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
            return false;
        }
        at += count;
    }
    return true;
}

/* Eight bytes are looked at together: a bad one is found wherever it stands, and a good character too. */
static void test_str_finds_what_is_not_utf8_at_any_place(void **state)
{
    (void)state;
    enum { BYTES_MAX = 24 };
    static const struct {
        const char *bytes;
        size_t len;
        bool good;
    } pieces[] = {
        {"\x80", 1, false},         {"\xFF", 1, false},
        {"\xC3", 1, false},         {"\xC3\xA9", 2, true},
        {"\xE2\x82", 2, false},     {"\xED\xA0\x80", 3, false},
        {"\xE2\x82\xAC", 3, true},  {"\xF0\x9F\x98\x80", 4, true},
        {"\xF0\x9F\x98", 3, false}, {"\xF4\x90\x80\x80", 4, false},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (size_t len = pieces[i].len; len <= BYTES_MAX; len++) {
            for (size_t at = 0; at + pieces[i].len <= len; at++) {
                char *text = malloc(len); /* of its size, so that no byte behind it is read */
                assert_non_null(text);
                memset(text, 'a', len);
                memcpy(text + at, pieces[i].bytes, pieces[i].len);
                assert_int_equal(str_is_utf8((struct str){text, len}), pieces[i].good);
                free(text);
            }
        }
    }
}

static void test_str_agrees_with_the_definition_of_utf8(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    static const unsigned char pieces[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                           0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                           0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF};
    for (int i = 0; i < 300000; i++) {
        unsigned char bytes[8];
        size_t len = (size_t)random() % (sizeof bytes + 1);
        for (size_t j = 0; j < len; j++) {
            bytes[j] = pieces[(size_t)random() % sizeof pieces];
        }
        assert_int_equal(str_is_utf8((struct str){(const char *)bytes, len}),
                         is_utf8_by_definition(bytes, len));
    }
}

static void test_str_distance_counts_edits(void **state)
{
    (void)state;
    must_be_apart("", "", 0);
    must_be_apart("", "abc", 3);
    must_be_apart("model_name", "model_name", 0);
    must_be_apart("modle_name", "model_name", 2);
    must_be_apart("model", "model_name", 5);
    must_be_apart("kitten", "sitting", 3);
    must_be_apart("abc", "xyz", 3);
}

static void test_str_distance_stops_at_its_ceiling(void **state)
{
    (void)state;
    assert_int_equal(str_distance(STR_LITERAL("abc"), STR_LITERAL("abd"), 0), 1);
    assert_int_equal(str_distance(STR_LITERAL("abc"), STR_LITERAL("xyz"), 2), 3);
    assert_int_equal(str_distance(STR_LITERAL("abcdef"), STR_LITERAL("uvwxyz"), 2), 3);
    char longest[64];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(str_distance((struct str){longest, 63}, (struct str){longest, 62}, 5), 1);
    assert_int_equal(str_distance((struct str){longest, 64}, (struct str){longest, 64}, 5), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str_compares_by_bytes_then_length),
        cmocka_unit_test(test_str_takes_utf8_up_to_its_limits),
        cmocka_unit_test(test_str_refuses_what_is_not_utf8),
        cmocka_unit_test(test_str_finds_what_is_not_utf8_at_any_place),
        cmocka_unit_test(test_str_agrees_with_the_definition_of_utf8),
        cmocka_unit_test(test_str_distance_counts_edits),
        cmocka_unit_test(test_str_distance_stops_at_its_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
