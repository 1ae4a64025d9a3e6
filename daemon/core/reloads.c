#include "core/reloads.h"

#include <string.h>

#include "base/mem.h"

const char *const reload_outcome_words[RELOAD_OUTCOME_COUNT] = {
#define X(code, word) word,
    RELOAD_OUTCOME_TABLE(X)
#undef X
};

static void forget_report(struct reloads *reloads, struct limbo *limbo)
{
    if (reloads->report != NULL) {
        /* Snapshots may read it on; whoever frees it may write to it. */
        limbo_retire(limbo, (struct block *)(uintptr_t)&reloads->report->block);
        reloads->report = NULL;
    }
}

static const struct reload_report *new_report(struct str text, const struct limbo *limbo)
{
    struct reload_report *report = text.len == 0 ? NULL : mem_alloc(sizeof *report + text.len);
    if (report != NULL) {
        report->block.epoch = limbo->epoch;
        report->len = text.len;
        memcpy(report->text, text.ptr, text.len);
    }
    return report;
}

void reloads_add(struct reloads *reloads, enum reload_outcome outcome, struct str report,
                 struct limbo *limbo, uint64_t wall_ns)
{
    forget_report(reloads, limbo);
    reloads->count[outcome]++;
    reloads->last = outcome;
    reloads->last_wall_ns = wall_ns;
    reloads->report = new_report(report, limbo);
}

void reloads_fini(struct reloads *reloads, struct limbo *limbo)
{
    forget_report(reloads, limbo);
}
