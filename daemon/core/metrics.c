/*
 * Happy path of a record
 *   1. way       a spelling that came lately leads to the series: go on at 5
 *   2. family    by the name that metric_name makes; a new name makes a family
 *   3. key       the attributes in one order (metric_key)
 *   4. series    by the key; a new key makes a series
 *   5. apply     to the page that is ours to write: a number, buckets, a part of a gauge
 *   6. keep      the way of the spelling
 *
 * What can fail: the name (no text, or another's); the attributes; a ceiling, which leads to the
 * family's overflow series; memory. Whatever fails, nothing was counted.
 *
 * A series ends in two steps: hide puts it into a queue, unless it is in one, and metrics_tick gives its
 * place back when it was hidden for the queue's time, or somewhat longer.
 * A record that comes before shows it again.
 *
 *     shown --- idle, or nobody left ---> hidden --- 60 s ---> gone
 *       ^                                   |
 *       +------------- a record ------------+
 */
#include "core/metrics.h"

#include <assert.h>
#include <float.h>
#include <math.h>

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "core/metric_name.h"

struct metrics_ending {
    struct metrics_ending *next;
    uint64_t due_seconds;
    uint32_t family;
    uint32_t place;
};

/* Where a record is counted. */
struct target {
    struct series_set *set;
    uint32_t place;
    bool overflow;
    bool fresh; /* made for this record */
};

enum { FIRST_FAMILIES = 32, SAMPLE_NAMES_MAX = METRICS_FAMILIES_MAX * FAMILY_SUFFIXES };

/* --- life -------------------------------------------------------------------------------------- */

int metrics_init(struct metrics *metrics, const struct metrics_options *options,
                 struct limbo *limbo)
{
    metrics->options = *options;
    metrics->limbo = limbo;
    metrics->next_serial = 1;
    metrics->ready = 1;
    metrics->idle = (struct metrics_endings){NULL, &metrics->idle.first, METRICS_HIDDEN_SECONDS};
    metrics->orphaned =
        (struct metrics_endings){NULL, &metrics->orphaned.first, METRICS_ORPHANED_SECONDS};
    members_init(
        &metrics->members,
        &(struct members_options){options->window_ns, options->max_set_values, options->hash_seed});
    if (index_init(&metrics->index) != 0 || ways_init(&metrics->ways, options->hash_seed) != 0 ||
        names_init(&metrics->names, METRICS_FAMILIES_MAX, options->hash_seed) != 0 ||
        names_init(&metrics->samples, SAMPLE_NAMES_MAX, options->hash_seed) != 0) {
        metrics_fini(metrics);
        return ERR_NOMEM;
    }
    return 0;
}

/* What lies beside the value of a series. */
static void drop_beside(struct metrics *metrics, struct series_set *set, uint32_t place)
{
    if (set->parts != NULL) {
        part_drop_all(&metrics->parts, &set->parts[place]);
    }
    if (set->distinct != NULL) {
        members_drop(&metrics->members, set, place);
    }
}

static void free_endings(struct metrics_endings *endings)
{
    while (endings->first != NULL) {
        struct metrics_ending *ending = endings->first;
        endings->first = ending->next;
        mem_free(ending);
    }
}

void metrics_fini(struct metrics *metrics)
{
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        struct family *family = (struct family *)(uintptr_t)metrics->sets[i].family; /* ends here */
        for (uint32_t place = 0; place < series_places(&metrics->sets[i]); place++) {
            const struct series_id *id = series_who(&metrics->sets[i], place);
            maker_remove(id == NULL ? NULL : id->maker);
            drop_beside(metrics, &metrics->sets[i], place);
        }
        series_fini(&metrics->sets[i], metrics->limbo);
        family_free(family);
    }
    free_endings(&metrics->idle);
    free_endings(&metrics->orphaned);
    mem_free(metrics->sets);
    mem_free(metrics->overflow);
    index_fini(&metrics->index);
    names_fini(&metrics->names);
    names_fini(&metrics->samples);
    ways_fini(&metrics->ways);
    *metrics = (struct metrics){0};
}

void metrics_limit(struct metrics *metrics, const struct metrics_limits *limits)
{
    metrics->options.max_series = limits->max_series;
    metrics->options.max_series_per_family = limits->max_series_per_family;
    metrics->options.max_label_bytes = limits->max_label_bytes;
    metrics->options.max_set_values = limits->max_set_values;
    metrics->members.pool.max = limits->max_set_values;
}

void metrics_set_time(struct metrics *metrics, uint64_t mono_ns, uint64_t wall_ns)
{
    members_set_time(&metrics->members, mono_ns);
    metrics->now_seconds = mono_ns / NS_PER_SECOND;
    metrics->wall_ns = wall_ns;
}

