/*
 * Samples from the command line as the lines that the daemon takes. Pure.
 *
 *     dwell send resnet50 12.5 13.1 cpu_percent_during=80 labels.region=eu
 *     {"model_name":"resnet50","execution_time_ms":12.5,"cpu_percent_during":80,"labels":{"region":"eu"}}
 *     {"model_name":"resnet50","execution_time_ms":13.1,…}
 */
#ifndef DWELL_CLI_RECORD_H
#define DWELL_CLI_RECORD_H

#include "base/buf.h"

/* Appends a line for each time. Which keys a sample has is known here; whether a value is good is the
 * daemon's to judge. 0; or EX_USAGE, EX_OSERR with the reason in `problem`. */
int record_samples(int count, char *const *operands, struct buf *out, struct buf *problem);

/* The line that opens a connection: who speaks, and by which hash. */
void record_hello(const char *hash, struct buf *out);

#endif
