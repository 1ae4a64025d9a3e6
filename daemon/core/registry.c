/*
 * Happy path of a sample
 *   1. recall    a name that came lately, or a reference already used in this batch, leads at once
 *                to a tally that may be written and is the present's
 *   2. count     tally_add_quickly: no call, no memory
 * and where one of these does not hold
 *   find         the hash table, by name, or by name with labels and device
 *   own          a model that a snapshot can see is copied first, its current tally with it
 *   rotate       the current tally is of an older stretch of time, or full: close it, make a new one,
 *                merge those that left the window into `base`
 *   count        tally_add, and the exemplar
 *
 * What can fail: a new name that is no good text (ERR_NAME); memory, anywhere (ERR_NOMEM): the sample
 * is then not counted, and nothing but the window may have moved on. A new name past `max_models`, or
 * of a maker past its own ceiling, is counted in the overflow model.
 *
 * The hash table is open addressing with linear probing, at most half full, never shrinking: models
 * are never removed. A cell holds part of the hash, so that a probe rarely looks at a wrong name.
 */
#include "core/registry.h"

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <math.h>
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/name.h"
#include "core/saved.h"

struct registry_cell {
    const struct model_id *id; /* NULL: free */
    uint32_t tag;              /* upper half of the hash */
    uint32_t number;           /* of the model */
};

enum {
    FIRST_CAPACITY = 16,
    KEY_MAX = (RECORD_NAME_MAX + 1) * (2 + REGISTRY_LABEL_KEYS_MAX),
    CAP_BLOCKS = 8, /* a window with a cap is made of so many tallies, or of single samples */
};

static uint32_t cells_for(uint32_t max_models)
{
    uint32_t cells = 32;
    while (cells < (max_models + 1) * 2) {
        cells *= 2;
    }
    return cells;
}

int registry_init(struct registry *registry, const struct registry_options *options)
{
    uint64_t cap = options->max_samples;
    uint32_t cells = cells_for(options->max_models);
    registry->options = *options;
    registry->slot_ns = options->window_ns / REGISTRY_SUB_WINDOWS;
    registry->closed_max = REGISTRY_SUB_WINDOWS - 1;
    registry->ready = 1;
    registry->cell_mask = cells - 1;
    if (cap > 0) {
        bool single = cap < REGISTRY_CAP_SINGLE_BELOW;
        registry->block_samples = single ? 1 : cap / CAP_BLOCKS;
        registry->closed_max += single ? (uint32_t)cap : CAP_BLOCKS + 2;
    }
    limbo_init(&registry->limbo);
    registry->recall.batch = 1;
    registry->cells = mem_zalloc(cells, sizeof *registry->cells);
    return registry->cells == NULL ? ERR_NOMEM : 0;
}

static void retire_model(struct model *model, struct limbo *limbo)
{
    tally_retire(model->current, limbo);
    tally_retire(model->base, limbo);
    tally_retire(model->past, limbo);
    for (uint32_t i = 0; i < model->closed_count; i++) {
        tally_retire(model->closed[i], limbo);
    }
    limbo_retire(limbo, model->exemplars == NULL ? NULL : &model->exemplars->block);
    limbo_retire(limbo, model->opinion == NULL ? NULL : &model->opinion->block);
    limbo_retire(limbo, &model->block);
}

void registry_fini(struct registry *registry)
{
    for (uint32_t i = 0; i < registry->count; i++) {
        /* The one place where an identity ends: readers are gone, the cast frees what was made. */
        void *id = (void *)(uintptr_t)registry->models[i]->id;
        retire_model(registry->models[i], &registry->limbo);
        mem_free(id);
    }
    mem_free(registry->models);
    mem_free(registry->cells);
    limbo_fini(&registry->limbo);
    *registry = (struct registry){0};
}

