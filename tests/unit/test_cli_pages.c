/* The pages of status, budgets, decision, explain and top, each compared with a file, and at every
 * width. */
#include "cli_golden.h"

#include <math.h>

#include "cli/budgets.h"
#include "cli/decision.h"
#include "cli/explain.h"
#include "cli/status.h"
#include "cli/top_frame.h"

typedef void (*page_fn)(const json_t *root, bool utf8, size_t columns, struct buf *out);

static void status_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    (void)columns;
    status_render(root, utf8, out);
}

static void explain_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    explain_render(json_array_get(json_object_get(root, "models"), 2), utf8, columns, out);
}

/* The model that a threshold judged, with a name that would do harm. */
static void explain_threshold_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    explain_render(json_array_get(json_object_get(root, "models"), 3), utf8, columns, out);
}

static void explain_mixed_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    explain_render(json_array_get(json_object_get(root, "models"), 5), utf8, columns, out);
}

static const struct top_totals totals = {.accepted = 1234567,
                                         .lost = 3,
                                         .dropped = 4,
                                         .rejected = 3,
                                         .memory_bytes = 12897485,
                                         .uptime = 10000.5,
                                         .version = "0.1.0"};

static void top_page_of(const json_t *root, bool utf8, size_t columns, size_t rows,
                        struct top_frame frame, struct buf *out)
{
    struct models models;
    struct buf problem;
    buf_init(&problem, CLI_BYTES_MAX);
    assert_int_equal(models_read(&models, json_deep_copy(root), utf8, &problem), 0);
    models.uptime = totals.uptime;
    models_rate_by_window(&models);
    models_filter(&models, frame.filter);
    models_sort(&models, frame.sort, frame.reverse);
    frame.models = &models;
    frame.totals = &totals;
    frame.records_rate = 123.45;
    top_frame_render(&frame, columns, rows, out);
    models_fini(&models);
    buf_fini(&problem);
}

static void top_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    struct top_frame frame = {.sort = SORT_RATE, .selected = TABLE_NONE};
    top_page_of(root, utf8, columns, 0, frame, out);
}

static void top_gone_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    struct top_frame frame = {.sort = SORT_P99,
                              .reverse = true,
                              .selected = 1,
                              .first = 1,
                              .live = true,
                              .filter = "e",
                              .gone = "/run/dwell/query.sock: nobody listens",
                              .since = "12:03:04",
                              .gone_seconds = 17};
    top_page_of(root, utf8, columns, 8, frame, out);
}

static void top_typing_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    struct top_frame frame = {
        .sort = SORT_NAME, .selected = 0, .live = true, .typing = true, .filter = "model"};
    top_page_of(root, utf8, columns, 6, frame, out);
}

static void top_full_page(const json_t *root, bool utf8, size_t columns, struct buf *out)
{
    struct top_frame frame = {.sort = SORT_VERDICT, .selected = TABLE_NONE};
    top_page_of(root, utf8, columns, 6, frame, out);
}

static const struct page {
    const char *name; /* of the files */
    const char *answer;
    page_fn render;
    bool fits; /* its lines fit every width that can hold a word */
} pages[] = {
    {"status", "status", status_page, false},
    {"budgets", "budgets", budgets_render, false},
    {"decision", "decision", decision_render, false},
    {"explain", "models", explain_page, false},
    {"explain_threshold", "models", explain_threshold_page, false},
    {"explain_memory", "models", explain_mixed_page, false},
    {"top", "models", top_page, true},
    {"top_gone", "models", top_gone_page, true},
    {"top_typing", "models", top_typing_page, true},
    {"top_full", "models", top_full_page, true},
};

static void must_be_page(const struct page *page, bool utf8, size_t columns)
{
    char name[64];
    struct buf out;
    json_t *root = must_load(page->answer);
    buf_init(&out, CLI_BYTES_MAX);
    must_use_locale(utf8 ? "C.UTF-8" : "C");
    page->render(root, utf8, columns, &out);
    (void)snprintf(name, sizeof name, "%s_%zu%s", page->name, columns, utf8 ? "" : "_ascii");
    must_show(&out, utf8, name);
    json_decref(root);
    must_use_locale("C.UTF-8");
}

static void test_cli_pages_at_80_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        must_be_page(&pages[i], true, 80);
    }
}

static void test_cli_pages_at_20_and_200_columns(void **state)
{
    (void)state;
    static const char *const wide[] = {"budgets", "decision", "explain", "top"};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        for (size_t w = 0; w < sizeof wide / sizeof wide[0]; w++) {
            if (strcmp(pages[i].name, wide[w]) == 0) {
                must_be_page(&pages[i], true, 20);
                must_be_page(&pages[i], true, 200);
            }
        }
    }
}

static void test_cli_pages_without_utf8(void **state)
{
    (void)state;
    must_be_page(&pages[3], false, 80); /* explain */
    must_be_page(&pages[6], false, 80); /* top */
}

/* Every line of `top` fits every terminal; of the others no control character gets through. */
static void test_cli_pages_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        json_t *root = must_load(pages[i].answer);
        for (size_t columns = 4; columns <= 220; columns++) {
            struct buf out;
            buf_init(&out, CLI_BYTES_MAX);
            pages[i].render(root, true, columns, &out);
            assert_int_equal(out.err, 0);
            must_fit(&out, pages[i].fits ? columns : TEXT_COLUMNS_MAX);
            buf_fini(&out);
        }
        json_decref(root);
    }
}

/* A daemon that says nothing at all gives pages without figures. */
static void test_cli_pages_of_nothing(void **state)
{
    (void)state;
    json_t *nothing = json_object();
    for (size_t i = 0; i < sizeof pages / sizeof pages[0] - 4; i++) { /* top asks for a list */
        struct buf out;
        buf_init(&out, CLI_BYTES_MAX);
        pages[i].render(nothing, true, 80, &out);
        assert_int_equal(out.err, 0);
        assert_true(out.len > 0);
        buf_fini(&out);
    }
    json_decref(nothing);
}

static void test_cli_pages_top_has_as_many_lines_as_the_terminal(void **state)
{
    (void)state;
    json_t *root = must_load("models");
    for (size_t rows = 5; rows < 20; rows++) {
        struct buf out;
        struct top_frame frame = {.sort = SORT_RATE, .selected = 0, .live = true};
        buf_init(&out, CLI_BYTES_MAX);
        top_page_of(root, true, 80, rows, frame, &out);
        size_t lines = 1;
        for (size_t i = 0; i < out.len; i++) {
            lines += out.data[i] == '\n' ? 1 : 0;
        }
        assert_int_equal(lines, rows);
        buf_fini(&out);
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_pages_at_80_columns),
        cmocka_unit_test(test_cli_pages_at_20_and_200_columns),
        cmocka_unit_test(test_cli_pages_without_utf8),
        cmocka_unit_test(test_cli_pages_fit),
        cmocka_unit_test(test_cli_pages_of_nothing),
        cmocka_unit_test(test_cli_pages_top_has_as_many_lines_as_the_terminal),
    };
    must_use_locale("C.UTF-8");
    return cmocka_run_group_tests_name("cli_pages", tests, NULL, NULL);
}
