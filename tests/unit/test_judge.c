/* Rounds on a clock that is moved by hand: when they open, close and lengthen, and what is forgotten. */
#include "core_helpers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "core/judge.c"
#include "mem_fault.h"

#define PART(part) (1u << SAMPLE_##part)

enum {
    ROUND_MS = 5000,
    LONGER_MS = 1000,
    WINDOW_MS = 6 * CORE_SLOT_S * 1000,
    ENOUGH = 20,
    PID = 77
};

static struct core core;
static struct judge judge;
static struct machine machine;

static void open_with(const struct registry_options *options, uint64_t round_ms)
{
    machine = machine_unknown;
    core_open(&core, options);
    judge_init(&judge, core.registry, NULL, &machine, round_ms * NS_PER_MS);
    core.intake.judge = &judge;
}

static void open_default(void)
{
    struct registry_options options = core_options();
    open_with(&options, ROUND_MS);
}

static void close_all(void)
{
    judge_fini(&judge);
    core_close(&core);
}

/* Time passes, and the tick comes. */
static void pass(uint64_t ms)
{
    core.mono_ns += ms * NS_PER_MS;
    core.wall_ns += ms * NS_PER_MS;
    core_move(&core, 0);
    judge_tick(&judge, core.mono_ns);
}

/* 10 ms, part of them on a CPU, and the rest for a disk. */
static struct sample evidence_of(const char *name, double user_ms)
{
    struct sample sample = sample_of(name, 10);
    sample.has = PART(USER) | PART(SYSTEM) | PART(RUNQUEUE) | PART(DISK_BYTES);
    sample.user_ms = user_ms;
    sample.disk_bytes = 4096;
    return sample;
}

static uint32_t say_sample(const struct sample *sample)
{
    uint32_t number = 0;
    assert_int_equal(registry_record_evidence(core.registry, sample, &number), 0);
    judge_sample(&judge, number, PID, sample);
    return number;
}

static uint32_t say(const char *name, unsigned count, double user_ms)
{
    struct sample sample = evidence_of(name, user_ms);
    uint32_t number = 0;
    for (unsigned i = 0; i < count; i++) {
        number = say_sample(&sample);
    }
    return number;
}

static bool has_opinion(uint32_t number)
{
    return core.registry->models[number]->opinion != NULL;
}

static struct opinion must_opine(uint32_t number)
{
    const struct model_opinion *opinion = core.registry->models[number]->opinion;
    if (opinion == NULL) {
        fail_msg("no opinion on model %u", (unsigned)number);
        return (struct opinion){.rounds = 0};
    }
    return opinion->opinion;
}

static void must_have_none(uint32_t number)
{
    assert_false(has_opinion(number));
}

/* The last round's inferences and length. */
static void must_have_round(uint32_t number, uint64_t inferences, double span_ms)
{
    assert_int_equal(must_opine(number).evidence.inferences, inferences);
    assert_true(must_opine(number).evidence.span_ms == span_ms);
}

/* Every model that is known is in one queue, and nobody in a queue is due before who is ahead. */
static void must_be_in_order(void)
{
    size_t queued = 0;
    size_t known = 0;
    for (unsigned i = 0; i < JUDGE_WAIT_COUNT; i++) {
        uint64_t last_ns = 0;
        struct judged **end = &judge.queues[i].first;
        for (; *end != NULL; end = &(*end)->next) {
            assert_int_equal((*end)->wait, i);
            assert_ptr_equal((*end)->link, end);
            assert_ptr_equal(judge.models[(*end)->number], *end);
            assert_true((*end)->due_ns >= last_ns);
            last_ns = (*end)->due_ns;
            queued++;
        }
        assert_ptr_equal(end, judge.queues[i].end);
    }
    for (uint32_t i = 0; i < judge.capacity; i++) {
        known += judge.models[i] != NULL;
    }
    assert_int_equal(queued, known);
}

/* --- rounds ------------------------------------------------------------------------------------ */

