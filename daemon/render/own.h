/*
 * The families of /metrics that belong to no model: the service, its violations, and the daemon's
 * own. They are few and change with every answer, so nothing is remembered. Any thread.
 */
#ifndef DWELL_RENDER_OWN_H
#define DWELL_RENDER_OWN_H

#include "render/exposition.h"

struct own {
    const struct snapshot *snapshot;
    const struct exposition_process *process;
    enum exposition_format format;
    struct str prefix;        /* the namespace and an underscore, or nothing */
    const char *hash_label;   /* label of every series, rendered; empty: none */
    const char *info_labels;  /* of service_info */
    const char *build_labels; /* of dwelld_build_info */
};

void own_render(const struct own *own, struct buf *out);

#endif
