/* The journal's directory, with failures put in the place of write and ftruncate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "io/journal_disk.h"
#include "mem_fault.h"

enum { PATH_BYTES = 256, WRITE_MOST = 65536, MAX_BYTES = 8 << 20 };

static struct world {
    char parent[PATH_BYTES];
    char path[2 * PATH_BYTES];
    struct journal_disk disk;
    struct buf problem;
    struct buf entries;
    uint64_t taken; /* sequence numbers of the entries that were read, in order */
    uint64_t next;
} world;

static struct fault {
    size_t room; /* bytes that are still taken */
    bool cut_fails;
} fault;

static ssize_t try_write(int fd, const void *bytes, size_t len)
{
    if (fault.room == 0) {
        errno = ENOSPC;
        return -1;
    }
    size_t taken = len < fault.room ? len : fault.room;
    fault.room -= taken;
    return write(fd, bytes, taken);
}

static int try_cut(int fd, off_t len)
{
    if (fault.cut_fails) {
        errno = EIO;
        return -1;
    }
    return ftruncate(fd, len);
}

static const struct journal_calls calls = {try_write, try_cut};

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    fault = (struct fault){.room = SIZE_MAX};
    const char *parent = getenv("TMPDIR");
    (void)snprintf(world.parent, sizeof world.parent, "%s/journal-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    if (mkdtemp(world.parent) == NULL) {
        return -1;
    }
    (void)snprintf(world.path, sizeof world.path, "%s/journal", world.parent);
    buf_init(&world.problem, 1 << 14);
    buf_init(&world.entries, 2 * WRITE_MOST);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[4 * PATH_BYTES];
    journal_disk_close(&world.disk);
    buf_fini(&world.problem);
    buf_fini(&world.entries);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world.parent);
    return mem_count_live() == 0 && system(command) == 0 ? 0 : -1;
}

/* --- verbs ------------------------------------------------------------------------------------- */

static void must_open(void)
{
    assert_int_equal(journal_disk_open(&world.disk, world.path, MAX_BYTES, &calls, &world.problem),
                     0);
}

static void note(void *ctx, const struct journal_entry *entry)
{
    (void)ctx;
    assert_int_equal(entry->who.mark.sequence, world.next);
    world.next++;
    world.taken++;
}

/* Opens it, and reads the entries from the number `first` on to before `end`, from a position. */
static void must_read_from(uint64_t from, uint64_t first, uint64_t end)
{
    must_open();
    world.taken = 0;
    world.next = first;
    assert_int_equal(journal_disk_read(&world.disk, from, note, NULL), 0);
    assert_int_equal(world.taken, end - first);
}

static void must_read(uint64_t count)
{
    must_read_from(0, 0, count);
}

static struct str entry_of(uint64_t number, size_t bytes)
{
    static const char zeros[WRITE_MOST];
    struct journal_entry entry = {
        .kind = JOURNAL_FRAMES, .who = {.mark = {.sequence = number}}, .bytes = {zeros, bytes}};
    buf_clear(&world.entries);
    journal_entry_write(&entry, &world.entries);
    assert_int_equal(world.entries.err, 0);
    return (struct str){world.entries.data, world.entries.len};
}

static void must_write(uint64_t first, uint64_t end, size_t bytes)
{
    for (uint64_t i = first; i < end; i++) {
        assert_int_equal(journal_disk_write(&world.disk, entry_of(i, bytes)), 0);
    }
}

static const char *file(uint64_t position)
{
    static char path[4 * PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%020llu.journal", world.path,
                   (unsigned long long)position);
    return path;
}

static bool exists(uint64_t position)
{
    return access(file(position), F_OK) == 0;
}

static off_t must_size(uint64_t position)
{
    struct stat st;
    assert_int_equal(stat(file(position), &st), 0);
    return st.st_size;
}

/* --- writing and reading ----------------------------------------------------------------------- */

static void test_journal_disk_reads_what_was_written(void **state)
{
    (void)state;
    must_read(0);
    assert_false(exists(0)); /* not before it is needed */
    must_write(0, 10, 100);
    assert_int_equal(journal_disk_begin(&world.disk), 0);
    assert_int_equal(journal_disk_end(&world.disk), 10 * (100 + JOURNAL_ENTRY_FIXED_BYTES));
    journal_disk_close(&world.disk);
    must_read(10);
    must_write(10, 20, 0);
    journal_disk_close(&world.disk);
    must_read(20);
    assert_int_equal(world.disk.count, 1); /* it goes on in the same segment */
}