void registry_set_time(struct registry *registry, uint64_t mono_ns, uint64_t wall_ns)
{
    uint64_t slot = window_slot(mono_ns, registry->slot_ns);
    if (slot > registry->slot) {
        registry->slot = slot;
        registry->ready++;
    }
    registry->mono_ns = mono_ns > registry->mono_ns ? mono_ns : registry->mono_ns;
    registry->wall_ns = wall_ns;
}

void registry_begin_batch(struct registry *registry)
{
    registry->recall.batch++;
}

/* --- who a sample belongs to ------------------------------------------------------------------- */

/* The value of a kept label, or nothing. A label given twice: the first counts. */
static struct str label_value(const struct sample *sample, struct str key)
{
    for (uint32_t i = 0; i < sample->label_count; i++) {
        if (str_equal(sample->labels[i].key, key)) {
            return sample->labels[i].value;
        }
    }
    return (struct str){"", 0};
}

/* An empty device is none: two models must not differ by what no label shows. */
static struct str device_of(const struct sample *sample)
{
    return SAMPLE_HAS(sample, DEVICE) ? sample->device : (struct str){"", 0};
}

static bool is_plain(const struct registry *registry, const struct sample *sample)
{
    if (device_of(sample).len > 0) {
        return false;
    }
    for (uint32_t i = 0; sample->label_count > 0 && i < registry->options.label_key_count; i++) {
        if (label_value(sample, registry->options.label_keys[i]).len > 0) {
            return false;
        }
    }
    return true;
}

static char *put(char *at, struct str text)
{
    memcpy(at, text.ptr, text.len);
    return at + text.len;
}

/* Name, device and kept labels with a zero byte before each but the first. ERR_NAME when a part is
 * too long or holds a zero byte itself: two sets must not look the same. */
static int compose_key(const struct registry *registry, const struct sample *sample,
                       char key[KEY_MAX], size_t *ret_len)
{
    struct str parts[2 + REGISTRY_LABEL_KEYS_MAX];
    uint32_t count = 0;
    parts[count++] = sample->model_name;
    parts[count++] = device_of(sample);
    for (uint32_t i = 0; i < registry->options.label_key_count; i++) {
        parts[count++] = label_value(sample, registry->options.label_keys[i]);
    }
    char *at = key;
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].len > RECORD_NAME_MAX) {
            return ERR_NAME;
        }
        if (parts[i].len > 0 && memchr(parts[i].ptr, '\0', parts[i].len) != NULL) {
            return ERR_NAME;
        }
        if (i > 0) {
            *at++ = '\0';
        }
        at = parts[i].len == 0 ? at : put(at, parts[i]);
    }
    *ret_len = (size_t)(at - key);
    return 0;
}

static uint64_t hash_key(const struct registry *registry, struct str key)
{
    return XXH3_64bits_withSeed(key.ptr, key.len, registry->options.hash_seed);
}

/* The cell of a key, or the free cell where it would be. There is always a free one. A composed key
 * never equals a plain one, whatever bytes a name smuggles in. */
static struct registry_cell *find_cell(const struct registry *registry, uint64_t hash,
                                       struct str key, bool composed)
{
    uint32_t at = (uint32_t)hash & registry->cell_mask;
    uint32_t tag = (uint32_t)(hash >> 32);
    for (;; at = (at + 1) & registry->cell_mask) {
        struct registry_cell *cell = &registry->cells[at];
        if (cell->id == NULL ||
            (cell->tag == tag && cell->id->composed == composed && str_equal(cell->id->key, key))) {
            return cell;
        }
    }
}

int registry_set_max_models(struct registry *registry, uint32_t max_models)
{
    uint32_t count = cells_for(max_models);
    struct registry_cell *before = registry->cells;
    if (count <= registry->cell_mask + 1) {
        registry->options.max_models = max_models;
        return 0;
    }
    struct registry_cell *cells = mem_zalloc(count, sizeof *cells);
    if (cells == NULL) {
        return ERR_NOMEM;
    }
    uint32_t before_mask = registry->cell_mask;
    registry->cells = cells;
    registry->cell_mask = count - 1;
    registry->options.max_models = max_models;
    for (uint32_t i = 0; i <= before_mask; i++) {
        const struct model_id *id = before[i].id;
        if (id != NULL) {
            *find_cell(registry, hash_key(registry, id->key), id->key, id->composed) = before[i];
        }
    }
    mem_free(before);
    return 0;
}

