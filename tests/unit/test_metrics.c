#include "core_helpers.h"

#include <math.h>
#include <stdio.h>

#include "core/metrics.c"
#include "mem_fault.h"

static struct core core;

static int open_core(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    mem_always_move(true);
    core_open(&core, &options);
    return 0;
}

static int close_core(void **state)
{
    (void)state;
    core_close(&core);
    mem_always_move(false);
    return 0;
}

static struct process *must_enter(uint64_t pid)
{
    struct process *process = process_enter(&core.processes, pid, (int64_t)pid);
    assert_non_null(process);
    return process;
}

/* Without a watcher a process ends when its last connection does. */
static void leave(struct process *process)
{
    process_leave(&core.processes, process);
}

static void count(enum metric_op op, const char *name, double value, const char *attributes,
                  struct process *process)
{
    struct metric metric = metric_of(op, name, value, attributes);
    must_count(&core, &metric, process);
}

/* A declared family of the label "a". */
static struct family_shape shape_of(enum family_type type, const char *name)
{
    static const struct str label = {"a", 1};
    return (struct family_shape){.name = str_of(name),
                                 .source = str_of(name),
                                 .help = STR_LITERAL("Helps."),
                                 .type = type,
                                 .declared = true,
                                 .label_count = 1,
                                 .labels = &label};
}

static void must_declare(const struct family_shape *shape)
{
    assert_int_equal(metrics_declare(core.metrics, shape), 0);
}

/* As above with an aggregation. */
static void gauge(enum aggregation aggregation, enum metric_op op, const char *name, double value,
                  struct process *process)
{
    struct metric metric = metric_of(op, name, value, "");
    metric.aggregation = aggregation;
    must_count(&core, &metric, process);
}

static void must_refuse_metric(const struct metric *metric, int err)
{
    assert_int_equal(metrics_record(core.metrics, metric, NULL), err);
}

/* Seconds pass, each with its tick. */
static void tick(unsigned seconds)
{
    for (; seconds > 0; seconds--) {
        core_move(&core, 1);
        metrics_tick(core.metrics);
    }
}

static void must_be_value(const char *family, const char *labels, double wanted)
{
    double got = core_series(&core, family, labels).number;
    if (!(got == wanted || (isnan(got) && isnan(wanted)))) {
        fail_msg("%s{%s} is %.17g, not %.17g", family, labels, got, wanted);
    }
}

/* --- parts of processes ------------------------------------------------------------------------ */

/* The heads of lists of parts lie in one piece of memory for all series of a family. */
static void test_metrics_parts_survive_the_growth_of_their_family(void **state)
{
    (void)state;
    enum { MANY = 99 };
    char labels[MANY][16];
    struct process *one = must_enter(1);
    struct process *two = must_enter(2);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(labels[i], sizeof labels[i], "i=%d", i);
        count(METRIC_ADD, "g", 1, labels[i], one);
        count(METRIC_ADD, "g", 2, labels[i], two);
    }
    leave(one);
    for (int i = 0; i < MANY; i++) {
        must_be_value("g", labels[i], 2);
    }
    leave(two);
    for (int i = 0; i < MANY; i++) {
        must_be_value("g", labels[i], 0);
    }
}

/* Whoever frees processes after it finds no part that points at them, and before it none may be left. */
static void test_metrics_fini_leaves_no_part_at_a_process(void **state)
{
    (void)state;
    struct process *process = must_enter(1);
    count(METRIC_ADD, "g", 1, "", process);
    count(METRIC_INFO, "i", 0, "v=1", process);
    assert_non_null(process->parts);
    metrics_fini(core.metrics);
    assert_null(process->parts);
}

/* What core_close does, and the daemon when it stops. */
static void test_metrics_end_beside_processes_that_live(void **state)
{
    (void)state;
    count(METRIC_ADD, "g", 1, "", must_enter(1));
    count(METRIC_INFO, "i", 0, "v=1", must_enter(2));
}

/* --- ends -------------------------------------------------------------------------------------- */

/* Of the first series of the first family, a counter. */
static bool first_has_exemplar(void)
{
    const struct series_page *page = core.metrics->sets[0].pages[0];
    return page->exemplars != NULL && page->exemplars->marks[0].set;
}

/* A place is given to another series: nothing of the one before may be seen there. */
static void test_metrics_a_place_forgets_the_exemplar_of_who_was_there(void **state)
{
    (void)state;
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 5;
    must_declare(&shape);
    struct metric metric = metric_of(METRIC_COUNT, "c", 7, "a=old");
    metric.has = METRIC_HAS_TRACE_ID;
    must_count(&core, &metric, NULL);
    assert_true(first_has_exemplar());
    tick(5 + METRICS_HIDDEN_SECONDS);
    count(METRIC_COUNT, "c", 3, "a=new", NULL);
    assert_int_equal(core.metrics->sets[0].count, 1);
    assert_false(first_has_exemplar());
}

/* --- names ------------------------------------------------------------------------------------- */

static void must_be_ours(enum metric_op op, const char *name)
{
    struct metric metric = metric_of(op, name, 1, "");
    must_refuse_metric(&metric, ERR_CONFLICT);
}

static void test_metrics_names_of_the_daemon_are_nobodys(void **state)
{
    (void)state;
    for (int op = 0; op < METRIC_OP_COUNT; op++) {
        must_be_ours((enum metric_op)op, "dwelld_x");
        must_be_ours((enum metric_op)op, "dwelld.records");
        must_be_ours((enum metric_op)op, "dwelld_records_total");
        must_be_ours((enum metric_op)op, "acgs2_model_x");
        must_be_ours((enum metric_op)op, "acgs2.model.inference_total");
        must_be_ours((enum metric_op)op, "acgs2_budget_elapsed_seconds");
        must_be_ours((enum metric_op)op, "target");
        must_be_ours((enum metric_op)op, "target_info");
    }
    assert_int_equal(core.metrics->family_count, 0);
    count(METRIC_SET, "dwelldx", 1, "", NULL);
    count(METRIC_SET, "acgs2_mode", 1, "", NULL);
    count(METRIC_SET, "model_x", 1, "", NULL);
    count(METRIC_SET, "budget_x", 1, "", NULL);
    count(METRIC_SET, "acgs2", 1, "", NULL);
    count(METRIC_SET, "targets", 1, "", NULL);
}

static void test_metrics_names_of_the_daemon_without_a_namespace(void **state)
{
    (void)state;
    core.metrics->options.name_space = STR_LITERAL("");
    must_be_ours(METRIC_SET, "model_x");
    must_be_ours(METRIC_SET, "budget_x");
    must_be_ours(METRIC_SET, "dwelld_x");
    count(METRIC_SET, "acgs2_model_x", 1, "", NULL);
    count(METRIC_SET, "model", 1, "", NULL);
}

static void start(const char *name, const char *attributes)
{
    struct metric metric = metric_of(METRIC_SET, name, 0, attributes);
    assert_int_equal(metrics_start(core.metrics, &metric), 0);
}

