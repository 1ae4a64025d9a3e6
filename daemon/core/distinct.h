/*
 * How many distinct values there were in the sliding window (core/window): for one series, exactly, but
 * for two values of 64 bits of hash alike. It keeps the hash of each value and the slot in which it was
 * last seen, not the value itself, and makes no hashes. Loop thread only.
 *
 *     root --> leaf                            at first: a hash table, doubled as it fills
 *
 *     root --> fork --+-- 0 --> leaf           later: by the first digit of the hash, base 16,
 *                     +-- 1 --> -              then by the next
 *                     …         fork --+-- 0 --> leaf
 *                     +-- f ----^      …
 *
 * So that no step touches more than a leaf, however many values there are. What left the window is not
 * counted from that moment on, but stays in its leaf until that is next touched, or swept: to be called
 * again and again, and to be told by distinct_is_clean when there is nothing to do.
 *
 * One table for all values was the other design: it is simpler, and doubling it with a million values
 * keeps everything else waiting for ten milliseconds.
 */
#ifndef DWELL_CORE_DISTINCT_H
#define DWELL_CORE_DISTINCT_H

#include <stddef.h>

#include "core/window.h"

enum {
    DISTINCT_LEAF_MIN = 8,   /* cells, of 9 bytes */
    DISTINCT_LEAF_MAX = 512, /* of which three quarters are used at most */
};

/* The room for the values of all series together. */
struct distinct_pool {
    uint64_t max;  /* values kept */
    uint64_t kept; /* those too that left the window and are not dropped yet */
};

struct distinct_node;

/* Zero is a good beginning. */
struct distinct {
    struct distinct_node *root;  /* owned; NULL: no value is kept */
    uint64_t slot;               /* with which the window ends that `seen` is of */
    uint64_t next;               /* the least hash that distinct_sweep has not looked at */
    uint32_t seen[WINDOW_SLOTS]; /* by slot, modulo: values that were last seen in it */
};

/* A value is there in `slot`, which may not be less than in any call before. Returns 0; or ERR_LIMIT for
 * a new value when the pool is full, ERR_NOMEM: it is then not counted. */
int distinct_add(struct distinct *distinct, struct distinct_pool *pool, uint64_t hash,
                 uint64_t slot);

/* Moves the window on, so that it ends with `slot`. Looks at no value, and neither takes nor gives back
 * memory. */
void distinct_move(struct distinct *distinct, uint64_t slot);

/* Values in the window. */
uint32_t distinct_count(const struct distinct *distinct);

/* Whether nothing is kept but what is in the window. */
bool distinct_is_clean(const struct distinct *distinct);

/* Drops what left the window from the next leaf, and gives back what room it can do without. Returns
 * how many cells it looked at, at least 1. One round is done after as many calls as there are leaves. */
uint32_t distinct_sweep(struct distinct *distinct, struct distinct_pool *pool);

/* Writes the hash of each value in the window, and how many slots ago it was last seen; there is room for
 * one more than distinct_count says. Returns how many there were. */
uint32_t distinct_copy(const struct distinct *distinct, uint64_t *ret_hashes, uint8_t *ret_ages);

/* Drops everything. */
void distinct_fini(struct distinct *distinct, struct distinct_pool *pool);

/* Heap bytes behind it. */
size_t distinct_bytes(const struct distinct *distinct);

#endif
