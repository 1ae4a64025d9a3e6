#include "core_helpers.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "exchange.h"
#include "mem_fault.h"
#include "render/families.h"

enum { TEXT_BYTES_MAX = 64 << 20 };

static struct core core;

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
    core_close(&core);
    return 0;
}

static struct families *must_make(enum exposition_format format, const char *hash, bool created)
{
    struct families *families = families_new(&(const struct families_options){
        .form = forms[format], .hash = str_of(hash), .created_series = created});
    assert_non_null(families);
    return families;
}

/* Terminated; the caller frees it with buf_fini. */
static void must_render(struct families *families, const struct snapshot *snapshot, struct buf *out)
{
    buf_init(out, TEXT_BYTES_MAX);
    assert_int_equal(families_render(families, &snapshot->metrics, out), 0);
    buf_char(out, '\0');
    assert_int_equal(out->err, 0);
}

static void must_be_same(const struct buf *got, const struct buf *wanted)
{
    size_t at = 0;
    while (at < got->len && at < wanted->len && got->data[at] == wanted->data[at]) {
        at++;
    }
    if (got->len != wanted->len || at < got->len) {
        size_t from = at < 100 ? 0 : at - 100;
        fail_msg("they part at byte %zu:\n%.200s\n--- wanted ---\n%.200s", at, got->data + from,
                 wanted->data + from);
    }
}

static void record(const struct metric *metric, struct process *process)
{
    must_count(&core, metric, process);
}

static void say(enum metric_op op, const char *name, double value, const char *attributes)
{
    struct metric metric = metric_of(op, name, value, attributes);
    record(&metric, NULL);
}

/* What all of the core's families look like. */
static void must_look(enum exposition_format format, const char *hash, bool created,
                      const char *wanted)
{
    struct families *families = must_make(format, hash, created);
    struct snapshot *snapshot = must_take(&core);
    struct buf text;
    must_render(families, snapshot, &text);
    assert_string_equal(text.data, wanted);
    buf_fini(&text);
    core_drop(&core, snapshot);
    families_free(families);
}

#define LOOK(format, wanted) must_look(EXPOSITION_##format, "", false, wanted)

/* --- what is written --------------------------------------------------------------------------- */

static void test_families_show_each_type(void **state)
{
    (void)state;
    say(METRIC_COUNT, "jobs", 3, "q=a");
    say(METRIC_SET, "depth", -2.5, "");
    say(METRIC_INFO, "build", 0, "v=1");
    LOOK(TEXT, "# HELP jobs_total Counted by clients.\n# TYPE jobs_total counter\n"
               "jobs_total{q=\"a\"} 3\n"
               "# HELP depth Set by clients.\n# TYPE depth gauge\ndepth -2.5\n"
               "# HELP build_info Said by clients.\n# TYPE build_info gauge\n"
               "build_info{v=\"1\"} 1\n");
    LOOK(OPENMETRICS, "# TYPE jobs counter\n# HELP jobs Counted by clients.\n"
                      "jobs_total{q=\"a\"} 3\n"
                      "# TYPE depth gauge\n# HELP depth Set by clients.\ndepth -2.5\n"
                      "# TYPE build info\n# HELP build Said by clients.\n"
                      "build_info{v=\"1\"} 1\n");
}

/* A gauge in every format, in whatever a client has it for a set. */
static void test_families_show_sets(void **state)
{
    (void)state;
    struct metric metric = metric_of(METRIC_MEMBER, "users", 0, "plan=free");
    metric.member = STR_LITERAL("alice");
    record(&metric, NULL);
    metric.member = STR_LITERAL("bob");
    record(&metric, NULL);
    LOOK(TEXT, "# HELP users Distinct values that clients sent, in the window.\n"
               "# TYPE users gauge\nusers{plan=\"free\"} 2\n");
    LOOK(OPENMETRICS, "# TYPE users gauge\n"
                      "# HELP users Distinct values that clients sent, in the window.\n"
                      "users{plan=\"free\"} 2\n");
}

static const double two_bounds[] = {0.5, 2};

