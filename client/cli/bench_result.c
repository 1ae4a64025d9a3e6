#include "cli/bench_result.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "cli/answer.h"

static const char coordinated_omission[] =
    "Latencies are those of a closed loop: a worker asks again when it has its answer, so what "
    "users "
    "would have waited behind a slow request is in none of them (coordinated omission).";

enum {
    SENTENCE_MAX = 1024,
    BUSY_PERCENT = 20, /* more waiting for a CPU says more about the machine than about the model */
};

static json_t *number(double figure)
{
    return isfinite(figure) ? json_real(figure) : json_null();
}

/* Null also for what is no UTF-8, as arguments may be. */
static json_t *text_or_null(const char *text)
{
    json_t *string = text != NULL && text[0] != '\0' ? json_string(text) : NULL;
    return string != NULL ? string : json_null();
}

/* --- the verdict ------------------------------------------------------------------------------- */

/* Of the daemon, or else by our own thresholds. */
struct verdict {
    const char *decided_by, *bottleneck, *rule, *decision, *recommendation;
    char reason[SENTENCE_MAX];
    double confidence, max_speedup;
    const json_t *shares;
};

/* The thresholds in words. */
static void put_reason(const struct dwell_bench_result *result, char reason[SENTENCE_MAX])
{
    const struct dwell_bench_load *load = &result->sequential;
    if (strcmp(result->rule, "latency_floor") == 0) {
        (void)snprintf(
            reason, SENTENCE_MAX,
            "mean latency %.4g ms is below 1 ms: over too soon for a GPU, whatever it is bound by",
            load->mean_ms);
    } else if (strcmp(result->rule, "compute") == 0) {
        (void)snprintf(reason, SENTENCE_MAX, "mean CPU %.4g %% is above 50 %%", load->cpu_percent);
    } else if (strcmp(result->rule, "io_low_cpu") == 0) {
        (void)snprintf(reason, SENTENCE_MAX, "mean CPU %.4g %% is below 20 %%", load->cpu_percent);
    } else if (strcmp(result->rule, "moderate") == 0) {
        (void)snprintf(reason, SENTENCE_MAX, "mean CPU %.4g %% lies between 20 %% and 50 %%",
                       load->cpu_percent);
    } else if (strcmp(result->rule, "no_cpu") == 0) {
        (void)snprintf(reason, SENTENCE_MAX, "the CPU time of requests is not known");
    } else {
        (void)snprintf(reason, SENTENCE_MAX, "no request was answered");
    }
}

static struct verdict verdict_of(const struct bench_run *run)
{
    const struct dwell_bench_result *result = &run->result;
    const json_t *analysis = json_object_get(run->model, "analysis");
    struct verdict verdict = {.decided_by = "thresholds",
                              .bottleneck = result->bottleneck,
                              .rule = result->rule,
                              .decision = result->gpu_decision,
                              .recommendation = "",
                              .confidence = NAN,
                              .max_speedup = NAN};
    if (json_is_object(analysis)) {
        verdict.decided_by = "daemon";
        verdict.bottleneck = answer_text(analysis, "bottleneck_type");
        verdict.rule = answer_text(analysis, "rule");
        verdict.decision = answer_text(analysis, "gpu_decision");
        verdict.recommendation = answer_text(analysis, "gpu_recommendation");
        verdict.confidence = answer_number(analysis, "confidence");
        verdict.max_speedup = answer_number(analysis, "max_speedup");
        verdict.shares = json_object_get(analysis, "shares");
        (void)snprintf(verdict.reason, sizeof verdict.reason, "%s",
                       answer_text(analysis, "reason"));
    } else {
        put_reason(result, verdict.reason);
    }
    return verdict;
}

/* --- parts ------------------------------------------------------------------------------------- */

struct figure {
    const char *key;
    double value;
};

/* Seen as keys that are missing when there is no memory; of `object` NULL as an object that is. */
static void set_figures(json_t *object, const struct figure *figures, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)json_object_set_new(object, figures[i].key, number(figures[i].value));
    }
}

#define SET_FIGURES(object, ...)                                                                   \
    set_figures(object, (const struct figure[]){__VA_ARGS__},                                      \
                sizeof((const struct figure[]){__VA_ARGS__}) / sizeof(struct figure))

