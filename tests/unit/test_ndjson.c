/*
 * wire/ndjson against tests/data/wire/ndjson; splits, cuts, flipped bits, ceilings, answers; and a
 * comparison with jansson on generated and mutated lines: the same records, or both refuse the line.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <regex.h>
#include <time.h>

#include "base/err.h"
#include "mem_fault.h"
#include "wire/ndjson.h"
#include "wire/sniff.h"
#include "wire_data.h"
#include "wire_json.h"
#include "wire_random.h"
#include "wire_recorder.h"
#include "wire_split.h"

enum {
    MAX_LINE_BYTES = 65536,
    FLIPS_MAX =
        WIRE_DAMAGES(1000),        /* bits of a case, each flipped alone; longer ones are sampled */
    TWO_FLIPS = WIRE_DAMAGES(300), /* pairs of flipped bits for each case */
    LINES = 10000,                 /* generated; each is also tried with damage */
};

static int feed(struct ndjson *ndjson, struct recorder *recorder, struct str bytes)
{
    char *copy = wire_copy(bytes);
    int err = ndjson_feed(ndjson, (struct str){copy, bytes.len}, &recorder->sink);
    recorder_check(recorder);
    free(copy);
    return err;
}

/* Feeds the input in pieces whose first one ends at `split` and the others are `step` long. */
static void run_below(size_t max_line_bytes, struct recorder *recorder, struct str input,
                      size_t split, size_t step)
{
    struct ndjson ndjson;
    ndjson_init(&ndjson, max_line_bytes);
    recorder_clear(recorder);
    size_t len = split;
    while (input.len > 0) {
        len = len < input.len ? len : input.len;
        assert_int_equal(feed(&ndjson, recorder, (struct str){input.ptr, len}), 0);
        input.ptr += len;
        input.len -= len;
        len = step;
    }
    ndjson_end(&ndjson, &recorder->sink);
    recorder_check(recorder);
    ndjson_fini(&ndjson);
}

static void run(struct recorder *recorder, struct str input, size_t split, size_t step)
{
    run_below(MAX_LINE_BYTES, recorder, input, split, step);
}

/* Files */

static void must_say(const struct recorder *recorder, const struct wire_case *wire_case)
{
    if (strcmp(recorder->text, wire_case->expect) != 0) {
        print_error("%s\n", wire_case->name);
    }
    assert_string_equal(recorder->text, wire_case->expect);
}

static void check_every_split(const struct wire_case *wire_case)
{
    struct str input = wire_case->input;
    struct recorder recorder;
    recorder_init(&recorder);
    run(&recorder, input, input.len + 1, 1);
    must_say(&recorder, wire_case);
    run(&recorder, input, 1, 1);
    must_say(&recorder, wire_case);
    for (size_t split = 1; split < input.len; split += wire_split_step(input.len)) {
        run(&recorder, input, split, input.len);
        must_say(&recorder, wire_case);
    }
    recorder_fini(&recorder);
}

static void test_ndjson_takes_valid_input_in_every_split(void **state)
{
    (void)state;
    assert_true(wire_for_each_case("ndjson/valid", check_every_split) > 10);
}

static void test_ndjson_rejects_invalid_lines_in_every_split(void **state)
{
    (void)state;
    assert_true(wire_for_each_case("ndjson/invalid", check_every_split) > 10);
}

static size_t count_lines(struct str input)
{
    size_t lines = 0;
    for (size_t at = 0; at < input.len;) {
        size_t start = at;
        while (at < input.len && input.ptr[at] != '\n') {
            at++;
        }
        while (start < at && strchr(" \t\r", input.ptr[start]) != NULL &&
               input.ptr[start] != '\0') {
            start++;
        }
        lines += start < at;
        at++;
    }
    return lines;
}

/* Every line that is not blank ends in exactly one outcome. */
static void must_settle_every_line(const struct recorder *recorder, struct str input)
{
    assert_int_equal(recorder->accepted + recorder->controls + recorder->rejected,
                     count_lines(input));
}

/* Cut at any byte, the whole lines say what they say in the whole input. */
static void check_cuts(const struct wire_case *wire_case)
{
    struct recorder recorder;
    recorder_init(&recorder);
    for (size_t len = 0; len <= wire_case->input.len;
         len += wire_split_step(wire_case->input.len)) {
        struct str input = {wire_case->input.ptr, len};
        run(&recorder, input, len + 1, 1);
        must_settle_every_line(&recorder, input);
        while (input.len > 0 && input.ptr[input.len - 1] != '\n') {
            input.len--;
        }
        run(&recorder, input, len + 1, 1);
        assert_memory_equal(recorder.text, wire_case->expect, recorder.len);
    }
    recorder_fini(&recorder);
}

static void test_ndjson_cut_anywhere_settles_every_line(void **state)
{
    (void)state;
    (void)wire_for_each_case("ndjson/valid", check_cuts); /* counted above */
    (void)wire_for_each_case("ndjson/invalid", check_cuts);
}

/* Flipped bits may say anything, but the same in one piece and in two. */
static void must_agree_with_itself(struct recorder *whole, struct recorder *split, struct str input)
{
    run(whole, input, input.len, 1);
    must_settle_every_line(whole, input);
    run(split, input, wire_random_below(&wire_json_dice, input.len) + 1, input.len);
    assert_string_equal(whole->text, split->text);
}

static void flip(char *bytes, size_t bit)
{
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
}

static void check_flips(const struct wire_case *wire_case)
{
    struct str input = wire_case->input;
    if (input.len == 0) {
        return;
    }
    struct recorder whole;
    struct recorder split;
    recorder_init(&whole);
    recorder_init(&split);
    char *bytes = wire_copy(input);
    input.ptr = bytes;
    size_t bits = 8 * input.len;
    for (size_t i = 0; i < bits && i < FLIPS_MAX; i++) {
        size_t bit = bits <= FLIPS_MAX ? i : wire_random_below(&wire_json_dice, bits);
        flip(bytes, bit);
        must_agree_with_itself(&whole, &split, input);
        flip(bytes, bit);
    }
    for (int i = 0; i < TWO_FLIPS; i++) {
        size_t first = wire_random_below(&wire_json_dice, bits);
        size_t second = wire_random_below(&wire_json_dice, bits);
        flip(bytes, first);
        flip(bytes, second);
        must_agree_with_itself(&whole, &split, input);
        flip(bytes, first);
        flip(bytes, second);
    }
    free(bytes);
    recorder_fini(&split);
    recorder_fini(&whole);
}

