/* wire/batch on any bytes: it takes or refuses the batch, settles every record of one that it takes,
 * and says the same when asked again, also by a sink that remembers spellings. So does a batch of a span
 * that was taken. */
#include "base/err.h"
#include "again.h"
#include "fuzz.h"
#include "wire_speller.h"
#include "wire_recorder.h"

static size_t skip_varint(const uint8_t *bytes, size_t at, uint64_t *ret_number)
{
    *ret_number = 0;
    for (unsigned shift = 0;; shift += 7) {
        *ret_number |= (uint64_t)(bytes[at] & 0x7F) << shift;
        if (bytes[at++] < 0x80) {
            return at;
        }
    }
}

/* Fields 8 to 11 and 13 to 15 of a batch that is known to be sound. */
static size_t count_records(const uint8_t *bytes, size_t len)
{
    size_t records = 0;
    for (size_t at = 0; at < len;) {
        uint64_t tag = 0;
        uint64_t value = 0;
        at = skip_varint(bytes, at, &tag);
        records += (tag >> 3 >= 8 && tag >> 3 <= 11) || (tag >> 3 >= 13 && tag >> 3 <= 15);
        if ((tag & 7) == 0 || (tag & 7) == 2) {
            at = skip_varint(bytes, at, &value);
        }
        at += (tag & 7) == 2 ? (size_t)value : (tag & 7) == 1 ? 8 : (tag & 7) == 5 ? 4 : 0;
    }
    return records;
}

/* Twice to a sink that remembers: the first run may have taught it what the second one is asked. */
static void must_be_remembered_right(struct batch_decoder *decoder, struct str batch, int err,
                                     const struct recorder *first)
{
    struct speller speller;
    speller_init(&speller);
    for (int run = 0; run < 2; run++) {
        recorder_clear(&speller.recorder);
        WIRE_REQUIRE(batch_decode(decoder, batch, &speller.recorder.sink) == err);
        recorder_check(&speller.recorder);
        WIRE_REQUIRE(strcmp(first->text, speller.recorder.text) == 0);
        WIRE_REQUIRE(first->accepted == speller.recorder.accepted);
        WIRE_REQUIRE(first->unknown == speller.recorder.unknown);
    }
    speller_fini(&speller);
}

static int (*say_span)(void *ctx, const struct span *span); /* the recorder's */

static int on_span(void *ctx, const struct span *span)
{
    int err = say_span(ctx, span);
    must_say_again(span, ctx);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static struct batch_decoder decoder;
    struct recorder first;
    struct recorder second;
    recorder_init(&first);
    recorder_init(&second);
    say_span = first.sink.span;
    first.sink.span = on_span;
    struct str batch = {(const char *)bytes, len};
    int err = batch_decode(&decoder, batch, &first.sink);
    recorder_check(&first);
    WIRE_REQUIRE(err == 0 || err == ERR_FRAME);
    WIRE_REQUIRE(first.batches <= 1);
    if (err == 0) {
        WIRE_REQUIRE(first.batches == 1);
        WIRE_REQUIRE(first.accepted + first.controls + first.rejected == count_records(bytes, len));
    }
    second.refuse = ERR_LIMIT;
    WIRE_REQUIRE(batch_decode(&decoder, batch, &second.sink) == err);
    recorder_check(&second);
    WIRE_REQUIRE(second.accepted + second.controls == 0);
    WIRE_REQUIRE(second.rejected == first.accepted + first.controls + first.rejected);
    WIRE_REQUIRE(second.unknown == first.unknown);
    second.refuse = 0;
    recorder_clear(&second);
    WIRE_REQUIRE(batch_decode(&decoder, batch, &second.sink) == err);
    WIRE_REQUIRE(strcmp(first.text, second.text) == 0);
    must_be_remembered_right(&decoder, batch, err, &first);
    recorder_fini(&second);
    recorder_fini(&first);
    return 0;
}
