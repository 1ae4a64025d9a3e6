/*
 * What the decisions on all models come to, in words that the report and /api/v1/decision share. It walks
 * over no models and lays nothing out. Pure; any thread.
 */
#ifndef DWELL_RENDER_DECISION_H
#define DWELL_RENDER_DECISION_H

#include "base/buf.h"
#include "core/profile.h"

enum { DECISION_REASONS_MAX = 5 }; /* models that are named before the rest is only counted */

struct decision_counts {
    uint32_t of[GPU_COUNT];
    uint32_t to_do[GPU_ACTION_COUNT]; /* models for which it would help to do so */
};

void decision_count(struct decision_counts *counts, const struct profile *profile);

/* That were counted. */
uint32_t decision_models(const struct decision_counts *counts);

/* "EVALUATE_GPU" when a GPU would help any of them, else "KEEP_CPU". */
const char *decision_overall(const struct decision_counts *counts);

/* Appends "2 models are better off on the CPU" and the like; nothing for none of them, or for GPU_YES. */
void decision_put_group(const struct decision_counts *counts, enum gpu_decision decision,
                        struct buf *out);

#endif
