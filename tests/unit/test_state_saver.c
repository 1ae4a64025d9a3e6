#include "core_helpers.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "io/state_file.h"
#include "render/state.h"

/* Between the saver and the disk: it can be made to hang, to fail, and counts. */
static sem_t may_write;
static sem_t has_begun;
static atomic_bool hangs;
static atomic_bool fails;
static atomic_uint writes;

static int write_or_hang(struct state_file *file, struct str head, struct str body,
                         struct buf *problem)
{
    writes++;
    (void)sem_post(&has_begun);
    if (hangs) {
        (void)sem_wait(&may_write);
    }
    if (fails) {
        buf_puts(problem, "the test says so");
        return ERR_SYSTEM;
    }
    return state_file_write(file, head, body, problem);
}

static atomic_bool rendered;
static atomic_bool is_timed; /* the disk's time has begun to run */
static atomic_bool was_timed_early;
static sem_t may_render;
static atomic_bool renders_late;

/* Late: when the loop waits for it. */
static int render_late(const struct state_source *source, struct buf *out, size_t *ret_lasting)
{
    if (renders_late) {
        (void)sem_wait(&may_render);
    }
    int err = state_render(source, out, ret_lasting);
    rendered = true;
    return err;
}

static int let_render_and_wait(sem_t *steps)
{
    (void)sem_post(&may_render);
    return sem_wait(steps);
}

/* A disk that works has for ever, as far as a busy machine goes; one that hangs has what it is given. */
static int disk_clock(clockid_t clock, struct timespec *ret_now)
{
    int err = clock_gettime(clock, ret_now);
    was_timed_early = was_timed_early || !rendered;
    is_timed = true;
    ret_now->tv_sec += hangs ? 0 : 60;
    return err;
}

#define state_file_write write_or_hang
#define state_render     render_late
#define sem_wait         let_render_and_wait
#define clock_gettime    disk_clock
#include "io/state_saver.c"
#undef state_file_write
#undef state_render
#undef sem_wait
#undef clock_gettime

#include "mem_fault.h"
#include "wire/state.h"

static struct {
    struct core core;
    uv_loop_t loop;
    struct handover handover;
    struct self self;
    struct state_file file;
    struct state_saver saver;
    char place[64];
    char path[96];
} world;

static uint64_t mono_ns(void *ctx)
{
    (void)ctx;
    return world.core.mono_ns;
}

static uint64_t wall_ns(void *ctx)
{
    (void)ctx;
    return world.core.wall_ns;
}

/* Saves by itself only when told so often. */
static void open_world(uint64_t interval_ms)
{
    struct registry_options options = core_options();
    struct clock clock = {.mono_ns = mono_ns, .wall_ns = wall_ns};
    struct thresholds thresholds = {.gpu = core_gpu};
    memset(&world, 0, sizeof world);
    hangs = fails = renders_late = false;
    rendered = is_timed = was_timed_early = false;
    writes = 0;
    assert_int_equal(sem_init(&may_render, 0, 0), 0);
    assert_int_equal(sem_init(&may_write, 0, 0), 0);
    assert_int_equal(sem_init(&has_begun, 0, 0), 0);
    (void)snprintf(world.place, sizeof world.place, "/tmp/dwell-test-saver-XXXXXX");
    assert_non_null(mkdtemp(world.place));
    (void)snprintf(world.path, sizeof world.path, "%s/state", world.place);
    world.file = (struct state_file){.path = world.path, .lock_fd = -1};
    core_open(&world.core, &options);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(
        handover_start(&world.handover, &world.loop, &world.core.intake, &thresholds, &clock), 0);
    struct state_saver_options how = {.file = &world.file,
                                      .interval_ms = interval_ms,
                                      .max_bytes = 1 << 20,
                                      .handover = &world.handover,
                                      .self = &world.self};
    assert_int_equal(state_saver_start(&world.saver, &world.loop, &how), 0);
}

static void remove_place(void)
{
    static const char *const names[] = {"state", "state.new", "state.lock"};
    char path[128];
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", world.place, names[i]);
        (void)unlink(path); /* there may be none */
    }
    assert_int_equal(rmdir(world.place), 0);
}

static void close_world(void)
{
    state_saver_close(&world.saver);
    handover_close(&world.handover);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    state_file_unlock(&world.file);
    core_close(&world.core);
    remove_place();
}

/* A checkpoint that says what came of it. */
struct answer {
    struct checkpoint checkpoint;
    int err;
    bool is_there;
    bool asks_again; /* from within */
};

static void on_answer(void *ctx, int err)
{
    struct answer *answer = ctx;
    answer->err = err;
    answer->is_there = true;
    if (answer->asks_again) {
        answer->asks_again = false;
        answer->is_there = false;
        state_saver_checkpoint(&world.saver, &answer->checkpoint);
    }
}

