/*
 * proto/WIRE.md is what people write clients from: its examples are decoded, and its tables are
 * compared with the code. Run from the top of the tree, as all unit tests.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dwell.pb-c.h>

#include "base/err.h"
#include "wire/frames.h"
#include "wire/ndjson.h"
#include "wire/reply.h"
#include "wire/statsd.h"
#include "wire_recorder.h"

#define WIRE_MD "proto/WIRE.md"
#define EXAMPLE TEST_DATA "/wire/example.hex"

static char *must_read(const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long len = ftell(file);
    assert_true(len > 0);
    rewind(file);
    char *text = malloc((size_t)len + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)len, file), len);
    text[len] = '\0';
    fclose(file);
    return text;
}

/* The content of the page's only block of that language; the caller frees it. */
static char *must_find_block(const char *page, const char *language)
{
    char fence[32];
    snprintf(fence, sizeof fence, "\n```%s\n", language);
    const char *start = strstr(page, fence);
    assert_non_null(start);
    start += strlen(fence);
    assert_null(strstr(start, fence));
    const char *end = strstr(start, "```\n");
    assert_non_null(end);
    return strndup(start, (size_t)(end - start));
}

/* Turns lines of hex with comments behind # into bytes, in place; returns how many. */
static size_t must_translate(char *hex)
{
    size_t count = 0;
    for (char *at = hex; *at != '\0';) {
        if (*at == '#') {
            at += strcspn(at, "\n");
        } else if (*at == ' ' || *at == '\n') {
            at++;
        } else {
            char pair[3] = {at[0], at[1], '\0'};
            char *end = NULL;
            hex[count++] = (char)strtoul(pair, &end, 16);
            assert_ptr_equal(end, pair + 2);
            at += 2;
        }
    }
    return count;
}

