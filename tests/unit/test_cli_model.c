#include "cli_golden.h"

#include <math.h>
#include <sysexits.h>

#include "cli/model.h"
#include "mem_fault.h"

/* An answer with models of these names, samples, and windows. */
struct row {
    const char *name;
    double samples;
    const char *window;
};

static void must_read_rows(struct models *models, const struct row *rows, size_t count,
                           double uptime)
{
    struct buf problem;
    json_t *list = json_array();
    buf_init(&problem, CLI_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_pack("{s:s, s:f, s:s}", "model_name", rows[i].name, "sample_count",
                                rows[i].samples, "window", rows[i].window);
        assert_int_equal(json_array_append_new(list, row), 0);
    }
    assert_int_equal(models_read(models, json_pack("{s:o}", "models", list), true, &problem), 0);
    models->uptime = uptime;
    buf_fini(&problem);
}

#define ROWS(...)                                                                                  \
    (const struct row[]){__VA_ARGS__},                                                             \
        sizeof((const struct row[]){__VA_ARGS__}) / sizeof(struct row)

static void must_have_rate(const struct models *models, const char *title, double rate)
{
    for (size_t i = 0; i < models->count; i++) {
        const struct model *row = &models->rows[i];
        if (str_is((struct str){row->title, row->title_len}, title)) {
            assert_true(isnan(rate) ? isnan(row->rate) : row->rate == rate);
            return;
        }
    }
    fail_msg("no model %s", title);
}

static void must_load_models(struct models *models)
{
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    assert_int_equal(models_read(models, must_load("models"), true, &problem), 0);
    models->uptime = 10000.5;
    models_rate_by_window(models);
    buf_fini(&problem);
}

static void test_cli_model_rates_of_one_answer_are_the_windows(void **state)
{
    (void)state;
    struct models models;
    must_read_rows(&models,
                   ROWS({"a", 600, "300s"}, {"b", 5, "all"}, {"c", 5, "?"}, {"d", 3, "0.5s"}), 1e6);
    models_rate_by_window(&models);
    must_have_rate(&models, "a", 2);
    must_have_rate(&models, "b", 0); /* its window is empty */
    must_have_rate(&models, "c", NAN);
    must_have_rate(&models, "d", 6);
    models.uptime = 100; /* younger than its window */
    models_rate_by_window(&models);
    must_have_rate(&models, "a", 6);
    models.uptime = 0;
    models_rate_by_window(&models);
    must_have_rate(&models, "a", NAN);
    models.uptime = NAN;
    models_rate_by_window(&models);
    must_have_rate(&models, "a", 2);
    models_fini(&models);
}

static void test_cli_model_rates_of_two_answers_are_their_difference(void **state)
{
    (void)state;
    struct models before;
    struct models after;
    struct models all;
    must_read_rows(&before, ROWS({"a", 1, "300s"}, {"b", 1, "300s"}, {"c", 1, "300s"}), 10);
    must_read_rows(&all, ROWS({"a", 100, "all"}, {"b", 50, "all"}, {"c", 70, "all"}), 10);
    models_add_totals(&before, &all);
    models_fini(&all);
    must_read_rows(
        &after, ROWS({"a", 1, "300s"}, {"b", 1, "300s"}, {"n", 1, "300s"}, {"u", 1, "300s"}), 12);
    must_read_rows(&all, ROWS({"a", 130, "all"}, {"b", 20, "all"}, {"n", 8, "all"}), 12);
    models_add_totals(&after, &all);
    models_fini(&all);
    models_filter(&before, "b"); /* what was hidden is found again */
    models_sort(&before, SORT_RATE, true);
    models_rate_since(&after, &before);
    must_have_rate(&after, "a", 15);
    must_have_rate(&after, "b", NAN); /* it was reset */
    must_have_rate(&after, "n", 4);   /* it is new */
    must_have_rate(&after, "u", NAN); /* it came between the questions */
    after.uptime = 10;                /* no time has passed, or the daemon began anew */
    models_rate_since(&after, &before);
    must_have_rate(&after, "a", NAN);
    models_fini(&before);
    models_fini(&after);
}

static void must_be_in_order(struct models *models, enum sort sort, bool reverse,
                             const char *letters)
{
    models_sort(models, sort, reverse);
    assert_int_equal(models->count, strlen(letters));
    for (size_t i = 0; i < models->count; i++) {
        assert_int_equal(models->rows[i].name[0], letters[i]);
    }
}

static void test_cli_model_orders(void **state)
{
    (void)state;
    struct models models;
    must_load_models(&models);
    must_be_in_order(&models, SORT_NAME, false, "dimrst");
    must_be_in_order(&models, SORT_NAME, true, "tsrmid");
    must_be_in_order(&models, SORT_RATE, false, "mtrdis");
    must_be_in_order(&models, SORT_P99, false, "stidrm");
    must_be_in_order(&models, SORT_CPU, false, "mdtrsi"); /* what is not known is last */
    must_be_in_order(&models, SORT_CPU, true, "isrtdm");
    must_be_in_order(&models, SORT_VERDICT, false, "mtrsdi");
    models_fini(&models);
}

