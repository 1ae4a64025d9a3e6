/*
 * core/shares: what comes of evidence, source by source, and what must hold of any evidence.
 */
#include "core/shares.h"

#include <math.h>

#include "core_helpers.h"

enum { MB = 1 << 20 };

static const struct machine machine = {
    .cache_bytes = 32.0 * MB, .page_fault_us = 2.6, .bandwidth_bytes = 10e9, .cpus = 2};

/* A hundred inferences of 10 ms in 5 s, of a process too large for the cache. */
static struct evidence evidence_of(double user_ms, double system_ms)
{
    return (struct evidence){.inferences = 100,
                             .wall_ms = 1000,
                             .user_ms = user_ms,
                             .system_ms = system_ms,
                             .runqueue_said = 100,
                             .resident_bytes = 400.0 * MB,
                             .span_ms = 5000};
}

static struct evidence with_looks(struct evidence evidence, double runs, double futex, double waits)
{
    evidence.looks[LOOK_RUNS] = runs;
    evidence.looks[LOOK_FUTEX] = futex;
    evidence.looks[LOOK_WAITS] = waits;
    return evidence;
}

static struct evidence with_probes(struct evidence evidence, double probes, double touch)
{
    evidence.touch_probes = probes;
    evidence.touch_sum = probes * touch;
    evidence.touch_squares = probes * touch * touch;
    return evidence;
}

static struct evidence with_runqueue(struct evidence evidence, double low_ms, double high_ms)
{
    evidence.runqueue_low_ms = low_ms;
    evidence.runqueue_high_ms = high_ms;
    evidence.runqueue_said = low_ms == high_ms ? evidence.inferences : 0;
    return evidence;
}

static struct evidence with_process(struct evidence evidence, double cpu_ms, double beside_ms)
{
    evidence.process_said = evidence.inferences;
    evidence.process_wall_ms = evidence.wall_ms;
    evidence.process_thread_ms = evidence.user_ms + evidence.system_ms;
    evidence.process_cpu_ms = cpu_ms;
    evidence.process_beside_ms = beside_ms;
    return evidence;
}

static struct shares shares_of(struct evidence evidence)
{
    struct shares shares;
    shares_compute(&evidence, &machine, &shares);
    return shares;
}

static void must_share(struct evidence evidence, double compute, double memory, double io,
                       double lock)
{
    struct shares shares = shares_of(evidence);
    const double expected[SHARE_COUNT] = {compute, memory, io, lock};
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        if (!(fabs(shares.share[i] - expected[i]) <= 0.03)) {
            fail_msg("%s: %.3f, not %.3f", share_names[i], shares.share[i], expected[i]);
        }
        assert_true(shares.bounds[i].low <= shares.share[i] + 1e-9);
        assert_true(shares.bounds[i].high >= shares.share[i] - 1e-9);
    }
}

/* --- facts ------------------------------------------------------------------------------------- */

static void test_shares_of_user_time_go_by_the_touch_rate(void **state)
{
    (void)state;
    struct evidence busy = evidence_of(1000, 0);
    must_share(with_probes(busy, 8, 0.10), 1, 0, 0, 0);
    must_share(with_probes(busy, 8, 0.20), 1, 0, 0, 0);
    must_share(with_probes(busy, 8, 0.55), 0.5, 0.5, 0, 0);
    must_share(with_probes(busy, 8, 0.95), 0, 1, 0, 0);
    must_share(with_probes(busy, 8, 3.00), 0, 1, 0, 0);
}

static void test_shares_know_that_a_small_process_stays_in_the_cache(void **state)
{
    (void)state;
    struct evidence busy = evidence_of(1000, 0);
    busy.resident_bytes = machine.cache_bytes / 4;
    assert_true(shares_of(busy).memory.high > 0); /* at the limit */
    busy.resident_bytes = machine.cache_bytes / 4 - 1;
    must_share(busy, 1, 0, 0, 0);
    assert_true(shares_of(busy).memory.high == 0);
}