static uint32_t length_at(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static void test_wire_md_shows_the_bytes_of_the_example_file(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    char *file = must_read(EXAMPLE);
    char *block = must_find_block(page, "hex");
    assert_string_equal(block, file);
    free(block);
    free(file);
    free(page);
}

static void test_wire_md_example_is_what_it_says(void **state)
{
    (void)state;
    char *bytes = must_read(EXAMPLE);
    size_t len = must_translate(bytes);
    assert_memory_equal(bytes, "DWL1", 4);
    Dwell__Batch *batches[3];
    size_t at = 4;
    for (int i = 0; i < 3; i++) {
        uint32_t frame = length_at(bytes + at);
        at += 4;
        assert_true(frame <= len - at);
        batches[i] = dwell__batch__unpack(NULL, frame, (const uint8_t *)bytes + at);
        assert_non_null(batches[i]);
        assert_null(batches[i]->base.unknown_fields);
        at += frame;
    }
    assert_int_equal(at, len);

    const Dwell__Hello *hello = batches[0]->hello[0];
    assert_string_equal(hello->service_name, "bus");
    assert_string_equal(hello->service_version, "2.0.0");
    assert_int_equal(hello->pid, 4711);
    assert_string_equal(hello->client, "mylib/1.0");
    assert_int_equal(batches[0]->first_sequence, 0);

    const Dwell__Batch *batch = batches[1];
    assert_int_equal(batch->client_id.len, 16);
    assert_int_equal(batch->first_sequence, 3);
    assert_int_equal(batch->dropped, 3);
    assert_int_equal(batch->n_sample, 3);
    assert_int_equal(batch->n_flush, 1);
    assert_string_equal(batch->strings[batch->sample[0]->model_ref - 1], "resnet50");
    assert_true(batch->sample[0]->execution_time_ms == 12.5);
    assert_true(batch->sample[0]->cpu_percent_during == 80);
    assert_true(batch->sample[0]->memory_mb_after == 512);
    assert_string_equal(batch->strings[batch->sample[1]->model_ref - 1], "bert");
    assert_true(batch->sample[1]->execution_time_ms == 3 && batch->sample[1]->error);
    assert_string_equal(batch->sample[1]->label[0]->key, "region");
    assert_string_equal(batch->sample[1]->label[0]->value, "eu");
    assert_true(batch->sample[1]->user_ms == 2.5);
    assert_string_equal(batch->sample[2]->model_name, "once");
    assert_true(batch->sample[2]->execution_time_ms == 0.25);

    assert_int_equal(batches[2]->first_sequence, 6);
    assert_int_equal(batches[2]->goodbye[0]->sequence, 6);
    for (int i = 0; i < 3; i++) {
        dwell__batch__free_unpacked(batches[i], NULL);
    }
    free(bytes);
}

static void test_wire_md_example_is_taken_by_the_daemon(void **state)
{
    (void)state;
    char *bytes = must_read(EXAMPLE);
    size_t len = must_translate(bytes);
    struct recorder recorder;
    recorder_init(&recorder);
    struct batch_decoder *decoder = calloc(1, sizeof *decoder);
    struct frames frames;
    frames_init(&frames, 1 << 20);
    assert_int_equal(
        frames_feed(&frames, decoder, (struct str){bytes + 4, len - 4}, &recorder.sink), 0);
    assert_int_equal(frames_end(&frames), 0);
    assert_int_equal(recorder.batches, 3);
    assert_int_equal(recorder.accepted, 3);
    assert_int_equal(recorder.controls, 3);
    assert_int_equal(recorder.rejected + recorder.unknown, 0);
    frames_fini(&frames);
    recorder_fini(&recorder);
    free(decoder);
    free(bytes);
}

static void test_wire_md_answer_is_that_of_the_daemon(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    char *shown = strstr(page, "\n02 00 00 00   08 03 ");
    assert_non_null(shown);
    *strstr(shown, "\n```") = '\0';
    struct buf reply;
    buf_init(&reply, 64);
    reply_render_flushed(&reply, 3);
    assert_int_equal(must_translate(shown), reply.len);
    assert_memory_equal(shown, reply.data, reply.len);
    buf_fini(&reply);
    free(page);
}

static void must_read_lines(struct str lines, struct recorder *recorder)
{
    struct ndjson ndjson;
    recorder_init(recorder);
    ndjson_init(&ndjson, 65536);
    assert_int_equal(ndjson_feed(&ndjson, lines, &recorder->sink), 0);
    ndjson_end(&ndjson, &recorder->sink);
    ndjson_fini(&ndjson);
}

static void test_wire_md_lines_are_taken_by_the_daemon(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    char *block = must_find_block(page, "ndjson");
    struct recorder recorder;
    must_read_lines(str_of(block), &recorder);
    assert_int_equal(recorder.accepted, 4 + 7 + 4 + 2); /* samples, metrics, spans, budgets */
    assert_int_equal(recorder.controls, 3);
    assert_int_equal(recorder.rejected + recorder.unknown, 0);
    recorder_fini(&recorder);
    free(block);
    free(page);
}

static void test_wire_md_error_line_is_that_of_the_daemon(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    char *block = must_find_block(page, "json");
    struct recorder recorder;
    must_read_lines(STR_LITERAL("\n\n{\"modle_name\":\"m\",\"execution_time_ms\":1}\n"), &recorder);
    assert_non_null(strstr(recorder.text, "reject missing_key key=\"model_name\" "
                                          "near=\"modle_name\" line=3\n"));
    struct rejection rejection = {.err = ERR_MISSING_KEY,
                                  .key = STR_LITERAL("model_name"),
                                  .near = STR_LITERAL("modle_name"),
                                  .line = 3};
    struct buf line;
    buf_init(&line, 4096);
    ndjson_render_error(&line, &rejection);
    assert_int_equal(line.len, strlen(block));
    assert_memory_equal(line.data, block, line.len);
    buf_fini(&line);
    recorder_fini(&recorder);
    free(block);
    free(page);
}

static void test_wire_md_lines_of_statsd_are_samples(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    char *block = must_find_block(page, "statsd");
    struct statsd_samples samples = {.count = 0};
    struct statsd statsd;
    struct recorder recorder;
    statsd_samples_add(&samples, STR_LITERAL("inference"));
    statsd_samples_add(&samples, STR_LITERAL("model.inference"));
    statsd_init(&statsd, 65536, &samples);
    recorder_init(&recorder);
    assert_int_equal(statsd_feed_last(&statsd, str_of(block), &recorder.sink), 0);
    assert_string_equal(recorder.text,
                        "sample \"resnet50\" execution_time_ms=12.5\n"
                        "sample \"bert\" execution_time_ms=3.25 weight=10 device=\"cuda:0\" "
                        "labels={\"tier\"=\"gold\"}\n");
    recorder_fini(&recorder);
    statsd_fini(&statsd);
    free(block);
    free(page);
}

static void test_wire_md_lists_every_reason_once(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    const char *table = strstr(page, "\n| reason | of | when |\n");
    assert_non_null(table);
    unsigned rows = 0;
    for (const char *at = strchr(table + 1, '\n'); at[1] == '|'; at = strchr(at + 1, '\n')) {
        rows++;
    }
    assert_int_equal(rows - 1, ERR_ROW_COUNT); /* one is the rule below the heading */
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        char cell[64];
        snprintf(cell, sizeof cell, "\n| `%s` | ", err_label(-1 - row));
        assert_non_null(strstr(table, cell));
    }
    free(page);
}

