/* Explanations: every figure is there, in order, and the steps can be redone from what is printed. */
#include "core_helpers.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "mem_fault.h"
#include "render/json.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

static struct core core;
static struct machine machine;

/* --- an explanation ---------------------------------------------------------------------------- */

static void open_judged(const struct evidence *evidence)
{
    struct registry_options options = core_options();
    struct opinion_memory memory = {.rounds = 0};
    struct opinion opinion;
    struct sample sample = sample_of("m", 10);
    core_open(&core, &options);
    must_record(&core, &sample);
    opinion_take(&memory, evidence, &machine, &opinion);
    must_set_opinion(&core, 0, &opinion);
}

static void render(struct buf *out)
{
    struct snapshot *snapshot = must_take(&core);
    snapshot->machine = machine;
    buf_init(out, TEXT_BYTES_MAX);
    assert_true(json_render_model(snapshot, PROFILE_WINDOW,
                                  &(struct json_model_query){.name = STR_LITERAL("m")},
                                  core.scratch, out));
    core_drop(&core, snapshot);
}

static json_t *must_explain(void)
{
    struct buf out;
    json_error_t error;
    render(&out);
    assert_int_equal(out.err, 0);
    json_t *root = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        fail_msg("%s: %.*s", error.text, (int)out.len, out.data);
    }
    buf_fini(&out);
    json_t *explanation = json_object_get(root, "explanation");
    assert_non_null(explanation);
    json_incref(explanation);
    json_decref(root);
    return explanation;
}

static json_t *step_of(const json_t *explanation, const char *name)
{
    size_t i;
    json_t *step;
    json_array_foreach(json_object_get(explanation, "steps"), i, step)
    {
        if (strcmp(json_string_value(json_object_get(step, "name")), name) == 0) {
            return step;
        }
    }
    return NULL;
}

/* A member of a step; NaN for null. */
static double part_of(const json_t *explanation, const char *name, const char *part)
{
    const json_t *value = json_object_get(step_of(explanation, name), part);
    if (value == NULL) {
        fail_msg("no %s of %s", part, name);
    }
    return json_is_null(value) ? (double)NAN : json_number_value(value);
}

static double step(const json_t *explanation, const char *name)
{
    return part_of(explanation, name, "value");
}

static double low(const json_t *explanation, const char *name)
{
    return part_of(explanation, name, "low");
}

static double high(const json_t *explanation, const char *name)
{
    return part_of(explanation, name, "high");
}

static double middle(const json_t *explanation, const char *name)
{
    return (low(explanation, name) + high(explanation, name)) / 2;
}

static double figure(const json_t *explanation, const char *name)
{
    const json_t *value = json_object_get(json_object_get(explanation, "evidence"), name);
    if (!json_is_number(value)) {
        fail_msg("no %s in the evidence", name);
    }
    return json_number_value(value);
}

static void must_equal(const char *what, double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-9 * fmax(1, fabs(wanted)))) {
        fail_msg("%s is %.17g, redone it is %.17g", what, got, wanted);
    }
}

/* --- its form ---------------------------------------------------------------------------------- */

static struct evidence some_evidence(void)
{
    return (struct evidence){.inferences = 40,
                             .wall_ms = 400,
                             .user_ms = 60,
                             .system_ms = 20,
                             .runqueue_low_ms = 10,
                             .runqueue_high_ms = 10,
                             .runqueue_said = 40,
                             .minor_faults = 1000,
                             .voluntary_switches = 80,
                             .disk_bytes = 1e6,
                             .threads = 1,
                             .looks = {8, 2, 30},
                             .span_ms = 5000};
}

static void test_json_explain_says_null_without_an_opinion(void **state)
{
    (void)state;
    struct evidence evidence = some_evidence();
    open_judged(&evidence);
    must_set_opinion(&core, 0, NULL);
    json_t *explanation = must_explain();
    assert_true(json_is_null(explanation));
    json_decref(explanation);
    core_close(&core);
}