/* The clock does not begin at 0: a machine is up for days when the daemon starts. */
static void test_metrics_a_started_series_is_idle_from_its_start(void **state)
{
    (void)state;
    core_move(&core, 86400);
    struct family_shape shape = shape_of(FAMILY_GAUGE, "g");
    shape.expire_seconds = 30;
    must_declare(&shape);
    start("g", "a=1");
    tick(29);
    must_be_value("g", "a=1", 0);
    tick(1);
    assert_false(core_has_series(&core, "g", "a=1"));
}

static void test_metrics_starting_series_counts_no_records(void **state)
{
    (void)state;
    core.metrics->options.max_series_per_family = 1;
    struct family_shape shape = shape_of(FAMILY_GAUGE, "g");
    must_declare(&shape);
    start("g", "a=1");
    start("g", "a=2");
    assert_int_equal(core.metrics->overflowed, 0);
    count(METRIC_SET, "g", 1, "a=2", NULL);
    assert_int_equal(core.metrics->overflowed, 1);
}

static unsigned endings(void)
{
    unsigned count_of = 0;
    for (struct metrics_ending *at = core.metrics->orphaned.first; at != NULL; at = at->next) {
        count_of++;
    }
    return count_of;
}

/* Processes come and go faster than series end: each datagram of a worker that nobody can watch. */
static void test_metrics_a_series_waits_for_its_end_once(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct process *process = must_enter(1);
        gauge(AGGREGATION_MAX, METRIC_SET, "g", 1, process);
        count(METRIC_INFO, "i", 0, "v=1", process);
        leave(process);
    }
    assert_int_equal(endings(), 2);
    tick(METRICS_ORPHANED_SECONDS);
    assert_int_equal(endings(), 0);
    assert_int_equal(core.metrics->index.count, 0);
}

static void test_metrics_a_series_is_hidden_for_a_while_each_time(void **state)
{
    (void)state;
    struct process *process = must_enter(1);
    gauge(AGGREGATION_MAX, METRIC_SET, "g", 1, process);
    leave(process);
    process = must_enter(2);
    gauge(AGGREGATION_MAX, METRIC_SET, "g", 2, process);
    must_be_value("g", "", 2);
    core_move(&core, METRICS_ORPHANED_SECONDS);
    leave(process);
    tick(0); /* the first end is due */
    assert_false(core_has_series(&core, "g", ""));
    assert_int_equal(core.metrics->index.count, 1);
    tick(METRICS_ORPHANED_SECONDS);
    assert_int_equal(core.metrics->index.count, 0);
}

static void test_metrics_a_series_that_is_shown_again_stays(void **state)
{
    (void)state;
    struct process *process = must_enter(1);
    gauge(AGGREGATION_MIN, METRIC_SET, "g", 1, process);
    leave(process);
    assert_false(core_has_series(&core, "g", ""));
    tick(METRICS_ORPHANED_SECONDS - 1);
    gauge(AGGREGATION_MIN, METRIC_SET, "g", 5, NULL);
    tick(3 * METRICS_ORPHANED_SECONDS);
    must_be_value("g", "", 5);
    assert_int_equal(endings(), 0);
}

/* --- want of memory ---------------------------------------------------------------------------- */

/* Fails the n-th allocation of a declaration for n = 1, 2, … until it passes: none leaves a name that
 * stands in the way of the next. */
static void test_metrics_a_family_that_found_no_memory_can_be_declared_later(void **state)
{
    (void)state;
    for (int type = 0; type < FAMILY_TYPE_COUNT; type++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%d", type);
        struct family_shape shape = shape_of((enum family_type)type, name);
        bool failed = true;
        for (size_t n = 1; failed; n++) {
            mem_fail_after(n);
            int err = metrics_declare(core.metrics, &shape);
            failed = mem_has_failed();
            mem_fail_after(0);
            assert_int_equal(err, failed ? ERR_NOMEM : 0);
            assert_int_equal(core.metrics->family_count, type + (failed ? 0 : 1));
        }
    }
}

/* Fails the n-th allocation of a first record, for n = 1, 2, … until it passes, each time in a core of
 * its own. What was refused shows nowhere; the same record is then taken. An exemplar that finds no
 * memory costs no count. */
static void must_record_all_or_nothing(const struct metric *metric, const char *labels,
                                       uint32_t max_series)
{
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct registry_options options = core_options();
        core_close(&core);
        core_open(&core, &options);
        core.metrics->options.max_series = max_series;
        struct process *process = must_enter(1);
        mem_fail_after(n);
        int err = metrics_record(core.metrics, metric, process);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed && core.metrics->lost_exemplars == 0 ? ERR_NOMEM : 0);
        assert_true(core_has_series(&core, "m", labels) == (err == 0));
        if (err != 0) {
            assert_int_equal(core.metrics->index.count, 0);
            assert_int_equal(core.metrics->overflowed, 0);
            must_count(&core, metric, process);
        }
        assert_int_equal(core.metrics->index.count, max_series > 0);
        assert_int_equal(core.metrics->overflowed, max_series == 0);
        if (metric->op == METRIC_OBSERVE) {
            assert_int_equal(core_series(&core, "m", labels).buckets->count, 1);
        } else {
            must_be_value("m", labels, metric->op == METRIC_INFO ? 1 : metric->value);
        }
    }
}

static void test_metrics_a_first_record_counts_whole_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        enum metric_op op;
        enum aggregation aggregation;
        const char *labels;
    } table[] = {
        {METRIC_COUNT, AGGREGATION_UNSAID, "a=1"}, {METRIC_OBSERVE, AGGREGATION_UNSAID, "a=1"},
        {METRIC_INFO, AGGREGATION_UNSAID, "a=1"},  {METRIC_SET, AGGREGATION_UNSAID, "a=1"},
        {METRIC_ADD, AGGREGATION_UNSAID, "a=1"},   {METRIC_ADD, AGGREGATION_LAST, "a=1"},
        {METRIC_SET, AGGREGATION_SUM, "a=1"},      {METRIC_ADD, AGGREGATION_MAX, "a=1"},
        {METRIC_SET, AGGREGATION_MIN, "a=1"},      {METRIC_SET, AGGREGATION_PER_PID, "a=1,pid=1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct metric metric = metric_of(table[i].op, "m", 5, "a=1");
        metric.aggregation = table[i].aggregation;
        metric.has = METRIC_HAS_TRACE_ID;
        must_record_all_or_nothing(&metric, table[i].labels, 1);
        must_record_all_or_nothing(&metric, "dwell_overflow=true", 0);
    }
}