static void test_shares_leave_memory_open_without_enough_probes(void **state)
{
    (void)state;
    struct evidence busy = evidence_of(1000, 0);
    const struct {
        double probes;
        bool open;
    } table[] = {{0, true}, {1, true}, {3, true}, {4, false}, {8, false}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct shares shares = shares_of(with_probes(busy, table[i].probes, 0.1));
        assert_int_equal(shares.memory.high - shares.memory.low > 0.9, table[i].open);
        assert_int_equal(shares.bounds[SHARE_COMPUTE].low < 0.1, table[i].open);
    }
}

static void test_shares_take_huge_pages_for_an_upper_bound(void **state)
{
    (void)state;
    struct evidence busy = with_probes(evidence_of(1000, 0), 8, 0.9);
    busy.huge_bytes = busy.resident_bytes / 2;
    assert_true(shares_of(busy).memory.low == 1);
    busy.huge_bytes++;
    assert_true(shares_of(busy).memory.low == 0);
    assert_true(shares_of(busy).memory.high == 1);
    busy = with_probes(busy, 8, 0.1); /* but computing is proven */
    assert_true(shares_of(busy).memory.high == 0);
}

/* Of huge pages: as fast as memory can be read, and not yet through with them. */
static void test_shares_know_who_streams_through_huge_pages(void **state)
{
    (void)state;
    struct machine fast = machine;
    fast.touch_bytes = 2.5e9; /* of 10e9 that can be read */
    static const struct {
        double touch, resident_mb;
        bool known;
    } facts[] = {
        {4, 400, true},                        /* 50 MB in a probe */
        {4, 80, true},     {4, 79, false},     /* more than 0.6 of all there is */
        {2.42, 400, true}, {2.41, 400, false}, /* 0.6 with the probes' error, and below */
        {6.38, 400, true}, {6.39, 400, false}, /* 1.6: it jumps about */
        {8, 400, false},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct evidence busy = with_probes(evidence_of(1000, 0), 8, facts[i].touch);
        busy.resident_bytes = facts[i].resident_mb * MB;
        busy.huge_bytes = busy.resident_bytes;
        struct shares shares;
        shares_compute(&busy, &fast, &shares);
        assert_true(shares.streamed == facts[i].touch / 4);
        if ((shares.memory.low == 1) != facts[i].known) {
            fail_msg("row %zu", i);
        }
        shares_compute(&busy, &machine, &shares); /* nobody knows how fast that is */
        assert_true(shares.memory.low == 0);
    }
}

static void test_shares_of_hints_prove_memory_and_never_deny_it(void **state)
{
    (void)state;
    struct evidence busy = evidence_of(1000, 0);
    busy.bytes_said = busy.inferences;
    busy.bytes_wall_ms = busy.wall_ms;
    busy.bytes_moved = 9e9; /* of 10 GB that a second allows */
    must_share(busy, 0, 1, 0, 0);
    busy.bytes_moved = 1e6; /* a pointer chase moves as little */
    assert_true(shares_of(busy).memory.low == 0 && shares_of(busy).memory.high == 1);
    busy = with_probes(busy, 8, 0.9);
    must_share(busy, 0, 1, 0, 0);
}

static void test_shares_of_blocked_time_go_by_the_looks(void **state)
{
    (void)state;
    struct evidence waits = with_probes(evidence_of(100, 0), 8, 0.1);
    must_share(with_looks(waits, 10, 0, 90), 0.1, 0, 0.9, 0);
    must_share(with_looks(waits, 10, 90, 0), 0.1, 0, 0, 0.9);
    must_share(with_looks(waits, 10, 45, 45), 0.1, 0, 0.45, 0.45);
}

static void test_shares_leave_a_wait_open_without_looks(void **state)
{
    (void)state;
    struct evidence waits = evidence_of(100, 0);
    struct shares shares = shares_of(waits);
    assert_true(shares.futex.low == 0 && shares.futex.high == 1);
    assert_true(shares.bounds[SHARE_IO].low == 0 && shares.bounds[SHARE_IO].high >= 0.9);
    waits.disk_bytes = 4096; /* the disk is one to wait for */
    shares = shares_of(waits);
    assert_true(shares.bounds[SHARE_IO].low >= 0.85);
}

