#include "core_helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "io/pulse.c"

static struct core core;
static struct ingest ingest;
static struct notify notify;
static struct pulse pulse;
static uv_loop_t loop;
static int manager; /* its end of the exchange */

static uint64_t now(void *ctx)
{
    (void)ctx;
    return core.mono_ns;
}

static int open_pulse(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    int ends[2];
    core_open(&core, &options);
    ingest = (struct ingest){.intake = &core.intake, .clock = {.mono_ns = now, .wall_ns = now}};
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    manager = ends[0];
    notify = (struct notify){.fd = ends[1]};
    assert_int_equal(uv_loop_init(&loop), 0);
    return 0;
}

static int close_pulse(void **state)
{
    (void)state;
    pulse_close(&pulse);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* returns when no handle is left */
    assert_int_equal(uv_loop_close(&loop), 0);
    notify_close(&notify);
    (void)close(manager);
    core_close(&core);
    return 0;
}

static void must_hear(const char *wanted)
{
    char text[NOTIFY_TEXT_MAX];
    ssize_t len = recv(manager, text, sizeof text - 1, 0);
    text[len < 0 ? 0 : len] = '\0';
    assert_string_equal(text, wanted);
}

/* What the timer does when its time has come. */
static void must_tell(unsigned passed_s, const char *wanted)
{
    core.mono_ns += passed_s * NS_PER_SECOND;
    on_status(&pulse.status);
    must_hear(wanted);
}

static void test_pulse_line_is_told_when_it_changes(void **state)
{
    (void)state;
    pulse_start(&pulse, &loop, &notify, &ingest);
    core.mono_ns += NS_PER_SECOND;
    must_tell(0, "STATUS=0 models, 0 records a second, 0 clients");
    must_tell(5, "");
    struct sample sample = sample_of("m", 1);
    must_record(&core, &sample);
    core.intake.accepted += 6020;
    ingest.connection_count = 2;
    must_tell(5, "STATUS=1 model, 1,204 records a second, 2 clients");
    core.intake.accepted += 6022; /* half a record more is another line, less is none */
    must_tell(5, "");
    core.intake.accepted += 5;
    ingest.connection_count = 1;
    must_tell(5, "STATUS=1 model, 1 record a second, 1 client");
    must_tell(5, "STATUS=1 model, 0 records a second, 1 client");
}

static void test_pulse_rate_is_of_the_time_that_passed(void **state)
{
    (void)state;
    pulse_start(&pulse, &loop, &notify, &ingest);
    core.intake.accepted = 1000;
    must_tell(1, "STATUS=0 models, 0 records a second, 0 clients"); /* since when is not known */
    core.intake.accepted += 1000;
    must_tell(10, "STATUS=0 models, 100 records a second, 0 clients");
    core.intake.accepted += 1000;
    must_tell(0, "STATUS=0 models, 0 records a second, 0 clients");
}

static void test_pulse_feeds_the_watchdog_while_the_loop_runs(void **state)
{
    (void)state;
    notify.watchdog_ms = 2;
    pulse_start(&pulse, &loop, &notify, &ingest);
    must_hear("");                      /* not before it runs */
    (void)uv_timer_stop(&pulse.status); /* would be heard too */
    for (unsigned fed = 0; fed < 3; fed++) {
        char text[NOTIFY_TEXT_MAX];
        while (recv(manager, text, sizeof text, 0) < 0) {
            (void)uv_run(&loop, UV_RUN_ONCE); /* the timer is the only one to wait for */
        }
        assert_memory_equal(text, "WATCHDOG=1", strlen("WATCHDOG=1"));
    }
    assert_int_equal(uv_timer_get_repeat(&pulse.watchdog), 1);
}

static void test_pulse_watchdog_is_fed_at_half_its_time(void **state)
{
    (void)state;
    notify.watchdog_ms = 30000;
    pulse_start(&pulse, &loop, &notify, &ingest);
    assert_int_equal(uv_timer_get_repeat(&pulse.watchdog), 15000);
}

static void test_pulse_at_the_shortest_time(void **state)
{
    (void)state;
    notify.watchdog_ms = 1;
    pulse_start(&pulse, &loop, &notify, &ingest);
    assert_int_equal(uv_timer_get_repeat(&pulse.watchdog), 1);
}

static void test_pulse_repeats_what_is_owed(void **state)
{
    (void)state;
    pulse_start(&pulse, &loop, &notify, &ingest);
    memcpy(notify.owed, "READY=1", 7);
    notify.owed_len = 7;
    must_tell(0, "READY=1");
    must_hear("STATUS=0 models, 0 records a second, 0 clients");
    notify.owed_len = 7;
    on_watchdog(&pulse.watchdog);
    must_hear("READY=1");
    must_hear("WATCHDOG=1");
}

static void test_pulse_without_a_manager_does_not_run(void **state)
{
    (void)state;
    struct notify nobody = {.fd = -1, .watchdog_ms = 2};
    pulse_start(&pulse, &loop, &nobody, &ingest);
    assert_false(uv_is_active((uv_handle_t *)&pulse.watchdog));
    assert_false(uv_is_active((uv_handle_t *)&pulse.status));
}

static void test_pulse_without_a_watchdog_has_a_line_alone(void **state)
{
    (void)state;
    pulse_start(&pulse, &loop, &notify, &ingest);
    assert_false(uv_is_active((uv_handle_t *)&pulse.watchdog));
    assert_int_equal(uv_timer_get_repeat(&pulse.status), STATUS_MS);
}

#define on_a_loop(test) cmocka_unit_test_setup_teardown(test, open_pulse, close_pulse)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_a_loop(test_pulse_line_is_told_when_it_changes),
        on_a_loop(test_pulse_rate_is_of_the_time_that_passed),
        on_a_loop(test_pulse_feeds_the_watchdog_while_the_loop_runs),
        on_a_loop(test_pulse_watchdog_is_fed_at_half_its_time),
        on_a_loop(test_pulse_at_the_shortest_time),
        on_a_loop(test_pulse_repeats_what_is_owed),
        on_a_loop(test_pulse_without_a_manager_does_not_run),
        on_a_loop(test_pulse_without_a_watchdog_has_a_line_alone),
    };
    return cmocka_run_group_tests_name("pulse", tests, core_tables, NULL);
}
