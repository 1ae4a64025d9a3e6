/* wire/frames, and with it wire/batch, against tests/data/wire/frames; splits, cuts, flipped bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "mem_fault.h"
#include "wire/frames.h"
#include "wire/sniff.h"
#include "wire_data.h"
#include "wire_speller.h"
#include "wire_random.h"
#include "wire_recorder.h"

enum {
    MAX_FRAME_BYTES = 65536,
    FLIPS_MAX =
        WIRE_DAMAGES(2000),        /* bits of a case, each flipped alone; longer ones are sampled */
    TWO_FLIPS = WIRE_DAMAGES(500), /* pairs of flipped bits for each case */
};

static struct batch_decoder decoder;

static int feed(struct frames *frames, struct recorder *recorder, struct str bytes)
{
    char *copy = wire_copy(bytes);
    int err = frames_feed(frames, &decoder, (struct str){copy, bytes.len}, &recorder->sink);
    recorder_check(recorder);
    free(copy);
    return err;
}

/* The same with what is kept in front of the bytes, as connections do. */
static int feed_behind_kept(struct frames *frames, struct recorder *recorder, struct str bytes)
{
    size_t kept = frames_kept(frames);
    char *both = malloc(kept + bytes.len);
    assert_non_null(both);
    frames_steal_kept(frames, both);
    assert_int_equal(frames_kept(frames), 0);
    memcpy(both + kept, bytes.ptr, bytes.len);
    int err = feed(frames, recorder, (struct str){both, kept + bytes.len});
    free(both);
    return err;
}

/* Feeds the input in pieces whose first one ends at `split` and the others are `step` long, and
 * writes down the end. */
static void run_by(int (*feed_piece)(struct frames *, struct recorder *, struct str),
                   struct recorder *recorder, struct str input, size_t split, size_t step)
{
    struct frames frames;
    frames_init(&frames, MAX_FRAME_BYTES);
    recorder_clear(recorder);
    int err = 0;
    size_t len = split;
    while (err == 0 && input.len > 0) {
        len = len < input.len ? len : input.len;
        err = feed_piece(&frames, recorder, (struct str){input.ptr, len});
        input.ptr += len;
        input.len -= len;
        len = step;
    }
    err = err != 0 ? err : frames_end(&frames);
    recorder_print(recorder, "end %s\n", err == 0 ? "ok" : err_label(err));
    frames_fini(&frames);
}

static void run(struct recorder *recorder, struct str input, size_t split, size_t step)
{
    run_by(feed, recorder, input, split, step);
}

/* What follows the magic. */
static struct str skip_magic(struct str input)
{
    assert_int_equal(sniff_stream(input, true), WIRE_FRAMES);
    return (struct str){input.ptr + WIRE_MAGIC_BYTES, input.len - WIRE_MAGIC_BYTES};
}

static void must_say(const struct recorder *recorder, const struct wire_case *wire_case)
{
    if (strcmp(recorder->text, wire_case->expect) != 0) {
        print_error("%s\n", wire_case->name);
    }
    assert_string_equal(recorder->text, wire_case->expect);
}

static void check_every_split(const struct wire_case *wire_case)
{
    struct str input = skip_magic(wire_case->input);
    struct recorder recorder;
    recorder_init(&recorder);
    run(&recorder, input, input.len + 1, 1);
    must_say(&recorder, wire_case);
    run(&recorder, input, 1, 1);
    must_say(&recorder, wire_case);
    run_by(feed_behind_kept, &recorder, input, 1, 1);
    must_say(&recorder, wire_case);
    for (size_t split = 1; split < input.len; split += wire_split_step(input.len)) {
        run(&recorder, input, split, input.len);
        must_say(&recorder, wire_case);
        run_by(feed_behind_kept, &recorder, input, split, input.len);
        must_say(&recorder, wire_case);
    }
    recorder_fini(&recorder);
}