static void test_judge_round_takes_its_time(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH, 1);
    for (unsigned ms = LONGER_MS; ms < ROUND_MS; ms += LONGER_MS) {
        pass(LONGER_MS);
        assert_int_equal(must_opine(m).rounds, 0);
    }
    pass(LONGER_MS);
    must_have_round(m, ENOUGH, ROUND_MS + 10); /* it began with the first inference, 10 ms before */
    assert_int_equal(must_opine(m).rounds, 1);
    assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_IO);
    assert_int_equal(must_opine(m).rule, RULE_EVIDENCE);
    must_be_in_order();
    close_all();
}

static void test_judge_round_can_be_given_another_length(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH, 1);
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).rounds, 1);
    say("m", ENOUGH, 1);
    judge_set_round(&judge, 2 * ROUND_MS * NS_PER_MS); /* the open one, too */
    pass(2 * ROUND_MS - 1);
    assert_int_equal(must_opine(m).rounds, 1);
    pass(1);
    assert_int_equal(must_opine(m).rounds, 2);
    say("m", ENOUGH, 1);
    judge_set_round(&judge, ROUND_MS * NS_PER_MS);
    must_be_in_order();
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).rounds, 3);
    close_all();
}

/* What is known a second after the first inference; it is of no round, and none that is too little. */
static void test_judge_first_round_has_previews(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH, 1);
    uint32_t few = say("few", ENOUGH - 1, 1);
    pass(LONGER_MS - 1);
    must_have_none(m);
    pass(1);
    must_have_none(few);
    must_have_round(m, ENOUGH, LONGER_MS + 10);
    assert_int_equal(must_opine(m).rounds, 0);
    assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_IO);
    say("m", 7, 1);
    pass(LONGER_MS);
    must_have_round(m, ENOUGH + 7, 2 * LONGER_MS + 10);
    /* Later rounds have none: the last one's word stays until theirs. */
    pass(ROUND_MS - 2 * LONGER_MS);
    assert_int_equal(must_opine(m).rounds, 1);
    say("m", ENOUGH, 1);
    pass(2 * LONGER_MS);
    must_have_round(m, ENOUGH + 7, ROUND_MS + 10);
    must_be_in_order();
    close_all();
}

static void test_judge_round_with_too_little_lengthens(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH - 1, 1);
    pass(ROUND_MS);
    must_have_none(m);
    pass(LONGER_MS / 2);
    say("m", 1, 1);
    pass(LONGER_MS / 2 - 1);
    must_have_none(m); /* enough, and nobody looks */
    pass(1);
    must_have_round(m, ENOUGH, ROUND_MS + LONGER_MS + 10);
    close_all();
}

static void test_judge_window_ends_every_round(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", 1, 1);
    for (unsigned ms = 10; ms < WINDOW_MS; ms += LONGER_MS / 4) {
        pass(ms == 10 ? 0 : LONGER_MS / 4);
        must_have_none(m);
        must_be_in_order();
    }
    pass(LONGER_MS);
    assert_true(has_opinion(m));
    assert_true(must_opine(m).evidence.span_ms >= WINDOW_MS);
    assert_true(must_opine(m).evidence.span_ms <= WINDOW_MS + LONGER_MS);
    assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_UNKNOWN);
    assert_int_equal(must_opine(m).rule, RULE_INSUFFICIENT);
    assert_true(isnan(must_opine(m).confidence));
    close_all();
}

static void test_judge_round_is_no_longer_than_the_window(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    open_with(&options, WINDOW_MS + 1);
    uint32_t m = say("m", ENOUGH, 1);
    pass(WINDOW_MS - LONGER_MS);
    assert_int_equal(must_opine(m).rounds, 0);
    pass(LONGER_MS);
    assert_int_equal(must_opine(m).rounds, 1);
    close_all();
}