static void test_shares_do_not_count_the_wait_for_a_cpu(void **state)
{
    (void)state;
    struct evidence beside = with_probes(evidence_of(400, 0), 8, 0.1);
    must_share(with_runqueue(beside, 600, 600), 1, 0, 0, 0);
    assert_true(fabs(shares_of(with_runqueue(beside, 600, 600)).starved.low - 0.6) < 1e-9);
    /* More of it than there is time left for: clocks lag. */
    must_share(with_runqueue(beside, 900, 900), 1, 0, 0, 0);
}

static void test_shares_find_an_unsaid_runqueue_by_the_looks(void **state)
{
    (void)state;
    struct evidence beside = with_runqueue(with_probes(evidence_of(400, 0), 8, 0.1), 0, 600);
    struct shares blind = shares_of(beside);
    assert_true(blind.runqueue.low == 0 && blind.runqueue.high == 600);
    struct shares ran = shares_of(with_looks(beside, 100, 0, 0));
    assert_true(ran.runqueue.low > 550 && ran.runqueue.high == 600);
    struct shares waited = shares_of(with_looks(beside, 40, 0, 60));
    assert_true(waited.runqueue.high < 100);
}

static void test_shares_find_throttling_by_a_wait_that_nobody_saw(void **state)
{
    (void)state;
    struct evidence slow = with_probes(evidence_of(300, 0), 8, 0.1);
    struct shares shares = shares_of(with_looks(slow, 100, 0, 0));
    assert_true(fabs(shares.throttled - 700) < 1);
    assert_true(fabs(shares.starved.low - 0.7) < 0.01);
    must_share(with_looks(slow, 100, 0, 0), 1, 0, 0, 0);
    /* Waits that were seen are waits; a seventh of the time is within the error. */
    assert_true(shares_of(with_looks(slow, 30, 0, 70)).throttled == 0);
    struct evidence nearly = with_probes(evidence_of(860, 0), 8, 0.1);
    assert_true(shares_of(with_looks(nearly, 100, 0, 0)).throttled == 0);
    /* Too few looks say nothing. */
    assert_true(shares_of(with_looks(slow, 9, 0, 0)).throttled == 0);
    assert_true(shares_of(with_looks(slow, 10, 0, 0)).throttled > 0);
}

static void test_shares_give_the_work_of_own_threads_to_the_model(void **state)
{
    (void)state;
    struct evidence pool = with_looks(with_probes(evidence_of(600, 0), 8, 0.1), 60, 40, 0);
    must_share(with_process(pool, 1400, 0), 1, 0, 0, 0);
    assert_true(shares_of(with_process(pool, 1400, 0)).workers);
    /* Not what other inferences burned, */
    assert_false(shares_of(with_process(pool, 1400, 600)).workers);
    /* nor a neighbour in the process while the thread sleeps or reads, */
    struct evidence sleeps = with_looks(with_probes(evidence_of(10, 0), 8, 0.1), 1, 0, 99);
    assert_false(shares_of(with_process(sleeps, 2000, 0)).workers);
    must_share(with_process(sleeps, 2000, 0), 0.01, 0, 0.99, 0);
    /* nor one that holds the lock which it waits for. */
    struct evidence locked = with_looks(with_probes(evidence_of(10, 0), 8, 0.1), 1, 99, 0);
    assert_false(shares_of(with_process(locked, 1000, 0)).workers);
    must_share(with_process(locked, 1000, 0), 0.01, 0, 0, 0.99);
}

/* What was seen of the process in the stretch's 5 s, of which the inferences fill a fifth. */
static struct evidence with_seen(struct evidence evidence, double cpu_ms, double runqueue_ms)
{
    evidence.seen_ms = evidence.span_ms;
    evidence.seen_user_ms = cpu_ms;
    evidence.seen_runqueue_ms = runqueue_ms;
    return evidence;
}

