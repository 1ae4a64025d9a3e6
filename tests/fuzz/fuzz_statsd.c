/*
 * wire/statsd and wire/statsd_frames on any bytes: every line ends in an outcome, pieces say what the
 * whole says, a payload with its length says what a datagram says, and so does a sink that remembers
 * spellings. The same bytes as a stream of payloads do no harm, in pieces either.
 */
#include "base/err.h"
#include "fuzz.h"
#include "wire/statsd_frames.h"
#include "wire_recorder.h"
#include "wire_speller.h"

enum { MAX_LINE_BYTES = 4096, MAX_FRAME_BYTES = 65536 };

static struct statsd_samples samples;

static size_t piece(struct str input, size_t len)
{
    return len < input.len ? len : input.len;
}

static void run(struct recorder *recorder, struct str input, size_t split, size_t step)
{
    struct statsd statsd;
    statsd_init(&statsd, MAX_LINE_BYTES, &samples);
    recorder_clear(recorder);
    for (size_t len = split; input.len > 0; len = step) {
        struct str bytes = {input.ptr, piece(input, len)};
        WIRE_REQUIRE(statsd_feed(&statsd, bytes, &recorder->sink) == 0);
        input.ptr += bytes.len;
        input.len -= bytes.len;
    }
    WIRE_REQUIRE(statsd_feed_last(&statsd, input, &recorder->sink) == 0);
    recorder_check(recorder);
    statsd_fini(&statsd);
}

static int run_frames(struct recorder *recorder, struct str head, struct str input, size_t split,
                      size_t step)
{
    struct statsd_frames frames;
    statsd_frames_init(&frames, MAX_FRAME_BYTES, MAX_LINE_BYTES, &samples);
    recorder_clear(recorder);
    int err = head.len > 0 ? statsd_frames_feed(&frames, head, &recorder->sink) : 0;
    for (size_t len = split; err == 0 && input.len > 0; len = step) {
        struct str bytes = {input.ptr, piece(input, len)};
        err = statsd_frames_feed(&frames, bytes, &recorder->sink);
        input.ptr += bytes.len;
        input.len -= bytes.len;
    }
    err = err != 0 ? err : statsd_frames_end(&frames);
    statsd_frames_fini(&frames);
    return err;
}

/* Through one decoder, twice: all that can be remembered is. */
static void must_agree_in_short(struct recorder *recorder, struct str input)
{
    struct speller speller;
    struct statsd in_full;
    struct statsd in_short;
    speller_init(&speller);
    statsd_init(&in_full, MAX_LINE_BYTES, &samples);
    statsd_init(&in_short, MAX_LINE_BYTES, &samples);
    for (int i = 0; i < 2; i++) {
        recorder_clear(recorder);
        recorder_clear(&speller.recorder);
        WIRE_REQUIRE(statsd_feed_last(&in_full, input, &recorder->sink) == 0);
        WIRE_REQUIRE(statsd_feed_last(&in_short, input, &speller.recorder.sink) == 0);
        WIRE_REQUIRE(strcmp(speller.recorder.text, recorder->text) == 0);
    }
    statsd_fini(&in_short);
    statsd_fini(&in_full);
    speller_fini(&speller);
}

/* Lines that are not blank; one past the ceiling counts whatever is in it. */
static size_t count_lines(const uint8_t *bytes, size_t len)
{
    size_t lines = 0;
    for (size_t at = 0; at < len; at++) {
        size_t start = at;
        bool blank = true;
        while (at < len && bytes[at] != '\n') {
            blank &= bytes[at] == ' ' || bytes[at] == '\t' || bytes[at] == '\r';
            at++;
        }
        lines += !blank || at - start > MAX_LINE_BYTES;
    }
    return lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct recorder whole;
    struct recorder pieces;
    recorder_init(&whole);
    recorder_init(&pieces);
    if (samples.count == 0) {
        statsd_samples_add(&samples, STR_LITERAL("inference"));
    }
    struct str input = {(const char *)bytes, len};
    size_t hash = fuzz_hash(bytes, len);
    size_t split = len == 0 ? 0 : 1 + hash % len;
    size_t step = 1 + hash / 256 % 19;
    run(&whole, input, len, 1);
    WIRE_REQUIRE(whole.accepted + whole.rejected + whole.ignored >= count_lines(bytes, len));
    run(&pieces, input, split, step);
    WIRE_REQUIRE(strcmp(whole.text, pieces.text) == 0);
    if (len > 0 && len <= MAX_FRAME_BYTES) {
        const char length[] = {(char)(len & 0xFF), (char)(len >> 8 & 0xFF), (char)(len >> 16), 0};
        WIRE_REQUIRE(run_frames(&pieces, (struct str){length, 4}, input, split, step) == 0);
        WIRE_REQUIRE(strcmp(whole.text, pieces.text) == 0);
    }
    must_agree_in_short(&pieces, input);
    struct str no_head = {NULL, 0};
    int err = run_frames(&whole, no_head, input, len, 1);
    WIRE_REQUIRE(err == 0 || err == ERR_FRAME || err == ERR_TOO_LONG);
    WIRE_REQUIRE(run_frames(&pieces, no_head, input, split, step) == err);
    WIRE_REQUIRE(strcmp(whole.text, pieces.text) == 0);
    recorder_fini(&pieces);
    recorder_fini(&whole);
    return 0;
}
