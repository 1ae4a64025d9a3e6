/*
 * What becomes of a call that the filter (io/sandbox_seccomp) forbids: the kernel makes it a signal, the
 * handler remembers its number and answers as if the kernel had refused it. The thread goes on.
 * It does not decide what is forbidden, and writes no log.
 *
 * Two designs were weighed: the kernel refuses by itself, or kills. By itself it would do so unseen, and a
 * library that took another way than before would be a riddle; killed, every new version of a library would
 * be an outage. What no library has a reason to call kills all the same: see the filter.
 */
#ifndef DWELL_IO_SANDBOX_DENIED_H
#define DWELL_IO_SANDBOX_DENIED_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether the handler can answer on this processor; else the kernel refuses by itself. */
#if defined __x86_64__ || defined __aarch64__
#define SANDBOX_DENIED_CAN_ANSWER true
#else
#define SANDBOX_DENIED_CAN_ANSWER false
#endif

/* Starts catching. Before there is a filter. Returns 0 or an errno value. */
int sandbox_denied_catch(void);

/* All calls that were forbidden so far. Any thread. */
uint64_t sandbox_denied_count(void);

/* A number that was forbidden and not given by this function before; -1: none is left. One thread. */
int sandbox_denied_next(void);

/* All signals but that one: a thread that blocked it would be killed. */
void sandbox_denied_fill(sigset_t *ret_signals);

#endif