/* The thread waits in a futex throughout, and the others get that much of the second. */
static struct evidence waits_beside(double others_ms)
{
    struct evidence waits = with_looks(with_probes(evidence_of(10, 0), 8, 0.1), 1, 99, 0);
    return with_process(waits, 10 + others_ms, 0);
}

static void test_shares_tell_a_pool_from_a_lock_by_what_it_asks_for(void **state)
{
    (void)state;
    static const struct {
        double others, cpu, runqueue; /* in inferences; seen of the process */
        bool workers;
    } facts[] = {
        {2000, 2010, 0, true},    /* a pool on an idle machine */
        {2000, 2010, 2000, true}, /* four threads with half a CPU each */
        {1000, 1010, 1000, true}, /* the same with hogs: of two CPUs half is left */
        {1000, 5050, 5000, true}, /* and inferences all the time, by other threads too */
        {400, 410, 1600, true},   /* four, with a tenth of a CPU each */
        {1000, 1010, 0, false},   /* one at a time: behind a lock, on an idle machine */
        {500, 510, 500, false},   /* behind a lock, beside hogs */
        {480, 490, 600, false},   /* convoy: who was woken is ready at once, and soon asleep */
        {480, 490, 1000, false},  /* and more of it: 1.49 is asked for, */
        {480, 490, 1015, true},   /* 1.505: more than a lock lets ask */
        {101, 111, 4000, true},   /* a tenth of a CPU is work, */
        {99, 109, 4000, false},   /* less is nobody's */
        {0, 10, 4000, false},     /* ready only, as nothing */
        {1000, 1010, -1, false},  /* the source is missing: as before */
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct evidence evidence =
            with_seen(waits_beside(facts[i].others), facts[i].cpu, fmax(0, facts[i].runqueue));
        struct shares shares = shares_of(evidence);
        if (shares.workers != facts[i].workers) {
            fail_msg("fact %zu: not %d", i, facts[i].workers);
        }
        double lock = facts[i].workers ? 0 : 0.97;
        double compute = facts[i].workers ? 0.9 : 0;
        assert_true(shares.share[SHARE_LOCK] >= lock && shares.share[SHARE_LOCK] <= lock + 0.03);
        assert_true(shares.share[SHARE_COMPUTE] >= compute);
    }
}

static void test_shares_leave_out_what_the_thread_itself_waited_for_a_cpu(void **state)
{
    (void)state;
    /* A convoy in which nearly two are ready at a time: it has its turn, one of six. */
    struct evidence convoy = with_looks(with_probes(evidence_of(114, 0), 8, 0.1), 8, 25, 0);
    convoy = with_process(with_runqueue(convoy, 191, 191), 114 + 577, 0);
    assert_false(shares_of(with_seen(convoy, 691, 191 + 1070)).workers);
    /* Its own wait is asked for, too: two workers, of which it is one. */
    struct evidence shared = with_looks(with_probes(evidence_of(200, 0), 8, 0.1), 90, 10, 0);
    shared = with_process(with_runqueue(shared, 750, 750), 350, 0);
    assert_true(shares_of(with_seen(shared, 350, 750 + 600)).workers);
    /* It has the lock a half of the time, and a half of a CPU then; another one has it else. */
    struct evidence lock = with_looks(with_probes(evidence_of(250, 0), 8, 0.1), 50, 50, 0);
    lock = with_process(with_runqueue(lock, 250, 250), 500, 0);
    struct shares shares = shares_of(with_seen(lock, 500, 500));
    assert_false(shares.workers);
    assert_true(fabs(shares.others_ready - 250) < 1e-9);
    /* Seen for a half of the time, as in the first second: a half of its own is in that. */
    struct evidence half = with_seen(lock, 250, 250);
    half.seen_ms /= 2;
    assert_true(fabs(shares_of(half).others_ready - 250) < 1e-9);
    assert_false(shares_of(half).workers);
    /* Its own is more than was seen: nothing is left, and nothing is divided by 0. */
    assert_true(shares_of(with_seen(lock, 250, 100)).others_ready == 0);
    assert_true(shares_of(with_seen(lock, 0, 0)).others_ready == 0);
    /* Less CPU was seen than the inferences say: no more is waited than was seen. */
    assert_true(fabs(shares_of(with_seen(lock, 250, 500)).others_ready - 250) < 1e-9);
}

