#include "core_helpers.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/err.h"
#include "io/handover.h"
#include "io/system.h"
#include "mem_fault.h"

enum { ASKERS_ROUNDS = 200, WRITES_A_TURN = 50, READERS = 2, PATIENCE_MS = 60000 };

/* A loop that writes all the time, and two reader threads, as the daemon has them. */
struct world {
    struct core core;
    uv_loop_t loop;
    uv_idle_t writer;
    uv_async_t stop;
    struct handover handover;
    struct handover_reader readers[READERS];
    _Atomic unsigned reading; /* threads that are not done */
    unsigned written;
};

static struct world world;

static void on_write(uv_idle_t *idle)
{
    (void)idle;
    static const char *const names[] = {"alpha-model", "beta-model", "gamma-model"};
    for (unsigned i = 0; i < WRITES_A_TURN; i++) {
        struct sample sample = sample_of(names[world.written++ % 3], 1 + i);
        must_record(&world.core, &sample);
        world.core.intake.accepted++;
    }
}

static void on_stop(uv_async_t *async)
{
    (void)uv_idle_stop(&world.writer);
    for (unsigned i = 0; i < READERS; i++) {
        handover_reader_close(&world.readers[i]);
    }
    handover_close(&world.handover);
    uv_close((uv_handle_t *)&world.writer, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static int open_world(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    struct clock clock = system_clock();
    world = (struct world){.written = 0};
    core_open(&world.core, &options);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(uv_idle_init(&world.loop, &world.writer), 0);
    assert_int_equal(uv_async_init(&world.loop, &world.stop, on_stop), 0);
    assert_int_equal(handover_start(&world.handover, &world.loop, &world.core.intake,
                                    &world.core.thresholds, &clock),
                     0);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(handover_reader_start(&world.handover, &world.readers[i]), 0);
    }
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_close(&world.loop), 0);
    while (limbo_sweep(&world.core.registry->limbo, SIZE_MAX)) {
    }
    core_close(&world.core);
    return 0;
}

/* Reader's thread: waits until `count` jobs came back, and returns them as a list. */
static struct job *must_collect(struct handover_reader *reader, unsigned count)
{
    struct job *all = NULL;
    while (count > 0) {
        struct pollfd wake = {.fd = reader->wake_fd, .events = POLLIN};
        assert_int_equal(poll(&wake, 1, PATIENCE_MS), 1);
        struct job *next;
        for (struct job *job = handover_collect(reader); job != NULL; job = next) {
            next = job->next;
            job->next = all;
            all = job;
            count--;
        }
    }
    return all;
}

/* Samples since the last reset and before it: nothing that a snapshot counts gets lost. */
static void must_be_whole(const struct snapshot *snapshot, struct profile_scratch *scratch)
{
    char *text = describe_snapshot(snapshot, scratch);
    assert_non_null(text);
    free(text);
    assert_int_equal(count_everything(snapshot), snapshot->accepted);
}

struct asker {
    struct handover_reader *reader;
    unsigned resets;
};

static void *ask_all_the_time(void *arg)
{
    struct profile_scratch *scratch = calloc(1, sizeof *scratch);
    struct asker *asker = arg;
    uint64_t seen = 0;
    for (unsigned round = 0; round < ASKERS_ROUNDS; round++) {
        struct job jobs[3] = {
            {.kind = JOB_SNAPSHOT},
            {.kind = JOB_SNAPSHOT},
            {.kind = JOB_RESET, .has_name = round % 2 == 0, .name = STR_LITERAL("beta-model")}};
        for (unsigned i = 0; i < 3; i++) {
            handover_submit(asker->reader, &jobs[i]);
        }
        (void)must_collect(asker->reader, 3);
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(jobs[i].err, 0);
            must_be_whole(jobs[i].share->snapshot, scratch);
            assert_true(jobs[i].share->snapshot->accepted >= seen);
            seen = jobs[i].share->snapshot->accepted;
            handover_return(&world.handover, jobs[i].share);
        }
        assert_int_equal(jobs[2].err, 0);
        asker->resets += (unsigned)jobs[2].reset_count;
    }
    free(scratch);
    if (--world.reading == 0) {
        (void)uv_async_send(&world.stop);
    }
    return NULL;
}

