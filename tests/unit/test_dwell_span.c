/*
 * Spans of the C client against a daemon played by a thread (client_server.h): what is in them, whose
 * children they are, on which thread, and in the child of a fork. Contexts in headers are in
 * test_dwell_propagation.c.
 */
#include "child_thread.h"
#include "client_server.h"
#include "dwell.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENT_MS = 30000, PARTS_MAX = 128, DEPTH_MAX = 64, MEMORY_MAX = 16256 };

/* The kernel's generator, as the library sees it. */
static enum { RANDOM_GOOD, RANDOM_REFUSED, RANDOM_ZERO } randomness;

ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    assert_int_equal(flags, GRND_NONBLOCK);
    switch (randomness) {
    case RANDOM_REFUSED:
        errno = EAGAIN;
        return -1;
    case RANDOM_ZERO:
        memset(out, 0, len);
        return (ssize_t)len;
    default:
        return syscall(SYS_getrandom, out, len, flags);
    }
}

/* A daemon and a client of it. */
struct stage {
    struct server server;
    struct dwell_options options;
    dwell_t *dwell;
};

static void stage_open(struct stage *stage)
{
    server_init(&stage->server);
    server_start(&stage->server, SERVER_POLITE);
    stage->options.size = sizeof stage->options;
    stage->options.directory = stage->server.directory;
    stage->options.evidence = DWELL_EVIDENCE_NONE;
    stage->options.close_timeout_ms = PATIENT_MS;
    stage->options.keep_ms = PATIENT_MS;
    stage->dwell = dwell_open(&stage->options);
    assert_non_null(stage->dwell);
}

static void stage_close(struct stage *stage)
{
    assert_int_equal(dwell_close(stage->dwell), DWELL_OK);
    struct server_client account = server_client(&stage->server, 0);
    assert_int_equal(account.lost, 0);
    server_fini(&stage->server);
}

static void must_flush(struct stage *stage, uint64_t records)
{
    assert_int_equal(dwell_flush(stage->dwell, PATIENT_MS), DWELL_OK);
    assert_int_equal(stage->server.records, records);
}

/* The first of so many spans that has that name: those of several threads come in any order. */
static const Dwell__Span *must_have_come(struct stage *stage, uint64_t records, const char *name)
{
    for (uint64_t i = 0; i < records; i++) {
        const Dwell__Span *came = server_span(&stage->server, i);
        if (strcmp(came->name, name) == 0) {
            return came;
        }
    }
    fail_msg("no span %s", name);
    return server_span(&stage->server, 0);
}

/* The only span, or half of one, that came. */
static const Dwell__Span *must_send_one(struct stage *stage)
{
    must_flush(stage, 1);
    return server_span(&stage->server, 0);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static const Dwell__AnyValue *find(size_t count, Dwell__KeyValue **attributes, const char *key)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(attributes[i]->key, key) == 0) {
            return attributes[i]->value;
        }
    }
    return NULL;
}

static const Dwell__AnyValue *must_find(size_t count, Dwell__KeyValue **attributes, const char *key)
{
    static const Dwell__AnyValue none = DWELL__ANY_VALUE__INIT;
    const Dwell__AnyValue *value = find(count, attributes, key);
    assert_true(value != NULL);
    return value != NULL ? value : &none; /* the compiler does not know better */
}

static const Dwell__AnyValue *must_have(const Dwell__Span *span, const char *key)
{
    return must_find(span->n_attributes, span->attributes, key);
}

static void must_have_text(const Dwell__AnyValue *value, const char *text)
{
    assert_int_equal(value->value_case, DWELL__ANY_VALUE__VALUE_STRING_VALUE);
    assert_string_equal(value->string_value, text);
}

static void must_be_span(const Dwell__Span *span, const struct dwell_context *context)
{
    assert_memory_equal(span->trace_id.data, context->trace_id, 16);
    assert_memory_equal(span->span_id.data, context->span_id, 8);
}

static void must_be_child(const Dwell__Span *child, const struct dwell_context *parent)
{
    assert_memory_equal(child->trace_id.data, parent->trace_id, 16);
    assert_true(child->has_parent_span_id);
    assert_memory_equal(child->parent_span_id.data, parent->span_id, 8);
    assert_memory_not_equal(child->span_id.data, parent->span_id, 8);
}

static struct dwell_context context_of(const struct dwell_span *span)
{
    struct dwell_context context; /* of which nothing may stay as it is */
    memset(&context, 0xAB, sizeof context);
    dwell_span_context(span, &context);
    return context;
}

static bool is_empty(const struct dwell_context *context)
{
    static const uint8_t zero[16];
    return memcmp(context->trace_id, zero, 16) == 0 && memcmp(context->span_id, zero, 8) == 0 &&
           context->flags == 0 && context->trace_state[0] == '\0';
}

static bool is_current(dwell_t *dwell, const struct dwell_span *span)
{
    struct dwell_context current;
    struct dwell_context wanted = context_of(span);
    return dwell_span_current(dwell, &current) && memcmp(current.span_id, wanted.span_id, 8) == 0 &&
           memcmp(current.trace_id, wanted.trace_id, 16) == 0 && current.flags == wanted.flags &&
           strcmp(current.trace_state, wanted.trace_state) == 0;
}

static bool has_no_current(dwell_t *dwell)
{
    struct dwell_context current;
    return !dwell_span_current(dwell, &current) && is_empty(&current);
}

static void must_be_current(dwell_t *dwell, const struct dwell_span *span)
{
    assert_true(is_current(dwell, span));
}

static void must_have_no_current(dwell_t *dwell)
{
    assert_true(has_no_current(dwell));
}

/* On threads and in processes that are not cmocka's, a failed check ends the process. */
static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "test_dwell_span: does not hold: %s\n", what);
        abort();
    }
}

#define MUST(condition) must(condition, #condition)

