/*
 * Happy path of a record
 *   0. recall   a layer that came lately leads at once to where it counts (struct budget_way); the rest is
 *               for the first record after a snapshot, or of a stretch of time, and for traced ones
 *   1. find     the layer by its name; a new name makes a layer without a budget
 *   2. own      a layer that a snapshot can see is copied first, and the tally of the present stretch
 *               of time with it; the tally of a stretch that is over makes way for a new one
 *   3. reserve  the place in the tally's histogram
 *   4. observe  into the family on /metrics
 *   5. count    what can no longer fail
 *   6. tell     what was over its budget to the counters on /metrics, once before each snapshot
 *
 * What can fail: the name, when it is seen for the first time (ERR_NAME); memory, in 1 to 4: nothing is
 * counted; and in 6: there is no snapshot then, and the next one tells it. Past the ceiling a name is the
 * overflow layer's.
 */
#include "core/budgets.h"

#include <assert.h>
#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/name.h"

static const struct {
    const char *name; /* behind the namespace */
    const char *help;
    enum metric_op op;
    enum family_type type;
    unsigned label_count; /* of `labels` */
} families[] = {
    [BUDGET_ELAPSED] = {"budget_elapsed_seconds", "Time that a layer of a request took.",
                        METRIC_OBSERVE, FAMILY_HISTOGRAM, 1},
    [BUDGET_EXCEEDED] = {"budget_exceeded",
                         "Requests in which a layer took more than its time budget.", METRIC_COUNT,
                         FAMILY_COUNTER, 1},
    [BUDGET_SOFT_EXCEEDED] =
        {"budget_soft_limit_exceeded",
         "Requests in which a layer took more than the soft limit of its time budget.",
         METRIC_COUNT, FAMILY_COUNTER, 1},
    [BUDGET_REQUESTS] = {"budget_requests", "Requests that entered a layer that has a time budget.",
                         METRIC_COUNT, FAMILY_COUNTER, 1},
    [BUDGET_BURN] =
        {"budget_burn_rate",
         "Share of requests over a layer's time budget, divided by the share that may be; "
         "NaN without requests.",
         METRIC_SET, FAMILY_GAUGE, 2},
    [BUDGET_OBJECTIVE] = {"budget_objective_ratio",
                          "Share of requests that keep to a time budget, as is wanted.", METRIC_SET,
                          FAMILY_GAUGE, 0},
};
_Static_assert(sizeof families / sizeof families[0] == BUDGET_FAMILY_COUNT, "one each");

static const struct str labels[] = {{"layer", 5}, {"window", 6}};

static const struct {
    struct str window;
    struct str head; /* of its spelling, in place of the family's */
} stretches[] = {[BURN_LONG] = {{"long", 4}, {"l", 1}}, [BURN_SHORT] = {{"short", 5}, {"s", 1}}};
_Static_assert(sizeof stretches / sizeof stretches[0] == BURN_STRETCHES, "one each");

/* In seconds. The budgets and soft limits that layers have unless configured are among them, so that
 * their shares can be read from classic buckets too. */
static const double bounds[] = {0.0005, 0.001, 0.002, 0.004, 0.005, 0.008, 0.01,
                                0.012,  0.015, 0.016, 0.02,  0.03,  0.04,  0.05,
                                0.1,    0.25,  0.5,   1,     2.5};

/* --- life -------------------------------------------------------------------------------------- */

static void init_records(struct budgets *budgets, struct str name_space)
{
    assert(name_space.len <= BUDGETS_NAME_SPACE_MAX);
    for (unsigned i = 0; i < BUDGET_FAMILY_COUNT; i++) {
        char *at = budgets->names[i];
        if (name_space.len > 0) {
            memcpy(at, name_space.ptr, name_space.len);
            at += name_space.len;
            *at++ = '_';
        }
        size_t len = strlen(families[i].name);
        assert((size_t)(at - budgets->names[i]) + len <= sizeof budgets->names[i]);
        memcpy(at, families[i].name, len);
        at += len;
        budgets->records[i] =
            (struct metric){.name = {budgets->names[i], (size_t)(at - budgets->names[i])},
                            .op = families[i].op,
                            .weight = 1,
                            .attribute_count = families[i].label_count};
        for (unsigned label = 0; label < families[i].label_count; label++) {
            budgets->records[i].attributes[label].key = labels[label];
        }
    }
}

