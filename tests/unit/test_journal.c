/* The journal between a loop and its thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "io/journal.h"
#include "mem_fault.h"

enum {
    PATH_BYTES = 256,
    ENTRY_MAX = 1000,
    ROOM = ENTRY_MAX + JOURNAL_ENTRY_OVERHEAD,
    QUEUE = 3 * ROOM + (1 << 20), /* as io/journal.c has it */
};

static struct world {
    char parent[PATH_BYTES];
    char path[2 * PATH_BYTES];
    uv_loop_t loop;
    struct counters counters;
    struct journal journal;
    struct journal_client client;
    struct buf problem;
    uint64_t written; /* as the client was told last */
    unsigned calls;
    uint64_t read;
} world;

static atomic_bool disk_is_full;
static atomic_bool disk_hangs;
static sem_t has_begun;
static sem_t may_write;
static atomic_uint writes;

static ssize_t try_write(int fd, const void *bytes, size_t len)
{
    atomic_fetch_add(&writes, 1);
    if (atomic_load(&disk_hangs)) {
        (void)sem_post(&has_begun);
        (void)sem_wait(&may_write);
    }
    if (atomic_load(&disk_is_full)) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, bytes, len);
}

static const struct journal_calls calls = {try_write, ftruncate};

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    atomic_store(&disk_is_full, false);
    atomic_store(&disk_hangs, false);
    atomic_store(&writes, 0);
    const char *parent = getenv("TMPDIR");
    (void)snprintf(world.parent, sizeof world.parent, "%s/journal-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    if (mkdtemp(world.parent) == NULL || uv_loop_init(&world.loop) != 0) {
        return -1;
    }
    (void)snprintf(world.path, sizeof world.path, "%s/journal", world.parent);
    buf_init(&world.problem, 1 << 14);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[4 * PATH_BYTES];
    buf_fini(&world.problem);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world.parent);
    return uv_loop_close(&world.loop) == 0 && mem_count_live() == 0 && system(command) == 0 ? 0
                                                                                            : -1;
}

static void on_progress(void *ctx)
{
    (void)ctx;
    world.calls++;
    world.written = journal_written(&world.journal);
    uv_stop(&world.loop);
}

static int open_journal(uint64_t max_bytes)
{
    struct journal_options options = {
        .path = world.path, .max_bytes = max_bytes, .max_entry_bytes = ENTRY_MAX, .calls = &calls};
    return journal_open(&world.journal, &options, &world.problem);
}

static void note(void *ctx, const struct journal_entry *entry)
{
    (void)ctx;
    assert_int_equal(entry->who.mark.sequence, world.read);
    assert_true(str_is(entry->who.library, "lib/1"));
    assert_true(str_is(entry->who.service, "bus"));
    world.read++;
}

static void must_start(uint64_t max_bytes)
{
    assert_int_equal(open_journal(max_bytes), 0);
    world.read = 0;
    assert_int_equal(journal_read(&world.journal, 0, note, NULL), 0);
    assert_int_equal(journal_start(&world.journal, &world.loop, &world.counters), 0);
    world.client = (struct journal_client){.progress = on_progress};
    journal_enter(&world.journal, &world.client);
}

/* A writer that works ends, though not always in the time that it is given on a busy machine. */
static void must_close(void)
{
    journal_leave(&world.client);
    do {
        journal_close(&world.journal);
    } while (world.journal.has_thread);
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
}

/* Texts that go right after, as those of a connection may. */
static uint64_t append(uint64_t number, size_t bytes)
{
    static const char zeros[ENTRY_MAX];
    char library[] = "lib/1";
    char service[] = "bus";
    struct peer_identity who = {
        .mark = {.sequence = number}, .library = {library, 5}, .service = {service, 3}};
    journal_stage(&world.journal, JOURNAL_FRAMES, &who, 1);
    memset(library, 'x', sizeof library);
    memset(service, 'x', sizeof service);
    journal_gather(&world.journal, (struct str){zeros, bytes / 2});
    journal_gather(&world.journal, (struct str){zeros, bytes - bytes / 2});
    return journal_append(&world.journal);
}

