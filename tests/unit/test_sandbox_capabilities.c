/* Capabilities as the kernel says that a child has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "in_child.h"
#include "io/sandbox_capabilities.h"

enum { LINE_BYTES = 256 };

#define BIT(capability) (UINT64_C(1) << (capability))

/* A set of /proc/self/status, "CapBnd:"; UINT64_MAX when it is not there. */
static uint64_t shown(const char *name)
{
    char line[LINE_BYTES];
    uint64_t set = UINT64_MAX;
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            set = strtoull(line + strlen(name), NULL, 16);
        }
    }
    if (file != NULL) {
        (void)fclose(file); /* was only read */
    }
    return set;
}

static int drop(const void *arg)
{
    uint64_t had = sandbox_capabilities_get();
    uint64_t bounding = shown("CapBnd:");
    uint64_t keep = *(const uint64_t *)arg & had;
    CHILD_EXPECTS(had == shown("CapEff:"));
    CHILD_EXPECTS(sandbox_capabilities_drop(keep) == 0);
    CHILD_EXPECTS(sandbox_capabilities_get() == keep);
    CHILD_EXPECTS(shown("CapEff:") == keep && shown("CapPrm:") == keep);
    CHILD_EXPECTS(shown("CapInh:") == 0 && shown("CapAmb:") == 0);
    CHILD_EXPECTS(shown("CapBnd:") == ((had & BIT(CAP_SETPCAP)) != 0 ? 0 : bounding));
    return 0;
}

static void test_sandbox_capabilities_go_but_for_what_is_kept(void **state)
{
    (void)state;
    const uint64_t sets[] = {0, BIT(CAP_SYS_PTRACE), BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_OVERRIDE),
                             UINT64_MAX};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        assert_int_equal(in_child(drop, &sets[i]), 0);
    }
}

static int drop_twice(const void *arg)
{
    (void)arg;
    CHILD_EXPECTS(sandbox_capabilities_drop(0) == 0);
    CHILD_EXPECTS(sandbox_capabilities_drop(0) == 0);
    CHILD_EXPECTS(sandbox_capabilities_drop(BIT(CAP_CHOWN)) != 0); /* what is gone is gone */
    CHILD_EXPECTS(sandbox_capabilities_get() == 0);
    return 0;
}

static void test_sandbox_capabilities_do_not_come_back(void **state)
{
    (void)state;
    assert_int_equal(in_child(drop_twice, NULL), 0);
}

static void test_sandbox_capabilities_to_look_are_few_or_all(void **state)
{
    (void)state;
    const uint64_t looks = BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH);
    const uint64_t others = BIT(CAP_CHOWN) | BIT(CAP_NET_RAW) | BIT(CAP_DAC_OVERRIDE);
    const struct {
        uint64_t has, keeps;
    } rows[] = {
        {0, 0},
        {UINT64_MAX, looks},
        {BIT(CAP_SYS_PTRACE), BIT(CAP_SYS_PTRACE)},
        {others | BIT(CAP_SYS_PTRACE), BIT(CAP_SYS_PTRACE) | BIT(CAP_DAC_OVERRIDE)},
        {others, others}, /* as in a container: its processes show themselves to who has as much */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(sandbox_capabilities_to_look(rows[i].has) == rows[i].keeps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox_capabilities_go_but_for_what_is_kept),
        cmocka_unit_test(test_sandbox_capabilities_do_not_come_back),
        cmocka_unit_test(test_sandbox_capabilities_to_look_are_few_or_all),
    };
    return cmocka_run_group_tests_name("sandbox_capabilities", tests, NULL, NULL);
}