/* A sink that remembers spellings says the same; the second time it has met them all. */
static void check_remembered(const struct wire_case *wire_case)
{
    struct str input = skip_magic(wire_case->input);
    struct speller speller;
    speller_init(&speller);
    for (int i = 0; i < 2; i++) {
        run(&speller.recorder, input, input.len + 1, 1);
        must_say(&speller.recorder, wire_case);
    }
    speller_fini(&speller);
}

static void test_frames_may_be_remembered(void **state)
{
    (void)state;
    (void)wire_for_each_case("frames/valid", check_remembered); /* counted above */
    (void)wire_for_each_case("frames/invalid", check_remembered);
}

static void test_frames_take_valid_input_in_every_split(void **state)
{
    (void)state;
    assert_true(wire_for_each_case("frames/valid", check_every_split) > 10);
}

static void test_frames_refuse_invalid_input_in_every_split(void **state)
{
    (void)state;
    assert_true(wire_for_each_case("frames/invalid", check_every_split) > 10);
}

/* Cut at any byte, the input says the beginning of what it says as a whole. */
static void check_cuts(const struct wire_case *wire_case)
{
    struct str input = skip_magic(wire_case->input);
    struct recorder recorder;
    recorder_init(&recorder);
    for (size_t len = 0; len < input.len; len++) {
        run(&recorder, (struct str){input.ptr, len}, len + 1, 1);
        const char *end = strstr(recorder.text, "end ");
        assert_non_null(end);
        assert_memory_equal(recorder.text, wire_case->expect, (size_t)(end - recorder.text));
    }
    recorder_fini(&recorder);
}

static void test_frames_cut_anywhere_say_no_more_than_what_came(void **state)
{
    (void)state;
    (void)wire_for_each_case("frames/valid", check_cuts); /* counted above */
    (void)wire_for_each_case("frames/invalid", check_cuts);
}

static struct wire_random flips;

/* Flipped bits may say anything, but the same in one piece and in many. */
static void must_agree_with_itself(struct recorder *whole, struct recorder *split, struct str input)
{
    run(whole, input, input.len, 1);
    run(split, input, wire_random_below(&flips, input.len) + 1, 1);
    assert_string_equal(whole->text, split->text);
}

static void check_flips(const struct wire_case *wire_case)
{
    struct str input = skip_magic(wire_case->input);
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
        size_t bit = bits <= FLIPS_MAX ? i : wire_random_below(&flips, bits);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        must_agree_with_itself(&whole, &split, input);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    for (int i = 0; i < TWO_FLIPS; i++) {
        size_t first = wire_random_below(&flips, 8 * input.len);
        size_t second = wire_random_below(&flips, 8 * input.len);
        bytes[first / 8] = (char)(bytes[first / 8] ^ 1 << first % 8);
        bytes[second / 8] = (char)(bytes[second / 8] ^ 1 << second % 8);
        must_agree_with_itself(&whole, &split, input);
        bytes[first / 8] = (char)(bytes[first / 8] ^ 1 << first % 8);
        bytes[second / 8] = (char)(bytes[second / 8] ^ 1 << second % 8);
    }
    free(bytes);
    recorder_fini(&split);
    recorder_fini(&whole);
}

static void test_frames_with_flipped_bits_do_no_harm(void **state)
{
    (void)state;
    flips = wire_random_start("test_frames");
    (void)wire_for_each_case("frames/valid", check_flips); /* counted above */
    (void)wire_for_each_case("frames/invalid", check_flips);
}

/* A frame whose batch is one unknown text of the right length. */
static struct str make_frame(char *out, size_t len)
{
    static const uint8_t head[] = {0xA2, 0x06}; /* field 100, a text, and a length of 5 bytes */
    for (size_t i = 0; i < 4; i++) {
        out[i] = (char)(len >> 8 * i);
    }
    memcpy(out + 4, head, sizeof head);
    size_t rest = len - sizeof head - 5;
    for (size_t i = 0; i < 5; i++) {
        out[6 + i] = (char)((rest >> 7 * i & 0x7F) | (i < 4 ? 0x80 : 0));
    }
    memset(out + 11, 'x', rest);
    return (struct str){out, 4 + len};
}

