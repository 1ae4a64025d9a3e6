/*
 * How many records a datagram holds, for who drops it unread and says how much that was: much quicker
 * than to decode it. Nothing is judged: a bad record is one, too. One thread at a time.
 */
#ifndef DWELL_WIRE_RECORD_COUNT_H
#define DWELL_WIRE_RECORD_COUNT_H

#include <stddef.h>

#include "base/str.h"

/* Records in a batch, or lines that are not empty; up to where a batch is damaged. */
size_t record_count(struct str datagram);

#endif
