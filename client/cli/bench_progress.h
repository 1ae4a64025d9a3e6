/*
 * How far a run is, on standard error: a bar on a terminal, a line for each quarter of a stage elsewhere.
 * Any thread may step it.
 */
#ifndef DWELL_CLI_BENCH_PROGRESS_H
#define DWELL_CLI_BENCH_PROGRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "dwell_bench.h"

enum progress_kind { PROGRESS_NONE, PROGRESS_LINES, PROGRESS_BAR };

struct progress {
    enum progress_kind kind;
    unsigned columns; /* of the terminal */
    uint64_t total[DWELL_BENCH_STAGES];
    _Atomic uint64_t done[DWELL_BENCH_STAGES];
    _Atomic uint64_t begun_ns[DWELL_BENCH_STAGES]; /* 0: not yet */
    _Atomic uint64_t next_ns;                      /* when the bar is drawn again */
};

/* Before the run. `kind` PROGRESS_BAR is for a terminal only. */
void progress_init(struct progress *progress, enum progress_kind kind, unsigned columns,
                   const uint64_t total[DWELL_BENCH_STAGES]);

/* One request more is over. */
void progress_step(struct progress *progress, enum dwell_bench_stage stage, uint64_t now_ns,
                   double latency_ms);

/* Wipes the bar away, so that what follows begins on an empty line. */
void progress_end(const struct progress *progress);

/* What is drawn, as text: "sequential  [#####-----]  50 %  123/s  2 s left". */
void progress_draw(enum dwell_bench_stage stage, uint64_t done, uint64_t total, double seconds,
                   unsigned bar_columns, struct buf *out);

#endif
