/* Files and ports as a confined child finds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "in_child.h"
#include "io/sandbox_landlock.h"

enum { PATH_BYTES = 128, VERSION_OF_TRUNCATE = 3 };

static char root[] = "/tmp/dwell-test-XXXXXX";
static int version;
static int allowed_fd, other_fd; /* that listen */

static const char *below(const char *name)
{
    static char paths[4][PATH_BYTES];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, PATH_BYTES, "%s/%s", root, name);
    return path;
}

static void make_file(const char *name)
{
    int fd = open(below(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(close(fd), 0);
}

static int listen_somewhere(void)
{
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static struct sockaddr_in address_of(int fd)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return address;
}

static int set_up(void **state)
{
    (void)state;
    version = sandbox_landlock_version();
    assert_non_null(mkdtemp(root));
    assert_int_equal(mkdir(below("write"), 0700), 0);
    assert_int_equal(mkdir(below("read"), 0700), 0);
    assert_int_equal(mkdir(below("other"), 0700), 0);
    make_file("write/file");
    make_file("read/file");
    make_file("other/file");
    make_file("other/single");
    allowed_fd = listen_somewhere();
    other_fd = listen_somewhere();
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"write/file", "read/file", "other/file", "other/single"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(unlink(below(names[i])), 0);
    }
    assert_int_equal(rmdir(below("write")), 0);
    assert_int_equal(rmdir(below("read")), 0);
    assert_int_equal(rmdir(below("other")), 0);
    (void)close(allowed_fd);
    (void)close(other_fd);
    return rmdir(root);
}

/* Returns 0, or where it failed. */
static int confine(bool all_ports)
{
    const uint16_t port = ntohs(address_of(allowed_fd).sin_port);
    const struct sandbox_ports ports = {.ports = &port, .count = 1, .all = all_ports};
    const struct sandbox_place places[] = {{below("write"), true},
                                           {below("read"), false},
                                           {below("other/single"), false},
                                           {"/nowhere/at/all", true}};
    CHILD_EXPECTS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHILD_EXPECTS(sandbox_landlock_apply(version, places, 4, &ports) == 0);
    return 0;
}

static void must_have_landlock(void)
{
    if (version == 0) {
        print_message("skipped: this kernel has no Landlock\n");
        skip();
    }
}

/* --- files ------------------------------------------------------------------------------------- */

static const struct file {
    const char *name;
    int flags;
    int answer; /* an errno value */
} files[] = {
    {"write/file", O_RDONLY, 0},
    {"write/file", O_RDWR, 0},
    {"write/file", O_WRONLY | O_APPEND, 0},
    {"write", O_RDONLY | O_DIRECTORY, 0},
    {"read/file", O_RDONLY, 0},
    {"read", O_RDONLY | O_DIRECTORY, 0},
    {"read/file", O_WRONLY, EACCES},
    {"read/new", O_WRONLY | O_CREAT, EACCES},
    {"other/file", O_RDONLY, EACCES},
    {"other/new", O_WRONLY | O_CREAT, EACCES},
    {"other", O_RDONLY | O_DIRECTORY, EACCES},
    {"other/single", O_RDONLY, 0},
    {"other/single", O_WRONLY, EACCES},
    {"new", O_WRONLY | O_CREAT, EACCES},
    {"", O_RDONLY | O_DIRECTORY, EACCES},
    {"read/missing", O_RDONLY, ENOENT},
};

static int open_files(const void *arg)
{
    (void)arg;
    CHILD_EXPECTS(confine(false) == 0);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        int fd = open(below(files[i].name), files[i].flags | O_CLOEXEC, 0600);
        if ((fd < 0 ? errno : 0) != files[i].answer) {
            (void)dprintf(STDERR_FILENO, "%s: %s, expected %s\n", files[i].name,
                          strerror(fd < 0 ? errno : 0), strerror(files[i].answer));
            return 1;
        }
        (void)close(fd);
    }
    CHILD_EXPECTS(open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
    return 0;
}

static void test_sandbox_landlock_opens_what_it_was_given(void **state)
{
    (void)state;
    must_have_landlock();
    assert_int_equal(in_child(open_files, NULL), 0);
}

static int change_files(const void *arg)
{
    (void)arg;
    CHILD_EXPECTS(confine(false) == 0);
    int fd = open(below("write/new"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHILD_EXPECTS(fd >= 0);
    CHILD_EXPECTS(ftruncate(fd, 0) == 0 && close(fd) == 0);
    CHILD_EXPECTS(rename(below("write/new"), below("write/newer")) == 0);
    CHILD_EXPECTS(rename(below("write/newer"), below("read/newer")) != 0);
    CHILD_EXPECTS(unlink(below("write/newer")) == 0);
    CHILD_EXPECTS(unlink(below("read/file")) != 0 && errno == EACCES);
    CHILD_EXPECTS(unlink(below("other/file")) != 0 && errno == EACCES);
    CHILD_EXPECTS(mkdir(below("write/directory"), 0700) != 0 && errno == EACCES);
    CHILD_EXPECTS(version < VERSION_OF_TRUNCATE ||
                  (truncate(below("read/file"), 0) != 0 && errno == EACCES));
    return 0;
}

static void test_sandbox_landlock_changes_only_where_it_may_write(void **state)
{
    (void)state;
    must_have_landlock();
    assert_int_equal(in_child(change_files, NULL), 0);
}

static int have_an_open_file(const void *arg)
{
    (void)arg;
    char byte;
    int fd = open(below("other/file"), O_RDONLY | O_CLOEXEC);
    CHILD_EXPECTS(fd >= 0);
    CHILD_EXPECTS(confine(false) == 0);
    CHILD_EXPECTS(read(fd, &byte, 1) == 1);
    return 0;
}

static void test_sandbox_landlock_leaves_what_is_open(void **state)
{
    (void)state;
    must_have_landlock();
    assert_int_equal(in_child(have_an_open_file, NULL), 0);
}

/* --- ports ------------------------------------------------------------------------------------- */

static int connect_to(int listener)
{
    struct sockaddr_in address = address_of(listener);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int reason = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
    (void)close(fd);
    return reason;
}

static int bind_any(void)
{
    const struct sockaddr_in any = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int reason = bind(fd, (const struct sockaddr *)&any, sizeof any) == 0 ? 0 : errno;
    (void)close(fd);
    return reason;
}

static int use_ports(const void *arg)
{
    bool all = *(const bool *)arg;
    CHILD_EXPECTS(confine(all) == 0);
    CHILD_EXPECTS(connect_to(allowed_fd) == 0);
    CHILD_EXPECTS(connect_to(other_fd) == (all ? 0 : EACCES));
    CHILD_EXPECTS(bind_any() == EACCES);
    return 0;
}

static void test_sandbox_landlock_connects_to_ports_that_it_was_given(void **state)
{
    (void)state;
    must_have_landlock();
    if (version < SANDBOX_LANDLOCK_WITH_PORTS) {
        print_message("skipped: this kernel's Landlock knows no ports\n");
        skip();
    }
    for (int all = 0; all <= 1; all++) {
        const bool choice = all == 1;
        assert_int_equal(in_child(use_ports, &choice), 0);
    }
}

/* --- versions ---------------------------------------------------------------------------------- */

/* An older interface is taken by every newer kernel. */
static int use_version(const void *arg)
{
    version = *(const int *)arg;
    CHILD_EXPECTS(confine(false) == 0);
    CHILD_EXPECTS(open(below("other/file"), O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
    CHILD_EXPECTS(connect_to(other_fd) == (version < SANDBOX_LANDLOCK_WITH_PORTS ? 0 : EACCES));
    return 0;
}

static void test_sandbox_landlock_of_every_version(void **state)
{
    (void)state;
    must_have_landlock();
    for (int older = 1; older <= version; older++) {
        assert_int_equal(in_child(use_version, &older), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sandbox_landlock_opens_what_it_was_given),
        cmocka_unit_test(test_sandbox_landlock_changes_only_where_it_may_write),
        cmocka_unit_test(test_sandbox_landlock_leaves_what_is_open),
        cmocka_unit_test(test_sandbox_landlock_connects_to_ports_that_it_was_given),
        cmocka_unit_test(test_sandbox_landlock_of_every_version),
    };
    return cmocka_run_group_tests_name("sandbox_landlock", tests, set_up, tear_down);
}
