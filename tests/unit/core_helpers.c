#include "core_helpers.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "mem_fault.h"

int core_tables(void **state)
{
    (void)state;
    hist_init_tables();
    tally_init_tables();
    return 0;
}

size_t live_before;

int note_memory(void **state)
{
    (void)state;
    live_before = mem_count_live();
    return 0;
}

int must_be_clean(void **state)
{
    (void)state;
    assert_int_equal(mem_count_live(), live_before);
    return 0;
}

/* --- random numbers ---------------------------------------------------------------------------- */

struct random random_start(const char *what)
{
    const char *given = getenv("DWELL_TEST_SEED");
    uint64_t seed = given == NULL ? UINT64_C(0x5eed) : strtoull(given, NULL, 0);
    print_message("%s: seed %" PRIu64 "\n", what, seed);
    return (struct random){seed};
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
uint64_t random_next(struct random *random)
{
    uint64_t mixed = random->state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

uint64_t random_below(struct random *random, uint64_t ceiling)
{
    return random_next(random) % ceiling;
}

double random_unit(struct random *random)
{
    return ((double)(random_next(random) >> 12) + 0.5) / 0x1p52;
}

double random_normal(struct random *random)
{
    double radius = sqrt(-2 * log(random_unit(random)));
    return radius * cos(2 * M_PI * random_unit(random));
}

const char *const shape_names[] = {"lognormal", "pareto", "bimodal", "constant"};

double random_shape(struct random *random, enum shape shape)
{
    switch (shape) {
    case SHAPE_LOGNORMAL:
        return 4 * exp(0.5 * random_normal(random));
    case SHAPE_PARETO:
        return 1.1 * pow(random_unit(random), -1 / 1.2);
    case SHAPE_BIMODAL:
        return random_unit(random) < 0.8 ? 2 * exp(0.1 * random_normal(random))
                                         : 30 * exp(0.1 * random_normal(random));
    case SHAPE_CONSTANT:
    case SHAPE_COUNT:
        break;
    }
    return 12.5;
}

/* --- a core ------------------------------------------------------------------------------------ */

struct registry_options core_options(void)
{
    return (struct registry_options){.window_ns =
                                         REGISTRY_SUB_WINDOWS * CORE_SLOT_S * NS_PER_SECOND,
                                     .max_models = 1000,
                                     .hash_seed = 42};
}

static void end_process(void *ctx, struct process *process)
{
    struct core *core = ctx;
    spans_end_owner(core->spans, &process->spans);
    metrics_end_process(core->metrics, process);
}

/* Those of the configuration unless it says otherwise. */
static const struct budget_option core_layers[] = {{{"layer1_validation", 17}, 5, 0.8},
                                                   {{"layer2_deliberation", 19}, 20, 0.8},
                                                   {{"layer3_policy", 13}, 10, 0.8},
                                                   {{"layer4_audit", 12}, 15, 0.8}};

/* Likewise. */
const struct gpu_options core_gpu = {.peak_tflops = 8.1,
                                     .bandwidth_gb = 320,
                                     .launch_us = 100,
                                     .transfer_us = 20,
                                     .efficiency_low = 0.2,
                                     .efficiency_high = 0.6,
                                     .price_low = 0.3,
                                     .price_high = 0.6,
                                     .cpu_price_low = 0.2,
                                     .cpu_price_high = 0.4,
                                     .cpu_threads = 8,
                                     .host_threads = 4,
                                     .utilization = 0.7,
                                     .instances = 1,
                                     .min_speedup = 2,
                                     .max_batch = 64};

void core_open(struct core *core, const struct registry_options *options)
{
    *core = (struct core){
        .thresholds = {.latency_gpu_threshold_ms = 1.0,
                       .cpu_compute_threshold_percent = 50,
                       .cpu_io_threshold_percent = 20,
                       .gpu = core_gpu},
        .mono_ns = 10 * NS_PER_SECOND,
        .wall_ns = UINT64_C(1700000000) * NS_PER_SECOND,
        .live_before = mem_count_live(),
        .registry = calloc(1, sizeof *core->registry),
        .metrics = calloc(1, sizeof *core->metrics),
        .spans = calloc(1, sizeof *core->spans),
        .budgets = calloc(1, sizeof *core->budgets),
        .scratch = calloc(1, sizeof *core->scratch),
    };
    assert_non_null(core->registry);
    assert_non_null(core->metrics);
    assert_non_null(core->spans);
    assert_non_null(core->budgets);
    assert_non_null(core->scratch);
    assert_int_equal(registry_init(core->registry, options), 0);
    struct metrics_options metrics = {.max_series = 1000,
                                      .max_series_per_family = 100,
                                      .max_label_bytes = 256,
                                      .name_space = STR_LITERAL("acgs2"),
                                      .window_ns = options->window_ns,
                                      .max_set_values = 10000,
                                      .hash_seed = options->hash_seed};
    assert_int_equal(metrics_init(core->metrics, &metrics, &core->registry->limbo), 0);
    struct spans_options spans = {.name_space = metrics.name_space,
                                  .max_open = CORE_OPEN_SPANS_MAX,
                                  .max_open_bytes = CORE_OPEN_BYTES_MAX,
                                  .sampler = {.rate = 1, .hash_seed = options->hash_seed}};
    spans_init(core->spans, &spans, core->registry, core->metrics);
    struct budgets_options budgets = {.name_space = metrics.name_space,
                                      .total_ms = 50,
                                      .objective = CORE_OBJECTIVE,
                                      .layers = core_layers,
                                      .layer_count = sizeof core_layers / sizeof core_layers[0],
                                      .hash_seed = options->hash_seed};
    assert_int_equal(budgets_init(core->budgets, &budgets, core->registry, core->metrics), 0);
    core->processes.ctx = core;
    core->processes.ended = end_process;
    assert_int_equal(ledger_init(&core->ledger, 7), 0);
    core->intake = (struct intake){.registry = core->registry,
                                   .metrics = core->metrics,
                                   .spans = core->spans,
                                   .budgets = core->budgets,
                                   .processes = &core->processes,
                                   .ledger = &core->ledger,
                                   .counters = &core->counters,
                                   .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2")};
    core_move(core, 0);
}

void core_close(struct core *core)
{
    spans_fini(core->spans);
    budgets_fini(core->budgets);
    metrics_fini(core->metrics);
    processes_fini(&core->processes);
    registry_fini(core->registry);
    ledger_fini(&core->ledger);
    free(core->metrics);
    free(core->spans);
    free(core->budgets);
    free(core->registry);
    free(core->scratch);
    assert_int_equal(mem_count_live(), core->live_before);
}

void core_move(struct core *core, int64_t seconds)
{
    core->mono_ns += (uint64_t)seconds * NS_PER_SECOND;
    core->wall_ns += (uint64_t)seconds * NS_PER_SECOND;
    registry_set_time(core->registry, core->mono_ns, core->wall_ns);
    metrics_set_time(core->metrics, core->mono_ns, core->wall_ns);
    spans_set_time(core->spans, core->mono_ns, core->wall_ns);
}

struct sample sample_of(const char *name, double ms)
{
    return (struct sample){.model_name = str_of(name), .execution_time_ms = ms};
}

void must_record(struct core *core, const struct sample *sample)
{
    assert_int_equal(registry_record(core->registry, sample), 0);
}

void must_refuse(struct core *core, const struct sample *sample, int err)
{
    assert_int_equal(registry_record(core->registry, sample), err);
}

void must_reset(struct core *core, const char *name, int models)
{
    struct str wanted = str_of(name == NULL ? "" : name);
    assert_int_equal(registry_reset(core->registry, name == NULL ? NULL : &wanted), models);
}

struct opinion opinion_of(enum bottleneck bottleneck, enum rule rule)
{
    struct opinion opinion = {.bottleneck = bottleneck,
                              .rule = rule,
                              .confidence = bottleneck == BOTTLENECK_UNKNOWN ? (double)NAN : 0.875,
                              .share = {0.5, 0.25, 0.1875, 0.0625},
                              .reason = "compute takes 50 % of the time, memory 25 %",
                              .rounds = 3,
                              .round_bottleneck = BOTTLENECK_MEMORY,
                              .round_rule = RULE_EVIDENCE};
    return opinion;
}

void must_set_opinion(struct core *core, uint32_t number, const struct opinion *opinion)
{
    core->thresholds.by_evidence |= opinion != NULL; /* as it is where somebody judges */
    assert_int_equal(registry_set_opinion(core->registry, number, opinion), 0);
}

struct snapshot *must_take(struct core *core)
{
    struct snapshot *snapshot = NULL;
    assert_int_equal(
        snapshot_take(&core->intake, &core->thresholds, core->mono_ns, core->wall_ns, &snapshot),
        0);
    return snapshot;
}

void core_drop(struct core *core, struct snapshot *snapshot)
{
    snapshot_release(snapshot, core->registry);
    while (limbo_sweep(&core->registry->limbo, 64)) {
    }
}

const struct model *must_find(const struct snapshot *snapshot, const char *name)
{
    for (uint32_t i = 0; i < snapshot->model_count; i++) {
        if (str_is(snapshot->models[i]->id->name, name)) {
            return snapshot->models[i];
        }
    }
    fail_msg("no model \"%s\"", name);
    return NULL;
}

struct profile must_profile(struct core *core, const struct snapshot *snapshot, const char *name,
                            enum profile_span span)
{
    struct profile profile;
    uint64_t count =
        profile_compute(snapshot, must_find(snapshot, name), span, core->scratch, &profile);
    assert_int_equal(count, profile.count);
    return profile;
}

struct sums totals_of(const struct model *model)
{
    struct sums sums;
    struct tally_extra extra;
    profile_totals(model, &sums, &extra);
    return sums;
}

/* --- everything a reader can see --------------------------------------------------------------- */

static void describe_bytes(FILE *out, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        (void)fprintf(out, "%02x", ((const uint8_t *)bytes)[i]);
    }
    (void)fputc(' ', out);
}

static void describe_wide(FILE *out, exact_u128 number)
{
    (void)fprintf(out, "%" PRIx64 "_%016" PRIx64 " ", (uint64_t)(number >> 64), (uint64_t)number);
}

static void describe_gauge(FILE *out, const struct gauge_sum *gauge)
{
    (void)fprintf(out, "gauge %" PRIu64 " %a ", gauge->count, gauge->peak);
    describe_wide(out, gauge->sum);
}

static void describe_classic(FILE *out, const struct classic *classic)
{
    (void)fprintf(out, "classic %" PRIu64 " ", classic->count);
    describe_wide(out, classic->sum);
    for (unsigned i = 0; i <= BOUNDS_MAX; i++) {
        (void)fprintf(out, "%" PRIu64 " ", classic->bucket[i]);
    }
}

static void describe_sums(FILE *out, const struct sums *sums, const struct tally_extra *extra)
{
    (void)fprintf(out, "\n  sums %" PRIu64 " %" PRIu64 " ", sums->count, sums->errors);
    describe_wide(out, sums->latency_sum);
    describe_bytes(out, sums->latency_squares.word, sizeof sums->latency_squares.word);
    describe_bytes(out, sums->latency_bucket, sizeof sums->latency_bucket);
    if (sums->count > 0) {
        (void)fprintf(out, "%a %a ", sums->latency_min_ms, sums->latency_max_ms);
    }
    describe_gauge(out, &sums->cpu_percent);
    describe_gauge(out, &sums->memory_mb);
    describe_classic(out, &extra->queue_ms);
    describe_classic(out, &extra->batch_size);
    (void)fprintf(out, "evidence %" PRIu64 " ", extra->evidence_count);
    describe_wide(out, extra->evidence_wall);
    for (unsigned i = 0; i < STATE_COUNT; i++) {
        describe_wide(out, extra->state[i]);
    }
    describe_gauge(out, &extra->flops);
    describe_gauge(out, &extra->bytes_moved);
}

static void describe_profile(FILE *out, const struct snapshot *snapshot, const struct model *model,
                             enum profile_span span, struct profile_scratch *scratch)
{
    struct profile profile;
    (void)fprintf(out, "\n  profile %d %" PRIu64 " ", (int)span,
                  profile_compute(snapshot, model, span, scratch, &profile));
    if (profile.count == 0) {
        return;
    }
    (void)fprintf(out, "%d %" PRIu64 " %" PRIu64 " ", (int)profile.span, profile.count,
                  profile.errors);
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        (void)fprintf(out, "%a ", profile.quantile_ms[q]);
    }
    (void)fprintf(out, "%a %a %a %a %a %a %a %a %s/%s/%d %s %s", profile.mean_ms,
                  profile.deviation_ms, profile.min_ms, profile.max_ms, profile.cpu_mean,
                  profile.cpu_peak, profile.memory_mean_mb, profile.memory_peak_mb,
                  bottleneck_names[profile.verdict.bottleneck], rule_names[profile.verdict.rule],
                  (int)profile.verdict.gpu, profile.verdict.reason, profile.verdict.recommendation);
    (void)fprintf(out, " %s %a", profile.gpu.reason, profile.verdict.max_speedup);
}

static void describe_tally(FILE *out, const struct tally *tally)
{
    if (tally == NULL) {
        (void)fprintf(out, "\n  no tally");
        return;
    }
    struct sums sums = {0};
    struct tally_extra extra = {0};
    tally_sum_into(tally, &sums, &extra);
    (void)fprintf(out, "\n  tally %" PRIu64 " zero %" PRIu64 " total %" PRIu64 ":", tally->slot,
                  tally->latency.zero, hist_total(&tally->latency));
    describe_sums(out, &sums, &extra);
    int end;
    for (int at = hist_range(&tally->latency, &end); at < end; at++) {
        uint64_t count = hist_count_at(&tally->latency, at);
        if (count != 0) {
            (void)fprintf(out, "%d:%" PRIu64 " ", at, count);
        }
    }
}

static void describe_exemplars(FILE *out, const struct exemplars *exemplars)
{
    for (unsigned i = 0; exemplars != NULL && i <= BOUNDS_MAX; i++) {
        const struct exemplar *exemplar = &exemplars->bucket[i];
        if (exemplar->set) {
            (void)fprintf(out, "\n  exemplar %u %d %a %" PRIu64 " ", i, exemplar->has_span_id,
                          exemplar->value_ms, exemplar->wall_ns);
            describe_bytes(out, exemplar->trace_id, sizeof exemplar->trace_id);
            describe_bytes(out, exemplar->span_id, sizeof exemplar->span_id);
        }
    }
}

static void describe_opinion(FILE *out, const struct model_opinion *opinion)
{
    if (opinion != NULL) {
        (void)fprintf(out, " opinion ");
        describe_bytes(out, &opinion->opinion, sizeof opinion->opinion);
    }
}

static void describe_model(FILE *out, const struct snapshot *snapshot, const struct model *model,
                           struct profile_scratch *scratch)
{
    const struct model_id *id = model->id;
    (void)fprintf(out, "model %.*s device %.*s labels %u overflow %d stamp %" PRIu64,
                  (int)id->name.len, id->name.ptr, (int)id->device.len, id->device.ptr,
                  id->label_count, id->overflow, model_stamp(model));
    for (uint32_t i = 0; i < id->label_count; i++) {
        (void)fprintf(out, " %.*s=%.*s", (int)id->labels[i].key.len, id->labels[i].key.ptr,
                      (int)id->labels[i].value.len, id->labels[i].value.ptr);
    }
    (void)fprintf(out, " last cpu %a", model_last_cpu_percent(model));
    describe_profile(out, snapshot, model, PROFILE_WINDOW, scratch);
    describe_profile(out, snapshot, model, PROFILE_ALL, scratch);
    struct sums sums;
    struct tally_extra extra;
    profile_totals(model, &sums, &extra);
    describe_sums(out, &sums, &extra);
    describe_tally(out, model->base);
    describe_tally(out, model->past);
    for (uint32_t i = 0; i < model->closed_count; i++) {
        describe_tally(out, model->closed[i]);
    }
    describe_tally(out, model->current);
    describe_exemplars(out, model->exemplars);
    describe_opinion(out, model->opinion);
    (void)fputc('\n', out);
}

static void describe_mark(FILE *out, uint32_t number, const struct exemplar_mark *mark)
{
    if (mark->set) {
        (void)fprintf(out, "mark %u %d %a %" PRIu64 " ", number, mark->has_span_id, mark->value,
                      mark->wall_ns);
        describe_bytes(out, mark->trace_id, sizeof mark->trace_id);
        describe_bytes(out, mark->span_id, sizeof mark->span_id);
    }
}

static void describe_run(FILE *out, const struct bucket_run *run, const uint64_t *counts)
{
    (void)fprintf(out, "run %d+%u: ", run->first, run->len);
    for (uint32_t i = 0; i < run->len; i++) {
        (void)fprintf(out, "%" PRIu64 " ", counts[i]);
    }
}

static void describe_buckets(FILE *out, const struct buckets *buckets)
{
    (void)fprintf(out,
                  "buckets %" PRIu64 " %" PRIu64 " %a zero %" PRIu64 " schema %d: ", buckets->stamp,
                  buckets->count, buckets->sum, buckets->zero, buckets->schema);
    for (uint32_t i = 0; i <= buckets->bound_count; i++) {
        (void)fprintf(out, "%" PRIu64 " ", buckets->counts[i]);
        if (buckets->exemplars != NULL) {
            describe_mark(out, i, &buckets->exemplars->marks[i]);
        }
    }
    describe_run(out, &buckets->positive, buckets_positive(buckets));
    describe_run(out, &buckets->negative, buckets_negative(buckets));
}

static void describe_series(FILE *out, const struct series_page *page, uint32_t slot, bool buckets)
{
    const struct series_id *id = page->who[slot];
    (void)fprintf(out, "\n  series %u %" PRIu64 " %" PRIu64 " ", slot, id->serial,
                  id->created_wall_ns);
    describe_bytes(out, id->pairs, id->len);
    if (buckets) {
        describe_buckets(out, page->value[slot].buckets);
    } else {
        (void)fprintf(out, "%a ", page->value[slot].number);
        if (page->exemplars != NULL) {
            describe_mark(out, slot, &page->exemplars->marks[slot]);
        }
    }
}

static void describe_family(FILE *out, const struct family_view *view)
{
    bool buckets = view->family->shape.type == FAMILY_HISTOGRAM;
    (void)fprintf(out, "family %u %.*s\n", view->family->number, (int)view->family->shape.name.len,
                  view->family->shape.name.ptr);
    for (uint32_t i = 0; i < view->page_count; i++) {
        const struct series_page *page = view->pages[i];
        (void)fprintf(out, " page %" PRIu64 " %" PRIx64, page->stamp, page->shown);
        for (uint32_t slot = 0; slot < SERIES_PER_PAGE; slot++) {
            if ((page->shown >> slot & 1) != 0) {
                describe_series(out, page, slot, buckets);
            }
        }
        (void)fputc('\n', out);
    }
}

static void describe_budget(FILE *out, const struct snapshot *snapshot,
                            const struct budget_layer *layer, struct profile_scratch *scratch)
{
    struct budget_profile profile;
    struct str name = layer->limit->layer;
    budget_profile_compute(snapshot, layer, budget_profile_total_ms(snapshot), scratch, &profile);
    (void)fprintf(out, "budget %.*s: %llu, %llu over, %llu soft, last %a;", (int)name.len, name.ptr,
                  (unsigned long long)layer->count, (unsigned long long)layer->exceeded,
                  (unsigned long long)layer->soft_exceeded, layer->last_ms);
    (void)fprintf(out, " window %llu, %llu over, spent %a, share %a, p50 %a, p99 %a\n",
                  (unsigned long long)profile.count, (unsigned long long)profile.exceeded,
                  profile.spent_ms, profile.share_of_total, profile.quantile_ms[QUANTILE_50],
                  profile.quantile_ms[QUANTILE_99]);
}

char *describe_snapshot(const struct snapshot *snapshot, struct profile_scratch *scratch)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < snapshot->model_count; i++) {
        describe_model(out, snapshot, snapshot->models[i], scratch);
    }
    for (uint32_t i = 0; i < snapshot->metrics.family_count; i++) {
        describe_family(out, &snapshot->metrics.families[i]);
    }
    for (uint32_t i = 0; i < snapshot->budgets.count; i++) {
        describe_budget(out, snapshot, snapshot->budgets.layers[i], scratch);
    }
    return fclose(out) == 0 ? text : NULL;
}

