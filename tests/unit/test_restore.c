#include "state_core.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "mem_fault.h"
#include "wire/state.h"

static const int64_t both[] = {100, 200};

/* A core that has some of everything, and another one, of the same moment, for what is saved of it. */
static struct core first;
static struct core second;

static struct registry_options options_of_tests(void)
{
    struct registry_options options = core_options();
    options.label_keys[options.label_key_count++] = STR_LITERAL("tier");
    return options;
}

static void declare(struct core *core)
{
    struct str name;
    assert_int_equal(budgets_declare(core->budgets, &name), 0);
}

static void open_first(void)
{
    struct registry_options options = options_of_tests();
    core_open(&first, &options);
    fill_core(&first);
}

static void open_second(void)
{
    struct registry_options options = options_of_tests();
    options.hash_seed = 4711; /* of another process */
    core_open(&second, &options);
    core_move(&second, (int64_t)((first.mono_ns - second.mono_ns) / NS_PER_SECOND));
    declare(&second);
    set_alive(both, 2);
}

static void open_both(void)
{
    open_first();
    open_second();
}

static void close_both(void)
{
    core_close(&second); /* each counts what is allocated since it was opened */
    core_close(&first);
}

/* --- everything -------------------------------------------------------------------------------- */

static void test_restore_shows_the_same(void **state)
{
    (void)state;
    open_both();
    struct buf body = must_save(&first, 1);
    struct buf before = must_show(&first);
    struct restore_report report = must_go_on(&second, 1, &body);
    struct buf after = must_show(&second);
    must_be_same(&after, &before);
    assert_int_equal(report.models, first.registry->count);
    assert_int_equal(report.left_out, 0);
    assert_int_equal(report.away_ns, 0);
    assert_int_equal(second.counters.value[COUNTER_CONNECTIONS], 0); /* of each life alone */
    assert_int_equal(report.scrapes, 11);
    assert_int_equal(report.http_errors, 12);
    assert_int_equal(report.journal_len, strlen("position 7"));
    assert_memory_equal(report.journal, "position 7", report.journal_len);
    buf_fini(&body);
    buf_fini(&before);
    buf_fini(&after);
    close_both();
}

/* What goes on is saved as what was saved: nothing is lost by being saved often. */
static void test_restore_saves_the_same(void **state)
{
    (void)state;
    open_both();
    first.counters.snapshot = (struct timing){.count = 0};
    struct buf before = must_save(&first, 1);
    (void)must_go_on(&second, 1, &before);
    second.counters.snapshot = (struct timing){.count = 0};
    struct buf after = must_save(&second, 1);
    assert_int_equal(after.len, before.len);
    int surplus[256] = {0}; /* of each byte: the values of sets are in no order */
    for (size_t i = 0; i < before.len; i++) {
        surplus[(uint8_t)before.data[i]]++;
        surplus[(uint8_t)after.data[i]]--;
    }
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(surplus[i], 0);
    }
    buf_fini(&before);
    buf_fini(&after);
    close_both();
}

static void count_more(struct core *core)
{
    struct sample sample = sample_of("plain", 3);
    struct metric metric = metric_of(METRIC_COUNT, "jobs", 1, "queue=a,path=/v1");
    struct metric member = metric_of(METRIC_MEMBER, "users", 0, "a=1");
    struct metric size = metric_of(METRIC_OBSERVE, "size", 1e9, "a=1");
    member.member = STR_LITERAL("user 999"); /* is one that was there */
    size.unit = STR_LITERAL("bytes");
    must_record(core, &sample);
    must_count(core, &metric, NULL);
    must_count(core, &member, NULL);
    must_count(core, &size, NULL);
}

static void test_restore_counts_on(void **state)
{
    (void)state;
    open_first();
    struct buf body = must_save(&first, 1);
    core_move(&first, CORE_SLOT_S);
    count_more(&first);
    struct buf before = must_show(&first);
    open_second(); /* so much later */
    (void)must_go_on(&second, 1, &body);
    count_more(&second);
    struct buf after = must_show(&second);
    must_be_same(&after, &before);
    buf_fini(&after);
    core_close(&second);
    buf_fini(&before);
    buf_fini(&body);
    core_close(&first);
}

/* --- time -------------------------------------------------------------------------------------- */

