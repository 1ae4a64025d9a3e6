/*
 * A small neural network in C whose inferences are tracked by libdwell.
 *
 *     matrix SECONDS
 *
 * Three dense layers with random weights, applied to a batch of inputs: matrix products and nothing
 * else. The size of the batch is chosen at the start, so that an inference takes 1.5 to 3 ms
 * on any machine. Prints one line about what it did. Exit status 1: the daemon did not take it all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dwell.h"

enum {
    WIDTH = 128,
    LAYERS = 3,
    ROWS_MAX = 4096,
    WARM_UP = 10,
};

/* More than the 1 ms below which every model counts as quick, and less than the time after which a
 * busy machine gives the CPU to somebody else. */
static const double wanted_ms = 1.5;

static float weights[LAYERS][WIDTH][WIDTH];
static float values[2][ROWS_MAX][WIDTH];

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* A number between -1 and 1; the same ones in every run. */
static float next_weight(void)
{
    static unsigned state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 23) - 1;
}

static void fill(float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        numbers[i] = next_weight();
    }
}

/* out = max(0, in × layer), row by row. */
static void apply(float layer[WIDTH][WIDTH], float (*in)[WIDTH], float (*out)[WIDTH], int rows)
{
    for (int row = 0; row < rows; row++) {
        memset(out[row], 0, sizeof out[row]);
        for (int k = 0; k < WIDTH; k++) {
            for (int column = 0; column < WIDTH; column++) {
                out[row][column] += in[row][k] * layer[k][column];
            }
        }
        for (int column = 0; column < WIDTH; column++) {
            out[row][column] = out[row][column] > 0 ? out[row][column] : 0;
        }
    }
}

/* The class of the batch's last input. */
static int infer(int rows)
{
    fill(values[0][0], (size_t)rows * WIDTH);
    for (int layer = 0; layer < LAYERS; layer++) {
        apply(weights[layer], values[layer % 2], values[(layer + 1) % 2], rows);
    }
    const float *last = values[LAYERS % 2][rows - 1];
    int best = 0;
    for (int i = 1; i < WIDTH; i++) {
        best = last[i] > last[best] ? i : best;
    }
    return best;
}

/* Doubles the batch until an inference takes long enough. */
static int choose_rows(void)
{
    for (int rows = 1; rows < ROWS_MAX; rows *= 2) {
        double best_ms = 1e9;
        for (int i = 0; i < WARM_UP; i++) {
            double begin_ms = now_ms();
            (void)infer(rows);
            double took_ms = now_ms() - begin_ms;
            best_ms = took_ms < best_ms ? took_ms : best_ms;
        }
        if (best_ms >= wanted_ms) {
            return rows;
        }
    }
    return ROWS_MAX;
}

int main(int argc, char **argv)
{
    double seconds = argc == 2 ? strtod(argv[1], NULL) : 0;
    if (seconds <= 0) {
        (void)fprintf(stderr, "usage: matrix SECONDS\n");
        return 64;
    }
    fill(weights[0][0], (size_t)LAYERS * WIDTH * WIDTH);
    int rows = choose_rows();

    struct dwell_options options = {
        .size = sizeof options, .service_name = "demo-matrix", .evidence = DWELL_EVIDENCE_FULL};
    dwell_t *dwell = dwell_open(&options);
    const struct dwell_model *model = dwell_model(dwell, "matrix-product");
    struct dwell_sample more = {.size = sizeof more,
                                .has = DWELL_HAS_BATCH_SIZE | DWELL_HAS_FLOPS,
                                .batch_size = rows,
                                .flops = 2.0 * WIDTH * WIDTH * LAYERS * rows};
    unsigned classes = 0;
    double end_ms = now_ms() + seconds * 1e3;
    while (now_ms() < end_ms) {
        struct dwell_track track;
        dwell_track_begin(&track, model);
        classes |= 1u << (infer(rows) % 32);
        dwell_track_end_with(&track, &more);
    }
    int result = dwell_flush(dwell, 5000);
    struct dwell_stats stats = {.size = sizeof stats};
    dwell_stats(dwell, &stats);
    int closed = dwell_close(dwell);

    (void)printf("%llu inferences of %d inputs, %llu measured, %llu dropped, classes %x\n",
                 (unsigned long long)stats.recorded, rows, (unsigned long long)stats.evidence,
                 (unsigned long long)stats.dropped, classes);
    if (result != DWELL_OK || closed != DWELL_OK || stats.dropped > 0 || stats.recorded == 0) {
        (void)fprintf(stderr, "matrix: the daemon did not take every sample (flush %d, close %d)\n",
                      result, closed);
        return 1;
    }
    return 0;
}