/* Parts have a ceiling too: what does not find one makes no series. */
static void test_metrics_past_the_ceiling_of_parts_nothing_is_made(void **state)
{
    (void)state;
    uint32_t parts = core.metrics->parts.count;
    core.metrics->parts.count = PARTS_MAX;
    struct metric metric = metric_of(METRIC_INFO, "i", 0, "v=1");
    must_refuse_metric(&metric, ERR_LIMIT);
    assert_false(core_has_series(&core, "i", "v=1"));
    assert_int_equal(core.metrics->index.count, 0);
    core.metrics->parts.count = parts;
    must_count(&core, &metric, NULL);
    must_be_value("i", "v=1", 1);
}

/* A snapshot is alive, so each end needs copies, and none can be made. */
static void test_metrics_what_a_process_leaves_without_memory_ends_later(void **state)
{
    (void)state;
    struct process *one = must_enter(1);
    struct process *two = must_enter(2);
    gauge(AGGREGATION_SUM, METRIC_SET, "sum", 5, one);
    gauge(AGGREGATION_SUM, METRIC_SET, "sum", 7, two);
    gauge(AGGREGATION_MAX, METRIC_SET, "max", 5, one);
    gauge(AGGREGATION_PER_PID, METRIC_SET, "own", 5, one);
    count(METRIC_INFO, "info", 0, "v=1", one);
    struct snapshot *snapshot = must_take(&core);
    for (size_t n = 1; n <= 3; n++) {
        mem_fail_after(n);
        if (n == 1) {
            leave(one);
        } else {
            metrics_tick(core.metrics);
        }
    }
    mem_fail_after(0);
    tick(1);
    must_be_value("sum", "", 7);
    assert_false(core_has_series(&core, "max", ""));
    assert_false(core_has_series(&core, "own", "pid=1"));
    assert_false(core_has_series(&core, "info", "v=1"));
    assert_int_equal(core.metrics->parts.count, 1);
    core_drop(&core, snapshot);
}

/* The first process of a container has the same number each time. */
static void test_metrics_a_pid_that_comes_again_begins_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct process *process = must_enter(1);
        gauge(AGGREGATION_PER_PID, METRIC_SET, "own", 5, process);
        gauge(AGGREGATION_PER_PID, METRIC_ADD, "own", 1, process);
        gauge(AGGREGATION_MAX, METRIC_ADD, "max", 5, process);
        must_be_value("own", "pid=1", 6);
        must_be_value("max", "", 5);
        leave(process);
    }
}

/* What a process says of itself replaces what it said before, however much else belongs to it. */
static void test_metrics_an_info_replaces_what_its_process_said(void **state)
{
    (void)state;
    struct process *one = must_enter(1);
    struct process *two = must_enter(2);
    count(METRIC_INFO, "i", 0, "v=1", one);
    count(METRIC_INFO, "other", 0, "v=1", one);
    count(METRIC_INFO, "i", 0, "v=1", two);
    count(METRIC_ADD, "g", 1, "", one);
    count(METRIC_INFO, "i", 0, "v=2", one);
    must_be_value("i", "v=1", 1);
    must_be_value("i", "v=2", 1);
    must_be_value("other", "v=1", 1);
    count(METRIC_INFO, "i", 0, "v=2", two);
    assert_false(core_has_series(&core, "i", "v=1"));
    count(METRIC_INFO, "i", 0, "v=3", NULL); /* nobody's stays */
    leave(one);
    must_be_value("i", "v=2", 1);
    leave(two);
    assert_false(core_has_series(&core, "i", "v=2"));
    assert_false(core_has_series(&core, "other", "v=1"));
    must_be_value("i", "v=3", 1);
}

/* --- values ------------------------------------------------------------------------------------ */

/* One wrong value of one process, once, must not cost what the others say. */
static void test_metrics_a_sum_forgets_a_large_part_whole(void **state)
{
    (void)state;
    struct process *one = must_enter(1);
    struct process *two = must_enter(2);
    gauge(AGGREGATION_SUM, METRIC_SET, "g", 3, one);
    gauge(AGGREGATION_SUM, METRIC_SET, "g", 1e300, two);
    gauge(AGGREGATION_SUM, METRIC_ADD, "g", 1, one);
    gauge(AGGREGATION_SUM, METRIC_SET, "g", 2, two);
    must_be_value("g", "", 6);
    gauge(AGGREGATION_SUM, METRIC_SET, "g", NAN, two);
    must_be_value("g", "", NAN);
    gauge(AGGREGATION_SUM, METRIC_SET, "g", INFINITY, two);
    must_be_value("g", "", INFINITY);
    gauge(AGGREGATION_SUM, METRIC_SET, "g", -1, two);
    must_be_value("g", "", 3);
    count(METRIC_ADD, "u", 0.1, "", one); /* the same for adding alone */
    count(METRIC_ADD, "u", 1e20, "", two);
    count(METRIC_ADD, "u", -1e20, "", two);
    must_be_value("u", "", 0.1);
}

static void observe(const char *name, const char *unit, double value)
{
    struct metric metric = metric_of(METRIC_OBSERVE, name, value, "");
    metric.unit = str_of(unit);
    must_count(&core, &metric, NULL);
}

/* The largest values there are, in the largest units. */
static void test_metrics_values_stay_finite_in_any_unit(void **state)
{
    (void)state;
    observe("h", "GiB", RECORD_AMOUNT_MAX);
    observe("h", "GiB", -RECORD_AMOUNT_MAX);
    observe("h", "GiB", -1);
    const struct buckets *buckets = core_series(&core, "h_bytes", "").buckets;
    assert_int_equal(buckets->count, 3);
    assert_true(isfinite(buckets->sum));
    struct metric metric = metric_of(METRIC_ADD, "g", RECORD_AMOUNT_MAX, "");
    metric.unit = STR_LITERAL("GiB");
    must_count(&core, &metric, NULL);
    must_be_value("g_bytes", "", DBL_MAX);
    metric.value = -RECORD_AMOUNT_MAX;
    must_count(&core, &metric, NULL);
    must_be_value("g_bytes", "", 0);
    metric.op = METRIC_SET;
    metric.value = -INFINITY; /* is what it is */
    must_count(&core, &metric, NULL);
    must_be_value("g_bytes", "", -INFINITY);
}

static void test_metrics_a_counter_stays_finite(void **state)
{
    (void)state;
    struct metric metric = metric_of(METRIC_COUNT, "c", RECORD_AMOUNT_MAX, "");
    metric.unit = STR_LITERAL("GiB");
    must_count(&core, &metric, NULL);
    must_count(&core, &metric, NULL);
    must_be_value("c_bytes", "", DBL_MAX);
}

/* A name is given by the first record that is taken, not by one that is refused. */
static void test_metrics_a_refused_record_makes_no_family(void **state)
{
    (void)state;
    static const struct {
        const char *attributes;
        int err;
    } table[] = {{"a.b=1,a_b=2", ERR_DUPLICATE_KEY}, {"a=1,=2", ERR_NAME}, {"a=\xff", ERR_NAME}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct metric metric = metric_of(METRIC_COUNT, "m", 1, table[i].attributes);
        must_refuse_metric(&metric, table[i].err);
        assert_int_equal(core.metrics->family_count, 0);
    }
    count(METRIC_SET, "m", 1, "", NULL); /* of another type */
}

