/*
 * The state of everything at one moment, for readers on other threads: the frozen models, metrics and
 * time budgets, the ledger and the counters. It does not render and does not compute: core/profile
 * does, on the reader's side.
 * Taken and released on the loop thread; in between anyone may read it, nobody may write.
 */
#ifndef DWELL_CORE_SNAPSHOT_H
#define DWELL_CORE_SNAPSHOT_H

#include "core/classify.h"
#include "core/counters.h"
#include "core/intake.h"
#include "core/ledger.h"
#include "core/registry.h"

struct snapshot {
    uint64_t epoch;
    uint64_t mono_ns; /* when it was taken */
    uint64_t wall_ns;
    uint64_t slot; /* the stretch of time, for registry_in_window */
    uint64_t window_ns;
    uint64_t max_samples; /* in it; 0: no cap */
    uint32_t model_count;
    const struct model **models; /* in order of first arrival */
    struct thresholds thresholds;
    struct machine machine; /* that opinions are of */
    struct ledger_view ledger;
    struct counters counters;
    uint64_t accepted;
    uint64_t rejected[ERR_ROW_COUNT];
    struct growth_counts grown_ns; /* when, as mono_ns; 0: not in this life */
    struct metrics_view metrics;
    struct budgets_view budgets;
};

/* Freezes. Returns 0, ERR_LIMIT when LIMBO_SNAPSHOTS_MAX are alive, or ERR_NOMEM. */
int snapshot_take(struct intake *intake, const struct thresholds *thresholds, uint64_t mono_ns,
                  uint64_t wall_ns, struct snapshot **ret_snapshot);

/* What counts there are is where this life begins; then, between snapshots, which of them have grown.
 * A snapshot looks, too. */
void snapshot_begin_growth(struct intake *intake);
void snapshot_look(struct intake *intake, uint64_t mono_ns);

/* The last reader is done. What only this snapshot held is freed by limbo_sweep, in portions. */
void snapshot_release(struct snapshot *snapshot, struct registry *registry);

#endif
