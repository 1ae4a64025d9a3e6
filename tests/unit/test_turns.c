#include "core_helpers.h"

#include "base/clock.h"
#include "io/turns.h"

enum { READERS_MAX = 128, SERVED_MAX = 4096, RATE = 1000 };

/* Who reads: for how long each time, and how often there is more. */
struct reader {
    struct turn turn;
    uint64_t cost_ns;
    unsigned left; /* reads that say there is more */
    uint64_t records;
    unsigned reads;
};

static uint64_t now_ns;
static uv_loop_t loop;
static struct counters counters;
static struct senders senders;
static struct turns turns;
static struct reader readers[READERS_MAX];
static const struct reader *served[SERVED_MAX];
static unsigned served_count;

static uint64_t now(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static int open_turns(void **state)
{
    const struct senders_options options = {.max_connections = READERS_MAX};
    const struct clock clock = {.mono_ns = now, .wall_ns = now};
    (void)note_memory(state);
    now_ns = NS_PER_SECOND;
    served_count = 0;
    counters = (struct counters){0};
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(senders_init(&senders, &options), 0);
    turns_start(&turns, &loop, &senders, &counters, &clock);
    return 0;
}

static int close_turns(void **state)
{
    turns_close(&turns);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* returns when no handle is left */
    assert_int_equal(uv_loop_close(&loop), 0);
    senders_fini(&senders);
    assert_int_equal(counters.value[COUNTER_WAITING], 0);
    return must_be_clean(state);
}

static bool read_once(struct turn *turn)
{
    struct reader *reader = turn->owner;
    now_ns += reader->cost_ns;
    reader->reads++;
    (void)senders_charge(&senders, turn->sender, reader->records, now_ns);
    if (served_count < SERVED_MAX) {
        served[served_count++] = reader;
    }
    return reader->left > 0 && --reader->left > 0;
}

/* A connection of a process that reads so often, each time for so long. */
static struct reader *open_reader(unsigned number, pid_t pid, unsigned reads, uint64_t cost_us)
{
    const struct ucred who = {.pid = pid};
    struct reader *reader = &readers[number];
    *reader = (struct reader){.cost_ns = cost_us * 1000, .left = reads};
    struct sender *sender = senders_meet(&senders, &who, now_ns);
    assert_non_null(sender);
    senders_enter(&senders, sender);
    reader->turn = (struct turn){.sender = sender, .owner = reader, .take = read_once};
    return reader;
}

static void close_readers(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        turns_cancel(&turns, &readers[i].turn);
        senders_leave(&senders, readers[i].turn.sender);
    }
}

static void wait(struct reader *reader)
{
    turns_wait(&turns, &reader->turn);
}

static void run_once(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void run_all(void)
{
    while (counters.value[COUNTER_WAITING] > 0) {
        run_once();
    }
}

static void must_be_served(const unsigned *order, unsigned count)
{
    assert_int_equal(served_count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(served[i] - readers, order[i]);
    }
}

static void test_turns_in_the_order_in_which_they_come(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        wait(open_reader(i, (pid_t)i + 1, 1, 10));
    }
    wait(&readers[0]); /* waits already */
    assert_int_equal(counters.value[COUNTER_WAITING], 3);
    run_once();
    must_be_served((const unsigned[]){0, 1, 2}, 3);
    assert_int_equal(counters.value[COUNTER_WAITING], 0);
    close_readers(3);
}

static void test_turns_of_who_used_less_come_first(void **state)
{
    (void)state;
    wait(open_reader(0, 1, 1, 400));
    run_once();
    wait(&readers[0]); /* has used more by now */
    wait(open_reader(1, 2, 1, 10));
    run_once();
    must_be_served((const unsigned[]){0, 1, 0}, 3);
    close_readers(2);
}

/* Its connections take turns, and their time is the process's. */
static void test_turns_of_a_process_are_one_share(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        wait(open_reader(i, 1, 1000, 100));
    }
    wait(open_reader(100, 2, 1000, 100));
    for (unsigned i = 0; i < 40; i++) {
        run_once();
    }
    unsigned of_many = 0;
    for (unsigned i = 0; i < 100; i++) {
        of_many += readers[i].reads;
    }
    assert_in_range(readers[100].reads, of_many / 2, of_many * 2);
    close_readers(101);
}

/* However much waits, others have their turn of the loop after so long, and one read. */
static void test_turns_end_with_the_stretch(void **state)
{
    static const struct {
        uint64_t cost_us;
        unsigned reads;
    } facts[] = {{TURNS_STRETCH_US + 1, 1}, {TURNS_STRETCH_US, 1},     {TURNS_STRETCH_US - 1, 2},
                 {TURNS_STRETCH_US / 2, 2}, {TURNS_STRETCH_US / 5, 5}, {1, TURNS_STRETCH_US}};
    (void)state;
    for (unsigned i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct reader *reader = open_reader(0, 1, 1000000, facts[i].cost_us);
        wait(reader);
        run_once();
        assert_int_equal(reader->reads, facts[i].reads);
        close_readers(1);
        run_once();
    }
}

/* A hundred who flood, and one who sends now and then: it is read next, each time. */
static void test_turns_of_a_good_one_come_next_whoever_floods(void **state)
{
    enum { FLOODS = 100, ROUNDS = 200 };
    (void)state;
    for (unsigned i = 0; i < FLOODS; i++) {
        wait(open_reader(i, (pid_t)i + 1, UINT32_MAX, 200));
    }
    struct reader *good = open_reader(FLOODS, FLOODS + 1, 0, 5);
    for (unsigned i = 0; i < 1000; i++) { /* until all floods have used something */
        run_once();
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        wait(good);
        served_count = 0;
        run_once();
        assert_ptr_equal(served[0], good);
        run_once();
    }
    assert_int_equal(good->reads, ROUNDS);
    close_readers(FLOODS + 1);
}