static const struct dwell_context remote = {
    .trace_id = {0xA0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .span_id = {0xB0, 1, 2, 3, 4, 5, 6, 7},
    .flags = DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED | DWELL_CONTEXT_SAMPLED,
    .trace_state = "vendor=1,other=2",
};

/* ---- Nothing there ---- */

static void use_all(struct dwell_span *span)
{
    struct dwell_attribute attribute = dwell_text("k", "v");
    struct dwell_link link = {.context = &remote};
    dwell_span_attribute(span, &attribute);
    dwell_span_attribute(span, NULL);
    dwell_span_text(span, "k", "v");
    dwell_span_int(span, "k", 1);
    dwell_span_double(span, "k", 1);
    dwell_span_bool(span, "k", true);
    dwell_span_event(span, "e", &attribute, 1);
    dwell_span_event(span, "e", NULL, 1);
    dwell_span_link(span, &link);
    dwell_span_link(span, NULL);
    dwell_span_exception(span, "t", "m", "s");
    dwell_span_status(span, DWELL_STATUS_ERROR, "m");
    dwell_span_context(span, NULL);
    dwell_span_end(span);
}

static void test_dwell_span_takes_null_for_everything(void **state)
{
    (void)state;
    struct dwell_span span;
    struct dwell_context context;
    use_all(NULL);
    context = context_of(NULL);
    assert_true(is_empty(&context));
    memset(&span, 0, sizeof span);
    use_all(&span);
    context = context_of(&span);
    assert_true(is_empty(&context));
    memset(&span, 0xAB, sizeof span);
    dwell_span_start(NULL, &span, "n", NULL);
    use_all(&span);
    context = context_of(&span);
    assert_true(is_empty(&context));
    dwell_span_start(NULL, NULL, NULL, NULL);
    assert_false(dwell_span_current(NULL, NULL));
    must_have_no_current(NULL);
}

static void test_dwell_span_hands_a_context_on_without_a_handle(void **state)
{
    (void)state;
    struct dwell_span span;
    setenv("DWELL_DISABLED", "1", 1);
    dwell_t *dwell = dwell_open(NULL);
    unsetenv("DWELL_DISABLED");
    assert_null(dwell);
    dwell_span_start(
        dwell, &span, "n",
        &(struct dwell_span_options){.size = sizeof(struct dwell_span_options), .parent = &remote});
    use_all(&span);
    struct dwell_context context = context_of(&span);
    assert_memory_equal(context.trace_id, remote.trace_id, 16);
    assert_memory_equal(context.span_id, remote.span_id, 8);
    assert_int_equal(context.flags, remote.flags);
    assert_string_equal(context.trace_state, remote.trace_state);
}

static void test_dwell_span_does_without_a_daemon(void **state)
{
    (void)state;
    struct server server;
    struct dwell_stats stats = {.size = sizeof stats};
    server_init(&server);
    struct dwell_options options = {
        .size = sizeof options, .directory = server.directory, .close_timeout_ms = PATIENT_MS};
    dwell_t *dwell = dwell_open(&options);
    assert_non_null(dwell);
    errno = 4711;
    for (int i = 0; i < 100; i++) {
        struct dwell_span span;
        dwell_span_start(dwell, &span, "n", NULL);
        use_all(&span);
    }
    assert_int_equal(errno, 4711);
    dwell_stats(dwell, &stats);
    assert_int_equal(stats.recorded, 100);
    assert_int_equal(stats.dropped, 0);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

static void test_dwell_span_allocates_nothing(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = {
        .size = sizeof options, .directory = server.directory, .close_timeout_ms = PATIENT_MS};
    dwell_t *dwell = dwell_open(&options);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 1000; i++) {
        struct dwell_span span;
        dwell_span_start(dwell, &span, "n", NULL);
        use_all(&span);
    }
    assert_int_equal(mallinfo2().uordblks, before);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

/* ---- What is in a span ---- */

static void test_dwell_span_is_whole_with_every_default(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    uint64_t before = clock_ns(CLOCK_REALTIME);
    uint64_t begun = clock_ns(CLOCK_MONOTONIC);
    dwell_span_start(stage.dwell, &span, "GET /v1", NULL);
    uint64_t started = clock_ns(CLOCK_REALTIME);
    struct dwell_context context = context_of(&span);
    uint64_t within = clock_ns(CLOCK_MONOTONIC);
    while (clock_ns(CLOCK_MONOTONIC) - within < 2000000) {
    }
    dwell_span_end(&span);
    uint64_t lasted = clock_ns(CLOCK_MONOTONIC) - begun;
    const Dwell__Span *came = must_send_one(&stage);
    must_be_span(came, &context);
    assert_int_equal(context.flags, DWELL_CONTEXT_SAMPLED);
    assert_string_equal(came->name, "GET /v1");
    assert_int_equal(came->kind, DWELL__SPAN__KIND__INTERNAL);
    assert_in_range(came->start_time_unix_nano, before, started);
    assert_in_range(came->end_time_unix_nano - came->start_time_unix_nano, 2000000, lasted);
    assert_true(!came->has_parent_span_id && !came->has_flags && !came->has_part);
    assert_true(came->trace_state == NULL && came->status == NULL && came->service_name == NULL);
    assert_true(came->n_attributes == 0 && came->n_events == 0 && came->n_links == 0);
    assert_true(!came->has_dropped_attributes_count && !came->has_dropped_events_count &&
                !came->has_dropped_links_count);
    assert_memory_equal(context_of(&span).span_id, context.span_id, 8); /* after the end, too */
    use_all(&span);                                                     /* and this is nothing */
    must_flush(&stage, 1);
    stage_close(&stage);
}

static void test_dwell_span_takes_all_options(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    const struct dwell_attribute attributes[] = {dwell_int("first", 1), dwell_int("second", 2)};
    const struct dwell_attribute of_link[] = {dwell_text("why", "batched")};
    const struct dwell_link links[] = {{&remote, of_link, 1}, {&remote, NULL, 0}, {NULL, NULL, 0}};
    struct dwell_span_options options = {
        .size = sizeof options,
        .parent = &remote,
        .kind = DWELL_KIND_CONSUMER,
        .start_unix_nano = 1700000000123456789,
        .service_name = "another",
        .attributes = attributes,
        .attribute_count = 2,
        .links = links,
        .link_count = 3,
    };
    dwell_span_start(stage.dwell, &span, "n", &options);
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    must_be_child(came, &remote);
    assert_string_equal(came->trace_state, "vendor=1,other=2");
    assert_int_equal(came->kind, DWELL__SPAN__KIND__CONSUMER);
    assert_true(came->start_time_unix_nano == 1700000000123456789);
    assert_true(came->end_time_unix_nano <= clock_ns(CLOCK_REALTIME));
    assert_string_equal(came->service_name, "another");
    assert_int_equal(came->n_attributes, 2);
    assert_int_equal(must_have(came, "second")->int_value, 2);
    assert_int_equal(came->n_links, 2);
    assert_int_equal(came->dropped_links_count, 1);
    assert_memory_equal(came->links[0]->trace_id.data, remote.trace_id, 16);
    assert_memory_equal(came->links[0]->span_id.data, remote.span_id, 8);
    assert_string_equal(came->links[0]->trace_state, "vendor=1,other=2");
    assert_int_equal(came->links[0]->flags, 1);
    must_have_text(must_find(came->links[0]->n_attributes, came->links[0]->attributes, "why"),
                   "batched");
    assert_int_equal(came->links[1]->n_attributes, 0);
    stage_close(&stage);
}

static void test_dwell_span_does_not_end_before_its_start(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    struct dwell_span_options options = {
        .size = sizeof options,
        .kind = (enum dwell_kind)99,
        .start_unix_nano = UINT64_MAX - 1,
    };
    dwell_span_start(stage.dwell, &span, NULL, &options);
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_true(came->end_time_unix_nano == UINT64_MAX - 1);
    assert_int_equal(came->kind, DWELL__SPAN__KIND__INTERNAL);
    assert_string_equal(came->name, "unnamed");
    stage_close(&stage);
}

static void test_dwell_span_cuts_names_between_characters(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    char name[400];
    char service[257];
    char broken[300];
    stage_open(&stage);
    memset(broken, 0x80, sizeof broken - 1);
    broken[sizeof broken - 1] = '\0';
    memset(name, 'n', sizeof name);
    memset(service, 's', sizeof service);
    const struct {
        size_t len;
        size_t came;
        const char *tail;
    } rows[] = {
        {1, 1, ""},
        {256, 256, ""},
        {257, 256, ""},
        {255, 255, "\xC3\xA4"}, /* ä would be cut in two */
        {254, 256, "\xC3\xA4"},
        {252, 256, "\xF0\x9F\x98\x80"},
        {253, 253, "\xF0\x9F\x98\x80"},
        {255, 255, "\xF0\x9F\x98\x80"},
        {1, 256, broken}, /* no UTF-8 at all */
        {0, 256, broken},
    };
    size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        char text[400];
        snprintf(text, sizeof text, "%.*s%s", (int)rows[i].len, name, rows[i].tail);
        service[256] = '\0';
        struct dwell_span_options options = {
            .size = sizeof options,
            .service_name = i == 0 ? service : service + 1, /* 256 are too long, 255 are not */
        };
        dwell_span_start(stage.dwell, &span, text, &options);
        dwell_span_end(&span);
    }
    must_flush(&stage, count);
    for (size_t i = 0; i < count; i++) {
        const Dwell__Span *came = server_span(&stage.server, i);
        assert_int_equal(strlen(came->name), rows[i].came);
        assert_true((came->service_name != NULL) == (i > 0));
    }
    stage_close(&stage);
}

static void test_dwell_span_sends_attributes_of_every_type(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    const char *const texts[] = {"a", "", NULL};
    const int64_t integers[] = {INT64_MIN, -1, 0, INT64_MAX};
    const double numbers[] = {0.5, -INFINITY};
    const bool truths[] = {true, false};
    const struct dwell_attribute lists[] = {
        {.key = "texts", .type = DWELL_TEXT_LIST, .value.texts = texts, .count = 3},
        {.key = "integers", .type = DWELL_INT_LIST, .value.integers = integers, .count = 4},
        {.key = "numbers", .type = DWELL_DOUBLE_LIST, .value.numbers = numbers, .count = 2},
        {.key = "truths", .type = DWELL_BOOL_LIST, .value.truths = truths, .count = 2},
        {.key = "none", .type = DWELL_INT_LIST, .value.integers = NULL, .count = 0},
    };
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_text(&span, "text", "grün");
    dwell_span_text(&span, "empty", "");
    dwell_span_int(&span, "integer", -5);
    dwell_span_double(&span, "number", 2.5);
    dwell_span_bool(&span, "truth", true);
    dwell_span_bool(&span, "lie", false);
    for (size_t i = 0; i < 5; i++) {
        dwell_span_attribute(&span, &lists[i]);
    }
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_int_equal(came->n_attributes, 11);
    must_have_text(must_have(came, "text"), "grün");
    must_have_text(must_have(came, "empty"), "");
    assert_int_equal(must_have(came, "integer")->value_case, DWELL__ANY_VALUE__VALUE_INT_VALUE);
    assert_int_equal(must_have(came, "integer")->int_value, -5);
    assert_int_equal(must_have(came, "number")->value_case, DWELL__ANY_VALUE__VALUE_DOUBLE_VALUE);
    assert_true(must_have(came, "number")->double_value == 2.5);
    assert_int_equal(must_have(came, "truth")->value_case, DWELL__ANY_VALUE__VALUE_BOOL_VALUE);
    assert_true(must_have(came, "truth")->bool_value && !must_have(came, "lie")->bool_value);
    const Dwell__ArrayValue *list = must_have(came, "texts")->array_value;
    assert_int_equal(list->n_values, 3);
    must_have_text(list->values[0], "a");
    must_have_text(list->values[1], "");
    must_have_text(list->values[2], "");
    list = must_have(came, "integers")->array_value;
    assert_int_equal(list->n_values, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(list->values[i]->int_value == integers[i]);
    }
    list = must_have(came, "numbers")->array_value;
    assert_int_equal(list->n_values, 2);
    assert_true(list->values[0]->double_value == 0.5 && list->values[1]->double_value < -1e308);
    list = must_have(came, "truths")->array_value;
    assert_true(list->n_values == 2 && list->values[0]->bool_value && !list->values[1]->bool_value);
    assert_int_equal(must_have(came, "none")->value_case, DWELL__ANY_VALUE__VALUE_ARRAY_VALUE);
    assert_int_equal(must_have(came, "none")->array_value->n_values, 0);
    stage_close(&stage);
}

static void test_dwell_span_keeps_the_last_value_of_a_key(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    char key[257];
    stage_open(&stage);
    memset(key, 'k', 256);
    key[256] = '\0';
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_text(&span, "a", "first");
    dwell_span_text(&span, "ab", "another");
    dwell_span_text(&span, key, "first");
    dwell_span_event(&span, "a", NULL, 0);
    dwell_span_text(&span, key, "second, and longer");
    dwell_span_int(&span, "a", 2);
    dwell_span_text(&span, "a", "last");
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_int_equal(came->n_attributes, 3);
    must_have_text(must_have(came, "a"), "last");
    must_have_text(must_have(came, "ab"), "another");
    must_have_text(must_have(came, key), "second, and longer");
    assert_int_equal(came->n_events, 1);
    assert_string_equal(came->events[0]->name, "a");
    assert_false(came->has_dropped_attributes_count);
    stage_close(&stage);
}

static void test_dwell_span_counts_attributes_that_are_none(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    char key[258];
    stage_open(&stage);
    memset(key, 'k', sizeof key);
    key[256] = '\0';
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_int(&span, key, 1); /* 256 bytes are good */
    key[256] = 'k';
    key[257] = '\0';
    const struct dwell_attribute bad[] = {
        dwell_int(key, 1),
        dwell_int("", 1),
        dwell_int(NULL, 1),
        dwell_text("k", NULL),
        {.key = "k"},
        {.key = "k", .type = (enum dwell_type)99},
        {.key = "k", .type = DWELL_TEXT_LIST, .count = 1},
    };
    size_t count = sizeof bad / sizeof bad[0];
    for (size_t i = 0; i < count; i++) {
        dwell_span_attribute(&span, &bad[i]);
    }
    dwell_span_event(&span, "e", bad, count);
    dwell_span_event(&span, NULL, NULL, 0);
    dwell_span_event(&span, "", NULL, 0);
    dwell_span_event(&span, key, NULL, 0);
    dwell_span_link(&span, &(struct dwell_link){.context = &(struct dwell_context){.flags = 1}});
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_int_equal(came->n_attributes, 1);
    assert_int_equal(came->dropped_attributes_count, count);
    assert_int_equal(came->n_events, 1);
    assert_int_equal(came->events[0]->n_attributes, 0);
    assert_int_equal(came->events[0]->dropped_attributes_count, count);
    assert_int_equal(came->dropped_events_count, 3);
    assert_int_equal(came->dropped_links_count, 1);
    stage_close(&stage);
}

static void test_dwell_span_adds_events_when_they_happen(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    const struct dwell_attribute attributes[] = {dwell_text("k", "replaced"), dwell_int("size", 7),
                                                 dwell_text("k", "last")};
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_event(&span, "first", attributes, 3);
    dwell_span_event(&span, "second", NULL, 3);
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_int_equal(came->n_events, 2);
    const Dwell__Event *first = came->events[0];
    const Dwell__Event *second = came->events[1];
    assert_string_equal(first->name, "first");
    assert_string_equal(second->name, "second");
    assert_in_range(first->time_unix_nano, came->start_time_unix_nano, second->time_unix_nano);
    assert_in_range(second->time_unix_nano, first->time_unix_nano, came->end_time_unix_nano);
    assert_int_equal(first->n_attributes, 2);
    must_have_text(must_find(2, first->attributes, "k"), "last");
    assert_int_equal(must_find(2, first->attributes, "size")->int_value, 7);
    assert_true(!first->has_dropped_attributes_count && second->n_attributes == 0);
    stage_close(&stage);
}

static void test_dwell_span_status_goes_by_the_rules(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    struct step {
        enum dwell_status status;
        const char *message;
    };
    static const struct {
        struct step steps[3];
        int code; /* -1: no status at all */
        const char *message;
    } rows[] = {
        {{{DWELL_STATUS_UNSET, "m"}}, -1, NULL},
        {{{DWELL_STATUS_OK, "m"}}, DWELL__STATUS__CODE__OK, NULL},
        {{{DWELL_STATUS_ERROR, NULL}}, DWELL__STATUS__CODE__ERROR, NULL},
        {{{DWELL_STATUS_ERROR, ""}}, DWELL__STATUS__CODE__ERROR, NULL},
        {{{DWELL_STATUS_ERROR, "m"}}, DWELL__STATUS__CODE__ERROR, "m"},
        {{{DWELL_STATUS_ERROR, "m"}, {DWELL_STATUS_UNSET, "n"}}, DWELL__STATUS__CODE__ERROR, "m"},
        {{{DWELL_STATUS_ERROR, "m"}, {DWELL_STATUS_ERROR, "other"}},
         DWELL__STATUS__CODE__ERROR,
         "other"},
        {{{DWELL_STATUS_ERROR, "m"}, {DWELL_STATUS_ERROR, NULL}}, DWELL__STATUS__CODE__ERROR, NULL},
        {{{DWELL_STATUS_ERROR, "m"}, {DWELL_STATUS_OK, NULL}}, DWELL__STATUS__CODE__OK, NULL},
        {{{DWELL_STATUS_OK, NULL}, {DWELL_STATUS_ERROR, "m"}}, DWELL__STATUS__CODE__OK, NULL},
        {{{(enum dwell_status)99, "m"}}, -1, NULL},
    };
    size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        dwell_span_start(stage.dwell, &span, "n", NULL);
        for (size_t j = 0; j < 3; j++) {
            dwell_span_status(&span, rows[i].steps[j].status, rows[i].steps[j].message);
            dwell_span_int(&span, "between", (int64_t)j);
        }
        dwell_span_end(&span);
    }
    must_flush(&stage, count);
    for (size_t i = 0; i < count; i++) {
        const Dwell__Span *came = server_span(&stage.server, i);
        assert_true((came->status == NULL) == (rows[i].code < 0));
        if (came->status != NULL) {
            assert_int_equal(came->status->code, rows[i].code);
            assert_true((came->status->message == NULL) == (rows[i].message == NULL));
        }
        if (rows[i].message != NULL) {
            assert_string_equal(came->status->message, rows[i].message);
        }
    }
    stage_close(&stage);
}

