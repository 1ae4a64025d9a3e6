/*
 * wire/budget_shape: a table of looks and of what is read by them; and lines of one look, with usual and
 * odd values, against the reading without it: the same records.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/ndjson.h"
#include "wire_random.h"
#include "wire_recorder.h"

enum { LINE_MAX_BYTES = 1024, LOOKS = 400, LINES = 100 };

#define HEAD  "{\"type\":\"budget\","
#define USUAL HEAD "\"layer\":\"l\",\"elapsed_ms\":1.5,\"operation\":\"o\"}"

/* After the first line, which is learned, the second is read in short or not. */
static const struct {
    const char *learned;
    const char *line;
    bool in_short;
} facts[] = {
    {USUAL, HEAD "\"layer\":\"layer3_policy\",\"elapsed_ms\":12.25,\"operation\":\"evaluate\"}",
     true},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":0,\"operation\":\"\"}", true},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":9999999.9999999,\"operation\":\"budget\"}", true},
    /* another look */
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":1.5}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":1.5,\"operation\":\"o\"} ", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\": 1.5,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"operation\":\"o\",\"elapsed_ms\":1.5}", false},
    {USUAL, "{\"layer\":\"l\",\"elapsed_ms\":1.5,\"operation\":\"o\",\"type\":\"budget\"}", false},
    /* values that are none, or not usual */
    {USUAL, HEAD "\"layer\":\"\",\"elapsed_ms\":1.5,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"a\\n\",\"elapsed_ms\":1.5,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":-1,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":01,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":1e3,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":null,\"operation\":\"o\"}", false},
    {USUAL, HEAD "\"layer\":\"l\",\"elapsed_ms\":1.5,\"operation\":null}", false},
    /* looks with blanks, another order, and what follows the object */
    {"\t{ \"elapsed_ms\" : 1.5 , \"type\" : \"budget\" , \"layer\" : \"l\" } \r",
     "\t{ \"elapsed_ms\" : 7 , \"type\" : \"budget\" , \"layer\" : \"m\" } \r", true},
    {"{\"layer\":\"l\",\"elapsed_ms\":1,\"type\":\"budget\"}",
     "{\"layer\":\"m\",\"elapsed_ms\":2,\"type\":\"budget\"}", true},
    {HEAD "\"request_id\":\"r\",\"layer\":\"l\",\"operation\":\"elapsed_ms\",\"elapsed_ms\":1}",
     HEAD "\"request_id\":\"s\",\"layer\":\"m\",\"operation\":\"elapsed_ms\",\"elapsed_ms\":2}",
     true},
    {HEAD "\"layer\":\"l\",\"elapsed_ms\":1,\"trace_id\":null}",
     HEAD "\"layer\":\"m\",\"elapsed_ms\":2,\"trace_id\":null}", true},
    /* what is not learned: a part of a value must never be compared, and a trace not forgotten */
    {HEAD "\"layer\":\"l\",\"elapsed_ms\":1e3}", HEAD "\"layer\":\"l\",\"elapsed_ms\":1e3}", false},
    {HEAD "\"layer\":\"\\u006c\",\"elapsed_ms\":1}", HEAD "\"layer\":\"l\",\"elapsed_ms\":1}",
     false},
    {HEAD "\"layer\":\"l\",\"elapsed_ms\":1,\"more\":1}",
     HEAD "\"layer\":\"l\",\"elapsed_ms\":1,\"more\":1}", false},
    {HEAD "\"layer\":\"l\",\"elapsed_ms\":1,\"sampled\":true}",
     HEAD "\"layer\":\"l\",\"elapsed_ms\":1,\"sampled\":true}", false},
    {HEAD "                      \"layer\":\"l\",\"elapsed_ms\":1}",
     HEAD "                      \"layer\":\"l\",\"elapsed_ms\":1}", true}, /* 48 bytes */
    {HEAD "                       \"layer\":\"l\",\"elapsed_ms\":1}",
     HEAD "                       \"layer\":\"l\",\"elapsed_ms\":1}", false}, /* 49 */
};