/* A copy of the limit, the name behind it. */
static struct budget_limit *new_limit(const struct budget_limit *from, uint32_t number,
                                      const struct limbo *limbo)
{
    struct budget_limit *limit = mem_alloc(sizeof *limit + from->layer.len);
    if (limit != NULL) {
        char *text = (char *)(limit + 1);
        memcpy(text, from->layer.ptr, from->layer.len);
        *limit = *from;
        limit->block.epoch = limbo->epoch;
        limit->number = number;
        limit->layer.ptr = text;
    }
    return limit;
}

static int add_layer(struct budgets *budgets, const struct budget_limit *from, uint32_t *ret_number)
{
    assert(budgets->count < BUDGETS_LAYERS_MAX);
    struct budget_layer *layer = mem_zalloc(1, sizeof *layer);
    struct budget_limit *limit = new_limit(from, budgets->count, &budgets->registry->limbo);
    if (layer == NULL || limit == NULL ||
        names_add(&budgets->numbers, from->layer, budgets->count) != 0) {
        mem_free(limit);
        mem_free(layer);
        return ERR_NOMEM;
    }
    layer->block.epoch = budgets->registry->limbo.epoch;
    layer->limit = limit;
    budgets->layers[budgets->count] = layer;
    *ret_number = budgets->count++;
    return 0;
}

int budgets_init(struct budgets *budgets, const struct budgets_options *options,
                 struct registry *registry, struct metrics *metrics)
{
    assert(options->layer_count <= BUDGETS_CONFIGURED_MAX);
    struct budget_limit limit = {.layer = STR_LITERAL(BUDGETS_TOTAL),
                                 .budget_ms = options->total_ms,
                                 .soft_limit_ms = options->total_ms * BUDGETS_TOTAL_SOFT};
    uint32_t number;
    budgets->registry = registry;
    budgets->metrics = metrics;
    budgets->objective = options->objective;
    init_records(budgets, options->name_space);
    int err = names_init(&budgets->numbers, BUDGETS_LAYERS_MAX, options->hash_seed);
    if (err == 0) {
        err = add_layer(budgets, &limit, &number);
    }
    for (uint32_t i = 0; err == 0 && i < options->layer_count; i++) {
        const struct budget_option *option = &options->layers[i];
        limit = (struct budget_limit){.layer = option->layer,
                                      .budget_ms = option->budget_ms,
                                      .soft_limit_ms = option->budget_ms * option->soft_limit_pct};
        err = add_layer(budgets, &limit, &number);
    }
    budgets->configured = budgets->count;
    for (uint32_t i = 0; i < budgets->configured; i++) {
        budgets->told[i].burn = (struct budget_burn){{(double)NAN, (double)NAN}};
    }
    return err;
}

void budgets_fini(struct budgets *budgets)
{
    for (uint32_t i = 0; i < budgets->count; i++) {
        struct budget_layer *layer = budgets->layers[i];
        struct limbo *limbo = &budgets->registry->limbo;
        for (unsigned slot = 0; slot < WINDOW_SLOTS; slot++) {
            tally_retire(layer->slots[slot].tally, limbo);
        }
        mem_free((void *)(uintptr_t)layer->limit); /* readers are gone: what was made ends here */
        limbo_retire(limbo, &layer->block);
    }
    if (budgets->registry != NULL) {
        names_fini(&budgets->numbers);
    }
    *budgets = (struct budgets){0};
}

static inline bool has_budget(const struct budget_limit *limit)
{
    return isfinite(limit->budget_ms);
}

