/*
 * The time budgets of a snapshot as the JSON of /api/v1/budgets (DESIGN.md, section 7). Numbers in full
 * precision, what is not known is null. Pure; any thread, one scratch for each thread.
 */
#ifndef DWELL_RENDER_JSON_BUDGETS_H
#define DWELL_RENDER_JSON_BUDGETS_H

#include "base/buf.h"
#include "core/budget_profile.h"

/* Appends it, a line end last; memory and ceiling are told by out->err. Elapsed and what follows from it
 * are the last record's, counts are since the start, quantiles and shares the window's. */
void json_render_budgets(const struct snapshot *snapshot, struct str constitutional_hash,
                         struct profile_scratch *scratch, struct buf *out);

#endif
