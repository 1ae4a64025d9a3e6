/*
 * Chooses the format of a connection or datagram from its first bytes (proto/WIRE.md, "Choosing").
 * It keeps no state: the caller shows it all bytes that have come so far. Any thread.
 */
#ifndef DWELL_WIRE_SNIFF_H
#define DWELL_WIRE_SNIFF_H

#include <stdbool.h>

#include "base/str.h"

enum wire_format {
    WIRE_UNDECIDED, /* more bytes are needed */
    WIRE_FRAMES,    /* "DWL1" and then length-prefixed batches */
    WIRE_NDJSON,
    WIRE_STATSD,        /* lines */
    WIRE_STATSD_FRAMES, /* length-prefixed payloads of lines */
    WIRE_UNKNOWN,       /* to be refused with ERR_FORMAT */
    WIRE_FORMAT_COUNT
};

enum { WIRE_MAGIC_BYTES = 4 };
#define WIRE_MAGIC "DWL1"

/* `final`: no more bytes will be waited for (end of input, one second went by), so the answer is never
 * WIRE_UNDECIDED. An empty final input is WIRE_NDJSON: nothing to do. */
enum wire_format sniff_stream(struct str first, bool final);
enum wire_format sniff_datagram(struct str datagram);

#endif
