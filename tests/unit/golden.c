#include "golden.h"

#include "core_helpers.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#define MEAN_TOLERANCE 1e-5
#define SUM_TOLERANCE  1e-9

static const double bounds_seconds[] = {.0001, .0005, .001, .005, .01, .05, .1, .5, 1};
_Static_assert(sizeof bounds_seconds / sizeof bounds_seconds[0] == GOLDEN_BUCKETS - 1, "and +Inf");

/* --- reading ----------------------------------------------------------------------------------- */

static json_t *must_get(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (value == NULL) {
        fail_msg("no \"%s\"", key);
    }
    return value;
}

static double number_at(const json_t *array, size_t index)
{
    const json_t *value = json_array_get(array, index);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static double number_of(const json_t *object, const char *key)
{
    const json_t *value = must_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void load_rows(struct golden_case *golden, const json_t *rows)
{
    golden->row_count = json_array_size(rows);
    golden->rows = calloc(golden->row_count + 1, sizeof *golden->rows);
    assert_non_null(golden->rows);
    for (size_t i = 0; i < golden->row_count; i++) {
        const json_t *row = json_array_get(rows, i);
        golden->rows[i] = (struct golden_row){.model = json_string_value(json_array_get(row, 0)),
                                              .ms = number_at(row, 1),
                                              .cpu_before = number_at(row, 2),
                                              .cpu_during = number_at(row, 3),
                                              .memory_before = number_at(row, 4),
                                              .memory_after = number_at(row, 5)};
        assert_non_null(golden->rows[i].model);
    }
}

static void load_resets(struct golden_case *golden, const json_t *resets)
{
    golden->reset_count = json_array_size(resets); /* 0 for none */
    golden->resets = calloc(golden->reset_count + 1, sizeof *golden->resets);
    assert_non_null(golden->resets);
    for (size_t i = 0; i < golden->reset_count; i++) {
        const json_t *reset = json_array_get(resets, i);
        golden->resets[i] =
            (struct golden_reset){.after_row = (size_t)number_of(reset, "after_row"),
                                  .model = json_string_value(must_get(reset, "model"))};
    }
}

void golden_load(const char *path, struct golden_case *ret_golden)
{
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (json == NULL) {
        fail_msg("%s: %s", path, error.text);
    }
    *ret_golden =
        (struct golden_case){.name = json_string_value(must_get(json, "case")),
                             .max_samples = (uint64_t)number_of(json, "max_samples_per_model"),
                             .json = json};
    load_rows(ret_golden, must_get(json, "rows"));
    load_resets(ret_golden, json_object_get(json, "resets"));
}

void golden_free(struct golden_case *golden)
{
    free(golden->rows);
    free(golden->resets);
    json_decref(golden->json);
}

/* --- what is expected -------------------------------------------------------------------------- */

/* The rows of a model since its last reset, in order. The caller frees them. */
static const struct golden_row **rows_left(const struct golden_case *golden, const char *model,
                                           size_t *ret_count)
{
    const struct golden_row **rows = calloc(golden->row_count + 1, sizeof *rows);
    assert_non_null(rows);
    size_t count = 0;
    size_t reset = 0;
    for (size_t i = 0; i <= golden->row_count; i++) {
        for (; reset < golden->reset_count && golden->resets[reset].after_row == i; reset++) {
            const char *what = golden->resets[reset].model;
            count = what == NULL || strcmp(what, model) == 0 ? 0 : count;
        }
        if (i < golden->row_count && strcmp(golden->rows[i].model, model) == 0) {
            rows[count++] = &golden->rows[i];
        }
    }
    *ret_count = count;
    return rows;
}

static void must_be_about(double got, double wanted, double tolerance, const char *model,
                          const char *what)
{
    if (!(fabs(got - wanted) <= tolerance * fabs(wanted))) {
        fail_msg("%s: %s is %.17g, not %.17g", model, what, got, wanted);
    }
}

static void compare_recorded(const struct golden_figures *got, const json_t *model_json,
                             const char *model)
{
    const json_t *raw = must_get(model_json, "raw");
    const json_t *reference = must_get(model_json, "reference");
    const json_t *ranks = must_get(reference, "nearest_rank");
    const struct {
        double got;
        const json_t *from;
        const char *key;
        double tolerance;
    } table[] = {
        {got->mean, raw, "latency_mean_ms", MEAN_TOLERANCE},
        {got->deviation, raw, "latency_std_ms", MEAN_TOLERANCE},
        {got->cpu_mean, raw, "avg_cpu_percent", MEAN_TOLERANCE},
        {got->cpu_peak, raw, "peak_cpu_percent", MEAN_TOLERANCE},
        {got->memory_mean, raw, "avg_memory_mb", MEAN_TOLERANCE},
        {got->memory_peak, raw, "peak_memory_mb", MEAN_TOLERANCE},
        {got->min, reference, "min_ms", 0},
        {got->max, reference, "max_ms", 0},
        {got->p50, ranks, "p50", QUANTILE_TOLERANCE},
        {got->p95, ranks, "p95", QUANTILE_TOLERANCE},
        {got->p99, ranks, "p99", QUANTILE_TOLERANCE},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        must_be_about(table[i].got, number_of(table[i].from, table[i].key), table[i].tolerance,
                      model, table[i].key);
    }
}

/* The newest rows, as many as were counted. */
static void compare_newest(const struct golden_figures *got, const struct golden_row **newest,
                           const char *model)
{
    size_t count = got->count;
    double *figures = calloc(count, sizeof *figures);
    assert_non_null(figures);
    long double cpu = 0;
    long double memory = 0;
    double cpu_peak = 0;
    double memory_peak = 0;
    for (size_t i = 0; i < count; i++) {
        figures[i] = newest[i]->ms;
        cpu += (long double)newest[i]->cpu_during;
        memory += (long double)newest[i]->memory_after;
        cpu_peak = fmax(cpu_peak, newest[i]->cpu_during);
        memory_peak = fmax(memory_peak, newest[i]->memory_after);
    }
    struct facts facts = facts_of(figures, count);
    free(figures);
    const struct {
        double got, wanted, tolerance;
        const char *what;
    } table[] = {
        {got->mean, facts.mean, MEAN_TOLERANCE, "mean"},
        {got->deviation, facts.deviation, MEAN_TOLERANCE, "deviation"},
        {got->min, facts.min, 0, "minimum"},
        {got->max, facts.max, 0, "maximum"},
        {got->cpu_mean, (double)(cpu / (long double)count), MEAN_TOLERANCE, "mean CPU"},
        {got->cpu_peak, cpu_peak, MEAN_TOLERANCE, "peak CPU"},
        {got->memory_mean, (double)(memory / (long double)count), MEAN_TOLERANCE, "mean memory"},
        {got->memory_peak, memory_peak, MEAN_TOLERANCE, "peak memory"},
        {got->p50, facts.quantile[QUANTILE_50], QUANTILE_TOLERANCE, "p50"},
        {got->p95, facts.quantile[QUANTILE_95], QUANTILE_TOLERANCE, "p95"},
        {got->p99, facts.quantile[QUANTILE_99], QUANTILE_TOLERANCE, "p99"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        must_be_about(table[i].got, table[i].wanted, table[i].tolerance, model, table[i].what);
    }
}

static void compare_window(const struct golden_case *golden, const struct golden_figures *got,
                           const json_t *expected, const char *model)
{
    size_t left;
    const struct golden_row **rows = rows_left(golden, model, &left);
    uint64_t cap = golden->max_samples;
    if (left <= cap) {
        assert_int_equal(got->count, left);
        compare_recorded(got, expected, model);
    } else {
        uint64_t most = cap < REGISTRY_CAP_SINGLE_BELOW ? cap : cap + cap / 8;
        assert_in_range(got->count, cap, most);
        compare_newest(got, rows + left - got->count, model);
    }
    free(rows);
    const json_t *analysis = must_get(must_get(expected, "to_dict"), "analysis");
    assert_string_equal(got->bottleneck, json_string_value(must_get(analysis, "bottleneck_type")));
    assert_string_equal(got->rule, json_string_value(must_get(expected, "rule")));
}

/* Keys of the buckets are bounds as text, in any spelling. */
static uint64_t expected_bucket(const json_t *buckets, double bound)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)buckets, key, value)
    { /* it is not changed */
        if (strtod(key, NULL) == bound) {
            return (uint64_t)json_integer_value(value);
        }
    }
    fail_msg("no bucket %g", bound);
    return 0;
}