/* An aggregation is a gauge's: elsewhere it means nothing, whatever a decoder lets through. */
static void test_metrics_only_gauges_are_aggregated(void **state)
{
    (void)state;
    struct process *process = must_enter(7);
    static const enum metric_op ops[] = {METRIC_COUNT, METRIC_OBSERVE, METRIC_INFO};
    static const char *const names[] = {"c", "h", "i"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        struct metric metric = metric_of(ops[i], names[i], 1, "pid=x");
        metric.aggregation = AGGREGATION_PER_PID;
        must_count(&core, &metric, process);
        assert_true(core_has_series(&core, names[i], "pid=x"));
    }
}

/* --- a naive model ----------------------------------------------------------------------------- */

/*
 * What metrics.c promises, with plain arrays: a value by family and label, parts by process. Values are
 * eighths of small whole numbers, so that sums are exact in any order.
 */
enum { KINDS = 10, LABELS = 6, ACTORS = 4, NOBODY = 0 };

static const struct kind {
    const char *name;
    enum family_type type;
    enum aggregation aggregation;
    unsigned expire_seconds;
} kinds[KINDS] = {
    {"counter", FAMILY_COUNTER, AGGREGATION_UNSAID, 0},
    {"counter_idle", FAMILY_COUNTER, AGGREGATION_UNSAID, 25},
    {"hist", FAMILY_HISTOGRAM, AGGREGATION_UNSAID, 0},
    {"unsaid", FAMILY_GAUGE, AGGREGATION_UNSAID, 0},
    {"last", FAMILY_GAUGE, AGGREGATION_LAST, 0},
    {"sum", FAMILY_GAUGE, AGGREGATION_SUM, 0},
    {"max", FAMILY_GAUGE, AGGREGATION_MAX, 0},
    {"min", FAMILY_GAUGE, AGGREGATION_MIN, 0},
    {"own", FAMILY_GAUGE, AGGREGATION_PER_PID, 0},
    {"said", FAMILY_INFO, AGGREGATION_UNSAID, 0},
};

struct naive_part {
    bool has;
    double value;
};

struct naive_series {
    bool exists; /* found and counted in */
    bool shown;
    double value; /* the count of a histogram */
    uint64_t touched, hidden;
    double base; /* of unsaid: what was set, and what nobody added */
    struct naive_part parts[ACTORS];
};

/* A per_pid family has a series for each actor. */
static struct naive_series naive[KINDS][LABELS][ACTORS];

struct world {
    struct random random;
    struct process *actors[ACTORS]; /* the first is nobody */
    uint64_t now;
};

static struct naive_series *naive_of(unsigned kind, unsigned label, unsigned actor)
{
    return &naive[kind][label][kinds[kind].aggregation == AGGREGATION_PER_PID ? actor : 0];
}

static unsigned count_parts(const struct naive_series *series)
{
    unsigned parts = 0;
    for (unsigned i = 0; i < ACTORS; i++) {
        parts += series->parts[i].has;
    }
    return parts;
}

static double fold(const struct naive_series *series, enum aggregation aggregation)
{
    double total = aggregation == AGGREGATION_UNSAID ? series->base : 0;
    bool first = true;
    for (unsigned i = 0; i < ACTORS; i++) {
        double value = series->parts[i].value;
        if (!series->parts[i].has) {
            continue;
        }
        if (aggregation == AGGREGATION_MAX || aggregation == AGGREGATION_MIN) {
            bool takes = first || (aggregation == AGGREGATION_MAX ? value > total : value < total);
            total = takes ? value : total;
        } else {
            total += value;
        }
        first = false;
    }
    return total;
}

static void naive_hide(struct world *world, struct naive_series *series)
{
    series->shown = false;
    series->hidden = world->now;
}

static void naive_drop_part(struct world *world, unsigned kind, struct naive_series *series,
                            unsigned actor)
{
    enum aggregation aggregation = kinds[kind].aggregation;
    bool stays = kinds[kind].type == FAMILY_GAUGE &&
                 (aggregation == AGGREGATION_UNSAID || aggregation == AGGREGATION_SUM);
    if (!series->parts[actor].has) {
        return;
    }
    series->parts[actor] = (struct naive_part){false, 0};
    if (!stays && count_parts(series) == 0) {
        naive_hide(world, series);
    } else if (kinds[kind].type == FAMILY_GAUGE) {
        series->value = fold(series, aggregation);
    }
}

static void naive_gauge(unsigned kind, struct naive_series *series, enum metric_op op, double value,
                        unsigned actor)
{
    enum aggregation aggregation = kinds[kind].aggregation;
    struct naive_part *part = &series->parts[actor];
    if (aggregation == AGGREGATION_LAST) {
        series->value = op == METRIC_SET ? value : series->value + value;
        return;
    }
    if (aggregation == AGGREGATION_UNSAID && op == METRIC_SET) {
        memset(series->parts, 0, sizeof series->parts);
        series->base = value;
    } else if (aggregation == AGGREGATION_UNSAID && actor == NOBODY) {
        series->base += value;
    } else {
        *part = (struct naive_part){true, op == METRIC_SET ? value : part->value + value};
    }
    series->value = fold(series, aggregation);
}

static void naive_record(struct world *world, unsigned kind, unsigned label, enum metric_op op,
                         double value, unsigned actor)
{
    struct naive_series *series = naive_of(kind, label, actor);
    if (!series->exists) {
        *series = (struct naive_series){.exists = true};
    }
    switch (op) {
    case METRIC_COUNT:
        series->value += value;
        break;
    case METRIC_OBSERVE:
        series->value++;
        break;
    case METRIC_INFO:
        series->parts[actor].has = true;
        series->value = 1;
        for (unsigned other = 0; actor != NOBODY && other < LABELS; other++) {
            if (other != label) {
                naive_drop_part(world, kind, &naive[kind][other][0], actor);
            }
        }
        break;
    default:
        naive_gauge(kind, series, op, value, actor);
    }
    series->shown = true;
    series->touched = world->now;
}

static void naive_end_process(struct world *world, unsigned actor)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned label = 0; label < LABELS; label++) {
            for (unsigned i = 0; i < ACTORS; i++) {
                naive_drop_part(world, kind, &naive[kind][label][i], actor);
            }
        }
    }
}

/* Moves in steps of a second, so that ends come when they are due. Hidden ones may be given back from
 * 60 s on, and are at 120 s; in between both are right, so nothing is done in between. */
