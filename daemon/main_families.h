/*
 * From the families that the configuration declares to the registry that keeps them: conf and core do
 * not know each other. Called once, at the start.
 */
#ifndef DWELL_MAIN_FAMILIES_H
#define DWELL_MAIN_FAMILIES_H

#include "conf_families.h"
#include "core/metrics.h"

/* Declares all, and starts the series that are known before anybody counts in them. Returns 0, or an
 * error and in *ret_name whose it is: ERR_CONFLICT for a name that the daemon's own metrics have. */
int families_declare(struct metrics *metrics, const struct conf_families *families,
                     const char **ret_name);

#endif