/* --- families ---------------------------------------------------------------------------------- */

static bool begins_with(struct str text, struct str start)
{
    return text.len >= start.len && memcmp(text.ptr, start.ptr, start.len) == 0;
}

/* Names of the daemon itself: dwelld_…, target with its sample, and <namespace>_model_…,
 * <namespace>_budget_…. */
static bool is_ours(const struct metrics *metrics, struct str name)
{
    struct str space = metrics->options.name_space;
    if (begins_with(name, STR_LITERAL("dwelld_")) || str_is(name, "target") ||
        str_is(name, "target_info")) {
        return true;
    }
    if (space.len > 0) {
        if (!begins_with(name, space) || name.len == space.len || name.ptr[space.len] != '_') {
            return false;
        }
        name = (struct str){name.ptr + space.len + 1, name.len - space.len - 1};
    }
    return begins_with(name, STR_LITERAL("model_")) || begins_with(name, STR_LITERAL("budget_"));
}

/* Room for the longest name and suffix. */
struct sample_name {
    size_t len;
    char text[METRIC_NAME_MAX + sizeof "_created"];
};

static struct str name_sample(const struct family_shape *shape, const char *suffix,
                              struct sample_name *ret)
{
    size_t suffix_len = strlen(suffix);
    memcpy(ret->text, shape->name.ptr, shape->name.len);
    memcpy(ret->text + shape->name.len, suffix, suffix_len);
    ret->len = shape->name.len + suffix_len;
    return (struct str){ret->text, ret->len};
}

/* Whether the family's name, or that of one of its samples, is anybody's: a counter x cannot be beside
 * a gauge x_created. */
static bool is_taken(const struct metrics *metrics, const struct family_shape *shape)
{
    const char *const *suffixes = family_suffixes[shape->type];
    bool taken = (shape->only == SPELLING_NONE && is_ours(metrics, shape->name)) ||
                 names_find(&metrics->names, shape->name) != NAMES_NONE ||
                 names_find(&metrics->samples, shape->name) != NAMES_NONE;
    for (unsigned i = 0; !taken && suffixes[i] != NULL; i++) {
        struct sample_name sample;
        struct str name = name_sample(shape, suffixes[i], &sample);
        taken = names_find(&metrics->samples, name) != NAMES_NONE ||
                names_find(&metrics->names, name) != NAMES_NONE;
    }
    return taken;
}

int metrics_check(const struct metrics *metrics, const struct family_shape *shape)
{
    if (shape->only == SPELLING_NONE && is_ours(metrics, shape->name)) {
        return ERR_NAME;
    }
    return is_taken(metrics, shape) ? ERR_CONFLICT : 0;
}

static int reserve_families(struct metrics *metrics)
{
    if (metrics->family_count < metrics->family_room) {
        return 0;
    }
    uint32_t room = metrics->family_room == 0 ? FIRST_FAMILIES : metrics->family_room * 2;
    struct series_set *sets = mem_realloc(metrics->sets, room * sizeof *sets);
    metrics->sets = sets == NULL ? metrics->sets : sets;
    uint32_t *overflow = mem_realloc(metrics->overflow, room * sizeof *overflow);
    metrics->overflow = overflow == NULL ? metrics->overflow : overflow;
    if (sets == NULL || overflow == NULL) {
        return ERR_NOMEM;
    }
    metrics->family_room = room;
    return 0;
}

/* All names of a family, or none. */
static int take_names(struct metrics *metrics, const struct family_shape *shape)
{
    const char *const *suffixes = family_suffixes[shape->type];
    struct sample_name sample;
    unsigned taken = 0;
    int err = names_add(&metrics->names, shape->name, metrics->family_count);
    if (err != 0) {
        return err;
    }
    while (err == 0 && suffixes[taken] != NULL) {
        err = names_add(&metrics->samples, name_sample(shape, suffixes[taken], &sample),
                        metrics->family_count);
        taken += err == 0;
    }
    if (err != 0) {
        while (taken-- > 0) {
            names_take_back(&metrics->samples, name_sample(shape, suffixes[taken], &sample));
        }
        names_take_back(&metrics->names, shape->name);
    }
    return err;
}

int metrics_declare(struct metrics *metrics, const struct family_shape *shape)
{
    if (is_taken(metrics, shape)) {
        return ERR_CONFLICT;
    }
    if (metrics->family_count == METRICS_FAMILIES_MAX) {
        return ERR_LIMIT;
    }
    struct family *family =
        reserve_families(metrics) == 0 ? family_new(shape, metrics->family_count) : NULL;
    int err = family == NULL ? ERR_NOMEM : take_names(metrics, shape);
    if (err != 0) {
        family_free(family);
        return err;
    }
    series_init(&metrics->sets[metrics->family_count], family);
    metrics->overflow[metrics->family_count] = 0;
    metrics->family_count++;
    return 0;
}

