/*
 * The families of /metrics that belong to no model and no client: the service and the daemon's
 * own. They are few and change with every answer, so nothing is remembered. Any thread.
 */
#ifndef DWELL_RENDER_OWN_H
#define DWELL_RENDER_OWN_H

#include "render/exposition.h"

struct own {
    const struct snapshot *snapshot;
    const struct exposition_process *process;
    enum exposition_format format;
    const char *hash_label;    /* label of every series, rendered; empty: none */
    const char *target_labels; /* of target_info */
    const char *build_labels;  /* of dwelld_build_info */
};

void own_render(const struct own *own, struct buf *out);

#endif
