/*
 * What a tracked inference costs its caller: begin and end with evidence `none` against two clock
 * readings back to back, in turns; what a span with four attributes costs, a root and a child; start
 * and stop of a layer of a time budget, with a record of it; and for information the other levels,
 * whole samples, and a budget without a handle.
 * A round stays below what a lane holds, and the next one begins when everything was sent: nothing is
 * dropped, nobody is woken.
 */
#include "subject.h"

enum { CALLS = 2000, SPANS = 250, BUDGETS = 1000, ROUNDS = 21, WARM_UP_ROUNDS = 8 };

#define NONE_RATIO_LIMIT 1.5
#define SPAN_NS_LIMIT    400
#define BUDGET_NS_LIMIT  300

static double clocks_ns(void)
{
    struct timespec now;
    uint64_t begun_ns = now_ns();
    for (int i = 0; i < CALLS; i++) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        bench_keep(now.tv_nsec);
        clock_gettime(CLOCK_MONOTONIC, &now);
        bench_keep(now.tv_nsec);
    }
    return (double)(now_ns() - begun_ns) / CALLS;
}

static double track_ns(const struct subject *subject)
{
    struct dwell_track track;
    uint64_t begun_ns = now_ns();
    for (int i = 0; i < CALLS; i++) {
        dwell_track_begin(&track, subject->model);
        bench_keep(&track);
        dwell_track_end(&track, false);
    }
    double ns = (double)(now_ns() - begun_ns) / CALLS;
    wait_until_sent(subject->dwell);
    return ns;
}

static double sample_ns(const struct subject *subject)
{
    struct dwell_sample sample = {
        .size = sizeof sample,
        .has = DWELL_HAS_CPU_PERCENT_DURING | DWELL_HAS_MEMORY_MB_AFTER,
        .model = subject->model,
        .execution_time_ms = 12.5,
        .cpu_percent_during = 80,
        .memory_mb_after = 512,
    };
    uint64_t begun_ns = now_ns();
    for (int i = 0; i < CALLS / 2; i++) { /* a lane holds fewer of them */
        dwell_sample(subject->dwell, &sample);
    }
    double ns = (double)(now_ns() - begun_ns) / (CALLS / 2);
    wait_until_sent(subject->dwell);
    return ns;
}

/* From start to end; some 200 bytes each. `parent` NULL: roots. */
static double span_ns(const struct subject *subject, const struct dwell_context *parent)
{
    struct dwell_span span;
    struct dwell_span_options options = {.size = sizeof options, .parent = parent};
    uint64_t begun_ns = now_ns();
    for (int i = 0; i < SPANS; i++) {
        dwell_span_start(subject->dwell, &span, "POST /v1/infer", &options);
        dwell_span_text(&span, "http.request.method", "POST");
        dwell_span_int(&span, "http.response.status_code", 200);
        dwell_span_double(&span, "batch.fill", 0.75);
        dwell_span_bool(&span, "cache.hit", false);
        dwell_span_end(&span);
    }
    double ns = (double)(now_ns() - begun_ns) / SPANS;
    wait_until_sent(subject->dwell);
    return ns;
}

static double child_ns(const struct subject *subject)
{
    static const struct dwell_context parent = {.trace_id = {1}, .span_id = {1}, .flags = 1};
    return span_ns(subject, &parent);
}

/* A layer starts and stops, some 50 bytes each; within the total of the request, which both look at.
 * `dwell` NULL: without a record. */
static double budget_ns(dwell_t *dwell)
{
    struct dwell_budget budget;
    double elapsed_ms;
    dwell_budget_init(dwell, &budget, NULL);
    dwell_budget_start(&budget, DWELL_LAYER_TOTAL);
    uint64_t begun_ns = now_ns();
    for (int i = 0; i < BUDGETS; i++) {
        dwell_budget_start(&budget, DWELL_LAYER3_POLICY);
        bench_keep(&budget);
        dwell_budget_stop(&budget, DWELL_LAYER3_POLICY, "evaluate", &elapsed_ms);
        bench_keep(elapsed_ms);
    }
    double ns = (double)(now_ns() - begun_ns) / BUDGETS;
    if (dwell != NULL) {
        wait_until_sent(dwell);
    }
    return ns;
}