/* Of the first record of a name, if the record itself is good. */
static int make_family(struct metrics *metrics, const struct metric *metric,
                       const struct metric_name *name)
{
    struct str text = {name->text, name->len};
    struct family_shape shape = {
        .name = text,
        .source = {name->source, name->source_len},
        .unit = {name->text + name->len - name->unit_len, name->unit_len},
        .type = family_type_of(metric->op),
    };
    if (shape.type == FAMILY_GAUGE) {
        shape.aggregation = metric->aggregation;
    }
    if (shape.type == FAMILY_HISTOGRAM) {
        const struct family_bounds *bounds = family_usual_bounds(shape.unit);
        shape.bounds = bounds->bound;
        shape.bound_count = bounds->count;
        shape.native = true;
    }
    int outcome =
        metric_key_make(&shape, metric, metrics->options.max_label_bytes, 0, &metrics->key);
    return outcome < 0 ? outcome : metrics_declare(metrics, &shape);
}

/* A family that nobody declared is the first record's: later ones must mean the same by the name. */
static int check_family(const struct family_shape *shape, const struct metric *metric,
                        const struct metric_name *name)
{
    if (shape->type != family_type_of(metric->op) ||
        (shape->only != SPELLING_NONE && shape->only != metric->spelling.format)) {
        return ERR_CONFLICT;
    }
    bool same = shape->declared ||
                (str_equal(shape->source, (struct str){name->source, name->source_len}) &&
                 (shape->aggregation == metric->aggregation || shape->type != FAMILY_GAUGE ||
                  metric->aggregation == AGGREGATION_UNSAID));
    return same ? 0 : ERR_CONFLICT;
}

static bool ends_in(struct str text, struct str end)
{
    return text.len > end.len && memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0;
}

/* A declared family whose own name ends as the samples of counters and infos do, such as a gauge
 * jobs_total: metric_name would take that off. NAMES_NONE when there is none of the type. */
static uint32_t find_by_whole_name(const struct metrics *metrics, const struct metric *metric)
{
    if (metric->unit.len > 0 || (!ends_in(metric->name, STR_LITERAL("_total")) &&
                                 !ends_in(metric->name, STR_LITERAL("_info")))) {
        return NAMES_NONE;
    }
    uint32_t number = names_find(&metrics->names, metric->name);
    if (number == NAMES_NONE) {
        return NAMES_NONE;
    }
    const struct family_shape *shape = &metrics->sets[number].family->shape;
    return shape->declared && shape->type == family_type_of(metric->op) ? number : NAMES_NONE;
}

static int find_family(struct metrics *metrics, const struct metric *metric,
                       struct series_set **ret_set, double *ret_scale)
{
    struct metric_name name;
    uint32_t number = find_by_whole_name(metrics, metric);
    if (number != NAMES_NONE) {
        *ret_set = &metrics->sets[number];
        *ret_scale = 1;
        return 0;
    }
    int err = metric_name_make(metric->name, metric->unit, metric->op, &name);
    if (err != 0) {
        return err;
    }
    number = names_find(&metrics->names, (struct str){name.text, name.len});
    if (number == NAMES_NONE) {
        number = metrics->family_count;
        err = make_family(metrics, metric, &name);
    } else {
        err = check_family(&metrics->sets[number].family->shape, metric, &name);
    }
    if (err == 0) {
        *ret_set = &metrics->sets[number];
        *ret_scale = name.scale;
    }
    return err;
}

/* --- series ------------------------------------------------------------------------------------ */

static uint64_t hash_of(const struct metrics *metrics, uint32_t family,
                        const struct metric_key *key)
{
    return XXH3_64bits_withSeed(
        key->pairs, key->len, metrics->options.hash_seed ^ (family * UINT64_C(0x9E3779B97F4A7C15)));
}

static struct series_id *new_id(struct metrics *metrics, uint32_t family, uint64_t hash,
                                const struct metric_key *key)
{
    struct series_id *id = mem_alloc(sizeof *id + key->len);
    if (id != NULL) {
        *id = (struct series_id){.hash = hash,
                                 .serial = metrics->next_serial++,
                                 .created_wall_ns = metrics->wall_ns,
                                 .family = family,
                                 .pair_count = key->pair_count,
                                 .len = (uint32_t)key->len};
        memcpy(id->pairs, key->pairs, key->len);
    }
    return id;
}

