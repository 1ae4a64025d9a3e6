/* Answers as a server may garble them: whatever comes, reading ends well and says what it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/export/otlp_module/response.c"

/* partial_success {rejected_spans: 5, error_message: "oops"} */
static const char partial[] = "\x0a\x08\x08\x05\x12\x04oops";

/* {code: 8, message: "m", details: [{type_url: "/google.rpc.RetryInfo", value: {retry_delay: {3 s}}}]} */
static const char details[] = "\x08\x08\x12\x01m\x1a\x1d\x0a\x15/google.rpc.RetryInfo"
                              "\x12\x04\x0a\x02\x08\x03";

static struct transport_reply reply;

/* From memory of exactly this length, so that a sanitizer sees what is read behind it. */
static void read_bytes(const char *bytes, size_t len,
                       void (*read)(const uint8_t *, size_t, struct transport_reply *))
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    reply = (struct transport_reply){.status = TRANSPORT_OK};
    read(copy, len, &reply);
    free(copy);
    assert_non_null(memchr(reply.message, '\0', sizeof reply.message));
}

static void test_otlp_response_is_read(void **state)
{
    (void)state;
    read_bytes(partial, sizeof partial - 1, response_read);
    assert_int_equal(reply.rejected, 5);
    assert_string_equal(reply.message, "oops");
    assert_false(reply.is_garbled);
    read_bytes(details, sizeof details - 1, response_read_details);
    assert_true(reply.has_retry_delay);
    assert_int_equal(reply.retry_delay_ns, 3 * NS_PER_SECOND);
    read_bytes("", 0, response_read);
    assert_false(reply.is_garbled);
    assert_int_equal(reply.rejected, 0);
}

static void test_otlp_response_may_be_cut_anywhere(void **state)
{
    (void)state;
    for (size_t len = 1; len < sizeof partial - 1; len++) {
        read_bytes(partial, len, response_read);
        assert_true(reply.is_garbled); /* the outer length is at its begin */
        assert_int_equal(reply.rejected, 0);
    }
    for (size_t len = 0; len < sizeof details - 1; len++) {
        read_bytes(details, len, response_read_details);
        assert_false(reply.has_retry_delay);
    }
}

/* An unknown field of so many bytes in all behind the usual content. */
static void must_be_garbled(size_t total, bool garbled)
{
    char *bytes = calloc(1, total);
    assert_non_null(bytes);
    size_t head = sizeof partial - 1;
    memcpy(bytes, partial, head);
    size_t rest = total - head - 4; /* a tag and a length of three bytes */
    bytes[head] = 15 << 3 | 2;
    bytes[head + 1] = (char)(rest % 128 | 128);
    bytes[head + 2] = (char)(rest / 128 % 128 | 128);
    bytes[head + 3] = (char)(rest / 16384);
    read_bytes(bytes, total, response_read);
    free(bytes);
    assert_int_equal(reply.is_garbled, garbled);
    assert_int_equal(reply.rejected, garbled ? 0 : 5);
}

static void test_otlp_response_is_read_up_to_a_length(void **state)
{
    (void)state;
    must_be_garbled(RESPONSE_MAX, false);
    must_be_garbled(RESPONSE_MAX + 1, true);
}

static void flip_all(const char *bytes, size_t len,
                     void (*read)(const uint8_t *, size_t, struct transport_reply *))
{
    char copy[64];
    assert_true(len < sizeof copy);
    for (size_t first = 0; first < len * 8; first++) {
        for (size_t second = first; second < len * 8; second++) {
            memcpy(copy, bytes, len);
            copy[first / 8] = (char)(copy[first / 8] ^ 1 << first % 8);
            copy[second / 8] = (char)(copy[second / 8] ^ (second != first) << second % 8);
            read_bytes(copy, len, read);
            assert_true(!reply.is_garbled || reply.rejected == 0);
        }
    }
}

static void test_otlp_response_survives_flipped_bits(void **state)
{
    (void)state;
    flip_all(partial, sizeof partial - 1, response_read);
    flip_all(details, sizeof details - 1, response_read_details);
}

static void test_otlp_response_text_is_cut_between_characters(void **state)
{
    (void)state;
    enum { ROOM = TRANSPORT_TEXT_MAX - 1 };
    char text[ROOM + 8];
    for (size_t width = 1; width <= 4; width++) {
        static const char *const characters[] = {"a", "\xC3\xA9", "\xE6\xA8\xA1",
                                                 "\xF0\x9F\x92\xA1"};
        for (size_t i = 0; i < sizeof text; i++) {
            text[i] = characters[width - 1][i % width];
        }
        response_copy_text(&reply, text, ROOM); /* fits */
        assert_int_equal(strlen(reply.message), ROOM);
        response_copy_text(&reply, text, ROOM + 1);
        assert_int_equal(strlen(reply.message), ROOM - ROOM % width);
    }
    memset(text, 0x80, sizeof text); /* no character begins anywhere */
    response_copy_text(&reply, text, sizeof text);
    assert_int_equal(strlen(reply.message), 0);
    response_copy_text(&reply, NULL, 0);
    assert_string_equal(reply.message, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_response_is_read),
        cmocka_unit_test(test_otlp_response_may_be_cut_anywhere),
        cmocka_unit_test(test_otlp_response_is_read_up_to_a_length),
        cmocka_unit_test(test_otlp_response_survives_flipped_bits),
        cmocka_unit_test(test_otlp_response_text_is_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
