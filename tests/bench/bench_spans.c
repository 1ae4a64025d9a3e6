/*
 * CPU of the daemon's side for each span of six attributes that comes through the stream socket and the
 * loop, and is sent on to nobody: decoded, put together, observed. Against the same loop on the same
 * bytes when it only counts them.
 *
 *     whole    a record each
 *     halves   a START with four attributes, and an END with two more; 100 spans are open at a time
 *
 * The figures of both are for a span, so that of halves is for two records.
 */
#include "base/message.h"
#include "mem_fault.h"
#include "stream.h"

enum { SPANS = 1000000, NAMES = 20, OPEN = 100, ATTRIBUTES = 6, ATTRIBUTES_OF_START = 4 };

/* Fields of dwell.proto. */
enum { BATCH_SPAN = 13 };
enum {
    TRACE_ID = 1,
    SPAN_ID,
    NAME = 5,
    KIND,
    START_TIME,
    END_TIME,
    KEY_VALUE,
    STATUS = 15,
    PART = 100
};

enum kind { WHOLE, HALVES, KINDS };

#define BEGAN_NS UINT64_C(1700000000000000000)

static const struct {
    const char *key, *value; /* NULL: a number */
} attributes[ATTRIBUTES] = {
    {"http.request.method", "GET"}, {"url.path", "/v1/items/42"},
    {"server.address", "10.1.2.3"}, {"server.port", NULL},
    {"http.route", "/v1/items"},    {"http.response.status_code", NULL},
};

/* --- what is sent ------------------------------------------------------------------------------ */

struct ids {
    uint64_t trace[2], span;
    unsigned name;
};

static void append_attribute(struct buf *out, unsigned number)
{
    size_t attribute = message_begin(out, KEY_VALUE);
    message_str(out, 1, str_of(attributes[number].key));
    size_t value = message_begin(out, 2);
    if (attributes[number].value != NULL) {
        message_str(out, 1, str_of(attributes[number].value));
    } else {
        message_i64(out, 3, 200 + (int64_t)(rows_random() % 300));
    }
    message_end(out, value);
    message_end(out, attribute);
}

static void append_span(struct buf *out, const struct ids *ids, enum span_part part)
{
    char name[32];
    int len = snprintf(name, sizeof name, "GET /v1/items/%u", ids->name);
    size_t span = message_begin(out, BATCH_SPAN);
    message_str(out, TRACE_ID, (struct str){(const char *)ids->trace, sizeof ids->trace});
    message_str(out, SPAN_ID, (struct str){(const char *)&ids->span, sizeof ids->span});
    message_str(out, NAME, (struct str){name, (size_t)len});
    if (part != SPAN_END) {
        message_u64(out, KIND, 2);
        message_fixed64(out, START_TIME, BEGAN_NS);
    }
    if (part != SPAN_START) {
        message_fixed64(out, END_TIME, BEGAN_NS + rows_random() % 100000000);
    }
    unsigned first = part == SPAN_END ? ATTRIBUTES_OF_START : 0;
    unsigned end = part == SPAN_START ? ATTRIBUTES_OF_START : ATTRIBUTES;
    for (unsigned i = first; i < end; i++) {
        append_attribute(out, i);
    }
    if (part != SPAN_START) {
        size_t status = message_begin(out, STATUS);
        message_u64(out, 3, SPAN_OK);
        message_end(out, status);
    }
    if (part != SPAN_WHOLE) {
        message_u64(out, PART, part);
    }
    message_end(out, span);
}

/* As many spans as fit, at least one; halves end in the order that they began, OPEN later. */
static struct payload make_payload(enum kind kind, unsigned *ret_spans)
{
    static struct ids ids[STREAM_BYTES];
    struct payload payload = {.is_frames = true};
    struct buf body;
    unsigned count = 0;
    unsigned over = 0;
    buf_init(&body, ROWS_BUFFER_MAX);
    buf_init(&payload.bytes, ROWS_BUFFER_MAX);
    for (; body.len < STREAM_BYTES || count == 0; count++) {
        ids[count] = (struct ids){
            {rows_random(), rows_random()}, rows_random(), (unsigned)(rows_random() % NAMES)};
        append_span(&body, &ids[count], kind == WHOLE ? SPAN_WHOLE : SPAN_START);
        if (kind == HALVES && count >= OPEN) {
            append_span(&body, &ids[over++], SPAN_END);
        }
    }
    for (; kind == HALVES && over < count; over++) {
        append_span(&body, &ids[over], SPAN_END);
    }
    payload.records = kind == WHOLE ? count : 2 * count;
    *ret_spans = count;
    rows_frame(&payload.bytes, &body);
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

/* False when not every record was accepted, or a span did not end. */
static bool run_round(const struct payload *payload, unsigned spans_each, unsigned round,
                      struct figures *figures)
{
    unsigned repeats = SPANS / spans_each;
    double all = (double)repeats * spans_each;
    figures->counted[round] = (double)stream_count_bytes(payload, repeats) / all;
    size_t before = mem_count_allocations();
    uint64_t accepted = intake.accepted;
    uint64_t completed = spans.completed;
    figures->taken[round] = (double)stream_ingest(payload, repeats) / all;
    figures->ratios[round] = figures->taken[round] / figures->counted[round];
    figures->allocations = (double)(mem_count_allocations() - before) / all;
    return intake.accepted - accepted == (uint64_t)repeats * payload->records &&
           spans.completed - completed == (uint64_t)all && spans.cut_off == 0;
}

static void print(struct bench *bench, const char *name, double bytes, double ratio_limit,
                  double allocations_limit, struct figures *figures)
{
    char key[64];
    snprintf(key, sizeof key, "%s_bytes", name);
    bench_number(bench, key, bytes);
    snprintf(key, sizeof key, "%s_count_ns", name);
    bench_number(bench, key, median(figures->counted, BENCH_ROUNDS));
    snprintf(key, sizeof key, "%s_ns", name);
    bench_number(bench, key, median(figures->taken, BENCH_ROUNDS));
    snprintf(key, sizeof key, "%s_ratio", name);
    bench_limit(bench, key, median(figures->ratios, BENCH_ROUNDS), ratio_limit);
    snprintf(key, sizeof key, "%s_allocations_per_span", name);
    bench_limit(bench, key, figures->allocations, allocations_limit);
}

int main(void)
{
    static const char *const names[KINDS] = {"whole", "halves"};
    static const double ratio_limits[KINDS] = {22, 30};
    static const double allocations_limits[KINDS] = {0.001, 2.001}; /* a copy, and its place */
    struct bench bench;
    struct payload payloads[KINDS];
    unsigned spans_each[KINDS];
    static struct figures figures[KINDS];
    struct str family;
    bench_core_init();
    if (spans_declare(&spans, &family) != 0) {
        return 1;
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        payloads[kind] = make_payload((enum kind)kind, &spans_each[kind]);
        (void)stream_ingest(&payloads[kind], 1); /* all series exist from here on */
    }
    bench_begin(&bench, "spans", BENCH_ROUNDS);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        for (unsigned kind = 0; kind < KINDS; kind++) {
            if (!run_round(&payloads[kind], spans_each[kind], round, &figures[kind])) {
                return 1;
            }
        }
    }
    for (unsigned kind = 0; kind < KINDS; kind++) {
        print(&bench, names[kind], (double)payloads[kind].bytes.len / spans_each[kind],
              ratio_limits[kind], allocations_limits[kind], &figures[kind]);
    }
    return bench_end(&bench);
}
