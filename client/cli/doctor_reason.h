/*
 * What is to be done about records that are rejected for a reason. Pure.
 */
#ifndef DWELL_CLI_DOCTOR_REASON_H
#define DWELL_CLI_DOCTOR_REASON_H

/* A sentence; of a reason that this tool does not know, where to read more. */
const char *doctor_reason_mend(const char *reason);

#endif
