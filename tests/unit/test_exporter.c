/* The exporter with its thread: services, ceilings of a span, and every way to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "base/err.h"
#include "fake_transport.h"
#include "io/export/export_spans.h"
#include "io/export/exporter.h"
#include "io/system.h"
#include "mem_fault.h"

enum { PATIENCE_S = 60 };

static const struct otlp_resource_options resource = {.service_name = {"own", 3},
                                                      .dwelld_version = {"1", 1}};
static const struct transport_target target = {.address = "x:1"};

static struct exporter_options options_of(const struct transport *transport)
{
    return (struct exporter_options){.transport = transport,
                                     .target = &target,
                                     .address = "http://x:1",
                                     .resource = &resource,
                                     .clock = system_clock(),
                                     .seed = 1,
                                     .max_queue_spans = 1000,
                                     .max_queue_bytes = 16 << 20,
                                     .batch_spans = 512,
                                     .delay_ms = 3600000,
                                     .timeout_ms = 1000,
                                     .max_request_bytes = 4 << 20};
}

static struct exporter *exporter;

static void start(void)
{
    struct exporter_options options = options_of(&fake_transport_functions);
    fake_transport_reset(NULL);
    assert_int_equal(exporter_start(&options, &exporter), 0);
}

static uint64_t in_seconds(uint64_t seconds)
{
    return system_clock().mono_ns(NULL) + seconds * NS_PER_SECOND;
}

static void finish(void)
{
    exporter_stop(exporter, in_seconds(PATIENCE_S));
    exporter_finish(exporter);
}

static void close_all(void)
{
    exporter_close(exporter);
    assert_false(fake_transport.is_open);
    assert_int_equal(mem_count_live(), 0);
}

static struct export_view view(void)
{
    struct export_view view;
    exporter_view(exporter, &view);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        dropped += view.dropped[i];
    }
    assert_int_equal(view.accepted,
                     view.exported + view.waiting + view.in_flight + view.spooled + dropped);
    return view;
}

static void add(const char *service)
{
    exporter_add_span(exporter, str_of(service), STR_LITERAL("*\001n"));
}

static Otlp__ExportTraceServiceRequest *decode(unsigned call)
{
    assert_true(call < fake_transport.call_count);
    Otlp__ExportTraceServiceRequest *request = otlp__export_trace_service_request__unpack(
        NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
    assert_non_null(request);
    return request;
}

static void test_exporter_gives_each_service_its_resource(void **state)
{
    (void)state;
    start();
    add("");
    add("other");
    add("own");
    add("other");
    finish();
    Otlp__ExportTraceServiceRequest *request = decode(0);
    assert_int_equal(request->n_resource_spans, 2);
    static const char *const names[] = {"own", "other"};
    for (size_t i = 0; i < 2; i++) {
        Otlp__ResourceSpans *group = request->resource_spans[i];
        assert_string_equal(group->resource->attributes[0]->value->string_value, names[i]);
        assert_int_equal(group->scope_spans[0]->n_spans, 2);
        assert_int_equal(group->scope_spans[0]->spans[0]->n_attributes, 0);
    }
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    assert_int_equal(view().exported, 4);
    assert_int_equal(view().loaded, 1);
    close_all();
}

/* One life without a receiver, and one with: the thread opens the spool by itself. */
static void test_exporter_has_a_spool(void **state)
{
    (void)state;
    char parent[] = "/tmp/exporter-XXXXXX";
    char path[64];
    char command[64];
    assert_non_null(mkdtemp(parent));
    (void)snprintf(path, sizeof path, "%s/spool", parent);
    struct exporter_options options = options_of(&fake_transport_functions);
    options.spool_path = path;
    options.spool_max_bytes = 1 << 20;
    options.spool_max_files = 10;
    fake_transport_reset(NULL);
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    assert_int_equal(exporter_start(&options, &exporter), 0);
    add("");
    add("other");
    finish();
    assert_int_equal(view().spooled, 2);
    assert_int_equal(view().spool_works, 1);
    assert_int_equal(view().exported, 0);
    close_all();

    fake_transport_reset(NULL);
    assert_int_equal(exporter_start(&options, &exporter), 0);
    fake_transport_await_calls(1); /* nobody had to ask for it */
    finish();
    assert_int_equal(view().recovered, 2);
    assert_int_equal(view().accepted, 2);
    assert_int_equal(view().exported, 2);
    assert_int_equal(view().spooled, 0);
    Otlp__ExportTraceServiceRequest *request = decode(0);
    assert_int_equal(request->n_resource_spans, 2);
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    close_all();
    (void)snprintf(command, sizeof command, "rm -r %s", parent);
    assert_int_equal(system(command), 0);
}

