/*
 * Workloads that compute: their data lie in the first two levels of the cache, or are moved at a small
 * part of the bandwidth of memory. Some of the latter have much memory, to look as if they needed it.
 */
#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "workload.h"

enum {
    SMALL = 64,  /* of a matrix in the first level */
    LARGE = 256, /* of one in the second: 3 × 256 kB would be too much, so it goes by blocks */
    CHANNELS = 32,
    IMAGE = 32,
    POINTS = 4096, /* of a Fourier transform */
    KEYS = 4096,
    WORDS = 64,
    SIEVE = 16384,
    BODIES = 64,
    NEIGHBOURS = 2048,
    DIMENSIONS = 32,
};

void compute_spin(size_t units)
{
    uint64_t value = workload_sink | 1;
    for (size_t i = 0; i < units * 256; i++) {
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
    }
    workload_sink = value;
}

/* ---- numbers ---- */

static float matrices[3][LARGE * LARGE];

static void prepare_matrices(void)
{
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < LARGE * LARGE; k++) {
            matrices[i][k] = (float)(random_next() >> 40) / (float)(1 << 24) - 0.5f;
        }
    }
}

/* c = a × b, of size × size, the innermost loop along a row. */
static void multiply(size_t size)
{
    const float *a = matrices[0], *b = matrices[1];
    float *c = matrices[2];
    memset(c, 0, size * size * sizeof *c);
    for (size_t row = 0; row < size; row++) {
        for (size_t k = 0; k < size; k++) {
            for (size_t column = 0; column < size; column++) {
                c[row * size + column] += a[row * size + k] * b[k * size + column];
            }
        }
    }
    workload_sink += (uint64_t)(c[0] * 1e6f);
}

static void multiply_small(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        multiply(SMALL);
    }
}

static void multiply_large(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        multiply(LARGE);
    }
}

static void convolve(size_t units)
{
    static float image[CHANNELS][IMAGE + 2][IMAGE + 2], kernel[CHANNELS][3][3];
    float out[IMAGE];
    for (size_t i = 0; i < units; i++) {
        for (size_t y = 0; y < IMAGE; y++) {
            memset(out, 0, sizeof out);
            for (size_t channel = 0; channel < CHANNELS; channel++) {
                for (size_t k = 0; k < 9; k++) {
                    for (size_t x = 0; x < IMAGE; x++) {
                        out[x] +=
                            image[channel][y + k / 3][x + k % 3] * kernel[channel][k / 3][k % 3];
                    }
                }
            }
            kernel[y % CHANNELS][0][0] = out[y] * 0.5f + 0.25f;
        }
    }
}

static void softmax(size_t units)
{
    static float values[1024];
    for (size_t i = 0; i < units; i++) {
        float sum = 0;
        for (size_t k = 0; k < 1024; k++) {
            values[k] = expf(values[k] * 0.5f - (float)(k % 7));
            sum += values[k];
        }
        for (size_t k = 0; k < 1024; k++) {
            values[k] /= sum;
        }
    }
}

static void mandelbrot(size_t units)
{
    uint64_t steps = 0;
    for (size_t i = 0; i < units; i++) {
        double x = 0, y = 0, cx = -0.1 + 1e-9 * (double)(i % 1000), cy = 0.65;
        for (int k = 0; k < 1000 && x * x + y * y < 4; k++) {
            double next = x * x - y * y + cx;
            y = 2 * x * y + cy;
            x = next;
            steps++;
        }
    }
    workload_sink = steps;
}

/* Cooley and Tukey's, in place; of numbers in bit-reversed order, which is as good as any here. */
static void fourier(size_t units)
{
    static double real[POINTS], imaginary[POINTS];
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < POINTS; k++) {
            real[k] = (double)(k * 7 % 13);
            imaginary[k] = 0;
        }
        for (size_t half = 1; half < POINTS; half *= 2) {
            for (size_t k = 0; k < half; k++) {
                double angle = -3.14159265358979 * (double)k / (double)half;
                double cosine = cos(angle), sine = sin(angle);
                for (size_t at = k; at < POINTS; at += 2 * half) {
                    double x = real[at + half] * cosine - imaginary[at + half] * sine;
                    double y = real[at + half] * sine + imaginary[at + half] * cosine;
                    real[at + half] = real[at] - x;
                    imaginary[at + half] = imaginary[at] - y;
                    real[at] += x;
                    imaginary[at] += y;
                }
            }
        }
        workload_sink += (uint64_t)fabs(real[1]);
    }
}

