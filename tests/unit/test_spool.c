/* The spool on real directories, with failures put in the place of write, fsync and rename. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "io/export/spool.h"
#include "mem_fault.h"

enum { PATH_BYTES = 256, LOG_BYTES = 1 << 16 };

static struct world {
    char parent[PATH_BYTES];
    char path[2 * PATH_BYTES];
    struct spool *spool;
    struct buf bytes;
    struct buf problem;
} world;

static struct fault {
    unsigned write_after; /* so many calls go well, then all fail; 0 of them: never */
    unsigned sync_after;
    unsigned rename_after;
    int error;
    unsigned writes, syncs, renames;
    size_t write_most; /* bytes that one call takes; 0: any number */
} fault;

static int log_fd = -1;

static bool fails(unsigned after, unsigned *count)
{
    (*count)++;
    if (after != 0 && *count >= after) {
        errno = fault.error;
        return true;
    }
    return false;
}

static ssize_t try_write(int fd, const void *bytes, size_t len)
{
    if (fails(fault.write_after, &fault.writes)) {
        return -1;
    }
    return write(fd, bytes,
                 fault.write_most > 0 && len > fault.write_most ? fault.write_most : len);
}

static int try_sync(int fd)
{
    return fails(fault.sync_after, &fault.syncs) ? -1 : fsync(fd);
}

static int try_rename(int from, const char *old, int to, const char *new)
{
    return fails(fault.rename_after, &fault.renames) ? -1 : renameat(from, old, to, new);
}

static const struct spool_calls calls = {try_write, try_sync, try_rename};

static uint64_t stand_still(void *ctx)
{
    (void)ctx;
    return NS_PER_SECOND;
}

