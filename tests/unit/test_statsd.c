/*
 * wire/statsd, wire/statsd_line and wire/statsd_frames against tests/data/wire/statsd; splits, cuts,
 * flipped bits, ceilings, both framings; the short way by spellings against the long one; and a second
 * reader made of regular expressions on generated lines: the same records, or both refuse the line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>
#include <regex.h>

#include "base/err.h"
#include "mem_fault.h"
#include "wire/statsd_frames.h"
#include "wire_data.h"
#include "wire_random.h"
#include "wire_recorder.h"
#include "wire_speller.h"
#include "wire_split.h"

enum {
    MAX_LINE_BYTES = 65536,
    MAX_FRAME_BYTES = 1 << 20,
    SPLITS_MAX = 3000, /* of a case; longer ones are sampled */
    FLIPS_MAX = WIRE_DAMAGES(3000),
    TWO_FLIPS = WIRE_DAMAGES(300),
    LINES = 30000, /* generated; each is also tried with damage */
};

static struct statsd_samples samples;
static struct wire_random dice;

static int list_samples(void **state)
{
    (void)state;
    statsd_samples_add(&samples, STR_LITERAL("inference"));
    statsd_samples_add(&samples, STR_LITERAL("model.inference"));
    dice = wire_random_start("test_statsd");
    return 0;
}

/* --- the ways in ------------------------------------------------------------------------------- */

/* Feeds a copy in a block of its own. */
static void feed(struct statsd *statsd, struct str bytes, const struct record_sink *sink)
{
    char *copy = wire_copy(bytes);
    assert_int_equal(statsd_feed(statsd, (struct str){copy, bytes.len}, sink), 0);
    free(copy);
}

static void feed_last(struct statsd *statsd, struct str bytes, const struct record_sink *sink)
{
    char *copy = wire_copy(bytes);
    assert_int_equal(statsd_feed_last(statsd, (struct str){copy, bytes.len}, sink), 0);
    free(copy);
}

/* A stream of lines, in pieces whose first one ends at `split` and the others are `step` long. */
static void run_below(size_t max_line_bytes, struct recorder *recorder, struct str input,
                      size_t split, size_t step)
{
    struct statsd statsd;
    statsd_init(&statsd, max_line_bytes, &samples);
    recorder_clear(recorder);
    size_t len = split;
    while (input.len > 0) {
        len = len < input.len ? len : input.len;
        feed(&statsd, (struct str){input.ptr, len}, &recorder->sink);
        recorder_check(recorder);
        input.ptr += len;
        input.len -= len;
        len = step;
    }
    feed_last(&statsd, (struct str){"", 0}, &recorder->sink);
    recorder_check(recorder);
    statsd_fini(&statsd);
}

static void run(struct recorder *recorder, struct str input, size_t split, size_t step)
{
    run_below(MAX_LINE_BYTES, recorder, input, split, step);
}

static void run_datagram(struct recorder *recorder, struct str input)
{
    struct statsd statsd;
    statsd_init(&statsd, MAX_LINE_BYTES, &samples);
    recorder_clear(recorder);
    size_t allocations = mem_count_allocations();
    feed_last(&statsd, input, &recorder->sink);
    assert_int_equal(mem_count_allocations(), allocations);
    statsd_fini(&statsd);
}

static void append_payload(struct buf *out, struct str payload)
{
    for (unsigned shift = 0; shift < 32; shift += 8) {
        buf_char(out, (char)(payload.len >> shift & 0xFF));
    }
    buf_str(out, payload);
}

static int run_frames_below(size_t max_frame_bytes, struct recorder *recorder, struct str input,
                            size_t split, size_t step)
{
    struct statsd_frames frames;
    statsd_frames_init(&frames, max_frame_bytes, MAX_LINE_BYTES, &samples);
    recorder_clear(recorder);
    int err = 0;
    size_t len = split;
    while (err == 0 && input.len > 0) {
        len = len < input.len ? len : input.len;
        char *copy = wire_copy((struct str){input.ptr, len});
        err = statsd_frames_feed(&frames, (struct str){copy, len}, &recorder->sink);
        recorder_check(recorder);
        free(copy);
        input.ptr += len;
        input.len -= len;
        len = step;
    }
    err = err != 0 ? err : statsd_frames_end(&frames);
    statsd_frames_fini(&frames);
    return err;
}

static int run_frames(struct recorder *recorder, struct str input, size_t split, size_t step)
{
    return run_frames_below(MAX_FRAME_BYTES, recorder, input, split, step);
}

/* --- files ------------------------------------------------------------------------------------- */

static void must_say(const struct recorder *recorder, const struct wire_case *wire_case)
{
    if (strcmp(recorder->text, wire_case->expect) != 0) {
        print_error("%s\n", wire_case->name);
    }
    assert_string_equal(recorder->text, wire_case->expect);
}

static size_t step_of(size_t len)
{
    return 1 + len / SPLITS_MAX;
}

static void check_every_split(const struct wire_case *wire_case)
{
    struct str input = wire_case->input;
    struct recorder recorder;
    recorder_init(&recorder);
    run_datagram(&recorder, input);
    must_say(&recorder, wire_case);
    run(&recorder, input, input.len + 1, 1);
    must_say(&recorder, wire_case);
    run(&recorder, input, 1, 1);
    must_say(&recorder, wire_case);
    for (size_t split = 1; split < input.len; split += step_of(input.len)) {
        run(&recorder, input, split, input.len);
        must_say(&recorder, wire_case);
    }
    recorder_fini(&recorder);
}

static void test_statsd_takes_valid_input_in_every_split(void **state)
{
    (void)state;
    assert_true(wire_for_each_case("statsd/valid", check_every_split) > 10);
}

