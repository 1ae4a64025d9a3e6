/*
 * What an earlier process took and no checkpoint covers, taken again: entries of the journal go through
 * the decoders and the intake, as they did when they came. At start, on the loop's thread, before
 * anything else is read.
 *
 * A record counts in the window of the start, since windows never go back, and those of the state
 * stand at the start already; its exemplar, and spans that are cut off, have the time at which it
 * came. What the intake knows already, by the numbers of its clients, is passed over. Nobody is
 * answered, and nothing is logged of single records. What a client left open, such as a span, ends
 * after the last entry, as with a connection. Spans go the way of spans: what was exported before may
 * be exported again, under the same ids.
 */
#ifndef DWELL_IO_JOURNAL_REPLAY_H
#define DWELL_IO_JOURNAL_REPLAY_H

#include "base/clock.h"
#include "core/intake.h"
#include "io/journal.h"

/* From the position that a checkpoint bears, or 0. Tells how many entries came back. Returns 0 or
 * ERR_NOMEM. */
int journal_replay(struct journal *journal, uint64_t from, struct intake *intake,
                   const struct clock *clock, uint64_t *ret_entries);

#endif