static void must_have_keys(const json_t *object, const char *const keys[])
{
    const char *key;
    json_t *value;
    size_t at = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        assert_non_null(keys[at]);
        assert_string_equal(key, keys[at]);
        at++;
    }
    assert_null(keys[at]);
}

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_json_explain_has_all_parts_in_order(void **state)
{
    (void)state;
    static const char *const names[] = {"wall",
                                        "user",
                                        "system",
                                        "workers",
                                        "runqueue",
                                        "throttled",
                                        "blocked",
                                        "futex",
                                        "fault",
                                        "system_io",
                                        "touch",
                                        "touch_deviation",
                                        "hinted",
                                        "memory",
                                        "starved",
                                        "total",
                                        "share_compute",
                                        "share_memory",
                                        "share_io",
                                        "share_lock",
                                        "lead_compute",
                                        "lead_memory",
                                        "lead_io",
                                        "smoothed_compute",
                                        "smoothed_memory",
                                        "smoothed_io",
                                        "smoothed_lock",
                                        "round",
                                        "label",
                                        "confidence"};
    struct evidence evidence = some_evidence();
    open_judged(&evidence);
    json_t *explanation = must_explain();
    must_have_keys(explanation, KEYS("rounds", "round_bottleneck", "round_rule", "sources",
                                     "evidence", "machine", "steps"));
    must_have_keys(json_object_get(explanation, "sources"),
                   KEYS("inferences", "runqueue", "process_cpu", "bytes_hints", "flops_hints",
                        "looks", "touch_probes", "process_ms", "throttled_ms"));
    must_have_keys(json_object_get(explanation, "machine"),
                   KEYS("cache_bytes", "page_fault_us", "bandwidth_bytes", "touch_bytes", "cpus"));
    size_t i;
    json_t *at;
    json_t *steps = json_object_get(explanation, "steps");
    assert_int_equal(json_array_size(steps), sizeof names / sizeof names[0]);
    json_array_foreach(steps, i, at)
    {
        bool is_range = json_object_get(at, "value") == NULL;
        assert_string_equal(json_string_value(json_object_get(at, "name")), names[i]);
        assert_true(json_is_string(json_object_get(at, "unit")));
        assert_true(json_string_length(json_object_get(at, "how")) > 0);
        assert_true(!is_range ||
                    (json_object_get(at, "low") != NULL && json_object_get(at, "high") != NULL));
    }
    assert_string_equal(json_string_value(json_object_get(step_of(explanation, "label"), "value")),
                        "io_bound");
    json_decref(explanation);
    core_close(&core);
}

/* All members of struct evidence are figures of eight bytes, and each of them has its own value. */
static void test_json_explain_shows_every_figure_of_the_evidence(void **state)
{
    (void)state;
    enum { FIGURES = sizeof(struct evidence) / sizeof(double) };
    struct evidence evidence = some_evidence();
    struct opinion opinion = opinion_of(BOTTLENECK_IO, RULE_EVIDENCE);
    bool seen[FIGURES] = {false};
    union {
        double figure;
        uint64_t count;
    } cells[FIGURES];
    open_judged(&evidence);
    const struct evidence counts = {
        .inferences = 1, .runqueue_said = 1, .process_said = 1, .bytes_said = 1, .flops_said = 1};
    memcpy(cells, &counts, sizeof cells);
    for (unsigned i = 0; i < FIGURES; i++) {
        if (cells[i].count == 1) {
            cells[i].count = i;
        } else {
            cells[i].figure = i;
        }
    }
    memcpy(&opinion.evidence, cells, sizeof cells);
    must_set_opinion(&core, 0, &opinion);
    json_t *explanation = must_explain();
    json_t *shown = json_object_get(explanation, "evidence");
    const char *key;
    json_t *value;
    json_object_foreach(shown, key, value)
    {
        const char *look;
        json_t *count;
        if (json_is_number(value)) {
            seen[(unsigned)json_number_value(value)] = true;
        }
        json_object_foreach(value, look, count)
        {
            seen[(unsigned)json_number_value(count)] = true;
        }
    }
    for (unsigned i = 0; i < FIGURES; i++) {
        if (!seen[i]) {
            fail_msg("figure %u is not shown", i);
        }
    }
    json_decref(explanation);
    core_close(&core);
}

/* --- its arithmetic ---------------------------------------------------------------------------- */

static double clip(double value)
{
    return fmin(fmax(value, 0), 1);
}