static void test_ndjson_with_flipped_bits_does_no_harm(void **state)
{
    (void)state;
    wire_json_dice = wire_random_start("test_ndjson flips");
    (void)wire_for_each_case("ndjson/valid", check_flips); /* counted above */
    (void)wire_for_each_case("ndjson/invalid", check_flips);
}

/* Ceilings and memory */

#define GOOD "{\"model_name\":\"m\",\"execution_time_ms\":1}"

static void must_say_in_every_split(size_t max_line_bytes, const char *input, const char *expect)
{
    wire_must_say_in_every_split(run_below, max_line_bytes, input, expect);
}

static void test_ndjson_takes_the_ceiling_and_not_one_byte_more(void **state)
{
    (void)state;
    size_t len = sizeof GOOD - 1;
    must_say_in_every_split(len, GOOD "\n" GOOD "\n" GOOD,
                            "sample \"m\" execution_time_ms=1\nsample \"m\" execution_time_ms=1\n"
                            "sample \"m\" execution_time_ms=1\n");
    must_say_in_every_split(len, " " GOOD "\n" GOOD "\n" GOOD " ",
                            "reject too_long line=1\nsample \"m\" execution_time_ms=1\n"
                            "reject too_long line=3\n");
    must_say_in_every_split(len, "\n" GOOD "\r\n" GOOD "\n" GOOD GOOD GOOD,
                            "reject too_long line=2\nsample \"m\" execution_time_ms=1\n"
                            "reject too_long line=4\n");
}

/* A line that has begun may be as long as when it did. */
static void test_ndjson_obeys_a_new_ceiling_from_the_next_line_on(void **state)
{
    (void)state;
    size_t len = sizeof GOOD - 1;
    struct recorder recorder;
    struct ndjson ndjson;
    recorder_init(&recorder);
    ndjson_init(&ndjson, len + 10);
    assert_int_equal(feed(&ndjson, &recorder, STR_LITERAL("          {\"model_name\":")), 0);
    ndjson_limit(&ndjson, len);
    ndjson_limit(&ndjson, 10);
    assert_int_equal(
        feed(&ndjson, &recorder, STR_LITERAL("\"m\",\"execution_time_ms\":1}\n" GOOD "\n {}")), 0);
    ndjson_limit(&ndjson, len);
    assert_int_equal(feed(&ndjson, &recorder, STR_LITERAL("\n" GOOD "\n" GOOD " \n")), 0);
    ndjson_limit(&ndjson, len + 1);
    assert_int_equal(feed(&ndjson, &recorder, STR_LITERAL(GOOD " \n")), 0);
    assert_string_equal(recorder.text, "sample \"m\" execution_time_ms=1\n"
                                       "reject too_long line=2\n"
                                       "reject missing_key key=\"model_name\" line=3\n"
                                       "sample \"m\" execution_time_ms=1\n"
                                       "reject too_long line=5\n"
                                       "sample \"m\" execution_time_ms=1\n");
    ndjson_fini(&ndjson);
    recorder_fini(&recorder);
}

static void test_ndjson_gives_large_memory_back(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    struct ndjson ndjson;
    ndjson_init(&ndjson, MAX_LINE_BYTES);
    static char line[MAX_LINE_BYTES];
    memset(line, ' ', sizeof line);
    memcpy(line, "{\"x\\n\":1,", 9);
    memcpy(line + sizeof line - sizeof GOOD + 2, GOOD + 1, sizeof GOOD - 2);
    assert_int_equal(feed(&ndjson, &recorder, (struct str){line, sizeof line}), 0);
    assert_true(ndjson.partial.cap >= sizeof line);
    assert_int_equal(feed(&ndjson, &recorder, STR_LITERAL("\n")), 0);
    assert_string_equal(recorder.text, "unknown \"x\\x0a\"\nsample \"m\" execution_time_ms=1\n");
    assert_int_equal(ndjson.partial.cap, 0);
    assert_int_equal(ndjson.memory.scratch.cap, 0);
    ndjson_fini(&ndjson);
    recorder_fini(&recorder);
}

static void test_ndjson_reads_whole_lines_without_memory(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    size_t allocations = mem_count_allocations();
    run(&recorder, STR_LITERAL(GOOD "\n{\"x\":[1,{\"y\":2}],\"labels\":{\"a\":\"b\"}}\n"), 1000, 1);
    assert_int_equal(mem_count_allocations(), allocations);
    recorder_fini(&recorder);
}

/* A line without memory for its escapes is rejected alone; without memory to keep a part of a line
 * the input ends. */
static void test_ndjson_without_memory_says_so_and_leaks_nothing(void **state)
{
    (void)state;
    static const char input[] = "{\"model_name\":\"\\n\",\"execution_time_ms\":1}\n" GOOD;
    struct recorder recorder;
    recorder_init(&recorder);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct ndjson ndjson;
        ndjson_init(&ndjson, MAX_LINE_BYTES);
        recorder_clear(&recorder);
        mem_fail_after(n);
        int err = feed(&ndjson, &recorder, (struct str){input, 5});
        if (err == 0) {
            err = feed(&ndjson, &recorder, (struct str){input + 5, sizeof input - 1 - 5});
        }
        if (err == 0) {
            ndjson_end(&ndjson, &recorder.sink);
        }
        failed = mem_has_failed();
        mem_fail_after(0);
        if (failed && err == 0) {
            assert_string_equal(recorder.text, "reject out_of_memory key=\"model_name\" line=1\n"
                                               "sample \"m\" execution_time_ms=1\n");
        } else if (!failed) {
            assert_string_equal(recorder.text, "sample \"\\x0a\" execution_time_ms=1\n"
                                               "sample \"m\" execution_time_ms=1\n");
        } else {
            assert_int_equal(err, ERR_NOMEM);
        }
        ndjson_fini(&ndjson);
        assert_int_equal(mem_count_live(), live);
    }
    recorder_fini(&recorder);
}

static void test_ndjson_passes_on_what_the_sink_refuses(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    recorder.refuse = ERR_LIMIT;
    run(&recorder, STR_LITERAL(GOOD "\n{\"type\":\"hello\"}\n{\"type\":\"flush\"}\n"), 1000, 1);
    assert_string_equal(recorder.text, "sample \"m\" execution_time_ms=1\n"
                                       "reject limit_reached line=1\n"
                                       "hello\nreject limit_reached line=2 control\n"
                                       "flush\nreject limit_reached line=3 control\n");
    recorder_fini(&recorder);
}

/* Answers */