uint64_t count_everything(const struct snapshot *snapshot)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < snapshot->model_count; i++) {
        count += totals_of(snapshot->models[i]).count;
    }
    return count;
}

/* --- exact statistics -------------------------------------------------------------------------- */

static int compare_figures(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

struct facts facts_of(const double *figures, size_t count)
{
    struct facts facts = {.count = count};
    assert_true(count > 0);
    double *sorted = malloc(count * sizeof *sorted);
    assert_non_null(sorted);
    long double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (long double)figures[i];
        sorted[i] = figures[i];
    }
    long double mean = sum / (long double)count;
    long double squares = 0;
    for (size_t i = 0; i < count; i++) {
        long double distance = (long double)figures[i] - mean;
        squares += distance * distance;
    }
    qsort(sorted, count, sizeof *sorted, compare_figures);
    facts.mean = (double)mean;
    facts.deviation = count < 2 ? 0 : (double)sqrtl(squares / (long double)(count - 1));
    facts.min = sorted[0];
    facts.max = sorted[count - 1];
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        facts.quantile[q] = sorted[(count * quantile_per_mille[q] + 999) / 1000 - 1];
    }
    free(sorted);
    return facts;
}

void must_be_near(double got, double wanted, double tolerance)
{
    if (!(fabs(got - wanted) <= tolerance * fabs(wanted))) {
        fail_msg("%.17g is not %.17g within %g", got, wanted, tolerance);
    }
}

