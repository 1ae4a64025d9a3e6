#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/export/export_queue.h"
#include "io/system.h"
#include "mem_fault.h"

static struct export_queue queue;
static uint64_t now_ns;
static unsigned given_up[EXPORT_DROP_COUNT];

static void end_item(void *ctx, struct export_item *item, const struct export_end *end)
{
    assert_ptr_equal(ctx, &queue);
    assert_false(end->is_delivered); /* the queue delivers nothing */
    given_up[end->reason]++;
    mem_free(item);
}

static const struct export_signal signal_of_test = {.name = "traces", .end = end_item};

static uint64_t read_clock(void *ctx)
{
    (void)ctx;
    return now_ns;
}

static void open_queue(uint64_t max_weight, uint64_t max_bytes)
{
    struct export_queue_options options = {.signal = &signal_of_test,
                                           .signal_ctx = &queue,
                                           .max_items = 1000,
                                           .max_weight = max_weight,
                                           .max_bytes = max_bytes,
                                           .batch_items = 4,
                                           .clock = {read_clock, read_clock, NULL}};
    now_ns = 1000;
    memset(given_up, 0, sizeof given_up);
    assert_int_equal(export_queue_init(&queue, &options), 0);
}

static void close_queue(void)
{
    export_queue_fini(&queue);
}

static void add_heavy(char first, size_t len, uint64_t weight, uint32_t outside)
{
    struct export_item *item = export_item_new(&queue, len);
    assert_non_null(item);
    assert_int_equal(item->weight, 1);
    assert_int_equal(item->len, len);
    memset(item->bytes, 0, len);
    item->bytes[0] = first;
    item->weight = weight;
    item->outside = outside;
    export_queue_add(&queue, item);
}

static void add(char first, size_t len)
{
    add_heavy(first, len, 1, 0);
}

static struct export_view view(void)
{
    struct export_view view;
    export_queue_view(&queue, &view);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        dropped += view.dropped[i];
    }
    assert_int_equal(view.accepted,
                     view.exported + view.held + view.waiting + view.in_flight + dropped);
    return view;
}

/* Takes and settles as exported; the first bytes must be these. */
static void must_take(uint64_t most, const char *firsts)
{
    uint64_t count;
    struct export_settlement settlement = {0};
    uint64_t waiting = view().waiting;
    struct export_item *item = export_queue_take(&queue, most, &count);
    assert_int_equal(count, strlen(firsts));
    assert_int_equal(view().in_flight, waiting - view().waiting);
    for (size_t i = 0; firsts[i] != '\0'; i++) {
        struct export_item *next = item->next;
        assert_int_equal(item->bytes[0], firsts[i]);
        settlement.bytes += export_item_size(item);
        settlement.exported += item->weight;
        settlement.items++;
        mem_free(item);
        item = next;
    }
    assert_null(item);
    assert_int_equal(view().in_flight, settlement.exported);
    export_queue_settle(&queue, &settlement);
    assert_int_equal(view().in_flight, 0);
}

static void test_export_queue_gives_the_oldest_first(void **state)
{
    (void)state;
    open_queue(100, 1 << 20);
    must_take(10, "");
    for (char c = 'a'; c < 'f'; c++) {
        add(c, 10);
    }
    must_take(2, "ab");
    must_take(3, "cde");
    must_take(1, "");
    add('z', 1);
    must_take(UINT64_MAX, "z");
    assert_int_equal(view().exported, 6);
    assert_int_equal(view().bytes, 0);
    close_queue();
}

static void test_export_queue_holds_so_many(void **state)
{
    (void)state;
    open_queue(3, 1 << 20);
    add('a', 1);
    add('b', 1);
    add('c', 1);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 0);
    add('d', 1);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    assert_int_equal(view().waiting, 3);
    must_take(10, "abc");
    add('e', 1);
    assert_int_equal(view().waiting, 1);
    close_queue();
}

static void test_export_queue_counts_what_is_in_flight_as_full(void **state)
{
    (void)state;
    uint64_t count;
    open_queue(2, 1 << 20);
    add('a', 1);
    add('b', 1);
    struct export_item *item = export_queue_take(&queue, 1, &count);
    add('c', 1);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    export_queue_settle(&queue, &(struct export_settlement){.items = 1,
                                                            .dropped = 1,
                                                            .reason = EXPORT_DROP_FAILED,
                                                            .bytes = export_item_size(item)});
    mem_free(item);
    add('d', 1);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    assert_int_equal(view().dropped[EXPORT_DROP_FAILED], 1);
    must_take(5, "bd");
    close_queue();
}

static void test_export_queue_holds_so_many_bytes(void **state)
{
    (void)state;
    size_t head = sizeof(struct export_item);
    open_queue(100, 2 * head + 30);
    add('a', 10);
    add('b', 21); /* one over */
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    add('c', 20); /* the limit */
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    assert_int_equal(view().bytes, 2 * head + 30);
    must_take(9, "ac");
    assert_int_equal(view().bytes, 0);
    close_queue();
}

