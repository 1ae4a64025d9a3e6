#include "core_helpers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/num.h"
#include "mem_fault.h"
#include "render/exposition.h"
#include "render/form.h"

enum {
    TEXT_BYTES_MAX = 64 << 20,
    LINES_MAX = 20000,
    TEXT_FORMATS = 2, /* the first ones; test_form_message is about the other */
};

static const struct exposition_process process = {
    .resident_bytes = 5 << 20, .scrapes = 3, .http_errors = 1};

static const struct label resource[] = {
    {{"service_name", 12}, {"acgs2-agent-bus", 15}},
    {{"k8s.pod", 7}, {"a \"b\"", 5}},
};

static struct exposition_options some_options(void)
{
    return (struct exposition_options){
        .name_space = STR_LITERAL("acgs2"),
        .resource = resource,
        .resource_count = sizeof resource / sizeof resource[0],
        .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2"),
        .dwelld_version = STR_LITERAL("0.1.0"),
        .label_keys = {STR_LITERAL("region"), STR_LITERAL("k8s.pod")},
        .label_key_count = 2,
    };
}

static struct registry_options some_registry(void)
{
    struct registry_options options = core_options();
    options.label_keys[0] = STR_LITERAL("region");
    options.label_keys[1] = STR_LITERAL("k8s.pod");
    options.label_key_count = 2;
    return options;
}

static struct exposition *must_make(const struct exposition_options *options)
{
    struct exposition *exposition = exposition_new(options);
    assert_non_null(exposition);
    return exposition;
}

/* The answer as a terminated text that the caller frees (mem_free by buf_fini). */
static void must_render(struct exposition *exposition, const struct snapshot *snapshot,
                        enum exposition_format format, struct buf *out)
{
    buf_init(out, TEXT_BYTES_MAX);
    assert_int_equal(exposition_render(exposition, snapshot, format, &process, out), 0);
    assert_int_equal(out->err, 0);
    buf_char(out, '\0');
}

