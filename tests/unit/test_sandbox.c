/* The parts of the sandbox together, in a child each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "in_child.h"
#include "io/sandbox.h"
#include "io/sandbox_capabilities.h"
#include "io/system.h"

enum {
    TEXT_BYTES = 4096,
    LAYERS_AT_MOST = 64, /* Linux takes 16 */
    FAILED = 100,
};

static const struct sandbox_place places[] = {{"/proc", false}};
static const struct sandbox_ports no_ports = {.count = 0};
static struct sandbox sandbox;
static struct counters counters;
static uv_loop_t loop;

static int begin_and_finish(const struct sandbox_options *options)
{
    struct buf problem;
    buf_init(&problem, TEXT_BYTES);
    int err = sandbox_begin(&sandbox, options, &problem);
    if (err == 0) {
        err = sandbox_finish(&sandbox, places, 1, &no_ports, &problem);
    }
    CHILD_EXPECTS((err == 0) == (problem.len == 0)); /* what fails says why */
    buf_fini(&problem);
    return err == 0 ? 0 : 1;
}

static bool is(enum sandbox_fact fact, const char *words)
{
    return strcmp(sandbox_fact(&sandbox, fact), words) == 0;
}

static bool can_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)close(fd);
    }
    return fd >= 0;
}

static int be_on(const void *arg)
{
    const struct sandbox_options options = {.seccomp = SANDBOX_ON, .landlock = SANDBOX_ON};
    (void)arg;
    CHILD_EXPECTS(begin_and_finish(&options) == 0);
    CHILD_EXPECTS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHILD_EXPECTS(sandbox_capabilities_get() == 0);
    CHILD_EXPECTS(listen(-1, 1) < 0 && errno == EPERM);
    CHILD_EXPECTS(can_open("/proc/self/stat") && !can_open("/etc/passwd"));
    CHILD_EXPECTS(is(SANDBOX_PRIVILEGES, "none") && is(SANDBOX_CAPABILITIES, "none"));
    CHILD_EXPECTS(is(SANDBOX_CALLS, "filtered"));
    CHILD_EXPECTS(strncmp(sandbox_fact(&sandbox, SANDBOX_FILES), "confined", 8) == 0);
    CHILD_EXPECTS(!sandbox_wants_probe_first(&sandbox)); /* there is none */
    return 0;
}

static int be_off(const void *arg)
{
    const struct sandbox_options options = {.seccomp = SANDBOX_OFF, .landlock = SANDBOX_OFF};
    (void)arg;
    CHILD_EXPECTS(begin_and_finish(&options) == 0);
    CHILD_EXPECTS(listen(-1, 1) < 0 && errno == EBADF);
    CHILD_EXPECTS(can_open("/etc/passwd"));
    CHILD_EXPECTS(is(SANDBOX_CALLS, "off") && is(SANDBOX_FILES, "off"));
    CHILD_EXPECTS(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && sandbox_capabilities_get() == 0);
    return 0;
}

/* A thread is confined so often that the kernel does not take one more set of rules. */
static int be_without_landlock(const void *arg)
{
    const struct sandbox_options options = {.seccomp = SANDBOX_OFF,
                                            .landlock = *(const enum sandbox_choice *)arg};
    unsigned times = 0;
    CHILD_EXPECTS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    while (times < LAYERS_AT_MOST && sandbox_landlock_apply(1, places, 1, &no_ports) == 0) {
        times++;
    }
    CHILD_EXPECTS(times > 0 && times < LAYERS_AT_MOST);
    int failed = begin_and_finish(&options);
    CHILD_EXPECTS(strncmp(sandbox_fact(&sandbox, SANDBOX_FILES), "off: ", 5) == 0);
    return failed == 0 ? 0 : FAILED;
}

static void must_have_landlock(void)
{
    if (sandbox_landlock_version() == 0) {
        print_message("skipped: this kernel has no Landlock\n");
        skip();
    }
}

static void test_sandbox_that_is_on(void **state)
{
    (void)state;
    must_have_landlock();
    assert_int_equal(in_child(be_on, NULL), 0);
}

static void test_sandbox_that_is_off_leaves_calls_and_files(void **state)
{
    (void)state;
    assert_int_equal(in_child(be_off, NULL), 0);
}

static void test_sandbox_that_cannot_be_had_ends_the_start_or_is_said(void **state)
{
    (void)state;
    const enum sandbox_choice automatic = SANDBOX_AUTO;
    const enum sandbox_choice on = SANDBOX_ON;
    must_have_landlock();
    assert_int_equal(in_child(be_without_landlock, &automatic), 0);
    assert_int_equal(in_child(be_without_landlock, &on), FAILED);
}

/* --- the probe --------------------------------------------------------------------------------- */

