#include "core_helpers.h"

#include "base/clock.h"
#include "base/err.h"
#include "core/witness.h"
#include "mem_fault.h"

#define WALL_NS (1700000000 * NS_PER_SECOND) /* at the start */

enum { PLACES = 4, PID = 100, THREAD = 101 };

static struct witness witness;
static uint64_t now_ns;

static int open_witness(void **state)
{
    (void)note_memory(state);
    now_ns = NS_PER_SECOND;
    assert_int_equal(witness_init(&witness, PLACES), 0);
    witness_set_time(&witness, now_ns);
    return 0;
}

static int close_witness(void **state)
{
    witness_fini(&witness);
    return must_be_clean(state);
}

static void move_to(double ms)
{
    now_ns = NS_PER_SECOND + (uint64_t)(ms * (double)NS_PER_MS);
    witness_set_time(&witness, now_ns);
}

/* An inference that is over now. */
static struct sample inference(uint64_t thread_id, double wall_ms, double cpu_ms)
{
    struct sample sample = sample_of("model", wall_ms);
    sample.has |=
        EVIDENCE_PARTS | 1U << SAMPLE_THREAD_ID | 1U << SAMPLE_TIMESTAMP | 1U << SAMPLE_PROCESS_CPU;
    sample.thread_id = thread_id;
    sample.timestamp_wall_ns = WALL_NS + now_ns;
    sample.user_ms = cpu_ms;
    sample.process_cpu_ms = cpu_ms;
    return sample;
}

static struct evidence take(int64_t pid, const struct sample *sample)
{
    struct evidence evidence = {0};
    witness_sample(&witness, pid, sample, &evidence);
    return evidence;
}

static struct evidence take_thread(int64_t pid, uint64_t thread_id)
{
    struct sample sample = inference(thread_id, 1, 1);
    return take(pid, &sample);
}

static void must_watch(uint32_t processes, uint32_t threads)
{
    struct watched_process of_processes[WITNESS_PROCESSES_MAX];
    struct watched_thread of_threads[PLACES];
    assert_int_equal(witness_list_processes(&witness, of_processes), processes);
    assert_int_equal(witness_list_threads(&witness, of_threads), threads);
}

static void look(uint64_t thread_id, enum look_at look_at)
{
    witness_look(&witness, PID, thread_id, WALL_NS + now_ns, look_at);
}

/* --- looks ------------------------------------------------------------------------------------- */

static void test_witness_counts_looks_inside_the_inference(void **state)
{
    (void)state;
    (void)take_thread(PID, THREAD); /* now it is watched */
    for (unsigned ms = 10; ms <= 200; ms += 10) {
        move_to(ms);
        look(THREAD, ms <= 100 ? LOOK_RUNS : ms <= 150 ? LOOK_FUTEX : LOOK_WAITS);
    }
    struct sample sample = inference(THREAD, 125, 10);
    struct evidence evidence = take(PID, &sample); /* from 75 ms to 200 ms */
    assert_true(evidence.looks[LOOK_RUNS] == 3);
    assert_true(evidence.looks[LOOK_FUTEX] == 5);
    assert_true(evidence.looks[LOOK_WAITS] == 5);
    sample = inference(THREAD, 0, 0);
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 1); /* at this very moment */
    sample = inference(THREAD + 1, 125, 10);                /* of another thread: none */
    assert_true(take(PID, &sample).looks[LOOK_RUNS] == 0);
    sample = inference(THREAD, 125, 10); /* of another process */
    assert_true(take(PID + 1, &sample).looks[LOOK_RUNS] == 0);
}

static void test_witness_needs_thread_and_time_for_looks(void **state)
{
    (void)state;
    (void)take_thread(PID, THREAD);
    look(THREAD, LOOK_WAITS);
    struct sample sample = inference(THREAD, 10, 1);
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 1);
    sample.has &= ~(1U << SAMPLE_TIMESTAMP);
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 0);
    sample.has |= 1U << SAMPLE_TIMESTAMP;
    sample.has &= ~(1U << SAMPLE_THREAD_ID);
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 0);
}

static void test_witness_takes_any_times(void **state)
{
    (void)state;
    (void)take_thread(PID, THREAD);
    look(THREAD, LOOK_WAITS);
    struct sample sample = inference(THREAD, RECORD_MS_MAX, RECORD_MS_MAX);
    sample.weight = RECORD_WEIGHT_MAX;
    sample.has |= 1U << SAMPLE_WEIGHT;
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 1);
    sample.timestamp_wall_ns = UINT64_MAX; /* that is centuries later */
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 0);
    sample.timestamp_wall_ns = 0;
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 0);
    sample.execution_time_ms = 0;
    assert_true(take(PID, &sample).looks[LOOK_WAITS] == 0);
}

