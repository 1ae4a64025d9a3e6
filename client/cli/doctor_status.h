/*
 * What the daemon tells of itself by /api/v1/status, and whether it is well. Pure; what an older daemon
 * does not tell is not judged.
 */
#ifndef DWELL_CLI_DOCTOR_STATUS_H
#define DWELL_CLI_DOCTOR_STATUS_H

#include <jansson.h>

#include "cli/finding.h"

/* `wall_seconds`: what our clock shows. */
void doctor_status_judge(const json_t *root, double wall_seconds, struct findings *findings);

#endif