static void test_frames_take_the_ceiling_and_not_one_byte_more(void **state)
{
    (void)state;
    static char bytes[4 + MAX_FRAME_BYTES + 1];
    struct recorder recorder;
    recorder_init(&recorder);
    struct str frame = make_frame(bytes, MAX_FRAME_BYTES);
    run(&recorder, frame, frame.len, 1);
    assert_string_equal(recorder.text, "unknown \"Batch.100\"\nbatch\nend ok\n");
    run(&recorder, frame, 5, frame.len);
    assert_string_equal(recorder.text, "unknown \"Batch.100\"\nbatch\nend ok\n");
    frame = make_frame(bytes, MAX_FRAME_BYTES + 1);
    run(&recorder, frame, frame.len, 1);
    assert_string_equal(recorder.text, "end too_long\n");
    run(&recorder, frame, 3, 1);
    assert_string_equal(recorder.text, "end too_long\n");
    recorder_fini(&recorder);
}

/* A frame that has begun may end, wherever its beginning is kept; the next one is under the new ceiling. */
static void test_frames_obey_a_new_ceiling_from_the_next_frame_on(void **state)
{
    (void)state;
    enum { OLD = 3000, NEW = 1000 };
    static char bytes[4 + OLD];
    static char more[4 + NEW + 1];
    struct recorder recorder;
    recorder_init(&recorder);
    for (int way = 0; way < 2; way++) {
        int (*feed_piece)(struct frames *, struct recorder *, struct str) =
            way == 0 ? feed : feed_behind_kept;
        for (size_t split = 1; split < 10; split++) {
            struct frames frames;
            struct str frame = make_frame(bytes, OLD);
            bool known = split >= 4; /* its length has come */
            frames_init(&frames, OLD);
            assert_int_equal(feed_piece(&frames, &recorder, (struct str){frame.ptr, split}), 0);
            frames_limit(&frames, NEW);
            frames_limit(&frames, NEW); /* and again */
            struct str rest = {frame.ptr + split, frame.len - split};
            assert_int_equal(feed_piece(&frames, &recorder, rest), known ? 0 : ERR_TOO_LONG);
            if (known) {
                assert_int_equal(feed_piece(&frames, &recorder, make_frame(more, NEW)), 0);
                assert_int_equal(feed_piece(&frames, &recorder, make_frame(more, NEW + 1)),
                                 ERR_TOO_LONG);
            }
            frames_fini(&frames);
        }
    }
    struct frames frames;
    frames_init(&frames, NEW);
    frames_limit(&frames, OLD);
    struct str frame = make_frame(bytes, OLD);
    assert_int_equal(feed(&frames, &recorder, (struct str){frame.ptr, 2000}), 0);
    assert_int_equal(feed(&frames, &recorder, (struct str){frame.ptr + 2000, frame.len - 2000}), 0);
    frames_fini(&frames);
    recorder_fini(&recorder);
}

static void test_frames_keep_nothing_for_a_length_that_is_only_announced(void **state)
{
    (void)state;
    struct frames frames;
    struct recorder recorder;
    recorder_init(&recorder);
    frames_init(&frames, MAX_FRAME_BYTES);
    assert_int_equal(feed(&frames, &recorder, (struct str){"\0\0\1\0", 4}), 0);
    assert_true(frames.partial.cap < 1024);
    frames_fini(&frames);
    recorder_fini(&recorder);
}

