#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/notify.h"

enum { QUEUE_MAX = 4096 }; /* more datagrams than any kernel's default lets wait */

static char directory[] = "/tmp/dwell-notify-XXXXXX";
static char path[sizeof directory + 8];
static char variable[sizeof path + 16];
static int manager; /* its end of the exchange */

static void start_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, sizeof path);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof address), 0);
}

static void end_manager(void)
{
    assert_int_equal(close(manager), 0);
    assert_int_equal(unlink(path), 0);
}

/* The next message, and the descriptor that came with it or -1. */
static int hear_descriptor(char text[NOTIFY_TEXT_MAX])
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {text, NOTIFY_TEXT_MAX - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.room,
                             .msg_controllen = sizeof control.room};
    int fd = -1;
    ssize_t len = recvmsg(manager, &message, MSG_CMSG_CLOEXEC);
    text[len < 0 ? 0 : len] = '\0';
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (len >= 0 && header != NULL) {
        assert_int_equal(header->cmsg_type, SCM_RIGHTS);
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    }
    return fd;
}

static void must_hear(const char *wanted)
{
    char text[NOTIFY_TEXT_MAX];
    assert_int_equal(hear_descriptor(text), -1);
    assert_string_equal(text, wanted);
}

#define must_hear_nothing() must_hear("")

static struct notify notify;

/* With more in the environment than where the manager is. */
static void open_with(const char *first, const char *second)
{
    char more[2][64];
    char *environment[] = {variable, more[0], more[1], NULL};
    (void)snprintf(more[0], sizeof more[0], "%s", first);
    (void)snprintf(more[1], sizeof more[1], "%s", second);
    notify_open(&notify, environment);
}

static void open_notify(void)
{
    open_with("", "");
    assert_true(notify.fd >= 0);
}

static void test_notify_says_what_the_manager_reads(void **state)
{
    (void)state;
    open_notify();
    notify_ready(&notify);
    must_hear("READY=1");
    notify_reloading(&notify, 5123456789);
    must_hear("RELOADING=1\nMONOTONIC_USEC=5123456");
    notify_stopping(&notify, 10000);
    must_hear("STOPPING=1\nEXTEND_TIMEOUT_USEC=11000000");
    notify_alive(&notify);
    must_hear("WATCHDOG=1");
    notify_status(&notify, STR_LITERAL("1 model, 0 records a second, 2 clients"));
    must_hear("STATUS=1 model, 0 records a second, 2 clients");
    notify_forget(&notify, "http@0-0");
    must_hear("FDSTOREREMOVE=1\nFDNAME=http@0-0");
    notify_repeat(&notify);
    must_hear_nothing();
    notify_close(&notify);
}

static void test_notify_hands_over_the_descriptor_itself(void **state)
{
    (void)state;
    char text[NOTIFY_TEXT_MAX];
    struct stat sent;
    struct stat got;
    open_notify();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(notify_keep(&notify, fd, "ingest.sock@1a-2b7"));
    int copy = hear_descriptor(text);
    assert_string_equal(text, "FDSTORE=1\nFDNAME=ingest.sock@1a-2b7");
    assert_int_equal(fstat(fd, &sent), 0);
    assert_int_equal(fstat(copy, &got), 0);
    assert_int_equal(sent.st_ino, got.st_ino);
    (void)close(copy);
    (void)close(fd);
    notify_close(&notify);
}

static void test_notify_names_have_a_greatest_length(void **state)
{
    (void)state;
    char name[NOTIFY_TEXT_MAX];
    char text[NOTIFY_TEXT_MAX];
    size_t room = NOTIFY_TEXT_MAX - 1 - strlen("FDSTORE=1\nFDNAME=");
    open_notify();
    memset(name, 'x', sizeof name);
    name[room + 1] = '\0';
    assert_false(notify_keep(&notify, manager, name));
    must_hear_nothing();
    name[room] = '\0';
    assert_true(notify_keep(&notify, manager, name));
    (void)close(hear_descriptor(text));
    assert_int_equal(strlen(text), NOTIFY_TEXT_MAX - 1);
    notify_close(&notify);
}

static void test_notify_status_is_cut_at_its_greatest_length(void **state)
{
    (void)state;
    char line[NOTIFY_TEXT_MAX * 2];
    char text[NOTIFY_TEXT_MAX];
    open_notify();
    memset(line, 'x', sizeof line);
    notify_status(&notify, (struct str){line, sizeof line});
    assert_int_equal(hear_descriptor(text), -1);
    assert_int_equal(strlen(text), NOTIFY_TEXT_MAX - 1);
    notify_close(&notify);
}

static void call_everything(void)
{
    notify_ready(&notify);
    notify_reloading(&notify, 1);
    notify_stopping(&notify, 1);
    notify_alive(&notify);
    notify_status(&notify, STR_LITERAL("x"));
    notify_repeat(&notify);
    assert_false(notify_keep(&notify, manager, "x"));
    notify_forget(&notify, "x");
    notify_close(&notify);
}

static void test_notify_without_a_manager_does_nothing(void **state)
{
    (void)state;
    char where[] = "NOTIFY_SOCKET=";
    char watchdog[] = "WATCHDOG_USEC=1000000";
    char keeps[] = "FDSTORE=8";
    char *environment[] = {where, watchdog, keeps, NULL};
    notify_open(&notify, NULL);
    assert_int_equal(notify.fd, -1);
    call_everything();
    notify_open(&notify, environment);
    assert_int_equal(notify.fd, -1);
    assert_int_equal(notify.watchdog_ms, 0);
    assert_int_equal(notify.keeps, 0);
    call_everything();
    must_hear_nothing();
}

