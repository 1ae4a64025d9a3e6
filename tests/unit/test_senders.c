#include "core_helpers.h"

#include "base/clock.h"
#include "base/err.h"
#include "io/senders.h"
#include "mem_fault.h"

enum { CONNECTIONS_MAX = 3, RATE = 1000 };

static struct senders senders;

static int open_senders(void **state)
{
    const struct senders_options options = {
        .max_connections = CONNECTIONS_MAX, .max_bytes = 65536, .max_records_a_second = RATE};
    (void)note_memory(state);
    assert_int_equal(senders_init(&senders, &options), 0);
    return 0;
}

static int close_senders(void **state)
{
    senders_fini(&senders);
    assert_int_equal(senders.count, 0);
    return must_be_clean(state);
}

static struct sender *must_meet(pid_t pid, uid_t uid)
{
    const struct ucred who = {.pid = pid, .uid = uid};
    struct sender *sender = senders_meet(&senders, &who, NS_PER_SECOND);
    assert_non_null(sender);
    return sender;
}

static void must_be_full(pid_t pid, uid_t uid, bool full)
{
    const struct ucred who = {.pid = pid, .uid = uid};
    assert_int_equal(senders_are_full(&senders, &who), full);
}

static void test_senders_are_processes(void **state)
{
    (void)state;
    struct sender *sender = must_meet(7, 100);
    assert_ptr_equal(must_meet(7, 100), sender);
    assert_ptr_equal(must_meet(7, 0), sender); /* it may change its user */
    assert_ptr_not_equal(must_meet(8, 100), sender);
    assert_ptr_not_equal(must_meet(7 + SENDERS_CELLS, 100), sender);
    assert_int_equal(senders.count, 3);
}

static void test_senders_without_a_process_are_users(void **state)
{
    (void)state;
    struct sender *sender = must_meet(0, 100);
    assert_ptr_equal(must_meet(0, 100), sender);
    assert_ptr_not_equal(must_meet(0, 101), sender);
    assert_ptr_not_equal(must_meet(100, 100), sender);
    assert_ptr_not_equal(must_meet(0, 0), must_meet(0, (uid_t)-1));
}

static void test_senders_connections_at_the_ceiling_and_one_less(void **state)
{
    (void)state;
    must_be_full(7, 100, false); /* nobody knows it yet */
    struct sender *sender = must_meet(7, 100);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        must_be_full(7, 100, false);
        senders_enter(&senders, sender);
    }
    must_be_full(7, 100, true);
    must_be_full(8, 100, false);
    senders_leave(&senders, sender);
    must_be_full(7, 100, false);
    senders_leave(&senders, sender);
    senders_leave(&senders, sender);
}

/* Of those without connections the one that was met last stays longest. */
static void test_senders_absent_are_remembered_up_to_a_ceiling(void **state)
{
    (void)state;
    struct sender *connected = must_meet(1, 0);
    senders_enter(&senders, connected);
    for (pid_t pid = 2; pid < 2 + SENDERS_ABSENT_MAX; pid++) {
        senders_use(&senders, must_meet(pid, 0), (uint64_t)pid);
    }
    assert_int_equal(senders.count, 1 + SENDERS_ABSENT_MAX);
    assert_int_equal(must_meet(2, 0)->used_ns, 2);
    (void)must_meet(1000000, 0); /* one too many: 3 was not met for longest */
    assert_int_equal(senders.count, 1 + SENDERS_ABSENT_MAX);
    assert_int_equal(must_meet(2, 0)->used_ns, 2);
    assert_int_equal(must_meet(3, 0)->used_ns, 0);
    assert_ptr_equal(must_meet(1, 0), connected);
    senders_leave(&senders, connected);
}

/* Whoever connects anew is still who it was. */
static void test_senders_that_come_again_are_remembered(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct sender *sender = must_meet(7, 100);
        assert_int_equal(sender->used_ns, i * 1000);
        senders_enter(&senders, sender);
        senders_use(&senders, sender, 1000);
        senders_leave(&senders, sender);
    }
    assert_int_equal(senders.count, 1);
}

