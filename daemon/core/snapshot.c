#include "core/snapshot.h"

#include "base/log.h"
#include "base/mem.h"

/* What others count themselves comes on top of what an earlier life had counted (core/restore). */
static void copy_counters(const struct intake *intake, struct counters *counters)
{
    uint64_t *value = counters->value;
    const struct registry *registry = intake->registry;
    *counters = *intake->counters;
    value[COUNTER_CLOCK_STEPS] = intake->counters->clock.steps;
    value[COUNTER_MODELS] = registry->count;
    value[COUNTER_OVERFLOW_SAMPLES] += registry->overflowed;
    value[COUNTER_LOST_EXEMPLARS] += registry->lost_exemplars + intake->metrics->lost_exemplars;
    if (intake->judge != NULL) {
        value[COUNTER_LOST_EVIDENCE] += intake->judge->lost;
        value[COUNTER_IMPOSSIBLE_EVIDENCE] += intake->judge->impossible;
    }
    value[COUNTER_OVERFLOW_RECORDS] += intake->metrics->overflowed + intake->budgets->overflowed;
    value[COUNTER_FAMILIES] = intake->metrics->family_count;
    value[COUNTER_SERIES] = intake->metrics->index.count;
    value[COUNTER_SET_VALUES] = intake->metrics->members.pool.kept;
    value[COUNTER_OPEN_SPANS] = intake->spans->open.count;
    value[COUNTER_CUT_OFF_SPANS] += intake->spans->cut_off;
    value[COUNTER_HELD_SPANS] = intake->spans->sampler.held;
    value[COUNTER_REFUSED_SPAN_SAMPLES] += intake->spans->refused_samples;
    value[COUNTER_BUDGET_EVENTS] += intake->spans->budget_events.made;
    value[COUNTER_BUDGET_EVENTS_SUPPRESSED] += intake->spans->budget_events.suppressed;
    value[COUNTER_PROCESSES] = intake->processes->count;
    value[COUNTER_LOG_LINES_LOST] = log_lost();
    value[COUNTER_UNLEDGERED_RECORDS] = intake->ledger->view.unledgered;
}

static void copy_counts(const struct intake *intake, struct growth_counts *counts)
{
    struct counters counters;
    copy_counters(intake, &counters);
    memcpy(counts->rejected, intake->rejected, sizeof counts->rejected);
    counts->dropped = intake->ledger->view.all.dropped;
    counts->lost = intake->ledger->view.all.lost;
    memcpy(counts->counters, counters.value, sizeof counts->counters);
}

void snapshot_begin_growth(struct intake *intake)
{
    struct growth_counts now;
    copy_counts(intake, &now);
    growth_begin(&intake->growth, &now);
}

void snapshot_look(struct intake *intake, uint64_t mono_ns)
{
    struct growth_counts now;
    copy_counts(intake, &now);
    growth_look(&intake->growth, &now, mono_ns);
}

int snapshot_take(struct intake *intake, const struct thresholds *thresholds, uint64_t mono_ns,
                  uint64_t wall_ns, struct snapshot **ret_snapshot)
{
    struct registry *registry = intake->registry;
    struct snapshot *snapshot = mem_zalloc(1, sizeof *snapshot);
    if (snapshot == NULL) {
        return ERR_NOMEM;
    }
    registry_set_time(registry, mono_ns, wall_ns);
    metrics_set_time(intake->metrics, mono_ns, wall_ns);
    int err = metrics_age(intake->metrics);
    err = err != 0 ? err : budgets_age(intake->budgets);
    if (err == 0) {
        err =
            registry_freeze(registry, &snapshot->models, &snapshot->model_count, &snapshot->epoch);
    }
    if (err != 0) {
        mem_free(snapshot);
        return err;
    }
    err = metrics_freeze(intake->metrics, &snapshot->metrics);
    if (err == 0) {
        err = budgets_freeze(intake->budgets, &snapshot->budgets);
    }
    if (err != 0) {
        snapshot_release(snapshot, registry);
        return err;
    }
    snapshot->mono_ns = mono_ns;
    snapshot->wall_ns = wall_ns;
    snapshot->slot = registry->slot;
    snapshot->window_ns = registry->options.window_ns;
    snapshot->max_samples = registry->options.max_samples;
    snapshot->thresholds = *thresholds;
    snapshot->machine = intake->judge == NULL ? machine_unknown : *intake->judge->machine;
    copy_counters(intake, &snapshot->counters);
    snapshot->ledger = intake->ledger->view;
    snapshot->accepted = intake->accepted;
    memcpy(snapshot->rejected, intake->rejected, sizeof snapshot->rejected);
    snapshot_look(intake, mono_ns);
    snapshot->grown_ns = intake->growth.grown_ns;
    *ret_snapshot = snapshot;
    return 0;
}

void snapshot_release(struct snapshot *snapshot, struct registry *registry)
{
    registry_release(registry, snapshot->epoch);
    /* The array is ours, the models in it are not. */
    mem_free((void *)(uintptr_t)snapshot->models);
    mem_free(snapshot->metrics.families);
    mem_free((void *)(uintptr_t)snapshot->budgets.layers); /* likewise */
    mem_free(snapshot);
}
