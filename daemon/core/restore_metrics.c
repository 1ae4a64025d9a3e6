/*
 * Families and series. A family that clients brought is made again as it was; one that is declared, by the
 * daemon itself or by families.json, is there already and takes its series back if it is still the same.
 *
 * What belongs to a process comes back with it. Who is gone takes along what it would have taken if the
 * daemon had been there to see it (core/part), and an info or a gauge of which nothing is left does not
 * come back. Gauges of the daemon's own families it tells anew.
 */
#include "base/clock.h"
#include "base/err.h"
#include "base/name.h"
#include "core/metric_name.h"
#include "core/restore.h"

enum { IDLE_MAX = 1 << 30 }; /* seconds: an idle series has ended long before */

/* --- families ---------------------------------------------------------------------------------- */

static bool are_names_equal(const struct family_shape *shape, const struct saved_family *saved)
{
    bool equal = shape->label_count == saved->label_count;
    for (uint32_t i = 0; equal && i < shape->label_count; i++) {
        equal = str_equal(shape->labels[i], saved->labels[i]);
    }
    return equal;
}

static bool are_bounds_equal(const struct family_shape *shape, const struct saved_family *saved)
{
    bool equal = shape->bound_count == saved->bound_count;
    for (uint32_t i = 0; equal && i < shape->bound_count; i++) {
        equal = !(shape->bounds[i] < saved->bounds[i]) && !(shape->bounds[i] > saved->bounds[i]);
    }
    return equal;
}

/* Whether what was counted means the same now. Help and times of expiry may be others. */
static bool is_same(const struct family_shape *shape, const struct saved_family *saved)
{
    return shape->type == saved->type && shape->aggregation == saved->aggregation &&
           shape->only == saved->only && shape->declared == saved->declared &&
           shape->native == saved->native && str_equal(shape->source, saved->source) &&
           str_equal(shape->unit, saved->unit) && are_names_equal(shape, saved) &&
           are_bounds_equal(shape, saved);
}

/* What a client's record could have made: the name is shown as it is. */
static bool is_free(const struct saved_family *saved)
{
    bool good = !saved->declared && saved->only == SPELLING_NONE && saved->label_count == 0 &&
                saved->bound_count <= FAMILY_BOUNDS_MAX && saved->name.len <= METRIC_NAME_MAX &&
                saved->unit.len <= saved->name.len &&
                !(saved->name.ptr[0] >= '0' && saved->name.ptr[0] <= '9');
    for (size_t i = 0; good && i < saved->name.len; i++) {
        good = name_takes(saved->name.ptr[i]);
    }
    return good;
}

static struct family_shape shape_of(const struct saved_family *saved)
{
    return (struct family_shape){.name = saved->name,
                                 .source = saved->source,
                                 .help = saved->help,
                                 .unit = saved->unit,
                                 .type = (enum family_type)saved->type,
                                 .aggregation = (enum aggregation)saved->aggregation,
                                 .native = saved->native,
                                 .bound_count = saved->bound_count,
                                 .bounds = saved->bounds,
                                 .expire_seconds = saved->expire_seconds};
}

int restore_take_family(void *ctx, const struct saved_family *saved)
{
    struct restore *restore = ctx;
    struct metrics *metrics = restore->options.intake->metrics;
    struct family_shape shape = shape_of(saved);
    uint32_t number = names_find(&metrics->names, saved->name);
    int err = 0;
    restore->set = NULL;
    restore->model = NULL;
    restore->has_series = false;
    if (number == NAMES_NONE) {
        number = metrics->family_count;
        err = is_free(saved) ? metrics_declare(metrics, &shape) : ERR_CONFLICT;
    } else if (!is_same(&metrics->sets[number].family->shape, saved)) {
        err = ERR_CONFLICT;
    }
    if (err != 0) {
        restore->report.left_out++;
        return err == ERR_NOMEM ? err : 0;
    }
    restore->set = &metrics->sets[number];
    return 0;
}

/* --- parts ------------------------------------------------------------------------------------- */

/* The process of a part, NULL for nobody; false when it is gone. */
static bool find_owner(const struct restore *restore, const struct saved_part *part,
                       struct process **ret_process)
{
    *ret_process = part->process == 0 ? NULL : restore->processes[part->process - 1];
    return part->process == 0 || *ret_process != NULL;
}

