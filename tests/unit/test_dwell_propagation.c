/*
 * Contexts of spans in headers: tables of what the C client takes, what it refuses, and what it
 * writes, in the forms of B3 and of W3C Trace Context. No daemon is needed.
 */
#include "dwell.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define SHORT  "8448eb211c80319c"
#define PADDED "00000000000000008448eb211c80319c"
#define SPAN   "b7ad6b7169203331"
#define PARENT "05e3ac9a4f6e3b90"
#define ZERO16 "0000000000000000"

enum { HEADERS_MAX = 5, STATE_MAX = DWELL_TRACE_STATE_MAX };

enum {
    REMOTE = DWELL_CONTEXT_REMOTE,
    DROPPED = DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED,
    SAMPLED = DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED | DWELL_CONTEXT_SAMPLED,
    DEBUG =
        DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED | DWELL_CONTEXT_SAMPLED | DWELL_CONTEXT_DEBUG,
    B3 = DWELL_PROPAGATION_B3,
    MULTI = DWELL_PROPAGATION_B3_MULTI,
    W3C = DWELL_PROPAGATION_W3C,
    NONE = DWELL_PROPAGATION_NONE
};

/* Headers that were written, one after the other: "name: value\n". */
struct message {
    char text[2048];
};

static void write_header(void *arg, const char *name, const char *value)
{
    struct message *message = arg;
    size_t len = strlen(message->text);
    int more = snprintf(message->text + len, sizeof message->text - len, "%s: %s\n", name, value);
    assert_true(more > 0 && (size_t)more < sizeof message->text - len);
}

