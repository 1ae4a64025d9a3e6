#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "base/err.h"
#include "base/message.h"
#include "mem_fault.h"
#include "render/otlp_resource.h"
#include "render/otlp_slice.h"
#include "render/otlp_trace.h"

enum { SPAN_NAME = 5, NAMES_BYTES = 256 };

static void add_span(struct buf *out, const char *name)
{
    message_str(out, SPAN_NAME, str_of(name));
}

/* Groups of spans, "own:a,b one:c", as a request. */
static void write_request(const char *groups, struct buf *out)
{
    struct buf scope;
    buf_init(&scope, 4096);
    otlp_scope_render(STR_LITERAL("1"), &scope);
    while (*groups != '\0') {
        struct buf resource;
        struct buf spans[16];
        unsigned count = 0;
        size_t name_len = strcspn(groups, ":");
        struct otlp_resource_options options = {.service_name = {groups, name_len},
                                                .dwelld_version = STR_LITERAL("1")};
        buf_init(&resource, 4096);
        otlp_resource_render(&options, (struct str){NULL, 0}, &resource);
        struct otlp_spans group = {.resource = {resource.data, resource.len},
                                   .scope = {scope.data, scope.len}};
        for (groups += name_len; *groups == ':' || *groups == ','; count++) {
            char name[16];
            size_t len = strcspn(++groups, ", ");
            (void)snprintf(name, sizeof name, "%.*s", (int)len, groups);
            buf_init(&spans[count], 4096);
            add_span(&spans[count], name);
            group.spans_bytes += otlp_trace_span_size(spans[count].len);
            groups += len;
        }
        groups += *groups == ' ';
        otlp_trace_begin(&group, out);
        for (unsigned i = 0; i < count; i++) {
            otlp_trace_span((struct str){spans[i].data, spans[i].len}, out);
            buf_fini(&spans[i]);
        }
        buf_fini(&resource);
    }
    buf_fini(&scope);
}

/* The reverse, by protobuf-c. */
static void read_request(const struct buf *request, char names[NAMES_BYTES])
{
    Otlp__ExportTraceServiceRequest *read = otlp__export_trace_service_request__unpack(
        NULL, request->len, (const uint8_t *)request->data);
    assert_non_null(read);
    size_t len = 0;
    names[0] = '\0';
    for (size_t i = 0; i < read->n_resource_spans; i++) {
        const Otlp__ResourceSpans *group = read->resource_spans[i];
        assert_int_equal(group->n_scope_spans, 1);
        assert_string_equal(group->scope_spans[0]->scope->name, "dwell");
        len += (size_t)snprintf(names + len, NAMES_BYTES - len, "%s%s", i == 0 ? "" : " ",
                                group->resource->attributes[0]->value->string_value);
        for (size_t j = 0; j < group->scope_spans[0]->n_spans; j++) {
            len += (size_t)snprintf(names + len, NAMES_BYTES - len, "%c%s", j == 0 ? ':' : ',',
                                    group->scope_spans[0]->spans[j]->name);
        }
    }
    otlp__export_trace_service_request__free_unpacked(read, NULL);
}

static void must_slice(const char *groups, uint64_t skip, uint64_t count, const char *wanted)
{
    struct buf request;
    struct buf out;
    char names[NAMES_BYTES];
    buf_init(&request, 1 << 16);
    buf_init(&out, 1 << 16);
    write_request(groups, &request);
    assert_int_equal(otlp_slice((struct str){request.data, request.len}, skip, count, &out), 0);
    read_request(&out, names);
    assert_string_equal(names, wanted);
    assert_true(out.len <= request.len);
    buf_fini(&request);
    buf_fini(&out);
}