static void must_not_reach(const char *address)
{
    char text[256];
    char *environment[] = {text, NULL};
    (void)snprintf(text, sizeof text, "NOTIFY_SOCKET=%s", address);
    notify_open(&notify, environment);
    assert_int_equal(notify.fd, -1);
    call_everything();
}

static void test_notify_addresses_that_are_none(void **state)
{
    (void)state;
    char longest[sizeof(struct sockaddr_un)] = "/";
    must_not_reach("relative");
    must_not_reach("vsock:2:1234");
    must_not_reach("/nowhere/at/all");
    must_not_reach("@nobody-listens-here");
    memset(longest + 1, 'x', sizeof notify.address.sun_path - 1);
    must_not_reach(longest); /* one more than there is room for */
    longest[sizeof notify.address.sun_path - 1] = '\0';
    must_not_reach(longest); /* fits, and is not there */
}

static void test_notify_abstract_address(void **state)
{
    (void)state;
    char text[sizeof "NOTIFY_SOCKET=@dwell-notify-" + 20];
    char *environment[] = {text, NULL};
    int length = snprintf(text, sizeof text, "NOTIFY_SOCKET=@dwell-notify-%ld", (long)getpid());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t at = strlen("NOTIFY_SOCKET=@");
    memcpy(address.sun_path + 1, text + at, (size_t)length - at);
    end_manager();
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length - at);
    assert_int_equal(bind(manager, (struct sockaddr *)&address, len), 0);
    notify_open(&notify, environment);
    notify_ready(&notify);
    must_hear("READY=1");
    notify_close(&notify);
    assert_int_equal(close(manager), 0);
    start_manager();
}

static void must_watch(const char *watchdog, const char *pid, uint64_t wanted_ms)
{
    open_with(watchdog, pid);
    assert_int_equal(notify.watchdog_ms, wanted_ms);
    notify_close(&notify);
}

static void test_notify_watchdog_is_ours_alone(void **state)
{
    (void)state;
    char ours[32];
    (void)snprintf(ours, sizeof ours, "WATCHDOG_PID=%ld", (long)getpid());
    must_watch("", "", 0);
    must_watch("WATCHDOG_USEC=30000000", "", 30000);
    must_watch("WATCHDOG_USEC=30000000", ours, 30000);
    must_watch("WATCHDOG_USEC=30000000", "WATCHDOG_PID=1", 0);
    must_watch("WATCHDOG_USEC=30000000", "WATCHDOG_PID=", 30000);
    must_watch("WATCHDOG_USEC=0", "", 0);
    must_watch("WATCHDOG_USEC=1", "", 1);
    must_watch("WATCHDOG_USEC=1999", "", 1);
    must_watch("WATCHDOG_USEC=soon", "", 0);
    must_watch("WATCHDOG_USEC=18446744073709551616", "", 0);
}

static void test_notify_knows_what_the_manager_keeps(void **state)
{
    (void)state;
    open_with("FDSTORE=8", "");
    assert_int_equal(notify.keeps, 8);
    notify_close(&notify);
    open_with("FDSTORE=-1", "");
    assert_int_equal(notify.keeps, 0);
    notify_close(&notify);
}

/* Returns how many messages there were. */
static unsigned drain(void)
{
    char text[NOTIFY_TEXT_MAX];
    unsigned count = 0;
    for (; hear_descriptor(text), text[0] != '\0'; count++) {
        assert_string_equal(text, "WATCHDOG=1");
    }
    return count;
}

static void test_notify_owes_the_last_change_to_a_full_queue(void **state)
{
    (void)state;
    open_notify();
    for (unsigned i = 0; i < QUEUE_MAX; i++) {
        notify_alive(&notify);
    }
    notify_reloading(&notify, 1);
    notify_ready(&notify);
    notify_repeat(&notify);
    assert_in_range(drain(), 1, QUEUE_MAX - 1);
    notify_repeat(&notify);
    must_hear("READY=1");
    notify_repeat(&notify);
    must_hear_nothing();
    notify_close(&notify);
}

static void test_notify_finds_a_manager_that_was_started_anew(void **state)
{
    (void)state;
    open_notify();
    end_manager();
    notify_ready(&notify); /* nobody is there */
    start_manager();
    notify_repeat(&notify);
    must_hear("READY=1");
    notify_alive(&notify);
    must_hear("WATCHDOG=1");
    notify_close(&notify);
}

static int make_place(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/notify", directory);
    (void)snprintf(variable, sizeof variable, "NOTIFY_SOCKET=%s", path);
    start_manager();
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    end_manager();
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notify_says_what_the_manager_reads),
        cmocka_unit_test(test_notify_hands_over_the_descriptor_itself),
        cmocka_unit_test(test_notify_names_have_a_greatest_length),
        cmocka_unit_test(test_notify_status_is_cut_at_its_greatest_length),
        cmocka_unit_test(test_notify_without_a_manager_does_nothing),
        cmocka_unit_test(test_notify_addresses_that_are_none),
        cmocka_unit_test(test_notify_abstract_address),
        cmocka_unit_test(test_notify_watchdog_is_ours_alone),
        cmocka_unit_test(test_notify_knows_what_the_manager_keeps),
        cmocka_unit_test(test_notify_owes_the_last_change_to_a_full_queue),
        cmocka_unit_test(test_notify_finds_a_manager_that_was_started_anew),
    };
    return cmocka_run_group_tests_name("notify", tests, make_place, remove_place);
}