static void hex_of(const uint8_t *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

static bool extract(unsigned formats, const struct dwell_header *headers,
                    struct dwell_context *ret_context)
{
    struct dwell_headers list = {headers, 0};
    while (list.count < HEADERS_MAX && headers[list.count].name != NULL) {
        list.count++;
    }
    memset(ret_context, 0xAB, sizeof *ret_context);
    return dwell_extract(formats, dwell_header_find, &list, ret_context);
}

/* What is expected of a row: ids as text, NULL where there are none. */
static void must_extract(unsigned formats, const struct dwell_header *headers, const char *trace,
                         const char *span, uint32_t flags, const char *trace_state)
{
    struct dwell_context context;
    char text[33];
    bool good = extract(formats, headers, &context);
    assert_int_equal(good, flags != 0);
    hex_of(context.trace_id, 16, text);
    assert_string_equal(text, trace != NULL ? trace : ZERO16 ZERO16);
    hex_of(context.span_id, 8, text);
    assert_string_equal(text, span != NULL ? span : ZERO16);
    assert_int_equal(context.flags, flags);
    assert_string_equal(context.trace_state, trace_state);
}

/* ---- Extraction ---- */

static void test_dwell_propagation_reads_b3(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        const char *trace; /* NULL: none, a decision alone */
        const char *span;
        uint32_t flags; /* 0: not good */
    } rows[] = {
        {TRACE "-" SPAN, TRACE, SPAN, REMOTE}, /* the decision is deferred */
        {TRACE "-" SPAN "-0", TRACE, SPAN, DROPPED},
        {TRACE "-" SPAN "-1", TRACE, SPAN, SAMPLED},
        {TRACE "-" SPAN "-d", TRACE, SPAN, DEBUG},
        {TRACE "-" SPAN "-1-" PARENT, TRACE, SPAN, SAMPLED},
        {SHORT "-" SPAN "-1", PADDED, SPAN, SAMPLED},
        {ZERO16 SHORT "-" SPAN "-1", PADDED, SPAN, SAMPLED},
        {"0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-1", TRACE, SPAN, SAMPLED},
        {"0", NULL, NULL, DROPPED},
        {"1", NULL, NULL, SAMPLED},
        {"d", NULL, NULL, DEBUG},
        {"", NULL, NULL, 0},
        {"2", NULL, NULL, 0},
        {"-", NULL, NULL, 0},
        {"D", NULL, NULL, 0},
        {"01", NULL, NULL, 0},
        {TRACE, NULL, NULL, 0},
        {TRACE "-", NULL, NULL, 0},
        {"-" SPAN "-1", NULL, NULL, 0},
        {TRACE "-" SPAN "-", NULL, NULL, 0},
        {TRACE "-" SPAN "-2", NULL, NULL, 0},
        {TRACE "-" SPAN "-11", NULL, NULL, 0},
        {TRACE "-" SPAN "1", NULL, NULL, 0},
        {TRACE "-" SPAN "-1-", NULL, NULL, 0},
        {TRACE "-" SPAN "-1-" PARENT "0", NULL, NULL, 0},
        {TRACE "-" SPAN "-1-05e3ac9a4f6e3b9", NULL, NULL, 0},
        {TRACE "-" SPAN "-" PARENT, NULL, NULL, 0},
        {TRACE "-b7ad6b716920333-1", NULL, NULL, 0},
        {TRACE "-" SPAN "0-1", NULL, NULL, 0},
        {TRACE "0-" SPAN "-1", NULL, NULL, 0},
        {"0af7651916cd43dd8448eb211c80319-" SPAN "-1", NULL, NULL, 0},
        {"8448eb211c80319-" SPAN "-1", NULL, NULL, 0},
        {"8448eb211c80319cd-" SPAN "-1", NULL, NULL, 0},
        {"0af7651916cd43dd8448eb211c80319g-" SPAN "-1", NULL, NULL, 0},
        {TRACE "-b7ad6b716920333g-1", NULL, NULL, 0},
        {ZERO16 ZERO16 "-" SPAN "-1", NULL, NULL, 0},
        {ZERO16 "-" SPAN "-1", NULL, NULL, 0},
        {TRACE "-" ZERO16 "-1", NULL, NULL, 0},
        {" " TRACE "-" SPAN "-1", NULL, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct dwell_header headers[HEADERS_MAX] = {{"b3", rows[i].value}};
        must_extract(B3, headers, rows[i].trace, rows[i].span, rows[i].flags, "");
        must_extract(MULTI, headers, rows[i].trace, rows[i].span, rows[i].flags, "");
        must_extract(W3C, headers, NULL, NULL, 0, "");
        must_extract(NONE, headers, NULL, NULL, 0, "");
    }
}

static void test_dwell_propagation_reads_b3_of_several_headers(void **state)
{
    (void)state;
    static const struct {
        const char *trace_header; /* NULL: not there */
        const char *span_header;
        const char *sampled;
        const char *debug;
        const char *trace;
        const char *span;
        uint32_t flags;
    } rows[] = {
        {TRACE, SPAN, NULL, NULL, TRACE, SPAN, REMOTE},
        {TRACE, SPAN, "0", NULL, TRACE, SPAN, DROPPED},
        {TRACE, SPAN, "1", NULL, TRACE, SPAN, SAMPLED},
        {TRACE, SPAN, "true", NULL, TRACE, SPAN, SAMPLED},
        {TRACE, SPAN, "False", NULL, TRACE, SPAN, DROPPED},
        {TRACE, SPAN, "yes", NULL, TRACE, SPAN, REMOTE},
        {TRACE, SPAN, "", NULL, TRACE, SPAN, REMOTE},
        {TRACE, SPAN, "d", NULL, TRACE, SPAN, REMOTE},
        {TRACE, SPAN, NULL, "1", TRACE, SPAN, DEBUG},
        {TRACE, SPAN, "0", "1", TRACE, SPAN, DEBUG},
        {TRACE, SPAN, "0", "0", TRACE, SPAN, DROPPED},
        {TRACE, SPAN, NULL, "11", TRACE, SPAN, REMOTE},
        {SHORT, SPAN, "1", NULL, PADDED, SPAN, SAMPLED},
        {NULL, NULL, "0", NULL, NULL, NULL, DROPPED},
        {NULL, NULL, "1", NULL, NULL, NULL, SAMPLED},
        {NULL, NULL, NULL, "1", NULL, NULL, DEBUG},
        {NULL, NULL, NULL, NULL, NULL, NULL, 0},
        {TRACE, NULL, NULL, NULL, NULL, NULL, 0},
        {NULL, SPAN, NULL, NULL, NULL, NULL, 0},
        {TRACE, SPAN "0", NULL, NULL, NULL, NULL, 0},
        {TRACE, "b7ad6b716920333", NULL, NULL, NULL, NULL, 0},
        {TRACE "0", SPAN, NULL, NULL, NULL, NULL, 0},
        {"", SPAN, NULL, NULL, NULL, NULL, 0},
        {ZERO16 ZERO16, SPAN, NULL, NULL, NULL, NULL, 0},
        {TRACE, ZERO16, NULL, NULL, NULL, NULL, 0},
        {TRACE, ZERO16, "0", NULL, NULL, NULL, DROPPED}, /* the decision is good all the same */
    };
    static const char *const names[][4] = {
        {"X-B3-TraceId", "X-B3-SpanId", "X-B3-Sampled", "X-B3-Flags"},
        {"x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"},
        {"X-B3-TRACEID", "X-b3-SpanID", "x-B3-Sampled", "X-B3-FLAGS"},
    };
    for (size_t i = 0; i < 3 * sizeof rows / sizeof rows[0]; i++) {
        const char *const values[] = {rows[i / 3].trace_header, rows[i / 3].span_header,
                                      rows[i / 3].sampled, rows[i / 3].debug};
        struct dwell_header headers[HEADERS_MAX] = {{"X-B3-ParentSpanId", PARENT}};
        for (size_t j = 0, at = 1; j < 4; j++) {
            if (values[j] != NULL) {
                headers[at++] = (struct dwell_header){names[i % 3][j], values[j]};
            }
        }
        must_extract(B3, headers, rows[i / 3].trace, rows[i / 3].span, rows[i / 3].flags, "");
        must_extract(MULTI, headers, rows[i / 3].trace, rows[i / 3].span, rows[i / 3].flags, "");
    }
}

static void test_dwell_propagation_reads_traceparent(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint32_t flags; /* 0: not good */
    } rows[] = {
        {"00-" TRACE "-" SPAN "-01", SAMPLED},
        {"00-" TRACE "-" SPAN "-00", DROPPED},
        {"00-" TRACE "-" SPAN "-03", SAMPLED},
        {"00-" TRACE "-" SPAN "-fe", DROPPED},
        {"01-" TRACE "-" SPAN "-01", SAMPLED},
        {"fe-" TRACE "-" SPAN "-01-what-comes", SAMPLED},
        {"cc-" TRACE "-" SPAN "-01-", SAMPLED},
        {"cc-" TRACE "-" SPAN "-01.", 0},
        {"cc-" TRACE "-" SPAN "-011", 0},
        {"00-" TRACE "-" SPAN "-01-more", 0},
        {"00-" TRACE "-" SPAN "-01-", 0},
        {"00-" TRACE "-" SPAN "-01 ", 0},
        {"00-" TRACE "-" SPAN "-0", 0},
        {"00-" TRACE "-" SPAN "-", 0},
        {"00-" TRACE "-" SPAN "", 0},
        {"", 0},
        {"ff-" TRACE "-" SPAN "-01", 0},
        {"0f-" TRACE "-" SPAN "-01", SAMPLED},
        {"0g-" TRACE "-" SPAN "-01", 0},
        {"0F-" TRACE "-" SPAN "-01", 0},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", 0},
        {"00-" TRACE "-B7AD6B7169203331-01", 0},
        {"00-" TRACE "-" SPAN "-0A", 0},
        {"00-" ZERO16 ZERO16 "-" SPAN "-01", 0},
        {"00-" TRACE "-" ZERO16 "-01", 0},
        {"00-0af7651916cd43dd8448eb211c80319g-" SPAN "-01", 0},
        {"00-" TRACE "-b7ad6b716920333.-01", 0},
        {"00_" TRACE "-" SPAN "-01", 0},
        {"00-" TRACE "_" SPAN "-01", 0},
        {"00-" TRACE "-" SPAN "_01", 0},
        {" 00-" TRACE "-" SPAN "-01", 0},
    };
    static const char *const names[][2] = {{"traceparent", "tracestate"},
                                           {"Traceparent", "TraceState"},
                                           {"TRACEPARENT", "TRACESTATE"}};
    for (size_t i = 0; i < 3 * sizeof rows / sizeof rows[0]; i++) {
        const char *trace = rows[i / 3].flags != 0 ? TRACE : NULL;
        const char *span = rows[i / 3].flags != 0 ? SPAN : NULL;
        const struct dwell_header headers[HEADERS_MAX] = {{names[i % 3][1], "a=1,b=2"},
                                                          {names[i % 3][0], rows[i / 3].value}};
        must_extract(W3C, headers, trace, span, rows[i / 3].flags,
                     rows[i / 3].flags != 0 ? "a=1,b=2" : "");
        must_extract(W3C, headers + 1, trace, span, rows[i / 3].flags, "");
        must_extract(B3 | MULTI, headers, NULL, NULL, 0, "");
    }
}

