/* The export of metrics with its thread, beside a loop that writes all the time, and every way to end. */
#include "core_helpers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "fake_transport.h"
#include "io/export/metric_exporter.h"
#include "io/system.h"
#include "mem_fault.h"
#include "otlp_reader.h"

enum { PATIENCE_S = 60, WRITES_A_TURN = 20, NEVER_MS = 3600000 };

static struct world {
    struct core core;
    uv_loop_t loop;
    uv_idle_t writer;
    struct handover handover;
    struct self self;
    struct metric_exporter *exporter;
    uint64_t written;
    bool writes;
    const char *spool_path;
    bool (*holds)(void); /* then the loop stops */
} world;

static const struct transport_target target = {.address = "x:1"};

static uint64_t in_seconds(uint64_t seconds)
{
    return system_clock().mono_ns(NULL) + seconds * NS_PER_SECOND;
}

static void write_some(void)
{
    for (unsigned i = 0; i < WRITES_A_TURN; i++) {
        struct metric jobs = metric_of(METRIC_COUNT, "jobs", 1, "");
        struct sample sample = sample_of("model", 1 + i);
        must_count(&world.core, &jobs, NULL);
        must_record(&world.core, &sample);
        world.written++;
    }
}

static void on_idle(uv_idle_t *idle)
{
    if (world.writes) {
        write_some();
    }
    if (world.holds()) {
        uv_stop(idle->loop);
    }
}

static void run_until(bool (*holds)(void))
{
    world.holds = holds;
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
}

static int open_world(void **state)
{
    struct registry_options options = core_options();
    struct clock clock = system_clock();
    (void)state;
    world = (struct world){.writes = true};
    fake_transport_reset(NULL);
    core_open(&world.core, &options);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(uv_idle_init(&world.loop, &world.writer), 0);
    assert_int_equal(uv_idle_start(&world.writer, on_idle), 0);
    assert_int_equal(handover_start(&world.handover, &world.loop, &world.core.intake,
                                    &world.core.thresholds, &clock),
                     0);
    return 0;
}

static bool never(void)
{
    return false;
}

static int close_world(void **state)
{
    (void)state;
    assert_false(fake_transport.is_open);
    handover_close(&world.handover);
    uv_close((uv_handle_t *)&world.writer, NULL);
    run_until(never); /* until no handle is left */
    assert_int_equal(uv_loop_close(&world.loop), 0);
    while (limbo_sweep(&world.core.registry->limbo, SIZE_MAX)) {
    }
    core_close(&world.core);
    fake_transport_reset(NULL);
    return 0;
}

static int start(const struct transport *transport, uint64_t interval_ms,
                 enum otlp_temporality temporality)
{
    struct buf resource;
    struct otlp_metrics_options render = otlp_options(&resource);
    render.temporality = temporality;
    render.max_request = OTLP_REQUEST_DEFAULT;
    struct metric_exporter_options options = {.transport = transport,
                                              .target = &target,
                                              .address = "http://x:1",
                                              .render = &render,
                                              .self = &world.self,
                                              .clock = system_clock(),
                                              .seed = 1,
                                              .interval_ms = interval_ms,
                                              .export_timeout_ms = 30000,
                                              .timeout_ms = 10000,
                                              .max_queue_bytes = 16 << 20,
                                              .spool_path = world.spool_path,
                                              .spool_max_bytes = 16 << 20,
                                              .spool_max_files = 100};
    int err = metric_exporter_start(&options, &world.handover, &world.exporter);
    buf_fini(&resource);
    return err;
}

static struct export_view view(void)
{
    struct self_view view;
    uint64_t dropped = 0;
    self_view(&world.self, &view);
    assert_int_equal(view.process.export_count, 1);
    assert_string_equal(view.exports[0].signal, "metrics");
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        dropped += view.exports[0].dropped[i];
    }
    assert_int_equal(view.exports[0].accepted, view.exports[0].exported + view.exports[0].waiting +
                                                   view.exports[0].in_flight +
                                                   view.exports[0].spooled + dropped);
    return view.exports[0];
}

static unsigned count_calls(void)
{
    (void)pthread_mutex_lock(&fake_transport.mutex);
    unsigned count = fake_transport.call_count;
    (void)pthread_mutex_unlock(&fake_transport.mutex);
    return count;
}

static bool has_calls(void)
{
    (void)view();
    return count_calls() >= 20;
}

static bool has_one_call(void)
{
    return count_calls() >= 1;
}

static bool is_done(void)
{
    return metric_exporter_is_done(world.exporter);
}