/* What the window of a model holds that had one sample in each of three sub-windows, the last of them the
 * present one, after a time away that clocks tell so. */
static uint64_t window_after(int64_t mono_s, int64_t wall_s, uint8_t boot_then, uint8_t boot_now)
{
    struct registry_options options = options_of_tests();
    core_open(&first, &options);
    core_move(&first, 100 * CORE_SLOT_S - 10); /* at the beginning of a sub-window */
    for (unsigned i = 0; i < 3; i++) {
        struct sample sample = sample_of("m", 1 + i);
        must_record(&first, &sample);
        core_move(&first, i < 2 ? CORE_SLOT_S : 1);
    }
    struct buf body = must_save(&first, boot_then);
    core_open(&second, &options);
    second.mono_ns = (uint64_t)((int64_t)first.mono_ns + mono_s * (int64_t)NS_PER_SECOND);
    second.wall_ns = (uint64_t)((int64_t)first.wall_ns + wall_s * (int64_t)NS_PER_SECOND);
    core_move(&second, 0);
    (void)must_go_on(&second, boot_now, &body);
    struct snapshot *snapshot = must_take(&second);
    struct profile profile = must_profile(&second, snapshot, "m", PROFILE_WINDOW);
    uint64_t count = profile.span == PROFILE_WINDOW ? profile.count : 0;
    assert_int_equal(totals_of(must_find(snapshot, "m")).count, 3);
    core_drop(&second, snapshot);
    core_close(&second);
    buf_fini(&body); /* is older */
    core_close(&first);
    return count;
}

static void test_restore_windows_keep_their_time(void **state)
{
    (void)state;
    static const struct {
        int64_t slots; /* away */
        uint64_t left;
    } facts[] = {{0, 3}, {1, 3}, {3, 3}, {4, 2}, {5, 1}, {6, 0}, {1000, 0}};
    for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++) {
        int64_t away_s = facts[i].slots * CORE_SLOT_S;
        assert_int_equal(window_after(away_s, away_s, 1, 1), facts[i].left);
    }
}

/* The same start of the machine: whatever the clock on the wall says. */
static void test_restore_heeds_no_step_of_the_clock(void **state)
{
    (void)state;
    for (int64_t day_s = -86400; day_s <= 86400; day_s += 86400) {
        assert_int_equal(window_after(0, day_s, 1, 1), 3);
        assert_int_equal(window_after(4 * CORE_SLOT_S, day_s, 1, 1), 2);
        assert_int_equal(window_after(6 * CORE_SLOT_S, day_s, 1, 1), 0);
    }
}

/* Another start: the clock that counts through began again, at five minutes here. */
static void test_restore_goes_by_the_wall_over_a_start_of_the_machine(void **state)
{
    (void)state;
    const int64_t began_again_s = -95 * CORE_SLOT_S;
    assert_int_equal(window_after(began_again_s, 0, 1, 2), 3);
    assert_int_equal(window_after(began_again_s, 4 * CORE_SLOT_S, 1, 2), 2);
    assert_int_equal(window_after(began_again_s, 6 * CORE_SLOT_S, 1, 2), 0);
    assert_int_equal(window_after(began_again_s, 4 * CORE_SLOT_S, 0, 0), 2); /* not told */
    assert_int_equal(window_after(began_again_s, -86400, 1, 2), 3); /* set back meanwhile */
    assert_int_equal(window_after(began_again_s, 86400, 1, 2), 0);
}

static void test_restore_has_no_window_of_another_length(void **state)
{
    (void)state;
    struct registry_options options = options_of_tests();
    core_open(&first, &options);
    struct sample sample = sample_of("m", 5);
    must_record(&first, &sample);
    struct buf body = must_save(&first, 1);
    options.window_ns /= 2;
    core_open(&second, &options);
    struct restore_report report = must_go_on(&second, 1, &body);
    struct snapshot *snapshot = must_take(&second);
    assert_int_equal(must_profile(&second, snapshot, "m", PROFILE_WINDOW).span, PROFILE_ALL);
    assert_int_equal(count_everything(snapshot), 1);
    assert_int_equal(report.left_out, 0);
    core_drop(&second, snapshot);
    core_close(&second);
    buf_fini(&body); /* is older */
    core_close(&first);
}

