/*
 * A recorder that remembers spellings: what it says of a record by `spelled` must be what it would
 * have said of it by `metric`, so that its text can be compared with that of a plain recorder.
 * For unit tests and fuzz targets, as the recorder.
 */
#ifndef DWELL_TESTS_WIRE_MEMORY_H
#define DWELL_TESTS_WIRE_MEMORY_H

#include "wire_recorder.h"

enum { MEMORY_ENTRIES = 64 }; /* the oldest is forgotten */

struct memory {
    struct recorder recorder; /* stands first: its ctx is that of the memory; hand on its sink */
    int (*metric)(void *ctx, const struct metric *metric); /* the recorder's own */
    size_t remembered;
    size_t recalled; /* records that came by `spelled` */
    struct memory_entry {
        uint8_t format;
        struct str head; /* owned, as the rest */
        struct str tail;
        struct str before; /* what the recorder says up to the value */
        struct str after;  /* and behind it */
    } entries[MEMORY_ENTRIES];
};

void memory_init(struct memory *memory);
void memory_fini(struct memory *memory);

#endif