static const char *log_text(void)
{
    static char text[LOG_BYTES];
    ssize_t len = pread(log_fd, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

static void must_log(const char *part)
{
    if (strstr(log_text(), part) == NULL) {
        fail_msg("not in the log: %s\n%s", part, log_text());
    }
}

/* --- a directory and what is in it ------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    memset(&fault, 0, sizeof fault);
    fault.error = ENOSPC;
    const char *parent = getenv("TMPDIR");
    (void)snprintf(world.parent, sizeof world.parent, "%s/spool-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    if (mkdtemp(world.parent) == NULL || ftruncate(log_fd, 0) != 0 ||
        lseek(log_fd, 0, SEEK_SET) != 0) {
        return -1;
    }
    (void)snprintf(world.path, sizeof world.path, "%s/spool", world.parent);
    buf_init(&world.bytes, SPOOL_HEADER_BYTES + SPOOL_REQUEST_MAX + 1);
    buf_init(&world.problem, 1 << 14);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[4 * PATH_BYTES];
    spool_close(world.spool);
    buf_fini(&world.bytes);
    buf_fini(&world.problem);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world.parent);
    return mem_count_live() == 0 && system(command) == 0 ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[4 * PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", world.path, name);
    return path;
}

static const char *file(unsigned number)
{
    static char name[PATH_BYTES];
    (void)snprintf(name, sizeof name, "%018u.traces", number);
    return name;
}

static bool exists(const char *name)
{
    struct stat st;
    return lstat(path_of(name), &st) == 0;
}

static void make(const char *name, const char *content)
{
    FILE *out = fopen(path_of(name), "we");
    assert_non_null(out);
    assert_true(fputs(content, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static unsigned count_names(const char *ending)
{
    DIR *stream = opendir(world.path);
    assert_non_null(stream);
    unsigned count = 0;
    for (struct dirent *found; (found = readdir(stream)) != NULL;) {
        size_t len = strlen(found->d_name);
        count += len >= strlen(ending) && strcmp(found->d_name + len - strlen(ending), ending) == 0;
    }
    (void)closedir(stream);
    return count;
}

/* Changes one byte of a file. */
static void flip(const char *name, off_t at)
{
    char byte;
    int fd = open(path_of(name), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (char)~byte;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    assert_int_equal(close(fd), 0);
}

/* --- verbs ------------------------------------------------------------------------------------- */

static int open_with(uint64_t max_bytes, uint64_t max_files)
{
    struct spool_options options = {.path = world.path,
                                    .signal = SPOOL_TRACES,
                                    .max_bytes = max_bytes,
                                    .max_files = max_files,
                                    .calls = &calls};
    buf_clear(&world.problem);
    return spool_open(&options, &world.problem, &world.spool);
}

static void must_open(void)
{
    assert_int_equal(open_with(1 << 20, 1000), 0);
}

static void must_refuse(const char *part)
{
    assert_int_equal(open_with(1 << 20, 1000), ERR_SYSTEM);
    assert_null(world.spool);
    buf_char(&world.problem, '\0');
    if (strstr(world.problem.data, part) == NULL) {
        fail_msg("%s not in: %s", part, world.problem.data);
    }
}

static void close_spool(void)
{
    spool_close(world.spool);
    world.spool = NULL;
}

static int put(const char *text, uint64_t count)
{
    return spool_put(world.spool, str_of(text), count, true);
}

static void must_put(const char *text, uint64_t count)
{
    assert_int_equal(put(text, count), 0);
}

static void must_read(const char *text)
{
    struct str request;
    assert_int_equal(spool_read(world.spool, &world.bytes, &request), 0);
    assert_int_equal(request.len, strlen(text));
    assert_memory_equal(request.ptr, text, request.len);
}

static void must_take(const char *text)
{
    must_read(text);
    spool_remove(world.spool);
}

static int read_code(void)
{
    struct str request;
    return spool_read(world.spool, &world.bytes, &request);
}

static const struct spool_account *account(void)
{
    return spool_get_account(world.spool);
}

static void must_hold(uint64_t files, uint64_t items, uint64_t bytes_of_requests)
{
    assert_int_equal(account()->files, files);
    assert_int_equal(account()->items, items);
    assert_int_equal(account()->bytes, bytes_of_requests + files * SPOOL_HEADER_BYTES);
    assert_int_equal(count_names(".traces"), files);
    assert_int_equal(count_names(".tmp"), 0);
    assert_int_equal(spool_oldest(world.spool) == 0, files == 0);
}

/* --- keeping and giving back ------------------------------------------------------------------- */

static void test_spool_gives_back_the_oldest_first(void **state)
{
    (void)state;
    must_open();
    must_hold(0, 0, 0);
    must_put("first", 2);
    must_put("second", 3);
    must_hold(2, 5, 11);
    uint64_t first = spool_oldest(world.spool);
    must_read("first");
    must_take("first");
    assert_true(spool_oldest(world.spool) > first);
    must_hold(1, 3, 6);
    must_put("", 0);
    must_take("second");
    must_take("");
    must_hold(0, 0, 0);
    must_put("later", 1);
    must_take("later");
    assert_int_equal(account()->failures, 0);
    assert_int_equal(fault.syncs, 8); /* the file and the directory, for each put */
}

static void test_spool_does_not_sync_what_need_not_be_durable(void **state)
{
    (void)state;
    must_open();
    assert_int_equal(spool_put(world.spool, STR_LITERAL("quick"), 1, false), 0);
    assert_int_equal(fault.syncs, 0);
    must_take("quick");
}

static void test_spool_many_files_in_order(void **state)
{
    (void)state;
    enum { MANY = 300 };
    char text[32];
    must_open();
    unsigned next = 0;
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(text, sizeof text, "request %u", i);
        must_put(text, 1);
        if (i % 3 != 0) {
            (void)snprintf(text, sizeof text, "request %u", next++);
            must_take(text);
        }
    }
    assert_int_equal(account()->files, MANY - next);
    close_spool();
    must_open();
    assert_int_equal(account()->found, MANY - next);
    while (next < MANY) {
        (void)snprintf(text, sizeof text, "request %u", next++);
        must_take(text);
    }
    must_hold(0, 0, 0);
}

static void test_spool_finds_its_files_again(void **state)
{
    (void)state;
    must_open();
    must_put("first", 2);
    must_put("second", 3);
    must_take("first");
    close_spool();
    must_open();
    assert_int_equal(account()->found, 3);
    must_log("1 traces files with 3 spans or points wait to be sent");
    must_put("third", 1); /* is the newer one, whatever was there before */
    must_take("second");
    must_take("third");
}

static void test_spool_takes_off_a_part(void **state)
{
    (void)state;
    must_open();
    must_put("both halves", 5);
    must_put("other", 2);
    spool_take_off(world.spool, 3);
    must_hold(2, 4, 16);
    spool_take_off(world.spool, 3); /* no more than there are */
    must_hold(2, 2, 16);
    spool_remove(world.spool);
    must_hold(1, 2, 5);
}

static void test_spool_writes_on_after_a_short_write(void **state)
{
    (void)state;
    must_open();
    fault.write_most = 7;
    must_put("longer than seven bytes", 1);
    must_take("longer than seven bytes");
    assert_int_equal(fault.writes, 7 + 4);
}

static void test_spool_signals_share_a_directory(void **state)
{
    (void)state;
    struct spool *metrics;
    struct str request;
    struct spool_options options = {
        .path = world.path, .signal = SPOOL_METRICS, .max_bytes = 1 << 20, .max_files = 10};
    must_open();
    must_put("spans", 1);
    assert_int_equal(spool_open(&options, &world.problem, &metrics), 0);
    assert_int_equal(spool_get_account(metrics)->found, 0);
    assert_int_equal(spool_put(metrics, STR_LITERAL("points"), 6, true), 0);
    close_spool();
    must_open();
    assert_int_equal(account()->found, 1);
    assert_null(strstr(log_text(), "left alone"));
    assert_int_equal(spool_read(metrics, &world.bytes, &request), 0);
    assert_true(str_is(request, "points"));
    must_take("spans");
    spool_close(metrics);
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static void test_spool_gives_up_the_oldest_for_a_file_too_many(void **state)
{
    (void)state;
    assert_int_equal(open_with(1 << 20, 2), 0);
    must_put("one", 1);
    must_put("two", 2);
    must_hold(2, 3, 6);
    assert_int_equal(account()->given_up, 0);
    must_put("three", 4);
    must_hold(2, 6, 8);
    assert_int_equal(account()->given_up, 1);
    must_log("is full; 000000000000000001.traces with 1 spans or points is given up");
    must_take("two");
    must_take("three");
}

static void test_spool_gives_up_the_oldest_for_a_byte_too_many(void **state)
{
    (void)state;
    uint64_t max = 3 * (SPOOL_HEADER_BYTES + 5);
    assert_int_equal(open_with(max, 100), 0);
    must_put("aaaaa", 1);
    must_put("bbbbb", 2);
    must_put("ccccc", 4);
    must_hold(3, 7, 15);
    assert_int_equal(account()->bytes, max);
    must_put("dddddd", 5); /* one byte more: two files must go */
    must_hold(2, 9, 11);
    assert_int_equal(account()->given_up, 3);
    must_take("ccccc");
}

static void test_spool_refuses_what_is_larger_than_itself(void **state)
{
    (void)state;
    assert_int_equal(open_with(SPOOL_HEADER_BYTES + 5, 100), 0);
    must_put("aaaaa", 1);
    assert_int_equal(put("bbbbbb", 1), ERR_LIMIT);
    must_hold(1, 1, 5);
    must_put("ccccc", 1);
    must_take("ccccc");
}

static void test_spool_takes_the_longest_request(void **state)
{
    (void)state;
    char *longest = calloc(1, (size_t)SPOOL_REQUEST_MAX + 1);
    struct str request;
    assert_non_null(longest);
    assert_int_equal(open_with(UINT64_C(1) << 30, 100), 0);
    struct str one_over = {longest, (size_t)SPOOL_REQUEST_MAX + 1};
    struct str most = {longest, SPOOL_REQUEST_MAX};
    assert_int_equal(spool_put(world.spool, one_over, 1, false), ERR_LIMIT);
    assert_int_equal(spool_put(world.spool, most, 1, false), 0);
    assert_int_equal(spool_read(world.spool, &world.bytes, &request), 0);
    assert_int_equal(request.len, SPOOL_REQUEST_MAX);
    free(longest);
}

static void test_spool_obeys_ceilings_that_were_lowered(void **state)
{
    (void)state;
    must_open();
    must_put("one", 1);
    must_put("two", 2);
    must_put("three", 4);
    close_spool();
    assert_int_equal(open_with(1 << 20, 2), 0);
    must_hold(2, 6, 8);
    assert_int_equal(account()->found, 7);
    assert_int_equal(account()->given_up, 1);
}

/* --- the directory ----------------------------------------------------------------------------- */

static void test_spool_makes_its_directory_for_its_owner_alone(void **state)
{
    (void)state;
    struct stat st;
    mode_t old = umask(0);
    must_open();
    must_put("secret", 1);
    (void)umask(old);
    assert_int_equal(stat(world.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(path_of(file(1)), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(stat(path_of("traces.lock"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_spool_refuses_a_directory_for_others(void **state)
{
    (void)state;
    assert_int_equal(mkdir(world.path, 0700), 0);
    assert_int_equal(chmod(world.path, 0701), 0);
    must_refuse("has mode 0701, expected 0700");
    assert_int_equal(chmod(world.path, 0500), 0);
    must_refuse("has mode 0500, expected 0700");
    assert_int_equal(chmod(world.path, 0700), 0);
    must_open();
}

static void test_spool_refuses_a_link(void **state)
{
    (void)state;
    char other[3 * PATH_BYTES];
    (void)snprintf(other, sizeof other, "%s/other", world.parent);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(symlink(other, world.path), 0);
    must_refuse("is not a directory (links are not followed)");
    assert_int_equal(unlink(world.path), 0);
    FILE *out = fopen(world.path, "we");
    assert_non_null(out);
    (void)fclose(out);
    must_refuse("is not a directory");
}

static void test_spool_makes_only_the_last_component(void **state)
{
    (void)state;
    (void)snprintf(world.path, sizeof world.path, "%s/no/spool", world.parent);
    must_refuse("cannot make the directory: No such file or directory");
}

static void test_spool_refuses_the_directory_of_another_user(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        (void)snprintf(world.path, sizeof world.path, "/proc");
    } else {
        assert_int_equal(mkdir(world.path, 0700), 0);
        assert_int_equal(chown(world.path, 12345, 12345), 0);
    }
    must_refuse("belongs to user");
}

static void test_spool_is_for_one_daemon_at_a_time(void **state)
{
    (void)state;
    must_open();
    struct spool *first = world.spool;
    world.spool = NULL;
    must_refuse("another dwelld has this spool");
    spool_close(first);
    must_open();
}

/* --- what is found there ----------------------------------------------------------------------- */

static void test_spool_removes_what_was_not_finished(void **state)
{
    (void)state;
    assert_int_equal(mkdir(world.path, 0700), 0);
    make("000000000000000004.traces.tmp", "half");
    make("000000000000000004.metrics.tmp", "of others");
    must_open();
    assert_false(exists("000000000000000004.traces.tmp"));
    assert_true(exists("000000000000000004.metrics.tmp"));
    must_put("next", 1);
    assert_true(exists(file(5)));
}

static void test_spool_leaves_foreign_files_alone(void **state)
{
    (void)state;
    static const char *const names[] = {
        "README",
        "00000000000000001.traces",   /* a digit too few */
        "0000000000000000001.traces", /* one too many */
        "000000000000000000.traces",  /* there is no such number */
        "000000000000000001.trace",
        "000000000000000001.traces2",
        "000000000000000001.traces.old",
        "00000000000000000x.traces",
        "traces",
        "traces.lock2",
    };
    enum { NAMES = sizeof names / sizeof names[0] };
    assert_int_equal(mkdir(world.path, 0700), 0);
    for (unsigned i = 0; i < NAMES; i++) {
        make(names[i], "foreign");
    }
    assert_int_equal(mkdir(path_of(file(7)), 0700), 0);
    assert_int_equal(symlink("README", path_of(file(8))), 0);
    assert_int_equal(mkfifo(path_of(file(9)), 0600), 0);
    must_open();
    assert_int_equal(account()->found, 0);
    assert_int_equal(account()->damaged_files, 0);
    must_log("13 entries that are not dwelld's");
    for (unsigned i = 0; i < NAMES; i++) {
        assert_true(exists(names[i]));
    }
    must_put("next", 1);
    must_take("next");
    assert_true(exists(file(7)) && exists(file(8)) && exists(file(9)));
    assert_false(exists(file(10)));
}

static void test_spool_leaves_a_later_version_alone(void **state)
{
    (void)state;
    char bytes[SPOOL_HEADER_BYTES];
    assert_int_equal(mkdir(world.path, 0700), 0);
    spool_file_write(&(struct spool_header){.signal = SPOOL_TRACES}, bytes);
    bytes[8] = SPOOL_FILE_VERSION + 1;
    uint64_t hash = spool_file_hash((struct str){bytes, 40});
    for (unsigned i = 0; i < 8; i++) {
        bytes[40 + i] = (char)(hash >> 8 * i);
    }
    int fd = open(path_of(file(1)), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(close(fd), 0);
    must_open();
    must_log("1 entries that are not dwelld's");
    assert_int_equal(account()->damaged_files, 0);
    assert_true(exists(file(1)));
}

static void test_spool_sets_damaged_files_aside(void **state)
{
    (void)state;
    must_open();
    must_put("header", 1);
    must_put("cut", 2);
    must_put("longer", 4);
    must_put("request", 7);
    must_put("whole", 5);
    must_put("empty", 3);
    close_spool();
    flip(file(1), 20);
    assert_int_equal(truncate(path_of(file(2)), SPOOL_HEADER_BYTES + 2), 0);
    assert_int_equal(truncate(path_of(file(3)), SPOOL_HEADER_BYTES + 7), 0);
    flip(file(4), SPOOL_HEADER_BYTES + 3);
    assert_int_equal(truncate(path_of(file(6)), 0), 0);
    must_open();
    /* The first three are seen by their headers; how many the first had nobody knows. */
    assert_int_equal(account()->damaged_files, 4);
    assert_int_equal(account()->damaged, 2 + 4);
    assert_int_equal(account()->found, 2 + 4 + 7 + 5);
    assert_int_equal(read_code(), ERR_SYNTAX);
    assert_int_equal(account()->damaged_files, 5);
    assert_int_equal(account()->damaged, 2 + 4 + 7);
    must_take("whole");
    must_hold(0, 0, 0);
    assert_int_equal(count_names(".damaged"), 5);
    must_log("is damaged and set aside");
    close_spool();
    must_open(); /* they are not found again */
    assert_int_equal(account()->found, 0);
    assert_int_equal(account()->damaged_files, 0);
}

static void test_spool_takes_no_file_of_another_signal(void **state)
{
    (void)state;
    must_open();
    must_put("spans", 3);
    close_spool();
    char other[4 * PATH_BYTES];
    (void)snprintf(other, sizeof other, "%s", path_of("000000000000000001.metrics"));
    assert_int_equal(rename(path_of(file(1)), other), 0);
    struct spool_options options = {
        .path = world.path, .signal = SPOOL_METRICS, .max_bytes = 1 << 20, .max_files = 10};
    assert_int_equal(spool_open(&options, &world.problem, &world.spool), 0);
    assert_int_equal(account()->damaged, 3);
    assert_int_equal(account()->files, 0);
}

static void test_spool_keeps_a_bounded_number_of_damaged_files(void **state)
{
    (void)state;
    must_open();
    for (unsigned i = 1; i <= SPOOL_DAMAGED_MAX + 2; i++) {
        must_put("request", 1);
        flip(file(i), SPOOL_HEADER_BYTES);
        assert_int_equal(read_code(), ERR_SYNTAX);
        assert_int_equal(count_names(".damaged"), i < SPOOL_DAMAGED_MAX ? i : SPOOL_DAMAGED_MAX);
    }
    assert_int_equal(account()->damaged, SPOOL_DAMAGED_MAX + 2);
    must_hold(0, 0, 0);
    close_spool();
    must_open();
    must_put("request", 1);
    flip(file(SPOOL_DAMAGED_MAX + 1), SPOOL_HEADER_BYTES); /* after those that are still there */
    assert_int_equal(read_code(), ERR_SYNTAX);
    assert_int_equal(count_names(".damaged"), SPOOL_DAMAGED_MAX);
}

static void test_spool_goes_on_when_a_file_has_vanished(void **state)
{
    (void)state;
    must_open();
    must_put("one", 1);
    must_put("two", 2);
    assert_int_equal(unlink(path_of(file(1))), 0);
    assert_int_equal(read_code(), ERR_SYNTAX);
    assert_int_equal(account()->vanished, 1);
    assert_int_equal(account()->damaged_files, 0);
    must_log("has vanished; 1 spans or points are lost");
    must_take("two");
    must_hold(0, 0, 0);
}

/* --- a disk that does not do what it should ---------------------------------------------------- */

static void must_fail_and_recover(unsigned *after, unsigned count)
{
    must_put("before", 1);
    for (unsigned i = 1; i <= count; i++) {
        fault.writes = fault.syncs = fault.renames = 0;
        *after = i;
        assert_int_equal(put("lost", 1), ERR_SYSTEM);
        must_hold(1, 1, 6);
        assert_int_equal(account()->failures, i);
    }
    *after = 0;
    must_log("No space left on device");
    must_put("after", 1);
    must_log("works again after");
    close_spool();
    must_open();
    must_take("before");
    must_take("after");
    must_hold(0, 0, 0);
}

static void test_spool_leaves_nothing_of_a_failed_write(void **state)
{
    (void)state;
    must_open();
    must_fail_and_recover(&fault.write_after, 2); /* header, request */
}

static void test_spool_leaves_nothing_of_a_failed_sync(void **state)
{
    (void)state;
    must_open();
    must_fail_and_recover(&fault.sync_after, 2); /* file, directory */
}

static void test_spool_leaves_nothing_of_a_failed_rename(void **state)
{
    (void)state;
    must_open();
    must_fail_and_recover(&fault.rename_after, 1);
}

static void test_spool_logs_few_lines_of_a_full_disk(void **state)
{
    (void)state;
    must_open();
    fault.write_after = 1;
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(put("lost", 1), ERR_SYSTEM);
    }
    unsigned lines = 0;
    for (const char *at = log_text(); (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_true(lines > 0 && lines <= 5);
    assert_int_equal(account()->failures, 500);
    fault.write_after = 0;
    must_put("kept", 1);
    must_log("works again after 500 failures");
}

/* The kernel's own refusal: a file may have 100 bytes. */
static void test_spool_survives_a_limit_of_the_system(void **state)
{
    (void)state;
    struct rlimit before;
    char text[200];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    must_open();
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit few = {.rlim_cur = 100, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
    int too_long = put(text, 1);
    int fits = put("short", 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(too_long, ERR_SYSTEM);
    assert_int_equal(fits, 0);
    must_hold(1, 1, 5);
    must_take("short");
}

/* A real full disk, where the test may mount one. */
static void test_spool_survives_a_full_disk(void **state)
{
    (void)state;
    assert_int_equal(mkdir(world.path, 0700), 0);
    if (mount("none", world.path, "tmpfs", 0, "size=65536,mode=0700") != 0) {
        print_message("skipped: %s\n", strerror(errno));
        skip();
    }
    static char text[10000];
    memset(text, 'x', sizeof text - 1);
    must_open();
    unsigned kept = 0;
    int err;
    while ((err = put(text, 1)) == 0) {
        kept++;
        assert_true(kept < 20);
    }
    assert_int_equal(err, ERR_SYSTEM);
    assert_true(kept > 0);
    must_hold(kept, kept, kept * (sizeof text - 1));
    must_take(text);
    must_put(text, 1);
    must_log("works again");
    close_spool();
    assert_int_equal(umount(world.path), 0);
}

static void test_spool_makes_its_directory_again(void **state)
{
    (void)state;
    must_open();
    must_put("one", 1);
    assert_int_equal(unlink(path_of(file(1))), 0);
    assert_int_equal(unlink(path_of("traces.lock")), 0);
    assert_int_equal(rmdir(world.path), 0);
    must_put("two", 2);
    must_log("was removed, and is made again");
    assert_int_equal(read_code(), ERR_SYNTAX);
    assert_int_equal(account()->vanished, 1);
    must_take("two");
    must_hold(0, 0, 0);
}

static void test_spool_fails_while_its_directory_cannot_be_made(void **state)
{
    (void)state;
    must_open();
    assert_int_equal(unlink(path_of("traces.lock")), 0);
    assert_int_equal(rmdir(world.path), 0);
    int fd = open(world.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* in its place */
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(put("lost", 1), ERR_SYSTEM);
    must_log("is not a directory");
    assert_int_equal(account()->failures, 1);
    assert_int_equal(unlink(world.path), 0);
    must_put("kept", 1);
    must_log("works again after 1 failures");
    must_take("kept");
}

static void test_spool_memory_failures(void **state)
{
    (void)state;
    unsigned failures = 0;
    assert_int_equal(mkdir(world.path, 0700), 0);
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        int err = open_with(1 << 20, 1000);
        if (err == 0) {
            err = put("one", 1);
            struct str request;
            if (err == 0 && (err = spool_read(world.spool, &world.bytes, &request)) == 0) {
                spool_remove(world.spool);
            }
        }
        bool failed = mem_has_failed();
        mem_fail_after(0);
        close_spool();
        buf_fini(&world.bytes);
        if (!failed) {
            assert_int_equal(err, 0);
            break;
        }
        failures++;
        assert_int_equal(err, ERR_NOMEM);
    }
    assert_true(failures >= 4);
}

/* --- kill -9 ----------------------------------------------------------------------------------- */

/* The child: writes numbered requests without an end, and says of each that it was kept. */
static void write_for_ever(int told)
{
    char text[32];
    if (open_with(1 << 30, SPOOL_FILES_MAX) != 0) {
        _exit(1);
    }
    for (uint32_t number = 0;; number++) {
        (void)snprintf(text, sizeof text, "request %u", number);
        if (spool_put(world.spool, str_of(text), 1, false) != 0 ||
            write(told, &number, sizeof number) != (ssize_t)sizeof number) {
            _exit(1);
        }
    }
}

/* Whatever it was doing: all that was told to be kept is there, whole, and at most one more. */
static void test_spool_loses_nothing_by_kill_9(void **state)
{
    (void)state;
    enum { ROUNDS = 10 };
    uint32_t kept = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int told[2];
        uint32_t number = 0;
        uint32_t count = 0;
        assert_int_equal(pipe2(told, O_CLOEXEC), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            write_for_ever(told[1]);
        }
        assert_int_equal(close(told[1]), 0);
        while (count < 20 + 7 * round) {
            assert_int_equal(read(told[0], &number, sizeof number), sizeof number);
            count++;
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(told[0], &number, sizeof number) == (ssize_t)sizeof number) {
            count++;
        }
        assert_int_equal(close(told[0]), 0);
        assert_int_equal(open_with(1 << 30, SPOOL_FILES_MAX), 0);
        uint64_t files = account()->files;
        assert_true(files == count || files == count + 1);
        assert_int_equal(account()->damaged_files, 0);
        must_hold(files, files, account()->bytes - files * SPOOL_HEADER_BYTES);
        for (uint32_t i = 0; i < files; i++) {
            char text[32];
            (void)snprintf(text, sizeof text, "request %u", i);
            must_take(text);
        }
        kept += count;
        close_spool();
    }
    assert_true(kept >= ROUNDS * 20);
}

static int open_log(void **state)
{
    (void)state;
    log_fd = memfd_create("log", MFD_CLOEXEC);
    if (log_fd < 0) {
        return -1;
    }
    log_init(&(struct log_options){.fd = log_fd,
                                   .level = LOG_LEVEL_INFO,
                                   .hash = "h",
                                   .clock = {stand_still, stand_still, NULL}});
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spool_gives_back_the_oldest_first),
        TEST(test_spool_does_not_sync_what_need_not_be_durable),
        TEST(test_spool_many_files_in_order),
        TEST(test_spool_finds_its_files_again),
        TEST(test_spool_takes_off_a_part),
        TEST(test_spool_writes_on_after_a_short_write),
        TEST(test_spool_signals_share_a_directory),
        TEST(test_spool_gives_up_the_oldest_for_a_file_too_many),
        TEST(test_spool_gives_up_the_oldest_for_a_byte_too_many),
        TEST(test_spool_refuses_what_is_larger_than_itself),
        TEST(test_spool_takes_the_longest_request),
        TEST(test_spool_obeys_ceilings_that_were_lowered),
        TEST(test_spool_makes_its_directory_for_its_owner_alone),
        TEST(test_spool_refuses_a_directory_for_others),
        TEST(test_spool_refuses_a_link),
        TEST(test_spool_makes_only_the_last_component),
        TEST(test_spool_refuses_the_directory_of_another_user),
        TEST(test_spool_is_for_one_daemon_at_a_time),
        TEST(test_spool_removes_what_was_not_finished),
        TEST(test_spool_leaves_foreign_files_alone),
        TEST(test_spool_leaves_a_later_version_alone),
        TEST(test_spool_sets_damaged_files_aside),
        TEST(test_spool_takes_no_file_of_another_signal),
        TEST(test_spool_keeps_a_bounded_number_of_damaged_files),
        TEST(test_spool_goes_on_when_a_file_has_vanished),
        TEST(test_spool_leaves_nothing_of_a_failed_write),
        TEST(test_spool_leaves_nothing_of_a_failed_sync),
        TEST(test_spool_leaves_nothing_of_a_failed_rename),
        TEST(test_spool_logs_few_lines_of_a_full_disk),
        TEST(test_spool_survives_a_limit_of_the_system),
        TEST(test_spool_survives_a_full_disk),
        TEST(test_spool_makes_its_directory_again),
        TEST(test_spool_fails_while_its_directory_cannot_be_made),
        TEST(test_spool_memory_failures),
        TEST(test_spool_loses_nothing_by_kill_9),
    };
    return cmocka_run_group_tests(tests, open_log, NULL);
}
