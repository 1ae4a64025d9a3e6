/*
 * The golden cases of time budgets (tests/data/golden/budgets) through the C client, on a clock that
 * only their operations move. What they record as faults is put right in two tables: the time of
 * repeated and nested operations, and the total, which is enforced here (also at the end of t06, by
 * which it is 4 ns over).
 */
#include "dwell.h"
#include "own_clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASES      TEST_DATA "/golden/budgets"
#define TOLERANCE  1e-9 /* ms: sums of doubles that are no whole binary fractions */
#define BEGIN_NS   UINT64_C(1000000000000)
#define NO_VERDICT (-1)

enum { CASE_COUNT = 18, LAYERS_MAX = DWELL_BUDGET_LAYERS_MAX };

/* What a layer has really taken after a step, where the recorded time is that of one operation only,
 * or of none. */
static const struct {
    const char *name;
    size_t step;
    const char *layer;
    double elapsed_ms;
} corrections[] = {
    {"t12-exception-passes", 1, "layer1_validation", 11}, /* 2, and 9 */
    {"t12-exception-passes", 2, "layer1_validation", 11},
    {"t12-exception-passes", 3, "layer1_validation", 11},
    {"t13-repeat-overwrites", 2, "layer3_policy", 12}, /* 6, and 6 */
    {"t13-repeat-overwrites", 3, "layer3_policy", 12},
    {"t13-repeat-overwrites", 4, "layer3_policy", 12},
    {"t15-nested-leak", 0, "layer2_deliberation", 7}, /* 1, and 6 of what failed within it */
    {"t15-nested-leak", 1, "layer2_deliberation", 7},
};

/* Where a step's verdict is not the recorded one. */
static const struct {
    const char *name;
    size_t step;
    int verdict;
} verdicts[] = {
    {"t06-exceed-by-1ns", 4, DWELL_EXCEEDED_STRICT},       /* the total is over by 4 ns, too */
    {"t06-exceed-by-1ns", 5, DWELL_EXCEEDED_STRICT},       /* the total itself */
    {"t13-repeat-overwrites", 2, DWELL_EXCEEDED_STRICT},   /* 12 of 10 ms */
    {"t14-total-over-no-error", 2, DWELL_EXCEEDED_STRICT}, /* 80 of 50 ms */
    {"t14-total-over-no-error", 3, DWELL_EXCEEDED_STRICT},
};

struct play {
    const char *name;
    struct dwell_budget budget;
    unsigned layer_count;
    struct dwell_budget_layer layers[LAYERS_MAX];
    bool total_started;
};

static const struct dwell_budget_layer standard[] = {
    {"layer1_validation", 5, 0, 0, DWELL_ENFORCEMENT_STRICT},
    {"layer2_deliberation", 20, 0, 0, DWELL_ENFORCEMENT_STRICT},
    {"layer3_policy", 10, 0, 0, DWELL_ENFORCEMENT_STRICT},
    {"layer4_audit", 15, 0, 0, DWELL_ENFORCEMENT_LENIENT},
};

static double number_or(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL ? json_number_value(value) : otherwise;
}

static double must_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void must_be_ms(double is, double expected)
{
    if (!(fabs(is - expected) <= TOLERANCE)) {
        fail_msg("%.9f ms is not %.9f ms", is, expected);
    }
}

/* layer_count when there is no layer of that name. */
static unsigned layer_of(const struct play *play, const char *name)
{
    unsigned i = 0;
    while (i < play->layer_count && strcmp(play->layers[i].name, name) != 0) {
        i++;
    }
    return i;
}

static void play_begin(struct play *play, const json_t *config)
{
    const json_t *layers = json_object_get(config, "layers");
    struct dwell_budget_options options = {
        .size = sizeof options,
        .total_ms = number_or(config, "total_budget_ms", 0),
    };
    memcpy(play->layers, standard, sizeof standard);
    play->layer_count = sizeof standard / sizeof standard[0];
    if (layers != NULL) {
        play->layer_count = (unsigned)json_array_size(layers);
        options.layers = play->layers;
        options.layer_count = play->layer_count;
    }
    for (size_t i = 0; layers != NULL && i < play->layer_count; i++) {
        const json_t *layer = json_array_get(layers, i);
        const json_t *strict = json_object_get(layer, "strict_enforcement");
        play->layers[i] = (struct dwell_budget_layer){
            .name = json_string_value(json_object_get(layer, "layer")),
            .budget_ms = must_number(layer, "budget_ms"),
            .soft_limit_pct = number_or(layer, "soft_limit_pct", 0),
            .enforcement =
                json_is_false(strict) ? DWELL_ENFORCEMENT_LENIENT : DWELL_ENFORCEMENT_DEFAULT,
        };
    }
    own_clock_set(BEGIN_NS);
    assert_true(dwell_budget_init(NULL, &play->budget, &options));
}

/* ---- Operations ---- */