static void redo_work(const json_t *x)
{
    double thread = figure(x, "user_ms") + figure(x, "system_ms");
    must_equal("wall", step(x, "wall"), figure(x, "wall_ms"));
    if (!json_is_true(json_object_get(step_of(x, "workers"), "value"))) {
        must_equal("user", step(x, "user"), figure(x, "user_ms"));
        must_equal("system", step(x, "system"), figure(x, "system_ms"));
        return;
    }
    double others = (figure(x, "process_cpu_ms") - figure(x, "process_thread_ms") -
                     figure(x, "process_beside_ms")) *
                    figure(x, "wall_ms") / figure(x, "process_wall_ms");
    double seen = figure(x, "seen_user_ms") + figure(x, "seen_system_ms");
    double part = seen > 0 ? figure(x, "seen_user_ms") / seen : figure(x, "user_ms") / thread;
    must_equal("others", step(x, "others"), others);
    must_equal("user", step(x, "user"), (thread + others) * part);
    must_equal("system", step(x, "system"), (thread + others) * (1 - part));
    double covered = fmin(1, figure(x, "seen_ms") / figure(x, "span_ms"));
    double own_ready = middle(x, "runqueue") - step(x, "throttled");
    double ready = fmax(0, figure(x, "seen_runqueue_ms") - covered * own_ready);
    double burned = fmax(seen - covered * thread, covered * others);
    must_equal("others_ready", step(x, "others_ready"), burned > 0 ? others * ready / burned : 0);
    double wall = step(x, "wall");
    double asked = thread + middle(x, "runqueue") + others + step(x, "others_ready");
    bool ran = thread + others > 1.25 * (wall - middle(x, "runqueue")) - 1e-9 &&
               others > 0.25 * wall - 1e-9;
    assert_true(ran || (asked > 1.5 * wall - 1e-9 && others > 0.1 * wall - 1e-9));
}

static void redo_waits(const json_t *x)
{
    const json_t *looks = json_object_get(json_object_get(x, "evidence"), "looks");
    double runs = json_number_value(json_object_get(looks, "runs"));
    double in_futex = json_number_value(json_object_get(looks, "futex"));
    double waits = in_futex + json_number_value(json_object_get(looks, "waits"));
    double idle = step(x, "wall") - figure(x, "user_ms") - figure(x, "system_ms");
    bool said = figure(x, "runqueue_said") == figure(x, "inferences");
    double throttled = step(x, "throttled");
    assert_true(low(x, "runqueue") >= fmin(idle, figure(x, "runqueue_low_ms")) - 1e-9);
    assert_true(high(x, "runqueue") <=
                fmin(idle, figure(x, "runqueue_high_ms")) + throttled + 1e-9);
    if (said) {
        must_equal("runqueue", low(x, "runqueue"),
                   fmin(idle, figure(x, "runqueue_low_ms")) + throttled);
    }
    if (throttled > 0) {
        must_equal("throttled", throttled,
                   idle - fmin(idle, figure(x, "runqueue_high_ms")) -
                       step(x, "wall") * waits / (runs + waits));
    }
    bool workers = json_is_true(json_object_get(step_of(x, "workers"), "value"));
    if (!workers) {
        must_equal("blocked", low(x, "blocked"), fmax(0, idle - high(x, "runqueue")));
        must_equal("blocked", high(x, "blocked"), fmax(0, idle - low(x, "runqueue")));
    }
    if (!workers && waits > 0) {
        assert_true(low(x, "futex") <= in_futex / waits + 1e-9);
        assert_true(high(x, "futex") >= in_futex / waits - 1e-9);
    } else {
        assert_true(low(x, "futex") == 0);
        assert_true(high(x, "futex") == (workers || figure(x, "disk_bytes") > 0 ? 0 : 1));
    }
}