static void test_shares_of_a_busy_neighbour_thread_are_not_its_own(void **state)
{
    (void)state;
    struct evidence sleeps = with_looks(with_probes(evidence_of(10, 0), 8, 0.1), 1, 0, 99);
    sleeps = with_seen(with_process(sleeps, 1010, 0), 1010, 3000);
    assert_false(shares_of(sleeps).workers);
    must_share(sleeps, 0.01, 0, 0.99, 0);
    /* Nor those that work for other inferences. */
    struct evidence beside = with_seen(waits_beside(1000), 1010, 3000);
    beside.process_beside_ms = 950;
    assert_false(shares_of(beside).workers);
}

/* Measured: two threads that wait for each other in turn, idle and beside a busy neighbour on each CPU. */
static void test_shares_do_not_take_who_hands_on_for_a_worker(void **state)
{
    (void)state;
    struct evidence idle = {.inferences = 423,
                            .wall_ms = 1389.4,
                            .user_ms = 53.9,
                            .system_ms = 453.7,
                            .runqueue_low_ms = 195.5,
                            .runqueue_high_ms = 195.5,
                            .voluntary_switches = 22913,
                            .process_wall_ms = 1389.4,
                            .process_cpu_ms = 1007.9,
                            .process_thread_ms = 507.6,
                            .runqueue_said = 423,
                            .process_said = 423,
                            .looks = {18, 7, 0},
                            .seen_ms = 2226,
                            .seen_user_ms = 213.8,
                            .seen_system_ms = 1649.7,
                            .seen_runqueue_ms = 894.8,
                            .resident_bytes = 3526656,
                            .span_ms = 2486.6};
    struct evidence beside = {.inferences = 292,
                              .wall_ms = 1148.4,
                              .user_ms = 33.6,
                              .system_ms = 241.4,
                              .runqueue_low_ms = 437.8,
                              .runqueue_high_ms = 437.8,
                              .voluntary_switches = 14471,
                              .process_wall_ms = 1148.4,
                              .process_cpu_ms = 536.2,
                              .process_thread_ms = 275,
                              .runqueue_said = 292,
                              .process_said = 292,
                              .looks = {14, 9, 0},
                              .seen_ms = 1578.7,
                              .seen_user_ms = 77.8,
                              .seen_system_ms = 501.4,
                              .seen_runqueue_ms = 1434.6,
                              .resident_bytes = 3534848,
                              .span_ms = 2264};
    assert_false(shares_of(idle).workers);
    assert_false(shares_of(beside).workers);
    assert_true(shares_of(beside).share[SHARE_LOCK] > 0.4);
    beside.voluntary_switches = 10000; /* with half as much work between */
    assert_true(shares_of(beside).workers);
    assert_true(shares_of(beside).share[SHARE_IO] <
                0.3); /* it waits for its workers, not for a device */
}

static void test_shares_of_a_pool_are_as_starved_as_its_threads(void **state)
{
    (void)state;
    struct shares shares = shares_of(with_seen(waits_beside(1000), 1010, 1000));
    assert_true(fabs(shares.starved.low - 0.5) < 0.01 && fabs(shares.starved.high - 0.5) < 0.01);
    shares = shares_of(with_seen(waits_beside(500), 510, 500)); /* a lock's others are not it */
    assert_true(shares.starved.high == 0);
}