/* The jobs that all calls have told of: the sum of deltas, or the last. */
static double jobs_told(void)
{
    double told = 0;
    for (unsigned call = 0; call < fake_transport.call_count; call++) {
        Otlp__ExportMetricsServiceRequest *request = otlp__export_metrics_service_request__unpack(
            NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
        assert_non_null(request);
        const Otlp__ScopeMetrics *all = request->resource_metrics[0]->scope_metrics[0];
        for (size_t i = 0; i < all->n_metrics; i++) {
            const Otlp__Metric *metric = all->metrics[i];
            if (strcmp(metric->name, "acgs2.acgs2-agent-bus.jobs") == 0) {
                bool delta =
                    metric->sum->aggregation_temporality == OTLP__AGGREGATION_TEMPORALITY__DELTA;
                double value = metric->sum->data_points[0]->as_double;
                told = delta ? told + value : value;
            }
        }
        otlp__export_metrics_service_request__free_unpacked(request, NULL);
    }
    return told;
}

static void finish(void)
{
    world.writes = false;
    metric_exporter_stop(world.exporter, in_seconds(PATIENCE_S));
    run_until(is_done);
}

/* Many snapshots beside the writer; the last one has all. */
static void must_tell_all(enum otlp_temporality temporality)
{
    assert_int_equal(start(&fake_transport_functions, 1, temporality), 0);
    run_until(has_calls);
    finish();
    assert_true(jobs_told() == (double)world.written);
    assert_int_equal(view().loaded, 1);
    /* What still waited at the stop has given way to the last snapshot's. */
    assert_int_equal(view().exported + view().dropped[EXPORT_DROP_REPLACED], view().accepted);
    metric_exporter_close(world.exporter);
}

static void test_metric_exporter_tells_all_that_was_counted(void **state)
{
    (void)state;
    must_tell_all(OTLP_CUMULATIVE);
}

static void test_metric_exporter_tells_all_deltas(void **state)
{
    (void)state;
    must_tell_all(OTLP_DELTA);
}

static void test_metric_exporter_asks_once_more_at_the_end(void **state)
{
    (void)state;
    assert_int_equal(start(&fake_transport_functions, NEVER_MS, OTLP_CUMULATIVE), 0);
    write_some();
    finish();
    assert_int_equal(fake_transport.call_count, 1);
    assert_true(jobs_told() == (double)world.written);
    assert_int_equal(world.core.counters.snapshot.count, 1);
    metric_exporter_close(world.exporter);
}

/* While a call is held the snapshot is back, so that as many may be taken as ever. */
static void test_metric_exporter_holds_no_snapshot_while_it_sends(void **state)
{
    (void)state;
    fake_transport_then_row(&(struct fake_row){.holds = true});
    assert_int_equal(start(&fake_transport_functions, 1, OTLP_CUMULATIVE), 0);
    run_until(has_one_call);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.core.registry->limbo.shared_epoch, 0);
    metric_exporter_stop(world.exporter, 0); /* ends the call */
    run_until(is_done);
    assert_true(fake_transport.is_cancelled);
    assert_int_equal(view().dropped[EXPORT_DROP_SHUTDOWN], view().accepted);
    metric_exporter_close(world.exporter);
}

/* One life without a receiver, and one with: the thread opens the spool by itself. */
static void test_metric_exporter_has_a_spool(void **state)
{
    (void)state;
    char parent[] = "/tmp/metric-exporter-XXXXXX";
    char path[64];
    char command[64];
    assert_non_null(mkdtemp(parent));
    (void)snprintf(path, sizeof path, "%s/spool", parent);
    world.spool_path = path;
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    assert_int_equal(start(&fake_transport_functions, NEVER_MS, OTLP_DELTA), 0);
    write_some();
    finish();
    uint64_t spooled = view().spooled;
    assert_true(spooled > 0);
    assert_int_equal(view().accepted, spooled);
    metric_exporter_close(world.exporter);

    world.self = (struct self){0};
    double written = (double)world.written;
    fake_transport_reset(NULL);
    assert_int_equal(start(&fake_transport_functions, NEVER_MS, OTLP_LOWMEMORY), 0);
    run_until(has_one_call); /* nobody had to ask for it */
    assert_true(jobs_told() == written);
    finish();
    assert_int_equal(view().recovered, spooled);
    assert_int_equal(view().exported, view().accepted);
    metric_exporter_close(world.exporter);
    (void)snprintf(command, sizeof command, "rm -r %s", parent);
    assert_int_equal(system(command), 0);
}

static void test_metric_exporter_without_a_transport_exports_nothing(void **state)
{
    (void)state;
    assert_int_equal(start(NULL, 1, OTLP_CUMULATIVE), 0);
    assert_int_equal(view().loaded, 0);
    metric_exporter_stop(world.exporter, in_seconds(PATIENCE_S));
    assert_true(is_done());
    metric_exporter_close(world.exporter);
}

static void test_metric_exporter_with_a_bad_target_exports_nothing(void **state)
{
    (void)state;
    fake_transport.open_err = ERR_SYSTEM;
    assert_int_equal(start(&fake_transport_functions, 1, OTLP_CUMULATIVE), 0);
    assert_int_equal(view().loaded, 0);
    assert_true(is_done());
    metric_exporter_close(world.exporter);
}

static void test_metric_exporter_may_be_none(void **state)
{
    (void)state;
    metric_exporter_stop(NULL, 1);
    assert_true(metric_exporter_is_done(NULL));
    metric_exporter_close(NULL);
}

static void test_metric_exporter_starts_without_memory(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        size_t live = mem_count_live();
        world.self = (struct self){0};
        mem_fail_after(n);
        int err = start(&fake_transport_functions, NEVER_MS, OTLP_CUMULATIVE);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        if (err == 0) {
            metric_exporter_stop(world.exporter, 0);
            run_until(is_done);
            metric_exporter_close(world.exporter);
        } else {
            assert_int_equal(err, ERR_NOMEM);
            assert_false(fake_transport.is_open);
            assert_int_equal(mem_count_live(), live);
        }
        if (!failed) {
            assert_int_equal(err, 0);
            assert_true(n > 3);
            break;
        }
        world.writes = false;
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_metric_exporter_tells_all_that_was_counted),
        TEST(test_metric_exporter_tells_all_deltas),
        TEST(test_metric_exporter_asks_once_more_at_the_end),
        TEST(test_metric_exporter_holds_no_snapshot_while_it_sends),
        TEST(test_metric_exporter_has_a_spool),
        TEST(test_metric_exporter_without_a_transport_exports_nothing),
        TEST(test_metric_exporter_with_a_bad_target_exports_nothing),
        TEST(test_metric_exporter_may_be_none),
        TEST(test_metric_exporter_starts_without_memory),
    };
    return cmocka_run_group_tests_name("metric_exporter", tests, core_tables, NULL);
}
