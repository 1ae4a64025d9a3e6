/*
 * Which system calls the daemon makes: a filter in the kernel that knows them by name. It says nothing
 * about files and ports, which numbers in registers do not tell: see io/sandbox_landlock.
 *
 *     in the list                      done
 *     an intruder's (execve, ptrace)   the process is killed
 *     what libraries do without        ENOSYS, as by a kernel that has not got it
 *     any other                        EPERM, counted, and said once (io/sandbox_denied)
 */
#ifndef DWELL_IO_SANDBOX_SECCOMP_H
#define DWELL_IO_SANDBOX_SECCOMP_H

#include "base/buf.h"

/* Puts the filter on every thread of the process; those to come inherit it. no_new_privs must be set.
 * Returns 0 or an errno value: nothing is filtered then. */
int sandbox_seccomp_apply(void);

/* On top of that, for the calling thread alone: no sockets, and no file is made, named, cut or removed; for
 * the probe, which reads /proc and writes to what it finds there. Returns 0 or an errno value. */
int sandbox_seccomp_narrow(void);

/* Appends the name of a call. */
void sandbox_seccomp_name(struct buf *out, int number);

#endif
