/*
 * Recording into one histogram, against a loop that reads the same doubles and adds their bits to a
 * 64-bit integer; and how far quantiles lie from exact ones on sets of a million.
 */
#include "bench.h"
#include "core/hist.h"
#include "core/profile.h"
#include "rows.h"

enum { VALUES = 1000000 };

static double lognormal(void)
{
    return 0.01 * exp(0.5 * rows_normal());
}

static double pareto(void)
{
    return 0.001 * pow(rows_uniform(), -1 / 1.5);
}

static double bimodal(void)
{
    return rows_uniform() < 0.7 ? 0.002 * exp(0.1 * rows_normal()) : 0.2 * exp(0.2 * rows_normal());
}

static double constant(void)
{
    return 0.0123;
}

static const struct set {
    const char *name;
    double (*draw)(void);
} sets[] = {
    {"lognormal", lognormal},
    {"pareto", pareto},
    {"bimodal", bimodal},
    {"constant", constant},
};

__attribute__((noinline, optimize("no-tree-vectorize"))) static uint64_t add_bits(
    const double *values, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        sum += bits;
        __asm__("" : "+r"(sum)); /* one addition after the other, as a counter would be */
    }
    return sum;
}

__attribute__((noinline)) static void record(struct hist *hist, struct limbo *limbo,
                                             const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (hist_add(hist, limbo, hist_position(values[i])) != 0) {
            abort();
        }
    }
}

static double worst_error(const double *sorted, const struct hist *hist,
                          struct profile_scratch *scratch)
{
    double found[QUANTILE_COUNT];
    double worst = 0;
    memset(scratch, 0, sizeof *scratch);
    hist_sum_into(hist, scratch->counts);
    profile_quantiles(scratch->counts, 0, HIST_BUCKETS, hist->zero, VALUES, found);
    for (unsigned q = 0; q < QUANTILE_COUNT; q++) {
        size_t rank = ((size_t)VALUES * quantile_per_mille[q] + 999) / 1000;
        double exact = sorted[rank - 1];
        double error = fabs(found[q] - exact) / exact;
        worst = error > worst ? error : worst;
    }
    return worst;
}

int main(void)
{
    struct bench bench;
    double *values = malloc(VALUES * sizeof *values);
    struct profile_scratch *scratch = malloc(sizeof *scratch);
    double plain[BENCH_ROUNDS];
    double recorded[BENCH_ROUNDS];
    double ratios[BENCH_ROUNDS];
    hist_init_tables();
    bench_begin(&bench, "hist", BENCH_ROUNDS);
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        struct limbo limbo;
        struct hist hist = {0};
        char key[64];
        limbo_init(&limbo);
        for (size_t i = 0; i < VALUES; i++) {
            values[i] = sets[s].draw();
        }
        record(&hist, &limbo, values, VALUES);
        for (size_t round = 0; s == 0 && round < BENCH_ROUNDS; round++) {
            uint64_t began = now_ns();
            bench_keep(add_bits(values, VALUES));
            uint64_t middle = now_ns();
            record(&hist, &limbo, values, VALUES);
            uint64_t ended = now_ns();
            plain[round] = (double)(middle - began) / VALUES;
            recorded[round] = (double)(ended - middle) / VALUES;
            ratios[round] = recorded[round] / plain[round];
        }
        hist_retire(&hist, &limbo);
        hist = (struct hist){0};
        record(&hist, &limbo, values, VALUES);
        qsort(values, VALUES, sizeof *values, bench_compare);
        snprintf(key, sizeof key, "%s_worst_error", sets[s].name);
        bench_limit(&bench, key, worst_error(values, &hist, scratch), 0.0028);
        hist_retire(&hist, &limbo);
        limbo_fini(&limbo);
    }
    bench_number(&bench, "add_bits_ns", median(plain, BENCH_ROUNDS));
    bench_number(&bench, "record_ns", median(recorded, BENCH_ROUNDS));
    bench_limit(&bench, "record_ratio", median(ratios, BENCH_ROUNDS), 2.5);
    free(values);
    free(scratch);
    return bench_end(&bench);
}
