/*
 * All models: finds the one that a sample belongs to, keeps its window and its totals, and hands
 * readers a frozen array of them. It does not know clients, formats or verdicts, and asks nobody for
 * the time: the caller says which stretch of time it is.
 * The loop thread owns it; models of a snapshot may be read from any thread.
 *
 *   totals since start = past + base + closed[0] + … + closed[n-1] + current     (/metrics)
 *   since the reset    =        base + closed[0] + … + closed[n-1] + current     (?window=all)
 *   window             =               those of closed and current that are young enough
 *
 * A sample is counted once, in `current`. A closed tally that leaves the window is merged into
 * `base`; a reset moves everything into `past`. All are exact integers, so sums of parts are right.
 */
#ifndef DWELL_CORE_REGISTRY_H
#define DWELL_CORE_REGISTRY_H

#include "core/limbo.h"
#include "core/maker.h"
#include "core/opinion.h"
#include "core/recall.h"
#include "core/record.h"
#include "core/tally.h"
#include "core/window.h"

enum {
    REGISTRY_SUB_WINDOWS = WINDOW_SLOTS,
    REGISTRY_LABEL_KEYS_MAX = 16,
    REGISTRY_CAP_SINGLE_BELOW = 64, /* a smaller cap on samples is kept by tallies of one sample */
    REGISTRY_CLOSED_MAX = REGISTRY_SUB_WINDOWS + REGISTRY_CAP_SINGLE_BELOW,
    REGISTRY_PARTS_MAX = REGISTRY_CLOSED_MAX + 3, /* closed, current, base, past */
};

#define REGISTRY_OVERFLOW_NAME "(overflow)"

struct registry_options {
    uint64_t window_ns;   /* split into REGISTRY_SUB_WINDOWS */
    uint64_t max_samples; /* the window's cap on samples, 0 = none (DESIGN.md, section 5) */
    uint32_t max_models;  /* label sets; samples past it go to the overflow model */
    uint64_t hash_seed;   /* random for each process, against flooding of the table */
    struct str label_keys[REGISTRY_LABEL_KEYS_MAX]; /* borrowed for the registry's life */
    uint32_t label_key_count;
    uint32_t max_models_per_maker; /* as max_models; 0: no ceiling of its own */
};

/* Who a model is: never changes, lives as long as the registry. Its texts lie behind it. */
struct model_id {
    struct str key;           /* name, then with labels or device: 0 device 0 value 0 value … */
    bool composed;            /* the key is more than the name */
    bool overflow;            /* stands for all models past the ceiling */
    uint64_t created_wall_ns; /* when its first sample came */
    uint32_t label_count;     /* kept labels that are not empty */
    struct str name;          /* valid UTF-8, 1 to RECORD_NAME_MAX bytes, no zero byte */
    struct str device;        /* empty: not said */
    struct label *labels;
};

struct exemplar {
    bool set;
    bool has_span_id;
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    double value_ms;
    uint64_t wall_ns;
};

/* The last sample with a trace id of each classic bucket. */
struct exemplars {
    struct block block;
    struct exemplar bucket[BOUNDS_MAX + 1];
};

/* What evidence says of a model; replaced as a whole. */
struct model_opinion {
    struct block block;
    struct opinion opinion;
};

struct model {
    struct block block;
    uint64_t changes; /* of the model, but for samples in the current tally: see model_stamp */
    uint64_t
        ready; /* equals registry.ready: may be written, and its current tally is the present's */
    struct tally *current;   /* never NULL; may be written whenever the model may */
    uint64_t closed_samples; /* in all closed tallies */
    const struct model_id *id;
    struct tally *base;            /* what left the window; NULL at first */
    struct tally *past;            /* what was there before the last reset; NULL without one */
    struct exemplars *exemplars;   /* NULL until a sample has a trace id */
    struct model_opinion *opinion; /* NULL: there is none */
    uint32_t resets;
    uint32_t closed_count;
    struct tally *closed[]; /* oldest first; room for registry.closed_max */
};

/* Changes with every change. */
static inline uint64_t model_stamp(const struct model *model)
{
    return model->changes + model->current->sums.count;
}

/* Samples in closed and current tallies. */
static inline uint64_t model_window_count(const struct model *model)
{
    return model->closed_samples + model->current->sums.count;
}