static bool is_good_text(struct str text, size_t min)
{
    return text.len >= min && text.len <= RECORD_NAME_MAX && name_is_text(text);
}

static char *keep(char *at, struct str text, struct str *ret_kept)
{
    *ret_kept = (struct str){at, text.len};
    return text.len == 0 ? at : put(at, text);
}

static struct model_id *new_id(const struct registry *registry, const struct sample *sample,
                               struct str key, bool composed)
{
    const struct registry_options *options = &registry->options;
    struct str device = device_of(sample);
    uint32_t label_count = 0;
    size_t text = key.len + sample->model_name.len + device.len;
    for (uint32_t i = 0; composed && i < options->label_key_count; i++) {
        size_t len = label_value(sample, options->label_keys[i]).len;
        label_count += len > 0;
        text += len;
    }
    struct model_id *id = mem_alloc(sizeof *id + label_count * sizeof *id->labels + text);
    if (id == NULL) {
        return NULL;
    }
    *id = (struct model_id){.composed = composed,
                            .created_wall_ns = registry->wall_ns,
                            .labels = (struct label *)(id + 1)};
    char *at = (char *)(id->labels + label_count);
    at = keep(at, key, &id->key);
    at = keep(at, sample->model_name, &id->name);
    at = keep(at, device, &id->device);
    for (uint32_t i = 0; composed && i < options->label_key_count; i++) {
        struct str value = label_value(sample, options->label_keys[i]);
        if (value.len > 0) {
            struct label *label = &id->labels[id->label_count++];
            label->key = options->label_keys[i];
            at = keep(at, value, &label->value);
        }
    }
    return id;
}

static int reserve_model(struct registry *registry)
{
    if (registry->count < registry->capacity) {
        return 0;
    }
    uint32_t capacity = registry->capacity == 0 ? FIRST_CAPACITY : registry->capacity * 2;
    struct model **models = mem_realloc(registry->models, capacity * sizeof *models);
    if (models == NULL) {
        return ERR_NOMEM;
    }
    registry->models = models;
    registry->capacity = capacity;
    return 0;
}

static size_t model_size(const struct registry *registry)
{
    return sizeof(struct model) + registry->closed_max * sizeof(struct tally *);
}

static int add_model(struct registry *registry, const struct sample *sample, struct str key,
                     bool composed, uint32_t *ret_number)
{
    struct model_id *id = new_id(registry, sample, key, composed);
    struct model *model = mem_zalloc(1, model_size(registry));
    struct tally *current = tally_new(&registry->limbo, registry->slot);
    if (id == NULL || model == NULL || current == NULL || reserve_model(registry) != 0) {
        mem_free(current);
        mem_free(model);
        mem_free(id);
        return ERR_NOMEM;
    }
    id->overflow = str_equal(key, (struct str){0});
    model->block.epoch = registry->limbo.epoch;
    model->id = id;
    model->current = current;
    registry->models[registry->count] = model;
    *ret_number = registry->count++;
    return 0;
}

/* The model for everything past the ceiling. It has no key and is in no cell: no name leads to it. */
static int overflow_model(struct registry *registry, uint32_t *ret_number)
{
    if (registry->overflow == 0) {
        struct sample nobody = {.model_name = STR_LITERAL(REGISTRY_OVERFLOW_NAME)};
        uint32_t number;
        if (add_model(registry, &nobody, (struct str){0}, false, &number) != 0) {
            return ERR_NOMEM;
        }
        registry->overflow = 1 + number;
    }
    *ret_number = registry->overflow - 1;
    return 0;
}

