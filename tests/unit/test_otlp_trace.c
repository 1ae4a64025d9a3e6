/* What is written around spans, read back by the generated code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "render/otlp_resource.h"
#include "render/otlp_trace.h"

static struct buf out;
static struct buf resource_field;
static struct buf scope_field;

static int open_buffers(void **state)
{
    (void)state;
    buf_init(&out, 1 << 26);
    buf_init(&resource_field, 1 << 20);
    buf_init(&scope_field, 1 << 20);
    return 0;
}

static int close_buffers(void **state)
{
    (void)state;
    buf_fini(&out);
    buf_fini(&resource_field);
    buf_fini(&scope_field);
    return 0;
}

/* The attributes as "key=value …". A Resource field is also a ResourceSpans with nothing else. */
static const char *attributes_of(const struct otlp_resource_options *options, const char *other)
{
    static char text[4096];
    struct buf all;
    buf_init(&all, sizeof text);
    buf_clear(&out);
    otlp_resource_render(options, str_of(other), &out);
    assert_int_equal(out.err, 0);
    Otlp__ResourceSpans *group =
        otlp__resource_spans__unpack(NULL, out.len, (const uint8_t *)out.data);
    assert_non_null(group);
    for (size_t i = 0; i < group->resource->n_attributes; i++) {
        const Otlp__KeyValue *pair = group->resource->attributes[i];
        assert_int_equal(pair->value->value_case, OTLP__ANY_VALUE__VALUE_STRING_VALUE);
        buf_printf(&all, "%s%s=%s", i == 0 ? "" : " ", pair->key, pair->value->string_value);
    }
    buf_char(&all, '\0');
    assert_int_equal(all.err, 0);
    memcpy(text, all.data, all.len);
    buf_fini(&all);
    otlp__resource_spans__free_unpacked(group, NULL);
    return text;
}

static void test_otlp_resource_says_who_it_is(void **state)
{
    (void)state;
    const struct label attributes[] = {
        {STR_LITERAL("team"), STR_LITERAL("a b")},
        {STR_LITERAL("service.instance.id"), STR_LITERAL("7")},
        {STR_LITERAL("service.name"), STR_LITERAL("wrong")},
        {STR_LITERAL("telemetry.sdk.name"), STR_LITERAL("wrong")},
    };
    struct otlp_resource_options options = {.service_name = STR_LITERAL("svc"),
                                            .service_version = STR_LITERAL("2.0.0"),
                                            .environment = STR_LITERAL("test"),
                                            .constitutional_hash = STR_LITERAL("cdd"),
                                            .attributes = attributes,
                                            .attribute_count = 4,
                                            .dwelld_version = STR_LITERAL("9")};
    assert_string_equal(attributes_of(&options, ""),
                        "service.name=svc service.version=2.0.0 deployment.environment=test "
                        "constitutional.hash=cdd telemetry.sdk.name=dwell telemetry.sdk.language=c "
                        "telemetry.sdk.version=9 team=a b service.instance.id=7");
    assert_string_equal(attributes_of(&options, "other"),
                        "service.name=other deployment.environment=test constitutional.hash=cdd "
                        "telemetry.sdk.name=dwell telemetry.sdk.language=c telemetry.sdk.version=9 "
                        "team=a b");
    /* What is not set is not there. */
    options.service_version = options.environment = (struct str){NULL, 0};
    options.attribute_count = 0;
    assert_string_equal(attributes_of(&options, ""),
                        "service.name=svc constitutional.hash=cdd telemetry.sdk.name=dwell "
                        "telemetry.sdk.language=c telemetry.sdk.version=9");
}

/* Writes `count` spans of `len` bytes in one group; the lengths foretold must be those written. */
static void must_agree(size_t count, size_t len)
{
    char *span = calloc(1, len + 1);
    assert_non_null(span);
    struct otlp_spans spans = {.resource = {resource_field.data, resource_field.len},
                               .scope = {scope_field.data, scope_field.len},
                               .spans_bytes = count * otlp_trace_span_size(len)};
    buf_clear(&out);
    otlp_trace_begin(&spans, &out);
    size_t head = out.len;
    for (size_t i = 0; i < count; i++) {
        otlp_trace_span((struct str){span, len}, &out);
    }
    assert_int_equal(out.err, 0);
    assert_int_equal(out.len - head, spans.spans_bytes);
    assert_int_equal(out.len, otlp_trace_size(&spans));
    free(span);
}

static void test_otlp_trace_foretells_every_length(void **state)
{
    (void)state;
    /* Both sides of every step of a varint, for one span and for a group of many. */
    static const size_t lengths[] = {0,     1,     126,   127,     128,    129,
                                     16382, 16383, 16384, 2097151, 2097152};
    otlp_scope_render(STR_LITERAL("1.2.3"), &scope_field);
    otlp_resource_render(&(struct otlp_resource_options){.service_name = STR_LITERAL("s")},
                         (struct str){NULL, 0}, &resource_field);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        must_agree(1, lengths[i]);
        must_agree(3, lengths[i]);
    }
    for (size_t count = 0; count < 300; count++) {
        must_agree(count, 0);
        must_agree(count, 53);
    }
}

static void test_otlp_trace_is_read_back(void **state)
{
    (void)state;
    struct otlp_spans spans = {.resource = {resource_field.data, resource_field.len},
                               .scope = {scope_field.data, scope_field.len},
                               .spans_bytes = otlp_trace_span_size(3) + otlp_trace_span_size(0)};
    buf_clear(&out);
    for (int i = 0; i < 2; i++) {
        otlp_trace_begin(&spans, &out);
        otlp_trace_span(STR_LITERAL("*\001n"), &out);
        otlp_trace_span((struct str){NULL, 0}, &out);
    }
    Otlp__ExportTraceServiceRequest *request =
        otlp__export_trace_service_request__unpack(NULL, out.len, (const uint8_t *)out.data);
    assert_non_null(request);
    assert_int_equal(request->n_resource_spans, 2);
    for (int i = 0; i < 2; i++) {
        const Otlp__ResourceSpans *group = request->resource_spans[i];
        assert_string_equal(group->resource->attributes[0]->value->string_value, "s");
        assert_string_equal(group->scope_spans[0]->scope->name, "dwell");
        assert_string_equal(group->scope_spans[0]->scope->version, "1.2.3");
        assert_int_equal(group->scope_spans[0]->n_spans, 2);
        assert_string_equal(group->scope_spans[0]->spans[0]->name, "n");
        assert_null(group->scope_spans[0]->spans[1]->name);
    }
    otlp__export_trace_service_request__free_unpacked(request, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_resource_says_who_it_is),
        cmocka_unit_test(test_otlp_trace_foretells_every_length),
        cmocka_unit_test(test_otlp_trace_is_read_back),
    };
    return cmocka_run_group_tests(tests, open_buffers, close_buffers);
}