static void test_families_show_histograms(void **state)
{
    (void)state;
    struct family_shape shape = {.name = STR_LITERAL("h_seconds"),
                                 .help = STR_LITERAL("One \"two\"\nthree\\."),
                                 .unit = STR_LITERAL("seconds"),
                                 .type = FAMILY_HISTOGRAM,
                                 .declared = true,
                                 .bound_count = 2,
                                 .bounds = two_bounds};
    assert_int_equal(metrics_declare(core.metrics, &shape), 0);
    LOOK(TEXT, "# HELP h_seconds One \"two\"\\nthree\\\\.\n# TYPE h_seconds histogram\n");
    say(METRIC_OBSERVE, "h_seconds", 0.5, "");
    say(METRIC_OBSERVE, "h_seconds", 3, "");
    LOOK(TEXT, "# HELP h_seconds One \"two\"\\nthree\\\\.\n# TYPE h_seconds histogram\n"
               "h_seconds_bucket{le=\"0.5\"} 1\nh_seconds_bucket{le=\"2.0\"} 1\n"
               "h_seconds_bucket{le=\"+Inf\"} 2\nh_seconds_sum 3.5\nh_seconds_count 2\n");
    must_look(EXPOSITION_OPENMETRICS, "y", true,
              "# TYPE h_seconds histogram\n# UNIT h_seconds seconds\n"
              "# HELP h_seconds One \\\"two\\\"\\nthree\\\\.\n"
              "h_seconds_bucket{constitutional_hash=\"y\",le=\"0.5\"} "
              "1\nh_seconds_bucket{constitutional_hash=\"y\",le=\"2.0\"} 1\n"
              "h_seconds_bucket{constitutional_hash=\"y\",le=\"+Inf\"} "
              "2\nh_seconds_sum{constitutional_hash=\"y\"} 3.5\n"
              "h_seconds_count{constitutional_hash=\"y\"} "
              "2\nh_seconds_created{constitutional_hash=\"y\"} 1700000000.000\n");
}

static void test_families_escape_values_of_labels(void **state)
{
    (void)state;
    say(METRIC_SET, "g", 1, "a=back\\slash \"quoted\"\nline,b.c=é");
    LOOK(TEXT, "# HELP g Set by clients.\n# TYPE g gauge\n"
               "g{a=\"back\\\\slash \\\"quoted\\\"\\nline\",b_c=\"é\"} 1\n");
}

static void test_families_show_numbers_as_both_formats_read_them(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } table[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-1, "-1"},
        {0.1, "0.1"},
        {1e300, "1e+300"},
        {NAN, "NaN"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
        {5e-324, "5e-324"},
        {0x1p53, "9007199254740992"},
        {0x1p53 - 1, "9007199254740991"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char wanted[128];
        say(METRIC_SET, "g", table[i].number, "");
        (void)snprintf(wanted, sizeof wanted, "# HELP g Set by clients.\n# TYPE g gauge\ng %s\n",
                       table[i].text);
        LOOK(TEXT, wanted);
    }
}

static void test_families_say_created_only_in_open_metrics_when_asked(void **state)
{
    (void)state;
    core_move(&core, 7);
    say(METRIC_COUNT, "c", 1, "");
    core_move(&core, 100);
    say(METRIC_COUNT, "c", 1, "");
    must_look(EXPOSITION_TEXT, "", true,
              "# HELP c_total Counted by clients.\n# TYPE c_total counter\nc_total 2\n");
    must_look(EXPOSITION_OPENMETRICS, "", false,
              "# TYPE c counter\n# HELP c Counted by clients.\nc_total 2\n");
    must_look(EXPOSITION_OPENMETRICS, "", true,
              "# TYPE c counter\n# HELP c Counted by clients.\nc_total 2\n"
              "c_created 1700000007.000\n");
}

static void test_families_show_exemplars_in_open_metrics(void **state)
{
    (void)state;
    struct metric metric = metric_of(METRIC_COUNT, "c", 2, "a=1");
    metric.has = METRIC_HAS_TRACE_ID | METRIC_HAS_SPAN_ID | METRIC_HAS_TIMESTAMP;
    memset(metric.trace_id, 0xAB, sizeof metric.trace_id);
    memset(metric.span_id, 0x0F, sizeof metric.span_id);
    metric.timestamp_wall_ns = UINT64_C(1700000001002999999);
    record(&metric, NULL);
    say(METRIC_COUNT, "c", 1, "a=2");
    LOOK(TEXT, "# HELP c_total Counted by clients.\n# TYPE c_total counter\n"
               "c_total{a=\"1\"} 2\nc_total{a=\"2\"} 1\n");
    LOOK(OPENMETRICS, "# TYPE c counter\n# HELP c Counted by clients.\n"
                      "c_total{a=\"1\"} 2 # {trace_id=\"abababababababababababababababab\","
                      "span_id=\"0f0f0f0f0f0f0f0f\"} 2 1700000001.002\nc_total{a=\"2\"} 1\n");
}

