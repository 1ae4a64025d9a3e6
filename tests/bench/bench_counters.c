/*
 * CPU of the daemon's side for each metric that comes through the stream socket and the loop, in three
 * spellings, against the same loop on the same bytes when it only counts them. 100 series each.
 *
 *     counters   protobuf: a counter with four attributes inline, value 1
 *     tagged     DogStatsD: the same as lines of text
 *     timers     StatsD: service.timer.42:12.345|ms
 */
#include "mem_fault.h"
#include "stream.h"

enum { SERIES = 100, RECORDS = 2000000, ATTRIBUTES = 4 };

enum kind { COUNTERS, TAGGED, TIMERS, KINDS };

/* --- what is sent ------------------------------------------------------------------------------ */

struct tags {
    char text[ATTRIBUTES][32];
};

static const char *const keys[ATTRIBUTES] = {"method", "route", "code", "service"};

static void tags_of(unsigned series, struct tags *ret)
{
    static const char *const methods[] = {"GET", "POST"};
    snprintf(ret->text[0], sizeof ret->text[0], "%s", methods[series % 2]);
    snprintf(ret->text[1], sizeof ret->text[1], "/v1/items/%u", series);
    snprintf(ret->text[2], sizeof ret->text[2], "%u", 200 + 100 * (series % 3));
    snprintf(ret->text[3], sizeof ret->text[3], "checkout-%u", series % 7);
}

static void append_counter(struct buf *out, const struct tags *tags)
{
    struct buf metric;
    struct buf attribute;
    buf_init(&metric, ROWS_BUFFER_MAX);
    buf_init(&attribute, ROWS_BUFFER_MAX);
    rows_bytes(&metric, 1, "requests", strlen("requests"));
    rows_varint(&metric, 3 << 3);
    rows_varint(&metric, 1); /* COUNT */
    rows_double(&metric, 4, 1);
    for (unsigned i = 0; i < ATTRIBUTES; i++) {
        buf_clear(&attribute);
        rows_bytes(&attribute, 1, keys[i], strlen(keys[i]));
        rows_bytes(&attribute, 3, tags->text[i], strlen(tags->text[i]));
        rows_bytes(&metric, 5, attribute.data, attribute.len);
    }
    rows_bytes(out, 14, metric.data, metric.len);
    buf_fini(&attribute);
    buf_fini(&metric);
}

static void append_tagged(struct buf *out, const struct tags *tags)
{
    buf_printf(out, "requests.tagged:1|c|#");
    for (unsigned i = 0; i < ATTRIBUTES; i++) {
        buf_printf(out, "%s%s:%s", i > 0 ? "," : "", keys[i], tags->text[i]);
    }
    buf_char(out, '\n');
}

static struct payload make_payload(enum kind kind)
{
    struct payload payload = {.is_frames = kind == COUNTERS};
    struct buf body;
    buf_init(&body, ROWS_BUFFER_MAX);
    buf_init(&payload.bytes, ROWS_BUFFER_MAX);
    while (body.len < STREAM_BYTES) {
        struct tags tags;
        unsigned series = (unsigned)(rows_random() % SERIES);
        tags_of(series, &tags);
        if (kind == COUNTERS) {
            append_counter(&body, &tags);
        } else if (kind == TAGGED) {
            append_tagged(&body, &tags);
        } else {
            buf_printf(&body, "service.timer.%u:%.3f|ms\n", series, 10 * exp(0.5 * rows_normal()));
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

/* --- figures ----------------------------------------------------------------------------------- */

struct figures {
    double counted[BENCH_ROUNDS];
    double taken[BENCH_ROUNDS];
    double ratios[BENCH_ROUNDS];
    double allocations;
};

/* False when not every record was accepted. */
static bool run_round(const struct payload *payload, unsigned round, struct figures *figures)
{
    unsigned repeats = RECORDS / payload->records;
    double records = (double)repeats * payload->records;
    figures->counted[round] = (double)stream_count_bytes(payload, repeats) / records;
    size_t before = mem_count_allocations();
    uint64_t accepted = intake.accepted;
    figures->taken[round] = (double)stream_ingest(payload, repeats) / records;
    figures->ratios[round] = figures->taken[round] / figures->counted[round];
    figures->allocations = (double)(mem_count_allocations() - before) / records;
    return intake.accepted - accepted == (uint64_t)records;
}

static void print(struct bench *bench, const char *name, const struct payload *payload,
                  double limit, struct figures *figures)
{
    char key[64];
    snprintf(key, sizeof key, "%s_bytes", name);
    bench_number(bench, key, (double)payload->bytes.len / payload->records);
    snprintf(key, sizeof key, "%s_count_ns", name);
    bench_number(bench, key, median(figures->counted, BENCH_ROUNDS));
    snprintf(key, sizeof key, "%s_ns", name);
    bench_number(bench, key, median(figures->taken, BENCH_ROUNDS));
    snprintf(key, sizeof key, "%s_ratio", name);
    bench_limit(bench, key, median(figures->ratios, BENCH_ROUNDS), limit);
    snprintf(key, sizeof key, "%s_allocations_per_record", name);
    bench_limit(bench, key, figures->allocations, 0.001);
}

int main(void)
{
    static const char *const names[KINDS] = {"counters", "tagged", "timers"};
    static const double limits[KINDS] = {8, 8, 20}; /* the last in bench_statsd, too */
    struct bench bench;
    struct payload payloads[KINDS];
    static struct figures figures[KINDS];
    bench_core_init();
    for (unsigned kind = 0; kind < KINDS; kind++) {
        payloads[kind] = make_payload((enum kind)kind);
        (void)stream_ingest(&payloads[kind], 1); /* all series exist from here on */
    }
    bench_begin(&bench, "counters", BENCH_ROUNDS);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            if (!run_round(&payloads[kind], round, &figures[kind])) {
                return 1;
            }
        }
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        print(&bench, names[kind], &payloads[kind], limits[kind], &figures[kind]);
    }
    return bench_end(&bench);
}