static void test_statsd_rejects_invalid_lines_in_every_split(void **state)
{
    (void)state;
    assert_true(wire_for_each_case("statsd/invalid", check_every_split) > 7);
}

static void check_payloads(const struct wire_case *wire_case)
{
    struct str input = wire_case->input;
    struct recorder recorder;
    struct buf stream;
    recorder_init(&recorder);
    buf_init(&stream, 1 << 20);
    append_payload(&stream, input);
    struct str bytes = {stream.data, stream.len};
    assert_int_equal(run_frames(&recorder, bytes, 1, 1), 0);
    must_say(&recorder, wire_case);
    for (size_t split = 1; split <= bytes.len; split += step_of(bytes.len)) {
        assert_int_equal(run_frames(&recorder, bytes, split, bytes.len), 0);
        must_say(&recorder, wire_case);
    }
    /* And with its lines in payloads of their own. */
    buf_clear(&stream);
    for (size_t at = 0; at < input.len;) {
        const char *newline = memchr(input.ptr + at, '\n', input.len - at);
        size_t len = newline == NULL ? input.len - at : (size_t)(newline - input.ptr) + 1 - at;
        append_payload(&stream, (struct str){input.ptr + at, len});
        append_payload(&stream, (struct str){"", 0});
        at += len;
    }
    bytes = (struct str){stream.data, stream.len};
    assert_int_equal(run_frames(&recorder, bytes, bytes.len, 1), 0);
    must_say(&recorder, wire_case);
    assert_int_equal(run_frames(&recorder, bytes, 1, 1), 0);
    must_say(&recorder, wire_case);
    buf_fini(&stream);
    recorder_fini(&recorder);
}

static void test_statsd_frames_say_what_lines_say(void **state)
{
    (void)state;
    (void)wire_for_each_case("statsd/valid", check_payloads); /* counted above */
    (void)wire_for_each_case("statsd/invalid", check_payloads);
}

/* Cut at any byte, the whole lines say what they say in the whole input. */
static void check_cuts(const struct wire_case *wire_case)
{
    struct recorder recorder;
    struct buf stream;
    recorder_init(&recorder);
    buf_init(&stream, 1 << 20);
    append_payload(&stream, wire_case->input);
    for (size_t len = 0; len < wire_case->input.len; len += step_of(wire_case->input.len)) {
        struct str input = {wire_case->input.ptr, len};
        run(&recorder, input, len + 1, 1);
        /* In a payload that is cut a part of a line is none. */
        struct str cut = {stream.data, STATSD_LENGTH_BYTES + len};
        assert_int_equal(run_frames(&recorder, cut, cut.len, 1), ERR_FRAME);
        assert_memory_equal(recorder.text, wire_case->expect, recorder.len);
        size_t said = recorder.len;
        while (input.len > 0 && input.ptr[input.len - 1] != '\n') {
            input.len--;
        }
        run(&recorder, input, len + 1, 1);
        assert_memory_equal(recorder.text, wire_case->expect, recorder.len);
        assert_int_equal(recorder.len, said);
    }
    buf_fini(&stream);
    recorder_fini(&recorder);
}

static void test_statsd_cut_anywhere_counts_whole_lines(void **state)
{
    (void)state;
    (void)wire_for_each_case("statsd/valid", check_cuts); /* counted above */
    (void)wire_for_each_case("statsd/invalid", check_cuts);
}

/* --- the short way ----------------------------------------------------------------------------- */

/* The input again and again through one decoder: what is remembered must change nothing. */
static void must_agree_in_short(struct recorder *recorder, struct speller *speller,
                                struct str input, int times)
{
    struct statsd in_full;
    struct statsd in_short;
    statsd_init(&in_full, MAX_LINE_BYTES, &samples);
    statsd_init(&in_short, MAX_LINE_BYTES, &samples);
    for (int i = 0; i < times; i++) {
        recorder_clear(recorder);
        recorder_clear(&speller->recorder);
        feed_last(&in_full, input, &recorder->sink);
        feed_last(&in_short, input, &speller->recorder.sink);
        assert_string_equal(speller->recorder.text, recorder->text);
        assert_memory_equal(in_full.memory.carry, in_short.memory.carry,
                            sizeof in_full.memory.carry);
    }
    statsd_fini(&in_short);
    statsd_fini(&in_full);
}

static size_t hits;

static void check_short_way(const struct wire_case *wire_case)
{
    struct recorder recorder;
    struct speller speller;
    recorder_init(&recorder);
    speller_init(&speller);
    must_agree_in_short(&recorder, &speller, wire_case->input, 3);
    hits += speller.hits;
    speller_fini(&speller);
    recorder_fini(&recorder);
}

static void test_statsd_short_way_says_what_the_long_one_says(void **state)
{
    (void)state;
    hits = 0;
    (void)wire_for_each_case("statsd/valid", check_short_way); /* counted above */
    (void)wire_for_each_case("statsd/invalid", check_short_way);
    assert_true(hits > 100);
}

static void must_hit(const char *line, size_t expect)
{
    struct speller speller;
    struct statsd statsd;
    speller_init(&speller);
    statsd_init(&statsd, MAX_LINE_BYTES, &samples);
    feed_last(&statsd, str_of(line), &speller.recorder.sink);
    assert_int_equal(speller.recorder.rejected, 0);
    size_t first = speller.hits; /* packed values after the first may already come in short */
    feed_last(&statsd, str_of(line), &speller.recorder.sink);
    assert_int_equal(speller.hits - first, expect);
    statsd_fini(&statsd);
    speller_fini(&speller);
}

