/* wire/frames on any bytes: in pieces it says what it says in one, and ends for the same reason. */
#include "base/err.h"
#include "fuzz.h"
#include "wire/frames.h"
#include "wire_recorder.h"

enum { MAX_FRAME_BYTES = 4096 };

static int run(struct recorder *recorder, struct str input, size_t split, size_t step)
{
    static struct batch_decoder decoder;
    struct frames frames;
    frames_init(&frames, MAX_FRAME_BYTES);
    int err = 0;
    size_t len = split;
    while (err == 0 && input.len > 0) {
        len = len < input.len ? len : input.len;
        err = frames_feed(&frames, &decoder, (struct str){input.ptr, len}, &recorder->sink);
        recorder_check(recorder);
        input.ptr += len;
        input.len -= len;
        len = step;
    }
    err = err != 0 ? err : frames_end(&frames);
    frames_fini(&frames);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct recorder whole;
    struct recorder pieces;
    recorder_init(&whole);
    recorder_init(&pieces);
    struct str input = {(const char *)bytes, len};
    size_t hash = fuzz_hash(bytes, len);
    int err = run(&whole, input, len, 1);
    WIRE_REQUIRE(err == 0 || err == ERR_FRAME || err == ERR_TOO_LONG);
    WIRE_REQUIRE(run(&pieces, input, len == 0 ? 0 : 1 + hash % len, 1 + hash / 256 % 19) == err);
    WIRE_REQUIRE(strcmp(whole.text, pieces.text) == 0);
    recorder_fini(&pieces);
    recorder_fini(&whole);
    return 0;
}