/* What is kept of a new model's sample. Labels that are not kept may hold anything. */
static int check_names(const struct registry *registry, const struct sample *sample)
{
    if (!is_good_text(sample->model_name, 1)) {
        return ERR_NAME;
    }
    if (!is_good_text(device_of(sample), 0)) {
        return ERR_NAME;
    }
    for (uint32_t i = 0; i < registry->options.label_key_count; i++) {
        if (!is_good_text(label_value(sample, registry->options.label_keys[i]), 0)) {
            return ERR_NAME;
        }
    }
    return 0;
}

static bool is_full(const struct registry *registry)
{
    uint32_t named = registry->count - (registry->overflow != 0 ? 1 : 0);
    return named >= registry->options.max_models ||
           maker_is_full_of_models(registry->maker, registry->options.max_models_per_maker);
}

static int find_by_key(struct registry *registry, const struct sample *sample, struct str key,
                       bool composed, uint32_t *ret_number)
{
    uint64_t hash = hash_key(registry, key);
    struct registry_cell *cell = find_cell(registry, hash, key, composed);
    if (cell->id != NULL) {
        *ret_number = cell->number;
        return 0;
    }
    int err = check_names(registry, sample);
    if (err != 0) {
        return err;
    }
    if (is_full(registry)) {
        return overflow_model(registry, ret_number);
    }
    err = add_model(registry, sample, key, composed, ret_number);
    if (err == 0) {
        maker_add_model(registry->maker);
        *cell = (struct registry_cell){.id = registry->models[*ret_number]->id,
                                       .tag = (uint32_t)(hash >> 32),
                                       .number = *ret_number};
    }
    return err;
}

static int find_composed(struct registry *registry, const struct sample *sample,
                         uint32_t *ret_number)
{
    char key[KEY_MAX];
    size_t len;
    int err = compose_key(registry, sample, key, &len);
    return err != 0 ? err : find_by_key(registry, sample, (struct str){key, len}, true, ret_number);
}

static int find_model(struct registry *registry, const struct sample *sample, uint32_t *ret_number)
{
    if (!is_plain(registry, sample)) {
        return find_composed(registry, sample, ret_number);
    }
    return find_by_key(registry, sample, sample->model_name, false, ret_number);
}

int registry_adopt(struct registry *registry, const struct sample *sample, bool overflow,
                   uint32_t *ret_number)
{
    uint32_t named = registry->count - (registry->overflow != 0 ? 1 : 0);
    if (overflow) {
        return overflow_model(registry, ret_number);
    }
    return named >= registry->options.max_models ? ERR_LIMIT
                                                 : find_model(registry, sample, ret_number);
}

/* --- changing a model -------------------------------------------------------------------------- */

/* The model as one that may be written, its current tally too; NULL without memory. */
static struct model *own_model(struct registry *registry, uint32_t number)
{
    struct model *model = registry->models[number];
    struct limbo *limbo = &registry->limbo;
    if (model->block.epoch > limbo->shared_epoch) {
        return model;
    }
    struct model *copy = mem_alloc(model_size(registry));
    if (copy == NULL) {
        return NULL;
    }
    memcpy(copy, model, model_size(registry));
    copy->block.epoch = limbo->epoch;
    if (model->current->block.epoch <= limbo->shared_epoch) {
        copy->current = tally_unshare(model->current, limbo);
        if (copy->current == NULL) {
            mem_free(copy);
            return NULL;
        }
    }
    registry->models[number] = copy;
    limbo_retire(limbo, &model->block);
    return copy;
}

static int own_tally(struct tally **tally, struct limbo *limbo, uint64_t slot)
{
    struct tally *owned = *tally;
    if (owned == NULL) {
        owned = tally_new(limbo, slot);
    } else if (owned->block.epoch <= limbo->shared_epoch) {
        owned = tally_unshare(owned, limbo);
    }
    if (owned == NULL) {
        return ERR_NOMEM;
    }
    *tally = owned;
    return 0;
}