static void compare_metrics(const struct golden_figures *got, const json_t *expected,
                            const char *model)
{
    const json_t *buckets = must_get(expected, "buckets");
    for (size_t i = 0; i < GOLDEN_BUCKETS; i++) {
        double bound = i < GOLDEN_BUCKETS - 1 ? bounds_seconds[i] : INFINITY;
        must_be_about((double)got->bucket[i], (double)expected_bucket(buckets, bound), 0, model,
                      "a bucket");
    }
    must_be_about((double)got->total, number_of(expected, "count"), 0, model, "count");
    must_be_about((double)got->total, number_of(expected, "calls_total"), 0, model, "calls_total");
    must_be_about(got->sum_seconds, number_of(expected, "sum_seconds"), SUM_TOLERANCE, model,
                  "sum");
    must_be_about(got->cpu_gauge, number_of(expected, "cpu_gauge"), 0, model, "CPU gauge");
}

size_t golden_compare(const struct golden_case *golden, golden_figures_fn figures, void *ctx)
{
    const json_t *expected = must_get(golden->json, "expected");
    const json_t *metrics = must_get(expected, "prometheus");
    size_t compared = 0;
    const char *model;
    json_t *model_json;
    json_object_foreach(must_get(expected, "models"), model, model_json)
    {
        struct golden_figures got = {.known = false};
        bool exists = figures(ctx, model, &got);
        if (model[0] == '\0') { /* its rows were refused */
            assert_false(exists);
            continue;
        }
        assert_true(exists);
        compare_metrics(&got, must_get(metrics, model), model);
        assert_int_equal(got.known, !json_is_null(model_json));
        if (got.known) {
            compare_window(golden, &got, model_json, model);
        }
        compared++;
    }
    return compared;
}