/* --- families ---------------------------------------------------------------------------------- */

/* A record of a family's, for this layer. Its spelling is short: two numbers. */
static struct metric *address(struct budgets *budgets, enum budget_family family,
                              const struct budget_limit *limit)
{
    static const char digits[] = {'0', '1', '2', '3', '4', '5'};
    _Static_assert(sizeof digits == BUDGET_FAMILY_COUNT, "one each");
    struct metric *record = &budgets->records[family];
    record->attributes[0].value = limit->layer;
    record->spelling = (struct spelling){.format = SPELLING_BUDGET,
                                         .head = {&digits[family], 1},
                                         .tail = {(const char *)&limit->number, sizeof(uint32_t)}};
    return record;
}

/* Applies it. Returns as metrics_record does. */
static int apply(struct budgets *budgets, struct metric *record, double value)
{
    if (metrics_spelled(budgets->metrics, &record->spelling, value, 1, NULL)) {
        return 0;
    }
    record->value = value;
    return metrics_record(budgets->metrics, record, NULL);
}

/* The same for one that is part of a trace: with an exemplar. */
static int apply_traced(struct budgets *budgets, struct metric *record, double value,
                        const struct budget *budget)
{
    _Static_assert((int)BUDGET_HAS_TIMESTAMP == (int)METRIC_HAS_TIMESTAMP &&
                       (int)BUDGET_HAS_TRACE_ID == (int)METRIC_HAS_TRACE_ID &&
                       (int)BUDGET_HAS_SPAN_ID == (int)METRIC_HAS_SPAN_ID,
                   "what a budget has, a metric has");
    record->value = value;
    record->has = budget->has & ~(unsigned)BUDGET_HAS_FLAGS;
    record->timestamp_wall_ns = budget->timestamp_wall_ns;
    memcpy(record->trace_id, budget->trace_id, sizeof record->trace_id);
    memcpy(record->span_id, budget->span_id, sizeof record->span_id);
    int err = metrics_record_again(budgets->metrics, record, NULL);
    record->has = 0;
    return err;
}

static int declare(struct budgets *budgets, enum budget_family family)
{
    const struct metric *record = &budgets->records[family];
    bool is_histogram = families[family].type == FAMILY_HISTOGRAM;
    struct family_shape shape = {.name = record->name,
                                 .source = record->name,
                                 .help = str_of(families[family].help),
                                 .unit = is_histogram ? STR_LITERAL("seconds") : (struct str){0},
                                 .type = families[family].type,
                                 .only = SPELLING_BUDGET,
                                 .declared = true,
                                 .native = is_histogram,
                                 .label_count = families[family].label_count,
                                 .labels = labels,
                                 .bound_count = is_histogram ? sizeof bounds / sizeof bounds[0] : 0,
                                 .bounds = is_histogram ? bounds : NULL};
    return metrics_declare(budgets->metrics, &shape);
}

static int set_burn(struct budgets *budgets, const struct budget_limit *limit,
                    const struct budget_burn *burn)
{
    int err = 0;
    for (unsigned i = 0; err == 0 && i < BURN_STRETCHES; i++) {
        struct metric *record = address(budgets, BUDGET_BURN, limit);
        record->attributes[1].value = stretches[i].window;
        record->spelling.head = stretches[i].head;
        err = apply(budgets, record, burn->rate[i]);
    }
    return err;
}

/* Burn rates show from the start, without a request as NaN. */
static int start_gauges(struct budgets *budgets)
{
    struct metric *objective = address(budgets, BUDGET_OBJECTIVE, budgets->layers[0]->limit);
    int err = apply(budgets, objective, budgets->objective);
    for (uint32_t i = 0; err == 0 && i < budgets->configured; i++) {
        err = set_burn(budgets, budgets->layers[i]->limit, &budgets->told[i].burn);
    }
    return err;
}