/* Runs the loop until so much is written; a writer that says nothing hangs the test, which is killed. */
static void must_come_to(uint64_t position)
{
    while (world.written < position) {
        (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(world.written, position);
}

static void test_journal_tells_what_is_written(void **state)
{
    (void)state;
    must_start(2 * QUEUE);
    uint64_t position = 0;
    for (uint64_t i = 0; i < 100; i++) {
        position = append(i, i + 1);
    }
    assert_int_equal(position, journal_position(&world.journal));
    must_come_to(position);
    assert_int_equal(world.counters.value[COUNTER_JOURNAL_BYTES], position);
    must_close();
    must_start(2 * QUEUE);
    assert_int_equal(world.read, 100);
    assert_int_equal(journal_position(&world.journal), position);
    must_close();
}

static void test_journal_appends_nothing_of_nothing(void **state)
{
    (void)state;
    must_start(2 * QUEUE);
    assert_int_equal(append(0, 0), 0);
    must_close();
    assert_int_equal(atomic_load(&writes), 0);
}

static void test_journal_writes_what_waits_before_it_closes(void **state)
{
    (void)state;
    must_start(2 * QUEUE);
    for (uint64_t i = 0; i < 500; i++) {
        (void)append(i, ENTRY_MAX);
    }
    must_close();
    must_start(2 * QUEUE);
    assert_int_equal(world.read, 500);
    must_close();
}

/* At the limit there is room, and one over there is none; a checkpoint makes room again. */
static void test_journal_full_until_a_checkpoint(void **state)
{
    (void)state;
    must_start(2 * QUEUE);
    uint64_t number = 0;
    uint64_t position = 0;
    while (journal_has_room(&world.journal, ENTRY_MAX)) {
        position = append(number++, ENTRY_MAX);
        must_come_to(position);
    }
    uint64_t left = 2 * QUEUE - position;
    assert_true(left < ROOM);
    assert_true(left < JOURNAL_ENTRY_OVERHEAD ||
                journal_has_room(&world.journal, left - JOURNAL_ENTRY_OVERHEAD));
    assert_int_equal(world.counters.value[COUNTER_JOURNAL_STOPPED], 1);
    journal_forget_before(&world.journal, journal_position(&world.journal));
    while (world.counters.value[COUNTER_JOURNAL_STOPPED] !=
           0) { /* what told of that may be first */
        (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(world.counters.value[COUNTER_JOURNAL_BYTES], 0);
    assert_true(journal_has_room(&world.journal, ENTRY_MAX));
    must_come_to(append(number, ENTRY_MAX));
    must_close();
    assert_int_equal(open_journal(2 * QUEUE), 0);
    world.read = number;
    assert_int_equal(journal_read(&world.journal, 0, note, NULL), 0);
    assert_int_equal(world.read, number + 1);
    journal_close(&world.journal);
}

static void test_journal_full_disk_is_tried_again(void **state)
{
    (void)state;
    must_start(4 * QUEUE);
    atomic_store(&disk_is_full, true);
    uint64_t number = 0;
    while (journal_has_room(&world.journal, ENTRY_MAX)) {
        (void)append(number++, ENTRY_MAX);
    }
    uint64_t waiting = journal_position(&world.journal);
    assert_true(waiting > QUEUE - ROOM && waiting <= QUEUE);
    while (world.counters.value[COUNTER_JOURNAL_STOPPED] == 0) {
        (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    }
    assert_int_equal(world.written, 0);
    assert_true(world.counters.value[COUNTER_JOURNAL_FAILURES] > 0);
    atomic_store(&disk_is_full, false);
    must_come_to(waiting);
    assert_int_equal(world.counters.value[COUNTER_JOURNAL_STOPPED], 0);
    must_close();
}

static void test_journal_full_disk_at_the_end_does_not_hold_it(void **state)
{
    (void)state;
    must_start(2 * QUEUE);
    atomic_store(&disk_is_full, true);
    (void)append(0, 10);
    must_close();
    must_start(2 * QUEUE);
    assert_int_equal(world.read, 0);
    must_close();
}

/* The loop ends in time; the memory stays the writer's, until the process ends. */
static void test_journal_leaves_a_disk_behind_that_hangs(void **state)
{
    (void)state;
    assert_int_equal(sem_init(&has_begun, 0, 0) + sem_init(&may_write, 0, 0), 0);
    must_start(2 * QUEUE);
    atomic_store(&disk_hangs, true);
    (void)append(0, 10);
    (void)sem_wait(&has_begun);
    journal_leave(&world.client);
    journal_close(&world.journal);
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0); /* its handle is not waited for */
    assert_true(world.journal.has_thread);
    atomic_store(&disk_hangs, false);
    (void)sem_post(&may_write);
    while (world.journal.has_thread) { /* the process would have ended */
        journal_close(&world.journal);
    }
    assert_int_equal(uv_run(&world.loop, UV_RUN_DEFAULT), 0);
    must_start(2 * QUEUE);
    assert_int_equal(world.read, 1);
    must_close();
}

/* What the last checkpoint covers is removed, however soon the end comes after it. */
static void test_journal_forgets_at_the_end(void **state)
{
    (void)state;
    must_start(2 * QUEUE);
    must_come_to(append(0, 10));
    journal_forget_before(&world.journal, journal_position(&world.journal));
    must_close();
    must_start(2 * QUEUE);
    assert_int_equal(world.read, 0);
    must_close();
}

static void test_journal_of_a_size_that_holds_no_queue_is_refused(void **state)
{
    (void)state;
    assert_int_equal(open_journal(2 * QUEUE - 1), ERR_RANGE);
    assert_int_equal(open_journal(2 * QUEUE), 0);
    journal_close(&world.journal);
}

static void test_journal_without_memory(void **state)
{
    (void)state;
    int err = ERR_NOMEM;
    for (size_t n = 1; err != 0; n++) {
        buf_clear(&world.problem);
        mem_fail_after(n);
        err = open_journal(2 * QUEUE);
        mem_fail_after(0);
        assert_true(err == 0 || err == ERR_NOMEM);
    }
    journal_close(&world.journal);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_journal_tells_what_is_written),
        TEST(test_journal_appends_nothing_of_nothing),
        TEST(test_journal_writes_what_waits_before_it_closes),
        TEST(test_journal_full_until_a_checkpoint),
        TEST(test_journal_full_disk_is_tried_again),
        TEST(test_journal_full_disk_at_the_end_does_not_hold_it),
        TEST(test_journal_leaves_a_disk_behind_that_hangs),
        TEST(test_journal_forgets_at_the_end),
        TEST(test_journal_of_a_size_that_holds_no_queue_is_refused),
        TEST(test_journal_without_memory),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
