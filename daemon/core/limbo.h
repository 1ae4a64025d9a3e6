/*
 * Copy on write between the loop, which changes series, and readers of snapshots on other threads.
 *
 * Everything a snapshot can reach is made of blocks. The loop may write to a block that no snapshot
 * has seen; any other it copies, and retires the old one here, where it waits until the last
 * snapshot that could see it is gone. Nothing but the loop touches this: readers take no lock and
 * count no references.
 *
 * Why not a reference count on each block: freezing would have to touch, and a first write would
 * have to walk, every block below the copied one. Here freezing adds one to a number. The price is
 * that a block waits for every older snapshot, also for one that cannot see it; snapshots live only
 * as long as it takes to render one, and their number has a ceiling.
 *
 *   epoch      1        2            3
 *              |--------|------------|-----------> writes
 *           freeze   freeze        freeze
 *   retired in epoch e: seen by snapshots older than e at most; free once none of those is alive.
 */
#ifndef DWELL_CORE_LIMBO_H
#define DWELL_CORE_LIMBO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LIMBO_SNAPSHOTS_MAX = 8 };

/* First member of everything that a snapshot can reach. Readers never look at it. */
struct block {
    struct block *next;
    uint64_t epoch; /* in which it was made; once retired, in which that was */
};

struct limbo {
    uint64_t epoch;        /* current; starts at 1 */
    uint64_t shared_epoch; /* of the newest live snapshot, 0 without one: blocks made in it or
                              before are read by others and must be copied, younger ones are ours */
    struct block *oldest;
    struct block **tail;
    size_t waiting;                      /* blocks */
    uint64_t alive[LIMBO_SNAPSHOTS_MAX]; /* epochs of live snapshots, 0 = free place */
};

void limbo_init(struct limbo *limbo);

/* Frees what waits. No snapshot may be alive. */
void limbo_fini(struct limbo *limbo);

/* Begins a new epoch and registers a snapshot of the one that ended. Returns 0 and that epoch, or
 * ERR_LIMIT when LIMBO_SNAPSHOTS_MAX are alive. */
int limbo_freeze(struct limbo *limbo, uint64_t *ret_epoch);

/* The snapshot of `epoch` is no longer read by anyone. Frees nothing yet: see limbo_sweep. */
void limbo_release(struct limbo *limbo, uint64_t epoch);

/* Takes a block that the live state no longer uses. Freed at once when no snapshot is alive, or when
 * it was made after the newest of them: what comes and goes while one is held does not pile up. */
void limbo_retire(struct limbo *limbo, struct block *block);

/* Frees at most `max` blocks that nobody can see any more. True when there are more of them. */
bool limbo_sweep(struct limbo *limbo, size_t max);

#endif