static const Dwell__AnyValue *of_event(const Dwell__Event *event, const char *key)
{
    return must_find(event->n_attributes, event->attributes, key);
}

static void test_dwell_span_records_an_exception_once(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_exception(&span, "OSError", "no such file", "at main\nat open");
    dwell_span_exception(&span, "OSError", "no such file", "at main"); /* on its way out */
    dwell_span_exception(&span, "OSErrorno", " such file", NULL);      /* another */
    dwell_span_exception(&span, NULL, NULL, NULL);
    dwell_span_end(&span);
    dwell_span_start(stage.dwell, &span, "ok", NULL);
    dwell_span_status(&span, DWELL_STATUS_OK, NULL);
    dwell_span_exception(&span, "E", "handled", NULL);
    dwell_span_end(&span);
    must_flush(&stage, 2);
    const Dwell__Span *came = server_span(&stage.server, 0);
    assert_int_equal(came->n_events, 3);
    const Dwell__Event *event = came->events[0];
    assert_string_equal(event->name, "exception");
    assert_int_equal(event->n_attributes, 3);
    must_have_text(of_event(event, "exception.type"), "OSError");
    must_have_text(of_event(event, "exception.message"), "no such file");
    must_have_text(of_event(event, "exception.stacktrace"), "at main\nat open");
    assert_in_range(event->time_unix_nano, came->start_time_unix_nano, came->end_time_unix_nano);
    event = came->events[1];
    assert_int_equal(event->n_attributes, 2);
    must_have_text(of_event(event, "exception.type"), "OSErrorno");
    assert_int_equal(came->events[2]->n_attributes, 0);
    assert_int_equal(came->status->code, DWELL__STATUS__CODE__ERROR);
    assert_null(came->status->message); /* that of the last one */
    assert_false(came->has_dropped_events_count);
    came = server_span(&stage.server, 1);
    assert_int_equal(came->status->code, DWELL__STATUS__CODE__OK);
    assert_int_equal(came->n_events, 1);
    stage_close(&stage);
}

static void test_dwell_span_cuts_an_exception_to_the_room(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    static char trace[20001];
    static char message[20001];
    stage_open(&stage);
    for (size_t i = 0; i < 20000; i += 2) { /* characters of two bytes */
        memcpy(trace + i, "\xC3\xA4", 2);
        memcpy(message + i, "\xC3\xB6", 2);
    }
    const struct {
        const char *message;
        const char *filler; /* an attribute before it */
        size_t message_min;
        size_t trace_min;
        bool event;
    } rows[] = {
        {"short", "", 5, 1500, true},
        {message, "", 750, 0, true},
        {"short", message + 18400, 5, 10, true}, /* 1600 bytes of it */
        {"short", message + 18300, 0, 0, true},  /* 1700: the message may just not fit */
        {"short", message + 18250, 0, 0, false}, /* 1750: the event does not */
    };
    size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        dwell_span_start(stage.dwell, &span, "n", NULL);
        dwell_span_text(&span, "filler", rows[i].filler);
        dwell_span_exception(&span, "E", rows[i].message, trace);
        dwell_span_end(&span);
    }
    must_flush(&stage, count);
    for (size_t i = 0; i < count; i++) {
        const Dwell__Span *came = server_span(&stage.server, i);
        assert_int_equal(came->status->code, DWELL__STATUS__CODE__ERROR);
        assert_int_equal(came->n_attributes, 1);
        assert_int_equal(came->n_events, rows[i].event ? 1 : 0);
        assert_int_equal(came->dropped_events_count, rows[i].event ? 0 : 1);
        if (!rows[i].event || rows[i].message_min == 0) {
            continue;
        }
        must_have_text(of_event(came->events[0], "exception.type"), "E");
        const char *said = of_event(came->events[0], "exception.message")->string_value;
        assert_true(strlen(said) >= rows[i].message_min);
        assert_memory_equal(said, rows[i].message, strlen(said));
        assert_string_equal(said, came->status->message);
        const Dwell__AnyValue *stack = find(came->events[0]->n_attributes,
                                            came->events[0]->attributes, "exception.stacktrace");
        assert_true((stack != NULL ? strlen(stack->string_value) : 0) >= rows[i].trace_min);
        assert_true(stack == NULL || strlen(stack->string_value) % 2 == 0);
        assert_true(strlen(said) % 2 == 0 || rows[i].message != message);
    }
    stage_close(&stage);
}

/* The last message makes room for the new one. */
static void test_dwell_span_exception_takes_the_place_of_an_error(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    char message[1801];
    stage_open(&stage);
    memset(message, 'm', sizeof message - 1);
    message[1800] = '\0';
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_status(&span, DWELL_STATUS_ERROR, message);
    dwell_span_exception(&span, "E", "short", message);
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_string_equal(came->status->message, "short");
    assert_int_equal(came->n_events, 1);
    assert_true(strlen(of_event(came->events[0], "exception.stacktrace")->string_value) > 1500);
    stage_close(&stage);
}