static void naive_second(struct world *world)
{
    world->now++;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned label = 0; label < LABELS; label++) {
            for (unsigned i = 0; i < ACTORS; i++) {
                struct naive_series *series = &naive[kind][label][i];
                unsigned expire = kinds[kind].expire_seconds;
                if (series->shown && expire > 0 && world->now - series->touched >= expire) {
                    naive_hide(world, series);
                }
                if (series->exists && !series->shown &&
                    world->now - series->hidden >= 2 * METRICS_HIDDEN_SECONDS) {
                    *series = (struct naive_series){.exists = false};
                }
            }
        }
    }
}

/* Whether some hidden series may or may not be gone. */
static bool is_doubtful(const struct world *world)
{
    for (unsigned i = 0; i < KINDS * LABELS * ACTORS; i++) {
        const struct naive_series *series = &(&naive[0][0][0])[i];
        if (series->exists && !series->shown &&
            world->now - series->hidden >= METRICS_HIDDEN_SECONDS - 1) {
            return true;
        }
    }
    return false;
}

static void must_match_naive(const struct world *world)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned label = 0; label < LABELS; label++) {
            bool per_pid = kinds[kind].aggregation == AGGREGATION_PER_PID;
            for (unsigned actor = 0; actor < (per_pid ? ACTORS : 1U); actor++) {
                const struct naive_series *series = &naive[kind][label][actor];
                char labels[32];
                (void)snprintf(labels, sizeof labels, actor > 0 ? "l=%u,pid=%u" : "l=%u", label,
                               actor);
                bool shown = core_has_series(&core, kinds[kind].name, labels);
                if (shown != series->shown) {
                    fail_msg("at %u s %s{%s} is %s", (unsigned)world->now, kinds[kind].name, labels,
                             shown ? "there" : "not there");
                }
                if (shown && kinds[kind].type == FAMILY_HISTOGRAM) {
                    assert_true(
                        (double)core_series(&core, kinds[kind].name, labels).buckets->count ==
                        series->value);
                } else if (shown) {
                    must_be_value(kinds[kind].name, labels, series->value);
                }
            }
        }
    }
}

static void record_in_both(struct world *world, unsigned format_ways)
{
    struct random *random = &world->random;
    unsigned kind = (unsigned)random_below(random, KINDS);
    unsigned label = (unsigned)random_below(random, LABELS);
    unsigned actor = (unsigned)random_below(random, ACTORS);
    bool adds = random_below(random, 2) == 0;
    static const enum metric_op ops[] = {METRIC_COUNT, METRIC_SET, METRIC_OBSERVE, METRIC_INFO};
    enum metric_op op = ops[kinds[kind].type];
    double value = (double)random_below(random, 1000) / 8;
    char attributes[16];
    char tail[24];
    actor = world->actors[actor] == NULL ? NOBODY : actor;
    op = op == METRIC_SET && adds ? METRIC_ADD : op;
    value = op == METRIC_ADD || op == METRIC_SET ? value - 60 : value;
    (void)snprintf(attributes, sizeof attributes, "l=%u", label);
    (void)snprintf(tail, sizeof tail, "%u|%u", (unsigned)op, label);
    struct metric metric = metric_of(op, kinds[kind].name, value, attributes);
    metric.aggregation = kinds[kind].aggregation;
    metric.spelling = (struct spelling){SPELLING_BATCH, str_of(kinds[kind].name), str_of(tail)};
    if (format_ways == 0 ||
        !metrics_spelled(core.metrics, &metric.spelling, value, 1, world->actors[actor])) {
        must_count(&core, &metric, world->actors[actor]);
    }
    naive_record(world, kind, label, op, value, actor);
}

static void change_both(struct world *world, struct snapshot **held)
{
    struct random *random = &world->random;
    unsigned actor = 1 + (unsigned)random_below(random, ACTORS - 1);
    uint64_t seconds;
    switch (random_below(random, 30)) {
    case 0:
        if (world->actors[actor] == NULL) {
            world->actors[actor] = must_enter(actor);
        } else {
            leave(world->actors[actor]);
            world->actors[actor] = NULL;
            naive_end_process(world, actor);
        }
        break;
    case 1:
        seconds = random_below(random, 20);
        for (; seconds > 0 || is_doubtful(world); seconds -= seconds > 0) {
            tick(1);
            naive_second(world);
        }
        break;
    case 2:
        if (*held == NULL) {
            *held = must_take(&core);
        } else {
            core_drop(&core, *held);
            *held = NULL;
        }
        break;
    default:
        record_in_both(world, (unsigned)random_below(random, 2));
    }
}

static void test_metrics_do_what_a_naive_model_does(void **state)
{
    (void)state;
    struct world world = {.random = random_start("naive"), .now = core.mono_ns / NS_PER_SECOND};
    struct snapshot *held = NULL;
    memset(naive, 0, sizeof naive);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        static const struct str label = {"l", 1};
        static const double bound = 50;
        struct family_shape shape = {.name = str_of(kinds[kind].name),
                                     .source = str_of(kinds[kind].name),
                                     .type = kinds[kind].type,
                                     .aggregation = kinds[kind].aggregation,
                                     .declared = true,
                                     .label_count = 1,
                                     .labels = &label,
                                     .bound_count = kinds[kind].type == FAMILY_HISTOGRAM,
                                     .bounds = &bound,
                                     .expire_seconds = kinds[kind].expire_seconds};
        must_declare(&shape);
    }
    for (unsigned step = 0; step < 30000; step++) {
        change_both(&world, &held);
        if (step % 8 == 0) {
            must_match_naive(&world);
        }
    }
    for (unsigned actor = 1; actor < ACTORS; actor++) {
        if (world.actors[actor] != NULL) {
            leave(world.actors[actor]);
            naive_end_process(&world, actor);
        }
    }
    must_match_naive(&world);
    if (held != NULL) {
        core_drop(&core, held);
    }
}

/* --- names that are taken ---------------------------------------------------------------------- */

struct meeting {
    enum metric_op first;
    const char *first_name;
    enum metric_op second;
    const char *second_name;
    int err;
};