static void test_frames_give_large_memory_back(void **state)
{
    (void)state;
    enum { LARGE = 1 << 20 };
    char *bytes = malloc(4 + LARGE);
    struct str frame = make_frame(bytes, LARGE);
    struct frames frames;
    struct recorder recorder;
    recorder_init(&recorder);
    frames_init(&frames, LARGE);
    assert_int_equal(feed(&frames, &recorder, (struct str){frame.ptr, LARGE}), 0);
    assert_true(frames.partial.cap >= LARGE);
    assert_int_equal(feed(&frames, &recorder, (struct str){frame.ptr + LARGE, 4}), 0);
    assert_int_equal(frames.partial.cap, 0);
    assert_int_equal(frames_end(&frames), 0);
    frames_fini(&frames);
    recorder_fini(&recorder);
    free(bytes);
}

static void test_frames_without_memory_say_so_and_leak_nothing(void **state)
{
    (void)state;
    static char bytes[4 + 4096];
    struct str frame = make_frame(bytes, 4096);
    struct recorder recorder;
    recorder_init(&recorder);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        recorder_clear(&recorder);
        mem_fail_after(n);
        run(&recorder, frame, 1, 1);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_string_equal(recorder.text, failed ? "end out_of_memory\n"
                                                  : "unknown \"Batch.100\"\nbatch\nend ok\n");
        assert_int_equal(mem_count_live(), live);
    }
    recorder_fini(&recorder);
}

static void test_frames_in_whole_are_read_without_memory(void **state)
{
    (void)state;
    static char bytes[4 + 4096];
    struct str frame = make_frame(bytes, 4096);
    struct recorder recorder;
    recorder_init(&recorder);
    size_t allocations = mem_count_allocations();
    run(&recorder, frame, frame.len, 1);
    assert_int_equal(mem_count_allocations(), allocations);
    recorder_fini(&recorder);
}

struct gathered {
    struct recorder recorder;
    struct buf raw;
};

static void gather(void *ctx, struct str bytes)
{
    struct gathered *gathered = ctx; /* the recorder is its first member */
    buf_str(&gathered->raw, bytes);
}

/* Of a connection every whole frame up to the damage, with it, however the bytes are cut. */
static void check_raw(const struct wire_case *wire_case)
{
    struct str input = skip_magic(wire_case->input);
    for (size_t split = 1; split < input.len; split += wire_split_step(input.len)) {
        struct gathered gathered;
        recorder_init(&gathered.recorder);
        gathered.recorder.sink.raw = gather;
        buf_init(&gathered.raw, input.len);
        run(&gathered.recorder, input, split, input.len);
        assert_memory_equal(gathered.raw.data == NULL ? "" : gathered.raw.data, input.ptr,
                            gathered.raw.len);
        bool is_whole = strstr(wire_case->expect, "end ok") != NULL;
        assert_true(!is_whole || gathered.raw.len == input.len);
        recorder_fini(&gathered.recorder);
        buf_fini(&gathered.raw);
    }
}

static void test_frames_are_told_raw(void **state)
{
    (void)state;
    (void)wire_for_each_case("frames/valid", check_raw); /* counted above */
    (void)wire_for_each_case("frames/invalid", check_raw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_take_valid_input_in_every_split),
        cmocka_unit_test(test_frames_refuse_invalid_input_in_every_split),
        cmocka_unit_test(test_frames_may_be_remembered),
        cmocka_unit_test(test_frames_cut_anywhere_say_no_more_than_what_came),
        cmocka_unit_test(test_frames_with_flipped_bits_do_no_harm),
        cmocka_unit_test(test_frames_take_the_ceiling_and_not_one_byte_more),
        cmocka_unit_test(test_frames_obey_a_new_ceiling_from_the_next_frame_on),
        cmocka_unit_test(test_frames_keep_nothing_for_a_length_that_is_only_announced),
        cmocka_unit_test(test_frames_are_told_raw),
        cmocka_unit_test(test_frames_give_large_memory_back),
        cmocka_unit_test(test_frames_without_memory_say_so_and_leak_nothing),
        cmocka_unit_test(test_frames_in_whole_are_read_without_memory),
    };
    return cmocka_run_group_tests_name("frames", tests, NULL, NULL);
}