static void must_feed(struct ndjson *ndjson, struct recorder *recorder, struct str lines)
{
    assert_int_equal(ndjson_feed(ndjson, lines, &recorder->sink), 0);
    recorder_check(recorder);
}

static unsigned together; /* budgets that came in lots */
static unsigned (*take_lot)(void *ctx, const struct budget *budgets, unsigned count, int *errs);

static unsigned count_lot(void *ctx, const struct budget *budgets, unsigned count, int *errs)
{
    together += count;
    return take_lot(ctx, budgets, count, errs);
}

static void count_lots(struct recorder *recorder)
{
    recorder_init(recorder);
    together = 0;
    take_lot = recorder->sink.budgets;
    recorder->sink.budgets = count_lot;
}

static void test_budget_shape_reads_what_looks_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        char lines[LINE_MAX_BYTES];
        struct recorder recorder;
        struct ndjson ndjson;
        count_lots(&recorder);
        ndjson_init(&ndjson, LINE_MAX_BYTES);
        int len = snprintf(lines, sizeof lines, "%s\n%s\n", facts[i].learned, facts[i].line);
        must_feed(&ndjson, &recorder, (struct str){lines, (size_t)len});
        if (together != facts[i].in_short) {
            fail_msg("%s after %s", facts[i].line, facts[i].learned);
        }
        ndjson_fini(&ndjson);
        recorder_fini(&recorder);
    }
}

/* Random lines of one look. */

static struct wire_random dice;

static const char *pick(const char *const *words, size_t count)
{
    return words[wire_random_below(&dice, count)];
}
#define PICK(words) pick(words, sizeof(words) / sizeof(words)[0])

static const char *random_value(bool is_text)
{
    static const char *const texts[] = {
        "\"\"",         "\"a:b\"",     "\"a,b\"",        "\" \"",    "\"x\\\"y\"", "null",
        "\"\xc3\xa9\"", "\"\\u0000\"", "\"elapsed_ms\"", "\"type\"", "7",          "\"{}\""};
    static const char *const figures[] = {
        "0",    "-0",    "-1",       "01",    "1.",  ".5",        "1e3",   "1E-3", "1.5.5",
        "null", "\"1\"", "12345678", "1e999", "nan", "0.1234567", "1e300", "12.5", "3"};
    static const char *const usual_texts[] = {"\"layer1\"", "\"evaluate\"", "\"r-17\""};
    static const char *const usual_figures[] = {"1", "12.5", "0.001", "1234.5678"};
    bool odd = wire_random_below(&dice, 6) == 0;
    return is_text ? (odd ? PICK(texts) : PICK(usual_texts))
                   : (odd ? PICK(figures) : PICK(usual_figures));
}

/* Which keys, in which order: the type among them. */
struct look {
    unsigned count;
    unsigned order[6];
    const char *blank;
};

static struct look random_look(void)
{
    static const char *const blanks[] = {"", "", "", " ", "\t"};
    struct look look = {.count = 3 + (unsigned)wire_random_below(&dice, 4), .blank = PICK(blanks)};
    for (unsigned i = 0; i < look.count; i++) {
        look.order[i] = i;
    }
    for (unsigned i = look.count - 1; i > 0; i--) {
        unsigned j = (unsigned)wire_random_below(&dice, i + 1);
        unsigned swapped = look.order[i];
        look.order[i] = look.order[j];
        look.order[j] = swapped;
    }
    return look;
}