/* Moves the oldest closed tally out of the window. */
static int expire_oldest(struct registry *registry, struct model *model)
{
    struct limbo *limbo = &registry->limbo;
    struct tally *oldest = model->closed[0];
    int err = own_tally(&model->base, limbo, 0);
    if (err == 0) {
        err = tally_merge(model->base, oldest, limbo);
    }
    if (err != 0) {
        return err;
    }
    model->changes++;
    model->closed_samples -= oldest->sums.count;
    model->closed_count--;
    memmove(model->closed, model->closed + 1, model->closed_count * sizeof *model->closed);
    tally_retire(oldest, limbo);
    return 0;
}

static bool must_expire(const struct registry *registry, const struct model *model)
{
    if (model->closed_count == 0) {
        return false;
    }
    const struct tally *oldest = model->closed[0];
    uint64_t cap = registry->options.max_samples;
    return !registry_in_window(oldest, registry->slot) ||
           (cap > 0 && model_window_count(model) + 1 - oldest->sums.count >= cap);
}

static bool must_close(const struct registry *registry, const struct tally *current)
{
    return current->slot != registry->slot ||
           (registry->block_samples > 0 && current->sums.count >= registry->block_samples);
}

/* Begins a new tally in place of the current one, which is closed, or reused when it is empty. */
static int rotate(struct registry *registry, struct model *model)
{
    if (model->current->sums.count == 0) {
        model->current->slot = registry->slot;
        return 0;
    }
    if (model->closed_count == registry->closed_max && expire_oldest(registry, model) != 0) {
        return ERR_NOMEM;
    }
    struct tally *fresh = tally_new(&registry->limbo, registry->slot);
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    fresh->sums.last_cpu_percent = model->current->sums.last_cpu_percent;
    model->changes += model->current->sums.count;
    model->closed_samples += model->current->sums.count;
    model->closed[model->closed_count++] = model->current;
    model->current = fresh;
    return 0;
}

int registry_mark(struct registry *registry, struct model *model, unsigned bucket,
                  const struct exemplar *exemplar)
{
    struct exemplars *old = model->exemplars;
    if (old == NULL || old->block.epoch <= registry->limbo.shared_epoch) {
        struct exemplars *fresh = mem_zalloc(1, sizeof *fresh);
        if (fresh == NULL) {
            return ERR_NOMEM;
        }
        if (old != NULL) {
            *fresh = *old;
            limbo_retire(&registry->limbo, &old->block);
        }
        fresh->block.epoch = registry->limbo.epoch;
        model->exemplars = fresh;
    }
    model->exemplars->bucket[bucket] = *exemplar;
    return 0;
}

static int keep_exemplar(struct registry *registry, struct model *model,
                         const struct sample *sample)
{
    double ms = sample->execution_time_ms;
    struct exemplar exemplar = {.set = true,
                                .has_span_id = SAMPLE_HAS(sample, SPAN_ID),
                                .value_ms = ms,
                                .wall_ns = SAMPLE_HAS(sample, TIMESTAMP) ? sample->timestamp_wall_ns
                                                                         : registry->wall_ns};
    memcpy(exemplar.trace_id, sample->trace_id, sizeof exemplar.trace_id);
    memcpy(exemplar.span_id, sample->span_id, sizeof exemplar.span_id);
    return registry_mark(registry, model, bounds_find(&bounds_ms, ms, tally_position(ms)),
                         &exemplar);
}

/* Makes a model one that can be counted in: ours to write, its current tally the present's, its
 * window within the cap. With a cap that is checked for every sample. */
static int make_ready(struct registry *registry, uint32_t number, struct model **ret_model)
{
    struct model *model = own_model(registry, number);
    if (model == NULL) {
        return ERR_NOMEM;
    }
    if (must_close(registry, model->current) && rotate(registry, model) != 0) {
        return ERR_NOMEM;
    }
    while (must_expire(registry, model)) {
        if (expire_oldest(registry, model) != 0) {
            return ERR_NOMEM;
        }
    }
    model->ready = registry->options.max_samples > 0 ? 0 : registry->ready;
    *ret_model = model;
    return 0;
}

