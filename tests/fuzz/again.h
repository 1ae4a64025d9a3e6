/*
 * Spans that a decoder took, written as a batch and decoded again, say the same: what goes on to a
 * collector is what was understood, and is nothing that a batch would be refused for.
 */
#ifndef DWELL_TESTS_AGAIN_H
#define DWELL_TESTS_AGAIN_H

#include "wire/batch.h"
#include "wire_otlp.h"

enum { AGAIN_BYTES_MAX = 1 << 24 };

/* `said` ends with the line of this span. */
static inline void must_say_again(const struct span *span, const struct recorder *said)
{
    static struct batch_decoder decoder;
    struct recorder again;
    struct buf batch;
    recorder_init(&again);
    buf_init(&batch, AGAIN_BYTES_MAX);
    wire_write_span(&batch, span);
    WIRE_REQUIRE(batch_decode(&decoder, (struct str){batch.data, batch.len}, &again.sink) == 0);
    static const char head[] = "batch\n";
    size_t len = again.len - (sizeof head - 1);
    WIRE_REQUIRE(again.accepted == 1 && again.unknown == 0 && again.len > sizeof head - 1);
    WIRE_REQUIRE(said->len >= len);
    WIRE_REQUIRE(memcmp(said->text + said->len - len, again.text + sizeof head - 1, len) == 0);
    buf_fini(&batch);
    recorder_fini(&again);
}

#endif
