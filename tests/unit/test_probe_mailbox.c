#include "core_helpers.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/err.h"
#include "io/probe/probe_mailbox.h"
#include "io/system.h"
#include "mem_fault.h"

enum { THREADS = 4 };

static struct probe_mailbox mailbox;
static struct probe_orders orders;
static atomic_uint woken;

static void on_wake(void *ctx)
{
    assert_ptr_equal(ctx, &mailbox);
    atomic_fetch_add(&woken, 1);
}

static int open_mailbox(void **state)
{
    (void)note_memory(state);
    atomic_store(&woken, 0);
    assert_int_equal(probe_mailbox_init(&mailbox, THREADS, on_wake, &mailbox), 0);
    assert_int_equal(probe_orders_init(&orders, THREADS), 0);
    return 0;
}

static int close_mailbox(void **state)
{
    probe_mailbox_fini(&mailbox);
    probe_orders_fini(&orders);
    return must_be_clean(state);
}

static struct probe_look look_of(unsigned number)
{
    return (struct probe_look){.pid = 1, .thread_id = number, .look_at = LOOK_RUNS};
}

static void must_put(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct probe_look look = look_of(i);
        probe_mailbox_put_looks(&mailbox, &look, 1);
    }
}

static void must_take_looks(unsigned max, unsigned from, unsigned to)
{
    struct probe_look looks[4 * THREADS];
    assert_int_equal(probe_mailbox_take_looks(&mailbox, looks, max), to - from);
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(looks[i - from].thread_id, i);
    }
}

static void test_mailbox_hands_looks_over_in_order(void **state)
{
    (void)state;
    must_take_looks(THREADS, 0, 0);
    must_put(0, 5);
    assert_int_equal(atomic_load(&woken), 5);
    must_take_looks(2, 0, 2);
    must_put(5, 7);
    must_take_looks(2, 2, 4);
    must_take_looks(THREADS, 4, 7);
    must_take_looks(THREADS, 0, 0);
}

static void test_mailbox_drops_looks_past_its_room(void **state)
{
    (void)state;
    must_put(0, 2 * THREADS);
    assert_int_equal(probe_mailbox_view(&mailbox).dropped, 0);
    must_put(2 * THREADS, 2 * THREADS + 1); /* one over */
    assert_int_equal(probe_mailbox_view(&mailbox).dropped, 1);
    must_take_looks(4 * THREADS, 0, 2 * THREADS);
    struct probe_look many[3 * THREADS];
    for (unsigned i = 0; i < 3 * THREADS; i++) {
        many[i] = look_of(i);
    }
    probe_mailbox_put_looks(&mailbox, many, 3 * THREADS); /* those that fit */
    assert_int_equal(probe_mailbox_view(&mailbox).dropped, 1 + THREADS);
    must_take_looks(4 * THREADS, 0, 2 * THREADS);
}

static void test_mailbox_drops_facts_past_its_room(void **state)
{
    (void)state;
    struct probe_fact facts[2];
    for (unsigned i = 0; i <= FACTS_MAX; i++) {
        struct probe_fact fact = {.pid = i, .kind = FACT_GONE};
        probe_mailbox_put_fact(&mailbox, &fact);
        assert_int_equal(probe_mailbox_view(&mailbox).dropped, i == FACTS_MAX);
    }
    for (unsigned i = 0; i < FACTS_MAX; i += 2) {
        assert_int_equal(probe_mailbox_take_facts(&mailbox, facts, 2), 2);
        assert_int_equal(facts[0].pid, i);
        assert_int_equal(facts[1].pid, i + 1);
    }
    assert_int_equal(probe_mailbox_take_facts(&mailbox, facts, 2), 0);
}

static void test_mailbox_says_all_but_what_it_dropped(void **state)
{
    (void)state;
    must_put(0, 2 * THREADS + 3);
    struct probe_view view = {.looks = 7, .touches = 2, .looks_hertz = 10, .dropped = 99};
    probe_mailbox_say(&mailbox, &view);
    view = probe_mailbox_view(&mailbox);
    assert_int_equal(view.looks, 7);
    assert_int_equal(view.touches, 2);
    assert_int_equal(view.looks_hertz, 10);
    assert_int_equal(view.dropped, 3);
}

static void test_mailbox_keeps_the_last_orders(void **state)
{
    (void)state;
    struct probe_orders read;
    assert_int_equal(probe_orders_init(&read, THREADS), 0);
    assert_false(probe_mailbox_read_orders(&mailbox, &read));
    for (uint32_t i = 1; i <= THREADS; i++) {
        orders.threads[i - 1] = (struct watched_thread){5, i};
        orders.thread_count = i;
        orders.processes[0] = (struct watched_process){5, i == THREADS};
        orders.process_count = 1;
        probe_mailbox_order(&mailbox, &orders);
    }
    assert_true(probe_mailbox_read_orders(&mailbox, &read));
    assert_true(probe_orders_equal(&read, &orders));
    assert_false(probe_mailbox_read_orders(&mailbox, &read));
    read.processes[0].wants_touch = false;
    assert_false(probe_orders_equal(&read, &orders));
    read.processes[0].wants_touch = true;
    read.threads[THREADS - 1].thread_id++;
    assert_false(probe_orders_equal(&read, &orders));
    read.thread_count--;
    assert_false(probe_orders_equal(&read, &orders));
    probe_orders_fini(&read);
}

static void test_mailbox_waits_until_a_time_or_orders_or_the_end(void **state)
{
    (void)state;
    struct clock clock = system_clock();
    uint64_t now_ns = clock.mono_ns(NULL);
    assert_true(probe_mailbox_wait(&mailbox, now_ns + NS_PER_MS, true));
    assert_true(clock.mono_ns(NULL) >= now_ns + NS_PER_MS);
    probe_mailbox_order(&mailbox, &orders);
    assert_true(probe_mailbox_wait(&mailbox, UINT64_MAX / 2, true));
    assert_true(probe_mailbox_wait(&mailbox, clock.mono_ns(NULL) + 1, false));
    probe_mailbox_stop(&mailbox);
    assert_false(probe_mailbox_wait(&mailbox, UINT64_MAX / 2, false));
}

static void test_mailbox_needs_memory(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        struct probe_mailbox other;
        mem_fail_after(n);
        assert_int_equal(probe_mailbox_init(&other, THREADS, on_wake, &mailbox), ERR_NOMEM);
        assert_true(mem_has_failed());
    }
    mem_fail_after(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_mailbox, close_mailbox)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mailbox_hands_looks_over_in_order),
        TEST(test_mailbox_drops_looks_past_its_room),
        TEST(test_mailbox_drops_facts_past_its_room),
        TEST(test_mailbox_says_all_but_what_it_dropped),
        TEST(test_mailbox_keeps_the_last_orders),
        TEST(test_mailbox_waits_until_a_time_or_orders_or_the_end),
        TEST(test_mailbox_needs_memory),
    };
    return cmocka_run_group_tests_name("probe_mailbox", tests, NULL, NULL);
}