static int execute(struct play *play, const json_t *op)
{
    unsigned layer = layer_of(play, json_string_value(json_object_get(op, "layer")));
    double ms = must_number(op, "duration_ms");
    const json_t *inner = json_object_get(op, "inner");
    dwell_budget_start(&play->budget, layer);
    own_clock_advance(number_or(op, "before_ms", 0));
    int failed = inner != NULL ? execute(play, inner) : NO_VERDICT;
    if (failed != DWELL_EXCEEDED_STRICT) {
        double left_ms = dwell_budget_remaining(&play->budget, layer);
        bool cancelled =
            strcmp(json_string_value(json_object_get(op, "op")), "execute_async") == 0 &&
            ms > left_ms;
        own_clock_advance(cancelled ? left_ms + number_or(op, "timer_lag_ms", 0) : ms);
    }
    int verdict = (int)dwell_budget_stop(&play->budget, layer, NULL, NULL);
    return failed == DWELL_EXCEEDED_STRICT ? failed : verdict;
}

/* The library cannot be told how long it was: the clock is moved, and moved back. */
static void elapsed_set(struct play *play, unsigned layer, double ms)
{
    uint64_t now_ns = own_clock_ns;
    dwell_budget_reset(&play->budget, layer);
    dwell_budget_start(&play->budget, layer);
    own_clock_advance(ms);
    dwell_budget_stop(&play->budget, layer, NULL, NULL);
    own_clock_set(now_ns);
}

static void must_report(struct play *play, const json_t *report)
{
    double elapsed_ms;
    dwell_budget_check(&play->budget, DWELL_LAYER_TOTAL, &elapsed_ms);
    must_be_ms(elapsed_ms, must_number(report, "total_elapsed_ms"));
    must_be_ms(dwell_budget_remaining(&play->budget, DWELL_LAYER_TOTAL),
               must_number(report, "total_remaining_ms"));
}

/* Does one step, and compares the number that it returns. Returns its verdict, if it has one. */
static int step_do(struct play *play, const json_t *op, const json_t *returns)
{
    const char *what = json_string_value(json_object_get(op, "op"));
    const char *name = json_string_value(json_object_get(op, "layer"));
    unsigned layer = name != NULL ? layer_of(play, name) : (unsigned)DWELL_LAYER_TOTAL;
    double elapsed_ms = 0;
    int verdict = NO_VERDICT;
    if (strcmp(what, "advance") == 0) {
        own_clock_advance(must_number(op, "ms"));
    } else if (strcmp(what, "start_total") == 0 || strcmp(what, "layer_start") == 0) {
        play->total_started = play->total_started || name == NULL;
        dwell_budget_start(&play->budget, layer);
    } else if (strcmp(what, "stop_total") == 0 || strcmp(what, "layer_stop") == 0) {
        verdict = (int)dwell_budget_stop(&play->budget, layer, NULL, &elapsed_ms);
        must_be_ms(elapsed_ms, json_number_value(returns));
    } else if (strcmp(what, "total") == 0) {
        verdict = (int)dwell_budget_check(&play->budget, layer, NULL);
        must_report(play, returns);
    } else if (strcmp(what, "layer_reset") == 0) {
        dwell_budget_reset(&play->budget, layer);
    } else if (strcmp(what, "reset_all") == 0) {
        play->total_started = false;
        dwell_budget_reset(&play->budget, DWELL_LAYER_ALL);
    } else if (strcmp(what, "set_elapsed") == 0) {
        elapsed_set(play, layer, must_number(op, "elapsed_ms"));
    } else if (strcmp(what, "report") == 0) {
        must_report(play, returns);
    } else if (strncmp(what, "execute", strlen("execute")) == 0) {
        verdict = execute(play, op);
    } else {
        fail_msg("unknown operation %s", what);
    }
    return verdict;
}

/* ---- What is expected ---- */

static int verdict_of(const struct dwell_budget_layer *layer, double elapsed_ms)
{
    double soft = layer->soft_limit_pct > 0 ? layer->soft_limit_pct : 0.8;
    if (elapsed_ms > layer->budget_ms) {
        return layer->enforcement == DWELL_ENFORCEMENT_LENIENT ? DWELL_EXCEEDED
                                                               : DWELL_EXCEEDED_STRICT;
    }
    return elapsed_ms > soft * layer->budget_ms ? DWELL_SOFT_LIMIT : DWELL_WITHIN;
}

/* An operation runs if its layer's time goes on with the clock. */
static bool layer_runs(struct play *play, unsigned layer)
{
    double before_ms;
    double after_ms;
    dwell_budget_check(&play->budget, layer, &before_ms);
    own_clock_ns++;
    dwell_budget_check(&play->budget, layer, &after_ms);
    own_clock_ns--;
    return after_ms > before_ms;
}

