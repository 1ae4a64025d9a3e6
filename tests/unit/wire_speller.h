/*
 * A sink that remembers spellings, as the daemon's does, in front of a recorder: what comes in short
 * is written down as if it had come in full, so both ways can be compared. It also holds the decoder
 * to what a spelling is: the same one always comes with the same series.
 * For unit tests and fuzz targets.
 */
#ifndef DWELL_TESTS_WIRE_SPELLER_H
#define DWELL_TESTS_WIRE_SPELLER_H

#include "wire_recorder.h"

struct speller {
    struct record_sink sink; /* hand this to the decoder */
    struct recorder recorder;
    struct metric *known; /* owned, with their texts */
    size_t count;
    size_t cap;
    size_t hits; /* records that came in short */
};

void speller_init(struct speller *speller);
void speller_fini(struct speller *speller);

/* Forgets what was written, keeps the spellings. */
void speller_clear(struct speller *speller);

#endif