/* An info that says the hash is not told it twice. */
static void test_families_have_the_hash_once(void **state)
{
    (void)state;
    say(METRIC_INFO, "i", 0, "constitutional_hash=own");
    say(METRIC_SET, "g", 1, "constitutional_hash=own");
    must_look(EXPOSITION_TEXT, "all", false,
              "# HELP i_info Said by clients.\n# TYPE i_info gauge\n"
              "i_info{constitutional_hash=\"own\"} 1\n"
              "# HELP g Set by clients.\n# TYPE g gauge\n"
              "g{exported_constitutional_hash=\"own\",constitutional_hash=\"all\"} 1\n");
}

static void test_families_without_any(void **state)
{
    (void)state;
    LOOK(TEXT, "");
    LOOK(OPENMETRICS, "");
}

/* Every label at its longest, every byte escaped. */
static void test_families_have_room_for_the_longest_labels(void **state)
{
    (void)state;
    enum { COUNT = 8, BYTES = 1900 };
    static char values[COUNT][BYTES];
    struct metric metric = metric_of(METRIC_OBSERVE, "h", 1, "");
    static const char *const keys[COUNT] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    core.metrics->options.max_label_bytes = RECORD_VALUE_MAX;
    for (size_t i = 0; i < COUNT; i++) {
        memset(values[i], '"', BYTES);
        metric.attributes[i] = (struct label){str_of(keys[i]), {values[i], BYTES}};
    }
    metric.attribute_count = COUNT;
    record(&metric, NULL);
    assert_int_equal(core.metrics->overflowed, 0);
    struct families *families = must_make(EXPOSITION_TEXT, "", false);
    struct snapshot *snapshot = must_take(&core);
    struct buf text;
    must_render(families, snapshot, &text);
    assert_true(text.len > (size_t)COUNT * BYTES * 2 * 15);
    buf_fini(&text);
    core_drop(&core, snapshot);
    families_free(families);
}

/* --- what is remembered ------------------------------------------------------------------------ */

enum { PROCESSES = 5, STYLES = 4 };

static const struct style {
    enum exposition_format format;
    const char *hash;
    bool created;
} styles[STYLES] = {
    {EXPOSITION_TEXT, "", false},
    {EXPOSITION_OPENMETRICS, "", false},
    {EXPOSITION_OPENMETRICS, "x", true},
    {EXPOSITION_PROTOBUF, "x", false},
};

/* A core's life: what is alive in it, and in the test. */
struct life {
    struct random random;
    struct process *processes[PROCESSES];
    struct snapshot *held[LIMBO_SNAPSHOTS_MAX - 2];
    unsigned held_count;
    bool holds; /* snapshots, now and then */
};

static void declare_expiring(void)
{
    static const enum family_type types[] = {FAMILY_COUNTER, FAMILY_GAUGE, FAMILY_HISTOGRAM};
    static const char *const names[] = {"ec", "eg", "eh"};
    static const struct str label = {"s", 1};
    for (size_t i = 0; i < 3; i++) {
        struct family_shape shape = {.name = str_of(names[i]),
                                     .source = str_of(names[i]),
                                     .help = STR_LITERAL("Expires."),
                                     .type = types[i],
                                     .declared = true,
                                     .label_count = 1,
                                     .labels = &label,
                                     .bound_count = types[i] == FAMILY_HISTOGRAM ? 2 : 0,
                                     .bounds = two_bounds,
                                     .expire_seconds = 20};
        assert_int_equal(metrics_declare(core.metrics, &shape), 0);
    }
}

