/*
 * Time budgets of the C client: what layers take and have left on a clock that the test moves, what
 * is sent of it to a daemon played by a thread (client_server.h), and several threads at one budget.
 * The golden cases are in test_dwell_budget_golden.c.
 */
#include "child_thread.h"
#include "client_server.h"
#include "dwell.h"
#include "own_clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TOLERANCE 1e-9 /* ms: numbers here are no whole binary fractions */
#define BEGIN_NS  UINT64_C(1000000000000)

enum {
    PATIENT_MS = 30000,
    NAME_MAX_BYTES = 62,
    REQUEST_ID_MAX = 128,
    LAYERS_MAX = 16,
    RUNNING_MAX = 255,
    RECORD_MAX = 16384,
    THREADS = 4,
    ROUNDS = 20,
    TURNS = 1000, /* whose records one lane holds of all threads: they may come one after another */
    TURNS_WITHIN = 100000,
};

/* A daemon, a client of it and a budget. */
struct stage {
    struct server server;
    dwell_t *dwell;
    struct dwell_budget budget;
};

static void stage_open_threaded(struct stage *stage, const struct dwell_budget_options *budget,
                                bool threaded)
{
    server_init(&stage->server);
    server_start(&stage->server, SERVER_POLITE);
    struct dwell_options options = {
        .size = sizeof options,
        .directory = stage->server.directory,
        .evidence = DWELL_EVIDENCE_NONE,
        .close_timeout_ms = PATIENT_MS,
        .no_thread = !threaded,
    };
    stage->dwell = dwell_open(&options);
    assert_non_null(stage->dwell);
    assert_true(dwell_budget_init(stage->dwell, &stage->budget, budget));
}

static void stage_open(struct stage *stage, const struct dwell_budget_options *budget)
{
    stage_open_threaded(stage, budget, true);
}

/* Returns the daemon's account of the client. */
static struct server_client stage_close(struct stage *stage)
{
    own_clock_end();
    assert_int_equal(dwell_close(stage->dwell), DWELL_OK);
    struct server_client account = server_client(&stage->server, 0);
    assert_int_equal(account.lost, 0);
    server_fini(&stage->server);
    return account;
}

static void must_be_ms(double is, double expected)
{
    if (!(fabs(is - expected) <= TOLERANCE)) {
        fail_msg("%.9f ms is not %.9f ms", is, expected);
    }
}

static void must_flush(struct stage *stage, uint64_t records)
{
    own_clock_end();
    assert_int_equal(dwell_flush(stage->dwell, PATIENT_MS), DWELL_OK);
    assert_int_equal(stage->server.records, records);
}

static void must_have_sent(struct stage *stage, uint64_t n, const char *layer, double elapsed_ms)
{
    const Dwell__Budget *came = server_budget(&stage->server, n);
    assert_string_equal(came->layer, layer);
    must_be_ms(came->elapsed_ms, elapsed_ms);
}

static void budget_make(struct dwell_budget *budget)
{
    assert_true(dwell_budget_init(NULL, budget, NULL));
    own_clock_set(BEGIN_NS);
}

/* ---- Time ---- */

/* What happens to one layer, and what it has taken after it. */
struct event {
    char what; /* + start, - stop, 0 reset, ? look */
    double after_ms;
    double elapsed_ms;
    enum dwell_verdict verdict;
};

static void must_go(unsigned layer, const struct event *events, size_t count)
{
    struct dwell_budget budget;
    budget_make(&budget);
    for (size_t i = 0; i < count; i++) {
        double elapsed_ms = -1;
        enum dwell_verdict verdict;
        own_clock_advance(events[i].after_ms);
        if (events[i].what == '+') {
            dwell_budget_start(&budget, layer);
        } else if (events[i].what == '0') {
            dwell_budget_reset(&budget, layer);
        }
        if (events[i].what == '-') {
            verdict = dwell_budget_stop(&budget, layer, NULL, &elapsed_ms);
        } else {
            verdict = dwell_budget_check(&budget, layer, &elapsed_ms);
        }
        must_be_ms(elapsed_ms, events[i].elapsed_ms);
        assert_int_equal(verdict, events[i].verdict);
    }
    own_clock_end();
}

#define MUST_GO(layer, ...)                                                                        \
    must_go(layer, (const struct event[]){__VA_ARGS__},                                            \
            sizeof((const struct event[]){__VA_ARGS__}) / sizeof(struct event))