/* 64 services have resources; what is past that, or has too long a name, says so on each span. */
static void test_exporter_keeps_so_many_services_apart(void **state)
{
    (void)state;
    char name[EXPORTER_NAME_MAX + 2];
    start();
    memset(name, 'n', EXPORTER_NAME_MAX + 1);
    name[EXPORTER_NAME_MAX + 1] = '\0';
    add(name); /* one over */
    name[EXPORTER_NAME_MAX] = '\0';
    add(name); /* the limit, and the first service */
    for (unsigned i = 1; i < EXPORT_SERVICES_MAX + 1; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        add(name); /* the last one is one over */
    }
    finish();
    Otlp__ExportTraceServiceRequest *request = decode(0);
    assert_int_equal(request->n_resource_spans, EXPORT_SERVICES_MAX + 1); /* and the own one */
    Otlp__ScopeSpans *own = request->resource_spans[0]->scope_spans[0];
    assert_int_equal(own->n_spans, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(own->spans[i]->name, "n");
        assert_int_equal(own->spans[i]->n_attributes, 1);
        assert_string_equal(own->spans[i]->attributes[0]->key, "service.name");
    }
    assert_int_equal(strlen(own->spans[0]->attributes[0]->value->string_value),
                     EXPORTER_NAME_MAX + 1);
    assert_string_equal(own->spans[1]->attributes[0]->value->string_value, "s64");
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    close_all();
}

static void test_exporter_takes_spans_up_to_a_length(void **state)
{
    (void)state;
    start();
    char *span = calloc(1, EXPORTER_SPAN_MAX + 1);
    assert_non_null(span);
    exporter_add_span(exporter, (struct str){0}, (struct str){span, EXPORTER_SPAN_MAX});
    assert_int_equal(view().waiting, 1);
    exporter_add_span(exporter, (struct str){0}, (struct str){span, EXPORTER_SPAN_MAX + 1});
    assert_int_equal(view().waiting, 1);
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], 1);
    exporter_add_span(exporter, (struct str){0}, (struct str){NULL, 0}); /* an empty message */
    free(span);
    finish();
    assert_int_equal(view().exported, 2);
    close_all();
}

static void test_exporter_without_a_transport_counts_and_drops(void **state)
{
    (void)state;
    struct exporter_options options = options_of(NULL);
    assert_int_equal(exporter_start(&options, &exporter), 0);
    add("a");
    add("");
    assert_int_equal(view().dropped[EXPORT_DROP_NO_EXPORTER], 2);
    assert_int_equal(view().loaded, 0);
    exporter_stop(exporter, 0);
    assert_true(exporter_is_done(exporter));
    close_all();
}

static void test_exporter_with_a_bad_target_counts_and_drops(void **state)
{
    (void)state;
    static const int errors[] = {ERR_RANGE, ERR_UNSUPPORTED, ERR_SYSTEM, ERR_NOMEM};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct exporter_options options = options_of(&fake_transport_functions);
        fake_transport_reset(NULL);
        fake_transport.open_err = errors[i];
        assert_int_equal(exporter_start(&options, &exporter), 0);
        add("a");
        assert_int_equal(view().dropped[EXPORT_DROP_NO_EXPORTER], 1);
        assert_int_equal(view().loaded, 0);
        close_all();
    }
}

