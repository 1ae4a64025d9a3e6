/* wire/reply, read back by protobuf-c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dwell.pb-c.h>

#include "base/err.h"
#include "wire/reply.h"

/* Checks the length before the message and returns the message; free it. */
static Dwell__Reply *must_unpack(const struct buf *out)
{
    assert_int_equal(out->err, 0);
    assert_true(out->len >= 4);
    const uint8_t *bytes = (const uint8_t *)out->data;
    uint32_t len = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
                   (uint32_t)bytes[3] << 24;
    assert_int_equal(len, out->len - 4);
    Dwell__Reply *reply = dwell__reply__unpack(NULL, len, bytes + 4);
    assert_non_null(reply);
    assert_int_equal(reply->base.n_unknown_fields, 0);
    return reply;
}

static void must_flush(uint64_t applied)
{
    struct buf out;
    buf_init(&out, 256);
    reply_render_flushed(&out, applied);
    Dwell__Reply *reply = must_unpack(&out);
    assert_true(reply->has_flushed);
    assert_true(reply->flushed == applied);
    assert_null(reply->error);
    assert_null(reply->reason);
    dwell__reply__free_unpacked(reply, NULL);
    buf_fini(&out);
}

static void test_reply_tells_any_count(void **state)
{
    (void)state;
    must_flush(0);
    must_flush(127);
    must_flush(128);
    must_flush(UINT64_MAX);
}

static void test_reply_is_these_bytes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 256);
    reply_render_flushed(&out, 300);
    assert_int_equal(out.len, 7);
    assert_memory_equal(out.data, "\x03\x00\x00\x00\x08\xac\x02", 7);
    buf_fini(&out);
}

static void must_acknowledge(uint64_t number)
{
    struct buf out;
    buf_init(&out, 256);
    reply_render_acknowledged(&out, number);
    Dwell__Reply *reply = must_unpack(&out);
    assert_true(reply->has_acknowledged && !reply->has_flushed && !reply->has_acknowledging);
    assert_true(reply->acknowledged == number);
    dwell__reply__free_unpacked(reply, NULL);
    buf_fini(&out);
}

static void test_reply_acknowledges_any_number(void **state)
{
    (void)state;
    must_acknowledge(0);
    must_acknowledge(127);
    must_acknowledge(128);
    must_acknowledge(UINT64_MAX);
}

static void test_reply_tells_whether_it_acknowledges(void **state)
{
    (void)state;
    for (unsigned will = 0; will < 2; will++) {
        struct buf out;
        buf_init(&out, 256);
        reply_render_acknowledging(&out, will != 0);
        Dwell__Reply *reply = must_unpack(&out);
        assert_true(reply->has_acknowledging && !reply->has_acknowledged);
        assert_int_equal(reply->acknowledging, will);
        dwell__reply__free_unpacked(reply, NULL);
        buf_fini(&out);
    }
}

static void test_reply_tells_every_error(void **state)
{
    (void)state;
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        struct buf out;
        buf_init(&out, 256);
        reply_render_error(&out, -1 - row);
        Dwell__Reply *reply = must_unpack(&out);
        assert_false(reply->has_flushed);
        assert_string_equal(reply->error, err_sentence(-1 - row));
        assert_string_equal(reply->reason, err_label(-1 - row));
        dwell__reply__free_unpacked(reply, NULL);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reply_tells_any_count),
        cmocka_unit_test(test_reply_is_these_bytes),
        cmocka_unit_test(test_reply_acknowledges_any_number),
        cmocka_unit_test(test_reply_tells_whether_it_acknowledges),
        cmocka_unit_test(test_reply_tells_every_error),
    };
    return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
