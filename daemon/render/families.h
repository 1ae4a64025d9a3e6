/*
 * The families of clients on /metrics, in one format. It remembers the samples of each page of
 * series, so that an answer in which few series changed is mostly copying.
 * It does not know models or the daemon's own families. One thread owns it; the view may be any
 * thread's.
 */
#ifndef DWELL_RENDER_FAMILIES_H
#define DWELL_RENDER_FAMILIES_H

#include "render/form.h"

struct families;

struct families_options {
    const struct form *form;
    struct str
        hash; /* label constitutional_hash of every series, or empty; borrowed for its life */
    bool created_series; /* where the format tells by a series when another began */
};

/* NULL without memory. */
struct families *families_new(const struct families_options *options);
void families_free(struct families *families);

/* Appends all families. Returns 0 or an error, which is not always in out->err; what was appended is
 * then of no use, and the families are as good as before. */
int families_render(struct families *families, const struct metrics_view *view, struct buf *out);

#endif
