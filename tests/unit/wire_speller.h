/*
 * A recorder that remembers spellings, as the daemon does: what comes in short is written down as if
 * it had come in full, so that its text can be compared with that of a plain recorder. It also holds
 * the decoder to what a spelling is: the same one always comes with the same series.
 * For unit tests and fuzz targets, as the recorder.
 */
#ifndef DWELL_TESTS_WIRE_SPELLER_H
#define DWELL_TESTS_WIRE_SPELLER_H

#include "wire_recorder.h"

enum { SPELLER_KEEPS = 256 }; /* the oldest is forgotten */

struct speller {
    struct recorder recorder; /* stands first: its ctx is that of the speller; hand on its sink */
    int (*metric)(void *ctx, const struct metric *metric); /* the recorder's own */
    struct metric *known;                                  /* owned, with their texts */
    size_t remembered;
    size_t hits; /* records that came in short */
};

void speller_init(struct speller *speller);
void speller_fini(struct speller *speller);

#endif