int budgets_declare(struct budgets *budgets, struct str *ret_name)
{
    int err = 0;
    for (unsigned i = 0; err == 0 && i < BUDGET_FAMILY_COUNT; i++) {
        *ret_name = budgets->records[i].name;
        err = declare(budgets, (enum budget_family)i);
        for (uint32_t at = 0; err == 0 && i < BUDGET_BURN && at < budgets->configured; at++) {
            const struct budget_limit *limit = budgets->layers[at]->limit;
            err = metrics_start(budgets->metrics, address(budgets, (enum budget_family)i, limit));
        }
    }
    return err != 0 ? err : start_gauges(budgets);
}

/* --- records ----------------------------------------------------------------------------------- */

/* The layer that last had a name as long is tried before a search: layers are few. */
static inline uint32_t guess_layer(const struct budgets *budgets, struct str name)
{
    return budgets->guesses[name.len % BUDGETS_GUESSES];
}

static inline bool is_named(const struct budget_limit *limit, struct str name)
{
    return limit->layer.len == name.len && str_same(limit->layer.ptr, name.ptr, name.len);
}

static uint32_t look_up(struct budgets *budgets, struct str name)
{
    uint32_t number = guess_layer(budgets, name);
    if (!is_named(budgets->layers[number]->limit, name)) {
        number = names_find(&budgets->numbers, name);
        if (number != NAMES_NONE) {
            budgets->guesses[name.len % BUDGETS_GUESSES] = (uint8_t)number;
        }
    }
    return number;
}

static int find_layer(struct budgets *budgets, struct str name, uint32_t *ret_number)
{
    uint32_t number = look_up(budgets, name);
    if (number != NAMES_NONE) {
        *ret_number = number;
        return 0;
    }
    if (name.len == 0 || name.len > RECORD_NAME_MAX || !name_is_text(name)) {
        return ERR_NAME;
    }
    if (budgets->count - budgets->configured >= BUDGETS_FREE_MAX ||
        budgets->count + 1 >= BUDGETS_LAYERS_MAX) {
        name = STR_LITERAL(BUDGETS_OVERFLOW);
        number = names_find(&budgets->numbers, name);
    }
    if (number != NAMES_NONE) {
        *ret_number = number;
        return 0;
    }
    struct budget_limit limit = {
        .layer = name, .budget_ms = (double)INFINITY, .soft_limit_ms = (double)INFINITY};
    return add_layer(budgets, &limit, ret_number);
}

int budgets_adopt(struct budgets *budgets, struct str name, uint32_t *ret_number)
{
    return find_layer(budgets, name, ret_number);
}

/* The layer as one that may be written; NULL without memory. */
static struct budget_layer *own_layer(struct budgets *budgets, uint32_t number)
{
    struct budget_layer *layer = budgets->layers[number];
    struct limbo *limbo = &budgets->registry->limbo;
    if (layer->block.epoch > limbo->shared_epoch) {
        return layer;
    }
    struct budget_layer *copy = mem_alloc(sizeof *copy);
    if (copy != NULL) {
        *copy = *layer;
        copy->block.epoch = limbo->epoch;
        budgets->layers[number] = copy;
        limbo_retire(limbo, &layer->block);
    }
    return copy;
}

/* The present stretch of a layer that may be written, its tally too; NULL without memory. */
static struct budget_slot *own_slot(struct budgets *budgets, struct budget_layer *layer)
{
    struct limbo *limbo = &budgets->registry->limbo;
    uint64_t present = budgets->registry->slot;
    struct budget_slot *slot = &layer->slots[present % WINDOW_SLOTS];
    struct tally *tally = slot->tally;
    if (tally != NULL && tally->slot == present) {
        if (tally->block.epoch <= limbo->shared_epoch) {
            tally = tally_unshare(tally, limbo);
        }
        slot->tally = tally == NULL ? slot->tally : tally;
        return tally == NULL ? NULL : slot;
    }
    tally = tally_new(limbo, present);
    if (tally == NULL) {
        return NULL;
    }
    tally_retire(slot->tally, limbo);
    *slot = (struct budget_slot){.tally = tally};
    return slot;
}

