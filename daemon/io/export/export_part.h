/*
 * The batch that a worker has at hand, and the part of it that is sent next: how a part becomes a
 * request, and how its items end. It makes no calls and knows no files. Exporting thread; for the
 * worker and its spooling only.
 */
#ifndef DWELL_EXPORT_EXPORT_PART_H
#define DWELL_EXPORT_EXPORT_PART_H

#include "io/export/export_worker.h"

/* Takes a batch when there is one to take; else says when there may be. */
bool export_part_take(struct export_worker *worker, const struct export_state *state, uint64_t now,
                      uint64_t *ret_wake_ns);

/* Of so many items of a list. */
uint64_t export_part_weigh(const struct export_item *item, uint64_t count);

/* Makes the request of the next part. Returns 0, ERR_LIMIT for an item that does not fit alone, or
 * ERR_NOMEM. */
int export_part_write(struct export_worker *worker);

/* Forgets the request; the part stays in the batch. */
void export_part_clear(struct export_worker *worker);

/* The first items of the batch leave it; the settlement has all but their memory. */
void export_part_leave(struct export_worker *worker, struct export_settlement *settlement,
                       const struct export_end *end);

/* The first `count` items of the batch, of this weight, are exported but for those dropped. */
void export_part_settle(struct export_worker *worker, uint64_t count, uint64_t weight,
                        uint64_t dropped, const struct export_end *end);

void export_part_drop(struct export_worker *worker, enum export_drop reason);

/* Ends a list without an account. */
void export_part_end_all(struct export_worker *worker, struct export_item *item,
                         const struct export_end *end);

#endif
