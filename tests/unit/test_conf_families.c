/* Declared metric families: what is taken, every complaint, and the built-in ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "conf/families.h"
#include "mem_fault.h"

#define BUILTIN                                                                                    \
    "{\"families\": [{\"name\": \"jobs_total\", \"type\": \"counter\", \"help\": \"Jobs.\", "      \
    "\"labels\": [\"queue\"]}]}"

static struct conf_families families;
static struct buf errors;
static struct buf text;

static int set_up(void **state)
{
    (void)state;
    buf_init(&errors, CONF_ERRORS_MAX_BYTES);
    buf_init(&text, 1 << 22);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conf_families_fini(&families);
    buf_fini(&errors);
    buf_fini(&text);
    return 0;
}

static const char *text_of(struct buf *buf)
{
    buf_char(buf, '\0');
    assert_int_equal(buf->err, 0);
    buf->len--;
    return buf->data;
}

/* --- helpers that assert --- */

static int load(const char *builtin, const char *file)
{
    buf_clear(&errors);
    conf_families_fini(&families);
    return conf_families_load(&families, str_of(builtin), file == NULL ? NULL : "f.json",
                              file == NULL ? (struct str){NULL, 0} : str_of(file), &errors);
}

static void must_load(const char *file)
{
    if (load(BUILTIN, file) != 0) {
        fail_msg("%s", text_of(&errors));
    }
    assert_int_equal(errors.len, 0);
}

static void must_refuse_file(const char *file, const char *complaints)
{
    assert_int_equal(load(BUILTIN, file), ERR_SYNTAX);
    assert_string_equal(text_of(&errors), complaints);
    assert_null(families.families);
    assert_int_equal(families.count, 0);
}

/* A file of families given as the text between their brackets, and no others. */
static const char *file_of(const char *list)
{
    buf_clear(&text);
    buf_printf(&text, "{\"builtin\": false, \"families\": [%s]}", list);
    return text_of(&text);
}

static const struct conf_family *must_take(const char *list)
{
    must_load(file_of(list));
    return families.families;
}

static void must_refuse(const char *list, const char *complaints)
{
    must_refuse_file(file_of(list), complaints);
}

#define NAMED(type, members)                                                                       \
    "{\"name\": \"x\", \"help\": \"X.\", \"type\": \"" type "\"" members "}"
#define COUNTER(members)   NAMED("counter", members)
#define GAUGE(members)     NAMED("gauge", members)
#define INFO(members)      NAMED("info", members)
#define HISTOGRAM(members) NAMED("histogram", members)

/* A family with one member and whether it is taken; the complaint is about that member. */
struct fact {
    const char *family;
    const char *complaint; /* after "families[0]", up to " (f.json)"; NULL: is taken */
};

static void must_hold(const struct fact *facts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (facts[i].complaint == NULL) {
            must_take(facts[i].family);
            assert_int_equal(families.count, 1);
            continue;
        }
        char complaint[400];
        (void)snprintf(complaint, sizeof complaint, "families[0]%s (f.json)\n", facts[i].complaint);
        must_refuse(facts[i].family, complaint);
    }
}

#define MUST_HOLD(facts) must_hold(facts, sizeof facts / sizeof facts[0])

/* `count` times a piece, with commas between and its number in place of "#". */
static const char *repeat(const char *before, size_t count, const char *piece, const char *after)
{
    static struct buf made;
    buf_fini(&made);
    buf_init(&made, 1 << 22);
    buf_puts(&made, before);
    for (size_t i = 0; i < count; i++) {
        const char *mark = strchr(piece, '#');
        buf_puts(&made, i == 0 ? "" : ", ");
        buf_append(&made, piece, (size_t)(mark - piece));
        buf_u64(&made, i);
        buf_puts(&made, mark + 1);
    }
    buf_puts(&made, after);
    return text_of(&made);
}

/* `count` times a letter between two texts. */
static const char *longer(const char *before, size_t count, const char *after)
{
    static struct buf made;
    buf_fini(&made);
    buf_init(&made, 1 << 22);
    buf_puts(&made, before);
    for (size_t i = 0; i < count; i++) {
        buf_char(&made, 'a');
    }
    buf_puts(&made, after);
    return text_of(&made);
}

/* --- what is taken --- */

static void test_conf_families_keeps_every_member(void **state)
{
    (void)state;
    const struct conf_family *family = must_take(
        "{\"name\": \"wait_seconds\", \"type\": \"histogram\", \"help\": \"A \\\"b\\\"\\nc.\", "
        "\"labels\": [\"queue\", \"result\"], \"unit\": \"seconds\", \"buckets\": [-1, 0, 2.5, "
        "\"+Inf\"], \"native\": true, \"values\": {\"result\": [\"ok\", \"bad\"], \"queue\": "
        "[\"q\"]}, \"expire_seconds\": 60}");
    assert_string_equal(family->name, "wait_seconds");
    assert_int_equal(family->type, CONF_FAMILY_HISTOGRAM);
    assert_string_equal(family->help, "A \"b\"\nc.");
    assert_int_equal(family->labels.count, 2);
    assert_string_equal(family->labels.texts[0], "queue");
    assert_string_equal(family->labels.texts[1], "result");
    assert_string_equal(family->unit, "seconds");
    assert_int_equal(family->buckets.count, 3);
    assert_true(family->buckets.numbers[0] == -1 && family->buckets.numbers[2] == 2.5);
    assert_true(family->native);
    assert_int_equal(family->values[0].count, 1);
    assert_int_equal(family->values[1].count, 2);
    assert_string_equal(family->values[1].texts[1], "bad");
    assert_int_equal(family->start_count, 2);
    assert_int_equal(family->expire_seconds, 60);
    assert_int_equal(family->aggregation, CONF_AGGREGATION_UNSAID);
}

static void test_conf_families_has_plain_defaults(void **state)
{
    (void)state;
    const struct conf_family *family = must_take(COUNTER(""));
    assert_int_equal(family->labels.count, 0);
    assert_string_equal(family->unit, "");
    assert_null(family->values);
    assert_int_equal(family->buckets.count, 0);
    assert_false(family->native);
    assert_int_equal(family->expire_seconds, 0);
}

