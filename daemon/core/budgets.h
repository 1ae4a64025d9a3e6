/*
 * Time budgets: how long the layers of requests take, and how often that is more than they have. Each
 * layer's time is counted for /metrics, in families of its own, and over a window for quantiles.
 * It enforces nothing, renders nothing and knows no clock: the registry's window is its window.
 * Loop thread only; layers of a snapshot may be read from any thread.
 *
 *   budget     |----------------------------------|
 *   soft limit |-----------------------------|
 *   elapsed    |============|                          within
 *              |==================================|    over the soft limit, not over the budget
 *              |===================================|   over both: comparisons are strict
 */
#ifndef DWELL_CORE_BUDGETS_H
#define DWELL_CORE_BUDGETS_H

#include "core/budget_burn.h"
#include "core/metrics.h"
#include "core/registry.h"

enum {
    BUDGETS_CONFIGURED_MAX = 64,
    BUDGETS_FREE_MAX = 64, /* layers that no budget is configured for */
    /* The total, those, and the one that stands for all past the ceiling. */
    BUDGETS_LAYERS_MAX = 1 + BUDGETS_CONFIGURED_MAX + BUDGETS_FREE_MAX + 1,
    BUDGETS_NAME_SPACE_MAX = 64, /* bytes */
    BUDGETS_GUESSES = 16,
};

_Static_assert((int)BUDGETS_LAYERS_MAX <= UINT8_MAX, "a number is a byte");

#define BUDGETS_TOTAL        "total" /* the layer that is the whole request */
#define BUDGETS_OVERFLOW     "(overflow)"
#define BUDGETS_TOTAL_SOFT   0.8 /* share of the total: the default of layers, as it has no option */
#define BUDGETS_TOTAL_NUMBER 0   /* of the total in `layers` */

/* What a layer has. Never changes: another budget is another limit. */
struct budget_limit {
    struct block block;
    struct str layer;
    uint32_t number;      /* of the layer, from 0 */
    double budget_ms;     /* infinite: no budget is configured */
    double soft_limit_ms; /* likewise */
};

/* What a layer took in one stretch of time. Of the tally's sums only count, sum and extremes are kept. */
struct budget_slot {
    struct tally *tally; /* owned; NULL, or of an older stretch in the same place */
    uint64_t exceeded;   /* requests, as in struct budget_layer */
    uint64_t again;      /* records of the tally of layers that their request had been in before */
};

/* Counts are since the start, and of requests: what a layer takes in one is held against its budget as a
 * whole, however often it is entered, and can be over it once. */
struct budget_layer {
    struct block block;
    const struct budget_limit *limit; /* never NULL */
    uint64_t count;
    uint64_t exceeded;
    uint64_t soft_exceeded;
    double last_ms;                         /* of the last request, so far; 0 while `count` is */
    struct budget_slot slots[WINDOW_SLOTS]; /* by number of the stretch, modulo */
};

/* What /metrics have of a layer that has a budget: they are told when somebody looks. */
struct budget_told {
    uint64_t count;
    uint64_t exceeded;
    uint64_t soft_exceeded;
    struct budget_burn burn;
};

/* The short way to where a layer's records count: all of it may be written while `ready` is the
 * registry's. One cache line. */
struct budget_way {
    uint64_t ready;
    struct budget_layer *layer;
    struct budget_slot *slot; /* of the present stretch, and its tally */
    struct tally *tally;
    struct metrics_way elapsed;
    const struct budget_limit *limit;
};

/* A layer's option. */
struct budget_option {
    struct str layer; /* borrowed */
    double budget_ms;
    double soft_limit_pct; /* share of the budget */
};

struct budgets_options {
    struct str
        name_space; /* of the families' names; up to BUDGETS_NAME_SPACE_MAX bytes, or empty */
    double total_ms;
    double objective; /* share of requests that keep to a budget, as is wanted; 0 … below 1 */
    const struct budget_option *layers; /* each name once, none of them "total" */
    uint32_t layer_count;               /* up to BUDGETS_CONFIGURED_MAX */
    uint64_t hash_seed;
};