/* ---- Limits ---- */

static void add_parts(struct dwell_span *span, unsigned attributes, unsigned events, unsigned links)
{
    char key[16];
    for (unsigned i = 0; i < attributes; i++) {
        snprintf(key, sizeof key, "%u", i);
        dwell_span_bool(span, key, true);
    }
    for (unsigned i = 0; i < events; i++) {
        dwell_span_event(span, "e", NULL, 0);
    }
    for (unsigned i = 0; i < links; i++) {
        dwell_span_link(span, &(struct dwell_link){.context = &remote});
    }
}

static void must_limit(const char *attributes, const char *events, const char *links,
                       unsigned attributes_max, unsigned events_max, unsigned links_max)
{
    struct stage stage = {0};
    struct dwell_span span;
    uint8_t memory[MEMORY_MAX];
    setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", attributes, 1);
    setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", events, 1);
    setenv("OTEL_SPAN_LINK_COUNT_LIMIT", links, 1);
    stage_open(&stage);
    unsetenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT");
    unsetenv("OTEL_SPAN_EVENT_COUNT_LIMIT");
    unsetenv("OTEL_SPAN_LINK_COUNT_LIMIT");
    struct dwell_span_options options = {
        .size = sizeof options, .memory = memory, .memory_bytes = sizeof memory};
    for (unsigned over = 0; over < 2; over++) {
        dwell_span_start(stage.dwell, &span, "n", &options);
        add_parts(&span, attributes_max + over, events_max + over, links_max + over);
        dwell_span_bool(&span, "0", false); /* has its place, if there is one */
        dwell_span_end(&span);
    }
    must_flush(&stage, 2);
    for (unsigned over = 0; over < 2; over++) {
        const Dwell__Span *came = server_span(&stage.server, over);
        unsigned again = attributes_max == 0 ? 1 : 0;
        assert_int_equal(came->n_attributes, attributes_max);
        assert_int_equal(came->n_events, events_max);
        assert_int_equal(came->n_links, links_max);
        assert_int_equal(came->dropped_attributes_count, over + again);
        assert_int_equal(came->dropped_events_count, over);
        assert_int_equal(came->dropped_links_count, over);
        assert_true(attributes_max == 0 || !must_have(came, "0")->bool_value);
    }
    stage_close(&stage);
}

static void test_dwell_span_has_limits_that_the_environment_lowers(void **state)
{
    (void)state;
    must_limit("", "", "", PARTS_MAX, PARTS_MAX, PARTS_MAX);
    must_limit("3", "2", "1", 3, 2, 1);
    must_limit("0", "0", "0", 0, 0, 0);
    must_limit("128", "129", "99999999999999999999", PARTS_MAX, PARTS_MAX, PARTS_MAX);
    must_limit("-1", "x", "3x", PARTS_MAX, PARTS_MAX, PARTS_MAX);
}

static void test_dwell_span_limits_attributes_of_events_and_links(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    uint8_t memory[MEMORY_MAX];
    struct dwell_attribute many[PARTS_MAX + 1];
    static char keys[PARTS_MAX + 1][16];
    stage_open(&stage);
    for (unsigned i = 0; i <= PARTS_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "%u", i);
        many[i] = dwell_int(keys[i], i);
    }
    struct dwell_span_options options = {
        .size = sizeof options, .memory = memory, .memory_bytes = sizeof memory};
    dwell_span_start(stage.dwell, &span, "n", &options);
    for (unsigned over = 0; over < 2; over++) {
        dwell_span_event(&span, "e", many, PARTS_MAX + over);
        dwell_span_link(&span, &(struct dwell_link){&remote, many, PARTS_MAX + over});
    }
    dwell_span_end(&span);
    const Dwell__Span *came = must_send_one(&stage);
    assert_true(came->n_events == 2 && came->n_links == 2);
    for (unsigned over = 0; over < 2; over++) {
        assert_int_equal(came->events[over]->n_attributes, PARTS_MAX);
        assert_int_equal(came->events[over]->dropped_attributes_count, over);
        assert_int_equal(came->links[over]->n_attributes, PARTS_MAX);
        assert_int_equal(came->links[over]->dropped_attributes_count, over);
    }
    stage_close(&stage);
}

/* A span with one attribute of so many bytes; the longest that fits is found by trying. */
static size_t longest_that_fits(struct stage *stage, const struct dwell_span_options *options,
                                size_t from, uint64_t *records)
{
    struct dwell_span span;
    static char text[20001];
    memset(text, 'x', sizeof text - 1);
    for (size_t len = from;; len++) {
        assert_true(len < sizeof text);
        dwell_span_start(stage->dwell, &span, "n", options);
        dwell_span_text(&span, "k", "old");
        dwell_span_text(&span, "k", text + sizeof text - 1 - len);
        dwell_span_end(&span);
        must_flush(stage, ++*records);
        const Dwell__Span *came = server_span(&stage->server, *records - 1);
        if (came->n_attributes == 0) { /* nor is the old value there */
            assert_int_equal(came->dropped_attributes_count, 1);
            return len - 1;
        }
        assert_int_equal(strlen(must_have(came, "k")->string_value), len);
        assert_false(came->has_dropped_attributes_count);
    }
}

static void test_dwell_span_uses_all_of_its_room(void **state)
{
    (void)state;
    struct stage stage = {0};
    uint64_t records = 0;
    static uint8_t memory[20000];
    stage_open(&stage);
    struct dwell_span_options options = {.size = sizeof options};
    size_t own = longest_that_fits(&stage, &options, 1780, &records);
    assert_in_range(own, 1780, 2048);
    options.memory = memory;
    options.memory_bytes = 2047; /* less than what is there anyway */
    assert_int_equal(longest_that_fits(&stage, &options, own, &records), own);
    memset(memory, 0xAB, sizeof memory);
    options.memory_bytes = 2048;
    size_t more = longest_that_fits(&stage, &options, own + 1, &records);
    /* Of 2048: the name 3, and of the attribute 1 + 2, the key 3, 1 + 2 twice. */
    assert_int_equal(more, 2048 - 3 - 3 - 3 - 3 - 3);
    assert_int_equal(memory[2048], 0xAB);
    options.memory_bytes = 4000;
    assert_int_equal(longest_that_fits(&stage, &options, 3980, &records), 4000 - 15);
    options.memory_bytes = MEMORY_MAX;
    size_t most = longest_that_fits(&stage, &options, MEMORY_MAX - 20, &records);
    assert_int_equal(most, MEMORY_MAX - 15);
    options.memory_bytes = sizeof memory;
    assert_int_equal(longest_that_fits(&stage, &options, most - 2, &records), most);
    assert_int_equal(memory[MEMORY_MAX], 0xAB);
    stage_close(&stage);
}

static void test_dwell_span_keeps_its_context_without_the_memory(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    uint8_t memory[4096];
    stage_open(&stage);
    struct dwell_span_options options = {
        .size = sizeof options, .parent = &remote, .memory = memory, .memory_bytes = sizeof memory};
    dwell_span_start(stage.dwell, &span, "n", &options);
    must_be_current(stage.dwell, &span);
    dwell_span_end(&span);
    memset(memory, 0xAB, sizeof memory);
    struct dwell_context context = context_of(&span);
    assert_string_equal(context.trace_state, remote.trace_state);
    const Dwell__Span *came = must_send_one(&stage);
    assert_string_equal(came->trace_state, remote.trace_state);
    stage_close(&stage);
}

static void test_dwell_span_refuses_a_trace_state_that_no_header_takes(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    struct dwell_context contexts[4] = {remote, remote, remote, remote};
    memset(contexts[0].trace_state, 'x', DWELL_TRACE_STATE_MAX); /* 512 and a zero */
    contexts[0].trace_state[DWELL_TRACE_STATE_MAX] = '\0';
    memset(contexts[1].trace_state, 'x', DWELL_TRACE_STATE_MAX + 1);
    memcpy(contexts[2].trace_state, "a=1\r\nx", 7);
    memcpy(contexts[3].trace_state, "a=\xC3\xA4", 5);
    for (size_t i = 0; i < 4; i++) {
        struct dwell_span_options options = {.size = sizeof options, .parent = &contexts[i]};
        dwell_span_start(stage.dwell, &span, "n", &options);
        assert_int_equal(strlen(context_of(&span).trace_state), i == 0 ? 512 : 0);
        dwell_span_end(&span);
    }
    must_flush(&stage, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true((server_span(&stage.server, i)->trace_state != NULL) == (i == 0));
    }
    stage_close(&stage);
}

/* ---- Nesting ---- */

static void test_dwell_span_is_the_child_of_the_one_around_it(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span outer;
    struct dwell_span inner;
    struct dwell_span aside;
    stage_open(&stage);
    must_have_no_current(stage.dwell);
    dwell_span_start(stage.dwell, &outer, "outer", NULL);
    must_be_current(stage.dwell, &outer);
    dwell_span_start(stage.dwell, &inner, "inner", NULL);
    must_be_current(stage.dwell, &inner);
    struct dwell_span_options options = {.size = sizeof options, .detached = true};
    dwell_span_start(stage.dwell, &aside, "aside", &options);
    must_be_current(stage.dwell, &inner);
    struct dwell_context contexts[3] = {context_of(&outer), context_of(&inner), context_of(&aside)};
    dwell_span_end(&aside);
    dwell_span_end(&inner);
    must_be_current(stage.dwell, &outer);
    options = (struct dwell_span_options){.size = sizeof options, .parent = &contexts[2]};
    dwell_span_start(stage.dwell, &inner, "of aside", &options); /* though it has ended */
    must_be_current(stage.dwell, &inner);
    dwell_span_end(&inner);
    options.parent = &(struct dwell_context){.flags = 0};
    dwell_span_start(stage.dwell, &inner, "root", &options);
    dwell_span_end(&inner);
    dwell_span_end(&outer);
    must_have_no_current(stage.dwell);
    must_flush(&stage, 5);
    must_be_child(server_span(&stage.server, 0), &contexts[1]);
    must_be_child(server_span(&stage.server, 1), &contexts[0]);
    must_be_child(server_span(&stage.server, 2), &contexts[2]);
    const Dwell__Span *root = server_span(&stage.server, 3);
    assert_false(root->has_parent_span_id);
    assert_memory_not_equal(root->trace_id.data, contexts[0].trace_id, 16);
    assert_false(server_span(&stage.server, 4)->has_parent_span_id);
    stage_close(&stage);
}