static void test_shares_take_system_time_apart(void **state)
{
    (void)state;
    struct evidence storm = with_probes(evidence_of(100, 900), 8, 0.1);
    storm.minor_faults = 10000; /* 26 ms */
    must_share(storm, 0.974, 0.026, 0, 0);
    storm.minor_faults = 35999; /* one for 25 us of system time: all of it is for pages */
    must_share(storm, 0.9064, 0.0936, 0, 0);
    storm.minor_faults = 36001;
    must_share(storm, 0.1, 0.9, 0, 0);
    storm.disk_bytes = 1e9; /* but where more of it is for something else */
    must_share(storm, 0.1, 0.0936, 0.8064, 0);
    storm.disk_bytes = 0;
    storm.minor_faults = 1e9; /* no more than there is */
    must_share(storm, 0.1, 0.9, 0, 0);
    struct evidence disk = with_probes(evidence_of(100, 900), 8, 0.1);
    disk.disk_bytes = 374e6; /* 224.4 ms; and at most 2.4 ns a byte, 897.6 ms, are all of it */
    must_share(disk, 0.7756, 0, 0.2244, 0);
    disk.disk_bytes = 376e6;
    must_share(disk, 0.1, 0, 0.9, 0);
    struct evidence sleepy = with_looks(with_probes(evidence_of(0, 100), 8, 0.1), 0, 0, 100);
    sleepy.voluntary_switches = 1e6;
    must_share(sleepy, 0, 0, 1, 0);
    struct evidence copies = with_probes(evidence_of(100, 900), 8, 0.1);
    copies.seen_user_ms = 200; /* the process did twice of what its inferences did */
    copies.seen_system_ms = 1800;
    copies.seen_io_bytes = 10e9;
    must_share(copies, 0.4, 0, 0.6, 0);
}

static void test_shares_of_nothing_are_not_known(void **state)
{
    (void)state;
    struct evidence none = {.inferences = 0};
    struct shares shares = shares_of(none);
    assert_true(isnan(shares.share[SHARE_COMPUTE]) && isnan(shares.touch));
    struct evidence starved = with_runqueue(evidence_of(0, 0), 1000, 1000);
    shares = shares_of(starved);
    assert_true(isnan(shares.share[SHARE_COMPUTE]));
    assert_true(shares.starved.low == 1);
    struct evidence unknown_machine = evidence_of(1000, 0);
    shares_compute(&unknown_machine, &machine_unknown, &shares);
    assert_true(shares.memory.low == 0 && shares.memory.high == 1);
}

/* --- what holds of any evidence ---------------------------------------------------------------- */

static struct random dice;

static double part_of(double whole)
{
    return whole * (double)random_below(&dice, 1001) / 1000;
}

static struct evidence any_evidence(void)
{
    double cpu = part_of(1000);
    double user = part_of(cpu);
    struct evidence evidence = evidence_of(user, cpu - user);
    double waits = (double)(random_below(&dice, 60));
    double runqueue = part_of(1000 - cpu);
    evidence = with_runqueue(evidence, runqueue, runqueue);
    evidence = with_probes(evidence, (double)(random_below(&dice, 12)), part_of(2));
    evidence = with_looks(evidence, (double)(random_below(&dice, 60)), part_of(waits), 0);
    evidence.looks[LOOK_WAITS] = waits - evidence.looks[LOOK_FUTEX];
    evidence.minor_faults = part_of(50000);
    evidence.voluntary_switches = part_of(10000);
    evidence.seen_user_ms = part_of(1500);
    evidence.seen_system_ms = part_of(1500);
    evidence.seen_io_bytes = part_of(1e9);
    evidence.seen_ms = part_of(10000);
    evidence.seen_runqueue_ms = part_of(5000);
    evidence.resident_bytes = part_of(64.0 * MB);
    if (random_below(&dice, 2) == 0) {
        evidence = with_process(evidence, part_of(3000), part_of(500));
    }
    if (random_below(&dice, 4) == 0) {
        evidence.disk_bytes = part_of(1e9);
    }
    return evidence;
}