static void test_dwell_budget_adds_up_what_a_layer_takes(void **state)
{
    (void)state;
    /* Once; the limits themselves are within. */
    MUST_GO(DWELL_LAYER1_VALIDATION, {'+', 0, 0, DWELL_WITHIN}, {'-', 4, 4, DWELL_WITHIN});
    MUST_GO(DWELL_LAYER1_VALIDATION, {'+', 0, 0, DWELL_WITHIN},
            {'-', 4.000001, 4.000001, DWELL_SOFT_LIMIT});
    MUST_GO(DWELL_LAYER1_VALIDATION, {'+', 0, 0, DWELL_WITHIN}, {'-', 5, 5, DWELL_SOFT_LIMIT});
    MUST_GO(DWELL_LAYER1_VALIDATION, {'+', 0, 0, DWELL_WITHIN},
            {'-', 5.000001, 5.000001, DWELL_EXCEEDED_STRICT});
    MUST_GO(DWELL_LAYER4_AUDIT, {'+', 0, 0, DWELL_WITHIN}, {'-', 15, 15, DWELL_SOFT_LIMIT});
    MUST_GO(DWELL_LAYER4_AUDIT, {'+', 0, 0, DWELL_WITHIN},
            {'-', 15.000001, 15.000001, DWELL_EXCEEDED});
    /* Again: what lies between is not the layer's. */
    MUST_GO(DWELL_LAYER3_POLICY, {'+', 0, 0, DWELL_WITHIN}, {'-', 6, 6, DWELL_WITHIN},
            {'+', 100, 6, DWELL_WITHIN}, {'-', 4, 10, DWELL_SOFT_LIMIT},
            {'+', 100, 10, DWELL_SOFT_LIMIT}, {'-', 1, 11, DWELL_EXCEEDED_STRICT});
    /* Within one another. */
    MUST_GO(DWELL_LAYER3_POLICY, {'+', 0, 0, DWELL_WITHIN}, {'+', 1, 1, DWELL_WITHIN},
            {'+', 1, 2, DWELL_WITHIN}, {'-', 1, 3, DWELL_WITHIN}, {'-', 1, 4, DWELL_WITHIN},
            {'-', 1, 5, DWELL_WITHIN}, {'-', 100, 5, DWELL_WITHIN});
    /* The first ends first: as long as one of them runs. */
    MUST_GO(DWELL_LAYER2_DELIBERATION, {'+', 0, 0, DWELL_WITHIN}, {'+', 3, 3, DWELL_WITHIN},
            {'-', 3, 6, DWELL_WITHIN}, {'?', 2, 8, DWELL_WITHIN}, {'-', 4, 12, DWELL_WITHIN},
            {'?', 9, 12, DWELL_WITHIN});
    /* Over while it runs, and forgotten. A stop of what was forgotten is none. */
    MUST_GO(DWELL_LAYER1_VALIDATION, {'+', 0, 0, DWELL_WITHIN}, {'?', 6, 6, DWELL_EXCEEDED_STRICT},
            {'0', 0, 0, DWELL_WITHIN}, {'-', 2, 0, DWELL_WITHIN}, {'+', 2, 0, DWELL_WITHIN},
            {'-', 2, 2, DWELL_WITHIN});
    /* The total is a layer, too. */
    MUST_GO(DWELL_LAYER_TOTAL, {'+', 0, 0, DWELL_WITHIN}, {'?', 40, 40, DWELL_WITHIN},
            {'?', 0.000001, 40.000001, DWELL_SOFT_LIMIT}, {'?', 9.999999, 50, DWELL_SOFT_LIMIT},
            {'-', 0.000001, 50.000001, DWELL_EXCEEDED_STRICT});
}

static void test_dwell_budget_outlives_the_low_part_of_the_clock(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    own_clock_set((UINT64_C(1) << 44) - 1000000); /* 1 ms before its 44 bits begin anew */
    dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
    own_clock_advance(3);
    dwell_budget_stop(&budget, DWELL_LAYER1_VALIDATION, NULL, &elapsed_ms);
    must_be_ms(elapsed_ms, 3);
    dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
    own_clock_advance(1);
    must_be_ms(dwell_budget_remaining(&budget, DWELL_LAYER1_VALIDATION), 1);
    own_clock_end();
}

static void test_dwell_budget_takes_time_up_to_the_limit(void **state)
{
    (void)state;
    static const uint64_t longest_ns = (UINT64_C(1) << 44) - (UINT64_C(1) << 40); /* 4.5 h */
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
    own_clock_set(BEGIN_NS + longest_ns);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER1_VALIDATION, &elapsed_ms),
                     DWELL_EXCEEDED_STRICT);
    assert_true(elapsed_ms == (double)longest_ns / 1e6);
    own_clock_set(BEGIN_NS + longest_ns + 1);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER1_VALIDATION, &elapsed_ms),
                     DWELL_WITHIN);
    assert_true(elapsed_ms == 0);
    own_clock_end();
}

static void test_dwell_budget_counts_as_many_operations_as_it_says(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    for (unsigned more = 0; more <= 1; more++) {
        for (unsigned i = 0; i < RUNNING_MAX + more; i++) {
            dwell_budget_start(&budget, DWELL_LAYER2_DELIBERATION);
        }
        own_clock_advance(1);
        for (unsigned i = 0; i < RUNNING_MAX - 1; i++) {
            dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
        }
        own_clock_advance(1);
        dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
        must_be_ms(elapsed_ms, 2);
        own_clock_advance(1);
        for (unsigned i = 0; i <= more; i++) { /* nothing runs any more, whatever was started */
            dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
        }
        must_be_ms(elapsed_ms, 2);
        dwell_budget_reset(&budget, DWELL_LAYER2_DELIBERATION);
    }
    own_clock_end();
}

/* Another thread's operation, while this one has read the clock for its own. */
static void come_between(void *budget)
{
    dwell_budget_start(budget, DWELL_LAYER2_DELIBERATION);
    own_clock_advance(5);
    dwell_budget_stop(budget, DWELL_LAYER2_DELIBERATION, NULL, NULL);
}

static void test_dwell_budget_counts_no_time_from_before_an_others_stop(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    own_clock_then = come_between;
    own_clock_arg = &budget;
    dwell_budget_start(&budget, DWELL_LAYER2_DELIBERATION);
    assert_null(own_clock_then);
    own_clock_advance(1);
    dwell_budget_check(&budget, DWELL_LAYER2_DELIBERATION, &elapsed_ms);
    must_be_ms(elapsed_ms, 6);
    dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
    must_be_ms(elapsed_ms, 6);
    own_clock_end();
}

static void test_dwell_budget_loses_no_time_from_within_a_stop(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    dwell_budget_start(&budget, DWELL_LAYER2_DELIBERATION);
    own_clock_advance(1);
    own_clock_then = come_between;
    own_clock_arg = &budget;
    dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
    assert_null(own_clock_then);
    must_be_ms(elapsed_ms, 6);
    dwell_budget_check(&budget, DWELL_LAYER2_DELIBERATION, &elapsed_ms);
    must_be_ms(elapsed_ms, 6);
    own_clock_end();
}

/* One that begins while this one ends goes on. */
static void start_another(void *budget)
{
    dwell_budget_start(budget, DWELL_LAYER2_DELIBERATION);
    own_clock_advance(5);
}

