/*
 * A clock that a test moves: from own_clock_set on CLOCK_MONOTONIC of this thread stands still, until
 * own_clock_end. Other threads, such as the client's, keep the kernel's. What another thread would do
 * right after a reading can be put there. Defines clock_gettime, so a test program includes it once.
 */
#ifndef DWELL_TESTS_OWN_CLOCK_H
#define DWELL_TESTS_OWN_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Thread_local uint64_t own_clock_ns; /* 0: the kernel's */

/* Called once, after the next reading was taken and before it is returned. */
static _Thread_local void (*own_clock_then)(void *arg);
static _Thread_local void *own_clock_arg;

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    if (clock != CLOCK_MONOTONIC || own_clock_ns == 0) {
        return (int)syscall(SYS_clock_gettime, clock, ret_now);
    }
    ret_now->tv_sec = (time_t)(own_clock_ns / 1000000000U);
    ret_now->tv_nsec = (long)(own_clock_ns % 1000000000U);
    void (*then)(void *arg) = own_clock_then;
    own_clock_then = NULL;
    if (then != NULL) {
        then(own_clock_arg);
    }
    return 0;
}

static inline void own_clock_set(uint64_t ns)
{
    own_clock_ns = ns;
}

/* By ms that are whole ns, but for how doubles write them. */
static inline void own_clock_advance(double ms)
{
    own_clock_ns += (uint64_t)(ms * 1e6 + 0.5);
}

static inline void own_clock_end(void)
{
    own_clock_ns = 0;
}

#endif