/* --- what does not fit ------------------------------------------------------------------------- */

static void test_restore_leaves_out_models_that_do_not_fit(void **state)
{
    (void)state;
    struct registry_options options = options_of_tests();
    core_open(&first, &options);
    struct sample sample = sample_of("labelled", 5);
    sample.labels[sample.label_count++] = (struct label){STR_LITERAL("tier"), STR_LITERAL("gold")};
    must_record(&first, &sample);
    for (unsigned i = 0; i < 3; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        sample = sample_of(name, 5);
        must_record(&first, &sample);
    }
    struct buf body = must_save(&first, 1);
    options = core_options(); /* keeps no labels */
    options.max_models = 2;
    core_open(&second, &options);
    struct restore_report report = must_go_on(&second, 1, &body);
    assert_int_equal(report.models, 2);
    assert_int_equal(report.left_out, 2);
    assert_int_equal(second.registry->count, 2);
    assert_int_equal(second.registry->overflow, 0);
    core_close(&second);
    buf_fini(&body); /* is older */
    core_close(&first);
}

static void declare_gauge(struct core *core, const char *name, enum aggregation aggregation,
                          const char *label)
{
    struct str labels[] = {str_of(label)};
    struct family_shape shape = {.name = str_of(name),
                                 .source = str_of(name),
                                 .help = STR_LITERAL("A gauge."),
                                 .type = FAMILY_GAUGE,
                                 .aggregation = aggregation,
                                 .declared = true,
                                 .label_count = 1,
                                 .labels = labels};
    assert_int_equal(metrics_declare(core->metrics, &shape), 0);
}

static void test_restore_leaves_out_families_that_are_declared_otherwise(void **state)
{
    (void)state;
    struct registry_options options = core_options();
    static const char *const names[] = {"same", "labels", "aggregation", "gone"};
    core_open(&first, &options);
    for (unsigned i = 0; i < 4; i++) {
        declare_gauge(&first, names[i], AGGREGATION_LAST, "a");
        struct metric metric = metric_of(METRIC_SET, names[i], 5, "a=1");
        must_count(&first, &metric, NULL);
    }
    struct buf body = must_save(&first, 1);
    core_open(&second, &options);
    declare_gauge(&second, "same", AGGREGATION_LAST, "a");
    declare_gauge(&second, "labels", AGGREGATION_LAST, "b");
    declare_gauge(&second, "aggregation", AGGREGATION_MAX, "a");
    struct restore_report report = must_go_on(&second, 1, &body);
    assert_int_equal(report.left_out, 3);
    assert_int_equal(report.series, 1);
    assert_true(core_series(&second, "same", "a=1").number == 5);
    assert_false(core_has_series(&second, "labels", "b="));
    assert_false(core_has_series(&second, "aggregation", "a=1"));
    assert_int_equal(names_find(&second.metrics->names, STR_LITERAL("gone")), NAMES_NONE);
    core_close(&second);
    buf_fini(&body); /* is older */
    core_close(&first);
}

static void test_restore_stops_at_ceilings(void **state)
{
    (void)state;
    open_both();
    struct buf body = must_save(&first, 1);
    uint32_t all = first.metrics->index.count;
    second.metrics->options.max_series = all - 1;
    struct restore_report report = must_go_on(&second, 1, &body);
    assert_int_equal(report.left_out, 1);
    assert_int_equal(second.metrics->index.count, all - 1);
    buf_fini(&body);
    close_both();
}

/* --- processes --------------------------------------------------------------------------------- */

/* As a core has it whose process has ended. */
static void end_process_200(struct core *core)
{
    struct process *process = core->processes.first;
    while (process->kernel_pid != 200) {
        process = process->next;
    }
    process->watched = true; /* or it would end with its connection */
    process_exit(&core->processes, process);
    process_leave(&core->processes, process);
    core_move(core, 2);
    metrics_tick(core->metrics); /* what ends is over */
}

static void test_restore_knows_who_is_gone(void **state)
{
    (void)state;
    static const int64_t one[] = {100};
    open_first();
    struct buf body = must_save(&first, 1);
    end_process_200(&first);
    struct buf before = must_show(&first);
    open_second();
    set_alive(one, 1);
    (void)must_go_on(&second, 1, &body);
    struct buf after = must_show(&second);
    must_be_same(&after, &before);
    assert_true(core_has_series(&second, "release", "version=1"));
    assert_false(core_has_series(&second, "release", "version=2"));
    buf_fini(&after);
    core_close(&second);
    buf_fini(&before);
    buf_fini(&body);
    core_close(&first);
}