static void test_metrics_names_that_look_the_same_conflict(void **state)
{
    (void)state;
    static const struct meeting table[] = {
        {METRIC_COUNT, "x", METRIC_COUNT, "x_total", 0},
        {METRIC_COUNT, "x.total", METRIC_COUNT, "x", 0},
        {METRIC_INFO, "x", METRIC_INFO, "x_info", 0},
        {METRIC_COUNT, "a.b", METRIC_COUNT, "a.b", 0},
        {METRIC_COUNT, "a.b", METRIC_COUNT, "a_b", ERR_CONFLICT},
        {METRIC_COUNT, "a.b", METRIC_COUNT, "a-b", ERR_CONFLICT},
        {METRIC_COUNT, "2x", METRIC_COUNT, "_2x", ERR_CONFLICT},
        {METRIC_COUNT, "x", METRIC_SET, "x", ERR_CONFLICT},
        {METRIC_COUNT, "x", METRIC_SET, "x_total", ERR_CONFLICT},
        {METRIC_SET, "x", METRIC_OBSERVE, "x", ERR_CONFLICT},
        {METRIC_SET, "x", METRIC_ADD, "x", 0},
        {METRIC_OBSERVE, "x", METRIC_SET, "x_count", ERR_CONFLICT},
        {METRIC_OBSERVE, "x", METRIC_COUNT, "x_count", ERR_CONFLICT},
        {METRIC_OBSERVE, "x", METRIC_SET, "x_sum", ERR_CONFLICT},
        {METRIC_OBSERVE, "x", METRIC_SET, "x_bucket", ERR_CONFLICT},
        {METRIC_OBSERVE, "x", METRIC_SET, "x_created", ERR_CONFLICT},
        {METRIC_OBSERVE, "x", METRIC_SET, "x_max", 0},
        {METRIC_SET, "x_count", METRIC_OBSERVE, "x", ERR_CONFLICT},
        {METRIC_SET, "x_created", METRIC_COUNT, "x", ERR_CONFLICT},
        {METRIC_COUNT, "x", METRIC_SET, "x_created", ERR_CONFLICT},
        {METRIC_INFO, "x", METRIC_SET, "x_info", ERR_CONFLICT},
        {METRIC_SET, "x_info", METRIC_INFO, "x", ERR_CONFLICT},
        {METRIC_SET, "x_seconds", METRIC_SET, "x.seconds", ERR_CONFLICT},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct registry_options options = core_options();
        core_close(&core);
        core_open(&core, &options);
        struct metric first = metric_of(table[i].first, table[i].first_name, 1, "");
        struct metric second = metric_of(table[i].second, table[i].second_name, 1, "");
        must_count(&core, &first, NULL);
        uint32_t families = core.metrics->family_count;
        int err = metrics_record(core.metrics, &second, NULL);
        if (err != table[i].err) {
            fail_msg("%s after %s: %d", second.name.ptr, first.name.ptr, err);
        }
        assert_true(err == 0 || core.metrics->family_count == families);
        must_count(&core, &first, NULL); /* who was there is not disturbed */
    }
}

static void test_metrics_units_lead_to_one_family(void **state)
{
    (void)state;
    static const struct {
        const char *name, *unit;
        double value;
    } table[] = {{"t", "s", 1}, {"t", "ms", 2000}, {"t_seconds", "", 3}, {"t_ms", "ms", 4000}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct metric metric = metric_of(METRIC_SET, table[i].name, table[i].value, "");
        metric.unit = str_of(table[i].unit);
        must_count(&core, &metric, NULL);
        must_be_value("t_seconds", "", (double)i + 1);
    }
    struct metric other = metric_of(METRIC_SET, "t", 1, "");
    must_count(&core, &other, NULL); /* of no unit: another family */
    assert_int_equal(core.metrics->family_count, 2);
}

static void test_metrics_aggregations_must_agree(void **state)
{
    (void)state;
    gauge(AGGREGATION_MAX, METRIC_SET, "g", 1, NULL);
    gauge(AGGREGATION_UNSAID, METRIC_SET, "g", 0.5, NULL);
    struct metric metric = metric_of(METRIC_SET, "g", 1, "");
    metric.aggregation = AGGREGATION_MIN;
    must_refuse_metric(&metric, ERR_CONFLICT);
    struct family_shape shape = shape_of(FAMILY_GAUGE, "declared");
    shape.label_count = 0;
    must_declare(&shape);
    metric.name = STR_LITERAL("declared"); /* says how, whatever records say */
    must_count(&core, &metric, NULL);
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static void must_hold_series(unsigned in_all, unsigned in_family)
{
    enum { FAMILIES = 3, EACH = 12 };
    static const char *const names[FAMILIES] = {"a", "b", "c"};
    struct registry_options options = core_options();
    core_close(&core);
    core_open(&core, &options);
    core.metrics->options.max_series = in_all;
    core.metrics->options.max_series_per_family = in_family;
    unsigned left = in_all;
    for (int family = 0; family < FAMILIES; family++) {
        unsigned fit = left < in_family ? left : in_family;
        fit = fit < EACH ? fit : EACH;
        char labels[EACH][8];
        uint64_t before = core.metrics->overflowed;
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned i = 0; i < EACH; i++) {
                (void)snprintf(labels[i], sizeof labels[i], "l=%u", i);
                count(METRIC_COUNT, names[family], 1, labels[i], NULL);
                assert_int_equal(core_has_series(&core, names[family], labels[i]), i < fit);
            }
        }
        if (fit < EACH) {
            must_be_value(names[family], "dwell_overflow=true", 2 * (EACH - fit));
        }
        assert_int_equal(core.metrics->overflowed - before, 2 * (EACH - fit));
        left -= fit;
        assert_int_equal(core.metrics->index.count, in_all - left);
    }
}

static void test_metrics_past_a_ceiling_records_are_counted_together(void **state)
{
    (void)state;
    must_hold_series(0, 5);
    must_hold_series(1, 5);
    must_hold_series(11, 12);
    must_hold_series(12, 12);
    must_hold_series(13, 12);
    must_hold_series(36, 11);
    must_hold_series(36, 12);
    must_hold_series(35, 12);
    must_hold_series(100, 0);
}

/* A place that a series gave back is another's. */
static void test_metrics_a_ceiling_has_room_again_when_series_end(void **state)
{
    (void)state;
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 5;
    must_declare(&shape);
    core.metrics->options.max_series = 1;
    count(METRIC_COUNT, "c", 1, "a=1", NULL);
    count(METRIC_COUNT, "c", 2, "a=2", NULL);
    must_be_value("c", "dwell_overflow=true", 2);
    tick(5);
    count(METRIC_COUNT, "c", 2, "a=2", NULL); /* the first is hidden, but not gone */
    must_be_value("c", "dwell_overflow=true", 4);
    tick(METRICS_HIDDEN_SECONDS + 5);
    count(METRIC_COUNT, "c", 8, "a=2", NULL);
    must_be_value("c", "a=2", 8);
    assert_false(core_has_series(&core, "c", "a=1"));
    tick(2 * METRICS_HIDDEN_SECONDS + 5);
    assert_int_equal(core.metrics->index.count, 0);
    assert_int_equal(core.metrics->overflow[0], 0);
}