static void must_leave(struct models *models, const char *text, const char *letters)
{
    models_filter(models, text);
    models_sort(models, SORT_NAME, false);
    assert_int_equal(models->shown, strlen(letters));
    for (size_t i = 0; i < models->shown; i++) {
        assert_int_equal(models->rows[i].name[0], letters[i]);
    }
}

static void test_cli_model_filter_is_a_part_of_the_name(void **state)
{
    (void)state;
    struct models models;
    must_load_models(&models);
    must_leave(&models, NULL, "dimrst");
    must_leave(&models, "", "dimrst");
    must_leave(&models, "RE", "dirt");
    must_leave(&models, "cuda", ""); /* a label is no name */
    must_leave(&models, "日本", "r");
    must_leave(&models, NULL, "dimrst");
    models_fini(&models);
}

static void must_tabulate(struct models *models, bool brief, size_t width, const char *name)
{
    struct table table;
    struct buf out;
    buf_init(&out, CLI_BYTES_MAX);
    models_tabulate(models, brief, &table);
    table_render(&table,
                 &(struct table_view){.columns = width, .rows = TABLE_ALL, .selected = TABLE_NONE},
                 &out);
    table_fini(&table);
    must_fit(&out, width);
    must_show(&out, true, name);
}

static void test_cli_model_table_fits_20_80_and_200_columns(void **state)
{
    (void)state;
    struct models models;
    must_load_models(&models);
    must_tabulate(&models, false, 20, "models_20");
    must_tabulate(&models, false, 80, "models_80");
    must_tabulate(&models, false, 200, "models_200");
    for (size_t width = 4; width <= 220; width++) {
        struct table table;
        struct buf out;
        buf_init(&out, CLI_BYTES_MAX);
        models_tabulate(&models, true, &table);
        table_render(
            &table, &(struct table_view){.columns = width, .rows = TABLE_ALL, .selected = 2}, &out);
        must_fit(&out, width);
        table_fini(&table);
        buf_fini(&out);
    }
    models_fini(&models);
}

static void must_refuse(const char *text)
{
    struct models models;
    struct buf problem;
    json_error_t error;
    buf_init(&problem, CLI_BYTES_MAX);
    json_t *root = json_loads(text, JSON_DECODE_ANY, &error);
    assert_int_equal(models_read(&models, root, true, &problem), EX_PROTOCOL);
    assert_true(problem.len > 0);
    models_fini(&models);
    buf_fini(&problem);
}

static void test_cli_model_answers_of_others_are_refused(void **state)
{
    (void)state;
    must_refuse("{}");
    must_refuse("[]");
    must_refuse("3");
    must_refuse("{\"models\":{}}");
}

/* A daemon may leave out anything of a model. */
static void test_cli_model_reads_what_is_there(void **state)
{
    (void)state;
    struct models models;
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    json_error_t error;
    json_t *root = json_loads(
        "{\"models\":[{}, 3, {\"model_name\":7,\"labels\":{\"a\":1},\"latency\":4}]}", 0, &error);
    assert_int_equal(models_read(&models, root, true, &problem), 0);
    assert_int_equal(models.count, 3);
    models_rate_by_window(&models);
    models_sort(&models, SORT_VERDICT, false);
    struct table table;
    models_tabulate(&models, true, &table);
    assert_int_equal(table_rows(&table), 3);
    table_fini(&table);
    models_fini(&models);
    buf_fini(&problem);
}

static void test_cli_model_without_memory_says_so(void **state)
{
    (void)state;
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct models models;
        struct buf problem;
        buf_init(&problem, CLI_BYTES_MAX);
        json_t *root = must_load("models");
        mem_fail_after(n);
        int status = models_read(&models, root, false, &problem);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(status, failed ? EX_OSERR : 0);
        models_fini(&models);
        buf_fini(&problem);
        assert_int_equal(mem_count_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_model_rates_of_one_answer_are_the_windows),
        cmocka_unit_test(test_cli_model_rates_of_two_answers_are_their_difference),
        cmocka_unit_test(test_cli_model_orders),
        cmocka_unit_test(test_cli_model_filter_is_a_part_of_the_name),
        cmocka_unit_test(test_cli_model_table_fits_20_80_and_200_columns),
        cmocka_unit_test(test_cli_model_answers_of_others_are_refused),
        cmocka_unit_test(test_cli_model_reads_what_is_there),
        cmocka_unit_test(test_cli_model_without_memory_says_so),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_model", tests, NULL, NULL);
}