/* A place for one more at a position. Returns 0 or ERR_NOMEM. */
static int reserve(struct budgets *budgets, struct tally *tally, int position)
{
    return tally_find_counter(tally, position) != NULL
               ? 0
               : hist_add_weighted(&tally->latency, &budgets->registry->limbo, position, 0);
}

static inline void count_extremes(struct sums *sums, double ms)
{
    if (TALLY_RARELY(ms < sums->latency_min_ms)) {
        sums->latency_min_ms = ms;
    }
    if (TALLY_RARELY(ms > sums->latency_max_ms)) {
        sums->latency_max_ms = ms;
    }
}

/* The histogram has a place for it, so this fails only where a counter of 2^32 carries without memory. */
static void count_time(struct budgets *budgets, struct tally *tally, double ms, int position)
{
    if (hist_add(&tally->latency, &budgets->registry->limbo, position) == 0) {
        tally->sums.count++;
        tally->sums.latency_sum += exact_steps(ms, EXACT_STEPS_PER_MS);
        count_extremes(&tally->sums, ms);
    }
}

/* Without a branch: over or not is what processors guess worst. */
static inline struct budget_verdict count_request(struct budget_layer *layer,
                                                  struct budget_slot *slot, double ms)
{
    const struct budget_limit *limit = layer->limit;
    bool exceeded = ms > limit->budget_ms;
    layer->count++;
    layer->last_ms = ms;
    layer->exceeded += exceeded;
    slot->exceeded += exceeded;
    layer->soft_exceeded += ms > limit->soft_limit_ms;
    return (struct budget_verdict){.exceeded = exceeded, .budget_ms = limit->budget_ms};
}

/* A layer that its request has been in before: over its limits only if it was not yet. */
static struct budget_verdict count_again(struct budget_layer *layer, struct budget_slot *slot,
                                         double before_ms, double ms)
{
    const struct budget_limit *limit = layer->limit;
    bool exceeded = ms > limit->budget_ms && !(before_ms > limit->budget_ms);
    layer->last_ms = ms;
    layer->exceeded += exceeded;
    slot->exceeded += exceeded;
    slot->again++;
    layer->soft_exceeded += ms > limit->soft_limit_ms && !(before_ms > limit->soft_limit_ms);
    return (struct budget_verdict){.exceeded = exceeded, .budget_ms = limit->budget_ms};
}

static int record_slowly(struct budgets *budgets, const struct budget *budget,
                         struct budget_verdict *ret_verdict)
{
    uint32_t number;
    double ms = budget->elapsed_ms;
    int err = find_layer(budgets, budget->layer, &number);
    struct budget_layer *layer = err != 0 ? NULL : own_layer(budgets, number);
    struct budget_slot *slot = layer == NULL ? NULL : own_slot(budgets, layer);
    int position = tally_position(ms);
    if (slot == NULL || reserve(budgets, slot->tally, position) != 0) {
        return err != 0 ? err : ERR_NOMEM;
    }
    struct metric *record = address(budgets, BUDGET_ELAPSED, layer->limit);
    err = (budget->has & BUDGET_HAS_TRACE_ID) != 0
              ? apply_traced(budgets, record, ms * 1e-3, budget)
              : apply(budgets, record, ms * 1e-3);
    if (err != 0) {
        return err;
    }
    budgets->overflowed += !str_equal(layer->limit->layer, budget->layer);
    count_time(budgets, slot->tally, ms, position);
    double before_ms = record_before_ms(budget);
    *ret_verdict = before_ms > 0 ? count_again(layer, slot, before_ms, record_spent_ms(budget))
                                 : count_request(layer, slot, ms);
    budgets->ways[number] =
        (struct budget_way){.ready = budgets->registry->ready,
                            .layer = layer,
                            .slot = slot,
                            .tally = slot->tally,
                            .elapsed = metrics_find_way(budgets->metrics, &record->spelling),
                            .limit = layer->limit};
    return 0;
}