static void test_judge_rounds_follow_one_another(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH, 1);
    pass(ROUND_MS);
    /* The next begins with the end of the last, though its evidence comes later; */
    pass(ROUND_MS / 2);
    say("m", ENOUGH, 1);
    pass(ROUND_MS - 1);
    must_have_round(m, ENOUGH, ROUND_MS + 10);
    pass(1);
    must_have_round(m, ENOUGH, ROUND_MS * 1.5);
    assert_int_equal(must_opine(m).rounds, 2);
    /* at most a round later, */
    pass(ROUND_MS);
    say("m", ENOUGH, 1);
    pass(ROUND_MS);
    must_have_round(m, ENOUGH, ROUND_MS * 2);
    /* for after a longer pause it begins anew, */
    pass(ROUND_MS + 1);
    say("m", ENOUGH, 1);
    pass(ROUND_MS);
    must_have_round(m, ENOUGH, ROUND_MS + 10);
    /* and never before the last one ended, however long an inference is. */
    pass(ROUND_MS + 1);
    struct sample slow = evidence_of("m", 1);
    slow.execution_time_ms = 1e9;
    say_sample(&slow);
    say("m", ENOUGH, 1);
    pass(ROUND_MS);
    must_have_round(m, ENOUGH + 1, ROUND_MS * 2 + 1);
    assert_int_equal(must_opine(m).rounds, 5);
    close_all();
}

static void test_judge_adds_up_each_model_alone(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    options.max_models = 2;
    open_with(&options, ROUND_MS);
    uint32_t a = say("a", ENOUGH, 1);
    uint32_t b = say("b", ENOUGH + 1, 1);
    uint32_t rest = say("c", ENOUGH, 1);
    say("d", ENOUGH, 1);
    pass(ROUND_MS);
    must_have_round(a, ENOUGH, ROUND_MS + 10);
    must_have_round(b, ENOUGH + 1, ROUND_MS + 10);
    must_have_round(rest, 2 * ENOUGH, ROUND_MS + 10); /* the overflow model is one as all */
    assert_true(core.registry->models[rest]->id->overflow);
    close_all();
}

static void test_judge_counts_what_cannot_be(void **state)
{
    (void)state;
    open_default();
    say("m", 3, 1);
    assert_int_equal(judge.impossible, 0);
    struct sample sample = evidence_of("m", 100); /* of 10 ms */
    sample.has |= PART(THREADS);
    sample.threads = 1;
    uint32_t m = say_sample(&sample);
    assert_int_equal(judge.impossible, 1);
    say("m", ENOUGH, 1);
    pass(ROUND_MS);
    must_have_round(m, ENOUGH + 4, ROUND_MS + 10);
    assert_true(must_opine(m).evidence.user_ms <= must_opine(m).evidence.wall_ms);
    close_all();
}

/* --- what the daemon sees by itself ------------------------------------------------------------- */

static struct witness witness;

static void open_witnessed(void)
{
    open_default();
    assert_int_equal(witness_init(&witness, 4), 0);
    witness_set_time(&witness, core.mono_ns);
    judge.witness = &witness;
}

static void close_witnessed(void)
{
    witness_fini(&witness);
    close_all();
}

static void see(int64_t kernel_pid, double resident_bytes)
{
    struct process_figures figures = {.sources = 1u << SEEN_CPU | 1u << SEEN_MEMORY,
                                      .between_ms = 1000,
                                      .user_ms = 400,
                                      .resident_bytes = resident_bytes};
    witness_process(&witness, kernel_pid, &figures);
}

static bool is_probed(int64_t kernel_pid)
{
    struct watched_process list[WITNESS_PROCESSES_MAX];
    uint32_t count = witness_list_processes(&witness, list);
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].kernel_pid == kernel_pid) {
            return list[i].wants_touch;
        }
    }
    fail_msg("process %d is not watched", (int)kernel_pid);
    return false;
}

