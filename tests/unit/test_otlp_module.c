/*
 * The module of gRPC against a server of gRPC: what goes out, what comes back, and every way in which
 * a call can end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "base/err.h"
#include "io/exporter.h"
#include "io/system.h"
#include "io/transport_load.h"
#include "otlp_server.h"

enum { TEXT_MAX = 1024, PATIENCE_S = 20 };

static const struct transport *transport;

/* What the server is to say, and what it heard. */
static struct world {
    struct otlp_server *server;
    struct transport_channel *channel;
    struct otlp_server_answer answer;
    unsigned calls;
    char method[TEXT_MAX];
    char body[TEXT_MAX];
    size_t body_len;
    char header[TEXT_MAX];
    char user_agent[TEXT_MAX];
    char encoding[TEXT_MAX];
} world;

static void copy(char out[TEXT_MAX], struct str text)
{
    size_t len = text.len < TEXT_MAX - 1 ? text.len : TEXT_MAX - 1;
    if (len > 0) {
        memcpy(out, text.ptr, len);
    }
    out[len] = '\0';
}

static void on_request(void *ctx, const struct otlp_server_request *request,
                       struct otlp_server_answer *answer)
{
    (void)ctx;
    world.calls++;
    copy(world.method, request->method);
    copy(world.body, request->body);
    world.body_len = request->body.len;
    copy(world.header, otlp_server_header(request, "authorization"));
    copy(world.user_agent, otlp_server_header(request, "user-agent"));
    copy(world.encoding, otlp_server_header(request, "grpc-encoding"));
    *answer = world.answer;
}

static uint64_t in_seconds(uint64_t seconds)
{
    return system_clock().mono_ns(NULL) + seconds * NS_PER_SECOND;
}

static void must_open(const struct transport_target *how)
{
    struct transport_target target = *how;
    char address[64];
    world = (struct world){.calls = 0};
    world.server = otlp_server_start("127.0.0.1:0", NULL, on_request, NULL);
    assert_non_null(world.server);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", otlp_server_port(world.server));
    target.address = address;
    target.user_agent = "dwelld/test";
    assert_int_equal(transport->open(&target, &world.channel), 0);
}

static void open_plain(void)
{
    must_open(&(struct transport_target){.tls = false});
}

static void close_all(void)
{
    transport->close(world.channel);
    otlp_server_stop(world.server);
}

static struct transport_reply call(struct str request)
{
    struct transport_reply reply;
    transport->call(world.channel, "/a.Service/Export", request, in_seconds(PATIENCE_S), &reply);
    return reply;
}

static void test_otlp_module_sends_what_it_is_given(void **state)
{
    (void)state;
    struct transport_header header = {"Authorization", "Bearer x"};
    must_open(&(struct transport_target){.headers = &header, .header_count = 1});
    struct transport_reply reply = call(STR_LITERAL("hello"));
    assert_int_equal(reply.status, TRANSPORT_OK);
    assert_false(reply.is_garbled);
    assert_int_equal(reply.rejected, 0);
    assert_string_equal(reply.message, "");
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.method, "/a.Service/Export");
    assert_string_equal(world.body, "hello");
    assert_string_equal(world.header, "Bearer x");
    assert_int_equal(strncmp(world.user_agent, "dwelld/test ", 12), 0);
    close_all();
}

/* --- the whole way ----------------------------------------------------------------------------- */

static void test_otlp_module_carries_spans_of_an_exporter(void **state)
{
    (void)state;
    struct exporter *exporter;
    struct export_view view;
    struct otlp_resource_options resource = {.service_name = STR_LITERAL("svc"),
                                             .dwelld_version = STR_LITERAL("1")};
    open_plain();
    char address[TEXT_MAX];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", otlp_server_port(world.server));
    struct transport_target target = {.address = address, .user_agent = "dwelld/test"};
    struct exporter_options options = {.transport = transport,
                                       .target = &target,
                                       .address = address,
                                       .resource = &resource,
                                       .clock = system_clock(),
                                       .max_queue_spans = 10,
                                       .max_queue_bytes = 1 << 20,
                                       .batch_spans = 512,
                                       .delay_ms = 3600000,
                                       .timeout_ms = PATIENCE_S * 1000,
                                       .max_request_bytes = 4 << 20};
    assert_int_equal(exporter_start(&options, &exporter), 0);
    exporter_add_span(exporter, (struct str){NULL, 0}, STR_LITERAL("*\4name")); /* 5: "name" */
    exporter_add_span(exporter, STR_LITERAL("other"), STR_LITERAL("*\4more"));
    exporter_stop(exporter, in_seconds(PATIENCE_S));
    exporter_finish(exporter);
    exporter_view(exporter, &view);
    assert_int_equal(view.exported, 2);
    assert_int_equal(view.accepted, 2);
    exporter_close(exporter);
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.method,
                        "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    Otlp__ExportTraceServiceRequest *request = otlp__export_trace_service_request__unpack(
        NULL, world.body_len, (const uint8_t *)world.body);
    assert_non_null(request);
    assert_int_equal(request->n_resource_spans, 2);
    static const char *const names[] = {"name", "more"};
    static const char *const services[] = {"svc", "other"};
    for (size_t i = 0; i < 2; i++) {
        Otlp__ResourceSpans *group = request->resource_spans[i];
        assert_string_equal(group->resource->attributes[0]->key, "service.name");
        assert_string_equal(group->resource->attributes[0]->value->string_value, services[i]);
        assert_int_equal(group->n_scope_spans, 1);
        assert_string_equal(group->scope_spans[0]->scope->name, "dwell");
        assert_int_equal(group->scope_spans[0]->n_spans, 1);
        assert_string_equal(group->scope_spans[0]->spans[0]->name, names[i]);
    }
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    close_all();
}

static int load(void **state)
{
    (void)state;
    struct buf problem;
    buf_init(&problem, 1 << 16);
    char *directory = realpath(TEST_BUILD, NULL);
    assert_non_null(directory);
    transport = transport_load(directory, true, &problem);
    if (transport == NULL) {
        print_error("%.*s\n", (int)problem.len, problem.data);
    }
    free(directory);
    buf_fini(&problem);
    return transport == NULL ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_module_sends_what_it_is_given),
        cmocka_unit_test(test_otlp_module_carries_spans_of_an_exporter),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
