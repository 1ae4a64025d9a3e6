/*
 * wire/line_shape: a table of looks and of what is read by them; and lines of one look, with usual and
 * odd values, against the reading without it: the same records.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/line.h"
#include "wire_random.h"
#include "wire_recorder.h"

enum { LINE_MAX_BYTES = 1024, LOOKS = 400, LINES = 100 };

static const char usual[] =
    "{\"model_name\":\"m\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80}";

struct fact {
    const char *learned;
    const char *line;
    bool read;
};

static const struct fact facts[] = {
    {usual, "{\"model_name\":\"resnet50\",\"execution_time_ms\":12.25,\"cpu_percent_during\":7}",
     true},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":0,\"cpu_percent_during\":0.5}", true},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":9999999.9999999,\"cpu_percent_during\":1}",
     true},
    /* another look */
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1.5}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80} ", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80}}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\": 1.5,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"cpu_percent_during\":80,\"execution_time_ms\":1.5}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80", false},
    {usual, "{\"model_name\":\"m", false},
    {usual, "", false},
    /* values that are none, or not usual */
    {usual, "{\"model_name\":\"\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"a\\n\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"\xc3\xa9\",\"execution_time_ms\":1.5,\"cpu_percent_during\":80}",
     false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":-1,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":01,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1e3,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1.5.5,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":1.,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":12345678,\"cpu_percent_during\":80}",
     false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":null,\"cpu_percent_during\":80}", false},
    {usual, "{\"model_name\":\"m\",\"execution_time_ms\":\"1.5\",\"cpu_percent_during\":80}",
     false},
    /* looks with blanks, another order, and what follows the object */
    {"\t{ \"execution_time_ms\" : 1.5 , \"model_name\" : \"m\" } \r",
     "\t{ \"execution_time_ms\" : 7 , \"model_name\" : \"n\" } \r", true},
    {"{\"execution_time_ms\":1,\"model_name\":\"a:b,\\\\c\"}",
     "{\"execution_time_ms\":1,\"model_name\":\"n\"}", true},
    /* what is not learned: a part of a value must never be compared */
    {"{\"model_name\":\"m\",\"execution_time_ms\":1e3}",
     "{\"model_name\":\"m\",\"execution_time_ms\":5e3}", false},
    {"{\"model_name\":\"m\",\"execution_time_ms\":1.5E-3}",
     "{\"model_name\":\"m\",\"execution_time_ms\":1.5E-3}", false},
    {"{\"model_name\":\"m\",\"execution_time_ms\":1,\"device\":null}",
     "{\"model_name\":\"m\",\"execution_time_ms\":1,\"device\":null}", false},
    {"{\"model_name\":\"m\",\"execution_time_ms\":1,\"memory_mb_after\":null}",
     "{\"model_name\":\"m\",\"execution_time_ms\":1,\"memory_mb_after\":null}", false},
    {"{                                         \"model_name\":\"m\",\"execution_time_ms\":1}",
     "{                                         \"model_name\":\"m\",\"execution_time_ms\":1}",
     false},
};

/* A copy that ends with its newline, so that reading past it shows. */
static char *line_of(const char *text, const char **ret_newline)
{
    size_t len = strlen(text);
    char *line = malloc(len + 1);
    assert_non_null(line);
    memcpy(line, text, len);
    line[len] = '\n';
    *ret_newline = line + len;
    return line;
}

static void test_line_shape_reads_what_looks_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct line_shape shape = {.count = 0};
        struct brief brief;
        const char *newline;
        char *learned = line_of(facts[i].learned, &newline);
        line_shape_learn(&shape, learned, newline);
        free(learned);
        char *line = line_of(facts[i].line, &newline);
        if (line_shape_read(&shape, line, newline, &brief) != facts[i].read) {
            fail_msg("%s after %s", facts[i].line, facts[i].learned);
        }
        free(line);
    }
}

static void test_line_shape_without_one_reads_nothing(void **state)
{
    (void)state;
    struct line_shape shape = {.count = 0};
    struct brief brief;
    const char *newline;
    char *line = line_of("", &newline);
    assert_false(line_shape_read(&shape, line, newline, &brief));
    free(line);
}

/* Random lines of one look. */

static struct wire_random dice;

static const char *pick(const char *const *words, size_t count)
{
    return words[wire_random_below(&dice, count)];
}
#define PICK(words) pick(words, sizeof(words) / sizeof(words)[0])

