/*
 * CPU of the daemon's side for each budget record that comes through the stream socket and the loop, beside
 * that for a sample: real sockets, connection, decoder, layers and their families; a child process
 * writes. Four layers, a tenth of the records over their budget.
 */
#include "mem_fault.h"
#include "stream.h"

enum { LAYERS = 4, RECORDS = 2000000 };

/* As cheap as a sample, but for what other work on the machine adds. A line is 14 bytes longer than that of
 * a sample. Measured on two busy CPUs: 1.04 to 1.24, and 1.21 to 1.37. */
#define BUDGET_TO_SAMPLE_MAX 1.3
#define LINE_TO_LINE_MAX     1.5

static const char *const layers[LAYERS] = {"layer1_validation", "layer2_deliberation",
                                           "layer3_policy", "layer4_audit"};

enum kind { SAMPLES, BUDGETS, SAMPLE_LINES, BUDGET_LINES, KINDS };

static void put_budget(struct buf *body, const char *layer, double ms)
{
    struct buf budget;
    buf_init(&budget, 256);
    rows_bytes(&budget, 1, layer, strlen(layer));
    rows_double(&budget, 2, ms);
    rows_bytes(body, 15, budget.data, budget.len);
    buf_fini(&budget);
}

/* One frame, or as many lines. */
static struct payload make_payload(enum kind kind)
{
    struct payload payload = {.is_frames = kind == SAMPLES || kind == BUDGETS};
    struct buf body;
    buf_init(&body, ROWS_BUFFER_MAX);
    buf_init(&payload.bytes, ROWS_BUFFER_MAX);
    while (body.len < STREAM_BYTES) {
        const char *layer = layers[rows_random() % LAYERS];
        double ms = (double)(rows_random() % 1000000) / 100000;
        if (kind == SAMPLES) {
            rows_sample(&body, false, (unsigned)(rows_random() % LAYERS), ms, 80, 512);
        } else if (kind == BUDGETS) {
            put_budget(&body, layer, ms);
        } else if (kind == SAMPLE_LINES) {
            buf_printf(&body, "{\"model_name\":\"%s\",\"execution_time_ms\":%.6f}\n", layer, ms);
        } else {
            buf_printf(&body, "{\"type\":\"budget\",\"layer\":\"%s\",\"elapsed_ms\":%.6f}\n", layer,
                       ms);
        }
        payload.records++;
    }
    if (payload.is_frames) {
        rows_frame(&payload.bytes, &body);
    } else {
        buf_append(&payload.bytes, body.data, body.len);
    }
    buf_fini(&body);
    return payload;
}

int main(void)
{
    static const char *const names[KINDS] = {"sample", "budget", "sample_line", "budget_line"};
    struct bench bench;
    struct payload payloads[KINDS];
    double taken[KINDS][BENCH_ROUNDS];
    double ratios[2][BENCH_ROUNDS];
    double allocations[KINDS] = {0};
    struct str family;
    bench_core_init();
    if (budgets_declare(&budgets, &family) != 0) {
        return 1;
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        payloads[kind] = make_payload((enum kind)kind);
        (void)stream_ingest(&payloads[kind], 1); /* all models and layers exist from here on */
    }
    bench_begin(&bench, "budgets", BENCH_ROUNDS);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            const struct payload *payload = &payloads[kind];
            unsigned repeats = RECORDS / payload->records;
            size_t before = mem_count_allocations();
            uint64_t accepted = intake.accepted;
            double records = (double)repeats * payload->records;
            taken[kind][round] = (double)stream_ingest(payload, repeats) / records;
            allocations[kind] = (double)(mem_count_allocations() - before) / records;
            if (intake.accepted - accepted != (uint64_t)records) {
                return 1;
            }
        }
        ratios[0][round] = taken[BUDGETS][round] / taken[SAMPLES][round];
        ratios[1][round] = taken[BUDGET_LINES][round] / taken[SAMPLE_LINES][round];
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char key[64];
        snprintf(key, sizeof key, "%s_ns", names[kind]);
        bench_number(&bench, key, median(taken[kind], BENCH_ROUNDS));
        snprintf(key, sizeof key, "%s_allocations", names[kind]);
        bench_limit(&bench, key, allocations[kind], 0.001);
    }
    bench_limit(&bench, "budget_to_sample", median(ratios[0], BENCH_ROUNDS), BUDGET_TO_SAMPLE_MAX);
    bench_limit(&bench, "budget_line_to_sample_line", median(ratios[1], BENCH_ROUNDS),
                LINE_TO_LINE_MAX);
    return bench_end(&bench);
}