static void ask(struct answer *answer)
{
    answer->checkpoint = (struct checkpoint){.done = on_answer, .ctx = answer};
    answer->is_there = false;
    state_saver_checkpoint(&world.saver, &answer->checkpoint);
}

static void await(const struct answer *answer, int err)
{
    while (!answer->is_there) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    assert_int_equal(answer->err, err);
}

static void count_one(void)
{
    struct metric metric = metric_of(METRIC_COUNT, "jobs", 1, "");
    must_count(&world.core, &metric, NULL);
}

static double saved_jobs;

static int take_series(void *ctx, const struct saved_series *series)
{
    (void)ctx;
    saved_jobs = series->number;
    return 0;
}

/* What is on the disk says so many. */
static void must_be_on_disk(double jobs)
{
    const struct saved_sink sink = {.series = take_series};
    struct buf bytes;
    struct buf problem;
    struct str body;
    buf_init(&bytes, 1 << 20);
    buf_init(&problem, 4096);
    saved_jobs = 0;
    assert_int_equal(state_file_read(&world.file, &bytes, &problem), 0);
    assert_int_equal(state_head_read((struct str){bytes.data, bytes.len}, &body), 0);
    assert_int_equal(state_read(body, &sink), 0);
    assert_true(saved_jobs == jobs);
    buf_fini(&bytes);
    buf_fini(&problem);
}

static uint64_t counter(enum counter which)
{
    return world.core.counters.value[which];
}

static void test_state_saver_answers_when_it_is_on_the_disk(void **state)
{
    (void)state;
    struct answer answer = {.err = 1};
    open_world(UINT32_MAX);
    count_one();
    ask(&answer);
    count_one(); /* after the freeze */
    await(&answer, 0);
    must_be_on_disk(1);
    assert_int_equal(counter(COUNTER_STATE_SAVES), 1);
    ask(&answer); /* is written though nobody else would */
    await(&answer, 0);
    must_be_on_disk(2);
    assert_int_equal(writes, 2);
    close_world();
}

/* Who asks while a save goes on is answered by the next one: what counted meanwhile is in that. */
static void test_state_saver_answers_each_with_its_own(void **state)
{
    (void)state;
    struct answer answers[3] = {{.err = 1}, {.err = 1}, {.err = 1}};
    open_world(UINT32_MAX);
    hangs = true;
    count_one();
    ask(&answers[0]);
    (void)sem_wait(&has_begun);
    count_one();
    ask(&answers[1]);
    ask(&answers[2]);
    (void)sem_post(&may_write);
    await(&answers[0], 0);
    must_be_on_disk(1); /* the next one hangs */
    (void)sem_post(&may_write);
    await(&answers[1], 0);
    await(&answers[2], 0);
    must_be_on_disk(2);
    assert_int_equal(writes, 2);
    close_world();
}

static void test_state_saver_may_be_asked_from_an_answer(void **state)
{
    (void)state;
    struct answer answer = {.err = 1, .asks_again = true};
    open_world(UINT32_MAX);
    ask(&answer);
    await(&answer, 0);
    assert_int_equal(writes, 2);
    close_world();
}

static void test_state_saver_tells_who_asked_that_it_failed(void **state)
{
    (void)state;
    struct answer answer = {.err = 0};
    open_world(UINT32_MAX);
    fails = true;
    count_one();
    ask(&answer);
    await(&answer, ERR_SYSTEM);
    assert_int_equal(counter(COUNTER_STATE_FAILURES), 1);
    fails = false;
    ask(&answer);
    await(&answer, 0);
    must_be_on_disk(1);
    close_world();
}

static size_t put_nothing(void *ctx, char *ret_position)
{
    (void)ctx;
    (void)ret_position;
    return 0;
}

static void count_covered(void *ctx, struct str position)
{
    (void)position;
    ++*(unsigned *)ctx;
}

/* What no later daemon could read: the file that was there stays, and so does what the journal has. */
static void test_state_saver_writes_nothing_that_cannot_be_read(void **state)
{
    (void)state;
    struct answer answer = {.err = 0};
    unsigned covered = 0;
    open_world(UINT32_MAX);
    state_saver_set_journal(&world.saver, put_nothing, count_covered, &covered);
    count_one();
    ask(&answer);
    await(&answer, 0);
    world.core.intake.ledger->view.all.sent++; /* the sum does not hold */
    ask(&answer);
    await(&answer, ERR_FRAME);
    must_be_on_disk(1);
    assert_int_equal(writes, 1);
    assert_int_equal(covered, 1);
    assert_int_equal(counter(COUNTER_STATE_FAILURES), 1);
    world.core.intake.ledger->view.all.sent--;
    ask(&answer);
    await(&answer, 0);
    assert_int_equal(covered, 2);
    close_world();
}

static void test_state_saver_has_a_ceiling(void **state)
{
    (void)state;
    struct answer answer = {.err = 0};
    open_world(UINT32_MAX);
    count_one();
    world.saver.options.max_bytes = 100;
    ask(&answer);
    await(&answer, ERR_LIMIT);
    assert_int_equal(writes, 0);
    close_world();
}

