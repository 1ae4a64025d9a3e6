/*
 * Happy path
 *   1. a thread calls what is forbidden: the kernel sends it SIGSYS with the number
 *   2. the handler marks the number and counts
 *   3. it puts an error where the call's result is looked for, and the thread goes on
 *   4. the loop sees that the count has changed, takes the marked numbers and says their names
 *
 * What can fail: the thread blocks the signal. Then the kernel ends the process; threads of our own do
 * not block it (sandbox_denied_fill).
 *
 * A call that is newer than this file is answered ENOSYS, as by an older kernel: libraries have another way
 * for that, and none for EPERM.
 */
#include "io/sandbox_denied.h"

#include <errno.h>
#include <stdatomic.h>
#include <ucontext.h>

#include "io/sandbox_filter.h"

enum {
    BY_FILTER = 1,  /* si_code, the kernel's SYS_SECCOMP, which glibc does not name */
    NUMBERS = 1024, /* calls have numbers below 500; the highest stands for all above */
};

enum mark { MARK_NONE, MARK_NEW, MARK_TOLD };

static _Atomic unsigned char marks[NUMBERS]; /* enum mark */
static _Atomic uint64_t count;

/* Where the thread finds the result of its call. */
static void set_result(ucontext_t *thread, int result)
{
#if defined __x86_64__
    thread->uc_mcontext.gregs[REG_RAX] = result;
#elif defined __aarch64__
    thread->uc_mcontext.regs[0] = (unsigned long long)result;
#else
    (void)thread; /* no call comes here */
    (void)result;
#endif
}

static void on_forbidden(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    if (info->si_code != BY_FILTER) {
        return; /* somebody sent it */
    }
    int number = info->si_syscall;
    unsigned place = number < 0 || number >= NUMBERS ? NUMBERS - 1 : (unsigned)number;
    unsigned char none = MARK_NONE;
    (void)atomic_compare_exchange_strong(&marks[place], &none, MARK_NEW); /* or it is marked */
    (void)atomic_fetch_add(&count, 1); /* its old value; after the mark, which is looked for then */
    set_result(context, number > SANDBOX_NEWEST_CALL ? -ENOSYS : -EPERM);
}

int sandbox_denied_catch(void)
{
    struct sigaction action = {.sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO | SA_RESTART};
    (void)sigfillset(&action.sa_mask); /* fails for no set of our own */
    return sigaction(SIGSYS, &action, NULL) == 0 ? 0 : errno;
}

uint64_t sandbox_denied_count(void)
{
    return atomic_load(&count);
}

int sandbox_denied_next(void)
{
    for (int number = 0; number < NUMBERS; number++) {
        unsigned char fresh = MARK_NEW;
        if (atomic_compare_exchange_strong(&marks[number], &fresh, MARK_TOLD)) {
            return number;
        }
    }
    return -1;
}

void sandbox_denied_fill(sigset_t *ret_signals)
{
    (void)sigfillset(ret_signals);
    (void)sigdelset(ret_signals, SIGSYS); /* both fail for no set of our own */
}
