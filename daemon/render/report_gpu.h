/*
 * What the report says of GPUs beside its table: of each model the figures that decided and the estimate,
 * and of all what to do to know more. Pure; any thread.
 */
#ifndef DWELL_RENDER_REPORT_GPU_H
#define DWELL_RENDER_REPORT_GPU_H

#include "base/buf.h"
#include "render/decision.h"

/* Appends lines of a model's block; none when the verdict above has said all of it. */
void report_put_gpu(const struct profile *profile, struct buf *out);

/* Appends TO DO with a line for each action; nothing when there is none. */
void report_put_actions(const struct decision_counts *counts, struct buf *out);

#endif