static void must_be_layer(struct play *play, size_t step, const char *name, const json_t *expected)
{
    unsigned layer = layer_of(play, name);
    double elapsed_ms = must_number(expected, "elapsed_ms");
    bool running = json_is_true(json_object_get(expected, "running"));
    bool corrected = false;
    for (size_t i = 0; i < sizeof corrections / sizeof corrections[0]; i++) {
        if (strcmp(corrections[i].name, play->name) == 0 && corrections[i].step == step &&
            strcmp(corrections[i].layer, name) == 0) {
            elapsed_ms = corrections[i].elapsed_ms;
            running = false;
            corrected = true;
        }
    }
    assert_int_equal(layer_runs(play, layer), running);
    if (running) {
        return; /* the recorded time stands still until the stop, ours does not */
    }
    double is_ms;
    double total_left_ms = dwell_budget_remaining(&play->budget, DWELL_LAYER_TOTAL);
    bool total_over =
        dwell_budget_check(&play->budget, DWELL_LAYER_TOTAL, NULL) == DWELL_EXCEEDED_STRICT;
    int verdict = (int)dwell_budget_check(&play->budget, layer, &is_ms);
    int its_own = verdict_of(&play->layers[layer], elapsed_ms);
    double left_ms = fmax(0, play->layers[layer].budget_ms - elapsed_ms);
    must_be_ms(is_ms, elapsed_ms);
    must_be_ms(dwell_budget_remaining(&play->budget, layer),
               play->total_started ? fmin(left_ms, total_left_ms) : left_ms);
    assert_int_equal(verdict, total_over ? DWELL_EXCEEDED_STRICT : its_own);
    if (!corrected) {
        must_be_ms(left_ms, must_number(expected, "remaining_ms"));
        assert_int_equal(its_own >= DWELL_EXCEEDED,
                         json_is_true(json_object_get(expected, "is_exceeded")));
        assert_int_equal(its_own >= DWELL_SOFT_LIMIT,
                         json_is_true(json_object_get(expected, "is_soft_limit_exceeded")));
    }
}

/* An operation that was to raise is one that was strict, or cancelled, or of no layer. */
static void must_be_verdict(const struct play *play, size_t step, const json_t *op,
                            const json_t *expected, int verdict)
{
    const json_t *raises = json_object_get(expected, "raises");
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        if (strcmp(verdicts[i].name, play->name) == 0 && verdicts[i].step == step) {
            assert_int_equal(verdict, verdicts[i].verdict);
            return;
        }
    }
    if (verdict == NO_VERDICT || json_object_get(op, "raises") != NULL) {
        return;
    }
    const char *type = raises != NULL ? json_string_value(json_object_get(raises, "type")) : "";
    if (strcmp(type, "LayerTimeoutError") == 0) {
        assert_int_equal(verdict, DWELL_EXCEEDED_STRICT);
    } else if (strcmp(type, "TimeoutError") == 0) {
        assert_int_equal(verdict, DWELL_EXCEEDED);
    } else if (strcmp(type, "ValueError") == 0) {
        assert_int_equal(verdict, DWELL_WITHIN); /* of a layer that there is not: a no-op */
    } else {
        assert_true(verdict < DWELL_EXCEEDED_STRICT);
    }
}

static void must_play(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL) {
        fail_msg("%s: %s", path, error.text);
    }
    struct play play = {.name = json_string_value(json_object_get(root, "case"))};
    const json_t *ops = json_object_get(root, "ops");
    const json_t *expected = json_object_get(root, "expected");
    const json_t *steps = json_object_get(expected, "steps");
    assert_true(json_array_size(ops) > 0);
    assert_int_equal(json_array_size(ops), json_array_size(steps));
    print_message("%s\n", play.name);
    play_begin(&play, json_object_get(root, "config"));
    for (size_t i = 0; i < json_array_size(ops); i++) {
        const json_t *op = json_array_get(ops, i);
        const json_t *step = json_array_get(steps, i);
        const char *name;
        json_t *layer;
        int verdict = step_do(&play, op, json_object_get(step, "returns"));
        must_be_verdict(&play, i, op, step, verdict);
        json_object_foreach(json_object_get(step, "layers_after"), name, layer)
        {
            must_be_layer(&play, i, name, layer);
        }
    }
    must_report(&play, json_object_get(expected, "final_report"));
    own_clock_end();
    json_decref(root);
}

static void test_dwell_budget_golden_cases_hold(void **state)
{
    (void)state;
    unsigned count = 0;
    DIR *directory = opendir(CASES);
    assert_non_null(directory);
    for (const struct dirent *entry = readdir(directory); entry != NULL;
         entry = readdir(directory)) {
        char path[512];
        if (entry->d_name[0] == 't') {
            snprintf(path, sizeof path, "%s/%s", CASES, entry->d_name);
            must_play(path);
            count++;
        }
    }
    closedir(directory);
    assert_int_equal(count, CASE_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_budget_golden_cases_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
