#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/self.h"
#include "io/system.h"

static const struct export_signal signals[SELF_EXPORTS_MAX] = {{.name = "traces"},
                                                               {.name = "metrics"}};

static void open_queue(struct export_queue *queue, const struct export_signal *signal)
{
    struct export_queue_options options = {
        .signal = signal, .max_items = 1, .max_weight = 9, .max_bytes = 9, .clock = system_clock()};
    assert_int_equal(export_queue_init(queue, &options), 0);
}

static void test_self_tells_of_memory_and_counts(void **state)
{
    (void)state;
    struct self self = {0};
    struct self_view view;
    self_view(&self, &view);
    assert_in_range(view.process.resident_bytes, 1 << 18, 1 << 30);
    assert_int_equal(view.process.scrapes + view.process.http_errors, 0);
    assert_int_equal(view.process.export_count, 0);
    self.scrapes++;
    self.http_errors += 2;
    self_view(&self, &view);
    assert_int_equal(view.process.scrapes, 1);
    assert_int_equal(view.process.http_errors, 2);
}

/* In the order that they were added in, as they are now. */
static void test_self_tells_of_all_exports(void **state)
{
    (void)state;
    struct export_queue queues[SELF_EXPORTS_MAX];
    struct self self = {0};
    struct self_view view;
    for (unsigned i = 0; i < SELF_EXPORTS_MAX; i++) {
        open_queue(&queues[i], &signals[i]);
        self_add_export(&self, &queues[i]);
    }
    export_queue_refuse(&queues[1], 5, EXPORT_DROP_NO_EXPORTER);
    self_view(&self, &view);
    assert_int_equal(view.process.export_count, SELF_EXPORTS_MAX);
    assert_ptr_equal(view.process.exports, view.exports);
    assert_string_equal(view.exports[0].signal, "traces");
    assert_int_equal(view.exports[0].accepted, 0);
    assert_string_equal(view.exports[1].signal, "metrics");
    assert_int_equal(view.exports[1].accepted, 5);
    for (unsigned i = 0; i < SELF_EXPORTS_MAX; i++) {
        export_queue_fini(&queues[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_self_tells_of_memory_and_counts),
        cmocka_unit_test(test_self_tells_of_all_exports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
