/*
 * What one thread was seen doing, over the last half minute: a ring of times, each with what was seen
 * then, in 4 bytes. It looks at nothing itself. Loop thread only.
 *
 *     cell  | 30 bits: time since the first look, in 16.4 µs | 2 bits: enum look_at |
 *
 *     first             newest
 *       v                 v
 *     | 3 | 7 | 9 | … | 84 |      ascending, so that a stretch of time is found by halving
 */
#ifndef DWELL_CORE_LOOKS_H
#define DWELL_CORE_LOOKS_H

#include "core/evidence.h"

enum {
    LOOKS_A_SECOND = 20, /* with more nothing was found that these miss */
    LOOKS_SECONDS = 30,  /* an inference may be as long, and still have all its looks */
    LOOKS_MAX = LOOKS_A_SECOND * LOOKS_SECONDS,
};

/* All zero: none. */
struct looks {
    uint32_t *cells;  /* LOOKS_MAX of them; owned; NULL until the first */
    uint64_t base_ns; /* wall clock of the first look, since which the cells count */
    uint16_t first, count;
};

void looks_fini(struct looks *looks);

/* The oldest gives way. A clock that was set back ends what was remembered: which of it comes before
 * which is not known any more. Returns 0 or ERR_NOMEM. */
int looks_add(struct looks *looks, uint64_t wall_ns, enum look_at look_at);

/* Adds the looks from one time to another, both included, to the counts. */
void looks_count(const struct looks *looks, uint64_t from_ns, uint64_t to_ns,
                 double counts[LOOK_COUNT]);

#endif