static void redo_system(const json_t *x)
{
    double seen = figure(x, "seen_user_ms") + figure(x, "seen_system_ms");
    double part = seen > 0 ? fmin(1, (step(x, "user") + step(x, "system")) / seen) : 0;
    double faults = figure(x, "minor_faults") + figure(x, "major_faults");
    double not_futex = 1 - middle(x, "futex");
    if (json_is_true(json_object_get(step_of(x, "workers"), "value"))) {
        faults = fmax(faults, figure(x, "seen_faults") * part);
        double idle = figure(x, "wall_ms") - figure(x, "user_ms") - figure(x, "system_ms") -
                      middle(x, "runqueue");
        not_futex = idle > 0 ? middle(x, "blocked") / idle : 0;
    }
    double fault_us =
        json_number_value(json_object_get(json_object_get(x, "machine"), "page_fault_us"));
    double fault = fmin(step(x, "system"), faults * fault_us / 1000);
    double system = step(x, "system");
    double calls =
        fmin(system - fault,
             (figure(x, "disk_bytes") * 0.6 + figure(x, "seen_io_bytes") * 0.12 * part) / 1e6 +
                 figure(x, "voluntary_switches") * 0.03 * not_futex);
    bool all_pages = system - calls < faults * 0.025 && calls < fault;
    bool all_disk =
        !all_pages && system - fault < figure(x, "disk_bytes") * 2.4e-6 && fault < calls;
    must_equal("system_io", step(x, "system_io"), all_disk ? system - fault : calls);
    must_equal("fault", step(x, "fault"), all_pages ? system - calls : fault);
}

static void redo_memory(const json_t *x)
{
    const json_t *known = json_object_get(x, "machine");
    double cache = json_number_value(json_object_get(known, "cache_bytes"));
    double resident = figure(x, "resident_bytes");
    double probes = figure(x, "touch_probes");
    double from = 0;
    double to = 1;
    if (resident > 0 && resident < cache / 4) {
        to = 0;
    } else if (probes >= 4) {
        double touch = figure(x, "touch_sum") / probes;
        double variance = fmax(0, figure(x, "touch_squares") / probes - touch * touch);
        double deviation = fmax(0.03, sqrt(variance)) / sqrt(probes);
        must_equal("touch", step(x, "touch"), touch);
        must_equal("touch_deviation", step(x, "touch_deviation"), deviation);
        bool huge = figure(x, "huge_bytes") > resident / 2;
        double of_touch = json_number_value(json_object_get(known, "touch_bytes"));
        double of_memory = json_number_value(json_object_get(known, "bandwidth_bytes"));
        if (huge) {
            must_equal("streamed", step(x, "streamed"),
                       of_memory > 0 ? touch * of_touch / of_memory : 0);
        }
        double noise = touch > 0 ? 1.5 * deviation / touch : 0;
        bool streams = huge && step(x, "streamed") * (1 - noise) >= 0.6 &&
                       step(x, "streamed") * (1 + noise) <= 1.6 &&
                       touch * of_touch * 5e-3 <= 0.6 * resident;
        from = huge && !streams ? 0 : clip((touch - 1.5 * deviation - 0.25) / 0.6);
        to = clip((touch + 1.5 * deviation - 0.25) / 0.6);
    }
    double hinted = 0;
    if (step_of(x, "moved") != NULL) {
        double bandwidth = json_number_value(json_object_get(known, "bandwidth_bytes"));
        double moved = figure(x, "bytes_moved") / (bandwidth * step(x, "user") / 1000 *
                                                   figure(x, "bytes_wall_ms") / step(x, "wall"));
        must_equal("moved", step(x, "moved"), moved);
        hinted = clip((moved - 0.25) / 0.6);
    }
    must_equal("hinted", step(x, "hinted"), hinted);
    from = fmax(from, hinted);
    to = fmax(to, hinted);
    must_equal("memory", low(x, "memory"), from);
    must_equal("memory", high(x, "memory"), to);
}

