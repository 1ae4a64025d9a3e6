#include "core_helpers.h"

#include <stdio.h>

#include "base/err.h"
#include "main/families.h"
#include "mem_fault.h"

static struct core core;
static struct conf_families families;
static struct buf errors;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    core_open(&core, &options);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    conf_families_fini(&families);
    families = (struct conf_families){0};
    buf_fini(&errors);
    core_close(&core);
    return 0;
}

/* The built-in families, and those of a file's list. */
static void must_load(const char *list)
{
    static char file[4096];
    size_t len = strlen(list) - 1; /* without the comma after the last */
    (void)snprintf(file, sizeof file, "{\"families\": [%.*s]}", (int)len, list);
    buf_init(&errors, 4096);
    struct str builtin = {conf_families_builtin, conf_families_builtin_len};
    if (conf_families_load(&families, builtin, "f.json", str_of(file), &errors) != 0) {
        fail_msg("%.*s", (int)errors.len, errors.data);
    }
}

static void must_declare_all(const char *list)
{
    const char *name = "";
    must_load(list);
    assert_int_equal(families_declare(core.metrics, &families, &name), 0);
    assert_int_equal(core.metrics->family_count, families.count);
}

#define LABELS(names) ", \"labels\": [" names "]"
#define BUCKETS       ", \"buckets\": [1]"
#define FAMILY(name, type, members)                                                                \
    "{\"name\": \"" name "\", \"help\": \"Helps.\", \"type\": \"" type "\"" members "},"

static void test_main_families_are_declared_as_they_are_told(void **state)
{
    (void)state;
    must_declare_all(FAMILY("w_seconds", "histogram",
                            LABELS("\"a\", \"b\"") ", \"unit\": \"seconds\", \"buckets\": [1, 2.5]"
                                                   ", \"native\": true, \"expire_seconds\": 7")
                         FAMILY("w_depth", "gauge", LABELS("\"q\"") ", \"aggregation\": \"max\""));
    const struct family_shape *shape = &core.metrics->sets[families.count - 2].family->shape;
    assert_true(str_is(shape->name, "w_seconds") && str_is(shape->help, "Helps."));
    assert_true(str_is(shape->unit, "seconds") && shape->type == FAMILY_HISTOGRAM);
    assert_true(shape->declared && shape->native && shape->expire_seconds == 7);
    assert_int_equal(shape->label_count, 2);
    assert_true(str_is(shape->labels[1], "b"));
    assert_int_equal(shape->bound_count, 2);
    assert_true(shape->bounds[1] == 2.5);
    shape = &core.metrics->sets[families.count - 1].family->shape;
    assert_int_equal(shape->aggregation, AGGREGATION_MAX);
    assert_false(shape->native);
}

static void test_main_families_start_where_it_is_known_which(void **state)
{
    (void)state;
    static const char values[] = "{\"a\": [\"x\", \"y\"], \"b\": [\"1\", \"2\", \"3\"]}";
    char list[1024];
    (void)snprintf(
        list, sizeof list, "%s%s%s%s%s",
        "{\"name\": \"w_total\", \"help\": \"Helps.\", \"type\": \"counter\", \"values\": ", values,
        LABELS("\"a\", \"b\"") "},",
        FAMILY("w_plain", "gauge", "") FAMILY("w_h", "histogram", BUCKETS),
        FAMILY("w_i_info", "info", ""));
    must_declare_all(list);
    static const char *const wanted[] = {"a=x,b=1", "a=x,b=2", "a=x,b=3",
                                         "a=y,b=1", "a=y,b=2", "a=y,b=3"};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        assert_true(core_series(&core, "w", wanted[i]).number == 0);
    }
    assert_true(core_series(&core, "w_plain", "").number == 0);
    assert_int_equal(core_series(&core, "w_h", "").buckets->count, 0);
    assert_false(core_has_series(&core, "w_i", ""));
    assert_int_equal(core.metrics->index.count, 8);
}

/* Also where the name ends as the samples of another type do. */
static void test_main_families_are_reached_by_their_names(void **state)
{
    (void)state;
    static const char counters[] =
        FAMILY("b_total_total", "counter", "") FAMILY("g_total", "counter", "");
    static const char gauges[] = FAMILY("a_total", "gauge", "") FAMILY("c_info", "gauge", "");
    static const char infos[] = FAMILY("d_info_info", "info", "") FAMILY("f_total", "info", "");
    static const char histogram[] = FAMILY("e_total", "histogram", BUCKETS);
    char list[1024];
    (void)snprintf(list, sizeof list, "%s%s%s%s", counters, gauges, infos, histogram);
    must_declare_all(list);
    static const struct {
        enum metric_op op;
        const char *name, *family;
        double wanted;
    } table[] = {
        {METRIC_SET, "a_total", "a_total", 5},    {METRIC_COUNT, "b_total_total", "b_total", 5},
        {METRIC_COUNT, "b_total", "b_total", 10}, {METRIC_SET, "c_info", "c_info", 5},
        {METRIC_INFO, "d_info", "d_info", 1},     {METRIC_INFO, "d_info_info", "d_info", 1},
        {METRIC_INFO, "f_total", "f_total", 1},   {METRIC_COUNT, "g", "g", 5},
        {METRIC_COUNT, "g_total", "g", 10},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct metric metric = metric_of(table[i].op, table[i].name, 5, "");
        must_count(&core, &metric, NULL);
        assert_true(core_series(&core, table[i].family, "").number == table[i].wanted);
    }
    struct metric metric = metric_of(METRIC_OBSERVE, "e_total", 5, "");
    must_count(&core, &metric, NULL);
    assert_int_equal(core_series(&core, "e_total", "").buckets->count, 1);
    assert_int_equal(core.metrics->family_count, families.count);
}

static void must_fail(const char *list, int err, const char *wanted)
{
    const char *name = "";
    must_load(list);
    assert_int_equal(families_declare(core.metrics, &families, &name), err);
    assert_string_equal(name, wanted);
}

static void test_main_families_leave_the_spans_their_histogram(void **state)
{
    (void)state;
    struct str of_spans;
    assert_int_equal(spans_declare(core.spans, &of_spans), 0);
    must_fail(FAMILY("acgs2_span_duration_seconds", "histogram",
                     LABELS("\"span_name\", \"status_code\"") BUCKETS),
              ERR_CONFLICT, "acgs2_span_duration_seconds");
}

static void test_main_families_cannot_have_names_of_the_daemon(void **state)
{
    (void)state;
    must_fail(FAMILY("acgs2_model_x", "gauge", ""), ERR_CONFLICT, "acgs2_model_x");
}

static void test_main_families_without_memory(void **state)
{
    (void)state;
    core_close(&core);
    must_load(FAMILY("w", "gauge", ""));
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        const char *name = "";
        struct registry_options options = core_options();
        core_open(&core, &options);
        mem_fail_after(n);
        int err = families_declare(core.metrics, &families, &name);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        core_close(&core);
    }
    conf_families_fini(&families);
    open_core(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_main_families_are_declared_as_they_are_told),
        TEST(test_main_families_start_where_it_is_known_which),
        TEST(test_main_families_are_reached_by_their_names),
        TEST(test_main_families_leave_the_spans_their_histogram),
        TEST(test_main_families_cannot_have_names_of_the_daemon),
        TEST(test_main_families_without_memory),
    };
    return cmocka_run_group_tests_name("main_families", tests, core_tables, NULL);
}