static int count(struct registry *registry, uint32_t number, const struct sample *sample)
{
    struct model *model = registry->models[number];
    int err = model->ready == registry->ready ? 0 : make_ready(registry, number, &model);
    if (err == 0) {
        err = tally_add(model->current, sample, &registry->limbo);
    }
    if (err != 0) {
        return err;
    }
    /* An exemplar that finds no memory costs no count. */
    if (SAMPLE_HAS(sample, TRACE_ID) && keep_exemplar(registry, model, sample) != 0) {
        registry->lost_exemplars++;
    }
    return 0;
}

/* Next time the sample's name leads to its model at once. Not so for a model with labels or device,
 * which is found by more than the name, and for the overflow model, whose samples are counted as
 * such one by one. */
static void remember(struct registry *registry, const struct sample *sample, uint32_t number)
{
    struct model *model = registry->models[number];
    struct recall_way way = {model->ready, model->current};
    if (!model->id->composed && !model->id->overflow && model->ready == registry->ready) {
        recall_keep(&registry->recall, sample->model_name, sample->model_ref, &way);
    }
}

/* All that was ever counted of it has gone as far as weights may take it. */
static bool goes_by_ones(const struct model *model)
{
    uint64_t count = model->closed_samples + model->current->sums.count;
    count += model->base == NULL ? 0 : model->base->sums.count;
    count += model->past == NULL ? 0 : model->past->sums.count;
    return count > SAVED_LEAPS_MAX;
}

/* A sample that is not of the usual kind, and a usual one after a freeze or in a new slot. */
__attribute__((cold, noinline)) static int record_slowly(struct registry *registry,
                                                         const struct sample *sample,
                                                         uint32_t *ret_number)
{
    uint32_t number;
    int err = find_model(registry, sample, &number);
    if (err != 0) {
        return err;
    }
    struct sample once;
    if (SAMPLE_HAS(sample, WEIGHT) && goes_by_ones(registry->models[number])) {
        once = *sample;
        once.has &= ~(1u << SAMPLE_WEIGHT);
        sample = &once;
    }
    err = count(registry, number, sample);
    if (err != 0) {
        return err;
    }
    if (registry->overflow == 1 + number) {
        registry->overflowed += record_weight(sample);
    }
    remember(registry, sample, number);
    *ret_number = number;
    return 0;
}

#define UNUSUAL_PARTS                                                                              \
    (TALLY_EXTRA_PARTS | 1u << SAMPLE_DEVICE | 1u << SAMPLE_TRACE_ID | 1u << SAMPLE_WEIGHT)

/* A reference that is new in its batch may stand for a name that came lately. */
__attribute__((noinline)) static const struct recall_way *find_new_ref(struct registry *registry,
                                                                       const struct brief *brief)
{
    struct recall *recall = &registry->recall;
    const struct recall_way *way = recall_by_name(recall, brief->model_name, registry->ready);
    if (way != NULL) {
        recall_keep_ref(recall, brief->model_ref, way);
    }
    return way;
}

__attribute__((always_inline)) static inline const struct recall_way *find_way(
    struct registry *registry, const struct brief *brief)
{
    struct recall *recall = &registry->recall;
    if (brief->model_ref == 0) {
        return recall_by_name(recall, brief->model_name, registry->ready);
    }
    const struct recall_way *way = recall_by_ref(recall, brief->model_ref, registry->ready);
    return way != NULL ? way : find_new_ref(registry, brief);
}

