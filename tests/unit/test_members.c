/*
 * The values of sets, through core/metrics and snapshots as the daemon uses them; the tables behind one
 * set are test_distinct's.
 */
#include "core/members.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "core_helpers.h"
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
    mem_fail_after(0);
    core_close(&core);
    mem_always_move(false);
    return 0;
}

static struct distinct_pool *pool(void)
{
    return &core.metrics->members.pool;
}

static int try_see(const char *name, const char *labels, const char *value)
{
    struct metric metric = metric_of(METRIC_MEMBER, name, 0, labels);
    metric.member = str_of(value);
    return metrics_record(core.metrics, &metric, NULL);
}

static void see(const char *name, const char *labels, const char *value)
{
    assert_int_equal(try_see(name, labels, value), 0);
}

static int try_see_number(const char *name, unsigned number)
{
    char value[16];
    (void)snprintf(value, sizeof value, "%u", number);
    return try_see(name, "", value);
}

static void see_numbers(const char *name, unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(try_see_number(name, first + i), 0);
    }
}

static double value_in(const struct snapshot *snapshot, const char *name)
{
    for (uint32_t i = 0; i < snapshot->metrics.family_count; i++) {
        const struct family_view *view = &snapshot->metrics.families[i];
        if (str_is(view->family->shape.name, name)) {
            assert_true(series_is_shown(view->pages[0], 0));
            return view->pages[0]->value[0].number;
        }
    }
    fail_msg("no family %s", name);
    return 0;
}

/* What a scrape shows of the only series of a family. */
static void must_show(const char *name, double wanted)
{
    struct snapshot *snapshot = must_take(&core);
    double got = value_in(snapshot, name);
    core_drop(&core, snapshot);
    if (got != wanted) {
        fail_msg("%s is %g, not %g", name, got, wanted);
    }
}

static void test_members_are_counted_once_in_each_series(void **state)
{
    (void)state;
    see("users", "plan=free", "alice");
    see("users", "plan=free", "bob");
    see("users", "plan=free", "alice");
    see("users", "plan=paid", "alice");
    see("others", "", "alice");
    assert_true(core_series(&core, "users", "plan=free").number == 2);
    assert_true(core_series(&core, "users", "plan=paid").number == 1);
    must_show("others", 1);
    assert_int_equal(pool()->kept, 4);
}

static void test_members_are_all_their_bytes(void **state)
{
    (void)state;
    struct metric metric = metric_of(METRIC_MEMBER, "users", 0, "");
    static const char bytes[] = "aaaaaaaab";
    for (size_t from = 0; from < sizeof bytes; from++) {
        metric.member = (struct str){bytes + from, sizeof bytes - 1 - from};
        assert_int_equal(metrics_record(core.metrics, &metric, NULL), 0);
        metric.member = (struct str){bytes, from};
        assert_int_equal(metrics_record(core.metrics, &metric, NULL), 0);
    }
    must_show("users", 9 + 9); /* a…b, and a, aa, … without b; the empty one is among both */
}

/* --- the window -------------------------------------------------------------------------------- */

static void test_members_leave_without_a_record(void **state)
{
    (void)state;
    see("users", "", "early");
    core_move(&core, CORE_SLOT_S);
    see("users", "", "late");
    for (int slot = 1; slot < WINDOW_SLOTS; slot++) {
        must_show("users", 2);
        core_move(&core, CORE_SLOT_S);
    }
    must_show("users", 1);
    core_move(&core, CORE_SLOT_S);
    must_show("users", 0); /* the series stays, as other free ones do */
    see("users", "", "late");
    must_show("users", 1);
}

/* To the second: a model's samples and a set's values leave the window together. */
static void test_members_have_the_window_of_models(void **state)
{
    (void)state;
    for (int begin = 0; begin < CORE_SLOT_S; begin += 7) {
        struct sample sample = sample_of("m", 1);
        core_move(&core, begin);
        must_record(&core, &sample);
        see("users", "", "alice");
        uint64_t inside = 1;
        for (int second = 0; second <= WINDOW_SLOTS * CORE_SLOT_S; second++) {
            struct snapshot *snapshot = must_take(&core);
            const struct model *model = must_find(snapshot, "m");
            inside = registry_in_window(model->current, snapshot->slot) ? 1 : 0;
            assert_true(value_in(snapshot, "users") == (double)inside);
            core_drop(&core, snapshot);
            core_move(&core, 1);
        }
        assert_int_equal(inside, 0);
    }
}

static void test_members_stay_while_they_come(void **state)
{
    (void)state;
    for (int slot = 0; slot < 20; slot++) {
        see("users", "", "daily");
        see_numbers("users", (unsigned)slot * 10, 10);
        must_show("users", 1 + 10 * (slot < WINDOW_SLOTS ? slot + 1 : WINDOW_SLOTS));
        core_move(&core, CORE_SLOT_S);
    }
}