static void test_journal_disk_begins_segments_and_forgets_them(void **state)
{
    (void)state;
    must_read(0);
    size_t entry = 65000 + JOURNAL_ENTRY_FIXED_BYTES;
    uint64_t in_one = MAX_BYTES / JOURNAL_SEGMENTS / entry + 1;
    must_write(0, 3 * in_one, 65000);
    assert_int_equal(world.disk.count, 3);
    uint64_t second = in_one * entry;
    journal_disk_forget(&world.disk, second - 1);
    assert_true(exists(0));
    journal_disk_forget(&world.disk, second);
    assert_false(exists(0));
    assert_true(exists(second));
    assert_int_equal(journal_disk_begin(&world.disk), second);
    journal_disk_close(&world.disk);
    must_read_from(second, in_one, 3 * in_one);
    journal_disk_close(&world.disk);
    must_read_from(second + entry, in_one + 1, 3 * in_one);
    journal_disk_forget(&world.disk, journal_disk_end(&world.disk)); /* the newest, too */
    assert_int_equal(world.disk.count, 0);
    assert_int_equal(journal_disk_begin(&world.disk), 3 * second);
    must_write(3 * in_one, 3 * in_one + 1, 10);
    assert_true(exists(3 * second));
    journal_disk_close(&world.disk);
    must_read_from(0, 3 * in_one, 3 * in_one + 1);
}

static void test_journal_disk_goes_on_where_the_state_says(void **state)
{
    (void)state;
    must_read_from(5000, 0, 0);
    assert_int_equal(journal_disk_end(&world.disk), 5000);
    must_write(0, 1, 10);
    assert_true(exists(5000));
    journal_disk_close(&world.disk);
    must_read_from(9000, 0, 0);
    must_write(1, 2, 10);
    assert_true(exists(9000));
    journal_disk_close(&world.disk);
    must_read(2); /* what is between is missing, and told */
}

/* --- damage ------------------------------------------------------------------------------------ */

static void test_journal_disk_cuts_a_torn_end_at_every_byte(void **state)
{
    (void)state;
    must_read(0);
    must_write(0, 2, 20);
    off_t whole = must_size(0);
    off_t entry = 20 + JOURNAL_ENTRY_FIXED_BYTES;
    for (off_t cut = 1; cut < entry; cut++) {
        journal_disk_close(&world.disk);
        assert_int_equal(truncate(file(0), whole - cut), 0);
        must_read(1);
        assert_int_equal(must_size(0), whole - entry);
        must_write(1, 2, 20);
    }
    journal_disk_close(&world.disk);
    must_read(2);
}

static void test_journal_disk_begins_anew_what_was_just_being_made(void **state)
{
    (void)state;
    for (off_t len = 0; len < JOURNAL_HEADER_BYTES; len++) {
        must_read(0);
        must_write(0, 1, 20);
        journal_disk_close(&world.disk);
        assert_int_equal(truncate(file(0), len), 0);
    }
    must_read(0);
    must_write(0, 1, 20);
    journal_disk_close(&world.disk);
    must_read(1);
}

static void test_journal_disk_sets_aside_what_is_no_segment(void **state)
{
    (void)state;
    must_read(0);
    must_write(0, 1, 20);
    journal_disk_close(&world.disk);
    char written[4 * PATH_BYTES];
    (void)snprintf(written, sizeof written, "%s", file(0));
    assert_int_equal(rename(written, file(7)), 0);
    must_read(0); /* its header tells another position */
    assert_false(exists(7));
    char aside[4 * PATH_BYTES + sizeof ".damaged"];
    (void)snprintf(aside, sizeof aside, "%s.damaged", file(7));
    assert_int_equal(access(aside, F_OK), 0);
    must_write(0, 1, 20);
    journal_disk_close(&world.disk);
    must_read(1);
}

/* What was written under other ceilings than those of today. */
static void test_journal_disk_reads_segments_of_any_size(void **state)
{
    (void)state;
    enum { LARGE = 3 * JOURNAL_SEGMENT_MOST };
    char *zeros = mem_zalloc(1, LARGE);
    struct journal_entry entry = {.kind = JOURNAL_FRAMES, .bytes = {zeros, LARGE}};
    struct buf entries;
    buf_init(&entries, 2 * LARGE);
    assert_non_null(zeros);
    journal_entry_write(&entry, &entries);
    must_read(0);
    assert_int_equal(journal_disk_write(&world.disk, (struct str){entries.data, entries.len}), 0);
    must_write(1, 2, 20);
    buf_fini(&entries);
    mem_free(zeros);
    journal_disk_close(&world.disk);
    must_read(2);
    assert_int_equal(world.disk.set_aside, 0);
}

static void test_journal_disk_sets_aside_what_is_longer_than_any_segment(void **state)
{
    (void)state;
    must_read(0);
    must_write(0, 1, 20);
    journal_disk_close(&world.disk);
    assert_int_equal(truncate(file(0), JOURNAL_READ_MOST), 0);
    must_read(1);
    assert_int_equal(truncate(file(0), (off_t)JOURNAL_READ_MOST + 1), 0);
    journal_disk_close(&world.disk);
    must_read(0);
    assert_int_equal(world.disk.set_aside, 1);
}