static void record_randomly(struct life *life)
{
    static const struct {
        enum metric_op op;
        enum aggregation aggregation;
        const char *name;
    } kinds[] = {
        {METRIC_COUNT, AGGREGATION_UNSAID, "c"},    {METRIC_COUNT, AGGREGATION_UNSAID, "ec"},
        {METRIC_OBSERVE, AGGREGATION_UNSAID, "h"},  {METRIC_OBSERVE, AGGREGATION_UNSAID, "eh"},
        {METRIC_SET, AGGREGATION_UNSAID, "g"},      {METRIC_ADD, AGGREGATION_UNSAID, "g"},
        {METRIC_SET, AGGREGATION_UNSAID, "eg"},     {METRIC_SET, AGGREGATION_SUM, "sum"},
        {METRIC_SET, AGGREGATION_MAX, "max"},       {METRIC_SET, AGGREGATION_MIN, "min"},
        {METRIC_SET, AGGREGATION_PER_PID, "own"},   {METRIC_INFO, AGGREGATION_UNSAID, "i"},
        {METRIC_MEMBER, AGGREGATION_UNSAID, "set"},
    };
    struct random *random = &life->random;
    size_t kind = random_below(random, sizeof kinds / sizeof kinds[0]);
    char attributes[32];
    /* Some series often, and enough of them for a second page. */
    uint64_t which = random_below(random, random_below(random, 4) == 0 ? 90 : 6);
    (void)snprintf(attributes, sizeof attributes, "s=%u", (unsigned)which);
    struct metric metric = metric_of(kinds[kind].op, kinds[kind].name,
                                     (double)random_below(random, 2000) / 8, attributes);
    char member[16];
    (void)snprintf(member, sizeof member, "%u", (unsigned)random_below(random, 40));
    metric.member = str_of(member);
    metric.aggregation = kinds[kind].aggregation;
    if (random_below(random, 16) == 0) {
        metric.has = METRIC_HAS_TRACE_ID;
        metric.trace_id[0] = (uint8_t)random_next(random);
    }
    if (metric.op == METRIC_SET && random_below(random, 20) == 0) {
        metric.value = random_below(random, 2) == 0 ? (double)NAN : (double)-INFINITY;
    }
    record(&metric, life->processes[random_below(random, PROCESSES)]);
}

static void change_randomly(struct life *life)
{
    struct random *random = &life->random;
    struct process **process = &life->processes[1 + random_below(random, PROCESSES - 1)];
    switch (random_below(random, 24)) {
    case 0:
        if (*process == NULL) {
            *process = process_enter(&core.processes, 1 + random_below(random, 3), 0);
        } else {
            process_leave(&core.processes, *process);
            *process = NULL;
        }
        break;
    case 1:
        core_move(&core, (int64_t)random_below(random, 30));
        metrics_tick(core.metrics);
        break;
    case 2:
        if (life->holds && life->held_count < sizeof life->held / sizeof life->held[0]) {
            life->held[life->held_count++] = must_take(&core);
        }
        break;
    case 3:
        if (life->held_count > 0) {
            core_drop(&core, life->held[--life->held_count]);
        }
        break;
    default:
        record_randomly(life);
    }
}

static void end_life(struct life *life)
{
    while (life->held_count > 0) {
        core_drop(&core, life->held[--life->held_count]);
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (life->processes[i] != NULL) {
            process_leave(&core.processes, life->processes[i]);
        }
    }
}

static struct families *make_styled(const struct style *style)
{
    return must_make(style->format, style->hash, style->created);
}

static void must_render_as_anew(struct families *families, const struct style *style,
                                const struct snapshot *snapshot)
{
    struct families *anew = make_styled(style);
    struct buf got;
    struct buf wanted;
    must_render(families, snapshot, &got);
    must_render(anew, snapshot, &wanted);
    must_be_same(&got, &wanted);
    buf_fini(&got);
    buf_fini(&wanted);
    families_free(anew);
}

static void test_families_remember_nothing_wrong(void **state)
{
    (void)state;
    struct life life = {.random = random_start("families"), .holds = true};
    struct families *families[STYLES];
    for (unsigned i = 0; i < STYLES; i++) {
        families[i] = make_styled(&styles[i]);
    }
    declare_expiring();
    mem_always_move(true);
    for (unsigned round = 0; round < 1500; round++) {
        for (uint64_t i = random_below(&life.random, 30); i > 0; i--) {
            change_randomly(&life);
        }
        unsigned style = (unsigned)random_below(&life.random, STYLES);
        struct snapshot *snapshot = must_take(&core);
        must_render_as_anew(families[style], &styles[style], snapshot);
        core_drop(&core, snapshot);
        if (life.held_count > 0) { /* an older one after a younger */
            must_render_as_anew(families[style], &styles[style],
                                life.held[random_below(&life.random, life.held_count)]);
        }
    }
    mem_always_move(false);
    for (unsigned i = 0; i < STYLES; i++) {
        families_free(families[i]);
    }
    end_life(&life);
}

