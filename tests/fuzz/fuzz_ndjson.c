/* wire/ndjson on any bytes: every line that is not blank ends in exactly one outcome, pieces say what
 * the whole says, each rejection can be told in one line of printable text, and what a span becomes is one
 * that a batch may hold. */
#include "base/err.h"
#include "again.h"
#include "fuzz.h"
#include "wire/ndjson.h"
#include "wire_recorder.h"

enum { MAX_LINE_BYTES = 4096, ANSWER_MAX = 4096 };

/* The recorder, and what the daemon does with a rejection. */
struct peer {
    struct recorder recorder;
    struct record_sink sink;
};

static void must_be_one_printable_line(const struct buf *answer)
{
    WIRE_REQUIRE(answer->err == 0);
    WIRE_REQUIRE(answer->len > 0 && answer->data[answer->len - 1] == '\n');
    WIRE_REQUIRE(str_is_utf8((struct str){answer->data, answer->len}));
    for (size_t i = 0; i + 1 < answer->len; i++) {
        WIRE_REQUIRE((uint8_t)answer->data[i] >= 0x20 && answer->data[i] != 0x7F);
    }
}

static void on_reject(void *ctx, const struct rejection *rejection)
{
    struct peer *peer = ctx;
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    ndjson_render_error(&answer, rejection);
    must_be_one_printable_line(&answer);
    buf_fini(&answer);
    peer->recorder.sink.reject(&peer->recorder, rejection);
}

static int on_span(void *ctx, const struct span *span)
{
    struct peer *peer = ctx;
    int err = peer->recorder.sink.span(&peer->recorder, span);
    must_say_again(span, &peer->recorder);
    return err;
}

/* The other calls of the sink go on to the recorder, which stands first in its peer. */
static void peer_init(struct peer *peer)
{
    recorder_init(&peer->recorder);
    peer->sink = peer->recorder.sink;
    peer->sink.ctx = peer;
    peer->sink.reject = on_reject;
    peer->sink.span = on_span;
}

static void run(struct peer *peer, struct str input, size_t split, size_t step)
{
    struct ndjson ndjson;
    ndjson_init(&ndjson, MAX_LINE_BYTES);
    size_t len = split;
    while (input.len > 0) {
        len = len < input.len ? len : input.len;
        WIRE_REQUIRE(ndjson_feed(&ndjson, (struct str){input.ptr, len}, &peer->sink) == 0);
        recorder_check(&peer->recorder);
        input.ptr += len;
        input.len -= len;
        len = step;
    }
    ndjson_end(&ndjson, &peer->sink);
    recorder_check(&peer->recorder);
    ndjson_fini(&ndjson);
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
    struct peer whole;
    struct peer pieces;
    peer_init(&whole);
    peer_init(&pieces);
    struct str input = {(const char *)bytes, len};
    size_t hash = fuzz_hash(bytes, len);
    run(&whole, input, len, 1);
    WIRE_REQUIRE(whole.recorder.accepted + whole.recorder.controls + whole.recorder.rejected ==
                 count_lines(bytes, len));
    run(&pieces, input, len == 0 ? 0 : 1 + hash % len, 1 + hash / 256 % 19);
    WIRE_REQUIRE(strcmp(whole.recorder.text, pieces.recorder.text) == 0);
    recorder_fini(&pieces.recorder);
    recorder_fini(&whole.recorder);
    return 0;
}
