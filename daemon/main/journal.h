/*
 * From the configuration to the journal: opens it, and later, when all that records lead to is there, has
 * what an earlier process left taken again, and starts it. Loop thread, at start.
 */
#ifndef DWELL_MAIN_JOURNAL_H
#define DWELL_MAIN_JOURNAL_H

#include "conf/conf.h"
#include "io/ingest.h"
#include "io/journal.h"

/* Before the sandbox, since it may have to make the directory. Returns 0, also when the configuration
 * wants none: then *ret_journal is NULL, else `journal`. What is wrong is told in the log, and returned:
 * ERR_RANGE of the configuration, ERR_SYSTEM, ERR_NOMEM. */
int main_journal_open(const struct conf *conf, const struct ingest_options *options,
                      struct journal *journal, struct journal **ret_journal);

/* What came before `from`, which the state bears, is in the state already; 0: nothing is. Called when
 * the intake stands where the state left it, its processes can be watched and its spans exported, and
 * before anything is read. *ret_brought_back: there was more than that. Returns 0, ERR_SYSTEM or
 * ERR_NOMEM; the journal is closed then. */
int main_journal_start(struct journal *journal, uint64_t from, struct intake *intake,
                       uv_loop_t *loop, const struct clock *clock, bool *ret_brought_back);

#endif