/* A member "kkk…=v" of so many bytes. */
static char *member_put(char *out, size_t bytes)
{
    memset(out, 'k', bytes - 2);
    memcpy(out + bytes - 2, "=v", 2);
    return out + bytes;
}

static void test_dwell_propagation_bounds_tracestate(void **state)
{
    (void)state;
    char text[2 * STATE_MAX];
    char kept[2 * STATE_MAX];
    const struct {
        size_t first; /* bytes of two members with a comma between them */
        size_t second;
        size_t kept;
    } rows[] = {
        {300, STATE_MAX - 301, STATE_MAX}, /* as long as may be */
        {300, STATE_MAX - 300, 300},       /* one byte too long: without its last member */
        {STATE_MAX, 3, STATE_MAX},
        {STATE_MAX + 1, 3, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *end = member_put(text, rows[i].first);
        *end++ = ',';
        *member_put(end, rows[i].second) = '\0';
        memcpy(kept, text, rows[i].kept);
        kept[rows[i].kept] = '\0';
        const struct dwell_header headers[HEADERS_MAX] = {
            {"traceparent", "00-" TRACE "-" SPAN "-01"}, {"tracestate", text}};
        must_extract(W3C, headers, TRACE, SPAN, SAMPLED, kept);
    }
    static const struct {
        const char *value;
        const char *kept;
    } forms[] = {
        {" \ta=1 , b=2\t ", "a=1 , b=2"},
        {"", ""},
        {"  ", ""},
        {"a=1\nb: 2", ""}, /* which would be another header */
        {"a=\x7F", ""},
        {"a=\xC3\xA4", ""},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const struct dwell_header headers[HEADERS_MAX] = {
            {"traceparent", "00-" TRACE "-" SPAN "-01"}, {"tracestate", forms[i].value}};
        must_extract(W3C, headers, TRACE, SPAN, SAMPLED, forms[i].kept);
    }
}

static void test_dwell_propagation_prefers_one_form_to_another(void **state)
{
    (void)state;
    const struct dwell_header all[HEADERS_MAX] = {
        {"X-B3-TraceId", SHORT},
        {"X-B3-SpanId", SPAN},
        {"b3", TRACE "-" PARENT "-0"},
        {"traceparent", "00-" TRACE "-" SPAN "-01"},
    };
    must_extract(B3, all, TRACE, PARENT, DROPPED, "");
    must_extract(MULTI, all, TRACE, PARENT, DROPPED, "");
    must_extract(W3C, all, TRACE, SPAN, SAMPLED, "");
    must_extract(W3C | B3, all, TRACE, SPAN, SAMPLED, "");
    must_extract(W3C | B3 | NONE, all, TRACE, SPAN, SAMPLED, "");
    const struct dwell_header worse[HEADERS_MAX] = {
        {"X-B3-TraceId", SHORT},     {"X-B3-SpanId", SPAN}, {"b3", "nonsense"},
        {"traceparent", "nonsense"}, {"tracestate", "a=1"},
    };
    must_extract(W3C | B3, worse, PADDED, SPAN, REMOTE, "");
    const struct dwell_header refused[HEADERS_MAX] = {
        {"b3", "0"}, {"X-B3-TraceId", TRACE}, {"X-B3-SpanId", SPAN}, {"X-B3-Sampled", "1"}};
    must_extract(B3, refused, NULL, NULL, DROPPED, "");
}

/* Whatever comes of a damaged header, ids are whole or not there. The text is in memory of just its
 * size, so that a sanitizer sees who reads past it. */
static void must_survive(const char *name, const char *value, size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    memcpy(text, value, len);
    text[len] = '\0';
    const struct dwell_header headers[HEADERS_MAX] = {{name, text},
                                                      {"X-B3-TraceId", TRACE},
                                                      {"X-B3-SpanId", SPAN},
                                                      {"traceparent", "00-" TRACE "-" SPAN "-01"}};
    static const uint8_t zero[16];
    struct dwell_context context;
    for (unsigned formats = 1; formats < NONE; formats++) {
        bool good = extract(formats, headers, &context);
        bool has_trace = memcmp(context.trace_id, zero, 16) != 0;
        assert_int_equal(has_trace, memcmp(context.span_id, zero, 8) != 0);
        assert_true(good ? (context.flags & REMOTE) != 0 : context.flags == 0 && !has_trace);
        assert_true(strlen(context.trace_state) <= STATE_MAX);
    }
    free(text);
}

static void test_dwell_propagation_survives_damage(void **state)
{
    (void)state;
    static const struct dwell_header good[] = {
        {"b3", TRACE "-" SPAN "-1-" PARENT},
        {"X-B3-TraceId", TRACE},
        {"X-B3-SpanId", SPAN},
        {"X-B3-Sampled", "true"},
        {"X-B3-Flags", "1"},
        {"traceparent", "00-" TRACE "-" SPAN "-01"},
        {"tracestate", "a=1,b=2"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t len = strlen(good[i].value);
        for (size_t cut = 0; cut <= len; cut++) {
            must_survive(good[i].name, good[i].value, cut);
        }
        for (size_t bit = 0; bit < 8 * len; bit++) {
            char text[128];
            memcpy(text, good[i].value, len);
            text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
            must_survive(good[i].name, text, strnlen(text, len));
        }
    }
}

/* A table that knows names in one spelling only. */
static const char *find_exactly(void *arg, const char *name)
{
    const struct dwell_headers *headers = arg;
    for (size_t i = 0; i < headers->count; i++) {
        if (strcmp(headers->header[i].name, name) == 0) {
            return headers->header[i].value;
        }
    }
    return NULL;
}

static void test_dwell_propagation_asks_in_two_spellings(void **state)
{
    (void)state;
    const struct dwell_header usual[] = {{"X-B3-TraceId", TRACE}, {"X-B3-SpanId", SPAN}};
    const struct dwell_header small[] = {{"x-b3-traceid", TRACE}, {"x-b3-spanid", SPAN}};
    struct dwell_headers headers = {usual, 2};
    struct dwell_context context;
    assert_true(dwell_extract(B3, find_exactly, &headers, &context));
    headers.header = small;
    assert_true(dwell_extract(B3, find_exactly, &headers, &context));
    headers.count = 0;
    assert_false(dwell_extract(B3, find_exactly, &headers, &context));
}

static void test_dwell_propagation_finds_headers(void **state)
{
    (void)state;
    const struct dwell_header header[] = {
        {NULL, "x"}, {"Content-Type", "first"}, {"content-type", "second"}, {"empty", NULL}};
    struct dwell_headers headers = {header, 4};
    assert_string_equal(dwell_header_find(&headers, "CONTENT-TYPE"), "first");
    assert_null(dwell_header_find(&headers, "content-typ"));
    assert_null(dwell_header_find(&headers, "content-type2"));
    assert_null(dwell_header_find(&headers, "empty"));
    assert_null(dwell_header_find(&headers, NULL));
    assert_null(dwell_header_find(NULL, "b3"));
}

/* ---- Injection ---- */

static struct dwell_context context_with(uint32_t flags)
{
    struct dwell_context context;
    const struct dwell_header headers[HEADERS_MAX] = {{"b3", TRACE "-" SPAN}};
    assert_true(extract(B3, headers, &context));
    context.flags = flags;
    memcpy(context.trace_state, "a=1", 4);
    return context;
}

static void must_inject(const struct dwell_context *context, unsigned formats, const char *text)
{
    struct message message = {.text = ""};
    dwell_inject(NULL, context, formats, write_header, &message);
    assert_string_equal(message.text, text);
}

static void test_dwell_propagation_writes_every_form(void **state)
{
    (void)state;
    static const struct {
        uint32_t flags;
        const char *b3;
        const char *multi;
        const char *w3c;
    } rows[] = {
        {0, "-0", "X-B3-Sampled: 0\n", "00"}, /* of a span of ours */
        {DWELL_CONTEXT_SAMPLED, "-1", "X-B3-Sampled: 1\n", "01"},
        {DROPPED, "-0", "X-B3-Sampled: 0\n", "00"},
        {SAMPLED, "-1", "X-B3-Sampled: 1\n", "01"},
        {DEBUG, "-d", "X-B3-Flags: 1\n", "01"},
        {DWELL_CONTEXT_DEBUG, "-d", "X-B3-Flags: 1\n", "01"},
        {REMOTE, "", "", "01"}, /* deferred, for which W3C has no word */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dwell_context context = context_with(rows[i].flags);
        char b3[256];
        char multi[256];
        char w3c[256];
        char all[800];
        snprintf(b3, sizeof b3, "b3: " TRACE "-" SPAN "%s\n", rows[i].b3);
        snprintf(multi, sizeof multi, "X-B3-TraceId: " TRACE "\nX-B3-SpanId: " SPAN "\n%s",
                 rows[i].multi);
        snprintf(w3c, sizeof w3c, "traceparent: 00-" TRACE "-" SPAN "-%s\ntracestate: a=1\n",
                 rows[i].w3c);
        snprintf(all, sizeof all, "%s%s%s", w3c, b3, multi);
        must_inject(&context, B3, b3);
        must_inject(&context, MULTI, multi);
        must_inject(&context, W3C, w3c);
        must_inject(&context, B3 | MULTI | W3C, all);
        must_inject(&context, NONE, "");
        must_inject(&context, DWELL_PROPAGATION_DEFAULT, b3);
    }
}

static void test_dwell_propagation_writes_decisions_without_a_span(void **state)
{
    (void)state;
    static const struct {
        uint32_t flags;
        const char *b3;
        const char *multi;
    } rows[] = {
        {DROPPED, "b3: 0\n", "X-B3-Sampled: 0\n"},
        {SAMPLED, "b3: 1\n", "X-B3-Sampled: 1\n"},
        {DEBUG, "b3: d\n", "X-B3-Flags: 1\n"},
        {REMOTE, "", ""},
        {0, "", ""},
        {DWELL_CONTEXT_SAMPLED, "", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dwell_context context = {.flags = rows[i].flags, .trace_state = "a=1"};
        must_inject(&context, B3, rows[i].b3);
        must_inject(&context, MULTI, rows[i].multi);
        must_inject(&context, W3C, "");
    }
    must_inject(NULL, B3 | MULTI | W3C, "");
    dwell_inject(NULL, NULL, B3, NULL, NULL);
}

static void test_dwell_propagation_writes_no_trace_state_that_is_none(void **state)
{
    (void)state;
    struct dwell_context context = context_with(SAMPLED);
    memcpy(context.trace_state, "a=1\r\nx: y", 10);
    must_inject(&context, W3C, "traceparent: 00-" TRACE "-" SPAN "-01\n");
    memset(context.trace_state, 'x', sizeof context.trace_state); /* and no end */
    must_inject(&context, W3C, "traceparent: 00-" TRACE "-" SPAN "-01\n");
}

static const char *find_in_message(void *arg, const char *name)
{
    static char value[1024];
    const struct message *message = arg;
    size_t len = strlen(name);
    for (const char *line = message->text; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)strcspn(line + len + 2, "\n"),
                     line + len + 2);
            return value; /* gone with the next call */
        }
    }
    return NULL;
}