static void test_conf_families_are_named_with_and_without_their_ending(void **state)
{
    (void)state;
    static const struct {
        const char *name, *type, *kept;
    } rows[] = {
        {"x", "counter", "x"},
        {"x_total", "counter", "x"},
        {"x_total_total", "counter", "x_total"},
        {"x", "info", "x"},
        {"x_info", "info", "x"},
        {"x_total", "gauge", "x_total"},
        {"x_info", "gauge", "x_info"},
        {"_", "gauge", "_"},
        {"x_total", "info", "x_total"},
        {"dwelld", "gauge", "dwelld"},
        {"dwelle_x", "gauge", "dwelle_x"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char family[200];
        (void)snprintf(family, sizeof family,
                       "{\"name\": \"%s\", \"type\": \"%s\", \"help\": \"X.\"}", rows[i].name,
                       rows[i].type);
        assert_string_equal(must_take(family)->name, rows[i].kept);
    }
}

static void test_conf_families_knows_the_words_of_aggregation(void **state)
{
    (void)state;
    assert_int_equal(must_take(GAUGE(""))->aggregation, 0);
    assert_int_equal(must_take(GAUGE(", \"aggregation\": \"last\""))->aggregation, 1);
    assert_int_equal(must_take(GAUGE(", \"aggregation\": \"sum\""))->aggregation, 2);
    assert_int_equal(must_take(GAUGE(", \"aggregation\": \"max\""))->aggregation, 3);
    assert_int_equal(must_take(GAUGE(", \"aggregation\": \"min\""))->aggregation, 4);
    assert_int_equal(must_take(GAUGE(", \"aggregation\": \"per_pid\""))->aggregation,
                     CONF_AGGREGATION_PER_PID);
}

static void test_conf_families_counts_the_series_that_start(void **state)
{
    (void)state;
    assert_int_equal(must_take(COUNTER(""))->start_count, 1);
    assert_int_equal(must_take(COUNTER(", \"values\": {}"))->start_count, 1);
    assert_int_equal(must_take(INFO(""))->start_count, 0);
    assert_int_equal(must_take(GAUGE(", \"aggregation\": \"per_pid\""))->start_count, 0);
    assert_int_equal(must_take(COUNTER(", \"labels\": [\"a\"]"))->start_count, 0);
    assert_int_equal(must_take(COUNTER(", \"labels\": [\"a\", \"b\"], \"values\": {\"a\": [\"1\", "
                                       "\"2\"], \"b\": [\"1\", \"2\", \"3\"]}"))
                         ->start_count,
                     6);
}

static void test_conf_families_of_the_file_come_after_the_built_in_ones(void **state)
{
    (void)state;
    must_load(NULL);
    assert_int_equal(families.count, 1);
    must_load("{\"families\": [" COUNTER("") "]}");
    assert_int_equal(families.count, 2);
    assert_string_equal(families.families[0].name, "jobs");
    assert_string_equal(families.families[1].name, "x");
    must_load("{\"builtin\": true, \"families\": []}");
    assert_int_equal(families.count, 1);
    must_load("{\"builtin\": false, \"families\": []}");
    assert_int_equal(families.count, 0);
}

/* --- one family and another --- */

#define JOBS(members)                                                                              \
    "{\"name\": \"jobs\", \"type\": \"counter\", \"help\": \"Jobs.\", \"labels\": "                \
    "[\"queue\"]" members "}"

static void test_conf_families_takes_the_same_once_more(void **state)
{
    (void)state;
    must_load("{\"families\": [" JOBS("") ", " COUNTER("") ", " JOBS(", \"unit\": \"\"") "]}");
    assert_int_equal(families.count, 2);
    must_take(
        HISTOGRAM(", \"buckets\": [1, 2]") ", " HISTOGRAM(", \"buckets\": [1.0, 2, \"+Inf\"]"));
    assert_int_equal(families.count, 1);
    must_take(COUNTER(", \"labels\": [\"a\"], \"values\": {\"a\": [\"1\"]}") ", " COUNTER(
        ", \"labels\": [\"a\"], \"values\": {\"a\": [\"1\"]}"));
    assert_int_equal(families.count, 1);
}

static void test_conf_families_refuses_the_same_name_for_another(void **state)
{
    (void)state;
    must_refuse_file("{\"families\": [" COUNTER("") ", " JOBS(", \"expire_seconds\": 1") "]}",
                     "families[1]: expects to be declared as \"jobs\" in families[0] (built in), "
                     "got other expire_seconds (f.json)\n");
    static const struct {
        const char *first, *second, *members;
    } rows[] = {
        {COUNTER(""), GAUGE(""), "type"},
        {COUNTER(""), "{\"name\": \"x\", \"help\": \"Y.\", \"type\": \"counter\"}", "help"},
        {COUNTER(""), COUNTER(", \"labels\": [\"a\"]"), "labels"},
        {COUNTER(", \"labels\": [\"a\", \"b\"]"), COUNTER(", \"labels\": [\"b\", \"a\"]"),
         "labels"},
        {HISTOGRAM(", \"buckets\": [1]"), HISTOGRAM(", \"buckets\": [2]"), "buckets"},
        {HISTOGRAM(", \"buckets\": [1]"), HISTOGRAM(", \"buckets\": [1, 2]"), "buckets"},
        {HISTOGRAM(", \"buckets\": [1]"), HISTOGRAM(", \"native\": true"), "buckets, native"},
        {GAUGE(""), GAUGE(", \"aggregation\": \"last\""), "aggregation"},
        {COUNTER(", \"labels\": [\"a\"]"),
         COUNTER(", \"labels\": [\"a\"], \"values\": {\"a\": [\"1\"]}"), "values"},
        {COUNTER(", \"labels\": [\"a\"], \"values\": {\"a\": [\"2\"]}"),
         COUNTER(", \"labels\": [\"a\"], \"values\": {\"a\": [\"1\"]}"), "values"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char both[1000];
        char complaint[300];
        (void)snprintf(both, sizeof both, "%s, %s", rows[i].first, rows[i].second);
        (void)snprintf(complaint, sizeof complaint,
                       "families[1]: expects to be declared as \"x\" in families[0], got other %s "
                       "(f.json)\n",
                       rows[i].members);
        must_refuse(both, complaint);
    }
    must_refuse("{\"name\": \"x_bytes\", \"type\": \"gauge\", \"help\": \"X.\"}, {\"name\": "
                "\"x_bytes\", \"type\": \"gauge\", \"help\": \"X.\", \"unit\": \"bytes\"}",
                "families[1]: expects to be declared as \"x_bytes\" in families[0], got other unit "
                "(f.json)\n");
}

/* Two families as types and names, and the name that both would have; NULL: none. */
static void test_conf_families_refuses_names_that_clash(void **state)
{
    (void)state;
    static const struct {
        const char *type, *name, *other_type, *other_name, *shared;
    } rows[] = {
        {"counter", "x", "gauge", "x_total", "x_total"},
        {"counter", "x", "gauge", "x_created", "x_created"},
        {"counter", "x", "gauge", "x_count", NULL},
        {"counter", "x", "gauge", "x_tota", NULL},
        {"counter", "x", "gauge", "x_totals", NULL},
        {"counter", "x", "gauge", "xx", NULL},
        {"counter", "x", "histogram", "x_total", "x_total"},
        {"counter", "x", "counter", "x_created_total", "x_created"},
        {"histogram", "x", "gauge", "x_bucket", "x_bucket"},
        {"histogram", "x", "gauge", "x_sum", "x_sum"},
        {"histogram", "x", "gauge", "x_count", "x_count"},
        {"histogram", "x", "gauge", "x_created", "x_created"},
        {"histogram", "x", "counter", "x_count_total", "x_count"},
        {"histogram", "x", "gauge", "x_total", NULL},
        {"info", "x", "gauge", "x_info", "x_info"},
        {"info", "x", "counter", "x_info_total", "x_info"},
        {"info", "x", "gauge", "x_total", NULL},
        {"gauge", "x", "gauge", "x_total", NULL},
        {"gauge", "x", "gauge", "y", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char one[200];
        char other[200];
        char both[500];
        (void)snprintf(one, sizeof one, "{\"name\": \"%s\", \"type\": \"%s\", \"help\": \"X.\"%s}",
                       rows[i].name, rows[i].type,
                       strcmp(rows[i].type, "histogram") == 0 ? ", \"buckets\": [1]" : "");
        (void)snprintf(other, sizeof other,
                       "{\"name\": \"%s\", \"type\": \"%s\", \"help\": \"X.\"%s}",
                       rows[i].other_name, rows[i].other_type,
                       strcmp(rows[i].other_type, "histogram") == 0 ? ", \"buckets\": [1]" : "");
        for (int turned = 0; turned < 2; turned++) { /* neither order makes it good */
            (void)snprintf(both, sizeof both, "%s, %s", turned ? other : one, turned ? one : other);
            if (rows[i].shared == NULL) {
                must_take(both);
                assert_int_equal(families.count, 2);
                continue;
            }
            char start[100];
            assert_int_equal(load(BUILTIN, file_of(both)), ERR_SYNTAX);
            (void)snprintf(start, sizeof start,
                           "families[1].name: expects names of its own, got \"%s\" that \"",
                           rows[i].shared);
            assert_memory_equal(text_of(&errors), start, strlen(start));
        }
    }
    must_refuse_file("{\"families\": [{\"name\": \"jobs_created\", \"type\": \"gauge\", \"help\": "
                     "\"X.\"}]}",
                     "families[0].name: expects names of its own, got \"jobs_created\" that "
                     "\"jobs\" in families[0] (built in) has too (f.json)\n");
}

/* --- members --- */

static void test_conf_families_complains_of_every_member(void **state)
{
    (void)state;
    static const struct fact facts[] = {
        {"7", ": expects an object {name, type, help, …}, got 7"},
        {"[]", ": expects an object {name, type, help, …}, got a list"},
        {COUNTER(", \"lables\": []"), ".lables: is not a key of a family; the nearest is labels"},
        {COUNTER(", \"quite_different\": 1"), ".quite_different: is not a key of a family"},
        {COUNTER(", \"\": 1"), ".: is not a key of a family"},
        {NAMED("summary", ""), ".type: expects \"counter\", \"gauge\", \"histogram\" or \"info\", "
                               "got \"summary\""},
        {"{\"name\": \"x\", \"help\": \"X.\"}",
         ".type: expects \"counter\", \"gauge\", \"histogram\" or \"info\", got nothing"},
        {"{\"name\": \"x\", \"help\": \"X.\", \"type\": 1, \"native\": true, \"aggregation\": "
         "\"sum\"}",
         ".type: expects \"counter\", \"gauge\", \"histogram\" or \"info\", got 1"},
        {COUNTER(", \"unit\": \"\""), NULL},
        {COUNTER(", \"unit\": 5"),
         ".unit: expects a word of at most 32 letters, digits and \"_\", as \"seconds\", got 5"},
        {COUNTER(", \"unit\": \"a/b\""),
         ".unit: expects a word of at most 32 letters, digits and \"_\", as \"seconds\", got "
         "\"a/b\""},
        {COUNTER(", \"unit\": \"x\""), ".unit: expects what \"x\" ends with after a \"_\", got "
                                       "\"x\""},
        {"{\"name\": \"x_seconds_total\", \"type\": \"counter\", \"help\": \"X.\", \"unit\": "
         "\"seconds\"}",
         NULL},
        {"{\"name\": \"xseconds\", \"type\": \"gauge\", \"help\": \"X.\", \"unit\": \"seconds\"}",
         ".unit: expects what \"xseconds\" ends with after a \"_\", got \"seconds\""},
        {"{\"name\": \"x_s\", \"type\": \"info\", \"help\": \"X.\", \"unit\": \"s\"}",
         ".unit: expects none for an info, got \"s\""},
        {GAUGE(", \"aggregation\": \"\""),
         ".aggregation: expects \"last\", \"sum\", \"max\", \"min\" or \"per_pid\", got \"\""},
        {GAUGE(", \"aggregation\": \"avg\""),
         ".aggregation: expects \"last\", \"sum\", \"max\", \"min\" or \"per_pid\", got \"avg\""},
        {GAUGE(", \"aggregation\": null"),
         ".aggregation: expects \"last\", \"sum\", \"max\", \"min\" or \"per_pid\", got null"},
        {COUNTER(", \"aggregation\": \"sum\""), ".aggregation: expects none but for a gauge, got "
                                                "\"sum\""},
        {HISTOGRAM(", \"native\": true"), NULL},
        {COUNTER(", \"native\": false"), NULL},
        {COUNTER(", \"native\": true"), ".native: expects false but for a histogram, got true"},
        {COUNTER(", \"native\": 1"), ".native: expects true or false, got 1"},
        {COUNTER(", \"expire_seconds\": 0"), NULL},
        {COUNTER(", \"expire_seconds\": 31622400"), NULL},
        {COUNTER(", \"expire_seconds\": 31622401"),
         ".expire_seconds: expects a whole number from 0 to 31622400, got 31622401"},
        {COUNTER(", \"expire_seconds\": -1"),
         ".expire_seconds: expects a whole number from 0 to 31622400, got -1"},
        {COUNTER(", \"expire_seconds\": 1.5"),
         ".expire_seconds: expects a whole number from 0 to 31622400, got 1.5"},
        {COUNTER(", \"expire_seconds\": \"1\""),
         ".expire_seconds: expects a whole number from 0 to 31622400, got \"1\""},
    };
    MUST_HOLD(facts);
}

static void test_conf_families_refuses_bad_names(void **state)
{
    (void)state;
    static const struct {
        const char *type, *name, *expects;
    } rows[] = {
        {"gauge", "", "1 to 256 letters, digits and \"_\" that do not begin with a digit"},
        {"gauge", "1x", "1 to 256 letters, digits and \"_\" that do not begin with a digit"},
        {"gauge", "a-b", "1 to 256 letters, digits and \"_\" that do not begin with a digit"},
        {"gauge", "a b", "1 to 256 letters, digits and \"_\" that do not begin with a digit"},
        {"gauge", "é", "1 to 256 letters, digits and \"_\" that do not begin with a digit"},
        {"gauge", "a:b", "a name without \":\", which is for names that Prometheus records itself"},
        {"counter", "_total", "a name before its ending"},
        {"info", "_info", "a name before its ending"},
        {"gauge", "dwelld_x",
         "a name that does not begin with \"dwelld_\", as the daemon's own do"},
        {"counter", "dwelld__total",
         "a name that does not begin with \"dwelld_\", as the daemon's own do"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char family[200];
        char complaint[300];
        (void)snprintf(family, sizeof family,
                       "{\"name\": \"%s\", \"type\": \"%s\", \"help\": \"X.\"}", rows[i].name,
                       rows[i].type);
        (void)snprintf(complaint, sizeof complaint,
                       "families[0].name: expects %s, got \"%s\" (f.json)\n", rows[i].expects,
                       rows[i].name);
        must_refuse(family, complaint);
    }
    must_refuse("{\"type\": \"gauge\", \"help\": \"X.\"}",
                "families[0].name: expects 1 to 256 letters, digits and \"_\" that do not begin "
                "with a digit, got nothing (f.json)\n");
    must_take(longer("{\"type\": \"gauge\", \"help\": \"X.\", \"name\": \"", 256, "\"}"));
    assert_int_equal(
        load(BUILTIN,
             file_of(longer("{\"type\": \"gauge\", \"help\": \"X.\", \"name\": \"", 257, "\"}"))),
        ERR_SYNTAX);
}

static void test_conf_families_refuses_bad_help(void **state)
{
    (void)state;
    static const char *const wrong[] = {"\"\"",      "5",         "null",       "\"a\\u001bb\"",
                                        "\"a\\tb\"", "\"a\\rb\"", "\"\\u007f\""};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char family[200];
        (void)snprintf(family, sizeof family,
                       "{\"name\": \"x\", \"type\": \"gauge\", \"help\": %s}", wrong[i]);
        assert_int_equal(load(BUILTIN, file_of(family)), ERR_SYNTAX);
        static const char start[] = "families[0].help: expects text of 1 to 1024 bytes without "
                                    "control characters other than newlines, got ";
        assert_memory_equal(text_of(&errors), start, sizeof start - 1);
    }
    must_refuse("{\"name\": \"x\", \"type\": \"gauge\"}",
                "families[0].help: expects text of 1 to 1024 bytes without control characters "
                "other than newlines, got nothing (f.json)\n");
    must_take(longer("{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"", 1024, "\"}"));
    assert_int_equal(
        load(BUILTIN,
             file_of(longer("{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"", 1025, "\"}"))),
        ERR_SYNTAX);
}

static void test_conf_families_refuses_bad_labels(void **state)
{
    (void)state;
#define NO_LABEL                                                                                   \
    "]: expects 1 to 256 letters, digits and \"_\" that do not begin with a digit, got "
#define NOT_FREE "]: expects a label that neither Prometheus nor the daemon uses itself, got "
    static const struct fact facts[] = {
        {COUNTER(", \"labels\": []"), NULL},
        {COUNTER(", \"labels\": [\"_a\", \"A1\", \"pid\", \"_\", \"LE\"]"), NULL},
        {COUNTER(", \"labels\": \"a\""), ".labels: expects a list of at most 32 labels, got \"a\""},
        {COUNTER(", \"labels\": {}"),
         ".labels: expects a list of at most 32 labels, got an object"},
        {COUNTER(", \"labels\": [\"\"]"), ".labels[0" NO_LABEL "\"\""},
        {COUNTER(", \"labels\": [\"a\", \"1a\"]"), ".labels[1" NO_LABEL "\"1a\""},
        {COUNTER(", \"labels\": [\"a.b\"]"), ".labels[0" NO_LABEL "\"a.b\""},
        {COUNTER(", \"labels\": [\"a:b\"]"), ".labels[0" NO_LABEL "\"a:b\""},
        {COUNTER(", \"labels\": [5]"), ".labels[0" NO_LABEL "5"},
        {COUNTER(", \"labels\": [\"__name__\"]"), ".labels[0" NOT_FREE "\"__name__\""},
        {COUNTER(", \"labels\": [\"__\"]"), ".labels[0" NOT_FREE "\"__\""},
        {COUNTER(", \"labels\": [\"quantile\"]"), ".labels[0" NOT_FREE "\"quantile\""},
        {COUNTER(", \"labels\": [\"dwell_overflow\"]"), ".labels[0" NOT_FREE "\"dwell_overflow\""},
        {COUNTER(", \"labels\": [\"le\"]"), ".labels[0" NOT_FREE "\"le\""},
        {HISTOGRAM(", \"buckets\": [1], \"labels\": [\"le\"]"), ".labels[0" NOT_FREE "\"le\""},
        {GAUGE(", \"aggregation\": \"per_pid\", \"labels\": [\"pid\"]"),
         ".labels[0" NOT_FREE "\"pid\""},
        {COUNTER(", \"labels\": [\"a\", \"b\", \"a\"]"),
         ".labels[2]: expects a label that is not in the list yet, got \"a\""},
    };
    MUST_HOLD(facts);
    must_take(repeat("{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"X.\", \"labels\": [", 32,
                     "\"a#\"", "]}"));
    assert_int_equal(families.families[0].labels.count, 32);
    must_refuse(repeat("{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"X.\", \"labels\": [", 33,
                       "\"a#\"", "]}"),
                "families[0].labels: expects a list of at most 32 labels, got a list (f.json)\n");
    must_take(longer("{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"X.\", \"labels\": [\"",
                     256, "\"]}"));
    assert_int_equal(load(BUILTIN, file_of(longer("{\"type\": \"gauge\", \"name\": \"x\", "
                                                  "\"help\": \"X.\", \"labels\": [\"",
                                                  257, "\"]}"))),
                     ERR_SYNTAX);
}

static void test_conf_families_refuses_bad_buckets(void **state)
{
    (void)state;
#define NO_BUCKETS ".buckets: expects a list of 1 to 64 ascending numbers, got "
    static const struct fact facts[] = {
        {HISTOGRAM(", \"buckets\": [1]"), NULL},
        {HISTOGRAM(", \"buckets\": [-5, -1e300, 1]"), ".buckets[1]: expects a number above -5, got "
                                                      "-1e+300"},
        {HISTOGRAM(", \"buckets\": [-1e308, 0, 1e-300, 1e308, \"+Inf\"]"), NULL},
        {HISTOGRAM(""), NO_BUCKETS "nothing"},
        {HISTOGRAM(", \"buckets\": []"), NO_BUCKETS "a list"},
        {HISTOGRAM(", \"buckets\": [\"+Inf\"]"), NO_BUCKETS "a list"},
        {HISTOGRAM(", \"buckets\": 5"), NO_BUCKETS "5"},
        {HISTOGRAM(", \"buckets\": [\"+Inf\", 1]"), ".buckets[0]: expects a number, got \"+Inf\""},
        {HISTOGRAM(", \"buckets\": [1, \"+Inf\", \"+Inf\"]"),
         ".buckets[1]: expects a number, got \"+Inf\""},
        {HISTOGRAM(", \"buckets\": [1, \"NaN\"]"), ".buckets[1]: expects a number, got \"NaN\""},
        {HISTOGRAM(", \"buckets\": [0.1, 0.5, 0.1]"),
         ".buckets[2]: expects a number above 0.5, got "
         "0.1"},
        {HISTOGRAM(", \"buckets\": [1, 1.0]"), ".buckets[1]: expects a number above 1, got 1"},
        {HISTOGRAM(", \"buckets\": [0, -0.0]"), ".buckets[1]: expects a number above 0, got -0"},
        {HISTOGRAM(", \"buckets\": [9007199254740992, 9007199254740993]"),
         ".buckets[1]: expects a number above 9007199254740992, got 9007199254740993"},
        {COUNTER(", \"buckets\": [1]"), ".buckets: expects none but for a histogram, got a list"},
        {GAUGE(", \"buckets\": []"), ".buckets: expects none but for a histogram, got a list"},
    };
    MUST_HOLD(facts);
    must_refuse(HISTOGRAM(", \"buckets\": [true, 2, 1, 3, 2]"),
                "families[0].buckets[0]: expects a number, got true (f.json)\n"
                "families[0].buckets[2]: expects a number above 2, got 1 (f.json)\n"
                "families[0].buckets[4]: expects a number above 3, got 2 (f.json)\n");
    static const char start[] =
        "{\"type\": \"histogram\", \"name\": \"x\", \"help\": \"X.\", \"buckets\": [";
    must_take(repeat(start, 64, "#.5", ", \"+Inf\"]}"));
    assert_int_equal(families.families[0].buckets.count, 64);
    must_refuse(repeat(start, 65, "#.5", "]}"), "families[0]" NO_BUCKETS "a list (f.json)\n");
}

static void test_conf_families_refuses_bad_values(void **state)
{
    (void)state;
#define TWO ", \"labels\": [\"a\", \"b\"], \"values\": "
    static const struct fact facts[] = {
        {COUNTER(TWO "[]"), ".values: expects an object of lists of texts, got a list"},
        {COUNTER(TWO "{\"a\": [\"1\"]}"),
         ".values.b: expects a list of 1 to 1000 texts, got nothing"},
        {COUNTER(TWO "{\"a\": [], \"b\": [\"1\"]}"),
         ".values.a: expects a list of 1 to 1000 texts, "
         "got a list"},
        {COUNTER(TWO "{\"a\": \"1\", \"b\": [\"1\"]}"),
         ".values.a: expects a list of 1 to 1000 texts, got \"1\""},
        {COUNTER(TWO "{\"a\": [\"1\"], \"b\": [\"1\"], \"c\": [\"1\"]}"),
         ".values.c: is not a label of the family"},
        {COUNTER(", \"values\": {\"a\": [\"1\"]}"), ".values.a: is not a label of the family"},
        {COUNTER(TWO "{\"a\": [\"1\", 1], \"b\": [\"1\"]}"),
         ".values.a[1]: expects text of 1 to 256 bytes without control characters, got 1"},
        {COUNTER(TWO "{\"a\": [\"\"], \"b\": [\"1\"]}"),
         ".values.a[0]: expects text of 1 to 256 bytes without control characters, got \"\""},
        {COUNTER(TWO "{\"a\": [\"\\n\"], \"b\": [\"1\"]}"),
         ".values.a[0]: expects text of 1 to 256 bytes without control characters, got \"\\n\""},
        {COUNTER(TWO "{\"a\": [\"1\", \"1\"], \"b\": [\"1\"]}"),
         ".values.a[1]: expects a value that is not in the list yet, got \"1\""},
        {INFO(", \"labels\": [\"a\"], \"values\": {\"a\": [\"1\"]}"),
         ".values: expects none where no series can start at 0, got an object"},
        {GAUGE(", \"labels\": [\"a\"], \"values\": {\"a\": [\"1\"]}, \"aggregation\": \"per_pid\""),
         ".values: expects none where no series can start at 0, got an object"},
    };
    MUST_HOLD(facts);
    static const char one[] =
        "{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"X.\", \"labels\": "
        "[\"a\"], \"values\": {\"a\": [";
    must_take(repeat(one, 1000, "\"v#\"", "]}}"));
    assert_int_equal(families.families[0].start_count, 1000);
    must_refuse(repeat(one, 1001, "\"v#\"", "]}}"),
                "families[0].values.a: expects a list of 1 to 1000 texts, got a list (f.json)\n");
    static const char two[] =
        "{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"X.\", \"labels\": "
        "[\"b\", \"a\", \"c\"], \"values\": {\"b\": [\"1\", \"2\"], \"c\": "
        "[\"1\"], \"a\": [";
    must_take(repeat(two, 500, "\"v#\"", "]}}"));
    must_refuse(repeat(two, 501, "\"v#\"", "]}}"),
                "families[0].values: expects at most 1000 combinations, each of which is a series, "
                "got an object (f.json)\n");
    static const char value[] = "{\"type\": \"gauge\", \"name\": \"x\", \"help\": \"X.\", "
                                "\"labels\": [\"a\"], \"values\": {\"a\": [\"";
    must_take(longer(value, 256, "\"]}}"));
    assert_int_equal(load(BUILTIN, file_of(longer(value, 257, "\"]}}"))), ERR_SYNTAX);
}

/* --- files --- */

static void test_conf_families_complains_of_the_file(void **state)
{
    (void)state;
    must_refuse_file("", "f.json:1:0: is not JSON: '[' or '{' expected\n");
    must_refuse_file("{\n  \"families\": [\n    }\n}",
                     "f.json:3:5: is not JSON: unexpected token\n");
    must_refuse_file("[]", "f.json: expects an object, got a list\n");
    must_refuse_file("{\"families\": [], \"families\": []}",
                     "f.json:1:27: is not JSON: duplicate object key\n");
    must_refuse_file("{}", "families: expects a list of families, got nothing (f.json)\n");
    must_refuse_file("{\"families\": {}}",
                     "families: expects a list of families, got an object (f.json)\n");
    must_refuse_file("{\"builtin\": 0, \"family\": 1, \"families\": []}",
                     "family: is not a key of a file of families; the nearest is families "
                     "(f.json)\n"
                     "builtin: expects true or false, got 0 (f.json)\n");
    must_refuse_file("{\"families\": [{\"name\": 1e999}]}",
                     "f.json:1:28: is not JSON: real number overflow\n");
    buf_clear(&text);
    for (int i = 0; i < 5000; i++) {
        buf_char(&text, '[');
    }
    must_refuse_file(text_of(&text), "f.json:1:2049: is not JSON: maximum parsing depth reached\n");
}

static void test_conf_families_tells_everything_at_once(void **state)
{
    (void)state;
    must_refuse_file(
        "{\"families\": [{\"name\": \"a b\", \"type\": \"x\", \"help\": \"\", \"unit\": 1, "
        "\"labels\": [\"le\"], \"buckets\": [\"a\"], \"native\": 1, \"aggregation\": 1, "
        "\"expire_seconds\": -1, \"more\": 1}, " JOBS(", \"expire_seconds\": 5") ", 5]}",
        "families[0].more: is not a key of a family (f.json)\n"
        "families[0].type: expects \"counter\", \"gauge\", \"histogram\" or \"info\", got \"x\" "
        "(f.json)\n"
        "families[0].name: expects 1 to 256 letters, digits and \"_\" that do not begin with a "
        "digit, got \"a b\" (f.json)\n"
        "families[0].help: expects text of 1 to 1024 bytes without control characters other than "
        "newlines, got \"\" (f.json)\n"
        "families[0].unit: expects a word of at most 32 letters, digits and \"_\", as \"seconds\", "
        "got 1 (f.json)\n"
        "families[0].aggregation: expects \"last\", \"sum\", \"max\", \"min\" or \"per_pid\", got "
        "1 (f.json)\n"
        "families[0].native: expects true or false, got 1 (f.json)\n"
        "families[0].expire_seconds: expects a whole number from 0 to 31622400, got -1 (f.json)\n"
        "families[0].buckets[0]: expects a number, got \"a\" (f.json)\n"
        "families[0].labels[0]: expects a label that neither Prometheus nor the daemon uses "
        "itself, got \"le\" (f.json)\n"
        "families[1]: expects to be declared as \"jobs\" in families[0] (built in), got other "
        "expire_seconds (f.json)\n"
        "families[2]: expects an object {name, type, help, …}, got 5 (f.json)\n");
}

static void test_conf_families_has_a_ceiling_of_families(void **state)
{
    (void)state;
    static const char piece[] = "{\"name\": \"a#\", \"type\": \"gauge\", \"help\": \"X.\"}";
    must_load(repeat("{\"families\": [", CONF_FAMILIES_MAX - 1, piece, "]}"));
    assert_int_equal(families.count, CONF_FAMILIES_MAX);
    must_refuse_file(repeat("{\"families\": [", CONF_FAMILIES_MAX, piece, "]}"),
                     "families: expects at most 1024 with the built-in ones, got 1025 (f.json)\n");
    must_load(repeat("{\"builtin\": false, \"families\": [", CONF_FAMILIES_MAX, piece, "]}"));
    assert_int_equal(families.count, CONF_FAMILIES_MAX);
}

static void test_conf_families_has_a_ceiling_of_bytes(void **state)
{
    (void)state;
    static const char file[] = "{\"families\": []}";
    buf_puts(&text, file);
    while (text.len < CONF_FAMILIES_FILE_MAX_BYTES) {
        buf_char(&text, ' ');
    }
    must_load(text_of(&text));
    buf_char(&text, ' ');
    must_refuse_file(text_of(&text), "f.json: expects at most 1048576 bytes, got 1048577\n");
}

static void test_conf_families_complaints_cannot_be_forged(void **state)
{
    (void)state;
    must_refuse(COUNTER(", \"a\\nb\": 1, \"labels\": [\"x\\u001b[2J\"]"),
                "families[0].a\\nb: is not a key of a family (f.json)\n"
                "families[0].labels[0]: expects 1 to 256 letters, digits and \"_\" that do not "
                "begin with a digit, got \"x\\x1b[2J\" (f.json)\n");
}

static void test_conf_families_copes_with_any_bytes(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    srandom(seed);
    size_t most = conf_families_builtin_len;
    char *bytes = malloc(most);
    assert_non_null(bytes);
    for (int i = 0; i < 1000; i++) {
        memcpy(bytes, conf_families_builtin, most);
        size_t len = i % 4 == 0 ? (size_t)random() % most : most;
        for (long flips = random() % 4; flips >= 0 && len > 0; flips--) {
            bytes[(size_t)random() % len] = (char)random();
        }
        buf_clear(&errors);
        struct conf_families other;
        int err = conf_families_load(&other, STR_LITERAL(BUILTIN), "f", (struct str){bytes, len},
                                     &errors);
        assert_int_equal(errors.err, 0);
        assert_true(str_is_utf8((struct str){errors.data, errors.len}));
        assert_true(err == 0 ? errors.len == 0 : err == ERR_SYNTAX && errors.len > 0);
        conf_families_fini(&other);
    }
    free(bytes);
}

static void test_conf_families_survives_running_out_of_memory(void **state)
{
    (void)state;
    const char *file =
        "{\"families\": [" JOBS("") ", " HISTOGRAM(", \"buckets\": [1, 2], \"labels\": [\"a\", "
                                                   "\"b\"], \"values\": {\"a\": [\"1\"], \"b\": "
                                                   "[\"1\", \"2\"]}") "]}";
    buf_fini(&errors);
    for (size_t n = 1;; n++) {
        size_t live = mem_count_live();
        mem_fail_after(n);
        struct conf_families other;
        int err = conf_families_load(&other, STR_LITERAL(BUILTIN), "f.json", str_of(file), &errors);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(errors.len, 0);
        conf_families_fini(&other);
        assert_int_equal(mem_count_live(), live);
        if (!failed) {
            assert_int_equal(err, 0);
            assert_true(n > 15);
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
        assert_int_equal(other.count, 0);
    }
}

/* --- reloads --- */

static void must_load_other(struct conf_families *ret, const char *list)
{
    char file[4096];
    (void)snprintf(file, sizeof file, "{\"builtin\": false, \"families\": [%s]}", list);
    assert_int_equal(conf_families_load(ret, STR_LITERAL(BUILTIN), "f.json", str_of(file), &errors),
                     0);
}

/* From families to others: what is refused, and what needs a restart, a line each. */
static void must_compare(const char *in_force, const char *fresh, const char *refused,
                         const char *fixed)
{
    struct conf_families old;
    struct conf_families new;
    struct buf lines;
    size_t count = 0;
    size_t wanted = 0;
    buf_init(&lines, 4096);
    must_load_other(&old, in_force);
    must_load_other(&new, fresh);
    buf_clear(&errors);
    int err = conf_families_compare(&old, &new, &errors, &lines, &count);
    assert_int_equal(err, refused[0] == '\0' ? 0 : ERR_CONFLICT);
    assert_int_equal(errors.len, strlen(refused));
    assert_memory_equal(errors.data, refused, errors.len);
    assert_int_equal(lines.len, strlen(fixed));
    assert_memory_equal(lines.data, fixed, lines.len);
    for (const char *at = fixed; (at = strchr(at, '\n')) != NULL; at++) {
        wanted++;
    }
    assert_int_equal(count, wanted);
    buf_clear(&errors);
    buf_fini(&lines);
    conf_families_fini(&old);
    conf_families_fini(&new);
}

#define FAMILY(name, type, members)                                                                \
    "{\"name\": \"" name "\", \"type\": \"" type "\", \"help\": \"Helps.\"" members "}"
#define LINE "metrics.families_file: "

static void test_conf_families_tells_what_a_reload_cannot_change(void **state)
{
    (void)state;
    const char *a = FAMILY("a", "counter", "");
    must_compare("", "", "", "");
    must_compare("", a, "", "");
    must_compare(a, a, "", "");
    must_compare(a, "", "", LINE "a: needs a restart to go; it stays\n");
    must_compare(a, FAMILY("a", "gauge", ""),
                 LINE "a: cannot become of another type while it is there\n", "");
    must_compare(a, FAMILY("a", "counter", ", \"expire_seconds\": 1"), "",
                 LINE "a: needs a restart for other expire_seconds; it is as it was\n");
    must_compare(a, FAMILY("a", "counter", ", \"labels\": [\"x\"], \"expire_seconds\": 1"), "",
                 LINE "a: needs a restart for other labels, expire_seconds; it is as it was\n");
    must_compare(
        FAMILY("a", "counter", "") ", " FAMILY("b", "gauge", "") ", " FAMILY("c", "gauge", ""),
        FAMILY("c", "counter", "") ", " FAMILY("a", "gauge", ""),
        LINE "a: cannot become of another type while it is there\n" LINE
             "c: cannot become of another type while it is there\n",
        LINE "b: needs a restart to go; it stays\n");
}

static void test_conf_families_takes_what_is_wanted(void **state)
{
    (void)state;
    struct conf_families old;
    struct conf_families new;
    static const bool wanted[] = {true, false, true};
    static const bool none[] = {false, false, false};
    must_load_other(&old, FAMILY("z", "counter", ""));
    must_load_other(&new, FAMILY("a", "counter", "") ", " FAMILY("b", "gauge",
                                                                 "") ", " FAMILY("c", "gauge", ""));
    assert_int_equal(conf_families_take(&old, &new, none), 0);
    assert_int_equal(old.count, 1);
    mem_fail_after(1);
    assert_int_equal(conf_families_take(&old, &new, wanted), ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(old.count, 1);
    assert_int_equal(new.count, 3);
    assert_int_equal(conf_families_take(&old, &new, wanted), 0);
    assert_int_equal(old.count, 3);
    assert_string_equal(old.families[1].name, "a");
    assert_ptr_equal(conf_families_find(&old, "c"), &old.families[2]);
    assert_null(conf_families_find(&old, "b"));
    assert_int_equal(new.count, 1);
    assert_string_equal(new.families[0].name, "b");
    conf_families_truncate(&old, 2);
    assert_null(conf_families_find(&old, "c"));
    conf_families_fini(&old);
    conf_families_fini(&new);
}

/* --- the built-in ones --- */

static char *read_file(const char *name)
{
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    static char bytes[1 << 16];
    size_t len = fread(bytes, 1, sizeof bytes - 1, file);
    assert_int_equal(fclose(file), 0);
    bytes[len] = '\0';
    return bytes;
}

static void must_load_builtin(void)
{
    assert_int_equal(conf_families_load(
                         &families, (struct str){conf_families_builtin, conf_families_builtin_len},
                         NULL, (struct str){NULL, 0}, &errors),
                     0);
}

static void test_conf_families_builtin_is_the_file(void **state)
{
    (void)state;
    assert_string_equal(conf_families_builtin, read_file("config/families.json"));
    assert_int_equal(conf_families_builtin_len, strlen(conf_families_builtin));
}

static void must_match_golden(const struct conf_family *family, const json_t *golden)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "info"};
    assert_string_equal(family->name, json_string_value(json_object_get(golden, "family_name")));
    assert_string_equal(types[family->type], json_string_value(json_object_get(golden, "type")));
    const json_t *labels = json_object_get(golden, "labels");
    assert_int_equal(family->labels.count, json_array_size(labels));
    for (size_t i = 0; i < family->labels.count; i++) {
        assert_string_equal(family->labels.texts[i], json_string_value(json_array_get(labels, i)));
    }
    const json_t *buckets = json_object_get(golden, "buckets"); /* NULL has the size 0 */
    assert_int_equal(family->buckets.count, json_array_size(buckets));
    for (size_t i = 0; i < family->buckets.count; i++) {
        assert_true(family->buckets.numbers[i] == json_number_value(json_array_get(buckets, i)));
    }
}

static void test_conf_families_builtin_are_the_golden_ones(void **state)
{
    (void)state;
    enum { OWN = 17 }; /* the rest are of models */
    must_load_builtin();
    assert_int_equal(families.count, OWN);
    json_t *golden = json_load_file("tests/data/golden/families.json", 0, NULL);
    assert_non_null(golden);
    const json_t *list = json_object_get(golden, "families");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_array_get(list, i);
        if (i < OWN) {
            must_match_golden(&families.families[i], row);
        } else {
            const char *name = json_string_value(json_object_get(row, "family_name"));
            assert_memory_equal(name, "acgs2_model_", 12);
        }
    }
    json_decref(golden);
}

static void test_conf_families_builtin_are_told_well(void **state)
{
    (void)state;
    must_load_builtin();
    for (size_t i = 0; i < families.count; i++) {
        const struct conf_family *family = &families.families[i];
        size_t len = strlen(family->help);
        assert_true(len > 20 && family->help[len - 1] == '.');
        assert_int_equal(family->native, family->type == CONF_FAMILY_HISTOGRAM);
        assert_string_equal(family->unit, family->type == CONF_FAMILY_HISTOGRAM ? "seconds"
                                          : strcmp(family->name, "cache_size_bytes") == 0 ? "bytes"
                                                                                          : "");
        assert_int_equal(family->aggregation == CONF_AGGREGATION_UNSAID,
                         family->type != CONF_FAMILY_GAUGE);
        assert_int_equal(family->start_count, 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_conf_families_keeps_every_member),
        TEST(test_conf_families_has_plain_defaults),
        TEST(test_conf_families_are_named_with_and_without_their_ending),
        TEST(test_conf_families_knows_the_words_of_aggregation),
        TEST(test_conf_families_counts_the_series_that_start),
        TEST(test_conf_families_of_the_file_come_after_the_built_in_ones),
        TEST(test_conf_families_takes_the_same_once_more),
        TEST(test_conf_families_refuses_the_same_name_for_another),
        TEST(test_conf_families_refuses_names_that_clash),
        TEST(test_conf_families_complains_of_every_member),
        TEST(test_conf_families_refuses_bad_names),
        TEST(test_conf_families_refuses_bad_help),
        TEST(test_conf_families_refuses_bad_labels),
        TEST(test_conf_families_refuses_bad_buckets),
        TEST(test_conf_families_refuses_bad_values),
        TEST(test_conf_families_complains_of_the_file),
        TEST(test_conf_families_tells_everything_at_once),
        TEST(test_conf_families_has_a_ceiling_of_families),
        TEST(test_conf_families_has_a_ceiling_of_bytes),
        TEST(test_conf_families_complaints_cannot_be_forged),
        TEST(test_conf_families_copes_with_any_bytes),
        TEST(test_conf_families_survives_running_out_of_memory),
        TEST(test_conf_families_tells_what_a_reload_cannot_change),
        TEST(test_conf_families_takes_what_is_wanted),
        TEST(test_conf_families_builtin_is_the_file),
        TEST(test_conf_families_builtin_are_the_golden_ones),
        TEST(test_conf_families_builtin_are_told_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
