/*
 * Whether something counted is news: what was lost hours ago is no reason for a warning now, or a daemon
 * would never be well again. Pure.
 */
#ifndef DWELL_CLI_DOCTOR_LATELY_H
#define DWELL_CLI_DOCTOR_LATELY_H

#include <jansson.h>

#include "cli/finding.h"

enum { DOCTOR_LATELY_S = 300 }; /* of cron jobs and health checks one looks in this time */

/* `path`: of a count that is not 0, as the status has it in seconds_since: "rejected.bad_syntax", "lost",
 * "counters.unknown_keys_total". True when it grew within DOCTOR_LATELY_S, or an older daemon does not
 * tell; else when it last did is said in the row. */
bool doctor_is_lately(const json_t *root, const char *path, struct finding *finding);

#endif