/* The families. */
enum budget_family {
    BUDGET_ELAPSED,
    BUDGET_EXCEEDED,
    BUDGET_SOFT_EXCEEDED,
    BUDGET_REQUESTS,
    BUDGET_BURN,
    BUDGET_OBJECTIVE,
    BUDGET_FAMILY_COUNT
};

struct budgets {
    struct registry *registry; /* borrowed, as `metrics`: its limbo and its stretches of time */
    struct metrics *metrics;
    struct names numbers; /* of layers */
    struct budget_layer *layers[BUDGETS_LAYERS_MAX];
    uint8_t guesses[BUDGETS_GUESSES]; /* numbers of layers, by the length of their names */
    uint32_t count;
    uint32_t configured; /* those with a budget, the total among them */
    uint64_t overflowed; /* records that went to the overflow layer */
    double objective;
    struct budget_told
        told[BUDGETS_LAYERS_MAX];               /* by number of the layer; of those with a budget */
    struct budget_way ways[BUDGETS_LAYERS_MAX]; /* likewise */
    struct metric records[BUDGET_FAMILY_COUNT];
    char names[BUDGET_FAMILY_COUNT][BUDGETS_NAME_SPACE_MAX + 32];
};

/* What a record was, to be told to people. */
struct budget_verdict {
    bool exceeded;
    double budget_ms;
};

/* What a snapshot holds: the total first, then the others as they came to be, so those that were configured
 * at the start before all others. */
struct budgets_view {
    const struct budget_layer **layers; /* owned: one piece of memory */
    uint32_t count;
    uint32_t configured;
    double objective;
};

/* Makes the configured layers. Returns 0 or ERR_NOMEM; budgets_fini may follow either. The struct must
 * be zero and stay where it is. */
int budgets_init(struct budgets *budgets, const struct budgets_options *options,
                 struct registry *registry, struct metrics *metrics);
void budgets_fini(struct budgets *budgets); /* before the registry */

/* Whether there is room for the layers that are not known yet. Returns 0 or ERR_LIMIT. */
int budgets_check(const struct budgets *budgets, const struct budgets_options *options);

/* Other budgets and another objective, from the next record on. A layer that has no budget any more stays,
 * without one; one that gets a budget counts requests against it from then on. Returns 0; or, with nothing
 * changed, what budgets_check returns, or ERR_NOMEM. */
int budgets_change(struct budgets *budgets, const struct budgets_options *options);

/* Makes the families, and their series of configured layers at 0. Returns as metrics_declare does, and
 * in *ret_name the name of the family at hand, valid until budgets_fini. */
int budgets_declare(struct budgets *budgets, struct str *ret_name);

/* The layer of a name, made if need be; past the ceiling the overflow layer. For who goes on from an
 * earlier life (core/restore). Returns 0, ERR_NAME, ERR_NOMEM. */
int budgets_adopt(struct budgets *budgets, struct str name, uint32_t *ret_number);

/* Counts a record whose time is in range. Returns 0; ERR_NAME for a layer that is no name; ERR_NOMEM,
 * with nothing counted. */
int budgets_record(struct budgets *budgets, const struct budget *budget,
                   struct budget_verdict *ret_verdict);

/* The same for at most RECORD_BUDGETS_MAX of them, one after the other; the waits for their memory
 * overlap. ret_errs and ret_verdicts have one for each; the verdict on a refused one says nothing. */
void budgets_record_some(struct budgets *budgets, const struct budget *list, unsigned count,
                         int *ret_errs, struct budget_verdict *ret_verdicts);

/* Makes what /metrics have beside the times themselves the present, to be called before the limbo is
 * frozen. Returns 0 or ERR_NOMEM. */
int budgets_age(struct budgets *budgets);

/* Takes the view; the limbo must have been frozen. Returns 0 or ERR_NOMEM. */
int budgets_freeze(const struct budgets *budgets, struct budgets_view *ret);

#endif