static json_t *load_json(const struct dwell_bench_load *load)
{
    json_t *object = json_pack("{s:I, s:I}", "requests", (json_int_t)load->requests, "errors",
                               (json_int_t)load->errors);
    SET_FIGURES(object, {"mean_ms", load->mean_ms}, {"std_ms", load->std_ms},
                {"min_ms", load->min_ms}, {"p50_ms", load->p50_ms}, {"p90_ms", load->p90_ms},
                {"p95_ms", load->p95_ms}, {"p99_ms", load->p99_ms}, {"p999_ms", load->p999_ms},
                {"max_ms", load->max_ms}, {"elapsed_ms", load->elapsed_ms});
    return object;
}

static json_t *command_json(const struct bench_run *run)
{
    json_t *list = json_array();
    for (int i = 0; i < run->words; i++) {
        json_t *word = json_string(run->command[i]);                          /* NULL: no UTF-8 */
        (void)json_array_append_new(list, word != NULL ? word : json_null()); /* a list too short */
    }
    return list;
}

static json_t *started_json(double started_unix)
{
    char text[sizeof "2026-01-31T12:00:00Z"] = "";
    time_t seconds = (time_t)started_unix;
    struct tm broken;
    if (gmtime_r(&seconds, &broken) == NULL ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &broken) == 0) {
        return json_null();
    }
    return json_string(text);
}

static json_t *info_json(const struct bench_run *run)
{
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:i, s:i, s:i, s:f, s:i, s:o, s:o, s:b, s:o, s:s, s:o, s:I, s:s, "
        "s:s}",
        "model_name", run->model_name, "version", DWELL_VERSION, "url", text_or_null(run->url),
        "command", run->url == NULL ? command_json(run) : json_null(), "samples", (int)run->samples,
        "concurrency", (int)run->concurrency, "warmup", (int)run->warmup, "timeout_seconds",
        run->timeout_seconds, "cpus", (int)run->cpus, "started", started_json(run->started_unix),
        "elapsed_seconds", number(run->elapsed_seconds), "complete", run->complete, "problem",
        text_or_null(run->problem), "daemon", run->daemon, "daemon_problem",
        text_or_null(run->daemon_problem), "samples_sent", (json_int_t)run->samples_sent,
        "load_model", "closed", "coordinated_omission", coordinated_omission);
}

static json_t *matrix_json(const struct bench_run *run, const struct verdict *verdict)
{
    const struct dwell_bench_load *load = &run->result.sequential;
    json_t *row =
        json_pack("{s:s, s:s, s:o, s:o, s:s, s:s}", "model_name", run->model_name,
                  "bottleneck_type", verdict->bottleneck, "rule", text_or_null(verdict->rule),
                  "gpu_decision", text_or_null(verdict->decision), "reason", verdict->reason,
                  "decided_by", verdict->decided_by);
    SET_FIGURES(row, {"p50_ms", load->p50_ms}, {"p90_ms", load->p90_ms}, {"p95_ms", load->p95_ms},
                {"p99_ms", load->p99_ms}, {"mean_ms", load->mean_ms}, {"cpu_ms", load->cpu_ms},
                {"cpu_percent", load->cpu_percent}, {"runqueue_percent", run->runqueue_percent},
                {"cpu_percent_concurrent", run->concurrent_cpu_percent},
                {"memory_mb", run->memory_mb}, {"memory_mb_peak", run->memory_mb_peak},
                {"confidence", verdict->confidence}, {"max_speedup", verdict->max_speedup});
    (void)json_object_set_new(row, "shares", /* likewise */
                              verdict->shares != NULL ? json_deep_copy(verdict->shares)
                                                      : json_null());
    return json_pack("[o]", row);
}

/* --- the summary ------------------------------------------------------------------------------- */

