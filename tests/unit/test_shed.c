#include "core_helpers.h"

#include "base/clock.h"
#include "io/shed.h"

enum { RATE = 1000 };

static struct core core;
static struct ingest ingest;
static struct sender socket_sender;
static struct shed shed;
static uint64_t now_ns;

static int open_shed(void **state)
{
    const struct senders_options options = {.max_connections = 1};
    struct registry_options registry = core_options();
    (void)state;
    core_open(&core, &registry);
    now_ns = NS_PER_SECOND;
    ingest = (struct ingest){.intake = &core.intake};
    socket_sender = (struct sender){0};
    assert_int_equal(senders_init(&ingest.senders, &options), 0);
    shed_init(&shed, &ingest, &socket_sender);
    return 0;
}

static int close_shed(void **state)
{
    (void)state;
    senders_fini(&ingest.senders);
    core_close(&core);
    return 0;
}

static struct sender *must_meet(pid_t pid)
{
    const struct ucred who = {.pid = pid};
    struct sender *sender = senders_meet(&ingest.senders, &who, now_ns);
    assert_non_null(sender);
    return sender;
}

static void use(pid_t pid, uint64_t us)
{
    senders_use(&ingest.senders, must_meet(pid), us * 1000);
    senders_use(&ingest.senders, &socket_sender, us * 1000);
}

static void must_want(pid_t pid, bool wanted)
{
    assert_int_equal(shed_wants(&shed, must_meet(pid), now_ns), wanted);
}

/* Datagrams of these come in the present age. */
static void see(pid_t senders)
{
    for (pid_t pid = 1; pid <= senders; pid++) {
        (void)shed_wants(&shed, must_meet(pid), now_ns);
    }
}

static void test_shed_wants_nothing_of_one_alone(void **state)
{
    (void)state;
    see(1);
    use(1, 200000);
    must_want(1, false);
}

static void test_shed_wants_nothing_while_there_is_time(void **state)
{
    (void)state;
    see(2);
    use(1, SHED_BUSY_MS * 1000);
    must_want(1, false);
    use(2, 1);
    must_want(1, true);
    must_want(2, false);
}

/* A fair share and a quarter of it, and one over. */
static void test_shed_wants_what_is_past_the_share(void **state)
{
    static const struct {
        pid_t senders;
        uint64_t most_us, others_us; /* of the first, and of each of the others */
        bool wanted;
    } facts[] = {{2, 125000, 75000, false}, {2, 125010, 74990, true}, {3, 66000, 66000, false},
                 {4, 150000, 10000, true},  {4, 60000, 60000, false}, {10, 24900, 19400, false},
                 {10, 25300, 19400, true},  {100, 2000, 2000, false}, {2, 200000, 0, true},
                 {2, 100000, 100000, false}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        (void)close_shed(state);
        (void)open_shed(state);
        see(facts[i].senders);
        for (pid_t pid = 1; pid <= facts[i].senders; pid++) {
            use(pid, pid == 1 ? facts[i].most_us : facts[i].others_us);
        }
        must_want(1, facts[i].wanted);
        must_want(2, false);
    }
}

/* Whoever was silent for more than an age is not there to be spared. */
static void test_shed_forgets_who_is_silent(void **state)
{
    static const struct {
        uint64_t ages;
        bool wanted;
    } facts[] = {{0, true}, {1, true}, {1, false}, {5, false}};
    (void)state;
    see(2);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        senders_age(&ingest.senders, facts[i].ages);
        use(1, 200000);
        must_want(1, facts[i].wanted);
    }
}

static void test_shed_wants_what_is_ahead_of_its_rate(void **state)
{
    (void)state;
    ingest.senders.options.max_records_a_second = RATE;
    assert_false(senders_charge(&ingest.senders, must_meet(1), RATE, now_ns));
    must_want(1, false);
    assert_true(senders_charge(&ingest.senders, must_meet(1), 10, now_ns));
    must_want(1, true);
    must_want(2, false);
    now_ns += 10 * NS_PER_MS;
    must_want(1, false);
}

static void must_have_dropped(uint64_t datagrams, uint64_t records)
{
    assert_int_equal(core.counters.value[COUNTER_SHED_DATAGRAMS], datagrams);
    assert_int_equal(core.counters.value[COUNTER_SHED_RECORDS], records);
}

static void test_shed_counts_what_it_drops(void **state)
{
    (void)state;
    must_have_dropped(0, 0);
    shed_drop(&shed, must_meet(1), STR_LITERAL("a:1|c\nb:1|c"), now_ns);
    shed_drop(&shed, must_meet(1), STR_LITERAL(""), now_ns);
    shed_drop(&shed, must_meet(1), STR_LITERAL("DWL1\x42\x00"), now_ns);
    must_have_dropped(3, 3);
    assert_int_equal(shed.datagrams, 3);
    assert_int_equal(shed.records, 3);
}

static void test_shed_ends_when_it_was_quiet_for_so_long(void **state)
{
    (void)state;
    shed_look(&shed, now_ns);
    shed_drop(&shed, must_meet(1), STR_LITERAL("a:1|c"), now_ns);
    now_ns += SHED_QUIET_MS * NS_PER_MS;
    shed_look(&shed, now_ns);
    assert_int_not_equal(shed.last_ns, 0);
    shed_look(&shed, now_ns + 1);
    assert_int_equal(shed.last_ns, 0);
    shed_drop(&shed, must_meet(1), STR_LITERAL("a:1|c"), now_ns);
    assert_int_equal(shed.datagrams, 1); /* since it began anew */
    must_have_dropped(2, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_shed, close_shed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_shed_wants_nothing_of_one_alone),
        TEST(test_shed_wants_nothing_while_there_is_time),
        TEST(test_shed_wants_what_is_past_the_share),
        TEST(test_shed_forgets_who_is_silent),
        TEST(test_shed_wants_what_is_ahead_of_its_rate),
        TEST(test_shed_counts_what_it_drops),
        TEST(test_shed_ends_when_it_was_quiet_for_so_long),
    };
    return cmocka_run_group_tests_name("shed", tests, core_tables, NULL);
}