static void test_shares_are_parts_of_one(void **state)
{
    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct shares shares = shares_of(any_evidence());
        double sum = 0;
        if (isnan(shares.share[0])) {
            assert_true(shares.total == 0);
            continue;
        }
        for (unsigned i = 0; i < SHARE_COUNT; i++) {
            assert_true(shares.share[i] >= -1e-9 && shares.share[i] <= 1 + 1e-9);
            assert_true(shares.bounds[i].low <= shares.bounds[i].high);
            assert_true(shares.bounds[i].low >= -1e-9 && shares.bounds[i].high <= 1 + 1e-9);
            assert_true(shares.deviation[i] > 0);
            sum += shares.share[i];
        }
        assert_true(fabs(sum - 1) < 1e-9);
        assert_true(shares.runqueue.low <= shares.runqueue.high);
        assert_true(shares.blocked.low <= shares.blocked.high);
    }
}

/* Ten times the time, and ten times of all that takes time, is the same model, only slower. */
static void scale(struct evidence *evidence, double by)
{
    double *const figures[] = {&evidence->wall_ms,           &evidence->user_ms,
                               &evidence->system_ms,         &evidence->runqueue_low_ms,
                               &evidence->runqueue_high_ms,  &evidence->minor_faults,
                               &evidence->major_faults,      &evidence->voluntary_switches,
                               &evidence->disk_bytes,        &evidence->process_wall_ms,
                               &evidence->process_cpu_ms,    &evidence->process_thread_ms,
                               &evidence->process_beside_ms, &evidence->seen_user_ms,
                               &evidence->seen_system_ms,    &evidence->seen_faults,
                               &evidence->seen_io_bytes,     &evidence->span_ms,
                               &evidence->seen_ms,           &evidence->seen_runqueue_ms};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        *figures[i] *= by;
    }
}

static void test_shares_do_not_depend_on_the_unit_of_time(void **state)
{
    (void)state;
    for (int round = 0; round < 5000; round++) {
        struct evidence evidence = any_evidence();
        struct shares before = shares_of(evidence);
        scale(&evidence, 10);
        struct shares after = shares_of(evidence);
        for (unsigned i = 0; i < SHARE_COUNT && !isnan(before.share[i]); i++) {
            assert_true(fabs(before.share[i] - after.share[i]) < 1e-9);
            assert_true(fabs(before.bounds[i].low - after.bounds[i].low) < 1e-9);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_of_user_time_go_by_the_touch_rate),
        cmocka_unit_test(test_shares_know_that_a_small_process_stays_in_the_cache),
        cmocka_unit_test(test_shares_leave_memory_open_without_enough_probes),
        cmocka_unit_test(test_shares_take_huge_pages_for_an_upper_bound),
        cmocka_unit_test(test_shares_know_who_streams_through_huge_pages),
        cmocka_unit_test(test_shares_of_hints_prove_memory_and_never_deny_it),
        cmocka_unit_test(test_shares_of_blocked_time_go_by_the_looks),
        cmocka_unit_test(test_shares_leave_a_wait_open_without_looks),
        cmocka_unit_test(test_shares_do_not_count_the_wait_for_a_cpu),
        cmocka_unit_test(test_shares_find_an_unsaid_runqueue_by_the_looks),
        cmocka_unit_test(test_shares_find_throttling_by_a_wait_that_nobody_saw),
        cmocka_unit_test(test_shares_give_the_work_of_own_threads_to_the_model),
        cmocka_unit_test(test_shares_tell_a_pool_from_a_lock_by_what_it_asks_for),
        cmocka_unit_test(test_shares_leave_out_what_the_thread_itself_waited_for_a_cpu),
        cmocka_unit_test(test_shares_of_a_busy_neighbour_thread_are_not_its_own),
        cmocka_unit_test(test_shares_do_not_take_who_hands_on_for_a_worker),
        cmocka_unit_test(test_shares_of_a_pool_are_as_starved_as_its_threads),
        cmocka_unit_test(test_shares_take_system_time_apart),
        cmocka_unit_test(test_shares_of_nothing_are_not_known),
        cmocka_unit_test(test_shares_are_parts_of_one),
        cmocka_unit_test(test_shares_do_not_depend_on_the_unit_of_time),
    };
    dice = random_start("test_shares");
    return cmocka_run_group_tests_name("shares", tests, NULL, NULL);
}