static void test_dwell_budget_ends_no_other_operation(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    dwell_budget_start(&budget, DWELL_LAYER2_DELIBERATION);
    own_clock_advance(1);
    own_clock_then = start_another;
    own_clock_arg = &budget;
    dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
    assert_null(own_clock_then);
    must_be_ms(elapsed_ms, 6);
    own_clock_advance(1);
    dwell_budget_stop(&budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
    must_be_ms(elapsed_ms, 7);
    own_clock_end();
}

/* ---- What is left ---- */

static void must_have_left(const struct dwell_budget *budget, unsigned layer, double left_ms,
                           double deadline_ms)
{
    must_be_ms(dwell_budget_remaining(budget, layer), left_ms);
    must_be_ms((double)(int64_t)(dwell_budget_deadline(budget, layer) - BEGIN_NS) / 1e6,
               deadline_ms);
}

static void test_dwell_budget_tells_what_is_left(void **state)
{
    (void)state;
    struct dwell_budget budget;
    budget_make(&budget);
    must_have_left(&budget, DWELL_LAYER1_VALIDATION, 5, 5);
    own_clock_advance(2); /* as if it began now */
    must_have_left(&budget, DWELL_LAYER1_VALIDATION, 5, 7);
    dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
    own_clock_advance(1); /* it runs: the deadline stands */
    must_have_left(&budget, DWELL_LAYER1_VALIDATION, 4, 7);
    own_clock_advance(4);
    must_have_left(&budget, DWELL_LAYER1_VALIDATION, 0, 7);
    own_clock_advance(4);
    must_have_left(&budget, DWELL_LAYER1_VALIDATION, 0, 7);
    dwell_budget_reset(&budget, DWELL_LAYER1_VALIDATION);
    must_have_left(&budget, DWELL_LAYER1_VALIDATION, 5, 16);
    own_clock_end();
}

static void test_dwell_budget_enforces_the_total_once_started(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    own_clock_advance(100); /* not started: no limit of anything */
    must_have_left(&budget, DWELL_LAYER2_DELIBERATION, 20, 120);
    dwell_budget_start(&budget, DWELL_LAYER_TOTAL);
    own_clock_advance(35);
    must_have_left(&budget, DWELL_LAYER_TOTAL, 15, 150);
    must_have_left(&budget, DWELL_LAYER2_DELIBERATION, 15, 150);
    must_have_left(&budget, DWELL_LAYER3_POLICY, 10, 145);
    dwell_budget_start(&budget, DWELL_LAYER4_AUDIT);
    own_clock_advance(15); /* all of both: nobody is over */
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER4_AUDIT, NULL), DWELL_SOFT_LIMIT);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER3_POLICY, NULL), DWELL_WITHIN);
    own_clock_advance(0.000001); /* a layer that is not strict does not make the total so */
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER3_POLICY, NULL), DWELL_EXCEEDED_STRICT);
    must_have_left(&budget, DWELL_LAYER3_POLICY, 0, 150);
    assert_int_equal(dwell_budget_stop(&budget, DWELL_LAYER4_AUDIT, NULL, &elapsed_ms),
                     DWELL_EXCEEDED_STRICT);
    must_be_ms(elapsed_ms, 15.000001);
    assert_int_equal(dwell_budget_stop(&budget, DWELL_LAYER_TOTAL, NULL, &elapsed_ms),
                     DWELL_EXCEEDED_STRICT);
    must_be_ms(elapsed_ms, 50.000001);
    own_clock_advance(10); /* it was stopped, and still counts */
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER3_POLICY, NULL), DWELL_EXCEEDED_STRICT);
    dwell_budget_reset(&budget, DWELL_LAYER_TOTAL);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER3_POLICY, NULL), DWELL_WITHIN);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER4_AUDIT, NULL), DWELL_EXCEEDED);
    dwell_budget_reset(&budget, DWELL_LAYER_ALL);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER4_AUDIT, &elapsed_ms), DWELL_WITHIN);
    must_be_ms(elapsed_ms, 0);
    own_clock_end();
}

static void test_dwell_budget_is_strict_by_the_name_of_a_layer(void **state)
{
    (void)state;
    static const struct {
        struct dwell_budget_layer layer;
        enum dwell_verdict verdict;
    } facts[] = {
        {{"layer4_audit", 0, 0, 0, 0}, DWELL_EXCEEDED},
        {{"layer4_audit", 0, 0.5, 0, 0}, DWELL_EXCEEDED},
        {{"layer4_audit", 1, 0, 0, DWELL_ENFORCEMENT_STRICT}, DWELL_EXCEEDED_STRICT},
        {{"layer1_validation", 0, 0, 0, 0}, DWELL_EXCEEDED_STRICT},
        {{"layer1_validation", 1, 0, 0, DWELL_ENFORCEMENT_LENIENT}, DWELL_EXCEEDED},
        {{"mine", 1, 0, 0, 0}, DWELL_EXCEEDED_STRICT},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct dwell_budget budget;
        struct dwell_budget_options options = {
            .size = sizeof options, .layers = &facts[i].layer, .layer_count = 1};
        assert_true(dwell_budget_init(NULL, &budget, &options));
        own_clock_set(BEGIN_NS);
        dwell_budget_start(&budget, 0);
        own_clock_advance(49);
        assert_int_equal(dwell_budget_stop(&budget, 0, NULL, NULL), facts[i].verdict);
        own_clock_end();
    }
}

static void test_dwell_budget_total_need_not_be_strict(void **state)
{
    (void)state;
    struct dwell_budget budget;
    struct dwell_budget_options options = {
        .size = sizeof options,
        .total_ms = 10,
        .total_soft_limit_pct = 0.5,
        .total_enforcement = DWELL_ENFORCEMENT_LENIENT,
    };
    assert_true(dwell_budget_init(NULL, &budget, &options));
    own_clock_set(BEGIN_NS);
    dwell_budget_start(&budget, DWELL_LAYER_TOTAL);
    own_clock_advance(5.000001);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER_TOTAL, NULL), DWELL_SOFT_LIMIT);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER1_VALIDATION, NULL), DWELL_WITHIN);
    own_clock_advance(5);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER_TOTAL, NULL), DWELL_EXCEEDED);
    assert_int_equal(dwell_budget_check(&budget, DWELL_LAYER1_VALIDATION, NULL), DWELL_EXCEEDED);
    own_clock_end();
}