static uint32_t count_left(const struct restore *restore, const struct saved_series *saved)
{
    uint32_t left = 0;
    struct process *process;
    for (uint32_t i = 0; i < saved->part_count; i++) {
        left += find_owner(restore, &saved->parts[i], &process);
    }
    return left;
}

/* Whether the series ends with its last part. */
static bool ends_without_parts(const struct family_shape *shape)
{
    return shape->type == FAMILY_INFO ||
           (shape->type == FAMILY_GAUGE && shape->aggregation != AGGREGATION_UNSAID &&
            shape->aggregation != AGGREGATION_SUM);
}

/* The last one first, so that they lie in the order in which they lay. */
static int take_parts(struct restore *restore, const struct saved_series *saved)
{
    struct metrics *metrics = restore->options.intake->metrics;
    struct part_owner owner = {&restore->set->parts[restore->place], restore->set->family->number,
                               restore->place, NULL};
    for (uint32_t i = saved->part_count; i-- > 0;) {
        struct part *part;
        if (!find_owner(restore, &saved->parts[i], &owner.process)) {
            restore->report.left_out++;
            continue;
        }
        int err = part_take(&metrics->parts, &owner, &part);
        if (err != 0) {
            restore->report.left_out++;
            return err == ERR_NOMEM ? err : 0;
        }
        part->value = saved->parts[i].value;
    }
    return 0;
}

/* --- series ------------------------------------------------------------------------------------ */

static bool is_wanted(const struct restore *restore, const struct saved_series *saved)
{
    const struct family_shape *shape = &restore->set->family->shape;
    bool is_own_gauge = shape->only != SPELLING_NONE && shape->type == FAMILY_GAUGE;
    bool has_lost_all = saved->part_count > 0 && count_left(restore, saved) == 0;
    return !is_own_gauge && !(has_lost_all && ends_without_parts(shape));
}

/* Values may be shorter now. */
static bool fits_labels(const struct restore *restore, struct str pairs)
{
    uint32_t most = restore->options.intake->metrics->options.max_label_bytes;
    bool is_value = false;
    while (pairs.len > 0) {
        size_t len = (size_t)((const char *)memchr(pairs.ptr, '\0', pairs.len) - pairs.ptr);
        if (is_value && len > most) {
            return false;
        }
        is_value = !is_value;
        pairs = (struct str){pairs.ptr + len + 1, pairs.len - len - 1};
    }
    return true;
}

static int fill_buckets(struct restore *restore, union series_value *value,
                        const struct saved_buckets *saved)
{
    struct limbo *limbo = &restore->options.intake->registry->limbo;
    struct buckets *buckets = buckets_of_saved(limbo, saved, restore->set->family->shape.native);
    if (buckets == NULL) {
        return ERR_NOMEM;
    }
    buckets_retire(value->buckets, limbo);
    value->buckets = buckets;
    return 0;
}

/* Of a gauge that lost parts, what the others make. */
static int fill_number(struct restore *restore, double *number, const struct saved_series *saved)
{
    const struct series_set *set = restore->set;
    *number = set->family->shape.type == FAMILY_SET ? 0 : saved->number; /* values follow */
    if (set->parts == NULL || saved->part_count == 0) {
        return 0;
    }
    int err = take_parts(restore, saved);
    if (set->family->shape.type == FAMILY_GAUGE && count_left(restore, saved) < saved->part_count) {
        *number = part_fold(set->parts[restore->place], set->family->shape.aggregation);
    }
    return err;
}

static int fill_series(struct restore *restore, const struct saved_series *saved)
{
    struct metrics *metrics = restore->options.intake->metrics;
    struct series_set *set = restore->set;
    struct series_page *page = series_own(set, restore->place, metrics->limbo);
    if (page == NULL) {
        return ERR_NOMEM;
    }
    union series_value *value = &page->value[restore->place % SERIES_PER_PAGE];
    if (set->touched != NULL) {
        uint64_t idle = saved->idle_seconds + restore->report.away_ns / NS_PER_SECOND;
        set->touched[restore->place] =
            (uint32_t)metrics->now_seconds - (uint32_t)(idle < IDLE_MAX ? idle : IDLE_MAX);
    }
    return saved->has_buckets ? fill_buckets(restore, value, saved->buckets)
                              : fill_number(restore, &value->number, saved);
}