static void must_render(struct rejection rejection, const char *expect)
{
    struct buf out;
    buf_init(&out, 4096);
    ndjson_render_error(&out, &rejection);
    buf_char(&out, '\0');
    assert_int_equal(out.err, 0);
    assert_string_equal(out.data, expect);
    json_t *answer = json_loads(out.data, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_string(json_object_get(answer, "error")));
    assert_string_equal(json_string_value(json_object_get(answer, "reason")),
                        err_label(rejection.err));
    json_decref(answer);
    buf_fini(&out);
}

#define KEY(text) STR_LITERAL(text)

static void test_ndjson_answers_tell_what_is_wrong(void **state)
{
    (void)state;
    must_render(
        (struct rejection){
            .err = ERR_MISSING_KEY, .key = KEY("model_name"), .near = KEY("modle_name"), .line = 3},
        "{\"error\": \"missing \\\"model_name\\\" (did you mean it by "
        "\\\"modle_name\\\"?)\", \"reason\": \"missing_key\", \"line\": 3}\n");
    must_render((struct rejection){.err = ERR_MISSING_KEY, .key = KEY("model_name"), .line = 1},
                "{\"error\": \"missing \\\"model_name\\\"\", \"reason\": \"missing_key\", "
                "\"line\": 1}\n");
    must_render((struct rejection){.err = ERR_FORMAT},
                "{\"error\": \"the first bytes belong to no format that is understood\", "
                "\"reason\": \"unknown_format\"}\n");
    must_render(
        (struct rejection){
            .err = ERR_UNKNOWN_TYPE, .key = KEY("sampel"), .near = KEY("sample"), .line = 2},
        "{\"error\": \"unknown type \\\"sampel\\\" (did you mean \\\"sample\\\"?)\", "
        "\"reason\": \"unknown_type\", \"line\": 2}\n");
    must_render(
        (struct rejection){.err = ERR_RANGE, .key = KEY("queue_ms"), .expects = KEY("more")},
        "{\"error\": \"\\\"queue_ms\\\": a value lies outside its range; expects more\", "
        "\"reason\": \"out_of_range\"}\n");
    must_render((struct rejection){.err = ERR_RANGE, .key = KEY("queue_ms"), .line = 9},
                "{\"error\": \"\\\"queue_ms\\\": a value lies outside its range\", "
                "\"reason\": \"out_of_range\", \"line\": 9}\n");
}

static void test_ndjson_answers_escape_a_peers_text(void **state)
{
    (void)state;
    must_render((struct rejection){.err = ERR_DUPLICATE_KEY, .key = KEY("a\"\\\n\x1b[2J\x7f")},
                "{\"error\": \"\\\"a\\\"\\\\\\u000a\\u001b[2J\\u007f\\\": a key is given twice\", "
                "\"reason\": \"duplicate_key\"}\n");
    must_render((struct rejection){.err = ERR_DUPLICATE_KEY, .key = KEY("\xc2\x9b\xc3\xa9")},
                "{\"error\": \"\\\"\\u009b\xc3\xa9\\\": a key is given twice\", "
                "\"reason\": \"duplicate_key\"}\n");
    must_render((struct rejection){.err = ERR_DUPLICATE_KEY, .key = KEY("\xff\xc3")},
                "{\"error\": \"\\\"\\u00ff\\u00c3\\\": a key is given twice\", "
                "\"reason\": \"duplicate_key\"}\n");
}

static void test_ndjson_answers_cut_a_long_text_between_characters(void **state)
{
    (void)state;
    char key[4096];
    for (size_t i = 0; i + 1 < sizeof key; i += 2) {
        memcpy(key + i, "\xc3\xa9", 2);
    }
    for (size_t start = 0; start < 4; start += 2) {
        struct rejection rejection = {.err = ERR_DUPLICATE_KEY,
                                      .key = {key + start, sizeof key - start}};
        struct buf out;
        buf_init(&out, 4096);
        ndjson_render_error(&out, &rejection);
        assert_int_equal(out.err, 0);
        assert_true(str_is_utf8((struct str){out.data, out.len}));
        assert_true(out.len < 300);
        buf_fini(&out);
    }
}

static void test_ndjson_answers_a_flush(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    ndjson_render_flushed(&out, UINT64_MAX);
    assert_memory_equal(out.data, "{\"flushed\": 18446744073709551615}\n", out.len);
    buf_fini(&out);
}

static void test_ndjson_answers_who_asks_for_acknowledgements(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 4096);
    ndjson_render_acknowledging(&out, true);
    ndjson_render_acknowledging(&out, false);
    ndjson_render_acknowledged(&out, UINT64_MAX);
    assert_memory_equal(out.data,
                        "{\"acknowledging\": true}\n{\"acknowledging\": false}\n"
                        "{\"acknowledged\": 18446744073709551615}\n",
                        out.len);
    buf_fini(&out);
}

/* Raw lines */

struct gathered {
    struct recorder recorder;
    struct buf raw;
};

static void gather(void *ctx, struct str bytes)
{
    struct gathered *gathered = ctx; /* the recorder is its first member */
    buf_str(&gathered->raw, bytes);
}

/* However it is cut, what is told raw is `expect`, and says the same when it is read again. */
static void must_tell_raw(size_t max_line_bytes, const char *input, const char *expect)
{
    for (size_t step = 1; step <= strlen(input) + 1; step++) {
        struct gathered gathered;
        struct recorder again;
        recorder_init(&gathered.recorder);
        recorder_init(&again);
        gathered.recorder.sink.raw = gather;
        buf_init(&gathered.raw, 4096);
        run_below(max_line_bytes, &gathered.recorder, str_of(input), step, step);
        assert_int_equal(gathered.raw.len, strlen(expect));
        assert_memory_equal(gathered.raw.data, expect, gathered.raw.len);
        run_below(max_line_bytes, &again, (struct str){gathered.raw.data, gathered.raw.len}, 1, 1);
        assert_int_equal(again.accepted, gathered.recorder.accepted);
        assert_int_equal(again.rejected, gathered.recorder.rejected);
        recorder_fini(&gathered.recorder);
        recorder_fini(&again);
        buf_fini(&gathered.raw);
    }
}

static void test_ndjson_tells_raw_lines(void **state)
{
    (void)state;
    must_tell_raw(1000, GOOD "\n\n" GOOD "\r\n{\"type\":\"flush\"}\nbad\n",
                  GOOD "\n\n" GOOD "\r\n{\"type\":\"flush\"}\nbad\n");
    must_tell_raw(1000, GOOD "\n" GOOD, GOOD "\n" GOOD "\n"); /* as at the end of input */
    must_tell_raw(sizeof GOOD - 1, GOOD "\n " GOOD "\n" GOOD GOOD GOOD "\n" GOOD "\n",
                  GOOD "\n!\n!\n" GOOD "\n"); /* in place of what was too long */
}

