/*
 * Points and metrics of OTLP, written the way formats of /metrics are (render/form), so that what the
 * families of models and of the daemon are made of is said once. It writes; it does not go through
 * snapshots, nor know how long a request may be. One thread.
 *
 *     metric   name | description | unit | gauge, sum, histogram or exponential histogram:
 *                                            temporality | monotonic | point | point | …
 *     point    start | time | value | exemplars | labels | constitutional_hash
 *
 *     type         as                                    attributes, a point each
 *     counter      Sum, monotonic                        labels
 *     gauge        Gauge; NaN: "no recorded value"       labels
 *     histogram    Histogram, or ExponentialHistogram    labels
 *     info         Gauge, 1                              labels
 *
 * A histogram is an exponential one when it has native buckets and either has no others or those are
 * asked for. All numbers are doubles. With delta temporality a counter or histogram that has not
 * changed since it was last told gives no point, and the exemplars are those of the time since then.
 */
#ifndef DWELL_RENDER_OTLP_FORM_H
#define DWELL_RENDER_OTLP_FORM_H

#include "render/form.h"
#include "render/otlp_delta.h"

enum { OTLP_LABEL = 7 }; /* the field that labels are rendered in, that of scalars */

struct otlp_form {
    struct form form;  /* first: a form that is handed back is this one */
    struct str prefix; /* of free families; borrowed */
    struct str hash;   /* the attribute of each point, rendered; borrowed */
    bool exponential;  /* asked for */

    bool delta_counters;
    bool delta_histograms;
    uint64_t wall_ns; /* time of points */
    struct otlp_delta delta;

    struct otlp_series series; /* of the next point; the place counts on by itself */
    uint64_t created_wall_ns;  /* since when it counts; 0: not known */

    struct otlp_changes changes; /* of the points so far, as below */
    uint32_t points;

    size_t metric_at, metric, data; /* of the open metric: where it begins in the buffer */
    uint32_t metric_points;         /* what `points` was then */
    struct otlp_histogram work;
};

void otlp_form_init(struct otlp_form *form);
void otlp_form_fini(struct otlp_form *form);

/* Begins and ends a metric in a request. One without points leaves nothing. */
void otlp_form_open(struct otlp_form *form, const struct family_shape *shape, struct buf *out);
void otlp_form_close(struct otlp_form *form, struct buf *out);

/* Whether a scalar, or a histogram by its count, would give no point as it was told so before. */
bool otlp_form_is_told(const struct otlp_form *form, enum family_type type, double number,
                       uint64_t count);

#endif
