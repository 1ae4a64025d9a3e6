/*
 * Clients' metrics at size: 100,000 counter series of 4 labels. What a scrape as text costs when 1 % of
 * them changed since the last one, against copying the same bytes; what a series takes of the heap, the
 * remembered line included, beyond the text of its labels; and how small each format packs. The series
 * come in no order, as those of a service do. Packed sizes are of counts below 100,000: with more digits
 * and with fractions protobuf gains on text, with many small counts of uneven length it loses.
 */
#include <malloc.h>

#include "render/gzip.h"
#include "rows.h"
#include "scrape.h"

enum { SERIES = 100000, LABELS = 4, SCRAPES = 10, ANSWER_MAX = 1 << 28 };

/* The labels of a series, as a service of some regions, endpoints and outcomes has them. */
struct spelled {
    char text[LABELS][32];
    struct metric metric;
};

static void spell(unsigned number, double value, struct spelled *ret)
{
    static const char *const keys[LABELS] = {"region", "service", "endpoint", "status"};
    static const unsigned statuses[] = {200, 201, 400, 404, 500};
    struct metric *metric = &ret->metric;
    snprintf(ret->text[0], sizeof ret->text[0], "eu-west-%u", number % 4);
    snprintf(ret->text[1], sizeof ret->text[1], "checkout-%03u", number / 20 % 50);
    snprintf(ret->text[2], sizeof ret->text[2], "/api/v1/items/%u", number / 1000);
    snprintf(ret->text[3], sizeof ret->text[3], "%u", statuses[number / 4 % 5]);
    *metric = (struct metric){.name = STR_LITERAL("http_requests"),
                              .op = METRIC_COUNT,
                              .value = value,
                              .weight = 1,
                              .attribute_count = LABELS};
    for (unsigned i = 0; i < LABELS; i++) {
        metric->attributes[i] = (struct label){str_of(keys[i]), str_of(ret->text[i])};
    }
}

/* Returns the bytes of the labels. */
static size_t count_in(unsigned number, double value)
{
    struct spelled spelled;
    size_t bytes = 0;
    spell(number, value, &spelled);
    if (metrics_record(&metrics, &spelled.metric, NULL) != 0) {
        abort();
    }
    for (unsigned i = 0; i < LABELS; i++) {
        bytes += spelled.metric.attributes[i].key.len + spelled.metric.attributes[i].value.len;
    }
    return bytes;
}

/* All series, in no order. Returns the bytes of their labels. */
static size_t count_all(void)
{
    static unsigned order[SERIES];
    size_t bytes = 0;
    for (unsigned i = 0; i < SERIES; i++) {
        unsigned other = (unsigned)(rows_random() % (i + 1));
        order[i] = order[other];
        order[other] = i;
    }
    for (unsigned i = 0; i < SERIES; i++) {
        bytes += count_in(order[i], (double)(rows_random() % 100000));
    }
    return bytes;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static double packed_bytes(const struct buf *answer)
{
    struct buf packed;
    buf_init(&packed, ANSWER_MAX);
    gzip_render((struct str){answer->data, answer->len}, &packed);
    if (packed.err != 0) {
        abort();
    }
    double bytes = (double)packed.len;
    buf_fini(&packed);
    return bytes;
}

/* What one format costs: a scrape after 1 % of the series changed, and the same relative to a copy. */
struct cost {
    double us[BENCH_ROUNDS];
    double ratio[BENCH_ROUNDS];
};

static void measure(struct exposition *exposition, enum exposition_format format, unsigned round,
                    struct buf *out, char *copied, struct cost *ret)
{
    double rendered = 0;
    double plain = 0;
    for (unsigned i = 0; i < SCRAPES; i++) {
        for (unsigned change = 0; change < SERIES / 100; change++) {
            (void)count_in((unsigned)(rows_random() % SERIES), 1);
        }
        rendered += scrape(exposition, format, out);
        plain += scrape_copy(out, copied);
    }
    ret->us[round] = rendered / SCRAPES / 1e3;
    ret->ratio[round] = rendered / plain;
}

int main(void)
{
    static struct cost text;
    static struct cost protobuf;
    struct bench bench;
    struct buf out;
    struct exposition_options how = {.name_space = STR_LITERAL("acgs2"),
                                     .dwelld_version = STR_LITERAL("1")};
    size_t before = heap_bytes();
    bench_core_init();
    registry_set_time(&registry, 1, 1);
    metrics_set_time(&metrics, 1, UINT64_C(1700000000123456789));
    size_t label_bytes = count_all();
    struct exposition *exposition = exposition_new(&how);
    buf_init(&out, ANSWER_MAX);
    (void)scrape(exposition, EXPOSITION_TEXT, &out);
    double text_bytes = (double)out.len;
    double text_packed = packed_bytes(&out);
    buf_fini(&out);
    double series_bytes = (double)(heap_bytes() - before - label_bytes) / SERIES;

    (void)scrape(exposition, EXPOSITION_PROTOBUF, &out);
    double protobuf_bytes = (double)out.len;
    double protobuf_packed = packed_bytes(&out);
    char *copied = malloc(2 * (size_t)(text_bytes + protobuf_bytes));
    (void)scrape(exposition, EXPOSITION_TEXT, &out);
    (void)scrape_copy(&out, copied);
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        measure(exposition, EXPOSITION_TEXT, round, &out, copied, &text);
        measure(exposition, EXPOSITION_PROTOBUF, round, &out, copied, &protobuf);
    }
    bench_begin(&bench, "metrics", BENCH_ROUNDS);
    bench_number(&bench, "series", SERIES);
    bench_number(&bench, "text_bytes", text_bytes);
    bench_number(&bench, "protobuf_bytes", protobuf_bytes);
    bench_number(&bench, "text_one_percent_changed_us", median(text.us, BENCH_ROUNDS));
    bench_number(&bench, "protobuf_one_percent_changed_us", median(protobuf.us, BENCH_ROUNDS));
    bench_number(&bench, "protobuf_ratio_to_memcpy", median(protobuf.ratio, BENCH_ROUNDS));
    bench_limit(&bench, "text_ratio_to_memcpy", median(text.ratio, BENCH_ROUNDS), 6);
    bench_number(&bench, "label_bytes_per_series", (double)label_bytes / SERIES);
    bench_limit(&bench, "bytes_per_series_beyond_labels", series_bytes, 400);
    bench_number(&bench, "text_gzip_bytes", text_packed);
    bench_number(&bench, "protobuf_gzip_bytes", protobuf_packed);
    bench_limit(&bench, "protobuf_gzip_ratio", protobuf_packed / text_packed, 1);
    return bench_end(&bench);
}
