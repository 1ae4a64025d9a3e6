#include "core_helpers.h"

#include <math.h>
#include <stdlib.h>

#include <prometheus.pb-c.h>

#include "base/err.h"
#include "mem_fault.h"
#include "base/message.h"

enum { BYTES_MAX = 1 << 20 };

static void must_be_bytes(struct buf *got, const char *wanted, size_t len)
{
    assert_int_equal(got->err, 0);
    assert_int_equal(got->len, len);
    assert_memory_equal(got->data, wanted, len);
    buf_fini(got);
}

#define must_be(got, wanted) must_be_bytes(got, wanted, sizeof wanted - 1)

static struct buf varint(uint64_t number)
{
    struct buf out;
    buf_init(&out, BYTES_MAX);
    message_varint(&out, number);
    return out;
}

static struct buf sint(int64_t number)
{
    struct buf out;
    buf_init(&out, BYTES_MAX);
    message_sint(&out, 5, number);
    return out;
}

static void test_message_varints_take_seven_bits_a_byte(void **state)
{
    (void)state;
    static const struct {
        uint64_t number;
        const char *bytes;
        size_t len;
    } facts[] = {
        {0, "\x00", 1},
        {1, "\x01", 1},
        {127, "\x7F", 1},
        {128, "\x80\x01", 2},
        {300, "\xAC\x02", 2},
        {16383, "\xFF\x7F", 2},
        {16384, "\x80\x80\x01", 3},
        {UINT32_MAX, "\xFF\xFF\xFF\xFF\x0F", 5},
        {UINT64_MAX, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct buf got = varint(facts[i].number);
        must_be_bytes(&got, facts[i].bytes, facts[i].len);
    }
}

static void test_message_signed_numbers_zigzag(void **state)
{
    (void)state;
    static const struct {
        int64_t number;
        const char *bytes;
        size_t len;
    } facts[] = {
        {0, "\x28\x00", 2},
        {-1, "\x28\x01", 2},
        {1, "\x28\x02", 2},
        {-64, "\x28\x7F", 2},
        {64, "\x28\x80\x01", 3},
        {INT64_MAX, "\x28\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11},
        {INT64_MIN, "\x28\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct buf got = sint(facts[i].number);
        must_be_bytes(&got, facts[i].bytes, facts[i].len);
    }
}

static void test_message_fields_have_tags(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BYTES_MAX);
    message_u64(&out, 15, 1);
    message_u64(&out, 16, 1);
    message_i64(&out, 1, -1);
    message_double(&out, 2, 1.5);
    message_str(&out, 3, STR_LITERAL("ab"));
    message_str(&out, 3, (struct str){NULL, 0});
    message_fixed64(&out, 4, UINT64_C(0x0102030405060708));
    must_be(&out, "\x78\x01"
                  "\x80\x01\x01"
                  "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"
                  "\x11\x00\x00\x00\x00\x00\x00\xF8\x3F"
                  "\x1A\x02"
                  "ab"
                  "\x1A\x00"
                  "\x21\x08\x07\x06\x05\x04\x03\x02\x01");
}

static void must_write_nan(uint64_t bits)
{
    char got[MESSAGE_DOUBLE_BYTES];
    double number;
    memcpy(&number, &bits, sizeof number);
    message_write_double(got, number);
    assert_memory_equal(got, "\x01\x00\x00\x00\x00\x00\xF8\x7F", sizeof got);
}

static void test_message_no_nan_means_a_stale_series(void **state)
{
    (void)state;
    must_write_nan(UINT64_C(0x7FF8000000000000));
    must_write_nan(UINT64_C(0x7FF8000000000001));
    must_write_nan(UINT64_C(0x7FF0000000000002)); /* Prometheus' mark of a series that ended */
    must_write_nan(UINT64_C(0xFFFFFFFFFFFFFFFF));
}

/* A label whose value has a length, inside of a metric inside of a family, decoded again. */
static void must_nest(size_t len)
{
    struct buf out;
    char *value = calloc(1, len + 1);
    assert_non_null(value);
    memset(value, 'x', len);
    buf_init(&out, BYTES_MAX);
    message_str(&out, 1, STR_LITERAL("family"));
    size_t metric = message_begin(&out, 4);
    size_t label = message_begin(&out, 1);
    message_str(&out, 1, STR_LITERAL("name"));
    message_str(&out, 2, (struct str){value, len});
    message_end(&out, label);
    size_t gauge = message_begin(&out, 2);
    message_double(&out, 1, (double)len);
    message_end(&out, gauge);
    message_end(&out, metric);
    message_str(&out, 5, STR_LITERAL("unit"));
    assert_int_equal(out.err, 0);
    Prometheus__MetricFamily *family =
        prometheus__metric_family__unpack(NULL, out.len, (const uint8_t *)out.data);
    assert_non_null(family);
    assert_string_equal(family->name, "family");
    assert_string_equal(family->unit, "unit");
    assert_int_equal(family->n_metric, 1);
    assert_int_equal(family->metric[0]->n_label, 1);
    assert_string_equal(family->metric[0]->label[0]->name, "name");
    assert_string_equal(family->metric[0]->label[0]->value, value);
    assert_true(family->metric[0]->gauge->value == (double)len);
    assert_int_equal(prometheus__metric_family__get_packed_size(family), out.len);
    prometheus__metric_family__free_unpacked(family, NULL);
    buf_fini(&out);
    free(value);
}

static void test_message_lengths_are_right_where_they_grow(void **state)
{
    (void)state;
    for (size_t len = 0; len < 300; len++) {
        must_nest(len);
    }
    for (size_t len = 16300; len < 16400; len++) {
        must_nest(len);
    }
}

static void test_message_empty_message_has_length_zero(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BYTES_MAX);
    message_end(&out, message_begin(&out, 7));
    must_be(&out, "\x3A\x00");
}

static void must_nest_long(size_t len)
{
    struct buf out;
    char *name = calloc(1, len + 1);
    assert_non_null(name);
    memset(name, 'x', len);
    buf_init(&out, 2 * BYTES_MAX);
    size_t metric = message_begin_long(&out, 4);
    size_t label = message_begin_long(&out, 1);
    message_str(&out, 1, (struct str){name, len});
    message_end_long(&out, label);
    message_end_long(&out, metric);
    assert_int_equal(out.err, 0);
    assert_int_equal(label - metric, 1 + MESSAGE_LONG_BYTES);
    Prometheus__MetricFamily *family =
        prometheus__metric_family__unpack(NULL, out.len, (const uint8_t *)out.data);
    assert_non_null(family);
    assert_int_equal(family->n_metric, 1);
    assert_int_equal(family->metric[0]->n_label, 1);
    assert_string_equal(family->metric[0]->label[0]->name, name);
    prometheus__metric_family__free_unpacked(family, NULL);
    buf_fini(&out);
    free(name);
}

static void test_message_long_messages_have_a_length_of_four_bytes(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, BYTES_MAX);
    message_end_long(&out, message_begin_long(&out, 7));
    must_be(&out, "\x3A\x80\x80\x80\x00");
    static const size_t lens[] = {0, 1, 120, 127, 128, 16383, 16384, BYTES_MAX};
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        must_nest_long(lens[i]);
    }
}