/* ---- Options ---- */

static void test_dwell_budget_shares_scale_with_the_total(void **state)
{
    (void)state;
    static const struct dwell_budget_layer layers[] = {
        {.name = "parse", .budget_share = 0.1},
        {.name = "infer", .budget_share = 1},
        {.name = "layer3_policy"}, /* has its budget by its name */
        {.name = "layer4_audit", .budget_share = 0.3},
    };
    static const double totals_ms[] = {0, 50, 100, 0.01, 14400000};
    for (size_t i = 0; i < sizeof totals_ms / sizeof totals_ms[0]; i++) {
        double total_ms = totals_ms[i] > 0 ? totals_ms[i] : 50;
        struct dwell_budget budget;
        struct dwell_budget_options options = {
            .size = sizeof options, .total_ms = totals_ms[i], .layers = layers, .layer_count = 4};
        assert_true(dwell_budget_init(NULL, &budget, &options));
        must_be_ms(dwell_budget_remaining(&budget, DWELL_LAYER_TOTAL), total_ms);
        must_be_ms(dwell_budget_remaining(&budget, 0), total_ms * 0.1);
        must_be_ms(dwell_budget_remaining(&budget, 1), total_ms);
        must_be_ms(dwell_budget_remaining(&budget, 2), 10);
        must_be_ms(dwell_budget_remaining(&budget, 3), total_ms * 0.3);
    }
}

#define LONG_NAME "a2345678901234567890123456789012345678901234567890123456789012" /* of 62 bytes */

static void test_dwell_budget_takes_layers_up_to_the_limits(void **state)
{
    (void)state;
    static const struct {
        struct dwell_budget_layer layer;
        bool good;
    } facts[] = {
        {{"x", 0.001, 0, 0, 0}, true},
        {{"x", 0.0009999, 0, 0, 0}, false},
        {{"x", 14400000, 0, 0, 0}, true},
        {{"x", 14400000.1, 0, 0, 0}, false},
        {{"x", -1, 0, 0, 0}, false},
        {{"x", NAN, 0, 0, 0}, false},
        {{"x", INFINITY, 0, 0, 0}, false},
        {{"x", 0, 0, 0, 0}, false}, /* not known by its name */
        {{"layer2_deliberation", 0, 0, 0, 0}, true},
        {{"x", 0, 1, 0, 0}, true},
        {{"x", 0, 1.0001, 0, 0}, false},
        {{"x", 0, 0.00002, 0, 0}, true}, /* 0.001 ms of 50 */
        {{"x", 0, 0.00001, 0, 0}, false},
        {{"x", 0, -0.1, 0, 0}, false},
        {{"x", 0, NAN, 0, 0}, false},
        {{"x", 5, 0.5, 0, 0}, false}, /* one of the two */
        {{"x", 5, 0, 1, 0}, true},
        {{"x", 5, 0, 1.0001, 0}, false},
        {{"x", 5, 0, -0.8, 0}, false},
        {{"x", 5, 0, NAN, 0}, false},
        {{"x", 5, 0, 0, DWELL_ENFORCEMENT_LENIENT}, true},
        {{"x", 5, 0, 0, (enum dwell_enforcement)(DWELL_ENFORCEMENT_LENIENT + 1)}, false},
        {{NULL, 5, 0, 0, 0}, false},
        {{"", 5, 0, 0, 0}, false},
        {{"total", 5, 0, 0, 0}, false},
        {{"known", 5, 0, 0, 0}, false}, /* twice */
        {{LONG_NAME, 5, 0, 0, 0}, true},
        {{LONG_NAME "3", 5, 0, 0, 0}, false},
    };
    assert_int_equal(strlen(LONG_NAME), NAME_MAX_BYTES);
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct dwell_budget budget;
        struct dwell_budget_layer layers[] = {{"known", 1, 0, 0, 0}, facts[i].layer};
        struct dwell_budget_options options = {
            .size = sizeof options, .layers = layers, .layer_count = 2};
        memset(&budget, 0xAA, sizeof budget);
        if (dwell_budget_init(NULL, &budget, &options) != facts[i].good) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(isfinite(dwell_budget_remaining(&budget, 0)), facts[i].good);
        assert_int_equal(isfinite(dwell_budget_remaining(&budget, 1)), facts[i].good);
        assert_int_equal(isfinite(dwell_budget_remaining(&budget, DWELL_LAYER_TOTAL)),
                         facts[i].good);
        assert_true(isinf(dwell_budget_remaining(&budget, 2)));
    }
}

static void test_dwell_budget_takes_options_up_to_the_limits(void **state)
{
    (void)state;
    static char id[REQUEST_ID_MAX + 2];
    memset(id, 'r', sizeof id - 1);
    struct dwell_budget_layer layers[LAYERS_MAX + 1];
    static char names[LAYERS_MAX + 1][2];
    for (unsigned i = 0; i <= LAYERS_MAX; i++) {
        names[i][0] = (char)('a' + i);
        layers[i] = (struct dwell_budget_layer){.name = names[i], .budget_ms = 1};
    }
    const struct {
        struct dwell_budget_options options;
        bool good;
    } facts[] = {
        {{.layers = layers, .layer_count = LAYERS_MAX}, true},
        {{.layers = layers, .layer_count = LAYERS_MAX + 1}, false},
        {{.layers = layers, .layer_count = 0}, true}, /* the total alone */
        {{.layers = NULL, .layer_count = 99}, true},  /* there are none to count */
        {{.request_id = id + 1}, true},
        {{.request_id = id}, false},
        {{.total_ms = 0.001}, true},
        {{.total_ms = 0.0009}, false},
        {{.total_ms = 14400000}, true},
        {{.total_ms = 14400000.1}, false},
        {{.total_ms = -1}, false},
        {{.total_ms = NAN}, false},
        {{.total_soft_limit_pct = 1}, true},
        {{.total_soft_limit_pct = 1.1}, false},
        {{.total_enforcement = (enum dwell_enforcement)77}, false},
    };
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        struct dwell_budget budget;
        struct dwell_budget_options options = facts[i].options;
        options.size = sizeof options;
        if (dwell_budget_init(NULL, &budget, &options) != facts[i].good) {
            fail_msg("row %zu", i);
        }
        assert_int_equal(isfinite(dwell_budget_remaining(&budget, DWELL_LAYER_TOTAL)),
                         facts[i].good);
    }
}