/* As above from an exposition that remembers nothing. */
static void must_render_anew(const struct snapshot *snapshot, enum exposition_format format,
                             struct buf *out)
{
    struct exposition_options options = some_options();
    struct exposition *exposition = must_make(&options);
    must_render(exposition, snapshot, format, out);
    exposition_free(exposition);
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

static void must_hold(const struct buf *text, const char *line)
{
    char wanted[1024];
    (void)snprintf(wanted, sizeof wanted, "\n%s\n", line);
    if (strstr(text->data, wanted) == NULL) {
        fail_msg("no line \"%s\"", line);
    }
}

static void must_not_hold(const struct buf *text, const char *part)
{
    if (strstr(text->data, part) != NULL) {
        fail_msg("there is \"%s\"", part);
    }
}

/* --- the form of an answer --------------------------------------------------------------------- */

struct lines {
    char *text; /* owned; line ends are zero bytes */
    const char *line[LINES_MAX];
    size_t count;
};

static struct lines *split(const struct buf *text)
{
    struct lines *lines = calloc(1, sizeof *lines);
    assert_non_null(lines);
    lines->text = malloc(text->len);
    assert_non_null(lines->text);
    memcpy(lines->text, text->data, text->len);
    for (char *at = lines->text; *at != '\0';) {
        char *end = strchr(at, '\n');
        assert_non_null(end); /* the last line ends too */
        assert_true(lines->count < LINES_MAX);
        *end = '\0';
        lines->line[lines->count++] = at;
        at = end + 1;
    }
    return lines;
}

static void join(struct lines *lines)
{
    free(lines->text);
    free(lines);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What a line is of: a sample without its value, `# TYPE` with the name. */
static char *series_of(const char *line)
{
    const char *exemplar = strstr(line, " # {");
    size_t len = exemplar == NULL ? strlen(line) : (size_t)(exemplar - line);
    if (line[0] == '#') {
        unsigned blanks = 0;
        for (len = 0; line[len] != '\0' && blanks < 3; len++) {
            blanks += line[len] == ' ' ? 1 : 0;
        }
    }
    while (line[0] != '#' && len > 0 && line[len - 1] != ' ') {
        len--;
    }
    char *series = strndup(line, len);
    assert_non_null(series);
    return series;
}

static char **sorted_series(const struct lines *lines)
{
    char **series = calloc(lines->count + 1, sizeof *series);
    assert_non_null(series);
    for (size_t i = 0; i < lines->count; i++) {
        series[i] = series_of(lines->line[i]);
    }
    qsort(series, lines->count, sizeof *series, compare_lines);
    return series;
}

static void free_series(char **series)
{
    for (size_t i = 0; series[i] != NULL; i++) {
        free(series[i]);
    }
    free(series);
}

/* No head and no sample twice; the samples of a family follow its head. */
static void must_be_blocks(const struct lines *lines, enum exposition_format format)
{
    char **series = sorted_series(lines);
    for (size_t i = 1; i < lines->count; i++) {
        if (strcmp(series[i - 1], series[i]) == 0) {
            fail_msg("twice: %s", series[i]);
        }
    }
    free_series(series);
    char family[256] = "";
    for (size_t i = 0; i < lines->count; i++) {
        const char *line = lines->line[i];
        if (strncmp(line, "# TYPE ", 7) == 0) {
            (void)snprintf(family, sizeof family, "%.*s", (int)strcspn(line + 7, " "), line + 7);
            const char *help = format == EXPOSITION_TEXT ? lines->line[i - 1]
                               : strncmp(lines->line[i + 1], "# UNIT ", 7) == 0
                                   ? lines->line[i + 2]
                                   : lines->line[i + 1];
            assert_memory_equal(help, "# HELP ", 7);
            assert_memory_equal(help + 7, family, strlen(family));
        } else if (line[0] != '#' && strncmp(line, family, strlen(family)) != 0) {
            fail_msg("not of %s: %s", family, line);
        }
    }
}

static double value_of(const char *line)
{
    char *series = series_of(line);
    double value = strtod(line + strlen(series), NULL);
    free(series);
    return value;
}

/* Buckets never fall, the last is +Inf, and it equals the count. */
static void must_be_histograms(const struct lines *lines)
{
    double last = -1;
    for (size_t i = 0; i < lines->count; i++) {
        const char *line = lines->line[i];
        if (strstr(line, "_bucket{") != NULL) {
            assert_true(value_of(line) >= last);
            last = strstr(line, "le=\"+Inf\"") != NULL ? -1 : value_of(line);
            if (last < 0) {
                assert_non_null(strstr(lines->line[i + 1], "_sum"));
                assert_non_null(strstr(lines->line[i + 2], "_count"));
                assert_true(value_of(lines->line[i + 2]) == value_of(line));
            }
        } else {
            assert_true(last < 0);
        }
    }
}

static void must_be_well_formed(const struct buf *text, enum exposition_format format)
{
    struct lines *lines = split(text);
    must_be_blocks(lines, format);
    must_be_histograms(lines);
    if (format == EXPOSITION_OPENMETRICS) {
        assert_string_equal(lines->line[lines->count - 1], "# EOF");
    } else {
        must_not_hold(text, " # {");
        must_not_hold(text, "# EOF");
        must_not_hold(text, "# UNIT");
    }
    join(lines);
}

/* Every series of `before` is in `after`. */
static void must_keep_series(const struct buf *before, const struct buf *after)
{
    struct lines *old_lines = split(before);
    struct lines *new_lines = split(after);
    char **old_series = sorted_series(old_lines);
    char **new_series = sorted_series(new_lines);
    size_t at = 0;
    for (size_t i = 0; i < old_lines->count; i++) {
        while (at < new_lines->count && strcmp(new_series[at], old_series[i]) < 0) {
            at++;
        }
        if (at == new_lines->count || strcmp(new_series[at], old_series[i]) != 0) {
            fail_msg("gone: %s", old_series[i]);
        }
    }
    free_series(old_series);
    free_series(new_series);
    join(old_lines);
    join(new_lines);
}

/* --- what is answered -------------------------------------------------------------------------- */

static void add_full_sample(struct core *core, double ms)
{
    struct sample sample = sample_of("full", ms);
    sample.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_MEMORY_AFTER | 1u << SAMPLE_QUEUE |
                 1u << SAMPLE_BATCH_SIZE | 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM |
                 1u << SAMPLE_RUNQUEUE | 1u << SAMPLE_MINOR_FAULTS | 1u << SAMPLE_TRACE_ID |
                 1u << SAMPLE_SPAN_ID | 1u << SAMPLE_TIMESTAMP;
    sample.cpu_percent_during = 80.5;
    sample.memory_mb_after = 128;
    sample.queue_ms = 0.25;
    sample.batch_size = 1024;
    sample.user_ms = ms / 2;
    sample.system_ms = ms / 4;
    sample.runqueue_ms = ms / 8;
    sample.minor_faults = 10;
    sample.error = ms > 4;
    memset(sample.trace_id, 0xAB, sizeof sample.trace_id);
    memset(sample.span_id, 0x0F, sizeof sample.span_id);
    sample.timestamp_wall_ns = UINT64_C(1700000000012999999);
    must_record(core, &sample);
}

static void add_labelled_sample(struct core *core)
{
    struct sample sample = sample_of("a \"name\"\\\nof lines", 2);
    sample.has = 1u << SAMPLE_DEVICE;
    sample.device = STR_LITERAL("cuda:0");
    sample.label_count = 2;
    sample.labels[0] = (struct label){STR_LITERAL("k8s.pod"), STR_LITERAL("模型\"")};
    sample.labels[1] = (struct label){STR_LITERAL("not.kept"), STR_LITERAL("x")};
    must_record(core, &sample);
}

static void fill_ledger(struct core *core)
{
    struct mark mark = {.has_sequence = true, .sequence = 10, .has_dropped = true, .dropped = 3};
    uint8_t id[RECORD_CLIENT_ID_BYTES] = {1};
    uint8_t library = ledger_library(&core->ledger, STR_LITERAL("libdwell/\"1\""));
    int place = ledger_client(&core->ledger, id, library,
                              &(struct mark){.has_sequence = true, .sequence = 0});
    ledger_count(&core->ledger, place, 5);
    ledger_reject(&core->ledger, place, ERR_RANGE);
    assert_true(ledger_advance(&core->ledger, place, &mark));
}

static void trace(struct metric *metric)
{
    metric->has = METRIC_HAS_TRACE_ID | METRIC_HAS_SPAN_ID | METRIC_HAS_TIMESTAMP;
    memset(metric->trace_id, 0xAB, sizeof metric->trace_id);
    memset(metric->span_id, 0x0F, sizeof metric->span_id);
    metric->timestamp_wall_ns = UINT64_C(1700000000012999999);
}

/* Each type of a client's family, with all that its lines may have. */
static void fill_metrics(struct core *core)
{
    struct metric violations = metric_of(METRIC_COUNT, "constitutional_violations", 2,
                                         "service=billing \"eu\",violation_type=hash_mismatch");
    struct metric jobs = metric_of(METRIC_COUNT, "jobs.done", 1.5, "queue=a\\b");
    struct metric depth = metric_of(METRIC_SET, "depth", -3, "");
    struct metric took = metric_of(METRIC_OBSERVE, "took", 4, "zone=模型");
    struct metric build = metric_of(METRIC_INFO, "build_info", 0, "commit=abc,2nd=x");
    trace(&jobs);
    trace(&took);
    took.unit = STR_LITERAL("ms");
    must_count(core, &violations, NULL);
    must_count(core, &jobs, NULL);
    must_count(core, &depth, NULL);
    must_count(core, &took, NULL);
    must_count(core, &build, NULL);
}

/* One of everything. */
static void fill(struct core *core)
{
    add_full_sample(core, 0.1);
    add_full_sample(core, 4.0);
    add_full_sample(core, 4.5);
    add_labelled_sample(core);
    struct sample plain = sample_of("plain", 0);
    must_record(core, &plain);
    fill_ledger(core);
    core->intake.accepted = 5;
    core->intake.rejected[ERR_ROW_RANGE] = 1;
    fill_metrics(core);
    timing_add(&core->counters.loop_lag, 400000);
    timing_add(&core->counters.loop_lag, 300000000);
}

/* The part of the answer whose families are not a matter of tables elsewhere. */
static void must_match_file(const struct buf *text, const char *path)
{
    struct buf wanted;
    buf_init(&wanted, TEXT_BYTES_MAX);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("%s cannot be read", path);
        return;
    }
    char *room = buf_reserve(&wanted, 1 << 20);
    assert_non_null(room);
    wanted.len = fread(room, 1, 1 << 20, file);
    (void)fclose(file); /* it was read only */
    const char *end = strstr(text->data, "dwelld_records");
    assert_non_null(end);
    struct buf part = *text;
    part.len = (size_t)(end - text->data) - (sizeof "# HELP " - 1);
    must_be_same(&part, &wanted);
    buf_fini(&wanted);
}

static void test_exposition_looks_as_in_the_files(void **state)
{
    (void)state;
    static const char *const paths[] = {TEST_DATA "/render/models.txt",
                                        TEST_DATA "/render/models.openmetrics"};
    struct core core;
    struct registry_options options = some_registry();
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    for (unsigned format = 0; format < TEXT_FORMATS; format++) {
        struct buf text;
        must_render_anew(snapshot, (enum exposition_format)format, &text);
        must_be_well_formed(&text, (enum exposition_format)format);
        must_match_file(&text, paths[format]);
        buf_fini(&text);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_tells_of_the_daemon(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct buf text;
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    must_render_anew(snapshot, EXPOSITION_TEXT, &text);
    must_hold(&text, "dwelld_records_total{outcome=\"accepted\",reason=\"\"} 5");
    must_hold(&text, "dwelld_records_total{outcome=\"rejected\",reason=\"out_of_range\"} 1");
    must_hold(&text, "dwelld_records_total{outcome=\"rejected\",reason=\"too_deep\"} 0");
    must_hold(&text, "dwelld_client_sent_total{client=\"libdwell/\\\"1\\\"\"} 10");
    must_hold(&text, "dwelld_client_accepted_total{client=\"libdwell/\\\"1\\\"\"} 5");
    must_hold(&text, "dwelld_client_rejected_total{client=\"libdwell/\\\"1\\\"\"} 1");
    must_hold(&text, "dwelld_client_dropped_total{client=\"libdwell/\\\"1\\\"\"} 3");
    must_hold(&text, "dwelld_client_lost_total{client=\"libdwell/\\\"1\\\"\"} 1");
    must_hold(&text, "dwelld_models 3");
    must_hold(&text, "dwelld_scrapes_total 3");
    must_hold(&text, "dwelld_http_errors_total 1");
    must_hold(&text, "dwelld_loop_lag_seconds_bucket{le=\"0.0005\"} 1");
    must_hold(&text, "dwelld_loop_lag_seconds_bucket{le=\"0.1\"} 1");
    must_hold(&text, "dwelld_loop_lag_seconds_bucket{le=\"+Inf\"} 2");
    must_hold(&text, "dwelld_loop_lag_seconds_sum 0.3004");
    must_hold(&text, "dwelld_loop_lag_max_seconds 0.3");
    must_hold(&text, "dwelld_resident_memory_bytes 5242880");
    must_hold(&text, "dwelld_build_info{version=\"0.1.0\"} 1");
    buf_fini(&text);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_shows_all_heads_without_models(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    core_open(&core, &options);
    struct snapshot *snapshot = must_take(&core);
    for (unsigned format = 0; format < TEXT_FORMATS; format++) {
        struct buf text;
        must_render_anew(snapshot, (enum exposition_format)format, &text);
        must_be_well_formed(&text, (enum exposition_format)format);
        must_hold(&text, "# TYPE acgs2_model_cpu_percent gauge");
        must_not_hold(&text, "model_name=");
        buf_fini(&text);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_puts_the_hash_on_every_series_when_asked(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    struct buf text;
    wanted.hash_label = true;
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(&wanted);
    must_render(exposition, snapshot, EXPOSITION_TEXT, &text);
    must_be_well_formed(&text, EXPOSITION_TEXT);
    struct lines *lines = split(&text);
    for (size_t i = 0; i < lines->count; i++) {
        const char *label = strstr(lines->line[i], "constitutional_hash=\"cdd01ef066bc6cf2\"");
        if (lines->line[i][0] != '#') {
            assert_non_null(label);
            assert_null(strstr(label + 1, "constitutional_hash=\""));
        }
    }
    join(lines);
    must_hold(&text, "acgs2_model_inference_latency_seconds_bucket{model_name=\"plain\","
                     "constitutional_hash=\"cdd01ef066bc6cf2\",le=\"1.0\"} 1");
    must_hold(&text, "dwelld_connections{constitutional_hash=\"cdd01ef066bc6cf2\"} 0");
    buf_fini(&text);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_has_no_prefix_without_a_namespace(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    struct buf text;
    wanted.name_space = STR_LITERAL("");
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(&wanted);
    must_render(exposition, snapshot, EXPOSITION_OPENMETRICS, &text);
    must_be_well_formed(&text, EXPOSITION_OPENMETRICS);
    must_hold(&text, "model_inference_total{model_name=\"full\"} 3");
    must_hold(&text, "# TYPE target info");
    buf_fini(&text);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_marks_the_overflow_model(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct buf text;
    options.max_models = 1;
    core_open(&core, &options);
    struct sample first = sample_of("first", 1);
    struct sample late = sample_of("late", 1);
    must_record(&core, &first);
    must_record(&core, &late);
    must_record(&core, &late);
    struct snapshot *snapshot = must_take(&core);
    must_render_anew(snapshot, EXPOSITION_TEXT, &text);
    must_be_well_formed(&text, EXPOSITION_TEXT);
    must_hold(&text, "acgs2_model_inference_total{model_name=\"first\"} 1");
    must_hold(&text,
              "acgs2_model_inference_total{model_name=\"(overflow)\",dwell_overflow=\"true\"} 2");
    buf_fini(&text);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_series_stay_when_the_window_empties_and_after_a_reset(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    struct buf before;
    struct buf after;
    core_open(&core, &options);
    fill(&core);
    struct exposition *exposition = must_make(&wanted);
    struct snapshot *snapshot = must_take(&core);
    must_render(exposition, snapshot, EXPOSITION_TEXT, &before);
    core_drop(&core, snapshot);

    core_move(&core, 6 * CORE_SLOT_S);
    snapshot = must_take(&core);
    must_render(exposition, snapshot, EXPOSITION_TEXT, &after);
    must_keep_series(&before, &after);
    must_hold(&after, "acgs2_model_latency_quantile_seconds{model_name=\"full\",q=\"0.5\"} NaN");
    must_hold(&after, "acgs2_model_memory_bytes{model_name=\"full\",stat=\"peak\"} NaN");
    must_hold(&after, "acgs2_model_bottleneck{model_name=\"full\",bottleneck=\"compute_bound\"} 1");
    buf_fini(&after);
    core_drop(&core, snapshot);

    must_reset(&core, NULL, 3);
    snapshot = must_take(&core);
    must_render(exposition, snapshot, EXPOSITION_TEXT, &after);
    must_keep_series(&before, &after);
    must_hold(&after, "acgs2_model_inference_total{model_name=\"full\"} 3");
    must_hold(&after, "acgs2_model_latency_quantile_seconds{model_name=\"full\",q=\"0.5\"} NaN");
    must_hold(&after, "acgs2_model_bottleneck{model_name=\"full\",bottleneck=\"unknown\"} 1");
    must_hold(&after, "acgs2_model_gpu_decision{model_name=\"full\",decision=\"insufficient\"} 1");
    buf_fini(&after);
    core_drop(&core, snapshot);
    buf_fini(&before);
    exposition_free(exposition);
    core_close(&core);
}

static void test_exposition_shows_what_evidence_says(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct buf text;
    core_open(&core, &options);
    for (unsigned i = 0; i < PROFILE_EVIDENCE_MIN; i++) {
        struct sample sample = sample_of("m", 1);
        sample.has = 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM;
        must_record(&core, &sample);
    }
    struct opinion opinion = opinion_of(BOTTLENECK_MEMORY, RULE_EVIDENCE);
    must_set_opinion(&core, 0, &opinion);
    struct snapshot *snapshot = must_take(&core);
    must_render_anew(snapshot, EXPOSITION_TEXT, &text);
    must_hold(&text, "acgs2_model_bottleneck{model_name=\"m\",bottleneck=\"memory_bound\"} 1");
    must_hold(&text, "acgs2_model_bottleneck{model_name=\"m\",bottleneck=\"io_bound\"} 0");
    must_hold(&text, "acgs2_model_bottleneck_confidence_ratio{model_name=\"m\"} 0.875");
    must_hold(&text, "acgs2_model_share_ratio{model_name=\"m\",share=\"compute\"} 0.5");
    must_hold(&text, "acgs2_model_share_ratio{model_name=\"m\",share=\"memory\"} 0.25");
    must_hold(&text, "acgs2_model_share_ratio{model_name=\"m\",share=\"io\"} 0.1875");
    must_hold(&text, "acgs2_model_share_ratio{model_name=\"m\",share=\"lock\"} 0.0625");
    buf_fini(&text);
    core_drop(&core, snapshot);
    /* The series stay without an opinion, and after a reset. */
    must_reset(&core, NULL, 1);
    snapshot = must_take(&core);
    must_render_anew(snapshot, EXPOSITION_TEXT, &text);
    must_hold(&text, "acgs2_model_bottleneck{model_name=\"m\",bottleneck=\"unknown\"} 1");
    must_hold(&text, "acgs2_model_bottleneck_confidence_ratio{model_name=\"m\"} NaN");
    must_hold(&text, "acgs2_model_share_ratio{model_name=\"m\",share=\"compute\"} NaN");
    buf_fini(&text);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_gives_no_decision_for_a_model_on_a_gpu(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct buf text;
    core_open(&core, &options);
    struct sample sample = sample_of("m", 1);
    sample.has = 1u << SAMPLE_DEVICE;
    sample.device = STR_LITERAL("cuda:1");
    must_record(&core, &sample);
    for (unsigned round = 0; round < 2; round++) {
        struct snapshot *snapshot = must_take(&core);
        must_render_anew(snapshot, EXPOSITION_TEXT, &text);
        must_hold(&text, "acgs2_model_gpu_decision{model_name=\"m\",device=\"cuda:1\","
                         "decision=\"yes\"} 0");
        must_hold(&text, "acgs2_model_gpu_decision{model_name=\"m\",device=\"cuda:1\","
                         "decision=\"no\"} 0");
        must_hold(&text, "acgs2_model_gpu_decision{model_name=\"m\",device=\"cuda:1\","
                         "decision=\"insufficient\"} 0");
        buf_fini(&text);
        core_drop(&core, snapshot);
        must_reset(&core, NULL, round == 0 ? 1 : 0);
    }
    core_close(&core);
}

/* --- exemplars --------------------------------------------------------------------------------- */

/* The exemplar of a latency as it is shown lies in the bucket that it is shown on. */
static void must_lie_in_its_bucket(double ms)
{
    struct core core;
    struct registry_options options = some_registry();
    struct buf text;
    core_open(&core, &options);
    struct sample sample = sample_of("m", ms);
    sample.has = 1u << SAMPLE_TRACE_ID;
    must_record(&core, &sample);
    struct snapshot *snapshot = must_take(&core);
    must_render_anew(snapshot, EXPOSITION_OPENMETRICS, &text);
    struct lines *lines = split(&text);
    double below = -1;
    unsigned shown = 0;
    for (size_t i = 0; i < lines->count; i++) {
        const char *bound = strstr(lines->line[i], "model_name=\"m\",le=\"");
        if (bound == NULL) {
            continue;
        }
        double upper = strtod(bound + strlen("model_name=\"m\",le=\""), NULL);
        const char *exemplar = strstr(lines->line[i], " # {trace_id=\"");
        if (exemplar != NULL) {
            double value = strtod(strchr(exemplar, '}') + 1, NULL);
            shown++;
            if (!(value > below && value <= upper)) {
                fail_msg("%.17g ms is shown as %.17g", ms, value);
            }
            must_be_near(value, ms / 1e3, 1e-15);
        }
        below = upper;
    }
    assert_int_equal(shown, 1);
    join(lines);
    buf_fini(&text);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void test_exposition_exemplars_lie_in_their_buckets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < bounds_ms.count; i++) {
        must_lie_in_its_bucket(nextafter(bounds_ms.bound[i], 0));
        must_lie_in_its_bucket(bounds_ms.bound[i]);
        must_lie_in_its_bucket(nextafter(bounds_ms.bound[i], INFINITY));
    }
    must_lie_in_its_bucket(0);
    must_lie_in_its_bucket(RECORD_MS_MAX);
}

static void must_spell(double bound, const char *wanted)
{
    char text[FORM_BOUND_MAX];
    assert_int_equal(form_write_bound(bound, text), strlen(wanted));
    assert_memory_equal(text, wanted, strlen(wanted));
}

static void test_exposition_spells_bounds_canonically(void **state)
{
    (void)state;
    must_spell(0.0001, "le=\"0.0001\"");
    must_spell(0.005, "le=\"0.005\"");
    must_spell(1, "le=\"1.0\"");
    must_spell(1024, "le=\"1024.0\"");
    must_spell(INFINITY, "le=\"+Inf\"");
    must_spell(-2.2250738585072014e-308, "le=\"-2.2250738585072014e-308\"");
}

/* --- what is remembered ------------------------------------------------------------------------ */

static void record_randomly(struct core *core, struct random *random, unsigned names)
{
    char name[32];
    (void)snprintf(name, sizeof name, "model_%u", (unsigned)random_below(random, names));
    struct sample sample =
        sample_of(name, random_shape(random, (enum shape)random_below(random, SHAPE_COUNT)));
    uint64_t bits = random_next(random);
    if ((bits & 1) != 0) {
        sample.has |= 1u << SAMPLE_CPU_DURING;
        sample.cpu_percent_during = (double)(random_below(random, 1000)) / 10;
    }
    if ((bits & 0x6) == 0) {
        sample.has |= 1u << SAMPLE_TRACE_ID;
        sample.trace_id[3] = (uint8_t)bits;
    }
    if ((bits & 0x38) == 0) {
        sample.has |= 1u << SAMPLE_QUEUE | 1u << SAMPLE_MEMORY_AFTER;
        sample.queue_ms = random_unit(random) * 100;
        sample.memory_mb_after = random_unit(random) * 4096;
    }
    if ((bits & 0x40) == 0) {
        sample.has |= 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM;
        sample.user_ms = sample.execution_time_ms / 3;
    }
    sample.error = (bits & 0xE00) == 0;
    must_record(core, &sample);
}

static void change_randomly(struct core *core, struct random *random, unsigned names)
{
    uint64_t what = random_below(random, 20);
    if (what == 0) {
        assert_true(registry_reset(core->registry, NULL) >= 0);
    } else if (what == 1) {
        struct str name = STR_LITERAL("model_1");
        assert_true(registry_reset(core->registry, &name) >= 0);
    } else if (what <= 4) {
        core_move(core, (int64_t)random_below(random, 4 * CORE_SLOT_S));
    } else if (what == 5) {
        core->thresholds.cpu_compute_threshold_percent = (double)random_below(random, 90) + 5;
    } else if (what <= 8 && core->registry->count > 0) {
        enum bottleneck bottleneck = (enum bottleneck)random_below(random, BOTTLENECK_COUNT);
        struct opinion opinion = opinion_of(bottleneck, RULE_EVIDENCE);
        must_set_opinion(core, (uint32_t)random_below(random, core->registry->count),
                         what == 6 ? NULL : &opinion);
    }
    uint64_t records = what < 16 ? random_below(random, 8) : random_below(random, 200);
    for (uint64_t i = 0; i < records; i++) {
        record_randomly(core, random, names);
    }
}

static void must_stay_right(uint64_t max_samples, unsigned rounds)
{
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    struct random random = random_start("exposition");
    options.max_samples = max_samples;
    core_open(&core, &options);
    struct exposition *exposition = must_make(&wanted);
    for (unsigned round = 0; round < rounds; round++) {
        change_randomly(&core, &random, 1 + round / 4);
        struct snapshot *snapshot = must_take(&core);
        enum exposition_format format =
            (enum exposition_format)random_below(&random, EXPOSITION_FORMAT_COUNT);
        struct buf got;
        struct buf fresh;
        must_render(exposition, snapshot, format, &got);
        must_render_anew(snapshot, format, &fresh);
        must_be_same(&got, &fresh);
        if (round % 16 == 0 && (int)format < TEXT_FORMATS) {
            must_be_well_formed(&got, format);
        }
        buf_fini(&got);
        buf_fini(&fresh);
        core_drop(&core, snapshot);
    }
    exposition_free(exposition);
    core_close(&core);
}

static void test_exposition_remembers_nothing_wrong(void **state)
{
    (void)state;
    must_stay_right(0, 300);
}

static void test_exposition_remembers_nothing_wrong_with_a_cap(void **state)
{
    (void)state;
    must_stay_right(5, 60);
    must_stay_right(100, 60);
}

static void test_exposition_renders_an_older_snapshot_after_a_younger(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    struct random random = random_start("older");
    core_open(&core, &options);
    struct exposition *exposition = must_make(&wanted);
    for (unsigned i = 0; i < 500; i++) {
        record_randomly(&core, &random, 40);
    }
    struct snapshot *older = must_take(&core);
    core_move(&core, CORE_SLOT_S);
    for (unsigned i = 0; i < 500; i++) {
        record_randomly(&core, &random, 80);
    }
    struct snapshot *younger = must_take(&core);
    assert_true(younger->model_count > older->model_count);
    for (unsigned round = 0; round < 6; round++) {
        struct buf got;
        struct buf fresh;
        must_render(exposition, younger, EXPOSITION_TEXT, &got);
        must_render_anew(younger, EXPOSITION_TEXT, &fresh);
        must_be_same(&got, &fresh);
        buf_fini(&got);
        buf_fini(&fresh);
        /* Series that are out once stay: the younger one's models are in this answer too. */
        must_render(exposition, older, EXPOSITION_TEXT, &got);
        must_render_anew(older, EXPOSITION_TEXT, &fresh);
        must_keep_series(&fresh, &got);
        must_be_well_formed(&got, EXPOSITION_TEXT);
        buf_fini(&got);
        buf_fini(&fresh);
    }
    core_drop(&core, younger);
    core_drop(&core, older);
    exposition_free(exposition);
    core_close(&core);
}

static void add_to_each(struct core *core, unsigned models, unsigned samples)
{
    for (unsigned i = 0; i < models * samples; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "model_%u", i % models);
        struct sample sample = sample_of(name, 1 + i % 7);
        must_record(core, &sample);
    }
}

/* The newest model is in the patches only, when an answer of an older snapshot makes them the page. */
static void test_exposition_renders_anew_what_an_older_snapshot_made_it_forget(void **state)
{
    (void)state;
    enum { MODELS = 300 };
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    core_open(&core, &options);
    add_to_each(&core, MODELS, 1);
    struct snapshot *older = must_take(&core);
    add_to_each(&core, MODELS, 20);
    struct snapshot *younger = must_take(&core);
    struct sample newest = sample_of("newest", 1);
    must_record(&core, &newest);
    struct snapshot *youngest = must_take(&core);
    struct snapshot *order[] = {younger, youngest, older, youngest};
    struct exposition *exposition = must_make(&wanted);
    for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct buf got;
        struct buf fresh;
        must_render(exposition, order[i], EXPOSITION_TEXT, &got);
        must_render_anew(order[i], EXPOSITION_TEXT, &fresh);
        must_be_same(&got, &fresh);
        buf_fini(&got);
        buf_fini(&fresh);
    }
    exposition_free(exposition);
    core_drop(&core, youngest);
    core_drop(&core, younger);
    core_drop(&core, older);
    core_close(&core);
}

/* --- failures ---------------------------------------------------------------------------------- */

static void test_exposition_new_frees_everything_without_memory(void **state)
{
    (void)state;
    struct exposition_options options = some_options();
    size_t live = mem_count_live();
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        struct exposition *exposition = exposition_new(&options);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        assert_true((exposition == NULL) == failed);
        exposition_free(exposition);
        assert_int_equal(mem_count_live(), live);
        if (!failed) {
            return;
        }
    }
}

/* Fails the n-th allocation of an answer for n = 1, 2, …, each time after a change, until one passes
 * without; the answer after a failure is right. */
static void must_survive_failures(struct core *core, struct exposition *exposition,
                                  enum exposition_format format, struct random *random,
                                  unsigned names)
{
    for (size_t n = 1;; n++) {
        struct buf got;
        struct buf fresh;
        for (unsigned i = 0; i < names; i++) {
            record_randomly(core, random, names);
        }
        struct snapshot *snapshot = must_take(core);
        buf_init(&got, TEXT_BYTES_MAX);
        mem_fail_after(n);
        int err = exposition_render(exposition, snapshot, format, &process, &got);
        bool failed = mem_has_failed();
        mem_fail_after(0);
        assert_int_equal(err, got.err);
        assert_true(err == 0 || (failed && err == ERR_NOMEM));
        buf_fini(&got);
        must_render(exposition, snapshot, format, &got);
        must_render_anew(snapshot, format, &fresh);
        must_be_same(&got, &fresh);
        buf_fini(&got);
        buf_fini(&fresh);
        core_drop(core, snapshot);
        if (!failed) {
            return;
        }
    }
}

static void test_exposition_is_right_again_after_want_of_memory(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct random random = random_start("memory");
    core_open(&core, &options);
    /* A new one each time, so that first answers fail at every step too. */
    for (unsigned i = 0; i < 3 * EXPOSITION_FORMAT_COUNT; i++) {
        struct exposition_options wanted = some_options();
        struct exposition *exposition = must_make(&wanted);
        must_survive_failures(&core, exposition, (enum exposition_format)(i / 3), &random,
                              1 + i % 3 * 32);
        exposition_free(exposition);
    }
    core_close(&core);
}

static void must_fail_cleanly(const struct snapshot *snapshot, enum exposition_format format)
{
    size_t live = mem_count_live();
    bool failed = true;
    for (size_t n = 1; failed; n++) {
        struct exposition_options wanted = some_options();
        struct exposition *exposition = must_make(&wanted);
        struct buf got;
        buf_init(&got, TEXT_BYTES_MAX);
        mem_fail_after(n);
        int err = exposition_render(exposition, snapshot, format, &process, &got);
        failed = mem_has_failed();
        mem_fail_after(0);
        assert_true(err == 0 || (failed && err == ERR_NOMEM));
        buf_fini(&got);
        exposition_free(exposition);
        assert_int_equal(mem_count_live(), live);
    }
}

static void test_exposition_first_answer_fails_cleanly_at_every_allocation(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct random random = random_start("first");
    core_open(&core, &options);
    fill(&core);
    for (unsigned i = 0; i < 200; i++) {
        record_randomly(&core, &random, 20);
    }
    struct snapshot *snapshot = must_take(&core);
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        must_fail_cleanly(snapshot, (enum exposition_format)format);
    }
    core_drop(&core, snapshot);
    core_close(&core);
}

/* --- exports ----------------------------------------------------------------------------------- */

static void test_exposition_shows_what_is_exported(void **state)
{
    (void)state;
    struct registry_options registry = some_registry();
    struct exposition_options options = some_options();
    struct export_view views[] = {{.signal = "traces",
                                   .loaded = 1,
                                   .accepted = 12,
                                   .exported = 3,
                                   .waiting = 4,
                                   .in_flight = 2,
                                   .spooled = 1,
                                   .spool_files = 7,
                                   .spool_bytes = 4711,
                                   .spool_limit_bytes = 65536,
                                   .capacity = 6},
                                  {.signal = "metrics", .accepted = 5}};
    struct exposition_process exporting = process;
    struct core core;
    struct buf got;
    views[0].dropped[EXPORT_DROP_SHUTDOWN] = 1;
    views[0].dropped[EXPORT_DROP_QUEUE_FULL] = 2;
    timing_add(&views[0].duration, 250000);
    exporting.exports = views;
    exporting.export_count = 2;
    core_open(&core, &registry);
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(&options);
    buf_init(&got, TEXT_BYTES_MAX);
    assert_int_equal(exposition_render(exposition, snapshot, EXPOSITION_TEXT, &exporting, &got), 0);
    buf_char(&got, '\0');
    must_hold(&got, "dwelld_export_module_loaded{signal=\"traces\"} 1");
    must_hold(&got, "# TYPE dwelld_export_accepted_total counter");
    must_hold(&got, "dwelld_export_accepted_total{signal=\"traces\"} 12");
    must_hold(&got, "dwelld_export_accepted_total{signal=\"metrics\"} 5");
    must_hold(&got, "dwelld_export_exported_total{signal=\"traces\"} 3");
    must_hold(&got, "# TYPE dwelld_export_queue_size gauge");
    must_hold(&got, "dwelld_export_queue_size{signal=\"traces\"} 4");
    must_hold(&got, "dwelld_export_inflight{signal=\"traces\"} 2");
    must_hold(&got, "# TYPE dwelld_export_spooled gauge");
    must_hold(&got, "dwelld_export_spooled{signal=\"traces\"} 1");
    must_hold(&got, "dwelld_export_spool_files{signal=\"traces\"} 7");
    must_hold(&got, "dwelld_export_spool_bytes{signal=\"traces\"} 4711");
    must_hold(&got, "dwelld_export_spool_works{signal=\"traces\"} 0");
    must_not_hold(&got, "dwelld_export_spool_works{signal=\"metrics\"}"); /* it has no spool */
    must_hold(&got, "# TYPE dwelld_export_recovered_total counter");
    must_hold(&got, "dwelld_export_dropped_total{signal=\"traces\",reason=\"damaged\"} 0");
    must_hold(&got, "dwelld_export_queue_capacity{signal=\"traces\"} 6");
    must_hold(&got, "dwelld_export_dropped_total{signal=\"traces\",reason=\"queue_full\"} 2");
    must_hold(&got, "dwelld_export_dropped_total{signal=\"traces\",reason=\"shutdown\"} 1");
    must_hold(&got, "dwelld_export_dropped_total{signal=\"metrics\",reason=\"rejected\"} 0");
    must_hold(&got, "dwelld_export_operation_duration_seconds_bucket{signal=\"traces\","
                    "le=\"0.0005\"} 1");
    must_be_well_formed(&got, EXPOSITION_TEXT);
    buf_clear(&got);
    assert_int_equal(
        exposition_render(exposition, snapshot, EXPOSITION_OPENMETRICS, &exporting, &got), 0);
    buf_char(&got, '\0');
    must_be_well_formed(&got, EXPOSITION_OPENMETRICS);
    buf_clear(&got);
    assert_int_equal(exposition_render(exposition, snapshot, EXPOSITION_TEXT, &process, &got), 0);
    buf_char(&got, '\0');
    must_not_hold(&got, "dwelld_export_"); /* without an endpoint */
    buf_fini(&got);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
}

static void must_reach_the_ceiling(struct exposition *exposition, const struct snapshot *snapshot,
                                   size_t max)
{
    struct buf got;
    buf_init(&got, max);
    assert_int_equal(exposition_render(exposition, snapshot, EXPOSITION_TEXT, &process, &got),
                     ERR_LIMIT);
    assert_true(got.len <= max);
    buf_fini(&got);
}

static void must_fit(struct exposition *exposition, const struct snapshot *snapshot, size_t max,
                     const struct buf *whole)
{
    struct buf got;
    buf_init(&got, max);
    assert_int_equal(exposition_render(exposition, snapshot, EXPOSITION_TEXT, &process, &got), 0);
    assert_int_equal(got.len, whole->len - 1);
    assert_memory_equal(got.data, whole->data, got.len);
    buf_fini(&got);
}

static void test_exposition_stops_at_the_ceiling_of_the_answer(void **state)
{
    (void)state;
    struct core core;
    struct registry_options options = some_registry();
    struct exposition_options wanted = some_options();
    struct buf whole;
    core_open(&core, &options);
    fill(&core);
    struct snapshot *snapshot = must_take(&core);
    struct exposition *exposition = must_make(&wanted);
    must_render(exposition, snapshot, EXPOSITION_TEXT, &whole);
    size_t len = whole.len - 1;
    for (size_t max = len % 501; max < len; max += 501) {
        must_reach_the_ceiling(exposition, snapshot, max);
    }
    must_reach_the_ceiling(exposition, snapshot, len - 1);
    must_fit(exposition, snapshot, len + NUM_DOUBLE_MAX, &whole); /* room that numbers ask for */
    buf_fini(&whole);
    exposition_free(exposition);
    core_drop(&core, snapshot);
    core_close(&core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exposition_looks_as_in_the_files),
        cmocka_unit_test(test_exposition_tells_of_the_daemon),
        cmocka_unit_test(test_exposition_shows_all_heads_without_models),
        cmocka_unit_test(test_exposition_puts_the_hash_on_every_series_when_asked),
        cmocka_unit_test(test_exposition_has_no_prefix_without_a_namespace),
        cmocka_unit_test(test_exposition_marks_the_overflow_model),
        cmocka_unit_test(test_exposition_series_stay_when_the_window_empties_and_after_a_reset),
        cmocka_unit_test(test_exposition_shows_what_evidence_says),
        cmocka_unit_test(test_exposition_gives_no_decision_for_a_model_on_a_gpu),
        cmocka_unit_test(test_exposition_exemplars_lie_in_their_buckets),
        cmocka_unit_test(test_exposition_spells_bounds_canonically),
        cmocka_unit_test(test_exposition_remembers_nothing_wrong),
        cmocka_unit_test(test_exposition_remembers_nothing_wrong_with_a_cap),
        cmocka_unit_test(test_exposition_renders_an_older_snapshot_after_a_younger),
        cmocka_unit_test(test_exposition_renders_anew_what_an_older_snapshot_made_it_forget),
        cmocka_unit_test(test_exposition_new_frees_everything_without_memory),
        cmocka_unit_test(test_exposition_first_answer_fails_cleanly_at_every_allocation),
        cmocka_unit_test(test_exposition_is_right_again_after_want_of_memory),
        cmocka_unit_test(test_exposition_stops_at_the_ceiling_of_the_answer),
        cmocka_unit_test(test_exposition_shows_what_is_exported),
    };
    return cmocka_run_group_tests(tests, core_tables, NULL);
}
