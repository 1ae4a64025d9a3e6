/*
 * Reads the one form of ISO 8601 that records bear: 2024-05-01T12:30:00.123456789+02:00.
 * It reads no weeks, ordinal dates or durations, and writes nothing. Any thread.
 */
#ifndef DWELL_WIRE_ISO8601_H
#define DWELL_WIRE_ISO8601_H

#include <stdint.h>

#include "base/str.h"

/* Nanoseconds since 1970 in UTC. The date and time are parted by T or one space; up to 9 digits of a
 * fraction may follow; then Z, an offset of hours and minutes, or nothing, which means UTC. Returns
 * 0, or ERR_RANGE when the text is not of this form, names no real moment, or lies before 1970 or
 * past 2^64 ns. A leap second is no moment here. */
int iso8601_read(struct str text, uint64_t *ret_wall_ns);

#endif