/* --- failures ---------------------------------------------------------------------------------- */

static void test_journal_disk_takes_a_failed_write_back(void **state)
{
    (void)state;
    must_read(0);
    must_write(0, 1, 20);
    size_t entry = 20 + JOURNAL_ENTRY_FIXED_BYTES;
    for (size_t room = 0; room < entry; room++) {
        fault.room = room;
        assert_int_equal(journal_disk_write(&world.disk, entry_of(1, 20)), ERR_SYSTEM);
        assert_int_equal(must_size(0), JOURNAL_HEADER_BYTES + entry);
        assert_int_equal(journal_disk_end(&world.disk), entry);
    }
    fault.room = SIZE_MAX;
    must_write(1, 2, 20);
    journal_disk_close(&world.disk);
    must_read(2);
}

static void test_journal_disk_leaves_a_segment_that_cannot_be_cut(void **state)
{
    (void)state;
    must_read(0);
    must_write(0, 1, 20);
    fault = (struct fault){.room = 50, .cut_fails = true};
    assert_int_equal(journal_disk_write(&world.disk, entry_of(1, 20)), ERR_SYSTEM);
    fault = (struct fault){.room = SIZE_MAX};
    must_write(1, 3, 20);
    assert_true(exists(20 + JOURNAL_ENTRY_FIXED_BYTES));
    journal_disk_close(&world.disk);
    must_read(3);
}

/* Of a new segment every byte, the header's first. */
static void test_journal_disk_begins_a_segment_again_when_that_failed(void **state)
{
    (void)state;
    must_read(0);
    for (size_t room = 0; room < JOURNAL_HEADER_BYTES + 50; room++) {
        fault = (struct fault){.room = room, .cut_fails = true};
        assert_int_equal(journal_disk_write(&world.disk, entry_of(0, 20)), ERR_SYSTEM);
        assert_false(exists(0));
    }
    fault = (struct fault){.room = SIZE_MAX};
    must_write(0, 1, 20);
    journal_disk_close(&world.disk);
    must_read(1);
}

static void must_refuse(const char *sentence)
{
    buf_clear(&world.problem);
    assert_int_equal(journal_disk_open(&world.disk, world.path, MAX_BYTES, NULL, &world.problem),
                     ERR_SYSTEM);
    buf_char(&world.problem, '\0');
    assert_non_null(strstr(world.problem.data, sentence));
}

static void test_journal_disk_refuses_a_directory_that_is_not_its_own(void **state)
{
    (void)state;
    assert_int_equal(mkdir(world.path, 0755), 0);
    must_refuse("has mode 0755, expected 0700");
    assert_int_equal(rmdir(world.path), 0);
    assert_int_equal(symlink(world.parent, world.path), 0);
    must_refuse("links are not followed");
    assert_int_equal(unlink(world.path), 0);
    struct journal_disk first;
    assert_int_equal(journal_disk_open(&first, world.path, MAX_BYTES, NULL, &world.problem), 0);
    must_refuse("another dwelld has this journal");
    journal_disk_close(&first);
    must_read(0);
}

static void test_journal_disk_without_memory(void **state)
{
    (void)state;
    must_read(0);
    must_write(0, 3, 20);
    journal_disk_close(&world.disk);
    int err = ERR_NOMEM;
    for (size_t n = 1; err != 0; n++) {
        mem_fail_after(n);
        buf_clear(&world.problem);
        err = journal_disk_open(&world.disk, world.path, MAX_BYTES, NULL, &world.problem);
        world.next = 0;
        if (err == 0) {
            err = journal_disk_read(&world.disk, 0, note, NULL);
            journal_disk_close(&world.disk);
        }
        mem_fail_after(0);
        assert_true(err == 0 || err == ERR_NOMEM);
    }
    must_read(3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_journal_disk_reads_what_was_written),
        TEST(test_journal_disk_begins_segments_and_forgets_them),
        TEST(test_journal_disk_goes_on_where_the_state_says),
        TEST(test_journal_disk_cuts_a_torn_end_at_every_byte),
        TEST(test_journal_disk_begins_anew_what_was_just_being_made),
        TEST(test_journal_disk_sets_aside_what_is_no_segment),
        TEST(test_journal_disk_reads_segments_of_any_size),
        TEST(test_journal_disk_sets_aside_what_is_longer_than_any_segment),
        TEST(test_journal_disk_takes_a_failed_write_back),
        TEST(test_journal_disk_leaves_a_segment_that_cannot_be_cut),
        TEST(test_journal_disk_begins_a_segment_again_when_that_failed),
        TEST(test_journal_disk_refuses_a_directory_that_is_not_its_own),
        TEST(test_journal_disk_without_memory),
    };
    return cmocka_run_group_tests_name("journal_disk", tests, NULL, NULL);
}