/* What jansson says */

struct figure_key {
    const char *name;
    int part; /* -1: execution_time_ms */
    double max;
    size_t offset;
};

#define FIGURE(part, member, max)                                                                  \
    {                                                                                              \
#member, SAMPLE_##part, max, offsetof(struct sample, member)                               \
    }

static const struct figure_key figure_keys[] = {
    {"execution_time_ms", -1, RECORD_MS_MAX, offsetof(struct sample, execution_time_ms)},
    FIGURE(CPU_BEFORE, cpu_percent_before, RECORD_PERCENT_MAX),
    FIGURE(CPU_DURING, cpu_percent_during, RECORD_PERCENT_MAX),
    FIGURE(MEMORY_BEFORE, memory_mb_before, RECORD_MB_MAX),
    FIGURE(MEMORY_AFTER, memory_mb_after, RECORD_MB_MAX),
    FIGURE(BATCH_SIZE, batch_size, RECORD_COUNT_MAX),
    FIGURE(QUEUE, queue_ms, RECORD_MS_MAX),
    FIGURE(USER, user_ms, RECORD_MS_MAX),
    FIGURE(SYSTEM, system_ms, RECORD_MS_MAX),
    FIGURE(RUNQUEUE, runqueue_ms, RECORD_MS_MAX),
    FIGURE(MINOR_FAULTS, minor_faults, RECORD_COUNT_MAX),
    FIGURE(MAJOR_FAULTS, major_faults, RECORD_COUNT_MAX),
    FIGURE(SWITCHES, voluntary_switches, RECORD_COUNT_MAX),
    FIGURE(BYTES_MOVED, bytes_moved, RECORD_COUNT_MAX),
    FIGURE(FLOPS, flops, RECORD_COUNT_MAX),
    FIGURE(THREADS, threads, RECORD_COUNT_MAX),
    FIGURE(PROCESS_CPU, process_cpu_ms, RECORD_MS_MAX),
    FIGURE(INVOLUNTARY_SWITCHES, involuntary_switches, RECORD_COUNT_MAX),
    FIGURE(DISK_BYTES, disk_bytes, RECORD_COUNT_MAX),
};
enum { FIGURE_KEYS = sizeof figure_keys / sizeof figure_keys[0] };

static const char *const other_sample_keys[] = {"type",     "model_name", "timestamp",
                                                "error",    "labels",     "device",
                                                "trace_id", "span_id",    "thread_id"};
static const char *const control_keys[] = {"type", "sequence", "dropped"};
static const char *const hello_keys[] = {"service_name",        "service_version", "pid",
                                         "constitutional_hash", "client",          "client_id",
                                         "acknowledge"};

static const char *const metric_types[] = {"counter", "gauge", "histogram", "info"};
static const char *const budget_keys[] = {"type", "layer", "elapsed_ms", "operation", "request_id"};
static const char *const amount_keys[] = {"value", "unit", "timestamp"};
static const char *const gauge_keys[] = {"delta", "aggregation"};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static bool is_one_of(const char *key, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_metric(const char *type)
{
    return is_one_of(type, metric_types, COUNT_OF(metric_types));
}

static bool is_known_of_metric(const char *key, const char *type)
{
    static const char *const of_all[] = {"type", "name", "attributes"};
    if (is_one_of(key, of_all, COUNT_OF(of_all))) {
        return true;
    }
    if (strcmp(type, "info") == 0) {
        return false;
    }
    bool is_gauge = strcmp(type, "gauge") == 0;
    bool is_id = strcmp(key, "trace_id") == 0 || strcmp(key, "span_id") == 0;
    return is_one_of(key, amount_keys, COUNT_OF(amount_keys)) ||
           (is_gauge ? is_one_of(key, gauge_keys, COUNT_OF(gauge_keys)) : is_id);
}

static bool is_known(const char *key, const char *type)
{
    if (is_metric(type)) {
        return is_known_of_metric(key, type);
    }
    if (strcmp(type, "budget") == 0) {
        return is_one_of(key, budget_keys, COUNT_OF(budget_keys));
    }
    if (strcmp(type, "sample") != 0) {
        return is_one_of(key, control_keys, COUNT_OF(control_keys)) ||
               (strcmp(type, "hello") == 0 && is_one_of(key, hello_keys, COUNT_OF(hello_keys)));
    }
    for (size_t i = 0; i < FIGURE_KEYS; i++) {
        if (strcmp(key, figure_keys[i].name) == 0) {
            return true;
        }
    }
    return is_one_of(key, other_sample_keys, COUNT_OF(other_sample_keys));
}

static bool take_figures(const json_t *object, struct sample *sample)
{
    for (size_t i = 0; i < FIGURE_KEYS; i++) {
        const json_t *value = wire_json_get(object, figure_keys[i].name);
        if (value == NULL) {
            continue;
        }
        double figure = json_number_value(value);
        if (!json_is_number(value) || !(figure >= 0 && figure <= figure_keys[i].max)) {
            return false;
        }
        figure = figure == 0 ? 0 : figure;
        memcpy((char *)sample + figure_keys[i].offset, &figure, sizeof figure);
        if (figure_keys[i].part >= 0) {
            sample->has |= 1U << figure_keys[i].part;
        }
    }
    return wire_json_get(object, "execution_time_ms") != NULL;
}

static regex_t timestamp_form;

static int number_at(struct str text, size_t at)
{
    return (int)strtol(text.ptr + at, NULL, 10);
}

static bool take_timestamp(const json_t *object, uint64_t *ret_ns, bool *ret_has)
{
    const json_t *value = wire_json_get(object, "timestamp");
    if (value == NULL) {
        return true;
    }
    struct str text = wire_json_text_of(value);
    regmatch_t zone[5];
    if (!json_is_string(value) || strlen(text.ptr) != text.len ||
        regexec(&timestamp_form, text.ptr, 5, zone, 0) != 0) {
        return false;
    }
    struct tm given = {
        .tm_year = number_at(text, 0) - 1900,
        .tm_mon = number_at(text, 5) - 1,
        .tm_mday = number_at(text, 8),
        .tm_hour = number_at(text, 11),
        .tm_min = number_at(text, 14),
        .tm_sec = number_at(text, 17),
    };
    struct tm normal = given;
    int64_t seconds = timegm(&normal); /* changes what is no real moment into one */
    if (normal.tm_sec != given.tm_sec || normal.tm_min != given.tm_min ||
        normal.tm_hour != given.tm_hour || normal.tm_mday != given.tm_mday ||
        normal.tm_mon != given.tm_mon) {
        return false;
    }
    if (zone[4].rm_so >= 0) {
        int64_t hours = number_at(text, (size_t)zone[4].rm_so + 1);
        int64_t minutes = number_at(text, (size_t)zone[4].rm_so + 4);
        if (hours > 23 || minutes > 59) {
            return false;
        }
        seconds -= (hours * 3600 + minutes * 60) * (text.ptr[zone[4].rm_so] == '-' ? -1 : 1);
    }
    char digits[] = "000000000";
    if (zone[2].rm_so >= 0) {
        memcpy(digits, text.ptr + zone[2].rm_so, (size_t)(zone[2].rm_eo - zone[2].rm_so));
    }
    uint64_t ns = strtoull(digits, NULL, 10);
    if (seconds < 0 || (uint64_t)seconds > (UINT64_MAX - ns) / 1000000000) {
        return false;
    }
    *ret_has = true;
    *ret_ns = (uint64_t)seconds * 1000000000 + ns;
    return true;
}

static bool take_error(const json_t *object, struct sample *sample)
{
    const json_t *value = wire_json_get(object, "error");
    sample->error = json_is_true(value) || json_is_string(value);
    if (json_is_string(value)) {
        sample->error_text = wire_json_text_of(value);
    }
    return value == NULL || json_is_boolean(value) || json_is_string(value);
}

static bool take_labels(const json_t *object, struct sample *sample)
{
    const json_t *labels = wire_json_get(object, "labels");
    if (labels == NULL) {
        return true;
    }
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)labels, key, key_len, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        struct label label = {{key, key_len}, wire_json_text_of(value)};
        if (!json_is_string(value) || key_len < 1 || key_len > RECORD_NAME_MAX ||
            label.value.len > RECORD_NAME_MAX || sample->label_count == RECORD_LABELS_MAX) {
            return false;
        }
        sample->labels[sample->label_count++] = label;
    }
    return json_is_object(labels);
}