/* Ceiling and account are of weights; takes are of items. */
static void test_export_queue_weighs_items(void **state)
{
    (void)state;
    open_queue(100, 1 << 20);
    add_heavy('a', 1, 60, 0);
    add_heavy('b', 1, 41, 0); /* one over */
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 41);
    assert_int_equal(given_up[EXPORT_DROP_QUEUE_FULL], 1);
    add_heavy('c', 1, 40, 0); /* the limit */
    assert_int_equal(view().waiting, 100);
    must_take(1, "a");
    assert_int_equal(view().exported, 60);
    assert_int_equal(view().waiting, 40);
    must_take(2, "c");
    assert_int_equal(view().accepted, 141);
    add_heavy('d', 1, 101, 0);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 41 + 101);
    close_queue();
}

static void test_export_queue_holds_so_many_items_of_any_weight(void **state)
{
    (void)state;
    open_queue(1 << 20, 1 << 20);
    for (unsigned i = 0; i < 1000; i++) {
        add_heavy('a', 1, 3, 0);
    }
    assert_int_equal(view().waiting, 3000);
    add_heavy('b', 1, 3, 0); /* one over */
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 3);
    must_take(1, "a");
    add_heavy('c', 1, 3, 0);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 3);
    close_queue();
}

static void test_export_queue_counts_memory_of_items_elsewhere(void **state)
{
    (void)state;
    size_t head = sizeof(struct export_item);
    open_queue(100, 2 * head + 1000);
    add_heavy('a', 10, 1, 900);
    add_heavy('b', 10, 1, 81); /* one over */
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    add_heavy('c', 10, 1, 80); /* the limit */
    assert_int_equal(view().bytes, 2 * head + 1000);
    must_take(9, "ac");
    assert_int_equal(view().bytes, 0);
    close_queue();
}

static void test_export_queue_wakes_for_the_first_and_for_a_batch(void **state)
{
    (void)state;
    static const bool wakes[] = {true, false, false, true, false};
    open_queue(100, 1 << 20);
    for (size_t i = 0; i < sizeof wakes; i++) {
        add('a', 1);
        assert_int_equal(queue.is_woken, wakes[i]);
        if (wakes[i]) {
            export_queue_wait(&queue, UINT64_MAX); /* returns, as it was woken */
        }
    }
    export_queue_stop(&queue, 5);
    export_queue_wait(&queue, UINT64_MAX);
    export_queue_wait(&queue, 1); /* long ago */
    close_queue();
}

static void test_export_queue_tells_its_state(void **state)
{
    (void)state;
    struct export_state told;
    open_queue(2, 1 << 20);
    add('a', 1);
    now_ns = 2000;
    add('b', 1);
    add('c', 1);
    export_queue_state(&queue, &told);
    assert_int_equal(told.items, 2);
    assert_int_equal(told.since_ns, 1000);
    assert_int_equal(told.queue_full, 1);
    assert_false(told.is_stopping);
    export_queue_stop(&queue, 77);
    export_queue_state(&queue, &told);
    assert_true(told.is_stopping);
    assert_int_equal(told.stop_ns, 77);
    assert_false(export_queue_is_done(&queue));
    export_queue_end(&queue);
    assert_true(export_queue_is_done(&queue));
    close_queue();
}

static void test_export_queue_counts_what_it_never_had(void **state)
{
    (void)state;
    open_queue(2, 1 << 20);
    export_queue_refuse(&queue, 7, EXPORT_DROP_NO_EXPORTER);
    export_queue_refuse(&queue, 1, EXPORT_DROP_TOO_LARGE);
    assert_int_equal(view().accepted, 8);
    assert_int_equal(view().dropped[EXPORT_DROP_NO_EXPORTER], 7);
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], 1);
    close_queue();
}

static void add_held(char first)
{
    struct export_item *item = export_item_new(&queue, 1);
    assert_non_null(item);
    item->bytes[0] = first;
    item->was_held = true;
    export_queue_add(&queue, item);
}

/* What is held is accepted once, whatever becomes of it. */
static void test_export_queue_counts_what_others_hold(void **state)
{
    (void)state;
    open_queue(2, 1 << 20);
    export_queue_hold(&queue, 5);
    assert_int_equal(view().accepted, 5);
    assert_int_equal(view().held, 5);
    export_queue_give_up(&queue, 2, EXPORT_DROP_NOT_SAMPLED);
    assert_int_equal(view().accepted, 5);
    assert_int_equal(view().held, 3);
    assert_int_equal(view().dropped[EXPORT_DROP_NOT_SAMPLED], 2);
    add('a', 1);
    add_held('b');
    assert_int_equal(view().accepted, 6);
    assert_int_equal(view().held, 2);
    assert_int_equal(view().waiting, 2);
    add_held('c'); /* finds no room */
    assert_int_equal(view().accepted, 6);
    assert_int_equal(view().held, 1);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 1);
    export_queue_give_up(&queue, 1, EXPORT_DROP_HOLD_FULL);
    assert_int_equal(view().held, 0);
    close_queue();
}