static const char *random_name(void)
{
    static const char *const names[] = {
        "m",      "resnet50", "a:b", "a,b",     "{}", " ",
        "x\\\"y", "\xc3\xa9", "",    "\\u0000", "é",  "model with a name of more than forty bytes"};
    return wire_random_below(&dice, 4) > 0 ? "bert" : PICK(names);
}

static void random_figure(char out[32])
{
    static const char *const odd[] = {
        "0",    "-0",    "-1",       "01",    "1.",  ".5",    "1e3",       "1E-3",      "1.5.5",
        "null", "\"1\"", "12345678", "1e999", "nan", "1e300", "0.1234567", "0.12345678"};
    if (wire_random_below(&dice, 4) == 0) {
        (void)snprintf(out, 32, "%s", PICK(odd)); /* fits */
    } else {
        (void)snprintf(out, 32, "%u.%u", (unsigned)wire_random_below(&dice, 2000), /* fits */
                       (unsigned)wire_random_below(&dice, 100000));
    }
}

struct look {
    unsigned count;
    unsigned order[LINE_SHAPE_VALUES];
    const char *blank[4];
};

static struct look random_look(void)
{
    static const char *const blanks[] = {"", "", "", " ", "\t", "  "};
    struct look look = {.count = 2 + (unsigned)wire_random_below(&dice, 3)};
    for (unsigned i = 0; i < LINE_SHAPE_VALUES; i++) {
        look.order[i] = i;
        look.blank[i] = PICK(blanks);
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
    static const char *const keys[] = {"model_name", "execution_time_ms", "cpu_percent_during",
                                       "memory_mb_after"};
    size_t len = (size_t)snprintf(out, LINE_MAX_BYTES, "%s{", look->blank[0]); /* all of it fits */
    for (unsigned i = 0; i < look->count; i++) {
        char figure[32];
        random_figure(figure);
        bool is_name = look->order[i] == 0;
        len += (size_t)snprintf(out + len, LINE_MAX_BYTES - len, "%s\"%s\"%s:%s%s%s%s",
                                i > 0 ? "," : "", keys[look->order[i]], look->blank[1],
                                look->blank[2], is_name ? "\"" : "",
                                is_name ? random_name() : figure, is_name ? "\"" : "");
    }
    len += (size_t)snprintf(out + len, LINE_MAX_BYTES - len, "}%s\n", look->blank[3]);
    return len;
}

static void test_line_shape_reads_the_same_as_without(void **state)
{
    (void)state;
    struct recorder with;
    struct recorder without;
    size_t short_ways = 0;
    recorder_init(&with);
    recorder_init(&without);
    dice = wire_random_start("test_line_shape");
    for (unsigned i = 0; i < LOOKS; i++) {
        struct look looks[2] = {random_look(), random_look()};
        struct line_memory memory[2];
        struct line_batch batch = {.count = 0};
        char *lines[LINES];
        line_init(&memory[0], LINE_MAX_BYTES);
        line_init(&memory[1], LINE_MAX_BYTES);
        recorder_clear(&with);
        recorder_clear(&without);
        for (unsigned j = 0; j < LINES; j++) {
            struct brief brief;
            const char *newline;
            char text[LINE_MAX_BYTES];
            size_t len = write_line(&looks[j % 50 < 40 ? 0 : 1], text);
            text[len - 1] = '\0';
            lines[j] = line_of(text, &newline);
            short_ways += line_shape_read(&memory[0].shape, lines[j], newline, &brief);
            line_read(&memory[0], lines[j], newline, j + 1, &batch, &with.sink);
            line_read(&memory[1], lines[j], newline, j + 1, NULL, &without.sink);
        }
        line_flush(&batch, &with.sink);
        assert_string_equal(with.text, without.text);
        for (unsigned j = 0; j < LINES; j++) {
            free(lines[j]);
        }
        line_fini(&memory[0]);
        line_fini(&memory[1]);
    }
    assert_true(short_ways > LOOKS * LINES / 10);
    recorder_fini(&with);
    recorder_fini(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_shape_reads_what_looks_the_same),
        cmocka_unit_test(test_line_shape_without_one_reads_nothing),
        cmocka_unit_test(test_line_shape_reads_the_same_as_without),
    };
    return cmocka_run_group_tests_name("line_shape", tests, NULL, NULL);
}