/* Each gets its own jobs, and all of them. */
static void test_handover_readers_beside_the_writer(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    struct asker askers[READERS];
    world.reading = READERS;
    assert_int_equal(uv_idle_start(&world.writer, on_write), 0);
    for (unsigned i = 0; i < READERS; i++) {
        askers[i] = (struct asker){.reader = &world.readers[i]};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_all_the_time, &askers[i]), 0);
    }
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(askers[i].resets > 0);
    }
    assert_true(world.written > 0);
    assert_in_range(world.core.counters.snapshot.count, ASKERS_ROUNDS, 2 * READERS * ASKERS_ROUNDS);
}

/* A snapshot that several threads share goes when the last of them is done with it. */
static void test_handover_gives_each_reader_its_own(void **state)
{
    (void)state;
    struct job jobs[3] = {{.kind = JOB_SNAPSHOT}, {.kind = JOB_SNAPSHOT}, {.kind = JOB_SNAPSHOT}};
    handover_submit(&world.readers[0], &jobs[0]);
    handover_submit(&world.readers[1], &jobs[1]);
    handover_submit(&world.readers[0], &jobs[2]);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_ptr_equal(must_collect(&world.readers[1], 1), &jobs[1]);
    assert_null(jobs[1].next);
    assert_null(handover_collect(&world.readers[1]));
    (void)must_collect(&world.readers[0], 2);
    assert_null(handover_collect(&world.readers[0]));
    assert_int_equal(world.core.counters.snapshot.count, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_ptr_equal(jobs[i].share, jobs[0].share);
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        assert_true(world.core.registry->limbo.shared_epoch > 0);
        handover_return(&world.handover, jobs[i].share);
    }
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.core.registry->limbo.shared_epoch, 0);
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

