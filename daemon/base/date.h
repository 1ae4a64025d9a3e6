/*
 * A moment as people write it, in UTC. It reads no clock and knows no time zones. Any thread.
 */
#ifndef DWELL_BASE_DATE_H
#define DWELL_BASE_DATE_H

#include <stdint.h>

struct date {
    unsigned year, month, day; /* months and days from 1 */
    unsigned hour, minute, second;
};

/* The moment so many nanoseconds after the beginning of 1970. */
struct date date_of(uint64_t wall_ns);

#endif