static bool expect_sample(struct recorder *expected, const json_t *object)
{
    struct sample sample = {.model_ref = 0};
    bool has_trace_id = false;
    bool has_span_id = false;
    bool has_timestamp = false;
    bool has_thread_id = false;
    bool good =
        take_figures(object, &sample) &&
        wire_json_take_text(object, "model_name", 1, RECORD_NAME_MAX, &sample.model_name) &&
        sample.model_name.len > 0 &&
        wire_json_take_text(object, "device", 1, RECORD_NAME_MAX, &sample.device) &&
        wire_json_take_id(object, "trace_id", sample.trace_id, RECORD_TRACE_ID_BYTES,
                          &has_trace_id) &&
        wire_json_take_id(object, "span_id", sample.span_id, RECORD_SPAN_ID_BYTES, &has_span_id) &&
        wire_json_take_count(object, "thread_id", &sample.thread_id, &has_thread_id) &&
        (!has_thread_id || (sample.thread_id >= 1 && sample.thread_id <= RECORD_THREAD_ID_MAX)) &&
        take_timestamp(object, &sample.timestamp_wall_ns, &has_timestamp) &&
        take_error(object, &sample) && take_labels(object, &sample);
    if (!good) {
        return false;
    }
    sample.has |= sample.device.len > 0 ? 1U << SAMPLE_DEVICE : 0;
    sample.has |= has_timestamp ? 1U << SAMPLE_TIMESTAMP : 0;
    sample.has |= has_trace_id ? 1U << SAMPLE_TRACE_ID : 0;
    sample.has |= has_span_id ? 1U << SAMPLE_SPAN_ID : 0;
    sample.has |= has_thread_id ? 1U << SAMPLE_THREAD_ID : 0;
    return expected->sink.sample(expected, &sample) == 0;
}

/* Digits of the whole numbers among the attributes. */
static char digits[RECORD_ATTRIBUTES_MAX][32];

static bool take_attributes(const json_t *object, struct metric *metric)
{
    const json_t *attributes = wire_json_get(object, "attributes");
    if (attributes == NULL) {
        return true;
    }
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)attributes, key, key_len, value)
    {
        if (json_is_null(value)) {
            continue;
        }
        uint32_t at = metric->attribute_count;
        if (at == RECORD_ATTRIBUTES_MAX || key_len < 1 || key_len > RECORD_NAME_MAX) {
            return false;
        }
        struct label attribute = {{key, key_len}, wire_json_text_of(value)};
        if (json_is_boolean(value)) {
            attribute.value = str_of(json_is_true(value) ? "true" : "false");
        } else if (json_is_integer(value)) {
            (void)snprintf(digits[at], sizeof digits[at], "%lld", /* fits */
                           (long long)json_integer_value(value));
            attribute.value = str_of(digits[at]);
        } else if (!json_is_string(value) || attribute.value.len > RECORD_VALUE_MAX) {
            return false;
        }
        metric->attributes[metric->attribute_count++] = attribute;
    }
    return json_is_object(attributes);
}

/* A number within bounds; or, where all numbers are in them, the texts of those that JSON has not. */
static bool take_amount(const json_t *value, double lowest, double highest, double *ret_amount)
{
    if (isinf(highest) && json_is_string(value)) {
        struct str text = wire_json_text_of(value);
        *ret_amount = str_is(text, "NaN") ? (double)NAN : str_is(text, "-Inf") ? -highest : highest;
        return str_is(text, "NaN") || str_is(text, "-Inf") || str_is(text, "+Inf");
    }
    double amount = json_number_value(value);
    *ret_amount = amount == 0 ? 0 : amount;
    return json_is_number(value) && amount >= lowest && amount <= highest;
}

static bool take_aggregation(const json_t *object, enum aggregation *ret_aggregation)
{
    const json_t *value = wire_json_get(object, "aggregation");
    for (int i = AGGREGATION_LAST; i < AGGREGATION_COUNT && json_is_string(value); i++) {
        if (str_is(wire_json_text_of(value), aggregation_names[i])) {
            *ret_aggregation = (enum aggregation)i;
            return true;
        }
    }
    return value == NULL;
}

