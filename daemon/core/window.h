/*
 * The sliding window that models and sets look back on: so many equal stretches of time, the present
 * one the last of them. It has no clock: the caller says what time it is. Pure; any thread.
 *
 *     slot      …  7    8    9    10   11   12        the present one is 12
 *                |<--------- window --------->|
 */
#ifndef DWELL_CORE_WINDOW_H
#define DWELL_CORE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum { WINDOW_SLOTS = 6 };

/* The stretch of time that a monotonic time belongs to. Counted from WINDOW_SLOTS, so that what is said
 * to be of slot 0 is always over. */
static inline uint64_t window_slot(uint64_t mono_ns, uint64_t slot_ns)
{
    return mono_ns / slot_ns + WINDOW_SLOTS;
}

/* Whether what happened in a slot is still in the window that ends with the present one. */
static inline bool window_holds(uint64_t slot, uint64_t present)
{
    return slot + WINDOW_SLOTS > present;
}

#endif
