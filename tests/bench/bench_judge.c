/*
 * What judging evidence costs the loop: 1,000 models, of which each has a round of evidence every five
 * seconds, with a scrape a second that makes the first write to each model a copy. Time is simulated; the
 * figures are CPU time of the ticks, in ms for each second that passed.
 */
#include "bench.h"
#include "bench_core.h"
#include "core/snapshot.h"

enum {
    MODELS = 1000,
    SAMPLES = 20, /* of each model in a round: the fewest that make one */
    ROUND_MS = 5000,
    TICK_MS = 250,
    SCRAPE_MS = 1000,
    ROUNDS_A_RUN = 4,
};

static struct judge judge;
static uint64_t mono_ns = NS_PER_SECOND;
static struct snapshot *snapshot;
static uint64_t ticking_ns, sampling_ns, worst_ns;

static struct sample sample_of(char name[32], unsigned model)
{
    snprintf(name, 32, "resnet50-classifier-%03u", model);
    struct sample sample = {.model_name = str_of(name),
                            .has = 1u << SAMPLE_USER | 1u << SAMPLE_SYSTEM | 1u << SAMPLE_RUNQUEUE |
                                   1u << SAMPLE_SWITCHES | 1u << SAMPLE_DISK_BYTES,
                            .execution_time_ms = 10,
                            .user_ms = 1 + model % 8,
                            .system_ms = 0.5,
                            .runqueue_ms = 0.25,
                            .voluntary_switches = 2,
                            .disk_bytes = 4096};
    return sample;
}

/* Some samples of each model; only what the judge does with them is timed. */
static void say(unsigned samples)
{
    static struct sample said[MODELS];
    static char names[MODELS][32];
    static uint32_t numbers[MODELS];
    for (unsigned model = 0; model < MODELS; model++) {
        said[model] = sample_of(names[model], model);
        for (unsigned i = 0; i < samples; i++) {
            if (registry_record_evidence(&registry, &said[model], &numbers[model]) != 0) {
                abort();
            }
        }
    }
    uint64_t before = cpu_ns();
    for (unsigned i = 0; i < samples; i++) {
        for (unsigned model = 0; model < MODELS; model++) {
            judge_sample(&judge, numbers[model], 0, &said[model]);
        }
    }
    sampling_ns += cpu_ns() - before;
}

static void scrape(void)
{
    static const struct thresholds thresholds = {.latency_gpu_threshold_ms = 1};
    if (snapshot != NULL) {
        snapshot_release(snapshot, &registry);
        while (limbo_sweep(&registry.limbo, SIZE_MAX)) {
        }
    }
    if (snapshot_take(&intake, &thresholds, mono_ns, mono_ns, &snapshot) != 0) {
        abort();
    }
}

/* One round of all models: samples come a few at a time between ticks. */
static void run_round(void)
{
    for (unsigned ms = 0; ms < ROUND_MS; ms += TICK_MS) {
        say(SAMPLES * TICK_MS / ROUND_MS);
        if (ms % SCRAPE_MS == 0) {
            scrape();
        }
        mono_ns += TICK_MS * NS_PER_MS;
        registry_set_time(&registry, mono_ns, mono_ns);
        uint64_t before = cpu_ns();
        judge_tick(&judge, mono_ns);
        uint64_t took = cpu_ns() - before;
        ticking_ns += took;
        worst_ns = took > worst_ns ? took : worst_ns;
    }
}

int main(void)
{
    struct bench bench;
    double tick[BENCH_ROUNDS];
    double sample[BENCH_ROUNDS];
    double worst[BENCH_ROUNDS];
    bench_core_init();
    judge_init(&judge, &registry, NULL, &machine_unknown, ROUND_MS * NS_PER_MS);
    intake.judge = &judge;
    registry_set_time(&registry, mono_ns, mono_ns);
    run_round(); /* makes the models */
    run_round();
    uint64_t judged = 0;
    for (int run = 0; run < BENCH_ROUNDS; run++) {
        uint64_t before = 0;
        for (uint32_t i = 0; i < registry.count; i++) {
            before += registry.models[i]->opinion->opinion.rounds;
        }
        ticking_ns = sampling_ns = worst_ns = 0;
        for (int round = 0; round < ROUNDS_A_RUN; round++) {
            run_round();
        }
        for (uint32_t i = 0; i < registry.count; i++) {
            judged += registry.models[i]->opinion->opinion.rounds;
        }
        judged -= before;
        double seconds = ROUNDS_A_RUN * ROUND_MS / 1e3;
        tick[run] = (double)ticking_ns / 1e6 / seconds;
        sample[run] = (double)sampling_ns / (ROUNDS_A_RUN * MODELS * SAMPLES);
        worst[run] = (double)worst_ns / 1e6;
    }
    bench_begin(&bench, "judge", BENCH_ROUNDS);
    bench_number(&bench, "models", MODELS);
    /* Of the rounds that there can be; fewer would be quick for want of work. */
    bench_least(&bench, "judged_ratio",
                (double)judged / (double)(BENCH_ROUNDS * ROUNDS_A_RUN * MODELS), 0.75);
    bench_limit(&bench, "tick_ms_a_second", median(tick, BENCH_ROUNDS), 2);
    bench_limit(&bench, "worst_tick_ms", median(worst, BENCH_ROUNDS), 2);
    bench_number(&bench, "sample_ns", median(sample, BENCH_ROUNDS));
    bench_number(&bench, "bytes_a_model",
                 (double)judge_bytes(&judge) / MODELS + sizeof(struct model_opinion));
    return bench_end(&bench);
}