static void bodies(size_t units)
{
    static double place[BODIES][3], speed[BODIES][3];
    for (size_t i = 0; i < units; i++) {
        for (size_t a = 0; a < BODIES; a++) {
            for (size_t b = 0; b < BODIES; b++) {
                double dx = place[b][0] - place[a][0] + (double)a, dy = place[b][1] - place[a][1];
                double inverse = 1 / sqrt(dx * dx + dy * dy + 1);
                speed[a][0] += dx * inverse * 1e-6;
                speed[a][1] += dy * inverse * 1e-6;
            }
        }
        for (size_t a = 0; a < BODIES; a++) {
            place[a][0] = place[a][0] * 0.5 + speed[a][0] * 1e-3 + 1;
            place[a][1] = place[a][1] * 0.5 + speed[a][1] * 1e-3 + 1;
            speed[a][0] *= 0.5;
            speed[a][1] *= 0.5;
        }
    }
    workload_sink = (uint64_t)(fabs(place[0][0]) * 1e6);
}

static void nearest(size_t units)
{
    static float points[NEIGHBOURS][DIMENSIONS];
    for (size_t i = 0; i < units; i++) {
        size_t best = 0;
        float best_distance = 1e30f;
        for (size_t k = 0; k < NEIGHBOURS; k++) {
            float distance = 0;
            for (size_t d = 0; d < DIMENSIONS; d++) {
                float delta = points[k][d] - (float)((i + d) % 17);
                distance += delta * delta;
            }
            if (distance < best_distance) {
                best_distance = distance;
                best = k;
            }
        }
        points[(best + i) % NEIGHBOURS][i % DIMENSIONS] += 1;
    }
}

/* ---- bits and bytes ---- */

static void fnv(size_t units)
{
    static uint8_t bytes[8192];
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < sizeof bytes; k++) {
            hash = (hash ^ bytes[k]) * 1099511628211u;
        }
        bytes[i % sizeof bytes] = (uint8_t)hash;
    }
    workload_sink = hash;
}

static uint32_t turn(uint32_t value, unsigned bits)
{
    return value << bits | value >> (32 - bits);
}

/* ChaCha, as in section 2.1 of RFC 8439, over a block in registers. */
static void chacha(size_t units)
{
    uint32_t state[16];
    for (uint32_t k = 0; k < 16; k++) {
        state[k] = k + (uint32_t)workload_sink;
    }
    for (size_t i = 0; i < units * 160; i++) {
        unsigned column = (unsigned)(i % 4), shift = (unsigned)(i / 4 % 2);
        uint32_t *a = &state[column], *b = &state[4 + (column + shift) % 4];
        uint32_t *c = &state[8 + (column + 2 * shift) % 4],
                 *d = &state[12 + (column + 3 * shift) % 4];
        *a += *b, *d = turn(*d ^ *a, 16);
        *c += *d, *b = turn(*b ^ *c, 12);
        *a += *b, *d = turn(*d ^ *a, 8);
        *c += *d, *b = turn(*b ^ *c, 7);
    }
    workload_sink = state[0];
}

static int by_number(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

static void sort(size_t units)
{
    static uint32_t keys[KEYS];
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < KEYS; k++) {
            keys[k] = (uint32_t)random_next();
        }
        qsort(keys, KEYS, sizeof *keys, by_number);
        workload_sink += keys[0];
    }
}

static void sieve(size_t units)
{
    static uint8_t composite[SIEVE];
    for (size_t i = 0; i < units; i++) {
        memset(composite, 0, sizeof composite);
        for (size_t k = 2; k * k < SIEVE; k++) {
            for (size_t multiple = k * k; composite[k] == 0 && multiple < SIEVE; multiple += k) {
                composite[multiple] = 1;
            }
        }
        workload_sink += composite[i % SIEVE];
    }
}

static void edit_distance(size_t units)
{
    char left[WORDS], right[WORDS];
    for (size_t i = 0; i < units; i++) {
        uint32_t row[WORDS + 1];
        for (size_t k = 0; k < WORDS; k++) {
            left[k] = (char)(random_next() % 4);
            right[k] = (char)(random_next() % 4);
        }
        for (uint32_t k = 0; k <= WORDS; k++) {
            row[k] = k;
        }
        for (uint32_t a = 0; a < WORDS; a++) {
            uint32_t diagonal = row[0];
            row[0] = a + 1;
            for (size_t b = 0; b < WORDS; b++) {
                uint32_t changed = diagonal + (left[a] != right[b]);
                uint32_t skipped = 1 + (row[b] < row[b + 1] ? row[b] : row[b + 1]);
                diagonal = row[b + 1];
                row[b + 1] = changed < skipped ? changed : skipped;
            }
        }
        workload_sink += row[WORDS];
    }
}

static regex_t pattern;

static void prepare_pattern(void)
{
    if (regcomp(&pattern, "([a-z]+)@([a-z]+)[.](com|org)", REG_EXTENDED) != 0) {
        workload_skip("no regular expressions");
    }
}

