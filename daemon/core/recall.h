/*
 * The short way from a sample to where it is counted: remembers, for names and string-table
 * references that came lately, the tally itself. It owns nothing and decides nothing: what is not
 * remembered, or was true of an earlier state, is looked up by the registry. Loop thread only.
 *
 * A way is good while its `ready` equals the registry's, which changes whenever a model or its
 * current tally may be exchanged for another: with a freeze, a new stretch of time, a reset.
 *
 * A name is found by its ends and its length; names that clash push each other out. One entry is one
 * cache line, and nothing else is read to find the tally.
 */
#ifndef DWELL_CORE_RECALL_H
#define DWELL_CORE_RECALL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

struct tally;

enum {
    RECALL_NAMES = 4096,
    RECALL_NAME_MAX = 40, /* bytes; longer names are looked up */
    RECALL_REFS = 4096,   /* string-table entries that are remembered within a batch */
};

struct recall_way {
    uint64_t ready;
    struct tally *tally;
};

struct recall_name {
    struct recall_way way;
    uint64_t len;
    char bytes[RECALL_NAME_MAX];
};

struct recall_ref {
    struct recall_way way;
    uint64_t batch;
};

struct recall {
    _Alignas(64) struct recall_name names[RECALL_NAMES];
    struct recall_ref refs[RECALL_REFS];
    uint64_t batch; /* number of the batch that references belong to */
};

_Static_assert(sizeof(struct recall_name) == 64, "one cache line");

/* The bytes of a name of at most 8, and its first 8 of a longer one. */
static inline uint64_t recall_head(const char *at, size_t len)
{
    uint64_t head = 0;
    if (len >= 8) {
        memcpy(&head, at, 8);
    } else if (len >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, at, 4);
        memcpy(&last, at + len - 4, 4);
        head = (uint64_t)last << 32 | first;
    } else if (len > 0) {
        head = (uint64_t)(uint8_t)at[0] << 16 | (uint64_t)(uint8_t)at[len / 2] << 8 |
               (uint8_t)at[len - 1];
    }
    return head;
}

static inline struct recall_name *recall_place(struct recall *recall, struct str name)
{
    uint64_t tail = name.len > 8 ? recall_head(name.ptr + name.len - 8, 8) : 0;
    uint64_t mixed = (recall_head(name.ptr, name.len) ^ name.len) * UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed + tail) * UINT64_C(0xD6E8FEB86659FD93);
    return &recall->names[mixed >> 52];
}
_Static_assert(RECALL_NAMES == 1 << (64 - 52), "the shift leaves a place");

/* By name; NULL when it must be looked up. */
__attribute__((always_inline)) static inline const struct recall_way *recall_by_name(
    struct recall *recall, struct str name, uint64_t ready)
{
    if (__builtin_expect(name.len > RECALL_NAME_MAX, 0)) {
        return NULL;
    }
    const struct recall_name *entry = recall_place(recall, name);
    return entry->way.ready == ready && entry->len == name.len &&
                   str_same(entry->bytes, name.ptr, name.len)
               ? &entry->way
               : NULL;
}

/* By reference to the batch's string table, counted from 1; NULL when it must be looked up. */
static inline const struct recall_way *recall_by_ref(const struct recall *recall, uint32_t ref,
                                                     uint64_t ready)
{
    if (ref > RECALL_REFS) {
        return NULL;
    }
    const struct recall_ref *entry = &recall->refs[ref - 1];
    return entry->batch == recall->batch && entry->way.ready == ready ? &entry->way : NULL;
}

/* Remembers the way of a reference, within its batch. */
static inline void recall_keep_ref(struct recall *recall, uint32_t ref,
                                   const struct recall_way *way)
{
    if (ref > 0 && ref <= RECALL_REFS) {
        recall->refs[ref - 1] = (struct recall_ref){.way = *way, .batch = recall->batch};
    }
}

/* Remembers the way of a name, and of the reference that it came by (0: none). */
static inline void recall_keep(struct recall *recall, struct str name, uint32_t ref,
                               const struct recall_way *way)
{
    recall_keep_ref(recall, ref, way);
    if (name.len <= RECALL_NAME_MAX) {
        struct recall_name *entry = recall_place(recall, name);
        entry->way = *way;
        entry->len = name.len;
        memcpy(entry->bytes, name.ptr, name.len);
    }
}

#endif