static void test_senders_use_is_halved_with_age(void **state)
{
    static const struct {
        uint64_t ages, left;
    } facts[] = {{0, 1000}, {1, 500}, {1, 250}, {2, 62}, {63, 0}, {64, 0}, {UINT64_MAX / 2, 0}};
    (void)state;
    struct sender *sender = must_meet(7, 100);
    senders_use(&senders, sender, 1000);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        senders_age(&senders, facts[i].ages);
        assert_int_equal(senders_used_ns(&senders, sender), facts[i].left);
    }
}

static void must_charge(struct sender *sender, uint64_t records, uint64_t now_ms, bool past,
                        uint64_t ahead_ms)
{
    uint64_t now_ns = now_ms * NS_PER_MS;
    assert_int_equal(senders_charge(&senders, sender, records, now_ns), past);
    uint64_t ahead_ns = senders_ahead_ns(&senders, sender, now_ns);
    assert_int_equal(ahead_ns / NS_PER_MS, ahead_ms);
    assert_int_equal(ahead_ns == 0, ahead_ms == 0);
}

static void test_senders_rate_at_the_limit_and_one_over(void **state)
{
    (void)state;
    must_charge(must_meet(1, 0), RATE, 1000, false, 0);
    must_charge(must_meet(2, 0), RATE + 1, 1000, true, 1);
    struct sender *sender = must_meet(3, 0);
    must_charge(sender, RATE - 1, 1000, false, 0);
    must_charge(sender, 1, 1000, false, 0);
    must_charge(sender, 10, 1000, true, 10);
    must_charge(sender, 10, 1000, false, 20); /* it was past it already */
    must_charge(sender, 0, 1010, false, 10);
    must_charge(sender, 0, 1020, false, 0);
    must_charge(sender, 1, 1020, true, 1);
    must_charge(sender, 0, 1010, false, 1); /* no time passes twice */
    must_charge(sender, 1, 1020, false, 2);
}

/* Who sent nothing for long may send a second's worth at once, and no more. */
static void test_senders_rate_saves_up_a_second(void **state)
{
    (void)state;
    struct sender *sender = must_meet(1, 0);
    must_charge(sender, RATE, 1000, false, 0);
    must_charge(sender, 500, 1500, false, 0);
    must_charge(sender, RATE, 100000, false, 0);
    must_charge(sender, 1, 100000, true, 1);
}

static void test_senders_rate_of_0_is_none(void **state)
{
    (void)state;
    senders.options.max_records_a_second = 0;
    struct sender *sender = must_meet(1, 0);
    must_charge(sender, UINT64_MAX, 1000, false, 0);
    must_charge(sender, UINT64_MAX, 1000, false, 0);
}

static void test_senders_without_memory(void **state)
{
    const struct ucred who = {.pid = 1};
    struct senders other;
    (void)state;
    mem_fail_after(1);
    assert_int_equal(senders_init(&other, &senders.options), ERR_NOMEM);
    senders_fini(&other);
    mem_fail_after(1);
    assert_null(senders_meet(&senders, &who, 0));
    assert_int_equal(senders.count, 0);
    must_be_full(1, 0, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_senders, close_senders)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_senders_are_processes),
        TEST(test_senders_without_a_process_are_users),
        TEST(test_senders_connections_at_the_ceiling_and_one_less),
        TEST(test_senders_absent_are_remembered_up_to_a_ceiling),
        TEST(test_senders_that_come_again_are_remembered),
        TEST(test_senders_use_is_halved_with_age),
        TEST(test_senders_rate_at_the_limit_and_one_over),
        TEST(test_senders_rate_saves_up_a_second),
        TEST(test_senders_rate_of_0_is_none),
        TEST(test_senders_without_memory),
    };
    return cmocka_run_group_tests_name("senders", tests, NULL, NULL);
}