void must_match_facts(const struct profile *profile, const struct facts *facts)
{
    assert_int_equal(profile->count, facts->count);
    assert_true(profile->min_ms == facts->min);
    assert_true(profile->max_ms == facts->max);
    /* Figures are kept in steps of a picosecond, which is all that can part the two. */
    assert_true(fabs(profile->mean_ms - facts->mean) <= 1e-12 * facts->mean + 1e-9);
    if (facts->deviation == 0) {
        assert_true(profile->deviation_ms == 0);
    } else {
        assert_true(fabs(profile->deviation_ms - facts->deviation) <=
                    1e-12 * facts->deviation + 1e-9);
    }
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        must_be_near(profile->quantile_ms[q], facts->quantile[q], QUANTILE_TOLERANCE);
    }
}

/* --- clients' metrics -------------------------------------------------------------------------- */

struct metric metric_of(enum metric_op op, const char *name, double value, const char *attributes)
{
    struct metric metric = {.name = str_of(name), .op = op, .value = value, .weight = 1};
    while (*attributes != '\0') {
        size_t key = strcspn(attributes, "=");
        size_t len = strcspn(attributes + key + 1, ",");
        metric.attributes[metric.attribute_count++] =
            (struct label){{attributes, key}, {attributes + key + 1, len}};
        attributes += key + 1 + len;
        attributes += *attributes == ',';
    }
    return metric;
}