/* An older program's struct ends earlier: what it does not have is not said. */
static void test_dwell_budget_reads_no_more_options_than_there_are(void **state)
{
    (void)state;
    struct dwell_budget budget;
    struct dwell_budget_options options = {
        .size = offsetof(struct dwell_budget_options, total_soft_limit_pct),
        .total_ms = 7,
        .total_soft_limit_pct = -1,
    };
    assert_true(dwell_budget_init(NULL, &budget, &options));
    must_be_ms(dwell_budget_remaining(&budget, DWELL_LAYER_TOTAL), 7);
}

/* ---- Nothing there ---- */

static void must_be_nothing(struct dwell_budget *budget, unsigned layer)
{
    double elapsed_ms = -1;
    errno = 4711;
    dwell_budget_start(budget, layer);
    assert_int_equal(dwell_budget_check(budget, layer, &elapsed_ms), DWELL_WITHIN);
    must_be_ms(elapsed_ms, 0);
    elapsed_ms = -1;
    assert_int_equal(dwell_budget_stop(budget, layer, "x", &elapsed_ms), DWELL_WITHIN);
    must_be_ms(elapsed_ms, 0);
    assert_int_equal(dwell_budget_stop(budget, layer, NULL, NULL), DWELL_WITHIN);
    assert_int_equal(dwell_budget_check(budget, layer, NULL), DWELL_WITHIN);
    assert_true(isinf(dwell_budget_remaining(budget, layer)));
    assert_true(dwell_budget_deadline(budget, layer) == UINT64_MAX);
    dwell_budget_reset(budget, layer);
    assert_int_equal(errno, 4711);
}

static void test_dwell_budget_null_is_a_no_op(void **state)
{
    (void)state;
    struct stage stage;
    struct dwell_budget zero = {{0}};
    stage_open(&stage, NULL);
    assert_false(dwell_budget_init(stage.dwell, NULL, NULL));
    static const unsigned layers[] = {0, 15, 16, DWELL_LAYER_TOTAL, DWELL_LAYER_ALL, UINT32_MAX};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        must_be_nothing(NULL, layers[i]);
        must_be_nothing(&zero, layers[i]);
    }
    must_be_nothing(&stage.budget, 4);
    must_be_nothing(&stage.budget, DWELL_LAYER_ALL);
    must_flush(&stage, 0);
    stage_close(&stage);
}

static void test_dwell_budget_changes_no_errno_and_allocates_nothing(void **state)
{
    (void)state;
    struct server server;
    server_init(&server); /* nobody listens */
    struct dwell_options options = {
        .size = sizeof options, .directory = server.directory, .close_timeout_ms = PATIENT_MS};
    dwell_t *dwell = dwell_open(&options);
    struct dwell_budget budget;
    size_t before = mallinfo2().uordblks;
    errno = 4711;
    for (int i = 0; i < 1000; i++) {
        assert_true(dwell_budget_init(dwell, &budget, NULL));
        dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
        dwell_budget_check(&budget, DWELL_LAYER1_VALIDATION, NULL);
        dwell_budget_remaining(&budget, DWELL_LAYER1_VALIDATION);
        dwell_budget_deadline(&budget, DWELL_LAYER1_VALIDATION);
        dwell_budget_stop(&budget, DWELL_LAYER1_VALIDATION, "operation", NULL);
        dwell_budget_reset(&budget, DWELL_LAYER_ALL);
    }
    assert_int_equal(errno, 4711);
    assert_int_equal(mallinfo2().uordblks, before);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

/* ---- What is sent ---- */

static void test_dwell_budget_sends_what_ends(void **state)
{
    (void)state;
    struct stage stage;
    struct dwell_budget_options options = {.size = sizeof options, .request_id = "r-17"};
    stage_open(&stage, &options);
    own_clock_set(BEGIN_NS);
    dwell_budget_start(&stage.budget, DWELL_LAYER_TOTAL);
    dwell_budget_start(&stage.budget, DWELL_LAYER3_POLICY);
    own_clock_advance(12.5);
    dwell_budget_stop(&stage.budget, DWELL_LAYER3_POLICY, "evaluate", NULL);
    own_clock_advance(0.25);
    dwell_budget_stop(&stage.budget, DWELL_LAYER_TOTAL, NULL, NULL);
    must_flush(&stage, 2);
    must_have_sent(&stage, 0, "layer3_policy", 12.5);
    assert_string_equal(server_budget(&stage.server, 0)->operation, "evaluate");
    assert_string_equal(server_budget(&stage.server, 0)->request_id, "r-17");
    must_have_sent(&stage, 1, "total", 12.75);
    assert_null(server_budget(&stage.server, 1)->operation);
    assert_string_equal(server_budget(&stage.server, 1)->request_id, "r-17");
    stage_close(&stage);
}

static void test_dwell_budget_sends_no_time_twice(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, NULL);
    unsigned layer = DWELL_LAYER2_DELIBERATION;
    own_clock_set(BEGIN_NS);
    dwell_budget_stop(&stage.budget, layer, "of nothing", NULL);
    dwell_budget_start(&stage.budget, layer); /* two within one another: one record */
    own_clock_advance(1);
    dwell_budget_start(&stage.budget, layer);
    own_clock_advance(2);
    dwell_budget_stop(&stage.budget, layer, "inner", NULL);
    own_clock_advance(4);
    dwell_budget_stop(&stage.budget, layer, "outer", NULL);
    dwell_budget_stop(&stage.budget, layer, "of nothing", NULL);
    own_clock_advance(8);
    dwell_budget_start(&stage.budget, layer); /* again: its own time */
    own_clock_advance(16);
    dwell_budget_stop(&stage.budget, layer, "", NULL);
    dwell_budget_start(&stage.budget, layer); /* no time is a time */
    dwell_budget_stop(&stage.budget, layer, NULL, NULL);
    dwell_budget_reset(&stage.budget, layer); /* and after a reset from 0 */
    dwell_budget_start(&stage.budget, layer);
    own_clock_advance(3);
    dwell_budget_stop(&stage.budget, layer, NULL, NULL);
    must_flush(&stage, 4);
    must_have_sent(&stage, 0, "layer2_deliberation", 7);
    assert_string_equal(server_budget(&stage.server, 0)->operation, "outer");
    assert_null(server_budget(&stage.server, 0)->request_id);
    assert_false(server_budget(&stage.server, 0)->has_before_ms);
    must_have_sent(&stage, 1, "layer2_deliberation", 16);
    assert_null(server_budget(&stage.server, 1)->operation);
    must_be_ms(server_budget(&stage.server, 1)->before_ms, 7);
    must_be_ms(server_budget(&stage.server, 2)->before_ms, 23);
    assert_false(server_budget(&stage.server, 3)->has_before_ms);
    must_have_sent(&stage, 2, "layer2_deliberation", 0);
    must_have_sent(&stage, 3, "layer2_deliberation", 3);
    stage_close(&stage);
}

