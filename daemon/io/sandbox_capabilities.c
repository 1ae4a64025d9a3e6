/*
 * Happy path
 *   1. the bounding set is emptied: what a program that is executed could get
 *   2. the ambient set is emptied: what it would be handed
 *   3. the thread's own three sets are cut to what is kept
 *
 * What can fail: the bounding set takes CAP_SETPCAP to change. Who has not got it keeps it as it is, which
 * gives nothing: no_new_privs is set, and execve kills.
 */
#include "io/sandbox_capabilities.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORDS = _LINUX_CAPABILITY_U32S_3, WORD_BITS = 32 };

#define BIT(capability) (UINT64_C(1) << (capability))

static int exchange(long number, struct __user_cap_data_struct data[WORDS])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(number, &header, data) == 0 ? 0 : errno;
}

uint64_t sandbox_capabilities_get(void)
{
    struct __user_cap_data_struct data[WORDS] = {{0}};
    if (exchange(SYS_capget, data) != 0) {
        return 0;
    }
    return data[0].effective | (uint64_t)data[1].effective << WORD_BITS;
}

uint64_t sandbox_capabilities_to_look(uint64_t has)
{
    return (has & BIT(CAP_SYS_PTRACE)) == 0
               ? has
               : has & (BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH));
}

/* Of a number that the kernel does not know it says EINVAL: those behind it are unknown, too. */
static int empty_bounding_set(void)
{
    for (unsigned long number = 0; number < 64; number++) {
        if (prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0) {
            return errno == EINVAL || errno == EPERM ? 0 : errno;
        }
    }
    return 0;
}

/* A service manager may have taken the others away, and the call that does so, too. */
static bool has_no_others(const struct __user_cap_data_struct wanted[WORDS])
{
    struct __user_cap_data_struct has[WORDS] = {{0}};
    return exchange(SYS_capget, has) == 0 && memcmp(has, wanted, sizeof has) == 0;
}

int sandbox_capabilities_drop(uint64_t keep)
{
    struct __user_cap_data_struct data[WORDS] = {{0}};
    int reason = empty_bounding_set();
    if (reason == 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
        reason = errno == EINVAL ? 0 : errno; /* before Linux 4.3 there is none */
    }
    for (unsigned word = 0; word < WORDS; word++) {
        data[word].permitted = data[word].effective = (uint32_t)(keep >> word * WORD_BITS);
    }
    return reason == 0 && !has_no_others(data) ? exchange(SYS_capset, data) : reason;
}
