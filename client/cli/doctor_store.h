/*
 * What the daemon tells by /api/v1/status of what outlives it: whether the state is saved, and whether the
 * journal takes what clients want acknowledged. Pure.
 */
#ifndef DWELL_CLI_DOCTOR_STORE_H
#define DWELL_CLI_DOCTOR_STORE_H

#include <jansson.h>

#include "cli/finding.h"

/* `root`: the status. Nothing is said of what is not configured. */
void doctor_store_judge(const json_t *root, struct findings *findings);

#endif