static void test_members_in_a_snapshot_are_frozen(void **state)
{
    (void)state;
    see("users", "", "alice");
    struct snapshot *before = must_take(&core);
    char *text = describe_snapshot(before, core.scratch);
    see("users", "", "bob");
    core_move(&core, WINDOW_SLOTS * CORE_SLOT_S);
    metrics_tick(core.metrics);
    must_show("users", 0);
    char *again = describe_snapshot(before, core.scratch);
    assert_string_equal(again, text);
    assert_true(value_in(before, "users") == 1);
    free(again);
    free(text);
    core_drop(&core, before);
}

static void test_members_do_not_mind_time_going_back(void **state)
{
    (void)state;
    core_move(&core, CORE_SLOT_S);
    see("users", "", "alice");
    core_move(&core, -CORE_SLOT_S);
    see("users", "", "alice");
    see("users", "", "bob");
    must_show("users", 2);
}

static void test_members_outlive_reset_and_process(void **state)
{
    (void)state;
    struct process *process = process_enter(&core.processes, 7, 7);
    struct metric metric = metric_of(METRIC_MEMBER, "users", 0, "");
    metric.member = STR_LITERAL("alice");
    must_count(&core, &metric, process);
    metric.member = STR_LITERAL("bob");
    must_count(&core, &metric, NULL); /* of another process: one set */
    must_reset(&core, NULL, 0);
    process_leave(&core.processes, process);
    metrics_tick(core.metrics);
    must_show("users", 2);
}

/* --- whose name it is -------------------------------------------------------------------------- */

static void test_members_are_a_kind_of_their_own(void **state)
{
    (void)state;
    for (int op = 0; op < METRIC_OP_COUNT; op++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%d", op);
        struct metric other = metric_of((enum metric_op)op, name, 1, "a=1");
        other.member = STR_LITERAL("v");
        must_count(&core, &other, NULL);
        assert_int_equal(try_see(name, "a=1", "v"), op == METRIC_MEMBER ? 0 : ERR_CONFLICT);
        struct metric member = metric_of(METRIC_MEMBER, "users", 1, "a=1");
        member.member = STR_LITERAL("v");
        must_count(&core, &member, NULL);
        other.name = member.name;
        assert_int_equal(metrics_record(core.metrics, &other, NULL),
                         op == METRIC_MEMBER ? 0 : ERR_CONFLICT);
    }
    assert_int_equal(try_see("acgs2_model_cpu_percent", "", "v"), ERR_CONFLICT);
    assert_int_equal(try_see("dwelld_x", "", "v"), ERR_CONFLICT);
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static void test_members_ceiling_is_over_all_sets(void **state)
{
    (void)state;
    pool()->max = 3;
    see("one", "", "a");
    see("one", "", "b");
    see("other", "", "a");
    uint32_t series = core.metrics->index.count;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(try_see("one", "", "c"), ERR_LIMIT);
        assert_int_equal(try_see("other", "", "b"), ERR_LIMIT);
        assert_int_equal(try_see("one", "new=1", "a"), ERR_LIMIT);
        see("one", "", "a"); /* known ones go on */
        see("other", "", "a");
    }
    assert_int_equal(core.metrics->index.count, series); /* the refused one left none */
    must_show("one", 2);
    must_show("other", 1);
    assert_int_equal(core.metrics->overflowed, 0);
    core_move(&core, WINDOW_SLOTS * CORE_SLOT_S);
    must_show("one", 0);
    metrics_tick(core.metrics);
    assert_int_equal(pool()->kept, 0);
    see("one", "new=1", "a"); /* and there is room again */
}

static void test_members_past_the_ceiling_on_series_are_one_set(void **state)
{
    (void)state;
    core.metrics->options.max_series_per_family = 1;
    see("users", "plan=free", "alice");
    see("users", "plan=paid", "alice");
    see("users", "plan=trial", "alice");
    see("users", "plan=trial", "bob");
    assert_true(core_series(&core, "users", "plan=free").number == 1);
    assert_true(core_series(&core, "users", "dwell_overflow=true").number == 2);
    assert_int_equal(core.metrics->overflowed, 3);
    pool()->max = pool()->kept;
    assert_int_equal(try_see("users", "plan=paid", "carol"), ERR_LIMIT);
    assert_int_equal(core.metrics->overflowed, 3); /* was not counted there */
}

static void test_members_of_series_that_expire_make_room(void **state)
{
    (void)state;
    struct family_shape shape = {.name = STR_LITERAL("users"),
                                 .source = STR_LITERAL("users"),
                                 .type = FAMILY_SET,
                                 .declared = true,
                                 .expire_seconds = 5};
    assert_int_equal(metrics_declare(core.metrics, &shape), 0);
    see_numbers("users", 0, 1000);
    for (unsigned second = 0; second < 5 + METRICS_HIDDEN_SECONDS + 2; second++) {
        core_move(&core, 1);
        metrics_tick(core.metrics);
    }
    assert_false(core_has_series(&core, "users", ""));
    assert_int_equal(pool()->kept, 0);
    see("users", "", "1"); /* its place may be another's: nothing is left of it */
    must_show("users", 1);
}

/* --- giving back ------------------------------------------------------------------------------- */