/* Where a record counts if nothing must be copied or made for it. */
struct spot {
    const struct budget_way *way;
    uint32_t *counter; /* NULL: it goes the long way */
};

static inline struct spot find_spot(const struct budgets *budgets, const struct budget *budget)
{
    const struct budget_way *way = &budgets->ways[guess_layer(budgets, budget->layer)];
    struct spot spot = {.way = way, .counter = NULL};
    if (__builtin_expect(way->ready == budgets->registry->ready, 1) &&
        (budget->has & (BUDGET_HAS_TRACE_ID | BUDGET_HAS_BEFORE)) == 0 &&
        is_named(way->limit, budget->layer)) {
        spot.counter = tally_find_counter(way->tally, tally_position(budget->elapsed_ms));
    }
    return spot;
}

/* False with nothing done when it must go the long way after all. */
static inline bool record_quickly(const struct budgets *budgets, const struct spot *spot, double ms,
                                  struct budget_verdict *ret_verdict)
{
    const struct budget_way *way = spot->way;
    if (spot->counter == NULL || *spot->counter == UINT32_MAX ||
        !metrics_observe(budgets->metrics, &way->elapsed, ms * 1e-3)) {
        return false;
    }
    struct sums *sums = &way->tally->sums;
    ++*spot->counter;
    sums->count++;
    exact_add(&sums->latency_sum, exact_few_steps(ms, EXACT_STEPS_PER_MS));
    count_extremes(sums, ms);
    *ret_verdict = count_request(way->layer, way->slot, ms);
    return true;
}

static inline int record_at(struct budgets *budgets, const struct spot *spot,
                            const struct budget *budget, struct budget_verdict *ret_verdict)
{
    return __builtin_expect(record_quickly(budgets, spot, budget->elapsed_ms, ret_verdict), 1)
               ? 0
               : record_slowly(budgets, budget, ret_verdict);
}

int budgets_record(struct budgets *budgets, const struct budget *budget,
                   struct budget_verdict *ret_verdict)
{
    struct spot spot = find_spot(budgets, budget);
    return record_at(budgets, &spot, budget, ret_verdict);
}

/* A record that goes the long way spoils no spot: a layer that is ready stays where it is, and so does
 * each chunk that may be written. What it moves on /metrics, the metrics see by themselves. */
void budgets_record_some(struct budgets *budgets, const struct budget *list, unsigned count,
                         int *ret_errs, struct budget_verdict *ret_verdicts)
{
    struct spot spots[RECORD_BUDGETS_MAX];
    assert(count <= RECORD_BUDGETS_MAX);
    for (unsigned i = 0; i < count; i++) {
        spots[i] = find_spot(budgets, &list[i]);
        __builtin_prefetch(spots[i].counter, 1);
    }
    for (unsigned i = 0; i < count; i++) {
        ret_errs[i] = record_at(budgets, &spots[i], &list[i], &ret_verdicts[i]);
    }
}

/* --- what is told when somebody looks ---------------------------------------------------------- */

/* Adds to a counter of /metrics what it has not been told. Returns 0 or ERR_NOMEM. */
static int tell_count(struct budgets *budgets, enum budget_family family,
                      const struct budget_limit *limit, uint64_t count, uint64_t *told)
{
    int err = count == *told
                  ? 0
                  : apply(budgets, address(budgets, family, limit), (double)(count - *told));
    *told = err == 0 ? count : *told;
    return err;
}

/* A gauge that stays as it is would be copied with its page for nothing. */
static int tell_burn(struct budgets *budgets, const struct budget_layer *layer,
                     struct budget_burn *told)
{
    struct budget_burn burn;
    budget_burn_compute(layer, budgets->registry->slot, budgets->objective, &burn);
    int err = memcmp(&burn, told, sizeof burn) == 0 ? 0 : set_burn(budgets, layer->limit, &burn);
    *told = err == 0 ? burn : *told;
    return err;
}

