/*
 * Whether a GPU would help the models of a snapshot, as the JSON of /api/v1/decision (DESIGN.md, section
 * 7): the whole in a word, why, what to do, each model with its estimate, and the constants that it is
 * from. Numbers in full precision, what is not known is null. Pure; any thread, one scratch for each
 * thread.
 */
#ifndef DWELL_RENDER_JSON_DECISION_H
#define DWELL_RENDER_JSON_DECISION_H

#include "base/buf.h"
#include "core/profile.h"

/* Appends it, a line end last; memory and ceiling are told by out->err. Models without a sample since their
 * reset are left out. */
void json_render_decision(const struct snapshot *snapshot, struct profile_scratch *scratch,
                          struct buf *out);

#endif