static void test_exporter_may_be_none(void **state)
{
    (void)state;
    exporter_add_span(NULL, (struct str){0}, (struct str){0});
    exporter_stop(NULL, 1);
    assert_true(exporter_is_done(NULL));
    exporter_finish(NULL);
    exporter_close(NULL);
}

static void test_exporter_sends_a_full_batch_by_itself(void **state)
{
    (void)state;
    struct exporter_options options = options_of(&fake_transport_functions);
    options.batch_spans = 3;
    options.max_queue_spans = 2; /* then a batch is what fits */
    fake_transport_reset(NULL);
    assert_int_equal(exporter_start(&options, &exporter), 0);
    add("");
    add("");
    fake_transport_await_calls(1);
    finish();
    assert_int_equal(view().exported, 2);
    close_all();
}

/* --- the end ----------------------------------------------------------------------------------- */

static void start_held(void)
{
    struct exporter_options options = options_of(&fake_transport_functions);
    options.batch_spans = 1;
    fake_transport_reset(NULL);
    fake_transport_then_row(&(struct fake_row){.holds = true});
    assert_int_equal(exporter_start(&options, &exporter), 0);
    add("");
    add("");
    fake_transport_await_calls(1);
}

static void test_exporter_waits_for_a_call_until_the_deadline(void **state)
{
    (void)state;
    start_held();
    exporter_stop(exporter, in_seconds(PATIENCE_S));
    assert_false(exporter_is_done(exporter));
    assert_false(fake_transport.is_cancelled);
    fake_transport_release();
    exporter_finish(exporter);
    assert_true(exporter_is_done(exporter));
    assert_int_equal(view().exported, 2);
    close_all();
}

static void test_exporter_cancels_a_call_at_the_deadline(void **state)
{
    (void)state;
    start_held();
    exporter_stop(exporter, 0);
    (void)exporter_is_done(exporter); /* sees that it is late */
    exporter_finish(exporter);
    assert_true(exporter_is_done(exporter));
    assert_int_equal(view().dropped[EXPORT_DROP_SHUTDOWN], 2);
    close_all();
}

static void test_exporter_ends_at_once_when_it_is_closed(void **state)
{
    (void)state;
    start_held();
    close_all();
}

static void test_exporter_survives_running_out_of_memory(void **state)
{
    (void)state;
    struct exporter_options options = options_of(&fake_transport_functions);
    for (size_t n = 1;; n++) {
        fake_transport_reset(NULL);
        mem_fail_after(n);
        int err = exporter_start(&options, &exporter);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        if (!failed) {
            assert_int_equal(err, 0);
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
        assert_int_equal(mem_count_live(), 0);
    }
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        add("service"); /* without memory for its resource it names itself */
        bool failed = mem_has_failed();
        mem_fail_after(0);
        if (!failed) {
            assert_true(n > 3);
            break;
        }
    }
    finish();
    assert_int_equal(view().accepted, view().exported + view().dropped[EXPORT_DROP_OUT_OF_MEMORY]);
    assert_int_equal(view().dropped[EXPORT_DROP_OUT_OF_MEMORY], 1);
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exporter_gives_each_service_its_resource),
        cmocka_unit_test(test_exporter_has_a_spool),
        cmocka_unit_test(test_exporter_keeps_so_many_services_apart),
        cmocka_unit_test(test_exporter_takes_spans_up_to_a_length),
        cmocka_unit_test(test_exporter_without_a_transport_counts_and_drops),
        cmocka_unit_test(test_exporter_with_a_bad_target_counts_and_drops),
        cmocka_unit_test(test_exporter_may_be_none),
        cmocka_unit_test(test_exporter_sends_a_full_batch_by_itself),
        cmocka_unit_test(test_exporter_waits_for_a_call_until_the_deadline),
        cmocka_unit_test(test_exporter_cancels_a_call_at_the_deadline),
        cmocka_unit_test(test_exporter_ends_at_once_when_it_is_closed),
        cmocka_unit_test(test_exporter_survives_running_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