static void test_restore_knows_nobody_over_a_start_of_the_machine(void **state)
{
    (void)state;
    open_both();
    struct buf body = must_save(&first, 1);
    (void)must_go_on(&second, 2, &body);
    assert_int_equal(second.processes.count, 0);
    assert_false(core_has_series(&second, "release", "version=1"));
    buf_fini(&body);
    close_both();
}

/* --- the ledger ---------------------------------------------------------------------------------- */

static void test_restore_knows_who_asks(void **state)
{
    (void)state;
    open_both();
    struct buf body = must_save(&first, 1);
    (void)must_go_on(&second, 1, &body);
    unsigned asking = 0;
    for (int16_t i = 0; i < second.ledger.used; i++) {
        asking += second.ledger.clients[i].asks;
    }
    assert_int_equal(asking, 1);
    buf_fini(&body);
    close_both();
}

/* --- ceilings ---------------------------------------------------------------------------------- */

/* The most that records may stand for, as often as it takes: what is counted then can be read again. */
static void test_restore_reads_whatever_was_counted(void **state)
{
    (void)state;
    enum { TIMES = 20 };
    struct sample sample = sample_of("plain", 3);
    struct metric sizes[] = {metric_of(METRIC_OBSERVE, "size", 4, "a=1"),
                             metric_of(METRIC_OBSERVE, "size", -4, "a=1"),
                             metric_of(METRIC_OBSERVE, "size", 0, "a=1")};
    const uint8_t id[RECORD_CLIENT_ID_BYTES] = "leaps";
    struct mark mark = {.has_sequence = true};
    sample.has = 1u << SAMPLE_WEIGHT | 1u << SAMPLE_QUEUE | 1u << SAMPLE_BATCH_SIZE;
    sample.weight = SAVED_LEAPS_MAX / 4;
    sample.batch_size = 8;
    sample.error = true;
    open_first();
    int client = ledger_client(first.intake.ledger, id, 0, &mark);
    for (unsigned i = 0; i < TIMES; i++) {
        must_record(&first, &sample);
        for (unsigned k = 0; k < 3; k++) {
            sizes[k].unit = STR_LITERAL("bytes");
            sizes[k].weight = SAVED_LEAPS_MAX / 4;
            must_count(&first, &sizes[k], NULL);
        }
        core_move(&first, i % 4 == 0 ? CORE_SLOT_S : 0);
    }
    for (uint64_t i = 0; i < 2 * SAVED_LEAPS_MAX / LEDGER_GAP_MAX; i++) {
        mark.sequence += LEDGER_GAP_MAX;
        assert_true(ledger_advance(first.intake.ledger, client, &mark));
    }
    struct buf body = must_save(&first, 1);
    open_second();
    (void)must_go_on(&second, 1, &body);
    core_close(&second);
    buf_fini(&body); /* is older */
    core_close(&first);
}

/* --- damage and memory ------------------------------------------------------------------------- */

/* The bytes, which outlive both cores; the buffer is ended. */
static char *must_keep(struct buf *body)
{
    char *bytes = malloc(body->len);
    assert_non_null(bytes);
    memcpy(bytes, body->data, body->len);
    buf_fini(body);
    return bytes;
}

/* Either it is no state, or all of it is applied, and is one again when it is saved. */
static void must_be_all_or_nothing(const char *bytes, size_t len)
{
    static const struct saved_sink nobody;
    struct registry_options options = options_of_tests();
    struct buf body;
    buf_init(&body, len + 1);
    buf_append(&body, bytes, len);
    if (state_read((struct str){body.data, body.len}, &nobody) == 0) {
        core_open(&second, &options);
        declare(&second);
        (void)must_go_on(&second, 1, &body);
        struct buf shown = must_show(&second);
        struct buf again = must_save(&second, 1);
        assert_int_equal(state_read((struct str){again.data, again.len}, &nobody), 0);
        buf_fini(&shown);
        buf_fini(&again);
        core_close(&second);
    }
    buf_fini(&body);
}