static void test_judge_adds_what_the_witness_saw(void **state)
{
    (void)state;
    open_witnessed();
    uint32_t m = say("m", ENOUGH, 1);
    for (unsigned i = 0; i < ROUND_MS / 1000; i++) {
        pass(1000);
        if (i < ROUND_MS / 1000 - 1) {
            see(PID, 1e6 + i);
            see(PID + 1, 1e9); /* of nobody */
        }
    }
    must_have_round(m, ENOUGH, ROUND_MS + 10);
    must_be_near(must_opine(m).evidence.seen_ms, ROUND_MS - 1000, 1e-6);
    must_be_near(must_opine(m).evidence.seen_user_ms, 400 * (ROUND_MS / 1000 - 1), 1e-6);
    must_be_near(must_opine(m).evidence.resident_bytes, 1e6 + ROUND_MS / 1000 - 2, 1e-6);
    /* A sample's looks are those at its thread while it ran. */
    struct sample sample = evidence_of("m", 1);
    sample.has |= PART(THREAD_ID) | PART(TIMESTAMP);
    sample.thread_id = 5;
    sample.timestamp_wall_ns = core.wall_ns;
    say_sample(&sample);
    for (unsigned i = 0; i < 3; i++) {
        witness_look(&witness, PID, 5, core.wall_ns + (i + 1) * NS_PER_MS, LOOK_WAITS);
    }
    sample.timestamp_wall_ns = core.wall_ns + 2 * NS_PER_MS;
    say_sample(&sample);
    say("m", ENOUGH, 1);
    pass(ROUND_MS);
    pass(6 * ROUND_MS); /* few looks: it takes longer */
    assert_true(must_opine(m).evidence.looks[LOOK_WAITS] == 2);
    close_witnessed();
}

/* Probes are many, or few and counted once. */
static void test_judge_asks_for_probes_where_they_decide(void **state)
{
    (void)state;
    open_witnessed();
    uint32_t m = say("m", ENOUGH, 9.9);
    uint32_t waits = say("waits", ENOUGH, 1); /* of the same process */
    assert_false(is_probed(PID));
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).rule, RULE_CPU);
    assert_int_equal(must_opine(waits).rule, RULE_EVIDENCE);
    assert_true(is_probed(PID));
    witness_touch(&witness, PID, 0.1);
    for (unsigned i = 0; i < 6; i++) {
        say("waits", ENOUGH, 1);
        say("m", ENOUGH, 9.9);
        pass(ROUND_MS);
        assert_true(must_opine(m).evidence.touch_probes == 1);
        assert_int_equal(must_opine(m).rule, RULE_CPU); /* one probe stays one */
        assert_true(is_probed(PID));
    }
    for (unsigned i = 0; i < 7; i++) {
        witness_touch(&witness, PID, 0.1);
    }
    for (unsigned i = 0; i < 4; i++) {
        say("waits", ENOUGH, 1);
        say("m", ENOUGH, 9.9);
        pass(ROUND_MS);
        assert_true(must_opine(m).evidence.touch_probes == 8);
        assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_COMPUTE);
        assert_true(is_probed(PID)); /* they decide it, so they go on */
    }
    /* A model that waits needs none. */
    for (unsigned i = 0; i < 12; i++) {
        say("m", ENOUGH, 1);
        pass(ROUND_MS);
    }
    assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_IO);
    assert_false(is_probed(PID));
    close_witnessed();
}

/* It may become known between two rounds. */
static void test_judge_knows_the_machine(void **state)
{
    (void)state;
    open_default();
    struct sample sample = evidence_of("m", 9.9);
    sample.has |= PART(BYTES_MOVED);
    sample.bytes_moved = 9e7; /* 9 GB a second */
    uint32_t m = 0;
    for (unsigned i = 0; i < ENOUGH; i++) {
        m = say_sample(&sample);
    }
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).rule, RULE_CPU);
    machine.bandwidth_bytes = 1e10;
    for (unsigned i = 0; i < ENOUGH; i++) {
        say_sample(&sample);
    }
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_MEMORY);
    struct snapshot *snapshot = must_take(&core);
    assert_true(snapshot->machine.bandwidth_bytes == 1e10);
    core_drop(&core, snapshot);
    close_all();
}