/* --- both formats ------------------------------------------------------------------------------ */

/* The lines of samples, without what only one format has. */
static char *samples_of(const struct buf *text)
{
    char *out = calloc(1, text->len);
    size_t len = 0;
    assert_non_null(out);
    for (const char *at = text->data; *at != '\0'; at = strchr(at, '\n') + 1) {
        size_t line = strcspn(at, "\n");
        const char *exemplar = strstr(at, " # {");
        size_t kept = exemplar != NULL && exemplar < at + line ? (size_t)(exemplar - at) : line;
        if (at[0] != '#') {
            memcpy(out + len, at, kept);
            len += kept;
            out[len++] = '\n';
        }
    }
    return out;
}

static void test_families_say_the_same_in_both_formats(void **state)
{
    (void)state;
    struct life life = {.random = random_start("formats"), .holds = true};
    struct families *plain = must_make(EXPOSITION_TEXT, "", false);
    struct families *open = must_make(EXPOSITION_OPENMETRICS, "", false);
    declare_expiring();
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 40; i++) {
            change_randomly(&life);
        }
        struct snapshot *snapshot = must_take(&core);
        struct buf plain_text;
        struct buf open_text;
        must_render(plain, snapshot, &plain_text);
        must_render(open, snapshot, &open_text);
        char *of_plain = samples_of(&plain_text);
        char *of_open = samples_of(&open_text);
        assert_string_equal(of_plain, of_open);
        free(of_plain);
        free(of_open);
        buf_fini(&plain_text);
        buf_fini(&open_text);
        core_drop(&core, snapshot);
    }
    families_free(plain);
    families_free(open);
    end_life(&life);
}

/* --- failures ---------------------------------------------------------------------------------- */

static void test_families_new_without_memory(void **state)
{
    (void)state;
    mem_fail_after(1);
    assert_null(families_new(&(const struct families_options){.form = forms[EXPOSITION_TEXT]}));
    mem_fail_after(0);
    families_free(NULL);
}

/* Fails the n-th allocation of an answer for n = 1, 2, …, first of a new one and then after changes;
 * the answer after a failure is right. */
static void test_families_are_right_again_after_want_of_memory(void **state)
{
    (void)state;
    struct life life = {.random = random_start("memory"), .holds = true};
    declare_expiring();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned style = 0; style < STYLES; style++) {
            struct families *families = make_styled(&styles[style]);
            bool failed = true;
            for (size_t n = 1; failed; n++) {
                for (unsigned i = 0; i < 20; i++) {
                    change_randomly(&life);
                }
                struct snapshot *snapshot = must_take(&core);
                struct buf got;
                buf_init(&got, TEXT_BYTES_MAX);
                mem_fail_after(n);
                int err = families_render(families, &snapshot->metrics, &got);
                failed = mem_has_failed();
                mem_fail_after(0);
                assert_int_equal(err, failed ? ERR_NOMEM : 0);
                buf_fini(&got);
                must_render_as_anew(families, &styles[style], snapshot);
                core_drop(&core, snapshot);
            }
            families_free(families);
        }
    }
    end_life(&life);
}

static void test_families_first_answer_fails_cleanly_at_every_allocation(void **state)
{
    (void)state;
    struct life life = {.random = random_start("first"), .holds = true};
    for (unsigned i = 0; i < 400; i++) {
        record_randomly(&life);
    }
    struct snapshot *snapshot = must_take(&core);
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct families *families = must_make(EXPOSITION_OPENMETRICS, "", true);
        struct buf got;
        buf_init(&got, TEXT_BYTES_MAX);
        mem_fail_after(n);
        int err = families_render(families, &snapshot->metrics, &got);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, failed ? ERR_NOMEM : 0);
        buf_fini(&got);
        families_free(families);
        assert_int_equal(mem_count_live(), live);
    }
    core_drop(&core, snapshot);
    end_life(&life);
}

static void test_families_stop_at_the_ceiling_of_the_answer(void **state)
{
    (void)state;
    say(METRIC_COUNT, "c", 1, "a=1");
    say(METRIC_OBSERVE, "h", 1, "a=1");
    struct families *families = must_make(EXPOSITION_TEXT, "", false);
    struct snapshot *snapshot = must_take(&core);
    struct buf whole;
    must_render(families, snapshot, &whole);
    for (size_t max = 0; max < whole.len - 1; max++) {
        struct buf got;
        buf_init(&got, max);
        assert_int_equal(families_render(families, &snapshot->metrics, &got), ERR_LIMIT);
        assert_true(got.len <= max);
        buf_fini(&got);
    }
    must_render_as_anew(families, &styles[0], snapshot);
    buf_fini(&whole);
    core_drop(&core, snapshot);
    families_free(families);
}