int registry_record(struct registry *registry, const struct sample *sample)
{
    uint32_t number;
    if ((sample->has & UNUSUAL_PARTS) != 0 || sample->label_count > 0 || sample->error) {
        return record_slowly(registry, sample, &number);
    }
    struct brief brief = record_brief(sample);
    const struct recall_way *way = find_way(registry, &brief);
    if (way == NULL ||
        !tally_add_quickly(way->tally, &brief, tally_position(sample->execution_time_ms))) {
        return record_slowly(registry, sample, &number);
    }
    return 0;
}

int registry_record_evidence(struct registry *registry, const struct sample *sample,
                             uint32_t *ret_number)
{
    return record_slowly(registry, sample, ret_number);
}

__attribute__((cold, noinline)) static int record_brief_slowly(struct registry *registry,
                                                               const struct brief *brief)
{
    struct sample sample = record_sample(brief);
    uint32_t number;
    return record_slowly(registry, &sample, &number);
}

/* Where a brief sample is counted. */
struct spot {
    struct tally *tally; /* NULL: not known */
    uint32_t *counter;   /* NULL: the sample goes the long way */
    int position;        /* of the latency */
    unsigned bucket;     /* the classic one: its address waits for nothing when it is counted */
};

/* The first two passes over samples: find where each one is counted, and ask for that memory. The
 * waits for it overlap. */
__attribute__((noinline)) static void find_spots(struct registry *registry,
                                                 const struct brief *briefs, unsigned count,
                                                 struct spot *spots)
{
    for (unsigned i = 0; i < count; i++) {
        const struct recall_way *way = find_way(registry, &briefs[i]);
        spots[i].position = tally_position(briefs[i].execution_time_ms);
        if (__builtin_expect(way == NULL, 0)) {
            spots[i].tally = NULL;
            continue;
        }
        spots[i].tally = way->tally;
        tally_prefetch(way->tally, spots[i].position);
    }
    for (unsigned i = 0; i < count; i++) {
        struct spot *spot = &spots[i];
        if (__builtin_expect(spot->tally == NULL, 0)) {
            spot->counter = NULL;
            continue;
        }
        spot->counter = tally_find_counter(spot->tally, spot->position);
        spot->bucket = bounds_find(&bounds_ms, briefs[i].execution_time_ms, spot->position);
        __builtin_prefetch(spot->counter, 1);
    }
}

/* Samples that go the long way spoil no spot: a tally that is recalled is the present's and its
 * model's already, and its chunks that may be written stay where they are. */
unsigned registry_record_briefs(struct registry *registry, const struct brief *briefs,
                                unsigned count, int *ret_errs)
{
    struct spot spots[RECORD_BRIEFS_MAX];
    unsigned refused = 0;
    find_spots(registry, briefs, count, spots);
    for (unsigned i = 0; i < count; i++) {
        if (tally_add_at(spots[i].tally, &briefs[i], spots[i].bucket, spots[i].counter)) {
            continue;
        }
        int err = record_brief_slowly(registry, &briefs[i]);
        if (err != 0) {
            if (refused++ == 0) {
                memset(ret_errs, 0, count * sizeof *ret_errs);
            }
            ret_errs[i] = err;
        }
    }
    return refused;
}

/* --- opinions ---------------------------------------------------------------------------------- */

int registry_set_opinion(struct registry *registry, uint32_t number, const struct opinion *opinion)
{
    if (opinion == NULL && registry->models[number]->opinion == NULL) {
        return 0;
    }
    struct limbo *limbo = &registry->limbo;
    struct model_opinion *fresh = opinion == NULL ? NULL : mem_alloc(sizeof *fresh);
    struct model *model = opinion != NULL && fresh == NULL ? NULL : own_model(registry, number);
    if (model == NULL) {
        mem_free(fresh);
        return ERR_NOMEM;
    }
    if (fresh != NULL) {
        *fresh = (struct model_opinion){.block.epoch = limbo->epoch, .opinion = *opinion};
    }
    limbo_retire(limbo, model->opinion == NULL ? NULL : &model->opinion->block);
    model->opinion = fresh;
    model->changes++;
    return 0;
}

/* --- reset ------------------------------------------------------------------------------------- */