/* What only some of the metrics have: `type` says which. */
static bool take_amounts(const json_t *object, const char *type, struct metric *metric)
{
    const json_t *value = wire_json_get(object, "value");
    const json_t *delta = wire_json_get(object, "delta");
    bool has_timestamp = false;
    bool has_trace_id = false;
    bool has_span_id = false;
    if (!wire_json_take_text(object, "unit", 0, RECORD_UNIT_MAX, &metric->unit) ||
        !take_timestamp(object, &metric->timestamp_wall_ns, &has_timestamp)) {
        return false;
    }
    if (strcmp(type, "gauge") == 0) {
        metric->op = value != NULL ? METRIC_SET : METRIC_ADD;
        metric->has = has_timestamp ? METRIC_HAS_TIMESTAMP : 0;
        return (value != NULL) != (delta != NULL) &&
               (value != NULL
                    ? take_amount(value, -INFINITY, INFINITY, &metric->value)
                    : take_amount(delta, -RECORD_AMOUNT_MAX, RECORD_AMOUNT_MAX, &metric->value)) &&
               take_aggregation(object, &metric->aggregation);
    }
    bool is_counter = strcmp(type, "counter") == 0;
    metric->op = is_counter ? METRIC_COUNT : METRIC_OBSERVE;
    bool good =
        value != NULL &&
        take_amount(value, is_counter ? 0 : -RECORD_AMOUNT_MAX, RECORD_AMOUNT_MAX,
                    &metric->value) &&
        wire_json_take_id(object, "trace_id", metric->trace_id, RECORD_TRACE_ID_BYTES,
                          &has_trace_id) &&
        wire_json_take_id(object, "span_id", metric->span_id, RECORD_SPAN_ID_BYTES, &has_span_id);
    metric->has = (has_timestamp ? METRIC_HAS_TIMESTAMP : 0U) |
                  (has_trace_id ? METRIC_HAS_TRACE_ID : 0U) |
                  (has_span_id ? METRIC_HAS_SPAN_ID : 0U);
    return good;
}

static bool expect_metric(struct recorder *expected, const json_t *object, const char *type)
{
    struct metric metric = {.op = METRIC_INFO, .weight = 1};
    bool is_info = strcmp(type, "info") == 0;
    bool good = wire_json_take_text(object, "name", 1, RECORD_NAME_MAX, &metric.name) &&
                metric.name.len > 0 && take_attributes(object, &metric) &&
                (is_info ? metric.attribute_count > 0 : take_amounts(object, type, &metric));
    return good && expected->sink.metric(expected, &metric) == 0;
}

static bool expect_budget(struct recorder *expected, const json_t *object)
{
    struct budget budget = {.elapsed_ms = 0};
    const json_t *elapsed = wire_json_get(object, "elapsed_ms");
    return wire_json_take_text(object, "layer", 1, RECORD_NAME_MAX, &budget.layer) &&
           budget.layer.len > 0 && elapsed != NULL &&
           take_amount(elapsed, 0, RECORD_MS_MAX, &budget.elapsed_ms) &&
           wire_json_take_text(object, "operation", 0, RECORD_NAME_MAX, &budget.operation) &&
           wire_json_take_text(object, "request_id", 0, RECORD_NAME_MAX, &budget.request_id) &&
           expected->sink.budget(expected, &budget) == 0;
}

static bool take_flag(const json_t *object, const char *key, bool *ret_flag)
{
    const json_t *value = wire_json_get(object, key);
    *ret_flag = json_is_true(value);
    return value == NULL || json_is_boolean(value);
}

static bool expect_control(struct recorder *expected, const json_t *object, const char *type)
{
    struct mark mark = {.sequence = 0};
    if (!wire_json_take_count(object, "sequence", &mark.sequence, &mark.has_sequence) ||
        !wire_json_take_count(object, "dropped", &mark.dropped, &mark.has_dropped)) {
        return false;
    }
    if (strcmp(type, "flush") == 0) {
        return expected->sink.flush(expected, &mark) == 0;
    }
    if (strcmp(type, "goodbye") == 0) {
        return expected->sink.goodbye(expected, &mark) == 0;
    }
    struct hello hello = {.pid = 0};
    bool has_pid = false;
    bool good =
        wire_json_take_text(object, "service_name", 0, RECORD_NAME_MAX, &hello.service_name) &&
        wire_json_take_text(object, "service_version", 0, RECORD_NAME_MAX,
                            &hello.service_version) &&
        wire_json_take_text(object, "client", 0, RECORD_NAME_MAX, &hello.client) &&
        wire_json_take_text(object, "constitutional_hash", 0, RECORD_NAME_MAX,
                            &hello.constitutional_hash) &&
        wire_json_take_count(object, "pid", &hello.pid, &has_pid) &&
        wire_json_take_id(object, "client_id", hello.client_id, RECORD_CLIENT_ID_BYTES,
                          &hello.has_client_id) &&
        take_flag(object, "acknowledge", &hello.acknowledge);
    return good && expected->sink.hello(expected, &hello, &mark) == 0;
}

/* Writes what the sink should see of an object that is accepted. */
static bool expect_record(struct recorder *expected, const json_t *object)
{
    recorder_clear(expected);
    const json_t *given = wire_json_get(object, "type");
    const char *type = given == NULL ? "sample" : json_string_value(given);
    static const char *const types[] = {"sample", "hello", "flush", "goodbye", "budget"};
    if (type == NULL || (!is_one_of(type, types, COUNT_OF(types)) && !is_metric(type))) {
        return false;
    }
    const char *key;
    size_t key_len;
    json_t *value;
    json_object_keylen_foreach((json_t *)(uintptr_t)object, key, key_len, value)
    {
        if (!is_known(key, type)) {
            if (wire_json_depth_of(value) > LINE_DEPTH_MAX) {
                return false;
            }
            expected->sink.unknown_key(expected, (struct str){key, key_len});
        }
    }
    if (is_metric(type)) {
        return expect_metric(expected, object, type);
    }
    if (strcmp(type, "budget") == 0) {
        return expect_budget(expected, object);
    }
    return strcmp(type, "sample") == 0 ? expect_sample(expected, object)
                                       : expect_control(expected, object, type);
}

static void print_line(struct str line)
{
    print_error("%.*s\n", (int)line.len, line.ptr);
}

/* Returns whether the line was accepted. */
static bool must_agree(struct ndjson *ndjson, struct recorder *ours, struct recorder *theirs,
                       struct str line)
{
    recorder_clear(ours);
    assert_int_equal(feed(ndjson, ours, line), 0);
    assert_int_equal(feed(ndjson, ours, STR_LITERAL("\n")), 0);
    must_settle_every_line(ours, line);
    if (count_lines(line) == 0) {
        return false;
    }
    bool doubles = false;
    json_t *object = wire_json_load(line, &doubles);
    /* The library overlooks a zero byte after a number; no JSON text holds one. */
    bool zero = memchr(line.ptr, '\0', line.len) != NULL;
    bool accepted = !zero && json_is_object(object) && expect_record(theirs, object);
    if (doubles &&
        (json_object_get(object, "type") != NULL || json_object_get(object, "thread_id") != NULL)) {
        json_decref(object);
        return false;
    }
    if ((ours->rejected == 0) != accepted) {
        print_error("%s", ours->text);
        print_line(line);
    }
    assert_int_equal(ours->rejected, accepted ? 0 : 1);
    if (accepted) {
        assert_string_equal(ours->text, theirs->text);
    }
    json_decref(object);
    return accepted;
}