static void test_state_saver_writes_only_what_is_new(void **state)
{
    (void)state;
    open_world(1);
    count_one();
    while (counter(COUNTER_STATE_SAVES) < 1) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    uint64_t before = world.core.counters.snapshot.count;
    while (world.core.counters.snapshot.count < before + 5) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    assert_int_equal(writes, 1);
    count_one();
    while (counter(COUNTER_STATE_SAVES) < 2) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    must_be_on_disk(2);
    close_world();
}

static void test_state_saver_saves_at_the_end(void **state)
{
    (void)state;
    open_world(UINT32_MAX);
    count_one();
    assert_false(state_saver_is_done(&world.saver));
    state_saver_stop(&world.saver);
    state_saver_stop(&world.saver);
    while (!state_saver_is_done(&world.saver)) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    must_be_on_disk(1);
    assert_int_equal(writes, 1);
    close_world();
}

/* Nobody waited for it: the end gives a disk that works the time that it takes. */
static void test_state_saver_ends_what_has_begun(void **state)
{
    (void)state;
    open_world(UINT32_MAX);
    count_one();
    state_saver_stop(&world.saver);
    close_world();
    assert_int_equal(counter(COUNTER_STATE_SAVES), 1);
}

/* What a large state takes to be rendered is not taken off the disk's time. */
static void test_state_saver_gives_the_disk_its_time_after_rendering(void **state)
{
    (void)state;
    open_world(UINT32_MAX);
    renders_late = true;
    count_one();
    state_saver_stop(&world.saver);
    close_world();
    assert_true(is_timed);
    assert_false(was_timed_early);
    assert_int_equal(counter(COUNTER_STATE_SAVES), 1);
}

static void stop_loop(uv_async_t *async)
{
    uv_stop(async->loop);
}

static void test_state_saver_leaves_a_disk_behind_that_hangs(void **state)
{
    (void)state;
    unsigned covered = 0;
    open_world(UINT32_MAX);
    state_saver_set_journal(&world.saver, put_nothing, count_covered, &covered);
    hangs = true;
    count_one();
    state_saver_stop(&world.saver);
    (void)sem_wait(&has_begun);
    struct save *save = world.saver.save;
    state_saver_close(&world.saver);
    handover_close(&world.handover);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT); /* ends: the handle is not waited for */
    assert_ptr_equal(world.saver.save, save);
    /* The process would end now. */
    world.saver.async.async_cb = stop_loop;
    uv_ref((uv_handle_t *)&world.saver.async);
    (void)sem_post(&may_write);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT); /* until the thread has said its last */
    assert_true(atomic_load(&save->is_done));
    on_async(&world.saver.async); /* is not heard: what it would tell is closed */
    assert_ptr_equal(world.saver.save, save);
    assert_int_equal(covered, 0);
    free_save(save);
    uv_close((uv_handle_t *)&world.saver.async, NULL);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    state_file_unlock(&world.file);
    core_close(&world.core);
    remove_place();
}

static void test_state_saver_without_memory(void **state)
{
    (void)state;
    struct answer answer = {.err = 0};
    open_world(UINT32_MAX);
    count_one();
    for (size_t n = 1; n <= 10; n++) { /* itself, the snapshot's four, those of what is beside it */
        mem_fail_after(n);
        ask(&answer);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        assert_true(failed);
        await(&answer, ERR_NOMEM);
    }
    assert_int_equal(counter(COUNTER_STATE_FAILURES), 10);
    ask(&answer);
    await(&answer, 0);
    close_world();
}

static void test_state_saver_that_was_not_started_does_nothing(void **state)
{
    (void)state;
    struct state_saver saver = {.is_started = false};
    state_saver_stop(&saver);
    assert_true(state_saver_is_done(&saver));
    state_saver_close(&saver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_saver_answers_when_it_is_on_the_disk),
        cmocka_unit_test(test_state_saver_answers_each_with_its_own),
        cmocka_unit_test(test_state_saver_may_be_asked_from_an_answer),
        cmocka_unit_test(test_state_saver_tells_who_asked_that_it_failed),
        cmocka_unit_test(test_state_saver_writes_nothing_that_cannot_be_read),
        cmocka_unit_test(test_state_saver_has_a_ceiling),
        cmocka_unit_test(test_state_saver_writes_only_what_is_new),
        cmocka_unit_test(test_state_saver_saves_at_the_end),
        cmocka_unit_test(test_state_saver_ends_what_has_begun),
        cmocka_unit_test(test_state_saver_gives_the_disk_its_time_after_rendering),
        cmocka_unit_test(test_state_saver_leaves_a_disk_behind_that_hangs),
        cmocka_unit_test(test_state_saver_without_memory),
        cmocka_unit_test(test_state_saver_that_was_not_started_does_nothing),
    };
    return cmocka_run_group_tests(tests, core_tables, NULL);
}