/* The n-th record has that span, or none; a time between the two, and the flags that are given. */
static void must_be_of_span(struct stage *stage, uint64_t n, const struct dwell_context *span,
                            const uint64_t between[2], int flags)
{
    const Dwell__Budget *came = server_budget(&stage->server, n);
    assert_int_equal(came->has_trace_id, span != NULL);
    assert_int_equal(came->has_span_id, span != NULL);
    assert_int_equal(came->has_timestamp_unix_nano, span != NULL);
    assert_int_equal(came->has_flags, flags >= 0);
    if (span == NULL) {
        return;
    }
    assert_int_equal(came->trace_id.len, sizeof span->trace_id);
    assert_memory_equal(came->trace_id.data, span->trace_id, sizeof span->trace_id);
    assert_int_equal(came->span_id.len, sizeof span->span_id);
    assert_memory_equal(came->span_id.data, span->span_id, sizeof span->span_id);
    assert_in_range(came->timestamp_unix_nano, between[0], between[1]);
    assert_int_equal(came->flags, flags >= 0 ? flags : 0);
}

static void stop_a_layer(struct stage *stage)
{
    dwell_budget_start(&stage->budget, DWELL_LAYER1_VALIDATION);
    dwell_budget_stop(&stage->budget, DWELL_LAYER1_VALIDATION, NULL, NULL);
}

static uint64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Clocks do not go alike to the nanosecond, and less so the longer it takes. */
enum { CLOCKS_APART_NS = 100000000 };

static void test_dwell_budget_sends_the_current_span(void **state)
{
    (void)state;
    struct stage stage;
    struct dwell_span outer;
    struct dwell_span inner;
    struct dwell_span elsewhere;
    struct dwell_context contexts[2];
    struct dwell_span_options detached = {.size = sizeof detached, .detached = true};
    stage_open(&stage, NULL);
    uint64_t between[] = {wall_ns() - CLOCKS_APART_NS, 0};
    stop_a_layer(&stage);
    dwell_span_start(stage.dwell, &outer, "outer", NULL);
    dwell_span_context(&outer, &contexts[0]);
    stop_a_layer(&stage);
    dwell_span_start(stage.dwell, &inner, "inner", NULL);
    dwell_span_context(&inner, &contexts[1]);
    stop_a_layer(&stage);
    dwell_span_end(&inner);
    stop_a_layer(&stage);
    dwell_span_end(&outer);
    stop_a_layer(&stage);
    dwell_span_start(stage.dwell, &elsewhere, "elsewhere", &detached);
    stop_a_layer(&stage);
    dwell_span_end(&elsewhere);
    between[1] = wall_ns() + CLOCKS_APART_NS;
    must_flush(&stage, 9);
    must_be_of_span(&stage, 0, NULL, between, -1);
    must_be_of_span(&stage, 1, &contexts[0], between, -1);
    must_be_of_span(&stage, 2, &contexts[1], between, -1);
    must_be_of_span(&stage, 3, &contexts[0], between, -1);
    must_be_of_span(&stage, 4, NULL, between, -1);
    must_be_of_span(&stage, 5, NULL, between, -1);
    stage_close(&stage);
}

/* What somebody has decided on a trace goes with it; of one that is not sampled nothing is said. */
static void test_dwell_budget_sends_the_verdict_on_its_trace(void **state)
{
    (void)state;
    static const struct {
        uint32_t flags;
        bool is_shown;
        int sent;
    } facts[] = {{DWELL_CONTEXT_REMOTE, true, -1},
                 {DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED | DWELL_CONTEXT_SAMPLED, true, 1},
                 {DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED, false, -1}};
    struct stage stage;
    struct dwell_context contexts[3];
    stage_open(&stage, NULL);
    uint64_t between[] = {wall_ns() - CLOCKS_APART_NS, 0};
    for (size_t i = 0; i < 3; i++) {
        struct dwell_context remote = {.trace_id = {1}, .span_id = {2}, .flags = facts[i].flags};
        struct dwell_span_options options = {.size = sizeof options, .parent = &remote};
        struct dwell_span span;
        dwell_span_start(stage.dwell, &span, "span", &options);
        dwell_span_context(&span, &contexts[i]);
        stop_a_layer(&stage);
        dwell_span_end(&span);
    }
    between[1] = wall_ns() + CLOCKS_APART_NS;
    must_flush(&stage, 6);
    for (size_t i = 0; i < 3; i++) {
        must_be_of_span(&stage, i, facts[i].is_shown ? &contexts[i] : NULL, between, facts[i].sent);
    }
    stage_close(&stage);
}