/* Its own series at the ceiling and one over; others are not concerned, and what ended leaves room. */
static void test_metrics_a_maker_has_a_ceiling_of_its_own(void **state)
{
    (void)state;
    struct maker *makers[] = {maker_new(), maker_new()};
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 5;
    must_declare(&shape);
    core.metrics->options.max_series_per_maker = 2;
    core.metrics->maker = makers[0];
    count(METRIC_COUNT, "c", 1, "a=1", NULL);
    count(METRIC_COUNT, "d", 1, "a=1", NULL);
    assert_int_equal(core.metrics->overflowed, 0);
    count(METRIC_COUNT, "c", 1, "a=2", NULL);
    count(METRIC_COUNT, "c", 1, "a=1", NULL); /* that is there already */
    must_be_value("c", "dwell_overflow=true", 1);
    must_be_value("c", "a=1", 2);
    core.metrics->maker = makers[1];
    count(METRIC_COUNT, "c", 4, "a=2", NULL);
    must_be_value("c", "a=2", 4);
    core.metrics->maker = NULL;
    count(METRIC_COUNT, "c", 8, "a=3", NULL);
    must_be_value("c", "a=3", 8);
    assert_int_equal(makers[0]->series, 2);
    assert_int_equal(makers[1]->series, 1);
    maker_end(makers[1]);
    tick(2 * METRICS_HIDDEN_SECONDS + 5);
    assert_int_equal(makers[0]->series, 1);
    core.metrics->maker = makers[0];
    count(METRIC_COUNT, "c", 1, "a=4", NULL);
    assert_true(core_has_series(&core, "c", "a=4"));
    core.metrics->maker = NULL;
    maker_end(makers[0]); /* some of its series are left, which end with the metrics */
}

/* A record that is refused after all leaves nothing at its maker. */
static void test_metrics_a_refused_record_has_no_maker(void **state)
{
    (void)state;
    struct maker *maker = maker_new();
    core.metrics->options.max_series_per_maker = 1;
    core.metrics->maker = maker;
    core.metrics->members.pool.max = 0;
    struct metric member = metric_of(METRIC_MEMBER, "s", 0, "");
    member.member = STR_LITERAL("x");
    assert_int_equal(metrics_record(core.metrics, &member, NULL), ERR_LIMIT);
    assert_int_equal(maker->series, 0);
    core.metrics->maker = NULL;
    maker_end(maker);
}

static void test_metrics_values_that_are_too_long_go_to_the_overflow(void **state)
{
    (void)state;
    char attributes[300];
    memset(attributes, 'x', sizeof attributes);
    memcpy(attributes, "a=", 2);
    attributes[2 + 256] = '\0';
    count(METRIC_COUNT, "c", 1, attributes, NULL);
    assert_int_equal(core.metrics->overflowed, 0);
    attributes[2 + 256] = 'x';
    attributes[2 + 257] = '\0';
    count(METRIC_COUNT, "c", 4, attributes, NULL);
    must_be_value("c", "dwell_overflow=true", 4);
    assert_int_equal(core.metrics->overflowed, 1);
}

static void test_metrics_has_a_ceiling_of_families(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < METRICS_FAMILIES_MAX; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        struct family_shape shape = shape_of((enum family_type)(i % FAMILY_TYPE_COUNT), name);
        must_declare(&shape);
    }
    struct metric metric = metric_of(METRIC_SET, "one_more", 1, "");
    must_refuse_metric(&metric, ERR_LIMIT);
    count(METRIC_COUNT, "f0", 1, "a=1", NULL);
    tick(1);
    struct snapshot *snapshot = must_take(&core);
    assert_int_equal(snapshot->metrics.family_count, METRICS_FAMILIES_MAX);
    core_drop(&core, snapshot);
}

/* --- the table --------------------------------------------------------------------------------- */

/* Thousands come and go; each that is there is found, and nothing else. */
static void test_metrics_series_come_and_go_in_a_full_table(void **state)
{
    (void)state;
    enum { KEYS = 1200, MOST = 512 };
    struct random random = random_start("table");
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 3;
    must_declare(&shape);
    core.metrics->options.max_series = MOST;
    core.metrics->options.max_series_per_family = MOST;
    for (unsigned second = 1; second < 600; second++) {
        for (unsigned i = 0; i < 8; i++) {
            char labels[12];
            (void)snprintf(labels, sizeof labels, "a=%u", (unsigned)random_below(&random, KEYS));
            count(METRIC_COUNT, "c", 1, labels, NULL);
        }
        tick(1);
        const struct series_set *set = &core.metrics->sets[0];
        uint32_t found = 0;
        for (uint32_t place = 0; place < series_places(set); place++) {
            const struct series_id *id = series_who(set, place);
            if (id != NULL) {
                struct str pairs = {id->pairs, id->len};
                assert_ptr_equal(index_find(&core.metrics->index, id->hash, 0, pairs), id);
                found++;
            }
        }
        assert_int_equal(found, core.metrics->index.count);
        assert_int_equal(found, set->count);
    }
    assert_int_equal(core.metrics->overflowed, 0);
    assert_in_range(core.metrics->index.count, 300, MOST);
    tick(2 * METRICS_HIDDEN_SECONDS + 5);
    assert_int_equal(core.metrics->index.count, 0);
}

/* --- ticks ------------------------------------------------------------------------------------- */

static void fill_family(unsigned series)
{
    core.metrics->options.max_series_per_family = series;
    for (unsigned i = 0; i < series; i++) {
        char labels[16];
        (void)snprintf(labels, sizeof labels, "a=%u", i);
        count(METRIC_COUNT, "c", 1, labels, NULL);
    }
}

static unsigned shown(void)
{
    const struct series_set *set = &core.metrics->sets[0];
    unsigned found = 0;
    for (uint32_t i = 0; i < set->page_count; i++) {
        found += (unsigned)__builtin_popcountll(set->pages[i]->shown);
    }
    return found;
}

static void test_metrics_ticks_are_bounded(void **state)
{
    (void)state;
    enum { MANY = METRICS_TICK_PLACES + 500 };
    struct metrics_options metrics = core.metrics->options;
    metrics_fini(core.metrics);
    metrics.max_series = MANY;
    assert_int_equal(metrics_init(core.metrics, &metrics, &core.registry->limbo), 0);
    core_move(&core, 0);
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 5;
    must_declare(&shape);
    fill_family(MANY);
    core_move(&core, 5);
    metrics_tick(core.metrics);
    assert_int_equal(shown(), MANY - METRICS_TICK_PLACES);
    metrics_tick(core.metrics);
    assert_int_equal(shown(), 0);
    core_move(&core, METRICS_HIDDEN_SECONDS);
    metrics_tick(core.metrics);
    assert_int_equal(core.metrics->index.count, MANY - METRICS_TICK_ENDS);
    metrics_tick(core.metrics);
    metrics_tick(core.metrics);
    assert_int_equal(core.metrics->index.count, 0);
    assert_int_equal(endings(), 0);
}

/* --- ways -------------------------------------------------------------------------------------- */

static void test_metrics_ways_end_with_their_series(void **state)
{
    (void)state;
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 5;
    must_declare(&shape);
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "a=1");
    metric.spelling = (struct spelling){SPELLING_BATCH, STR_LITERAL("c"), STR_LITERAL("1")};
    must_count(&core, &metric, NULL);
    tick(6); /* hidden: a way still leads there, and shows it again */
    assert_true(metrics_spelled(core.metrics, &metric.spelling, 1, 1, NULL));
    must_be_value("c", "a=1", 2);
    tick(2 * METRICS_HIDDEN_SECONDS + 6);
    assert_int_equal(core.metrics->index.count, 0);
    count(METRIC_COUNT, "c", 7, "a=2", NULL); /* has its place */
    assert_false(metrics_spelled(core.metrics, &metric.spelling, 1, 1, NULL));
    must_be_value("c", "a=2", 7);
}