void must_count(struct core *core, const struct metric *metric, struct process *process)
{
    assert_int_equal(metrics_record(core->metrics, metric, process), 0);
}

static bool has_labels(const struct series_id *id, const char *labels)
{
    char text[1024] = "";
    struct str name;
    struct str value;
    size_t len = 0;
    for (const char *at = series_next_pair(id, NULL, &name, &value); at != NULL;
         at = series_next_pair(id, at, &name, &value)) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s=%.*s", len > 0 ? "," : "",
                                (int)name.len, name.ptr, (int)value.len, value.ptr);
        assert_true(len < sizeof text);
    }
    return strcmp(text, labels) == 0;
}

static const union series_value *find_series(const struct core *core, const char *family,
                                             const char *labels)
{
    for (uint32_t i = 0; i < core->metrics->family_count; i++) {
        const struct series_set *set = &core->metrics->sets[i];
        for (uint32_t place = 0; place < series_places(set); place++) {
            const struct series_page *page = set->pages[place / SERIES_PER_PAGE];
            if (str_is(set->family->shape.name, family) && series_is_shown(page, place) &&
                has_labels(series_who(set, place), labels)) {
                return &page->value[place % SERIES_PER_PAGE];
            }
        }
    }
    return NULL;
}

union series_value core_series(const struct core *core, const char *family, const char *labels)
{
    const union series_value *value = find_series(core, family, labels);
    if (value == NULL) {
        print_error("%s{%s} is not there\n", family, labels);
    }
    assert_non_null(value);
    return *value;
}

bool core_has_series(const struct core *core, const char *family, const char *labels)
{
    return find_series(core, family, labels) != NULL;
}
