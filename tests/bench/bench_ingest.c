/*
 * CPU of the daemon's side for each sample that comes through the stream socket and the loop: real
 * sockets, connection, decoder, registry; a child process writes. Compared with the same loop on the
 * same samples (as rows of 55 bytes) when it only counts the bytes. 100 models.
 */
#include "mem_fault.h"
#include "stream.h"

enum { MODELS = 100, SAMPLES = 2000000 };

/* --- what is sent: one batch of samples, repeated ---------------------------------------------- */

enum kind { ROWS, TABLE, NDJSON, KINDS };

/* One frame, or as many lines. */
static struct payload make_payload(enum kind kind)
{
    struct payload payload = {.is_frames = kind != NDJSON};
    struct buf body;
    char name[ROWS_NAME_BYTES];
    buf_init(&body, ROWS_BUFFER_MAX);
    buf_init(&payload.bytes, ROWS_BUFFER_MAX);
    for (unsigned model = 0; kind == TABLE && model < MODELS; model++) {
        rows_bytes(&body, 4, name, rows_name(name, model));
    }
    while (body.len < STREAM_BYTES) {
        unsigned model = (unsigned)(rows_random() % MODELS);
        double ms = 1 + (double)(rows_random() % 1000000) / 20000;
        double cpu = (double)(rows_random() % 1000) / 10;
        double mb = 512 + (double)(rows_random() % 1024) / 4;
        if (kind == NDJSON) {
            (void)rows_name(name, model);
            buf_printf(&body,
                       "{\"model_name\":\"%s\",\"execution_time_ms\":%.6f,"
                       "\"cpu_percent_during\":%.1f,\"memory_mb_after\":%.2f}\n",
                       name, ms, cpu, mb);
        } else {
            rows_sample(&body, kind == TABLE, model, ms, cpu, mb);
        }
        payload.records++;
    }
    if (kind == NDJSON) {
        buf_append(&payload.bytes, body.data, body.len);
    } else {
        rows_frame(&payload.bytes, &body);
    }
    buf_fini(&body);
    return payload;
}

/* --- figures ----------------------------------------------------------------------------------- */

int main(void)
{
    static const char *const names[KINDS] = {"rows", "table", "ndjson"};
    static const double limits[KINDS] = {4, 3, 15};
    struct bench bench;
    struct payload payloads[KINDS];
    double counted[BENCH_ROUNDS];
    double taken[KINDS][BENCH_ROUNDS];
    double ratios[KINDS][BENCH_ROUNDS];
    double allocations[KINDS];
    bench_core_init();
    for (unsigned kind = 0; kind < KINDS; kind++) {
        payloads[kind] = make_payload((enum kind)kind);
        (void)stream_ingest(&payloads[kind], 1); /* all models exist from here on */
    }
    bench_begin(&bench, "ingest", BENCH_ROUNDS);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        unsigned repeats = SAMPLES / payloads[ROWS].records;
        counted[round] = (double)stream_count_bytes(&payloads[ROWS], repeats) /
                         ((double)repeats * payloads[ROWS].records);
        for (unsigned kind = 0; kind < KINDS; kind++) {
            const struct payload *payload = &payloads[kind];
            repeats = SAMPLES / payload->records;
            size_t before = mem_count_allocations();
            uint64_t accepted = intake.accepted;
            double samples = (double)repeats * payload->records;
            taken[kind][round] = (double)stream_ingest(payload, repeats) / samples;
            ratios[kind][round] = taken[kind][round] / counted[round];
            allocations[kind] = (double)(mem_count_allocations() - before) / samples;
            if (intake.accepted - accepted != (uint64_t)samples) {
                return 1;
            }
        }
    }
    bench_number(&bench, "bytes_per_row",
                 (double)payloads[ROWS].bytes.len / payloads[ROWS].records);
    bench_number(&bench, "count_ns", median(counted, BENCH_ROUNDS));
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char key[64];
        snprintf(key, sizeof key, "%s_ns", names[kind]);
        bench_number(&bench, key, median(taken[kind], BENCH_ROUNDS));
        snprintf(key, sizeof key, "%s_ratio", names[kind]);
        bench_limit(&bench, key, median(ratios[kind], BENCH_ROUNDS), limits[kind]);
        snprintf(key, sizeof key, "%s_allocations_per_sample", names[kind]);
        bench_limit(&bench, key, allocations[kind], 0.001);
    }
    return bench_end(&bench);
}
