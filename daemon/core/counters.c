#include "core/counters.h"

const uint64_t timing_bounds_ns[TIMING_BOUNDS] = {100000,  500000,   1000000,
                                                  2000000, 10000000, 100000000};

void timing_add(struct timing *timing, uint64_t ns)
{
    unsigned at = 0;
    while (at < TIMING_BOUNDS && ns > timing_bounds_ns[at]) {
        at++;
    }
    timing->bucket[at]++;
    timing->count++;
    timing->sum_ns += ns;
    timing->max_ns = ns > timing->max_ns ? ns : timing->max_ns;
}