static void redo_shares(const json_t *x)
{
    double user = step(x, "user");
    double blocked = middle(x, "blocked");
    double futex = middle(x, "futex");
    double memory = middle(x, "memory");
    double rest = step(x, "system") - step(x, "fault") - step(x, "system_io");
    double total = user + step(x, "system") + blocked;
    double cpu = figure(x, "user_ms") + figure(x, "system_ms");
    must_equal("total", step(x, "total"), total);
    double theirs = 0;
    if (step_of(x, "others_ready") != NULL) {
        double ready = step(x, "others_ready");
        theirs = ready / (step(x, "user") + step(x, "system") + ready);
    }
    must_equal("starved", low(x, "starved"),
               fmax(theirs, low(x, "runqueue") / (cpu + low(x, "runqueue"))));
    must_equal("starved", high(x, "starved"),
               fmax(theirs, high(x, "runqueue") / (cpu + high(x, "runqueue"))));
    const struct {
        const char *name;
        double wanted;
    } rows[] = {{"share_compute", ((1 - memory) * user + rest) / total},
                {"share_memory", (memory * user + step(x, "fault")) / total},
                {"share_io", ((1 - futex) * blocked + step(x, "system_io")) / total},
                {"share_lock", futex * blocked / total}};
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        must_equal(rows[i].name, step(x, rows[i].name), rows[i].wanted);
        assert_true(low(x, rows[i].name) <= rows[i].wanted + 1e-9);
        assert_true(high(x, rows[i].name) >= rows[i].wanted - 1e-9);
    }
}

/* Every name with an underscore that a step's `how` uses is one that the reader has met. */
static void must_use_known_names(const json_t *explanation)
{
    const json_t *evidence = json_object_get(explanation, "evidence");
    const json_t *known = json_object_get(explanation, "machine");
    size_t i;
    json_t *at;
    json_array_foreach(json_object_get(explanation, "steps"), i, at)
    {
        const char *how = json_string_value(json_object_get(at, "how"));
        while (*how != '\0') {
            char word[64];
            size_t len = strspn(how, "abcdefghijklmnopqrstuvwxyz_0123456789");
            (void)snprintf(word, sizeof word, "%.*s", (int)len, how);
            if (strchr(word, '_') != NULL && isalpha((unsigned char)word[0]) &&
                json_object_get(evidence, word) == NULL && json_object_get(known, word) == NULL &&
                step_of(explanation, word) == NULL) {
                fail_msg("%s: nobody has said what %s is",
                         json_string_value(json_object_get(at, "name")), word);
            }
            how += len == 0 ? 1 : len;
        }
    }
}

/* Any mixture of sources. */
static struct evidence random_evidence(struct random *random)
{
    struct evidence evidence = {.inferences = 20 + random_below(random, 100)};
    double wall = evidence.wall_ms = 10 * (double)evidence.inferences;
    uint64_t bits = random_next(random);
    evidence.user_ms = wall * random_unit(random) * 0.8;
    evidence.system_ms = (wall - evidence.user_ms) * random_unit(random);
    double idle = wall - evidence.user_ms - evidence.system_ms;
    evidence.runqueue_low_ms = (bits & 1) != 0 ? idle * random_unit(random) : 0;
    evidence.runqueue_high_ms = (bits & 1) != 0 ? evidence.runqueue_low_ms : idle;
    evidence.runqueue_said = (bits & 1) != 0 ? evidence.inferences : 0;
    evidence.minor_faults = (double)random_below(random, 50000);
    evidence.voluntary_switches = (double)random_below(random, 1000);
    evidence.disk_bytes = (bits & 2) != 0 ? (double)random_below(random, 1 << 30) : 0;
    if ((bits & 4) != 0) {
        evidence.process_said = evidence.inferences;
        evidence.process_wall_ms = wall / 2;
        evidence.process_thread_ms = (evidence.user_ms + evidence.system_ms) / 2;
        evidence.process_cpu_ms = evidence.process_thread_ms + wall * random_unit(random) * 2;
        evidence.process_beside_ms = wall * random_unit(random) * 0.1;
    }
    for (unsigned i = 0; i < LOOK_COUNT && (bits & 8) != 0; i++) {
        evidence.looks[i] = (double)random_below(random, (bits & 256) != 0 ? 40 : 8);
    }
    if ((bits & 512) != 0) { /* ready whenever it is looked at: kept from running, by whom? */
        evidence.looks[LOOK_RUNS] += 30;
    }
    evidence.touch_probes = (double)random_below(random, 10);
    for (unsigned i = 0; i < evidence.touch_probes; i++) {
        double touch = random_unit(random) * 1.5;
        evidence.touch_sum += touch;
        evidence.touch_squares += touch * touch;
    }
    evidence.resident_bytes = (bits & 16) != 0 ? (double)random_below(random, 64 << 20) : 0;
    evidence.huge_bytes = (bits & 32) != 0 ? evidence.resident_bytes * random_unit(random) : 0;
    if ((bits & 64) != 0) {
        evidence.bytes_said = evidence.inferences / 2;
        evidence.bytes_wall_ms = wall / 2;
        evidence.bytes_moved = 1e9 * random_unit(random);
    }
    if ((bits & 128) != 0) {
        evidence.seen_ms = 2500 + 5000 * random_unit(random); /* a part, or several processes */
        evidence.seen_user_ms = 4000 * random_unit(random);
        evidence.seen_system_ms = 4000 * random_unit(random);
        evidence.seen_faults = (double)random_below(random, 100000);
        evidence.seen_io_bytes = (double)random_below(random, 1 << 30);
        evidence.seen_runqueue_ms = (bits & 1024) != 0 ? 8000 * random_unit(random) : 0;
    }
    evidence.span_ms = 5000;
    return evidence;
}