static void test_otlp_slice_of_one_group(void **state)
{
    (void)state;
    must_slice("own:a,b,c,d", 0, 2, "own:a,b");
    must_slice("own:a,b,c,d", 2, 2, "own:c,d");
    must_slice("own:a,b,c,d", 1, 1, "own:b");
    must_slice("own:a,b,c,d", 3, 5, "own:d");
    must_slice("own:a", 0, 0, "");
    must_slice("own:a", 1, 1, "");
    must_slice("", 0, 1, "");
}

static void test_otlp_slice_over_groups(void **state)
{
    (void)state;
    static const char groups[] = "own:a,b one:c two:d,e";
    must_slice(groups, 0, UINT64_MAX, groups);
    must_slice(groups, 5, UINT64_MAX, "");
    must_slice(groups, UINT64_MAX, UINT64_MAX, "");
    must_slice(groups, 0, 1, "own:a");
    must_slice(groups, 0, 3, "own:a,b one:c");
    must_slice(groups, 1, 3, "own:b one:c two:d");
    must_slice(groups, 2, 1, "one:c");
    must_slice(groups, 3, 2, "two:d,e");
}

static void test_otlp_slice_of_all_is_the_same_bytes(void **state)
{
    (void)state;
    struct buf request;
    struct buf out;
    buf_init(&request, 1 << 16);
    buf_init(&out, 1 << 16);
    write_request("own:a,b one:c", &request);
    assert_int_equal(otlp_slice((struct str){request.data, request.len}, 0, 3, &out), 0);
    assert_int_equal(out.len, request.len);
    assert_memory_equal(out.data, request.data, out.len);
    buf_fini(&request);
    buf_fini(&out);
}

/* Whatever the bytes: no more than an error, and never more bytes than there were. */
static void test_otlp_slice_survives_any_bytes(void **state)
{
    (void)state;
    struct buf request;
    struct buf out;
    buf_init(&request, 1 << 16);
    buf_init(&out, 1 << 16);
    write_request("own:a,b one:c", &request);
    unsigned errors = 0;
    for (size_t len = 0; len < request.len; len++) {
        char *cut = test_malloc(len + 1); /* so that a read past the end is found */
        memcpy(cut, request.data, len);
        buf_clear(&out);
        errors += otlp_slice((struct str){cut, len}, 0, 9, &out) == ERR_SYNTAX;
        test_free(cut);
    }
    assert_true(errors > request.len / 2);
    for (size_t bit = 0; bit < 8 * request.len; bit++) {
        request.data[bit / 8] = (char)(request.data[bit / 8] ^ 1 << bit % 8);
        buf_clear(&out);
        int err = otlp_slice((struct str){request.data, request.len}, 1, 1, &out);
        assert_true(err == 0 || err == ERR_SYNTAX);
        assert_true(out.len <= request.len);
        request.data[bit / 8] = (char)(request.data[bit / 8] ^ 1 << bit % 8);
    }
    buf_fini(&request);
    buf_fini(&out);
}

static void test_otlp_slice_says_when_there_is_no_room(void **state)
{
    (void)state;
    struct buf request;
    struct buf out;
    buf_init(&request, 1 << 16);
    write_request("own:a", &request);
    buf_init(&out, request.len - 1);
    assert_int_equal(otlp_slice((struct str){request.data, request.len}, 0, 1, &out), ERR_LIMIT);
    buf_fini(&out);
    buf_init(&out, 2 * request.len);
    mem_fail_after(1);
    assert_int_equal(otlp_slice((struct str){request.data, request.len}, 0, 1, &out), ERR_NOMEM);
    buf_clear(&out);
    assert_int_equal(otlp_slice((struct str){request.data, request.len}, 0, 1, &out), 0);
    buf_fini(&request);
    buf_fini(&out);
    assert_int_equal(mem_count_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_slice_of_one_group),
        cmocka_unit_test(test_otlp_slice_over_groups),
        cmocka_unit_test(test_otlp_slice_of_all_is_the_same_bytes),
        cmocka_unit_test(test_otlp_slice_survives_any_bytes),
        cmocka_unit_test(test_otlp_slice_says_when_there_is_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