/* --- threads ----------------------------------------------------------------------------------- */

/*
 * The loop records, ends, freezes and releases; the reader renders, as the server does: with what it
 * remembers, and anew.
 */
static struct exchange exchange = EXCHANGE_INIT;

static atomic_uint wrong; /* cmocka's assertions belong to the main thread */
static atomic_uint answers;

static bool renders_as_anew(struct families *families, const struct style *style,
                            const struct snapshot *snapshot)
{
    struct families *anew =
        families_new(&(const struct families_options){.form = forms[style->format],
                                                      .hash = str_of(style->hash),
                                                      .created_series = style->created});
    struct buf got;
    struct buf wanted;
    buf_init(&got, TEXT_BYTES_MAX);
    buf_init(&wanted, TEXT_BYTES_MAX);
    bool same = families_render(families, &snapshot->metrics, &got) == 0 &&
                families_render(anew, &snapshot->metrics, &wanted) == 0 && got.len == wanted.len &&
                memcmp(got.data, wanted.data, got.len) == 0;
    buf_fini(&got);
    buf_fini(&wanted);
    families_free(anew);
    return same;
}

static void *render_snapshots(void *arg)
{
    struct families *const *families = arg;
    for (struct snapshot *snapshot; (snapshot = exchange_take(&exchange)) != NULL;) {
        unsigned style = answers++ % STYLES;
        wrong += !renders_as_anew(families[style], &styles[style], snapshot);
        exchange_give_back(&exchange, snapshot);
    }
    return NULL;
}

static void test_families_are_rendered_beside_the_loop(void **state)
{
    (void)state;
    struct life life = {.random = random_start("threads")};
    struct families *families[STYLES];
    pthread_t reader;
    unsigned taken = 0;
    for (unsigned i = 0; i < STYLES; i++) {
        families[i] = make_styled(&styles[i]);
    }
    declare_expiring();
    assert_int_equal(pthread_create(&reader, NULL, render_snapshots, families), 0);
    for (unsigned step = 0; step < 1500; step++) {
        for (unsigned i = 0; i < 20; i++) {
            change_randomly(&life);
        }
        struct snapshot *snapshot;
        int err =
            snapshot_take(&core.intake, &core.thresholds, core.mono_ns, core.wall_ns, &snapshot);
        if (err == 0) {
            taken++;
            exchange_put(&exchange, snapshot);
        } else {
            assert_int_equal(err, ERR_LIMIT); /* the reader is behind: an ordinary event */
        }
        exchange_release_done(&exchange, core.registry);
        (void)limbo_sweep(&core.registry->limbo, 50); /* what is left is left */
    }
    exchange_end(&exchange);
    assert_int_equal(pthread_join(reader, NULL), 0);
    exchange_release_done(&exchange, core.registry);
    assert_int_equal(wrong, 0);
    assert_int_equal(answers, taken);
    assert_true(taken > 0);
    for (unsigned i = 0; i < STYLES; i++) {
        families_free(families[i]);
    }
    end_life(&life);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_families_show_each_type),
        TEST(test_families_show_sets),
        TEST(test_families_show_histograms),
        TEST(test_families_escape_values_of_labels),
        TEST(test_families_show_numbers_as_both_formats_read_them),
        TEST(test_families_say_created_only_in_open_metrics_when_asked),
        TEST(test_families_show_exemplars_in_open_metrics),
        TEST(test_families_have_the_hash_once),
        TEST(test_families_without_any),
        TEST(test_families_have_room_for_the_longest_labels),
        TEST(test_families_remember_nothing_wrong),
        TEST(test_families_say_the_same_in_both_formats),
        TEST(test_families_new_without_memory),
        TEST(test_families_are_right_again_after_want_of_memory),
        TEST(test_families_first_answer_fails_cleanly_at_every_allocation),
        TEST(test_families_stop_at_the_ceiling_of_the_answer),
        TEST(test_families_are_rendered_beside_the_loop),
    };
    return cmocka_run_group_tests_name("families", tests, core_tables, NULL);
}