static void test_statsd_short_way_is_taken_where_it_may_be(void **state)
{
    (void)state;
    must_hit("a:1|c", 1);
    must_hit("a:1:2:3|h|#k:v", 3);
    must_hit("a:-1|h", 1);
    must_hit("a:1|g|#k:v|c:x", 1);
    must_hit("a:1|ms|@0.5|#k:v", 1);
    must_hit("inference:1|c|#model:m", 1);
    /* and nowhere else */
    must_hit("a:+1|g", 0);
    must_hit("a:1:-1|g", 0);
    must_hit("a:1|c|#k:v|@0.5", 0);
    must_hit("a:1|c|T5", 0);
    must_hit("inference:1|ms", 0);
    must_hit("a:1|s", 0);
    must_hit("a:x|s|#k:v", 0);
    must_hit("inference:1|ms|#model:m", 0);
}

/* Bytes of the line and its newline when it is taken as usual, before another one; else 0. */
static size_t count_taken(const char *line, size_t max_line_bytes, size_t after)
{
    struct speller speller;
    struct buf text;
    struct statsd_memory memory = {.samples = &samples};
    uint64_t lines = 1;
    speller_init(&speller);
    buf_init(&text, 4096);
    buf_puts(&text, line);
    statsd_line_read(&memory, (struct str){text.data, text.len}, 1, &speller.recorder.sink);
    size_t known = speller.recorder.accepted;
    buf_char(&text, '\n');
    size_t line_bytes = text.len;
    while (after-- > 0) {
        buf_char(&text, '\n');
    }
    char *copy = wire_copy((struct str){text.data, text.len});
    const char *rest = statsd_line_take_usual(&memory, (struct str){copy, text.len}, max_line_bytes,
                                              &lines, &speller.recorder.sink);
    size_t taken = (size_t)(rest - copy);
    assert_true(taken == 0 || taken == line_bytes);
    assert_int_equal(lines, taken == 0 ? 1 : 2);
    assert_int_equal(speller.recorder.accepted, taken == 0 ? known : known + 1);
    free(copy);
    buf_fini(&text);
    speller_fini(&speller);
    return taken;
}

static void must_be_usual(const char *line)
{
    size_t len = strlen(line);
    assert_int_equal(count_taken(line, len, STATSD_MARGIN_BYTES), len + 1);
    assert_int_equal(count_taken(line, len - 1, STATSD_MARGIN_BYTES), 0);
    size_t after = 0; /* one more byte may make it usual, none less does again */
    while (count_taken(line, len, after) == 0) {
        after++;
    }
    for (; after < STATSD_MARGIN_BYTES; after++) {
        assert_int_equal(count_taken(line, len, after), len + 1);
    }
}

static void must_be_unusual(const char *line)
{
    assert_int_equal(count_taken(line, MAX_LINE_BYTES, STATSD_MARGIN_BYTES), 0);
}

static void test_statsd_usual_lines_are_taken_at_once(void **state)
{
    (void)state;
    must_be_usual("a:1|c");
    must_be_usual("a:0|c");
    must_be_usual("service.timer.42:12.345|ms");
    must_be_usual("a:9999999.9999999|h");
    must_be_usual("a:0.0000001|d");
    must_be_usual("a:1|g");
    must_be_usual("a:1|c\r");
    must_be_usual("a:1|c|");
    must_be_usual("a:1|c||");
    must_be_usual("a:1|c|#");
    must_be_usual("a:1|c|#\r");
    must_be_usual("a:1|ms|#k:v,code:200|c:x");
    must_be_usual("a b\r_:1|c");
    must_be_usual("inferencE:1|ms");
    /* of every length of a name, and with each byte that may be in one */
    char line[RECORD_NAME_MAX + 16];
    for (int len = 1; len <= RECORD_NAME_MAX; len++) {
        (void)snprintf(line, sizeof line, "%0*d:12.5|ms", len, 7);
        must_be_usual(line);
    }
    for (int c = 1; c < 256; c++) {
        bool odd = c == ':' || c == '\n' || c == '*' || c == 0x1A || c == '|';
        (void)snprintf(line, sizeof line, "ab%ccdefghij:1|c", c);
        if (odd) {
            must_be_unusual(line);
        } else {
            must_be_usual(line);
        }
    }
}

static void test_statsd_other_lines_are_read_in_full(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "\r",
        "a",
        ":1|c",
        " a:1|c",
        "\ta:1|c",
        "\ra:1|c",
        "_a:1|c",
        "a:|c",
        "a:1",
        "a:1|",
        "a:1||c",
        "a:1|x",
        "a:1|m",
        "a:1|mx",
        "a:1|ms2",
        "a:1|cc",
        "a:1|s",
        "a:1|c\r\r",
        "a:1|c |#k:v",
        "a:1|ms|@0.5",
        "a:1|c|@1|#k:v",
        "a:1|c|#k:v|@0.5",
        "a:1|c|T5",
        "a:-1|h",
        "a:+1|g",
        "a:01|c",
        "a:1.|c",
        "a:.5|c",
        "a:1e3|c",
        "a:1.5E1|c",
        "a:12345678|c",
        "a:1.12345678|c",
        "a:1.2.3|c",
        "a:1:2|h",
        "a:1 |c",
        "inference:1|ms",
        "model.inference:1|ms|#model:m",
        "_e{1,1}:a|b",
        "a|b:1|c",
        "a:nan|g",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        must_be_unusual(lines[i]);
    }
}

/* --- flipped bits ------------------------------------------------------------------------------ */

static void flip(char *bytes, size_t bit)
{
    bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
}

/* They may say anything, but the same in one piece, in two, and to a sink that remembers. */
static void must_agree_with_itself(struct recorder *whole, struct recorder *split,
                                   struct speller *speller, struct str input)
{
    run(whole, input, input.len, 1);
    run(split, input, wire_random_below(&dice, input.len) + 1, input.len);
    assert_string_equal(whole->text, split->text);
    must_agree_in_short(split, speller, input, 1);
}