static void test_judge_knows_so_many_processes_of_a_model(void **state)
{
    (void)state;
    open_witnessed();
    struct sample sample = evidence_of("m", 1);
    uint32_t m = 0;
    for (int64_t pid = 0; pid <= JUDGE_PROCESSES_MAX + 1; pid++) { /* 0: nobody knows whose it is */
        for (unsigned i = 0; i < 2; i++) {
            assert_int_equal(registry_record_evidence(core.registry, &sample, &m), 0);
            judge_sample(&judge, m, pid, &sample);
        }
    }
    pass(1000);
    for (int64_t pid = 1; pid <= JUDGE_PROCESSES_MAX + 1; pid++) {
        see(pid, 1e6);
    }
    pass(ROUND_MS - 1000);
    must_be_near(must_opine(m).evidence.seen_ms, 1000 * JUDGE_PROCESSES_MAX, 1e-6);
    must_have_round(m, 2 * (JUDGE_PROCESSES_MAX + 2), ROUND_MS + 10);
    close_witnessed();
}

/* --- the end ----------------------------------------------------------------------------------- */

static void test_judge_silent_model_is_forgotten(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH, 1);
    pass(ROUND_MS);
    pass(WINDOW_MS - 1);
    assert_true(has_opinion(m));
    pass(1);
    must_have_none(m);
    assert_null(judge.models[m]);
    must_be_in_order();
    /* It comes back as one that nobody knows. */
    say("m", ENOUGH, 9.5);
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).rounds, 1);
    assert_int_equal(must_opine(m).rule, RULE_CPU);
    close_all();
}

static void test_judge_evidence_keeps_the_opinion(void **state)
{
    (void)state;
    open_default();
    uint32_t m = say("m", ENOUGH, 1);
    pass(ROUND_MS);
    pass(WINDOW_MS - 1);
    say("m", 1, 1);
    pass(1);
    pass(LONGER_MS);
    assert_true(has_opinion(m));
    assert_int_equal(must_opine(m).rounds, 1);
    close_all();
}

/* Whatever the model waits for, and whether a sample or a look finds the reset first. */
static void test_judge_reset_forgets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * JUDGE_WAIT_COUNT; i++) {
        enum judge_wait wait = (enum judge_wait)(i / 2);
        bool sample_first = i % 2 == 0;
        open_default();
        uint32_t m = say("m", ENOUGH, 9.5);
        pass(ROUND_MS); /* an opinion */
        if (wait != JUDGE_KEPT) {
            say("m", 2, 9.5);
            pass(wait == JUDGE_LONGER ? ROUND_MS : 1);
        }
        assert_int_equal(judge.models[m]->wait, wait);
        must_reset(&core, "m", 1);
        must_have_none(m);
        if (!sample_first) {
            pass(WINDOW_MS);
            must_have_none(m);
            assert_null(judge.models[m]);
        }
        say("m", ENOUGH, 1);
        must_be_in_order();
        pass(ROUND_MS);
        must_have_round(m, ENOUGH, ROUND_MS + 10);
        assert_int_equal(must_opine(m).rounds, 1);
        assert_int_equal(must_opine(m).bottleneck, BOTTLENECK_IO);
        close_all();
    }
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static unsigned count_opinions(void)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < core.registry->count; i++) {
        count += has_opinion(i);
    }
    return count;
}

static void say_many(unsigned models)
{
    for (unsigned i = 0; i < models; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m%u", i);
        say(name, ENOUGH, 1);
    }
}

static void test_judge_tick_is_bounded(void **state)
{
    (void)state;
    open_default();
    say_many(2 * JUDGE_TICK_MODELS + 1);
    pass(ROUND_MS);
    assert_int_equal(count_opinions(), JUDGE_TICK_MODELS);
    must_be_in_order();
    pass(0);
    assert_int_equal(count_opinions(), 2 * JUDGE_TICK_MODELS);
    pass(0);
    assert_int_equal(count_opinions(), 2 * JUDGE_TICK_MODELS + 1);
    pass(0);
    pass(WINDOW_MS);
    assert_int_equal(count_opinions(), JUDGE_TICK_MODELS + 1);
    pass(0);
    pass(0);
    assert_int_equal(count_opinions(), 0);
    must_be_in_order();
    close_all();
}

