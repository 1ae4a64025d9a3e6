/*
 * The models of a snapshot in the order of names, for readers who look for one: /api and the report.
 * It renders nothing. Any thread.
 */
#ifndef DWELL_RENDER_ORDER_H
#define DWELL_RENDER_ORDER_H

#include "core/snapshot.h"

struct order {
    const struct model **models; /* owned, the models are the snapshot's; by name, then labels */
    uint32_t count;
};

/* All models, or with a name those that bear exactly it; the overflow model last of its name.
 * Returns 0 or ERR_NOMEM. */
int order_init(struct order *order, const struct snapshot *snapshot, const struct str *name);
void order_fini(struct order *order);

#endif
