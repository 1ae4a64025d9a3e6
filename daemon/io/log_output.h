/*
 * Where lines of the log go: to a descriptor that others read, or do not, without ever waiting for them.
 * It knows nothing of lines. Any thread.
 */
#ifndef DWELL_IO_LOG_OUTPUT_H
#define DWELL_IO_LOG_OUTPUT_H

#include "base/log.h"

/* A log_output_fn: all of it or nothing. A file is written to as it is, which waits for nobody. */
bool log_output(int fd, const char *line, size_t len);

#endif
