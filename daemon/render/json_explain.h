/*
 * Why a model's verdict is what it is, as JSON: the evidence of its last round, and the arithmetic from
 * there to the label, step by step, so that a reader can redo it and a tool can print it line by line.
 * It computes nothing that core/shares did not. Pure; any thread.
 */
#ifndef DWELL_RENDER_JSON_EXPLAIN_H
#define DWELL_RENDER_JSON_EXPLAIN_H

#include "core/snapshot.h"
#include "render/json_write.h"

/* Puts "explanation": an object; null where no evidence was judged. */
void json_explain(struct json_writer *writer, const struct snapshot *snapshot,
                  const struct model *model);

#endif