static void test_witness_knows_nobody_by_pid_0(void **state)
{
    (void)state;
    (void)take_thread(0, THREAD);
    (void)take_thread(-1, THREAD);
    must_watch(0, 0);
    struct evidence evidence = {0};
    witness_look(&witness, 0, 0, WALL_NS, LOOK_RUNS);
    witness_touch(&witness, 0, 1);
    witness_wants_touch(&witness, 0, true);
    witness_forget(&witness, 0);
    assert_int_equal(witness_collect(&witness, 0, 0, &evidence), 0);
    assert_int_equal(witness.refused + witness.lost, 0);
}

/* --- who is watched ---------------------------------------------------------------------------- */

static void test_witness_watches_who_sent_evidence_lately(void **state)
{
    (void)state;
    must_watch(0, 0);
    (void)take_thread(PID, THREAD);
    (void)take_thread(PID, THREAD + 1);
    (void)take_thread(PID + 50, THREAD);
    must_watch(2, 3);
    move_to(9999);
    must_watch(2, 3);
    (void)take_thread(PID, THREAD);
    move_to(10000);
    must_watch(1, 1);
    move_to(19999);
    must_watch(0, 0);
    (void)take_thread(PID, THREAD + 1); /* it comes back */
    must_watch(1, 1);
}

static void test_witness_watches_long_inferences_longer(void **state)
{
    (void)state;
    struct sample sample = inference(THREAD, 12000, 1);
    (void)take(PID, &sample);
    (void)take_thread(PID, THREAD); /* a short one takes nothing from it */
    move_to(23999);
    must_watch(1, 1);
    move_to(24000);
    must_watch(0, 0);
    sample = inference(THREAD, RECORD_MS_MAX, 1);
    (void)take(PID, &sample);
    move_to(24000 + 29999);
    must_watch(1, 1);
    move_to(24000 + 30000);
    must_watch(0, 0);
}

static void test_witness_gives_places_of_the_silent(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        move_to(1000.0 * i);
        (void)take_thread(PID, THREAD + i);
    }
    (void)take_thread(PID, THREAD + PLACES); /* one over: all are in use */
    must_watch(1, PLACES);
    assert_int_equal(witness.refused, 1);
    move_to(11500); /* two are silent now: the first gives way, then the second */
    (void)take_thread(PID, THREAD + PLACES);
    (void)take_thread(PID, THREAD + 1);
    assert_int_equal(witness.replaced, 1);
    assert_int_equal(witness.refused, 1);
    must_watch(1, PLACES);
    look(THREAD, LOOK_RUNS); /* of whom nothing is known any more */
    (void)take_thread(PID, THREAD);
    assert_int_equal(witness.refused, 2);
    assert_int_equal(witness.lost, 0);
}

static void test_witness_lets_threads_take_turns(void **state)
{
    (void)state;
    unsigned seen[2 * PLACES] = {0};
    for (unsigned second = 0; second < 300; second++) {
        move_to(1000.0 * second);
        for (unsigned i = 0; i < 2 * PLACES; i++) {
            (void)take_thread(PID, THREAD + i);
            look(THREAD + i, LOOK_RUNS);
            struct sample sample = inference(THREAD + i, 0, 0);
            seen[i] += take(PID, &sample).looks[LOOK_RUNS] > 0;
        }
    }
    for (unsigned i = 0; i < 2 * PLACES; i++) {
        assert_in_range(seen[i], 100, 200);
    }
}

static void test_witness_has_a_ceiling_on_processes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WITNESS_PROCESSES_MAX; i++) {
        struct sample sample = inference(THREAD, 1, 1);
        sample.has &= ~(1U << SAMPLE_THREAD_ID);
        (void)take(PID + i, &sample);
    }
    must_watch(WITNESS_PROCESSES_MAX, 0);
    assert_int_equal(witness.refused, 0);
    (void)take_thread(PID + WITNESS_PROCESSES_MAX, THREAD);
    must_watch(WITNESS_PROCESSES_MAX, 0);
    assert_int_equal(witness.refused, 1);
    move_to(10000);
    (void)take_thread(PID + WITNESS_PROCESSES_MAX, THREAD);
    must_watch(1, 1);
    assert_int_equal(witness.replaced, 1);
}

/* --- what others of the process do meanwhile --------------------------------------------------- */

