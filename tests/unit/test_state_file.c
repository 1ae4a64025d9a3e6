#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "io/state_file.h"

enum { ROOM = 1 << 17 };

static char place[] = "/tmp/dwell-test-state-XXXXXX";
static char path[64];
static struct state_file file;
static struct buf problem;

static const char *beside(const char *suffix)
{
    static char name[96];
    (void)snprintf(name, sizeof name, "%s%s", path, suffix);
    return name;
}

static int make_place(void **state)
{
    (void)state;
    (void)signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(place) == NULL;
}

static int remove_place(void **state)
{
    (void)state;
    return rmdir(place);
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(path, sizeof path, "%s/state", place);
    file = (struct state_file){.path = path, .lock_fd = -1};
    buf_init(&problem, 4096);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const suffixes[] = {"", ".new", ".lock", ".damaged"};
    (void)state;
    state_file_unlock(&file);
    buf_fini(&problem);
    for (unsigned i = 0; i < 4; i++) {
        if (unlink(beside(suffixes[i])) != 0) {
            (void)rmdir(beside(suffixes[i])); /* there may be none */
        }
    }
    return 0;
}

static int write_texts(const char *head, const char *body)
{
    return state_file_write(&file, str_of(head), str_of(body), &problem);
}

/* What the file holds, or the error of reading it. */
static int read_text(size_t max, char text[64])
{
    struct buf out;
    buf_init(&out, max + 65536);
    int err = state_file_read(&file, &out, &problem);
    assert_true(out.len < 64);
    if (out.len > 0) {
        memcpy(text, out.data, out.len);
    }
    text[out.len] = '\0';
    buf_fini(&out);
    return err;
}

static void must_read(const char *wanted)
{
    char text[64];
    assert_int_equal(read_text(ROOM, text), 0);
    assert_string_equal(text, wanted);
}

static void must_not_read(const char *why)
{
    char text[64];
    buf_clear(&problem);
    assert_int_equal(read_text(ROOM, text), ERR_SYSTEM);
    buf_char(&problem, '\0');
    assert_non_null(strstr(problem.data, why));
}

static bool is_there(const char *suffix)
{
    struct stat st;
    return lstat(beside(suffix), &st) == 0;
}

static void test_state_file_is_replaced_as_a_whole(void **state)
{
    (void)state;
    char text[64];
    struct stat st;
    assert_int_equal(read_text(ROOM, text), ERR_MISSING_KEY);
    assert_int_equal(write_texts("one ", "body"), 0);
    must_read("one body");
    assert_int_equal(write_texts("two", ""), 0);
    must_read("two");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(is_there(".new"));
    assert_true(is_there(".lock"));
}

static void test_state_file_leaves_the_old_one_when_it_cannot_write(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(write_texts("old", ""), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){2, before.rlim_max}), 0);
    int err = write_texts("new and longer", "");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, ERR_SYSTEM);
    assert_false(is_there(".new"));
    must_read("old");
    assert_int_equal(write_texts("new", ""), 0);
    must_read("new");
}

/* What a daemon left behind that was killed, or what somebody else put there, is not written through. */
static void test_state_file_makes_the_new_one_anew(void **state)
{
    (void)state;
    assert_int_equal(symlink("/dev/null", beside(".new")), 0);
    assert_int_equal(write_texts("good", ""), 0);
    must_read("good");
    assert_int_equal(mkdir(beside(".new"), 0700), 0);
    assert_int_equal(write_texts("better", ""), ERR_SYSTEM);
    must_read("good");
}

static void test_state_file_is_of_one_daemon(void **state)
{
    (void)state;
    struct state_file other = {.path = path, .lock_fd = -1};
    assert_int_equal(state_file_lock(&file, &problem), 0);
    assert_int_equal(state_file_lock(&file, &problem), 0); /* it has it */
    assert_int_equal(state_file_lock(&other, &problem), ERR_CONFLICT);
    assert_int_equal(state_file_write(&other, STR_LITERAL("x"), STR_LITERAL(""), &problem),
                     ERR_CONFLICT);
    assert_false(is_there(""));
    state_file_unlock(&file);
    assert_int_equal(state_file_lock(&other, &problem), 0);
    state_file_unlock(&other);
}

static void test_state_file_needs_its_directory(void **state)
{
    (void)state;
    struct state_file nowhere = {.path = "/nowhere/at/all", .lock_fd = -1};
    assert_int_equal(state_file_lock(&nowhere, &problem), ERR_SYSTEM);
    assert_int_equal(state_file_write(&nowhere, STR_LITERAL("x"), STR_LITERAL(""), &problem),
                     ERR_SYSTEM);
}

static void test_state_file_takes_only_its_own(void **state)
{
    (void)state;
    char text[64];
    assert_int_equal(write_texts("four", ""), 0);
    assert_int_equal(read_text(4, text), 0);
    assert_int_equal(read_text(3, text), ERR_SYSTEM);
    for (unsigned mode = 0602; mode <= 0620; mode += 0620 - 0602) {
        assert_int_equal(chmod(path, mode), 0);
        must_not_read("others can write");
    }
    assert_int_equal(chmod(path, 0644), 0);
    must_read("four");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    must_not_read("is a link");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    must_not_read("is not a regular file");
}

static void test_state_file_keeps_one_that_is_set_aside(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(write_texts(i == 0 ? "one" : "two", ""), 0);
        assert_int_equal(state_file_set_aside(&file), 0);
        assert_false(is_there(""));
    }
    assert_int_equal(rename(beside(".damaged"), path), 0);
    must_read("two");
    assert_int_equal(mkdir(beside(".damaged"), 0700), 0);
    assert_true(state_file_set_aside(&file) != 0);
    must_read("two");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_state_file_is_replaced_as_a_whole),
        TEST(test_state_file_leaves_the_old_one_when_it_cannot_write),
        TEST(test_state_file_makes_the_new_one_anew),
        TEST(test_state_file_is_of_one_daemon),
        TEST(test_state_file_needs_its_directory),
        TEST(test_state_file_takes_only_its_own),
        TEST(test_state_file_keeps_one_that_is_set_aside),
    };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
