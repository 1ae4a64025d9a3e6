/*
 * The families of /metrics that belong to no model and no client: the service and the daemon's
 * own, in one format. They are few and change with every answer, so nothing is remembered but labels
 * that never change. One thread owns it; the snapshot may be any thread's.
 */
#ifndef DWELL_RENDER_OWN_H
#define DWELL_RENDER_OWN_H

#include "render/form.h"

struct own;

struct own_options {
    const struct form *form;
    struct str
        hash; /* label constitutional_hash of every series, or empty; borrowed for its life */
    const struct label *resource; /* what target_info says; names are sanitised */
    uint32_t resource_count;
    struct str version; /* the daemon's; borrowed for its life */
};

/* NULL without memory. */
struct own *own_new(const struct own_options *options);
void own_free(struct own *own);

/* Appends all families; without `process` those that the snapshot tells. Returns 0 or an error, which
 * is not always in out->err. */
int own_render(struct own *own, const struct snapshot *snapshot,
               const struct exposition_process *process, struct buf *out);

#endif