/* Takes the id. */
static int add_series(struct metrics *metrics, struct series_set *set, struct series_id *id)
{
    int err = id == NULL ? ERR_NOMEM : series_add(set, id, metrics->limbo);
    if (err != 0) {
        mem_free(id);
    } else if (set->touched != NULL) {
        set->touched[id->place] = (uint32_t)metrics->now_seconds;
    }
    return err;
}

/* The series for what goes past a ceiling. It is in no cell: no key leads to it. */
static int find_overflow(struct metrics *metrics, struct series_set *set, struct target *ret)
{
    uint32_t family = set->family->number;
    bool fresh = metrics->overflow[family] == 0;
    if (fresh) {
        metric_key_overflow(&metrics->key);
        struct series_id *id = new_id(metrics, family, 0, &metrics->key);
        int err = add_series(metrics, set, id);
        if (err != 0) {
            return err;
        }
        metrics->overflow[family] = 1 + id->place;
    }
    metrics->overflowed++;
    *ret = (struct target){set, metrics->overflow[family] - 1, true, fresh};
    return 0;
}

static bool is_full(const struct metrics *metrics, const struct series_set *set)
{
    uint32_t overflow = metrics->overflow[set->family->number] != 0;
    return metrics->index.count >= metrics->options.max_series ||
           maker_is_full(metrics->maker, metrics->options.max_series_per_maker) ||
           set->count - overflow >= metrics->options.max_series_per_family;
}

static int make_series(struct metrics *metrics, struct series_set *set, uint64_t hash,
                       struct series_id **ret_id)
{
    int err = index_reserve(&metrics->index, hash);
    if (err != 0) {
        return err;
    }
    struct series_id *id = new_id(metrics, set->family->number, hash, &metrics->key);
    err = add_series(metrics, set, id);
    if (err == 0) {
        index_add(&metrics->index, id);
        id->maker = metrics->maker;
        maker_add(id->maker);
        *ret_id = id;
    }
    return err;
}

static int find_series(struct metrics *metrics, struct series_set *set, const struct metric *metric,
                       const struct process *process, struct target *ret)
{
    const struct family_shape *shape = &set->family->shape;
    struct metric_key *key = &metrics->key;
    uint32_t family = set->family->number;
    bool own = shape->aggregation == AGGREGATION_PER_PID && process != NULL;
    int outcome = metric_key_make(shape, metric, metrics->options.max_label_bytes,
                                  own ? process->said_pid : 0, key);
    if (outcome < 0) {
        return outcome;
    }
    if (outcome == METRIC_KEY_OVERFLOW) {
        return find_overflow(metrics, set, ret);
    }
    uint64_t hash = hash_of(metrics, family, key);
    struct series_id *id =
        index_find(&metrics->index, hash, family, (struct str){key->pairs, key->len});
    bool fresh = id == NULL;
    int err = 0;
    if (fresh && is_full(metrics, set)) {
        return find_overflow(metrics, set, ret);
    }
    if (fresh) {
        err = make_series(metrics, set, hash, &id);
    }
    if (err == 0) {
        *ret = (struct target){set, id->place, false, fresh};
    }
    return err;
}

/* The series of the key at hand. */
static int adopt(struct metrics *metrics, struct series_set *set, struct series_id **ret_id)
{
    struct metric_key *key = &metrics->key;
    uint64_t hash = hash_of(metrics, set->family->number, key);
    *ret_id =
        index_find(&metrics->index, hash, set->family->number, (struct str){key->pairs, key->len});
    if (*ret_id != NULL) {
        return 0;
    }
    return is_full(metrics, set) ? ERR_LIMIT : make_series(metrics, set, hash, ret_id);
}

int metrics_adopt(struct metrics *metrics, const struct metrics_adoption *adoption,
                  uint32_t *ret_place)
{
    struct series_set *set = &metrics->sets[adoption->family];
    struct metric_key *key = &metrics->key;
    struct series_id *id = NULL;
    struct target target;
    assert(adoption->pairs.len <= METRIC_KEY_MAX);
    if (adoption->overflow) {
        int err = find_overflow(metrics, set, &target);
        metrics->overflowed -= err == 0; /* no record went there */
        if (err != 0) {
            return err;
        }
        id = (struct series_id *)(uintptr_t)series_who(set, target.place); /* the set owns it */
    } else {
        key->pair_count = adoption->pair_count;
        key->len = adoption->pairs.len;
        if (key->len > 0) {
            memcpy(key->pairs, adoption->pairs.ptr, key->len);
        }
        int err = adopt(metrics, set, &id);
        if (err != 0) {
            return err;
        }
    }
    id->created_wall_ns = adoption->created_wall_ns;
    *ret_place = id->place;
    return 0;
}

/* --- applying ---------------------------------------------------------------------------------- */

static bool hide(struct metrics *metrics, struct series_set *set, uint32_t place,
                 struct metrics_endings *endings);