/* Random lines */

static void put_timestamp(struct wire_line *line)
{
    char text[64];
    (void)snprintf(text, sizeof text, "\"%04u-%02u-%02u%s%02u:%02u:%02u%s%s\"", /* fits */
                   1969 + (unsigned)wire_random_below(&wire_json_dice, 586),
                   (unsigned)wire_random_below(&wire_json_dice, 13),
                   1 + (unsigned)wire_random_below(&wire_json_dice, 31), PICK("T", " "),
                   (unsigned)wire_random_below(&wire_json_dice, 24),
                   (unsigned)wire_random_below(&wire_json_dice, 60),
                   (unsigned)wire_random_below(&wire_json_dice, 60),
                   PICK("", ".5", ".123456", ".123456789", ".0000000001"),
                   PICK("", "Z", "+02:00", "-11:30", "+24:00"));
    wire_put(line, text);
}

static void put_attribute(struct wire_line *line)
{
    switch (wire_random_below(&wire_json_dice, 4)) {
    case 0:
        wire_put(line, PICK("true", "false", "null", "0", "-0", "-1", "9223372036854775807",
                            "-9223372036854775808"));
        break;
    case 1:
        wire_put(line, once_in(5) ? PICK("1.5", "1e3", "01", "-", "[]", "tru") : "200");
        break;
    default:
        wire_put_text(line);
    }
}

static void put_amount(struct wire_line *line)
{
    if (once_in(8)) {
        wire_put(line, PICK("\"NaN\"", "\"+Inf\"", "\"-Inf\"", "\"Inf\"", "1e300", "1.1e300",
                            "-1e300", "-1.1e300", "-0"));
    } else {
        wire_put(line, once_in(4) ? "-" : "");
        wire_put_number(line);
    }
}

static void put_value_of(struct wire_line *line, const char *key)
{
    if (once_in(15)) {
        wire_put_value(line, 0);
    } else if (strcmp(key, "timestamp") == 0) {
        put_timestamp(line);
    } else if (strcmp(key, "labels") == 0) {
        wire_put_members(line, 0, wire_put_text);
    } else if (strcmp(key, "attributes") == 0) {
        wire_put_members(line, 0, put_attribute);
    } else if (strcmp(key, "value") == 0 || strcmp(key, "delta") == 0) {
        put_amount(line);
    } else if (strcmp(key, "aggregation") == 0) {
        wire_put(line, PICK("\"last\"", "\"sum\"", "\"max\"", "\"min\"", "\"per_pid\"", "\"\"",
                            "\"mean\""));
    } else if (is_one_of(key, budget_keys, COUNT_OF(budget_keys)) &&
               strcmp(key, "elapsed_ms") != 0) {
        wire_put_text(line);
    } else if (strcmp(key, "thread_id") == 0) {
        wire_put_count(line);
    } else if (strstr(key, "_id") != NULL) {
        wire_put_hex(line);
    } else if (strcmp(key, "error") == 0) {
        wire_put(line, PICK("true", "false", "\"oom\"", "null"));
    } else if (strcmp(key, "acknowledge") == 0) {
        wire_put(line, PICK("true", "false", "1", "null"));
    } else if (is_one_of(key, control_keys, COUNT_OF(control_keys)) || strcmp(key, "pid") == 0) {
        wire_put_count(line);
    } else if (is_one_of(key, other_sample_keys, COUNT_OF(other_sample_keys)) ||
               is_one_of(key, hello_keys, COUNT_OF(hello_keys)) || strcmp(key, "name") == 0 ||
               strcmp(key, "unit") == 0) {
        wire_put_text(line);
    } else {
        wire_put_number(line);
    }
}

static const char *random_key(const char *type)
{
    if (is_metric(type)) {
        return PICK("attributes", "attributes", "unit", "aggregation", "delta", "timestamp",
                    "trace_id", "span_id", "value", "labels");
    }
    if (strcmp(type, "budget") == 0) {
        return wire_json_pick(budget_keys + 1, COUNT_OF(budget_keys) - 1);
    }
    if (strcmp(type, "sample") != 0) {
        return once_in(2) ? control_keys[1 + wire_random_below(&wire_json_dice, 2)]
                          : wire_json_pick(hello_keys, COUNT_OF(hello_keys));
    }
    return once_in(2) ? figure_keys[wire_random_below(&wire_json_dice, FIGURE_KEYS)].name
                      : wire_json_pick(other_sample_keys + 1, COUNT_OF(other_sample_keys) - 1);
}

/* `,` and a key; now and then with an escape in it. */
static void put_key(struct wire_line *line, const char *key)
{
    wire_put_blanks(line);
    wire_put(line, line->len > 2 ? "," : "");
    wire_put_blanks(line);
    wire_put(line, "\"");
    if (once_in(30) && key[0] == 'm') {
        wire_put(line, "\\u006d");
        key++;
    }
    wire_put(line, key);
    wire_put(line, "\"");
    wire_put_blanks(line);
    wire_put(line, ":");
    wire_put_blanks(line);
}

static void put_type(struct wire_line *line, const char *type)
{
    put_key(line, "type");
    wire_put(line, "\"");
    wire_put(line, once_in(30) ? PICK("bugdet", "smaple", "") : type);
    wire_put(line, "\"");
}

static void put_line(struct wire_line *line)
{
    const char *type = once_in(5)   ? PICK("hello", "flush", "goodbye")
                       : once_in(6) ? "budget"
                       : once_in(3) ? PICK("counter", "gauge", "histogram", "info")
                                    : "sample";
    bool said = strcmp(type, "sample") == 0 && !once_in(10);
    bool is_sample = strcmp(type, "sample") == 0;
    wire_put(line, "{");
    if (is_sample && !once_in(30)) {
        put_key(line, "model_name");
        wire_put(line, "\"m\"");
    }
    if (is_sample && !once_in(30)) {
        put_key(line, "execution_time_ms");
        wire_put(line, "12.5");
    }
    if (strcmp(type, "budget") == 0 && !once_in(30)) {
        put_key(line, "layer");
        wire_put(line, "\"l\"");
        put_key(line, "elapsed_ms");
        wire_put_number(line);
    }
    if (is_metric(type) && !once_in(30)) {
        put_key(line, "name");
        wire_put(line, "\"n\"");
    }
    if (is_metric(type) && !once_in(4)) {
        put_key(line, strcmp(type, "info") == 0 ? "attributes" : "value");
        put_value_of(line, strcmp(type, "info") == 0 ? "attributes" : "value");
    }
    for (size_t i = wire_random_below(&wire_json_dice, 6); i > 0; i--) {
        if (!said && once_in(2)) {
            put_type(line, type);
            said = true;
        }
        const char *key = once_in(6) ? PICK("x", "host", "pid", "modelname", "") : random_key(type);
        put_key(line, key);
        put_value_of(line, key);
    }
    if (!said) {
        put_type(line, type);
    }
    wire_put_blanks(line);
    wire_put(line, "}");
    wire_put_blanks(line);
}

