/*
 * The samples of one model on /metrics, family by family, in any format. It does not know other
 * models, and keeps nothing from call to call.
 * Any thread, one `struct series_style` and one scratch for each.
 */
#ifndef DWELL_RENDER_SERIES_H
#define DWELL_RENDER_SERIES_H

#include "core/profile.h"
#include "render/form.h"

/* code, type, name without the namespace, help; in the order of the answer */
#define SERIES_TABLE(X)                                                                            \
    X(LATENCY, HISTOGRAM, "model_inference_latency_seconds", "Time of an inference.")              \
    X(INFERENCES, COUNTER, "model_inference_total", "Inferences.")                                 \
    X(ERRORS, COUNTER, "model_inference_errors_total", "Inferences that failed.")                  \
    X(CPU, GAUGE, "model_cpu_percent",                                                             \
      "CPU use during the last inference that told it, 100 is one core.")                          \
    X(QUANTILE, GAUGE, "model_latency_quantile_seconds",                                           \
      "Quantile q of the time of an inference in the present window, NaN when it is empty.")       \
    X(QUEUE, HISTOGRAM, "model_queue_seconds", "Time in a queue before an inference.")             \
    X(BATCH, HISTOGRAM, "model_batch_size", "Inputs in one inference.")                            \
    X(MEMORY, GAUGE, "model_memory_bytes",                                                         \
      "Memory after an inference in the present window, NaN when no sample tells it.")             \
    X(TIME, COUNTER, "model_time_seconds_total",                                                   \
      "Where the time of inferences with evidence went.")                                          \
    X(EVIDENCE_INFERENCES, COUNTER, "model_evidence_inferences_total",                             \
      "Inferences with evidence of where their time went.")                                        \
    X(EVIDENCE_SECONDS, COUNTER, "model_evidence_seconds_total",                                   \
      "Time of the inferences with evidence.")                                                     \
    X(BOTTLENECK, GAUGE, "model_bottleneck", "1 for what the model is bound by, 0 for the rest.")  \
    X(CONFIDENCE, GAUGE, "model_bottleneck_confidence_ratio",                                      \
      "Confidence in model_bottleneck, NaN when the rule gives none.")                             \
    X(SHARE, GAUGE, "model_share_ratio",                                                           \
      "Share of the time in which the model could run, NaN without a verdict from evidence.")      \
    X(GPU, GAUGE, "model_gpu_decision",                                                            \
      "1 for the answer to whether a GPU would help, all 0 for a model not on a CPU.")             \
    X(SPEEDUP, GAUGE, "model_max_speedup_ratio",                                                   \
      "How much faster any GPU can make the model at most, NaN when that is not known.")

enum series {
#define X(code, type, name, help) SERIES_##code,
    SERIES_TABLE(X)
#undef X
        SERIES_COUNT
};

/* What the samples of all models have in common. */
struct series_style {
    struct family_shape shapes[SERIES_COUNT];
    struct buf names; /* of the shapes, with the namespace */
    struct form_bound bounds_ms[BOUNDS_MAX + 1];
    struct form_bound bounds_batch[BOUNDS_MAX + 1];
};

/* Returns 0 or ERR_NOMEM; series_style_fini may follow either. An empty namespace adds nothing. */
int series_style_init(struct series_style *style, struct str name_space);
void series_style_fini(struct series_style *style);

struct series_subject {
    const struct form *form;
    const struct snapshot *snapshot;
    const struct model *model;
    struct str labels; /* rendered in the form */
};

/* What all families of a model are made from. */
struct series_pen {
    const struct series_style *style;
    const struct series_subject *subject;
    struct profile_scratch *scratch;
    struct buf *out;
    struct sums totals; /* since the start */
    struct tally_extra extra;
    struct profile profile; /* of the window; of what was before when that is empty */
    bool has_window;
};

/* Computes all that the families need. What is handed in is borrowed for the pen's life. */
void series_prepare(const struct series_style *style, const struct series_subject *subject,
                    struct profile_scratch *scratch, struct buf *out, struct series_pen *ret);

/* Appends the samples of one family, often none. */
void series_render_family(const struct series_pen *pen, enum series series);

/* Appends all samples. `ret_ends` says where in `out` those of each family end; a family without
 * samples ends where the one before it does. */
void series_render(const struct series_style *style, const struct series_subject *subject,
                   struct profile_scratch *scratch, struct buf *out, size_t ret_ends[SERIES_COUNT]);

#endif
