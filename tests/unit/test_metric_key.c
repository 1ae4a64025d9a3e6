#include "core_helpers.h"

#include <stdio.h>

#include "base/err.h"
#include "core/metric_key.h"

static struct metric_key key;
static struct family_shape shape;

static int plain_shape(void **state)
{
    (void)state;
    shape = (struct family_shape){.type = FAMILY_COUNTER};
    return 0;
}

/* The pairs as "a=1;b=2;". */
static const char *shown(void)
{
    static char text[4096];
    size_t len = 0;
    uint32_t pairs = 0;
    text[0] = '\0';
    for (const char *at = key.pairs; at < key.pairs + key.len; pairs++) {
        const char *value = at + strlen(at) + 1;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s=%s;", at, value);
        assert_true(len < sizeof text);
        at = value + strlen(value) + 1;
    }
    assert_int_equal(pairs, key.pair_count);
    return text;
}

static int make(const struct metric *metric, uint64_t pid)
{
    return metric_key_make(&shape, metric, 256, pid, &key);
}

static void must_show(const char *attributes, const char *wanted)
{
    struct metric metric = metric_of(METRIC_COUNT, "m", 1, attributes);
    assert_int_equal(make(&metric, 0), 0);
    assert_string_equal(shown(), wanted);
}

static void must_refuse_key(const char *attributes, int err)
{
    struct metric metric = metric_of(METRIC_COUNT, "m", 1, attributes);
    assert_int_equal(make(&metric, 0), err);
}

static void test_metric_key_is_in_one_order(void **state)
{
    (void)state;
    must_show("", "");
    must_show("b=2,a=1", "a=1;b=2;");
    must_show("a=1,b=2", "a=1;b=2;");
    must_show("B=1,a=2,A=3,aa=4", "A=3;B=1;a=2;aa=4;");
}

static void test_metric_key_names_are_sanitised(void **state)
{
    (void)state;
    must_show("http.method=GET,2=b", "_2=b;http_method=GET;");
    must_refuse_key("a.b=1,a_b=2", ERR_DUPLICATE_KEY);
    must_refuse_key("a=1,b=2,a=1", ERR_DUPLICATE_KEY);
    must_refuse_key("=1", ERR_NAME);
    must_refuse_key("\xff=1", ERR_NAME);
    must_refuse_key("a=\xff", ERR_NAME);
}

static void test_metric_key_a_label_without_a_value_is_none(void **state)
{
    (void)state;
    must_show("a=,b=2", "b=2;");
    must_show("a=,a=1", "a=1;");
}

static void test_metric_key_names_that_mean_something_are_exported(void **state)
{
    (void)state;
    must_show("quantile=1,dwell_overflow=2,__x=3,constitutional_hash=4,le=5,pid=6",
              "exported___x=3;exported_constitutional_hash=4;exported_dwell_overflow=2;"
              "exported_quantile=1;le=5;pid=6;");
    must_refuse_key("quantile=1,exported_quantile=2", ERR_DUPLICATE_KEY);
    shape.type = FAMILY_HISTOGRAM;
    must_show("le=5", "exported_le=5;");
    shape.type = FAMILY_INFO;
    must_show("constitutional_hash=4", "constitutional_hash=4;");
    shape.type = FAMILY_GAUGE;
    shape.aggregation = AGGREGATION_PER_PID;
    must_show("pid=6", "exported_pid=6;");
    must_show("le=5", "le=5;");
}

static void test_metric_key_of_a_process_has_its_number(void **state)
{
    (void)state;
    shape.type = FAMILY_GAUGE;
    shape.aggregation = AGGREGATION_PER_PID;
    struct metric metric = metric_of(METRIC_SET, "m", 1, "z=1,pid=9");
    assert_int_equal(make(&metric, UINT64_MAX), 0);
    assert_string_equal(shown(), "exported_pid=9;z=1;pid=18446744073709551615;");
}

static void declare(const struct str *labels, uint32_t count)
{
    shape.declared = true;
    shape.labels = labels;
    shape.label_count = count;
}