static void test_json_explain_can_be_redone(void **state)
{
    (void)state;
    struct random random = random_start("explanations");
    unsigned with_workers = 0;
    unsigned throttled = 0;
    unsigned ready = 0;
    for (unsigned i = 0; i < 500; i++) {
        struct evidence evidence = random_evidence(&random);
        machine = (struct machine){.cache_bytes = i % 2 == 0 ? 32 << 20 : 0,
                                   .page_fault_us = 1 + random_unit(&random),
                                   .bandwidth_bytes = i % 3 == 0 ? 0 : 1e10,
                                   .touch_bytes = i % 5 == 0 ? 0 : 4e9,
                                   .cpus = 2};
        open_judged(&evidence);
        json_t *explanation = must_explain();
        redo_work(explanation);
        redo_waits(explanation);
        redo_system(explanation);
        redo_memory(explanation);
        redo_shares(explanation);
        must_use_known_names(explanation);
        with_workers += step_of(explanation, "others") != NULL;
        throttled += step(explanation, "throttled") > 0;
        ready +=
            step_of(explanation, "others_ready") != NULL && step(explanation, "others_ready") > 0;
        json_decref(explanation);
        core_close(&core);
    }
    assert_true(with_workers > 20 && throttled > 20 && ready > 20); /* all ways were met */
    machine = machine_unknown;
}

/* Nothing to divide by: figures that are not known are null, and all is well-formed. */
static void test_json_explain_of_nothing(void **state)
{
    (void)state;
    struct evidence evidence = {.inferences = 0};
    open_judged(&evidence);
    json_t *explanation = must_explain();
    assert_true(isnan(step(explanation, "share_compute")));
    assert_true(isnan(step(explanation, "touch")));
    assert_true(isnan(step(explanation, "confidence")));
    assert_string_equal(json_string_value(json_object_get(explanation, "round_rule")),
                        "insufficient");
    json_decref(explanation);
    core_close(&core);
}

static void test_json_explain_without_room(void **state)
{
    (void)state;
    struct evidence evidence = some_evidence();
    open_judged(&evidence);
    struct buf whole;
    render(&whole);
    size_t len = whole.len;
    buf_fini(&whole);
    struct snapshot *snapshot = must_take(&core);
    for (unsigned part = 0; part <= 51; part++) { /* the last two are one too few, and all */
        size_t room = part > 49 ? len - 51 + part : 1 + part * len / 50;
        struct buf out;
        buf_init(&out, room);
        (void)json_render_model(snapshot, PROFILE_WINDOW,
                                &(struct json_model_query){.name = STR_LITERAL("m")}, core.scratch,
                                &out);
        assert_true((out.err != 0) == (room < len));
        buf_fini(&out);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

static int forget_machine(void **state)
{
    machine = machine_unknown;
    return core_tables(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_explain_says_null_without_an_opinion),
        cmocka_unit_test(test_json_explain_has_all_parts_in_order),
        cmocka_unit_test(test_json_explain_shows_every_figure_of_the_evidence),
        cmocka_unit_test(test_json_explain_can_be_redone),
        cmocka_unit_test(test_json_explain_of_nothing),
        cmocka_unit_test(test_json_explain_without_room),
    };
    return cmocka_run_group_tests_name("json_explain", tests, forget_machine, NULL);
}