static void test_dwell_budget_sends_the_longest_texts(void **state)
{
    (void)state;
    struct stage stage;
    char id[REQUEST_ID_MAX + 1];
    char operation[257];
    memset(id, 'r', sizeof id);
    id[REQUEST_ID_MAX] = '\0';
    memset(operation, 'o', sizeof operation);
    operation[256] = '\0';
    struct dwell_budget_layer layer = {.name = LONG_NAME, .budget_ms = 1};
    struct dwell_budget_options options = {
        .size = sizeof options, .layers = &layer, .layer_count = 1, .request_id = id};
    stage_open(&stage, &options);
    dwell_budget_start(&stage.budget, 0);
    dwell_budget_stop(&stage.budget, 0, operation, NULL);
    must_flush(&stage, 1);
    const Dwell__Budget *came = server_budget(&stage.server, 0);
    assert_string_equal(came->layer, LONG_NAME);
    assert_string_equal(came->operation, operation);
    assert_string_equal(came->request_id, id);
    stage_close(&stage);
}

/* The daemon refuses such a text; here it is the ceiling of a record that counts. */
static void test_dwell_budget_that_is_too_long_is_dropped(void **state)
{
    (void)state;
    struct stage stage;
    static char operation[RECORD_MAX + 1];
    struct dwell_stats stats = {.size = sizeof stats};
    stage_open(&stage, NULL);
    /* Besides the text: 72 bytes, the layer's name and 6 are kept free. */
    size_t longest = RECORD_MAX - 72 - strlen("layer1_validation") - 6;
    memset(operation, 'o', longest);
    dwell_budget_start(&stage.budget, DWELL_LAYER1_VALIDATION);
    dwell_budget_stop(&stage.budget, DWELL_LAYER1_VALIDATION, operation, NULL);
    operation[longest] = 'o';
    dwell_budget_start(&stage.budget, DWELL_LAYER1_VALIDATION);
    dwell_budget_stop(&stage.budget, DWELL_LAYER1_VALIDATION, operation, NULL);
    must_flush(&stage, 1);
    assert_int_equal(strlen(server_budget(&stage.server, 0)->operation), longest);
    dwell_stats(stage.dwell, &stats);
    assert_int_equal(stats.recorded, 2);
    assert_int_equal(stats.sent, 1);
    assert_int_equal(stats.dropped, 1);
    assert_int_equal(stage_close(&stage).dropped, 1);
}

static void test_dwell_budget_goes_with_other_records(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage, NULL);
    struct dwell_track track;
    struct dwell_span span;
    struct dwell_metric metric = {
        .size = sizeof metric, .op = DWELL_COUNT, .name = "n", .value = 1};
    dwell_budget_start(&stage.budget, DWELL_LAYER_TOTAL);
    dwell_span_start(stage.dwell, &span, "request", NULL);
    dwell_track_begin(&track, dwell_model(stage.dwell, "m"));
    dwell_track_end(&track, false);
    dwell_metric(stage.dwell, &metric);
    dwell_budget_stop(&stage.budget, DWELL_LAYER_TOTAL, NULL, NULL);
    dwell_span_end(&span);
    must_flush(&stage, 4);
    const char *name;
    server_sample(&stage.server, 0, &name);
    assert_string_equal(name, "m");
    assert_string_equal(server_metric(&stage.server, 0)->name, "n");
    assert_string_equal(server_span(&stage.server, 0)->name, "request");
    assert_string_equal(server_budget(&stage.server, 0)->layer, "total");
    assert_int_equal(stage_close(&stage).records, 4);
}

static void test_dwell_budget_copy_goes_on_by_itself(void **state)
{
    (void)state;
    struct dwell_budget budget;
    double elapsed_ms;
    budget_make(&budget);
    dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
    own_clock_advance(1);
    struct dwell_budget copy = budget;
    dwell_budget_stop(&budget, DWELL_LAYER1_VALIDATION, NULL, NULL);
    own_clock_advance(1);
    dwell_budget_stop(&copy, DWELL_LAYER1_VALIDATION, NULL, &elapsed_ms);
    must_be_ms(elapsed_ms, 2);
    dwell_budget_check(&budget, DWELL_LAYER1_VALIDATION, &elapsed_ms);
    must_be_ms(elapsed_ms, 1);
    own_clock_end();
}

/* ---- Threads ---- */

struct gang {
    struct stage stage;
    pthread_barrier_t barrier;
    int turns;
};

static void *take_turns(void *arg)
{
    struct gang *gang = arg;
    double elapsed_ms = 0;
    pthread_barrier_wait(&gang->barrier);
    for (int i = 0; i < gang->turns; i++) {
        double before_ms = elapsed_ms;
        dwell_budget_start(&gang->stage.budget, DWELL_LAYER2_DELIBERATION);
        dwell_budget_remaining(&gang->stage.budget, DWELL_LAYER2_DELIBERATION);
        dwell_budget_stop(&gang->stage.budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
        if (elapsed_ms < before_ms) {
            return arg;
        }
    }
    return NULL;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Starts and joins the threads. Returns the ms from before the first to after the last. */
static double gang_run(struct gang *gang)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&gang->barrier, NULL, THREADS);
    double begun_ms = now_ms();
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, gang), 0);
    }
    bool went_back = false;
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        went_back = went_back || result != NULL;
    }
    double ms = now_ms() - begun_ms;
    pthread_barrier_destroy(&gang->barrier);
    assert_false(went_back);
    return ms;
}