/* Two seconds of inferences of 10 ms on each of `threads` threads, one every `period_ms`; the process's
 * clock shows all of it. Returns what the last one of the first thread says. */
static double beside_of(unsigned threads, double cpu_ms, unsigned period_ms, bool has_thread)
{
    struct evidence last = {0};
    for (unsigned ms = period_ms; ms <= 2000; ms += period_ms) {
        move_to(ms);
        for (unsigned i = threads; i > 0; i--) {
            struct sample sample = inference(THREAD + i, 10, cpu_ms);
            sample.process_cpu_ms = threads * cpu_ms;
            sample.has &= has_thread ? ~0U : ~(1U << SAMPLE_THREAD_ID);
            last = take(PID, &sample);
        }
    }
    return last.process_beside_ms;
}

static void test_witness_one_thread_has_nobody_beside(void **state)
{
    (void)state;
    assert_true(beside_of(1, 10, 10, true) == 0);
}

static void test_witness_one_thread_by_turns_has_nobody_beside(void **state)
{
    (void)state;
    assert_true(beside_of(1, 4, 20, true) == 0);
}

static void test_witness_nobody_is_beside_a_single_caller_without_its_thread(void **state)
{
    (void)state;
    must_be_near(1 + beside_of(1, 10, 10, false), 1, 0.02);
}

static void test_witness_threads_are_beside_one_another(void **state)
{
    (void)state;
    must_be_near(beside_of(4, 10, 10, true), 30, 0.02);
}

static void test_witness_threads_without_ids_are_beside_one_another(void **state)
{
    (void)state;
    must_be_near(beside_of(4, 10, 10, false), 30, 0.02);
}

static void test_witness_half_of_the_time_is_half_beside(void **state)
{
    (void)state;
    must_be_near(beside_of(3, 10, 20, true), 10, 0.02);
}

static void test_witness_beside_is_never_more_than_the_process_used(void **state)
{
    (void)state;
    (void)beside_of(4, 10, 10, true);
    struct sample sample = inference(THREAD + 1, 10, 2);
    sample.process_cpu_ms = 5;
    assert_true(take(PID, &sample).process_beside_ms == 3);
    sample.process_cpu_ms = 1; /* cannot be: less than the thread */
    assert_true(take(PID, &sample).process_beside_ms == 0);
    sample.has &= ~(1U << SAMPLE_PROCESS_CPU);
    assert_true(take(PID, &sample).process_beside_ms == 0);
}

static void test_witness_forgets_who_was_beside(void **state)
{
    (void)state;
    (void)beside_of(4, 10, 10, true);
    move_to(2000 + 100000);
    struct sample sample = inference(THREAD + 1, 10, 2);
    sample.process_cpu_ms = 1000;
    assert_true(take(PID, &sample).process_beside_ms < 0.01);
}

static void test_witness_long_inferences_are_beside_one_another(void **state)
{
    (void)state;
    struct evidence last = {0};
    for (unsigned second = 3; second <= 60; second += 3) {
        move_to(1000.0 * second);
        for (unsigned i = 2; i > 0; i--) {
            struct sample sample = inference(THREAD + i, 3000, 1500);
            sample.process_cpu_ms = 3000;
            last = take(PID, &sample);
        }
    }
    must_be_near(last.process_beside_ms, 1500, 0.02);
}

/* --- what was seen ----------------------------------------------------------------------------- */

static const struct process_figures second_of_figures = {
    .sources = 1U << SEEN_CPU, .between_ms = 1000, .user_ms = 500};

static void must_collect(double since_ms, unsigned sources, struct evidence *ret_evidence)
{
    *ret_evidence = (struct evidence){0};
    assert_int_equal(witness_collect(&witness, PID,
                                     NS_PER_SECOND + (uint64_t)(since_ms * (double)NS_PER_MS),
                                     ret_evidence),
                     sources);
}

static void test_witness_collects_since_a_round_began(void **state)
{
    (void)state;
    struct evidence evidence;
    must_collect(0, 0, &evidence);
    (void)take_thread(PID, THREAD);
    for (unsigned second = 1; second <= 5; second++) {
        move_to(1000.0 * second);
        witness_process(&witness, PID, &second_of_figures);
    }
    must_collect(0, 1U << SEEN_CPU, &evidence);
    assert_true(evidence.seen_ms == 5000 && evidence.seen_user_ms == 2500);
    must_collect(3000, 1U << SEEN_CPU, &evidence);
    assert_true(evidence.seen_ms == 2000 && evidence.seen_user_ms == 1000);
    look(THREAD, LOOK_RUNS);
    must_collect(5000, 1U << SEEN_LOOKS, &evidence);
    move_to(5001);
    must_collect(5001, 0, &evidence);
}

