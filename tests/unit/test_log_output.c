/* Where the log goes: whoever reads it or does not, nobody waits; a line is written whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/log_output.h"

enum { PIPE_BYTES = 4096, MANY = 1000000 };

static char line[LOG_LINE_MAX];

/* Writes until a line is refused, which an alarm would end if it waited. Returns how many were taken. */
static unsigned fill(int fd, size_t len)
{
    unsigned count = 0;
    (void)alarm(60);
    while (count < MANY && log_output(fd, line, len)) {
        count++;
    }
    (void)alarm(0);
    assert_in_range(count, 1, MANY - 1);
    return count;
}

static void must_take_all_again(int reader, int writer, unsigned count, size_t len)
{
    char bytes[LOG_LINE_MAX];
    size_t left = count * len;
    while (left > 0) {
        ssize_t got = read(reader, bytes, left < sizeof bytes ? left : sizeof bytes);
        assert_true(got > 0);
        left -= (size_t)got;
    }
    assert_true(log_output(writer, line, len));
}

static void test_log_output_loses_what_a_full_pipe_has_no_room_for(void **state)
{
    (void)state;
    for (size_t len = 1; len <= sizeof line; len += len < 90 ? 89 : sizeof line - 90) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_true(fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
        unsigned count = fill(ends[1], len);
        assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* others have it too */
        must_take_all_again(ends[0], ends[1], count, len);
        assert_int_equal(close(ends[0]) + close(ends[1]), 0);
    }
}

static void test_log_output_loses_what_a_full_socket_has_no_room_for(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    unsigned count = fill(ends[1], 100);
    must_take_all_again(ends[0], ends[1], count, 100);
    assert_int_equal(close(ends[0]) + close(ends[1]), 0);
}

static void test_log_output_survives_that_nobody_reads_any_more(void **state)
{
    (void)state;
    int pipe_ends[2];
    int ends[2];
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(close(pipe_ends[0]) + close(ends[0]), 0);
    assert_false(log_output(pipe_ends[1], line, 1));
    assert_false(log_output(ends[1], line, 1));
    assert_int_equal(close(pipe_ends[1]) + close(ends[1]), 0);
    assert_false(log_output(ends[1], line, 1)); /* closed */
    assert_false(log_output(-1, line, 1));
}

static void test_log_output_writes_to_files_as_far_as_they_grow(void **state)
{
    (void)state;
    struct rlimit before;
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(log_output(fd, line, sizeof line));
    assert_int_equal(lseek(fd, 0, SEEK_CUR), sizeof line);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){sizeof line, before.rlim_max}), 0);
    assert_false(log_output(fd, line, 1));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(log_output(fd, line, 1));
    assert_int_equal(close(fd), 0);
}

static int ignore_signals(void **state)
{
    (void)state;
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
           signal(SIGXFSZ, SIG_IGN) == SIG_ERR; /* as main does */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_output_loses_what_a_full_pipe_has_no_room_for),
        cmocka_unit_test(test_log_output_loses_what_a_full_socket_has_no_room_for),
        cmocka_unit_test(test_log_output_survives_that_nobody_reads_any_more),
        cmocka_unit_test(test_log_output_writes_to_files_as_far_as_they_grow),
    };
    return cmocka_run_group_tests_name("log_output", tests, ignore_signals, NULL);
}
