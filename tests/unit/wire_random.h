/*
 * Random numbers for tests: reproducible from the seed that the test prints.
 * splitmix64, from Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
 */
#ifndef DWELL_TESTS_WIRE_RANDOM_H
#define DWELL_TESTS_WIRE_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct wire_random {
    uint64_t state;
};

/* $DWELL_TEST_SEED, or the time. Prints which. */
static inline struct wire_random wire_random_start(const char *test)
{
    const char *given = getenv("DWELL_TEST_SEED");
    struct timespec now = {0, 0};
    (void)timespec_get(&now, TIME_UTC); /* any value will do */
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10)
                                  : (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    printf("%s: DWELL_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    return (struct wire_random){seed};
}

static inline uint64_t wire_random_next(struct wire_random *random)
{
    uint64_t mixed = random->state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

/* 0 … limit - 1; the small bias does not matter here. */
static inline size_t wire_random_below(struct wire_random *random, size_t limit)
{
    return (size_t)(wire_random_next(random) % limit);
}

#endif