static void add(json_t *list, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(json_t *list, const char *format, ...)
{
    char sentence[SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments); /* ours are shorter */
    va_end(arguments);
    (void)json_array_append_new(list, json_string(sentence)); /* seen as a list that is too short */
}

static void add_by_rule(json_t *list, const struct bench_run *run, const struct verdict *verdict)
{
    if (strcmp(verdict->rule, "no_cpu") == 0) {
        add(list, run->url != NULL
                      ? "Name the process that answers by --pid, so that its CPU time can "
                        "be read."
                      : "Run the tool as the user whose processes the workers are.");
    } else if (strcmp(verdict->rule, "starved") == 0) {
        add(list, "Run it again when nothing else needs the CPUs.");
    } else if (strcmp(verdict->rule, "insufficient") == 0) {
        add(list, "Run it again with more --samples.");
    } else if (strcmp(verdict->rule, "lock") == 0) {
        add(list, "Find the lock that requests wait for; a GPU does not hold it any shorter.");
    } else {
        add(list, "Run it again with more --samples, and on a machine that does nothing else.");
    }
}

/* Throughput that does not grow with workers, where there were CPUs for them. */
static void add_scaling(json_t *list, const struct bench_run *run)
{
    double scaling = run->result.concurrency_scaling;
    unsigned at_best = run->concurrency < run->cpus ? run->concurrency : run->cpus;
    if (isfinite(scaling) && at_best > 1 && scaling < 0.5 * at_best) {
        add(list,
            "Find out what the workers share, or what else needed the CPUs: %u of them do %.2f "
            "times "
            "the work of one, on %u CPUs.",
            (unsigned)run->concurrency, scaling, run->cpus);
    }
}

static void add_actions(json_t *list, const struct bench_run *run, const struct verdict *verdict)
{
    if (verdict->recommendation[0] != '\0') {
        add(list, "%s", verdict->recommendation);
    }
    if (strcmp(verdict->decision, "yes") == 0) {
        add(list, "Run the same requests on a GPU before one is bought, also in batches.");
        if (isfinite(verdict->max_speedup)) {
            add(list, "Compare its price with what it can gain: at most %.1f times the speed.",
                verdict->max_speedup);
        }
    } else if (strcmp(verdict->decision, "no") == 0 && verdict->recommendation[0] == '\0') {
        add(list, strcmp(verdict->rule, "latency_floor") == 0
                      ? "Stay on the CPU: a request is over before a GPU would have started."
                      : "Stay on the CPU and look at what requests wait for.");
    } else if (strcmp(verdict->decision, "no") != 0) {
        add_by_rule(list, run, verdict);
    }
    if (run->runqueue_percent > BUSY_PERCENT && strcmp(verdict->rule, "starved") != 0) {
        add(list,
            "Run it again when nothing else needs the CPUs: the requests waited %.0f %% of their "
            "time "
            "for one.",
            run->runqueue_percent);
    }
    add_scaling(list, run);
    if (run->result.sequential.errors + run->result.concurrent.errors > 0) {
        add(list, "Look at the requests that failed: they are in no figure but their own count.");
    }
}

static json_t *summary_json(const struct bench_run *run, const struct verdict *verdict)
{
    bool yes = strcmp(verdict->decision, "yes") == 0;
    json_t *reasons = json_array();
    json_t *actions = json_array();
    add(reasons, "%.300s is %s: %.500s.", run->model_name, verdict->bottleneck, verdict->reason);
    if (strcmp(verdict->decision, "insufficient") == 0) {
        add(reasons, "That is not enough to recommend a GPU.");
    }
    add_actions(actions, run, verdict);
    return json_pack("{s:s, s:o, s:o}", "overall_recommendation", yes ? "EVALUATE_GPU" : "KEEP_CPU",
                     "reasons", reasons, "action_items", actions);
}

json_t *bench_result(const struct bench_run *run)
{
    struct verdict verdict = verdict_of(run);
    const struct dwell_bench_result *result = &run->result;
    return json_pack(
        "{s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o}, s:o, s:o}", "benchmark_info", info_json(run),
        "throughput", "sequential_rps", number(result->sequential.requests_per_second),
        "concurrent_rps", number(result->concurrent.requests_per_second), "concurrency_scaling",
        number(result->concurrency_scaling), "latency", "sequential",
        load_json(&result->sequential), "concurrent", load_json(&result->concurrent),
        "gpu_decision_matrix", matrix_json(run, &verdict), "summary", summary_json(run, &verdict));
}

bool bench_recommends_gpu(const json_t *result)
{
    return strcmp(answer_text(result, "summary.overall_recommendation"), "EVALUATE_GPU") == 0;
}