static struct part_owner owner_of(const struct target *target, struct process *process)
{
    return (struct part_owner){&target->set->parts[target->place], target->set->family->number,
                               target->place, process};
}

/* Drops a process's part, and with it the series when that was the last reason for it. False without
 * memory, with nothing done. */
static bool drop_part(struct metrics *metrics, struct part *part)
{
    struct series_set *set = &metrics->sets[part->family];
    enum aggregation aggregation = set->family->shape.aggregation;
    uint32_t place = part->place;
    struct part *const *first = &set->parts[place];
    bool is_info = set->family->shape.type == FAMILY_INFO;
    bool stays = !is_info && (aggregation == AGGREGATION_UNSAID || aggregation == AGGREGATION_SUM);
    bool ends = !stays && (*first)->next == NULL;
    if (ends && !hide(metrics, set, place, &metrics->orphaned)) {
        return false;
    }
    struct series_page *page = is_info ? NULL : series_own(set, place, metrics->limbo);
    if (!is_info && page == NULL) { /* not after hide, which owns it */
        return false;
    }
    part_drop(&metrics->parts, part);
    if (page != NULL) { /* of one that ends too: who comes after begins at 0 */
        page->value[place % SERIES_PER_PAGE].number = part_fold(*first, aggregation);
    }
    return true;
}

/* A part whose process does not stand for it any more; metrics_tick tries again what failed. */
static void let_go(struct metrics *metrics, struct part *part)
{
    if (!drop_part(metrics, part)) {
        part_give(part, &metrics->gone);
    }
}

/* What a process says of itself replaces what it said before: one part of the family at most, among the
 * latest when it says one thing and another in turn. */
static int say(struct metrics *metrics, const struct target *target, struct process *process)
{
    struct part_owner owner = owner_of(target, process);
    struct part *said;
    int err = part_take(&metrics->parts, &owner, &said);
    if (err != 0 || process == NULL || said->value == 1) {
        return err;
    }
    said->value = 1;
    for (struct part *part = process->parts; part != NULL; part = part->next_own) {
        if (part->family == owner.family && part->place != owner.place) {
            let_go(metrics, part);
            break;
        }
    }
    return 0;
}

static int apply_to_gauge(struct metrics *metrics, const struct target *target, enum metric_op op,
                          double value, struct process *process, double *number)
{
    struct part_owner owner = owner_of(target, process);
    enum aggregation aggregation = target->set->family->shape.aggregation;
    return part_apply(&metrics->parts, &owner, aggregation, op, value, *number, number);
}

/* A counter never goes back, nor past all numbers. */
static inline void count_up(double *number, double value)
{
    double total = *number + value;
    *number = __builtin_expect(total <= DBL_MAX, 1) ? total : DBL_MAX;
}

static int take_observation(struct metrics *metrics, const struct series_set *set,
                            struct buckets **buckets, double value, uint64_t weight)
{
    const struct buckets *before = *buckets;
    int err = buckets_add(buckets, set->family->shape.bounds, value, weight, metrics->limbo);
    metrics->ready += *buckets != before;
    return err;
}

static void touch(const struct metrics *metrics, const struct target *target,
                  struct series_page *page)
{
    series_show(page, target->place, true);
    if (target->set->touched != NULL) {
        target->set->touched[target->place] = (uint32_t)metrics->now_seconds;
    }
}

static int change(struct metrics *metrics, const struct target *target, enum metric_op op,
                  double value, uint64_t weight, struct process *process)
{
    struct series_set *set = target->set;
    struct series_page *page = series_own(set, target->place, metrics->limbo);
    if (page == NULL) {
        return ERR_NOMEM;
    }
    union series_value *at = &page->value[target->place % SERIES_PER_PAGE];
    int err = 0;
    switch (op) {
    case METRIC_COUNT:
        count_up(&at->number, value);
        break;
    case METRIC_OBSERVE:
        err = take_observation(metrics, set, &at->buckets, value, weight);
        break;
    case METRIC_SET:
    case METRIC_ADD:
        err = apply_to_gauge(metrics, target, op, value, process, &at->number);
        break;
    case METRIC_INFO:
        err = say(metrics, target, process);
        at->number = err == 0 ? 1 : at->number;
        break;
    case METRIC_MEMBER: /* add_member's */
    case METRIC_OP_COUNT:
        break;
    }
    if (err == 0) {
        touch(metrics, target, page);
    }
    return err;
}

static int add_member(struct metrics *metrics, const struct target *target, struct str member)
{
    struct series_page *page = series_own(target->set, target->place, metrics->limbo);
    int err = page == NULL
                  ? ERR_NOMEM
                  : members_add(&metrics->members, target->set, target->place, page, member);
    if (err == 0) {
        touch(metrics, target, page);
    }
    return err;
}

