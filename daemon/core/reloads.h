/*
 * What became of reloads of the configuration: how many ended how, and what was said of the last one.
 * It reloads nothing. The loop thread writes; a snapshot carries a copy, whose report any thread may read.
 */
#ifndef DWELL_CORE_RELOADS_H
#define DWELL_CORE_RELOADS_H

#include "base/str.h"
#include "core/limbo.h"

/* code, word */
#define RELOAD_OUTCOME_TABLE(X)                                                                    \
    X(APPLIED, "applied")             /* all of it is in force */                                  \
    X(NEEDS_RESTART, "needs_restart") /* all but what cannot change while running */               \
    X(REFUSED, "refused")             /* nothing has changed */

enum reload_outcome {
#define X(code, word) RELOAD_##code,
    RELOAD_OUTCOME_TABLE(X)
#undef X
        RELOAD_OUTCOME_COUNT
};

extern const char *const reload_outcome_words[RELOAD_OUTCOME_COUNT];

/* Lines, as they are in the log. Never changes. */
struct reload_report {
    struct block block;
    size_t len;
    char text[];
};

struct reloads {
    uint64_t count[RELOAD_OUTCOME_COUNT];
    enum reload_outcome last; /* meaningless until there was one */
    uint64_t last_wall_ns;    /* 0: there was none */
    const struct reload_report
        *report; /* of the last; NULL: nothing was to be said, or no memory */
};

void reloads_add(struct reloads *reloads, enum reload_outcome outcome, struct str report,
                 struct limbo *limbo, uint64_t wall_ns);

/* Before the limbo ends. */
void reloads_fini(struct reloads *reloads, struct limbo *limbo);

#endif