static void test_export_queue_counts_calls(void **state)
{
    (void)state;
    open_queue(2, 1 << 20);
    export_queue_count_call(&queue, &(struct export_call){.duration_ns = 5, .is_retry = true});
    export_queue_count_call(
        &queue, &(struct export_call){
                    .duration_ns = 7, .is_failure = true, .is_split = true, .is_garbled = true});
    assert_int_equal(view().duration.count, 2);
    assert_int_equal(view().duration.sum_ns, 12);
    assert_int_equal(view().retries, 1);
    assert_int_equal(view().failures, 1);
    assert_int_equal(view().splits, 1);
    assert_int_equal(view().garbled, 1);
    close_queue();
}

/* Since when every call fails: the clock stands at 1000 ns when the first one does. */
static void test_export_queue_tells_how_long_calls_fail(void **state)
{
    (void)state;
    static const struct {
        uint64_t at_s;
        bool is_failure, is_split;
        uint64_t wanted; /* a tenth of a second later */
    } rows[] = {
        {0, false, false, 0}, {1, true, false, 1},  {2, true, false, 2},   {61, true, false, 61},
        {62, true, true, 0},  {63, true, false, 1}, {64, false, false, 0},
    };
    open_queue(2, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        now_ns = 1000 + rows[i].at_s * NS_PER_SECOND;
        export_queue_count_call(&queue, &(struct export_call){.is_failure = rows[i].is_failure,
                                                              .is_split = rows[i].is_split});
        now_ns += NS_PER_SECOND / 10;
        assert_int_equal(view().failing_seconds, rows[i].wanted);
    }
    close_queue();
}

/* --- threads ----------------------------------------------------------------------------------- */

enum { ITEMS = 20000 };

/* Exports two of three, until it is told to stop and nothing waits. */
static void *export_all(void *ctx)
{
    struct export_state told;
    (void)ctx;
    do {
        uint64_t count;
        struct export_settlement settlement = {.reason = EXPORT_DROP_FAILED};
        struct export_item *item = export_queue_take(&queue, 7, &count);
        while (item != NULL) {
            struct export_item *next = item->next;
            settlement.bytes += export_item_size(item);
            settlement.items++;
            settlement.exported += item->bytes[0] != 0;
            settlement.dropped += item->bytes[0] == 0;
            mem_free(item);
            item = next;
        }
        export_queue_settle(&queue, &settlement);
        export_queue_state(&queue, &told);
        if (count == 0 && !told.is_stopping) {
            export_queue_wait(&queue, UINT64_MAX);
        }
    } while (!told.is_stopping || told.items > 0);
    export_queue_end(&queue);
    return NULL;
}

static void test_export_queue_adds_up_at_every_moment(void **state)
{
    (void)state;
    pthread_t thread;
    open_queue(50, 1 << 20);
    queue.options.clock = system_clock();
    assert_int_equal(pthread_create(&thread, NULL, export_all, NULL), 0);
    for (unsigned i = 0; i < ITEMS; i++) {
        add((char)(i % 3), 1 + i % 100);
        if (i % 16 == 0) {
            (void)view();
        }
    }
    export_queue_stop(&queue, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct export_view last = view();
    assert_true(export_queue_is_done(&queue));
    assert_int_equal(last.accepted, ITEMS);
    assert_int_equal(last.waiting + last.in_flight, 0);
    assert_int_equal(last.bytes, 0);
    assert_true(last.exported > 0 && last.dropped[EXPORT_DROP_FAILED] > 0);
    close_queue();
}

static void test_export_queue_frees_what_waits(void **state)
{
    (void)state;
    size_t live = mem_count_live();
    open_queue(5, 1 << 20);
    add('a', 100);
    add('b', 100);
    close_queue();
    assert_int_equal(given_up[EXPORT_DROP_SHUTDOWN], 2);
    assert_int_equal(mem_count_live(), live);
    mem_fail_after(1);
    assert_null(export_item_new(NULL, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_queue_gives_the_oldest_first),
        cmocka_unit_test(test_export_queue_holds_so_many),
        cmocka_unit_test(test_export_queue_counts_what_is_in_flight_as_full),
        cmocka_unit_test(test_export_queue_holds_so_many_bytes),
        cmocka_unit_test(test_export_queue_weighs_items),
        cmocka_unit_test(test_export_queue_holds_so_many_items_of_any_weight),
        cmocka_unit_test(test_export_queue_counts_memory_of_items_elsewhere),
        cmocka_unit_test(test_export_queue_wakes_for_the_first_and_for_a_batch),
        cmocka_unit_test(test_export_queue_tells_its_state),
        cmocka_unit_test(test_export_queue_counts_what_it_never_had),
        cmocka_unit_test(test_export_queue_counts_what_others_hold),
        cmocka_unit_test(test_export_queue_counts_calls),
        cmocka_unit_test(test_export_queue_tells_how_long_calls_fail),
        cmocka_unit_test(test_export_queue_adds_up_at_every_moment),
        cmocka_unit_test(test_export_queue_frees_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