/* After a change, so the page is ours. An exemplar that finds no memory costs no count. */
static void mark(struct metrics *metrics, const struct target *target, const struct metric *metric,
                 double value)
{
    struct exemplar_mark mark = {.set = true,
                                 .has_span_id = (metric->has & METRIC_HAS_SPAN_ID) != 0,
                                 .value = value,
                                 .wall_ns = (metric->has & METRIC_HAS_TIMESTAMP) != 0
                                                ? metric->timestamp_wall_ns
                                                : metrics->wall_ns};
    struct series_page *page = target->set->pages[target->place / SERIES_PER_PAGE];
    uint32_t slot = target->place % SERIES_PER_PAGE;
    bool kept = true;
    memcpy(mark.trace_id, metric->trace_id, sizeof mark.trace_id);
    memcpy(mark.span_id, metric->span_id, sizeof mark.span_id);
    if (metric->op == METRIC_OBSERVE) {
        kept = buckets_mark(page->value[slot].buckets, target->set->family->shape.bounds, &mark,
                            metrics->limbo) == 0;
    } else if (metric->op == METRIC_COUNT) {
        struct exemplar_set *exemplars = series_own_exemplars(page, metrics->limbo);
        kept = exemplars != NULL;
        if (kept) {
            exemplars->marks[slot] = mark;
        }
    }
    metrics->lost_exemplars += !kept;
}

static void keep_way(struct metrics *metrics, const struct target *target,
                     const struct metric *metric, double scale)
{
    bool constant =
        !target->overflow && target->set->family->shape.aggregation != AGGREGATION_PER_PID;
    if (constant) {
        struct way way = {.family = target->set->family->number,
                          .place = target->place,
                          .op = (uint8_t)metric->op,
                          .scale = scale};
        ways_keep(&metrics->ways, &metric->spelling, &way);
    }
}

/* In the unit of the name. What was finite stays so. */
static inline double scaled(double value, double scale)
{
    double product = value * scale;
    bool good = fabs(product) <= DBL_MAX || !isfinite(value);
    return __builtin_expect(good, 1) ? product : copysign(DBL_MAX, product);
}

static int locate(struct metrics *metrics, const struct metric *metric,
                  const struct process *process, struct target *ret_target, double *ret_scale)
{
    struct series_set *set;
    int err = find_family(metrics, metric, &set, ret_scale);
    return err != 0 ? err : find_series(metrics, set, metric, process, ret_target);
}

static bool is_overflow(const struct metrics *metrics, uint32_t family, uint32_t place)
{
    return metrics->overflow[family] == 1 + place;
}

/* Gives a place back. Returns 0, or ERR_NOMEM with nothing done. */
static int remove_series(struct metrics *metrics, struct series_set *set, uint32_t place)
{
    uint32_t family = set->family->number;
    bool overflow = is_overflow(metrics, family, place);
    /* The set owns the id, and lends it out as constant. */
    struct series_id *id = (struct series_id *)(uintptr_t)series_who(set, place);
    struct maker *maker = id->maker;
    if (!overflow) {
        index_remove(&metrics->index, id);
    }
    int err = series_remove(set, place, metrics->limbo);
    if (err != 0) {
        if (!overflow) {
            index_add(&metrics->index, id); /* to where it was */
        }
        return err;
    }
    if (overflow) {
        metrics->overflow[family] = 0;
    }
    maker_remove(maker);
    drop_beside(metrics, set, place);
    metrics->given_back++;
    metrics->ready++;
    return 0;
}

/* A record that was refused after all leaves no series behind. One that cannot be removed without memory
 * is at least not shown, and the next record of its key finds it. */
static void undo(struct metrics *metrics, const struct target *target)
{
    metrics->overflowed -= target->overflow;
    if (target->fresh && remove_series(metrics, target->set, target->place) != 0) {
        struct series_page *page = target->set->pages[target->place / SERIES_PER_PAGE];
        assert(page->block.epoch > metrics->limbo->shared_epoch); /* ours since it was made */
        series_show(page, target->place, false);
    }
}

int metrics_record(struct metrics *metrics, const struct metric *metric, struct process *process)
{
    struct target target;
    double scale;
    int err = locate(metrics, metric, process, &target, &scale);
    if (err != 0) {
        return err;
    }
    double value = scaled(metric->value, scale);
    err = metric->op == METRIC_MEMBER
              ? add_member(metrics, &target, metric->member)
              : change(metrics, &target, metric->op, value, metric->weight, process);
    if (err != 0) {
        undo(metrics, &target);
        return err;
    }
    if ((metric->has & METRIC_HAS_TRACE_ID) != 0) {
        mark(metrics, &target, metric, value);
    }
    if (metric->spelling.format != SPELLING_NONE) {
        keep_way(metrics, &target, metric, scale);
    }
    return 0;
}