static void test_dwell_propagation_reads_what_it_writes(void **state)
{
    (void)state;
    static const uint32_t flags[] = {REMOTE, DROPPED, SAMPLED, DEBUG};
    static const unsigned formats[] = {B3, MULTI, W3C};
    for (size_t i = 0; i < 12; i++) {
        unsigned format = formats[i % 3];
        struct dwell_context context = context_with(flags[i / 3]);
        struct dwell_context came;
        struct message message = {.text = ""};
        memset(context.trace_state, 'x', STATE_MAX);
        context.trace_state[STATE_MAX] = '\0';
        if (format != W3C) {
            context.trace_state[0] = '\0'; /* B3 has none */
        } else if (context.flags == REMOTE || context.flags == DEBUG) {
            context.flags = SAMPLED;
        }
        dwell_inject(NULL, &context, format, write_header, &message);
        assert_true(dwell_extract(format, find_in_message, &message, &came));
        assert_memory_equal(came.trace_id, context.trace_id, 16);
        assert_memory_equal(came.span_id, context.span_id, 8);
        assert_int_equal(came.flags, context.flags);
        assert_string_equal(came.trace_state, context.trace_state);
    }
}

/* ---- With a handle ---- */

static void test_dwell_propagation_writes_the_current_span(void **state)
{
    (void)state;
    struct dwell_options options = {
        .size = sizeof options, .directory = "/nowhere", .sample_rate = -1};
    struct dwell_span span;
    struct message message = {.text = ""};
    struct dwell_context came;
    struct dwell_context current;
    dwell_t *dwell = dwell_open(&options);
    assert_non_null(dwell);
    dwell_inject(dwell, NULL, B3, write_header, &message);
    assert_string_equal(message.text, "");
    dwell_span_start(dwell, &span, "n", NULL);
    dwell_inject(dwell, NULL, B3 | W3C, write_header, &message);
    assert_true(dwell_span_current(dwell, &current));
    assert_true(dwell_extract(B3, find_in_message, &message, &came));
    assert_memory_equal(came.trace_id, current.trace_id, 16);
    assert_memory_equal(came.span_id, current.span_id, 8);
    assert_int_equal(came.flags, DROPPED); /* by our share of none */
    assert_true(dwell_extract(W3C, find_in_message, &message, &came));
    assert_int_equal(came.flags, DROPPED);
    dwell_span_end(&span);

    /* What B3 leaves open is decided for W3C by the share, which is none. */
    struct dwell_context deferred = context_with(REMOTE);
    memset(&message, 0, sizeof message);
    dwell_inject(dwell, &deferred, W3C, write_header, &message);
    assert_string_equal(message.text, "traceparent: 00-" TRACE "-" SPAN "-00\ntracestate: a=1\n");
    dwell_close(dwell);
}