static void check_flips(const struct wire_case *wire_case)
{
    struct str input = wire_case->input;
    if (input.len == 0) {
        return;
    }
    struct recorder whole;
    struct recorder split;
    struct speller speller;
    recorder_init(&whole);
    recorder_init(&split);
    speller_init(&speller);
    char *bytes = wire_copy(input);
    input.ptr = bytes;
    size_t bits = 8 * input.len;
    for (size_t i = 0; i < bits && i < FLIPS_MAX; i++) {
        size_t bit = bits <= FLIPS_MAX ? i : wire_random_below(&dice, bits);
        flip(bytes, bit);
        must_agree_with_itself(&whole, &split, &speller, input);
        flip(bytes, bit);
    }
    for (int i = 0; i < TWO_FLIPS; i++) {
        size_t first = wire_random_below(&dice, bits);
        size_t second = wire_random_below(&dice, bits);
        flip(bytes, first);
        flip(bytes, second);
        must_agree_with_itself(&whole, &split, &speller, input);
        flip(bytes, first);
        flip(bytes, second);
    }
    free(bytes);
    speller_fini(&speller);
    recorder_fini(&split);
    recorder_fini(&whole);
}

static void test_statsd_with_flipped_bits_does_no_harm(void **state)
{
    (void)state;
    (void)wire_for_each_case("statsd/valid", check_flips); /* counted above */
    (void)wire_for_each_case("statsd/invalid", check_flips);
}

/* --- ceilings and memory ----------------------------------------------------------------------- */

#define GOOD "abc:1|c"

static void must_say_in_every_split(size_t max_line_bytes, const char *input, const char *expect)
{
    wire_must_say_in_every_split(run_below, max_line_bytes, input, expect);
}

static void test_statsd_takes_the_ceiling_and_not_one_byte_more(void **state)
{
    (void)state;
    size_t len = sizeof GOOD - 1;
    must_say_in_every_split(len, GOOD "\n" GOOD "\n" GOOD,
                            "count \"abc\" value=1\ncount \"abc\" value=1\n"
                            "count \"abc\" value=1\n");
    must_say_in_every_split(len, GOOD "\r\n" GOOD "\n" GOOD "5",
                            "reject too_long line=1\ncount \"abc\" value=1\n"
                            "reject too_long line=3\n");
    must_say_in_every_split(len, "\n" GOOD GOOD GOOD "\n" GOOD "\n" GOOD GOOD "\n",
                            "reject too_long line=2\ncount \"abc\" value=1\n"
                            "reject too_long line=4\n");
}

/* A line that has begun may be as long as when it did. */
static void test_statsd_obeys_a_new_ceiling_from_the_next_line_on(void **state)
{
    (void)state;
    struct recorder recorder;
    struct statsd statsd;
    recorder_init(&recorder);
    statsd_init(&statsd, 12, NULL);
    feed(&statsd, STR_LITERAL("abcdefgh"), &recorder.sink);
    statsd_limit(&statsd, 7);
    statsd_limit(&statsd, 6);
    feed(&statsd, STR_LITERAL(":1|c\n" GOOD "\nab:1|c\na"), &recorder.sink);
    statsd_limit(&statsd, 7);
    feed(&statsd, STR_LITERAL("bc:1|c\n"), &recorder.sink);
    assert_string_equal(recorder.text, "count \"abcdefgh\" value=1\n"
                                       "reject too_long line=2\n"
                                       "count \"ab\" value=1\n"
                                       "count \"abc\" value=1\n");
    statsd_fini(&statsd);
    recorder_fini(&recorder);
}

static void test_statsd_frames_take_the_ceiling_and_not_one_byte_more(void **state)
{
    (void)state;
    struct recorder recorder;
    struct buf stream;
    recorder_init(&recorder);
    buf_init(&stream, 4096);
    append_payload(&stream, STR_LITERAL(GOOD));
    append_payload(&stream, STR_LITERAL(GOOD "\n"));
    struct str bytes = {stream.data, stream.len};
    size_t max = sizeof GOOD; /* with its newline */
    for (size_t split = 1; split <= bytes.len; split++) {
        assert_int_equal(run_frames_below(max, &recorder, bytes, split, 3), 0);
        assert_string_equal(recorder.text, "count \"abc\" value=1\ncount \"abc\" value=1\n");
        assert_int_equal(run_frames_below(max - 1, &recorder, bytes, split, 3), ERR_TOO_LONG);
        assert_string_equal(recorder.text, "count \"abc\" value=1\n");
    }
    bytes = STR_LITERAL("\xff\xff\xff\xff");
    assert_int_equal(run_frames(&recorder, bytes, 4, 1), ERR_TOO_LONG);
    assert_int_equal(run_frames(&recorder, (struct str){"", 0}, 1, 1), 0);
    assert_int_equal(run_frames(&recorder, STR_LITERAL("\0\0\0\0"), 1, 1), 0);
    for (size_t len = 1; len < STATSD_LENGTH_BYTES; len++) {
        assert_int_equal(run_frames(&recorder, (struct str){"\1\0\0", len}, len, 1), ERR_FRAME);
    }
    buf_fini(&stream);
    recorder_fini(&recorder);
}

