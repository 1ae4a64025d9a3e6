/*
 * A core whose state is saved and goes on in another one: verbs that assert. For unit tests; one thread.
 */
#ifndef DWELL_TESTS_STATE_CORE_H
#define DWELL_TESTS_STATE_CORE_H

#include "core_helpers.h"

#include "base/buf.h"
#include "core/restore.h"

/* What the clocks of a core say, of the machine's start with this number. */
struct saved_moment moment_of(const struct core *core, uint8_t boot);

/* The body of a state file, which the caller ends (buf_fini). */
struct buf must_save(struct core *core, uint8_t boot);

/* Goes on from a body: all of it was checked before. */
struct restore_report must_go_on(struct core *core, uint8_t boot, const struct buf *body);

/* /metrics as OpenMetrics, without what is of the process; the caller ends it. */
struct buf must_show(struct core *core);

/* Two such texts; the first line that differs is told. */
void must_be_same(const struct buf *got, const struct buf *wanted);

/* Every process in kernel_pid of `alive`, NULL behind the last, is still there; until it is set again. */
void set_alive(const int64_t *pids, unsigned count);

/* Some of everything. Two processes have parts of gauges: 100 and 200. */
void fill_core(struct core *core);

#endif