static void test_restore_takes_every_truncation_or_leaves_it(void **state)
{
    (void)state;
    static const struct saved_sink nobody;
    open_both();
    struct buf body = must_save(&first, 1);
    size_t all = body.len;
    char *bytes = must_keep(&body);
    close_both();
    for (size_t len = 0; len <= all; len++) {
        (void)state_read((struct str){bytes, len}, &nobody);
        if (len % 101 == 0) {
            must_be_all_or_nothing(bytes, len);
        }
    }
    free(bytes);
}

static void test_restore_takes_any_damage_or_leaves_it(void **state)
{
    (void)state;
    struct random random = random_start("damage to a state");
    open_both();
    struct buf body = must_save(&first, 1);
    size_t len = body.len;
    char *bytes = must_keep(&body);
    close_both();
    for (unsigned i = 0; i < 300; i++) {
        size_t at = random_below(&random, len);
        char was = bytes[at];
        bytes[at] = (char)(bytes[at] ^ 1 << random_below(&random, 8));
        must_be_all_or_nothing(bytes, len);
        bytes[at] = was;
    }
    free(bytes);
}

static int go_on_without(size_t n, const struct buf *body)
{
    struct restore_options options = {.intake = &second.intake, .now = moment_of(&second, 2)};
    struct restore *restore = restore_new(&options);
    assert_non_null(restore);
    struct saved_sink sink = restore_sink(restore);
    mem_fail_after(n);
    int err = state_read((struct str){body->data, body->len}, &sink);
    restore_free(restore);
    return err;
}

/* A core of little: each step is tried. */
static void test_restore_without_memory(void **state)
{
    (void)state;
    struct registry_options options = options_of_tests();
    core_open(&first, &options);
    struct sample sample = sample_of("m", 5);
    sample.has = 1u << SAMPLE_QUEUE | 1u << SAMPLE_TRACE_ID;
    must_record(&first, &sample);
    core_move(&first, CORE_SLOT_S);
    must_record(&first, &sample);
    struct metric metric = metric_of(METRIC_OBSERVE, "h", 5, "a=1");
    metric.has = METRIC_HAS_TRACE_ID;
    must_count(&first, &metric, NULL);
    metric = metric_of(METRIC_SET, "g", 5, "a=1");
    must_count(&first, &metric, NULL);
    metric = metric_of(METRIC_MEMBER, "s", 0, "a=1");
    metric.member = STR_LITERAL("x");
    must_count(&first, &metric, NULL);
    struct budget budget = {.layer = STR_LITERAL("total"), .elapsed_ms = 60};
    struct budget_verdict verdict;
    declare(&first);
    assert_int_equal(budgets_record(first.budgets, &budget, &verdict), 0);
    struct buf body = must_save(&first, 1);
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        core_open(&second, &options);
        declare(&second);
        int err = go_on_without(n, &body);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        core_close(&second);
    }
    buf_fini(&body);
    core_close(&first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restore_shows_the_same),
        cmocka_unit_test(test_restore_saves_the_same),
        cmocka_unit_test(test_restore_counts_on),
        cmocka_unit_test(test_restore_windows_keep_their_time),
        cmocka_unit_test(test_restore_heeds_no_step_of_the_clock),
        cmocka_unit_test(test_restore_goes_by_the_wall_over_a_start_of_the_machine),
        cmocka_unit_test(test_restore_has_no_window_of_another_length),
        cmocka_unit_test(test_restore_leaves_out_models_that_do_not_fit),
        cmocka_unit_test(test_restore_leaves_out_families_that_are_declared_otherwise),
        cmocka_unit_test(test_restore_stops_at_ceilings),
        cmocka_unit_test(test_restore_knows_who_is_gone),
        cmocka_unit_test(test_restore_knows_nobody_over_a_start_of_the_machine),
        cmocka_unit_test(test_restore_knows_who_asks),
        cmocka_unit_test(test_restore_reads_whatever_was_counted),
        cmocka_unit_test(test_restore_takes_every_truncation_or_leaves_it),
        cmocka_unit_test(test_restore_takes_any_damage_or_leaves_it),
        cmocka_unit_test(test_restore_without_memory),
    };
    return cmocka_run_group_tests(tests, core_tables, NULL);
}