/* Time is shared evenly, whatever a read takes and how many connections there are. */
static void test_turns_share_time_evenly(void **state)
{
    enum { SENDERS = 20, SECONDS = 2 };
    struct random random = random_start("turns");
    (void)state;
    for (unsigned i = 0; i < READERS_MAX; i++) {
        pid_t pid = (pid_t)(i < SENDERS ? i : random_below(&random, SENDERS)) + 1;
        wait(open_reader(i, pid, UINT32_MAX, 20 + random_below(&random, 300)));
    }
    uint64_t began = now_ns;
    while (now_ns < began + SECONDS * NS_PER_SECOND) {
        run_once();
    }
    uint64_t used[SENDERS] = {0};
    for (unsigned i = 0; i < READERS_MAX; i++) {
        used[readers[i].turn.sender->pid - 1] += readers[i].reads * readers[i].cost_ns;
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        uint64_t share = SECONDS * NS_PER_SECOND / SENDERS;
        assert_in_range(used[i], share * 2 / 3, share * 3 / 2);
    }
    close_readers(READERS_MAX);
}

/* Whoever used everything until others came is not made to wait until they have used as much. */
static void test_turns_of_the_greediest_come_too(void **state)
{
    enum { OTHERS = 50 };
    (void)state;
    struct reader *greedy = open_reader(0, 1, UINT32_MAX, 100);
    wait(greedy);
    while (now_ns < 3 * NS_PER_SECOND) {
        run_once();
    }
    for (unsigned i = 1; i <= OTHERS; i++) {
        wait(open_reader(i, (pid_t)i + 1, UINT32_MAX, 100));
    }
    unsigned before = greedy->reads;
    uint64_t came = now_ns;
    while (greedy->reads == before) {
        run_once();
        assert_in_range(now_ns, came, came + NS_PER_SECOND);
    }
    close_readers(OTHERS + 1);
}

static void test_turns_can_be_cancelled(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        wait(open_reader(i, (pid_t)(i / 2) + 1, 1, 10));
    }
    turns_cancel(&turns, &readers[0].turn);
    turns_cancel(&turns, &readers[2].turn);
    turns_cancel(&turns, &readers[3].turn);
    turns_cancel(&turns, &readers[3].turn); /* does not wait */
    run_once();
    must_be_served((const unsigned[]){1}, 1);
    wait(&readers[2]);
    run_once();
    must_be_served((const unsigned[]){1, 2}, 2);
    close_readers(4);
}

static bool close_both(struct turn *turn)
{
    (void)read_once(turn);
    turns_cancel(&turns, &readers[0].turn);
    turns_cancel(&turns, &readers[1].turn);
    return false;
}

/* As when a read ends a connection of the same process. */
static void test_turns_can_be_cancelled_in_a_turn(void **state)
{
    (void)state;
    wait(open_reader(0, 1, 1, 10));
    wait(open_reader(1, 1, 1, 10));
    readers[0].turn.take = close_both;
    run_once();
    must_be_served((const unsigned[]){0}, 1);
    close_readers(2);
}

/* It waits for as long as it is ahead of its rate; nobody else does. */
static void test_turns_pause_who_is_ahead_of_its_rate(void **state)
{
    (void)state;
    senders.options.max_records_a_second = RATE;
    struct reader *fast = open_reader(0, 1, 3, 10);
    struct reader *other = open_reader(1, 2, 3, 10);
    fast->records = RATE + 20;
    wait(fast);
    wait(other);
    run_once();
    assert_int_equal(fast->reads, 1);
    assert_int_equal(other->reads, 3);
    assert_int_equal(counters.value[COUNTER_WAITING], 1);
    run_once(); /* time stands still */
    assert_int_equal(fast->reads, 1);
    now_ns += 20 * NS_PER_MS;
    while (fast->reads < 2) {
        (void)uv_run(&loop, UV_RUN_ONCE); /* wakes up by itself */
    }
    assert_int_equal(fast->reads, 2);
    close_readers(2); /* while it is paused again */
}

static void test_turns_tell_of_overload_once_it_lasts(void **state)
{
    (void)state;
    struct reader *reader = open_reader(0, 1, UINT32_MAX, 1000);
    wait(reader);
    for (unsigned i = 1; i <= TURNS_OVERLOAD_MS + 10; i++) {
        run_once();
        assert_int_equal(counters.value[COUNTER_OVERLOADS], i >= TURNS_OVERLOAD_MS);
    }
    reader->left = 1;
    run_all();
    run_once();
    reader->left = TURNS_OVERLOAD_MS - 1; /* just not long enough */
    wait(reader);
    run_all();
    assert_int_equal(counters.value[COUNTER_OVERLOADS], 1);
    close_readers(1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_turns, close_turns)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_turns_in_the_order_in_which_they_come),
        TEST(test_turns_of_who_used_less_come_first),
        TEST(test_turns_of_a_process_are_one_share),
        TEST(test_turns_end_with_the_stretch),
        TEST(test_turns_of_a_good_one_come_next_whoever_floods),
        TEST(test_turns_share_time_evenly),
        TEST(test_turns_of_the_greediest_come_too),
        TEST(test_turns_can_be_cancelled),
        TEST(test_turns_can_be_cancelled_in_a_turn),
        TEST(test_turns_pause_who_is_ahead_of_its_rate),
        TEST(test_turns_tell_of_overload_once_it_lasts),
    };
    return cmocka_run_group_tests_name("turns", tests, NULL, NULL);
}