static unsigned kind_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
        return 1;
    case PROTOBUF_C_TYPE_FIXED32:
        return 5;
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_ENUM:
        return 0;
    default:
        return 2;
    }
}

static void must_show_tags(const char *page, const ProtobufCMessageDescriptor *message)
{
    for (unsigned i = 0; i < message->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->fields[i];
        unsigned tag = field->id << 3 | kind_of(field->type);
        char cells[96];
        if (tag < 0x80) {
            snprintf(cells, sizeof cells, "| `%s` | `%02x` |", field->name, tag);
        } else {
            snprintf(cells, sizeof cells, "| `%s` | `%02x %02x` |", field->name,
                     (tag & 0x7F) | 0x80, tag >> 7);
        }
        if (strstr(page, cells) == NULL) {
            fail_msg("%s is missing", cells);
        }
    }
}

static void test_wire_md_shows_the_tag_of_every_field(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    must_show_tags(page, &dwell__sample__descriptor);
    must_show_tags(page, &dwell__metric__descriptor);
    must_show_tags(page, &dwell__attribute__descriptor);
    must_show_tags(page, &dwell__span__descriptor);
    must_show_tags(page, &dwell__key_value__descriptor);
    must_show_tags(page, &dwell__any_value__descriptor);
    must_show_tags(page, &dwell__array_value__descriptor);
    must_show_tags(page, &dwell__key_value_list__descriptor);
    must_show_tags(page, &dwell__event__descriptor);
    must_show_tags(page, &dwell__link__descriptor);
    must_show_tags(page, &dwell__status__descriptor);
    must_show_tags(page, &dwell__budget__descriptor);
    free(page);
}

static void must_show_numbers(const char *page, const ProtobufCEnumDescriptor *list)
{
    for (unsigned i = 0; i < list->n_values; i++) {
        char text[64];
        snprintf(text, sizeof text, "%d `%s`", list->values[i].value, list->values[i].name);
        if (strstr(page, text) == NULL) {
            fail_msg("%s is missing", text);
        }
    }
}

static void test_wire_md_shows_the_numbers_of_words(void **state)
{
    (void)state;
    char *page = must_read(WIRE_MD);
    must_show_numbers(page, &dwell__metric__op__descriptor);
    must_show_numbers(page, &dwell__metric__aggregation__descriptor);
    must_show_numbers(page, &dwell__span__part__descriptor);
    must_show_numbers(page, &dwell__span__kind__descriptor);
    must_show_numbers(page, &dwell__status__code__descriptor);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wire_md_shows_the_bytes_of_the_example_file),
        cmocka_unit_test(test_wire_md_example_is_what_it_says),
        cmocka_unit_test(test_wire_md_example_is_taken_by_the_daemon),
        cmocka_unit_test(test_wire_md_answer_is_that_of_the_daemon),
        cmocka_unit_test(test_wire_md_lines_are_taken_by_the_daemon),
        cmocka_unit_test(test_wire_md_error_line_is_that_of_the_daemon),
        cmocka_unit_test(test_wire_md_lines_of_statsd_are_samples),
        cmocka_unit_test(test_wire_md_lists_every_reason_once),
        cmocka_unit_test(test_wire_md_shows_the_tag_of_every_field),
        cmocka_unit_test(test_wire_md_shows_the_numbers_of_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
