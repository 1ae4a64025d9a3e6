/*
 * Happy path
 *   1. the handler of refused calls is there before any is refused
 *   2. the filter, which the build has made (io/seccomp/make_filter.c), goes to the kernel for all threads
 *
 * What can fail: a kernel without seccomp, or one that does not take it. The caller says so.
 */
#include "io/sandbox_seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "io/sandbox_denied.h"
#include "io/sandbox_filter.h"

static int load(const struct sock_fprog *filter, unsigned flags)
{
    long failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, filter);
    return failed == 0  ? 0
           : failed < 0 ? errno
                        : ESRCH; /* the number of a thread that has another */
}

int sandbox_seccomp_apply(void)
{
    int reason = sandbox_denied_catch();
    return reason == 0 ? load(&sandbox_filter_for_all, SECCOMP_FILTER_FLAG_TSYNC) : reason;
}

int sandbox_seccomp_narrow(void)
{
    return load(&sandbox_filter_for_probe, 0);
}

void sandbox_seccomp_name(struct buf *out, int number)
{
    const char *name = sandbox_call_names;
    for (int i = 0; i < number && i < SANDBOX_NEWEST_CALL; i++) {
        name += strlen(name) + 1;
    }
    if (number < 0 || number > SANDBOX_NEWEST_CALL || name[0] == '\0') {
        buf_printf(out, "number %d", number);
    } else {
        buf_puts(out, name);
    }
}