static size_t write_line(const struct look *look, char *out)
{
    static const char *const keys[] = {"type",      "layer",      "elapsed_ms",
                                       "operation", "request_id", "unknown"};
    size_t len = 0;
    for (unsigned i = 0; i < look->count; i++) {
        unsigned key = look->order[i];
        const char *value = key == 0 ? "\"budget\"" : random_value(key != 2);
        len += (size_t)snprintf(out + len, LINE_MAX_BYTES - len, "%s%s\"%s\"%s:%s%s", /* it fits */
                                i == 0 ? "{" : ",", look->blank, keys[key], look->blank,
                                look->blank, value);
    }
    return len + (size_t)snprintf(out + len, LINE_MAX_BYTES - len, "}\n");
}

static void test_budget_shape_reads_the_same_as_without(void **state)
{
    (void)state;
    struct recorder with;
    struct recorder without;
    size_t in_short = 0;
    dice = wire_random_start("test_budget_shape");
    recorder_init(&without);
    without.sink.budgets = NULL;
    for (unsigned i = 0; i < LOOKS; i++) {
        struct look look = random_look();
        struct ndjson ndjsons[2];
        count_lots(&with);
        ndjson_init(&ndjsons[0], LINE_MAX_BYTES);
        ndjson_init(&ndjsons[1], LINE_MAX_BYTES);
        recorder_clear(&without);
        for (unsigned n = 0; n < LINES; n++) {
            char line[LINE_MAX_BYTES];
            size_t len = write_line(&look, line);
            must_feed(&ndjsons[0], &with, (struct str){line, len});
            must_feed(&ndjsons[1], &without, (struct str){line, len});
            assert_string_equal(with.text, without.text);
        }
        in_short += together;
        ndjson_fini(&ndjsons[0]);
        ndjson_fini(&ndjsons[1]);
        recorder_fini(&with);
    }
    assert_true(in_short > LOOKS * LINES / 10); /* or it is not this that was tried */
    recorder_fini(&without);
}

/* Budgets and samples wait for one another, and more than go together are told by their own lines. */
static void test_budget_shape_keeps_the_order_of_lines(void **state)
{
    (void)state;
    struct recorder recorder;
    struct recorder singly;
    struct ndjson ndjson;
    static char input[1 << 16];
    size_t len = 0;
    for (unsigned line = 0; line < 5 * RECORD_BUDGETS_MAX; line++) {
        bool is_budget = line / 3 % 2 == 0 || line > 3 * RECORD_BUDGETS_MAX;
        len += (size_t)snprintf(input + len, sizeof input - len, "%s%u}\n", /* it fits */
                                is_budget ? HEAD "\"layer\":\"l\",\"elapsed_ms\":"
                                          : "{\"model_name\":\"m\",\"execution_time_ms\":",
                                line);
    }
    for (int refuse = 0; refuse < 2; refuse++) {
        count_lots(&recorder);
        recorder_init(&singly);
        singly.sink.budgets = NULL;
        singly.sink.briefs = NULL;
        recorder.refuse = singly.refuse = refuse == 0 ? 0 : -2;
        ndjson_init(&ndjson, LINE_MAX_BYTES);
        must_feed(&ndjson, &recorder, (struct str){input, len});
        ndjson_fini(&ndjson);
        ndjson_init(&ndjson, LINE_MAX_BYTES);
        must_feed(&ndjson, &singly, (struct str){input, len});
        ndjson_fini(&ndjson);
        assert_true(together > 2 * RECORD_BUDGETS_MAX);
        if (refuse == 0) {
            assert_string_equal(recorder.text, singly.text);
        }
        assert_int_equal(recorder.rejected, singly.rejected);
        assert_int_equal(recorder.accepted, singly.accepted);
        assert_non_null(
            strstr(recorder.text, refuse == 0 ? "budget \"l\" elapsed_ms=159\n" : "line=160\n"));
        recorder_fini(&recorder);
        recorder_fini(&singly);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_shape_reads_what_looks_the_same),
        cmocka_unit_test(test_budget_shape_reads_the_same_as_without),
        cmocka_unit_test(test_budget_shape_keeps_the_order_of_lines),
    };
    return cmocka_run_group_tests_name("budget_shape", tests, NULL, NULL);
}