static void test_metric_key_declared_labels_are_all_there_is(void **state)
{
    (void)state;
    static const struct str labels[] = {{"b", 1}, {"a", 1}};
    declare(labels, 2);
    must_show("a=1,b=2", "b=2;a=1;");
    must_show("b=2,a=1", "b=2;a=1;");
    must_show("a=,b=2", "b=2;a=;");
    static const char *const wrong[] = {
        "", "a=1", "a=1,c=2", "a=1,a=2", "a=1,b=2,c=3", "a=1,b=2,a=1", "A=1,b=2"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        must_refuse_key(wrong[i], ERR_LABELS);
    }
    must_refuse_key("a=\xff,b=2", ERR_NAME);
    declare(NULL, 0);
    must_show("", "");
    must_refuse_key("a=1", ERR_LABELS);
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static char bytes[RECORD_VALUE_MAX + 1];

static int make_long(size_t value_len, size_t max_value)
{
    struct metric metric = metric_of(METRIC_COUNT, "m", 1, "a=1");
    memset(bytes, 'x', sizeof bytes);
    metric.attributes[0].value = (struct str){bytes, value_len};
    return metric_key_make(&shape, &metric, max_value, 0, &key);
}

static void test_metric_key_values_have_a_ceiling(void **state)
{
    (void)state;
    static const struct str label[] = {{"a", 1}};
    for (int declared = 0; declared < 2; declared++) {
        assert_int_equal(make_long(0, 0), 0);
        assert_int_equal(make_long(1, 0), METRIC_KEY_OVERFLOW);
        assert_int_equal(make_long(256, 256), 0);
        assert_int_equal(make_long(257, 256), METRIC_KEY_OVERFLOW);
        assert_int_equal(make_long(RECORD_VALUE_MAX, RECORD_VALUE_MAX), 0);
        declare(label, 1);
    }
}

/* A bad attribute is bad also beside one that is too long, wherever it stands. */
static void test_metric_key_too_long_hides_no_mistake(void **state)
{
    (void)state;
    char attributes[700];
    char x[301];
    memset(x, 'x', sizeof x);
    x[300] = '\0';
    (void)snprintf(attributes, sizeof attributes, "a=%s,b=\xff", x);
    must_refuse_key(attributes, ERR_NAME);
    (void)snprintf(attributes, sizeof attributes, "b=\xff,a=%s", x);
    must_refuse_key(attributes, ERR_NAME);
    (void)snprintf(attributes, sizeof attributes, "a=%s,a=1", x);
    must_refuse_key(attributes, ERR_DUPLICATE_KEY);
    (void)snprintf(attributes, sizeof attributes, "a=%s,b=1", x);
    must_refuse_key(attributes, METRIC_KEY_OVERFLOW);
}

/* So many pairs that all bytes of the key are used, and one more. */
static int make_whole(size_t last)
{
    static char names[RECORD_ATTRIBUTES_MAX][4];
    struct metric metric = metric_of(METRIC_COUNT, "m", 1, "");
    memset(bytes, 'x', sizeof bytes);
    for (uint32_t i = 0; i < 4; i++) {
        (void)snprintf(names[i], sizeof names[i], "k%u", (unsigned)i);
        metric.attributes[i] =
            (struct label){str_of(names[i]), {bytes, i < 3 ? RECORD_VALUE_MAX : last}};
        metric.attribute_count++;
    }
    return metric_key_make(&shape, &metric, RECORD_VALUE_MAX, 0, &key);
}

static void test_metric_key_has_a_ceiling(void **state)
{
    (void)state;
    size_t last = METRIC_KEY_MAX - 3 * (3 + RECORD_VALUE_MAX + 1) - 3 - 1;
    assert_int_equal(make_whole(last), 0);
    assert_int_equal(key.len, METRIC_KEY_MAX);
    assert_int_equal(make_whole(last + 1), METRIC_KEY_OVERFLOW);
}

static void test_metric_key_takes_the_most_and_longest_attributes(void **state)
{
    (void)state;
    static char names[RECORD_ATTRIBUTES_MAX][RECORD_NAME_MAX];
    struct metric metric = metric_of(METRIC_COUNT, "m", 1, "");
    for (uint32_t i = 0; i < RECORD_ATTRIBUTES_MAX; i++) {
        memset(names[i], '_', RECORD_NAME_MAX); /* exported_, with the name at its longest */
        names[i][RECORD_NAME_MAX - 1] = (char)('a' + i % 26);
        names[i][RECORD_NAME_MAX - 2] = (char)('a' + i / 26);
        metric.attributes[i] = (struct label){{names[i], RECORD_NAME_MAX}, STR_LITERAL("1")};
    }
    metric.attribute_count = RECORD_ATTRIBUTES_MAX;
    assert_int_equal(make(&metric, 0), 0);
    assert_int_equal(key.pair_count, RECORD_ATTRIBUTES_MAX);
    char name[RECORD_NAME_MAX + 1];
    memset(name, '1', sizeof name);
    metric.attribute_count = 1;
    metric.attributes[0].key = (struct str){name, RECORD_NAME_MAX};
    assert_int_equal(make(&metric, 0), 0);
    metric.attributes[0].key.len++;
    assert_int_equal(make(&metric, 0), ERR_NAME);
}

static void test_metric_key_of_the_overflow(void **state)
{
    (void)state;
    metric_key_overflow(&key);
    assert_string_equal(shown(), "dwell_overflow=true;");
}

#define TEST(name) cmocka_unit_test_setup(name, plain_shape)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metric_key_is_in_one_order),
        TEST(test_metric_key_names_are_sanitised),
        TEST(test_metric_key_a_label_without_a_value_is_none),
        TEST(test_metric_key_names_that_mean_something_are_exported),
        TEST(test_metric_key_of_a_process_has_its_number),
        TEST(test_metric_key_declared_labels_are_all_there_is),
        TEST(test_metric_key_values_have_a_ceiling),
        TEST(test_metric_key_too_long_hides_no_mistake),
        TEST(test_metric_key_has_a_ceiling),
        TEST(test_metric_key_takes_the_most_and_longest_attributes),
        TEST(test_metric_key_of_the_overflow),
    };
    return cmocka_run_group_tests_name("metric_key", tests, NULL, NULL);
}