static uint64_t samples_since_reset(const struct model *model)
{
    return model_window_count(model) + (model->base == NULL ? 0 : model->base->sums.count);
}

static int reset_model(struct registry *registry, uint32_t number)
{
    registry->ready++; /* whatever it changes, nobody keeps a way to it */
    struct model *model = own_model(registry, number);
    struct limbo *limbo = &registry->limbo;
    if (model == NULL) {
        return ERR_NOMEM;
    }
    struct tally *fresh = tally_new(limbo, registry->slot);
    if (fresh == NULL) {
        return ERR_NOMEM;
    }
    /* Everything goes to `base` first, then `base` to `past`. */
    while (model->closed_count > 0) {
        if (expire_oldest(registry, model) != 0) {
            mem_free(fresh);
            return ERR_NOMEM;
        }
    }
    if (own_tally(&model->base, limbo, 0) != 0 ||
        tally_merge(model->base, model->current, limbo) != 0) {
        mem_free(fresh);
        return ERR_NOMEM;
    }
    fresh->sums.last_cpu_percent = model->current->sums.last_cpu_percent;
    model->changes += model->current->sums.count + 1;
    tally_retire(model->current, limbo);
    model->current = fresh;
    limbo_retire(limbo, model->exemplars == NULL ? NULL : &model->exemplars->block);
    model->exemplars = NULL;
    limbo_retire(limbo, model->opinion == NULL ? NULL : &model->opinion->block);
    model->opinion = NULL;
    model->resets++;
    if (model->past == NULL) {
        model->past = model->base;
    } else {
        if (own_tally(&model->past, limbo, 0) != 0 ||
            tally_merge(model->past, model->base, limbo) != 0) {
            return ERR_NOMEM;
        }
        tally_retire(model->base, limbo);
    }
    model->base = NULL;
    return 0;
}

int registry_reset(struct registry *registry, const struct str *name)
{
    int reset = 0;
    for (uint32_t i = 0; i < registry->count; i++) {
        const struct model *model = registry->models[i];
        if ((name != NULL && !str_equal(model->id->name, *name)) ||
            samples_since_reset(model) == 0) {
            continue;
        }
        int err = reset_model(registry, i);
        if (err != 0) {
            return err;
        }
        reset++;
    }
    return reset;
}

/* --- snapshots --------------------------------------------------------------------------------- */

int registry_freeze(struct registry *registry, const struct model ***ret_models,
                    uint32_t *ret_count, uint64_t *ret_epoch)
{
    const struct model **models = mem_alloc((registry->count + 1) * sizeof *models);
    if (models == NULL) {
        return ERR_NOMEM;
    }
    int err = limbo_freeze(&registry->limbo, ret_epoch);
    if (err != 0) {
        mem_free(models);
        return err;
    }
    for (uint32_t i = 0; i < registry->count; i++) {
        models[i] = registry->models[i];
    }
    registry->ready++;
    *ret_models = models;
    *ret_count = registry->count;
    return 0;
}

void registry_release(struct registry *registry, uint64_t epoch)
{
    limbo_release(&registry->limbo, epoch);
}

size_t registry_model_bytes(const struct registry *registry, uint32_t number)
{
    const struct model *model = registry->models[number];
    const struct model_id *id = model->id;
    size_t bytes = model_size(registry) + sizeof *id + id->label_count * sizeof *id->labels +
                   id->key.len + id->name.len + id->device.len + tally_bytes(model->current);
    bytes += model->base == NULL ? 0 : tally_bytes(model->base);
    bytes += model->past == NULL ? 0 : tally_bytes(model->past);
    bytes += model->exemplars == NULL ? 0 : sizeof *model->exemplars;
    bytes += model->opinion == NULL ? 0 : sizeof *model->opinion;
    for (uint32_t i = 0; i < model->closed_count; i++) {
        bytes += tally_bytes(model->closed[i]);
    }
    return bytes;
}