/* An over-long line ends with its payload. */
static void test_statsd_frames_skip_a_long_line_up_to_the_end_of_its_payload(void **state)
{
    (void)state;
    static char line[MAX_LINE_BYTES + 1];
    memset(line, 'x', sizeof line);
    struct recorder recorder;
    struct buf stream;
    recorder_init(&recorder);
    buf_init(&stream, 1 << 20);
    append_payload(&stream, (struct str){line, sizeof line});
    append_payload(&stream, STR_LITERAL(GOOD));
    struct str bytes = {stream.data, stream.len};
    const size_t splits[] = {1, 100, 65539, 65540, 65541, bytes.len};
    for (size_t i = 0; i < sizeof splits / sizeof splits[0]; i++) {
        assert_int_equal(run_frames(&recorder, bytes, splits[i], bytes.len), 0);
        assert_string_equal(recorder.text, "reject too_long line=1\ncount \"abc\" value=1\n");
    }
    buf_fini(&stream);
    recorder_fini(&recorder);
}

static void test_statsd_gives_large_memory_back(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    struct statsd statsd;
    statsd_init(&statsd, MAX_LINE_BYTES, NULL);
    static char line[MAX_LINE_BYTES];
    memset(line, ',', sizeof line);
    memcpy(line, "a:1|c|#", 7);
    feed(&statsd, (struct str){line, sizeof line}, &recorder.sink);
    assert_true(statsd.partial.cap >= sizeof line);
    feed(&statsd, STR_LITERAL("\n"), &recorder.sink);
    assert_string_equal(recorder.text, "count \"a\" value=1\n");
    assert_int_equal(statsd.partial.cap, 0);
    statsd_fini(&statsd);
    recorder_fini(&recorder);
}

static void test_statsd_without_memory_says_so_and_leaks_nothing(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct statsd statsd;
        statsd_init(&statsd, MAX_LINE_BYTES, NULL);
        recorder_clear(&recorder);
        mem_fail_after(n);
        int err = statsd_feed(&statsd, STR_LITERAL(GOOD "\nab"), &recorder.sink);
        if (err == 0) {
            err = statsd_feed(&statsd, STR_LITERAL("c:2|c"), &recorder.sink);
        }
        if (err == 0) {
            err = statsd_feed_last(&statsd, STR_LITERAL("|#k:v"), &recorder.sink);
        }
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        assert_int_equal(recorder.accepted, failed ? 1 : 2);
        statsd_fini(&statsd);
        assert_int_equal(mem_count_live(), live);
    }
    recorder_fini(&recorder);
}

static void test_statsd_passes_on_what_the_sink_refuses(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    recorder.refuse = ERR_LIMIT;
    run_datagram(&recorder, STR_LITERAL("a:1:2|c\ninference:1|ms|#model:m\n_e{\n"));
    assert_string_equal(recorder.text,
                        "count \"a\" value=1\nreject limit_reached line=1\n"
                        "count \"a\" value=2\nreject limit_reached line=1\n"
                        "sample \"m\" execution_time_ms=1\nreject limit_reached line=2\n"
                        "ignored event\n");
    recorder_fini(&recorder);
}

static void test_statsd_sink_may_lack_what_is_optional(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    recorder.sink.ignored = NULL;
    run_datagram(&recorder, STR_LITERAL("_e{1,1}:a|b\n_sc|a|0\n" GOOD "\n"));
    assert_string_equal(recorder.text, "count \"abc\" value=1\n");
    recorder_fini(&recorder);
}

/* --- sampled lines ----------------------------------------------------------------------------- */

struct total {
    struct record_sink sink;
    double of[4]; /* by the last byte of the name */
};

static int add_weight(void *ctx, const struct metric *metric)
{
    struct total *total = ctx;
    total->of[metric->name.ptr[metric->name.len - 1] % 4] += (double)metric->weight;
    return 0;
}

/* What all lines stand for together is right to less than one, for each timing by itself, whatever
 * their order. */
static void test_statsd_sampled_lines_add_up(void **state)
{
    (void)state;
    const double rates[] = {0.3, 0.7, 1e-5, 0.9999999999999999, 0.999, 0.1, 1.0 / 3, 0.0123, 1};
    enum { ROUNDS = 1000 };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct total total = {.sink = {.ctx = &total, .metric = add_weight}};
        struct statsd statsd;
        statsd_init(&statsd, MAX_LINE_BYTES, NULL);
        for (int round = 0; round < ROUNDS; round++) {
            char lines[128];
            int len = snprintf(lines, sizeof lines, "t@:1|ms|@%.17g\ntA:1:2|h|@%.17g\ntB:1|d\n",
                               rates[i], rates[i]);
            feed_last(&statsd, (struct str){lines, (size_t)len}, &total.sink);
        }
        assert_true(fabs(total.of[0] - ROUNDS / rates[i]) < 1);
        assert_true(fabs(total.of[1] - 2 * ROUNDS / rates[i]) < 1);
        assert_true(total.of[2] == ROUNDS);
        statsd_fini(&statsd);
    }
}

static void test_statsd_rejected_line_carries_nothing(void **state)
{
    (void)state;
    struct recorder recorder;
    recorder_init(&recorder);
    run_datagram(&recorder, STR_LITERAL("a:1|h|@0.6|#:\na:1|h|@0.6|#:\na:1|h|@0.6\n"));
    assert_string_equal(recorder.text, "reject out_of_range key=\"tags\" line=1\n"
                                       "reject out_of_range key=\"tags\" line=2\n"
                                       "observe \"a\" value=1\n");
    recorder_fini(&recorder);
}

/* --- a second reader --------------------------------------------------------------------------- */

#define NUMBER "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"

static regex_t line_form, set_form, other_form, number_form, digits_form;

