/*
 * Prometheus text of 1,000 models of which 1 % changed since the last scrape, against copying the
 * same bytes; and when all changed, for information.
 */
#include "rows.h"
#include "scrape.h"

enum { MODELS = 1000, SAMPLES = 1000, SCRAPES = 20 };

static void record(unsigned model)
{
    char name[ROWS_NAME_BYTES];
    struct sample sample = {.has = 1u << SAMPLE_CPU_DURING | 1u << SAMPLE_MEMORY_AFTER};
    sample.model_name = (struct str){name, rows_name(name, model)};
    sample.execution_time_ms = 10 * exp(0.5 * rows_normal());
    sample.cpu_percent_during = 100 * rows_uniform();
    sample.memory_mb_after = 512;
    if (registry_record(&registry, &sample) != 0) {
        abort();
    }
}

/* Nanoseconds of a scrape after `changes` models got one more sample. */
static double scrape_after(unsigned changes, struct exposition *exposition, struct buf *out)
{
    for (unsigned i = 0; i < changes; i++) {
        record((unsigned)(rows_random() % MODELS));
    }
    return scrape(exposition, EXPOSITION_TEXT, out);
}

int main(void)
{
    struct bench bench;
    struct buf out;
    double ratios[BENCH_ROUNDS];
    double few[BENCH_ROUNDS];
    double all[BENCH_ROUNDS];
    struct exposition_options how = {.name_space = STR_LITERAL("acgs2"),
                                     .dwelld_version = STR_LITERAL("1")};
    bench_core_init();
    registry_set_time(&registry, 1, 1);
    for (unsigned i = 0; i < MODELS * SAMPLES; i++) {
        record(i % MODELS);
    }
    struct exposition *exposition = exposition_new(&how);
    buf_init(&out, 1 << 28);
    (void)scrape_after(MODELS, exposition, &out);
    char *copied = malloc(out.len * 2);
    (void)scrape_copy(&out, copied);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        double rendered = 0;
        double plain = 0;
        for (unsigned i = 0; i < SCRAPES; i++) {
            rendered += scrape_after(MODELS / 100, exposition, &out);
            plain += scrape_copy(&out, copied);
        }
        few[round] = rendered / SCRAPES / 1e3;
        ratios[round] = rendered / plain;
        all[round] = scrape_after(10 * MODELS, exposition, &out) / 1e3;
    }
    bench_begin(&bench, "exposition", BENCH_ROUNDS);
    bench_number(&bench, "bytes", (double)out.len);
    bench_number(&bench, "one_percent_changed_us", median(few, BENCH_ROUNDS));
    bench_number(&bench, "all_changed_us", median(all, BENCH_ROUNDS));
    bench_limit(&bench, "ratio_to_memcpy", median(ratios, BENCH_ROUNDS), 4);
    return bench_end(&bench);
}