static void test_judge_allocates_for_models_with_evidence_alone(void **state)
{
    (void)state;
    open_default();
    for (unsigned i = 0; i < 100; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "none%u", i);
        struct sample sample = sample_of(name, 1);
        must_record(&core, &sample);
    }
    pass(ROUND_MS);
    assert_int_equal(judge_bytes(&judge), 0);
    say("m", 1, 1);
    size_t live = mem_count_live();
    assert_int_equal(judge.capacity, 128);
    assert_int_equal(judge_bytes(&judge), 128 * sizeof(struct judged *) + sizeof(struct judged));
    say("m", ENOUGH, 1);
    assert_int_equal(mem_count_live(), live);
    close_all();
}

static void test_judge_without_memory(void **state)
{
    (void)state;
    open_default();
    struct sample sample = evidence_of("m", 1);
    uint32_t m = 0;
    assert_int_equal(registry_record_evidence(core.registry, &sample, &m), 0);
    for (size_t n = 1; n <= 2; n++) { /* the list of models, the model */
        mem_fail_after(n);
        judge_sample(&judge, m, PID, &sample);
        assert_true(mem_has_failed());
        mem_fail_after(0);
        assert_int_equal(judge.lost, n);
        must_be_in_order();
    }
    say("m", ENOUGH, 1);
    /* An opinion that cannot be shown is not; the next one is. */
    mem_fail_after(1);
    pass(ROUND_MS);
    assert_true(mem_has_failed());
    mem_fail_after(0);
    must_have_none(m);
    assert_int_equal(judge.lost, 3);
    say("m", ENOUGH, 1);
    pass(ROUND_MS);
    assert_int_equal(must_opine(m).rounds, 2);
    /* One that was shown stays. */
    struct snapshot *snapshot = must_take(&core);
    say("m", 2 * ENOUGH, 1);
    for (size_t n = 1; n <= 1; n++) {
        mem_fail_after(n);
        pass(ROUND_MS);
        assert_true(mem_has_failed());
        mem_fail_after(0);
        must_have_round(m, ENOUGH, ROUND_MS);
    }
    core_drop(&core, snapshot);
    /* And one that cannot be taken away goes with the next try. */
    snapshot = must_take(&core);
    mem_fail_after(1);
    pass(WINDOW_MS);
    assert_true(mem_has_failed());
    mem_fail_after(0);
    assert_true(has_opinion(m));
    must_be_in_order();
    pass(WINDOW_MS);
    must_have_none(m);
    assert_null(judge.models[m]);
    core_drop(&core, snapshot);
    close_all();
}

/* --- all at once ------------------------------------------------------------------------------- */

/* Samples, time, resets, snapshots and want of memory in any order: queues stay in order, snapshots as
 * they were, and no model waits for longer than a window and a look. */
static void test_judge_stays_in_order(void **state)
{
    (void)state;
    struct random random = random_start("judge");
    open_default();
    struct snapshot *snapshot = must_take(&core);
    char *text = describe_snapshot(snapshot, core.scratch);
    for (unsigned step = 0; step < 20000; step++) {
        char name[16];
        (void)snprintf(name, sizeof name, "m%u", (unsigned)random_below(&random, 30));
        struct str whose = str_of(name);
        uint64_t what = random_below(&random, 100);
        mem_fail_after(random_below(&random, 20) == 0 ? 1 : 0);
        if (what < 60) {
            struct sample sample = evidence_of(name, 10 * random_unit(&random));
            uint32_t number;
            if (registry_record_evidence(core.registry, &sample, &number) == 0) {
                judge_sample(&judge, number, PID, &sample);
            }
        } else if (what < 97) {
            pass(random_below(&random, random_below(&random, 30) == 0 ? WINDOW_MS : 500));
        } else if (what < 99) {
            (void)registry_reset(core.registry, &whose); /* it may lack memory */
        } else {
            mem_fail_after(0);
            char *still = describe_snapshot(snapshot, core.scratch);
            assert_string_equal(text, still);
            free(still);
            free(text);
            core_drop(&core, snapshot);
            snapshot = must_take(&core);
            text = describe_snapshot(snapshot, core.scratch);
        }
        mem_fail_after(0);
        if (step % 50 == 0) {
            must_be_in_order();
        }
    }
    free(text);
    core_drop(&core, snapshot);
    for (unsigned i = 0; i < 4; i++) {
        pass(WINDOW_MS + LONGER_MS);
    }
    assert_int_equal(count_opinions(), 0);
    for (uint32_t i = 0; i < judge.capacity; i++) {
        assert_null(judge.models[i]);
    }
    close_all();
}