/* A ping freezes nothing, and tells whether the daemon ends. */
static void test_handover_pings(void **state)
{
    (void)state;
    for (int stopping = 0; stopping <= 1; stopping++) {
        struct job ping = {.kind = JOB_PING};
        world.handover.is_stopping = stopping == 1;
        handover_submit(&world.readers[0], &ping);
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        assert_ptr_equal(must_collect(&world.readers[0], 1), &ping);
        assert_int_equal(ping.err, 0);
        assert_int_equal(ping.is_stopping, stopping);
        assert_null(ping.share);
        assert_int_equal(world.core.counters.snapshot.count, 0);
    }
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

/* The clocks of the handover: the monotonic one passes with each look, the wall clock is hours ahead. */
static uint64_t mono_ns, passing_ns, hours_ahead;

static uint64_t read_mono(void *ctx)
{
    (void)ctx;
    return mono_ns += passing_ns;
}

static uint64_t read_wall(void *ctx)
{
    (void)ctx;
    return mono_ns + hours_ahead * 3600 * NS_PER_SECOND;
}

/* A snapshot sees as many steps of the wall clock, and the last one. */
static void must_see_steps(uint64_t steps, double seconds)
{
    struct job job = {.kind = JOB_SNAPSHOT};
    handover_submit(&world.readers[0], &job);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    (void)must_collect(&world.readers[0], 1);
    const struct counters *counters = &job.share->snapshot->counters;
    assert_int_equal(counters->value[COUNTER_CLOCK_STEPS], steps);
    assert_int_equal(counters->clock.steps, steps);
    assert_true(counters->clock.step_seconds == seconds);
    handover_return(&world.handover, job.share);
}

static void test_handover_notices_that_the_clock_was_set(void **state)
{
    (void)state;
    world.handover.clock = (struct clock){.mono_ns = read_mono, .wall_ns = read_wall};
    mono_ns = NS_PER_SECOND;
    passing_ns = NS_PER_SECOND / 10 - 1;
    hours_ahead = 0;
    must_see_steps(0, 0);
    hours_ahead = 1;
    must_see_steps(1, 3600);
    hours_ahead = 0;
    must_see_steps(2, -3600);
    hours_ahead = 1;
    passing_ns = NS_PER_SECOND / 10; /* it was stopped between the looks at the two clocks */
    must_see_steps(2, -3600);
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

/* One that ends takes back its own jobs only. */
static void test_handover_takes_back_of_one_reader(void **state)
{
    (void)state;
    struct job jobs[4] = {{.kind = JOB_SNAPSHOT},
                          {.kind = JOB_SNAPSHOT},
                          {.kind = JOB_SNAPSHOT},
                          {.kind = JOB_SNAPSHOT}};
    for (unsigned i = 0; i < 4; i++) {
        handover_submit(&world.readers[i % 2], &jobs[i]);
    }
    unsigned count = 0;
    for (struct job *job = handover_cancel(&world.readers[1]); job != NULL; job = job->next) {
        assert_true(job == &jobs[1] || job == &jobs[3]);
        count++;
    }
    assert_int_equal(count, 2);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    (void)must_collect(&world.readers[0], 2);
    handover_return(&world.handover, jobs[0].share);
    handover_return(&world.handover, jobs[2].share);
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

/* Jobs that wait together share one snapshot. */
static void test_handover_freezes_once_for_all_who_wait(void **state)
{
    (void)state;
    struct job jobs[5] = {{.kind = JOB_SNAPSHOT}};
    for (unsigned i = 0; i < 5; i++) {
        jobs[i] = (struct job){.kind = JOB_SNAPSHOT};
        handover_submit(&world.readers[0], &jobs[i]);
    }
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    (void)must_collect(&world.readers[0], 5);
    assert_int_equal(world.core.counters.snapshot.count, 1);
    for (unsigned i = 0; i < 5; i++) {
        assert_ptr_equal(jobs[i].share, jobs[0].share);
    }
    for (unsigned i = 0; i < 5; i++) {
        handover_return(&world.handover, jobs[i].share);
    }
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.core.registry->limbo.shared_epoch, 0);
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

static void test_handover_too_many_snapshots_is_an_answer(void **state)
{
    (void)state;
    struct job jobs[LIMBO_SNAPSHOTS_MAX + 1];
    for (unsigned i = 0; i <= LIMBO_SNAPSHOTS_MAX; i++) {
        jobs[i] = (struct job){.kind = JOB_SNAPSHOT};
        handover_submit(&world.readers[0], &jobs[i]);
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        (void)must_collect(&world.readers[0], 1);
        assert_int_equal(jobs[i].err, i < LIMBO_SNAPSHOTS_MAX ? 0 : ERR_LIMIT);
    }
    assert_int_equal(world.core.counters.value[COUNTER_SNAPSHOTS_REFUSED], 1);
    for (unsigned i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        handover_return(&world.handover, jobs[i].share);
    }
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

static void test_handover_without_memory_is_an_answer(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        struct job job = {.kind = JOB_SNAPSHOT};
        handover_submit(&world.readers[0], &job);
        mem_fail_after(n);
        (void)uv_run(&world.loop, UV_RUN_NOWAIT);
        mem_fail_after(0);
        (void)must_collect(&world.readers[0], 1);
        assert_int_equal(job.err, ERR_NOMEM);
        assert_null(job.share);
    }
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

static void test_handover_gives_back_what_nobody_waits_for(void **state)
{
    (void)state;
    struct job done = {.kind = JOB_SNAPSHOT};
    struct job pending = {.kind = JOB_SNAPSHOT};
    handover_submit(&world.readers[0], &done);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    handover_submit(&world.readers[0], &pending);
    unsigned count = 0;
    for (struct job *job = handover_cancel(&world.readers[0]); job != NULL; job = job->next) {
        count++;
        if (job->share != NULL) {
            handover_return(&world.handover, job->share);
        }
    }
    assert_int_equal(count, 2);
    assert_non_null(done.share);
    assert_null(pending.share);
    (void)uv_async_send(&world.stop);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_handover_readers_beside_the_writer, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_gives_each_reader_its_own, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_pings, open_world, close_world),
        cmocka_unit_test_setup_teardown(test_handover_notices_that_the_clock_was_set, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_takes_back_of_one_reader, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_freezes_once_for_all_who_wait, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_too_many_snapshots_is_an_answer, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_without_memory_is_an_answer, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(test_handover_gives_back_what_nobody_waits_for, open_world,
                                        close_world),
    };
    return cmocka_run_group_tests_name("handover", tests, core_tables, NULL);
}