static void test_witness_collects_probes_of_a_minute(void **state)
{
    (void)state;
    struct evidence evidence;
    (void)take_thread(PID, THREAD);
    witness_touch(&witness, PID, 0.5);
    move_to(60000);
    must_collect(60000, 1U << SEEN_TOUCH, &evidence);
    assert_true(evidence.touch_probes == 1 && evidence.touch_sum == 0.5);
    move_to(60001);
    must_collect(60001, 0, &evidence);
    must_collect(0, 1U << SEEN_TOUCH, &evidence); /* a long round has all of its own */
}

static void test_witness_says_who_wants_touch(void **state)
{
    (void)state;
    struct watched_process list[WITNESS_PROCESSES_MAX];
    (void)take_thread(PID, THREAD);
    assert_int_equal(witness_list_processes(&witness, list), 1);
    assert_int_equal(list[0].kernel_pid, PID);
    assert_false(list[0].wants_touch);
    witness_wants_touch(&witness, PID, true);
    (void)witness_list_processes(&witness, list);
    assert_true(list[0].wants_touch);
    witness_wants_touch(&witness, PID, false);
    (void)witness_list_processes(&witness, list);
    assert_false(list[0].wants_touch);
}

static void test_witness_forgets_a_process_with_all_that_was_seen(void **state)
{
    (void)state;
    struct evidence evidence;
    (void)take_thread(PID, THREAD);
    (void)take_thread(PID + 1, THREAD);
    look(THREAD, LOOK_RUNS);
    move_to(1000);
    witness_process(&witness, PID, &second_of_figures);
    witness_forget(&witness, PID);
    must_watch(1, 1);
    must_collect(0, 0, &evidence);
    /* The number is another's now, who begins with nothing. */
    struct sample sample = inference(THREAD, 1000, 0);
    assert_true(take(PID, &sample).looks[LOOK_RUNS] == 0);
    must_collect(0, 0, &evidence);
}

static void test_witness_without_memory_loses_and_counts(void **state)
{
    (void)state;
    struct evidence evidence;
    struct witness other;
    mem_fail_after(1);
    assert_int_equal(witness_init(&other, 1), ERR_NOMEM);
    witness_fini(&other);
    mem_fail_after(0);
    (void)take_thread(PID, THREAD);
    move_to(1000);
    mem_fail_after(1);
    look(THREAD, LOOK_RUNS);
    mem_fail_after(1);
    witness_process(&witness, PID, &second_of_figures);
    mem_fail_after(1);
    witness_touch(&witness, PID, 1);
    mem_fail_after(0);
    assert_int_equal(witness.lost, 3);
    must_collect(0, 0, &evidence);
    look(THREAD, LOOK_RUNS);
    witness_process(&witness, PID, &second_of_figures);
    must_collect(0, 1U << SEEN_CPU | 1U << SEEN_LOOKS, &evidence);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_witness, close_witness)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_witness_counts_looks_inside_the_inference),
        TEST(test_witness_needs_thread_and_time_for_looks),
        TEST(test_witness_takes_any_times),
        TEST(test_witness_knows_nobody_by_pid_0),
        TEST(test_witness_watches_who_sent_evidence_lately),
        TEST(test_witness_watches_long_inferences_longer),
        TEST(test_witness_gives_places_of_the_silent),
        TEST(test_witness_lets_threads_take_turns),
        TEST(test_witness_has_a_ceiling_on_processes),
        TEST(test_witness_one_thread_has_nobody_beside),
        TEST(test_witness_one_thread_by_turns_has_nobody_beside),
        TEST(test_witness_nobody_is_beside_a_single_caller_without_its_thread),
        TEST(test_witness_threads_are_beside_one_another),
        TEST(test_witness_threads_without_ids_are_beside_one_another),
        TEST(test_witness_half_of_the_time_is_half_beside),
        TEST(test_witness_beside_is_never_more_than_the_process_used),
        TEST(test_witness_forgets_who_was_beside),
        TEST(test_witness_long_inferences_are_beside_one_another),
        TEST(test_witness_collects_since_a_round_began),
        TEST(test_witness_collects_probes_of_a_minute),
        TEST(test_witness_says_who_wants_touch),
        TEST(test_witness_forgets_a_process_with_all_that_was_seen),
        TEST(test_witness_without_memory_loses_and_counts),
    };
    return cmocka_run_group_tests_name("witness", tests, NULL, NULL);
}