/* What is put where there is room is what is appended elsewhere, and as long as was said. */
static void test_message_put_is_the_same(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 127, 128, 16383, 16384, BYTES_MAX / 2};
    char *text = calloc(1, BYTES_MAX / 2);
    char *room = malloc(BYTES_MAX);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        struct buf wanted;
        buf_init(&wanted, BYTES_MAX);
        message_str(&wanted, 15, (struct str){text, lens[i]});
        assert_int_equal(message_text_bytes(lens[i]), wanted.len);
        char *end = message_put_text(room, 15, (struct str){lens[i] == 0 ? NULL : text, lens[i]});
        must_be_bytes(&wanted, room, (size_t)(end - room));
        message_fixed64(&wanted, 8, lens[i] * UINT64_C(0x0102030405060708));
        end = message_put_fixed64(room, 8, lens[i] * UINT64_C(0x0102030405060708));
        assert_int_equal(end - room, MESSAGE_FIXED64_BYTES);
        must_be_bytes(&wanted, room, MESSAGE_FIXED64_BYTES);
    }
    free(room);
    free(text);
}

static void write_something(struct buf *out)
{
    size_t outer = message_begin_long(out, 4);
    for (unsigned i = 0; i < 40; i++) {
        size_t inner = message_begin(out, 3);
        message_u64(out, 1, i);
        message_double(out, 2, i);
        message_str(out, 16, STR_LITERAL("text"));
        message_end(out, inner);
    }
    message_end_long(out, outer);
}

static void test_message_stops_at_the_ceiling(void **state)
{
    (void)state;
    struct buf whole;
    buf_init(&whole, BYTES_MAX);
    write_something(&whole);
    assert_int_equal(whole.err, 0);
    for (size_t max = 0; max < whole.len; max++) {
        struct buf out;
        buf_init(&out, max);
        write_something(&out);
        assert_int_equal(out.err, ERR_LIMIT);
        assert_true(out.len <= max);
        buf_fini(&out);
    }
    buf_fini(&whole);
}

static void test_message_survives_want_of_memory(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct buf out;
        buf_init(&out, BYTES_MAX);
        mem_fail_after(n);
        write_something(&out);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(out.err, failed ? ERR_NOMEM : 0);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_varints_take_seven_bits_a_byte),
        cmocka_unit_test(test_message_signed_numbers_zigzag),
        cmocka_unit_test(test_message_fields_have_tags),
        cmocka_unit_test(test_message_no_nan_means_a_stale_series),
        cmocka_unit_test(test_message_lengths_are_right_where_they_grow),
        cmocka_unit_test(test_message_empty_message_has_length_zero),
        cmocka_unit_test(test_message_long_messages_have_a_length_of_four_bytes),
        cmocka_unit_test(test_message_put_is_the_same),
        cmocka_unit_test(test_message_stops_at_the_ceiling),
        cmocka_unit_test(test_message_survives_want_of_memory),
    };
    return cmocka_run_group_tests_name("message", tests, note_memory, must_be_clean);
}
