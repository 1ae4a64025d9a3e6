/*
 * Whether what clients write to ingest.sock is taken: one connection that asks for a flush, and with a
 * sample before it when the user wants one, as that stays. One thread, which waits.
 */
#ifndef DWELL_CLI_DOCTOR_TRIAL_H
#define DWELL_CLI_DOCTOR_TRIAL_H

#include "cli/finding.h"

#define DOCTOR_MODEL "dwell-doctor" /* of the sample */

/* Which line is sent before the flush, and who says it. */
struct doctor_trial {
    const char *path; /* of the socket */
    const char *hash; /* of the hello; NULL: no sample and no hello */
    double timeout;   /* seconds */
};

/* Tries, and adds a row. */
void doctor_try(const struct doctor_trial *trial, struct findings *findings);

/* The row for an answer, complete or not, that took so long; apart from the above for tests. */
void doctor_trial_judge(const struct doctor_trial *trial, struct str answer, double ms,
                        struct findings *findings);

#endif