int budgets_age(struct budgets *budgets)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < budgets->count; i++) {
        const struct budget_layer *layer = budgets->layers[i];
        struct budget_told *told = &budgets->told[i];
        if (!has_budget(layer->limit)) {
            continue;
        }
        err = tell_count(budgets, BUDGET_REQUESTS, layer->limit, layer->count, &told->count);
        err = err != 0 ? err
                       : tell_count(budgets, BUDGET_EXCEEDED, layer->limit, layer->exceeded,
                                    &told->exceeded);
        err = err != 0 ? err
                       : tell_count(budgets, BUDGET_SOFT_EXCEEDED, layer->limit,
                                    layer->soft_exceeded, &told->soft_exceeded);
        err = err != 0 ? err : tell_burn(budgets, layer, &told->burn);
    }
    return err;
}

/* --- other budgets ----------------------------------------------------------------------------- */

static const struct budget_limit no_limit = {.budget_ms = (double)INFINITY,
                                             .soft_limit_ms = (double)INFINITY};

/* What a layer is to have by the options. */
static struct budget_limit limit_by(const struct budgets_options *options, uint32_t number,
                                    struct str layer)
{
    struct budget_limit limit = no_limit;
    limit.layer = layer;
    if (number == BUDGETS_TOTAL_NUMBER) {
        limit.budget_ms = options->total_ms;
        limit.soft_limit_ms = options->total_ms * BUDGETS_TOTAL_SOFT;
    }
    for (uint32_t i = 0; i < options->layer_count; i++) {
        const struct budget_option *option = &options->layers[i];
        if (str_equal(option->layer, layer)) {
            limit.budget_ms = option->budget_ms;
            limit.soft_limit_ms = option->budget_ms * option->soft_limit_pct;
        }
    }
    return limit;
}

static bool is_known(const struct budgets *budgets, struct str layer)
{
    return names_find(&budgets->numbers, layer) != NAMES_NONE;
}

/* One place is kept for the overflow layer. */
int budgets_check(const struct budgets *budgets, const struct budgets_options *options)
{
    uint32_t count = budgets->count + !is_known(budgets, STR_LITERAL(BUDGETS_OVERFLOW));
    for (uint32_t i = 0; i < options->layer_count; i++) {
        count += !is_known(budgets, options->layers[i].layer);
    }
    return count <= BUDGETS_LAYERS_MAX ? 0 : ERR_LIMIT;
}

/* Layers that are only now heard of, without a budget yet. */
static int add_missing(struct budgets *budgets, const struct budgets_options *options)
{
    int err = budgets_check(budgets, options);
    for (uint32_t i = 0; err == 0 && i < options->layer_count; i++) {
        struct budget_limit limit = no_limit;
        uint32_t number;
        limit.layer = options->layers[i].layer;
        err = is_known(budgets, limit.layer) ? 0 : add_layer(budgets, &limit, &number);
    }
    return err;
}

/* The layers past `count`, which nobody has seen. */
static void take_back_layers(struct budgets *budgets, uint32_t count)
{
    while (budgets->count > count) {
        struct budget_layer *layer = budgets->layers[--budgets->count];
        names_take_back(&budgets->numbers, layer->limit->layer);
        mem_free((void *)(uintptr_t)layer->limit); /* it was made a moment ago */
        mem_free(layer);
    }
}

/* The limits that differ; NULL where they do not. */
static int make_limits(const struct budgets *budgets, const struct budgets_options *options,
                       struct budget_limit *limits[BUDGETS_LAYERS_MAX])
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < budgets->count; i++) {
        const struct budget_limit *present = budgets->layers[i]->limit;
        struct budget_limit wanted = limit_by(options, i, present->layer);
        if (wanted.budget_ms != present->budget_ms ||
            wanted.soft_limit_ms != present->soft_limit_ms) {
            limits[i] = new_limit(&wanted, i, &budgets->registry->limbo);
            err = limits[i] == NULL ? ERR_NOMEM : 0;
        }
    }
    return err;
}