static void test_dwell_span_that_ends_leaves_those_within_it(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span spans[4];
    stage_open(&stage);
    for (int i = 0; i < 4; i++) {
        dwell_span_start(stage.dwell, &spans[i], "n", NULL);
    }
    dwell_span_end(&spans[1]); /* 2 and 3 were forgotten, or end late */
    must_be_current(stage.dwell, &spans[0]);
    struct dwell_span next;
    dwell_span_start(stage.dwell, &next, "next", NULL);
    dwell_span_end(&spans[2]);
    dwell_span_end(&spans[3]);
    must_be_current(stage.dwell, &next);
    dwell_span_end(&next);
    dwell_span_end(&spans[0]);
    must_have_no_current(stage.dwell);
    must_flush(&stage, 5);
    stage_close(&stage);
}

static void test_dwell_span_may_be_copied(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    struct dwell_span copy;
    stage_open(&stage);
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_span_text(&span, "k", "v");
    copy = span;
    memset(&span, 0xAB, sizeof span);
    must_be_current(stage.dwell, &copy);
    dwell_span_text(&copy, "l", "w");
    dwell_span_end(&copy);
    must_have_no_current(stage.dwell);
    assert_int_equal(must_send_one(&stage)->n_attributes, 2);
    stage_close(&stage);
}

static void test_dwell_span_nests_64_deep(void **state)
{
    (void)state;
    struct stage stage = {0};
    static struct dwell_span spans[DEPTH_MAX + 2];
    stage_open(&stage);
    for (int i = 0; i < DEPTH_MAX + 2; i++) {
        dwell_span_start(stage.dwell, &spans[i], "n", NULL);
        must_be_current(stage.dwell, &spans[i < DEPTH_MAX ? i : DEPTH_MAX - 1]);
    }
    struct dwell_context last = context_of(&spans[DEPTH_MAX - 1]);
    for (int i = DEPTH_MAX + 1; i >= 0; i--) {
        must_be_current(stage.dwell, &spans[i < DEPTH_MAX ? i : DEPTH_MAX - 1]);
        dwell_span_end(&spans[i]);
    }
    must_have_no_current(stage.dwell);
    must_flush(&stage, DEPTH_MAX + 2);
    must_be_child(server_span(&stage.server, 0), &last);
    must_be_child(server_span(&stage.server, 1), &last);
    stage_close(&stage);
}

/* ---- Threads ---- */

struct errand {
    dwell_t *dwell;
    struct dwell_span *span; /* to be ended */
    struct dwell_span *left; /* to be started and left open */
    bool had_current;
};

static void *run_errand(void *arg)
{
    struct errand *errand = arg;
    if (errand->left != NULL) {
        dwell_span_start(errand->dwell, errand->left, "left", NULL);
    }
    if (errand->span != NULL) {
        dwell_span_end(errand->span);
    }
    errand->had_current = dwell_span_current(errand->dwell, NULL);
    return NULL;
}

/* Runs it on a thread of its own, to its end. */
static void send_out(struct errand *errand)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_errand, errand), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_dwell_span_may_end_on_another_thread(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span spans[3];
    stage_open(&stage);
    for (int i = 0; i < 3; i++) {
        dwell_span_start(stage.dwell, &spans[i], "n", NULL);
    }
    struct dwell_context outer = context_of(&spans[0]);
    send_out(&(struct errand){.dwell = stage.dwell, .span = &spans[1]});
    must_be_current(stage.dwell, &spans[2]); /* not the one that ended */
    struct dwell_span theirs;
    struct errand errand = {.dwell = stage.dwell, .span = &spans[2], .left = &theirs};
    send_out(&errand);
    assert_true(errand.had_current); /* their own stays */
    must_be_current(stage.dwell, &spans[0]);
    dwell_span_start(stage.dwell, &spans[1], "after", NULL); /* in the place of the first */
    struct dwell_span copy = spans[1];
    send_out(&(struct errand){.dwell = stage.dwell, .span = &copy});
    must_be_current(stage.dwell, &spans[0]);
    dwell_span_end(&theirs); /* whose thread is gone */
    must_be_current(stage.dwell, &spans[0]);
    dwell_span_end(&spans[0]);
    must_have_no_current(stage.dwell);
    must_flush(&stage, 5);
    must_be_child(must_have_come(&stage, 5, "after"), &outer);
    assert_false(must_have_come(&stage, 5, "left")->has_parent_span_id);
    stage_close(&stage);
}

static void test_dwell_span_frees_its_level_on_another_thread(void **state)
{
    (void)state;
    struct stage stage = {0};
    static struct dwell_span spans[DEPTH_MAX];
    struct dwell_span next;
    stage_open(&stage);
    for (int i = 0; i < DEPTH_MAX; i++) {
        dwell_span_start(stage.dwell, &spans[i], "n", NULL);
    }
    send_out(&(struct errand){.dwell = stage.dwell, .span = &spans[DEPTH_MAX - 1]});
    struct dwell_span_options options = {.size = sizeof options, .parent = &remote};
    dwell_span_start(stage.dwell, &next, "next", &options);
    must_be_current(stage.dwell, &next);
    dwell_span_end(&next);
    must_be_current(stage.dwell, &spans[DEPTH_MAX - 2]);
    dwell_span_end(&spans[0]);
    must_have_no_current(stage.dwell);
    must_flush(&stage, 3);
    stage_close(&stage);
}

/* A lane goes from thread to thread: what one of them left open is nothing to the next. */
static void test_dwell_span_of_a_thread_that_is_gone_concerns_no_other(void **state)
{
    (void)state;
    struct stage stage = {.options.threads_max = 1};
    struct dwell_span first;
    struct dwell_span second;
    stage_open(&stage);
    send_out(&(struct errand){.dwell = stage.dwell, .left = &first});
    struct errand errand = {.dwell = stage.dwell, .left = &second, .span = &first};
    send_out(&errand);
    assert_true(errand.had_current); /* its own, in the same lane */
    must_have_no_current(stage.dwell);
    struct dwell_span mine;
    dwell_span_start(stage.dwell, &mine, "mine", NULL);
    dwell_span_end(&second);
    must_be_current(stage.dwell, &mine);
    dwell_span_end(&mine);
    must_flush(&stage, 3);
    assert_false(must_have_come(&stage, 3, "mine")->has_parent_span_id);
    stage_close(&stage);
}

static void *nest_without_lane(void *arg)
{
    struct stage *stage = arg;
    struct dwell_span outer;
    struct dwell_span inner;
    dwell_span_start(stage->dwell, &outer, "outer", NULL);
    MUST(has_no_current(stage->dwell));
    struct dwell_context context = context_of(&outer);
    struct dwell_span_options options = {.size = sizeof options, .parent = &context};
    dwell_span_start(stage->dwell, &inner, "inner", &options);
    dwell_span_end(&inner);
    dwell_span_end(&outer);
    return NULL;
}

