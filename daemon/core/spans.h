/*
 * What becomes of a span: halves are put together; its duration counts in a histogram by name and status,
 * and as an inference when it names a model; and it is sent on if it is sampled and somebody wants it.
 * It does not encode and does not send. Loop thread only.
 */
#ifndef DWELL_CORE_SPANS_H
#define DWELL_CORE_SPANS_H

#include "core/budget_event.h"
#include "core/metrics.h"
#include "core/open_spans.h"
#include "core/registry.h"
#include "core/sampler.h"

/* The attributes of a span that make it an inference. */
#define SPANS_MODEL_KEY  "model_name"
#define SPANS_DEVICE_KEY "device"

enum { SPANS_NAME_SPACE_MAX = 64 }; /* bytes */

struct spans_options {
    struct str name_space; /* of the histogram's name; up to SPANS_NAME_SPACE_MAX bytes, or empty */
    uint32_t max_open;
    size_t max_open_bytes;
    /* Where its sink keeps none, nobody wants spans, and it is not asked. */
    struct sampler_options sampler;
};

struct spans {
    struct spans_options options;
    struct registry *registry; /* borrowed, as `metrics` */
    struct metrics *metrics;
    struct open_spans open;
    struct sampler sampler;
    struct budget_events budget_events;
    uint64_t mono_ns, wall_ns; /* the present */
    uint64_t completed;        /* spans that came to their end, cut off ones too */
    uint64_t cut_off;
    uint64_t refused_samples; /* spans that name a model and made no sample of it */
    struct span_room room;
    struct sample sample; /* both are large, and mostly the same */
    struct metric duration;
    char duration_name[SPANS_NAME_SPACE_MAX + 32];
};

/* The struct is large, and must be zero: static, or from mem_zalloc. It must stay where it is. */
void spans_init(struct spans *spans, const struct spans_options *options, struct registry *registry,
                struct metrics *metrics);
void spans_fini(struct spans *spans); /* while processes and peers are still there */

/* From now on sampled spans go there, as if the options had said so. Before the first span. */
void spans_export_to(struct spans *spans, const struct sampler_sink *sink);

/* Makes the histogram's family, so that it is there before the first span. Returns as metrics_declare
 * does, and in *ret_name the family's name, valid until spans_fini. */
int spans_declare(struct spans *spans, struct str *ret_name);

/* The present time; cuts off and gives up a bounded piece of what is due. */
void spans_set_time(struct spans *spans, uint64_t mono_ns, uint64_t wall_ns);

/* Takes a record. `owner` is whose first half it is, or NULL; `service` stands in where the span names
 * none. Returns 0; of a first half ERR_DUPLICATE_KEY, ERR_LIMIT, ERR_NOMEM; of a second one
 * ERR_MISSING_KEY when there is no first one and it does not say itself when it began, ERR_RANGE when
 * it ends before it began. */
int spans_take(struct spans *spans, const struct span *span, struct span_owner *owner,
               struct str service);

/* Says in its trace, if it has one, that a layer of a request took more than its time budget. */
void spans_over_budget(struct spans *spans, const struct budget *budget, double budget_ms,
                       struct str service);

/* What an owner has left open is cut off: it ends now, as an error, with the attribute
 * dwell.cut_off="process_ended". Of many, a bounded piece now, the rest by spans_set_time. */
void spans_end_owner(struct spans *spans, struct span_owner *owner);

/* The daemon stops: open ones are cut off ("daemon_stopped"), held ones given up. */
void spans_stop(struct spans *spans);

#endif