static void *be_probe(void *answer)
{
    sandbox_enter_probe(&sandbox);
    bool is_narrow = open("/dev/null", O_RDWR | O_CLOEXEC) < 0 && errno == EPERM;
    bool is_free = can_open("/etc/passwd");
    *(int *)answer = is_narrow && is_free && sandbox_capabilities_get() == sandbox.kept ? 0 : 1;
    return NULL;
}

static int have_probe(const void *arg)
{
    struct sandbox_options options = {
        .seccomp = SANDBOX_ON, .landlock = SANDBOX_ON, .probes = true};
    struct buf problem;
    pthread_t thread;
    int answer = 1;
    options.probe_capabilities = *(const bool *)arg;
    uint64_t had = sandbox_capabilities_get();
    buf_init(&problem, TEXT_BYTES);
    CHILD_EXPECTS(sandbox_begin(&sandbox, &options, &problem) == 0);
    CHILD_EXPECTS(sandbox.kept ==
                  (options.probe_capabilities ? sandbox_capabilities_to_look(had) : 0));
    CHILD_EXPECTS(sandbox_wants_probe_first(&sandbox));
    CHILD_EXPECTS(pthread_create(&thread, NULL, be_probe, &answer) == 0);
    CHILD_EXPECTS(sandbox_finish(&sandbox, places, 1, &no_ports, &problem) == 0);
    CHILD_EXPECTS(pthread_join(thread, NULL) == 0 && answer == 0);
    CHILD_EXPECTS(!can_open("/etc/passwd") && sandbox_capabilities_get() == 0);
    CHILD_EXPECTS(
        is(SANDBOX_CAPABILITIES, sandbox.kept == 0 ? "none" : "none, but for the probe's"));
    CHILD_EXPECTS(strstr(sandbox_fact(&sandbox, SANDBOX_FILES), ", but for the probe's") != NULL);
    return 0;
}

static void test_sandbox_of_the_probe_is_another(void **state)
{
    (void)state;
    must_have_landlock();
    for (int keeps = 0; keeps <= 1; keeps++) {
        const bool choice = keeps == 1;
        assert_int_equal(in_child(have_probe, &choice), 0);
    }
}

/* --- what was forbidden ------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

/* Turns of the loop until nothing is left to do. */
static int turn(void)
{
    uv_timer_t timer;
    CHILD_EXPECTS(uv_timer_init(&loop, &timer) == 0);
    CHILD_EXPECTS(uv_timer_start(&timer, on_timer, 1, 0) == 0);
    return uv_run(&loop, UV_RUN_DEFAULT);
}

static int be_watched(const void *arg)
{
    static char text[TEXT_BYTES];
    const struct sandbox_options options = {.seccomp = SANDBOX_ON, .landlock = SANDBOX_OFF};
    int file = memfd_create("log", MFD_CLOEXEC);
    (void)arg;
    log_init(&(struct log_options){
        .fd = file, .level = LOG_LEVEL_INFO, .hash = "h", .clock = system_clock()});
    CHILD_EXPECTS(uv_loop_init(&loop) == 0);
    CHILD_EXPECTS(begin_and_finish(&options) == 0);
    sandbox_watch(&sandbox, &loop, &counters);
    CHILD_EXPECTS(turn() == 0 && counters.value[COUNTER_DENIED_CALLS] == 0);
    CHILD_EXPECTS(chdir("/") < 0 && chdir("/") < 0);
    CHILD_EXPECTS(turn() == 0 && counters.value[COUNTER_DENIED_CALLS] == 2);
    CHILD_EXPECTS(chdir("/") < 0);
    CHILD_EXPECTS(turn() == 0 && counters.value[COUNTER_DENIED_CALLS] == 3);
    CHILD_EXPECTS(pread(file, text, sizeof text - 1, 0) > 0);
    const char *said = strstr(text, "the system call chdir is not among those");
    CHILD_EXPECTS(said != NULL && strstr(strchr(said, '\n'), "chdir") == NULL); /* once */
    sandbox_close(&sandbox);
    sandbox_close(&sandbox);
    CHILD_EXPECTS(uv_run(&loop, UV_RUN_DEFAULT) == 0 && uv_loop_close(&loop) == 0);
    return 0;
}

static void test_sandbox_says_what_was_refused_once(void **state)
{
    (void)state;
    assert_int_equal(in_child(be_watched, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox_that_is_on),
        cmocka_unit_test(test_sandbox_that_is_off_leaves_calls_and_files),
        cmocka_unit_test(test_sandbox_that_cannot_be_had_ends_the_start_or_is_said),
        cmocka_unit_test(test_sandbox_of_the_probe_is_another),
        cmocka_unit_test(test_sandbox_says_what_was_refused_once),
    };
    return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
