/*
 * The table of time budgets at the end of the report: over the window, what the layers of a request took,
 * how often that was more than they have, and whose the time was. Pure; any thread, one scratch for each.
 */
#ifndef DWELL_RENDER_REPORT_BUDGETS_H
#define DWELL_RENDER_REPORT_BUDGETS_H

#include "base/buf.h"
#include "core/budget_profile.h"

/* Appends it; nothing while the window holds no budget record. */
void report_put_budgets(const struct snapshot *snapshot, struct profile_scratch *scratch,
                        struct buf *out);

#endif