static void test_members_ticks_are_bounded_and_give_back(void **state)
{
    (void)state;
    enum { MANY = 400000 };
    pool()->max = MANY;
    size_t bytes_before = metrics_bytes(core.metrics);
    see_numbers("users", 0, MANY);
    assert_int_equal(try_see_number("users", MANY), ERR_LIMIT);
    core_move(&core, CORE_SLOT_S);
    see_numbers("users", 0, 1);
    core_move(&core, (WINDOW_SLOTS - 1) * CORE_SLOT_S);
    must_show("users", 1);
    assert_int_equal(pool()->kept, MANY);
    unsigned ticks = 0;
    for (uint64_t kept = MANY; kept > 1; kept = pool()->kept, ticks++) {
        metrics_tick(core.metrics);
        assert_true(pool()->kept < kept);
        assert_true(kept - pool()->kept <= MEMBERS_TICK_CELLS + DISTINCT_LEAF_MAX);
    }
    assert_in_range(ticks, 5, 20);
    must_show("users", 1);
    assert_in_range(metrics_bytes(core.metrics) - bytes_before, 1, 20000);
    see_numbers("users", 1, MANY - 1);
    must_show("users", MANY);
}

static void test_members_ticks_come_to_every_series(void **state)
{
    (void)state;
    enum { SETS = 40, EACH = 50 };
    char labels[SETS][16];
    for (int i = 0; i < SETS; i++) {
        (void)snprintf(labels[i], sizeof labels[i], "i=%d", i);
        struct metric count = metric_of(METRIC_COUNT, "c", 1, labels[i]);
        must_count(&core, &count, NULL);
        for (int v = 0; v < EACH; v++) {
            char value[16];
            (void)snprintf(value, sizeof value, "%d", v);
            see(i % 2 == 0 ? "even" : "odd", labels[i], value);
        }
    }
    core_move(&core, CORE_SLOT_S);
    for (int i = 0; i < SETS; i++) {
        see(i % 2 == 0 ? "even" : "odd", labels[i], "0");
    }
    assert_int_equal(pool()->kept, SETS * EACH);
    core_move(&core, (WINDOW_SLOTS - 1) * CORE_SLOT_S);
    metrics_tick(core.metrics);
    assert_int_equal(pool()->kept, SETS);
    for (int i = 0; i < SETS; i++) { /* a tick makes numbers the present ones as well */
        assert_true(core_series(&core, i % 2 == 0 ? "even" : "odd", labels[i]).number == 1);
    }
}

/* --- memory ------------------------------------------------------------------------------------ */

static void test_members_survive_no_memory(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned i = 0; i < 600; i++) {
        struct snapshot *held = i % 50 == 0 ? must_take(&core) : NULL; /* pages must be copied */
        for (size_t n = 1;; n++) {
            mem_fail_after(n);
            int err = try_see_number("users", i);
            bool failed = mem_has_failed();
            mem_fail_after(0);
            assert_int_equal(pool()->kept, err == 0 ? i + 1 : i);
            if (!failed) {
                assert_int_equal(err, 0);
                break;
            }
            failures++;
            assert_int_equal(err, ERR_NOMEM);
        }
        assert_true(core_series(&core, "users", "").number == i + 1);
        if (held != NULL) {
            core_drop(&core, held);
        }
    }
    assert_true(failures > 20);
}

static void test_members_age_without_memory_at_the_next_snapshot(void **state)
{
    (void)state;
    see("users", "", "alice");
    see("others", "", "alice");
    struct snapshot *held = must_take(&core);
    for (size_t n = 1;; n++) {
        struct snapshot *snapshot = NULL;
        core_move(&core, n == 1 ? WINDOW_SLOTS * CORE_SLOT_S : 0);
        mem_fail_after(n);
        int err =
            snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns, &snapshot);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        if (err == 0) {
            assert_false(failed);
            assert_true(n > 3); /* the snapshot itself, and a page of each family */
            assert_true(value_in(snapshot, "users") == 0);
            assert_true(value_in(snapshot, "others") == 0);
            core_drop(&core, snapshot);
            break;
        }
        assert_int_equal(err, ERR_NOMEM);
    }
    assert_true(value_in(held, "users") == 1);
    core_drop(&core, held);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_core, close_core)
    const struct CMUnitTest tests[] = {
        TEST(test_members_are_counted_once_in_each_series),
        TEST(test_members_are_all_their_bytes),
        TEST(test_members_leave_without_a_record),
        TEST(test_members_have_the_window_of_models),
        TEST(test_members_stay_while_they_come),
        TEST(test_members_in_a_snapshot_are_frozen),
        TEST(test_members_do_not_mind_time_going_back),
        TEST(test_members_outlive_reset_and_process),
        TEST(test_members_are_a_kind_of_their_own),
        TEST(test_members_ceiling_is_over_all_sets),
        TEST(test_members_past_the_ceiling_on_series_are_one_set),
        TEST(test_members_of_series_that_expire_make_room),
        TEST(test_members_ticks_are_bounded_and_give_back),
        TEST(test_members_ticks_come_to_every_series),
        TEST(test_members_survive_no_memory),
        TEST(test_members_age_without_memory_at_the_next_snapshot),
    };
    return cmocka_run_group_tests(tests, core_tables, NULL);
}