static int compile_forms(void **state)
{
    (void)state;
    assert_int_equal(regcomp(&line_form,
                             "^[ \t\r]*([^ \t\r:|][^:|]*):(" NUMBER "(:" NUMBER ")*)[|]"
                             "(c|g|ms|h|d)(([|][^|]*)*)$",
                             REG_EXTENDED),
                     0);
    assert_int_equal(
        regcomp(&set_form, "^[ \t\r]*([^ \t\r:|][^:|]*):([^|]+)[|](s)(([|][^|]*)*)$", REG_EXTENDED),
        0);
    assert_int_equal(regcomp(&other_form, "^[ \t\r]*(_e[{]|_sc[|]|$)", REG_EXTENDED), 0);
    assert_int_equal(regcomp(&number_form, "^" NUMBER "$", REG_EXTENDED), 0);
    assert_int_equal(regcomp(&digits_form, "^[0-9]{1,11}$", REG_EXTENDED), 0);
    return 0;
}

static int free_forms(void **state)
{
    (void)state;
    regfree(&line_form);
    regfree(&set_form);
    regfree(&other_form);
    regfree(&number_form);
    regfree(&digits_form);
    return 0;
}

enum { GROUP_NAME = 1, GROUP_VALUES = 2, GROUP_TYPE = 8, GROUP_FIELDS = 9, GROUPS = 11 };
enum { GROUP_SET_TYPE = 3, GROUP_SET_FIELDS = 4 };

/* A line as the second reader understands it. Texts are terminated pieces of its own copy. */
struct reading {
    char *name, *values, *type, *fields;
    double rate;
    struct metric metric;
};

static bool matches(const regex_t *form, const char *text)
{
    return regexec(form, text, 0, NULL, 0) == 0;
}

static bool read_tag(struct metric *metric, char *text)
{
    char *colon = strchr(text, ':');
    const char *value = colon == NULL ? "true" : colon + 1;
    if (colon != NULL) {
        *colon = '\0';
    }
    if (strlen(text) < 1 || strlen(text) > RECORD_NAME_MAX || strlen(value) > RECORD_VALUE_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        if (str_is(metric->attributes[i].key, text)) {
            metric->attributes[i].value = str_of(value);
            return true;
        }
    }
    if (metric->attribute_count == RECORD_ATTRIBUTES_MAX) {
        return false;
    }
    metric->attributes[metric->attribute_count++] = (struct label){str_of(text), str_of(value)};
    return true;
}

static bool read_tag_list(struct metric *metric, char *text)
{
    char *rest = NULL;
    for (char *tag = strtok_r(text, ",", &rest); tag != NULL; tag = strtok_r(NULL, ",", &rest)) {
        if (!read_tag(metric, tag)) {
            return false;
        }
    }
    return true;
}

static bool read_one_field(struct reading *reading, char *field, unsigned *seen)
{
    bool has_time = strchr("cg", *reading->type) != NULL;
    unsigned bit = *field == '#' ? 1 : *field == '@' ? 2 : *field == 'T' && has_time ? 4 : 0;
    if ((*seen & bit) != 0) {
        return false;
    }
    *seen |= bit;
    if (bit == 1) {
        return read_tag_list(&reading->metric, field + 1);
    }
    if (bit == 2) {
        reading->rate = strtod(field + 1, NULL);
        return matches(&number_form, field + 1) && reading->rate > 0 && reading->rate <= 1 &&
               1 / reading->rate <= 1e9;
    }
    if (bit == 4) {
        reading->metric.has = METRIC_HAS_TIMESTAMP;
        reading->metric.timestamp_wall_ns = strtoull(field + 1, NULL, 10) * 1000000000;
        return matches(&digits_form, field + 1) && strtoull(field + 1, NULL, 10) <= 18446744073;
    }
    return true;
}

static bool read_field_list(struct reading *reading)
{
    unsigned seen = 0;
    char *rest = NULL;
    for (char *field = strtok_r(reading->fields, "|", &rest); field != NULL;
         field = strtok_r(NULL, "|", &rest)) {
        if (!read_one_field(reading, field, &seen)) {
            return false;
        }
    }
    return true;
}

/* The sample that the metric is, or false. `ret_err` when it should be one and cannot. */
static bool becomes_sample(const struct reading *reading, struct sample *sample, bool *ret_err)
{
    const struct metric *metric = &reading->metric;
    const char *model_key = "model";
    bool has_model = false;
    bool listed =
        strcmp(reading->name, "inference") == 0 || strcmp(reading->name, "model.inference") == 0;
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        if (str_is(metric->attributes[i].key, "model_name")) {
            model_key = "model_name";
            has_model = true;
        }
        has_model |= str_is(metric->attributes[i].key, "model");
    }
    if (!listed || !has_model || strchr("hdm", *reading->type) == NULL) {
        return false;
    }
    *ret_err = false;
    *sample = (struct sample){.model_ref = 0};
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        struct label tag = metric->attributes[i];
        if (str_is(tag.key, model_key)) {
            sample->model_name = tag.value;
            *ret_err |= tag.value.len < 1 || tag.value.len > 256;
        } else if (str_is(tag.key, "device")) {
            sample->device = tag.value;
            sample->has |= 1U << SAMPLE_DEVICE;
            *ret_err |= tag.value.len < 1 || tag.value.len > 256;
        } else if (sample->label_count == 16 || tag.value.len > 256) {
            *ret_err = true;
        } else {
            sample->labels[sample->label_count++] = tag;
        }
    }
    return true;
}

static bool is_good_value(const struct reading *reading, double value, bool is_sample)
{
    if (is_sample) {
        return value >= 0 && value <= 1e12;
    }
    return *reading->type == 'c' ? value >= 0 && value / reading->rate <= 1e300
                                 : value >= -1e300 && value <= 1e300;
}

