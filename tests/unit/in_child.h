/*
 * What cannot be undone is done in a child: it acts, and how it ended is the answer. It tests nothing.
 * One thread at a time.
 */
#ifndef DWELL_TESTS_IN_CHILD_H
#define DWELL_TESTS_IN_CHILD_H

/* Runs `act` in a child and waits for it. Returns what `act` returned, 0 to 255, or minus the signal that
 * ended it. `act` may not assert: a child has nobody to tell. */
int in_child(int (*act)(const void *arg), const void *arg);

/* Where the next of a child's facts would be wrong: what it returns, from 1. A child that finds all
 * good returns 0. */
#define CHILD_EXPECTS(fact)                                                                        \
    do {                                                                                           \
        if (!(fact)) {                                                                             \
            return __LINE__ % 255 + 1;                                                             \
        }                                                                                          \
    } while (0)

#endif
