#include "cli_golden.h"

#include <math.h>

#include "cli/figure.h"

struct fact {
    double figure;
    const char *text;
};

static void must_read_as(void (*put)(struct buf *out, double figure), const struct fact *facts,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct buf out;
        buf_init(&out, 64);
        put(&out, facts[i].figure);
        buf_char(&out, '\0');
        assert_int_equal(out.err, 0);
        assert_string_equal(out.data, facts[i].text);
        buf_fini(&out);
    }
}

#define MUST_READ_AS(put, ...)                                                                     \
    must_read_as(put, (const struct fact[]){__VA_ARGS__},                                          \
                 sizeof((const struct fact[]){__VA_ARGS__}) / sizeof(struct fact))

static void test_cli_figures_have_three_digits(void **state)
{
    (void)state;
    MUST_READ_AS(figure_time, {0, "0 ms"}, {NAN, "–"}, {0.0004, "400 ns"}, {0.43, "430 µs"},
                 {0.9994, "999 µs"}, {0.9995, "1.00 ms"}, {3.216, "3.22 ms"}, {9.995, "10.0 ms"},
                 {99.95, "100 ms"}, {999.4, "999 ms"}, {1234.5, "1.23 s"}, {1e10, "116 d"},
                 {INFINITY, "–"});
    MUST_READ_AS(figure_bytes, {0, "0 B"}, {1023, "1023 B"}, {1023.5, "1.00 kB"},
                 {12897485, "12.3 MB"}, {0x1p50, "1024 TB"}, {NAN, "–"});
    MUST_READ_AS(figure_percent, {0, "0 %"}, {0.2644, "0.26 %"}, {99.77, "99.8 %"},
                 {1600, "1600 %"}, {NAN, "–"});
    MUST_READ_AS(figure_share, {0, "0 %"}, {0.004, "0.40 %"}, {0.93, "93 %"}, {1, "100 %"},
                 {NAN, "–"});
    MUST_READ_AS(figure_rate, {0, "0/s"}, {1.5, "1.50/s"}, {87.42, "87.4/s"}, {1234.5, "1,235/s"},
                 {NAN, "–"});
    MUST_READ_AS(figure_number, {0.001, "0.001"}, {1e13, "10,000,000,000,000"}, {-3, "-3.00"},
                 {NAN, "–"});
    MUST_READ_AS(figure_count, {0, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"},
                 {1e300, "1e+300"}, {-1, "-1"}, {NAN, "–"});
    MUST_READ_AS(figure_since, {0, "0 s"}, {59.9, "59 s"}, {60, "1 min"}, {3599, "59 min"},
                 {3600, "1 h 0 min"}, {86399, "23 h 59 min"}, {86400, "1 d 0 h"}, {-1, "0 s"},
                 {1e300, "0 s"}, {NAN, "–"});
}

static void test_cli_figures_of_one_are_singular(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 64);
    figure_plural(&out, 1, "model", "models");
    buf_char(&out, ' ');
    figure_plural(&out, 2000, "model", "models");
    buf_char(&out, '\0');
    assert_string_equal(out.data, "1 model 2,000 models");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_figures_have_three_digits),
        cmocka_unit_test(test_cli_figures_of_one_are_singular),
    };
    return cmocka_run_group_tests_name("cli_figure", tests, NULL, NULL);
}