static bool expect_member(struct recorder *expected, struct reading *reading)
{
    struct metric *metric = &reading->metric;
    struct str member = str_of(reading->values);
    if (strlen(reading->name) > 256 || member.len > 256 || !str_is_utf8(member) ||
        !read_field_list(reading)) {
        return false;
    }
    metric->name = str_of(reading->name);
    metric->op = METRIC_MEMBER;
    metric->member = member;
    metric->weight = 1;
    expected->sink.metric(expected, metric);
    return true;
}

/* What the sink should see, or false. */
static bool expect_records(struct recorder *expected, struct reading *reading)
{
    struct metric *metric = &reading->metric;
    bool err = false;
    struct sample sample;
    if (strlen(reading->name) > 256 || !read_field_list(reading)) {
        return false;
    }
    bool is_sample = becomes_sample(reading, &sample, &err);
    double carry = 0;
    char *rest = NULL;
    for (char *text = strtok_r(reading->values, ":", &rest); text != NULL && !err;
         text = strtok_r(NULL, ":", &rest)) {
        double value = strtod(text, NULL) + 0.0;
        err = !is_good_value(reading, value, is_sample);
        carry += strchr("hdm", *reading->type) != NULL ? 1 / reading->rate : 1;
        uint64_t weight = (uint64_t)(carry + 1e-6);
        carry -= (double)weight;
        metric->name = str_of(reading->name);
        metric->weight = weight;
        metric->value = value;
        if (*reading->type == 'c') {
            metric->op = METRIC_COUNT;
            metric->value = value / reading->rate;
        } else if (*reading->type == 'g') {
            metric->op = strchr("+-", *text) != NULL ? METRIC_ADD : METRIC_SET;
        } else {
            metric->op = METRIC_OBSERVE;
            metric->unit = str_of(*reading->type == 'm' ? "ms" : "");
        }
        sample.execution_time_ms = value;
        sample.weight = weight;
        sample.has = (sample.has & ~(1U << SAMPLE_WEIGHT)) | (weight > 1 ? 1U << SAMPLE_WEIGHT : 0);
        if (!err && is_sample) {
            expected->sink.sample(expected, &sample);
        } else if (!err) {
            expected->sink.metric(expected, metric);
        }
    }
    return !err;
}

static bool expect_line(struct recorder *expected, const char *line)
{
    regmatch_t group[GROUPS];
    recorder_clear(expected);
    if (matches(&other_form, line)) {
        if (strchr(line, '_') != NULL) {
            expected->sink.ignored(expected,
                                   strstr(line, "_e{") != NULL ? IGNORED_EVENT : IGNORED_CHECK);
        }
        return true;
    }
    char *text = strdup(line);
    size_t len = strlen(text);
    text[len > 0 && text[len - 1] == '\r' ? len - 1 : len] = '\0';
    bool is_set = regexec(&line_form, text, GROUPS, group, 0) != 0;
    bool good = !is_set || regexec(&set_form, text, GROUPS, group, 0) == 0;
    if (good) {
        regmatch_t type = group[is_set ? GROUP_SET_TYPE : GROUP_TYPE];
        regmatch_t fields = group[is_set ? GROUP_SET_FIELDS : GROUP_FIELDS];
        struct reading reading = {.name = text + group[GROUP_NAME].rm_so,
                                  .values = text + group[GROUP_VALUES].rm_so,
                                  .type = text + type.rm_so,
                                  .fields = strdup(text + fields.rm_so),
                                  .rate = 1};
        text[group[GROUP_NAME].rm_eo] = '\0';
        text[group[GROUP_VALUES].rm_eo] = '\0';
        text[type.rm_eo] = '\0';
        good = is_set ? expect_member(expected, &reading) : expect_records(expected, &reading);
        free(reading.fields);
    }
    free(text);
    return good;
}

static void must_agree_with_regex(struct recorder *got, struct recorder *expected, char *line)
{
    bool good = expect_line(expected, line);
    run_datagram(got, str_of(line));
    if (good ? strcmp(got->text, expected->text) != 0 : got->rejected != 1 || got->accepted != 0) {
        fail_msg("%s\n%s---- expected, %s:\n%s", line, got->text, good ? "good" : "refused",
                 expected->text);
    }
}

static const char *pick(const char *const *words)
{
    size_t count = 0;
    while (words[count] != NULL) {
        count++;
    }
    return words[wire_random_below(&dice, count)];
}

static void append_tags(struct buf *out)
{
    static const char *const keys[] = {"k", "code", "model", "model_name", "device", "", NULL};
    static const char *const values[] = {":v", ":", "", ":a:b", ":200", ":x", ",", NULL};
    size_t count = wire_random_below(&dice, 100) == 0 ? 40 : wire_random_below(&dice, 5);
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i == 0 ? "" : ",");
        buf_puts(out, pick(keys));
        if (wire_random_below(&dice, 3) == 0 || count > 10) {
            buf_u64(out, i);
        }
        buf_puts(out, pick(values));
    }
}

static void append_number(struct buf *out)
{
    static const char *const odd[] = {"+5", "-3",    "-0",  "007", "5.",   ".5",    "1e3", "1e300",
                                      "1e", "1e301", "nan", "",    "0x1f", "1e999", "-",   NULL};
    if (wire_random_below(&dice, 6) == 0) {
        buf_puts(out, pick(odd));
    } else {
        buf_u64(out, wire_random_below(&dice, 1000));
        if (wire_random_below(&dice, 2) == 0) {
            buf_printf(out, ".%u", (unsigned)wire_random_below(&dice, 100000));
        }
    }
}

