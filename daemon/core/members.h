/*
 * The values of clients' sets: whether one is new to its series, how many each series has in the sliding
 * window, and the ceiling over all of them. What is shown of a set is a number like that of a gauge; the
 * tables behind it (core/distinct) are the loop's alone, and no snapshot sees them.
 * It does not find series (core/metrics does). Loop thread only.
 */
#ifndef DWELL_CORE_MEMBERS_H
#define DWELL_CORE_MEMBERS_H

#include "core/distinct.h"
#include "core/series.h"

enum {
    MEMBERS_TICK_PLACES = 8192, /* series looked at in one tick */
    MEMBERS_TICK_CELLS = 65536, /* cells of their tables */
};

struct members_options {
    uint64_t window_ns;  /* WINDOW_SLOTS of it are not 0 */
    uint64_t max_values; /* of all sets together */
    uint64_t hash_seed;
};

struct members {
    struct distinct_pool pool;
    uint64_t seed;
    uint64_t slot_ns;
    uint64_t slot;                    /* the present one */
    uint64_t aged;                    /* the slot whose window all numbers are of */
    uint32_t tick_family, tick_place; /* where the last tick ended */
};

/* What both ways through all sets need. */
struct members_series {
    struct series_set *sets; /* by family; those of other types are passed over */
    uint32_t count;
    struct limbo *limbo;
};

void members_init(struct members *members, const struct members_options *options);

/* The present time. Going back is ignored. */
void members_set_time(struct members *members, uint64_t mono_ns);

/* Counts a value in the series at a place, whose page is owned, and makes the number in it the present
 * one. Returns 0; ERR_LIMIT past the ceiling, ERR_NOMEM: the value is then not counted. */
int members_add(struct members *members, struct series_set *set, uint32_t place,
                struct series_page *page, struct str value);

/* Makes all numbers those of the present window: before a snapshot, since values leave without a record.
 * Six additions a series, once in each slot. Returns 0, or ERR_NOMEM when a page could not be owned: the
 * next call goes on. */
int members_age(struct members *members, const struct members_series *series);

/* To be called a few times a second: gives back the memory of what has left the window; a bounded piece
 * of it. */
void members_tick(struct members *members, const struct members_series *series);

/* Of a series that ends. */
void members_drop(struct members *members, struct series_set *set, uint32_t place);

#endif