static void test_dwell_span_is_never_current_past_threads_max(void **state)
{
    (void)state;
    struct stage stage = {.options.threads_max = 1};
    struct dwell_span mine;
    pthread_t thread;
    stage_open(&stage);
    dwell_span_start(stage.dwell, &mine, "mine", NULL);
    assert_int_equal(pthread_create(&thread, NULL, nest_without_lane, &stage), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    must_be_current(stage.dwell, &mine);
    dwell_span_end(&mine);
    must_flush(&stage, 3);
    const Dwell__Span *outer = must_have_come(&stage, 3, "outer");
    const Dwell__Span *inner = must_have_come(&stage, 3, "inner");
    assert_false(outer->has_parent_span_id);
    assert_false(must_have_come(&stage, 3, "mine")->has_parent_span_id);
    assert_memory_equal(inner->parent_span_id.data, outer->span_id.data, 8);
    stage_close(&stage);
}

enum { RELAY_THREADS = 4, RELAY_SPANS = 2000 };

/* Spans that are handed around in a ring of threads, each ending what it is handed. */
struct relay {
    struct stage *stage;
    pthread_barrier_t barrier;
    struct dwell_span spans[RELAY_THREADS];
};

struct runner {
    struct relay *relay;
    unsigned self;
};

static void *run_relay(void *arg)
{
    const struct runner *runner = arg;
    struct relay *relay = runner->relay;
    dwell_t *dwell = relay->stage->dwell;
    for (int i = 0; i < RELAY_SPANS; i++) {
        struct dwell_span around;
        dwell_span_start(dwell, &around, "around", NULL);
        dwell_span_start(dwell, &relay->spans[runner->self], "handed on", NULL);
        pthread_barrier_wait(&relay->barrier);
        dwell_span_end(&relay->spans[(runner->self + 1) % RELAY_THREADS]);
        pthread_barrier_wait(&relay->barrier);
        MUST(is_current(dwell, &around));
        dwell_span_end(&around);
        MUST(has_no_current(dwell));
    }
    return NULL;
}

static void test_dwell_span_goes_around_between_threads(void **state)
{
    (void)state;
    struct stage stage = {.options.buffer_bytes = 4 << 20};
    struct relay *relay = calloc(1, sizeof *relay);
    struct runner runners[RELAY_THREADS];
    pthread_t threads[RELAY_THREADS];
    stage_open(&stage);
    assert_non_null(relay);
    relay->stage = &stage;
    pthread_barrier_init(&relay->barrier, NULL, RELAY_THREADS);
    for (unsigned i = 0; i < RELAY_THREADS; i++) {
        runners[i] = (struct runner){relay, i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_relay, &runners[i]), 0);
    }
    for (unsigned i = 0; i < RELAY_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    must_flush(&stage, 2 * RELAY_THREADS * RELAY_SPANS);
    pthread_barrier_destroy(&relay->barrier);
    free(relay);
    stage_close(&stage);
}

/* ---- Ids ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}

/* Fails when two of the ids are the same, or one is all zero. */
static void must_differ(uint8_t (*ids)[8], size_t count)
{
    static const uint8_t zero[8];
    qsort(ids, count, sizeof *ids, compare_ids);
    assert_memory_not_equal(ids[0], zero, 8);
    for (size_t i = 1; i < count; i++) {
        assert_memory_not_equal(ids[i - 1], ids[i], 8);
    }
}

enum { IDS = 3000 };

/* Three ids from each span: its own, and both halves of its trace's. */
static void take_ids(dwell_t *dwell, uint8_t (*ids)[8], size_t count)
{
    for (size_t i = 0; i < count; i += 3) {
        struct dwell_span span;
        struct dwell_span_options options = {.size = sizeof options, .detached = true};
        dwell_span_start(dwell, &span, "n", &options);
        struct dwell_context context = context_of(&span);
        memcpy(ids[i], context.span_id, 8);
        memcpy(ids[i + 1], context.trace_id, 8);
        memcpy(ids[i + 2], context.trace_id + 8, 8);
    }
}

static void must_make_good_ids(void)
{
    static uint8_t ids[2 * IDS][8];
    struct dwell_options options = {.size = sizeof options, .directory = "/nowhere"};
    dwell_t *dwell = dwell_open(&options);
    assert_non_null(dwell);
    errno = 4711;
    take_ids(dwell, ids, IDS);
    assert_int_equal(errno, 4711);
    dwell_t *other = dwell_open(&options);
    take_ids(other, ids + IDS, IDS);
    must_differ(ids, 2 * IDS);
    dwell_close(other);
    dwell_close(dwell);
}

static void test_dwell_span_ids_are_all_different(void **state)
{
    (void)state;
    must_make_good_ids();
}

static void test_dwell_span_ids_are_different_without_a_generator(void **state)
{
    (void)state;
    randomness = RANDOM_REFUSED;
    must_make_good_ids();
    randomness = RANDOM_GOOD;
}

static void test_dwell_span_ids_are_never_zero(void **state)
{
    (void)state;
    static const uint8_t zero[16];
    randomness = RANDOM_ZERO;
    struct dwell_span span;
    struct dwell_options options = {.size = sizeof options, .directory = "/nowhere"};
    dwell_t *dwell = dwell_open(&options);
    dwell_span_start(dwell, &span, "n", NULL);
    struct dwell_context context = context_of(&span);
    assert_memory_not_equal(context.trace_id, zero, 16);
    assert_memory_not_equal(context.span_id, zero, 8);
    dwell_close(dwell);
    randomness = RANDOM_GOOD;
}

/* ---- Fork ---- */

static int child_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void must_fork_with_new_ids(void)
{
    enum { CHILDREN = 3, EACH = 60 };
    static uint8_t ids[(CHILDREN + 2) * EACH][8];
    struct dwell_options options = {.size = sizeof options, .directory = "/nowhere"};
    options.no_thread = !child_has_thread;
    dwell_t *dwell = dwell_open(&options);
    take_ids(dwell, ids, EACH);
    for (size_t i = 1; i <= CHILDREN; i++) {
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        if (pid == 0) {
            take_ids(dwell, ids, EACH);
            _exit(write(pipes[1], ids, EACH * 8) == EACH * 8 ? 0 : 1);
        }
        assert_int_equal(child_of(pid), 0);
        assert_int_equal(read(pipes[0], ids[i * EACH], EACH * 8), EACH * 8);
        close(pipes[0]);
        close(pipes[1]);
    }
    take_ids(dwell, ids + (CHILDREN + 1) * EACH, EACH);
    must_differ(ids, (CHILDREN + 2) * EACH);
    dwell_close(dwell);
}

static void test_dwell_span_ids_are_never_those_of_a_child(void **state)
{
    (void)state;
    must_fork_with_new_ids();
    randomness = RANDOM_REFUSED;
    must_fork_with_new_ids();
    randomness = RANDOM_GOOD;
}

static void test_dwell_span_goes_on_as_parent_in_a_child(void **state)
{
    (void)state;
    struct stage stage = {.options.no_thread = !child_has_thread};
    struct dwell_span outer;
    struct dwell_span inner;
    stage_open(&stage);
    dwell_span_start(stage.dwell, &outer, "outer", NULL);
    dwell_span_start(stage.dwell, &inner, "inner", NULL);
    struct dwell_context contexts[2] = {context_of(&outer), context_of(&inner)};
    pid_t pid = fork();
    if (pid == 0) {
        MUST(is_current(stage.dwell, &inner)); /* before anything is recorded */
        struct dwell_span child;
        dwell_span_start(stage.dwell, &child, "of inner", NULL);
        dwell_span_end(&child);
        dwell_span_end(&inner);
        MUST(is_current(stage.dwell, &outer));
        dwell_span_start(stage.dwell, &child, "of outer", NULL);
        dwell_span_end(&child);
        dwell_span_end(&outer);
        MUST(has_no_current(stage.dwell));
        _exit(dwell_close(stage.dwell) == DWELL_OK ? 0 : 1);
    }
    assert_int_equal(child_of(pid), 0);
    server_wait_records(&stage.server, 2); /* and nothing of what is the parent's */
    must_be_child(server_span(&stage.server, 0), &contexts[1]);
    must_be_child(server_span(&stage.server, 1), &contexts[0]);
    must_be_current(stage.dwell, &inner);
    dwell_span_end(&inner);
    dwell_span_end(&outer);
    must_flush(&stage, 4);
    must_be_span(server_span(&stage.server, 2), &contexts[1]);
    must_be_span(server_span(&stage.server, 3), &contexts[0]);
    stage_close(&stage);
}

/* The lane that a child inherits is its thread's only, comes back when that ends, and is one of
 * threads_max. */
static void test_dwell_span_lanes_are_counted_right_in_a_child(void **state)
{
    (void)state;
    struct stage stage = {.options.threads_max = 1, .options.no_thread = true};
    struct dwell_span span;
    stage_open(&stage);
    dwell_span_start(stage.dwell, &span, "n", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        pid = fork(); /* nor does a grandchild lose it */
        if (pid != 0) {
            _exit(child_of(pid));
        }
        MUST(is_current(stage.dwell, &span));
        struct dwell_span inner;
        dwell_span_start(stage.dwell, &inner, "inner", NULL);
        MUST(is_current(stage.dwell, &inner));
        _exit(0);
    }
    assert_int_equal(child_of(pid), 0);
    dwell_span_end(&span);
    must_flush(&stage, 1);
    stage_close(&stage);
}

struct heir {
    dwell_t *dwell;
    pthread_t before;
};

static void *take_over(void *arg)
{
    const struct heir *heir = arg;
    struct dwell_span span;
    MUST(pthread_join(heir->before, NULL) == 0);
    dwell_span_start(heir->dwell, &span, "n", NULL);
    _exit(is_current(heir->dwell, &span) ? 0 : 1);
}

/* The thread that forked ends in the child before it recorded anything: its lane is there for
 * another. */
static void test_dwell_span_lane_of_a_child_comes_back(void **state)
{
    (void)state;
    struct stage stage = {.options.threads_max = 1, .options.no_thread = true};
    struct dwell_span span;
    static struct heir heir;
    if (!child_has_thread) {
        skip();
    }
    stage_open(&stage);
    dwell_span_start(stage.dwell, &span, "n", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t thread;
        heir = (struct heir){stage.dwell, pthread_self()};
        MUST(pthread_create(&thread, NULL, take_over, &heir) == 0);
        pthread_exit(NULL);
    }
    assert_int_equal(child_of(pid), 0);
    dwell_span_end(&span);
    must_flush(&stage, 1);
    stage_close(&stage);
}

/* ---- Halves ---- */

static void test_dwell_span_comes_in_halves(void **state)
{
    (void)state;
    struct stage stage = {0};
    struct dwell_span span;
    stage_open(&stage);
    const struct dwell_attribute early[] = {dwell_text("early", "1")};
    const struct dwell_link links[] = {{&remote, NULL, 0}};
    struct dwell_span_options options = {
        .size = sizeof options,
        .parent = &remote,
        .kind = DWELL_KIND_SERVER,
        .halves = true,
        .service_name = "another",
        .attributes = early,
        .attribute_count = 1,
        .links = links,
        .link_count = 1,
    };
    dwell_span_start(stage.dwell, &span, "long", &options);
    const Dwell__Span *start = must_send_one(&stage);
    assert_int_equal(start->part, DWELL__SPAN__PART__START);
    struct dwell_context context = context_of(&span);
    must_be_span(start, &context);
    must_be_child(start, &remote);
    assert_string_equal(start->name, "long");
    assert_string_equal(start->trace_state, remote.trace_state);
    assert_string_equal(start->service_name, "another");
    assert_int_equal(start->kind, DWELL__SPAN__KIND__SERVER);
    assert_int_equal(start->flags, 1);
    must_have_text(must_have(start, "early"), "1");
    assert_int_equal(start->n_links, 1);
    dwell_span_text(&span, "late", "2");
    dwell_span_event(&span, "e", NULL, 0);
    dwell_span_exception(&span, "E", "m", NULL);
    add_parts(&span, PARTS_MAX - 1, 0, 0); /* one over the limit, with those of both halves */
    dwell_span_end(&span);
    must_flush(&stage, 2);
    const Dwell__Span *end = server_span(&stage.server, 1);
    assert_int_equal(end->part, DWELL__SPAN__PART__END);
    must_be_span(end, &context);
    assert_string_equal(end->name, "long");
    assert_true(!end->has_parent_span_id && end->trace_state == NULL && !end->has_kind &&
                end->service_name == NULL);
    assert_true(end->end_time_unix_nano >= start->start_time_unix_nano);
    assert_null(find(end->n_attributes, end->attributes, "early"));
    must_have_text(must_have(end, "late"), "2");
    assert_int_equal(end->n_attributes, PARTS_MAX - 1);
    assert_int_equal(end->dropped_attributes_count, 1);
    assert_true(end->n_events == 2 && end->n_links == 0);
    assert_string_equal(end->status->message, "m");
    struct dwell_context after = context_of(&span);
    assert_string_equal(after.trace_state, remote.trace_state);
    stage_close(&stage);
}

/* Of a span whose beginning found no room, the end is the whole. */
static void test_dwell_span_is_whole_when_its_start_was_dropped(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = {.size = sizeof options,
                                    .directory = server.directory,
                                    .evidence = DWELL_EVIDENCE_NONE,
                                    .buffer_bytes = 65536,
                                    .close_timeout_ms = PATIENT_MS,
                                    .keep_ms = PATIENT_MS};
    struct dwell_stats stats = {.size = sizeof stats};
    struct dwell_span span;
    dwell_t *dwell = dwell_open(&options);
    const struct dwell_model *model = dwell_model(dwell, "m");
    while (stats.dropped == 0) { /* nobody takes them, and these are the smallest records */
        struct dwell_track filler;
        dwell_track_begin(&filler, model);
        dwell_track_end(&filler, false);
        dwell_stats(dwell, &stats);
    }
    struct dwell_attribute early = dwell_text("early", "1");
    struct dwell_span_options halves = {
        .size = sizeof halves, .halves = true, .attributes = &early, .attribute_count = 1};
    dwell_span_start(dwell, &span, "n", &halves);
    dwell_stats(dwell, &stats);
    assert_int_equal(stats.dropped, 2);
    server_start(&server, SERVER_POLITE);
    assert_int_equal(dwell_flush(dwell, PATIENT_MS), DWELL_OK);
    dwell_span_end(&span);
    assert_int_equal(dwell_flush(dwell, PATIENT_MS), DWELL_OK);
    const Dwell__Span *came = server_span(&server, 0);
    assert_false(came->has_part);
    must_have_text(must_have(came, "early"), "1");
    assert_int_equal(dwell_close(dwell), DWELL_OK);
    assert_int_equal(server_client(&server, 0).lost, 0);
    server_fini(&server);
}

static void test_dwell_span_start_outlives_its_process(void **state)
{
    (void)state;
    struct stage stage = {.options.no_thread = !child_has_thread};
    stage_open(&stage);
    pid_t pid = fork();
    if (pid == 0) {
        struct dwell_span span;
        struct dwell_span_options options = {.size = sizeof options, .halves = true};
        dwell_span_start(stage.dwell, &span, "cut off", &options);
        (void)dwell_flush(stage.dwell, PATIENT_MS);
        raise(SIGKILL);
    }
    assert_int_equal(child_of(pid), 255);
    server_wait_records(&stage.server, 1);
    const Dwell__Span *start = server_span(&stage.server, 0);
    assert_int_equal(start->part, DWELL__SPAN__PART__START);
    assert_string_equal(start->name, "cut off");
    assert_int_equal(dwell_flush(stage.dwell, PATIENT_MS), DWELL_OK);
    assert_int_equal(dwell_close(stage.dwell), DWELL_OK);
    server_fini(&stage.server);
}

/* ---- Samples within spans ---- */

static void must_bear(const Dwell__Sample *sample, const struct dwell_context *context)
{
    assert_int_equal(sample->has_trace_id, context != NULL);
    assert_int_equal(sample->has_span_id, context != NULL);
    if (context != NULL) {
        assert_memory_equal(sample->trace_id.data, context->trace_id, 16);
        assert_memory_equal(sample->span_id.data, context->span_id, 8);
    }
}

static void must_show_in_samples(enum dwell_evidence evidence)
{
    struct stage stage = {.options.evidence = evidence};
    struct dwell_span span;
    struct dwell_track track;
    stage_open(&stage);
    assert_int_equal(dwell_close(stage.dwell), DWELL_OK); /* with the evidence that is wanted */
    stage.options.evidence = evidence;
    stage.dwell = dwell_open(&stage.options);
    const struct dwell_model *model = dwell_model(stage.dwell, "m");
    struct dwell_sample plain = {.size = sizeof plain, .model = model, .execution_time_ms = 1};
    struct dwell_sample named = plain;
    named.trace_id = remote.trace_id;
    named.span_id = remote.span_id;
    for (int i = 0; i < 3; i++) { /* before, within, after */
        if (i == 1) {
            dwell_span_start(stage.dwell, &span, "n", NULL);
        }
        dwell_track_begin(&track, model);
        dwell_track_end(&track, false);
        dwell_track_begin(&track, model);
        dwell_track_end_with(&track, &plain);
        dwell_track_begin(&track, model);
        dwell_track_end_with(&track, &named);
        dwell_sample(stage.dwell, &plain);
        dwell_sample(stage.dwell, &named);
        if (i == 1) {
            dwell_span_end(&span);
        }
    }
    must_flush(&stage, 16);
    struct dwell_context context = context_of(&span);
    const char *name = NULL;
    for (unsigned i = 0; i < 15; i++) {
        bool is_named = i % 5 == 2 || i % 5 == 4;
        must_bear(server_sample(&stage.server, i, &name), is_named     ? &remote
                                                          : i / 5 == 1 ? &context
                                                                       : NULL);
    }
    assert_int_equal(dwell_close(stage.dwell), DWELL_OK);
    server_fini(&stage.server);
}

static void test_dwell_span_shows_in_samples_within_it(void **state)
{
    (void)state;
    must_show_in_samples(DWELL_EVIDENCE_NONE);
    must_show_in_samples(DWELL_EVIDENCE_FULL);
}

static void test_dwell_span_that_is_not_sampled_shows_nowhere(void **state)
{
    (void)state;
    struct stage stage = {.options.sample_rate = -1};
    struct dwell_span span;
    struct dwell_track track;
    stage_open(&stage);
    dwell_span_start(stage.dwell, &span, "n", NULL);
    dwell_track_begin(&track, dwell_model(stage.dwell, "m"));
    dwell_track_end(&track, false);
    dwell_span_end(&span);
    must_flush(&stage, 2);
    const char *name = NULL;
    must_bear(server_sample(&stage.server, 0, &name), NULL);
    assert_false(server_span(&stage.server, 0)->has_flags); /* the daemon has the last word */
    stage_close(&stage);
}

/* ---- Sampling ---- */

/* Whether a trace with that low half is sampled. */
static bool is_sampled(dwell_t *dwell, uint64_t low)
{
    struct dwell_span span;
    struct dwell_context context = {.trace_id = {0xFF}, .span_id = {1}};
    context.flags = DWELL_CONTEXT_REMOTE; /* nobody has decided */
    for (int i = 0; i < 8; i++) {
        context.trace_id[15 - i] = (uint8_t)(low >> 8 * i);
    }
    struct dwell_span_options options = {
        .size = sizeof options, .parent = &context, .detached = true};
    dwell_span_start(dwell, &span, "n", &options);
    context = context_of(&span);
    assert_true((context.flags | DWELL_CONTEXT_SAMPLED) == DWELL_CONTEXT_SAMPLED);
    return context.flags == DWELL_CONTEXT_SAMPLED;
}

/* Traces below the bound are sampled, others are not. */
static void must_sample_below(double rate, uint64_t bound)
{
    struct dwell_options options = {
        .size = sizeof options, .directory = "/nowhere", .sample_rate = rate};
    dwell_t *dwell = dwell_open(&options);
    assert_non_null(dwell);
    assert_true(bound == 0 || is_sampled(dwell, bound - 1));
    assert_true(bound == 0 || is_sampled(dwell, 0));
    assert_false(is_sampled(dwell, bound));
    assert_false(is_sampled(dwell, UINT64_MAX));
    dwell_close(dwell);
}

static void must_sample_all(double rate)
{
    struct dwell_options options = {
        .size = sizeof options, .directory = "/nowhere", .sample_rate = rate};
    dwell_t *dwell = dwell_open(&options);
    assert_true(is_sampled(dwell, 0) && is_sampled(dwell, UINT64_MAX));
    dwell_close(dwell);
}

static void test_dwell_span_is_sampled_as_by_trace_id_ratio(void **state)
{
    (void)state;
    /* The bounds are those of Python: round(rate * 2 ** 64). */
    must_sample_below(0.5, UINT64_C(1) << 63);
    must_sample_below(0.1, 0x1999999999999a00);
    must_sample_below(1.0 / 3, 0x5555555555555400);
    must_sample_below(0.999999, 0xffffef39085f4800);
    must_sample_below(1e-19, 2);
    must_sample_below(2.710505431213761e-20, 0); /* half of one: to the even neighbour */
    must_sample_below(8.131516293641283e-20, 2); /* one and a half */
    must_sample_below(1.3552527156068805e-19, 2);
    must_sample_below(1e-20, 0);
    must_sample_below(-0.5, 0);
    must_sample_below(-INFINITY, 0);
    must_sample_all(1);
    must_sample_all(7);
    must_sample_all(0);
    must_sample_all(NAN);
}

static void test_dwell_span_is_sampled_as_the_environment_says(void **state)
{
    (void)state;
    static const struct {
        const char *sampler;
        const char *argument;
        uint64_t bound; /* 0: none, UINT64_MAX: all */
    } rows[] = {
        {"always_on", "0.5", UINT64_MAX},
        {"always_off", "0.5", 0},
        {"parentbased_always_on", NULL, UINT64_MAX},
        {"parentbased_always_off", NULL, 0},
        {"traceidratio", "0.5", UINT64_C(1) << 63},
        {"parentbased_traceidratio", "0.5", UINT64_C(1) << 63},
        {"parentbased_traceidratio", "5e-1", UINT64_C(1) << 63},
        {"parentbased_traceidratio", "0", 0},
        {"parentbased_traceidratio", "1", UINT64_MAX},
        {"parentbased_traceidratio", NULL, UINT64_MAX},
        {"parentbased_traceidratio", "", UINT64_MAX},
        {"parentbased_traceidratio", "1.5", UINT64_MAX},
        {"parentbased_traceidratio", "-0.5", UINT64_MAX},
        {"parentbased_traceidratio", "nan", UINT64_MAX},
        {"parentbased_traceidratio", "0.5x", UINT64_MAX},
        {"parentbased_traceidratio", "0,5", UINT64_MAX},
        {"jaeger_remote", "0.5", UINT64_MAX},
        {"", "0.5", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        setenv("OTEL_TRACES_SAMPLER", rows[i].sampler, 1);
        if (rows[i].argument != NULL) {
            setenv("OTEL_TRACES_SAMPLER_ARG", rows[i].argument, 1);
        }
        if (rows[i].bound == UINT64_MAX) {
            must_sample_all(0);
        } else {
            must_sample_below(0, rows[i].bound);
        }
        must_sample_below(0.5, UINT64_C(1) << 63); /* an option that is set wins */
        unsetenv("OTEL_TRACES_SAMPLER");
        unsetenv("OTEL_TRACES_SAMPLER_ARG");
    }
}

/* A decision from outside goes to the children, and to the daemon; our own only to the children. */
static void test_dwell_span_hands_decisions_on(void **state)
{
    (void)state;
    static const uint32_t decided = DWELL_CONTEXT_DECIDED;
    static const uint32_t sampled = DWELL_CONTEXT_SAMPLED;
    static const struct {
        uint32_t given;
        bool has_span;
        uint32_t inherited; /* of a client that would sample nothing */
    } rows[] = {
        {DWELL_CONTEXT_REMOTE, true, 0},
        {DWELL_CONTEXT_REMOTE | decided, true, decided},
        {DWELL_CONTEXT_REMOTE | decided | sampled, true, decided | sampled},
        {DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DEBUG, true, decided | sampled | DWELL_CONTEXT_DEBUG},
        {DWELL_CONTEXT_REMOTE | decided, false, decided},
        {DWELL_CONTEXT_REMOTE | decided | sampled, false, decided | sampled},
        {sampled, true, sampled}, /* of another thread's span */
        {0, true, 0},
        {0, false, 0},
        {1U << 31 | sampled, true, sampled}, /* no flag of ours */
    };
    struct stage stage = {.options.sample_rate = -1};
    size_t count = sizeof rows / sizeof rows[0];
    stage_open(&stage);
    for (size_t i = 0; i < count; i++) {
        struct dwell_span outer;
        struct dwell_span inner;
        struct dwell_context parent = remote;
        parent.flags = rows[i].given;
        memset(parent.span_id, rows[i].has_span ? 0xB0 : 0, 8);
        struct dwell_span_options options = {.size = sizeof options, .parent = &parent};
        dwell_span_start(stage.dwell, &outer, "outer", &options);
        dwell_span_start(stage.dwell, &inner, "inner", NULL);
        assert_int_equal(context_of(&outer).flags, rows[i].inherited);
        assert_int_equal(context_of(&inner).flags, rows[i].inherited);
        assert_string_equal(context_of(&inner).trace_state,
                            rows[i].has_span ? remote.trace_state : "");
        dwell_span_end(&inner);
        dwell_span_end(&outer);
    }
    must_flush(&stage, 2 * count);
    for (size_t i = 0; i < 2 * count; i++) {
        const Dwell__Span *came = server_span(&stage.server, i);
        uint32_t inherited = rows[i / 2].inherited;
        assert_int_equal(came->has_flags, (inherited & decided) != 0);
        assert_int_equal(came->flags, came->has_flags && (inherited & sampled) != 0 ? 1 : 0);
        assert_int_equal(came->has_parent_span_id, i % 2 == 0 || rows[i / 2].has_span);
        assert_true((came->trace_state != NULL) == rows[i / 2].has_span);
    }
    stage_close(&stage);
}

/* Who would sample everything does so where nobody has decided, here or elsewhere. */
static void test_dwell_span_decides_only_once(void **state)
{
    (void)state;
    static const struct {
        uint32_t given;
        bool has_span;
        bool sampled;
    } rows[] = {
        {0, true, false}, /* of a span of ours: that was the decision */
        {DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED, true, false},
        {DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED, false, false},
        {DWELL_CONTEXT_REMOTE, true, true},
        {0, false, true},
    };
    struct dwell_options options = {.size = sizeof options, .directory = "/nowhere"};
    dwell_t *dwell = dwell_open(&options);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dwell_span span;
        struct dwell_context parent = remote;
        parent.flags = rows[i].given;
        memset(parent.span_id, rows[i].has_span ? 0xB0 : 0, 8);
        struct dwell_span_options span_options = {.size = sizeof span_options, .parent = &parent};
        dwell_span_start(dwell, &span, "n", &span_options);
        assert_int_equal(context_of(&span).flags & DWELL_CONTEXT_SAMPLED, rows[i].sampled);
        dwell_span_end(&span);
    }
    dwell_close(dwell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_span_takes_null_for_everything),
        cmocka_unit_test(test_dwell_span_hands_a_context_on_without_a_handle),
        cmocka_unit_test(test_dwell_span_does_without_a_daemon),
        cmocka_unit_test(test_dwell_span_allocates_nothing),
        cmocka_unit_test(test_dwell_span_is_whole_with_every_default),
        cmocka_unit_test(test_dwell_span_takes_all_options),
        cmocka_unit_test(test_dwell_span_does_not_end_before_its_start),
        cmocka_unit_test(test_dwell_span_cuts_names_between_characters),
        cmocka_unit_test(test_dwell_span_sends_attributes_of_every_type),
        cmocka_unit_test(test_dwell_span_keeps_the_last_value_of_a_key),
        cmocka_unit_test(test_dwell_span_counts_attributes_that_are_none),
        cmocka_unit_test(test_dwell_span_adds_events_when_they_happen),
        cmocka_unit_test(test_dwell_span_status_goes_by_the_rules),
        cmocka_unit_test(test_dwell_span_records_an_exception_once),
        cmocka_unit_test(test_dwell_span_cuts_an_exception_to_the_room),
        cmocka_unit_test(test_dwell_span_exception_takes_the_place_of_an_error),
        cmocka_unit_test(test_dwell_span_has_limits_that_the_environment_lowers),
        cmocka_unit_test(test_dwell_span_limits_attributes_of_events_and_links),
        cmocka_unit_test(test_dwell_span_uses_all_of_its_room),
        cmocka_unit_test(test_dwell_span_keeps_its_context_without_the_memory),
        cmocka_unit_test(test_dwell_span_refuses_a_trace_state_that_no_header_takes),
        cmocka_unit_test(test_dwell_span_is_the_child_of_the_one_around_it),
        cmocka_unit_test(test_dwell_span_that_ends_leaves_those_within_it),
        cmocka_unit_test(test_dwell_span_may_be_copied),
        cmocka_unit_test(test_dwell_span_nests_64_deep),
        cmocka_unit_test(test_dwell_span_may_end_on_another_thread),
        cmocka_unit_test(test_dwell_span_frees_its_level_on_another_thread),
        cmocka_unit_test(test_dwell_span_of_a_thread_that_is_gone_concerns_no_other),
        cmocka_unit_test(test_dwell_span_is_never_current_past_threads_max),
        cmocka_unit_test(test_dwell_span_goes_around_between_threads),
        cmocka_unit_test(test_dwell_span_ids_are_all_different),
        cmocka_unit_test(test_dwell_span_ids_are_different_without_a_generator),
        cmocka_unit_test(test_dwell_span_ids_are_never_zero),
        cmocka_unit_test(test_dwell_span_ids_are_never_those_of_a_child),
        cmocka_unit_test(test_dwell_span_goes_on_as_parent_in_a_child),
        cmocka_unit_test(test_dwell_span_lanes_are_counted_right_in_a_child),
        cmocka_unit_test(test_dwell_span_lane_of_a_child_comes_back),
        cmocka_unit_test(test_dwell_span_comes_in_halves),
        cmocka_unit_test(test_dwell_span_is_whole_when_its_start_was_dropped),
        cmocka_unit_test(test_dwell_span_start_outlives_its_process),
        cmocka_unit_test(test_dwell_span_shows_in_samples_within_it),
        cmocka_unit_test(test_dwell_span_that_is_not_sampled_shows_nowhere),
        cmocka_unit_test(test_dwell_span_is_sampled_as_by_trace_id_ratio),
        cmocka_unit_test(test_dwell_span_is_sampled_as_the_environment_says),
        cmocka_unit_test(test_dwell_span_hands_decisions_on),
        cmocka_unit_test(test_dwell_span_decides_only_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