/* --- by the sink ------------------------------------------------------------------------------- */

static void peer_say(struct peer *peer, const struct sample *sample, int err)
{
    struct record_sink sink = peer_sink(peer);
    peer_begin(peer);
    assert_int_equal(sink.sample(sink.ctx, sample), err);
    peer_settle(peer);
}

static void test_judge_hears_of_samples_that_count(void **state)
{
    (void)state;
    open_default();
    struct peer peer;
    struct peer_events nobody = {NULL};
    peer_init(&peer, &core.intake, &nobody, 0);
    struct sample good = evidence_of("m", 1);
    struct sample bad = evidence_of("", 1);
    struct sample half = evidence_of("m", 1);
    struct sample none = sample_of("m", 10);
    half.has &= ~PART(SYSTEM);
    for (unsigned i = 0; i < ENOUGH; i++) {
        peer_say(&peer, &good, 0);
        peer_say(&peer, &bad, ERR_NAME);
        peer_say(&peer, &half, 0);
        peer_say(&peer, &none, 0);
    }
    pass(ROUND_MS);
    must_have_round(0, ENOUGH, ROUND_MS + 10);
    /* Without a judge they count as all. */
    core.intake.judge = NULL;
    peer_say(&peer, &good, 0);
    core.intake.judge = &judge;
    assert_null(judge.queues[JUDGE_ROUND].first);
    assert_int_equal(core.registry->models[0]->current->extra->evidence_count, ENOUGH + 1);
    /* What is lost is told. */
    judge.lost = 7;
    judge.impossible = 8;
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->counters.value[COUNTER_LOST_EVIDENCE], 7);
    assert_int_equal(snapshot->counters.value[COUNTER_IMPOSSIBLE_EVIDENCE], 8);
    core_drop(&core, snapshot);
    peer_fini(&peer);
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge_round_takes_its_time),
        cmocka_unit_test(test_judge_round_can_be_given_another_length),
        cmocka_unit_test(test_judge_first_round_has_previews),
        cmocka_unit_test(test_judge_round_with_too_little_lengthens),
        cmocka_unit_test(test_judge_window_ends_every_round),
        cmocka_unit_test(test_judge_round_is_no_longer_than_the_window),
        cmocka_unit_test(test_judge_rounds_follow_one_another),
        cmocka_unit_test(test_judge_adds_what_the_witness_saw),
        cmocka_unit_test(test_judge_asks_for_probes_where_they_decide),
        cmocka_unit_test(test_judge_knows_the_machine),
        cmocka_unit_test(test_judge_knows_so_many_processes_of_a_model),
        cmocka_unit_test(test_judge_adds_up_each_model_alone),
        cmocka_unit_test(test_judge_counts_what_cannot_be),
        cmocka_unit_test(test_judge_silent_model_is_forgotten),
        cmocka_unit_test(test_judge_evidence_keeps_the_opinion),
        cmocka_unit_test(test_judge_reset_forgets),
        cmocka_unit_test(test_judge_tick_is_bounded),
        cmocka_unit_test(test_judge_allocates_for_models_with_evidence_alone),
        cmocka_unit_test(test_judge_without_memory),
        cmocka_unit_test(test_judge_stays_in_order),
        cmocka_unit_test(test_judge_hears_of_samples_that_count),
    };
    return cmocka_run_group_tests_name("judge", tests, core_tables, NULL);
}
