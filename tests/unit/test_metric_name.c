#include "core_helpers.h"

#include <stdio.h>

#include "base/err.h"
#include "core/metric_name.h"
#include "base/name.h"

static struct metric_name made;

static int make(const char *name, const char *unit, enum metric_op op)
{
    memset(&made, 0x55, sizeof made);
    return metric_name_make(str_of(name), str_of(unit), op, &made);
}

static struct str text(void)
{
    return (struct str){made.text, made.len};
}

static struct str source(void)
{
    return (struct str){made.source, made.source_len};
}

static struct str unit_of(void)
{
    return (struct str){made.text + made.len - made.unit_len, made.unit_len};
}

struct fact {
    const char *name;
    const char *unit;
    enum metric_op op;
    const char *text;
    const char *source;
    const char *shown_unit;
    double scale;
};

static void must_hold(const struct fact *facts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct fact *fact = &facts[i];
        assert_int_equal(make(fact->name, fact->unit, fact->op), 0);
        if (!str_is(text(), fact->text) || !str_is(source(), fact->source) ||
            !str_is(unit_of(), fact->shown_unit) || made.scale != fact->scale) {
            fail_msg("\"%s\" of \"%s\" is %.*s, from %.*s, unit %.*s, times %g", fact->name,
                     fact->unit, (int)made.len, made.text, (int)made.source_len, made.source,
                     (int)made.unit_len, unit_of().ptr, made.scale);
        }
    }
}

#define HOLD(facts) must_hold(facts, sizeof facts / sizeof facts[0])

static void test_metric_name_is_sanitised(void **state)
{
    (void)state;
    static const struct fact facts[] = {
        {"my.count", "", METRIC_COUNT, "my_count", "my.count", "", 1},
        {"Kafka-lag/p0", "", METRIC_SET, "Kafka_lag_p0", "Kafka-lag/p0", "", 1},
        {"2xx", "", METRIC_COUNT, "_2xx", "2xx", "", 1},
        {"a:b", "", METRIC_SET, "a_b", "a:b", "", 1},
        {"größe", "", METRIC_SET, "gr__e", "größe", "", 1},
        {"模型", "", METRIC_SET, "__", "模型", "", 1},
        {"a\nb", "", METRIC_SET, "a_b", "a\nb", "", 1},
        {".", "", METRIC_SET, "_", ".", "", 1},
    };
    HOLD(facts);
}

/* With or without what its type adds it is the same family. */
static void test_metric_name_has_no_ending_of_its_type(void **state)
{
    (void)state;
    static const struct fact facts[] = {
        {"jobs_total", "", METRIC_COUNT, "jobs", "jobs", "", 1},
        {"jobs.total", "", METRIC_COUNT, "jobs", "jobs", "", 1},
        {"jobsétotal", "", METRIC_COUNT, "jobs", "jobs", "", 1}, /* the character whole */
        {"jobs模total", "", METRIC_COUNT, "jobs", "jobs", "", 1},
        {"jobs_total", "", METRIC_SET, "jobs", "jobs", "", 1},
        {"jobstotal", "", METRIC_COUNT, "jobstotal", "jobstotal", "", 1},
        {"total", "", METRIC_COUNT, "total", "total", "", 1},
        {"_total", "", METRIC_COUNT, "_total", "_total", "", 1},
        {"a_total", "", METRIC_COUNT, "a", "a", "", 1},
        {"a_total_total", "", METRIC_COUNT, "a_total", "a_total", "", 1}, /* once */
        {"build_info", "", METRIC_INFO, "build", "build", "", 1},
        {"build_info", "", METRIC_SET, "build_info", "build_info", "", 1},
        {"info", "", METRIC_INFO, "info", "info", "", 1},
    };
    HOLD(facts);
}

static void test_metric_name_ends_in_its_base_unit(void **state)
{
    (void)state;
    static const struct fact facts[] = {
        {"t", "s", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1},
        {"t", "ms", METRIC_OBSERVE, "t_seconds", "t_seconds", "seconds", 1e-3},
        {"t", "us", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1e-6},
        {"t", "µs", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1e-6},
        {"t", "ns", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1e-9},
        {"t", "min", METRIC_SET, "t_seconds", "t_seconds", "seconds", 60},
        {"t_ms", "ms", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1e-3},
        {"t.ms", "ms", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1e-3},
        {"t_seconds", "ms", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1e-3},
        {"t_seconds", "s", METRIC_SET, "t_seconds", "t_seconds", "seconds", 1},
        {"t_seconds_total", "s", METRIC_COUNT, "t_seconds", "t_seconds", "seconds", 1},
        {"t_ms_total", "ms", METRIC_COUNT, "t_seconds", "t_seconds", "seconds", 1e-3},
        {"t_seconds", "", METRIC_SET, "t_seconds", "t_seconds", "", 1},
        {"tseconds", "s", METRIC_SET, "tseconds_seconds", "tseconds_seconds", "seconds", 1},
        {"ms", "ms", METRIC_SET, "ms_seconds", "ms_seconds", "seconds", 1e-3},
        {"seconds", "s", METRIC_SET, "seconds_seconds", "seconds_seconds", "seconds", 1},
        {"size", "By", METRIC_SET, "size_bytes", "size_bytes", "bytes", 1},
        {"size", "MB", METRIC_SET, "size_bytes", "size_bytes", "bytes", 1048576},
        {"size", "KiB", METRIC_SET, "size_bytes", "size_bytes", "bytes", 1024},
        {"load", "%", METRIC_SET, "load_percent", "load_percent", "percent", 1},
        {"n", "1", METRIC_SET, "n", "n", "", 1},
        {"n", "{requests}", METRIC_SET, "n", "n", "", 1},
        {"n", "{", METRIC_SET, "n", "n", "", 1},
    };
    HOLD(facts);
}

