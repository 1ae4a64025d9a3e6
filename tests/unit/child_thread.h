/*
 * What sanitizers can't do in the child of a process with several threads. TSan takes no thread there
 * whose stack was another's before. ASan's allocator may have been locked by another thread at the
 * fork, and stays so: whatever allocates waits for ever, and the start of a thread does. There, a child
 * sends by itself.
 */
#ifndef DWELL_TESTS_CHILD_THREAD_H
#define DWELL_TESTS_CHILD_THREAD_H

#include <stdbool.h>

extern const bool child_has_thread;

#endif
