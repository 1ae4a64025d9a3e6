/*
 * The families of models on /metrics, in one format. It remembers the samples of each model, so that
 * an answer in which few models changed is mostly copying.
 * It does not know what a model's samples are (render/series does), nor other families. One thread
 * owns it; the snapshot may be any thread's.
 */
#ifndef DWELL_RENDER_MODELS_H
#define DWELL_RENDER_MODELS_H

#include "render/label.h"
#include "render/series.h"

struct models;

/* All borrowed, for its life. */
struct models_options {
    const struct form *form;
    const struct series_style *style;
    const struct label_names *names;
    struct str hash; /* label constitutional_hash of every series; empty: none */
};

/* NULL without memory. */
struct models *models_new(const struct models_options *options);
void models_free(struct models *models);

/* Appends all families. Returns 0 or an error, which is not always in out->err; what was appended is
 * then of no use, and the models are as good as before. Snapshots of one registry only; one that is
 * older than the last shows the models that came since too, with their later figures. */
int models_render(struct models *models, const struct snapshot *snapshot,
                  struct profile_scratch *scratch, struct buf *out);

#endif