int metrics_start(struct metrics *metrics, const struct metric *metric)
{
    struct target target;
    double scale;
    int err = locate(metrics, metric, NULL, &target, &scale);
    if (err == 0) {
        metrics->overflowed -= target.overflow; /* no record went there */
    }
    return err;
}

/* What a way leads to, for as long as it may be written to and is shown. */
static void shorten(const struct metrics *metrics, const struct target *target, struct way *way)
{
    const struct series_set *set = target->set;
    union series_value *value =
        &set->pages[target->place / SERIES_PER_PAGE]->value[target->place % SERIES_PER_PAGE];
    bool short_way = set->touched == NULL && (way->op == METRIC_COUNT || way->op == METRIC_OBSERVE);
    way->ready = short_way ? metrics->ready : 0;
    if (way->op == METRIC_COUNT) {
        way->at.number = &value->number;
    } else if (way->op == METRIC_OBSERVE) {
        way->at.buckets = value->buckets;
    }
}

static inline bool go_short_way(const struct metrics *metrics, const struct way *way, double value,
                                uint64_t weight)
{
    if (way->ready != metrics->ready) {
        return false;
    }
    if (way->op == METRIC_COUNT) {
        count_up(way->at.number, value);
        return true;
    }
    const struct family *family = metrics->sets[way->family].family;
    return buckets_add_quickly(way->at.buckets, family_bucket(family, value), value, weight);
}

/* Apart, so that the short way has little to save and restore. */
__attribute__((noinline)) static bool go_way(struct metrics *metrics, struct way *way, double value,
                                             uint64_t weight, struct process *process)
{
    struct target target = {&metrics->sets[way->family], way->place, false, false};
    if (change(metrics, &target, (enum metric_op)way->op, value, weight, process) != 0) {
        return false;
    }
    shorten(metrics, &target, way);
    return true;
}

bool metrics_spelled(struct metrics *metrics, const struct spelling *spelling, double value,
                     uint64_t weight, struct process *process)
{
    struct way *way = ways_find(&metrics->ways, spelling);
    if (way == NULL) {
        return false;
    }
    value = scaled(value, way->scale);
    return go_short_way(metrics, way, value, weight) ||
           go_way(metrics, way, value, weight, process);
}

struct metrics_way metrics_find_way(const struct metrics *metrics, const struct spelling *spelling)
{
    const struct way *way = ways_find(&metrics->ways, spelling);
    if (way == NULL || way->op != METRIC_OBSERVE || way->ready != metrics->ready) {
        return (struct metrics_way){.ready = 0};
    }
    return (struct metrics_way){way->ready, way->at.buckets, metrics->sets[way->family].family};
}

int metrics_record_again(struct metrics *metrics, const struct metric *metric,
                         struct process *process)
{
    const struct way *way = ways_find(&metrics->ways, &metric->spelling);
    if (way == NULL) {
        return metrics_record(metrics, metric, process);
    }
    struct target target = {&metrics->sets[way->family], way->place, false, false};
    double value = scaled(metric->value, way->scale);
    int err = change(metrics, &target, metric->op, value, metric->weight, process);
    if (err == 0 && (metric->has & METRIC_HAS_TRACE_ID) != 0) {
        mark(metrics, &target, metric, value);
    }
    return err;
}

/* --- ends -------------------------------------------------------------------------------------- */

static void append_ending(struct metrics *metrics, struct metrics_endings *endings,
                          struct metrics_ending *ending)
{
    ending->next = NULL;
    ending->due_seconds = metrics->now_seconds + endings->seconds;
    *endings->tail = ending;
    endings->tail = &ending->next;
}

/* False without memory: the series stays, and an idle one is tried again. */
static bool hide(struct metrics *metrics, struct series_set *set, uint32_t place,
                 struct metrics_endings *endings)
{
    bool waits = set->hidden[place] != 0;
    struct metrics_ending *ending = waits ? NULL : mem_alloc(sizeof *ending);
    struct series_page *page =
        ending == NULL && !waits ? NULL : series_own(set, place, metrics->limbo);
    if (page == NULL) {
        mem_free(ending);
        return false;
    }
    series_show(page, place, false);
    metrics->ready++;
    set->hidden[place] = (uint32_t)metrics->now_seconds + 1;
    if (!waits) {
        ending->family = set->family->number;
        ending->place = place;
        append_ending(metrics, endings, ending);
    }
    return true;
}

void metrics_end_process(struct metrics *metrics, struct process *process)
{
    while (process->parts != NULL) {
        let_go(metrics, process->parts);
    }
}

