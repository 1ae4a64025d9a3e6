/*
 * The receiving end of render/otlp_metrics for tests: a sink that decodes pieces with protobuf-c, checks
 * that each is a complete request, settles it, and finds points in what was received. It tests nothing by
 * itself. One thread, the one that asserts.
 */
#ifndef DWELL_TESTS_OTLP_READER_H
#define DWELL_TESTS_OTLP_READER_H

#include "core_helpers.h"

#include <otlp.pb-c.h>

#include "render/otlp_metrics.h"

#define OTLP_HASH "cdd01ef066bc6cf2"

enum { OTLP_PIECES_MAX = 500 };

/* What the renderers of these tests are told of the HTTP side. */
extern const struct exposition_process otlp_process;

/* Options of acgs2-agent-bus, whose daemon began at 1600000000; `resource`, to be freed (buf_fini), is
 * what they borrow. */
struct otlp_metrics_options otlp_options(struct buf *resource);
struct otlp_metrics *otlp_must_make(enum otlp_temporality temporality, bool exponential,
                                    size_t max_request);

enum otlp_fate { OTLP_FATE_COMMIT, OTLP_FATE_ABORT, OTLP_FATE_KEEP };

struct otlp_got {
    struct otlp_metrics *metrics;
    enum otlp_fate fate;
    struct random *fates; /* NULL, or: by chance, and what a lost piece tells is not kept */
    size_t refuse_at;     /* number of the piece that the sink refuses, from 1 on; 0: none */
    size_t count;
    size_t len[OTLP_PIECES_MAX];
    Otlp__ExportMetricsServiceRequest *request[OTLP_PIECES_MAX];
    struct otlp_piece piece[OTLP_PIECES_MAX]; /* OTLP_FATE_KEEP */
    size_t points;
};

/* The sink; `ctx` is a struct otlp_got. */
int otlp_receive(void *ctx, struct otlp_piece *piece);

/* Everything of a snapshot, or of what is there now. To be freed by otlp_free. */
struct otlp_got *otlp_must_get(struct otlp_metrics *metrics, const struct snapshot *snapshot,
                               enum otlp_fate fate, struct random *fates);
struct otlp_got *otlp_must_export(struct otlp_metrics *metrics, struct core *core,
                                  enum otlp_fate fate);
void otlp_free(struct otlp_got *got);

/* One point, whatever it is of; what it has not is NULL. */
struct otlp_point {
    const Otlp__Metric *metric;
    const Otlp__NumberDataPoint *number;
    const Otlp__HistogramDataPoint *classic;
    const Otlp__ExponentialHistogramDataPoint *exponential;
    size_t attribute_count;
    Otlp__KeyValue **attributes;
    uint64_t start, time;
    size_t exemplar_count;
    Otlp__Exemplar **exemplars;
};

typedef void otlp_each_fn(void *ctx, const struct otlp_point *point);
void otlp_for_each(const struct otlp_got *got, otlp_each_fn *each, void *ctx);

/* "a=1,b=2", in their order; a bool, which must be true, is a bare word. The hash must be there, once, and
 * is left out. */
void otlp_tell_attributes(const struct otlp_point *point, char *out, size_t room);

/* By the name of the metric and the attributes as they are told; there may not be two. */
bool otlp_find_point(const struct otlp_got *got, const char *name, const char *attributes,
                     struct otlp_point *ret);
struct otlp_point otlp_must_have(const struct otlp_got *got, const char *name,
                                 const char *attributes);
void otlp_must_not_have(const struct otlp_got *got, const char *name, const char *attributes);

/* Its value, or its count, and when it begins. */
void otlp_must_be(const struct otlp_got *got, const char *name, const char *attributes,
                  double value, uint64_t start);

#endif