static void test_metric_name_takes_units_that_it_does_not_know(void **state)
{
    (void)state;
    static const struct fact facts[] = {
        {"speed", "km/h", METRIC_SET, "speed_km_h", "speed_km_h", "km_h", 1},
        {"2xx rate", "1/s", METRIC_SET, "_2xx_rate_1_s", "2xx rate_1_s", "1_s", 1},
        {"rate_1_s", "1/s", METRIC_SET, "rate_1_s", "rate_1_s", "1_s", 1},
        {"rate 1/s", "1/s", METRIC_SET, "rate_1_s", "rate_1_s", "1_s", 1},
        {"n", "parts", METRIC_SET, "n_parts", "n_parts", "parts", 1},
        {"n_parts", "parts", METRIC_SET, "n_parts", "n_parts", "parts", 1},
        {"n", "MS", METRIC_SET, "n_MS", "n_MS", "MS", 1}, /* megasiemens */
    };
    HOLD(facts);
}

/* OpenMetrics: an info has no unit. */
static void test_metric_name_of_an_info_has_no_unit(void **state)
{
    (void)state;
    static const struct fact facts[] = {
        {"build", "ms", METRIC_INFO, "build", "build", "", 1},
        {"build_ms", "ms", METRIC_INFO, "build_ms", "build_ms", "", 1},
    };
    HOLD(facts);
}

static void must_be_refused(struct str name, struct str unit)
{
    struct metric_name name_made;
    assert_int_equal(metric_name_make(name, unit, METRIC_SET, &name_made), ERR_NAME);
}

static void test_metric_name_refuses_what_is_no_text(void **state)
{
    (void)state;
    struct str good = STR_LITERAL("a");
    must_be_refused((struct str){"", 0}, good);
    must_be_refused((struct str){"\0", 1}, good);
    must_be_refused((struct str){"a\0b", 3}, good);
    must_be_refused((struct str){"\xff", 1}, good);
    must_be_refused((struct str){"\xc3", 1}, good);
    must_be_refused(good, (struct str){"\xff", 1});
    must_be_refused(good, (struct str){"s\0", 2});
}

static void test_metric_name_has_the_longest_that_there_are(void **state)
{
    (void)state;
    static char name[RECORD_NAME_MAX + 1];
    static char unit[RECORD_UNIT_MAX + 1];
    memset(name, '1', sizeof name);
    memset(unit, '2', sizeof unit);
    memset(&made, 0, sizeof made);
    must_be_refused((struct str){name, sizeof name}, (struct str){unit, 1});
    must_be_refused((struct str){name, 1}, (struct str){unit, sizeof unit});
    assert_int_equal(metric_name_make((struct str){name, RECORD_NAME_MAX},
                                      (struct str){unit, RECORD_UNIT_MAX}, METRIC_SET, &made),
                     0);
    assert_in_range(made.len, 1 + RECORD_NAME_MAX + 1 + RECORD_UNIT_MAX, METRIC_NAME_MAX);
    assert_in_range(made.source_len, RECORD_NAME_MAX + 1 + RECORD_UNIT_MAX, METRIC_NAME_MAX);
}

/* A text of so many pieces. */
static void choose(struct random *random, uint64_t pieces, char *out, size_t room)
{
    static const char *const all[] = {"a",  "_", ".",  "1",     "é",   "模", "total",  "info",
                                      "ms", "s", "By", "bytes", "{x}", "µs", "_total", "seconds"};
    size_t len = 0;
    out[0] = '\0';
    for (; pieces > 0; pieces--) {
        len += (size_t)snprintf(out + len, room - len, "%s",
                                all[random_below(random, sizeof all / sizeof all[0])]);
        assert_true(len < room);
    }
}

/* Whatever comes, what is made is a name, and its unit its end. */
static void test_metric_name_is_always_a_name(void **state)
{
    (void)state;
    struct random random = random_start("names");
    for (int i = 0; i < 100000; i++) {
        char name[128];
        char unit[RECORD_UNIT_MAX + 1];
        choose(&random, 1 + random_below(&random, 5), name, sizeof name);
        choose(&random, random_below(&random, 3), unit, sizeof unit);
        assert_int_equal(make(name, unit, (enum metric_op)random_below(&random, METRIC_OP_COUNT)),
                         0);
        assert_true(made.len > 0 && made.len <= METRIC_NAME_MAX);
        assert_false(made.text[0] >= '0' && made.text[0] <= '9');
        for (size_t at = 0; at < made.len; at++) {
            assert_true(name_takes(made.text[at]));
        }
        assert_true(made.unit_len == 0 || (made.unit_len < made.len - 1 &&
                                           made.text[made.len - made.unit_len - 1] == '_'));
        assert_true(str_is_utf8(source()));
    }
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metric_name_is_sanitised),
        TEST(test_metric_name_has_no_ending_of_its_type),
        TEST(test_metric_name_ends_in_its_base_unit),
        TEST(test_metric_name_takes_units_that_it_does_not_know),
        TEST(test_metric_name_of_an_info_has_no_unit),
        TEST(test_metric_name_refuses_what_is_no_text),
        TEST(test_metric_name_has_the_longest_that_there_are),
        TEST(test_metric_name_is_always_a_name),
    };
    return cmocka_run_group_tests_name("metric_name", tests, NULL, NULL);
}
