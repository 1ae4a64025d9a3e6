/*
 * What the daemon tells of its exports by /api/v1/status: whether each signal goes out, what was dropped
 * and why, and how full the spool is. Pure.
 */
#ifndef DWELL_CLI_DOCTOR_EXPORT_H
#define DWELL_CLI_DOCTOR_EXPORT_H

#include <jansson.h>

#include "cli/finding.h"

/* `root`: the status. */
void doctor_export_judge(const json_t *root, struct findings *findings);

#endif