/* The first inference of a model takes evidence. */
static double evidence_ns(const struct subject *subject)
{
    struct dwell_track track;
    const struct dwell_model *models[CALLS / 20];
    static unsigned names;
    for (int i = 0; i < CALLS / 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "m%u", names++);
        models[i] = dwell_model(subject->dwell, name);
    }
    uint64_t begun_ns = now_ns();
    for (int i = 0; i < CALLS / 20; i++) {
        dwell_track_begin(&track, models[i]);
        dwell_track_end(&track, false);
    }
    double ns = (double)(now_ns() - begun_ns) / (CALLS / 20);
    wait_until_sent(subject->dwell);
    return ns;
}

int main(void)
{
    double clocks[ROUNDS];
    double none[ROUNDS];
    double ratio[ROUNDS];
    double sample[ROUNDS];
    double cpu[ROUNDS];
    double root[ROUNDS];
    double child[ROUNDS];
    double span_ratio[ROUNDS];
    double budget[ROUNDS];
    double budget_ratio[ROUNDS];
    double budget_alone[ROUNDS];
    struct subject subjects[] = {
        {.evidence = DWELL_EVIDENCE_NONE, .directory = SUBJECT_TEMPLATE},
        {.evidence = DWELL_EVIDENCE_CPU, .directory = SUBJECT_TEMPLATE},
        {.evidence = DWELL_EVIDENCE_FULL, .directory = SUBJECT_TEMPLATE},
    };
    for (int i = 0; i < 3; i++) {
        subject_open(&subjects[i]);
    }
    for (int i = 0; i < WARM_UP_ROUNDS; i++) { /* until every page of the lane was written to */
        track_ns(&subjects[0]);
        track_ns(&subjects[1]);
    }
    for (int i = 0; i < ROUNDS; i++) {
        clocks[i] = clocks_ns();
        none[i] = track_ns(&subjects[0]);
        ratio[i] = none[i] / clocks[i];
        sample[i] = sample_ns(&subjects[0]);
        cpu[i] = track_ns(&subjects[1]);
        root[i] = span_ns(&subjects[0], NULL);
        child[i] = child_ns(&subjects[0]);
        span_ratio[i] = root[i] / clocks[i];
        budget[i] = budget_ns(subjects[0].dwell);
        budget_ratio[i] = budget[i] / clocks[i];
        budget_alone[i] = budget_ns(NULL);
    }
    double cpu_each[BENCH_ROUNDS];
    double full_each[BENCH_ROUNDS];
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        cpu_each[i] = evidence_ns(&subjects[1]);
        full_each[i] = evidence_ns(&subjects[2]);
    }
    for (int i = 0; i < 3; i++) {
        subject_close(&subjects[i]);
    }

    struct bench bench;
    bench_begin(&bench, "client", ROUNDS);
    bench_number(&bench, "calls", CALLS);
    bench_number(&bench, "two_clocks_ns", median(clocks, ROUNDS));
    bench_number(&bench, "none_ns", median(none, ROUNDS));
    bench_limit(&bench, "none_ratio", median(ratio, ROUNDS), NONE_RATIO_LIMIT);
    bench_number(&bench, "sample_ns", median(sample, ROUNDS));
    bench_limit(&bench, "span_ns", median(root, ROUNDS), SPAN_NS_LIMIT);
    bench_number(&bench, "span_ratio", median(span_ratio, ROUNDS));
    bench_number(&bench, "child_span_ns", median(child, ROUNDS));
    bench_limit(&bench, "budget_ns", median(budget, ROUNDS), BUDGET_NS_LIMIT);
    bench_number(&bench, "budget_ratio", median(budget_ratio, ROUNDS));
    bench_number(&bench, "budget_alone_ns", median(budget_alone, ROUNDS));
    bench_number(&bench, "cpu_at_1_percent_ns", median(cpu, ROUNDS));
    bench_number(&bench, "cpu_taken_ns", median(cpu_each, BENCH_ROUNDS));
    bench_number(&bench, "full_taken_ns", median(full_each, BENCH_ROUNDS));
    return bench_end(&bench);
}