/* NaN until a sample has one; outlives the window and resets. */
static inline double model_last_cpu_percent(const struct model *model)
{
    return model->current->sums.last_cpu_percent;
}

struct registry {
    struct registry_options options;
    struct limbo limbo;
    uint64_t slot_ns;
    uint64_t slot;          /* the present stretch of time */
    uint64_t ready;         /* changes with every freeze and every new slot */
    uint64_t mono_ns;       /* the present time */
    uint64_t wall_ns;       /* the same, for exemplars */
    uint32_t closed_max;    /* tallies a model can hold beside the current one */
    uint64_t block_samples; /* samples after which a tally is closed; 0 = no cap */
    struct model **models;
    uint32_t count;
    uint32_t capacity;
    uint32_t overflow;           /* 1 + number of the overflow model, 0 while there is none */
    uint64_t overflowed;         /* samples that went to it */
    uint64_t lost_exemplars;     /* for want of memory */
    struct registry_cell *cells; /* the hash table, see registry.c */
    uint32_t cell_mask;
    struct maker *maker; /* of new models; borrowed; NULL: nobody */
    struct recall recall;
};

/* Returns 0 or ERR_NOMEM. The registry is large, and must be zero: static, or from mem_zalloc. What is
 * never used of it is then never touched. */
int registry_init(struct registry *registry, const struct registry_options *options);
void registry_fini(struct registry *registry);

/* Another ceiling on models; those past it that are there stay. Returns 0, or ERR_NOMEM: it is the old
 * one. */
int registry_set_max_models(struct registry *registry, uint32_t max_models);

/* The present time. Monotonic time decides the stretch; going back is ignored. */
void registry_set_time(struct registry *registry, uint64_t mono_ns, uint64_t wall_ns);

/* References to a string table are those of a new batch from here on. */
void registry_begin_batch(struct registry *registry);

/* Counts a sample whose figures are in range, as often as its weight says. It is never divided: the cap
 * on the window's samples is passed by as much as the last one stands for. Returns 0, ERR_NAME for a
 * new model with a bad name, label or device, ERR_NOMEM. */
int registry_record(struct registry *registry, const struct sample *sample);

/* The same for a sample that has evidence; tells the model's number besides. */
int registry_record_evidence(struct registry *registry, const struct sample *sample,
                             uint32_t *ret_number);

/* The same for at most RECORD_BRIEFS_MAX samples in their order. Returns how many are refused: only
 * when that is any, ret_errs has one outcome for each sample. */
unsigned registry_record_briefs(struct registry *registry, const struct brief *briefs,
                                unsigned count, int *ret_errs);

/* The model that a sample would be counted in, made if need be, with nothing counted: for who goes on from
 * an earlier life (core/restore). `overflow`: the one that stands for all past the ceiling. Returns 0 and
 * its number; as registry_record, and ERR_LIMIT for a new one past the ceiling. */
int registry_adopt(struct registry *registry, const struct sample *sample, bool overflow,
                   uint32_t *ret_number);

/* Keeps an exemplar of a model that may be written. Returns 0 or ERR_NOMEM. */
int registry_mark(struct registry *registry, struct model *model, unsigned bucket,
                  const struct exemplar *exemplar);

/* What evidence says of a model from now on; NULL: nothing. Returns 0, or ERR_NOMEM with the model as it
 * was. */
int registry_set_opinion(struct registry *registry, uint32_t number, const struct opinion *opinion);

/* Forgets window, exemplars, opinion and what was counted since the last reset of one name, or of all
 * with NULL. Returns how many models had something to forget, or ERR_NOMEM after some of them. */
int registry_reset(struct registry *registry, const struct str *name);

/* A frozen copy of the array of models, which the caller owns (mem_free) and hands back with
 * registry_release; the models stay the registry's. Returns 0, ERR_LIMIT, ERR_NOMEM. */
int registry_freeze(struct registry *registry, const struct model ***ret_models,
                    uint32_t *ret_count, uint64_t *ret_epoch);
void registry_release(struct registry *registry, uint64_t epoch);

/* True when a tally of a snapshot taken in `slot` belongs to the window. */
static inline bool registry_in_window(const struct tally *tally, uint64_t slot)
{
    return window_holds(tally->slot, slot);
}

/* Heap bytes behind the live state of a model. */
size_t registry_model_bytes(const struct registry *registry, uint32_t model);

#endif