static void test_ndjson_agrees_with_jansson(void **state)
{
    (void)state;
    assert_int_equal(regcomp(&timestamp_form,
                             "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
                             "(\\.([0-9]{1,9}))?(Z|([+-][0-9]{2}:[0-9]{2}))?$",
                             REG_EXTENDED),
                     0);
    struct recorder ours;
    struct recorder theirs;
    recorder_init(&ours);
    recorder_init(&theirs);
    struct ndjson ndjson;
    ndjson_init(&ndjson, WIRE_LINE_MAX);
    wire_json_dice = wire_random_start("test_ndjson lines");
    static char bytes[WIRE_LINE_MAX];
    size_t accepted = 0;
    size_t damaged = 0;
    for (size_t i = 0; i < LINES; i++) {
        struct wire_line line = {bytes, 0};
        put_line(&line);
        accepted += must_agree(&ndjson, &ours, &theirs, (struct str){bytes, line.len});
        wire_json_damage(&line);
        damaged += must_agree(&ndjson, &ours, &theirs, (struct str){bytes, line.len});
    }
    print_message("         accepted: %zu of %d, after damage %zu\n", accepted, LINES, damaged);
    assert_in_range(accepted, LINES / 4, LINES);
    assert_in_range(damaged, LINES / 20, LINES);
    ndjson_fini(&ndjson);
    recorder_fini(&theirs);
    recorder_fini(&ours);
    regfree(&timestamp_form);
}

/* Usual samples wait for each other; everything else, and the end of what came, lets them go first. */
static void test_ndjson_keeps_the_order_of_lines(void **state)
{
    (void)state;
    static const char input[] = "{\"model_name\":\"a\",\"execution_time_ms\":1}\n"
                                "{\"model_name\":\"b\",\"execution_time_ms\":2,\"x\":0}\n"
                                "{\"model_name\":\"c\",\"execution_time_ms\":3}\n"
                                "nonsense\n"
                                "{\"model_name\":\"d\",\"execution_time_ms\":4}\n"
                                "{\"type\":\"flush\"}\n"
                                "{\"model_name\":\"\\u0065\",\"execution_time_ms\":5}\n"
                                "{\"model_name\":\"f\",\"execution_time_ms\":6}\n"
                                "{\"model_name\":\"g\",\"execution_time_ms\":7,\"error\":true}\n"
                                "{\"model_name\":\"h\",\"execution_time_ms\":8}\n";
    struct recorder together;
    struct recorder singly;
    struct ndjson ndjson;
    recorder_init(&together);
    recorder_init(&singly);
    singly.sink.briefs = NULL;
    ndjson_init(&ndjson, 1000);
    assert_int_equal(feed(&ndjson, &together, str_of(input)), 0);
    ndjson_fini(&ndjson);
    ndjson_init(&ndjson, 1000);
    assert_int_equal(feed(&ndjson, &singly, str_of(input)), 0);
    ndjson_fini(&ndjson);
    assert_string_equal(together.text, singly.text);
    assert_non_null(strstr(together.text, "sample \"a\""));
    assert_true(strstr(together.text, "sample \"c\"") < strstr(together.text, "reject"));
    assert_true(strstr(together.text, "reject") < strstr(together.text, "sample \"d\""));
    recorder_fini(&together);
    recorder_fini(&singly);
}

/* More than go together, and a refusal in the midst of them: each is told by its own line. */
static void test_ndjson_tells_refused_lines_apart(void **state)
{
    (void)state;
    struct recorder recorder;
    struct ndjson ndjson;
    struct buf input;
    buf_init(&input, 1 << 20);
    for (unsigned line = 1; line <= 3 * RECORD_BRIEFS_MAX; line++) {
        buf_printf(&input, "{\"model_name\":\"m\",\"execution_time_ms\":%u}\n", line);
    }
    recorder_init(&recorder);
    recorder.refuse = ERR_NAME;
    ndjson_init(&ndjson, 1000);
    assert_int_equal(feed(&ndjson, &recorder, (struct str){input.data, input.len}), 0);
    char last[64];
    (void)snprintf(last, sizeof last, "reject bad_name line=%d\n", 3 * RECORD_BRIEFS_MAX);
    assert_non_null(strstr(recorder.text, "reject bad_name line=1\n"));
    assert_non_null(strstr(recorder.text, last));
    ndjson_fini(&ndjson);
    recorder_fini(&recorder);
    buf_fini(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ndjson_keeps_the_order_of_lines),
        cmocka_unit_test(test_ndjson_tells_refused_lines_apart),
        cmocka_unit_test(test_ndjson_takes_valid_input_in_every_split),
        cmocka_unit_test(test_ndjson_rejects_invalid_lines_in_every_split),
        cmocka_unit_test(test_ndjson_cut_anywhere_settles_every_line),
        cmocka_unit_test(test_ndjson_with_flipped_bits_does_no_harm),
        cmocka_unit_test(test_ndjson_takes_the_ceiling_and_not_one_byte_more),
        cmocka_unit_test(test_ndjson_obeys_a_new_ceiling_from_the_next_line_on),
        cmocka_unit_test(test_ndjson_gives_large_memory_back),
        cmocka_unit_test(test_ndjson_reads_whole_lines_without_memory),
        cmocka_unit_test(test_ndjson_without_memory_says_so_and_leaks_nothing),
        cmocka_unit_test(test_ndjson_passes_on_what_the_sink_refuses),
        cmocka_unit_test(test_ndjson_answers_tell_what_is_wrong),
        cmocka_unit_test(test_ndjson_answers_escape_a_peers_text),
        cmocka_unit_test(test_ndjson_answers_cut_a_long_text_between_characters),
        cmocka_unit_test(test_ndjson_answers_a_flush),
        cmocka_unit_test(test_ndjson_answers_who_asks_for_acknowledgements),
        cmocka_unit_test(test_ndjson_tells_raw_lines),
        cmocka_unit_test(test_ndjson_agrees_with_jansson),
    };
    return cmocka_run_group_tests_name("ndjson", tests, NULL, NULL);
}
