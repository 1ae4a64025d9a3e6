/*
 * From the families that the configuration declares to the registry that keeps them: conf and core do
 * not know each other. Called at the start and at reloads.
 */
#ifndef DWELL_MAIN_FAMILIES_H
#define DWELL_MAIN_FAMILIES_H

#include "conf/families.h"
#include "core/metrics.h"

/* Declares all, and starts the series that are known before anybody counts in them. Returns 0, or an
 * error and in *ret_name whose it is: ERR_CONFLICT for a name that the daemon's own metrics have. */
int families_declare(struct metrics *metrics, const struct conf_families *families,
                     const char **ret_name);

/* All borrowed. */
struct families_change {
    struct metrics *metrics;
    struct conf_families *in_force;
    struct conf_families *fresh;
    struct buf *errors;  /* a line for each reason to refuse */
    struct buf *fixed;   /* a line for each thing that needs a restart */
    size_t *fixed_count; /* of those */
};

/* Declares what is new, and moves it from `fresh` to `in_force`. Families that are no longer declared stay.
 * Returns 0; ERR_CONFLICT or ERR_NAME when something must be refused, and then nothing has changed;
 * ERR_LIMIT or ERR_NOMEM half way: what is declared by then stays so, without a series of anybody's. */
int families_change(const struct families_change *change);

#endif
