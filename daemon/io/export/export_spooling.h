/*
 * What a worker does with its spool: how parts become files, when they do, and the account of both. It
 * makes no calls: the worker sends, of files too. Blocks on the disk. Exporting thread; for the worker
 * and for who starts it.
 */
#ifndef DWELL_EXPORT_EXPORT_SPOOLING_H
#define DWELL_EXPORT_EXPORT_SPOOLING_H

#include "io/export/export_worker.h"

enum {
    SPOOL_RETRY_S =
        5, /* short against the time in which a queue fills, long against a failed write */
};

/* From now on what cannot be sent goes to a spool, and what is in there already is sent. One that
 * cannot be used is told in the log, and the worker goes on without. Before the first turn. */
void export_spooling_open(struct export_worker *worker, const struct spool_options *options);

/* All below: there must be a spool, unless they say otherwise. */

/* Tells the queue's account what the spool has become. */
void export_spooling_tell(struct export_worker *worker);

/* So much of the oldest file is exported but for what was dropped. */
void export_spooling_settle(struct export_worker *worker, uint64_t weight, uint64_t dropped,
                            enum export_drop reason);

/* The next part of the batch, of which there must be one, becomes a file. Returns false when the spool
 * fails, and the part stays. */
bool export_spooling_part(struct export_worker *worker, bool durable);

/* All that is at hand and waits becomes files, until the spool fails. */
void export_spooling_rest(struct export_worker *worker, bool durable);

/* When the part at hand goes to the spool; UINT64_MAX: never, also without a spool. */
uint64_t export_spooling_due_ns(const struct export_worker *worker);

/* How long a call may take. While it waits for a receiver that does not answer at all, nothing is written
 * to the spool: it may take the time in which half of the room fills, by what came since the call
 * before. */
uint64_t export_spooling_patience_ns(const struct export_worker *worker,
                                     const struct export_state *state, uint64_t now);

/* After a call with a file: how much is written before the next one. */
void export_spooling_plan(struct export_worker *worker);

#endif