static void append_line(struct buf *out)
{
    static const char *const names[] = {"a", "http.requests", "inference", "model.inference",
                                        "_", "a b",           "größe",     NULL};
    static const char *const types[] = {"c", "g", "ms", "h", "d", "ms",
                                        "h", "s", "s",  "x", "",  NULL};
    static const char *const rates[] = {"0.1", "0.3", "1", "0.5", "0", "2", "x", ".25", NULL};
    static const char *const times[] = {"1700000000", "18446744073", "18446744074", "x", "", NULL};
    static const char *const others[] = {"c:in-1", "e:a,b", "", "card:low", "x", NULL};
    static const char *const members[] = {"alice", "http://x:80/", ":", "a b", "größe", "s", NULL};
    buf_puts(out, pick(names));
    do {
        buf_char(out, ':');
        if (wire_random_below(&dice, 10) == 0) {
            buf_puts(out, pick(members));
        } else {
            append_number(out);
        }
    } while (wire_random_below(&dice, 4) == 0);
    buf_char(out, '|');
    buf_puts(out, pick(types));
    for (size_t fields = wire_random_below(&dice, 4); fields > 0; fields--) {
        buf_char(out, '|');
        switch (wire_random_below(&dice, 5)) {
        case 0:
            buf_char(out, '@');
            buf_puts(out, pick(rates));
            break;
        case 1:
            buf_char(out, 'T');
            buf_puts(out, pick(times));
            break;
        case 2:
            buf_puts(out, pick(others));
            break;
        default:
            buf_char(out, '#');
            append_tags(out);
        }
    }
    buf_puts(out, wire_random_below(&dice, 20) == 0 ? "\r" : "");
}

/* Changes, adds or takes away a byte, one that means something. */
static void damage(char *line, size_t len)
{
    static const char bytes[] = ":|@#,T1.e+-_ \t\rx{";
    size_t at = wire_random_below(&dice, len);
    if (wire_random_below(&dice, 2) == 0) {
        memmove(line + at, line + at + 1, len - at);
    } else {
        line[at] = bytes[wire_random_below(&dice, sizeof bytes - 1)];
    }
}

static void test_statsd_reads_what_regular_expressions_read(void **state)
{
    (void)state;
    struct recorder got;
    struct recorder expected;
    struct buf line;
    recorder_init(&got);
    recorder_init(&expected);
    buf_init(&line, 4096);
    size_t good = 0;
    for (size_t i = 0; i < LINES; i++) {
        buf_clear(&line);
        append_line(&line);
        buf_char(&line, '\0');
        must_agree_with_regex(&got, &expected, line.data);
        good += got.accepted > 0;
        for (int n = 0; n < 3 && strlen(line.data) > 0; n++) {
            damage(line.data, strlen(line.data));
            must_agree_with_regex(&got, &expected, line.data);
        }
    }
    assert_true(good > LINES / 10);
    buf_fini(&line);
    recorder_fini(&expected);
    recorder_fini(&got);
}

/* Many lines in one stream: short and long ways take turns. */
static void test_statsd_short_way_says_the_same_of_any_lines(void **state)
{
    (void)state;
    struct recorder recorder;
    struct speller speller;
    struct buf text;
    recorder_init(&recorder);
    speller_init(&speller);
    buf_init(&text, 1 << 20);
    for (int i = 0; i < LINES / 100; i++) {
        buf_clear(&text);
        for (int k = 0; k < 30; k++) {
            append_line(&text);
            if (wire_random_below(&dice, 4) == 0) {
                buf_puts(&text, "\na:1|c\nservice.timer:12.25|ms\nb:7|c|#k:v");
            }
            buf_char(&text, '\n');
        }
        if (wire_random_below(&dice, 2) == 0) {
            buf_char(&text, '\0');
            damage(text.data, text.len - 1);
            text.len = strlen(text.data);
        }
        must_agree_in_short(&recorder, &speller, (struct str){text.data, text.len}, 2);
    }
    assert_true(speller.hits > LINES / 100);
    buf_fini(&text);
    speller_fini(&speller);
    recorder_fini(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statsd_takes_valid_input_in_every_split),
        cmocka_unit_test(test_statsd_rejects_invalid_lines_in_every_split),
        cmocka_unit_test(test_statsd_frames_say_what_lines_say),
        cmocka_unit_test(test_statsd_cut_anywhere_counts_whole_lines),
        cmocka_unit_test(test_statsd_short_way_says_what_the_long_one_says),
        cmocka_unit_test(test_statsd_short_way_is_taken_where_it_may_be),
        cmocka_unit_test(test_statsd_usual_lines_are_taken_at_once),
        cmocka_unit_test(test_statsd_other_lines_are_read_in_full),
        cmocka_unit_test(test_statsd_with_flipped_bits_does_no_harm),
        cmocka_unit_test(test_statsd_takes_the_ceiling_and_not_one_byte_more),
        cmocka_unit_test(test_statsd_obeys_a_new_ceiling_from_the_next_line_on),
        cmocka_unit_test(test_statsd_frames_take_the_ceiling_and_not_one_byte_more),
        cmocka_unit_test(test_statsd_frames_skip_a_long_line_up_to_the_end_of_its_payload),
        cmocka_unit_test(test_statsd_gives_large_memory_back),
        cmocka_unit_test(test_statsd_without_memory_says_so_and_leaks_nothing),
        cmocka_unit_test(test_statsd_passes_on_what_the_sink_refuses),
        cmocka_unit_test(test_statsd_sink_may_lack_what_is_optional),
        cmocka_unit_test(test_statsd_sampled_lines_add_up),
        cmocka_unit_test(test_statsd_rejected_line_carries_nothing),
        cmocka_unit_test(test_statsd_short_way_says_the_same_of_any_lines),
        cmocka_unit_test_setup_teardown(test_statsd_reads_what_regular_expressions_read,
                                        compile_forms, free_forms),
    };
    return cmocka_run_group_tests_name("statsd", tests, list_samples, NULL);
}
