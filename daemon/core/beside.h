/*
 * A copy of what lies beside the values of series and in no snapshot: the parts of gauges, the values of
 * sets, how long series have been idle, the ledger's clients. Whoever saves the state takes one right
 * after a snapshot, and reads both. It renders nothing.
 * Taken on the loop thread; then anyone may read it, nobody writes.
 *
 * What it takes the loop is proportional to what there is: a place of a gauge's or a set's family is
 * looked at, a value of a set is copied as nine bytes. Copying the tables of sets as they are would be
 * three times as fast, and would tie the form of the file to that of core/distinct.
 */
#ifndef DWELL_CORE_BESIDE_H
#define DWELL_CORE_BESIDE_H

#include "core/intake.h"
#include "core/saved.h"

struct beside_part {
    uint32_t family;
    uint32_t place;
    struct saved_part part;
};

struct beside_set {
    uint32_t family;
    uint32_t place;
    uint32_t count; /* values; they begin where those of the set before it end */
};

struct beside_family {
    uint32_t overflow;    /* 1 + place of the overflow series, 0 without one */
    uint32_t places;      /* in `idle` */
    const uint32_t *idle; /* seconds, by place; NULL: the family does not expire */
};

/* Parts and sets stand in the order of families and places. */
struct beside {
    uint64_t set_seed;
    uint32_t family_count;
    uint32_t process_count;
    uint32_t part_count;
    uint32_t set_count;
    uint32_t value_count;
    uint32_t client_count;
    struct beside_family *families; /* owned, as all below */
    struct saved_process *processes;
    struct beside_part *parts;
    struct beside_set *sets;
    uint64_t *hashes; /* of values of sets */
    uint8_t *ages;    /* sub-windows since each was last seen */
    uint32_t *idle;
    struct ledger_client *clients; /* who spoke last is the last */
};

/* Right after snapshot_take. Returns 0 or ERR_NOMEM. */
int beside_take(const struct intake *intake, struct beside **ret_beside);

/* NULL is permitted. */
void beside_free(struct beside *beside);

#endif