static void match(size_t units)
{
    char text[512];
    for (size_t i = 0; i < units; i++) {
        for (size_t k = 0; k < sizeof text - 1; k++) {
            text[k] = (char)('a' + random_next() % 26);
        }
        memcpy(text + 400, "x@example.org", 13);
        text[sizeof text - 1] = 0;
        workload_sink += regexec(&pattern, text, 0, NULL, 0) == 0;
    }
}

/* ---- with much memory, of which little is needed ---- */

/* 20 µs for each 4 kB. */
static void page_by_page(size_t units)
{
    static size_t at;
    for (size_t i = 0; i < units; i++) {
        uint64_t *page = (uint64_t *)(void *)(room + at);
        at = at + 4096 < room_bytes ? at + 4096 : 0;
        page[0] += workload_sink;
        compute_spin(32);
    }
}

/* The same for a row of 256 bytes at random. */
static void row_by_row(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        uint64_t *row =
            (uint64_t *)(void *)(room + random_below(random_next(), room_bytes / 256) * 256);
        for (size_t k = 0; k < 32; k++) {
            row[k] += workload_sink;
        }
        compute_spin(32);
    }
}

/* A sine of each number that comes from memory. */
static void sine_stream(size_t units)
{
    static size_t at;
    double sum = 0;
    for (size_t i = 0; i < units * 64; i++) {
        const double *number = (const double *)(const void *)(room + at);
        at = at + sizeof(double) < room_bytes ? at + sizeof(double) : 0;
        sum += sin(*number + sum);
    }
    workload_sink = (uint64_t)(sum * 1e3);
}

#define COMPUTE(name_, run_, ms_, argument_)                                                       \
    {                                                                                              \
        .name = name_, .truth = "compute_bound", .argument = argument_, .parts = {{run_, ms_}},    \
    }

const struct workload compute_workloads[] = {
    COMPUTE("spin", compute_spin, 5, "shifts in registers"),
    COMPUTE("mandelbrot", mandelbrot, 6, "additions and multiplications in registers"),
    COMPUTE("chacha", chacha, 3, "a cipher over a block in registers"),
    COMPUTE("fnv", fnv, 2, "a multiplication for each byte of 8 kB"),
    COMPUTE("convolution", convolve, 4, "32 channels of 32 × 32: all of it is in the second level"),
    COMPUTE("softmax", softmax, 2, "exponentials of 4 kB"),
    COMPUTE("fourier", fourier, 5, "4096 points: all of them are in the second level"),
    COMPUTE("bodies", bodies, 4, "a root for each pair of 64 bodies"),
    COMPUTE("nearest", nearest, 6, "distances to 2048 points, all in the second level"),
    COMPUTE("sort", sort, 5, "4096 keys in the first level, compared and exchanged"),
    COMPUTE("sieve", sieve, 3, "16 kB in the first level"),
    COMPUTE("edit-distance", edit_distance, 4, "a table of 64 × 64 of which a row is kept"),
    COMPUTE("long-compute", compute_spin, 45, "shifts in registers, for long"),
    COMPUTE("short-compute", compute_spin, 1.2, "shifts in registers, for a short time"),
    {.name = "matrix-l1",
     .truth = "compute_bound",
     .argument = "three matrices of 64 × 64: 48 kB",
     .prepare = prepare_matrices,
     .parts = {{multiply_small, 3}}},
    {.name = "matrix-l2",
     .truth = "compute_bound",
     .argument = "256 operations for each number, rows in the first level, 768 kB in all",
     .prepare = prepare_matrices,
     .parts = {{multiply_large, 20}}},
    {.name = "regex",
     .truth = "compute_bound",
     .argument = "half a kB of text against an automaton",
     .prepare = prepare_pattern,
     .parts = {{match, 4}}},
    {.name = "matrix-resident",
     .truth = "compute_bound",
     .argument = "as matrix-l1, in a process with much memory that it does not use",
     .size = SIZE_DRAM,
     .prepare = prepare_matrices,
     .parts = {{multiply_small, 4}}},
    {.name = "page-by-page",
     .truth = "compute_bound",
     .argument = "a line of a page every 20 µs, of which a miss takes 0.1",
     .size = SIZE_DRAM,
     .parts = {{page_by_page, 5}}},
    {.name = "row-by-row",
     .truth = "compute_bound",
     .argument = "a row of 256 bytes at random every 20 µs, of which the misses take 0.2",
     .size = SIZE_DRAM,
     .parts = {{row_by_row, 5}}},
    {.name = "row-by-row-huge",
     .truth = "compute_bound",
     .argument = "as row-by-row; in huge pages, where a row marks 2 MB as touched",
     .size = SIZE_DRAM,
     .huge = true,
     .parts = {{row_by_row, 5}}},
    {.name = "sine-stream",
     .truth = "compute_bound",
     .argument = "8 bytes for each sine, each after the one before: a hundredth of the bandwidth",
     .size = SIZE_DRAM,
     .parts = {{sine_stream, 5}}},
    {.name = NULL},
};