static void must_default_to(const char *propagators, const char *disabled, unsigned formats)
{
    struct dwell_context context = context_with(SAMPLED);
    struct message wanted = {.text = ""};
    if (propagators != NULL) {
        setenv("OTEL_PROPAGATORS", propagators, 1);
    }
    setenv("DWELL_DISABLED", disabled, 1);
    dwell_close(dwell_open(
        &(struct dwell_options){.size = sizeof(struct dwell_options), .directory = "/nowhere"}));
    unsetenv("OTEL_PROPAGATORS");
    unsetenv("DWELL_DISABLED");
    dwell_inject(NULL, &context, formats, write_header, &wanted);
    must_inject(&context, DWELL_PROPAGATION_DEFAULT, wanted.text);
    must_inject(&context, 1U << 20, wanted.text); /* no format that we know */

    const struct dwell_header headers[HEADERS_MAX] = {
        {"b3", TRACE "-" SPAN "-1"}, {"traceparent", "00-" TRACE "-" PARENT "-00"}};
    struct dwell_context came;
    struct dwell_context by_default;
    assert_int_equal(extract(formats, headers, &came), extract(0, headers, &by_default));
    assert_memory_equal(&came, &by_default, offsetof(struct dwell_context, trace_state));
}

static void test_dwell_propagation_goes_by_the_environment(void **state)
{
    (void)state;
    static const struct {
        const char *propagators;
        unsigned formats;
    } rows[] = {
        {"tracecontext", W3C},
        {"b3multi", MULTI},
        {"none", NONE},
        {"b3", B3},
        {"tracecontext,baggage", W3C},
        {" b3 , tracecontext ", B3 | W3C},
        {"none,b3", B3},
        {",,b3multi,,", MULTI},
        {"", B3},
        {"baggage", B3},
        {"B3multi", B3},
        {"b3mult", B3},
        {NULL, B3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        must_default_to("none", "0", NONE); /* so that the next one shows */
        must_default_to(rows[i].propagators, "0", rows[i].formats);
        must_default_to("none", "0", NONE);
        must_default_to(rows[i].propagators, "1", rows[i].formats);
    }
}

static void test_dwell_propagation_takes_null(void **state)
{
    (void)state;
    struct dwell_context context;
    struct dwell_headers headers = {NULL, 0};
    memset(&context, 0xAB, sizeof context);
    assert_false(dwell_extract(B3, NULL, NULL, &context));
    assert_int_equal(context.flags, 0);
    assert_false(dwell_extract(B3, dwell_header_find, NULL, &context));
    assert_false(dwell_extract(B3, dwell_header_find, &headers, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_propagation_reads_b3),
        cmocka_unit_test(test_dwell_propagation_reads_b3_of_several_headers),
        cmocka_unit_test(test_dwell_propagation_reads_traceparent),
        cmocka_unit_test(test_dwell_propagation_bounds_tracestate),
        cmocka_unit_test(test_dwell_propagation_prefers_one_form_to_another),
        cmocka_unit_test(test_dwell_propagation_survives_damage),
        cmocka_unit_test(test_dwell_propagation_asks_in_two_spellings),
        cmocka_unit_test(test_dwell_propagation_finds_headers),
        cmocka_unit_test(test_dwell_propagation_writes_every_form),
        cmocka_unit_test(test_dwell_propagation_writes_decisions_without_a_span),
        cmocka_unit_test(test_dwell_propagation_writes_no_trace_state_that_is_none),
        cmocka_unit_test(test_dwell_propagation_reads_what_it_writes),
        cmocka_unit_test(test_dwell_propagation_writes_the_current_span),
        cmocka_unit_test(test_dwell_propagation_goes_by_the_environment),
        cmocka_unit_test(test_dwell_propagation_takes_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