/* Series of a layer that gets a budget, at 0, and burn rates that say nothing, also where one is lost. */
static int start_series(struct budgets *budgets, uint32_t number, const struct budget_limit *limit)
{
    static const enum budget_family counts[] = {BUDGET_REQUESTS, BUDGET_EXCEEDED,
                                                BUDGET_SOFT_EXCEEDED};
    struct budget_told *told = &budgets->told[number];
    int err = 0;
    for (unsigned i = 0; err == 0 && has_budget(limit) && i < sizeof counts / sizeof counts[0];
         i++) {
        err = metrics_start(budgets->metrics, address(budgets, counts[i], limit));
    }
    told->burn = (struct budget_burn){{(double)NAN, (double)NAN}};
    return err != 0 ? err : set_burn(budgets, limit, &told->burn);
}

/* All that needs memory. What it has done when it fails says nothing wrong. */
static int announce(struct budgets *budgets, const struct budgets_options *options,
                    struct budget_limit *const limits[BUDGETS_LAYERS_MAX])
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < budgets->count; i++) {
        if (limits[i] == NULL) {
            continue;
        }
        bool changes_side = has_budget(limits[i]) != has_budget(budgets->layers[i]->limit);
        err = own_layer(budgets, i) == NULL ? ERR_NOMEM : 0;
        if (err == 0 && changes_side) {
            err = start_series(budgets, i, limits[i]);
        }
    }
    struct metric *objective = address(budgets, BUDGET_OBJECTIVE, budgets->layers[0]->limit);
    return err != 0 ? err : apply(budgets, objective, options->objective);
}

/* The layer may be written. What was counted against no budget stays untold. */
static void adopt_limit(struct budgets *budgets, uint32_t number, const struct budget_limit *limit)
{
    struct budget_layer *layer = budgets->layers[number];
    struct budget_told *told = &budgets->told[number];
    if (!has_budget(layer->limit)) {
        told->count = layer->count;
        told->exceeded = layer->exceeded;
        told->soft_exceeded = layer->soft_exceeded;
    }
    budgets->configured += has_budget(limit);
    budgets->configured -= has_budget(layer->limit);
    limbo_retire(&budgets->registry->limbo, (struct block *)(uintptr_t)&layer->limit->block);
    layer->limit = limit;
    budgets->ways[number].ready = 0; /* it leads to the old one */
}

int budgets_change(struct budgets *budgets, const struct budgets_options *options)
{
    struct budget_limit *limits[BUDGETS_LAYERS_MAX] = {NULL};
    uint32_t before = budgets->count;
    int err = budgets_age(budgets); /* under the old ones */
    err = err != 0 ? err : add_missing(budgets, options);
    err = err != 0 ? err : make_limits(budgets, options, limits);
    err = err != 0 ? err : announce(budgets, options, limits);
    if (err != 0) {
        for (uint32_t i = 0; i < budgets->count; i++) {
            mem_free(limits[i]);
        }
        take_back_layers(budgets, before);
        return err;
    }
    for (uint32_t i = 0; i < budgets->count; i++) {
        if (limits[i] != NULL) {
            adopt_limit(budgets, i, limits[i]);
        }
    }
    budgets->objective = options->objective;
    return 0;
}

/* --- snapshots --------------------------------------------------------------------------------- */

int budgets_freeze(const struct budgets *budgets, struct budgets_view *ret)
{
    const struct budget_layer **layers = mem_alloc((budgets->count + 1) * sizeof *layers);
    if (layers == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < budgets->count; i++) {
        layers[i] = budgets->layers[i];
    }
    *ret = (struct budgets_view){layers, budgets->count, budgets->configured, budgets->objective};
    return 0;
}