static void test_dwell_budget_is_one_for_several_threads(void **state)
{
    (void)state;
    struct gang gang = {.turns = TURNS};
    struct dwell_stats stats = {.size = sizeof stats};
    double elapsed_ms;
    double later_ms;
    double wall_ms = 0;
    double sent_ms = 0;
    stage_open(&gang.stage, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        wall_ms += gang_run(&gang);
        assert_int_equal(dwell_flush(gang.stage.dwell, PATIENT_MS), DWELL_OK);
    }
    dwell_budget_check(&gang.stage.budget, DWELL_LAYER2_DELIBERATION, &elapsed_ms);
    assert_true(elapsed_ms > 0 && elapsed_ms <= wall_ms);
    own_clock_set(1); /* nothing runs any more: the clock does not matter */
    dwell_budget_check(&gang.stage.budget, DWELL_LAYER2_DELIBERATION, &later_ms);
    assert_true(later_ms == elapsed_ms);
    own_clock_end();

    dwell_stats(gang.stage.dwell, &stats);
    assert_true(stats.recorded >= ROUNDS && stats.recorded <= (uint64_t)ROUNDS * THREADS * TURNS);
    assert_int_equal(stats.dropped, 0);
    assert_int_equal(stats.sent, gang.stage.server.records);
    const struct server *server = &gang.stage.server;
    assert_true(server->batch_count < SERVER_BATCHES_MAX); /* it keeps no more */
    for (unsigned i = 0; i < server->batch_count; i++) {
        for (size_t j = 0; j < server->batches[i]->n_budget; j++) {
            sent_ms += server->batches[i]->budget[j]->elapsed_ms;
        }
    }
    assert_true(fabs(sent_ms - elapsed_ms) < 1e-6); /* a sum of many doubles */
    stage_close(&gang.stage);
}

/* One operation goes around all of those of the threads: its time is theirs, and one record. */
static void test_dwell_budget_of_threads_is_not_counted_twice(void **state)
{
    (void)state;
    struct gang gang = {.turns = TURNS_WITHIN};
    double elapsed_ms;
    stage_open(&gang.stage, NULL);
    double before_ms = now_ms();
    dwell_budget_start(&gang.stage.budget, DWELL_LAYER2_DELIBERATION);
    double inner_ms = gang_run(&gang);
    dwell_budget_stop(&gang.stage.budget, DWELL_LAYER2_DELIBERATION, NULL, &elapsed_ms);
    double outer_ms = now_ms() - before_ms;
    assert_true(elapsed_ms >= inner_ms && elapsed_ms <= outer_ms);
    must_flush(&gang.stage, 1);
    must_have_sent(&gang.stage, 0, "layer2_deliberation", elapsed_ms);
    stage_close(&gang.stage);
}

static void *stop_it(void *arg)
{
    struct stage *stage = arg;
    dwell_budget_stop(&stage->budget, DWELL_LAYER1_VALIDATION, "elsewhere", NULL);
    return NULL;
}

static void test_dwell_budget_may_end_on_another_thread(void **state)
{
    (void)state;
    struct stage stage;
    pthread_t thread;
    stage_open(&stage, NULL);
    dwell_budget_start(&stage.budget, DWELL_LAYER1_VALIDATION);
    assert_int_equal(pthread_create(&thread, NULL, stop_it, &stage), 0);
    pthread_join(thread, NULL);
    must_flush(&stage, 1);
    assert_string_equal(server_budget(&stage.server, 0)->operation, "elsewhere");
    stage_close(&stage);
}

/* The child goes on with a budget of its own. */
static void test_dwell_budget_goes_on_in_a_child(void **state)
{
    (void)state;
    struct stage stage;
    int status = 0;
    stage_open_threaded(&stage, NULL, child_has_thread);
    dwell_budget_start(&stage.budget, DWELL_LAYER1_VALIDATION);
    pid_t child = fork();
    if (child == 0) {
        dwell_budget_stop(&stage.budget, DWELL_LAYER1_VALIDATION, "child", NULL);
        _exit(dwell_close(stage.dwell) == DWELL_OK ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    dwell_budget_stop(&stage.budget, DWELL_LAYER1_VALIDATION, "parent", NULL);
    must_flush(&stage, 2);
    assert_string_equal(server_budget(&stage.server, 0)->operation, "child");
    assert_string_equal(server_budget(&stage.server, 1)->operation, "parent");
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_budget_adds_up_what_a_layer_takes),
        cmocka_unit_test(test_dwell_budget_outlives_the_low_part_of_the_clock),
        cmocka_unit_test(test_dwell_budget_takes_time_up_to_the_limit),
        cmocka_unit_test(test_dwell_budget_counts_as_many_operations_as_it_says),
        cmocka_unit_test(test_dwell_budget_counts_no_time_from_before_an_others_stop),
        cmocka_unit_test(test_dwell_budget_loses_no_time_from_within_a_stop),
        cmocka_unit_test(test_dwell_budget_ends_no_other_operation),
        cmocka_unit_test(test_dwell_budget_tells_what_is_left),
        cmocka_unit_test(test_dwell_budget_enforces_the_total_once_started),
        cmocka_unit_test(test_dwell_budget_is_strict_by_the_name_of_a_layer),
        cmocka_unit_test(test_dwell_budget_total_need_not_be_strict),
        cmocka_unit_test(test_dwell_budget_shares_scale_with_the_total),
        cmocka_unit_test(test_dwell_budget_takes_layers_up_to_the_limits),
        cmocka_unit_test(test_dwell_budget_takes_options_up_to_the_limits),
        cmocka_unit_test(test_dwell_budget_reads_no_more_options_than_there_are),
        cmocka_unit_test(test_dwell_budget_null_is_a_no_op),
        cmocka_unit_test(test_dwell_budget_changes_no_errno_and_allocates_nothing),
        cmocka_unit_test(test_dwell_budget_sends_what_ends),
        cmocka_unit_test(test_dwell_budget_sends_no_time_twice),
        cmocka_unit_test(test_dwell_budget_sends_the_current_span),
        cmocka_unit_test(test_dwell_budget_sends_the_verdict_on_its_trace),
        cmocka_unit_test(test_dwell_budget_sends_the_longest_texts),
        cmocka_unit_test(test_dwell_budget_that_is_too_long_is_dropped),
        cmocka_unit_test(test_dwell_budget_goes_with_other_records),
        cmocka_unit_test(test_dwell_budget_copy_goes_on_by_itself),
        cmocka_unit_test(test_dwell_budget_is_one_for_several_threads),
        cmocka_unit_test(test_dwell_budget_of_threads_is_not_counted_twice),
        cmocka_unit_test(test_dwell_budget_may_end_on_another_thread),
        cmocka_unit_test(test_dwell_budget_goes_on_in_a_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
