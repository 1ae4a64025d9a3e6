#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/journald.h"

static char place[] = "/tmp/dwell-journal-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static int make_place(void **state)
{
    (void)state;
    if (mkdtemp(place) == NULL) {
        return -1;
    }
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", place);
    return 0;
}

static int remove_place(void **state)
{
    (void)state;
    (void)unlink(address.sun_path);
    return rmdir(place);
}

static void test_journald_is_a_socket_that_does_not_block(void **state)
{
    (void)state;
    assert_int_equal(journald_open(address.sun_path), -1); /* there is none */
    int reader = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(reader, (const struct sockaddr *)&address, sizeof address), 0);
    int fd = journald_open(address.sun_path);
    assert_true(fd >= 0);
    char got[8];
    assert_int_equal(write(fd, "A=b\n", 4), 4);
    assert_int_equal(recv(reader, got, sizeof got, 0), 4);
    ssize_t written;
    do {
        written = write(fd, "A=b\n", 4);
    } while (written == 4);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(reader), 0);
    assert_int_equal(journald_open(address.sun_path), -1); /* nobody reads */
}

static void test_journald_paths_have_a_length(void **state)
{
    (void)state;
    char path[sizeof address.sun_path + 1];
    memset(path, 'p', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_int_equal(journald_open(path), -1);
    path[sizeof path - 2] = '\0';
    assert_int_equal(journald_open(path), -1); /* it fits, and is not there */
}

static void test_journald_is_known_by_its_stream(void **state)
{
    (void)state;
    struct stat st;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fstat(fds[1], &st), 0);
    static const struct {
        const char *before, *between, *after; /* device and inode */
        bool is_it;
    } rows[] = {
        {"", ":", "", true},   {"", ":", "1", false}, {"1", ":", "", false}, {"", "-", "", false},
        {"", ":", " ", false}, {" ", ":", "", false}, {"-", ":", "", false}, {"", ":-", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char stream[80];
        (void)snprintf(stream, sizeof stream, "%s%llu%s%llu%s", rows[i].before,
                       (unsigned long long)st.st_dev, rows[i].between,
                       (unsigned long long)st.st_ino, rows[i].after);
        assert_int_equal(journald_has(stream, fds[1]), rows[i].is_it);
        assert_false(journald_has(stream, -1));
    }
    static const char *const nonsense[] = {"", ":", "8", "8:", ":8"};
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        assert_false(journald_has(nonsense[i], fds[1]));
    }
    assert_false(journald_has(NULL, fds[1]));
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(close(fds[1]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journald_is_a_socket_that_does_not_block),
        cmocka_unit_test(test_journald_paths_have_a_length),
        cmocka_unit_test(test_journald_is_known_by_its_stream),
    };
    return cmocka_run_group_tests_name("journal", tests, make_place, remove_place);
}