/* Second step of an end. True when it is over with, one way or the other; without memory, and for a
 * series that was shown in between and hidden again, it is not yet. */
static bool end(struct metrics *metrics, const struct metrics_ending *ending, uint64_t seconds)
{
    struct series_set *set = &metrics->sets[ending->family];
    uint32_t place = ending->place;
    uint32_t since = (uint32_t)metrics->now_seconds + 1 - set->hidden[place];
    bool shown = series_is_shown(set->pages[place / SERIES_PER_PAGE], place);
    if (!shown && (since < seconds || remove_series(metrics, set, place) != 0)) {
        return false;
    }
    set->hidden[place] = 0;
    if (!shown) {
        ways_forget(&metrics->ways);
    }
    return true;
}

static void give_back(struct metrics *metrics, struct metrics_endings *endings)
{
    for (unsigned i = 0; i < METRICS_TICK_ENDS && endings->first != NULL &&
                         endings->first->due_seconds <= metrics->now_seconds;
         i++) {
        struct metrics_ending *ending = endings->first;
        endings->first = ending->next;
        if (endings->first == NULL) {
            endings->tail = &endings->first;
        }
        if (end(metrics, ending, endings->seconds)) {
            mem_free(ending);
        } else {
            append_ending(metrics, endings, ending);
        }
    }
}

static void hide_if_idle(struct metrics *metrics, struct series_set *set, uint32_t place)
{
    uint64_t idle = (uint32_t)metrics->now_seconds - set->touched[place];
    const struct series_page *page = set->pages[place / SERIES_PER_PAGE];
    if (series_is_shown(page, place) && idle >= set->family->shape.expire_seconds) {
        (void)hide(metrics, set, place, &metrics->idle); /* fails: the next look finds it again */
    }
}

static void look_for_idle(struct metrics *metrics)
{
    unsigned left = METRICS_TICK_PLACES;
    for (uint32_t families = metrics->family_count; families > 0 && left > 0; families--) {
        if (metrics->tick_family >= metrics->family_count) {
            metrics->tick_family = 0;
            metrics->tick_place = 0;
        }
        struct series_set *set = &metrics->sets[metrics->tick_family];
        for (; set->touched != NULL && metrics->tick_place < series_places(set) && left > 0;
             left--) {
            hide_if_idle(metrics, set, metrics->tick_place++);
        }
        if (set->touched == NULL || metrics->tick_place >= series_places(set)) {
            metrics->tick_family++;
            metrics->tick_place = 0;
        }
    }
}

/* What could not be dropped for want of memory when its process ended. */
static void drop_gone(struct metrics *metrics)
{
    for (unsigned i = 0; i < METRICS_TICK_ENDS && metrics->gone.parts != NULL; i++) {
        if (!drop_part(metrics, metrics->gone.parts)) {
            return;
        }
    }
}

static struct members_series series_of(const struct metrics *metrics)
{
    return (struct members_series){metrics->sets, metrics->family_count, metrics->limbo};
}

int metrics_age(struct metrics *metrics)
{
    struct members_series series = series_of(metrics);
    return members_age(&metrics->members, &series);
}

void metrics_tick(struct metrics *metrics)
{
    struct members_series series = series_of(metrics);
    drop_gone(metrics);
    look_for_idle(metrics);
    members_tick(&metrics->members, &series);
    give_back(metrics, &metrics->idle);
    give_back(metrics, &metrics->orphaned);
}

/* --- views ------------------------------------------------------------------------------------- */

int metrics_freeze(struct metrics *metrics, struct metrics_view *ret)
{
    metrics->ready++; /* everything must be copied before the next write */
    size_t pages = 0;
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        pages += metrics->sets[i].page_count;
    }
    struct family_view *families = mem_alloc(metrics->family_count * sizeof *families +
                                             pages * sizeof(struct series_page *) + 1);
    if (families == NULL) {
        return ERR_NOMEM;
    }
    const struct series_page **at =
        (const struct series_page **)(void *)(families + metrics->family_count);
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        const struct series_set *set = &metrics->sets[i];
        families[i] = (struct family_view){set->family, set->page_count, at};
        for (uint32_t page = 0; page < set->page_count; page++) {
            *at++ = set->pages[page];
        }
    }
    *ret = (struct metrics_view){metrics->family_count, families};
    return 0;
}

size_t metrics_bytes(const struct metrics *metrics)
{
    size_t bytes = metrics->family_room * (sizeof *metrics->sets + sizeof *metrics->overflow) +
                   metrics->parts.count * sizeof(struct part);
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        bytes += sizeof *metrics->sets[i].family + series_bytes(&metrics->sets[i]);
    }
    return bytes;
}
