/*
 * The form of a file of the spool: a header in front of one request as it is sent. Every number has
 * its lowest byte first, so that a directory can be carried to another machine.
 *
 *      0  "dwspool\n"    8 bytes
 *      8  version        4
 *     12  signal         4   enum spool_signal
 *     16  count          8   spans or points of the request; at most its length
 *     24  length         8   of the request
 *     32  XXH3 of the request      8
 *     40  XXH3 of the 40 bytes before it
 *     48  the request
 *
 * It opens no files. Pure; any thread.
 */
#ifndef DWELL_EXPORT_SPOOL_FILE_H
#define DWELL_EXPORT_SPOOL_FILE_H

#include <stdint.h>

#include "base/str.h"

enum {
    SPOOL_FILE_VERSION = 1,
    SPOOL_HEADER_BYTES = 48,
    SPOOL_REQUEST_MAX = 64 << 20, /* bytes; the ceiling of opentelemetry-proto */
};

enum spool_signal { SPOOL_TRACES = 1, SPOOL_METRICS = 2 };

struct spool_header {
    uint32_t signal; /* enum spool_signal in files that were not forged */
    uint64_t count;
    uint64_t length;
    uint64_t hash; /* spool_file_hash of the request */
};

uint64_t spool_file_hash(struct str bytes);

void spool_file_write(const struct spool_header *header, char out[SPOOL_HEADER_BYTES]);

/* Returns 0; ERR_SYNTAX for what was never a header or has been changed since, or says what cannot
 * be; ERR_UNSUPPORTED for one of another version. */
int spool_file_read(const char bytes[SPOOL_HEADER_BYTES], struct spool_header *ret_header);

#endif