int restore_take_series(void *ctx, const struct saved_series *saved)
{
    struct restore *restore = ctx;
    restore->has_series = false;
    if (restore->set == NULL || !is_wanted(restore, saved)) {
        return 0;
    }
    struct metrics_adoption adoption = {.family = restore->set->family->number,
                                        .overflow = saved->overflow,
                                        .pairs = saved->pairs,
                                        .pair_count = saved->pair_count,
                                        .created_wall_ns = saved->created_wall_ns};
    int err = fits_labels(restore, saved->pairs)
                  ? metrics_adopt(restore->options.intake->metrics, &adoption, &restore->place)
                  : ERR_LIMIT;
    if (err == 0) {
        err = fill_series(restore, saved);
        restore->has_series = err == 0;
        restore->report.series++;
        return err;
    }
    restore->report.left_out++;
    return err == ERR_NOMEM ? err : 0;
}

int restore_take_value(void *ctx, uint64_t age, uint64_t hash)
{
    struct restore *restore = ctx;
    struct members *members = &restore->options.intake->metrics->members;
    uint64_t slot = restore_slot(restore, age);
    if (!restore->has_series || restore->set->distinct == NULL ||
        !window_holds(slot, members->slot)) {
        return 0;
    }
    struct distinct *distinct = &restore->set->distinct[restore->place];
    struct series_page *page = restore->set->pages[restore->place / SERIES_PER_PAGE];
    slot = slot < distinct->slot ? distinct->slot : slot; /* never back */
    int err = distinct_add(distinct, &members->pool, hash, slot);
    page->value[restore->place % SERIES_PER_PAGE].number = distinct_count(distinct);
    restore->report.left_out += err != 0;
    return err == ERR_NOMEM ? err : 0;
}

/* --- exemplars --------------------------------------------------------------------------------- */

static struct exemplar_mark mark_of(const struct saved_exemplar *saved)
{
    struct exemplar_mark mark = {.set = true,
                                 .has_span_id = saved->has_span_id,
                                 .value = saved->value,
                                 .wall_ns = saved->wall_ns};
    memcpy(mark.trace_id, saved->trace_id, sizeof mark.trace_id);
    memcpy(mark.span_id, saved->span_id, sizeof mark.span_id);
    return mark;
}

static int mark_series(struct restore *restore, const struct saved_exemplar *saved)
{
    struct metrics *metrics = restore->options.intake->metrics;
    struct exemplar_mark mark = mark_of(saved);
    const struct family_shape *shape = &restore->set->family->shape;
    struct series_page *page = restore->set->pages[restore->place / SERIES_PER_PAGE];
    uint32_t slot = restore->place % SERIES_PER_PAGE;
    if (shape->type == FAMILY_HISTOGRAM) {
        return buckets_mark(page->value[slot].buckets, shape->bounds, &mark, metrics->limbo);
    }
    if (shape->type != FAMILY_COUNTER) {
        return 0;
    }
    struct exemplar_set *exemplars = series_own_exemplars(page, metrics->limbo);
    if (exemplars == NULL) {
        return ERR_NOMEM;
    }
    exemplars->marks[slot] = mark;
    return 0;
}

static int mark_model(struct restore *restore, const struct saved_exemplar *saved)
{
    struct registry *registry = restore->options.intake->registry;
    if (saved->bucket > bounds_ms.count) {
        return 0;
    }
    struct exemplar_mark mark = mark_of(saved);
    struct exemplar exemplar = {.set = true,
                                .has_span_id = mark.has_span_id,
                                .value_ms = mark.value,
                                .wall_ns = mark.wall_ns};
    memcpy(exemplar.trace_id, mark.trace_id, sizeof exemplar.trace_id);
    memcpy(exemplar.span_id, mark.span_id, sizeof exemplar.span_id);
    return registry_mark(registry, restore->model, saved->bucket, &exemplar);
}

int restore_take_exemplar(void *ctx, const struct saved_exemplar *exemplar)
{
    struct restore *restore = ctx;
    int err = restore->has_series      ? mark_series(restore, exemplar)
              : restore->model != NULL ? mark_model(restore, exemplar)
                                       : 0;
    return err;
}