static void test_metrics_ways_are_not_kept_where_they_would_lead_astray(void **state)
{
    (void)state;
    struct process *process = must_enter(1);
    struct metric own = metric_of(METRIC_SET, "own", 1, "");
    own.aggregation = AGGREGATION_PER_PID;
    own.spelling = (struct spelling){SPELLING_BATCH, STR_LITERAL("own"), STR_LITERAL("")};
    must_count(&core, &own, process);
    assert_false(metrics_spelled(core.metrics, &own.spelling, 1, 1, NULL)); /* another's */
    core.metrics->options.max_series = 0;
    struct metric over = metric_of(METRIC_COUNT, "over", 1, "");
    over.spelling = (struct spelling){SPELLING_BATCH, STR_LITERAL("over"), STR_LITERAL("")};
    must_count(&core, &over, NULL);
    assert_false(metrics_spelled(core.metrics, &over.spelling, 1, 1, NULL)); /* and be counted */
    struct metric plain = metric_of(METRIC_COUNT, "over", 1, "");
    plain.spelling.format = SPELLING_NONE;
    assert_false(metrics_spelled(core.metrics, &plain.spelling, 1, 1, NULL));
}

static void must_record_again(const struct metric *metric)
{
    assert_int_equal(metrics_record_again(core.metrics, metric, NULL), 0);
}

/* Attributes that are others show whether they were read. */
static void test_metrics_again_goes_by_the_spelling(void **state)
{
    (void)state;
    struct family_shape shape = shape_of(FAMILY_COUNTER, "c");
    shape.expire_seconds = 5;
    must_declare(&shape);
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "a=1");
    struct metric other = metric_of(METRIC_COUNT, "c", 2, "a=2");
    metric.spelling = (struct spelling){SPELLING_SPAN, STR_LITERAL("c"), STR_LITERAL("1")};
    other.spelling = metric.spelling;
    must_record_again(&metric); /* the first one */
    must_record_again(&other);
    must_be_value("c", "a=1", 3);
    assert_false(core_has_series(&core, "c", "a=2"));
    tick(5 + METRICS_HIDDEN_SECONDS);
    must_record_again(&other); /* the way is gone, and leads elsewhere now */
    must_record_again(&metric);
    must_be_value("c", "a=2", 3);
    other.spelling.format = SPELLING_NONE;
    must_record_again(&other);
    must_be_value("c", "a=2", 5);
}

static void test_metrics_again_has_the_last_exemplar(void **state)
{
    (void)state;
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "");
    metric.spelling = (struct spelling){SPELLING_SPAN, STR_LITERAL("c"), STR_LITERAL("")};
    metric.has = METRIC_HAS_TRACE_ID;
    for (uint8_t id = 1; id <= 3; id++) {
        metric.trace_id[0] = id;
        must_record_again(&metric);
        assert_true(first_has_exemplar());
        assert_int_equal(core.metrics->sets[0].pages[0]->exemplars->marks[0].trace_id[0], id);
    }
    metric.has = 0;
    must_record_again(&metric);
    assert_int_equal(core.metrics->sets[0].pages[0]->exemplars->marks[0].trace_id[0], 3);
}

/* A new value in a snapshot's page takes a copy of it. */
static void test_metrics_again_without_memory_changes_nothing(void **state)
{
    (void)state;
    struct metric metric = metric_of(METRIC_COUNT, "c", 1, "");
    metric.spelling = (struct spelling){SPELLING_SPAN, STR_LITERAL("c"), STR_LITERAL("")};
    must_record_again(&metric);
    struct snapshot *snapshot = must_take(&core);
    mem_fail_after(1);
    assert_int_equal(metrics_record_again(core.metrics, &metric, NULL), ERR_NOMEM);
    mem_fail_after(0);
    must_be_value("c", "", 1);
    must_record_again(&metric);
    must_be_value("c", "", 2);
    core_drop(&core, snapshot);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metrics_parts_survive_the_growth_of_their_family),
        TEST(test_metrics_fini_leaves_no_part_at_a_process),
        TEST(test_metrics_end_beside_processes_that_live),
        TEST(test_metrics_a_place_forgets_the_exemplar_of_who_was_there),
        TEST(test_metrics_names_of_the_daemon_are_nobodys),
        TEST(test_metrics_names_of_the_daemon_without_a_namespace),
        TEST(test_metrics_a_started_series_is_idle_from_its_start),
        TEST(test_metrics_starting_series_counts_no_records),
        TEST(test_metrics_a_series_waits_for_its_end_once),
        TEST(test_metrics_a_series_is_hidden_for_a_while_each_time),
        TEST(test_metrics_a_series_that_is_shown_again_stays),
        TEST(test_metrics_a_family_that_found_no_memory_can_be_declared_later),
        TEST(test_metrics_a_first_record_counts_whole_or_not_at_all),
        TEST(test_metrics_past_the_ceiling_of_parts_nothing_is_made),
        TEST(test_metrics_what_a_process_leaves_without_memory_ends_later),
        TEST(test_metrics_a_pid_that_comes_again_begins_anew),
        TEST(test_metrics_an_info_replaces_what_its_process_said),
        TEST(test_metrics_a_sum_forgets_a_large_part_whole),
        TEST(test_metrics_values_stay_finite_in_any_unit),
        TEST(test_metrics_a_counter_stays_finite),
        TEST(test_metrics_a_refused_record_makes_no_family),
        TEST(test_metrics_only_gauges_are_aggregated),
        TEST(test_metrics_do_what_a_naive_model_does),
        TEST(test_metrics_names_that_look_the_same_conflict),
        TEST(test_metrics_units_lead_to_one_family),
        TEST(test_metrics_aggregations_must_agree),
        TEST(test_metrics_past_a_ceiling_records_are_counted_together),
        TEST(test_metrics_a_ceiling_has_room_again_when_series_end),
        TEST(test_metrics_a_maker_has_a_ceiling_of_its_own),
        TEST(test_metrics_a_refused_record_has_no_maker),
        TEST(test_metrics_values_that_are_too_long_go_to_the_overflow),
        TEST(test_metrics_has_a_ceiling_of_families),
        TEST(test_metrics_series_come_and_go_in_a_full_table),
        TEST(test_metrics_ticks_are_bounded),
        TEST(test_metrics_ways_end_with_their_series),
        TEST(test_metrics_ways_are_not_kept_where_they_would_lead_astray),
        TEST(test_metrics_again_goes_by_the_spelling),
        TEST(test_metrics_again_has_the_last_exemplar),
        TEST(test_metrics_again_without_memory_changes_nothing),
    };
    return cmocka_run_group_tests_name("metrics", tests, core_tables, NULL);
}
